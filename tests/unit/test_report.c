/*
 * Accounting rows, rates, and what the accounting file tells at the next start.
 */
#include "unit.h"

#include "base/clock.h"
#include "base/log.h"
#include "config_memory.h"
#include "report/csv.h"
#include "report/headers.h"
#include "report/rates.h"
#include "report/report.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
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

/* Each byte value at each place of fields of each length, against the rule said byte by byte. */
static void quoting_of_any_byte(void **state)
{
    char field[20];
    (void)state;
    for (size_t len = 1; len <= sizeof(field); len++)
        for (size_t at = 0; at < len; at++)
            for (int c = 0; c < 256; c++) {
                struct buf b = {0};
                struct csv row = csv_row(&b);
                bool quoted = c < 0x20 || c == '"' || c == ',';
                quoted |= c == ' ' && (at == 0 || at == len - 1);
                memset(field, 'x', len);
                field[at] = (char)c;
                csv_field(&row, sv(field, len));
                csv_end(&row);
                assert_int_equal(buf_data(&b)[0] == '"', quoted);
                assert_int_equal(buf_len(&b), len + 2 + (quoted ? 2 : 0) + (c == '"'));
                buf_free(&b);
            }
}

static void empty_fields(void **state)
{
    struct buf b = {0};
    struct csv row = csv_row(&b);
    (void)state;

    csv_empty(&row, 2);
    csv_field(&row, SV("a"));
    csv_field(&row, SV(""));
    csv_empty(&row, 1);
    csv_field(&row, SV("b"));
    csv_field(&row, SV(""));
    csv_end(&row);
    row = csv_row(&b);
    csv_field(&row, SV(""));
    csv_end(&row);
    row = csv_row(&b);
    csv_field(&row, SV("c"));
    csv_empty(&row, 2);
    csv_end(&row);
    assert_sv_equal(buf_view(&b), ",,a,,,b,\r\n\r\nc,,\r\n");
    buf_free(&b);
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
                              "dsnMta,srcMta,vmta,pipe,queue,jobId,envId,dlvSize,dlvTlsProtocol,"
                              "dlvTlsCipher,dlvTlsVerified,msgId\r\n");
}

static void newest_received_is_found(void **state)
{
    char a[MESSAGE_ID_SIZE], b[MESSAGE_ID_SIZE], line[200];
    message_id older = message_id_at(1795230000000), newer = older + 2000;
    (void)state;

    message_id_format(older, a);
    message_id_format(newer, b);
    assert_int_equal(id_of(b), newer);
    struct report *r = reopen();
    /* the first file of all: what came before it needs no record, what came after has none */
    assert_false(report_lacks_received(r, message_id_at(time(NULL) * INT64_C(1000) - 3600000)));
    assert_true(report_lacks_received(r, message_id_at(time(NULL) * INT64_C(1000) + 3600000)));
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
    message_id id_number = message_id_at(time(NULL) * INT64_C(1000) + 3600000);
    report_received(r, id_number, &env, queue_name, NULL);
    assert_int_equal(buf_len(&accounted), 0);
    report_set_spool(r, (struct spool *)&env);
    snprintf(line, sizeof(line),
             "r,2026-11-21 04:05:07+0000,2026-11-21 04:05:06+0000,s@sender.example,a@example.com,"
             ",,,,192.0.2.9,mta1,bulk,example.com/mta1,\"job,1\",,100,,,,%s.0\r\n",
             message_id_format(id_number, id));
    assert_string_equal(buf_data(&accounted), line);
    report_free(r);
    buf_free(&accounted);
}

/* --- files by configuration --- */

static struct config *config_from(const char *acct)
{
    const char *files[] = {"d/a.conf", "[pipe bulk]\n[listener 127.0.0.1:2525]\n", "d/b.conf", acct,
                           NULL};
    struct config_report report = {0};
    struct config *cfg;

    if (load_files(files, &cfg, &report) < 0)
        fail_msg("%s", buf_data(&report.text));
    buf_free(&report.text);
    return cfg;
}

static int move_fd = -1;

