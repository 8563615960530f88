/*
 * Which queue and virtual MTA mail takes: pools, cold shares, source addresses that are missing,
 * rerouting, and groups of domains with the same MX hosts.
 */
#include "engine_fakes.h"

#define HEAD                                                                              \
    "[pmta]\nhost-name = me.example\n[listener 127.0.0.1:2525]\n"                         \
    "[source 127.0.0.1]\nalways-allow-relaying = yes\n[pipe bulk]\nmax-queued = 100000\n" \
    "[domain *]\nretry-after = 10m\nmax-smtp-out = 5\n"
#define FIXED "[domain fixed.example]\nsmtp-hosts = [127.0.0.9]:26\n"

static uint32_t live_in(const char *name)
{
    const struct queue *q = engine_find_queue(w.g, sv_of(name));
    return q ? q->live : 0;
}

static void reconfigure(const char *text)
{
    config_unref(w.cfg);
    w.cfg = engine_load_config(text);
    engine_configure(w.g, w.cfg);
    turn();
}

/* What recovery would hand over for that message. */
static void recover(message_id id)
{
    struct arena arena = {0};
    struct envelope env;
    struct spool_recovered_rcpt rcpts[16] = {{.state = SPOOL_QUEUED}};

    for (size_t i = 0; i < ARRAY_LEN(rcpts); i++)
        rcpts[i].state = SPOOL_QUEUED;
    assert_int_equal(envelope_decode(buf_view(&fs.envelopes[id]), &arena, &env, NULL), 0);
    engine_recovered(w.g, id + 3000, &(struct spool_place){1, 0, 100}, &env, rcpts);
    buf_append_sv(&fs.envelopes[id + 3000], buf_view(&fs.envelopes[id]));
    arena_free(&arena);
    turn();
}

/* --- pools --- */

static const char *const pool_config =
    HEAD FIXED "[virtual-mta a]\n[virtual-mta b]\n[virtual-mta c]\n"
               "[virtual-mta-pool p]\nvirtual-mta = a 2\nvirtual-mta = b\n";

static void pool_by_weight(void **state)
{
    (void)state;
    for (int i = 0; i < 30; i++)
        queue_mail("x@fixed.example", "p");
    assert_int_equal(live_in("fixed.example/a"), 20);
    assert_int_equal(live_in("fixed.example/b"), 10);
}

static void choice_is_kept(void **state)
{
    (void)state;
    message_id first = queue_mail("x@fixed.example", "p");
    queue_mail("x@fixed.example", "p");
    assert_int_equal(live_in("fixed.example/a"), 1);
    assert_int_equal(live_in("fixed.example/b"), 1);
    /* the pool is another one now; what was chosen stays */
    reconfigure(HEAD FIXED "[virtual-mta a]\n[virtual-mta b]\n[virtual-mta c]\n"
                           "[virtual-mta-pool p]\nvirtual-mta = c\n");
    recover(first);
    assert_int_equal(live_in("fixed.example/a"), 2);
    assert_int_equal(live_in("fixed.example/c"), 0);
}

static void gone_virtual_mta_hands_over(void **state)
{
    (void)state;
    message_id id = queue_mail("x@fixed.example", "p");
    for (int i = 0; i < 999; i++)
        queue_mail("x@fixed.example", "a");
    assert_int_equal(live_in("fixed.example/a"), 1000);
    reconfigure(HEAD FIXED "[virtual-mta b]\n[virtual-mta c]\n"
                           "[virtual-mta-pool p]\nvirtual-mta = c\n");
    for (int i = 0; i < 20; i++)
        turn();
    /* to the pool that it was in, but for what is being sent */
    assert_in_range(live_in("fixed.example/c"), 990, 1000);
    assert_int_equal(live_in("fixed.example/a") + live_in("fixed.example/c"), 1000);
    recover(id);
    assert_true(live_in("fixed.example/c") + live_in("fixed.example/a") == 1001);
}

/* --- cold virtual MTAs --- */

