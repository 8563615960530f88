/*
 * Which recipients are for ourselves, what our addresses say when they come back, and origins.
 */
#include "config_memory.h"

#include "base/clock.h"
#include "verp/origins.h"
#include "verp/verp.h"

#include <stdio.h>

static const char config_text_[] =
    "[pmta]\n[listener 127.0.0.1:2525]\n[pipe bulk]\nverp = yes\n"
    "bounce-address = b@bounces.example.com\nunsubscribe-address = unsub@u.example.com\n"
    "[pipe other]\n"
    "[bounce-processor main]\ninbound-address = @bounces.example.com\n"
    "inbound-address = postmaster@example.com\npipe = other\n"
    "[bounce-processor old]\ninbound-address = old-*@bounces.example.com\n"
    "[feedback-loop-processor fbl]\ninbound-address = fbl@bounces.example.com\n";

static struct config *config_of(const char *text)
{
    const char *files[] = {"d/a.conf", text, NULL};
    struct config *cfg = NULL;
    struct config_report r = {0};

    if (load_files(files, &cfg, &r) < 0)
        fail_msg("%s", buf_data(&r.text));
    buf_free(&r.text);
    return cfg;
}

static void test_table(void **state)
{
    (void)state;
    static const struct {
        const char *address;
        bool found;
        enum inbound_use use;
        const char *processor, *token;
    } rows[] = {
        {"b@bounces.example.com", true, INBOUND_BOUNCES, "main", ""},
        {"B+abc=def@Bounces.Example.COM", true, INBOUND_BOUNCES, "main", "abc=def"},
        {"b+@bounces.example.com", true, INBOUND_BOUNCES, "main", ""},
        {"any.thing@bounces.example.com", true, INBOUND_BOUNCES, "main", ""},
        {"old-x@bounces.example.com", true, INBOUND_BOUNCES, "old", ""},
        {"OLD-@bounces.example.com", true, INBOUND_BOUNCES, "old", ""},
        {"fbl@bounces.example.com", true, INBOUND_FEEDBACK, "fbl", ""},
        {"fbl2@bounces.example.com", true, INBOUND_BOUNCES, "main", ""},
        {"Postmaster@example.com", true, INBOUND_BOUNCES, "main", ""},
        {"unsub+tok@u.example.com", true, INBOUND_UNSUBSCRIBE, NULL, "tok"},
        {"unsub@u.example.com", false, INBOUND_NONE, NULL, ""},
        {"unsubx+tok@u.example.com", false, INBOUND_NONE, NULL, ""},
        {"joe@example.com", false, INBOUND_NONE, NULL, ""},
        {"joe@bounces.example.com.", false, INBOUND_NONE, NULL, ""},
        {"joe", false, INBOUND_NONE, NULL, ""},
        {"", false, INBOUND_NONE, NULL, ""},
    };
    struct config *cfg = config_of(config_text_);
    struct inbound_table *t = inbound_table_new(cfg);
    struct inbound_match m;

    assert_true(inbound_table_takes_mail(t));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(inbound_table_find(t, sv_of(rows[i].address), &m), rows[i].found);
        assert_int_equal(m.use, rows[i].use);
        if (rows[i].processor)
            assert_string_equal(m.processor, rows[i].processor);
        else
            assert_null(m.processor);
        assert_sv_equal(m.token, rows[i].token);
    }
    assert_true(inbound_table_find(t, SV("x@bounces.example.com"), &m));
    assert_string_equal(m.pipe, "other");
    inbound_table_free(t);
    config_unref(cfg);
}

/* Bounce addresses whose reports go elsewhere are known, but nothing takes mail to them. */
static void test_table_without_processor(void **state)
{
    (void)state;
    struct config *cfg = config_of("[pmta]\n[listener 127.0.0.1:2525]\n[pipe bulk]\n"
                              "bounce-address = b@bounces.example.com\n");
    struct inbound_table *t = inbound_table_new(cfg);
    struct inbound_match m;

    assert_false(inbound_table_takes_mail(t));
    assert_true(inbound_table_find(t, SV("b+x@bounces.example.com"), &m));
    assert_int_equal(m.use, INBOUND_NONE);
    assert_int_equal(m.token_use, MAIL_TOKEN_BOUNCE);
    inbound_table_free(t);
    config_unref(cfg);
}

