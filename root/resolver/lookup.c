/*
 * Questions and their attempts; see lookup.h. route.c asks; exchange.c carries one attempt.
 *
 * Happy path: lookup_start queues the question fairly, lookups_run sends it to the quickest name
 * server, the answer goes into the cache and to everyone who waits. A time-out, a refused port or
 * SERVFAIL leads to the next server; TC or somebody who guesses ids leads to TCP; a server that
 * knows no EDNS0 is asked without. After LOOKUP_MAX_ATTEMPTS (two per server, at least three) the
 * answer is ANSWER_FAILED with what happened last, and is believed for LOOKUP_FAILED_TTL_S.
 *
 * A lookup is freed in one place, finish(), before which it has left the table.
 */
#include "lookup.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"

#include <stdio.h>

struct lookup {
    struct fair_item item;
    struct hash_node node;
    struct lookups *all;
    struct list waiters;
    struct exchange *exchange;
    struct query query; /* of the attempt under way */
    char name[DOMAIN_SIZE];
    char target[DOMAIN_SIZE]; /* where CNAMEs have led; else the name */
    enum query_type type;
    unsigned servers_generation; /* what server and the masks are about */
    struct server *server;
    uint32_t tried;   /* servers that did not answer in this round */
    uint32_t refused; /* servers that answered with a failure */
    unsigned attempts, exchanges, aliases;
    uint32_t ttl_s; /* smallest along the CNAMEs */
    bool insecure;  /* a packet along the CNAMEs was not validated */
    bool tcp;
    bool again; /* the same server once more: by TCP or without EDNS */
    char trouble[SERVER_TEXT_SIZE + 128];
};

struct lookup_key {
    const char *name;
    enum query_type type;
};

static bool key_match(const struct hash_node *n, const void *key)
{
    const struct lookup *x = container_of(n, struct lookup, node);
    const struct lookup_key *k = key;
    return x->type == k->type && strcmp(x->name, k->name) == 0;
}

static uint64_t key_hash(const struct lookup_key *k)
{
    return hash_u64(hash_bytes(k->name, strlen(k->name)) ^ (uint64_t)k->type);
}

static void next_attempt(struct lookup *x);

void lookups_init(struct lookups *l, const struct exchange_ops *ops, void *ops_owner,
                  unsigned max_questions, size_t cache_entries, size_t cache_bytes)
{
    *l = (struct lookups){.ops = ops, .ops_owner = ops_owner, .timeout_ms = 2000};
    cache_init(&l->cache, cache_entries, cache_bytes);
    hash_init(&l->running, key_match);
    fair_init(&l->fair, max_questions);
}

void lookups_fini(struct lookups *l)
{
    for (struct hash_node *n; (n = hash_next(&l->running, NULL));) {
        struct lookup *x = container_of(n, struct lookup, node);
        if (x->exchange)
            l->ops->cancel(l->ops_owner, x->exchange);
        hash_remove(&l->running, n);
        free(x);
    }
    hash_fini(&l->running);
    cache_fini(&l->cache);
}

static bool same_servers(const struct servers *a, const struct servers *b)
{
    for (size_t i = 0; a->count == b->count && i < a->count; i++)
        if (memcmp(&a->items[i].addr, &b->items[i].addr, sizeof(a->items[i].addr)) != 0)
            return false;
    return a->count == b->count;
}

void lookups_set_servers(struct lookups *l, const struct servers *s, int64_t timeout_ms,
                         bool validating)
{
    if (validating && !(l->validating && same_servers(&l->servers, s)))
        cache_clear(&l->cache); /* its AD bits may be of others */
    l->validating = validating;
    l->servers = *s;
    l->servers_generation++;
    l->timeout_ms = timeout_ms;
}

/* Whether what this lookup knows about servers is about those of now. */
static bool is_current(const struct lookup *x)
{
    return x->servers_generation == x->all->servers_generation;
}

