/*
 * What an operator types, as tables: options (one row each) and commands (one row each, with the
 * admin verb behind it). Parser, help, shell completion, docs/admin.md and the man page's check
 * come from these rows and from those of net/admin_verbs.h.
 */
#ifndef PMTA_CTL_COMMAND_H
#define PMTA_CTL_COMMAND_H

#include "base/buf.h"
#include "base/err.h"
#include "net/admin_verbs.h"

#include <jansson.h>

enum option_kind {
    OPTION_SWITCH,
    OPTION_TEXT,
    OPTION_NUMBER,
    OPTION_TIME, /* seconds, or an interval as in the configuration */
};

/* OPTION(ID, "name", letter or 0, kind, "ARGUMENT", "name in the JSON object" or NULL, "help") */
#define CTL_OPTIONS(OPTION)                                                                        \
    OPTION(SOCKET, "socket", 's', OPTION_TEXT, "PATH", NULL,                                       \
           "admin socket; else $PMTA_ADMIN_SOCKET, else " CTL_DEFAULT_SOCKET)                      \
    OPTION(JSON, "json", 0, OPTION_SWITCH, "", NULL, "print the objects as they came, one a line") \
    OPTION(TIMEOUT, "timeout", 0, OPTION_TIME, "TIME", NULL,                                       \
           "give up after this silence, as 30 (seconds) or 5m (default 60, 0: wait for ever)")     \
    OPTION(HELP, "help", 'h', OPTION_SWITCH, "", NULL, "print help and exit")                      \
    OPTION(VERSION, "version", 0, OPTION_SWITCH, "", NULL, "print the version and exit")           \
    OPTION(PIPE, "pipe", 0, OPTION_TEXT, "PIPE", NULL, "only this pipe")                           \
    OPTION(LIMIT, "limit", 0, OPTION_NUMBER, "N", "limit", "at most so many rows")                 \
    OPTION(GROUPS, "groups", 0, OPTION_SWITCH, "", "groups",                                       \
           "groups of queues that share limits, and their members")                                \
    OPTION(QUEUE, "queue", 0, OPTION_TEXT, "QUEUE", "queue",                                       \
           "queues of this name, DOMAIN/VMTA with * and ?")                                        \
    OPTION(ID, "id", 0, OPTION_TEXT, "ID", "id", "this message")                                   \
    OPTION(JOB, "job", 0, OPTION_TEXT, "JOB", "job", "messages of this job, with * and ?")         \
    OPTION(RCPT, "rcpt", 0, OPTION_TEXT, "ADDRESS", "rcpt",                                        \
           "this recipient; with * and ? where several may be meant")                              \
    OPTION(SENDER, "sender", 0, OPTION_TEXT, "ADDRESS", "sender",                                  \
           "messages of this envelope sender, with * and ?")                                       \
    OPTION(CONNECT, "connect", 0, OPTION_SWITCH, "", "connect",                                    \
           "connect to each host: EHLO, STARTTLS, certificate; no mail is sent")                   \
    OPTION(USE_DANE, "use-dane", 0, OPTION_SWITCH, "", "use_dane",                                 \
           "as if use-dane were yes: look for TLSA records")                                       \
    OPTION(USE_MTA_STS, "use-mta-sts", 0, OPTION_SWITCH, "", "use_mta_sts",                        \
           "as if use-mta-sts were yes: look for an MTA-STS policy")                               \
    OPTION(DRY_RUN, "dry-run", 0, OPTION_SWITCH, "", "dry_run",                                    \
           "only count what would be deleted")                                                     \
    OPTION(BY, "by", 0, OPTION_TEXT, "WHAT", "by",                                                 \
           "pipe, domain, vmta, job, queue, category or time (default pipe)")                      \
    OPTION(SINCE, "since", 0, OPTION_TEXT, "TIME", "since",                                        \
           "from then on: 15m, 6h, 7d ago; logs also 2026-11-21T04:05 (UTC)")                      \
    OPTION(VMTA, "vmta", 0, OPTION_TEXT, "NAME", "vmta", "for this virtual MTA")                   \
    OPTION(MODE, "mode", 0, OPTION_TEXT, "backoff|normal", "mode", "the mode to set")              \
    OPTION(REENABLE_AFTER, "reenable-after", 0, OPTION_TEXT, "TIME", "reenable_after",             \
           "use it again after this time (30m, 4h, never); else reenable-source-ip-after")         \
    OPTION(SOURCE, "source", 0, OPTION_TEXT, "ADDRESS", "source",                                  \
           "only this source address, with * and ?")                                               \
    OPTION(DAY, "day", 0, OPTION_NUMBER, "N", "day", "day of the schedule, from 1")                \
    OPTION(SCHEDULE, "schedule", 0, OPTION_TEXT, "SCHEDULE", "schedule",                           \
           "as warmup-schedule would be written")                                                  \
    OPTION(TARGET, "target", 0, OPTION_NUMBER, "N", "target",                                      \
           "up to the day that allows so many messages")                                           \
    OPTION(DAYS, "days", 0, OPTION_NUMBER, "N", "days", "so many days (default 30)")               \
    OPTION(PHASE, "phase", 0, OPTION_TEXT, "PHASE", "phase",                                       \
           "greeting, helo, starttls, mail, rcpt, data or end-of-data (default rcpt)")             \
    OPTION(MAX_MSG_RATE, "max-msg-rate", 0, OPTION_TEXT, "RATE", "max_msg_rate",                   \
           "recipients per time: 100/s, 5000/h, 0 for no limit, or 'default'")                     \
    OPTION(POOL, "pool", 0, OPTION_TEXT, "NAME", "pool", "for this pool of virtual MTAs")          \
    OPTION(TOPIC, "topic", 0, OPTION_TEXT, "TOPIC", "topic",                                       \
           "only this: spf, helo, reverse-dns, dkim, dmarc, bimi, bounces, mta-sts, dane")         \
    OPTION(MAIL_FROM, "mail-from", 0, OPTION_TEXT, "DOMAIN", "mail_from",                          \
           "domain of the return path, when it is another one")                                    \
    OPTION(PRIVATE, "private", 0, OPTION_SWITCH, "", "private",                                    \
           "check private and loopback addresses, too")                                            \
    OPTION(SCOPE, "scope", 0, OPTION_TEXT, "SCOPE", "scope",                                       \
           "global (as without it), pipe:NAME, domain:NAME or job:NAME")                           \
    OPTION(REASON, "reason", 0, OPTION_TEXT, "REASON", "reason",                                   \
           "manual (as without it), bounce, complaint or unsubscribe")                             \
    OPTION(                                                                                        \
        EXPIRES, "expires", 0, OPTION_TEXT, "TIME", "expires",                                     \
        "never (as without it), after an interval such as 90d, or at a date such as 2027-01-31")   \
    OPTION(NOTE, "note", 0, OPTION_TEXT, "TEXT", "note", "one line that is kept with it")          \
    OPTION(REMOVE, "remove", 0, OPTION_SWITCH, "", NULL, "take the addresses off the list")        \
    OPTION(CONFIG, "config", 0, OPTION_TEXT, "DIR", NULL, "configuration (/etc/pmta/config.d)")    \
    OPTION(VOLUME, "volume", 0, OPTION_TEXT, "DOMAIN=N", NULL,                                     \
           "so many messages to this domain; may be repeated")                                     \
    OPTION(VOLUMES, "volumes", 0, OPTION_TEXT, "FILE", NULL,                                       \
           "the same as lines 'domain N [vmta] [pipe]'; - is standard input")                      \
    OPTION(START, "start", 0, OPTION_TEXT, "TIME", NULL,                                           \
           "when it begins, UTC, such as 2026-11-21T08:00 (now)")                                  \
    OPTION(FOR, "for", 0, OPTION_TEXT, "INTERVAL", "for",                                          \
           "for this time (of simulate: the longest that is looked at, 40d)")                      \
    OPTION(LATENCY, "latency", 0, OPTION_TEXT, "INTERVAL", NULL,                                   \
           "each transaction takes this long (200ms)")                                             \
    OPTION(CONNECT_TIME, "connect-time", 0, OPTION_TEXT, "INTERVAL", NULL,                         \
           "each connection takes this long to open (100ms)")                                      \
    OPTION(ACCEPT_RATE, "accept-rate", 0, OPTION_TEXT, "DOMAIN=RATE", NULL,                        \
           "the domain answers 421 4.7.0 above this rate; may be repeated")                        \
    OPTION(MX, "mx", 0, OPTION_TEXT, "DOMAIN=HOST,...", NULL,                                      \
           "MX hosts of the domain (itself); may be repeated")                                     \
    OPTION(FOLLOW, "follow", 'f', OPTION_SWITCH, "", NULL, "go on with new lines as they come")    \
    OPTION(LEVEL, "level", 0, OPTION_TEXT, "LEVEL", NULL,                                          \
           "only lines of this level and above: debug, info, warn, error")                         \
    OPTION(LINES, "lines", 'n', OPTION_NUMBER, "N", NULL, "the last N lines of those")             \
    OPTION(FILE, "file", 0, OPTION_TEXT, "PATH", NULL,                                             \
           "this log file, without asking pmtad where it is")                                      \
    OPTION(COUNT, "count", 0, OPTION_NUMBER, "N", "count", "so many attempts or sessions (default 1)")         \
    OPTION(NOW, "now", 0, OPTION_SWITCH, "", "now", "try the queue now, as schedule does")         \
    OPTION(LISTENER, "listener", 0, OPTION_TEXT, "NAME", "listener",                               \
           "sessions that come in at this listener")                                               \
    OPTION(FROM, "from", 0, OPTION_TEXT, "ADDRESS", "from",                                        \
           "sessions of this client, 192.0.2.1 or 192.0.2.0/24")

