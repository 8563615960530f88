/*
 * Log lines; see log.h. Thread pool jobs do not log: they return what happened to the loop.
 */
#include "base/log.h"

#include "base/buf.h"
#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

enum { FLUSH_BYTES = 32768 };

static const char *const level_names[] = {
#define LOG_NAME(name, text) text,
    LOG_LEVELS(LOG_NAME)
#undef LOG_NAME
};

static const char *const subsystem_names[] = {
#define LOG_NAME(name, text) text,
    LOG_SUBSYSTEMS(LOG_NAME)
#undef LOG_NAME
};

static struct {
    char process[64];
    int pid; /* remembered: getpid is a system call, and there is a line per delivery */
    int fd;
    uint32_t debug;
    struct buf pending;
    int64_t stamp_ms; /* the time that stamp holds */
    char stamp[CLOCK_ISO_SIZE];
} the_log = {.process = "pmta", .fd = 2};

void log_set_process(const char *name)
{
    snprintf(the_log.process, sizeof(the_log.process), "%s", name);
    the_log.pid = (int)getpid();
}

void log_set_fd(int fd)
{
    log_flush();
    the_log.fd = fd;
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
    for (size_t i = 0; i < ARRAY_LEN(subsystem_names); i++)
        if (strcmp(name, subsystem_names[i]) == 0)
            return 1u << i;
    return 0;
}

void log_flush(void)
{
    while (buf_len(&the_log.pending)) {
        ssize_t n = write(the_log.fd, buf_data(&the_log.pending), buf_len(&the_log.pending));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) { /* nowhere to say it: what cannot be written is dropped, mail goes on */
            buf_reset(&the_log.pending);
            return;
        }
        buf_consume(&the_log.pending, (size_t)n);
    }
}

static const char *stamp(void)
{
    int64_t now = clock_wall_ms();
    if (now != the_log.stamp_ms) {
        the_log.stamp_ms = now;
        clock_iso(now, the_log.stamp);
    }
    return the_log.stamp;
}

void log_line(enum log_level level, enum log_subsystem subsystem, const char *fmt, ...)
{
    va_list ap;

    buf_printf(&the_log.pending, "%s %-5s %s[%d] %s: ", stamp(), level_names[level],
               the_log.process, the_log.pid ? the_log.pid : (int)getpid(),
               subsystem_names[subsystem]);
    va_start(ap, fmt);
    buf_vprintf(&the_log.pending, fmt, ap);
    va_end(ap);
    buf_append_char(&the_log.pending, '\n');
    if (level >= LOG_WARN || buf_len(&the_log.pending) >= FLUSH_BYTES)
        log_flush();
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
