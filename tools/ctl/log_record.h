/*
 * A line of the log as an object, whether it was written as text or as JSON: time, level, process,
 * pid, subsystem, message, and the fields after it.
 */
#ifndef PMTA_CTL_LOG_RECORD_H
#define PMTA_CTL_LOG_RECORD_H

#include "page.h"

#include <jansson.h>

/* A new object; NULL when that is no line of ours. */
json_t *log_record_parse(struct strview line);

/* What must be true of a line; NULL and 0 ask for nothing. Patterns have * and ?, without case. */
struct log_filter {
    const char *pipe, *rcpt, *sender, *queue, *id, *job;
    int level;      /* enum log_level; lines below are left out */
    char since[32]; /* as lines are stamped; "": from the beginning */
};

/* Looks at the bytes alone: false when the line cannot match. */
bool log_filter_may(const struct log_filter *f, struct strview line);
bool log_filter_matches(const struct log_filter *f, const json_t *record);
/* Whether it asks for anything but a level. */
bool log_filter_is_set(const struct log_filter *f);

/* The line for people, with its newline. */
void log_record_print(const json_t *record, struct page *page);

#endif
