/*
 * The world around a queue engine in tests; see engine_fakes.h.
 */
#include "engine_fakes.h"

#include <stdio.h>
#include <unistd.h>

/* --- fake spool --- */

struct fake_spool fs;

void spool_journal(struct spool *s, const struct spool_event *ev)
{
    (void)s;
    fs.states[ev->state]++;
    fs.last = *ev;
    snprintf(fs.last_text, sizeof(fs.last_text), "%.*s", SV_ARG(ev->text));
}

void spool_accounting_end(struct spool *s, int fd, void (*ended)(void *arg, int fd), void *arg)
{
    (void)s;
    ended(arg, fd);
}

void spool_accounting(struct spool *s, int fd, struct strview bytes)
{
    (void)s, (void)fd, (void)bytes;
}

void spool_read(struct spool *s, message_id id, const struct spool_place *place, size_t load_max,
                struct spool_read *r)
{
    (void)s, (void)place, (void)load_max;
    struct spool_read **list = r->envelope_only ? &fs.envelopes_wanted : &fs.reads;
    r->id = id;
    r->next = *list;
    *list = r;
}

static void answer_reads(struct spool_read **list)
{
    for (struct spool_read *r; (r = *list);) {
        *list = r->next;
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

void fake_reads(void)
{
    answer_reads(&fs.reads);
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

struct delivery_conn *conns;
unsigned opened;

static void describe_need(struct delivery_conn *c, const struct delivery_host *h)
{
    static const char *const checks[] = {"none", "roots", "dane"};
    const struct tls_need *n = h->tls;
    size_t at = strlen(c->tls);

    if (!n) {
        snprintf(c->tls + at, sizeof(c->tls) - at, "%s -;", h->name);
        return;
    }
    snprintf(c->tls + at, sizeof(c->tls) - at, "%s %s/%s%s%s", h->name, n->policy, checks[n->check],
             n->enforced ? "!" : "", n->required ? "+" : "");
    for (size_t i = 0; i < n->name_count; i++) {
        at = strlen(c->tls);
        snprintf(c->tls + at, sizeof(c->tls) - at, " %s", n->names[i]);
    }
    at = strlen(c->tls);
    snprintf(c->tls + at, sizeof(c->tls) - at, "%s;", n->known ? " known" : "");
}

struct delivery_conn *delivery_open(struct delivery *d, const struct delivery_params *params,
                                    const struct delivery_ops *ops, void *owner)
{
    struct delivery_conn *c = xcalloc(1, sizeof(*c));
    (void)d;
    c->ops = ops;
    c->owner = owner;
    snprintf(c->queue, sizeof(c->queue), "%s", params->queue);
    snprintf(c->host, sizeof(c->host), "%s", params->hosts[0].name);
    for (size_t i = 0; i < params->host_count; i++)
        describe_need(c, &params->hosts[i]);
    if (params->source)
        uv_ip_name(params->source, c->source, sizeof(c->source));
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

void end_conn(struct delivery_conn *c, const struct outcome *o)
{
    struct delivery_conn **at = &conns;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    c->ops->closed(c->owner, c, o);
    free(c);
}

struct outcome outcome(enum outcome_class class_, enum outcome_phase phase, uint16_t code,
                       const char *text)
{
    return (struct outcome){
        .class_ = class_, .phase = phase, .code = code, .text = sv_of(text), .tls = ""};
}

/* The newest connection establishes. */
struct delivery_conn *establish(void)
{
    struct delivery_host host = {.name = "mx"};
    assert_non_null(conns);
    conns->ops->established(conns->owner, conns, &host);
    return conns;
}

/* Pulls a job; JOB is expected. */
struct delivery_job pull(struct delivery_conn *c)
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

void answer(struct delivery_conn *c, const struct delivery_job *job, struct outcome o)
{
    for (uint32_t i = 0; i < job->rcpt_count; i++)
        c->ops->rcpt_done(c->owner, c, job, i, &o);
    c->ops->job_done(c->owner, c, job);
}

enum delivery_next ask(struct delivery_conn *c)
{
    struct delivery_job job;
    return c->ops->next(c->owner, c, &job);
}

/* --- fake reply rules --- */

const struct fake_rule *fake_rules;
static char no_rules;

struct rules *rules_new(struct config *cfg)
{
    (void)cfg;
    return (struct rules *)&no_rules;
}

void rules_free(struct rules *r)
{
    (void)r;
}

bool rules_match(const struct rules *r, struct strview list, const struct outcome *o,
                 struct rule_match *ret)
{
    char text[500];

    assert_ptr_equal(r, &no_rules);
    assert_sv_equal(list, "test-rules");
    snprintf(text, sizeof(text), "%.*s", SV_ARG(o->text));
    for (const struct fake_rule *f = fake_rules; f && f->text; f++) {
        if (!strstr(text, f->text))
            continue;
        *ret = (struct rule_match){&f->rule, "test-rules", f->text, "a.conf", 7};
        return true;
    }
    return false;
}

bool reply_is_throttling(const struct outcome *o)
{
    return o->code == 421 && o->enhanced.subject == 7;
}

bool reply_is_greylisting(const struct outcome *o)
{
    char text[500];
    snprintf(text, sizeof(text), "%.*s", SV_ARG(o->text));
    return strstr(text, "reylist") != NULL;
}

/* --- the world around the engine --- */

struct world w;

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

struct config *engine_load_config(const char *text)
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

const char *const engine_base_config = "[pmta]\nhost-name = me.example\n"
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

void turn(void)
{
    for (int i = 0; i < 10; i++) {
        uv_run(&w.loop, UV_RUN_NOWAIT);
        answer_reads(&fs.envelopes_wanted);
    }
}

static void start_world(const char *config)
{
    static const struct ipc_edge_ops ops = {.frame = on_request, .down = on_down};
    int pair[2];

    memset(&fs, 0, sizeof(fs));
    memset(&w, 0, sizeof(w));
    opened = 0;
    fake_rules = NULL;
    clock_fake_set(NOW_MS);
    uv_loop_init(&w.loop);
    w.cfg = engine_load_config(config);
    w.routes = routes_new(&w.loop);
    assert_int_equal(ipc_pair(pair), 0);
    routes_set_edge(w.routes, pair[0]);
    w.resolver = ipc_edge_open(&w.loop, pair[1], ROLE_RESOLVER, ROLE_PIPE, &ops, NULL);
    assert_int_equal(report_new(&w.report, "bulk", -1, NULL), 0);
    struct mail_token_key key;
    assert_int_equal(mail_token_key_derive(SV("the secret of this installation."), &key, NULL), 0);
    w.verp = verp_new("bulk", NULL, NULL);
    verp_set_key(w.verp, &key);
    w.g = engine_new(&(struct engine_parts){
        .loop = &w.loop, .pipe = "bulk", .routes = w.routes, .verp = w.verp});
    engine_set_report(w.g, w.report);
    engine_configure(w.g, w.cfg);
    engine_start(w.g);
}

int engine_set_up(void **state)
{
    start_world(*state ? *state : engine_base_config);
    return 0;
}

static void on_drained(void *arg)
{
    *(bool *)arg = true;
}

int engine_tear_down(void **state)
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
    verp_free(w.verp);
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
message_id queue_mail(const char *rcpts_text, const char *vmta)
{
    struct envelope env = {.job = SV("job-7"), .vmta = sv_of(vmta)};
    return queue_envelope(&env, rcpts_text);
}

message_id queue_envelope(struct envelope *env, const char *rcpts_text)
{
    struct envelope_rcpt rcpts[16];
    struct strview rest = sv_of(rcpts_text), one;
    message_id id = ++w.last_id;

    if (!env->received_ms)
        env->received_ms = clock_wall_ms();
    if (!env->sender.ptr)
        env->sender = SV("from@sender.example");
    env->content_bytes = 21;
    env->rcpts = rcpts;
    env->rcpt_count = 0;
    while (sv_split(&rest, ' ', &one))
        rcpts[env->rcpt_count++] = (struct envelope_rcpt){.address = one};
    choose_vmta(w.g, env);
    envelope_encode(&fs.envelopes[id], env);
    engine_accept(w.g, id, &(struct spool_place){1, 0, 100}, env, NULL);
    turn();
    return id;
}

static void reply_with(enum route_status status, const char *text, struct strview hosts,
                       struct strview policy)
{
    turn();
    assert_true(w.token != 0);
    ipc_send(w.resolver, route_reply,
             (&(struct ipc_route_reply){.token = w.token,
                                        .status = (uint8_t)status,
                                        .ttl_s = 300,
                                        .text = sv_of(text),
                                        .hosts = hosts,
                                        .policy = policy}));
    w.token = 0;
    turn();
}

static void reply_dns(enum route_status status, const char *text, struct strview hosts)
{
    reply_with(status, text, hosts, sv(NULL, 0));
}

void play_mx(const char *text)
{
    play_policy(text, NULL);
}

void play_policy(const char *text, const struct tls_policy *policy)
{
    struct buf bytes = {0};
    static const unsigned char four[4] = {127, 0, 0, 7}, six[16] = {[15] = 1};
    struct strview rest = sv_of(text), one;
    struct buf hosts = {0};

    while (sv_split(&rest, ',', &one)) {
        uint64_t preference = 0;
        one = sv_trim(one);
        ptrdiff_t blank = sv_find(one, ' ');
        assert_true(sv_to_u64(sv(one.ptr + blank + 1, one.len - (size_t)blank - 1), &preference));
        bool is_six = sv_starts_nocase(one, SV("six"));
        route_hosts_append(&hosts, (uint16_t)preference, is_six ? AF_INET6 : AF_INET,
                           is_six ? six : four, sv(one.ptr, (size_t)blank));
    }
    if (policy)
        tls_policy_encode(&bytes, policy);
    reply_with(ROUTE_OK, "", buf_view(&hosts), buf_view(&bytes));
    buf_free(&bytes);
    buf_free(&hosts);
}

void play_dns(enum route_status status, const char *text)
{
    if (status == ROUTE_OK)
        play_mx("mx.dns.example 10");
    else
        reply_dns(status, text, sv(NULL, 0));
}

struct queue *queue_named(const char *name)
{
    struct queue *q = engine_find_queue(w.g, sv_of(name));
    assert_non_null(q);
    return q;
}

uint64_t live(void)
{
    return engine_index(w.g)->live;
}

void pass(int64_t ms)
{
    clock_fake_advance(ms);
    scheduler_tick(w.g);
    turn();
}
