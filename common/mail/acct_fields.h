/*
 * Accounting: record types and fields. One row per field gives the columns of accounting files, what
 * record-fields may name, docs/accounting.md and the test that they agree. The pipe fills them in
 * (pipe/report/fields.c).
 */
#ifndef PMTA_MAIL_ACCT_FIELDS_H
#define PMTA_MAIL_ACCT_FIELDS_H

#include "base/err.h"
#include "base/str.h"

/* RECORD(ID, "code", "long name", "written when") */
#define ACCT_RECORDS(RECORD)                                                                  \
    RECORD(D, "d", "delivery", "a recipient was delivered")                                   \
    RECORD(B, "b", "bounce", "this host gave up on a recipient: refused, expired or deleted") \
    RECORD(T, "t", "transient", "a recipient was deferred in one attempt")                    \
    RECORD(TQ, "tq", "transient-queue", "a whole queue could not be tried")                   \
    RECORD(R, "r", "receipt", "a recipient was accepted")                                     \
    RECORD(RB, "rb", "remote-bounce", "a failure report came in by mail")                     \
    RECORD(RS, "rs", "remote-status", "a report of delay or delivery came in by mail")        \
    RECORD(F, "f", "feedback-loop", "a complaint came in")

enum acct_record {
#define RECORD_ENUM(id, code, name, help) ACCT_##id,
    ACCT_RECORDS(RECORD_ENUM)
#undef RECORD_ENUM
        ACCT_RECORD_COUNT
};

#define ACCT_BIT(id) (1u << ACCT_##id)
#define ACCT_ALL     ((1u << ACCT_RECORD_COUNT) - 1)
#define ACCT_TRIED   (ACCT_BIT(D) | ACCT_BIT(B) | ACCT_BIT(T))
#define ACCT_OWN     (ACCT_TRIED | ACCT_BIT(R))
#define ACCT_REMOTE  (ACCT_BIT(RB) | ACCT_BIT(RS))
#define ACCT_MAIL    (ACCT_OWN | ACCT_REMOTE | ACCT_BIT(F))
#define ACCT_OUTCOME (ACCT_TRIED | ACCT_BIT(TQ) | ACCT_REMOTE)

enum acct_kind {
    ACCT_TEXT,
    ACCT_NUMBER, /* bare in JSON */
    ACCT_TIME,   /* by iso-times */
};

/* FIELD(ID, "name", records, kind, in "*", "help"). The first ones are in the order that readers of
 * such files know; new ones go to the end. */
