/*
 * logs: reads the log file that pmtad writes, and the old ones, and follows it over rotations.
 *
 * The file's name comes from `status` (or --file). Old files are PATH.N, the higher the older, with
 * .gz or .zst when they are compressed; all are read in order of time. Following: the file that is
 * open is read until nothing more comes; when it has got a number by then, the file with the next
 * smaller one follows, and at last PATH. Nothing is missed, because rotations only rename.
 */
#include "logs.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/units.h"
#include "client.h"
#include "command.h"
#include "log_reader.h"
#include "log_record.h"
#include "page.h"

#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    OLD_MAX = 1000,
    DEFAULT_LINES = 20,
    LINES_MAX = 1000000,
    POLL_MS = 100,
    QUIET_POLLS = 10, /* of a file that was renamed: then everybody writes into the new one */
};

static const char *const suffixes[] = {"", ".gz", ".zst"};

struct logs {
    const struct parsed *parsed;
    struct log_filter filter;
    struct page page;
    char *path;
    char **last; /* a ring of the lines that -n asks for, or NULL */
    uint64_t keep, count;
};

static int complain(const char *text, int status)
{
    struct buf clean = {0};

    page_clean(&clean, text);
    fprintf(stderr, "pmtactl: %s\n", buf_data(&clean));
    buf_free(&clean);
    return status;
}

/* --- what is asked for --- */

static int parse_since(const char *text, char *out, size_t size, struct err *e)
{
    static const char form[] = "0000-00-00T00:00:00.000Z";
    int64_t ago;
    char iso[CLOCK_ISO_SIZE];
    size_t len = strlen(text), i = 0;

    if (units_parse_interval(sv_of(text), &ago) == 0) {
        snprintf(out, size, "%s", clock_iso(clock_wall_ms() - ago, iso));
        return 0;
    }
    for (; i < len && i < sizeof(form) - 1; i++)
        if (form[i] == '0' ? !ascii_is_digit(text[i])
                           : text[i] != form[i] && !(form[i] == 'T' && text[i] == ' '))
            break;
    if (i < len || len < 10)
        return err_set(e, ERR_SYNTAX,
                       "--since '%.60s' is no time (expected 90s, 2h, 1d, or 2026-11-21T04:05)",
                       text);
    snprintf(out, size, "%s", text);
    out[10] = out[10] ? 'T' : '\0';
    return 0;
}

static int read_options(struct logs *g, struct err *e)
{
    const struct parsed *p = g->parsed;
    uint64_t lines = DEFAULT_LINES;

    g->filter = (struct log_filter){
        .pipe = p->options[OPT_PIPE],
        .rcpt = p->options[OPT_RCPT],
        .sender = p->options[OPT_SENDER],
        .queue = p->options[OPT_QUEUE],
        .id = p->options[OPT_ID],
        .job = p->options[OPT_JOB],
    };
    if (p->options[OPT_LEVEL]) {
        enum log_level level = log_level_find(sv_of(p->options[OPT_LEVEL]));
        if (level == LOG_LEVEL_COUNT)
            return err_set(e, ERR_SYNTAX, "no level '%.60s' (expected debug, info, warn or error)",
                           p->options[OPT_LEVEL]);
        g->filter.level = (int)level;
    }
    if (p->options[OPT_SINCE] &&
        parse_since(p->options[OPT_SINCE], g->filter.since, sizeof(g->filter.since), e) < 0)
        return e->code;
    bool all = p->options[OPT_SINCE] || p->options[OPT_LEVEL] || log_filter_is_set(&g->filter);
    if (p->options[OPT_LINES])
        sv_to_u64(sv_of(p->options[OPT_LINES]), &lines);
    if (lines > LINES_MAX)
        return err_set(e, ERR_SYNTAX, "--lines: at most %d", LINES_MAX);
    if (p->options[OPT_LINES] || !all) {
        g->keep = lines;
        g->last = xcalloc(lines + 1, sizeof(*g->last));
    }
    return 0;
}

/* Only the last lines of the newest file are wanted. */
static bool is_plain_tail(const struct logs *g)
{
    return g->last && !g->filter.level && !g->filter.since[0] && !log_filter_is_set(&g->filter);
}

/* --- where it is --- */

