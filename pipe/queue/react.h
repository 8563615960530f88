/*
 * What a reply does besides settling its recipients: reply rules switch modes, cut rates, disable
 * source addresses, hold queues and the pipe. Every such act is an action with an id, a cause, the
 * reply that triggered it, since and until when; it ends by itself, by a delivery, by an operator's
 * cancel, and survives a restart (state file "actions").
 */
#ifndef PMTA_PIPE_QUEUE_REACT_H
#define PMTA_PIPE_QUEUE_REACT_H

#include "mail/outcome.h"
#include "rules/rules.h"

struct action;
struct engine;
struct queue;
struct vmta;
struct vmta_source;

/* What the configuration says about replies to a queue; texts live in it. */
struct react_settings {
    const char *pattern_list;           /* smtp-pattern-list; NULL or "": none */
    const char *notify;                 /* backoff-notify; NULL or "": nobody */
    int64_t backoff_to_normal_after_ms; /* 0: never */
    int64_t reenable_after_ms;          /* reenable-source-ip-after; 0: never */
    bool normal_after_delivery;
    bool backoff_upon_all_disabled;
};
void react_settings_resolve(struct react_settings *ret, const struct config *cfg,
                            const struct config_query *q);

/* Where a reply was heard. */
struct heard {
    struct queue *queue;
    const struct vmta_source *source;
    struct strview host; /* MX host */
};

/* What it means for the recipient or connection at hand. */
struct reaction {
    bool bounce;            /* bounce-rcpt: final, although temporary */
    bool keep;              /* skip-mx: not final, although 5xx */
    bool skip_host;         /* do not try this host again for a while */
    bool close;             /* the connection should end after what is under way */
    int64_t retry_after_ms; /* 0: as the schedule says */
    struct rule_match rule; /* rule NULL: none matched */
};

/* Called once for every reply that is not a success (a recipient's outcome, a host that failed, a
 * connection that ended), before it is settled, and for a delivery (mode=normal rules and
 * backoff-to-normal-after-delivery). Takes the actions, tells the throttle. */
void react(struct engine *g, const struct heard *where, const struct outcome *o,
           struct reaction *ret);

/* "192.0.2.1", or "system" when the system chooses. out holds at least REACT_SOURCE_SIZE. */
#define REACT_SOURCE_SIZE 48
const char *react_source_name(const struct vmta_source *s, char *out);
/* The queue may use an address of that name. */
bool react_has_source(const struct queue *q, const char *name);
/* A source of q was disabled by x: when that was the last one, this says so, and the queue enters
 * back-off when it shall. */
void react_sources_changed(struct engine *g, struct queue *q, const struct action *x);
/* No host is left that was not skipped: all may be tried again at the queue's next retry time. */
void react_all_hosts_skipped(struct engine *g, struct queue *q);

/* The source may not be used for this queue now. */
bool react_source_disabled(const struct queue *q, const struct vmta_source *s);
/* The host was skipped lately (skip-mx). */
bool react_host_skipped(const struct queue *q, const char *host);

#endif
