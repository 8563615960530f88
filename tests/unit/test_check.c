/*
 * Sender checks against a DNS of the test's own: each verdict of each topic, the time limit, what is
 * proposed, and the quiet watch.
 */
#include "unit.h"

#include "base/log.h"
#include "check/check_int.h"
#include "check/dkim_record.h"
#include "check/watch.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <unistd.h>

/* --- the DNS --- */

/* "!" does not answer; "-" the name is there without data; "s…" of TLSA: signed */
struct row {
    const char *name;
    enum lookup_kind kind;
    const char *data;
};

static const struct row *zone;
static struct list asked;
static unsigned asked_count, under_way, most_under_way;
static char asked_names[4096];
static bool is_silent;

void lookup_start(struct routes *r, struct lookup *l, enum lookup_kind kind, struct strview name)
{
    (void)r;
    l->kind = kind;
    l->name = xstrndup(name.ptr, name.len);
    list_push_back(&asked, &l->link);
    asked_count++;
    under_way++;
    most_under_way = MAX_OF(most_under_way, under_way);
    size_t n = strlen(asked_names);
    snprintf(asked_names + n, sizeof(asked_names) - n, "%s/%s ", lookup_kind_name(kind), l->name);
}

void lookup_cancel(struct lookup *l)
{
    list_remove(&l->link);
    under_way--;
    free(l->name);
}

static void add_data(struct lookup_result *r, char *to, enum lookup_kind kind, const char *data)
{
    size_t len = strlen(data), head = kind == LOOKUP_MX ? 2 : 0;

    if (kind == LOOKUP_A || kind == LOOKUP_AAAA) {
        assert_int_equal(inet_pton(kind == LOOKUP_A ? AF_INET : AF_INET6, data, to), 1);
        len = kind == LOOKUP_A ? 4 : 16;
    } else {
        memset(to, 0, 2);
        memcpy(to + head, data, len);
    }
    r->secure = kind == LOOKUP_TLSA && data[0] == 's';
    r->records[r->count++] = sv(to, len + head);
}

static void answer_one(struct lookup *l)
{
    static char bytes[16][600];
    struct strview records[16];
    struct lookup_result r = {.status = LOOKUP_NO_DOMAIN, .records = records};

    for (const struct row *z = zone; z && z->name; z++) {
        if (strcasecmp(z->name, l->name) != 0)
            continue;
        if (r.status == LOOKUP_NO_DOMAIN)
            r.status = LOOKUP_NO_DATA;
        if (z->kind != l->kind || z->data[0] == '-')
            continue;
        r.status = z->data[0] == '!' ? LOOKUP_TEMPORARY : LOOKUP_OK;
        r.text = SV("SERVFAIL");
        if (r.status == LOOKUP_OK)
            add_data(&r, bytes[r.count], l->kind, z->data);
    }
    under_way--;
    free(l->name);
    l->done(l, &r);
}

/* --- running a check --- */

enum { KEPT = 64 };

static struct {
    bool is_done;
    size_t count;
    struct {
        enum check_topic topic;
        enum check_level level;
        char subject[128], text[400], record_name[200], record[700];
        bool has_advice;
    } f[KEPT];
} got;

static void keep(struct check *c, void *arg)
{
    const struct check_finding *const *all = check_findings(c, &got.count);

    assert_ptr_equal(arg, &got);
    assert_false(got.is_done);
    got.is_done = true;
    assert_true(got.count <= KEPT);
    for (size_t i = 0; i < got.count; i++) {
        got.f[i].topic = all[i]->topic;
        got.f[i].level = all[i]->level;
        got.f[i].has_advice = all[i]->advice != NULL;
        snprintf(got.f[i].subject, sizeof(got.f[i].subject), "%s", all[i]->subject);
        snprintf(got.f[i].text, sizeof(got.f[i].text), "%s", all[i]->text);
        snprintf(got.f[i].record_name, sizeof(got.f[i].record_name), "%s",
                 all[i]->record_name ? all[i]->record_name : "");
        snprintf(got.f[i].record, sizeof(got.f[i].record), "%s",
                 all[i]->record ? all[i]->record : "");
        /* a problem comes with what to do, a record with its name */
        assert_true(all[i]->level < CHECK_LEVEL_WARN || all[i]->advice);
        assert_int_equal(!all[i]->record, !all[i]->record_name);
    }
}

static void reset_dns(const struct row *z)
{
    zone = z;
    list_init(&asked);
    asked_count = under_way = most_under_way = 0;
    asked_names[0] = '\0';
    is_silent = false;
    memset(&got, 0, sizeof(got));
}

static void turn(void)
{
    struct list *l = is_silent ? NULL : list_pop_front(&asked);

    if (l)
        answer_one(list_entry(l, struct lookup, link));
    uv_run(uv_default_loop(), l ? UV_RUN_NOWAIT : UV_RUN_ONCE);
}

static void run(const struct row *z, const struct check_request *req)
{
    reset_dns(z);
    check_start(uv_default_loop(), NULL, req, keep, &got);
    assert_false(got.is_done);
    while (!got.is_done)
        turn();
    uv_run(uv_default_loop(), UV_RUN_NOWAIT); /* it goes */
    assert_int_equal(under_way, 0);
}

static struct check_source source(const char *ip, const char *helo)
{
    struct check_source s = {.vmta = "mta1", .helo = helo};
    struct sockaddr_in *v4 = (struct sockaddr_in *)&s.ip;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&s.ip;

