/*
 * State files; see state_file.h. Two writes at a time would race for the temporary name, so each
 * has its own number.
 */
#include "state/state_file.h"

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum { MAX_BYTES = 64 * 1024 * 1024 };

int state_file_open(struct state_file *f, uv_loop_t *loop, int dirfd, const char *name,
                    struct err *e)
{
    *f =
        (struct state_file){.dirfd = fcntl(dirfd, F_DUPFD_CLOEXEC, 10), .loop = loop, .name = name};
    return f->dirfd < 0 ? err_set(e, -errno, "cannot duplicate the spool directory") : 0;
}

void state_file_close(struct state_file *f)
{
    if (f->dirfd >= 0)
        close(f->dirfd);
    f->dirfd = -1;
}

int state_file_read(struct state_file *f, struct buf *ret, struct err *e)
{
    int fd = openat(f->dirfd, f->name, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    if (fd < 0)
        return errno == ENOENT ? 0 : err_set(e, -errno, "cannot open '%s'", f->name);
    do {
        n = read(fd, buf_reserve(ret, 4096), 4096);
        if (n > 0)
            buf_advance(ret, (size_t)n);
    } while (n > 0 && buf_len(ret) < MAX_BYTES);
    int status = n < 0 ? err_set(e, -errno, "cannot read '%s'", f->name) : 0;
    close(fd);
    return status;
}

struct write_job {
    uv_work_t work;
    struct state_file *file;
    uint32_t number;
    struct buf text;
    int status;
    void (*done)(void *arg, int status);
    void *arg;
};

static void in_pool(uv_work_t *w)
{
    struct write_job *j = container_of(w, struct write_job, work);
    int dirfd = j->file->dirfd;
    char temporary[80];

    snprintf(temporary, sizeof(temporary), "%s.%u.new", j->file->name, j->number);
    int fd = openat(dirfd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        j->status = -errno;
        return;
    }
    j->status = file_write_all(fd, buf_view(&j->text));
    if (j->status == 0 && fsync(fd) < 0)
        j->status = -errno;
    close(fd);
    if (j->status == 0 && renameat(dirfd, temporary, dirfd, j->file->name) < 0)
        j->status = -errno;
    if (j->status == 0 && fsync(dirfd) < 0)
        j->status = -errno;
    if (j->status < 0)
        unlinkat(dirfd, temporary, 0);
}

static void after(uv_work_t *w, int status)
{
    struct write_job *j = container_of(w, struct write_job, work);
    if (status == 0)
        status = j->status;
    j->done(j->arg, status);
    buf_free(&j->text);
    free(j);
}

void state_file_write_own(struct state_file *f, struct buf *text,
                          void (*done)(void *arg, int status), void *arg)
{
    struct write_job *j = xcalloc(1, sizeof(*j));

    j->file = f;
    j->number = ++f->writes_out;
    j->done = done;
    j->arg = arg;
    j->text = *text;
    *text = (struct buf){0};
    uv_queue_work(f->loop, &j->work, in_pool, after);
}

void state_file_write(struct state_file *f, struct strview text,
                      void (*done)(void *arg, int status), void *arg)
{
    struct buf copy = {0};

    buf_append_sv(&copy, text);
    state_file_write_own(f, &copy, done, arg);
}
