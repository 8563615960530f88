/*
 * The spool on a bad disk: power cuts at random moments, a full disk, and errors of writes and
 * syncs (see disk_shim.h). What was acknowledged is there, what was refused never appears, nothing
 * damaged is handed out as good, and a final record that was synced stays and has its accounting
 * record.
 */
#include "unit.h"

#include "disk_shim.h"
#include "../unit/spool_fixture.h"

enum {
    CUTS = 1500,
    ACCOUNT_CUTS = 400,
    STEPS = 3000,
    MESSAGES = 500,
    MAX_MARKS = 200000,
    NO_ACCOUNT = -1,
    ACCOUNT_WANTED = -2,
};

#define ACCOUNT_NAME "acct.csv"

/* What was promised by the time that so many disk operations were done. */
struct mark {
    size_t operations;
    size_t message;  /* acknowledged; or SIZE_MAX: */
    uint64_t synced; /* the journal, up to here */
};

static struct mark marks[MAX_MARKS];
static size_t mark_count;
static uint64_t noted_synced, noted_written; /* of the journal */

/* An accounting file in the spool's directory, so that images have it. */
static struct {
    int fd; /* or NO_ACCOUNT, or ACCOUNT_WANTED before it is made */
    struct buf written;
    bool found[FX_MAX_MESSAGES][FX_MAX_RCPTS]; /* in the image */
    size_t demanded, missing, unsynced, unsynced_missing, unsynced_cuts;
} account = {.fd = NO_ACCOUNT};

/* How many disk operations were done when a recipient's final event was queued. */
static size_t ended_at[FX_MAX_MESSAGES][FX_MAX_RCPTS];

static void note(size_t message, uint64_t synced)
{
    assert_true(mark_count < MAX_MARKS);
    marks[mark_count++] = (struct mark){disk_operations(), message, synced};
}

static void note_promises(struct fx *f, bool *known)
{
    for (size_t i = 0; i < f->count; i++) {
        if (f->messages[i]->status != 0 || known[i])
            continue;
        known[i] = true;
        note(i, 0);
    }
    struct journal_commit *c = &f->spool->journal_commit;
    uint64_t synced = f->spool->journal_synced;
    if (c->repeated_at) /* in a file that is synced before it has its name */
        synced = MAX_OF(synced, noted_written);
    c->repeated_at = 0;
    noted_written = c->journal_written ? c->journal_seq : noted_written;
    if (synced > noted_synced)
        note(SIZE_MAX, noted_synced = synced);
}

/* A final event has its accounting record before it. */
static void event(struct fx *f, struct fx_message *m, uint16_t r, enum spool_state state)
{
    char id[MESSAGE_ID_SIZE], line[64];
    if (account.fd >= 0 && spool_state_is_final(state)) {
        snprintf(line, sizeof(line), "%s.%u final\n", message_id_format(m->append.id, id), r);
        spool_accounting(f->spool, account.fd, sv_of(line));
        buf_append_str(&account.written, line);
    }
    fx_event(f, m, r, state);
    if (spool_state_is_final(state))
        ended_at[fx_index(f, m->append.id)][r] = disk_operations();
}

/* Whoever follows the file has read each record once and in order. */
static void check_account(const struct fx *f, size_t least)
{
    size_t len = buf_len(&account.written);
    char *text = xmalloc(len + 1);
    int dir = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int fd = openat(dir, ACCOUNT_NAME, O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, text, len + 1);
    assert_in_range(n, least, len);
    assert_memory_equal(text, buf_data(&account.written), n);
    close(fd);
    close(dir);
    free(text);
}

/* Syncs or writes fail, and cutting back what was written; a probe and maintenance come a while
 * later. */
static void trouble(struct fx *f)
{
    if (fx_random(f, 20) == 0) {
        int error = fx_random(f, 4) ? EIO : EROFS;
        disk_fail(DISK_SYNC, fx_random(f, 8), 1 + fx_random(f, 3), error);
        if (fx_random(f, 3) == 0)
            disk_fail(DISK_WRITE, fx_random(f, 8), 1 + fx_random(f, 3), error);
        disk_fail(DISK_TRUNCATE, 0, fx_random(f, 3), error);
    }
    if (!f->writable && fx_random(f, 2) == 0)
        f->spool->probe_due = true;
    if (f->spool->maintenance_parked && !f->spool->maintenance)
        maintain_park(f->spool, 0);
    if (fx_random(f, 16) == 0)
        check_account(f, 0);
}

