/*
 * Jobs; see jobs.h. Owner: the engine. Each message of a job holds a reference (queue/index.c); the
 * job goes with the last one, unless an operator has set something for it. Ids come from messages,
 * so their number is bounded by what is queued; those that operators set are counted here.
 */
#include "jobs/jobs.h"

enum { MAX_SET = 10000 };

struct jobs {
    struct hash by_id;
    struct limits *limits;
    struct rate rate; /* job-max-msg-rate */
    uint32_t set;     /* jobs that an operator paused or gave a rate */
};

static bool match_id(const struct hash_node *n, const void *key)
{
    return sv_eq(job_id(container_of(n, const struct job, node)), *(const struct strview *)key);
}

struct jobs *jobs_new(struct limits *limits)
{
    struct jobs *j = xcalloc(1, sizeof(*j));
    j->limits = limits;
    hash_init(&j->by_id, match_id);
    return j;
}

static void free_job(struct job *job)
{
    BUG_ON(!list_empty(&job->lanes));
    hash_remove(&job->owner->by_id, &job->node);
    limit_unref(job->limit);
    free(job);
}

void jobs_free(struct jobs *j)
{
    if (!j)
        return;
    for (struct hash_node *n = hash_next(&j->by_id, NULL), *next; n; n = next) {
        next = hash_next(&j->by_id, n);
        free_job(container_of(n, struct job, node));
    }
    hash_fini(&j->by_id);
    free(j);
}

/* --- rates --- */

/* The limit says what applies now. It stays with the job once it is there, because lanes may wait
 * in its line: no limit is then a limit of 0, which grants everything. */
static void apply_rate(struct job *job)
{
    struct jobs *j = job->owner;

    if (!job->has_own_rate)
        job->rate = j->rate;
    if (!j->limits || (!job->limit && !job->rate.count))
        return;
    if (!job->limit) {
        struct buf name = {0};
        buf_printf(&name, "job %.*s", SV_ARG(job_id(job)));
        job->limit = limit_get(j->limits, LIMIT_MESSAGES, buf_view(&name));
        buf_free(&name);
    }
    limit_set_rate(job->limit, &job->rate);
}

void jobs_configure(struct jobs *j, const struct rate *rate)
{
    if (j->rate.count == rate->count && j->rate.period_ms == rate->period_ms)
        return;
    j->rate = *rate;
    for (struct hash_node *n = NULL; (n = hash_next(&j->by_id, n));) {
        struct job *job = container_of(n, struct job, node);
        if (!job->has_own_rate)
            apply_rate(job);
    }
}

uint32_t job_take(struct job *job, uint32_t want, struct limit **ret_full)
{
    if (!job || !job->limit)
        return want;
    return limits_take(&job->limit, 1, want, ret_full);
}

void job_refund(struct job *job, uint32_t n)
{
    if (job && job->limit && n)
        limits_refund(&job->limit, 1, n);
}

/* --- finding and forgetting --- */

static struct job *find(const struct jobs *j, struct strview id, uint64_t hash)
{
    struct hash_node *n = hash_find(&j->by_id, hash, &id);
    return n ? container_of(n, struct job, node) : NULL;
}

struct job *jobs_find(const struct jobs *j, struct strview id)
{
    return find(j, id, hash_bytes(id.ptr, id.len));
}

const struct hash *jobs_all(const struct jobs *j)
{
    return &j->by_id;
}

static struct job *find_or_make(struct jobs *j, struct strview id)
{
    struct strview key = sv(id.ptr, MIN_OF(id.len, (size_t)JOB_ID_MAX));
    uint64_t hash = hash_bytes(key.ptr, key.len);
    struct job *job = find(j, key, hash);

    if (job)
        return job;
    job = xcalloc(1, sizeof(*job) + key.len + 1);
    job->owner = j;
    job->id_len = (uint16_t)key.len;
    memcpy(job->id, key.ptr, key.len);
    list_init(&job->lanes);
    hash_insert(&j->by_id, &job->node, hash);
    apply_rate(job);
    return job;
}

struct job *job_get(struct jobs *j, struct strview id)
{
    if (!id.len)
        return NULL;
    struct job *job = find_or_make(j, id);
    job->refs++;
    return job;
}

