/*
 * What TLS has to be on the way to each host: settings, TLSA records and MTA-STS policies put together
 * where the hosts of a connection are chosen; and queues that wait because nothing is good enough.
 */
#include "engine_fakes.h"

#define HEAD                                                                              \
    "[pmta]\nhost-name = me.example\n[listener 127.0.0.1:2525]\n"                         \
    "[source 127.0.0.1]\nalways-allow-relaying = yes\n[pipe bulk]\nmax-queued = 100000\n" \
    "[virtual-mta mta1]\n[domain *]\nretry-after = 10m\nmax-smtp-out = 5\n"

static const char two_hosts[] = "mx1.d.example 10,mx2.d.example 20";

static uint8_t digest[32] = {1, 2, 3};
static struct tlsa_record record = {3, 1, 1, {(const char *)digest, sizeof(digest)}};
static struct strview patterns[] = {{"mx1.d.example", 13}};

static struct tls_policy sts(enum sts_mode mode)
{
    return (struct tls_policy){
        .sts = {.mode = mode, .id = SV("1"), .max_age_s = 86400, .mx = patterns, .mx_count = 1}};
}

struct row {
    const char *settings;
    enum sts_mode mode;    /* of the domain; mx1 is in the policy */
    enum dane_status dane; /* of mx1 */
    const char *expect;    /* needs of the connection, NULL: there is none */
    const char *text;      /* why */
};

static const struct row rows[] = {
    /* nothing is asked for */
    {"", STS_NONE, DANE_NONE, "mx1.d.example -;mx2.d.example -;", NULL},
    {"require-starttls = yes", STS_NONE, DANE_NONE,
     "mx1.d.example configured/none+ mx1.d.example;mx2.d.example configured/none+ mx2.d.example;",
     NULL},
    /* MTA-STS */
    {"", STS_ENFORCE, DANE_NONE, "mx1.d.example sts/roots!+ mx1.d.example;", NULL},
    {"", STS_TESTING, DANE_NONE,
     "mx1.d.example sts-testing/roots mx1.d.example;mx2.d.example sts-testing/roots mx2.d.example "
     "known;",
     NULL},
    {"require-starttls = yes", STS_TESTING, DANE_NONE,
     "mx1.d.example sts-testing/roots+ mx1.d.example;mx2.d.example sts-testing/roots+ "
     "mx2.d.example known;",
     NULL},
    {"use-mta-sts = no", STS_ENFORCE, DANE_NONE, "mx1.d.example -;mx2.d.example -;", NULL},
    {"tls-verify = sts", STS_TESTING, DANE_NONE, "mx1.d.example sts-testing/roots!+ mx1.d.example;",
     NULL},
    {"tls-verify = sts", STS_NONE, DANE_NONE, NULL, "its domain no MTA-STS policy"},
    {"tls-verify = sts\nuse-mta-sts = no", STS_ENFORCE, DANE_NONE,
     "mx1.d.example sts/roots!+ mx1.d.example;", NULL},
    /* DANE, before MTA-STS */
    {"", STS_NONE, DANE_USABLE,
     "mx1.d.example dane/dane!+ mx1.d.example base.example;mx2.d.example -;", NULL},
    {"", STS_ENFORCE, DANE_USABLE, "mx1.d.example dane/dane!+ mx1.d.example base.example;", NULL},
    {"", STS_ENFORCE, DANE_UNUSABLE, "mx1.d.example dane/none!+ mx1.d.example;", NULL},
    {"", STS_NONE, DANE_FAILED, "mx2.d.example -;", NULL},
    {"", STS_ENFORCE, DANE_FAILED, NULL,
     "mx2.d.example is not used: the MTA-STS policy of d.example"},
    {"use-dane = no", STS_NONE, DANE_FAILED, "mx1.d.example -;mx2.d.example -;", NULL},
    {"tls-verify = dane", STS_NONE, DANE_USABLE,
     "mx1.d.example dane/dane!+ mx1.d.example base.example;", NULL},
    {"tls-verify = dane", STS_ENFORCE, DANE_NONE, NULL, "has no TLSA records (tls-verify)"},
    {"tls-verify = dane", STS_ENFORCE, DANE_UNUSABLE, NULL, "has no TLSA records"},
    {"tls-verify = sts", STS_NONE, DANE_USABLE,
     "mx1.d.example dane/dane!+ mx1.d.example base.example;", NULL},
    /* the configuration alone */
    {"tls-verify = none", STS_ENFORCE, DANE_FAILED, "mx1.d.example -;mx2.d.example -;", NULL},
    {"tls-verify = none\nrequire-starttls = yes", STS_ENFORCE, DANE_USABLE,
     "mx1.d.example configured/none+ mx1.d.example;mx2.d.example configured/none+ mx2.d.example;",
     NULL},
    {"tls-verify = mandatory", STS_ENFORCE, DANE_FAILED,
     "mx1.d.example configured/roots!+ mx1.d.example;mx2.d.example configured/roots!+ "
     "mx2.d.example;",
     NULL},
    {"tls-verify = mandatory\ntls-match = nexthop, mail.example", STS_NONE, DANE_NONE,
     "mx1.d.example configured/roots!+ d.example mail.example;"
     "mx2.d.example configured/roots!+ d.example mail.example;",
     NULL},
    {"use-starttls = no", STS_ENFORCE, DANE_USABLE, "mx1.d.example -;mx2.d.example -;", NULL},
};

