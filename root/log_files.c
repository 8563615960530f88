/*
 * Old log files; see log_files.h. Called by logging.c.
 *
 * A rotation is renames only, from the oldest file to the newest: whoever still writes into PATH
 * goes on doing so under its new name, PATH.1, and nothing is lost. It is compressed at the rotation
 * after that, or later, when nobody has it open for writing any more. A crash in between leaves a
 * gap in the numbers, which the next rotation closes.
 */
#include "log_files.h"

#include "base/buf.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    OLD_MAX = 1000,  /* as many as log-rotate allows */
    LOOK_BACK = 9,   /* older ones that could not be compressed stay as they are */
};

static const char *const suffixes[] = {"", ".gz", ".zst"};

int log_file_open(const char *path, bool world_readable, gid_t group, struct err *e)
{
    int flags = O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW | O_NONBLOCK;
    mode_t mode = world_readable ? 0644 : 0640;
    int fd = open(path, flags | O_CREAT | O_EXCL, mode);
    bool made = fd >= 0;
    struct stat st;

    if (fd < 0 && errno == EEXIST)
        fd = open(path, flags);
    if (fd < 0)
        return err_set(e, -errno, "cannot open log file '%s'%s", path,
                       errno == ELOOP ? ": it is a symbolic link" : "");
    if (fstat(fd, &st) < 0 || (!S_ISREG(st.st_mode) && !S_ISCHR(st.st_mode))) {
        close(fd);
        return err_set(e, ERR_BUSY, "cannot use log file '%s': it is no regular file", path);
    }
    if (made && (fchmod(fd, mode) < 0 || (group != (gid_t)-1 && fchown(fd, (uid_t)-1, group) < 0)))
        log_debug(LOG_MAIN, "log file keeps its owner and mode: %s", strerror(errno));
    return fd;
}

static const char *old_name(struct buf *b, const char *path, unsigned n, const char *suffix)
{
    buf_reset(b);
    buf_printf(b, "%s.%u%s", path, n, suffix);
    return buf_data(b);
}

/* PATH.n, in whichever form it is there, becomes PATH.n+1, or goes when that is too old. */
static int move_up(const char *path, unsigned n, unsigned keep, struct err *e)
{
    struct buf from = {0}, to = {0};
    int code = 0;

    for (size_t i = 0; code == 0 && i < ARRAY_LEN(suffixes); i++) {
        const char *was = old_name(&from, path, n, suffixes[i]);
        bool goes = n + 1 >= keep;
        int r = goes ? unlink(was) : rename(was, old_name(&to, path, n + 1, suffixes[i]));
        if (r < 0 && errno != ENOENT)
            code = err_set(e, -errno, "cannot %s log file '%s'", goes ? "remove" : "rename", was);
    }
    buf_free(&from);
    buf_free(&to);
    return code;
}

/* The highest number that is in use. */
static unsigned oldest(const char *path)
{
    struct buf name = {0};
    unsigned highest = 0;

    for (unsigned n = 1; n <= OLD_MAX && n <= highest + 8; n++)
        for (size_t i = 0; i < ARRAY_LEN(suffixes); i++)
            if (access(old_name(&name, path, n, suffixes[i]), F_OK) == 0)
                highest = n;
    buf_free(&name);
    return highest;
}

int log_file_shift(const char *path, unsigned keep, struct err *e)
{
    struct buf first = {0};
    int code = 0;

    for (unsigned n = oldest(path); code == 0 && n >= 1; n--)
        code = move_up(path, n, keep, e);
    if (code == 0 && rename(path, old_name(&first, path, 1, "")) < 0)
        code = err_set(e, -errno, "cannot rename log file '%s'", path);
    buf_free(&first);
    return code;
}

/* --- compression --- */

static void forget(struct log_compressor *c)
{
    free(c->from);
    free(c->to);
    free(c->partial);
    c->from = c->to = c->partial = NULL;
}

static void on_closed(uv_handle_t *handle)
{
    struct log_compressor *c = handle->data;

    c->runs = false;
    c->done(c->arg);
}

