/*
 * pmta-ship: lines to objects and ids, names, places and trails, batches and what answers do to them,
 * back-off, signatures, and whole runs over real files with a target of the test's.
 */
#include "unit.h"

#include "base/clock.h"
#include "batch.h"
#include "json_scan.h"
#include "mail/acct_hold.h"
#include "names.h"
#include "place.h"
#include "record.h"
#include "ship.h"
#include "signature.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

/* --- records --- */

struct conversion {
    const char *header; /* NULL: JSON */
    const char *line;
    unsigned records;
    enum record_verdict verdict;
    const char *json;
};

static const struct conversion conversions[] = {
    {"type,rcpt,dlvSize,msgId", "d,a@x.org,12,00000000000ab.1", ACCT_ALL, RECORD_TAKEN,
     "{\"eventId\":\"p:d:00000000000ab.1\",\"type\":\"d\",\"rcpt\":\"a@x.org\",\"dlvSize\":12,"
     "\"msgId\":\"00000000000ab.1\"}"},
    /* quotes, commas, empty fields, a number that is none */
    {"type,dsnDiag,rcpt,dlvSize,msgId", "b,\"550 \"\"no\"\", sorry\",,012,m.1", ACCT_ALL,
     RECORD_TAKEN,
     "{\"eventId\":\"p:b:m.1\",\"type\":\"b\",\"dsnDiag\":\"550 \\\"no\\\", "
     "sorry\",\"dlvSize\":\"012\","
     "\"msgId\":\"m.1\"}"},
    /* a t record has an id per attempt */
    {"type,msgId,attempt", "t,m.1,3", ACCT_ALL, RECORD_TAKEN,
     "{\"eventId\":\"p:t:m.1:3\",\"type\":\"t\",\"msgId\":\"m.1\",\"attempt\":3}"},
    {"type,msgId", "d,\xff\xc3\xa4\x01.1", ACCT_ALL, RECORD_TAKEN,
     "{\"eventId\":\"p:d:____.1\",\"type\":\"d\",\"msgId\":\"\xef\xbf\xbd\xc3\xa4\\u0001.1\"}"},
    {"type,msgId", "d,m.1", ACCT_BIT(B), RECORD_LEFT_OUT, ""},
    {"type,msgId", "new,m.1", ACCT_BIT(B), RECORD_LEFT_OUT, ""},
    {"type,msgId", "d", ACCT_ALL, RECORD_BROKEN, ""},
    {"type,msgId", "d,m.1,more", ACCT_ALL, RECORD_BROKEN, ""},
    {"type,msgId", "d,\"m.1", ACCT_ALL, RECORD_BROKEN, ""},
    {"type,msgId", "d,\"m\".1", ACCT_ALL, RECORD_BROKEN, ""},
    {"type,msgId", "d,m\"1", ACCT_ALL, RECORD_BROKEN, ""},
    {"type,msgId", ",m.1", ACCT_ALL, RECORD_BROKEN, ""},
    {NULL, "{\"type\":\"d\",\"msgId\":\"m.1\",\"n\":{\"a\":[1,true]}}", ACCT_ALL, RECORD_TAKEN,
     "{\"eventId\":\"p:d:m.1\",\"type\":\"d\",\"msgId\":\"m.1\",\"n\":{\"a\":[1,true]}}"},
    {NULL, "{\"type\":\"t\",\"msgId\":\"m.1\",\"attempt\":2}", ACCT_ALL, RECORD_TAKEN,
     "{\"eventId\":\"p:t:m.1:2\",\"type\":\"t\",\"msgId\":\"m.1\",\"attempt\":2}"},
    /* a dead letter keeps its id */
    {NULL, "{\"deadLetterReason\":\"x\",\"eventId\":\"q:d:m.7\",\"type\":\"d\"}", ACCT_ALL,
     RECORD_TAKEN, "{\"deadLetterReason\":\"x\",\"eventId\":\"q:d:m.7\",\"type\":\"d\"}"},
    {NULL, "{\"type\":\"d\"", ACCT_ALL, RECORD_BROKEN, ""},
    {NULL, "{}", ACCT_ALL, RECORD_BROKEN, ""},
    {NULL, "{\"type\":\"d\"} {", ACCT_ALL, RECORD_BROKEN, ""},
};

