/*
 * SPF (RFC 7208) against a small DNS of the test's own: mechanisms, modifiers, macros (the examples
 * of section 7.4), limits, and what counts as which error.
 */
#include "unit.h"

#include "mail/spf_int.h"

#include <arpa/inet.h>
#include <stdio.h>

/* One record each; a name that is listed in no row does not exist. "!" fails. MX: the host. */
static const struct {
    const char *name;
    enum lookup_kind kind;
    const char *data;
} zone[] = {
    {"example.com", LOOKUP_TXT, "v=spf1 +mx a:colo.example.com/28 -all"},
    {"example.com", LOOKUP_TXT, "something else"},
    {"example.com", LOOKUP_MX, "mail-a.example.com"},
    {"example.com", LOOKUP_MX, "mail-b.example.com"},
    {"mail-a.example.com", LOOKUP_A, "192.0.2.129"},
    {"mail-b.example.com", LOOKUP_A, "192.0.2.130"},
    {"mail-b.example.com", LOOKUP_AAAA, "2001:db8::130"},
    {"colo.example.com", LOOKUP_A, "192.0.2.3"},
    {"ip.example.com", LOOKUP_TXT, "v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 ~all"},
    {"mapped.example.com", LOOKUP_TXT, "v=spf1 ip4:192.0.2.1 -all"},
    {"neutral.example.com", LOOKUP_TXT, "v=spf1 ip4:192.0.2.99"},
    {"question.example.com", LOOKUP_TXT, "v=spf1 ?all"},
    {"redirect.example.com", LOOKUP_TXT, "v=spf1 redirect=ip.example.com"},
    {"redirect2.example.com", LOOKUP_TXT, "v=spf1 redirect=none.example.com"},
    {"redirect3.example.com", LOOKUP_TXT, "v=spf1 redirect=ip.example.com -all"},
    {"include.example.com", LOOKUP_TXT, "v=spf1 include:ip.example.com -all"},
    {"include2.example.com", LOOKUP_TXT, "v=spf1 ?include:ip.example.com -all"},
    {"include3.example.com", LOOKUP_TXT, "v=spf1 include:none.example.com -all"},
    {"include4.example.com", LOOKUP_TXT, "v=spf1 include:broken.example.com -all"},
    {"include5.example.com", LOOKUP_TXT, "v=spf1 include:down.example.com -all"},
    {"include6.example.com", LOOKUP_TXT,
     "v=spf1 include:include.example.com ip4:198.51.100.1 -all"},
    {"loop.example.com", LOOKUP_TXT, "v=spf1 include:loop.example.com -all"},
    {"none.example.com", LOOKUP_TXT, "v=spf2.0/pra -all"},
    {"two.example.com", LOOKUP_TXT, "v=spf1 -all"},
    {"two.example.com", LOOKUP_TXT, "v=spf1 +all"},
    {"down.example.com", LOOKUP_TXT, "!"},
    {"downa.example.com", LOOKUP_TXT, "v=spf1 a:down2.example.com -all"},
    {"down2.example.com", LOOKUP_A, "!"},
    {"broken.example.com", LOOKUP_TXT, "v=spf1 ip4:192.0.2.0/24 ip5:x -all"},
    {"broken2.example.com", LOOKUP_TXT, "v=spf1 +all ip4:192.0.2.0/33"},
    {"broken3.example.com", LOOKUP_TXT, "v=spf1 include -all"},
    {"broken4.example.com", LOOKUP_TXT, "v=spf1 a:%{q}.example.com -all"},
    {"broken5.example.com", LOOKUP_TXT, "v=spf1 redirect=a.example redirect=b.example"},
    {"broken6.example.com", LOOKUP_TXT, "v=spf1 all:x"},
    {"unknown.example.com", LOOKUP_TXT, "v=spf1 moo=cow ip4:192.0.2.1 -all"},
    {"case.example.com", LOOKUP_TXT, "V=SPF1 IP4:192.0.2.1 -ALL"},
    {"bare.example.com", LOOKUP_TXT, "v=spf1"},
    {"glued.example.com", LOOKUP_TXT, "v=spf10 -all"},
    {"void.example.com", LOOKUP_TXT,
     "v=spf1 a:v1.example.com a:v2.example.com a:v3.example.com +all"},
    {"void2.example.com", LOOKUP_TXT, "v=spf1 a:v1.example.com a:v2.example.com +all"},
    /* section 4.6.4 counts terms: one mx with three hosts without address is one */
    {"voidmx.example.com", LOOKUP_TXT, "v=spf1 mx a:v2.example.com +all"},
    {"voidmx.example.com", LOOKUP_MX, "v1.example.com"},
    {"voidmx.example.com", LOOKUP_MX, "v2.example.com"},
    {"voidmx.example.com", LOOKUP_MX, "v3.example.com"},
    {"nullmx.example.com", LOOKUP_TXT, "v=spf1 mx a:v2.example.com a:v1.example.com +all"},
    {"nullmx.example.com", LOOKUP_MX, "."},
    {"ten.example.com", LOOKUP_TXT,
     "v=spf1 a:m.example a:colo.example.com a:colo.example.com a:colo.example.com "
     "a:colo.example.com "
     "a:colo.example.com a:colo.example.com a:colo.example.com a:colo.example.com "
     "a:colo.example.com +all"},
    {"eleven.example.com", LOOKUP_TXT,
     "v=spf1 a:colo.example.com a:colo.example.com a:colo.example.com a:colo.example.com "
     "a:colo.example.com a:colo.example.com a:colo.example.com a:colo.example.com "
     "a:colo.example.com a:colo.example.com a:colo.example.com +all"},
    {"ptr.example.com", LOOKUP_TXT, "v=spf1 ptr -all"},
    {"5.2.0.192.in-addr.arpa", LOOKUP_PTR, "liar.example.net"},
    {"5.2.0.192.in-addr.arpa", LOOKUP_PTR, "host.ptr.example.com"},
    {"liar.example.net", LOOKUP_A, "192.0.2.77"},
    {"host.ptr.example.com", LOOKUP_A, "192.0.2.5"},
    {"exists.example.com", LOOKUP_TXT, "v=spf1 exists:%{ir}.%{l1r+-}._spf.%{d} -all"},
    {"5.2.0.192.strong._spf.exists.example.com", LOOKUP_A, "127.0.0.2"},
    {"p.example.com", LOOKUP_TXT, "v=spf1 exists:%{p}.ok.example.com -all"},
    {"host.ptr.example.com.ok.example.com", LOOKUP_A, "127.0.0.2"},
    {"a6.example.com", LOOKUP_TXT, "v=spf1 a:mail-b.example.com/24//64 -all"},
    {"exp.example.com", LOOKUP_TXT, "v=spf1 -all exp=why.example.com"},
    {"why.example.com", LOOKUP_TXT, "%{i} is not one of %{d}'s, %{S}%_100%%"},
    {"exp2.example.com", LOOKUP_TXT, "v=spf1 redirect=exp.example.com"},
    {"eleven-mx.example.com", LOOKUP_TXT, "v=spf1 mx +all"},
    {"eleven-mx.example.com", LOOKUP_MX, "1.example.com"},
    {"eleven-mx.example.com", LOOKUP_MX, "2.example.com"},
    {"eleven-mx.example.com", LOOKUP_MX, "3.example.com"},
    {"eleven-mx.example.com", LOOKUP_MX, "4.example.com"},
    {"eleven-mx.example.com", LOOKUP_MX, "5.example.com"},
    {"eleven-mx.example.com", LOOKUP_MX, "6.example.com"},
    {"eleven-mx.example.com", LOOKUP_MX, "7.example.com"},
    {"eleven-mx.example.com", LOOKUP_MX, "8.example.com"},
    {"eleven-mx.example.com", LOOKUP_MX, "9.example.com"},
    {"eleven-mx.example.com", LOOKUP_MX, "10.example.com"},
    {"eleven-mx.example.com", LOOKUP_MX, "11.example.com"},
};

