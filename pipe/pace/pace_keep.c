/*
 * What pairs have learnt, over a restart. The text has one line per pair and kind:
 *     adaptive QUEUE SOURCE RATE FAILED SPAN USED_MS
 *     warmup QUEUE SOURCE STEP DATE BEGAN_MS STEP_MS ATTEMPTS DEFERRED BOUNCED VERDICT PERCENT HELD
 *            USED_MS
 * Blanks, '%' and what is not printable in names is %XX; an empty name is '-'. What is no such line
 * is skipped: a younger version may have written it.
 *
 * The text is made in slices, in order of use, while the order goes on changing: a pair that was
 * used meanwhile stands further behind, and one that was written before is not written again.
 */
#include "pace/pace_int.h"

#include <inttypes.h>
#include <math.h>

static void write_name(struct buf *out, const char *name)
{
    buf_append_char(out, ' ');
    if (!*name || (name[0] == '-' && !name[1]))
        buf_append_str(out, *name ? "%2D" : "-");
    else
        for (; *name; name++) {
            unsigned char c = (unsigned char)*name;
            if (c <= ' ' || c == '%' || c >= 127)
                buf_printf(out, "%%%02X", c);
            else
                buf_append_char(out, (char)c);
        }
}

static void write_adaptive(const struct pace_pair *pair, struct buf *out)
{
    const struct adaptive *a = &pair->adaptive;
    bool held = a->state == ADAPTIVE_STATE_HELD;

    buf_append_str(out, "adaptive");
    write_name(out, pair->queue);
    write_name(out, pair->source);
    if (!pair->is_adaptive) /* read, and not used since */
        buf_printf(out, " %.9g %.9g %.6g %" PRId64 "\n", pair->kept_rate, pair->kept_failed,
                   pair->kept_span_s, pair->used_ms);
    else /* held: what it was before, cut once */
        buf_printf(out, " %.9g %.9g %.6g %" PRId64 "\n", held ? a->base * 0.7 : a->rate,
                   held ? a->base : a->failed, a->span_s, pair->used_ms);
}

static void write_warmup(const struct pace_pair *pair, struct buf *out)
{
    const struct warmup *w = &pair->warmup;

    buf_append_str(out, "warmup");
    write_name(out, pair->queue);
    write_name(out, pair->source);
    buf_printf(out,
               " %u %d %" PRId64 " %" PRId64 " %" PRIu64 " %" PRIu64 " %" PRIu64
               " %s %d %d %" PRId64 "\n",
               w->step, w->date, w->began_ms, w->step_ms, w->attempts, w->deferred, w->bounced,
               warmup_verdict_name(w->verdict), w->verdict_percent, w->held, pair->used_ms);
}

bool pace_changed(const struct pace *p)
{
    return p->changed;
}

bool pace_write_some(struct pace *p, struct buf *out, unsigned most)
{
    if (!p->cursor) {
        p->cursor = p->by_use.next;
        p->changed = false;
        p->round++;
    }
    for (; most && p->cursor != &p->by_use; most--, p->cursor = p->cursor->next) {
        struct pace_pair *pair = list_entry(p->cursor, struct pace_pair, use);
        if (pair->round == p->round)
            continue;
        pair->round = p->round;
        if (pair->is_adaptive || pair->kept_rate > 0)
            write_adaptive(pair, out);
        if (pair->warmup.step)
            write_warmup(pair, out);
    }
    if (p->cursor != &p->by_use)
        return false;
    p->cursor = NULL;
    return true;
}

/* --- back --- */

struct words {
    struct strview rest;
    bool bad;
};

static struct strview word(struct words *w)
{
    struct strview s = {NULL, 0};
    if (!sv_split(&w->rest, ' ', &s) || !s.len)
        w->bad = true;
    return s;
}

static int64_t number(struct words *w, int64_t min, int64_t max)
{
    struct strview s = word(w);
    bool negative = s.len && s.ptr[0] == '-';
    uint64_t n = 0;

    if (w->bad || !sv_to_u64(negative ? sv(s.ptr + 1, s.len - 1) : s, &n) || n > INT64_MAX) {
        w->bad = true;
        return min;
    }
    int64_t value = negative ? -(int64_t)n : (int64_t)n;
    w->bad |= value < min || value > max;
    return value;
}

