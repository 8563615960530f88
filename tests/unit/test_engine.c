/*
 * The queue engine with a fake spool, fake connections, a fake clock and a resolver played by the
 * test: what is sent when, what waits for what, and that every recipient ends exactly once.
 */
#include "engine_fakes.h"

#include "base/log.h"

#include <fcntl.h>

static void delivers(void **state)
{
    (void)state;
    message_id id = queue_mail("a@fixed.example", NULL);
    assert_int_equal(opened, 1);
    assert_string_equal(conns->queue, "fixed.example/default");
    assert_string_equal(conns->host, "127.0.0.9");
    struct delivery_conn *c = establish();
    struct delivery_job job = pull(c);
    assert_sv_equal(job.env->rcpts[job.rcpts[0]].address, "a@fixed.example");
    answer(c, &job, outcome(OUTCOME_DELIVERED, PHASE_END_OF_DATA, 250, "250 ok"));
    assert_int_equal(fs.states[SPOOL_DELIVERED], 1);
    assert_int_equal(fs.last.id, id);
    assert_int_equal(live(), 0);
    assert_int_equal(engine_index(w.g)->by_id.count, 0);
    assert_int_equal(ask(c), DELIVERY_IDLE);

    queue_mail("b@fixed.example", NULL); /* the idle connection takes it */
    assert_int_equal(opened, 1);
    job = pull(c);
    answer(c, &job, outcome(OUTCOME_DELIVERED, PHASE_END_OF_DATA, 250, "250 ok"));
    assert_int_equal(fs.states[SPOOL_DELIVERED], 2);
}

static void groups_recipients(void **state)
{
    (void)state;
    queue_mail("a@fixed.example b@Fixed.Example c@other.example d@fixed.example", "mta1");
    assert_int_equal(queue_named("fixed.example/mta1")->live, 3);
    assert_int_equal(queue_named("other.example/mta1")->live, 1);
    struct delivery_conn *c = conns;
    while (strcmp(c->queue, "fixed.example/mta1"))
        c = c->next;
    struct delivery_job job = pull(c);
    assert_int_equal(job.rcpt_count, 3);
    answer(c, &job, outcome(OUTCOME_BOUNCED, PHASE_RCPT, 550, "550 no"));
    assert_int_equal(fs.states[SPOOL_BOUNCED], 3);
    assert_int_equal(live(), 1);
}

static void retries_by_the_list_and_expires(void **state)
{
    (void)state;
    queue_mail("a@fixed.example", NULL);
    struct queue *q = queue_named("fixed.example/default");
    struct delivery_conn *c = establish();
    struct delivery_job job = pull(c);
    answer(c, &job, outcome(OUTCOME_DEFERRED, PHASE_RCPT, 450, "450 later"));
    assert_int_equal(fs.states[SPOOL_DEFERRED], 1);
    assert_string_equal(fs.last_text, "450 later");
    assert_in_range(fs.last.next_attempt_ms - NOW_MS, 540000, 660000);
    assert_int_equal(q->deferred.count, 1);
    assert_int_equal(ask(c), DELIVERY_IDLE);

    pass(530000); /* ten minutes less 10% are not over */
    assert_int_equal(q->deferred.count, 1);
    pass(130000);
    assert_int_equal(q->deferred.count, 0);
    job = pull(c);
    int64_t second = clock_wall_ms();
    answer(c, &job, outcome(OUTCOME_DEFERRED, PHASE_RCPT, 450, "450 later"));
    assert_in_range(fs.last.next_attempt_ms - second, 3240000, 3960000);
    assert_int_equal(fs.last.attempts, 2);

    assert_int_equal(engine_schedule(w.g, SV("fixed.example")), 1); /* an operator: now */
    job = pull(c);
    second = clock_wall_ms();
    answer(c, &job, outcome(OUTCOME_DEFERRED, PHASE_RCPT, 450, "450 later"));
    assert_in_range(fs.last.next_attempt_ms - second, 3240000, 3960000); /* the last repeats */

    pass(86400000); /* its time is over: one last attempt, then it ends */
    job = pull(c);
    answer(c, &job, outcome(OUTCOME_DEFERRED, PHASE_RCPT, 450, "450 still later"));
    assert_int_equal(fs.states[SPOOL_EXPIRED], 1);
    assert_string_equal(fs.last_text,
                        "not delivered within 1d (bounce-after); last: 450 still later");
    assert_int_equal(live(), 0);
}

