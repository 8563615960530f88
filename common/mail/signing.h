/*
 * What the configuration says about signing, for those who do not sign themselves: the receiver
 * (what to prepare of a message), root (which key files to open for whom), the pipe (whether there
 * is anything to do); and X-DKIM-Options, the wishes of one message.
 */
#ifndef PMTA_MAIL_SIGNING_H
#define PMTA_MAIL_SIGNING_H

#include "mail/config.h"

/* What messages of a pipe may need. */
struct signing_needs {
    bool keys;            /* a key is configured */
    bool bimi;            /* a bimi-selector is configured */
    bool unsubscribe;     /* list-unsubscribe is configured */
    bool take_list;       /* and takes the place of what the application says */
    bool relaxed, simple; /* canonical forms of the body that a signature may want */
};

/* Of one pipe, or of all together when pipe is empty. Looks at every section: once per
 * configuration, not per message. */
void signing_needs(const struct config *cfg, struct strview pipe, struct signing_needs *ret);

/* Calls fn for every key file that a pipe may sign with (all pipes when it is empty), with the value
 * that names it; a file that several values name comes several times. */
void signing_key_files(const struct config *cfg, struct strview pipe,
                       void (*fn)(void *arg, const struct config_value *v, struct strview file),
                       void *arg);

/* X-DKIM-Options: "s=selector; d=domain; i=user@domain", each of them optional (q= is passed over).
 * Views point into the text. */
struct signing_options {
    struct strview selector, domain, identity;
};

enum { SIGNING_OPTIONS_MAX = 512 };

/* 0, or ERR_SYNTAX with *e saying what was expected. */
int signing_options_parse(struct strview text, struct signing_options *ret, struct err *e);
/* Some key that the pipe may sign with fits selector and domain. */
bool signing_options_known(const struct config *cfg, struct strview pipe,
                           const struct signing_options *o);

/* A value that may stand behind i=: printable, without what ends a tag. */
bool signing_is_identity(struct strview s);

#endif
