/*
 * Policy files by HTTPS; see fetch.h. sts.c starts and cancels fetches through sts_ops.
 *
 * Happy path: a fetch gets its place, asks for the addresses of mta-sts.DOMAIN, hands them to libcurl
 * (which therefore never asks the DNS itself), and gives the file to the callback. libcurl says
 * through on_socket and on_timeout what it waits for; a uv_poll_t per socket and one timer wait for
 * it. Whatever goes wrong becomes a result type of RFC 8460 and a text.
 *
 * A fetch is freed in fetch_free alone, at the end or when it is cancelled; sockets when libuv has
 * closed them, the pool after the last of these.
 */
#include "fetch.h"

#include "base/buf.h"
#include "base/log.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <stdio.h>

static const char default_ca_file[] = "/etc/ssl/certs/ca-certificates.crt";

enum { CA_CACHE_S = 3600 };

struct fetch_pool {
    uv_loop_t *loop;
    struct lookups *lookups;
    struct fair_client questions;
    CURLM *multi;
    uv_timer_t timer;
    struct list queue;  /* fetches that wait for a place */
    struct list active; /* looking up or transferring */
    unsigned running;   /* of these */
    char *ca_file;
    uint16_t port;
    unsigned handles; /* of libuv, open or closing */
    bool closing;
};

struct fetch_socket {
    struct fetch_pool *pool;
    uv_poll_t poll;
    curl_socket_t fd;
};

struct fetch {
    struct list link;
    struct fetch_pool *pool;
    struct lookup_waiter v4, v6;
    unsigned asking;      /* answers to come */
    struct buf addresses; /* "192.0.2.1,[2001:db8::1]" */
    char trouble[160];    /* of the DNS */
    CURL *easy;
    struct curl_slist *resolve;
    struct buf file;
    char error[CURL_ERROR_SIZE];
    bool too_large;
    sts_fetch_cb cb;
    void *arg;
    char host[DOMAIN_SIZE]; /* mta-sts.DOMAIN */
};

static void start_waiting(struct fetch_pool *p);

/* --- the end of a fetch --- */

static void fetch_free(struct fetch *f)
{
    struct fetch_pool *p = f->pool;

    list_remove(&f->v4.link);
    list_remove(&f->v6.link);
    list_remove(&f->link);
    if (f->easy) {
        curl_multi_remove_handle(p->multi, f->easy);
        curl_easy_cleanup(f->easy);
    }
    curl_slist_free_all(f->resolve);
    buf_free(&f->addresses);
    buf_free(&f->file);
    free(f);
}

/* Takes a fetch that has its place away from it. */
static void leave(struct fetch *f)
{
    f->pool->running--;
    start_waiting(f->pool);
}

static void finish(struct fetch *f, const struct sts_fetched *result)
{
    leave(f);
    f->cb(f->arg, result);
    fetch_free(f);
}

static void fail(struct fetch *f, const char *type, const char *text)
{
    finish(f, &(struct sts_fetched){.failure = type, .text = text});
}

void fetch_cancel(void *owner, struct fetch *f)
{
    (void)owner;
    if (f->easy || f->asking)
        leave(f);
    fetch_free(f);
}

/* --- what came --- */

static bool is_webpki(CURLcode code)
{
    return code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_ISSUER_ERROR ||
           code == CURLE_SSL_INVALIDCERTSTATUS || code == CURLE_SSL_CERTPROBLEM;
}

/* RFC 8461 section 3.2: text/plain, with parameters or without. */
static bool is_text_plain(const char *type)
{
    struct strview rest = sv_of(type ? type : ""), media;
    return sv_split(&rest, ';', &media) && sv_eq_nocase(sv_trim(media), SV("text/plain"));
}

