/*
 * Plays scenario files against the SMTP client engine with a fake clock, each with the server's
 * bytes whole and in pieces of 1, 2, 3 and 7. One step a line; every file holds scenarios:
 *
 *   scenario NAME              begins one; "# ..." is a comment
 *   param KEY=VALUE ...        pipelining, starttls, require-tls, requiretls, proven (0/1), max; before the first
 *                              other step
 *   job ID KEY=VALUE ...       next() will give it: rcpts, 8bit, utf8, reqtls, dsn, dots, file, open (no
 * CRLF at its end), bad (position of an address with a CR) empty wait|idle|quit       what next()
 * says when there is no job > LINE                     the client sends this line, in order;
 * nothing may be left over when the server speaks or time passes < LINE                     the
 * server sends it; lines that follow each other are one packet
 *   <! LINE                    the same, in one piece in every replay
 *   = EVENT                    the next event begins with this text
 *   tls ok|fail, eof, lost, time MS, wakeup, quit, fail TEXT, content done|fail, release
 */
#include <stdio.h>

#include "base/clock.h"
#include "pipe/delivery/smtp_client.h"

enum { MAX_JOBS = 16, MAX_RCPTS = 8 };

struct play_job {
    char id[8];
    struct delivery_job job;
    struct envelope env;
    struct envelope_rcpt rcpts[MAX_RCPTS];
    uint32_t index[MAX_RCPTS];
    char address[MAX_RCPTS][32];
    char content[64];
    int told[MAX_RCPTS];
    int done;
    bool given;
};

struct play {
    struct smtp_client_params params;
    struct smtp_client client;
    struct play_job jobs[MAX_JOBS];
    size_t job_count;
    size_t next;
    enum delivery_next empty;
    struct buf out;    /* what the client wrote, not expected yet */
    struct buf events; /* lines, not expected yet */
    struct buf packet; /* of the server, not sent yet */
    bool whole;
    bool open;
    bool ended;
    struct smtp_job *held;
    size_t chunk;
    const char *file;
    int line;
    const char *name;
};

static int failures, played;

static void complain(struct play *p, const char *what, const char *seen)
{
    fprintf(stderr, "%s:%d: %s (pieces of %zu): %s; have \"%s\"\n", p->file, p->line, p->name,
            p->chunk, what, seen);
    failures++;
}

static void op_write(void *owner, const void *data, size_t len)
{
    struct play *p = owner;
    buf_append(&p->out, data, len);
}

static bool op_content(void *owner, struct smtp_job *j)
{
    struct play *p = owner;
    if (j->job.content_fd >= 0) {
        buf_append_str(&p->out, "[file]\r\n");
        return false;
    }
    buf_append_sv(&p->out, j->job.content);
    if (!p->held) {
        smtp_job_hold(j);
        p->held = j;
    }
    return true;
}

static void op_start_tls(void *owner)
{
    struct play *p = owner;
    buf_append_str(&p->events, "starttls\n");
}

static enum delivery_next op_next(void *owner, struct delivery_job *ret)
{
    struct play *p = owner;
    if (p->next == p->job_count)
        return p->empty;
    struct play_job *j = &p->jobs[p->next++];
    j->given = true;
    *ret = j->job;
    return DELIVERY_JOB;
}

static void op_rcpt_done(void *owner, const struct delivery_job *job, uint32_t position,
                         const struct outcome *o)
{
    struct play *p = owner;
    struct play_job *j = job->cookie;
    char status[16];

    if (j->told[position]++ || j->done)
        complain(p, "a recipient was told twice", j->id);
    buf_printf(&p->events, "rcpt %s %u %s %s %s%s %.*s\n", j->id, position,
               outcome_class_name(o->class_), outcome_status(o, status),
               outcome_phase_name(o->phase), o->retry_hint_ms ? " soon" : "", SV_ARG(o->text));
}

static void op_job_done(void *owner, const struct delivery_job *job)
{
    struct play *p = owner;
    struct play_job *j = job->cookie;

    for (uint32_t i = 0; i < job->rcpt_count; i++)
        if (j->told[i] != 1)
            complain(p, "job_done before all were told", j->id);
    if (j->done++)
        complain(p, "job_done twice", j->id);
    buf_printf(&p->events, "done %s\n", j->id);
}

static void op_established(void *owner)
{
    struct play *p = owner;
    buf_append_str(&p->events, "established\n");
}

static void op_ended(void *owner, const struct outcome *o, bool polite)
{
    struct play *p = owner;
    (void)polite;
    if (p->ended)
        complain(p, "ended twice", "");
    p->ended = true;
    if (o)
        buf_printf(&p->events, "ended %s %s %.*s\n", outcome_class_name(o->class_),
                   outcome_phase_name(o->phase), SV_ARG(o->text));
    else
        buf_append_str(&p->events, "ended in order\n");
}

