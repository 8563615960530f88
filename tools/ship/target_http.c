/*
 * Webhooks: each part of a batch is one POST with a JSON array. ship.c gives a pipe's next batch when
 * the one before was answered, so several requests at a time are of several pipes.
 *
 *   2xx                 delivered
 *   413                 too large: in halves
 *   408, 425, 429, 5xx  later; Retry-After is honoured
 *   401, 403, 404, 405, 407, 410, 3xx   later: about the address or the credentials, which somebody
 *                       has to mend, and not about the records
 *   other 4xx           refused
 *
 * libcurl keeps connections open and resolves names in threads of its own.
 */
#include "signature.h"
#include "target.h"

#include "base/clock.h"

#include <curl/curl.h>
#include <stdio.h>
#include <zlib.h>

enum { ANSWER_MAX = 4096, CONNECT_TIMEOUT_MS = 10000, GZIP_LEVEL = 3 };

struct request {
    struct target_http *http;
    CURL *easy;
    struct batch *batch; /* NULL: free */
    struct buf body, packed, answer;
    struct curl_slist *headers;
    char trouble[CURL_ERROR_SIZE];
};

struct target_http {
    struct target target;
    CURLM *multi;
    struct request *requests;
    size_t count, busy;
};

static struct target_http *http_of(struct target *t)
{
    return container_of(t, struct target_http, target);
}

/* Enough of an answer to say what was wrong. */
static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
    struct request *q = arg;
    size_t room = ANSWER_MAX - MIN_OF((size_t)ANSWER_MAX, buf_len(&q->answer));

    buf_append(&q->answer, data, MIN_OF(size * n, room));
    return size * n;
}

static void set_options(struct request *q, const struct ship_settings *s)
{
    struct curl_blob ca = {buf_data(&s->ca), buf_len(&s->ca), CURL_BLOB_NOCOPY};
    CURL *c = q->easy;

    curl_easy_setopt(c, CURLOPT_URL, s->url);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)s->timeout_ms);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS,
                     (long)MIN_OF(s->timeout_ms, (int64_t)CONNECT_TIMEOUT_MS));
    curl_easy_setopt(c, CURLOPT_USERAGENT, "PipeMTA/" PMTA_VERSION);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, q->trouble);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, q);
    curl_easy_setopt(c, CURLOPT_PRIVATE, q);
    curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, s->verify ? 1L : 0L);
    curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, s->verify ? 2L : 0L);
    curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(c, CURLOPT_TCP_KEEPALIVE, 1L);
    if (ca.len)
        curl_easy_setopt(c, CURLOPT_CAINFO_BLOB, &ca);
}

