/*
 * Jobs, priorities and delivery windows: whose turn it is within a queue, what stands aside and
 * comes back, what ends when its last window is over, and that the counts agree all the time.
 */
#include "engine_fakes.h"

#include "base/log.h"

#include <fcntl.h>
#include <stdio.h>
#include <time.h>

static char one_connection[] = "[pmta]\nhost-name = me.example\n"
                               "[listener 127.0.0.1:2525]\n"
                               "[source 127.0.0.1]\nalways-allow-relaying = yes\n"
                               "[pipe bulk]\nmax-queued = 1000\n"
                               "[domain *]\nmax-smtp-out = 1\nretry-after = 10m\n"
                               "bounce-after = 1d\nsmtp-hosts = [127.0.0.9]:26\n";

static message_id in_job(const char *job, unsigned priority, const char *rcpts)
{
    struct envelope env = {.job = sv_of(job), .priority = (uint8_t)priority};
    return queue_envelope(&env, rcpts);
}

/* "START / END" around now, in seconds from now. */
static struct strview window(char *out, int from_s, int to_s)
{
    char text[2][32];
    int at[2] = {from_s, to_s};

    for (int i = 0; i < 2; i++) {
        time_t t = (time_t)(clock_wall_ms() / 1000) + at[i];
        struct tm tm;
        strftime(text[i], sizeof(text[i]), "%Y-%m-%d %H:%M:%S", gmtime_r(&t, &tm));
    }
    sprintf(out, "%s / %s", text[0], text[1]);
    return sv_of(out);
}

static message_id in_window(int from_s, int to_s, const char *rcpts)
{
    char text[80];
    struct envelope env = {.schedule = window(text, from_s, to_s)};
    return queue_envelope(&env, rcpts);
}

static void deliver(struct delivery_conn *c, const char *rcpt)
{
    struct delivery_job job = pull(c);
    assert_sv_equal(job.env->rcpts[job.rcpts[0]].address, rcpt);
    answer(c, &job, outcome(OUTCOME_DELIVERED, PHASE_END_OF_DATA, 250, "250 ok"));
}

static void set_paused(const char *job, bool paused, bool changes)
{
    bool changed;
    assert_int_equal(engine_pause_job(w.g, sv_of(job), paused, &changed, NULL), 0);
    assert_int_equal(changed, changes);
    turn();
}

static void higher_goes_first(void **state)
{
    (void)state;
    engine_pause(w.g, true);
    in_job("", 0, "usual@fixed.example");
    in_job("", 1 + 10, "low@fixed.example");
    in_job("", 1 + 90, "high1@fixed.example");
    in_job("", 1 + 50, "usual2@fixed.example"); /* 50 is what is not given */
    in_job("", 1 + 90, "high2@fixed.example");
    in_job("", 255, "top@fixed.example"); /* more than there is: the highest */
    engine_pause(w.g, false);
    turn();
    struct delivery_conn *c = establish();
    deliver(c, "top@fixed.example");
    deliver(c, "high1@fixed.example");
    deliver(c, "high2@fixed.example");
    deliver(c, "usual@fixed.example");
    in_job("", 1 + 60, "later@fixed.example"); /* usual2 is in the connection's hands already */
    deliver(c, "usual2@fixed.example");
    deliver(c, "later@fixed.example");
    deliver(c, "low@fixed.example");
    assert_int_equal(ask(c), DELIVERY_IDLE);
    assert_int_equal(w.g->lanes.count, 0);
}

static void jobs_take_turns(void **state)
{
    (void)state;
    engine_pause(w.g, true);
    for (int i = 0; i < 3; i++)
        in_job("large", 0, "large@fixed.example");
    in_job("small", 0, "small@fixed.example");
    in_job("", 0, "none@fixed.example");
    engine_pause(w.g, false);
    turn();
    struct delivery_conn *c = establish();
    deliver(c, "large@fixed.example");
    deliver(c, "small@fixed.example");
    deliver(c, "none@fixed.example");
    deliver(c, "large@fixed.example");
    in_job("small", 0, "small2@fixed.example");
    deliver(c, "large@fixed.example");
    deliver(c, "small2@fixed.example");
    assert_int_equal(live(), 0);
}

