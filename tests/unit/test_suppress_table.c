/*
 * The suppression table: what is found after additions, changes and removals over many splits, and
 * what a reader in another thread sees meanwhile; canonical forms and hashes; lines of lists.
 */
#include "unit.h"

#include "line.h"
#include "suppress/table.h"
#include "table_writer.h"

#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

static const char secret[] = "0123456789012345678901234567890123456789";
static struct suppress_key key;

static struct suppress_hash hash_of(uint64_t i)
{
    char text[40];
    int n = snprintf(text, sizeof(text), "user%llu@x.example", (unsigned long long)i);
    return suppress_hash_address(&key, sv(text, (size_t)n));
}

static int setup(void **state)
{
    struct table_writer *t = calloc(1, sizeof(*t));
    struct err e;

    assert_int_equal(suppress_key_derive(sv(secret, sizeof(secret) - 1), &key, &e), 0);
    assert_int_equal(table_writer_init(t, &key, &e), 0);
    *state = t;
    return 0;
}

static int teardown(void **state)
{
    table_writer_fini(*state);
    free(*state);
    return 0;
}

static void put(struct table_writer *t, uint64_t i, uint32_t expires_s, uint64_t meta)
{
    struct table_value old;
    bool was;
    assert_int_equal(table_put(t, hash_of(i), &(struct table_value){expires_s, meta}, &was, &old),
                     0);
}

static bool has(const struct table_writer *t, uint64_t i, int64_t now_ms)
{
    struct suppress_hit hit;
    return suppress_table_has(&t->reader, hash_of(i), now_ms, &hit);
}

/* --- table --- */

static void test_grows_over_splits(void **state)
{
    struct table_writer *t = *state;
    enum { COUNT = 100000 };
    struct table_value v;

    for (uint64_t i = 0; i < COUNT; i++) {
        assert_false(has(t, i, 1));
        put(t, i, 0, i << 5);
    }
    assert_int_equal(table_count(t), COUNT);
    assert_true(t->mem->head.depth > 8);
    for (uint64_t i = 0; i < COUNT; i++) {
        assert_true(has(t, i, 1));
        assert_true(table_get(t, hash_of(i), &v));
        assert_int_equal(v.meta, i << 5);
    }
    for (uint64_t i = COUNT; i < 2 * COUNT; i++)
        assert_false(has(t, i, 1));
    for (uint64_t i = 0; i < COUNT; i += 2)
        assert_true(table_remove(t, hash_of(i), &v));
    for (uint64_t i = 0; i < COUNT; i++)
        assert_int_equal(has(t, i, 1), i % 2);
    assert_false(table_remove(t, hash_of(0), &v));
    assert_int_equal(table_count(t), COUNT / 2);
    uint64_t bytes = table_bytes(t);
    for (uint64_t i = 0; i < COUNT; i += 2) /* the room of what went is used again */
        put(t, i, 0, 0);
    assert_int_equal(table_bytes(t), bytes);
}

static void test_changes_in_place(void **state)
{
    struct table_writer *t = *state;
    struct table_value old;
    bool was;

    put(t, 1, 100, SUPPRESS_GLOBAL);
    assert_int_equal(suppress_table_count(&t->reader, SUPPRESS_GLOBAL), 1);
    assert_int_equal(t->expiring, 1);
    assert_true(has(t, 1, 99999));
    assert_false(has(t, 1, 100000));
    assert_int_equal(table_put(t, hash_of(1), &(struct table_value){0, SUPPRESS_JOB}, &was, &old),
                     0);
    assert_true(was);
    assert_int_equal(old.expires_s, 100);
    assert_int_equal(suppress_table_count(&t->reader, SUPPRESS_GLOBAL), 0);
    assert_int_equal(suppress_table_count(&t->reader, SUPPRESS_JOB), 1);
    assert_int_equal(t->expiring, 0);
    assert_true(has(t, 1, INT64_MAX));
    assert_false(table_move(t, hash_of(1), 77, 88));
    assert_true(table_move(t, hash_of(1), SUPPRESS_JOB, 32 | SUPPRESS_JOB));
    assert_true(table_get(t, hash_of(1), &old));
    assert_int_equal(old.meta, 32 | SUPPRESS_JOB);
}

