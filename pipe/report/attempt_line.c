/*
 * The log line of a delivery attempt; see attempt_line.h. Called once per recipient and attempt:
 * fills an array on the stack and hands it to the log, which copies each byte once.
 */
#include "report/attempt_line.h"

#include "base/clock.h"
#include "report/phases.h"

#include <stdio.h>

static const struct log_field fields[] = {
#define ATTEMPT_ROW(id, name, kind, max, help) {name, LOG_FIELD_##kind, max},
    ATTEMPT_FIELDS(ATTEMPT_ROW)
#undef ATTEMPT_ROW
};

static struct log_value text(struct strview s)
{
    return (struct log_value){.text = s.len ? s : sv(NULL, 0)};
}

static struct log_value number(int64_t n)
{
    return (struct log_value){.number = n};
}

static struct log_value or_nothing(bool known, int64_t n)
{
    return number(known ? n : LOG_NO_NUMBER);
}

static void set_delays(const struct attempt_line *a, int64_t now, struct log_value *v)
{
    struct phases p = phases_of(a->receive_ms, a->commit_ms, now - a->received_ms, a->outcome);
    bool known = a->received_ms; /* a whole queue has no message and so no delays */

    v[ATTEMPT_DELAY_MS] = or_nothing(known, p.total);
    v[ATTEMPT_RECEIVE_MS] = or_nothing(known, p.receive);
    v[ATTEMPT_QUEUE_MS] = or_nothing(known, p.queue);
    v[ATTEMPT_CONNECT_MS] = or_nothing(known, p.connect);
    v[ATTEMPT_TRANSMIT_MS] = or_nothing(known, p.transmit);
}

static struct strview place(const char *file, unsigned line, char *out, size_t size)
{
    if (!file)
        return sv(NULL, 0);
    int n = snprintf(out, size, "%s:%u", file, line);
    return sv(out, MIN_OF((size_t)MAX_OF(n, 0), size - 1));
}

void attempt_line_write(const struct attempt_line *a)
{
    const struct outcome *o = a->outcome;
    int64_t now = clock_wall_ms();
    bool encrypted = o->tls && *o->tls;
    char status[16], category_rule[512], reply_rule[512];
    struct log_value v[ATTEMPT_FIELD_COUNT];

    v[ATTEMPT_ID] = text(sv_of(a->id));
    v[ATTEMPT_RCPT] = text(a->rcpt);
    v[ATTEMPT_FROM] = text(a->id && !a->sender.len ? SV("<>") : a->sender);
    v[ATTEMPT_QUEUE] = text(sv_of(a->queue));
    v[ATTEMPT_JOB] = text(a->job);
    v[ATTEMPT_ATTEMPT] = or_nothing(a->attempt != 0, a->attempt);
    v[ATTEMPT_HOST] = text(o->peer_host);
    v[ATTEMPT_IP] = text(o->peer_ip);
    v[ATTEMPT_SOURCE_IP] = text(o->local_ip);
    v[ATTEMPT_TLS] = text(sv_of(encrypted ? o->tls : NULL));
    v[ATTEMPT_VERIFY] = text(sv_of(encrypted ? o->tls_verify : NULL));
    v[ATTEMPT_SIZE] = or_nothing(a->id != NULL, (int64_t)a->size);
    set_delays(a, now, v);
    v[ATTEMPT_STATUS] = text(sv_of(outcome_status(o, status)));
    v[ATTEMPT_PHASE] = text(sv_of(outcome_phase_name(o->phase)));
    v[ATTEMPT_NEXT_S] =
        or_nothing(a->next_ms != 0, (MAX_OF(a->next_ms - now, (int64_t)0) + 500) / 1000);
    v[ATTEMPT_CATEGORY] = text(sv_of(a->category));
    v[ATTEMPT_CATEGORY_RULE] =
        text(place(a->category_file, a->category_line, category_rule, sizeof(category_rule)));
    v[ATTEMPT_REPLY_RULE] =
        text(place(a->reply_file, a->reply_line, reply_rule, sizeof(reply_rule)));
    v[ATTEMPT_REPLY] = (struct log_value){.text = sv(o->text.ptr ? o->text.ptr : "", o->text.len)};
    log_event(LOG_INFO, LOG_DELIVERY, a->message, fields, v, ATTEMPT_FIELD_COUNT);
}