static void play_row(const struct row *r)
{
    struct dane_host dane = {.host = SV("mx1.d.example"), .status = r->dane};
    struct tls_policy p = sts(r->mode);
    char config[1000];

    if (r->dane == DANE_USABLE) {
        dane.base_domain = SV("base.example");
        dane.records = &record;
        dane.count = 1;
    }
    p.dane = &dane;
    p.dane_count = r->dane != DANE_NONE;
    snprintf(config, sizeof(config), "%s%s\n", HEAD, r->settings);
    void *state = config;
    assert_int_equal(engine_set_up(&state), 0);
    queue_mail("x@d.example", "mta1");
    play_policy(two_hosts, &p);
    if (r->expect && (!conns || strcmp(conns->tls, r->expect) != 0))
        fail_msg("row %zu: '%s'", (size_t)(r - rows), conns ? conns->tls : "no connection");
    if (!r->expect) {
        const struct queue *q = queue_named("d.example/mta1");
        if (conns || !q->last_text || !strstr(q->last_text, r->text))
            fail_msg("row %zu: '%s'", (size_t)(r - rows),
                     q->last_text ? q->last_text : "connected");
        assert_true(q->retry_at_ms > 0);
        assert_int_equal(live(), 1);
    }
    assert_int_equal(engine_tear_down(&state), 0);
}

static void needs_of_hosts(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        play_row(&rows[i]);
}

/* --- what is told --- */

static struct {
    unsigned count;
    char host[64], text[200], domain[64];
    enum tls_result result;
    enum sts_mode mode;
} told;

static void on_told(void *arg, struct strview domain, const struct tls_policy *policy,
                    const struct tls_told *t)
{
    (void)arg;
    told.count++;
    told.result = t->result;
    told.mode = policy ? policy->sts.mode : STS_NONE;
    snprintf(told.host, sizeof(told.host), "%s", t->host);
    snprintf(told.text, sizeof(told.text), "%s", t->text);
    snprintf(told.domain, sizeof(told.domain), "%.*s", SV_ARG(domain));
}

static void results_are_told(void **state)
{
    struct tls_policy p = sts(STS_ENFORCE);
    struct delivery_host host = {.name = "mx1.d.example"};
    (void)state;

    engine_on_tls(w.g, on_told, NULL);
    queue_mail("x@d.example", "mta1");
    play_policy(two_hosts, &p);
    assert_int_equal(told.count, 1); /* mx2, which is left out */
    assert_int_equal(told.result, TLS_RESULT_FAILURE);
    assert_string_equal(told.host, "mx2.d.example");
    conns->ops->tls_done(conns->owner, conns, &host, TLS_RESULT_VERIFIED, "TLSv1.3/X", "");
    assert_int_equal(told.count, 2);
    assert_int_equal(told.result, TLS_RESULT_VERIFIED);
    assert_int_equal(told.mode, STS_ENFORCE);
    assert_string_equal(told.domain, "d.example");
}

/* A policy that comes true later lets the mail go. */
static void waits_and_goes(void **state)
{
    struct tls_policy bad = sts(STS_ENFORCE), good = sts(STS_ENFORCE);
    struct strview all[] = {SV("*.d.example")};
    (void)state;

    queue_mail("x@d.example", "mta1");
    play_policy("mx9.d.example 10", &bad);
    assert_null(conns);
    good.sts.mx = all;
    pass(queue_named("d.example/mta1")->retry_at_ms - clock_wall_ms() + 1);
    play_policy("mx9.d.example 10", &good);
    assert_non_null(conns);
    assert_string_equal(conns->tls, "mx9.d.example sts/roots!+ mx9.d.example;");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(needs_of_hosts),
        ENGINE_CASE_WITH(results_are_told, HEAD),
        ENGINE_CASE_WITH(waits_and_goes, HEAD),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
