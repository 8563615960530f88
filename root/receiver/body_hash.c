/*
 * Body hashes; see body_hash.h. Called by smtp_server_data.c for each piece of a body whose pipe may
 * sign it. BoringSSL's SHA-256 keeps its state inside the struct, so the arena is all there is to
 * free.
 */
#include "body_hash.h"

#include "mail/dkim.h"

#include <openssl/sha.h>

struct form {
    struct dkim_body body;
    SHA256_CTX sha;
    uint8_t digest[SHA256_DIGEST_LENGTH];
};

struct body_hash {
    struct form *forms[2]; /* by enum dkim_canon; NULL: not wanted */
};

static void hash_bytes_of(void *owner, const char *bytes, size_t n)
{
    struct form *f = owner;
    SHA256_Update(&f->sha, bytes, n);
}

static struct form *form_new(struct arena *a, enum dkim_canon canon)
{
    struct form *f = arena_alloc(a, sizeof(*f));
    SHA256_Init(&f->sha);
    dkim_body_init(&f->body, canon, hash_bytes_of, f);
    return f;
}

struct body_hash *body_hash_new(struct arena *a, bool relaxed, bool simple)
{
    if (!relaxed && !simple)
        return NULL;
    struct body_hash *b = arena_alloc(a, sizeof(*b));
    if (relaxed)
        b->forms[DKIM_RELAXED] = form_new(a, DKIM_RELAXED);
    if (simple)
        b->forms[DKIM_SIMPLE] = form_new(a, DKIM_SIMPLE);
    return b;
}

void body_hash_feed(struct body_hash *b, const char *bytes, size_t n)
{
    for (size_t i = 0; i < ARRAY_LEN(b->forms); i++)
        if (b->forms[i])
            dkim_body_feed(&b->forms[i]->body, bytes, n);
}

static struct strview form_end(struct form *f)
{
    if (!f)
        return sv(NULL, 0);
    dkim_body_end(&f->body);
    SHA256_Final(f->digest, &f->sha);
    return sv((const char *)f->digest, sizeof(f->digest));
}

void body_hash_end(struct body_hash *b, struct strview *ret_relaxed, struct strview *ret_simple)
{
    *ret_relaxed = form_end(b->forms[DKIM_RELAXED]);
    *ret_simple = form_end(b->forms[DKIM_SIMPLE]);
}
