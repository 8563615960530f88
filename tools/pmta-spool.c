/*
 * pmta-spool: looks into a spool directory without the pipe that owns it. Reads only, takes no
 * lock; on a live spool a growing end is not a fault. Builds the same picture as recovery does, out
 * of the same scans, and proves the ledger: received = delivered + bounced + expired + deleted +
 * corrupt + queued.
 *
 * Memory: one entry per message record in the spool, for the run.
 */
#include "spool/internal.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "mail/outcome.h"

enum { EXIT_PROBLEMS = 1, EXIT_USAGE = 2 };

struct entry {
    message_id id;
    uint32_t segment;
    uint32_t offset;
    uint32_t rcpts;
    bool content_ok;
};

struct view {
    struct spool_dir dir;
    bool json;
    bool verify;
    bool live; /* a pipe is running on it */
    struct entry *entries;
    size_t count, cap;
    struct states states;
    struct spool_ledger ledger;
    uint64_t received;
    uint64_t queued;
    uint64_t problems;
    uint64_t bytes, journal_bytes;
    size_t segments, journals;
    uint32_t number; /* of the file being scanned */
    uint16_t kind;
    bool newest;
    uint64_t journal;
};

static void problem(struct view *v, const char *file, uint64_t number, uint64_t at,
                    const char *what)
{
    v->problems++;
    if (v->json)
        printf("{\"problem\":\"%s\",\"file\":\"%s/%08" PRIu64 "\",\"offset\":%" PRIu64 "}\n", what,
               file, number, at);
    else
        printf("problem: %s/%08" PRIu64 " at %" PRIu64 ": %s\n", file, number, at, what);
}

/* ---- reading everything ---- */

static void on_record(void *arg, uint32_t offset, const struct record *r, const char *in, bool ok)
{
    struct view *v = arg;
    (void)in;
    if (v->count == v->cap)
        v->entries =
            xrealloc(v->entries, (v->cap = v->cap ? v->cap * 2 : 1024) * sizeof(*v->entries));
    v->entries[v->count++] = (struct entry){r->id, v->number, offset, r->rcpt_count, ok};
    if (v->kind == SEGMENT_FRESH)
        v->received = MAX_OF(v->received, r->received_before + r->rcpt_count);
}

static void on_segment_damage(void *arg, uint64_t from, uint64_t to, bool to_end)
{
    struct view *v = arg;
    (void)to;
    if (!(to_end && v->newest))
        problem(v, "seg", v->number, from, "bytes that are no record");
}

static void on_event(void *arg, uint64_t offset, const struct event *e, struct strview encoded)
{
    struct view *v = arg;
    ledger_count(&v->ledger, e);
    states_put(&v->states, e, journal_place(v->journal, offset), encoded.len);
}

static void on_journal_damage(void *arg, uint64_t from, uint64_t to, bool to_end)
{
    struct view *v = arg;
    (void)to;
    if (!(to_end && v->newest))
        problem(v, "journal", v->journal, from, "bytes that are no journal record");
}

static void read_journal(struct view *v, uint64_t number)
{
    char header[JOURNAL_HEADER_BYTES];
    struct journal_header h;
    struct journal_scan scan = {on_event, on_journal_damage, v};
    int fd = spool_dir_open_file(v->dir.journals, number);
    int64_t size = fd < 0 ? fd : spool_file_size(fd);

    v->journal = number;
    if (size == -ENOENT) /* collected meanwhile */
        return;
    if (size < 0) {
        problem(v, "journal", number, 0, err_name((int)size));
        return;
    }
    if (spool_read_at(fd, header, sizeof(header), 0) == 0 && journal_header_decode(header, &h)) {
        v->ledger = h.ledger;
        v->received = MAX_OF(v->received, h.ledger.received);
    } else {
        problem(v, "journal", number, 0, "header is damaged");
    }
    if (journal_scan(&scan, fd, (uint64_t)size) < 0)
        problem(v, "journal", number, 0, "cannot be read");
    v->journal_bytes += (uint64_t)size;
    v->journals++;
    close(fd);
}

