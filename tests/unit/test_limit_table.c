/*
 * The limit table over real processes: exact counts while they hammer on it, one of them killed in
 * the middle; finding cells, and taking back those that nobody needs.
 */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/limit_table.h"
#include "base/limit_table_int.h"

#define NOW_US INT64_C(1800000000000000)

static struct limit_rate rate_of(uint64_t count, int64_t period_us, int64_t burst_us)
{
    return (struct limit_rate){count, period_us, burst_us};
}

static struct limit_table *mapped(int fd, unsigned share)
{
    struct limit_table *t = NULL;
    struct err e = {0};
    assert_int_equal(limit_table_map(&t, fd, share, &e), 0);
    return t;
}

static int new_fd(void)
{
    int fd = -1;
    struct err e = {0};
    assert_int_equal(limit_table_create(&fd, &e), 0);
    return fd;
}

/* --- what several processes see of each other --- */

struct shared {
    _Atomic uint32_t ready, go;
    _Atomic int64_t clock_us;
    _Atomic uint64_t granted;  /* events, all processes */
    _Atomic int32_t inside;    /* connections that are held at this instant */
    _Atomic int32_t most;      /* the most of them at an instant */
    _Atomic uint64_t connects; /* that succeeded */
    _Atomic uint64_t over;     /* instants with more than the limit */
};

static struct shared *shared_new(void)
{
    struct shared *s =
        mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(s, MAP_FAILED);
    return s;
}

static pid_t child(struct shared *s, int fd, unsigned share,
                   void (*work)(struct shared *s, struct limit_table *t))
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid)
        return pid;
    struct limit_table *t;
    if (limit_table_map(&t, fd, share, NULL) < 0)
        _exit(1);
    atomic_fetch_add(&s->ready, 1);
    while (!atomic_load(&s->go))
        usleep(100);
    work(s, t);
    limit_table_free(t);
    _exit(0);
}