static void paused_job_stands_aside(void **state)
{
    (void)state;
    struct queue *q;

    in_job("stop", 0, "a@fixed.example");
    in_job("stop", 0, "b@fixed.example");
    in_job("go", 0, "c@fixed.example");
    q = queue_named("fixed.example/default");
    set_paused("stop", true, true);
    set_paused("stop", true, false);
    assert_int_equal(q->ready_count, 1);
    assert_int_equal(q->held_count, 2);
    struct delivery_conn *c = establish();
    deliver(c, "c@fixed.example");
    assert_int_equal(ask(c), DELIVERY_IDLE);
    in_job("stop", 0, "d@fixed.example"); /* what comes later stands aside too */
    in_job("STOP", 0, "e@fixed.example"); /* another job */
    deliver(c, "e@fixed.example");
    assert_int_equal(ask(c), DELIVERY_IDLE);
    assert_int_equal(lane_holds(q, &index_find(engine_index(w.g), 1)->entries[0]), LANE_PAUSED);

    set_paused("stop", false, true);
    deliver(c, "a@fixed.example"); /* in the order in which it came */
    deliver(c, "b@fixed.example");
    deliver(c, "d@fixed.example");
    assert_int_equal(q->held_count, 0);
    assert_int_equal(live(), 0);
    assert_null(jobs_find(w.g->jobs, SV("stop"))); /* empty and without settings: gone */
}

static void paused_job_opens_no_connection(void **state)
{
    (void)state;
    set_paused("stop", true, true); /* before there is any of it */
    in_job("stop", 0, "a@fixed.example");
    assert_int_equal(opened, 0);
    assert_string_equal(queue_state_name(queue_named("fixed.example/default"), false), "held");
    set_paused("stop", false, true);
    assert_int_equal(opened, 1);
}

static void deferred_joins_a_paused_job(void **state)
{
    (void)state;
    in_job("stop", 0, "a@fixed.example");
    struct delivery_conn *c = establish();
    struct delivery_job job = pull(c);
    set_paused("stop", true, true);
    answer(c, &job, outcome(OUTCOME_DEFERRED, PHASE_RCPT, 450, "450 later"));
    assert_int_equal(ask(c), DELIVERY_IDLE);
    pass(700000);
    assert_int_equal(queue_named("fixed.example/default")->held_count, 1);
    assert_int_equal(ask(c), DELIVERY_IDLE);
    set_paused("stop", false, true);
    deliver(c, "a@fixed.example");
}

static void counts(void **state)
{
    (void)state;
    in_job("j", 0, "a@fixed.example b@fixed.example");
    const struct job *j = jobs_find(w.g->jobs, SV("j"));
    assert_int_equal(j->queued, 2);
    struct delivery_conn *c = establish();
    struct delivery_job job = pull(c);
    struct outcome ok = outcome(OUTCOME_DELIVERED, PHASE_END_OF_DATA, 250, "250 ok");
    struct outcome later = outcome(OUTCOME_DEFERRED, PHASE_RCPT, 450, "450 later");
    c->ops->rcpt_done(c->owner, c, &job, 0, &ok);
    c->ops->rcpt_done(c->owner, c, &job, 1, &later);
    c->ops->job_done(c->owner, c, &job);
    assert_int_equal(j->queued, 1);
    assert_int_equal(j->ended[OUTCOME_DELIVERED], 1);
    assert_int_equal(j->ended[OUTCOME_DEFERRED], 1);
    assert_int_equal(ask(c), DELIVERY_IDLE);
}

static void on_deleted(void *arg, uint64_t matched, uint64_t deleted)
{
    (void)matched;
    *(uint64_t *)arg = deleted;
}

