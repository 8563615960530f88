/*
 * Keys, plans and the signer: which keys sign which mail, what happens when they change or cannot be
 * used, and that the threads give back what they took. Whether the signatures are good is for
 * verifiers that are not ours (tests/dkim).
 */
#include "unit.h"

#include "base/clock.h"
#include "key/key_make.h"
#include "mail/config.h"
#include "mail/key_file.h"
#include "mail/signing.h"
#include "sign/signer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define NOW_MS 1795233906000 /* 2026-11-21 */

static char dir[] = "/tmp/pmta-sign-XXXXXX";

static char *path_of(const char *name, char out[128])
{
    snprintf(out, 128, "%s/%s", dir, name);
    return out;
}

static int make_directory(void **state)
{
    char path[128];
    (void)state;
    if (!mkdtemp(dir) || key_make(path_of("r.pem", path), 1024, NULL) < 0 ||
        key_make(path_of("e.pem", path), 0, NULL) < 0)
        return -1;
    clock_fake_set(NOW_MS);
    return 0;
}

static int remove_directory(void **state)
{
    static const char *const names[] = {"r.pem", "e.pem", "x.pem", "a.conf"};
    char path[128];
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        unlink(path_of(names[i], path));
    return rmdir(dir);
}

static struct config *load(const char *text)
{
    struct config_report report = {0};
    struct config *cfg = NULL;
    char path[128];
    FILE *f = fopen(path_of("a.conf", path), "w");

    fprintf(f,
            "[pmta]\nuser = root\n[listener 127.0.0.1:25]\n[pipe p]\n[pipe q]\n"
            "[virtual-mta v]\n[virtual-mta w]\n%s",
            text);
    fclose(f);
    if (config_load(dir, 1, &cfg, &report) < 0)
        fail_msg("%s", buf_data(&report.text));
    buf_free(&report.text);
    return cfg;
}

static int put(struct keyring *r, const char *name, struct err *e)
{
    char path[128];
    int fd = open(path_of(name, path), O_RDONLY);
    assert_true(fd >= 0);
    int status = keyring_put(r, path, fd, e);
    close(fd);
    return status;
}

/* "selector/domain selector/domain", or what the plan says why not. */
static const char *signs(struct keyring *r, struct config *cfg, struct sign_scope scope)
{
    static char text[512];
    struct sign_plan *p = keyring_plan(r, cfg, &scope);
    size_t n = 0;

    text[0] = '\0';
    for (size_t i = 0; i < p->count; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s/%s", i ? " " : "",
                              p->with[i].selector, p->with[i].domain);
    if (p->identity)
        n += (size_t)snprintf(text + n, sizeof(text) - n, " i=%s", p->identity);
    if (p->unusable)
        snprintf(text + n, sizeof(text) - n, "!%s", p->unusable);
    sign_plan_unref(p);
    return text;
}

