/*
 * Plays scenario files against the engine of a pipe: real queues, limits, groups, modes and pace,
 * with a fake spool, fake connections and a fake clock (tests/unit/engine_fakes.c). One step a line;
 * every file holds scenarios:
 *
 *   scenario NAME            begins one; "# ..." is a comment
 *   config ... end           the lines between are its configuration, besides what BASE says; later:
 *                            a reload
 *   mail RCPT... [vmta=NAME] one message
 *   dns HOST PREF, ...       the resolver answers what it was asked last; or: dns fails
 *   goes N [REPLY]           exactly so many recipients can be sent now, over as many connections as
 *                            the engine opens; each is answered with REPLY ("250 ok")
 *   hosts HOST, ...          that the last goes sent to, in any order
 *   refused N                so many connections are opened, and none is accepted
 *   pass TIME                time passes, in steps of a second at most
 *   clock HH:MM              time passes until it is that late, local time
 *   restart TIME             everything ends and begins again so much later; what is queued stays
 *   queue NAME KEY=VALUE...  state, mode, counted (what limits go by), queued, deferred
 */
#include "../unit/engine_fakes.h"

#include "base/log.h"
#include "base/units.h"
#include "mail/reply_rule.h"
#include "queue/mode.h"

#include <fcntl.h>
#include <stdio.h>
#include <time.h>

#define BASE                                                                          \
    "[pmta]\nhost-name = me.example\n[listener 127.0.0.1:2525]\n[source 127.0.0.1]\n" \
    "always-allow-relaying = yes\n[pipe bulk]\n[smtp-pattern-list test-rules]\n"

enum { MAX_SCENARIOS = 64, MAX_RULES = 16, MAX_MAIL = 64 };

struct scenario {
    char *name, *text; /* its lines */
    const char *file;
    int line;
};

struct mail {
    char *rcpts, *vmta;
    message_id id;
    int64_t received_ms;
};

static struct play {
    const struct scenario *s;
    int line;
    struct buf config;
    struct fake_rule rules[MAX_RULES + 1];
    struct mail mail[MAX_MAIL];
    size_t mail_count;
    char hosts[200]; /* that connections were opened to, each once */
} play;

static void wrong(const char *fmt, ...) PRINTF_LIKE(1, 2);
static void wrong(const char *fmt, ...)
{
    char text[600];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    fail_msg("%s:%d: %s", play.s->file, play.line, text);
}

static int64_t time_of(struct strview text)
{
    int64_t ms = 0;
    if (units_parse_interval(sv_trim(text), &ms) < 0)
        wrong("'%.*s' is no time", SV_ARG(text));
    return ms;
}

/* --- the configuration --- */

/* Replies are matched by the text of the expression, see engine_fakes.c. */
static void read_rules(void)
{
    size_t n = 0;

    for (const struct config_value *v =
             config_section_get(w.cfg, KIND_SMTP_PATTERN_LIST, SV("test-rules"), DIR_REPLY);
         v && v->text && n < MAX_RULES; v = v->next) {
        struct fake_rule *r = &play.rules[n++];
        assert_int_equal(reply_rule_parse(sv_of(v->text), &r->rule, NULL), 0);
        free((char *)(uintptr_t)r->text);
        r->text = xstrndup(r->rule.regex.ptr, r->rule.regex.len);
    }
    fake_rules = play.rules;
}

static void reload(struct strview text)
{
    buf_reset(&play.config);
    buf_printf(&play.config, "%s%.*s", BASE, SV_ARG(text));
    config_unref(w.cfg);
    w.cfg = engine_load_config(buf_data(&play.config));
    engine_configure(w.g, w.cfg);
    read_rules();
    turn();
}

/* --- connections --- */

static void see_host(const char *host)
{
    if (strstr(play.hosts, host))
        return;
    size_t n = strlen(play.hosts);
    snprintf(play.hosts + n, sizeof(play.hosts) - n, "%s%s", n ? ", " : "", host);
}

static struct outcome outcome_of(const char *reply)
{
    unsigned code = 0, a = 0, b = 0, c = 0;

