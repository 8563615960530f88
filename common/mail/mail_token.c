/*
 * Tokens of bounce and unsubscribe addresses; see mail_token.h. Made by the pipe for each message,
 * read by receivers at RCPT, by the pipe for reports and by the web process for links.
 *
 * core:  1 byte what (bits 0-1 use, 2 hash instead of the address, 3 scope name follows, 4-5 scope,
 *        6-7 version 0), day, pipe, origin, [hash of the recipient, 8], hash of the whole, 8
 * text:  base32(core) ["-" scope] ["-" user=domain]
 *
 * In scope and user, bytes other than a-z 0-9 _ (and . - in user) are written =xx. A recipient that
 * has no such form (quoted local part, domain literal, UTF-8 domain) is "==" and the whole address so.
 *
 * The hash covers the core and the text in lower case, as it stands: nothing is decoded before it is
 * known to be ours. Nothing allocates but the caller's buf.
 */
#include "mail/mail_token.h"

#include <errno.h>
#include <sodium.h>
#include <unistd.h>

enum {
    USE_MASK = 3,
    FORM_HASH = 4,
    FORM_SCOPE = 8,
    SCOPE_SHIFT = 4,
    SCOPE_MASK = 3,
    VERSION_SHIFT = 6,
    FACTS = 9, /* bytes: what, day, pipe, origin */
    HASH = 8,
    CORE_MAX = FACTS + 2 * HASH,
    TEXT_OF_CORE_MAX = 40,
    DAY_MS = 24 * 3600 * 1000,
    SECRET_MAX = 4096,
};

static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz234567";
static const char hex[] = "0123456789abcdef";

/* --- key --- */

int mail_token_key_derive(struct strview secret, struct mail_token_key *ret, struct err *e)
{
    static const char context[] = "pipemta mail token 1";

    if (sodium_init() < 0)
        return err_set(e, -ENOSYS, "libsodium cannot be used");
    if (secret.len < MAIL_TOKEN_SECRET_MIN)
        return err_set(e, ERR_SYNTAX, "the secret has %zu bytes (expected %d or more)", secret.len,
                       MAIL_TOKEN_SECRET_MIN);
    uint8_t master[crypto_generichash_KEYBYTES_MAX];
    crypto_generichash(master, sizeof(master), (const uint8_t *)secret.ptr, secret.len, NULL, 0);
    crypto_generichash(ret->bytes, sizeof(ret->bytes), (const uint8_t *)context, sizeof(context),
                       master, sizeof(master));
    sodium_memzero(master, sizeof(master));
    return 0;
}

int mail_token_key_read(int fd, struct mail_token_key *ret, struct err *e)
{
    char secret[SECRET_MAX];
    size_t n = 0;
    ssize_t got;

    while (n < sizeof(secret) && (got = pread(fd, secret + n, sizeof(secret) - n, (off_t)n)) != 0) {
        if (got < 0 && errno != EINTR)
            return err_set(e, -errno, "cannot read the secret");
        n += got > 0 ? (size_t)got : 0;
    }
    int status = mail_token_key_derive(sv(secret, n), ret, e);
    sodium_memzero(secret, sizeof(secret));
    return status;
}

/* --- what it says --- */

uint16_t mail_token_pipe(struct strview name)
{
    uint32_t h = 2166136261u; /* FNV-1a */

    for (size_t i = 0; i < name.len; i++)
        h = (h ^ (uint8_t)ascii_lower(name.ptr[i])) * 16777619u;
    return (uint16_t)(h >> 16 ^ h);
}

uint16_t mail_token_day(int64_t wall_ms)
{
    return (uint16_t)(wall_ms / DAY_MS);
}

bool mail_token_is_old(const struct mail_token *t, int64_t wall_ms, int64_t max_age_ms)
{
    int64_t days = max_age_ms / DAY_MS + (max_age_ms % DAY_MS != 0);

    return max_age_ms && (int64_t)mail_token_day(wall_ms) - t->day > days;
}

static void put_u16(uint8_t *to, uint16_t n)
{
    to[0] = (uint8_t)(n >> 8);
    to[1] = (uint8_t)n;
}

