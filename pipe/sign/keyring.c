/*
 * Keys and plans; see keyring.h. Called by main.c when keys arrive and by the queue for each message
 * before its first attempt. A plan costs a dozen look-ups in the configuration, so plans are kept
 * per virtual MTA and domains, and thrown away all together when anything changes or there are too
 * many.
 */
#include "sign/keyring.h"

#include "base/clock.h"
#include "base/hash.h"
#include "mail/domain_key.h"
#include "mail/signing.h"

#include <stdio.h>
#include <sys/stat.h>

enum { MAX_PLANS = 10000, MAX_SIGNATURES = 8 };

struct ring_key {
    struct hash_node node;
    char *file;
    struct stat file_is;
    struct sign_key *key; /* NULL: it cannot be used */
    bool named;           /* since keyring_begin */
};

struct kept_plan {
    struct hash_node node;
    char *scope;
    struct sign_plan *plan;
};

struct keyring {
    struct hash keys;
    struct hash plans;
    size_t plan_count;
    const struct config *plans_of;
};

static bool match_key(const struct hash_node *n, const void *key)
{
    return strcmp(container_of(n, const struct ring_key, node)->file, key) == 0;
}

static bool match_plan(const struct hash_node *n, const void *scope)
{
    return strcmp(container_of(n, const struct kept_plan, node)->scope, scope) == 0;
}

struct keyring *keyring_new(void)
{
    struct keyring *r = xcalloc(1, sizeof(*r));
    hash_init(&r->keys, match_key);
    hash_init(&r->plans, match_plan);
    return r;
}

static void forget_plan(struct keyring *r, struct kept_plan *k)
{
    hash_remove(&r->plans, &k->node);
    sign_plan_unref(k->plan);
    free(k->scope);
    free(k);
    r->plan_count--;
}

static void forget_plans(struct keyring *r)
{
    for (struct hash_node *n = hash_next(&r->plans, NULL), *next; n; n = next) {
        next = hash_next(&r->plans, n);
        forget_plan(r, container_of(n, struct kept_plan, node));
    }
}

static void forget_key(struct keyring *r, struct ring_key *k)
{
    hash_remove(&r->keys, &k->node);
    sign_key_unref(k->key);
    free(k->file);
    free(k);
}

void keyring_free(struct keyring *r)
{
    if (!r)
        return;
    forget_plans(r);
    for (struct hash_node *n = hash_next(&r->keys, NULL), *next; n; n = next) {
        next = hash_next(&r->keys, n);
        forget_key(r, container_of(n, struct ring_key, node));
    }
    hash_fini(&r->plans);
    hash_fini(&r->keys);
    free(r);
}

static struct ring_key *find_key(const struct keyring *r, const char *file)
{
    struct hash_node *n = hash_find(&r->keys, hash_bytes(file, strlen(file)), file);
    return n ? container_of(n, struct ring_key, node) : NULL;
}

