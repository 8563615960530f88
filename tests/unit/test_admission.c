/*
 * Limits of incoming connections: of a source, of a group over all its sources, in all, and what is
 * kept free for a group.
 */
#include "config_memory.h"

#include "admission.h"

#include <arpa/inet.h>

static const char *enter(struct admission *a, const struct config *cfg, const char *source,
                         uint32_t address, struct admission_place *p)
{
    struct sockaddr_in client = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(address)};
    return admission_enter(a, cfg, source, (const struct sockaddr *)&client, p);
}

static void empty(const struct admission *a)
{
    assert_int_equal(a->connections, 0);
    assert_true(list_empty(&a->sources));
    assert_true(list_empty(&a->groups));
}

static void group_counts_all_sources(void **state)
{
    struct admission_place p[6];
    struct admission a;
    struct config *cfg;
    (void)state;
    load_good("[source 10/8]\nsource-group = apps\nmax-smtp-in = 3\n[source 11/8]\n"
              "source-group = Apps\n[source-group apps]\nmax-smtp-in = 4\n",
              &cfg);
    admission_init(&a);
    for (size_t i = 0; i < 3; i++)
        assert_null(enter(&a, cfg, "10/8", 0x0a000001, &p[i]));
    assert_string_equal(enter(&a, cfg, "10/8", 0x0a000001, &p[3]),
                        "421 4.7.0 Too many connections from your source, try again later");
    admission_leave(&a, &p[3]);
    assert_null(enter(&a, cfg, "11/8", 0x0b000001, &p[3]));
    assert_string_equal(
        enter(&a, cfg, "11/8", 0x0b000001, &p[4]),
        "421 4.7.0 Too many connections from your group of sources, try again later");
    assert_null(enter(&a, cfg, NULL, 0x0c000001, &p[5]));
    admission_leave(&a, &p[4]);
    admission_leave(&a, &p[0]);
    assert_null(enter(&a, cfg, "11/8", 0x0b000001, &p[0]));
    for (size_t i = 0; i < 6; i++)
        if (i != 4)
            admission_leave(&a, &p[i]);
    empty(&a);
    config_unref(cfg);
}

static void reserved(void **state)
{
    struct admission_place p[6];
    struct admission a;
    struct config *cfg;
    (void)state;
    load_good("[pmta]\ntotal-max-smtp-in = 5\n[source 10/8]\nsource-group = apps\n[source 11/8]\n"
              "[source-group apps]\nreserved-smtp-in = 2\n",
              &cfg);
    admission_init(&a);
    assert_null(enter(&a, cfg, "10/8", 0x0a000001, &p[0]));
    for (size_t i = 1; i < 4; i++)
        assert_null(enter(&a, cfg, "11/8", 0x0b000001, &p[i]));
    /* one of the five is kept for apps, which uses one of its two */
    assert_string_equal(enter(&a, cfg, "11/8", 0x0b000001, &p[4]),
                        "421 4.3.2 Too many connections, try again later");
    admission_leave(&a, &p[4]);
    assert_null(enter(&a, cfg, "10/8", 0x0a000001, &p[4]));
    assert_string_equal(enter(&a, cfg, "10/8", 0x0a000001, &p[5]),
                        "421 4.3.2 Too many connections, try again later");
    for (size_t i = 0; i < 6; i++)
        admission_leave(&a, &p[i]);
    empty(&a);
    config_unref(cfg);
}

static bool enter_inbound(struct admission *a, const struct config *cfg, const char *ip,
                          struct admission_place *p)
{
    struct sockaddr_in four = {.sin_family = AF_INET};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6};
    const void *client = inet_pton(AF_INET, ip, &four.sin_addr) == 1 ? (void *)&four : (void *)&six;

    if (client == &six)
        assert_int_equal(inet_pton(AF_INET6, ip, &six.sin6_addr), 1);
    assert_null(admission_enter(a, cfg, NULL, client, p));
    return admission_enter_inbound(a, cfg, client, p);
}

static void inbound(void **state)
{
    struct admission_place p[6];
    struct admission a;
    struct config *cfg;
    (void)state;
    load_good("[pmta]\ninbound-max-connections = 4\ninbound-max-connections-per-address = 2\n",
              &cfg);
    admission_init(&a);
    assert_true(enter_inbound(&a, cfg, "2001:db8::1", &p[0]));
    assert_true(enter_inbound(&a, cfg, "2001:db8::1:0:0:2", &p[1])); /* one /64 */
    assert_false(enter_inbound(&a, cfg, "2001:db8::3", &p[2]));
    admission_leave(&a, &p[2]);
    assert_true(enter_inbound(&a, cfg, "2001:db8:0:1::1", &p[2]));
    assert_true(enter_inbound(&a, cfg, "192.0.2.1", &p[3]));
    assert_false(enter_inbound(&a, cfg, "192.0.2.2", &p[4])); /* four in all */
    /* an application is not counted with them */
    assert_null(enter(&a, cfg, "10/8", 0x0a000001, &p[5]));
    admission_leave(&a, &p[0]);
    admission_leave(&a, &p[4]);
    assert_true(enter_inbound(&a, cfg, "192.0.2.1", &p[4]));
    /* asked again, it has its place */
    struct sockaddr_in client = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0xc0000201)};
    assert_true(admission_enter_inbound(&a, cfg, (const struct sockaddr *)&client, &p[4]));
    assert_int_equal(a.inbound, 4);
    for (size_t i = 1; i < 6; i++)
        admission_leave(&a, &p[i]);
    assert_int_equal(a.inbound, 0);
    assert_int_equal(a.addresses.count, 0);
    empty(&a);
    config_unref(cfg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(group_counts_all_sources),
                                       cmocka_unit_test(reserved), cmocka_unit_test(inbound)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
