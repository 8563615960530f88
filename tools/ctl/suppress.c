/*
 * Big lists over the admin socket; see suppress.h. An admin line has at most 64 KiB, so a file goes
 * in pieces of whole lines, each answered when it is durable; an export comes in pieces of the log, each
 * of which says where the next one begins. What can go wrong: a line that is no entry (named, passed
 * over, exit status 1); an answer that is none (stops there; what came before stays done).
 */
#include "suppress.h"

#include "base/clock.h"
#include "client.h"
#include "page.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    PIECE_BYTES =
        60 * 1000, /* of lines as they are in JSON; the rest is room for the other members */
    LINE_BYTES = 4096,
    COMPLAINTS_MAX = 20,
    PROGRESS_EVERY_MS = 500,
};

enum { EXIT_DONE = 0, EXIT_REFUSED = 1, EXIT_NO_ANSWER = 2 };

static void complain(const char *text)
{
    struct buf clean = {0};

    page_clean(&clean, text);
    fprintf(stderr, "pmtactl: %s\n", buf_data(&clean));
    buf_free(&clean);
}

/* --- one question --- */

/* Sends VERB * {args} and takes the one object that answers it; *ret is the caller's. */
static int ask(struct client *c, enum admin_verb verb, json_t *args, json_t **ret, struct err *e)
{
    char *text = json_dumps(args, JSON_COMPACT);
    struct buf line = {0};
    struct strview got;
    bool ended = false;

    *ret = NULL;
    buf_printf(&line, "%s * %s", admin_verb_info(verb)->name, text ? text : "{}");
    free(text);
    int rc = client_send(c, buf_view(&line), e);
    buf_free(&line);
    while (rc >= 0 && !ended) {
        rc = client_line(c, &got, e);
        if (rc == 0)
            rc = err_set(e, ERR_CLOSED, "pmtad closed the connection before its answer ended");
        json_t *o = rc < 0 ? NULL : json_loadb(got.ptr, got.len, 0, NULL);
        const char *error = field_text(o, "error");
        ended = o && json_object_get(o, "end");
        if (error && rc >= 0 && e->code == 0)
            err_set(e, ERR_CONFIG, "%s", error);
        else if (!ended && !error && !*ret)
            *ret = json_incref(o);
        json_decref(o);
    }
    if (rc >= 0 && e->code == 0 && !*ret)
        err_set(e, ERR_PROTOCOL, "pmtad gave no answer");
    return rc < 0 ? rc : e->code;
}

/* --- import --- */

struct import {
    struct client client;
    const struct parsed *parsed;
    FILE *in;
    uint64_t size; /* of the file; 0: not known */
    uint64_t read;
    uint64_t sent_lines; /* in pieces that were answered */
    uint64_t lines;      /* read */
    char *columns;       /* the header line, or NULL */
    struct buf piece;
    size_t piece_json; /* bytes of it in JSON */
    uint64_t piece_lines;
    uint64_t added, changed, removed, same, invalid;
    unsigned complaints;
    int64_t told_ms;
    struct err e;
};

static void progress(struct import *m, bool last)
{
    char count[HUMAN_SIZE];
    int64_t now = clock_mono_ms();

    if (!isatty(STDERR_FILENO) || (!last && now < m->told_ms + PROGRESS_EVERY_MS))
        return;
    m->told_ms = now;
    fprintf(stderr, "\r%s lines", human_count((int64_t)m->sent_lines, count));
    if (m->size)
        fprintf(stderr, ", %" PRIu64 "%%", MIN_OF(m->read * 100 / m->size, (uint64_t)100));
    fputs(last ? "\033[K\r" : "\033[K", stderr);
}

static void complain_line(struct import *m, uint64_t number, const char *error)
{
    char text[512];

    m->invalid++;
    if (++m->complaints > COMPLAINTS_MAX)
        return;
    snprintf(text, sizeof(text), "line %" PRIu64 ": %s", number, error);
    complain(text);
    if (m->complaints == COMPLAINTS_MAX)
        complain("further wrong lines are only counted");
}

static uint64_t number_of(const json_t *o, const char *name)
{
    int64_t n = 0;
    field_number(o, name, &n);
    return (uint64_t)n;
}

