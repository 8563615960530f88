/*
 * TLS reports: the record that asks for them, counts, what survives a restart, and the mail that goes
 * out after midnight, taken apart again. The resolver, the engine and the spool are played here.
 */
#include "unit.h"

#include "base/clock.h"
#include "mail/config.h"
#include "queue/choose.h"
#include "tlsrpt/send.h"
#include "tlsrpt/tlsrpt.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#define NOON_MS  1795262400000 /* 2026-11-21 12:00 UTC */
#define HOURS(n) ((n) * (int64_t)3600000)

/* --- the world --- */

static uv_loop_t loop;
static struct lookup *asked;
static char asked_name[300];
static unsigned questions;
static struct buf mail, mail_rcpts;
static unsigned mails;
static bool spool_full;
static int anything;

void lookup_start(struct routes *r, struct lookup *l, enum lookup_kind kind, struct strview name)
{
    (void)r;
    assert_int_equal(kind, LOOKUP_TXT);
    asked = l;
    questions++;
    snprintf(asked_name, sizeof(asked_name), "%.*s", SV_ARG(name));
}

void lookup_cancel(struct lookup *l)
{
    if (asked == l)
        asked = NULL;
}

/* --- the resolver's POSTs --- */

static struct post *posted[8];
static size_t posted_count;
static char posted_url[200];
static struct buf posted_body;

void post_start(struct routes *r, struct post *p, struct strview url, const char *content_type,
                struct strview body)
{
    (void)r;
    assert_string_equal(content_type, "application/tlsrpt+gzip");
    posted[posted_count++] = p;
    snprintf(posted_url, sizeof(posted_url), "%.*s", SV_ARG(url));
    buf_reset(&posted_body);
    buf_append_sv(&posted_body, body);
}

void post_cancel(struct post *p)
{
    for (size_t i = 0; i < posted_count; i++)
        if (posted[i] == p)
            posted[i] = posted[--posted_count];
}

static void answer_post(size_t i, unsigned status)
{
    struct post *p = posted[i];
    posted[i] = posted[--posted_count];
    p->done(p, status, status == 200 ? SV("") : SV("HTTP status"));
}

static void answer(enum lookup_status status, const char *record)
{
    struct strview one = sv_of(record ? record : "");
    struct lookup *l = asked;
    assert_non_null(l);
    asked = NULL;
    l->done(l, &(struct lookup_result){.status = status, .records = &one, .count = record != NULL});
}

void engine_accept(struct engine *g, message_id id, const struct spool_place *place,
                   const struct envelope *env, struct body *body)
{
    (void)g, (void)id, (void)place, (void)body;
    for (uint32_t i = 0; i < env->rcpt_count; i++)
        buf_printf(&mail_rcpts, "%.*s ", SV_ARG(env->rcpts[i].address));
    assert_int_equal(env->content_bytes, buf_len(&mail));
    assert_int_equal(env->sender.len, 0);
    mails++;
}

struct spool *engine_spool(const struct engine *g)
{
    (void)g;
    return (struct spool *)&anything;
}

unsigned engine_refuses(struct engine *g, const struct envelope *env, const char **ret_text)
{
    (void)g, (void)env;
    *ret_text = "full";
    return spool_full ? 452 : 0;
}

const char *engine_pipe(const struct engine *g)
{
    (void)g;
    return "bulk";
}

bool choose_vmta(struct engine *g, struct envelope *env)
{
    (void)g, (void)env;
    return false;
}

void spool_append(struct spool *s, struct spool_append *a)
{
    (void)s;
    buf_reset(&mail);
    buf_reset(&mail_rcpts);
    buf_append_sv(&mail, a->content);
    a->done(a, 0);
}

/* --- records --- */

