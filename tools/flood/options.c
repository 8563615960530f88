/*
 * options: the command line of pmta-flood, one row per option. Called once by main; values are
 * borrowed from argv. What ends up in a command or a header field is checked here, so that no value
 * can break a line.
 */
#include "flood/flood.h"

#include "base/clock.h"

#define OPTIONS struct flood_options *o = options

#define SWITCH(function, member)                                         \
    static int function(void *options, const char *value, struct err *e) \
    {                                                                    \
        OPTIONS;                                                         \
        (void)value;                                                     \
        (void)e;                                                         \
        o->member = true;                                                \
        return 0;                                                        \
    }
SWITCH(set_json, json)
SWITCH(set_quiet, quiet)

#define NUMBER(function, member, min, max)                               \
    static int function(void *options, const char *value, struct err *e) \
    {                                                                    \
        OPTIONS;                                                         \
        return cli_number(value, min, max, &o->member, e);               \
    }
NUMBER(set_messages, messages, 1, UINT64_C(1000000000000))
NUMBER(set_connections, connections, 1, 20000)
NUMBER(set_per_connection, messages_per_connection, 1, UINT32_MAX)
NUMBER(set_recipients, plan.recipients, 1, 10000)
NUMBER(set_seed, plan.seed, 0, UINT64_MAX)
NUMBER(set_tries, tries, 1, 1000000)

#define INTERVAL(function, member)                                       \
    static int function(void *options, const char *value, struct err *e) \
    {                                                                    \
        OPTIONS;                                                         \
        int rc = cli_interval(value, &o->member, e);                     \
        if (rc == 0 && o->member <= 0)                                   \
            rc = err_set(e, ERR_SYNTAX, "expected more than nothing");   \
        return rc;                                                       \
    }
INTERVAL(set_for, for_ms)
INTERVAL(set_timeout, timeout_ms)
INTERVAL(set_patience, patience_ms)

/* Visible characters without angle brackets, at most 320 of them. */
static int check_word(struct strview s, struct err *e)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c <= ' ' || c == 0x7f || c == '<' || c == '>')
            return err_set(e, ERR_SYNTAX, "blanks, control bytes and brackets are not allowed");
    }
    return s.len <= 320 ? 0 : err_set(e, ERR_SYNTAX, "longer than 320 bytes");
}

static int set_word(const char **ret, const char *value, struct err *e)
{
    *ret = value;
    return *value ? check_word(sv_of(value), e) : err_set(e, ERR_SYNTAX, "expected a value");
}

static int set_weights(struct weights *w, const char *value, struct err *e)
{
    int rc = weights_parse(w, value, e);
    for (size_t i = 0; i < w->count && rc == 0; i++)
        rc = check_word(w->entries[i].name, e);
    return rc;
}

static int set_to(void *options, const char *value, struct err *e)
{
    OPTIONS;
    return cli_address(value, &o->to, e);
}

static int set_rate(void *options, const char *value, struct err *e)
{
    OPTIONS;
    uint64_t per_second;
    if (sv_to_u64(sv_of(value), &per_second) && per_second > 0)
        o->rate = (struct rate){per_second, 1000};
    else if (units_parse_rate(sv_of(value), &o->rate) < 0)
        return err_set(e, ERR_SYNTAX, "expected a rate such as 500/s, 600/h or unlimited");
    if (o->rate.count > 10000000)
        return err_set(e, ERR_SYNTAX, "expected at most 10000000");
    return 0;
}

static int set_size(void *options, const char *value, struct err *e)
{
    OPTIONS;
    return set_weights(&o->plan.sizes, value, e);
}

static int set_domains(void *options, const char *value, struct err *e)
{
    OPTIONS;
    return set_weights(&o->plan.domains, value, e);
}

static int set_pipe(void *options, const char *value, struct err *e)
{
    OPTIONS;
    return set_weights(&o->plan.pipes, value, e);
}

static int set_from(void *options, const char *value, struct err *e)
{
    OPTIONS;
    o->plan.from = strcmp(value, "<>") == 0 ? "" : value;
    return check_word(sv_of(o->plan.from), e);
}

static int set_job(void *options, const char *value, struct err *e)
{
    OPTIONS;
    return set_word(&o->plan.job, value, e);
}

static int set_vmta(void *options, const char *value, struct err *e)
{
    OPTIONS;
    return set_word(&o->plan.vmta, value, e);
}

static int set_helo(void *options, const char *value, struct err *e)
{
    OPTIONS;
    return set_word(&o->helo, value, e);
}

static int set_pipelining(void *options, const char *value, struct err *e)
{
    OPTIONS;
    o->no_pipelining = strcmp(value, "no") == 0;
    return o->no_pipelining || strcmp(value, "yes") == 0
               ? 0
               : err_set(e, ERR_SYNTAX, "expected yes or no");
}

