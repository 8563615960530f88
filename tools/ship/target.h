/*
 * Where batches go. A target works in the thread that ships: it is given batches, does its I/O in
 * run(), and says there what became of each.
 */
#ifndef PMTA_SHIP_TARGET_H
#define PMTA_SHIP_TARGET_H

#include "batch.h"
#include "settings.h"

struct target;

/* The answer to a batch that was sent; from within run() only. */
typedef void target_answer_fn(void *owner, struct batch *b, const struct ship_result *r);

struct target_ops {
    /* Takes the items [from, to) of a batch, at least one; they stay as they are until the answer.
     * Only while room() is true. */
    void (*send)(struct target *t, struct batch *b);
    bool (*room)(const struct target *t);
    /* Works for timeout_ms at most, and ends early when wake_fd can be read or there was an answer. */
    void (*run)(struct target *t, int timeout_ms, int wake_fd);
    /* Drops what is on its way, without answers. */
    void (*close)(struct target *t);
    /* What keeps the batches that are on their way, NULL: nothing. May be NULL. */
    const char *(*trouble)(const struct target *t);
};

struct target {
    const struct target_ops *ops;
    const struct ship_settings *settings;
    target_answer_fn *answer;
    void *owner;
};

/* By settings->to. settings are borrowed until close. 0, or negative with *e: it cannot work so. */
int target_open(const struct ship_settings *settings, target_answer_fn *answer, void *owner,
                struct target **ret, struct err *e);

int target_http_open(const struct ship_settings *settings, struct target **ret, struct err *e);
int target_redis_open(const struct ship_settings *settings, struct target **ret, struct err *e);
int target_kafka_open(const struct ship_settings *settings, struct target **ret, struct err *e);
int target_stdout_open(const struct ship_settings *settings, struct target **ret, struct err *e);

/* Waits until wake_fd can be read, at most that long; for targets that have nothing to do. */
void target_wait(int timeout_ms, int wake_fd);

/* Fills a result. */
void ship_result_set(struct ship_result *r, enum ship_outcome outcome, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

#endif