static void facts_of(const struct mail_token *t, bool hash, uint8_t *to)
{
    to[0] = (uint8_t)(t->use | (hash ? FORM_HASH : 0) | (t->scope_name[0] ? FORM_SCOPE : 0) |
                      (t->scope & SCOPE_MASK) << SCOPE_SHIFT);
    put_u16(to + 1, t->day);
    put_u16(to + 3, t->pipe);
    put_u16(to + 5, (uint16_t)(t->origin >> 16));
    put_u16(to + 7, (uint16_t)t->origin);
}

static bool facts_from(const uint8_t *at, struct mail_token *t)
{
    t->use = at[0] & USE_MASK;
    t->scope = at[0] >> SCOPE_SHIFT & SCOPE_MASK;
    t->day = (uint16_t)(at[1] << 8 | at[2]);
    t->pipe = (uint16_t)(at[3] << 8 | at[4]);
    t->origin = (uint32_t)at[5] << 24 | (uint32_t)at[6] << 16 | (uint32_t)at[7] << 8 | at[8];
    return (t->use == MAIL_TOKEN_BOUNCE || t->use == MAIL_TOKEN_UNSUBSCRIBE) &&
           at[0] >> VERSION_SHIFT == 0;
}

/* --- hashes --- */

static void hash_rcpt(const struct mail_token_key *key, struct strview rcpt, uint8_t ret[HASH])
{
    crypto_generichash_state state;
    uint8_t long_hash[crypto_generichash_BYTES_MIN];
    char piece[128];

    crypto_generichash_init(&state, key->bytes, sizeof(key->bytes), sizeof(long_hash));
    crypto_generichash_update(&state, (const uint8_t *)"rcpt", 4);
    for (size_t at = 0; at < rcpt.len;) {
        size_t n = MIN_OF(rcpt.len - at, sizeof(piece));
        memcpy(piece, rcpt.ptr + at, n);
        str_lower(piece, n);
        crypto_generichash_update(&state, (const uint8_t *)piece, n);
        at += n;
    }
    crypto_generichash_final(&state, long_hash, sizeof(long_hash));
    memcpy(ret, long_hash, HASH);
}

/* Of the core without its last part, and of the text behind it in lower case. */
static void hash_all(const struct mail_token_key *key, const uint8_t *core, size_t len,
                     struct strview text, uint8_t ret[HASH])
{
    crypto_generichash_state state;
    uint8_t long_hash[crypto_generichash_BYTES_MIN];

    crypto_generichash_init(&state, key->bytes, sizeof(key->bytes), sizeof(long_hash));
    crypto_generichash_update(&state, (const uint8_t *)"all:", 4);
    crypto_generichash_update(&state, core, len);
    crypto_generichash_update(&state, (const uint8_t *)text.ptr, text.len);
    crypto_generichash_final(&state, long_hash, sizeof(long_hash));
    memcpy(ret, long_hash, HASH);
}

/* --- base32 of the core --- */

static size_t base32_len(size_t bytes)
{
    return (bytes * 8 + 4) / 5;
}

static void base32_put(const uint8_t *in, size_t len, char *out)
{
    uint32_t bits = 0;
    unsigned have = 0;

    for (size_t i = 0; i < len; i++) {
        bits = bits << 8 | in[i];
        for (have += 8; have >= 5; have -= 5)
            *out++ = alphabet[bits >> (have - 5) & 31];
    }
    if (have)
        *out = alphabet[bits << (5 - have) & 31];
}

static int base32_digit(char c)
{
    return c >= 'a' && c <= 'z' ? c - 'a' : c >= '2' && c <= '7' ? c - '2' + 26 : -1;
}

/* Exactly len bytes from base32_len(len) characters in lower case; unused bits are 0. */
static bool base32_get(const char *in, size_t len, uint8_t *out)
{
    uint32_t bits = 0;
    unsigned have = 0;

    for (size_t i = 0; i < base32_len(len); i++) {
        int d = base32_digit(in[i]);
        if (d < 0)
            return false;
        bits = bits << 5 | (uint32_t)d;
        have += 5;
        if (have >= 8) {
            have -= 8;
            *out++ = (uint8_t)(bits >> have);
        }
    }
    return (bits & ((1u << have) - 1)) == 0;
}