struct segment_file {
    uint64_t number;
    int fd;
    struct segment_header header;
    uint64_t size, end;
};

static void scan_segment(struct view *v, const struct segment_file *f)
{
    struct segment_scan scan = {f->header.tag, v->verify || v->newest, on_record, on_segment_damage,
                                v};
    v->number = (uint32_t)f->number;
    v->kind = f->header.kind;
    if (segment_scan(&scan, f->fd, f->end) < 0)
        problem(v, "seg", f->number, 0, "cannot be read");
    v->bytes += f->size;
    v->segments++;
}

static void open_segment(struct view *v, struct segment_file *f, uint64_t number)
{
    char header[SEGMENT_HEADER_BYTES];
    f->number = number;
    f->fd = spool_dir_open_file(v->dir.segments, number);
    int64_t size = f->fd < 0 ? f->fd : spool_file_size(f->fd);
    if (size < 0) {
        if (size != -ENOENT) /* removed meanwhile */
            problem(v, "seg", number, 0, err_name((int)size));
        return;
    }
    f->size = f->end = (uint64_t)size;
    if (spool_read_at(f->fd, header, sizeof(header), 0) < 0 ||
        !segment_header_decode(header, &f->header))
        problem(v, "seg", number, 0, "header is damaged");
    v->received = MAX_OF(v->received, f->header.received);
}

static void read_segments(struct view *v)
{
    uint64_t *numbers = NULL;
    size_t count = 0, last = SIZE_MAX;
    if (spool_dir_list(v->dir.segments, &numbers, &count) < 0)
        problem(v, "seg", 0, 0, "cannot be listed");
    struct segment_file *files = xcalloc(count, sizeof(*files));
    for (size_t i = 0; i < count; i++) {
        open_segment(v, &files[i], numbers[i]);
        for (size_t k = 0; k < i; k++)
            if (files[i].header.prev_number && files[k].number == files[i].header.prev_number)
                files[k].end = MIN_OF(files[k].end, files[i].header.prev_end);
        if (files[i].header.kind == SEGMENT_FRESH)
            last = i;
    }
    for (size_t i = 0; i < count; i++) {
        v->newest = i == last;
        if (files[i].fd >= 0) {
            scan_segment(v, &files[i]);
            close(files[i].fd);
        }
    }
    free(files);
    free(numbers);
}

static int compare_entries(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    if (x->id != y->id)
        return x->id < y->id ? -1 : 1;
    return (x->segment < y->segment) - (x->segment > y->segment);
}

/* Does a process hold the spool's lock? Asked of the kernel's list, because taking it for a moment
 * could make a pipe that starts just then give up. */
static bool is_live(const struct view *v)
{
    struct stat st;
    char line[256], *inode_at;
    bool live = false;
    FILE *locks = fopen("/proc/locks", "re");
    if (fstatat(v->dir.fd, "lock", &st, 0) < 0)
        st.st_ino = 0;
    while (locks && !live && fgets(line, sizeof(line), locks)) {
        char *colon = strstr(line, "FLOCK") ? strchr(line + 12, ':') : NULL;
        inode_at = colon ? strchr(colon + 1, ':') : NULL;
        live = inode_at && strtoull(inode_at + 1, NULL, 10) == st.st_ino;
    }
    if (locks)
        fclose(locks);
    return live;
}

/* Segments first: then no message is without its events. A pipe that runs may end messages, and
 * accept others, between the two; so the ledger of a live spool is shown, but a difference in it is
 * not called a problem. */
static void read_all(struct view *v)
{
    uint64_t *numbers = NULL;
    size_t count = 0, kept = 0;
    read_segments(v);
    if (spool_dir_list(v->dir.journals, &numbers, &count) < 0)
        problem(v, "journal", 0, 0, "cannot be listed");
    for (size_t i = 0; i < count; i++) {
        v->newest = i + 1 == count;
        read_journal(v, numbers[i]);
    }
    free(numbers);
    if (v->count)
        qsort(v->entries, v->count, sizeof(*v->entries), compare_entries);
    for (size_t i = 0; i < v->count; i++) /* of two records of one message the copy counts */
        if (!i || v->entries[i].id != v->entries[kept - 1].id)
            v->entries[kept++] = v->entries[i];
    v->count = kept;
}

