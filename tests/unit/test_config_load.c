/*
 * The loader on files in memory: the traps of inih, includes, macros, references, error lines.
 */
#include "unit.h"

#include "config_memory.h"
#include "mail/host_list.h"

static void errors(void **state)
{
    static const char *const rows[][2] = {
        {"x\n", "d/a.conf:1: 'x' is not a setting (expected NAME = VALUE)\n"},
        {"receivers = 1\n",
         "d/a.conf:1: 'receivers' stands before the first section (expected [pmta] or another)\n"},
        {"[pmta\n", "d/a.conf:1: section header does not end (expected ']')\n"},
        {"[pmta]\nreceivers =\n", "d/a.conf:2: 'receivers' has no value (\"\" is empty)\n"},
        {"[pmta]\nreceivers = \"\"\n", "d/a.conf:2: receivers: cannot be empty\n"},
        {"[pmta]\nreceivers : 3\n",
         "d/a.conf:2: 'receivers : 3' is not a setting (expected NAME = VALUE)\n"},
        {"[pmta]\nuser = a\x01"
         "b\n",
         "d/a.conf:2: line has a control character\n"},
        {"[pmta]\nbounce-after = 5\n",
         "d/a.conf:2: bounce-after: '5' is not valid (expected an interval such as 30s, 5m or "
         "4d12h)\n"},
        {"[pmta]\ndns-timeout = 50ms\n",
         "d/a.conf:2: dns-timeout: 50ms is out of bounds (expected 100ms to 1m)\n"},
        {"[domain x.org]\nspool = /x\n",
         "d/a.conf:2: 'spool' cannot stand in [domain x.org] (expected in [pmta])\n"},
        {"[pipe a, pipe b]\n", "d/a.conf:1: 'pipe' stands twice in a section header\n"},
        {"[pipe Bulk]\n",
         "d/a.conf:1: pipe 'Bulk' and pipe 'bulk' at d/0.conf:1 differ only in case\n"},
        {"[pipe bulc, domain x.org]\n",
         "d/a.conf:1: pipe: 'bulc' is not defined (expected the name of a section [pipe]): did "
         "you mean 'bulk'?\n"},
        {"[virtual-mta mta1]\n[virtual-mta mta2, domain x.org]\n",
         "d/a.conf:2: virtual-mta: 'mta2' is not defined (expected the name of a section "
         "[virtual-mta]): did you mean 'mta1'?\n"},
        {"[virtual-mta-pool p]\nvirtual-mta = zzzzzzzz\n",
         "d/a.conf:2: virtual-mta: 'zzzzzzzz' is not defined (expected the name of a section "
         "[virtual-mta])\n"},
        {"[virtual-mta-pool p]\n", "d/a.conf:1: pool without virtual-mta\n"},
        {"[pmta]\nmax-msg-per-hour = x\n",
         "d/a.conf:2: max-msg-per-hour, which is max-msg-rate: 'x' is not valid (expected a rate "
         "such as 500/s, 600/h or 83/5s, or unlimited)\n"},
        {"[pmta]\nmax-conections = 5\n",
         "d/a.conf:2: unknown directive 'max-conections': did you mean 'max-connections'?\n"},
        {"[smtp-pattern-list l]\nreply = /(x/ skip-mx\n",
         "d/a.conf:2: reply: regular expression is not valid at byte 2: missing closing "
         "parenthesis\n"},
        {"[smtp-pattern-list l]\nreply = /x/ skip-mx,mode=back-off\n",
         "d/a.conf:2: reply: 'mode=back-off' is not an action: did you mean 'mode=backoff'?\n"},
        {"[smtp-user u]\n", "d/a.conf:1: smtp-user without password\n"},
        {"[listener x]\n", "d/a.conf:1: listener 'x' has no address (expected [listener "
                           "ADDR:PORT], or address = ADDR:PORT)\n"},
        {"[pmta]\ntls-key = /k\n",
         "d/a.conf:2: tls-key without tls-certificate in listener '127.0.0.1:2525' (expected "
         "both, or the certificate alone)\n"},
        {"[listener 127.0.0.1:2525]\ntls-implicit = yes\n",
         "d/a.conf:2: tls-implicit without tls-certificate\n"},
        {"[source 10.0.0.0/33]\n", "d/a.conf:1: '10.0.0.0/33' is not a network (expected ADDRESS, "
                                   "ADDRESS/BITS or a name)\n"},
        {"[domain $mms]\n[domain-macro ms]\ndomains = x.org\n",
         "d/a.conf:1: macro '$mms' is not defined: did you mean 'ms'?\n"},
        {"[domain $a]\n[domain-macro a]\n",
         "d/a.conf:1: macro '$a' at d/a.conf:2 has no domains\n"},
        {"[domain $a]\n[domain-macro a]\ndomains = $a\n",
         "d/a.conf:1: macro '$a' refers to itself, or macros are nested more than 16 deep\n"},
        {"[domain $a$a$a$a$a.org]\n[domain-macro a]\ndomains = a, b, c, d, e, f, g\n",
         "d/a.conf:1: macros give more than 10000 domain patterns\n"},
        {"[pmta]\ninclude = none.inc\n", "d/a.conf:2: include: no file matches 'd/none.inc'\n"},
        {"[pmta]\ninclude = a.conf\n", "d/a.conf:2: 'a.conf' includes itself\n"},
        {"[pmta]\ninclude = 0.conf\n",
         "d/a.conf:2: '0.conf' is read with its directory already (expected a file that does not "
         "end in .conf, or of another directory)\n"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct config *cfg = NULL;
        struct config_report r = {0};
        int ret = load(rows[i][0], &cfg, &r);
        assert_string_equal(buf_data(&r.text), rows[i][1]);
        assert_int_equal(ret, ERR_CONFIG);
        buf_free(&r.text);
    }
}

static void many_errors(void **state)
{
    struct buf text = {0};
    struct config *cfg = NULL;
    struct config_report r = {0};
    (void)state;
    for (int i = 0; i < 60; i++)
        buf_append_str(&text, "x\n");
    assert_int_equal(load(buf_data(&text), &cfg, &r), ERR_CONFIG);
    const char *last = strstr(buf_data(&r.text), "d/a.conf:50:");
    assert_non_null(last);
    assert_string_equal(strchr(last, '\n') + 1,
                        "d/a.conf: too many errors, the rest is not shown\n");
    buf_free(&text);
    buf_free(&r.text);
}

static void nothing(void **state)
{
    static const char *const files[] = {NULL};
    struct config *cfg = NULL;
    struct config_report r = {0};
    (void)state;
    assert_int_equal(load_files(files, &cfg, &r), ERR_CONFIG);
    assert_string_equal(buf_data(&r.text), "d: has no file that ends in .conf\n");
    buf_free(&r.text);
}

static void repeated(void **state)
{
    struct config *cfg = NULL;
    struct config_report r = {0};
    (void)state;
    assert_int_equal(load("[pmta]\nreceivers = 1\nreceivers = 2\n", &cfg, &r), 0);
    assert_string_equal(
        buf_data(&r.text),
        "d/a.conf:3: warning: 'receivers' was set at d/a.conf:2 already; this one counts\n");
    assert_int_equal(config_number(cfg, NULL, DIR_RECEIVERS), 2);
    config_unref(cfg);
    buf_free(&r.text);
}

/* Older names give the value of the real one, with their unit, and are seen as the same setting. */
static void aliases(void **state)
{
    const struct config_query x = {.domain = SV("x.org")}, y = {.domain = SV("y.org")};
    struct config *cfg = NULL;
    struct config_report r = {0};
    (void)state;
    load("[domain x.org]\nmax-msg-per-hour = 600\nmax-connections = 7\nbackoff-max-msg-per-hour = "
         "3/m\n[domain y.org]\nmax-msg-rate = 1/s\nmax-msg-per-hour = 0\n",
         &cfg, &r);
    assert_non_null(cfg);
    assert_string_equal(buf_data(&r.text), "d/a.conf:7: warning: 'max-msg-per-hour' (max-msg-rate) "
                                           "was set at d/a.conf:6 already; this one counts\n");
    const struct config_value *v = config_get(cfg, &x, DIR_MAX_MSG_RATE);
    assert_string_equal(v->text, "600/h");
    assert_int_equal(v->rate.count, 600);
    assert_int_equal(v->origin.line, 2);
    assert_int_equal(config_number(cfg, &x, DIR_MAX_SMTP_OUT), 7);
    assert_string_equal(config_text(cfg, &x, DIR_BACKOFF_MAX_MSG_RATE), "3/m");
    assert_int_equal(config_get(cfg, &y, DIR_MAX_MSG_RATE)->rate.count, 0);
    config_unref(cfg);
    buf_free(&r.text);
}

/* Marks of comments and quotes mean nothing inside a regular expression, and something after it. */
static void regexes(void **state)
{
    static const char *const texts[] = {"/a # b/ skip-mx",        "/a ; b/ skip-mx",
                                        "/say \"no # b/ skip-mx", "/a\\/ # b/ skip-mx",
                                        "// bounce-queue",        "/[ #\"]+/ mode=backoff"};
    struct buf text = {0};
    struct config *cfg;
    (void)state;
    buf_append_str(&text, "[smtp-pattern-list l]\n");
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        buf_printf(&text, "reply = %s # a \"comment\n", texts[i]);
    buf_append_str(&text, "reply = /");
    for (int i = 0; i < 1900; i++)
        buf_append_char(&text, 'x');
    buf_append_str(&text, "/ notify\n");
    load_good(buf_data(&text), &cfg);
    const struct config_value *v =
        config_section_get(cfg, KIND_SMTP_PATTERN_LIST, SV("L"), DIR_REPLY);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++, v = v->next)
        assert_string_equal(v->text, texts[i]);
    assert_int_equal(strlen(v->text), 1909);
    assert_null(v->next);
    config_unref(cfg);
    buf_free(&text);
}

