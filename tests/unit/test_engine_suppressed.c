/*
 * Recipients that were on the suppression list when their message came (suppression = record): they
 * end at once as bounced in the category of the list, each once, and also when a crash came between
 * the acknowledgement and that end; their neighbours are delivered.
 */
#include "engine_fakes.h"

#include "report/report.h"
#include "stats/stats.h"
#include "suppress/suppress.h"

#include <stdio.h>

enum { BULK_COUNT = 300 };

static struct envelope_rcpt listed(const char *address, enum suppress_scope scope,
                                   enum suppress_reason reason)
{
    return (struct envelope_rcpt){
        .address = sv_of(address),
        .suppressed = (uint8_t)(1 + reason),
        .suppressed_scope = (uint8_t)scope,
    };
}

static struct envelope_rcpt free_one(const char *address)
{
    return (struct envelope_rcpt){.address = sv_of(address)};
}

/* The envelope in the spool, as a receiver has written it. */
static message_id store(struct envelope *env, struct envelope_rcpt *rcpts, uint32_t count)
{
    message_id id = ++w.last_id;

    env->received_ms = clock_wall_ms();
    env->sender = SV("from@sender.example");
    env->content_bytes = 21;
    env->rcpts = rcpts;
    env->rcpt_count = count;
    choose_vmta(w.g, env);
    envelope_encode(&fs.envelopes[id], env);
    return id;
}

static message_id take_in(struct envelope_rcpt *rcpts, uint32_t count)
{
    struct envelope env = {0};
    message_id id = store(&env, rcpts, count);

    engine_accept(w.g, id, &(struct spool_place){1, 0, 100}, &env, NULL);
    turn();
    return id;
}

/* What recovery finds of a message whose recipients are all QUEUED. */
static message_id recover(struct envelope_rcpt *rcpts, const struct spool_recovered_rcpt *found,
                          uint32_t count)
{
    struct envelope env = {0};
    message_id id = store(&env, rcpts, count);

    engine_recovered(w.g, id, &(struct spool_place){1, 0, 100}, &env, found);
    return id;
}

static uint64_t in_category(const char *name)
{
    struct stats *s = report_stats(w.report);
    struct stats_answer a;
    uint64_t n = 0;

    stats_ask(s, STATS_BY_CATEGORY, clock_wall_ms(), 3600 * 1000, 0, &a);
    for (size_t i = 0; i < a.count; i++)
        if (strcmp(a.rows[i].name, name) == 0)
            n += a.rows[i].cell.counts[STATS_BOUNCED];
    stats_answer_free(&a);
    return n;
}

/* Recipients: all that came are in one of these. */
static void check_books(uint64_t received, uint64_t bounced, uint64_t delivered, uint64_t queued)
{
    struct report_counts c;

    report_counts(w.report, &c);
    assert_int_equal(c.received, received);
    assert_int_equal(c.bounced, bounced);
    assert_int_equal(c.delivered, delivered);
    assert_int_equal(c.received, c.bounced + c.delivered + live());
    assert_int_equal(live(), queued);
    assert_int_equal(fs.states[SPOOL_BOUNCED], bounced);
    assert_int_equal(fs.states[SPOOL_DELIVERED], delivered);
    assert_int_equal(fs.states[SPOOL_DEFERRED], 0);
    assert_int_equal(in_category(SUPPRESSED_CATEGORY), bounced);
}

/* What waits at fixed.example is delivered; returns how many recipients that were. */
static uint32_t deliver(void)
{
    struct delivery_conn *c = establish();
    struct delivery_job job = pull(c);
    uint32_t n = job.rcpt_count;

    answer(c, &job, outcome(OUTCOME_DELIVERED, PHASE_END_OF_DATA, 250, "250 ok"));
    return n;
}

static void the_outcome_says_which_entry_it_was(void **state)
{
    char text[SUPPRESSED_TEXT];

    (void)state;
    for (unsigned scope = 0; scope < SUPPRESS_SCOPE_COUNT; scope++)
        for (unsigned reason = 0; reason < SUPPRESS_REASON_COUNT; reason++) {
            char want[100];
            struct envelope_rcpt r =
                listed("a@fixed.example", (enum suppress_scope)scope, (enum suppress_reason)reason);
            struct outcome o = suppressed_outcome(&r, text);
            snprintf(want, sizeof(want), "recipient is on the suppression list (%s, %s)",
                     suppress_scope_name((enum suppress_scope)scope),
                     suppress_reason_name((enum suppress_reason)reason));
            assert_sv_equal(o.text, want);
            assert_int_equal(o.class_, OUTCOME_BOUNCED);
            assert_int_equal(o.phase, PHASE_QUEUE);
            assert_int_equal(o.code, 0); /* no host said anything */
            assert_int_equal(o.enhanced.class_digit, 5);
            assert_int_equal(o.enhanced.subject, 7);
            assert_int_equal(o.enhanced.detail, 1);
            assert_string_equal(o.category, "suppressed");
        }
}

