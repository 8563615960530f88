/*
 * Password checks; see auth_check.h. Called by session.c. Argon2id costs up to half a second and
 * much memory, so at most RUNNING_MAX run at a time (the thread pool also writes files) and
 * QUEUE_MAX wait. A success is remembered for ten minutes as a keyed hash over user, password and
 * stored hash, so that a changed password is not honoured from memory; the key is this process's
 * own.
 */
#include "auth_check.h"

#include "base/clock.h"
#include "base/list.h"

#include <sodium.h>
#include <stdio.h>

enum {
    RUNNING_MAX = 2,
    QUEUE_MAX = 64,
    KNOWN_MAX = 256, /* slots; a later success may push an earlier one out */
    KNOWN_MS = 10 * 60 * 1000,
    DIGEST_BYTES = 32,
};

struct known {
    unsigned char digest[DIGEST_BYTES];
    int64_t until_ms; /* 0: empty */
};

struct auth_check {
    uv_loop_t *loop;
    unsigned running, queued;
    struct list queue;
    unsigned char key[crypto_generichash_KEYBYTES];
    struct known known[KNOWN_MAX];
    char decoy[crypto_pwhash_STRBYTES]; /* for users that do not exist; "" until the first */
};

struct auth_job {
    struct list link;
    struct auth_check *check;
    uv_work_t work;
    bool cancelled, user_exists, right;
    char hash[crypto_pwhash_STRBYTES];
    char password[SMTP_PASSWORD_MAX + 1];
    size_t password_len;
    unsigned char digest[DIGEST_BYTES];
    void (*done)(void *owner, enum smtp_auth_result result);
    void *owner;
};

/* What `pmtactl hash-password` makes (interactive limits), of nothing that anybody knows. */
static void make_decoy(char out[crypto_pwhash_STRBYTES])
{
    unsigned char salt[16], tag[32];
    char salt64[32], tag64[64];

    randombytes_buf(salt, sizeof(salt));
    randombytes_buf(tag, sizeof(tag));
    sodium_bin2base64(salt64, sizeof(salt64), salt, sizeof(salt),
                      sodium_base64_VARIANT_ORIGINAL_NO_PADDING);
    sodium_bin2base64(tag64, sizeof(tag64), tag, sizeof(tag),
                      sodium_base64_VARIANT_ORIGINAL_NO_PADDING);
    snprintf(out, crypto_pwhash_STRBYTES, "$argon2id$v=19$m=%zu,t=%zu,p=1$%s$%s",
             (size_t)crypto_pwhash_MEMLIMIT_INTERACTIVE / 1024,
             (size_t)crypto_pwhash_OPSLIMIT_INTERACTIVE, salt64, tag64);
}

struct auth_check *auth_check_new(uv_loop_t *loop)
{
    BUG_ON(sodium_init() < 0);
    struct auth_check *a = xcalloc(1, sizeof(*a));
    a->loop = loop;
    list_init(&a->queue);
    randombytes_buf(a->key, sizeof(a->key));
    make_decoy(a->decoy);
    return a;
}

void auth_check_free(struct auth_check *a)
{
    if (!a)
        return;
    BUG_ON(a->running || a->queued);
    sodium_memzero(a, sizeof(*a));
    free(a);
}

static void put_part(crypto_generichash_state *h, struct strview part)
{
    uint64_t len = part.len; /* so that parts cannot run into each other */
    crypto_generichash_update(h, (const unsigned char *)&len, sizeof(len));
    crypto_generichash_update(h, (const unsigned char *)part.ptr, part.len);
}

static void make_digest(const struct auth_check *a, struct strview user, struct strview password,
                        const char *hash, unsigned char out[DIGEST_BYTES])
{
    crypto_generichash_state h;
    crypto_generichash_init(&h, a->key, sizeof(a->key), DIGEST_BYTES);
    put_part(&h, user);
    put_part(&h, password);
    put_part(&h, sv_of(hash));
    crypto_generichash_final(&h, out, DIGEST_BYTES);
    sodium_memzero(&h, sizeof(h));
}

static struct known *slot(struct auth_check *a, const unsigned char *digest)
{
    return &a->known[digest[0] % KNOWN_MAX];
}

/* --- thread pool --- */

static void work(uv_work_t *w)
{
    struct auth_job *j = w->data;
    j->right = crypto_pwhash_str_verify(j->hash, j->password, j->password_len) == 0;
}

static void start_more(struct auth_check *a);

static void job_free(struct auth_job *j)
{
    sodium_memzero(j, sizeof(*j));
    free(j);
}

static void work_done(uv_work_t *w, int status)
{
    struct auth_job *j = w->data;
    struct auth_check *a = j->check;
    bool right = status == 0 && j->right && j->user_exists;

    a->running--;
    start_more(a);
    if (right) {
        struct known *k = slot(a, j->digest);
        memcpy(k->digest, j->digest, DIGEST_BYTES);
        k->until_ms = clock_mono_ms() + KNOWN_MS;
    }
    if (!j->cancelled)
        j->done(j->owner, right ? SMTP_AUTH_OK : SMTP_AUTH_WRONG);
    job_free(j);
}

static void start_more(struct auth_check *a)
{
    while (a->running < RUNNING_MAX && !list_empty(&a->queue)) {
        struct auth_job *j = list_entry(list_pop_front(&a->queue), struct auth_job, link);
        a->queued--;
        a->running++;
        j->work.data = j;
        int status = uv_queue_work(a->loop, &j->work, work, work_done);
        BUG_ON(status < 0);
    }
}

struct auth_job *auth_check_start(struct auth_check *a, struct strview user,
                                  struct strview password, const char *hash, bool *ret_known,
                                  void (*done)(void *owner, enum smtp_auth_result result),
                                  void *owner)
{
    unsigned char digest[DIGEST_BYTES];

    make_digest(a, user, password, hash ? hash : a->decoy, digest);
    struct known *k = slot(a, digest);
    *ret_known = hash && k->until_ms > clock_mono_ms() &&
                 sodium_memcmp(k->digest, digest, DIGEST_BYTES) == 0;
    if (*ret_known || a->queued >= QUEUE_MAX || password.len > SMTP_PASSWORD_MAX)
        return NULL;
    struct auth_job *j = xcalloc(1, sizeof(*j));
    j->check = a;
    j->user_exists = hash != NULL;
    snprintf(j->hash, sizeof(j->hash), "%s", hash ? hash : a->decoy);
    memcpy(j->password, password.ptr, password.len);
    j->password_len = password.len;
    memcpy(j->digest, digest, DIGEST_BYTES);
    j->done = done;
    j->owner = owner;
    list_push_back(&a->queue, &j->link);
    a->queued++;
    start_more(a);
    return j;
}

void auth_job_cancel(struct auth_job *j)
{
    if (!j)
        return;
    j->cancelled = true;
    if (list_empty(&j->link))
        return; /* running: work_done frees it */
    list_remove(&j->link);
    j->check->queued--;
    job_free(j);
}