#define CTL_DEFAULT_SOCKET "/run/pmta/admin.sock"

enum option {
#define OPTION_ENUM(id, name, letter, kind, argument, json, help) OPT_##id,
    CTL_OPTIONS(OPTION_ENUM)
#undef OPTION_ENUM
        OPTION_COUNT
};

#define OPTION_BIT(id) (UINT64_C(1) << OPT_##id)
_Static_assert(OPTION_COUNT <= 64, "options of a command are bits");
#define OPTIONS_COMMON \
    (OPTION_BIT(SOCKET) | OPTION_BIT(JSON) | OPTION_BIT(TIMEOUT) | OPTION_BIT(HELP))

struct option_info {
    const char *name;
    char letter;
    enum option_kind kind;
    const char *argument;
    const char *json;
    const char *help;
};

const struct option_info *option_info(enum option o);

/* What the words after the command are. */
enum operand_kind {
    OPERAND_NONE,
    OPERAND_TARGET_PIPE, /* a pipe's name, which becomes the target */
    OPERAND_ARGUMENT,    /* a member of the JSON object */
    OPERAND_TWO,         /* two members of it, both required */
    OPERAND_THREE,       /* the same, and a third that may be left out */
    OPERAND_SUBSYSTEMS,  /* names of subsystems, joined with commas */
    OPERAND_COMMAND,     /* words of a command (help) */
};

