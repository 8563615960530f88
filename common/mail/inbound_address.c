/*
 * The table of recipients that are for ourselves; see inbound_address.h. Made when a configuration is
 * taken over. Addresses are grouped by domain: one look-up says that a recipient is none of ours,
 * which is what nearly all are. Nothing can go wrong: what does not parse was refused by root.
 */
#include "mail/inbound_address.h"

#include "base/arena.h"
#include "base/hash.h"
#include "mail/address.h"

/* An address that is for us, or the base of some. */
struct row {
    struct row *next; /* of the same domain */
    struct inbound_pattern pattern;
    enum mail_token_use token_use; /* 0: of a processor */
    enum inbound_use use;
    const char *processor, *pipe;
};

struct domain {
    struct hash_node node;
    struct strview name;
    struct row *rows;
};

struct inbound_table {
    struct config *config;
    struct arena arena;
    struct hash domains;
    bool takes_mail;
};

/* --- forms --- */

static bool is_local(struct strview local, struct strview domain)
{
    struct buf b = {0};

    buf_printf(&b, "%.*s@%.*s", SV_ARG(local), SV_ARG(domain));
    bool good = local.len <= ADDRESS_LOCAL_MAX && address_is_mailbox(buf_view(&b), ADDRESS_UTF8);
    buf_free(&b);
    return good && local.ptr[0] != '"';
}

int inbound_pattern_parse(struct strview text, struct inbound_pattern *ret, struct err *e)
{
    static const char expected[] = "expected user@domain, user+*@domain or @domain";
    struct strview s = sv_trim(text);
    ptrdiff_t at = sv_find(s, '@');

    *ret = (struct inbound_pattern){0};
    if (at < 0)
        return err_set(e, ERR_SYNTAX, "%s", expected);
    ret->local = sv(s.ptr, (size_t)at);
    ret->domain = sv(s.ptr + at + 1, s.len - (size_t)at - 1);
    if (!address_is_domain(ret->domain, ADDRESS_UTF8))
        return err_set(e, ERR_SYNTAX, "%s", expected);
    if (!ret->local.len)
        return 0;
    ret->is_prefix = ret->local.ptr[ret->local.len - 1] == '*';
    ret->local.len -= ret->is_prefix;
    if (!ret->local.len || sv_find(ret->local, '*') >= 0)
        return err_set(e, ERR_SYNTAX, "%s", expected);
    struct strview whole = ret->local;
    if (ret->is_prefix && whole.ptr[whole.len - 1] == '.') /* what follows the dot is in the star */
        whole.len--;
    return is_local(whole, ret->domain) ? 0 : err_set(e, ERR_SYNTAX, "%s", expected);
}

enum { TOKEN_LEAST = 40 }; /* the longest core of a token (mail_token.c) */

int inbound_base_parse(struct strview text, struct strview *ret_local, struct strview *ret_domain,
                       struct err *e)
{
    struct strview s = sv_trim(text);
    ptrdiff_t at = sv_find(s, '@');

    if (at <= 0)
        return err_set(e, ERR_SYNTAX, "expected user@domain");
    *ret_local = sv(s.ptr, (size_t)at);
    *ret_domain = sv(s.ptr + at + 1, s.len - (size_t)at - 1);
    if (!address_is_domain(*ret_domain, 0) || !address_is_mailbox(s, 0) || s.ptr[0] == '"' ||
        sv_find(*ret_local, '*') >= 0)
        return err_set(e, ERR_SYNTAX, "expected user@domain");
    if (inbound_token_room(*ret_local) < TOKEN_LEAST)
        return err_set(e, ERR_SYNTAX,
                       "expected a user of %d bytes at most, so that a token fits behind it",
                       ADDRESS_LOCAL_MAX - 1 - TOKEN_LEAST);
    return 0;
}

size_t inbound_token_room(struct strview local)
{
    return local.len + 1 < ADDRESS_LOCAL_MAX ? ADDRESS_LOCAL_MAX - 1 - local.len : 0;
}

/* --- table --- */

static bool match_domain(const struct hash_node *n, const void *key)
{
    return sv_eq_nocase(container_of(n, const struct domain, node)->name,
                        *(const struct strview *)key);
}

static struct domain *find_domain(const struct inbound_table *t, struct strview name)
{
    struct hash_node *n = hash_find(&t->domains, hash_bytes_nocase(name.ptr, name.len), &name);
    return n ? container_of(n, struct domain, node) : NULL;
}

static struct row *add_row(struct inbound_table *t, const struct inbound_pattern *p)
{
    struct domain *d = find_domain(t, p->domain);
    struct row *r = arena_alloc(&t->arena, sizeof(*r));

    if (!d) {
        d = arena_alloc(&t->arena, sizeof(*d));
        d->name = p->domain;
        hash_insert(&t->domains, &d->node, hash_bytes_nocase(d->name.ptr, d->name.len));
    }
    r->pattern = *p;
    r->next = d->rows;
    d->rows = r;
    return r;
}

