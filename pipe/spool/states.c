/*
 * Open addressing with linear probing, doubled at three quarters; see states.h.
 */
#include "spool/states.h"

static size_t slot_of(const struct states *t, message_id id, uint16_t rcpt)
{
    uint64_t h = (id + (uint64_t)rcpt * 0x9e3779b97f4a7c15u) * 0xff51afd7ed558ccdu;
    h ^= h >> 32;
    size_t i = h & (t->cap - 1);
    while (t->slots[i].id && (t->slots[i].id != id || t->slots[i].rcpt != rcpt))
        i = (i + 1) & (t->cap - 1);
    return i;
}

static void grow(struct states *t)
{
    struct states bigger = {
        .cap = t->cap ? t->cap * 2 : 1024, .count = t->count, .bytes = t->bytes};
    bigger.slots = xcalloc(bigger.cap, sizeof(*bigger.slots));
    for (size_t i = 0; i < t->cap; i++)
        if (t->slots[i].id)
            bigger.slots[slot_of(&bigger, t->slots[i].id, t->slots[i].rcpt)] = t->slots[i];
    free(t->slots);
    *t = bigger;
}

void states_put(struct states *t, const struct event *e, spool_journal_place at, size_t bytes)
{
    if (!e->id)
        return;
    if (t->count * 4 >= t->cap * 3)
        grow(t);
    struct state *s = &t->slots[slot_of(t, e->id, e->rcpt)];
    if (!s->id)
        t->count++;
    else if (s->state >= SPOOL_DELIVERED && !event_is_final(e))
        return;
    t->bytes = t->bytes - s->bytes + bytes;
    *s = (struct state){e->id,   at,          e->next_attempt_ms, e->place.segment,
                        e->rcpt, e->attempts, (uint16_t)bytes,    e->state,
                        e->first_attempt_s};
}

const struct state *states_get(const struct states *t, message_id id, uint16_t rcpt)
{
    if (!t->cap)
        return NULL;
    const struct state *s = &t->slots[slot_of(t, id, rcpt)];
    return s->id ? s : NULL;
}

void states_free(struct states *t)
{
    free(t->slots);
    *t = (struct states){0};
}
