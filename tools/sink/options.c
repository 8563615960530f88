/*
 * options: the command line of pmta-sink, one row per option. Called once by main; values are
 * borrowed from argv.
 */
#include "sink/sink.h"

#include "base/units.h"

#define OPTIONS struct sink_options *o = options

#define SWITCH(function, member)                                         \
    static int function(void *options, const char *value, struct err *e) \
    {                                                                    \
        OPTIONS;                                                         \
        (void)value;                                                     \
        (void)e;                                                         \
        o->member = true;                                                \
        return 0;                                                        \
    }
SWITCH(set_print_port, print_port)
SWITCH(set_no_pipelining, no_pipelining)
SWITCH(set_no_8bitmime, no_8bitmime)
SWITCH(set_no_size, no_size)
SWITCH(set_no_smtputf8, no_smtputf8)
SWITCH(set_no_dsn, no_dsn)
SWITCH(set_no_chunking, no_chunking)
SWITCH(set_no_enhanced, no_enhanced)
SWITCH(set_limit_per_address, hidden.per_address)
SWITCH(set_strict, strict)
SWITCH(set_json, json)
SWITCH(set_quiet, quiet)
SWITCH(set_list_duplicates, list_duplicates)

#define TEXT(function, member)                                           \
    static int function(void *options, const char *value, struct err *e) \
    {                                                                    \
        OPTIONS;                                                         \
        o->member = value;                                               \
        return *value ? 0 : err_set(e, ERR_SYNTAX, "expected a value");  \
    }
TEXT(set_id_header, id_header)
TEXT(set_latency_header, latency_header)
TEXT(set_record, record)
TEXT(set_save, save)
TEXT(set_host_name, host_name)

#define NUMBER(function, member, min, max)                               \
    static int function(void *options, const char *value, struct err *e) \
    {                                                                    \
        OPTIONS;                                                         \
        return cli_number(value, min, max, &o->member, e);               \
    }
NUMBER(set_max_connections, max_connections, 1, 1000000)
NUMBER(set_max_messages, max_messages, 1, UINT32_MAX)
NUMBER(set_max_recipients, max_recipients, 1, 100000)
NUMBER(set_seed, seed, 0, UINT64_MAX)
NUMBER(set_expect, expect, 1, UINT64_MAX)
NUMBER(set_expect_recipients, expect_recipients, 1, UINT64_MAX)

static int set_listen(void *options, const char *value, struct err *e)
{
    OPTIONS;
    if (o->listen_count == SINK_LISTENERS_MAX)
        return err_set(e, ERR_SYNTAX, "at most %d listeners", SINK_LISTENERS_MAX);
    return cli_address(value, &o->listen[o->listen_count++], e);
}

static int set_size(void *options, const char *value, struct err *e)
{
    OPTIONS;
    if (units_parse_size(sv_of(value), &o->max_size) < 0 || o->max_size > (UINT64_C(4) << 30))
        return err_set(e, ERR_SYNTAX, "expected a size up to 4g such as 50m");
    return 0;
}

static int set_for(void *options, const char *value, struct err *e)
{
    OPTIONS;
    return cli_interval(value, &o->for_ms, e);
}

static int set_fault(void *options, const char *value, struct err *e)
{
    OPTIONS;
    return policy_add_fault(&o->policies.everybody, value, e);
}

static int set_delay(void *options, const char *value, struct err *e)
{
    OPTIONS;
    return policy_add_delay(&o->policies.everybody, value, e);
}

static int set_greylist(void *options, const char *value, struct err *e)
{
    OPTIONS;
    return policy_set_greylist(&o->policies.everybody, value, e);
}

#define HIDDEN(function, parse)                                          \
    static int function(void *options, const char *value, struct err *e) \
    {                                                                    \
        OPTIONS;                                                         \
        return parse(&o->hidden, value, e);                              \
    }
HIDDEN(set_limit_rate, hidden_set_rate)
HIDDEN(set_limit_window, hidden_set_window)
HIDDEN(set_limit_phase, hidden_set_phase)
HIDDEN(set_limit_reply, hidden_set_reply)

static int set_personality(void *options, const char *value, struct err *e)
{
    OPTIONS;
    return policies_load(&o->policies, value, e);
}

