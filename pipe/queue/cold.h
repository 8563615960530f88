/*
 * Cold virtual MTAs: how many messages each had today from a virtual MTA that warms it up, per
 * domain or group. Days change at local midnight; progress survives a restart (state file "cold").
 */
#ifndef PMTA_PIPE_QUEUE_COLD_H
#define PMTA_PIPE_QUEUE_COLD_H

#include "base/buf.h"
#include "base/hash.h"
#include "mail/config.h"

struct cold {
    struct hash counters;
    bool changed; /* since cold_write */
    int64_t today;
    int64_t today_until_ms; /* wall */
};

void cold_init(struct cold *c);
void cold_fini(struct cold *c);

/* The index of the cold virtual MTA that takes this message and has it counted: of those that have
 * had less than their share of today, the one that had least. -1: none. Names in any case; usable
 * says for each whether it may be taken. */
int cold_take(struct cold *c, const char *vmta, struct strview domain, char *const *colds,
              const bool *usable, size_t count, const struct rate_form *share);

/* As text, one line each: VMTA COLD DOMAIN FIRST-DAY DAY COUNT; what was not used for long is
 * forgotten. Resets changed. */
void cold_write(struct cold *c, struct buf *out);
void cold_read(struct cold *c, struct strview text);

/* To look at: what that pair had today, over all domains. */
uint64_t cold_today(struct cold *c, const char *vmta, const char *cold);

#endif
