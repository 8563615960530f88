/*
 * Delivery notices in the engine: what is made durable before what, what comes together, what waits
 * for a disk that takes nothing, delays by the clock, and the way through another pipe.
 */
#include "engine_fakes.h"

#include "dsn/dsn.h"

#include <stdio.h>

enum { MAX_APPENDS = 64 };

static const char config_text_[] = "[pmta]\nhost-name = me.example\n"
                                   "[listener 127.0.0.1:2525]\n"
                                   "[source 127.0.0.1]\nalways-allow-relaying = yes\n"
                                   "[source quiet]\nsuppress-local-dsn = yes\n"
                                   "[source whole]\ndsn-return-default = full\n"
                                   "[source 10.0.0.0/8]\nsuppress-local-dsn = yes\n"
                                   "[bounce-processor ours]\ninbound-address = b+*@ours.example\n"
                                   "[pipe bulk]\ndsn-max-rate = 5/h\ndsn-return-max-size = 64k\n"
                                   "[domain *]\nmax-smtp-out = 5\nretry-after = 10m\n"
                                   "bounce-after = 1d\nsmtp-hosts = [127.0.0.9]:26\n"
                                   "notify-of-delay-every = 4h\n"
                                   "[domain never.example]\nnotify-of-delay-every = never\n"
                                   "[domain nxdomain.example]\nsmtp-hosts = \"\"\n";

static const char other_pipe_text[] =
    "[pmta]\nhost-name = me.example\n[listener 127.0.0.1:2525]\n"
    "[source 127.0.0.1]\nalways-allow-relaying = yes\n"
    "[pipe bulk]\ndsn-pipe = other\n[pipe other]\n"
    "[domain *]\nmax-smtp-out = 5\nretry-after = 10m\nbounce-after = 1d\n"
    "smtp-hosts = [127.0.0.9]:26\n";

/* --- the disk for what we write ourselves --- */

static struct spool_append *appends[MAX_APPENDS];
static size_t append_count, stored_count;
static struct buf contents[MAX_APPENDS]; /* of what was stored */
static struct dsn *d;

void spool_append(struct spool *s, struct spool_append *a)
{
    (void)s;
    assert_true(append_count < MAX_APPENDS);
    appends[append_count++] = a;
}

int spool_read_event(struct spool *s, spool_journal_place at, struct arena *arena,
                     struct spool_event *ret)
{
    (void)s, (void)at, (void)arena;
    *ret = fs.last;
    ret->text = sv_of(fs.last_text);
    return 0;
}

/* The disk has taken what waits; status: what it says. */
static void disk(int status)
{
    size_t n = append_count;

    append_count = 0;
    for (size_t i = 0; i < n; i++) {
        struct spool_append *a = appends[i];
        if (status == 0) {
            a->id = ++w.last_id;
            a->place = (struct spool_place){1, 0, 100};
            buf_append_sv(&fs.envelopes[a->id], a->envelope);
            assert_true(stored_count < MAX_APPENDS);
            buf_append_sv(&contents[stored_count++], a->content);
        }
        a->done(a, status);
    }
    turn();
}

static int set_up(void **state)
{
    int status = engine_set_up(state);

    d = dsn_new(&w.loop, w.g);
    dsn_configure(d, w.cfg);
    engine_set_spool(w.g, (struct spool *)(void *)&fs);
    append_count = stored_count = 0;
    return status;
}

static bool drained;

static void on_drained(void *arg)
{
    (void)arg;
    drained = true;
}

static int tear_down(void **state)
{
    int status = drained ? engine_free_world() : engine_tear_down(state);

    drained = false;
    for (size_t i = 0; i < MAX_APPENDS; i++)
        buf_free(&contents[i]);
    return status;
}

/* The room is freed before the engine is: by a callback of the drain in the pipe, here by hand. */
static void leave(void)
{
    dsn_free(d);
    d = NULL;
}

