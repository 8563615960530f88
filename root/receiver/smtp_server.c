/*
 * The SMTP server engine: life, input, dispatch, states, replies; see smtp_server.h. Called by
 * session.c, by the scenario runner and by the fuzz target.
 *
 * Happy path: input is cut into lines, a line is looked up in the command table, its function puts
 * a reply into `out` and moves the state; in DATA and CHUNK input goes to smtp_server_data.c
 * instead. Input stops in the states that wait for the owner, so that pipelined commands stay where
 * they are. What can go wrong: a client that breaks the grammar or a limit gets a reply; too much
 * of that, or something after which the bytes cannot be told apart, closes the session. The engine
 * owns the transaction; settings and shared belong to the owner.
 */
#include "smtp_server_internal.h"

#include "base/clock.h"
#include "base/log.h"
#include "mail/refused_line.h"

#include <stdio.h>

static const char *const state_names[] = {
#define STATE_NAME(name, text) text,
    SMTP_STATES(STATE_NAME)
#undef STATE_NAME
};

#define IN(name) (1u << STATE_##name)

/* From each state, those that may follow. Every state but CLOSED may be closed. */
static const uint32_t moves[STATE_COUNT] = {
    [STATE_START] = IN(CONNECTED) | IN(CLOSED),
    [STATE_CONNECTED] = IN(CONNECTED) | IN(READY) | IN(CHUNK) | IN(TLS) | IN(CLOSED),
    [STATE_READY] =
        IN(READY) | IN(MAIL) | IN(CHUNK) | IN(AUTH_INPUT) | IN(AUTH_VERIFY) | IN(TLS) | IN(CLOSED),
    [STATE_MAIL] = IN(READY) | IN(RCPT) | IN(CHUNK) | IN(CLOSED),
    [STATE_RCPT] = IN(READY) | IN(RCPT) | IN(DATA) | IN(CHUNK) | IN(CLOSED),
    [STATE_DATA] = IN(READY) | IN(FLUSH) | IN(SUBMIT) | IN(CLOSED),
    [STATE_CHUNK] = IN(CONNECTED) | IN(READY) | IN(CHUNKS) | IN(FLUSH) | IN(SUBMIT) | IN(CLOSED),
    [STATE_CHUNKS] = IN(READY) | IN(CHUNK) | IN(CLOSED),
    [STATE_FLUSH] = IN(READY) | IN(SUBMIT) | IN(CLOSED),
    [STATE_SUBMIT] = IN(READY) | IN(CLOSED),
    [STATE_AUTH_INPUT] = IN(READY) | IN(AUTH_INPUT) | IN(AUTH_VERIFY) | IN(CLOSED),
    [STATE_AUTH_VERIFY] = IN(READY) | IN(CLOSED),
    [STATE_TLS] = IN(CONNECTED) | IN(CLOSED),
};

/* states: where the command is in sequence; elsewhere it gets 503. */
static const struct {
    void (*run)(struct smtp_server *s, struct strview args);
    uint32_t states;
} commands[SMTP_VERB_COUNT] = {
#define ANY_TIME (IN(CONNECTED) | IN(READY) | IN(MAIL) | IN(RCPT) | IN(CHUNKS))
    [SMTP_EHLO] = {smtp_server_ehlo, ANY_TIME},
    [SMTP_HELO] = {smtp_server_helo, ANY_TIME},
    [SMTP_MAIL] = {smtp_server_mail, IN(READY)},
    [SMTP_RCPT] = {smtp_server_rcpt, IN(MAIL) | IN(RCPT)},
    [SMTP_DATA] = {smtp_server_data, IN(MAIL) | IN(RCPT)},
    [SMTP_BDAT] = {smtp_server_bdat,
                   ANY_TIME}, /* looks at the state itself: it has to take the chunk */
    [SMTP_RSET] = {smtp_server_rset, ANY_TIME},
    [SMTP_NOOP] = {smtp_server_noop, ANY_TIME},
    [SMTP_QUIT] = {smtp_server_quit, ANY_TIME},
    [SMTP_VRFY] = {smtp_server_vrfy, ANY_TIME},
    [SMTP_HELP] = {smtp_server_help, ANY_TIME},
    [SMTP_STARTTLS] = {smtp_server_starttls, IN(CONNECTED) | IN(READY)},
    [SMTP_AUTH] = {smtp_server_auth, IN(READY)},
};

enum { KEEP_RCPTS = 1024 }; /* room for so many stays with the session */

