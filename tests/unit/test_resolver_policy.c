/*
 * What the resolver makes of TLSA, TXT, PTR and the AD bit, from packets written down here, and the
 * life of MTA-STS policies against a fake clock, a fake name server and a fake web.
 */
#include "unit.h"

#include "base/clock.h"
#include "dane.h"
#include "post.h"
#include "resolve.h"

#include <stdio.h>

enum { NOW_MS = 1795233906 };

/* --- packets --- */

struct packet {
    uint8_t bytes[2048];
    size_t len;
};

static void put(struct packet *p, const void *bytes, size_t n)
{
    assert_true(p->len + n <= sizeof(p->bytes));
    memcpy(p->bytes + p->len, bytes, n);
    p->len += n;
}

static void put16(struct packet *p, unsigned n)
{
    put(p, (uint8_t[]){(uint8_t)(n >> 8), (uint8_t)n}, 2);
}

/* An answer without records to the query: flags are those of RFC 1035 section 4.1.1. */
static struct packet reply_to(const struct query *q, unsigned flags)
{
    struct packet p = {.len = 0};

    put16(&p, q->id);
    put16(&p, flags);
    put(&p, (uint8_t[]){0, 1, 0, 0, 0, 0, 0, 0}, 8);
    put(&p, q->wire + 12, q->question_bytes);
    return p;
}

/* owner: NULL is the name of the question. */
static void put_record(struct packet *p, const char *owner, unsigned type, const void *data,
                       size_t len)
{
    uint8_t wire[DOMAIN_SIZE];

    p->bytes[7]++; /* ANCOUNT */
    if (owner)
        put(p, wire, domain_to_wire(owner, wire));
    else
        put16(p, 0xc00c);
    put16(p, type);
    put(p, (uint8_t[]){0, 1, 0, 0, 1, 44}, 6); /* IN, 300 s */
    put16(p, (unsigned)len);
    put(p, data, len);
}

static struct query query_for(const char *name, enum query_type type)
{
    struct query q;
    assert_int_equal(query_build(&q, name, type, true), 0);
    return q;
}

enum { PLAIN = 0x8180, AD = 0x81a0, SERVFAIL = 0x8182, NXDOMAIN = 0x8183 };

static struct answer *parsed(const struct query *q, const struct packet *p)
{
    struct answer *a = answer_parse(q, p->bytes, p->len);
    assert_non_null(a);
    return a;
}

static void txt_is_joined(void **state)
{
    struct query q = query_for("t.test", QUERY_TXT);
    struct packet p = reply_to(&q, PLAIN);
    (void)state;

    put_record(&p, NULL, QUERY_TXT,
               "\x04v=ab\x00\x03"
               "cde",
               10);
    put_record(&p, NULL, QUERY_TXT, "\x00", 1);
    struct answer *a = parsed(&q, &p);
    assert_int_equal(a->status, ANSWER_OK);
    assert_int_equal(a->count, 2);
    assert_int_equal(a->records[0].bytes, 7);
    assert_memory_equal(a->records[0].data, "v=abcde", 7);
    assert_int_equal(a->records[1].bytes, 0);
    assert_false(a->authenticated);
    assert_string_equal(a->text, "");
    answer_unref(a);
}

static void tlsa_with_ad_bit_through_an_alias(void **state)
{
    uint8_t data[35] = {3, 1, 1}, target[DOMAIN_SIZE];
    struct query q = query_for("_25._tcp.mx.test", QUERY_TLSA);
    struct packet p = reply_to(&q, AD);
    (void)state;

    put_record(&p, NULL, QUERY_CNAME, target, domain_to_wire("_dane.other.test", target));
    put_record(&p, "_dane.other.test", QUERY_TLSA, data, sizeof(data));
    put_record(&p, "unrelated.test", QUERY_TLSA, data, sizeof(data));
    struct answer *a = parsed(&q, &p);
    assert_int_equal(a->count, 1);
    assert_int_equal(a->records[0].bytes, 35);
    assert_true(a->authenticated);
    assert_string_equal(a->text, "_dane.other.test");
    answer_unref(a);
}