static const char *const cold_config =
    HEAD FIXED "[domain other.example]\nsmtp-hosts = [127.0.0.8]:26\n"
               "[virtual-mta warm]\ncold-virtual-mta = new\nmax-cold-virtual-mta-msg = 3/d\n"
               "[virtual-mta new]\n";

static void cold_takes_its_share(void **state)
{
    (void)state;
    for (int i = 0; i < 10; i++)
        queue_mail("x@fixed.example y@fixed.example z@other.example", "warm");
    assert_int_equal(live_in("fixed.example/new"), 6); /* 3 messages */
    assert_int_equal(live_in("fixed.example/warm"), 14);
    assert_int_equal(live_in("other.example/new"), 3);
    assert_int_equal(live_in("other.example/warm"), 7);
}

static void cold_choice_is_kept(void **state)
{
    (void)state;
    message_id id = queue_mail("x@fixed.example", "warm");
    for (int i = 0; i < 5; i++)
        queue_mail("x@fixed.example", "warm");
    assert_int_equal(live_in("fixed.example/new"), 3);
    recover(id);
    assert_int_equal(live_in("fixed.example/new"), 4);
}

/* --- source addresses --- */

static const char *const source_config =
    HEAD FIXED "[domain both.example]\nsmtp-hosts = [::1]:26\n"
               "[virtual-mta ok]\nsmtp-source-host = 127.0.0.2 two.example\n"
               "smtp-source-host = 198.51.100.1 gone.example\n"
               "[virtual-mta lost]\nsmtp-source-host = 198.51.100.1-3 gone.example\n"
               "[virtual-mta net]\nsmtp-source-host = 127.0.0.4/31 net%i.example\n"
               "[virtual-mta old]\nsmtp-source-ip = 127.0.0.6\nhost-name = old.example\n"
               "[virtual-mta two]\nsmtp-source-host = 127.0.0.2 four.example\n"
               "smtp-source-host = ::1 six.example\n"
               "[virtual-mta-pool p]\nvirtual-mta = lost\nvirtual-mta = ok\n";

static void skips_missing_addresses(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        queue_mail("x@fixed.example", "ok");
        assert_string_equal(conns->source, "127.0.0.2");
    }
    const struct vmta *ok = queue_named("fixed.example/ok")->vmta;
    assert_int_equal(ok->source_count, 1);
    assert_int_equal(ok->missing_count, 1);
    assert_true(ok->sources[1].line > 0);
}

static void waits_without_an_address(void **state)
{
    (void)state;
    queue_mail("x@fixed.example", "lost");
    assert_int_equal(opened, 0);
    struct queue *q = queue_named("fixed.example/lost");
    assert_true(q->vmta->is_stranded);
    assert_int_equal(q->vmta->missing_count, 3);
    pass(11 * 60000);
    assert_int_equal(opened, 0);
    assert_int_equal(q->live, 1);
    /* the address comes */
    reconfigure(HEAD FIXED "[virtual-mta lost]\nsmtp-source-host = 127.0.0.3 back.example\n");
    assert_int_equal(opened, 1);
    assert_string_equal(conns->source, "127.0.0.3");
}

static void pool_leaves_out_the_stranded(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++)
        queue_mail("x@fixed.example", "p");
    assert_int_equal(live_in("fixed.example/ok"), 4);
}

static void networks_and_older_spelling(void **state)
{
    (void)state;
    queue_mail("x@fixed.example", "net");
    assert_string_equal(conns->source, "127.0.0.4");
    assert_int_equal(queue_named("fixed.example/net")->vmta->source_count, 2);
    queue_mail("x@fixed.example", "old");
    assert_string_equal(conns->source, "127.0.0.6");
    assert_string_equal(queue_named("fixed.example/old")->vmta->sources[0].helo_name,
                        "old.example");
}

static void source_fits_the_host(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        queue_mail("x@fixed.example", "two");
        assert_string_equal(conns->source, "127.0.0.2");
        queue_mail("x@both.example", "two");
        assert_string_equal(conns->source, "::1");
    }
}

/* --- rerouting --- */

