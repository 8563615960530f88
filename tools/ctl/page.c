/*
 * Pages for people; see page.h.
 */
#include "page.h"

#include "base/clock.h"

#include <stdio.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

static const char *const colour_codes[] = {
    [COLOUR_NONE] = "",        [COLOUR_GOOD] = "\033[32m",  [COLOUR_WARN] = "\033[33m",
    [COLOUR_BAD] = "\033[31m", [COLOUR_STRONG] = "\033[1m", [COLOUR_DIM] = "\033[2m",
};

void page_init(struct page *p)
{
    const char *no_colour = getenv("NO_COLOR"), *term = getenv("TERM");
    struct winsize size;

    *p = (struct page){.now_ms = clock_wall_ms()};
    if (!isatty(STDOUT_FILENO))
        return;
    p->width = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80;
    p->colour = !(no_colour && *no_colour) && term && *term && strcmp(term, "dumb") != 0;
}

void page_text(struct page *p, enum colour c, const char *text)
{
    bool coloured = p->colour && c != COLOUR_NONE;

    if (coloured)
        buf_append_str(&p->out, colour_codes[c]);
    buf_append_str(&p->out, text);
    if (coloured)
        buf_append_str(&p->out, "\033[0m");
}

void page_printf(struct page *p, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    buf_vprintf(&p->out, fmt, ap);
    va_end(ap);
}

void page_heading(struct page *p, const char *text)
{
    if (buf_len(&p->out))
        buf_append_char(&p->out, '\n');
    page_text(p, COLOUR_STRONG, text);
    buf_append_char(&p->out, '\n');
}

/* Length of what must not reach a terminal at s: C0, DEL, C1, and the direction overrides. */
static size_t unsafe_length(const unsigned char *s)
{
    if (s[0] < ' ' || s[0] == 0x7f)
        return 1;
    if (s[0] == 0xc2 && s[1] >= 0x80 && s[1] < 0xa0)
        return 2;
    if (s[0] == 0xe2 && s[1] == 0x80 && s[2] >= 0xaa && s[2] <= 0xae)
        return 3;
    if (s[0] == 0xe2 && s[1] == 0x81 && s[2] >= 0xa6 && s[2] <= 0xa9)
        return 3;
    return 0;
}

void page_clean(struct buf *out, const char *text)
{
    while (*text) {
        size_t bad = unsafe_length((const unsigned char *)text);
        if (bad)
            buf_append_char(out, strchr("\r\n\t", *text) ? ' ' : '?');
        else
            buf_append_char(out, *text);
        text += bad ? bad : 1;
    }
}

void page_paragraph(struct page *p, size_t indent, const char *text)
{
    size_t edge = p->width ? MAX_OF(p->width, (size_t)40) : 100, column = 0;
    struct buf clean = {0};
    struct strview rest, word;

    page_clean(&clean, text);
    rest = buf_view(&clean);
    while (sv_split(&rest, ' ', &word)) {
        struct buf one = {0};
        if (!word.len)
            continue;
        buf_append_sv(&one, word);
        size_t width = text_width(buf_data(&one));
        if (column && column + 1 + width > edge) {
            buf_append_char(&p->out, '\n');
            column = 0;
        }
        if (!column) {
            buf_printf(&p->out, "%*s", (int)indent, "");
            column = indent;
        } else {
            buf_append_char(&p->out, ' ');
            column++;
        }
        buf_append_sv(&p->out, word);
        column += width;
        buf_free(&one);
    }
    buf_append_char(&p->out, '\n');
    buf_free(&clean);
}

