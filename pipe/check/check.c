/*
 * Checks of a sender; see check.h. Called by the admin verbs and by the watch at the start. A check
 * begins all its tasks at once; their questions go out some at a time; when the last task has ended,
 * or the time is over and all questions have failed, what was found is put in order and told in a
 * turn of the loop of its own.
 */
#include "check/check_int.h"

#include <arpa/inet.h>
#include <stdio.h>

static const char *const topic_names[] = {
#define CHECK_TOPIC_NAME(id, name) name,
    CHECK_TOPICS(CHECK_TOPIC_NAME)
#undef CHECK_TOPIC_NAME
};

static const char *const level_names[] = {
#define CHECK_LEVEL_NAME(id, name) name,
    CHECK_LEVELS(CHECK_LEVEL_NAME)
#undef CHECK_LEVEL_NAME
};

const char *check_topic_name(enum check_topic t)
{
    return topic_names[t];
}

const char *check_level_name(enum check_level l)
{
    return level_names[l];
}

/* --- addresses --- */

static bool is_public4(const uint8_t *b)
{
    if (b[0] == 0 || b[0] == 10 || b[0] == 127 || b[0] >= 224)
        return false;
    return !(b[0] == 100 && b[1] >= 64 && b[1] < 128) && !(b[0] == 169 && b[1] == 254) &&
           !(b[0] == 172 && b[1] >= 16 && b[1] < 32) && !(b[0] == 192 && b[1] == 168);
}

bool check_is_public(const struct sockaddr_storage *ip)
{
    if (ip->ss_family == AF_INET)
        return is_public4((const uint8_t *)&((const struct sockaddr_in *)ip)->sin_addr);
    if (ip->ss_family != AF_INET6)
        return false;
    const struct in6_addr *a = &((const struct sockaddr_in6 *)ip)->sin6_addr;
    if (IN6_IS_ADDR_V4MAPPED(a))
        return is_public4(a->s6_addr + 12);
    return (a->s6_addr[0] & 0xe0) == 0x20; /* 2000::/3 is what is given out */
}

const char *check_ip_text(const struct sockaddr_storage *ip, char *out)
{
    const void *bytes = ip->ss_family == AF_INET6
                            ? (const void *)&((const struct sockaddr_in6 *)ip)->sin6_addr
                            : (const void *)&((const struct sockaddr_in *)ip)->sin_addr;
    if (!ip->ss_family || !inet_ntop(ip->ss_family, bytes, out, CHECK_IP_SIZE))
        snprintf(out, CHECK_IP_SIZE, "any address");
    return out;
}

const char *check_source_text(struct check *c, const struct check_source *s)
{
    char ip[CHECK_IP_SIZE];
    return check_printf(c, "%s (%s)", check_ip_text(&s->ip, ip), s->vmta);
}

/* --- findings --- */

static const char *vprint(struct check *c, const char *fmt, va_list ap)
{
    struct buf b = {0};
    buf_vprintf(&b, fmt, ap);
    const char *text = arena_strndup(&c->arena, buf_data(&b), buf_len(&b));
    buf_free(&b);
    return text;
}

const char *check_printf(struct check *c, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    const char *text = vprint(c, fmt, ap);
    va_end(ap);
    return text;
}

struct check_finding *check_add(struct check *c, enum check_topic topic, enum check_level level,
                                unsigned order, const char *subject, const char *fmt, ...)
{
    struct check_finding *f = arena_alloc(&c->arena, sizeof(*f));
    va_list ap;

    va_start(ap, fmt);
    *f = (struct check_finding){
        .topic = topic,
        .level = level,
        .order = order,
        .subject = arena_strdup(&c->arena, subject),
        .text = vprint(c, fmt, ap),
    };
    va_end(ap);
    if (c->finding_count == c->finding_room) {
        c->finding_room = c->finding_room ? c->finding_room * 2 : 32;
        c->findings = xrealloc(c->findings, c->finding_room * sizeof(c->findings[0]));
    }
    return c->findings[c->finding_count++] = f;
}

const char *check_status_text(struct check *c, const struct lookup_result *r)
{
    switch (r->status) {
    case LOOKUP_NO_DOMAIN:
        return "the name does not exist";
    case LOOKUP_TEMPORARY:
        return check_printf(c, "the DNS did not answer: %.*s",
                            SV_ARG(r->text.len ? r->text : SV("no reason given")));
    default:
        return "there is no such record";
    }
}

static int by_topic(const void *a, const void *b)
{
    const struct check_finding *x = *(struct check_finding *const *)a,
                               *y = *(struct check_finding *const *)b;
    if (x->topic != y->topic)
        return x->topic < y->topic ? -1 : 1;
    if (x->order != y->order)
        return x->order < y->order ? -1 : 1;
    return strcmp(x->subject, y->subject);
}

const struct check_finding *const *check_findings(const struct check *c, size_t *ret_count)
{
    *ret_count = c->finding_count;
    return (const struct check_finding *const *)c->findings;
}

/* --- the course of it --- */

static void on_closed(uv_handle_t *h)
{
    struct check *c = h->data;

    arena_free(&c->arena);
    buf_free(&c->spf_missing);
    free(c->findings);
    free(c);
}

void check_cancel(struct check *c)
{
    if (!c || c->is_closing)
        return;
    c->is_closing = true;
    questions_fini(&c->questions);
    for (struct list *l; (l = list_pop_front(&c->spf_runs));)
        spf_free(list_entry(l, struct spf_run, link)->spf);
    uv_close((uv_handle_t *)&c->timer, on_closed);
}

