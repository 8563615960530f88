/*
 * Bytes on disk: the four fixed structures of a spool and their checksums (XXH3-64, unseeded). All
 * numbers are little endian. Pure functions over memory; docs/spool.md has the same tables for
 * people who write another reader.
 */
#ifndef PMTA_PIPE_SPOOL_RECORD_H
#define PMTA_PIPE_SPOOL_RECORD_H

#include "spool/spool.h"

#define SPOOL_FORMAT_VERSION 1

#define RECORD_MAGIC  0x31524d50u /* "PMR1" */
#define SEGMENT_MAGIC 0x31534d50u /* "PMS1" */
#define JOURNAL_MAGIC 0x31484d50u /* "PMH1" */
#define EVENT_MAGIC   0x314a4d50u /* "PMJ1" */

enum {
    RECORD_HEADER_BYTES = 64,
    SEGMENT_HEADER_BYTES = 64,
    JOURNAL_HEADER_BYTES = 96,
    EVENT_HEADER_BYTES = 64,
    EVENT_TEXT_MAX = 400,
    EVENT_MAX_BYTES = EVENT_HEADER_BYTES + EVENT_TEXT_MAX,
    RECORD_ENVELOPE_MAX = 1024 * 1024,
    RECORD_ALIGN = 8,
};
#define RECORD_CONTENT_MAX 0xe0000000ull

/* Journal state beyond enum spool_state: `count` recipients were set aside with a damaged record.
 */
#define STATE_CORRUPT 6
/* Of no message: the accounting records of all events before it are durable. next_attempt_ms is the
 * boot of the machine in which it was written. */
#define STATE_MARK 7
/* Recipient number of an event that is about all recipients of the message. */
#define RCPT_ALL 0xffffu

enum record_flag { RECORD_COPY = 1 };
enum segment_kind { SEGMENT_FRESH = 0, SEGMENT_COPIES = 1 };
enum event_flag { EVENT_COPY = 1 };

/* Message record, before envelope and content. */
struct record {
    uint16_t flags;
    message_id id;
    uint32_t envelope_bytes;
    uint32_t rcpt_count;
    uint64_t content_bytes;
    uint64_t received_before; /* recipients ever received before this record; 0 in a copy */
    uint32_t batch_offset;    /* where in the segment the commit that wrote this one began */
    uint32_t segment_tag; /* the segment's; so a record quoted inside a body never passes for one */
    uint64_t content_sum;
};

static inline uint64_t record_total_bytes(const struct record *r)
{
    uint64_t n = RECORD_HEADER_BYTES + (uint64_t)r->envelope_bytes + r->content_bytes;
    return (n + RECORD_ALIGN - 1) & ~(uint64_t)(RECORD_ALIGN - 1);
}

/* XXH3-64 of bytes. */
uint64_t spool_checksum(const void *data, size_t len);

/* Checksum of content that comes in pieces. */
struct checksum;
struct checksum *checksum_new(void);
void checksum_update(struct checksum *c, const void *data, size_t len);
uint64_t checksum_digest(const struct checksum *c);
void checksum_free(struct checksum *c);

/* out: RECORD_HEADER_BYTES; the header's own checksum covers the envelope too. */
void record_encode(const struct record *r, struct strview envelope, char *out);

/* Looks at the fixed header alone: magic and plausible lengths, checksum unchecked. in: at least
 * RECORD_HEADER_BYTES. */
bool record_peek(const char *in, struct record *ret);
/* in: header and envelope, contiguous. */
bool record_verify(const char *in, const struct record *r);

struct segment_header {
    uint16_t kind;
    uint32_t number;
    uint32_t prev_number; /* the fresh segment before this one, 0: none */
    uint64_t prev_end;    /* where its records end; what follows there was never acknowledged */
    uint64_t received;    /* recipients ever received when this segment was made */
    message_id last_id;
    int64_t created_ms;
    uint32_t tag; /* random, not 0 */
};
void segment_header_encode(const struct segment_header *h, char *out);
bool segment_header_decode(const char *in, struct segment_header *ret);

struct journal_header {
    uint64_t number;
    struct spool_ledger ledger; /* of everything before this file */
    message_id last_id;
    int64_t created_ms;
};
void journal_header_encode(const struct journal_header *h, char *out);
bool journal_header_decode(const char *in, struct journal_header *ret);

/* A journal record as it is on disk. */
struct event {
    uint8_t flags;
    uint8_t state; /* enum spool_state, STATE_CORRUPT or STATE_MARK */
    message_id id;
    struct spool_place place;
    uint16_t rcpt;
    uint16_t attempts;
    int64_t next_attempt_ms;
    uint32_t count; /* recipients that this record ends */
    uint32_t first_attempt_s;
    uint16_t code;
    uint8_t phase;
    struct strview text;
};

static inline bool event_is_final(const struct event *e)
{
    return e->state >= SPOOL_DELIVERED;
}

/* Appends the encoded event; returns its length. */
size_t event_encode(struct buf *out, const struct event *e);
/* Decodes the event at the start of in; *ret_bytes is its whole length. ERR_CORRUPT when it is
 * none, -EAGAIN when it looks like one that is cut off by the end of in. */
int event_decode(struct strview in, struct event *ret, size_t *ret_bytes);
/* Gives an encoded event another place and the copy flag. */
void event_relocate(char *encoded, const struct spool_place *to);

/* Adds what a (non-copy) event ends to the counters. */
void ledger_count(struct spool_ledger *l, const struct event *e);

/* Adds up all events in encoded bytes of our own making. */
void ledger_count_bytes(struct spool_ledger *l, struct strview encoded);

#endif
