/*
 * Grammar of SMTP command lines (RFC 5321 section 4.1) and of the parameters of MAIL and RCPT that
 * we support: SIZE (RFC 1870), BODY (6152), SMTPUTF8 (6531), RET ENVID NOTIFY ORCPT (3461), AUTH
 * (4954). No state, no memory: results point into the line. What is wrong is told as the reply that
 * the client gets.
 */
#ifndef PMTA_MAIL_SMTP_COMMAND_H
#define PMTA_MAIL_SMTP_COMMAND_H

#include "base/str.h"
#include "mail/envelope.h"

/* VERB(ID, "NAME") */
#define SMTP_VERBS(VERB)       \
    VERB(EHLO, "EHLO")         \
    VERB(HELO, "HELO")         \
    VERB(MAIL, "MAIL")         \
    VERB(RCPT, "RCPT")         \
    VERB(DATA, "DATA")         \
    VERB(BDAT, "BDAT")         \
    VERB(RSET, "RSET")         \
    VERB(NOOP, "NOOP")         \
    VERB(QUIT, "QUIT")         \
    VERB(VRFY, "VRFY")         \
    VERB(HELP, "HELP")         \
    VERB(STARTTLS, "STARTTLS") \
    VERB(AUTH, "AUTH")

enum smtp_verb {
#define VERB_ENUM(id, name) SMTP_##id,
    SMTP_VERBS(VERB_ENUM)
#undef VERB_ENUM
        SMTP_VERB_COUNT /* also: not a command we know */
};

enum {
    SMTP_ENVID_MAX = 100, /* RFC 3461 section 4.4 */
    SMTP_ORCPT_MAX = 500, /* RFC 3461 section 4.2 */
};

const char *smtp_verb_name(enum smtp_verb v);

/* Verb of a line without its CRLF; *ret_args is the rest without surrounding blanks.
 * SMTP_VERB_COUNT when there is no such command. */
enum smtp_verb smtp_command_parse(struct strview line, struct strview *ret_args);

struct smtp_mail {
    struct strview sender; /* empty: null reverse path */
    struct strview envid;
    uint64_t size; /* SIZE=; 0 when not given */
    uint8_t ret;   /* enum envelope_ret */
    uint8_t flags; /* ENVELOPE_8BIT, ENVELOPE_SMTPUTF8, ENVELOPE_REQUIRETLS */
};

struct smtp_rcpt {
    struct strview address; /* "postmaster" alone has no domain (RFC 5321 section 4.5.1) */
    struct strview orcpt;
    uint8_t notify;
};

/* Parse what follows MAIL and RCPT. NULL when *ret is filled, else the reply as a constant text
 * without CRLF ("501 5.1.7 …"). smtputf8: the transaction was begun with SMTPUTF8. */
const char *smtp_mail_parse(struct strview args, struct smtp_mail *ret) MUST_CHECK;
const char *smtp_rcpt_parse(struct strview args, bool smtputf8, struct smtp_rcpt *ret) MUST_CHECK;

/* "N" or "N LAST" of BDAT (RFC 3030). False when it is neither. */
bool smtp_bdat_parse(struct strview args, uint64_t *ret_bytes, bool *ret_last) MUST_CHECK;

/* xtext of RFC 3461 section 4: printable ASCII but + and =, and +HH. */
bool smtp_is_xtext(struct strview s);

#endif
