/*
 * The registry of actions; see actions.h. react.c starts them, mode.c does what operators ask for,
 * the scheduler's timer ends them.
 *
 * start -> memo of the queue's name -> refresh: mode, rate and hold of the queue are worked out from
 * all its actions and put into effect where they differ. The end is the same backwards. Too many
 * actions: the new one is refused and said so once a minute. A memo is freed when neither a queue
 * nor an action needs it.
 */
#include "queue/actions.h"

#include "base/clock.h"
#include "base/log.h"
#include "queue/engine_int.h"
#include "queue/mode.h"
#include "queue/react.h"

#include <stdio.h>

enum {
    EXTEND_MIN_MS = 1000, /* shorter moves of an end are not worth a write */
    FULL_TELL_MS = 60000,
    TEXT_MAX = 300,
};

static const struct {
    const char *name, *help;
} kinds[] = {
#define ACTION_ROW(id, name, help) {name, help},
    ACTION_KINDS(ACTION_ROW)
#undef ACTION_ROW
};

const char *action_kind_name(enum action_kind k)
{
    return (unsigned)k < ARRAY_LEN(kinds) ? kinds[k].name : "?";
}

const char *action_kind_help(enum action_kind k)
{
    return (unsigned)k < ARRAY_LEN(kinds) ? kinds[k].help : "?";
}

static bool match_memo(const struct hash_node *n, const void *key)
{
    return strcmp(container_of(n, const struct queue_memo, node)->name, key) == 0;
}

void actions_init(struct actions *a, struct engine *g)
{
    *a = (struct actions){.engine = g, .next_id = 1};
    list_init(&a->all);
    list_init(&a->failing);
    hash_init(&a->memos, match_memo);
}

/* A copy that fits into a line of the state file. */
static char *clean_copy(const char *text, size_t len)
{
    char *copy = xstrndup(text ? text : "", MIN_OF(len, (size_t)TEXT_MAX));
    for (char *c = copy; *c; c++)
        if ((unsigned char)*c < ' ')
            *c = ' ';
    return copy;
}

static char *clean(const char *text)
{
    return clean_copy(text, text ? strlen(text) : 0);
}

/* --- memos --- */

struct queue_memo *actions_memo_named(struct engine *g, const char *name)
{
    struct actions *a = &g->actions;
    uint64_t h = hash_bytes(name, strlen(name));
    struct hash_node *n = hash_find(&a->memos, h, name);

    if (n)
        return container_of(n, struct queue_memo, node);
    struct queue_memo *m = xcalloc(1, sizeof(*m));
    m->name = xstrdup(name);
    list_init(&m->actions);
    list_init(&m->queues);
    hash_insert(&a->memos, &m->node, h);
    return m;
}

static void bind_one(struct queue_memo *m, struct queue *q)
{
    q->memo = m;
    list_push_back(&m->queues, &q->in_memo);
}

/* All that share q's identity share the memo. */
static void bind_all(struct queue_memo *m, struct queue *q)
{
    for (struct queue *s = NULL; (s = queue_sibling_next(q, s));)
        if (!s->memo)
            bind_one(m, s);
}

struct queue_memo *actions_memo(struct engine *g, struct queue *q)
{
    if (!q->memo)
        bind_all(actions_memo_named(g, queue_identity(q)), q);
    return q->memo;
}

static void memo_free(struct queue_memo *m)
{
    for (size_t i = 0; i < m->change_count; i++)
        free(m->changes[i].reason);
    free(m->name);
    free(m);
}

static void memo_drop_unneeded(struct actions *a, struct queue_memo *m)
{
    if (!list_empty(&m->queues) || !list_empty(&m->actions))
        return;
    hash_remove(&a->memos, &m->node);
    memo_free(m);
}

void actions_adopt(struct engine *g, struct queue *q)
{
    const char *name = queue_identity(q);
    struct hash_node *n;

    if (q->memo || !g->actions.memos.count ||
        !(n = hash_find(&g->actions.memos, hash_bytes(name, strlen(name)), name)))
        return;
    bind_one(container_of(n, struct queue_memo, node), q);
    actions_refresh(g, q);
}

void actions_forget(struct engine *g, struct queue *q)
{
    struct queue_memo *m = q->memo;

    list_remove(&q->failing);
    if (!m)
        return;
    q->memo = NULL;
    list_remove(&q->in_memo);
    memo_drop_unneeded(&g->actions, m);
}

/* --- what is in effect --- */

static bool all_sources_disabled(const struct queue *q)
{
    if (!q->memo || !q->memo->counts[ACTION_SOURCE])
        return false;
    for (size_t i = 0; i < q->vmta->source_count; i++)
        if (!react_source_disabled(q, &q->vmta->sources[i]))
            return false;
    return true;
}