/* --- text behind the core --- */

/* A place with an end, so that what does not fit costs nothing. */
struct text {
    char bytes[MAIL_TOKEN_MAX];
    size_t len;
    bool full;
};

static void put(struct text *t, char c)
{
    if (t->len == sizeof(t->bytes))
        t->full = true;
    else
        t->bytes[t->len++] = c;
}

static bool is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || ascii_is_digit(c) || c == '_';
}

/* also: further bytes that stay as they are */
static void put_escaped(struct text *t, struct strview s, const char *also, bool lower)
{
    for (size_t i = 0; i < s.len && !t->full; i++) {
        char c = lower ? ascii_lower(s.ptr[i]) : s.ptr[i];
        if (is_plain(c) || (c && strchr(also, c))) {
            put(t, c);
            continue;
        }
        put(t, '=');
        put(t, hex[(uint8_t)c >> 4]);
        put(t, hex[(uint8_t)c & 15]);
    }
}

static bool has_plain_dots(struct strview s)
{
    bool after_dot = true;

    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '.' && after_dot)
            return false;
        after_dot = s.ptr[i] == '.';
    }
    return s.len && !after_dot;
}

static bool is_plain_domain(struct strview s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = ascii_lower(s.ptr[i]);
        if (!is_plain(c) && c != '.' && c != '-')
            return false;
    }
    return has_plain_dots(s);
}

static void put_rcpt(struct text *t, struct strview rcpt)
{
    size_t at = rcpt.len;

    while (at > 0 && rcpt.ptr[at - 1] != '@')
        at--;
    struct strview user = sv(rcpt.ptr, at ? at - 1 : 0);
    struct strview domain = sv(rcpt.ptr + at, rcpt.len - at);
    if (!at || !has_plain_dots(user) || !is_plain_domain(domain)) {
        put(t, '=');
        put(t, '=');
        put_escaped(t, rcpt, "", true);
        return;
    }
    put_escaped(t, user, ".-", true);
    put(t, '=');
    put_escaped(t, domain, ".-", true);
}

static int hex_digit(char c)
{
    const char *at = c ? strchr(hex, c) : NULL;
    return at ? (int)(at - hex) : -1;
}

/* False when it does not fit into size - 1 bytes, or is not what put_escaped makes. */
static bool get_escaped(struct strview s, char *to, size_t size)
{
    size_t n = 0;

    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (c == '=') {
            if (s.len - i < 3 || hex_digit(s.ptr[i + 1]) < 0 || hex_digit(s.ptr[i + 2]) < 0)
                return false;
            c = (char)(hex_digit(s.ptr[i + 1]) << 4 | hex_digit(s.ptr[i + 2]));
            i += 2;
        }
        if (n + 1 >= size || !c)
            return false;
        to[n++] = c;
    }
    to[n] = '\0';
    return true;
}

static bool get_rcpt(struct strview s, char *to, size_t size)
{
    size_t at = s.len;

    if (s.len >= 2 && s.ptr[0] == '=' && s.ptr[1] == '=')
        return get_escaped(sv(s.ptr + 2, s.len - 2), to, size);
    while (at > 0 && s.ptr[at - 1] != '=')
        at--;
    if (at < 2 || !get_escaped(sv(s.ptr, at - 1), to, size))
        return false;
    size_t n = strlen(to);
    if (n + 1 + s.len - at >= size)
        return false;
    to[n++] = '@';
    memcpy(to + n, s.ptr + at, s.len - at);
    to[n + s.len - at] = '\0';
    return true;
}

/* --- make --- */

static bool append(const struct mail_token_key *key, const struct mail_token *t,
                   const struct text *text, size_t room, struct buf *out)
{
    uint8_t core[CORE_MAX];
    char coded[TEXT_OF_CORE_MAX];
    size_t len = FACTS;

    facts_of(t, !t->has_rcpt, core);
    if (!t->has_rcpt) {
        memcpy(core + len, t->rcpt_hash, HASH);
        len += HASH;
    }
    size_t chars = base32_len(len + HASH);
    if (text->full || chars + text->len > MIN_OF(room, (size_t)MAIL_TOKEN_MAX))
        return false;
    hash_all(key, core, len, sv(text->bytes, text->len), core + len);
    base32_put(core, len + HASH, coded);
    buf_append(out, coded, chars);
    buf_append(out, text->bytes, text->len);
    return true;
}

