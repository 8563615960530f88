/*
 * The signer; see signer.h. Requests wait in one list; a job takes a handful. With few requests each
 * gets a job of its own, so that all cores work; with many the cost of a job is shared.
 */
#include "sign/signer.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

enum { BATCH = 16, MAX_JOBS = 64 };

struct job {
    uv_work_t work;
    struct signer *signer;
    struct list requests;
};

struct signer {
    uv_loop_t *loop;
    struct list waiting;
    size_t waiting_count;
    size_t pending;
    unsigned jobs, max_jobs;
};

struct signer *signer_new(uv_loop_t *loop)
{
    struct signer *s = xcalloc(1, sizeof(*s));
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    s->loop = loop;
    s->max_jobs = (unsigned)MIN_OF(MAX_OF(cores, 1L), (long)MAX_JOBS);
    list_init(&s->waiting);
    return s;
}

void signer_free(struct signer *s)
{
    if (!s)
        return;
    BUG_ON(s->pending);
    free(s);
}

size_t signer_pending(const struct signer *s)
{
    return s->pending;
}

/* --- in the pool --- */

static int read_header(struct sign_request *r, struct buf *to)
{
    char *p = buf_reserve(to, r->header_bytes);
    size_t n = 0;

    while (n < r->header_bytes) {
        ssize_t got = pread(r->fd, p + n, r->header_bytes - n, (off_t)(r->offset + n));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? -errno : ERR_CORRUPT;
        n += (size_t)got;
    }
    buf_advance(to, n);
    return 0;
}

static int sign_one(struct sign_request *r, const struct sign_with *w,
                    const struct dkim_field *fields, size_t count)
{
    const struct sign_plan *plan = r->plan;
    uint8_t signature[SIGN_KEY_MAX_SIGNATURE];
    size_t len = 0;
    struct buf field = {0}, input = {0};
    struct dkim_signature s = {
        .algorithm = sign_key_algorithm(w->key),
        .header_canon = plan->header_canon,
        .body_canon = plan->body_canon,
        .domain = sv_of(w->domain),
        .selector = sv_of(w->selector),
        .names = plan->names,
        .oversign = plan->oversign,
        .time_s = plan->timestamp ? r->time_s : 0,
        .expires_s = plan->expire_after_s ? r->time_s + plan->expire_after_s : 0,
        .body_hash = sv((const char *)r->body_hash, sizeof(r->body_hash)),
    };
    struct strview identity = sv_of(plan->identity);

    /* RFC 6376 section 3.5: the domain of i= is that of d= or below it */
    if (identity.len > s.domain.len && sv_ends_nocase(identity, s.domain) &&
        memchr(".@", identity.ptr[identity.len - s.domain.len - 1], 2))
        s.identity = identity;
    dkim_signature_prepare(&s, fields, count, &field, &input);
    int status = sign_key_sign(w->key, buf_view(&input), signature, &len);
    if (status == 0) {
        dkim_signature_finish(&field, signature, len);
        buf_append_sv(&r->fields, buf_view(&field));
    }
    buf_free(&field);
    buf_free(&input);
    return status;
}

void sign_request_run(struct sign_request *r)
{
    struct arena arena = {0};
    struct buf block = {0};
    struct dkim_field *fields;
    struct buf bimi = {0};

    if (r->plan->bimi_selector)
        buf_printf(&bimi, "BIMI-Selector: v=BIMI1; s=%s;\r\n", r->plan->bimi_selector);
    buf_append_sv(&block, buf_view(&bimi));
    if (r->header.len)
        buf_append_sv(&block, r->header);
    else
        r->status = read_header(r, &block);
    if (r->status == 0) {
        size_t count = dkim_fields(buf_view(&block), &arena, &fields);
        for (size_t i = 0; i < r->plan->count && r->status == 0; i++)
            r->status = sign_one(r, &r->plan->with[i], fields, count);
    }
    if (r->status == 0)
        buf_append_sv(&r->fields, buf_view(&bimi));
    else
        buf_reset(&r->fields);
    buf_free(&bimi);
    buf_free(&block);
    arena_free(&arena);
}

static void work(uv_work_t *w)
{
    struct job *j = container_of(w, struct job, work);
    list_for_each (l, &j->requests)
        sign_request_run(list_entry(l, struct sign_request, link));
}

/* --- in the loop --- */

static void start_jobs(struct signer *s);

static void after(uv_work_t *w, int status)
{
    struct job *j = container_of(w, struct job, work);
    struct signer *s = j->signer;

    BUG_ON(status); /* jobs are never cancelled */
    s->jobs--;
    start_jobs(s);
    for (struct list *l; (l = list_pop_front(&j->requests));) {
        struct sign_request *r = list_entry(l, struct sign_request, link);
        s->pending--;
        r->done(r);
    }
    free(j);
}

static void start_jobs(struct signer *s)
{
    while (s->waiting_count && s->jobs < s->max_jobs) {
        struct job *j = xcalloc(1, sizeof(*j));
        size_t n = MIN_OF((size_t)BATCH, (s->waiting_count + s->max_jobs - 1) / s->max_jobs);
        list_init(&j->requests);
        j->signer = s;
        for (s->waiting_count -= n; n; n--)
            list_push_back(&j->requests, list_pop_front(&s->waiting));
        s->jobs++;
        uv_queue_work(s->loop, &j->work, work, after);
    }
}

void signer_submit(struct signer *s, struct sign_request *r)
{
    r->status = 0;
    list_push_back(&s->waiting, &r->link);
    s->waiting_count++;
    s->pending++;
    start_jobs(s);
}
