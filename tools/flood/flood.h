/*
 * flood: what the command line of pmta-flood says, and what all connections share.
 */
#ifndef PMTA_FLOOD_FLOOD_H
#define PMTA_FLOOD_FLOOD_H

#include "flood/plan.h"
#include "flood/schedule.h"
#include "flood/stats.h"
#include "kit/cli.h"
#include "kit/record.h"

struct flood_options {
    struct sockaddr_storage to;
    struct plan_options plan;
    struct rate rate;  /* messages; count 0: unlimited */
    uint64_t messages; /* 0: until for_ms is over */
    int64_t for_ms;    /* 0: no end */
    uint64_t connections;
    uint64_t messages_per_connection; /* 0: no limit */
    uint64_t tries;
    int64_t timeout_ms;
    int64_t patience_ms;
    const char *helo;
    const char *auth; /* "user:password", or NULL */
    const char *record;
    bool no_pipelining;
    bool json, quiet;
};

struct flood {
    struct flood_options options;
    struct plan plan;
    struct schedule schedule;
    struct stats stats;
    struct record record;
    int64_t wall_offset_us; /* wall time minus monotonic time */
};

/* Fills *o with the defaults, then from the command line; see cli_parse. */
int flood_options_parse(struct flood_options *o, int argc, char **argv, struct err *e);
void flood_options_fini(struct flood_options *o);

#endif
