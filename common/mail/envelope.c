/*
 * Envelope encoding; see envelope.h. Recipients come one tag each, in order; the fields of one
 * recipient are inside its value: u8 notify, u16 address length, address, rest is ORCPT. What the
 * pipe chose comes behind all that: u16 number of the recipient, name.
 */
#include "mail/envelope.h"

/* FIELD(NAME, tag, member, kind): kind is sv, or the width of a little-endian number */
#define ENVELOPE_FIELDS(FIELD)                  \
    FIELD(RECEIVED, 1, received_ms, u64)        \
    FIELD(SENDER, 2, sender, sv)                \
    FIELD(ENVID, 3, envid, sv)                  \
    FIELD(SOURCE, 4, source, sv)                \
    FIELD(PEER, 5, peer, sv)                    \
    FIELD(USER, 6, user, sv)                    \
    FIELD(JOB, 7, job, sv)                      \
    FIELD(VMTA, 8, vmta, sv)                    \
    FIELD(CONTENT_BYTES, 9, content_bytes, u64) \
    FIELD(HEADER_BYTES, 10, header_bytes, u64)  \
    FIELD(STUFFED_DOTS, 11, stuffed_dots, u64)  \
    FIELD(RET, 12, ret, u64)                    \
    FIELD(FLAGS, 13, flags, u64)                \
    FIELD(SCHEDULE, 14, schedule, sv)           \
    FIELD(REMOTE_MTA, 15, remote_mta, sv)       \
    FIELD(PRIORITY, 16, priority, u64)          \
    FIELD(CHOSEN_VMTA, 17, chosen_vmta, sv)     \
    FIELD(FROM_DOMAIN, 18, from_domain, sv)     \
    FIELD(SENDER_DOMAIN, 19, sender_domain, sv) \
    FIELD(RELAXED_HASH, 20, relaxed_hash, sv)   \
    FIELD(SIMPLE_HASH, 21, simple_hash, sv)     \
    FIELD(DKIM_OPTIONS, 22, dkim_options, sv)   \
    FIELD(BIMI, 23, bimi, sv)                   \
    FIELD(LIST_FIELDS, 24, list_fields, sv)     \
    FIELD(RECEIVE, 25, receive_ms, u32)         \
    FIELD(ACCT_HEADERS, 40, acct_headers, sv)   \
    FIELD(LOCAL, 42, local, sv)

enum envelope_tag {
#define TAG_ENUM(name, tag, member, kind) TAG_##name = (tag),
    ENVELOPE_FIELDS(TAG_ENUM)
#undef TAG_ENUM
        TAG_RCPT = 32,
    TAG_RCPT_VMTA = 33,
    TAG_RCPT_SUPPRESSED = 34,
};

static void put_number(char *to, uint64_t n, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        to[i] = (char)(n >> (8 * i));
}

static uint64_t get_number(const char *from, size_t bytes)
{
    uint64_t n = 0;
    for (size_t i = 0; i < bytes; i++)
        n |= (uint64_t)(unsigned char)from[i] << (8 * i);
    return n;
}

static char *put_head(struct buf *out, unsigned tag, size_t len)
{
    char *to = buf_reserve(out, 6 + len);
    put_number(to, tag, 2);
    put_number(to + 2, len, 4);
    buf_advance(out, 6 + len);
    return to + 6;
}

static void put_sv(struct buf *out, unsigned tag, struct strview v)
{
    if (v.len)
        memcpy(put_head(out, tag, v.len), v.ptr, v.len);
}

static void put_u64(struct buf *out, unsigned tag, uint64_t n)
{
    if (n)
        put_number(put_head(out, tag, 8), n, 8);
}

static void put_u32(struct buf *out, unsigned tag, uint32_t n)
{
    if (n)
        put_number(put_head(out, tag, 4), n, 4);
}

static void put_rcpt_vmtas(struct buf *out, const struct envelope *env)
{
    for (uint32_t i = 0; i < env->rcpt_count; i++) {
        struct strview name = env->rcpts[i].vmta;
        if (!name.len)
            continue;
        char *to = put_head(out, TAG_RCPT_VMTA, 2 + name.len);
        put_number(to, i, 2);
        memcpy(to + 2, name.ptr, name.len);
    }
}

void envelope_append_suppressed(struct buf *out, const struct envelope *env)
{
    for (uint32_t i = 0; i < env->rcpt_count; i++) {
        if (!env->rcpts[i].suppressed)
            continue;
        char *to = put_head(out, TAG_RCPT_SUPPRESSED, 4);
        put_number(to, i, 2);
        to[2] = (char)env->rcpts[i].suppressed;
        to[3] = (char)env->rcpts[i].suppressed_scope;
    }
}

void envelope_append_headers(struct buf *out, const struct envelope *env)
{
    put_sv(out, TAG_ACCT_HEADERS, env->acct_headers);
}

void envelope_append_choice(struct buf *out, const struct envelope *env)
{
    put_sv(out, TAG_CHOSEN_VMTA, env->chosen_vmta);
    put_rcpt_vmtas(out, env);
}

