/*
 * MTA-STS policies; see sts.h. route.c asks for the policy of a route's domain, ask.c for that of any
 * domain; main.c ticks once a second, hands over what was kept on disk, and owns the room.
 *
 * An entry is there while a domain has a policy, while something about it is under way or waited
 * for, and for a while after a failure. Happy path: the TXT record is asked for, its id is that of
 * the policy, the waiters get a view. Another id starts a fetch; waiters get the new policy, or what
 * there was when they have waited long enough. Everything that ends (refresh, expiry, memory of a
 * failure) is one key in the heap `due`. Entries are freed in entry_free alone.
 *
 * Policies are refcounted: views hold one while the entry gets another.
 */
#include "sts.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdio.h>

enum {
    TICK_MAX = 32,                /* domains looked at in one tick */
    MIN_FETCH_GAP_MS = 10 * 1000, /* between fetches of one id that succeed: tiny max_age */
    ENTRY_EXTRA = 256,            /* what the allocator and tables need besides */
};

struct sts_entry {
    struct hash_node node;
    struct list lru;
    struct heap_node due;
    struct sts *sts;
    struct list waiters;
    struct lookup_waiter txt;
    bool asking;           /* txt is under way */
    bool held;             /* the TXT record is known, and waits for sts_loaded */
    struct fetch *fetch;   /* under way, for tried_id */
    int64_t busy_since_ms; /* asking or fetching */
    char id[STS_ID_SIZE];  /* of the TXT record as it was seen last; "": there is none */
    uint32_t txt_ttl_s;
    struct sts_version *version;
    char tried_id[STS_ID_SIZE];     /* fetched last, or under way */
    int64_t next_try_ms;            /* not before, for the same id */
    char failure[STS_FAILURE_SIZE]; /* of tried_id; "" when it succeeded */
    int64_t used_ms;
    char domain[];
};

/* --- versions and views --- */

void sts_version_unref(struct sts_version *v)
{
    if (!v || --v->refs)
        return;
    arena_free(&v->arena);
    buf_free(&v->text);
    free(v);
}

void sts_view_fini(struct sts_view *v)
{
    sts_version_unref(v->version);
    *v = (struct sts_view){0};
}

static struct sts_version *version_new(struct strview file, const char *id, int64_t fetched_ms,
                                       struct err *e)
{
    struct sts_version *v = xcalloc(1, sizeof(*v));

    v->refs = 1;
    snprintf(v->id, sizeof(v->id), "%s", id);
    buf_append_sv(&v->text, file);
    if (sts_policy_parse(buf_view(&v->text), &v->arena, &v->policy, e) < 0) {
        sts_version_unref(v);
        return NULL;
    }
    v->policy.id = sv_of(v->id);
    v->expires_ms = fetched_ms + (int64_t)v->policy.max_age_s * 1000;
    return v;
}

static size_t version_bytes(const struct sts_version *v)
{
    return v ? sizeof(*v) + buf_len(&v->text) + v->arena.used_bytes : 0;
}

/* --- entries --- */

static bool match_domain(const struct hash_node *n, const void *key)
{
    return strcmp(container_of(n, struct sts_entry, node)->domain, key) == 0;
}

static struct sts_entry *find(const struct sts *s, const char *domain)
{
    struct hash_node *n = hash_find(&s->entries, hash_bytes(domain, strlen(domain)), domain);
    return n ? container_of(n, struct sts_entry, node) : NULL;
}

static size_t entry_bytes(const struct sts_entry *e)
{
    return sizeof(*e) + strlen(e->domain) + ENTRY_EXTRA + version_bytes(e->version);
}

static void on_txt(struct lookup_waiter *w, struct answer *a, uint32_t ttl_s);

static struct sts_entry *entry_new(struct sts *s, const char *domain)
{
    size_t len = strlen(domain);
    struct sts_entry *e = xcalloc(1, sizeof(*e) + len + 1);

    e->sts = s;
    e->used_ms = clock_mono_ms();
    e->txt.done = on_txt;
    memcpy(e->domain, domain, len + 1);
    list_init(&e->waiters);
    list_init(&e->txt.link);
    heap_node_init(&e->due);
    hash_insert(&s->entries, &e->node, hash_bytes(domain, len));
    list_push_front(&s->lru, &e->lru);
    s->bytes += entry_bytes(e);
    return e;
}