static const char *const reroute_config =
    HEAD FIXED "[virtual-mta a]\n[virtual-mta b]\n[virtual-mta c]\n[virtual-mta d]\n"
               "[virtual-mta a, domain fixed.example]\nreroute-to-virtual-mta = b\n"
               "[virtual-mta b, domain fixed.example]\nreroute-to-virtual-mta = c\n"
               "[virtual-mta d, domain fixed.example]\nbackoff-reroute-to-virtual-mta = c\n"
               "backoff-max-smtp-out = 1\n";

static void reroutes_along_the_chain(void **state)
{
    (void)state;
    queue_mail("x@fixed.example", "a");
    assert_int_equal(live_in("fixed.example/c"), 1);
    assert_int_equal(live_in("fixed.example/a") + live_in("fixed.example/b"), 0);
}

static void back_off_moves_what_waits(void **state)
{
    (void)state;
    for (int i = 0; i < 2000; i++)
        queue_mail("x@fixed.example", "d");
    struct queue *d = queue_named("fixed.example/d");
    assert_int_equal(d->live, 2000);
    d->mode = QUEUE_BACKOFF;
    routing_mode_changed(w.g, d);
    for (int i = 0; i < 20; i++)
        turn();
    assert_int_equal(d->ready_count, 0);
    assert_int_equal(live_in("fixed.example/c") + d->live, 2000);
    assert_in_range(live_in("fixed.example/c"), 1900, 2000);
    queue_mail("x@fixed.example", "d"); /* and so does what comes now */
    assert_int_equal(d->ready_count, 0);
    d->mode = QUEUE_NORMAL;
    uint32_t before = d->live;
    queue_mail("x@fixed.example", "d");
    assert_int_equal(d->live, before + 1);
}

/* A deferred recipient keeps its time. */
static void moved_mail_keeps_its_clock(void **state)
{
    (void)state;
    queue_mail("x@fixed.example", "d");
    struct queue *d = queue_named("fixed.example/d");
    struct delivery_conn *c = establish();
    struct delivery_job job = pull(c);
    answer(c, &job, outcome(OUTCOME_DEFERRED, PHASE_RCPT, 450, "450 later"));
    assert_int_equal(d->deferred.count, 1);
    int64_t due = heap_min(&d->deferred)->key;
    d->mode = QUEUE_BACKOFF;
    routing_mode_changed(w.g, d);
    turn();
    assert_int_equal(d->live, 0);
    assert_int_equal(heap_min(&queue_named("fixed.example/c")->deferred)->key, due);
    d->mode = QUEUE_NORMAL;
}

/* --- groups --- */

static const char *const rollup_config =
    HEAD "[virtual-mta a]\n[virtual-mta b]\n"
         "[mx-rollup big]\nmx = *.big.example\n"
         "[mx-rollup exact]\nmx = mx1.exact.example\n"
         "[domain big.rollup]\nbounce-after = 2d\nretry-after = 7m\n"
         "[domain own.example]\nbounce-after = 3d\n"
         "[domain out.example]\ndisable-mx-rollup = yes\n"
         "[domain auto1.example]\nauto-mx-rollup = yes\n"
         "[domain auto2.example]\nauto-mx-rollup = yes\n"
         "[domain to1.example]\nqueue-to = main.example\n"
         "[domain to2.example]\nqueue-to = main.example\n"
         "[domain main.example]\nbounce-after = 5d\n";

#define DAY (24 * 3600 * 1000LL)

static struct queue *mail_with_mx(const char *rcpt, const char *queue, const char *mx)
{
    queue_mail(rcpt, "a");
    play_mx(mx);
    return queue_named(queue);
}

