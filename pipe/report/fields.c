/*
 * What stands in the columns of accounting records; see event.h. acct_file.c asks, once per record,
 * file and column: no allocation, and no printf where a copy does.
 */
#include "report/event.h"

#include "report/phases.h"

#include <stdio.h>
#include <time.h>

/* The last few seconds asked for are remembered: most records of a busy moment carry the same. */
struct strview acct_time(int64_t wall_ms)
{
    static struct {
        int64_t second;
        char text[32];
    } memo[4];
    static unsigned turn;
    int64_t second = wall_ms / 1000;

    for (size_t i = 0; i < ARRAY_LEN(memo); i++)
        if (memo[i].second == second && memo[i].text[0])
            return sv(memo[i].text, 24);
    size_t i = turn++ % ARRAY_LEN(memo);
    time_t t = (time_t)second;
    struct tm tm;
    gmtime_r(&t, &tm);
    strftime(memo[i].text, sizeof(memo[i].text), "%Y-%m-%d %H:%M:%S+0000", &tm);
    memo[i].second = second;
    return sv_of(memo[i].text);
}

static struct strview number(uint64_t n, char *scratch)
{
    char *end = scratch + 24, *at = end;

    do
        *--at = (char)('0' + n % 10);
    while (n /= 10);
    return sv(at, (size_t)(end - at));
}

static struct strview moment(int64_t ms, bool iso, char *scratch)
{
    if (!ms)
        return sv(NULL, 0);
    return iso ? acct_time(ms) : number((uint64_t)(ms / 1000), scratch);
}

static struct strview join(char *scratch, struct strview a, struct strview b, struct strview c,
                           struct strview d)
{
    const struct strview parts[] = {a, b, c, d};
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        size_t len = MIN_OF(parts[i].len, (size_t)ACCT_SCRATCH - n);
        if (len)
            memcpy(scratch + n, parts[i].ptr, len);
        n += len;
    }
    return sv(scratch, n);
}

static struct strview rule_place(const char *file, unsigned line, char *scratch)
{
    if (!file)
        return sv(NULL, 0);
    int n = snprintf(scratch, ACCT_SCRATCH, "%s:%u", file, line);
    return sv(scratch, MIN_OF((size_t)n, (size_t)ACCT_SCRATCH - 1));
}

static struct strview dsn_action(const struct acct_event *e)
{
    static const char *const actions[OUTCOME_CLASS_COUNT] = {
        [OUTCOME_DELIVERED] = "relayed", [OUTCOME_DEFERRED] = "delayed",
        [OUTCOME_BOUNCED] = "failed",    [OUTCOME_EXPIRED] = "expired",
        [OUTCOME_DELETED] = "deleted",
    };
    if (e->remote)
        return e->remote->action;
    return e->outcome ? sv_of(actions[e->outcome->class_]) : sv(NULL, 0);
}

static struct strview dsn_status(const struct acct_event *e, char *scratch)
{
    if (e->remote)
        return e->remote->status;
    return e->outcome ? sv_of(outcome_status(e->outcome, scratch)) : sv(NULL, 0);
}

static struct strview dsn_diag(const struct acct_event *e, char *scratch)
{
    const struct outcome *o = e->outcome;

    if (e->remote)
        return e->remote->diagnostic;
    if (!o)
        return sv(NULL, 0);
    struct strview text = sv(o->text.ptr, MIN_OF(o->text.len, (size_t)592));
    return join(scratch, o->code ? SV("smtp;") : SV("x-pmta;"), text, SV(""), SV(""));
}

static struct strview dsn_mta(const struct acct_event *e, char *scratch)
{
    const struct outcome *o = e->outcome;

    if (e->remote)
        return e->remote->remote_mta;
    if (!o || !o->peer_ip.len)
        return sv(NULL, 0);
    struct strview host = sv(o->peer_host.ptr, MIN_OF(o->peer_host.len, (size_t)256));
    struct strview both = join(scratch, host, SV(" ("), o->peer_ip, SV(")"));
    return both;
}

/* "TLSv1.3/CIPHER" */
static struct strview tls_part(const struct acct_event *e, bool cipher)
{
    struct strview all = sv_of(e->outcome && e->outcome->tls ? e->outcome->tls : "");
    ptrdiff_t slash = sv_find(all, '/');