/* What inih alone would cut, join or drop. */
static void traps(void **state)
{
    static const char name[] = "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefgh.org";
    struct config_query q = {.domain = SV(name)};
    struct buf text = {0};
    struct config *cfg;
    (void)state;

    buf_append_str(&text, "\xef\xbb\xbf[pmta] ; c\r\n  host-name = h.org # c\r\n"
                          "\treceivers = 3\r\nname-server = [::1]:53\r\n");
    buf_printf(&text, "[domain %s]\nsmtp-hosts = h1; h2", name);
    for (int i = 0; i < 250; i++)
        buf_append_str(&text, "; some-long-host.org");
    size_t written = buf_len(&text);
    buf_append_str(&text, "\nsmtp-port = 77");
    load_good(buf_data(&text), &cfg);
    assert_string_equal(config_text(cfg, NULL, DIR_HOST_NAME), "h.org");
    assert_int_equal(config_number(cfg, NULL, DIR_RECEIVERS), 3);
    assert_string_equal(config_text(cfg, NULL, DIR_NAME_SERVER), "[::1]:53");
    const char *hosts = config_text(cfg, &q, DIR_SMTP_HOSTS);
    assert_int_equal(strlen(hosts), strlen("h1; h2") + 250 * strlen("; some-long-host.org"));
    assert_true(strlen(hosts) > 5000 - 100 && strlen(hosts) < written);
    assert_int_equal(config_number(cfg, &q, DIR_SMTP_PORT), 77);
    config_unref(cfg);
    buf_free(&text);
}

