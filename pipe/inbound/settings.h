/*
 * What [bounce-processor] and [feedback-loop-processor] sections say.
 */
#ifndef PMTA_PIPE_INBOUND_SETTINGS_H
#define PMTA_PIPE_INBOUND_SETTINGS_H

#include "mail/config.h"
#include "mail/inbound_address.h"
#include "suppress/suppress.h"

enum { INBOUND_FORWARD_MAX = 20 };

/* Views point into the configuration. */
struct inbound_settings {
    enum inbound_use use;
    struct strview name; /* of the section; "unsubscribe" where there is none */
    bool deliver_matched, deliver_unmatched;
    struct strview forward_unmatched[INBOUND_FORWARD_MAX], forward_errors[INBOUND_FORWARD_MAX];
    size_t forward_unmatched_count, forward_errors_count;
    bool trust_plain;
    bool suppress;
    bool has_scope; /* else it depends on what the report is */
    enum suppress_scope scope;
    struct strview categories; /* separated by commas */
    int64_t expire_after_ms;   /* 0: never */
    size_t max_bytes;          /* of a report that are looked at */
    int64_t time_ms;           /* that reading it may take */
};

/* Of what an address matched; without a section the defaults. */
void inbound_settings_get(struct config *cfg, const struct inbound_match *m,
                          struct inbound_settings *ret);

/* The bounce category feeds the suppression list. */
bool inbound_settings_feeds(const struct inbound_settings *s, struct strview category);

#endif