struct smtp_server *smtp_server_new(const char *id, const char *client,
                                    const struct smtp_server_settings *settings,
                                    struct smtp_server_shared *shared,
                                    const struct smtp_server_ops *ops, void *owner)
{
    struct smtp_server *s = xcalloc(1, sizeof(*s));
    s->settings = settings;
    s->shared = shared;
    s->ops = ops;
    s->owner = owner;
    snprintf(s->id, sizeof(s->id), "%s", id);
    snprintf(s->client, sizeof(s->client), "%s", client);
    s->opened_ms = s->active_ms = clock_mono_ms();
    return s;
}

void smtp_server_set_local(struct smtp_server *s, const char *local)
{
    snprintf(s->local, sizeof(s->local), "%s", local);
}

const char *smtp_server_local(const struct smtp_server *s)
{
    return s->local;
}

void smtp_server_set_listener(struct smtp_server *s, const char *listener)
{
    s->listener = listener;
}

static void clear_transaction(struct smtp_server *s)
{
    struct smtp_transaction *tx = &s->tx;
    struct smtp_transaction keep = *tx;

    if (tx->file_open)
        smtp_server_want(s, SMTP_WANT_DROP);
    if (keep.rcpt_room > KEEP_RCPTS) {
        free(keep.envelope.rcpts);
        keep.envelope.rcpts = NULL;
        keep.rcpt_room = 0;
    }
    buf_reset(&keep.content);
    if (keep.content.cap > SMTP_INLINE_MAX)
        buf_free(&keep.content);
    arena_reset(&keep.arena);
    s->shared->buffered_bytes -= tx->accounted;
    memset(tx, 0, offsetof(struct smtp_transaction, refusal));
    tx->refusal[0] = '\0';
    tx->arena = keep.arena;
    tx->content = keep.content;
    tx->header = keep.header;
    tx->envelope.rcpts = keep.envelope.rcpts;
    tx->rcpt_room = keep.rcpt_room;
}

void smtp_server_free(struct smtp_server *s)
{
    if (!s)
        return;
    clear_transaction(s);
    free(s->tx.envelope.rcpts);
    buf_free(&s->tx.content);
    header_scan_free(&s->tx.header);
    arena_free(&s->tx.arena);
    buf_free(&s->out);
    explicit_bzero(s->auth_password, sizeof(s->auth_password));
    free(s);
}

void smtp_server_enter(struct smtp_server *s, enum smtp_state to)
{
    BUG_ON(!(moves[s->state] & (1u << to)));
    s->state = to;
}

void smtp_server_want(struct smtp_server *s, enum smtp_want w)
{
    s->wants |= 1u << w;
}

enum smtp_want smtp_server_next(struct smtp_server *s)
{
    for (unsigned w = SMTP_WANT_DROP; w <= SMTP_WANT_CLOSE; w++) {
        if (s->wants & (1u << w)) {
            s->wants &= ~(1u << w);
            return (enum smtp_want)w;
        }
    }
    return SMTP_WANT_NOTHING;
}

struct buf *smtp_server_output(struct smtp_server *s)
{
    return &s->out;
}

void smtp_server_reply(struct smtp_server *s, const char *text)
{
    smtp_server_hear_reply(s, text);
    buf_append_str(&s->out, text);
    buf_append(&s->out, "\r\n", 2);
}

void smtp_server_log_refused(struct smtp_server *s, const char *message, struct strview user,
                             struct strview rcpt, struct strview reply)
{
    static const struct log_field fields[] = {
#define REFUSED_ROW(id, name, kind, max, help) {name, LOG_FIELD_##kind, max},
        REFUSED_FIELDS(REFUSED_ROW)
#undef REFUSED_ROW
    };
    const struct strview none = {NULL, 0};
    struct strview sender = s->tx.envelope.sender;
    bool in_mail = s->tx.envelope_bytes != 0;
    const struct log_value values[REFUSED_FIELD_COUNT] = {
        [REFUSED_SESSION] = {.text = sv_of(s->id)},
        [REFUSED_CLIENT] = {.text = sv_of(s->client)},
        [REFUSED_LISTENER] = {.text = sv_of(s->listener)},
        [REFUSED_USER] = {.text = user.len ? user : none},
        [REFUSED_FROM] = {.text = !in_mail ? none : sender.len ? sender : SV("<>")},
        [REFUSED_RCPT] = {.text = rcpt.len ? rcpt : none},
        [REFUSED_STATE] = {.text = sv_of(state_names[s->state])},
        [REFUSED_REPLY] = {.text = reply},
    };

    if (s->settings->allow_relaying || s->user[0] ||
        log_budget_take(&s->shared->budget, s->client, clock_mono_ms()))
        log_event(LOG_INFO, LOG_SMTP_IN, message, fields, values, REFUSED_FIELD_COUNT);
}

