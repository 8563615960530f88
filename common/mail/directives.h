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
    KIND(DOMAIN_MACRO, 8, "domain-macro")         \
    KIND(SOURCE_GROUP, 9, "source-group")         \
    KIND(MX_ROLLUP, 10, "mx-rollup")              \
    KIND(SMTP_PATTERN_LIST, 11, "smtp-pattern-list") \
    KIND(BOUNCE_CATEGORY_PATTERNS, 12, "bounce-category-patterns") \
    KIND(ACCT_FILE, 13, "acct-file") \
    KIND(BOUNCE_PROCESSOR, 14, "bounce-processor") \
    KIND(FEEDBACK_LOOP_PROCESSOR, 15, "feedback-loop-processor") \
    KIND(EVENT_SINK, 16, "event-sink") \
    KIND(HTTP_LISTENER, 17, "http-listener")

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
    TYPE_SOURCE_HOST,   /* IP HOSTNAME; IP may be a CIDR or a range: 192.0.2.101-150 */
    TYPE_SOURCE_IP,     /* the same without HOSTNAME */
    TYPE_DOMAIN_LIST,   /* a.com, b.com */
    TYPE_DATA_RATE,     /* 12M/m: bytes per time */
    TYPE_RATE_LIST,     /* 50/d,100/d,200/d: day 1, day 2, …, the last repeats */
    TYPE_RETRY,         /* 10m,10m,1h or 5m x2 max 4h */
    TYPE_RAMP,          /* 50/d, 100/d, 200/d or 50/d +10%/d */
    TYPE_POOL_MEMBER,   /* NAME [WEIGHT] */
    TYPE_MX_PATTERNS,   /* *.google.com, aspmx.l.google.com */
    TYPE_REPLY_RULE,    /* /regex/ [phase=…] action,… */
    TYPE_BOUNCE_RULE,   /* /regex/ [status=…] [code=…] [phase=…] category */
    TYPE_EMAIL_LIST,    /* a@x.org, b@x.org */
    TYPE_DOMAIN_KEY,    /* selector,domain,file */
    TYPE_DKIM_KEY,      /* file selector domain */
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
    /* TYPE_INTERVAL: "never" is allowed and reads as 0 */
    DIRECTIVE_NEVER = 4,
    /* TYPE_PATH of a file with a secret: root opens it, and hands it to the process concerned */
    DIRECTIVE_SECRET = 8,
};

/* Other names of a directive, from PowerMTA's older versions. ALIAS("name", ID, "suffix"): the
 * suffix is put behind a value that does not have it (max-msg-per-hour = 600 is 600/h). */
#define DIRECTIVE_ALIASES(ALIAS)                                      \
    ALIAS("max-connections", MAX_SMTP_OUT, "")                        \
    ALIAS("max-msg-per-hour", MAX_MSG_RATE, "/h")                     \
    ALIAS("max-smtp-msg-rate", MAX_MSG_RATE, "")                      \
    ALIAS("max-conn-rate", MAX_CONNECT_RATE, "")                      \
    ALIAS("max-smtp-data-volume-rate", MAX_DATA_VOLUME_RATE, "")      \
    ALIAS("max-smtp-out-per-source-ip", SOURCE_IP_MAX_SMTP_OUT, "")   \
    ALIAS("backoff-max-msg-per-hour", BACKOFF_MAX_MSG_RATE, "/h")     \
    ALIAS("backoff-max-connections", BACKOFF_MAX_SMTP_OUT, "")        \
    ALIAS("delivery-priority", QUEUE_PRIORITY, "")                    \
    ALIAS("dkim-signature", DKIM_SIGN, "")                            \
    ALIAS("rotate", ACCT_MOVE_INTERVAL, "")                           \
    ALIAS("format-text", ACCT_FORMAT, "")                             \
    ALIAS("bind-ip", SMTP_SOURCE_IP, "")                              \
    ALIAS("helo-domain", HOST_NAME, "")

/* Sections in which a setting of an outgoing queue may stand. */
#define KINDS_QUEUE (KIND_DOMAIN | KIND_VIRTUAL_MTA | KIND_VIRTUAL_MTA_POOL | KIND_PIPE | KIND_PMTA)
/* The same for a limit that can also stand on a group of MX hosts, over all virtual MTAs. */
#define KINDS_LIMIT (KINDS_QUEUE | KIND_MX_ROLLUP)
/* A [source-group] gives to the sources that join it. */
#define KINDS_SOURCE (KIND_SOURCE | KIND_SOURCE_GROUP)

