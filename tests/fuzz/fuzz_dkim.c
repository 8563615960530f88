/*
 * Canonical forms, header fields and addresses of DKIM on any bytes. The body is canonicalised in
 * pieces and at once: the same must come out, and it ends in CRLF or is empty.
 */
#include "mail/dkim.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void collect(void *owner, const char *bytes, size_t n)
{
    buf_append(owner, bytes, n);
}

static void canon_body(enum dkim_canon canon, struct strview wire, size_t piece, struct buf *out)
{
    struct dkim_body b;

    dkim_body_init(&b, canon, collect, out);
    for (size_t at = 0; at < wire.len; at += piece)
        dkim_body_feed(&b, wire.ptr + at, MIN_OF(piece, wire.len - at));
    dkim_body_end(&b);
    BUG_ON(buf_len(out) && (buf_len(out) < 2 || buf_data(out)[buf_len(out) - 1] != '\n'));
}

static void check_body(struct strview wire, size_t piece)
{
    for (int canon = DKIM_SIMPLE; canon <= DKIM_RELAXED; canon++) {
        struct buf once = {0}, pieces = {0};
        canon_body((enum dkim_canon)canon, wire, wire.len + 1, &once);
        canon_body((enum dkim_canon)canon, wire, piece, &pieces);
        BUG_ON(!sv_eq(buf_view(&once), buf_view(&pieces)));
        buf_free(&once);
        buf_free(&pieces);
    }
}

static void check_header(struct strview block)
{
    struct arena a = {0};
    struct dkim_field *fields;
    struct dkim_names names;
    struct strview from, sender;
    struct buf field = {0}, input = {0};
    size_t count = dkim_fields(block, &a, &fields);

    dkim_sender_domains(block, &a, &from, &sender);
    BUG_ON(from.len > 253 || sender.len > 253);
    dkim_names_parse(block, SV("From:To"), &a, &names);
    dkim_names_parse(SV("From, To, Subject"), SV("From, Cc"), &a, &names);
    const struct dkim_signature s = {
        .algorithm = "rsa-sha256",
        .header_canon = block.len % 2 ? DKIM_RELAXED : DKIM_SIMPLE,
        .body_canon = DKIM_RELAXED,
        .domain = SV("example.com"),
        .selector = SV("s"),
        .names = &names,
        .time_s = 1,
        .body_hash = SV("01234567890123456789012345678901"),
    };
    dkim_signature_prepare(&s, fields, count, &field, &input);
    dkim_signature_finish(&field, (const uint8_t *)"signature", 9);
    BUG_ON(buf_data(&field)[buf_len(&field) - 1] != '\n');
    buf_free(&field);
    buf_free(&input);
    arena_free(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    struct strview text = sv((const char *)data + 1, size - 1);
    check_body(text, 1 + data[0]);
    check_header(text);
    return 0;
}
