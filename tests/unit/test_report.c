/*
 * Accounting rows, rates, and what the accounting file tells at the next start.
 */
#include "unit.h"

#include "base/clock.h"
#include "base/log.h"
#include "report/csv.h"
#include "report/rates.h"
#include "report/report.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static struct buf accounted;

void spool_accounting(struct spool *s, int fd, struct strview bytes)
{
    (void)s, (void)fd;
    buf_append_sv(&accounted, bytes);
}

static struct {
    void (*fn)(void *arg, int fd);
    void *arg;
    int fd;
} ended[8];
static size_t ended_count;

void spool_accounting_end(struct spool *s, int fd, void (*fn)(void *arg, int fd), void *arg)
{
    (void)s;
    assert_true(ended_count < ARRAY_LEN(ended));
    ended[ended_count].fn = fn;
    ended[ended_count].arg = arg;
    ended[ended_count++].fd = fd;
}

static void quoting(void **state)
{
    static const struct {
        const char *field;
        const char *written;
    } rows[] = {
        {"plain", "plain"},
        {"", ""},
        {"a,b", "\"a,b\""},
        {"say \"hi\"", "\"say \"\"hi\"\"\""},
        {"two\r\nlines", "\"two  lines\""},
        {" blank", "\" blank\""},
        {"bl ank", "bl ank"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf b = {0};
        struct csv row = csv_row(&b);
        csv_field(&row, SV("x"));
        csv_field(&row, sv_of(rows[i].field));
        csv_end(&row);
        assert_int_equal(buf_len(&b), strlen(rows[i].written) + 4);
        assert_memory_equal(buf_data(&b) + 2, rows[i].written, strlen(rows[i].written));
        buf_free(&b);
    }
}

static void rate_forgets(void **state)
{
    struct rate_ring r = {0};
    (void)state;

    rate_ring_add(&r, 1000000, 5);
    rate_ring_add(&r, 1000900, 5);
    assert_int_equal(rate_ring_per_minute(&r, 1000900), 0); /* this second is not full yet */
    assert_int_equal(rate_ring_per_minute(&r, 1001000), 10);
    rate_ring_add(&r, 1030000, 7);
    assert_int_equal(rate_ring_per_minute(&r, 1060999), 17);
    assert_int_equal(rate_ring_per_minute(&r, 1061000), 7);
    assert_int_equal(rate_ring_per_minute(&r, 1091000), 0);
    rate_ring_add(&r, 5000000, 1);
    assert_int_equal(rate_ring_per_minute(&r, 5001000), 1);
}

/* --- the file at the next start --- */

static char dir[64];
static int dirfd_;

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/pmta-report-XXXXXX");
    assert_non_null(mkdtemp(dir));
    dirfd_ = open(dir, O_RDONLY | O_DIRECTORY);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    unlinkat(dirfd_, "acct-bulk.csv", 0);
    close(dirfd_);
    rmdir(dir);
    return 0;
}

static void put(const char *text)
{
    int fd = openat(dirfd_, "acct-bulk.csv", O_WRONLY | O_CREAT | O_APPEND, 0600);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void get(char *out, size_t size)
{
    int fd = openat(dirfd_, "acct-bulk.csv", O_RDONLY);
    ssize_t n = read(fd, out, size - 1);
    assert_true(n >= 0);
    out[n] = '\0';
    close(fd);
}

static struct report *reopen(void)
{
    struct report *r;
    struct err e;
    assert_int_equal(report_new(&r, "bulk", dirfd_, &e), 0);
    return r;
}

static message_id id_of(const char *text)
{
    message_id id;
    assert_true(message_id_parse(sv_of(text), &id));
    return id;
}

static void first_line_names_columns(void **state)
{
    char text[4096];
    (void)state;

    report_free(reopen());
    report_free(reopen()); /* once only */
    get(text, sizeof(text));
    assert_string_equal(text, "type,timeLogged,timeQueued,orig,rcpt,dsnAction,dsnStatus,dsnDiag,"
                              "dsnMta,srcMta,vmta,pipe,queue,jobId,envId,dlvSize,msgId\r\n");
}

static void newest_received_is_found(void **state)
{
    char a[MESSAGE_ID_SIZE], b[MESSAGE_ID_SIZE], line[200];
    message_id older = 1000, newer = 2000;
    (void)state;

    message_id_format(older, a);
    message_id_format(newer, b);
    assert_int_equal(id_of(b), newer);
    struct report *r = reopen();
    assert_false(report_lacks_received(r, 5000)); /* nothing is known */
    report_free(r);
    snprintf(line, sizeof(line), "r,t,t,o,r,,,,,v,p,q,j,e,10,%s.0\r\nr,t,,,,,,,,,,,,,,%s.1\r\n", a,
             b);
    put(line);
    snprintf(line, sizeof(line), "d,t,,,,,,,,,,,,,,%s.1\r\n", b);
    put(line);
    r = reopen();
    assert_false(report_lacks_received(r, older));
    assert_false(report_lacks_received(r, newer));
    assert_true(report_lacks_received(r, newer + 1));
    report_free(r);
}

static void torn_line_is_ended(void **state)
{
    char text[4096], id[MESSAGE_ID_SIZE], line[100];
    (void)state;

    report_free(reopen());
    snprintf(line, sizeof(line), "r,t,,,,,,,,,,,,,,%s.0\r\n", message_id_format(3000, id));
    put(line);
    put("r,t,cut in the midd");
    struct report *r = reopen();
    assert_true(report_lacks_received(r, 3001));
    assert_false(report_lacks_received(r, 3000));
    get(text, sizeof(text));
    assert_non_null(strstr(text, "r,t,cut in the midd\r\n"));
    report_free(r);
}

static const char *queue_name(void *arg, uint32_t i)
{
    (void)arg, (void)i;
    return "example.com/mta1";
}

static void records_wait_for_the_spool(void **state)
{
    struct envelope_rcpt rcpt = {.address = SV("a@example.com")};
    struct envelope env = {.received_ms = 1795233906789,
                           .sender = SV("s@sender.example"),
                           .content_bytes = 120,
                           .stuffed_dots = 20,
                           .peer = SV("192.0.2.9"),
                           .job = SV("job,1"),
                           .rcpt_count = 1,
                           .rcpts = &rcpt};
    char id[MESSAGE_ID_SIZE], line[300];
    (void)state;

    clock_fake_set(1795233907000);
    struct report *r = reopen();
    report_received(r, 4000, &env, queue_name, NULL);
    assert_int_equal(buf_len(&accounted), 0);
    report_set_spool(r, (struct spool *)&env);
    snprintf(line, sizeof(line),
             "r,2026-11-21 04:05:07+0000,2026-11-21 04:05:06+0000,s@sender.example,a@example.com,"
             ",,,,192.0.2.9,mta1,bulk,example.com/mta1,\"job,1\",,100,%s.0\r\n",
             message_id_format(4000, id));
    assert_string_equal(buf_data(&accounted), line);
    report_free(r);
    buf_free(&accounted);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, make_dir, remove_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quoting),      cmocka_unit_test(rate_forgets),
        CASE(first_line_names_columns), CASE(newest_received_is_found),
        CASE(torn_line_is_ended),       CASE(records_wait_for_the_spool),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