static double real(struct words *w)
{
    struct strview s = word(w);
    char text[40], *end = text;
    double value = 0;

    if (!w->bad && s.len < sizeof(text)) {
        memcpy(text, s.ptr, s.len);
        text[s.len] = '\0';
        value = strtod(text, &end);
    }
    w->bad |= end == text || *end || !isfinite(value) || value < 0 || value > 1e9;
    return value;
}

static int hex(char c)
{
    static const char digits[] = "0123456789ABCDEF";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

static void name(struct words *w, struct buf *ret)
{
    struct strview s = word(w);

    buf_reset(ret);
    if (sv_eq(s, SV("-")))
        return;
    for (size_t i = 0; i < s.len && !w->bad; i++) {
        if (s.ptr[i] != '%') {
            buf_append_char(ret, s.ptr[i]);
            continue;
        }
        int high = i + 2 < s.len ? hex(s.ptr[i + 1]) : -1;
        int low = i + 2 < s.len ? hex(s.ptr[i + 2]) : -1;
        if (high < 0 || low < 0 || (high == 0 && low == 0))
            w->bad = true;
        else
            buf_append_char(ret, (char)(high * 16 + low));
        i += 2;
    }
}

static struct pace_pair *get(struct pace *p, const struct buf *queue, const struct buf *source,
                             int64_t used_ms)
{
    struct pace_pair *pair = pace_pair_find(p, buf_view(queue), buf_view(source));
    if (!pair && p->pairs.count < PACE_PAIRS_MAX)
        pair = pace_pair_new(p, buf_view(queue), buf_view(source), used_ms);
    return pair;
}

static void read_adaptive(struct pace *p, struct words *w, struct buf *queue, struct buf *source)
{
    double rate = real(w), failed = real(w), span_s = real(w);
    int64_t used_ms = number(w, 0, INT64_MAX / 2);
    struct pace_pair *pair = w->bad || w->rest.ptr ? NULL : get(p, queue, source, used_ms);

    if (!pair || rate <= 0)
        return;
    pair->kept_rate = rate;
    pair->kept_failed = failed;
    pair->kept_span_s = span_s;
}

static int verdict_of(struct strview s)
{
    for (int i = 0; i < WARMUP_VERDICT_COUNT; i++)
        if (sv_eq(s, sv_of(warmup_verdict_name((enum warmup_verdict)i))))
            return i;
    return -1;
}

static void read_warmup(struct pace *p, struct words *w, struct buf *queue, struct buf *source)
{
    struct warmup in = {0};

    in.step = (uint32_t)number(w, 1, WARMUP_STEP_MAX);
    in.date = (int32_t)number(w, 0, INT32_MAX);
    in.began_ms = number(w, 0, INT64_MAX / 2);
    in.step_ms = number(w, 0, INT64_MAX / 2);
    in.attempts = (uint64_t)number(w, 0, INT64_MAX / 200);
    in.deferred = (uint64_t)number(w, 0, INT64_MAX / 200);
    in.bounced = (uint64_t)number(w, 0, INT64_MAX / 200);
    int verdict = verdict_of(word(w));
    in.verdict_percent = (int)number(w, 0, 100);
    in.held = number(w, 0, 1) == 1;
    int64_t used_ms = number(w, 0, INT64_MAX / 2);
    struct pace_pair *pair =
        w->bad || w->rest.ptr || verdict < 0 ? NULL : get(p, queue, source, used_ms);

    if (!pair || pair->warm_limit)
        return;
    in.verdict = (enum warmup_verdict)verdict;
    pair->warmup = in;
}

static void read_line(struct pace *p, struct strview line, struct buf *queue, struct buf *source)
{
    struct words w = {line, false};
    struct strview kind = word(&w);

    name(&w, queue);
    name(&w, source);
    if (sv_eq(kind, SV("adaptive")))
        read_adaptive(p, &w, queue, source);
    else if (sv_eq(kind, SV("warmup")))
        read_warmup(p, &w, queue, source);
}

void pace_read(struct pace *p, struct strview text)
{
    struct buf queue = {0}, source = {0};
    struct strview line;

    while (sv_split(&text, '\n', &line))
        read_line(p, line, &queue, &source);
    p->changed = false;
    buf_free(&queue);
    buf_free(&source);
}