static void records(void **state)
{
    static const struct {
        const char *one, *two;
        size_t count;
        const char *first;
    } rows[] = {
        {"v=TLSRPTv1; rua=mailto:a@x.org", NULL, 1, "mailto:a@x.org"},
        {"v=TLSRPTv1;rua=mailto:a@x.org,https://x.org/r;", NULL, 2, "mailto:a@x.org"},
        {"v=TLSRPTv1; ext=1; rua = https://x.org/r", "v=spf1 -all", 1, "https://x.org/r"},
        {"v=TLSRPTv1; rua=mailto:1@x,mailto:2@x,mailto:3@x,mailto:4@x,mailto:5@x", NULL, 4,
         "mailto:1@x"},
        {"v=TLSRPTv1; rua=mailto:a@x.org", "v=TLSRPTv1; rua=mailto:b@x.org", 0, NULL},
        {"v=TLSRPTv2; rua=mailto:a@x.org", NULL, 0, NULL},
        {"v=TLSRPTv1; rua=ftp://x.org", NULL, 0, NULL},
        {"v=TLSRPTv1", NULL, 0, NULL},
        {"", NULL, 0, NULL},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct strview all[] = {sv_of(rows[i].one), sv_of(rows[i].two ? rows[i].two : "")};
        struct tlsrpt_record r;
        bool found = tlsrpt_record_find(all, rows[i].two ? 2 : 1, &r);
        assert_int_equal(found, rows[i].count > 0);
        assert_int_equal(r.count, rows[i].count);
        if (found)
            assert_sv_equal(r.rua[0], rows[i].first);
    }
}

static void mail_addresses(void **state)
{
    static const char *const rows[][2] = {
        {"mailto:a@x.org", "a@x.org"},
        {"MAILTO:a%2Bb@x.org", "a+b@x.org"},
        {"mailto:a@x.org?subject=x", "a@x.org"},
        {"https://x.org", NULL},
        {"mailto:", NULL},
        {"mailto:a%0d%0ab@x.org", NULL},
        {"mailto:a%4", NULL},
        {"mailto:a%zz@x.org", NULL},
        {"mailto:a@x.org%3e", NULL},
    };
    char out[100];
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(tlsrpt_mailto(sv_of(rows[i][0]), out, sizeof(out)), rows[i][1] != NULL);
        if (rows[i][1])
            assert_string_equal(out, rows[i][1]);
    }
    assert_false(tlsrpt_mailto(SV("mailto:too@long.example"), out, 8));
}

/* --- counting and sending --- */

static struct strview patterns[] = {{"*.d.example", 11}};
static const struct tls_policy sts = {
    .sts = {
        .mode = STS_ENFORCE,
        .id = {"1", 1},
        .max_age_s = 86400,
        .mx = patterns,
        .mx_count = 1,
        .text = {"version: STSv1\r\nmode: enforce\r\nmx: *.d.example\r\nmax_age: 86400\r\n", 64}}};
static const struct tls_need by_sts = {.check = TLS_CHECK_ROOTS, .policy = "sts"};

static struct config *cfg;
static char dir[] = "/tmp/pmta-tlsrpt-XXXXXX";
static int dirfd_;

static struct tlsrpt *begin(void)
{
    struct tlsrpt *t = tlsrpt_new(&loop, (struct engine *)&anything, NULL);
    struct err e;
    tlsrpt_configure(t, cfg, "bulk");
    assert_int_equal(tlsrpt_open(t, dirfd_, &e), 0);
    return t;
}

static void on_closed(void *arg)
{
    *(bool *)arg = true;
}

static void end(struct tlsrpt *t)
{
    bool closed = false;
    tlsrpt_close(t, on_closed, &closed);
    while (!closed)
        uv_run(&loop, UV_RUN_ONCE);
    tlsrpt_free(t);
    uv_run(&loop, UV_RUN_DEFAULT);
}

static void tell(struct tlsrpt *t, const char *domain, const struct tls_policy *p,
                 const struct tls_need *need, enum tls_result r, const char *host)
{
    tlsrpt_told(t, sv_of(domain), p,
                &(struct tls_told){.host = host,
                                   .peer_ip = SV("192.0.2.1"),
                                   .source_ip = SV("198.51.100.1"),
                                   .need = need,
                                   .result = r,
                                   .text = r ? "so and so" : ""});
}

