/*
 * Jobs: the queued recipients with one X-Job over all queues of a pipe. A job is there as long as it
 * has queued recipients, or was paused or given a rate by an operator; what operators set survives a
 * restart (state file "jobs").
 *
 * A job's rate is one limit of the table that all pipes share ("job ID"), so a job that runs through
 * two pipes keeps to it over both.
 */
#ifndef PMTA_PIPE_JOBS_JOBS_H
#define PMTA_PIPE_JOBS_JOBS_H

#include "base/buf.h"
#include "base/hash.h"

#include "limit/limit.h"
#include "mail/outcome.h"

struct jobs;

enum { JOB_ID_MAX = 255 };

struct job {
    struct hash_node node; /* in jobs, by id */
    struct jobs *owner;
    struct list lanes;   /* struct lane.of_job (queue/lane.h): where its ready recipients stand */
    struct limit *limit; /* recipients per time; NULL: none applies */
    struct rate rate;    /* what it allows; count 0: no limit */
    bool has_own_rate;   /* an operator's, not job-max-msg-rate */
    int64_t paused_since_ms;             /* wall clock; 0: not paused */
    uint32_t refs;                       /* messages */
    uint64_t queued;                     /* recipients */
    uint64_t ended[OUTCOME_CLASS_COUNT]; /* outcomes since the job appeared here */
    uint16_t id_len;
    char id[]; /* ends with a NUL too */
};

/* limits may be NULL in a program that has none: rates are then kept but not enforced. */
struct jobs *jobs_new(struct limits *limits);
/* All messages were let go of. */
void jobs_free(struct jobs *j);

/* job-max-msg-rate; holds at once for jobs without a rate of their own. */
void jobs_configure(struct jobs *j, const struct rate *rate);

/* The job of that id with a reference; NULL for an empty id. */
struct job *job_get(struct jobs *j, struct strview id);
void job_unref(struct job *job); /* NULL is fine */

/* Without a reference; NULL when there is none. */
struct job *jobs_find(const struct jobs *j, struct strview id);
const struct hash *jobs_all(const struct jobs *j); /* nodes are struct job.node */
static inline struct strview job_id(const struct job *job)
{
    return sv(job->id, job->id_len);
}

/* What operators do; the job may have nothing queued yet. 0, ERR_SYNTAX for an id that no message
 * can have, ERR_LIMIT when too many jobs are set already. Moving lanes is the engine's
 * (engine_pause_job). */
int jobs_pause(struct jobs *j, struct strview id, int64_t now_ms, struct err *e);
int jobs_resume(struct jobs *j, struct strview id, struct err *e);
/* rate NULL: job-max-msg-rate again. count 0: no limit at all. */
int jobs_set_rate(struct jobs *j, struct strview id, const struct rate *rate, struct err *e);

/* Recipients that the job's rate grants now, at most want; 0: *ret_full is the limit to wait for.
 * job may be NULL (all). job_refund gives back what was not tried. */
uint32_t job_take(struct job *job, uint32_t want, struct limit **ret_full);
void job_refund(struct job *job, uint32_t n);

/* Counts; job may be NULL. */
static inline void job_count_queued(struct job *job, uint32_t n)
{
    if (job)
        job->queued += n;
}
static inline void job_count_done(struct job *job)
{
    if (job)
        job->queued--;
}
static inline void job_count_outcome(struct job *job, enum outcome_class c)
{
    if (job)
        job->ended[c]++;
}

/* What operators set, as text and back; one line each: "paused SINCE_MS ID", "rate RATE ID". */
void jobs_write(const struct jobs *j, struct buf *out);
void jobs_read(struct jobs *j, struct strview text);

#endif