static void work(struct fx *f, bool *known)
{
    unsigned more = account.fd >= 0 ? 2 : 1; /* part of the time nothing can be written */
    for (unsigned step = 0; step < more * STEPS; step++) {
        if (account.fd >= 0)
            trouble(f);
        if (f->count < more * MESSAGES && fx_random(f, 3) == 0)
            fx_append(f, 1 + fx_random(f, 3), fx_random(f, 2500));
        for (int i = 0; i < 2 && f->count; i++) {
            struct fx_message *m = f->messages[fx_random(f, (uint32_t)f->count)];
            uint16_t r = (uint16_t)fx_random(f, m->rcpts);
            if (m->status == 0 && !spool_state_is_final(m->state[r]))
                event(f, m, r, (enum spool_state)(1 + fx_random(f, 8) % 5));
        }
        f->spool->compact_after_ms = 0;
        spool_wake(f->spool);
        do
            uv_run(&f->loop, UV_RUN_ONCE);
        while (f->spool->commit.running || f->spool->journal_commit.running ||
               (step % 8 == 0 && f->spool->maintenance));
        note_promises(f, known);
    }
}

/* The records that are whole in an image. */
static void read_account(struct fx *f, const char *image)
{
    static const char end[] = " final\n";
    enum { ID = MESSAGE_ID_SIZE - 1, RECORD = ID + 2 + sizeof(end) - 1 };
    char path[160], *text;
    struct strview id;
    message_id found;
    snprintf(path, sizeof(path), "%s/" ACCOUNT_NAME, image);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t len = fd < 0 ? 0 : (size_t)spool_file_size(fd);
    text = xmalloc(len + 1);
    memset(account.found, 0, sizeof(account.found));
    if (len)
        assert_int_equal(spool_read_at(fd, text, len, 0), 0);
    for (size_t i = 0; i + RECORD <= len; i++) {
        if (memcmp(text + i + RECORD - (sizeof(end) - 1), end, sizeof(end) - 1) != 0)
            continue;
        id = sv(text + i, ID);
        unsigned rcpt = (unsigned)(text[i + ID + 1] - '0');
        if (message_id_parse(id, &found) && fx_find(f, found) && rcpt < FX_MAX_RCPTS)
            account.found[fx_index(f, found)][rcpt] = true;
    }
    if (fd >= 0)
        close(fd);
    free(text);
}

/* What is final has its record: what was synced, and what recovery believes besides. */
static void check_records(struct fx *f, const bool *acknowledged, uint64_t synced)
{
    size_t before = account.unsynced_missing;
    for (size_t i = 0; i < f->count; i++) {
        const struct fx_message *m = f->messages[i];
        for (uint32_t r = 0; acknowledged[i] && r < m->rcpts; r++) {
            if (m->recovered && !spool_state_is_final(m->found[r]))
                continue;
            bool sure = m->queued_at[r] <= synced;
            *(sure ? &account.demanded : &account.unsynced) += 1;
            if (!account.found[i][r])
                *(sure ? &account.missing : &account.unsynced_missing) += 1;
        }
    }
    account.unsynced_cuts += account.unsynced_missing > before;
}

