/*
 * Every admin verb is one row. From the rows come root's permit table, pmtactl's parser and help,
 * shell completion and docs/admin.md. A request is one line, VERB TARGET {json}; an answer is JSON
 * objects, one per line. Root reads verb and target only.
 *
 * VERB(ID, "verb", level, targets, "arguments", "help")
 *   targets    processes the line is passed to: mask of roles; ROLE_ROOT answers itself. TARGET
 *              in the line is "*" (all of these), or "ROLE", or "ROLE/NAME" ("pipe/bulk")
 *   arguments  names in the JSON object, for help: "name" required, "[name]" optional
 */
#ifndef PMTA_NET_ADMIN_VERBS_H
#define PMTA_NET_ADMIN_VERBS_H

#include "net/ipc_messages.h"

enum admin_level {
    ADMIN_READ = 0,
    ADMIN_OPERATE = 1,
};

/* clang-format off */
#define ADMIN_VERBS(VERB)                                                                          \
    VERB(STATUS, "status", ADMIN_READ, ROLE_ROOT | ROLE_CHILD, "",                                 \
        "what runs, since when, and the totals of each process")                                   \
    VERB(SHOW_PIPES, "show-pipes", ADMIN_READ, ROLE_PIPE, "",                                      \
        "one object per pipe: state, queued, rates, connections, spool")                           \
    VERB(SHOW_QUEUES, "show-queues", ADMIN_READ, ROLE_PIPE, "[queue] [limit] [groups]",            \
        "queues that hold mail, largest first; or the groups that share limits")                                                    \
    VERB(SHOW_LIMITS, "show-limits", ADMIN_READ, ROLE_PIPE, "domain [vmta]",                       \
        "every limit that applies to a queue: where it stands, its level, who waits")              \
    VERB(SHOW_ADAPTIVE, "show-adaptive", ADMIN_READ, ROLE_PIPE, "[queue]",                         \
        "rates that adaptive has found: now, between which bounds, what changed them")             \
    VERB(SHOW_WARMUP, "show-warmup", ADMIN_READ, ROLE_PIPE, "[queue]",                             \
        "source addresses that warm up: day, budget, results, what comes next")                    \
    VERB(SHOW_CONNECTIONS, "show-connections", ADMIN_READ, ROLE_PIPE | ROLE_RECEIVER, "",          \
        "open SMTP connections, in and out")                                                       \
    VERB(SHOW_VMTAS, "show-vmtas", ADMIN_READ, ROLE_PIPE, "",                                      \
        "virtual MTAs: source addresses, pools, cold ones, and what they hold")                    \
    VERB(SHOW_TLS_REPORT, "show-tls-report", ADMIN_READ, ROLE_PIPE, "",                            \
        "how TLS went to each domain that is reported to: today, and what is not sent yet")        \
    VERB(SHOW_MESSAGE, "show-message", ADMIN_READ, ROLE_PIPE, "id",                                \
        "envelope and state of each recipient of a message")                                       \
    VERB(WHY, "why", ADMIN_READ, ROLE_PIPE, "id",                                                  \
        "what a message waits for, what put it there, when it moves next")                         \
    VERB(LEDGER, "ledger", ADMIN_READ, ROLE_PIPE, "",                                              \
        "received = delivered + bounced + expired + deleted + queued, per pipe")                   \
    VERB(CONFIG_EXPLAIN, "config-explain", ADMIN_READ, ROLE_PIPE, "domain [vmta] [pipe]",          \
        "each effective value, where it was written and what it overrode")                         \
    VERB(RESOLVE, "resolve", ADMIN_READ, ROLE_PIPE,                                                \
        "domain [vmta] [connect] [use_dane] [use_mta_sts]",                                        \
        "where mail for a domain would go, and which TLS that asks for; connect: whether it works") \
    VERB(PAUSE_PIPE, "pause-pipe", ADMIN_OPERATE, ROLE_PIPE, "",                                   \
        "stop delivery of a pipe; mail is still accepted")                                         \
    VERB(RESUME_PIPE, "resume-pipe", ADMIN_OPERATE, ROLE_PIPE, "",                                 \
        "start delivery of a pipe again")                                                          \
    VERB(PAUSE_QUEUE, "pause-queue", ADMIN_OPERATE, ROLE_PIPE, "queue",                            \
        "stop delivery of queues; DOMAIN/VMTA with * on either side")                              \
    VERB(RESUME_QUEUE, "resume-queue", ADMIN_OPERATE, ROLE_PIPE, "queue",                          \
        "start delivery of queues again")                                                          \
    VERB(WARMUP_HOLD, "warmup-hold", ADMIN_OPERATE, ROLE_PIPE, "queue [source]",                   \
        "keep a warm-up on its day")                                                               \
    VERB(WARMUP_RESUME, "warmup-resume", ADMIN_OPERATE, ROLE_PIPE, "queue [source]",               \
        "let a warm-up that is held go on")                                                        \
    VERB(WARMUP_SET_DAY, "warmup-set-day", ADMIN_OPERATE, ROLE_PIPE, "queue [source] day",         \
        "put a warm-up on a day of its schedule")                                                  \
    VERB(WARMUP_PLAN, "warmup-plan", ADMIN_READ, ROLE_PIPE, "[queue] [schedule] [target] [days]",  \
        "the days ahead of a warm-up")                                                             \
    VERB(SCHEDULE, "schedule", ADMIN_OPERATE, ROLE_PIPE, "queue",                                  \
        "retry now what waits for its next attempt")                                               \
    VERB(DELETE, "delete", ADMIN_OPERATE, ROLE_PIPE, "[queue] [id] [job] [rcpt] [sender] dry_run", \
        "delete queued recipients that match everything given")                                    \
    VERB(SHOW_ACTIONS, "show-actions", ADMIN_READ, ROLE_PIPE, "[queue]",                           \
        "what replies and operators hold or slow, since when, until when, and why")                \
    VERB(CANCEL, "cancel", ADMIN_OPERATE, ROLE_PIPE, "id",                                         \
        "end an action before its time")                                                           \
    VERB(SET_QUEUE, "set-queue", ADMIN_OPERATE, ROLE_PIPE, "queue mode",                           \
        "put queues into back-off, or back to normal")                                             \
    VERB(DISABLE_SOURCE, "disable-source", ADMIN_OPERATE, ROLE_PIPE, "ip queue [reenable_after]",  \
        "let queues not use a source address")                                                     \
    VERB(ENABLE_SOURCE, "enable-source", ADMIN_OPERATE, ROLE_PIPE, "ip queue",                     \
        "let queues use a source address again")                                                   \
    VERB(SHOW_JOBS, "show-jobs", ADMIN_READ, ROLE_PIPE, "[job] [limit]",                           \
        "jobs (X-Job) with queued mail or settings: counts, pauses, rates; largest first")         \
    VERB(PAUSE_JOB, "pause-job", ADMIN_OPERATE, ROLE_PIPE, "job",                                  \
        "stop delivery of a job over all queues")                                                  \
    VERB(RESUME_JOB, "resume-job", ADMIN_OPERATE, ROLE_PIPE, "job",                                \
        "start delivery of a job again")                                                           \
    VERB(SET_JOB, "set-job", ADMIN_OPERATE, ROLE_PIPE, "job max_msg_rate",                         \
        "give a job a rate of its own, or 'default' for job-max-msg-rate")                         \
    VERB(CLASSIFY, "classify", ADMIN_READ, ROLE_PIPE, "reply [phase]",                             \
        "the bounce category of a reply, the rule that decides and what it goes by")               \
    VERB(SHOW_EVENTS, "show-events", ADMIN_READ, ROLE_SHIP, "[sink]",                              \
        "event sinks: how far each is behind, what it sent, and what is wrong")                    \
    VERB(SHOW_UNCLASSIFIED, "show-unclassified", ADMIN_READ, ROLE_PIPE, "[limit]",                 \
        "replies that no rule gave a category, in groups, most frequent first")                    \
    VERB(SHOW_INBOUND, "show-inbound", ADMIN_READ, ROLE_PIPE, "",                                  \
        "what became of the bounces, complaints and unsubscriptions that came in by mail")         \
    VERB(VERP_DECODE, "verp-decode", ADMIN_READ, ROLE_PIPE, "address [rcpt]",                      \
        "what a bounce or unsubscribe address of ours says, or that it is forged")                 \
    VERB(STATS, "stats", ADMIN_READ, ROLE_PIPE, "[by] [since] [limit]",                            \
        "what became of the mail: per pipe, domain, virtual MTA, job, queue, category or over time") \
    VERB(CHECK_SENDER, "check-sender", ADMIN_READ, ROLE_PIPE, "domain [vmta] [pool] [mail_from] [private] [topic]", \
        "what receivers see of a sender domain: SPF, reverse names, DKIM, DMARC, BIMI, bounces")   \
    VERB(CHECK_SPF, "check-spf", ADMIN_READ, ROLE_PIPE, "ip helo [mail_from]",                     \
        "what SPF says of mail from an address, and by which records")                             \
    /* suppression list */                                                                         \
    VERB(SUPPRESS_ADD, "suppress-add", ADMIN_OPERATE, ROLE_SUPPRESS, "address [scope] [reason] [expires] [note]", \
        "put an address on the suppression list")                                                  \
    VERB(SUPPRESS_DEL, "suppress-del", ADMIN_OPERATE, ROLE_SUPPRESS, "address [scope]",            \
        "take an address off the suppression list")                                                \
    VERB(SUPPRESS_FIND, "suppress-find", ADMIN_READ, ROLE_SUPPRESS, "address",                     \
        "whether an address is on the suppression list, for what, since when and why")             \
    VERB(SUPPRESS_IMPORT, "suppress-import", ADMIN_OPERATE, ROLE_SUPPRESS, "lines [columns] [scope] [reason] [expires] [note] [remove]", \
        "put the addresses of a list on the suppression list, or take them off; one piece of it")  \
    VERB(SUPPRESS_EXPORT, "suppress-export", ADMIN_OPERATE, ROLE_SUPPRESS, "[from]",               \
        "the suppression list as CSV, one piece of it")                                            \
    VERB(SUPPRESS_SHOW, "suppress-show", ADMIN_READ, ROLE_SUPPRESS, "",                            \
        "how many addresses are on the suppression list, and what it takes")                       \
    VERB(RELOAD, "reload", ADMIN_OPERATE, ROLE_ROOT, "",                                           \
        "read the configuration again")                                                            \
    VERB(DEBUG, "debug", ADMIN_OPERATE, ROLE_ROOT, "subsystems [pipe] [for]",                      \
        "switch debug logging of subsystems on, or off with none")                                 \
    VERB(DEBUG_QUEUE, "debug-queue", ADMIN_OPERATE, ROLE_PIPE, "queue state [for]",                \
        "switch debug logging of the connections of queues on or off")                             \
    VERB(TRACE, "trace", ADMIN_OPERATE, ROLE_PIPE, "queue [count] [timeout] [now]",                \
        "show the SMTP dialogue of the next attempt of a queue as it happens")                     \
    VERB(TRACE_INBOUND, "trace-inbound", ADMIN_OPERATE, ROLE_RECEIVER, "[listener] [from] [count] [timeout]", \
        "show the SMTP dialogue of the next session that comes in as it happens")                  \
    VERB(ROTATE_LOG, "rotate-log", ADMIN_OPERATE, ROLE_ROOT, "",                                   \
        "begin a new log file")                                                                    \
    VERB(SHUTDOWN, "shutdown", ADMIN_OPERATE, ROLE_ROOT, "",                                       \
        "drain and stop, as SIGTERM does")
/* clang-format on */

enum admin_verb {
#define VERB_ENUM(id, name, level, targets, args, help) VERB_##id,
    ADMIN_VERBS(VERB_ENUM)
#undef VERB_ENUM
        VERB_COUNT
};

struct admin_verb_info {
    const char *name;
    enum admin_level level;
    unsigned targets; /* ROLE_x bits */
    const char *args;
    const char *help;
};

const struct admin_verb_info *admin_verb_info(enum admin_verb v);
/* VERB_COUNT when there is none of that name (len bytes). */
enum admin_verb admin_verb_find(const char *name, unsigned long len);

#endif