static void ends_well(pid_t pid)
{
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void start_all(struct shared *s, uint32_t count)
{
    while (atomic_load(&s->ready) < count)
        usleep(100);
    atomic_store(&s->go, 1);
}

enum { CHILDREN = 4, SPAN_US = 9000000, STEP_US = 37 };

/* All go through the same 9 virtual seconds, at one clock, and take whatever they get. */
static void drain_bucket(struct shared *s, struct limit_table *t)
{
    struct limit_cell *c = limit_cell_get(t, SV("bucket"));
    struct limit_rate r = rate_of(10000, 1000000, 50000);
    int64_t at_us;
    uint64_t got = 0;

    for (int64_t at; (at = atomic_fetch_add(&s->clock_us, STEP_US)) < SPAN_US;)
        got += limit_cell_take(c, &r, 3, NOW_US + at, &at_us);
    atomic_fetch_add(&s->granted, got);
    limit_cell_put(t, c);
}

static void processes_share_one_bucket_exactly(void **state)
{
    struct shared *s = shared_new();
    int fd = new_fd();
    pid_t pids[CHILDREN];

    (void)state;
    for (unsigned i = 0; i < CHILDREN; i++)
        pids[i] = child(s, fd, i, drain_bucket);
    start_all(s, CHILDREN);
    for (unsigned i = 0; i < CHILDREN; i++)
        ends_well(pids[i]);
    /* 10,000/s for 9 s, and at most a burst of 50 ms (501) more */
    assert_in_range(atomic_load(&s->granted), SPAN_US / 100 - 1, SPAN_US / 100 + 501);
    close(fd);
    munmap(s, sizeof(*s));
}

enum { PLACES = 7, ROUNDS = 20000 };

/* `inside` is counted up after a place was given and down before it is given back, so it is never
 * above the number of places that are taken. */
static void connect_and_leave(struct shared *s, struct limit_table *t)
{
    struct limit_cell *c = limit_cell_get(t, SV("places"));

    for (int i = 0; i < ROUNDS; i++) {
        int held = 0;
        while (held < 4 && limit_cell_connect(t, c, PLACES)) {
            if (atomic_fetch_add(&s->inside, 1) + 1 > PLACES)
                atomic_fetch_add(&s->over, 1);
            held++;
        }
        atomic_fetch_add(&s->connects, (uint64_t)held);
        for (; held; held--) {
            atomic_fetch_sub(&s->inside, 1);
            limit_cell_disconnect(t, c);
        }
    }
    limit_cell_put(t, c);
}

static void processes_share_places_exactly(void **state)
{
    struct shared *s = shared_new();
    int fd = new_fd();
    pid_t pids[CHILDREN];

    (void)state;
    for (unsigned i = 0; i < CHILDREN; i++)
        pids[i] = child(s, fd, i, connect_and_leave);
    start_all(s, CHILDREN);
    for (unsigned i = 0; i < CHILDREN; i++)
        ends_well(pids[i]);
    assert_int_equal(atomic_load(&s->over), 0);
    assert_true(atomic_load(&s->connects) > CHILDREN * ROUNDS / 4);

    struct limit_table *t = mapped(fd, 9);
    struct limit_cell *c = limit_cell_get(t, SV("places"));
    assert_int_equal(limit_cell_connections(c), 0);
    limit_table_free(t);
    close(fd);
    munmap(s, sizeof(*s));
}

/* Connects, leaves, finds and makes cells until it is killed. */
static void work_until_killed(struct shared *s, struct limit_table *t)
{
    struct limit_cell *c = limit_cell_get(t, SV("places"));
    char name[32];

    (void)s;
    for (unsigned i = 0;; i++) {
        for (int k = 0; k < 3; k++)
            limit_cell_connect(t, c, 1000);
        for (int k = 0; k < 2; k++)
            limit_cell_disconnect(t, c);
        snprintf(name, sizeof(name), "cell %u", i % 5000);
        struct limit_cell *other = limit_cell_get(t, sv_of(name));
        if (limit_cell_own_connections(t, c) > 900)
            while (limit_cell_own_connections(t, c))
                limit_cell_disconnect(t, c);
        if (other)
            limit_cell_put(t, other);
    }
}

static void killed_process_is_taken_back(void **state)
{
    struct shared *s = shared_new();
    int fd = new_fd();
    struct limit_table *t = mapped(fd, 5), *root = mapped(fd, LIMIT_TABLE_OBSERVER);
    struct limit_cell *c = limit_cell_get(t, SV("places"));
    char name[32];

    (void)state;
    atomic_store(&s->go, 1);
    for (int i = 0; i < 3; i++)
        assert_true(limit_cell_connect(t, c, 0));
    for (int round = 0; round < 60; round++) {
        pid_t pid = child(s, fd, 1, work_until_killed);
        pid_t other = child(s, fd, 2, work_until_killed);
        /* long enough that both are in the middle of it; the moment is a different one each time */
        while (limit_cell_connections(c) < 5)
            usleep(50);
        usleep((useconds_t)(round * 97 % 2000));
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        limit_table_forget(root, 1);
        assert_int_equal(kill(other, SIGKILL), 0);
        assert_int_equal(waitpid(other, NULL, 0), other);
        /* a new process with the same share finds nothing left of the old one */
        limit_table_free(mapped(fd, 2));
        assert_int_equal(limit_cell_connections(c), 3);
        assert_int_equal(limit_cell_own_connections(t, c), 3);
        /* the lock works, and every name has one cell */
        snprintf(name, sizeof(name), "cell %d", round);
        struct limit_cell *a = limit_cell_get(t, sv_of(name));
        assert_non_null(a);
        assert_ptr_equal(limit_cell_get(t, sv_of(name)), a);
        assert_int_equal(atomic_load(&a->holders), 1u << 5);
        limit_cell_put(t, a);
        limit_cell_put(t, a);
        assert_int_equal(atomic_load(&a->holders), 0);
    }
    limit_table_free(t);
    limit_table_free(root);
    close(fd);
    munmap(s, sizeof(*s));
}

/* A process that dies with the lock held, and left everything but the cells in ruins. */
static void die_with_the_lock(struct shared *s, struct limit_table *t)
{
    (void)s;
    pthread_mutex_lock(&t->mem->head.lock);
    memset(t->mem->chains, 0xff, 4096);
    t->mem->head.free_head = 77777;
    raise(SIGKILL);
}

static void lock_of_a_dead_process_is_recovered(void **state)
{
    struct shared *s = shared_new();
    int fd = new_fd();
    struct limit_table *t = mapped(fd, 0);
    struct limit_cell *cells[2000];
    struct limit_rate r = rate_of(1, 3600000000, 0);
    char name[32];
    int64_t at_us;

    (void)state;
    for (int i = 0; i < 2000; i++) {
        snprintf(name, sizeof(name), "n%d", i);
        cells[i] = limit_cell_get(t, sv_of(name));
        limit_cell_take(cells[i], &r, 1, NOW_US + i, &at_us);
    }
    pid_t pid = child(s, fd, 1, die_with_the_lock);
    start_all(s, 1);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    for (int i = 0; i < 2000; i++) {
        snprintf(name, sizeof(name), "n%d", i);
        assert_ptr_equal(limit_cell_get(t, sv_of(name)), cells[i]);
        assert_int_equal(limit_cell_level_us(cells[i]), NOW_US + i + 3600000000);
    }
    assert_non_null(limit_cell_get(t, SV("a new one")));
    limit_table_free(t);
    close(fd);
    munmap(s, sizeof(*s));
}

/* --- cells --- */

static void names_find_their_cells(void **state)
{
    int fd = new_fd();
    struct limit_table *a = mapped(fd, 0), *b = mapped(fd, 31);
    char longer[300];

    (void)state;
    memset(longer, 'x', sizeof(longer));
    struct strview names[] = {SV(""),          SV("a"),         SV("b"),        sv(longer, 119),
                              sv(longer, 120), sv(longer, 121), sv(longer, 300)};
    struct limit_rate r = rate_of(1, 1000000, 0);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct limit_cell *in_a = limit_cell_get(a, names[i]), *in_b = limit_cell_get(b, names[i]);
        int64_t at_us;
        /* one level, wherever it is mapped */
        assert_int_equal(limit_cell_take(in_a, &r, 1, NOW_US, &at_us), 1);
        assert_int_equal(limit_cell_take(in_b, &r, 1, NOW_US, &at_us), 0);
        assert_int_equal(at_us, NOW_US + 1000000);
    }
    limit_table_free(a);
    limit_table_free(b);
    close(fd);
}

