/*
 * Finished accounting files; see finish.h. report.c queues a job when a file is full and at the
 * start; nobody else writes to the directories' files of this set. A file gets its place by rename,
 * whole: compression writes NAME.tmp first. A crash in between leaves the plain file, which the
 * next start finds.
 */
#include "report/finish.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/file.h"
#include "base/str.h"
#include "base/util.h"
#include "mail/acct_hold.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

enum { CHUNK = 256 * 1024, ZSTD_LEVEL = 3, GZIP_LEVEL = 6, FILES_MAX = 100000 };

static const char *const endings[] = {
    [FINISH_PLAIN] = "", [FINISH_GZIP] = ".gz", [FINISH_ZSTD] = ".zst"};

void finish_job_free(struct finish_job *job)
{
    if (!job)
        return;
    if (job->dirfd >= 0)
        close(job->dirfd);
    if (job->move_dirfd >= 0)
        close(job->move_dirfd);
    free(job->sinks);
    free(job);
}

bool finish_is_member(const char *name, const char *prefix, const char *date, int *ret_number)
{
    static const char form[] = "dddd-dd-dd-dddd";
    size_t n = strlen(prefix), i = 0;

    if (strncmp(name, prefix, n) != 0)
        return false;
    for (const char *p = name + n; form[i]; i++)
        if (form[i] == 'd' ? p[i] < '0' || p[i] > '9' : p[i] != form[i])
            return false;
    const char *digits = name + n + strlen("dddd-dd-dd-"), *rest = name + n + i;
    while (*rest >= '0' && *rest <= '9')
        rest++; /* more than 9999 files in a day */
    if (*rest != '.')
        return false;
    *ret_number = date && strncmp(name + n, date, 10) != 0 ? -1 : atoi(digits);
    return true;
}

/* --- compression --- */

struct sink {
    int fd;
    char *room;
    int status;
};

static void put(struct sink *s, const char *data, size_t len)
{
    if (s->status == 0)
        s->status = file_write_all(s->fd, sv(data, len));
}

static void gzip_chunk(z_stream *z, char *in, size_t len, bool last, struct sink *s)
{
    int r = Z_OK;

    z->next_in = (unsigned char *)in;
    z->avail_in = (unsigned)len;
    do {
        z->next_out = (unsigned char *)s->room;
        z->avail_out = CHUNK;
        r = deflate(z, last ? Z_FINISH : Z_NO_FLUSH);
        put(s, s->room, CHUNK - z->avail_out);
    } while (s->status == 0 && (last ? r != Z_STREAM_END : z->avail_out == 0));
}

static void zstd_chunk(ZSTD_CCtx *c, char *in, size_t len, bool last, struct sink *s)
{
    ZSTD_inBuffer from = {in, len, 0};
    size_t left;

    do {
        ZSTD_outBuffer to = {s->room, CHUNK, 0};
        left = ZSTD_compressStream2(c, &to, &from, last ? ZSTD_e_end : ZSTD_e_continue);
        if (ZSTD_isError(left)) {
            s->status = -EIO;
            return;
        }
        put(s, s->room, to.pos);
    } while (s->status == 0 && (last ? left != 0 : from.pos < from.size));
}

