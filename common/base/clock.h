/*
 * Time in one unit: milliseconds, int64_t. Monotonic time is for intervals, wall time (since the
 * Unix epoch) for what is written down. Tests replace both.
 */
#ifndef PMTA_BASE_CLOCK_H
#define PMTA_BASE_CLOCK_H

#include "base/util.h"

int64_t clock_mono_ms(void);
int64_t clock_wall_ms(void);
int64_t clock_wall_us(void);

/* Freezes both clocks at this wall time; clock_fake_advance moves them. For tests. */
void clock_fake_set(int64_t wall_ms);
void clock_fake_advance(int64_t ms);

/* "2026-11-21T04:05:06.789Z"; out holds at least CLOCK_ISO_SIZE bytes. Returns out. */
#define CLOCK_ISO_SIZE 32
char *clock_iso(int64_t wall_ms, char *out);

/* RFC 5322 section 3.3 date-time in UTC: "Sat, 21 Nov 2026 04:05:06 +0000". */
#define CLOCK_RFC5322_SIZE 40
char *clock_rfc5322(int64_t wall_ms, char *out);

#endif
