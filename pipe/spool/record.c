/*
 * Encoding and checking of the spool's structures; see record.h. The commit job encodes, recovery,
 * reads, collection and tools/pmta-spool decode. Everything here must stand any bytes: a length is
 * believed only below its limit, a record only with its checksum. Owns no memory.
 */
#include "spool/record.h"

#include "base/little_endian.h"

#include <errno.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t spool_checksum(const void *data, size_t len)
{
    return XXH3_64bits(data, len);
}

struct checksum {
    XXH3_state_t state;
};

struct checksum *checksum_new(void)
{
    struct checksum *c = aligned_alloc(64, (sizeof(*c) + 63) & ~(size_t)63);
    if (!c)
        abort();
    XXH3_64bits_reset(&c->state);
    return c;
}

void checksum_update(struct checksum *c, const void *data, size_t len)
{
    if (len)
        XXH3_64bits_update(&c->state, data, len);
}

uint64_t checksum_digest(const struct checksum *c)
{
    return XXH3_64bits_digest(&c->state);
}

void checksum_free(struct checksum *c)
{
    free(c);
}

/* Checksum of a fixed part and the variable part that belongs to it. */
static uint64_t sum_two(const char *head, size_t head_len, const char *rest, size_t rest_len)
{
    XXH3_state_t state;
    XXH3_64bits_reset(&state);
    XXH3_64bits_update(&state, head, head_len);
    if (rest_len)
        XXH3_64bits_update(&state, rest, rest_len);
    return XXH3_64bits_digest(&state);
}

enum { RECORD_SUM_AT = 56, EVENT_SUM_AT = 56, SEGMENT_SUM_AT = 56, JOURNAL_SUM_AT = 88 };

void record_encode(const struct record *r, struct strview envelope, char *out)
{
    put32(out, RECORD_MAGIC);
    put16(out + 4, RECORD_HEADER_BYTES);
    put16(out + 6, r->flags);
    put64(out + 8, r->id);
    put32(out + 16, r->envelope_bytes);
    put32(out + 20, r->rcpt_count);
    put64(out + 24, r->content_bytes);
    put64(out + 32, r->received_before);
    put32(out + 40, r->batch_offset);
    put32(out + 44, r->segment_tag);
    put64(out + 48, r->content_sum);
    put64(out + RECORD_SUM_AT, sum_two(out, RECORD_SUM_AT, envelope.ptr, envelope.len));
}

bool record_peek(const char *in, struct record *ret)
{
    if (get32(in) != RECORD_MAGIC || get16(in + 4) != RECORD_HEADER_BYTES)
        return false;
    *ret = (struct record){
        .flags = get16(in + 6),
        .id = get64(in + 8),
        .envelope_bytes = get32(in + 16),
        .rcpt_count = get32(in + 20),
        .content_bytes = get64(in + 24),
        .received_before = get64(in + 32),
        .batch_offset = get32(in + 40),
        .segment_tag = get32(in + 44),
        .content_sum = get64(in + 48),
    };
    return ret->id && ret->rcpt_count && ret->rcpt_count <= ENVELOPE_MAX_RCPTS &&
           ret->envelope_bytes <= RECORD_ENVELOPE_MAX && ret->content_bytes <= RECORD_CONTENT_MAX;
}

bool record_verify(const char *in, const struct record *r)
{
    return get64(in + RECORD_SUM_AT) ==
           sum_two(in, RECORD_SUM_AT, in + RECORD_HEADER_BYTES, r->envelope_bytes);
}

void segment_header_encode(const struct segment_header *h, char *out)
{
    memset(out, 0, SEGMENT_HEADER_BYTES);
    put32(out, SEGMENT_MAGIC);
    put16(out + 4, SEGMENT_HEADER_BYTES);
    put16(out + 6, h->kind);
    put32(out + 8, h->number);
    put32(out + 12, h->prev_number);
    put64(out + 16, h->prev_end);
    put64(out + 24, h->received);
    put64(out + 32, h->last_id);
    put64(out + 40, (uint64_t)h->created_ms);
    put32(out + 48, h->tag);
    put64(out + SEGMENT_SUM_AT, spool_checksum(out, SEGMENT_SUM_AT));
}

bool segment_header_decode(const char *in, struct segment_header *ret)
{
    if (get32(in) != SEGMENT_MAGIC || get16(in + 4) != SEGMENT_HEADER_BYTES ||
        get64(in + SEGMENT_SUM_AT) != spool_checksum(in, SEGMENT_SUM_AT))
        return false;
    *ret = (struct segment_header){
        .kind = get16(in + 6),
        .number = get32(in + 8),
        .prev_number = get32(in + 12),
        .prev_end = get64(in + 16),
        .received = get64(in + 24),
        .last_id = get64(in + 32),
        .created_ms = (int64_t)get64(in + 40),
        .tag = get32(in + 48),
    };
    return true;
}

void journal_header_encode(const struct journal_header *h, char *out)
{
    memset(out, 0, JOURNAL_HEADER_BYTES);
    put32(out, JOURNAL_MAGIC);
    put16(out + 4, JOURNAL_HEADER_BYTES);
    put64(out + 8, h->number);
    put64(out + 16, h->ledger.received);
    put64(out + 24, h->ledger.delivered);
    put64(out + 32, h->ledger.bounced);
    put64(out + 40, h->ledger.expired);
    put64(out + 48, h->ledger.deleted);
    put64(out + 56, h->ledger.corrupt);
    put64(out + 64, h->last_id);
    put64(out + 72, (uint64_t)h->created_ms);
    put64(out + JOURNAL_SUM_AT, spool_checksum(out, JOURNAL_SUM_AT));
}

