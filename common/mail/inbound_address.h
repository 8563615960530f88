/*
 * Which recipients are for ourselves: addresses of bounce and feedback loop processors
 * (inbound-address), and the addresses that tokens are put into (bounce-address, unsubscribe-address:
 * "b@bounces.example.com" is the base of b+TOKEN@bounces.example.com). Receivers ask at RCPT, the pipe
 * for what it was given; both with the same table.
 */
#ifndef PMTA_MAIL_INBOUND_ADDRESS_H
#define PMTA_MAIL_INBOUND_ADDRESS_H

#include "mail/config.h"
#include "mail/mail_token.h"

enum { INBOUND_DELIMITER = '+' }; /* between the base and the token */

enum inbound_use { INBOUND_NONE, INBOUND_BOUNCES, INBOUND_FEEDBACK, INBOUND_UNSUBSCRIBE };

struct inbound_match {
    enum inbound_use use;          /* what takes mail to it; NONE: nothing here does */
    const char *processor;         /* name of the section; NULL for UNSUBSCRIBE */
    const char *pipe;              /* what that section says, or NULL */
    enum mail_token_use token_use; /* 0: the address is none that a token is put into */
    struct strview token;          /* of the address, not checked; may be empty */
};

struct inbound_table;

/* Of a configuration, which it holds a reference of; never NULL. */
struct inbound_table *inbound_table_new(struct config *cfg);
void inbound_table_free(struct inbound_table *t); /* NULL is fine */

/* Some address is for a processor or unsubscribes. */
bool inbound_table_takes_mail(const struct inbound_table *t);

/* Whether the table knows the address at all (a processor's or one with a token). The texts of *ret
 * live as long as the table, token as long as `address`. One look at a hash table. */
bool inbound_table_find(const struct inbound_table *t, struct strview address,
                        struct inbound_match *ret);

/* What inbound-address may say: user@domain, user+*@domain (any local part that begins so), @domain.
 * Views point into the text. 0, or ERR_SYNTAX with *e saying what was expected. */
struct inbound_pattern {
    struct strview local; /* without the star; empty: any */
    struct strview domain;
    bool is_prefix;
};
int inbound_pattern_parse(struct strview text, struct inbound_pattern *ret, struct err *e);

/* What bounce-address and unsubscribe-address may say: user@domain, with a user short enough for a
 * token behind it. 0, or ERR_SYNTAX with *e. */
int inbound_base_parse(struct strview text, struct strview *ret_local, struct strview *ret_domain,
                       struct err *e);

/* What a token may take in a local part behind that base and the delimiter. */
size_t inbound_token_room(struct strview local);

#endif
