/*
 * Log lines of the thread that ships: base/log.h is for one thread, so they wait here until the
 * thread that owns the log writes them.
 */
#ifndef PMTA_SHIP_NOTE_H
#define PMTA_SHIP_NOTE_H

#include "base/log.h"

/* From any thread. Beyond 1000 waiting lines they are dropped, and that is said. */
void note(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Writes them; by the owner of the log. */
void note_flush(void);
/* Called by note() after a line was added, from its thread; NULL: lines are written at once. */
void note_set_wake(void (*wake)(void *arg), void *arg);

#endif