static int open_dir(void *arg, const char *section, bool move)
{
    (void)arg, (void)section;
    return fcntl(move ? move_fd : dirfd_, F_DUPFD_CLOEXEC, 0);
}

static uv_loop_t loop;
static struct spool *const a_spool = (struct spool *)&loop;

static struct report *configured(const char *acct)
{
    struct config *cfg = config_from(acct);
    struct report *r;
    struct err e;

    assert_int_equal(report_new(&r, "bulk", -1, &e), 0);
    if (report_configure(r, cfg, &(struct report_places){&loop, dirfd_, open_dir, NULL}, &e) < 0)
        fail_msg("%s", e.text);
    config_unref(cfg);
    report_set_spool(r, a_spool);
    return r;
}

static void release_ended(void)
{
    while (ended_count) {
        ended_count--;
        ended[ended_count].fn(ended[ended_count].arg, ended[ended_count].fd);
    }
    for (int i = 0; i < 100; i++) {
        uv_run(&loop, UV_RUN_NOWAIT);
        usleep(1000);
    }
}

static int make_world(void **state)
{
    make_dir(state);
    mkdirat(dirfd_, "done", 0700);
    move_fd = openat(dirfd_, "done", O_RDONLY | O_DIRECTORY);
    buf_reset(&accounted);
    ended_count = 0;
    clock_fake_set(1795233907000); /* 2026-11-21 04:05:07 UTC */
    return uv_loop_init(&loop);
}

static void remove_all(int at)
{
    DIR *d = fdopendir(dup(at));
    struct dirent *entry;

    rewinddir(d);
    while ((entry = readdir(d)))
        if (entry->d_name[0] != '.')
            unlinkat(at, entry->d_name, 0);
    closedir(d);
}

static int remove_world(void **state)
{
    uv_run(&loop, UV_RUN_DEFAULT); /* jobs end */
    uv_loop_close(&loop);
    buf_free(&accounted);
    remove_all(move_fd);
    close(move_fd);
    unlinkat(dirfd_, "done", AT_REMOVEDIR);
    remove_all(dirfd_);
    return remove_dir(state);
}

#define TEXT(s)          \
    {                    \
        s, sizeof(s) - 1 \
    } /* SV is no constant */

static struct envelope_rcpt a_rcpt = {.address = TEXT("a@Dest.example"),
                                      .orcpt = TEXT("rfc822;a@x")};
static struct envelope an_env = {
    .received_ms = 1795233900000,
    .sender = TEXT("s@sender.example"),
    .content_bytes = 120,
    .stuffed_dots = 20,
    .peer = TEXT("192.0.2.9"),
    .remote_mta = TEXT("app.example"),
    .user = TEXT("shop"),
    .job = TEXT("job1"),
    .envid = TEXT("e1"),
    .acct_headers = TEXT("Subject: Hello, \"you\"\nX-Campaign: c1\n"),
    .rcpt_count = 1,
    .rcpts = &a_rcpt,
};

static uint32_t commit_ms;

static void tell(struct report *r, const struct outcome *o)
{
    static const struct reply_rule rule;
    static const struct rule_match match = {&rule, "default", "x", "60.conf", 7};

    report_rcpt(r, &(struct report_rcpt){
                       .id = 4000,
                       .env = &an_env,
                       .queue = "dest.example/mta1",
                       .vmta = "mta1",
                       .attempts = 2,
                       .commit_ms = commit_ms,
                       .next_ms = 1795234000000,
                       .outcome = o,
                       .rule = &match,
                   });
}

static const struct outcome delivered = {
    .class_ = OUTCOME_DELIVERED,
    .phase = PHASE_END_OF_DATA,
    .code = 250,
    .text = TEXT("250 2.0.0 Ok"),
    .enhanced = {2, 0, 0},
    .peer_host = TEXT("mx.dest.example"),
    .peer_ip = TEXT("192.0.2.1"),
    .local_ip = TEXT("198.51.100.1"),
    .tls = "TLSv1.3/TLS_AES_128_GCM_SHA256",
    .connect_ms = 100,
    .transmit_ms = 200,
};
static const struct outcome bounced = {
    .class_ = OUTCOME_BOUNCED,
    .phase = PHASE_RCPT,
    .code = 550,
    .text = TEXT("550 5.1.1 no such user"),
    .enhanced = {5, 1, 1},
    .peer_host = TEXT("mx.dest.example"),
    .peer_ip = TEXT("192.0.2.1"),
    .connect_ms = 100,
    .transmit_ms = 200,
};