void smtp_server_note(struct smtp_server *s, enum smtp_trouble why, const char *text)
{
    s->shared->rejected++;
    if (s->logged & (1u << why))
        return;
    s->logged |= 1u << why;
    smtp_server_log_refused(s, "refused", sv_of(s->user), s->rcpt, sv_of(text));
}

void smtp_server_close(struct smtp_server *s, enum smtp_trouble why, const char *text)
{
    smtp_server_note(s, why, text);
    smtp_server_reply(s, text);
    s->wants = 0;
    clear_transaction(s);
    smtp_server_enter(s, STATE_CLOSED);
    smtp_server_want(s, SMTP_WANT_CLOSE);
}

void smtp_server_refuse(struct smtp_server *s, enum smtp_trouble why, const char *text)
{
    smtp_server_note(s, why, text);
    smtp_server_reply(s, text);
    if (++s->errors >= s->settings->max_errors)
        smtp_server_close(s, TROUBLE_LIMIT, "421 4.7.0 Too many errors, closing connection");
}

void smtp_server_end_transaction(struct smtp_server *s)
{
    clear_transaction(s);
    if (s->state == STATE_CLOSED)
        return;
    smtp_server_enter(s, s->helo[0] ? STATE_READY : STATE_CONNECTED);
    if (s->draining)
        smtp_server_close(s, TROUBLE_LIMIT, "421 4.3.2 Service is shutting down, try again");
}

void smtp_server_open(struct smtp_server *s, const char *tls)
{
    char text[SMTP_REPLY_MAX];

    snprintf(s->tls, sizeof(s->tls), "%s", tls ? tls : "");
    smtp_server_enter(s, STATE_CONNECTED);
    if (s->settings->refuse) {
        smtp_server_close(s, TROUBLE_RELAY, s->settings->refuse);
        return;
    }
    snprintf(text, sizeof(text), "220 %.255s ESMTP PipeMTA", s->settings->host_name);
    smtp_server_reply(s, text);
}

/* --- input --- */

static void run_command(struct smtp_server *s, struct strview line)
{
    struct strview args;

    if (++s->commands > s->settings->max_commands) {
        smtp_server_close(s, TROUBLE_LIMIT, "421 4.7.0 Too many commands, closing connection");
        return;
    }
    enum smtp_verb verb = smtp_command_parse(line, &args);
    s->auth_seen |= verb == SMTP_AUTH;
    s->content_seen |= verb == SMTP_DATA || verb == SMTP_BDAT;
    if (verb == SMTP_VERB_COUNT)
        smtp_server_refuse(s, TROUBLE_SYNTAX, "500 5.5.2 Command not recognised");
    else if (!(commands[verb].states & (1u << s->state)))
        smtp_server_refuse(s, TROUBLE_SEQUENCE, "503 5.5.1 Bad sequence of commands");
    else
        commands[verb].run(s, args);
}

static void take_line(struct smtp_server *s, struct strview line)
{
    smtp_server_hear_line(s, line);
    if (s->state == STATE_AUTH_INPUT)
        smtp_server_auth_line(s, line);
    else
        run_command(s, line);
}

/* Length of the first line in `in` with its LF, or 0 when it is not complete. Swallows a line that
 * is too long, and answers it at its end. */
static size_t find_line(struct smtp_server *s, struct buf *in)
{
    size_t len = buf_len(in);
    size_t max = s->state == STATE_AUTH_INPUT ? SMTP_AUTH_LINE_MAX : SMTP_COMMAND_MAX;
    const char *lf = memchr(buf_data(in), '\n', len);
    size_t line = lf ? (size_t)(lf - buf_data(in)) + 1 : 0;

    if (s->state != STATE_AUTH_INPUT && len >= 5 && strncasecmp(buf_data(in), "AUTH ", 5) == 0)
        max = SMTP_AUTH_LINE_MAX;
    if (s->skip_line || (line ? line : len) > max) {
        bool ended = line > 0;
        s->skip_line = !ended;
        buf_consume(in, ended ? line : len);
        if (ended) {
            smtp_server_hear_event(s, "a line longer than %zu bytes, not shown", max);
            if (s->state == STATE_AUTH_INPUT)
                smtp_server_enter(s, STATE_READY);
            smtp_server_refuse(s, TROUBLE_LINE, "500 5.5.2 Line too long");
        }
        return 0;
    }
    return line;
}

/* A line ends in CRLF; a bare LF will do where such are to be mended. No other CR, and no NUL. */
static bool strip_line_end(const struct smtp_server *s, struct strview *line)
{
    line->len--;
    if (line->len && line->ptr[line->len - 1] == '\r')
        line->len--;
    else if (!s->settings->fix_lone_lf)
        return false;
    return !memchr(line->ptr, '\r', line->len) && !memchr(line->ptr, '\0', line->len);
}

