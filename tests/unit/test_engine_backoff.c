/*
 * What replies do beside settling their recipients: every action of a rule, its end by time, by a
 * delivery, by cancel and over a restart; the clocks of queues and recipients.
 */
#include "engine_fakes.h"

#include "base/log.h"
#include "queue/mode.h"

#include <fcntl.h>
#include <stdio.h>

#define MINUTE INT64_C(60000)
#define HOUR   (60 * MINUTE)

#define BASE                                                            \
    "[pmta]\nhost-name = me.example\n[listener 127.0.0.1:2525]\n"       \
    "[source 127.0.0.1]\nalways-allow-relaying = yes\n"                 \
    "[pipe bulk]\nmax-smtp-out = 8\nmax-queued = 100\n"                 \
    "[virtual-mta two]\nsmtp-source-host = 127.0.0.21 a.example\n"      \
    "smtp-source-host = 127.0.0.22 b.example\n"                         \
    "[domain *]\nmax-smtp-out = 4\nretry-after = 10m,1h\n"              \
    "bounce-after = 1d\nsmtp-pattern-list = test-rules\n"               \
    "backoff-notify = ops@me.example\n[smtp-pattern-list test-rules]\n" \
    "[domain fixed.example]\nsmtp-hosts = [127.0.0.9]:26\n"             \
    "[domain other.example]\nsmtp-hosts = [127.0.0.8]:26\n"             \
    "[domain pair.example]\nsmtp-hosts = [127.0.0.6]:26, [127.0.0.7]:26\n"

static const char base[] = BASE;
#define QUEUE "fixed.example/default"

static struct {
    unsigned count;
    char to[100], subject[200], body[1000];
    unsigned saves, clock_saves;
} told;

static void on_notice(void *arg, struct strview to, struct strview subject, struct strview body)
{
    (void)arg;
    told.count++;
    snprintf(told.to, sizeof(told.to), "%.*s", SV_ARG(to));
    snprintf(told.subject, sizeof(told.subject), "%.*s", SV_ARG(subject));
    snprintf(told.body, sizeof(told.body), "%.*s", SV_ARG(body));
}

static void on_change(void *arg, bool clocks)
{
    (void)arg;
    *(clocks ? &told.clock_saves : &told.saves) += 1;
}

static void watch(void)
{
    memset(&told, 0, sizeof(told));
    engine_on_notice(w.g, on_notice, NULL);
    engine_on_change(w.g, on_change, NULL);
}

/* One rule that is in force from now on: for replies with this text, these actions. */
static struct reply_rule *rule(const char *text, uint32_t actions)
{
    static struct fake_rule list[2];
    list[0] = (struct fake_rule){text, {.actions = actions}};
    list[1] = (struct fake_rule){0};
    fake_rules = list;
    watch();
    return &list[0].rule;
}

#define DO(x) (1u << REPLY_##x)

static struct outcome slow_down(void)
{
    return outcome(OUTCOME_DEFERRED, PHASE_RCPT, 421, "421 4.7.0 slow down");
}

static struct outcome taken(void)
{
    return outcome(OUTCOME_DELIVERED, PHASE_END_OF_DATA, 250, "250 ok");
}

/* A message to fixed.example goes out and gets this answer. */
static struct delivery_conn *one_answer(struct outcome o)
{
    queue_mail("a@fixed.example", NULL);
    struct delivery_conn *c = establish();
    struct delivery_job job = pull(c);
    answer(c, &job, o);
    turn();
    return c;
}

static void open_again(const char *who)
{
    while (conns)
        end_conn(conns, NULL);
    turn();
    queue_mail(who, NULL);
}

static const struct action *only_action(void)
{
    assert_int_equal(w.g->actions.count, 1);
    return list_entry(list_first(&w.g->actions.all), struct action, link);
}

/* --- actions of rules --- */

static void backoff_begins_and_ends_by_time(void **state)
{
    (void)state;
    rule("4.7.0", DO(MODE_BACKOFF) | DO(BACKOFF_TO_NORMAL_AFTER))->backoff_to_normal_after_ms =
        30 * MINUTE;
    one_answer(slow_down());
    struct queue *q = queue_named(QUEUE);
    assert_int_equal(q->mode, QUEUE_BACKOFF);
    const struct action *x = only_action();
    assert_int_equal(x->kind, ACTION_BACKOFF);
    assert_string_equal(x->reply, "421 4.7.0 slow down");
    assert_string_equal(x->regex, "4.7.0");
    assert_string_equal(x->file, "a.conf");
    assert_int_equal(x->line, 7);
    assert_int_equal(x->since_ms, NOW_MS);
    assert_int_equal(x->until_ms, NOW_MS + 30 * MINUTE);
    assert_int_equal(told.count, 1);
    assert_string_equal(told.to, "ops@me.example");
    assert_string_equal(told.subject, "queue " QUEUE ": back-off begins");
    assert_non_null(strstr(told.body, "421 4.7.0 slow down"));
    assert_int_equal(told.saves, 1);

    pass(30 * MINUTE - 1);
    assert_int_equal(q->mode, QUEUE_BACKOFF);
    pass(1);
    assert_int_equal(q->mode, QUEUE_NORMAL);
    assert_int_equal(w.g->actions.count, 0);
    assert_int_equal(told.count, 2);
    assert_int_equal(q->memo->change_count, 2);
    assert_int_equal(q->memo->changes[0].to, QUEUE_BACKOFF);
    assert_int_equal(q->memo->changes[1].to, QUEUE_NORMAL);
    assert_string_equal(q->memo->changes[1].reason, "backoff-to-normal-after is over");
}

