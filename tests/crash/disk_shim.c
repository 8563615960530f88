/*
 * See disk_shim.h. Files are told apart by inode number as long as somebody has them open or named;
 * the log keeps a number of its own per file, because inodes are used again. Names are learned from
 * the wrapped openat and renameat. Of write() only what appends to a regular file is looked at: that
 * is how accounting files are written.
 */
#include "disk_shim.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum op_kind { OP_CREATE, OP_WRITE, OP_TRUNCATE, OP_SYNC, OP_SYNC_DIR, OP_RENAME, OP_UNLINK };

struct op {
    enum op_kind kind;
    uint32_t file; /* ours */
    char dir[PATH_MAX / 8];
    char name[64];
    char to[64];
    uint64_t at;
    size_t len;
    char *data;
    bool failed; /* a sync */
};

struct file {
    ino_t inode;
    char *data;
    size_t len;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool recording;
static struct op *ops;
static size_t op_count, op_cap;
static ino_t inodes[100000]; /* of file numbers; the last one with an inode is meant */
static uint32_t file_count;
static struct {
    unsigned skip, count;
    int error;
} faults[DISK_CALLS];
static int owed; /* the error behind a short write */

int __real_openat64(int dir, const char *name, int flags, ...);
ssize_t __real_write(int fd, const void *data, size_t len);
ssize_t __real_pwrite64(int fd, const void *data, size_t len, off_t at);
ssize_t __real_pwritev64(int fd, const struct iovec *iov, int count, off_t at);
int __real_fdatasync(int fd);
int __real_fsync(int fd);
int __real_ftruncate64(int fd, off_t len);
int __real_renameat(int from_dir, const char *from, int to_dir, const char *to);
int __real_unlinkat(int dir, const char *name, int flags);
int __wrap_openat64(int dir, const char *name, int flags, ...);
ssize_t __wrap_write(int fd, const void *data, size_t len);
ssize_t __wrap_pwrite64(int fd, const void *data, size_t len, off_t at);
ssize_t __wrap_pwritev64(int fd, const struct iovec *iov, int count, off_t at);
int __wrap_fdatasync(int fd);
int __wrap_fsync(int fd);
int __wrap_ftruncate64(int fd, off_t len);
int __wrap_renameat(int from_dir, const char *from, int to_dir, const char *to);
int __wrap_unlinkat(int dir, const char *name, int flags);

static void dir_path(int fd, char *out, size_t size)
{
    char link[64];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, out, size - 1);
    out[n < 0 ? 0 : n] = '\0';
}

static struct op *add_op(enum op_kind kind)
{
    if (op_count == op_cap)
        ops = xrealloc(ops, (op_cap = op_cap ? op_cap * 2 : 4096) * sizeof(*ops));
    ops[op_count] = (struct op){.kind = kind};
    return &ops[op_count++];
}

static bool is_directory(int fd, ino_t *inode)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return false;
    *inode = st.st_ino;
    return S_ISDIR(st.st_mode);
}

static uint32_t file_of(int fd)
{
    ino_t inode = 0;
    is_directory(fd, &inode);
    for (uint32_t i = file_count; i-- > 0;)
        if (inodes[i] == inode)
            return i;
    return UINT32_MAX;
}

void disk_record(void)
{
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < op_count; i++)
        free(ops[i].data);
    op_count = 0;
    file_count = 0;
    recording = true;
    pthread_mutex_unlock(&lock);
}

void disk_stop(void)
{
    pthread_mutex_lock(&lock);
    recording = false;
    pthread_mutex_unlock(&lock);
}

size_t disk_operations(void)
{
    pthread_mutex_lock(&lock);
    size_t n = op_count;
    pthread_mutex_unlock(&lock);
    return n;
}

void disk_fail(enum disk_call call, unsigned skip, unsigned count, int error)
{
    pthread_mutex_lock(&lock);
    faults[call].skip = skip;
    faults[call].count = count;
    faults[call].error = error;
    pthread_mutex_unlock(&lock);
}

static int fault(enum disk_call call)
{
    int error = 0;
    pthread_mutex_lock(&lock);
    if (faults[call].skip)
        faults[call].skip--;
    else if (faults[call].count && faults[call].count--)
        error = faults[call].error;
    pthread_mutex_unlock(&lock);
    return error;
}

int __wrap_openat64(int dir, const char *name, int flags, ...)
{
    va_list ap;
    va_start(ap, flags);
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(ap, mode_t) : 0;
    va_end(ap);
    int fd = __real_openat64(dir, name, flags, mode);
    bool unnamed = (flags & O_TMPFILE) == O_TMPFILE;
    if (fd < 0 || !(flags & O_CREAT || unnamed))
        return fd;
    pthread_mutex_lock(&lock);
    if (recording) {
        BUG_ON(file_count == ARRAY_LEN(inodes));
        is_directory(fd, &inodes[file_count++]);
    }
    if (recording && !unnamed) {
        struct op *op = add_op(OP_CREATE);
        op->file = file_count - 1;
        dir_path(dir, op->dir, sizeof(op->dir));
        snprintf(op->name, sizeof(op->name), "%s", name);
    }
    pthread_mutex_unlock(&lock);
    return fd;
}