static bool pack(struct strview in, struct buf *out)
{
    z_stream z = {0};

    if (deflateInit2(&z, GZIP_LEVEL, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return false;
    size_t bound = deflateBound(&z, in.len);
    z.next_in = (unsigned char *)(uintptr_t)in.ptr;
    z.avail_in = (unsigned)in.len;
    z.next_out = (unsigned char *)buf_reserve(out, bound);
    z.avail_out = (unsigned)bound;
    bool done = deflate(&z, Z_FINISH) == Z_STREAM_END;
    buf_advance(out, z.total_out);
    deflateEnd(&z);
    return done;
}

static void add_header(struct request *q, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void add_header(struct request *q, const char *fmt, ...)
{
    struct buf line = {0};
    va_list ap;

    va_start(ap, fmt);
    buf_vprintf(&line, fmt, ap);
    va_end(ap);
    struct curl_slist *more = curl_slist_append(q->headers, buf_data(&line));
    BUG_ON(!more);
    q->headers = more;
    buf_free(&line);
}

static void add_headers(struct request *q, const struct ship_settings *s)
{
    const struct batch *b = q->batch;
    struct strview first = batch_id(b, b->from), last = batch_id(b, b->to - 1);
    struct buf signature = {0};

    add_header(q, "Content-Type: application/json");
    add_header(q, "Expect:");
    add_header(q, "X-PMTA-Host: %s", s->host);
    add_header(q, "X-PMTA-Pipe: %s", b->stream->pipe);
    add_header(q, "X-PMTA-Records: %zu", b->to - b->from);
    /* the same for the same records, however often they are sent */
    add_header(q, "Idempotency-Key: %.*s/%zu/%.*s", SV_ARG(first), b->to - b->from, SV_ARG(last));
    if (s->secret_count) {
        signature_append(&signature, s->secrets, s->secret_count, clock_wall_ms() / 1000,
                         buf_view(&q->body));
        add_header(q, "X-PMTA-Signature: %s", buf_data(&signature));
        buf_free(&signature);
    }
    for (size_t i = 0; i < s->headers.count; i++)
        add_header(q, "%s", s->headers.items[i]);
}

static void http_send(struct target *t, struct batch *b)
{
    struct target_http *h = http_of(t);
    struct request *q = h->requests;

    while (q->batch)
        q++;
    q->batch = b;
    h->busy++;
    buf_reset(&q->body);
    buf_reset(&q->packed);
    buf_reset(&q->answer);
    q->trouble[0] = '\0';
    buf_append_char(&q->body, '[');
    buf_append_sv(&q->body, batch_objects(b));
    buf_append_char(&q->body, ']');
    add_headers(q, t->settings);
    struct buf *body = &q->body;
    if (t->settings->gzip && pack(buf_view(&q->body), &q->packed)) {
        add_header(q, "Content-Encoding: gzip");
        body = &q->packed;
    }
    curl_easy_setopt(q->easy, CURLOPT_HTTPHEADER, q->headers);
    curl_easy_setopt(q->easy, CURLOPT_POST, 1L);
    curl_easy_setopt(q->easy, CURLOPT_POSTFIELDS, buf_data(body));
    curl_easy_setopt(q->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)buf_len(body));
    BUG_ON(curl_multi_add_handle(h->multi, q->easy) != CURLM_OK);
}

static bool http_room(const struct target *t)
{
    const struct target_http *h = container_of(t, struct target_http, target);
    return h->busy < h->count;
}

/* --- answers --- */

static enum ship_outcome outcome_of(long status)
{
    switch (status) {
    case 413:
        return SHIP_TOO_LARGE;
    case 401:
    case 403:
    case 404:
    case 405:
    case 407:
    case 408:
    case 410:
    case 425:
    case 429:
        return SHIP_RETRY;
    default:
        break;
    }
    if (status >= 200 && status < 300)
        return SHIP_DELIVERED;
    return status >= 400 && status < 500 ? SHIP_REFUSED : SHIP_RETRY;
}

static void judge(struct request *q, CURLcode code, struct ship_result *r)
{
    struct strview said = sv_trim(buf_view(&q->answer));
    curl_off_t after = 0;
    long status = 0;

    if (code != CURLE_OK) {
        ship_result_set(r, SHIP_RETRY, "%s", *q->trouble ? q->trouble : curl_easy_strerror(code));
        return;
    }
    curl_easy_getinfo(q->easy, CURLINFO_RESPONSE_CODE, &status);
    said.len = MIN_OF(said.len, (size_t)150);
    ship_result_set(r, outcome_of(status), "HTTP status %ld%s%.*s", status, said.len ? ": " : "",
                    SV_ARG(said));
    if (curl_easy_getinfo(q->easy, CURLINFO_RETRY_AFTER, &after) == CURLE_OK && after > 0)
        r->retry_after_ms = MIN_OF((int64_t)after, (int64_t)SHIP_RETRY_AFTER_MAX_MS / 1000) * 1000;
}

static void release(struct request *q)
{
    curl_multi_remove_handle(q->http->multi, q->easy);
    curl_slist_free_all(q->headers);
    q->headers = NULL;
    q->batch = NULL;
    q->http->busy--;
}

static bool take_answers(struct target_http *h)
{
    CURLMsg *m;
    int left;
    bool any = false;

    while ((m = curl_multi_info_read(h->multi, &left))) {
        struct request *q;
        struct ship_result r;
        if (m->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&q);
        judge(q, m->data.result, &r);
        struct batch *b = q->batch;
        release(q);
        h->target.answer(h->target.owner, b, &r);
        any = true;
    }
    return any;
}

static void http_run(struct target *t, int timeout_ms, int wake_fd)
{
    struct target_http *h = http_of(t);
    struct curl_waitfd wake = {.fd = wake_fd, .events = CURL_WAIT_POLLIN};
    int64_t until = clock_mono_ms() + timeout_ms;
    int running = 0;

    if (!h->busy) {
        target_wait(timeout_ms, wake_fd);
        return;
    }
    for (;;) {
        curl_multi_perform(h->multi, &running);
        int64_t left = until - clock_mono_ms();
        if (take_answers(h) || left <= 0)
            return;
        curl_multi_poll(h->multi, &wake, wake_fd >= 0, (int)left, NULL);
        if (wake.revents)
            return;
    }
}

static void http_close(struct target *t)
{
    struct target_http *h = http_of(t);

    for (size_t i = 0; i < h->count; i++) {
        struct request *q = &h->requests[i];
        if (q->batch)
            release(q);
        curl_easy_cleanup(q->easy);
        buf_free(&q->body);
        buf_free(&q->packed);
        buf_free(&q->answer);
    }
    curl_multi_cleanup(h->multi);
    free(h->requests);
    free(h);
}

int target_http_open(const struct ship_settings *settings, struct target **ret, struct err *e)
{
    static const struct target_ops ops = {http_send, http_room, http_run, http_close};
    struct target_http *h = xcalloc(1, sizeof(*h));

    (void)e;
    BUG_ON(curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK);
    h->target.ops = &ops;
    h->multi = curl_multi_init();
    h->count = settings->max_in_flight;
    h->requests = xcalloc(h->count, sizeof(*h->requests));
    BUG_ON(!h->multi);
    curl_multi_setopt(h->multi, CURLMOPT_MAXCONNECTS, (long)h->count);
    for (size_t i = 0; i < h->count; i++) {
        h->requests[i].http = h;
        h->requests[i].easy = curl_easy_init();
        BUG_ON(!h->requests[i].easy);
        set_options(&h->requests[i], settings);
    }
    *ret = &h->target;
    return 0;
}
