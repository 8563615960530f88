/*
 * Jobs: the queued recipients with one X-Job over all queues of a pipe. A job is there as long as it
 * has queued recipients, or was paused or given a rate by an operator.
 */
#ifndef PMTA_PIPE_JOBS_JOBS_H
#define PMTA_PIPE_JOBS_JOBS_H

#include "limit/limit.h"

struct jobs;
struct job;

struct jobs *jobs_new(struct limits *limits, const char *pipe);
void jobs_free(struct jobs *j);

/* The job of that id with a reference; NULL for an empty id. */
struct job *job_get(struct jobs *j, struct strview id);
void job_unref(struct job *job); /* NULL is fine */

#endif