static void finish(struct lookup *x, struct answer *a)
{
    struct lookups *l = x->all;

    hash_remove(&l->running, &x->node);
    fair_done(&l->fair, &x->item);
    cache_put(&l->cache, x->name, x->type, a);
    log_debug(LOG_DNS, "answered name=%s type=%s status=%d records=%u ttl=%u %s", x->name,
              query_type_name(x->type), (int)a->status, a->count, a->ttl_s, a->text);
    for (struct list *n; (n = list_pop_front(&x->waiters));) {
        struct lookup_waiter *w = list_entry(n, struct lookup_waiter, link);
        w->done(w, a, a->ttl_s);
    }
    answer_unref(a);
    free(x);
    if (l->fair.queued)
        l->ops->wake(l->ops_owner);
}

static void finish_failed(struct lookup *x)
{
    finish(x, answer_failed(LOOKUP_FAILED_TTL_S, "%s for %s of '%s'",
                            x->trouble[0] ? x->trouble : "no name server", query_type_name(x->type),
                            x->name));
}

static void note_trouble(struct lookup *x, const char *what)
{
    snprintf(x->trouble, sizeof(x->trouble), "%.100s from name server %s", what,
             is_current(x) ? x->server->text : "of the former configuration");
}

/* The server did not answer. */
static void attempt_failed(struct lookup *x, int code, int64_t took_ms)
{
    struct server *s = x->server;

    x->attempts++;
    note_trouble(x, code == ERR_TIMEOUT ? "no answer" : err_name(code));
    if (!is_current(x))
        return;
    x->tried |= server_bit(&x->all->servers, s);
    if (server_failed(s, took_ms))
        log_warn(LOG_DNS, "name server '%s' does not answer (%s), asking others first", s->text,
                 err_name(code));
}

/* The server answered, and the answer is of no use. */
static void attempt_refused(struct lookup *x, const char *what)
{
    x->attempts++;
    note_trouble(x, what);
    if (is_current(x))
        x->refused |= server_bit(&x->all->servers, x->server);
}

/* A CNAME led out of the packet: the rest of the chain is a question of its own. */
static void follow(struct lookup *x, const struct answer *a)
{
    x->aliases += a->aliases;
    x->insecure |= !a->authenticated;
    x->ttl_s = MIN_OF(x->ttl_s, a->ttl_s);
    if (x->aliases > ANSWER_MAX_ALIASES) {
        finish(x,
               answer_failed(ANSWER_MAX_NEGATIVE_TTL_S, "more than %d CNAME records for %s of '%s'",
                             ANSWER_MAX_ALIASES, query_type_name(x->type), x->name));
        return;
    }
    memcpy(x->target, a->text, strlen(a->text) + 1);
    x->tried = x->refused = 0;
    next_attempt(x);
}

static void take_answer(struct lookup *x, struct answer *a)
{
    switch (a->status) {
    case ANSWER_OK:
    case ANSWER_NO_DATA:
    case ANSWER_NO_DOMAIN:
        a->ttl_s = MIN_OF(a->ttl_s, x->ttl_s);
        a->authenticated &= !x->insecure;
        finish(x, answer_ref(a));
        return;
    case ANSWER_ALIAS:
        follow(x, a);
        return;
    case ANSWER_NO_EDNS:
        x->again = true;
        if (is_current(x))
            x->server->no_edns = true;
        break;
    case ANSWER_FAILED:
        attempt_refused(x, a->text);
        break;
    }
    next_attempt(x);
}

static void take_packet(struct lookup *x, const struct exchange_result *r)
{
    struct lookups *l = x->all;

    if (is_current(x) && server_answered(x->server, r->took_ms))
        log_info(LOG_DNS, "name server '%s' answers again", x->server->text);
    if (r->match == QUERY_TRUNCATED && !x->tcp) {
        x->tcp = x->again = true;
        next_attempt(x);
        return;
    }
    struct answer *a = answer_parse(&x->query, r->data, r->len);
    if (a) {
        a->authenticated &= is_current(x);
        take_answer(x, a);
        answer_unref(a);
        return;
    }
    log_debug(LOG_DNS, "broken packet name=%s bytes=%zu queries=%llu", x->target, r->len,
              (unsigned long long)l->queries);
    attempt_refused(x, "broken packet");
    next_attempt(x);
}

