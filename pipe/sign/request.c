/*
 * The work on one sign_request; see signer.h. Runs in a thread of the signer, and in tools. Reads
 * what it needs of the content, which may be a cold file, and only reads the plan. What can go wrong
 * is the disk (-errno, ERR_CORRUPT when the file ends early) or the cryptographic library (ERR_TLS);
 * then there are no fields at all.
 */
#include "sign/signer.h"

#include <errno.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <unistd.h>

enum { READ_PIECE = 128 * 1024, USUAL_BYTES = 2048, CHEAP_SIGNATURES = 2 };

/* Exactly n bytes. */
static int read_at(const struct sign_request *r, uint64_t at, char *to, size_t n)
{
    for (size_t got = 0; got < n;) {
        ssize_t more = pread(r->fd, to + got, n - got, (off_t)(r->offset + at + got));
        if (more < 0 && errno == EINTR)
            continue;
        if (more <= 0)
            return more < 0 ? -errno : ERR_CORRUPT;
        got += (size_t)more;
    }
    return 0;
}

static int read_header(const struct sign_request *r, struct buf *to)
{
    int status = read_at(r, 0, buf_reserve(to, r->header_bytes), r->header_bytes);
    buf_advance(to, status == 0 ? r->header_bytes : 0);
    return status;
}

/* --- a body whose hash did not come with the message --- */

static void feed_sha(void *owner, const char *bytes, size_t n)
{
    SHA256_Update(owner, bytes, n);
}

static int feed_body(const struct sign_request *r, struct dkim_body *body)
{
    uint64_t at = r->header_bytes;
    struct buf piece = {0};
    int status = 0;

    if (r->content.len) {
        if (r->content.len > at)
            dkim_body_feed(body, r->content.ptr + at, r->content.len - at);
        return 0;
    }
    while (at < r->content_bytes && status == 0) {
        size_t n = (size_t)MIN_OF(r->content_bytes - at, (uint64_t)READ_PIECE);
        status = read_at(r, at, buf_reserve(&piece, n), n);
        if (status == 0)
            dkim_body_feed(body, piece.mem, n);
        at += n;
    }
    buf_free(&piece);
    return status;
}

static int hash_body(struct sign_request *r)
{
    SHA256_CTX sha;
    struct dkim_body body;

    SHA256_Init(&sha);
    dkim_body_init(&body, r->plan->body_canon, feed_sha, &sha);
    int status = feed_body(r, &body);
    dkim_body_end(&body);
    SHA256_Final(r->body_hash, &sha);
    return status;
}

/* --- signatures --- */

static int sign_one(struct sign_request *r, const struct sign_with *w,
                    const struct dkim_field *fields, size_t count)
{
    const struct sign_plan *plan = r->plan;
    uint8_t signature[SIGN_KEY_MAX_SIGNATURE];
    size_t len = 0;
    struct buf field = {0}, input = {0};
    buf_reserve(&field, USUAL_BYTES);
    buf_reserve(&input, USUAL_BYTES);
    struct dkim_signature s = {
        .algorithm = sign_key_algorithm(w->key),
        .header_canon = plan->header_canon,
        .body_canon = plan->body_canon,
        .domain = sv_of(w->domain),
        .selector = sv_of(w->selector),
        .names = &plan->names,
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

static int sign_all(struct sign_request *r, struct strview block)
{
    struct arena arena = {0};
    struct dkim_field *fields;
    size_t count = dkim_fields(block, &arena, &fields);
    int status = r->has_body_hash ? 0 : hash_body(r);

    for (size_t i = 0; i < r->plan->count && status == 0; i++)
        status = sign_one(r, &r->plan->with[i], fields, count);
    arena_free(&arena);
    return status;
}

bool sign_request_is_cheap(const struct sign_request *r)
{
    const struct sign_plan *plan = r->plan;

    if (!plan->count) /* a BIMI-Selector alone, or List-Unsubscribe into a header that is at hand */
        return !r->list.len || r->content.len;
    if (!r->content.len || !r->has_body_hash || plan->count > CHEAP_SIGNATURES)
        return false;
    for (size_t i = 0; i < plan->count; i++)
        if (!sign_key_is_cheap(plan->with[i].key))
            return false;
    return true;
}

/* --- fields without a signature --- */

static bool is_field(struct strview line, struct strview name)
{
    size_t n = name.len;

    if (!sv_starts_nocase(line, name))
        return false;
    while (n < line.len && (line.ptr[n] == ' ' || line.ptr[n] == '\t'))
        n++;
    return n < line.len && line.ptr[n] == ':';
}

static bool has_field(struct strview block, struct strview name)
{
    struct strview line;

    while (sv_split(&block, '\n', &line))
        if (is_field(line, name))
            return true;
    return false;
}

/* What goes in besides signatures. */
static void put_others(const struct sign_request *r, struct strview header, struct buf *out)
{
    if (r->plan->bimi_selector)
        buf_printf(out, "BIMI-Selector: v=BIMI1; s=%s;\r\n", r->plan->bimi_selector);
    else if (r->bimi.len)
        buf_printf(out, "BIMI-Selector: %.*s\r\n", SV_ARG(r->bimi));
    if (!r->list.len)
        buf_append_sv(out, r->list_taken);
    else if (!has_field(header, SV("List-Unsubscribe")))
        buf_append_sv(out, r->list);
}

/* The header block: in memory, or read into *to. */
static int header_of(const struct sign_request *r, struct buf *to, struct strview *ret)
{
    if (r->content.len) {
        *ret = sv(r->content.ptr, MIN_OF(r->content.len, (size_t)r->header_bytes));
        return 0;
    }
    int status = read_header(r, to);
    *ret = buf_view(to);
    return status;
}

static int sign_with_others(struct sign_request *r, struct strview header, struct strview others)
{
    struct buf block = {0};

    if (!others.len)
        return sign_all(r, header);
    buf_append_sv(&block, others);
    buf_append_sv(&block, header);
    int status = sign_all(r, buf_view(&block));
    buf_free(&block);
    return status;
}

void sign_request_run(struct sign_request *r)
{
    struct buf read = {0}, others = {0};
    struct strview header = {NULL, 0};

    r->status = r->plan->count || r->list.len ? header_of(r, &read, &header) : 0;
    if (r->status == 0)
        put_others(r, header, &others);
    if (r->status == 0 && r->plan->count)
        r->status = sign_with_others(r, header, buf_view(&others));
    if (r->status == 0)
        buf_append_sv(&r->fields, buf_view(&others));
    else
        buf_reset(&r->fields);
    buf_free(&others);
    buf_free(&read);
}
