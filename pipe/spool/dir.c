/*
 * Files of one spool; see dir.h. A numbered file appears under its name only when its header is on
 * disk: it is made as "new-NUMBER", synced, renamed, and the directory is synced. So a reader never
 * meets a file without a header, and what a crash leaves is swept at the next start.
 */
#include "spool/dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spool/record.h"

#define FORMAT_WORD "pmta-spool"

static int open_subdir(int fd, const char *name, bool make, const char *pipe, struct err *e)
{
    if (make && mkdirat(fd, name, 0700) < 0 && errno != EEXIST)
        return err_set(e, -errno, "spool of pipe '%s': cannot create '%s'", pipe, name);
    int sub = openat(fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (sub < 0)
        return err_set(e, -errno, "spool of pipe '%s': cannot open '%s'", pipe, name);
    return sub;
}

static int take_lock(struct spool_dir *d, const char *pipe, struct err *e)
{
    d->lock = openat(d->fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (d->lock < 0)
        return err_set(e, -errno, "spool of pipe '%s': cannot open 'lock'", pipe);
    if (flock(d->lock, LOCK_EX | LOCK_NB) == 0)
        return 0;
    if (errno != EWOULDBLOCK)
        return err_set(e, -errno, "spool of pipe '%s': cannot lock", pipe);
    return err_set(e, ERR_BUSY, "spool of pipe '%s' is in use by another process", pipe);
}

static int write_format(struct spool_dir *d, const char *pipe, struct err *e)
{
    char line[64];
    int n = snprintf(line, sizeof(line), "%s %d\n", FORMAT_WORD, SPOOL_FORMAT_VERSION);
    int fd = openat(d->fd, "new-format", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int rc = fd < 0 ? -errno : spool_write_at(fd, line, (size_t)n, 0);
    if (rc == 0 &&
        (fsync(fd) < 0 || renameat(d->fd, "new-format", d->fd, "format") < 0 || fsync(d->fd) < 0))
        rc = -errno;
    if (fd >= 0)
        close(fd);
    return rc < 0 ? err_set(e, rc, "spool of pipe '%s': cannot write 'format'", pipe) : 0;
}

/* 0 when the version is ours, -ENOENT when there is no format file yet. */
static int check_format(struct spool_dir *d, const char *pipe, struct err *e)
{
    char line[64] = "", end;
    int version, fd = openat(d->fd, "format", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set(e, -errno, "spool of pipe '%s': cannot read 'format'", pipe);
    ssize_t n = read(fd, line, sizeof(line) - 1);
    close(fd);
    if (n < 0)
        return err_set(e, -errno, "spool of pipe '%s': cannot read 'format'", pipe);
    if (sscanf(line, FORMAT_WORD " %d%c", &version, &end) != 2 || end != '\n' || version < 1)
        return err_set(e, ERR_CORRUPT, "spool of pipe '%s': 'format' is not a spool's", pipe);
    if (version > SPOOL_FORMAT_VERSION)
        return err_set(e, ERR_VERSION,
                       "spool of pipe '%s' has format %d, this program knows up to %d: start the "
                       "newer program that made it",
                       pipe, version, SPOOL_FORMAT_VERSION);
    return 0;
}

static int open_subdirs(struct spool_dir *d, bool make, const char *pipe, struct err *e)
{
    d->segments = open_subdir(d->fd, "seg", make, pipe, e);
    if (d->segments < 0)
        return d->segments;
    d->journals = open_subdir(d->fd, "journal", make, pipe, e);
    if (d->journals < 0)
        return d->journals;
    d->quarantine = open_subdir(d->fd, "quarantine", make, pipe, e);
    return MIN_OF(d->quarantine, 0);
}

int spool_dir_open(struct spool_dir *d, int fd, const char *pipe, struct err *e)
{
    *d = (struct spool_dir){fd, -1, -1, -1, -1};
    int rc = take_lock(d, pipe, e);
    if (rc == 0 && faccessat(fd, "format", F_OK, 0) == 0)
        rc = check_format(d, pipe, e);
    else if (rc == 0)
        rc = write_format(d, pipe, e);
    if (rc == 0)
        rc = open_subdirs(d, true, pipe, e);
    if (rc == 0 && fsync(fd) < 0)
        rc = err_set(e, -errno, "spool of pipe '%s': cannot sync its directory", pipe);
    if (rc < 0) {
        spool_dir_close(d);
        return rc;
    }
    spool_dir_sweep(d->segments);
    spool_dir_sweep(d->journals);
    return 0;
}

int spool_dir_open_reader(struct spool_dir *d, const char *path, struct err *e)
{
    *d = (struct spool_dir){-1, -1, -1, -1, -1};
    d->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = d->fd < 0 ? err_set(e, -errno, "cannot open '%s'", path) : check_format(d, path, e);
    if (rc == 0)
        rc = open_subdirs(d, false, path, e);
    if (rc < 0)
        spool_dir_close(d);
    return rc;
}

static void close_if(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void spool_dir_close(struct spool_dir *d)
{
    close_if(&d->segments);
    close_if(&d->journals);
    close_if(&d->quarantine);
    close_if(&d->fd);
    close_if(&d->lock);
}

/* A directory stream of its own: reading one moves no other's position. */
static DIR *open_stream(int dirfd)
{
    int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = fd < 0 ? NULL : fdopendir(fd);
    if (!stream)
        close_if(&fd);
    return stream;
}

static int compare_numbers(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

int spool_dir_list(int dirfd, uint64_t **ret, size_t *ret_count)
{
    size_t count = 0, cap = 0;
    uint64_t *numbers = NULL, n;
    DIR *stream = open_stream(dirfd);
    if (!stream)
        return -errno;
    for (struct dirent *d; (d = readdir(stream)) != NULL;) {
        if (strlen(d->d_name) < 8 || !sv_to_u64(sv_of(d->d_name), &n))
            continue;
        if (count == cap)
            numbers = xrealloc(numbers, (cap = cap ? cap * 2 : 64) * sizeof(*numbers));
        numbers[count++] = n;
    }
    closedir(stream);
    if (count)
        qsort(numbers, count, sizeof(*numbers), compare_numbers);
    *ret = numbers;
    *ret_count = count;
    return 0;
}

char *spool_dir_name(uint64_t number, char *out)
{
    snprintf(out, SPOOL_NAME_SIZE, "%08" PRIu64, number);
    return out;
}

static char *new_name(uint64_t number, char *out)
{
    snprintf(out, SPOOL_NAME_SIZE + 4, "new-%" PRIu64, number);
    return out;
}

int spool_dir_open_file(int dirfd, uint64_t number)
{
    char name[SPOOL_NAME_SIZE];
    int fd = openat(dirfd, spool_dir_name(number, name), O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int spool_dir_new_file(int dirfd, uint64_t number)
{
    char name[SPOOL_NAME_SIZE + 4];
    int fd = openat(dirfd, new_name(number, name), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    return fd < 0 ? -errno : fd;
}

int spool_dir_publish(int dirfd, int fd, uint64_t number)
{
    char from[SPOOL_NAME_SIZE + 4], to[SPOOL_NAME_SIZE];
    if (fdatasync(fd) < 0 ||
        renameat(dirfd, new_name(number, from), dirfd, spool_dir_name(number, to)) < 0)
        return -errno;
    return fsync(dirfd) < 0 ? -errno : 0;
}

void spool_dir_abandon(int dirfd, uint64_t number)
{
    char name[SPOOL_NAME_SIZE + 4];
    unlinkat(dirfd, new_name(number, name), 0);
    unlinkat(dirfd, spool_dir_name(number, name), 0);
}

void spool_dir_sweep(int dirfd)
{
    DIR *stream = open_stream(dirfd);
    if (!stream)
        return;
    for (struct dirent *d; (d = readdir(stream)) != NULL;)
        if (strncmp(d->d_name, "new-", 4) == 0)
            unlinkat(dirfd, d->d_name, 0);
    closedir(stream);
}

int spool_dir_unnamed(int dirfd)
{
    static unsigned counter;
    char name[64];
    int fd = openat(dirfd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL && errno != ENOENT))
        return fd < 0 ? -errno : fd;
    snprintf(name, sizeof(name), "new-unnamed-%u",
             __atomic_fetch_add(&counter, 1, __ATOMIC_RELAXED));
    fd = openat(dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    unlinkat(dirfd, name, 0);
    return fd;
}

int spool_read_at(int fd, void *data, size_t len, uint64_t at)
{
    char *p = data;
    while (len) {
        ssize_t n = pread(fd, p, len, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -ENODATA;
        p += n;
        at += (uint64_t)n;
        len -= (size_t)n;
    }
    return 0;
}

int spool_write_at(int fd, const void *data, size_t len, uint64_t at)
{
    const char *p = data;
    while (len) {
        ssize_t n = pwrite(fd, p, len, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        p += n;
        at += (uint64_t)n;
        len -= (size_t)n;
    }
    return 0;
}

int64_t spool_file_size(int fd)
{
    struct stat st;
    return fstat(fd, &st) < 0 ? -errno : (int64_t)st.st_size;
}

static int copy_range(int from_fd, int to_fd, uint64_t from, uint64_t to)
{
    char *chunk = xmalloc(64 * 1024);
    uint64_t at = 0;
    int rc = 0;
    while (rc == 0 && from + at < to) {
        size_t n = (size_t)MIN_OF(to - from - at, (uint64_t)64 * 1024);
        rc = spool_read_at(from_fd, chunk, n, from + at);
        if (rc == 0)
            rc = spool_write_at(to_fd, chunk, n, at);
        at += n;
    }
    free(chunk);
    return rc == -ENODATA ? 0 : rc;
}

int spool_dir_quarantine(const struct spool_dir *d, int fd, const char *kind, uint64_t number,
                         uint64_t from, uint64_t to)
{
    char name[96], temporary[104];
    snprintf(name, sizeof(name), "%s-%08" PRIu64 "-%010" PRIu64 "-%" PRIu64, kind, number, from,
             to - from);
    snprintf(temporary, sizeof(temporary), "new-%s", name);
    if (faccessat(d->quarantine, name, F_OK, 0) == 0)
        return 0;
    int out = openat(d->quarantine, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int rc = out < 0 ? -errno : copy_range(fd, out, from, to);
    if (rc == 0 &&
        (fdatasync(out) < 0 || renameat(d->quarantine, temporary, d->quarantine, name) < 0 ||
         fsync(d->quarantine) < 0))
        rc = -errno;
    if (out >= 0)
        close(out);
    if (rc < 0)
        unlinkat(d->quarantine, temporary, 0);
    return rc < 0 ? rc : 1;
}
