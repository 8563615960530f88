/*
 * Writes delivery notices; see dsn_letter.h. Called by dsn.c when the message has been read back.
 *
 * 7-bit wherever that is possible: a text with other characters is quoted-printable, so that no host
 * on the way has to know 8BITMIME. Two exceptions: message/rfc822 may not be encoded (RFC 2046
 * section 5.2.1), and a sender whose own address is not ASCII gets its notice with SMTPUTF8 anyway.
 */
#include "dsn/dsn_letter.h"

#include "base/clock.h"
#include "base/units.h"
#include "report/headers.h"

#include <stdio.h>

enum { RESPONSE_MAX = 1000, LIST_MAX = 20000 };

/* --- default texts --- */

static const char *const default_subject[DSN_KIND_COUNT] = {
    [DSN_FAILED] = "Undelivered: ${subject}",
    [DSN_DELAYED] = "Delayed: ${subject}",
    [DSN_RELAYED] = "Relayed: ${subject}",
};

static const char *const default_body[DSN_KIND_COUNT] = {
    [DSN_FAILED] = "This is the mail system at ${hostname}.\\n\\n"
                   "Your message could not be delivered to the following recipients. No further\\n"
                   "attempts will be made.\\n\\n"
                   "${recipients}\\n"
                   "The message was accepted on ${accepted}.\\n"
                   "Its subject: ${subject}\\n",
    [DSN_DELAYED] =
        "This is the mail system at ${hostname}.\\n\\n"
        "Your message has not been delivered to the following recipients yet. There is\\n"
        "nothing you need to do: it is ${timeQueued} old, and attempts go on until it is\\n"
        "${bounceAfter} old.\\n\\n"
        "${recipients}\\n"
        "The message was accepted on ${accepted}.\\n"
        "Its subject: ${subject}\\n",
    [DSN_RELAYED] =
        "This is the mail system at ${hostname}.\\n\\n"
        "Your message was handed to the mail system of the following recipients. That system\\n"
        "does not tell when a message arrives, so this is the last that you hear of it.\\n\\n"
        "${recipients}\\n"
        "The message was accepted on ${accepted}.\\n"
        "Its subject: ${subject}\\n",
};

/* --- variables --- */

static struct strview clean(struct arena *a, struct strview s)
{
    char *p = arena_strndup(a, s.ptr ? s.ptr : "", s.len);

    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)p[i] < 0x20 || p[i] == 0x7f)
            p[i] = ' ';
    return sv(p, s.len);
}

static struct strview keep(struct arena *a, struct buf *b)
{
    struct strview v = arena_sv(a, buf_view(b));
    buf_free(b);
    return v;
}

static struct strview header_value(struct arena *a, const struct dsn_letter *l,
                                   struct strview names)
{
    struct buf found = {0};

    headers_pick(names, l->header, &found);
    struct strview line = buf_view(&found);
    ptrdiff_t colon = sv_find(line, ':');
    struct strview value =
        colon < 0 ? sv("", 0) : sv_trim(sv(line.ptr + colon + 1, line.len - (size_t)colon - 1));
    value = clean(a, value);
    buf_free(&found);
    return value;
}

static void list_recipient(const struct dsn_letter *l, const struct dsn_letter_rcpt *r,
                           struct buf *out)
{
    const struct outcome *o = r->outcome;
    struct strview text = sv(o->text.ptr, MIN_OF(o->text.len, (size_t)RESPONSE_MAX));

    buf_printf(out, "  <%.*s>\n", SV_ARG(r->address));
    if (o->code)
        buf_printf(out, "    %.*s said: ",
                   SV_ARG(o->peer_host.len ? o->peer_host : SV("the receiving host")));
    else
        buf_append_str(out, "    ");
    for (size_t i = 0; i < text.len; i++)
        buf_append_char(out, (unsigned char)text.ptr[i] < 0x20 ? ' ' : text.ptr[i]);
    buf_append_char(out, '\n');
    if (l->kind != DSN_RELAYED)
        buf_printf(out, "    attempts: %u\n", r->attempts);
    buf_append_char(out, '\n');
}

static struct strview list_recipients(struct arena *a, const struct dsn_letter *l)
{
    struct buf out = {0};

    for (size_t i = 0; i < l->rcpt_count; i++) {
        if (buf_len(&out) > LIST_MAX) {
            buf_printf(&out, "  and %zu more, see the status part\n\n", l->rcpt_count - i);
            break;
        }
        list_recipient(l, &l->rcpts[i], &out);
    }
    if (buf_len(&out))
        buf_truncate(&out, buf_len(&out) - 1);
    return keep(a, &out);
}

static struct strview name_recipients(struct arena *a, const struct dsn_letter *l)
{
    struct buf out = {0};

    for (size_t i = 0; i < l->rcpt_count && buf_len(&out) < LIST_MAX; i++)
        buf_printf(&out, "%s%.*s", i ? ", " : "", SV_ARG(l->rcpts[i].address));
    return keep(a, &out);
}

