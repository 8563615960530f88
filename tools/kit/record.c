/*
 * record: see record.h. Lines are gathered and written 256 KiB at a time; the owner flushes from a
 * timer, on SIGUSR1 and at the end. A write that fails is kept in `failed` and reported by the
 * owner at the end, because a proof with holes is none.
 */
#include "kit/record.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

#define FLUSH_BYTES (256u << 10)

int record_open(struct record *r, const char *path, struct err *e)
{
    r->path = path;
    r->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (r->fd < 0)
        return err_set(e, -errno, "cannot write \"%s\"", path);
    r->open = true;
    buf_append_str(&r->pending, "#message-id\trecipient\tsender\tsize\ttime\n");
    record_flush(r);
    return 0;
}

static void add_clean(struct buf *b, struct strview s)
{
    char *p = buf_reserve(b, s.len + 1);
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        p[i] = c < 0x20 || c == 0x7f ? '?' : (char)c;
    }
    p[s.len] = '\t';
    buf_advance(b, s.len + 1);
}

void record_add(struct record *r, struct strview id, struct strview recipient,
                struct strview sender, uint64_t size, int64_t wall_us)
{
    if (!r->open)
        return;
    add_clean(&r->pending, id);
    add_clean(&r->pending, recipient);
    add_clean(&r->pending, sender);
    buf_printf(&r->pending, "%" PRIu64 "\t%" PRId64 ".%06d\n", size, wall_us / 1000000,
               (int)(wall_us % 1000000));
    if (buf_len(&r->pending) >= FLUSH_BYTES)
        record_flush(r);
}

void record_flush(struct record *r)
{
    while (r->open && buf_len(&r->pending) > 0) {
        ssize_t n = write(r->fd, buf_data(&r->pending), buf_len(&r->pending));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            r->failed = r->failed ? r->failed : -errno;
            buf_reset(&r->pending);
            return;
        }
        buf_consume(&r->pending, (size_t)n);
    }
}

void record_close(struct record *r)
{
    if (!r->open)
        return;
    record_flush(r);
    if (close(r->fd) < 0 && !r->failed)
        r->failed = -errno;
    buf_free(&r->pending);
    r->open = false;
}
