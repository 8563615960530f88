/*
 * From the end of the header block to the answer of the pipe: which pipe, what the X- header fields
 * say, the finished envelope, the reply. Called by smtp_server_data.c and by the owner.
 */
#include "smtp_server_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "mail/accepted_line.h"
#include "mail/dkim.h"
#include "mail/schedule.h"

#include <inttypes.h>
#include <stdio.h>

enum { JOB_MAX = 255, REMOTE_MTA_MAX = 255, PRIORITY_MAX = 100, BIMI_MAX = 500, LIST_FIELD_MAX = 2000, LINE_USUAL = 60 };

static bool is_word(struct strview s, size_t max)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] <= 0x20 || s.ptr[i] >= 0x7f)
            return false;
    return s.len <= max;
}

static void refuse_name(struct smtp_server *s, const char *what, struct strview name)
{
    char text[SMTP_REPLY_MAX];
    snprintf(text, sizeof(text), "550 5.7.1 Unknown %s '%s'", what,
             log_safe(name.ptr, name.len, 64));
    smtp_server_refuse_message(s, TROUBLE_ROUTE, text);
}

/* X-Envid as ENVID= carries it (RFC 3461 section 4). False when it is too long. */
static bool encode_envid(struct arena *a, struct strview v, struct strview *ret)
{
    static const char hex[] = "0123456789ABCDEF";
    char out[SMTP_ENVID_MAX];
    size_t n = 0;

    for (size_t i = 0; i < v.len; i++) {
        unsigned char c = (unsigned char)v.ptr[i];
        bool plain = c >= 0x21 && c <= 0x7e && c != '+' && c != '=';
        if (n + (plain ? 1 : 3) > sizeof(out))
            return false;
        if (plain) {
            out[n++] = (char)c;
        } else {
            out[n++] = '+';
            out[n++] = hex[c >> 4];
            out[n++] = hex[c & 15];
        }
    }
    *ret = arena_sv(a, sv(out, n));
    return true;
}

static void honour_dkim_options(struct smtp_server *s, struct strview text)
{
    struct smtp_transaction *tx = &s->tx;
    struct signing_options options;
    char reply[SMTP_REPLY_MAX];
    struct err e;

    if (signing_options_parse(text, &options, &e) < 0) {
        snprintf(reply, sizeof(reply), "550 5.6.0 X-DKIM-Options is not valid (%.300s)", e.text);
        smtp_server_refuse_message(s, TROUBLE_ROUTE, reply);
    } else if (!s->ops->signing_key_exists(s->owner, tx->pipe, &options)) {
        smtp_server_refuse_message(s, TROUBLE_ROUTE,
                                   "550 5.7.1 X-DKIM-Options asks for a key that is not "
                                   "configured");
    }
    tx->envelope.dkim_options = arena_sv(&tx->arena, text);
}

static void put_field(struct buf *out, const char *name, struct strview value)
{
    size_t line = strlen(name) + 2;

    if (!value.len || value.len > LIST_FIELD_MAX)
        return;
    buf_printf(out, "%s: ", name);
    for (size_t i = 0; i < value.len; i++, line++) {
        bool blank = value.ptr[i] == ' ' || value.ptr[i] == '\t';
        if (blank && line > LINE_USUAL) { /* folded, as it came */
            buf_append_str(out, "\r\n");
            line = 0;
        }
        buf_append_char(out, value.ptr[i]);
    }
    buf_append_str(out, "\r\n");
}

static void keep_list_fields(struct smtp_transaction *tx)
{
    struct strview list = header_scan_value(&tx->header, HEADER_LIST_UNSUBSCRIBE);
    struct buf b = {0};

    if (!list.len)
        return;
    put_field(&b, "List-Unsubscribe", list);
    put_field(&b, "List-Unsubscribe-Post",
              header_scan_value(&tx->header, HEADER_LIST_UNSUBSCRIBE_POST));
    tx->envelope.list_fields = arena_sv(&tx->arena, buf_view(&b));
    buf_free(&b);
}

/* BIMI-Selector and List-Unsubscribe fields of the application go back in when none of ours take their
 * place. */
static void prepare_signing(struct smtp_server *s)
{
    struct smtp_transaction *tx = &s->tx;
    struct envelope *env = &tx->envelope;
    struct strview bimi = header_scan_value(&tx->header, HEADER_BIMI_SELECTOR);
    struct strview block = sv(buf_data(&tx->content), tx->header.end);
    struct signing_needs needs;

    if (bimi.len && bimi.len <= BIMI_MAX)
        env->bimi = arena_sv(&tx->arena, bimi);
    keep_list_fields(tx);
    s->ops->signing_needs(s->owner, tx->pipe, &needs);
    if (!needs.keys && !needs.bimi && !needs.unsubscribe)
        return;
    dkim_sender_domains(block, &tx->arena, &env->from_domain, &env->sender_domain);
    tx->hash = body_hash_new(&tx->arena, needs.relaxed, needs.simple);
    tx->hashed_bytes = tx->header.end;
}

