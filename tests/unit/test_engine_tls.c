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
     "mx1.d.example dane/dane!+ mx1.d.example base.example d.example;mx2.d.example -;", NULL},
    {"", STS_ENFORCE, DANE_USABLE,
     "mx1.d.example dane/dane!+ mx1.d.example base.example d.example;", NULL},
    {"", STS_ENFORCE, DANE_UNUSABLE, "mx1.d.example dane/none!+ mx1.d.example;", NULL},
    {"", STS_NONE, DANE_FAILED, "mx2.d.example -;", NULL},
    {"", STS_ENFORCE, DANE_FAILED, NULL,
     "mx2.d.example is not used: the MTA-STS policy of d.example"},
    {"use-dane = no", STS_NONE, DANE_FAILED, "mx1.d.example -;mx2.d.example -;", NULL},
    {"tls-verify = dane", STS_NONE, DANE_USABLE,
     "mx1.d.example dane/dane!+ mx1.d.example base.example d.example;", NULL},
    {"tls-verify = dane", STS_ENFORCE, DANE_NONE, NULL, "has no TLSA records (tls-verify)"},
    {"tls-verify = dane", STS_ENFORCE, DANE_UNUSABLE, NULL, "has no TLSA records"},
    {"tls-verify = sts", STS_NONE, DANE_USABLE,
     "mx1.d.example dane/dane!+ mx1.d.example base.example d.example;", NULL},
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

/* --- what messages ask for themselves (RFC 8689) --- */

static void queue_asking(uint8_t flags, const char *rcpts)
{
    struct envelope env = {.received_ms = clock_wall_ms(), .vmta = SV("mta1"), .flags = flags};
    queue_envelope(&env, rcpts);
}

static const struct row requiretls_rows[] = {
    /* names that nothing proves */
    {"", STS_NONE, DANE_NONE, NULL, "it was not proven whose server this is (tls-verify)"},
    {"tls-verify = none", STS_ENFORCE, DANE_USABLE, NULL, "(tls-verify = none)"},
    {"use-starttls = no", STS_ENFORCE, DANE_USABLE, NULL, "use-starttls = no"},
    /* a policy that is only tested is enforced for it */
    {"", STS_TESTING, DANE_NONE, "mx1.d.example sts-testing/roots!+ mx1.d.example;", NULL},
    {"", STS_ENFORCE, DANE_NONE, "mx1.d.example sts/roots!+ mx1.d.example;", NULL},
    /* the MX answer was validated: see play_requiretls */
    {"", STS_NONE, DANE_USABLE,
     "mx1.d.example dane/dane!+ mx1.d.example base.example d.example;"
     "mx2.d.example requiretls/roots!+ mx2.d.example;",
     NULL},
    {"", STS_NONE, DANE_UNUSABLE,
     "mx1.d.example requiretls/roots!+ mx1.d.example;"
     "mx2.d.example requiretls/roots!+ mx2.d.example;",
     NULL},
    {"tls-verify = mandatory", STS_NONE, DANE_NONE,
     "mx1.d.example configured/roots!+ mx1.d.example;mx2.d.example configured/roots!+ "
     "mx2.d.example;",
     NULL},
};

static void play_requiretls(const struct row *r)
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
    p.mx_secure = r->dane != DANE_NONE;
    snprintf(config, sizeof(config), "%s%s\n", HEAD, r->settings);
    void *state = config;
    assert_int_equal(engine_set_up(&state), 0);
    queue_asking(ENVELOPE_REQUIRETLS, "x@d.example");
    play_policy(two_hosts, &p);
    turn();
    if (r->expect && (!conns || strcmp(conns->tls, r->expect) != 0))
        fail_msg("row %zu: '%s'", (size_t)(r - requiretls_rows),
                 conns ? conns->tls : "no connection");
    if (!r->expect) {
        fake_reads();
        turn();
        assert_null(conns);
        assert_int_equal(live(), 0);
        assert_int_equal(fs.states[SPOOL_BOUNCED], 1);
        if (!strstr(fs.last_text, r->text))
            fail_msg("row %zu: '%s'", (size_t)(r - requiretls_rows), fs.last_text);
    }
    assert_int_equal(engine_tear_down(&state), 0);
}

static void needs_of_requiretls(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(requiretls_rows); i++)
        play_requiretls(&requiretls_rows[i]);
}

/* The DNS is in trouble: that may be over tomorrow, so it waits. */
static void requiretls_waits_for_the_dns(void **state)
{
    struct dane_host dane = {.host = SV("mx1.d.example"), .status = DANE_FAILED};
    struct tls_policy p = {.dane = &dane, .dane_count = 1, .mx_secure = true};
    (void)state;

    queue_asking(ENVELOPE_REQUIRETLS, "x@d.example");
    play_policy("mx1.d.example 10", &p);
    turn();
    assert_null(conns);
    assert_int_equal(live(), 1);
    assert_true(queue_named("d.example/mta1+requiretls")->retry_at_ms > 0);
}