/* clang-format off */
#define DIRECTIVES(DIRECTIVE)                                                                      \
    /* process */                                                                                  \
    DIRECTIVE(HOST_NAME, "host-name", KIND_PMTA | KIND_VIRTUAL_MTA, TYPE_DOMAIN, NULL, 0, 0, RELOAD_NEW_SESSION, 0, NULL, \
        "name of this host in greeting, EHLO and Received; the system's host name when not set")   \
    DIRECTIVE(CHECK_SENDERS, "check-senders", KIND_PMTA, TYPE_BOOL, "yes", 0, 0, RELOAD_LIVE, 0, NULL, \
        "at start and reload, warn of virtual MTAs whose reverse names or SPF are wrong in the DNS") \
    DIRECTIVE(SPOOL, "spool", KIND_PMTA, TYPE_PATH, "/var/spool/pmta", 0, 0, RELOAD_RESTART, 0, NULL, \
        "directory of the message spool; each pipe has its own directory below it")                \
    DIRECTIVE(RUN_DIR, "run-dir", KIND_PMTA, TYPE_PATH, "/run/pmta", 0, 0, RELOAD_RESTART, 0, NULL, \
        "directory of the admin socket and the pid file")                                          \
    DIRECTIVE(LOG_FILE, "log-file", KIND_PMTA, TYPE_PATH, NULL, 0, 0, RELOAD_LIVE, 0, NULL,        \
        "log file, opened again at SIGHUP and reload; see log-to and log-rotate")                        \
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
    DIRECTIVE(PIPE, "pipe", KIND_LISTENER | KINDS_SOURCE | KIND_SMTP_USER | KIND_BOUNCE_PROCESSOR | KIND_FEEDBACK_LOOP_PROCESSOR, TYPE_NAME, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "pipe for messages from here, unless X-Pipe says otherwise")                               \
    DIRECTIVE(SOURCE_NAME, "source", KIND_LISTENER | KIND_SMTP_USER, TYPE_NAME, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "named [source] that overrides the one found by the client's address")                     \
    DIRECTIVE(ADDRESS, "address", KIND_LISTENER | KIND_HTTP_LISTENER, TYPE_TEXT, NULL, 0, 0, RELOAD_RESTART, 0, NULL,   \
        "ADDR:PORT, [IP6]:PORT or *:PORT to listen on; the section's name when not set")           \
    DIRECTIVE(POOL_MEMBER, "virtual-mta", KIND_VIRTUAL_MTA_POOL, TYPE_POOL_MEMBER, NULL, 0, 0, RELOAD_LIVE, DIRECTIVE_REPEATABLE, NULL, \
        "a virtual MTA of the pool, and its weight (1 when not given); several are used in turn")                                     \
    DIRECTIVE(DOMAINS, "domains", KIND_DOMAIN_MACRO, TYPE_DOMAIN_LIST, NULL, 0, 0, RELOAD_LIVE, DIRECTIVE_REPEATABLE, NULL, \
        "domains that $NAME stands for in [domain $NAME]")                                         \
    /* receiving: listener */                                                                      \
    DIRECTIVE(TLS_CERTIFICATE, "tls-certificate", KIND_LISTENER | KIND_PMTA, TYPE_PATH, NULL, 0, 0, RELOAD_NEW_SESSION, 0, NULL, \
        "PEM file with the certificate chain; STARTTLS is offered when set")                       \
    DIRECTIVE(TLS_KEY, "tls-key", KIND_LISTENER | KIND_PMTA, TYPE_PATH, NULL, 0, 0, RELOAD_NEW_SESSION, 0, NULL, \
        "PEM file with the private key; the certificate's file when not set")                      \
    DIRECTIVE(TLS_IMPLICIT, "tls-implicit", KIND_LISTENER, TYPE_BOOL, "no", 0, 0, RELOAD_NEW_SESSION, 0, NULL, \
        "speak TLS from the first byte (port 465)")                                                \
    DIRECTIVE(ALLOW_PLAIN_AUTH, "allow-plain-auth", KIND_LISTENER | KINDS_SOURCE | KIND_PMTA, TYPE_BOOL, "no", 0, 0, RELOAD_NEW_SESSION, 0, NULL, \
        "offer AUTH without TLS")                                                                  \
    DIRECTIVE(TLS_CERTIFICATE_FOR, "tls-certificate-for", KIND_LISTENER, TYPE_TEXT, NULL, 0, 0, RELOAD_NEW_SESSION, DIRECTIVE_REPEATABLE, NULL, \
        "HOST FILE [KEYFILE]: certificate chain and key for clients that ask for this name (SNI; *.example.com is one label); others get tls-certificate") \
    DIRECTIVE(TLS_CLIENT_CA, "tls-client-ca", KIND_LISTENER, TYPE_PATH, NULL, 0, 0, RELOAD_NEW_SESSION, 0, NULL, \
        "PEM file with the root certificates of clients: they are asked for a certificate, and one that is valid makes its client the [source] with that tls-client-name") \
    /* receiving: source */                                                                        \
    DIRECTIVE(ALWAYS_ALLOW_RELAYING, "always-allow-relaying", KINDS_SOURCE | KIND_PMTA, TYPE_BOOL, "no", 0, 0, RELOAD_NEW_SESSION, 0, NULL, \
        "accept mail to any domain from here without authentication")                              \
    DIRECTIVE(PROCESS_X_PIPE, "process-x-pipe", KINDS_SOURCE | KIND_PMTA, TYPE_BOOL, "no", 0, 0, RELOAD_NEW_SESSION, 0, NULL, \
        "honour X-Pipe; it is removed in any case")                                                \
    DIRECTIVE(PROCESS_X_VIRTUAL_MTA, "process-x-virtual-mta", KINDS_SOURCE | KIND_PMTA, TYPE_BOOL, "no", 0, 0, RELOAD_NEW_SESSION, 0, NULL, \
        "honour X-Virtual-MTA; it is removed in any case")                                         \
    DIRECTIVE(PROCESS_X_JOB, "process-x-job", KINDS_SOURCE | KIND_PMTA, TYPE_BOOL, "no", 0, 0, RELOAD_NEW_SESSION, 0, NULL, \
        "honour X-Job; it is removed in any case")                                                 \
    DIRECTIVE(PROCESS_X_ENVID, "process-x-envid", KINDS_SOURCE | KIND_PMTA, TYPE_BOOL, "no", 0, 0, RELOAD_NEW_SESSION, 0, NULL, \
        "honour X-Envid; it is removed in any case")                                               \
    DIRECTIVE(TLS_CLIENT_NAME, "tls-client-name", KIND_SOURCE, TYPE_TEXT, NULL, 0, 0, RELOAD_NEW_SESSION, DIRECTIVE_REPEATABLE, NULL, \
        "DNS name or mail address in the certificate that makes its client this source, wherever it connects from; see tls-client-ca") \
    DIRECTIVE(DEFAULT_VIRTUAL_MTA, "default-virtual-mta", KINDS_SOURCE | KIND_PIPE | KIND_PMTA, TYPE_NAME, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "virtual MTA or pool for messages that name none")                                         \
    DIRECTIVE(MAX_MESSAGE_SIZE, "max-message-size", KINDS_SOURCE | KIND_PMTA, TYPE_SIZE, "50M", 1024, 2147483648, RELOAD_NEW_SESSION, 0, NULL, \
        "largest message accepted, in bytes")                                                      \
    DIRECTIVE(MAX_RCPT_PER_MESSAGE, "max-rcpt-per-message", KINDS_SOURCE | KIND_PMTA, TYPE_INT, "1000", 1, 50000, RELOAD_NEW_SESSION, 0, NULL, \
        "recipients accepted in one transaction")                                                  \
    DIRECTIVE(MAX_HEADER_SIZE, "max-header-size", KINDS_SOURCE | KIND_PMTA, TYPE_SIZE, "64k", 1024, 1048576, RELOAD_NEW_SESSION, 0, NULL, \
        "largest header block accepted, in bytes")                                                 \
    DIRECTIVE(MAX_LINE_LENGTH, "max-line-length", KINDS_SOURCE | KIND_PMTA, TYPE_INT, "4096", 1000, 65536, RELOAD_NEW_SESSION, 0, NULL, \
        "longest line accepted in a message, CRLF included")                                       \
    DIRECTIVE(LONE_LF, "lone-lf", KINDS_SOURCE | KIND_PMTA, TYPE_ENUM, "refuse", 0, 0, RELOAD_NEW_SESSION, 0, "refuse|fix", \
        "a bare LF in a message: refuse the message with 5.6.0, or turn it into CRLF")             \
    DIRECTIVE(MAX_COMMANDS_IN, "max-commands-in", KINDS_SOURCE | KIND_PMTA, TYPE_INT, "100000", 10, 100000000, RELOAD_NEW_SESSION, 0, NULL, \
        "commands in one session before it is closed with 421")                                    \
    DIRECTIVE(MAX_ERRORS_IN, "max-errors-in", KINDS_SOURCE | KIND_PMTA, TYPE_INT, "20", 1, 10000, RELOAD_NEW_SESSION, 0, NULL, \
        "refused commands in a row before a session is closed with 421")                           \
    DIRECTIVE(IDLE_TIMEOUT_IN, "idle-timeout-in", KINDS_SOURCE | KIND_PMTA, TYPE_INTERVAL, "5m", 1000, 3600000, RELOAD_NEW_SESSION, 0, NULL, \
        "silence of a client before its session is closed with 421")                               \
    DIRECTIVE(SESSION_TIMEOUT_IN, "session-timeout-in", KINDS_SOURCE | KIND_PMTA, TYPE_INTERVAL, "24h", 1000, 604800000, RELOAD_NEW_SESSION, 0, NULL, \
        "longest session of a client")                                                             \
    DIRECTIVE(MAX_SMTP_IN, "max-smtp-in", KINDS_SOURCE | KIND_PMTA, TYPE_INT, "1000", 1, 100000, RELOAD_NEW_SESSION, 0, NULL, \
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
    DIRECTIVE(MAX_SMTP_OUT, "max-smtp-out", KINDS_LIMIT, TYPE_INT, "20", 1, 100000, RELOAD_LIVE, DIRECTIVE_TOTAL, NULL, \
        "connections at a time: on a domain per queue, on a pipe or virtual MTA over all its queues") \
    DIRECTIVE(MAX_MSG_PER_CONNECTION, "max-msg-per-connection", KINDS_QUEUE, TYPE_INT, "0", 0, 1000000, RELOAD_LIVE, 0, NULL, \
        "messages on one connection before it is closed; 0 is no limit")                           \
    DIRECTIVE(MAX_RCPT_PER_TRANSACTION, "max-rcpt-per-transaction", KINDS_QUEUE, TYPE_INT, "100", 1, 10000, RELOAD_LIVE, 0, NULL, \
        "recipients of one message sent in one transaction; max-rcpt-per-message means the same, but in [pmta] and sources")                                       \
    DIRECTIVE(RETRY_AFTER, "retry-after", KINDS_QUEUE, TYPE_RETRY, "10m", 100, 604800000, RELOAD_LIVE, 0, NULL, \
        "time to the next attempt of a queue whose hosts fail: first, second, …, last repeats; or 5m x2 max 4h") \
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
        "send commands without waiting for each answer when the peer offers PIPELINING")           \
    /* virtual MTAs */                                                                             \
    DIRECTIVE(SMTP_SOURCE_IP, "smtp-source-ip", KIND_VIRTUAL_MTA | KIND_PMTA, TYPE_SOURCE_IP, NULL, 0, 0, RELOAD_NEW_SESSION, DIRECTIVE_REPEATABLE, NULL, \
        "source address whose host name is host-name; older form of smtp-source-host")             \
    DIRECTIVE(COLD_VIRTUAL_MTA, "cold-virtual-mta", KIND_VIRTUAL_MTA | KIND_VIRTUAL_MTA_POOL, TYPE_NAME, NULL, 0, 0, RELOAD_LIVE, DIRECTIVE_REPEATABLE, NULL, \
        "virtual MTA to warm up with a daily share of this one; several are used in turn")         \
    DIRECTIVE(MAX_COLD_VIRTUAL_MTA_MSG, "max-cold-virtual-mta-msg", KINDS_QUEUE, TYPE_RATE_LIST, "0/d", 0, 0, RELOAD_LIVE, 0, NULL, \
        "messages per day and queue that go to each cold virtual MTA: day 1, day 2, …; the last repeats")\
    DIRECTIVE(REROUTE_TO_VIRTUAL_MTA, "reroute-to-virtual-mta", KINDS_QUEUE, TYPE_NAME, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "virtual MTA or pool that the mail of this queue goes to instead")                         \
    /* limits */                                                                                   \
    DIRECTIVE(MAX_MSG_RATE, "max-msg-rate", KINDS_LIMIT, TYPE_RATE, "0", 0, 0, RELOAD_LIVE, DIRECTIVE_TOTAL, NULL, \
        "recipients attempted per time: on a domain per queue, on a pipe or virtual MTA over all its queues")\
    DIRECTIVE(MAX_CONNECT_RATE, "max-connect-rate", KINDS_LIMIT, TYPE_RATE, "0", 0, 0, RELOAD_LIVE, DIRECTIVE_TOTAL, NULL, \
        "connections opened per time")                                                             \
    DIRECTIVE(MAX_DATA_VOLUME_RATE, "max-data-volume-rate", KINDS_LIMIT, TYPE_DATA_RATE, "0", 0, 0, RELOAD_LIVE, DIRECTIVE_TOTAL, NULL, \
        "message bytes sent per time")                                                             \
    DIRECTIVE(SMTP_OUT_RAMPUP_INTERVAL, "smtp-out-rampup-interval", KINDS_QUEUE, TYPE_INTERVAL, "0", 0, 86400000, RELOAD_LIVE, 0, NULL, \
        "shortest time between opening one connection of a queue and the next")                    \
    DIRECTIVE(MX_CONNECTION_LIMIT, "mx-connection-limit", KINDS_QUEUE, TYPE_INT, "0", 0, 100000, RELOAD_LIVE, 0, NULL, \
        "connections at a time from one source address to one MX host, over all queues; 0 is no limit")\
    DIRECTIVE(IP_CONNECTION_LIMIT, "ip-connection-limit", KINDS_QUEUE, TYPE_INT, "0", 0, 100000, RELOAD_LIVE, 0, NULL, \
        "connections at a time from one source address to one address, over all queues; 0 is no limit")\
    DIRECTIVE(SOURCE_IP_MAX_SMTP_OUT, "source-ip-max-smtp-out", KINDS_QUEUE, TYPE_INT, "0", 0, 100000, RELOAD_LIVE, DIRECTIVE_TOTAL, NULL, \
        "max-smtp-out for each source address by itself")                                          \
    DIRECTIVE(SOURCE_IP_MAX_MSG_RATE, "source-ip-max-msg-rate", KINDS_QUEUE, TYPE_RATE, "0", 0, 0, RELOAD_LIVE, DIRECTIVE_TOTAL, NULL, \
        "max-msg-rate for each source address by itself")                                          \
    DIRECTIVE(SOURCE_IP_MAX_CONNECT_RATE, "source-ip-max-connect-rate", KINDS_QUEUE, TYPE_RATE, "0", 0, 0, RELOAD_LIVE, DIRECTIVE_TOTAL, NULL, \
        "max-connect-rate for each source address by itself")                                      \
    DIRECTIVE(SOURCE_IP_MAX_DATA_VOLUME_RATE, "source-ip-max-data-volume-rate", KINDS_QUEUE, TYPE_DATA_RATE, "0", 0, 0, RELOAD_LIVE, DIRECTIVE_TOTAL, NULL, \
        "max-data-volume-rate for each source address by itself")                                  \
    DIRECTIVE(TOTAL_MAX_SMTP_OUT, "total-max-smtp-out", KIND_PMTA, TYPE_INT, "0", 0, 1000000, RELOAD_LIVE, 0, NULL, \
        "outgoing connections at a time of all pipes together; 0 is no limit")                     \
    DIRECTIVE(TOTAL_MAX_MSG_RATE, "total-max-msg-rate", KIND_PMTA, TYPE_RATE, "0", 0, 0, RELOAD_LIVE, 0, NULL, \
        "recipients attempted per time by all pipes together")                                     \
    DIRECTIVE(TOTAL_MAX_CONNECT_RATE, "total-max-connect-rate", KIND_PMTA, TYPE_RATE, "0", 0, 0, RELOAD_LIVE, 0, NULL, \
        "connections opened per time by all pipes together")                                       \
    DIRECTIVE(SHARED, "shared", KIND_DOMAIN_MACRO, TYPE_BOOL, "no", 0, 0, RELOAD_LIVE, 0, NULL, \
        "limits of [domain $NAME] hold for all its domains together, not for each")                \
    /* back-off */                                                                                 \
    DIRECTIVE(BACKOFF_MAX_SMTP_OUT, "backoff-max-smtp-out", KINDS_QUEUE, TYPE_INT, NULL, 1, 100000, RELOAD_LIVE, 0, NULL, \
        "max-smtp-out while the queue is in back-off; as in normal mode when not set")             \
    DIRECTIVE(BACKOFF_MAX_MSG_RATE, "backoff-max-msg-rate", KINDS_QUEUE, TYPE_RATE, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "max-msg-rate while the queue is in back-off; as in normal mode when not set")             \
    DIRECTIVE(BACKOFF_MAX_CONNECT_RATE, "backoff-max-connect-rate", KINDS_QUEUE, TYPE_RATE, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "max-connect-rate while the queue is in back-off; as in normal mode when not set")         \
    DIRECTIVE(BACKOFF_MAX_DATA_VOLUME_RATE, "backoff-max-data-volume-rate", KINDS_QUEUE, TYPE_DATA_RATE, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "max-data-volume-rate while the queue is in back-off; as in normal mode when not set")     \
    DIRECTIVE(BACKOFF_MAX_MSG_PER_CONNECTION, "backoff-max-msg-per-connection", KINDS_QUEUE, TYPE_INT, NULL, 0, 1000000, RELOAD_LIVE, 0, NULL, \
        "max-msg-per-connection while the queue is in back-off; as in normal mode when not set")   \
    DIRECTIVE(BACKOFF_MAX_RCPT_PER_TRANSACTION, "backoff-max-rcpt-per-transaction", KINDS_QUEUE, TYPE_INT, NULL, 1, 10000, RELOAD_LIVE, 0, NULL, \
        "max-rcpt-per-transaction while the queue is in back-off; as in normal mode when not set") \
    DIRECTIVE(BACKOFF_SMTP_OUT_RAMPUP_INTERVAL, "backoff-smtp-out-rampup-interval", KINDS_QUEUE, TYPE_INTERVAL, NULL, 0, 86400000, RELOAD_LIVE, 0, NULL, \
        "smtp-out-rampup-interval while the queue is in back-off; as in normal mode when not set") \
    DIRECTIVE(BACKOFF_MX_CONNECTION_LIMIT, "backoff-mx-connection-limit", KINDS_QUEUE, TYPE_INT, NULL, 0, 100000, RELOAD_LIVE, 0, NULL, \
        "mx-connection-limit while the queue is in back-off; as in normal mode when not set")      \
    DIRECTIVE(BACKOFF_IP_CONNECTION_LIMIT, "backoff-ip-connection-limit", KINDS_QUEUE, TYPE_INT, NULL, 0, 100000, RELOAD_LIVE, 0, NULL, \
        "ip-connection-limit while the queue is in back-off; as in normal mode when not set")      \
    DIRECTIVE(BACKOFF_SOURCE_IP_MAX_SMTP_OUT, "backoff-source-ip-max-smtp-out", KINDS_QUEUE, TYPE_INT, NULL, 0, 100000, RELOAD_LIVE, 0, NULL, \
        "source-ip-max-smtp-out while the queue is in back-off; as in normal mode when not set")   \
    DIRECTIVE(BACKOFF_SOURCE_IP_MAX_MSG_RATE, "backoff-source-ip-max-msg-rate", KINDS_QUEUE, TYPE_RATE, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "source-ip-max-msg-rate while the queue is in back-off; as in normal mode when not set")   \
    DIRECTIVE(BACKOFF_SOURCE_IP_MAX_CONNECT_RATE, "backoff-source-ip-max-connect-rate", KINDS_QUEUE, TYPE_RATE, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "source-ip-max-connect-rate while the queue is in back-off; as in normal mode when not set")\
    DIRECTIVE(BACKOFF_SOURCE_IP_MAX_DATA_VOLUME_RATE, "backoff-source-ip-max-data-volume-rate", KINDS_QUEUE, TYPE_DATA_RATE, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "source-ip-max-data-volume-rate while the queue is in back-off; as in normal mode when not set")\
    DIRECTIVE(BACKOFF_RETRY_AFTER, "backoff-retry-after", KINDS_QUEUE, TYPE_RETRY, "1h", 100, 604800000, RELOAD_LIVE, 0, NULL, \
        "retry-after while the queue is in back-off")                                              \
    DIRECTIVE(BACKOFF_TO_NORMAL_AFTER, "backoff-to-normal-after", KINDS_QUEUE, TYPE_INTERVAL, "1h", 1000, 2592000000, RELOAD_LIVE, DIRECTIVE_NEVER, NULL, \
        "time after which a queue leaves back-off, or never")                                      \
    DIRECTIVE(BACKOFF_TO_NORMAL_AFTER_DELIVERY, "backoff-to-normal-after-delivery", KINDS_QUEUE, TYPE_BOOL, "no", 0, 0, RELOAD_LIVE, 0, NULL, \
        "leave back-off after one delivery")                                                       \
    DIRECTIVE(BACKOFF_UPON_ALL_SOURCES_DISABLED, "backoff-upon-all-sources-disabled", KINDS_QUEUE, TYPE_BOOL, "no", 0, 0, RELOAD_LIVE, 0, NULL, \
        "enter back-off when every source address of the queue is disabled")                       \
    DIRECTIVE(BACKOFF_REROUTE_TO_VIRTUAL_MTA, "backoff-reroute-to-virtual-mta", KINDS_QUEUE, TYPE_NAME, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "virtual MTA or pool that the mail of this queue goes to while it is in back-off")         \
    DIRECTIVE(BACKOFF_NOTIFY, "backoff-notify", KINDS_QUEUE, TYPE_EMAIL_LIST, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "who gets a message when a queue enters or leaves back-off")                               \
    DIRECTIVE(REENABLE_SOURCE_IP_AFTER, "reenable-source-ip-after", KINDS_QUEUE, TYPE_INTERVAL, "1h", 1000, 2592000000, RELOAD_LIVE, DIRECTIVE_NEVER, NULL, \
        "time after which a disabled source address is used again, or never")                      \
    DIRECTIVE(SMTP_PATTERN_LIST_NAME, "smtp-pattern-list", KINDS_QUEUE, TYPE_NAME, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "[smtp-pattern-list] that replies to this queue are matched against")                      \
    DIRECTIVE(REPLY, "reply", KIND_SMTP_PATTERN_LIST, TYPE_REPLY_RULE, NULL, 0, 0, RELOAD_LIVE, DIRECTIVE_REPEATABLE, NULL, \
        "/regex/ action,…: what a reply that matches does; the first rule that matches counts")    \
    /* retry */                                                                                    \
    DIRECTIVE(RETRY_RECIPIENTS_AFTER, "retry-recipients-after", KINDS_QUEUE, TYPE_RETRY, NULL, 100, 604800000, RELOAD_LIVE, 0, NULL, \
        "time to the next attempt of a recipient that got a temporary reply; retry-after when not set")\
    DIRECTIVE(RETRY_AFTER_DNS_ERROR, "retry-after-dns-error", KINDS_QUEUE, TYPE_INTERVAL, "1m", 100, 604800000, RELOAD_LIVE, 0, NULL, \
        "time to the next attempt after the DNS gave no answer")                                   \
    DIRECTIVE(RETRY_AFTER_GREYLISTING, "retry-after-greylisting", KINDS_QUEUE, TYPE_INTERVAL, "5m", 100, 604800000, RELOAD_LIVE, DIRECTIVE_NEVER, NULL, \
        "time to the next attempt after a reply that speaks of greylisting; never: as any other reply")\
    DIRECTIVE(RETRY_UPON_NEW_MAIL, "retry-upon-new-mail", KINDS_QUEUE, TYPE_BOOL, "no", 0, 0, RELOAD_LIVE, 0, NULL, \
        "new mail for a queue that waits for its retry time starts an attempt at once")            \
    /* adaptive rate */                                                                            \
    DIRECTIVE(ADAPTIVE, "adaptive", KINDS_QUEUE, TYPE_BOOL, "no", 0, 0, RELOAD_LIVE, 0, NULL, \
        "find the rate that the receiving side takes: up while it accepts, down when it throttles")\
    DIRECTIVE(ADAPTIVE_MIN_RATE, "adaptive-min-rate", KINDS_QUEUE, TYPE_RATE, "1/m", 0, 0, RELOAD_LIVE, 0, NULL, \
        "rate that adaptive does not go below")                                                    \
    DIRECTIVE(ADAPTIVE_START_RATE, "adaptive-start-rate", KINDS_QUEUE, TYPE_RATE, "10/s", 0, 0, RELOAD_LIVE, 0, NULL, \
        "rate that adaptive begins with, or max-msg-rate when that is less")                       \
    /* warm-up */                                                                                  \
    DIRECTIVE(WARMUP, "warmup", KINDS_QUEUE, TYPE_INTERVAL, "0", 0, 31536000000, RELOAD_LIVE, 0, NULL, \
        "time over which a new source address goes from warmup-start-rate to its full limits; 0 is off")\
    DIRECTIVE(WARMUP_START_RATE, "warmup-start-rate", KINDS_QUEUE, TYPE_RATE, "50/h", 0, 0, RELOAD_LIVE, 0, NULL, \
        "rate at the beginning of warmup")                                                         \
    DIRECTIVE(WARMUP_SCHEDULE, "warmup-schedule", KINDS_QUEUE, TYPE_RAMP, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "messages per day from a new source address to one queue: 50/d, 100/d, … or 50/d +10%/d")  \
    DIRECTIVE(WARMUP_MAX_DEFERRED, "warmup-max-deferred", KINDS_QUEUE, TYPE_INT, "20", 0, 100, RELOAD_LIVE, 0, NULL, \
        "percent of attempts deferred on a day above which warm-up does not go on")                \
    DIRECTIVE(WARMUP_MAX_BOUNCED, "warmup-max-bounced", KINDS_QUEUE, TYPE_INT, "5", 0, 100, RELOAD_LIVE, 0, NULL, \
        "percent of attempts bounced on a day above which warm-up does not go on")                 \
    DIRECTIVE(WARMUP_UPON_TROUBLE, "warmup-upon-trouble", KINDS_QUEUE, TYPE_ENUM, "hold", 0, 0, RELOAD_LIVE, 0, "hold|step-back|ignore", \
        "what warm-up does the day after such a day")                                              \
    /* groups of MX hosts */                                                                       \
    DIRECTIVE(MX, "mx", KIND_MX_ROLLUP, TYPE_MX_PATTERNS, NULL, 0, 0, RELOAD_LIVE, DIRECTIVE_REPEATABLE, NULL, \
        "hosts of the group; a domain whose best MX hosts are among them joins queue NAME.rollup") \
    DIRECTIVE(QUEUE_TO, "queue-to", KIND_DOMAIN | KIND_VIRTUAL_MTA | KIND_VIRTUAL_MTA_POOL | KIND_PIPE, TYPE_DOMAIN, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "queue that the mail of this domain goes to instead, with one set of limits")              \
    DIRECTIVE(DISABLE_MX_ROLLUP, "disable-mx-rollup", KINDS_QUEUE, TYPE_BOOL, "no", 0, 0, RELOAD_LIVE, 0, NULL, \
        "keep this domain in a queue of its own")                                                  \
    DIRECTIVE(AUTO_MX_ROLLUP, "auto-mx-rollup", KINDS_QUEUE, TYPE_BOOL, "no", 0, 0, RELOAD_LIVE, 0, NULL, \
        "domains with the same best MX hosts share one queue, without being listed")               \
    /* bounce categories */                                                                        \
    DIRECTIVE(BOUNCE_PATTERN, "pattern", KIND_BOUNCE_CATEGORY_PATTERNS, TYPE_BOUNCE_RULE, NULL, 0, 0, RELOAD_LIVE, DIRECTIVE_REPEATABLE, NULL, \
        "what replies belong to a category; the first rule that matches counts, own before shipped") \
    /* accounting files */                                                                         \
    DIRECTIVE(ACCT_RECORDS, "records", KIND_ACCT_FILE | KIND_EVENT_SINK, TYPE_TEXT, "d,b", 0, 0, RELOAD_LIVE, 0, NULL, \
        "record types of this file: d, b, t, tq, r, rb, rs, f; an event sink sends all that its file has when not set") \
    DIRECTIVE(ACCT_PROFILE, "profile", KIND_ACCT_FILE, TYPE_ENUM, "full", 0, 0, RELOAD_LIVE, 0, "full|short", \
        "columns where record-fields says nothing: all fields, or time,type,vmta,domain,rcpt,status,dsn-status,size") \
    DIRECTIVE(ACCT_RECORD_FIELDS, "record-fields", KIND_ACCT_FILE, TYPE_TEXT, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "columns, in order: fields, header_NAME, * for all, !FIELD to leave one out") \
    DIRECTIVE(ACCT_RECORD_FIELDS_D, "record-fields-d", KIND_ACCT_FILE, TYPE_TEXT, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "the same for records of type d") \
    DIRECTIVE(ACCT_RECORD_FIELDS_B, "record-fields-b", KIND_ACCT_FILE, TYPE_TEXT, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "the same for records of type b") \
    DIRECTIVE(ACCT_RECORD_FIELDS_T, "record-fields-t", KIND_ACCT_FILE, TYPE_TEXT, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "the same for records of type t") \
    DIRECTIVE(ACCT_RECORD_FIELDS_TQ, "record-fields-tq", KIND_ACCT_FILE, TYPE_TEXT, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "the same for records of type tq") \
    DIRECTIVE(ACCT_RECORD_FIELDS_R, "record-fields-r", KIND_ACCT_FILE, TYPE_TEXT, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "the same for records of type r") \
    DIRECTIVE(ACCT_RECORD_FIELDS_RB, "record-fields-rb", KIND_ACCT_FILE, TYPE_TEXT, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "the same for records of type rb") \
    DIRECTIVE(ACCT_RECORD_FIELDS_RS, "record-fields-rs", KIND_ACCT_FILE, TYPE_TEXT, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "the same for records of type rs") \
    DIRECTIVE(ACCT_RECORD_FIELDS_F, "record-fields-f", KIND_ACCT_FILE, TYPE_TEXT, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "the same for records of type f") \
    DIRECTIVE(ACCT_FORMAT, "format", KIND_ACCT_FILE, TYPE_ENUM, "csv", 0, 0, RELOAD_LIVE, 0, "csv|json", \
        "CSV with a header line, or one JSON object a line") \
    DIRECTIVE(ACCT_MOVE_INTERVAL, "move-interval", KIND_ACCT_FILE, TYPE_INTERVAL, "1d", 1000, 2592000000, RELOAD_LIVE, 0, NULL, \
        "how often a file is finished and the next one begun, counted from midnight UTC") \
    DIRECTIVE(ACCT_MAX_SIZE, "max-size", KIND_ACCT_FILE, TYPE_SIZE, "250M", 1048576, 1099511627776, RELOAD_LIVE, 0, NULL, \
        "size at which a file is finished") \
    DIRECTIVE(ACCT_MOVE_TO, "move-to", KIND_ACCT_FILE, TYPE_PATH, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "directory that finished files are moved to") \
    DIRECTIVE(ACCT_COMPRESS, "compress", KIND_ACCT_FILE, TYPE_ENUM, "none", 0, 0, RELOAD_LIVE, 0, "none|gzip|zstd", \
        "how finished files are compressed") \
    DIRECTIVE(ACCT_DELETE_AFTER, "delete-after", KIND_ACCT_FILE, TYPE_INTERVAL, "8d", 60000, 315360000000, RELOAD_LIVE, DIRECTIVE_NEVER, NULL, \
        "age at which finished files are deleted; with move-to only when it is set") \
    DIRECTIVE(ACCT_MAX_TOTAL_SIZE, "max-total-size", KIND_ACCT_FILE, TYPE_SIZE, "0", 0, 1125899906842624, RELOAD_LIVE, 0, NULL, \
        "bytes that the finished files of one pipe may take before the oldest are deleted; 0: no limit") \
    DIRECTIVE(ACCT_RETRY_INTERVAL, "retry-interval", KIND_ACCT_FILE, TYPE_INTERVAL, "5m", 1000, 86400000, RELOAD_LIVE, 0, NULL, \
        "of [acct-file |command]: when a command that failed is started again; also at a reload") \
    DIRECTIVE(ACCT_WRITE_TIMEOUT, "write-timeout", KIND_ACCT_FILE, TYPE_INTERVAL, "1m", 1000, 86400000, RELOAD_LIVE, 0, NULL, \
        "of [acct-file |command]: how long the command may not read, or not exit after the end of its input") \
    DIRECTIVE(ACCT_ISO_TIMES, "iso-times", KIND_ACCT_FILE, TYPE_BOOL, "yes", 0, 0, RELOAD_LIVE, 0, NULL, \
        "times as 2026-11-21 04:05:06+0000; no: seconds since 1970") \
    DIRECTIVE(ACCT_USER_STRING, "user-string", KIND_ACCT_FILE, TYPE_TEXT, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "what the field userString holds") \
    DIRECTIVE(ACCT_WORLD_READABLE, "world-readable", KIND_ACCT_FILE, TYPE_BOOL, "no", 0, 0, RELOAD_LIVE, 0, NULL, \
        "everybody may read the files") \
    DIRECTIVE(ACCT_ONLY_PIPE, "only-pipe", KIND_ACCT_FILE | KIND_EVENT_SINK, TYPE_TEXT, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "only records of these pipes: names with * and ?, ! in front leaves out, the first that matches counts") \
    DIRECTIVE(ACCT_ONLY_VIRTUAL_MTA, "only-virtual-mta", KIND_ACCT_FILE, TYPE_TEXT, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "only records of these virtual MTAs: names with * and ?, ! in front leaves out, the first that matches counts") \
    DIRECTIVE(ACCT_ONLY_JOB, "only-job", KIND_ACCT_FILE, TYPE_TEXT, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "only records of these jobs: names with * and ?, ! in front leaves out, the first that matches counts") \
    DIRECTIVE(ACCT_ONLY_DOMAIN, "only-domain", KIND_ACCT_FILE, TYPE_TEXT, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "only records of these recipient domains: names with * and ?, ! in front leaves out, the first that matches counts") \
    /* jobs and order */                                                                           \
    DIRECTIVE(QUEUE_PRIORITY, "queue-priority", KINDS_QUEUE, TYPE_INT, "50", 0, 100, RELOAD_LIVE, 0, NULL, \
        "which queue gets a free connection first: 100 is the most urgent; equals take turns")     \
    DIRECTIVE(JOB_MAX_MSG_RATE, "job-max-msg-rate", KIND_PIPE | KIND_PMTA, TYPE_RATE, "0", 0, 0, RELOAD_LIVE, 0, NULL, \
        "recipients attempted per time of one job; pmtactl set job changes it for one")            \
    /* signing; a [domain] here is the sender's */                                                 \
    DIRECTIVE(DKIM_SIGN, "dkim-sign", KINDS_QUEUE, TYPE_BOOL, "yes", 0, 0, RELOAD_LIVE, 0, NULL, \
        "sign with every key that matches")                                                        \
    DIRECTIVE(DOMAIN_KEY, "domain-key", KINDS_QUEUE, TYPE_DOMAIN_KEY, NULL, 0, 0, RELOAD_LIVE, DIRECTIVE_REPEATABLE, NULL, \
        "selector,domain,file[,from=DATE][,until=DATE]: signs for senders in this domain and below it, * is any domain; a date is 2026-12-01 or 2026-12-01T14:30, UTC, and until= is the first moment at which the key is not used any more") \
    DIRECTIVE(DKIM_KEY, "dkim-key", KINDS_QUEUE, TYPE_DKIM_KEY, NULL, 0, 0, RELOAD_LIVE, DIRECTIVE_REPEATABLE, NULL, \
        "the same as domain-key, written as: file selector domain")                                \
    DIRECTIVE(SECOND_DOMAIN_KEY, "second-domain-key", KINDS_QUEUE, TYPE_DOMAIN_KEY, NULL, 0, 0, RELOAD_LIVE, DIRECTIVE_REPEATABLE, NULL, \
        "selector,domain,file: signs as this domain besides, whoever the sender is")               \
    DIRECTIVE(DKIM_PRIVATE_KEY, "dkim-private-key", KINDS_QUEUE, TYPE_PATH, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "key file that signs as the sender's domain with dkim-selector")                           \
    DIRECTIVE(DKIM_SELECTOR, "dkim-selector", KINDS_QUEUE, TYPE_DOMAIN, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "selector of dkim-private-key")                                                            \
    DIRECTIVE(DKIM_HEADERS, "dkim-headers", KINDS_QUEUE, TYPE_TEXT, "From, Sender, Reply-To, To, Cc, Subject, Date, Message-ID, In-Reply-To, References, MIME-Version, Content-Type, Content-Transfer-Encoding, List-Id, List-Unsubscribe, List-Unsubscribe-Post, List-Help, Feedback-ID, BIMI-Selector", 0, 0, RELOAD_LIVE, 0, NULL, \
        "header fields that are signed where they are present")                                    \
    DIRECTIVE(DKIM_OVERSIGN, "dkim-oversign", KINDS_QUEUE, TYPE_TEXT, "From, To, Cc, Subject, Date, Reply-To", 0, 0, RELOAD_LIVE, 0, NULL, \
        "header fields that nobody can add another of without breaking the signature")             \
    DIRECTIVE(DKIM_IDENTITY, "dkim-identity", KINDS_QUEUE, TYPE_TEXT, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "address or @domain that decides which keys match, instead of Sender or From")             \
    DIRECTIVE(DKIM_IDENTITY_FALLBACK, "dkim-identity-fallback", KINDS_QUEUE, TYPE_TEXT, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "address or @domain to sign as when no key matches")                                       \
    DIRECTIVE(DKIM_ALGORITHM, "dkim-algorithm", KINDS_QUEUE, TYPE_ENUM, "all", 0, 0, RELOAD_LIVE, 0, "all|rsa-sha256|ed25519-sha256", \
        "only keys of this kind sign")                                                             \
    DIRECTIVE(DKIM_CANONICALIZATION, "dkim-canonicalization", KINDS_QUEUE, TYPE_ENUM, "relaxed/relaxed", 0, 0, RELOAD_LIVE, 0, "relaxed/relaxed|relaxed/simple|simple/relaxed|simple/simple", \
        "canonical form of header and body")                                                       \
    DIRECTIVE(DKIM_TIMESTAMP, "dkim-timestamp", KINDS_QUEUE, TYPE_BOOL, "yes", 0, 0, RELOAD_LIVE, 0, NULL, \
        "say when it was signed (t=)")                                                             \
    DIRECTIVE(DKIM_EXPIRE_AFTER, "dkim-expire-after", KINDS_QUEUE, TYPE_INTERVAL, "0", 0, 31536000000, RELOAD_LIVE, 0, NULL, \
        "how long a signature is valid (x=); 0: for ever")                                         \
    DIRECTIVE(DKIM_REQUIRED, "dkim-required", KINDS_QUEUE, TYPE_BOOL, "yes", 0, 0, RELOAD_LIVE, 0, NULL, \
        "mail whose configured key cannot be used waits; no: goes unsigned")                       \
    DIRECTIVE(BIMI_SELECTOR, "bimi-selector", KINDS_QUEUE, TYPE_DOMAIN, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "insert BIMI-Selector with this selector, replacing what the application sent")            \
    DIRECTIVE(PROCESS_X_DKIM_OPTIONS, "process-x-dkim-options", KINDS_SOURCE | KIND_PMTA, TYPE_BOOL, "no", 0, 0, RELOAD_NEW_SESSION, 0, NULL, \
        "honour X-DKIM-Options (s=, d=, i=); it is removed in any case")                           \
    /* what the DNS and the web say about TLS */                                                   \
    DIRECTIVE(NAME_SERVER_VALIDATES, "name-server-validates", KIND_PMTA, TYPE_BOOL, "no", 0, 0, RELOAD_LIVE, 0, NULL, \
        "believe the name servers when they say that an answer passed DNSSEC (AD bit); only for servers that validate and are reached over loopback or a private network that nobody can forge packets in") \
    DIRECTIVE(USE_DANE, "use-dane", KINDS_QUEUE, TYPE_BOOL, "yes", 0, 0, RELOAD_NEW_SESSION, 0, NULL, \
        "check hosts against their TLSA records (RFC 7672); does nothing without name-server-validates") \
    DIRECTIVE(USE_MTA_STS, "use-mta-sts", KINDS_QUEUE, TYPE_BOOL, "yes", 0, 0, RELOAD_NEW_SESSION, 0, NULL, \
        "honour the MTA-STS policy of the domain (RFC 8461)")                                      \
    DIRECTIVE(MTA_STS_CA_FILE, "mta-sts-ca-file", KIND_PMTA, TYPE_PATH, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "PEM file of the authorities that may certify the servers of MTA-STS policies, instead of the system's; for tests and labs") \
    DIRECTIVE(MTA_STS_PORT, "mta-sts-port", KIND_PMTA, TYPE_INT, "443", 1, 65535, RELOAD_LIVE, 0, NULL, \
        "port that MTA-STS policies are fetched from; other than 443 for tests and labs only")     \
    /* TLS of outgoing sessions, and tls-min-version of a listener */                              \
    DIRECTIVE(REQUIRE_STARTTLS, "require-starttls", KINDS_QUEUE, TYPE_BOOL, "no", 0, 0, RELOAD_NEW_SESSION, 0, NULL, \
        "send nothing in clear: mail waits when a host offers no TLS or its handshake fails")      \
    DIRECTIVE(TLS_MIN_VERSION, "tls-min-version", KINDS_QUEUE | KIND_LISTENER, TYPE_ENUM, "TLSv1.2", 0, 0, RELOAD_NEW_SESSION, 0, "TLSv1|TLSv1.1|TLSv1.2|TLSv1.3", \
        "oldest version of TLS spoken; a host that only knows older ones is sent to in clear where that is allowed; a listener takes its own section's value alone") \
    DIRECTIVE(TLS_VERIFY, "tls-verify", KINDS_QUEUE, TYPE_ENUM, "opportunistic", 0, 0, RELOAD_NEW_SESSION, 0, "none|opportunistic|dane|sts|mandatory", \
        "none: encrypt and check nothing; opportunistic: as DANE, else MTA-STS of the domain say, else unchecked; dane: usable TLSA records are required; sts: those or an MTA-STS policy; mandatory: a certificate by tls-ca-file for a name of tls-match") \
    DIRECTIVE(TLS_MATCH, "tls-match", KINDS_QUEUE, TYPE_DOMAIN_LIST, "hostname", 0, 0, RELOAD_NEW_SESSION, 0, NULL, \
        "names that a certificate may be for with tls-verify = mandatory, up to 8: hostname (of the MX host), nexthop (the domain), or names as they are") \
    DIRECTIVE(TLS_CA_FILE, "tls-ca-file", KINDS_QUEUE, TYPE_PATH, "/etc/ssl/certs/ca-certificates.crt", 0, 0, RELOAD_NEW_SESSION, 0, NULL, \
        "PEM file with the root certificates that hosts are checked against")                      \
    DIRECTIVE(TLS_CLIENT_CERTIFICATE, "tls-client-certificate", KINDS_QUEUE, TYPE_PATH, NULL, 0, 0, RELOAD_NEW_SESSION, 0, NULL, \
        "PEM file with the certificate chain shown to hosts that ask for one")                     \
    DIRECTIVE(TLS_CLIENT_KEY, "tls-client-key", KINDS_QUEUE, TYPE_PATH, NULL, 0, 0, RELOAD_NEW_SESSION, 0, NULL, \
        "PEM file with its private key; the certificate's file when not set")                      \
    DIRECTIVE(TLS_BROKEN_FOR, "tls-broken-for", KINDS_QUEUE, TYPE_INTERVAL, "1h", 0, 2592000000, RELOAD_NEW_SESSION, 0, NULL, \
        "how long a host whose TLS handshake failed is sent to in clear, where nothing requires TLS") \
    DIRECTIVE(ALLOW_TLS_REQUIRED_NO, "allow-tls-required-no", KINDS_QUEUE, TYPE_BOOL, "yes", 0, 0, RELOAD_NEW_SESSION, 0, NULL, \
        "send mail with the header field TLS-Required: No (RFC 8689) also when TLS is not what DANE or MTA-STS of the domain ask for; require-starttls, and tls-verify beyond opportunistic, stand above it") \
    /* TLS reports */                                                                              \
    DIRECTIVE(TLS_REPORT, "tls-report", KIND_PIPE | KIND_PMTA, TYPE_BOOL, "no", 0, 0, RELOAD_LIVE, 0, NULL, \
        "report daily how TLS went to domains that ask for it with a TXT record at _smtp._tls (RFC 8460)") \
    DIRECTIVE(TLS_REPORT_CONTACT, "tls-report-contact", KIND_PIPE | KIND_PMTA, TYPE_TEXT, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "where to ask about TLS reports; tls-report-from when not set")                            \
    DIRECTIVE(TLS_REPORT_FROM, "tls-report-from", KIND_PIPE | KIND_PMTA, TYPE_EMAIL_LIST, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "address that TLS reports are from; postmaster@ the host name when not set")               \
    DIRECTIVE(TLS_REPORT_DIR, "tls-report-dir", KIND_PIPE | KIND_PMTA, TYPE_PATH, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "directory that a copy of each TLS report is written to; the user of the pipe must be able to write there") \
    /* what a source may say */                                                                    \
    DIRECTIVE(SOURCE_GROUP_NAME, "source-group", KIND_SOURCE, TYPE_NAME, NULL, 0, 0, RELOAD_NEW_SESSION, 0, NULL, \
        "[source-group] that this source belongs to and takes its settings from")                  \
    DIRECTIVE(RESERVED_SMTP_IN, "reserved-smtp-in", KIND_SOURCE_GROUP, TYPE_INT, "0", 0, 100000, RELOAD_NEW_SESSION, 0, NULL, \
        "connections kept free for this group, per receiver")                                      \
    DIRECTIVE(PROCESS_X_SCHEDULE, "process-x-schedule", KINDS_SOURCE | KIND_PMTA, TYPE_BOOL, "no", 0, 0, RELOAD_NEW_SESSION, 0, NULL, \
        "honour X-Schedule, the times between which a message may be delivered; it is removed in any case")\
    DIRECTIVE(PROCESS_X_DELIVERY_PRIORITY, "process-x-delivery-priority", KINDS_SOURCE | KIND_PMTA, TYPE_BOOL, "no", 0, 0, RELOAD_NEW_SESSION, 0, NULL, \
        "honour X-Delivery-Priority (0 to 100); it is removed in any case")                        \
    DIRECTIVE(PROCESS_X_REMOTE_MTA_NAME, "process-x-remote-mta-name", KINDS_SOURCE | KIND_PMTA, TYPE_BOOL, "no", 0, 0, RELOAD_NEW_SESSION, 0, NULL, \
        "honour X-Remote-MTA-Name, the host that srcMta shows in accounting; it is removed in any case") \
    /* secrets */                                                                                  \
    DIRECTIVE(SECRET_FILE, "secret-file", KIND_PMTA, TYPE_PATH, NULL, 0, 0, RELOAD_RESTART, DIRECTIVE_SECRET, NULL, \
        "file with 32 or more random bytes that bounce addresses, unsubscribe links and the suppression list are keyed with; the same on all machines that share bounces; made in the spool when not set") \
    /* delivery notices */                                                                         \
    DIRECTIVE(DSN_PIPE, "dsn-pipe", KIND_PIPE | KIND_PMTA, TYPE_NAME, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "pipe that the delivery notices of this one go through; its own when not set") \
    DIRECTIVE(SUPPRESS_LOCAL_DSN, "suppress-local-dsn", KINDS_SOURCE | KIND_PIPE | KIND_PMTA, TYPE_BOOL, "no", 0, 0, RELOAD_LIVE, 0, NULL, \
        "send no delivery notices about messages from here; accounting tells of them all the same") \
    DIRECTIVE(DSN_RETURN_DEFAULT, "dsn-return-default", KINDS_SOURCE | KIND_PIPE | KIND_PMTA, TYPE_ENUM, "system", 0, 0, RELOAD_LIVE, 0, "headers|full|system", \
        "what a failure notice returns of a message sent without RET: its header, all of it, or (system) its header") \
    DIRECTIVE(DSN_RETURN_MAX_SIZE, "dsn-return-max-size", KIND_PIPE | KIND_PMTA, TYPE_SIZE, "100k", 0, 1048576, RELOAD_LIVE, 0, NULL, \
        "largest message that a notice returns in full; of larger ones the header") \
    DIRECTIVE(NOTIFY_OF_DELAY_EVERY, "notify-of-delay-every", KINDS_QUEUE, TYPE_INTERVAL, "4h", 1000, 2592000000, RELOAD_LIVE, DIRECTIVE_NEVER, NULL, \
        "how often the sender is told of a delay, where it asked for that (NOTIFY=DELAY), or never") \
    DIRECTIVE(DSN_FORMAT, "dsn-format", KINDS_QUEUE, TYPE_ENUM, "standard", 0, 0, RELOAD_LIVE, 0, "standard|plain-text", \
        "status part of notices to senders in this domain: message/delivery-status (RFC 3464), or the same as text/plain") \
    DIRECTIVE(DSN_MAX_RATE, "dsn-max-rate", KIND_PIPE | KIND_PMTA, TYPE_RATE, "100/h", 0, 0, RELOAD_LIVE, 0, NULL, \
        "notices to one sender; the next one says how many were held back") \
    DIRECTIVE(DSN_COPY_TO, "dsn-copy-to", KIND_PIPE | KIND_PMTA, TYPE_EMAIL_LIST, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "who gets a copy of each failure notice") \
    DIRECTIVE(CUSTOM_DSN_FROM_HEADER, "custom-dsn-from-header", KIND_PIPE | KIND_PMTA, TYPE_TEXT, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "From of delivery notices; postmaster@ the host name when not set") \
    DIRECTIVE(DSN_FAILED_FROM_TEMPLATE, "dsn-failed-from-template", KIND_PIPE | KIND_PMTA, TYPE_TEXT, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "From of notices about failures, with ${variables}; custom-dsn-from-header when not set") \
    DIRECTIVE(DSN_FAILED_SUBJECT_TEMPLATE, "dsn-failed-subject-template", KIND_PIPE | KIND_PMTA, TYPE_TEXT, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "Subject of notices about failures, with ${variables}") \
    DIRECTIVE(DSN_FAILED_BODY_TEMPLATE, "dsn-failed-body-template", KIND_PIPE | KIND_PMTA, TYPE_TEXT, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "text for people in notices about failures, with ${variables}; lines end in \\n") \
    DIRECTIVE(DSN_FAILED_BODY_TEMPLATE_FROM, "dsn-failed-body-template-from", KIND_PIPE | KIND_PMTA, TYPE_PATH, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "file that holds the same (UTF-8, at most 32 KiB); read with the configuration") \
    DIRECTIVE(DSN_DELAYED_FROM_TEMPLATE, "dsn-delayed-from-template", KIND_PIPE | KIND_PMTA, TYPE_TEXT, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "From of notices about delays, with ${variables}; custom-dsn-from-header when not set") \
    DIRECTIVE(DSN_DELAYED_SUBJECT_TEMPLATE, "dsn-delayed-subject-template", KIND_PIPE | KIND_PMTA, TYPE_TEXT, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "Subject of notices about delays, with ${variables}") \
    DIRECTIVE(DSN_DELAYED_BODY_TEMPLATE, "dsn-delayed-body-template", KIND_PIPE | KIND_PMTA, TYPE_TEXT, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "text for people in notices about delays, with ${variables}; lines end in \\n") \
    DIRECTIVE(DSN_DELAYED_BODY_TEMPLATE_FROM, "dsn-delayed-body-template-from", KIND_PIPE | KIND_PMTA, TYPE_PATH, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "file that holds the same (UTF-8, at most 32 KiB); read with the configuration") \
    DIRECTIVE(DSN_DELIVERED_FROM_TEMPLATE, "dsn-delivered-from-template", KIND_PIPE | KIND_PMTA, TYPE_TEXT, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "From of notices about mail that was relayed, with ${variables}; custom-dsn-from-header when not set") \
    DIRECTIVE(DSN_DELIVERED_SUBJECT_TEMPLATE, "dsn-delivered-subject-template", KIND_PIPE | KIND_PMTA, TYPE_TEXT, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "Subject of notices about mail that was relayed, with ${variables}") \
    DIRECTIVE(DSN_DELIVERED_BODY_TEMPLATE, "dsn-delivered-body-template", KIND_PIPE | KIND_PMTA, TYPE_TEXT, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "text for people in notices about mail that was relayed, with ${variables}; lines end in \\n") \
    DIRECTIVE(DSN_DELIVERED_BODY_TEMPLATE_FROM, "dsn-delivered-body-template-from", KIND_PIPE | KIND_PMTA, TYPE_PATH, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "file that holds the same (UTF-8, at most 32 KiB); read with the configuration") \
    /* inbound mail: bounce and feedback loop processors */                                        \
    DIRECTIVE(INBOUND_ADDRESS, "inbound-address", KIND_BOUNCE_PROCESSOR | KIND_FEEDBACK_LOOP_PROCESSOR, TYPE_TEXT, NULL, 0, 0, RELOAD_LIVE, DIRECTIVE_REPEATABLE, NULL, \
        "recipients that are for this processor: user@domain, @domain, or user+*@domain") \
    DIRECTIVE(DELIVER_MATCHED_EMAIL, "deliver-matched-email", KIND_BOUNCE_PROCESSOR | KIND_FEEDBACK_LOOP_PROCESSOR, TYPE_BOOL, "no", 0, 0, RELOAD_LIVE, 0, NULL, \
        "send reports on to the address that they came to, too, once they are recorded") \
    DIRECTIVE(DELIVER_UNMATCHED_EMAIL, "deliver-unmatched-email", KIND_BOUNCE_PROCESSOR | KIND_FEEDBACK_LOOP_PROCESSOR, TYPE_BOOL, "no", 0, 0, RELOAD_LIVE, 0, NULL, \
        "send mail that is no report on to the address that it came to, by the MX hosts of its domain; else it is dropped") \
    DIRECTIVE(FORWARD_UNMATCHED_TO, "forward-unmatched-to", KIND_BOUNCE_PROCESSOR | KIND_FEEDBACK_LOOP_PROCESSOR, TYPE_EMAIL_LIST, NULL, 0, 0, RELOAD_LIVE, DIRECTIVE_REPEATABLE, NULL, \
        "who gets mail that is no report: automatic answers, questions, spam") \
    DIRECTIVE(FORWARD_ERRORS_TO, "forward-errors-to", KIND_BOUNCE_PROCESSOR | KIND_FEEDBACK_LOOP_PROCESSOR, TYPE_EMAIL_LIST, NULL, 0, 0, RELOAD_LIVE, DIRECTIVE_REPEATABLE, NULL, \
        "who gets reports that could not be read; forward-unmatched-to when not set") \
    DIRECTIVE(TRUST_PLAIN_REPORTS, "trust-plain-reports", KIND_BOUNCE_PROCESSOR | KIND_FEEDBACK_LOOP_PROCESSOR, TYPE_BOOL, "no", 0, 0, RELOAD_LIVE, 0, NULL, \
        "let reports suppress recipients although no token of ours says whom they are about; anybody can write such a report") \
    DIRECTIVE(SUPPRESS_REPORTED, "suppress-reported", KIND_BOUNCE_PROCESSOR | KIND_FEEDBACK_LOOP_PROCESSOR, TYPE_BOOL, "yes", 0, 0, RELOAD_LIVE, 0, NULL, \
        "put recipients that bounced for good, or complained, into the suppression list") \
    DIRECTIVE(SUPPRESS_REPORTED_SCOPE, "suppress-reported-scope", KIND_BOUNCE_PROCESSOR | KIND_FEEDBACK_LOOP_PROCESSOR, TYPE_ENUM, NULL, 0, 0, RELOAD_LIVE, 0, "global|pipe|domain|job", \
        "what such an entry holds for: all mail, the pipe's, that of the sender's domain, that of the job; pipe where the wanted one is not known. Unless set, a bounce holds for all mail, because the address is gone for everybody, and a complaint for the pipe, because it is about what that one sends") \
    DIRECTIVE(SUPPRESS_REPORTED_CATEGORIES, "suppress-reported-categories", KIND_BOUNCE_PROCESSOR | KIND_FEEDBACK_LOOP_PROCESSOR, TYPE_TEXT, "bad-mailbox, bad-domain, inactive-mailbox", 0, 0, RELOAD_LIVE, 0, NULL, \
        "bounce categories that suppress the recipient, separated by commas") \
    DIRECTIVE(SUPPRESS_REPORTED_FOR, "suppress-reported-for", KIND_BOUNCE_PROCESSOR | KIND_FEEDBACK_LOOP_PROCESSOR, TYPE_INTERVAL, "never", 3600000, 315360000000, RELOAD_LIVE, DIRECTIVE_NEVER, NULL, \
        "how long such an entry holds") \
    DIRECTIVE(REPORT_MAX_SIZE, "report-max-size", KIND_BOUNCE_PROCESSOR | KIND_FEEDBACK_LOOP_PROCESSOR, TYPE_SIZE, "256K", 4096, 16777216, RELOAD_LIVE, 0, NULL, \
        "bytes of a report that are read; what is beyond (the message that came back) is not looked at") \
    DIRECTIVE(REPORT_MAX_TIME, "report-max-time", KIND_BOUNCE_PROCESSOR | KIND_FEEDBACK_LOOP_PROCESSOR, TYPE_INTERVAL, "2s", 10, 60000, RELOAD_LIVE, 0, NULL, \
        "time that reading one report may take") \
    /* bounce addresses and unsubscribe links of our own */                                        \
    DIRECTIVE(VERP, "verp", KINDS_QUEUE, TYPE_BOOL, "no", 0, 0, RELOAD_LIVE, 0, NULL, \
        "send each recipient's mail from a bounce address of its own, made of bounce-address; one recipient per transaction then; a null sender stays") \
    DIRECTIVE(BOUNCE_ADDRESS, "bounce-address", KINDS_QUEUE, TYPE_TEXT, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "user@domain that bounce addresses are made of: user+TOKEN@domain; mail for them comes back through an inbound-address") \
    DIRECTIVE(BOUNCE_ADDRESS_EXPIRE_AFTER, "bounce-address-expire-after", KIND_PMTA, TYPE_INTERVAL, "60d", 86400000, 315360000000, RELOAD_LIVE, DIRECTIVE_NEVER, NULL, \
        "age at which a bounce address is refused, in whole days") \
    DIRECTIVE(VERP_DEFAULT, "verp-default", KINDS_SOURCE | KIND_PMTA, TYPE_BOOL, "no", 0, 0, RELOAD_NEW_SESSION, 0, NULL, \
        "send mail from here with plain VERP, as if MAIL FROM said VERP: u@d to r@e goes out from u-r=e@d; anybody can make such an address, so see verp first") \
    DIRECTIVE(LIST_UNSUBSCRIBE, "list-unsubscribe", KINDS_QUEUE, TYPE_ENUM, "off", 0, 0, RELOAD_LIVE, 0, "off|header|one-click", \
        "insert List-Unsubscribe into messages with one recipient that have none, one-click: List-Unsubscribe-Post too (RFC 8058); a [domain] here is the sender's") \
    DIRECTIVE(LIST_UNSUBSCRIBE_REPLACE, "list-unsubscribe-replace", KIND_PIPE | KIND_PMTA, TYPE_BOOL, "no", 0, 0, RELOAD_NEW_SESSION, 0, NULL, \
        "take out the List-Unsubscribe fields of the application, so that ours are inserted; they stay where ours are not") \
    DIRECTIVE(UNSUBSCRIBE_URL, "unsubscribe-url", KINDS_QUEUE, TYPE_TEXT, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "https://host/path/ that unsubscribe links begin with; where it leads to an [http-listener], at /u/") \
    DIRECTIVE(UNSUBSCRIBE_ADDRESS, "unsubscribe-address", KINDS_QUEUE, TYPE_TEXT, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "user@domain that unsubscribe addresses are made of: user+TOKEN@domain") \
    DIRECTIVE(UNSUBSCRIBE_SCOPE, "unsubscribe-scope", KINDS_QUEUE, TYPE_ENUM, "pipe", 0, 0, RELOAD_LIVE, 0, "global|pipe|domain|job", \
        "what an unsubscription is from: everything, mail of the pipe, of the sender's domain, of the job") \
    DIRECTIVE(UNSUBSCRIBE_EXPIRE_AFTER, "unsubscribe-expire-after", KIND_PMTA, TYPE_INTERVAL, "never", 2592000000, 315360000000, RELOAD_LIVE, DIRECTIVE_NEVER, NULL, \
        "age at which unsubscribe links and addresses stop working, in whole days; laws ask for 30 at least") \
    /* inbound mail from anybody */                                                                \
    DIRECTIVE(INBOUND_MAIL, "inbound-mail", KIND_LISTENER, TYPE_BOOL, "yes", 0, 0, RELOAD_NEW_SESSION, 0, NULL, \
        "clients that nothing else lets in may send to inbound and unsubscribe addresses here") \
    DIRECTIVE(INBOUND_MAX_MESSAGE_SIZE, "inbound-max-message-size", KIND_PMTA, TYPE_SIZE, "10M", 1024, 2147483648, RELOAD_NEW_SESSION, 0, NULL, \
        "largest message accepted from such clients, in bytes") \
    DIRECTIVE(INBOUND_MAX_CONNECTIONS, "inbound-max-connections", KIND_PMTA, TYPE_INT, "200", 1, 100000, RELOAD_NEW_SESSION, 0, NULL, \
        "connections of such clients at a time, per receiver") \
    DIRECTIVE(INBOUND_MAX_CONNECTIONS_PER_ADDRESS, "inbound-max-connections-per-address", KIND_PMTA, TYPE_INT, "10", 1, 100000, RELOAD_NEW_SESSION, 0, NULL, \
        "the same from one address (IPv6: one /64)") \
    /* suppression list */                                                                         \
    DIRECTIVE(SUPPRESSION, "suppression", KINDS_SOURCE | KIND_PIPE | KIND_PMTA, TYPE_ENUM, "reject", 0, 0, RELOAD_NEW_SESSION, 0, "reject|record|off", \
        "what becomes of recipients on the suppression list: refused with 550 5.7.1, accepted and ended at once with a bounce record (suppressed), or nothing") \
    DIRECTIVE(SUPPRESSION_STORE, "suppression-store", KIND_PMTA, TYPE_ENUM, "clear", 0, 0, RELOAD_LIVE, 0, "clear|hash", \
        "how addresses of the suppression list are kept: as they are, or as keyed hashes, which cannot be exported as addresses any more") \
    DIRECTIVE(SUPPRESS_BOUNCES, "suppress-bounces", KIND_PIPE | KIND_PMTA, TYPE_TEXT, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "bounce categories that put a recipient on the suppression list when a reply ends its delivery: bad-mailbox, inactive-mailbox") \
    DIRECTIVE(SUPPRESS_BOUNCES_SCOPE, "suppress-bounces-scope", KIND_PIPE | KIND_PMTA, TYPE_ENUM, "global", 0, 0, RELOAD_LIVE, 0, "global|pipe|domain|job", \
        "what such an entry holds for: all mail (an address that is gone is gone for everybody), the pipe, the domain of the envelope sender, the job") \
    DIRECTIVE(SUPPRESS_BOUNCES_FOR, "suppress-bounces-for", KIND_PIPE | KIND_PMTA, TYPE_INTERVAL, "never", 60000, 315360000000, RELOAD_LIVE, DIRECTIVE_NEVER, NULL, \
        "how long such an entry holds; never: it does not expire") \
    /* event sinks */                                                                              \
    DIRECTIVE(SINK_URL, "url", KIND_EVENT_SINK, TYPE_TEXT, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "where events go: https://HOST/PATH, redis://HOST[:PORT]/STREAM (rediss:// with TLS), kafka://HOST[:PORT],.../TOPIC") \
    DIRECTIVE(SINK_ACCT_FILE, "acct-file", KIND_EVENT_SINK, TYPE_PATH, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "the [acct-file] whose records are sent; when not set the first one, or the default files in acct-dir") \
    DIRECTIVE(SINK_START_AT, "start-at", KIND_EVENT_SINK, TYPE_ENUM, "oldest", 0, 0, RELOAD_LIVE, 0, "oldest|newest", \
        "where a new sink begins: with the oldest file that is there, or with records made from now on") \
    DIRECTIVE(SINK_BATCH_RECORDS, "batch-records", KIND_EVENT_SINK, TYPE_INT, "1000", 1, 10000, RELOAD_LIVE, 0, NULL, \
        "records sent together") \
    DIRECTIVE(SINK_BATCH_SIZE, "batch-size", KIND_EVENT_SINK, TYPE_SIZE, "1M", 1024, 16777216, RELOAD_LIVE, 0, NULL, \
        "bytes of JSON at which no more records are put into a batch") \
    DIRECTIVE(SINK_BATCH_DELAY, "batch-delay", KIND_EVENT_SINK, TYPE_INTERVAL, "1s", 0, 600000, RELOAD_LIVE, 0, NULL, \
        "how long a record may wait for others to be sent with") \
    DIRECTIVE(SINK_MAX_IN_FLIGHT, "max-in-flight", KIND_EVENT_SINK, TYPE_INT, "4", 1, 64, RELOAD_LIVE, 0, NULL, \
        "HTTP requests at a time; one per pipe at most, so that its order is kept") \
    DIRECTIVE(SINK_REQUEST_TIMEOUT, "request-timeout", KIND_EVENT_SINK, TYPE_INTERVAL, "30s", 100, 600000, RELOAD_LIVE, 0, NULL, \
        "time for the answer to one batch") \
    DIRECTIVE(SINK_RETRY_MIN, "retry-min", KIND_EVENT_SINK, TYPE_INTERVAL, "1s", 10, 3600000, RELOAD_LIVE, 0, NULL, \
        "wait after the first failure; doubles with each one") \
    DIRECTIVE(SINK_RETRY_MAX, "retry-max", KIND_EVENT_SINK, TYPE_INTERVAL, "1m", 10, 86400000, RELOAD_LIVE, 0, NULL, \
        "longest wait between two tries") \
    DIRECTIVE(SINK_DEAD_LETTER_AFTER, "dead-letter-after", KIND_EVENT_SINK, TYPE_INT, "5", 1, 1000, RELOAD_LIVE, 0, NULL, \
        "refusals of one batch (400, 422 and the like) after which the records that are refused are set aside as dead letters") \
    DIRECTIVE(SINK_GIVE_UP_AFTER, "give-up-after", KIND_EVENT_SINK, TYPE_INTERVAL, "never", 1000, 31536000000, RELOAD_LIVE, DIRECTIVE_NEVER, NULL, \
        "time after which a batch that fails becomes dead letters, whatever the reason") \
    DIRECTIVE(SINK_MAX_DEAD_LETTERS, "max-dead-letters", KIND_EVENT_SINK, TYPE_SIZE, "1G", 4096, 1125899906842624, RELOAD_LIVE, 0, NULL, \
        "size of the file of dead letters at which the sink waits for an operator") \
    DIRECTIVE(SINK_SIGNING_SECRET, "signing-secret-file", KIND_EVENT_SINK, TYPE_PATH, NULL, 0, 0, RELOAD_LIVE, DIRECTIVE_REPEATABLE | DIRECTIVE_SECRET, NULL, \
        "file with the secret that requests are signed with (X-PMTA-Signature, HMAC-SHA256); two of them while a secret is changed") \
    DIRECTIVE(SINK_HTTP_HEADER, "http-header", KIND_EVENT_SINK, TYPE_TEXT, NULL, 0, 0, RELOAD_LIVE, DIRECTIVE_REPEATABLE, NULL, \
        "header field of each request, as Name: value") \
    DIRECTIVE(SINK_HEADER_FILE, "http-header-file", KIND_EVENT_SINK, TYPE_PATH, NULL, 0, 0, RELOAD_LIVE, DIRECTIVE_SECRET, NULL, \
        "file with header fields that are secret, one a line") \
    DIRECTIVE(SINK_GZIP, "gzip", KIND_EVENT_SINK, TYPE_BOOL, "no", 0, 0, RELOAD_LIVE, 0, NULL, \
        "compress requests (Content-Encoding: gzip)") \
    DIRECTIVE(SINK_VERIFY, "verify-certificate", KIND_EVENT_SINK, TYPE_BOOL, "yes", 0, 0, RELOAD_LIVE, 0, NULL, \
        "refuse a receiver whose TLS certificate is not for its name; no: for tests and labs") \
    DIRECTIVE(SINK_CA_FILE, "ca-file", KIND_EVENT_SINK, TYPE_PATH, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "PEM file with the root certificates of the receiver, instead of the system's") \
    DIRECTIVE(SINK_LOGIN, "login", KIND_EVENT_SINK, TYPE_TEXT, NULL, 0, 0, RELOAD_LIVE, 0, NULL, \
        "user name for Redis (AUTH), with password-file") \
    DIRECTIVE(SINK_PASSWORD_FILE, "password-file", KIND_EVENT_SINK, TYPE_PATH, NULL, 0, 0, RELOAD_LIVE, DIRECTIVE_SECRET, NULL, \
        "file with the password for Redis (AUTH)") \
    DIRECTIVE(SINK_REDIS_DATABASE, "redis-database", KIND_EVENT_SINK, TYPE_INT, "0", 0, 1000000, RELOAD_LIVE, 0, NULL, \
        "database of Redis (SELECT)") \
    DIRECTIVE(SINK_REDIS_MAX_LENGTH, "redis-max-length", KIND_EVENT_SINK, TYPE_INT, "1000000", 0, 1000000000000, RELOAD_LIVE, 0, NULL, \
        "entries that the stream is cut to, about (MAXLEN ~); 0: never cut") \
    DIRECTIVE(SINK_KAFKA_KEY, "kafka-key", KIND_EVENT_SINK, TYPE_ENUM, "pipe", 0, 0, RELOAD_LIVE, 0, "pipe|message|none", \
        "key of a Kafka record: pipe keeps the order of a pipe, message that of a message, none spreads") \
    DIRECTIVE(SINK_KAFKA_OPTION, "kafka-option", KIND_EVENT_SINK, TYPE_TEXT, NULL, 0, 0, RELOAD_LIVE, DIRECTIVE_REPEATABLE, NULL, \
        "property of librdkafka, as name=value: security.protocol=SASL_SSL") \
    DIRECTIVE(SINK_KAFKA_OPTION_FILE, "kafka-option-file", KIND_EVENT_SINK, TYPE_PATH, NULL, 0, 0, RELOAD_LIVE, DIRECTIVE_SECRET, NULL, \
        "file with properties that are secret, one a line: sasl.password=...") \
    /* HTTP */                                                                                     \
    DIRECTIVE(HTTP_MAX_CONNECTIONS, "http-max-connections", KIND_PMTA, TYPE_INT, "500", 1, 100000, RELOAD_RESTART, 0, NULL, \
        "connections at a time of one [http-listener]") \
    DIRECTIVE(HTTP_MAX_BAD_RATE, "http-max-bad-rate", KIND_PMTA, TYPE_RATE, "60/m", 0, 0, RELOAD_LIVE, 0, NULL, \
        "requests of one client for what does not exist (wrong unsubscribe links, too) before it gets 429") \
    DIRECTIVE(HTTP_PROXY, "http-proxy", KIND_PMTA, TYPE_TEXT, "127.0.0.0/8, ::1", 0, 0, RELOAD_LIVE, 0, NULL, \
        "addresses of the proxies in front of the [http-listener]s, which are believed what X-Forwarded-For says") \
    /* logs */                                                                                     \
    DIRECTIVE(LOG_TO, "log-to", KIND_PMTA, TYPE_ENUM, NULL, 0, 0, RELOAD_LIVE, 0, "file|stderr|syslog|journald", \
        "where log lines go; when not set: to log-file when that is set, else to stderr")          \
    DIRECTIVE(LOG_FORMAT, "log-format", KIND_PMTA, TYPE_ENUM, "text", 0, 0, RELOAD_LIVE, 0, "text|json", \
        "log lines for people, or one JSON object a line; journald gets fields in any case")       \
    DIRECTIVE(LOG_ROTATE, "log-rotate", KIND_PMTA, TYPE_INT, "8", 0, 1000, RELOAD_LIVE, 0, NULL,   \
        "log files kept, the current one included: log, log.1, log.2 and so on; 0 and 1: the file is never rotated") \
    DIRECTIVE(LOG_AUTO_ROTATION, "log-auto-rotation", KIND_PMTA, TYPE_BOOL, "yes", 0, 0, RELOAD_LIVE, 0, NULL, \
        "begin a new log file every log-rotate-interval; no when something else rotates it and sends SIGHUP") \
    DIRECTIVE(LOG_ROTATE_INTERVAL, "log-rotate-interval", KIND_PMTA, TYPE_INTERVAL, "1d", 1000, 2592000000, RELOAD_LIVE, 0, NULL, \
        "how often, counted from midnight UTC")                                                    \
    DIRECTIVE(LOG_MAX_SIZE, "log-max-size", KIND_PMTA, TYPE_SIZE, "0", 0, 1099511627776, RELOAD_LIVE, 0, NULL, \
        "size of the log file at which a new one is begun, looked at once a second; 0: by time alone") \
    DIRECTIVE(LOG_COMPRESS, "log-compress", KIND_PMTA, TYPE_ENUM, "none", 0, 0, RELOAD_LIVE, 0, "none|gzip|zstd", \
        "how old log files are compressed, from the second newest on, by the program of that name") \
    DIRECTIVE(LOG_FILE_WORLD_READABLE, "log-file-world-readable", KIND_PMTA, TYPE_BOOL, "no", 0, 0, RELOAD_LIVE, 0, NULL, \
        "new log files may be read by everybody; else by the user of pmtad and admin-group")       \
    DIRECTIVE(SYSLOG_SOCKET, "syslog-socket", KIND_PMTA, TYPE_TEXT, "/dev/log", 0, 0, RELOAD_LIVE, 0, NULL, \
        "where log-to = syslog sends to: the path of a datagram socket, or udp:ADDR:PORT") \
    DIRECTIVE(SYSLOG_FORMAT, "syslog-format", KIND_PMTA, TYPE_ENUM, NULL, 0, 0, RELOAD_LIVE, 0, "rfc5424|rfc3164", \
        "header of the lines; when not set: rfc3164, as syslog(3) writes it, to /dev/log, and rfc5424 to any other") \
    DIRECTIVE(SYSLOG_FACILITY, "syslog-facility", KIND_PMTA, TYPE_ENUM, "mail", 0, 0, RELOAD_LIVE, 0, "mail|daemon|user|local0|local1|local2|local3|local4|local5|local6|local7", \
        "facility of the lines, for log-to = syslog and journald")                                 \
    DIRECTIVE(JOURNALD_SOCKET, "journald-socket", KIND_PMTA, TYPE_PATH, "/run/systemd/journal/socket", 0, 0, RELOAD_LIVE, 0, NULL, \
        "socket of the journal, for log-to = journald")
/* clang-format on */

enum directive {
#define DIRECTIVE_ENUM(id, name, kinds, type, def, min, max, reload, flags, choices, help) DIR_##id,
    DIRECTIVES(DIRECTIVE_ENUM)
#undef DIRECTIVE_ENUM
        DIRECTIVE_COUNT
};

#endif
