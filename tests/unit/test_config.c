/*
 * The configuration: reading, precedence, error lines, the traps of inih, the snapshot.
 */
#include "unit.h"

#include "mail/config.h"

#include <stdio.h>
#include <unistd.h>

static char dir[] = "/tmp/pmta-test-config-XXXXXX";

static const char base[] = "[pipe bulk]\n[listener 127.0.0.1:2525]\n";

/* Loads base and text as one file. */
static int load(const char *text, struct config **ret, struct config_report *r)
{
    char path[80];
    snprintf(path, sizeof(path), "%s/a.conf", dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(base, f);
    fputs(text, f);
    fclose(f);
    return config_load(dir, 7, ret, r);
}

static void shipped(void **state)
{
    struct config *cfg = NULL;
    struct config_report r = {0};
    struct config_override o = {"listener smtp", "address", "127.0.0.1:0"};
    struct config_query q = {.listener = SV("smtp")};
    (void)state;

    const char *shipped_dir = getenv("PMTA_SHIPPED_CONFIG");
    assert_non_null(shipped_dir); /* meson sets it */
    int ret = config_load_with(shipped_dir, 1, &o, 1, &cfg, &r);
    assert_string_equal(buf_data(&r.text), "");
    assert_int_equal(ret, 0);
    assert_int_equal(r.warnings, 0);
    assert_string_equal(config_text(cfg, &q, DIR_ADDRESS), "127.0.0.1:0");
    config_unref(cfg);
    buf_free(&r.text);
}

static void precedence(void **state)
{
    static const struct {
        const char *domain, *vmta, *pipe;
        int64_t port;
    } rows[] = {{"x.org", "", "", 1},         {"gmail.com", "", "", 3},
                {"gmail.com", "", "bulk", 4}, {"gmail.com", "m1", "bulk", 5},
                {"a.b.c.org", "", "", 7},     {"c.org", "", "", 1},
                {"b.c.org", "", "", 6},       {"hotmail.com", "", "", 8},
                {"live.com", "", "", 9},      {"GMAIL.COM.", "", "", 3}};
    struct config *cfg = NULL, *copy = NULL;
    struct config_report r = {0};
    struct buf b = {0};
    struct err e;
    (void)state;

    assert_int_equal(load("[pmta]\nsmtp-port=1\n[domain gmail.com]\nsmtp-port=3\n"
                          "[pipe bulk, domain *]\nsmtp-port=4\n[virtual-mta m1]\nsmtp-port=5\n"
                          "[domain *.c.org]\nsmtp-port=6\n[domain [*.]b.c.org]\nsmtp-port=7\n"
                          "[domain b.c.org]\nsmtp-port=6\n[domain-macro ms]\n"
                          "domains = hotmail.com, live.com\n[domain live.com]\nsmtp-port=9\n"
                          "[domain $ms]\nsmtp-port=8\n",
                          &cfg, &r),
                     0);
    config_snapshot_encode(cfg, &b);
    assert_int_equal(config_snapshot_decode(buf_view(&b), &copy, &e), 0);
    assert_int_equal(config_generation(copy), 7);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct config_query q = {.domain = sv_of(rows[i].domain),
                                 .vmta = sv_of(rows[i].vmta),
                                 .pipe = sv_of(rows[i].pipe)};
        assert_int_equal(config_number(cfg, &q, DIR_SMTP_PORT), rows[i].port);
        assert_int_equal(config_number(copy, &q, DIR_SMTP_PORT), rows[i].port);
    }
    config_unref(copy);
    for (size_t n = 0; n < buf_len(&b); n++)
        assert_int_equal(config_snapshot_decode(sv(buf_data(&b), n), &copy, &e), ERR_CORRUPT);
    config_unref(cfg);
    buf_free(&b);
    buf_free(&r.text);
}

static void errors(void **state)
{
    static const char *const rows[][2] = {
        {"[pmta]\nmax-smtp-uot = 5\n",
         "a.conf:4: unknown directive 'max-smtp-uot': did you mean 'max-smtp-out'?\n"},
        {"[domain $nope]\n", "a.conf:3: macro '$nope' is not defined\n"},
        {"[domian x]\n", "a.conf:3: unknown kind of section 'domian': did you mean 'domain'?\n"},
        {"[pmta]\nreceivers = 65\n",
         "a.conf:4: receivers: 65 is out of bounds (expected 0 to 64)\n"},
        {"[pmta]\ndefault-pipe = bulc\n",
         "a.conf:4: default-pipe: 'bulc' is not defined (expected the name of a section [pipe]): "
         "did you mean 'bulk'?\n"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct config *cfg = NULL;
        struct config_report r = {0};
        assert_int_equal(load(rows[i][0], &cfg, &r), ERR_CONFIG);
        assert_string_equal(buf_data(&r.text) + strlen(dir) + 1, rows[i][1]);
        buf_free(&r.text);
    }
}

static int set_up(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state)
{
    char path[80];
    (void)state;
    snprintf(path, sizeof(path), "%s/a.conf", dir);
    unlink(path);
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(shipped), cmocka_unit_test(precedence),
                                       cmocka_unit_test(errors)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
