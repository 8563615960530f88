/*
 * Log lines: fields as text and JSON with whatever bytes peers send, syslog and journal datagrams,
 * lines that cannot be written.
 */
#include "unit.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/log_form.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static const struct log_field fields[] = {
    {"rcpt", LOG_FIELD_WORD, 0},
    {"size", LOG_FIELD_NUMBER, 0},
    {"reply", LOG_FIELD_TEXT, 12},
};

static int ends[2]; /* of a socket pair: written, read */

static void open_output(int type, enum log_target target, bool json)
{
    assert_int_equal(socketpair(AF_UNIX, type | SOCK_NONBLOCK, 0, ends), 0);
    log_set_output(&(struct log_output){
        .fd = ends[0], .target = target, .json = json, .facility = 2, .host = "mta.test"});
}

static void close_output(void)
{
    log_set_fd(2);
    close(ends[0]);
    close(ends[1]);
}

/* What has come, as text; in memory of this function. */
static struct strview received(void)
{
    static char bytes[256 * 1024];
    ssize_t n;

    log_flush();
    n = read(ends[1], bytes, sizeof(bytes) - 1);
    bytes[n > 0 ? n : 0] = '\0';
    return sv(bytes, n > 0 ? (size_t)n : 0);
}

static void write_event(struct strview rcpt, int64_t size, struct strview reply)
{
    const struct log_value values[] = {{.text = rcpt}, {.number = size}, {.text = reply}};
    log_event(LOG_INFO, LOG_DELIVERY, "delivered", fields, values, ARRAY_LEN(fields));
}

static int set_up(void **state)
{
    (void)state;
    clock_fake_set(1795233906789);
    log_set_process("pipe/bulk");
    return 0;
}

static void head_of(char *out, size_t size)
{
    char stamp[CLOCK_ISO_SIZE];
    snprintf(out, size, "%s info  pipe/bulk[%d] delivery: ", clock_iso(1795233906789, stamp),
             (int)getpid());
}

static void test_text(void **state)
{
    const struct {
        struct strview rcpt;
        int64_t size;
        struct strview reply;
        const char *body;
    } rows[] = {
        {SV("a@b.example"), 12, SV("250 ok"), "delivered rcpt=a@b.example size=12 reply='250 ok'"},
        {SV("v+a=b@c"), 0, SV(""), "delivered rcpt=v+a=b@c size=0 reply=''"},
        {SV("\"a b\"@c"), 1, SV("x"), "delivered rcpt='\"a b\"@c' size=1 reply='x'"},
        {SV("o'b@c"), 1, SV("x"), "delivered rcpt='o\\x27b@c' size=1 reply='x'"},
        {SV("a\\b"), 1, SV("x"), "delivered rcpt='a\\x5cb' size=1 reply='x'"},
        {SV("a\nb"), -5, SV("\r\n\x7f\t"),
         "delivered rcpt='a\\x0ab' size=-5 "
         "reply='\\x0d\\x0a\\x7f\\x09'"},
        {SV(""), 1, SV("' id=forged"), "delivered rcpt='' size=1 reply='\\x27 id=forged'"},
        {SV("a"), 1, SV("a longer text"), "delivered rcpt=a size=1 reply='a longer tex...'"},
        {{NULL, 0}, LOG_NO_NUMBER, SV("x"), "delivered reply='x'"},
        {SV("\xc3\xa4@b"), 1, SV("\xff"), "delivered rcpt=\xc3\xa4@b size=1 reply='\xff'"},
    };
    char wanted[512], head[128];

    (void)state;
    head_of(head, sizeof(head));
    open_output(SOCK_STREAM, LOG_TO_STREAM, false);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        write_event(rows[i].rcpt, rows[i].size, rows[i].reply);
        snprintf(wanted, sizeof(wanted), "%s%s\n", head, rows[i].body);
        assert_string_equal(received().ptr, wanted);
    }
    close_output();
}

