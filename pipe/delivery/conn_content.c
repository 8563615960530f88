/*
 * Content of messages between the job, the reader of its file (content.c) and the stream. Called by
 * the client of the connection, once per message.
 *
 * What lies in memory is written by reference: the job is held until the kernel has taken it. A file
 * is read in chunks, the next one when the stream is not congested. A reader that fails tells the
 * client; one that is stopped may still have a read in the thread pool, so `readers` counts those
 * that are not gone, and the connection waits for them before it ends.
 */
#include "pipe/delivery/conn_content.h"

#include "pipe/delivery/conn_hear.h"

static void on_written(void *arg)
{
    struct smtp_job *j = arg;
    struct delivery_conn *c = container_of(j->client, struct delivery_conn, client);

    smtp_job_unhold(j);
    if (c->client.again)
        conn_schedule(c);
}

static void put_ref(struct delivery_conn *c, struct smtp_job *j, struct strview s)
{
    if (s.len == 0)
        return;
    c->queued_bytes += s.len;
    smtp_job_hold(j);
    stream_write_ref(c->stream, s.ptr, s.len, on_written, j);
}

static void on_chunk(void *owner, void *chunk, const char *data, size_t len)
{
    struct delivery_conn *c = owner;

    c->queued_bytes += len;
    stream_write_ref(c->stream, data, len, content_chunk_release, chunk);
    stream_flush(c->stream);
    smtp_client_touch(&c->client);
    if (!stream_congested(c->stream))
        content_read(c->content);
}

static void on_done(void *owner, bool ends_with_crlf)
{
    struct delivery_conn *c = owner;

    conn_content_stop(c);
    smtp_client_content_done(&c->client, ends_with_crlf);
    conn_settle(c);
}

static void on_failed(void *owner, int status)
{
    struct delivery_conn *c = owner;
    smtp_client_content_failed(&c->client, status);
    conn_rearm(c);
}

static void on_released(void *owner, struct smtp_job *job)
{
    struct delivery_conn *c = owner;

    smtp_job_unhold(job);
    c->readers--;
    conn_after_close(c);
}

static const struct content_ops content_callbacks = {
    .chunk = on_chunk,
    .done = on_done,
    .failed = on_failed,
    .released = on_released,
};

bool conn_content_put(void *conn, struct smtp_job *j)
{
    struct delivery_conn *c = conn;

    CONN_NOTE(
        c, "content of %llu bytes%s, not shown",
        (unsigned long long)(j->job.content_fd >= 0 ? j->job.content_bytes : j->job.content.len),
        j->job.prefix.len ? " behind signatures" : "");
    put_ref(c, j, j->job.prefix);
    if (j->job.content_fd < 0 || j->job.content_bytes == 0) {
        put_ref(c, j, j->job.content);
        return true;
    }
    c->content = content_open(c->d->loop, j, &content_callbacks, c);
    c->readers++;
    content_read(c->content);
    return false;
}

void conn_content_resume(struct delivery_conn *c)
{
    if (c->content)
        content_read(c->content);
}

void conn_content_stop(struct delivery_conn *c)
{
    content_close(c->content);
    c->content = NULL;
}
