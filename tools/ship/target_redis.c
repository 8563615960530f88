/*
 * Redis Streams: a batch is one transaction of XADDs, so that it is in the stream whole, in order, or
 * not at all. hiredis makes and reads the protocol; the connection is ours (wire.c), because
 * Debian's hiredis has no TLS.
 *
 * One connection, one batch at a time. Whatever goes wrong closes it, and the batch is sent again; a
 * transaction whose answer was lost is then in the stream twice, with the same ids.
 */
#include "target.h"
#include "wire.h"

#include "base/clock.h"

#include <hiredis/hiredis.h>
#include <stdio.h>

enum { READ_BYTES = 64 * 1024, WRITE_BYTES = 256 * 1024, NUMBER_SIZE = 24 };

struct target_redis {
    struct target target;
    struct batch *batch; /* NULL: none */
    struct wire *wire;
    redisReader *reader;
    struct buf out;
    int64_t deadline_ms;
};

static struct target_redis *redis_of(struct target *t)
{
    return container_of(t, struct target_redis, target);
}

static void disconnect(struct target_redis *r)
{
    wire_close(r->wire);
    r->wire = NULL;
    if (r->reader)
        redisReaderFree(r->reader);
    r->reader = NULL;
}

static void add_command(struct target_redis *r, int argc, const char **argv, const size_t *len)
{
    char *text = NULL;
    long long n = redisFormatCommandArgv(&text, argc, argv, len);

    BUG_ON(n < 0);
    buf_append(&r->out, text, (size_t)n);
    redisFreeCommand(text);
}

static void add_words(struct target_redis *r, int argc, const char **argv)
{
    size_t len[4];

    for (int i = 0; i < argc; i++)
        len[i] = strlen(argv[i]);
    add_command(r, argc, argv, len);
}

static int flush(struct target_redis *r, struct err *e)
{
    int rc = wire_write(r->wire, buf_view(&r->out), r->deadline_ms, e);

    buf_reset(&r->out);
    return rc;
}

/* The next reply; the caller's (freeReplyObject). */
static int read_reply(struct target_redis *r, redisReply **ret, struct err *e)
{
    char room[READ_BYTES];
    void *reply = NULL;

    for (;;) {
        if (redisReaderGetReply(r->reader, &reply) != REDIS_OK)
            return err_set(e, ERR_PROTOCOL, "the answer is not Redis's protocol");
        if (reply) {
            *ret = reply;
            return 0;
        }
        ssize_t n = wire_read(r->wire, room, sizeof(room), r->deadline_ms, e);
        if (n < 0)
            return (int)n;
        if (redisReaderFeed(r->reader, room, (size_t)n) != REDIS_OK)
            return err_set(e, ERR_PROTOCOL, "the answer is not Redis's protocol");
    }
}

/* A reply that only has to be no error. */
static int read_ok(struct target_redis *r, const char *what, struct err *e)
{
    redisReply *reply;
    int rc = read_reply(r, &reply, e);

    if (rc < 0)
        return rc;
    if (reply->type == REDIS_REPLY_ERROR)
        rc = err_set(e, ERR_PROTOCOL, "%s: %.200s", what, reply->str);
    freeReplyObject(reply);
    return rc;
}

/* --- connecting --- */

static int log_in(struct target_redis *r, struct err *e)
{
    const struct ship_settings *s = r->target.settings;
    char number[NUMBER_SIZE];
    int rc = 0;

    if (s->password) {
        if (s->login)
            add_words(r, 3, (const char *[]){"AUTH", s->login, s->password});
        else
            add_words(r, 2, (const char *[]){"AUTH", s->password});
        if ((rc = flush(r, e)) < 0 || (rc = read_ok(r, "AUTH", e)) < 0)
            return rc;
    }
    if (s->redis_database) {
        snprintf(number, sizeof(number), "%lld", (long long)s->redis_database);
        add_words(r, 2, (const char *[]){"SELECT", number});
        if ((rc = flush(r, e)) < 0 || (rc = read_ok(r, "SELECT", e)) < 0)
            return rc;
    }
    /* it says now what it would say to the first large batch by closing the connection: NOAUTH,
     * LOADING */
    add_words(r, 1, (const char *[]){"PING"});
    rc = flush(r, e);
    return rc < 0 ? rc : read_ok(r, "PING", e);
}

static int connect_it(struct target_redis *r, int wake_fd, struct err *e)
{
    const struct ship_settings *s = r->target.settings;
    struct wire_options o = {
        .host = s->to.host,
        .port = s->to.port,
        .tls = s->to.tls,
        .verify = s->verify,
        .ca = buf_view(&s->ca),
        .wake_fd = wake_fd,
    };
    int rc = wire_open(&o, r->deadline_ms, &r->wire, e);

    if (rc < 0)
        return rc;
    r->reader = redisReaderCreate();
    BUG_ON(!r->reader);
    buf_reset(&r->out);
    return log_in(r, e);
}

