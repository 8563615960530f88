/*
 * The two ways to write a signing key; see domain_key.h. Called by the configuration for checks and
 * by the signer.
 */
#include "mail/domain_key.h"

#include <time.h>

bool domain_key_is_name(struct strview s)
{
    bool dot = true;

    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (!ascii_is_alpha(c) && !ascii_is_digit(c) && c != '-' && c != '_' && (c != '.' || dot))
            return false;
        dot = c == '.';
    }
    return s.len && s.len <= 253 && !dot;
}

static struct strview next_word(struct strview *rest)
{
    struct strview s = sv_trim(*rest);
    size_t n = 0;
    while (n < s.len && s.ptr[n] != ' ' && s.ptr[n] != '\t')
        n++;
    *rest = sv(s.ptr + n, s.len - n);
    return sv(s.ptr, n);
}

/* --- dates --- */

static bool take_digits(struct strview *s, size_t count, unsigned *ret)
{
    if (s->len < count)
        return false;
    *ret = 0;
    for (size_t i = 0; i < count; i++) {
        if (!ascii_is_digit(s->ptr[i]))
            return false;
        *ret = *ret * 10 + (unsigned)(s->ptr[i] - '0');
    }
    *s = sv(s->ptr + count, s->len - count);
    return true;
}

static bool take_char(struct strview *s, char c)
{
    if (!s->len || s->ptr[0] != c)
        return false;
    *s = sv(s->ptr + 1, s->len - 1);
    return true;
}

/* 2026-12-01, 2026-12-01T08:00, with or without Z. */
static bool parse_date(struct strview s, int64_t *ret_ms)
{
    unsigned year, month, day, hour = 0, minute = 0;

    if (!take_digits(&s, 4, &year) || !take_char(&s, '-') || !take_digits(&s, 2, &month) ||
        !take_char(&s, '-') || !take_digits(&s, 2, &day))
        return false;
    if (s.len && (!take_char(&s, 'T') || !take_digits(&s, 2, &hour) || !take_char(&s, ':') ||
                  !take_digits(&s, 2, &minute)))
        return false;
    (void)(s.len && take_char(&s, 'Z'));
    if (s.len || year < 1970 || !month || month > 12 || !day || hour > 23 || minute > 59)
        return false;
    struct tm tm = {.tm_year = (int)year - 1900,
                    .tm_mon = (int)month - 1,
                    .tm_mday = (int)day,
                    .tm_hour = (int)hour,
                    .tm_min = (int)minute};
    *ret_ms = (int64_t)timegm(&tm) * 1000;
    return tm.tm_mday == (int)day; /* else the month has no such day */
}

/* Takes ", from=…" and ", until=…" off the end of the file's name. */
static bool take_dates(struct domain_key *k)
{
    for (;;) {
        size_t at = k->file.len;
        while (at && k->file.ptr[at - 1] != ',')
            at--;
        struct strview last = sv_trim(sv(k->file.ptr + at, k->file.len - at));
        bool from = sv_starts_nocase(last, SV("from=")),
             until = sv_starts_nocase(last, SV("until="));
        if (!at || (!from && !until))
            return !k->from_ms || !k->until_ms || k->from_ms < k->until_ms;
        size_t name = from ? 5 : 6;
        int64_t *to = from ? &k->from_ms : &k->until_ms;
        if (*to || !parse_date(sv(last.ptr + name, last.len - name), to))
            return false;
        k->file = sv_trim(sv(k->file.ptr, at - 1));
    }
}

int domain_key_parse(struct strview text, bool old_form, struct domain_key *ret, struct err *e)
{
    struct strview rest = text;

    *ret = (struct domain_key){0};
    if (old_form) {
        ret->file = next_word(&rest);
        ret->selector = next_word(&rest);
        ret->domain = sv_trim(rest);
    } else if (sv_split(&rest, ',', &ret->selector) && sv_split(&rest, ',', &ret->domain)) {
        ret->selector = sv_trim(ret->selector);
        ret->domain = sv_trim(ret->domain);
        ret->file = rest.ptr ? sv_trim(rest) : sv(NULL, 0);
    }
    if ((!old_form && !take_dates(ret)) || !ret->file.len || !domain_key_is_name(ret->selector) ||
        (!sv_eq(ret->domain, SV("*")) && !domain_key_is_name(ret->domain)))
        return err_set(e, ERR_SYNTAX, "'%.*s' is not valid (expected %s)",
                       (int)MIN_OF(text.len, (size_t)100), text.ptr,
                       old_form ? "FILE SELECTOR DOMAIN"
                                : "SELECTOR,DOMAIN,FILE, where DOMAIN may be *, and then "
                                  "optionally ,from=DATE and ,until=DATE as in 2026-12-31");
    return 0;
}

bool domain_key_matches(const struct domain_key *k, struct strview domain)
{
    size_t n = k->domain.len;

    if (sv_eq(k->domain, SV("*")) || sv_eq_nocase(k->domain, domain))
        return true;
    return domain.len > n && domain.ptr[domain.len - n - 1] == '.' &&
           sv_ends_nocase(domain, k->domain);
}

bool domain_key_is_wanted(const struct domain_key *k, struct strview selector,
                          struct strview domain)
{
    if (selector.len && !sv_eq_nocase(k->selector, selector))
        return false;
    return !domain.len || sv_eq(k->domain, SV("*")) || sv_eq_nocase(k->domain, domain);
}
