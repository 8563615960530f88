/*
 * The end of an accounting file; see acct_tail.h. Called at the start and at reloads, for the file that
 * is gone on with and for those before it.
 */
#include "report/acct_tail.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    TAIL_BYTES = 256 * 1024,
    HEADER_BYTES = 16 * 1024, /* a header line with all columns */
};

/* Text of CSV column `at` of a line; quotes are looked through, not taken off. */
static struct strview csv_column(struct strview line, size_t at)
{
    bool quoted = false;
    size_t begin = 0;

    for (size_t i = 0; i <= line.len; i++) {
        if (i < line.len && line.ptr[i] == '"')
            quoted = !quoted;
        if (i < line.len && (quoted || line.ptr[i] != ','))
            continue;
        if (at-- == 0)
            return sv(line.ptr + begin, i - begin);
        begin = i + 1;
    }
    return sv(NULL, 0);
}

static struct strview json_member(struct strview line, const char *key)
{
    const char *at = memmem(line.ptr, line.len, key, strlen(key));

    if (!at)
        return sv(NULL, 0);
    at += strlen(key);
    const char *end = memchr(at, '"', line.len - (size_t)(at - line.ptr));
    return end ? sv(at, (size_t)(end - at)) : sv(NULL, 0);
}

static ptrdiff_t column_of(struct strview header, struct strview name)
{
    struct strview rest = header, word;

    for (ptrdiff_t i = 0; sv_split(&rest, ',', &word); i++)
        if (sv_eq_nocase(sv_trim(word), name))
            return i;
    return -1;
}

static message_id received_id(const struct acct_tail *t, bool grown, struct strview line)
{
    struct strview id;
    message_id n = 0;

    line = sv_trim(line);
    if (t->json) {
        if (!sv_eq(json_member(line, "\"type\":\""), SV("r")))
            return 0;
        id = json_member(line, "\"msgId\":\"");
    } else {
        if (t->type_at < 0 || t->id_at < 0 || !sv_eq(csv_column(line, (size_t)t->type_at), SV("r")))
            return 0;
        id = csv_column(line, (size_t)t->id_at);
        if (grown) /* a file that grows with the versions: the last one, wherever that is */
            for (ptrdiff_t at = 0; (at = sv_find(line, ',')) >= 0; id = line)
                line = sv(line.ptr + at + 1, line.len - (size_t)at - 1);
    }
    ptrdiff_t dot = id.len ? sv_find(id, '.') : -1;
    return dot > 0 && message_id_parse(sv(id.ptr, (size_t)dot), &n) ? n : 0;
}

/* By its own first line: columns may have changed since. */
static int read_shape(int fd, struct acct_tail *t, size_t *ret_header)
{
    char head[HEADER_BYTES];
    ssize_t n = pread(fd, head, sizeof(head), 0);

    if (n < 0)
        return -errno;
    t->json = n > 0 && head[0] == '{';
    const char *end = n > 0 && !t->json ? memchr(head, '\n', (size_t)n) : NULL;
    struct strview line = sv(head, end ? (size_t)(end - head) : 0);
    t->type_at = column_of(line, SV("type"));
    t->id_at = column_of(line, SV("msgId"));
    *ret_header = end ? line.len + 1 : 0;
    return 0;
}

int acct_tail_scan(int dirfd, const char *name, bool grown, struct acct_tail *t)
{
    int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct buf b = {0};
    struct stat st;
    size_t header;
    ssize_t n = 0;

    *t = (struct acct_tail){0};
    if (fd < 0)
        return -errno;
    int status = fstat(fd, &st) < 0 ? -errno : read_shape(fd, t, &header);
    if (status == 0) {
        off_t from = MAX_OF((off_t)header, st.st_size - TAIL_BYTES);
        n = pread(fd, buf_reserve(&b, TAIL_BYTES), TAIL_BYTES, from);
        status = n < 0 ? -errno : 0;
        t->mtime_ms = (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
    }
    close(fd);
    if (n > 0)
        buf_advance(&b, (size_t)n);
    struct strview rest = buf_view(&b), line;
    t->has_records = rest.len > 0;
    t->torn = rest.len && rest.ptr[rest.len - 1] != '\n';
    while (rest.len && sv_split(&rest, '\n', &line)) {
        /* the last part is no whole line */
        message_id m = rest.ptr ? received_id(t, grown, line) : 0;
        t->newest = MAX_OF(t->newest, m);
    }
    buf_free(&b);
    return status;
}
