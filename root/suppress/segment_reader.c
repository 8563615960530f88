/*
 * Segments from the disk; see segment_reader.h. Called in the thread pool by the load, by compaction
 * and by export. A window of the file is kept in memory and refilled when less than a whole record
 * may be left in it. Where no record begins, the next one is looked for at each multiple of
 * RECORD_ALIGN.
 */
#include "segment_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum { WINDOW = 1024 * 1024 };

static int fill(struct segment_reader *r)
{
    while (!r->at_end && buf_len(&r->window) < RECORD_MAX) {
        char *to = buf_reserve(&r->window, WINDOW);
        ssize_t n = pread(r->fd, to, WINDOW, (off_t)(r->offset + buf_len(&r->window)));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        r->at_end = n == 0;
        buf_advance(&r->window, (size_t)n);
    }
    return 0;
}

static void skip(struct segment_reader *r, size_t bytes)
{
    buf_consume(&r->window, bytes);
    r->offset += bytes;
}

static int open_segment(struct segment_reader *r, int dirfd, uint32_t number, uint64_t from)
{
    char name[SEGMENT_NAME_SIZE], header[FORMAT_HEADER_BYTES];

    r->fd = openat(dirfd, segment_file_name(number, name), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (r->fd < 0)
        return errno == ENOENT ? ERR_NOT_FOUND : -errno;
    ssize_t n = pread(r->fd, header, sizeof(header), 0);
    if (n < 0)
        return -errno;
    int code = segment_header_decode(sv(header, (size_t)n), &r->header);
    if (code == 0 && r->header.number != number)
        code = ERR_CORRUPT;
    r->offset = MAX_OF(from, (uint64_t)FORMAT_HEADER_BYTES);
    posix_fadvise(r->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    return code;
}

int segment_reader_open(struct segment_reader *r, int dirfd, uint32_t number, uint64_t from)
{
    *r = (struct segment_reader){.fd = -1};
    int code = open_segment(r, dirfd, number, from);
    if (code < 0)
        segment_reader_close(r);
    return code;
}

void segment_reader_close(struct segment_reader *r)
{
    if (r->fd >= 0)
        close(r->fd);
    r->fd = -1;
    buf_free(&r->window);
}

int segment_reader_next(struct segment_reader *r, struct record *ret, uint64_t *ret_offset,
                        uint64_t *ret_bytes)
{
    uint64_t bad = 0;
    int len = 0;

    skip(r, r->out);
    r->out = 0;
    for (;;) {
        int code = fill(r);
        if (code < 0)
            return code;
        if (buf_len(&r->window) == 0 ||
            (len = record_decode(buf_view(&r->window), r->header.tag, ret)) > 0)
            break;
        size_t step = MIN_OF(buf_len(&r->window), (size_t)RECORD_ALIGN);
        skip(r, step);
        bad += step;
    }
    *ret_offset = r->offset - bad;
    *ret_bytes = bad;
    if (bad)
        return SEGMENT_DAMAGE;
    if (buf_len(&r->window) == 0)
        return SEGMENT_END;
    *ret_bytes = r->out = (size_t)len;
    return SEGMENT_RECORD;
}

struct strview segment_reader_bytes(const struct segment_reader *r)
{
    return sv(buf_data(&r->window), r->out);
}