static void take_response(struct fetch *f)
{
    long status = 0;
    char *type = NULL;
    char text[160];

    curl_easy_getinfo(f->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(f->easy, CURLINFO_CONTENT_TYPE, &type);
    if (status != 200) {
        snprintf(text, sizeof(text), "HTTP status %ld from %.120s", status, f->host);
        fail(f, "sts-policy-fetch-error", text);
    } else if (!is_text_plain(type)) {
        snprintf(text, sizeof(text), "content type is '%.60s', not text/plain", type ? type : "");
        fail(f, "sts-policy-fetch-error", text);
    } else {
        finish(f, &(struct sts_fetched){.file = buf_view(&f->file)});
    }
}

static void take_result(struct fetch *f, CURLcode code)
{
    if (code == CURLE_OK)
        take_response(f);
    else if (f->too_large || code == CURLE_FILESIZE_EXCEEDED)
        fail(f, "sts-policy-fetch-error", "the policy has more than 64 KiB");
    else
        fail(f, is_webpki(code) ? "sts-webpki-invalid" : "sts-policy-fetch-error",
             f->error[0] ? f->error : curl_easy_strerror(code));
}

static void take_results(struct fetch_pool *p)
{
    CURLMsg *m;
    int left;

    while (!p->closing && (m = curl_multi_info_read(p->multi, &left))) {
        struct fetch *f = NULL;
        CURLcode code = m->data.result;
        if (m->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&f);
        take_result(f, code);
    }
}

static size_t on_body(char *bytes, size_t size, size_t count, void *arg)
{
    struct fetch *f = arg;
    size_t n = size * count;

    f->too_large = n > STS_MAX_BYTES - buf_len(&f->file);
    if (f->too_large)
        return 0;
    buf_append(&f->file, bytes, n);
    return n;
}

/* --- libcurl and the loop --- */

static void pool_free_when_done(struct fetch_pool *p)
{
    if (!p->closing || p->handles)
        return;
    free(p->ca_file);
    free(p);
}

static void drive(struct fetch_pool *p, curl_socket_t fd, int events)
{
    int running;

    curl_multi_socket_action(p->multi, fd, events, &running);
    take_results(p);
}

static void on_poll(uv_poll_t *h, int status, int events)
{
    struct fetch_socket *s = h->data;
    int what = (events & UV_READABLE ? CURL_CSELECT_IN : 0) |
               (events & UV_WRITABLE ? CURL_CSELECT_OUT : 0) | (status < 0 ? CURL_CSELECT_ERR : 0);

    drive(s->pool, s->fd, what);
}

static void on_timer(uv_timer_t *t)
{
    drive(t->data, CURL_SOCKET_TIMEOUT, 0);
}

static void on_socket_closed(uv_handle_t *h)
{
    struct fetch_socket *s = h->data;
    struct fetch_pool *p = s->pool;

    free(s);
    p->handles--;
    pool_free_when_done(p);
}

static struct fetch_socket *socket_new(struct fetch_pool *p, curl_socket_t fd)
{
    struct fetch_socket *s = xcalloc(1, sizeof(*s));

    s->pool = p;
    s->fd = fd;
    s->poll.data = s;
    if (uv_poll_init_socket(p->loop, &s->poll, fd) < 0) {
        free(s);
        return NULL;
    }
    p->handles++;
    curl_multi_assign(p->multi, fd, s);
    return s;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *owner, void *socket)
{
    struct fetch_pool *p = owner;
    struct fetch_socket *s = socket;
    int events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);

    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (s)
            uv_close((uv_handle_t *)&s->poll, on_socket_closed);
        curl_multi_assign(p->multi, fd, NULL);
        return 0;
    }
    if (!s && !(s = socket_new(p, fd)))
        return -1;
    return uv_poll_start(&s->poll, events, on_poll) < 0 ? -1 : 0;
}

static int on_timeout(CURLM *multi, long timeout_ms, void *owner)
{
    struct fetch_pool *p = owner;

    (void)multi;
    if (timeout_ms < 0)
        uv_timer_stop(&p->timer);
    else
        uv_timer_start(&p->timer, on_timer, (uint64_t)timeout_ms, 0);
    return 0;
}

/* --- the transfer --- */

