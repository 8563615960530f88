/*
 * Adaptive and warm-up in the engine: groups share one pair, what one address may not send goes to
 * another, cold shares and a ramp over midnight and a restart.
 */
#include "engine_fakes.h"

#include "pace/pace_int.h"

#include <stdio.h>
#include <time.h>

#define HEAD                                                                              \
    "[pmta]\nhost-name = me.example\n[listener 127.0.0.1:2525]\n"                         \
    "[source 127.0.0.1]\nalways-allow-relaying = yes\n[pipe bulk]\nmax-queued = 100000\n" \
    "[domain *]\nretry-after = 10m\n"
#define HOUR INT64_C(3600000)

/* --- connections that take what they are given --- */

static struct {
    unsigned all, of[256]; /* recipients, in all and by the last byte of our address */
    struct outcome answer;
} got;

static unsigned last_byte(const char *address)
{
    const char *dot = strrchr(address, '.');
    return dot ? (unsigned)atoi(dot + 1) & 255 : 0;
}

/* Idle connections end at once: idle-timeout-out has passed. */
static bool play(struct delivery_conn *c)
{
    struct delivery_host host = {.name = "mx"};
    struct delivery_job job;

    if (!c->established && !c->closing)
        c->ops->established(c->owner, c, &host);
    c->established = true;
    enum delivery_next n = c->closing ? DELIVERY_QUIT : c->ops->next(c->owner, c, &job);
    if (n == DELIVERY_WAIT) {
        fake_reads();
        n = c->ops->next(c->owner, c, &job);
    }
    if (n != DELIVERY_JOB) {
        end_conn(c, NULL);
        return true;
    }
    got.all += job.rcpt_count;
    got.of[last_byte(c->source)] += job.rcpt_count;
    answer(c, &job, got.answer);
    return true;
}

static void play_all(void)
{
    turn();
    while (conns) {
        play(conns);
        turn();
    }
}

static void run_for(int64_t ms, int64_t step)
{
    play_all();
    for (int64_t at = 0; at < ms; at += step) {
        pass(step);
        play_all();
    }
}

static void mail(const char *rcpt, const char *vmta, unsigned count)
{
    while (count--)
        queue_mail(rcpt, vmta);
}

static void begin(void)
{
    got.all = 0;
    memset(got.of, 0, sizeof(got.of));
    got.answer = outcome(OUTCOME_DELIVERED, PHASE_END_OF_DATA, 250, "250 ok");
}

static struct pace_pair *pair_of(const char *queue, const char *source)
{
    struct pace_pair *pair = pace_pair_find(engine_pace(w.g), sv_of(queue), sv_of(source));
    assert_non_null(pair);
    return pair;
}

/* --- groups --- */

static const char *const group_config =
    HEAD "[virtual-mta a]\n[mx-rollup big]\nmx = *.big.example\n"
         "[domain big.rollup]\nwarmup-schedule = 3/d\nadaptive = yes\n";

static void members_of_a_group_share_one_pair(void **state)
{
    (void)state;
    begin();
    mail("x@one.example", "a", 1);
    play_mx("mx.big.example 10");
    mail("x@two.example", "a", 1);
    play_mx("t.big.example 10");
    mail("x@one.example", "a", 4);
    mail("x@two.example", "a", 4);
    run_for(10000, 500);
    assert_int_equal(got.all, 3);
    assert_int_equal(engine_pace(w.g)->pairs.count, 1);
    const struct pace_pair *pair = pair_of("big.rollup/a", "");
    assert_int_equal(pace_pair_used(pair), 3);
    assert_int_equal(pair->adaptive.delivered, 3);
    assert_int_equal(live(), 7);
}

static void a_throttling_reply_lowers_the_rate_of_all(void **state)
{
    (void)state;
    begin();
    mail("x@one.example", "a", 1);
    play_mx("mx.big.example 10");
    got.answer = outcome(OUTCOME_DEFERRED, PHASE_MAIL, 421, "421 4.7.0 too many messages");
    got.answer.enhanced.class_digit = 4;
    got.answer.enhanced.subject = 7;
    mail("x@one.example", "a", 2);
    play_all();
    const struct pace_pair *pair = pair_of("big.rollup/a", "");
    assert_int_equal(pair->adaptive.state, ADAPTIVE_STATE_HELD);
    assert_string_equal(adaptive_event(&pair->adaptive, 0)->reply, "421 4.7.0 too many messages");
}

/* --- two addresses --- */

static const char *const two_config =
    HEAD "[domain two.example]\nsmtp-hosts = [127.0.0.9]:26\nmax-smtp-out = 1\n"
         "warmup-schedule = 4/d, 100/d\n"
         "[virtual-mta two]\nsmtp-source-host = 127.0.0.41 one.example\n"
         "smtp-source-host = 127.0.0.42 two.example\n";

static void mail_overflows_to_the_address_with_room(void **state)
{
    (void)state;
    begin();
    mail("x@two.example", "two", 1);
    play_all();
    mail("x@two.example", "two", 1);
    play_all();
    assert_int_equal(got.of[41], 1);
    assert_int_equal(got.of[42], 1);
    pace_act(engine_pace(w.g), PACE_SET_DAY, SV("*"), SV("127.0.0.42"), 2, clock_wall_ms());
    for (int i = 0; i < 30; i++) { /* one after the other, and some at once */
        mail("x@two.example", "two", 1 + (unsigned)i % 3);
        run_for(1000, 500);
    }
    assert_int_equal(got.of[41], 4);
    assert_int_equal(got.all, 62);
    assert_int_equal(live(), 0);
}