static void they_end_at_once(void **state)
{
    struct envelope_rcpt rcpts[] = {
        listed("a@fixed.example", SUPPRESS_PIPE, SUPPRESS_BY_COMPLAINT),
        listed("b@dns.example", SUPPRESS_GLOBAL, SUPPRESS_BY_BOUNCE),
    };

    (void)state;
    message_id id = take_in(rcpts, ARRAY_LEN(rcpts));
    assert_int_equal(opened, 0);
    assert_string_equal(w.asked, ""); /* nor is the DNS asked */
    assert_string_equal(fs.last_text, "recipient is on the suppression list (global, bounce)");
    assert_int_equal(fs.last.id, id);
    assert_int_equal(fs.last.rcpt, 1);
    assert_int_equal(fs.last.phase, PHASE_QUEUE);
    assert_int_equal(fs.last.attempts, 0);
    assert_int_equal(queue_named("fixed.example/default")->live, 0);
    assert_null(index_find(engine_index(w.g), id));
    check_books(2, 2, 0, 0);
}

static void neighbours_are_delivered(void **state)
{
    struct envelope_rcpt rcpts[] = {
        free_one("a@fixed.example"),
        listed("b@fixed.example", SUPPRESS_GLOBAL, SUPPRESS_BY_MANUAL),
        free_one("c@fixed.example"),
    };

    (void)state;
    take_in(rcpts, ARRAY_LEN(rcpts));
    check_books(3, 1, 0, 2);
    assert_int_equal(queue_named("fixed.example/default")->live, 2);
    struct delivery_conn *c = establish();
    struct delivery_job job = pull(c);
    assert_int_equal(job.rcpt_count, 2);
    assert_int_equal(job.rcpts[0], 0);
    assert_int_equal(job.rcpts[1], 2);
    answer(c, &job, outcome(OUTCOME_DELIVERED, PHASE_END_OF_DATA, 250, "250 ok"));
    check_books(3, 1, 2, 0);
}

static void a_paused_pipe_ends_them_too(void **state)
{
    struct envelope_rcpt rcpts[] = {
        listed("a@fixed.example", SUPPRESS_JOB, SUPPRESS_BY_UNSUBSCRIBE),
        free_one("b@fixed.example"),
    };

    (void)state;
    engine_pause(w.g, true);
    take_in(rcpts, ARRAY_LEN(rcpts));
    check_books(2, 1, 0, 1);
    engine_pause(w.g, false);
    turn();
    assert_int_equal(deliver(), 1);
    check_books(2, 1, 1, 0);
}

static void a_crash_before_their_end_loses_none(void **state)
{
    struct envelope_rcpt rcpts[] = {
        listed("a@fixed.example", SUPPRESS_DOMAIN, SUPPRESS_BY_UNSUBSCRIBE),
        free_one("b@fixed.example"),
        listed("c@fixed.example", SUPPRESS_GLOBAL, SUPPRESS_BY_BOUNCE),
    };
    struct spool_recovered_rcpt found[3] = {
        {.state = SPOOL_QUEUED}, {.state = SPOOL_QUEUED}, {.state = SPOOL_QUEUED}};

    (void)state;
    w.g->started = false;
    recover(rcpts, found, 3);
    assert_int_equal(fs.states[SPOOL_BOUNCED], 0); /* the spool is being read */
    engine_start(w.g);
    turn();
    assert_int_equal(fs.states[SPOOL_BOUNCED], 2);
    assert_int_equal(in_category(SUPPRESSED_CATEGORY), 2);
    assert_int_equal(live(), 1);
    struct delivery_conn *c = establish();
    struct delivery_job job = pull(c);
    assert_int_equal(job.rcpt_count, 1);
    assert_int_equal(job.rcpts[0], 1);
    answer(c, &job, outcome(OUTCOME_DELIVERED, PHASE_END_OF_DATA, 250, "250 ok"));
    assert_int_equal(fs.states[SPOOL_BOUNCED], 2);
    assert_int_equal(fs.states[SPOOL_DELIVERED], 1);
    assert_int_equal(live(), 0);
}

static void a_crash_amid_their_end_repeats_none(void **state)
{
    struct envelope_rcpt rcpts[] = {
        listed("a@fixed.example", SUPPRESS_GLOBAL, SUPPRESS_BY_BOUNCE),
        listed("b@fixed.example", SUPPRESS_PIPE, SUPPRESS_BY_COMPLAINT),
    };
    struct spool_recovered_rcpt found[2] = {{.state = SPOOL_BOUNCED}, {.state = SPOOL_QUEUED}};

    (void)state;
    w.g->started = false;
    message_id id = recover(rcpts, found, 2);
    engine_start(w.g);
    turn();
    assert_int_equal(fs.states[SPOOL_BOUNCED], 1);
    assert_int_equal(fs.last.id, id);
    assert_int_equal(fs.last.rcpt, 1);
    assert_string_equal(fs.last_text, "recipient is on the suppression list (pipe, complaint)");
    assert_int_equal(live(), 0);
    assert_int_equal(opened, 0);
}