static void only_a_table_is_mapped(void **state)
{
    struct limit_table *t;
    struct err e = {0};
    int fd = memfd_create("not-a-table", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    (void)state;
    assert_int_equal(limit_table_map(&t, fd, 0, &e), ERR_CORRUPT);
    assert_int_equal(ftruncate(fd, sizeof(struct limit_table_memory)), 0);
    assert_int_equal(limit_table_map(&t, fd, 0, &e), ERR_CORRUPT);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL), 0);
    assert_int_equal(limit_table_map(&t, fd, 0, &e), ERR_CORRUPT);
    close(fd);
    fd = new_fd();
    assert_int_equal(ftruncate(fd, 4096), -1);
    close(fd);
}

static void a_table_takes_memory_as_it_is_used(void **state)
{
    int fd = new_fd();
    struct limit_table *t = mapped(fd, 0);
    struct stat st;

    (void)state;
    for (int i = 0; i < 100; i++) {
        char name[32];
        snprintf(name, sizeof(name), "%d", i);
        assert_non_null(limit_cell_get(t, sv_of(name)));
    }
    assert_int_equal(fstat(fd, &st), 0);
    assert_true(st.st_size > 100 << 20);
    assert_true(st.st_blocks * 512 < 1 << 20);
    limit_table_free(t);
    close(fd);
}

/* Names come and go by the million; those whose level means something stay. */
static void cells_that_nobody_needs_are_taken_back(void **state)
{
    struct limit_table *t = limit_table_new_private();
    struct limit_rate daily = rate_of(1, 86400000000, 0), fast = rate_of(100, 1000000, 0);
    struct limit_cell *kept;
    char name[32];
    int64_t at_us;

    (void)state;
    clock_fake_set(NOW_US / 1000);
    kept = limit_cell_get(t, SV("kept"));
    limit_cell_take(kept, &daily, 1, NOW_US, &at_us);
    limit_cell_put(t, kept);
    for (int i = 0; i < 100000; i++) {
        snprintf(name, sizeof(name), "q%d", i);
        struct limit_cell *c = limit_cell_get(t, sv_of(name));
        assert_int_equal(limit_cell_level_us(c), 0);
        limit_cell_take(c, &fast, 1, clock_wall_us() - 20000, &at_us);
        limit_cell_put(t, c);
    }
    assert_in_range(atomic_load(&t->mem->head.made), 2, 1000);
    assert_ptr_equal(limit_cell_get(t, SV("kept")), kept);
    assert_int_equal(limit_cell_level_us(kept), NOW_US + 86400000000);
    limit_table_free(t);
}