static void domains_of_one_operator_are_one_group(void **state)
{
    (void)state;
    struct queue *one =
        mail_with_mx("x@one.example", "one.example/a", "mx.big.example 10, backup.other 20");
    struct queue *two = mail_with_mx("x@two.example", "two.example/a", "t.big.example 5");
    struct queue *alone = mail_with_mx("x@alone.example", "alone.example/a", "mx.alone.example 1");

    assert_string_equal(queue_identity(one), "big.rollup/a");
    assert_string_equal(queue_identity(two), "big.rollup/a");
    assert_sv_equal(one->group->rollup, "big");
    assert_string_equal(queue_identity(alone), "alone.example/a");
    assert_int_equal(one->settings.bounce_after_ms, 2 * DAY);
    assert_int_equal(one->group->member_count, 2);
    /* each goes to its own hosts */
    assert_string_equal(conns->next->host, "t.big.example");
    assert_string_equal(conns->next->next->host, "mx.big.example");

    size_t members = 0;
    for (struct queue *q = NULL; (q = queue_sibling_next(one, q));)
        members++;
    assert_int_equal(members, 2);
}

static const char *const shared_config =
    HEAD "[virtual-mta a]\n[mx-rollup big]\nmx = *.big.example\n"
         "[domain big.rollup]\nmax-smtp-out = 1\n"
         "[domain two.example]\nmax-smtp-out = 9\n";

/* One connection for the whole group, whatever a member says about itself alone. */
static void members_share_one_limit(void **state)
{
    (void)state;
    mail_with_mx("x@one.example", "one.example/a", "mx.big.example 10");
    assert_int_equal(opened, 1);
    mail_with_mx("x@two.example", "two.example/a", "mx.big.example 10");
    assert_int_equal(opened, 1);
    mail_with_mx("x@alone.example", "alone.example/a", "mx.alone.example 10");
    assert_int_equal(opened, 2);
    end_conn(conns->next, NULL); /* the group's place is free again */
    turn();
    assert_int_equal(opened, 3);
}

static void a_section_of_its_own_wins(void **state)
{
    (void)state;
    struct queue *q = mail_with_mx("x@own.example", "own.example/a", "mx.big.example 10");
    assert_string_equal(queue_identity(q), "big.rollup/a");
    assert_int_equal(q->settings.bounce_after_ms, 3 * DAY);
}

static void virtual_mtas_are_apart(void **state)
{
    (void)state;
    struct queue *a = mail_with_mx("x@one.example", "one.example/a", "mx.big.example 10");
    queue_mail("x@one.example", "b"); /* the answer is cached */
    assert_string_equal(queue_identity(a), "big.rollup/a");
    assert_string_equal(queue_identity(queue_named("one.example/b")), "big.rollup/b");
}

static void named_hosts_only(void **state)
{
    (void)state;
    struct queue *q = mail_with_mx("x@three.example", "three.example/a",
                                   "mx2.exact.example 10, mx1.exact.example 10");
    assert_string_equal(queue_identity(q), "exact.rollup/a");
    assert_string_equal(conns->host, "mx1.exact.example");
    queue_mail("y@three.example", "a");
    for (const struct delivery_conn *c = conns; c; c = c->next)
        assert_string_equal(c->host, "mx1.exact.example");
}

static void can_stay_out(void **state)
{
    (void)state;
    struct queue *q = mail_with_mx("x@out.example", "out.example/a", "mx.big.example 10");
    assert_string_equal(queue_identity(q), "out.example/a");
}

static void sites_form_with_the_second(void **state)
{
    (void)state;
    struct queue *one = mail_with_mx("x@auto1.example", "auto1.example/a",
                                     "mx2.site.example 10, mx1.site.example 10");
    assert_string_equal(queue_identity(one), "auto1.example/a");
    struct queue *two = mail_with_mx("x@auto2.example", "auto2.example/a",
                                     "mx1.site.example 10, mx2.site.example 10");
    assert_string_equal(queue_identity(one), "(mx1|mx2).site.example/a");
    assert_string_equal(queue_identity(two), "(mx1|mx2).site.example/a");
}

static void follows_the_dns(void **state)
{
    (void)state;
    struct queue *q = mail_with_mx("x@one.example", "one.example/a", "mx.big.example 10");
    assert_string_equal(queue_identity(q), "big.rollup/a");
    pass(301000); /* the answer has expired */
    queue_mail("y@one.example", "a");
    play_dns(ROUTE_TEMPORARY, "SERVFAIL"); /* no answer is no reason to leave */
    assert_string_equal(queue_identity(q), "big.rollup/a");
    pass(11 * 60000);
    play_mx("mx.elsewhere.example 10");
    assert_string_equal(queue_identity(q), "one.example/a");
    assert_int_equal(w.g->groups.count, 0);
}

