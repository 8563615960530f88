/*
 * sink: what the command line of pmta-sink says, and what all sessions share.
 */
#ifndef PMTA_SINK_SINK_H
#define PMTA_SINK_SINK_H

#include "kit/cli.h"
#include "kit/record.h"
#include "sink/peers.h"
#include "sink/policy.h"
#include "sink/tally.h"

#define SINK_LISTENERS_MAX 64

struct sink_options {
    struct sockaddr_storage listen[SINK_LISTENERS_MAX];
    unsigned listen_count;
    bool print_port;
    bool no_pipelining, no_8bitmime, no_size, no_smtputf8, no_dsn, no_chunking, no_enhanced;
    bool strict, json, quiet, list_duplicates;
    uint64_t max_size;
    uint64_t max_connections;
    uint64_t max_messages; /* per connection; 0: no limit */
    uint64_t max_recipients;
    uint64_t seed;
    uint64_t expect;            /* distinct ids; 0: not wanted */
    uint64_t expect_recipients; /* distinct (id, recipient) */
    int64_t for_ms;
    const char *id_header;
    const char *latency_header;
    const char *record;
    const char *save;
    const char *host_name;
    struct policies policies;
    struct hidden hidden;
};

struct sink {
    struct sink_options options;
    struct tally tally;
    struct record record;
    struct seen greylist;
    struct peers peers;
};

/* Fills *o with the defaults, then from the command line; see cli_parse. */
int sink_options_parse(struct sink_options *o, int argc, char **argv, struct err *e);

/* What --expect and --expect-recipients ask for has arrived. */
static inline bool sink_is_satisfied(const struct sink *s)
{
    const struct sink_options *o = &s->options;
    return (o->expect || o->expect_recipients) && s->tally.distinct >= o->expect &&
           s->tally.recipients_distinct >= o->expect_recipients;
}

#endif