static void queue_backs_off(void **state)
{
    struct outcome refused = outcome(OUTCOME_DEFERRED, PHASE_CONNECT, 0, "connection refused");
    (void)state;

    queue_mail("a@fixed.example", NULL);
    queue_mail("b@fixed.example", NULL);
    struct queue *q = queue_named("fixed.example/default");
    assert_int_equal(opened, 2);
    end_conn(conns, &refused);
    assert_int_equal(q->retry_at_ms, 0); /* the other one is still trying */
    end_conn(conns, &refused);
    turn();
    assert_in_range(q->retry_at_ms - NOW_MS, 540000, 660000);
    assert_string_equal(queue_state_name(q, false), "retry");
    assert_int_equal(fs.states[SPOOL_DEFERRED], 0); /* nothing was said to these messages */
    assert_int_equal(q->ready_count, 2);

    queue_mail("c@fixed.example", NULL);
    assert_int_equal(opened, 2); /* sleeps */
    pass(661000);
    assert_int_equal(opened, 4);
    while (conns)
        end_conn(conns, &refused);
    turn();
    assert_int_equal(q->failures, 2);

    pass(86400000); /* too old now: end with the next failure */
    while (conns)
        end_conn(conns, &refused);
    turn();
    assert_int_equal(fs.states[SPOOL_EXPIRED], 3);
    assert_int_equal(live(), 0);
}

static void places_are_counted_and_shared(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++)
        queue_mail("a@fixed.example", NULL);
    assert_int_equal(opened, 2); /* max-smtp-out of the queue */
    for (int i = 0; i < 5; i++)
        queue_mail("b@other.example", NULL);
    assert_int_equal(opened, 3); /* max-smtp-out of the pipe */
    assert_string_equal(queue_named("other.example/default")->line->name, "pipe bulk");
    struct delivery_conn *c = conns;
    while (strcmp(c->queue, "fixed.example/default"))
        c = c->next;
    end_conn(c, NULL);
    turn();
    assert_int_equal(opened, 4);
    assert_string_equal(conns->queue, "other.example/default"); /* the one that waited */
    assert_int_equal(engine_connection_count(w.g), 3);
}

static void dns_decides(void **state)
{
    (void)state;
    queue_mail("a@dns.example", NULL);
    turn();
    assert_string_equal(w.asked, "dns.example");
    assert_int_equal(opened, 0);
    play_dns(ROUTE_OK, "");
    assert_int_equal(opened, 1);
    assert_string_equal(conns->host, "mx.dns.example");

    queue_mail("a@gone.example b@gone.example", NULL);
    play_dns(ROUTE_NO_DOMAIN, "domain 'gone.example' does not exist");
    turn();
    assert_int_equal(fs.states[SPOOL_BOUNCED], 2);
    assert_string_equal(fs.last_text, "domain 'gone.example' does not exist");

    queue_mail("a@flaky.example", NULL);
    play_dns(ROUTE_TEMPORARY, "no name server answered");
    struct queue *q = queue_named("flaky.example/default");
    assert_true(q->retry_at_ms > NOW_MS);
    assert_string_equal(q->last_text, "no name server answered");
    assert_int_equal(q->live, 1);
}

static void pauses(void **state)
{
    struct buf saved = {0};
    const char *wider;
    (void)state;

    engine_pause(w.g, true);
    queue_mail("a@fixed.example", NULL);
    assert_int_equal(opened, 0);
    engine_pauses_write(w.g, &saved);
    assert_string_equal(buf_data(&saved), "pipe\n");
    engine_pause(w.g, false);
    turn();
    assert_int_equal(opened, 1);

    assert_int_equal(engine_pause_queues(w.g, SV("*/mta1")), 0);
    queue_mail("a@other.example", "mta1"); /* a queue that comes later is stopped too */
    assert_int_equal(opened, 1);
    assert_int_equal(engine_resume_queues(w.g, SV("other.example/mta1"), &wider), 0);
    assert_string_equal(wider, "*/mta1");
    buf_reset(&saved);
    engine_pauses_write(w.g, &saved);
    assert_string_equal(buf_data(&saved), "queue */mta1\n");
    assert_int_equal(engine_resume_queues(w.g, SV("*/*"), &wider), 1);
    assert_null(wider);
    turn();
    assert_int_equal(opened, 2);
    buf_free(&saved);
}