static void count_gone(void *arg, const struct table_value *old)
{
    assert_true(old->expires_s);
    ++*(unsigned *)arg;
}

static void test_sweep_takes_what_has_expired(void **state)
{
    struct table_writer *t = *state;
    uint32_t cursor = 0;
    unsigned gone = 0;

    for (uint64_t i = 0; i < 3000; i++)
        put(t, i, i % 3 == 0 ? 0 : i % 3 == 1 ? 50 : 500, 0);
    for (unsigned n = 0; n < 200; n++)
        table_sweep(t, &cursor, 1, 50, count_gone, &gone);
    assert_int_equal(gone, 1000);
    assert_int_equal(table_count(t), 2000);
    for (uint64_t i = 0; i < 3000; i++)
        assert_int_equal(has(t, i, 1), i % 3 != 1);
}

static void test_maps_only_what_is_a_table(void **state)
{
    struct table_writer *t = *state;
    struct suppress_table *r;
    struct suppress_hit hit;
    struct err e;
    int other = memfd_create("other", MFD_CLOEXEC);

    assert_true(ftruncate(other, (off_t)sizeof(struct suppress_memory)) == 0);
    assert_true(suppress_table_map(&r, other, SUPPRESS_TABLE_BYTES, &e) < 0);
    assert_true(ftruncate(other, 100) == 0);
    assert_true(suppress_table_map(&r, other, SUPPRESS_TABLE_BYTES, &e) < 0);
    assert_true(suppress_table_map(&r, t->fd, 4096, &e) < 0);
    close(other);
    put(t, 5, 0, 0);
    assert_int_equal(suppress_table_map(&r, t->fd, SUPPRESS_TABLE_BYTES, &e), 0);
    /* nobody else can write it or take its memory away */
    assert_true(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, t->fd, 0) == MAP_FAILED);
    assert_true(ftruncate(t->fd, 0) < 0);
    for (uint64_t i = 100; i < 5000; i++) /* it grows under the mapping */
        put(t, i, 0, 0);
    table_writer_fini(t); /* the writer is gone */
    assert_true(suppress_table_has(r, hash_of(5), 1, &hit));
    assert_true(suppress_table_has(r, hash_of(4999), 1, &hit));
    assert_false(suppress_table_has(r, hash_of(5000), 1, &hit));
    suppress_table_unmap(r);
}

/* Bytes that no writer would write: a reader comes back, and stays inside. */
static void test_reader_stands_any_memory(void **state)
{
    struct table_writer *t = *state;
    uint32_t x = 1;

    for (uint64_t i = 0; i < 1000; i++)
        put(t, i, 0, 0);
    for (unsigned round = 0; round < 200; round++) {
        for (unsigned n = 0; n < 1024; n++) {
            x = x * 1664525 + 1013904223;
            atomic_store(&t->mem->directory[n], round % 2 ? x : x % 64);
        }
        atomic_store(&t->mem->head.depth, x % 40);
        for (uint64_t i = 0; i < 200; i++)
            has(t, i, 1);
    }
    atomic_store(&t->mem->head.depth, 0);
}

/* --- a reader in another thread --- */

struct race {
    struct table_writer *writer;
    _Atomic uint64_t stable; /* entries below this are in and stay */
    atomic_bool over;
    uint64_t looks, missed, wrong;
};