static void a_full_table_refuses_and_recovers(void **state)
{
    struct limit_table *t = limit_table_new_private();
    static struct limit_cell *cells[LIMIT_TABLE_CELLS];
    char name[32];

    (void)state;
    clock_fake_set(NOW_US / 1000);
    for (int i = 0; i < LIMIT_TABLE_CELLS; i++) {
        snprintf(name, sizeof(name), "q%d", i);
        cells[i] = limit_cell_get(t, sv_of(name));
        assert_non_null(cells[i]);
    }
    assert_null(limit_cell_get(t, SV("one more")));
    assert_ptr_equal(limit_cell_get(t, SV("q7")), cells[7]);
    limit_cell_put(t, cells[123456]);
    clock_fake_advance(2000);
    struct limit_cell *c = limit_cell_get(t, SV("one more"));
    assert_ptr_equal(c, cells[123456]);
    assert_null(limit_cell_get(t, SV("two more")));
    limit_table_free(t);
}

/* --- levels --- */

/* How many come in `span_us` when somebody asks every `step_us`, and no window of `window_us` has
 * more than `most`. */
static uint64_t run(const struct limit_rate *r, int64_t span_us, int64_t step_us, int64_t window_us,
                    uint64_t most)
{
    struct limit_table *t = limit_table_new_private();
    struct limit_cell *c = limit_cell_get(t, SV("c"));
    size_t cap = (size_t)((double)r->count * (double)span_us / (double)r->period_us) + 1000;
    int64_t *times = xcalloc(cap, sizeof(times[0]));
    size_t n = 0, oldest = 0;

    for (int64_t at = 0; at < span_us;) {
        int64_t next_us = 0;
        uint64_t got = limit_cell_take(c, r, UINT32_MAX, NOW_US + at, &next_us);
        for (; got; got--) {
            assert_true(n < cap);
            times[n++] = at;
            while (times[oldest] <= at - window_us)
                oldest++;
            if (n - oldest > most)
                fail_msg("%zu of %llu per %lld us in one window, at %lld us", n - oldest,
                         (unsigned long long)r->count, (long long)r->period_us, (long long)at);
        }
        /* in one step, or at the time that it told */
        at = step_us || next_us <= NOW_US + at ? at + MAX_OF(step_us, 1) : next_us - NOW_US;
    }
    free(times);
    limit_table_free(t);
    return n;
}

static void rates_are_exact(void **state)
{
    static const struct {
        uint64_t count;
        int64_t period_s, burst_us, span_s, step_us, window_us;
        uint64_t most, total;
    } rows[] = {
        /* evenly, each at the time that was told */
        {1, 1, 0, 86400, 0, 1000000, 1, 86400},
        {2, 60, 0, 30 * 86400, 0, 60000000, 2, 86400},
        {200, 3600, 0, 30 * 86400, 0, 3600000000, 200, 144000},
        {7, 1, 0, 86400, 0, 1000000, 7, 604800},
        {83, 5, 0, 86400, 0, 5000000, 83, 1434240},
        {100, 900, 0, 30 * 86400, 0, 900000000, 100, 288000},
        {50, 86400, 0, 365 * 86400, 0, 86400000000, 50, 18250},
        {10, 36000, 0, 365 * 86400, 0, 36000000000, 10, 8760},
        /* by timers that come every 3 ms: late, but none is lost */
        {10, 1, 0, 3600, 3000, 1000000, 11, 36000},
        {19, 1, 0, 3600, 3000, 1000000, 20, 68400},
        /* with a burst of 50 ms */
        {500, 1, 50000, 3600, 0, 1000000, 500 + 26, 1800000 + 25},
        {500, 1, 50000, 3600, 7000, 1000000, 500 + 26, 1800000 + 25},
        {10000, 1, 50000, 300, 1000, 1000000, 10000 + 501, 3000000 + 500},
        {10000, 1, 50000, 300, 10000, 1000000, 10000 + 501, 3000000 + 500},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct limit_rate r = rate_of(rows[i].count, rows[i].period_s * 1000000, rows[i].burst_us);
        uint64_t n =
            run(&r, rows[i].span_s * 1000000, rows[i].step_us, rows[i].window_us, rows[i].most);
        /* one step of time at the end, and what fits into it, may be missing */
        uint64_t step =
            1 + rows[i].count * (uint64_t)rows[i].step_us / (uint64_t)(rows[i].period_s * 1000000);
        if (n > rows[i].total || n + step < rows[i].total)
            fail_msg("row %zu: %llu events, expected %llu", i, (unsigned long long)n,
                     (unsigned long long)rows[i].total);
    }
}

