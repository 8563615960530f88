/*
 * The inside of a spool, shared by its .c files only: spool.c (API), segments.c, journal.c and
 * accounts.c (what is where), group commits of messages (batch.c is the loop's side, commit.c what
 * runs in the thread pool), those of outcomes and accounting records (journal_batch.c and
 * journal_commit.c), health.c, read.c, recover.c, and maintenance in remove.c, collect.c (journal)
 * and compact.c (segments).
 *
 * Threads: everything belongs to the loop, but for what a running job owns: `writer` and the taken
 * batch belong to the commit job, `journal_writer`, the accounts' files and the taken records to the
 * journal's, the maintenance job's own struct to that job. At most one of each runs. Jobs do not
 * log; they hand a code and a sentence back.
 */
#ifndef PMTA_PIPE_SPOOL_INTERNAL_H
#define PMTA_PIPE_SPOOL_INTERNAL_H

#include "base/list.h"
#include "base/log.h"
#include "spool/dir.h"
#include "spool/live.h"
#include "spool/record.h"
#include "spool/scan.h"
#include "spool/states.h"

enum {
    SPOOL_MAX_OPEN_SEGMENTS = 512,
    SPOOL_PROBE_MS = 1000,
    SPOOL_MAX_ACCOUNTS = 64,
    SPOOL_HANDLES = 6, /* uv handles in struct spool */
};

/* Journal places are file number << PLACE_BITS | offset. */
#define PLACE_BITS 36
static inline spool_journal_place journal_place(uint64_t file, uint64_t offset)
{
    return file << PLACE_BITS | offset;
}

/* One segment file. */
struct segment {
    uint32_t number;
    int fd;        /* for reading; -1: not open */
    uint32_t refs; /* reads in flight and contents handed out; keep the struct and fd */
    uint32_t live_messages;
    uint64_t live_bytes;
    uint64_t bytes;
    uint64_t removable_after; /* when live_messages is 0: the journal must be synced up to here */
    int64_t looked_ms;        /* compaction found it sparse; 0: never */
    uint64_t looked_bytes;    /* live bytes then */
    uint16_t kind;            /* enum segment_kind */
    bool active;     /* the newest fresh one; never removed, because it carries the counters */
    bool victim;     /* being compacted */
    bool no_compact; /* holds a damaged record */
    bool gone;       /* unlinked, kept for refs */
};

struct journal_file {
    uint64_t number;
    uint64_t bytes;
};

/* What is appended for one borrowed descriptor. */
struct account {
    int fd;
    struct buf waiting;
    struct buf taken; /* the job's; what is left of it after a failure goes first next time */
    size_t taken_done;
    size_t unstarted;    /* bytes written that the disk has not been told of; the job's */
    off_t given_back;    /* pages before it are not kept in memory; the job's */
    bool dirty;          /* written, not synced; the job's */
    bool bad;            /* a sync failed: `unsynced` is written again before the next; the job's */
    struct buf unsynced; /* of a regular file: each write since its last good sync; the job's */
    void (*ended)(void *arg, int fd); /* set: it takes no more, and goes when all is synced */
    void *arg;
};

/* Where the commit job writes; the job's while one runs. Also the probe's: it runs alone. */
struct writer {
    int segment_fd; /* -1: none, the next append makes one */
    uint32_t segment;
    uint32_t segment_tag;
    uint64_t segment_end;
    bool segment_cut;      /* refused records were cut off behind the end, but that is not synced */
    bool segment_bad;      /* a sync failed: it takes no more */
    uint32_t prev_segment; /* newest fresh segment and its end, for the next header */
    uint64_t prev_end;
    uint64_t received; /* recipients in all acknowledged records */
    int64_t space_checked_ms;
    int space_status;
};

/* Where the journal's job writes; the job's while one runs. */
struct journal_writer {
    int fd; /* -1: none */
    uint64_t number;
    uint64_t end;
    bool bad;    /* a sync failed: a new file must repeat what was not synced */
    bool marked; /* nothing follows the last mark */
};

/* -errno of the spool as a whole, and the sentence that goes with it; 0: none. */
struct commit_error {
    int code;
    char what[160];
};