static uint8_t rate_of(const struct queue_memo *m)
{
    uint32_t percent = 100;

    if (m->counts[ACTION_RATE])
        list_for_each (l, &m->actions) {
            const struct action *x = list_entry(l, struct action, in_memo);
            if (x->kind == ACTION_RATE)
                percent = MIN_OF(percent, x->percent);
        }
    return (uint8_t)percent;
}

static void set_held(struct queue *q, bool held)
{
    if (q->held == held)
        return;
    q->held = held;
    if (held)
        sender_close_idle(q, SIZE_MAX);
}

static void refresh(struct engine *g, struct queue *q, const char *reason)
{
    static const struct queue_memo none;
    const struct queue_memo *m = q->memo ? q->memo : &none;
    enum queue_mode mode = m->counts[ACTION_BACKOFF] ? QUEUE_BACKOFF : QUEUE_NORMAL;
    uint8_t percent = rate_of(m);
    bool cut = percent != q->rate_percent;

    q->rate_percent = percent;
    if (mode != q->mode)
        mode_changed(g, q, mode, reason);
    else if (cut)
        mode_apply(g, q);
    q->all_disabled = all_sources_disabled(q);
    set_held(q, m->counts[ACTION_DEFER] || q->all_disabled);
    scheduler_kick(g, q);
}

void actions_refresh(struct engine *g, struct queue *q)
{
    if (q->memo)
        refresh(g, q, NULL);
}

void actions_regroup(struct engine *g, struct queue *q)
{
    struct queue_memo *m = q->memo;

    if (m) {
        q->memo = NULL;
        list_remove(&q->in_memo);
        memo_drop_unneeded(&g->actions, m);
    }
    actions_adopt(g, q);
    if (!q->memo)
        refresh(g, q, NULL);
}

static void refresh_pipe(struct engine *g)
{
    bool suspended = g->actions.suspends != 0;

    if (g->suspended == suspended)
        return;
    g->suspended = suspended;
    for (struct hash_node *n = NULL; (n = hash_next(&g->queues, n));) {
        struct queue *q = container_of(n, struct queue, node);
        if (suspended)
            sender_close_idle(q, SIZE_MAX);
        else
            scheduler_kick(g, q);
    }
}

/* The mode of the memo changes once, for whichever queues go by it. */
static void refresh_all(struct engine *g, struct queue_memo *m, const char *reason)
{
    list_for_each (l, &m->queues)
        refresh(g, list_entry(l, struct queue, in_memo), reason);
}

static void put_into_effect(struct engine *g, struct queue_memo *m, const char *reason)
{
    if (!m)
        refresh_pipe(g);
    else
        refresh_all(g, m, reason);
    if (g->actions.changed)
        g->actions.changed(g->actions.changed_arg, false);
}

/* --- begin --- */

/* The queues that go by the name of m, when it has none yet. */
static void bind_named(struct engine *g, struct queue_memo *m)
{
    struct queue_group *group;
    struct queue *q;

    if (!list_empty(&m->queues))
        return;
    if ((group = queue_group_find(g, sv_of(m->name))) && !list_empty(&group->members))
        bind_all(m, list_entry(list_first(&group->members), struct queue, in_group));
    else if ((q = engine_find_queue(g, sv_of(m->name))) && queue_identity(q) == q->name)
        bind_all(m, q);
}

static void set_until(struct engine *g, struct action *x, int64_t until_ms)
{
    x->until_ms = until_ms;
    if (until_ms)
        heap_set(&g->actions.due, &x->due, until_ms);
    else
        heap_remove(&g->actions.due, &x->due);
    scheduler_rearm(g);
}

static struct action *find_same(const struct actions *a, const struct queue_memo *m,
                                const struct action_spec *s)
{
    const char *subject = s->subject ? s->subject : "";

    if (!m) {
        list_for_each (l, &a->all) {
            struct action *x = list_entry(l, struct action, link);
            if (!x->memo && x->kind == s->kind)
                return x;
        }
        return NULL;
    }
    if (m->counts[s->kind])
        list_for_each (l, &m->actions) {
            struct action *x = list_entry(l, struct action, in_memo);
            if (x->kind == s->kind && strcmp(x->subject, subject) == 0)
                return x;
        }
    return NULL;
}

/* The cause has come again: the later end holds, and the deeper cut. */
static struct action *extend(struct engine *g, struct action *x, const struct action_spec *s)
{
    bool later = x->until_ms && (!s->until_ms || s->until_ms >= x->until_ms + EXTEND_MIN_MS);
    bool deeper = x->kind == ACTION_RATE && s->percent < x->percent;

    x->times += x->times < UINT32_MAX;
    if (!later && !deeper)
        return x;
    if (deeper)
        x->percent = s->percent;
    if (later)
        set_until(g, x, s->until_ms);
    put_into_effect(g, x->memo, NULL);
    return x;
}