#define DSN_CASE(fn, text) \
    cmocka_unit_test_prestate_setup_teardown(fn, set_up, tear_down, (void *)(uintptr_t)(text))

/* --- mail --- */

static message_id mail_from(const char *sender, const char *source, const char *rcpts_text,
                            uint8_t notify)
{
    struct envelope env = {.received_ms = clock_wall_ms(),
                           .sender = sv_of(sender),
                           .source = sv_of(source),
                           .content_bytes = 21,
                           .header_bytes = 14};
    struct envelope_rcpt rcpts[8];
    struct strview rest = sv_of(rcpts_text), one;
    message_id id = ++w.last_id;

    env.rcpts = rcpts;
    while (sv_split(&rest, ' ', &one))
        rcpts[env.rcpt_count++] = (struct envelope_rcpt){.address = one, .notify = notify};
    choose_vmta(w.g, &env);
    envelope_encode(&fs.envelopes[id], &env);
    engine_accept(w.g, id, &(struct spool_place){1, 0, 100}, &env, NULL);
    turn();
    return id;
}

/* All that is ready is tried, with this outcome for each recipient. */
static void try_all(struct outcome o)
{
    struct delivery_job job;

    turn();
    for (struct delivery_conn *c = conns; c; c = c->next) {
        struct delivery_host host = {.name = "mx"};
        if (!c->established)
            c->ops->established(c->owner, c, &host);
        c->established = true;
        for (;;) {
            enum delivery_next n = c->ops->next(c->owner, c, &job);
            if (n == DELIVERY_WAIT) {
                fake_reads();
                n = c->ops->next(c->owner, c, &job);
            }
            if (n != DELIVERY_JOB)
                break;
            answer(c, &job, o);
        }
    }
    turn();
}

static struct outcome no(void)
{
    struct outcome o = outcome(OUTCOME_BOUNCED, PHASE_RCPT, 550, "550 5.1.1 no such user");
    o.enhanced = (struct enhanced_code){5, 1, 1};
    return o;
}

static struct outcome yes(bool peer_has_dsn)
{
    struct outcome o = outcome(OUTCOME_DELIVERED, PHASE_END_OF_DATA, 250, "250 ok");
    o.peer_has_dsn = peer_has_dsn;
    return o;
}

/* Time for a notice to begin, and its message is read. */
static void work(void)
{
    clock_fake_advance(25);
    dsn_tick(d);
    turn();
    fake_reads();
    turn();
}

static bool says(size_t i, const char *text)
{
    return i < stored_count && strstr(buf_data(&contents[i]), text) != NULL;
}

/* Delivers the notices that wait, so that the world is empty at the end. */
static void finish(void)
{
    work();
    disk(0);
    for (int i = 0; i < 3 && live(); i++)
        try_all(yes(false));
    assert_int_equal(live(), 0);
    leave();
}

/* --- cases --- */

static void a_failure_is_told_before_it_is_final(void **state)
{
    (void)state;
    mail_from("a@sender.example", "", "x@fixed.example", 0);
    try_all(no());
    assert_int_equal(fs.states[SPOOL_BOUNCED], 0);
    assert_int_equal(live(), 1);
    work();
    assert_int_equal(append_count, 1);
    assert_int_equal(fs.states[SPOOL_BOUNCED], 0); /* not before it is durable */
    disk(0);
    assert_int_equal(fs.states[SPOOL_BOUNCED], 1);
    assert_string_equal(fs.last_text, "550 5.1.1 no such user");
    assert_int_equal(fs.last.attempts, 1);
    assert_true(says(0, "To: <a@sender.example>"));
    assert_true(says(0, "Action: failed\r\nStatus: 5.1.1\r\n"));
    assert_int_equal(live(), 1); /* the notice itself */
    assert_non_null(engine_find_queue(w.g, SV("sender.example/default")));
    try_all(no()); /* it fails, too: no further one */
    assert_int_equal(fs.states[SPOOL_BOUNCED], 2);
    work();
    assert_int_equal(append_count, 0);
    assert_int_equal(live(), 0);
    leave();
}