/* The report in the last mail. */
static json_t *unpack(void)
{
    static const char mark[] = "base64\r\nContent-Disposition";
    static uint8_t gz[8192], text[65536];
    const char *p = strstr(buf_data(&mail), mark);
    uint32_t bits = 0;
    unsigned have = 0;
    size_t n = 0;

    assert_non_null(p);
    p = strstr(p, "\r\n\r\n") + 4;
    for (; *p != '-'; p++) {
        static const char digits[] =
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        const char *d = *p && *p != '=' ? strchr(digits, *p) : NULL;
        if (!d)
            continue;
        bits = bits << 6 | (uint32_t)(d - digits);
        have += 6;
        if (have >= 8)
            gz[n++] = (uint8_t)(bits >> (have -= 8));
    }
    z_stream z = {
        .next_in = gz, .avail_in = (unsigned)n, .next_out = text, .avail_out = sizeof(text)};
    assert_int_equal(inflateInit2(&z, 31), Z_OK);
    assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
    json_t *o = json_loadb((char *)text, z.total_out, 0, NULL);
    inflateEnd(&z);
    assert_non_null(o);
    return o;
}

static const char *text_at(json_t *o, const char *a, const char *b)
{
    o = json_object_get(o, a);
    return json_string_value(b ? json_object_get(o, b) : o);
}

static void a_day(void **state)
{
    (void)state;
    clock_fake_set(NOON_MS);
    struct tlsrpt *t = begin();
    for (int i = 0; i < 5; i++)
        tell(t, "d.example", &sts, &by_sts, TLS_RESULT_VERIFIED, "mx1.d.example");
    assert_string_equal(asked_name, "_smtp._tls.d.example");
    answer(LOOKUP_OK, "v=TLSRPTv1; rua=mailto:tls@d.example, mailto:more@x.org");
    for (int i = 0; i < 3; i++)
        tell(t, "d.example", &sts, &by_sts, TLS_RESULT_EXPIRED, "mx1.d.example");
    tell(t, "d.example", &sts, &by_sts, TLS_RESULT_NO_STARTTLS, "mx2.d.example");
    tell(t, "d.example", NULL, NULL, TLS_RESULT_VERIFIED, "mx1.d.example");
    tell(t, "other.example", NULL, NULL, TLS_RESULT_VERIFIED, "mx");
    answer(LOOKUP_NO_DOMAIN, NULL); /* wants none: not asked again today */
    tell(t, "other.example", NULL, NULL, TLS_RESULT_VERIFIED, "mx");
    tell(t, "[192.0.2.7]", NULL, NULL, TLS_RESULT_VERIFIED, "mx");
    assert_int_equal(questions, 2);
    tlsrpt_tick(t);
    assert_null(asked); /* the day is not over */
    end(t);

    t = begin();                                /* it was all kept */
    clock_fake_set(NOON_MS + HOURS(16) + 1000); /* four hours after midnight: all delays are over */
    tlsrpt_tick(t);
    assert_string_equal(asked_name, "_smtp._tls.d.example");
    answer(LOOKUP_TEMPORARY, NULL);
    tlsrpt_tick(t);
    assert_null(asked); /* later */
    clock_fake_advance(HOURS(1));
    tlsrpt_tick(t);
    spool_full = true;
    answer(LOOKUP_OK, "v=TLSRPTv1; rua=mailto:tls@d.example, mailto:more@x.org");
    assert_int_equal(mails, 0);
    spool_full = false;
    clock_fake_advance(HOURS(1));
    tlsrpt_tick(t);
    answer(LOOKUP_OK, "v=TLSRPTv1; rua=mailto:tls@d.example, mailto:more@x.org");
    assert_int_equal(mails, 1);
    assert_sv_equal(buf_view(&mail_rcpts), "tls@d.example more@x.org ");
    tlsrpt_tick(t);
    assert_null(asked); /* once only */

    const char *m = buf_data(&mail);
    assert_non_null(
        strstr(m, "\r\nTLS-Report-Domain: d.example\r\nTLS-Report-Submitter: me.example\r\n"));
    assert_non_null(strstr(
        m, "\r\nSubject: Report Domain: d.example\r\n Submitter: me.example\r\n Report-ID: <"));
    assert_non_null(strstr(m, "multipart/report; report-type=\"tlsrpt\""));
    assert_non_null(strstr(m, "From: <tls@me.example>\r\n"));
    assert_non_null(strstr(m, "application/tlsrpt+gzip"));
    assert_non_null(
        strstr(m, "filename=\"me.example!d.example!1795219200!1795305599!bulk.json.gz\""));
    json_t *o = unpack(), *list = json_object_get(o, "policies"), *p = json_array_get(list, 0);
    assert_string_equal(text_at(o, "organization-name", NULL), "me.example");
    assert_string_equal(text_at(o, "contact-info", NULL), "tls@me.example");
    assert_string_equal(text_at(o, "date-range", "start-datetime"), "2026-11-21T00:00:00Z");
    assert_string_equal(text_at(o, "date-range", "end-datetime"), "2026-11-21T23:59:59Z");
    assert_int_equal(json_array_size(list), 2);
    assert_string_equal(text_at(p, "policy", "policy-type"), "sts");
    assert_string_equal(text_at(p, "policy", "policy-domain"), "d.example");
    assert_int_equal(
        json_array_size(json_object_get(json_object_get(p, "policy"), "policy-string")), 4);
    json_t *sum = json_object_get(p, "summary"), *details = json_object_get(p, "failure-details");
    assert_int_equal(json_integer_value(json_object_get(sum, "total-successful-session-count")), 5);
    assert_int_equal(json_integer_value(json_object_get(sum, "total-failure-session-count")), 4);
    assert_int_equal(json_array_size(details), 2);
    json_t *d = json_array_get(details, 0);
    assert_string_equal(text_at(d, "result-type", NULL), "certificate-expired");
    assert_string_equal(text_at(d, "sending-mta-ip", NULL), "198.51.100.1");
    assert_string_equal(text_at(d, "receiving-ip", NULL), "192.0.2.1");
    assert_string_equal(text_at(d, "receiving-mx-hostname", NULL), "mx1.d.example");
    assert_int_equal(json_integer_value(json_object_get(d, "failed-session-count")), 3);
    assert_string_equal(text_at(json_array_get(list, 1), "policy", "policy-type"),
                        "no-policy-found");
    json_decref(o);
    end(t);

    /* the copy in tls-report-dir is the same report */
    char path[300];
    struct stat st;
    snprintf(path, sizeof(path), "%s/out/me.example!d.example!1795219200!1795305599!bulk.json.gz",
             dir);
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_size > 100);
    unlink(path);
}