static int compress_fd(int in, int out, enum finish_compression how)
{
    struct sink s = {out, xmalloc(CHUNK), 0};
    char *chunk = xmalloc(CHUNK);
    ZSTD_CCtx *zstd = NULL;
    z_stream z = {0};
    ssize_t n = 0;

    if (how == FINISH_ZSTD) {
        zstd = ZSTD_createCCtx();
        BUG_ON(!zstd);
        ZSTD_CCtx_setParameter(zstd, ZSTD_c_compressionLevel, ZSTD_LEVEL);
        ZSTD_CCtx_setParameter(zstd, ZSTD_c_checksumFlag, 1);
    } else {
        BUG_ON(deflateInit2(&z, GZIP_LEVEL, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK);
    }
    do {
        n = read(in, chunk, CHUNK);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            s.status = -errno;
        else if (zstd)
            zstd_chunk(zstd, chunk, (size_t)n, n == 0, &s);
        else
            gzip_chunk(&z, chunk, (size_t)n, n == 0, &s);
    } while (n != 0 && s.status == 0);
    if (zstd)
        ZSTD_freeCCtx(zstd);
    else
        deflateEnd(&z);
    free(s.room);
    free(chunk);
    return s.status;
}

/* in, wherever it is, becomes NAME in the directory, whole; FINISH_PLAIN copies. */
static int write_as(int in, int dirfd, const char *name, enum finish_compression how)
{
    char temporary[FINISH_NAME + 16];
    struct stat st;
    int status = 0;

    snprintf(temporary, sizeof(temporary), "%s.tmp", name);
    if (fstat(in, &st) < 0)
        return -errno;
    int out = openat(dirfd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
                     st.st_mode & 0666);
    if (out < 0)
        return -errno;
    if (how == FINISH_PLAIN) {
        struct sink s = {out, xmalloc(CHUNK), 0};
        ssize_t n;
        while (s.status == 0 && (n = read(in, s.room, CHUNK)) != 0)
            if (n > 0)
                put(&s, s.room, (size_t)n);
            else if (errno != EINTR)
                s.status = -errno;
        free(s.room);
        status = s.status;
    } else {
        status = compress_fd(in, out, how);
    }
    struct timespec times[2] = {st.st_atim, st.st_mtim}; /* its age is that of its records */
    if (status == 0 && (futimens(out, times) < 0 || fdatasync(out) < 0))
        status = -errno;
    close(out);
    if (status == 0 && renameat(dirfd, temporary, dirfd, name) < 0)
        status = -errno;
    if (status < 0)
        unlinkat(dirfd, temporary, 0);
    else
        fsync(dirfd);
    return status;
}

static int place(const struct finish_job *job, const char *name)
{
    char final[FINISH_NAME + 8];
    int to = job->move_dirfd >= 0 ? job->move_dirfd : job->dirfd;

    if (to == job->dirfd && job->compression == FINISH_PLAIN)
        return 0;
    snprintf(final, sizeof(final), "%s%s", name, endings[job->compression]);
    if (job->compression == FINISH_PLAIN) {
        if (renameat(job->dirfd, name, to, final) == 0)
            return 0;
        if (errno != EXDEV)
            return -errno;
    }
    int in = openat(job->dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (in < 0)
        return errno == ENOENT ? 0 : -errno;
    int status = write_as(in, to, final, job->compression);
    close(in);
    FAULT(ACCT_PLACED);
    if (status == 0 && unlinkat(job->dirfd, name, 0) < 0)
        status = -errno;
    FAULT(ACCT_FINISHED);
    return status;
}

/* --- retention --- */

struct member {
    char *name;
    int64_t mtime_ms, bytes;
};

static int by_age(const void *a, const void *b)
{
    const struct member *x = a, *y = b;

    if (x->mtime_ms != y->mtime_ms)
        return x->mtime_ms < y->mtime_ms ? -1 : 1;
    return strcmp(x->name, y->name);
}

static int list_members(int dirfd, const struct finish_job *job, struct member **ret,
                        size_t *ret_count)
{
    struct member *list = NULL;
    size_t count = 0, room = 0;
    struct dirent *entry;
    struct stat st;
    int number, copy = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = copy < 0 ? NULL : fdopendir(copy);

    if (!dir)
        return -errno;
    while ((entry = readdir(dir)) && count < FILES_MAX) {
        if (!finish_is_member(entry->d_name, job->prefix, NULL, &number) ||
            (*job->active && strcmp(entry->d_name, job->active) >= 0) ||
            fstatat(dirfd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
            continue;
        if (count == room) {
            room = room ? room * 2 : 64;
            list = xrealloc(list, room * sizeof(*list));
        }
        list[count++] = (struct member){
            xstrdup(entry->d_name),
            (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000, st.st_size};
    }
    closedir(dir);
    if (count)
        qsort(list, count, sizeof(*list), by_age);
    *ret = list;
    *ret_count = count;
    return 0;
}

static void free_members(struct member *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(list[i].name);
    free(list);
}

/* Some sink has not sent the file whole. One that never said how far it is needs everything. */
static bool is_needed(const struct finish_job *job, const char *name)
{
    struct strview rest = sv_of(job->sinks), sink;
    char label[FINISH_NAME], stem[ACCT_HOLD_NAME];
    bool needed = false;

    snprintf(label, sizeof(label), "%s", job->prefix);
    label[strlen(label) - 1] = '\0'; /* the dash */
    while (!needed && rest.len && sv_split(&rest, ',', &sink)) {
        char *one = xstrndup(sink.ptr, sink.len);
        needed = acct_hold_read(job->dirfd, label, one, stem) < 0 ||
                 !acct_hold_is_before(label, name, stem);
        free(one);
    }
    return needed;
}

static int retain(struct finish_job *job)
{
    int dirfd = job->move_dirfd >= 0 ? job->move_dirfd : job->dirfd;
    int64_t now = clock_wall_ms(), total = 0;
    struct member *list;
    size_t count;
    int status = 0;

    if (!job->delete_after_ms && !job->max_total_bytes)
        return 0;
    if ((status = list_members(dirfd, job, &list, &count)) < 0)
        return status;
    for (size_t i = 0; i < count; i++)
        total += list[i].bytes;
    for (size_t i = 0; i < count; i++) {
        bool old = job->delete_after_ms && now - list[i].mtime_ms > job->delete_after_ms;
        bool over = job->max_total_bytes && total > job->max_total_bytes;
        if (!old && !over)
            continue;
        if (is_needed(job, list[i].name)) {
            job->kept += !over;
            job->forced += over;
            if (!over)
                continue;
        }
        if (unlinkat(dirfd, list[i].name, 0) < 0 && errno != ENOENT)
            status = -errno;
        total -= list[i].bytes;
    }
    free_members(list, count);
    return status;
}

/* --- the job --- */

static bool is_plain(const struct finish_job *job, const char *name)
{
    size_t n = strlen(name), tail = strlen(job->suffix);
    return n > tail && strcmp(name + n - tail, job->suffix) == 0;
}

static int place_all(const struct finish_job *job)
{
    struct member *list;
    size_t count;
    int status = list_members(job->dirfd, job, &list, &count);

    if (status < 0)
        return status;
    for (size_t i = 0; i < count; i++) {
        int r = is_plain(job, list[i].name) ? place(job, list[i].name) : 0;
        status = r < 0 ? r : status;
    }
    free_members(list, count);
    return status;
}

int finish_run(struct finish_job *job, struct err *e)
{
    int status = *job->finished ? place(job, job->finished) : place_all(job);

    if (status < 0)
        return err_set(e, status, "finished accounting file '%s' cannot be put in its place",
                       *job->finished ? job->finished : job->prefix);
    status = retain(job);
    return status < 0
               ? err_set(e, status, "old accounting files '%s*' cannot be deleted", job->prefix)
               : 0;
}