static json_t *parse(struct strview line)
{
    json_error_t e;
    json_t *o = json_loadb(line.ptr, line.len, JSON_REJECT_DUPLICATES, &e);

    if (!o)
        fail_msg("no JSON: %s: %.*s", e.text, SV_ARG(line));
    return o;
}

static void test_json(void **state)
{
    const struct {
        struct strview rcpt, reply;
        const char *rcpt_text, *reply_text;
    } rows[] = {
        {SV("a@b"), SV("250 ok"), "a@b", "250 ok"},
        {SV("\"a\\b\"@c"), SV("\x01\t\r\n\x7f"), "\"a\\b\"@c", "\x01\t\r\n\x7f"},
        {SV("\xff\xc3"), SV("\xc3\xa4"), "\xef\xbf\xbd\xef\xbf\xbd", "\xc3\xa4"},
        /* overlong, surrogate, beyond the last code point */
        {SV("\xc0\xaf"), SV("\xed\xa0\x80"), "\xef\xbf\xbd\xef\xbf\xbd",
         "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {SV("\xf4\x90\x80\x80"), SV("\xe0\x80\x80"),
         "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd",
         "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        /* cut at 12 bytes, in the middle of a character */
        {SV("x"), SV("12345678901\xc3\xa4"), "x", "12345678901..."},
        {SV("x"), SV("1234567890\xf0\x9f\x98\x80"), "x", "1234567890..."},
        {SV("x"), SV("1234567890\xc3\xa4rest"), "x", "1234567890\xc3\xa4..."},
    };

    (void)state;
    open_output(SOCK_STREAM, LOG_TO_STREAM, true);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        write_event(rows[i].rcpt, 7, rows[i].reply);
        struct strview line = received();
        assert_int_equal(sv_find(line, '\n'), (ptrdiff_t)line.len - 1);
        json_t *o = parse(line);
        assert_string_equal(json_string_value(json_object_get(o, "rcpt")), rows[i].rcpt_text);
        assert_string_equal(json_string_value(json_object_get(o, "reply")), rows[i].reply_text);
        assert_int_equal(json_integer_value(json_object_get(o, "size")), 7);
        assert_string_equal(json_string_value(json_object_get(o, "message")), "delivered");
        assert_string_equal(json_string_value(json_object_get(o, "level")), "info");
        assert_string_equal(json_string_value(json_object_get(o, "process")), "pipe/bulk");
        assert_string_equal(json_string_value(json_object_get(o, "subsystem")), "delivery");
        assert_int_equal(json_integer_value(json_object_get(o, "pid")), getpid());
        json_decref(o);
    }
    log_warn(LOG_MAIN, "a sentence with \"quotes\" and name='%s'", log_safe("x\ny", 3, 9));
    json_t *o = parse(received());
    assert_string_equal(json_string_value(json_object_get(o, "message")),
                        "a sentence with \"quotes\" and name='x\\x0ay'");
    json_decref(o);
    close_output();
}

/* Any bytes at all give one line of JSON. */
static void test_json_any_bytes(void **state)
{
    unsigned seed = 7;
    char bytes[40];

    (void)state;
    open_output(SOCK_STREAM, LOG_TO_STREAM, true);
    for (int round = 0; round < 20000; round++) {
        size_t len = (seed = seed * 1103515245 + 12345) % sizeof(bytes);
        for (size_t i = 0; i < len; i++)
            bytes[i] = (char)((seed = seed * 1103515245 + 12345) >> 16);
        write_event(sv(bytes, len), round, sv(bytes, len));
        struct strview line = received();
        assert_int_equal(sv_find(line, '\n'), (ptrdiff_t)line.len - 1);
        json_decref(parse(line));
    }
    close_output();
}