/* backoff-to-normal-after of the queue is 1h when nobody says otherwise */
static void repeated_replies_are_one_action(void **state)
{
    (void)state;
    rule("4.7.0", DO(MODE_BACKOFF));
    for (int i = 0; i < 3; i++) {
        one_answer(slow_down());
        open_again("x@other.example");
        pass(MINUTE);
    }
    const struct action *x = only_action();
    assert_int_equal(x->times, 3);
    assert_int_equal(x->until_ms, NOW_MS + 2 * MINUTE + HOUR);
    assert_int_equal(told.count, 1);
    assert_int_equal(queue_named(QUEUE)->memo->change_count, 1);
    assert_int_equal(queue_named("other.example/default")->mode, QUEUE_NORMAL);
}

static void mode_normal_rule_ends_backoff(void **state)
{
    (void)state;
    rule("4.7.0", DO(MODE_BACKOFF) | DO(RATE))->rate_percent = 50;
    struct delivery_conn *c = one_answer(slow_down());
    struct queue *q = queue_named(QUEUE);
    assert_int_equal(q->rate_percent, 50);
    rule("welcome", DO(MODE_NORMAL));
    queue_mail("b@fixed.example", NULL);
    struct delivery_job job = pull(c);
    answer(c, &job, taken()); /* another reply: nothing happens */
    assert_int_equal(q->mode, QUEUE_BACKOFF);
    queue_mail("c@fixed.example", NULL);
    job = pull(c);
    answer(c, &job, outcome(OUTCOME_DELIVERED, PHASE_END_OF_DATA, 250, "250 welcome back"));
    assert_int_equal(q->mode, QUEUE_NORMAL);
    assert_int_equal(q->rate_percent, 100);
    assert_int_equal(w.g->actions.count, 0);
}

static const char after_delivery[] =
    BASE "[domain fixed.example]\nbackoff-to-normal-after-delivery = yes\n";

static void a_delivery_ends_backoff(void **state)
{
    (void)state;
    rule("4.7.0", DO(MODE_BACKOFF));
    struct delivery_conn *c = one_answer(slow_down());
    assert_int_equal(queue_named(QUEUE)->mode, QUEUE_BACKOFF);
    queue_mail("b@fixed.example", NULL);
    struct delivery_job job = pull(c);
    answer(c, &job, taken());
    assert_int_equal(queue_named(QUEUE)->mode, QUEUE_NORMAL);
    assert_int_equal(w.g->actions.count, 0);
}

static const char fewer[] = BASE "[domain fixed.example]\nbackoff-max-smtp-out = 1\n";

/* From the reply on nothing goes at the old rate: connections above the limit take no more. */
static void connections_follow_the_mode_at_once(void **state)
{
    struct delivery_conn *c[4];
    struct delivery_job job;
    (void)state;

    rule("4.7.0", DO(MODE_BACKOFF));
    for (int i = 0; i < 20; i++)
        queue_mail("a@fixed.example", NULL);
    assert_int_equal(opened, 4);
    struct delivery_conn *next = conns;
    for (int i = 0; i < 4; i++, next = next->next)
        c[i] = next;
    for (int i = 0; i < 4; i++)
        c[i]->ops->established(c[i]->owner, c[i], &(struct delivery_host){.name = "mx"});
    job = pull(c[0]);
    answer(c[0], &job, slow_down());
    unsigned quits = 0;
    for (int i = 0; i < 4; i++)
        quits += ask(c[i]) == DELIVERY_QUIT;
    assert_int_equal(quits, 3);
    for (int i = 0; i < 3; i++)
        end_conn(c[i], NULL);
    turn();
    assert_int_equal(opened, 4);
    assert_int_equal(queue_named(QUEUE)->sender_count, 1);
    assert_int_equal(ask(c[3]), DELIVERY_WAIT);
    fake_reads();
}