static enum spool_state rcpt_state(const struct view *v, const struct entry *e, uint32_t rcpt,
                                   const struct state **ret)
{
    const struct state *all = states_get(&v->states, e->id, RCPT_ALL);
    const struct state *st = states_get(&v->states, e->id, (uint16_t)rcpt);
    *ret = st;
    if (st && st->state >= SPOOL_DELIVERED)
        return (enum spool_state)st->state;
    if (all)
        return (enum spool_state)STATE_CORRUPT;
    return st ? (enum spool_state)st->state : SPOOL_QUEUED;
}

static uint32_t left_of(const struct view *v, const struct entry *e)
{
    const struct state *st;
    uint32_t left = 0;
    for (uint32_t i = 0; i < e->rcpts; i++)
        left += !spool_state_is_final(rcpt_state(v, e, i, &st));
    return left;
}

static const char *state_name(int state)
{
    static const char *const names[] = {"queued",  "deferred", "delivered", "bounced",
                                        "expired", "deleted",  "corrupt"};
    return state >= 0 && (size_t)state < ARRAY_LEN(names) ? names[state] : "unknown";
}

/* ---- check ---- */

static void print_check(const struct view *v, bool balanced)
{
    const struct spool_ledger *l = &v->ledger;
    if (v->json) {
        printf("{\"segments\":%zu,\"segmentBytes\":%" PRIu64
               ",\"journals\":%zu,\"journalBytes\":%" PRIu64 ",\"received\":%" PRIu64
               ",\"delivered\":%" PRIu64 ",\"bounced\":%" PRIu64 ",\"expired\":%" PRIu64
               ",\"deleted\":%" PRIu64 ",\"corrupt\":%" PRIu64 ",\"queued\":%" PRIu64
               ",\"live\":%s,\"balanced\":%s,\"problems\":%" PRIu64 "}\n",
               v->segments, v->bytes, v->journals, v->journal_bytes, v->received, l->delivered,
               l->bounced, l->expired, l->deleted, l->corrupt, v->queued,
               v->live ? "true" : "false", balanced ? "true" : "false", v->problems);
        return;
    }
    printf("segments    %12zu  %14" PRIu64 " bytes\n", v->segments, v->bytes);
    printf("journals    %12zu  %14" PRIu64 " bytes\n", v->journals, v->journal_bytes);
    printf("\nrecipients\n");
    printf("  received  %12" PRIu64 "\n  delivered %12" PRIu64 "\n  bounced   %12" PRIu64
           "\n  expired   %12" PRIu64 "\n  deleted   %12" PRIu64 "\n  corrupt   %12" PRIu64
           "\n  queued    %12" PRIu64 "\n",
           v->received, l->delivered, l->bounced, l->expired, l->deleted, l->corrupt, v->queued);
    printf("\nledger: %s\n", balanced  ? "received = ended + queued"
                             : v->live ? "in motion, the pipe is running (ask pmtactl ledger)"
                                       : "DOES NOT ADD UP");
    printf("%" PRIu64 " problems found\n", v->problems);
}

static int run_check(struct view *v)
{
    const struct spool_ledger *l = &v->ledger;
    for (size_t i = 0; i < v->count; i++) {
        uint32_t left = left_of(v, &v->entries[i]);
        v->queued += left;
        if (left && !v->entries[i].content_ok)
            problem(v, "seg", v->entries[i].segment, v->entries[i].offset,
                    "content does not match its checksum");
    }
    bool balanced =
        v->received == l->delivered + l->bounced + l->expired + l->deleted + l->corrupt + v->queued;
    v->live = is_live(v);
    v->problems += !balanced && !v->live;
    print_check(v, balanced);
    return v->problems ? EXIT_PROBLEMS : 0;
}