static void chooses_keys(void **state)
{
    static const struct {
        const char *config, *from, *sender, *vmta, *options, *expected;
    } rows[] = {
        {"domain-key = s,b.example,r.pem", "b.example", "", "v", "", "s/b.example"},
        {"domain-key = s,b.example,r.pem", "mail.b.example", "", "v", "", "s/b.example"},
        {"domain-key = s,b.example,r.pem", "xb.example", "", "v", "", ""},
        {"domain-key = s,b.example,r.pem\ndkim-key = e.pem e b.example", "b.example", "", "v", "",
         "s/b.example e/b.example"},
        {"domain-key = s,b.example,r.pem\ndomain-key = e,b.example,e.pem\n"
         "dkim-algorithm = ed25519-sha256",
         "b.example", "", "v", "", "e/b.example"},
        /* From and Sender: both domains */
        {"domain-key = s,b.example,r.pem\ndomain-key = t,esp.example,e.pem", "b.example",
         "esp.example", "v", "", "t/esp.example s/b.example"},
        {"domain-key = s,b.example,r.pem\ndomain-key = t,esp.example,e.pem\n"
         "dkim-identity = strict-from",
         "b.example", "esp.example", "v", "", "s/b.example"},
        {"domain-key = s,b.example,r.pem\nsecond-domain-key = t,esp.example,e.pem", "b.example", "",
         "v", "", "s/b.example t/esp.example"},
        {"domain-key = s,*,r.pem", "c.example", "", "v", "", "s/c.example"},
        /* what a From may not put behind d= */
        {"domain-key = s,*,r.pem", "c.example;x=", "", "v", "", ""},
        {"domain-key = s,*,r.pem", "c..example", "", "v", "", ""},
        {"domain-key = s,b.example,r.pem\ndkim-identity-fallback = @b.example", "c.example", "",
         "v", "", "s/b.example i=@b.example"},
        {"domain-key = s,b.example,r.pem\ndkim-identity = bounce@b.example", "c.example", "", "v",
         "", "s/b.example i=bounce@b.example"},
        {"dkim-private-key = r.pem\ndkim-selector = s", "b.example", "", "v", "", "s/b.example"},
        {"domain-key = s,b.example,r.pem\ndkim-sign = no", "b.example", "", "v", "", ""},
        /* narrower scopes come first, and can clear */
        {"domain-key = s,b.example,r.pem\n[virtual-mta v]\ndomain-key = n,b.example,e.pem",
         "b.example", "", "v", "", "n/b.example s/b.example"},
        {"domain-key = s,b.example,r.pem\n[virtual-mta v]\ndomain-key = n,b.example,e.pem",
         "b.example", "", "w", "", "s/b.example"},
        {"domain-key = s,b.example,r.pem\n[virtual-mta v]\ndomain-key = \"\"", "b.example", "", "v",
         "", ""},
        {"[domain b.example]\ndomain-key = s,b.example,r.pem", "b.example", "", "v", "",
         "s/b.example"},
        /* X-DKIM-Options */
        {"domain-key = s,b.example,r.pem\ndomain-key = e,b.example,e.pem", "b.example", "", "v",
         "s=e", "e/b.example"},
        {"domain-key = s,b.example,r.pem\ndomain-key = e,c.example,e.pem", "b.example", "", "v",
         "d=c.example; i=x@c.example", "e/c.example i=x@c.example"},
        {"domain-key = s,b.example,r.pem\nsecond-domain-key = t,esp.example,e.pem", "b.example", "",
         "v", "s=s", "s/b.example t/esp.example"},
        {"[virtual-mta w]\ndomain-key = s,b.example,r.pem", "b.example", "", "v", "s=s",
         "!no DKIM key is what X-DKIM-Options of the message asks for"},
        /* dates */
        {"domain-key = s,b.example,r.pem,until=2026-12-01\n"
         "domain-key = n,b.example,e.pem,from=2026-12-01",
         "b.example", "", "v", "", "s/b.example"},
        {"domain-key = s,b.example,r.pem,from=2026-12-01", "b.example", "", "v", "",
         "!no DKIM key of 'b.example' is in force now (from= and until= of its domain-key)"},
        {"domain-key = s,b.example,r.pem,from=2026-12-01\ndkim-required = no", "b.example", "", "v",
         "", ""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[512];
        snprintf(text, sizeof(text), "%s%s\n", rows[i].config[0] == '[' ? "" : "[pmta]\n",
                 rows[i].config);
        struct config *cfg = load(text);
        struct keyring *r = keyring_new();
        assert_int_equal(put(r, "r.pem", NULL), 0);
        assert_int_equal(put(r, "e.pem", NULL), 0);
        const char *got = signs(r, cfg,
                                (struct sign_scope){.vmta = sv_of(rows[i].vmta),
                                                    .pipe = SV("p"),
                                                    .from_domain = sv_of(rows[i].from),
                                                    .sender_domain = sv_of(rows[i].sender),
                                                    .options = sv_of(rows[i].options)});
        if (strcmp(got, rows[i].expected) != 0)
            fail_msg("row %zu: '%s', expected '%s'", i, got, rows[i].expected);
        keyring_free(r);
        config_unref(cfg);
    }
}

static const struct sign_scope usual = {
    .vmta = {"v", 1}, .pipe = {"p", 1}, .from_domain = {"b.example", 9}};

static void switches_on_the_date(void **state)
{
    struct config *cfg = load("[pmta]\ndomain-key = s,b.example,r.pem,until=2026-12-01\n"
                              "domain-key = n,b.example,e.pem,from=2026-12-01T00:00Z\n");
    struct keyring *r = keyring_new();

    (void)state;
    put(r, "r.pem", NULL);
    put(r, "e.pem", NULL);
    assert_string_equal(signs(r, cfg, usual), "s/b.example");
    clock_fake_set(1796083200000 - 1); /* the last moment of November */
    assert_string_equal(signs(r, cfg, usual), "s/b.example");
    clock_fake_set(1796083200000);
    assert_string_equal(signs(r, cfg, usual), "n/b.example");
    clock_fake_set(NOW_MS);
    keyring_free(r);
    config_unref(cfg);
}

static void keys_come_and_go(void **state)
{
    struct config *cfg = load("[pmta]\ndomain-key = s,b.example,r.pem\n");
    struct keyring *r = keyring_new();
    struct err e = {0};
    char path[128];

    (void)state;
    assert_non_null(strstr(signs(r, cfg, usual), "r.pem' cannot be used"));
    put(r, "r.pem", NULL);
    assert_string_equal(signs(r, cfg, usual), "s/b.example");
    keyring_begin(r); /* the next configuration names none */
    assert_string_equal(signs(r, cfg, usual), "s/b.example");
    keyring_end(r);
    assert_int_equal(signs(r, cfg, usual)[0], '!');

    FILE *f = fopen(path_of("x.pem", path), "w");
    fputs("no key\n", f);
    fclose(f);
    assert_true(put(r, "x.pem", &e) < 0);
    assert_non_null(strstr(e.text, "x.pem"));
    keyring_free(r);
    config_unref(cfg);
}

static void makes_keys(void **state)
{
    static const unsigned bits[] = {0, 1024, 1152, 2048};
    struct err e;
    char path[128];

    (void)state;
    path_of("x.pem", path);
    for (size_t i = 0; i < ARRAY_LEN(bits); i++) {
        struct key_file info;
        struct sign_key *k;
        struct stat st;
        int fd = -1;
        unlink(path);
        assert_int_equal(key_make(path, bits[i], &e), 0);
        assert_int_equal(key_make(path, bits[i], &e), -EEXIST);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        assert_int_equal(key_file_open(path, (uid_t)-1, &info, &fd, &e), 0);
        assert_int_equal(sign_key_load(fd, path, &k, &e), 0);
        assert_int_equal(sign_key_bits(k), info.bits);
        assert_int_equal(info.bits, bits[i] ? bits[i] : 256);
        assert_int_equal(info.kind, bits[i] ? KEY_FILE_RSA : KEY_FILE_ED25519);
        close(fd);
        sign_key_unref(k);
    }
}

static void refuses_key_files(void **state)
{
    static const struct {
        const char *text, *expected;
    } rows[] = {
        {"", "holds no RSA"},
        {"-----BEGIN PRIVATE KEY-----\n", "holds no RSA"},
        {"-----BEGIN PRIVATE KEY-----\nMC4=\n-----END PRIVATE KEY-----\n", "holds no RSA"},
        {"-----BEGIN PRIVATE KEY-----\n????\n-----END PRIVATE KEY-----\n", "holds no RSA"},
        {"-----BEGIN RSA PRIVATE KEY-----\nMAgCAQACAwEAAQ==\n-----END RSA PRIVATE KEY-----\n",
         "RSA key of 17 bits"},
        {"-----BEGIN ENCRYPTED PRIVATE KEY-----\nMC4=\n-----END ENCRYPTED PRIVATE KEY-----\n",
         "holds no RSA"},
    };
    struct key_file info;
    struct err e;
    char path[128];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(key_file_parse(sv_of(rows[i].text), &info, &e), ERR_CONFIG);
        assert_non_null(strstr(e.text, rows[i].expected));
    }
    assert_int_equal(key_file_open(dir, (uid_t)-1, &info, NULL, &e), ERR_CONFIG);
    assert_int_equal(key_file_open(path_of("none.pem", path), (uid_t)-1, &info, NULL, &e), -ENOENT);
}

