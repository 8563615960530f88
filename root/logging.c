/*
 * Where log lines go: opens the file or socket, hands it to every child, begins new files, and finds
 * out when an output is gone.
 *
 * Called by: monitor.c (start, reload, SIGHUP), kid.c (a child that begins, or lost lines), admin.c
 * (rotate, status). Happy path: logging_apply opens what the configuration says and all write into
 * copies of one open file. What can go wrong: a log file that cannot be opened is an error, as any
 * other in the configuration. A log daemon that is away is none: mail does not wait for it. Lines
 * go to stderr then, and once a second it is looked for again; so it is when somebody lost lines,
 * because a daemon that was started anew has another socket.
 */
#include "monitor.h"

#include "base/clock.h"
#include "base/log.h"
#include "json_text.h"
#include "log_files.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    TICK_MS = 1000,
    PATIENCE_MS = 60000, /* after a rotation that failed */
    SEND_BUFFER_BYTES = 8 * 1024 * 1024,
};

/* What is in force; texts are its own. */
struct place {
    struct log_config config;
    char *file; /* absolute; NULL: none */
    char *socket;
    char host[256];
};

struct logging {
    struct root *root;
    struct place place;
    bool is_fallback; /* the socket could not be opened: lines go to stderr */
    char trouble[160];
    uv_timer_t timer;
    struct log_compressor compressor;
    bool rotate_wanted;  /* when the compressor is done */
    int64_t failed_ms;   /* monotonic; when a rotation of its own failed; 0: never */
    int64_t period;      /* of log-rotate-interval, that the file belongs to */
    uint64_t lost;       /* of all children; root's own are in log_lost() */
    uint64_t lost_told;  /* of that sum, in the log */
    uint64_t complaints; /* lines that would have said so, and were lost as well */
    bool reopen_wanted;
};

/* --- the configuration --- */

static char *copy_text(const char *text)
{
    return text ? xstrdup(text) : NULL;
}

/* The place where pmtactl, which runs elsewhere, finds it. */
static char *absolute_path(const struct root *r, const char *text)
{
    char *path = setup_path(r, text), cwd[PATH_MAX];
    struct buf whole = {0};

    if (path[0] == '/' || !getcwd(cwd, sizeof(cwd)))
        return path;
    buf_printf(&whole, "%s/%s", cwd, path);
    free(path);
    return buf_take(&whole);
}

static void place_fini(struct place *p)
{
    free(p->file);
    free(p->socket);
    *p = (struct place){0};
}

static void place_read(const struct root *r, const struct config *cfg, struct place *p)
{
    log_config_get(cfg, &p->config);
    p->file = p->config.file ? absolute_path(r, p->config.file) : NULL;
    p->socket = copy_text(p->config.socket);
    if (p->config.host)
        snprintf(p->host, sizeof(p->host), "%s", p->config.host);
    else if (gethostname(p->host, sizeof(p->host)) < 0)
        p->host[0] = '\0';
    p->host[sizeof(p->host) - 1] = '\0';
    p->config.file = p->config.socket = p->config.host = NULL;
}

/* --- opening --- */

static gid_t readers(const struct root *r)
{
    const char *name = config_text(r->config, NULL, DIR_ADMIN_GROUP);
    struct group *g = name && geteuid() == 0 ? getgrnam(name) : NULL;
    return g ? g->gr_gid : (gid_t)-1;
}

static int open_socket(const struct place *p, struct err *e)
{
    struct sockaddr_storage to;
    socklen_t len;
    int size = SEND_BUFFER_BYTES;

    if (syslog_address_parse(p->socket, &to, &len, e) < 0)
        return e->code;
    int fd = socket(to.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, len) < 0) {
        int code = err_set(e, -errno, "%s", strerror(errno));
        if (fd >= 0)
            close(fd);
        return code;
    }
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0)
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    return fd;
}

/* What place says, or stderr when a log daemon is away. */
static int open_place(struct logging *g, const struct place *p, struct err *e)
{
    struct err trouble = {0};
    int fd = 2;

    g->is_fallback = false;
    if (p->config.to == LOG_TO_FILE)
        return log_file_open(p->file, p->config.world_readable, readers(g->root), e);
    if (p->socket && (fd = open_socket(p, &trouble)) < 0) {
        g->is_fallback = true;
        snprintf(g->trouble, sizeof(g->trouble), "%.150s", trouble.text);
        fd = 2;
    }
    return fd;
}

