/*
 * Writes notices; see letter.h. What callers give may come from peers (replies, host names): control
 * characters become blanks, lines are cut at what RFC 5321 allows, dots at their beginning are
 * doubled, and a subject stays in one line of ASCII.
 */
#include "notice/letter.h"

#include "base/clock.h"
#include "base/log.h"
#include "mail/address.h"

enum { LINE_MAX_BYTES = 990 }; /* RFC 5321 section 4.5.3.1.6: 998 and CRLF */

static bool wanted(const struct letter *l, struct strview address)
{
    if (!address_is_mailbox(address, 0)) {
        log_warn(LOG_QUEUE, "notice is not sent to '%.*s', it is no address",
                 (int)MIN_OF(address.len, (size_t)100), address.ptr);
        return false;
    }
    return !l->about.len || !sv_eq_nocase(address_domain(address), l->about);
}

static struct strview copy(struct arena *a, struct strview s)
{
    char *p = arena_alloc(a, s.len + 1);
    memcpy(p, s.ptr, s.len);
    return sv(p, s.len);
}

static void add_recipients(const struct letter *l, struct arena *a, struct envelope *env)
{
    struct strview rest = l->to, item;

    env->rcpts = arena_alloc(a, LETTER_MAX_TO * sizeof(*env->rcpts));
    while (env->rcpt_count < LETTER_MAX_TO && sv_split(&rest, ',', &item)) {
        item = sv_trim(item);
        if (!item.len || !wanted(l, item))
            continue;
        env->rcpts[env->rcpt_count++] =
            (struct envelope_rcpt){.address = copy(a, item), .notify = NOTIFY_NEVER};
    }
}

static char plain(char c, bool ascii)
{
    unsigned char u = (unsigned char)c;
    if (u < 0x20 || u == 0x7f)
        return ' ';
    return ascii && u >= 0x80 ? '?' : c;
}

static void put_subject(const struct letter *l, struct buf *out)
{
    buf_append_str(out, "Subject: ");
    for (size_t i = 0; i < l->subject.len && i < LETTER_MAX_SUBJECT; i++)
        buf_append_char(out, plain(l->subject.ptr[i], true));
    buf_append_str(out, "\r\n");
}

static void put_header(const struct letter *l, struct envelope *env, struct buf *out)
{
    char date[CLOCK_RFC5322_SIZE];

    buf_printf(out, "Date: %s\r\n", clock_rfc5322(env->received_ms, date));
    buf_printf(out, "From: Mail delivery <postmaster@%s>\r\n", l->host);
    for (uint32_t i = 0; i < env->rcpt_count; i++)
        buf_printf(out, "%s<%.*s>", i ? ",\r\n " : "To: ", SV_ARG(env->rcpts[i].address));
    buf_append_str(out, "\r\n");
    put_subject(l, out);
    buf_printf(out, "Message-ID: <notice.%s.%lld.%llu@%s>\r\n", l->pipe, (long long)clock_wall_us(),
               (unsigned long long)l->serial, l->host);
    buf_append_str(out, "Auto-Submitted: auto-generated\r\n"
                        "Precedence: bulk\r\n"
                        "MIME-Version: 1.0\r\n"
                        "Content-Type: text/plain; charset=utf-8\r\n"
                        "Content-Transfer-Encoding: 8bit\r\n"
                        "\r\n");
    env->header_bytes = (uint32_t)buf_len(out);
}

static void put_line(struct strview line, struct envelope *env, struct buf *out)
{
    if (line.len && line.ptr[0] == '.') {
        buf_append_char(out, '.');
        env->stuffed_dots++;
    }
    for (size_t i = 0; i < line.len; i++) {
        char c = plain(line.ptr[i], false);
        if ((unsigned char)c >= 0x80)
            env->flags |= ENVELOPE_8BIT;
        buf_append_char(out, c);
    }
    buf_append_str(out, "\r\n");
}

static size_t piece_length(struct strview line)
{
    size_t n = MIN_OF(line.len, (size_t)LINE_MAX_BYTES);

    /* not within a character of UTF-8 */
    while (n < line.len && n > LINE_MAX_BYTES - 4 && ((unsigned char)line.ptr[n] & 0xc0) == 0x80)
        n--;
    return n;
}

static void put_lines(struct strview text, struct envelope *env, struct buf *out)
{
    struct strview rest = text, line;

    while (sv_split(&rest, '\n', &line)) {
        if (line.len && line.ptr[line.len - 1] == '\r')
            line.len--;
        do {
            size_t n = piece_length(line);
            put_line(sv(line.ptr, n), env, out);
            line = sv(line.ptr + n, line.len - n);
        } while (line.len);
    }
}

static void put_held(const struct letter *l, struct envelope *env, struct buf *out)
{
    struct buf text = {0};
    char since[CLOCK_ISO_SIZE];

    if (!l->held)
        return;
    buf_printf(&text, "\n%u %s held back since %s", l->held,
               l->held == 1 ? "notice was" : "notices were", clock_iso(l->held_since_ms, since));
    if (l->held_same)
        buf_printf(&text, ", %u of them with this subject", l->held_same);
    buf_append_str(&text, ": at most one a minute of one subject and 30 an hour are sent.");
    put_lines(buf_view(&text), env, out);
    buf_free(&text);
}

void letter_write(const struct letter *l, struct arena *a, struct buf *content,
                  struct envelope *env)
{
    struct strview body = l->body;

    *env = (struct envelope){.received_ms = clock_wall_ms(), .source = SV(LETTER_SOURCE)};
    add_recipients(l, a, env);
    if (!env->rcpt_count)
        return;
    put_header(l, env, content);
    if (body.len && body.ptr[body.len - 1] == '\n')
        body.len--;
    put_lines(sv(body.ptr, MIN_OF(body.len, (size_t)LETTER_MAX_BODY)), env, content);
    if (body.len > LETTER_MAX_BODY)
        put_lines(SV("(cut here)"), env, content);
    put_held(l, env, content);
    struct buf sign = {0};
    buf_printf(&sign, "\n-- \nPipeMTA on %s, pipe %s. Nobody reads answers to this address.",
               l->host, l->pipe);
    put_lines(buf_view(&sign), env, content);
    buf_free(&sign);
    env->content_bytes = buf_len(content);
}
