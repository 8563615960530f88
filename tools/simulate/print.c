/*
 * What came out: a table for people, or JSON lines. A row is the mail for one domain through one
 * pipe; the bar says when it was done against all of it.
 */
#include "simulate.h"

#include "base/clock.h"
#include "kit/text.h"

#include <stdio.h>
#include <unistd.h>

enum { BAR_CELLS = 20, CAUSES_TOLD = 3 };

static int64_t duration_of(const struct row *r)
{
    return r->last_ms ? r->last_ms - sim.options->start_ms : 0;
}

static uint64_t left_of(const struct row *r)
{
    return r->messages - r->delivered - r->expired - r->bounced;
}

static double rate_of(uint64_t delivered, int64_t duration_ms)
{
    return duration_ms > 0 ? (double)delivered * 1000 / (double)duration_ms : 0;
}

static double share_of(const struct row *r, const struct held *h)
{
    return r->active_ms > 0 ? MIN_OF(h->ms / r->active_ms, 1.0) : 1;
}

/* --- text --- */

/* "1d 2h 3m", "3m 20.5s" */
static void duration_text(int64_t ms, struct buf *out)
{
    int64_t days = ms / 86400000, hours = ms / 3600000 % 24, minutes = ms / 60000 % 60;
    double seconds = (double)(ms % 60000) / 1000;

    if (days)
        buf_printf(out, "%lldd %lldh %lldm", (long long)days, (long long)hours, (long long)minutes);
    else if (hours)
        buf_printf(out, "%lldh %lldm %llds", (long long)hours, (long long)minutes,
                   (long long)seconds);
    else if (minutes)
        buf_printf(out, "%lldm %.1fs", (long long)minutes, seconds);
    else
        buf_printf(out, "%.1fs", seconds);
}

static void rate_text(double per_s, struct buf *out)
{
    static const struct {
        double from, factor;
        const char *unit;
    } units[] = {{10, 1, "s"}, {0.5, 60, "m"}, {0, 3600, "h"}};
    char count[TEXT_SIZE];
    size_t i = 0;

    while (per_s < units[i].from)
        i++;
    double n = per_s * units[i].factor;
    if (n >= 100)
        buf_printf(out, "%s/%s", text_count((uint64_t)(n + 0.5), count), units[i].unit);
    else
        buf_printf(out, "%.1f/%s", n, units[i].unit);
}

/* "2026-11-21 08:00:00" */
static void time_text(int64_t wall_ms, struct buf *out)
{
    char iso[CLOCK_ISO_SIZE];
    clock_iso(wall_ms, iso);
    buf_printf(out, "%.10s %.8s", iso, iso + 11);
}

static void queue_text(const struct row *r, struct buf *out)
{
    buf_append_str(out, r->queue_count ? r->queues[0] : "-");
    if (r->queue_count > 1)
        buf_printf(out, " and %zu more", r->queue_count - 1);
}

static void cause_text(const struct cause *c, struct buf *out)
{
    if (c->value)
        buf_printf(out, "%s = %s", c->directive, c->value);
    else
        buf_append_str(out, c->directive);
}

static void append_bar(const struct row *r, int64_t all_ms, struct buf *out)
{
    static const char *const eighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    int64_t ms = left_of(r) ? all_ms : duration_of(r);
    int64_t cells = all_ms ? (ms * BAR_CELLS * 8 + all_ms - 1) / all_ms : 0;

    for (int64_t i = 0; i < cells / 8; i++)
        buf_append_str(out, "█");
    buf_append_str(out, eighths[cells % 8]);
}

/* --- the table --- */

enum { COLUMNS = 8 };

struct table {
    struct buf *cells; /* COLUMNS a line */
    size_t lines;
    size_t widths[COLUMNS];
};

static const struct {
    const char *title;
    bool right;
} columns[COLUMNS] = {{"domain", false},       {"queue", false},     {"messages", true},
                      {"last at (UTC)", true}, {"takes", true},      {"average", true},
                      {"bound by", false},     {"until done", false}};