    if (sscanf(reply, "%3u %u.%u.%u", &code, &a, &b, &c) < 1)
        wrong("'%s' is no reply", reply);
    struct outcome o = outcome(code < 300   ? OUTCOME_DELIVERED
                               : code < 500 ? OUTCOME_DEFERRED
                                            : OUTCOME_BOUNCED,
                               code < 300 ? PHASE_END_OF_DATA : PHASE_RCPT, (uint16_t)code, reply);
    o.enhanced.class_digit = (uint8_t)a;
    o.enhanced.subject = (uint16_t)b;
    o.enhanced.detail = (uint16_t)c;
    return o;
}

/* One look at a connection: sends what it gets. Returns the recipients. */
static unsigned step(struct delivery_conn *c, const char *reply)
{
    struct delivery_job job;

    if (!c->established) {
        struct delivery_host host = {.name = c->host};
        see_host(c->host);
        c->established = true;
        c->ops->established(c->owner, c, &host);
    }
    enum delivery_next next = c->ops->next(c->owner, c, &job);
    fake_reads();
    if (next == DELIVERY_JOB) {
        answer(c, &job, outcome_of(reply));
        return job.rcpt_count;
    }
    if (next == DELIVERY_QUIT || c->closing)
        end_conn(c, NULL);
    return 0;
}

static unsigned all_that_may(const char *reply)
{
    unsigned total = 0, idle = 0;

    while (idle < 4) {
        unsigned sent = 0;
        for (struct delivery_conn *c = conns, *next; c; c = next) {
            next = c->next;
            sent += step(c, reply);
        }
        turn();
        total += sent;
        idle = sent ? 0 : idle + 1;
    }
    while (conns)
        end_conn(conns, NULL);
    turn();
    return total;
}

/* --- steps --- */

static void queue_again(struct mail *m)
{
    struct envelope env = {.vmta = sv_of(m->vmta), .received_ms = m->received_ms};
    m->id = queue_envelope(&env, m->rcpts);
}

static void step_mail(struct strview rest)
{
    struct mail *m = &play.mail[play.mail_count++];
    struct buf rcpts = {0};
    struct strview word;

    assert_true(play.mail_count < MAX_MAIL);
    while (sv_split(&rest, ' ', &word))
        if (sv_starts_nocase(word, SV("vmta=")))
            m->vmta = xstrndup(word.ptr + 5, word.len - 5);
        else
            buf_printf(&rcpts, "%s%.*s", buf_len(&rcpts) ? " " : "", SV_ARG(word));
    m->rcpts = buf_take(&rcpts);
    m->received_ms = clock_wall_ms();
    queue_again(m);
}

static void step_goes(struct strview rest)
{
    char reply[300], *end;
    unsigned long count = strtoul(rest.ptr, &end, 10);
    struct strview text = sv_trim(sv(end, (size_t)(rest.ptr + rest.len - end)));

    snprintf(reply, sizeof(reply), "%.*s", text.len ? (int)text.len : 6,
             text.len ? text.ptr : "250 ok");
    play.hosts[0] = '\0';
    unsigned sent = all_that_may(reply);
    if (sent != count)
        wrong("%u went, not %lu", sent, count);
}

static void step_hosts(struct strview rest)
{
    size_t length = rest.len;
    struct strview one;
    char name[100];

    while (sv_split(&rest, ',', &one)) {
        one = sv_trim(one);
        snprintf(name, sizeof(name), "%.*s", SV_ARG(one));
        if (!strstr(play.hosts, name) || strlen(play.hosts) != length)
            wrong("hosts were %s", play.hosts);
    }
}

static void step_refused(struct strview rest)
{
    struct outcome o = outcome(OUTCOME_DEFERRED, PHASE_CONNECT, 0, "connection refused");
    uint64_t count = 0;
    unsigned n = 0;

    sv_to_u64(rest, &count);
    for (; conns; n++) {
        end_conn(conns, &o);
        turn();
    }
    if (n != count)
        wrong("%u connections were tried, not %u", n, (unsigned)count);
}

