/*
 * The index of queued messages; see index.h. Owner: the engine. A message dies when its last entry
 * is done and its last pin is gone, in message_unpin.
 */
#include "queue/index.h"

static bool match_id(const struct hash_node *n, const void *key)
{
    return container_of(n, const struct message, node)->id == *(const message_id *)key;
}

void index_init(struct index *x)
{
    *x = (struct index){0};
    hash_init(&x->by_id, match_id);
    list_init(&x->by_age);
}

static void free_message(struct message *m)
{
    job_unref(m->job);
    windows_unref(m->windows);
    free(m);
}

static size_t message_size(uint16_t entry_count)
{
    return sizeof(struct message) + entry_count * sizeof(struct entry);
}

void index_fini(struct index *x)
{
    for (struct hash_node *n = hash_next(&x->by_id, NULL), *next; n; n = next) {
        next = hash_next(&x->by_id, n);
        free_message(container_of(n, struct message, node));
    }
    hash_fini(&x->by_id);
}

static struct message *of_age(struct list *l)
{
    return list_entry(l, struct message, by_age);
}

struct message *index_add(struct index *x, message_id id, const struct spool_place *place,
                          int64_t received_ms, uint16_t entry_count)
{
    struct message *m = xmalloc(message_size(entry_count));

    *m = (struct message){
        .id = id,
        .received_ms = received_ms,
        .place = *place,
        .live = entry_count,
        .entry_count = entry_count,
        .priority = PRIORITY_USUAL,
    };
    for (uint16_t i = 0; i < entry_count; i++)
        m->entries[i] = (struct entry){.message = m, .rcpt = i, .state = ENTRY_DETACHED};
    hash_insert(&x->by_id, &m->node, hash_u64(id));
    if (!list_empty(&x->by_age) && received_ms < of_age(x->by_age.prev)->received_ms)
        x->is_mixed = true;
    list_push_back(&x->by_age, &m->by_age);
    x->live += entry_count;
    x->memory_bytes += message_size(entry_count);
    return m;
}

void message_order(struct message *m, const struct envelope *env, struct jobs *jobs,
                   struct hash *windows)
{
    m->job = job_get(jobs, env->job);
    job_count_queued(m->job, m->live);
    m->windows = windows_get(windows, env->schedule);
    if (env->priority)
        m->priority = (uint8_t)MIN_OF(env->priority - 1, PRIORITY_MAX);
    m->single = (env->flags & ENVELOPE_VERP) && env->sender.len;
}

/* Takes the longest run that is in order already from the front of `from` to the end of `to`. */
static void take_run(struct list *from, struct list *to)
{
    int64_t last = INT64_MIN;
    for (struct list *l; (l = list_first(from)) && of_age(l)->received_ms >= last;) {
        last = of_age(l)->received_ms;
        list_remove(l);
        list_push_back(to, l);
    }
}

static void merge(struct list *a, struct list *b, struct list *to)
{
    struct list *x, *y;
    while ((x = list_first(a)) && (y = list_first(b))) {
        struct list *less = of_age(y)->received_ms < of_age(x)->received_ms ? y : x;
        list_remove(less);
        list_push_back(to, less);
    }
    list_splice_back(to, a);
    list_splice_back(to, b);
}

/* Merges neighbouring runs until one is left. The disk holds few long runs: what compaction moved,
 * and the rest. */
void index_sort(struct index *x)
{
    bool again = x->is_mixed;

    while (again) {
        struct list sorted, a, b;
        unsigned merges = 0;
        list_init(&sorted);
        list_init(&a);
        list_init(&b);
        while (!list_empty(&x->by_age)) {
            take_run(&x->by_age, &a);
            take_run(&x->by_age, &b);
            merge(&a, &b, &sorted);
            merges++;
        }
        list_splice_back(&x->by_age, &sorted);
        again = merges > 1;
    }
    x->is_mixed = false;
}

const struct message *index_oldest(const struct index *x)
{
    list_for_each (l, &x->by_age)
        if (of_age(l)->live)
            return of_age(l);
    return NULL;
}

struct message *index_find(const struct index *x, message_id id)
{
    struct hash_node *n = hash_find(&x->by_id, hash_u64(id), &id);
    return n ? container_of(n, struct message, node) : NULL;
}

struct entry *message_entry(struct message *m, uint16_t rcpt)
{
    /* entry i has rcpt >= i, so the search never looks past i = rcpt */
    size_t low = 0, high = MIN_OF((size_t)m->entry_count, (size_t)rcpt + 1);
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (m->entries[middle].rcpt == rcpt)
            return &m->entries[middle];
        if (m->entries[middle].rcpt < rcpt)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

void index_entry_done(struct index *x, struct entry *e)
{
    BUG_ON(e->state == ENTRY_DONE || e->message->live == 0);
    e->state = ENTRY_DONE;
    e->queue = NULL;
    job_count_done(e->message->job);
    x->live--;
    if (--e->message->live == 0)
        list_remove(&e->message->by_age);
}

void message_unpin(struct index *x, struct message *m)
{
    BUG_ON(m->pins == 0);
    if (--m->pins || m->live)
        return;
    BUG_ON(m->body || m->signing);
    hash_remove(&x->by_id, &m->node);
    x->memory_bytes -= message_size(m->entry_count);
    list_remove(&m->by_age);
    free_message(m);
}
