/*
 * Writing a large message; see body_file.h. Called by session.c. A short write goes on where it
 * stopped. The file is freed in release(), when it is closed and no write is under way.
 */
#include "body_file.h"

#include <unistd.h>

struct body_file {
    uv_loop_t *loop;
    uv_fs_t write;
    struct buf piece;
    int64_t offset;
    int fd;
    bool busy, closed;
    void (*done)(void *owner, int status);
    void *owner;
};

struct body_file *body_file_new(uv_loop_t *loop, int fd, void (*done)(void *owner, int status),
                                void *owner)
{
    struct body_file *f = xcalloc(1, sizeof(*f));
    f->loop = loop;
    f->fd = fd;
    f->done = done;
    f->owner = owner;
    return f;
}

static void release(struct body_file *f)
{
    close(f->fd);
    buf_free(&f->piece);
    free(f);
}

static void on_written(uv_fs_t *req);

static void write_more(struct body_file *f)
{
    uv_buf_t b = uv_buf_init(buf_data(&f->piece), (unsigned)buf_len(&f->piece));
    f->write.data = f;
    f->busy = true;
    int status = uv_fs_write(f->loop, &f->write, f->fd, &b, 1, f->offset, on_written);
    BUG_ON(status < 0); /* with a callback it fails for wrong arguments only */
}

static void on_written(uv_fs_t *req)
{
    struct body_file *f = req->data;
    ssize_t n = req->result;

    uv_fs_req_cleanup(req);
    f->busy = false;
    if (f->closed) {
        release(f);
        return;
    }
    if (n > 0) {
        f->offset += n;
        buf_consume(&f->piece, (size_t)n);
    }
    if (n > 0 && buf_len(&f->piece) > 0) {
        write_more(f);
        return;
    }
    bool failed = n < 0 || (n == 0 && buf_len(&f->piece) > 0);
    buf_free(&f->piece);
    f->done(f->owner, !failed ? 0 : n < 0 ? (int)n : UV_EIO);
}

void body_file_write(struct body_file *f, struct buf *piece)
{
    BUG_ON(f->busy || f->closed);
    f->piece = *piece;
    *piece = (struct buf){0};
    write_more(f);
}

int body_file_fd(const struct body_file *f)
{
    return f->fd;
}

bool body_file_busy(const struct body_file *f)
{
    return f && f->busy;
}

void body_file_close(struct body_file *f)
{
    if (!f)
        return;
    f->closed = true;
    if (!f->busy)
        release(f);
}