    if (inet_pton(AF_INET, ip, &v4->sin_addr) == 1)
        s.ip.ss_family = AF_INET;
    else if (inet_pton(AF_INET6, ip, &v6->sin6_addr) == 1)
        s.ip.ss_family = AF_INET6;
    return s;
}

static size_t count_level(enum check_level level)
{
    size_t n = 0;
    for (size_t i = 0; i < got.count; i++)
        n += got.f[i].level == level;
    return n;
}

static void print_all(void)
{
    for (size_t i = 0; i < got.count; i++)
        print_error("%s %s %s: %s\n", check_topic_name(got.f[i].topic),
                    check_level_name(got.f[i].level), got.f[i].subject, got.f[i].text);
}

/* The index of a finding with this text, whose level has to be that. */
static size_t find(enum check_topic topic, enum check_level level, const char *text)
{
    for (size_t i = 0; i < got.count; i++)
        if (got.f[i].topic == topic && strstr(got.f[i].text, text)) {
            if (got.f[i].level != level)
                print_all();
            assert_int_equal(got.f[i].level, level);
            return i;
        }
    print_error("no '%s' in:\n", text);
    print_all();
    fail();
    return 0;
}

/* --- all is right, all is wrong --- */

static const struct check_key good_key = {"s1", "example.com", "rsa-sha256", 2048, "QUJD"};

#define GOOD_NAMES                                              \
    {"1.2.0.192.in-addr.arpa", LOOKUP_PTR, "out1.example.com"}, \
        {"out1.example.com", LOOKUP_A, "192.0.2.1"},            \
    {                                                           \
        "out1.example.com", LOOKUP_TXT, "v=spf1 a -all"         \
    }

#define GOOD_REST                                                                                \
    GOOD_NAMES, {"example.com", LOOKUP_TXT, "v=spf1 ip4:192.0.2.0/24 -all"},                     \
        {"s1._domainkey.example.com", LOOKUP_TXT, "v=DKIM1; k=rsa; p=QU JD="},                   \
        {"example.com", LOOKUP_MX, "mx.example.com"}, {"mx.example.com", LOOKUP_A, "192.0.2.9"}, \
        {"_25._tcp.mx.example.com", LOOKUP_TLSA, "secure"},                                      \
        {"_mta-sts.example.com", LOOKUP_TXT, "v=STSv1; id=1"},                                   \
    {                                                                                            \
        "example.com", LOOKUP_STS_POLICY, "version: STSv1"                                       \
    }

static void all_right(void **state)
{
    static const struct row z[] = {
        GOOD_REST,
        {"_dmarc.example.com", LOOKUP_TXT, "v=DMARC1; p=reject; rua=mailto:d@example.com"},
        {"default._bimi.example.com", LOOKUP_TXT,
         "v=BIMI1; l=https://example.com/l.svg; a=https://example.com/l.pem"},
        {NULL},
    };
    struct check_source s = source("192.0.2.1", "out1.example.com");

    (void)state;
    run(z, &(struct check_request){.domain = SV("Example.COM"),
                                   .sources = &s,
                                   .source_count = 1,
                                   .keys = &good_key,
                                   .key_count = 1});
    if (count_level(CHECK_LEVEL_OK) != got.count)
        print_all();
    assert_int_equal(count_level(CHECK_LEVEL_OK), got.count);
    find(CHECK_SPF, CHECK_LEVEL_OK, "pass: ip4:192.0.2.0/24 of example.com");
    find(CHECK_HELO, CHECK_LEVEL_OK, "out1.example.com greets: pass");
    find(CHECK_NAMES, CHECK_LEVEL_OK, "there and back");
    find(CHECK_DMARC, CHECK_LEVEL_OK, "passes by SPF and by DKIM");
    find(CHECK_TLSA, CHECK_LEVEL_OK, "signed by DNSSEC");
    for (size_t i = 1; i < got.count; i++)
        assert_true(got.f[i - 1].topic <= got.f[i].topic);
}

static void all_wrong(void **state)
{
    static const struct row z[] = {{"example.com", LOOKUP_TXT, "no SPF here"}, {NULL}};
    struct check_source s = source("192.0.2.1", "out1.example.com");

    (void)state;
    run(z, &(struct check_request){.domain = SV("example.com"),
                                   .sources = &s,
                                   .source_count = 1,
                                   .keys = &good_key,
                                   .key_count = 1,
                                   .bimi_selector = "brand"});
    size_t i = find(CHECK_SPF, CHECK_LEVEL_FAIL, "none");
    assert_string_equal(got.f[i].record, "v=spf1 ip4:192.0.2.1 ~all");
    assert_string_equal(got.f[i].record_name, "example.com");
    i = find(CHECK_HELO, CHECK_LEVEL_NOTE, "none");
    assert_string_equal(got.f[i].record, "v=spf1 a -all");
    i = find(CHECK_NAMES, CHECK_LEVEL_FAIL, "no host name is known");
    assert_string_equal(got.f[i].record_name, "1.2.0.192.in-addr.arpa");
    assert_string_equal(got.f[i].record, "out1.example.com.");
    i = find(CHECK_DKIM, CHECK_LEVEL_FAIL, "no key is published");
    assert_string_equal(got.f[i].record, "v=DKIM1; k=rsa; p=QUJD");
    i = find(CHECK_DMARC, CHECK_LEVEL_FAIL, "no DMARC record");
    assert_string_equal(got.f[i].record_name, "_dmarc.example.com");
    find(CHECK_DMARC, CHECK_LEVEL_FAIL, "neither SPF nor DKIM counts");
    i = find(CHECK_BIMI, CHECK_LEVEL_FAIL, "the name does not exist");
    assert_string_equal(got.f[i].record_name, "brand._bimi.example.com");
    find(CHECK_BOUNCES, CHECK_LEVEL_FAIL, "neither MX record nor address");
    find(CHECK_STS, CHECK_LEVEL_NOTE, "no MTA-STS");
}

