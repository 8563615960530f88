/*
 * session: see session.h. The server feeds it what it read; commands run one after the other until
 * input ends, a reply is to be late (SESSION_WAIT), or the connection is to end. The happy path of
 * a pipelined message is one feed with MAIL, RCPT and DATA, one with the content, no allocation
 * once the bufs have grown. A peer can grow a command line to COMMAND_MAX, a message to --max-size
 * (more is counted, not kept), recipients to --max-recipients. The session owns its bufs.
 */
#include "sink/session.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#define COMMAND_MAX 4096u

void session_init(struct session *s, struct sink *sink, uint64_t number)
{
    memset(s, 0, sizeof(*s));
    s->sink = sink;
    s->rng = rng_make(sink->options.seed, number);
    s->content.id.name = sv_of(sink->options.id_header);
    s->content.sent.name = sv_of(sink->options.latency_header);
    s->content.save = sink->options.save ? &s->saved : NULL;
}

void session_fini(struct session *s)
{
    buf_free(&s->out);
    buf_free(&s->pending);
    buf_free(&s->sender);
    buf_free(&s->recipients);
    buf_free(&s->saved);
    content_fini(&s->content);
}

size_t session_sendable(const struct session *s)
{
    return s->next == SESSION_WAIT ? MIN_OF(s->sendable, buf_len(&s->out)) : buf_len(&s->out);
}

/* text begins with an enhanced code when code is not 3xx; it is left out where not offered. */
static void reply(struct session *s, int code, const char *text)
{
    char digits[5] = {(char)('0' + code / 100), (char)('0' + code / 10 % 10),
                      (char)('0' + code % 10), ' ', 0};
    if (s->sink->options.no_enhanced && text[0] && text[1] == '.' && ascii_is_digit(text[0])) {
        const char *space = strchr(text, ' ');
        text = space ? space + 1 : text;
    }
    buf_append(&s->out, digits, 4);
    buf_append_str(&s->out, text);
    buf_append(&s->out, "\r\n", 2);
}

static void refuse(struct session *s, enum policy_phase phase, int code, const char *text)
{
    text_codes_add(&s->sink->tally.refused[phase], code);
    reply(s, code, text);
}

/* Draws the delay, which begins, and the fault of this phase, which is returned or NULL. */
static const struct fault *draw(struct session *s, enum policy_phase phase,
                                const struct policy *personality)
{
    struct policies *p = &s->sink->options.policies;
    int64_t delay = policies_delay_ms(p, personality, phase, &s->rng);
    const struct fault *f = policies_fault(p, personality, phase, &s->rng);
    if (delay > 0) {
        s->next = SESSION_WAIT;
        s->wait_ms = delay;
        s->sendable = buf_len(&s->out);
    }
    if (f)
        s->sink->tally.faults++;
    return f;
}

/* Lets a fault strike instead of the answer; "lost" ends the session like a drop. */
static void strike(struct session *s, enum policy_phase phase, const struct fault *f)
{
    if (f->kind == FAULT_REPLY)
        refuse(s, phase, f->code, f->text);
    if (f->kind == FAULT_HANG)
        s->state = SESSION_HUNG;
    if (f->kind == FAULT_DROP || f->kind == FAULT_LOST || f->code == 421)
        s->state = SESSION_ENDED;
}

/* True when a fault has answered the phase. */
static bool misbehave(struct session *s, enum policy_phase phase, const struct policy *personality)
{
    const struct fault *f = draw(s, phase, personality);
    if (f)
        strike(s, phase, f);
    return f != NULL;
}

/* True when the hidden rate has answered the phase; 421 ends the session. */
static bool is_above_rate(struct session *s, enum policy_phase phase)
{
    const struct hidden *h = &s->sink->options.hidden;
    if (!h->rate.count || h->phase != phase ||
        hidden_take(h, &s->sink->peers, s->peer, clock_wall_us()))
        return false;
    s->sink->tally.limited++;
    refuse(s, phase, h->code, h->text);
    if (h->code == 421)
        s->state = SESSION_ENDED;
    return true;
}

