/*
 * Quantities as an operator writes them: intervals ("4d12h", "300s"), sizes ("250M", "64k"), rates
 * ("600/h", "83/5s", "12M/m", "unlimited"). All parsers take the whole view and refuse anything left over.
 */
#ifndef PMTA_BASE_UNITS_H
#define PMTA_BASE_UNITS_H

#include "base/str.h"

/* Sum of N followed by w, d, h, m, s or ms, no blanks; a bare "0" is allowed. 0 or ERR_SYNTAX. */
int units_parse_interval(struct strview s, int64_t *ret_ms);

/* N with optional b, k, m, g, t (powers of 1024, any case). 0 or ERR_SYNTAX. */
int units_parse_size(struct strview s, uint64_t *ret_bytes);

struct rate {
    uint64_t count;    /* events; 0 means unlimited */
    int64_t period_ms; /* per this time */
};

/* "unlimited", "0", or N/[M]unit with unit d, day, h, hr, m, min, s, sec. 0 or ERR_SYNTAX. */
int units_parse_rate(struct strview s, struct rate *ret);

/* Bytes per time, "12M/m", "2g/10h": as a rate, with a size before the stroke. 0 or ERR_SYNTAX. */
int units_parse_data_rate(struct strview s, struct rate *ret);

/* Shortest exact form: 390600000 -> "4d12h30m". out holds at least UNITS_SIZE bytes; returns it. */
#define UNITS_SIZE 48
char *units_format_interval(int64_t ms, char *out);
char *units_format_size(uint64_t bytes, char *out);
char *units_format_rate(const struct rate *r, char *out);
char *units_format_data_rate(const struct rate *r, char *out);

#endif