/* --- SPF --- */

static void spf_proposal(void **state)
{
    static const struct {
        const char *record, *proposal;
        enum check_level level;
    } rows[] = {
        {"v=spf1 mx -all", "v=spf1 mx ip4:192.0.2.1 ip6:2001:db8::1 -all", CHECK_LEVEL_FAIL},
        {"v=spf1 mx ?ALL", "v=spf1 mx ip4:192.0.2.1 ip6:2001:db8::1 ?ALL", CHECK_LEVEL_FAIL},
        {"v=spf1 mx", "v=spf1 mx ip4:192.0.2.1 ip6:2001:db8::1", CHECK_LEVEL_FAIL},
        {"v=spf1 a:all.example ~all exp=x.example",
         "v=spf1 a:all.example ip4:192.0.2.1 ip6:2001:db8::1 ~all exp=x.example", CHECK_LEVEL_FAIL},
        {"v=spf1 mx ip4:192.0.2.1 -all", "v=spf1 mx ip4:192.0.2.1 ip6:2001:db8::1 -all",
         CHECK_LEVEL_OK},
        {"v=spf1 nonsense -all", "", CHECK_LEVEL_FAIL},
        {"!", "", CHECK_LEVEL_WARN},
    };
    struct check_source s[] = {source("192.0.2.1", "a.example"),
                               source("2001:db8::1", "a.example")};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct row z[] = {{"example.com", LOOKUP_TXT, rows[i].record},
                          {"example.com", LOOKUP_MX, "mx.example.com"},
                          {"mx.example.com", LOOKUP_A, "192.0.2.9"},
                          {"mx.example.com", LOOKUP_AAAA, "2001:db8::9"},
                          {"all.example", LOOKUP_A, "192.0.2.9"},
                          {"all.example", LOOKUP_AAAA, "2001:db8::9"},
                          {NULL}};
        const char *proposal = "";
        run(z,
            &(struct check_request){.domain = SV("example.com"), .sources = s, .source_count = 2});
        assert_int_equal(got.f[0].topic, CHECK_SPF);
        assert_int_equal(got.f[0].level, rows[i].level);
        for (size_t k = 0; k < 2; k++)
            if (got.f[k].record[0])
                proposal = got.f[k].record;
        assert_string_equal(proposal, rows[i].proposal);
    }
}

static void private_sources(void **state)
{
    static const char *const private[] = {
        "10.1.2.3", "127.0.0.1", "172.31.0.1", "192.168.1.1", "169.254.1.1", "100.64.0.1",
        "0.0.0.0",  "224.0.0.1", "::1",        "fe80::1",     "fd00::1",     "::ffff:10.0.0.1"};
    static const char *const public[] = {"192.0.2.1",   "172.32.0.1",       "100.128.0.1",
                                         "2001:db8::1", "::ffff:192.0.2.1", "8.8.8.8"};
    struct check_source s = source("127.0.0.5", "a.example.com");

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(private); i++) {
        struct check_source one = source(private[i], "");
        assert_false(check_is_public(&one.ip));
    }
    for (size_t i = 0; i < ARRAY_LEN(public); i++) {
        struct check_source one = source(public[i], "");
        assert_true(check_is_public(&one.ip));
    }
    struct check_request req = {.domain = SV("example.com"), .sources = &s, .source_count = 1};
    run(NULL, &req);
    find(CHECK_SPF, CHECK_LEVEL_NOTE, "private address");
    find(CHECK_DMARC, CHECK_LEVEL_WARN, "SPF was not checked");
    assert_null(strstr(asked_names, "in-addr.arpa"));
    req.with_private = true;
    run(NULL, &req);
    find(CHECK_SPF, CHECK_LEVEL_FAIL, "none");
    assert_non_null(strstr(asked_names, "PTR/5.0.0.127.in-addr.arpa"));
    s.ip.ss_family = 0;
    run(NULL, &req);
    find(CHECK_SPF, CHECK_LEVEL_NOTE, "the system chooses");
}

/* --- names --- */

