/*
 * The spool against a model in memory: what is appended and journalled is what recovery reports,
 * after a close, after a crash, after rotation, removal, collection and compaction, with torn tails
 * and with damage at every place.
 */
#include "unit.h"

#include "spool_fixture.h"

static void ids(void **state)
{
    char text[MESSAGE_ID_SIZE];
    message_id id;
    (void)state;
    assert_string_equal(message_id_format(1, text), "0000000000001");
    assert_true(message_id_parse(sv_of(message_id_format(UINT64_MAX, text)), &id));
    assert_true(id == UINT64_MAX);
    assert_true(message_id_parse(SV("0000000000O1L"), &id)); /* misread letters */
    assert_int_equal(id, 33);
    assert_false(message_id_parse(SV("g000000000000"), &id));
    assert_false(message_id_parse(SV("000000000000u"), &id));
    assert_false(message_id_parse(SV("00000000001"), &id));
}

static void round_trip(void **state)
{
    struct fx *f = fx_new(0, 0);
    (void)state;
    assert_int_equal(fx_open(f), 0);
    fx_append(f, 1, 0);
    fx_append(f, 3, 4096);
    fx_append(f, 1, 300000);
    assert_int_equal(f->messages[0]->status, 1); /* not inside the call */
    fx_settle(f);
    for (size_t i = 0; i < f->count; i++) {
        assert_int_equal(f->messages[i]->status, 0);
        assert_int_equal(fx_read(f, f->messages[i], 1 << 20), 0);
        assert_int_equal(fx_read(f, f->messages[i], 100), 0); /* content stays in the file */
    }
    struct arena arena = {0};
    struct envelope env;
    struct fx_message *m = f->messages[1];
    assert_int_equal(spool_read_envelope(f->spool, m->append.id, &m->place, &arena, &env), 0);
    assert_int_equal(env.rcpt_count, 3);
    fx_event(f, m, 1, SPOOL_DEFERRED);
    fx_settle(f);
    struct spool_event ev;
    assert_int_equal(spool_read_event(f->spool, m->at[1], &arena, &ev), 0);
    assert_true(ev.id == m->append.id && ev.rcpt == 1 && ev.state == SPOOL_DEFERRED);
    assert_sv_equal(ev.text, "2.0.0 what the peer said");
    assert_int_equal(spool_read_event(f->spool, 0, &arena, &ev), ERR_NOT_FOUND);
    arena_free(&arena);

    fx_close(f);
    assert_int_equal(fx_open(f), 0);
    assert_int_equal(fx_compare(f), 0);
    assert_int_equal(f->recovered, 3);
    fx_free(f);
}

static void content_from_file(void **state)
{
    struct fx *f = fx_new(0, 0);
    struct err e;
    int fd;
    (void)state;
    assert_int_equal(fx_open(f), 0);
    assert_int_equal(spool_temporary_file(f->spool, &fd, &e), 0);
    for (int i = 0; i < 3; i++) {
        struct fx_message *m = fx_append(f, 1, 700001);
        if (i != 1)
            continue;
        assert_int_equal(spool_write_at(fd, m->content.mem, 700001, 0), 0);
        m->append.content = sv(NULL, 0);
        m->append.content_fd = fd;
        m->append.content_bytes = 700001;
    }
    fx_settle(f);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(f->messages[i]->status, 0);
        assert_int_equal(fx_read(f, f->messages[i], 1 << 20), 0);
    }
    /* the caller's file is shorter than it says: only that message is refused */
    struct fx_message *good = fx_append(f, 1, 10), *bad = fx_append(f, 1, 700002),
                      *after = fx_append(f, 1, 10);
    bad->append.content_fd = fd;
    bad->append.content_bytes = 700002;
    fx_settle(f);
    assert_int_equal(good->status, 0);
    assert_true(bad->status < 0);
    assert_int_equal(after->status, 0);
    assert_int_equal(f->health_changes, 0);
    assert_int_equal(fx_read(f, good, 100), 0);
    assert_int_equal(fx_read(f, after, 100), 0);
    fx_crash(f);
    assert_int_equal(fx_open(f), 0);
    assert_int_equal(fx_compare(f), 0);
    close(fd);
    fx_free(f);
}

