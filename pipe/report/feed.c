/*
 * Feeds a command with accounting records; see feed.h. report.c owns it.
 *
 *   LOOK     thread pool: the oldest file, and how far into it a run has come (PREFIXposition)
 *   READ     thread pool: the next whole lines; none: IDLE for a second, or, when nothing comes any
 *            more, DRAIN
 *   WRITE    to the command, which is started with the first record
 *   GONE     it closed its input: its exit status, which is about to come, says more
 *   DRAIN    its input is closed, it is awaited
 *   KEEP     thread pool: it exited with 0, the file is deleted, or the position in it noted
 *   FAILED   anything else: after retry-interval the file begins again from the noted position
 *
 * A write to the command is no acknowledgement, only its exit status is. The position is noted after
 * the file's bytes are synced, so that a power cut cannot leave it behind their end.
 */
#include "report/feed.h"

#include "base/log.h"
#include "base/str.h"
#include "base/util.h"
#include "mail/command_line.h"
#include "report/finish.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHUNK = 64 * 1024, IDLE_MS = 1000, CLOSE_MS = 3000, GONE_MS = 1000, POSITION_MAX = 400 };

enum state {
    FEED_LOOK,
    FEED_READ,
    FEED_IDLE,
    FEED_WRITE,
    FEED_GONE,
    FEED_DRAIN,
    FEED_KEEP,
    FEED_FAILED,
};
enum work { WORK_NONE, WORK_LOOK, WORK_READ, WORK_KEEP };

/* One life of the command. */
struct run {
    uv_process_t process;
    uv_pipe_t input;
    uv_write_t write;
    struct feed *feed; /* NULL: nobody waits for it any more */
    unsigned handles;
    bool input_open;
    char *text; /* being written */
};

struct feed {
    uv_loop_t *loop;
    char *command, *prefix, *suffix;
    char **words;
    int dirfd;
    int64_t retry_ms, write_timeout_ms;
    enum state state;
    bool closing, failed_before;
    char ended[64]; /* how the last run went, when it ended by itself */
    char active[FINISH_NAME];
    bool settled;
    uv_timer_t timer;
    struct run *run;
    void (*closed)(void *arg);
    void *closed_arg;
    /* the file that is read */
    char name[FINISH_NAME];
    int fd;
    uint64_t at;      /* given to the command up to here */
    uint64_t kept_at; /* acknowledged by an exit up to here */
    char *header;
    size_t header_len;
    /* the job; `work` says which */
    uv_work_t job;
    enum work work;
    char *chunk;
    size_t chunk_len;
    bool whole; /* keep: the file is done with */
    int status;
};

static void step(struct feed *f, enum state to);

/* --- thread pool --- */

static void position_name(const struct feed *f, char *out, size_t size)
{
    snprintf(out, size, "%.250sposition", f->prefix);
}