static void *read_all_the_time(void *arg)
{
    struct race *r = arg;
    uint64_t x = 88172645463325252u;

    while (!atomic_load(&r->over)) {
        uint64_t stable = atomic_load(&r->stable);
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        if (stable)
            r->missed += !has(r->writer, x % stable, 1);
        r->wrong += has(r->writer, UINT64_C(1) << 40 | x, 1); /* never put in */
        r->looks++;
    }
    return NULL;
}

static void test_reader_misses_nothing_while_it_grows(void **state)
{
    enum { COUNT = 60000 };
    struct race race = {.writer = *state};
    struct table_value old;
    pthread_t thread;

    pthread_create(&thread, NULL, read_all_the_time, &race);
    for (uint64_t i = 0; i < COUNT; i++) {
        put(race.writer, i, 0, 0);
        put(race.writer, 1000000 + i, 0, 0); /* comes and goes: slots are used again */
        assert_true(table_remove(race.writer, hash_of(1000000 + i), &old));
        if (i % 64 == 63)
            atomic_store(&race.stable, i);
    }
    atomic_store(&race.over, true);
    pthread_join(thread, NULL);
    assert_true(race.looks > 100);
    assert_int_equal(race.missed, 0);
    assert_int_equal(race.wrong, 0);
}

/* --- comparison --- */

static void test_canonical_forms(void **state)
{
    static const struct {
        const char *in, *out; /* NULL: none */
    } rows[] = {
        {"User@Example.COM", "user@example.com"},
        {"user@example.com.", "user@example.com"},
        {"a@b@c.example", "a@b@c.example"},
        {"x@B\xc3\xbc"
         "cher.example",
         "x@xn--bcher-kva.example"},
        {"x@xn--BCHER-kva.example", "x@xn--bcher-kva.example"},
        {"\xc3\x9cser@x.example", "\xc3\x9cser@x.example"},
        {"x@[192.0.2.1]", "x@[192.0.2.1]"},
        {"x@\xff\xfe.example", "x@\xff\xfe.example"}, /* no IDN, still itself */
        {"nobody", NULL},
        {"@x.example", NULL},
        {"x@", NULL},
        {"", NULL},
    };
    char out[SUPPRESS_ADDRESS_MAX], big[600];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        size_t n = suppress_canonical(sv_of(rows[i].in), out);
        assert_int_equal(n, rows[i].out ? strlen(rows[i].out) : 0);
        if (n)
            assert_memory_equal(out, rows[i].out, n);
    }
    memset(big, 'a', sizeof(big));
    big[64] = '@';
    assert_int_equal(suppress_canonical(sv(big, 65 + 255), out), 65 + 255);
    assert_int_equal(suppress_canonical(sv(big, 65 + 256), out), 0);
    big[64] = 'a';
    big[65] = '@';
    assert_int_equal(suppress_canonical(sv(big, 100), out), 0);
    assert_int_equal(suppress_canonical_entry(SV("@B\xc3\xbc"
                                                 "cher.Example."),
                                              out),
                     22);
    assert_memory_equal(out, "@xn--bcher-kva.example", 22);
    assert_int_equal(suppress_canonical_entry(SV("A@b.example"), out), 11);
    assert_int_equal(suppress_canonical_entry(SV("@"), out), 0);
    assert_int_equal(suppress_canonical_entry(SV("b.example"), out), 0);
    assert_int_equal(suppress_canonical_name(SUPPRESS_JOB, SV("Spring A"), out), 8);
    assert_memory_equal(out, "Spring A", 8);
    assert_int_equal(suppress_canonical_name(SUPPRESS_PIPE, SV("Bulk"), out), 4);
    assert_memory_equal(out, "bulk", 4);
    assert_int_equal(suppress_canonical_name(SUPPRESS_PIPE, SV(""), out), 0);
}