static void innocent_messages_go_on_at_once(void **state)
{
    (void)state;
    queue_mail("a@fixed.example", NULL);
    queue_mail("b@fixed.example", NULL);
    end_conn(conns, NULL); /* one connection is enough here */
    struct delivery_conn *c = establish();
    struct delivery_job job = pull(c);
    answer(c, &job, outcome(OUTCOME_DELIVERED, PHASE_END_OF_DATA, 250, "250 ok"));
    job = pull(c);
    answer(c, &job, outcome(OUTCOME_DEFERRED, PHASE_MAIL, 421, "421 enough for one connection"));
    assert_int_equal(fs.states[SPOOL_DEFERRED], 0);
    assert_int_equal(queue_named("fixed.example/default")->ready_count, 1);

    /* the same before anything was taken is a refusal */
    end_conn(c, NULL);
    while (conns && conns->next)
        end_conn(conns, NULL);
    turn();
    c = establish();
    job = pull(c);
    answer(c, &job, outcome(OUTCOME_DEFERRED, PHASE_MAIL, 421, "421 not now"));
    assert_int_equal(fs.states[SPOOL_DEFERRED], 1);
}

static void refused_beside_others_is_held(void **state)
{
    struct outcome busy = outcome(OUTCOME_DEFERRED, PHASE_GREETING, 421, "421 too many");
    (void)state;

    for (int i = 0; i < 6; i++)
        queue_mail("a@fixed.example", NULL);
    assert_int_equal(opened, 2);
    struct delivery_conn *second = conns;
    conns = conns->next; /* establish the older one */
    establish();
    second->next = conns;
    conns = second;
    end_conn(second, &busy);
    turn();
    assert_int_equal(opened, 2); /* not tried again at once */
    assert_int_equal(queue_named("fixed.example/default")->retry_at_ms, 0);
}

static void connection_lost_puts_back(void **state)
{
    struct outcome lost = outcome(OUTCOME_DEFERRED, PHASE_END_OF_DATA, 0, "connection lost");
    (void)state;

    queue_mail("a@fixed.example", NULL);
    struct delivery_conn *c = establish();
    assert_int_equal(ask(c), DELIVERY_WAIT); /* being read */
    end_conn(c, &lost);
    fake_reads(); /* the read ends after its connection */
    turn();
    assert_int_equal(queue_named("fixed.example/default")->ready_count, 1);
    assert_int_equal(opened, 2);
}

static void damaged_message_leaves(void **state)
{
    struct delivery_job job;
    (void)state;

    queue_mail("a@fixed.example", NULL);
    struct delivery_conn *c = establish();
    fs.read_status = ERR_CORRUPT;
    assert_int_equal(ask(c), DELIVERY_WAIT);
    fake_reads();
    assert_int_equal(c->ops->next(c->owner, c, &job), DELIVERY_IDLE);
    assert_int_equal(live(), 0);
    assert_int_equal(engine_index(w.g)->by_id.count, 0);
}

static void count_deleted(void *arg, uint64_t matched, uint64_t deleted)
{
    uint64_t *counts = arg;
    counts[0] = matched;
    counts[1] = deleted;
}

static void deletes(void **state)
{
    uint64_t counts[2] = {0, 0};
    struct engine_delete_filter f = {.rcpt = SV("*@other.example")};
    (void)state;

    engine_pause(w.g, true);
    queue_mail("a@fixed.example b@other.example", NULL);
    queue_mail("c@other.example", NULL);
    engine_delete(w.g, &f, true, count_deleted, counts);
    turn();
    assert_int_equal(counts[0], 2);
    assert_int_equal(counts[1], 0);
    assert_int_equal(live(), 3);
    engine_delete(w.g, &f, false, count_deleted, counts);
    turn();
    assert_int_equal(counts[1], 2);
    assert_int_equal(fs.states[SPOOL_DELETED], 2);
    assert_int_equal(live(), 1);
    f = (struct engine_delete_filter){.job = SV("other-job"), .queue_pattern = SV("*")};
    engine_delete(w.g, &f, false, count_deleted, counts);
    turn();
    assert_int_equal(counts[0], 0);
}

