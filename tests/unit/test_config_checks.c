/*
 * What the loader says about a configuration as a whole: names that refer to nothing, chains that
 * come back, settings that contradict each other. Each row is a configuration and its report; an
 * empty report is what a sound one gives.
 */
#include "config_memory.h"

#define VMTAS "[virtual-mta a]\n[virtual-mta b]\n[virtual-mta c]\n"

struct row {
    const char *text, *report;
};

/* Lines of text count from one, in d/a.conf; d/0.conf has a pipe, a listener and a, b and c. */
static void play(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *const files[] = {"d/0.conf", BASE VMTAS, "d/a.conf", rows[i].text, NULL};
        struct config *cfg = NULL;
        struct config_report r = {0};
        bool error = rows[i].report[0] && !strstr(rows[i].report, ": warning: ");
        int status = load_files(files, &cfg, &r);
        assert_string_equal(buf_len(&r.text) ? buf_data(&r.text) : "", rows[i].report);
        assert_int_equal(status, error ? ERR_CONFIG : 0);
        if (cfg)
            config_unref(cfg);
        buf_free(&r.text);
    }
}

static void references(void **state)
{
    static const struct row rows[] = {
        {"[domain x.org]\nreroute-to-virtual-mta = bb\n",
         "d/a.conf:2: reroute-to-virtual-mta: 'bb' is not defined (expected the name of a section "
         "[virtual-mta] or [virtual-mta-pool])\n"},
        {"[pmta]\nbackoff-reroute-to-virtual-mta = nowhere\n",
         "d/a.conf:2: backoff-reroute-to-virtual-mta: 'nowhere' is not defined (expected the name "
         "of a section [virtual-mta] or [virtual-mta-pool])\n"},
        {"[virtual-mta a]\ncold-virtual-mta = nowhere\n",
         "d/a.conf:2: cold-virtual-mta: 'nowhere' is not defined (expected the name of a section "
         "[virtual-mta])\n"},
        {"[virtual-mta-pool p]\nvirtual-mta = a 5\nvirtual-mta = nowhere 7\n",
         "d/a.conf:3: virtual-mta: 'nowhere' is not defined (expected the name of a section "
         "[virtual-mta])\n"},
        {"[domain *]\nsmtp-pattern-list = comon\n[smtp-pattern-list common]\n",
         "d/a.conf:2: smtp-pattern-list: 'comon' is not defined (expected the name of a section "
         "[smtp-pattern-list]): did you mean 'common'?\n"},
        {"[source 10/8]\nsource-group = app\n[source-group apps]\n",
         "d/a.conf:2: source-group: 'app' is not defined (expected the name of a section "
         "[source-group]): did you mean 'apps'?\n"},
        {"[virtual-mta d, domain x.org]\nmax-smtp-out = 5\n",
         "d/a.conf:1: virtual-mta: 'd' is not defined (expected the name of a section "
         "[virtual-mta])\n"},
        {"[virtual-mta-pool p]\nvirtual-mta = a 5\nvirtual-mta = b\nvirtual-mta = A\n",
         "d/a.conf:4: virtual-mta: 'A' stands twice in pool 'p' (expected once, with a weight when "
         "it is to get more)\n"},
        {"[pipe bulk]\ndsn-pipe = nowhere\n",
         "d/a.conf:2: dsn-pipe: 'nowhere' is not defined (expected the name of a section [pipe])\n"},
        {"[http-listener web]\n",
         "d/a.conf:1: http-listener 'web' has no address (expected [http-listener ADDR:PORT], or "
         "address = ADDR:PORT)\n"},
        {"[listener 127.0.0.1:8025]\n[http-listener web]\naddress = 127.0.0.1:8025\n",
         "d/a.conf:2: listener 'web' has the address of listener '127.0.0.1:8025' (d/a.conf:1)\n"},
        {"[bounce-processor b]\ninbound-address = joe\n",
         "d/a.conf:2: inbound-address: 'joe' is not valid (expected user@domain, user+*@domain or "
         "@domain)\n"},
        {"[bounce-processor b]\n",
         "d: [bounce-processor b] has no inbound-address (expected one or more)\n"},
        {"[pipe bulk]\nverp = yes\n",
         "d/a.conf:2: verp without bounce-address (expected bounce-address = user@domain)\n"},
        {"[pmta]\nbounce-address = b@\n",
         "d/a.conf:2: bounce-address: 'b@' is not valid (expected user@domain)\n"},
        {"[pmta]\nbounce-address = b@b.example\n[bounce-processor b]\ninbound-address = b@b.example\n",
         "d/a.conf:2: warning: bounce-address: no [bounce-processor] takes b+*@b.example, so what "
         "bounces later is not seen here; add that as its inbound-address\n"},
        {"[pmta]\nlist-unsubscribe = one-click\nunsubscribe-address = u@u.example\n",
         "d/a.conf:2: list-unsubscribe = one-click without unsubscribe-url (expected "
         "unsubscribe-url = https://host/path/)\n"},
        {"[pmta]\nlist-unsubscribe = header\n",
         "d/a.conf:2: list-unsubscribe without unsubscribe-url or unsubscribe-address (expected one "
         "of them, or both)\n"},
        {"[pmta]\nunsubscribe-url = http://u.example/\n",
         "d/a.conf:2: unsubscribe-url: 'http://u.example/' is not valid (expected "
         "https://host/path/)\n"},
        {"[pmta]\nunsubscribe-url = https://u.example:99999/\n",
         "d/a.conf:2: unsubscribe-url: 'https://u.example:99999/' is not valid (expected "
         "https://host/path/)\n"},
        {"[pmta]\nunsubscribe-url = https://u.example/?a=\n",
         "d/a.conf:2: unsubscribe-url: 'https://u.example/?a=' is not valid (expected "
         "https://host/path/ without blanks, query and fragment)\n"},
        {"[pipe bulk]\nverp = yes\nbounce-address = b@b.example\nlist-unsubscribe = one-click\n"
         "unsubscribe-url = https://u.example:8443/u\nunsubscribe-address = u@b.example\n"
         "[bounce-processor b]\ninbound-address = @b.example\n",
         ""},
        {"[event-sink a/b]\n",
         "d/a.conf:1: 'a/b' is not a sink's name (expected letters, digits, - and _)\n"},
        {"[domain x.org]\nreroute-to-virtual-mta = B\n[virtual-mta-pool p]\nvirtual-mta = A 5\n"
         "[domain y.org]\nbackoff-reroute-to-virtual-mta = p\nsmtp-pattern-list = L\n"
         "[smtp-pattern-list l]\nreply = // notify\n[pipe bulk]\ndefault-virtual-mta = default\n",
         ""},
    };
    (void)state;
    play(rows, ARRAY_LEN(rows));
}