/* ---- list and dump ---- */

static void json_text(struct strview s)
{
    putchar('"');
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c == '"' || c == '\\')
            printf("\\%c", c);
        else if (c < 32 || c == 127)
            printf("\\u%04x", c);
        else
            putchar(c);
    }
    putchar('"');
}

/* Header and envelope of a record, or NULL; caller frees. */
static char *load_head(const struct view *v, const struct entry *e, struct record *r, int *ret_fd)
{
    char header[RECORD_HEADER_BYTES], *mem = NULL;
    int fd = spool_dir_open_file(v->dir.segments, e->segment);
    *ret_fd = fd;
    if (fd < 0 || spool_read_at(fd, header, sizeof(header), e->offset) < 0 ||
        !record_peek(header, r))
        return NULL;
    mem = xmalloc(RECORD_HEADER_BYTES + (size_t)r->envelope_bytes);
    if (spool_read_at(fd, mem, RECORD_HEADER_BYTES + (size_t)r->envelope_bytes, e->offset) == 0 &&
        record_verify(mem, r))
        return mem;
    free(mem);
    return NULL;
}

static void list_rcpt(const struct view *v, const struct entry *e, const struct envelope *env,
                      uint32_t i)
{
    const struct state *st;
    char id[MESSAGE_ID_SIZE];
    enum spool_state state = rcpt_state(v, e, i, &st);
    if (v->json) {
        printf("{\"id\":\"%s\",\"rcpt\":%u,\"state\":\"%s\",\"attempts\":%u,\"sender\":",
               message_id_format(e->id, id), i, state_name((int)state), st ? st->attempts : 0);
        json_text(env->sender);
        printf(",\"address\":");
        json_text(env->rcpts[i].address);
        printf(",\"segment\":%u,\"offset\":%u}\n", e->segment, e->offset);
        return;
    }
    printf("%s  %-9s %8u  %s -> %s\n", message_id_format(e->id, id), state_name((int)state),
           st ? st->attempts : 0, log_safe(env->sender.ptr, env->sender.len, 100),
           log_safe(env->rcpts[i].address.ptr, env->rcpts[i].address.len, 100));
}

static int run_list(struct view *v)
{
    if (!v->json)
        printf("%-13s  %-9s %8s  %s\n", "ID", "STATE", "ATTEMPTS", "SENDER -> RECIPIENT");
    for (size_t k = 0; k < v->count; k++) {
        struct entry *e = &v->entries[k];
        struct record r;
        struct envelope env;
        struct arena arena = {0};
        int fd = -1;
        char *head = left_of(v, e) ? load_head(v, e, &r, &fd) : NULL;
        if (head && envelope_decode(sv(head + RECORD_HEADER_BYTES, r.envelope_bytes), &arena, &env,
                                    NULL) == 0)
            for (uint32_t i = 0; i < env.rcpt_count; i++)
                list_rcpt(v, e, &env, i);
        free(head);
        arena_free(&arena);
        if (fd >= 0)
            close(fd);
    }
    return v->problems ? EXIT_PROBLEMS : 0;
}

static int write_content(int fd, uint64_t at, const struct record *r)
{
    char chunk[65536];
    for (uint64_t done = 0; done < r->content_bytes; done += sizeof(chunk)) {
        size_t n = (size_t)MIN_OF(r->content_bytes - done, (uint64_t)sizeof(chunk));
        if (spool_read_at(fd, chunk, n, at + done) < 0 || fwrite(chunk, 1, n, stdout) != n)
            return EXIT_PROBLEMS;
    }
    return 0;
}