static void honour_schedule(struct smtp_server *s, struct strview text)
{
    char reply[SMTP_REPLY_MAX];
    struct schedule windows;
    struct err e;

    if (schedule_parse(text, &windows, &e) < 0) {
        for (char *p = e.text; *p; p++) /* quotes what the client wrote */
            *p = *p >= 0x20 && *p < 0x7f ? *p : '?';
        snprintf(reply, sizeof(reply), "550 5.6.0 X-Schedule: %.300s", e.text);
        smtp_server_refuse_message(s, TROUBLE_ROUTE, reply);
    } else if (schedule_next(&windows, clock_wall_ms()) == SCHEDULE_OVER) {
        smtp_server_refuse_message(s, TROUBLE_ROUTE, "550 5.6.0 X-Schedule: all windows are over");
    }
    s->tx.envelope.schedule = arena_sv(&s->tx.arena, text);
}

static void honour_priority(struct smtp_server *s, struct strview text)
{
    uint64_t n;

    if (!sv_to_u64(text, &n) || n > PRIORITY_MAX)
        smtp_server_refuse_message(
            s, TROUBLE_ROUTE, "550 5.6.0 X-Delivery-Priority is not a number (expected 0 to 100)");
    else
        s->tx.envelope.priority = (uint8_t)(n + 1);
}

/* The host that gave us the message; a trusted one may name the host that gave it the message. */
static void name_remote(struct smtp_server *s)
{
    struct smtp_transaction *tx = &s->tx;
    struct strview name = header_scan_value(&tx->header, HEADER_X_REMOTE_MTA_NAME);

    if (!s->settings->process_x_remote_mta_name || !name.len)
        name = sv_of(s->helo);
    else if (!is_word(name, REMOTE_MTA_MAX))
        smtp_server_refuse_message(s, TROUBLE_ROUTE,
                                   "550 5.6.0 X-Remote-MTA-Name is not one printable word");
    tx->envelope.remote_mta = arena_sv(&tx->arena, name);
}

static void honour_fields(struct smtp_server *s)
{
    const struct smtp_server_settings *set = s->settings;
    struct smtp_transaction *tx = &s->tx;
    struct strview vmta = header_scan_value(&tx->header, HEADER_X_VIRTUAL_MTA);
    struct strview job = header_scan_value(&tx->header, HEADER_X_JOB);
    struct strview envid = header_scan_value(&tx->header, HEADER_X_ENVID);
    struct strview dkim = header_scan_value(&tx->header, HEADER_X_DKIM_OPTIONS);
    struct strview schedule = header_scan_value(&tx->header, HEADER_X_SCHEDULE);
    struct strview priority = header_scan_value(&tx->header, HEADER_X_DELIVERY_PRIORITY);

    if (set->process_x_virtual_mta && vmta.len) {
        if (!s->ops->virtual_mta_exists(s->owner, vmta))
            refuse_name(s, "virtual MTA", vmta);
        tx->envelope.vmta = arena_sv(&tx->arena, vmta);
    }
    if (set->process_x_job && job.len) {
        if (!is_word(job, JOB_MAX))
            smtp_server_refuse_message(s, TROUBLE_ROUTE,
                                       "550 5.6.0 X-Job is not one printable word");
        tx->envelope.job = arena_sv(&tx->arena, job);
    }
    if (set->process_x_envid && envid.len && !encode_envid(&tx->arena, envid, &tx->envelope.envid))
        smtp_server_refuse_message(s, TROUBLE_ROUTE, "550 5.6.0 X-Envid is too long");
    if (set->process_x_dkim_options && dkim.len)
        honour_dkim_options(s, dkim);
    if (set->process_x_schedule && schedule.len)
        honour_schedule(s, schedule);
    if (set->process_x_delivery_priority && priority.len)
        honour_priority(s, priority);
    name_remote(s);
    /* RFC 8689 section 5: of no effect together with REQUIRETLS */
    if (header_scan_tls_optional(&tx->header) && !(tx->envelope.flags & ENVELOPE_REQUIRETLS))
        tx->envelope.flags |= ENVELOPE_TLS_OPTIONAL;
}

void smtp_server_route(struct smtp_server *s)
{
    struct smtp_transaction *tx = &s->tx;
    struct strview name = header_scan_value(&tx->header, HEADER_X_PIPE);

    tx->routed = true;
    if (tx->header.received_count > SMTP_MAX_HOPS) {
        smtp_server_refuse_message(s, TROUBLE_ROUTE, "554 5.4.6 Too many hops, mail is looping");
        return;
    }
    if (tx->inbound) { /* whoever sent it, what it says is only to be read */
        tx->envelope.remote_mta = sv_of(s->helo);
        return;
    }
    if (!s->settings->process_x_pipe || name.len == 0)
        name = sv_of(s->settings->pipe);
    if (name.len == 0 || !s->ops->pipe_exists(s->owner, name)) {
        refuse_name(s, "pipe", name);
        return;
    }
    tx->pipe = arena_sv(&tx->arena, name);
    honour_fields(s);
    if (!tx->refusal[0])
        prepare_signing(s);
}