static void entry_free(struct sts_entry *e)
{
    struct sts *s = e->sts;

    BUG_ON(!list_empty(&e->waiters));
    if (e->fetch && s->ops)
        s->ops->cancel(s->ops_owner, e->fetch);
    list_remove(&e->txt.link);
    s->bytes -= entry_bytes(e);
    hash_remove(&s->entries, &e->node);
    list_remove(&e->lru);
    heap_remove(&s->due, &e->due);
    sts_version_unref(e->version);
    free(e);
}

static bool is_idle(const struct sts_entry *e)
{
    return !e->asking && !e->held && !e->fetch && list_empty(&e->waiters);
}

static void set_version(struct sts_entry *e, struct sts_version *v)
{
    struct sts *s = e->sts;

    s->bytes -= version_bytes(e->version);
    sts_version_unref(e->version);
    e->version = v;
    s->bytes += version_bytes(v);
}

static void forget(struct sts_entry *e)
{
    struct sts *s = e->sts;

    if (e->version && s->ops)
        s->ops->forget(s->ops_owner, e->domain);
    set_version(e, NULL);
}

/* The policy that holds, or NULL. */
static struct sts_version *valid_version(const struct sts_entry *e)
{
    return e && e->version && clock_mono_ms() < e->version->expires_ms ? e->version : NULL;
}

/* When the entry is looked at next: at the end of the policy or of the memory of a failure, before
 * that to fetch it again. Entries that nothing is known about any more go. */
static void schedule(struct sts_entry *e)
{
    int64_t now = clock_mono_ms(), due;

    if (!is_idle(e))
        return;
    if (!valid_version(e)) {
        forget(e);
        if (e->next_try_ms <= now) {
            entry_free(e);
            return;
        }
        due = e->next_try_ms;
    } else {
        int64_t age_ms = (int64_t)e->version->policy.max_age_s * 1000;
        int64_t fetched = e->version->expires_ms - age_ms;
        int64_t gap = MIN_OF(age_ms / 2, (int64_t)STS_REFRESH_MS);
        /* spread by the name, up to a tenth earlier */
        gap -= gap / 10 * (int64_t)(e->node.hash >> 8 & 0xff) / 256;
        due = MAX_OF(fetched + gap, e->next_try_ms);
        if (now - e->used_ms > (int64_t)STS_UNUSED_DAYS * STS_REFRESH_MS)
            due = e->version->expires_ms;
        due = MIN_OF(due, e->version->expires_ms);
    }
    heap_set(&e->sts->due, &e->due, due);
}

static void make_room(struct sts *s)
{
    struct list *pos = s->lru.prev;

    while (pos != &s->lru && (s->entries.count > s->limits.domains || s->bytes > s->limits.bytes)) {
        struct sts_entry *e = list_entry(pos, struct sts_entry, lru);
        pos = pos->prev;
        if (!is_idle(e))
            continue;
        forget(e);
        entry_free(e);
        s->evictions++;
    }
}

/* --- the TXT record --- */

/* The id of the one valid record, or "". */
static void id_of(const struct answer *a, char *ret)
{
    struct strview id = {0}, one;
    unsigned records = 0;

    for (size_t i = 0; a->status == ANSWER_OK && i < a->count; i++) {
        struct strview txt = sv((const char *)a->records[i].data, a->records[i].bytes);
        int rc = sts_record_parse(txt, &one);
        records += rc != 0;
        id = rc > 0 ? one : id;
    }
    if (records != 1)
        id.len = 0;
    snprintf(ret, STS_ID_SIZE, "%.*s", (int)id.len, id.len ? id.ptr : "");
}

static bool needs_fetch(const struct sts *s, const struct sts_entry *e, const char *id)
{
    const struct sts_version *v = valid_version(e);

    if (!id[0] || !s->ops || (v && strcmp(v->id, id) == 0))
        return false;
    return !e || e->fetch || strcmp(e->tried_id, id) != 0 || clock_mono_ms() >= e->next_try_ms;
}

