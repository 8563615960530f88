/*
 * The line of a delivery attempt: ids first, a fixed order, and four phases that add up to the
 * whole delay, in text and in JSON.
 */
#include "unit.h"

#include "base/clock.h"
#include "report/attempt_line.h"

#include <jansson.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

static const int64_t now_ms = 1795233906789;
static int ends[2]; /* of a socket pair: written, read */

static int set_up(void **state)
{
    (void)state;
    clock_fake_set(now_ms);
    log_set_process("pipe/bulk");
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends);
}

static int tear_down(void **state)
{
    (void)state;
    log_set_fd(2);
    close(ends[0]);
    close(ends[1]);
    return 0;
}

/* The line as it is written, behind its head. */
static const char *written(const struct attempt_line *a, bool json)
{
    static char line[4096];

    log_set_output(&(struct log_output){.fd = ends[0], .target = LOG_TO_STREAM, .json = json});
    attempt_line_write(a);
    log_flush();
    ssize_t n = read(ends[1], line, sizeof(line) - 1);
    assert_true(n > 1 && line[n - 1] == '\n');
    line[n - 1] = '\0';
    const char *text = strstr(line, "delivery: ");
    if (json)
        return line;
    assert_non_null(text);
    return text + strlen("delivery: ");
}

static struct outcome an_outcome(void)
{
    return (struct outcome){
        .class_ = OUTCOME_DEFERRED,
        .phase = PHASE_RCPT,
        .code = 451,
        .enhanced = {4, 7, 1},
        .text = SV("451 4.7.1 Try 'later'."),
        .peer_host = SV("mx1.example.com"),
        .peer_ip = SV("192.0.2.1"),
        .local_ip = SV("198.51.100.7"),
        .tls = "TLSv1.3/TLS_AES_128_GCM_SHA256",
        .tls_verify = "dane",
        .connect_ms = 40,
        .transmit_ms = 60,
    };
}

static struct attempt_line a_line(const struct outcome *o)
{
    return (struct attempt_line){
        .message = "deferred",
        .id = "06a3b4c5d6e7f.0",
        .rcpt = SV("ann@example.com"),
        .sender = SV("news@sender.example"),
        .queue = "example.com/mta1",
        .job = SV("spring sale"),
        .attempt = 2,
        .size = 4096,
        .received_ms = now_ms - 1000,
        .receive_ms = 25,
        .commit_ms = 5,
        .next_ms = now_ms + 600000,
        .outcome = o,
        .category = "greylisted",
        .category_file = "60-x.conf",
        .category_line = 7,
        .reply_file = "70-y.conf",
        .reply_line = 9,
    };
}

static void whole_line(void **state)
{
    struct outcome o = an_outcome();
    struct attempt_line a = a_line(&o);
    (void)state;

    assert_string_equal(
        written(&a, false),
        "deferred id=06a3b4c5d6e7f.0 rcpt=ann@example.com from=news@sender.example "
        "queue=example.com/mta1 job='spring sale' attempt=2 host=mx1.example.com ip=192.0.2.1 "
        "source_ip=198.51.100.7 tls=TLSv1.3/TLS_AES_128_GCM_SHA256 verify=dane size=4096 "
        "delay_ms=1025 receive_ms=30 queue_ms=895 connect_ms=40 transmit_ms=60 status=4.7.1 "
        "phase=rcpt next_s=600 category=greylisted category_rule=60-x.conf:7 "
        "reply_rule=70-y.conf:9 reply='451 4.7.1 Try \\x27later\\x27.'");
}

static int64_t member(const json_t *o, const char *name)
{
    json_t *v = json_object_get(o, name);
    if (!json_is_integer(v))
        fail_msg("%s is no number", name);
    return json_integer_value(v);
}

static void phases_add_up(void **state)
{
    static const struct {
        int64_t age_ms, receive_ms, commit_ms, connect_ms, transmit_ms;
        int64_t total, receive, queue;
    } rows[] = {
        {1000, 25, 5, 40, 60, 1025, 30, 895},
        {1000, 0, 0, 0, 0, 1000, 0, 1000},           /* of an older version's spool */
        {100, 120000, 0, 0, 100, 120100, 120000, 0}, /* a slow client, delivered at once */
        {7000, 3, 65535, 10, 10, 65558, 65538, 0},   /* the wall clock went back meanwhile */
        {10, 0, 0, 500, 500, 1000, 0, 0},
        {-3000, 2, 1, 4, 5, 12, 3, 0},
        {1, 400, 2, 1, 0, 403, 402, 0},              /* each rounded up by itself */
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct outcome o = an_outcome();
        struct attempt_line a = a_line(&o);
        a.received_ms = now_ms - rows[i].age_ms;
        a.receive_ms = rows[i].receive_ms;
        a.commit_ms = rows[i].commit_ms;
        o.connect_ms = rows[i].connect_ms;
        o.transmit_ms = rows[i].transmit_ms;
        json_t *line = json_loads(written(&a, true), 0, NULL);
        assert_non_null(line);
        assert_int_equal(member(line, "delay_ms"), rows[i].total);
        assert_int_equal(member(line, "receive_ms"), rows[i].receive);
        assert_int_equal(member(line, "queue_ms"), rows[i].queue);
        assert_int_equal(member(line, "connect_ms"), rows[i].connect_ms);
        assert_int_equal(member(line, "transmit_ms"), rows[i].transmit_ms);
        assert_int_equal(rows[i].total, rows[i].receive + rows[i].queue + rows[i].connect_ms +
                                            rows[i].transmit_ms);
        json_decref(line);
    }
}

/* A whole queue has no message and so no delays. */
static void of_a_queue(void **state)
{
    struct outcome o = {.class_ = OUTCOME_DEFERRED,
                        .phase = PHASE_DNS,
                        .enhanced = {4, 4, 3},
                        .text = SV("no addresses for 'mx.example.com'")};
    (void)state;

    assert_string_equal(written(&(struct attempt_line){.message = "queue deferred",
                                                       .queue = "example.com/mta1",
                                                       .next_ms = now_ms + 1500,
                                                       .outcome = &o},
                                false),
                        "queue deferred queue=example.com/mta1 status=4.4.3 phase=dns next_s=2 "
                        "reply='no addresses for \\x27mx.example.com\\x27'");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(whole_line, set_up, tear_down),
        cmocka_unit_test_setup_teardown(phases_add_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(of_a_queue, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