/* What the queue's own limit of connections is now. */
static uint32_t connections_of(struct queue *q)
{
    struct throttle_set set;
    uint32_t max = 0;

    throttle_gather(w.g, q, &q->vmta->sources[0], NULL, &set);
    for (size_t i = 0; i < set.count; i++)
        if (set.items[i]->measure == LIMIT_CONNECTIONS &&
            strncmp(set.items[i]->name, "queue ", 6) == 0)
            max = set.items[i]->max;
    throttle_set_fini(&set);
    return max;
}

/* A connection that idles when the mode changes is woken under the new limits. */
static void an_idle_connection_takes_over_the_mode(void **state)
{
    (void)state;
    rule("4.7.0", DO(MODE_BACKOFF));
    struct delivery_conn *c = one_answer(slow_down());
    assert_int_equal(ask(c), DELIVERY_IDLE);
    queue_mail("b@fixed.example", NULL);
    assert_int_equal(opened, 1);
    struct delivery_job job = pull(c);
    answer(c, &job, taken());
    assert_int_equal(ask(c), DELIVERY_IDLE);
    mode_set(w.g, SV("*"), QUEUE_NORMAL);
    queue_mail("c@fixed.example", NULL);
    job = pull(c);
    answer(c, &job, taken());
    assert_int_equal(live(), 1);
}

static void rate_is_cut_and_comes_back(void **state)
{
    (void)state;
    struct reply_rule *r = rule("4.7.0", DO(RATE) | DO(BACKOFF_TO_NORMAL_AFTER));
    r->rate_percent = 50;
    r->backoff_to_normal_after_ms = 5 * MINUTE;
    one_answer(slow_down());
    struct queue *q = queue_named(QUEUE);
    assert_int_equal(q->mode, QUEUE_NORMAL);
    assert_int_equal(q->rate_percent, 50);
    assert_int_equal(connections_of(q), 2);
    r->rate_percent = 10; /* cuts deeper; at least one connection stays */
    one_answer(slow_down());
    assert_int_equal(q->rate_percent, 10);
    assert_int_equal(connections_of(q), 1);
    assert_int_equal(only_action()->percent, 10);
    pass(5 * MINUTE);
    assert_int_equal(q->rate_percent, 100);
    assert_int_equal(connections_of(q), 4);
}

static void bounce_queue_keeps_the_reply(void **state)
{
    (void)state;
    rule("4.7.0", DO(BOUNCE_QUEUE));
    engine_pause(w.g, true);
    for (int i = 0; i < 3; i++)
        queue_mail("a@fixed.example", NULL);
    queue_mail("a@other.example", NULL);
    engine_pause(w.g, false);
    turn();
    struct delivery_conn *c = conns;
    while (strcmp(c->queue, QUEUE))
        c = c->next;
    struct delivery_job job = pull(c);
    answer(c, &job, slow_down());
    turn();
    assert_int_equal(fs.states[SPOOL_BOUNCED], 2);
    job = pull(c); /* what the connection had taken already meets the rule by itself */
    answer(c, &job, slow_down());
    assert_int_equal(fs.states[SPOOL_BOUNCED], 3);
    assert_string_equal(fs.last_text, "421 4.7.0 slow down (bounce-queue)");
    assert_int_equal(live(), 1); /* the other domain's */
    assert_int_equal(only_action()->kind, ACTION_BOUNCE);
    queue_mail("later@fixed.example", NULL);
    assert_int_equal(live(), 2); /* what comes later has its own chance */
}

static void bounce_rcpt_bounces_a_temporary_reply(void **state)
{
    (void)state;
    rule("4.7.0", DO(BOUNCE_RCPT));
    one_answer(slow_down());
    assert_int_equal(fs.states[SPOOL_BOUNCED], 1);
    assert_string_equal(fs.last_text, "421 4.7.0 slow down (bounce-rcpt)");
    assert_int_equal(live(), 0);
    assert_int_equal(w.g->actions.count, 0);
}

static void skip_mx_keeps_the_mail_for_the_next_host(void **state)
{
    (void)state;
    rule("not here", DO(SKIP_MX));
    queue_mail("a@pair.example", NULL);
    char first[64];
    snprintf(first, sizeof(first), "%s", conns->host);
    struct delivery_conn *c = establish();
    struct delivery_job job = pull(c);
    struct outcome no = outcome(OUTCOME_BOUNCED, PHASE_RCPT, 550, "550 not here");
    no.peer_host = sv_of(first);
    answer(c, &job, no);
    assert_int_equal(fs.states[SPOOL_BOUNCED], 0);
    assert_int_equal(ask(c), DELIVERY_QUIT);
    end_conn(c, NULL);
    turn();
    assert_non_null(conns);
    assert_string_not_equal(conns->host, first);

    char second[64]; /* that one does not want it either: the queue waits, then tries both */
    snprintf(second, sizeof(second), "%s", conns->host);
    c = establish();
    job = pull(c);
    no.peer_host = sv_of(second);
    answer(c, &job, no);
    assert_int_equal(ask(c), DELIVERY_QUIT);
    end_conn(c, NULL);
    turn();
    struct queue *q = queue_named("pair.example/default");
    assert_null(conns);
    assert_int_equal(live(), 1);
    assert_in_range(q->retry_at_ms - NOW_MS, 9 * MINUTE, 11 * MINUTE);
    pass(11 * MINUTE);
    assert_non_null(conns);
}

