/*
 * stats: see stats.h. Filled by the clients and the runner, printed by the runner at the end. Owns
 * the histograms per pipe.
 */
#include "flood/stats.h"

#include <inttypes.h>

void stats_init(struct stats *s, const struct weights *pipes)
{
    memset(s, 0, sizeof(*s));
    s->pipes = pipes;
    if (pipes->count > 1)
        s->by_pipe = xcalloc(pipes->count, sizeof(*s->by_pipe));
}

void stats_fini(struct stats *s)
{
    free(s->by_pipe);
    s->by_pipe = NULL;
}

static uint64_t span(int64_t from_us, int64_t to_us)
{
    return to_us > from_us ? (uint64_t)(to_us - from_us) : 0;
}

void stats_accepted(struct stats *s, const struct stats_times *t, size_t pipe)
{
    uint64_t whole = span(t->intended_us, t->now_us);
    s->accepted++;
    s->last_us = t->now_us;
    hist_add(&s->end_of_data, span(t->body_us, t->now_us));
    hist_add(&s->transaction, whole);
    hist_add(&s->service, span(t->begun_us, t->now_us));
    if (s->by_pipe)
        hist_add(&s->by_pipe[pipe], whole);
}

void stats_loss(struct stats *s, enum stats_loss loss)
{
    uint64_t *counters[] = {
        [LOSS_CONNECT] = &s->connect_failed, [LOSS_REFUSED] = &s->connect_refused,
        [LOSS_421] = &s->connections_421,    [LOSS_LOST] = &s->connections_lost,
        [LOSS_TIMEOUT] = &s->timeouts,       [LOSS_PROTOCOL] = &s->protocol_errors,
    };
    s->connection_errors++;
    ++*counters[loss];
}

bool stats_is_perfect(const struct stats *s)
{
    return !s->refused && !s->unanswered && !s->given_up && !s->not_sent && !s->recipients_refused;
}

static double seconds(const struct stats *s)
{
    return (double)span(s->start_us, s->last_us) / 1e6;
}

double stats_rate(const struct stats *s)
{
    return seconds(s) > 0 ? (double)s->accepted / seconds(s) : 0;
}

static void table_codes(const struct text_codes *c, const char *label, struct buf *out)
{
    struct buf list = {0};
    text_codes_list(c, &list);
    if (strcmp(buf_data(&list), "none") != 0)
        text_row(out, label, "%s", buf_data(&list));
    buf_free(&list);
}

static void table_latency(const struct stats *s, struct buf *out)
{
    char label[64];
    hist_row_head("latency", out);
    hist_row(&s->end_of_data, "end of data to 250", out);
    hist_row(&s->transaction, s->open_loop ? "intended time to 250" : "whole transaction", out);
    if (s->open_loop)
        hist_row(&s->service, "first command to 250", out);
    for (size_t i = 0; s->by_pipe && i < s->pipes->count; i++) {
        struct strview name = s->pipes->entries[i].name;
        size_t len = MIN_OF(name.len, sizeof(label) - 8);
        memcpy(label, "  pipe ", 7);
        memcpy(label + 7, name.ptr, len);
        label[7 + len] = '\0';
        hist_row(&s->by_pipe[i], label, out);
    }
}

void stats_table(const struct stats *s, struct buf *out)
{
    char text[TEXT_SIZE];
    buf_append_str(out, "pmta-flood\n");
#define STATS_ROW(name, label) text_row(out, label, "%s", text_count(s->name, text));
    STATS_COUNTERS(STATS_ROW)
#undef STATS_ROW
    text_row(out, "seed", "%" PRIu64, s->seed);
    text_row(out, "time", "%.3f s from the start to the last answer", seconds(s));
    text_row(out, "rate", "%.1f messages/s accepted", stats_rate(s));
    table_codes(&s->refused_codes, "messages refused", out);
    table_codes(&s->recipient_codes, "recipients refused", out);
    table_codes(&s->connection_codes, "connections refused", out);
    if (s->accepted)
        table_latency(s, out);
}

static void json_hist(struct buf *out, const char *name, const struct hist *h)
{
    buf_printf(out, "\"%s\":", name);
    hist_json(h, out);
}

static void json_pipes(const struct stats *s, struct buf *out)
{
    buf_append_str(out, ",\"pipes\":{");
    for (size_t i = 0; s->by_pipe && i < s->pipes->count; i++) {
        buf_append_str(out, i ? "," : "");
        text_json(out, s->pipes->entries[i].name);
        buf_append_char(out, ':');
        hist_json(&s->by_pipe[i], out);
    }
    buf_append_char(out, '}');
}

void stats_json(const struct stats *s, struct buf *out)
{
    buf_append_char(out, '{');
#define STATS_PAIR(name, label) buf_printf(out, "\"" #name "\":%" PRIu64 ",", s->name);
    STATS_COUNTERS(STATS_PAIR)
#undef STATS_PAIR
    buf_printf(out,
               "\"seed\":%" PRIu64 ",\"seconds\":%.6f,\"rate\":%.3f,\"refused_codes\":", s->seed,
               seconds(s), stats_rate(s));
    text_codes_json(&s->refused_codes, out);
    buf_append_str(out, ",\"recipient_codes\":");
    text_codes_json(&s->recipient_codes, out);
    buf_append_str(out, ",\"connection_codes\":");
    text_codes_json(&s->connection_codes, out);
    buf_append_str(out, ",\"latency\":{");
    json_hist(out, "end_of_data", &s->end_of_data);
    buf_append_char(out, ',');
    json_hist(out, "transaction", &s->transaction);
    buf_append_char(out, ',');
    json_hist(out, "service", &s->service);
    json_pipes(s, out);
    buf_append_str(out, "}}\n");
}
