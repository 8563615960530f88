/*
 * DKIM signatures (RFC 6376) without cryptography: canonical forms of body and header, which header
 * fields are signed, and the text of the DKIM-Signature field. Who hashes and signs is the caller's
 * business: bytes go out through callbacks and buffers.
 *
 * Content is in wire form (CRLF, dot-stuffed); a stuffed dot is not part of what is hashed.
 */
#ifndef PMTA_MAIL_DKIM_H
#define PMTA_MAIL_DKIM_H

#include "base/arena.h"
#include "base/buf.h"

/* RFC 6376 section 3.4 */
enum dkim_canon { DKIM_SIMPLE, DKIM_RELAXED };

/* --- body --- */

enum { DKIM_STAGE = 1024 };

/* Canonical form of a body that arrives in pieces. */
struct dkim_body {
    enum dkim_canon canon;
    void (*out)(void *owner, const char *bytes, size_t n);
    void *owner;
    uint64_t empty_lines; /* seen and not yet passed on: those at the end do not count */
    bool line_has_bytes;  /* something of this line was passed on, or is due (wsp) */
    bool at_line_start;
    bool cr;  /* the last byte was a CR */
    bool wsp; /* white space is due before the next byte of this line (relaxed) */
    bool any; /* something was passed on */
    uint32_t staged;
    char stage[DKIM_STAGE];
};

void dkim_body_init(struct dkim_body *b, enum dkim_canon canon,
                    void (*out)(void *owner, const char *bytes, size_t n), void *owner);
void dkim_body_feed(struct dkim_body *b, const char *bytes, size_t n);
/* The body has ended (without the final dot line). */
void dkim_body_end(struct dkim_body *b);

/* --- header --- */

/* One field of a header block: its name as written, and all of it, folded lines and CRLF. */
struct dkim_field {
    struct strview name;
    struct strview whole;
};

/* Fields of a block, in order; views point into it. The blank line ends it. */
size_t dkim_fields(struct strview block, struct arena *a, struct dkim_field **ret);

/* Canonical form of one field, CRLF included. */
void dkim_canon_field(struct buf *out, enum dkim_canon canon, struct strview whole);

/* Value of the last field of that name, unfolded and trimmed, in arena; empty when there is none. */
struct strview dkim_field_value(const struct dkim_field *fields, size_t count, struct strview name,
                                struct arena *a);

/* Domain of the first address in a From or Sender value: the part after the last '@' of the
 * addr-spec (inside <> when there is one), comments and quoted names passed over. Empty: none. */
struct strview dkim_address_domain(struct strview value);

/* Domains of the first addresses of From and Sender in a header block, lower case, in arena; empty
 * where there is none. */
void dkim_sender_domains(struct strview block, struct arena *a, struct strview *ret_from,
                         struct strview *ret_sender);

/* --- signature --- */

/* Names to sign, without repetitions, in order. */
struct dkim_names {
    struct dkim_name {
        struct strview name;
        bool oversign; /* nobody may add another of it */
    } * items;
    size_t count;
};

/* From two lists of names, separated by colons, blanks or commas: what is signed, and what is signed
 * once more than it is there (RFC 6376 section 8.15). From is always among them (section 5.4). Views
 * point into the lists; items is in arena. */
void dkim_names_parse(struct strview names, struct strview oversign, struct arena *a,
                      struct dkim_names *ret);

struct dkim_signature {
    const char *algorithm; /* "rsa-sha256", "ed25519-sha256" */
    enum dkim_canon header_canon, body_canon;
    struct strview domain, selector;
    struct strview identity; /* i=, or empty */
    const struct dkim_names *names;
    int64_t time_s;           /* t=; 0: without */
    int64_t expires_s;        /* x=; 0: without */
    struct strview body_hash; /* 32 bytes */
};

/* The signature field up to and including "b=", folded at 78 columns ("DKIM-Signature: v=1; …"), and
 * in *ret_input the bytes to hash: the canonical fields in the order of h=, then the canonical
 * signature field with an empty b= (RFC 6376 section 3.7). A name that the header has n times is
 * signed n times from the last to the first; one that is oversigned once more. Fields that are not
 * there and not oversigned are left out. */
void dkim_signature_prepare(const struct dkim_signature *s, const struct dkim_field *fields,
                            size_t count, struct buf *field, struct buf *ret_input);
/* Puts the signature value behind it, folded, and ends the field with CRLF. */
void dkim_signature_finish(struct buf *field, const uint8_t *signature, size_t n);

#endif
