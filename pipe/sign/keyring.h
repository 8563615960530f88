/*
 * The private keys that root handed over, by the file name that the configuration gives, and the
 * choice of what signs a message.
 */
#ifndef PMTA_PIPE_SIGN_KEYRING_H
#define PMTA_PIPE_SIGN_KEYRING_H

#include "mail/config.h"
#include "mail/dkim.h"
#include "sign/key.h"
#include "suppress/suppress.h"

struct keyring;

struct keyring *keyring_new(void);
void keyring_free(struct keyring *r);

/* A key file as root opened it; fd stays the caller's. Replaces the one of that name, unless the file
 * has not changed. When it cannot be used, messages that need it are deferred; 0, or the error with
 * *e. */
int keyring_put(struct keyring *r, const char *file, int fd, struct err *e);
/* A new set of keys: call begin, put each, take the configuration over that names them, call end.
 * What was not put is forgotten then, and not before, so that mail of the configuration that is
 * still in force is signed meanwhile. */
void keyring_begin(struct keyring *r);
void keyring_end(struct keyring *r);

/* One signature to make. */
struct sign_with {
    struct sign_key *key;
    const char *selector, *domain;
};

/* What list-unsubscribe and its neighbours say, in the order of their choices. */
enum unsubscribe_mode { UNSUBSCRIBE_OFF, UNSUBSCRIBE_HEADER, UNSUBSCRIBE_ONE_CLICK };
struct sign_unsubscribe {
    enum unsubscribe_mode mode;
    const char *url, *address; /* or NULL */
    enum suppress_scope scope;
};

/* What is done to the messages of one identity through one virtual MTA. Refcounted; only read once
 * made, so the thread pool may look at it. */
struct sign_plan {
    uint32_t refs;
    struct arena arena;
    struct config *config;
    struct sign_with *with;
    size_t count;
    enum dkim_canon header_canon, body_canon;
    struct dkim_names names;
    const char *identity; /* i=, or NULL */
    bool timestamp;
    int64_t expire_after_s;
    const char *bimi_selector; /* or NULL */
    struct sign_unsubscribe unsubscribe;
    const char *unusable; /* when dkim-required: why the message must wait, one sentence; or NULL */
    int64_t valid_until_ms; /* wall; a key's from= or until= comes then */
};

struct sign_scope {
    struct strview vmta, pool, pipe;
    struct strview from_domain;   /* of the From field; may be empty */
    struct strview sender_domain; /* of the Sender field; may be empty */
    struct strview options;       /* X-DKIM-Options; may be empty */
};

/* The plan, with a reference; never NULL. Nothing to do when count is 0, bimi_selector NULL and
 * unsubscribe off.
 * Kept by scope until the configuration or a key changes. */
struct sign_plan *keyring_plan(struct keyring *r, struct config *cfg, const struct sign_scope *s);
void sign_plan_unref(struct sign_plan *p); /* NULL is fine; main thread only */

/* Whether this configuration has keys, BIMI selectors or list-unsubscribe for the pipe at all: one look per
 * configuration, so that mail that is not signed costs nothing. */
bool keyring_is_wanted(const struct config *cfg, struct strview pipe);

#endif
