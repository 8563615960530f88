/*
 * Every directive is one row. From the rows come the parser, defaults, bounds, `config show` and
 * `config explain`, docs/directives.md, the man page pmta.conf(5), shell completion, and the test
 * that they agree. Names are PowerMTA's wherever it has the directive.
 *
 * DIRECTIVE(ID, "name", kinds, type, default, min, max, reload, flags, choices, help)
 *   default  text as an operator would write it, or NULL
 *   min,max  bounds of the number in its own unit (ms, bytes, count); 0,0: none
 *   choices  for TYPE_ENUM "a|b|c", else NULL
 */
#ifndef PMTA_MAIL_DIRECTIVES_H
#define PMTA_MAIL_DIRECTIVES_H

/* KIND(ID, bit, "name in the section header") */
#define CONFIG_KINDS(KIND)                        \
    KIND(PMTA, 0, "pmta")                         \
    KIND(LISTENER, 1, "listener")                 \
    KIND(SOURCE, 2, "source")                     \
    KIND(SMTP_USER, 3, "smtp-user")               \
    KIND(PIPE, 4, "pipe")                         \
    KIND(VIRTUAL_MTA, 5, "virtual-mta")           \
    KIND(VIRTUAL_MTA_POOL, 6, "virtual-mta-pool") \
    KIND(DOMAIN, 7, "domain")                     \
    KIND(DOMAIN_MACRO, 8, "domain-macro")

enum config_kind {
#define KIND_ENUM(id, bit, name) KIND_##id = 1 << (bit),
    CONFIG_KINDS(KIND_ENUM)
#undef KIND_ENUM
};

enum directive_type {
    TYPE_BOOL,          /* yes, no, true, false */
    TYPE_INT,           /* decimal */
    TYPE_INTERVAL,      /* 4d12h */
    TYPE_INTERVAL_LIST, /* 10m,10m,1h,4h */
    TYPE_SIZE,          /* 250M */
    TYPE_RATE,          /* 600/h */
    TYPE_TEXT,          /* anything */
    TYPE_NAME,          /* letters, digits, . _ - : one word */
    TYPE_DOMAIN,        /* host or domain name */
    TYPE_PATH,          /* file or directory; relative to the configuration directory */
    TYPE_ENUM,          /* one of choices */
    TYPE_HOST_LIST,     /* smtp-hosts: h1, h2; [10.1.1.1]:2525; lookup-mx:x.org */
    TYPE_SOURCE_HOST,   /* IP HOSTNAME */
    TYPE_DOMAIN_LIST,   /* a.com, b.com */
};

/* When a changed value takes effect after a reload. */
enum directive_reload {
    RELOAD_LIVE,        /* at once */
    RELOAD_NEW_SESSION, /* connections opened from now on */
    RELOAD_RESTART,     /* only at the next start; a reload that changes it warns */
};

enum directive_flag {
    DIRECTIVE_REPEATABLE = 1,
    /* In a section without a domain it bounds the sum over all queues of that pipe, virtual MTA or
     * pool: a query with a domain sees sections with a domain and [pmta] only, a query for a pipe,
     * virtual MTA or pool without a domain sees sections without a domain only, and not [pmta].
     * When nobody set such a total, the value's origin.file is NULL: there is no limit. */
    DIRECTIVE_TOTAL = 2,
};

/* Sections in which a setting of an outgoing queue may stand. */
#define KINDS_QUEUE (KIND_DOMAIN | KIND_VIRTUAL_MTA | KIND_VIRTUAL_MTA_POOL | KIND_PIPE | KIND_PMTA)