static void refused_at_once(void **state)
{
    struct fx *f = fx_new(0, 0);
    (void)state;
    assert_int_equal(fx_open(f), 0);
    struct fx_message *m = fx_append(f, 1, 10);
    m->append.rcpt_count = 0;
    struct fx_message *n = fx_append(f, 1, 10);
    fx_settle(f);
    assert_int_equal(m->status, -EMSGSIZE);
    assert_int_equal(n->status, 0);
    fx_free(f);
}

static void lock_and_format(void **state)
{
    struct fx *f = fx_new(0, 0);
    struct spool *second = NULL;
    struct err e;
    char path[200];
    (void)state;
    assert_int_equal(fx_open(f), 0);
    int fd = open(f->dir, O_RDONLY | O_DIRECTORY);
    assert_int_equal(spool_open(&second, &f->loop, fd, &f->options, &fx_ops, f, &e), ERR_BUSY);
    assert_non_null(strstr(e.text, "in use"));
    fx_close(f);
    snprintf(path, sizeof(path), "%s/format", f->dir);
    FILE *file = fopen(path, "w");
    fputs("pmta-spool 2\n", file);
    fclose(file);
    assert_int_equal(fx_open(f), ERR_VERSION);
    assert_non_null(strstr(f->error.text, "newer"));
    file = fopen(path, "w");
    fputs("something else\n", file);
    fclose(file);
    assert_int_equal(fx_open(f), ERR_CORRUPT);
    fx_free(f);
}

static void unwritable_directory(void **state)
{
    struct fx *f = fx_new(0, 0);
    struct spool *s = NULL;
    struct err e = {0};
    (void)state;
    int fd = open("/proc/self/fd", O_RDONLY | O_DIRECTORY);
    assert_true(spool_open(&s, &f->loop, fd, &f->options, &fx_ops, f, &e) < 0);
    assert_non_null(strstr(e.text, "bulk"));
    fx_free(f);
}

static void rotation_and_removal(void **state)
{
    struct fx *f = fx_new(20000, 0);
    struct spool_stats st;
    (void)state;
    assert_int_equal(fx_open(f), 0);
    for (int i = 0; i < 50; i++)
        fx_append(f, 1, 3000);
    fx_settle(f);
    spool_stats(f->spool, &st);
    assert_true(st.segments >= 8);
    for (size_t i = 0; i < 50; i++)
        fx_event(f, f->messages[i], 0, i % 2 ? SPOOL_DELIVERED : SPOOL_BOUNCED);
    fx_settle(f);
    while (spool_stats(f->spool, &st), st.segments > 1)
        uv_run(&f->loop, UV_RUN_ONCE);
    assert_int_equal(st.live_bytes, 0);
    for (int round = 0; round < 3; round++) {
        fx_crash(f);
        assert_int_equal(fx_open(f), 0);
        assert_int_equal(fx_compare(f), 0);
        assert_int_equal(f->recovered, 0);
    }
    fx_free(f);
}

/* Files of the spool that are open and removed. */
static size_t held_without_a_name(const struct fx *f)
{
    DIR *d = opendir("/proc/self/fd");
    char target[256];
    size_t n = 0;
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        ssize_t len = readlinkat(dirfd(d), e->d_name, target, sizeof(target) - 1);
        target[MAX_OF(len, 0)] = 0;
        n += strstr(target, f->dir) && strstr(target, "(deleted)");
    }
    closedir(d);
    return n;
}