static void refuses(void **state)
{
    struct envelope env = {.rcpt_count = 1, .vmta = SV("no-such")};
    const char *text;
    (void)state;

    assert_int_equal(engine_refuses(w.g, &env, &text), 550);
    env.vmta = SV("MTA1");
    assert_int_equal(engine_refuses(w.g, &env, &text), 0);
    env.rcpt_count = 101;
    assert_int_equal(engine_refuses(w.g, &env, &text), 452);
    assert_true(strncmp(text, "4.3.1", 5) == 0);
}

static void pools_take_turns(void **state)
{
    struct envelope env = {.rcpt_count = 1, .vmta = SV("pool-a")};
    const char *text;
    (void)state;

    assert_int_equal(engine_refuses(w.g, &env, &text), 0);
    for (int i = 0; i < 4; i++)
        queue_mail("a@fixed.example", "pool-a");
    assert_int_equal(queue_named("fixed.example/mta2")->live, 2);
    assert_int_equal(queue_named("fixed.example/mta3")->live, 2);
    /* the pool's own setting applies to its members */
    assert_int_equal(throttle_numbers(w.g, queue_named("fixed.example/mta2"))->max_connections,
                     1);
}

static void recovers(void **state)
{
    struct envelope_rcpt rcpts[3] = {{SV("a@fixed.example"), {NULL, 0}, 0},
                                     {SV("b@fixed.example"), {NULL, 0}, 0},
                                     {SV("c@fixed.example"), {NULL, 0}, 0}};
    struct envelope env = {.received_ms = NOW_MS, .rcpt_count = 3, .rcpts = rcpts};
    struct spool_recovered_rcpt found[3] = {
        {.state = SPOOL_DELIVERED},
        {.state = SPOOL_DEFERRED, .attempts = 4, .next_attempt_ms = NOW_MS + 5000, .journal = 77},
        {.state = SPOOL_QUEUED},
    };
    (void)state;

    w.g->started = false;
    envelope_encode(&fs.envelopes[9], &env);
    engine_recovered(w.g, 9, &(struct spool_place){1, 0, 10}, &env, found);
    engine_start(w.g);
    turn();
    assert_int_equal(live(), 2);
    struct message *m = index_find(engine_index(w.g), 9);
    assert_null(message_entry(m, 0));
    assert_int_equal(message_entry(m, 1)->attempts, 4);
    assert_int_equal(message_entry(m, 1)->journal, 77);
    struct delivery_conn *c = establish();
    struct delivery_job job = pull(c);
    assert_int_equal(job.rcpt_count, 1);
    assert_int_equal(job.rcpts[0], 2);
    answer(c, &job, outcome(OUTCOME_DELIVERED, PHASE_END_OF_DATA, 250, "250 ok"));
    pass(5001);
    job = pull(c);
    assert_int_equal(job.rcpts[0], 1);
    answer(c, &job, outcome(OUTCOME_DELIVERED, PHASE_END_OF_DATA, 250, "250 ok"));
    assert_int_equal(live(), 0);
}

static void index_is_small(void **state)
{
    (void)state;
    for (int i = 0; i < 90; i++)
        queue_mail("a@dns.example", NULL);
    uint64_t bytes =
        engine_index(w.g)->memory_bytes + engine_index(w.g)->by_id.bucket_count * sizeof(void *);
    assert_in_range(bytes / live(), 1, 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENGINE_CASE(delivers),
        ENGINE_CASE(groups_recipients),
        ENGINE_CASE(retries_by_the_list_and_expires),
        ENGINE_CASE(queue_backs_off),
        ENGINE_CASE(places_are_counted_and_shared),
        ENGINE_CASE(dns_decides),
        ENGINE_CASE(pauses),
        ENGINE_CASE(innocent_messages_go_on_at_once),
        ENGINE_CASE(refused_beside_others_is_held),
        ENGINE_CASE(connection_lost_puts_back),
        ENGINE_CASE(damaged_message_leaves),
        ENGINE_CASE(deletes),
        ENGINE_CASE(refuses),
        ENGINE_CASE(pools_take_turns),
        ENGINE_CASE(recovers),
        ENGINE_CASE(index_is_small),
    };
    log_set_fd(open("/dev/null", 1));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
