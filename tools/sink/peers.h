/*
 * peers: what the sink knows of each address that connects: how many connections at once, and the
 * hidden rate, above which mail is put off as large providers do it.
 */
#ifndef PMTA_SINK_PEERS_H
#define PMTA_SINK_PEERS_H

#include "base/err.h"
#include "base/hash.h"
#include "base/units.h"
#include "sink/policy.h"

enum hidden_window {
    HIDDEN_BUCKET, /* token bucket that holds one period, at most one second of it */
    HIDDEN_FIXED,  /* so many in each period of the clock */
};

/* The hidden rate, as the command line says. */
struct hidden {
    struct rate rate; /* count 0: none */
    enum hidden_window window;
    bool per_address;
    enum policy_phase phase; /* mail, rcpt or data */
    int code;
    char *text; /* after the code; owned */
};

/* Level of one bucket or window. */
struct hidden_level {
    double tokens;
    int64_t last_us; /* 0: new */
    int64_t window;
    uint64_t used;
};

struct peer {
    struct hash_node node;
    char *address;
    uint64_t open, most, connections;
    uint64_t passed, limited; /* by the hidden rate */
    struct hidden_level level;
};

#define PEERS_MAX 100000u

struct peers {
    struct hash by_address;
    struct peer rest; /* all that are more than PEERS_MAX */
    struct hidden_level level;
};

void peers_init(struct peers *p);
void peers_fini(struct peers *p);
struct peer *peers_get(struct peers *p, const char *address);

/* "N/s" and so on; "bucket" or "fixed"; "mail", "rcpt" or "data"; "CODE TEXT". 0 or ERR_SYNTAX. */
int hidden_set_rate(struct hidden *h, const char *text, struct err *e);
int hidden_set_window(struct hidden *h, const char *text, struct err *e);
int hidden_set_phase(struct hidden *h, const char *text, struct err *e);
int hidden_set_reply(struct hidden *h, const char *text, struct err *e);

/* One more at this wall time; false: it is above the rate. */
bool hidden_take(const struct hidden *h, struct peers *all, struct peer *p, int64_t now_us);

#endif
