/*
 * Lanes; see lane.h. Called by queue.c when entries become ready or leave, by load.c for whose turn
 * it is, by the limits when a job's rate has room, by the scheduler's timer for windows.
 *
 * A lane other than the plain one lives as long as it has entries. Invariants: it is in its queue's
 * turns when nothing holds it; queue->ready_count and held_count add up the lanes' counts; a lane
 * that waits in a limit's line is held by LANE_NO_ROOM.
 */
#include "queue/engine_int.h"

#include "base/clock.h"

struct lane_key {
    const struct queue *queue;
    const struct job *job;
    const struct windows *windows;
    uint8_t priority;
};

static bool match_key(const struct hash_node *n, const void *key)
{
    const struct lane *lane = container_of(n, const struct lane, node);
    const struct lane_key *k = key;
    return lane->queue == k->queue && lane->job == k->job && lane->windows == k->windows &&
           lane->priority == k->priority;
}

static uint64_t key_hash(const struct lane_key *k)
{
    uint64_t a = (uintptr_t)k->queue, b = (uintptr_t)k->job, c = (uintptr_t)k->windows;
    return hash_u64(a ^ (b << 17 | b >> 47) ^ (c << 34 | c >> 30) ^ k->priority);
}

void lanes_init(struct engine *g)
{
    hash_init(&g->lanes, match_key);
    list_init(&g->lanes_over);
    windows_table_init(&g->windows);
}

void lanes_fini(struct engine *g)
{
    BUG_ON(g->lanes.count || g->windows.count);
    hash_fini(&g->lanes);
    hash_fini(&g->windows);
    heap_fini(&g->shutters);
}

static void init(struct lane *lane, struct queue *q, uint8_t priority)
{
    *lane = (struct lane){.queue = q, .priority = priority};
    heap_node_init(&lane->turn);
    heap_node_init(&lane->change);
    list_init(&lane->entries);
    list_init(&lane->of_job);
    list_init(&lane->over);
    list_init(&lane->waiter.link);
    list_push_back(&q->lanes, &lane->of_queue);
}

void lane_init_plain(struct lane *lane, struct queue *q)
{
    init(lane, q, PRIORITY_USUAL);
}

/* --- turns --- */

static bool is_plain(const struct lane *lane)
{
    return lane == &lane->queue->plain;
}

/* Behind all others of its priority. The plain lane is compared by hand in `first`, so that a queue
 * without jobs has no heap. */
static void line_up(struct lane *lane)
{
    struct queue *q = lane->queue;
    int64_t key = (int64_t)(PRIORITY_MAX - lane->priority) << 48 | q->turn_seq++;

    if (is_plain(lane))
        lane->turn.key = key;
    else
        heap_set(&q->turns, &lane->turn, key);
}

static struct lane *first(struct queue *q)
{
    struct heap_node *n = heap_min(&q->turns);

    if (q->plain.count && (!n || q->plain.turn.key < n->key))
        return &q->plain;
    return n ? container_of(n, struct lane, turn) : NULL;
}

static void hold(struct lane *lane, unsigned why)
{
    struct queue *q = lane->queue;

    if (!lane->held) {
        heap_remove(&q->turns, &lane->turn);
        q->ready_count -= lane->count;
        q->held_count += lane->count;
    }
    lane->held |= (uint8_t)why;
}

/* True when it may send again. */
static bool let_go(struct lane *lane, unsigned why)
{
    struct queue *q = lane->queue;

    if (!(lane->held & why))
        return false;
    lane->held &= (uint8_t)~why;
    if (lane->held)
        return false;
    q->held_count -= lane->count;
    q->ready_count += lane->count;
    line_up(lane);
    return true;
}

/* --- reasons to stand aside --- */

static void on_room(struct limit_waiter *w)
{
    struct lane *lane = container_of(w, struct lane, waiter);
    struct queue *q = lane->queue;

    limit_leave(w);
    if (let_go(lane, LANE_NO_ROOM))
        scheduler_kick(q->engine, q);
}

void lanes_pause(struct job *job, bool paused)
{
    list_for_each (l, &job->lanes) {
        struct lane *lane = list_entry(l, struct lane, of_job);
        struct queue *q = lane->queue;
        if (paused)
            hold(lane, LANE_PAUSED);
        else if (let_go(lane, LANE_PAUSED))
            scheduler_kick(q->engine, q);
    }
}

/* Sets what the windows say now, and when to look again. True when it may send again. */
static bool look_at_windows(struct lane *lane, int64_t now)
{
    struct engine *g = lane->queue->engine;

    if (windows_over(lane->windows, now)) {
        hold(lane, LANE_SHUT);
        heap_remove(&g->shutters, &lane->change);
        list_push_back(&g->lanes_over, &lane->over);
        finisher_over(g);
        return false;
    }
    heap_set(&g->shutters, &lane->change, windows_change(lane->windows, now));
    if (windows_open(lane->windows, now))
        return let_go(lane, LANE_SHUT);
    hold(lane, LANE_SHUT);
    return false;
}

