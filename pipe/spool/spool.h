/*
 * The spool of one pipe: append-only segments with message records, and a journal with what became
 * of each recipient. docs/spool.md gives the format. One writer: the pipe; everything that touches
 * the disk for writing runs in the thread pool, one commit at a time, so that all messages that
 * arrived meanwhile share one fdatasync (group commit).
 *
 * The queue keeps the index (who waits for what); the spool keeps bytes. It knows how many
 * recipients of each segment are unfinished, removes a segment when that is none, and copies the
 * rest out of a sparse one.
 */
#ifndef PMTA_PIPE_SPOOL_H
#define PMTA_PIPE_SPOOL_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "mail/envelope.h"

#include <uv.h>

struct spool;

/* Message ids: unique in a pipe, practically unique over pipes; 13 characters as text. */
typedef uint64_t message_id;
#define MESSAGE_ID_SIZE 14
char *message_id_format(message_id id, char *out); /* out: MESSAGE_ID_SIZE bytes; returns it */
bool message_id_parse(struct strview s, message_id *ret);
/* Messages taken in since that moment have this id or a larger one. */
static inline message_id message_id_at(int64_t wall_ms)
{
    return wall_ms > 0 ? (message_id)wall_ms * 1000 << 8 : 0;
}

/* Where a message record is; 16 bytes in the queue's index. Changes when compaction moves it. */
struct spool_place {
    uint32_t segment;
    uint32_t offset;
    uint32_t length; /* whole record */
};

/* Where the newest journal record of a recipient is: for `why`, the reply text is read from there
 * when asked. 0 is nowhere. */
typedef uint64_t spool_journal_place;

/* What became of a recipient. */
enum spool_state {
    SPOOL_QUEUED = 0, /* no journal record yet */
    SPOOL_DEFERRED = 1,
    SPOOL_DELIVERED = 2,
    SPOOL_BOUNCED = 3,
    SPOOL_EXPIRED = 4,
    SPOOL_DELETED = 5,
};

static inline bool spool_state_is_final(enum spool_state s)
{
    return s >= SPOOL_DELIVERED;
}

/* One journal record. */
struct spool_event {
    message_id id;
    struct spool_place place; /* of the message, so that recovery knows how long to keep this */
    uint16_t rcpt;            /* index in the envelope */
    enum spool_state state;
    uint16_t attempts;       /* made so far */
    int64_t next_attempt_ms; /* wall clock; for DEFERRED */
    uint32_t first_attempt_s; /* wall clock, of the first attempt; 0: none yet, or not known */
    uint8_t phase;           /* enum outcome_phase */
    uint16_t code;
    struct strview text; /* the reply or our sentence; cut at 400 bytes */
};

/* A recipient as recovery found it. */
struct spool_recovered_rcpt {
    enum spool_state state; /* QUEUED or DEFERRED are live, others are done */
    uint16_t attempts;
    int64_t next_attempt_ms;
    uint32_t first_attempt_s;
    spool_journal_place journal;
};

struct spool_ops {
    /* During spool_open, once per message with at least one live recipient, in order of arrival.
     * Views are valid during the call. */
    void (*recovered)(void *owner, message_id id, const struct spool_place *place,
                      const struct envelope *env, const struct spool_recovered_rcpt *rcpts);
    /* Compaction wrote the message elsewhere; the old place goes away when this returns. False: the
     * owner does not have it any more. */
    bool (*moved)(void *owner, message_id id, const struct spool_place *to);
    /* The newest journal record of a recipient was written at `at` (or moved there). */
    void (*journalled)(void *owner, message_id id, uint16_t rcpt, spool_journal_place at);
    /* The spool cannot be written (false, text says why, once) or works again (true). */
    void (*health)(void *owner, bool writable, const char *text);
};

struct spool_options {
    const char *pipe;            /* name, for messages and the id's hash */
    uint64_t segment_bytes;      /* 0: 64 MiB */
    uint64_t min_free_bytes;     /* refuse new messages below this */
    int64_t journal_sync_ms;     /* 0: 100 */
    uint64_t journal_file_bytes; /* 0: 16 MiB */
    uint64_t boot;     /* stands for this boot of the machine; 0: what the kernel says */
    int64_t settle_ms; /* compaction watches a sparse segment so long; 0: 10 s, negative: not */
};

/* Opens and recovers. dirfd: the pipe's spool directory, taken over. Takes the lock (a second
 * process on the same directory gets ERR_BUSY with a sentence). Blocks while it reads: call before
 * serving. Errors: ERR_VERSION for a newer format, ERR_BUSY, -errno; always with *e filled. */
int spool_open(struct spool **ret, uv_loop_t *loop, int dirfd, const struct spool_options *options,
               const struct spool_ops *ops, void *owner, struct err *e);

