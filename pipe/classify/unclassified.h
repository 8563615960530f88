/*
 * Replies that no rule caught, in groups: what differs from message to message (addresses, ids,
 * numbers) is taken out of the text, so that one line stands for many. In memory and bounded; what
 * was seen longest ago makes room.
 */
#ifndef PMTA_PIPE_CLASSIFY_UNCLASSIFIED_H
#define PMTA_PIPE_CLASSIFY_UNCLASSIFIED_H

#include "mail/outcome.h"

enum { UNCLASSIFIED_GROUPS = 500, UNCLASSIFIED_TEXT = 240, UNCLASSIFIED_HOST = 128 };

struct unclassified;

struct unclassified *unclassified_new(void);
void unclassified_free(struct unclassified *u); /* NULL is fine */

void unclassified_add(struct unclassified *u, const struct outcome *o, int64_t wall_ms);

struct unclassified_group {
    char text[UNCLASSIFIED_TEXT + 1];   /* with {address} and the like */
    char sample[UNCLASSIFIED_TEXT + 1]; /* the last reply as it came, cut */
    char host[UNCLASSIFIED_HOST + 1];   /* that said it */
    enum outcome_phase phase;
    uint64_t count;
    int64_t first_ms, last_ms; /* wall */
};

/* The i-th most frequent, or NULL past the end; valid until the next add. */
const struct unclassified_group *unclassified_get(struct unclassified *u, size_t i);
size_t unclassified_count(const struct unclassified *u);
uint64_t unclassified_forgotten(
    const struct unclassified *u); /* replies of groups that made room */

/* The text with what varies taken out, cut at size - 1 bytes. Total on any bytes. */
void unclassified_normalise(struct strview text, char *out, size_t size);

#endif
