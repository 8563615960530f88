/*
 * Policy files by HTTPS; see fetch.h. sts.c starts and cancels fetches through sts_ops. Whatever goes
 * wrong becomes a result type of RFC 8460 and a text. A fetch is freed when it ends or is cancelled,
 * those that are left when the pool is closed.
 */
#include "fetch.h"

#include <stdio.h>

struct fetch_pool {
    struct https_pool *https;
    struct list all;
    uint16_t port;
};

struct fetch {
    struct list link;
    struct https *https;
    sts_fetch_cb cb;
    void *arg;
};

static void fetch_free(struct fetch *f)
{
    list_remove(&f->link);
    free(f);
}

static void fail(struct fetch *f, const char *type, const char *text)
{
    f->cb(f->arg, &(struct sts_fetched){.failure = type, .text = text});
}

/* RFC 8461 section 3.2: text/plain, with parameters or without. */
static bool is_text_plain(const char *type)
{
    struct strview rest = sv_of(type ? type : ""), media;
    return sv_split(&rest, ';', &media) && sv_eq_nocase(sv_trim(media), SV("text/plain"));
}

static void take_answer(struct fetch *f, const struct https_answer *a)
{
    char text[160];

    if (a->trouble == HTTPS_TOO_LARGE) {
        fail(f, "sts-policy-fetch-error", "the policy has more than 64 KiB");
    } else if (a->trouble != HTTPS_OK) {
        bool untrusted = a->trouble == HTTPS_UNTRUSTED;
        fail(f, untrusted ? "sts-webpki-invalid" : "sts-policy-fetch-error", a->text);
    } else if (a->status != 200) {
        snprintf(text, sizeof(text), "HTTP status %ld", a->status);
        fail(f, "sts-policy-fetch-error", text);
    } else if (!is_text_plain(a->content_type)) {
        snprintf(text, sizeof(text), "content type is '%.60s', not text/plain",
                 a->content_type ? a->content_type : "");
        fail(f, "sts-policy-fetch-error", text);
    } else {
        f->cb(f->arg, &(struct sts_fetched){.file = a->body});
    }
}

static void on_answer(void *arg, const struct https_answer *a)
{
    struct fetch *f = arg;

    take_answer(f, a);
    fetch_free(f);
}

struct fetch *fetch_start(void *owner, const char *domain, sts_fetch_cb cb, void *arg)
{
    struct fetch_pool *p = owner;
    struct fetch *f = xcalloc(1, sizeof(*f));
    char host[DOMAIN_SIZE];

    f->cb = cb;
    f->arg = arg;
    list_push_back(&p->all, &f->link);
    /* sts.c asked for the longer name of the TXT record before */
    BUG_ON((size_t)snprintf(host, sizeof(host), "mta-sts.%s", domain) >= sizeof(host));
    struct https_ask ask = {
        .host = host,
        .port = p->port,
        .path = "/.well-known/mta-sts.txt",
        .max_bytes = STS_MAX_BYTES,
    };
    BUG_ON(https_start(p->https, &ask, on_answer, f, &f->https) < 0);
    return f;
}

void fetch_cancel(void *owner, struct fetch *f)
{
    (void)owner;
    https_cancel(f->https);
    fetch_free(f);
}

struct fetch_pool *fetch_pool_new(uv_loop_t *loop, struct lookups *lookups)
{
    struct fetch_pool *p = xcalloc(1, sizeof(*p));

    p->https = https_pool_new(loop, lookups, FETCH_MAX);
    p->port = 443;
    list_init(&p->all);
    return p;
}

void fetch_pool_configure(struct fetch_pool *p, const struct fetch_options *options)
{
    https_pool_configure(p->https, options->ca_file);
    p->port = options->port;
}

void fetch_pool_close(struct fetch_pool *p)
{
    if (!p)
        return;
    https_pool_close(p->https);
    while (!list_empty(&p->all))
        fetch_free(list_entry(list_first(&p->all), struct fetch, link));
    free(p);
}