/* Syncs everything, then frees and calls done(arg), from the loop. */
void spool_close(struct spool *s, void (*done)(void *arg), void *arg);

/* A message to be made durable. The caller owns the struct and what it points to until done. */
struct spool_append {
    struct strview envelope; /* encoded */
    uint32_t rcpt_count;
    struct strview content; /* header and body in wire form, or empty and: */
    int content_fd;         /* a file with content_bytes of it from offset 0; -1 when inline */
    uint64_t content_bytes;
    /* From the loop, never inside spool_append: status 0 and id, place are set, the record is
     * durable; or negative: -ENOSPC, -EIO, …, and nothing of it will ever appear. */
    void (*done)(struct spool_append *a, int status);
    message_id id;
    struct spool_place place;
    int64_t durable_ms; /* wall, when its commit was over */
    struct spool_append *next; /* the spool's */
};

void spool_append(struct spool *s, struct spool_append *a);

/* Journals what became of a recipient: written at the next commit (at once when none is under way),
 * synced within journal_sync_ms. Copies the event. Never fails for the caller: what cannot be
 * written now (disk full) waits in memory and health(false) tells. When the last recipient of a
 * message is final, its record counts as garbage. */
void spool_journal(struct spool *s, const struct spool_event *ev);

/* Bytes that must reach another file, in this order and before the journal records that follow them
 * (accounting records: after a crash no final record is missing). fd is borrowed for the spool's
 * life. Copies. */
void spool_accounting(struct spool *s, int fd, struct strview bytes);
/* Nothing more comes for fd: when all is written and synced, ended is called from the loop and fd is
 * the caller's again. It is not called when the spool is closed before. At most 64 files at a time,
 * those that are ending included. */
void spool_accounting_end(struct spool *s, int fd, void (*ended)(void *arg, int fd), void *arg);

/* A message read back. */
struct spool_content {
    struct strview envelope; /* encoded */
    struct strview content;  /* header and body; empty when fd is used */
    int fd;                  /* content over load_max: read it from here, borrowed; -1 otherwise */
    uint64_t fd_offset;
    uint64_t content_bytes;
    void *owner; /* the spool's: memory and segment reference */
};

struct spool_read {
    /* From the loop, never inside spool_read. status 0; ERR_CORRUPT when the checksum is wrong: the
     * record was copied to quarantine/ and counts as garbage, the owner drops the message; -errno.
     */
    void (*done)(struct spool_read *r, int status);
    message_id id;
    bool envelope_only; /* content stays unread and unverified; load_max is not looked at */
    struct spool_content content; /* release with spool_content_release */
    struct spool_read *next;      /* the spool's */
};

/* Reads and verifies a record in the thread pool, or on the loop when the page cache has it
 * (RWF_NOWAIT); content larger than load_max bytes is verified but left in the file. The caller
 * owns the struct until done. */
void spool_read(struct spool *s, message_id id, const struct spool_place *place, size_t load_max,
                struct spool_read *r);
void spool_content_release(struct spool *s, struct spool_content *c);

/* Reads the envelope alone, and the newest journal record of a recipient; for admin requests and
 * bounces, so they may block for one read. 0, ERR_CORRUPT, ERR_NOT_FOUND or -errno; the views are
 * in arena. */
int spool_read_envelope(struct spool *s, message_id id, const struct spool_place *place,
                        struct arena *arena, struct envelope *ret);
int spool_read_event(struct spool *s, spool_journal_place at, struct arena *arena,
                     struct spool_event *ret);

/* An unlinked file in the spool for a body that is being received; the caller's to close. */
int spool_temporary_file(struct spool *s, int *ret_fd, struct err *e);

/* Recipients ever received and ended in this spool, counted in the files themselves and kept over
 * restarts; the sum is proved against the queue's own count by `ledger`. */
struct spool_ledger {
    uint64_t received;
    uint64_t delivered;
    uint64_t bounced;
    uint64_t expired;
    uint64_t deleted;
    uint64_t corrupt; /* set aside in quarantine */
};
void spool_ledger(const struct spool *s, struct spool_ledger *ret);

struct spool_stats {
    uint32_t segments;
    uint64_t segment_bytes; /* on disk */
    uint64_t live_bytes;    /* of these, of unfinished messages */
    uint64_t journal_bytes;
    uint64_t journal_waiting_bytes; /* in memory: not written, or not synced yet */
    uint64_t commits;               /* group commits made */
    uint64_t appended;              /* messages in them */
    uint32_t appends_waiting;
    int64_t last_commit_us;
    bool writable;
    uint32_t quarantined;
};
void spool_stats(const struct spool *s, struct spool_stats *ret);

#endif