/* --- signer --- */

struct many {
    unsigned done, failed;
};

static struct many many;

static void on_done(struct sign_request *r)
{
    many.done++;
    many.failed += r->status != 0 || !buf_len(&r->fields);
    buf_free(&r->fields);
}

static const char content[] = "From: a@b.example\r\nSubject: x\r\n\r\nhello  world \r\n\r\n";

static struct sign_request request_for(struct sign_plan *plan)
{
    return (struct sign_request){.plan = plan,
                                 .content = sv_of(content),
                                 .fd = -1,
                                 .content_bytes = sizeof(content) - 1,
                                 .header_bytes = 33,
                                 .time_s = 1,
                                 .done = on_done};
}

static void signs_in_threads(void **state)
{
    enum { REQUESTS = 200 };
    static struct sign_request requests[REQUESTS];
    struct config *cfg = load("[pmta]\ndomain-key = s,b.example,r.pem\n"
                              "domain-key = e,b.example,e.pem\nbimi-selector = logo\n");
    struct keyring *r = keyring_new();
    uv_loop_t loop;

    (void)state;
    put(r, "r.pem", NULL);
    put(r, "e.pem", NULL);
    assert_int_equal(uv_loop_init(&loop), 0);
    struct signer *s = signer_new(&loop);
    struct sign_plan *plan = keyring_plan(r, cfg, &usual);
    many = (struct many){0};
    for (int i = 0; i < REQUESTS; i++) {
        requests[i] = request_for(plan);
        signer_submit(s, &requests[i]);
        assert_int_equal(many.done, 0); /* never inside the call */
    }
    assert_int_equal(signer_pending(s), REQUESTS);
    unsigned lots = 0;
    for (unsigned before = 0; signer_pending(s); before = many.done) {
        uv_run(&loop, UV_RUN_ONCE);
        lots += many.done != before;
    }
    assert_in_range(lots, 1, 50); /* each is a third of what is left, at least */
    assert_int_equal(many.done, REQUESTS);
    assert_int_equal(many.failed, 0);
    sign_plan_unref(plan);
    signer_free(s);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    keyring_free(r);
    config_unref(cfg);
}