static void long_line(void **state)
{
    struct buf text = {0};
    struct config *cfg = NULL;
    struct config_report r = {0};
    (void)state;
    buf_append_str(&text, "[pmta]\nhost-name = ");
    for (int i = 0; i < 65536; i++)
        buf_append_char(&text, 'a');
    assert_int_equal(load(buf_data(&text), &cfg, &r), ERR_CONFIG);
    assert_string_equal(buf_data(&r.text), "d/a.conf:2: line is too long (at most 65536 bytes)\n");
    buf_free(&text);
    buf_free(&r.text);
}

static void includes(void **state)
{
    static const char *const files[] = {
        "d/a.conf", BASE "[domain x.org]\ninclude = *.inc\nsmtp-port = 5\n",
        "d/b.inc",  "bounce-after = 1h\n[pmta]\nreceivers = 4\ninclude = sub/c\n",
        "d/sub/c",  "user = u\n",
        NULL};
    static const char *const loop[] = {
        "d/a.conf", BASE "include = b.inc\n", "d/b.inc", "\ninclude = c.inc\n",
        "d/c.inc",  "include = b.inc\n",      NULL};
    const struct config_query q = {.domain = SV("x.org")};
    struct config *cfg = NULL;
    struct config_report r = {0};
    (void)state;

    assert_int_equal(load_files(files, &cfg, &r), 0);
    assert_int_equal(config_number(cfg, &q, DIR_SMTP_PORT), 5);
    assert_int_equal(config_number(cfg, NULL, DIR_SMTP_PORT), 25);
    assert_int_equal(config_number(cfg, &q, DIR_BOUNCE_AFTER), 3600000);
    assert_int_equal(config_number(cfg, NULL, DIR_RECEIVERS), 4);
    assert_string_equal(config_text(cfg, NULL, DIR_USER), "u");
    config_unref(cfg);
    assert_int_equal(load_files(loop, &cfg, &r), ERR_CONFIG);
    assert_string_equal(buf_data(&r.text), "d/c.inc:1: 'b.inc' includes itself\n");
    buf_free(&r.text);
}

