/*
 * Lines of the log as objects; see log_record.h. Called by logs.c for each line that may match.
 *
 * Text is TIME LEVEL PROCESS[PID] SUBSYSTEM: MESSAGE NAME=VALUE ..., where a value in quotes has
 * \xNN for what could be misread: nothing that a peer said looks like a field of ours. A sentence
 * with NAME=VALUE inside of it (debug output) gives fields in the same way.
 */
#include "log_record.h"

#include "base/log.h"

#include <fnmatch.h>
#include <stdio.h>

enum { STAMP_BYTES = 24 }; /* 2026-11-21T04:05:06.789Z */

static bool is_name_byte(char c)
{
    return (c >= 'a' && c <= 'z') || ascii_is_digit(c) || c == '_' || c == '-';
}

static int hex_value(char c)
{
    return ascii_is_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The text of a quoted value, of which `at` is behind the first quote; what is not UTF-8 is
 * replaced. Returns where it ends, or NULL. */
static const char *take_quoted(const char *at, const char *end, struct buf *out)
{
    for (; at < end && *at != '\''; at++) {
        int high = end - at > 3 && at[0] == '\\' && at[1] == 'x' ? hex_value(at[2]) : -1;
        int low = high >= 0 ? hex_value(at[3]) : -1;
        if (low >= 0) {
            buf_append_char(out, (char)(high << 4 | low));
            at += 3;
        } else {
            buf_append_char(out, *at);
        }
    }
    return at < end ? at + 1 : NULL;
}

static json_t *text_value(struct strview s)
{
    json_t *value = json_stringn(s.ptr, s.len);
    struct buf clean = {0};

    for (size_t i = 0; !value && i < s.len; i++) {
        if ((unsigned char)s.ptr[i] < 0x80)
            buf_append_char(&clean, s.ptr[i]);
        else
            buf_append_str(&clean, "\xef\xbf\xbd");
    }
    if (!value)
        value = json_stringn(buf_data(&clean), buf_len(&clean));
    buf_free(&clean);
    return value;
}

static json_t *bare_value(struct strview s)
{
    uint64_t n;

    if (s.len < 16 && (s.len == 1 || s.ptr[0] != '0') && sv_to_u64(s, &n))
        return json_integer((json_int_t)n);
    return text_value(s);
}

/* NAME=VALUE at `at`: adds it and returns what is behind it, or NULL. */
static const char *take_field(json_t *o, const char *at, const char *end)
{
    const char *name = at;
    struct buf quoted = {0};
    char key[64];

    while (at < end && is_name_byte(*at))
        at++;
    if (at == name || at == end || *at != '=' || (size_t)(at - name) >= sizeof(key))
        return NULL;
    snprintf(key, sizeof(key), "%.*s", (int)(at - name), name);
    at++;
    if (at < end && *at == '\'') {
        at = take_quoted(at + 1, end, &quoted);
        if (at && !json_object_get(o, key))
            json_object_set_new(o, key, text_value(buf_view(&quoted)));
        buf_free(&quoted);
        return at;
    }
    const char *value = at;
    while (at < end && *at != ' ')
        at++;
    if (!json_object_get(o, key))
        json_object_set_new(o, key, bare_value(sv(value, (size_t)(at - value))));
    return at;
}

/* "delivered id=… reply='…'": what is before the first field is the message, unless words follow
 * that are none: then it is the whole. */
static void take_body(json_t *o, struct strview body)
{
    const char *at = body.ptr, *end = body.ptr + body.len, *first = NULL;
    bool words = false;

    while (at < end) {
        const char *behind = take_field(o, at, end);
        if (behind && !first)
            first = at;
        words = words || (!behind && first);
        at = behind ? behind : memchr(at, ' ', (size_t)(end - at));
        if (!at)
            break;
        while (at < end && *at == ' ')
            at++;
    }
    bool split = first && first > body.ptr && !words;
    json_object_set_new(o, "message",
                        text_value(split ? sv(body.ptr, (size_t)(first - body.ptr) - 1) : body));
}

static json_t *parse_text(struct strview line)
{
    struct strview rest = line, time, level, process, pid = SV(""), subsystem;

    if (!sv_split(&rest, ' ', &time) || time.len != STAMP_BYTES || time.ptr[10] != 'T' ||
        !sv_split(&rest, ' ', &level) || log_level_find(level) == LOG_LEVEL_COUNT || !rest.ptr)
        return NULL;
    while (rest.len && rest.ptr[0] == ' ')
        rest = sv(rest.ptr + 1, rest.len - 1);
    if (!sv_split(&rest, ' ', &process) || !sv_split(&rest, ' ', &subsystem) || !rest.ptr)
        return NULL;
    ptrdiff_t bracket = sv_find(process, '[');
    if (bracket < 0 || subsystem.len < 2 || subsystem.ptr[subsystem.len - 1] != ':')
        return NULL;
    pid = sv(process.ptr + bracket + 1, process.len - (size_t)bracket - 1);
    process.len = (size_t)bracket;
    json_t *o = json_object();
    json_object_set_new(o, "time", text_value(time));
    json_object_set_new(o, "level", text_value(level));
    json_object_set_new(o, "process", text_value(process));
    json_object_set_new(o, "pid", json_integer((json_int_t)strtol(pid.ptr, NULL, 10)));
    json_object_set_new(o, "subsystem", text_value(sv(subsystem.ptr, subsystem.len - 1)));
    json_object_set_new(o, "message", json_string(""));
    take_body(o, rest);
    return o;
}

static json_t *parse_json(struct strview line)
{
    json_t *o = json_loadb(line.ptr, line.len, 0, NULL);
    const char *message = field_text(o, "message");

    if (field_text(o, "time") && field_text(o, "level") && message) {
        if (strchr(message, '=')) { /* a sentence: what is in it can be asked for, too */
            json_t *body = json_incref(json_object_get(o, "message"));
            take_body(o, sv_of(json_string_value(body)));
            json_object_set_new(o, "message", body);
        }
        return o;
    }
    json_decref(o);
    return NULL;
}

json_t *log_record_parse(struct strview line)
{
    return line.len && line.ptr[0] == '{' ? parse_json(line) : parse_text(line);
}

/* --- filters --- */

/* A field of the object, or of a sentence's words, as text; "" when there is none. */
static const char *value_of(const json_t *o, const char *name, char *number, size_t size)
{
    const json_t *v = json_object_get(o, name);

    if (json_is_integer(v)) {
        snprintf(number, size, "%lld", (long long)json_integer_value(v));
        return number;
    }
    return json_is_string(v) ? json_string_value(v) : "";
}

/* * and ? alone have a meaning. */
static bool glob_matches(const char *pattern, const char *text)
{
    struct buf plain = {0};

    for (; *pattern; pattern++) {
        if (*pattern == '[' || *pattern == '\\')
            buf_append_char(&plain, '\\');
        buf_append_char(&plain, *pattern);
    }
    bool matches = fnmatch(buf_data(&plain), text, FNM_CASEFOLD) == 0;
    buf_free(&plain);
    return matches;
}

static bool is_like(const json_t *o, const char *name, const char *pattern)
{
    char number[32];
    return !pattern || glob_matches(pattern, value_of(o, name, number, sizeof(number)));
}

/* The pipe itself, and what receivers say of mail to it. */
static bool is_of_pipe(const json_t *o, const char *pipe)
{
    const char *process = field_text(o, "process"), *to = field_text(o, "pipe");

    if (!pipe)
        return true;
    return (process && strncmp(process, "pipe/", 5) == 0 && strcmp(process + 5, pipe) == 0) ||
           (to && strcmp(to, pipe) == 0);
}

/* The message, or with ID.N one recipient of it. */
static bool is_of_id(const json_t *o, const char *id)
{
    char number[32];
    const char *is = value_of(o, "id", number, sizeof(number));
    size_t len = id ? strlen(id) : 0;

    return !id || (strncasecmp(is, id, len) == 0 && (!is[len] || is[len] == '.'));
}

static bool is_of_queue(const json_t *o, const char *queue)
{
    char whole[600];

    snprintf(whole, sizeof(whole), "%s%s", queue ? queue : "",
             queue && !strchr(queue, '/') ? "/*" : "");
    return !queue || is_like(o, "queue", whole);
}

bool log_filter_matches(const struct log_filter *f, const json_t *o)
{
    const char *level = field_text(o, "level"), *time = field_text(o, "time");

    return (int)log_level_find(sv_of(level)) >= f->level && strcmp(time, f->since) >= 0 &&
           is_of_pipe(o, f->pipe) && is_like(o, "rcpt", f->rcpt) && is_like(o, "job", f->job) &&
           is_like(o, "from", f->sender) && is_of_queue(o, f->queue) && is_of_id(o, f->id);
}

bool log_filter_is_set(const struct log_filter *f)
{
    return f->pipe || f->rcpt || f->sender || f->queue || f->id || f->job;
}

static bool has(struct strview line, const char *word)
{
    size_t len = strlen(word);
    char first[3] = {ascii_lower(word[0]), 0, 0};

    if (ascii_is_alpha(word[0]))
        first[1] = (char)(first[0] - 32);
    for (size_t i = 0; i + len <= line.len; i++)
        if ((line.ptr[i] == first[0] || (first[1] && line.ptr[i] == first[1])) &&
            strncasecmp(line.ptr + i, word, len) == 0)
            return true;
    return false;
}

/* A pattern that stands in the line as it is, whatever the form of the line. */
static bool may_have(struct strview line, const char *pattern)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@._+=/-";
    return !pattern || !*pattern || pattern[strspn(pattern, plain)] || has(line, pattern);
}

