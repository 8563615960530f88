/*
 * The inside of ship.h, for ship.c (the turns), ship_look.c (directories) and ship_status.c.
 */
#ifndef PMTA_SHIP_SHIP_INT_H
#define PMTA_SHIP_SHIP_INT_H

#include "ship.h"

enum {
    LOOK_MS = 1000,     /* between two looks at the directories */
    BUSY_POLL_MS = 100, /* at the end of a file that was written to lately */
    IDLE_POLL_MS = 500,
    IDLE_AFTER_MS = 10000,
    SYNC_MS = 1000,                 /* between two syncs of the position */
    AHEAD_BYTES = 64 * 1024 * 1024, /* of batches that only wait for their turn */
    AGAIN_MS = 10,                  /* when there is no room for what could be read */
    QUIET_MS = 10000,               /* between two log lines that it fails */
    RATE_SECONDS = 10,
};

/* A stream with what was read from it. */
struct lane {
    struct list link;
    struct stream *stream;
    struct batch *current; /* being sent; NULL: none */
    struct batch *ahead;   /* being filled, or waiting behind current */
    size_t max_bytes;      /* of a batch, since the receiver took no more */
    int64_t read_after_ms; /* mono: nothing new before */
    int64_t data_ms;       /* mono: the last time there was something */
    bool dry;              /* everything that is there was read */
    uint64_t sent;
    char trouble[512];    /* of the machine: a file cannot be read */
    char kept[NAME_SIZE]; /* the file that the pipe was told to keep */
};

struct ship {
    struct ship_settings settings;
    struct ship_options options;
    struct target *target;
    struct place_file places;
    struct place_entry *saved; /* of pipes whose files were not seen yet */
    size_t saved_count;
    struct list lanes;
    size_t lane_count;
    bool looked; /* once at least */
    bool draining;
    bool untargeted; /* the target cannot be opened with these settings */
    int64_t next_look_ms;
    bool dirty;        /* places are not saved */
    int64_t synced_ms; /* mono */
    bool unsynced;
    char trouble[512]; /* what cannot be saved, or is not there */
    int64_t trouble_since_ms;
    int64_t failing_since_ms; /* wall, 0: it goes */
    bool said_failing;
    int64_t said_ms; /* mono: when that was logged last */
    struct ship_totals totals;
    uint64_t record_bytes, record_count; /* of lines read, for estimates */
    struct {
        int64_t second;
        uint64_t records;
    } rate[RATE_SECONDS + 1];
};

/* ship_look.c: looks at the directories; lanes of new pipes appear. */
void ship_look(struct ship *s);
/* Tells the pipes which files are still needed (after a sync of the position). */
void ship_keep_files(struct ship *s);
/* Saves the places of all lanes. */
int ship_save(struct ship *s, bool sync, struct err *e);

#endif
