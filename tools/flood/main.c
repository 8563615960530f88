/*
 * pmta-flood: sends mail by SMTP, counts and times what becomes of it. main reads the command line,
 * opens the record and the runner, runs it, and turns what happened into a report and an exit code.
 */
#include "flood/runner.h"

#include <stdio.h>

static struct runner runner;
static struct flood flood;

static int open_all(struct err *e)
{
    const struct flood_options *o = &flood.options;
    int rc = plan_init(&flood.plan, &o->plan, e);
    schedule_init(&flood.schedule, &o->rate, o->messages ? o->messages : UINT64_MAX,
                  o->for_ms * 1000);
    stats_init(&flood.stats, &o->plan.pipes);
    flood.stats.open_loop = o->rate.count > 0;
    flood.stats.seed = o->plan.seed;
    if (rc == 0 && o->record)
        rc = record_open(&flood.record, o->record, e);
    if (rc == 0)
        rc = runner_open(&runner, &flood, e);
    return rc;
}

/* Messages that were asked for by number, or taken once, and are not settled. */
static void count_not_sent(void)
{
    struct stats *s = &flood.stats;
    uint64_t settled = s->accepted + s->refused + s->unanswered + s->given_up;
    uint64_t wanted = flood.schedule.next;
    if (flood.options.messages && (!flood.options.for_ms || flood.schedule.next == 0))
        wanted = flood.options.messages;
    s->not_sent = wanted > settled ? wanted - settled : 0;
}

static void print_report(void)
{
    struct buf out = {0};
    if (flood.options.json)
        stats_json(&flood.stats, &out);
    else
        stats_table(&flood.stats, &out);
    fwrite(buf_data(&out), 1, buf_len(&out), stdout);
    fflush(stdout);
    buf_free(&out);
}

static int finish(void)
{
    record_close(&flood.record);
    count_not_sent();
    if (!flood.options.quiet)
        print_report();
    if (flood.record.failed)
        fprintf(stderr, "pmta-flood: \"%s\" is incomplete: %s\n", flood.record.path,
                strerror(-flood.record.failed));
    bool nothing = flood.stats.accepted == 0;
    if (nothing && flood.stats.connections == 0)
        fputs("pmta-flood: no connection could be used\n", stderr);
    return nothing || flood.record.failed || !stats_is_perfect(&flood.stats) ? 1 : 0;
}

int main(int argc, char **argv)
{
    struct err e = {0};
    int status = 2;
    int rc = flood_options_parse(&flood.options, argc, argv, &e);
    if (rc == 0) {
        rc = open_all(&e);
        if (rc == 0) {
            runner_run(&runner);
            status = finish();
        }
        record_close(&flood.record);
        stats_fini(&flood.stats);
        schedule_fini(&flood.schedule);
        plan_fini(&flood.plan);
    }
    if (rc < 0)
        fprintf(stderr, "pmta-flood: %s\n", e.text);
    flood_options_fini(&flood.options);
    return rc == CLI_DONE ? 0 : status;
}
