/*
 * Any bytes as a record of the suppression list, as a line of a list to be imported, and as an
 * address. The first byte chooses. What decodes encodes to the same bytes; what is a line can be
 * written as one.
 */
#include "base/buf.h"
#include "format.h"
#include "line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fuzz_record(struct strview in)
{
    struct record r;
    struct segment_header h;
    struct buf again = {0};
    int len = record_decode(in, 7, &r);

    if (len > 0) {
        BUG_ON((size_t)len > in.len || r.address.len > SUPPRESS_ADDRESS_MAX);
        record_encode(&again, &r, 7);
        BUG_ON(record_decode(buf_view(&again), 7, &r) != (int)buf_len(&again));
        buf_free(&again);
    }
    (void)!segment_header_decode(in, &h);
}

/* The checksum is made right, so that what is behind it is reached. */
static void fuzz_sealed_record(struct strview in)
{
    struct record r = {.kind = RECORD_ADD, .scope = SUPPRESS_JOB, .reason = SUPPRESS_BY_BOUNCE};
    struct buf b = {0};
    size_t third = in.len / 3;

    if (!in.len)
        return;
    r.name = sv(in.ptr, MIN_OF(third + 1, (size_t)SUPPRESS_NAME_MAX));
    r.address = sv(in.ptr, MIN_OF(in.len, (size_t)SUPPRESS_ADDRESS_MAX));
    r.is_domain = suppress_is_domain(r.address);
    r.note = sv(in.ptr + third, MIN_OF(in.len - third, (size_t)SUPPRESS_NOTE_MAX));
    size_t len = record_encode(&b, &r, 7);
    BUG_ON(record_decode(buf_view(&b), 7, &r) != (int)len);
    BUG_ON(record_decode(buf_view(&b), 8, &r) > 0);
    BUG_ON(record_decode(sv(buf_data(&b), len - 1), 7, &r) > 0);
    buf_free(&b);
}

/* Others become blanks when a field is written. */
static bool is_printable(struct strview s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.ptr[i] < 0x20 || s.ptr[i] == 0x7f)
            return false;
    return true;
}

static void fuzz_line(struct strview in)
{
    struct suppress_entry e = {.scope_name = SV(""), .note = SV("")}, again = e;
    struct strview header = {NULL, 0};
    char scratch[LINE_MAX_BYTES], scratch2[LINE_MAX_BYTES];
    struct line_form form, plain;
    struct buf b = {0};
    struct err err;

    line_form_default(&form);
    line_form_default(&plain);
    sv_split(&in, '\n', &header);
    if (line_form_parse(header, &form, &err) < 0)
        line_form_default(&form);
    if (!in.ptr || line_parse(in, &form, 1000, scratch, &e, &err) != 0)
        return;
    line_put(&b, e.address);
    buf_append_str(&b, ",,,,,");
    line_put(&b, e.note);
    if (buf_len(&b) <= LINE_MAX_BYTES && is_printable(e.address))
        BUG_ON(line_parse(buf_view(&b), &plain, 1000, scratch2, &again, &err) != 0 ||
               !sv_eq(again.address, e.address));
    buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char out[SUPPRESS_ADDRESS_MAX];

    if (!size)
        return 0;
    struct strview in = sv((const char *)data + 1, size - 1);
    switch (data[0] % 4) {
    case 0:
        fuzz_record(in);
        break;
    case 1:
        fuzz_sealed_record(in);
        break;
    case 2:
        fuzz_line(in);
        break;
    default:
        BUG_ON(suppress_canonical(in, out) > sizeof(out));
        BUG_ON(suppress_canonical_name(SUPPRESS_DOMAIN, in, out) > SUPPRESS_NAME_MAX);
    }
    return 0;
}
