/*
 * `show adaptive` and `show warmup`.
 */
#include "render.h"

#include <stdio.h>

/* Three figures, per second, minute or hour, whichever reads best. */
static void rate_text(double per_s, char *out, size_t size)
{
    if (per_s <= 0)
        snprintf(out, size, "none");
    else if (per_s >= 100)
        snprintf(out, size, "%.0f/s", per_s);
    else if (per_s >= 1)
        snprintf(out, size, "%.3g/s", per_s);
    else if (per_s * 60 >= 1)
        snprintf(out, size, "%.3g/m", per_s * 60);
    else
        snprintf(out, size, "%.3g/h", per_s * 3600);
}

static double real(const json_t *o, const char *name)
{
    return json_number_value(json_object_get(o, name));
}

static void rate_cell(struct table *t, const json_t *o, const char *name)
{
    char text[32];
    rate_text(real(o, name), text, sizeof(text));
    table_cell(t, COLOUR_NONE, text);
}

/* The last hour in twenty signs of three minutes, each by the highest of its minutes. */
static void spark_cell(struct table *t, const json_t *o)
{
    static const char *const signs[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    const json_t *minutes = json_object_get(o, "minutes");
    size_t count = json_array_size(minutes), each = 3;
    double most = 0;
    struct buf b = {0};

    for (size_t i = 0; i < count; i++)
        most = MAX_OF(most, json_number_value(json_array_get(minutes, i)));
    for (size_t i = 0; i + each <= count; i += each) {
        double high = 0;
        for (size_t k = i; k < i + each; k++)
            high = MAX_OF(high, json_number_value(json_array_get(minutes, k)));
        buf_append_str(&b, high <= 0 ? "·" : signs[MIN_OF((size_t)(high / most * 8), (size_t)7)]);
    }
    table_cell(t, COLOUR_NONE, buf_data(&b));
    buf_free(&b);
}

static void last_reply(struct table *t, const json_t *o)
{
    const char *because = field_text(o, "because"), *reply = field_text(o, "reply");
    const char *change = field_text(o, "change");
    struct buf b = {0};

    buf_append_str(&b, because ? because : "");
    if (reply && change && (strcmp(change, "held") == 0 || strcmp(change, "slower") == 0))
        buf_printf(&b, ": %s", reply);
    table_cell(t, COLOUR_NONE, buf_data(&b));
    buf_free(&b);
}

void render_adaptive(const struct answer *a, struct page *page)
{
    struct table t;
    size_t i;
    json_t *o;

    table_init(&t, page);
    table_column(&t, "pipe", COLUMN_LEFT);
    table_column(&t, "queue", COLUMN_LEFT);
    table_column(&t, "from", COLUMN_LEFT);
    table_column(&t, "state", COLUMN_LEFT);
    table_column(&t, "rate", COLUMN_RIGHT);
    table_column(&t, "floor", COLUMN_RIGHT);
    table_column(&t, "ceiling", COLUMN_RIGHT);
    table_column(&t, "failed at", COLUMN_RIGHT);
    table_column(&t, "the last hour", COLUMN_LEFT);
    table_column(&t, "changed", COLUMN_RIGHT);
    table_column(&t, "why", COLUMN_REST);
    json_array_foreach(a->objects, i, o)
    {
        const char *state = field_text(o, "state");
        table_text(&t, o, "pipe");
        table_text(&t, o, "queue");
        table_text(&t, o, "source");
        table_cell(&t, state && strcmp(state, "held") == 0 ? COLOUR_WARN : COLOUR_GOOD, state);
        rate_cell(&t, o, "rate");
        rate_cell(&t, o, "floor");
        rate_cell(&t, o, "ceiling");
        rate_cell(&t, o, "failed_at");
        spark_cell(&t, o);
        table_age(&t, o, "changed_ms");
        last_reply(&t, o);
    }
    table_print(&t);
    if (!json_array_size(a->objects) && !json_array_size(a->errors))
        page_printf(page, "no queue%s has sent with 'adaptive = yes'\n",
                    a->parsed->operand_count ? " of this name" : "");
}

/* --- warm-up --- */

static enum colour warmup_colour(const char *state)
{
    if (!state)
        return COLOUR_NONE;
    if (strcmp(state, "advancing") == 0 || strcmp(state, "done") == 0)
        return COLOUR_GOOD;
    return COLOUR_WARN;
}

static void allowed_cell(struct table *t, const json_t *o, const char *budget, bool ramp)
{
    char text[48];
    int64_t n;

    if (ramp)
        rate_text(real(o, "rate"), text, sizeof(text));
    if (ramp)
        table_cell(t, COLOUR_NONE, real(o, "rate") > 0 ? text : "no limit");
    else if (field_number(o, budget, &n))
        table_count(t, o, budget);
    else
        table_cell(t, COLOUR_NONE, "no limit");
}

static void percent_cell(struct table *t, const json_t *o, const char *name, const char *max_name)
{
    char text[48];
    int64_t max = 100;

    field_number(o, max_name, &max);
    snprintf(text, sizeof(text), "%.1f%%/%lld%%", real(o, name), (long long)max);
    table_cell(t, real(o, name) > (double)max ? COLOUR_BAD : COLOUR_NONE, text);
}

static void warmup_why(struct table *t, const json_t *o)
{
    const char *because = field_text(o, "because"), *verdict = field_text(o, "verdict");
    int64_t percent = 0;
    char text[160];
    bool trouble = verdict && (strcmp(verdict, "deferred") == 0 || strcmp(verdict, "bounced") == 0);

    field_number(o, "verdict_percent", &percent);
    if (trouble)
        snprintf(text, sizeof(text), "%s (%lld%%)", because ? because : "", (long long)percent);
    else
        snprintf(text, sizeof(text), "%s", because ? because : "");
    table_cell(t, COLOUR_NONE, text);
}

void render_warmup(const struct answer *a, struct page *page)
{
    struct table t;
    size_t i;
    json_t *o;

    table_init(&t, page);
    table_column(&t, "pipe", COLUMN_LEFT);
    table_column(&t, "queue", COLUMN_LEFT);
    table_column(&t, "from", COLUMN_LEFT);
    table_column(&t, "state", COLUMN_LEFT);
    table_column(&t, "step", COLUMN_RIGHT);
    table_column(&t, "allowed", COLUMN_RIGHT);
    table_column(&t, "used", COLUMN_RIGHT);
    table_column(&t, "deferred", COLUMN_RIGHT);
    table_column(&t, "bounced", COLUMN_RIGHT);
    table_column(&t, "next step", COLUMN_RIGHT);
    table_column(&t, "with", COLUMN_RIGHT);
    table_column(&t, "why", COLUMN_REST);
    json_array_foreach(a->objects, i, o)
    {
        const char *state = field_text(o, "state"), *kind = field_text(o, "kind");
        bool ramp = kind && strcmp(kind, "ramp") == 0;
        table_text(&t, o, "pipe");
        table_text(&t, o, "queue");
        table_text(&t, o, "source");
        table_cell(&t, warmup_colour(state), state);
        if (ramp)
            table_of(&t, o, "step", "steps");
        else
            table_count(&t, o, "step");
        allowed_cell(&t, o, "budget", ramp);
        table_count(&t, o, ramp ? "attempts" : "used");
        percent_cell(&t, o, "deferred_percent", "max_deferred");
        percent_cell(&t, o, "bounced_percent", "max_bounced");
        table_next(&t, o, "next_ms");
        if (ramp)
            table_cell(&t, COLOUR_NONE, NULL);
        else
            allowed_cell(&t, o, "next_budget", false);
        warmup_why(&t, o);
    }
    table_print(&t);
    if (!json_array_size(a->objects) && !json_array_size(a->errors))
        page_printf(page, "no source address%s warms up\n",
                    a->parsed->operand_count ? " of this queue" : "");
}

/* --- the days ahead --- */

static void plan_heading(struct page *p, const json_t *o)
{
    const char *queue = field_text(o, "queue"), *source = field_text(o, "source");
    struct buf title = {0};

    buf_printf(&title, "%s", queue);
    if (source)
        buf_printf(&title, " from %s", source);
    page_heading(p, buf_data(&title));
    buf_free(&title);
}

void render_warmup_plan(const struct answer *a, struct page *page)
{
    size_t i, k;
    json_t *o, *day;

    json_array_foreach(a->objects, i, o)
    {
        struct table t;
        if (field_text(o, "queue"))
            plan_heading(page, o);
        table_init(&t, page);
        table_column(&t, "date", COLUMN_LEFT);
        table_column(&t, "day", COLUMN_RIGHT);
        table_column(&t, "messages", COLUMN_RIGHT);
        table_column(&t, "in all", COLUMN_RIGHT);
        json_array_foreach(json_object_get(o, "days"), k, day)
        {
            table_text(&t, day, "date");
            table_count(&t, day, "day");
            allowed_cell(&t, day, "budget", false);
            table_count(&t, day, "total");
        }
        table_print(&t);
        const char *note = field_text(o, "note");
        if (note)
            page_printf(page, "\n%s\n", note);
        if (parsed_has(a->parsed, OPT_SCHEDULE))
            break; /* each pipe says the same */
    }
    if (!json_array_size(a->objects) && !json_array_size(a->errors))
        page_printf(page,
                    "no source address warms up by a schedule; try --schedule '50/d +10%%/d'\n");
}
