/*
 * Limits of queues in the engine: what is sent when, and who comes first, with a fake clock and
 * connections that take a message as soon as they get one.
 */
#include "engine_fakes.h"

#include "base/log.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static const char common[] = "[pmta]\nhost-name = me.example\n"
                             "[listener 127.0.0.1:2525]\n"
                             "[source 127.0.0.1]\nalways-allow-relaying = yes\n"
                             "[pipe bulk]\nmax-queued = 1000\n"
                             "[virtual-mta mta1]\n[virtual-mta mta2]\n"
                             "[domain *]\nsmtp-hosts = [127.0.0.9]:26\nmax-smtp-out = 20\n"
                             "retry-after = 10m\nidle-timeout-out = 2s\n";

/* --- a world in which every connection takes what it is given --- */

enum { MOST_SENT = 2000 };

static struct {
    char queue[100];
    int64_t at_ms;
    uint32_t rcpts;
} sent[MOST_SENT];
static size_t sent_count;

static void reload(const char *more)
{
    struct buf text = {0};
    struct config *cfg;

    buf_append_str(&text, common);
    buf_append_str(&text, more);
    cfg = engine_load_config(buf_data(&text));
    buf_free(&text);
    config_unref(w.cfg);
    w.cfg = cfg;
    engine_configure(w.g, cfg);
    turn();
}

static void begin(const char *more)
{
    sent_count = 0;
    reload(more);
}

static void mail(const char *rcpt, unsigned count)
{
    while (count--)
        queue_mail(rcpt, "mta1");
}

/* One message on c, which is delivered; false when c has none. *c ends when it wants to. */
static bool play(struct delivery_conn *c)
{
    struct delivery_job job;
    struct delivery_host host = {.name = "mx"};

    if (c->closing) {
        end_conn(c, NULL);
        return true;
    }
    if (!c->established)
        c->ops->established(c->owner, c, &host);
    c->established = true;
    enum delivery_next n = c->ops->next(c->owner, c, &job);
    if (n == DELIVERY_WAIT) {
        fake_reads();
        n = c->ops->next(c->owner, c, &job);
    }
    if (n == DELIVERY_QUIT)
        end_conn(c, NULL);
    if (n != DELIVERY_JOB)
        return n == DELIVERY_QUIT;
    assert_true(sent_count < MOST_SENT);
    snprintf(sent[sent_count].queue, sizeof(sent[0].queue), "%s", c->queue);
    sent[sent_count].rcpts = job.rcpt_count;
    sent[sent_count++].at_ms = clock_wall_ms();
    answer(c, &job, outcome(OUTCOME_DELIVERED, PHASE_END_OF_DATA, 250, "250 ok"));
    return true;
}

