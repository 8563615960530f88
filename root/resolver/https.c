/*
 * Requests by HTTPS; see https.h. Used by fetch.c and post.c.
 *
 * Happy path: a request gets its place, asks for the addresses of its host, hands them to libcurl
 * (which therefore never asks the DNS itself), and gives the answer to the callback. libcurl says
 * through on_socket and on_timeout what it waits for; a uv_poll_t per socket and one timer wait for
 * it.
 *
 * A request is freed in https_free alone, at the end or when it is cancelled; sockets when libuv has
 * closed them, the pool after the last of these.
 */
#include "https.h"

#include "base/buf.h"
#include "base/log.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <stdio.h>

static const char default_ca_file[] = "/etc/ssl/certs/ca-certificates.crt";

enum { CA_CACHE_S = 3600, PATH_SIZE = 2048 };

struct https_pool {
    uv_loop_t *loop;
    struct lookups *lookups;
    struct fair_client questions;
    CURLM *multi;
    uv_timer_t timer;
    struct list queue;  /* requests that wait for a place */
    struct list active; /* looking up or transferring */
    unsigned running;   /* of these */
    unsigned most;
    char *ca_file;
    unsigned handles; /* of libuv, open or closing */
    bool closing;
};

struct https_socket {
    struct https_pool *pool;
    uv_poll_t poll;
    curl_socket_t fd;
};

struct https {
    struct list link;
    struct https_pool *pool;
    struct lookup_waiter v4, v6;
    unsigned asking;      /* answers to come */
    struct buf addresses; /* "192.0.2.1,[2001:db8::1]" */
    char trouble[160];    /* of the DNS */
    CURL *easy;
    struct curl_slist *resolve, *fields;
    struct buf sent, got;
    char error[CURL_ERROR_SIZE];
    bool too_large, public_only;
    size_t max_bytes;
    https_cb cb;
    void *arg;
    uint16_t port;
    char *content_type; /* NULL: GET */
    char *path;
    char host[DOMAIN_SIZE];
};

static void start_waiting(struct https_pool *p);

/* --- the end of a request --- */

static void https_free(struct https *f)
{
    struct https_pool *p = f->pool;

    list_remove(&f->v4.link);
    list_remove(&f->v6.link);
    list_remove(&f->link);
    if (f->easy) {
        curl_multi_remove_handle(p->multi, f->easy);
        curl_easy_cleanup(f->easy);
    }
    curl_slist_free_all(f->resolve);
    curl_slist_free_all(f->fields);
    buf_free(&f->addresses);
    buf_free(&f->sent);
    buf_free(&f->got);
    free(f->content_type);
    free(f->path);
    free(f);
}

/* Takes a request that has its place away from it. */
static void leave(struct https *f)
{
    f->pool->running--;
    start_waiting(f->pool);
}

static void finish(struct https *f, const struct https_answer *a)
{
    leave(f);
    f->cb(f->arg, a);
    https_free(f);
}

static void fail(struct https *f, enum https_trouble trouble, const char *text)
{
    finish(f, &(struct https_answer){.trouble = trouble, .text = text});
}

void https_cancel(struct https *f)
{
    if (f->easy || f->asking)
        leave(f);
    https_free(f);
}

/* --- what came --- */

static bool is_webpki(CURLcode code)
{
    return code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_ISSUER_ERROR ||
           code == CURLE_SSL_INVALIDCERTSTATUS || code == CURLE_SSL_CERTPROBLEM;
}

static void take_result(struct https *f, CURLcode code)
{
    struct https_answer a = {.body = buf_view(&f->got)};
    char *type = NULL;

    if (code == CURLE_OK) {
        curl_easy_getinfo(f->easy, CURLINFO_RESPONSE_CODE, &a.status);
        curl_easy_getinfo(f->easy, CURLINFO_CONTENT_TYPE, &type);
        a.content_type = type;
        finish(f, &a);
    } else if (f->too_large || code == CURLE_FILESIZE_EXCEEDED) {
        fail(f, HTTPS_TOO_LARGE, "the answer is too long");
    } else {
        fail(f, is_webpki(code) ? HTTPS_UNTRUSTED : HTTPS_FAILED,
             f->error[0] ? f->error : curl_easy_strerror(code));
    }
}

static void take_results(struct https_pool *p)
{
    CURLMsg *m;
    int left;

    while (!p->closing && (m = curl_multi_info_read(p->multi, &left))) {
        struct https *f = NULL;
        CURLcode code = m->data.result;
        if (m->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&f);
        take_result(f, code);
    }
}

