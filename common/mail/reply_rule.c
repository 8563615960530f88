/*
 * Reply rules; see reply_rule.h. The configuration calls the parser to check a line, the pipe to use
 * it. Views point into the text; nothing is allocated. Errors name the word at fault and what was
 * expected; file and line are put before them by the loader.
 */
#include "mail/reply_rule.h"

#include "base/units.h"

#include <stdio.h>

enum { INTERVAL_MIN_MS = 1000 };
#define INTERVAL_MAX_MS INT64_C(2592000000) /* 30 days, as the directives */

/* clang-format off: keeps the rows of the tables */
static const char *const texts[] = {
#define ACTION_TEXT(id, text, help) text,
    REPLY_ACTIONS(ACTION_TEXT)
#undef ACTION_TEXT
};
/* clang-format on */

/* An action that means nothing without another one. */
static const struct {
    enum reply_action action, needs;
} dependent[] = {{REPLY_BACKOFF_TO_NORMAL_AFTER, REPLY_MODE_BACKOFF},
                 {REPLY_REENABLE_AFTER, REPLY_DISABLE_SOURCE_IP}};

/* Two that say opposite things: what bounces is not tried again. */
static const struct {
    enum reply_action one, other;
} contrary[] = {{REPLY_MODE_BACKOFF, REPLY_MODE_NORMAL}, {REPLY_SKIP_MX, REPLY_BOUNCE_QUEUE},
                {REPLY_SKIP_MX, REPLY_BOUNCE_RCPT},      {REPLY_BOUNCE_QUEUE, REPLY_DEFER_QUEUE},
                {REPLY_BOUNCE_QUEUE, REPLY_RETRY_AFTER}, {REPLY_BOUNCE_RCPT, REPLY_RETRY_AFTER}};

const char *reply_action_text(enum reply_action a)
{
    BUG_ON((unsigned)a >= REPLY_ACTION_COUNT);
    return texts[a];
}

/* Written form without "=". */
static struct strview action_name(enum reply_action a)
{
    struct strview t = sv_of(texts[a]);
    return t.ptr[t.len - 1] == '=' ? sv(t.ptr, t.len - 1) : t;
}

static const char *nearest_action(struct strview word, char *out, size_t size)
{
    const char *best = NULL;
    unsigned least = (unsigned)MAX_OF(word.len / 3, (size_t)2) + 1;

    for (unsigned a = 0; a < REPLY_ACTION_COUNT; a++) {
        unsigned distance = str_distance(word, action_name((enum reply_action)a));
        if (distance < least) {
            least = distance;
            best = texts[a];
        }
    }
    out[0] = '\0';
    if (best)
        snprintf(out, size, ": did you mean '%s'?", best);
    return out;
}

static int unknown_action(struct strview word, struct err *e)
{
    char hint[80];
    ptrdiff_t eq = sv_find(word, '=');
    struct strview name =
        eq > 0 && !sv_starts_nocase(word, SV("mode=")) ? sv(word.ptr, (size_t)eq) : word;

    return err_set(e, ERR_SYNTAX, "'%.*s' is not an action%s", (int)MIN_OF(word.len, (size_t)60),
                   word.ptr, nearest_action(name, hint, sizeof(hint)));
}

static int parse_time(struct strview name, struct strview value, int64_t *ret, struct err *e)
{
    if (units_parse_interval(value, ret) < 0)
        return err_set(e, ERR_SYNTAX, "%.*s: '%.*s' is not valid (expected an interval such as 1h)",
                       SV_ARG(name), (int)MIN_OF(value.len, (size_t)60),
                       value.ptr ? value.ptr : "");
    if (*ret < INTERVAL_MIN_MS || *ret > INTERVAL_MAX_MS)
        return err_set(e, ERR_SYNTAX, "%.*s: '%.*s' is out of bounds (expected 1s to 30d)",
                       SV_ARG(name), (int)MIN_OF(value.len, (size_t)60), value.ptr);
    return 0;
}

static int parse_percent(struct strview value, uint32_t *ret, struct err *e)
{
    struct strview digits = value;
    uint64_t n;

    if (digits.len && digits.ptr[digits.len - 1] == '%')
        digits.len--;
    if (!sv_to_u64(digits, &n) || n < 1 || n > 100)
        return err_set(e, ERR_SYNTAX, "rate: '%.*s' is not valid (expected 1%% to 100%%)",
                       (int)MIN_OF(value.len, (size_t)60), value.ptr ? value.ptr : "");
    *ret = (uint32_t)n;
    return 0;
}

static int parse_value(enum reply_action a, struct strview value, struct reply_rule *r,
                       struct err *e)
{
    struct strview name = action_name(a);

    switch (a) {
    case REPLY_BACKOFF_TO_NORMAL_AFTER:
        return parse_time(name, value, &r->backoff_to_normal_after_ms, e);
    case REPLY_REENABLE_AFTER:
        return parse_time(name, value, &r->reenable_after_ms, e);
    case REPLY_DEFER_QUEUE:
        return parse_time(name, value, &r->defer_queue_ms, e);
    case REPLY_RETRY_AFTER:
        return parse_time(name, value, &r->retry_after_ms, e);
    case REPLY_SUSPEND_PIPE:
        return parse_time(name, value, &r->suspend_pipe_ms, e);
    case REPLY_RATE:
        return parse_percent(value, &r->rate_percent, e);
    default:
        return err_set(e, ERR_SYNTAX, "'%.*s' takes no value", SV_ARG(name));
    }
}