static void on_exchange(void *arg, const struct exchange_result *r)
{
    struct lookup *x = arg;

    x->exchange = NULL;
    if (r->code == 0) {
        take_packet(x, r);
        return;
    }
    x->all->timeouts += r->code == ERR_TIMEOUT;
    if (r->code == ERR_PROTOCOL && !x->tcp) { /* somebody guesses ids: TCP cannot be guessed */
        x->all->foreign++;
        x->tcp = x->again = true;
    } else {
        attempt_failed(x, r->code, r->took_ms);
    }
    next_attempt(x);
}

/* Chooses the server of the next attempt: NULL when all have been asked in vain. */
static struct server *choose_server(struct lookup *x)
{
    struct servers *s = &x->all->servers;

    if (!is_current(x)) {
        x->servers_generation = x->all->servers_generation;
        x->tried = x->refused = 0;
        x->again = false;
    }
    if (x->again)
        return x->server;
    x->tcp = false;
    struct server *one = servers_pick(s, x->tried | x->refused);
    if (one)
        return one;
    x->tried = 0;
    return servers_pick(s, x->refused);
}

static unsigned max_attempts(const struct lookups *l)
{
    unsigned two_each = (unsigned)l->servers.count * 2;
    return MIN_OF((unsigned)LOOKUP_MAX_ATTEMPTS, MAX_OF(two_each, 3u));
}

static void next_attempt(struct lookup *x)
{
    struct lookups *l = x->all;
    bool may = x->attempts < max_attempts(l) && x->exchanges < LOOKUP_MAX_EXCHANGES;

    x->server = may ? choose_server(x) : NULL;
    x->again = false;
    if (!x->server || query_build(&x->query, x->target, x->type, !x->server->no_edns) < 0) {
        finish_failed(x);
        return;
    }
    x->query.aliased = strcmp(x->target, x->name) != 0;
    x->exchanges++;
    l->queries++;
    l->by_tcp += x->tcp;
    x->exchange = l->ops->send(l->ops_owner, &x->query, (const struct sockaddr *)&x->server->addr,
                               x->tcp, l->timeout_ms, on_exchange, x);
}

struct answer *lookup_cached(struct lookups *l, const char *name, enum query_type type,
                             uint32_t *ret_ttl_s)
{
    return cache_get(&l->cache, name, type, ret_ttl_s);
}

static struct lookup *new_lookup(struct lookups *l, const struct lookup_key *key)
{
    struct lookup *x = xcalloc(1, sizeof(*x));
    size_t bytes = strlen(key->name) + 1;

    BUG_ON(bytes > sizeof(x->name));
    x->all = l;
    x->type = key->type;
    x->ttl_s = ANSWER_MAX_TTL_S;
    memcpy(x->name, key->name, bytes);
    memcpy(x->target, key->name, bytes);
    x->servers_generation = l->servers_generation;
    list_init(&x->waiters);
    hash_insert(&l->running, &x->node, key_hash(key));
    return x;
}

void lookup_start(struct lookups *l, struct fair_client *client, const char *name,
                  enum query_type type, struct lookup_waiter *w)
{
    struct lookup_key key = {name, type};
    struct hash_node *n = hash_find(&l->running, key_hash(&key), &key);

    if (n) {
        l->coalesced++;
        list_push_back(&container_of(n, struct lookup, node)->waiters, &w->link);
        return;
    }
    struct lookup *x = new_lookup(l, &key);
    list_push_back(&x->waiters, &w->link);
    fair_add(&l->fair, client, &x->item);
    l->ops->wake(l->ops_owner);
}

void lookups_run(struct lookups *l)
{
    for (struct fair_item *i; (i = fair_next(&l->fair));)
        next_attempt(container_of(i, struct lookup, item));
}
