/*
 * Virtual MTAs: the source addresses that mail leaves from, with the host names that go with them,
 * and the choice of one for a message.
 */
#ifndef PMTA_PIPE_QUEUE_VMTA_H
#define PMTA_PIPE_QUEUE_VMTA_H

#include "mail/config.h"

/* One source address of a virtual MTA. */
struct vmta_source {
    struct sockaddr_storage addr; /* family 0: the system chooses */
    char *helo_name;
};

struct vmta {
    struct vmta *next;
    char *name;
    struct vmta_source *sources; /* at least one */
    size_t source_count;
    char *pool;  /* the pool that it is a member of, for settings that stand there; or NULL */
    size_t turn; /* the source that is next */
};

/* The name of the virtual MTA of mail that none was chosen for. */
#define VMTA_DEFAULT "default"

/* (Re)reads the addresses and limits of v. helo_fallback: the name when none is configured. */
void vmta_configure(struct vmta *v, const struct config *cfg, struct strview pipe,
                    const char *helo_fallback);
void vmta_free(struct vmta *v);

/* A name as a message or a directive gives it: itself, or when it is a pool's, the member whose
 * turn it is. The view lives in cfg, or is the one given. */
struct strview vmta_choose(const struct config *cfg, struct strview name, uint64_t turn);
/* A virtual MTA or a pool of that name is defined, or it is the default one. */
bool vmta_is_known(const struct config *cfg, struct strview name);

#endif
