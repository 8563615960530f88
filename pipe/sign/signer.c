/*
 * The threads of a signer; see signer.h. Called by the queue. Requests wait in one list; a thread
 * takes a share of it, at most BATCH, works them off without the lock, and hands them back by way of
 * an eventfd. With few requests each thread takes one, so that all cores work, and what is finished
 * is told at once. With many, the lock is taken less often, and the loop is told when a third is
 * finished: what goes out together costs half of what it costs one by one, here and at the peer, and
 * the processors are what is short.
 * No uv_async: its loop side spins while a sender is in the middle of sending, and a thread of lower
 * priority can be taken off the processor just there.
 */
#include "sign/signer.h"

#include <sys/eventfd.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

enum { BATCH = 16, MOST_HELD = 128, MAX_THREADS = 64, LESS_URGENT = 5 };

struct signer {
    uv_poll_t poll;
    int wake;       /* eventfd: something is finished */
    size_t pending; /* loop only */
    uv_mutex_t lock;
    uv_cond_t work;
    /* under the lock */
    struct list waiting, finished;
    size_t waiting_count, finished_count;
    bool told; /* the loop, of what is finished */
    unsigned idle;
    bool stopping;
    /* loop only */
    unsigned thread_count, thread_max;
    uv_thread_t threads[MAX_THREADS];
};

/* --- in a thread --- */

/* Under the lock. */
static size_t take_batch(struct signer *s, struct list *to)
{
    size_t share = s->waiting_count / (2 * s->thread_max);
    size_t n = MIN_OF(MAX_OF(share, (size_t)1), MIN_OF(s->waiting_count, (size_t)BATCH));

    list_init(to);
    for (size_t i = 0; i < n; i++)
        list_push_back(to, list_pop_front(&s->waiting));
    s->waiting_count -= n;
    return n;
}

/* Under the lock. While something waits a thread comes back here, so nothing stays untold. */
static bool must_tell(struct signer *s)
{
    bool enough = s->finished_count * 2 >= s->waiting_count || s->finished_count >= MOST_HELD;

    if (s->told || !enough)
        return false;
    s->told = true;
    return true;
}

static void thread_main(void *arg)
{
    struct signer *s = arg;
    struct list batch;
    int nice = getpriority(PRIO_PROCESS, 0);

    setpriority(PRIO_PROCESS, 0, nice + LESS_URGENT); /* on Linux: this thread */
    uv_mutex_lock(&s->lock);
    for (;;) {
        while (!s->waiting_count && !s->stopping) {
            s->idle++;
            uv_cond_wait(&s->work, &s->lock);
            s->idle--;
        }
        if (s->stopping)
            break;
        size_t n = take_batch(s, &batch);
        uv_mutex_unlock(&s->lock);
        list_for_each (l, &batch) {
            sign_request_run(list_entry(l, struct sign_request, link));
            /* Whoever woke up and was not let in then, a kernel thread in the middle of another
             * pipe's sync for one, would wait for the next tick: 4 ms at 250 Hz. */
            sched_yield();
        }
        uv_mutex_lock(&s->lock);
        list_splice_back(&s->finished, &batch);
        s->finished_count += n;
        if (must_tell(s)) {
            uv_mutex_unlock(&s->lock);
            BUG_ON(eventfd_write(s->wake, 1) < 0);
            uv_mutex_lock(&s->lock);
        }
    }
    uv_mutex_unlock(&s->lock);
}

/* --- in the loop --- */

static void on_wake(uv_poll_t *poll, int status, int events)
{
    struct signer *s = container_of(poll, struct signer, poll);
    struct list finished;
    eventfd_t count;

    (void)status;
    (void)events;
    eventfd_read(s->wake, &count); /* before the list: what comes later wakes again */
    list_init(&finished);
    uv_mutex_lock(&s->lock);
    list_splice_back(&finished, &s->finished);
    s->finished_count = 0;
    s->told = false;
    uv_mutex_unlock(&s->lock);
    for (struct list *l; (l = list_pop_front(&finished));) {
        struct sign_request *r = list_entry(l, struct sign_request, link);
        s->pending--;
        r->done(r);
    }
}

struct signer *signer_new(uv_loop_t *loop)
{
    struct signer *s = xcalloc(1, sizeof(*s));
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    s->thread_max = (unsigned)MIN_OF(MAX_OF(cores, 1L), (long)MAX_THREADS);
    list_init(&s->waiting);
    list_init(&s->finished);
    BUG_ON(uv_mutex_init(&s->lock) || uv_cond_init(&s->work));
    s->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    BUG_ON(s->wake < 0 || uv_poll_init(loop, &s->poll, s->wake) ||
           uv_poll_start(&s->poll, UV_READABLE, on_wake));
    return s;
}

static void on_closed(uv_handle_t *handle)
{
    struct signer *s = container_of((uv_poll_t *)handle, struct signer, poll);

    close(s->wake);
    uv_cond_destroy(&s->work);
    uv_mutex_destroy(&s->lock);
    free(s);
}

void signer_free(struct signer *s)
{
    if (!s)
        return;
    BUG_ON(s->pending);
    uv_mutex_lock(&s->lock);
    s->stopping = true;
    uv_cond_broadcast(&s->work);
    uv_mutex_unlock(&s->lock);
    for (unsigned i = 0; i < s->thread_count; i++)
        uv_thread_join(&s->threads[i]);
    uv_close((uv_handle_t *)&s->poll, on_closed);
}

size_t signer_pending(const struct signer *s)
{
    return s->pending;
}

/* One more while all are at work and there may be more. */
static void start_thread(struct signer *s)
{
    if (s->thread_count < s->thread_max &&
        uv_thread_create(&s->threads[s->thread_count], thread_main, s) == 0)
        s->thread_count++;
    BUG_ON(!s->thread_count); /* no thread at all: nothing could ever be signed */
}

void signer_submit(struct signer *s, struct sign_request *r)
{
    r->status = 0;
    s->pending++;
    uv_mutex_lock(&s->lock);
    list_push_back(&s->waiting, &r->link);
    bool all_busy = s->waiting_count++ >= s->idle;
    uv_cond_signal(&s->work);
    uv_mutex_unlock(&s->lock);
    if (all_busy)
        start_thread(s);
}