    if (slash < 0)
        return cipher ? sv(NULL, 0) : all;
    return cipher ? sv(all.ptr + slash + 1, all.len - (size_t)slash - 1)
                  : sv(all.ptr, (size_t)slash);
}

static struct strview delay(const struct acct_event *e, enum acct_field f, char *scratch)
{
    if (!e->queued_ms || (!e->outcome && f != ACCT_FIELD_DELAY_RECEIVE))
        return sv(NULL, 0);
    if (f == ACCT_FIELD_DELAY_RECEIVE)
        return number((uint64_t)(e->receive_ms + e->commit_ms), scratch);
    int64_t queued = MAX_OF(e->logged_ms - e->queued_ms, (int64_t)0);
    struct phases p = phases_of(e->receive_ms, e->commit_ms, queued, e->outcome);
    int64_t n = f == ACCT_FIELD_DELAY_TOTAL            ? p.total
                : f == ACCT_FIELD_DELAY_CONNECT        ? p.connect
                : f == ACCT_FIELD_DELAY_TRANSMIT       ? p.transmit
                : f == ACCT_FIELD_TOTAL_SECONDS_QUEUED ? queued / 1000
                                                       : p.queue;
    return number((uint64_t)n, scratch);
}

static struct strview status_word(const struct acct_event *e)
{
    if (e->record == ACCT_R)
        return SV("received");
    return e->outcome ? sv_of(outcome_class_name(e->outcome->class_)) : dsn_action(e);
}

struct strview acct_event_domain(const struct acct_event *e)
{
    if (e->rcpt.len)
        return address_domain(e->rcpt);
    ptrdiff_t slash = sv_find(e->queue, '/');
    return slash < 0 ? e->queue : sv(e->queue.ptr, (size_t)slash);
}

static struct strview header_value(struct strview headers, struct strview name)
{
    struct strview line;

    while (sv_split(&headers, '\n', &line))
        if (line.len > name.len + 1 && line.ptr[name.len] == ':' &&
            sv_eq_nocase(sv(line.ptr, name.len), name))
            return sv_trim(sv(line.ptr + name.len + 1, line.len - name.len - 1));
    return sv(NULL, 0);
}

static struct strview remote_text(const struct acct_remote *r, enum acct_field f)
{
    if (!r)
        return sv(NULL, 0);
    switch (f) {
    case ACCT_FIELD_DSN_REPORTING_MTA:
    case ACCT_FIELD_REPORTING_MTA:
        return r->reporting_mta;
    case ACCT_FIELD_FORMAT:
        return r->format;
    case ACCT_FIELD_REP_SOURCE_IP:
        return r->source_ip;
    case ACCT_FIELD_FEEDBACK_TYPE:
        return r->feedback_type;
    case ACCT_FIELD_USER_AGENT:
        return r->user_agent;
    default:
        return r->reported_domain;
    }
}

struct strview acct_event_text(const struct acct_event *e, enum acct_field f, struct strview header,
                               struct strview user_string, bool iso_times, char *scratch)
{
    const struct strview none = {NULL, 0};
    const struct outcome *o = e->outcome;