static struct log_output output_of(const struct logging *g)
{
    return (struct log_output){
        .fd = g->root->log_fd,
        .target = g->is_fallback ? LOG_TO_STREAM : g->place.config.target,
        .json = g->place.config.json,
        .facility = g->place.config.facility,
        .host = g->place.host,
    };
}

/* Takes fd: lines of this process go there from now on. */
static void adopt(struct logging *g, int fd)
{
    struct root *r = g->root;
    int old = r->log_fd;

    r->log_fd = fd;
    struct log_output o = output_of(g);
    log_set_output(&o);
    if (old != 2)
        close(old);
}

static void tell_kids(struct root *r)
{
    list_for_each (n, &r->kids) {
        struct kid *k = list_entry(n, struct kid, node);
        if (k->handed_over)
            logging_send(k);
    }
}

void logging_send(struct kid *k)
{
    struct log_output o = output_of(k->root->logging);
    struct ipc_log_output m = {
        .debug_mask = log_debug_mask() | debugging_of(k),
        .target = (uint8_t)o.target,
        .json = o.json,
        .facility = o.facility,
        .host = sv_of(o.host),
    };
    if (k->control)
        ipc_send_fds(k->control, log_output, &m, &o.fd, 1);
}

/* --- new files --- */

static int64_t period_of(const struct logging *g, int64_t wall_ms)
{
    int64_t interval = g->place.config.interval_ms;
    return interval ? wall_ms / interval : 0;
}

/* Of what was written into it before we came. */
static void find_period(struct logging *g)
{
    struct stat st;
    bool old = g->place.config.to == LOG_TO_FILE && fstat(g->root->log_fd, &st) == 0 && st.st_size;

    g->period = period_of(g, old ? (int64_t)st.st_mtim.tv_sec * 1000 : clock_wall_ms());
}

static bool may_rotate(const struct logging *g)
{
    return g->place.config.to == LOG_TO_FILE && g->place.config.keep > 1;
}

static void compress(struct logging *g)
{
    g->compressor.drop = g->root->drop;
    g->compressor.uid = g->root->uid;
    g->compressor.gid = g->root->gid;
    log_compress(&g->compressor, &g->root->loop, g->place.file, g->place.config.compression);
}

static int rotate(struct logging *g, struct err *e)
{
    const struct place *p = &g->place;
    struct stat st;

    g->rotate_wanted = false;
    g->period = period_of(g, clock_wall_ms());
    if (fstat(g->root->log_fd, &st) == 0 && st.st_size == 0)
        return 0; /* nothing would be in it */
    if (log_file_shift(p->file, p->config.keep, e) < 0)
        return e->code;
    int fd = log_file_open(p->file, p->config.world_readable, readers(g->root), e);
    if (fd < 0)
        return e->code;
    adopt(g, fd);
    tell_kids(g->root);
    compress(g);
    return 0;
}

static void rotate_now(struct logging *g)
{
    struct err e = {0};

    g->rotate_wanted = g->compressor.runs; /* it works on a file that would get another name */
    if (g->rotate_wanted || rotate(g, &e) == 0)
        return;
    g->failed_ms = clock_mono_ms();
    log_error(LOG_MAIN, "the log file is not rotated, going on with it: %s: %s", e.text,
              err_name(e.code));
}

static void on_compressed(void *arg)
{
    struct logging *g = arg;
    if (g->rotate_wanted && may_rotate(g))
        rotate_now(g);
}

static bool is_due(const struct logging *g)
{
    const struct log_config *c = &g->place.config;
    struct stat st;

    if (g->rotate_wanted || !may_rotate(g) ||
        (g->failed_ms && clock_mono_ms() - g->failed_ms < PATIENCE_MS))
        return false;
    if (period_of(g, clock_wall_ms()) != g->period)
        return true;
    return c->max_bytes && fstat(g->root->log_fd, &st) == 0 && (uint64_t)st.st_size >= c->max_bytes;
}

int logging_rotate(struct root *r, struct err *e)
{
    struct logging *g = r->logging;

    if (g->place.config.to != LOG_TO_FILE)
        return err_set(e, ERR_BUSY, "there is no log file: log-to is %s",
                       log_to_name(g->place.config.to));
    if (g->place.config.keep < 2)
        return err_set(e, ERR_BUSY, "log-rotate = %u: the log file is never rotated",
                       g->place.config.keep);
    if (g->compressor.runs) {
        g->rotate_wanted = true;
        return 0;
    }
    return rotate(g, e);
}