static void recipients_of_a_moment_share_one(void **state)
{
    (void)state;
    mail_from("a@sender.example", "", "x@fixed.example y@fixed.example z@other.example", 0);
    try_all(no());
    work();
    assert_int_equal(append_count, 1);
    disk(0);
    assert_int_equal(fs.states[SPOOL_BOUNCED], 3);
    assert_true(says(0, "Final-Recipient: rfc822; x@fixed.example"));
    assert_true(says(0, "Final-Recipient: rfc822; y@fixed.example"));
    assert_true(says(0, "Final-Recipient: rfc822; z@other.example"));
    finish();
}

static void what_nobody_wants_is_not_sent(void **state)
{
    (void)state;
    mail_from("", "", "x@fixed.example", 0);
    mail_from("a@sender.example", "", "x@fixed.example", NOTIFY_NEVER);
    mail_from("a@sender.example", "", "x@fixed.example", NOTIFY_SUCCESS | NOTIFY_DELAY);
    mail_from("a@sender.example", "quiet", "x@fixed.example", 0);
    mail_from("b+123@ours.example", "", "x@fixed.example", NOTIFY_FAILURE);
    try_all(no());
    assert_int_equal(fs.states[SPOOL_BOUNCED], 5); /* at once */
    work();
    assert_int_equal(append_count, 0);
    leave();
}

static void success_is_told_where_the_peer_does_not(void **state)
{
    (void)state;
    mail_from("a@sender.example", "", "x@fixed.example", NOTIFY_SUCCESS);
    try_all(yes(true));
    assert_int_equal(fs.states[SPOOL_DELIVERED], 1);
    mail_from("a@sender.example", "", "x@fixed.example", NOTIFY_SUCCESS);
    try_all(yes(false));
    work();
    assert_int_equal(append_count, 1);
    assert_int_equal(fs.states[SPOOL_DELIVERED], 2); /* in the same commit: waits for nothing */
    disk(-ENOSPC);                                   /* lost, and the mail is not sent again */
    assert_int_equal(live(), 0);
    struct dsn_stats s;
    dsn_stats(d, &s);
    assert_int_equal(s.lost, 1);
    mail_from("a@sender.example", "", "x@fixed.example", NOTIFY_SUCCESS);
    try_all(yes(false));
    work();
    disk(0);
    assert_true(says(0, "Action: relayed\r\n"));
    finish();
}

static void a_full_disk_loses_no_failure(void **state)
{
    (void)state;
    mail_from("a@sender.example", "", "x@fixed.example", 0);
    try_all(no());
    work();
    for (int i = 0; i < 5; i++) {
        disk(-ENOSPC);
        assert_int_equal(fs.states[SPOOL_BOUNCED], 0);
        assert_int_equal(append_count, 0);
        clock_fake_advance(5000);
        dsn_tick(d);
        turn();
        assert_int_equal(append_count, 1);
    }
    disk(0);
    assert_int_equal(fs.states[SPOOL_BOUNCED], 1);
    finish();
}

static void damage_ends_it_like_everywhere(void **state)
{
    (void)state;
    mail_from("a@sender.example", "", "x@fixed.example", 0);
    try_all(no());
    fs.read_status = ERR_CORRUPT;
    work();
    fs.read_status = 0;
    assert_int_equal(append_count, 0);
    assert_int_equal(live(), 0);
    assert_int_equal(fs.states[SPOOL_BOUNCED], 0); /* the spool has it in its books */
    leave();
}