static int set_auth(void *options, const char *value, struct err *e)
{
    OPTIONS;
    o->auth = value;
    if (!strchr(value, ':') || value[0] == ':' || strlen(value) > 512)
        return err_set(e, ERR_SYNTAX, "expected USER:PASSWORD");
    return 0;
}

static int set_record(void *options, const char *value, struct err *e)
{
    OPTIONS;
    o->record = value;
    return *value ? 0 : err_set(e, ERR_SYNTAX, "expected a file");
}

static const struct cli_option rows[] = {
    {NULL, NULL, "Where to and how much", NULL},
    {"to", "ADDR:PORT", "the server (127.0.0.1:25)", set_to},
    {"messages", "N", "end after so many messages", set_messages},
    {"for", "INTERVAL", "end after this time; one of the two is needed", set_for},
    {"rate", "N/UNIT",
     "begin messages at this rate, whether or not the server\n"
     "keeps up; N alone is per second (unlimited)",
     set_rate},
    {"connections", "N", "open at the same time (10)", set_connections},
    {"messages-per-connection", "N", "then QUIT and connect again (no limit)", set_per_connection},
    {NULL, NULL, "The messages (LIST: value[:weight],...)", NULL},
    {"size", "LIST", "bytes with header, such as 4k or 4k:80,64k:19,1m:1 (4k)", set_size},
    {"domains", "LIST", "of the recipients, user<n>@domain (flood.example)", set_domains},
    {"rcpts-per-message", "N", "recipients of each message (1)", set_recipients},
    {"from", "ADDRESS", "sender, \"<>\" for none (flood@flood.example)", set_from},
    {"pipe", "LIST", "sets X-Pipe", set_pipe},
    {"job", "NAME", "sets X-Job", set_job},
    {"vmta", "NAME", "sets X-Virtual-MTA", set_vmta},
    {"seed", "N", "same seed, same messages and message ids (from the clock)", set_seed},
    {NULL, NULL, "The conversation", NULL},
    {"pipelining", "yes|no", "use PIPELINING when it is offered (yes)", set_pipelining},
    {"auth", "USER:PASSWORD", "log in with AUTH PLAIN", set_auth},
    {"helo", "NAME", "name in EHLO (flood.example)", set_helo},
    {"timeout", "INTERVAL", "for connecting and for each reply (60s)", set_timeout},
    {"tries", "N",
     "begin a message again whose connection was lost before\nits end of data, "
     "at most so often in all (10)",
     set_tries},
    {"patience", "INTERVAL", "give up when no connection could be used for so long (30s)",
     set_patience},
    {NULL, NULL, "The report", NULL},
    {"record", "FILE",
     "one line per accepted recipient: id, recipient, sender,\nsize, time of the 250", set_record},
    {"json", NULL, "the report as one JSON object", set_json},
    {"quiet", NULL, "no report and no progress", set_quiet},
};

static const struct cli command = {
    .program = "pmta-flood",
    .usage = "--to ADDR:PORT --messages N | --for INTERVAL [options]",
    .about = "Sends mail by SMTP as fast as it can or at an exact rate, counts what becomes of it\n"
             "and how long it takes. With a rate, latency counts from the moment a message was\n"
             "to be sent, so that a server that stalls cannot hide it.",
    .rows = rows,
    .row_count = ARRAY_LEN(rows),
    .more = "Each message has a Message-Id of its own and X-Flood-Sent, the time in microseconds.\n"
            "SIGINT or SIGTERM: finish what is under way; a second one: end now.\n\n"
            "Exit status: 0 everything was accepted, 1 something was refused, lost or not sent,\n"
            "or the record could not be written, 2 wrong usage.\n\n"
            "Example: 500 messages a second of mixed sizes for a minute\n"
            "  pmta-flood --to 127.0.0.1:2525 --for 1m --rate 500/s --connections 20 \\\n"
            "             --size 4k:80,64k:19,1m:1 --domains a.example:5,b.example:1\n",
};

int flood_options_parse(struct flood_options *o, int argc, char **argv, struct err *e)
{
    memset(o, 0, sizeof(*o));
    o->connections = o->tries = 10;
    o->timeout_ms = 60000;
    o->patience_ms = 30000;
    o->helo = "flood.example";
    o->plan.from = "flood@flood.example";
    o->plan.recipients = 1;
    o->plan.seed = (uint64_t)clock_wall_us();
    int rc = cli_address("127.0.0.1:25", &o->to, e);
    if (rc == 0)
        rc = weights_parse(&o->plan.sizes, "4k", e);
    if (rc == 0)
        rc = weights_parse(&o->plan.domains, "flood.example", e);
    if (rc == 0)
        rc = cli_parse(&command, argc, argv, o, e);
    if (rc == 0 && !o->messages && !o->for_ms)
        rc = err_set(e, ERR_SYNTAX, "say how much: --messages N or --for INTERVAL");
    return rc;
}

void flood_options_fini(struct flood_options *o)
{
    weights_fini(&o->plan.sizes);
    weights_fini(&o->plan.domains);
    weights_fini(&o->plan.pipes);
}
