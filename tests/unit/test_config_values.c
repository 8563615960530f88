/*
 * Every value type of the configuration: what is taken and what it means, what is refused and what
 * the error says; address ranges, pool members, patterns of MX hosts, reply rules.
 */
#include "unit.h"

#include "mail/config_internal.h"
#include "mail/config_load.h"
#include "mail/host_list.h"
#include "mail/reply_rule.h"

#include <arpa/inet.h>
#include <stdio.h>

static int parse(enum directive d, const char *text, struct config_value *v, struct arena *a,
                 struct err *e)
{
    *v = (struct config_value){.directive = d, .text = text};
    return config_value_parse(v, a, e);
}

static void retry(void **state)
{
    static const struct {
        const char *text;
        size_t count;
        int64_t first, last;
        uint32_t factor;
        int64_t max;
    } good[] = {
        {"10m", 1, 600000, 600000, 100, 0},
        {"10m, 20m,1h", 3, 600000, 3600000, 100, 0},
        {"5m x2 max 4h", 1, 300000, 300000, 200, 14400000},
        {"1m,5m  x1.5 MAX 4h", 2, 60000, 300000, 150, 14400000},
        {"5m X1.25", 1, 300000, 300000, 125, 604800000},
        {"5m x1 max 5m", 1, 300000, 300000, 100, 300000},
        {"5m x10", 1, 300000, 300000, 1000, 604800000},
    };
    static const char *const bad[] = {"",
                                      "x2",
                                      "5m x0.9",
                                      "5m x",
                                      "5m x11",
                                      "5m x2 max",
                                      "5m x2 4h",
                                      "5m max 4h",
                                      "5m x2 max 1m",
                                      "5m x1.234",
                                      "5m,, 6m",
                                      "5m x2 max 8d",
                                      "5m x2 min 4h",
                                      "5m x-2",
                                      "10ms",
                                      "5m x1. max 4h",
                                      "5m, x2",
                                      "5m x2,6m",
                                      "5m x2 x2 max 1h"};
    struct arena a = {0};
    struct config_value v;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_int_equal(parse(DIR_RETRY_AFTER, good[i].text, &v, &a, NULL), 0);
        assert_int_equal(v.retry.count, good[i].count);
        assert_int_equal(v.retry.items[0], good[i].first);
        assert_int_equal(v.retry.items[v.retry.count - 1], good[i].last);
        assert_int_equal(v.retry.factor_percent, good[i].factor);
        assert_int_equal(v.retry.max_ms, good[i].max);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(parse(DIR_RETRY_AFTER, bad[i], &v, &a, NULL), ERR_CONFIG);
    char many[200] = "1m";
    for (int i = 1; i < 30; i++)
        strcat(many, ",1m");
    assert_int_equal(parse(DIR_RETRY_AFTER, many, &v, &a, NULL), 0);
    assert_int_equal(v.retry.count, 30);
    strcat(many, ",1m");
    assert_int_equal(parse(DIR_RETRY_AFTER, many, &v, &a, NULL), ERR_CONFIG);
    arena_free(&a);
}

static void rates(void **state)
{
    static const struct {
        enum directive directive;
        const char *text;
        size_t count;
        uint64_t first, last;
        uint32_t growth;
    } good[] = {
        {DIR_WARMUP_SCHEDULE, "50/d", 1, 50, 50, 0},
        {DIR_WARMUP_SCHEDULE, "50/d, 100/day,200/d", 3, 50, 200, 0},
        {DIR_WARMUP_SCHEDULE, "50/d +10%/d", 1, 50, 50, 10},
        {DIR_WARMUP_SCHEDULE, "50/d, 80/d +1000%/day", 2, 50, 80, 1000},
        {DIR_MAX_COLD_VIRTUAL_MTA_MSG, "0/d", 1, 0, 0, 0},
        {DIR_MAX_COLD_VIRTUAL_MTA_MSG, "100/d,0/d,1/d", 3, 100, 1, 0},
    };
    static const struct {
        enum directive directive;
        const char *text;
    } bad[] = {
        {DIR_WARMUP_SCHEDULE, "50"},
        {DIR_WARMUP_SCHEDULE, "50/h"},
        {DIR_WARMUP_SCHEDULE, "0/d"},
        {DIR_WARMUP_SCHEDULE, "unlimited"},
        {DIR_WARMUP_SCHEDULE, "50/d +0%/d"},
        {DIR_WARMUP_SCHEDULE, "50/d +1001%/d"},
        {DIR_WARMUP_SCHEDULE, "50/d +10%"},
        {DIR_WARMUP_SCHEDULE, "50/d +10/d"},
        {DIR_WARMUP_SCHEDULE, "+10%/d"},
        {DIR_WARMUP_SCHEDULE, "50/d, +10%/d"},
        {DIR_WARMUP_SCHEDULE, "50/d 60/d"},
        {DIR_WARMUP_SCHEDULE, "50/2d"},
        {DIR_MAX_COLD_VIRTUAL_MTA_MSG, "0"},
        {DIR_MAX_COLD_VIRTUAL_MTA_MSG, "unlimited"},
        {DIR_MAX_COLD_VIRTUAL_MTA_MSG, "50/d +10%/d"},
        {DIR_MAX_COLD_VIRTUAL_MTA_MSG, "50/d,"},
    };
    struct arena a = {0};
    struct config_value v;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_int_equal(parse(good[i].directive, good[i].text, &v, &a, NULL), 0);
        assert_int_equal(v.rates.count, good[i].count);
        assert_int_equal(v.rates.items[0].count, good[i].first);
        assert_int_equal(v.rates.items[v.rates.count - 1].count, good[i].last);
        assert_int_equal(v.rates.items[0].period_ms, 86400000);
        assert_int_equal(v.rates.growth_percent, good[i].growth);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(parse(bad[i].directive, bad[i].text, &v, &a, NULL), ERR_CONFIG);
    arena_free(&a);
}

