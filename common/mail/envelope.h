/*
 * The envelope of a message, and its form on disk and between processes: a sequence of
 * u16 tag, u32 length, value (little endian), in any order, unknown tags skipped, so that later
 * versions can add fields. docs/spool.md lists the tags.
 */
#ifndef PMTA_MAIL_ENVELOPE_H
#define PMTA_MAIL_ENVELOPE_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

/* RFC 3461 section 4.1 NOTIFY */
enum envelope_notify {
    NOTIFY_SUCCESS = 1,
    NOTIFY_FAILURE = 2,
    NOTIFY_DELAY = 4,
    NOTIFY_NEVER = 8, /* 0: not given */
};

/* RFC 3461 section 4.3 RET */
enum envelope_ret { RET_NONE = 0, RET_FULL = 1, RET_HDRS = 2 };

enum envelope_flag {
    ENVELOPE_8BIT = 1,     /* RFC 6152 BODY=8BITMIME */
    ENVELOPE_SMTPUTF8 = 2, /* RFC 6531 */
    ENVELOPE_REQUIRETLS = 4, /* RFC 8689 */
    ENVELOPE_VERP = 8, /* plain VERP: each recipient gets a sender of its own, u-r=e@d */
    ENVELOPE_TLS_OPTIONAL = 16, /* "TLS-Required: No" in its header (RFC 8689 section 5) */
};

struct envelope_rcpt {
    struct strview address; /* without angle brackets */
    struct strview orcpt; /* RFC 3461 section 4.2, as given ("rfc822;…", xtext kept); or empty */
    uint8_t notify;       /* NOTIFY_x bits */
    struct strview vmta; /* chosen for this recipient, where it is not env->chosen_vmta; or empty */
    /* on the suppression list when it came: 1 + enum suppress_reason, and the scope; else 0 */
    uint8_t suppressed, suppressed_scope;
};

struct envelope {
    int64_t received_ms;   /* wall clock, when the message was complete, and so accepted */
    uint32_t receive_ms;   /* from MAIL to received_ms; 0: not known, or a message of our own */
    uint32_t commit_ms;    /* from then until it was durable; not kept, so 0 in what is read back */
    struct strview sender; /* empty: null reverse path */
    struct strview envid;  /* RFC 3461 section 4.4, xtext kept */
    struct strview source; /* name of the matching [source], for accounting */
    struct strview peer;   /* address of the client, as text */
    struct strview local;  /* ours that it connected to, as text; or empty */
    struct strview user;   /* authenticated user, or empty */
    struct strview job;    /* X-Job */
    struct strview vmta;   /* virtual MTA or pool asked for; empty: the pipe decides */
    uint64_t
        content_bytes; /* header and body in wire form: CRLF, dot-stuffed, without the final dot */
    uint32_t header_bytes; /* of these, up to and including the blank line */
    uint32_t
        stuffed_dots; /* dots added by stuffing; content_bytes less this is the RFC 1870 size */
    struct strview schedule;    /* X-Schedule as given, or empty */
    struct strview remote_mta;  /* the submitting host: X-Remote-MTA-Name, else its EHLO name */
    struct strview chosen_vmta; /* the virtual MTA that the pipe chose when it took the message */
    /* values of header fields that accounting wants: "Name: value" lines, LF behind each */
    struct strview acct_headers;
    struct strview
        from_domain; /* of the first address in From, when something may sign; or empty */
    struct strview sender_domain; /* the same of Sender */
    struct strview relaxed_hash;  /* SHA-256 of the canonical body (RFC 6376), or empty: then who */
    struct strview simple_hash;   /* wants it has to compute it */
    struct strview dkim_options;  /* X-DKIM-Options, checked; or empty */
    struct strview bimi;          /* BIMI-Selector of the application, taken out; or empty */
    struct strview list_fields;   /* the same with List-Unsubscribe and -Post: whole lines */
    uint8_t priority;             /* X-Delivery-Priority + 1; 0: not given */
    uint8_t ret;                  /* enum envelope_ret */
    uint8_t flags;                /* ENVELOPE_x bits */
    uint32_t rcpt_count;
    struct envelope_rcpt *rcpts;
};

/* envelope.source of delivery notices of ours; no [source] can have that name. */
#define ENVELOPE_DSN_SOURCE "{dsn}"

enum { ENVELOPE_MAX_RCPTS = 65535, ENVELOPE_MAX_BYTES = 96 * 1024 };

/* Appends the encoded envelope. */
void envelope_encode(struct buf *out, const struct envelope *env);

/* Appends acct_headers alone, behind an encoded envelope that lacks them. */
void envelope_append_headers(struct buf *out, const struct envelope *env);

/* Appends chosen_vmta and each rcpts[i].vmta alone, behind an encoded envelope that lacks them. */
void envelope_append_choice(struct buf *out, const struct envelope *env);

/* Appends which recipients are suppressed alone, behind an encoded envelope that lacks it. */
void envelope_append_suppressed(struct buf *out, const struct envelope *env);

/* Views in *ret point into `in`; the rcpts array is in `arena`. 0, or ERR_CORRUPT with *e filled.
 */
int envelope_decode(struct strview in, struct arena *arena, struct envelope *ret, struct err *e);

/* Domain of an address (after the last '@'), without a trailing dot; empty when there is none. */
struct strview address_domain(struct strview address);

#endif