/* What is known when nothing needs fetching; id "" without a record. */
static void view_of(const struct sts_entry *e, const char *id, uint32_t ttl_s, struct sts_view *ret)
{
    struct sts_version *v = valid_version(e);
    int64_t now = clock_mono_ms(), left = INT32_MAX;

    *ret = (struct sts_view){.version = v};
    if (v) {
        v->refs++;
        left = v->expires_ms - now;
    }
    if (e && id[0] && strcmp(e->tried_id, id) == 0 && e->failure[0]) {
        snprintf(ret->failure, sizeof(ret->failure), "%s", e->failure);
        left = MIN_OF(left, e->next_try_ms - now);
    }
    ret->ttl_s = MAX_OF(ttl_s, (uint32_t)STS_MIN_TTL_S);
    ret->ttl_s = MIN_OF(ret->ttl_s, (uint32_t)(MAX_OF(left, (int64_t)1000) / 1000));
}

/* "_mta-sts.DOMAIN", or "" when that is too long to exist. */
static const char *txt_name(const char *domain, char out[DOMAIN_SIZE])
{
    static const char label[] = "_mta-sts.";

    if (strlen(domain) + sizeof(label) > DOMAIN_SIZE - 2)
        return "";
    snprintf(out, DOMAIN_SIZE, "%s%s", label, domain);
    return out;
}

/* What is known when it has taken too long to wait for more. */
static void pending_view(const struct sts_entry *e, struct sts_view *ret)
{
    view_of(e, e->id, STS_PENDING_TTL_S, ret);
    ret->ttl_s = MIN_OF(ret->ttl_s, (uint32_t)STS_PENDING_TTL_S);
    ret->pending = true;
}

static bool out_of_patience(const struct sts_entry *e)
{
    return e && (e->asking || e->fetch) && clock_mono_ms() - e->busy_since_ms >= STS_PATIENCE_MS;
}

static void touch(struct sts_entry *e)
{
    e->used_ms = clock_mono_ms();
    list_remove(&e->lru);
    list_push_front(&e->sts->lru, &e->lru);
}

bool sts_cached(struct sts *s, const char *domain, struct sts_view *ret)
{
    char name[DOMAIN_SIZE], id[STS_ID_SIZE];
    struct sts_entry *e = find(s, domain);
    uint32_t ttl_s;

    if (!txt_name(domain, name)[0]) {
        *ret = (struct sts_view){.ttl_s = ANSWER_MAX_TTL_S};
        return true;
    }
    if (e)
        touch(e);
    struct answer *a = lookup_cached(s->lookups, name, QUERY_TXT, &ttl_s);
    if (a)
        id_of(a, id);
    if (a && !s->loading && !needs_fetch(s, e, id))
        view_of(e, id, ttl_s, ret);
    else if (out_of_patience(e))
        pending_view(e, ret);
    else
        return false;
    return true;
}

/* --- waiting --- */

static void answer_one(struct sts_waiter *w, struct sts_view *view)
{
    sts_cancel(w);
    w->done(w, view);
}

void sts_cancel(struct sts_waiter *w)
{
    if (!w->entry)
        return;
    list_remove(&w->link);
    list_remove(&w->all);
    w->entry = NULL;
}

/* The entry has learnt what there is to know. May free it. */
static void settle(struct sts_entry *e)
{
    while (!list_empty(&e->waiters)) {
        struct sts_view view;
        view_of(e, e->id, e->txt_ttl_s, &view);
        answer_one(list_entry(e->waiters.next, struct sts_waiter, link), &view);
    }
    schedule(e);
}

static void expire_waiters(struct sts *s)
{
    int64_t now = clock_mono_ms();

    list_for_each_safe (pos, &s->waiters) {
        struct sts_waiter *w = list_entry(pos, struct sts_waiter, all);
        struct sts_view view;
        if (w->until_ms > now)
            continue;
        pending_view(w->entry, &view);
        answer_one(w, &view);
    }
}

/* --- fetching --- */

static void save(struct sts_entry *e)
{
    struct buf bytes = {0};

    buf_printf(&bytes, "pmta-sts 1\nid %s\nfetched %lld\n\n", e->version->id,
               (long long)clock_wall_ms());
    buf_append_sv(&bytes, buf_view(&e->version->text));
    e->sts->ops->save(e->sts->ops_owner, e->domain, buf_view(&bytes));
    buf_free(&bytes);
}

