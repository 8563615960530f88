/*
 * Verbs about jobs: show, pause, resume, set. What is set is answered only after it is on disk
 * (state file "jobs").
 */
#include "admin/verbs.h"

#include "base/clock.h"
#include "base/log.h"

#include <fnmatch.h>

static bool job_matches(struct strview pattern, const struct job *job)
{
    char p[JOB_ID_MAX + 1];

    if (!pattern.len)
        return true;
    if (pattern.len >= sizeof(p))
        return false;
    memcpy(p, pattern.ptr, pattern.len);
    p[pattern.len] = '\0';
    return fnmatch(p, job->id, FNM_NOESCAPE) == 0;
}

static int by_queued(const void *a, const void *b)
{
    const struct job *x = *(struct job *const *)a, *y = *(struct job *const *)b;
    if (x->queued != y->queued)
        return x->queued < y->queued ? 1 : -1;
    return strcmp(x->id, y->id);
}

/* Whether a lane waits for the rate says more than the state of the bucket at this instant. */
static const char *job_state(const struct job *job)
{
    if (job->paused_since_ms)
        return "paused";
    list_for_each (l, &job->lanes)
        if (list_entry(l, const struct lane, of_job)->held & LANE_NO_ROOM)
            return "throttled";
    return job->queued ? "active" : "idle";
}

static json_t *job_object(const struct pipe *p, const struct job *job)
{
    char rate[UNITS_SIZE];
    json_t *o = json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I}", "pipe", p->name, "state",
                          job_state(job), "queued", (json_int_t)job->queued, "delivered",
                          (json_int_t)job->ended[OUTCOME_DELIVERED], "deferred",
                          (json_int_t)job->ended[OUTCOME_DEFERRED], "bounced",
                          (json_int_t)(job->ended[OUTCOME_BOUNCED] + job->ended[OUTCOME_EXPIRED]),
                          "deleted", (json_int_t)job->ended[OUTCOME_DELETED], "paused_since_ms",
                          (json_int_t)job->paused_since_ms);

    json_object_set_new(o, "job", admin_json_text(job_id(job)));
    if (job->rate.count || job->has_own_rate) {
        json_object_set_new(o, "max_msg_rate", json_string(units_format_rate(&job->rate, rate)));
        json_object_set_new(o, "rate_from",
                            json_string(job->has_own_rate ? "operator" : "job-max-msg-rate"));
    }
    return o;
}

void show_jobs(void *owner, struct admin *a)
{
    struct pipe *p = owner;
    struct strview pattern = admin_text(a, "job");
    int64_t limit = admin_number(a, "limit", 100);
    const struct hash *h = jobs_all(engine_jobs(p->engine));
    struct job **all = xmalloc((h->count + 1) * sizeof(struct job *));
    size_t count = 0;

    for (struct hash_node *n = NULL; (n = hash_next(h, n));) {
        struct job *job = container_of(n, struct job, node);
        if (job_matches(pattern, job))
            all[count++] = job;
    }
    qsort(all, count, sizeof(struct job *), by_queued);
    for (size_t i = 0; i < count && (int64_t)i < limit; i++)
        admin_send(a, job_object(p, all[i]));
    free(all);
    admin_end(a);
}

static void save(struct pipe *p, const struct admin *a, json_t *answer)
{
    struct buf text = {0};

    jobs_write(engine_jobs(p->engine), &text);
    admin_save(p, a, &p->memory.jobs, buf_view(&text), answer);
    buf_free(&text);
}

static json_t *job_answer(const struct pipe *p, struct strview id, const char *state)
{
    json_t *o = json_pack("{s:s, s:s}", "pipe", p->name, "state", state);
    json_object_set_new(o, "job", admin_json_text(id));
    return o;
}

static void set_paused(struct pipe *p, struct admin *a, bool paused)
{
    struct strview id = admin_text(a, "job");
    struct err e;
    bool changed;

    if (engine_pause_job(p->engine, id, paused, &changed, &e) < 0) {
        admin_error(a, "%s", e.text);
        return;
    }
    if (changed)
        log_info(LOG_ADMIN, "job %s by an operator job=%s", paused ? "paused" : "resumed",
                 log_safe(id.ptr, id.len, JOB_ID_MAX));
    json_t *o = job_answer(p, id, paused ? "paused" : "active");
    json_object_set_new(o, "changed", json_integer(changed));
    save(p, a, o);
}

void act_pause_job(void *owner, struct admin *a)
{
    set_paused(owner, a, true);
}

void act_resume_job(void *owner, struct admin *a)
{
    set_paused(owner, a, false);
}

void act_set_job(void *owner, struct admin *a)
{
    struct pipe *p = owner;
    struct strview id = admin_text(a, "job"), text = admin_text(a, "max_msg_rate");
    bool back = sv_eq(text, SV("default"));
    char shown[UNITS_SIZE] = "default";
    struct rate rate;
    struct err e;

    if (!back && (!text.len || units_parse_rate(text, &rate) < 0)) {
        admin_error(a, "'max_msg_rate' is missing or no rate (expected 100/s, 5000/h, 0 for no "
                       "limit, or 'default')");
        return;
    }
    if (engine_set_job_rate(p->engine, id, back ? NULL : &rate, &e) < 0) {
        admin_error(a, "%s", e.text);
        return;
    }
    if (!back)
        units_format_rate(&rate, shown);
    log_info(LOG_ADMIN, "job rate set by an operator job=%s rate=%s",
             log_safe(id.ptr, id.len, JOB_ID_MAX), shown);
    json_t *o = job_answer(p, id, "set");
    json_object_set_new(o, "max_msg_rate", json_string(shown));
    save(p, a, o);
}
