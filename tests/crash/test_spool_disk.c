/*
 * The spool on a bad disk: power cuts at random moments, a full disk, and errors of writes and
 * syncs (see disk_shim.h). What was acknowledged is there, what was refused never appears, nothing
 * damaged is handed out as good, and a final record that was synced stays.
 */
#include "unit.h"

#include "disk_shim.h"
#include "../unit/spool_fixture.h"

enum { CUTS = 1500, MAX_MARKS = 200000 };

/* What was promised by the time that so many disk operations were done. */
struct mark {
    size_t operations;
    size_t message;  /* acknowledged; or SIZE_MAX: */
    uint64_t synced; /* the journal, up to here */
};

static struct mark marks[MAX_MARKS];
static size_t mark_count;

static void note(size_t message, uint64_t synced)
{
    assert_true(mark_count < MAX_MARKS);
    marks[mark_count++] = (struct mark){disk_operations(), message, synced};
}

static void note_promises(struct fx *f, bool *known)
{
    static uint64_t synced;
    for (size_t i = 0; i < f->count; i++) {
        if (f->messages[i]->status != 0 || known[i])
            continue;
        known[i] = true;
        note(i, 0);
    }
    if (f->spool->journal_synced != synced)
        note(SIZE_MAX, synced = f->spool->journal_synced);
}

static void work(struct fx *f, bool *known)
{
    for (int step = 0; step < 3000; step++) {
        if (f->count < 500 && fx_random(f, 3) == 0)
            fx_append(f, 1 + fx_random(f, 3), fx_random(f, 2500));
        for (int i = 0; i < 2 && f->count; i++) {
            struct fx_message *m = f->messages[fx_random(f, (uint32_t)f->count)];
            uint16_t r = (uint16_t)fx_random(f, m->rcpts);
            if (m->status == 0 && !spool_state_is_final(m->state[r]))
                fx_event(f, m, r, (enum spool_state)(1 + fx_random(f, 8) % 5));
        }
        f->spool->compact_after_ms = 0;
        spool_wake(f->spool);
        do
            uv_run(&f->loop, UV_RUN_ONCE);
        while (f->spool->commit.running || f->spool->journal_commit.running || (step % 8 == 0 && f->spool->maintenance));
        note_promises(f, known);
    }
}

/* The owner of an image: the messages of the run that made it. */
static void check_cut(struct fx *f, struct fx *run, size_t operations, const char *image)
{
    uint64_t synced = 0;
    struct spool_ledger l;
    BUG_ON(snprintf(f->dir, sizeof(f->dir), "%s", image) >= (int)sizeof(f->dir));
    memcpy(f->messages, run->messages, sizeof(f->messages));
    f->count = run->count;
    assert_int_equal(fx_open(f), 0);
    assert_int_equal(f->unknown, 0);
    for (size_t i = 0; i < mark_count && marks[i].operations <= operations; i++)
        if (marks[i].message == SIZE_MAX)
            synced = marks[i].synced;
    for (size_t i = 0; i < mark_count && marks[i].operations <= operations; i++) {
        struct fx_message *m = marks[i].message == SIZE_MAX ? NULL : f->messages[marks[i].message];
        if (m && fx_is_live(m))
            assert_true(m->recovered);
    }
    uint64_t left = 0;
    for (size_t i = 0; i < f->count; i++) {
        struct fx_message *m = f->messages[i];
        bool ended = true;
        for (uint32_t r = 0; r < m->rcpts; r++)
            ended = ended && spool_state_is_final(m->state[r]) && m->queued_at[r] <= synced;
        if (ended)
            assert_false(m->recovered);
        if (m->recovered)
            assert_int_equal(fx_read(f, m, 10000), 0);
    }
    for (size_t i = 0; i < LIVE_SHARDS; i++)
        for (uint32_t k = 0; k < f->spool->live.shards[i].cap; k++)
            left +=
                f->spool->live.shards[i].slots[k].id ? f->spool->live.shards[i].slots[k].rcpts : 0;
    spool_ledger(f->spool, &l);
    assert_true(l.received == l.delivered + l.bounced + l.expired + l.deleted + l.corrupt + left);
    fx_close(f);
    f->count = 0;
    fx_remove_tree(image);
}

