/*
 * What a pipe remembers over a restart besides its mail: pauses, jobs, actions and clocks of queues,
 * cold shares, origins, pace, levels of limits. Each is a small file in the spool directory.
 */
#ifndef PMTA_PIPE_MEMORY_H
#define PMTA_PIPE_MEMORY_H

#include "limit/limit_keeper.h"
#include "pace/pace_file.h"
#include "queue/engine.h"
#include "state/saver.h"
#include "state/state_file.h"
#include "verp/verp.h"

struct memory {
    struct engine *engine;
    struct state_file pauses, jobs; /* written when an operator acts */
    struct saver actions;           /* what replies and operators did to queues */
    struct saver clocks;            /* when queues that could not be reached may be tried */
    struct saver cold;              /* what cold virtual MTAs had today */
    struct saver origins;           /* what numbers in bounce addresses stand for */
    struct verp *verp;
    struct pace_file *pace;
    struct limit_keeper *limits;
    struct buf paused, acted, clocked, shared_out; /* as read; between open and restore */
    unsigned closing;
    void (*closed)(void *arg);
    void *closed_arg;
};

/* Zeroed, with descriptors that close as nothing. */
void memory_init(struct memory *m, struct engine *engine, struct verp *verp);
/* What verp_new wants; arg: the struct memory. */
void memory_origins_changed(void *arg);
/* Opens and reads everything; jobs, pace and limits take over what they read at once, so that it is
 * there before the mail. dirfd stays the caller's. 0, or the error with *e. */
int memory_open(struct memory *m, uv_loop_t *loop, int dirfd, struct err *e);
/* The mail has been recovered: queues take over the rest, and changes are kept from now on. */
void memory_restore(struct memory *m);
/* Writes what is not written; closed(arg) from the loop. The engine is drained. */
void memory_close(struct memory *m, void (*closed)(void *arg), void *arg);
/* After memory_close, or instead of it when the process ends without order. */
void memory_fini(struct memory *m);

#endif
