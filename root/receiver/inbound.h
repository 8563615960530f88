/*
 * Mail that comes back to us: which recipients are for ourselves (inbound-address of a bounce or
 * feedback loop processor, unsubscribe-address), and whether the address is one that we made. Asked
 * at RCPT; mail to such a recipient is taken from anybody. Loop thread only.
 */
#ifndef PMTA_RECEIVER_INBOUND_H
#define PMTA_RECEIVER_INBOUND_H

#include "mail/inbound_address.h"
#include "smtp_server.h"

/* Zero is valid: nothing is for us. */
struct inbound {
    struct config *config;
    struct inbound_table *table;
    struct mail_token_key key;
    bool has_key;
    int64_t bounce_age_ms, unsubscribe_age_ms;
    uint64_t recipients, forged, expired;
};

void inbound_set_key(struct inbound *in, const struct mail_token_key *key);
void inbound_configure(struct inbound *in, struct config *cfg);
void inbound_fini(struct inbound *in);

/* Anybody may have mail for us. */
bool inbound_is_open(const struct inbound *in);

/* Whether the recipient is for us, and then where it goes, or how it is refused. */
bool inbound_find(struct inbound *in, struct strview address, struct smtp_inbound *ret);

#endif