/* Types with one sort of value: the text, and the number it gives or the error. */
static void single(void **state)
{
    static const struct {
        enum directive directive;
        const char *text;
        int64_t number; /* -1: error */
        const char *error;
    } rows[] = {
        {DIR_BACKOFF_TO_NORMAL_AFTER, "2h", 7200000, NULL},
        {DIR_BACKOFF_TO_NORMAL_AFTER, "Never", 0, NULL},
        {DIR_BACKOFF_TO_NORMAL_AFTER, "0", -1,
         "backoff-to-normal-after: 0 is out of bounds (expected 1s to 4w2d)"},
        {DIR_BACKOFF_TO_NORMAL_AFTER, "soon", -1,
         "backoff-to-normal-after: 'soon' is not valid (expected an interval such as 30s, 5m or "
         "4d12h, or never)"},
        {DIR_BOUNCE_AFTER, "never", -1,
         "bounce-after: 'never' is not valid (expected an interval such as 30s, 5m or 4d12h)"},
        {DIR_WARMUP_UPON_TROUBLE, "step-back", 1, NULL},
        {DIR_WARMUP_UPON_TROUBLE, "panic", -1,
         "warmup-upon-trouble: 'panic' is not valid (expected one of hold|step-back|ignore)"},
        {DIR_MAX_MSG_RATE, "0/h", -1,
         "max-msg-rate: '0/h' is not valid (expected a rate such as 500/s, 600/h or 83/5s, or "
         "unlimited)"},
        {DIR_MAX_DATA_VOLUME_RATE, "12", -1,
         "max-data-volume-rate: '12' is not valid (expected bytes per time such as 12M/m, or "
         "unlimited)"},
        {DIR_BACKOFF_NOTIFY, "a@x.org, b", -1,
         "backoff-notify: 'a@x.org, b' is not valid (expected mail addresses separated by commas)"},
        {DIR_BACKOFF_NOTIFY, "a@x.org, b@y.org", 0, NULL},
        {DIR_MX, "*.google.com, aspmx.l.google.com", 0, NULL},
        {DIR_MX, "*", -1,
         "mx: '*' is not valid (expected host names or *.DOMAIN, separated by commas)"},
        {DIR_MX, "mx*.google.com", -1,
         "mx: 'mx*.google.com' is not valid (expected host names or *.DOMAIN, separated by "
         "commas)"},
        {DIR_POOL_MEMBER, "m1 0", -1,
         "virtual-mta: 'm1 0' is not a member (expected NAME, or NAME WEIGHT with a weight of 1 to "
         "1000)"},
        {DIR_POOL_MEMBER, "m1 1000", 0, NULL},
        {DIR_SMTP_SOURCE_HOST, "192.0.2.1-5 out-%i.x.org", 0, NULL},
        {DIR_SMTP_SOURCE_IP, "192.0.2.1 out.x.org", -1,
         "smtp-source-ip: 'out.x.org' follows the address (expected the address alone, or "
         "smtp-source-host = IP HOSTNAME)"},
        {DIR_SMTP_SOURCE_IP, "192.0.2.0/29", 0, NULL},
        {DIR_REPLY, "// bounce-queue", 0, NULL},
        {DIR_REPLY, "/x/ mode=backof", -1,
         "reply: 'mode=backof' is not an action: did you mean 'mode=backoff'?"},
    };
    struct arena a = {0};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct config_value v;
        struct err e = {0};
        int r = parse(rows[i].directive, rows[i].text, &v, &a, &e);
        assert_int_equal(r, rows[i].number < 0 ? ERR_CONFIG : 0);
        if (r < 0)
            assert_string_equal(e.text, rows[i].error);
        else if (rows[i].number)
            assert_int_equal(v.number, rows[i].number);
    }
    arena_free(&a);
}

