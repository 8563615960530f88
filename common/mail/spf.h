/*
 * Sender Policy Framework (RFC 7208): check_host() as an engine without I/O. It says which question
 * to the DNS comes next, is given the answer, and ends with a result and the way it got there. All
 * mechanisms, modifiers and macros; the limits of section 4.6.4 (ten terms that ask the DNS, ten
 * names per mx and ptr, two void look-ups).
 */
#ifndef PMTA_MAIL_SPF_H
#define PMTA_MAIL_SPF_H

#include "base/arena.h"
#include "base/buf.h"
#include "mail/lookup.h"

#include <netinet/in.h>

/* RESULT(ID, "as in Received-SPF") of section 2.6 */
#define SPF_RESULTS(RESULT)        \
    RESULT(NONE, "none")           \
    RESULT(NEUTRAL, "neutral")     \
    RESULT(PASS, "pass")           \
    RESULT(FAIL, "fail")           \
    RESULT(SOFTFAIL, "softfail")   \
    RESULT(TEMPERROR, "temperror") \
    RESULT(PERMERROR, "permerror")

enum spf_result {
#define SPF_ENUM(id, text) SPF_##id,
    SPF_RESULTS(SPF_ENUM)
#undef SPF_ENUM
};

struct spf_question {
    enum lookup_kind kind;
    char name[256];
};

enum spf_step { SPF_ASK, SPF_DONE };

struct spf;

/* ip: IPv4 or IPv6 (an IPv4 address mapped into IPv6 is IPv4); helo; mail_from: the reverse path
 * without brackets, empty for the null one (then postmaster@helo is checked, section 2.4). Never
 * NULL. */
struct spf *spf_new(const struct sockaddr *ip, struct strview helo, struct strview mail_from);
void spf_free(struct spf *s); /* NULL is fine */

/* Goes on until there is a question or a result. */
enum spf_step spf_step(struct spf *s, struct spf_question *ret);
/* The answer to the question that spf_step gave; then call spf_step again. */
void spf_answer(struct spf *s, const struct lookup_result *r);

enum spf_result spf_result(const struct spf *s);
const char *spf_result_text(enum spf_result r);
/* Why, for a person: "ip4:192.0.2.0/24 of example.com", "more than 10 terms ask the DNS". */
const char *spf_reason(const struct spf *s);
/* The explanation of a fail (exp=), expanded; or empty. */
struct strview spf_explanation(const struct spf *s);
/* Terms that asked the DNS so far. */
unsigned spf_lookups(const struct spf *s);

/* A record that was read: that of the domain itself (depth 0), of what it includes or redirects to.
 * Views live as long as s. */
struct spf_visit {
    unsigned depth;
    bool is_redirect; /* it took the place of the one before it at this depth */
    struct strview domain, record;
};

/* In the order they were read. */
const struct spf_visit *spf_trail(const struct spf *s, size_t *ret_count);
/* The term that gave the result ("ip4:192.0.2.0/24", "-all") and the domain whose record has it; of
 * a pass by include the one inside. Both empty: none did. */
struct strview spf_match(const struct spf *s, struct strview *ret_domain);

#endif