void envelope_encode(struct buf *out, const struct envelope *env)
{
#define FIELD_PUT(name, tag, member, kind) put_##kind(out, tag, env->member);
    ENVELOPE_FIELDS(FIELD_PUT)
#undef FIELD_PUT
    for (uint32_t i = 0; i < env->rcpt_count; i++) {
        const struct envelope_rcpt *r = &env->rcpts[i];
        char *to = put_head(out, TAG_RCPT, 3 + r->address.len + r->orcpt.len);
        to[0] = (char)r->notify;
        put_number(to + 1, r->address.len, 2);
        memcpy(to + 3, r->address.ptr, r->address.len);
        if (r->orcpt.len)
            memcpy(to + 3 + r->address.len, r->orcpt.ptr, r->orcpt.len);
    }
    put_rcpt_vmtas(out, env);
    envelope_append_suppressed(out, env);
}

static uint32_t count_rcpts(struct strview in)
{
    uint32_t count = 0;
    while (in.len >= 6) {
        size_t len = get_number(in.ptr + 2, 4);
        if (len > in.len - 6)
            break;
        count += get_number(in.ptr, 2) == TAG_RCPT;
        in = sv(in.ptr + 6 + len, in.len - 6 - len);
    }
    return count;
}

static int decode_rcpt(struct strview v, struct envelope_rcpt *ret)
{
    if (v.len < 3)
        return ERR_CORRUPT;
    size_t len = get_number(v.ptr + 1, 2);
    if (len > v.len - 3)
        return ERR_CORRUPT;
    ret->notify = (uint8_t)v.ptr[0];
    ret->address = sv(v.ptr + 3, len);
    ret->orcpt = sv(v.ptr + 3 + len, v.len - 3 - len);
    return 0;
}

static int decode_rcpt_vmta(struct strview v, struct envelope *ret, uint32_t rcpt_count)
{
    if (v.len < 2 || get_number(v.ptr, 2) >= rcpt_count)
        return ERR_CORRUPT;
    ret->rcpts[get_number(v.ptr, 2)].vmta = sv(v.ptr + 2, v.len - 2);
    return 0;
}

static int decode_rcpt_suppressed(struct strview v, struct envelope *ret, uint32_t rcpt_count)
{
    if (v.len != 4 || get_number(v.ptr, 2) >= rcpt_count)
        return ERR_CORRUPT;
    struct envelope_rcpt *r = &ret->rcpts[get_number(v.ptr, 2)];
    r->suppressed = (uint8_t)v.ptr[2];
    r->suppressed_scope = (uint8_t)v.ptr[3];
    return 0;
}

#define get_sv(v)  (v)
#define get_u64(v) get_number((v).ptr, (v).len)
#define get_u32(v) ((uint32_t)get_number((v).ptr, (v).len))
#define ok_sv(v)   true
#define ok_u32(v)  ((v).len == 4)
#define ok_u64(v)  ((v).len == 8)

int envelope_decode(struct strview in, struct arena *arena, struct envelope *ret, struct err *e)
{
    uint32_t room = count_rcpts(in);

    *ret = (struct envelope){0};
    if (room > ENVELOPE_MAX_RCPTS)
        return err_set(e, ERR_CORRUPT, "envelope has %u recipients", room);
    ret->rcpts = arena_alloc(arena, room * sizeof(ret->rcpts[0]));
    while (in.len) {
        size_t len = in.len < 6 ? 0 : get_number(in.ptr + 2, 4);
        if (in.len < 6 || len > in.len - 6)
            return err_set(e, ERR_CORRUPT, "envelope ends inside a field");
        struct strview v = sv(in.ptr + 6, len);
        switch (get_number(in.ptr, 2)) {
#define FIELD_GET(name, tag, member, kind)                                                 \
    case TAG_##name:                                                                       \
        if (!ok_##kind(v))                                                                 \
            return err_set(e, ERR_CORRUPT, "envelope field %d has %zu bytes", tag, v.len); \
        ret->member = get_##kind(v);                                                       \
        break;
            ENVELOPE_FIELDS(FIELD_GET)
#undef FIELD_GET
        case TAG_RCPT:
            if (decode_rcpt(v, &ret->rcpts[ret->rcpt_count]) < 0)
                return err_set(e, ERR_CORRUPT, "envelope recipient %u is cut short",
                               ret->rcpt_count);
            ret->rcpt_count++;
            break;
        case TAG_RCPT_VMTA:
            if (decode_rcpt_vmta(v, ret, room) < 0)
                return err_set(e, ERR_CORRUPT, "envelope names a virtual MTA of no recipient");
            break;
        case TAG_RCPT_SUPPRESSED:
            if (decode_rcpt_suppressed(v, ret, room) < 0)
                return err_set(e, ERR_CORRUPT, "envelope suppresses no recipient");
            break;
        }
        in = sv(v.ptr + len, in.len - 6 - len);
    }
    return 0;
}

struct strview address_domain(struct strview address)
{
    for (size_t i = address.len; i > 0; i--) {
        if (address.ptr[i - 1] != '@')
            continue;
        struct strview d = sv(address.ptr + i, address.len - i);
        if (d.len && d.ptr[d.len - 1] == '.')
            d.len--;
        return d;
    }
    return sv(NULL, 0);
}
