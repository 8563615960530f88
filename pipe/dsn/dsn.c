/*
 * Delivery notices; see dsn.h. The engine asks about each recipient that ends; most owe nothing,
 * which costs a look at the envelope. One that does waits with the notice of its message
 * (dsn_note.c), which begins a moment later so that others of the same message come with it.
 *
 * What can go wrong: the disk takes nothing (notices of failure are tried again, their recipients
 * stay undecided meanwhile), too many at a time (recipients stay queued), one sender gets too many
 * (held back and counted).
 */
#include "dsn/dsn_int.h"

#include "base/clock.h"
#include "base/log.h"

#include <unistd.h>

enum {
    GATHER_MS = 20,
    GATHER_LOOKS = 16, /* newest notices in which others of a message are looked for */
    SENDERS_MAX = 50000,
    TICK_MS = 60000,
};

static void on_timer(uv_timer_t *t)
{
    struct dsn *d = t->data;

    d->armed_ms = INT64_MAX;
    dsn_tick(d);
}

void dsn_arm(struct dsn *d, int64_t at_ms)
{
    if (at_ms >= d->armed_ms || !d->timer || d->is_over)
        return;
    d->armed_ms = at_ms;
    uv_update_time(d->loop);
    uv_timer_start(d->timer, on_timer, (uint64_t)MAX_OF(at_ms - clock_mono_ms(), (int64_t)0), 0);
}

void dsn_tick(struct dsn *d)
{
    if (d->is_over || !engine_spool(d->engine))
        return;
    dsn_delay_run(d);
    dsn_notes_run(d);
    dsn_hand_tick(d);
    int64_t now = clock_mono_ms(), delay = dsn_delay_next_ms(d);
    dsn_arm(d, MIN_OF(dsn_notes_next_ms(d), now + TICK_MS));
    if (delay != INT64_MAX)
        dsn_arm(d, now + MAX_OF(delay - clock_wall_ms(), (int64_t)0));
}

/* --- who owes a notice --- */

/* As the receiver looked for it: the source by its name, or else by the client's address. */
static struct config_query source_query(const struct dsn *d, const struct envelope *env,
                                        struct sockaddr_storage *client)
{
    char peer[64];
    struct config_query q = {.pipe = sv_of(engine_pipe(d->engine)), .source = env->source};

    if (env->peer.len && env->peer.len < sizeof(peer)) {
        memcpy(peer, env->peer.ptr, env->peer.len);
        peer[env->peer.len] = '\0';
        if (uv_ip4_addr(peer, 0, (struct sockaddr_in *)client) == 0 ||
            uv_ip6_addr(peer, 0, (struct sockaddr_in6 *)client) == 0)
            q.client = (struct sockaddr *)client;
    }
    return q;
}

const struct config_value *dsn_of_source(const struct dsn *d, const struct envelope *env,
                                         enum directive of)
{
    struct sockaddr_storage client;
    struct config_query q = source_query(d, env, &client);
    return config_get(d->config, &q, of);
}

/* Its bounces come back to a [bounce-processor], which would read in the notice what accounting says
 * already. */
static bool is_ours(const struct dsn *d, struct strview sender)
{
    struct inbound_match m;
    return inbound_table_find(d->inbound, sender, &m) && m.use == INBOUND_BOUNCES;
}

bool dsn_is_suppressed(const struct dsn *d, const struct envelope *env)
{
    return dsn_of_source(d, env, DIR_SUPPRESS_LOCAL_DSN)->yes || is_ours(d, env->sender);
}

int64_t dsn_every_ms(const struct dsn *d, const struct queue *q)
{
    struct config_query query = {
        .domain = q->domain,
        .group = queue_group_domain(q),
        .vmta = sv_of(q->vmta->name),
        .pool = sv_of(q->vmta->pool),
        .pipe = sv_of(engine_pipe(d->engine)),
    };
    return config_number(d->config, &query, DIR_NOTIFY_OF_DELAY_EVERY);
}

static enum dsn_kind decide(const struct dsn *d, const struct envelope *env, uint32_t rcpt,
                            const struct outcome *o)
{
    struct dsn_facts f = {
        .class_ = o->class_,
        .sender = env->sender,
        .notify = env->rcpts[rcpt].notify,
        .peer_has_dsn = o->peer_has_dsn,
    };
    enum dsn_kind k = dsn_decide(&f, NULL);

    /* looked up last: it costs the most */
    return k != DSN_NONE && d->config && !dsn_is_suppressed(d, env) ? k : DSN_NONE;
}

bool dsn_may_send(struct dsn *d, struct strview sender, struct dsn_held *ret)
{
    struct config_query q = {.pipe = sv_of(engine_pipe(d->engine))};
    const struct rate *rate = &config_get(d->config, &q, DIR_DSN_MAX_RATE)->rate;

    bool may = dsn_limit_take(d->limit, sender, rate, clock_wall_ms(), ret);
    if (rate->count)
        dsn_keep_limits(d);
    if (may)
        return true;
    d->stats.held++;
    log_debug(LOG_QUEUE, "delivery notice held back (dsn-max-rate) to=%s",
              log_safe(sender.ptr, sender.len, 320));
    return false;
}