/* A segment that somebody reads from stays whole for him; others are emptied in slices. */
static void removal_of_large_segments(void **state)
{
    enum { SIZE = 3 << 20 };
    struct fx *f = fx_new(10 << 20, 0);
    struct spool_stats st;
    (void)state;
    assert_int_equal(fx_open(f), 0);
    for (int i = 0; i < 10; i++)
        fx_append(f, 1, SIZE);
    fx_settle(f);
    struct fx_message *m = f->messages[0];
    struct fx_read r = {.read = {.done = fx_on_read}, .status = 1};
    spool_read(f->spool, m->append.id, &m->place, 0, &r.read);
    while (r.status == 1)
        uv_run(&f->loop, UV_RUN_ONCE);
    assert_int_equal(r.status, 0);
    assert_true(r.read.content.fd >= 0);
    for (size_t i = 0; i < 10; i++)
        fx_event(f, f->messages[i], 0, SPOOL_DELIVERED);
    while (spool_stats(f->spool, &st), st.segments > 1 || f->spool->maintenance)
        uv_run(&f->loop, UV_RUN_ONCE);
    char *mem = xmalloc(SIZE);
    assert_int_equal(spool_read_at(r.read.content.fd, mem, SIZE, r.read.content.fd_offset), 0);
    assert_memory_equal(mem, buf_data(&m->content), SIZE);
    free(mem);
    assert_int_equal(held_without_a_name(f), 1);
    spool_content_release(f->spool, &r.read.content);
    assert_int_equal(held_without_a_name(f), 0);
    /* and in the middle of it the spool can be closed */
    for (int i = 0; i < 10; i++)
        fx_append(f, 1, SIZE);
    fx_settle(f);
    for (size_t i = 10; i < 20; i++)
        fx_event(f, f->messages[i], 0, SPOOL_DELIVERED);
    while (!f->spool->remove || !f->spool->maintenance_parked)
        uv_run(&f->loop, UV_RUN_ONCE);
    fx_close(f);
    assert_int_equal(held_without_a_name(f), 0);
    assert_int_equal(fx_open(f), 0);
    assert_int_equal(fx_compare(f), 0);
    fx_free(f);
}

/* Ids never come twice, also when the clock goes back and all messages are gone. */
static void ids_increase(void **state)
{
    struct fx *f = fx_new(0, 0);
    message_id last = 0;
    (void)state;
    clock_fake_set(2000000000000);
    for (int round = 0; round < 3; round++) {
        assert_int_equal(fx_open(f), 0);
        for (int i = 0; i < 3; i++) {
            struct fx_message *m = fx_append(f, 1, 10);
            assert_true(m->append.id > last);
            last = m->append.id;
        }
        fx_settle(f);
        for (size_t i = f->count - 3; i < f->count; i++)
            fx_event(f, f->messages[i], 0, SPOOL_DELETED);
        fx_settle(f);
        fx_close(f);
        clock_fake_set(1900000000000);
    }
    fx_free(f);
}

/* ---- torn tails ---- */

static void path_of(const struct fx *f, const char *sub, uint64_t number, char *out, size_t size)
{
    snprintf(out, size, "%s/%s/%08llu", f->dir, sub, (unsigned long long)number);
}

static void torn_segment(void **state)
{
    struct fx *f = fx_new(0, 0);
    char path[200], keep[160];
    (void)state;
    assert_int_equal(fx_open(f), 0);
    for (int i = 0; i < 4; i++)
        fx_append(f, 1, 100);
    fx_settle(f);
    fx_close(f);
    snprintf(keep, sizeof(keep), "%s-keep", f->dir);
    fx_copy_dir(f->dir, keep);
    struct fx_message *last = f->messages[3];
    for (uint32_t cut = 0; cut < last->place.length; cut++) {
        fx_remove_tree(f->dir);
        fx_copy_dir(keep, f->dir);
        path_of(f, "seg", last->place.segment, path, sizeof(path));
        assert_int_equal(truncate(path, last->place.offset + cut), 0);
        last->status = 1; /* the model: not acknowledged, the last pad bytes do not matter */
        f->ledger.received = 3;
        assert_int_equal(fx_open(f), 0);
        assert_int_equal(fx_compare(f), 0);
        assert_int_equal(fx_read(f, f->messages[2], 1000), 0);
        if (cut % 16 == 0) { /* goes on behind the tear, also after a crash */
            size_t count = f->count;
            struct fx_message *m = fx_append(f, 1, 50);
            fx_settle(f);
            fx_crash(f);
            assert_int_equal(fx_open(f), 0);
            assert_int_equal(fx_compare(f), 0);
            assert_int_equal(fx_read(f, m, 1000), 0);
            f->count = count;
            buf_free(&m->envelope);
            buf_free(&m->content);
            free(m);
        }
        fx_close(f);
    }
    fx_remove_tree(keep);
    fx_free(f);
}

