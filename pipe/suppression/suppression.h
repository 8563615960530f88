/*
 * The suppression list in a pipe: recipients of messages that come in are looked up, and bounces of
 * configured categories are added. The list itself is kept by pmta-suppress; this looks at its
 * table and speaks through the pipe's one client.
 */
#ifndef PMTA_PIPE_SUPPRESSION_SUPPRESSION_H
#define PMTA_PIPE_SUPPRESSION_SUPPRESSION_H

#include "mail/config.h"
#include "mail/envelope.h"
#include "mail/outcome.h"
#include "suppress/client.h"

struct classify;
struct suppression;

/* client is borrowed; it hands its tables to suppression_table. */
struct suppression *suppression_new(const char *pipe, struct suppress_client *client);
void suppression_free(struct suppression *s); /* NULL is fine */
void suppression_configure(struct suppression *s, struct config *cfg);

/* The callback of the client (arg is the struct suppression); takes fd. A table that cannot be used
 * leaves the one of before. */
void suppression_table(void *arg, int fd, uint64_t bytes);

enum suppression_verdict {
    SUPPRESSION_NONE,    /* nobody is on the list */
    SUPPRESSION_SOME,    /* env->rcpts[i].suppressed says who ends at once */
    SUPPRESSION_ALL,     /* everybody is, and the message is to be refused; *ret_hit as text */
    SUPPRESSION_UNKNOWN, /* the list is being read */
};

/* Looks up every recipient of a message that comes in. content, or the file that has it (else -1),
 * is looked into for the domain of From, when entries for domains exist. A message with a null
 * sender is never looked up: it is a notice. text gets the words of SUPPRESSION_ALL. Costs a few
 * loads while the list is empty. */
enum { SUPPRESSION_TEXT = 160 };
enum suppression_verdict suppression_check(struct suppression *s, struct envelope *env,
                                           struct strview content, int content_fd,
                                           char text[SUPPRESSION_TEXT]);

/* engine_suppressed_fn: the same for recipients of a message that has waited, when an entry came since
 * its arrival. Costs two loads when none did. */
bool suppression_again(void *arg, struct envelope *env, struct strview content,
                       const uint32_t *rcpts, uint32_t count);

/* A reply ended this recipient (engine_on_bounced; arg is the struct suppression): when its category is
 * one of suppress-bounces, the address goes on the list. */
void suppression_bounced(void *arg, const struct envelope *env, uint32_t rcpt,
                         const struct outcome *o);
/* Whose categories these are; fn(arg) gives it. */
void suppression_set_classify(struct suppression *s, const struct classify *(*fn)(void *arg),
                              void *arg);

struct suppression_counts {
    uint64_t refused;  /* messages */
    uint64_t recorded; /* recipients */
    uint64_t fed;      /* bounces that went on the list */
    uint64_t lost;     /* that could not: too many wait */
};
const struct suppression_counts *suppression_counts(const struct suppression *s);

#endif