static uint64_t read_position(const struct feed *f)
{
    char name[FINISH_NAME], text[POSITION_MAX];
    unsigned long long at = 0;

    position_name(f, name, sizeof(name));
    int fd = openat(f->dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return 0;
    text[n] = '\0';
    size_t len = strlen(f->name);
    if (strncmp(text, f->name, len) != 0 || sscanf(text + len, " %llu", &at) != 1)
        return 0;
    return at;
}

static void find_oldest(struct feed *f)
{
    int copy = openat(f->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), number;
    DIR *dir = copy < 0 ? NULL : fdopendir(copy);
    size_t tail = strlen(f->suffix), len;
    struct dirent *entry;

    f->name[0] = '\0';
    if (!dir)
        f->status = -errno;
    while (dir && (entry = readdir(dir))) {
        len = strlen(entry->d_name);
        if (len < sizeof(f->name) && len > tail &&
            strcmp(entry->d_name + len - tail, f->suffix) == 0 &&
            finish_is_member(entry->d_name, f->prefix, NULL, &number) &&
            (!f->name[0] || strcmp(entry->d_name, f->name) < 0))
            memcpy(f->name, entry->d_name, len + 1);
    }
    if (dir)
        closedir(dir);
}

static void look(struct feed *f)
{
    struct stat st;

    find_oldest(f);
    if (!f->name[0] || f->status < 0)
        return;
    f->fd = openat(f->dirfd, f->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t n = f->fd < 0 ? -1 : pread(f->fd, f->chunk, CHUNK, 0);
    if (n < 0) {
        f->status = -errno;
        return;
    }
    const char *end = n && f->chunk[0] != '{' ? memchr(f->chunk, '\n', (size_t)n) : NULL;
    f->header_len = end ? (size_t)(end - f->chunk) + 1 : 0;
    free(f->header);
    f->header = xstrndup(f->chunk, f->header_len);
    uint64_t at = read_position(f);
    if (fstat(f->fd, &st) < 0 || at > (uint64_t)st.st_size)
        at = 0; /* of another file that had this name */
    f->at = f->kept_at = MAX_OF(at, (uint64_t)f->header_len);
}

/* Whole lines only: the last one may be half written. */
static void read_more(struct feed *f)
{
    ssize_t n = pread(f->fd, f->chunk, CHUNK, (off_t)f->at);

    f->chunk_len = 0;
    if (n < 0) {
        f->status = -errno;
        return;
    }
    const char *end = n ? memrchr(f->chunk, '\n', (size_t)n) : NULL;
    f->chunk_len = end ? (size_t)(end - f->chunk) + 1 : 0;
}

static int write_position(const struct feed *f)
{
    char name[FINISH_NAME], new[FINISH_NAME + 8], text[POSITION_MAX];

    position_name(f, name, sizeof(name));
    snprintf(new, sizeof(new), "%s.new", name);
    int len = snprintf(text, sizeof(text), "%s %llu\n", f->name, (unsigned long long)f->at);
    int fd = openat(f->dirfd, new, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    int status = write(fd, text, (size_t)len) != len || fdatasync(fd) < 0 ? -EIO : 0;
    close(fd);
    if (status == 0 && renameat(f->dirfd, new, f->dirfd, name) < 0)
        status = -errno;
    return status;
}

static void keep(struct feed *f)
{
    if (f->whole)
        f->status = unlinkat(f->dirfd, f->name, 0) < 0 && errno != ENOENT ? -errno : 0;
    else if (fdatasync(f->fd) < 0)
        f->status = -errno;
    else
        f->status = write_position(f);
    if (f->status == 0 && fsync(f->dirfd) < 0)
        f->status = -errno;
}

static void in_pool(uv_work_t *job)
{
    struct feed *f = container_of(job, struct feed, job);

    f->status = 0;
    if (f->work == WORK_LOOK)
        look(f);
    else if (f->work == WORK_READ)
        read_more(f);
    else
        keep(f);
}

static void on_job(uv_work_t *job, int status);

static void start_job(struct feed *f, enum work work)
{
    BUG_ON(f->work != WORK_NONE);
    f->work = work;
    BUG_ON(uv_queue_work(f->loop, &f->job, in_pool, on_job) < 0);
}

/* --- the command --- */

static void run_handle_closed(uv_handle_t *h)
{
    struct run *r = h->data;

    if (--r->handles)
        return;
    free(r->text);
    free(r);
}

static void end_input(struct run *r)
{
    if (r->input_open)
        uv_close((uv_handle_t *)&r->input, run_handle_closed);
    r->input_open = false;
}

/* It may live on, without anybody who waits for it; when it exits its handle goes. */
static void leave_run(struct feed *f)
{
    if (!f->run)
        return;
    end_input(f->run);
    f->run->feed = NULL;
    f->run = NULL;
}

static void fail(struct feed *f, const char *what, const char *detail)
{
    if (f->run) {
        uv_process_kill(&f->run->process, SIGKILL);
        leave_run(f);
    }
    log_error(
        LOG_MAIN,
        "accounting command failed, its records wait on disk command='%s' file=%s reason='%s%s%s' "
        "next_in=%llds",
        f->command, f->name, what, *detail ? ": " : "", detail, (long long)f->retry_ms / 1000);
    f->failed_before = true;
    step(f, FEED_FAILED);
}

static void on_run_exit(uv_process_t *process, int64_t code, int signal_number)
{
    struct run *r = container_of(process, struct run, process);
    struct feed *f = r->feed;

    uv_close((uv_handle_t *)process, run_handle_closed);
    end_input(r);
    if (!f)
        return;
    r->feed = NULL;
    f->run = NULL;
    if (f->state == FEED_DRAIN && code == 0 && !signal_number) {
        step(f, FEED_KEEP);
        return;
    }
    if (signal_number)
        snprintf(f->ended, sizeof(f->ended), "signal %d", signal_number);
    else if (code)
        snprintf(f->ended, sizeof(f->ended), "exit status %d", (int)code);
    else
        snprintf(f->ended, sizeof(f->ended), "it did not read to the end");
    if (f->work == WORK_NONE)
        fail(f, "it ended", f->ended);
}

static int start_run(struct feed *f)
{
    struct run *r = xcalloc(1, sizeof(*r));
    uv_stdio_container_t stdio[3] = {
        {.flags = UV_CREATE_PIPE | UV_READABLE_PIPE, .data.stream = (uv_stream_t *)&r->input},
        {.flags = UV_INHERIT_FD, .data.fd = 2},
        {.flags = UV_INHERIT_FD, .data.fd = 2},
    };
    uv_process_options_t options = {
        .exit_cb = on_run_exit,
        .file = f->words[0],
        .args = f->words,
        .stdio = stdio,
        .stdio_count = ARRAY_LEN(stdio),
    };

    uv_pipe_init(f->loop, &r->input, 0);
    r->input.data = r->process.data = r;
    r->handles = 2;
    r->input_open = true;
    f->ended[0] = '\0';
    int status = uv_spawn(f->loop, &r->process, &options);
    r->process.data = r;
    if (status < 0) {
        end_input(r);
        uv_close((uv_handle_t *)&r->process, run_handle_closed);
        return status;
    }
    uv_unref((uv_handle_t *)&r->process);
    r->feed = f;
    f->run = r;
    return 0;
}

static void on_written(uv_write_t *write, int status)
{
    struct run *r = container_of(write, struct run, write);
    struct feed *f = r->feed;

    if (!f || f->state != FEED_WRITE)
        return;
    if (status < 0) {
        step(f, FEED_GONE);
        return;
    }
    f->at += f->chunk_len;
    step(f, f->closing ? FEED_DRAIN : FEED_READ);
}

static void give(struct feed *f)
{
    bool first = !f->run;
    int status = first ? start_run(f) : 0;

    if (status < 0) {
        fail(f, "it cannot be started", uv_strerror(status));
        return;
    }
    struct run *r = f->run;
    size_t head = first ? f->header_len : 0;
    free(r->text);
    r->text = xmalloc(head + f->chunk_len);
    memcpy(r->text, f->header, head);
    memcpy(r->text + head, f->chunk, f->chunk_len);
    uv_buf_t b = uv_buf_init(r->text, (unsigned)(head + f->chunk_len));
    status = uv_write(&r->write, (uv_stream_t *)&r->input, &b, 1, on_written);
    if (status < 0)
        fail(f, "it does not read", uv_strerror(status));
}

/* --- the steps --- */

static void on_timer(uv_timer_t *timer)
{
    struct feed *f = timer->data;

    if (f->closing)
        step(f, FEED_IDLE);
    else if (f->state == FEED_IDLE)
        step(f, f->name[0] ? FEED_READ : FEED_LOOK);
    else if (f->state == FEED_FAILED)
        step(f, FEED_LOOK);
    else if (f->state == FEED_WRITE)
        fail(f, "it does not read", "write-timeout");
    else if (f->state == FEED_GONE)
        fail(f, "it closed its input", "");
    else if (f->state == FEED_DRAIN)
        fail(f, "it does not exit after the end of its input", "write-timeout");
}

static void forget_file(struct feed *f)
{
    if (f->fd >= 0)
        close(f->fd);
    f->fd = -1;
    f->name[0] = '\0';
}

static void on_timer_closed(uv_handle_t *h)
{
    struct feed *f = h->data;
    void (*closed)(void *arg) = f->closed;
    void *arg = f->closed_arg;

    forget_file(f);
    close(f->dirfd);
    free(f->command);
    free(f->prefix);
    free(f->suffix);
    command_line_free(f->words);
    free(f->header);
    free(f->chunk);
    free(f);
    closed(arg);
}

static bool is_whole(const struct feed *f)
{
    return f->settled && f->active[0] && strcmp(f->name, f->active) < 0;
}

static void step(struct feed *f, enum state to)
{
    static const int64_t no_wait = -1;
    int64_t wait = no_wait;

    f->state = to;
    if (f->closing && to != FEED_DRAIN && to != FEED_KEEP) {
        leave_run(f);
        uv_timer_stop(&f->timer);
        uv_close((uv_handle_t *)&f->timer, on_timer_closed);
        return;
    }
    switch (to) {
    case FEED_LOOK:
        forget_file(f);
        start_job(f, WORK_LOOK);
        break;
    case FEED_READ:
        f->whole = is_whole(f); /* before it is read: what comes later may bring more */
        start_job(f, WORK_READ);
        break;
    case FEED_IDLE:
        wait = IDLE_MS;
        break;
    case FEED_WRITE:
        wait = f->write_timeout_ms;
        give(f);
        if (f->state != FEED_WRITE)
            return;
        break;
    case FEED_GONE:
        end_input(f->run);
        wait = GONE_MS;
        break;
    case FEED_DRAIN:
        end_input(f->run);
        wait = f->closing ? MIN_OF(f->write_timeout_ms, (int64_t)CLOSE_MS) : f->write_timeout_ms;
        break;
    case FEED_KEEP:
        start_job(f, WORK_KEEP);
        break;
    case FEED_FAILED:
        wait = f->retry_ms;
        break;
    }
    uv_timer_stop(&f->timer);
    if (wait != no_wait)
        uv_timer_start(&f->timer, on_timer, (uint64_t)wait, 0);
}

/* Nothing more to read now. */
static void at_end(struct feed *f)
{
    if (!f->whole)
        step(f, FEED_IDLE);
    else
        step(f, f->run ? FEED_DRAIN : FEED_KEEP); /* without a run it has nothing to acknowledge */
}

static void kept(struct feed *f)
{
    if (!f->whole)
        f->kept_at = f->at;
    else if (f->failed_before)
        log_info(LOG_MAIN, "accounting command works again command='%s'", f->command);
    f->failed_before = f->failed_before && !f->whole;
    step(f, FEED_LOOK);
}

static void on_job(uv_work_t *job, int status)
{
    struct feed *f = container_of(job, struct feed, job);
    enum work work = f->work;

    (void)status; /* never cancelled */
    f->work = WORK_NONE;
    if (f->status < 0)
        fail(f, "its file cannot be read or kept", err_name(f->status));
    else if (f->closing && work == WORK_READ)
        step(f, f->run ? FEED_DRAIN : FEED_IDLE);
    else if (work == WORK_READ && f->at > f->kept_at && !f->run)
        fail(f, "it ended before its input did", f->ended);
    else if (work == WORK_LOOK)
        step(f, f->name[0] ? FEED_READ : FEED_IDLE);
    else if (work == WORK_READ && f->chunk_len)
        step(f, FEED_WRITE);
    else if (work == WORK_READ)
        at_end(f);
    else
        kept(f);
}

/* --- from report.c --- */

static void take_settings(struct feed *f, const struct feed_settings *s)
{
    f->retry_ms = s->retry_ms;
    f->write_timeout_ms = s->write_timeout_ms;
}

struct feed *feed_new(uv_loop_t *loop, const struct feed_settings *s)
{
    struct feed *f = xcalloc(1, sizeof(*f));
    struct err e;

    f->loop = loop;
    f->command = xstrdup(s->command);
    f->prefix = xstrdup(s->prefix);
    f->suffix = xstrdup(s->suffix);
    f->dirfd = fcntl(s->dirfd, F_DUPFD_CLOEXEC, 0);
    f->fd = -1;
    f->chunk = xmalloc(CHUNK);
    BUG_ON(command_line_split(sv_of(f->command), &f->words, &e) < 0);
    take_settings(f, s);
    uv_timer_init(loop, &f->timer);
    f->timer.data = f;
    uv_unref((uv_handle_t *)&f->timer);
    f->state = FEED_IDLE;
    uv_timer_start(&f->timer, on_timer, 0, 0);
    return f;
}

const char *feed_command(const struct feed *f)
{
    return f->command;
}

void feed_set(struct feed *f, const struct feed_settings *s)
{
    take_settings(f, s);
    if (f->state == FEED_FAILED)
        uv_timer_start(&f->timer, on_timer, 0, 0);
}

void feed_active(struct feed *f, const char *name, bool settled)
{
    snprintf(f->active, sizeof(f->active), "%s", name);
    f->settled = settled;
}

void feed_close(struct feed *f, void (*closed)(void *arg), void *arg)
{
    f->closing = true;
    f->whole = false;
    f->closed = closed;
    f->closed_arg = arg;
    if (f->work != WORK_NONE)
        return;
    if (f->state == FEED_WRITE || f->state == FEED_DRAIN)
        uv_timer_start(&f->timer, on_timer, CLOSE_MS, 0);
    else if (f->run)
        step(f, FEED_DRAIN);
    else
        step(f, FEED_IDLE);
}