static void step_pass(int64_t ms)
{
    for (int64_t left = ms, some; left > 0; left -= some) {
        some = MIN_OF(left, ms > 7200000 ? INT64_C(60000) : INT64_C(1000));
        pass(some);
    }
}

static void step_clock(struct strview text)
{
    int hour, minute;
    struct tm tm;
    time_t now = (time_t)(clock_wall_ms() / 1000);

    assert_int_equal(sscanf(text.ptr, "%d:%d", &hour, &minute), 2);
    localtime_r(&now, &tm);
    int wait = (hour - tm.tm_hour) * 3600 + (minute - tm.tm_min) * 60 - tm.tm_sec;
    step_pass((wait + (wait <= 0 ? 86400 : 0)) * INT64_C(1000));
}

static void step_restart(int64_t later_ms)
{
    struct buf actions = {0}, clocks = {0}, pace = {0}, levels = {0};
    void *state = buf_data(&play.config);
    bool there[MAX_MAIL];

    engine_actions_write(w.g, &actions);
    engine_clocks_write(w.g, &clocks);
    while (!pace_write_some(engine_pace(w.g), &pace, 1000))
        continue;
    limits_write(engine_limits(w.g), clock_wall_us(), &levels);
    for (size_t i = 0; i < play.mail_count; i++)
        there[i] = index_find(engine_index(w.g), play.mail[i].id) != NULL;
    int64_t now = clock_wall_ms();
    engine_tear_down(&state);
    engine_set_up(&state);
    read_rules();
    clock_fake_set(now + later_ms);
    engine_pause(w.g, true); /* as while the spool is read */
    for (size_t i = 0; i < play.mail_count; i++)
        if (there[i])
            queue_again(&play.mail[i]);
    limits_read(engine_limits(w.g), buf_view(&levels));
    pace_read(engine_pace(w.g), buf_view(&pace));
    engine_actions_read(w.g, buf_view(&actions), buf_view(&clocks));
    engine_pause(w.g, false);
    buf_free(&actions);
    buf_free(&clocks);
    buf_free(&pace);
    buf_free(&levels);
    turn();
}

static void expect_text(const char *what, const char *have, struct strview want)
{
    if (!sv_eq(sv_of(have), want))
        wrong("%s is '%s', not '%.*s'", what, have, SV_ARG(want));
}

static void step_queue(struct strview rest)
{
    struct strview name, word, key;
    char number[24];

    sv_split(&rest, ' ', &name);
    struct queue *q = engine_find_queue(w.g, name);
    if (!q)
        wrong("there is no queue '%.*s'", SV_ARG(name));
    while (sv_split(&rest, ' ', &word)) {
        sv_split(&word, '=', &key);
        snprintf(number, sizeof(number), "%u",
                 sv_eq(key, SV("queued")) ? q->live : (unsigned)q->deferred.count);
        if (sv_eq(key, SV("state")))
            expect_text("state", queue_state_name(q, false), word);
        else if (sv_eq(key, SV("mode")))
            expect_text("mode", mode_name(q->mode), word);
        else if (sv_eq(key, SV("counted")))
            expect_text("counted", queue_identity(q), word);
        else if (sv_eq(key, SV("queued")) || sv_eq(key, SV("deferred")))
            expect_text(sv_eq(key, SV("queued")) ? "queued" : "deferred", number, word);
        else
            wrong("unknown: %.*s", SV_ARG(key));
    }
}