static void torn_journal(void **state)
{
    struct fx *f = fx_new(0, 0);
    char path[200], keep[160];
    (void)state;
    assert_int_equal(fx_open(f), 0);
    for (int i = 0; i < 3; i++)
        fx_append(f, 1, 100);
    fx_settle(f);
    for (int i = 0; i < 3; i++) {
        fx_event(f, f->messages[i], 0, SPOOL_DELIVERED);
        fx_settle(f);
    }
    uint64_t file = f->messages[2]->at[0] >> PLACE_BITS;
    off_t at = (off_t)(f->messages[2]->at[0] & 0xfffffffff);
    fx_close(f);
    snprintf(keep, sizeof(keep), "%s-keep", f->dir);
    fx_copy_dir(f->dir, keep);
    f->messages[2]->state[0] = SPOOL_QUEUED;
    f->messages[2]->attempts[0] = 0;
    f->ledger.delivered = 2;
    for (off_t cut = 0; cut < 88; cut++) {
        fx_remove_tree(f->dir);
        fx_copy_dir(keep, f->dir);
        path_of(f, "journal", file, path, sizeof(path));
        assert_int_equal(truncate(path, at + cut), 0);
        assert_int_equal(fx_open(f), 0);
        assert_int_equal(fx_compare(f), 0);
        fx_close(f);
    }
    fx_remove_tree(keep);
    fx_free(f);
}

/* ---- damage ---- */

static void flip(const char *path, off_t at)
{
    int fd = open(path, O_RDWR);
    unsigned char c;
    assert_int_equal(pread(fd, &c, 1, at), 1);
    c ^= 0x40;
    assert_int_equal(pwrite(fd, &c, 1, at), 1);
    close(fd);
}

static size_t quarantined_files(const struct fx *f)
{
    char path[200];
    size_t count = 0;
    snprintf(path, sizeof(path), "%s/quarantine", f->dir);
    DIR *d = opendir(path);
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        count += e->d_name[0] != '.';
    closedir(d);
    return count;
}

/* One byte of the message in the middle is wrong: the others are there, it is set aside and
 * counted, and that stays so. `sealed`: the segment is not the newest, so only reading finds a bad
 * body. */
static void damage_one(struct fx *f, const char *keep, uint32_t at, bool sealed)
{
    char path[200];
    struct fx_message *m = f->messages[1];
    struct spool_ledger l;
    fx_remove_tree(f->dir);
    fx_copy_dir(keep, f->dir);
    path_of(f, "seg", m->place.segment, path, sizeof(path));
    flip(path, (off_t)m->place.offset + at);
    struct spool_place place = m->place;
    for (int round = 0; round < 3; round++) {
        assert_int_equal(fx_open(f), 0);
        assert_int_equal(f->unknown, 0);
        assert_true(f->messages[0]->recovered && f->messages[2]->recovered);
        if (round == 0 && m->recovered) {
            int rc = fx_read(f, m, 1000);
            if (rc == 0) /* a pad byte */
                break;
            assert_true(sealed);
            assert_int_equal(rc, ERR_CORRUPT);
        } else {
            assert_false(m->recovered);
        }
        assert_int_equal(fx_read(f, f->messages[0], 1000), 0);
        assert_int_equal(fx_read(f, f->messages[2], 1000), 0);
        spool_ledger(f->spool, &l);
        assert_int_equal(l.corrupt, m->rcpts);
        assert_int_equal(l.received, f->ledger.received);
        assert_int_equal(quarantined_files(f), 1);
        fx_settle(f);
        fx_close(f);
    }
    if (f->spool)
        fx_close(f);
    m->place = place;
}

static void damage_everywhere(void **state)
{
    struct fx *f = fx_new(0, 0);
    char keep[160];
    (void)state;
    for (int sealed = 0; sealed < 2; sealed++) {
        assert_int_equal(fx_open(f), 0);
        if (!sealed) {
            for (int i = 0; i < 3; i++)
                fx_append(f, 2, 90);
        } else {
            fx_append(f, 1, 10); /* in a new segment */
        }
        fx_settle(f);
        fx_close(f);
        snprintf(keep, sizeof(keep), "%s-keep", f->dir);
        fx_copy_dir(f->dir, keep);
        for (uint32_t at = 0; at < f->messages[1]->place.length; at++)
            damage_one(f, keep, at, sealed);
        fx_remove_tree(f->dir);
        fx_copy_dir(keep, f->dir);
        fx_remove_tree(keep);
    }
    fx_free(f);
}

