/*
 * One line of [bounce-category-patterns]: `/regex/ category`, or with conditions between the two:
 * `/regex/ status=x.1.1|5.7.x code=55x phase=rcpt category`. Conditions hold together; each lists
 * alternatives. The regular expression is compiled by who has PCRE2; an empty one (//) leaves the
 * matter to the conditions.
 *
 * What it is matched against is status and diagnostic text, as in the accounting fields dsnStatus
 * and dsnDiag, joined by a semicolon: "5.1.1;smtp;550 5.1.1 no such user".
 */
#ifndef PMTA_MAIL_BOUNCE_RULE_H
#define PMTA_MAIL_BOUNCE_RULE_H

#include "base/err.h"
#include "mail/outcome.h"

/* CATEGORY(ID, "name", "help"): those that every reader of accounting files knows */
#define BOUNCE_CATEGORIES(CATEGORY)                                                                \
    CATEGORY(BAD_CONFIGURATION, "bad-configuration", "the receiving system is in trouble")         \
    CATEGORY(BAD_CONNECTION, "bad-connection", "the connection broke, or TLS could not begin")     \
    CATEGORY(BAD_DOMAIN, "bad-domain", "the recipient's domain does not exist or takes no mail")   \
    CATEGORY(BAD_MAILBOX, "bad-mailbox", "the recipient does not exist")                           \
    CATEGORY(CONTENT_RELATED, "content-related", "form, size or attachments of the message")       \
    CATEGORY(INACTIVE_MAILBOX, "inactive-mailbox", "the mailbox is disabled, closed or suspended") \
    CATEGORY(INVALID_SENDER, "invalid-sender", "the envelope sender is not taken")                 \
    CATEGORY(MESSAGE_EXPIRED, "message-expired", "the time to deliver it is over")                 \
    CATEGORY(NO_ANSWER_FROM_HOST, "no-answer-from-host", "no host could be connected to")          \
    CATEGORY(OTHER, "other", "nothing more is known")                                              \
    CATEGORY(POLICY_RELATED, "policy-related", "authentication, rates, greylisting, local rules")  \
    CATEGORY(PROTOCOL_ERRORS, "protocol-errors", "a command was not understood")                   \
    CATEGORY(QUOTA_ISSUES, "quota-issues", "the mailbox is full or gets too much mail")            \
    CATEGORY(RELAYING_ISSUES, "relaying-issues", "the host does not take mail for this domain")    \
    CATEGORY(ROUTING_ERRORS, "routing-errors", "no route to the recipient, or a mail loop")        \
    CATEGORY(SPAM_RELATED, "spam-related", "content or sender counts as spam, block lists")        \
    CATEGORY(VIRUS_RELATED, "virus-related", "the message counts as infected")

enum bounce_category {
#define CATEGORY_ENUM(id, name, help) BOUNCE_##id,
    BOUNCE_CATEGORIES(CATEGORY_ENUM)
#undef CATEGORY_ENUM
        BOUNCE_CATEGORY_COUNT
};

const char *bounce_category_name(enum bounce_category c);
const char *bounce_category_help(enum bounce_category c);
/* False when it is none of them: a name of the operator's own. */
bool bounce_category_find(struct strview name, enum bounce_category *ret);

enum {
    BOUNCE_RULE_MAX = 2000,
    BOUNCE_ALTERNATIVES = 12,
    BOUNCE_CATEGORY_BYTES = 40, /* of a name */
};

/* -1: any. "none" (the peer gave no enhanced code) is class 0. */
struct bounce_status {
    int16_t class_digit, subject, detail;
};

struct bounce_rule {
    struct strview regex; /* between the slashes, \/ kept */
    struct strview category;
    uint32_t phases; /* 1 << PHASE_x; 0: every phase */
    uint8_t status_count, code_count;
    struct bounce_status status[BOUNCE_ALTERNATIVES];
    struct {
        uint16_t from, to;
    } codes[BOUNCE_ALTERNATIVES];
};

/* Views point into text. 0, or ERR_SYNTAX with *e saying what was expected. */
int bounce_rule_parse(struct strview text, struct bounce_rule *ret, struct err *e);

/* The conditions hold for this outcome; the regular expression was not looked at. */
bool bounce_rule_applies(const struct bounce_rule *r, const struct outcome *o);

#endif
