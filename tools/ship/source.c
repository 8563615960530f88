/*
 * The bytes of one accounting file; see source.h. stream.c owns one per pipe. The file stays open
 * while it is read: that it is renamed, compressed or deleted meanwhile changes nothing.
 */
#include "source.h"

#include "base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

enum { INPUT_BYTES = 128 * 1024, SKIP_BYTES = 64 * 1024, RATIO_GUESS = 10 };

struct source {
    int fd;
    enum file_form form;
    uint64_t offset; /* of what is read next, uncompressed */
    /* compressed files only */
    uint64_t taken; /* compressed bytes read from the file */
    unsigned char *input;
    size_t input_at, input_len;
    bool file_ended; /* all compressed bytes were read; finished files do not grow */
    bool stream_ended;
    z_stream zlib;
    ZSTD_DCtx *zstd;
};

int source_open(int dirfd, const char *name, enum file_form form, struct source **ret,
                struct err *e)
{
    int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0)
        return err_set(e, -errno, "cannot open accounting file '%s'", name);
    struct source *s = xcalloc(1, sizeof(*s));
    s->fd = fd;
    s->form = form;
    if (form != FORM_PLAIN)
        s->input = xmalloc(INPUT_BYTES);
    if (form == FORM_GZIP)
        BUG_ON(inflateInit2(&s->zlib, 15 + 16) != Z_OK);
    if (form == FORM_ZSTD) {
        s->zstd = ZSTD_createDCtx();
        BUG_ON(!s->zstd);
    }
    *ret = s;
    return 0;
}

void source_close(struct source *s)
{
    if (!s)
        return;
    if (s->form == FORM_GZIP)
        inflateEnd(&s->zlib);
    ZSTD_freeDCtx(s->zstd);
    close(s->fd);
    free(s->input);
    free(s);
}

static ssize_t read_file(struct source *s, void *room, size_t len, uint64_t at)
{
    ssize_t n;

    do
        n = pread(s->fd, room, len, (off_t)at);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static int refill(struct source *s)
{
    if (s->input_at < s->input_len || s->file_ended)
        return 0;
    ssize_t n = read_file(s, s->input, INPUT_BYTES, s->taken);
    if (n < 0)
        return (int)n;
    s->input_at = 0;
    s->input_len = (size_t)n;
    s->taken += (size_t)n;
    s->file_ended = n == 0;
    return 0;
}

static ssize_t inflate_some(struct source *s, char *room, size_t len)
{
    z_stream *z = &s->zlib;

    z->next_in = s->input + s->input_at;
    z->avail_in = (unsigned)(s->input_len - s->input_at);
    z->next_out = (unsigned char *)room;
    z->avail_out = (unsigned)MIN_OF(len, (size_t)1 << 30);
    unsigned wanted = z->avail_out;
    int r = inflate(z, Z_NO_FLUSH);
    s->input_at = s->input_len - z->avail_in;
    if (r == Z_STREAM_END) /* another member may follow */
        s->stream_ended = inflateReset(z) == Z_OK;
    else if (r != Z_OK && r != Z_BUF_ERROR)
        return ERR_CORRUPT;
    else if (wanted != z->avail_out)
        s->stream_ended = false;
    return (ssize_t)(wanted - z->avail_out);
}

static ssize_t unzstd_some(struct source *s, char *room, size_t len)
{
    ZSTD_inBuffer in = {s->input, s->input_len, s->input_at};
    ZSTD_outBuffer out = {room, len, 0};
    size_t r = ZSTD_decompressStream(s->zstd, &out, &in);

    if (ZSTD_isError(r))
        return ERR_CORRUPT;
    s->input_at = in.pos;
    s->stream_ended = r == 0;
    return (ssize_t)out.pos;
}

static ssize_t read_compressed(struct source *s, char *room, size_t len)
{
    for (;;) {
        int rc = refill(s);
        if (rc < 0)
            return rc;
        bool dry = s->input_at == s->input_len;
        ssize_t n = s->form == FORM_GZIP ? inflate_some(s, room, len) : unzstd_some(s, room, len);
        if (n != 0)
            return n;
        if (dry && s->file_ended) /* cut in the middle: compression writes files whole */
            return s->stream_ended ? 0 : ERR_CORRUPT;
    }
}

ssize_t source_read(struct source *s, char *room, size_t len)
{
    ssize_t n =
        s->form == FORM_PLAIN ? read_file(s, room, len, s->offset) : read_compressed(s, room, len);
    if (n > 0)
        s->offset += (size_t)n;
    return n;
}

static int rewind_compressed(struct source *s)
{
    s->offset = s->taken = 0;
    s->input_at = s->input_len = 0;
    s->file_ended = s->stream_ended = false;
    if (s->form == FORM_GZIP)
        return inflateReset(&s->zlib) == Z_OK ? 0 : ERR_CORRUPT;
    return ZSTD_isError(ZSTD_DCtx_reset(s->zstd, ZSTD_reset_session_only)) ? ERR_CORRUPT : 0;
}

int source_seek(struct source *s, uint64_t offset)
{
    struct stat st;
    int rc = 0;

    if (s->form == FORM_PLAIN) {
        if (fstat(s->fd, &st) < 0)
            return -errno;
        if ((uint64_t)st.st_size < offset)
            return ERR_NOT_FOUND;
        s->offset = offset;
        return 0;
    }
    if (offset < s->offset && (rc = rewind_compressed(s)) < 0)
        return rc;
    char *room = xmalloc(SKIP_BYTES);
    while (rc == 0 && s->offset < offset) {
        ssize_t n = source_read(s, room, MIN_OF((uint64_t)SKIP_BYTES, offset - s->offset));
        rc = n < 0 ? (int)n : n == 0 ? ERR_NOT_FOUND : 0;
    }
    free(room);
    return rc;
}

uint64_t source_offset(const struct source *s)
{
    return s->offset;
}

enum file_form source_form(const struct source *s)
{
    return s->form;
}

uint64_t source_left(struct source *s)
{
    struct stat st;

    if (fstat(s->fd, &st) < 0)
        return 0;
    uint64_t size = (uint64_t)st.st_size;
    if (s->form == FORM_PLAIN)
        return size > s->offset ? size - s->offset : 0;
    uint64_t left = size > s->taken ? size - s->taken : 0;
    left += s->input_len - s->input_at;
    return s->taken && s->offset ? (uint64_t)((double)left * (double)s->offset / (double)s->taken)
                                 : left * RATIO_GUESS;
}

bool source_stat(const struct source *s, uint64_t *ret_size, int64_t *ret_mtime_ms,
                 uint64_t *ret_inode)
{
    struct stat st;

    if (fstat(s->fd, &st) < 0)
        return false;
    *ret_size = (uint64_t)st.st_size;
    *ret_mtime_ms = (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
    *ret_inode = (uint64_t)st.st_ino;
    return true;
}