static void what_is_refunded_can_be_taken(void **state)
{
    struct limit_table *t = limit_table_new_private();
    struct limit_cell *c = limit_cell_get(t, SV("c"));
    struct limit_rate r = rate_of(100, 1000000, 95000);
    int64_t at_us = 0;

    (void)state;
    assert_int_equal(limit_cell_peek(c, &r, 100, NOW_US, &at_us), 10);
    assert_int_equal(limit_cell_take(c, &r, 100, NOW_US, &at_us), 10);
    assert_int_equal(limit_cell_take(c, &r, 1, NOW_US, &at_us), 0);
    assert_int_equal(at_us, NOW_US + 5000);
    limit_cell_refund(c, &r, 4);
    assert_int_equal(limit_cell_peek(c, &r, 100, NOW_US, &at_us), 4);
    assert_int_equal(limit_cell_take(c, &r, 100, NOW_US, &at_us), 4);
    /* more than was taken makes no credit */
    limit_cell_refund(c, &r, 1000);
    assert_int_equal(limit_cell_take(c, &r, 100, NOW_US, &at_us), 10);
    limit_table_free(t);
}

static void bytes_go_into_debt(void **state)
{
    struct limit_table *t = limit_table_new_private();
    struct limit_cell *c = limit_cell_get(t, SV("c"));
    struct limit_rate r = rate_of(12 << 20, 60000000, 50000);
    int64_t at_us = 0;

    (void)state;
    assert_true(limit_cell_peek(c, &r, 1, NOW_US, &at_us));
    limit_cell_charge(c, &r, 24 << 20, NOW_US); /* two minutes' worth */
    assert_false(limit_cell_peek(c, &r, 1, NOW_US, &at_us));
    assert_int_equal(at_us, NOW_US + 120000000 - 50000);
    assert_false(limit_cell_peek(c, &r, 1, at_us - 1, &at_us));
    assert_true(limit_cell_peek(c, &r, 1, at_us, &at_us));
    /* a debt is not forgotten for being long, but there is an end */
    limit_cell_charge(c, &r, UINT64_MAX, NOW_US);
    assert_false(limit_cell_peek(c, &r, 1, NOW_US + 6 * INT64_C(86400000000), &at_us));
    assert_true(limit_cell_peek(c, &r, 1, NOW_US + 7 * INT64_C(86400000000), &at_us));
    limit_table_free(t);
}

static void a_clock_set_back_does_not_stop_mail(void **state)
{
    struct limit_table *t = limit_table_new_private();
    struct limit_cell *c = limit_cell_get(t, SV("c")), *debt = limit_cell_get(t, SV("debt"));
    struct limit_rate r = rate_of(60, 3600000000, 0), bytes = rate_of(1 << 20, 60000000, 50000);
    int64_t at_us = 0, before = NOW_US - INT64_C(86400000000) * 365;

    (void)state;
    assert_int_equal(limit_cell_take(c, &r, 1, NOW_US, &at_us), 1);
    /* a year back: no longer than one interval */
    assert_int_equal(limit_cell_take(c, &r, 1, before, &at_us), 0);
    assert_int_equal(at_us, before + 60000000);
    assert_int_equal(limit_cell_take(c, &r, 1, before + 60000000 - 1, &at_us), 0);
    assert_int_equal(limit_cell_take(c, &r, 1, before + 60000000, &at_us), 1);

    /* a debt of two minutes stays one of two minutes */
    limit_cell_charge(debt, &bytes, 2 << 20, NOW_US);
    assert_false(limit_cell_peek(debt, &bytes, 1, before, &at_us));
    assert_int_equal(at_us, before + 120000000 - 50000);
    assert_false(limit_cell_peek(debt, &bytes, 1, at_us - 1, &at_us));
    assert_true(limit_cell_peek(debt, &bytes, 1, at_us, &at_us));
    limit_table_free(t);
}

