/*
 * Telling what is said in a session: to the debug log, and to a trace (tracer.h) when one listens.
 * Called by the files of the engine for each reply, each line of the client and what happens in
 * between. Here credentials and content are taken out: what is wrong with a client is often that
 * it sends them where they do not belong.
 *
 * - After AUTH, or with that word in it, a line that is no command may be an answer to a question
 *   that was not asked.
 * - A client that does not look at replies, or does not stuff dots, sends parts of a message as
 *   commands, and some of its lines look like such. So after the first DATA or BDAT only what
 *   cannot be a sentence is shown whole.
 */
#include "smtp_server_internal.h"

#include "base/log.h"

#include <stdio.h>

enum { TEXT_MAX = 2048, LOG_TEXT_MAX = 300 };

void smtp_server_hear(struct smtp_server *s, smtp_hear_fn *hear)
{
    s->hear = hear;
}

/* This session is debugged: all are, or those of its pipe. */
static bool is_debugged(const struct smtp_server *s)
{
    const struct smtp_server_shared *all = s->shared;
    struct strview pipe = s->tx.pipe.len ? s->tx.pipe : sv_of(s->settings->pipe);

    if (log_is_debug(LOG_SMTP_IN))
        return true;
    for (unsigned i = 0; i < all->debug_count; i++)
        if (all->debug[i].mask & 1u << LOG_SMTP_IN && sv_eq(pipe, sv_of(all->debug[i].pipe)))
            return true;
    return false;
}

static bool is_heard(const struct smtp_server *s)
{
    return s->hear || is_debugged(s);
}

static void tell(const struct smtp_server *s, enum smtp_heard kind, struct strview text)
{
    static const char signs[] = {
        [SMTP_HEARD_SENT] = '>', [SMTP_HEARD_RECEIVED] = '<', [SMTP_HEARD_EVENT] = '*'};

    if (is_debugged(s))
        log_line(LOG_DEBUG, LOG_SMTP_IN, "session=%s client=%s %c %s", s->id, s->client,
                 signs[kind], log_safe(text.ptr, text.len, LOG_TEXT_MAX));
    if (s->hear)
        s->hear(s->owner, kind, sv(text.ptr, MIN_OF(text.len, (size_t)TEXT_MAX)));
}

void smtp_server_hear_reply(const struct smtp_server *s, const char *text)
{
    if (is_heard(s))
        tell(s, SMTP_HEARD_SENT, sv_of(text));
}

void smtp_server_hear_replies(const struct smtp_server *s, struct strview lines)
{
    struct strview line;

    while (is_heard(s) && sv_split(&lines, '\n', &line))
        if (line.len)
            tell(s, SMTP_HEARD_SENT, sv_trim(line));
}

void smtp_server_hear_event(const struct smtp_server *s, const char *fmt, ...)
{
    char text[512];
    va_list ap;

    if (!is_heard(s))
        return;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    tell(s, SMTP_HEARD_EVENT, sv(text, MIN_OF((size_t)MAX_OF(n, 0), sizeof(text) - 1)));
}

static bool mentions_auth(struct strview line)
{
    for (; line.len >= 4; line = sv(line.ptr + 1, line.len - 1))
        if (sv_starts_nocase(line, SV("auth")))
            return true;
    return false;
}

/* Nobody writes a sentence like that. */
static bool is_no_sentence(enum smtp_verb verb, struct strview args)
{
    uint64_t size;
    bool last;

    return !args.len || (verb == SMTP_MAIL && sv_starts_nocase(args, SV("FROM:<"))) ||
           (verb == SMTP_RCPT && sv_starts_nocase(args, SV("TO:<"))) ||
           (verb == SMTP_BDAT && smtp_bdat_parse(args, &size, &last));
}

/* The mechanism, unless it may be something else; what follows it never. */
static const char *auth_text(struct strview args)
{
#define MECHANISM(name)           \
    {                             \
        name, "AUTH " name " ..." \
    }
    static const struct {
        const char *name, *text;
    } known[] = {
        MECHANISM("PLAIN"),      MECHANISM("LOGIN"),       MECHANISM("CRAM-MD5"),
        MECHANISM("DIGEST-MD5"), MECHANISM("SCRAM-SHA-1"), MECHANISM("SCRAM-SHA-256"),
        MECHANISM("XOAUTH2"),    MECHANISM("NTLM"),        MECHANISM("GSSAPI"),
        MECHANISM("EXTERNAL"),
    };
#undef MECHANISM
    struct strview word;

    sv_split(&args, ' ', &word);
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (sv_eq_nocase(word, sv_of(known[i].name)))
            return known[i].text;
    return "AUTH ...";
}

/* What may be shown of a line; text that had to be made is in out. */
static struct strview shown(const struct smtp_server *s, struct strview line, char *out,
                            size_t size)
{
    struct strview args = {NULL, 0};
    enum smtp_verb verb = smtp_command_parse(line, &args);

    if (s->state == STATE_AUTH_INPUT)
        return SV("(response, not shown)");
    if (verb == SMTP_AUTH)
        return sv_of(auth_text(args));
    if (verb == SMTP_VERB_COUNT && (s->auth_seen || s->content_seen || mentions_auth(line)))
        return SV("(no command, not shown)");
    if (!s->content_seen || is_no_sentence(verb, args))
        return line;
    struct strview word = sv_trim(sv(line.ptr, (size_t)(args.ptr - line.ptr)));
    int n = snprintf(out, size, "%.*s (not shown)", SV_ARG(word));
    return sv(out, MIN_OF((size_t)MAX_OF(n, 0), size - 1));
}

void smtp_server_hear_line(const struct smtp_server *s, struct strview line)
{
    char out[64];

    if (is_heard(s))
        tell(s, SMTP_HEARD_RECEIVED, shown(s, line, out, sizeof(out)));
}