static void on_compressed(uv_process_t *process, int64_t status, int signal)
{
    struct log_compressor *c = process->data;

    if (status != 0 || signal) {
        log_warn(LOG_MAIN, "log file '%s' stays as it is: its compression failed", c->from);
        unlink(c->partial);
    } else if (rename(c->partial, c->to) < 0 || unlink(c->from) < 0) {
        log_warn(LOG_MAIN, "compressed log file '%s' is not in its place: %s", c->to,
                 strerror(errno));
    }
    forget(c);
    uv_close((uv_handle_t *)process, on_closed);
}

static int spawn(struct log_compressor *c, uv_loop_t *loop, char *program, int in, int out)
{
    char *arguments[] = {program, (char[]){"-c"}, NULL};
    uv_stdio_container_t stdio[3] = {
        {.flags = UV_INHERIT_FD, .data.fd = in},
        {.flags = UV_INHERIT_FD, .data.fd = out},
        {.flags = UV_IGNORE},
    };
    uv_process_options_t options = {
        .exit_cb = on_compressed,
        .file = program,
        .args = arguments,
        .stdio = stdio,
        .stdio_count = 3,
        .flags = c->drop ? UV_PROCESS_SETUID | UV_PROCESS_SETGID : 0,
        .uid = c->uid,
        .gid = c->gid,
    };
    c->process.data = c;
    return uv_spawn(loop, &c->process, &options);
}

static void start(struct log_compressor *c, uv_loop_t *loop, const char *program)
{
    struct stat st;
    int in = open(c->from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    int out =
        in < 0 ? -1 : open(c->partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    char *copy = xstrdup(program);
    int code = 0;

    if (out < 0 || fstat(in, &st) < 0 || fchmod(out, st.st_mode & 0777) < 0)
        code = -errno;
    else if (fchown(out, (uid_t)-1, st.st_gid) < 0)
        log_debug(LOG_MAIN, "compressed log file keeps its group: %s", strerror(errno));
    if (code == 0) {
        code = spawn(c, loop, copy, in, out);
        c->runs = true; /* also when it failed: libuv has the handle, and wants it closed */
        if (code < 0) {
            unlink(c->partial);
            uv_close((uv_handle_t *)&c->process, on_closed);
        }
    }
    if (code < 0 && code != -ENOENT)
        log_warn(LOG_MAIN, "log file '%s' is not compressed by '%s': %s", c->from, program,
                 strerror(-code));
    else if (code < 0 && c->runs)
        log_warn(LOG_MAIN, "log file '%s' is not compressed: there is no program '%s'", c->from,
                 program);
    if (in >= 0)
        close(in);
    if (out >= 0)
        close(out);
    if (code < 0)
        forget(c);
    free(copy);
}

/* The kernel knows: a lease for reading is not given while anybody may write. A process may lag
 * behind by more than one rotation, and what it writes into a file after that was read is lost. */
static bool is_written(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

    if (fd < 0)
        return false;
    fcntl(fd, F_SETSIG, SIGURG); /* that somebody opens it meanwhile is no news */
    bool written = fcntl(fd, F_SETLEASE, F_RDLCK) < 0 && errno == EAGAIN;
    close(fd); /* and with it the lease */
    return written;
}

/* The oldest that can be compressed; 0: none. */
static unsigned choose(struct log_compressor *c, const char *path)
{
    struct buf name = {0};
    unsigned found = 0;

    c->left = false;
    for (unsigned n = LOOK_BACK; n >= 2 && !found; n--) {
        if (access(old_name(&name, path, n, ""), F_OK) < 0)
            continue;
        if (is_written(buf_data(&name)))
            c->left = true;
        else
            found = n;
    }
    buf_free(&name);
    return found;
}

void log_compress(struct log_compressor *c, uv_loop_t *loop, const char *path,
                  enum log_compression how)
{
    struct buf name = {0};

    if (c->runs || how == LOG_COMPRESS_NONE)
        return;
    unsigned n = choose(c, path);
    if (!n)
        return;
    old_name(&name, path, n, "");
    c->from = buf_take(&name);
    old_name(&name, path, n, suffixes[how]);
    c->to = buf_take(&name);
    buf_printf(&name, "%s.partial", path);
    c->partial = buf_take(&name);
    start(c, loop, how == LOG_COMPRESS_GZIP ? "gzip" : "zstd");
}

void log_compressor_fini(struct log_compressor *c)
{
    forget(c);
}
