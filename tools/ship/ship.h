/*
 * What pmta-ship does: reads the streams, sends batches, applies answers, saves how far it is. One
 * thread; knows no event loop and waits in its target.
 */
#ifndef PMTA_SHIP_SHIP_H
#define PMTA_SHIP_SHIP_H

#include "settings.h"
#include "target.h"

#include <jansson.h>

struct ship;

/* Totals since the start. */
struct ship_totals {
    uint64_t sent;    /* records acknowledged by the receiver */
    uint64_t retried; /* records that were to be sent again */
    uint64_t dead;    /* that became dead letters */
    uint64_t broken;  /* lines that are no records */
    uint64_t gaps;    /* accounting files that were gone before they were read */
};

struct ship_options {
    int state_dirfd; /* borrowed; of position and dead letters; -1: nothing is kept */
    /* Tells the pipes what must not be deleted yet, in the directory of the accounting files. */
    bool keep_files;
    int wake_fd; /* readable: stop(); -1: none */
    /* A target of the caller's instead of that of the settings, for tests; NULL: none. */
    struct target *target;
};

/* Takes the settings. 0, or negative with *e (the settings are still the caller's then). */
int ship_open(struct ship_settings *settings, const struct ship_options *o, struct ship **ret,
              struct err *e);
void ship_close(struct ship *s); /* saves; NULL is fine */

/* One turn: waits for max_wait_ms at most. False: with `once`, everything is sent, or *failed: it
 * cannot be. */
bool ship_turn(struct ship *s, int max_wait_ms, bool *failed);
/* Nothing new is sent from now on; true: nothing is on its way any more. */
bool ship_drained(struct ship *s);
void ship_drain(struct ship *s);

const struct ship_totals *ship_totals(const struct ship *s);
/* What `pmtactl show events` shows. A new object. */
json_t *ship_status(struct ship *s);

#endif