static void macros(void **state)
{
    static const struct {
        const char *domain;
        int64_t port;
    } rows[] = {{"yahoo.com", 2},
                {"yahoo.co.uk", 3},
                {"live.com", 4},
                {"yahoo.org", 25},
                {"a.live.com", 25}};
    struct config *cfg;
    (void)state;
    load_good("[domain yahoo.co.uk]\nsmtp-port = 3\n[domain $all]\nsmtp-port = 4\n"
              "[domain yahoo.$tld]\nsmtp-port = 2\n[domain-macro tld]\ndomains = com, co.uk\n"
              "[domain-macro all]\ndomains = $ms\n[domain-macro ms]\ndomains = live.com\n",
              &cfg);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct config_query q = {.domain = sv_of(rows[i].domain)};
        assert_int_equal(config_number(cfg, &q, DIR_SMTP_PORT), rows[i].port);
    }
    config_unref(cfg);
}

static void sources(void **state)
{
    struct sockaddr_in client = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x0a010203)};
    struct config_query q = {.client = (const struct sockaddr *)&client};
    struct config *cfg;
    (void)state;
    load_good("[source 10/8]\nmax-smtp-in = 8\nmax-errors-in = 8\n[source 10.1/16]\n"
              "max-smtp-in = 16\n[source named]\nmax-smtp-in = 1\n",
              &cfg);
    assert_int_equal(config_number(cfg, &q, DIR_MAX_SMTP_IN), 16);
    assert_int_equal(config_number(cfg, &q, DIR_MAX_ERRORS_IN), 8);
    assert_string_equal(config_source_name(cfg, &q), "10.1/16");
    q.source = SV("NAMED");
    assert_int_equal(config_number(cfg, &q, DIR_MAX_SMTP_IN), 1);
    assert_string_equal(config_source_name(cfg, &q), "named");
    client.sin_addr.s_addr = htonl(0x0b010203);
    q.source = sv(NULL, 0);
    assert_null(config_source_name(cfg, &q));
    config_unref(cfg);
}

/* Own values, then the group's, then wider networks and their groups; a group alone reaches nobody. */
static void source_groups(void **state)
{
    static const struct {
        const char *source;
        uint32_t client;
        int64_t max_in, errors, commands;
    } rows[] = {{"", 0x0a010203, 16, 2, 1000},
                {"", 0x0a020203, 8, 1, 1000},
                {"Apps", 0x0a010203, 5, 2, 77},
                {"", 0x0b000001, 1000, 20, 100000},
                {"", 0x0c000001, 1000, 2, 100000}};
    struct config *files, *cfg = NULL;
    struct buf b = {0};
    struct err e;
    (void)state;
    load_good("[source 10/8]\nsource-group = wide\nmax-smtp-in = 8\n[source 10.1/16]\n"
              "source-group = Narrow\nmax-smtp-in = 16\n[source apps]\nsource-group = narrow\n"
              "max-commands-in = 77\nmax-smtp-in = 5\n[source-group narrow]\nmax-errors-in = 2\n"
              "max-smtp-in = 99\n[source-group wide]\nmax-errors-in = 1\nmax-commands-in = 1000\n"
              "max-smtp-in = 98\n[source 12/8]\nsource-group = narrow\nmax-smtp-in = 1000\n",
              &files);
    config_snapshot_encode(files, &b);
    assert_int_equal(config_snapshot_decode(buf_view(&b), &cfg, &e), 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct sockaddr_in client = {.sin_family = AF_INET,
                                     .sin_addr.s_addr = htonl(rows[i].client)};
        const struct config_query q = {.source = sv_of(rows[i].source),
                                       .client = (const struct sockaddr *)&client};
        assert_int_equal(config_number(cfg, &q, DIR_MAX_SMTP_IN), rows[i].max_in);
        assert_int_equal(config_number(cfg, &q, DIR_MAX_ERRORS_IN), rows[i].errors);
        assert_int_equal(config_number(cfg, &q, DIR_MAX_COMMANDS_IN), rows[i].commands);
    }
    assert_int_equal(config_number(cfg, NULL, DIR_MAX_ERRORS_IN), 20);
    config_unref(cfg);
    config_unref(files);
    buf_free(&b);
}