bool log_filter_may(const struct log_filter *f, struct strview line)
{
    static const char json_head[] = "{\"time\":\"";
    bool json = line.len > sizeof(json_head) && line.ptr[0] == '{' &&
                memcmp(line.ptr, json_head, sizeof(json_head) - 1) == 0;
    size_t at = json ? sizeof(json_head) - 1 : 0, len = strlen(f->since);

    if (len && line.len > at + len && (json || ascii_is_digit(line.ptr[0])) &&
        memcmp(line.ptr + at, f->since, len) < 0)
        return false;
    return may_have(line, f->rcpt) && may_have(line, f->sender) && may_have(line, f->queue) &&
           may_have(line, f->id) && may_have(line, f->job) && may_have(line, f->pipe);
}

/* --- for people --- */

static enum colour level_colour(const char *level)
{
    return strcmp(level, "error") == 0  ? COLOUR_BAD
           : strcmp(level, "warn") == 0 ? COLOUR_WARN
                                        : COLOUR_DIM;
}

static enum colour message_colour(const char *message)
{
    return strcmp(message, "delivered") == 0                                    ? COLOUR_GOOD
           : strstr(message, "deferred")                                        ? COLOUR_WARN
           : strcmp(message, "bounced") == 0 || strcmp(message, "expired") == 0 ? COLOUR_BAD
                                                                                : COLOUR_NONE;
}