static void says(const char *expected)
{
    buf_append_char(&accounted, '\0');
    assert_string_equal(buf_data(&accounted), expected);
    buf_reset(&accounted);
}

static void get_file(const char *name, char *out, size_t size)
{
    int fd = openat(dirfd_, name, O_RDONLY);
    if (fd < 0)
        fail_msg("%s is not there", name);
    ssize_t n = read(fd, out, size - 1);
    assert_true(n >= 0);
    out[n] = '\0';
    close(fd);
}

static void columns_are_as_configured(void **state)
{
    char text[4096];
    (void)state;

    struct report *r = configured("[acct-file /x/acct.csv]\n"
                                  "record-fields-d = timeLogged,rcpt,header_Subject,dlvSize\n"
                                  "record-fields-b = rcpt,dsnStatus,bounceCat,replyRule,type\n");
    get_file("acct-bulk-2026-11-21-0000.csv", text, sizeof(text));
    assert_string_equal(text, "timeLogged,rcpt,header_Subject,dlvSize,dsnStatus,bounceCat,"
                              "replyRule,type\r\n");
    tell(r, &delivered);
    says("2026-11-21 04:05:07+0000,a@Dest.example,\"Hello, \"\"you\"\"\",100,,,,\r\n");
    tell(r, &bounced);
    says(",a@Dest.example,,,5.1.1,bad-mailbox,60.conf:7,b\r\n");
    report_received(r, 4001, &an_env, queue_name, NULL); /* not among the records */
    assert_int_equal(buf_len(&accounted), 0);
    assert_string_equal(report_header_names(r).ptr, "\nsubject\n");
    report_free(r);
}

static void short_profile(void **state)
{
    char text[4096];
    (void)state;

    struct report *r = configured("[acct-file /x/short.log]\nprofile = short\niso-times = no\n"
                                  "records = d,b,r\n");
    get_file("short-bulk-2026-11-21-0000.log", text, sizeof(text));
    assert_string_equal(text, "time,type,vmta,domain,rcpt,status,dsn-status,size\r\n");
    tell(r, &delivered);
    says("1795233907,d,mta1,Dest.example,a@Dest.example,delivered,2.0.0,100\r\n");
    report_received(r, 4001, &an_env, queue_name, NULL);
    says("1795233907,r,mta1,Dest.example,a@Dest.example,received,,100\r\n");
    report_free(r);
}

static void every_record_has_what_it_should(void **state)
{
    char text[4096], id[MESSAGE_ID_SIZE], line[2000];
    (void)state;

    struct report *r = configured("[acct-file /x/acct.csv]\n");
    get_file("acct-bulk-2026-11-21-0000.csv", text, sizeof(text));
    /* the first ones are where readers of such files look for them */
    assert_non_null(strstr(text, "type,timeLogged,timeQueued,orig,rcpt,orcpt,dsnAction,dsnStatus,"
                                 "dsnDiag,dsnMta,bounceCat,srcType,srcMta,dlvType,dlvSourceIp,"
                                 "dlvDestinationIp,dlvEsmtpAvailable,dlvSize,vmta,jobId,envId,"
                                 "queue,vmtaPool,"));
    tell(r, &delivered);
    snprintf(line, sizeof(line),
             "d,2026-11-21 04:05:07+0000,2026-11-21 04:05:00+0000,s@sender.example,a@Dest.example,"
             "rfc822;a@x,relayed,2.0.0,smtp;250 2.0.0 Ok,mx.dest.example (192.0.2.1),,smtp,"
             "app.example,smtp,198.51.100.1,192.0.2.1,,100,mta1,job1,e1,dest.example/mta1,,bulk,"
             "%s.0,2,end-of-data,7000,6700,100,200,TLSv1.3,TLS_AES_128_GCM_SHA256,,,,shop,192.0.2.9,0"
             "\r\n",
             message_id_format(4000, id));
    says(line);
    report_free(r);
}