static void levels_survive_another_rate(void **state)
{
    struct limit_table *t = limit_table_new_private();
    struct limit_cell *c = limit_cell_get(t, SV("c"));
    struct limit_rate slow = rate_of(1, 3600000000, 0), fast = rate_of(60, 3600000000, 0);
    int64_t at_us = 0;

    (void)state;
    /* narrower: what was taken counts, the next interval is the new one */
    assert_int_equal(limit_cell_take(c, &fast, 1, NOW_US, &at_us), 1);
    assert_int_equal(limit_cell_take(c, &slow, 1, NOW_US, &at_us), 0);
    assert_int_equal(at_us, NOW_US + 60000000);
    assert_int_equal(limit_cell_take(c, &slow, 1, NOW_US + 60000000, &at_us), 1);
    assert_int_equal(limit_cell_take(c, &slow, 1, NOW_US + 60000000, &at_us), 0);
    assert_int_equal(at_us, NOW_US + 3660000000);
    /* wider: no longer than an interval of the new one */
    assert_int_equal(limit_cell_take(c, &fast, 1, NOW_US + 60000000, &at_us), 0);
    assert_int_equal(at_us, NOW_US + 120000000);
    limit_table_free(t);
}

/* Numbers at the edge of what units.h reads neither overflow nor divide by nothing. */
/* --- quotas --- */

#define QUOTA_END_US (NOW_US + SPAN_US)

static struct limit_rate quota_of(uint64_t count, int64_t until_us)
{
    return (struct limit_rate){.count = count, .period_us = 1, .until_us = until_us};
}

/* Two days follow each other while all take; each names the day by its own clock. */
static void drain_quota(struct shared *s, struct limit_table *t)
{
    struct limit_cell *c = limit_cell_get(t, SV("quota"));
    int64_t at_us;
    uint64_t got = 0;

    for (int64_t at; (at = atomic_fetch_add(&s->clock_us, STEP_US)) < 2 * SPAN_US;) {
        struct limit_rate r = quota_of(50000, QUOTA_END_US + (at < SPAN_US ? 0 : SPAN_US));
        got += limit_cell_take(c, &r, 3, NOW_US + at, &at_us);
    }
    atomic_fetch_add(&s->granted, got);
    limit_cell_put(t, c);
}

static void processes_share_quotas_exactly(void **state)
{
    struct shared *s = shared_new();
    int fd = new_fd();
    pid_t pids[CHILDREN];

    (void)state;
    for (unsigned i = 0; i < CHILDREN; i++)
        pids[i] = child(s, fd, i, drain_quota);
    start_all(s, CHILDREN);
    for (unsigned i = 0; i < CHILDREN; i++)
        ends_well(pids[i]);
    assert_int_equal(atomic_load(&s->granted), 2 * 50000);
    close(fd);
    munmap(s, sizeof(*s));
}