static void test_conversion(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(conversions); i++) {
        const struct conversion *c = &conversions[i];
        struct columns *columns = NULL;
        struct buf json = {0}, ids = {0};
        struct record_result r;
        if (c->header)
            assert_int_equal(columns_new(sv_of(c->header), &columns, NULL), 0);
        struct record_request q = {columns, sv_of(c->line), SV("p"), SV("acct-p-2026-11-21-0000"),
                                   77,      c->records};
        assert_int_equal(record_convert(&q, &json, &ids, &r), c->verdict);
        assert_string_equal(buf_data(&json), c->json);
        if (c->verdict != RECORD_TAKEN)
            assert_int_equal(buf_len(&ids), 0);
        buf_free(&json);
        buf_free(&ids);
        columns_free(columns);
    }
}

/* Records without msgId: by place and content, so that two complaints about one message differ. */
static void test_ids_by_place(void **state)
{
    static const struct {
        const char *line;
        uint64_t offset;
        bool same;
    } rows[] = {{"tq,x", 10, true}, {"tq,x", 11, false}, {"tq,y", 10, false}};
    struct columns *columns;
    struct buf json = {0}, ids = {0};
    struct record_result first, r;

    (void)state;
    assert_int_equal(columns_new(SV("type,queue"), &columns, NULL), 0);
    struct record_request q = {columns, SV("tq,x"), SV("p"), SV("stem"), 10, ACCT_ALL};
    assert_int_equal(record_convert(&q, &json, &ids, &first), RECORD_TAKEN);
    char *id = xstrndup(first.id.ptr, first.id.len);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        q.line = sv_of(rows[i].line);
        q.offset = rows[i].offset;
        assert_int_equal(record_convert(&q, &json, &ids, &r), RECORD_TAKEN);
        assert_int_equal(sv_eq(r.id, sv_of(id)), rows[i].same);
    }
    free(id);
    buf_free(&json);
    buf_free(&ids);
    columns_free(columns);
}

static void test_headers_and_times(void **state)
{
    static const char *const bad[] = {"",         "rcpt,msgId", "type,,x",
                                      "type,\"x", "from: x",    "type,a b"};
    static const struct {
        const char *line;
        int64_t time_ms;
    } times[] = {{"d,2026-11-21 04:05:06+0000", 1795233906000},
                 {"d,1795233906", 1795233906000},
                 {"d,soon", 0},
                 {"d,", 0}};
    struct columns *columns;
    struct err e;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(columns_new(sv_of(bad[i]), &columns, &e), ERR_SYNTAX);
    assert_int_equal(columns_new(SV("type,timeLogged"), &columns, NULL), 0);
    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        struct record_request q = {columns, sv_of(times[i].line), SV("p"), SV("s"), 0, ACCT_ALL};
        struct buf json = {0}, ids = {0};
        struct record_result r;
        assert_int_equal(record_convert(&q, &json, &ids, &r), RECORD_TAKEN);
        assert_int_equal(r.time_ms, times[i].time_ms);
        buf_free(&json);
        buf_free(&ids);
    }
    columns_free(columns);
}