static void print_value(const json_t *v, struct page *p)
{
    char number[32];
    const char *text = json_is_string(v) ? json_string_value(v) : number;

    snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(v));
    bool quoted = !*text || strpbrk(text, " '\\") != NULL;
    if (quoted)
        buf_append_char(&p->out, '\'');
    for (; *text; text++) {
        if (*text == '\'' || *text == '\\')
            buf_printf(&p->out, "\\x%02x", (unsigned char)*text);
        else
            buf_append_char(&p->out, *text);
    }
    if (quoted)
        buf_append_char(&p->out, '\'');
}

static bool is_head(const char *name)
{
    static const char *const head[] = {"time", "level", "process", "pid", "subsystem", "message"};

    for (size_t i = 0; i < ARRAY_LEN(head); i++)
        if (strcmp(name, head[i]) == 0)
            return true;
    return false;
}

static void clean_text(struct page *p, enum colour c, const char *text)
{
    struct buf clean = {0};

    page_clean(&clean, text);
    page_text(p, c, buf_data(&clean));
    buf_free(&clean);
}

static void print_fields(json_t *o, struct page *page, const char *message)
{
    struct page values = {0};
    const char *name;
    json_t *v;

    json_object_foreach(o, name, v)
    {
        char whole[80];
        if (is_head(name) || !(json_is_string(v) || json_is_integer(v)))
            continue;
        snprintf(whole, sizeof(whole), "%s=", name);
        if (strstr(message, whole))
            continue; /* a sentence has it inside */
        buf_append_char(&page->out, ' ');
        clean_text(page, COLOUR_DIM, whole);
        print_value(v, &values);
        page_clean(&page->out, buf_data(&values.out));
        buf_reset(&values.out);
    }
    buf_free(&values.out);
}

void log_record_print(const json_t *record, struct page *page)
{
    json_t *o = (json_t *)(uintptr_t)record; /* iterating wants it so, and changes nothing */
    const char *level = field_text(o, "level"), *process = field_text(o, "process");
    const char *subsystem = field_text(o, "subsystem"), *message = field_text(o, "message");
    char column[16], pid[32];
    int64_t number = 0;

    clean_text(page, COLOUR_DIM, field_text(o, "time"));
    snprintf(column, sizeof(column), " %-5s ", level);
    clean_text(page, level_colour(level), column);
    clean_text(page, COLOUR_STRONG, process ? process : "?");
    field_number(o, "pid", &number);
    snprintf(pid, sizeof(pid), "[%lld] ", (long long)number);
    page_text(page, COLOUR_DIM, pid);
    clean_text(page, COLOUR_DIM, subsystem ? subsystem : "?");
    page_text(page, COLOUR_DIM, ": ");
    clean_text(page, message_colour(message), message);
    print_fields(o, page, message);
    buf_append_char(&page->out, '\n');
}
