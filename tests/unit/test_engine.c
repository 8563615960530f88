/*
 * The queue engine with a fake spool, fake connections, a fake clock and a resolver played by the
 * test: what is sent when, what waits for what, and that every recipient ends exactly once.
 */
#include "unit.h"

#include "base/clock.h"
#include "base/log.h"
#include "mail/config.h"
#include "queue/engine_int.h"
#include "queue/load.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define NOW_MS 1795233906000

/* --- fake spool --- */

enum { MAX_MESSAGES = 512 };

static struct {
    struct buf envelopes[MAX_MESSAGES];
    uint64_t states[8]; /* journal records by state */
    struct spool_event last;
    char last_text[512];
    int read_status;
    struct spool_read *reads; /* waiting for fake_reads */
    unsigned outstanding;
} fs;

void spool_journal(struct spool *s, const struct spool_event *ev)
{
    (void)s;
    fs.states[ev->state]++;
    fs.last = *ev;
    snprintf(fs.last_text, sizeof(fs.last_text), "%.*s", SV_ARG(ev->text));
}

void spool_accounting(struct spool *s, int fd, struct strview bytes)
{
    (void)s, (void)fd, (void)bytes;
}

void spool_read(struct spool *s, message_id id, const struct spool_place *place, size_t load_max,
                struct spool_read *r)
{
    (void)s, (void)place, (void)load_max;
    r->id = id;
    r->next = fs.reads;
    fs.reads = r;
}

static void fake_reads(void)
{
    for (struct spool_read *r; (r = fs.reads);) {
        fs.reads = r->next;
        r->content = (struct spool_content){.fd = -1};
        if (fs.read_status == 0) {
            r->content.envelope = buf_view(&fs.envelopes[r->id]);
            r->content.content = SV("Subject: x\r\n\r\nhello\r\n");
            r->content.owner = &fs;
            fs.outstanding++;
        }
        r->done(r, fs.read_status);
    }
}

void spool_content_release(struct spool *s, struct spool_content *c)
{
    (void)s;
    if (c->owner)
        fs.outstanding--;
    c->owner = NULL;
}

int spool_read_envelope(struct spool *s, message_id id, const struct spool_place *place,
                        struct arena *arena, struct envelope *ret)
{
    (void)s, (void)place;
    return envelope_decode(buf_view(&fs.envelopes[id]), arena, ret, NULL);
}

char *message_id_format(message_id id, char *out)
{
    snprintf(out, MESSAGE_ID_SIZE, "%013llu", (unsigned long long)id);
    return out;
}

bool message_id_parse(struct strview s, message_id *ret)
{
    return sv_to_u64(s, ret);
}

/* --- fake connections --- */

struct delivery_conn {
    const struct delivery_ops *ops;
    void *owner;
    char queue[100];
    char host[64];
    bool closing;
    struct delivery_conn *next;
};

static struct delivery_conn *conns; /* open, newest first */
static unsigned opened;

struct delivery_conn *delivery_open(struct delivery *d, const struct delivery_params *params,
                                    const struct delivery_ops *ops, void *owner)
{
    struct delivery_conn *c = xcalloc(1, sizeof(*c));
    (void)d;
    c->ops = ops;
    c->owner = owner;
    snprintf(c->queue, sizeof(c->queue), "%s", params->queue);
    snprintf(c->host, sizeof(c->host), "%s", params->hosts[0].name);
    c->next = conns;
    conns = c;
    opened++;
    return c;
}

void delivery_wakeup(struct delivery_conn *c)
{
    (void)c;
}

void delivery_close(struct delivery_conn *c)
{
    c->closing = true;
}

void delivery_abort(struct delivery_conn *c)
{
    c->closing = true;
}

void delivery_info(const struct delivery_conn *c, struct delivery_info *ret)
{
    *ret = (struct delivery_info){.queue = c->queue};
}

static void end_conn(struct delivery_conn *c, const struct outcome *o)
{
    struct delivery_conn **at = &conns;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    c->ops->closed(c->owner, c, o);
    free(c);
}

static struct outcome outcome(enum outcome_class class_, enum outcome_phase phase, uint16_t code,
                              const char *text)
{
    return (struct outcome){
        .class_ = class_, .phase = phase, .code = code, .text = sv_of(text), .tls = ""};
}