/* One byte of each kind at each place among plain ones comes back as it was. */
static void test_json_any_place(void **state)
{
    (void)state;
    for (size_t len = 1; len <= 20; len++)
        for (size_t at = 0; at < len; at++)
            for (int c = 1; c < 256; c++) {
                struct buf b = {0};
                char text[21] = "xxxxxxxxxxxxxxxxxxxx";
                json_error_t e;
                text[len] = '\0';
                text[at] = (char)c;
                log_form_json_text(sv(text, len), &b);
                json_t *o = json_loadb(buf_data(&b), buf_len(&b), JSON_DECODE_ANY, &e);
                assert_non_null(o);
                if (c < 0x80)
                    assert_string_equal(json_string_value(o), text);
                else /* alone it is no UTF-8: U+FFFD */
                    assert_non_null(strstr(json_string_value(o), "\xef\xbf\xbd"));
                assert_int_equal(strcspn(buf_data(&b), "\x7f"), buf_len(&b));
                json_decref(o);
                buf_free(&b);
            }
}

static void test_syslog(void **state)
{
    char wanted[300], stamp[CLOCK_ISO_SIZE];
    struct strview line;

    (void)state;
    open_output(SOCK_DGRAM, LOG_TO_SYSLOG, false);
    write_event(SV("a@b"), 1, SV("ok"));
    write_event(SV("c@d"), 2, SV("ok"));
    snprintf(wanted, sizeof(wanted),
             "<22>1 %s mta.test pmta %d delivery - pipe/bulk delivery: delivered rcpt=a@b size=1 "
             "reply='ok'",
             clock_iso(1795233906789, stamp), (int)getpid());
    assert_string_equal(received().ptr, wanted);
    line = received();
    assert_non_null(strstr(line.ptr, "rcpt=c@d size=2")); /* a datagram of its own */
    log_error(LOG_SPOOL, "disk is full");
    assert_memory_equal(received().ptr, "<19>1 ", 6);
    close_output();

    open_output(SOCK_DGRAM, LOG_TO_SYSLOG, true);
    write_event(SV("a@b"), 1, SV("ok"));
    line = received();
    const char *object = strchr(line.ptr, '{');
    assert_non_null(object);
    json_decref(parse(sv(object, line.len - (size_t)(object - line.ptr))));
    close_output();

    open_output(SOCK_DGRAM, LOG_TO_SYSLOG3, false);
    setenv("TZ", "UTC", 1);
    tzset();
    write_event(SV("a@b"), 1, SV("ok"));
    snprintf(wanted, sizeof(wanted), "<22>Nov 21 ");
    line = received();
    assert_memory_equal(line.ptr, "<22>", 4);
    snprintf(wanted, sizeof(wanted), " pmta[%d]: pipe/bulk delivery: delivered rcpt=a@b",
             (int)getpid());
    assert_non_null(strstr(line.ptr, wanted));
    assert_ptr_equal(strstr(line.ptr, wanted), line.ptr + 4 + 15); /* "Nov 21 04:05:06" */
    close_output();
}

/* The fields of a datagram of the journal; every byte is accounted for. */
static const char *journal_field(struct strview d, const char *name, char *out, size_t size)
{
    const char *at = d.ptr, *end = d.ptr + d.len;
    const char *found = NULL;

    while (at < end) {
        size_t name_len = strcspn(at, "=\n");
        const char *value = at + name_len + 1;
        uint64_t len = 0;
        assert_true(at + name_len < end);
        if (at[name_len] == '=') {
            len = (uint64_t)((const char *)memchr(value, '\n', (size_t)(end - value)) - value);
        } else {
            memcpy(&len, value, 8);
            value += 8;
        }
        assert_true(value + len < end && value[len] == '\n');
        if (name_len == strlen(name) && memcmp(at, name, name_len) == 0) {
            snprintf(out, size, "%.*s", (int)len, value);
            found = out;
        }
        at = value + len + 1;
    }
    return found;
}

