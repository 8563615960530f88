/*
 * Encoding and decoding of the log; see format.h. Called by store.c and the jobs that read segments,
 * and by the fuzz target. A length is believed only within its limits, a record only with its
 * checksum, which begins with the segment's tag.
 *
 * record:  0 u16 magic  2 u16 length  4 u32 checksum of what follows
 *          8 u8 kind  9 u8 scope  10 u8 reason  11 u8 flags
 *         12 u8 name length  13 u8 note length  14 u16 address length
 *         16 u32 expires  20 u32 made  24 name, address, note, zeros to a multiple of 8
 */
#include "format.h"

#include "base/little_endian.h"

#include <stdio.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define RECORD_MAGIC  0x5350u
#define SEGMENT_MAGIC UINT64_C(0x3130505055534d50) /* "PMSUPP01" */

enum { FLAG_HASHED = 1, FLAG_DOMAIN = 2, FLAGS_KNOWN = FLAG_HASHED | FLAG_DOMAIN };

/* --- records --- */

static uint32_t checksum(const char *record, size_t len, uint32_t tag)
{
    return (uint32_t)XXH3_64bits_withSeed(record + 8, len - 8, tag);
}

size_t record_encode(struct buf *out, const struct record *r, uint32_t tag)
{
    size_t text = r->name.len + r->address.len + r->note.len;
    size_t len = (RECORD_HEADER_BYTES + text + RECORD_ALIGN - 1) & ~(size_t)(RECORD_ALIGN - 1);

    BUG_ON(r->name.len > SUPPRESS_NAME_MAX || r->note.len > SUPPRESS_NOTE_MAX ||
           r->address.len > SUPPRESS_ADDRESS_MAX || len > RECORD_MAX);
    char *p = buf_reserve(out, len);
    memset(p, 0, len);
    put16(p, RECORD_MAGIC);
    put16(p + 2, (uint16_t)len);
    p[8] = (char)r->kind;
    p[9] = (char)r->scope;
    p[10] = (char)r->reason;
    p[11] = (char)((r->hashed ? FLAG_HASHED : 0) | (r->is_domain ? FLAG_DOMAIN : 0));
    p[12] = (char)r->name.len;
    p[13] = (char)r->note.len;
    put16(p + 14, (uint16_t)r->address.len);
    put32(p + 16, r->expires_s);
    put32(p + 20, r->made_s);
    char *at = p + RECORD_HEADER_BYTES;
    const struct strview texts[] = {r->name, r->address, r->note};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        if (texts[i].len)
            memcpy(at, texts[i].ptr, texts[i].len);
        at += texts[i].len;
    }
    put32(p + 4, checksum(p, len, tag));
    buf_advance(out, len);
    return len;
}

static bool is_plausible(const struct record *r, unsigned flags)
{
    if (r->kind != RECORD_ADD && r->kind != RECORD_DEL)
        return false;
    if ((unsigned)r->scope >= SUPPRESS_SCOPE_COUNT || (unsigned)r->reason >= SUPPRESS_REASON_COUNT)
        return false;
    if ((r->scope == SUPPRESS_GLOBAL) != (r->name.len == 0) || flags & ~(unsigned)FLAGS_KNOWN)
        return false;
    return r->hashed ? r->address.len == sizeof(struct suppress_hash)
                     : r->address.len > 0 && r->address.len <= SUPPRESS_ADDRESS_MAX &&
                           suppress_is_domain(r->address) == r->is_domain;
}

int record_decode(struct strview in, uint32_t tag, struct record *ret)
{
    const char *p = in.ptr;

    if (in.len < RECORD_HEADER_BYTES || get16(p) != RECORD_MAGIC)
        return ERR_CORRUPT;
    size_t len = get16(p + 2);
    if (len < RECORD_HEADER_BYTES || len > RECORD_MAX || len % RECORD_ALIGN || len > in.len ||
        get32(p + 4) != checksum(p, len, tag))
        return ERR_CORRUPT;
    size_t name = (uint8_t)p[12], note = (uint8_t)p[13], address = get16(p + 14);
    if (RECORD_HEADER_BYTES + name + note + address > len || note > SUPPRESS_NOTE_MAX)
        return ERR_CORRUPT;
    const char *text = p + RECORD_HEADER_BYTES;
    *ret = (struct record){
        .kind = (enum record_kind)p[8],
        .scope = (enum suppress_scope)(uint8_t)p[9],
        .reason = (enum suppress_reason)(uint8_t)p[10],
        .hashed = p[11] & FLAG_HASHED,
        .is_domain = p[11] & FLAG_DOMAIN,
        .expires_s = get32(p + 16),
        .made_s = get32(p + 20),
        .name = sv(text, name),
        .address = sv(text + name, address),
        .note = sv(text + name + address, note),
    };
    return is_plausible(ret, (uint8_t)p[11]) ? (int)len : ERR_CORRUPT;
}

/* --- segments --- */

void segment_header_encode(const struct segment_header *h, char out[FORMAT_HEADER_BYTES])
{
    memset(out, 0, FORMAT_HEADER_BYTES);
    put64(out, SEGMENT_MAGIC);
    put32(out + 8, FORMAT_VERSION);
    put32(out + 12, h->number);
    put32(out + 16, h->tag);
    put64(out + 24, h->key_id);
    put64(out + 32, (uint64_t)h->made_ms);
    put64(out + 56, XXH3_64bits(out, 56));
}

int segment_header_decode(struct strview in, struct segment_header *ret)
{
    if (in.len < FORMAT_HEADER_BYTES || get64(in.ptr) != SEGMENT_MAGIC ||
        get64(in.ptr + 56) != XXH3_64bits(in.ptr, 56))
        return ERR_CORRUPT;
    if (get32(in.ptr + 8) != FORMAT_VERSION)
        return ERR_VERSION;
    *ret = (struct segment_header){
        .number = get32(in.ptr + 12),
        .tag = get32(in.ptr + 16),
        .key_id = get64(in.ptr + 24),
        .made_ms = (int64_t)get64(in.ptr + 32),
    };
    return 0;
}

uint32_t segment_file_number(const char *name)
{
    uint64_t n;

    if (strncmp(name, "list-", 5) != 0 || strlen(name) != 13 || !sv_to_u64(sv_of(name + 5), &n))
        return 0;
    return (uint32_t)n;
}

char *segment_file_name(uint32_t number, char out[SEGMENT_NAME_SIZE])
{
    snprintf(out, SEGMENT_NAME_SIZE, "list-%08u", number);
    return out;
}