static void phases_of_the_delay(void **state)
{
    char text[4096];
    (void)state;

    struct report *r = configured("[acct-file /x/delay.csv]\nrecords = d,r\nrecord-fields = type,delayTotal,"
                                  "delayReceive,delayQueue,delayConnect,delayTransmit,"
                                  "totalSecondsQueued\n");
    get_file("delay-bulk-2026-11-21-0000.csv", text, sizeof(text));
    an_env.receive_ms = 1500;
    commit_ms = 20;
    tell(r, &delivered);
    says("d,8500,1520,6680,100,200,7\r\n");
    commit_ms = 7500; /* with the connection more than the wall clock saw: rounded, or set back */
    tell(r, &delivered);
    says("d,9300,9000,0,100,200,7\r\n");
    commit_ms = 20;
    an_env.commit_ms = 20; /* while it is the one that came in */
    report_received(r, 4001, &an_env, queue_name, NULL);
    says("r,,1520,,,,\r\n");
    an_env.receive_ms = an_env.commit_ms = commit_ms = 0;
    report_free(r);
}

static void json_lines(void **state)
{
    (void)state;
    struct report *r = configured("[acct-file /x/acct.json]\nformat-text = json\nrecords = b\n"
                                  "record-fields = type,timeLogged,dsnDiag,attempt,header_X\n");
    struct outcome o = bounced;

    o.text = SV("550 say \"no\"\\ \x01 \xff \xc3\xa9");
    tell(r, &o);
    says("{\"type\":\"b\",\"timeLogged\":\"2026-11-21 04:05:07+0000\",\"dsnDiag\":\"smtp;550 say "
         "\\\"no\\\"\\\\ \\u0001 \xef\xbf\xbd \xc3\xa9\",\"attempt\":2}\n");
    report_free(r);
}

static void filters(void **state)
{
    static const struct {
        const char *filter;
        bool takes;
    } rows[] = {
        {"only-job = job1", true},
        {"only-job = other", false},
        {"only-job = !job1", false},
        {"only-job = !other", true},
        {"only-domain = *.example", true},
        {"only-domain = !dest.*, *", false},
        {"only-pipe = BULK\nonly-virtual-mta = mta?", true},
        {"only-pipe = bulk\nonly-virtual-mta = mta??", false},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[300];
        snprintf(text, sizeof(text), "[acct-file /x/acct.csv]\n%s\n", rows[i].filter);
        struct report *r = configured(text);
        tell(r, &delivered);
        if ((buf_len(&accounted) > 0) != rows[i].takes)
            fail_msg("%s", rows[i].filter);
        buf_reset(&accounted);
        report_free(r);
    }
}

static bool is_there(int at, const char *name)
{
    return faccessat(at, name, F_OK, 0) == 0;
}

static void files_are_finished(void **state)
{
    static const struct {
        const char *settings, *name;
        bool moved;
    } rows[] = {
        {"", "acct-bulk-2026-11-21-0000.csv", false},
        {"compress = gzip", "acct-bulk-2026-11-21-0000.csv.gz", false},
        {"move-to = /x/done", "acct-bulk-2026-11-21-0000.csv", true},
        {"move-to = /x/done\ncompress = zstd", "acct-bulk-2026-11-21-0000.csv.zst", true},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[300];
        remove_all(dirfd_);
        remove_all(move_fd);
        clock_fake_set(1795233907000);
        snprintf(text, sizeof(text), "[acct-file /x/acct.csv]\nrotate = 1h\n%s\n",
                 rows[i].settings);
        struct report *r = configured(text);
        clock_fake_set(1795233907000 + 3600000);
        tell(r, &delivered);
        assert_true(is_there(dirfd_, "acct-bulk-2026-11-21-0001.csv"));
        assert_int_equal(ended_count, 1);
        assert_true(is_there(dirfd_, "acct-bulk-2026-11-21-0000.csv")); /* the spool has it still */
        release_ended();
        if (!is_there(rows[i].moved ? move_fd : dirfd_, rows[i].name))
            fail_msg("%s: no %s", rows[i].settings, rows[i].name);
        assert_int_equal(is_there(dirfd_, "acct-bulk-2026-11-21-0000.csv"),
                         !rows[i].moved && i == 0);
        report_free(r);
        uv_run(&loop, UV_RUN_NOWAIT);
    }
}