void lanes_tick(struct engine *g, int64_t now_ms)
{
    for (struct heap_node *n; (n = heap_min(&g->shutters)) && n->key <= now_ms;) {
        struct lane *lane = container_of(n, struct lane, change);
        if (look_at_windows(lane, now_ms))
            scheduler_kick(g, lane->queue);
    }
}

int64_t lanes_next_ms(const struct engine *g)
{
    const struct heap_node *n = heap_min(&g->shutters);
    return n ? n->key : INT64_MAX;
}

/* --- lanes come and go --- */

static struct lane_key key_of(const struct queue *q, const struct message *m)
{
    return (struct lane_key){q, m->job, m->windows, m->priority};
}

static struct lane *lane_find(struct queue *q, const struct message *m)
{
    struct lane_key key = key_of(q, m);

    if (!m->job && !m->windows && m->priority == PRIORITY_USUAL)
        return &q->plain;
    if (q->recent && match_key(&q->recent->node, &key))
        return q->recent;
    struct hash_node *n = hash_find(&q->engine->lanes, key_hash(&key), &key);
    return q->recent = n ? container_of(n, struct lane, node) : NULL;
}

static struct lane *lane_new(struct queue *q, const struct message *m)
{
    struct engine *g = q->engine;
    struct lane_key key = key_of(q, m);
    struct lane *lane = xmalloc(sizeof(*lane));

    init(lane, q, m->priority);
    lane->job = m->job;
    lane->windows = m->windows;
    lane->waiter.room = on_room;
    hash_insert(&g->lanes, &lane->node, key_hash(&key));
    q->recent = lane;
    if (lane->job) {
        list_push_back(&lane->job->lanes, &lane->of_job);
        if (lane->job->paused_since_ms)
            hold(lane, LANE_PAUSED);
    }
    if (lane->windows) {
        look_at_windows(lane, clock_wall_ms());
        scheduler_rearm(g);
    }
    return lane;
}

static void lane_free(struct lane *lane)
{
    struct engine *g = lane->queue->engine;

    if (lane->queue->recent == lane)
        lane->queue->recent = NULL;
    hash_remove(&g->lanes, &lane->node);
    heap_remove(&lane->queue->turns, &lane->turn);
    heap_remove(&g->shutters, &lane->change);
    list_remove(&lane->of_queue);
    list_remove(&lane->of_job);
    list_remove(&lane->over);
    limit_leave(&lane->waiter);
    free(lane);
}

void lanes_free_all(struct queue *q)
{
    list_for_each_safe (l, &q->lanes) {
        struct lane *lane = list_entry(l, struct lane, of_queue);
        if (!is_plain(lane))
            lane_free(lane);
    }
}

/* --- entries --- */

void lane_put(struct queue *q, struct entry *e, bool in_front)
{
    struct lane *lane = lane_find(q, e->message);

    if (!lane)
        lane = lane_new(q, e->message);
    if (in_front)
        list_push_front(&lane->entries, &e->link);
    else
        list_push_back(&lane->entries, &e->link);
    if (lane->held)
        q->held_count++;
    else
        q->ready_count++;
    if (lane->count++ == 0 && !lane->held)
        line_up(lane);
}

void lane_take(struct queue *q, struct entry *e)
{
    struct lane *lane = lane_find(q, e->message);

    BUG_ON(!lane || !lane->count);
    list_remove(&e->link);
    if (lane->held)
        q->held_count--;
    else
        q->ready_count--;
    if (--lane->count == 0 && !is_plain(lane))
        lane_free(lane);
}

/* Recipients of the lane's first message, at most `most`. */
static uint32_t count_first(const struct lane *lane, uint32_t most)
{
    const struct message *m = NULL;
    uint32_t count = 0;

    list_for_each (l, &lane->entries) {
        const struct entry *e = list_entry(l, const struct entry, link);
        if (count == most || (m && e->message != m))
            break;
        m = e->message;
        count++;
    }
    return count;
}

struct lane *lanes_next(struct queue *q, uint32_t most, uint32_t *ret_granted)
{
    struct limit *full = NULL;
    struct lane *lane;

    *ret_granted = most;
    while ((lane = first(q))) {
        if (lane->job && lane->job->limit)
            *ret_granted = job_take(lane->job, count_first(lane, most), &full);
        if (*ret_granted)
            break;
        hold(lane, LANE_NO_ROOM);
        limit_wait(full, &lane->waiter);
        *ret_granted = most;
    }
    if (lane && q->turns.count)
        line_up(lane);
    return lane;
}

const struct entry *lanes_peek(struct queue *q)
{
    const struct lane *lane = first(q);
    return lane ? list_entry(list_first(&lane->entries), const struct entry, link) : NULL;
}

unsigned lane_holds(struct queue *q, const struct entry *e)
{
    const struct lane *lane = e->state == ENTRY_READY ? lane_find(q, e->message) : NULL;
    return lane ? lane->held : 0;
}
