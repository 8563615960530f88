/*
 * The pipe's side of the edge to the resolver: routes with their policy, wants that make a difference,
 * and questions that are answered, cancelled, asked again, or over.
 */
#include "unit.h"

#include "base/clock.h"
#include "route/lookups.h"

#include <stdio.h>

static struct world {
    uv_loop_t loop;
    struct routes *routes;
    struct ipc_edge *resolver;
    struct { /* what came, as the resolver sees it */
        uint64_t token;
        uint8_t kind, wants;
        uint16_t port;
        char name[64];
    } routes_asked[8], lookups_asked[8];
    size_t route_count, lookup_count;
    struct lookup_result result; /* of the last lookup that ended */
    char text[80], record[80];
    unsigned done;
} w;

static int on_frame(void *owner, struct ipc_edge *edge, struct ipc_frame *frame)
{
    (void)owner, (void)edge;
    if (frame->id == IPC_lookup_request) {
        struct ipc_lookup_request m;
        assert_int_equal(ipc_decode_lookup_request(frame->bytes, &m), 0);
        w.lookups_asked[w.lookup_count].token = m.token;
        w.lookups_asked[w.lookup_count].kind = m.kind;
        snprintf(w.lookups_asked[w.lookup_count++].name, 64, "%.*s", SV_ARG(m.name));
    } else {
        struct ipc_route_request m;
        assert_int_equal(ipc_decode_route_request(frame->bytes, &m), 0);
        w.routes_asked[w.route_count].token = m.token;
        w.routes_asked[w.route_count].wants = m.wants;
        w.routes_asked[w.route_count].port = m.port;
        w.routes_asked[w.route_count++].kind = m.kind;
    }
    return 0;
}

static void on_down(void *owner, struct ipc_edge *edge, int code)
{
    (void)owner, (void)edge, (void)code;
    w.resolver = NULL;
}

static void turn(void)
{
    for (int i = 0; i < 10; i++)
        uv_run(&w.loop, UV_RUN_NOWAIT);
}

static void connect_resolver(void)
{
    static const struct ipc_edge_ops ops = {.frame = on_frame, .down = on_down};
    int pair[2];

    assert_int_equal(ipc_pair(pair), 0);
    routes_set_edge(w.routes, pair[0]);
    w.resolver = ipc_edge_open(&w.loop, pair[1], ROLE_RESOLVER, ROLE_PIPE, &ops, NULL);
}

static int set_up(void **state)
{
    (void)state;
    memset(&w, 0, sizeof(w));
    clock_fake_set(1795233906789);
    uv_loop_init(&w.loop);
    w.routes = routes_new(&w.loop);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    ipc_edge_close(w.resolver);
    routes_free(w.routes);
    turn();
    assert_int_equal(uv_loop_close(&w.loop), 0);
    return 0;
}

/* --- routes --- */

static void answered(struct route_waiter *waiter)
{
    (void)waiter;
    w.done++;
}

static struct route *get(enum route_kind kind, uint8_t bits, uint16_t port,
                         struct route_waiter *waiter)
{
    struct route_wants wants = {bits, port};
    list_init(&waiter->link);
    waiter->answered = answered;
    return routes_get(w.routes, kind, SV("D.test"), wants, waiter);
}

static void wants_that_make_a_difference(void **state)
{
    enum { TLSA = ROUTE_WANT_TLSA, STS = ROUTE_WANT_STS };
    static const struct {
        enum route_kind kind;
        uint8_t bits;
        uint16_t port;
        bool is_new;
    } rows[] = {
        {ROUTE_MX, 0, 25, true},           {ROUTE_MX, 0, 26, false},
        {ROUTE_MX, STS, 25, true},         {ROUTE_MX, STS, 26, false},
        {ROUTE_MX, TLSA | STS, 25, true},  {ROUTE_MX, TLSA | STS, 26, true},
        {ROUTE_MX, TLSA | STS, 25, false}, {ROUTE_HOST, STS, 25, true},
        {ROUTE_HOST, 0, 25, false},
    };
    struct route_waiter waiter;
    size_t asked = 0;
    (void)state;

    connect_resolver();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        route_unref(w.routes, get(rows[i].kind, rows[i].bits, rows[i].port, &waiter));
        list_remove(&waiter.link);
        turn();
        asked += rows[i].is_new;
        assert_int_equal(w.route_count, asked);
    }
    assert_int_equal(w.routes_asked[3].port, 26);
    assert_int_equal(w.routes_asked[3].wants, TLSA | STS);
}

static void policy_comes_with_the_route(void **state)
{
    struct tlsa_record record = {3, 1, 1, SV("0123456789abcdef0123456789abcdef")};
    struct dane_host host = {SV("mx.test"), DANE_USABLE, {0}, &record, 1};
    struct tls_policy policy = {.dane = &host, .dane_count = 1, .domain_alias = SV("e.test")};
    struct buf hosts = {0}, bytes = {0};
    struct route_waiter waiter;
    (void)state;

    connect_resolver();
    struct route *r = get(ROUTE_MX, ROUTE_WANT_TLSA, 25, &waiter);
    turn();
    route_hosts_append(&hosts, 10, AF_INET, "\x7f\0\0\1", SV("mx.test"));
    tls_policy_encode(&bytes, &policy);
    ipc_send(w.resolver, route_reply,
             (&(struct ipc_route_reply){.token = w.routes_asked[0].token,
                                        .ttl_s = 60,
                                        .hosts = buf_view(&hosts),
                                        .policy = buf_view(&bytes)}));
    buf_free(&hosts);
    buf_free(&bytes);
    turn();
    assert_int_equal(w.done, 1);
    assert_int_equal(r->status, ROUTE_OK);
    assert_sv_equal(r->addresses[0].host, "mx.test");
    assert_int_equal(r->policy.dane_count, 1);
    assert_int_equal(r->policy.dane[0].records[0].data.len, 32);
    assert_sv_equal(r->policy.domain_alias, "e.test");
    route_unref(w.routes, r);
}