static void a_sender_gets_only_so_many(void **state)
{
    struct dsn_stats s;

    (void)state;
    for (int i = 0; i < 8; i++)
        mail_from("a@sender.example", "", "x@fixed.example", 0);
    try_all(no());
    assert_int_equal(fs.states[SPOOL_BOUNCED], 3); /* over the limit: at once */
    work();
    disk(0);
    assert_int_equal(stored_count, 5);
    assert_int_equal(fs.states[SPOOL_BOUNCED], 8);
    dsn_stats(d, &s);
    assert_int_equal(s.held, 3);
    assert_int_equal(s.sent[DSN_FAILED], 5);
    clock_fake_advance(3600 * 1000 / 5 + 1000);
    mail_from("a@sender.example", "", "x@fixed.example", 0);
    try_all(no());
    work();
    disk(0);
    assert_true(says(5, "3 more notices about your mail were held back"));
    finish();
}

static void expired_mail_says_so(void **state)
{
    (void)state;
    mail_from("a@sender.example", "", "x@fixed.example", 0);
    try_all(outcome(OUTCOME_DEFERRED, PHASE_RCPT, 450, "450 4.2.0 later"));
    work();
    assert_int_equal(append_count, 0);
    pass(86400000);
    try_all(outcome(OUTCOME_DEFERRED, PHASE_RCPT, 450, "450 4.2.0 still later"));
    work();
    disk(0);
    assert_int_equal(fs.states[SPOOL_EXPIRED], 1);
    assert_true(says(0, "last: 450 4.2.0 still later"));
    assert_true(says(0, "X-PipeMTA-Attempts: 2"));
    assert_true(says(0, "Status: 5.4.7"));
    finish();
}

static void what_the_dns_bounces_is_told(void **state)
{
    (void)state;
    mail_from("a@sender.example", "", "x@nxdomain.example y@nxdomain.example", 0);
    play_dns(ROUTE_NO_DOMAIN, "no such domain");
    for (int i = 0; i < 5; i++)
        turn();
    work();
    disk(0);
    assert_int_equal(fs.states[SPOOL_BOUNCED], 2);
    assert_true(says(0, "Status: 5.1.2"));
    finish();
}

static void deleted_mail_is_not_told(void **state)
{
    (void)state;
    mail_from("a@sender.example", "", "x@fixed.example", 0);
    engine_pause(w.g, true);
    engine_delete(w.g, &(struct engine_delete_filter){0}, false, NULL, NULL);
    turn();
    assert_int_equal(fs.states[SPOOL_DELETED], 1);
    work();
    assert_int_equal(append_count, 0);
    leave();
}

static void delays_are_told_by_the_clock(void **state)
{
    struct outcome later = outcome(OUTCOME_DEFERRED, PHASE_RCPT, 450, "450 4.2.0 later");
    struct dsn_stats s;

    (void)state;
    engine_pause(w.g, true);
    message_id id =
        mail_from("a@sender.example", "", "x@fixed.example never@never.example", NOTIFY_DELAY);
    mail_from("a@sender.example", "", "y@fixed.example", NOTIFY_FAILURE);
    mail_from("", "", "z@fixed.example", NOTIFY_DELAY);
    dsn_stats(d, &s);
    assert_int_equal(s.watched, 1);
    pass(4 * 3600000 - 1000);
    work();
    assert_int_equal(append_count, 0);
    pass(1000);
    work();
    assert_int_equal(append_count, 1);
    disk(0);
    assert_true(says(0, "Action: delayed\r\nStatus: 4.0.0\r\n"));
    assert_true(says(0, "x@fixed.example"));
    assert_false(says(0, "never@never.example"));
    assert_true(says(0, "Will-Retry-Until: "));
    pass(4 * 3600000 - 60000);
    work();
    assert_int_equal(append_count, 0);
    pass(60000);
    work();
    disk(-EIO); /* again in a minute */
    pass(61000);
    work();
    disk(0);
    assert_int_equal(stored_count, 2);
    engine_pause(w.g, false);
    try_all(later);
    engine_journalled(w.g, id, 0, 1);
    pass(4 * 3600000);
    work();
    disk(0);
    assert_true(says(2, "450 4.2.0 later"));
    assert_true(says(2, "Status: 4.2.0"));
    try_all(yes(false));
    pass(20 * 3600000); /* what was deferred is due */
    try_all(yes(false));
    pass(4 * 3600000); /* gone: the watch goes, too */
    work();
    assert_int_equal(append_count, 0);
    dsn_stats(d, &s);
    assert_int_equal(s.watched, 0);
    try_all(yes(false));
    leave();
}

