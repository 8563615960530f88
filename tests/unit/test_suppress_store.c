/*
 * The suppression list on a real disk: what was told as durable is there after the next load,
 * whatever the end of the log looks like; damage is set aside; the log is collected; what cannot be
 * written is taken back.
 */
#include "unit.h"

#include "base/clock.h"
#include "store_int.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

static const char secret[] = "0123456789012345678901234567890123456789";

struct world {
    char path[64];
    struct suppress_key key;
    struct store *store;
    bool loaded, closed, told;
    int status;
    struct err e;
    char found[1000];
};

static struct world w;

static void on_loaded(void *arg, const struct err *e)
{
    (void)arg;
    w.loaded = true;
    w.e = e ? *e : (struct err){0};
}

static void run_until(const bool *what)
{
    while (!*what) {
        int alive = uv_run(uv_default_loop(), UV_RUN_ONCE);
        assert_true(alive || *what);
    }
}

static int try_open(void)
{
    int dirfd = open(w.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    assert_true(dirfd >= 0);
    w.store = store_new(uv_default_loop(), dirfd, &w.key);
    w.store->compact_min = 100;
    w.loaded = w.closed = false;
    store_load(w.store, on_loaded, NULL);
    run_until(&w.loaded);
    return w.e.code;
}

static void open_store(void)
{
    assert_int_equal(try_open(), 0);
}

static void on_closed(void *arg)
{
    (void)arg;
    w.closed = true;
}

static void close_store(void)
{
    store_close(w.store, on_closed, NULL);
    run_until(&w.closed);
    store_free(w.store);
}

static int setup(void **state)
{
    struct err e;

    (void)state;
    memset(&w, 0, sizeof(w));
    snprintf(w.path, sizeof(w.path), "/tmp/pmta-test-suppress-XXXXXX");
    assert_non_null(mkdtemp(w.path));
    return suppress_key_derive(sv(secret, sizeof(secret) - 1), &w.key, &e);
}

static int teardown(void **state)
{
    DIR *d = opendir(w.path);
    char path[400];

    (void)state;
    for (struct dirent *e; (e = readdir(d));) {
        snprintf(path, sizeof(path), "%s/%s", w.path, e->d_name);
        unlink(path);
    }
    closedir(d);
    return rmdir(w.path);
}

static char *file(uint32_t number)
{
    static char path[200];
    char name[SEGMENT_NAME_SIZE];
    snprintf(path, sizeof(path), "%s/%s", w.path, segment_file_name(number, name));
    return path;
}

static off_t size_of(uint32_t number)
{
    struct stat st;
    return stat(file(number), &st) == 0 ? st.st_size : -1;
}

static void on_told(struct store_request *r, int status)
{
    (void)r;
    w.told = true;
    w.status = status;
}

static struct suppress_entry entry_of(const char *address)
{
    return (struct suppress_entry){.reason = SUPPRESS_BY_MANUAL, .address = sv_of(address)};
}

static int change(const struct suppress_entry *e, enum store_way way, struct store_request *r)
{
    struct err err;

    r->done = on_told;
    w.told = false;
    store_begin(w.store, r);
    assert_int_equal(store_add(r, e, way, &err), 0);
    store_end(r);
    assert_false(w.told);
    run_until(&w.told);
    return w.status;
}

static void add(const char *address)
{
    struct suppress_entry e = entry_of(address);
    struct store_request r;
    assert_int_equal(change(&e, STORE_REPLACE, &r), 0);
    assert_int_equal(r.added, 1);
}

static void del(const char *address)
{
    struct store_request r = {.done = on_told};
    struct err e;

    w.told = false;
    store_begin(w.store, &r);
    assert_int_equal(store_del(&r, SUPPRESS_GLOBAL, sv("", 0), sv_of(address), &e), 0);
    store_end(&r);
    run_until(&w.told);
    assert_int_equal(w.status, 0);
    assert_int_equal(r.removed, 1);
}

static void on_found(void *arg, const struct store_entry *e)
{
    size_t n = strlen(w.found);
    (void)arg;
    snprintf(w.found + n, sizeof(w.found) - n, "%.*s%s%s:%.*s %s %lld %.*s;",
             e->is_domain ? (int)e->address.len : 0, e->address.ptr, e->is_domain ? " " : "",
             suppress_scope_name(e->scope), SV_ARG(e->name), suppress_reason_name(e->reason),
             (long long)e->expires_s, SV_ARG(e->note));
}

static void on_find_done(void *arg, int status)
{
    (void)arg;
    w.told = true;
    w.status = status;
}

static const char *find(const char *address)
{
    w.told = false;
    w.found[0] = '\0';
    assert_int_equal(store_find(w.store, sv_of(address), on_found, on_find_done, NULL), 0);
    run_until(&w.told);
    assert_int_equal(w.status, 0);
    return w.found;
}

static bool has(const char *address)
{
    struct suppress_scopes s = {0};
    struct suppress_hit hit;
    const struct suppress_table *t = &store_table(w.store)->reader;

    suppress_scopes_add(&s, t, SUPPRESS_GLOBAL, sv("", 0));
    return suppress_table_find(t, &s, sv_of(address), clock_wall_ms(), &hit);
}

/* --- tests --- */

static void test_entries_survive(void **state)
{
    struct suppress_entry e = entry_of("B@x.example");
    struct store_request r;

    (void)state;
    open_store();
    add("A@x.example");
    e.scope = SUPPRESS_JOB;
    e.scope_name = SV("Spring");
    e.reason = SUPPRESS_BY_UNSUBSCRIBE;
    e.expires_ms = 4000000000000;
    e.note = SV("one click");
    assert_int_equal(change(&e, STORE_EXTEND, &r), 0);
    add("gone@x.example");
    del("Gone@x.example");
    for (int round = 0; round < 2; round++) {
        assert_true(has("a@X.example"));
        assert_false(has("b@x.example"));
        assert_false(has("gone@x.example"));
        assert_string_equal(find("b@x.example"), "job:Spring unsubscribe 4000000000 one click;");
        assert_string_equal(find("gone@x.example"), "");
        assert_int_equal(table_count(store_table(w.store)), 2);
        close_store();
        open_store();
    }
    close_store();
}

static void test_feeds_extend_and_operators_replace(void **state)
{
    struct suppress_entry e = entry_of("a@x.example");
    int64_t day = 86400000, now = clock_wall_ms() / 1000 * 1000;
    struct store_request r;
    char wanted[100];

    (void)state;
    open_store();
    e.expires_ms = now + 10 * day;
    change(&e, STORE_EXTEND, &r);
    assert_int_equal(r.added, 1);
    e.expires_ms = now + day;
    e.reason = SUPPRESS_BY_BOUNCE;
    change(&e, STORE_EXTEND, &r);
    assert_int_equal(r.same, 1);
    e.expires_ms = now + 20 * day;
    change(&e, STORE_EXTEND, &r);
    assert_int_equal(r.changed, 1);
    e.expires_ms = 0;
    e.reason = SUPPRESS_BY_COMPLAINT;
    change(&e, STORE_EXTEND, &r);
    assert_string_equal(find("a@x.example"), "global: complaint 0 ;");
    e.expires_ms = now + day;
    e.note = SV("again");
    change(&e, STORE_REPLACE, &r);
    assert_int_equal(r.changed, 1);
    change(&e, STORE_REPLACE, &r);
    assert_int_equal(r.same, 1);
    e.note = SV("other words");
    change(&e, STORE_REPLACE, &r);
    assert_int_equal(r.changed, 1);
    snprintf(wanted, sizeof(wanted), "global: complaint %lld other words;",
             (long long)(now + day) / 1000);
    assert_string_equal(find("a@x.example"), wanted);
    e.expires_ms = now - 1000; /* over already */
    change(&e, STORE_REPLACE, &r);
    assert_int_equal(r.same, 1);
    close_store();
}

static void test_what_is_no_entry_changes_nothing(void **state)
{
    struct store_request r = {.done = on_told};
    struct suppress_entry e = entry_of("nobody");
    struct err err;

    (void)state;
    open_store();
    store_begin(w.store, &r);
    assert_int_equal(store_add(&r, &e, STORE_REPLACE, &err), ERR_SYNTAX);
    e = entry_of("a@x.example");
    e.scope = SUPPRESS_PIPE;
    assert_int_equal(store_add(&r, &e, STORE_REPLACE, &err), ERR_SYNTAX);
    e.scope = SUPPRESS_GLOBAL;
    e.scope_name = SV("x");
    assert_int_equal(store_add(&r, &e, STORE_REPLACE, &err), ERR_SYNTAX);
    store_end(&r);
    run_until(&w.told);
    assert_int_equal(table_count(store_table(w.store)), 0);
    close_store();
}

/* Cut anywhere, the log keeps all records before the cut, and takes new ones. */
static void test_torn_tail(void **state)
{
    (void)state;
    open_store();
    add("a@x.example");
    close_store();
    off_t whole = size_of(1);
    open_store();
    add("b@x.example");
    close_store();
    off_t longer = size_of(1);
    assert_true(longer > whole);
    for (off_t cut = longer - 1; cut >= whole; cut -= 5) {
        assert_int_equal(truncate(file(1), cut), 0);
        open_store();
        assert_true(has("a@x.example"));
        assert_false(has("b@x.example"));
        add("b@x.example");
        close_store();
        open_store();
        assert_true(has("a@x.example") && has("b@x.example"));
        assert_int_equal(w.store->damaged_bytes, 0);
        close_store();
        assert_int_equal(size_of(1), longer);
    }
    assert_int_equal(truncate(file(1), 10), 0); /* a segment that was never begun */
    open_store();
    assert_int_equal(table_count(store_table(w.store)), 0);
    add("c@x.example");
    close_store();
    open_store();
    assert_true(has("c@x.example"));
    close_store();
}

static void flip(off_t at)
{
    int fd = open(file(1), O_RDWR);
    char c;
    assert_int_equal(pread(fd, &c, 1, at), 1);
    c ^= 0x10;
    assert_int_equal(pwrite(fd, &c, 1, at), 1);
    close(fd);
}

/* Whatever byte of the second of three records is wrong: the other two are there. */
static void test_damage_is_set_aside(void **state)
{
    char bad[200];
    struct stat st;

    (void)state;
    open_store();
    add("first@x.example");
    off_t from = (off_t)w.store->segments[0].bytes;
    add("second@x.example");
    off_t to = (off_t)w.store->segments[0].bytes;
    add("third@x.example");
    close_store();
    snprintf(bad, sizeof(bad), "%s/bad-00000001-%lld", w.path, (long long)from);
    for (off_t at = from; at < to; at++) {
        flip(at);
        open_store();
        assert_true(has("first@x.example") && has("third@x.example"));
        assert_false(has("second@x.example"));
        assert_int_equal(w.store->damaged_bytes, to - from);
        assert_int_equal(stat(bad, &st), 0);
        assert_int_equal(st.st_size, to - from);
        close_store();
        unlink(bad);
        flip(at);
    }
    open_store();
    assert_true(has("second@x.example"));
    close_store();
}

static void test_a_note_cannot_pass_for_a_record(void **state)
{
    struct suppress_entry e = entry_of("a@x.example");
    struct record fake = {.kind = RECORD_ADD, .address = SV("fake@x.example")};
    struct store_request r;
    struct buf bytes = {0};

    (void)state;
    record_encode(&bytes, &fake, 12345);
    open_store();
    add("first@x.example");
    off_t at = (off_t)w.store->segments[0].bytes;
    e.note = buf_view(&bytes);
    change(&e, STORE_REPLACE, &r);
    add("third@x.example");
    close_store();
    flip(at); /* its header is gone: the note is looked at as if it could be a record */
    open_store();
    assert_false(has("fake@x.example"));
    assert_true(has("third@x.example"));
    close_store();
    buf_free(&bytes);
}

static void test_collects_the_log(void **state)
{
    char address[40];

    (void)state;
    open_store();
    add("keep@x.example");
    for (int i = 0; i < 120; i++) {
        snprintf(address, sizeof(address), "u%d@x.example", i);
        add(address);
    }
    for (int i = 0; i < 120; i++) {
        snprintf(address, sizeof(address), "u%d@x.example", i);
        del(address);
    }
    while (size_of(1) >= 0)
        assert_true(uv_run(uv_default_loop(), UV_RUN_ONCE));
    while (w.store->compact)
        assert_true(uv_run(uv_default_loop(), UV_RUN_ONCE));
    struct store_stats s;
    store_stats(w.store, &s);
    assert_int_equal(s.live, 1);
    assert_true(s.records < 120);
    assert_string_equal(find("keep@x.example"), "global: manual 0 ;");
    assert_int_equal(table_count(store_table(w.store)), 1);
    close_store();
    open_store();
    assert_true(has("keep@x.example"));
    assert_int_equal(table_count(store_table(w.store)), 1);
    close_store();
}

static void test_hashes_replace_addresses(void **state)
{
    struct store_stats s;

    (void)state;
    open_store();
    add("a@x.example");
    add("b@x.example");
    store_set_hashing(w.store, true);
    do {
        store_stats(w.store, &s);
        if (s.hashed_records != s.records)
            assert_true(uv_run(uv_default_loop(), UV_RUN_ONCE));
    } while (s.hashed_records != s.records);
    close_store();
    open_store();
    assert_true(has("a@x.example") && has("b@x.example"));
    close_store();
    w.key.bytes[0] ^= 1; /* another secret */
    assert_int_equal(try_open(), ERR_KEY);
    store_free(w.store);
}

static void until_hashed(void)
{
    struct store_stats s;

    store_set_hashing(w.store, true);
    for (store_stats(w.store, &s); s.hashed_records != s.records; store_stats(w.store, &s))
        assert_true(uv_run(uv_default_loop(), UV_RUN_ONCE));
}

static void test_whole_domains(void **state)
{
    struct store_request r = {.done = on_told};
    struct suppress_entry e = entry_of("@x@y.example");
    struct err err;

    (void)state;
    open_store();
    add("@X.Example");
    add("a@x.example");
    for (int round = 0; round < 3; round++) { /* in clear, and as a hash */
        assert_true(has("any@x.example"));
        assert_true(has("a@x.example"));
        assert_false(has("any@sub.x.example"));
        assert_int_equal(suppress_table_domains(&store_table(w.store)->reader, SUPPRESS_GLOBAL), 1);
        assert_string_equal(find("any@x.example"), "@x.example global: manual 0 ;");
        assert_string_equal(find("@x.example"), "@x.example global: manual 0 ;");
        assert_string_equal(find("a@x.example"), "global: manual 0 ;@x.example global: manual 0 ;");
        if (round == 1)
            until_hashed();
        close_store();
        open_store();
    }
    del("@x.example");
    assert_false(has("any@x.example"));
    assert_true(has("a@x.example"));
    store_begin(w.store, &r);
    assert_int_equal(store_add(&r, &e, STORE_REPLACE, &err), ERR_SYNTAX);
    e.address = SV("@");
    assert_int_equal(store_add(&r, &e, STORE_REPLACE, &err), ERR_SYNTAX);
    w.told = false;
    store_end(&r);
    run_until(&w.told);
    close_store();
}

/* The last one: the clock is a fake one from here on. */
static void test_readers_see_when_something_was_added(void **state)
{
    (void)state;
    open_store();
    const struct suppress_table *t = &store_table(w.store)->reader;
    int64_t made = suppress_table_added_ms(t);
    assert_true(made > 0 && made <= clock_wall_ms());
    clock_fake_set(made + 5000);
    add("a@x.example");
    assert_int_equal(suppress_table_added_ms(t), made + 5000);
    clock_fake_set(made + 9000);
    del("a@x.example"); /* lets nobody be written to who was not */
    assert_int_equal(suppress_table_added_ms(t), made + 5000);
    close_store();
}

/* What export prints of a hash is taken back as what it was. */
static void test_the_hash_of_a_domain_is_imported(void **state)
{
    struct suppress_hash h = suppress_hash_address(&w.key, SV("@x.example"));
    char hex[40] = "@";

    (void)state;
    for (size_t i = 0; i < sizeof(h); i++)
        snprintf(hex + 1 + 2 * i, 3, "%02x", ((const unsigned char *)&h)[i]);
    open_store();
    add(hex);
    assert_true(has("any@x.example"));
    assert_string_equal(find("any@x.example"), "@x.example global: manual 0 ;");
    del("@x.example");
    assert_false(has("any@x.example"));
    close_store();
}

static void test_addresses_in_clear_survive_another_secret(void **state)
{
    (void)state;
    open_store();
    add("a@x.example");
    close_store();
    w.key.bytes[0] ^= 1;
    open_store();
    assert_true(has("a@x.example"));
    add("b@x.example");
    close_store();
    open_store();
    assert_true(has("a@x.example") && has("b@x.example"));
    close_store();
}

/* A disk that takes no more: what could not be written is not in the list, and was told so. */
static void test_what_cannot_be_written_is_taken_back(void **state)
{
    struct suppress_entry e = entry_of("late@x.example");
    struct store_request r;
    struct rlimit before, small;

    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    open_store();
    add("early@x.example");
    off_t size = size_of(1);
    getrlimit(RLIMIT_FSIZE, &before);
    small = (struct rlimit){(rlim_t)size + 20, before.rlim_max};
    setrlimit(RLIMIT_FSIZE, &small);
    assert_true(change(&e, STORE_REPLACE, &r) < 0);
    assert_false(has("late@x.example"));
    assert_true(has("early@x.example"));
    assert_int_equal(size_of(1), size);
    struct store_request q = {.done = on_told};
    struct err err;
    w.told = false;
    store_begin(w.store, &q);
    assert_int_equal(store_del(&q, SUPPRESS_GLOBAL, sv("", 0), SV("early@x.example"), &err), 0);
    assert_false(has("early@x.example"));
    store_end(&q);
    run_until(&w.told);
    assert_true(w.status < 0);
    assert_true(has("early@x.example"));
    setrlimit(RLIMIT_FSIZE, &before);
    assert_int_equal(change(&e, STORE_REPLACE, &r), 0);
    struct store_stats s;
    store_stats(w.store, &s);
    assert_int_equal(s.records, 2);
    assert_int_equal(s.live, 2);
    close_store();
    open_store();
    assert_true(has("early@x.example") && has("late@x.example"));
    close_store();
}

struct exported {
    unsigned lines;
    struct store_place next;
    bool done;
};

static void on_line(void *arg, const struct store_entry *e)
{
    (void)e;
    ((struct exported *)arg)->lines++;
}

static void on_exported(void *arg, int status, struct store_place next)
{
    struct exported *x = arg;
    assert_int_equal(status, 0);
    x->next = next;
    x->done = true;
}

static void test_export_comes_in_pieces(void **state)
{
    struct exported x = {0};
    struct store_request r = {.done = on_told};
    struct err e;
    char address[40];
    unsigned pieces = 0;

    (void)state;
    open_store();
    store_export(w.store, x.next, 1000, on_line, on_exported, &x);
    run_until(&x.done);
    assert_int_equal(x.lines + x.next.segment, 0); /* nothing in an empty list */
    store_begin(w.store, &r);
    for (int i = 0; i < 5000; i++) {
        snprintf(address, sizeof(address), "u%d@x.example", i);
        struct suppress_entry en = entry_of(address);
        assert_int_equal(store_add(&r, &en, STORE_REPLACE, &e), 0);
    }
    store_end(&r);
    run_until(&w.told);
    for (int i = 0; i < 10; i++) {
        snprintf(address, sizeof(address), "u%d@x.example", i);
        del(address);
    }
    do {
        x.done = false;
        store_export(w.store, x.next, 20000, on_line, on_exported, &x);
        run_until(&x.done);
        pieces++;
    } while (x.next.segment);
    assert_int_equal(x.lines, 4990);
    assert_true(pieces > 5);
    close_store();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_entries_survive, setup, teardown),
        cmocka_unit_test_setup_teardown(test_feeds_extend_and_operators_replace, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_no_entry_changes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_torn_tail, setup, teardown),
        cmocka_unit_test_setup_teardown(test_damage_is_set_aside, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_note_cannot_pass_for_a_record, setup, teardown),
        cmocka_unit_test_setup_teardown(test_collects_the_log, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hashes_replace_addresses, setup, teardown),
        cmocka_unit_test_setup_teardown(test_whole_domains, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_hash_of_a_domain_is_imported, setup, teardown),
        cmocka_unit_test_setup_teardown(test_addresses_in_clear_survive_another_secret, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_what_cannot_be_written_is_taken_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_export_comes_in_pieces, setup, teardown),
        cmocka_unit_test_setup_teardown(test_readers_see_when_something_was_added, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
