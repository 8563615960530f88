/*
 * The commands of pmtactl, one row each; see command.h. The order is that of the help page.
 */
#include "command.h"
#include "dkim.h"
#include "logs.h"
#include "password.h"
#include "render.h"
#include "simulate.h"
#include "suppress.h"

#include <stdio.h>

static int run_version(const struct parsed *p)
{
    (void)p;
    puts("pmtactl " PMTA_VERSION);
    return 0;
}

#define WITH_PIPE OPTION_BIT(PIPE)

const struct command commands[] = {
    {
        .words = "status",
        .verb = VERB_STATUS,
        .more = "The page to look at first: the daemon, its processes, the pipes, and a line each "
                "for what receivers and the resolver do.",
        .render = render_status,
    },
    {
        .words = "show pipes",
        .verb = VERB_SHOW_PIPES,
        .help = "the pipes: state, queued, rates, connections, spool",
        .options = WITH_PIPE,
        .render = render_pipes,
    },
    {
        .words = "show queues",
        .verb = VERB_SHOW_QUEUES,
        .operands = "[DOMAIN[/VMTA]]",
        .operand_kind = OPERAND_ARGUMENT,
        .operand_json = "queue",
        .options = WITH_PIPE | OPTION_BIT(LIMIT) | OPTION_BIT(GROUPS),
        .more = "DOMAIN and VMTA may contain * and ?. The last column says what a queue waits for, "
                "or the last answer of the other side; on a terminal it is cut at the right edge. "
                "With --groups: the queues that are counted together, because their MX hosts are "
                "the same ([mx-rollup], auto-mx-rollup) or queue-to says so.",
        .render = render_queues,
    },
    {
        .words = "show adaptive",
        .verb = VERB_SHOW_ADAPTIVE,
        .operands = "[QUEUE]",
        .operand_kind = OPERAND_ARGUMENT,
        .operand_json = "queue",
        .options = WITH_PIPE,
        .more =
            "QUEUE is a queue or a group of queues, with * and ?. The curve is the last hour, "
            "three minutes a sign; --json has the last changes with the replies that caused them.",
        .render = render_adaptive,
    },
    {
        .words = "show warmup",
        .verb = VERB_SHOW_WARMUP,
        .operands = "[QUEUE]",
        .operand_kind = OPERAND_ARGUMENT,
        .operand_json = "queue",
        .options = WITH_PIPE,
        .more = "QUEUE is a queue or a group of queues, with * and ?. A step is a day of "
                "warmup-schedule, or a 96th of warmup.",
        .render = render_warmup,
    },
    {
        .words = "show limits",
        .verb = VERB_SHOW_LIMITS,
        .operands = "DOMAIN[/VMTA]",
        .operand_kind = OPERAND_ARGUMENT,
        .operand_required = true,
        .operand_json = "domain",
        .options = WITH_PIPE | OPTION_BIT(VMTA),
        .more = "Levels are those of all pipes together. Without a virtual MTA the answer is for "
                "the pipe's default one. 'in use' of a rate is what may go out at once, or when "
                "the next one may.",
        .render = render_limits,
    },
    {
        .words = "show jobs",
        .verb = VERB_SHOW_JOBS,
        .operands = "[JOB]",
        .operand_kind = OPERAND_ARGUMENT,
        .operand_json = "job",
        .options = WITH_PIPE | OPTION_BIT(LIMIT),
        .more = "JOB may contain * and ?. Counts are recipients; those of attempts are since the "
                "job appeared or the pipe was started.",
        .render = render_jobs,
    },
    {
        .words = "show connections",
        .verb = VERB_SHOW_CONNECTIONS,
        .options = WITH_PIPE,
        .more = "With --pipe only the connections out of that pipe.",
        .render = render_connections,
    },
    {
        .words = "show vmtas",
        .verb = VERB_SHOW_VMTAS,
        .options = WITH_PIPE,
        .more =
            "Pools are shown with the weight of the virtual MTA in them, cold virtual MTAs with "
            "the messages that they had today. Source addresses that this machine does not "
            "have are named below the table with the line that configures them.",
        .render = render_vmtas,
    },
    {
        .words = "show tls-report",
        .verb = VERB_SHOW_TLS_REPORT,
        .options = WITH_PIPE,
        .more = "Counts sessions of pipes with tls-report = yes, for domains that ask for reports "
                "with a TXT record at _smtp._tls (RFC 8460), per policy. Reports of a day are sent "
                "in the night after (UTC).",
        .render = render_tls_report,
    },
    {
        .words = "show message",
        .verb = VERB_SHOW_MESSAGE,
        .operands = "ID",
        .operand_kind = OPERAND_ARGUMENT,
        .operand_required = true,
        .operand_json = "id",
        .options = WITH_PIPE,
        .more = "ID is the message id of the log and of the accounting file; ID.N is its "
                "recipient N alone.",
        .render = render_message,
    },
    {
        .words = "show actions",
        .verb = VERB_SHOW_ACTIONS,
        .operands = "[DOMAIN[/VMTA]]",
        .operand_kind = OPERAND_ARGUMENT,
        .operand_json = "queue",
        .options = WITH_PIPE,
        .more = "Each with the rule and the reply that triggered it. With DOMAIN/VMTA (with * and "
                "?) also the last ten changes of mode of these queues.",
        .render = render_actions,
    },
    {
        .words = "show events",
        .verb = VERB_SHOW_EVENTS,
        .operands = "[SINK]",
        .operand_kind = OPERAND_ARGUMENT,
        .operand_json = "sink",
        .more = "One line per [event-sink], what is wrong with it, and one line per pipe. "
                "What is behind is estimated by the size of files not read yet. "
                "Counts are since its pmta-ship was started.",
        .render = render_events,
    },
    {
        .words = "show unclassified",
        .verb = VERB_SHOW_UNCLASSIFIED,
        .options = WITH_PIPE | OPTION_BIT(LIMIT),
        .more = "Addresses, hosts, ids and numbers are taken out of the texts, so that one line "
                "stands for many replies. Since the pipe was started; the 500 groups seen last.",
        .render = render_unclassified,
    },
    {
        .words = "show inbound",
        .verb = VERB_SHOW_INBOUND,
        .options = WITH_PIPE,
        .more = "Messages to addresses of our own, since the pipe was started: what could be used "
                "(REPORTS) and what not (UNMATCHED), what came of it, and of which kinds they were. "
                "QUEUED counts those that still wait or are being read; what waits for the "
                "suppression list is tried again until it is there.",
        .render = render_inbound,
    },
    {
        .words = "stats",
        .verb = VERB_STATS,
        .options = WITH_PIPE | OPTION_BIT(BY) | OPTION_BIT(SINCE) | OPTION_BIT(LIMIT),
        .more = "Counters are kept per minute for two hours, per hour for three days, per day for "
                "35 days (UTC), over restarts. Per cent of what is delivered and bounced are of the "
                "recipients that were finished, complaints of those delivered. UNREACHABLE: how often "
                "no host of a queue could be reached. P50 and P99: the "
                "time from acceptance to delivery that half, and 99 of 100 recipients, stayed "
                "below. '(others)' are those that are not among the busiest. At most 20 rows a "
                "pipe, or --limit.",
        .render = render_stats,
    },
    {
        .words = "classify",
        .verb = VERB_CLASSIFY,
        .operands = "REPLY",
        .operand_kind = OPERAND_ARGUMENT,
        .operand_required = true,
        .operand_json = "reply",
        .options = WITH_PIPE | OPTION_BIT(PHASE),
        .more = "REPLY is what a host said, code in front: '550 5.1.1 no such user'. Rules of "
                "[bounce-category-patterns] come before those that ship.",
        .render = render_classify,
    },
    {
        .words = "verp decode",
        .verb = VERB_VERP_DECODE,
        .operands = "ADDRESS",
        .operand_kind = OPERAND_ARGUMENT,
        .operand_required = true,
        .operand_json = "address",
        .options = WITH_PIPE | OPTION_BIT(RCPT),
        .more = "ADDRESS is a bounce or unsubscribe address (user+TOKEN@domain) from a log, a report "
                "or a header. With --rcpt it is also said whether it was made for that recipient.",
        .render = render_verp_decode,
    },
    {
        .words = "why",
        .verb = VERB_WHY,
        .operands = "ID",
        .operand_kind = OPERAND_ARGUMENT,
        .operand_required = true,
        .operand_json = "id",
        .options = WITH_PIPE,
        .more = "A short paragraph per recipient. Recipients that wait for the same thing share "
                "one. ID.N asks for recipient N alone.",
        .render = render_why,
    },
    {
        .words = "ledger",
        .verb = VERB_LEDGER,
        .options = WITH_PIPE,
        .more = "Exit status 1 when a pipe's books do not balance.",
        .render = render_ledger,
    },
    {
        .words = "pause pipe",
        .verb = VERB_PAUSE_PIPE,
        .operands = "PIPE",
        .operand_kind = OPERAND_TARGET_PIPE,
        .operand_required = true,
        .more = "PIPE '*' is all pipes. A pause survives a restart.",
        .render = render_act,
    },
    {
        .words = "pause queue",
        .verb = VERB_PAUSE_QUEUE,
        .operands = "DOMAIN/VMTA",
        .operand_kind = OPERAND_ARGUMENT,
        .operand_required = true,
        .operand_json = "queue",
        .options = WITH_PIPE,
        .more = "DOMAIN alone is DOMAIN/*. Queues that match later are paused too, and the pause "
                "survives a restart.",
        .render = render_act,
    },
    {
        .words = "pause job",
        .verb = VERB_PAUSE_JOB,
        .operands = "JOB",
        .operand_kind = OPERAND_ARGUMENT,
        .operand_required = true,
        .operand_json = "job",
        .options = WITH_PIPE,
        .more = "JOB is the whole X-Job, in upper and lower case as it was given. What is being "
                "sent is finished; mail that comes later waits too. The pause survives a restart.",
        .render = render_act,
    },
    {
        .words = "resume pipe",
        .verb = VERB_RESUME_PIPE,
        .operands = "PIPE",
        .operand_kind = OPERAND_TARGET_PIPE,
        .operand_required = true,
        .more = "PIPE '*' is all pipes.",
        .render = render_act,
    },
    {
        .words = "resume queue",
        .verb = VERB_RESUME_QUEUE,
        .operands = "DOMAIN/VMTA",
        .operand_kind = OPERAND_ARGUMENT,
        .operand_required = true,
        .operand_json = "queue",
        .options = WITH_PIPE,
        .render = render_act,
    },
    {
        .words = "warmup hold",
        .verb = VERB_WARMUP_HOLD,
        .operands = "QUEUE",
        .operand_kind = OPERAND_ARGUMENT,
        .operand_required = true,
        .operand_json = "queue",
        .options = WITH_PIPE | OPTION_BIT(SOURCE),
        .more = "Mail goes on within the budget of the day, which comes again the next day.",
        .render = render_act,
    },
    {
        .words = "warmup resume",
        .verb = VERB_WARMUP_RESUME,
        .operands = "QUEUE",
        .operand_kind = OPERAND_ARGUMENT,
        .operand_required = true,
        .operand_json = "queue",
        .options = WITH_PIPE | OPTION_BIT(SOURCE),
        .more = "The next day comes when this one went well.",
        .render = render_act,
    },
    {
        .words = "warmup set-day",
        .verb = VERB_WARMUP_SET_DAY,
        .operands = "QUEUE --day N",
        .operand_kind = OPERAND_ARGUMENT,
        .operand_required = true,
        .operand_json = "queue",
        .options = WITH_PIPE | OPTION_BIT(SOURCE) | OPTION_BIT(DAY),
        .more = "What was sent today still counts.",
        .render = render_act,
    },
    {
        .words = "warmup plan",
        .verb = VERB_WARMUP_PLAN,
        .operands = "[QUEUE]",
        .operand_kind = OPERAND_ARGUMENT,
        .operand_json = "queue",
        .options = WITH_PIPE | OPTION_BIT(SCHEDULE) | OPTION_BIT(TARGET) | OPTION_BIT(DAYS),
        .more = "The days ahead, when each is used and goes well: of the addresses that warm up, "
                "or with --schedule of one that is only thought of.",
        .render = render_warmup_plan,
    },
    {
        .words = "resume job",
        .verb = VERB_RESUME_JOB,
        .operands = "JOB",
        .operand_kind = OPERAND_ARGUMENT,
        .operand_required = true,
        .operand_json = "job",
        .options = WITH_PIPE,
        .render = render_act,
    },
    {
        .words = "set job",
        .verb = VERB_SET_JOB,
        .operands = "JOB",
        .operand_kind = OPERAND_ARGUMENT,
        .operand_required = true,
        .operand_json = "job",
        .options = WITH_PIPE | OPTION_BIT(MAX_MSG_RATE),
        .more = "The rate counts attempted recipients and holds over all pipes together; it "
                "survives a restart. Without it a job has job-max-msg-rate.",
        .render = render_act,
    },
    {
        .words = "schedule",
        .verb = VERB_SCHEDULE,
        .operands = "DOMAIN/VMTA",
        .operand_kind = OPERAND_ARGUMENT,
        .operand_required = true,
        .operand_json = "queue",
        .options = WITH_PIPE,
        .more = "DOMAIN alone is DOMAIN/*; '*' is every queue.",
        .render = render_act,
    },
    {
        .words = "cancel",
        .verb = VERB_CANCEL,
        .operands = "ID",
        .operand_kind = OPERAND_ARGUMENT,
        .operand_required = true,
        .operand_json = "id",
        .more = "ID is the one in 'show actions', such as bulk.12. What the action held or slowed "
                "goes on at once.",
        .render = render_cancel,
    },
    {
        .words = "set queue",
        .verb = VERB_SET_QUEUE,
        .operands = "DOMAIN/VMTA",
        .operand_kind = OPERAND_ARGUMENT,
        .operand_required = true,
        .operand_json = "queue",
        .options = WITH_PIPE | OPTION_BIT(MODE),
        .more = "Back-off ends after backoff-to-normal-after, as if a reply had caused it; normal "
                "also ends what a rule's rate= cut. DOMAIN and VMTA may contain * and ?; without "
                "them the queue may be one that comes later.",
        .render = render_act,
    },
    {
        .words = "disable source",
        .verb = VERB_DISABLE_SOURCE,
        .operands = "IP DOMAIN/VMTA",
        .operand_kind = OPERAND_TWO,
        .operand_required = true,
        .operand_json = "ip",
        .operand_json2 = "queue",
        .options = WITH_PIPE | OPTION_BIT(REENABLE_AFTER),
        .more = "IP 'system' is the address that the system chooses when none is configured.",
        .render = render_act,
    },
    {
        .words = "enable source",
        .verb = VERB_ENABLE_SOURCE,
        .operands = "IP DOMAIN/VMTA",
        .operand_kind = OPERAND_TWO,
        .operand_required = true,
        .operand_json = "ip",
        .operand_json2 = "queue",
        .options = WITH_PIPE,
        .render = render_act,
    },
    {
        .words = "delete",
        .verb = VERB_DELETE,
        .options = WITH_PIPE | OPTION_BIT(QUEUE) | OPTION_BIT(ID) | OPTION_BIT(JOB) |
                   OPTION_BIT(RCPT) | OPTION_BIT(SENDER) | OPTION_BIT(DRY_RUN),
        .more = "At least one of --queue, --id, --job, --rcpt and --sender is needed. What is "
                "being sent at this moment is left alone. Nobody is told but the accounting file; "
                "try it with --dry-run first.",
        .render = render_delete,
    },
    {
        .words = "config explain",
        .verb = VERB_CONFIG_EXPLAIN,
        .operands = "DOMAIN",
        .operand_kind = OPERAND_ARGUMENT,
        .operand_required = true,
        .operand_json = "domain",
        .options = WITH_PIPE | OPTION_BIT(VMTA),
        .more = "Without --pipe the answer is that of one pipe, which is named above it; without "
                "--vmta it is for that pipe's default virtual MTA.",
        .render = render_explain,
    },
    {
        .words = "check sender",
        .verb = VERB_CHECK_SENDER,
        .operands = "DOMAIN",
        .operand_kind = OPERAND_ARGUMENT,
        .operand_required = true,
        .operand_json = "domain",
        .options = WITH_PIPE | OPTION_BIT(VMTA) | OPTION_BIT(POOL) | OPTION_BIT(MAIL_FROM) |
                   OPTION_BIT(PRIVATE) | OPTION_BIT(TOPIC),
        .more = "DOMAIN is that of the From field; --mail-from that of the return path. Without "
                "--vmta and --pool it is about the addresses of each pipe's default-virtual-mta, "
                "or of all virtual MTAs. Exit status 1 when something fails.",
        .render = render_check_sender,
    },
    {
        .words = "check spf",
        .verb = VERB_CHECK_SPF,
        .operands = "IP HELO [MAILFROM]",
        .operand_kind = OPERAND_THREE,
        .operand_required = true,
        .operand_json = "ip",
        .operand_json2 = "helo",
        .operand_json3 = "mail_from",
        .options = WITH_PIPE,
        .more = "HELO is the name of the greeting; without MAILFROM the return path is null, and "
                "HELO is what is checked. Below the result are the records that were read.",
        .render = render_check_spf,
    },
    {
        .words = "resolve",
        .verb = VERB_RESOLVE,
        .operands = "DOMAIN",
        .operand_kind = OPERAND_ARGUMENT,
        .operand_required = true,
        .operand_json = "domain",
        .options = WITH_PIPE | OPTION_BIT(VMTA) | OPTION_BIT(CONNECT) | OPTION_BIT(USE_DANE) |
                   OPTION_BIT(USE_MTA_STS),
        .more =
            "MX hosts with their addresses, the MTA-STS policy, TLSA records and what "
            "configuration and policies ask for, as a queue of DOMAIN would see them: smtp-hosts, "
            "smtp-port, use-dane, use-mta-sts, tls-verify and require-starttls count. With "
            "--connect each address is connected to, up to EHLO inside TLS, and the certificate "
            "is checked as for mail. --use-dane and --use-mta-sts show what would be if the "
            "configuration had these on; other directives, such as tls-verify, still count. "
            "What the resolver knows is not asked for again. Without --pipe the answer is that of one pipe; without --vmta it is for that pipe's default "
            "virtual MTA.",
        .render = render_resolve,
    },
    {
        .words = "suppress add",
        .verb = VERB_SUPPRESS_ADD,
        .operands = "ADDRESS",
        .operand_kind = OPERAND_ARGUMENT,
        .operand_required = true,
        .operand_json = "address",
        .options =
            OPTION_BIT(SCOPE) | OPTION_BIT(REASON) | OPTION_BIT(EXPIRES) | OPTION_BIT(NOTE),
        .more = "ADDRESS is user@example.com, or @example.com for every address there (its "
                "subdomains are not meant). What happens to mail for it is up to the directive "
                "suppression. An entry that is there in this scope gets the new reason, time and "
                "note.",
        .render = render_suppress_change,
    },
    {
        .words = "suppress del",
        .verb = VERB_SUPPRESS_DEL,
        .operands = "ADDRESS",
        .operand_kind = OPERAND_ARGUMENT,
        .operand_required = true,
        .operand_json = "address",
        .options = OPTION_BIT(SCOPE),
        .more = "In other scopes it stays; 'suppress find' shows all of them. @example.com takes "
                "off the entry of that whole domain, and no other.",
        .render = render_suppress_change,
    },
    {
        .words = "suppress find",
        .verb = VERB_SUPPRESS_FIND,
        .operands = "ADDRESS",
        .operand_kind = OPERAND_ARGUMENT,
        .operand_required = true,
        .operand_json = "address",
        .more = "Finds by address also where only hashes are kept. Without regard to upper and "
                "lower case. Entries of its whole domain are found, too, and shown as "
                "@example.com.",
        .render = render_suppress_find,
    },
    {
        .words = "suppress import",
        .verb = VERB_SUPPRESS_IMPORT,
        .operands = "FILE",
        .operand_kind = OPERAND_ARGUMENT,
        .operand_required = true,
        .operand_json = "lines",
        .options = OPTION_BIT(SCOPE) | OPTION_BIT(REASON) | OPTION_BIT(EXPIRES) |
                   OPTION_BIT(NOTE) | OPTION_BIT(REMOVE),
        .help = "put the addresses of a file on the suppression list, or take them off",
        .more = "FILE has an address (or @example.com) a line, or is CSV whose first line names the columns address, "
                "scope, reason, expires, note, as export writes it; - is standard input. Options "
                "are for lines that do not say otherwise. Wrong lines are named and passed over; "
                "exit status 1 when there were any. It may be run again: what is on the list "
                "already costs nothing.",
        .run = suppress_import,
        .render = render_suppress_change,
    },
    {
        .words = "suppress export",
        .verb = VERB_SUPPRESS_EXPORT,
        .help = "print the suppression list as CSV",
        .more = "One line per entry, oldest first: address, scope, reason, expires, added, note. "
                "Addresses that are kept as hashes are printed as hashes, which import takes back "
                "on an installation with the same secret.",
        .run = suppress_export,
        .render = render_suppress_change,
    },
    {
        .words = "suppress show",
        .verb = VERB_SUPPRESS_SHOW,
        .render = render_suppress_show,
    },
    {
        .words = "reload",
        .verb = VERB_RELOAD,
        .more = "A configuration with an error changes nothing; the error names file and line.",
        .render = render_reload,
    },
    {
        .words = "debug",
        .verb = VERB_DEBUG,
        .queue_verb = VERB_DEBUG_QUEUE,
        .operands = "SUBSYSTEM...",
        .operand_kind = OPERAND_SUBSYSTEMS,
        .operand_required = true,
        .operand_json = "subsystems",
        .options = WITH_PIPE | OPTION_BIT(QUEUE) | OPTION_BIT(FOR),
        .more = "'all' is every subsystem, 'none' none; what is not named is switched off. With "
                "--pipe only that pipe, and in receivers the sessions whose mail goes to it. With "
                "--queue the connections of these queues: debug --queue gmail.com/mta1 on, and off. "
                "--for 10m ends it by itself; 'status' shows what debugs.",
        .render = render_act,
    },
    {
        .words = "logs",
        .verb = VERB_COUNT,
        .options = WITH_PIPE | OPTION_BIT(FOLLOW) | OPTION_BIT(RCPT) | OPTION_BIT(SENDER) |
                   OPTION_BIT(QUEUE) | OPTION_BIT(ID) | OPTION_BIT(JOB) | OPTION_BIT(LEVEL) |
                   OPTION_BIT(SINCE) | OPTION_BIT(LINES) | OPTION_BIT(FILE),
        .help = "lines of the log: the last ones, new ones, those of a recipient, pipe, queue ...",
        .more = "Reads the log file that pmtad writes (or --file), and the old ones of before as far "
                "as --since goes back; with a filter and without --since, all of them. Without "
                "any of these, the last 20 lines. Several filters must all match. Text and JSON are "
                "both understood; --json prints JSON objects.",
        .run = logs_run,
    },
    {
        .words = "trace inbound",
        .verb = VERB_TRACE_INBOUND,
        .options = OPTION_BIT(LISTENER) | OPTION_BIT(FROM) | OPTION_BIT(COUNT),
        .more = "From the connection to its end, each line with the time since it was accepted: > "
                "sent by us, < received, * what happens. Credentials and content are not shown. "
                "Waits for the next session that fits, one that is open already is not seen. Ends "
                "when the session is over, after --timeout (default 5m), or with Ctrl-C.",
        .run = trace_run,
    },
    {
        .words = "trace",
        .verb = VERB_TRACE,
        .operands = "DOMAIN[/VMTA]",
        .operand_kind = OPERAND_ARGUMENT,
        .operand_required = true,
        .operand_json = "queue",
        .options = WITH_PIPE | OPTION_BIT(COUNT) | OPTION_BIT(NOW),
        .more = "Each line with the time since the attempt began: > sent, < received, * what "
                "happens. Passwords and content are not shown. While nothing is sent it says what "
                "the queue waits for; --now does not wait for the next attempt's time. Ends when "
                "the attempt is over, after --timeout (default 5m), or with Ctrl-C.",
        .run = trace_run,
    },
    {
        .words = "rotate log",
        .verb = VERB_ROTATE_LOG,
        .more = "The log file becomes log.1, and so on, as at the end of log-rotate-interval.",
        .render = render_act,
    },
    {
        .words = "shutdown",
        .verb = VERB_SHUTDOWN,
        .render = render_act,
    },
    {
        .words = "simulate",
        .verb = VERB_COUNT,
        .options = OPTION_BIT(CONFIG) | OPTION_BIT(VOLUME) | OPTION_BIT(VOLUMES) |
                   OPTION_BIT(START) | OPTION_BIT(FOR) | OPTION_BIT(LATENCY) |
                   OPTION_BIT(CONNECT_TIME) | OPTION_BIT(ACCEPT_RATE) | OPTION_BIT(MX),
        .help = "how long a configuration takes for given volumes, and which limit binds",
        .more = "Sends nothing and asks no pmtad: runs the engine itself against a virtual clock "
                "(pmta-simulate, which lies beside pmtactl). What it says of each domain: when "
                "its last message goes out, the average rate, and the directive that held it back "
                "with file and line and its share of the time.",
        .run = simulate_run,
    },
    {
        .words = "hash-password",
        .verb = VERB_COUNT,
        .help = "make the hash of a password for an [smtp-user] section",
        .more = "Asks twice on a terminal, without echo; else reads one line from standard input. "
                "Prints the Argon2id string for 'password ='.",
        .run = password_run,
    },
    {
        .words = "dkim",
        .verb = VERB_COUNT,
        .help = "make signing keys, print their DNS records, change selectors",
        .more = "dkim keygen, dkim show-dns and dkim rotate; 'pmtactl dkim' alone shows how.",
        .run = dkim_run,
    },
    {
        .words = "version",
        .verb = VERB_COUNT,
        .help = "print the version of pmtactl (that of the daemon is in status)",
        .run = run_version,
    },
    {
        .words = "help",
        .verb = VERB_COUNT,
        .operands = "[COMMAND]",
        .operand_kind = OPERAND_COMMAND,
        .help = "this page, or all about one command",
        .run = help_run,
    },
};

const size_t command_count = ARRAY_LEN(commands);

static const struct option_info options[] = {
#define OPTION_ROW(id, name, letter, kind, argument, json, help) \
    {name, letter, kind, argument, json, help},
    CTL_OPTIONS(OPTION_ROW)
#undef OPTION_ROW
};

const struct option_info *option_info(enum option o)
{
    return &options[o];
}

const char *command_help(const struct command *c)
{
    return c->help ? c->help : admin_verb_info(c->verb)->help;
}