static void recovery_goes_on_with_delays(void **state)
{
    struct envelope_rcpt rcpt = {.address = SV("x@fixed.example"), .notify = NOTIFY_DELAY};
    struct envelope env = {.received_ms = NOW_MS - 9 * 3600000,
                           .sender = SV("a@sender.example"),
                           .content_bytes = 21,
                           .rcpt_count = 1,
                           .rcpts = &rcpt};
    struct spool_recovered_rcpt was = {.state = SPOOL_QUEUED};
    message_id id = ++w.last_id;

    (void)state;
    engine_pause(w.g, true);
    envelope_encode(&fs.envelopes[id], &env);
    engine_recovered(w.g, id, &(struct spool_place){1, 0, 100}, &env, &was);
    work(); /* nothing is known to have been told: it is, once */
    assert_int_equal(append_count, 1);
    disk(0);
    pass(3600000);
    work();
    assert_int_equal(append_count, 0);
    pass(2 * 3600000); /* the age of twelve hours */
    work();
    assert_int_equal(append_count, 1);
    engine_pause(w.g, false);
    finish();
}

static void a_forced_drain_leaves_it_undecided(void **state)
{
    (void)state;
    mail_from("a@sender.example", "", "x@fixed.example", 0);
    try_all(no());
    work();
    assert_int_equal(append_count, 1);
    engine_drain(w.g, 1000, on_drained, NULL);
    while (conns)
        end_conn(conns, NULL);
    pass(500);
    disk(-ENOSPC);
    assert_false(drained);
    pass(600); /* its time is over */
    turn();
    assert_true(drained);
    assert_int_equal(fs.states[SPOOL_BOUNCED], 0); /* after a restart it bounces again */
    struct dsn_stats s;
    dsn_stats(d, &s);
    assert_int_equal(s.under_way, 0);
    leave();
}

static void a_drain_waits_for_the_disk(void **state)
{
    (void)state;
    mail_from("a@sender.example", "", "x@fixed.example", 0);
    try_all(no());
    engine_drain(w.g, 1000, on_drained, NULL);
    while (conns)
        end_conn(conns, NULL);
    turn(); /* begun at once */
    fake_reads();
    turn();
    assert_int_equal(append_count, 1);
    assert_false(drained);
    disk(0);
    assert_int_equal(fs.states[SPOOL_BOUNCED], 1);
    assert_true(drained);
    leave();
}

/* --- another pipe --- */

static struct {
    struct ipc_edge *mine, *theirs;
    struct ipc_frame *submits[16];
    uint64_t tokens[16];
    size_t count;
} other;

static int on_submit(void *owner, struct ipc_edge *edge, struct ipc_frame *frame)
{
    struct ipc_submit m;

    (void)owner, (void)edge;
    assert_int_equal(ipc_decode_submit(frame->bytes, &m), 0);
    assert_true(other.count < ARRAY_LEN(other.submits));
    other.tokens[other.count] = m.token;
    other.submits[other.count++] = ipc_frame_ref(frame);
    return 0;
}

static int on_reply(void *owner, struct ipc_edge *edge, struct ipc_frame *frame)
{
    struct ipc_submit_reply m;

    (void)owner, (void)edge;
    assert_int_equal(ipc_decode_submit_reply(frame->bytes, &m), 0);
    dsn_peer_reply(d, "other", &m);
    return 0;
}

static void on_down(void *owner, struct ipc_edge *edge, int code)
{
    (void)owner, (void)edge, (void)code;
}