static void ptr_in_a_delegated_zone(void **state)
{
    uint8_t wire[DOMAIN_SIZE];
    struct query q = query_for("5.2.0.192.in-addr.arpa", QUERY_PTR);
    struct packet p = reply_to(&q, PLAIN);
    (void)state;

    put_record(&p, NULL, QUERY_CNAME, wire, domain_to_wire("5.0/25.2.0.192.in-addr.arpa", wire));
    put_record(&p, "5.0/25.2.0.192.in-addr.arpa", QUERY_PTR, wire,
               domain_to_wire("out.example.test", wire));
    struct answer *a = parsed(&q, &p);
    assert_int_equal(a->count, 1);
    assert_string_equal(a->records[0].host, "out.example.test");
    answer_unref(a);
}

static void records_that_are_usable(void **state)
{
    static const struct {
        uint8_t usage, selector, matching;
        uint16_t bytes;
        bool usable;
    } rows[] = {
        {3, 1, 1, 32, true},       {3, 0, 2, 64, true},  {2, 0, 1, 32, true},
        {2, 1, 0, 300, true},      {0, 1, 1, 32, false}, {1, 0, 1, 32, false},
        {4, 0, 1, 32, false},      {3, 2, 1, 32, false}, {3, 1, 3, 32, false},
        {3, 1, 1, 31, false},      {3, 1, 1, 33, false}, {3, 1, 2, 32, false},
        {3, 1, 1, 0, false},       {3, 0, 0, 0, false},  {3, 0, 0, 5000, false},
        {255, 255, 255, 1, false},
    };
    static uint8_t data[8192];
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        data[0] = rows[i].usage;
        data[1] = rows[i].selector;
        data[2] = rows[i].matching;
        struct answer_record r = {.bytes = (uint16_t)(rows[i].bytes + 3), .data = data};
        assert_int_equal(dane_record_is_usable(&r), rows[i].usable);
    }
}

static void sts_records(void **state)
{
    static const struct {
        const char *text;
        int rc;
        const char *id;
    } rows[] = {
        {"v=STSv1; id=20160831085700Z;", 1, "20160831085700Z"},
        {"v=STSv1;id=1", 1, "1"},
        {"v=STSv1 ; x=y ; id=ab ;", 1, "ab"},
        {"v=STSv1; id=12345678901234567890123456789012", 1, "12345678901234567890123456789012"},
        {"v=STSv1; id=123456789012345678901234567890123", ERR_SYNTAX, ""},
        {"v=STSv1; id=", ERR_SYNTAX, ""},
        {"v=STSv1; id=a-b", ERR_SYNTAX, ""},
        {"v=STSv1; id=1; id=2", ERR_SYNTAX, ""},
        {"v=STSv1;", ERR_SYNTAX, ""},
        {"v=STSv1; junk", ERR_SYNTAX, ""},
        {"v=STSv1", 0, ""},
        {" v=STSv1; id=1", 0, ""},
        {"v=STSv2; id=1", 0, ""},
        {"v=spf1 -all", 0, ""},
        {"", 0, ""},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct strview id;
        assert_int_equal(sts_record_parse(sv_of(rows[i].text), &id), rows[i].rc);
        if (rows[i].rc > 0)
            assert_sv_equal(id, rows[i].id);
    }
}

/* --- a world for the engine --- */

static struct world {
    struct resolve *r;
    struct resolve_client *client;
    struct { /* questions that were sent */
        struct query query;
        exchange_cb cb;
        void *arg;
    } sent[16];
    size_t sent_count;
    const char *id; /* of the TXT record; NULL: none, "fail": SERVFAIL */
    unsigned flags; /* of good answers */
    struct {        /* the fetch under way */
        sts_fetch_cb cb;
        void *arg;
    } fetch;
    unsigned fetches, cancelled;
    struct buf saved;
    unsigned forgotten;
    struct { /* the last answer */
        unsigned count;
        enum lookup_status status;
        char text[200];
        struct buf records;
        struct buf policy;
        enum route_status route;
        uint32_t ttl_s;
    } got;
} w;