static void reset_transaction(struct session *s)
{
    s->in_mail = s->chunking = false;
    s->recipient_count = 0;
    s->personality = NULL;
    buf_reset(&s->sender);
    buf_reset(&s->recipients);
}

/* 421 ends the session; after another refusal the client may still say QUIT (RFC 5321 section 3.1).
 */
void session_start(struct session *s)
{
    s->state = SESSION_COMMAND;
    if (misbehave(s, PHASE_CONNECT, NULL))
        s->refusing = true;
    else
        buf_printf(&s->out, "220 %s ESMTP pmta-sink\r\n", s->sink->options.host_name);
    s->greeting_due = s->next == SESSION_WAIT;
    if (s->state == SESSION_ENDED && s->next == SESSION_READ)
        s->next = SESSION_CLOSE;
}

void session_early(struct session *s)
{
    s->sink->tally.early++;
    if (!s->sink->options.strict || s->state == SESSION_HUNG)
        return;
    buf_reset(&s->out);
    refuse(s, PHASE_CONNECT, 554, "5.5.0 Wait for the greeting");
    s->state = SESSION_ENDED;
    s->next = SESSION_CLOSE;
}

static void cmd_helo(struct session *s, struct strview arg, bool extended)
{
    const struct sink_options *o = &s->sink->options;
    if (arg.len == 0) {
        refuse(s, PHASE_HELO, 501, "5.5.4 Expected a host name");
        return;
    }
    if (misbehave(s, PHASE_HELO, NULL))
        return;
    reset_transaction(s);
    s->greeted = true;
    if (!extended) {
        buf_printf(&s->out, "250 %s\r\n", o->host_name);
        return;
    }
    buf_printf(&s->out, "250-%s\r\n%s%s%s%s%s%s", o->host_name,
               o->no_pipelining ? "" : "250-PIPELINING\r\n",
               o->no_8bitmime ? "" : "250-8BITMIME\r\n", o->no_smtputf8 ? "" : "250-SMTPUTF8\r\n",
               o->no_dsn ? "" : "250-DSN\r\n", o->no_chunking ? "" : "250-CHUNKING\r\n",
               o->no_enhanced ? "" : "250-ENHANCEDSTATUSCODES\r\n");
    if (!o->no_size)
        buf_printf(&s->out, "250-SIZE %" PRIu64 "\r\n", o->max_size);
    buf_append_str(&s->out, "250 HELP\r\n");
}

/* "FROM:<a@b> parameters": the address without brackets; the rest in *parameters. */
static bool parse_path(struct strview arg, struct strview keyword, struct strview *path,
                       struct strview *parameters)
{
    if (!sv_starts_nocase(arg, keyword))
        return false;
    arg = sv_trim(sv(arg.ptr + keyword.len, arg.len - keyword.len));
    ptrdiff_t end = -1;
    bool quoted = false;
    for (size_t i = 0; i < arg.len && end < 0; i++) {
        if (arg.ptr[i] == '"')
            quoted = !quoted;
        else if (arg.ptr[i] == '\\' && quoted)
            i++;
        else if (arg.ptr[i] == '>' && !quoted)
            end = (ptrdiff_t)i;
    }
    if (arg.len < 2 || arg.ptr[0] != '<' || end < 0)
        return false;
    *path = sv(arg.ptr + 1, (size_t)end - 1);
    *parameters = sv_trim(sv(arg.ptr + end + 1, arg.len - (size_t)end - 1));
    return memchr(path->ptr, '\0', path->len) == NULL;
}