static void add_processors(struct inbound_table *t, enum config_kind kind, enum inbound_use use)
{
    const char *name;
    struct inbound_pattern p;

    for (size_t i = 0; (name = config_section_name(t->config, kind, i)); i++) {
        const struct config_value *pipe =
            config_section_get(t->config, kind, sv_of(name), DIR_PIPE);
        const struct config_value *v =
            config_section_get(t->config, kind, sv_of(name), DIR_INBOUND_ADDRESS);
        for (; v && v->text; v = v->next) {
            if (inbound_pattern_parse(sv_of(v->text), &p, NULL) < 0)
                continue;
            struct row *r = add_row(t, &p);
            r->use = use;
            r->processor = name;
            r->pipe = pipe ? pipe->text : NULL;
            t->takes_mail = true;
        }
    }
}

static bool is_known_base(const struct inbound_table *t, const struct inbound_pattern *p,
                          enum mail_token_use use)
{
    const struct domain *d = find_domain(t, p->domain);

    for (const struct row *r = d ? d->rows : NULL; r; r = r->next)
        if (r->token_use == use && sv_eq_nocase(r->pattern.local, p->local))
            return true;
    return false;
}

static void add_base(void *arg, const struct config_value *v)
{
    struct inbound_table *t = arg;
    struct inbound_pattern p = {.is_prefix = true};
    bool unsubscribes = v->directive == DIR_UNSUBSCRIBE_ADDRESS;
    enum mail_token_use use = unsubscribes ? MAIL_TOKEN_UNSUBSCRIBE : MAIL_TOKEN_BOUNCE;

    if (inbound_base_parse(sv_of(v->text), &p.local, &p.domain, NULL) < 0 ||
        is_known_base(t, &p, use))
        return;
    struct row *r = add_row(t, &p);
    r->token_use = use;
    r->use = unsubscribes ? INBOUND_UNSUBSCRIBE : INBOUND_NONE;
    t->takes_mail |= unsubscribes;
}

struct inbound_table *inbound_table_new(struct config *cfg)
{
    struct inbound_table *t = xcalloc(1, sizeof(*t));

    t->config = config_ref(cfg);
    hash_init(&t->domains, match_domain);
    add_processors(t, KIND_BOUNCE_PROCESSOR, INBOUND_BOUNCES);
    add_processors(t, KIND_FEEDBACK_LOOP_PROCESSOR, INBOUND_FEEDBACK);
    config_each(cfg, DIR_BOUNCE_ADDRESS, sv(NULL, 0), add_base, t);
    config_each(cfg, DIR_UNSUBSCRIBE_ADDRESS, sv(NULL, 0), add_base, t);
    return t;
}

void inbound_table_free(struct inbound_table *t)
{
    if (!t)
        return;
    hash_fini(&t->domains);
    arena_free(&t->arena);
    config_unref(t->config);
    free(t);
}

bool inbound_table_takes_mail(const struct inbound_table *t)
{
    return t->takes_mail;
}

/* --- look-up --- */

/* 0: not at all. The longer the better, a whole local part before what begins so. */
static size_t closeness(const struct row *r, struct strview local)
{
    const struct inbound_pattern *p = &r->pattern;

    if (!p->local.len)
        return 1;
    if (p->is_prefix)
        return sv_starts_nocase(local, p->local) ? 1 + p->local.len : 0;
    return sv_eq_nocase(local, p->local) ? 1 + ADDRESS_PATH_MAX : 0;
}

/* b+TOKEN: its token; the base alone is an ordinary address. */
static bool take_token(const struct row *r, struct strview local, struct inbound_match *ret)
{
    size_t n = r->pattern.local.len;

    if (local.len <= n || local.ptr[n] != INBOUND_DELIMITER ||
        !sv_starts_nocase(local, r->pattern.local))
        return false;
    ret->token_use = r->token_use;
    ret->token = sv(local.ptr + n + 1, local.len - n - 1);
    return true;
}

bool inbound_table_find(const struct inbound_table *t, struct strview address,
                        struct inbound_match *ret)
{
    size_t at = address.len, best = 0;
    const struct row *base = NULL;

    *ret = (struct inbound_match){0};
    while (at > 0 && address.ptr[at - 1] != '@')
        at--;
    if (!at || !t->domains.count)
        return false;
    struct strview local = sv(address.ptr, at - 1);
    const struct domain *d = find_domain(t, sv(address.ptr + at, address.len - at));
    for (const struct row *r = d ? d->rows : NULL; r; r = r->next) {
        if (r->token_use) {
            base = take_token(r, local, ret) ? r : base;
            continue;
        }
        size_t close = closeness(r, local);
        if (close <= best)
            continue;
        best = close;
        ret->use = r->use;
        ret->processor = r->processor;
        ret->pipe = r->pipe;
    }
    if (base && base->use == INBOUND_UNSUBSCRIBE) {
        ret->use = INBOUND_UNSUBSCRIBE;
        ret->processor = ret->pipe = NULL;
    }
    return base || ret->use != INBOUND_NONE;
}
