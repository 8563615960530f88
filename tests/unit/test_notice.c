/*
 * Notices: the message, its way to spool and engine, and the limits. Spool and engine are played.
 */
#include "unit.h"

#include "base/clock.h"
#include "base/log.h"
#include "mail/config.h"
#include "queue/choose.h"
#include "notice/letter.h"
#include "notice/notice.h"

#include <stdio.h>

/* --- the world --- */

#define NOW_MS 1795233906000

static struct {
    struct spool_append *waiting[64];
    unsigned count;
    struct buf content; /* of the last one */
    struct buf envelope;
    unsigned accepted;
    struct envelope env; /* of the last accepted; views until then */
    char rcpts[512];
    unsigned refuse;
    bool no_spool;
    struct notice *n;
} w;

static struct config *config;

void spool_append(struct spool *s, struct spool_append *a)
{
    (void)s;
    assert_true(w.count < ARRAY_LEN(w.waiting));
    w.waiting[w.count++] = a;
    buf_reset(&w.content);
    buf_append_sv(&w.content, a->content);
    buf_reset(&w.envelope);
    buf_append_sv(&w.envelope, a->envelope);
    assert_int_equal(a->content_fd, -1);
    assert_int_equal(a->content_bytes, a->content.len);
}

struct spool *engine_spool(const struct engine *g)
{
    (void)g;
    return w.no_spool ? NULL : (struct spool *)(void *)&w;
}

struct config *engine_config(const struct engine *g)
{
    (void)g;
    return config;
}

const char *engine_pipe(const struct engine *g)
{
    (void)g;
    return "bulk";
}

unsigned engine_refuses(struct engine *g, const struct envelope *env, const char **ret_text)
{
    (void)g, (void)env;
    *ret_text = "4.3.1 Too much mail";
    return w.refuse;
}

bool choose_vmta(struct engine *g, struct envelope *env)
{
    (void)g, (void)env;
    return false;
}

void engine_accept(struct engine *g, message_id id, const struct spool_place *place,
                   const struct envelope *env, struct body *body)
{
    (void)g;
    w.accepted++;
    assert_int_equal(id, 77);
    assert_int_equal(place->segment, 3);
    assert_null(body);
    assert_true(notice_is(env));
    w.rcpts[0] = '\0';
    for (uint32_t i = 0; i < env->rcpt_count; i++) {
        size_t at = strlen(w.rcpts);
        snprintf(w.rcpts + at, sizeof(w.rcpts) - at, "%.*s ", SV_ARG(env->rcpts[i].address));
    }
}

/* The disk has taken what waits. */
static void durable(int status)
{
    for (unsigned i = 0; i < w.count; i++) {
        w.waiting[i]->id = 77;
        w.waiting[i]->place.segment = 3;
        w.waiting[i]->done(w.waiting[i], status);
    }
    w.count = 0;
}

static int set_up(void **state)
{
    static const struct config_override overrides[] = {
        {"pmta", "host-name", "out.example.com"},
    };
    struct config_report report = {0};

    (void)state;
    memset(&w, 0, sizeof(w));
    clock_fake_set(NOW_MS);
    if (config_load_with(getenv("PMTA_SHIPPED_CONFIG"), 1, overrides, 1, &config, &report) < 0)
        fail_msg("%s", buf_data(&report.text));
    buf_free(&report.text);
    w.n = notice_new((struct engine *)(void *)&w);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    notice_free(w.n);
    durable(0);
    config_unref(config);
    buf_free(&w.content);
    buf_free(&w.envelope);
    return 0;
}

static bool says(const char *text)
{
    return memmem(buf_data(&w.content), buf_len(&w.content), text, strlen(text)) != NULL;
}

static void notify(const char *subject)
{
    notice_send(w.n, SV("ops@example.net"), sv_of(subject), SV("something happened"));
}

/* --- cases --- */

static void becomes_a_message(void **state)
{
    struct envelope env;
    struct arena a = {0};
    struct notice_stats s;

    (void)state;
    notice_send(w.n, SV(" ops@example.net, not an address,duty@example.org "),
                SV("gmail.com/mta1: back-off\r\nBcc: x@y.example"),
                SV("First line\n.dot\r\n\nlast\n"));
    assert_int_equal(w.count, 1);
    assert_int_equal(w.accepted, 0); /* not before it is durable */
    durable(0);
    assert_int_equal(w.accepted, 1);
    assert_string_equal(w.rcpts, "ops@example.net duty@example.org ");

    assert_int_equal(envelope_decode(buf_view(&w.envelope), &a, &env, NULL), 0);
    assert_int_equal(env.sender.len, 0);
    assert_sv_equal(env.source, LETTER_SOURCE);
    assert_int_equal(env.rcpt_count, 2);
    assert_int_equal(env.rcpts[0].notify, NOTIFY_NEVER);
    assert_int_equal(env.content_bytes, buf_len(&w.content));
    assert_memory_equal(buf_data(&w.content) + env.header_bytes - 4, "\r\n\r\n", 4);
    assert_int_equal(env.stuffed_dots, 1);
    assert_int_equal(env.flags, 0);
    arena_free(&a);

    assert_true(says("Date: Sat, 21 Nov 2026 04:05:06 +0000\r\n"));
    assert_true(says("From: Mail delivery <postmaster@out.example.com>\r\n"));
    assert_true(says("To: <ops@example.net>,\r\n <duty@example.org>\r\n"));
    assert_true(says("Subject: gmail.com/mta1: back-off  Bcc: x@y.example\r\n"));
    assert_true(says("Auto-Submitted: auto-generated\r\n"));
    assert_true(says("Message-ID: <notice.bulk."));
    assert_true(says("\r\n\r\nFirst line\r\n..dot\r\n\r\nlast\r\n"));
    assert_false(says("held back"));
    notice_stats(w.n, &s);
    assert_int_equal(s.sent, 1);
    assert_int_equal(s.under_way, 0);
}