static void play_all(void)
{
    for (bool moved = true; moved;) {
        moved = false;
        turn();
        for (struct delivery_conn *c = conns, *next; c; c = next) {
            next = c->next;
            moved |= play(c);
            turn();
        }
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

static unsigned sent_by(const char *queue)
{
    unsigned n = 0;
    for (size_t i = 0; i < sent_count; i++)
        if (strcmp(sent[i].queue, queue) == 0)
            n += sent[i].rcpts;
    return n;
}

/* No window of this length saw more recipients than that. */
static void check_window(int64_t ms, unsigned most)
{
    for (size_t i = 0, k = 0, in = 0; i < sent_count; i++) {
        in += sent[i].rcpts;
        while (sent[i].at_ms - sent[k].at_ms >= ms)
            in -= sent[k++].rcpts;
        if (in > most)
            fail_msg("%zu recipients within %lld ms, %u are allowed", in, (long long)ms, most);
    }
}

/* --- rates --- */

static void slow_rate_is_exact(void **state)
{
    (void)state;
    begin("[domain a.example]\nmax-msg-rate = 2/m\n");
    mail("x@a.example", 20);
    run_for(300000, 500);
    assert_int_equal(sent_count, 11); /* at 0, 30, …, 300 seconds */
    for (size_t i = 0; i < sent_count; i++)
        assert_in_range(sent[i].at_ms - NOW_MS, 30000 * i, 30000 * i + 500);
}

/* What was granted for a connection is used when it is open, so its time is not lost each time. */
static void slow_connections_do_not_slow_a_slow_rate(void **state)
{
    (void)state;
    begin("[domain fixed.example]\nmax-msg-rate = 2/m\nidle-timeout-out = 1s\n");
    mail("a@fixed.example", 5);
    turn();
    int64_t start = clock_wall_ms();
    for (unsigned n = 0; n < 5; n++) {
        for (int i = 0; i < 400 && !conns; i++)
            pass(100);
        pass(2000); /* connecting */
        play_all();
        while (conns)
            end_conn(conns, NULL);
        assert_int_equal(sent_count, n + 1);
        assert_in_range(sent[n].at_ms - start, n * 30000 + 2000, n * 30000 + 2200);
    }
    check_window(29000, 1);
}

static void fast_rate_is_even(void **state)
{
    (void)state;
    begin("[domain a.example]\nmax-msg-rate = 100/s\n");
    mail("x@a.example", 400);
    run_for(3000, 1);
    assert_in_range(sent_by("a.example/mta1"), 298, 307);
    check_window(1000, 106);
    check_window(100, 16);
}

static void transactions_are_cut_to_what_is_granted(void **state)
{
    (void)state;
    begin("[domain a.example]\nmax-msg-rate = 60/m\n");
    queue_mail("a@a.example b@a.example c@a.example d@a.example", "mta1");
    play_all();
    assert_int_equal(sent_count, 1);
    assert_int_equal(sent[0].rcpts, 1);
    run_for(3000, 100);
    assert_int_equal(sent_by("a.example/mta1"), 4);
    check_window(1000, 1);
}

static void connects_are_counted(void **state)
{
    (void)state;
    begin("[domain a.example]\nmax-connect-rate = 6/m\n"
          "[domain b.example]\nsmtp-out-rampup-interval = 20s\n");
    mail("x@a.example", 8);
    for (int i = 0; i < 60; i++)
        pass(1000);
    assert_int_equal(opened, 7);
    mail("x@b.example", 8);
    for (int i = 0; i < 60; i++)
        pass(1000);
    assert_int_equal(queue_named("b.example/mta1")->sender_count, 4);
}

static void bytes_are_counted_before_they_go(void **state)
{
    (void)state;
    begin("[domain a.example]\nmax-data-volume-rate = 210b/s\n"); /* of 21 bytes each */
    mail("x@a.example", 200);
    run_for(10000, 10);
    /* twenty connections do not send one each at once */
    assert_in_range(sent_by("a.example/mta1"), 97, 105);
}

static void queues_share_the_rate_of_their_virtual_mta(void **state)
{
    (void)state;
    begin("[virtual-mta mta1]\nmax-msg-rate = 10/s\n");
    mail("x@a.example", 150);
    mail("x@b.example", 150);
    run_for(10000, 10);
    assert_in_range(sent_count, 99, 103);
    assert_in_range(sent_by("a.example/mta1"), 45, 55);
    assert_in_range(sent_by("b.example/mta1"), 45, 55);
    queue_mail("x@a.example", "mta2"); /* another virtual MTA, another rate */
    play_all();
    assert_int_equal(sent_by("a.example/mta2"), 1);
}

static void a_macro_may_be_shared(void **state)
{
    (void)state;
    begin("[domain-macro big]\ndomains = a.example, b.example\nshared = yes\n"
          "[domain-macro small]\ndomains = c.example, d.example\n"
          "[domain $big]\nmax-msg-rate = 10/s\n[domain $small]\nmax-msg-rate = 10/s\n");
    for (const char *const *d =
             (const char *[]){"x@a.example", "x@b.example", "x@c.example", "x@d.example", NULL};
         *d; d++)
        mail(*d, 100);
    run_for(5000, 10);
    assert_in_range(sent_by("a.example/mta1") + sent_by("b.example/mta1"), 50, 53);
    assert_in_range(sent_by("c.example/mta1"), 50, 52);
    assert_in_range(sent_by("d.example/mta1"), 50, 52);
}

static void the_process_has_limits_too(void **state)
{
    (void)state;
    begin("[pmta]\ntotal-max-smtp-out = 3\ntotal-max-msg-rate = 20/s\n");
    mail("x@a.example", 50);
    queue_mail("x@b.example", "mta2");
    assert_in_range(engine_connection_count(w.g), 1, 2); /* a token comes before a connection */
    run_for(2000, 10);
    assert_in_range(sent_count, 39, 43);
    assert_int_equal(sent_by("b.example/mta2"), 1);
}

/* --- modes, reload --- */

static void mode_and_cut_change_the_rate(void **state)
{
    (void)state;
    begin("[domain a.example]\nmax-msg-rate = 10/s\nbackoff-max-msg-rate = 1/s\n"
          "backoff-max-smtp-out = 1\n");
    mail("x@a.example", 300);
    run_for(1000, 10);
    struct queue *q = queue_named("a.example/mta1");
    unsigned before = sent_by(q->name);
    q->rate_percent = 50;
    throttle_configure(w.g, q);
    run_for(2000, 10);
    assert_in_range(sent_by(q->name) - before, 9, 11);
    before = sent_by(q->name);
    q->mode = QUEUE_BACKOFF;
    q->rate_percent = 100;
    throttle_configure(w.g, q);
    assert_int_equal(throttle_numbers(w.g, q)->max_connections, 1);
    run_for(5000, 10);
    assert_in_range(sent_by(q->name) - before, 4, 6);
    before = sent_by(q->name);
    q->mode = QUEUE_NORMAL;
    throttle_configure(w.g, q);
    run_for(2000, 10);
    assert_in_range(sent_by(q->name) - before, 19, 22);
}

static void reload_keeps_levels(void **state)
{
    (void)state;
    begin("[domain a.example]\nmax-msg-rate = 1/h\n");
    mail("x@a.example", 100);
    play_all();
    assert_int_equal(sent_count, 1);
    pass(60000);
    reload("[domain a.example]\nmax-msg-rate = 1/h\n[domain b.example]\nmax-smtp-out = 3\n");
    run_for(60000, 1000);
    assert_int_equal(sent_count, 1); /* not another one because of the reload */
    reload("[domain a.example]\nmax-msg-rate = 2/s\n");
    run_for(10000, 100);
    assert_in_range(sent_count, 20, 23);
    size_t before = sent_count;
    reload("[domain a.example]\nmax-msg-rate = 1/m\n");
    run_for(60000, 100);
    assert_in_range(sent_count - before, 0, 2);
    reload("");
    play_all();
    assert_int_equal(sent_count, 100); /* no limit at all: everything at once */
}

static void new_limit_counts_open_connections(void **state)
{
    (void)state;
    begin("");
    for (int i = 0; i < 30; i++)
        queue_mail("x@a.example", "mta1");
    assert_int_equal(engine_connection_count(w.g), 20);
    reload("[virtual-mta mta1]\nmax-smtp-out = 5\n");
    for (struct delivery_conn *c = conns, *next; c; c = next) {
        next = c->next;
        play(c);
    }
    turn();
    assert_in_range(engine_connection_count(w.g), 1, 5);
}

/* --- turns --- */

static void one_domain_does_not_delay_another(void **state)
{
    (void)state;
    begin("[pipe bulk]\nmax-smtp-out = 1\n");
    mail("x@a.example", 400);
    turn();
    mail("x@b.example", 1);
    run_for(50, 1);
    size_t at = 0;
    assert_int_equal(sent_by("b.example/mta1"), 1);
    while (strcmp(sent[at].queue, "b.example/mta1") != 0)
        at++;
    assert_in_range(at, 1, 103);
    assert_int_equal(sent_count, 401);
}

static void one_domain_does_not_delay_another_at_a_rate(void **state)
{
    (void)state;
    begin("[virtual-mta mta1]\nmax-msg-rate = 10/s\n");
    mail("x@a.example", 400);
    run_for(2000, 10);
    size_t before = sent_count;
    mail("x@b.example", 3);
    run_for(1000, 10);
    assert_int_equal(sent_by("b.example/mta1"), 3); /* every other one is its */
    assert_in_range(sent_count - before, 9, 11);
}

static void priority_decides_first(void **state)
{
    (void)state;
    begin(
        "[pipe bulk]\nmax-smtp-out = 1\n"
        "[domain hot.example]\nqueue-priority = 90\n[domain cold.example]\nqueue-priority = 10\n");
    mail("x@a.example", 50);
    mail("x@cold.example", 5);
    mail("x@b.example", 5);
    mail("x@hot.example", 5);
    run_for(200, 1);
    assert_int_equal(sent_count, 65);
    for (size_t i = 0; i < 60; i++)
        assert_string_not_equal(sent[i].queue, "cold.example/mta1");
    /* the running connection gives way to the urgent queue after what it has in hand */
    assert_string_equal(sent[2].queue, "a.example/mta1");
    for (size_t i = 3; i < 8; i++)
        assert_string_equal(sent[i].queue, "hot.example/mta1");
}

static void priority_decides_at_a_rate(void **state)
{
    (void)state;
    begin("[virtual-mta mta1]\nmax-msg-rate = 10/s\n[domain hot.example]\nqueue-priority = 90\n");
    mail("x@a.example", 100);
    run_for(1000, 10);
    size_t before = sent_count;
    mail("x@hot.example", 10);
    run_for(1000, 10);
    assert_int_equal(sent_by("hot.example/mta1"), 10);
    assert_in_range(sent_count - before, 10, 11);
}

/* --- connections --- */

static void lost_connection_costs_no_token(void **state)
{
    (void)state;
    begin("[domain a.example]\nmax-msg-rate = 1/m\n");
    mail("x@a.example", 1);
    struct delivery_conn *c = establish();
    struct delivery_job job = pull(c);
    answer(c, &job, outcome(OUTCOME_DEFERRED, PHASE_QUEUE, 0, "stopped before MAIL"));
    end_conn(c, NULL);
    turn();
    play_all(); /* another connection, the same minute */
    assert_int_equal(sent_count, 1);

    mail("x@a.example", 1);
    play_all();
    assert_int_equal(sent_count, 1);
    pass(60000);
    assert_non_null(conns); /* the token is taken before the connection is opened */
    struct outcome refused = outcome(OUTCOME_DEFERRED, PHASE_CONNECT, 0, "connection refused");
    end_conn(conns, &refused);
    queue_named("a.example/mta1")->retry_at_ms = 0;
    scheduler_kick(w.g, queue_named("a.example/mta1"));
    play_all();
    assert_int_equal(sent_count, 2);
}

static void idle_connection_is_kept_for_a_token(void **state)
{
    (void)state;
    begin("[domain near.example]\nmax-msg-rate = 1/s\n[domain far.example]\nmax-msg-rate = 1/m\n");
    mail("x@near.example", 5);
    turn();
    assert_int_equal(opened, 1);
    run_for(4000, 50);
    assert_int_equal(sent_count, 5);
    assert_int_equal(opened, 1);
    assert_int_equal(engine_connection_count(w.g), 1);

    mail("x@far.example", 2);
    play_all();
    assert_int_equal(queue_named("far.example/mta1")->sender_count, 0); /* too long to keep */
    run_for(60000, 1000);
    assert_int_equal(sent_by("far.example/mta1"), 2);
}

static void woken_twice_sends_once(void **state)
{
    (void)state;
    begin("[domain a.example]\nmax-msg-rate = 1/s\n");
    mail("x@a.example", 10);
    struct delivery_conn *c = establish();
    struct delivery_job job = pull(c);
    answer(c, &job, outcome(OUTCOME_DELIVERED, PHASE_END_OF_DATA, 250, "250 ok"));
    assert_int_equal(ask(c), DELIVERY_IDLE);
    assert_int_equal(ask(c), DELIVERY_IDLE);
    pass(1000);
    job = pull(c);
    answer(c, &job, outcome(OUTCOME_DELIVERED, PHASE_END_OF_DATA, 250, "250 ok"));
    assert_int_equal(ask(c), DELIVERY_IDLE);
    assert_int_equal(ask(c), DELIVERY_IDLE);
}

static void idle_connection_gives_its_place(void **state)
{
    (void)state;
    begin("[pipe bulk]\nmax-smtp-out = 1\n");
    mail("x@a.example", 1);
    play_all();
    assert_int_equal(engine_connection_count(w.g), 1); /* idle */
    mail("x@b.example", 1);
    play_all();
    assert_int_equal(sent_by("b.example/mta1"), 1);
}

static void hosts_have_places(void **state)
{
    (void)state;
    begin("[domain *]\nsmtp-hosts = [127.0.0.5]:26, [127.0.0.6]:26\nmx-connection-limit = 1\n"
          "[domain c.example]\nsmtp-hosts = [127.0.0.7]:26\nip-connection-limit = 2\n"
          "mx-connection-limit = 0\n");
    mail("x@a.example", 3);
    assert_int_equal(opened, 2);
    assert_string_not_equal(conns->host, conns->next->host);
    mail("x@b.example", 1); /* the same hosts */
    assert_int_equal(opened, 2);
    assert_non_null(queue_named("b.example/mta1")->line);
    end_conn(conns, NULL);
    pass(1);
    pass(1);
    assert_int_equal(opened, 3);
    mail("x@c.example", 3);
    assert_int_equal(queue_named("c.example/mta1")->sender_count, 2);
}

static void next_host_needs_a_place_of_its_own(void **state)
{
    struct delivery_host first = {.name = "127.0.0.5"}, second = {.name = "127.0.0.6"};
    (void)state;

    begin("[domain *]\nsmtp-hosts = [127.0.0.5]:26; [127.0.0.6]:26\nip-connection-limit = 1\n");
    uv_ip4_addr("127.0.0.5", 26, (struct sockaddr_in *)&first.addr);
    uv_ip4_addr("127.0.0.6", 26, (struct sockaddr_in *)&second.addr);
    mail("x@a.example", 1);
    struct delivery_conn *c = conns;
    assert_true(c->ops->may_use(c->owner, c, &first));
    assert_true(c->ops->may_use(c->owner, c, &second)); /* moves, and frees the first */
    mail("x@b.example", 1);
    assert_string_equal(conns->host, "127.0.0.5");
    assert_false(conns->ops->may_use(conns->owner, conns, &second));
    c = c == conns ? conns->next : c;
    end_conn(c, NULL);
    assert_true(conns->ops->may_use(conns->owner, conns, &second));
}

static void sources_have_places(void **state)
{
    (void)state;
    begin("[virtual-mta mta1]\nsmtp-source-host = 127.0.0.2 one.example\n"
          "smtp-source-host = 127.0.0.3 two.example\nsource-ip-max-smtp-out = 2\n"
          "[domain a.example]\nsource-ip-max-smtp-out = 1\n");
    mail("x@a.example", 5);
    assert_int_equal(opened, 2);
    assert_string_not_equal(conns->source, conns->next->source);
    mail("x@b.example", 5);
    assert_int_equal(opened, 4); /* two from each address */
}

/* --- many --- */

static void throttled_queues_sleep(void **state)
{
    char rcpt[64];
    (void)state;

    begin("[virtual-mta mta1]\nmax-msg-rate = 1/h\n");
    for (int i = 0; i < 400; i++) {
        snprintf(rcpt, sizeof(rcpt), "x@d%d.example", i);
        queue_mail(rcpt, "mta1");
    }
    play_all();
    assert_int_equal(sent_count, 1);
    turn();
    assert_false(w.g->idle_active);
    assert_true(list_empty(&w.g->runnable));
    assert_int_equal(engine_connection_count(w.g), 1); /* of the first one, idle */
    assert_in_range(limits_next_us(w.g->limits) / 1000 - NOW_MS, 3599000, 3601000);
    pass(3600000);
    run_for(5, 1);
    assert_int_equal(sent_count, 2);
    assert_false(w.g->idle_active);
    assert_string_equal(sent[1].queue, "d1.example/mta1"); /* in order */
}

static void paused_queue_does_not_hold_up_others(void **state)
{
    (void)state;
    begin("[virtual-mta mta1]\nmax-msg-rate = 1/s\n");
    mail("x@a.example", 3);
    play_all();
    mail("x@b.example", 3);
    engine_pause_queues(w.g, SV("a.example"));
    run_for(4000, 10);
    assert_int_equal(sent_by("b.example/mta1"), 3);
    assert_int_equal(sent_by("a.example/mta1"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENGINE_CASE(slow_connections_do_not_slow_a_slow_rate),
        ENGINE_CASE(slow_rate_is_exact),
        ENGINE_CASE(fast_rate_is_even),
        ENGINE_CASE(transactions_are_cut_to_what_is_granted),
        ENGINE_CASE(connects_are_counted),
        ENGINE_CASE(bytes_are_counted_before_they_go),
        ENGINE_CASE(queues_share_the_rate_of_their_virtual_mta),
        ENGINE_CASE(a_macro_may_be_shared),
        ENGINE_CASE(the_process_has_limits_too),
        ENGINE_CASE(mode_and_cut_change_the_rate),
        ENGINE_CASE(reload_keeps_levels),
        ENGINE_CASE(new_limit_counts_open_connections),
        ENGINE_CASE(one_domain_does_not_delay_another),
        ENGINE_CASE(one_domain_does_not_delay_another_at_a_rate),
        ENGINE_CASE(priority_decides_first),
        ENGINE_CASE(priority_decides_at_a_rate),
        ENGINE_CASE(lost_connection_costs_no_token),
        ENGINE_CASE(idle_connection_is_kept_for_a_token),
        ENGINE_CASE(woken_twice_sends_once),
        ENGINE_CASE(idle_connection_gives_its_place),
        ENGINE_CASE(hosts_have_places),
        ENGINE_CASE(next_host_needs_a_place_of_its_own),
        ENGINE_CASE(sources_have_places),
        ENGINE_CASE(throttled_queues_sleep),
        ENGINE_CASE(paused_queue_does_not_hold_up_others),
    };
    log_set_fd(open("/dev/null", 1));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