static void deletes_one_job(void **state)
{
    struct engine_delete_filter f = {.job = SV("gone")};
    uint64_t deleted = 99;
    (void)state;

    set_paused("gone", true, true);
    for (int i = 0; i < 5; i++) {
        in_job("gone", 0, "a@fixed.example b@other.example");
        in_job("stays", 0, "c@third.example");
    }
    engine_delete(w.g, &f, true, on_deleted, &deleted);
    turn();
    assert_int_equal(deleted, 0);
    engine_delete(w.g, &f, false, on_deleted, &deleted);
    turn();
    assert_int_equal(deleted, 10);
    assert_int_equal(fs.states[SPOOL_DELETED], 10);
    assert_int_equal(live(), 5);
    const struct job *j = jobs_find(w.g->jobs, SV("gone"));
    assert_non_null(j); /* it is paused still */
    assert_int_equal(j->queued, 0);
    assert_int_equal(queue_named("fixed.example/default")->held_count, 0);
}

static void settings_survive(void **state)
{
    struct rate rate = {100, 1000};
    struct buf text = {0};
    (void)state;

    clock_fake_set(NOW_MS + 77);
    set_paused("p1", true, true);
    assert_int_equal(engine_set_job_rate(w.g, SV("r1"), &rate, NULL), 0);
    set_paused("r1", true, true);
    jobs_write(w.g->jobs, &text);

    struct jobs *other = jobs_new(NULL);
    jobs_read(other, buf_view(&text));
    jobs_read(other, SV("paused x p9\nrate 1/s\nnonsense\npaused 5\nrate 7/h with blank\n"));
    assert_int_equal(jobs_find(other, SV("p1"))->paused_since_ms, NOW_MS + 77);
    const struct job *j = jobs_find(other, SV("r1"));
    assert_true(j->paused_since_ms && j->has_own_rate);
    assert_int_equal(j->rate.count, 100);
    assert_int_equal(jobs_all(other)->count, 2);
    jobs_free(other);
    buf_free(&text);
    assert_int_equal(engine_set_job_rate(w.g, SV("r1"), NULL, NULL), 0);
    set_paused("r1", false, true);
    assert_null(jobs_find(w.g->jobs, SV("r1")));
}

static void refuses_impossible_ids(void **state)
{
    static const char *const bad[] = {"", "two words", "line\nbreak"};
    struct rate rate = {1, 1000};
    char longer[JOB_ID_MAX + 2];
    bool changed;
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(engine_pause_job(w.g, sv_of(bad[i]), true, &changed, NULL), ERR_SYNTAX);
        assert_int_equal(engine_pause_job(w.g, sv_of(bad[i]), false, &changed, NULL), ERR_SYNTAX);
        assert_int_equal(engine_set_job_rate(w.g, sv_of(bad[i]), &rate, NULL), ERR_SYNTAX);
    }
    memset(longer, 'x', sizeof(longer));
    struct strview id = sv(longer, JOB_ID_MAX + 1);
    assert_int_equal(engine_pause_job(w.g, id, true, &changed, NULL), ERR_SYNTAX);
    assert_int_equal(jobs_all(w.g->jobs)->count, 0);
    for (int i = 0; i < 10000; i++) {
        snprintf(longer, sizeof(longer), "job-%d", i);
        assert_int_equal(engine_pause_job(w.g, sv_of(longer), true, &changed, NULL), 0);
    }
    assert_int_equal(engine_pause_job(w.g, SV("one-more"), true, &changed, NULL), ERR_LIMIT);
    assert_int_equal(engine_pause_job(w.g, SV("job-5"), false, &changed, NULL), 0);
    assert_int_equal(engine_pause_job(w.g, SV("one-more"), true, &changed, NULL), 0);
}

static void rate_of_a_job(void **state)
{
    struct rate rate = {2, 60000};
    (void)state;

    assert_int_equal(engine_set_job_rate(w.g, SV("slow"), &rate, NULL), 0);
    for (int i = 0; i < 3; i++)
        in_job("slow", 0, "slow@fixed.example");
    in_job("other", 0, "other@fixed.example");
    struct delivery_conn *c = establish();
    struct queue *q = queue_named("fixed.example/default");
    deliver(c, "slow@fixed.example");
    deliver(c, "other@fixed.example");
    assert_int_equal(ask(c), DELIVERY_IDLE); /* its rate is used up: nothing is polled */
    assert_int_equal(q->ready_count, 0);
    assert_int_equal(q->held_count, 2);
    in_job("other", 0, "other2@fixed.example");
    deliver(c, "other2@fixed.example");
    assert_int_equal(ask(c), DELIVERY_IDLE);

    pass(29000);
    assert_int_equal(ask(c), DELIVERY_IDLE);
    pass(1500);
    deliver(c, "slow@fixed.example");
    assert_int_equal(ask(c), DELIVERY_IDLE);
    assert_int_equal(q->held_count, 1);
    rate.count = 0; /* an operator takes the limit away */
    assert_int_equal(engine_set_job_rate(w.g, SV("slow"), &rate, NULL), 0);
    pass(31000);
    deliver(c, "slow@fixed.example");
}