static const struct smtp_client_ops ops = {op_write,     op_content,  op_start_tls,   op_next,
                                           op_rcpt_done, op_job_done, op_established, op_ended};

/* The held content is released late, in its own step or when nothing else holds the end up. */
static void unhold(struct play *p)
{
    struct smtp_job *j = p->held;
    p->held = NULL;
    if (j)
        smtp_job_unhold(j);
    if (p->client.again)
        smtp_client_step(&p->client);
}

static void begin(struct play *p)
{
    if (p->open)
        return;
    p->open = true;
    clock_fake_set(1000000);
    p->params.connect_start_ms = clock_mono_ms();
    smtp_client_init(&p->client, &p->params, &ops, p);
}

static void quiet(struct play *p)
{
    if (buf_len(&p->out))
        complain(p, "the client said more than was expected", buf_data(&p->out));
    if (buf_len(&p->events))
        complain(p, "more happened than was expected", buf_data(&p->events));
    buf_reset(&p->out);
    buf_reset(&p->events);
}

static void send_packet(struct play *p)
{
    size_t len = buf_len(&p->packet);
    const char *data = buf_data(&p->packet);

    for (size_t at = 0, n; at < len; at += n) {
        n = p->whole ? len : MIN_OF(p->chunk, len - at);
        smtp_client_input(&p->client, data + at, n);
        unhold(p);
    }
    buf_reset(&p->packet);
    p->whole = false;
}

static void expect(struct play *p, struct buf *from, const char *text, const char *end)
{
    const char *have = buf_data(from), *stop = strstr(have, end);
    size_t len = strlen(text);

    if (!stop || strncmp(have, text, len) != 0 || (from == &p->out && have + len != stop)) {
        complain(p, text, have);
        buf_reset(from);
        return;
    }
    buf_consume(from, (size_t)(stop - have) + strlen(end));
}

static int option(const char *text, const char *key)
{
    const char *at = strstr(text, key);
    return at ? atoi(at + strlen(key)) : -1;
}

static void add_job(struct play *p, const char *text)
{
    struct play_job *j = &p->jobs[p->job_count++];
    int rcpts = option(text, " rcpts="), bad = option(text, " bad=");

    sscanf(text, "%7s", j->id);
    const char *end = option(text, " open=") > 0 ? "" : "\r\n";
    snprintf(j->content, sizeof(j->content), "Subject: %.7s%s", text[0] ? (char[2]){text[0]} : "",
             end);
    j->env = (struct envelope){.sender = SV("s@a.example"),
                               .rcpts = j->rcpts,
                               .rcpt_count = rcpts > 0 ? (uint32_t)rcpts : 1};
    if (option(text, " 8bit=") > 0)
        j->env.flags |= ENVELOPE_8BIT;
    if (option(text, " utf8=") > 0)
        j->env.flags |= ENVELOPE_SMTPUTF8;
    if (option(text, " reqtls=") > 0)
        j->env.flags |= ENVELOPE_REQUIRETLS;
    if (option(text, " dots=") > 0)
        j->env.stuffed_dots = (uint32_t)option(text, " dots=");
    for (uint32_t i = 0; i < j->env.rcpt_count; i++) {
        snprintf(j->address[i], sizeof(j->address[i]), "r%u%s@b.example", i,
                 (int)i == bad ? "\r\nDATA" : "");
        j->index[i] = i;
        j->rcpts[i].address = sv_of(j->address[i]);
        if (option(text, " dsn=") > 0) {
            j->rcpts[i].notify = NOTIFY_SUCCESS | NOTIFY_DELAY;
            j->rcpts[i].orcpt = SV("rfc822;o@b.example");
            j->env.envid = SV("E1");
            j->env.ret = RET_HDRS;
        }
    }
    j->job = (struct delivery_job){.env = &j->env,
                                   .rcpts = j->index,
                                   .rcpt_count = j->env.rcpt_count,
                                   .content = sv_of(j->content),
                                   .content_fd = option(text, " file=") > 0 ? 0 : -1,
                                   .content_bytes = 100,
                                   .id = j->id,
                                   .cookie = j};
}

static bool starts(const char *line, const char *word, const char **rest)
{
    size_t n = strlen(word);
    if (strncmp(line, word, n) != 0)
        return false;
    *rest = line + n;
    return true;
}

static void setup_step(struct play *p, const char *line)
{
    const char *rest;

    if (starts(line, "param", &rest)) {
        if (option(rest, " pipelining=") == 0)
            p->params.use_pipelining = false;
        if (option(rest, " starttls=") == 0)
            p->params.use_starttls = false;
        if (option(rest, " require-tls=") == 1)
            p->params.require_tls = true;
        if (option(rest, " proven=") == 1)
            p->params.proven = true;
        if (option(rest, " requiretls=") == 1)
            p->params.requiretls = p->params.require_tls = true;
        if (option(rest, " max=") > 0)
            p->params.max_messages = (uint32_t)option(rest, " max=");
    } else if (starts(line, "job ", &rest)) {
        add_job(p, rest);
    } else if (starts(line, "empty ", &rest)) {
        p->empty = rest[0] == 'w' ? DELIVERY_WAIT : rest[0] == 'q' ? DELIVERY_QUIT : DELIVERY_IDLE;
    } else {
        complain(p, "no such step", line);
    }
}