bool journal_header_decode(const char *in, struct journal_header *ret)
{
    if (get32(in) != JOURNAL_MAGIC || get16(in + 4) != JOURNAL_HEADER_BYTES ||
        get64(in + JOURNAL_SUM_AT) != spool_checksum(in, JOURNAL_SUM_AT))
        return false;
    *ret = (struct journal_header){
        .number = get64(in + 8),
        .ledger = {.received = get64(in + 16),
                   .delivered = get64(in + 24),
                   .bounced = get64(in + 32),
                   .expired = get64(in + 40),
                   .deleted = get64(in + 48),
                   .corrupt = get64(in + 56)},
        .last_id = get64(in + 64),
        .created_ms = (int64_t)get64(in + 72),
    };
    return true;
}

size_t event_encode(struct buf *out, const struct event *e)
{
    size_t text = MIN_OF(e->text.len, (size_t)EVENT_TEXT_MAX);
    size_t total = (EVENT_HEADER_BYTES + text + RECORD_ALIGN - 1) & ~(size_t)(RECORD_ALIGN - 1);
    char *p = buf_reserve(out, total);

    memset(p, 0, EVENT_HEADER_BYTES);
    memset(p + total - RECORD_ALIGN, 0, RECORD_ALIGN);
    put32(p, EVENT_MAGIC);
    put16(p + 4, (uint16_t)total);
    p[6] = (char)e->flags;
    p[7] = (char)e->state;
    put64(p + 8, e->id);
    put32(p + 16, e->place.segment);
    put32(p + 20, e->place.offset);
    put32(p + 24, e->place.length);
    put16(p + 28, e->rcpt);
    put16(p + 30, e->attempts);
    put64(p + 32, (uint64_t)e->next_attempt_ms);
    put32(p + 40, e->count);
    put16(p + 44, e->code);
    p[46] = (char)e->phase;
    put16(p + 48, (uint16_t)text);
    put32(p + 52, e->first_attempt_s);
    if (text)
        memcpy(p + EVENT_HEADER_BYTES, e->text.ptr, text);
    put64(p + EVENT_SUM_AT, sum_two(p, EVENT_SUM_AT, p + EVENT_HEADER_BYTES, text));
    buf_advance(out, total);
    return total;
}

int event_decode(struct strview in, struct event *ret, size_t *ret_bytes)
{
    const char *p = in.ptr;
    if (in.len < EVENT_HEADER_BYTES)
        return in.len >= 4 && get32(p) != EVENT_MAGIC ? ERR_CORRUPT : -EAGAIN;
    size_t total = get16(p + 4), text = get16(p + 48);
    if (get32(p) != EVENT_MAGIC || text > EVENT_TEXT_MAX ||
        total != ((EVENT_HEADER_BYTES + text + RECORD_ALIGN - 1) & ~(size_t)(RECORD_ALIGN - 1)))
        return ERR_CORRUPT;
    if (in.len < total)
        return -EAGAIN;
    if (get64(p + EVENT_SUM_AT) != sum_two(p, EVENT_SUM_AT, p + EVENT_HEADER_BYTES, text))
        return ERR_CORRUPT;
    *ret = (struct event){
        .flags = (uint8_t)p[6],
        .state = (uint8_t)p[7],
        .id = get64(p + 8),
        .place = {get32(p + 16), get32(p + 20), get32(p + 24)},
        .rcpt = get16(p + 28),
        .attempts = get16(p + 30),
        .next_attempt_ms = (int64_t)get64(p + 32),
        .count = get32(p + 40),
        .first_attempt_s = get32(p + 52),
        .code = get16(p + 44),
        .phase = (uint8_t)p[46],
        .text = sv(p + EVENT_HEADER_BYTES, text),
    };
    *ret_bytes = total;
    return ret->state > STATE_MARK || ret->state == SPOOL_QUEUED ? ERR_CORRUPT : 0;
}

void event_relocate(char *p, const struct spool_place *to)
{
    p[6] = (char)(p[6] | EVENT_COPY);
    put32(p + 16, to->segment);
    put32(p + 20, to->offset);
    put32(p + 24, to->length);
    put64(p + EVENT_SUM_AT, sum_two(p, EVENT_SUM_AT, p + EVENT_HEADER_BYTES, get16(p + 48)));
}

void ledger_count(struct spool_ledger *l, const struct event *e)
{
    if (e->flags & EVENT_COPY)
        return;
    if (e->state == SPOOL_DELIVERED)
        l->delivered += e->count;
    else if (e->state == SPOOL_BOUNCED)
        l->bounced += e->count;
    else if (e->state == SPOOL_EXPIRED)
        l->expired += e->count;
    else if (e->state == SPOOL_DELETED)
        l->deleted += e->count;
    else if (e->state == STATE_CORRUPT)
        l->corrupt += e->count;
}

void ledger_count_bytes(struct spool_ledger *l, struct strview encoded)
{
    struct event e;
    size_t n;
    while (encoded.len) {
        BUG_ON(event_decode(encoded, &e, &n) < 0);
        ledger_count(l, &e);
        encoded = sv(encoded.ptr + n, encoded.len - n);
    }
}