static void power_cut(void **state)
{
    struct fx *run = fx_new(20000, 6000), *f = fx_new(20000, 6000);
    char image[140], *own = strdup(f->dir);
    bool *known = xcalloc(FX_MAX_MESSAGES, 1);
    (void)state;
    disk_record();
    assert_int_equal(fx_open(run), 0);
    work(run, known);
    fx_close(run);
    disk_stop();
    print_message("%zu disk operations, %zu messages moved, %zu promises\n", disk_operations(),
                  run->moved, mark_count);
    assert_true(run->moved > 0); /* cuts during compaction are among them */
    for (uint32_t cut = 0; cut < CUTS; cut++) {
        size_t operations = 20 + fx_random(run, (uint32_t)disk_operations() - 20);
        snprintf(image, sizeof(image), "%s-image", run->dir);
        disk_image(run->dir, image, operations, cut * 7919 + 1);
        check_cut(f, run, operations, image);
    }
    free(known);
    snprintf(f->dir, sizeof(f->dir), "%s", own);
    free(own);
    fx_free(f);
    fx_free(run);
}

/* After a failure the probe would wait a second; the test does not. */
static void probe_now(struct fx *f)
{
    while (!f->writable) {
        f->spool->probe_due = true;
        spool_wake(f->spool);
        uv_run(&f->loop, UV_RUN_ONCE);
    }
}

static void fail_and_recover(enum disk_call call, int error)
{
    struct fx *f = fx_new(20000, 4000);
    assert_int_equal(fx_open(f), 0);
    size_t refused = 0;
    for (unsigned round = 0; round < 60; round++) {
        disk_fail(call, round % 13, 1 + round % 3, error);
        for (int i = 0; i < 8; i++)
            fx_append(f, 2, fx_random(f, 2000));
        for (size_t i = 0; i < f->count; i++) {
            struct fx_message *m = f->messages[i];
            uint16_t r = (uint16_t)fx_random(f, 2);
            if (m->status == 0 && !spool_state_is_final(m->state[r]) && fx_random(f, 3) == 0)
                fx_event(f, m, r, (enum spool_state)(1 + fx_random(f, 5)));
        }
        for (int i = 0; i < 30; i++) {
            spool_wake(f->spool);
            uv_run(&f->loop, UV_RUN_ONCE);
        }
        disk_fail(call, 0, 0, 0);
        probe_now(f);
        assert_true(f->writable);
        fx_settle(f);
        for (size_t i = f->count - 8; i < f->count; i++) {
            assert_true(f->messages[i]->status == 0 || f->messages[i]->status == -error);
            refused += f->messages[i]->status != 0;
        }
        if (round % 4 == 3) {
            fx_crash(f);
            assert_int_equal(fx_open(f), 0);
            assert_int_equal(fx_compare(f), 0);
        }
    }
    assert_true(refused > 0);
    assert_true(f->health_changes > 0);
    fx_free(f);
}

static void disk_full(void **state)
{
    (void)state;
    fail_and_recover(DISK_WRITE, ENOSPC);
}

static void write_error(void **state)
{
    (void)state;
    fail_and_recover(DISK_WRITE, EIO);
}

static void sync_error(void **state)
{
    (void)state;
    fail_and_recover(DISK_SYNC, EIO);
}

static void too_little_space(void **state)
{
    struct fx *f = fx_new(0, 0);
    (void)state;
    f->options.min_free_bytes = UINT64_MAX;
    assert_int_equal(fx_open(f), 0);
    struct fx_message *m = fx_append(f, 1, 10);
    while (m->status == 1)
        uv_run(&f->loop, UV_RUN_ONCE);
    assert_int_equal(m->status, -ENOSPC);
    assert_false(f->writable);
    f->spool->options.min_free_bytes = 0;
    probe_now(f);
    assert_true(f->writable);
    m = fx_append(f, 1, 10);
    fx_settle(f);
    assert_int_equal(m->status, 0);
    fx_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(power_cut),        cmocka_unit_test(disk_full),
        cmocka_unit_test(write_error),      cmocka_unit_test(sync_error),
        cmocka_unit_test(too_little_space),
    };
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    log_set_fd(getenv("SPOOL_TEST_LOG") ? 2 : null);
    if (getenv("SPOOL_TEST"))
        cmocka_set_test_filter(getenv("SPOOL_TEST"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
