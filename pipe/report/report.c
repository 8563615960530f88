/*
 * Accounting records, log lines and counts; see report.h. Called by the engine, once per recipient
 * and attempt. The accounting file is opened once and appended to through the spool's commits; the
 * log line is gathered and written at the end of the loop's turn.
 */
#include "report/report.h"

#include "base/clock.h"
#include "base/log.h"
#include "report/csv.h"
#include "report/rates.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct report {
    char *pipe;
    struct spool *spool;
    int fd;                     /* accounting file, or -1 */
    struct buf early;           /* records made before there was a spool */
    message_id newest_received; /* of the r records found at the start; 0: none found */
    struct buf row;
    struct report_counts counts;
    struct rate_ring in;
    struct rate_ring out;
};

static const char header_line[] =
#define COLUMN_NAME(id, name, help) name ","
    REPORT_COLUMNS(COLUMN_NAME)
#undef COLUMN_NAME
    ;

enum { TAIL_BYTES = 256 * 1024 };

/* The message id in the last column of an r record, or 0. */
static message_id received_id(struct strview line)
{
    struct strview id = sv_trim(line);
    message_id n = 0;

    if (!sv_starts_nocase(id, SV("r,")))
        return 0;
    for (ptrdiff_t at; (at = sv_find(id, ',')) >= 0;)
        id = sv(id.ptr + at + 1, id.len - (size_t)at - 1);
    ptrdiff_t dot = sv_find(id, '.');
    return dot > 0 && message_id_parse(sv(id.ptr, (size_t)dot), &n) ? n : 0;
}

/* Finds the newest r record, and ends a line that a power cut left torn: its event was not
 * journalled, so its record is made again. */
static int read_tail(struct report *r, int dirfd, const char *name, off_t size)
{
    struct buf b = {0};
    int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
    off_t from = size > TAIL_BYTES ? size - TAIL_BYTES : 0;

    if (fd < 0)
        return -errno;
    ssize_t n = pread(fd, buf_reserve(&b, TAIL_BYTES), TAIL_BYTES, from);
    int status = n < 0 ? -errno : 0;
    close(fd);
    if (n > 0)
        buf_advance(&b, (size_t)n);
    struct strview rest = buf_view(&b), line;
    bool torn = rest.len && rest.ptr[rest.len - 1] != '\n';
    while (rest.len && sv_split(&rest, '\n', &line)) {
        message_id id = rest.ptr ? received_id(line) : 0; /* the last part is no whole line */
        r->newest_received = MAX_OF(r->newest_received, id);
    }
    buf_free(&b);
    if (status == 0 && torn && write(r->fd, "\r\n", 2) != 2)
        status = -EIO;
    return status;
}