static void log_write(int fd, const void *data, size_t len, off_t at)
{
    uint32_t file = file_of(fd);
    if (!recording || file == UINT32_MAX)
        return;
    struct op *op = add_op(OP_WRITE);
    op->file = file;
    op->at = (uint64_t)at;
    op->len = len;
    op->data = xmalloc(len);
    memcpy(op->data, data, len);
}

static bool appends(int fd)
{
    struct stat st;
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && flags & O_APPEND && fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

ssize_t __wrap_write(int fd, const void *data, size_t len)
{
    if (!appends(fd))
        return __real_write(fd, data, len);
    int error = owed ? owed : fault(DISK_WRITE);
    bool half = error && !owed && len > 1;
    owed = half ? error : 0;
    if (error && !half) {
        errno = error;
        return -1;
    }
    pthread_mutex_lock(&lock);
    ssize_t n = __real_write(fd, data, half ? len / 2 : len);
    if (n > 0)
        log_write(fd, data, (size_t)n, lseek(fd, 0, SEEK_CUR) - n);
    pthread_mutex_unlock(&lock);
    return n;
}

ssize_t __wrap_pwrite64(int fd, const void *data, size_t len, off_t at)
{
    BUG_ON(appends(fd)); /* the kernel would not write at `at` */
    int error = fault(DISK_WRITE);
    if (error && len < 2) {
        errno = error;
        return -1;
    }
    pthread_mutex_lock(&lock);
    ssize_t n = __real_pwrite64(fd, data, error ? len / 2 : len, at);
    if (n > 0)
        log_write(fd, data, (size_t)n, at);
    pthread_mutex_unlock(&lock);
    errno = error;
    return error ? -1 : n;
}

ssize_t __wrap_pwritev64(int fd, const struct iovec *iov, int count, off_t at)
{
    int error = fault(DISK_WRITE);
    ssize_t total = 0;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < (error ? count / 2 : count); i++) {
        ssize_t n = __real_pwrite64(fd, iov[i].iov_base, iov[i].iov_len, at + total);
        BUG_ON(n != (ssize_t)iov[i].iov_len);
        log_write(fd, iov[i].iov_base, iov[i].iov_len, at + total);
        total += n;
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return error ? -1 : total;
}

static int sync_file(int fd)
{
    ino_t inode;
    int error = fault(DISK_SYNC);
    struct op *op = NULL;
    /* the log itself is the disk: nothing has to reach the real one */
    pthread_mutex_lock(&lock);
    if (recording && is_directory(fd, &inode))
        dir_path(fd, (op = add_op(OP_SYNC_DIR))->dir, sizeof(op->dir));
    else if (recording && file_of(fd) != UINT32_MAX)
        (op = add_op(OP_SYNC))->file = file_of(fd);
    if (op)
        op->failed = error != 0;
    pthread_mutex_unlock(&lock);
    errno = error;
    return error ? -1 : 0;
}

int __wrap_fdatasync(int fd)
{
    return sync_file(fd);
}

int __wrap_fsync(int fd)
{
    return sync_file(fd);
}

int __wrap_ftruncate64(int fd, off_t len)
{
    int error = fault(DISK_TRUNCATE);
    if (error) {
        errno = error;
        return -1;
    }
    pthread_mutex_lock(&lock);
    uint32_t file = file_of(fd);
    int rc = __real_ftruncate64(fd, len);
    if (recording && rc == 0 && file != UINT32_MAX) {
        struct op *op = add_op(OP_TRUNCATE);
        op->file = file;
        op->at = (uint64_t)len;
    }
    pthread_mutex_unlock(&lock);
    return rc;
}

int __wrap_renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    pthread_mutex_lock(&lock);
    int rc = __real_renameat(from_dir, from, to_dir, to);
    if (recording && rc == 0) {
        struct op *op = add_op(OP_RENAME);
        dir_path(from_dir, op->dir, sizeof(op->dir));
        snprintf(op->name, sizeof(op->name), "%s", from);
        snprintf(op->to, sizeof(op->to), "%s", to);
    }
    pthread_mutex_unlock(&lock);
    return rc;
}

int __wrap_unlinkat(int dir, const char *name, int flags)
{
    pthread_mutex_lock(&lock);
    int rc = __real_unlinkat(dir, name, flags);
    if (recording && rc == 0) {
        struct op *op = add_op(OP_UNLINK);
        dir_path(dir, op->dir, sizeof(op->dir));
        snprintf(op->name, sizeof(op->name), "%s", name);
    }
    pthread_mutex_unlock(&lock);
    return rc;
}

/* ---- images ---- */

