/*
 * A log line as text, as JSON, for syslog and for the journal. Called by log.c, up to 20,000 times
 * a second: no printf where a delivery attempt goes through.
 *
 * Text: NAME=VALUE, the value bare when no byte of it could be misread, else in single quotes; in
 * quotes, control bytes, the quote and the backslash are \xNN. JSON: RFC 8259. syslog: RFC 5424, or
 * what syslog(3) sends. journald: systemd.io/JOURNAL_NATIVE_PROTOCOL.
 */
#include "base/log_form.h"

#include "base/swar.h"

#include <endian.h>
#include <stdio.h>
#include <time.h>

static const char *const level_names[] = {
#define LOG_NAME(name, text, severity) text,
    LOG_LEVELS(LOG_NAME)
#undef LOG_NAME
};

static const unsigned severities[] = {
#define LOG_SEVERITY(name, text, severity) severity,
    LOG_LEVELS(LOG_SEVERITY)
#undef LOG_SEVERITY
};

static const char *const subsystem_names[] = {
#define LOG_NAME(name, text) text,
    LOG_SUBSYSTEMS(LOG_NAME)
#undef LOG_NAME
};

static const char hex[] = "0123456789abcdef";

const char *log_level_name(enum log_level level)
{
    return level_names[level];
}

const char *log_subsystem_name(enum log_subsystem subsystem)
{
    return subsystem_names[subsystem];
}

enum log_level log_level_find(struct strview name)
{
    unsigned i = 0;

    while (i < LOG_LEVEL_COUNT && !sv_eq(name, sv_of(level_names[i])))
        i++;
    return (enum log_level)i;
}

static void put_number(struct buf *out, int64_t n)
{
    char digits[24];
    size_t at = sizeof(digits);
    uint64_t u = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;

    do
        digits[--at] = (char)('0' + u % 10);
    while (u /= 10);
    if (n < 0)
        digits[--at] = '-';
    buf_append(out, digits + at, sizeof(digits) - at);
}

static bool is_left_out(const struct log_field *f, const struct log_value *v)
{
    return f->kind == LOG_FIELD_NUMBER ? v->number == LOG_NO_NUMBER : v->text.ptr == NULL;
}

/* What of the value is shown. */
static struct strview shown(const struct log_field *f, const struct log_value *v)
{
    return sv(v->text.ptr, f->max && v->text.len > f->max ? f->max : v->text.len);
}

/* --- text --- */

/* Bytes that stand for themselves inside of quotes. */
static inline bool is_quotable(unsigned char c)
{
    return c >= 0x20 && c != 0x7f && c != '\'' && c != '\\';
}

static size_t bare_length(struct strview s)
{
    size_t n = 0;

    while (n < s.len && (unsigned char)s.ptr[n] != ' ' && is_quotable((unsigned char)s.ptr[n]))
        n++;
    return n;
}

static void put_escaped(struct strview s, struct buf *out)
{
    size_t plain = 0;

    for (size_t i = 0; i <= s.len; i++) {
        unsigned char c = i < s.len ? (unsigned char)s.ptr[i] : 0;
        if (i < s.len && is_quotable(c))
            continue;
        buf_append(out, s.ptr + plain, i - plain);
        plain = i + 1;
        if (i < s.len)
            buf_append(out, (char[]){'\\', 'x', hex[c >> 4], hex[c & 15]}, 4);
    }
}

static void put_text_value(const struct log_field *f, const struct log_value *v, struct buf *out)
{
    struct strview s = shown(f, v);

    if (f->kind == LOG_FIELD_NUMBER) {
        put_number(out, v->number);
    } else if (f->kind == LOG_FIELD_WORD && s.len && s.len == v->text.len &&
               bare_length(s) == s.len) {
        buf_append(out, s.ptr, s.len);
    } else {
        buf_append_char(out, '\'');
        put_escaped(s, out);
        buf_append_str(out, s.len < v->text.len ? "...'" : "'");
    }
}

static void put_body(const struct log_form *f, struct buf *out)
{
    buf_append_sv(out, f->message);
    for (size_t i = 0; i < f->count; i++) {
        if (is_left_out(&f->fields[i], &f->values[i]))
            continue;
        buf_append_char(out, ' ');
        buf_append_str(out, f->fields[i].name);
        buf_append_char(out, '=');
        put_text_value(&f->fields[i], &f->values[i], out);
    }
}

static void put_subsystem(const struct log_form *f, struct buf *out)
{
    buf_append_str(out, subsystem_names[f->subsystem]);
    buf_append(out, ": ", 2);
}