/* clang-format off */
#define ACCT_FIELDS(FIELD)                                                                         \
    FIELD(TYPE, "type", ACCT_ALL, ACCT_TEXT, true, "code of the record type; always the first column") \
    FIELD(TIME_LOGGED, "timeLogged", ACCT_ALL, ACCT_TIME, true, "when the record was made")        \
    FIELD(TIME_QUEUED, "timeQueued", ACCT_OWN, ACCT_TIME, true, "when the message was accepted")   \
    FIELD(ORIG, "orig", ACCT_MAIL, ACCT_TEXT, true, "envelope sender; of rb, rs and f: of the original message") \
    FIELD(RCPT, "rcpt", ACCT_MAIL, ACCT_TEXT, true, "envelope recipient; of rb, rs and f: the original one") \
    FIELD(ORCPT, "orcpt", ACCT_OWN | ACCT_REMOTE, ACCT_TEXT, true, "ORCPT of the recipient (RFC 3461)") \
    FIELD(DSN_ACTION, "dsnAction", ACCT_OUTCOME, ACCT_TEXT, true, "relayed, delayed, failed, expired, deleted") \
    FIELD(DSN_STATUS, "dsnStatus", ACCT_OUTCOME, ACCT_TEXT, true, "enhanced status code (RFC 3463)") \
    FIELD(DSN_DIAG, "dsnDiag", ACCT_OUTCOME, ACCT_TEXT, true, "smtp; and the reply, or x-pmta; and our own reason") \
    FIELD(DSN_MTA, "dsnMta", ACCT_OUTCOME, ACCT_TEXT, true, "host (address) of the peer")          \
    FIELD(BOUNCE_CAT, "bounceCat", ACCT_BIT(B) | ACCT_BIT(T) | ACCT_BIT(TQ) | ACCT_REMOTE, ACCT_TEXT, true, "bounce category") \
    FIELD(SRC_TYPE, "srcType", ACCT_OWN, ACCT_TEXT, true, "how the message came: smtp, or dsn: a delivery notice of ours")            \
    FIELD(SRC_MTA, "srcMta", ACCT_OWN, ACCT_TEXT, true, "submitting host: X-Remote-MTA-Name, EHLO name or address") \
    FIELD(DLV_TYPE, "dlvType", ACCT_BIT(D) | ACCT_BIT(T) | ACCT_BIT(TQ), ACCT_TEXT, true, "how it was tried: smtp; pipe: handed to dsn-pipe; or what took it here: bounce-processor, feedback-loop-processor, unsubscribe") \
    FIELD(DLV_SOURCE_IP, "dlvSourceIp", ACCT_TRIED, ACCT_TEXT, true, "local address of the connection") \
    FIELD(DLV_DESTINATION_IP, "dlvDestinationIp", ACCT_TRIED | ACCT_BIT(TQ), ACCT_TEXT, true, "address of the peer") \
    FIELD(DLV_ESMTP_AVAILABLE, "dlvEsmtpAvailable", ACCT_BIT(D) | ACCT_BIT(T), ACCT_TEXT, true, "keywords of the peer's EHLO, with commas between") \
    FIELD(DLV_SIZE, "dlvSize", ACCT_OWN, ACCT_NUMBER, true, "size of the message in bytes")        \
    FIELD(VMTA, "vmta", ACCT_MAIL | ACCT_BIT(TQ), ACCT_TEXT, true, "virtual MTA; of rb, rs and f: of the original message")                   \
    FIELD(JOB_ID, "jobId", ACCT_MAIL, ACCT_TEXT, true, "X-Job of the message")                     \
    FIELD(ENV_ID, "envId", ACCT_MAIL, ACCT_TEXT, true, "ENVID of the message (RFC 3461)")          \
    FIELD(QUEUE, "queue", ACCT_OWN | ACCT_BIT(TQ), ACCT_TEXT, true, "queue, as domain/vmta")       \
    FIELD(VMTA_POOL, "vmtaPool", ACCT_OWN, ACCT_TEXT, true, "pool that vmta was taken from: the message asked for it, or it is the default")     \
    FIELD(PIPE, "pipe", ACCT_ALL, ACCT_TEXT, true, "pipe")                                         \
    FIELD(MSG_ID, "msgId", ACCT_MAIL, ACCT_TEXT, true, "message id and recipient number, of rb, rs and f: those of the report and the number in it; a record repeated after a crash has the same") \
    FIELD(ATTEMPT, "attempt", ACCT_TRIED, ACCT_NUMBER, true, "number of the attempt, from 1")      \
    FIELD(PHASE, "phase", ACCT_OUTCOME, ACCT_TEXT, true, "how far the attempt got: dns, connect, rcpt, end-of-data ...") \
    FIELD(DELAY_TOTAL, "delayTotal", ACCT_TRIED, ACCT_NUMBER, true, "ms from MAIL of the submitting client to this record: delayReceive, delayQueue, delayConnect and delayTransmit together") \
    FIELD(DELAY_QUEUE, "delayQueue", ACCT_TRIED, ACCT_NUMBER, true, "of these, in the queue")      \
    FIELD(DELAY_CONNECT, "delayConnect", ACCT_TRIED, ACCT_NUMBER, true, "of these, connecting up to EHLO; 0 on a reused connection") \
    FIELD(DELAY_TRANSMIT, "delayTransmit", ACCT_TRIED, ACCT_NUMBER, true, "of these, from MAIL to the final reply") \
    FIELD(NEXT_ATTEMPT, "nextAttempt", ACCT_BIT(T) | ACCT_BIT(TQ), ACCT_TIME, true, "when it is tried again") \
    FIELD(DLV_TLS_PROTOCOL, "dlvTlsProtocol", ACCT_TRIED | ACCT_BIT(TQ), ACCT_TEXT, true, "TLS version, empty without TLS") \
    FIELD(DLV_TLS_CIPHER, "dlvTlsCipher", ACCT_TRIED | ACCT_BIT(TQ), ACCT_TEXT, true, "cipher suite")             \
    FIELD(DLV_TLS_VERIFIED, "dlvTlsVerified", ACCT_TRIED | ACCT_BIT(TQ), ACCT_TEXT, true, "by what the peer was checked: dane, sts, trusted; unchecked; or what was wrong") \
    FIELD(BOUNCE_RULE, "bounceRule", ACCT_BIT(B) | ACCT_BIT(T) | ACCT_BIT(TQ) | ACCT_REMOTE, ACCT_TEXT, true, "file:line of the rule that gave bounceCat; empty: by the codes alone") \
    FIELD(REPLY_RULE, "replyRule", ACCT_BIT(B) | ACCT_BIT(T), ACCT_TEXT, true, "file:line of the rule of [smtp-pattern-list] that matched") \
    FIELD(RCV_SMTP_USER, "rcvSmtpUser", ACCT_OWN, ACCT_TEXT, true, "user that the submitting client logged in as") \
    FIELD(RCV_SOURCE_IP, "rcvSourceIp", ACCT_OWN, ACCT_TEXT, true, "address of the submitting client") \
    FIELD(DELAY_RECEIVE, "delayReceive", ACCT_OWN, ACCT_NUMBER, true, "of delayTotal, before the queue: from MAIL until the message was durable; after a restart, until its last byte came") \
    /* only when named */                                                                          \
    FIELD(TOTAL_SECONDS_QUEUED, "totalSecondsQueued", ACCT_TRIED, ACCT_NUMBER, false, "timeLogged less timeQueued") \
    FIELD(TIME_IMPRINTED, "timeImprinted", ACCT_TRIED, ACCT_TEXT, false, "kept for its place; empty") \
    FIELD(TIME_FIRST_ATTEMPT, "timeFirstAttempt", ACCT_TRIED, ACCT_TIME, false, "when the recipient was tried for the first time") \
    FIELD(RCV_DESTINATION_IP, "rcvDestinationIp", ACCT_BIT(R), ACCT_TEXT, false, "our address that the submitting client connected to") \
    FIELD(USER_STRING, "userString", ACCT_ALL, ACCT_TEXT, false, "user-string of the [acct-file]") \
    FIELD(DSN_REPORTING_MTA, "dsnReportingMta", ACCT_REMOTE, ACCT_TEXT, false, "reporting host of the report") \
    FIELD(FORMAT, "format", ACCT_REMOTE | ACCT_BIT(F), ACCT_TEXT, false, "how the report was recognised: dsn, arf ...") \
    FIELD(REP_SOURCE_IP, "repSourceIp", ACCT_BIT(F), ACCT_TEXT, false, "address that the complaint is about") \
    FIELD(FEEDBACK_TYPE, "feedbackType", ACCT_BIT(F), ACCT_TEXT, false, "Feedback-Type of the report") \
    FIELD(USER_AGENT, "userAgent", ACCT_BIT(F), ACCT_TEXT, false, "User-Agent of the report")      \
    FIELD(REPORTING_MTA, "reportingMta", ACCT_BIT(F), ACCT_TEXT, false, "Reporting-MTA of the report") \
    FIELD(REPORTED_DOMAIN, "reportedDomain", ACCT_BIT(F), ACCT_TEXT, false, "Reported-Domain of the report") \
    /* the names of `profile = short` */                                                           \
    FIELD(TIME, "time", ACCT_ALL, ACCT_TIME, false, "as timeLogged")                               \
    FIELD(DOMAIN, "domain", ACCT_ALL, ACCT_TEXT, false, "domain of the recipient, or of the queue") \
    FIELD(STATUS, "status", ACCT_OUTCOME | ACCT_BIT(R), ACCT_TEXT, false, "received, delivered, deferred, bounced, expired, deleted") \
    FIELD(SHORT_STATUS, "dsn-status", ACCT_OUTCOME, ACCT_TEXT, false, "as dsnStatus")              \
    FIELD(SIZE, "size", ACCT_OWN, ACCT_NUMBER, false, "as dlvSize")
