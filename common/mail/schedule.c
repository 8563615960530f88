/*
 * Delivery windows; see schedule.h. Pure functions over a fixed array: a sender can neither make it
 * grow nor make it slow. The calendar is proleptic Gregorian and has no leap seconds, as time_t.
 */
#include "mail/schedule.h"

enum { YEAR_MIN = 1970, YEAR_MAX = 9999 };

/* Days from 1970-01-01; the year is taken to begin in March, so that the leap day is its last. */
static int64_t days_since_epoch(int64_t year, unsigned month, unsigned day)
{
    if (month <= 2)
        year--;
    int64_t century_days = year * 365 + year / 4 - year / 100 + year / 400;
    unsigned month_from_march = (month + 9) % 12;
    return century_days + (153 * month_from_march + 2) / 5 + day - 1 - 719468;
}

static unsigned days_in_month(unsigned year, unsigned month)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && leap ? 29 : days[month - 1];
}

static bool digits(const char *s, unsigned count, unsigned *ret)
{
    *ret = 0;
    for (unsigned i = 0; i < count; i++) {
        if (!ascii_is_digit(s[i]))
            return false;
        *ret = *ret * 10 + (unsigned)(s[i] - '0');
    }
    return true;
}

/* "YYYY-MM-DD HH:MM:SS", or with T between and an optional Z at the end. */
static bool parse_time(struct strview s, int64_t *ret_ms)
{
    unsigned year, month, day, hour, minute, second;
    const char *p = s.ptr;

    if (s.len == 20 && (p[19] == 'Z' || p[19] == 'z'))
        s.len--;
    if (s.len != 19 || p[4] != '-' || p[7] != '-' || p[13] != ':' || p[16] != ':' ||
        (p[10] != ' ' && p[10] != 'T' && p[10] != 't'))
        return false;
    if (!digits(p, 4, &year) || !digits(p + 5, 2, &month) || !digits(p + 8, 2, &day) ||
        !digits(p + 11, 2, &hour) || !digits(p + 14, 2, &minute) || !digits(p + 17, 2, &second))
        return false;
    if (year < YEAR_MIN || year > YEAR_MAX || month < 1 || month > 12 || day < 1 ||
        day > days_in_month(year, month) || hour > 23 || minute > 59 || second > 59)
        return false;
    *ret_ms = (days_since_epoch(year, month, day) * 86400 + hour * 3600 + minute * 60 + second) *
              INT64_C(1000);
    return true;
}

static int bad_time(struct err *e, struct strview s)
{
    return err_set(e, ERR_SYNTAX,
                   "'%.*s' is not a time (expected YYYY-MM-DD HH:MM:SS in UTC, or "
                   "YYYY-MM-DDTHH:MM:SSZ)",
                   (int)MIN_OF(s.len, (size_t)40), s.ptr ? s.ptr : "");
}

static int parse_window(struct strview text, struct schedule_window *ret, struct err *e)
{
    ptrdiff_t slash = sv_find(text, '/');

    if (slash < 0)
        return err_set(e, ERR_SYNTAX, "'%.*s' is not a window (expected START / END)",
                       (int)MIN_OF(text.len, (size_t)60), text.ptr ? text.ptr : "");
    struct strview start = sv_trim(sv(text.ptr, (size_t)slash));
    struct strview end = sv_trim(sv(text.ptr + slash + 1, text.len - (size_t)slash - 1));
    if (!parse_time(start, &ret->start_ms))
        return bad_time(e, start);
    if (!parse_time(end, &ret->end_ms))
        return bad_time(e, end);
    if (ret->end_ms <= ret->start_ms)
        return err_set(e, ERR_SYNTAX, "window '%.*s' does not end after it begins",
                       (int)MIN_OF(text.len, (size_t)60), text.ptr);
    return 0;
}

/* In order of start: there are few, and they mostly come sorted. */
static void insert(struct schedule *s, struct schedule_window w)
{
    size_t i = s->count++;
    for (; i > 0 && s->windows[i - 1].start_ms > w.start_ms; i--)
        s->windows[i] = s->windows[i - 1];
    s->windows[i] = w;
}

static void join(struct schedule *s)
{
    size_t kept = 0;
    for (size_t i = 1; i < s->count; i++) {
        struct schedule_window *last = &s->windows[kept], next = s->windows[i];
        if (next.start_ms > last->end_ms)
            s->windows[++kept] = next;
        else
            last->end_ms = MAX_OF(last->end_ms, next.end_ms);
    }
    s->count = kept + 1;
}

int schedule_parse(struct strview text, struct schedule *ret, struct err *e)
{
    struct schedule s = {0};
    struct schedule_window w;
    struct strview part;

    text = sv_trim(text);
    if (!text.len || text.len > SCHEDULE_MAX_TEXT)
        return err_set(e, ERR_SYNTAX, "schedule is empty or longer than %d bytes",
                       SCHEDULE_MAX_TEXT);
    while (sv_split(&text, ',', &part)) {
        if (s.count == SCHEDULE_MAX_WINDOWS)
            return err_set(e, ERR_SYNTAX, "schedule has more than %d windows",
                           SCHEDULE_MAX_WINDOWS);
        int r = parse_window(sv_trim(part), &w, e);
        if (r < 0)
            return r;
        insert(&s, w);
    }
    join(&s);
    *ret = s;
    return 0;
}

int64_t schedule_next(const struct schedule *s, int64_t now_ms)
{
    for (size_t i = 0; i < s->count; i++)
        if (now_ms < s->windows[i].end_ms)
            return MAX_OF(now_ms, s->windows[i].start_ms);
    return SCHEDULE_OVER;
}

int64_t schedule_end(const struct schedule *s)
{
    return s->count ? s->windows[s->count - 1].end_ms : 0;
}