static void broken_policy_is_no_route(void **state)
{
    struct buf hosts = {0};
    struct route_waiter waiter;
    (void)state;

    connect_resolver();
    struct route *r = get(ROUTE_MX, ROUTE_WANT_TLSA, 25, &waiter);
    turn();
    route_hosts_append(&hosts, 10, AF_INET, "\x7f\0\0\1", SV("mx.test"));
    ipc_send(w.resolver, route_reply,
             (&(struct ipc_route_reply){.token = w.routes_asked[0].token,
                                        .hosts = buf_view(&hosts),
                                        .policy = SV("\1\xff\xff\xff\xff")}));
    buf_free(&hosts);
    turn();
    assert_int_equal(r->status, ROUTE_TEMPORARY);
    route_unref(w.routes, r);
}

/* --- lookups --- */

static void lookup_done(struct lookup *l, const struct lookup_result *r)
{
    assert_ptr_equal(l->owner, &w);
    w.done++;
    w.result = *r;
    snprintf(w.text, sizeof(w.text), "%.*s", SV_ARG(r->text));
    if (r->count)
        snprintf(w.record, sizeof(w.record), "%.*s", SV_ARG(r->records[0]));
}

static struct lookup *start(struct lookup *l, const char *name)
{
    *l = (struct lookup){.done = lookup_done, .owner = &w};
    lookup_start(w.routes, l, LOOKUP_TXT, sv_of(name));
    return l;
}

static void reply(uint64_t token, uint8_t status, struct strview records)
{
    ipc_send(w.resolver, lookup_reply,
             (&(struct ipc_lookup_reply){.token = token,
                                         .status = status,
                                         .secure = 1,
                                         .ttl_s = 7,
                                         .text = SV("why"),
                                         .records = records}));
    turn();
}

static void lookup_is_answered(void **state)
{
    struct lookup l;
    struct buf records = {0};
    (void)state;

    connect_resolver();
    start(&l, "a.test");
    assert_int_equal(w.done, 0);
    turn();
    assert_int_equal(w.lookups_asked[0].kind, LOOKUP_TXT);
    assert_string_equal(w.lookups_asked[0].name, "a.test");
    lookup_records_append(&records, SV("one"));
    lookup_records_append(&records, SV("two"));
    reply(w.lookups_asked[0].token + 1, 0, buf_view(&records));
    assert_int_equal(w.done, 0);
    reply(w.lookups_asked[0].token, 0, buf_view(&records));
    reply(w.lookups_asked[0].token, 0, buf_view(&records));
    buf_free(&records);
    assert_int_equal(w.done, 1);
    assert_int_equal(w.result.count, 2);
    assert_true(w.result.secure);
    assert_int_equal(w.result.ttl_s, 7);
    assert_string_equal(w.record, "one");
    lookup_cancel(&l);
}

static void broken_answers_are_temporary(void **state)
{
    struct lookup l;
    (void)state;

    connect_resolver();
    start(&l, "a.test");
    turn();
    reply(w.lookups_asked[0].token, 0, SV("\xff\xff x"));
    assert_int_equal(w.result.status, LOOKUP_TEMPORARY);
    start(&l, "a.test");
    turn();
    reply(w.lookups_asked[1].token, 99, SV(""));
    assert_int_equal(w.done, 2);
    assert_int_equal(w.result.status, LOOKUP_TEMPORARY);
}

static void lookups_are_asked_again_of_the_next_resolver(void **state)
{
    struct lookup first, second, cancelled;
    (void)state;

    start(&first, "before.test"); /* there is no resolver yet */
    connect_resolver();
    start(&second, "second.test");
    start(&cancelled, "cancelled.test");
    turn();
    assert_int_equal(w.lookup_count, 3);
    ipc_edge_close(w.resolver);
    turn();
    lookup_cancel(&cancelled);
    connect_resolver();
    turn();
    assert_int_equal(w.lookup_count, 5);
    assert_string_equal(w.lookups_asked[3].name, "before.test");
    reply(w.lookups_asked[4].token, LOOKUP_NO_DOMAIN, SV(""));
    assert_int_equal(w.done, 1);
    assert_string_equal(w.text, "why");
    reply(w.lookups_asked[2].token, 0, SV(""));
    assert_int_equal(w.done, 1);
    lookup_cancel(&first);
    lookup_cancel(&first);
}

static void lookups_end_in_time(void **state)
{
    struct lookup l;
    (void)state;

    connect_resolver();
    start(&l, "a.test");
    turn();
    clock_fake_advance(LOOKUP_TIME_LIMIT_MS);
    while (!w.done)
        uv_run(&w.loop, UV_RUN_ONCE);
    assert_int_equal(w.result.status, LOOKUP_TEMPORARY);
    reply(w.lookups_asked[0].token, 0, SV(""));
    assert_int_equal(w.done, 1);
}

static void nothing_fires_after_the_end(void **state)
{
    static struct lookup l;
    (void)state;

    connect_resolver();
    start(&l, "a.test");
    turn(); /* tear_down frees the routes */
}

int main(void)
{
#define WITH_WORLD(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_WORLD(wants_that_make_a_difference),
        WITH_WORLD(policy_comes_with_the_route),
        WITH_WORLD(broken_policy_is_no_route),
        WITH_WORLD(lookup_is_answered),
        WITH_WORLD(broken_answers_are_temporary),
        WITH_WORLD(lookups_are_asked_again_of_the_next_resolver),
        WITH_WORLD(lookups_end_in_time),
        WITH_WORLD(nothing_fires_after_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
