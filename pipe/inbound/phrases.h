/*
 * Words that mail servers use: what begins a bounce, what a delay, what an automatic answer. All in
 * lower case (letters beyond ASCII as they are written), UTF-8; to be looked for in text whose ASCII
 * letters are lower case.
 */
#ifndef PMTA_PIPE_INBOUND_PHRASES_H
#define PMTA_PIPE_INBOUND_PHRASES_H

#include "base/str.h"

struct phrase {
    const char *text;  /* NULL ends a table */
    const char *means; /* by table */
};

extern const struct phrase phrases_bounce_body[];    /* means: name of the format */
extern const struct phrase phrases_bounce_subject[]; /* "" */
extern const struct phrase phrases_bounce_from[];    /* address or name of who writes bounces */
extern const struct phrase phrases_delay[];          /* it is tried again */
extern const struct phrase phrases_final[];          /* it is not */
extern const struct phrase phrases_original[];       /* the message that came back begins here */
extern const struct phrase phrases_recipient[];      /* an address in this line is a recipient */
extern const struct phrase phrases_no_recipient[];   /* an address in this line is none */
extern const struct phrase phrases_status[];         /* "1.1": subject and detail of a status */
extern const struct phrase phrases_auto_subject[];   /* at the start of a subject */
extern const struct phrase phrases_auto_anywhere[];  /* anywhere in a subject */
extern const struct phrase phrases_challenge[];      /* in subject or text */

/* The first row that is in text; *ret_at is where, when not NULL. NULL: none. */
const struct phrase *phrase_find(const struct phrase *table, struct strview text, size_t *ret_at);
/* The first row that text begins with. */
const struct phrase *phrase_begins(const struct phrase *table, struct strview text);

#endif
