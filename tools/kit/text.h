/*
 * text: numbers and strings as the reports show them.
 */
#ifndef PMTA_TOOLS_TEXT_H
#define PMTA_TOOLS_TEXT_H

#include "base/buf.h"

/* 1234567 -> "1,234,567". out holds at least TEXT_SIZE; returns out. */
#define TEXT_SIZE 32
char *text_count(uint64_t n, char *out);
/* 1536 -> "1.5 KiB" */
char *text_bytes(uint64_t n, char *out);

/* A JSON string with its quotes; bytes that are not UTF-8 become U+FFFD. */
void text_json(struct buf *out, struct strview s);

/* "  label ........ value" */
void text_row(struct buf *out, const char *label, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Reply counts by code, for both tools. */
struct text_codes {
    uint64_t counts[1000];
};

static inline void text_codes_add(struct text_codes *c, int code)
{
    if (code >= 0 && code < 1000)
        c->counts[code]++;
}

/* "451 × 12, 550 × 3", or "none" */
void text_codes_list(const struct text_codes *c, struct buf *out);
/* {"451":12,"550":3} */
void text_codes_json(const struct text_codes *c, struct buf *out);

#endif