static void take_failure(struct sts_entry *e, const char *type, const char *text)
{
    e->sts->failures++;
    snprintf(e->failure, sizeof(e->failure), "%s: %.150s", type, text);
    e->next_try_ms = clock_mono_ms() + STS_RETRY_MS;
    log_info(LOG_DNS, "MTA-STS policy not fetched domain=%s id=%s holds=%s reason='%s'", e->domain,
             e->tried_id, valid_version(e) ? "an older one" : "none", e->failure);
}

static void take_file(struct sts_entry *e, struct strview file)
{
    struct err err = {0};
    struct sts_version *v = version_new(file, e->tried_id, clock_mono_ms(), &err);

    if (!v) {
        take_failure(e, "sts-policy-invalid", err.text);
        return;
    }
    e->failure[0] = '\0';
    e->next_try_ms = clock_mono_ms() + MIN_FETCH_GAP_MS;
    set_version(e, v);
    save(e);
    log_debug(LOG_DNS, "MTA-STS policy fetched domain=%s id=%s mode=%d max_age=%u", e->domain,
              e->tried_id, (int)v->policy.mode, v->policy.max_age_s);
}

static void start_fetch(struct sts_entry *e, const char *id);

static void on_fetched(void *arg, const struct sts_fetched *f)
{
    struct sts_entry *e = arg;
    struct sts *s = e->sts;

    e->fetch = NULL;
    if (f->failure)
        take_failure(e, f->failure, f->text);
    else
        take_file(e, f->file);
    if (!list_empty(&e->waiters) && needs_fetch(s, e, e->id))
        start_fetch(e, e->id);
    else
        settle(e);
    make_room(s);
}

static void start_fetch(struct sts_entry *e, const char *id)
{
    struct sts *s = e->sts;

    if (strcmp(e->tried_id, id) != 0) {
        snprintf(e->tried_id, sizeof(e->tried_id), "%s", id);
        e->failure[0] = '\0';
    }
    heap_remove(&s->due, &e->due);
    e->next_try_ms = clock_mono_ms() + STS_RETRY_MS;
    e->busy_since_ms = clock_mono_ms();
    s->fetches++;
    e->fetch = s->ops->fetch(s->ops_owner, e->domain, on_fetched, e);
}

/* The TXT record is known. May free the entry. */
static void consider(struct sts_entry *e, const struct answer *txt, uint32_t ttl_s)
{
    e->txt_ttl_s = ttl_s;
    id_of(txt, e->id);
    e->held = e->sts->loading;
    if (e->held || e->fetch)
        return; /* sts_loaded or on_fetched goes on */
    if (needs_fetch(e->sts, e, e->id))
        start_fetch(e, e->id);
    else
        settle(e);
}

static void on_txt(struct lookup_waiter *w, struct answer *a, uint32_t ttl_s)
{
    struct sts_entry *e = container_of(w, struct sts_entry, txt);

    e->asking = false;
    consider(e, a, ttl_s);
}

void sts_ask(struct sts *s, struct fair_client *client, const char *domain, int64_t wait_ms,
             struct sts_waiter *w)
{
    struct sts_entry *e = find(s, domain);
    char name[DOMAIN_SIZE];
    uint32_t ttl_s;

    if (!e)
        e = entry_new(s, domain);
    w->entry = e;
    w->until_ms = clock_mono_ms() + wait_ms;
    list_push_back(&e->waiters, &w->link);
    list_push_back(&s->waiters, &w->all);
    make_room(s);
    if (e->asking || e->held)
        return;
    struct answer *a = lookup_cached(s->lookups, txt_name(domain, name), QUERY_TXT, &ttl_s);
    if (a) {
        consider(e, a, ttl_s);
        return;
    }
    e->asking = true;
    if (!e->fetch)
        e->busy_since_ms = clock_mono_ms();
    lookup_start(s->lookups, client, name, QUERY_TXT, &e->txt);
}

/* --- time --- */