static int open_accounting(struct report *r, int dirfd, struct err *e)
{
    char name[300];
    struct stat st;

    snprintf(name, sizeof(name), "acct-%s.csv", r->pipe);
    r->fd = openat(dirfd, name, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    if (r->fd < 0)
        return err_set(e, -errno, "cannot open accounting file '%s'", name);
    if (fstat(r->fd, &st) < 0)
        return err_set(e, -errno, "cannot look at accounting file '%s'", name);
    if (st.st_size == 0) {
        struct buf line = {0};
        buf_append(&line, header_line, sizeof(header_line) - 2); /* without the last comma */
        buf_append_str(&line, "\r\n");
        ssize_t n = write(r->fd, buf_data(&line), buf_len(&line));
        buf_free(&line);
        if (n < 0)
            return err_set(e, -errno, "cannot write accounting file '%s'", name);
        return 0;
    }
    int status = read_tail(r, dirfd, name, st.st_size);
    return status < 0 ? err_set(e, status, "cannot read accounting file '%s'", name) : 0;
}

int report_new(struct report **ret, const char *pipe, int acct_dirfd, struct err *e)
{
    struct report *r = xcalloc(1, sizeof(*r));

    r->pipe = xstrdup(pipe);
    r->fd = -1;
    if (acct_dirfd >= 0 && open_accounting(r, acct_dirfd, e) < 0) {
        int code = e->code;
        report_free(r);
        return code;
    }
    *ret = r;
    return 0;
}

void report_free(struct report *r)
{
    if (!r)
        return;
    if (r->fd >= 0)
        close(r->fd);
    buf_free(&r->row);
    buf_free(&r->early);
    free(r->pipe);
    free(r);
}

void report_set_spool(struct report *r, struct spool *spool)
{
    r->spool = spool;
    if (buf_len(&r->early))
        spool_accounting(spool, r->fd, buf_view(&r->early));
    buf_free(&r->early);
}

bool report_lacks_received(const struct report *r, message_id id)
{
    return r->newest_received && id > r->newest_received;
}

/* "2026-11-21 04:05:06+0000". The last two seconds asked for are remembered: most records of a busy
 * moment carry the same ones. */
static struct strview acct_time(int64_t wall_ms)
{
    static struct {
        int64_t second;
        char text[32];
    } memo[4];
    static unsigned turn;
    int64_t second = wall_ms / 1000;

    for (size_t i = 0; i < ARRAY_LEN(memo); i++)
        if (memo[i].second == second && memo[i].text[0])
            return sv_of(memo[i].text);
    size_t i = turn++ % ARRAY_LEN(memo);
    time_t t = (time_t)second;
    struct tm tm;
    gmtime_r(&t, &tm);
    strftime(memo[i].text, sizeof(memo[i].text), "%Y-%m-%d %H:%M:%S+0000", &tm);
    memo[i].second = second;
    return sv_of(memo[i].text);
}

static const char *dsn_action(enum outcome_class c)
{
    static const char *const actions[OUTCOME_CLASS_COUNT] = {
        [OUTCOME_DELIVERED] = "relayed", [OUTCOME_DEFERRED] = "delayed",
        [OUTCOME_BOUNCED] = "failed",    [OUTCOME_EXPIRED] = "expired",
        [OUTCOME_DELETED] = "deleted",
    };
    return actions[c];
}

/* What one row says; views may be empty. */
struct row {
    const char *type;
    int64_t queued_ms;
    struct strview orig, rcpt, job, envid, source;
    const struct outcome *outcome; /* may be NULL */
    const char *queue, *vmta;
    uint64_t size;
    const char *id;
};

static struct strview source_host(const struct envelope *env)
{
    return env->remote_mta.len ? env->remote_mta : env->peer;
}

/* Of "TLSv1.3/CIPHER". */
static void put_tls(struct csv *csv, const struct outcome *o)
{
    struct strview cipher = sv_of(o && o->tls ? o->tls : ""), version = cipher;

    sv_split(&cipher, '/', &version);
    csv_field(csv, version);
    csv_field(csv, cipher);
    csv_field(csv, sv_of(o && o->tls && *o->tls && o->tls_verify ? o->tls_verify : ""));
}

static void write_row(struct report *r, const struct row *row)
{
    const struct outcome *o = row->outcome;
    char status[16] = "", number[24] = "", text[600] = "", mta[320] = "";
    struct csv csv = csv_row(&r->row);

    if (r->fd < 0)
        return;
    buf_reset(&r->row);
    if (o) {
        outcome_status(o, status);
        snprintf(text, sizeof(text), "%s%.*s", o->code ? "smtp;" : "x-pmta;", SV_ARG(o->text));
        if (o->peer_ip.len)
            snprintf(mta, sizeof(mta), "%.*s (%.*s)", SV_ARG(o->peer_host), SV_ARG(o->peer_ip));
    }
    if (row->size)
        snprintf(number, sizeof(number), "%llu", (unsigned long long)row->size);
    csv_field(&csv, sv_of(row->type));
    csv_field(&csv, acct_time(clock_wall_ms()));
    csv_field(&csv, row->queued_ms ? acct_time(row->queued_ms) : sv(NULL, 0));
    csv_field(&csv, row->orig);
    csv_field(&csv, row->rcpt);
    csv_field(&csv, o ? sv_of(dsn_action(o->class_)) : sv(NULL, 0));
    csv_field(&csv, sv_of(status));
    csv_field(&csv, sv_of(text));
    csv_field(&csv, sv_of(mta));
    csv_field(&csv, row->source);
    csv_field(&csv, sv_of(row->vmta));
    csv_field(&csv, sv_of(r->pipe));
    csv_field(&csv, sv_of(row->queue));
    csv_field(&csv, row->job);
    csv_field(&csv, row->envid);
    csv_field(&csv, sv_of(number));
    put_tls(&csv, o);
    csv_field(&csv, sv_of(row->id));
    csv_end(&csv);
    if (r->spool)
        spool_accounting(r->spool, r->fd, buf_view(&r->row));
    else
        buf_append_sv(&r->early, buf_view(&r->row));
}

static void count(struct report *r, const struct outcome *o)
{
    switch (o->class_) {
    case OUTCOME_DELIVERED:
        r->counts.delivered++;
        rate_ring_add(&r->out, clock_mono_ms(), 1);
        break;
    case OUTCOME_DEFERRED:
        r->counts.deferred++;
        break;
    default:
        r->counts.bounced++;
    }
}

static void log_rcpt(const struct report_rcpt *w, const char *id)
{
    const struct outcome *o = w->outcome;
    const struct envelope_rcpt *rcpt = &w->env->rcpts[w->rcpt];
    int64_t now = clock_wall_ms();
    int64_t total = now - w->env->received_ms;
    int64_t connect = MAX_OF(o->connect_ms, (int64_t)0);
    int64_t transmit = MAX_OF(o->transmit_ms, (int64_t)0);
    int64_t waited = MAX_OF(total - connect - transmit, (int64_t)0);
    char status[16], next[48] = "";
    const char *verify =
        o->tls && *o->tls && o->tls_verify && *o->tls_verify ? o->tls_verify : NULL;

    if (o->class_ == OUTCOME_DEFERRED)
        snprintf(next, sizeof(next), " next_in=%llds", (long long)(w->next_ms - now + 500) / 1000);
    log_info(LOG_DELIVERY,
             "%s id=%s rcpt=%s from=%s queue=%s attempt=%u host=%.*s ip=%.*s%s%s%s%s "
             "delay=%lld.%03lld delays=queue:%lld,connect:%lld,transmit:%lld status=%s phase=%s%s "
             "reply='%s'",
             outcome_class_name(o->class_), id, log_safe(rcpt->address.ptr, rcpt->address.len, 320),
             log_safe(w->env->sender.ptr, w->env->sender.len, 320), w->queue, w->attempts,
             SV_ARG(o->peer_host), SV_ARG(o->peer_ip), o->tls && *o->tls ? " tls=" : "",
             o->tls ? o->tls : "", verify ? " verify=" : "", verify ? verify : "",
             (long long)total / 1000, (long long)total % 1000, (long long)waited,
             (long long)connect, (long long)transmit, outcome_status(o, status),
             outcome_phase_name(o->phase), next, log_safe(o->text.ptr, o->text.len, 400));
}

void report_rcpt(struct report *r, const struct report_rcpt *w)
{
    char id[MESSAGE_ID_SIZE + 8];
    const char record_type[2] = {outcome_record_type(w->outcome->class_), '\0'};

    message_id_format(w->id, id);
    snprintf(id + strlen(id), 8, ".%u", w->rcpt);
    count(r, w->outcome);
    log_rcpt(w, id);
    write_row(r, &(struct row){
                     .type = record_type,
                     .queued_ms = w->env->received_ms,
                     .orig = w->env->sender,
                     .source = source_host(w->env),
                     .rcpt = w->env->rcpts[w->rcpt].address,
                     .job = w->env->job,
                     .envid = w->env->envid,
                     .outcome = w->outcome,
                     .queue = w->queue,
                     .vmta = w->vmta,
                     .size = w->env->content_bytes - w->env->stuffed_dots,
                     .id = id,
                 });
}

void report_queue(struct report *r, const char *queue, const char *vmta, int64_t next_ms,
                  const struct outcome *o)
{
    char status[16];
    log_info(
        LOG_DELIVERY,
        "queue deferred queue=%s host=%.*s ip=%.*s status=%s phase=%s next_in=%llds reply='%s'",
        queue, SV_ARG(o->peer_host), SV_ARG(o->peer_ip), outcome_status(o, status),
        outcome_phase_name(o->phase), (long long)(next_ms - clock_wall_ms() + 500) / 1000,
        log_safe(o->text.ptr, o->text.len, 400));
    write_row(r, &(struct row){
                     .type = "tq",
                     .outcome = o,
                     .queue = queue,
                     .vmta = vmta,
                     .id = "",
                 });
}

void report_received(struct report *r, message_id id, const struct envelope *env,
                     const char *(*queue_of)(void *arg, uint32_t i), void *arg)
{
    char name[MESSAGE_ID_SIZE + 8];
    size_t at;

    r->counts.received += env->rcpt_count;
    rate_ring_add(&r->in, clock_mono_ms(), env->rcpt_count);
    message_id_format(id, name);
    at = strlen(name);
    for (uint32_t i = 0; i < env->rcpt_count; i++) {
        const char *queue = queue_of(arg, i);
        const char *slash = strrchr(queue, '/');
        snprintf(name + at, sizeof(name) - at, ".%u", i);
        write_row(r, &(struct row){
                         .type = "r",
                         .queued_ms = env->received_ms,
                         .orig = env->sender,
                         .source = source_host(env),
                         .rcpt = env->rcpts[i].address,
                         .job = env->job,
                         .envid = env->envid,
                         .queue = queue,
                         .vmta = slash ? slash + 1 : "",
                         .size = env->content_bytes - env->stuffed_dots,
                         .id = name,
                     });
    }
}

void report_counts(const struct report *r, struct report_counts *ret)
{
    *ret = r->counts;
}

void report_rates(const struct report *r, uint64_t *ret_in, uint64_t *ret_out)
{
    int64_t now = clock_mono_ms();
    *ret_in = rate_ring_per_minute(&r->in, now);
    *ret_out = rate_ring_per_minute(&r->out, now);
}
