/*
 * Mail that this pipe writes itself (notices to operators, delivery notices to senders), on its way
 * to the disk: it becomes a message of this pipe like any other.
 */
#ifndef PMTA_PIPE_NOTICE_OWN_MAIL_H
#define PMTA_PIPE_NOTICE_OWN_MAIL_H

#include "queue/engine.h"

struct own_mail {
    struct spool_append append;
    struct arena arena;  /* of env */
    struct envelope env; /* without chosen_vmta */
    struct buf content;  /* in wire form */
    struct buf envelope; /* encoded */
    /* From the loop, never inside own_mail_store: durable (0), or negative and nothing of it will
     * ever appear. */
    void (*stored)(struct own_mail *m, int status);
};

/* Makes it durable; m stays where it is until stored. to_pipe: it is handed to that pipe instead of
 * being delivered by this one; or NULL. May be called again after a failure. */
void own_mail_store(struct own_mail *m, struct engine *g, const char *to_pipe);
/* It is durable: the engine has it from now on. */
void own_mail_accept(const struct own_mail *m, struct engine *g);
void own_mail_fini(struct own_mail *m);

#endif