static void pools(void **state)
{
    static const struct row rows[] = {
        {"[virtual-mta-pool p]\nvirtual-mta = a\n[virtual-mta-pool q]\nvirtual-mta = A 2\n"
         "[virtual-mta-pool p, domain x.org]\nmax-smtp-out = 5\n"
         "[virtual-mta-pool q, domain y.org]\nmax-smtp-out = 5\n",
         "d/a.conf:4: virtual-mta: 'A' is a member of pools 'p' and 'q', and both have settings "
         "for domains (expected one of them at most)\n"},
        {"[virtual-mta-pool p]\nvirtual-mta = a\n[virtual-mta-pool q]\nvirtual-mta = a\n"
         "[virtual-mta-pool p, domain x.org]\nmax-smtp-out = 5\n",
         ""},
        {"[virtual-mta a]\ncold-virtual-mta = a\n",
         "d/a.conf:2: cold-virtual-mta: 'a' cannot be its own\n"},
        {"[virtual-mta a]\ncold-virtual-mta = b\n[virtual-mta b]\ncold-virtual-mta = c\n",
         "d/a.conf:2: cold-virtual-mta: 'b' has a cold-virtual-mta itself, set at d/a.conf:4 "
         "(expected a virtual MTA without)\n"},
        {"[virtual-mta-pool p]\nvirtual-mta = a\nvirtual-mta = b\ncold-virtual-mta = b\n",
         "d/a.conf:4: cold-virtual-mta: 'b' has a cold-virtual-mta itself, set at d/a.conf:4 "
         "(expected a virtual MTA without)\n"},
        {"[virtual-mta-pool p]\nvirtual-mta = a\ncold-virtual-mta = b\ncold-virtual-mta = c\n", ""},
        {"[virtual-mta a]\nsmtp-source-host = 192.0.2.1 a.org\nsmtp-source-ip = 192.0.2.2\n",
         "d/a.conf:3: smtp-source-ip and smtp-source-host, set at d/a.conf:2, exclude each other "
         "(expected one of the two forms in a section)\n"},
        {"[virtual-mta a]\nsmtp-source-host = 192.0.2.1 a.org\n[virtual-mta b]\n"
         "bind-ip = 192.0.2.2\nhelo-domain = b.org\n",
         ""},
    };
    (void)state;
    play(rows, ARRAY_LEN(rows));
}

