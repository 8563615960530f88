/*
 * Log lines: lower case, no final period, subject in quotes, key=value after the message. A line is
 * written with one write(2) to a descriptor that root opened (stderr or the log file, O_APPEND), so
 * that lines of several processes never mix. Lines below warning are gathered and written once per
 * turn of the event loop (log_flush).
 *
 *   2026-11-21T04:05:06.789Z info  pipe/bulk[4711] delivery: connected queue=example.com/mta1 ...
 */
#ifndef PMTA_BASE_LOG_H
#define PMTA_BASE_LOG_H

#include "base/util.h"

/* LEVEL(NAME, "name") */
#define LOG_LEVELS(LEVEL) \
    LEVEL(DEBUG, "debug") \
    LEVEL(INFO, "info")   \
    LEVEL(WARN, "warn")   \
    LEVEL(ERROR, "error")

enum log_level {
#define LOG_ENUM(name, text) LOG_##name,
    LOG_LEVELS(LOG_ENUM)
#undef LOG_ENUM
};

/* SUBSYSTEM(NAME, "name"): what debug output can be switched on for, one by one */
#define LOG_SUBSYSTEMS(SUBSYSTEM)   \
    SUBSYSTEM(MAIN, "main")         \
    SUBSYSTEM(CONFIG, "config")     \
    SUBSYSTEM(IPC, "ipc")           \
    SUBSYSTEM(ADMIN, "admin")       \
    SUBSYSTEM(SMTP_IN, "smtp-in")   \
    SUBSYSTEM(SPOOL, "spool")       \
    SUBSYSTEM(QUEUE, "queue")       \
    SUBSYSTEM(LIMIT, "limit")       \
    SUBSYSTEM(DELIVERY, "delivery") \
    SUBSYSTEM(SIGN, "sign")         \
    SUBSYSTEM(REPORT, "report")     \
    SUBSYSTEM(DNS, "dns")           \
    SUBSYSTEM(TLS, "tls")

enum log_subsystem {
#define LOG_ENUM(name, text) LOG_##name,
    LOG_SUBSYSTEMS(LOG_ENUM)
#undef LOG_ENUM
        LOG_SUBSYSTEM_COUNT
};

/* Names this process in every line ("pipe/bulk"); the text is copied. Call again after fork. */
void log_set_process(const char *name);
/* Where lines go from now on; 2 at the start. The descriptor stays the caller's. */
void log_set_fd(int fd);
/* Debug output per subsystem: bit 1u << LOG_x. 0 at the start. */
void log_set_debug(uint32_t mask);
uint32_t log_debug_mask(void);
/* Bit for a subsystem's name, all bits for "all", 0 when there is none of that name. */
uint32_t log_subsystem_bit(const char *name);

/* Writes what was gathered. Call once per loop turn and before exit. */
void log_flush(void);

void log_line(enum log_level level, enum log_subsystem subsystem, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

/* Bytes that a peer sent, made safe for a log line: control bytes and quotes become \xNN, at most
 * max source bytes, then "...". Returns a buffer of this function's own (a ring of eight). */
const char *log_safe(const char *data, size_t len, size_t max);

#define log_is_debug(subsystem) ((log_debug_mask() & (1u << (subsystem))) != 0)

#define log_debug(subsystem, ...)                        \
    do {                                                 \
        if (log_is_debug(subsystem))                     \
            log_line(LOG_DEBUG, subsystem, __VA_ARGS__); \
    } while (0)
#define log_info(subsystem, ...)  log_line(LOG_INFO, subsystem, __VA_ARGS__)
#define log_warn(subsystem, ...)  log_line(LOG_WARN, subsystem, __VA_ARGS__)
#define log_error(subsystem, ...) log_line(LOG_ERROR, subsystem, __VA_ARGS__)

#endif
