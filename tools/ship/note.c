/*
 * Log lines that wait; see note.h. main.c sets what wakes the loop, or nothing when there is one
 * thread only (standalone, tests).
 */
#include "note.h"

#include "base/buf.h"

#include <pthread.h>

enum { WAITING_MAX = 1000 };

static struct {
    pthread_mutex_t lock;
    struct waiting {
        enum log_level level;
        char *text;
    } lines[WAITING_MAX];
    size_t count, dropped;
    void (*wake)(void *arg);
    void *arg;
} notes = {.lock = PTHREAD_MUTEX_INITIALIZER};

void note_set_wake(void (*wake)(void *arg), void *arg)
{
    pthread_mutex_lock(&notes.lock);
    notes.wake = wake;
    notes.arg = arg;
    pthread_mutex_unlock(&notes.lock);
}

void note(enum log_level level, const char *fmt, ...)
{
    struct buf text = {0};
    va_list ap;

    if (level == LOG_DEBUG && !log_is_debug(LOG_REPORT))
        return;
    va_start(ap, fmt);
    buf_vprintf(&text, fmt, ap);
    va_end(ap);
    pthread_mutex_lock(&notes.lock);
    if (!notes.wake) {
        log_line(level, LOG_REPORT, "%s", buf_data(&text));
        log_flush();
    } else if (notes.count == WAITING_MAX) {
        notes.dropped++;
    } else {
        notes.lines[notes.count++] = (struct waiting){level, buf_take(&text)};
        notes.wake(notes.arg);
    }
    pthread_mutex_unlock(&notes.lock);
    buf_free(&text);
}

void note_flush(void)
{
    pthread_mutex_lock(&notes.lock);
    for (size_t i = 0; i < notes.count; i++) {
        log_line(notes.lines[i].level, LOG_REPORT, "%s", notes.lines[i].text);
        free(notes.lines[i].text);
    }
    if (notes.dropped)
        log_warn(LOG_REPORT, "%zu log lines came too fast, leaving them out", notes.dropped);
    notes.count = notes.dropped = 0;
    pthread_mutex_unlock(&notes.lock);
}