static size_t on_body(char *bytes, size_t size, size_t count, void *arg)
{
    struct https *f = arg;
    size_t n = size * count;

    f->too_large = n > f->max_bytes - buf_len(&f->got);
    if (f->too_large)
        return 0;
    buf_append(&f->got, bytes, n);
    return n;
}

/* --- libcurl and the loop --- */

static void pool_free_when_done(struct https_pool *p)
{
    if (!p->closing || p->handles)
        return;
    free(p->ca_file);
    free(p);
}

static void drive(struct https_pool *p, curl_socket_t fd, int events)
{
    int running;

    curl_multi_socket_action(p->multi, fd, events, &running);
    take_results(p);
}

static void on_poll(uv_poll_t *h, int status, int events)
{
    struct https_socket *s = h->data;
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
    struct https_socket *s = h->data;
    struct https_pool *p = s->pool;

    free(s);
    p->handles--;
    pool_free_when_done(p);
}

static struct https_socket *socket_new(struct https_pool *p, curl_socket_t fd)
{
    struct https_socket *s = xcalloc(1, sizeof(*s));

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
    struct https_pool *p = owner;
    struct https_socket *s = socket;
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
    struct https_pool *p = owner;

    (void)multi;
    if (timeout_ms < 0)
        uv_timer_stop(&p->timer);
    else
        uv_timer_start(&p->timer, on_timer, (uint64_t)timeout_ms, 0);
    return 0;
}

/* --- the transfer --- */

static void set_security(const struct https *f)
{
    const struct https_pool *p = f->pool;

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

static void set_bounds(struct https *f)
{
    curl_easy_setopt(f->easy, CURLOPT_TIMEOUT, (long)HTTPS_TIMEOUT_S);
    curl_easy_setopt(f->easy, CURLOPT_CONNECTTIMEOUT, (long)HTTPS_CONNECT_TIMEOUT_S);
    curl_easy_setopt(f->easy, CURLOPT_MAXFILESIZE, (long)f->max_bytes);
    curl_easy_setopt(f->easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(f->easy, CURLOPT_WRITEDATA, f);
    curl_easy_setopt(f->easy, CURLOPT_FORBID_REUSE, 1L);
    curl_easy_setopt(f->easy, CURLOPT_ERRORBUFFER, f->error);
    curl_easy_setopt(f->easy, CURLOPT_PRIVATE, f);
}

static void set_body(struct https *f)
{
    struct buf text = {0};

    buf_printf(&text, "Content-Type: %s", f->content_type);
    f->fields = curl_slist_append(NULL, buf_data(&text));
    f->fields = curl_slist_append(f->fields, "Expect:"); /* no 100-continue: it is small */
    curl_easy_setopt(f->easy, CURLOPT_HTTPHEADER, f->fields);
    curl_easy_setopt(f->easy, CURLOPT_POST, 1L);
    curl_easy_setopt(f->easy, CURLOPT_POSTFIELDSIZE, (long)buf_len(&f->sent));
    curl_easy_setopt(f->easy, CURLOPT_POSTFIELDS, buf_data(&f->sent));
    buf_free(&text);
}

static void transfer(struct https *f)
{
    struct https_pool *p = f->pool;
    struct buf text = {0};

    f->easy = curl_easy_init();
    BUG_ON(!f->easy); /* out of memory */
    /* "+": for a minute, like any other address */
    buf_printf(&text, "+%s:%u:%s", f->host, f->port, buf_data(&f->addresses));
    f->resolve = curl_slist_append(NULL, buf_data(&text));
    curl_easy_setopt(f->easy, CURLOPT_RESOLVE, f->resolve);
    buf_reset(&text);
    buf_printf(&text, "https://%s:%u%s", f->host, f->port, f->path);
    curl_easy_setopt(f->easy, CURLOPT_URL, buf_data(&text));
    buf_free(&text);
    curl_easy_setopt(f->easy, CURLOPT_USERAGENT, "PipeMTA/" PMTA_VERSION);
    set_security(f);
    set_bounds(f);
    if (f->content_type)
        set_body(f);
    curl_multi_add_handle(p->multi, f->easy);
}

/* --- the addresses --- */

/* In a private network, on this machine, or nowhere. */
static bool is_private(const uint8_t *ip, int family)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

    if (family == AF_INET6 && memcmp(ip, mapped, sizeof(mapped)) == 0)
        return is_private(ip + 12, AF_INET);
    if (family == AF_INET6)
        return (ip[0] & 0xe0) != 0x20; /* all but 2000::/3 */
    return ip[0] == 0 || ip[0] == 10 || ip[0] == 127 || ip[0] >= 224 ||
           (ip[0] == 100 && (ip[1] & 0xc0) == 64) || (ip[0] == 169 && ip[1] == 254) ||
           (ip[0] == 172 && (ip[1] & 0xf0) == 16) || (ip[0] == 192 && ip[1] == 168);
}

static void add_addresses(struct https *f, const struct answer *a, int family)
{
    char text[INET6_ADDRSTRLEN];

    for (size_t i = 0; i < a->count && i < HTTPS_MAX_ADDRESSES; i++) {
        if (f->public_only && is_private(a->records[i].address, family)) {
            snprintf(f->trouble, sizeof(f->trouble), "'%.100s' has an address in a private network",
                     f->host);
            continue;
        }
        inet_ntop(family, a->records[i].address, text, sizeof(text));
        buf_printf(&f->addresses, family == AF_INET6 ? "%s[%s]" : "%s%s",
                   buf_len(&f->addresses) ? "," : "", text);
    }
}

static void take_addresses(struct https *f, const struct answer *a, int family)
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
    fail(f, HTTPS_FAILED, f->trouble);
}