static void follows_the_configuration(void **state)
{
    (void)state;
    struct queue *q = mail_with_mx("x@one.example", "one.example/a", "mx.big.example 10");
    assert_string_equal(queue_identity(q), "big.rollup/a");
    reconfigure(HEAD "[virtual-mta a]\n[mx-rollup vast]\nmx = *.big.example\n");
    queue_mail("y@one.example", "a");
    assert_string_equal(queue_identity(q), "vast.rollup/a");
    reconfigure(HEAD "[virtual-mta a]\n");
    queue_mail("z@one.example", "a");
    assert_string_equal(queue_identity(q), "one.example/a");
}

static void queues_to_another(void **state)
{
    (void)state;
    queue_mail("x@to1.example", "a");
    assert_string_equal(w.asked, "main.example"); /* its hosts */
    play_mx("mx.main.example 10");
    queue_mail("x@to2.example", "a");
    queue_mail("x@main.example", "a");
    assert_int_equal(opened, 3);
    assert_string_equal(queue_identity(queue_named("to1.example/a")), "main.example/a");
    assert_string_equal(queue_identity(queue_named("to2.example/a")), "main.example/a");
    assert_ptr_equal(queue_named("main.example/a")->group, queue_named("to1.example/a")->group);
    assert_int_equal(queue_named("main.example/a")->settings.bounce_after_ms, 5 * DAY);
    assert_int_equal(queue_named("to1.example/a")->settings.bounce_after_ms, 5 * DAY);
}

/* An operator means this domain and gets it, in a group or not. */
static void pauses_one_member(void **state)
{
    (void)state;
    struct queue *one = mail_with_mx("x@one.example", "one.example/a", "mx.big.example 10");
    struct queue *two = mail_with_mx("x@two.example", "two.example/a", "mx.big.example 10");
    assert_int_equal(engine_pause_queues(w.g, SV("one.example/*")), 1);
    assert_true(one->paused);
    assert_false(two->paused);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENGINE_CASE_WITH(pool_by_weight, pool_config),
        ENGINE_CASE_WITH(choice_is_kept, pool_config),
        ENGINE_CASE_WITH(gone_virtual_mta_hands_over, pool_config),
        ENGINE_CASE_WITH(cold_takes_its_share, cold_config),
        ENGINE_CASE_WITH(cold_choice_is_kept, cold_config),
        ENGINE_CASE_WITH(skips_missing_addresses, source_config),
        ENGINE_CASE_WITH(waits_without_an_address, source_config),
        ENGINE_CASE_WITH(pool_leaves_out_the_stranded, source_config),
        ENGINE_CASE_WITH(networks_and_older_spelling, source_config),
        ENGINE_CASE_WITH(source_fits_the_host, source_config),
        ENGINE_CASE_WITH(reroutes_along_the_chain, reroute_config),
        ENGINE_CASE_WITH(back_off_moves_what_waits, reroute_config),
        ENGINE_CASE_WITH(moved_mail_keeps_its_clock, reroute_config),
        ENGINE_CASE_WITH(domains_of_one_operator_are_one_group, rollup_config),
        ENGINE_CASE_WITH(members_share_one_limit, shared_config),
        ENGINE_CASE_WITH(a_section_of_its_own_wins, rollup_config),
        ENGINE_CASE_WITH(virtual_mtas_are_apart, rollup_config),
        ENGINE_CASE_WITH(named_hosts_only, rollup_config),
        ENGINE_CASE_WITH(can_stay_out, rollup_config),
        ENGINE_CASE_WITH(sites_form_with_the_second, rollup_config),
        ENGINE_CASE_WITH(follows_the_dns, rollup_config),
        ENGINE_CASE_WITH(follows_the_configuration, rollup_config),
        ENGINE_CASE_WITH(queues_to_another, rollup_config),
        ENGINE_CASE_WITH(pauses_one_member, rollup_config),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