static void test_forms(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool pattern, base;
    } rows[] = {
        {"b@example.com", true, true},      {" b@example.com ", true, true},
        {"@example.com", true, false},      {"b+*@example.com", true, false},
        {"b.*@example.com", true, false},   {"*@example.com", false, false},
        {"b*c@example.com", false, false},  {"b", false, false},
        {"b@", false, false},               {"b@ex ample", false, false},
        {"\"b\"@example.com", false, false}, {"a..b@example.com", false, false},
        {"a@b@example.com", false, false},  {"abcdefghijklmnopqrstuvwx@example.com", true, false},
        {"abcdefghijklmnopqrstuvw@example.com", true, true},
    };
    struct inbound_pattern p;
    struct strview local, domain;
    struct err e;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(inbound_pattern_parse(sv_of(rows[i].text), &p, &e) == 0, rows[i].pattern);
        assert_int_equal(inbound_base_parse(sv_of(rows[i].text), &local, &domain, &e) == 0,
                         rows[i].base);
    }
}

/* --- addresses --- */

struct pipes {
    struct config *cfg;
    struct verp *bulk, *other, *stranger;
};

static struct verp *open_verp(const char *pipe, const char *secret, struct config *cfg)
{
    struct verp *v = verp_new(pipe, NULL, NULL);
    struct mail_token_key key;

    assert_int_equal(mail_token_key_derive(sv_of(secret), &key, NULL), 0);
    verp_set_key(v, &key);
    verp_configure(v, cfg);
    return v;
}

static int open_pipes(void **state)
{
    struct pipes *p = xcalloc(1, sizeof(*p));

    p->cfg = config_of(config_text_);
    p->bulk = open_verp("bulk", "0123456789abcdef0123456789abcdef", p->cfg);
    p->other = open_verp("other", "0123456789abcdef0123456789abcdef", p->cfg);
    p->stranger = open_verp("bulk", "another secret of somebody else!", p->cfg);
    *state = p;
    return 0;
}

static int close_pipes(void **state)
{
    struct pipes *p = *state;

    verp_free(p->bulk);
    verp_free(p->other);
    verp_free(p->stranger);
    config_unref(p->cfg);
    free(p);
    return 0;
}

static const struct verp_mail mail = {
    .job = {"spring-7", 8},
    .vmta = {"mta1", 4},
    .sender = {"News@shop.example", 17},
    .rcpt = {"Joe+x@example.org", 17},
};

static struct strview make(struct verp *v, struct arena *a, const struct verp_mail *m)
{
    struct verp_base base = verp_base_of("b@bounces.example.com");
    struct strview address;

    assert_true(verp_sender(v, &base, m, a, &address));
    return address;
}

static void test_address_says_origin(void **state)
{
    struct pipes *p = *state;
    struct arena a = {0};
    struct verp_origin o;
    struct strview address = make(p->bulk, &a, &mail);

    assert_true(sv_starts_nocase(address, SV("b+")));
    assert_true(sv_ends_nocase(address, SV("-joe=2bx=example.org@bounces.example.com")));
    assert_int_equal(verp_read(p->bulk, address, &a, &o), 0);
    assert_true(o.known);
    assert_sv_equal(o.pipe, "bulk");
    assert_sv_equal(o.job, "spring-7");
    assert_sv_equal(o.vmta, "mta1");
    assert_sv_equal(o.sender, "News@shop.example");
    assert_sv_equal(o.rcpt, "joe+x@example.org");
    assert_true(verp_is_rcpt(p->bulk, &o, SV("JOE+X@EXAMPLE.ORG")));
    assert_false(verp_is_rcpt(p->bulk, &o, SV("jim@example.org")));
    /* another pipe knows what the address itself says */
    assert_int_equal(verp_read(p->other, address, &a, &o), 0);
    assert_false(o.known);
    assert_sv_equal(o.pipe, "bulk");
    assert_sv_equal(o.rcpt, "joe+x@example.org");
    arena_free(&a);
}