/* The newest connection establishes. */
static struct delivery_conn *establish(void)
{
    struct delivery_host host = {.name = "mx"};
    assert_non_null(conns);
    conns->ops->established(conns->owner, conns, &host);
    return conns;
}

/* Pulls a job; JOB is expected. */
static struct delivery_job pull(struct delivery_conn *c)
{
    struct delivery_job job;
    enum delivery_next n = c->ops->next(c->owner, c, &job);
    if (n == DELIVERY_WAIT) {
        fake_reads();
        n = c->ops->next(c->owner, c, &job);
    }
    assert_int_equal(n, DELIVERY_JOB);
    return job;
}

static void answer(struct delivery_conn *c, const struct delivery_job *job, struct outcome o)
{
    for (uint32_t i = 0; i < job->rcpt_count; i++)
        c->ops->rcpt_done(c->owner, c, job, i, &o);
    c->ops->job_done(c->owner, c, job);
}

static enum delivery_next ask(struct delivery_conn *c)
{
    struct delivery_job job;
    return c->ops->next(c->owner, c, &job);
}

/* --- the world around the engine --- */

static struct world {
    uv_loop_t loop;
    struct engine *g;
    struct routes *routes;
    struct report *report;
    struct config *cfg;
    struct ipc_edge *resolver; /* the test's end */
    char asked[256];
    uint64_t token;
    message_id last_id;
} w;

static int on_request(void *owner, struct ipc_edge *edge, struct ipc_frame *frame)
{
    struct ipc_route_request m;
    (void)owner, (void)edge;
    assert_int_equal(ipc_decode_route_request(frame->bytes, &m), 0);
    snprintf(w.asked, sizeof(w.asked), "%.*s", SV_ARG(m.domain));
    w.token = m.token;
    return 0;
}

static void on_down(void *owner, struct ipc_edge *edge, int code)
{
    (void)owner, (void)edge, (void)code;
}

static struct config *load(const char *text)
{
    char dir[] = "/tmp/pmta-engine-XXXXXX", path[64];
    struct config *cfg = NULL;
    struct config_report report = {0};

    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/a.conf", dir);
    FILE *f = fopen(path, "w");
    fputs(text, f);
    fclose(f);
    if (config_load(dir, 1, &cfg, &report) < 0)
        fail_msg("%s", buf_data(&report.text));
    unlink(path);
    rmdir(dir);
    buf_free(&report.text);
    return cfg;
}

static const char *const base_config = "[pmta]\nhost-name = me.example\n"
                                       "[listener 127.0.0.1:2525]\n"
                                       "[source 127.0.0.1]\nalways-allow-relaying = yes\n"
                                       "[pipe bulk]\nmax-smtp-out = 3\nmax-queued = 100\n"
                                       "[virtual-mta mta1]\n"
                                       "[virtual-mta mta2]\n[virtual-mta mta3]\n"
                                       "[virtual-mta-pool pool-a]\nvirtual-mta = mta2\n"
                                       "virtual-mta = mta3\n"
                                       "[virtual-mta-pool pool-a, domain fixed.example]\n"
                                       "max-smtp-out = 1\n"
                                       "[domain *]\nmax-smtp-out = 2\nretry-after = 10m,1h\n"
                                       "bounce-after = 1d\n"
                                       "[domain fixed.example]\nsmtp-hosts = [127.0.0.9]:26\n"
                                       "[domain other.example]\nsmtp-hosts = [127.0.0.8]:26\n";

static void turn(void)
{
    for (int i = 0; i < 10; i++)
        uv_run(&w.loop, UV_RUN_NOWAIT);
}

static int set_up(void **state)
{
    static const struct ipc_edge_ops ops = {.frame = on_request, .down = on_down};
    int pair[2];
    (void)state;

    memset(&fs, 0, sizeof(fs));
    memset(&w, 0, sizeof(w));
    opened = 0;
    clock_fake_set(NOW_MS);
    uv_loop_init(&w.loop);
    w.cfg = load(base_config);
    w.routes = routes_new(&w.loop);
    assert_int_equal(ipc_pair(pair), 0);
    routes_set_edge(w.routes, pair[0]);
    w.resolver = ipc_edge_open(&w.loop, pair[1], ROLE_RESOLVER, ROLE_PIPE, &ops, NULL);
    assert_int_equal(report_new(&w.report, "bulk", -1, NULL), 0);
    w.g = engine_new(&(struct engine_parts){.loop = &w.loop, .pipe = "bulk", .routes = w.routes});
    engine_set_report(w.g, w.report);
    engine_configure(w.g, w.cfg);
    engine_start(w.g);
    return 0;
}