static void reverse_names(void **state)
{
    static const struct {
        struct row z[5];
        enum check_level level;
        const char *text, *record;
    } rows[] = {
        {{GOOD_NAMES}, CHECK_LEVEL_OK, "out1.example.com, there and back", ""},
        {{{"1.2.0.192.in-addr.arpa", LOOKUP_PTR, "OUT1.example.com."},
          {"out1.example.com", LOOKUP_A, "192.0.2.1"}},
         CHECK_LEVEL_OK,
         "there and back",
         ""},
        {{{"1.2.0.192.in-addr.arpa", LOOKUP_PTR, "-"}},
         CHECK_LEVEL_FAIL,
         "no host name is known: there is no such record",
         "out1.example.com."},
        {{{"1.2.0.192.in-addr.arpa", LOOKUP_PTR, "!"}},
         CHECK_LEVEL_WARN,
         "the DNS did not answer: SERVFAIL",
         ""},
        {{{"1.2.0.192.in-addr.arpa", LOOKUP_PTR, "out1.example.com"},
          {"out1.example.com", LOOKUP_A, "192.0.2.2"}},
         CHECK_LEVEL_FAIL,
         "does not lead back",
         "192.0.2.1"},
        {{{"1.2.0.192.in-addr.arpa", LOOKUP_PTR, "liar.example.net"}},
         CHECK_LEVEL_FAIL,
         "does not lead back",
         "out1.example.com."},
        {{{"1.2.0.192.in-addr.arpa", LOOKUP_PTR, "out1.example.com"},
          {"out1.example.com", LOOKUP_A, "!"}},
         CHECK_LEVEL_WARN,
         "did not say whether",
         ""},
        {{{"1.2.0.192.in-addr.arpa", LOOKUP_PTR, "isp.example.net"},
          {"isp.example.net", LOOKUP_A, "192.0.2.1"},
          {"out1.example.com", LOOKUP_A, "192.0.2.1"}},
         CHECK_LEVEL_WARN,
         "is what it greets with",
         "out1.example.com."},
        {{{"1.2.0.192.in-addr.arpa", LOOKUP_PTR, "isp.example.net"},
          {"isp.example.net", LOOKUP_A, "192.0.2.1"}},
         CHECK_LEVEL_FAIL,
         "greets as out1.example.com, which has not this address",
         ""},
    };
    struct check_source s = source("192.0.2.1", "out1.example.com");

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        run(rows[i].z,
            &(struct check_request){.sources = &s, .source_count = 1, .topics = 1 << CHECK_NAMES});
        assert_int_equal(got.count, 1);
        size_t f = find(CHECK_NAMES, rows[i].level, rows[i].text);
        assert_string_equal(got.f[f].record, rows[i].record);
    }
    s = source("2001:db8::1f", "six.example.com");
    run(
        (const struct row[]){
            {"f.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa", LOOKUP_PTR,
             "six.example.com"},
            {"six.example.com", LOOKUP_AAAA, "2001:db8::1f"},
            {NULL}},
        &(struct check_request){.sources = &s, .source_count = 1, .topics = 1 << CHECK_NAMES});
    find(CHECK_NAMES, CHECK_LEVEL_OK, "there and back");
}

/* --- DKIM --- */

static void dkim_records(void **state)
{
    static const struct {
        const char *record;
        enum dkim_record rsa, ed25519;
    } rows[] = {
        {"p=QUJD", DKIM_RECORD_MATCHES, DKIM_RECORD_TYPE},
        {"v=DKIM1; k=rsa; p=Q U J D", DKIM_RECORD_MATCHES, DKIM_RECORD_TYPE},
        {"v=DKIM1; k=ed25519; p=QUJD", DKIM_RECORD_TYPE, DKIM_RECORD_MATCHES},
        {"v=DKIM1; p=QUJE", DKIM_RECORD_OTHER_KEY, DKIM_RECORD_TYPE},
        {"v=DKIM1; p=", DKIM_RECORD_REVOKED, DKIM_RECORD_REVOKED},
        {"v=DKIM1; k=rsa", DKIM_RECORD_NO_KEY, DKIM_RECORD_NO_KEY},
        {"v=DKIM2; p=QUJD", DKIM_RECORD_VERSION, DKIM_RECORD_VERSION},
        {"p=QUJD; v=DKIM1", DKIM_RECORD_VERSION, DKIM_RECORD_VERSION},
        {"v=DKIM1; h=sha1; p=QUJD", DKIM_RECORD_HASH, DKIM_RECORD_TYPE},
        {"v=DKIM1; h=sha1 : sha256; p=QUJD", DKIM_RECORD_MATCHES, DKIM_RECORD_TYPE},
        {"v=DKIM1; s=tlsrpt; p=QUJD", DKIM_RECORD_SERVICE, DKIM_RECORD_TYPE},
        {"v=DKIM1; s=email; p=QUJD", DKIM_RECORD_MATCHES, DKIM_RECORD_TYPE},
        {"v=DKIM1; t=s:y; p=QUJD", DKIM_RECORD_TESTING, DKIM_RECORD_TYPE},
        {"v=DKIM1; t=s; p=QUJD", DKIM_RECORD_MATCHES, DKIM_RECORD_TYPE},
        {"", DKIM_RECORD_NO_KEY, DKIM_RECORD_NO_KEY},
        {";;=;p", DKIM_RECORD_NO_KEY, DKIM_RECORD_NO_KEY},
    };
    struct strview two[2] = {SV("p=QUJD"), SV("p=QUJD")};
    struct lookup_result r = {.status = LOOKUP_OK, .records = two, .count = 2};

    (void)state;
    assert_int_equal(dkim_record_check(&r, "rsa-sha256", 2048, SV("QUJD")), DKIM_RECORD_SEVERAL);
    r.count = 1;
    assert_int_equal(dkim_record_check(&r, "rsa-sha256", 1024, SV("QUJD")), DKIM_RECORD_SHORT);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        two[0] = sv_of(rows[i].record);
        assert_int_equal(dkim_record_check(&r, "rsa-sha256", 2048, SV("QUJD")), rows[i].rsa);
        assert_int_equal(dkim_record_check(&r, "ed25519-sha256", 256, SV("QUJD")), rows[i].ed25519);
    }
    r = (struct lookup_result){.status = LOOKUP_TEMPORARY};
    assert_int_equal(dkim_record_check(&r, "rsa-sha256", 2048, SV("Q")), DKIM_RECORD_UNKNOWN);
    r.status = LOOKUP_NO_DOMAIN;
    assert_int_equal(dkim_record_check(&r, "rsa-sha256", 2048, SV("Q")), DKIM_RECORD_MISSING);
}

