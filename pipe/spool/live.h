/*
 * The unfinished messages: how many recipients of each are not final yet, and which segment it is
 * in. 16 bytes an entry in 256 open-addressed shards, so that growing never rehashes more than a
 * small part at once.
 */
#ifndef PMTA_PIPE_SPOOL_LIVE_H
#define PMTA_PIPE_SPOOL_LIVE_H

#include "spool/spool.h"

enum { LIVE_SHARDS = 256 };

struct live_entry {
    message_id id; /* 0: empty slot */
    uint32_t segment;
    uint32_t rcpts; /* not final yet; > 0 */
};

struct live_shard {
    struct live_entry *slots;
    uint32_t cap;
    uint32_t count;
};

struct live {
    struct live_shard shards[LIVE_SHARDS];
};

/* The entry, valid until the next put or remove; NULL when the message is finished or unknown. */
struct live_entry *live_find(struct live *l, message_id id);
/* id must not be in yet. */
void live_put(struct live *l, message_id id, uint32_t segment, uint32_t rcpts);
void live_remove(struct live *l, message_id id);
void live_fini(struct live *l);

#endif
