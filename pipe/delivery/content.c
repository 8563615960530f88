/*
 * Content that lies in a file, read in the thread pool in chunks. The reader and each chunk that
 * the stream still holds count as one user of the job. A short file is an error: half a message is
 * never ended with a dot.
 */
#include "pipe/delivery/delivery_impl.h"

struct content_reader {
    uv_fs_t req;
    uv_loop_t *loop;
    struct smtp_job *job;
    const struct content_ops *ops;
    void *owner;
    struct content_chunk *chunk; /* being read into */
    uint64_t offset;
    uint64_t left;
    char last[2]; /* bytes of the content */
    bool busy;
    bool closed;
};

struct content_chunk {
    struct smtp_job *job;
    char data[CONTENT_CHUNK_BYTES];
};

struct content_reader *content_open(uv_loop_t *loop, struct smtp_job *job,
                                    const struct content_ops *ops, void *owner)
{
    struct content_reader *r = xcalloc(1, sizeof(*r));

    r->loop = loop;
    r->job = job;
    r->ops = ops;
    r->owner = owner;
    r->offset = job->job.content_offset;
    r->left = job->job.content_bytes;
    r->req.data = r;
    smtp_job_hold(job);
    return r;
}

void content_chunk_release(void *arg)
{
    struct content_chunk *chunk = arg;
    smtp_job_unhold(chunk->job);
    free(chunk);
}

static void release(struct content_reader *r)
{
    free(r->chunk);
    r->ops->released(r->owner, r->job);
    free(r);
}

void content_close(struct content_reader *r)
{
    if (!r || r->closed)
        return;
    r->closed = true;
    if (!r->busy)
        release(r);
}

static void hand_over(struct content_reader *r, size_t len)
{
    struct content_chunk *chunk = r->chunk;

    for (size_t i = len > 2 ? len - 2 : 0; i < len; i++) {
        r->last[0] = r->last[1];
        r->last[1] = chunk->data[i];
    }
    r->chunk = NULL;
    r->offset += len;
    r->left -= len;
    smtp_job_hold(r->job);
    r->ops->chunk(r->owner, chunk, chunk->data, len);
    if (r->left == 0)
        r->ops->done(r->owner, r->last[0] == '\r' && r->last[1] == '\n');
}

static void on_read(uv_fs_t *req)
{
    struct content_reader *r = req->data;
    ssize_t n = req->result;

    uv_fs_req_cleanup(req);
    r->busy = false;
    if (r->closed)
        release(r);
    else if (n <= 0)
        r->ops->failed(r->owner, n < 0 ? (int)n : ERR_CORRUPT);
    else
        hand_over(r, (size_t)n);
}

void content_read(struct content_reader *r)
{
    if (r->busy || r->closed || r->left == 0)
        return;
    if (!r->chunk)
        r->chunk = xmalloc(sizeof(*r->chunk));
    r->chunk->job = r->job;
    uv_buf_t b =
        uv_buf_init(r->chunk->data, (unsigned)MIN_OF(r->left, (uint64_t)CONTENT_CHUNK_BYTES));
    r->busy = true;
    int status =
        uv_fs_read(r->loop, &r->req, r->job->job.content_fd, &b, 1, (int64_t)r->offset, on_read);
    BUG_ON(status < 0); /* only for bad arguments */
}