static void loops(void **state)
{
    static const struct row rows[] = {
        {"[virtual-mta a]\nreroute-to-virtual-mta = b\n[virtual-mta b]\n"
         "reroute-to-virtual-mta = a\n",
         "d/a.conf:2: reroute-to-virtual-mta: mail would go round in a circle: b -> a -> b\n"
         "d/a.conf:4: reroute-to-virtual-mta: mail would go round in a circle: a -> b -> a\n"},
        /* only one domain of one section goes round */
        {"[virtual-mta a]\nreroute-to-virtual-mta = b\n[virtual-mta b, domain [*.]x.org]\n"
         "reroute-to-virtual-mta = c\n[virtual-mta c, domain a.x.org]\n"
         "backoff-reroute-to-virtual-mta = a\n",
         "d/a.conf:6: backoff-reroute-to-virtual-mta: mail would go round in a circle: a -> b -> c "
         "-> a\n"},
        {"[virtual-mta a]\nbackoff-reroute-to-virtual-mta = b\n[virtual-mta b]\n"
         "backoff-reroute-to-virtual-mta = a\n",
         "d/a.conf:2: backoff-reroute-to-virtual-mta: mail would go round in a circle: b -> a -> "
         "b\n"
         "d/a.conf:4: backoff-reroute-to-virtual-mta: mail would go round in a circle: a -> b -> "
         "a\n"},
        {"[virtual-mta-pool p]\nvirtual-mta = b\nvirtual-mta = c\n[virtual-mta a]\n"
         "reroute-to-virtual-mta = p\n[virtual-mta c]\nreroute-to-virtual-mta = a\n",
         "d/a.conf:5: reroute-to-virtual-mta: mail would go round in a circle: c -> a -> c\n"
         "d/a.conf:7: reroute-to-virtual-mta: mail would go round in a circle: a -> c -> a\n"},
        /* a global reroute ends at its target; to itself is no loop; another domain's is none */
        {"[domain x.org]\nreroute-to-virtual-mta = b\n[virtual-mta a]\nreroute-to-virtual-mta = a\n"
         "[virtual-mta c, domain y.org]\nreroute-to-virtual-mta = b\n[virtual-mta b, domain "
         "z.org]\n"
         "reroute-to-virtual-mta = c\n[virtual-mta-pool p]\nvirtual-mta = b\nvirtual-mta = c\n"
         "[domain w.org]\nreroute-to-virtual-mta = p\n",
         ""},
        /* always elsewhere: it never gets as far as back-off */
        {"[virtual-mta a]\nreroute-to-virtual-mta = c\nbackoff-reroute-to-virtual-mta = b\n"
         "[virtual-mta b]\nreroute-to-virtual-mta = a\n",
         ""},
        {"[domain x.org]\nqueue-to = y.org\n[domain y.org]\nqueue-to = x.org\n",
         "d/a.conf:2: queue-to: mail would go round in a circle: y.org -> x.org -> y.org\n"
         "d/a.conf:4: queue-to: mail would go round in a circle: x.org -> y.org -> x.org\n"},
        {"[domain *]\nqueue-to = all.queue\n[domain x.org]\nqueue-to = x.queue\n"
         "[domain x.queue]\nqueue-to = x.queue\n",
         ""},
        {"[virtual-mta a, domain x.org]\nqueue-to = y.org\n[domain y.org]\nqueue-to = x.org\n",
         "d/a.conf:2: queue-to: mail would go round in a circle: y.org -> x.org -> y.org\n"},
        {"[domain-macro m]\ndomains = $m\n[domain $m]\nmax-smtp-out = 5\n",
         "d/a.conf:3: macro '$m' refers to itself, or macros are nested more than 16 deep\n"},
    };
    (void)state;
    play(rows, ARRAY_LEN(rows));
}

