/*
 * pmta-sink: takes mail by SMTP, counts and checks it, fails on request. main reads the command
 * line, opens the files and the server, runs it, and turns what happened into an exit code.
 */
#include "sink/server.h"

#include <stdio.h>

static struct server server;
static struct sink sink;

static int open_all(struct err *e)
{
    int rc = 0;
    if (sink.options.record)
        rc = record_open(&sink.record, sink.options.record, e);
    if (rc == 0)
        rc = server_open(&server, &sink, e);
    return rc;
}

static int finish(void)
{
    bool wanted = sink.options.expect || sink.options.expect_recipients;
    bool missing = wanted && !sink_is_satisfied(&sink);
    record_close(&sink.record);
    if (sink.record.failed)
        fprintf(stderr, "pmta-sink: \"%s\" is incomplete: %s\n", sink.record.path,
                strerror(-sink.record.failed));
    if (missing)
        fputs("pmta-sink: fewer messages arrived than expected\n", stderr);
    return missing || sink.record.failed || sink.tally.save_failures ? 1 : 0;
}

int main(int argc, char **argv)
{
    struct err e = {0};
    int status = 2;
    int rc = sink_options_parse(&sink.options, argc, argv, &e);
    if (rc == 0) {
        tally_init(&sink.tally);
        peers_init(&sink.peers);
        sink.greylist.limit = 1000000;
        rc = open_all(&e);
        if (rc == 0) {
            server_run(&server);
            status = finish();
        }
        tally_fini(&sink.tally);
        peers_fini(&sink.peers);
        seen_fini(&sink.greylist);
    }
    if (rc < 0)
        fprintf(stderr, "pmta-sink: %s\n", e.text);
    policies_fini(&sink.options.policies);
    free(sink.options.hidden.text);
    return rc == CLI_DONE ? 0 : status;
}
