/*
 * The process: what main.c wires together and the admin verbs (verbs.c) look at.
 */
#ifndef PMTA_SUPPRESS_PROCESS_H
#define PMTA_SUPPRESS_PROCESS_H

#include "mail/config.h"
#include "net/child.h"
#include "store.h"

struct process {
    struct child *child;
    struct config *config;
    struct store *store; /* NULL: nothing was read yet */
    struct list peers;
    struct suppress_key key;
    bool has_key;
    int dirfd; /* until the store takes it */
    bool started, loaded, draining;
    bool closing;           /* the store; nothing is taken any more */
    uint64_t adds, refused; /* over edges */
};

/* verbs.c: child_ops.admin */
void process_admin(void *owner, const struct child_admin_request *req);

#endif
