/*
 * Queues for addresses of our own: which mail goes there, that it is handled here instead of being
 * sent, that such a queue can be paused and deferred like others, and goes out when it has to.
 */
#include "engine_fakes.h"

static const struct local_queue bounce = {"{bounce}", "bounce-processor"};

static struct {
    struct load *loads[8];
    size_t count, asked, drains;
    bool takes; /* works when it is asked */
} local;

static const struct local_queue *queue_of(void *arg, struct strview address)
{
    (void)arg;
    return sv_ends_nocase(address, SV("@ours.example")) ? &bounce : NULL;
}

static void on_arrived(struct load *l)
{
    (void)l;
}

static void work(void *arg, struct queue *q)
{
    (void)arg;
    local.asked++;
    while (local.takes && q->ready_count && local.count < ARRAY_LEN(local.loads)) {
        struct load *l = load_take(w.g, q, 1, on_arrived, NULL);
        assert_non_null(l);
        local.loads[local.count++] = l;
    }
}

static void drain(void *arg)
{
    (void)arg;
    local.drains++;
    while (local.count)
        load_put_back(local.loads[--local.count]);
}

static void begin(bool takes)
{
    static const struct engine_local_ops ops = {queue_of, work, drain};

    memset(&local, 0, sizeof(local));
    local.takes = takes;
    engine_on_local(w.g, &ops, NULL);
}

static void settle(struct load *l, enum outcome_class class_)
{
    struct outcome o = outcome(class_, PHASE_QUEUE, 0, "seen to");
    struct entry *e = l->entries[0];

    l->left = 0;
    l->entries[0] = NULL;
    settle_entry(w.g, e, &l->env, &o, NULL);
    load_release(l);
}

static void mail_to_ourselves_stays_here(void **state)
{
    (void)state;
    begin(true);
    queue_mail("x@fixed.example b+1@Ours.Example b+2@ours.example", "mta1");
    struct queue *q = queue_named("{bounce}/default");
    assert_int_equal(opened, 1); /* for the one that goes out */
    assert_string_equal(conns->queue, "fixed.example/mta1");
    assert_int_equal(local.count, 2);
    fake_reads();
    assert_non_null(q);
    assert_int_equal(q->live, 2);
    end_conn(conns, NULL);
}

static void it_ends_as_delivered(void **state)
{
    (void)state;
    begin(true);
    queue_mail("b+1@ours.example", NULL);
    turn();
    assert_int_equal(local.count, 1);
    assert_int_equal(opened, 0);
    fake_reads();
    assert_int_equal(local.loads[0]->state, LOAD_READY);
    settle(local.loads[0], OUTCOME_DELIVERED);
    local.count = 0;
    assert_int_equal(fs.states[SPOOL_DELIVERED], 1);
    assert_int_equal(live(), 0);
}

static void it_can_be_paused_and_comes_back(void **state)
{
    (void)state;
    begin(true);
    engine_pause_queues(w.g, SV("{bounce}"));
    queue_mail("b+1@ours.example", NULL);
    turn();
    assert_int_equal(local.asked, 0);
    const char *wider;
    engine_resume_queues(w.g, SV("{bounce}"), &wider);
    turn();
    assert_int_equal(local.count, 1);
    fake_reads();
    settle(local.loads[0], OUTCOME_DEFERRED); /* something was not there */
    local.count = 0;
    assert_int_equal(live(), 1);
    assert_int_equal(queue_named("{bounce}/default")->deferred.count, 1);
    pass(24 * 3600 * 1000);
    assert_int_equal(local.count, 1); /* its time came */
    fake_reads();
    settle(local.loads[0], OUTCOME_DELIVERED);
    local.count = 0;
}

static void it_can_go_out_after_all(void **state)
{
    (void)state;
    begin(true);
    queue_mail("b+1@ours.example", "mta1");
    turn();
    fake_reads();
    struct load *l = local.loads[0];
    struct entry *e = l->entries[0];
    l->left = 0;
    l->entries[0] = NULL;
    engine_send_out(w.g, e, &l->env);
    load_release(l);
    local.count = 0;
    assert_int_equal(queue_named("{bounce}/default")->live, 0);
    assert_int_equal(queue_named("ours.example/mta1")->live, 1);
    assert_int_equal(live(), 1);
}

static void a_drain_puts_it_back(void **state)
{
    (void)state;
    begin(true);
    queue_mail("b+1@ours.example", NULL);
    turn();
    fake_reads();
    assert_int_equal(local.count, 1);
    /* the tear-down drains, and checks that nothing is left over */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENGINE_CASE(mail_to_ourselves_stays_here),
        ENGINE_CASE(it_ends_as_delivered),
        ENGINE_CASE(it_can_be_paused_and_comes_back),
        ENGINE_CASE(it_can_go_out_after_all),
        ENGINE_CASE(a_drain_puts_it_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
