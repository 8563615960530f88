/*
 * `stats`: a table per pipe, with its total below; by pipe, one table of the totals. What nobody has
 * is left out (columns without a value are not shown).
 */
#include "render.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { BAR_SIGNS = 12, CATEGORIES_SHOWN = 3 };

static int64_t count_of(const json_t *o, const char *name)
{
    int64_t n = 0;
    field_number(o, name, &n);
    return n;
}

static int64_t bounced(const json_t *o)
{
    return count_of(o, "bounced") + count_of(o, "expired");
}

static void number_cell(struct table *t, int64_t n, enum colour c)
{
    char text[HUMAN_SIZE];
    table_cell(t, n ? c : COLOUR_NONE, n ? human_count(n, text) : NULL);
}

/* "97.2%"; more digits where the share is small. */
static void share_cell(struct table *t, int64_t part, int64_t of, enum colour c)
{
    char text[32];
    double percent = of ? 100.0 * (double)part / (double)of : 0;

    if (!part || !of) {
        table_cell(t, COLOUR_NONE, NULL);
        return;
    }
    snprintf(text, sizeof(text), "%.*f%%", percent < 0.995 ? 2 : part == of ? 0 : 1, percent);
    table_cell(t, c, text);
}

/* "0.4s", "12s", "4m 10s" */
static void delay_cell(struct table *t, const json_t *o, const char *name)
{
    char text[HUMAN_SIZE];
    int64_t ms;

    if (!field_number(o, name, &ms)) {
        table_cell(t, COLOUR_NONE, NULL);
        return;
    }
    if (ms < 1000)
        snprintf(text, sizeof(text), "%lldms", (long long)ms);
    else if (ms < 10000)
        snprintf(text, sizeof(text), "%.1fs", (double)ms / 1000);
    else
        human_duration(ms, text);
    table_cell(t, COLOUR_NONE, text);
}

/* "bad-mailbox 20, quota-issues 3, +5" */
static void categories_cell(struct table *t, const json_t *o)
{
    json_t *left = json_copy(json_object_get(o, "categories")), *n;
    struct buf b = {0};
    const char *name;
    char text[HUMAN_SIZE];
    int64_t rest = 0;

    for (int i = 0; i < CATEGORIES_SHOWN && json_object_size(left); i++) {
        const char *best = NULL;
        json_int_t most = -1;
        json_object_foreach(left, name, n)
        {
            if (json_integer_value(n) > most) {
                most = json_integer_value(n);
                best = name;
            }
        }
        buf_printf(&b, "%s%s %s", buf_len(&b) ? ", " : "", best, human_count(most, text));
        json_object_del(left, best);
    }
    json_object_foreach(left, name, n)
    {
        rest += json_integer_value(n);
    }
    if (rest)
        buf_printf(&b, ", +%s", human_count(rest, text));
    table_cell(t, COLOUR_NONE, buf_len(&b) ? buf_data(&b) : NULL);
    json_decref(left);
    buf_free(&b);
}