static void take_answer(struct import *m, const json_t *o)
{
    const json_t *complaints = json_object_get(o, "complaints"), *one;
    uint64_t invalid = number_of(o, "invalid");
    size_t i;

    m->added += number_of(o, "added");
    m->changed += number_of(o, "changed");
    m->removed += number_of(o, "removed");
    m->same += number_of(o, "same");
    json_array_foreach(complaints, i, one)
    {
        const char *error = field_text(one, "error");
        complain_line(m, m->sent_lines + number_of(one, "line"), error ? error : "?");
    }
    m->invalid += invalid - MIN_OF(invalid, (uint64_t)json_array_size(complaints));
}

/* The members that every piece has. */
static json_t *arguments(const struct import *m)
{
    static const enum option options[] = {OPT_SCOPE, OPT_REASON, OPT_EXPIRES, OPT_NOTE};
    json_t *o = json_object();

    for (size_t i = 0; i < ARRAY_LEN(options); i++)
        if (parsed_has(m->parsed, options[i]))
            json_object_set_new(o, option_info(options[i])->json,
                                json_string(m->parsed->options[options[i]]));
    if (parsed_has(m->parsed, OPT_REMOVE))
        json_object_set_new(o, "remove", json_true());
    if (m->columns)
        json_object_set_new(o, "columns", json_string(m->columns));
    return o;
}

static int send_piece(struct import *m)
{
    json_t *answer = NULL;

    if (!m->piece_lines)
        return 0;
    json_t *args = arguments(m);
    json_object_set_new(args, "lines", json_stringn(buf_data(&m->piece), buf_len(&m->piece)));
    int code = ask(&m->client, VERB_SUPPRESS_IMPORT, args, &answer, &m->e);
    json_decref(args);
    if (code == 0) {
        take_answer(m, answer);
        m->sent_lines += m->piece_lines;
        m->piece_lines = m->piece_json = 0;
        buf_reset(&m->piece);
        progress(m, false);
    }
    json_decref(answer);
    return code;
}

/* What the line takes in JSON; 0: it is not text (UTF-8). */
static size_t json_bytes(struct strview line)
{
    json_t *text = json_stringn(line.ptr, line.len);
    size_t n = 2; /* the newline */

    if (!text)
        return 0;
    json_decref(text);
    for (size_t i = 0; i < line.len; i++) {
        unsigned char c = (unsigned char)line.ptr[i];
        n += c < 0x20 ? 6 : c == '"' || c == '\\' ? 2 : 1;
    }
    return n;
}

/* An empty line keeps the numbers right where one is left out. */
static int add_line(struct import *m, struct strview line)
{
    size_t bytes = line.len > LINE_BYTES ? 0 : json_bytes(line);
    int code = 0;

    m->lines++;
    if (!bytes || memchr(line.ptr, '\0', line.len)) {
        complain_line(m, m->lines, line.len > LINE_BYTES ? "too long" : "not text in UTF-8");
        line = sv("", 0);
        bytes = 2;
    }
    if (m->piece_json + bytes > PIECE_BYTES)
        code = send_piece(m);
    buf_append_sv(&m->piece, line);
    buf_append_char(&m->piece, '\n');
    m->piece_json += bytes;
    m->piece_lines++;
    return code;
}

/* A first line that names a column 'address'. */
static bool is_header(struct strview line)
{
    struct strview field;

    while (sv_split(&line, ',', &field)) {
        field = sv_trim(field);
        if (field.len >= 2 && field.ptr[0] == '"' && field.ptr[field.len - 1] == '"')
            field = sv(field.ptr + 1, field.len - 2);
        if (sv_eq_nocase(field, SV("address")))
            return true;
    }
    return false;
}

static int read_lines(struct import *m)
{
    char *text = NULL;
    size_t room = 0;
    ssize_t n;
    int code = 0;

    while (code == 0 && (n = getline(&text, &room, m->in)) > 0) {
        struct strview line = sv(text, (size_t)n);
        m->read += (uint64_t)n;
        if (m->lines == 0 && sv_starts_nocase(line, SV("\xef\xbb\xbf")))
            line = sv(line.ptr + 3, line.len - 3);
        line = sv_trim(line);
        if (m->lines == 0 && is_header(line) && json_bytes(line) && line.len <= LINE_BYTES) {
            m->columns = xstrndup(line.ptr, line.len);
            line = sv("", 0);
        }
        code = add_line(m, line);
    }
    if (code == 0 && ferror(m->in))
        code = err_set(&m->e, -errno, "cannot read the list");
    free(text);
    return code == 0 ? send_piece(m) : code;
}

