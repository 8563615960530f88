/*
 * What addresses and scopes of the suppression list are compared by; see suppress.h. Called by who
 * looks up (receiver, pipe) for every recipient, and by pmta-suppress for every entry: the usual
 * address costs one pass and one SipHash. Pure functions; no memory is kept.
 */
#include "suppress/suppress.h"

#include "mail/address.h"

#include <errno.h>
#include <idn2.h>
#include <sodium.h>
#include <stdio.h>
#include <unistd.h>

_Static_assert(crypto_shorthash_siphashx24_KEYBYTES == sizeof(struct suppress_key), "key");
_Static_assert(crypto_shorthash_siphashx24_BYTES == sizeof(struct suppress_hash), "hash");

enum { SECRET_MIN = 32, SECRET_MAX = 4096 };

static const char *const scope_names[] = {
#define SCOPE_NAME(id, text) text,
    SUPPRESS_SCOPES(SCOPE_NAME)
#undef SCOPE_NAME
};

static const char *const reason_names[] = {
#define REASON_NAME(id, text) text,
    SUPPRESS_REASONS(REASON_NAME)
#undef REASON_NAME
};

const char *suppress_scope_name(enum suppress_scope s)
{
    return (unsigned)s < SUPPRESS_SCOPE_COUNT ? scope_names[s] : "?";
}

const char *suppress_reason_name(enum suppress_reason r)
{
    return (unsigned)r < SUPPRESS_REASON_COUNT ? reason_names[r] : "?";
}

enum suppress_scope suppress_scope_find(struct strview name)
{
    unsigned i = 0;
    while (i < SUPPRESS_SCOPE_COUNT && !sv_eq_nocase(name, sv_of(scope_names[i])))
        i++;
    return (enum suppress_scope)i;
}

enum suppress_reason suppress_reason_find(struct strview name)
{
    unsigned i = 0;
    while (i < SUPPRESS_REASON_COUNT && !sv_eq_nocase(name, sv_of(reason_names[i])))
        i++;
    return (enum suppress_reason)i;
}

/* --- canonical forms --- */

static size_t to_a_labels(struct strview domain, char *out, size_t room)
{
    char u8[1024];
    char *ascii = NULL;

    if (domain.len >= sizeof(u8) || memchr(domain.ptr, '\0', domain.len))
        return 0;
    memcpy(u8, domain.ptr, domain.len);
    u8[domain.len] = '\0';
    if (idn2_to_ascii_8z(u8, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL) != IDN2_OK)
        return 0;
    size_t len = strlen(ascii);
    if (len <= room)
        memcpy(out, ascii, len);
    idn2_free(ascii);
    return len <= room ? len : 0;
}

/* Lower case; *ret_ascii tells whether all of it was ASCII. */
static void copy_lower(struct strview s, char *out, bool *ret_ascii)
{
    unsigned char seen = 0;

    for (size_t i = 0; i < s.len; i++) {
        seen |= (unsigned char)s.ptr[i];
        out[i] = ascii_lower(s.ptr[i]);
    }
    *ret_ascii = seen < 0x80;
}

/* A domain that is no valid IDN stays as it is, in lower case: it is still equal to itself. */
static size_t canonical_domain(struct strview domain, char *out, size_t room)
{
    bool ascii;

    if (domain.len > 1 && domain.ptr[domain.len - 1] == '.')
        domain.len--;
    if (domain.len == 0 || domain.len > room)
        return 0;
    copy_lower(domain, out, &ascii);
    size_t len = ascii ? 0 : to_a_labels(domain, out, room);
    return len ? len : domain.len;
}