struct parsed;
struct answer;
struct page;

struct command {
    const char *words;          /* "show queues" */
    enum admin_verb verb;       /* VERB_COUNT: answered here, by run */
    enum admin_verb queue_verb; /* with --queue another one; 0: not */
    const char *operands;       /* as help prints it */
    enum operand_kind operand_kind;
    bool operand_required;
    const char *operand_json; /* of OPERAND_ARGUMENT; the first of OPERAND_TWO */
    const char *operand_json2;
    const char *operand_json3;
    uint64_t options; /* OPTION_BITs besides the common ones */
    const char *help; /* NULL: the verb's */
    const char *more; /* a paragraph for `help COMMAND`, or NULL */
    int (*run)(const struct parsed *p);
    void (*render)(const struct answer *a, struct page *page);
};

extern const struct command commands[];
extern const size_t command_count;

const char *command_help(const struct command *c);

/* The command line, understood. */
struct parsed {
    const struct command *command; /* NULL: only options were given */
    const char *options[OPTION_COUNT];
    const char **operands; /* malloc'd */
    size_t operand_count;
};

/* 0, or ERR_SYNTAX with one line in *e that names what was not understood and the nearest word. */
int command_parse(int argc, char **argv, struct parsed *ret, struct err *e);
void parsed_free(struct parsed *p);

static inline bool parsed_has(const struct parsed *p, enum option o)
{
    return p->options[o] != NULL;
}

/* Where to connect, and the longest silence (-1: for ever). */
const char *parsed_socket(const struct parsed *p);
int parsed_timeout_ms(const struct parsed *p);

/* The line to send, without its newline, into *out. 0 or ERR_LIMIT. */
int command_request(const struct parsed *p, struct buf *out, struct err *e);

/* The command whose words the first ones of `words` are (the longest), and how many it took; NULL
 * with *e filled. */
const struct command *command_find(const char *const *words, size_t count, size_t *ret_taken,
                                   struct err *e);

/* `pmtactl --help`, `pmtactl help COMMAND`, and the script of `--completion bash`. */
void help_overview(struct buf *out);
void help_command(const struct command *c, struct buf *out);
int help_run(const struct parsed *p);
void completion_bash(struct buf *out);

#endif