struct entry {
    char dir[PATH_MAX / 8];
    char name[64];
    uint32_t file;
};

struct image {
    struct file *files;
    struct entry *entries;
    size_t entry_count;
    uint32_t random;
};

static uint32_t draw(struct image *m, uint32_t below)
{
    m->random = m->random * 1664525u + 1013904223u;
    return (m->random >> 8) % below;
}

static void put(struct file *f, uint64_t at, const char *data, size_t len)
{
    if (at + len > f->len) {
        f->data = xrealloc(f->data, at + len);
        memset(f->data + f->len, 0, at + len - f->len);
        f->len = at + len;
    }
    memcpy(f->data + at, data, len);
}

/* A write that was not synced: all of it, nothing, or some of its sectors. */
static void put_some(struct image *m, struct file *f, const struct op *op)
{
    uint32_t how = draw(m, 4);
    if (how == 0)
        return;
    for (size_t done = 0; done < op->len;) {
        size_t n = MIN_OF(op->len - done, 512 - (op->at + done) % 512);
        if (how == 1 || draw(m, 2))
            put(f, op->at + done, op->data + done, n);
        done += n;
    }
}

static struct entry *find_entry(struct image *m, const char *dir, const char *name)
{
    for (size_t i = 0; i < m->entry_count; i++)
        if (strcmp(m->entries[i].dir, dir) == 0 && strcmp(m->entries[i].name, name) == 0)
            return &m->entries[i];
    return NULL;
}

static void drop_entry(struct image *m, struct entry *e)
{
    if (e)
        *e = m->entries[--m->entry_count];
}

static void apply_name(struct image *m, const struct op *op)
{
    struct entry *e = find_entry(m, op->dir, op->name);
    if (op->kind == OP_CREATE && !e) {
        m->entries = xrealloc(m->entries, (m->entry_count + 1) * sizeof(*m->entries));
        e = &m->entries[m->entry_count++];
        memcpy(e->dir, op->dir, sizeof(e->dir));
        memcpy(e->name, op->name, sizeof(e->name));
    }
    if (op->kind == OP_CREATE) {
        e->file = op->file;
    } else if (op->kind == OP_UNLINK) {
        drop_entry(m, e);
    } else if (e) {
        drop_entry(m, find_entry(m, op->dir, op->to));
        e = find_entry(m, op->dir, op->name);
        memcpy(e->name, op->to, sizeof(e->name));
    }
}

static bool is_name(const struct op *op)
{
    return op->kind == OP_CREATE || op->kind == OP_RENAME || op->kind == OP_UNLINK;
}

/* Synced before the cut? Of a file's bytes the first sync decides: after one that failed the kernel
 * takes the pages for clean. Names are the file system's journal's. */
static bool is_durable(const struct op *op, size_t i, size_t count)
{
    for (size_t k = i + 1; k < count; k++) {
        if (is_name(op) && ops[k].kind == OP_SYNC_DIR && !ops[k].failed &&
            strcmp(ops[k].dir, op->dir) == 0)
            return true;
        if (!is_name(op) && ops[k].kind == OP_SYNC && ops[k].file == op->file)
            return !ops[k].failed;
    }
    return false;
}

static void apply(struct image *m, const struct op *op, bool durable)
{
    struct file *f = &m->files[op->file];
    if (is_name(op)) {
        /* names are journalled by file systems, in order; but each may be the first to be lost */
        if (durable || draw(m, 2))
            apply_name(m, op);
    } else if (op->kind == OP_TRUNCATE && (durable || draw(m, 2))) {
        f->len = MIN_OF(f->len, (size_t)op->at);
    } else if (op->kind == OP_WRITE && durable) {
        put(f, op->at, op->data, op->len);
    } else if (op->kind == OP_WRITE) {
        put_some(m, f, op);
    }
}

static void write_image(const struct image *m, const char *from, const char *to)
{
    char path[PATH_MAX];
    for (size_t i = 0; i < m->entry_count; i++) {
        const struct entry *e = &m->entries[i];
        const struct file *f = &m->files[e->file];
        snprintf(path, sizeof(path), "%s%s", to, e->dir + strlen(from));
        mkdir(path, 0700);
        snprintf(path, sizeof(path), "%s%s/%s", to, e->dir + strlen(from), e->name);
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        BUG_ON(fd < 0 || __real_pwrite64(fd, f->data, f->len, 0) != (ssize_t)f->len);
        close(fd);
    }
}

void disk_image(const char *from, const char *to, size_t count, uint32_t seed)
{
    struct image m = {.random = seed};
    m.files = xcalloc(file_count + 1, sizeof(*m.files));
    mkdir(to, 0700);
    for (size_t i = 0; i < count; i++)
        apply(&m, &ops[i], is_durable(&ops[i], i, count));
    write_image(&m, from, to);
    for (uint32_t i = 0; i < file_count; i++)
        free(m.files[i].data);
    free(m.files);
    free(m.entries);
}