static void damaged_headers(void **state)
{
    struct fx *f = fx_new(0, 0);
    char path[200];
    (void)state;
    assert_int_equal(fx_open(f), 0);
    for (int i = 0; i < 3; i++)
        fx_append(f, 1, 50);
    fx_settle(f);
    fx_event(f, f->messages[0], 0, SPOOL_DELIVERED);
    fx_settle(f);
    fx_close(f);
    path_of(f, "seg", f->messages[0]->place.segment, path, sizeof(path));
    flip(path, 20);
    path_of(f, "journal", f->messages[0]->at[0] >> PLACE_BITS, path, sizeof(path));
    flip(path, 20);
    assert_int_equal(fx_open(f), 0);
    assert_int_equal(fx_compare(f), 0);
    fx_free(f);
}

/* ---- maintenance ---- */

static void wait_for_compaction(struct fx *f, size_t moved)
{
    f->spool->compact_after_ms = 0;
    while (f->moved < moved || !fx_is_settled(f)) {
        f->spool->compact_after_ms = 0;
        spool_wake(f->spool);
        uv_run(&f->loop, UV_RUN_ONCE);
    }
}

static void compaction(void **state)
{
    struct fx *f = fx_new(40000, 0);
    struct spool_stats st;
    size_t left = 0;
    (void)state;
    assert_int_equal(fx_open(f), 0);
    for (int i = 0; i < 100; i++)
        fx_append(f, 1 + (uint32_t)i % 3, 3000);
    fx_settle(f);
    for (size_t i = 0; i < 100; i++) {
        struct fx_message *m = f->messages[i];
        bool keep = i % 10 == 2; /* three recipients: one is delivered, one deferred */
        for (uint16_t r = 0; r < m->rcpts; r++)
            if (!keep || r < 2)
                fx_event(f, m, r, keep && r ? SPOOL_DEFERRED : SPOOL_DELIVERED);
        left += fx_is_live(m) && m->place.segment != f->spool->writer.segment;
    }
    wait_for_compaction(f, left);
    assert_true(left >= 5);
    assert_true(f->moved >= left);
    fx_settle(f);
    while (spool_stats(f->spool, &st), st.segments > 3)
        uv_run(&f->loop, UV_RUN_ONCE);
    for (size_t i = 0; i < 100; i++)
        if (fx_is_live(f->messages[i]))
            assert_int_equal(fx_read(f, f->messages[i], 5000), 0);
    for (int round = 0; round < 3; round++) {
        fx_crash(f);
        assert_int_equal(fx_open(f), 0);
        assert_int_equal(fx_compare(f), 0);
        fx_settle(f);
    }
    fx_free(f);
}

/* As if a second hour had passed since compaction looked; then lets it look. */
static void look_an_hour_later(struct fx *f)
{
    for (size_t i = 0; i < f->spool->segment_count; i++)
        if (f->spool->segments[i]->looked_ms)
            f->spool->segments[i]->looked_ms -= 3600 * 1000;
    f->spool->compact_after_ms = 0;
    spool_wake(f->spool);
    fx_settle(f);
}

/* A segment that empties by itself is left alone; what stays in it is copied out. */
static void compaction_of_what_stays(void **state)
{
    struct fx *f = fx_new(40000, 0);
    (void)state;
    f->options.settle_ms = 3600 * 1000;
    assert_int_equal(fx_open(f), 0);
    for (int i = 0; i < 50; i++)
        fx_append(f, 1, 3000); /* 13 in a segment */
    fx_settle(f);
    uint32_t first = f->messages[0]->place.segment;
    for (size_t i = 0; f->messages[i]->place.segment == first; i++)
        if (i > 2)
            fx_event(f, f->messages[i], 0, SPOOL_DELIVERED);
    f->spool->compact_after_ms = 0;
    fx_settle(f);
    assert_true(spool_segment(f->spool, first)->looked_ms != 0);
    f->spool->compact_after_ms = 0;
    spool_wake(f->spool);
    fx_settle(f);
    assert_int_equal(f->moved, 0); /* not watched long enough */
    fx_event(f, f->messages[0], 0, SPOOL_DELIVERED);
    fx_settle(f);
    look_an_hour_later(f);
    assert_int_equal(f->moved, 0); /* it lost a third meanwhile */
    look_an_hour_later(f);
    while (spool_segment(f->spool, first)) /* removed once the journal is synced */
        uv_run(&f->loop, UV_RUN_ONCE);
    assert_int_equal(f->moved, 2);
    assert_int_equal(fx_read(f, f->messages[1], 5000), 0);
    fx_free(f);
}