static struct delivery_conn *answer_two(struct outcome o)
{
    struct delivery_conn *c = establish();
    struct delivery_job job = pull(c);
    answer(c, &job, o);
    return c;
}

static void disabled_sources_are_not_used(void **state)
{
    (void)state;

    rule("4.7.0", DO(DISABLE_SOURCE_IP) | DO(REENABLE_AFTER))->reenable_after_ms = 20 * MINUTE;
    queue_mail("a@fixed.example", "two");
    struct delivery_conn *c = answer_two(slow_down());
    struct queue *q = queue_named("fixed.example/two");
    assert_string_equal(only_action()->subject, "127.0.0.21");
    assert_int_equal(only_action()->until_ms, NOW_MS + 20 * MINUTE);
    assert_int_equal(ask(c), DELIVERY_QUIT);
    end_conn(c, NULL);
    turn();

    pass(MINUTE);
    queue_mail("b@fixed.example", "two"); /* the second one too: the queue sits still */
    assert_string_equal(conns->source, "127.0.0.22");
    c = answer_two(slow_down());
    assert_true(q->held);
    assert_int_equal(q->mode, QUEUE_NORMAL);
    assert_int_equal(ask(c), DELIVERY_QUIT);
    end_conn(c, NULL);
    unsigned before = opened;
    queue_mail("c@fixed.example", "two");
    assert_int_equal(opened, before);
    assert_string_equal(queue_state_name(q, false), "held");
    queue_mail("c@other.example", "two"); /* another queue uses them on */
    assert_int_equal(opened, before + 1);
    end_conn(conns, NULL);
    turn();
    before = opened;
    pass(19 * MINUTE); /* the first one is back */
    assert_false(q->held);
    assert_true(opened > before);
}

static const char all_disabled[] =
    BASE "[domain fixed.example]\nbackoff-upon-all-sources-disabled = yes\n"
         "reenable-source-ip-after = never\n";

static void all_sources_disabled_means_backoff(void **state)
{
    (void)state;
    rule("4.7.0", DO(DISABLE_SOURCE_IP));
    queue_mail("a@fixed.example", "two");
    end_conn(answer_two(slow_down()), NULL);
    struct queue *q = queue_named("fixed.example/two");
    assert_int_equal(q->mode, QUEUE_NORMAL);
    assert_int_equal(only_action()->until_ms, 0);
    queue_mail("b@fixed.example", "two");
    end_conn(answer_two(slow_down()), NULL);
    assert_int_equal(q->mode, QUEUE_BACKOFF);
    assert_string_equal(actions_of(q, ACTION_BACKOFF)->by, "backoff-upon-all-sources-disabled");
    assert_string_equal(actions_of(q, ACTION_BACKOFF)->reply, "421 4.7.0 slow down");
    assert_int_equal(mode_enable_source(w.g, SV("fixed.example/*"), "127.0.0.21"), 1);
    assert_false(q->held);
}

static void defer_queue_stops_it_for_a_time(void **state)
{
    (void)state;
    rule("4.7.0", DO(DEFER_QUEUE))->defer_queue_ms = 3 * MINUTE;
    struct delivery_conn *c = one_answer(slow_down());
    struct queue *q = queue_named(QUEUE);
    queue_mail("b@fixed.example", NULL);
    assert_int_equal(ask(c), DELIVERY_QUIT);
    end_conn(c, NULL);
    turn();
    assert_null(conns);
    pass(3 * MINUTE - 1);
    assert_null(conns);
    pass(1);
    assert_non_null(conns);
    assert_false(q->held);

    rule("4.7.0", DO(DEFER_QUEUE)); /* without a time: the queue's clock, and its next step */
    c = establish();
    struct delivery_job job = pull(c);
    answer(c, &job, slow_down());
    assert_int_equal(q->failures, 2);
    assert_in_range(only_action()->until_ms - clock_wall_ms(), 54 * MINUTE, 66 * MINUTE);
}

static void retry_after_of_a_rule(void **state)
{
    (void)state;
    rule("4.7.0", DO(RETRY_AFTER))->retry_after_ms = 42 * MINUTE;
    one_answer(slow_down());
    assert_int_equal(fs.last.next_attempt_ms, NOW_MS + 42 * MINUTE);
    assert_int_equal(w.g->actions.count, 0);
}