/* As if it had been written on the day that the clock shows. */
static void date_file(const char *name)
{
    const struct timespec at[2] = {{1795233907, 0}, {1795233907, 0}};

    assert_int_equal(utimensat(dirfd_, name, at, 0), 0);
}

static void a_new_start_goes_on(void **state)
{
    (void)state;
    report_free(configured("[acct-file /x/acct.csv]\n"));
    assert_false(is_there(dirfd_, "acct-bulk-2026-11-21-0001.csv"));
    date_file("acct-bulk-2026-11-21-0000.csv");
    report_free(configured("[acct-file /x/acct.csv]\n")); /* the same file */
    assert_false(is_there(dirfd_, "acct-bulk-2026-11-21-0001.csv"));
    /* other columns, another file; and what is finished goes where it belongs */
    struct report *r =
        configured("[acct-file /x/acct.csv]\nrecord-fields = type,rcpt\nmove-to = /x/done\n");
    assert_true(is_there(dirfd_, "acct-bulk-2026-11-21-0001.csv"));
    release_ended();
    assert_true(is_there(move_fd, "acct-bulk-2026-11-21-0000.csv"));
    assert_true(is_there(dirfd_, "acct-bulk-2026-11-21-0001.csv"));
    report_free(r);
}

static void put_file(const char *name, const char *text, int64_t wall_ms)
{
    struct timespec at[2] = {{wall_ms / 1000, 0}, {wall_ms / 1000, 0}};
    int fd = openat(dirfd_, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(futimens(fd, at), 0);
    close(fd);
}

/* The file that a crash leaves may be a new one: what has its r record stands in those before. */
static void a_crash_after_a_turn_loses_no_r_record(void **state)
{
    static const struct {
        const char *before, *records; /* the file before: its name, what it holds */
        int64_t known_ms;             /* up to here there are r records; id of the r record */
    } rows[] = {
        {"acct-bulk-2026-11-20-0003.csv", "type,msgId\r\nr,%s.0\r\nd,%s.0\r\n", 0},
        {"acct-bulk-2026-11-20-0003.csv", "rcpt,msgId,type\r\na@x,%s.0,r\r\n", 0},
        {"acct-bulk-2026-11-20-0003.csv", "type,msgId\r\nd,%s.0\r\n", -60000},
        {"acct-bulk-2026-11-20-0003.csv.gz", "%s", -60000},
    };
    const int64_t written_ms = 1795220000000;
    char text[300], id[MESSAGE_ID_SIZE];
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        message_id known = message_id_at(written_ms + rows[i].known_ms);
        remove_all(dirfd_);
        message_id_format(message_id_at(written_ms), id);
        snprintf(text, sizeof(text), rows[i].records, id, id);
        put_file(rows[i].before, text, written_ms);
        struct report *r = configured("[acct-file /x/acct.csv]\nrecords = r,d\n");
        if (report_lacks_received(r, known) || !report_lacks_received(r, known + 1))
            fail_msg("row %zu", i);
        report_free(r);
        /* once more: the new file is there by now, and holds nothing but its header */
        r = configured("[acct-file /x/acct.csv]\nrecords = r,d\n");
        if (report_lacks_received(r, known) || !report_lacks_received(r, known + 1))
            fail_msg("row %zu, second start", i);
        report_free(r);
    }
}