static struct dsn_note *find_gathering(struct dsn *d, const struct message *m, enum dsn_kind kind)
{
    unsigned looks = 0;

    for (struct list *l = d->notes.prev; l != &d->notes && looks++ < GATHER_LOOKS; l = l->prev) {
        struct dsn_note *n = list_entry(l, struct dsn_note, link);
        if (n->message == m && n->kind == kind && n->state == NOTE_GATHERING &&
            n->count < DSN_MAX_RCPTS)
            return n;
    }
    return NULL;
}

static enum engine_dsn_answer too_many(struct dsn *d, enum dsn_kind kind)
{
    if (kind == DSN_FAILED)
        return DSN_LATER;
    d->stats.lost++;
    log_warn(LOG_QUEUE, "delivery notice lost: too many are on their way");
    return DSN_NOT_OWED;
}

static enum engine_dsn_answer on_owed(void *arg, struct entry *e, const struct envelope *env,
                                      const struct outcome *o, const struct rule_match *rule)
{
    struct dsn *d = arg;
    struct dsn_held held;
    enum dsn_kind kind = decide(d, env, e->rcpt, o);
    struct dsn_note *n;

    if (kind == DSN_NONE)
        return DSN_NOT_OWED;
    if (d->is_over) { /* its end is decided again after the restart; a delivery must not be */
        e->state = kind == DSN_FAILED ? ENTRY_OWING : e->state;
        return kind == DSN_FAILED ? DSN_TAKEN : DSN_NOT_OWED;
    }
    if (!(n = find_gathering(d, e->message, kind))) {
        if (d->note_count >= DSN_HARD_MAX)
            return too_many(d, kind);
        if (!dsn_may_send(d, env->sender, &held))
            return DSN_NOT_OWED;
        n = dsn_note_new(d, e->message, kind);
        n->held = held;
        n->due_ms = clock_mono_ms() + GATHER_MS;
    }
    dsn_note_add(n, &(struct dsn_owed){
                        .entry = e,
                        .outcome = *o,
                        .rule = rule ? *rule : (struct rule_match){0},
                        .rcpt = e->rcpt,
                        .attempts = e->attempts,
                        .last_ms = o->phase >= PHASE_CONNECT ? clock_wall_ms() : 0,
                        .bounce_after_ms = e->queue->settings.bounce_after_ms,
                        .vmta = e->queue->vmta->name,
                    });
    e->state = ENTRY_OWING;
    dsn_arm(d, n->due_ms);
    return DSN_TAKEN;
}

/* --- the other hooks --- */

static void on_queued(void *arg, const struct message *m, const struct envelope *env)
{
    dsn_delay_watch(arg, m, env);
}

static void on_hand(void *arg, struct queue *q)
{
    dsn_hand_turn(arg, q);
}

static bool on_is_full(void *arg)
{
    const struct dsn *d = arg;
    return d->note_count >= DSN_SOFT_MAX && !d->is_over;
}

static bool on_drain(void *arg, bool over)
{
    struct dsn *d = arg;

    if (over && !d->is_over) {
        d->is_over = true;
        dsn_notes_give_up(d);
        dsn_hand_give_up(d);
        scheduler_want_turn(d->engine); /* finishers that waited */
    }
    dsn_notes_run(d);
    return d->note_count || dsn_hand_is_busy(d);
}

/* --- the room --- */

struct dsn *dsn_new(uv_loop_t *loop, struct engine *engine)
{
    struct dsn *d = xcalloc(1, sizeof(*d));

    d->loop = loop;
    d->engine = engine;
    d->armed_ms = INT64_MAX;
    d->limit = dsn_limit_new(SENDERS_MAX);
    list_init(&d->notes);
    list_init(&d->hands);
    if (gethostname(d->host, sizeof(d->host) - 1) < 0 || !d->host[0])
        strcpy(d->host, "localhost");
    d->timer = xcalloc(1, sizeof(*d->timer));
    d->timer->data = d;
    uv_timer_init(loop, d->timer);
    uv_unref((uv_handle_t *)d->timer);
    engine_on_dsn(engine, &(struct engine_dsn){
                              .owed = on_owed,
                              .queued = on_queued,
                              .hand = on_hand,
                              .is_full = on_is_full,
                              .drain = on_drain,
                              .arg = d,
                          });
    return d;
}

static void on_timer_closed(uv_handle_t *h)
{
    free(h);
}

void dsn_free(struct dsn *d)
{
    if (!d)
        return;
    uv_close((uv_handle_t *)d->timer, on_timer_closed);
    d->timer = NULL;
    if (d->engine)
        engine_on_dsn(d->engine, &(struct engine_dsn){0});
    dsn_notes_give_up(d);
    dsn_hand_free(d);
    dsn_delay_free(d);
    dsn_limit_free(d->limit);
    inbound_table_free(d->inbound);
    config_unref(d->config);
    free(d);
}

void dsn_configure(struct dsn *d, struct config *cfg)
{
    config_unref(d->config);
    d->config = config_ref(cfg);
    inbound_table_free(d->inbound);
    d->inbound = inbound_table_new(cfg);
}

void dsn_stats(const struct dsn *d, struct dsn_stats *ret)
{
    *ret = d->stats;
    ret->under_way = d->note_count;
    ret->watched = d->watches.count;
}
