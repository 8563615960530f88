/*
 * config.d/45-mx-rollup.conf: every group has patterns, no host can be in two groups, and the limits
 * in 50-domains.conf stand on groups that exist.
 */
#include "unit.h"

#include "mail/config.h"

#include <stdio.h>

static struct config *cfg;

struct pattern {
    const char *group;
    struct strview text;
};

static struct pattern patterns[2000];
static size_t count;

static void add_patterns(const char *group)
{
    const struct config_value *v = config_section_get(cfg, KIND_MX_ROLLUP, sv_of(group), DIR_MX);
    size_t before = count;

    for (; v && v->text; v = v->next) {
        struct strview rest = sv_of(v->text), item;
        while (sv_split(&rest, ',', &item)) {
            assert_true(count < ARRAY_LEN(patterns));
            patterns[count++] = (struct pattern){group, sv_trim(item)};
        }
    }
    if (count == before)
        fail_msg("group '%s' has no pattern", group);
}

static int set_up(void **state)
{
    struct config_report report = {0};
    const char *name;

    (void)state;
    if (config_load(getenv("PMTA_SHIPPED_CONFIG"), 1, &cfg, &report) < 0)
        fail_msg("%s", buf_data(&report.text));
    if (report.warnings)
        fail_msg("%s", buf_data(&report.text));
    buf_free(&report.text);
    for (size_t i = 0; (name = config_section_name(cfg, KIND_MX_ROLLUP, i)); i++)
        add_patterns(name);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    config_unref(cfg);
    return 0;
}

/* Every host that matches b matches a as well. */
static bool covers(struct strview a, struct strview b)
{
    if (a.ptr[0] != '*')
        return sv_eq_nocase(a, b);
    a = sv(a.ptr + 1, a.len - 1); /* ".google.com" */
    return b.len > a.len && sv_ends_nocase(b, a);
}

static void no_host_is_in_two_groups(void **state)
{
    (void)state;
    assert_true(count > 100);
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < count; j++)
            if (i != j && (covers(patterns[i].text, patterns[j].text) ||
                           sv_eq_nocase(patterns[i].text, patterns[j].text)))
                fail_msg("%.*s of '%s' covers %.*s of '%s'", SV_ARG(patterns[i].text),
                         patterns[i].group, SV_ARG(patterns[j].text), patterns[j].group);
}

/* A wildcard of a whole top-level domain would take strangers in. */
static void patterns_are_narrow(void **state)
{
    (void)state;
    for (size_t i = 0; i < count; i++) {
        unsigned dots = 0;
        for (size_t j = 0; j < patterns[i].text.len; j++)
            dots += patterns[i].text.ptr[j] == '.';
        if (dots < 2)
            fail_msg("%.*s of '%s' is too wide", SV_ARG(patterns[i].text), patterns[i].group);
        if (patterns[i].text.ptr[0] == '*')
            assert_int_equal(patterns[i].text.ptr[1], '.');
    }
}

static void the_large_ones_are_there(void **state)
{
    static const struct {
        const char *host, *group;
    } rows[] = {
        {"aspmx.l.google.com", "google"},
        {"smtp.google.com", "google"},
        {"gmail-smtp-in.l.google.com", "google"},
        {"aspmx2.googlemail.com", "google"},
        {"outlook-com.olc.protection.outlook.com", "outlook"},
        {"example-com.mail.protection.outlook.com", "office365"},
        {"example-com.o-v1.mx.microsoft", "office365"},
        {"mta5.am0.yahoodns.net", "yahoo"},
        {"mx-aol.mail.gm0.yahoodns.net", "yahoo"},
        {"mx01.mail.icloud.com", "apple"},
        {"mx1a1.comcast.net", "comcast"},
        {"mx00.gmx.net", "gmx"},
        {"mx-ha02.web.de", "gmx"},
        {"mx00.kundenserver.de", "ionos"},
        {"smtp-in.orange.fr", "orange"},
        {"mx1.free.fr", "free"},
        {"mxs.mail.ru", "mailru"},
        {"mx.yandex.ru", "yandex"},
        {"mail.protonmail.ch", "proton"},
        {"mx.zoho.eu", "zoho"},
        {"in1-smtp.messagingengine.com", "fastmail"},
        {"mx0a-00000001.pphosted.com", "proofpoint"},
        {"eu-smtp-inbound-1.mimecast.com", "mimecast"},
        {"mx1.hc00000-00.iphmx.com", "cisco"},
        {"d000000a.ess.barracudanetworks.com", "barracuda"},
        {"inbound-smtp.eu-west-1.amazonaws.com", "amazon"},
        {"mx2.qq.com", "qq"},
        {"163mx01.mxmail.netease.com", "netease"},
        {"ec2-192-0-2-10.eu-west-1.compute.amazonaws.com", ""},
        {"mail.example.com", ""},
        {"notgoogle.com", ""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *found = "";
        for (size_t j = 0; j < count; j++)
            if (covers(patterns[j].text, sv_of(rows[i].host)))
                found = patterns[j].group;
        if (strcmp(found, rows[i].group) != 0)
            fail_msg("%s is in '%s', expected '%s'", rows[i].host, found, rows[i].group);
    }
}

static void limits_stand_on_groups(void **state)
{
    const char *domain;
    unsigned seen = 0;

    (void)state;
    for (size_t i = 0; (domain = config_section_name(cfg, KIND_DOMAIN, i)); i++) {
        struct strview d = sv_of(domain);
        if (!sv_ends_nocase(d, SV(".rollup")))
            continue;
        seen++;
        d.len -= strlen(".rollup");
        if (!config_has_section(cfg, KIND_MX_ROLLUP, d))
            fail_msg("[domain %s]: there is no such group", domain);
    }
    assert_true(seen > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_host_is_in_two_groups),
        cmocka_unit_test(patterns_are_narrow),
        cmocka_unit_test(the_large_ones_are_there),
        cmocka_unit_test(limits_stand_on_groups),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