/* --- DMARC and BIMI --- */

static void alignment(void **state)
{
    static const struct {
        const char *one, *other;
        bool relaxed;
    } rows[] = {
        {"example.com", "example.com", true},
        {"news.example.com", "bounce.EXAMPLE.com", true},
        {"example.com", "example.net", false},
        {"a.co.uk", "b.co.uk", false},
        {"x.a.co.uk", "y.a.co.uk", true},
        {"com", "example.com", false},
        {"", "", false},
    };
    struct arena a = {0};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct strview one = sv_of(rows[i].one), other = sv_of(rows[i].other);
        assert_int_equal(org_domain_aligned(&a, one, other, false), rows[i].relaxed);
        assert_int_equal(org_domain_aligned(&a, one, other, true),
                         one.len && sv_eq_nocase(one, other));
    }
    arena_free(&a);
}

static void dmarc(void **state)
{
    static const struct {
        const char *at_domain, *at_org;
        enum check_level level;
        const char *text;
    } rows[] = {
        {"v=DMARC1; p=reject; rua=mailto:a@b.example", NULL, CHECK_LEVEL_OK, "policy reject"},
        {NULL, "v=DMARC1; p=reject; rua=mailto:a@b.example", CHECK_LEVEL_OK,
         "policy reject, inherited"},
        {NULL, "v=DMARC1; p=reject; sp=quarantine; rua=mailto:a@b.example", CHECK_LEVEL_OK,
         "policy quarantine, inherited"},
        {"v=DMARC1; p=none; rua=mailto:a@b.example", NULL, CHECK_LEVEL_NOTE,
         "reported, not stopped"},
        {"v=DMARC1; p=reject", NULL, CHECK_LEVEL_WARN, "no rua="},
        {"v=DMARC1; p=what", NULL, CHECK_LEVEL_FAIL, "no valid p="},
        {"v=DMARC1; rua=mailto:a@b.example", NULL, CHECK_LEVEL_NOTE, "policy none"},
        {"v=DMARC1; p=reject; pct=20; rua=mailto:a@b.example", NULL, CHECK_LEVEL_NOTE, "20%"},
        {"p=reject; v=DMARC1", NULL, CHECK_LEVEL_FAIL, "no DMARC record, nor at example.com"},
        {"!", NULL, CHECK_LEVEL_WARN, "the DNS did not answer"},
        {"v=DMARC1; p=reject; aspf=s; rua=mailto:a@b.example", NULL, CHECK_LEVEL_WARN,
         "not aligned with From (strict)"},
        {"v=DMARC1; p=reject; adkim=s; rua=mailto:a@b.example", NULL, CHECK_LEVEL_WARN,
         "no key's domain is aligned with From (strict)"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct row z[3] = {{NULL}};
        size_t n = 0;
        if (rows[i].at_domain)
            z[n++] = (struct row){"_dmarc.news.example.com", LOOKUP_TXT, rows[i].at_domain};
        if (rows[i].at_org)
            z[n++] = (struct row){"_dmarc.example.com", LOOKUP_TXT, rows[i].at_org};
        run(z, &(struct check_request){.domain = SV("news.example.com"),
                                       .mail_from = SV("bounce.example.com"),
                                       .keys = &good_key,
                                       .key_count = 1});
        find(CHECK_DMARC, rows[i].level, rows[i].text);
    }
    run((const struct row[]){{"_dmarc.example.com", LOOKUP_TXT, "v=DMARC1; p=none"},
                             {"_dmarc.example.com", LOOKUP_TXT, "v=DMARC1; p=none"},
                             {NULL}},
        &(struct check_request){.domain = SV("example.com")});
    find(CHECK_DMARC, CHECK_LEVEL_FAIL, "more than one DMARC record");
}

/* RFC 7489 section 7.1 */
static void who_gets_reports_has_agreed(void **state)
{
    static const struct row z[] = {
        {"_dmarc.example.com", LOOKUP_TXT,
         "v=DMARC1; p=reject; rua=mailto:a@sub.example.com, mailto:in@yes.example!10m,"
         "mailto:in@no.example,https://no.example/x; ruf=mailto:f@no.example,mailto:f@wild.example,"
         "mailto:f@mute.example"},
        {"example.com._report._dmarc.yes.example", LOOKUP_TXT,
         "v=DMARC1; rua=mailto:x@yes.example"},
        {"example.com._report._dmarc.wild.example", LOOKUP_TXT, "v=spf1 -all"},
        {"example.com._report._dmarc.mute.example", LOOKUP_TXT, "!"},
        {NULL}};

    (void)state;
    run(z, &(struct check_request){.domain = SV("news.example.com")});
    size_t i =
        find(CHECK_DMARC, CHECK_LEVEL_OK, "yes.example takes reports about example.com (rua)");
    assert_string_equal(got.f[i].subject, "example.com._report._dmarc.yes.example");
    i = find(CHECK_DMARC, CHECK_LEVEL_WARN, "no.example has not agreed");
    assert_non_null(strstr(got.f[i].text, "(rua and ruf)"));
    assert_string_equal(got.f[i].record_name, "example.com._report._dmarc.no.example");
    assert_string_equal(got.f[i].record, "v=DMARC1");
    i = find(CHECK_DMARC, CHECK_LEVEL_WARN, "wild.example has not agreed"); /* a record of others */
    assert_non_null(strstr(got.f[i].text, "(ruf)"));
    find(CHECK_DMARC, CHECK_LEVEL_WARN, "rua= has 'https://no.example/x', which is no mailto:");
    find(CHECK_DMARC, CHECK_LEVEL_WARN, "the DNS did not answer");
    for (i = 0; i < got.count; i++) /* its own domain needs no consent */
        assert_null(strstr(got.f[i].subject, "sub.example.com"));
}

/* What SPF and DKIM say together. */
static void verdicts(void **state)
{
    static const struct {
        const char *mail_from;
        bool key;
        enum check_level level;
        const char *text;
    } rows[] = {
        {"", true, CHECK_LEVEL_OK, "passes by SPF and by DKIM"},
        {"", false, CHECK_LEVEL_WARN, "by SPF alone"},
        {"other.example", true, CHECK_LEVEL_NOTE, "passes by DKIM, not by SPF"},
        {"other.example", false, CHECK_LEVEL_FAIL, "neither SPF nor DKIM"},
    };
    static const struct row z[] = {
        GOOD_REST, {"other.example", LOOKUP_TXT, "v=spf1 ip4:192.0.2.1 -all"}, {NULL}};
    struct check_source s = source("192.0.2.1", "out1.example.com");

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        run(z, &(struct check_request){.domain = SV("example.com"),
                                       .mail_from = sv_of(rows[i].mail_from),
                                       .sources = &s,
                                       .source_count = 1,
                                       .keys = &good_key,
                                       .key_count = rows[i].key});
        find(CHECK_DMARC, rows[i].level, rows[i].text);
    }
    run(z, &(struct check_request){.domain = SV("example.com"), .unusable_key = "key k is gone"});
    find(CHECK_DKIM, CHECK_LEVEL_FAIL, "key k is gone");
}