static void a_day_that_was_set_is_used_at_once(void **state)
{
    static const char *const sources[] = {"127.0.0.42", "127.0.0.41"};
    unsigned expected = 8;

    (void)state;
    begin();
    mail("x@two.example", "two", 300);
    run_for(5000, 500);
    assert_int_equal(got.all, expected); /* both are used up, the queue stands in line at one */
    for (unsigned i = 0; i < 2; i++) {
        pace_act(engine_pace(w.g), PACE_SET_DAY, SV("*"), sv_of(sources[i]), 2, clock_wall_ms());
        engine_retry_addresses(w.g);
        run_for(1000, 500);
        expected += 100 - 4;
        assert_int_equal(got.all, expected);
    }
}

/* What it had in hand when the day was set is sent, and so is what comes later. */
static void the_other_address_goes_on_after_a_day_was_set(void **state)
{
    (void)state;
    begin();
    mail("x@two.example", "two", 10);
    run_for(1000, 500);
    assert_int_equal(got.all, 8);
    pace_act(engine_pace(w.g), PACE_SET_DAY, SV("*"), SV("127.0.0.42"), 2, clock_wall_ms());
    engine_retry_addresses(w.g);
    for (unsigned expected = 10; expected < 16; expected += 2) {
        run_for(1000, 500);
        assert_int_equal(got.all, expected);
        mail("x@two.example", "two", 2);
    }
}

/* --- cold shares, a ramp and a rate --- */

static const char *const cold_config =
    HEAD "[domain far.example]\nsmtp-hosts = [127.0.0.9]:26\nmax-msg-rate = 600/h\n"
         "[virtual-mta warm]\nsmtp-source-host = 127.0.0.51 warm.example\n"
         "cold-virtual-mta = new\nmax-cold-virtual-mta-msg = 5/d,10/d\n"
         "[virtual-mta new]\nsmtp-source-host = 127.0.0.52 new.example\n"
         "[virtual-mta new, domain far.example]\nwarmup = 2d\nwarmup-start-rate = 6/h\n";

static int64_t in_zone_at(int hour)
{
    struct tm tm = {.tm_year = 126, .tm_mon = 10, .tm_mday = 20, .tm_hour = hour, .tm_isdst = -1};

    setenv("TZ", "Europe/Berlin", 1);
    tzset();
    return (int64_t)mktime(&tm) * 1000;
}

/* Everything that is kept, into a machine that knows nothing, at the same time. */
static void restart(void **state)
{
    struct buf cold = {0}, pace = {0}, levels = {0};
    int64_t now_ms = clock_wall_ms();
    void *config = (void *)(uintptr_t)cold_config;

    engine_cold_write(w.g, &cold);
    pace_write_some(engine_pace(w.g), &pace, UINT32_MAX);
    limits_write(engine_limits(w.g), clock_wall_us(), &levels);
    engine_tear_down(state);
    engine_set_up(&config);
    clock_fake_set(now_ms);
    engine_cold_read(w.g, buf_view(&cold));
    pace_read(engine_pace(w.g), buf_view(&pace));
    limits_read(engine_limits(w.g), buf_view(&levels));
    buf_free(&cold);
    buf_free(&pace);
    buf_free(&levels);
}

static void cold_shares_ramp_and_rate_work_together(void **state)
{
    begin();
    clock_fake_set(in_zone_at(20));
    mail("x@far.example", "warm", 200);
    run_for(HOUR / 2, 5000); /* the warm one at its rate, the cold one at its own start */
    assert_in_range(got.of[51], 150, 195);
    assert_in_range(got.of[52], 3, 4);
    run_for(HOUR / 2, 5000);
    assert_int_equal(got.of[52], 5); /* its share of today, no more */
    assert_int_equal(got.of[51], 195);
    uint32_t step = pair_of("far.example/new", "127.0.0.52")->warmup.step;
    assert_true(step >= 2);
    mail("x@far.example", "warm", 1);
    run_for(60000, 5000);
    assert_int_equal(got.of[52], 5);

    restart(state);
    begin();
    mail("x@far.example", "warm", 20); /* still today */
    run_for(HOUR / 2, 5000);
    assert_int_equal(got.of[52], 0);
    assert_int_equal(got.of[51], 20);

    run_for(4 * HOUR, 60000); /* midnight */
    begin();
    mail("x@far.example", "warm", 100);
    run_for(2 * HOUR, 5000);
    assert_int_equal(got.of[52], 10); /* the second day's share */
    assert_int_equal(got.of[51], 90);
    assert_true(pair_of("far.example/new", "127.0.0.52")->warmup.step > step);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENGINE_CASE_WITH(members_of_a_group_share_one_pair, group_config),
        ENGINE_CASE_WITH(a_throttling_reply_lowers_the_rate_of_all, group_config),
        ENGINE_CASE_WITH(mail_overflows_to_the_address_with_room, two_config),
        ENGINE_CASE_WITH(a_day_that_was_set_is_used_at_once, two_config),
        ENGINE_CASE_WITH(the_other_address_goes_on_after_a_day_was_set, two_config),
        ENGINE_CASE_WITH(cold_shares_ramp_and_rate_work_together, cold_config),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
