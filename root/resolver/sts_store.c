/*
 * Policies on disk; see sts_store.h. sts.c saves and forgets through sts_ops, main.c loads at the
 * start.
 *
 * A file is named like its domain and written under another name ("+N") first, synced, then renamed,
 * so that a crash leaves the old one or the new one. What a crash left of an unfinished one is
 * removed at the next start. Losing a file costs a fetch; a disk that does not take them costs a
 * log line.
 */
#include "sts_store.h"

#include "base/file.h"
#include "base/log.h"
#include "domain.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum {
    WRITES_MAX = 256, /* under way; beyond it policies are not kept */
    FILE_MAX = STS_MAX_BYTES + 1024,
};

void sts_store_init(struct sts_store *s, uv_loop_t *loop)
{
    *s = (struct sts_store){.loop = loop, .dirfd = -1};
}

void sts_store_fini(struct sts_store *s)
{
    if (s->dirfd >= 0)
        close(s->dirfd);
    s->dirfd = -1;
}

/* --- one file --- */

struct write_job {
    uv_work_t work;
    struct sts_store *store;
    int dirfd; /* the store's own may be closed meanwhile */
    uint32_t number;
    int status;
    struct buf bytes; /* empty: remove the file */
    char domain[];
};

static int write_file(const struct write_job *j)
{
    char temporary[32];

    snprintf(temporary, sizeof(temporary), "+%u", j->number);
    int fd = openat(j->dirfd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    int status = file_write_all(fd, buf_view(&j->bytes));
    if (status == 0 && fdatasync(fd) < 0)
        status = -errno;
    close(fd);
    if (status == 0 && renameat(j->dirfd, temporary, j->dirfd, j->domain) < 0)
        status = -errno;
    if (status < 0)
        unlinkat(j->dirfd, temporary, 0);
    return status;
}

static void write_in_pool(uv_work_t *w)
{
    struct write_job *j = container_of(w, struct write_job, work);

    if (buf_len(&j->bytes))
        j->status = write_file(j);
    else if (unlinkat(j->dirfd, j->domain, 0) < 0 && errno != ENOENT)
        j->status = -errno;
}

static void after_write(uv_work_t *w, int status)
{
    struct write_job *j = container_of(w, struct write_job, work);
    struct sts_store *s = j->store;

    if (status == 0)
        status = j->status;
    if (status < 0 && !s->complained)
        log_warn(LOG_DNS, "cannot keep MTA-STS policies over a restart: %s", err_name(status));
    s->complained = status < 0;
    s->writes--;
    close(j->dirfd);
    buf_free(&j->bytes);
    free(j);
}

/* Bytes empty: removes. */
static void queue_write(struct sts_store *s, const char *domain, struct strview bytes)
{
    size_t len = strlen(domain) + 1;
    int dirfd = s->dirfd < 0 || s->writes >= WRITES_MAX ? -1 : fcntl(s->dirfd, F_DUPFD_CLOEXEC, 10);

    if (dirfd < 0)
        return;
    struct write_job *j = xcalloc(1, sizeof(*j) + len);
    j->store = s;
    j->dirfd = dirfd;
    j->number = ++s->last_file;
    memcpy(j->domain, domain, len);
    buf_append_sv(&j->bytes, bytes);
    s->writes++;
    if (uv_queue_work(s->loop, &j->work, write_in_pool, after_write) < 0)
        after_write(&j->work, UV_ENOMEM);
}

void sts_store_save(void *owner, const char *domain, struct strview bytes)
{
    queue_write(owner, domain, bytes);
}

void sts_store_forget(void *owner, const char *domain)
{
    queue_write(owner, domain, sv(NULL, 0));
}

/* --- all files --- */

struct kept {
    struct list link;
    struct buf bytes;
    char domain[DOMAIN_SIZE];
};

struct load_job {
    uv_work_t work;
    int dirfd;
    struct sts *into;
    size_t max_files, max_bytes;
    struct list kept;
    int status;
    void (*done)(void *arg);
    void *arg;
};

/* NULL when it is no file of ours. */
static struct kept *read_file(int dirfd, const char *name)
{
    struct kept *k = xcalloc(1, sizeof(*k));
    int fd = -1;
    ssize_t n = -1;

    if (domain_normalise(sv_of(name), k->domain, NULL) == 0 && strcmp(k->domain, name) == 0)
        fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    while (fd >= 0 && buf_len(&k->bytes) <= FILE_MAX) {
        n = read(fd, buf_reserve(&k->bytes, 4096), 4096);
        if (n <= 0)
            break;
        buf_advance(&k->bytes, (size_t)n);
    }
    if (fd >= 0)
        close(fd);
    if (n == 0)
        return k;
    buf_free(&k->bytes);
    free(k);
    return NULL;
}

static void load_in_pool(uv_work_t *w)
{
    struct load_job *j = container_of(w, struct load_job, work);
    int fd = openat(j->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    size_t files = 0, bytes = 0;

    if (!dir) {
        j->status = -errno;
        if (fd >= 0)
            close(fd);
        return;
    }
    for (struct dirent *d; files < j->max_files && bytes < j->max_bytes && (d = readdir(dir));) {
        struct kept *k =
            d->d_name[0] == '.' || d->d_name[0] == '+' ? NULL : read_file(j->dirfd, d->d_name);
        if (d->d_name[0] == '+')
            unlinkat(j->dirfd, d->d_name, 0);
        if (!k)
            continue;
        files++;
        bytes += buf_len(&k->bytes);
        list_push_back(&j->kept, &k->link);
    }
    closedir(dir);
}

static void after_load(uv_work_t *w, int status)
{
    struct load_job *j = container_of(w, struct load_job, work);
    size_t count = 0;

    for (struct list *n; (n = list_pop_front(&j->kept)); count++) {
        struct kept *k = list_entry(n, struct kept, link);
        sts_restore(j->into, k->domain, buf_view(&k->bytes));
        buf_free(&k->bytes);
        free(k);
    }
    if (status == 0)
        status = j->status;
    if (status < 0)
        log_warn(LOG_DNS, "cannot read the MTA-STS policies kept: %s", err_name(status));
    else if (count)
        log_info(LOG_DNS, "read %zu MTA-STS policies kept", count);
    sts_loaded(j->into);
    j->done(j->arg);
    free(j);
}

void sts_store_load(struct sts_store *s, int dirfd, struct sts *into, void (*done)(void *arg),
                    void *arg)
{
    struct load_job *j = xcalloc(1, sizeof(*j));

    sts_store_fini(s);
    s->dirfd = dirfd;
    j->dirfd = dirfd;
    j->into = into;
    j->max_files = into->limits.domains;
    j->max_bytes = into->limits.bytes;
    j->done = done;
    j->arg = arg;
    list_init(&j->kept);
    sts_set_loading(into);
    if (uv_queue_work(s->loop, &j->work, load_in_pool, after_load) < 0)
        after_load(&j->work, UV_ENOMEM);
}