static const struct cli_option rows[] = {
    {NULL, NULL, "Where it listens and what it offers", NULL},
    {"listen", "ADDR:PORT", "may be repeated; port 0 takes a free one (127.0.0.1:2525)",
     set_listen},
    {"print-port", NULL, "print \"listening on ADDR:PORT\" lines to stdout when ready",
     set_print_port},
    {"host-name", "NAME", "name in the greeting (sink.example)", set_host_name},
    {"max-size", "BYTES", "largest message, announced by SIZE (64m)", set_size},
    {"no-pipelining", NULL, "do not offer PIPELINING", set_no_pipelining},
    {"no-8bitmime", NULL, "do not offer 8BITMIME", set_no_8bitmime},
    {"no-size", NULL, "do not offer SIZE", set_no_size},
    {"no-smtputf8", NULL, "do not offer SMTPUTF8", set_no_smtputf8},
    {"no-dsn", NULL, "do not offer DSN", set_no_dsn},
    {"no-chunking", NULL, "do not offer CHUNKING (BDAT)", set_no_chunking},
    {"no-enhancedstatuscodes", NULL, "reply without enhanced status codes", set_no_enhanced},
    {"max-connections", "N", "421 to more (10000)", set_max_connections},
    {"max-messages-per-connection", "N", "421 after so many", set_max_messages},
    {"max-recipients", "N", "per message, 452 to more (1000)", set_max_recipients},
    {NULL, NULL, "What goes wrong on purpose (PHASE: connect, helo, mail, rcpt, data, eod)", NULL},
    {"fault", "PHASE:CODE[:PERCENT][:TEXT]",
     "answer with this code; CODE may be \"drop\" (close the\n"
     "connection), \"hang\" (never answer), or for eod \"lost\"\n"
     "(accept, then close without answering)",
     set_fault},
    {"delay", "PHASE:INTERVAL[:PERCENT]", "answer late", set_delay},
    {"greylist", "INTERVAL", "451 to a new (sender, recipient) for so long", set_greylist},
    {"personality", "FILE", "fault, delay, greylist per recipient domain, in [domain]\nsections",
     set_personality},
    {"limit-rate", "N/UNIT", "a hidden rate, such as 20/s or 600/m: refuse what is above it",
     set_limit_rate},
    {"limit-window", "KIND",
     "\"bucket\" fills evenly and holds a second; \"fixed\" counts\n"
     "in each second, minute, … of the clock (bucket)",
     set_limit_window},
    {"limit-phase", "PHASE", "where it is counted and refused: mail, rcpt or data (mail)",
     set_limit_phase},
    {"limit-reply", "\"CODE TEXT\"", "what is said above it (421 4.7.0 Too much mail, slow down)",
     set_limit_reply},
    {"limit-per-address", NULL, "each client address has a rate of its own", set_limit_per_address},
    {"strict", NULL, "refuse what breaks the protocol with 5xx", set_strict},
    {"seed", "N", "draws the same percentages again (1)", set_seed},
    {NULL, NULL, "What is counted and kept", NULL},
    {"id-header", "NAME", "header that identifies a message (Message-Id)", set_id_header},
    {"list-duplicates", NULL, "list duplicates in the summary, at most 100", set_list_duplicates},
    {"latency-header", "NAME",
     "header with the time of sending in microseconds: reports\n"
     "end-to-end latency (pmta-flood sends X-Flood-Sent)",
     set_latency_header},
    {"record", "FILE", "one line per accepted recipient: id, recipient, sender,\nsize, time",
     set_record},
    {"save", "DIR", "keep each message in a file of this directory", set_save},
    {NULL, NULL, "When it ends (SIGINT and SIGTERM always end it; SIGUSR1 prints the summary)",
     NULL},
    {"expect", "N", "exit 0 when N distinct message ids have arrived", set_expect},
    {"expect-recipients", "N", "exit 0 when N distinct (id, recipient) have arrived",
     set_expect_recipients},
    {"for", "INTERVAL", "end after this time", set_for},
    {"json", NULL, "the summary as one JSON object", set_json},
    {"quiet", NULL, "no summary", set_quiet},
};

static const struct cli command = {
    .program = "pmta-sink",
    .usage = "[--listen ADDR:PORT]... [options]",
    .about = "Takes mail by SMTP, counts it, checks it, and throws it away; makes mistakes on\n"
             "request, so that the sender can be seen handling them.",
    .rows = rows,
    .row_count = ARRAY_LEN(rows),
    .more = "Exit status: 0 ended as asked, 1 what was expected did not arrive or a file could\n"
            "not be written, 2 wrong usage or the address could not be used.\n\n"
            "Example: 10% of recipients deferred, 1% refused, one reply in 1000 lost\n"
            "  pmta-sink --listen 127.0.0.1:2525 --fault rcpt:451:10 --fault rcpt:550:1 \\\n"
            "            --fault eod:lost:0.1 --list-duplicates\n",
};

int sink_options_parse(struct sink_options *o, int argc, char **argv, struct err *e)
{
    memset(o, 0, sizeof(*o));
    policies_init(&o->policies);
    o->hidden.phase = PHASE_MAIL;
    o->hidden.code = 421;
    o->hidden.text = xstrdup("4.7.0 Too much mail, slow down");
    o->max_size = 64u << 20;
    o->max_connections = 10000;
    o->max_recipients = 1000;
    o->seed = 1;
    o->id_header = "Message-Id";
    o->host_name = "sink.example";
    int rc = cli_parse(&command, argc, argv, o, e);
    if (rc == 0 && o->listen_count == 0)
        rc = cli_address("127.0.0.1:2525", &o->listen[o->listen_count++], e);
    return rc;
}
