/*
 * Error texts; see err.h.
 */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *err_name(int code)
{
    switch (code) {
    case 0:
        return "success";
#define ERR_CASE(name, number, text) \
    case ERR_##name:                 \
        return text;
        ERR_TABLE(ERR_CASE)
#undef ERR_CASE
    }
    return code > -4096 && code < 0 ? strerror(-code) : "unknown error";
}

int err_set(struct err *e, int code, const char *fmt, ...)
{
    if (!e)
        return code;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(e->text, sizeof(e->text), fmt, ap);
    va_end(ap);
    e->code = code;
    if (code < 0 && code > -4096 && n >= 0 && (size_t)n < sizeof(e->text))
        snprintf(e->text + n, sizeof(e->text) - (size_t)n, ": %s", err_name(code));
    return code;
}

int err_prefix(struct err *e, const char *fmt, ...)
{
    char old[sizeof(e->text)];
    if (!e)
        return 0;
    memcpy(old, e->text, sizeof(old));
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(e->text, sizeof(e->text), fmt, ap);
    va_end(ap);
    if (n >= 0 && (size_t)n < sizeof(e->text)) {
        size_t room = sizeof(e->text) - (size_t)n;
        if (room > 2) {
            memcpy(e->text + n, ": ", 2);
            size_t len = MIN_OF(strlen(old), room - 3);
            memcpy(e->text + n + 2, old, len);
            e->text[(size_t)n + 2 + len] = '\0';
        }
    }
    return e->code;
}