static void groups(void **state)
{
    static const struct row rows[] = {
        {"[mx-rollup google]\nmax-smtp-out = 5\n", "d/a.conf:1: mx-rollup without mx\n"},
        {"[mx-rollup google]\nmx = *.google.com, aspmx.l.google.com\n[mx-rollup other]\n"
         "mx = mx.x.org\nmx = *.Google.com\n",
         "d/a.conf:5: warning: mx: '*.Google.com' stands at d/a.conf:2 already; the first group "
         "that matches counts\n"},
        {"[mx-rollup google]\nmx = *.google.com\n[mx-rollup other]\nmx = *.google.com.br\n", ""},
        {"[mx-rollup google]\nmx = *.google.com\nretry-after = 5m\n",
         "d/a.conf:3: 'retry-after' cannot stand in [mx-rollup google] (expected in [pmta], "
         "[pipe], "
         "[virtual-mta], [virtual-mta-pool] or [domain])\n"},
        {"[domain x.org]\nshared = yes\n",
         "d/a.conf:2: 'shared' cannot stand in [domain x.org] (expected in [domain-macro])\n"},
        {"[domain x.org]\ntotal-max-msg-rate = 5/s\n",
         "d/a.conf:2: 'total-max-msg-rate' cannot stand in [domain x.org] (expected in [pmta])\n"},
        {"[domain-macro ms]\ndomains = live.com\nshared = yes\n[domain live.com]\n"
         "max-smtp-out = 5\n",
         "d/a.conf:3: warning: shared = yes has no effect: no section [domain $ms] sets a limit to "
         "share\n"},
        {"[domain-macro ms]\ndomains = live.com\nshared = yes\n[pipe bulk, domain $MS]\n"
         "max-smtp-out = 5\n",
         ""},
        {"[domain-macro ms]\ndomains = live.com\nshared = no\n", ""},
        {"[source-group g]\nreserved-smtp-in = 11\nmax-smtp-in = 10\n",
         "d/a.conf:2: reserved-smtp-in = 11 is above max-smtp-in = 10, set at d/a.conf:3\n"},
        {"[pmta]\ntotal-max-smtp-in = 20\n[source-group g]\nreserved-smtp-in = 10\n"
         "[source-group h]\nreserved-smtp-in = 10\n",
         "d/a.conf:6: reserved-smtp-in of all groups up to here is 20, which leaves nothing of "
         "total-max-smtp-in = 20\n"},
        {"[pmta]\ntotal-max-smtp-in = 20\n[source-group g]\nreserved-smtp-in = 10\n"
         "max-smtp-in = 10\n",
         ""},
    };
    (void)state;
    play(rows, ARRAY_LEN(rows));
}

