/*
 * Fair queueing; see fair.h. Used twice: for routes (per pipe) in resolve.c and for the questions
 * that routes are made of in lookup.c. No I/O, no memory of its own.
 */
#include "fair.h"

void fair_init(struct fair *f, unsigned max_active)
{
    *f = (struct fair){.max_active = max_active};
    list_init(&f->ring);
}

void fair_client_init(struct fair_client *c)
{
    *c = (struct fair_client){0};
    list_init(&c->link);
    list_init(&c->queue);
}

void fair_add(struct fair *f, struct fair_client *c, struct fair_item *item)
{
    item->client = c;
    if (fair_client_idle(c))
        f->busy++;
    if (!c->queued++)
        list_push_back(&f->ring, &c->link);
    f->queued++;
    list_push_back(&c->queue, &item->link);
}

static struct fair_item *take(struct fair *f, struct fair_client *c)
{
    struct list *n = list_pop_front(&c->queue);
    BUG_ON(!n);
    f->queued--;
    list_remove(&c->link);
    if (--c->queued)
        list_push_back(&f->ring, &c->link); /* the others first */
    return list_entry(n, struct fair_item, link);
}

struct fair_item *fair_next(struct fair *f)
{
    unsigned share = MAX_OF(f->max_active / (f->busy + 1), (unsigned)FAIR_MIN_SHARE);

    if (f->active >= f->max_active)
        return NULL;
    list_for_each (pos, &f->ring) {
        struct fair_client *c = list_entry(pos, struct fair_client, link);
        if (c->active >= share)
            continue;
        struct fair_item *item = take(f, c);
        c->active++;
        f->active++;
        return item;
    }
    return NULL;
}

void fair_done(struct fair *f, struct fair_item *item)
{
    struct fair_client *c = item->client;

    BUG_ON(!c->active || !f->active);
    c->active--;
    f->active--;
    if (fair_client_idle(c))
        f->busy--;
}

struct fair_item *fair_drop(struct fair *f, struct fair_client *c)
{
    if (!c->queued)
        return NULL;
    struct fair_item *item = take(f, c);
    if (fair_client_idle(c))
        f->busy--;
    return item;
}