static size_t canonical(const char *at, struct strview address, char out[SUPPRESS_ADDRESS_MAX])
{
    size_t local = (size_t)(at - address.ptr);
    bool ascii;

    if (local > ADDRESS_LOCAL_MAX)
        return 0;
    copy_lower(sv(address.ptr, local + 1), out, &ascii);
    size_t room = MIN_OF((size_t)SUPPRESS_ADDRESS_MAX - local - 1, (size_t)ADDRESS_DOMAIN_MAX);
    size_t domain = canonical_domain(sv(at + 1, address.len - local - 1), out + local + 1, room);
    return domain ? local + 1 + domain : 0;
}

size_t suppress_canonical(struct strview address, char out[SUPPRESS_ADDRESS_MAX])
{
    const char *at = address.ptr && address.len ? memrchr(address.ptr, '@', address.len) : NULL;
    return at && at != address.ptr ? canonical(at, address, out) : 0;
}

size_t suppress_canonical_entry(struct strview address, char out[SUPPRESS_ADDRESS_MAX])
{
    const char *at = address.len ? memrchr(address.ptr, '@', address.len) : NULL;
    return at ? canonical(at, address, out) : 0;
}

size_t suppress_canonical_name(enum suppress_scope scope, struct strview name,
                               char out[SUPPRESS_NAME_MAX])
{
    bool ascii;

    if (scope == SUPPRESS_GLOBAL || name.len == 0 || name.len > SUPPRESS_NAME_MAX)
        return 0;
    if (scope == SUPPRESS_DOMAIN)
        return canonical_domain(name, out, SUPPRESS_NAME_MAX);
    if (scope == SUPPRESS_PIPE)
        copy_lower(name, out, &ascii);
    else
        memcpy(out, name.ptr, name.len);
    return name.len;
}

/* --- keys and hashes --- */

int suppress_key_derive(struct strview secret, struct suppress_key *ret, struct err *e)
{
    static const char use[] = "pmta suppression list 1";

    if (sodium_init() < 0)
        return err_set(e, ERR_KEY, "libsodium cannot be used");
    if (secret.len < SECRET_MIN)
        return err_set(e, ERR_KEY, "the secret has %zu bytes, expected %d or more", secret.len,
                       SECRET_MIN);
    /* the secret is of any length, a key of BLAKE2b is not: first one hash of it */
    uint8_t whole[crypto_generichash_KEYBYTES];
    crypto_generichash(whole, sizeof(whole), (const unsigned char *)secret.ptr, secret.len, NULL,
                       0);
    crypto_generichash(ret->bytes, sizeof(ret->bytes), (const unsigned char *)use, sizeof(use) - 1,
                       whole, sizeof(whole));
    sodium_memzero(whole, sizeof(whole));
    return 0;
}

int suppress_key_read(int fd, struct suppress_key *ret, struct err *e)
{
    char bytes[SECRET_MAX];
    ssize_t n = pread(fd, bytes, sizeof(bytes), 0);

    if (n < 0)
        return err_set(e, -errno, "the secret cannot be read");
    int code = suppress_key_derive(sv(bytes, (size_t)n), ret, e);
    sodium_memzero(bytes, sizeof(bytes));
    return code;
}

static struct suppress_hash hash_of(const struct suppress_key *k, const void *data, size_t len)
{
    struct suppress_hash h;
    crypto_shorthash_siphashx24((unsigned char *)&h, data, len, k->bytes);
    return h;
}

struct suppress_hash suppress_hash_address(const struct suppress_key *k, struct strview canonical)
{
    return hash_of(k, canonical.ptr, canonical.len);
}

/* No address begins with a NUL, so no scope has the hash of one. */
struct suppress_hash suppress_hash_scope(const struct suppress_key *k, enum suppress_scope scope,
                                         struct strview canonical_name)
{
    char text[2 + SUPPRESS_NAME_MAX] = {0, (char)scope};

    if (scope == SUPPRESS_GLOBAL)
        return (struct suppress_hash){0, 0};
    BUG_ON(canonical_name.len > SUPPRESS_NAME_MAX);
    memcpy(text + 2, canonical_name.ptr, canonical_name.len);
    return hash_of(k, text, 2 + canonical_name.len);
}
