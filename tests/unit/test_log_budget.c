/*
 * Lines about strangers are bounded, per client and together, and what is left out is told.
 */
#include "unit.h"

#include "base/clock.h"
#include "base/log.h"
#include "log_budget.h"

#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

static unsigned take(struct log_budget *b, const char *client, unsigned count, int64_t now_ms)
{
    unsigned taken = 0;
    for (unsigned i = 0; i < count; i++)
        taken += log_budget_take(b, client, now_ms);
    return taken;
}

static void of_one_client(void **state)
{
    struct log_budget b = {0};
    (void)state;

    assert_int_equal(take(&b, "192.0.2.1", 1000, 5), LOG_BUDGET_CLIENT);
    assert_int_equal(take(&b, "192.0.2.1", 1000, 59999), 0);
    assert_int_equal(take(&b, "2001:db8::1", 10, 59999), 10); /* another one is not touched */
    assert_int_equal(take(&b, "192.0.2.1", 1000, 60005), LOG_BUDGET_CLIENT);
}

static void of_all_clients(void **state)
{
    struct log_budget b = {0};
    unsigned taken = 0;
    char client[46];
    (void)state;

    for (unsigned i = 0; i < 100000; i++) {
        snprintf(client, sizeof(client), "2001:db8:ffff:ffff:ffff:ffff:%x:%x", i >> 16, i & 0xffff);
        taken += log_budget_take(&b, client, 1);
    }
    assert_int_equal(taken, LOG_BUDGET_ALL);
}

static void what_is_left_out_is_told(void **state)
{
    struct log_budget b = {0};
    char text[4096];
    int ends[2];
    (void)state;

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    log_set_fd(ends[0]);
    take(&b, "192.0.2.1", LOG_BUDGET_CLIENT + 7, 1);
    take(&b, "192.0.2.2", 1, 1);
    log_budget_tick(&b, 1000);
    log_flush();
    assert_true(read(ends[1], text, sizeof(text)) < 0); /* the minute is not over */
    log_budget_tick(&b, 60001);
    log_budget_tick(&b, 61001);
    log_flush();
    ssize_t n = read(ends[1], text, sizeof(text) - 1);
    log_set_fd(2);
    assert_true(n > 0);
    text[n] = '\0';
    assert_non_null(
        strstr(text, "client=192.0.2.1, left out of the log in the last minute lines=7\n"));
    assert_ptr_equal(strchr(text, '\n'), text + n - 1); /* one line */
    close(ends[0]);
    close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_one_client),
        cmocka_unit_test(of_all_clients),
        cmocka_unit_test(what_is_left_out_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
