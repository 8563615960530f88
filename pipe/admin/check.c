/*
 * check sender and check spf: the arguments into a check, and what it found into objects. The answer
 * comes when the check is done; a few run at a time.
 */
#include "admin/verbs.h"
#include "check/gather.h"
#include "mail/domain_key.h"

#include <arpa/inet.h>

enum { CHECKS_MAX = 4, NAME_MAX_BYTES = 253 };

struct pipe_check {
    struct list link; /* in pipe->checks */
    struct pipe *pipe;
    struct admin admin;
    struct check *check;
    char *domain;
    int topic; /* enum check_topic that is asked about alone, or -1 */
};

static struct pipe_check *pipe_check_new(struct pipe *p, const struct admin *a,
                                         struct strview domain)
{
    size_t under_way = 0;

    list_for_each (l, &p->checks)
        under_way++;
    if (under_way >= CHECKS_MAX) {
        admin_error(a, "%d checks are under way, ask again in a moment", CHECKS_MAX);
        return NULL;
    }
    struct pipe_check *k = xcalloc(1, sizeof(*k));
    k->pipe = p;
    k->admin = *a;
    k->admin.args = NULL;
    k->topic = -1;
    k->domain = xstrndup(domain.ptr, domain.len);
    list_push_back(&p->checks, &k->link);
    return k;
}

static void pipe_check_free(struct pipe_check *k)
{
    list_remove(&k->link);
    free(k->domain);
    free(k);
}

void pipe_checks_cancel(struct pipe *p)
{
    for (struct list *l; (l = list_first(&p->checks));) {
        struct pipe_check *k = list_entry(l, struct pipe_check, link);
        check_cancel(k->check);
        admin_error(&k->admin, "the pipe is draining");
        pipe_check_free(k);
    }
}

/* --- check sender --- */

static void put(json_t *o, const char *name, const char *text)
{
    if (text)
        json_object_set_new(o, name, admin_json_text(sv_of(text)));
}

static json_t *finding_object(const struct pipe_check *k, const struct check_finding *f)
{
    json_t *o = json_object();

    put(o, "pipe", k->pipe->name);
    put(o, "domain", k->domain);
    put(o, "topic", check_topic_name(f->topic));
    put(o, "level", check_level_name(f->level));
    put(o, "subject", f->subject);
    put(o, "text", f->text);
    put(o, "advice", f->advice);
    put(o, "record_name", f->record_name);
    put(o, "record_type", f->record_type);
    put(o, "record", f->record);
    return o;
}

static void on_sender_done(struct check *c, void *arg)
{
    struct pipe_check *k = arg;
    size_t count;
    const struct check_finding *const *all = check_findings(c, &count);

    for (size_t i = 0; i < count; i++)
        if (k->topic < 0 || (int)all[i]->topic == k->topic)
            admin_send(&k->admin, finding_object(k, all[i]));
    admin_end(&k->admin);
    pipe_check_free(k);
}

static bool is_domain(struct strview s)
{
    return s.len <= NAME_MAX_BYTES && domain_key_is_name(s) && sv_find(s, '.') > 0;
}

/* The part behind the last '@', without a final dot. */
static struct strview domain_of(struct strview s)
{
    for (size_t i = s.len; i-- > 0;)
        if (s.ptr[i] == '@') {
            s = sv(s.ptr + i + 1, s.len - i - 1);
            break;
        }
    if (s.len && s.ptr[s.len - 1] == '.')
        s.len--;
    return s;
}

/* False: it is none. *ret: -1 when none is named. */
static bool topic_argument(const struct admin *a, int *ret)
{
    struct strview name = admin_text(a, "topic");

    *ret = -1;
    for (int i = 0; i < CHECK_TOPIC_COUNT; i++)
        if (sv_eq_nocase(name, sv_of(check_topic_name((enum check_topic)i))))
            *ret = i;
    if (*ret >= 0 || !name.len)
        return true;
    admin_error(a, "'topic' is one of spf, helo, reverse-dns, dkim, dmarc, bimi, bounces, "
                   "mta-sts, dane");
    return false;
}