/* --- an output that is gone --- */

void logging_lost(struct kid *k, uint64_t lines)
{
    struct logging *g = k->root->logging;

    g->lost += lines;
    g->reopen_wanted = true;
}

static uint64_t lost_in_all(const struct logging *g)
{
    return g->lost + log_lost() - g->complaints;
}

static void reopen(struct logging *g)
{
    struct root *r = g->root;
    bool was_away = g->is_fallback;
    struct err e = {0};
    int fd = open_place(g, &g->place, &e);

    g->reopen_wanted = false;
    if (fd < 0) {
        log_error(LOG_MAIN,
                  "the log file is not opened again, going on with the one that is open: "
                  "%s: %s",
                  e.text, err_name(e.code));
        return;
    }
    if (was_away && g->is_fallback)
        return;
    adopt(g, fd);
    tell_kids(r);
    if (g->is_fallback)
        log_warn(LOG_MAIN, "the log socket '%s' is away: %s; lines go to stderr until it is back",
                 g->place.socket, g->trouble);
    else if (was_away)
        log_info(LOG_MAIN, "the log socket '%s' is there again", g->place.socket);
}

static void on_tick(uv_timer_t *timer)
{
    struct logging *g = timer->data;
    uint64_t lost = lost_in_all(g);

    if (is_due(g))
        rotate_now(g);
    else if (g->compressor.left && may_rotate(g))
        compress(g);
    if (g->reopen_wanted || g->is_fallback || lost != g->lost_told)
        reopen(g);
    if (lost == g->lost_told)
        return;
    uint64_t mine = log_lost();
    log_warn(LOG_MAIN, "log lines were lost, the output did not take them lines=%llu",
             (unsigned long long)(lost - g->lost_told));
    g->complaints += log_lost() - mine;
    if (log_lost() == mine)
        g->lost_told = lost;
}

/* --- monitor.h --- */

static struct logging *logging_new(struct root *r)
{
    struct logging *g = xcalloc(1, sizeof(*g));

    g->root = r;
    g->compressor.done = on_compressed;
    g->compressor.arg = g;
    uv_timer_init(&r->loop, &g->timer);
    g->timer.data = g;
    uv_timer_start(&g->timer, on_tick, TICK_MS, TICK_MS);
    return g;
}

int logging_apply(struct root *r, const struct config *cfg, struct err *e)
{
    struct place next = {0};

    if (!r->logging)
        r->logging = logging_new(r);
    struct logging *g = r->logging;
    place_read(r, cfg, &next);
    bool was_fallback = g->is_fallback;
    int fd = open_place(g, &next, e);
    if (fd < 0) {
        g->is_fallback = was_fallback;
        place_fini(&next);
        return e->code;
    }
    place_fini(&g->place);
    g->place = next;
    adopt(g, fd);
    find_period(g);
    if (g->is_fallback)
        log_warn(LOG_MAIN,
                 "cannot use the log socket '%s': %s; lines go to stderr until it is there",
                 next.socket, g->trouble);
    return 0;
}

void logging_reopen(struct root *r)
{
    if (r->logging && r->logging->place.config.to == LOG_TO_FILE)
        reopen(r->logging);
}

void logging_status(const struct root *r, struct buf *out)
{
    const struct logging *g = r->logging;
    const struct log_config *c = &g->place.config;
    struct stat st;

    buf_printf(out, "{\"to\":\"%s\",\"format\":\"%s\",\"lost\":%llu", log_to_name(c->to),
               c->json ? "json" : "text", (unsigned long long)lost_in_all(g));
    if (c->to == LOG_TO_FILE) {
        buf_append_str(out, ",\"file\":");
        json_text(out, sv_of(g->place.file));
        if (fstat(r->log_fd, &st) == 0)
            buf_printf(out, ",\"bytes\":%lld", (long long)st.st_size);
    }
    if (g->place.socket) {
        buf_append_str(out, ",\"socket\":");
        json_text(out, sv_of(g->place.socket));
    }
    if (g->is_fallback) {
        buf_append_str(out, ",\"trouble\":");
        json_text(out, sv_of(g->trouble));
    }
    buf_append_char(out, '}');
}

void logging_fini(struct root *r)
{
    if (!r->logging)
        return;
    place_fini(&r->logging->place);
    log_compressor_fini(&r->logging->compressor);
    free(r->logging);
    r->logging = NULL;
}