static void on_never(uv_timer_t *timer)
{
    (void)timer;
}

/* Nothing else happens in the spool: the look comes by itself. */
static void compaction_of_an_idle_spool(void **state)
{
    struct fx *f = fx_new(40000, 0);
    uv_timer_t alive; /* as a pipe's loop always is */
    (void)state;
    f->options.settle_ms = 1;
    assert_int_equal(fx_open(f), 0);
    for (int i = 0; i < 50; i++)
        fx_append(f, 1, 3000);
    fx_settle(f);
    uint32_t first = f->messages[0]->place.segment;
    for (size_t i = 1; f->messages[i]->place.segment == first; i++)
        fx_event(f, f->messages[i], 0, SPOOL_DELIVERED);
    uv_timer_init(&f->loop, &alive);
    uv_timer_start(&alive, on_never, 3600 * 1000, 0);
    while (spool_segment(f->spool, first))
        uv_run(&f->loop, UV_RUN_ONCE);
    assert_int_equal(f->moved, 1);
    uv_close((uv_handle_t *)&alive, NULL);
    fx_free(f);
}

/* The journal is collected and the places that the owner knows stay right. */
static void collection(void **state)
{
    struct fx *f = fx_new(1 << 20, 2000);
    struct spool_event ev;
    struct arena arena = {0};
    struct spool_stats st;
    (void)state;
    assert_int_equal(fx_open(f), 0);
    for (int i = 0; i < 10; i++)
        fx_append(f, 2, 100);
    fx_settle(f);
    for (int round = 0; round < 200; round++) {
        for (size_t i = 0; i < 10; i++)
            fx_event(f, f->messages[i], (uint16_t)(round + i) % 2, SPOOL_DEFERRED);
        fx_settle(f);
        spool_stats(f->spool, &st);
        assert_true(st.journal_bytes < 40000);
        for (size_t i = 0; i < 10; i++) {
            uint16_t r = (uint16_t)(round + i) % 2;
            arena_reset(&arena);
            assert_int_equal(spool_read_event(f->spool, f->messages[i]->at[r], &arena, &ev), 0);
            assert_true(ev.id == f->messages[i]->append.id && ev.rcpt == r);
            assert_int_equal(ev.attempts, f->messages[i]->attempts[r]);
        }
    }
    arena_free(&arena);
    fx_crash(f);
    assert_int_equal(fx_open(f), 0);
    assert_int_equal(fx_compare(f), 0);
    fx_free(f);
}

/* ---- the model ---- */

static void random_step(struct fx *f)
{
    uint32_t what = fx_random(f, 10);
    if (what < 2 && f->count < FX_MAX_MESSAGES) {
        fx_append(f, 1 + fx_random(f, FX_MAX_RCPTS), fx_random(f, 3000));
        return;
    }
    if (what == 2) {
        for (uint32_t i = fx_random(f, 20); i > 0; i--) {
            spool_wake(f->spool);
            uv_run(&f->loop, UV_RUN_ONCE);
        }
        return;
    }
    if (!f->count)
        return;
    uint32_t back = fx_random(f, 80);
    struct fx_message *m = f->messages[back < f->count ? f->count - 1 - back : 0];
    uint16_t r = (uint16_t)fx_random(f, m->rcpts);
    if (m->status == 0 && !spool_state_is_final(m->state[r]))
        fx_event(f, m, r, (enum spool_state)(1 + fx_random(f, 8) % 5));
}