    switch (f) {
    case ACCT_FIELD_TYPE:
        return sv_of(acct_record_code(e->record));
    case ACCT_FIELD_TIME_LOGGED:
    case ACCT_FIELD_TIME:
        return moment(e->logged_ms, iso_times, scratch);
    case ACCT_FIELD_TIME_QUEUED:
        return moment(e->queued_ms, iso_times, scratch);
    case ACCT_FIELD_NEXT_ATTEMPT:
        return moment(e->next_ms, iso_times, scratch);
    case ACCT_FIELD_ORIG:
        return e->orig;
    case ACCT_FIELD_RCPT:
        return e->rcpt;
    case ACCT_FIELD_ORCPT:
        return e->orcpt;
    case ACCT_FIELD_DSN_ACTION:
        return dsn_action(e);
    case ACCT_FIELD_DSN_STATUS:
    case ACCT_FIELD_SHORT_STATUS:
        return dsn_status(e, scratch);
    case ACCT_FIELD_DSN_DIAG:
        return dsn_diag(e, scratch);
    case ACCT_FIELD_DSN_MTA:
        return dsn_mta(e, scratch);
    case ACCT_FIELD_BOUNCE_CAT:
        return e->remote ? e->remote->category : sv_of(e->category ? e->category : "");
    case ACCT_FIELD_BOUNCE_RULE:
        return rule_place(e->bounce_file, e->bounce_line, scratch);
    case ACCT_FIELD_REPLY_RULE:
        return rule_place(e->reply_file, e->reply_line, scratch);
    case ACCT_FIELD_SRC_TYPE:
        return e->is_notice ? SV("dsn") : SV("smtp");
    case ACCT_FIELD_DLV_TYPE:
        return sv_of(e->dlv_type ? e->dlv_type : "smtp");
    case ACCT_FIELD_SRC_MTA:
        return e->source_host;
    case ACCT_FIELD_DLV_SOURCE_IP:
        return o ? o->local_ip : none;
    case ACCT_FIELD_DLV_DESTINATION_IP:
        return o ? o->peer_ip : none;
    case ACCT_FIELD_DLV_SIZE:
    case ACCT_FIELD_SIZE:
        return e->size ? number(e->size, scratch) : none;
    case ACCT_FIELD_VMTA:
        return e->vmta;
    case ACCT_FIELD_VMTA_POOL:
        return e->pool;
    case ACCT_FIELD_JOB_ID:
        return e->job;
    case ACCT_FIELD_ENV_ID:
        return e->envid;
    case ACCT_FIELD_QUEUE:
        return e->queue;
    case ACCT_FIELD_PIPE:
        return e->pipe;
    case ACCT_FIELD_MSG_ID:
        return e->id;
    case ACCT_FIELD_ATTEMPT:
        return e->attempt ? number(e->attempt, scratch) : none;
    case ACCT_FIELD_PHASE:
        return o ? sv_of(outcome_phase_name(o->phase)) : none;
    case ACCT_FIELD_DELAY_TOTAL:
    case ACCT_FIELD_DELAY_RECEIVE:
    case ACCT_FIELD_DELAY_QUEUE:
    case ACCT_FIELD_DELAY_CONNECT:
    case ACCT_FIELD_DELAY_TRANSMIT:
    case ACCT_FIELD_TOTAL_SECONDS_QUEUED:
        return delay(e, f, scratch);
    case ACCT_FIELD_DLV_TLS_PROTOCOL:
        return tls_part(e, false);
    case ACCT_FIELD_DLV_TLS_CIPHER:
        return tls_part(e, true);
    case ACCT_FIELD_DLV_TLS_VERIFIED:
        return sv_of(o && o->tls && *o->tls && o->tls_verify ? o->tls_verify : "");
    case ACCT_FIELD_RCV_SMTP_USER:
        return e->user;
    case ACCT_FIELD_RCV_SOURCE_IP:
        return e->source_ip;
    case ACCT_FIELD_USER_STRING:
        return user_string;
    case ACCT_FIELD_DOMAIN:
        return acct_event_domain(e);
    case ACCT_FIELD_STATUS:
        return status_word(e);
    case ACCT_FIELD_DSN_REPORTING_MTA:
    case ACCT_FIELD_FORMAT:
    case ACCT_FIELD_REP_SOURCE_IP:
    case ACCT_FIELD_FEEDBACK_TYPE:
    case ACCT_FIELD_USER_AGENT:
    case ACCT_FIELD_REPORTING_MTA:
    case ACCT_FIELD_REPORTED_DOMAIN:
        return remote_text(e->remote, f);
    case ACCT_FIELD_DLV_ESMTP_AVAILABLE:
        return sv_of(o && o->esmtp ? o->esmtp : "");
    case ACCT_FIELD_TIME_FIRST_ATTEMPT:
        return moment(e->first_attempt_ms, iso_times, scratch);
    case ACCT_FIELD_RCV_DESTINATION_IP:
        return e->local_ip;
    case ACCT_FIELD_TIME_IMPRINTED:
        return none;
    case ACCT_FIELD_HEADER:
        return header_value(e->headers, header);
    }
    return none;
}