/* Lone CR, NUL, long lines and other bytes that a peer may have chosen. */
static void hostile_body_stays_in_wire_form(void **state)
{
    struct buf body = {0};
    const char *p, *end;
    unsigned lines = 0;

    (void)state;
    buf_append(&body, "a\rb\0c\x7f\x1b[1m\n", 12);
    for (int i = 0; i < 3000; i++)
        buf_append_str(&body, "\xc3\xa9");
    for (int i = 0; i < 20000; i++)
        buf_append_str(&body, "\n.");
    notice_send(w.n, SV("ops@example.net"), SV("\xc3\xa9"), buf_view(&body));
    buf_free(&body);
    end = buf_data(&w.content) + buf_len(&w.content);
    for (p = buf_data(&w.content); p < end; lines++) {
        const char *eol = memmem(p, (size_t)(end - p), "\r\n", 2);
        assert_non_null(eol);
        assert_true(eol - p <= 998);
        assert_true(*p != '.' || p[1] == '.');
        for (; p < eol; p++)
            assert_true((unsigned char)*p >= 0x20 && *p != 0x7f);
        p = eol + 2;
    }
    assert_true(lines > 100);
    assert_true(buf_len(&w.content) < 128 * 1024);
    assert_true(says("Subject: ??\r\n"));
    assert_true(says("(cut here)\r\n"));
    durable(0);
}

static void one_a_minute_of_one_subject(void **state)
{
    (void)state;
    notify("one");
    notify("one");
    notice_tell(w.n, SV("ops@example.net"), SV("one"), SV("again"));
    notify("two");
    assert_int_equal(w.count, 2);
    assert_true(says("2 notices were held back since 2026-11-21T04:05:06.000Z: "));
    clock_fake_advance(59999);
    notify("one");
    assert_int_equal(w.count, 2);
    clock_fake_advance(1);
    notify("one");
    assert_int_equal(w.count, 3);
    assert_true(says("1 notice was held back since 2026-11-21T04:06:05.999Z, "));
    assert_true(says(", 3 of them with this subject: "));
}

static void thirty_an_hour_in_all(void **state)
{
    char subject[32];
    struct notice_stats s;

    (void)state;
    for (int i = 0; i < 200; i++) {
        snprintf(subject, sizeof(subject), "subject %d", i);
        notify(subject);
        durable(0);
        clock_fake_advance(1000);
    }
    assert_int_equal(w.accepted, 30);
    notice_stats(w.n, &s);
    assert_int_equal(s.held, 170);
    clock_fake_advance(3600000 - 200 * 1000);
    notify("the first of the hour before is an hour old");
    notify("but not the second");
    clock_fake_advance(1000);
    notify("now it is");
    durable(0);
    assert_int_equal(w.accepted, 32);
    assert_true(says("1 notice was held back"));
}

static void never_into_the_trouble(void **state)
{
    (void)state;
    notice_send_about(w.n, SV("example.net"), SV("ops@Example.NET, duty@example.org"), SV("a"),
                      SV("b"));
    durable(0);
    assert_string_equal(w.rcpts, "duty@example.org ");
    notice_send_about(w.n, SV("example.net"), SV("ops@example.net"), SV("c"), SV("d"));
    assert_int_equal(w.count, 0);
}

static void what_fails_is_counted_and_repeats_not(void **state)
{
    struct notice_stats s;

    (void)state;
    notice_send(w.n, SV("nobody"), SV("a"), SV("b"));
    w.no_spool = true;
    notify("b");
    w.no_spool = false;
    w.refuse = 452;
    notify("c");
    w.refuse = 0;
    assert_int_equal(w.count, 0);
    notify("d");
    durable(-28);
    assert_int_equal(w.accepted, 0);
    notice_stats(w.n, &s);
    assert_int_equal(s.lost, 4);
    assert_int_equal(s.sent, 0);
    notify("c"); /* within the minute: a failure is not tried at once */
    assert_int_equal(w.count, 0);
}

/* The room goes while one is on its way to the disk. */
static void freed_meanwhile(void **state)
{
    (void)state;
    notify("a");
    notice_free(w.n);
    w.n = NULL;
    durable(0);
    assert_int_equal(w.accepted, 0);
}

static void tells_its_own(void **state)
{
    struct envelope env = {.source = SV("{notice}")};

    (void)state;
    assert_true(notice_is(&env));
    env.sender = SV("a@b.example");
    assert_false(notice_is(&env));
    env = (struct envelope){.source = SV("127.0.0.0/8")};
    assert_false(notice_is(&env));
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(becomes_a_message),
        CASE(hostile_body_stays_in_wire_form),
        CASE(one_a_minute_of_one_subject),
        CASE(thirty_an_hour_in_all),
        CASE(never_into_the_trouble),
        CASE(what_fails_is_counted_and_repeats_not),
        CASE(freed_meanwhile),
        CASE(tells_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