void smtp_server_submit(struct smtp_server *s)
{
    struct smtp_transaction *tx = &s->tx;
    struct envelope *env = &tx->envelope;

    env->received_ms = clock_wall_ms();
    env->receive_ms = (uint32_t)MIN_OF(s->active_ms - tx->began_ms, (int64_t)UINT32_MAX);
    env->source = sv_of(s->settings->source);
    env->peer = sv_of(s->client);
    env->local = sv_of(s->local);
    env->user = sv_of(s->user);
    env->content_bytes = tx->filed_bytes + buf_len(&tx->content);
    env->header_bytes = (uint32_t)tx->header.end;
    env->stuffed_dots = tx->scan.stuffed_dots - tx->header.dots_removed;
    if (tx->hash)
        body_hash_end(tx->hash, &env->relaxed_hash, &env->simple_hash);
    if (tx->scan.eight_bit)
        env->flags |= ENVELOPE_8BIT;
    smtp_server_hear_event(s, "handed to pipe/%.*s: %u recipient%s", SV_ARG(tx->pipe),
                           env->rcpt_count, env->rcpt_count == 1 ? "" : "s");
    smtp_server_enter(s, STATE_SUBMIT);
    smtp_server_want(s, SMTP_WANT_SUBMIT);
}

struct strview smtp_server_pipe(const struct smtp_server *s)
{
    return s->tx.pipe;
}

const struct envelope *smtp_server_envelope(const struct smtp_server *s)
{
    return &s->tx.envelope;
}

struct strview smtp_server_content(const struct smtp_server *s)
{
    return buf_view(&s->tx.content);
}

bool smtp_server_has_file(const struct smtp_server *s)
{
    return s->tx.file_open;
}

void smtp_server_content_sent(struct smtp_server *s)
{
    s->tx.piece_bytes = 0;
    buf_reset(&s->tx.content);
    if (s->tx.content.cap > SMTP_INLINE_MAX)
        buf_free(&s->tx.content);
    smtp_server_account(s);
}

/* The pipe names the message in the last word of its answer. */
static struct strview last_word(struct strview text)
{
    size_t at = text.len;
    while (at > 0 && text.ptr[at - 1] != ' ')
        at--;
    return sv(text.ptr + at, text.len - at);
}

static void log_accepted(const struct smtp_server *s, struct strview id)
{
    static const struct log_field fields[] = {
#define ACCEPTED_ROW(id, name, kind, max, help) {name, LOG_FIELD_##kind, max},
        ACCEPTED_FIELDS(ACCEPTED_ROW)
#undef ACCEPTED_ROW
    };
    const struct envelope *env = &s->tx.envelope;
    struct strview job = env->job.len ? env->job : sv(NULL, 0);
    const struct log_value values[ACCEPTED_FIELD_COUNT] = {
        [ACCEPTED_SESSION] = {.text = sv_of(s->id)},
        [ACCEPTED_CLIENT] = {.text = sv_of(s->client)},
        [ACCEPTED_ID] = {.text = id},
        [ACCEPTED_PIPE] = {.text = s->tx.pipe},
        [ACCEPTED_RCPTS] = {.number = env->rcpt_count},
        [ACCEPTED_SIZE] = {.number = (int64_t)env->content_bytes},
        [ACCEPTED_FROM] = {.text = env->sender.len ? env->sender : SV("<>")},
        [ACCEPTED_JOB] = {.text = job},
        [ACCEPTED_USER] = {.text = sv_of(s->user[0] ? s->user : NULL)},
        [ACCEPTED_TLS] = {.text = sv_of(s->tls[0] ? s->tls : NULL)},
    };

    log_event(LOG_INFO, LOG_SMTP_IN, "message accepted", fields, values, ACCEPTED_FIELD_COUNT);
}

static void accepted(struct smtp_server *s, struct strview text)
{
    const struct smtp_transaction *tx = &s->tx;

    s->messages++;
    s->errors = 0;
    s->shared->messages++;
    s->shared->recipients += tx->envelope.rcpt_count;
    log_accepted(s, last_word(text));
}

void smtp_server_submitted(struct smtp_server *s, unsigned code, struct strview text)
{
    char reply[SMTP_REPLY_MAX];
    const char *safe = log_safe(text.ptr, text.len, 400);

    BUG_ON(s->state != STATE_SUBMIT);
    s->active_ms = clock_mono_ms();
    if (code == 250) {
        accepted(s, sv_of(safe));
        snprintf(reply, sizeof(reply), "250 %.400s", safe);
        smtp_server_reply(s, reply);
    } else {
        bool refusal = code >= 400 && code <= 599;
        snprintf(reply, sizeof(reply), "%u %.400s", refusal ? code : 451,
                 refusal ? safe : "4.3.0 The pipe gave no answer that makes sense");
        smtp_server_refuse(s, TROUBLE_PIPE, reply);
    }
    smtp_server_end_transaction(s);
}
