/*
 * Names of source addresses: the PTR record, whether it leads back to the address, and whether it is
 * the name that the virtual MTA greets with.
 */
#include "check/check_int.h"

#include <stdio.h>

enum { NAMES_MAX = 10 };

struct name_task;

/* Whether one name leads back to the address. */
struct name_back {
    struct question_waiter waiter;
    struct name_task *task;
    struct strview name;
    bool leads_back, failed;
};

struct name_task {
    struct question_waiter waiter;
    struct check *check;
    const struct check_source *source;
    unsigned order;
    struct name_back helo;
    struct name_back names[NAMES_MAX];
    size_t count;
    unsigned open;
    const char *trouble; /* with the PTR record; or NULL */
    bool is_temporary;
};

static bool is_v6(const struct check_source *s)
{
    return s->ip.ss_family == AF_INET6;
}

static const uint8_t *address_of(const struct check_source *s)
{
    return is_v6(s) ? ((const struct sockaddr_in6 *)&s->ip)->sin6_addr.s6_addr
                    : (const uint8_t *)&((const struct sockaddr_in *)&s->ip)->sin_addr;
}

static const char *reverse_name(struct check *c, const struct check_source *s)
{
    const uint8_t *b = address_of(s);
    char nibbles[65];

    if (!is_v6(s))
        return check_printf(c, "%u.%u.%u.%u.in-addr.arpa", b[3], b[2], b[1], b[0]);
    for (int i = 0; i < 32; i++) {
        unsigned nibble = b[15 - i / 2] >> (i % 2 ? 4 : 0) & 15u;
        nibbles[2 * i] = "0123456789abcdef"[nibble];
        nibbles[2 * i + 1] = '.';
    }
    nibbles[64] = '\0';
    return check_printf(c, "%sip6.arpa", nibbles);
}

/* --- the verdict --- */

static const char *list_names(const struct name_task *t)
{
    struct buf b = {0};

    for (size_t i = 0; i < t->count; i++)
        buf_printf(&b, "%s%.*s", i ? ", " : "", SV_ARG(t->names[i].name));
    const char *text = arena_strndup(&t->check->arena, buf_data(&b), buf_len(&b));
    buf_free(&b);
    return text;
}

static struct check_finding *add(struct name_task *t, enum check_level level, const char *text)
{
    return check_add(t->check, CHECK_NAMES, level, t->order, check_source_text(t->check, t->source),
                     "%s", text);
}

static void propose_ptr(struct name_task *t, struct check_finding *f)
{
    f->record_name = reverse_name(t->check, t->source);
    f->record_type = "PTR";
    f->record = check_printf(t->check, "%s.", t->source->helo);
}

static void propose_address(struct name_task *t, struct check_finding *f, struct strview name)
{
    char ip[CHECK_IP_SIZE];

    f->record_name = arena_strndup(&t->check->arena, name.ptr, name.len);
    f->record_type = is_v6(t->source) ? "AAAA" : "A";
    f->record = arena_strdup(&t->check->arena, check_ip_text(&t->source->ip, ip));
}

static void no_ptr(struct name_task *t)
{
    struct check *c = t->check;
    struct check_finding *f = add(t, t->is_temporary ? CHECK_LEVEL_WARN : CHECK_LEVEL_FAIL,
                                  check_printf(c, "no host name is known: %s", t->trouble));
    f->is_passing = t->is_temporary;
    if (t->is_temporary) {
        f->advice = "ask again later";
        return;
    }
    f->advice = "have whoever gave you the address set its reverse name; many receivers refuse "
                "mail from addresses without one";
    propose_ptr(t, f);
}

