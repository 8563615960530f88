/*
 * Verbs that act: pause, resume, schedule, delete. What is paused is answered only after it is on
 * disk, because an operator relies on it over a restart.
 */
#include "admin/verbs.h"

#include "base/log.h"

/* An answer that waits for the disk or for a finisher. */
struct pending {
    struct pipe *pipe;
    struct admin admin;
    json_t *answer;
    bool dry_run;
};

static struct pending *pending_new(struct pipe *p, const struct admin *a)
{
    struct pending *w = xcalloc(1, sizeof(*w));
    w->pipe = p;
    w->admin = *a;
    w->admin.args = NULL;
    return w;
}

static void on_saved(void *arg, int status)
{
    struct pending *w = arg;

    if (status < 0) {
        admin_error(&w->admin,
                    "done, but it will not survive a restart, the spool cannot be written: %s",
                    err_name(status));
        json_decref(w->answer);
    } else {
        admin_send(&w->admin, w->answer);
        admin_end(&w->admin);
    }
    free(w);
}

void admin_save(struct pipe *p, const struct admin *a, struct state_file *file, struct strview text,
                json_t *answer)
{
    struct pending *w = pending_new(p, a);

    w->answer = answer;
    state_file_write(file, text, on_saved, w);
}

static void save(struct pipe *p, const struct admin *a, json_t *answer)
{
    struct buf text = {0};

    engine_pauses_write(p->engine, &text);
    admin_save(p, a, &p->memory.pauses, buf_view(&text), answer);
    buf_free(&text);
}

static void set_pipe(struct pipe *p, struct admin *a, bool paused)
{
    bool changed = engine_is_paused(p->engine) != paused;

    engine_pause(p->engine, paused);
    if (changed)
        log_info(LOG_ADMIN, "pipe %s by an operator", paused ? "paused" : "resumed");
    save(p, a,
         json_pack("{s:s, s:s, s:i}", "pipe", p->name, "state", paused ? "paused" : "running",
                   "changed", (int)changed));
}

void act_pause_pipe(void *owner, struct admin *a)
{
    set_pipe(owner, a, true);
}

void act_resume_pipe(void *owner, struct admin *a)
{
    set_pipe(owner, a, false);
}

static bool queue_argument(struct admin *a, struct strview *ret)
{
    *ret = admin_text(a, "queue");
    if (ret->len && ret->len < 500)
        return true;
    admin_error(a, "'queue' is missing: DOMAIN or DOMAIN/VMTA, * on either side");
    return false;
}

static json_t *queue_answer(const struct pipe *p, struct strview queue, size_t changed,
                            const char *state)
{
    json_t *o = json_pack("{s:s, s:I, s:s}", "pipe", p->name, "changed", (json_int_t)changed,
                          "state", state);
    json_object_set_new(o, "queue", admin_json_text(queue));
    return o;
}

void act_pause_queue(void *owner, struct admin *a)
{
    struct pipe *p = owner;
    struct strview queue;

    if (!queue_argument(a, &queue))
        return;
    size_t changed = engine_pause_queues(p->engine, queue);
    log_info(LOG_ADMIN, "queues paused by an operator queue=%s changed=%zu",
             log_safe(queue.ptr, queue.len, 500), changed);
    save(p, a, queue_answer(p, queue, changed, "paused"));
}

void act_resume_queue(void *owner, struct admin *a)
{
    struct pipe *p = owner;
    struct strview queue;
    const char *wider;

    if (!queue_argument(a, &queue))
        return;
    size_t changed = engine_resume_queues(p->engine, queue, &wider);
    log_info(LOG_ADMIN, "queues resumed by an operator queue=%s changed=%zu",
             log_safe(queue.ptr, queue.len, 500), changed);
    if (wider) {
        admin_error(a, "some queues stay paused by '%s': resume that", wider);
        return;
    }
    save(p, a, queue_answer(p, queue, changed, "active"));
}

void act_schedule(void *owner, struct admin *a)
{
    struct pipe *p = owner;
    struct strview queue;

    if (!queue_argument(a, &queue))
        return;
    size_t changed = engine_schedule(p->engine, queue);
    admin_send(a, queue_answer(p, queue, changed, "scheduled"));
    admin_end(a);
}

static void on_deleted(void *arg, uint64_t matched, uint64_t deleted)
{
    struct pending *w = arg;

    log_info(LOG_ADMIN, "delete by an operator matched=%llu deleted=%llu",
             (unsigned long long)matched, (unsigned long long)deleted);
    admin_send(&w->admin, json_pack("{s:s, s:I, s:I, s:b}", "pipe", w->pipe->name, "matched",
                                    (json_int_t)matched, "deleted", (json_int_t)deleted, "dry_run",
                                    (int)w->dry_run));
    admin_end(&w->admin);
    free(w);
}

void act_delete(void *owner, struct admin *a)
{
    struct pipe *p = owner;
    struct engine_delete_filter f = {
        .queue_pattern = admin_text(a, "queue"),
        .job = admin_text(a, "job"),
        .rcpt = admin_text(a, "rcpt"),
        .sender = admin_text(a, "sender"),
    };
    struct strview id = admin_text(a, "id");

    if (id.len && !message_id_parse(id, &f.id)) {
        admin_error(a, "'id' is not a message id");
        return;
    }
    if (!id.len && !f.queue_pattern.len && !f.job.len && !f.rcpt.len && !f.sender.len) {
        admin_error(a, "say what to delete: queue, id, job, rcpt or sender ('*' is any)");
        return;
    }
    struct pending *w = pending_new(p, a);
    w->dry_run = admin_flag(a, "dry_run");
    engine_delete(p->engine, &f, w->dry_run, on_deleted, w);
}
