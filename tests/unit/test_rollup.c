/*
 * Which group the MX hosts of a domain put it into: the seven cases of the reference, wildcards, and
 * the names of groups that form by themselves.
 */
#include "unit.h"

#include "mail/config.h"
#include "rollup/rollup.h"

#include <stdio.h>
#include <unistd.h>

static struct config *load(const char *text)
{
    char dir[] = "/tmp/pmta-rollup-XXXXXX", path[64];
    struct config *cfg = NULL;
    struct config_report report = {0};

    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/a.conf", dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f, "[pipe bulk]\n[listener 127.0.0.1:2525]\n%s", text);
    fclose(f);
    if (config_load(dir, 1, &cfg, &report) < 0)
        fail_msg("%s", buf_data(&report.text));
    unlink(path);
    rmdir(dir);
    buf_free(&report.text);
    return cfg;
}

static const char *const groups = "[mx-rollup domain]\nmx = mx1.domain.com, mx2.domain.com\n"
                                  "[mx-rollup domain2]\nmx = mx1.domain2.com\n"
                                  "[mx-rollup google]\nmx = *.google.com\nmx = *.googlemail.com\n";

/* "HOST PREFERENCE, …"; each host has two addresses. */
static struct route route_of(const char *text, struct route_address *addresses)
{
    struct route r = {.kind = ROUTE_MX, .status = ROUTE_OK, .addresses = addresses};
    struct strview rest = sv_of(text), one;

    while (sv_split(&rest, ',', &one)) {
        uint64_t preference;
        one = sv_trim(one);
        ptrdiff_t blank = sv_find(one, ' ');
        assert_true(sv_to_u64(sv(one.ptr + blank + 1, one.len - (size_t)blank - 1), &preference));
        for (int i = 0; i < 2; i++)
            addresses[r.address_count++] = (struct route_address){
                .preference = (uint16_t)preference, .host = sv(one.ptr, (size_t)blank)};
    }
    return r;
}

static void groups_by_best_hosts(void **state)
{
    static const struct {
        const char *mx, *group, *used, *unused;
    } cases[] = {
        {"mx1.domain.com 10, mx2.domain.com 10", "domain.rollup", "mx2.domain.com", NULL},
        {"mx1.domain.com 10, mx2.domain.com 20", "", NULL, NULL},
        {"mx1.domain.com 10, mx2.domain.com 10, mx3.domain.com 10", "domain.rollup",
         "mx1.domain.com", "mx3.domain.com"},
        {"mx1.domain.com 10", "", NULL, NULL},
        {"mx1.domain2.com 10, mx2.domain2.com 10", "domain2.rollup", "mx1.domain2.com",
         "mx2.domain2.com"},
        {"mx1.domain2.com 10, mx1.domain2.com 20", "domain2.rollup", "mx1.domain2.com", NULL},
        {"mx1.mail.domain.com 10", "", NULL, NULL},
        /* wildcards: all of the best ones, whatever stands behind them */
        {"aspmx.l.google.com 1, alt1.aspmx.l.google.com 5", "google.rollup", "aspmx.l.google.com",
         NULL},
        {"aspmx.l.google.com 1, mx.other.org 5", "google.rollup", "mx.other.org", NULL},
        {"aspmx.l.google.com 1, mx.other.org 1", "", NULL, NULL},
        {"aspmx.l.google.com 1, aspmx2.googlemail.com 1", "google.rollup", NULL, NULL},
        {"ASPMX.L.Google.COM. 1", "google.rollup", NULL, NULL},
        {"google.com 1", "", NULL, NULL},
        {"mx.notgoogle.com 1", "", NULL, NULL},
    };
    struct config *cfg = load(groups);
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct route_address addresses[16];
        char name[ROLLUP_NAME_SIZE];
        struct route r = route_of(cases[i].mx, addresses);
        struct strview got = rollup_group(cfg, &r, name);
        if (!sv_eq(got, sv_of(cases[i].group)))
            fail_msg("%s: '%.*s'", cases[i].mx, SV_ARG(got));
        struct strview group = sv(got.ptr, got.len ? got.len - strlen(".rollup") : 0);
        bool explicit = got.len && rollup_is_explicit(cfg, group);
        if (cases[i].used)
            assert_true(!explicit || rollup_has_host(cfg, group, sv_of(cases[i].used)));
        if (cases[i].unused)
            assert_true(explicit && !rollup_has_host(cfg, group, sv_of(cases[i].unused)));
    }
    config_unref(cfg);
}

static void no_answer_is_no_group(void **state)
{
    struct config *cfg = load(groups);
    struct route_address addresses[16];
    char name[ROLLUP_NAME_SIZE];
    struct route r = route_of("aspmx.l.google.com 1", addresses);
    (void)state;

    r.status = ROUTE_TEMPORARY;
    assert_int_equal(rollup_group(cfg, &r, name).len, 0);
    r.status = ROUTE_OK;
    r.kind = ROUTE_HOST;
    assert_int_equal(rollup_group(cfg, &r, name).len, 0);
    assert_int_equal(rollup_site(&r, name).len, 0);
    assert_int_equal(rollup_group(cfg, NULL, name).len, 0);
    config_unref(cfg);
}

static void names_sites(void **state)
{
    static const struct {
        const char *mx, *site;
    } cases[] = {
        {"mx.a.com 10", "mx.a.com"},
        {"mx2.a.com 10, mx1.a.com 10", "(mx1|mx2).a.com"},
        {"MX2.A.com 10, mx1.a.com 10, backup.b.com 20", "(mx1|mx2).a.com"},
        {"mx.a.com 10, mx.b.com 10", "(mx.a|mx.b).com"},
        {"mx.a.com 10, mx.b.org 10", "(mx.a.com|mx.b.org)"},
        {"a.com 10, mx.a.com 10", "(a|mx.a).com"},
        {"tx.a.com 10, mx.a.com 10, x.a.com 10", "(mx|tx|x).a.com"},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct route_address addresses[16];
        char name[ROLLUP_NAME_SIZE];
        struct route r = route_of(cases[i].mx, addresses);
        assert_sv_equal(rollup_site(&r, name), cases[i].site);
    }
}

static void long_sites_differ(void **state)
{
    struct route_address addresses[64];
    char a[ROLLUP_NAME_SIZE], b[ROLLUP_NAME_SIZE], hosts[64][64];
    struct route r = {.kind = ROUTE_MX, .status = ROUTE_OK, .addresses = addresses};
    (void)state;

    for (r.address_count = 0; r.address_count < 64; r.address_count++) {
        int n = snprintf(hosts[r.address_count], 64, "host-with-a-long-name-%02zu.example.com",
                         r.address_count);
        addresses[r.address_count] =
            (struct route_address){.preference = 1, .host = sv(hosts[r.address_count], (size_t)n)};
    }
    struct strview one = rollup_site(&r, a);
    assert_true(one.len < ROLLUP_NAME_SIZE);
    r.address_count = 63;
    assert_false(sv_eq(one, rollup_site(&r, b)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(groups_by_best_hosts),
        cmocka_unit_test(no_answer_is_no_group),
        cmocka_unit_test(names_sites),
        cmocka_unit_test(long_sites_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
