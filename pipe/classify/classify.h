/*
 * Which category a failed attempt belongs to (bounceCat in accounting). In this order of trust: the
 * operator's rules, the shipped rules, and for what none of them catches the enhanced status code,
 * the reply code and the phase alone. Rules are lines of [bounce-category-patterns]; see
 * mail/bounce_rule.h for what they can look at.
 */
#ifndef PMTA_PIPE_CLASSIFY_CLASSIFY_H
#define PMTA_PIPE_CLASSIFY_CLASSIFY_H

#include "base/buf.h"
#include "mail/bounce_rule.h"
#include "mail/config.h"

struct classify;

/* Never NULL. Holds a reference to cfg. */
struct classify *classify_new(struct config *cfg);
void classify_free(struct classify *c); /* NULL is fine */

struct classification {
    const char *category; /* never NULL */
    const char *by;       /* what it went by: "enhanced status and text" */
    const char *rule;     /* as written; NULL: built in */
    const char *file;     /* where the rule stands, or NULL */
    unsigned line;
    bool own;    /* the operator's rule, not a shipped one */
    bool caught; /* false: a reply about which nothing is known, "other" */
};

/* Of an attempt that did not deliver. Views live as long as c. */
void classify_outcome(const struct classify *c, const struct outcome *o,
                      struct classification *ret);

/* What a person or a test gives as a reply ("550 5.1.1 no such user", or the lines of one), as the
 * delivery would have made it, heard in that phase. text gets the bytes that *ret points to. 0, or
 * ERR_SYNTAX with *e: it does not begin with a reply code from 400 to 599. */
int classify_parse_reply(struct strview reply, enum outcome_phase phase, struct buf *text,
                         struct outcome *ret, struct err *e);

struct classify_stats {
    unsigned own, shipped; /* rules */
    unsigned unfiltered;   /* of these, tried against every reply */
};
void classify_stats(const struct classify *c, struct classify_stats *ret);

#endif