/* The owner of an image: the messages of the run that made it. */
static void check_cut(struct fx *f, struct fx *run, size_t operations, const char *image)
{
    static bool acknowledged[FX_MAX_MESSAGES];
    uint64_t synced = 0;
    struct spool_ledger l;
    BUG_ON(snprintf(f->dir, sizeof(f->dir), "%s", image) >= (int)sizeof(f->dir));
    memcpy(f->messages, run->messages, sizeof(f->messages));
    f->count = run->count;
    assert_int_equal(fx_open(f), 0);
    assert_int_equal(f->unknown, 0);
    memset(acknowledged, 0, sizeof(acknowledged));
    for (size_t i = 0; i < mark_count && marks[i].operations <= operations; i++)
        if (marks[i].message == SIZE_MAX)
            synced = marks[i].synced;
        else
            acknowledged[marks[i].message] = true;
    uint64_t left = 0;
    for (size_t i = 0; i < f->count; i++) {
        struct fx_message *m = f->messages[i];
        bool ended = true;
        for (uint32_t r = 0; r < m->rcpts; r++) {
            bool final = spool_state_is_final(m->state[r]);
            ended = ended && final && m->queued_at[r] <= synced;
            if (acknowledged[i] && (!final || ended_at[i][r] >= operations)) {
                assert_true(m->recovered);
                assert_false(spool_state_is_final(m->found[r]));
            }
        }
        if (ended)
            assert_false(m->recovered);
        if (m->recovered)
            assert_int_equal(fx_read(f, m, 10000), 0);
    }
    if (account.fd >= 0) {
        read_account(f, image);
        check_records(f, acknowledged, synced);
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

/* After a failure the probe would wait a second; the test does not. */
static void probe_now(struct fx *f)
{
    while (!f->writable) {
        f->spool->probe_due = true;
        spool_wake(f->spool);
        uv_run(&f->loop, UV_RUN_ONCE);
    }
}

static void open_account(const struct fx *f)
{
    int dir = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    account.fd = openat(dir, ACCOUNT_NAME, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    close(dir);
    assert_true(account.fd >= 0);
}

static void close_account(void)
{
    close(account.fd);
    account.fd = NO_ACCOUNT;
    buf_free(&account.written);
}

static void begin(struct fx *run)
{
    mark_count = 0;
    noted_synced = noted_written = 0;
    disk_record();
    if (account.fd == ACCOUNT_WANTED)
        open_account(run);
    assert_int_equal(fx_open(run), 0);
}

static void end(struct fx *run)
{
    for (int i = 0; i < DISK_CALLS; i++)
        disk_fail((enum disk_call)i, 0, 0, 0);
    probe_now(run);
    fx_close(run);
    disk_stop();
    print_message("%zu disk operations, %zu messages moved, %zu promises\n", disk_operations(),
                  run->moved, mark_count);
    assert_true(run->moved > 0); /* cuts during compaction are among them */
}

static void cut_often(uint32_t cuts)
{
    struct fx *run = fx_new(20000, 6000), *f = fx_new(20000, 6000);
    run->options.boot = 1;
    f->options.boot = 2;
    char image[140], *own = strdup(f->dir);
    bool *known = xcalloc(FX_MAX_MESSAGES, 1);
    if (account.fd == ACCOUNT_WANTED)
        run->options.journal_sync_ms = 15; /* more than one write between two syncs */
    begin(run);
    work(run, known);
    end(run);
    if (account.fd >= 0) {
        print_message("%d changes of health\n", run->health_changes);
        assert_true(run->health_changes > 100);
        check_account(run, buf_len(&account.written));
    }
    for (uint32_t cut = 0; cut < cuts; cut++) {
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

static void power_cut(void **state)
{
    (void)state;
    cut_often(CUTS);
}

static void records_survive(void **state)
{
    (void)state;
    account.fd = ACCOUNT_WANTED;
    cut_often(ACCOUNT_CUTS);
    close_account();
    print_message("final and synced: %zu, without record: %zu; final and not synced: %zu, without "
                  "record: %zu, in %zu of %d images\n",
                  account.demanded, account.missing, account.unsynced, account.unsynced_missing,
                  account.unsynced_cuts, ACCOUNT_CUTS);
    assert_int_equal(account.missing, 0);
    assert_int_equal(account.unsynced_missing, 0);
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

/* A journal that can be neither written nor cut back is repeated in a new file, and that is durable
 * when it has its name: accounting is synced before. */
static void repeated_behind_accounting(void **state)
{
    struct fx *f = fx_new(0, 0);
    struct journal_commit *c;
    (void)state;
    f->options.journal_sync_ms = 1000000;
    open_account(f);
    assert_int_equal(fx_open(f), 0);
    c = &f->spool->journal_commit;
    struct fx_message *m = fx_append(f, 2, 10);
    while (m->status == 1)
        uv_run(&f->loop, UV_RUN_ONCE);
    event(f, m, 0, SPOOL_DELIVERED);
    while (c->running || buf_len(&f->spool->journal_waiting))
        uv_run(&f->loop, UV_RUN_ONCE);
    disk_fail(DISK_WRITE, 1, 1, EIO); /* not the record's but the event's */
    disk_fail(DISK_TRUNCATE, 0, 1, EIO);
    event(f, m, 1, SPOOL_DELIVERED);
    while (f->writable)
        uv_run(&f->loop, UV_RUN_ONCE);
    assert_true(f->spool->journal_writer.bad);
    assert_true(accounts_unsynced(f->spool));
    disk_fail(DISK_SYNC, 3, 1, EIO); /* behind that of the probe and two of a new journal */
    f->spool->probe_due = true;
    spool_wake(f->spool);
    do
        uv_run(&f->loop, UV_RUN_ONCE);
    while (c->running || f->spool->probe_due);
    assert_false(f->writable);
    assert_true(!c->repeated_at || !accounts_unsynced(f->spool));
    probe_now(f);
    fx_settle(f);
    check_account(f, buf_len(&account.written));
    fx_free(f);
    close_account();
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
        cmocka_unit_test(power_cut),        cmocka_unit_test(records_survive),
        cmocka_unit_test(disk_full),        cmocka_unit_test(write_error),
        cmocka_unit_test(sync_error),       cmocka_unit_test(repeated_behind_accounting),
        cmocka_unit_test(too_little_space),
    };
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    log_set_fd(getenv("SPOOL_TEST_LOG") ? 2 : null);
    if (getenv("SPOOL_TEST"))
        cmocka_set_test_filter(getenv("SPOOL_TEST"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