static void on_drained(void *arg)
{
    *(bool *)arg = true;
}

static int tear_down(void **state)
{
    bool drained = false;
    (void)state;

    engine_drain(w.g, 1000, on_drained, &drained);
    while (conns)
        end_conn(conns, NULL);
    fake_reads();
    turn();
    assert_true(drained);
    assert_int_equal(fs.outstanding, 0);
    engine_free(w.g);
    routes_free(w.routes);
    ipc_edge_close(w.resolver);
    report_free(w.report);
    config_unref(w.cfg);
    turn();
    assert_int_equal(uv_loop_close(&w.loop), 0);
    for (size_t i = 0; i < MAX_MESSAGES; i++)
        buf_free(&fs.envelopes[i]);
    return 0;
}

/* Accepts a message for these recipients (blank-separated); returns its id. */
static message_id queue_mail(const char *rcpts_text, const char *vmta)
{
    struct envelope_rcpt rcpts[16];
    struct envelope env = {
        .received_ms = clock_wall_ms(),
        .sender = SV("from@sender.example"),
        .job = SV("job-7"),
        .vmta = sv_of(vmta),
        .content_bytes = 21,
        .rcpts = rcpts,
    };
    struct strview rest = sv_of(rcpts_text), one;
    message_id id = ++w.last_id;

    while (sv_split(&rest, ' ', &one))
        rcpts[env.rcpt_count++] = (struct envelope_rcpt){.address = one};
    envelope_encode(&fs.envelopes[id], &env);
    engine_accept(w.g, id, &(struct spool_place){1, 0, 100}, &env, NULL);
    turn();
    return id;
}

static void play_dns(enum route_status status, const char *text)
{
    struct buf hosts = {0};
    unsigned char address[4] = {127, 0, 0, 7};

    turn();
    assert_true(w.token != 0);
    if (status == ROUTE_OK)
        route_hosts_append(&hosts, 10, AF_INET, address, SV("mx.dns.example"));
    ipc_send(w.resolver, route_reply,
             (&(struct ipc_route_reply){.token = w.token,
                                        .status = (uint8_t)status,
                                        .ttl_s = 300,
                                        .text = sv_of(text),
                                        .hosts = buf_view(&hosts)}));
    buf_free(&hosts);
    w.token = 0;
    turn();
}

static struct queue *queue_named(const char *name)
{
    struct queue *q = engine_find_queue(w.g, sv_of(name));
    assert_non_null(q);
    return q;
}

static uint64_t live(void)
{
    return engine_index(w.g)->live;
}

static void pass(int64_t ms)
{
    clock_fake_advance(ms);
    scheduler_tick(w.g);
    turn();
}

/* --- cases --- */

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
    assert_string_equal(queue_state_name(q, false), "backoff");
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
    assert_false(list_empty(&w.g->blocked));
    struct delivery_conn *c = conns;
    while (strcmp(c->queue, "fixed.example/default"))
        c = c->next;
    end_conn(c, NULL);
    turn();
    assert_int_equal(opened, 4);
    assert_string_equal(conns->queue, "other.example/default"); /* the one that waited */
    assert_int_equal(engine_slots(w.g)->used, 3);
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
    assert_int_equal(queue_named("fixed.example/mta2")->settings.max_smtp_out, 1);
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

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(delivers),
        CASE(groups_recipients),
        CASE(retries_by_the_list_and_expires),
        CASE(queue_backs_off),
        CASE(places_are_counted_and_shared),
        CASE(dns_decides),
        CASE(pauses),
        CASE(innocent_messages_go_on_at_once),
        CASE(refused_beside_others_is_held),
        CASE(connection_lost_puts_back),
        CASE(damaged_message_leaves),
        CASE(deletes),
        CASE(refuses),
        CASE(pools_take_turns),
        CASE(recovers),
        CASE(index_is_small),
    };
    log_set_fd(open("/dev/null", 1));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
