/*
 * What a journal says in the end: the newest event of each (message, recipient). Built for the time
 * of one recovery, collection or compaction and thrown away; 40 bytes an entry.
 */
#ifndef PMTA_PIPE_SPOOL_STATES_H
#define PMTA_PIPE_SPOOL_STATES_H

#include "spool/record.h"

struct state {
    message_id id; /* 0: empty slot */
    spool_journal_place at;
    int64_t next_attempt_ms;
    uint32_t segment; /* that the event names */
    uint16_t rcpt;
    uint16_t attempts;
    uint16_t bytes; /* of the event */
    uint8_t state;
    uint32_t first_attempt_s;
};

struct states {
    struct state *slots;
    size_t cap; /* power of two, or 0 */
    size_t count;
    uint64_t bytes; /* of all newest events together */
};

/* Takes the event in when it is newer (comes later) than what is there; a final state stays. */
void states_put(struct states *t, const struct event *e, spool_journal_place at, size_t bytes);
const struct state *states_get(const struct states *t, message_id id, uint16_t rcpt);
void states_free(struct states *t);

#endif
