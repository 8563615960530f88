/*
 * What held mail back, as a share of time. Whenever the clock is about to jump, the time until then
 * is put to what holds each queue that has mail; with many queues only every so many jumps, and the
 * time between counts as the state that was seen last.
 */
#include "simulate.h"

#include "base/clock.h"

enum { QUEUES_PER_JUMP = 8, QUEUES_NAMED = 64 };

/* --- causes --- */

struct cause_key {
    const struct config_value *value;
    const char *text; /* of the limit, or in words */
    unsigned measure; /* LIMIT_MEASURE_COUNT: no limit */
};

static bool match_cause(const struct hash_node *n, const void *arg)
{
    const struct cause *c = container_of(n, const struct cause, node);
    const struct cause_key *key = arg;
    return c->measure == key->measure && strcmp(c->key, key->text) == 0 &&
           (key->measure != LIMIT_MEASURE_COUNT || c->origin == key->value);
}

static char *place_of(const struct config_value *v)
{
    struct buf at = {0};
    char *copy;

    if (!v || !v->origin.file)
        return NULL;
    buf_printf(&at, "%s:%u", v->origin.file, v->origin.line);
    copy = xstrdup(buf_data(&at));
    buf_free(&at);
    return copy;
}

static struct cause *find_cause(const struct cause_key *key)
{
    if (!sim.causes.match)
        hash_init(&sim.causes, match_cause);
    struct hash_node *n =
        hash_find(&sim.causes, hash_bytes(key->text, strlen(key->text)) + key->measure, key);
    return n ? container_of(n, struct cause, node) : NULL;
}

static struct cause *add_cause(const struct cause_key *key)
{
    struct cause *c = xcalloc(1, sizeof(*c));
    const struct config_value *v = key->value;

    c->key = xstrdup(key->text);
    c->measure = key->measure;
    c->origin = v;
    c->directive = xstrdup(v ? directive_info(v->directive)->name : key->text);
    c->value = v && v->text ? xstrdup(v->text) : NULL;
    c->at = place_of(v);
    if (key->measure != LIMIT_MEASURE_COUNT)
        c->limit = xstrdup(key->text);
    hash_insert(&sim.causes, &c->node, hash_bytes(key->text, strlen(key->text)) + key->measure);
    return c;
}

static struct cause *of_limit(struct engine *g, struct queue *q, const struct limit *l)
{
    struct cause_key key = {NULL, l->name, (unsigned)l->measure};
    struct cause *c = find_cause(&key);

    if (c)
        return c;
    key.value = throttle_origin(g, q, l);
    return add_cause(&key);
}

static struct cause *of_value(const struct config_value *v, const char *words)
{
    struct cause_key key = {v, words, LIMIT_MEASURE_COUNT};
    struct cause *c = find_cause(&key);
    return c ? c : add_cause(&key);
}

static struct cause *of_retry(const struct engine *g, const struct queue *q, bool of_queue)
{
    struct config_query query = {
        .domain = q->domain,
        .group = queue_group_domain(q),
        .vmta = sv_of(q->vmta->name),
        .pool = sv_of(q->vmta->pool),
        .pipe = sv_of(g->pipe),
    };
    const struct config_value *v = config_get(g->config, &query, DIR_RETRY_AFTER), *special;

    special = config_get(g->config, &query,
                         of_queue ? DIR_BACKOFF_RETRY_AFTER : DIR_RETRY_RECIPIENTS_AFTER);
    if (special->text && (!of_queue || q->mode == QUEUE_BACKOFF))
        v = special;
    return of_value(v, of_queue ? "the queue waits" : "put off by the peer");
}

static struct cause *cause_of(struct engine *g, struct queue *q)
{
    if (q->paused || g->paused)
        return of_value(NULL, "paused");
    if (engine_holds(g, q))
        return of_value(NULL, "an action of a reply rule");
    if (q->retry_at_ms)
        return of_retry(g, q, true);
    if (q->ready_count && q->line)
        return of_limit(g, q, q->line);
    if (q->ready_count && q->throttle && q->sender_count >= throttle_numbers(g, q)->max_connections)
        return of_value(throttle_value(g, q, QLIMIT_MAX_SMTP_OUT), "all its connections are busy");
    if (!q->ready_count && !q->sender_count && q->held_count)
        return of_value(NULL, "a job or a delivery window");
    if (!q->ready_count && !q->sender_count && heap_min(&q->deferred))
        return of_retry(g, q, false);
    return of_value(NULL, "latency");
}

/* --- samples --- */

static void remember_queue(struct row *r, const char *identity)
{
    for (size_t i = 0; i < r->queue_count; i++)
        if (strcmp(r->queues[i], identity) == 0)
            return;
    if (r->queue_count == QUEUES_NAMED)
        return;
    r->queues = xrealloc(r->queues, (r->queue_count + 1) * sizeof(char *));
    r->queues[r->queue_count++] = xstrdup(identity);
}

static void add_held(struct row *r, struct cause *c, double ms)
{
    size_t i = 0;

    while (i < r->held_count && r->held[i].cause != c)
        i++;
    if (i == r->held_count) {
        r->held = xrealloc(r->held, (r->held_count + 1) * sizeof(r->held[0]));
        r->held[r->held_count++] = (struct held){c, 0};
    }
    r->held[i].ms += ms;
}

/* Calls fn for each queue with mail that is not all in a connection's hands. */
static void each_queue(void (*fn)(struct row *r, struct engine *g, struct queue *q, double ms),
                       double ms)
{
    for (size_t i = 0; i < sim.pipe_count; i++) {
        struct engine *g = sim.pipes[i].engine;
        for (struct hash_node *n = NULL; (n = hash_next(&g->queues, n));) {
            struct queue *q = container_of(n, struct queue, node);
            struct row *r = q->live ? sim_find_row(&sim.pipes[i], q->domain) : NULL;
            if (r)
                fn(r, g, q, ms);
        }
    }
}

static void weigh(struct row *r, struct engine *g, struct queue *q, double ms)
{
    (void)g, (void)q;
    if (!r->weight++)
        r->active_ms += ms;
}

static void blame(struct row *r, struct engine *g, struct queue *q, double ms)
{
    remember_queue(r, queue_identity(q));
    add_held(r, cause_of(g, q), ms / r->weight);
}

void held_sample(int64_t until_ms)
{
    size_t queues = 0;

    for (size_t i = 0; i < sim.pipe_count; i++)
        queues += engine_queues(sim.pipes[i].engine)->count;
    if (until_ms == sim.sampled_ms || sim.skipped++ < queues / QUEUES_PER_JUMP)
        return;
    sim.skipped = 0;
    double ms = (double)(until_ms - sim.sampled_ms);
    sim.sampled_ms = until_ms;
    for (size_t i = 0; i < sim.row_count; i++)
        sim.rows[i].weight = 0;
    each_queue(weigh, ms);
    each_queue(blame, ms);
}

const struct held *held_most(const struct row *r)
{
    const struct held *most = NULL;

    for (size_t i = 0; i < r->held_count; i++)
        if (!most || r->held[i].ms > most->ms)
            most = &r->held[i];
    return most;
}

void held_fini(void)
{
    for (struct hash_node *n = hash_next(&sim.causes, NULL), *next; n; n = next) {
        struct cause *c = container_of(n, struct cause, node);
        next = hash_next(&sim.causes, n);
        free(c->key);
        free(c->directive);
        free(c->value);
        free(c->limit);
        free(c->at);
        free(c);
    }
    hash_fini(&sim.causes);
}