static void quota_counts_under_its_time_alone(void **state)
{
    struct limit_table *t = limit_table_new_private();
    struct limit_cell *c = limit_cell_get(t, SV("c"));
    int64_t day = INT64_C(86400000000), end = NOW_US + day, at_us = 0;
    struct limit_rate today = quota_of(10, end), tomorrow = quota_of(20, end + day);

    (void)state;
    assert_int_equal(limit_cell_take(c, &today, 7, NOW_US, &at_us), 7);
    assert_int_equal(limit_cell_peek(c, &today, 100, end - 1, &at_us), 3); /* time gives nothing */
    limit_cell_refund(c, &today, 2);
    assert_int_equal(limit_cell_take(c, &today, 100, NOW_US, &at_us), 5);
    assert_int_equal(limit_cell_take(c, &today, 1, NOW_US, &at_us), 0);
    assert_int_equal(at_us, end);
    assert_int_equal(limit_cell_take(c, &today, 1, end, &at_us), 0); /* over; look again soon */
    assert_in_range(at_us, end + 1, end + 1000000);

    assert_int_equal(limit_cell_take(c, &tomorrow, 4, end, &at_us), 4);
    limit_cell_refund(c, &today, 1); /* of a day that is over */
    assert_int_equal(limit_cell_quota_used(c, end + day), 4);
    assert_int_equal(limit_cell_take(c, &today, 1, end - 1, &at_us), 0);

    /* the clock was set back by three days; the second process does nothing */
    limit_cell_quota_move(c, end + day, end - 2 * day);
    limit_cell_quota_move(c, end + day, end - 2 * day);
    assert_int_equal(limit_cell_quota_used(c, end - 2 * day), 4);
    limit_table_free(t);
}

/* Nobody refers to it, its process was killed, others need cells: the count of the day stays. */
static void count_of_a_dead_process_stays(void **state)
{
    int fd = new_fd();
    struct limit_table *t = mapped(fd, 0), *other = mapped(fd, 1);
    struct limit_rate r = quota_of(10, clock_wall_us() + INT64_C(3600000000));
    char name[30];
    int64_t at_us;

    (void)state;
    struct limit_cell *c = limit_cell_get(t, SV("day"));
    assert_int_equal(limit_cell_take(c, &r, 7, clock_wall_us(), &at_us), 7);
    limit_table_forget(other, 0);
    for (int i = 0; i < 5000; i++) {
        snprintf(name, sizeof(name), "n%d", i);
        limit_cell_put(other, limit_cell_get(other, sv_of(name)));
    }
    c = limit_cell_get(other, SV("day"));
    assert_int_equal(limit_cell_quota_used(c, r.until_us), 7);
    limit_table_free(other);
    limit_table_free(t);
    close(fd);
}

static void extreme_rates_are_safe(void **state)
{
    static const struct limit_rate rows[] = {
        {UINT64_MAX, 1000000, 50000}, {UINT64_MAX, INT64_MAX, 50000}, {1, INT64_MAX, 0}, {1, 1, 0},
        {1ull << 50, 1000000, 50000},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct limit_table *t = limit_table_new_private();
        struct limit_cell *c = limit_cell_get(t, SV("c"));
        int64_t at_us = 0;
        assert_true(limit_cell_take(c, &rows[i], UINT64_MAX, NOW_US, &at_us) > 0);
        limit_cell_charge(c, &rows[i], UINT64_MAX, NOW_US);
        limit_cell_take(c, &rows[i], 1, NOW_US, &at_us);
        limit_cell_refund(c, &rows[i], UINT64_MAX);
        assert_true(limit_cell_level_us(c) < NOW_US + 11 * 365 * INT64_C(86400000000));
        limit_table_free(t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(processes_share_one_bucket_exactly),
        cmocka_unit_test(processes_share_places_exactly),
        cmocka_unit_test(killed_process_is_taken_back),
        cmocka_unit_test(lock_of_a_dead_process_is_recovered),
        cmocka_unit_test(names_find_their_cells),
        cmocka_unit_test(only_a_table_is_mapped),
        cmocka_unit_test(a_table_takes_memory_as_it_is_used),
        cmocka_unit_test(cells_that_nobody_needs_are_taken_back),
        cmocka_unit_test(a_full_table_refuses_and_recovers),
        cmocka_unit_test(rates_are_exact),
        cmocka_unit_test(what_is_refunded_can_be_taken),
        cmocka_unit_test(bytes_go_into_debt),
        cmocka_unit_test(a_clock_set_back_does_not_stop_mail),
        cmocka_unit_test(levels_survive_another_rate),
        cmocka_unit_test(processes_share_quotas_exactly),
        cmocka_unit_test(quota_counts_under_its_time_alone),
        cmocka_unit_test(count_of_a_dead_process_stays),
        cmocka_unit_test(extreme_rates_are_safe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