static void test_journald(void **state)
{
    char text[300];

    (void)state;
    open_output(SOCK_DGRAM, LOG_TO_JOURNALD, true);
    write_event(SV("a@b"), 41, SV("two\nlines"));
    struct strview d = received();
    assert_string_equal(journal_field(d, "MESSAGE", text, sizeof(text)),
                        "delivered rcpt=a@b size=41 reply='two\\x0alines'");
    assert_string_equal(journal_field(d, "PRIORITY", text, sizeof(text)), "6");
    assert_string_equal(journal_field(d, "SYSLOG_FACILITY", text, sizeof(text)), "2");
    assert_string_equal(journal_field(d, "SYSLOG_IDENTIFIER", text, sizeof(text)), "pmta");
    assert_string_equal(journal_field(d, "PMTA_PROCESS", text, sizeof(text)), "pipe/bulk");
    assert_string_equal(journal_field(d, "PMTA_SUBSYSTEM", text, sizeof(text)), "delivery");
    assert_string_equal(journal_field(d, "PMTA_RCPT", text, sizeof(text)), "a@b");
    assert_string_equal(journal_field(d, "PMTA_SIZE", text, sizeof(text)), "41");
    assert_string_equal(journal_field(d, "PMTA_REPLY", text, sizeof(text)), "two\nlines");
    close_output();
}

/* A reader that does not read, and then one that is gone: never a wait, every line counted. */
static void test_lost(void **state)
{
    enum { LINES = 5000 };
    uint64_t before = log_lost();
    unsigned came = 0;

    (void)state;
    open_output(SOCK_DGRAM, LOG_TO_SYSLOG, false);
    for (int i = 0; i < LINES; i++)
        write_event(SV("a@b"), i, SV("ok"));
    log_flush();
    uint64_t lost = log_lost() - before;
    assert_true(lost > 0);
    while (received().len)
        came++;
    assert_int_equal(came + lost, LINES);
    close(ends[1]);
    write_event(SV("a@b"), 1, SV("ok"));
    log_flush();
    assert_int_equal(log_lost() - before, lost + 1);
    log_set_fd(2);
    close(ends[0]);
}

/* Lines that were gathered go where they belonged, also over a change of the output. */
static void test_change(void **state)
{
    int old;

    (void)state;
    open_output(SOCK_STREAM, LOG_TO_STREAM, false);
    log_info(LOG_MAIN, "first");
    old = ends[1];
    int written = ends[0];
    open_output(SOCK_STREAM, LOG_TO_STREAM, true);
    log_info(LOG_MAIN, "second");
    char bytes[300] = "";
    assert_true(read(old, bytes, sizeof(bytes) - 1) > 0);
    assert_non_null(strstr(bytes, "main: first\n"));
    assert_null(strstr(bytes, "second"));
    assert_non_null(strstr(received().ptr, "\"message\":\"second\""));
    close(old);
    close(written);
    close_output();
}

static void test_names(void **state)
{
    (void)state;
    assert_int_equal(log_level_find(SV("warn")), LOG_WARN);
    assert_int_equal(log_level_find(SV("warning")), LOG_LEVEL_COUNT);
    assert_int_equal(log_subsystem_bit("smtp-in"), 1u << LOG_SMTP_IN);
    assert_int_equal(log_subsystem_bit("nobody"), 0);
    for (unsigned i = 0; i < LOG_SUBSYSTEM_COUNT; i++)
        assert_int_equal(log_subsystem_bit(log_subsystem_name((enum log_subsystem)i)), 1u << i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_text, set_up),
        cmocka_unit_test_setup(test_json, set_up),
        cmocka_unit_test_setup(test_json_any_bytes, set_up),
        cmocka_unit_test(test_json_any_place),
        cmocka_unit_test_setup(test_syslog, set_up),
        cmocka_unit_test_setup(test_journald, set_up),
        cmocka_unit_test_setup(test_lost, set_up),
        cmocka_unit_test_setup(test_change, set_up),
        cmocka_unit_test_setup(test_names, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