static void waits_for_its_window(void **state)
{
    (void)state;
    in_window(3600, 7200, "a@fixed.example");
    struct queue *q = queue_named("fixed.example/default");
    assert_int_equal(opened, 0);
    assert_int_equal(q->held_count, 1);
    queue_mail("now@fixed.example", NULL);
    struct delivery_conn *c = establish();
    deliver(c, "now@fixed.example");
    assert_int_equal(ask(c), DELIVERY_IDLE);
    engine_schedule(w.g, SV("*")); /* not even an operator's "retry now" */
    assert_int_equal(ask(c), DELIVERY_IDLE);
    pass(3599000);
    assert_int_equal(q->held_count, 1);
    pass(1000);
    assert_int_equal(q->ready_count, 1);
    deliver(c, "a@fixed.example");
    assert_int_equal(w.g->windows.count, 0);
}

static void window_shuts_over_waiting_mail(void **state)
{
    (void)state;
    engine_pause(w.g, true);
    for (int i = 0; i < 3; i++)
        in_window(-60, 60, "a@fixed.example");
    struct queue *q = queue_named("fixed.example/default");
    assert_int_equal(w.g->windows.count, 1); /* shared */
    assert_int_equal(q->ready_count, 3);
    pass(59000);
    assert_int_equal(q->ready_count, 3);
    pass(1000); /* it ends although nothing was tried: the last window is over */
    assert_int_equal(fs.states[SPOOL_EXPIRED], 3);
    assert_string_equal(fs.last_text, "last delivery window is over (X-Schedule)");
    assert_int_equal(live(), 0);
}

static void over_before_it_came(void **state)
{
    (void)state;
    in_window(-7200, -3600, "a@fixed.example");
    pass(1);
    assert_int_equal(fs.states[SPOOL_EXPIRED], 1);
    assert_int_equal(opened, 0);
}

static void retry_moves_into_a_window(void **state)
{
    char text[200], second[80];
    struct envelope env = {0};
    (void)state;

    window(text, -60, 300);
    strcat(text, ", ");
    window(second, 3 * 86400, 3 * 86400 + 60); /* far beyond bounce-after: windows override it */
    strcat(text, second);
    env.schedule = sv_of(text);
    queue_envelope(&env, "a@fixed.example");
    struct delivery_conn *c = establish();
    struct delivery_job job = pull(c);
    answer(c, &job, outcome(OUTCOME_DEFERRED, PHASE_RCPT, 450, "450 later"));
    /* to the second, as schedules are */
    assert_in_range(fs.last.next_attempt_ms, NOW_MS + 3 * 86400000 - 1000, NOW_MS + 3 * 86400000);
    assert_int_equal(ask(c), DELIVERY_IDLE);
    pass(3 * 86400000);
    job = pull(c);
    answer(c, &job, outcome(OUTCOME_DEFERRED, PHASE_RCPT, 450, "450 later"));
    assert_in_range(fs.last.next_attempt_ms, clock_wall_ms() + 59000, clock_wall_ms() + 60000);
    assert_int_equal(live(), 1);
    pass(60000); /* no window is left for a retry */
    assert_int_equal(fs.states[SPOOL_EXPIRED], 1);
    assert_int_equal(live(), 0);
}