/* Recovery of many is worked off in slices, each message once. */
static void many_recovered_ones_end_once_each(void **state)
{
    struct envelope_rcpt one[] = {listed("a@fixed.example", SUPPRESS_PIPE, SUPPRESS_BY_BOUNCE)};
    struct spool_recovered_rcpt found[1] = {{.state = SPOOL_QUEUED}};

    (void)state;
    w.g->started = false;
    for (int i = 0; i < BULK_COUNT; i++)
        recover(one, found, 1);
    engine_start(w.g);
    for (int i = 0; i < 100 && live(); i++)
        turn();
    assert_int_equal(live(), 0);
    assert_int_equal(fs.states[SPOOL_BOUNCED], BULK_COUNT);
    assert_int_equal(in_category(SUPPRESSED_CATEGORY), BULK_COUNT);
    assert_int_equal(opened, 0);
}

/* --- who goes on the list while mail waits --- */

static const char *now_listed; /* an address; NULL: nobody */
static unsigned looks;

static bool look_again(void *arg, struct envelope *env, struct strview content,
                       const uint32_t *rcpts, uint32_t count)
{
    bool any = false;

    (void)arg, (void)content;
    looks++;
    for (uint32_t i = 0; i < count && now_listed; i++) {
        struct envelope_rcpt *r = &env->rcpts[rcpts[i]];
        if (!sv_eq(r->address, sv_of(now_listed)))
            continue;
        r->suppressed = 1 + SUPPRESS_BY_UNSUBSCRIBE;
        r->suppressed_scope = SUPPRESS_PIPE;
        any = true;
    }
    return any;
}

static void watch_list(void)
{
    engine_on_suppressed(w.g, look_again, NULL);
    now_listed = NULL;
    looks = 0;
}

static void who_unsubscribes_before_a_retry_gets_none(void **state)
{
    struct envelope_rcpt rcpts[] = {free_one("a@fixed.example"), free_one("b@fixed.example"),
                                    free_one("c@fixed.example")};
    struct report_counts counts;

    (void)state;
    watch_list();
    take_in(rcpts, 3);
    struct delivery_conn *c = establish();
    struct delivery_job job = pull(c);
    assert_int_equal(job.rcpt_count, 3);
    answer(c, &job, outcome(OUTCOME_DEFERRED, PHASE_RCPT, 450, "450 4.2.1 later"));
    end_conn(c, NULL);
    assert_int_equal(fs.states[SPOOL_DEFERRED], 3);
    now_listed = "b@fixed.example";
    pass(24 * 3600 * 1000);
    c = establish();
    for (int i = 0; i < 5 && !fs.states[SPOOL_BOUNCED]; i++) {
        assert_int_equal(ask(c), DELIVERY_WAIT); /* the spool is read */
        fake_reads();
        turn();
    }
    job = pull(c);
    assert_int_equal(fs.states[SPOOL_BOUNCED], 1);
    assert_int_equal(fs.last.rcpt, 1);
    assert_int_equal(fs.last.attempts, 1); /* no further one */
    assert_string_equal(fs.last_text, "recipient is on the suppression list (pipe, unsubscribe)");
    assert_int_equal(in_category(SUPPRESSED_CATEGORY), 1);
    assert_int_equal(job.rcpt_count, 2);
    assert_int_equal(job.rcpts[0], 0);
    assert_int_equal(job.rcpts[1], 2);
    answer(c, &job, outcome(OUTCOME_DELIVERED, PHASE_END_OF_DATA, 250, "250 ok"));
    report_counts(w.report, &counts);
    assert_int_equal(counts.received, 3);
    assert_int_equal(counts.bounced, 1);
    assert_int_equal(counts.delivered, 2);
    assert_int_equal(live(), 0);
}

/* The message is in memory still, and nobody is left of it. */
static void who_unsubscribes_before_the_first_attempt_gets_none(void **state)
{
    struct envelope_rcpt rcpts[] = {free_one("a@fixed.example")};

    (void)state;
    watch_list();
    take_in(rcpts, 1);
    now_listed = "a@fixed.example";
    struct delivery_conn *c = establish();
    enum delivery_next next = ask(c);
    if (next == DELIVERY_WAIT) {
        fake_reads();
        next = ask(c);
    }
    assert_true(next != DELIVERY_JOB);
    assert_true(looks > 0);
    check_books(1, 1, 0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENGINE_CASE(the_outcome_says_which_entry_it_was),
        ENGINE_CASE(they_end_at_once),
        ENGINE_CASE(neighbours_are_delivered),
        ENGINE_CASE(a_paused_pipe_ends_them_too),
        ENGINE_CASE(a_crash_before_their_end_loses_none),
        ENGINE_CASE(a_crash_amid_their_end_repeats_none),
        ENGINE_CASE(many_recovered_ones_end_once_each),
        ENGINE_CASE(who_unsubscribes_before_a_retry_gets_none),
        ENGINE_CASE(who_unsubscribes_before_the_first_attempt_gets_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