static void suspend_pipe_stops_all_queues(void **state)
{
    (void)state;
    rule("4.7.0", DO(SUSPEND_PIPE))->suspend_pipe_ms = 2 * MINUTE;
    struct delivery_conn *c = one_answer(slow_down());
    assert_int_equal(only_action()->kind, ACTION_SUSPEND);
    assert_null(only_action()->memo);
    assert_int_equal(ask(c), DELIVERY_QUIT);
    end_conn(c, NULL);
    queue_mail("a@other.example", NULL);
    queue_mail("b@fixed.example", NULL);
    assert_null(conns);
    pass(2 * MINUTE);
    assert_int_equal(opened, 3);
    assert_int_equal(w.g->actions.count, 0);
}

static void notify_tells_once_in_a_while(void **state)
{
    (void)state;
    rule("4.7.0", DO(NOTIFY));
    for (int i = 0; i < 3; i++)
        one_answer(slow_down());
    assert_int_equal(told.count, 1);
    assert_non_null(strstr(told.body, "a.conf:7"));
    pass(10 * MINUTE);
    one_answer(slow_down());
    assert_int_equal(told.count, 2);
}

static void replies_of_hosts_and_connections_count(void **state)
{
    struct outcome busy = outcome(OUTCOME_DEFERRED, PHASE_GREETING, 421, "421 4.7.0 slow down");
    struct delivery_host host = {.name = "127.0.0.9"};
    (void)state;

    rule("4.7.0", DO(MODE_BACKOFF));
    queue_mail("a@fixed.example", NULL);
    conns->ops->host_failed(conns->owner, conns, &host, &busy);
    assert_int_equal(queue_named(QUEUE)->mode, QUEUE_BACKOFF);
    queue_mail("a@other.example", NULL);
    struct delivery_conn *c = establish();
    end_conn(c, &busy); /* said between two messages */
    assert_int_equal(queue_named("other.example/default")->mode, QUEUE_BACKOFF);
}

/* Queues that share an identity share the mode; bouncing is for the queue that heard the reply. */
static void members_of_a_group_change_together(void **state)
{
    (void)state;
    queue_mail("a@fixed.example", NULL);
    queue_mail("a@other.example", NULL);
    struct queue *a = queue_named(QUEUE), *b = queue_named("other.example/default");
    queue_group_join(a, SV("big.rollup"), GROUP_ROLLUP);
    actions_regroup(w.g, a);
    rule("4.7.0", DO(MODE_BACKOFF));
    conns->ops->host_failed(conns->owner, conns, &(struct delivery_host){.name = "mx"},
                            &(struct outcome){.class_ = OUTCOME_DEFERRED,
                                              .phase = PHASE_GREETING,
                                              .code = 421,
                                              .text = SV("421 4.7.0 slow down"),
                                              .tls = ""});
    assert_int_equal(b->mode, QUEUE_BACKOFF); /* the newest connection is its own */
    assert_int_equal(a->mode, QUEUE_NORMAL);
    mode_set(w.g, SV("*"), QUEUE_NORMAL);

    queue_group_join(b, SV("big.rollup"), GROUP_ROLLUP);
    actions_regroup(w.g, b);
    unsigned before = told.count;
    assert_int_equal(mode_set(w.g, SV("fixed.example/default"), QUEUE_BACKOFF), 1);
    assert_int_equal(a->mode, QUEUE_BACKOFF);
    assert_int_equal(b->mode, QUEUE_BACKOFF);
    assert_string_equal(only_action()->memo->name, "big.rollup/default");
    assert_int_equal(told.count, before + 1); /* one change, told once */
    assert_int_equal(only_action()->memo->change_count, 1);

    queue_mail("a@later.example", NULL); /* a member that comes later */
    struct queue *c = queue_named("later.example/default");
    queue_group_join(c, SV("big.rollup"), GROUP_ROLLUP);
    actions_regroup(w.g, c);
    assert_int_equal(c->mode, QUEUE_BACKOFF);
    queue_group_leave(c);
    actions_regroup(w.g, c);
    assert_int_equal(c->mode, QUEUE_NORMAL);
    assert_int_equal(mode_set(w.g, SV("other.example"), QUEUE_NORMAL), 1);
    assert_int_equal(a->mode, QUEUE_NORMAL);
}

static void actions_are_bounded(void **state)
{
    char name[40];
    (void)state;

    watch();
    for (unsigned i = 0; i < ACTIONS_MAX; i++) {
        int n = snprintf(name, sizeof(name), "d%u.example/default", i);
        assert_int_equal(mode_set(w.g, sv(name, (size_t)n), QUEUE_BACKOFF), 1);
    }
    assert_int_equal(mode_set(w.g, SV("more.example/default"), QUEUE_BACKOFF), 0);
    assert_int_equal(w.g->actions.count, ACTIONS_MAX);
    pass(HOUR);
    assert_int_equal(w.g->actions.count, 0);
    assert_int_equal(w.g->actions.memos.count, 0);
}