static void test_forged_addresses(void **state)
{
    struct pipes *p = *state;
    struct arena a = {0};
    struct verp_origin o;
    struct strview theirs = make(p->stranger, &a, &mail);

    assert_int_equal(verp_read(p->bulk, theirs, &a, &o), ERR_AUTH);
    assert_int_equal(verp_read(p->bulk, SV("b+x@bounces.example.com"), &a, &o), ERR_AUTH);
    assert_int_equal(verp_read(p->bulk, SV("b@bounces.example.com"), &a, &o), ERR_NOT_FOUND);
    assert_int_equal(verp_read(p->bulk, SV("joe@example.org"), &a, &o), ERR_NOT_FOUND);
    arena_free(&a);
}

static void test_old_address(void **state)
{
    struct pipes *p = *state;
    const int64_t day = 24 * 3600 * 1000LL, now = clock_wall_ms();
    struct arena a = {0};
    struct verp_origin o;

    clock_fake_set(now);
    struct strview address = make(p->bulk, &a, &mail);
    clock_fake_set(now + 60 * day);
    assert_int_equal(verp_read(p->bulk, address, &a, &o), 0);
    clock_fake_set(now + 61 * day);
    assert_int_equal(verp_read(p->bulk, address, &a, &o), ERR_TIMEOUT);
    assert_sv_equal(o.rcpt, "joe+x@example.org");
    arena_free(&a);
}

static void test_null_sender_stays(void **state)
{
    struct pipes *p = *state;
    struct verp_base base = verp_base_of("b@bounces.example.com"), none = verp_base_of(NULL);
    struct verp_mail m = mail;
    struct arena a = {0};
    struct strview address;

    assert_false(verp_sender(p->bulk, &none, &m, &a, &address));
    m.sender = SV("");
    assert_false(verp_sender(p->bulk, &base, &m, &a, &address));
    arena_free(&a);
}

static void test_unsubscribe_address(void **state)
{
    struct pipes *p = *state;
    struct verp_base base = verp_base_of("unsub@u.example.com");
    struct arena a = {0};
    struct buf b = {0};
    struct verp_origin o;
    struct suppress_entry e;
    static const struct {
        enum suppress_scope scope;
        const char *name, *forgotten;
    } rows[] = {{SUPPRESS_GLOBAL, "", ""},
                {SUPPRESS_PIPE, "bulk", "bulk"},
                {SUPPRESS_DOMAIN, "shop.example", "bulk"},
                {SUPPRESS_JOB, "spring-7", "bulk"}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct mail_token t = {.use = MAIL_TOKEN_UNSUBSCRIBE, .scope = (uint8_t)rows[i].scope};
        verp_token(p->bulk, &mail, &t);
        buf_reset(&b);
        assert_true(verp_address(p->bulk, &base, &t, mail.rcpt, &b));
        assert_int_equal(verp_read(p->bulk, buf_view(&b), &a, &o), 0);
        assert_true(verp_unsubscribes(&o, o.rcpt, &e));
        assert_int_equal(e.scope, rows[i].scope);
        assert_int_equal(e.reason, SUPPRESS_BY_UNSUBSCRIBE);
        assert_sv_equal(e.scope_name, rows[i].name);
        assert_sv_equal(e.address, "joe+x@example.org");
        /* the origin is forgotten: the pipe */
        assert_int_equal(verp_read(p->other, buf_view(&b), &a, &o), 0);
        assert_true(verp_unsubscribes(&o, o.rcpt, &e));
        assert_sv_equal(e.scope_name, rows[i].forgotten);
        /* a bounce address does not unsubscribe, nor the other way round */
        assert_false(verp_unsubscribes(&o, sv("", 0), &e));
    }
    assert_int_equal(verp_read(p->bulk, make(p->bulk, &a, &mail), &a, &o), 0);
    assert_false(verp_unsubscribes(&o, o.rcpt, &e));
    arena_free(&a);
    buf_free(&b);
}

static void test_plain_verp(void **state)
{
    (void)state;
    static const struct {
        const char *sender, *rcpt, *out;
    } rows[] = {
        {"u@d.example", "r@e.example", "u-r=e.example@d.example"},
        {"list-owner@d", "j.doe+x@E.org", "list-owner-j.doe+x=E.org@d"},
        {"", "r@e.example", NULL},
        {"\"a b\"@d", "r@e.example", NULL},
        {"u@d", "r@[192.0.2.1]", NULL},
        {"u@d", "a-local-part-of-some-length.and-more@with-a-domain-of-some-length.example", NULL},
    };
    struct arena a = {0};
    struct strview out;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        bool made = verp_plain_sender(sv_of(rows[i].sender), sv_of(rows[i].rcpt), &a, &out);
        assert_int_equal(made, rows[i].out != NULL);
        if (made)
            assert_sv_equal(out, rows[i].out);
    }
    arena_free(&a);
}