static struct action *make(struct engine *g, struct queue_memo *m, const struct action_spec *s)
{
    struct actions *a = &g->actions;
    struct action *x = xcalloc(1, sizeof(*x));
    const struct rule_match *r = s->rule;

    x->memo = m;
    x->id = a->next_id++;
    x->kind = s->kind;
    x->percent = s->percent;
    x->times = 1;
    x->since_ms = clock_wall_ms();
    x->subject = clean(s->subject);
    x->by = clean(s->by ? s->by : "reply");
    x->list = clean(r ? r->list : NULL);
    x->file = clean(r ? r->file : NULL);
    x->regex = clean(r ? r->regex : NULL);
    x->line = r ? r->line : 0;
    x->reply = clean_copy(s->reply.ptr, s->reply.len);
    list_init(&x->in_memo);
    heap_node_init(&x->due);
    list_push_back(&a->all, &x->link);
    if (m) {
        list_push_back(&m->actions, &x->in_memo);
        m->counts[x->kind]++;
    }
    a->suspends += x->kind == ACTION_SUSPEND;
    a->count++;
    set_until(g, x, s->until_ms);
    return x;
}

bool actions_are_full(const struct engine *g)
{
    return g->actions.count >= ACTIONS_MAX;
}

static bool is_full(struct actions *a, const struct action_spec *s)
{
    int64_t now = clock_mono_ms();

    if (a->count < ACTIONS_MAX)
        return false;
    if (!a->full_told_ms || now - a->full_told_ms >= FULL_TELL_MS)
        log_warn(LOG_QUEUE, "too many actions, not taking another one kind=%s queue=%s max=%d",
                 action_kind_name(s->kind), s->queue ? s->queue : "", ACTIONS_MAX);
    a->full_told_ms = MAX_OF(now, (int64_t)1);
    return true;
}

static void log_start(const struct action *x)
{
    char end[UNITS_SIZE] = "never";

    if (x->until_ms)
        units_format_interval(MAX_OF(x->until_ms - clock_wall_ms(), (int64_t)0), end);
    log_info(LOG_QUEUE,
             "action begins id=%llu kind=%s queue=%s subject='%s' percent=%u ends_after=%s by='%s' "
             "rule=%s:%u reply='%s'",
             (unsigned long long)x->id, action_kind_name(x->kind), x->memo ? x->memo->name : "",
             log_safe(x->subject, strlen(x->subject), 100), x->percent, end, x->by, x->file,
             x->line, log_safe(x->reply, strlen(x->reply), TEXT_MAX));
}

/* "421 4.7.0 slow down (reply rule blocking, a.conf:12)" */
static void reason_of(const struct action *x, struct buf *out)
{
    if (*x->reply)
        buf_printf(out, "the reply '%s'", x->reply);
    if (*x->file)
        buf_printf(out, ", rule of %s (%s:%u)", x->list, x->file, x->line);
    else if (strcmp(x->by, "operator") == 0)
        buf_printf(out, "%san operator", *x->reply ? ", " : "");
    else if (!*x->reply)
        buf_append_str(out, x->by);
}

struct action *actions_start(struct engine *g, const struct action_spec *s)
{
    struct queue_memo *m = s->queue ? actions_memo_named(g, s->queue) : NULL;
    struct action *x = find_same(&g->actions, m, s);
    struct buf reason = {0};

    if (m)
        bind_named(g, m);
    if (x)
        return extend(g, x, s);
    if (is_full(&g->actions, s)) {
        if (m)
            memo_drop_unneeded(&g->actions, m);
        return NULL;
    }
    x = make(g, m, s);
    log_start(x);
    reason_of(x, &reason);
    put_into_effect(g, m, buf_data(&reason));
    buf_free(&reason);
    return x;
}

struct action *actions_restore(struct engine *g, uint64_t id, int64_t since_ms, uint32_t times,
                               const struct action_spec *s)
{
    struct queue_memo *m = s->queue ? actions_memo_named(g, s->queue) : NULL;

    if (g->actions.count >= ACTIONS_MAX || find_same(&g->actions, m, s)) {
        if (m)
            memo_drop_unneeded(&g->actions, m);
        return NULL;
    }
    if (m)
        bind_named(g, m);
    struct action *x = make(g, m, s);
    x->id = id;
    x->since_ms = since_ms;
    x->times = times;
    if (!m)
        refresh_pipe(g);
    else
        refresh_all(g, m, mode_restored);
    return x;
}

/* --- end --- */

static void action_free(struct action *x)
{
    free(x->subject);
    free(x->by);
    free(x->list);
    free(x->file);
    free(x->regex);
    free(x->reply);
    free(x);
}