/* --- by hand, and over a restart --- */

static void operators_set_and_cancel(void **state)
{
    (void)state;
    watch();
    queue_mail("a@fixed.example", NULL);
    queue_mail("a@other.example", NULL);
    assert_int_equal(mode_set(w.g, SV("*.example"), QUEUE_BACKOFF), 2);
    assert_int_equal(queue_named(QUEUE)->mode, QUEUE_BACKOFF);
    assert_int_equal(w.g->actions.count, 2);
    struct action *x = actions_find(w.g, 1);
    assert_non_null(x);
    assert_string_equal(x->by, "operator");
    action_end(w.g, x, "an operator");
    assert_int_equal(w.g->actions.count, 1);
    assert_null(actions_find(w.g, 1));
    assert_int_equal(mode_set(w.g, SV("*"), QUEUE_NORMAL), 1);
    assert_int_equal(queue_named(QUEUE)->mode, QUEUE_NORMAL);
    assert_int_equal(queue_named("other.example/default")->mode, QUEUE_NORMAL);

    /* a queue that is not there yet */
    assert_int_equal(mode_set(w.g, SV("new.example/default"), QUEUE_BACKOFF), 1);
    assert_int_equal(mode_set(w.g, SV("no*.example/default"), QUEUE_BACKOFF), 0);
    queue_mail("a@new.example", NULL);
    assert_int_equal(queue_named("new.example/default")->mode, QUEUE_BACKOFF);
}

static void the_last_ten_changes_are_kept(void **state)
{
    (void)state;
    watch();
    queue_mail("a@fixed.example", NULL);
    for (int i = 0; i < 8; i++) {
        mode_set(w.g, SV(QUEUE), QUEUE_BACKOFF);
        mode_set(w.g, SV(QUEUE), QUEUE_NORMAL);
    }
    const struct queue_memo *m = queue_named(QUEUE)->memo;
    assert_int_equal(m->change_count, MODE_CHANGES_KEPT);
    assert_int_equal(m->changes[9].to, QUEUE_NORMAL);
    assert_int_equal(m->changes[8].to, QUEUE_BACKOFF);
}

/* What is saved, read by an engine that has just started. */
static void restart(void **state, bool with_mail, int64_t later_ms)
{
    struct buf actions = {0}, clocks = {0};

    engine_actions_write(w.g, &actions);
    engine_clocks_write(w.g, &clocks);
    int64_t now = clock_wall_ms();
    engine_tear_down(state);
    engine_set_up(state);
    clock_fake_set(now + later_ms);
    watch();
    if (with_mail) {
        engine_pause(w.g, true);
        queue_mail("a@fixed.example", NULL);
        queue_mail("a@fixed.example", "two");
    }
    engine_actions_read(w.g, buf_view(&actions), buf_view(&clocks));
    buf_free(&actions);
    buf_free(&clocks);
}

static void a_restart_keeps_actions(void **state)
{
    struct reply_rule *r = rule("4.7.0", DO(MODE_BACKOFF) | DO(RATE) | DO(SUSPEND_PIPE));
    r->rate_percent = 30;
    r->suspend_pipe_ms = MINUTE;
    one_answer(slow_down());
    mode_disable_source(w.g, SV("fixed.example/two"), "127.0.0.22", 0);
    assert_int_equal(w.g->actions.count, 4);

    restart(state, true, 2 * MINUTE);
    struct queue *q = queue_named(QUEUE);
    assert_int_equal(w.g->actions.count, 3); /* the suspension is over */
    assert_false(w.g->suspended);
    assert_int_equal(q->mode, QUEUE_BACKOFF);
    assert_int_equal(q->rate_percent, 30);
    const struct action *x = actions_of(q, ACTION_BACKOFF);
    assert_int_equal(x->since_ms, NOW_MS);
    assert_int_equal(x->until_ms, NOW_MS + HOUR);
    assert_string_equal(x->reply, "421 4.7.0 slow down");
    assert_string_equal(x->list, "test-rules");
    assert_int_equal(told.count, 0); /* nobody is told again */
    assert_non_null(actions_on(queue_named("fixed.example/two"), ACTION_SOURCE, "127.0.0.22"));

    restart(state, false, 0); /* the queue comes later */
    engine_pause(w.g, true);
    queue_mail("a@fixed.example", NULL);
    assert_int_equal(queue_named(QUEUE)->mode, QUEUE_BACKOFF);
    mode_set(w.g, SV("other.example/default"), QUEUE_BACKOFF);
    assert_true(actions_find(w.g, 5) != NULL); /* ids are not used twice */
}

