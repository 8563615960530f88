/*
 * Log lines; see log.h. Thread pool jobs do not log: they return what happened to the loop.
 *
 * Happy path: a line is appended to `pending` in the form of the output; log_flush writes what has
 * gathered, into a stream in one write, into a datagram socket one datagram per line, many per
 * system call. What can go wrong: the disk is full, the socket is full or nobody listens on it any
 * more. Then lines are dropped and counted; who runs the loop tells root (net/child.c), which opens
 * the output again.
 */
#include "base/log.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/log_form.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    FLUSH_BYTES = 32768,
    BATCH = 64,               /* datagrams per system call */
    DATAGRAM_MAX = 32 * 1024, /* what is longer is cut, a log line never is */
};

static struct {
    char process[64];
    int pid; /* remembered: getpid is a system call, and there is a line per delivery */
    int fd;
    enum log_target target;
    bool json;
    unsigned facility;
    char host[256];
    uint32_t debug;
    uint64_t lost;
    bool is_torn; /* the last write ended inside of a line */
    struct buf pending, message;
    uint32_t ends[BATCH]; /* of the datagrams in pending */
    unsigned count;       /* of datagrams; of lines in a stream */
    int64_t stamp_ms;     /* the time that stamp holds */
    char stamp[CLOCK_ISO_SIZE];
} the_log = {.process = "pmta", .fd = 2};

void log_set_process(const char *name)
{
    snprintf(the_log.process, sizeof(the_log.process), "%s", name);
    the_log.pid = (int)getpid();
}

void log_set_output(const struct log_output *output)
{
    log_flush();
    the_log.fd = output->fd;
    the_log.target = output->target;
    the_log.json = output->json;
    the_log.facility = output->facility;
    the_log.is_torn = false;
    snprintf(the_log.host, sizeof(the_log.host), "%s", output->host ? output->host : "");
}

void log_set_fd(int fd)
{
    log_set_output(&(struct log_output){.fd = fd});
}

uint64_t log_lost(void)
{
    return the_log.lost;
}

void log_set_debug(uint32_t mask)
{
    the_log.debug = mask;
}

uint32_t log_debug_mask(void)
{
    return the_log.debug;
}

uint32_t log_subsystem_bit(const char *name)
{
    if (strcmp(name, "all") == 0)
        return (1u << LOG_SUBSYSTEM_COUNT) - 1;
    for (unsigned i = 0; i < LOG_SUBSYSTEM_COUNT; i++)
        if (strcmp(name, log_subsystem_name((enum log_subsystem)i)) == 0)
            return 1u << i;
    return 0;
}

/* --- out --- */

static uint64_t count_lines(const struct buf *b)
{
    uint64_t n = 0;
    const char *at = buf_data(b), *end = at + buf_len(b);

    for (; at < end && (at = memchr(at, '\n', (size_t)(end - at))); at++)
        n++;
    return n;
}

static void flush_stream(void)
{
    struct buf *b = &the_log.pending;

    if (the_log.is_torn && write(the_log.fd, "\n", 1) == 1)
        the_log.is_torn = false;
    while (buf_len(b)) {
        ssize_t n = write(the_log.fd, buf_data(b), buf_len(b));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) { /* nowhere to say it: what cannot be written is dropped, mail goes on */
            the_log.lost += count_lines(b);
            break;
        }
        the_log.is_torn = buf_data(b)[n - 1] != '\n';
        buf_consume(b, (size_t)n);
    }
}

/* Those that are not taken at once are dropped: a full socket is no reason to wait. */
static void flush_datagrams(void)
{
    struct mmsghdr messages[BATCH] = {0};
    struct iovec parts[BATCH];
    char *at = buf_data(&the_log.pending);
    unsigned done = 0, begin = 0;

    for (unsigned i = 0; i < the_log.count; begin = the_log.ends[i++]) {
        parts[i] = (struct iovec){at + begin, MIN_OF(the_log.ends[i] - begin, DATAGRAM_MAX + 0u)};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
    }
    while (done < the_log.count) {
        int n = sendmmsg(the_log.fd, messages + done, the_log.count - done,
                         MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EMSGSIZE) { /* this one alone */
            the_log.lost++;
            done++;
            continue;
        }
        if (n <= 0)
            break;
        done += (unsigned)n;
    }
    the_log.lost += the_log.count - done;
}