/* In whole seconds. */
static struct strview interval(struct arena *a, int64_t ms)
{
    char text[UNITS_SIZE];
    int64_t s = MAX_OF(ms / 1000, (int64_t)0);
    units_format_interval((s >= 3600 ? s / 60 * 60 : s) * 1000, text);
    return sv_of(arena_strdup(a, text));
}

static struct strview date(struct arena *a, int64_t ms)
{
    char text[CLOCK_RFC5322_SIZE];
    return sv_of(arena_strdup(a, clock_rfc5322(ms, text)));
}

static void fill(const struct dsn_letter *l, struct arena *a, struct strview v[DSN_VARIABLE_COUNT])
{
    const struct outcome *o = l->rcpts[0].outcome;
    int64_t now = clock_wall_ms();
    char text[16];
    struct buf envid = {0};

    v[DSN_VAR_HOSTNAME] = sv_of(l->host);
    v[DSN_VAR_ORIGINATOR] = clean(a, l->env->sender);
    v[DSN_VAR_RECIPIENT] = name_recipients(a, l);
    v[DSN_VAR_RECIPIENTS] = list_recipients(a, l);
    v[DSN_VAR_SUBJECT] = header_value(a, l, SV("\nsubject\n"));
    if (!v[DSN_VAR_SUBJECT].len)
        v[DSN_VAR_SUBJECT] = SV("(no subject)");
    v[DSN_VAR_RESPONSE] = clean(a, o->text);
    v[DSN_VAR_STATUS] = sv_of(arena_strdup(a, outcome_status(o, text)));
    snprintf(text, sizeof(text), "%u", l->rcpts[0].attempts);
    v[DSN_VAR_ATTEMPTS] = sv_of(arena_strdup(a, text));
    v[DSN_VAR_DATE] = date(a, now);
    v[DSN_VAR_ACCEPTED] = date(a, l->env->received_ms);
    v[DSN_VAR_TIME_QUEUED] = interval(a, now - l->env->received_ms);
    v[DSN_VAR_RETRY_AFTER] = l->next_ms ? interval(a, l->next_ms - now) : SV("");
    v[DSN_VAR_BOUNCE_AFTER] = interval(a, l->bounce_after_ms);
    v[DSN_VAR_MESSAGE_ID] = sv_of(l->id);
    dsn_unxtext(l->env->envid, &envid);
    v[DSN_VAR_ENVELOPE_ID] = clean(a, buf_view(&envid));
    v[DSN_VAR_JOB_ID] = clean(a, l->env->job);
    v[DSN_VAR_PIPE] = sv_of(l->pipe);
    buf_free(&envid);
}

/* --- header --- */

static void add_recipients(const struct dsn_letter *l, struct arena *a, struct envelope *env)
{
    struct strview rest = l->copy_to, one;
    size_t room = 1;

    for (size_t i = 0; i < rest.len; i++)
        room += rest.ptr[i] == ',';
    env->rcpts = arena_alloc(a, (room + 1) * sizeof(*env->rcpts));
    env->rcpts[env->rcpt_count++] = (struct envelope_rcpt){
        .address = arena_sv(a, l->env->sender),
        .notify = NOTIFY_NEVER,
    };
    while (sv_split(&rest, ',', &one) && env->rcpt_count <= room) {
        one = sv_trim(one);
        if (one.len)
            env->rcpts[env->rcpt_count++] =
                (struct envelope_rcpt){.address = arena_sv(a, one), .notify = NOTIFY_NEVER};
    }
}

static void put_template(struct wire *w, const char *name, const char *template,
                         const struct strview *v, bool utf8)
{
    struct buf text = {0};

    dsn_template_expand(sv_of(template), false, v, &text);
    wire_field_encoded(w, name, buf_view(&text), utf8);
    buf_free(&text);
}

static void put_header(const struct dsn_letter *l, const struct strview *v, struct arena *a,
                       bool utf8, struct envelope *env, struct wire *w)
{
    char when[CLOCK_RFC5322_SIZE];
    struct strview original = header_value(a, l, SV("\nmessage-id\n"));
    struct buf text = {0};

    wire_field(w, "Date", sv_of(clock_rfc5322(env->received_ms, when)), false);
    put_template(w, "From", l->from ? l->from : "Mail delivery <postmaster@${hostname}>", v, utf8);
    buf_printf(&text, "<%.*s>", SV_ARG(l->env->sender));
    wire_field(w, "To", buf_view(&text), utf8);
    put_template(w, "Subject", l->subject ? l->subject : default_subject[l->kind], v, utf8);
    buf_printf(w->out, "Message-ID: <%s>\r\n", l->message_id);
    if (original.len > 2 && original.len < 500 && !dsn_is_8bit(original)) {
        wire_field(w, "In-Reply-To", original, false);
        wire_field(w, "References", original, false);
    }
    buf_printf(w->out,
               "Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"
               "Content-Type: multipart/report; report-type=delivery-status;\r\n"
               " boundary=\"%s\"\r\n\r\n",
               l->boundary);
    buf_free(&text);
    env->header_bytes = (uint32_t)buf_len(w->out);
}