static void one_step(struct strview line)
{
    struct strview verb = line, rest = sv(NULL, 0);
    ptrdiff_t blank = sv_find(line, ' ');

    if (blank >= 0) {
        verb = sv(line.ptr, (size_t)blank);
        rest = sv_trim(sv(line.ptr + blank, line.len - (size_t)blank));
    }
    if (sv_eq(verb, SV("mail")))
        step_mail(rest);
    else if (sv_eq(verb, SV("dns")) && sv_eq(rest, SV("fails")))
        play_dns(ROUTE_TEMPORARY, "no answer");
    else if (sv_eq(verb, SV("dns"))) {
        char hosts[300];
        snprintf(hosts, sizeof(hosts), "%.*s", SV_ARG(rest));
        play_mx(hosts);
    } else if (sv_eq(verb, SV("goes")))
        step_goes(rest);
    else if (sv_eq(verb, SV("hosts")))
        step_hosts(rest);
    else if (sv_eq(verb, SV("refused")))
        step_refused(rest);
    else if (sv_eq(verb, SV("pass")))
        step_pass(time_of(rest));
    else if (sv_eq(verb, SV("clock")))
        step_clock(rest);
    else if (sv_eq(verb, SV("restart")))
        step_restart(time_of(rest));
    else if (sv_eq(verb, SV("queue")))
        step_queue(rest);
    else
        wrong("unknown step '%.*s'", SV_ARG(verb));
}

/* --- files --- */

static void play_scenario(void **state)
{
    struct buf text = {0};
    struct strview rest, line;
    bool in_config = false, set_up = false;

    play.s = *state;
    play.line = play.s->line;
    rest = sv_of(play.s->text);
    while (sv_split(&rest, '\n', &line)) {
        play.line++;
        line = sv_trim(line);
        if (in_config && !sv_eq(line, SV("end"))) {
            buf_printf(&text, "%.*s\n", SV_ARG(line));
        } else if (in_config) {
            in_config = false;
            if (set_up) {
                reload(buf_view(&text));
            } else {
                void *config;
                buf_printf(&play.config, "%s%s", BASE, buf_data(&text));
                config = buf_data(&play.config);
                engine_set_up(&config);
                read_rules();
                set_up = true;
            }
        } else if (sv_eq(line, SV("config"))) {
            in_config = true;
            buf_reset(&text);
        } else if (line.len && line.ptr[0] != '#') {
            one_step(line);
        }
    }
    buf_free(&text);
}

static int end_scenario(void **state)
{
    void *config = buf_data(&play.config);
    (void)state;

    engine_tear_down(&config);
    fake_rules = NULL;
    for (size_t i = 0; i < MAX_RULES; i++)
        free((char *)(uintptr_t)play.rules[i].text);
    for (size_t i = 0; i < play.mail_count; i++) {
        free(play.mail[i].rcpts);
        free(play.mail[i].vmta);
    }
    buf_free(&play.config);
    memset(&play, 0, sizeof(play));
    return 0;
}

static struct scenario scenarios[MAX_SCENARIOS];
static size_t scenario_count;

/* Cuts a file into scenarios. */
static void read_file(const char *path)
{
    FILE *f = fopen(path, "r");
    char line[1000];
    struct buf text = {0};
    struct scenario *s = NULL;

    if (!f) {
        perror(path);
        exit(2);
    }
    for (int n = 1; fgets(line, sizeof(line), f); n++) {
        if (strncmp(line, "scenario ", 9) == 0) {
            if (s)
                s->text = buf_take(&text);
            BUG_ON(scenario_count == MAX_SCENARIOS);
            s = &scenarios[scenario_count++];
            *s = (struct scenario){xstrndup(line + 9, strcspn(line + 9, "\n")), NULL, path, n};
        } else if (s) {
            buf_append_str(&text, line);
        }
    }
    if (s)
        s->text = buf_take(&text);
    fclose(f);
}

int main(int argc, char **argv)
{
    struct CMUnitTest tests[MAX_SCENARIOS] = {{0}};

    setenv("TZ", "UTC", 1); /* midnight is where the scenarios think that it is */
    for (int i = 1; i < argc; i++)
        read_file(argv[i]);
    for (size_t i = 0; i < scenario_count; i++)
        tests[i] = (struct CMUnitTest){scenarios[i].name, play_scenario, NULL, end_scenario,
                                       &scenarios[i]};
    log_set_fd(open("/dev/null", O_WRONLY));
    int failed = _cmocka_run_group_tests("engine", tests, scenario_count, NULL, NULL);
    for (size_t i = 0; i < scenario_count; i++) {
        free(scenarios[i].name);
        free(scenarios[i].text);
    }
    return scenario_count ? failed : 2;
}
