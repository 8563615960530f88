/*
 * admission: whether one more connection may stay. Counts the connections of each [source] and of
 * each [source-group] in this process, against max-smtp-in of both, total-max-smtp-in, and what
 * other groups have reserved of it. Loop thread only.
 */
#ifndef PMTA_RECEIVER_ADMISSION_H
#define PMTA_RECEIVER_ADMISSION_H

#include "base/hash.h"
#include "base/list.h"
#include "mail/config.h"

/* Zero is not valid: admission_init. Empty again when every connection has left. */
struct admission {
    struct list sources; /* struct admission_count */
    struct list groups;
    struct hash addresses; /* struct admission_address: clients with inbound mail */
    uint32_t connections;
    uint32_t inbound; /* of these, with a place in addresses */
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
    struct admission_address *address; /* of one that is let in for inbound mail alone; or NULL */
};

void admission_init(struct admission *a);

/* Counts the connection in, also when it is over a limit (it is there until its refusal is sent).
 * source: name, or NULL when none applies. Returns NULL, or the reply that it is refused with. */
const char *admission_enter(struct admission *a, const struct config *cfg, const char *source,
                            const struct sockaddr *client, struct admission_place *ret);
/* Counts a connection that may only bring mail for ourselves, against inbound-max-connections and
 * inbound-max-connections-per-address; after admission_enter. False: it is over a limit. Again for one
 * that was counted: true. */
bool admission_enter_inbound(struct admission *a, const struct config *cfg,
                             const struct sockaddr *client, struct admission_place *place);
void admission_leave(struct admission *a, struct admission_place *place);

#endif