static void summary(const struct import *m)
{
    char a[HUMAN_SIZE], b[HUMAN_SIZE], c[HUMAN_SIZE], d[HUMAN_SIZE];

    if (parsed_has(m->parsed, OPT_JSON)) {
        printf("{\"lines\":%" PRIu64 ",\"added\":%" PRIu64 ",\"changed\":%" PRIu64
               ",\"removed\":%" PRIu64 ",\"same\":%" PRIu64 ",\"invalid\":%" PRIu64 "}\n",
               m->sent_lines, m->added, m->changed, m->removed, m->same, m->invalid);
        return;
    }
    if (parsed_has(m->parsed, OPT_REMOVE))
        printf("%s lines: %s taken off the list, %s were not on it",
               human_count((int64_t)m->sent_lines, a), human_count((int64_t)m->removed, b),
               human_count((int64_t)m->same, c));
    else
        printf("%s lines: %s added, %s changed, %s there already",
               human_count((int64_t)m->sent_lines, a), human_count((int64_t)m->added, b),
               human_count((int64_t)m->changed, c), human_count((int64_t)m->same, d));
    if (m->invalid)
        printf(", %s wrong", human_count((int64_t)m->invalid, a));
    putchar('\n');
}

static int open_list(struct import *m, const char *path)
{
    struct stat st;

    m->in = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    if (!m->in)
        return err_set(&m->e, -errno, "cannot open '%s'", path);
    if (fstat(fileno(m->in), &st) == 0 && S_ISREG(st.st_mode))
        m->size = (uint64_t)st.st_size;
    return 0;
}

int suppress_import(const struct parsed *p)
{
    struct import m = {.parsed = p, .client = {.fd = -1}};
    int status = EXIT_NO_ANSWER;

    if (open_list(&m, p->operands[0]) == 0 && client_open(&m.client, p, &m.e) == 0) {
        int code = read_lines(&m);
        progress(&m, true);
        if (code == 0 || m.sent_lines)
            summary(&m);
        status = code < 0 || m.invalid ? EXIT_REFUSED : EXIT_DONE;
    }
    if (m.e.code < 0) {
        complain(m.e.text);
        if (m.sent_lines)
            fprintf(stderr,
                    "pmtactl: stopped behind line %" PRIu64 "; what came before is stored\n",
                    m.sent_lines);
    }
    client_close(&m.client);
    if (m.in && m.in != stdin)
        fclose(m.in);
    buf_free(&m.piece);
    free(m.columns);
    return status;
}

/* --- export --- */

static int export_pieces(struct client *c, const struct parsed *p, struct err *e)
{
    struct buf from = {0};
    uint64_t entries = 0;
    int code = 0;

    if (!parsed_has(p, OPT_JSON))
        puts("address,scope,reason,expires,added,note");
    do {
        json_t *args = json_pack("{s:s}", "from", buf_data(&from)), *o = NULL;
        code = ask(c, VERB_SUPPRESS_EXPORT, args, &o, e);
        const json_t *lines = json_object_get(o, "lines");
        const char *next = field_text(o, "next");
        if (code == 0 && parsed_has(p, OPT_JSON))
            json_dumpf(o, stdout, JSON_COMPACT), putchar('\n');
        else if (code == 0)
            fwrite(json_string_value(lines), 1, json_string_length(lines), stdout);
        entries += number_of(o, "entries");
        buf_reset(&from);
        buf_append_str(&from, next ? next : "");
        json_decref(o);
        json_decref(args);
    } while (code == 0 && buf_len(&from) && !ferror(stdout));
    if (isatty(STDERR_FILENO) && !isatty(STDOUT_FILENO) && code == 0)
        fprintf(stderr, "%" PRIu64 " entries\n", entries);
    buf_free(&from);
    return code;
}

int suppress_export(const struct parsed *p)
{
    struct client c = {.fd = -1};
    struct err e = {0};
    int status = EXIT_NO_ANSWER;

    if (client_open(&c, p, &e) == 0)
        status = export_pieces(&c, p, &e) < 0 ? EXIT_REFUSED : EXIT_DONE;
    if (e.code < 0)
        complain(e.text);
    client_close(&c);
    return status;
}