/* A refusal for parameters that were not offered, or NULL. */
static const char *check_parameters(const struct session *s, struct strview rest, bool mail)
{
    const struct sink_options *o = &s->sink->options;
    struct strview one;
    while (rest.len && sv_split(&rest, ' ', &one)) {
        ptrdiff_t equals = sv_find(one, '=');
        struct strview key = equals >= 0 ? sv(one.ptr, (size_t)equals) : one;
        uint64_t size = 0;
        if (one.len == 0)
            continue;
        if (mail && !o->no_size && equals >= 0 && sv_eq_nocase(key, SV("SIZE"))) {
            if (!sv_to_u64(sv(one.ptr + equals + 1, one.len - (size_t)equals - 1), &size))
                return "5.5.4 SIZE is not a number";
            if (size > o->max_size)
                return "5.3.4 Message is too big";
        } else if (!((mail && !o->no_8bitmime && sv_eq_nocase(key, SV("BODY"))) ||
                     (mail && !o->no_smtputf8 && sv_eq_nocase(key, SV("SMTPUTF8"))) ||
                     (mail && !o->no_dsn &&
                      (sv_eq_nocase(key, SV("RET")) || sv_eq_nocase(key, SV("ENVID")))) ||
                     (!mail && !o->no_dsn &&
                      (sv_eq_nocase(key, SV("NOTIFY")) || sv_eq_nocase(key, SV("ORCPT")))))) {
            return "5.5.4 Parameter was not offered";
        }
    }
    return NULL;
}

static void cmd_mail(struct session *s, struct strview arg)
{
    const struct sink_options *o = &s->sink->options;
    struct strview path, parameters;
    const char *wrong;
    if (o->max_messages && s->messages >= o->max_messages) {
        refuse(s, PHASE_MAIL, 421, "4.7.0 Enough messages on this connection");
        s->state = SESSION_ENDED;
    } else if (!s->greeted || s->in_mail) {
        refuse(s, PHASE_MAIL, 503,
               s->in_mail ? "5.5.1 Sender already given" : "5.5.1 Say EHLO first");
    } else if (!parse_path(arg, SV("FROM:"), &path, &parameters)) {
        refuse(s, PHASE_MAIL, 501, "5.5.4 Expected MAIL FROM:<address>");
    } else if ((wrong = check_parameters(s, parameters, true))) {
        refuse(s, PHASE_MAIL, wrong[2] == '3' ? 552 : 555, wrong);
    } else if (!misbehave(s, PHASE_MAIL, NULL) && !is_above_rate(s, PHASE_MAIL)) {
        s->in_mail = true;
        buf_append_sv(&s->sender, path);
        reply(s, 250, "2.1.0 Ok");
    }
}

static bool is_greylisted(struct session *s, struct strview recipient, const struct policy *p)
{
    int64_t wait_ms = policies_greylist_ms(&s->sink->options.policies, p);
    if (wait_ms == 0)
        return false;
    int64_t now = clock_mono_ms();
    int64_t *first = seen_add(&s->sink->greylist, seen_key2(buf_view(&s->sender), recipient), now);
    if (first ? now - *first >= wait_ms : s->sink->greylist.full)
        return false;
    s->sink->tally.greylisted++;
    return true;
}

static void cmd_rcpt(struct session *s, struct strview arg)
{
    struct strview path, parameters;
    const char *wrong;
    if (!s->in_mail) {
        refuse(s, PHASE_RCPT, 503, "5.5.1 Say MAIL first");
        return;
    }
    if (!parse_path(arg, SV("TO:"), &path, &parameters) || path.len == 0) {
        refuse(s, PHASE_RCPT, 501, "5.5.4 Expected RCPT TO:<address>");
        return;
    }
    const struct policy *p = policies_find(&s->sink->options.policies, tally_domain_of(path));
    if ((wrong = check_parameters(s, parameters, false))) {
        refuse(s, PHASE_RCPT, 555, wrong);
    } else if (s->recipient_count >= s->sink->options.max_recipients) {
        refuse(s, PHASE_RCPT, 452, "4.5.3 Too many recipients");
    } else if (!misbehave(s, PHASE_RCPT, p) && !is_above_rate(s, PHASE_RCPT)) {
        if (is_greylisted(s, path, p)) {
            refuse(s, PHASE_RCPT, 451, "4.7.1 Greylisted, try again later");
            return;
        }
        s->personality = s->recipient_count++ ? s->personality : p;
        buf_append_sv(&s->recipients, path);
        buf_append_char(&s->recipients, '\0');
        reply(s, 250, "2.1.5 Ok");
    }
}

