/*
 * Log lines: lower case, no final period, subject in quotes, key=value after the message. Root
 * opens where they go (a file or stderr, or the socket of syslog or the journal) and hands every
 * process a descriptor. A line is written in one piece, so that lines of several processes never
 * mix. Lines below warning are gathered and written once per turn of the event loop (log_flush).
 *
 *   2026-11-21T04:05:06.789Z info  pipe/bulk[4711] delivery: delivered id=... rcpt=... reply='...'
 *   {"time":"2026-11-21T04:05:06.789Z","level":"info","process":"pipe/bulk","pid":4711,
 *    "subsystem":"delivery","message":"delivered","id":"...","rcpt":"...","reply":"..."}
 *
 * log_line is for sentences; in JSON they are the member "message". Lines whose parts are looked
 * for by others (one per attempt, one per accepted message) are made of fields by log_event, and
 * have them as members of the object.
 *
 * Nothing here waits: what a full or dead output does not take is dropped and counted.
 */
#ifndef PMTA_BASE_LOG_H
#define PMTA_BASE_LOG_H

#include "base/str.h"

/* LEVEL(NAME, "name", severity of syslog) */
#define LOG_LEVELS(LEVEL)    \
    LEVEL(DEBUG, "debug", 7) \
    LEVEL(INFO, "info", 6)   \
    LEVEL(WARN, "warn", 4)   \
    LEVEL(ERROR, "error", 3)

enum log_level {
#define LOG_ENUM(name, text, severity) LOG_##name,
    LOG_LEVELS(LOG_ENUM)
#undef LOG_ENUM
        LOG_LEVEL_COUNT
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

const char *log_level_name(enum log_level level);
/* LOG_LEVEL_COUNT when there is none of that name. */
enum log_level log_level_find(struct strview name);

/* --- where lines go --- */

enum log_target {
    LOG_TO_STREAM,   /* write(2): a file with O_APPEND, stderr */
    LOG_TO_SYSLOG,   /* a connected datagram socket, RFC 5424 */
    LOG_TO_SYSLOG3,  /* the same as syslog(3) writes it, which /dev/log is used to (RFC 3164) */
    LOG_TO_JOURNALD, /* a connected datagram socket, the journal's own protocol */
    LOG_TARGET_COUNT
};

struct log_output {
    int fd; /* stays the caller's */
    enum log_target target;
    bool json;        /* not of journald, where everything has fields */
    uint8_t facility; /* of syslog and journald: its number, 2 is mail */
    const char *host; /* of syslog; copied */
};

/* Names this process in every line ("pipe/bulk"); the text is copied. Call again after fork. */
void log_set_process(const char *name);
/* Where lines go from now on; what was gathered still goes where it belonged. stderr as text at the
 * start. */
void log_set_output(const struct log_output *output);
/* The same for lines of text into a descriptor. */
void log_set_fd(int fd);
/* Lines that could not be written, since the start of the process. */
uint64_t log_lost(void);

/* Writes what was gathered. Call once per loop turn and before exit. */
void log_flush(void);

/* --- debug output --- */

/* Debug output per subsystem: bit 1u << LOG_x. 0 at the start. */
void log_set_debug(uint32_t mask);
uint32_t log_debug_mask(void);
/* Bit for a subsystem's name, all bits for "all", 0 when there is none of that name. */
uint32_t log_subsystem_bit(const char *name);
const char *log_subsystem_name(enum log_subsystem subsystem);

#define log_is_debug(subsystem) ((log_debug_mask() & (1u << (subsystem))) != 0)

/* --- sentences --- */

void log_line(enum log_level level, enum log_subsystem subsystem, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

/* Bytes that a peer sent, made safe for a log line: control bytes and quotes become \xNN, at most
 * max source bytes, then "...". Returns a buffer of this function's own (a ring of eight). */
const char *log_safe(const char *data, size_t len, size_t max);

#define log_debug(subsystem, ...)                        \
    do {                                                 \
        if (log_is_debug(subsystem))                     \
            log_line(LOG_DEBUG, subsystem, __VA_ARGS__); \
    } while (0)
#define log_info(subsystem, ...)  log_line(LOG_INFO, subsystem, __VA_ARGS__)
#define log_warn(subsystem, ...)  log_line(LOG_WARN, subsystem, __VA_ARGS__)
#define log_error(subsystem, ...) log_line(LOG_ERROR, subsystem, __VA_ARGS__)

/* --- fields --- */

enum log_field_kind {
    LOG_FIELD_WORD,   /* bare in text where it can be: name=value */
    LOG_FIELD_TEXT,   /* always in quotes: name='what somebody said' */
    LOG_FIELD_NUMBER, /* a number in JSON, too */
};

struct log_field {
    const char *name; /* letters, digits, underscore: also PMTA_NAME of the journal */
    enum log_field_kind kind;
    unsigned max; /* bytes of the value that are shown; 0: all */
};

/* A value: of WORD and TEXT any bytes (ptr NULL: the field is left out), of NUMBER the number
 * (LOG_NO_NUMBER: left out). */
struct log_value {
    struct strview text;
    int64_t number;
};
#define LOG_NO_NUMBER INT64_MIN

/* One line of `count` fields, in their order; values[i] is that of fields[i]. message is ours. */
void log_event(enum log_level level, enum log_subsystem subsystem, const char *message,
               const struct log_field *fields, const struct log_value *values, size_t count);

#endif