static struct exchange *fake_send(void *owner, const struct query *q, const struct sockaddr *to,
                                  bool tcp, int64_t timeout_ms, exchange_cb cb, void *arg)
{
    (void)owner, (void)to, (void)tcp, (void)timeout_ms;
    assert_true(w.sent_count < ARRAY_LEN(w.sent));
    w.sent[w.sent_count].query = *q;
    w.sent[w.sent_count].cb = cb;
    w.sent[w.sent_count++].arg = arg;
    return (struct exchange *)&w;
}

static void fake_cancel(void *owner, struct exchange *x)
{
    (void)owner, (void)x;
}

static void fake_wake(void *owner)
{
    (void)owner;
}

static const struct exchange_ops exchange = {fake_send, fake_cancel, fake_wake};

static struct fetch *fake_fetch(void *owner, const char *domain, sts_fetch_cb cb, void *arg)
{
    (void)owner;
    assert_string_equal(domain, "d.test");
    w.fetch.cb = cb;
    w.fetch.arg = arg;
    w.fetches++;
    return (struct fetch *)&w.fetch;
}

static void fake_cancel_fetch(void *owner, struct fetch *f)
{
    (void)owner, (void)f;
    w.cancelled++;
}

static void fake_save(void *owner, const char *domain, struct strview bytes)
{
    (void)owner, (void)domain;
    buf_reset(&w.saved);
    buf_append_sv(&w.saved, bytes);
}

static void fake_forget(void *owner, const char *domain)
{
    (void)owner, (void)domain;
    w.forgotten++;
}

static const struct sts_ops sts_operations = {fake_fetch, fake_cancel_fetch, fake_save,
                                              fake_forget};

static void on_route(void *owner, uint64_t token, const struct route_result *r)
{
    (void)owner, (void)token;
    w.got.count++;
    w.got.route = r->status;
    w.got.ttl_s = r->ttl_s;
    buf_reset(&w.got.policy);
    buf_append_sv(&w.got.policy, buf_view(&r->policy));
}

static void on_answer(void *owner, uint64_t token, const struct ask_result *r)
{
    (void)owner, (void)token;
    w.got.count++;
    w.got.status = r->status;
    snprintf(w.got.text, sizeof(w.got.text), "%.190s", r->text);
    buf_reset(&w.got.records);
    buf_append_sv(&w.got.records, buf_view(&r->records));
}

static int set_up(void **state)
{
    static const struct resolve_replies replies = {on_route, on_answer};
    struct resolve_limits limits = RESOLVE_LIMITS_DEFAULT;
    struct servers servers = {0};
    struct sockaddr_storage addr;
    (void)state;

    memset(&w, 0, sizeof(w));
    w.flags = PLAIN;
    clock_fake_set(NOW_MS * 1000LL);
    w.r = resolve_new(&exchange, &w, &limits);
    assert_int_equal(server_parse(SV("127.0.0.1"), &addr, NULL), 0);
    servers_add(&servers, &addr, NULL);
    resolve_set_servers(w.r, &servers, 1000, true);
    sts_set_ops(resolve_sts(w.r), &sts_operations, &w);
    w.client = resolve_client_open(w.r, &replies, &w);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    resolve_client_close(w.client);
    resolve_free(w.r);
    buf_free(&w.saved);
    buf_free(&w.got.records);
    buf_free(&w.got.policy);
    return 0;
}

static struct packet packet_for(const struct query *q)
{
    char text[80];
    struct packet p = reply_to(q, w.flags);