static int no_file(const json_t *log)
{
    const char *to = field_text(log, "to"), *socket = field_text(log, "socket");
    struct buf text = {0};

    if (to && strcmp(to, "journald") == 0)
        buf_append_str(&text, "the log goes to the journal: journalctl -t pmta -f, with "
                              "PMTA_PROCESS=pipe/NAME, PMTA_RCPT=ADDRESS, PMTA_QUEUE=DOMAIN/VMTA");
    else if (to && strcmp(to, "syslog") == 0)
        buf_printf(&text,
                   "the log goes to syslog (%s): see where that writes it; --file reads it "
                   "when its lines are those of pmtad alone",
                   socket ? socket : "?");
    else
        buf_append_str(&text, "the log goes to standard error of pmtad: when systemd started it, "
                              "journalctl -u pmta -f; set log-file to have it in a file");
    int status = complain(buf_data(&text), 1);
    buf_free(&text);
    return status;
}

/* Asks for `status` and takes the object of root out of the answer; NULL with *e. */
static json_t *ask_status(const struct parsed *p, struct err *e)
{
    struct client c;
    struct strview line;
    json_t *log = NULL;

    if (client_connect(&c, parsed_socket(p), parsed_timeout_ms(p), e) < 0)
        return NULL;
    int rc = client_send(&c, SV("status root {}"), e);
    while (rc == 0 && (rc = client_line(&c, &line, e)) > 0) {
        json_t *o = json_loadb(line.ptr, line.len, 0, NULL);
        if (!log && json_is_object(json_object_get(o, "log")))
            log = json_incref(json_object_get(o, "log"));
        rc = json_is_true(json_object_get(o, "end"));
        json_decref(o);
    }
    client_close(&c);
    if (!log && !e->text[0])
        err_set(e, ERR_PROTOCOL, "pmtad did not say where its log is");
    return log;
}

/* 0, or an exit status. */
static int find_file(struct logs *g)
{
    struct err e = {0};

    if (g->parsed->options[OPT_FILE]) {
        g->path = xstrdup(g->parsed->options[OPT_FILE]);
        return 0;
    }
    json_t *log = ask_status(g->parsed, &e);
    if (!log) {
        complain(e.text, 2);
        return complain("--file PATH reads a log file without pmtad", 2);
    }
    const char *file = field_text(log, "file");
    int status = file ? 0 : no_file(log);
    if (file)
        g->path = xstrdup(file);
    json_decref(log);
    return status;
}

/* --- lines --- */

static void print_line(struct logs *g, struct strview line, json_t *record)
{
    if (parsed_has(g->parsed, OPT_JSON)) {
        if (record && line.ptr[0] == '{')
            printf("%.*s\n", SV_ARG(line));
        char *text = record && line.ptr[0] != '{' ? json_dumps(record, JSON_COMPACT) : NULL;
        if (text)
            printf("%s\n", text);
        free(text);
        return;
    }
    if (record) {
        log_record_print(record, &g->page);
    } else {
        char *copy = xstrndup(line.ptr, line.len);
        page_clean(&g->page.out, copy);
        buf_append_char(&g->page.out, '\n');
        free(copy);
    }
    fwrite(buf_data(&g->page.out), 1, buf_len(&g->page.out), stdout);
    buf_reset(&g->page.out);
}

static void keep_line(struct logs *g, struct strview line)
{
    if (!g->keep)
        return;
    char **slot = &g->last[g->count++ % g->keep];
    free(*slot);
    *slot = xstrndup(line.ptr, line.len);
}

/* A line that is none of ours (of a program that shares stderr) is shown when nothing is asked. */
static void take_line(struct logs *g, struct strview line, bool keep)
{
    if (!line.len || !log_filter_may(&g->filter, line))
        return;
    json_t *record = log_record_parse(line);
    bool wanted = record
                      ? log_filter_matches(&g->filter, record)
                      : !g->filter.level && !g->filter.since[0] && !log_filter_is_set(&g->filter);
    if (wanted && keep && g->last)
        keep_line(g, line);
    else if (wanted)
        print_line(g, line, record);
    json_decref(record);
}

static void print_kept(struct logs *g)
{
    uint64_t first = g->count > g->keep ? g->count - g->keep : 0;

    for (uint64_t i = first; g->last && i < g->count; i++) {
        struct strview line = sv_of(g->last[i % g->keep]);
        json_t *record = log_record_parse(line);
        print_line(g, line, record);
        json_decref(record);
    }
    for (uint64_t i = 0; g->last && i < g->keep; i++)
        free(g->last[i]);
    free(g->last);
    g->last = NULL;
    fflush(stdout);
}

/* --- files --- */

/* Whatever is there now; true when there was a line. A file that cannot be read ends here. */
static bool drain(struct logs *g, struct log_reader *r, const char *path, bool keep)
{
    struct strview line;
    struct err e = {0};
    bool some = false;
    int rc;

    while ((rc = log_reader_line(r, &line, &e)) > 0 && !ferror(stdout)) {
        some = true;
        take_line(g, line, keep);
    }
    if (rc < 0) {
        fprintf(stderr, "pmtactl: '%s': %s\n", path, e.text);
        return false;
    }
    return some;
}