static void test_json_scan(void **state)
{
    static const struct {
        const char *text;
        bool good;
    } rows[] = {
        {" {\"a\" : 1 , \"b\":[ ]} ", true},
        {"{\"a\":-0.5e+10}", true},
        {"{\"a\":\"\\u00e4\\n\"}", true},
        {"{\"a\":01}", false},
        {"{\"a\":1.}", false},
        {"{\"a\":\"\t\"}", false},
        {"{\"a\":\"\\x\"}", false},
        {"{\"a\":\"\xff\"}", false},
        {"{\"a\"}", false},
        {"{\"a\":tru}", false},
        {"[1]", false},
        {"{\"a\":1,}", false},
        {"{\"a\":[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]}", false},
        {"", false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct json_wanted w = {.key = "a"};
        assert_int_equal(json_scan_object(sv_of(rows[i].text), &w, 1), rows[i].good);
    }
}

/* --- names, trails, places --- */

static void test_names(void **state)
{
    static const struct {
        const char *name;
        const char *pipe; /* NULL: of another set */
        struct file_key key;
        enum file_form form;
    } rows[] = {
        {"acct-bulk-2026-11-21-0003.csv", "bulk", {20261121, 3}, FORM_PLAIN},
        {"acct-bulk-2026-11-21-0003.csv.zst", "bulk", {20261121, 3}, FORM_ZSTD},
        {"acct-a-b-2026-11-21-10000.json.gz", "a-b", {20261121, 10000}, FORM_GZIP},
        {"acct-bulk-2026-11-21-0003.csv.zst.tmp", NULL, {0}, FORM_PLAIN},
        {"acct-bulk.csv", NULL, {0}, FORM_PLAIN},
        {"acct-2026-11-21-0003.csv", NULL, {0}, FORM_PLAIN},
        {"acct-bulk-2026-11-21-003.csv", NULL, {0}, FORM_PLAIN},
        {"other-bulk-2026-11-21-0003.csv", NULL, {0}, FORM_PLAIN},
        {"acct-bulk-2026-11-21-0003", NULL, {0}, FORM_PLAIN},
    };
    struct file_name n;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(file_name_parse(sv_of(rows[i].name), SV("acct"), &n),
                         rows[i].pipe != NULL);
        if (!rows[i].pipe)
            continue;
        assert_sv_equal(n.pipe, rows[i].pipe);
        assert_int_equal(file_key_cmp(n.key, rows[i].key), 0);
        assert_int_equal(n.form, rows[i].form);
    }
    assert_true(file_name_parse_fixed(SV("acct-bulk.csv"), SV("acct"), &n));
    assert_sv_equal(n.pipe, "bulk");
    assert_false(file_name_parse_fixed(SV("acct-bulk-2026-11-21-0003.csv"), SV("acct"), &n));
    assert_false(file_name_parse_fixed(SV("acct-bulk.csv.1"), SV("acct"), &n));
}

static void test_trail(void **state)
{
    struct trail t = {.before = {20261120, 3}};

    (void)state;
    assert_true(trail_has(&t, (struct file_key){20261120, 3}));
    assert_false(trail_has(&t, (struct file_key){20261120, 4}));
    assert_int_equal(trail_missing(&t, (struct file_key){20261120, 4}), 0);
    assert_int_equal(trail_missing(&t, (struct file_key){20261120, 6}), 2);
    assert_int_equal(trail_missing(&t, (struct file_key){20261121, 0}), 0);
    assert_int_equal(trail_missing(&t, (struct file_key){20261121, 2}), 2);
    trail_add(&t, (struct file_key){20261121, 0});
    assert_int_equal(trail_missing(&t, (struct file_key){20261121, 1}), 0);
    /* the clock was set back over midnight: the file is not done, and follows nothing */
    assert_false(trail_has(&t, (struct file_key){20261120, 4}));
    assert_int_equal(trail_missing(&t, (struct file_key){20261120, 9}), 0);
    for (unsigned i = 1; i < 100; i++)
        trail_add(&t, (struct file_key){20261121, i});
    assert_int_equal(t.count, TRAIL_FILES);
    assert_true(trail_has(&t, (struct file_key){20261121, 42}));
    assert_false(trail_has(&t, (struct file_key){20261121, 100}));
    assert_int_equal(trail_missing(&t, (struct file_key){20261121, 101}), 1);
}

static char directory[64];

static int open_directory(void **state)
{
    (void)state;
    snprintf(directory, sizeof(directory), "/tmp/test-ship-XXXXXX");
    assert_non_null(mkdtemp(directory));
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static void remove_directory(int fd)
{
    char command[128];

    close(fd);
    snprintf(command, sizeof(command), "rm -r %s", directory);
    assert_int_equal(system(command), 0);
}

static void write_file(int dirfd, const char *name, const char *text, size_t len)
{
    int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, len), (ssize_t)len);
    close(fd);
}

/* The newer of two copies that is whole counts; when neither is, that is an error, and not a new
 * beginning. */
static void test_place_file(void **state)
{
    int fd = open_directory(state);
    struct place_file f = {.dirfd = fd}, g = {.dirfd = fd};
    struct place_entry e = {.label = "acct-bulk"}, *got;
    size_t n;
    struct err err;

    assert_int_equal(place_file_load(&g, &got, &n, &err), 0);
    assert_int_equal(n, 0);
    free(got);
    snprintf(e.place.stem, sizeof(e.place.stem), "acct-bulk-2026-11-21-0003");
    e.place.key = (struct file_key){20261121, 3};
    e.place.offset = 100;
    e.place.mark = 0xfedcba9876543210u;
    e.place.mark_len = 64;
    trail_add(&e.trail, (struct file_key){20261121, 2});
    assert_int_equal(place_file_save(&f, &e, 1, true, &err), 0);
    e.place.offset = 200;
    assert_int_equal(place_file_save(&f, &e, 1, false, &err), 0);
    assert_int_equal(place_file_load(&g, &got, &n, &err), 0);
    assert_int_equal(n, 1);
    assert_memory_equal(got, &e, sizeof(e));
    free(got);
    write_file(fd, "position", "pmta-ship-1 ", 12); /* the power went */
    assert_int_equal(place_file_load(&g, &got, &n, &err), 0);
    assert_int_equal(n, 1);
    assert_int_equal(got->place.offset, 100);
    free(got);
    write_file(fd, "position.synced", "", 0);
    assert_int_equal(place_file_load(&g, &got, &n, &err), ERR_CORRUPT);
    remove_directory(fd);
}

