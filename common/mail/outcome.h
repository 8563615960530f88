/*
 * The end of one delivery attempt, for one recipient or for a whole connection: data made where it
 * happens, read by queue, log, accounting and `why`; nobody parses the text again.
 */
#ifndef PMTA_MAIL_OUTCOME_H
#define PMTA_MAIL_OUTCOME_H

#include "base/str.h"

/* CLASS(NAME, "name", accounting record type) */
#define OUTCOME_CLASSES(CLASS)         \
    CLASS(DELIVERED, "delivered", 'd') \
    CLASS(DEFERRED, "deferred", 't')   \
    CLASS(BOUNCED, "bounced", 'b')     \
    CLASS(EXPIRED, "expired", 'b')     \
    CLASS(DELETED, "deleted", 'b')

enum outcome_class {
#define OUTCOME_ENUM(name, text, type) OUTCOME_##name,
    OUTCOME_CLASSES(OUTCOME_ENUM)
#undef OUTCOME_ENUM
        OUTCOME_CLASS_COUNT
};

/* PHASE(NAME, "name"): how far the attempt got */
#define OUTCOME_PHASES(PHASE)         \
    PHASE(QUEUE, "queue")             \
    PHASE(DNS, "dns")                 \
    PHASE(CONNECT, "connect")         \
    PHASE(GREETING, "greeting")       \
    PHASE(HELO, "helo")               \
    PHASE(STARTTLS, "starttls")       \
    PHASE(MAIL, "mail")               \
    PHASE(RCPT, "rcpt")               \
    PHASE(DATA, "data")               \
    PHASE(END_OF_DATA, "end-of-data") \
    PHASE(QUIT, "quit")

enum outcome_phase {
#define OUTCOME_ENUM(name, text) PHASE_##name,
    OUTCOME_PHASES(OUTCOME_ENUM)
#undef OUTCOME_ENUM
        OUTCOME_PHASE_COUNT
};

/* RFC 3463 class.subject.detail; all 0 when the peer gave none. */
struct enhanced_code {
    uint8_t class_digit;
    uint16_t subject;
    uint16_t detail;
};

struct outcome {
    enum outcome_class class_;
    enum outcome_phase phase;
    uint16_t code; /* SMTP reply code, or 0 when we made the text ourselves */
    struct enhanced_code enhanced;
    struct strview text;      /* the whole reply, lines joined by " ", or our own sentence */
    struct strview peer_host; /* MX host name, or empty */
    struct strview peer_ip;   /* as text, or empty */
    struct strview local_ip;  /* our end of the connection, or empty */
    int64_t retry_hint_ms;    /* sooner or later than the schedule says; 0: no opinion */
    const char *category; /* bounce category, where who made the outcome knows it; NULL: by the text */
    const char *tls;      /* "TLSv1.3/CIPHER", or "" */
    const char *tls_verify;   /* "dane", "sts", "trusted", "unchecked", what was wrong and did not
                                 matter (RFC 8460 section 4.3), or "" without TLS; may be NULL */
    /* durations for the log line, ms; -1 when the phase was not reached */
    int64_t connect_ms;  /* start of connect to end of EHLO (0 on a reused connection) */
    int64_t transmit_ms; /* MAIL sent to the final reply */
};

const char *outcome_class_name(enum outcome_class c);
char outcome_record_type(enum outcome_class c);
const char *outcome_phase_name(enum outcome_phase p);

/* "5.1.1", or the class's default ("2.0.0", "4.0.0", "5.0.0") when the peer gave none. out holds at
 * least 16 bytes; returns it. */
char *outcome_status(const struct outcome *o, char *out);

#endif