static void cmd_data(struct session *s)
{
    if (!s->in_mail || s->chunking) {
        refuse(s, PHASE_DATA, 503, "5.5.1 Say MAIL first");
    } else if (s->recipient_count == 0) {
        refuse(s, PHASE_DATA, 554, "5.5.1 No valid recipients");
    } else if (!misbehave(s, PHASE_DATA, s->personality) && !is_above_rate(s, PHASE_DATA)) {
        reply(s, 354, "End data with <CR><LF>.<CR><LF>");
        content_reset(&s->content, true);
        s->state = SESSION_DATA;
    }
}

static void count_hygiene(struct session *s)
{
    struct tally *t = &s->sink->tally;
    t->bare_lf += s->content.bare_lf;
    t->bare_cr += s->content.bare_cr;
    t->long_lines += s->content.long_lines;
    t->odd_ends += s->content.odd_ends;
}

/* Under another name until it is whole: who looks into the directory sees whole messages only. */
static void save_message(struct session *s)
{
    char path[4096], unfinished[4096 + 8];
    struct buf envelope = {0};
    snprintf(path, sizeof(path), "%s/%08" PRIu64 ".eml", s->sink->options.save,
             s->sink->tally.messages + 1);
    snprintf(unfinished, sizeof(unfinished), "%s.part", path);
    int fd = open(unfinished, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    buf_printf(&envelope, "X-Sink-Sender: <%s>\r\n", buf_data(&s->sender));
    const char *r = buf_data(&s->recipients);
    for (unsigned i = 0; i < s->recipient_count; i++, r += strlen(r) + 1)
        buf_printf(&envelope, "X-Sink-Recipient: <%s>\r\n", r);
    buf_append_sv(&envelope, buf_view(&s->saved));
    const char *p = buf_data(&envelope);
    size_t left = buf_len(&envelope);
    while (fd >= 0 && left > 0) {
        ssize_t n = write(fd, p, left);
        if (n < 0 && errno != EINTR)
            break;
        p += n > 0 ? n : 0;
        left -= n > 0 ? (size_t)n : 0;
    }
    if (fd < 0 || close(fd) < 0 || left > 0 || rename(unfinished, path) < 0)
        s->sink->tally.save_failures++;
    buf_free(&envelope);
}

static void count_message(struct session *s)
{
    struct sink *sink = s->sink;
    int64_t now_us = clock_wall_us();
    struct strview id = buf_view(&s->content.id.value);
    const char *r = buf_data(&s->recipients);
    uint64_t sent = 0;
    bool timed = sv_to_u64(buf_view(&s->content.sent.value), &sent) && sent <= INT64_MAX;
    if (sink->options.save)
        save_message(s);
    tally_message(&sink->tally, id, r, s->recipient_count, s->content.size, now_us);
    for (unsigned i = 0; (timed || sink->record.open) && i < s->recipient_count; i++) {
        struct strview recipient = sv_of(r);
        record_add(&sink->record, id, recipient, buf_view(&s->sender), s->content.size, now_us);
        if (timed)
            tally_latency(&sink->tally, tally_domain_of(recipient), now_us - (int64_t)sent);
        r += recipient.len + 1;
    }
    s->messages++;
}

static void end_of_data(struct session *s)
{
    s->state = SESSION_COMMAND;
    count_hygiene(s);
    if (s->content.size > s->sink->options.max_size) {
        refuse(s, PHASE_EOD, 552, "5.3.4 Message is too big");
    } else if (s->sink->options.strict && content_is_unclean(&s->content)) {
        refuse(s, PHASE_EOD, 554, "5.6.0 Message breaks the rules for lines");
    } else {
        const struct fault *f = draw(s, PHASE_EOD, s->personality);
        /* Counted now, also when the answer is late or never comes: it would be delivered. */
        if (!f || f->kind == FAULT_LOST)
            count_message(s);
        if (f)
            strike(s, PHASE_EOD, f);
        else
            reply(s, 250, "2.0.0 Ok");
    }
    reset_transaction(s);
}

static void cmd_bdat(struct session *s, struct strview arg)
{
    struct strview size, last = {0}, rest = arg;
    if (s->sink->options.no_chunking || !sv_split(&rest, ' ', &size) ||
        !sv_to_u64(size, &s->chunk_left) || s->chunk_left > (UINT64_C(1) << 40) ||
        (sv_split(&rest, ' ', &last) && !sv_eq_nocase(last, SV("LAST")))) {
        refuse(s, PHASE_DATA, 501, "5.5.4 Expected BDAT SIZE [LAST]");
        s->state = SESSION_ENDED; /* what follows cannot be told from commands */
        return;
    }
    s->chunk_last = last.len > 0;
    if (!s->chunking)
        content_reset(&s->content, false);
    s->chunking = true;
    s->state = SESSION_CHUNK;
}

static void end_of_chunk(struct session *s)
{
    s->state = SESSION_COMMAND;
    if (!s->in_mail || s->recipient_count == 0) {
        refuse(s, PHASE_DATA, 503, "5.5.1 Say MAIL and RCPT first");
        s->chunking = false;
    } else if (s->chunk_last) {
        end_of_data(s);
    } else {
        reply(s, 250, "2.0.0 Ok");
    }
}

/* NUL-free verb table; `last`: nothing may follow in the same packet (RFC 2920 section 3.1). */
enum verb { HELO, EHLO, MAIL, RCPT, DATA, BDAT, RSET, NOOP, QUIT, VRFY, HELP, UNKNOWN };
static const struct {
    struct strview name;
    bool last;
} verbs[] = {
    [HELO] = {{"HELO", 4}, true},  [EHLO] = {{"EHLO", 4}, true},  [MAIL] = {{"MAIL", 4}, false},
    [RCPT] = {{"RCPT", 4}, false}, [DATA] = {{"DATA", 4}, true},  [BDAT] = {{"BDAT", 4}, false},
    [RSET] = {{"RSET", 4}, false}, [NOOP] = {{"NOOP", 4}, true},  [QUIT] = {{"QUIT", 4}, true},
    [VRFY] = {{"VRFY", 4}, true},  [HELP] = {{"HELP", 4}, false},
};

static enum verb verb_of(struct strview line, struct strview *arg)
{
    ptrdiff_t space = sv_find(line, ' ');
    struct strview name = space >= 0 ? sv(line.ptr, (size_t)space) : line;
    *arg = space >= 0 ? sv_trim(sv(line.ptr + space, line.len - (size_t)space)) : sv("", 0);
    for (unsigned i = 0; i < ARRAY_LEN(verbs); i++)
        if (sv_eq_nocase(name, verbs[i].name))
            return (enum verb)i;
    return UNKNOWN;
}

static void run(struct session *s, enum verb verb, struct strview arg)
{
    if (s->refusing && verb != QUIT) {
        refuse(s, PHASE_CONNECT, 503, "5.5.1 No service here");
        return;
    }
    switch (verb) {
    case HELO:
    case EHLO:
        cmd_helo(s, arg, verb == EHLO);
        break;
    case MAIL:
        cmd_mail(s, arg);
        break;
    case RCPT:
        cmd_rcpt(s, arg);
        break;
    case DATA:
        cmd_data(s);
        break;
    case BDAT:
        cmd_bdat(s, arg);
        break;
    case RSET:
        reset_transaction(s);
        reply(s, 250, "2.0.0 Ok");
        break;
    case NOOP:
        reply(s, 250, "2.0.0 Ok");
        break;
    case QUIT:
        reply(s, 221, "2.0.0 Bye");
        s->state = SESSION_ENDED;
        break;
    case VRFY:
        reply(s, 252, "2.5.0 Send some mail, I will try my best");
        break;
    case HELP:
        reply(s, 214, "2.0.0 HELO EHLO MAIL RCPT DATA BDAT RSET NOOP VRFY QUIT");
        break;
    case UNKNOWN:
        reply(s, 500, "5.5.2 Unknown command");
        break;
    }
}

/* One command line, LF included; `more`: input follows it already. */
static void command(struct session *s, const char *data, size_t len, bool more)
{
    const struct sink_options *o = &s->sink->options;
    bool crlf = len >= 2 && data[len - 2] == '\r';
    struct strview arg, line = sv(data, len - (crlf ? 2 : 1));
    enum verb verb = verb_of(line, &arg);
    if (!crlf)
        s->sink->tally.bare_lf++;
    if (!crlf && o->strict) {
        reply(s, 500, "5.5.2 Command ends in a bare LF");
        return;
    }
    bool last = (verb < UNKNOWN && verbs[verb].last) || (o->no_pipelining && verb != BDAT);
    if (more && last) {
        s->sink->tally.early++;
        if (o->strict) {
            reply(s, 503, "5.5.0 Pipelined before it was allowed");
            s->state = SESSION_ENDED;
            return;
        }
    }
    run(s, verb, arg);
}

static size_t take_command(struct session *s, const char *data, size_t len)
{
    const char *lf = memchr(data, '\n', len);
    if (!lf && len <= COMMAND_MAX)
        return 0;
    if (!lf || (size_t)(lf - data) > COMMAND_MAX) {
        s->sink->tally.long_commands++;
        reply(s, 500, "5.5.2 Line too long");
        s->state = SESSION_ENDED;
        return len;
    }
    size_t n = (size_t)(lf - data) + 1;
    command(s, data, n, n < len);
    return n;
}

static size_t take_content(struct session *s, const char *data, size_t len)
{
    /* Past the limit nothing is kept any more, but the end is still looked for. */
    if (s->content.save && s->content.size > s->sink->options.max_size) {
        s->content.save = NULL;
        buf_reset(&s->saved);
    }
    size_t n = content_feed(&s->content, data, len);
    if (s->content.done) {
        s->content.save = s->sink->options.save ? &s->saved : NULL;
        end_of_data(s);
    }
    return n;
}

static size_t take_chunk(struct session *s, const char *data, size_t len)
{
    size_t n = (size_t)MIN_OF(s->chunk_left, (uint64_t)len);
    if (s->content.size <= s->sink->options.max_size)
        content_feed(&s->content, data, n);
    else
        s->content.size += n;
    s->chunk_left -= n;
    return n;
}

/* Uses up input until it ends or the session has to stop; returns how much was used. */
static size_t consume(struct session *s, const char *data, size_t len)
{
    size_t used = 0;
    while (s->next == SESSION_READ && s->state != SESSION_ENDED) {
        if (s->state == SESSION_CHUNK && s->chunk_left == 0) {
            end_of_chunk(s);
            continue;
        }
        if (used == len)
            break;
        size_t n = len - used;
        if (s->state == SESSION_COMMAND)
            n = take_command(s, data + used, len - used);
        else if (s->state == SESSION_DATA)
            n = take_content(s, data + used, len - used);
        else if (s->state == SESSION_CHUNK)
            n = take_chunk(s, data + used, len - used);
        if (n == 0)
            break;
        used += n;
    }
    if (s->state == SESSION_ENDED && s->next == SESSION_READ)
        s->next = SESSION_CLOSE;
    return used;
}

void session_feed(struct session *s, const char *data, size_t len)
{
    if (s->state == SESSION_HUNG || s->next == SESSION_CLOSE)
        return;
    if (buf_len(&s->pending) > 0 || s->next == SESSION_WAIT) {
        buf_append(&s->pending, data, len);
        buf_consume(&s->pending, consume(s, buf_data(&s->pending), buf_len(&s->pending)));
        return;
    }
    size_t used = consume(s, data, len);
    if (s->state != SESSION_HUNG && s->next != SESSION_CLOSE && used < len)
        buf_append(&s->pending, data + used, len - used);
}

void session_resume(struct session *s)
{
    s->next = SESSION_READ;
    s->greeting_due = false;
    buf_consume(&s->pending, consume(s, buf_data(&s->pending), buf_len(&s->pending)));
}

void session_eof(struct session *s)
{
    if (s->state == SESSION_DATA || s->state == SESSION_CHUNK) {
        s->sink->tally.cut_off++;
        count_hygiene(s);
    }
    s->state = SESSION_ENDED;
    s->next = SESSION_CLOSE;
}