/* Messages on their way to a segment. */
struct commit {
    uv_work_t work;
    bool running;
    /* in */
    struct spool_append *appends;
    uint32_t append_count;
    int *status; /* one per append */
    message_id last_id;
    /* out */
    uint32_t *new_segments;
    size_t new_segment_count;
    struct commit_error error;
    int64_t took_us;
};

/* Outcomes on their way to the journal, behind the accounting records that they have. */
struct journal_commit {
    uv_work_t work;
    bool running;
    /* in */
    size_t account_count;
    struct buf journal;
    uint64_t journal_seq; /* of the last byte in `journal` */
    bool sync;
    bool rotate; /* begin a new journal file */
    bool probe;
    struct spool_ledger written; /* counters of all events written, and of all synced */
    struct spool_ledger synced;
    uint64_t received; /* recipients in all acknowledged records */
    message_id last_id;
    /* out */
    struct journal_file files[4]; /* that it made or wrote to, and where they end now */
    size_t file_count;
    spool_journal_place
        repeated_at; /* where unsynced events were written again; 0: they were not */
    spool_journal_place journal_at;
    bool journal_written;
    bool journal_synced;
    struct commit_error error;
};

enum maintenance { MAINTAIN_NOTHING, MAINTAIN_REMOVE, MAINTAIN_COLLECT, MAINTAIN_COMPACT };

struct remove_job;
struct collect_job;
struct compact_job;

struct spool {
    uv_loop_t *loop;
    const struct spool_ops *ops;
    void *owner;
    char *pipe;
    struct spool_options options;
    struct spool_dir dir;

    uv_check_t turn; /* runs what was put off to the end of the loop's turn */
    uv_idle_t spin;  /* keeps the loop from sleeping before that */
    uv_timer_t sync_timer;
    uv_timer_t gather_timer; /* journal and accounting alone wait this long for company */
    bool gather_due;
    uv_timer_t probe_timer;
    uv_timer_t maintenance_timer;
    unsigned open_handles;
    bool closing;
    bool last_commit_made;
    bool handles_closing;
    void (*closed)(void *arg);
    void *closed_arg;

    message_id last_id;
    uint8_t id_hash;
    uint32_t next_segment; /* atomic: commit job and compaction both take from it */

    struct segment **segments; /* by number */
    size_t segment_count;
    size_t segment_cap;
    unsigned open_segments;
    struct live live;

    struct spool_append *waiting;
    struct spool_append **waiting_tail;
    uint32_t waiting_count;
    struct buf journal_waiting;
    struct buf journal_unsynced; /* written, and kept until it is synced */
    uint64_t journal_queued;     /* bytes ever queued, and how far they are synced */
    uint64_t journal_synced;
    struct account accounts[SPOOL_MAX_ACCOUNTS]; /* fixed: the job walks them meanwhile */
    size_t account_count;
    size_t accounts_ending;
    bool sync_due;
    bool rotate_due;
    bool probe_due;
    struct writer writer;
    struct commit commit;
    struct journal_writer journal_writer;
    struct journal_commit journal_commit;

    struct journal_file *journals; /* by number; the last one is what journal_writer has open */
    size_t journal_count;
    uint64_t boot;         /* another one after each boot of the machine; 0: not known */
    uint64_t journal_kept; /* bytes that the last collection (or recovery) found needed */

    struct list reads_done; /* struct read_job, waiting for the end of the turn */
    unsigned reads_in_pool;
    struct list reads_kept; /* struct read_job, for the next ones; the latest first */
    unsigned reads_kept_count;

    enum maintenance maintenance;
    bool maintenance_parked; /* between two slices: the timer goes on with it */
    struct remove_job *remove;
    struct collect_job *collect;
    struct compact_job *compact;
    int64_t compact_after_ms;

    struct spool_ledger ledger;
    struct spool_ledger ledger_written;
    struct spool_ledger ledger_synced;
    bool writable;
    int last_error;
    uint64_t commits;
    uint64_t appended;
    int64_t last_commit_us;
    uint32_t quarantined;
};

