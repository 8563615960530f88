/*
 * The thread that ships; see worker.h. child.c has one at a time. The thread may wait and sync as it
 * likes; the loop of the process only takes what it says: its log lines and its status.
 */
#include "worker.h"

#include "note.h"
#include "ship.h"

#include "base/clock.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { TURN_MS = 500, STATUS_MS = 250, AGAIN_MS = 5000, DRAIN_TURN_MS = 50 };

struct worker {
    pthread_t thread;
    uv_async_t ended_async;
    void (*ended)(void *arg);
    void *arg;
    int wake_fd;
    atomic_bool stop;
    atomic_llong drain_ms;
    struct ship_settings settings;
    int state_dirfd;

    pthread_mutex_t lock;
    char *status; /* JSON text */
    int64_t status_ms;
};

static void publish(struct worker *w, json_t *o)
{
    char *text = json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(6));

    BUG_ON(!text);
    json_decref(o);
    pthread_mutex_lock(&w->lock);
    char *old = w->status;
    w->status = text;
    pthread_mutex_unlock(&w->lock);
    free(old);
}

static void publish_ship(struct worker *w, struct ship *s, bool now)
{
    int64_t t = clock_mono_ms();

    if (!now && t - w->status_ms < STATUS_MS)
        return;
    w->status_ms = t;
    publish(w, ship_status(s));
}

static void publish_trouble(struct worker *w, const char *why)
{
    publish(w, json_pack("{s:s, s:s, s:s, s:[]}", "sink", w->settings.name, "state", "failing",
                         "why", why, "pipes"));
}

static void clear_wake(struct worker *w)
{
    uint64_t n;
    (void)!read(w->wake_fd, &n, sizeof(n));
}

static void drain(struct worker *w, struct ship *s)
{
    int64_t until = clock_mono_ms() + atomic_load(&w->drain_ms);
    bool failed;

    ship_drain(s);
    while (!ship_drained(s) && clock_mono_ms() < until) {
        clear_wake(w);
        ship_turn(s, DRAIN_TURN_MS, &failed);
    }
}

/* The position may be unreadable for now: that is said, and tried again. */
static struct ship *open_ship(struct worker *w)
{
    struct ship_options o = {
        .state_dirfd = w->state_dirfd, .keep_files = true, .wake_fd = w->wake_fd};
    struct ship *s = NULL;
    struct err e, last = {0};

    while (!atomic_load(&w->stop) && ship_open(&w->settings, &o, &s, &e) < 0) {
        if (strcmp(e.text, last.text) != 0)
            note(LOG_ERROR, "%s, trying again", e.text);
        last = e;
        publish_trouble(w, e.text);
        target_wait(AGAIN_MS, w->wake_fd);
    }
    return s;
}

static void *run(void *arg)
{
    struct worker *w = arg;
    struct ship *s = open_ship(w);
    bool failed;

    while (s && !atomic_load(&w->stop)) {
        ship_turn(s, TURN_MS, &failed);
        publish_ship(w, s, false);
    }
    if (s) {
        drain(w, s);
        publish_ship(w, s, true);
        ship_close(s);
    }
    uv_async_send(&w->ended_async);
    return NULL;
}

static void on_closed(uv_handle_t *h)
{
    struct worker *w = h->data;

    pthread_mutex_destroy(&w->lock);
    ship_settings_fini(&w->settings);
    close(w->wake_fd);
    free(w->status);
    w->ended(w->arg);
    free(w);
}

static void on_ended(uv_async_t *a)
{
    struct worker *w = a->data;

    pthread_join(w->thread, NULL);
    uv_close((uv_handle_t *)a, on_closed);
}

struct worker *worker_start(uv_loop_t *loop, struct ship_settings *settings, int state_dirfd,
                            void (*ended)(void *arg), void *arg)
{
    struct worker *w = xcalloc(1, sizeof(*w));

    w->settings = *settings;
    *settings = (struct ship_settings){0};
    w->state_dirfd = state_dirfd;
    w->ended = ended;
    w->arg = arg;
    w->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    BUG_ON(w->wake_fd < 0);
    pthread_mutex_init(&w->lock, NULL);
    w->status = xstrdup("{}");
    uv_async_init(loop, &w->ended_async, on_ended);
    w->ended_async.data = w;
    BUG_ON(pthread_create(&w->thread, NULL, run, w) != 0);
    return w;
}

void worker_stop(struct worker *w, int64_t drain_ms)
{
    uint64_t one = 1;

    atomic_store(&w->drain_ms, drain_ms);
    atomic_store(&w->stop, true);
    (void)!write(w->wake_fd, &one, sizeof(one));
}

json_t *worker_status(struct worker *w)
{
    pthread_mutex_lock(&w->lock);
    json_t *o = json_loads(w->status, 0, NULL);
    pthread_mutex_unlock(&w->lock);
    return o ? o : json_object();
}
