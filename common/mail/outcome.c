/*
 * Names and forms of outcomes; see outcome.h.
 */
#include "mail/outcome.h"

static const struct {
    const char *name;
    char record_type;
} classes[] = {
#define OUTCOME_ROW(name, text, type) {text, type},
    OUTCOME_CLASSES(OUTCOME_ROW)
#undef OUTCOME_ROW
};

static const char *const phases[] = {
#define OUTCOME_ROW(name, text) text,
    OUTCOME_PHASES(OUTCOME_ROW)
#undef OUTCOME_ROW
};

const char *outcome_class_name(enum outcome_class c)
{
    return (unsigned)c < ARRAY_LEN(classes) ? classes[c].name : "?";
}

char outcome_record_type(enum outcome_class c)
{
    return (unsigned)c < ARRAY_LEN(classes) ? classes[c].record_type : '?';
}

const char *outcome_phase_name(enum outcome_phase p)
{
    return (unsigned)p < ARRAY_LEN(phases) ? phases[p] : "?";
}

/* n < 1000 */
static char *put_part(char *at, unsigned n)
{
    if (n >= 100)
        *at++ = (char)('0' + n / 100);
    if (n >= 10)
        *at++ = (char)('0' + n / 10 % 10);
    *at++ = (char)('0' + n % 10);
    return at;
}

char *outcome_status(const struct outcome *o, char *out)
{
    if (o->enhanced.class_digit) { /* asked for in each record: no printf */
        char *at = put_part(out, o->enhanced.class_digit % 10u);
        *at++ = '.';
        at = put_part(at, o->enhanced.subject % 1000u);
        *at++ = '.';
        *put_part(at, o->enhanced.detail % 1000u) = '\0';
        return out;
    }
    switch (o->class_) {
    case OUTCOME_DELIVERED:
        return strcpy(out, "2.0.0");
    case OUTCOME_DEFERRED:
        return strcpy(out, "4.0.0");
    default:
        return strcpy(out, "5.0.0");
    }
}