static int dump_entry(struct view *v, const struct entry *e)
{
    struct record r;
    struct envelope env;
    struct arena arena = {0};
    int fd, rc = EXIT_PROBLEMS;
    char iso[CLOCK_ISO_SIZE], *head = load_head(v, e, &r, &fd);
    if (head && envelope_decode(sv(head + RECORD_HEADER_BYTES, r.envelope_bytes), &arena, &env,
                                NULL) == 0) {
        for (uint32_t i = 0; v->json && i < env.rcpt_count; i++)
            list_rcpt(v, e, &env, i);
        if (!v->json) {
            printf("received  %s\nsender    %s\nsource    %s\nplace     seg/%08u at %u, %" PRIu64
                   " bytes\n",
                   clock_iso(env.received_ms, iso), log_safe(env.sender.ptr, env.sender.len, 300),
                   log_safe(env.source.ptr, env.source.len, 100), e->segment, e->offset,
                   record_total_bytes(&r));
            for (uint32_t i = 0; i < env.rcpt_count; i++)
                list_rcpt(v, e, &env, i);
            printf("content   %s\n\n",
                   segment_content_ok(fd, e->offset + RECORD_HEADER_BYTES + r.envelope_bytes, &r)
                       ? "checksum matches"
                       : "DAMAGED");
            rc = write_content(fd, e->offset + RECORD_HEADER_BYTES + r.envelope_bytes, &r);
        } else {
            rc = 0;
        }
    }
    free(head);
    arena_free(&arena);
    if (fd >= 0)
        close(fd);
    return rc;
}

static int run_dump(struct view *v, const char *text)
{
    message_id id;
    if (!message_id_parse(sv_of(text), &id)) {
        fprintf(stderr, "pmta-spool: '%s' is not a message id (13 characters)\n", text);
        return EXIT_USAGE;
    }
    for (size_t i = 0; i < v->count; i++)
        if (v->entries[i].id == id)
            return dump_entry(v, &v->entries[i]);
    fprintf(stderr, "pmta-spool: no message '%s' in this spool\n", text);
    return EXIT_PROBLEMS;
}

static void usage(FILE *to)
{
    fputs("usage: pmta-spool [--json] check DIR\n"
          "       pmta-spool [--json] list DIR\n"
          "       pmta-spool [--json] dump DIR ID\n"
          "\n"
          "Looks into the spool directory of one pipe. Reads only; works beside a running pipe.\n"
          "\n"
          "  check   verifies every checksum and proves the ledger: recipients received are those\n"
          "          that ended and those still queued\n"
          "  list    the recipients of unfinished messages, in order of arrival\n"
          "  dump    one message: envelope, state of its recipients, and content as stored\n"
          "          (CRLF, dot-stuffed)\n"
          "\n"
          "  --json     one JSON object per line\n"
          "  --help     this text\n"
          "  --version  the version\n"
          "\n"
          "Exit status: 0 all is well, 1 problems were found, 2 wrong usage.\n",
          to);
}

static int run(struct view *v, int argc, char **argv)
{
    struct err e;
    const char *verb = argc > 0 ? argv[0] : "";
    bool dump = strcmp(verb, "dump") == 0, list = strcmp(verb, "list") == 0;
    v->verify = strcmp(verb, "check") == 0;
    if (!(v->verify || list || dump) || argc != (dump ? 3 : 2)) {
        usage(stderr);
        return EXIT_USAGE;
    }
    if (spool_dir_open_reader(&v->dir, argv[1], &e) < 0) {
        fprintf(stderr, "pmta-spool: %s\n", e.text);
        return EXIT_PROBLEMS;
    }
    read_all(v);
    int rc = v->verify ? run_check(v) : list ? run_list(v) : run_dump(v, argv[2]);
    spool_dir_close(&v->dir);
    free(v->entries);
    states_free(&v->states);
    return rc;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},
        {NULL, 0, NULL, 0},
    };
    struct view v = {0};
    for (int c; (c = getopt_long(argc, argv, "jhV", options, NULL)) != -1;) {
        if (c == 'j') {
            v.json = true;
        } else if (c == 'h') {
            usage(stdout);
            return 0;
        } else if (c == 'V') {
            printf("pmta-spool %s, spool format %d\n", PMTA_VERSION, SPOOL_FORMAT_VERSION);
            return 0;
        } else {
            return EXIT_USAGE;
        }
    }
    return run(&v, argc - optind, argv + optind);
}