/* clang-format on */

enum acct_field {
#define FIELD_ENUM(id, name, records, kind, star, help) ACCT_FIELD_##id,
    ACCT_FIELDS(FIELD_ENUM)
#undef FIELD_ENUM
        ACCT_FIELD_COUNT,
    ACCT_FIELD_HEADER = ACCT_FIELD_COUNT, /* header_NAME */
};

struct acct_field_info {
    const char *name;
    unsigned records; /* ACCT_BITs */
    enum acct_kind kind;
    bool star;
    const char *help;
};

const struct acct_field_info *acct_field_info(enum acct_field f);
const char *acct_record_code(enum acct_record r);
const char *acct_record_name(enum acct_record r); /* the long one */
const char *acct_record_help(enum acct_record r);

enum { ACCT_COLUMNS_MAX = 128, ACCT_HEADER_NAME_MAX = 60, ACCT_HEADERS_MAX = 16 };

/* Columns of one record type, in order. */
struct acct_columns {
    size_t count;
    struct acct_column {
        enum acct_field field;
        struct strview name; /* as in the header line: "header_Subject" */
    } items[ACCT_COLUMNS_MAX];
};

#define ACCT_SHORT_PROFILE "time,type,vmta,domain,rcpt,status,dsn-status,size"

/* "d,b,tq" or long names, to ACCT_BITs. 0, or ERR_SYNTAX with *e. */
int acct_records_parse(struct strview text, unsigned *ret, struct err *e);

/* "type,timeLogged,header_Subject", "*", "*,!orcpt,header_X-Campaign": columns for these records,
 * "*" being those of the table that they have. Views point into text and the table. Without
 * duplicates. 0, or ERR_SYNTAX with *e. */
int acct_columns_parse(struct strview text, unsigned records, struct acct_columns *ret,
                       struct err *e);

#endif
