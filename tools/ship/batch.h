/*
 * Records of one pipe that are sent together, kept until they are acknowledged, and what to do with
 * them by what the receiver answers.
 */
#ifndef PMTA_SHIP_BATCH_H
#define PMTA_SHIP_BATCH_H

#include "note.h"
#include "settings.h"
#include "stream.h"

struct batch_item {
    uint32_t at, len;       /* of the object in json, a comma behind it */
    uint32_t id_at, id_len; /* in ids */
};

enum batch_state {
    BATCH_FILLING,
    BATCH_READY,
    BATCH_SENT,    /* the target has it */
    BATCH_WAITING, /* to be sent again at retry_at */
};

struct batch {
    struct stream *stream;
    struct buf json; /* {...},{...}, */
    struct buf ids;
    struct batch_item *items;
    size_t count, room;
    struct place end;      /* behind everything that was read for it */
    bool turned;           /* the file ended with it */
    int64_t born_ms;       /* mono */
    int64_t first_time_ms; /* wall: when its first record was made; 0: not known */

    enum batch_state state;
    size_t from, to; /* what is being sent of it */
    size_t chunk;    /* at most so many at once, since the receiver refused more */
    unsigned tries;  /* of [from, to) that failed and may succeed later */
    unsigned refused;
    int64_t retry_at_ms;      /* mono */
    int64_t failing_since_ms; /* wall; 0: it is not */
    char why[512];

    struct buf
        dead; /* lines for the file of dead letters, to be written before it is acknowledged */
    unsigned dead_count;
};

struct batch *batch_new(struct stream *s);
void batch_free(struct batch *b); /* NULL is fine */

enum batch_fill { BATCH_FULL, BATCH_DRY, BATCH_TURNED, BATCH_ERROR };
/* Reads records until it is full (max_bytes: as settings, or less when the receiver takes less). */
enum batch_fill batch_read(struct batch *b, const struct ship_settings *s, size_t max_bytes,
                           struct err *e);

/* The objects of [from, to) with commas between them. */
struct strview batch_objects(const struct batch *b);
struct strview batch_object(const struct batch *b, size_t i);
struct strview batch_id(const struct batch *b, size_t i);

/* What became of [from, to). */
enum ship_outcome {
    SHIP_DELIVERED,
    SHIP_RETRY,     /* later it may go */
    SHIP_REFUSED,   /* this content is not wanted */
    SHIP_TOO_LARGE, /* not so much at once */
};

struct ship_result {
    enum ship_outcome outcome;
    int64_t retry_after_ms; /* as the receiver asks; 0: it does not */
    char why[512];
};

struct batch_verdict {
    bool done;        /* nothing of it is left to be sent */
    size_t delivered; /* records that were, by this answer */
    size_t dead;      /* that went to the dead letters */
    bool retried;     /* something is to be sent again */
};

/* Applies an answer: what is sent next, and when. now_ms is mono, wall_ms wall time. */
struct batch_verdict batch_answer(struct batch *b, const struct ship_settings *s,
                                  const struct ship_result *r, int64_t now_ms, int64_t wall_ms);

/* Time to wait after that many failures in a row: doubling from retry_min to retry_max, of which up
 * to half is left to chance (random: any number). */
int64_t backoff_ms(const struct ship_settings *s, unsigned failures, uint64_t random);

#endif
