/*
 * What a check is about, out of the engine and its configuration: source addresses of virtual MTAs
 * and the keys that sign for a domain there.
 */
#ifndef PMTA_PIPE_CHECK_GATHER_H
#define PMTA_PIPE_CHECK_GATHER_H

#include "check/check.h"
#include "check/watch.h"

struct engine;
struct keyring;
struct vmta;

struct gathered {
    struct arena arena;
    struct vmta **vmtas;
    size_t vmta_count;
    struct check_source *sources; /* of these, in the same order; texts are the engine's */
    size_t source_count;
    struct check_key *keys;
    size_t key_count;
    const char *unusable_key, *bimi_selector; /* or NULL */
};

/* The virtual MTA or pool of that name; with both empty what mail of the pipe uses that names none,
 * and when the pipe says nothing about that, all that are defined. 0, or ERR_NOT_FOUND. */
int gather_sources(struct engine *g, struct strview vmta, struct strview pool, struct gathered *ret,
                   struct err *e);
/* Adds the keys that sign mail from this domain through them. keyring NULL: none. */
void gather_keys(struct engine *g, struct keyring *keyring, struct strview domain,
                 struct gathered *ret);
/* The domain of the return path that mail through them goes out with, of the first one that has
 * bounce addresses (verp); empty: none has, it is the sender's. Lives as long as the configuration. */
struct strview gather_return_path(struct engine *g, const struct gathered *r);
void gather_free(struct gathered *r);

/* Starts a round of the watch when this pipe is the first one of the configuration, which looks for
 * all, and check-senders is set. */
void gather_watch(struct engine *g, struct watch *w);

#endif
