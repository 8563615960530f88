/*
 * Inside the SPF evaluator: spf.c walks records and asks, spf_record.c takes records apart,
 * spf_macro.c expands macros.
 */
#ifndef PMTA_MAIL_SPF_INT_H
#define PMTA_MAIL_SPF_INT_H

#include "mail/spf.h"

enum {
    SPF_MAX_TERMS_ASKING = 10, /* RFC 7208 section 4.6.4 */
    SPF_MAX_NAMES = 10,
    SPF_MAX_VOID = 2,
    SPF_MAX_TERMS = 256,
    SPF_MAX_RECORD = 8192,
    SPF_DOMAIN = 254,
};

/* MECHANISM(ID, "name") */
#define SPF_MECHANISMS(MECHANISM) \
    MECHANISM(ALL, "all")         \
    MECHANISM(INCLUDE, "include") \
    MECHANISM(A, "a")             \
    MECHANISM(MX, "mx")           \
    MECHANISM(PTR, "ptr")         \
    MECHANISM(IP4, "ip4")         \
    MECHANISM(IP6, "ip6")         \
    MECHANISM(EXISTS, "exists")

enum spf_mechanism {
#define SPF_ENUM(id, text) SPF_MECH_##id,
    SPF_MECHANISMS(SPF_ENUM)
#undef SPF_ENUM
};

struct spf_term {
    enum spf_mechanism mechanism;
    enum spf_result result; /* of its qualifier */
    struct strview text;    /* as written */
    struct strview domain;  /* domain-spec, or empty */
    uint8_t prefix4, prefix6;
    uint8_t address[16]; /* ip4, ip6 */
};

struct spf_record {
    struct spf_term *terms;
    size_t count;
    struct strview redirect, exp;
};

/* Takes a whole record apart, "v=spf1" included. 0, or ERR_SYNTAX with *e (permerror). */
int spf_record_parse(struct strview text, struct arena *a, struct spf_record *ret, struct err *e);
/* True when the text is an SPF record at all (section 4.5). */
bool spf_is_record(struct strview text);

/* What macros stand for. */
struct spf_macros {
    struct strview sender, local, sender_domain, domain, helo, validated;
    bool is_v6;
    uint8_t address[16];
};

/* 0, or ERR_SYNTAX. exp: also the letters c, r, t. */
int spf_macro_expand(struct buf *out, struct strview text, const struct spf_macros *m, bool exp);
/* 0 when the syntax is right. */
int spf_macro_check(struct strview text, bool exp);
/* 0 when text is a domain-spec (section 7.1): macros are right, and it ends in one or in a dot and a
 * top label, which is not all digits. */
int spf_domain_spec_check(struct strview text);
bool spf_macro_uses_p(struct strview text);

#endif