static void dane_and_policies_that_cannot_be_fetched(void **state)
{
    static const uint8_t digest[3] = {0xab, 0xcd, 0xef};
    struct tlsa_record record = {3, 1, 1, {(const char *)digest, sizeof(digest)}};
    struct dane_host host = {
        .host = SV("mx"), .status = DANE_USABLE, .records = &record, .count = 1};
    struct tls_policy dane = {.dane = &host, .dane_count = 1};
    struct tls_policy broken = {.sts = {.failure = SV("sts-policy-invalid: no mx line")}};
    struct tls_need need = {.check = TLS_CHECK_DANE, .policy = "dane"};
    (void)state;

    clock_fake_set(NOON_MS + HOURS(480));
    struct tlsrpt *t = begin();
    mails = 0;
    tell(t, "e.example", &dane, &need, TLS_RESULT_VERIFIED, "mx");
    answer(LOOKUP_OK, "v=TLSRPTv1; rua=mailto:tls@e.example");
    tell(t, "e.example", &dane, NULL, TLS_RESULT_DNSSEC_INVALID, "mx2");
    tell(t, "e.example", &broken, NULL, TLS_RESULT_VERIFIED, "mx");
    for (int i = 0; i < 100; i++) { /* kinds of failure have a limit, sums have none */
        char name[20];
        snprintf(name, sizeof(name), "mx%d", i);
        tell(t, "e.example", NULL, NULL, TLS_RESULT_FAILURE, name);
    }
    clock_fake_advance(HOURS(17));
    tlsrpt_tick(t);
    answer(LOOKUP_OK, "v=TLSRPTv1; rua=mailto:tls@e.example");
    assert_int_equal(mails, 1);
    json_t *o = unpack(), *list = json_object_get(o, "policies"), *p;
    assert_int_equal(json_array_size(list), 4);
    p = json_object_get(json_array_get(list, 0), "policy");
    assert_string_equal(text_at(p, "policy-type", NULL), "tlsa");
    assert_string_equal(json_string_value(json_array_get(json_object_get(p, "policy-string"), 0)),
                        "3 1 1 abcdef");
    p = json_array_get(list, 2);
    assert_string_equal(text_at(p, "policy", "policy-type"), "sts");
    assert_string_equal(
        text_at(json_array_get(json_object_get(p, "failure-details"), 0), "result-type", NULL),
        "sts-policy-invalid");
    p = json_array_get(list, 3);
    assert_int_equal(json_array_size(json_object_get(p, "failure-details")), TLSRPT_MAX_DETAILS);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(p, "summary"),
                                                        "total-failure-session-count")),
                     100);
    json_decref(o);
    end(t);
    char path[300];
    snprintf(path, sizeof(path), "rm -rf '%s/out' && mkdir '%s/out'", dir, dir);
    assert_int_equal(system(path), 0);
}

