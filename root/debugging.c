/*
 * What debugs, and until when: subsystems of all processes, and those of single pipes (the pipe
 * itself, and in receivers the sessions whose mail goes to it). Queues are debugged by their pipes.
 *
 * Called by: admin.c (an operator), logging.c and kid.c (what a child is told). One timer ends what
 * was asked for with a time.
 */
#include "monitor.h"

#include "base/clock.h"
#include "base/log.h"
#include "json_text.h"

#include <stdio.h>

enum { RULES_MAX = 64 };

struct rule {
    char *pipe; /* NULL: all processes */
    uint32_t mask;
    int64_t until_ms; /* wall; 0: until it is switched off */
};

struct debugging {
    struct root *root;
    struct rule rules[RULES_MAX]; /* the first is that of all processes, with mask 0 when off */
    size_t count;
    uv_timer_t timer;
};

static bool is_of(const struct rule *rule, const struct kid *k)
{
    return rule->pipe && k->row->role == ROLE_PIPE && strcmp(rule->pipe, k->name) == 0;
}

uint32_t debugging_of(const struct kid *k)
{
    const struct debugging *d = k->root->debugging;

    for (size_t i = 1; d && i < d->count; i++)
        if (is_of(&d->rules[i], k))
            return d->rules[i].mask;
    return 0;
}

static void tell_receiver(struct kid *k, const char *pipe, uint32_t mask)
{
    struct ipc_debug_pipe m = {sv_of(pipe), mask};
    if (k->row->role == ROLE_RECEIVER && k->control)
        ipc_send(k->control, debug_pipe, &m);
}

void debugging_send(struct kid *k)
{
    const struct debugging *d = k->root->debugging;

    for (size_t i = 1; d && i < d->count; i++)
        tell_receiver(k, d->rules[i].pipe, d->rules[i].mask);
}

/* Everybody whom the rule concerns, with this mask from now on. */
static void tell(struct debugging *d, const struct rule *rule, uint32_t mask)
{
    if (!rule->pipe)
        log_set_debug(mask);
    list_for_each (n, &d->root->kids) {
        struct kid *k = list_entry(n, struct kid, node);
        if (!k->handed_over)
            continue;
        if (!rule->pipe || is_of(rule, k))
            logging_send(k);
        if (rule->pipe)
            tell_receiver(k, rule->pipe, mask);
    }
}

static void switch_off(struct debugging *d, size_t at)
{
    struct rule gone = d->rules[at];

    if (at == 0) {
        d->rules[0] = (struct rule){0};
        tell(d, &d->rules[0], 0);
        return;
    }
    d->rules[at] = d->rules[--d->count];
    tell(d, &gone, 0);
    free(gone.pipe);
}

static void on_timer(uv_timer_t *timer);

static void arm(struct debugging *d)
{
    int64_t first = INT64_MAX, now = clock_wall_ms();

    for (size_t i = 0; i < d->count; i++)
        if (d->rules[i].mask && d->rules[i].until_ms)
            first = MIN_OF(first, d->rules[i].until_ms);
    if (first == INT64_MAX)
        uv_timer_stop(&d->timer);
    else
        uv_timer_start(&d->timer, on_timer, first > now ? (uint64_t)(first - now) : 0, 0);
}

static void on_timer(uv_timer_t *timer)
{
    struct debugging *d = timer->data;
    int64_t now = clock_wall_ms();

    for (size_t i = d->count; i-- > 0;) {
        const struct rule *rule = &d->rules[i];
        if (!rule->mask || !rule->until_ms || rule->until_ms > now)
            continue;
        log_info(LOG_ADMIN, "debug logging ends, its time is over%s%s", rule->pipe ? " pipe=" : "",
                 rule->pipe ? rule->pipe : "");
        switch_off(d, i);
    }
    arm(d);
}

static struct debugging *debugging_get(struct root *r)
{
    if (r->debugging)
        return r->debugging;
    struct debugging *d = r->debugging = xcalloc(1, sizeof(*d));
    d->root = r;
    d->rules[0].mask = log_debug_mask(); /* pmtad --debug */
    d->count = 1;
    uv_timer_init(&r->loop, &d->timer);
    d->timer.data = d;
    return d;
}

int debugging_set(struct root *r, struct strview pipe, uint32_t mask, int64_t for_ms, struct err *e)
{
    struct debugging *d = debugging_get(r);
    size_t at = pipe.len ? 1 : 0;

    while (at && at < d->count && !sv_eq(sv_of(d->rules[at].pipe), pipe))
        at++;
    if (at == RULES_MAX)
        return err_set(e, ERR_LIMIT, "more than %d pipes debug", RULES_MAX - 1);
    if (!mask && !pipe.len)
        while (d->count > 1)
            switch_off(d, d->count - 1);
    if (!mask && at < d->count) {
        switch_off(d, at);
    } else if (mask) {
        if (at == d->count)
            d->rules[d->count++] = (struct rule){.pipe = xstrndup(pipe.ptr, pipe.len)};
        d->rules[at].mask = mask;
        d->rules[at].until_ms = for_ms ? clock_wall_ms() + for_ms : 0;
        tell(d, &d->rules[at], mask);
    }
    arm(d);
    return 0;
}

static void rule_json(const struct rule *rule, struct buf *out)
{
    bool first = true;

    buf_append_str(out, "{\"subsystems\":\"");
    for (unsigned i = 0; i < LOG_SUBSYSTEM_COUNT; i++) {
        if (!(rule->mask & 1u << i))
            continue;
        buf_printf(out, "%s%s", first ? "" : ",", log_subsystem_name((enum log_subsystem)i));
        first = false;
    }
    buf_append_char(out, '"');
    if (rule->pipe) {
        buf_append_str(out, ",\"pipe\":");
        json_text(out, sv_of(rule->pipe));
    }
    buf_printf(out, ",\"until_ms\":%lld}", (long long)rule->until_ms);
}

void debugging_status(struct root *r, struct buf *out)
{
    const struct debugging *d = debugging_get(r);
    bool first = true;

    buf_append_char(out, '[');
    for (size_t i = 0; i < d->count; i++) {
        if (!d->rules[i].mask)
            continue;
        if (!first)
            buf_append_char(out, ',');
        rule_json(&d->rules[i], out);
        first = false;
    }
    buf_append_char(out, ']');
}

void debugging_fini(struct root *r)
{
    struct debugging *d = r->debugging;

    for (size_t i = 1; d && i < d->count; i++)
        free(d->rules[i].pipe);
    free(d);
    r->debugging = NULL;
}