static void look_at(struct sts_entry *e)
{
    const struct sts_version *v = valid_version(e);
    bool used = clock_mono_ms() - e->used_ms <= (int64_t)STS_UNUSED_DAYS * STS_REFRESH_MS;

    if (!is_idle(e))
        return; /* scheduled when it has settled */
    if (v && used && e->sts->ops)
        start_fetch(e, v->id);
    else
        schedule(e);
}

void sts_tick(struct sts *s)
{
    int64_t now = clock_mono_ms();

    expire_waiters(s);
    for (int i = 0; i < TICK_MAX && !s->loading; i++) {
        struct heap_node *n = heap_min(&s->due);
        if (!n || n->key > now)
            return;
        heap_remove(&s->due, n);
        look_at(container_of(n, struct sts_entry, due));
    }
}

/* --- an earlier run --- */

void sts_set_loading(struct sts *s)
{
    s->loading = true;
}

static bool take_word(struct strview *rest, struct strview key, struct strview *ret)
{
    struct strview line;

    if (!sv_split(rest, '\n', &line) || !sv_starts_nocase(line, key))
        return false;
    *ret = sv(line.ptr + key.len, line.len - key.len);
    return true;
}

/* The policy as save() wrote it, or NULL when it is none or over. */
static struct sts_version *decode_saved(struct strview bytes)
{
    struct strview version, id, fetched, empty;
    char id_text[STS_ID_SIZE];
    uint64_t wall_ms;
    struct err err = {0};

    if (!take_word(&bytes, SV("pmta-sts "), &version) || !sv_eq(version, SV("1")) ||
        !take_word(&bytes, SV("id "), &id) || !id.len || id.len >= sizeof(id_text) ||
        !take_word(&bytes, SV("fetched "), &fetched) || !sv_to_u64(fetched, &wall_ms) ||
        !sv_split(&bytes, '\n', &empty) || empty.len)
        return NULL;
    snprintf(id_text, sizeof(id_text), "%.*s", SV_ARG(id));
    int64_t age_ms =
        MAX_OF(clock_wall_ms() - (int64_t)MIN_OF(wall_ms, (uint64_t)INT64_MAX), (int64_t)0);
    struct sts_version *v = version_new(bytes, id_text, clock_mono_ms() - age_ms, &err);
    if (v && v->expires_ms > clock_mono_ms())
        return v;
    sts_version_unref(v);
    return NULL;
}

void sts_restore(struct sts *s, const char *domain, struct strview bytes)
{
    struct sts_entry *e = find(s, domain);
    struct sts_version *v = e && e->version ? NULL : decode_saved(bytes);

    if (e && e->version)
        return;
    if (!v) {
        log_debug(LOG_DNS, "MTA-STS policy of '%s' is over", domain);
        if (s->ops)
            s->ops->forget(s->ops_owner, domain);
        return;
    }
    if (!e)
        e = entry_new(s, domain);
    snprintf(e->tried_id, sizeof(e->tried_id), "%s", v->id);
    set_version(e, v);
    schedule(e);
    make_room(s);
}

void sts_loaded(struct sts *s)
{
    s->loading = false;
    for (struct hash_node *n = hash_next(&s->entries, NULL), *next; n; n = next) {
        struct sts_entry *e = container_of(n, struct sts_entry, node);
        next = hash_next(&s->entries, n);
        if (!e->held)
            continue;
        e->held = false;
        if (needs_fetch(s, e, e->id))
            start_fetch(e, e->id);
        else
            settle(e);
    }
}

/* --- the room --- */

void sts_init(struct sts *s, struct lookups *l, const struct sts_limits *limits)
{
    *s = (struct sts){.lookups = l, .limits = *limits};
    hash_init(&s->entries, match_domain);
    list_init(&s->lru);
    list_init(&s->waiters);
}

void sts_set_ops(struct sts *s, const struct sts_ops *ops, void *ops_owner)
{
    s->ops = ops;
    s->ops_owner = ops_owner;
}

void sts_fini(struct sts *s)
{
    while (!list_empty(&s->lru))
        entry_free(list_entry(s->lru.next, struct sts_entry, lru));
    hash_fini(&s->entries);
    heap_fini(&s->due);
}