    if (q->type == QUERY_TXT && w.id && strcmp(w.id, "fail") == 0)
        return reply_to(q, SERVFAIL);
    if (q->type == QUERY_TXT && w.id) {
        int n = snprintf(text, sizeof(text), "?v=STSv1; id=%s;", w.id);
        text[0] = (char)(n - 1);
        put_record(&p, NULL, QUERY_TXT, text, (size_t)n);
    } else if (q->type == QUERY_A) {
        put_record(&p, NULL, QUERY_A, "\x7f\0\0\1", 4);
    } else if (q->type == QUERY_AAAA) {
        put_record(&p, NULL, QUERY_AAAA, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1", 16);
    } else if (q->type == QUERY_MX) {
        put_record(&p, NULL, QUERY_MX, "\0\x0a\2mx\1d\4test", 13);
    }
    return p;
}

/* The name server answers what was asked, and what that leads to. */
static void play_dns(void)
{
    resolve_run(w.r);
    while (w.sent_count) {
        w.sent_count--;
        struct query q = w.sent[w.sent_count].query;
        struct packet p = packet_for(&q);
        struct exchange_result r = {0, QUERY_ANSWER, p.bytes, p.len, 1};
        w.sent[w.sent_count].cb(w.sent[w.sent_count].arg, &r);
        resolve_run(w.r);
    }
}

/* Asks for the policy and lets the DNS answer. */
static void ask(void)
{
    struct ask_result r;

    w.got.count = 0;
    if (resolve_cached_answer(w.r, LOOKUP_STS_POLICY, SV("d.test"), &r)) {
        on_answer(NULL, 0, &r);
        ask_result_free(&r);
        return;
    }
    assert_int_equal(resolve_ask(w.client, 1, LOOKUP_STS_POLICY, SV("d.test")), 0);
    play_dns();
}

static void fetched(const char *failure, const char *text)
{
    struct sts_fetched f = {failure, text, sv_of(text)};
    sts_fetch_cb cb = w.fetch.cb;

    assert_non_null(cb);
    w.fetch.cb = NULL;
    cb(w.fetch.arg, &f);
    resolve_run(w.r);
}

static void pass(int64_t seconds)
{
    clock_fake_advance(seconds * 1000);
    sts_tick(resolve_sts(w.r));
    resolve_run(w.r);
}

#define POLICY(max_age) "version: STSv1\nmode: enforce\nmx: mx.d.test\nmax_age: " #max_age "\n"

static void expect_policy(const char *text)
{
    assert_int_equal(w.got.count, 1);
    assert_int_equal(w.got.status, LOOKUP_OK);
    assert_int_equal(buf_len(&w.got.records), strlen(text) + 2);
    assert_memory_equal(buf_data(&w.got.records) + 2, text, strlen(text));
}

static void policy_is_kept_and_refreshed(void **state)
{
    (void)state;
    w.id = "1";
    ask();
    assert_int_equal(w.got.count, 0);
    fetched(NULL, POLICY(604800));
    expect_policy(POLICY(604800));
    pass(3600);
    ask();
    expect_policy(POLICY(604800));
    assert_int_equal(w.fetches, 1);

    pass(86400); /* a day later it is fetched again, without being asked for */
    assert_int_equal(w.fetches, 2);
    fetched("sts-policy-fetch-error", "down");
    ask();
    expect_policy(POLICY(604800));
    pass(299);
    assert_int_equal(w.fetches, 2);
    pass(2);
    assert_int_equal(w.fetches, 3);
    fetched(NULL, POLICY(1209600));
    ask();
    expect_policy(POLICY(1209600));
}

static void policy_outlives_its_record_until_max_age(void **state)
{
    static const char *const records[] = {NULL, "fail", "2"};
    (void)state;

    w.id = "1";
    ask();
    fetched(NULL, POLICY(10000));
    for (size_t i = 0; i < ARRAY_LEN(records); i++) {
        w.id = records[i];
        pass(1000);
        ask();
        if (w.fetch.cb)
            fetched("sts-webpki-invalid", "expired");
        play_dns();
        expect_policy(POLICY(10000));
    }
    pass(8000);
    if (w.fetch.cb)
        fetched("sts-webpki-invalid", "expired");
    pass(1);
    assert_int_equal(w.forgotten, 1);
    w.id = NULL;
    pass(1000);
    ask();
    assert_int_equal(w.got.status, LOOKUP_NO_DATA);
}

static void failures_are_tried_again_after_five_minutes_or_with_another_id(void **state)
{
    (void)state;
    w.id = "1";
    ask();
    fetched("sts-policy-fetch-error", "HTTP status 500");
    assert_int_equal(w.got.status, LOOKUP_TEMPORARY);
    assert_string_equal(w.got.text, "sts-policy-fetch-error: HTTP status 500");
    pass(200);
    ask();
    assert_int_equal(w.got.count, 1);
    assert_int_equal(w.fetches, 1);
    pass(120);
    ask();
    assert_int_equal(w.fetches, 2);
    fetched(NULL, "version: STSv1\nmode: odd\n");
    assert_int_equal(w.got.status, LOOKUP_TEMPORARY);
    assert_non_null(strstr(w.got.text, "sts-policy-invalid: "));
    w.id = "2";
    pass(299); /* the record's TTL is 300, counted from the last look at it */
    pass(2);
    ask();
    assert_int_equal(w.fetches, 3);
    fetched(NULL, POLICY(600));
    expect_policy(POLICY(600));
}

static void policies_survive_a_restart(void **state)
{
    char copy[512];
    (void)state;

    w.id = "1";
    ask();
    fetched(NULL, POLICY(604800));
    snprintf(copy, sizeof(copy), "%s", buf_data(&w.saved));
    tear_down(NULL);
    set_up(NULL);
    w.id = "1";
    clock_fake_advance(86400 * 1000LL * 3);
    sts_set_loading(resolve_sts(w.r));
    ask(); /* waits for what is being read */
    assert_int_equal(w.got.count, 0);
    sts_restore(resolve_sts(w.r), "d.test", sv_of(copy));
    sts_loaded(resolve_sts(w.r));
    expect_policy(POLICY(604800));
    assert_int_equal(w.fetches, 0);
    pass(1); /* three days old: it is time */
    assert_int_equal(w.fetches, 1);
    fetched("sts-policy-fetch-error", "down");

    clock_fake_advance(86400 * 1000LL * 5);
    for (size_t cut = 0; cut < strlen(copy); cut += 3) {
        sts_restore(resolve_sts(w.r), "other.test", sv(copy, cut)); /* broken or over */
        assert_null(
            hash_find(&resolve_sts(w.r)->entries, hash_bytes("other.test", 10), "other.test"));
    }
}

static void route_does_not_wait_long(void **state)
{
    struct route_request q = {ROUTE_MX, SV("d.test"), ROUTE_WANT_STS, 0};
    struct tls_policy policy;
    struct arena arena = {0};
    (void)state;

    w.id = "1";
    assert_int_equal(resolve_request(w.client, 1, &q), 0);
    play_dns();
    assert_int_equal(w.fetches, 1);
    pass(3);
    assert_int_equal(w.got.count, 0);
    pass(1);
    assert_int_equal(w.got.count, 1);
    assert_int_equal(w.got.route, ROUTE_OK);
    assert_int_equal(buf_len(&w.got.policy), 0);
    assert_int_equal(w.got.ttl_s, STS_PENDING_TTL_S);

    struct route_result r; /* who comes now does not wait at all */
    assert_true(resolve_cached(w.r, &q, &r));
    assert_int_equal(r.ttl_s, STS_PENDING_TTL_S);
    route_result_free(&r);

    fetched(NULL, POLICY(604800));
    assert_true(resolve_cached(w.r, &q, &r));
    assert_int_equal(tls_policy_decode(buf_view(&r.policy), &arena, &policy), 0);
    assert_int_equal(policy.sts.mode, STS_ENFORCE);
    assert_sv_equal(policy.sts.id, "1");
    assert_int_equal(policy.sts.mx_count, 1);
    route_result_free(&r);
    arena_free(&arena);
}

static void policies_have_a_limit(void **state)
{
    struct sts *s = resolve_sts(w.r);
    char name[32];
    struct buf saved = {0};
    (void)state;

    s->limits.domains = 10;
    buf_printf(&saved, "pmta-sts 1\nid 7\nfetched %lld\n\n" POLICY(604800),
               (long long)clock_wall_ms());
    for (int i = 0; i < 50; i++) {
        snprintf(name, sizeof(name), "n%d.test", i);
        sts_restore(s, name, buf_view(&saved));
    }
    assert_int_equal(s->entries.count, 10);
    assert_int_equal(s->evictions, 40);
    s->limits.bytes = 1;
    sts_restore(s, "last.test", buf_view(&saved));
    assert_int_equal(s->entries.count, 0);
    assert_int_equal(s->bytes, 0);
    buf_free(&saved);
}

/* --- trust --- */

static void ad_bit_counts_only_where_it_is_trusted(void **state)
{
    struct servers servers = resolve_lookups(w.r)->servers;
    struct ask_result r;
    (void)state;

    w.flags = AD;
    for (int trusted = 1; trusted >= 0; trusted--) {
        resolve_set_servers(w.r, &servers, 1000, trusted);
        assert_int_equal(resolve_ask(w.client, 1, LOOKUP_A, SV("a.test")), 0);
        play_dns();
        assert_true(resolve_cached_answer(w.r, LOOKUP_A, SV("A.test"), &r));
        assert_int_equal(r.secure, trusted);
        ask_result_free(&r);
    }
    /* what an untrusted server said before is not believed afterwards */
    resolve_set_servers(w.r, &servers, 1000, true);
    assert_false(resolve_cached_answer(w.r, LOOKUP_A, SV("a.test"), &r));
}

/* --- addresses of reports --- */

static void post_urls(void **state)
{
    static const struct {
        const char *url, *host, *path;
        uint16_t port;
    } rows[] = {
        {"https://r.example/v1/report?a=b", "r.example", "/v1/report?a=b", 443},
        {"HTTPS://r.example:8443", "r.example", "/", 8443},
        {"https://r.example:8443/", "r.example", "/", 8443},
        {"http://r.example/", NULL, NULL, 0},
        {"https://", NULL, NULL, 0},
        {"https:///x", NULL, NULL, 0},
        {"https://user@r.example/", NULL, NULL, 0},
        {"https://user:pass@r.example/", NULL, NULL, 0},
        {"https://127.0.0.1/", NULL, NULL, 0},
        {"https://2130706433/", NULL, NULL, 0},
        {"https://[::1]/", NULL, NULL, 0},
        {"https://r.example:0/", NULL, NULL, 0},
        {"https://r.example:65536/", NULL, NULL, 0},
        {"https://r.example:/", NULL, NULL, 0},
        {"https://r.example/a b", NULL, NULL, 0},
        {"https://r.example/a\r\nX: y", NULL, NULL, 0},
        {"https://r.example/#x", NULL, NULL, 0},
        {"https://r.example?x", NULL, NULL, 0},
        {"https://r.ex\xc3\xa4mple/", NULL, NULL, 0},
    };
    char host[DOMAIN_SIZE];
    const char *path;
    uint16_t port;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (post_url_parse(rows[i].url, host, &port, &path) != (rows[i].host != NULL))
            fail_msg("%s", rows[i].url);
        if (!rows[i].host)
            continue;
        assert_string_equal(host, rows[i].host);
        assert_string_equal(path, rows[i].path);
        assert_int_equal(port, rows[i].port);
    }
}

int main(void)
{
#define WITH_WORLD(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(txt_is_joined),
        cmocka_unit_test(tlsa_with_ad_bit_through_an_alias),
        cmocka_unit_test(ptr_in_a_delegated_zone),
        cmocka_unit_test(records_that_are_usable),
        cmocka_unit_test(sts_records),
        cmocka_unit_test(post_urls),
        WITH_WORLD(policy_is_kept_and_refreshed),
        WITH_WORLD(policy_outlives_its_record_until_max_age),
        WITH_WORLD(failures_are_tried_again_after_five_minutes_or_with_another_id),
        WITH_WORLD(policies_survive_a_restart),
        WITH_WORLD(route_does_not_wait_long),
        WITH_WORLD(policies_have_a_limit),
        WITH_WORLD(ad_bit_counts_only_where_it_is_trusted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