static void set_security(const struct fetch *f)
{
    const struct fetch_pool *p = f->pool;

    curl_easy_setopt(f->easy, CURLOPT_PROTOCOLS_STR, "https");
    curl_easy_setopt(f->easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(f->easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(f->easy, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(f->easy, CURLOPT_SSL_VERIFYHOST, 2L);
    curl_easy_setopt(f->easy, CURLOPT_CAINFO, p->ca_file ? p->ca_file : default_ca_file);
    curl_easy_setopt(f->easy, CURLOPT_CAPATH, NULL); /* otherwise nothing of it is kept */
    curl_easy_setopt(f->easy, CURLOPT_CA_CACHE_TIMEOUT, (long)CA_CACHE_S);
    curl_easy_setopt(f->easy, CURLOPT_PROXY, "");
    curl_easy_setopt(f->easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(f->easy, CURLOPT_NOSIGNAL, 1L);
}

static void set_bounds(struct fetch *f)
{
    curl_easy_setopt(f->easy, CURLOPT_TIMEOUT, (long)FETCH_TIMEOUT_S);
    curl_easy_setopt(f->easy, CURLOPT_CONNECTTIMEOUT, (long)FETCH_CONNECT_TIMEOUT_S);
    curl_easy_setopt(f->easy, CURLOPT_MAXFILESIZE, (long)STS_MAX_BYTES);
    curl_easy_setopt(f->easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(f->easy, CURLOPT_WRITEDATA, f);
    curl_easy_setopt(f->easy, CURLOPT_FORBID_REUSE, 1L);
    curl_easy_setopt(f->easy, CURLOPT_ERRORBUFFER, f->error);
    curl_easy_setopt(f->easy, CURLOPT_PRIVATE, f);
}

static void transfer(struct fetch *f)
{
    struct fetch_pool *p = f->pool;
    struct buf text = {0};

    f->easy = curl_easy_init();
    BUG_ON(!f->easy); /* out of memory */
    /* "+": for a minute, like any other address */
    buf_printf(&text, "+%s:%u:%s", f->host, p->port, buf_data(&f->addresses));
    f->resolve = curl_slist_append(NULL, buf_data(&text));
    curl_easy_setopt(f->easy, CURLOPT_RESOLVE, f->resolve);
    buf_reset(&text);
    buf_printf(&text, "https://%s:%u/.well-known/mta-sts.txt", f->host, p->port);
    curl_easy_setopt(f->easy, CURLOPT_URL, buf_data(&text));
    buf_free(&text);
    curl_easy_setopt(f->easy, CURLOPT_USERAGENT, "PipeMTA/" PMTA_VERSION);
    set_security(f);
    set_bounds(f);
    curl_multi_add_handle(p->multi, f->easy);
}

/* --- the addresses --- */

static void add_addresses(struct fetch *f, const struct answer *a, int family)
{
    char text[INET6_ADDRSTRLEN];

    for (size_t i = 0; i < a->count && i < FETCH_MAX_ADDRESSES; i++) {
        inet_ntop(family, a->records[i].address, text, sizeof(text));
        buf_printf(&f->addresses, family == AF_INET6 ? "%s[%s]" : "%s%s",
                   buf_len(&f->addresses) ? "," : "", text);
    }
}

static void take_addresses(struct fetch *f, const struct answer *a, int family)
{
    if (a->status == ANSWER_OK)
        add_addresses(f, a, family);
    else if (a->status == ANSWER_FAILED)
        snprintf(f->trouble, sizeof(f->trouble), "%s", a->text);
    if (--f->asking)
        return;
    if (buf_len(&f->addresses)) {
        transfer(f);
        return;
    }
    if (!f->trouble[0])
        snprintf(f->trouble, sizeof(f->trouble), "'%.120s' has no address", f->host);
    fail(f, "sts-policy-fetch-error", f->trouble);
}

static void on_v4(struct lookup_waiter *w, struct answer *a, uint32_t ttl_s)
{
    (void)ttl_s;
    take_addresses(container_of(w, struct fetch, v4), a, AF_INET);
}

static void on_v6(struct lookup_waiter *w, struct answer *a, uint32_t ttl_s)
{
    (void)ttl_s;
    take_addresses(container_of(w, struct fetch, v6), a, AF_INET6);
}

/* Nothing is taken from the cache here: lookup_start answers later, never at once. */
static void look_up(struct fetch *f)
{
    struct fetch_pool *p = f->pool;

    f->asking = 2;
    f->v4.done = on_v4;
    f->v6.done = on_v6;
    lookup_start(p->lookups, &p->questions, f->host, QUERY_A, &f->v4);
    lookup_start(p->lookups, &p->questions, f->host, QUERY_AAAA, &f->v6);
}

static void start_waiting(struct fetch_pool *p)
{
    while (!p->closing && p->running < FETCH_MAX) {
        struct list *n = list_pop_front(&p->queue);
        if (!n)
            return;
        p->running++;
        list_push_back(&p->active, n);
        look_up(list_entry(n, struct fetch, link));
    }
}

/* --- pool --- */

struct fetch *fetch_start(void *owner, const char *domain, sts_fetch_cb cb, void *arg)
{
    struct fetch_pool *p = owner;
    struct fetch *f = xcalloc(1, sizeof(*f));

    BUG_ON(p->closing);
    f->pool = p;
    f->cb = cb;
    f->arg = arg;
    list_init(&f->v4.link);
    list_init(&f->v6.link);
    /* sts.c asked for the longer name of the TXT record before */
    BUG_ON((size_t)snprintf(f->host, sizeof(f->host), "mta-sts.%s", domain) >= sizeof(f->host));
    list_push_back(&p->queue, &f->link);
    start_waiting(p);
    return f;
}

struct fetch_pool *fetch_pool_new(uv_loop_t *loop, struct lookups *lookups)
{
    struct fetch_pool *p = xcalloc(1, sizeof(*p));

    p->loop = loop;
    p->lookups = lookups;
    p->port = 443;
    list_init(&p->queue);
    list_init(&p->active);
    fair_client_init(&p->questions);
    uv_timer_init(loop, &p->timer);
    p->timer.data = p;
    p->handles = 1;
    BUG_ON(curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK);
    p->multi = curl_multi_init();
    BUG_ON(!p->multi); /* out of memory */
    curl_multi_setopt(p->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(p->multi, CURLMOPT_SOCKETDATA, p);
    curl_multi_setopt(p->multi, CURLMOPT_TIMERFUNCTION, on_timeout);
    curl_multi_setopt(p->multi, CURLMOPT_TIMERDATA, p);
    return p;
}

void fetch_pool_configure(struct fetch_pool *p, const struct fetch_options *options)
{
    free(p->ca_file);
    p->ca_file = options->ca_file && options->ca_file[0] ? xstrdup(options->ca_file) : NULL;
    p->port = options->port;
}

static void on_timer_closed(uv_handle_t *h)
{
    struct fetch_pool *p = h->data;

    p->handles--;
    pool_free_when_done(p);
}

static void free_all(struct list *fetches)
{
    while (!list_empty(fetches))
        fetch_free(list_entry(fetches->next, struct fetch, link));
}

void fetch_pool_close(struct fetch_pool *p)
{
    if (!p || p->closing)
        return;
    p->closing = true;
    free_all(&p->queue);
    free_all(&p->active);
    curl_multi_cleanup(p->multi);
    uv_close((uv_handle_t *)&p->timer, on_timer_closed);
}