static void take_out(struct actions *a, struct action *x)
{
    list_remove(&x->link);
    list_remove(&x->in_memo);
    heap_remove(&a->due, &x->due);
    if (x->memo)
        x->memo->counts[x->kind]--;
    a->suspends -= x->kind == ACTION_SUSPEND;
    a->count--;
}

void action_end(struct engine *g, struct action *x, const char *reason)
{
    struct queue_memo *m = x->memo;

    take_out(&g->actions, x);
    log_info(LOG_QUEUE, "action ends id=%llu kind=%s queue=%s subject='%s' reason='%s'",
             (unsigned long long)x->id, action_kind_name(x->kind), m ? m->name : "",
             log_safe(x->subject, strlen(x->subject), 100), reason);
    action_free(x);
    put_into_effect(g, m, reason);
    if (m)
        memo_drop_unneeded(&g->actions, m);
}

size_t actions_end_of(struct engine *g, struct queue *q, uint32_t which, const char *reason)
{
    size_t ended = 0;

    if (!q->memo)
        return 0;
    list_for_each_safe (l, &q->memo->actions) {
        struct action *x = list_entry(l, struct action, in_memo);
        if (!(which & 1u << x->kind))
            continue;
        action_end(g, x, reason); /* q keeps the memo */
        ended++;
    }
    return ended;
}

void actions_fini(struct actions *a)
{
    for (struct list *l; (l = list_first(&a->all));) {
        struct action *x = list_entry(l, struct action, link);
        take_out(a, x);
        action_free(x);
    }
    for (struct hash_node *n = hash_next(&a->memos, NULL), *next; n; n = next) {
        next = hash_next(&a->memos, n);
        memo_free(container_of(n, struct queue_memo, node));
    }
    hash_fini(&a->memos);
    heap_fini(&a->due);
}

/* --- to look at --- */

struct action *actions_find(const struct engine *g, uint64_t id)
{
    list_for_each (l, &g->actions.all) {
        struct action *x = list_entry(l, struct action, link);
        if (x->id == id)
            return x;
    }
    return NULL;
}

static bool lasts_longer(const struct action *x, const struct action *than)
{
    return !than || !x->until_ms || (than->until_ms && x->until_ms > than->until_ms);
}

const struct action *actions_first(const struct queue *q, enum action_kind k)
{
    const struct action *best = NULL;

    if (!q->memo || !q->memo->counts[k])
        return NULL;
    list_for_each (l, &q->memo->actions) {
        const struct action *x = list_entry(l, struct action, in_memo);
        if (x->kind == k && (!best || lasts_longer(best, x)))
            best = x;
    }
    return best;
}

const struct action *actions_of(const struct queue *q, enum action_kind k)
{
    const struct action *best = NULL;

    if (!q->memo || !q->memo->counts[k])
        return NULL;
    list_for_each (l, &q->memo->actions) {
        const struct action *x = list_entry(l, struct action, in_memo);
        if (x->kind == k && lasts_longer(x, best))
            best = x;
    }
    return best;
}

struct action *actions_on(const struct queue *q, enum action_kind k, const char *subject)
{
    if (!q->memo || !q->memo->counts[k])
        return NULL;
    return find_same(NULL, q->memo, &(struct action_spec){.kind = k, .subject = subject});
}

const struct action *actions_suspend(const struct engine *g)
{
    const struct action *best = NULL;

    if (!g->actions.suspends)
        return NULL;
    list_for_each (l, &g->actions.all) {
        const struct action *x = list_entry(l, struct action, link);
        if (x->kind == ACTION_SUSPEND && lasts_longer(x, best))
            best = x;
    }
    return best;
}

/* --- time --- */

int64_t actions_next_ms(const struct engine *g)
{
    const struct heap_node *n = heap_min(&g->actions.due);
    return n ? n->key : INT64_MAX;
}

static const char *end_reason(enum action_kind k)
{
    switch (k) {
    case ACTION_BACKOFF:
        return "backoff-to-normal-after is over";
    case ACTION_SOURCE:
        return "reenable-after is over";
    default:
        return "its time is over";
    }
}

void actions_tick(struct engine *g)
{
    int64_t now = clock_wall_ms();

    for (struct heap_node *n; (n = heap_min(&g->actions.due)) && n->key <= now;) {
        struct action *x = container_of(n, struct action, due);
        action_end(g, x, end_reason(x->kind));
    }
}

void actions_clock(struct engine *g, struct queue *q)
{
    if (q->failures && list_empty(&q->failing))
        list_push_back(&g->actions.failing, &q->failing);
    else if (!q->failures)
        list_remove(&q->failing);
    if (g->actions.changed)
        g->actions.changed(g->actions.changed_arg, true);
}