static void on_v4(struct lookup_waiter *w, struct answer *a, uint32_t ttl_s)
{
    (void)ttl_s;
    take_addresses(container_of(w, struct https, v4), a, AF_INET);
}

static void on_v6(struct lookup_waiter *w, struct answer *a, uint32_t ttl_s)
{
    (void)ttl_s;
    take_addresses(container_of(w, struct https, v6), a, AF_INET6);
}

/* Nothing is taken from the cache here: lookup_start answers later, never at once. */
static void look_up(struct https *f)
{
    struct https_pool *p = f->pool;

    f->asking = 2;
    f->v4.done = on_v4;
    f->v6.done = on_v6;
    lookup_start(p->lookups, &p->questions, f->host, QUERY_A, &f->v4);
    lookup_start(p->lookups, &p->questions, f->host, QUERY_AAAA, &f->v6);
}

static void start_waiting(struct https_pool *p)
{
    while (!p->closing && p->running < p->most) {
        struct list *n = list_pop_front(&p->queue);
        if (!n)
            return;
        p->running++;
        list_push_back(&p->active, n);
        look_up(list_entry(n, struct https, link));
    }
}

/* --- pool --- */

int https_start(struct https_pool *p, const struct https_ask *ask, https_cb cb, void *arg,
                struct https **ret)
{
    BUG_ON(p->closing);
    if (strlen(ask->host) >= DOMAIN_SIZE || strlen(ask->path) >= PATH_SIZE)
        return ERR_LIMIT;
    struct https *f = xcalloc(1, sizeof(*f));
    f->pool = p;
    f->cb = cb;
    f->arg = arg;
    f->port = ask->port;
    f->max_bytes = ask->max_bytes;
    f->public_only = ask->public_only;
    f->path = xstrdup(ask->path);
    f->content_type = ask->content_type ? xstrdup(ask->content_type) : NULL;
    buf_append_sv(&f->sent, ask->body);
    list_init(&f->v4.link);
    list_init(&f->v6.link);
    snprintf(f->host, sizeof(f->host), "%s", ask->host);
    list_push_back(&p->queue, &f->link);
    start_waiting(p);
    *ret = f;
    return 0;
}

struct https_pool *https_pool_new(uv_loop_t *loop, struct lookups *lookups, unsigned most)
{
    struct https_pool *p = xcalloc(1, sizeof(*p));

    p->loop = loop;
    p->lookups = lookups;
    p->most = most;
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

void https_pool_configure(struct https_pool *p, const char *ca_file)
{
    free(p->ca_file);
    p->ca_file = ca_file && ca_file[0] ? xstrdup(ca_file) : NULL;
}

static void on_timer_closed(uv_handle_t *h)
{
    struct https_pool *p = h->data;

    p->handles--;
    pool_free_when_done(p);
}

static void free_all(struct list *requests)
{
    while (!list_empty(requests))
        https_free(list_entry(requests->next, struct https, link));
}

void https_pool_close(struct https_pool *p)
{
    if (!p || p->closing)
        return;
    p->closing = true;
    free_all(&p->queue);
    free_all(&p->active);
    curl_multi_cleanup(p->multi);
    uv_close((uv_handle_t *)&p->timer, on_timer_closed);
}