static bool command_step(struct smtp_server *s, struct buf *in)
{
    size_t before = buf_len(in);
    size_t len = find_line(s, in);

    if (len == 0)
        return buf_len(in) < before;
    struct strview line = sv(buf_data(in), len);
    if (strip_line_end(s, &line)) {
        take_line(s, line);
    } else {
        smtp_server_hear_event(s, "a line of %zu bytes, not shown", len);
        if (s->state == STATE_AUTH_INPUT)
            smtp_server_enter(s, STATE_READY);
        smtp_server_refuse(s, TROUBLE_LINE,
                           "500 5.5.2 A command line ends in CR LF and has no other");
    }
    buf_consume(in, len);
    return true;
}

/* Handles one line or one piece of content; false when nothing can be done now. */
static bool input_step(struct smtp_server *s, struct buf *in)
{
    switch (s->state) {
    case STATE_CONNECTED:
    case STATE_READY:
    case STATE_MAIL:
    case STATE_RCPT:
    case STATE_AUTH_INPUT:
        return buf_len(in) > 0 && command_step(s, in);
    case STATE_CHUNKS: /* a RSET may not overtake what the owner does with the file */
        return buf_len(in) > 0 && !smtp_server_file_busy(s) && command_step(s, in);
    case STATE_DATA:
    case STATE_CHUNK:
        if (buf_len(in) == 0 || smtp_server_content_full(s))
            return false;
        buf_consume(in, smtp_server_take_content(s, buf_data(in), buf_len(in)));
        return true;
    case STATE_TLS: /* plain text behind STARTTLS is thrown away (RFC 3207 section 4.2) */
    case STATE_CLOSED:
        buf_consume(in, buf_len(in));
        return false;
    case STATE_START:
    case STATE_FLUSH:
    case STATE_SUBMIT:
    case STATE_AUTH_VERIFY:
    case STATE_COUNT:
        return false;
    }
    return false;
}

void smtp_server_input(struct smtp_server *s, struct buf *in)
{
    if (buf_len(in))
        s->active_ms = clock_mono_ms();
    while (input_step(s, in))
        ;
}

/* --- time, drain, what the owner asks --- */

static bool waits_for_us(const struct smtp_server *s)
{
    return s->state == STATE_SUBMIT || s->state == STATE_FLUSH || s->state == STATE_AUTH_VERIFY ||
           s->state == STATE_CLOSED ||
           ((s->state == STATE_DATA || s->state == STATE_CHUNK) && smtp_server_content_full(s));
}

int64_t smtp_server_deadline(const struct smtp_server *s)
{
    if (waits_for_us(s))
        return INT64_MAX;
    return MIN_OF(s->active_ms + s->settings->idle_timeout_ms,
                  s->opened_ms + s->settings->session_timeout_ms);
}

void smtp_server_tick(struct smtp_server *s, int64_t now_ms)
{
    if (now_ms < smtp_server_deadline(s))
        return;
    if (s->state == STATE_START)
        smtp_server_enter(s, STATE_CONNECTED);
    if (now_ms >= s->active_ms + s->settings->idle_timeout_ms)
        smtp_server_close(s, TROUBLE_LIMIT, "421 4.4.2 Idle for too long, closing connection");
    else
        smtp_server_close(s, TROUBLE_LIMIT, "421 4.4.2 Session is too long, closing connection");
}

void smtp_server_drain(struct smtp_server *s)
{
    static const uint32_t idle = IN(CONNECTED) | IN(READY) | IN(AUTH_INPUT) | IN(START) | IN(TLS);

    s->draining = true;
    if (!(idle & (1u << s->state)))
        return;
    smtp_server_close(s, TROUBLE_LIMIT, "421 4.3.2 Service is shutting down, try again");
}

void smtp_server_tls_up(struct smtp_server *s, const char *tls)
{
    BUG_ON(s->state != STATE_TLS);
    snprintf(s->tls, sizeof(s->tls), "%s", tls);
    s->helo[0] = '\0'; /* what was learnt in clear is forgotten */
    s->esmtp = false;
    s->active_ms = clock_mono_ms();
    smtp_server_enter(s, STATE_CONNECTED);
    if (s->settings->refuse)
        smtp_server_close(s, TROUBLE_RELAY, s->settings->refuse);
}

void smtp_server_settings_changed(struct smtp_server *s,
                                  const struct smtp_server_settings *settings)
{
    s->settings = settings;
}

const char *smtp_server_state_name(const struct smtp_server *s)
{
    return state_names[s->state];
}

const char *smtp_server_user(const struct smtp_server *s)
{
    return s->user;
}

uint64_t smtp_server_messages(const struct smtp_server *s)
{
    return s->messages;
}
