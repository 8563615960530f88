/*
 * How many requests each client may make that are good for nothing: a bucket per address, for the
 * addresses of late, of which there are at most RATE_ADDRESSES_MAX.
 */
#ifndef PMTA_WEB_RATE_H
#define PMTA_WEB_RATE_H

#include "base/hash.h"
#include "base/list.h"
#include "base/units.h"

enum { RATE_ADDRESSES_MAX = 10000, RATE_ADDRESS_LEN = 64 };

struct rate_table {
    struct hash clients;
    struct list by_use; /* the longest unused first */
};

void rate_table_init(struct rate_table *t);
void rate_table_fini(struct rate_table *t);
/* Counts one. False: the client is over the rate. A rate of 0 is no limit. */
bool rate_take(struct rate_table *t, const char *client, const struct rate *rate, int64_t now_ms);

#endif
