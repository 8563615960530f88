/*
 * admission: whether one more connection may stay. Counts the connections of each [source] and of
 * each [source-group] in this process, against max-smtp-in of both, total-max-smtp-in, and what
 * other groups have reserved of it. Loop thread only.
 */
#ifndef PMTA_RECEIVER_ADMISSION_H
#define PMTA_RECEIVER_ADMISSION_H

#include "base/list.h"
#include "mail/config.h"

/* Zero is not valid: admission_init. Empty again when every connection has left. */
struct admission {
    struct list sources; /* struct admission_count */
    struct list groups;
    uint32_t connections;
};

/* Connections under one name. */
struct admission_count {
    struct list link;
    uint32_t count;
    char name[];
};

/* One connection's place in the counts. */
struct admission_place {
    struct admission_count *source;
    struct admission_count *group; /* NULL: none */
};

void admission_init(struct admission *a);

/* Counts the connection in, also when it is over a limit (it is there until its refusal is sent).
 * source: name, or NULL when none applies. Returns NULL, or the reply that it is refused with. */
const char *admission_enter(struct admission *a, const struct config *cfg, const char *source,
                            const struct sockaddr *client, struct admission_place *ret);
void admission_leave(struct admission *a, struct admission_place *place);

#endif