static void limits(void **state)
{
    static const struct row rows[] = {
        {"[domain x.org]\nmax-smtp-out = 5\nbackoff-max-smtp-out = 6\n",
         "d/a.conf:3: warning: backoff-max-smtp-out = 6 is wider than max-smtp-out = 5, set at "
         "d/a.conf:2\n"},
        {"[domain x.org]\nbackoff-max-smtp-out = 21\n",
         "d/a.conf:2: warning: backoff-max-smtp-out = 21 is wider than max-smtp-out = 20, set by "
         "default\n"},
        {"[domain *]\nmax-msg-rate = 1/s\n[virtual-mta a, domain x.org]\n"
         "backoff-max-msg-rate = 3601/h\n",
         "d/a.conf:4: warning: backoff-max-msg-rate = 3601/h is wider than max-msg-rate = 1/s, set "
         "at d/a.conf:2\n"},
        {"[domain *]\nmax-msg-rate = 1/s\nbackoff-max-msg-rate = 3600/h\n"
         "max-data-volume-rate = 1M/m\nbackoff-max-data-volume-rate = 1024k/m\n"
         "max-msg-per-connection = 10\nbackoff-max-msg-per-connection = 10\n",
         ""},
        {"[domain *]\nmax-msg-per-connection = 10\nbackoff-max-msg-per-connection = 0\n",
         "d/a.conf:3: warning: backoff-max-msg-per-connection = 0 is wider than "
         "max-msg-per-connection = 10, set at d/a.conf:2\n"},
        {"[domain *]\nmax-connect-rate = 10/m\nbackoff-max-connect-rate = unlimited\n",
         "d/a.conf:3: warning: backoff-max-connect-rate = unlimited is wider than max-connect-rate "
         "= 10/m, set at d/a.conf:2\n"},
        /* a total of the virtual MTA is no limit of a queue */
        {"[virtual-mta a]\nmax-smtp-out = 5\nbackoff-max-smtp-out = 10\n", ""},
        {"[domain x.org]\nadaptive = yes\nmax-msg-rate = 10/h\nadaptive-min-rate = 1/m\n",
         "d/a.conf:4: adaptive-min-rate = 1/m is above max-msg-rate = 10/h, set at d/a.conf:3\n"},
        {"[domain *]\nadaptive-min-rate = 1/m\n[domain x.org]\nmax-msg-rate = 10/h\n",
         "d/a.conf:4: adaptive-min-rate = 1/m is above max-msg-rate = 10/h, set at d/a.conf:2\n"},
        {"[domain x.org]\nadaptive = yes\nmax-msg-rate = 10/h\n", ""},
        {"[domain x.org]\nwarmup = 2d\nwarmup-schedule = 50/d\n",
         "d/a.conf:3: warmup and warmup-schedule, set at d/a.conf:2, exclude each other (expected "
         "warmup = 0, or warmup-schedule = \"\", here)\n"},
        {"[domain *]\nwarmup-schedule = 50/d\n[virtual-mta a]\nwarmup = 2d\n",
         "d/a.conf:4: warmup and warmup-schedule, set at d/a.conf:2, exclude each other (expected "
         "warmup = 0, or warmup-schedule = \"\", here)\n"},
        {"[domain *]\nwarmup-schedule = 50/d\n[virtual-mta a]\nwarmup = 2d\nwarmup-schedule = "
         "\"\"\n[virtual-mta b]\nwarmup = 0\n",
         ""},
        {"[domain x.org]\nbounce-after = 1h\nretry-after = 2h,3h\n",
         "d/a.conf:3: warning: retry-after = 2h,3h is longer than bounce-after = 1h, set at "
         "d/a.conf:2: there is no second attempt\n"},
        {"[domain x.org]\nbounce-after = 5m\n",
         "d/a.conf:2: warning: retry-after = 10m is longer than bounce-after = 5m, set by default: "
         "there is no second attempt\n"},
        {"[domain x.org]\nretry-recipients-after = 5d\n",
         "d/a.conf:2: warning: retry-recipients-after = 5d is longer than bounce-after = 4d12h, "
         "set by default: there is no second attempt\n"},
        {"[domain x.org]\nbounce-after = 1h\nretry-after = 1h x2 max 6h\n", ""},
    };
    (void)state;
    play(rows, ARRAY_LEN(rows));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(references), cmocka_unit_test(pools),  cmocka_unit_test(loops),
        cmocka_unit_test(groups),     cmocka_unit_test(limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