static void connect_other(void)
{
    static const struct ipc_edge_ops mine = {.frame = on_reply, .down = on_down};
    static const struct ipc_edge_ops theirs = {.frame = on_submit, .down = on_down};
    int pair[2];

    memset(&other, 0, sizeof(other));
    assert_int_equal(ipc_pair(pair), 0);
    other.mine = ipc_edge_open(&w.loop, pair[0], ROLE_PIPE, ROLE_PIPE, &mine, NULL);
    other.theirs = ipc_edge_open(&w.loop, pair[1], ROLE_PIPE, ROLE_PIPE, &theirs, NULL);
    dsn_peer(d, "other", other.mine);
    turn();
    fake_reads();
    turn();
}

static void disconnect_other(void)
{
    dsn_peer(d, "other", NULL);
    ipc_edge_close(other.mine);
    ipc_edge_close(other.theirs);
    for (size_t i = 0; i < other.count; i++)
        ipc_frame_unref(other.submits[i]);
    turn();
}

static void other_says(size_t i, uint16_t code, const char *text)
{
    ipc_send(other.theirs, submit_reply,
             (&(struct ipc_submit_reply){other.tokens[i], code, sv_of(text)}));
    turn();
    fake_reads();
    turn();
}

static void goes_through_another_pipe(void **state)
{
    struct ipc_submit m;
    struct arena arena = {0};
    struct envelope env;

    (void)state;
    mail_from("a@sender.example", "", "x@fixed.example", 0);
    try_all(no());
    work();
    disk(0);
    assert_int_equal(fs.states[SPOOL_BOUNCED], 1); /* waits for no other pipe */
    assert_int_equal(queue_named("notices/pipe:other")->live, 1);
    turn();
    assert_int_equal(live(), 1);
    connect_other();
    assert_int_equal(other.count, 1);
    assert_int_equal(ipc_decode_submit(other.submits[0]->bytes, &m), 0);
    assert_int_equal(envelope_decode(m.envelope, &arena, &env, NULL), 0);
    assert_sv_equal(env.rcpts[0].address, "a@sender.example");
    assert_sv_equal(env.source, ENVELOPE_DSN_SOURCE);
    assert_int_equal(env.chosen_vmta.len, 0); /* that pipe chooses */
    assert_int_equal(env.sender.len, 0);
    assert_int_equal(fs.states[SPOOL_DELIVERED], 0);
    other_says(0, 250, "2.0.0 Queued as 0000000000xyz");
    assert_int_equal(fs.states[SPOOL_DELIVERED], 1);
    assert_string_equal(fs.last_text, "250 2.0.0 Queued as 0000000000xyz");
    assert_int_equal(live(), 0);
    arena_free(&arena);
    disconnect_other();
    leave();
}

static void is_tried_again_where_the_other_is_full(void **state)
{
    (void)state;
    connect_other();
    mail_from("a@sender.example", "", "x@fixed.example", 0);
    try_all(no());
    work();
    disk(0);
    fake_reads();
    turn();
    assert_int_equal(other.count, 1);
    other_says(0, 452, "4.3.1 Not enough disk space, try again later");
    struct queue *q = queue_named("notices/pipe:other");
    assert_int_equal(q->live, 1);
    assert_true(q->retry_at_ms > clock_wall_ms());
    assert_non_null(strstr(q->last_text, "pipe other said: 452 4.3.1"));
    turn();
    assert_int_equal(other.count, 1);
    pass(661000);
    fake_reads();
    turn();
    assert_int_equal(other.count, 2);
    disconnect_other(); /* it died with the message in hand */
    assert_int_equal(q->live, 1);
    connect_other(); /* and came back: at once */
    assert_int_equal(other.count, 1);
    other_says(0, 250, "2.0.0 Queued");
    assert_int_equal(live(), 0);
    disconnect_other();
    leave();
}

static void configure(const char *text)
{
    struct config *cfg = engine_load_config(text);

    config_unref(w.cfg);
    w.cfg = cfg;
    dsn_configure(d, cfg);
    engine_configure(w.g, cfg);
    turn();
    fake_reads();
    turn();
}

static void settle_down(void)
{
    for (int i = 0; i < 50; i++) {
        fake_reads();
        turn();
    }
}