/* spool.c */
void spool_wake(struct spool *s);
/* Goes on with closing when nothing is under way any more. */
void spool_close_step(struct spool *s);

/* segments.c */
struct segment *spool_segment(const struct spool *s, uint32_t number);
struct segment *spool_segment_add(struct spool *s, uint32_t number, uint16_t kind, uint64_t bytes);
/* Takes one out of the table; freed when nobody refers to it. */
void spool_segment_drop(struct spool *s, struct segment *g);
/* Descriptor for reading, opened when it is not; or -errno. */
int spool_segment_fd(struct spool *s, struct segment *g);
void spool_segment_unref(struct spool *s, struct segment *g);
/* Counts a message in or out of its segment. */
void spool_segment_gain(struct segment *g, uint64_t bytes);
void spool_segment_lose(struct spool *s, struct segment *g, uint64_t bytes);

/* journal.c */
/* Queues an event, counts it, and lets maintenance see it. */
void spool_put_event(struct spool *s, const struct event *e);
/* Queues an encoded event that was journalled before. */
void spool_put_copy(struct spool *s, const char *encoded, size_t len);
/* Notes a file, or where it ends now. */
void spool_journal_file_put(struct spool *s, uint64_t number, uint64_t bytes);
uint64_t spool_journal_bytes(const struct spool *s);
/* Ends a message whose record is damaged: a CORRUPT event for its unfinished recipients. */
void spool_set_aside(struct spool *s, message_id id, const struct spool_place *place);
/* A commit is back: what it wrote has its place, what it did not write waits again. */
void journal_committed(struct spool *s);

/* accounts.c */
/* Something is to be written. */
bool accounts_wait(const struct spool *s);
/* Moves what waits into the journal's commit. */
void accounts_take(struct spool *s);
/* Between those commits: is something written and not synced? What has ended and is synced goes. */
bool accounts_unsynced(const struct spool *s);
void accounts_release(struct spool *s);
void accounts_free(struct spool *s);

/* batch.c: appends */
/* Starts a commit, if one is wanted and none runs. */
void batch_start(struct spool *s);

/* journal_batch.c: outcomes and accounting records */
/* A commit has something to do; between those commits. */
bool journal_batch_wanted(const struct spool *s);
/* Starts one, if none runs and it is time. */
void journal_batch_start(struct spool *s);

/* health.c */
/* Why a job failed, or nothing: after a failure nothing is written until a probe went well. */
void health_note(struct spool *s, const struct commit_error *e);
/* A probe went well. */
void health_regained(struct spool *s);

/* read.c: calls done of the reads that are finished */
void spool_run_reads(struct spool *s);
void spool_free_kept_reads(struct spool *s);

/* commit.c: runs in the thread pool */
void commit_run(struct spool *s);
/* Can the disk be written and synced again? No commit runs meanwhile. */
int commit_probe(struct spool *s);
/* Keeps the first error; returns code. */
int commit_fail(struct commit_error *e, int code, const char *what);
int commit_sync(int fd);
/* A new segment's random tag. */
uint32_t spool_new_tag(void);

/* journal_commit.c: runs in the thread pool */
void journal_commit_run(struct spool *s);

/* recover.c */
int spool_recover(struct spool *s, struct err *e);

/* maintain.c: starts the most useful job, when none runs */
void maintain(struct spool *s);
/* The job is over; after a failure the next one waits a while. */
void maintain_finished(struct spool *s, int status);
void maintain_park(struct spool *s, int64_t ms);
/* Calls maintain then, or sooner, even when nothing else happens; keeps no loop alive. */
void maintain_look_again(struct spool *s, int64_t ms);

/* remove.c */
bool remove_start(struct spool *s);
void remove_resume(struct spool *s);
/* collect.c */
bool collect_start(struct spool *s);
void collect_rotated(struct spool *s);
void collect_saw(struct spool *s, const struct event *e);
void collect_resume(struct spool *s);
/* compact.c */
bool compact_start(struct spool *s);
void compact_saw(struct spool *s, const char *encoded, size_t len);
void compact_resume(struct spool *s);

#endif
