/*
 * Reading log files; see log_reader.h. Called by logs.c. The name's ending says how a file is
 * compressed. What can go wrong: it cannot be opened or read, or it is no gzip or zstd file.
 */
#include "log_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

enum { CHUNK = 64 * 1024, LINE_MAX_BYTES = 1024 * 1024 };

int log_reader_open(struct log_reader *r, const char *path, struct err *e)
{
    struct stat st;

    *r = (struct log_reader){.fd = open(path, O_RDONLY | O_CLOEXEC)};
    if (r->fd < 0 || fstat(r->fd, &st) < 0) {
        int code = err_set(e, -errno, "cannot read '%s': %s", path, strerror(errno));
        log_reader_close(r);
        return code;
    }
    r->device = st.st_dev;
    r->inode = st.st_ino;
    if (sv_ends_nocase(sv_of(path), SV(".gz"))) {
        int copy = fcntl(r->fd, F_DUPFD_CLOEXEC, 0);
        r->gzip = copy < 0 ? NULL : gzdopen(copy, "rb");
        if (!r->gzip)
            return err_set(e, -ENOMEM, "cannot read '%s'", path);
    } else if (sv_ends_nocase(sv_of(path), SV(".zst"))) {
        r->zstd = ZSTD_createDStream();
    }
    return 0;
}

void log_reader_close(struct log_reader *r)
{
    if (r->gzip)
        gzclose(r->gzip);
    ZSTD_freeDStream(r->zstd);
    if (r->fd >= 0)
        close(r->fd);
    buf_free(&r->in);
    buf_free(&r->packed);
    *r = (struct log_reader){.fd = -1};
}

static ssize_t read_some(int fd, struct buf *to)
{
    ssize_t n;

    do
        n = read(fd, buf_reserve(to, CHUNK), CHUNK);
    while (n < 0 && errno == EINTR);
    if (n > 0)
        buf_advance(to, (size_t)n);
    return n < 0 ? -errno : n;
}

static ssize_t fill_zstd(struct log_reader *r, struct err *e)
{
    char *to = buf_reserve(&r->in, CHUNK);
    ZSTD_outBuffer out = {to, CHUNK, 0};

    while (out.pos == 0) {
        ssize_t n = buf_len(&r->packed) ? 1 : read_some(r->fd, &r->packed);
        if (n <= 0)
            return n;
        ZSTD_inBuffer in = {buf_data(&r->packed), buf_len(&r->packed), 0};
        size_t code = ZSTD_decompressStream(r->zstd, &out, &in);
        buf_consume(&r->packed, in.pos);
        if (ZSTD_isError(code))
            return err_set(e, ERR_CORRUPT, "%s", ZSTD_getErrorName(code));
    }
    buf_advance(&r->in, out.pos);
    return (ssize_t)out.pos;
}

/* Bytes read, 0 at the end, or negative. */
static ssize_t fill(struct log_reader *r, struct err *e)
{
    int code = 0;

    if (r->zstd)
        return fill_zstd(r, e);
    if (r->gzip) {
        int n = gzread(r->gzip, buf_reserve(&r->in, CHUNK), CHUNK);
        if (n < 0)
            return err_set(e, ERR_CORRUPT, "%s", gzerror(r->gzip, &code));
        buf_advance(&r->in, (size_t)n);
        return n;
    }
    ssize_t n = read_some(r->fd, &r->in);
    return n < 0 ? err_set(e, (int)n, "%s", strerror((int)-n)) : n;
}

int log_reader_line(struct log_reader *r, struct strview *ret, struct err *e)
{
    buf_consume(&r->in, r->line);
    r->line = 0;
    for (;;) {
        struct strview all = buf_view(&r->in);
        ptrdiff_t at = sv_find(sv(all.ptr + r->scanned, all.len - r->scanned), '\n');
        if (at >= 0 || all.len >= LINE_MAX_BYTES) {
            size_t len = at >= 0 ? r->scanned + (size_t)at : all.len;
            *ret = sv(all.ptr, len);
            r->line = len + (at >= 0);
            r->scanned = 0;
            return 1;
        }
        r->scanned = all.len;
        ssize_t n = fill(r, e);
        if (n <= 0)
            return (int)n;
    }
}

int log_reader_tail(struct log_reader *r, uint64_t lines, struct err *e)
{
    struct stat st;
    char chunk[CHUNK];

    if (fstat(r->fd, &st) < 0)
        return err_set(e, -errno, "%s", strerror(errno));
    off_t at = st.st_size;
    uint64_t seen = 0;
    while (at > 0) {
        size_t want = (size_t)MIN_OF(at, (off_t)sizeof(chunk));
        ssize_t n = pread(r->fd, chunk, want, at - (off_t)want);
        if (n != (ssize_t)want)
            break;
        for (size_t i = want; i-- > 0;) {
            if (chunk[i] != '\n' || seen++ < lines)
                continue;
            at = at - (off_t)want + (off_t)i + 1;
            return lseek(r->fd, at, SEEK_SET) < 0 ? err_set(e, -errno, "%s", strerror(errno)) : 0;
        }
        at -= (off_t)want;
    }
    return lseek(r->fd, 0, SEEK_SET) < 0 ? err_set(e, -errno, "%s", strerror(errno)) : 0;
}

void log_reader_check_truncated(struct log_reader *r)
{
    struct stat st;

    if (fstat(r->fd, &st) < 0 || st.st_size >= lseek(r->fd, 0, SEEK_CUR))
        return;
    lseek(r->fd, 0, SEEK_SET);
    buf_reset(&r->in);
    r->line = r->scanned = 0;
}