static void damaged_state_is_left_out(void **state)
{
    (void)state;
    watch();
    engine_actions_read(
        w.g,
        SV("next\tx\nbackoff\t1\nbackoff\t1\t" QUEUE "\t\t0\t1\t0\t1\toperator\t\t\t0\t"
           "\t\textra\nnonsense\t1\t" QUEUE "\t\t0\t1\t0\t1\toperator\t\t\t0\t\t\n\n"
           "suspend-pipe\t1\t" QUEUE "\t\t0\t1\t0\t1\toperator\t\t\t0\t\t\n"
           "rate\t1\t" QUEUE "\t\t900\t1\t0\t1\toperator\t\t\t0\t\t\n"),
        SV("x\n" QUEUE "\t0\t0\t\n" QUEUE "\t3\tmany\t\n"));
    assert_int_equal(w.g->actions.count, 0);
    engine_actions_read(w.g, SV("backoff\t9\t" QUEUE "\t\t0\t1\t0\t1\toperator\t\t\t0\t\t\n"),
                        SV(""));
    assert_int_equal(w.g->actions.count, 1);
}

/* --- clocks --- */

static void fail_round(void)
{
    struct outcome refused = outcome(OUTCOME_DEFERRED, PHASE_CONNECT, 0, "connection refused");
    while (conns)
        end_conn(conns, &refused);
    turn();
}

static void the_queue_clock_moves_until_a_delivery(void **state)
{
    (void)state;
    watch();
    queue_mail("a@fixed.example", NULL);
    struct queue *q = queue_named(QUEUE);
    fail_round();
    assert_in_range(q->retry_at_ms - NOW_MS, 9 * MINUTE, 11 * MINUTE);
    pass(11 * MINUTE);
    struct delivery_conn *c = establish(); /* connects, and is lost: still not delivered */
    end_conn(c, NULL);
    turn();
    fail_round();
    assert_int_equal(q->failures, 2);
    assert_in_range(q->retry_at_ms - clock_wall_ms(), 54 * MINUTE, 66 * MINUTE);

    int64_t at = q->retry_at_ms; /* over a restart */
    restart(state, true, MINUTE);
    q = queue_named(QUEUE);
    assert_int_equal(q->failures, 2);
    assert_int_equal(q->retry_at_ms, at);
    assert_string_equal(q->last_text, "connection refused");
    engine_pause(w.g, false);
    turn();
    pass(at - clock_wall_ms());
    c = conns;
    while (strcmp(c->queue, QUEUE))
        c = c->next;
    c->ops->established(c->owner, c, &(struct delivery_host){.name = "mx"});
    struct delivery_job job = pull(c);
    answer(c, &job, taken());
    assert_int_equal(q->failures, 0);
    assert_true(list_empty(&w.g->actions.failing));
}

static const char two_clocks[] =
    BASE "[domain fixed.example]\nretry-recipients-after = 3m\nretry-after-dns-error = 20s\n"
         "backoff-retry-after = 2h\n[domain other.example]\nbackoff-retry-after = 2h\n"
         "[domain dns.example]\nretry-after-dns-error = 20s\n";

static void clocks_are_separate(void **state)
{
    (void)state;
    watch();
    one_answer(slow_down());
    assert_in_range(fs.last.next_attempt_ms - NOW_MS, 3 * MINUTE * 9 / 10, 3 * MINUTE * 11 / 10);
    assert_int_equal(queue_named(QUEUE)->failures, 0);
    end_conn(conns, NULL);
    queue_mail("b@fixed.example", NULL);
    fail_round();
    assert_in_range(queue_named(QUEUE)->retry_at_ms - NOW_MS, 9 * MINUTE, 11 * MINUTE);

    queue_mail("a@other.example", NULL); /* in back-off both use its list */
    mode_set(w.g, SV("*"), QUEUE_BACKOFF);
    struct delivery_conn *c = establish();
    struct delivery_job job = pull(c);
    answer(c, &job, slow_down());
    assert_in_range(fs.last.next_attempt_ms - NOW_MS, 108 * MINUTE, 132 * MINUTE);
    end_conn(c, NULL);
    queue_mail("b@other.example", NULL);
    fail_round();
    struct queue *q = queue_named("other.example/default");
    assert_in_range(q->retry_at_ms - NOW_MS, 108 * MINUTE, 132 * MINUTE);

    queue_mail("a@dns.example", NULL);
    play_dns(ROUTE_TEMPORARY, "no name server answered");
    assert_int_equal(queue_named("dns.example/default")->retry_at_ms, NOW_MS + 20000);
}

static void greylisting_is_tried_sooner(void **state)
{
    (void)state;
    watch();
    struct outcome grey = outcome(OUTCOME_DEFERRED, PHASE_RCPT, 451, "451 4.7.1 Greylisted");
    one_answer(grey);
    assert_in_range(fs.last.next_attempt_ms - NOW_MS, 5 * MINUTE, 5 * MINUTE + 30000);
}