static size_t width(const char *s)
{
    size_t n = 0;
    for (; *s; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

static struct buf *add_line(struct table *t)
{
    t->cells = xrealloc(t->cells, (t->lines + 1) * COLUMNS * sizeof(t->cells[0]));
    memset(&t->cells[t->lines * COLUMNS], 0, COLUMNS * sizeof(t->cells[0]));
    return &t->cells[t->lines++ * COLUMNS];
}

static void print_cell(struct buf *out, const char *text, size_t to, bool right)
{
    size_t n = width(text), pad = to > n ? to - n : 0;

    if (right)
        buf_printf(out, "%*s%s", (int)pad, "", text);
    else
        buf_printf(out, "%s%*s", text, (int)pad, "");
}

static void print_lines(struct table *t, bool colour)
{
    struct buf out = {0};

    for (size_t i = 0; i < t->lines; i++) {
        buf_append_str(&out, colour && i == 0 ? "\033[1m" : "");
        for (size_t k = 0; k < COLUMNS; k++) {
            bool last = k + 1 == COLUMNS;
            print_cell(&out, buf_data(&t->cells[i * COLUMNS + k]), last ? 0 : t->widths[k],
                       columns[k].right);
            buf_append_str(&out, last ? "" : "  ");
        }
        buf_append_str(&out, colour && i == 0 ? "\033[0m\n" : "\n");
    }
    fwrite(buf_data(&out), 1, buf_len(&out), stdout);
    buf_free(&out);
}

static void finish_table(struct table *t)
{
    const char *term = getenv("TERM"), *no = getenv("NO_COLOR");
    bool colour = isatty(STDOUT_FILENO) && !(no && *no) && !(term && strcmp(term, "dumb") == 0);

    for (size_t i = 0; i < t->lines * COLUMNS; i++)
        t->widths[i % COLUMNS] = MAX_OF(t->widths[i % COLUMNS], width(buf_data(&t->cells[i])));
    print_lines(t, colour);
    for (size_t i = 0; i < t->lines * COLUMNS; i++)
        buf_free(&t->cells[i]);
    free(t->cells);
}

static void bound_cell(const struct row *r, struct buf *out)
{
    const struct held *h = held_most(r);

    if (!h) {
        buf_append_str(out, "nothing");
        return;
    }
    cause_text(h->cause, out);
    buf_printf(out, "  %.0f%%", share_of(r, h) * 100);
}

static void add_row(struct table *t, const struct row *r, int64_t all_ms)
{
    struct buf *c = add_line(t);
    char count[TEXT_SIZE];
    int64_t ms = duration_of(r);

    buf_append_str(&c[0], r->domain);
    queue_text(r, &c[1]);
    buf_append_str(&c[2], text_count(r->messages, count));
    if (r->last_ms)
        time_text(r->last_ms, &c[3]);
    else
        buf_append_str(&c[3], "never");
    duration_text(ms, &c[4]);
    rate_text(rate_of(r->delivered, ms), &c[5]);
    bound_cell(r, &c[6]);
    append_bar(r, all_ms, &c[7]);
}

/* Where the limit stands, the runners-up, and what did not arrive. */
static void print_detail(const struct row *r)
{
    struct buf out = {0};
    char count[TEXT_SIZE];
    size_t told = 0;

    for (size_t i = 0; i < r->held_count; i++) {
        const struct held *h = &r->held[i];
        if (share_of(r, h) < 0.005 || told == CAUSES_TOLD)
            continue;
        told++;
        buf_printf(&out, "  %-24s %5.1f%%  ", told == 1 ? r->domain : "", share_of(r, h) * 100);
        cause_text(h->cause, &out);
        if (h->cause->limit)
            buf_printf(&out, ", %s", h->cause->limit);
        else if (h->cause->origin)
            buf_printf(&out, ", %s", h->cause->key);
        buf_printf(&out, "  %s\n",
                   h->cause->at       ? h->cause->at
                   : h->cause->origin ? "(default)"
                                      : "");
    }
    if (r->deferrals)
        buf_printf(&out, "  %-24s put off %s times\n", "", text_count(r->deferrals, count));
    if (r->expired)
        buf_printf(&out, "  %-24s %s expired (bounce-after)\n", "", text_count(r->expired, count));
    if (r->bounced)
        buf_printf(&out, "  %-24s %s bounced\n", "", text_count(r->bounced, count));
    if (left_of(r))
        buf_printf(&out, "  %-24s %s still queued when time was up\n", "",
                   text_count(left_of(r), count));
    fwrite(buf_data(&out), 1, buf_len(&out), stdout);
    buf_free(&out);
}

static int by_share(const void *a, const void *b)
{
    const struct held *x = a, *y = b;
    return (x->ms < y->ms) - (x->ms > y->ms);
}

static const struct row *last_row(void)
{
    const struct row *last = NULL;

    for (size_t i = 0; i < sim.row_count; i++)
        if (!last || sim.rows[i].last_ms > last->last_ms)
            last = &sim.rows[i];
    return last;
}

static void sums(uint64_t *ret_messages, uint64_t *ret_delivered)
{
    *ret_messages = *ret_delivered = 0;
    for (size_t i = 0; i < sim.row_count; i++) {
        *ret_messages += sim.rows[i].messages;
        *ret_delivered += sim.rows[i].delivered;
    }
}

static void print_total(const struct row *last, int64_t all_ms)
{
    struct buf out = {0};
    uint64_t messages, delivered;
    char count[TEXT_SIZE];

    sums(&messages, &delivered);
    buf_printf(&out, "\n%s messages for %zu domain%s take ", text_count(messages, count),
               sim.row_count, sim.row_count == 1 ? "" : "s");
    duration_text(all_ms, &out);
    buf_append_str(&out, ": from ");
    time_text(sim.options->start_ms, &out);
    buf_append_str(&out, " to ");
    time_text(sim.options->start_ms + all_ms, &out);
    buf_append_str(&out, " UTC, ");
    rate_text(rate_of(delivered, all_ms), &out);
    if (sim.row_count > 1)
        buf_printf(&out, "; %s is the last", last->domain);
    buf_append_str(&out, "\n");
    if (sim.gave_up)
        buf_append_str(&out, "not all of it could be sent in the time that --for gives\n");
    fwrite(buf_data(&out), 1, buf_len(&out), stdout);
    buf_free(&out);
}

void print_table(void)
{
    const struct row *last = last_row();
    int64_t all_ms = sim.gave_up ? sim.options->for_ms : duration_of(last);
    struct table t = {0};
    struct buf *head = add_line(&t);

    for (size_t k = 0; k < COLUMNS; k++)
        buf_append_str(&head[k], columns[k].title);
    for (size_t i = 0; i < sim.row_count; i++)
        add_row(&t, &sim.rows[i], all_ms);
    finish_table(&t);
    printf("\nheld by\n");
    for (size_t i = 0; i < sim.row_count; i++) {
        struct row *r = &sim.rows[i];
        if (r->held_count)
            qsort(r->held, r->held_count, sizeof(r->held[0]), by_share);
        print_detail(r);
    }
    print_total(last, all_ms);
}

/* --- JSON --- */

static void json_text(struct buf *out, const char *name, const char *text)
{
    buf_printf(out, ",\"%s\":", name);
    if (text)
        text_json(out, sv_of(text));
    else
        buf_append_str(out, "null");
}

static void json_cause(struct buf *out, const struct row *r, const struct held *h)
{
    buf_printf(out, "{\"share\":%.4f", share_of(r, h));
    json_text(out, "directive", h->cause->directive);
    json_text(out, "value", h->cause->value);
    json_text(out, "limit", h->cause->limit);
    json_text(out, "at", h->cause->at);
    buf_append_str(out, "}");
}

static void json_bound(struct buf *out, const struct row *r)
{
    const struct held *h = held_most(r);

    json_text(out, "bound_by", h ? h->cause->directive : NULL);
    json_text(out, "bound_value", h ? h->cause->value : NULL);
    json_text(out, "bound_limit", h ? h->cause->limit : NULL);
    json_text(out, "bound_at", h ? h->cause->at : NULL);
    buf_printf(out, ",\"bound_share\":%.4f,\"held\":[", h ? share_of(r, h) : 0);
    for (size_t i = 0; i < r->held_count; i++) {
        buf_append_str(out, i ? "," : "");
        json_cause(out, r, &r->held[i]);
    }
    buf_append_str(out, "]");
}

static void json_row(struct buf *out, const struct row *r)
{
    char iso[CLOCK_ISO_SIZE];
    int64_t ms = duration_of(r);

    buf_append_str(out, "{\"domain\":");
    text_json(out, sv_of(r->domain));
    json_text(out, "pipe", r->pipe->name);
    buf_append_str(out, ",\"queues\":[");
    for (size_t i = 0; i < r->queue_count; i++) {
        buf_append_str(out, i ? "," : "");
        text_json(out, sv_of(r->queues[i]));
    }
    buf_printf(out,
               "],\"messages\":%llu,\"delivered\":%llu,\"expired\":%llu,\"bounced\":%llu,"
               "\"queued\":%llu,\"deferrals\":%llu,\"duration_ms\":%lld,\"rate\":%.6f",
               (unsigned long long)r->messages, (unsigned long long)r->delivered,
               (unsigned long long)r->expired, (unsigned long long)r->bounced,
               (unsigned long long)left_of(r), (unsigned long long)r->deferrals, (long long)ms,
               rate_of(r->delivered, ms));
    json_text(out, "finished", r->last_ms ? clock_iso(r->last_ms, iso) : NULL);
    json_bound(out, r);
    buf_append_str(out, "}\n");
}

static void json_total(struct buf *out)
{
    const struct row *last = last_row();
    uint64_t messages, delivered;
    char start[CLOCK_ISO_SIZE];

    sums(&messages, &delivered);
    buf_printf(out,
               "{\"total\":true,\"domains\":%zu,\"messages\":%llu,\"delivered\":%llu,"
               "\"duration_ms\":%lld,\"rate\":%.6f",
               sim.row_count, (unsigned long long)messages, (unsigned long long)delivered,
               (long long)duration_of(last), rate_of(delivered, duration_of(last)));
    json_text(out, "start", clock_iso(sim.options->start_ms, start));
    json_text(out, "last_domain", last->domain);
    json_bound(out, last);
    buf_append_str(out, "}\n");
}

void print_json(void)
{
    struct buf out = {0};

    for (size_t i = 0; i < sim.row_count; i++) {
        struct row *r = &sim.rows[i];
        if (r->held_count)
            qsort(r->held, r->held_count, sizeof(r->held[0]), by_share);
        json_row(&out, r);
    }
    json_total(&out);
    fwrite(buf_data(&out), 1, buf_len(&out), stdout);
    buf_free(&out);
}