static bool is_unchanged(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
           a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

int keyring_put(struct keyring *r, const char *file, int fd, struct err *e)
{
    struct ring_key *k = find_key(r, file);
    struct sign_key *key = NULL;
    struct stat now = {0};

    if (!k) {
        k = xcalloc(1, sizeof(*k));
        k->file = xstrdup(file);
        hash_insert(&r->keys, &k->node, hash_bytes(file, strlen(file)));
    }
    k->named = true;
    bool known = fstat(fd, &now) == 0;
    if (known && k->key && is_unchanged(&now, &k->file_is))
        return 0;
    int status = sign_key_load(fd, file, &key, e);
    k->file_is = now;
    sign_key_unref(k->key);
    k->key = key;
    forget_plans(r);
    return status;
}

void keyring_begin(struct keyring *r)
{
    for (struct hash_node *n = NULL; (n = hash_next(&r->keys, n));)
        container_of(n, struct ring_key, node)->named = false;
}

void keyring_end(struct keyring *r)
{
    for (struct hash_node *n = hash_next(&r->keys, NULL), *next; n; n = next) {
        next = hash_next(&r->keys, n);
        struct ring_key *k = container_of(n, struct ring_key, node);
        if (!k->named)
            forget_key(r, k);
    }
    forget_plans(r);
}

/* --- plans --- */

struct planning {
    struct keyring *ring;
    struct sign_plan *plan;
    const struct signing_options *options; /* of the message, for the first signature; or NULL */
    struct strview identity_domain;
    int algorithm; /* index of all|rsa-sha256|ed25519-sha256 */
    int64_t now_ms;
    bool any_domain;
    bool cleared;             /* a narrower scope says that there are no keys */
    struct domain_key closed; /* a key that matches, but its dates do not */
};

static void cannot(struct planning *p, const char *text)
{
    if (!p->plan->unusable)
        p->plan->unusable = arena_strdup(&p->plan->arena, text);
}

static bool algorithm_fits(const struct planning *p, const struct sign_key *k)
{
    bool rsa = strcmp(sign_key_algorithm(k), "rsa-sha256") == 0;
    return p->algorithm == 0 || (p->algorithm == 1) == rsa;
}

static void until(struct planning *p, int64_t at_ms)
{
    if (at_ms > p->now_ms && at_ms < p->plan->valid_until_ms)
        p->plan->valid_until_ms = at_ms;
}

/* Within from= and until=. */
static bool is_open(struct planning *p, const struct domain_key *d)
{
    until(p, d->from_ms);
    until(p, d->until_ms);
    if (p->now_ms >= d->from_ms && (!d->until_ms || p->now_ms < d->until_ms))
        return true;
    p->closed = *d;
    return false;
}

static void add_key(struct planning *p, const struct domain_key *d, struct strview domain)
{
    struct sign_plan *plan = p->plan;
    char *file = arena_strndup(&plan->arena, d->file.ptr, d->file.len);
    struct ring_key *k = find_key(p->ring, file);
    char text[400];

    if (plan->count == MAX_SIGNATURES || !domain_key_is_name(domain) || !is_open(p, d))
        return;
    if (!k || !k->key) {
        snprintf(text, sizeof(text), "DKIM key file '%.300s' cannot be used", file);
        cannot(p, text);
        return;
    }
    if (!algorithm_fits(p, k->key))
        return;
    char *selector = arena_strndup(&plan->arena, d->selector.ptr, d->selector.len);
    char *name = arena_strndup(&plan->arena, domain.ptr, domain.len);
    str_lower(name, domain.len);
    for (size_t i = 0; i < plan->count; i++)
        if (strcasecmp(plan->with[i].selector, selector) == 0 &&
            strcmp(plan->with[i].domain, name) == 0)
            return;
    plan->with[plan->count++] = (struct sign_with){sign_key_ref(k->key), selector, name};
}

/* All keys of one directive, of all scopes: those of a virtual MTA come before global ones. */
static void add_keys(void *arg, const struct config_value *v, bool wins)
{
    struct planning *p = arg;

    (void)wins;
    if (!v->text && v->origin.file)
        p->cleared = true;
    for (; v && v->text && !p->cleared; v = v->next) {
        struct domain_key d;
        if (domain_key_parse(sv_of(v->text), v->directive == DIR_DKIM_KEY, &d, NULL) < 0)
            continue;
        if (p->options && !domain_key_is_wanted(&d, p->options->selector, p->options->domain))
            continue;
        if (p->any_domain && !sv_eq(d.domain, SV("*")))
            add_key(p, &d, d.domain);
        else if (domain_key_matches(&d, p->identity_domain))
            add_key(p, &d, sv_eq(d.domain, SV("*")) ? p->identity_domain : d.domain);
    }
}

static struct strview identity_domain(struct strview identity)
{
    struct strview d = dkim_address_domain(identity);
    return d.len ? d : identity;
}

static void add_pair(struct planning *p, const struct config *cfg, const struct config_query *q)
{
    const char *file = config_text(cfg, q, DIR_DKIM_PRIVATE_KEY);
    const char *selector = config_text(cfg, q, DIR_DKIM_SELECTOR);
    struct domain_key d = {.file = sv_of(file), .selector = sv_of(selector)};

    if (!d.file.len || !d.selector.len)
        return;
    if (!p->options || !p->options->selector.len || sv_eq_nocase(p->options->selector, d.selector))
        add_key(p, &d, p->identity_domain);
}

static void add_from(struct planning *p, const struct config *cfg, const struct config_query *q,
                     enum directive d)
{
    p->cleared = false;
    config_explain(cfg, q, d, add_keys, p);
}

static void add_for(struct planning *p, const struct config *cfg, struct config_query q,
                    struct strview domain)
{
    p->identity_domain = q.domain = domain;
    if (!domain.len)
        return;
    add_from(p, cfg, &q, DIR_DOMAIN_KEY);
    add_from(p, cfg, &q, DIR_DKIM_KEY);
    add_pair(p, cfg, &q);
}

/* Keys were there for this sender, and none is in force. */
static void check_dates(struct planning *p)
{
    char text[400];

    if (p->plan->count || !p->closed.selector.len)
        return;
    snprintf(text, sizeof(text),
             "no DKIM key of '%.*s' is in force now (from= and until= of its domain-key)",
             (int)MIN_OF(p->identity_domain.len, (size_t)253), p->identity_domain.ptr);
    cannot(p, text);
}

static bool is_identity(const char *text)
{
    return text && *text && strcasecmp(text, "sender-or-from") != 0 &&
           strcasecmp(text, "strict-from") != 0;
}

/* What the message itself asks for: one identity, and keys that fit. */
static void add_asked(struct planning *p, const struct config *cfg, struct config_query q,
                      const struct sign_scope *s, struct strview *identity)
{
    const struct signing_options *o = p->options;
    struct strview domain = o->domain.len        ? o->domain
                            : o->identity.len    ? identity_domain(o->identity)
                            : s->from_domain.len ? s->from_domain
                                                 : s->sender_domain;

    *identity = o->identity;
    add_for(p, cfg, q, domain);
    if (!p->plan->count)
        cannot(p, "no DKIM key is what X-DKIM-Options of the message asks for");
}

/* The keys of From and those of Sender all sign: each is a domain that stands for the message. */
static void add_own(struct planning *p, const struct config *cfg, struct config_query q,
                    const struct sign_scope *s, struct strview *identity)
{
    const char *fixed = config_text(cfg, &q, DIR_DKIM_IDENTITY);
    const char *fallback = config_text(cfg, &q, DIR_DKIM_IDENTITY_FALLBACK);

    if (is_identity(fixed)) {
        *identity = sv_of(fixed);
        add_for(p, cfg, q, identity_domain(*identity));
    } else {
        if (!fixed || strcasecmp(fixed, "strict-from") != 0)
            add_for(p, cfg, q, s->sender_domain);
        add_for(p, cfg, q, s->from_domain);
    }
    check_dates(p);
    if (!p->plan->count && !p->plan->unusable && is_identity(fallback)) {
        *identity = sv_of(fallback);
        add_for(p, cfg, q, identity_domain(*identity));
        check_dates(p);
    }
}

static void choose_keys(struct planning *p, const struct config *cfg, struct config_query q,
                        const struct sign_scope *s)
{
    struct strview identity = {NULL, 0};

    if (p->options)
        add_asked(p, cfg, q, s, &identity);
    else
        add_own(p, cfg, q, s, &identity);
    if (p->plan->count && signing_is_identity(identity))
        p->plan->identity = arena_strndup(&p->plan->arena, identity.ptr, identity.len);
    p->options = NULL;
    p->any_domain = true;
    add_from(p, cfg, &q, DIR_SECOND_DOMAIN_KEY);
}

static const char *text_or_null(const struct config *cfg, const struct config_query *q,
                                enum directive d)
{
    const char *text = config_text(cfg, q, d);
    return text && *text ? text : NULL;
}

/* The fields that we insert are signed whatever dkim-headers says (RFC 8058 section 4). */
static void add_unsubscribe(struct sign_plan *plan, const struct config *cfg,
                            const struct config_query *q, struct strview *headers)
{
    struct sign_unsubscribe *u = &plan->unsubscribe;
    struct buf b = {0};

    u->mode = (enum unsubscribe_mode)config_number(cfg, q, DIR_LIST_UNSUBSCRIBE);
    u->url = text_or_null(cfg, q, DIR_UNSUBSCRIBE_URL);
    u->address = text_or_null(cfg, q, DIR_UNSUBSCRIBE_ADDRESS);
    u->scope = (enum suppress_scope)config_number(cfg, q, DIR_UNSUBSCRIBE_SCOPE);
    if (u->mode == UNSUBSCRIBE_OFF)
        return;
    buf_printf(&b, "%.*s, List-Unsubscribe, List-Unsubscribe-Post", SV_ARG(*headers));
    *headers = arena_sv(&plan->arena, buf_view(&b));
    buf_free(&b);
}

static struct sign_plan *make_plan(struct keyring *r, struct config *cfg,
                                   const struct sign_scope *s)
{
    struct config_query q = {
        .domain = s->from_domain, .vmta = s->vmta, .pool = s->pool, .pipe = s->pipe};
    struct sign_plan *plan = xcalloc(1, sizeof(*plan));
    struct planning p = {.ring = r, .plan = plan, .now_ms = clock_wall_ms()};
    struct signing_options options;
    int canon = (int)config_number(cfg, &q, DIR_DKIM_CANONICALIZATION);
    const char *bimi = config_text(cfg, &q, DIR_BIMI_SELECTOR);

    if (s->options.len && signing_options_parse(s->options, &options, NULL) == 0)
        p.options = &options;
    plan->refs = 1;
    plan->valid_until_ms = INT64_MAX;
    plan->config = config_ref(cfg);
    plan->with = arena_alloc(&plan->arena, MAX_SIGNATURES * sizeof(plan->with[0]));
    plan->header_canon = canon < 2 ? DKIM_RELAXED : DKIM_SIMPLE;
    plan->body_canon = canon % 2 == 0 ? DKIM_RELAXED : DKIM_SIMPLE;
    struct strview headers = sv_of(config_text(cfg, &q, DIR_DKIM_HEADERS));
    add_unsubscribe(plan, cfg, &q, &headers);
    dkim_names_parse(headers, sv_of(config_text(cfg, &q, DIR_DKIM_OVERSIGN)), &plan->arena, &plan->names);
    plan->timestamp = config_bool(cfg, &q, DIR_DKIM_TIMESTAMP);
    plan->expire_after_s = config_number(cfg, &q, DIR_DKIM_EXPIRE_AFTER) / 1000;
    plan->bimi_selector = bimi && *bimi ? bimi : NULL;
    p.algorithm = (int)config_number(cfg, &q, DIR_DKIM_ALGORITHM);
    if (config_bool(cfg, &q, DIR_DKIM_SIGN))
        choose_keys(&p, cfg, q, s);
    if (!config_bool(cfg, &q, DIR_DKIM_REQUIRED))
        plan->unusable = NULL;
    return plan;
}

static bool is_current(const struct kept_plan *k)
{
    return k->plan->valid_until_ms == INT64_MAX || clock_wall_ms() < k->plan->valid_until_ms;
}

struct sign_plan *keyring_plan(struct keyring *r, struct config *cfg, const struct sign_scope *s)
{
    struct buf scope = {0};

    if (r->plans_of != cfg || r->plan_count >= MAX_PLANS)
        forget_plans(r);
    r->plans_of = cfg;
    buf_printf(&scope, "%.*s\n%.*s\n%.*s\n%.*s\n%.*s\n%.*s", SV_ARG(s->vmta), SV_ARG(s->pool),
               SV_ARG(s->pipe), SV_ARG(s->from_domain), SV_ARG(s->sender_domain),
               SV_ARG(s->options));
    str_lower(buf_data(&scope), buf_len(&scope));
    uint64_t h = hash_bytes(buf_data(&scope), buf_len(&scope));
    struct hash_node *n = hash_find(&r->plans, h, buf_data(&scope));
    if (n && !is_current(container_of(n, struct kept_plan, node))) {
        forget_plan(r, container_of(n, struct kept_plan, node));
        n = NULL;
    }
    if (!n) {
        struct kept_plan *k = xcalloc(1, sizeof(*k));
        k->scope = xstrdup(buf_data(&scope));
        k->plan = make_plan(r, cfg, s);
        hash_insert(&r->plans, &k->node, h);
        r->plan_count++;
        n = &k->node;
    }
    buf_free(&scope);
    struct sign_plan *plan = container_of(n, struct kept_plan, node)->plan;
    plan->refs++;
    return plan;
}

void sign_plan_unref(struct sign_plan *p)
{
    if (!p || --p->refs)
        return;
    for (size_t i = 0; i < p->count; i++)
        sign_key_unref(p->with[i].key);
    config_unref(p->config);
    arena_free(&p->arena);
    free(p);
}

bool keyring_is_wanted(const struct config *cfg, struct strview pipe)
{
    struct signing_needs needs;
    signing_needs(cfg, pipe, &needs);
    return needs.keys || needs.bimi || needs.unsubscribe;
}