/* A bar of eighths, as long as n is of most. */
static void bar_cell(struct table *t, int64_t n, int64_t most)
{
    static const char *const parts[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    int64_t eighths = most > 0 ? (n * 8 * BAR_SIGNS + most - 1) / most : 0;
    struct buf b = {0};

    for (int64_t i = 0; i < eighths / 8; i++)
        buf_append_str(&b, "█");
    buf_append_str(&b, parts[eighths % 8]);
    table_cell(t, COLOUR_GOOD, buf_data(&b));
    buf_free(&b);
}

static void add_columns(struct table *t, const char *first, bool bars)
{
    table_column(t, first, COLUMN_CUT);
    table_column(t, "received", COLUMN_RIGHT);
    table_column(t, "delivered", COLUMN_RIGHT);
    if (bars)
        table_column(t, "", COLUMN_LEFT);
    table_column(t, "%", COLUMN_RIGHT);
    table_column(t, "deferred", COLUMN_RIGHT);
    table_column(t, "unreachable", COLUMN_RIGHT);
    table_column(t, "bounced", COLUMN_RIGHT);
    table_column(t, "%", COLUMN_RIGHT);
    table_column(t, "deleted", COLUMN_RIGHT);
    table_column(t, "late bounces", COLUMN_RIGHT);
    table_column(t, "complaints", COLUMN_RIGHT);
    table_column(t, "%", COLUMN_RIGHT);
    table_column(t, "p50", COLUMN_RIGHT);
    table_column(t, "p99", COLUMN_RIGHT);
    table_column(t, "bounced for", COLUMN_REST);
}

struct scale {
    bool bars;
    int64_t most;        /* delivered in one row */
    int64_t all_bounced; /* of categories: what they are shares of; else 0 */
};

static void bounced_cells(struct table *t, const json_t *o, const struct scale *s, enum colour c)
{
    int64_t n = bounced(o), of = s->all_bounced ? s->all_bounced : count_of(o, "delivered") + n;
    enum colour share = !s->all_bounced && n * 20 > of ? COLOUR_WARN : c;

    number_cell(t, n, c);
    share_cell(t, n, of, share);
}

static void add_row(struct table *t, const char *name, enum colour c, const json_t *o,
                    const struct scale *s)
{
    int64_t delivered = count_of(o, "delivered"), complaints = count_of(o, "complaints");
    int64_t finished = delivered + bounced(o);

    table_cell(t, c, name);
    number_cell(t, count_of(o, "received"), c);
    number_cell(t, delivered, c);
    if (s->bars)
        bar_cell(t, delivered, s->most);
    share_cell(t, delivered, finished, c);
    number_cell(t, count_of(o, "deferred"), c);
    number_cell(t, count_of(o, "queue_failures"), c);
    bounced_cells(t, o, s, c);
    number_cell(t, count_of(o, "deleted"), c);
    number_cell(t, count_of(o, "remote_bounces"), c);
    number_cell(t, complaints, c);
    share_cell(t, complaints, delivered, complaints * 1000 > delivered ? COLOUR_BAD : c);
    delay_cell(t, o, "p50_ms");
    delay_cell(t, o, "p99_ms");
    categories_cell(t, o);
}

/* "2026-11-21 09:20"; of a day the date alone. All in UTC, as the counters are. */
static char *moment(int64_t ms, int64_t step_ms, bool date, char *out, size_t size)
{
    time_t t = (time_t)(ms / 1000);
    struct tm tm;

    gmtime_r(&t, &tm);
    strftime(out, size, step_ms >= 86400000 ? "%Y-%m-%d" : date ? "%Y-%m-%d %H:%M" : "%H:%M", &tm);
    return out;
}

static bool is_total(const json_t *o)
{
    return json_is_true(json_object_get(o, "total"));
}

static bool is_time(const json_t *o)
{
    const char *by = field_text(o, "by");
    return by && strcmp(by, "time") == 0;
}

static const char *row_name(const json_t *o, char *out, size_t size)
{
    const char *key = field_text(o, "key");
    int64_t step = count_of(o, "step_ms"), cut = count_of(o, "cut");

    if (is_time(o))
        return moment(count_of(o, "start_ms"), step, step >= 3600000, out, size);
    if (cut > 0 && key) {
        snprintf(out, size, "%s, %lld below", key, (long long)cut);
        return out;
    }
    return key ? key : "?";
}

static void print_pipe(const struct answer *a, struct page *page, const json_t *total)
{
    const char *pipe = field_text(total, "pipe"), *by = field_text(total, "by");
    bool by_category = by && strcmp(by, "category") == 0;
    struct scale scale = {.bars = is_time(total), .all_bounced = by_category ? bounced(total) : 0};
    char text[160], when[40];
    size_t i, rows = 0;
    struct table t;
    json_t *o;

    snprintf(
        text, sizeof(text), "%.40s, since %s UTC", pipe ? pipe : "?",
        moment(count_of(total, "from_ms"), count_of(total, "step_ms"), true, when, sizeof(when)));
    page_heading(page, text);
    json_array_foreach(a->objects, i, o)
    {
        if (!is_total(o) && strcmp(field_text(o, "pipe"), pipe) == 0)
            scale.most = MAX_OF(scale.most, count_of(o, "delivered"));
    }
    table_init(&t, page);
    add_columns(&t, by ? by : "", scale.bars);
    json_array_foreach(a->objects, i, o)
    {
        if (is_total(o) || strcmp(field_text(o, "pipe"), pipe) != 0)
            continue;
        add_row(&t, row_name(o, text, sizeof(text)),
                json_is_true(json_object_get(o, "others")) ? COLOUR_DIM : COLOUR_NONE, o, &scale);
        rows++;
    }
    scale.most = scale.all_bounced = 0;
    if (rows)
        add_row(&t, by_category ? "all mail" : "total", COLOUR_STRONG, total, &scale);
    table_print(&t);
    if (!rows)
        page_printf(page, "nothing happened\n");
}

/* Sums over pipes are right for all but percentiles, which are left out. */
static json_t *sum_of(json_t *const *totals, size_t count)
{
    json_t *sum = json_object(), *categories = json_object(), *n;
    const char *name;

    for (size_t i = 0; i < count; i++) {
        json_object_foreach(totals[i], name, n)
        {
            if (json_is_integer(n) && strncmp(name, "p50", 3) != 0 && strncmp(name, "p99", 3) != 0)
                json_object_set_new(sum, name,
                                    json_integer(json_integer_value(json_object_get(sum, name)) +
                                                 json_integer_value(n)));
        }
        json_object_foreach(json_object_get(totals[i], "categories"), name, n)
        {
            json_object_set_new(categories, name,
                                json_integer(json_integer_value(json_object_get(categories, name)) +
                                             json_integer_value(n)));
        }
    }
    json_object_set_new(sum, "categories", categories);
    return sum;
}

static void print_pipes(struct page *page, json_t *const *totals, size_t count)
{
    const struct scale scale = {0};
    char text[160], when[40];
    struct table t;

    snprintf(text, sizeof(text), "since %s UTC",
             moment(count_of(totals[0], "from_ms"), count_of(totals[0], "step_ms"), true, when,
                    sizeof(when)));
    page_heading(page, text);
    table_init(&t, page);
    add_columns(&t, "pipe", false);
    for (size_t i = 0; i < count; i++)
        add_row(&t, field_text(totals[i], "pipe"), COLOUR_NONE, totals[i], &scale);
    if (count > 1) {
        json_t *sum = sum_of(totals, count);
        add_row(&t, "total", COLOUR_STRONG, sum, &scale);
        json_decref(sum);
    }
    table_print(&t);
}

void render_stats(const struct answer *a, struct page *page)
{
    json_t **totals = xcalloc(json_array_size(a->objects) + 1, sizeof(json_t *));
    size_t i, count = 0;
    json_t *o;

    json_array_foreach(a->objects, i, o)
    {
        if (is_total(o) && field_text(o, "pipe"))
            totals[count++] = o;
    }
    const char *by = count ? field_text(totals[0], "by") : NULL;
    if (by && strcmp(by, "pipe") == 0)
        print_pipes(page, totals, count);
    for (i = 0; by && strcmp(by, "pipe") != 0 && i < count; i++)
        print_pipe(a, page, totals[i]);
    free(totals);
}
