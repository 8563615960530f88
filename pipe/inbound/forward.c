/*
 * Forwarding; see forward.h. Called by processor.c. Content in memory goes with the record; a large
 * one is copied in the thread pool, from the spool's file into a temporary one, which the spool then
 * takes over as it does with what receivers write.
 *
 * A struct forward owns everything that the spool writes from and dies in finish.
 */
#include "inbound/forward.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <unistd.h>

enum { COPY_BYTES = 256 * 1024 };

struct forward {
    struct spool_append append;
    uv_work_t work;
    struct engine *engine;
    const struct load *load;
    struct arena arena;
    struct envelope env;
    struct buf head, envelope, content;
    int fd, status;
    void (*done)(void *arg, int status);
    void *arg;
};

static void finish(struct forward *f, int status)
{
    void (*done)(void *arg, int status) = f->done;
    void *arg = f->arg;

    if (f->fd >= 0)
        close(f->fd);
    arena_free(&f->arena);
    buf_free(&f->head);
    buf_free(&f->envelope);
    buf_free(&f->content);
    free(f);
    done(arg, status);
}

static void on_durable(struct spool_append *a, int status)
{
    struct forward *f = container_of(a, struct forward, append);

    if (status == 0)
        engine_accept(f->engine, a->id, &a->place, &f->env, NULL);
    finish(f, status);
}

static void store(struct forward *f)
{
    const char *text;

    if (engine_refuses(f->engine, &f->env, &text)) {
        finish(f, ERR_BUSY);
        return;
    }
    envelope_encode(&f->envelope, &f->env);
    if (choose_vmta(f->engine, &f->env))
        envelope_append_choice(&f->envelope, &f->env);
    f->append = (struct spool_append){
        .envelope = buf_view(&f->envelope),
        .rcpt_count = f->env.rcpt_count,
        .content = f->fd < 0 ? buf_view(&f->content) : sv(NULL, 0),
        .content_fd = f->fd,
        .content_bytes = f->env.content_bytes,
        .done = on_durable,
    };
    spool_append(engine_spool(f->engine), &f->append);
}

/* --- in the thread pool --- */

static int write_all(int fd, const char *bytes, size_t n, off_t at)
{
    while (n) {
        ssize_t written = pwrite(fd, bytes, n, at);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return written < 0 ? -errno : -EIO;
        bytes += written;
        n -= (size_t)written;
        at += written;
    }
    return 0;
}

static int copy_content(const struct forward *f)
{
    const struct spool_content *c = &f->load->read.content;
    uint64_t left = f->load->env.content_bytes, from = c->fd_offset;
    off_t to = (off_t)buf_len(&f->head);
    int status = write_all(f->fd, buf_data(&f->head), buf_len(&f->head), 0);
    char *chunk = xmalloc(COPY_BYTES);

    while (left && status == 0) {
        ssize_t n = pread(c->fd, chunk, (size_t)MIN_OF(left, (uint64_t)COPY_BYTES), (off_t)from);
        status = n > 0 ? write_all(f->fd, chunk, (size_t)n, to) : n < 0 ? -errno : ERR_CORRUPT;
        if (n > 0) {
            from += (uint64_t)n;
            to += n;
            left -= (uint64_t)n;
        }
    }
    free(chunk);
    return status;
}

static void run(uv_work_t *work)
{
    struct forward *f = container_of(work, struct forward, work);

    if (f->status == 0 && f->fd >= 0)
        f->status = copy_content(f);
}

static void after(uv_work_t *work, int status)
{
    struct forward *f = container_of(work, struct forward, work);

    if (status < 0 || f->status < 0)
        finish(f, status < 0 ? status : f->status);
    else
        store(f);
}

/* --- the message --- */

static void make_envelope(struct forward *f, const struct strview *to, size_t to_count)
{
    const struct envelope *env = &f->load->env;

    f->env = (struct envelope){
        .received_ms = clock_wall_ms(),
        .source = SV(FORWARD_SOURCE),
        .content_bytes = env->content_bytes + buf_len(&f->head),
        .header_bytes = env->header_bytes + (uint32_t)buf_len(&f->head),
        .stuffed_dots = env->stuffed_dots,
        .bimi = env->bimi, /* taken out of the header, put back when it is sent */
        .list_fields = env->list_fields,
        .flags = (uint8_t)(env->flags & (ENVELOPE_8BIT | ENVELOPE_SMTPUTF8)),
    };
    f->env.rcpts = arena_alloc(&f->arena, (to_count + 1) * sizeof(f->env.rcpts[0]));
    for (size_t i = 0; i < to_count; i++)
        f->env.rcpts[f->env.rcpt_count++] =
            (struct envelope_rcpt){.address = arena_sv(&f->arena, to[i]), .notify = NOTIFY_NEVER};
}

static void make_head(struct forward *f, struct strview why)
{
    buf_append_str(&f->head, "X-Inbound: ");
    for (size_t i = 0; i < why.len && i < 400; i++) {
        unsigned char c = (unsigned char)why.ptr[i];
        buf_append_char(&f->head, c < ' ' || c >= 0x7f ? '?' : (char)c);
    }
    buf_append_str(&f->head, "\r\n");
}

void forward_start(struct engine *g, uv_loop_t *loop, const struct load *l, const struct strview *to,
                   size_t to_count, struct strview why, void (*done)(void *arg, int status),
                   void *arg)
{
    struct forward *f = xcalloc(1, sizeof(*f));
    const struct spool_content *c = &l->read.content;
    struct err e;

    f->engine = g;
    f->load = l;
    f->fd = -1;
    f->done = done;
    f->arg = arg;
    make_head(f, why);
    make_envelope(f, to, to_count);
    if (!l->body && c->fd >= 0) {
        if (spool_temporary_file(engine_spool(g), &f->fd, &e) < 0)
            f->fd = -1;
        f->status = f->fd < 0 ? e.code : 0;
    } else {
        buf_append_sv(&f->content, buf_view(&f->head));
        buf_append_sv(&f->content, l->body ? l->body->content : c->content);
    }
    /* also where nothing is to be copied: done never fires inside */
    BUG_ON(uv_queue_work(loop, &f->work, run, after) < 0);
}