static bool is_set(const struct job *job)
{
    return job->paused_since_ms || job->has_own_rate;
}

static void forget_unused(struct job *job)
{
    if (!job->refs && !is_set(job))
        free_job(job);
}

void job_unref(struct job *job)
{
    if (!job)
        return;
    BUG_ON(!job->refs);
    job->refs--;
    forget_unused(job);
}

/* --- what operators set --- */

/* What the receiver lets through: one printable word. */
static bool is_id(struct strview id)
{
    if (!id.len || id.len > JOB_ID_MAX)
        return false;
    for (size_t i = 0; i < id.len; i++)
        if (id.ptr[i] <= ' ' || id.ptr[i] == 0x7f)
            return false;
    return true;
}

/* The job that is to be set, made when it is not there; NULL with *status. */
static struct job *to_set(struct jobs *j, struct strview id, int *status, struct err *e)
{
    if (!is_id(id)) {
        *status = err_set(e, ERR_SYNTAX,
                          "'job' is missing or is not one printable word of at "
                          "most %d characters",
                          JOB_ID_MAX);
        return NULL;
    }
    struct job *job = jobs_find(j, id);
    if ((!job || !is_set(job)) && j->set >= MAX_SET) {
        *status = err_set(e, ERR_LIMIT, "%d jobs are paused or have a rate already", MAX_SET);
        return NULL;
    }
    *status = 0;
    return job ? job : find_or_make(j, id);
}

/* Keeps the count of set jobs, and forgets one that nobody needs any more. */
static void has_changed(struct job *job, bool was_set)
{
    job->owner->set += (uint32_t)is_set(job);
    job->owner->set -= (uint32_t)was_set;
    forget_unused(job);
}

int jobs_pause(struct jobs *j, struct strview id, int64_t now_ms, struct err *e)
{
    int status;
    struct job *job = to_set(j, id, &status, e);
    if (!job)
        return status;
    bool was_set = is_set(job);
    if (!job->paused_since_ms)
        job->paused_since_ms = MAX_OF(now_ms, (int64_t)1);
    has_changed(job, was_set);
    return 0;
}

int jobs_resume(struct jobs *j, struct strview id, struct err *e)
{
    int status;
    struct job *job = jobs_find(j, id);
    if (!job)
        return is_id(id) ? 0 : (to_set(j, id, &status, e), status);
    bool was_set = is_set(job);
    job->paused_since_ms = 0;
    has_changed(job, was_set);
    return 0;
}

int jobs_set_rate(struct jobs *j, struct strview id, const struct rate *rate, struct err *e)
{
    int status;
    struct job *job = to_set(j, id, &status, e);
    if (!job)
        return status;
    bool was_set = is_set(job);
    job->has_own_rate = rate != NULL;
    if (rate)
        job->rate = *rate;
    apply_rate(job);
    has_changed(job, was_set);
    return 0;
}

/* --- keeping it --- */

void jobs_write(const struct jobs *j, struct buf *out)
{
    char text[UNITS_SIZE];

    for (struct hash_node *n = NULL; (n = hash_next(&j->by_id, n));) {
        const struct job *job = container_of(n, const struct job, node);
        if (job->paused_since_ms)
            buf_printf(out, "paused %lld %.*s\n", (long long)job->paused_since_ms,
                       SV_ARG(job_id(job)));
        if (job->has_own_rate)
            buf_printf(out, "rate %s %.*s\n", units_format_rate(&job->rate, text),
                       SV_ARG(job_id(job)));
    }
}

void jobs_read(struct jobs *j, struct strview text)
{
    for (struct strview line, what, value; sv_split(&text, '\n', &line);) {
        uint64_t since;
        struct rate rate;
        if (!sv_split(&line, ' ', &what) || !sv_split(&line, ' ', &value))
            continue;
        if (sv_eq(what, SV("paused")) && sv_to_u64(value, &since) && since <= INT64_MAX)
            jobs_pause(j, line, (int64_t)since, NULL);
        else if (sv_eq(what, SV("rate")) && units_parse_rate(value, &rate) == 0)
            jobs_set_rate(j, line, &rate, NULL);
    }
}
