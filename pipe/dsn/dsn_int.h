/*
 * What the parts of the room share: dsn.c (which recipients owe a notice, and when it begins),
 * dsn_note.c (one notice on its way to the disk), dsn_delay.c (who waits for long), dsn_keep.c (what
 * survives a restart), dsn_hand.c (to another pipe).
 */
#ifndef PMTA_PIPE_DSN_INT_H
#define PMTA_PIPE_DSN_INT_H

#include "dsn/dsn.h"
#include "dsn/dsn_letter.h"
#include "dsn/dsn_limit.h"
#include "mail/inbound_address.h"
#include "notice/own_mail.h"
#include "queue/engine_int.h"
#include "state/saver.h"

enum {
    DSN_SOFT_MAX = 1000,   /* notices; then who ends recipients by the thousand waits */
    DSN_HARD_MAX = 10000,  /* then recipients stay queued instead */
    DSN_WORKING_MAX = 256, /* read and stored at a time: what shares a commit */
};

/* A recipient that owes a notice. Texts are in the notice's arena. */
struct dsn_owed {
    struct entry *entry; /* NULL: of a delay, its end is not decided */
    struct outcome outcome;
    struct rule_match rule;
    uint32_t rcpt;
    unsigned attempts;
    int64_t last_ms, next_ms;
    int64_t bounce_after_ms;
    const char *vmta;
};

enum dsn_note_state {
    NOTE_GATHERING, /* waits a moment for more of the same message */
    NOTE_WAITING,   /* for its turn, or for a retry */
    NOTE_READING,
    NOTE_STORING,
};

/* One notice. It pins its message until it is freed. */
struct dsn_note {
    struct list link; /* dsn->notes */
    struct dsn *dsn;  /* NULL: given up, only its read or append still ends */
    struct spool *spool;
    struct message *message;
    message_id id;
    struct config *config; /* rules point into it */
    enum dsn_kind kind;
    enum dsn_note_state state;
    bool written;   /* mail is ready to be stored */
    bool settled;   /* its recipients have ended */
    int64_t due_ms; /* monotonic; GATHERING and WAITING */
    struct dsn_held held;
    struct arena arena;
    struct dsn_owed *owed;
    size_t count, cap;
    struct dsn_watch *watch;  /* of a delay */
    int64_t since_ms, now_ms; /* of a delay: what lies between is told */
    struct spool_read read;
    struct own_mail mail;
};

struct dsn {
    uv_loop_t *loop;
    struct engine *engine;
    struct config *config;
    struct inbound_table *inbound; /* addresses whose mail this installation reads itself */
    char host[256];                /* of the system */
    struct list notes;             /* oldest first */
    uint32_t note_count, working;
    bool is_stuck; /* the disk took no notice of failure the last time; logged */
    bool is_over;  /* drained by force: nothing is begun or ended any more */
    uv_timer_t *timer;
    int64_t armed_ms; /* monotonic; INT64_MAX: not */
    uint64_t serial;
    struct dsn_limit *limit;
    struct dsn_stats stats;

    struct heap watches;         /* struct dsn_watch by the time of the next look, wall */
    uint32_t watching;           /* notices of delay under way */
    int64_t told_ms;             /* wall; every delay up to then was told, or needs no telling */
    struct saver delays, limits; /* files */
    void (*closed)(void *arg);
    void *closed_arg;

    struct list hands; /* struct dsn_hand */
};

/* --- dsn.c --- */

/* There is something to do at that time, monotonic. */
void dsn_arm(struct dsn *d, int64_t at_ms);
/* The directive's value for the source that the message came from. */
const struct config_value *dsn_of_source(const struct dsn *d, const struct envelope *env,
                                         enum directive of);
bool dsn_may_send(struct dsn *d, struct strview sender, struct dsn_held *ret);
bool dsn_is_suppressed(const struct dsn *d, const struct envelope *env);
int64_t dsn_every_ms(const struct dsn *d, const struct queue *q);

/* --- dsn_note.c --- */

struct dsn_note *dsn_note_new(struct dsn *d, struct message *m, enum dsn_kind kind);
/* Copies. */
void dsn_note_add(struct dsn_note *n, const struct dsn_owed *owed);
/* Begins what is due (when the engine drains, all that is new); the others keep waiting. */
void dsn_notes_run(struct dsn *d);
/* When the next one is due, monotonic; INT64_MAX: none. */
int64_t dsn_notes_next_ms(const struct dsn *d);
/* Nothing more is done about any of them. */
void dsn_notes_give_up(struct dsn *d);

/* --- dsn_delay.c --- */

void dsn_delay_watch(struct dsn *d, const struct message *m, const struct envelope *env);
/* Begins notices about what is due. */
void dsn_delay_run(struct dsn *d);
int64_t dsn_delay_next_ms(const struct dsn *d); /* wall */
/* The message of n was read: fills n with the recipients whose delay is to be told; none is fine. */
void dsn_delay_gather(struct dsn_note *n, const struct envelope *env);
/* n is over: durable, or (done false) to be tried again. */
void dsn_delay_over(struct dsn_note *n, bool done);
void dsn_delay_free(struct dsn *d);

/* --- dsn_keep.c --- */

/* What told_ms says, or what the limit counts, has changed. */
void dsn_keep_delays(struct dsn *d);
void dsn_keep_limits(struct dsn *d);

/* --- dsn_hand.c --- */

void dsn_hand_turn(struct dsn *d, struct queue *q);
/* Some message was sent and is not answered. */
bool dsn_hand_is_busy(const struct dsn *d);
/* Nobody waits for answers any more. */
void dsn_hand_give_up(struct dsn *d);
/* Looks for mail that has become too old while its pipe is not there. */
void dsn_hand_tick(struct dsn *d);
void dsn_hand_free(struct dsn *d);

#endif
