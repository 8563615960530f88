/*
 * Shares of cold virtual MTAs; see cold.h. Called by choose.c for messages of a virtual MTA that
 * has cold ones, and by main.c to keep the counters.
 */
#include "queue/cold.h"

#include "base/clock.h"

#include <stdio.h>
#include <time.h>

enum {
    COUNTERS_MAX = 200000,
    FORGET_DAYS = 60, /* a pair and domain without mail for so long begins again with day 1 */
    KEY_SIZE = 900,
};

#define DAY_MS (24 * 3600 * 1000LL)

struct counter {
    struct hash_node node;
    int64_t first_day, day; /* local days since 1970 */
    uint32_t count;         /* on `day` */
    char key[];             /* "VMTA COLD DOMAIN" */
};

static bool match_key(const struct hash_node *n, const void *key)
{
    return strcmp(container_of(n, const struct counter, node)->key, key) == 0;
}

void cold_init(struct cold *c)
{
    hash_init(&c->counters, match_key);
}

void cold_fini(struct cold *c)
{
    for (struct hash_node *n = hash_next(&c->counters, NULL), *next; n; n = next) {
        next = hash_next(&c->counters, n);
        free(container_of(n, struct counter, node));
    }
    hash_fini(&c->counters);
}

/* The number of the local day; looked up again every hour at most, because of summer time. */
static int64_t today(struct cold *c)
{
    int64_t now = clock_wall_ms();
    time_t t = (time_t)(now / 1000);
    struct tm local;

    if (now < c->today_until_ms && now >= c->today_until_ms - DAY_MS)
        return c->today;
    localtime_r(&t, &local);
    int64_t second = local.tm_hour * 3600 + local.tm_min * 60 + local.tm_sec;
    struct tm midnight = {
        .tm_year = local.tm_year, .tm_mon = local.tm_mon, .tm_mday = local.tm_mday};
    c->today = (int64_t)timegm(&midnight) / 86400;
    c->today_until_ms = now - now % 1000 + MIN_OF((86400 - second) * 1000, (int64_t)3600000);
    return c->today;
}

static struct counter *find(const struct cold *c, const char *key)
{
    struct hash_node *n = hash_find(&c->counters, hash_bytes(key, strlen(key)), key);
    return n ? container_of(n, struct counter, node) : NULL;
}

static struct counter *add(struct cold *c, const char *key, int64_t first_day)
{
    size_t len = strlen(key);
    struct counter *n = xcalloc(1, sizeof(*n) + len + 1);

    n->first_day = n->day = first_day;
    memcpy(n->key, key, len + 1);
    hash_insert(&c->counters, &n->node, hash_bytes(key, len));
    return n;
}

/* The counter, of today. NULL: too many of them. */
static struct counter *get(struct cold *c, const char *key)
{
    int64_t day = today(c);
    struct counter *n = find(c, key);

    if (!n && c->counters.count >= COUNTERS_MAX)
        return NULL;
    if (!n)
        n = add(c, key, day);
    if (n->day != day && day - n->day > FORGET_DAYS)
        n->first_day = day;
    if (n->day != day) {
        n->day = day;
        n->count = 0;
        n->first_day = MIN_OF(n->first_day, day); /* the clock went back */
    }
    return n;
}

static uint64_t share_of_day(const struct rate_form *share, int64_t day)
{
    if (!share->count)
        return 0;
    const struct rate *r = &share->items[MIN_OF((size_t)MAX_OF(day, 0), share->count - 1)];
    return r->period_ms > 0 ? r->count * (uint64_t)DAY_MS / (uint64_t)r->period_ms : 0;
}

int cold_take(struct cold *c, const char *vmta, struct strview domain, char *const *colds,
              const bool *usable, size_t count, const struct rate_form *share)
{
    struct counter *best = NULL;
    int ret = -1;

    for (size_t i = 0; i < count; i++) {
        char key[KEY_SIZE];
        int len = snprintf(key, sizeof(key), "%s %s %.*s", vmta, colds[i], SV_ARG(domain));
        if (!usable[i] || len >= KEY_SIZE)
            continue;
        str_lower(key, (size_t)len);
        struct counter *n = get(c, key);
        if (!n || n->count >= share_of_day(share, n->day - n->first_day))
            continue;
        if (best && best->count <= n->count)
            continue;
        best = n;
        ret = (int)i;
    }
    if (best) {
        best->count++;
        c->changed = true;
    }
    return ret;
}

void cold_write(struct cold *c, struct buf *out)
{
    int64_t day = today(c);

    for (struct hash_node *n = hash_next(&c->counters, NULL), *next; n; n = next) {
        next = hash_next(&c->counters, n);
        struct counter *k = container_of(n, struct counter, node);
        if (day - k->day > FORGET_DAYS) {
            hash_remove(&c->counters, n);
            free(k);
            continue;
        }
        buf_printf(out, "%s %lld %lld %u\n", k->key, (long long)k->first_day, (long long)k->day,
                   k->count);
    }
    c->changed = false;
}

/* The last word of *line as a number, taken off. */
static bool last_number(struct strview *line, uint64_t *ret)
{
    size_t n = line->len;
    while (n && line->ptr[n - 1] != ' ')
        n--;
    if (!n || !sv_to_u64(sv(line->ptr + n, line->len - n), ret))
        return false;
    line->len = n - 1;
    return true;
}

void cold_read(struct cold *c, struct strview text)
{
    for (struct strview line; sv_split(&text, '\n', &line);) {
        uint64_t first, day, count;
        char key[KEY_SIZE];
        if (!last_number(&line, &count) || !last_number(&line, &day) ||
            !last_number(&line, &first) || line.len >= sizeof(key) || !line.len ||
            count > UINT32_MAX || c->counters.count >= COUNTERS_MAX)
            continue;
        snprintf(key, sizeof(key), "%.*s", SV_ARG(line));
        struct counter *n = find(c, key);
        if (!n)
            n = add(c, key, (int64_t)first);
        n->first_day = (int64_t)first;
        n->day = (int64_t)day;
        n->count = (uint32_t)count;
    }
}

uint64_t cold_today(struct cold *c, const char *vmta, const char *cold)
{
    char prefix[KEY_SIZE];
    int len = snprintf(prefix, sizeof(prefix), "%s %s ", vmta, cold);
    int64_t day = today(c);
    uint64_t sum = 0;

    if (len >= KEY_SIZE)
        return 0;
    str_lower(prefix, (size_t)len);
    for (struct hash_node *n = NULL; (n = hash_next(&c->counters, n));) {
        const struct counter *k = container_of(n, struct counter, node);
        if (k->day == day && strncmp(k->key, prefix, (size_t)len) == 0)
            sum += k->count;
    }
    return sum;
}