static void event_step(struct play *p, const char *line)
{
    const char *rest;

    begin(p);
    quiet(p);
    if (starts(line, "tls ", &rest))
        smtp_client_tls(&p->client, rest[0] == 'o', rest[0] == 'o' ? "TLSv1.3/X" : "bad record");
    else if (starts(line, "time ", &rest)) {
        clock_fake_advance(atoi(rest));
        if (smtp_client_deadline(&p->client) <= clock_mono_ms())
            smtp_client_timeout(&p->client);
    } else if (starts(line, "eof", &rest))
        smtp_client_eof(&p->client, 0);
    else if (starts(line, "lost", &rest))
        smtp_client_eof(&p->client, ERR_CLOSED);
    else if (starts(line, "wakeup", &rest))
        smtp_client_wakeup(&p->client);
    else if (starts(line, "quit", &rest))
        smtp_client_quit(&p->client);
    else if (starts(line, "fail ", &rest))
        smtp_client_fail(&p->client, "%s", rest);
    else if (starts(line, "content d", &rest))
        smtp_client_content_done(&p->client, true);
    else if (starts(line, "content f", &rest))
        smtp_client_content_failed(&p->client, ERR_CORRUPT);
    else
        setup_step(p, line);
    unhold(p);
}

static void step(struct play *p, const char *line)
{
    const char *rest;
    bool server = starts(line, "< ", &rest) || starts(line, "<! ", &rest);

    if (server) {
        begin(p);
        if (!buf_len(&p->packet))
            quiet(p);
        p->whole |= line[1] == '!';
        buf_printf(&p->packet, "%s\r\n", rest);
        return;
    }
    if (buf_len(&p->packet))
        send_packet(p);
    if (starts(line, "> ", &rest))
        expect(p, &p->out, rest, "\r\n");
    else if (starts(line, "= ", &rest))
        expect(p, &p->events, rest, "\n");
    else if (starts(line, "param", &rest) || starts(line, "job ", &rest) ||
             starts(line, "empty ", &rest))
        setup_step(p, line);
    else
        event_step(p, line);
}

static void finish(struct play *p)
{
    if (!p->open)
        return;
    if (buf_len(&p->packet))
        send_packet(p);
    quiet(p);
    if (!p->ended)
        smtp_client_fail(&p->client, "end of scenario");
    unhold(p);
    for (size_t i = 0; i < p->job_count; i++)
        if (p->jobs[i].given && !p->jobs[i].done)
            complain(p, "a job never ended", p->jobs[i].id);
    smtp_client_fini(&p->client);
    buf_free(&p->out);
    buf_free(&p->events);
    buf_free(&p->packet);
    played++;
}

static void reset(struct play *p, const char *file, const char *name, size_t chunk)
{
    *p = (struct play){.file = file, .name = name, .chunk = chunk, .empty = DELIVERY_IDLE};
    p->params = (struct smtp_client_params){.queue = "b.example/v",
                                            .helo_name = "me.example",
                                            .peer_host = "mx.b.example",
                                            .peer_ip = "192.0.2.1",
                                            .greeting_timeout_ms = 30000,
                                            .command_timeout_ms = 60000,
                                            .data_timeout_ms = 600000,
                                            .idle_timeout_ms = 5000,
                                            .use_starttls = true,
                                            .use_pipelining = true};
}

static void play_file(const char *file, size_t chunk)
{
    static struct play p;
    char line[512], name[512] = "";
    FILE *f = fopen(file, "r");
    int number = 0;

    reset(&p, file, name, chunk);
    if (!f) {
        complain(&p, "cannot be opened", file);
        return;
    }
    while (fgets(line, sizeof(line), f)) {
        const char *rest;
        line[strcspn(line, "\n")] = '\0';
        number++;
        if (starts(line, "scenario ", &rest)) {
            finish(&p);
            snprintf(name, sizeof(name), "%s", rest);
            reset(&p, file, name, chunk);
        }
        p.line = number;
        if (line[0] && line[0] != '#' && !starts(line, "scenario ", &rest))
            step(&p, line);
    }
    finish(&p);
    fclose(f);
}

int main(int argc, char **argv)
{
    static const size_t chunks[] = {65536, 1, 2, 3, 7};

    for (int i = 1; i < argc; i++)
        for (size_t k = 0; k < ARRAY_LEN(chunks); k++)
            play_file(argv[i], chunks[k]);
    printf("%d scenarios played, %d failures\n", played, failures);
    return failures || played == 0;
}