static void test_hold(void **state)
{
    int fd = open_directory(state);
    char stem[ACCT_HOLD_NAME];
    static const struct {
        const char *name;
        bool before;
    } rows[] = {{"acct-bulk-2026-11-21-0002.csv.zst", true},
                {"acct-bulk-2026-11-20-0009.csv", true},
                {"acct-bulk-2026-11-21-0003.csv.zst", false},
                {"acct-bulk-2026-11-21-10000.csv", false},
                {"acct-bulk-2026-11-22-0000.csv", false}};

    assert_int_equal(acct_hold_read(fd, "acct-bulk", "s", stem), ERR_NOT_FOUND);
    assert_int_equal(acct_hold_write(fd, "acct-bulk", "s", "acct-bulk-2026-11-21-0003", NULL), 0);
    assert_int_equal(acct_hold_read(fd, "acct-bulk", "s", stem), 0);
    assert_string_equal(stem, "acct-bulk-2026-11-21-0003");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_int_equal(acct_hold_is_before("acct-bulk", rows[i].name, stem), rows[i].before);
    remove_directory(fd);
}

/* --- answers, back-off, signatures --- */

static void test_backoff(void **state)
{
    struct ship_settings s;
    static const int64_t most[] = {1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000};

    (void)state;
    ship_settings_init(&s);
    for (unsigned i = 0; i < ARRAY_LEN(most); i++) {
        assert_int_equal(backoff_ms(&s, i + 1, (uint64_t)most[i] / 2), most[i]);
        assert_int_equal(backoff_ms(&s, i + 1, 0), most[i] / 2);
        for (uint64_t r = 1; r < 1000; r += 7)
            assert_in_range(backoff_ms(&s, i + 1, r * 0x9e3779b97f4a7c15u), most[i] / 2, most[i]);
    }
    assert_int_equal(backoff_ms(&s, 4000000000u, 0), 30000);
    ship_settings_fini(&s);
}

static void hex(const unsigned char *in, char *out)
{
    for (size_t i = 0; i < SIGNATURE_BYTES; i++)
        snprintf(out + 2 * i, 3, "%02x", in[i]);
}