/* --- batches --- */

static void add_record(struct target_redis *r, const struct batch *b, size_t i, const char *length)
{
    const struct ship_settings *s = r->target.settings;
    struct strview id = batch_id(b, i), record = batch_object(b, i);
    const char *argv[16];
    size_t len[16];
    int n = 0;

#define WORD(text, bytes) (argv[n] = (text), len[n] = (bytes), n++)
    WORD("XADD", 4);
    WORD(s->to.name, strlen(s->to.name));
    if (s->redis_max_length) {
        WORD("MAXLEN", 6);
        WORD("~", 1);
        WORD(length, strlen(length));
    }
    WORD("*", 1);
    WORD("id", 2);
    WORD(id.ptr, id.len);
    WORD("pipe", 4);
    WORD(b->stream->pipe, strlen(b->stream->pipe));
    WORD("host", 4);
    WORD(s->host, strlen(s->host));
    WORD("record", 6);
    WORD(record.ptr, record.len);
#undef WORD
    add_command(r, n, argv, len);
}

/* MULTI and the XADDs are answered with OK and QUEUED; EXEC with one id per XADD, or an error. */
static int read_exec(struct target_redis *r, size_t records, struct err *e)
{
    redisReply *reply;
    int rc = read_reply(r, &reply, e);

    if (rc < 0)
        return rc;
    if (reply->type == REDIS_REPLY_ERROR)
        rc = err_set(e, ERR_PROTOCOL, "%.200s", reply->str);
    else if (reply->type != REDIS_REPLY_ARRAY || reply->elements != records)
        rc = err_set(e, ERR_PROTOCOL, "EXEC: not the answer that was expected");
    for (size_t i = 0; rc == 0 && i < records; i++)
        if (reply->element[i]->type == REDIS_REPLY_ERROR)
            rc = err_set(e, ERR_PROTOCOL, "XADD: %.200s", reply->element[i]->str);
    freeReplyObject(reply);
    return rc;
}

static int send_batch(struct target_redis *r, const struct batch *b, struct err *e)
{
    size_t records = b->to - b->from;
    struct err first = {0}, more;
    char length[NUMBER_SIZE];
    int rc = 0;

    snprintf(length, sizeof(length), "%lld", (long long)r->target.settings->redis_max_length);
    add_words(r, 1, (const char *[]){"MULTI"});
    for (size_t i = b->from; rc == 0 && i < b->to; i++) {
        add_record(r, b, i, length);
        if (buf_len(&r->out) >= WRITE_BYTES)
            rc = flush(r, e);
    }
    add_words(r, 1, (const char *[]){"EXEC"});
    if (rc == 0)
        rc = flush(r, e);
    /* what refuses a command says why; EXEC then only says that it was aborted */
    for (size_t i = 0; rc == 0 && i <= records; i++) {
        int one = read_ok(r, i ? "XADD" : "MULTI", &more);
        if (one < 0 && !first.code)
            first = more;
        rc = one == ERR_PROTOCOL && r->reader->err == 0 ? 0 : one;
        if (rc < 0)
            *e = more;
    }
    if (rc == 0)
        rc = read_exec(r, records, e);
    if (rc < 0 && first.code)
        *e = first;
    return rc;
}

static void redis_send(struct target *t, struct batch *b)
{
    redis_of(t)->batch = b;
}

static bool redis_room(const struct target *t)
{
    return !container_of(t, struct target_redis, target)->batch;
}

static void redis_run(struct target *t, int timeout_ms, int wake_fd)
{
    struct target_redis *r = redis_of(t);
    struct batch *b = r->batch;
    struct ship_result result = {.outcome = SHIP_DELIVERED};
    struct err e = {0};
    int rc = 0;

    if (!b) {
        target_wait(timeout_ms, wake_fd);
        return;
    }
    r->deadline_ms = clock_mono_ms() + t->settings->timeout_ms;
    if (!r->wire)
        rc = connect_it(r, wake_fd, &e);
    if (rc == 0)
        rc = send_batch(r, b, &e);
    if (rc < 0) {
        disconnect(r);
        ship_result_set(&result, SHIP_RETRY, "redis: %s", e.text);
    }
    r->batch = NULL;
    t->answer(t->owner, b, &result);
}

static void redis_close(struct target *t)
{
    struct target_redis *r = redis_of(t);

    disconnect(r);
    buf_free(&r->out);
    free(r);
}

int target_redis_open(const struct ship_settings *settings, struct target **ret, struct err *e)
{
    static const struct target_ops ops = {redis_send, redis_room, redis_run, redis_close};
    struct target_redis *r = xcalloc(1, sizeof(*r));

    (void)settings;
    (void)e;
    r->target.ops = &ops;
    *ret = &r->target;
    return 0;
}