/* clang-format off */
#define DIRECTIVES(DIRECTIVE)                                                                      \
    /* process */                                                                                  \
    DIRECTIVE(HOST_NAME, "host-name", KIND_PMTA | KIND_VIRTUAL_MTA, TYPE_DOMAIN, NULL, 0, 0, RELOAD_NEW_SESSION, 0, NULL, \
        "name of this host in greeting, EHLO and Received; the system's host name when not set")   \
    DIRECTIVE(SPOOL, "spool", KIND_PMTA, TYPE_PATH, "/var/spool/pmta", 0, 0, RELOAD_RESTART, 0, NULL, \
        "directory of the message spool; each pipe has its own directory below it")                \
    DIRECTIVE(RUN_DIR, "run-dir", KIND_PMTA, TYPE_PATH, "/run/pmta", 0, 0, RELOAD_RESTART, 0, NULL, \
        "directory of the admin socket and the pid file")                                          \
    DIRECTIVE(LOG_FILE, "log-file", KIND_PMTA, TYPE_PATH, NULL, 0, 0, RELOAD_LIVE, 0, NULL,        \
        "log file, opened again at SIGHUP and reload; stderr when not set")                        \
    DIRECTIVE(ACCT_DIR, "acct-dir", KIND_PMTA, TYPE_PATH, "/var/log/pmta", 0, 0, RELOAD_RESTART, 0, NULL, \
        "directory of the accounting files, acct-PIPE.csv")                                        \
    DIRECTIVE(DEFAULT_PIPE, "default-pipe", KIND_PMTA, TYPE_NAME, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "pipe for messages that nothing else routes; the first [pipe] when not set")               \
    DIRECTIVE(RECEIVERS, "receivers", KIND_PMTA, TYPE_INT, "0", 0, 64, RELOAD_RESTART, 0, NULL,    \
        "receiver processes; 0 is one per CPU core")                                               \
    DIRECTIVE(USER, "user", KIND_PMTA, TYPE_NAME, "pmta", 0, 0, RELOAD_RESTART, 0, NULL,           \
        "user that all processes but the first run as, when started as root")                      \
    DIRECTIVE(ADMIN_GROUP, "admin-group", KIND_PMTA, TYPE_NAME, "pmta-admin", 0, 0, RELOAD_RESTART, 0, NULL, \
        "group that may use the admin socket")                                                     \
    DIRECTIVE(DRAIN_TIMEOUT, "drain-timeout", KIND_PMTA, TYPE_INTERVAL, "30s", 0, 3600000, RELOAD_LIVE, 0, NULL, \
        "how long SIGTERM waits for sessions to finish")                                           \
    DIRECTIVE(NAME_SERVER, "name-server", KIND_PMTA, TYPE_TEXT, NULL, 0, 0, RELOAD_LIVE, DIRECTIVE_REPEATABLE, NULL, \
        "recursive name server, IP, IP:PORT or [IP6]:PORT; /etc/resolv.conf when none is set")     \
    DIRECTIVE(DNS_TIMEOUT, "dns-timeout", KIND_PMTA, TYPE_INTERVAL, "2s", 100, 60000, RELOAD_LIVE, 0, NULL, \
        "time for one name server to answer one query before the next is tried")                   \
    /* sections */                                                                                 \
    DIRECTIVE(PIPE, "pipe", KIND_LISTENER | KIND_SOURCE | KIND_SMTP_USER, TYPE_NAME, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "pipe for messages from here, unless X-Pipe says otherwise")                               \
    DIRECTIVE(SOURCE_NAME, "source", KIND_LISTENER | KIND_SMTP_USER, TYPE_NAME, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "named [source] that overrides the one found by the client's address")                     \
    DIRECTIVE(ADDRESS, "address", KIND_LISTENER, TYPE_TEXT, NULL, 0, 0, RELOAD_RESTART, 0, NULL,   \
        "ADDR:PORT, [IP6]:PORT or *:PORT to listen on; the section's name when not set")           \
    DIRECTIVE(POOL_MEMBER, "virtual-mta", KIND_VIRTUAL_MTA_POOL, TYPE_NAME, NULL, 0, 0, RELOAD_LIVE, DIRECTIVE_REPEATABLE, NULL, \
        "a virtual MTA of the pool; several are used in turn")                                     \
    DIRECTIVE(DOMAINS, "domains", KIND_DOMAIN_MACRO, TYPE_DOMAIN_LIST, NULL, 0, 0, RELOAD_LIVE, DIRECTIVE_REPEATABLE, NULL, \
        "domains that $NAME stands for in [domain $NAME]")                                         \
    /* receiving: listener */                                                                      \
    DIRECTIVE(TLS_CERTIFICATE, "tls-certificate", KIND_LISTENER | KIND_PMTA, TYPE_PATH, NULL, 0, 0, RELOAD_NEW_SESSION, 0, NULL, \
        "PEM file with the certificate chain; STARTTLS is offered when set")                       \
    DIRECTIVE(TLS_KEY, "tls-key", KIND_LISTENER | KIND_PMTA, TYPE_PATH, NULL, 0, 0, RELOAD_NEW_SESSION, 0, NULL, \
        "PEM file with the private key; the certificate's file when not set")                      \
    DIRECTIVE(TLS_IMPLICIT, "tls-implicit", KIND_LISTENER, TYPE_BOOL, "no", 0, 0, RELOAD_NEW_SESSION, 0, NULL, \
        "speak TLS from the first byte (port 465)")                                                \
    DIRECTIVE(ALLOW_PLAIN_AUTH, "allow-plain-auth", KIND_LISTENER | KIND_SOURCE | KIND_PMTA, TYPE_BOOL, "no", 0, 0, RELOAD_NEW_SESSION, 0, NULL, \
        "offer AUTH without TLS")                                                                  \
    /* receiving: source */                                                                        \
    DIRECTIVE(ALWAYS_ALLOW_RELAYING, "always-allow-relaying", KIND_SOURCE | KIND_PMTA, TYPE_BOOL, "no", 0, 0, RELOAD_NEW_SESSION, 0, NULL, \
        "accept mail to any domain from here without authentication")                              \
    DIRECTIVE(PROCESS_X_PIPE, "process-x-pipe", KIND_SOURCE | KIND_PMTA, TYPE_BOOL, "no", 0, 0, RELOAD_NEW_SESSION, 0, NULL, \
        "honour X-Pipe; it is removed in any case")                                                \
    DIRECTIVE(PROCESS_X_VIRTUAL_MTA, "process-x-virtual-mta", KIND_SOURCE | KIND_PMTA, TYPE_BOOL, "no", 0, 0, RELOAD_NEW_SESSION, 0, NULL, \
        "honour X-Virtual-MTA; it is removed in any case")                                         \
    DIRECTIVE(PROCESS_X_JOB, "process-x-job", KIND_SOURCE | KIND_PMTA, TYPE_BOOL, "no", 0, 0, RELOAD_NEW_SESSION, 0, NULL, \
        "honour X-Job; it is removed in any case")                                                 \
    DIRECTIVE(PROCESS_X_ENVID, "process-x-envid", KIND_SOURCE | KIND_PMTA, TYPE_BOOL, "no", 0, 0, RELOAD_NEW_SESSION, 0, NULL, \
        "honour X-Envid; it is removed in any case")                                               \
    DIRECTIVE(DEFAULT_VIRTUAL_MTA, "default-virtual-mta", KIND_SOURCE | KIND_PIPE | KIND_PMTA, TYPE_NAME, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "virtual MTA or pool for messages that name none")                                         \
    DIRECTIVE(MAX_MESSAGE_SIZE, "max-message-size", KIND_SOURCE | KIND_PMTA, TYPE_SIZE, "50M", 1024, 2147483648, RELOAD_NEW_SESSION, 0, NULL, \
        "largest message accepted, in bytes")                                                      \
    DIRECTIVE(MAX_RCPT_PER_MESSAGE, "max-rcpt-per-message", KIND_SOURCE | KIND_PMTA, TYPE_INT, "1000", 1, 50000, RELOAD_NEW_SESSION, 0, NULL, \
        "recipients accepted in one transaction")                                                  \
    DIRECTIVE(MAX_HEADER_SIZE, "max-header-size", KIND_SOURCE | KIND_PMTA, TYPE_SIZE, "64k", 1024, 1048576, RELOAD_NEW_SESSION, 0, NULL, \
        "largest header block accepted, in bytes")                                                 \
    DIRECTIVE(MAX_LINE_LENGTH, "max-line-length", KIND_SOURCE | KIND_PMTA, TYPE_INT, "4096", 1000, 65536, RELOAD_NEW_SESSION, 0, NULL, \
        "longest line accepted in a message, CRLF included")                                       \
    DIRECTIVE(LONE_LF, "lone-lf", KIND_SOURCE | KIND_PMTA, TYPE_ENUM, "refuse", 0, 0, RELOAD_NEW_SESSION, 0, "refuse|fix", \
        "a bare LF in a message: refuse the message with 5.6.0, or turn it into CRLF")             \
    DIRECTIVE(MAX_COMMANDS_IN, "max-commands-in", KIND_SOURCE | KIND_PMTA, TYPE_INT, "100000", 10, 100000000, RELOAD_NEW_SESSION, 0, NULL, \
        "commands in one session before it is closed with 421")                                    \
    DIRECTIVE(MAX_ERRORS_IN, "max-errors-in", KIND_SOURCE | KIND_PMTA, TYPE_INT, "20", 1, 10000, RELOAD_NEW_SESSION, 0, NULL, \
        "refused commands in a row before a session is closed with 421")                           \
    DIRECTIVE(IDLE_TIMEOUT_IN, "idle-timeout-in", KIND_SOURCE | KIND_PMTA, TYPE_INTERVAL, "5m", 1000, 3600000, RELOAD_NEW_SESSION, 0, NULL, \
        "silence of a client before its session is closed with 421")                               \
    DIRECTIVE(SESSION_TIMEOUT_IN, "session-timeout-in", KIND_SOURCE | KIND_PMTA, TYPE_INTERVAL, "24h", 1000, 604800000, RELOAD_NEW_SESSION, 0, NULL, \
        "longest session of a client")                                                             \
    DIRECTIVE(MAX_SMTP_IN, "max-smtp-in", KIND_SOURCE | KIND_PMTA, TYPE_INT, "1000", 1, 100000, RELOAD_NEW_SESSION, 0, NULL, \
        "connections at a time from the addresses of one source, per receiver")                    \
    DIRECTIVE(TOTAL_MAX_SMTP_IN, "total-max-smtp-in", KIND_PMTA, TYPE_INT, "2000", 1, 100000, RELOAD_NEW_SESSION, 0, NULL, \
        "connections at a time from all clients, per receiver")                                    \
    DIRECTIVE(MAX_BUFFERED_IN, "max-buffered-in", KIND_PMTA, TYPE_SIZE, "256M", 1048576, 17179869184, RELOAD_LIVE, 0, NULL, \
        "bytes of unfinished messages in memory per receiver; beyond it DATA is answered 452")     \
    DIRECTIVE(PASSWORD, "password", KIND_SMTP_USER, TYPE_TEXT, NULL, 0, 0, RELOAD_LIVE, 0, NULL,   \
        "Argon2id hash of the password, from `pmtactl hash-password`")                             \
    /* pipes */                                                                                    \
    DIRECTIVE(MAX_QUEUED, "max-queued", KIND_PIPE | KIND_PMTA, TYPE_INT, "5000000", 1, 1000000000, RELOAD_LIVE, 0, NULL, \
        "recipients queued in a pipe; beyond it new mail for the pipe is answered 452 4.3.1")      \
    DIRECTIVE(PRIORITY, "priority", KIND_PIPE, TYPE_INT, "50", 0, 100, RELOAD_RESTART, 0, NULL,    \
        "share of the CPU against other pipes: 100 is the most urgent")                            \
    DIRECTIVE(MIN_FREE_SPACE, "min-free-space", KIND_PIPE | KIND_PMTA, TYPE_SIZE, "64M", 0, 0, RELOAD_LIVE, 0, NULL, \
        "free space in the spool's file system below which new mail is answered 452 4.3.1")        \
    /* outgoing queues */                                                                          \
    DIRECTIVE(SMTP_SOURCE_HOST, "smtp-source-host", KIND_VIRTUAL_MTA | KIND_PMTA, TYPE_SOURCE_HOST, NULL, 0, 0, RELOAD_NEW_SESSION, DIRECTIVE_REPEATABLE, NULL, \
        "source address and the host name that goes with it in EHLO; several are used in turn")    \
    DIRECTIVE(SMTP_HOSTS, "smtp-hosts", KINDS_QUEUE, TYPE_HOST_LIST, NULL, 0, 0, RELOAD_NEW_SESSION, 0, NULL, \
        "where to deliver instead of the MX hosts: h1, h2; [10.1.1.1]:2525; lookup-mx:x.org (comma: same preference, semicolon: next)") \
    DIRECTIVE(SMTP_PORT, "smtp-port", KINDS_QUEUE, TYPE_INT, "25", 1, 65535, RELOAD_NEW_SESSION, 0, NULL, \
        "port to deliver to")                                                                      \
    DIRECTIVE(MAX_SMTP_OUT, "max-smtp-out", KINDS_QUEUE, TYPE_INT, "20", 1, 100000, RELOAD_LIVE, DIRECTIVE_TOTAL, NULL, \
        "connections at a time: on a domain per queue, on a pipe or virtual MTA over all its queues") \
    DIRECTIVE(MAX_MSG_PER_CONNECTION, "max-msg-per-connection", KINDS_QUEUE, TYPE_INT, "0", 0, 1000000, RELOAD_LIVE, 0, NULL, \
        "messages on one connection before it is closed; 0 is no limit")                           \
    DIRECTIVE(MAX_RCPT_PER_TRANSACTION, "max-rcpt-per-transaction", KINDS_QUEUE, TYPE_INT, "100", 1, 10000, RELOAD_LIVE, 0, NULL, \
        "recipients of one message sent in one transaction")                                       \
    DIRECTIVE(RETRY_AFTER, "retry-after", KINDS_QUEUE, TYPE_INTERVAL_LIST, "10m", 100, 604800000, RELOAD_LIVE, 0, NULL, \
        "time to the next attempt after a temporary failure; a list: first, second, …, last repeats") \
    DIRECTIVE(BOUNCE_AFTER, "bounce-after", KINDS_QUEUE, TYPE_INTERVAL, "4d12h", 1000, 2592000000, RELOAD_LIVE, 0, NULL, \
        "age at which a recipient is given up")                                                    \
    DIRECTIVE(CONNECT_TIMEOUT, "connect-timeout", KINDS_QUEUE, TYPE_INTERVAL, "30s", 100, 600000, RELOAD_NEW_SESSION, 0, NULL, \
        "time for a TCP connection to one address")                                                \
    DIRECTIVE(SMTP_GREETING_TIMEOUT, "smtp-greeting-timeout", KINDS_QUEUE, TYPE_INTERVAL, "5m", 100, 3600000, RELOAD_NEW_SESSION, 0, NULL, \
        "time for the peer's greeting (RFC 5321 section 4.5.3.2)")                                 \
    DIRECTIVE(DATA_SEND_TIMEOUT, "data-send-timeout", KINDS_QUEUE, TYPE_INTERVAL, "3m", 100, 3600000, RELOAD_NEW_SESSION, 0, NULL, \
        "time without progress while message data is sent")                                        \
    DIRECTIVE(COMMAND_TIMEOUT, "command-timeout", KINDS_QUEUE, TYPE_INTERVAL, "5m", 100, 3600000, RELOAD_NEW_SESSION, 0, NULL, \
        "time for the answer to one command; the answer to end of data has twice as long")         \
    DIRECTIVE(IDLE_TIMEOUT_OUT, "idle-timeout-out", KINDS_QUEUE, TYPE_INTERVAL, "2s", 0, 3600000, RELOAD_LIVE, 0, NULL, \
        "how long a connection without work is kept for the next message")                         \
    DIRECTIVE(USE_STARTTLS, "use-starttls", KINDS_QUEUE, TYPE_BOOL, "yes", 0, 0, RELOAD_NEW_SESSION, 0, NULL, \
        "encrypt when the peer offers STARTTLS")                                                   \
    DIRECTIVE(USE_PIPELINING, "use-pipelining", KINDS_QUEUE, TYPE_BOOL, "yes", 0, 0, RELOAD_NEW_SESSION, 0, NULL, \
        "send commands without waiting for each answer when the peer offers PIPELINING")
/* clang-format on */

enum directive {
#define DIRECTIVE_ENUM(id, name, kinds, type, def, min, max, reload, flags, choices, help) DIR_##id,
    DIRECTIVES(DIRECTIVE_ENUM)
#undef DIRECTIVE_ENUM
        DIRECTIVE_COUNT
};

#endif