static char *old_name(const struct logs *g, unsigned n, const char *suffix)
{
    struct buf name = {0};

    buf_printf(&name, "%s.%u%s", g->path, n, suffix);
    return buf_take(&name);
}

static bool is_recent(const struct logs *g, const struct stat *st)
{
    char iso[CLOCK_ISO_SIZE];
    int64_t ms = (int64_t)st->st_mtim.tv_sec * 1000 + 999;

    return !g->filter.since[0] || strcmp(clock_iso(ms, iso), g->filter.since) >= 0;
}

static void read_old(struct logs *g, unsigned n)
{
    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
        char *name = old_name(g, n, suffixes[i]);
        struct log_reader r = {.fd = -1};
        struct err e = {0};
        struct stat st;
        if (stat(name, &st) == 0 && is_recent(g, &st)) {
            if (log_reader_open(&r, name, &e) == 0)
                drain(g, &r, name, true);
            else
                complain(e.text, 1);
            log_reader_close(&r);
        }
        free(name);
    }
}

/* Gaps of a few numbers are those of a rotation that was cut off. */
static unsigned oldest(const struct logs *g)
{
    unsigned highest = 0;

    for (unsigned n = 1; n <= OLD_MAX && n <= highest + 8; n++)
        for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
            char *name = old_name(g, n, suffixes[i]);
            if (access(name, F_OK) == 0)
                highest = n;
            free(name);
        }
    return highest;
}

static bool is_same_file(const struct log_reader *r, const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && st.st_dev == r->device && st.st_ino == r->inode;
}

/* The number that the open file has now; 0: it is the present one, -1: it is compressed or gone. */
static int place_of(const struct logs *g, const struct log_reader *r)
{
    bool there = true;

    if (is_same_file(r, g->path))
        return 0;
    for (int n = 1; n <= OLD_MAX && there; n++) {
        char *name = old_name(g, (unsigned)n, "");
        bool ours = is_same_file(r, name);
        there = access(name, F_OK) == 0;
        free(name);
        if (ours)
            return n;
    }
    return -1;
}

/* Goes on with the file after the one that is open, which was read to its end. What is between two
 * renames at this moment is found at the next look. */
static bool next_file(struct logs *g, struct log_reader *r, int place)
{
    struct log_reader next = {.fd = -1};
    struct err e = {0};
    char *name = place > 1 ? old_name(g, (unsigned)place - 1, "") : xstrdup(g->path);
    bool opened = log_reader_open(&next, name, &e) == 0 && place_of(g, r) == place;

    log_reader_close(opened ? r : &next);
    if (opened)
        *r = next;
    free(name);
    return opened;
}

static void follow(struct logs *g, struct log_reader *r)
{
    unsigned quiet = 0;

    while (!ferror(stdout)) {
        if (drain(g, r, g->path, false)) {
            quiet = 0;
            fflush(stdout);
            continue;
        }
        int place = place_of(g, r);
        quiet = place ? quiet + 1 : 0;
        if (place == 0) {
            log_reader_check_truncated(r);
        } else if (place > 1 || quiet >= QUIET_POLLS) { /* others may still write into number 1 */
            quiet = 0;
            if (next_file(g, r, place))
                continue;
        }
        nanosleep(&(struct timespec){.tv_nsec = POLL_MS * 1000000L}, NULL);
    }
}

static int read_all(struct logs *g)
{
    struct log_reader r = {.fd = -1};
    struct err e = {0};
    bool tail = is_plain_tail(g);

    if (!tail)
        for (unsigned n = oldest(g); n >= 1; n--)
            read_old(g, n);
    if (log_reader_open(&r, g->path, &e) < 0 || (tail && log_reader_tail(&r, g->keep, &e) < 0)) {
        log_reader_close(&r);
        print_kept(g);
        return complain(e.text, 1);
    }
    drain(g, &r, g->path, true);
    print_kept(g);
    if (parsed_has(g->parsed, OPT_FOLLOW))
        follow(g, &r);
    log_reader_close(&r);
    return 0;
}

int logs_run(const struct parsed *p)
{
    struct logs g = {.parsed = p};
    struct err e = {0};
    int status;

    page_init(&g.page);
    if (read_options(&g, &e) < 0)
        status = complain(e.text, 2);
    else if ((status = find_file(&g)) == 0)
        status = read_all(&g);
    print_kept(&g);
    free(g.path);
    buf_free(&g.page.out);
    return status;
}