static const char upon_new[] = BASE "[domain fixed.example]\nretry-upon-new-mail = yes\n";

static void new_mail_may_start_an_attempt(void **state)
{
    (void)state;
    watch();
    queue_mail("a@fixed.example", NULL);
    fail_round();
    unsigned before = opened;
    queue_mail("b@fixed.example", NULL);
    assert_int_equal(opened, before); /* the hosts have just refused */
    pass(1000);
    queue_mail("c@fixed.example", NULL);
    assert_true(opened > before);
    queue_mail("a@other.example", NULL);
    fail_round();
    before = opened;
    pass(1000);
    queue_mail("b@other.example", NULL); /* not for this one */
    assert_int_equal(opened, before);
}

static void retry_forms(void **state)
{
    static const int64_t list[] = {600000, 600000, 3600000}, five[] = {300000};
    static const struct {
        struct retry_form form;
        int64_t waits[6];
    } rows[] = {
        {{list, 3, 0, 0}, {600000, 600000, 3600000, 3600000, 3600000, 3600000}},
        {{list, 3, 100, 0}, {600000, 600000, 3600000, 3600000, 3600000, 3600000}},
        {{five, 1, 200, 4 * HOUR}, {300000, 600000, 1200000, 2400000, 4800000, 9600000}},
        {{five, 1, 200, 1000000}, {300000, 600000, 1000000, 1000000, 1000000, 1000000}},
        {{five, 1, 150, 0}, {300000, 450000, 675000, 1012500, 1518750, 2278125}},
        {{list, 3, 200, 0}, {600000, 600000, 3600000, 7200000, 14400000, 28800000}},
        {{list, 3, 200, 600000}, {600000, 600000, 600000, 600000, 600000, 600000}},
        {{NULL, 0, 0, 0}, {600000, 600000, 600000, 600000, 600000, 600000}},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        for (unsigned n = 1; n <= 6; n++) {
            int64_t wait = rows[i].waits[n - 1], jitter = wait / 10;
            assert_int_equal(retry_form_wait_ms(&rows[i].form, n), wait);
            for (uint64_t seed = 0; seed < 50; seed++)
                assert_in_range(retry_form_delay_ms(&rows[i].form, n, seed), wait - jitter,
                                wait + jitter);
        }
    struct retry_form endless = {five, 1, 1000, 0};
    assert_true(retry_form_wait_ms(&endless, 60000) > HOUR); /* no overflow */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENGINE_CASE_WITH(backoff_begins_and_ends_by_time, base),
        ENGINE_CASE_WITH(repeated_replies_are_one_action, base),
        ENGINE_CASE_WITH(mode_normal_rule_ends_backoff, base),
        ENGINE_CASE_WITH(a_delivery_ends_backoff, after_delivery),
        ENGINE_CASE_WITH(connections_follow_the_mode_at_once, fewer),
        ENGINE_CASE_WITH(an_idle_connection_takes_over_the_mode, fewer),
        ENGINE_CASE_WITH(rate_is_cut_and_comes_back, base),
        ENGINE_CASE_WITH(bounce_queue_keeps_the_reply, base),
        ENGINE_CASE_WITH(bounce_rcpt_bounces_a_temporary_reply, base),
        ENGINE_CASE_WITH(skip_mx_keeps_the_mail_for_the_next_host, base),
        ENGINE_CASE_WITH(disabled_sources_are_not_used, base),
        ENGINE_CASE_WITH(all_sources_disabled_means_backoff, all_disabled),
        ENGINE_CASE_WITH(defer_queue_stops_it_for_a_time, base),
        ENGINE_CASE_WITH(retry_after_of_a_rule, base),
        ENGINE_CASE_WITH(suspend_pipe_stops_all_queues, base),
        ENGINE_CASE_WITH(notify_tells_once_in_a_while, base),
        ENGINE_CASE_WITH(replies_of_hosts_and_connections_count, base),
        ENGINE_CASE_WITH(members_of_a_group_change_together, base),
        ENGINE_CASE_WITH(actions_are_bounded, base),
        ENGINE_CASE_WITH(operators_set_and_cancel, base),
        ENGINE_CASE_WITH(the_last_ten_changes_are_kept, base),
        ENGINE_CASE_WITH(a_restart_keeps_actions, base),
        ENGINE_CASE_WITH(damaged_state_is_left_out, base),
        ENGINE_CASE_WITH(the_queue_clock_moves_until_a_delivery, base),
        ENGINE_CASE_WITH(clocks_are_separate, two_clocks),
        ENGINE_CASE_WITH(greylisting_is_tried_sooner, base),
        ENGINE_CASE_WITH(new_mail_may_start_an_attempt, upon_new),
        cmocka_unit_test(retry_forms),
    };
    log_set_fd(open("/dev/null", 1));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