/* The content in a file, without a body hash: the same fields as from memory. Ed25519 and PKCS #1
 * signatures do not differ from one time to the next. */
static void signs_from_a_file(void **state)
{
    struct config *cfg = load("[pmta]\ndomain-key = s,b.example,r.pem\n"
                              "domain-key = e,b.example,e.pem\n");
    struct keyring *r = keyring_new();
    struct sign_plan *plan;
    FILE *f = tmpfile();

    (void)state;
    put(r, "r.pem", NULL);
    put(r, "e.pem", NULL);
    plan = keyring_plan(r, cfg, &usual);
    struct sign_request memory = request_for(plan), file = request_for(plan);
    fputs("before", f);
    fputs(content, f);
    fflush(f);
    file.content = sv(NULL, 0);
    file.fd = fileno(f);
    file.offset = 6;
    sign_request_run(&memory);
    sign_request_run(&file);
    assert_int_equal(memory.status, 0);
    assert_int_equal(file.status, 0);
    assert_string_equal(buf_data(&memory.fields), buf_data(&file.fields));
    buf_free(&memory.fields);
    buf_free(&file.fields);
    file.content_bytes += 10; /* the file ends before the message */
    file.has_body_hash = false;
    sign_request_run(&file);
    assert_int_equal(file.status, ERR_CORRUPT);
    assert_int_equal(buf_len(&file.fields), 0);
    fclose(f);
    sign_plan_unref(plan);
    keyring_free(r);
    config_unref(cfg);
}

static void options_of_messages(void **state)
{
    static const struct {
        const char *text;
        bool good;
    } rows[] = {
        {"s=a; d=b.example; i=x@b.example", true},
        {"S = a ;", true},
        {"", true},
        {"q=dns/txt; s=a", true},
        {"s=a; s=b", false},
        {"key-list=x", false},
        {"s=", false},
        {"d=a b", false},
        {"i=nobody", false},
        {"i=a@b;c", false},
        {"s", false},
        {"d=b.example\r\n X: y", false},
    };
    struct signing_options o;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_int_equal(signing_options_parse(sv_of(rows[i].text), &o, NULL) == 0, rows[i].good);
}

static void needs_of_pipes(void **state)
{
    struct config *cfg = load("[pipe p]\ndomain-key = s,b.example,r.pem\n"
                              "[pipe p, domain x.example]\n"
                              "dkim-canonicalization = simple/simple\n"
                              "[pipe q]\nbimi-selector = logo\n");
    struct signing_needs n;

    (void)state;
    signing_needs(cfg, SV("p"), &n);
    assert_true(n.keys && !n.bimi && n.relaxed && n.simple);
    signing_needs(cfg, SV("q"), &n);
    assert_true(!n.keys && n.bimi && !n.relaxed && !n.simple);
    signing_needs(cfg, sv(NULL, 0), &n);
    assert_true(n.keys && n.bimi);
    assert_true(
        signing_options_known(cfg, SV("p"), &(struct signing_options){.selector = SV("s")}));
    assert_false(
        signing_options_known(cfg, SV("q"), &(struct signing_options){.selector = SV("s")}));
    config_unref(cfg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chooses_keys),      cmocka_unit_test(switches_on_the_date),
        cmocka_unit_test(keys_come_and_go),  cmocka_unit_test(makes_keys),
        cmocka_unit_test(refuses_key_files), cmocka_unit_test(signs_in_threads),
        cmocka_unit_test(signs_from_a_file), cmocka_unit_test(options_of_messages),
        cmocka_unit_test(needs_of_pipes),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