/* The action whose name is the whole word or stands before its '='. */
static bool find_action(struct strview word, enum reply_action *ret, struct strview *ret_value)
{
    ptrdiff_t eq = sv_find(word, '=');
    struct strview before = eq < 0 ? word : sv_trim(sv(word.ptr, (size_t)eq));

    *ret_value = sv(NULL, 0);
    for (unsigned a = 0; a < REPLY_ACTION_COUNT; a++) {
        struct strview name = action_name((enum reply_action)a);
        *ret = (enum reply_action)a;
        if (sv_eq_nocase(word, name))
            return true;
        if (eq < 0 || !sv_eq_nocase(before, name))
            continue;
        *ret_value = sv_trim(sv(word.ptr + eq + 1, word.len - (size_t)eq - 1));
        ret_value->ptr = ret_value->ptr ? ret_value->ptr : "";
        return true;
    }
    return false;
}

static int parse_action(struct strview word, struct reply_rule *r, struct err *e)
{
    enum reply_action a;
    struct strview value;

    if (!word.len)
        return err_set(e, ERR_SYNTAX,
                       "an action is missing (expected ACTION,ACTION after /REGEX/)");
    if (!find_action(word, &a, &value))
        return unknown_action(word, e);
    if (r->actions & 1u << a)
        return err_set(e, ERR_SYNTAX, "'%.*s' stands twice", SV_ARG(action_name(a)));
    r->actions |= 1u << a;
    bool needs_value = texts[a][strlen(texts[a]) - 1] == '=';
    if (!value.ptr && needs_value)
        return err_set(e, ERR_SYNTAX, "'%s' needs a value (expected %s%s)", texts[a], texts[a],
                       a == REPLY_RATE ? "PERCENT" : "TIME");
    return value.ptr ? parse_value(a, value, r, e) : 0;
}

static int check_together(const struct reply_rule *r, struct err *e)
{
    for (size_t i = 0; i < ARRAY_LEN(dependent); i++)
        if (r->actions & 1u << dependent[i].action && !(r->actions & 1u << dependent[i].needs))
            return err_set(e, ERR_SYNTAX, "'%.*s' needs '%s' in the same rule",
                           SV_ARG(action_name(dependent[i].action)), texts[dependent[i].needs]);
    for (size_t i = 0; i < ARRAY_LEN(contrary); i++)
        if (r->actions & 1u << contrary[i].one && r->actions & 1u << contrary[i].other)
            return err_set(e, ERR_SYNTAX, "'%.*s' and '%.*s' contradict each other",
                           SV_ARG(action_name(contrary[i].one)),
                           SV_ARG(action_name(contrary[i].other)));
    return 0;
}

/* Phases in which the peer replies. */
int reply_rule_phases(struct strview text, uint32_t *ret, struct err *e)
{
    struct strview word;

    while (sv_split(&text, '|', &word)) {
        enum outcome_phase p = PHASE_GREETING;
        while (p <= PHASE_END_OF_DATA && !sv_eq_nocase(word, sv_of(outcome_phase_name(p))))
            p++;
        if (p > PHASE_END_OF_DATA)
            return err_set(e, ERR_SYNTAX,
                           "phase: '%.*s' is not valid (expected greeting, helo, starttls, mail, "
                           "rcpt, data or end-of-data, several separated by |)",
                           (int)MIN_OF(word.len, (size_t)60), word.ptr ? word.ptr : "");
        *ret |= 1u << p;
    }
    return 0;
}

/* "phase=a|b" in front, with blanks or a comma behind it. */
static int take_phases(struct strview *rest, struct reply_rule *r, struct err *e)
{
    const struct strview key = SV("phase=");
    size_t n = key.len;

    if (!sv_starts_nocase(*rest, key))
        return 0;
    while (n < rest->len && !memchr(" \t,", rest->ptr[n], 3))
        n++;
    int ret = reply_rule_phases(sv(rest->ptr + key.len, n - key.len), &r->phases, e);
    *rest = sv_trim(sv(rest->ptr + n, rest->len - n));
    if (rest->len && rest->ptr[0] == ',')
        *rest = sv_trim(sv(rest->ptr + 1, rest->len - 1));
    return ret;
}

size_t reply_rule_regex_end(struct strview text)
{
    if (!text.len || text.ptr[0] != '/')
        return 0;
    for (size_t i = 1; i < text.len; i++) {
        if (text.ptr[i] == '\\')
            i++;
        else if (text.ptr[i] == '/')
            return i;
    }
    return 0;
}

int reply_rule_parse(struct strview text, struct reply_rule *ret, struct err *e)
{
    struct reply_rule r = {0};
    struct strview word;

    text = sv_trim(text);
    if (text.len > REPLY_RULE_MAX)
        return err_set(e, ERR_SYNTAX, "rule is too long (at most %d bytes)", REPLY_RULE_MAX);
    size_t end = reply_rule_regex_end(text);
    if (!end)
        return err_set(e, ERR_SYNTAX,
                       "'%.*s' has no regular expression (expected /REGEX/ ACTION,ACTION; write / "
                       "inside it as \\/)",
                       (int)MIN_OF(text.len, (size_t)60), text.ptr ? text.ptr : "");
    r.regex = sv(text.ptr + 1, end - 1);
    struct strview rest = sv(text.ptr + end + 1, text.len - end - 1);
    if (rest.len && rest.ptr[0] != ' ' && rest.ptr[0] != '\t')
        return err_set(e, ERR_SYNTAX,
                       "a blank is missing after /REGEX/ (write / inside it as \\/)");
    rest = sv_trim(rest);
    int status = take_phases(&rest, &r, e);
    if (status == 0 && !rest.len)
        status = parse_action(rest, &r, e);
    while (status == 0 && sv_split(&rest, ',', &word))
        status = parse_action(sv_trim(word), &r, e);
    if (status == 0)
        status = check_together(&r, e);
    if (status == 0)
        *ret = r;
    return status;
}
