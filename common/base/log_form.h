/*
 * The forms of a log line; log.c alone uses this.
 */
#ifndef PMTA_BASE_LOG_FORM_H
#define PMTA_BASE_LOG_FORM_H

#include "base/buf.h"
#include "base/log.h"

struct log_form {
    enum log_level level;
    enum log_subsystem subsystem;
    int64_t wall_ms;
    const char *stamp; /* wall_ms as clock_iso writes it */
    const char *process;
    int pid;
    unsigned facility;
    const char *host;
    struct strview message;
    const struct log_field *fields;
    const struct log_value *values;
    size_t count;
};

/* Each appends one line or datagram, without a newline at its end. */
void log_form_text(const struct log_form *f, struct buf *out);
void log_form_json(const struct log_form *f, struct buf *out);
void log_form_syslog(const struct log_form *f, bool rfc3164, bool json, struct buf *out);
void log_form_journald(const struct log_form *f, struct buf *out);

/* What stands before the message in text. */
void log_form_head(const struct log_form *f, struct buf *out);
/* A JSON string with its quotes, of any bytes: what is not UTF-8 becomes U+FFFD. */
void log_form_json_text(struct strview s, struct buf *out);

#endif