static void test_scopes_of_a_message(void **state)
{
    struct table_writer *t = *state;
    struct suppress_scopes s = {0};
    struct suppress_hit hit;
    struct table_value old, v = {0, SUPPRESS_BY_COMPLAINT << 2 | SUPPRESS_JOB};
    bool was;
    struct suppress_hash h = suppress_hash_join(suppress_hash_scope(&key, SUPPRESS_JOB, SV("j1")),
                                                suppress_hash_address(&key, SV("a@b.example")));

    suppress_scopes_add(&s, &t->reader, SUPPRESS_GLOBAL, sv("", 0));
    assert_int_equal(s.count, 0); /* there are none: not looked for */
    assert_int_equal(table_put(t, h, &v, &was, &old), 0);
    suppress_scopes_add(&s, &t->reader, SUPPRESS_PIPE, SV("j1"));
    suppress_scopes_add(&s, &t->reader, SUPPRESS_JOB, SV(""));
    assert_int_equal(s.count, 0);
    suppress_scopes_add(&s, &t->reader, SUPPRESS_JOB, SV("j1"));
    assert_true(suppress_table_find(&t->reader, &s, SV("A@B.example"), 1, &hit));
    assert_int_equal(hit.scope, SUPPRESS_JOB);
    assert_int_equal(hit.reason, SUPPRESS_BY_COMPLAINT);
    assert_false(suppress_table_find(&t->reader, &s, SV("c@b.example"), 1, &hit));
    s.count = 0;
    suppress_scopes_add(&s, &t->reader, SUPPRESS_JOB, SV("J1"));
    assert_false(suppress_table_find(&t->reader, &s, SV("a@b.example"), 1, &hit));
    assert_false(suppress_table_find(NULL, &s, SV("a@b.example"), 1, &hit));
}

static void test_whole_domains(void **state)
{
    struct table_writer *t = *state;
    struct suppress_scopes s = {0};
    struct suppress_hit hit;
    struct suppress_hash domain = suppress_hash_address(&key, SV("@b.example"));
    struct suppress_hash in_pipe =
        suppress_hash_join(domain, suppress_hash_scope(&key, SUPPRESS_PIPE, SV("bulk")));
    struct table_value old,
        v = {50, SUPPRESS_META_DOMAIN | SUPPRESS_BY_BOUNCE << 2 | SUPPRESS_PIPE};
    bool was;

    put(t, 1, 0, SUPPRESS_GLOBAL);
    assert_int_equal(table_put(t, in_pipe, &v, &was, &old), 0);
    assert_int_equal(suppress_table_count(&t->reader, SUPPRESS_PIPE), 1);
    assert_int_equal(suppress_table_domains(&t->reader, SUPPRESS_PIPE), 1);
    assert_int_equal(suppress_table_domains(&t->reader, SUPPRESS_GLOBAL), 0);
    suppress_scopes_add(&s, &t->reader, SUPPRESS_GLOBAL, sv("", 0));
    assert_int_equal(s.domains, 0); /* not looked for there */
    suppress_scopes_add(&s, &t->reader, SUPPRESS_PIPE, SV("bulk"));
    assert_int_equal(s.domains, 2);
    assert_true(suppress_table_find(&t->reader, &s, SV("Any@B.example."), 1, &hit));
    assert_true(hit.is_domain);
    assert_int_equal(hit.scope, SUPPRESS_PIPE);
    assert_int_equal(hit.reason, SUPPRESS_BY_BOUNCE);
    assert_false(suppress_table_find(&t->reader, &s, SV("any@sub.b.example"), 1, &hit));
    assert_false(suppress_table_find(&t->reader, &s, SV("any@b.example"), 50000, &hit));
    assert_true(suppress_table_find(&t->reader, &s, SV("user1@x.example"), 1, &hit));
    assert_false(hit.is_domain);
    assert_true(table_remove(t, in_pipe, &old));
    assert_int_equal(suppress_table_domains(&t->reader, SUPPRESS_PIPE), 0);
}

/* --- lines --- */