static void model(void **state)
{
    struct fx *f = fx_new(20000, 15000);
    (void)state;
    assert_int_equal(fx_open(f), 0);
    /* how often compaction comes depends on the thread pool: go on until it came often enough */
    for (int round = 0; round < 60 || (f->moved < 10 && round < 600); round++) {
        for (uint32_t i = 0, n = fx_random(f, 500); i < n; i++) {
            f->spool->compact_after_ms = 0;
            random_step(f);
        }
        if (round % 3 == 0) {
            fx_close(f);
        } else {
            /* all that was asked for is written, but maintenance may be anywhere */
            while (f->spool->waiting || f->spool->commit.running ||
                   f->spool->journal_commit.running || buf_len(&f->spool->journal_waiting)) {
                f->spool->compact_after_ms = 0;
                uv_run(&f->loop, UV_RUN_ONCE);
            }
            fx_crash(f);
        }
        assert_int_equal(fx_open(f), 0);
        assert_int_equal(fx_compare(f), 0);
    }
    for (size_t i = 0; i < f->count; i++)
        if (f->messages[i]->recovered)
            assert_int_equal(fx_read(f, f->messages[i], 5000), 0);
    assert_in_range(f->moved, 10, SIZE_MAX);
    fx_free(f);
}

/* Final, written to the journal, and not synced when this returns. */
static void end_unsynced(struct fx *f, struct fx_message *m)
{
    f->spool->options.journal_sync_ms = 3600000;
    fx_event(f, m, 0, SPOOL_DELIVERED);
    while (f->spool->journal_commit.running || buf_len(&f->spool->journal_waiting))
        uv_run(&f->loop, UV_RUN_ONCE);
    assert_true(buf_len(&f->spool->journal_unsynced) > 0);
}

static void assert_books(struct fx *f, uint64_t delivered, uint64_t queued)
{
    struct spool_ledger l;
    spool_ledger(f->spool, &l);
    assert_int_equal(l.delivered, delivered);
    assert_int_equal(l.corrupt, 0);
    assert_int_equal(l.received, delivered + queued);
    assert_int_equal(f->recovered, queued);
}

/* An outcome that was written and not synced counts after a kill; not after a power cut, by which its
 * accounting record may be lost although the journal has it. */
static void unsynced_outcomes(void **state)
{
    struct fx *f = fx_new(20000, 0);
    (void)state;
    f->options.boot = 1;
    assert_int_equal(fx_open(f), 0);
    struct fx_message *synced = fx_append(f, 1, 100), *written = fx_append(f, 1, 100);
    fx_settle(f);
    fx_append(f, 1, 30000); /* in a segment of its own */
    fx_settle(f);
    fx_event(f, synced, 0, SPOOL_DELIVERED);
    fx_settle(f);
    end_unsynced(f, written);

    fx_crash(f);
    assert_int_equal(fx_open(f), 0);
    assert_books(f, 2, 1);
    for (int i = 0; i < 20; i++) /* the first segment is finished, and must not go yet */
        uv_run(&f->loop, UV_RUN_NOWAIT);
    fx_crash(f);
    f->options.boot = 2;
    assert_int_equal(fx_open(f), 0);
    assert_books(f, 1, 2);
    assert_true(written->recovered && !synced->recovered);
    assert_int_equal(fx_read(f, written, 1 << 20), 0);

    /* once synced it counts, also after a power cut */
    fx_event(f, written, 0, SPOOL_DELIVERED);
    fx_settle(f);
    fx_crash(f);
    f->options.boot = 3;
    assert_int_equal(fx_open(f), 0);
    assert_books(f, 2, 1);
    fx_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids),
        cmocka_unit_test(round_trip),
        cmocka_unit_test(content_from_file),
        cmocka_unit_test(refused_at_once),
        cmocka_unit_test(lock_and_format),
        cmocka_unit_test(unwritable_directory),
        cmocka_unit_test(rotation_and_removal),
        cmocka_unit_test(removal_of_large_segments),
        cmocka_unit_test(torn_segment),
        cmocka_unit_test(torn_journal),
        cmocka_unit_test(damage_everywhere),
        cmocka_unit_test(damaged_headers),
        cmocka_unit_test(compaction),
        cmocka_unit_test(compaction_of_what_stays),
        cmocka_unit_test(compaction_of_an_idle_spool),
        cmocka_unit_test(collection),
        cmocka_unit_test(model),
        cmocka_unit_test(unsynced_outcomes),
        cmocka_unit_test(ids_increase), /* last: it freezes the clock */
    };
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    log_set_fd(getenv("SPOOL_TEST_LOG") ? 2 : null);
    if (getenv("SPOOL_TEST"))
        cmocka_set_test_filter(getenv("SPOOL_TEST"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