static void recovered_mail_knows_its_place(void **state)
{
    struct envelope_rcpt rcpts[1] = {{.address = SV("a@fixed.example")}};
    struct spool_recovered_rcpt found[1] = {{.state = SPOOL_QUEUED}};
    char text[80];
    struct envelope env = {
        .received_ms = NOW_MS - 5000, .rcpt_count = 1, .rcpts = rcpts, .job = SV("stop")};
    (void)state;

    w.g->started = false;
    jobs_read(w.g->jobs, SV("paused 1000 stop\n"));
    for (message_id id = 9; id < 12; id++) {
        if (id == 10) {
            env.job = sv(NULL, 0);
            env.schedule = window(text, 100, 200);
        } else if (id == 11) {
            env.schedule = sv(NULL, 0);
            env.priority = 100;
        }
        env.received_ms -= id == 10 ? 1000 : -3000;
        envelope_encode(&fs.envelopes[id], &env);
        engine_recovered(w.g, id, &(struct spool_place){1, 0, 10}, &env, found);
    }
    engine_start(w.g);
    turn();
    struct queue *q = queue_named("fixed.example/default");
    assert_int_equal(q->ready_count, 1);
    assert_int_equal(q->held_count, 2);
    assert_int_equal(jobs_find(w.g->jobs, SV("stop"))->queued, 1);
    assert_int_equal(engine_oldest_ms(w.g), NOW_MS - 3000);
    struct delivery_conn *c = establish();
    deliver(c, "a@fixed.example");
    assert_int_equal(ask(c), DELIVERY_IDLE);
}

static void oldest_is_known(void **state)
{
    static const int64_t received[] = {50, 10, 40, 20, 30, 5, 60};
    (void)state;

    assert_int_equal(engine_oldest_ms(w.g), 0);
    engine_pause(w.g, true);
    for (size_t i = 0; i < ARRAY_LEN(received); i++) {
        struct envelope env = {.received_ms = received[i]};
        queue_envelope(&env, "a@fixed.example");
    }
    index_sort(&w.g->index);
    int64_t last = 0;
    while (live()) {
        const struct message *m = index_oldest(engine_index(w.g));
        struct engine_delete_filter f = {.id = m->id};
        uint64_t deleted;
        assert_true(m->received_ms > last);
        last = m->received_ms;
        engine_delete(w.g, &f, false, on_deleted, &deleted);
        turn();
        assert_int_equal(deleted, 1);
    }
    assert_int_equal(engine_oldest_ms(w.g), 0);
}

static void deletes_while_reads_are_out(void **state)
{
    struct engine_delete_filter all = {.queue_pattern = SV("*")};
    uint64_t first = 99, second = 99;
    (void)state;

    engine_pause(w.g, true);
    for (int i = 0; i < 300; i++) /* more than are read at a time */
        in_job(i % 2 ? "odd" : "", (unsigned)(i % 5), "a@fixed.example");
    engine_delete(w.g, &all, false, on_deleted, &first);
    engine_delete(w.g, &all, false, on_deleted, &second);
    uv_run(&w.loop, UV_RUN_NOWAIT);
    queue_mail("later@fixed.example", NULL); /* came after: not meant by either */
    turn();
    assert_int_equal(first, 300);
    assert_in_range(second, 0, 1);
    assert_int_equal(fs.states[SPOOL_DELETED], 300 + second);
}

static void index_stays_small(void **state)
{
    (void)state;
    engine_pause(w.g, true);
    for (int i = 0; i < 400; i++)
        in_job("some-job", 0, "a@fixed.example");
    uint64_t bytes =
        engine_index(w.g)->memory_bytes + engine_index(w.g)->by_id.bucket_count * sizeof(void *);
    assert_in_range(bytes / live(), 1, 200);
}

#define CASE(fn) ENGINE_CASE_WITH(fn, one_connection)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(higher_goes_first),
        CASE(jobs_take_turns),
        CASE(paused_job_stands_aside),
        CASE(paused_job_opens_no_connection),
        CASE(deferred_joins_a_paused_job),
        CASE(counts),
        CASE(deletes_one_job),
        CASE(settings_survive),
        CASE(refuses_impossible_ids),
        CASE(rate_of_a_job),
        CASE(waits_for_its_window),
        CASE(window_shuts_over_waiting_mail),
        CASE(over_before_it_came),
        CASE(retry_moves_into_a_window),
        CASE(recovered_mail_knows_its_place),
        CASE(oldest_is_known),
        CASE(deletes_while_reads_are_out),
        CASE(index_stays_small),
    };
    log_set_fd(open("/dev/null", 1));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
