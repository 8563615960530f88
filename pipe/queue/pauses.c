/*
 * What operators stop and start: the pipe as a whole, queues by pattern. Patterns stay until they
 * are resumed, so that a queue that appears later is stopped too. Jobs keep their own state
 * (jobs/jobs.c); here their lanes are moved.
 */
#include "queue/engine_int.h"

#include "base/clock.h"
#include "base/log.h"

#include <fnmatch.h>
#include <stdio.h>

enum { MAX_PATTERNS = 10000, MAX_PATTERN_BYTES = 600 };

struct pause_pattern {
    struct pause_pattern *next;
    char text[];
};

/* "example.com" means "example.com/" and any virtual MTA. Lower case. */
static bool normalise(struct strview pattern, char *out, size_t size)
{
    const char *rest = sv_find(pattern, '/') < 0 ? "/*" : "";
    int n = snprintf(out, size, "%.*s%s", SV_ARG(pattern), rest);

    if (n < 0 || (size_t)n >= size || !pattern.len)
        return false;
    str_lower(out, (size_t)n);
    return true;
}

static bool matches(const char *pattern, const char *name)
{
    return fnmatch(pattern, name, FNM_NOESCAPE) == 0;
}

/* The queue by its own name, or by that of its group. */
static bool names(const char *pattern, const struct queue *q)
{
    bool other = q->base || q->group;
    return matches(pattern, q->name) || (other && matches(pattern, queue_base(q)->name)) ||
           (other && matches(pattern, queue_identity(q)));
}

bool engine_pattern_matches(struct strview pattern, const char *queue_name)
{
    char p[MAX_PATTERN_BYTES];
    return normalise(pattern, p, sizeof(p)) && matches(p, queue_name);
}

const char *engine_pause_pattern(const struct engine *g, const struct queue *q)
{
    for (const struct pause_pattern *p = g->pauses; p; p = p->next)
        if (names(p->text, q))
            return p->text;
    return NULL;
}

bool pauses_match(const struct engine *g, const struct queue *q)
{
    return engine_pause_pattern(g, q) != NULL;
}

static bool add_pattern(struct engine *g, const char *text)
{
    size_t count = 0;
    for (struct pause_pattern *p = g->pauses; p; p = p->next, count++)
        if (strcmp(p->text, text) == 0)
            return true;
    if (count >= MAX_PATTERNS)
        return false;
    struct pause_pattern *p = xmalloc(sizeof(*p) + strlen(text) + 1);
    strcpy(p->text, text);
    p->next = g->pauses;
    g->pauses = p;
    return true;
}

/* Sets each queue's paused flag anew; returns how many changed. */
static size_t apply(struct engine *g)
{
    size_t changed = 0;
    for (struct hash_node *n = NULL; (n = hash_next(&g->queues, n));) {
        struct queue *q = container_of(n, struct queue, node);
        bool paused = pauses_match(g, q);
        if (paused == q->paused)
            continue;
        q->paused = paused;
        changed++;
        if (paused)
            sender_close_idle(q, SIZE_MAX);
        else
            scheduler_kick(g, q);
    }
    return changed;
}

size_t engine_pause_queues(struct engine *g, struct strview pattern)
{
    char p[MAX_PATTERN_BYTES];
    if (!normalise(pattern, p, sizeof(p)) || !add_pattern(g, p))
        return 0;
    return apply(g);
}

size_t engine_resume_queues(struct engine *g, struct strview pattern, const char **ret_wider)
{
    char text[MAX_PATTERN_BYTES];

    *ret_wider = NULL;
    if (!normalise(pattern, text, sizeof(text)))
        return 0;
    for (struct pause_pattern **at = &g->pauses; *at;) {
        struct pause_pattern *p = *at;
        if (strcmp(p->text, text) == 0 || matches(text, p->text)) {
            *at = p->next;
            free(p);
        } else {
            at = &p->next;
        }
    }
    size_t changed = apply(g);
    for (struct hash_node *n = NULL; (n = hash_next(&g->queues, n)) && !*ret_wider;) {
        struct queue *q = container_of(n, struct queue, node);
        if (q->paused && names(text, q))
            *ret_wider = engine_pause_pattern(g, q);
    }
    return changed;
}

size_t engine_schedule(struct engine *g, struct strview pattern)
{
    char p[MAX_PATTERN_BYTES];
    size_t changed = 0;

    if (!normalise(pattern, p, sizeof(p)))
        return 0;
    for (struct hash_node *n = NULL; (n = hash_next(&g->queues, n));) {
        struct queue *q = container_of(n, struct queue, node);
        if (!names(p, q))
            continue;
        bool waits = q->retry_at_ms || q->deferred.count;
        q->retry_at_ms = 0;
        queue_collect_due(q, INT64_MAX);
        changed += waits;
        scheduler_kick(g, q);
        scheduler_rewake(g, q);
    }
    return changed;
}

int engine_pause_job(struct engine *g, struct strview id, bool paused, bool *ret_changed,
                     struct err *e)
{
    struct job *job = jobs_find(g->jobs, id);
    bool was_paused = job && job->paused_since_ms;
    int status;

    if (job && !paused)
        job->refs++; /* it stays until its lanes have come back */
    status = paused ? jobs_pause(g->jobs, id, clock_wall_ms(), e) : jobs_resume(g->jobs, id, e);
    *ret_changed = status == 0 && was_paused != paused;
    if (*ret_changed)
        lanes_pause(jobs_find(g->jobs, id), paused);
    if (job && !paused)
        job_unref(job);
    return status;
}

int engine_set_job_rate(struct engine *g, struct strview id, const struct rate *rate, struct err *e)
{
    return jobs_set_rate(g->jobs, id, rate, e);
}

void engine_pause(struct engine *g, bool paused)
{
    if (g->paused == paused)
        return;
    g->paused = paused;
    for (struct hash_node *n = NULL; (n = hash_next(&g->queues, n));) {
        struct queue *q = container_of(n, struct queue, node);
        if (paused)
            sender_close_idle(q, SIZE_MAX);
        else
            scheduler_kick(g, q);
    }
}

bool engine_is_paused(const struct engine *g)
{
    return g->paused;
}

void engine_pauses_write(const struct engine *g, struct buf *out)
{
    if (g->paused)
        buf_append_str(out, "pipe\n");
    for (const struct pause_pattern *p = g->pauses; p; p = p->next)
        buf_printf(out, "queue %s\n", p->text);
}

void engine_pauses_read(struct engine *g, struct strview text)
{
    for (struct strview line; sv_split(&text, '\n', &line);) {
        if (sv_eq(line, SV("pipe"))) {
            g->paused = true;
        } else if (sv_starts_nocase(line, SV("queue ")) && line.len < MAX_PATTERN_BYTES) {
            char p[MAX_PATTERN_BYTES];
            if (normalise(sv(line.ptr + 6, line.len - 6), p, sizeof(p)))
                add_pattern(g, p);
        }
    }
    apply(g);
}

void pauses_free(struct engine *g)
{
    for (struct pause_pattern *p; (p = g->pauses);) {
        g->pauses = p->next;
        free(p);
    }
}