enum { ANSWER_ROOM = 16 };

struct answer_room {
    char bytes[ANSWER_ROOM][256];
    struct strview records[ANSWER_ROOM];
};

static void add_record(struct lookup_result *r, struct answer_room *room, enum lookup_kind kind,
                       const char *data)
{
    char *to = room->bytes[r->count];
    size_t len = strlen(data);

    if (kind == LOOKUP_A || kind == LOOKUP_AAAA) {
        assert_int_equal(inet_pton(kind == LOOKUP_A ? AF_INET : AF_INET6, data, to), 1);
        len = kind == LOOKUP_A ? 4 : 16;
    } else {
        size_t head = kind == LOOKUP_MX ? 2 : 0;
        memset(to, 0, 2);
        memcpy(to + head, data, len);
        len += head;
    }
    room->records[r->count++] = sv(to, len);
}

static void resolve(const struct spf_question *q, struct lookup_result *r, struct answer_room *room)
{
    *r = (struct lookup_result){.status = LOOKUP_NO_DOMAIN, .records = room->records};
    for (size_t i = 0; i < ARRAY_LEN(zone); i++) {
        if (!sv_eq_nocase(sv_of(zone[i].name), sv_of(q->name)))
            continue;
        if (r->status == LOOKUP_NO_DOMAIN)
            r->status = LOOKUP_NO_DATA;
        if (zone[i].kind != q->kind)
            continue;
        r->status = zone[i].data[0] == '!' ? LOOKUP_TEMPORARY : LOOKUP_OK;
        if (r->status == LOOKUP_OK)
            add_record(r, room, q->kind, zone[i].data);
    }
}