static void judge(struct name_task *t)
{
    const char *helo = t->source->helo, *names = list_names(t);
    struct check *c = t->check;
    const struct name_back *same = NULL, *confirmed = NULL;
    struct check_finding *f;
    bool failed = t->helo.failed;

    for (size_t i = 0; i < t->count; i++) {
        if (sv_eq_nocase(t->names[i].name, sv_of(helo)))
            same = &t->names[i];
        if (t->names[i].leads_back)
            confirmed = &t->names[i];
        failed |= t->names[i].failed;
    }
    if (same && same->leads_back) {
        add(t, CHECK_LEVEL_OK, check_printf(c, "%s, there and back", helo));
    } else if (failed && !confirmed) {
        f = add(t, CHECK_LEVEL_WARN,
                check_printf(c,
                             "%s, but the DNS did not say whether that "
                             "leads back",
                             names));
        f->advice = "ask again later";
        f->is_passing = true;
    } else if (!confirmed) {
        f = add(t, CHECK_LEVEL_FAIL, check_printf(c, "%s, which does not lead back to it", names));
        f->advice = same ? "let the host-name have the address"
                         : "set the reverse name to the host-name, and let that have the address";
        if (same)
            propose_address(t, f, same->name);
        else
            propose_ptr(t, f);
    } else if (t->helo.leads_back) {
        f = add(t, CHECK_LEVEL_WARN,
                check_printf(c, "%s there and back, but %s is what it greets with", names, helo));
        f->advice = "set the reverse name to the host-name, or the host-name to the reverse name";
        propose_ptr(t, f);
    } else {
        f = add(t, CHECK_LEVEL_FAIL,
                check_printf(c,
                             "%s there and back, but it greets as %s, which has not this "
                             "address",
                             names, helo));
        f->advice =
            check_printf(c, "set host-name of the virtual MTA to %.*s", SV_ARG(confirmed->name));
    }
}

static void step_ended(struct name_task *t)
{
    struct check *c = t->check;

    if (--t->open)
        return;
    if (t->trouble)
        no_ptr(t);
    else
        judge(t);
    check_end(c);
}

/* --- questions --- */

static void on_address(struct question_waiter *w, const struct lookup_result *r)
{
    struct name_back *b = container_of(w, struct name_back, waiter);
    size_t size = is_v6(b->task->source) ? 16 : 4;

    b->failed = r->status == LOOKUP_TEMPORARY;
    for (size_t i = 0; i < r->count; i++)
        if (r->records[i].len == size &&
            memcmp(r->records[i].ptr, address_of(b->task->source), size) == 0)
            b->leads_back = true;
    step_ended(b->task);
}

static void ask_back(struct name_task *t, struct name_back *b, struct strview name)
{
    b->task = t;
    b->name = name;
    b->waiter = (struct question_waiter){.answered = on_address};
    t->open++;
    check_ask(t->check, is_v6(t->source) ? LOOKUP_AAAA : LOOKUP_A, name, &b->waiter);
}

static void on_ptr(struct question_waiter *w, const struct lookup_result *r)
{
    struct name_task *t = container_of(w, struct name_task, waiter);

    t->is_temporary = r->status == LOOKUP_TEMPORARY;
    for (size_t i = 0; i < r->count && t->count < NAMES_MAX; i++) {
        struct strview name = r->records[i];
        if (name.len && name.ptr[name.len - 1] == '.')
            name.len--;
        if (name.len)
            ask_back(t, &t->names[t->count++], name);
    }
    if (!t->count)
        t->trouble = check_status_text(t->check, r);
    step_ended(t);
}

void check_names_begin(struct check *c)
{
    for (size_t i = 0; i < c->req.source_count; i++) {
        const struct check_source *s = &c->req.sources[i];
        if (!s->ip.ss_family || (!c->req.with_private && !check_is_public(&s->ip)))
            continue;
        struct name_task *t = arena_alloc(&c->arena, sizeof(*t));
        *t = (struct name_task){.check = c, .source = s, .order = (unsigned)i, .open = 1};
        t->waiter.answered = on_ptr;
        check_begin(c);
        check_ask(c, LOOKUP_PTR, sv_of(reverse_name(c, s)), &t->waiter);
        ask_back(t, &t->helo, sv_of(s->helo));
    }
}