static void gives_up(void **state)
{
    (void)state;
    clock_fake_set(NOON_MS + HOURS(960));
    struct tlsrpt *t = begin();
    mails = 0;
    tell(t, "f.example", NULL, NULL, TLS_RESULT_VERIFIED, "mx");
    answer(LOOKUP_TEMPORARY, NULL);
    clock_fake_advance(HOURS(17));
    unsigned before = questions;
    for (int i = 0; i < 60; i++) {
        tlsrpt_tick(t);
        if (asked)
            answer(LOOKUP_TEMPORARY, NULL);
        clock_fake_advance(HOURS(1));
    }
    /* 5 minutes, 10, 20 …, but the clock moves by the hour: 1, 2, 3, 4, 5, 7, 11, 15, 19, 23, 27 */
    assert_true(questions - before >= 8 && questions - before <= 14);
    assert_int_equal(mails, 0);
    /* nobody hears of a domain that changed its mind */
    tell(t, "g.example", NULL, NULL, TLS_RESULT_VERIFIED, "mx");
    answer(LOOKUP_OK, "v=TLSRPTv1; rua=mailto:tls@g.example");
    clock_fake_advance(HOURS(48));
    tlsrpt_tick(t);
    answer(LOOKUP_NO_DATA, NULL);
    tlsrpt_tick(t);
    assert_null(asked);
    assert_int_equal(mails, 0);
    end(t);
}

/* By HTTPS, and by mail to the same domain: who has it does not get it again. */
static void by_https(void **state)
{
    static const char record[] =
        "v=TLSRPTv1; rua=https://r.example/a,mailto:t@h.example,https://s.example/b?c=d";
    (void)state;

    clock_fake_set(NOON_MS + HOURS(2400));
    struct tlsrpt *t = begin();
    mails = 0;
    tell(t, "h.example", NULL, NULL, TLS_RESULT_VERIFIED, "mx");
    answer(LOOKUP_OK, record);
    clock_fake_advance(HOURS(17));
    tlsrpt_tick(t);
    answer(LOOKUP_OK, record);
    assert_int_equal(mails, 1);
    assert_int_equal(posted_count, 2);
    assert_string_equal(posted_url, "https://s.example/b?c=d");
    assert_int_equal((uint8_t)buf_data(&posted_body)[0], 0x1f); /* gzip */
    clock_fake_advance(HOURS(1));
    tlsrpt_tick(t);
    assert_null(asked); /* while they are under way nothing is begun anew */
    answer_post(0, 503);
    answer_post(0, 200);
    tlsrpt_tick(t);
    assert_null(asked);
    clock_fake_advance(HOURS(1));
    tlsrpt_tick(t);
    answer(LOOKUP_OK, record);
    assert_int_equal(mails, 1);
    assert_int_equal(posted_count, 1);
    assert_string_equal(posted_url, "https://r.example/a");
    answer_post(0, 0);
    /* after a day that is enough */
    unsigned tries = 0;
    for (int i = 0; i < 40; i++) {
        clock_fake_advance(HOURS(1));
        tlsrpt_tick(t);
        if (!asked)
            continue;
        answer(LOOKUP_OK, record);
        tries++;
        answer_post(0, 404);
    }
    assert_true(tries >= 6 && tries <= 12);
    assert_int_equal(mails, 1);
    /* the end comes while one is under way */
    tell(t, "i.example", NULL, NULL, TLS_RESULT_VERIFIED, "mx");
    answer(LOOKUP_OK, record);
    clock_fake_advance(HOURS(41));
    tlsrpt_tick(t);
    answer(LOOKUP_OK, "v=TLSRPTv1; rua=https://r.example/a");
    assert_int_equal(posted_count, 1);
    end(t);
    assert_int_equal(posted_count, 0);
    buf_free(&posted_body);
    char path[300];
    snprintf(path, sizeof(path), "rm -rf '%s/out' && mkdir '%s/out'", dir, dir);
    assert_int_equal(system(path), 0);
}