static void on_over(uv_timer_t *t)
{
    struct check *c = t->data;

    if (c->domain.len && !c->req.topics) {
        check_spf_conclude(c);
        check_policy_conclude(c);
    }
    if (c->finding_count)
        qsort(c->findings, c->finding_count, sizeof(c->findings[0]), by_topic);
    c->done(c, c->arg);
    check_cancel(c);
}

static void on_deadline(uv_timer_t *t)
{
    struct check *c = t->data;
    questions_expire(&c->questions);
}

void check_begin(struct check *c)
{
    c->tasks++;
}

void check_end(struct check *c)
{
    BUG_ON(!c->tasks);
    if (--c->tasks)
        return;
    uv_timer_start(&c->timer, on_over, 0, 0);
}

void check_ask(struct check *c, enum lookup_kind kind, struct strview name,
               struct question_waiter *w)
{
    questions_ask(&c->questions, kind, name, w);
}

static struct check *check_new(uv_loop_t *loop, struct routes *routes,
                               const struct check_request *req, check_done *done, void *arg)
{
    struct check *c = xcalloc(1, sizeof(*c));
    int timeout_ms = req->timeout_ms ? req->timeout_ms : CHECK_TIMEOUT_MS;

    c->done = done;
    c->arg = arg;
    list_init(&c->spf_runs);
    questions_init(&c->questions, routes, req->parallel ? req->parallel : QUESTIONS_PARALLEL);
    uv_timer_init(loop, &c->timer);
    c->timer.data = c;
    uv_timer_start(&c->timer, on_deadline, (uint64_t)timeout_ms, 0);
    check_begin(c); /* ends in go(), when all tasks have begun */
    return c;
}

static void go(struct check *c)
{
    questions_drain(&c->questions);
    check_end(c);
}

static struct strview lower(struct check *c, struct strview s)
{
    char *copy = arena_strndup(&c->arena, s.ptr, s.len);
    str_lower(copy, s.len);
    return sv(copy, s.len);
}

static void copy_request(struct check *c, const struct check_request *req)
{
    struct arena *a = &c->arena;
    size_t sources = MIN_OF(req->source_count, (size_t)CHECK_MAX_SOURCES);
    size_t keys = MIN_OF(req->key_count, (size_t)CHECK_MAX_KEYS);
    struct check_source *s = arena_alloc(a, (sources + 1) * sizeof(*s));
    struct check_key *k = arena_alloc(a, (keys + 1) * sizeof(*k));

    for (size_t i = 0; i < sources; i++)
        s[i] = (struct check_source){arena_strdup(a, req->sources[i].vmta), req->sources[i].ip,
                                     arena_strdup(a, req->sources[i].helo)};
    for (size_t i = 0; i < keys; i++)
        k[i] = (struct check_key){arena_strdup(a, req->keys[i].selector),
                                  arena_strdup(a, req->keys[i].domain), req->keys[i].algorithm,
                                  req->keys[i].bits, arena_strdup(a, req->keys[i].public_key)};
    c->req = *req;
    c->req.sources = s;
    c->req.source_count = sources;
    c->req.keys = k;
    c->req.key_count = keys;
    c->domain = c->req.domain = lower(c, req->domain);
    c->mail_from = req->mail_from.len ? lower(c, req->mail_from) : c->domain;
    c->from_org = org_domain(a, c->domain);
    c->req.bimi_selector = req->bimi_selector ? arena_strdup(a, req->bimi_selector) : NULL;
    c->req.unusable_key = req->unusable_key ? arena_strdup(a, req->unusable_key) : NULL;
    if (sources < req->source_count)
        check_add(c, CHECK_SPF, CHECK_LEVEL_NOTE, UINT32_MAX, "more addresses",
                  "%zu more source addresses were not checked, choose with --vmta or --pool",
                  req->source_count - sources);
}

struct check *check_start(uv_loop_t *loop, struct routes *routes, const struct check_request *req,
                          check_done *done, void *arg)
{
    struct check *c = check_new(loop, routes, req, done, arg);

    copy_request(c, req);
    if (!req->topics || req->topics & 1u << CHECK_NAMES)
        check_names_begin(c);
    if (c->domain.len && (!req->topics || req->topics & 1u << CHECK_SPF))
        check_spf_begin(c);
    if (c->domain.len && !req->topics) {
        check_dkim_begin(c);
        check_policy_begin(c);
        check_bounces_begin(c);
    }
    go(c);
    return c;
}

/* --- SPF alone --- */

static void spf_ended(struct spf_run *r)
{
    check_end(r->check);
}

struct check *check_start_spf(uv_loop_t *loop, struct routes *routes, const struct sockaddr *ip,
                              struct strview helo, struct strview mail_from, check_done *done,
                              void *arg)
{
    struct check *c = check_new(loop, routes, &(struct check_request){0}, done, arg);
    struct spf_run *r = arena_alloc(&c->arena, sizeof(*r));

    *r = (struct spf_run){.ended = spf_ended};
    check_begin(c);
    spf_run_start(c, r, ip, helo, mail_from);
    go(c);
    return c;
}

const struct spf *check_spf(const struct check *c)
{
    const struct list *l = list_first(&c->spf_runs);
    return l ? list_entry(l, const struct spf_run, link)->spf : NULL;
}