static struct spf *check(const char *ip, const char *helo, const char *sender, unsigned *ret_asked)
{
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    bool is_v6 = strchr(ip, ':') != NULL;
    struct spf_question q;

    if (is_v6)
        assert_int_equal(inet_pton(AF_INET6, ip, &v6.sin6_addr), 1);
    else
        assert_int_equal(inet_pton(AF_INET, ip, &v4.sin_addr), 1);
    struct spf *s = spf_new(is_v6 ? (struct sockaddr *)&v6 : (struct sockaddr *)&v4, sv_of(helo),
                            sv_of(sender));
    for (*ret_asked = 0; spf_step(s, &q) == SPF_ASK; ++*ret_asked) {
        struct answer_room room;
        struct lookup_result r;
        assert_true(*ret_asked < 150);
        resolve(&q, &r, &room);
        spf_answer(s, &r);
    }
    return s;
}

static void results(void **state)
{
    static const struct {
        const char *ip, *sender;
        enum spf_result result;
    } rows[] = {
        {"192.0.2.129", "a@example.com", SPF_PASS},
        {"192.0.2.130", "a@EXAMPLE.com", SPF_PASS},
        {"2001:db8::130", "a@example.com", SPF_PASS},
        {"192.0.2.10", "a@example.com", SPF_PASS}, /* /28 around 192.0.2.3 */
        {"192.0.2.16", "a@example.com", SPF_FAIL},
        {"192.0.2.200", "a@ip.example.com", SPF_PASS},
        {"2001:db8:1::1", "a@ip.example.com", SPF_PASS},
        {"2001:db9::1", "a@ip.example.com", SPF_SOFTFAIL},
        {"::ffff:192.0.2.1", "a@mapped.example.com", SPF_PASS},
        {"192.0.2.1", "a@neutral.example.com", SPF_NEUTRAL},
        {"192.0.2.1", "a@question.example.com", SPF_NEUTRAL},
        {"192.0.2.1", "a@redirect.example.com", SPF_PASS},
        {"198.51.100.1", "a@redirect.example.com", SPF_SOFTFAIL},
        {"192.0.2.1", "a@redirect2.example.com", SPF_PERMERROR},
        {"192.0.2.1", "a@redirect3.example.com", SPF_FAIL},
        {"192.0.2.1", "a@include.example.com", SPF_PASS},
        {"198.51.100.1", "a@include.example.com", SPF_FAIL},
        {"192.0.2.1", "a@include2.example.com", SPF_NEUTRAL},
        {"192.0.2.1", "a@include3.example.com", SPF_PERMERROR},
        {"192.0.2.1", "a@include4.example.com", SPF_PERMERROR},
        {"192.0.2.1", "a@include5.example.com", SPF_TEMPERROR},
        {"192.0.2.1", "a@include6.example.com", SPF_PASS},
        {"198.51.100.1", "a@include6.example.com", SPF_PASS},
        {"192.0.2.1", "a@loop.example.com", SPF_PERMERROR},
        {"192.0.2.1", "a@none.example.com", SPF_NONE},
        {"192.0.2.1", "a@missing.example.com", SPF_NONE},
        {"192.0.2.1", "a@localhost", SPF_NONE},
        {"192.0.2.1", "a@a..example.com", SPF_NONE},
        {"192.0.2.1", "a@two.example.com", SPF_PERMERROR},
        {"192.0.2.1", "a@down.example.com", SPF_TEMPERROR},
        {"192.0.2.1", "a@downa.example.com", SPF_TEMPERROR},
        {"192.0.2.1", "a@broken.example.com", SPF_PERMERROR},
        {"192.0.2.1", "a@broken2.example.com", SPF_PERMERROR},
        {"192.0.2.1", "a@broken3.example.com", SPF_PERMERROR},
        {"192.0.2.1", "a@broken4.example.com", SPF_PERMERROR},
        {"192.0.2.1", "a@broken5.example.com", SPF_PERMERROR},
        {"192.0.2.1", "a@broken6.example.com", SPF_PERMERROR},
        {"192.0.2.1", "a@unknown.example.com", SPF_PASS},
        {"192.0.2.1", "a@case.example.com", SPF_PASS},
        {"192.0.2.1", "a@bare.example.com", SPF_NEUTRAL},
        {"192.0.2.1", "a@glued.example.com", SPF_NONE},
        {"192.0.2.1", "a@void.example.com", SPF_PERMERROR},
        {"192.0.2.1", "a@void2.example.com", SPF_PASS},
        {"192.0.2.1", "a@voidmx.example.com", SPF_PASS},
        {"192.0.2.1", "a@nullmx.example.com", SPF_PASS},
        {"192.0.2.1", "a@ten.example.com", SPF_PASS},
        {"192.0.2.1", "a@eleven.example.com", SPF_PERMERROR},
        {"192.0.2.1", "a@eleven-mx.example.com", SPF_PERMERROR},
        {"192.0.2.5", "a@ptr.example.com", SPF_PASS},
        {"192.0.2.77", "a@ptr.example.com", SPF_FAIL},
        {"192.0.2.5", "strong-bad@exists.example.com", SPF_PASS},
        {"192.0.2.5", "bad-strong@exists.example.com", SPF_FAIL},
        {"192.0.2.5", "a@p.example.com", SPF_PASS},
        {"192.0.2.6", "a@p.example.com", SPF_FAIL},
        {"192.0.2.200", "a@a6.example.com", SPF_PASS},
        {"2001:db8::ffff", "a@a6.example.com", SPF_PASS},
        {"2001:db8:0:1::1", "a@a6.example.com", SPF_FAIL},
    };
    unsigned asked;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct spf *s = check(rows[i].ip, "helo.example.org", rows[i].sender, &asked);
        if (spf_result(s) != rows[i].result)
            print_error("%s from %s: %s (%s), not %s\n", rows[i].sender, rows[i].ip,
                        spf_result_text(spf_result(s)), spf_reason(s),
                        spf_result_text(rows[i].result));
        assert_int_equal(spf_result(s), rows[i].result);
        assert_true(*spf_reason(s));
        spf_free(s);
    }
}