/* A domain that changes its policy all day long is not kept for ever. */
static void policies_have_a_limit(void **state)
{
    (void)state;
    unlinkat(dirfd_, "tls-reports", 0);
    clock_fake_set(NOON_MS + HOURS(4800));
    struct tlsrpt *t = begin();
    mails = 0;
    for (int i = 0; i < 50; i++) {
        char text[5000];
        struct tls_policy p = sts;
        memset(text, 'x', sizeof(text));
        text[snprintf(text, sizeof(text), "version: %d", i)] = '\n';
        p.sts.text = sv(text, sizeof(text));
        tell(t, "p.example", &p, &by_sts, TLS_RESULT_VERIFIED, "mx");
        if (i == 0)
            answer(LOOKUP_OK, "v=TLSRPTv1; rua=mailto:tls@p.example");
    }
    clock_fake_advance(HOURS(17));
    tlsrpt_tick(t);
    answer(LOOKUP_OK, "v=TLSRPTv1; rua=mailto:tls@p.example");
    assert_int_equal(mails, 1);
    json_t *o = unpack();
    assert_int_equal(json_array_size(json_object_get(o, "policies")), TLSRPT_MAX_POLICIES);
    json_decref(o);
    end(t);
    char path[300];
    snprintf(path, sizeof(path), "rm -rf '%s/out' && mkdir '%s/out'", dir, dir);
    assert_int_equal(system(path), 0);
}

static int set_up(void **state)
{
    char path[300];
    struct config_report report = {0};
    (void)state;

    uv_loop_init(&loop);
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/config.d", dir);
    mkdir(path, 0700);
    snprintf(path, sizeof(path), "%s/out", dir);
    mkdir(path, 0700);
    snprintf(path, sizeof(path), "%s/config.d/a.conf", dir);
    FILE *f = fopen(path, "w");
    fprintf(f,
            "[pmta]\nhost-name = me.example\ntls-report = yes\ntls-report-dir = %s/out\n"
            "tls-report-from = tls@me.example\n[listener 127.0.0.1:2525]\n[pipe bulk]\n",
            dir);
    fclose(f);
    *strrchr(path, '/') = '\0';
    if (config_load(path, 1, &cfg, &report) < 0)
        fail_msg("%s", buf_data(&report.text));
    buf_free(&report.text);
    dirfd_ = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return 0;
}

static int tear_down(void **state)
{
    char command[300];
    (void)state;
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    assert_int_equal(system(command), 0);
    close(dirfd_);
    config_unref(cfg);
    buf_free(&mail);
    buf_free(&mail_rcpts);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records),
        cmocka_unit_test(mail_addresses),
        cmocka_unit_test(a_day),
        cmocka_unit_test(dane_and_policies_that_cannot_be_fetched),
        cmocka_unit_test(gives_up),
        cmocka_unit_test(by_https),
        cmocka_unit_test(policies_have_a_limit),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