static void test_lines(void **state)
{
    static const struct {
        const char *header, *line;
        int code; /* 0, 1 or ERR_SYNTAX */
        const char *address, *scope_name, *note;
        enum suppress_scope scope;
        int64_t expires_ms;
    } rows[] = {
        {NULL, "a@b.example", 0, "a@b.example", "", "", SUPPRESS_GLOBAL, 0},
        {NULL, "  a@b.example \r", 0, "a@b.example", "", "", SUPPRESS_GLOBAL, 0},
        {NULL, "", 1, "", "", "", 0, 0},
        {NULL, "# a@b.example", 1, "", "", "", 0, 0},
        {NULL, "a@b,job:x,bounce,1d,2026-01-01,\"n, \"\"1\"\"\"", 0, "a@b", "x", "n, \"1\"",
         SUPPRESS_JOB, 86400000 + 1000},
        {NULL, "a@b,pipe bulk", 0, "a@b", "bulk", "", SUPPRESS_PIPE, 0},
        {NULL, "a@b,,,1970-01-02T00:00:01Z", 0, "a@b", "", "", SUPPRESS_GLOBAL, 86401000},
        {NULL, "\"\"\"x\"\"@b\"", 0, "\"x\"@b", "", "", SUPPRESS_GLOBAL, 0},
        {"note,ADDRESS,other", "hello,a@b,x", 0, "a@b", "", "hello", SUPPRESS_GLOBAL, 0},
        {"note,address", "hello", ERR_SYNTAX, "", "", "", 0, 0},
        {NULL, "\"a@b", ERR_SYNTAX, "", "", "", 0, 0},
        {NULL, "\"a@b\"x", ERR_SYNTAX, "", "", "", 0, 0},
        {NULL, "a@b,nowhere", ERR_SYNTAX, "", "", "", 0, 0},
        {NULL, "a@b,global:x", ERR_SYNTAX, "", "", "", 0, 0},
        {NULL, "a@b,,mood", ERR_SYNTAX, "", "", "", 0, 0},
        {NULL, "a@b,,,soon", ERR_SYNTAX, "", "", "", 0, 0},
        {NULL, ",global", ERR_SYNTAX, "", "", "", 0, 0},
        {NULL, ",,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,", ERR_SYNTAX, "", "", "", 0, 0},
    };
    char scratch[LINE_MAX_BYTES];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct suppress_entry e = {.reason = SUPPRESS_BY_MANUAL, .note = SV("")};
        struct line_form form;
        struct err err = {0};
        line_form_default(&form);
        if (rows[i].header)
            assert_int_equal(line_form_parse(sv_of(rows[i].header), &form, &err), 0);
        assert_int_equal(line_parse(sv_of(rows[i].line), &form, 1000, scratch, &e, &err),
                         rows[i].code);
        if (rows[i].code)
            continue;
        assert_true(sv_eq(e.address, sv_of(rows[i].address)));
        assert_true(sv_eq(e.scope_name, sv_of(rows[i].scope_name)) ||
                    (e.scope == SUPPRESS_GLOBAL && !e.scope_name.len));
        assert_true(sv_eq(e.note, sv_of(rows[i].note)));
        assert_int_equal(e.scope, rows[i].scope);
        assert_int_equal(e.expires_ms, rows[i].expires_ms);
    }
    struct line_form form;
    struct err e;
    assert_int_equal(line_form_parse(SV("mail,scope"), &form, &e), ERR_SYNTAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_grows_over_splits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_changes_in_place, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sweep_takes_what_has_expired, setup, teardown),
        cmocka_unit_test_setup_teardown(test_maps_only_what_is_a_table, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reader_stands_any_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reader_misses_nothing_while_it_grows, setup, teardown),
        cmocka_unit_test(test_canonical_forms),
        cmocka_unit_test_setup_teardown(test_scopes_of_a_message, setup, teardown),
        cmocka_unit_test_setup_teardown(test_whole_domains, setup, teardown),
        cmocka_unit_test(test_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
