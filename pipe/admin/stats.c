/*
 * `stats`: the rolling counters of this pipe. One object per row, the busiest first, the rest after
 * them; then one for the whole pipe ("total").
 */
#include "admin/verbs.h"
#include "base/clock.h"
#include "base/units.h"
#include "stats/stats.h"

enum { ROWS_SHOWN = 20, ROWS_MAX = 2000, SINCE_MS = 3600000 };

static bool dimension_of(struct strview name, unsigned *ret)
{
    *ret = STATS_BY_PIPE;
    if (!name.len)
        return true;
    for (unsigned by = 0; by <= STATS_BY_TIME; by++)
        if (sv_eq_nocase(name, sv_of(stats_dimension_name(by)))) {
            *ret = by;
            return true;
        }
    return false;
}

static json_t *categories(const struct stats *s, const struct stats_cell *c)
{
    json_t *o = json_object();

    for (unsigned i = 0; i < STATS_CATEGORIES; i++) {
        const char *name = stats_category_name(s, i);
        if (c->categories[i] && name)
            json_object_set_new(o, name, json_integer(c->categories[i]));
    }
    return o;
}

static json_t *delays(const struct stats_cell *c)
{
    json_t *list = json_array();

    for (unsigned i = 0; i < STATS_DELAYS; i++)
        if (c->delays[i])
            json_array_append_new(list, json_pack("[I, I]", (json_int_t)stats_delay_to_ms(i),
                                                  (json_int_t)c->delays[i]));
    return list;
}

static json_t *row(const struct pipe *p, unsigned by, const struct stats_answer *answer,
                   const struct stats_cell *c)
{
    const struct stats *s = report_stats(p->report);
    json_t *o =
        json_pack("{s:s, s:s, s:I, s:I}", "pipe", p->name, "by", stats_dimension_name(by),
                  "from_ms", (json_int_t)answer->from_ms, "step_ms", (json_int_t)answer->step_ms);

    for (unsigned i = 0; i < STATS_COUNTER_COUNT; i++)
        json_object_set_new(o, stats_counter_name((enum stats_counter)i),
                            json_integer((json_int_t)c->counts[i]));
    json_object_set_new(o, "categories", categories(s, c));
    if (!c->counts[STATS_DELIVERED])
        return o;
    json_object_set_new(o, "p50_ms", json_integer(stats_delay_percentile(c->delays, 50)));
    json_object_set_new(o, "p99_ms", json_integer(stats_delay_percentile(c->delays, 99)));
    json_object_set_new(o, "delays", delays(c));
    return o;
}

static void send_row(struct admin *a, const struct pipe *p, unsigned by,
                     const struct stats_answer *answer, const struct stats_row *r)
{
    json_t *o = row(p, by, answer, &r->cell);

    if (by == STATS_BY_TIME) {
        json_object_set_new(o, "start_ms", json_integer(r->start_ms));
    } else if (*r->name) {
        json_object_set_new(o, "key", admin_json_text(sv_of(r->name)));
    } else {
        json_object_set_new(o, "key", json_string("(others)"));
        json_object_set_new(o, "others", json_true());
        json_object_set_new(o, "cut", json_integer((json_int_t)answer->folded));
    }
    admin_send(a, o);
}

void show_stats(void *owner, struct admin *a)
{
    struct pipe *p = owner;
    struct strview since = admin_text(a, "since");
    int64_t limit = admin_number(a, "limit", ROWS_SHOWN), since_ms = SINCE_MS;
    struct stats_answer answer;
    unsigned by;

    if (!dimension_of(admin_text(a, "by"), &by)) {
        admin_error(a, "'by' is not understood, expected pipe, domain, vmta, job, queue, category "
                       "or time");
        return;
    }
    if (since.len && (units_parse_interval(since, &since_ms) < 0 || since_ms <= 0)) {
        admin_error(a, "'since' is no time, expected such as 15m, 1h, 2d");
        return;
    }
    limit = MIN_OF(MAX_OF(limit, (int64_t)1), (int64_t)ROWS_MAX);
    stats_ask(report_stats(p->report), by, clock_wall_ms(), since_ms, (size_t)limit, &answer);
    for (size_t i = 0; by != STATS_BY_PIPE && i < answer.count; i++)
        send_row(a, p, by, &answer, &answer.rows[i]);
    json_t *all = row(p, by, &answer, &answer.all);
    json_object_set_new(all, "total", json_true());
    admin_send(a, all);
    stats_answer_free(&answer);
    admin_end(a);
}