/* RFC 4231, cases 1, 2 and 7 (a key longer than a block), the data in two parts. */
static void test_signature(void **state)
{
    char key1[20], key7[131], text[2 * SIGNATURE_BYTES + 1];
    unsigned char mac[SIGNATURE_BYTES];
    struct buf out = {0}, secrets[2] = {{0}};

    (void)state;
    memset(key1, 0x0b, sizeof(key1));
    memset(key7, 0xaa, sizeof(key7));
    signature_hmac(sv(key1, sizeof(key1)), SV("Hi "), SV("There"), mac);
    hex(mac, text);
    assert_string_equal(text, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    signature_hmac(SV("Jefe"), SV(""), SV("what do ya want for nothing?"), mac);
    hex(mac, text);
    assert_string_equal(text, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    signature_hmac(
        sv(key7, sizeof(key7)),
        SV("This is a test using a larger than block-size key and a larger t"),
        SV("han block-size data. The key needs to be hashed before being used by the HMAC "
           "algorithm."),
        mac);
    hex(mac, text);
    assert_string_equal(text, "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2");

    buf_append_str(&secrets[0], "new");
    buf_append_str(&secrets[1], "old");
    signature_append(&out, secrets, 2, 1795233906, SV("[]"));
    assert_true(strncmp(buf_data(&out), "t=1795233906,v1=", 16) == 0);
    signature_hmac(SV("old"), SV("1795233906."), SV("[]"), mac);
    hex(mac, text);
    assert_string_equal(buf_data(&out) + buf_len(&out) - 64, text);
    assert_int_equal(buf_len(&out), 16 + 64 + 4 + 64);
    buf_free(&out);
    buf_free(&secrets[0]);
    buf_free(&secrets[1]);
}

/* --- whole runs --- */

/* Takes what it is given and answers as it is told, one answer per turn; then everything. */
struct script_target {
    struct target target;
    struct batch *batch;
    enum ship_outcome answers[64];
    size_t at, count;
    char poison[16];  /* a batch with this text is refused */
    size_t too_many;  /* more records than this are too large; 0: none */
    struct buf taken; /* ids, a line each */
    unsigned sends;
};

static void script_send(struct target *t, struct batch *b)
{
    struct script_target *s = container_of(t, struct script_target, target);

    assert_null(s->batch);
    s->batch = b;
    s->sends++;
}

static bool script_room(const struct target *t)
{
    return !container_of(t, struct script_target, target)->batch;
}

static void script_run(struct target *t, int timeout_ms, int wake_fd)
{
    struct script_target *s = container_of(t, struct script_target, target);
    struct batch *b = s->batch;
    struct ship_result r = {.outcome = SHIP_DELIVERED, .why = "as told"};

    (void)wake_fd;
    if (!b) {
        clock_fake_advance(timeout_ms);
        return;
    }
    struct strview o = batch_objects(b);
    if (s->at < s->count)
        r.outcome = s->answers[s->at++];
    else if (*s->poison && memmem(o.ptr, o.len, s->poison, strlen(s->poison)))
        r.outcome = SHIP_REFUSED;
    else if (s->too_many && b->to - b->from > s->too_many)
        r.outcome = SHIP_TOO_LARGE;
    for (size_t i = b->from; r.outcome == SHIP_DELIVERED && i < b->to; i++) {
        buf_append_sv(&s->taken, batch_id(b, i));
        buf_append_char(&s->taken, '\n');
    }
    s->batch = NULL;
    clock_fake_advance(1);
    t->answer(t->owner, b, &r);
}

static void script_close(struct target *t)
{
    (void)t;
}

static const struct target_ops script_ops = {script_send, script_room, script_run, script_close,
                                             NULL};

struct run {
    int acct, state;
    struct script_target target;
    size_t batch_records;
};

static const char header[] = "type,timeLogged,rcpt,msgId\r\n";

static void begin_run(struct run *r, void **state)
{
    *r = (struct run){.acct = open_directory(state), .batch_records = 10};
    assert_int_equal(mkdirat(r->acct, "state", 0700), 0);
    r->state = openat(r->acct, "state", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    r->target.target.ops = &script_ops;
    clock_fake_set(((int64_t)time(NULL) + 86400) * 1000); /* nobody writes to the files */
}

static void end_run(struct run *r)
{
    buf_free(&r->target.taken);
    close(r->state);
    remove_directory(r->acct);
}

/* Everything that is there, as `--once`; false: it failed. */
static bool run_once(struct run *r)
{
    struct ship_settings s;
    struct ship_options o = {.state_dirfd = r->state, .wake_fd = -1, .target = &r->target.target};
    struct ship *ship;
    struct err e;
    bool failed;

    ship_settings_init(&s);
    s.name = xstrdup("test");
    s.url = xstrdup("stdout");
    s.once = true;
    s.batch_records = r->batch_records;
    s.dead_letter_after = 3;
    ship_settings_follow(&s, "/x/acct.csv", dup(r->acct), -1, false);
    r->target.target.answer = NULL;
    r->target.batch = NULL;
    assert_int_equal(ship_open(&s, &o, &ship, &e), 0);
    for (unsigned turns = 0; ship_turn(ship, 1000, &failed); turns++)
        assert_in_range(turns, 0, 20000);
    ship_close(ship);
    return !failed;
}

static void add_records(struct buf *b, unsigned from, unsigned to)
{
    if (!buf_len(b))
        buf_append_str(b, header);
    for (unsigned i = from; i < to; i++)
        buf_printf(b, "d,2026-11-21 04:05:06+0000,u%u@example.com,%013u.1\r\n", i, i);
}

static void assert_taken(struct run *r, unsigned from, unsigned to)
{
    struct buf want = {0};

    for (unsigned i = from; i < to; i++)
        buf_printf(&want, "bulk:d:%013u.1\n", i);
    assert_string_equal(buf_data(&r->target.taken), buf_data(&want));
    buf_free(&want);
    buf_reset(&r->target.taken);
}

static void write_gzip(int dirfd, const char *name, struct strview text)
{
    char path[160];

    (void)dirfd;
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    gzFile g = gzopen(path, "wb");
    assert_non_null(g);
    assert_int_equal(gzwrite(g, text.ptr, (unsigned)text.len), (int)text.len);
    gzclose(g);
}

static void test_retry_keeps_order(void **state)
{
    struct run r;
    struct buf b = {0};

    begin_run(&r, state);
    add_records(&b, 0, 95);
    write_file(r.acct, "acct-bulk-2026-11-21-0000.csv", buf_data(&b), buf_len(&b));
    r.target.answers[0] = SHIP_RETRY;
    r.target.answers[1] = SHIP_RETRY;
    r.target.answers[2] = SHIP_DELIVERED;
    r.target.answers[3] = SHIP_TOO_LARGE;
    r.target.answers[4] = SHIP_REFUSED;
    r.target.count = 5;
    assert_true(run_once(&r));
    assert_taken(&r, 0, 95);
    assert_true(run_once(&r));
    assert_taken(&r, 0, 0);
    buf_free(&b);
    end_run(&r);
}

static void test_poison_is_found(void **state)
{
    struct run r;
    struct buf b = {0}, dead = {0};
    struct err e;

    begin_run(&r, state);
    r.batch_records = 64;
    add_records(&b, 0, 64);
    write_file(r.acct, "acct-bulk-2026-11-21-0000.csv", buf_data(&b), buf_len(&b));
    snprintf(r.target.poison, sizeof(r.target.poison), "u37@");
    assert_true(run_once(&r));
    assert_null(strstr(buf_data(&r.target.taken), "0000000000037.1"));
    assert_non_null(strstr(buf_data(&r.target.taken), "0000000000063.1"));
    assert_int_equal(buf_len(&r.target.taken), 63 * strlen("bulk:d:0000000000037.1\n"));
    assert_in_range(r.target.sends, 8, 40);
    assert_int_equal(ship_read_file(r.state, "dead-letters.json", 100000, &dead, &e), 0);
    assert_non_null(
        strstr(buf_data(&dead),
               "\"deadLetterReason\":\"as told\",\"eventId\":\"bulk:d:0000000000037.1\""));
    assert_ptr_equal(strchr(buf_data(&dead), '\n') + 1, buf_data(&dead) + buf_len(&dead));
    buf_free(&dead);
    buf_free(&b);
    end_run(&r);
}

static void test_too_large_is_halved(void **state)
{
    struct run r;
    struct buf b = {0};

    begin_run(&r, state);
    r.batch_records = 100;
    r.target.too_many = 6;
    add_records(&b, 0, 1000);
    write_file(r.acct, "acct-bulk-2026-11-21-0000.csv", buf_data(&b), buf_len(&b));
    assert_true(run_once(&r));
    assert_taken(&r, 0, 1000);
    buf_free(&b);
    end_run(&r);
}

/* The part that was not sent is found in the compressed file, by the uncompressed offset. */
static void test_files_in_turn(void **state)
{
    struct run r;
    struct buf b = {0}, second = {0};

    begin_run(&r, state);
    add_records(&b, 0, 30);
    write_file(r.acct, "acct-bulk-2026-11-20-0000.csv", buf_data(&b), buf_len(&b));
    assert_true(run_once(&r));
    assert_taken(&r, 0, 30);
    add_records(&b, 30, 50);
    write_gzip(r.acct, "acct-bulk-2026-11-20-0000.csv.gz", buf_view(&b));
    assert_int_equal(unlinkat(r.acct, "acct-bulk-2026-11-20-0000.csv", 0), 0);
    add_records(&second, 50, 60);
    write_file(r.acct, "acct-bulk-2026-11-21-0000.csv", buf_data(&second), buf_len(&second));
    assert_true(run_once(&r));
    assert_taken(&r, 50 - 20, 60);
    /* a file of that name with other bytes is not gone on with */
    buf_reset(&second);
    buf_append_str(&second, header);
    for (unsigned i = 0; i < 20; i++)
        buf_printf(&second, "d,2026-11-21 05:05:06+0000,x%u@example.org,%013u.1\r\n", i, 100 + i);
    write_file(r.acct, "acct-bulk-2026-11-21-0000.csv", buf_data(&second), buf_len(&second));
    assert_true(run_once(&r));
    assert_taken(&r, 100, 120);
    buf_free(&b);
    buf_free(&second);
    end_run(&r);
}

static void test_cut_compressed_file(void **state)
{
    struct run r;
    struct buf b = {0}, zipped = {0}, next = {0};
    struct err e;

    begin_run(&r, state);
    add_records(&b, 0, 5000);
    write_gzip(r.acct, "acct-bulk-2026-11-20-0000.csv.gz", buf_view(&b));
    assert_int_equal(
        ship_read_file(r.acct, "acct-bulk-2026-11-20-0000.csv.gz", 1 << 20, &zipped, &e), 0);
    write_file(r.acct, "acct-bulk-2026-11-20-0000.csv.gz", buf_data(&zipped), buf_len(&zipped) / 2);
    add_records(&next, 5000, 5003);
    write_file(r.acct, "acct-bulk-2026-11-20-0001.csv", buf_data(&next), buf_len(&next));
    assert_true(run_once(&r));
    /* what could be read, and then the next file */
    assert_non_null(strstr(buf_data(&r.target.taken), "bulk:d:0000000000000.1\n"));
    assert_non_null(strstr(buf_data(&r.target.taken), "bulk:d:0000000005002.1\n"));
    buf_free(&b);
    buf_free(&zipped);
    buf_free(&next);
    end_run(&r);
}

static void test_only_pipe(void **state)
{
    static const struct {
        const char *only, *pipe;
        bool wanted;
    } rows[] = {{NULL, "bulk", true},     {"bulk", "bulk", true},     {"bulk", "fast", false},
                {"!bulk", "bulk", false}, {"!bulk", "fast", true},    {"b*, f?st", "fast", true},
                {"!b*,*", "bulk", false}, {"*-news", "a-news", true}, {"*-news", "a-newsy", false}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct ship_settings s = {.only_pipe = (char *)(uintptr_t)rows[i].only};
        assert_int_equal(ship_wants_pipe(&s, sv_of(rows[i].pipe)), rows[i].wanted);
    }
}

static void test_urls(void **state)
{
    static const struct {
        const char *text;
        int kind; /* -1: bad */
        const char *host, *name;
        unsigned port;
    } rows[] = {
        {"https://hooks.example/x?y=1", SINK_HTTP, "", "", 0},
        {"redis://r.example/mail", SINK_REDIS, "r.example", "mail", 6379},
        {"rediss://[::1]:7000/mail:{a}", SINK_REDIS, "::1", "mail:{a}", 7000},
        {"kafka://a:9092,b/top.ic", SINK_KAFKA, "", "top.ic", 0},
        {"stdout", SINK_STDOUT, "", "", 0},
        {"http://", -1, "", "", 0},
        {"http:///x", -1, "", "", 0},
        {"http://a b/", -1, "", "", 0},
        {"redis://r.example", -1, "", "", 0},
        {"redis://r.example/", -1, "", "", 0},
        {"redis://r.example:0/x", -1, "", "", 0},
        {"kafka:///t", -1, "", "", 0},
        {"kafka://a:9092,/t", -1, "", "", 0},
        {"ftp://x/", -1, "", "", 0},
        {"", -1, "", "", 0},
    };
    struct sink_url u;
    struct err e;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(sink_url_parse(sv_of(rows[i].text), &u, &e) == 0, rows[i].kind >= 0);
        if (rows[i].kind < 0)
            continue;
        assert_int_equal(u.kind, rows[i].kind);
        assert_string_equal(u.host, rows[i].host);
        assert_string_equal(u.name, rows[i].name);
        assert_int_equal(u.port, rows[i].port);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conversion),
        cmocka_unit_test(test_ids_by_place),
        cmocka_unit_test(test_headers_and_times),
        cmocka_unit_test(test_json_scan),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_trail),
        cmocka_unit_test(test_place_file),
        cmocka_unit_test(test_hold),
        cmocka_unit_test(test_backoff),
        cmocka_unit_test(test_signature),
        cmocka_unit_test(test_retry_keeps_order),
        cmocka_unit_test(test_poison_is_found),
        cmocka_unit_test(test_too_large_is_halved),
        cmocka_unit_test(test_files_in_turn),
        cmocka_unit_test(test_cut_compressed_file),
        cmocka_unit_test(test_only_pipe),
        cmocka_unit_test(test_urls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