static void headers_are_picked(void **state)
{
    static const struct {
        const char *block, *picked;
    } rows[] = {
        {"Subject: a\r\n b\r\nX: y\r\n\r\n", "Subject: a b\n"},
        {"subject:a\r\nSubject: b\r\n\r\n", "subject: a\n"},
        {"Subject: a\tb\x01\r\nX-Job:   1  \r\n\r\n", "Subject: a b\nX-Job: 1\n"},
        {"..Subject: a\r\n\r\n", ""},
        {"Subject", ""},
        {"Subject:", "Subject: \n"},
        {"", ""},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf out = {0};
        headers_pick(SV("\nsubject\nx-job\n"), sv_of(rows[i].block), &out);
        buf_append_char(&out, '\0');
        assert_string_equal(buf_data(&out), rows[i].picked);
        buf_free(&out);
    }
}

static void old_files_are_deleted(void **state)
{
    struct timespec old[2] = {{1790000000, 0}, {1790000000, 0}};
    (void)state;

    for (int i = 0; i < 3; i++) {
        char name[64];
        snprintf(name, sizeof(name), "acct-bulk-2026-11-%02d-0000.csv", 10 + i);
        int fd = openat(dirfd_, name, O_WRONLY | O_CREAT, 0600);
        assert_int_equal(write(fd, "0123456789", 10), 10);
        if (i == 0)
            futimens(fd, old);
        else
            futimens(fd, (struct timespec[2]){{1795233900, 0}, {1795233900 - 2 + i, 0}});
        close(fd);
    }
    struct report *r =
        configured("[acct-file /x/acct.csv]\ndelete-after = 2d\nmax-total-size = 15\n");
    release_ended();
    assert_false(is_there(dirfd_, "acct-bulk-2026-11-10-0000.csv")); /* by age */
    assert_false(is_there(dirfd_, "acct-bulk-2026-11-11-0000.csv")); /* by size */
    assert_true(is_there(dirfd_, "acct-bulk-2026-11-12-0000.csv"));
    assert_true(is_there(dirfd_, "acct-bulk-2026-11-21-0000.csv"));
    report_free(r);
}

static void wrong_lists_are_refused(void **state)
{
    static const struct {
        const char *line, *expected;
    } rows[] = {
        {"records = d,x", "'x' is no record type"},
        {"record-fields-b = dsnStatuss", "did you mean 'dsnStatus'?"},
        {"record-fields = !rcpt", "takes out what is not there"},
        {"record-fields = header_", "is no field"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[300];
        const char *files[] = {"d/a.conf", text, NULL};
        struct config_report report = {0};
        struct config *cfg;
        snprintf(text, sizeof(text), "[acct-file /x/acct.csv]\n%s\n", rows[i].line);
        assert_true(load_files(files, &cfg, &report) < 0);
        assert_non_null(strstr(buf_data(&report.text), "d/a.conf:2: "));
        if (!strstr(buf_data(&report.text), rows[i].expected))
            fail_msg("%s", buf_data(&report.text));
        buf_free(&report.text);
    }
}

#define WORLD(fn) cmocka_unit_test_setup_teardown(fn, make_world, remove_world)
#define CASE(fn)  cmocka_unit_test_setup_teardown(fn, make_dir, remove_dir)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quoting),
        cmocka_unit_test(quoting_of_any_byte),
        cmocka_unit_test(empty_fields),
        cmocka_unit_test(rate_forgets),
        CASE(first_line_names_columns),
        CASE(newest_received_is_found),
        CASE(torn_line_is_ended),
        CASE(records_wait_for_the_spool),
        WORLD(columns_are_as_configured),
        WORLD(short_profile),
        WORLD(every_record_has_what_it_should),
        WORLD(phases_of_the_delay),
        WORLD(json_lines),
        WORLD(filters),
        WORLD(files_are_finished),
        WORLD(a_new_start_goes_on),
        WORLD(a_crash_after_a_turn_loses_no_r_record),
        WORLD(old_files_are_deleted),
        cmocka_unit_test(headers_are_picked),
        cmocka_unit_test(wrong_lists_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