/* A notice waits for a pipe that is not there, and another one waits because its pipe refused it. */
static void follows_the_pipe_of_now(void **state)
{
    static const char third_text[] =
        "[pmta]\nhost-name = me.example\n[listener 127.0.0.1:2525]\n"
        "[source 127.0.0.1]\nalways-allow-relaying = yes\n"
        "[pipe bulk]\ndsn-pipe = third\n[pipe other]\n[pipe third]\n"
        "[domain *]\nmax-smtp-out = 5\nretry-after = 10m\nbounce-after = 1d\n"
        "smtp-hosts = [127.0.0.9]:26\n";

    (void)state;
    for (int i = 0; i < 40; i++) { /* more than are handed over at a time */
        char sender[40];
        snprintf(sender, sizeof(sender), "a%d@sender.example", i);
        mail_from(sender, "", "x@fixed.example", 0);
    }
    try_all(no());
    work();
    disk(0);
    assert_int_equal(queue_named("notices/pipe:other")->live, 40);
    connect_other();
    assert_int_equal(other.count, 16);
    other_says(0, 452, "4.3.1 full");
    assert_true(queue_named("notices/pipe:other")->retry_at_ms > clock_wall_ms());
    configure(third_text);
    settle_down();
    /* those in hand get their answer from the old one */
    assert_int_equal(queue_named("notices/pipe:other")->live, 15);
    assert_int_equal(queue_named("notices/pipe:third")->live, 25);
    disconnect_other();
    settle_down();
    assert_int_equal(queue_named("notices/pipe:other")->live, 0);
    assert_int_equal(queue_named("notices/pipe:third")->live, 40);
    assert_int_equal(other.count, 16);
    configure(config_text_); /* none: through its own pipe, by its own address */
    settle_down();
    assert_int_equal(queue_named("notices/pipe:third")->live, 0);
    assert_int_equal(queue_named("sender.example/default")->live, 40);
    for (int i = 0; i < 3 && live(); i++)
        try_all(yes(false));
    assert_int_equal(live(), 0);
    leave();
}

static void is_given_up_in_the_end(void **state)
{
    (void)state;
    mail_from("a@sender.example", "", "x@fixed.example", 0);
    try_all(no());
    work();
    disk(0);
    pass(86400000 + 61000);
    work();
    for (int i = 0; i < 5; i++)
        turn();
    assert_int_equal(fs.states[SPOOL_EXPIRED], 1);
    assert_non_null(strstr(fs.last_text, "pipe other is not there"));
    assert_int_equal(live(), 0);
    leave();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        DSN_CASE(a_failure_is_told_before_it_is_final, config_text_),
        DSN_CASE(recipients_of_a_moment_share_one, config_text_),
        DSN_CASE(what_nobody_wants_is_not_sent, config_text_),
        DSN_CASE(success_is_told_where_the_peer_does_not, config_text_),
        DSN_CASE(a_full_disk_loses_no_failure, config_text_),
        DSN_CASE(damage_ends_it_like_everywhere, config_text_),
        DSN_CASE(a_sender_gets_only_so_many, config_text_),
        DSN_CASE(expired_mail_says_so, config_text_),
        DSN_CASE(what_the_dns_bounces_is_told, config_text_),
        DSN_CASE(deleted_mail_is_not_told, config_text_),
        DSN_CASE(delays_are_told_by_the_clock, config_text_),
        DSN_CASE(recovery_goes_on_with_delays, config_text_),
        DSN_CASE(a_forced_drain_leaves_it_undecided, config_text_),
        DSN_CASE(a_drain_waits_for_the_disk, config_text_),
        DSN_CASE(goes_through_another_pipe, other_pipe_text),
        DSN_CASE(is_tried_again_where_the_other_is_full, other_pipe_text),
        DSN_CASE(follows_the_pipe_of_now, other_pipe_text),
        DSN_CASE(is_given_up_in_the_end, other_pipe_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