/* --- origins --- */

static void count_change(void *arg)
{
    ++*(int *)arg;
}

static void test_origins(void **state)
{
    (void)state;
    int changes = 0;
    struct origins *o = origins_new(count_change, &changes), *again;
    const struct origin one = {SV("job"), SV("mta1"), SV("a@b")};
    const struct origin none = {SV(""), SV("mta1"), SV("\"a b\"@b")};
    struct origin got;
    struct buf text = {0};

    uint32_t n = origins_number(o, &one, 100);
    assert_true(n != 0);
    assert_int_equal(changes, 1);
    assert_int_equal(origins_number(o, &one, 100), n);
    assert_int_equal(changes, 1); /* nothing new to write */
    uint32_t m = origins_number(o, &none, 100);
    assert_int_equal(changes, 2);
    assert_int_equal(origins_number(o, &one, 101), n);
    assert_int_equal(changes, 3);
    assert_true(m && m != n);
    assert_true(origins_find(o, m, &got));
    assert_sv_equal(got.job, "");
    assert_sv_equal(got.sender, "\"a b\"@b");
    assert_false(origins_find(o, n ^ m ^ 1, &got));
    assert_false(origins_find(o, 0, &got));

    origins_write(o, &text);
    buf_append_str(&text, "rubbish\n7 7 no tabs\n99999999999 1 a\tb\tc\n");
    again = origins_new(NULL, NULL);
    origins_read(again, buf_view(&text));
    assert_int_equal(origins_count(again), 2);
    assert_true(origins_find(again, n, &got));
    assert_sv_equal(got.job, "job");
    assert_sv_equal(got.vmta, "mta1");
    assert_sv_equal(got.sender, "a@b");
    origins_forget(again, 101);
    assert_int_equal(origins_count(again), 1);
    assert_true(origins_find(again, n, &got));
    origins_free(again);

    /* a crash loses the newest ones: the number comes out the same */
    again = origins_new(NULL, NULL);
    assert_int_equal(origins_number(again, &one, 200), n);
    origins_free(again);
    origins_free(o);
    buf_free(&text);
}

static void test_origins_bounded(void **state)
{
    (void)state;
    struct origins *o = origins_new(NULL, NULL);
    struct origin got, what = {SV("job"), SV("mta1"), SV("a@b")};
    char job[32];
    uint32_t oldest = 0, kept = 0;

    for (int i = 0; i < ORIGINS_MAX + 10; i++) {
        snprintf(job, sizeof(job), "job-%d", i);
        what.job = sv_of(job);
        uint32_t n = origins_number(o, &what, 1);
        if (i == 0)
            oldest = n;
        if (i == 1)
            kept = n;
        if (i == ORIGINS_MAX - 1) { /* used again: others go first */
            what.job = SV("job-1");
            assert_int_equal(origins_number(o, &what, 2), kept);
        }
    }
    assert_int_equal(origins_count(o), ORIGINS_MAX);
    assert_false(origins_find(o, oldest, &got));
    assert_true(origins_find(o, kept, &got));
    what.job = SV("a\tb");
    assert_int_equal(origins_number(o, &what, 1), 0);
    origins_free(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_table_without_processor),
        cmocka_unit_test(test_forms),
        cmocka_unit_test_setup_teardown(test_address_says_origin, open_pipes, close_pipes),
        cmocka_unit_test_setup_teardown(test_forged_addresses, open_pipes, close_pipes),
        cmocka_unit_test_setup_teardown(test_old_address, open_pipes, close_pipes),
        cmocka_unit_test_setup_teardown(test_null_sender_stays, open_pipes, close_pipes),
        cmocka_unit_test_setup_teardown(test_unsubscribe_address, open_pipes, close_pipes),
        cmocka_unit_test(test_plain_verp),
        cmocka_unit_test(test_origins),
        cmocka_unit_test(test_origins_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