/* --- parts --- */

static void begin_part(const struct dsn_letter *l, struct wire *w, const char *type,
                       const char *description, const char *encoding)
{
    buf_printf(w->out, "--%s\r\nContent-Type: %s\r\nContent-Description: %s\r\n", l->boundary, type,
               description);
    if (encoding)
        buf_printf(w->out, "Content-Transfer-Encoding: %s\r\n", encoding);
    buf_append(w->out, "\r\n", 2);
}

static void put_held(const struct dsn_letter *l, struct buf *out)
{
    char since[CLOCK_RFC5322_SIZE];

    if (!l->held.count)
        return;
    buf_printf(out,
               "\n%u more %s about your mail %s held back since\n%s, because there were too "
               "many.\n",
               l->held.count, l->held.count == 1 ? "notice" : "notices",
               l->held.count == 1 ? "was" : "were", clock_rfc5322(l->held.since_ms, since));
}

static void put_text(const struct dsn_letter *l, const struct strview *v, bool utf8, struct wire *w)
{
    struct buf text = {0};

    dsn_template_expand(sv_of(l->body ? l->body : default_body[l->kind]), true, v, &text);
    put_held(l, &text);
    bool is_8bit = dsn_is_8bit(buf_view(&text));
    begin_part(l, w, is_8bit ? "text/plain; charset=utf-8" : "text/plain; charset=us-ascii",
               "Notification",
               !is_8bit ? NULL
               : utf8   ? "8bit"
                        : "quoted-printable");
    if (is_8bit && !utf8)
        wire_quoted(w, buf_view(&text));
    else
        wire_text(w, buf_view(&text));
    buf_append(w->out, "\r\n", 2);
    buf_free(&text);
}

static void put_status(const struct dsn_letter *l, bool utf8, struct wire *w)
{
    struct buf fields = {0};
    struct wire f = {.out = &fields};

    dsn_status_write(l, &f);
    begin_part(l, w,
               l->plain_text      ? (f.is_8bit ? "text/plain; charset=utf-8" : "text/plain")
               : dsn_is_global(l) ? "message/global-delivery-status"
                                  : "message/delivery-status",
               "Delivery report",
               !f.is_8bit ? NULL
               : utf8     ? "8bit"
                          : "quoted-printable");
    if (f.is_8bit && !utf8)
        wire_quoted(w, buf_view(&fields));
    else
        wire_text(w, buf_view(&fields));
    buf_append(w->out, "\r\n", 2);
    buf_free(&fields);
}

/* message/rfc822 is 7-bit or 8-bit, the others may be encoded. */
static void put_original(const struct dsn_letter *l, bool utf8, struct wire *w)
{
    bool full = l->content.len != 0, global = dsn_is_global(l);
    struct strview what = full ? l->content : l->header;
    const char *type = full ? (global ? "message/global" : "message/rfc822")
                            : (global ? "message/global-headers" : "text/rfc822-headers");

    if (!full && what.len >= 4 && memcmp(what.ptr + what.len - 4, "\r\n\r\n", 4) == 0)
        what.len -= 2; /* the blank line belongs to no field */
    bool is_8bit = dsn_is_8bit(what);
    bool quoted = is_8bit && !utf8 && (global || !full);
    begin_part(l, w, type, full ? "Undelivered message" : "Message header",
               !is_8bit ? NULL
               : quoted ? "quoted-printable"
                        : "8bit");
    if (quoted)
        wire_stored_quoted(w, what);
    else
        wire_stored(w, what);
}

void dsn_letter_write(const struct dsn_letter *l, struct arena *a, struct buf *content,
                      struct envelope *env)
{
    bool utf8 = dsn_is_8bit(l->env->sender);
    struct strview v[DSN_VARIABLE_COUNT];
    struct wire w = {.out = content};

    BUG_ON(!l->rcpt_count || !l->env->sender.len);
    *env = (struct envelope){.received_ms = clock_wall_ms(), .source = SV(ENVELOPE_DSN_SOURCE)};
    add_recipients(l, a, env);
    fill(l, a, v);
    put_header(l, v, a, utf8, env, &w);
    buf_append_str(content, "This is a delivery notice in MIME format.\r\n\r\n");
    put_text(l, v, utf8, &w);
    put_status(l, utf8, &w);
    put_original(l, utf8, &w);
    buf_printf(content, "\r\n--%s--\r\n", l->boundary);
    w.is_8bit |= dsn_is_8bit(buf_view(content));
    env->content_bytes = buf_len(content);
    env->stuffed_dots = w.stuffed_dots;
    env->flags = (w.is_8bit ? ENVELOPE_8BIT : 0u) | (utf8 ? ENVELOPE_SMTPUTF8 : 0u);
}
