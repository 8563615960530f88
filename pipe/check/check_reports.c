/*
 * Who gets the reports that a DMARC record asks for (rua, ruf), and whether receivers outside of the
 * domain have agreed to that (RFC 7489 section 7.1): without their record nobody sends any. Called
 * by check_policy.c with the record that counts. Memory is the check's arena.
 */
#include "check/check_int.h"

enum { RECEIVERS_MAX = 20, ADDRESS_SHOWN = 200 };

struct receiver {
    struct question_waiter waiter;
    struct check *check;
    struct strview at;   /* domain of the DMARC record */
    struct strview host; /* of the address */
    const char *name;    /* of the consent */
    const char *tags;    /* "rua", "ruf", "rua and ruf" */
};

struct receivers {
    struct check *check;
    struct strview at;
    const char *name; /* of the DMARC record */
    struct receiver *all[RECEIVERS_MAX];
    size_t count;
};

static void agreed(struct receiver *r)
{
    struct check *c = r->check;

    check_add(c, CHECK_DMARC, CHECK_LEVEL_OK, CHECK_ORDER_RECEIVERS, r->name, "%s",
              check_printf(c, "%.*s takes reports about %.*s (%s)", SV_ARG(r->host), SV_ARG(r->at),
                           r->tags));
}

static void not_agreed(struct receiver *r)
{
    struct check *c = r->check;
    struct check_finding *f = check_add(
        c, CHECK_DMARC, CHECK_LEVEL_WARN, CHECK_ORDER_RECEIVERS, r->name, "%s",
        check_printf(c, "%.*s has not agreed to reports about %.*s: nobody sends any there (%s)",
                     SV_ARG(r->host), SV_ARG(r->at), r->tags));

    f->advice = check_printf(c, "let %.*s publish the record, or name an address at %.*s",
                             SV_ARG(r->host), SV_ARG(r->at));
    f->record_name = r->name;
    f->record_type = "TXT";
    f->record = "v=DMARC1";
}

static void on_consent(struct question_waiter *w, const struct lookup_result *r)
{
    struct receiver *x = container_of(w, struct receiver, waiter);
    struct check *c = x->check;
    bool found = false;

    for (size_t i = 0; i < r->count; i++)
        found |= tags_is_version(r->records[i], "DMARC1");
    if (found)
        agreed(x);
    else if (r->status == LOOKUP_TEMPORARY)
        check_add(c, CHECK_DMARC, CHECK_LEVEL_WARN, CHECK_ORDER_RECEIVERS, x->name, "%s",
                  check_status_text(c, r))
            ->advice = "ask again later";
    else
        not_agreed(x);
    check_end(c);
}

static struct receiver *find(const struct receivers *all, struct strview host)
{
    for (size_t i = 0; i < all->count; i++)
        if (sv_eq_nocase(all->all[i]->host, host))
            return all->all[i];
    return NULL;
}

static void ask(struct receivers *all, struct strview host, const char *tag)
{
    struct check *c = all->check;
    struct receiver *r = find(all, host);

    if (r) {
        if (strcmp(r->tags, tag) != 0)
            r->tags = "rua and ruf";
        return;
    }
    if (all->count == RECEIVERS_MAX)
        return;
    r = arena_alloc(&c->arena, sizeof(*r));
    *r = (struct receiver){
        .waiter.answered = on_consent,
        .check = c,
        .at = all->at,
        .host = host,
        .name = check_printf(c, "%.*s._report._dmarc.%.*s", SV_ARG(all->at), SV_ARG(host)),
        .tags = tag,
    };
    all->all[all->count++] = r;
    check_begin(c);
    check_ask(c, LOOKUP_TXT, sv_of(r->name), &r->waiter);
}

/* "mailto:a@b.example!10m"; a comma or exclamation mark of the address itself is %-encoded. */
static struct strview host_of(struct strview uri)
{
    ptrdiff_t end = sv_find(uri, '!');

    if (!sv_starts_nocase(uri, SV("mailto:")))
        return sv(NULL, 0);
    if (end >= 0)
        uri.len = (size_t)end;
    const char *at = memrchr(uri.ptr, '@', uri.len);
    return at ? sv_trim(sv(at + 1, (size_t)(uri.ptr + uri.len - at - 1))) : sv(NULL, 0);
}

static void read_tag(struct receivers *all, struct strview list, const char *tag)
{
    struct check *c = all->check;
    struct strview uri;

    while (list.len && sv_split(&list, ',', &uri)) {
        uri = sv_trim(uri);
        struct strview host = host_of(uri);
        if (!host.len)
            check_add(c, CHECK_DMARC, CHECK_LEVEL_WARN, CHECK_ORDER_RECEIVERS, all->name, "%s",
                      check_printf(c, "%s= has '%.*s', which is no mailto: address", tag,
                                   (int)MIN_OF(uri.len, (size_t)ADDRESS_SHOWN), uri.ptr))
                ->advice = check_printf(c, "write %s=mailto:ADDRESS", tag);
        else if (!org_domain_aligned(&c->arena, host, all->at, false))
            ask(all, host, tag);
    }
}

void check_reports_begin(struct check *c, struct strview at, const char *name,
                         struct strview record)
{
    struct receivers all = {.check = c, .at = at, .name = name};

    read_tag(&all, tags_value(record, "rua"), "rua");
    read_tag(&all, tags_value(record, "ruf"), "ruf");
}
