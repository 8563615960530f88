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
}

static size_t message_size(uint16_t entry_count)
{
    return sizeof(struct message) + entry_count * sizeof(struct entry);
}

void index_fini(struct index *x)
{
    for (struct hash_node *n = hash_next(&x->by_id, NULL), *next; n; n = next) {
        next = hash_next(&x->by_id, n);
        free(container_of(n, struct message, node));
    }
    hash_fini(&x->by_id);
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
    };
    for (uint16_t i = 0; i < entry_count; i++)
        m->entries[i] = (struct entry){.message = m, .rcpt = i, .state = ENTRY_DETACHED};
    hash_insert(&x->by_id, &m->node, hash_u64(id));
    x->live += entry_count;
    x->memory_bytes += message_size(entry_count);
    return m;
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
    e->message->live--;
    x->live--;
}

void message_unpin(struct index *x, struct message *m)
{
    BUG_ON(m->pins == 0);
    if (--m->pins || m->live)
        return;
    BUG_ON(m->body);
    hash_remove(&x->by_id, &m->node);
    x->memory_bytes -= message_size(m->entry_count);
    free(m);
}