static void null_sender(void **state)
{
    unsigned asked;
    struct spf *s = check("192.0.2.1", "ip.example.com", "", &asked);

    (void)state;
    assert_int_equal(spf_result(s), SPF_PASS);
    assert_int_equal(asked, 1);
    spf_free(s);
}

static void explanations(void **state)
{
    unsigned asked;
    struct spf *s = check("192.0.2.1", "h", "a b@exp.example.com", &asked);

    (void)state;
    assert_int_equal(spf_result(s), SPF_FAIL);
    assert_true(
        sv_eq(spf_explanation(s),
              SV("192.0.2.1 is not one of exp.example.com's, a%20b%40exp.example.com 100%")));
    spf_free(s);
    s = check("192.0.2.1", "h", "a@exp2.example.com", &asked);
    assert_int_equal(spf_result(s), SPF_FAIL);
    assert_true(spf_explanation(s).len);
    spf_free(s);
}

/* RFC 7208 section 7.4 */
static void macros(void **state)
{
    static const struct {
        const char *text, *v4, *v6;
    } rows[] = {
        {"%{s}", "strong-bad@email.example.com", NULL},
        {"%{o}", "email.example.com", NULL},
        {"%{d}", "email.example.com", NULL},
        {"%{d4}", "email.example.com", NULL},
        {"%{d3}", "email.example.com", NULL},
        {"%{d2}", "example.com", NULL},
        {"%{d1}", "com", NULL},
        {"%{dr}", "com.example.email", NULL},
        {"%{d2r}", "example.email", NULL},
        {"%{l}", "strong-bad", NULL},
        {"%{l-}", "strong.bad", NULL},
        {"%{lr}", "strong-bad", NULL},
        {"%{lr-}", "bad.strong", NULL},
        {"%{l1r-}", "strong", NULL},
        {"%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com",
         "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6._spf.example.com"},
        {"%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com", NULL},
        {"%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net", NULL},
        {"%%%_%-", "% %20", NULL},
        {"%{p}", "unknown", NULL},
    };
    static const char *const wrong[] = {"%", "%{", "%{s", "%{x}", "%{s0}", "%{s!}", "%s", "%{c}"};
    struct spf_macros m = {
        .sender = SV("strong-bad@email.example.com"),
        .local = SV("strong-bad"),
        .sender_domain = SV("email.example.com"),
        .domain = SV("email.example.com"),
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (int v6 = 0; v6 < 2; v6++) {
            struct buf out = {0};
            m.is_v6 = v6;
            inet_pton(v6 ? AF_INET6 : AF_INET, v6 ? "2001:db8::cb01" : "192.0.2.3", m.address);
            assert_int_equal(spf_macro_expand(&out, sv_of(rows[i].text), &m, false), 0);
            assert_string_equal(buf_data(&out), v6 && rows[i].v6 ? rows[i].v6 : rows[i].v4);
            buf_free(&out);
        }
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        assert_int_equal(spf_macro_check(sv_of(wrong[i]), false), ERR_SYNTAX);
    assert_int_equal(spf_macro_check(SV("%{c} %{t} %{R}"), true), 0);
}

/* What of a record is a permanent error, whatever matches before it (sections 4.6, 5, 7.1, 12). */
static void syntax(void **state)
{
    static const struct {
        const char *text;
        bool ok;
    } rows[] = {
        {"v=spf1 a:museum -all", false},
        {"v=spf1 a:museum. -all", false},
        {"v=spf1 a:a.example. -all", true},
        {"v=spf1 a:111.222.33.44 -all", false},
        {"v=spf1 a:abc.123 -all", false},
        {"v=spf1 a:example.-com -all", false},
        {"v=spf1 a:example.xn--zckzah -all", true},
        {"v=spf1 a:foo:bar/baz.example.com -all", true},
        {"v=spf1 a: -all", false},
        {"v=spf1 a:/24 -all", false},
        {"v=spf1 a/0 -all", true},
        {"v=spf1 a/33 -all", false},
        {"v=spf1 a/024 -all", false},
        {"v=spf1 a//129 -all", false},
        {"v=spf1 a/24//64 -all", true},
        {"v=spf1 a//64/24 -all", false},
        {"v=spf1 a/ -all", false},
        {"v=spf1 a// -all", false},
        {"v=spf1 mx:%{d2} -all", true},
        {"v=spf1 mx:%{d2}com -all", false},
        {"v=spf1 mx:a.%{d2}com -all", false},
        {"v=spf1 mx:%{l.}.com -all", true},
        {"v=spf1 mx:%%.%{d -all", false},
        {"v=spf1 exists:%{i}.%{d}. -all", true},
        {"v=spf1 exists:%(ir).sbl.example.com -all", false},
        {"v=spf1 exists: -all", false},
        {"v=spf1 exists:a.example/24 -all", false},
        {"v=spf1 include:a.example/24 -all", false},
        {"v=spf1 include: -all", false},
        {"v=spf1 ptr/0 -all", false},
        {"v=spf1 ptr: -all", false},
        {"v=spf1 ip4:192.0.2.0/024 -all", false},
        {"v=spf1 ip4:192.0.2 -all", false},
        {"v=spf1 ip4:192.0.2.1:25 -all", false},
        {"v=spf1 ip4 -all", false},
        {"v=spf1 ip4:192.0.2.1/ -all", false},
        {"v=spf1 ip6:2001:db8::1/129 -all", false},
        {"v=spf1 ip6:::1.1.1.1/0 -all", true},
        {"v=spf1 all/8", false},
        {"v=spf1 -all.", false},
        {"v=spf1 -all foo=%abc", false},
        {"v=spf1 -all foo=%{d}", true},
        {"v=spf1 -all =x", false},
        {"v=spf1 -all 1x=y", false},
        {"v=spf1 -all moo.cow-far_out=man:dog/cat", true},
        {"v=spf1 -all redirect=", false},
        {"v=spf1 -all exp=", false},
        {"v=spf1 -all exp=museum", false},
        {"v=spf1 -all exp=a.example exp=b.example", false},
        {"v=spf1 -all -exp=a.example", false},
        {"v=spf1  -all  ", true},
        {"v=spf1 \t-all", false},
        {"v=spf1 a:\xc3\xa4.example -all", false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct arena a = {0};
        struct spf_record r;
        struct err e = {0};
        bool ok = spf_record_parse(sv_of(rows[i].text), &a, &r, &e) == 0;
        if (ok != rows[i].ok)
            print_error("%s: %s\n", rows[i].text, ok ? "taken" : e.text);
        assert_int_equal(ok, rows[i].ok);
        arena_free(&a);
    }
}

/* The way to a result, for a person. */
static void trail(void **state)
{
    unsigned asked;
    struct spf *s = check("192.0.2.1", "h", "a@include6.example.com", &asked);
    struct strview domain;
    size_t count;
    const struct spf_visit *v = spf_trail(s, &count);

    (void)state;
    assert_int_equal(count, 3);
    assert_int_equal(v[0].depth, 0);
    assert_sv_equal(v[1].domain, "include.example.com");
    assert_int_equal(v[2].depth, 2);
    assert_sv_equal(v[2].record, "v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 ~all");
    assert_sv_equal(spf_match(s, &domain), "ip4:192.0.2.0/24");
    assert_sv_equal(domain, "ip.example.com");
    assert_int_equal(spf_lookups(s), 2);
    spf_free(s);

    s = check("192.0.2.1", "h", "a@redirect.example.com", &asked);
    v = spf_trail(s, &count);
    assert_int_equal(count, 2);
    assert_true(v[1].is_redirect && !v[1].depth);
    spf_free(s);

    s = check("192.0.2.1", "h", "a@neutral.example.com", &asked);
    assert_int_equal(spf_match(s, &domain).len, 0);
    spf_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(results), cmocka_unit_test(null_sender), cmocka_unit_test(explanations),
        cmocka_unit_test(macros),  cmocka_unit_test(syntax),      cmocka_unit_test(trail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