void log_form_head(const struct log_form *f, struct buf *out)
{
    static const char *const columns[] = {" debug ", " info  ", " warn  ", " error "};

    buf_append_str(out, f->stamp);
    buf_append(out, columns[f->level], 7);
    buf_append_str(out, f->process);
    buf_append_char(out, '[');
    put_number(out, f->pid);
    buf_append(out, "] ", 2);
    put_subsystem(f, out);
}

void log_form_text(const struct log_form *f, struct buf *out)
{
    log_form_head(f, out);
    put_body(f, out);
}

/* --- JSON --- */

/* Length of the UTF-8 sequence at s (RFC 3629), or 0 when it is none. */
static size_t utf8_length(const unsigned char *s, size_t len)
{
    size_t n = s[0] < 0x80                   ? 1
               : s[0] >= 0xc2 && s[0] < 0xe0 ? 2
               : s[0] >= 0xe0 && s[0] < 0xf0 ? 3
               : s[0] >= 0xf0 && s[0] < 0xf5 ? 4
                                             : 0;
    if (!n || n > len)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    bool odd = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
               (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f);
    return odd ? 0 : n;
}

static void put_json_odd(unsigned char c, struct buf *out)
{
    if (c >= 0x80 || c == 0) /* most readers of JSON refuse a NUL */
        buf_append(out, "\xef\xbf\xbd", 3);
    else if (c == '"' || c == '\\')
        buf_append(out, (char[]){'\\', (char)c}, 2);
    else
        buf_append(out, (char[]){'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]}, 6);
}

/* One bit for each byte value that stands for itself; of the others put_json_inside knows more. */
static const uint64_t json_plain[4] = {
    ~(uint64_t)UINT32_MAX & ~(1ull << '"'),
    ~(1ull << ('\\' - 64) | 1ull << (0x7f - 64)),
};

static bool is_json_plain(unsigned char c)
{
    return json_plain[c >> 6] >> (c & 63) & 1;
}

static inline uint64_t json_odd(uint64_t x)
{
    return swar_high(x) | swar_below(x, 0x20) | swar_equal(x, '"') | swar_equal(x, '\\') |
           swar_equal(x, 0x7f);
}

static void put_json_inside(struct strview s, struct buf *out)
{
    const unsigned char *p = (const unsigned char *)s.ptr;
    size_t plain = 0, i = 0;

    for (;;) {
        while (i < s.len && is_json_plain(p[i]))
            i++;
        if (i == s.len)
            break;
        size_t n = p[i] < 0x80 ? 0 : utf8_length(p + i, s.len - i);
        if (n) {
            i += n;
            continue;
        }
        buf_append(out, s.ptr + plain, i - plain);
        put_json_odd(p[i], out);
        plain = ++i;
    }
    buf_append(out, s.ptr + plain, s.len - plain);
}

void log_form_json_text(struct strview s, struct buf *out)
{
    char *to = buf_reserve(out, s.len + 2);

    if (swar_copy(to + 1, s.ptr, s.len, json_odd)) {
        to[0] = to[s.len + 1] = '"';
        buf_advance(out, s.len + 2);
        return;
    }
    buf_append_char(out, '"');
    put_json_inside(s, out);
    buf_append_char(out, '"');
}

/* A text that is cut must not end in half a character. */
static struct strview whole_characters(struct strview s)
{
    size_t n = s.len;

    while (n && s.len - n < 4 && ((unsigned char)s.ptr[n - 1] & 0xc0) == 0x80)
        n--;
    if (n && (unsigned char)s.ptr[n - 1] >= 0xc0 &&
        !utf8_length((const unsigned char *)s.ptr + n - 1, s.len - n + 1))
        return sv(s.ptr, n - 1);
    return s;
}

static void put_json_value(const struct log_field *f, const struct log_value *v, struct buf *out)
{
    struct strview s = shown(f, v);

    if (f->kind == LOG_FIELD_NUMBER) {
        put_number(out, v->number);
        return;
    }
    bool cut = s.len < v->text.len;
    buf_append_char(out, '"');
    put_json_inside(cut ? whole_characters(s) : s, out);
    buf_append_str(out, cut ? "...\"" : "\"");
}

void log_form_json(const struct log_form *f, struct buf *out)
{
    buf_append_str(out, "{\"time\":\"");
    buf_append_str(out, f->stamp);
    buf_append_str(out, "\",\"level\":\"");
    buf_append_str(out, level_names[f->level]);
    buf_append_str(out, "\",\"process\":");
    log_form_json_text(sv_of(f->process), out);
    buf_append_str(out, ",\"pid\":");
    put_number(out, f->pid);
    buf_append_str(out, ",\"subsystem\":\"");
    buf_append_str(out, subsystem_names[f->subsystem]);
    buf_append_str(out, "\",\"message\":");
    log_form_json_text(f->message, out);
    for (size_t i = 0; i < f->count; i++) {
        if (is_left_out(&f->fields[i], &f->values[i]))
            continue;
        buf_append(out, ",\"", 2);
        buf_append_str(out, f->fields[i].name);
        buf_append(out, "\":", 2);
        put_json_value(&f->fields[i], &f->values[i], out);
    }
    buf_append_char(out, '}');
}

/* --- syslog --- */

/* "Nov 21 04:05:06", local time (RFC 3164 section 4.1.2). */
static void put_local_time(int64_t wall_ms, struct buf *out)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    time_t t = (time_t)(wall_ms / 1000);
    struct tm tm;

    localtime_r(&t, &tm);
    buf_printf(out, "%.3s %2d %02d:%02d:%02d", months + 3 * tm.tm_mon, tm.tm_mday, tm.tm_hour,
               tm.tm_min, tm.tm_sec);
}

void log_form_syslog(const struct log_form *f, bool rfc3164, bool json, struct buf *out)
{
    buf_append_char(out, '<');
    put_number(out, f->facility * 8 + severities[f->level]);
    buf_append_str(out, rfc3164 ? ">" : ">1 ");
    if (rfc3164) {
        put_local_time(f->wall_ms, out);
        buf_append_str(out, " pmta[");
        put_number(out, f->pid);
        buf_append_str(out, "]: ");
    } else {
        buf_append_str(out, f->stamp);
        buf_append_char(out, ' ');
        buf_append_str(out, f->host[0] ? f->host : "-");
        buf_append_str(out, " pmta ");
        put_number(out, f->pid);
        buf_append_char(out, ' ');
        buf_append_str(out, subsystem_names[f->subsystem]);
        buf_append_str(out, " - ");
    }
    if (json) {
        log_form_json(f, out);
        return;
    }
    if (f->level >= LOG_WARN) { /* many syslogs drop the severity when they write */
        buf_append_str(out, level_names[f->level]);
        buf_append_char(out, ' ');
    }
    buf_append_str(out, f->process);
    buf_append_char(out, ' ');
    put_subsystem(f, out);
    put_body(f, out);
}

/* --- journald --- */

static void put_name(const char *name, struct buf *out)
{
    buf_append(out, "PMTA_", 5);
    for (; *name; name++)
        buf_append_char(out, *name >= 'a' && *name <= 'z' ? (char)(*name - 32) : *name);
}

/* From `at` on there is NAME and nothing else: its value follows. */
static void put_journal_value(struct strview s, struct buf *out)
{
    uint64_t len = htole64(s.len);

    if (s.len && memchr(s.ptr, '\n', s.len)) {
        buf_append_char(out, '\n');
        buf_append(out, &len, sizeof(len));
    } else {
        buf_append_char(out, '=');
    }
    buf_append_sv(out, s);
    buf_append_char(out, '\n');
}

static void put_journal_text(const char *name, struct strview value, struct buf *out)
{
    buf_append_str(out, name);
    put_journal_value(value, out);
}

void log_form_journald(const struct log_form *f, struct buf *out)
{
    struct buf body = {0};
    char text[32];

    put_body(f, &body);
    put_journal_text("MESSAGE", buf_view(&body), out);
    buf_free(&body);
    snprintf(text, sizeof(text), "%u", severities[f->level]);
    put_journal_text("PRIORITY", sv_of(text), out);
    snprintf(text, sizeof(text), "%u", f->facility);
    put_journal_text("SYSLOG_FACILITY", sv_of(text), out);
    put_journal_text("SYSLOG_IDENTIFIER", SV("pmta"), out);
    put_journal_text("PMTA_PROCESS", sv_of(f->process), out);
    put_journal_text("PMTA_SUBSYSTEM", sv_of(subsystem_names[f->subsystem]), out);
    for (size_t i = 0; i < f->count; i++) {
        if (is_left_out(&f->fields[i], &f->values[i]))
            continue;
        put_name(f->fields[i].name, out);
        if (f->fields[i].kind == LOG_FIELD_NUMBER) {
            snprintf(text, sizeof(text), "%lld", (long long)f->values[i].number);
            put_journal_value(sv_of(text), out);
        } else {
            put_journal_value(shown(&f->fields[i], &f->values[i]), out);
        }
    }
}