static void data_rate(void **state)
{
    struct config_value v;
    struct arena a = {0};
    (void)state;
    assert_int_equal(parse(DIR_MAX_DATA_VOLUME_RATE, "12M/m", &v, &a, NULL), 0);
    assert_int_equal(v.rate.count, 12 << 20);
    assert_int_equal(v.rate.period_ms, 60000);
    arena_free(&a);
}

struct expanded {
    size_t count;
    char first[300], last[300];
};

static void collect(void *arg, const struct sockaddr_storage *addr, struct strview host)
{
    struct expanded *x = arg;
    char ip[INET6_ADDRSTRLEN];
    const void *bytes = addr->ss_family == AF_INET
                            ? (const void *)&((const struct sockaddr_in *)addr)->sin_addr
                            : (const void *)&((const struct sockaddr_in6 *)addr)->sin6_addr;
    inet_ntop(addr->ss_family, bytes, ip, sizeof(ip));
    snprintf(x->last, sizeof(x->last), "%s %.*s", ip, SV_ARG(host));
    if (!x->count++)
        strcpy(x->first, x->last);
}

static void ranges(void **state)
{
    static const struct {
        const char *text;
        size_t count;
        const char *first, *last;
    } good[] = {
        {"192.0.2.1 a.org", 1, "192.0.2.1 a.org", "192.0.2.1 a.org"},
        {" 192.168.1.101-150\thost.org ", 50, "192.168.1.101 host.org", "192.168.1.150 host.org"},
        {"192.0.2.7-7 o%i.org", 1, "192.0.2.7 o192-0-2-7.org", "192.0.2.7 o192-0-2-7.org"},
        {"192.0.2.0/30 o%i.org", 4, "192.0.2.0 o192-0-2-0.org", "192.0.2.3 o192-0-2-3.org"},
        {"192.0.2.250-192.0.3.5 %i.org", 12, "192.0.2.250 192-0-2-250.org",
         "192.0.3.5 192-0-3-5.org"},
        {"255.255.255.255/32 a", 1, "255.255.255.255 a", "255.255.255.255 a"},
        {"10.0.0.0/20 a.org", 4096, "10.0.0.0 a.org", "10.0.15.255 a.org"},
        {"2001:db8::10-1f m-%i.org", 16,
         "2001:db8::10 m-2001-0db8-0000-0000-0000-0000-0000-0010.org",
         "2001:db8::1f m-2001-0db8-0000-0000-0000-0000-0000-001f.org"},
        {"2001:db8::/116 a.org", 4096, "2001:db8:: a.org", "2001:db8::fff a.org"},
        {"2001:db8::ffff-2001:db8::1:1 a.org", 3, "2001:db8::ffff a.org", "2001:db8::1:1 a.org"},
    };
    static const struct {
        const char *text, *error;
    } bad[] = {
        {"", "'' is not an address (expected IP, IP/BITS or FIRST-LAST)"},
        {"out.org 192.0.2.1", "'out.org' is not an address (expected IP, IP/BITS or FIRST-LAST)"},
        {"192.0.2.5/30 a.org",
         "the network has bits beyond its prefix /30 (expected its first address)"},
        {"10.0.0.0/19 a.org", "/19 has more than 4096 addresses (expected /20 or longer)"},
        {"2001:db8::/115 a.org", "/115 has more than 4096 addresses (expected /116 or longer)"},
        {"192.0.2.0/33 a.org", "'/33' is not a prefix length (expected 0 to 32)"},
        {"192.0.2.9-8 a.org", "the range ends before it begins, or has more than 4096 addresses"},
        {"10.0.0.0-10.0.16.0 a.org",
         "the range ends before it begins, or has more than 4096 addresses"},
        {"192.0.2.9-256 a.org", "'256' does not end a range (expected its last address, or that "
                                "address's last number)"},
        {"192.0.2.9-::1 a.org", "'::1' does not end a range (expected its last address, or that "
                                "address's last number)"},
        {"2001:db8::1-g a.org", "'g' does not end a range (expected its last address, or that "
                                "address's last number)"},
        {"192.0.2.1- a.org", "'' does not end a range (expected its last address, or that "
                             "address's last number)"},
        {"192.0.2.1 a b", "'a b' is not a host name (expected IP HOSTNAME, as in 192.0.2.55 "
                          "out1.example.com; %i in it stands for the address)"},
        {"192.0.2.1", "'' is not a host name (expected IP HOSTNAME, as in 192.0.2.55 "
                      "out1.example.com; %i in it stands for the address)"},
        {"192.0.2.1 a%n.org", "'a%n.org' is not a host name (expected IP HOSTNAME, as in "
                              "192.0.2.55 out1.example.com; %i in it stands for the address)"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct expanded x = {0};
        struct err e = {0};
        assert_int_equal(source_host_expand(sv_of(good[i].text), true, collect, &x, &e), 0);
        assert_int_equal(x.count, good[i].count);
        assert_string_equal(x.first, good[i].first);
        assert_string_equal(x.last, good[i].last);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct expanded x = {0};
        struct err e = {0};
        assert_int_equal(source_host_expand(sv_of(bad[i].text), true, collect, &x, &e), ERR_SYNTAX);
        assert_int_equal(x.count, 0);
        assert_string_equal(e.text, bad[i].error);
    }
}

static void members_and_patterns(void **state)
{
    static const struct {
        const char *pattern, *host;
        bool matches;
    } rows[] = {
        {"*.google.com", "aspmx.l.google.com", true}, {"*.google.com", "ASPMX.L.Google.COM.", true},
        {"*.google.com", "google.com", false},        {"*.google.com", "xgoogle.com", false},
        {"*.google.com", ".google.com", false},       {"mx1.x.org", "MX1.x.org.", true},
        {"mx1.x.org", "a.mx1.x.org", false}};
    struct strview name;
    uint32_t weight;
    (void)state;
    assert_int_equal(pool_member_parse(SV(" m1 "), &name, &weight, NULL), 0);
    assert_sv_equal(name, "m1");
    assert_int_equal(weight, 1);
    assert_int_equal(pool_member_parse(SV("m2\t 30"), &name, &weight, NULL), 0);
    assert_sv_equal(name, "m2");
    assert_int_equal(weight, 30);
    assert_int_equal(pool_member_parse(SV("m2 1001"), &name, &weight, NULL), ERR_SYNTAX);
    assert_int_equal(pool_member_parse(SV("m2 3 4"), &name, &weight, NULL), ERR_SYNTAX);
    assert_int_equal(pool_member_parse(SV(""), &name, &weight, NULL), ERR_SYNTAX);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_int_equal(mx_pattern_matches(sv_of(rows[i].pattern), sv_of(rows[i].host)),
                         rows[i].matches);
}

#define BIT(id) (1u << REPLY_##id)

static void reply_rules(void **state)
{
    static const struct {
        const char *text, *regex;
        uint32_t phases, actions;
    } good[] = {
        {"/421 .* too many/ mode=backoff", "421 .* too many", 0, BIT(MODE_BACKOFF)},
        {"// BOUNCE-QUEUE", "", 0, BIT(BOUNCE_QUEUE)},
        {"/a\\/b\\\\/ skip-mx , notify", "a\\/b\\\\", 0, BIT(SKIP_MX) | BIT(NOTIFY)},
        {"/x/ phase=rcpt|end-of-data bounce-rcpt", "x", 1u << PHASE_RCPT | 1u << PHASE_END_OF_DATA,
         BIT(BOUNCE_RCPT)},
        {"/x/ phase=greeting,skip-mx", "x", 1u << PHASE_GREETING, BIT(SKIP_MX)},
        {"/x/\tmode=backoff,disable-source-ip,reenable-after=1h", "x", 0,
         BIT(MODE_BACKOFF) | BIT(DISABLE_SOURCE_IP) | BIT(REENABLE_AFTER)},
        {"/x # \" ; y/ defer-queue", "x # \" ; y", 0, BIT(DEFER_QUEUE)},
        {"/x/ rate = 100 , retry-after=5m", "x", 0, BIT(RATE) | BIT(RETRY_AFTER)},
    };
    static const struct {
        const char *text, *error;
    } bad[] = {
        {"", "'' has no regular expression (expected /REGEX/ ACTION,ACTION; write / inside it as "
             "\\/)"},
        {"/x mode=backoff", "'/x mode=backoff' has no regular expression (expected /REGEX/ "
                            "ACTION,ACTION; write / inside it as \\/)"},
        {"/x\\/ skip-mx", "'/x\\/ skip-mx' has no regular expression (expected /REGEX/ "
                          "ACTION,ACTION; write / inside it as \\/)"},
        {"/x/y/ skip-mx", "a blank is missing after /REGEX/ (write / inside it as \\/)"},
        {"/x/", "an action is missing (expected ACTION,ACTION after /REGEX/)"},
        {"/x/ skip-mx,", "an action is missing (expected ACTION,ACTION after /REGEX/)"},
        {"/x/ phase=rcpt", "an action is missing (expected ACTION,ACTION after /REGEX/)"},
        {"/x/ skip-mx,skip-mx", "'skip-mx' stands twice"},
        {"/x/ bounce-que", "'bounce-que' is not an action: did you mean 'bounce-queue'?"},
        {"/x/ renable-after=1h", "'renable-after=1h' is not an action: did you mean "
                                 "'reenable-after='?"},
        {"/x/ frobnicate", "'frobnicate' is not an action"},
        {"/x/ mode=backoff,mode=normal", "'mode=backoff' and 'mode=normal' contradict each other"},
        {"/x/ bounce-queue,skip-mx", "'skip-mx' and 'bounce-queue' contradict each other"},
        {"/x/ bounce-rcpt,retry-after=5m", "'bounce-rcpt' and 'retry-after' contradict each other"},
        {"/x/ backoff-to-normal-after=1h",
         "'backoff-to-normal-after' needs 'mode=backoff' in the same rule"},
        {"/x/ mode=normal,backoff-to-normal-after=1h",
         "'backoff-to-normal-after' needs 'mode=backoff' in the same rule"},
        {"/x/ reenable-after=1h", "'reenable-after' needs 'disable-source-ip' in the same rule"},
        {"/x/ retry-after", "'retry-after=' needs a value (expected retry-after=TIME)"},
        {"/x/ retry-after=", "retry-after: '' is not valid (expected an interval such as 1h)"},
        {"/x/ retry-after=31d", "retry-after: '31d' is out of bounds (expected 1s to 30d)"},
        {"/x/ rate=0%", "rate: '0%' is not valid (expected 1% to 100%)"},
        {"/x/ rate=101%", "rate: '101%' is not valid (expected 1% to 100%)"},
        {"/x/ notify=x", "'notify' takes no value"},
        {"/x/ phase=dns skip-mx", "phase: 'dns' is not valid (expected greeting, helo, starttls, "
                                  "mail, rcpt, data or end-of-data, several separated by |)"},
    };
    struct reply_rule r;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct err e = {0};
        assert_int_equal(reply_rule_parse(sv_of(good[i].text), &r, &e), 0);
        assert_sv_equal(r.regex, good[i].regex);
        assert_int_equal(r.phases, good[i].phases);
        assert_int_equal(r.actions, good[i].actions);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct err e = {0};
        assert_int_equal(reply_rule_parse(sv_of(bad[i].text), &r, &e), ERR_SYNTAX);
        assert_string_equal(e.text, bad[i].error);
    }
    assert_int_equal(reply_rule_parse(SV("/x/ mode=backoff,backoff-to-normal-after=1h,defer-queue="
                                         "5m,disable-source-ip,reenable-after=2h,retry-after=3m,"
                                         "rate=50%,suspend-pipe=10s"),
                                      &r, NULL),
                     0);
    assert_int_equal(r.backoff_to_normal_after_ms, 3600000);
    assert_int_equal(r.defer_queue_ms, 300000);
    assert_int_equal(r.reenable_after_ms, 7200000);
    assert_int_equal(r.retry_after_ms, 180000);
    assert_int_equal(r.rate_percent, 50);
    assert_int_equal(r.suspend_pipe_ms, 10000);
}

static void long_rule(void **state)
{
    char text[REPLY_RULE_MAX + 2];
    struct reply_rule r;
    struct err e;
    (void)state;
    memset(text, 'x', sizeof(text));
    text[0] = '/';
    memcpy(text + REPLY_RULE_MAX - 9, "/ skip-mx ", 10);
    assert_int_equal(reply_rule_parse(sv(text, REPLY_RULE_MAX), &r, &e), 0);
    assert_int_equal(r.regex.len, REPLY_RULE_MAX - 10);
    memcpy(text + REPLY_RULE_MAX - 8, "/ skip-mx", 9);
    assert_int_equal(reply_rule_parse(sv(text, REPLY_RULE_MAX + 1), &r, &e), ERR_SYNTAX);
    assert_string_equal(e.text, "rule is too long (at most 2000 bytes)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(retry),       cmocka_unit_test(rates),
        cmocka_unit_test(single),      cmocka_unit_test(data_rate),
        cmocka_unit_test(ranges),      cmocka_unit_test(members_and_patterns),
        cmocka_unit_test(reply_rules), cmocka_unit_test(long_rule),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