void log_flush(void)
{
    if (!the_log.count)
        return;
    if (the_log.target == LOG_TO_STREAM)
        flush_stream();
    else
        flush_datagrams();
    buf_reset(&the_log.pending);
    the_log.count = 0;
}

/* A line is in `pending` from its first to its last byte. */
static void line_ends(enum log_level level)
{
    if (the_log.target == LOG_TO_STREAM)
        buf_append_char(&the_log.pending, '\n');
    else
        the_log.ends[the_log.count] = (uint32_t)buf_len(&the_log.pending);
    the_log.count++;
    if (level >= LOG_WARN || buf_len(&the_log.pending) >= FLUSH_BYTES ||
        (the_log.target != LOG_TO_STREAM && the_log.count == BATCH))
        log_flush();
}

/* --- lines --- */

static struct log_form form(enum log_level level, enum log_subsystem subsystem)
{
    int64_t now = clock_wall_ms();

    if (now != the_log.stamp_ms || !the_log.stamp[0]) {
        the_log.stamp_ms = now;
        clock_iso(now, the_log.stamp);
    }
    return (struct log_form){
        .level = level,
        .subsystem = subsystem,
        .wall_ms = now,
        .stamp = the_log.stamp,
        .process = the_log.process,
        .pid = the_log.pid ? the_log.pid : (int)getpid(),
        .facility = the_log.facility,
        .host = the_log.host,
    };
}

static void put(const struct log_form *f)
{
    if (the_log.target == LOG_TO_JOURNALD)
        log_form_journald(f, &the_log.pending);
    else if (the_log.target != LOG_TO_STREAM)
        log_form_syslog(f, the_log.target == LOG_TO_SYSLOG3, the_log.json, &the_log.pending);
    else if (the_log.json)
        log_form_json(f, &the_log.pending);
    else
        log_form_text(f, &the_log.pending);
    line_ends(f->level);
}

void log_line(enum log_level level, enum log_subsystem subsystem, const char *fmt, ...)
{
    struct log_form f = form(level, subsystem);
    bool plain = the_log.target == LOG_TO_STREAM && !the_log.json;
    va_list ap;

    va_start(ap, fmt);
    if (plain) {
        log_form_head(&f, &the_log.pending);
        buf_vprintf(&the_log.pending, fmt, ap);
        line_ends(level);
    } else {
        buf_reset(&the_log.message);
        buf_vprintf(&the_log.message, fmt, ap);
        f.message = buf_view(&the_log.message);
        put(&f);
    }
    va_end(ap);
}

void log_event(enum log_level level, enum log_subsystem subsystem, const char *message,
               const struct log_field *fields, const struct log_value *values, size_t count)
{
    struct log_form f = form(level, subsystem);

    f.message = sv_of(message);
    f.fields = fields;
    f.values = values;
    f.count = count;
    put(&f);
}

const char *log_safe(const char *data, size_t len, size_t max)
{
    static struct buf ring[8];
    static unsigned turn;
    struct buf *b = &ring[turn++ % ARRAY_LEN(ring)];

    buf_reset(b);
    for (size_t i = 0; i < len && i < max; i++) {
        unsigned char c = (unsigned char)data[i];
        if (c < 0x20 || c == 0x7f || c == '\'' || c == '\\')
            buf_printf(b, "\\x%02x", c);
        else
            buf_append_char(b, (char)c);
    }
    if (len > max)
        buf_append_str(b, "...");
    return buf_data(b);
}
