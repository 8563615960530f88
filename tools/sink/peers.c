/*
 * peers: see peers.h. Filled by the server at each connection, asked by the session at the phase of
 * the hidden rate. A refused attempt takes nothing from bucket or window.
 */
#include "sink/peers.h"

static bool match(const struct hash_node *node, const void *key)
{
    return strcmp(container_of(node, struct peer, node)->address, key) == 0;
}

void peers_init(struct peers *p)
{
    memset(p, 0, sizeof(*p));
    hash_init(&p->by_address, match);
    p->rest.address = xstrdup("others");
}

void peers_fini(struct peers *p)
{
    struct hash_node *node;
    while ((node = hash_next(&p->by_address, NULL))) {
        struct peer *one = container_of(node, struct peer, node);
        hash_remove(&p->by_address, node);
        free(one->address);
        free(one);
    }
    hash_fini(&p->by_address);
    free(p->rest.address);
}

struct peer *peers_get(struct peers *p, const char *address)
{
    uint64_t h = hash_bytes(address, strlen(address));
    struct hash_node *node = hash_find(&p->by_address, h, address);
    if (node)
        return container_of(node, struct peer, node);
    if (p->by_address.count >= PEERS_MAX)
        return &p->rest;
    struct peer *one = xcalloc(1, sizeof(*one));
    one->address = xstrdup(address);
    hash_insert(&p->by_address, &one->node, h);
    return one;
}

int hidden_set_rate(struct hidden *h, const char *text, struct err *e)
{
    if (units_parse_rate(sv_of(text), &h->rate) < 0 || !h->rate.count || h->rate.period_ms <= 0)
        return err_set(e, ERR_SYNTAX, "expected a rate such as 20/s or 600/m");
    return 0;
}

int hidden_set_window(struct hidden *h, const char *text, struct err *e)
{
    bool fixed = strcmp(text, "fixed") == 0;
    if (!fixed && strcmp(text, "bucket") != 0)
        return err_set(e, ERR_SYNTAX, "expected bucket or fixed");
    h->window = fixed ? HIDDEN_FIXED : HIDDEN_BUCKET;
    return 0;
}

int hidden_set_phase(struct hidden *h, const char *text, struct err *e)
{
    for (int i = PHASE_MAIL; i <= PHASE_DATA; i++)
        if (strcmp(text, policy_phase_name((enum policy_phase)i)) == 0) {
            h->phase = (enum policy_phase)i;
            return 0;
        }
    return err_set(e, ERR_SYNTAX, "expected mail, rcpt or data");
}

int hidden_set_reply(struct hidden *h, const char *text, struct err *e)
{
    struct strview rest = sv_of(text), code;
    uint64_t n = 0;
    if (!sv_split(&rest, ' ', &code) || !sv_to_u64(code, &n) || n < 400 || n > 599 || !rest.len)
        return err_set(e, ERR_SYNTAX, "expected a reply such as \"451 4.7.1 Slow down\"");
    free(h->text);
    h->code = (int)n;
    h->text = xstrndup(rest.ptr, rest.len);
    return 0;
}

static bool take_bucket(const struct rate *r, struct hidden_level *l, int64_t now_us)
{
    double per_us = (double)r->count / ((double)r->period_ms * 1000);
    double most = per_us * (double)MIN_OF(r->period_ms, (int64_t)1000) * 1000;

    most = MAX_OF(most, 1.0);
    if (!l->last_us)
        l->tokens = most;
    else if (now_us > l->last_us)
        l->tokens = MIN_OF(most, l->tokens + (double)(now_us - l->last_us) * per_us);
    l->last_us = now_us;
    if (l->tokens < 1)
        return false;
    l->tokens--;
    return true;
}

static bool take_window(const struct rate *r, struct hidden_level *l, int64_t now_us)
{
    int64_t window = now_us / 1000 / r->period_ms;

    if (window != l->window) {
        l->window = window;
        l->used = 0;
    }
    if (l->used >= r->count)
        return false;
    l->used++;
    return true;
}

bool hidden_take(const struct hidden *h, struct peers *all, struct peer *p, int64_t now_us)
{
    struct hidden_level *l = h->per_address ? &p->level : &all->level;
    bool passed = h->window == HIDDEN_FIXED ? take_window(&h->rate, l, now_us)
                                            : take_bucket(&h->rate, l, now_us);
    p->passed += passed;
    p->limited += !passed;
    return passed;
}