int mail_token_make(const struct mail_token_key *key, struct mail_token *t, struct strview rcpt,
                    size_t room, struct buf *out)
{
    struct text text;

    text.len = 0;
    text.full = false;
    hash_rcpt(key, rcpt, t->rcpt_hash);
    t->rcpt[0] = '\0';
    if (t->scope_name[0]) {
        put(&text, '-');
        put_escaped(&text, sv_of(t->scope_name), "", false);
    }
    size_t without = text.len;
    put(&text, '-');
    put_rcpt(&text, rcpt);
    t->has_rcpt = rcpt.len < sizeof(t->rcpt);
    if (t->has_rcpt && append(key, t, &text, room, out)) {
        memcpy(t->rcpt, rcpt.ptr, rcpt.len);
        t->rcpt[rcpt.len] = '\0';
        str_lower(t->rcpt, rcpt.len);
        return 0;
    }
    t->has_rcpt = false;
    text.len = without;
    text.full = without == sizeof(text.bytes);
    return append(key, t, &text, room, out) ? 0 : ERR_LIMIT;
}

/* --- read --- */

/* What follows the core, known to be ours. */
static bool read_text(struct strview s, bool has_scope, struct mail_token *t)
{
    struct strview part;

    if (has_scope) {
        if (!s.len || s.ptr[0] != '-')
            return false;
        s = sv(s.ptr + 1, s.len - 1);
        ptrdiff_t end = t->has_rcpt ? sv_find(s, '-') : (ptrdiff_t)s.len;
        if (end < 0)
            return false;
        part = sv(s.ptr, (size_t)end);
        if (!get_escaped(part, t->scope_name, sizeof(t->scope_name)))
            return false;
        s = sv(s.ptr + end, s.len - (size_t)end);
    }
    if (!t->has_rcpt)
        return s.len == 0;
    return s.len > 1 && s.ptr[0] == '-' &&
           get_rcpt(sv(s.ptr + 1, s.len - 1), t->rcpt, sizeof(t->rcpt));
}

int mail_token_read(const struct mail_token_key *key, struct strview text, struct mail_token *ret)
{
    char lower[MAIL_TOKEN_MAX];
    uint8_t core[CORE_MAX] = {0}, hash[HASH];
    const size_t facts_chars = 2; /* tell the first byte */

    *ret = (struct mail_token){0};
    if (text.len < facts_chars || text.len > sizeof(lower))
        return ERR_SYNTAX;
    memcpy(lower, text.ptr, text.len);
    str_lower(lower, text.len);
    int high = base32_digit(lower[0]), low = base32_digit(lower[1]);
    if (high < 0 || low < 0)
        return ERR_SYNTAX;
    uint8_t what = (uint8_t)(high << 3 | low >> 2);
    size_t len = FACTS + (what & FORM_HASH ? HASH : 0);
    size_t chars = base32_len(len + HASH);
    if (text.len < chars || !base32_get(lower, len + HASH, core) || !facts_from(core, ret))
        return ERR_SYNTAX;
    struct strview rest = sv(lower + chars, text.len - chars);
    hash_all(key, core, len, rest, hash);
    if (sodium_memcmp(hash, core + len, HASH) != 0)
        return ERR_AUTH;
    ret->has_rcpt = !(what & FORM_HASH);
    if (!read_text(rest, what & FORM_SCOPE, ret))
        return ERR_SYNTAX;
    if (ret->has_rcpt)
        hash_rcpt(key, sv_of(ret->rcpt), ret->rcpt_hash);
    else
        memcpy(ret->rcpt_hash, core + FACTS, HASH);
    return 0;
}

bool mail_token_is_rcpt(const struct mail_token_key *key, const struct mail_token *t,
                        struct strview candidate)
{
    uint8_t hash[HASH];

    hash_rcpt(key, candidate, hash);
    return sodium_memcmp(hash, t->rcpt_hash, HASH) == 0;
}