void check_sender(void *owner, struct admin *a)
{
    int topic;
    struct pipe *p = owner;
    struct strview domain = domain_of(admin_text(a, "domain"));
    struct strview mail_from = domain_of(admin_text(a, "mail_from"));
    struct gathered found;
    struct err e = {0};
    struct pipe_check *k;

    if (!is_domain(domain) || (mail_from.len && !is_domain(mail_from))) {
        admin_error(a, "'%s' is no domain (expected one as in mail addresses, IDNs as xn--)",
                    is_domain(domain) ? "mail_from" : "domain");
        return;
    }
    if (!topic_argument(a, &topic))
        return;
    if (gather_sources(p->engine, admin_text(a, "vmta"), admin_text(a, "pool"), &found, &e) < 0) {
        admin_error(a, "%s", e.text);
        return;
    }
    if ((k = pipe_check_new(p, a, domain))) {
        gather_keys(p->engine, p->keyring, domain, &found);
        struct check_request req = {
            .domain = domain,
            .mail_from = mail_from.len ? mail_from : gather_return_path(p->engine, &found),
            .sources = found.sources,
            .source_count = found.source_count,
            .keys = found.keys,
            .key_count = found.key_count,
            .unusable_key = found.unusable_key,
            .bimi_selector = found.bimi_selector,
            .with_private = admin_flag(a, "private"),
        };
        k->topic = topic;
        k->check = check_start(child_loop(p->child), p->routes, &req, on_sender_done, k);
    }
    gather_free(&found);
}

/* --- check spf --- */

static json_t *trail_of(const struct spf *s)
{
    json_t *list = json_array();
    size_t count;
    const struct spf_visit *v = spf_trail(s, &count);

    for (size_t i = 0; i < count; i++) {
        json_t *o = json_pack("{s:i, s:s}", "depth", (int)v[i].depth, "by",
                              v[i].is_redirect ? "redirect"
                              : v[i].depth     ? "include"
                                               : "domain");
        json_object_set_new(o, "domain", admin_json_text(v[i].domain));
        json_object_set_new(o, "record", admin_json_text(v[i].record));
        json_array_append_new(list, o);
    }
    return list;
}

static void on_spf_done(struct check *c, void *arg)
{
    struct pipe_check *k = arg;
    const struct spf *s = check_spf(c);
    struct strview domain, term = spf_match(s, &domain);
    json_t *o = json_object();

    put(o, "pipe", k->pipe->name);
    put(o, "result", spf_result_text(spf_result(s)));
    put(o, "reason", spf_reason(s));
    if (term.len) {
        json_object_set_new(o, "term", admin_json_text(term));
        json_object_set_new(o, "term_domain", admin_json_text(domain));
    }
    json_object_set_new(o, "lookups", json_integer(spf_lookups(s)));
    if (spf_explanation(s).len)
        json_object_set_new(o, "explanation", admin_json_text(spf_explanation(s)));
    json_object_set_new(o, "records", trail_of(s));
    admin_send(&k->admin, o);
    admin_end(&k->admin);
    pipe_check_free(k);
}

static bool parse_ip(struct strview s, struct sockaddr_storage *ret)
{
    char text[INET6_ADDRSTRLEN + 1];
    struct sockaddr_in *v4 = (struct sockaddr_in *)ret;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;

    if (!s.len || s.len >= sizeof(text))
        return false;
    memcpy(text, s.ptr, s.len);
    text[s.len] = '\0';
    *ret = (struct sockaddr_storage){0};
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1)
        ret->ss_family = AF_INET;
    else if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1)
        ret->ss_family = AF_INET6;
    return ret->ss_family != 0;
}

void check_spf_result(void *owner, struct admin *a)
{
    struct pipe *p = owner;
    struct strview helo = admin_text(a, "helo"), sender = admin_text(a, "mail_from");
    struct sockaddr_storage ip;
    struct pipe_check *k;

    if (!parse_ip(admin_text(a, "ip"), &ip))
        admin_error(a, "'ip' is no IP address");
    else if (!helo.len || helo.len > 255 || sender.len > 512)
        admin_error(a, "'helo' or 'mail_from' is missing or too long");
    else if ((k = pipe_check_new(p, a, sender)))
        k->check = check_start_spf(child_loop(p->child), p->routes, (struct sockaddr *)&ip, helo,
                                   sender, on_spf_done, k);
}