/* What stands on a group of hosts holds nowhere else. */
static void groups_are_not_global(void **state)
{
    const struct config_query q = {.domain = SV("x.org")};
    struct config *cfg;
    (void)state;
    load_good("[mx-rollup google]\nmx = *.google.com\nmax-smtp-out = 3\nmax-msg-rate = 1/m\n",
              &cfg);
    assert_int_equal(config_number(cfg, &q, DIR_MAX_SMTP_OUT), 20);
    assert_int_equal(config_get(cfg, &q, DIR_MAX_MSG_RATE)->rate.count, 0);
    assert_int_equal(
        config_section_get(cfg, KIND_MX_ROLLUP, SV("google"), DIR_MAX_SMTP_OUT)->number, 3);
    config_unref(cfg);
}

/* "" clears, names are without case, pools keep their order; all survive the snapshot. */
static void clear_and_case(void **state)
{
    const struct config_query in_vmta = {.vmta = SV("MTA1"), .domain = SV("x.org")};
    const struct config_query in_pool = {.pool = SV("P")};
    struct config *files, *cfg = NULL;
    struct buf b = {0};
    struct err e;
    (void)state;
    load_good("[pmta]\nsmtp-hosts = h\nsmtp-source-host = 192.0.2.1 a.org\n[virtual-mta Mta1]\n"
              "smtp-hosts = \"\"\nsmtp-source-host = 192.0.2.2 b.org\nsmtp-source-host = \"\"\n"
              "smtp-source-host = 192.0.2.3 c.org\n[virtual-mta m2]\n[virtual-mta-pool p]\n"
              "virtual-mta = M2\nvirtual-mta = mta1\n",
              &files);
    config_snapshot_encode(files, &b);
    assert_int_equal(config_snapshot_decode(buf_view(&b), &cfg, &e), 0);
    assert_null(config_text(cfg, &in_vmta, DIR_SMTP_HOSTS));
    assert_string_equal(config_text(cfg, NULL, DIR_SMTP_HOSTS), "h");
    const struct config_value *v = config_get(cfg, &in_vmta, DIR_SMTP_SOURCE_HOST);
    assert_string_equal(v->text, "192.0.2.3 c.org");
    assert_null(v->next);
    v = config_get(cfg, &in_pool, DIR_POOL_MEMBER);
    assert_string_equal(v->text, "M2");
    assert_string_equal(v->next->text, "mta1");
    assert_true(config_has_section(cfg, KIND_VIRTUAL_MTA, SV("MTA1")));
    config_unref(cfg);
    config_unref(files);
    buf_free(&b);
}

static void addresses(void **state)
{
    static const struct {
        const char *text;
        bool server, listener, source, hosts;
    } rows[] = {{"127.0.0.1", true, false, false, true},
                {"127.0.0.1:53", true, true, false, true},
                {"[::1]:53", true, true, false, true},
                {"::1", true, false, false, false},
                {"*:25", false, true, false, false},
                {"127.0.0.1:65536", false, false, false, false},
                {"192.0.2.1 a.org", false, false, true, false},
                {"192.0.2.1 a b", false, false, false, false},
                {"h1, h2:26; [10.1.1.1]:25", false, false, false, true},
                {"lookup-mx:x.org", false, false, false, true},
                {"h1,,h2", false, false, false, false},
                {"[::1", false, false, false, false},
                {"h:0", false, false, false, false}};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct strview t = sv_of(rows[i].text), host;
        struct sockaddr_storage addr;
        struct host_entry *list;
        struct arena a = {0};
        struct err e;
        size_t n;
        assert_int_equal(name_server_parse(t, &addr) == 0, rows[i].server);
        assert_int_equal(listener_address_parse(t, &addr) == 0, rows[i].listener);
        assert_int_equal(source_host_parse(t, &addr, &host, &e) == 0, rows[i].source);
        assert_int_equal(host_list_parse(t, &a, &list, &n, &e) == 0, rows[i].hosts);
        arena_free(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors),
        cmocka_unit_test(many_errors),
        cmocka_unit_test(nothing),
        cmocka_unit_test(repeated),
        cmocka_unit_test(traps),
        cmocka_unit_test(long_line),
        cmocka_unit_test(includes),
        cmocka_unit_test(macros),
        cmocka_unit_test(sources),
        cmocka_unit_test(clear_and_case),
        cmocka_unit_test(addresses),
        cmocka_unit_test(aliases),
        cmocka_unit_test(regexes),
        cmocka_unit_test(source_groups),
        cmocka_unit_test(groups_are_not_global),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