size_t text_width(const char *text)
{
    size_t n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

/* --- quantities --- */

char *human_count(int64_t n, char *out)
{
    char digits[24];
    int len = snprintf(digits, sizeof(digits), "%lld", (long long)n), at = 0;

    for (int i = 0; i < len; i++) {
        if (i && ascii_is_digit(digits[i - 1]) && (len - i) % 3 == 0)
            out[at++] = ',';
        out[at++] = digits[i];
    }
    out[at] = '\0';
    return out;
}

char *human_bytes(int64_t n, char *out)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double value = (double)n;
    size_t i = 0;

    while (value >= 1024 && i + 1 < ARRAY_LEN(units)) {
        value /= 1024;
        i++;
    }
    snprintf(out, HUMAN_SIZE, i && value < 10 ? "%.1f %s" : "%.0f %s", value, units[i]);
    return out;
}

char *human_duration(int64_t ms, char *out)
{
    static const struct {
        char unit;
        int64_t seconds;
    } units[] = {{'d', 86400}, {'h', 3600}, {'m', 60}, {'s', 1}};
    int64_t s = MAX_OF(ms, (int64_t)0) / 1000;
    size_t i = 0;

    while (i + 1 < ARRAY_LEN(units) && s < units[i].seconds)
        i++;
    int n = snprintf(out, HUMAN_SIZE, "%lld%c", (long long)(s / units[i].seconds), units[i].unit);
    s %= units[i].seconds;
    if (i + 1 < ARRAY_LEN(units) && s / units[i + 1].seconds)
        snprintf(out + n, HUMAN_SIZE - (size_t)n, " %lld%c", (long long)(s / units[i + 1].seconds),
                 units[i + 1].unit);
    return out;
}

char *human_time(int64_t wall_ms, int64_t now_ms, char *out)
{
    time_t then = (time_t)(wall_ms / 1000), now = (time_t)(now_ms / 1000);
    struct tm a, b;

    localtime_r(&then, &a);
    localtime_r(&now, &b);
    bool today = a.tm_year == b.tm_year && a.tm_yday == b.tm_yday;
    if (!strftime(out, HUMAN_SIZE, today ? "%H:%M:%S" : "%Y-%m-%d %H:%M:%S", &a))
        out[0] = '\0';
    return out;
}

enum colour state_colour(const char *state)
{
    static const struct {
        const char *word;
        enum colour colour;
    } states[] = {
        {"running", COLOUR_GOOD},    {"active", COLOUR_GOOD},    {"paused", COLOUR_WARN},
        {"starting", COLOUR_WARN},   {"draining", COLOUR_WARN},  {"recovering", COLOUR_WARN},
        {"connecting", COLOUR_WARN}, {"deferred", COLOUR_WARN},  {"backoff", COLOUR_BAD},
        {"sending", COLOUR_GOOD},    {"done", COLOUR_DIM},       {"idle", COLOUR_DIM},
        {"held", COLOUR_WARN},       {"throttled", COLOUR_WARN}, {"retry", COLOUR_BAD},
        {"suspended", COLOUR_WARN},  {"ok", COLOUR_GOOD},        {"failing", COLOUR_BAD},
        {"waiting", COLOUR_WARN},
    };
    for (size_t i = 0; i < ARRAY_LEN(states); i++)
        if (strcmp(states[i].word, state) == 0)
            return states[i].colour;
    return COLOUR_NONE;
}

/* --- fields --- */

const char *field_text(const json_t *o, const char *name)
{
    return json_string_value(json_object_get(o, name));
}

bool field_place(const struct page *p, const json_t *o, struct buf *ret)
{
    const char *file = field_text(o, "file"), *slash = file ? strrchr(file, '/') : NULL;
    int64_t line;

    if (!file || !*file)
        return false;
    buf_append_str(ret, p->width && slash ? slash + 1 : file);
    if (field_number(o, "line", &line))
        buf_printf(ret, ":%lld", (long long)line);
    return true;
}

bool field_number(const json_t *o, const char *name, int64_t *ret)
{
    const json_t *v = json_object_get(o, name);

    if (json_is_integer(v))
        *ret = (int64_t)json_integer_value(v);
    else if (json_is_real(v) && json_real_value(v) > -9e15 && json_real_value(v) < 9e15)
        *ret = (int64_t)json_real_value(v);
    else
        return false;
    return true;
}