static struct outcome refused(enum outcome_class class_)
{
    struct outcome o = outcome(class_, PHASE_HELO, 0, "the server does not offer it");
    o.enhanced = (struct enhanced_code){class_ == OUTCOME_BOUNCED ? 5 : 4, 7, 30};
    return o;
}

/* No host can do it: the mail that asks for it bounces, the other goes on. */
static void requiretls_has_its_own_queue(void **state)
{
    struct tls_policy p = sts(STS_ENFORCE);
    struct outcome o = refused(OUTCOME_BOUNCED);
    (void)state;

    queue_mail("usual@d.example", "mta1");
    play_policy(two_hosts, &p);
    struct delivery_conn *usual = establish();
    struct delivery_job job = pull(usual);
    queue_asking(ENVELOPE_REQUIRETLS, "a@d.example");
    turn();
    assert_int_equal(opened, 2);
    assert_string_equal(conns->queue, "d.example/mta1+requiretls");
    end_conn(conns, &o);
    turn();
    fake_reads();
    turn();
    assert_int_equal(fs.states[SPOOL_BOUNCED], 1);
    answer(usual, &job, outcome(OUTCOME_DELIVERED, PHASE_END_OF_DATA, 250, "ok"));
    assert_int_equal(live(), 0);
    end_conn(usual, NULL);
}

/* One of the hosts could not be asked. */
static void requiretls_waits_when_a_host_may_do(void **state)
{
    struct tls_policy p = sts(STS_ENFORCE);
    struct outcome o = refused(OUTCOME_DEFERRED);
    (void)state;

    queue_asking(ENVELOPE_REQUIRETLS, "a@d.example");
    play_policy(two_hosts, &p);
    end_conn(conns, &o);
    turn();
    assert_int_equal(live(), 1);
    assert_true(queue_named("d.example/mta1+requiretls")->retry_at_ms > 0);
}

/* Limits are those of the usual queue, and so is a pause. */
static void variants_share_limits_and_pauses(void **state)
{
    struct tls_policy p = sts(STS_ENFORCE);
    (void)state;

    queue_mail("usual@d.example", "mta1");
    play_policy(two_hosts, &p);
    struct delivery_conn *usual = establish();
    struct delivery_job job = pull(usual);
    queue_asking(ENVELOPE_TLS_OPTIONAL, "a@d.example");
    if (w.token)
        play_policy(two_hosts, &p);
    assert_int_equal(opened, 1); /* max-smtp-out = 1 */
    answer(usual, &job, outcome(OUTCOME_DELIVERED, PHASE_END_OF_DATA, 250, "ok"));
    end_conn(usual, NULL);
    turn();
    assert_int_equal(opened, 2);
    assert_string_equal(conns->queue, "d.example/mta1+tls-optional");
    assert_string_equal(conns->tls, "mx1.d.example -;mx2.d.example -;");
    assert_string_equal(queue_identity(queue_named("d.example/mta1+tls-optional")),
                        "d.example/mta1");
    const char *wider;
    engine_pause_queues(w.g, SV("d.example/mta1"));
    assert_true(queue_named("d.example/mta1+tls-optional")->paused);
    engine_resume_queues(w.g, SV("d.example/mta1"), &wider);
    assert_false(queue_named("d.example/mta1+tls-optional")->paused);
    end_conn(conns, NULL);
}

/* An operator's word stands above TLS-Required: No. */
static void optional_where_tls_is_configured(void **state)
{
    struct tls_policy p = sts(STS_ENFORCE);
    (void)state;

    queue_asking(ENVELOPE_TLS_OPTIONAL, "a@d.example");
    play_policy(two_hosts, &p);
    assert_string_equal(conns->queue, "d.example/mta1");
    assert_string_equal(conns->tls, "mx1.d.example sts/roots!+ mx1.d.example;");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(needs_of_hosts),
        ENGINE_CASE_WITH(results_are_told, HEAD),
        ENGINE_CASE_WITH(waits_and_goes, HEAD),
        cmocka_unit_test(needs_of_requiretls),
        ENGINE_CASE_WITH(requiretls_waits_for_the_dns, HEAD),
        ENGINE_CASE_WITH(requiretls_has_its_own_queue, HEAD),
        ENGINE_CASE_WITH(requiretls_waits_when_a_host_may_do, HEAD),
        ENGINE_CASE_WITH(variants_share_limits_and_pauses, HEAD "max-smtp-out = 1\n"),
        ENGINE_CASE_WITH(optional_where_tls_is_configured, HEAD "require-starttls = yes\n"),
        ENGINE_CASE_WITH(optional_where_tls_is_configured, HEAD "allow-tls-required-no = no\n"),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
