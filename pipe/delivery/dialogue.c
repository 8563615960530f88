/*
 * Telling who listens; see dialogue.h. Called by smtp_client.c (lines) and connection.c (what
 * happens) once they know that somebody does.
 */
#include "pipe/delivery/smtp_client.h"

#include "base/log.h"

#include <stdio.h>

enum { TEXT_MAX = 2048 }; /* bytes of one line that are shown */

static const char *const signs[] = {
#define DIALOGUE_SIGN(id, name, sign) sign,
    DIALOGUE_KINDS(DIALOGUE_SIGN)
#undef DIALOGUE_SIGN
};

static void show(const struct smtp_hearing *h, enum dialogue_kind kind, struct strview text)
{
    if (text.len > TEXT_MAX)
        text.len = TEXT_MAX;
    if (h->to)
        h->to->line(h->to->arg, kind, text);
    if (h->debugged || log_is_debug(LOG_DELIVERY))
        log_line(LOG_DEBUG, LOG_DELIVERY, "%s %s queue=%s peer=%s", signs[kind],
                 log_safe(text.ptr, text.len, 1024), h->queue, h->peer_ip ? h->peer_ip : "");
}

/* What follows the mechanism may be a password. */
static struct strview without_secret(struct strview line, char *out, size_t size)
{
    struct strview rest = line, word;

    if (!sv_starts_nocase(line, SV("AUTH ")))
        return line;
    sv_split(&rest, ' ', &word);
    sv_split(&rest, ' ', &word);
    int n = snprintf(out, size, "AUTH %.*s%s", (int)MIN_OF(word.len, (size_t)32), word.ptr,
                     rest.ptr ? " (not shown)" : "");
    return sv(out, MIN_OF((size_t)MAX_OF(n, 0), size - 1));
}

void smtp_hear_sent(const struct smtp_hearing *h, struct strview line)
{
    char blanked[64];
    show(h, DIALOGUE_SENT, without_secret(line, blanked, sizeof(blanked)));
}

void smtp_hear_reply(const struct smtp_hearing *h, const struct reply *r)
{
    struct strview rest = r->lines, line;
    char text[TEXT_MAX];

    if (!rest.ptr || !rest.len)
        rest = sv("", 0);
    while (sv_split(&rest, '\n', &line)) {
        int n = snprintf(text, sizeof(text), "%u%c%.*s", r->code, rest.ptr ? '-' : ' ',
                         (int)MIN_OF(line.len, sizeof(text)), line.ptr);
        show(h, DIALOGUE_RECEIVED, sv(text, MIN_OF((size_t)MAX_OF(n, 0), sizeof(text) - 1)));
    }
}

void smtp_hear_event(const struct smtp_hearing *h, const char *fmt, ...)
{
    char text[TEXT_MAX];
    va_list ap;

    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    show(h, DIALOGUE_EVENT, sv(text, MIN_OF((size_t)MAX_OF(n, 0), sizeof(text) - 1)));
}
