/*
 * Admin lines in the process that answers them (library pmta_admin, jansson): a line is parsed, its
 * verb looked up in a table of handlers, and each object of the answer is sent as one line.
 */
#ifndef PMTA_NET_ADMIN_H
#define PMTA_NET_ADMIN_H

#include "net/admin_verbs.h"
#include "net/child.h"

#include <jansson.h>

/* One request being answered. A handler either answers and returns, or keeps a copy of the struct
 * (without args) and ends it later. */
struct admin {
    struct child *child;
    uint64_t token;
    json_t *args;        /* the object in the line, or an empty one; borrowed by the handler */
    const char *process; /* "pipe/bulk" */
};

struct admin_handler {
    enum admin_verb verb;
    void (*handle)(void *owner, struct admin *a);
};

/* Parses the line and calls its handler; a bad line or a verb without handler is answered with an
 * error. */
void admin_dispatch(struct child *child, const char *process, const struct child_admin_request *req,
                    const struct admin_handler *handlers, size_t count, void *owner);

/* Sends one object with "process" put in front; takes the reference. */
void admin_send(const struct admin *a, json_t *object);
/* Ends the answer. */
void admin_end(const struct admin *a);
/* {"process":…,"error":text}, and ends the answer. */
void admin_error(const struct admin *a, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* A string argument, or an empty view when it is absent or no string. */
struct strview admin_text(const struct admin *a, const char *name);
bool admin_flag(const struct admin *a, const char *name);
int64_t admin_number(const struct admin *a, const char *name, int64_t fallback);

/* JSON string of any bytes: what is not UTF-8 becomes U+FFFD. */
json_t *admin_json_text(struct strview s);

#endif