static void bimi(void **state)
{
    static const struct {
        const char *dmarc, *record;
        enum check_level level;
        const char *text;
    } rows[] = {
        {"v=DMARC1; p=reject", "v=BIMI1; l=https://x/l.svg; a=https://x/l.pem", CHECK_LEVEL_OK,
         "with a certificate"},
        {"v=DMARC1; p=quarantine; pct=50", "v=BIMI1; l=https://x/l.svg; a=https://x/l.pem",
         CHECK_LEVEL_WARN, "not enforced"},
        {"v=DMARC1; p=none", "v=BIMI1; l=https://x/l.svg", CHECK_LEVEL_WARN, "not enforced"},
        {"v=DMARC1; p=reject", "v=BIMI1; l=https://x/l.svg; a=", CHECK_LEVEL_NOTE,
         "without a certificate"},
        {"v=DMARC1; p=reject", "v=BIMI1; l=; a=;", CHECK_LEVEL_NOTE, "declines"},
        {"v=DMARC1; p=reject", "v=BIMI1; l=http://x/l.svg", CHECK_LEVEL_FAIL, "https://"},
        {"v=DMARC1; p=reject", "!", CHECK_LEVEL_WARN, "the DNS did not answer"},
        {"v=DMARC1; p=reject", "something", CHECK_LEVEL_NOTE, "no BIMI record"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct row z[] = {{"_dmarc.example.com", LOOKUP_TXT, rows[i].dmarc},
                          {"default._bimi.example.com", LOOKUP_TXT, rows[i].record},
                          {NULL}};
        run(z, &(struct check_request){.domain = SV("news.example.com")});
        find(CHECK_BIMI, rows[i].level, rows[i].text);
    }
}

/* --- bounces --- */

static void bounces(void **state)
{
    static const struct {
        struct row z[6];
        enum check_topic topic;
        enum check_level level;
        const char *text;
    } rows[] = {
        {{{"b.example", LOOKUP_MX, "mx.b.example."}, {"mx.b.example", LOOKUP_AAAA, "2001:db8::1"}},
         CHECK_BOUNCES,
         CHECK_LEVEL_OK,
         "bounces go to mx.b.example"},
        {{{"b.example", LOOKUP_MX, "."}}, CHECK_BOUNCES, CHECK_LEVEL_FAIL, "null MX"},
        {{{"b.example", LOOKUP_A, "192.0.2.1"}}, CHECK_BOUNCES, CHECK_LEVEL_WARN, "no MX record"},
        {{{"b.example", LOOKUP_TXT, "-"}},
         CHECK_BOUNCES,
         CHECK_LEVEL_FAIL,
         "neither MX record nor address"},
        {{{"c.example", LOOKUP_A, "192.0.2.1"}}, CHECK_BOUNCES, CHECK_LEVEL_FAIL, "does not exist"},
        {{{"b.example", LOOKUP_MX, "!"}}, CHECK_BOUNCES, CHECK_LEVEL_WARN, "SERVFAIL"},
        {{{"b.example", LOOKUP_MX, "mx.b.example"}},
         CHECK_BOUNCES,
         CHECK_LEVEL_FAIL,
         "without address: mx.b.example"},
        {{{"b.example", LOOKUP_MX, "mx.b.example"},
          {"b.example", LOOKUP_MX, "mx2.b.example"},
          {"mx2.b.example", LOOKUP_A, "192.0.2.1"}},
         CHECK_BOUNCES,
         CHECK_LEVEL_WARN,
         "without address: mx.b.example"},
        {{{"b.example", LOOKUP_MX, "mx.b.example"},
          {"mx.b.example", LOOKUP_A, "192.0.2.1"},
          {"_25._tcp.mx.b.example", LOOKUP_TLSA, "plain"}},
         CHECK_TLSA,
         CHECK_LEVEL_NOTE,
         "does not say that DNSSEC"},
        {{{"b.example", LOOKUP_MX, "mx.b.example"},
          {"b.example", LOOKUP_MX, "mx2.b.example"},
          {"mx.b.example", LOOKUP_A, "192.0.2.1"},
          {"mx2.b.example", LOOKUP_A, "192.0.2.1"},
          {"_25._tcp.mx.b.example", LOOKUP_TLSA, "secure"}},
         CHECK_TLSA,
         CHECK_LEVEL_WARN,
         "only 1 of 2"},
        {{{"_mta-sts.b.example", LOOKUP_TXT, "v=STSv1; id=1"}},
         CHECK_STS,
         CHECK_LEVEL_WARN,
         "there is no policy"},
        {{{"_mta-sts.b.example", LOOKUP_TXT, "v=STSv1; id=1"},
          {"_mta-sts.b.example", LOOKUP_TXT, "v=STSv1; id=2"}},
         CHECK_STS,
         CHECK_LEVEL_WARN,
         "more than one record"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        run(rows[i].z,
            &(struct check_request){.domain = SV("example.com"), .mail_from = SV("b.example")});
        find(rows[i].topic, rows[i].level, rows[i].text);
    }
}

/* --- the course of it --- */

static void limits_in_number(void **state)
{
    static struct check_source many[CHECK_MAX_SOURCES + 5];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(many); i++) {
        many[i] = source("192.0.2.1", "out1.example.com");
        ((struct sockaddr_in *)&many[i].ip)->sin_addr.s_addr = htonl(0xc0000200u + (uint32_t)i);
    }
    reset_dns(
        (const struct row[]){{"example.com", LOOKUP_TXT, "v=spf1 a:x.example.com -all"}, {NULL}});
    struct check *c = check_start(uv_default_loop(), NULL,
                                  &(struct check_request){.domain = SV("example.com"),
                                                          .sources = many,
                                                          .source_count = ARRAY_LEN(many),
                                                          .topics = 1 << CHECK_SPF,
                                                          .parallel = 3},
                                  keep, &got);
    while (!list_empty(&asked) && asked_count < 20)
        answer_one(list_entry(list_pop_front(&asked), struct lookup, link));
    assert_int_equal(asked_count, 2); /* TXT and A, once for all */
    assert_true(most_under_way <= 3);
    check_cancel(c);
    uv_run(uv_default_loop(), UV_RUN_NOWAIT);
    assert_false(got.is_done);
}

static void time_limit(void **state)
{
    struct check_source s = source("192.0.2.1", "out1.example.com");

    (void)state;
    reset_dns(NULL);
    is_silent = true;
    check_start(uv_default_loop(), NULL,
                &(struct check_request){.domain = SV("example.com"),
                                        .sources = &s,
                                        .source_count = 1,
                                        .keys = &good_key,
                                        .key_count = 1,
                                        .timeout_ms = 30,
                                        .parallel = 4},
                keep, &got);
    assert_int_equal(under_way, 4);
    while (!got.is_done)
        turn();
    uv_run(uv_default_loop(), UV_RUN_NOWAIT);
    assert_int_equal(under_way, 0);
    find(CHECK_SPF, CHECK_LEVEL_WARN, "temperror");
    find(CHECK_NAMES, CHECK_LEVEL_WARN, "no host name is known: the DNS did not answer");
    find(CHECK_DKIM, CHECK_LEVEL_WARN, "the DNS did not answer");
    find(CHECK_BOUNCES, CHECK_LEVEL_WARN, "the DNS did not answer");
}

static void cancelled(void **state)
{
    struct check_source s = source("192.0.2.1", "out1.example.com");

    (void)state;
    reset_dns(NULL);
    struct check *c = check_start(
        uv_default_loop(), NULL,
        &(struct check_request){.domain = SV("example.com"), .sources = &s, .source_count = 1},
        keep, &got);
    assert_true(under_way > 0);
    check_cancel(c);
    assert_int_equal(under_way, 0);
    check_cancel(NULL);
    uv_run(uv_default_loop(), UV_RUN_NOWAIT);
    assert_false(got.is_done);
}

static void keep_spf(struct check *c, void *arg)
{
    const struct spf *s = check_spf(c);
    struct strview domain;

    (void)arg;
    got.is_done = true;
    assert_int_equal(spf_result(s), SPF_PASS);
    assert_sv_equal(spf_match(s, &domain), "ip4:192.0.2.0/24");
    assert_sv_equal(domain, "in.example.com");
}

static void spf_alone(void **state)
{
    struct check_source s = source("192.0.2.1", "h.example.com");

    (void)state;
    reset_dns(
        (const struct row[]){{"example.com", LOOKUP_TXT, "v=spf1 include:in.example.com -all"},
                             {"in.example.com", LOOKUP_TXT, "v=spf1 ip4:192.0.2.0/24 -all"},
                             {NULL}});
    check_start_spf(uv_default_loop(), NULL, (struct sockaddr *)&s.ip, SV("h.example.com"),
                    SV("a@example.com"), keep_spf, NULL);
    while (!got.is_done)
        turn();
    uv_run(uv_default_loop(), UV_RUN_NOWAIT);
    /* what needs no question is not answered inside the call either */
    reset_dns(NULL);
    struct check *c = check_start_spf(uv_default_loop(), NULL, (struct sockaddr *)&s.ip, SV("h"),
                                      SV(""), keep_spf, NULL);
    assert_false(got.is_done);
    assert_int_equal(spf_result(check_spf(c)), SPF_NONE);
    check_cancel(c);
    uv_run(uv_default_loop(), UV_RUN_NOWAIT);
}

/* --- the watch --- */

static size_t count_text(const char *all, const char *text)
{
    size_t n = 0;
    for (const char *at = all; (at = strstr(at, text)); at++)
        n++;
    return n;
}

static void watched(void **state)
{
    static struct check_source many[WATCH_SLICE + 40];
    struct check_source some[] = {source("192.0.2.1", "out1.example.com"),
                                  source("127.0.0.1", "lo.example.com"),
                                  source("192.0.2.2", "out2.example.com")};
    struct watch_group groups[] = {
        {NULL, some, 3}, {"example.com", some, 3}, {"none.example", some, 3}};
    char text[8192];
    FILE *log = tmpfile();

    (void)state;
    assert_non_null(log);
    log_set_fd(fileno(log));
    struct watch *w = watch_new(uv_default_loop(), NULL);
    static const struct row z[] = {
        GOOD_NAMES, {"example.com", LOOKUP_TXT, "v=spf1 ip4:192.0.2.1 -all"}, {NULL}};
    reset_dns(z);
    watch_start(w, groups, ARRAY_LEN(groups), 1);
    assert_int_equal(asked_count, 0);
    while (!watch_rounds(w)) {
        usleep(1000);
        struct list *l = list_pop_front(&asked);
        if (l)
            answer_one(list_entry(l, struct lookup, link));
        uv_run(uv_default_loop(), UV_RUN_NOWAIT);
    }
    assert_null(strstr(asked_names, "127.in-addr"));
    assert_null(strstr(asked_names, "lo.example.com"));
    assert_true(most_under_way <= WATCH_PARALLEL);
    log_flush();
    text[pread(fileno(log), text, sizeof(text) - 1, 0)] = '\0';
    assert_int_equal(count_text(text, "reverse name of"), 1);
    assert_non_null(strstr(text, "reverse name of 192.0.2.2 (mta1): no host name is known"));
    assert_non_null(strstr(text, "SPF of 'example.com' does not let 1 of 2"));
    assert_null(strstr(text, "none.example"));

    /* many wrong ones are not many lines; a new round replaces the one under way */
    for (size_t i = 0; i < ARRAY_LEN(many); i++) {
        many[i] = source("192.0.2.1", "x.example.net");
        ((struct sockaddr_in *)&many[i].ip)->sin_addr.s_addr = htonl(0xc6336400u + (uint32_t)i);
    }
    struct watch_group big = {NULL, many, ARRAY_LEN(many)};
    assert_int_equal(ftruncate(fileno(log), 0), 0);
    lseek(fileno(log), 0, SEEK_SET);
    reset_dns(z);
    watch_start(w, groups, ARRAY_LEN(groups), 0);
    watch_start(w, &big, 1, 0);
    while (watch_rounds(w) < 2) {
        struct list *l = list_pop_front(&asked);
        if (l)
            answer_one(list_entry(l, struct lookup, link));
        uv_run(uv_default_loop(), UV_RUN_NOWAIT);
    }
    log_flush();
    text[pread(fileno(log), text, sizeof(text) - 1, 0)] = '\0';
    assert_int_equal(count_text(text, "reverse name of"), WATCH_LINES);
    assert_int_equal(count_text(text, "and 148 more"), 1);
    watch_start(w, groups, 1, 0);
    uv_run(uv_default_loop(), UV_RUN_NOWAIT);
    watch_free(w); /* in the middle of a round */
    watch_free(NULL);
    uv_run(uv_default_loop(), UV_RUN_NOWAIT);
    log_set_fd(2);
    fclose(log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_right),
        cmocka_unit_test(all_wrong),
        cmocka_unit_test(spf_proposal),
        cmocka_unit_test(private_sources),
        cmocka_unit_test(reverse_names),
        cmocka_unit_test(dkim_records),
        cmocka_unit_test(alignment),
        cmocka_unit_test(dmarc),
        cmocka_unit_test(who_gets_reports_has_agreed),
        cmocka_unit_test(verdicts),
        cmocka_unit_test(bimi),
        cmocka_unit_test(bounces),
        cmocka_unit_test(limits_in_number),
        cmocka_unit_test(time_limit),
        cmocka_unit_test(cancelled),
        cmocka_unit_test(spf_alone),
        cmocka_unit_test(watched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
