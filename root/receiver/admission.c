/*
 * Counts and limits of incoming connections; see admission.h. Called by session.c when a connection
 * opens and when its memory goes. A group that reserves connections gets them even when all others
 * together would fill the process: what it has reserved and does not use is taken off for everybody
 * else. There are as many counts as sources and groups with connections: few. Counts are heap
 * memory, gone with their last connection; names outlive a reload, so they are copied.
 */
#include "admission.h"

#include <strings.h>

/* Clients of one address; of IPv6 one /64, which is what one of them has. */
struct admission_key {
    uint8_t family;
    uint8_t bytes[8];
};

struct admission_address {
    struct hash_node node;
    struct admission_key key;
    uint32_t count;
};

static bool match_address(const struct hash_node *n, const void *key)
{
    return memcmp(&container_of(n, const struct admission_address, node)->key, key,
                  sizeof(struct admission_key)) == 0;
}

void admission_init(struct admission *a)
{
    list_init(&a->sources);
    list_init(&a->groups);
    hash_init(&a->addresses, match_address);
    a->connections = a->inbound = 0;
}

static struct admission_count *find(const struct list *counts, const char *name)
{
    list_for_each (pos, counts) {
        struct admission_count *c = list_entry(pos, struct admission_count, link);
        if (strcasecmp(c->name, name) == 0)
            return c;
    }
    return NULL;
}

static struct admission_count *count_in(struct list *counts, const char *name)
{
    struct admission_count *c = find(counts, name);

    if (!c) {
        c = xcalloc(1, sizeof(*c) + strlen(name) + 1);
        memcpy(c->name, name, strlen(name) + 1);
        list_push_back(counts, &c->link);
    }
    c->count++;
    return c;
}

static void count_out(struct admission_count *c)
{
    if (!c || --c->count > 0)
        return;
    list_remove(&c->link);
    free(c);
}

/* What groups other than this one have reserved and do not use. */
static uint64_t reserved_by_others(const struct admission *a, const struct config *cfg,
                                   const struct admission_count *group)
{
    uint64_t sum = 0;
    const char *name;

    for (size_t i = 0; (name = config_section_name(cfg, KIND_SOURCE_GROUP, i)); i++) {
        const struct config_value *v =
            config_section_get(cfg, KIND_SOURCE_GROUP, sv_of(name), DIR_RESERVED_SMTP_IN);
        if (!v || (group && strcasecmp(group->name, name) == 0))
            continue;
        const struct admission_count *c = find(&a->groups, name);
        uint64_t used = c ? c->count : 0;
        sum += (uint64_t)v->number > used ? (uint64_t)v->number - used : 0;
    }
    return sum;
}

static const char *over_limit(const struct admission *a, const struct config *cfg,
                              const struct config_query *q, const struct admission_place *p)
{
    uint64_t total = (uint64_t)config_number(cfg, NULL, DIR_TOTAL_MAX_SMTP_IN);

    if (a->connections + reserved_by_others(a, cfg, p->group) > total)
        return "421 4.3.2 Too many connections, try again later";
    if (p->source->count > (uint64_t)config_number(cfg, q, DIR_MAX_SMTP_IN))
        return "421 4.7.0 Too many connections from your source, try again later";
    if (!p->group)
        return NULL;
    const struct config_value *v =
        config_section_get(cfg, KIND_SOURCE_GROUP, sv_of(p->group->name), DIR_MAX_SMTP_IN);
    if (v && p->group->count > (uint64_t)v->number)
        return "421 4.7.0 Too many connections from your group of sources, try again later";
    return NULL;
}

const char *admission_enter(struct admission *a, const struct config *cfg, const char *source,
                            const struct sockaddr *client, struct admission_place *ret)
{
    struct config_query q = {.source = sv_of(source), .client = client};
    const char *group = source ? config_text(cfg, &q, DIR_SOURCE_GROUP_NAME) : NULL;

    a->connections++;
    ret->address = NULL;
    ret->source = count_in(&a->sources, source ? source : "");
    ret->group = group ? count_in(&a->groups, group) : NULL;
    return over_limit(a, cfg, &q, ret);
}

static struct admission_key key_of(const struct sockaddr *client)
{
    struct admission_key k = {.family = (uint8_t)client->sa_family};

    if (client->sa_family == AF_INET6)
        memcpy(k.bytes, &((const struct sockaddr_in6 *)(const void *)client)->sin6_addr, 8);
    else if (client->sa_family == AF_INET)
        memcpy(k.bytes, &((const struct sockaddr_in *)(const void *)client)->sin_addr, 4);
    return k;
}

bool admission_enter_inbound(struct admission *a, const struct config *cfg,
                             const struct sockaddr *client, struct admission_place *place)
{
    struct admission_key key = key_of(client);
    uint64_t h = hash_bytes(&key, sizeof(key));

    if (place->address)
        return true;
    struct hash_node *n = hash_find(&a->addresses, h, &key);
    struct admission_address *one = n ? container_of(n, struct admission_address, node) : NULL;
    if (a->inbound >= config_number(cfg, NULL, DIR_INBOUND_MAX_CONNECTIONS) ||
        (one && one->count >= config_number(cfg, NULL, DIR_INBOUND_MAX_CONNECTIONS_PER_ADDRESS)))
        return false;
    if (!one) {
        one = xcalloc(1, sizeof(*one));
        one->key = key;
        hash_insert(&a->addresses, &one->node, h);
    }
    one->count++;
    a->inbound++;
    place->address = one;
    return true;
}

static void leave_inbound(struct admission *a, struct admission_address *one)
{
    if (!one)
        return;
    a->inbound--;
    if (--one->count > 0)
        return;
    hash_remove(&a->addresses, &one->node);
    if (!a->addresses.count)
        hash_fini(&a->addresses);
    free(one);
}

void admission_leave(struct admission *a, struct admission_place *place)
{
    leave_inbound(a, place->address);
    a->connections--;
    count_out(place->source);
    count_out(place->group);
    *place = (struct admission_place){0};
}
