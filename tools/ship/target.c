/*
 * What targets share, and the one that needs nothing else: standard output, a JSON object a line.
 */
#include "target.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

int target_open(const struct ship_settings *settings, target_answer_fn *answer, void *owner,
                struct target **ret, struct err *e)
{
    int rc = settings->to.kind == SINK_HTTP    ? target_http_open(settings, ret, e)
             : settings->to.kind == SINK_REDIS ? target_redis_open(settings, ret, e)
             : settings->to.kind == SINK_KAFKA ? target_kafka_open(settings, ret, e)
                                               : target_stdout_open(settings, ret, e);
    if (rc < 0)
        return rc;
    (*ret)->settings = settings;
    (*ret)->answer = answer;
    (*ret)->owner = owner;
    return 0;
}

void target_wait(int timeout_ms, int wake_fd)
{
    struct pollfd p = {.fd = wake_fd, .events = POLLIN};
    poll(&p, wake_fd >= 0, timeout_ms);
}

void ship_result_set(struct ship_result *r, enum ship_outcome outcome, const char *fmt, ...)
{
    va_list ap;

    *r = (struct ship_result){.outcome = outcome};
    va_start(ap, fmt);
    vsnprintf(r->why, sizeof(r->why), fmt, ap);
    va_end(ap);
    for (char *p = r->why; *p; p++) /* what peers say goes into logs and tables */
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = ' ';
}

/* --- standard output --- */

struct target_stdout {
    struct target target;
    struct batch *batch;
    struct buf lines;
};

static void stdout_send(struct target *t, struct batch *b)
{
    container_of(t, struct target_stdout, target)->batch = b;
}

static bool stdout_room(const struct target *t)
{
    return !container_of(t, struct target_stdout, target)->batch;
}

static void stdout_run(struct target *t, int timeout_ms, int wake_fd)
{
    struct target_stdout *o = container_of(t, struct target_stdout, target);
    struct batch *b = o->batch;
    struct ship_result r = {.outcome = SHIP_DELIVERED};

    if (!b) {
        target_wait(timeout_ms, wake_fd);
        return;
    }
    buf_reset(&o->lines);
    for (size_t i = b->from; i < b->to; i++) {
        buf_append_sv(&o->lines, batch_object(b, i));
        buf_append_char(&o->lines, '\n');
    }
    while (buf_len(&o->lines)) {
        ssize_t n = write(STDOUT_FILENO, buf_data(&o->lines), buf_len(&o->lines));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            ship_result_set(&r, SHIP_RETRY, "cannot write: %s", strerror(errno));
            break;
        }
        buf_consume(&o->lines, (size_t)n);
    }
    o->batch = NULL;
    t->answer(t->owner, b, &r);
}

static void stdout_close(struct target *t)
{
    struct target_stdout *o = container_of(t, struct target_stdout, target);

    buf_free(&o->lines);
    free(o);
}

int target_stdout_open(const struct ship_settings *settings, struct target **ret, struct err *e)
{
    static const struct target_ops ops = {stdout_send, stdout_room, stdout_run, stdout_close};
    struct target_stdout *o = xcalloc(1, sizeof(*o));

    (void)settings;
    (void)e;
    o->target.ops = &ops;
    *ret = &o->target;
    return 0;
}
