/*
 * Buckets of clients; see rate.h. Called for requests that were refused. When there are too many
 * clients the one that was quiet for longest is forgotten: an attacker with that many addresses has no
 * need of a full bucket.
 */
#include "rate.h"

#include <stdio.h>

struct client {
    struct hash_node node;
    struct list used;
    double left; /* of the burst */
    int64_t at_ms;
    char address[RATE_ADDRESS_LEN];
};

static bool match(const struct hash_node *n, const void *key)
{
    return strcmp(container_of(n, const struct client, node)->address, key) == 0;
}

void rate_table_init(struct rate_table *t)
{
    hash_init(&t->clients, match);
    list_init(&t->by_use);
}

static void drop(struct rate_table *t, struct client *c)
{
    hash_remove(&t->clients, &c->node);
    list_remove(&c->used);
    free(c);
}

void rate_table_fini(struct rate_table *t)
{
    for (struct list *l; (l = list_first(&t->by_use));)
        drop(t, list_entry(l, struct client, used));
    hash_fini(&t->clients);
}

static struct client *find(struct rate_table *t, const char *address, double burst, int64_t now_ms)
{
    uint64_t h = hash_bytes(address, strlen(address));
    struct hash_node *n = hash_find(&t->clients, h, address);

    if (n)
        return container_of(n, struct client, node);
    if (t->clients.count >= RATE_ADDRESSES_MAX)
        drop(t, list_entry(list_first(&t->by_use), struct client, used));
    struct client *c = xcalloc(1, sizeof(*c));
    snprintf(c->address, sizeof(c->address), "%s", address);
    c->left = burst;
    c->at_ms = now_ms;
    hash_insert(&t->clients, &c->node, h);
    list_push_back(&t->by_use, &c->used);
    return c;
}

bool rate_take(struct rate_table *t, const char *client, const struct rate *rate, int64_t now_ms)
{
    char address[RATE_ADDRESS_LEN];
    double burst = (double)rate->count;

    if (!rate->count)
        return true;
    snprintf(address, sizeof(address), "%s", client);
    struct client *c = find(t, address, burst, now_ms);
    c->left += burst * (double)(now_ms - c->at_ms) / (double)rate->period_ms;
    c->left = MIN_OF(c->left, burst);
    c->at_ms = now_ms;
    list_remove(&c->used);
    list_push_back(&t->by_use, &c->used);
    if (c->left < 1.0)
        return false;
    c->left -= 1.0;
    return true;
}
