/*
 * The page for a person on duty: the daemon in one line, its processes, the pipes, and one line
 * each for the receivers together and for the resolver.
 */
#include "render.h"

#include <stdio.h>

static const char *process_of(const json_t *o)
{
    const char *process = field_text(o, "process");
    return process ? process : "";
}

static bool is_role(const json_t *o, const char *role)
{
    size_t len = strlen(role);
    const char *process = process_of(o);
    return strncmp(process, role, len) == 0 && (!process[len] || process[len] == '/');
}

static void daemon_line(const json_t *o, struct page *p)
{
    char text[HUMAN_SIZE];
    int64_t n;

    page_text(p, COLOUR_STRONG, "pmtad");
    if (field_text(o, "version")) {
        buf_append_char(&p->out, ' ');
        page_clean(&p->out, field_text(o, "version"));
    }
    if (field_number(o, "uptime_s", &n))
        page_printf(p, "  up %s", human_duration(n * 1000, text));
    if (field_number(o, "pid", &n))
        page_printf(p, "  pid %lld", (long long)n);
    if (field_number(o, "generation", &n))
        page_printf(p, "  configuration %lld", (long long)n);
    if (field_text(o, "config_dir")) {
        buf_append_str(&p->out, " from ");
        page_clean(&p->out, field_text(o, "config_dir"));
    }
    buf_append_char(&p->out, '\n');
}

static void process_row(struct table *t, const json_t *o)
{
    int64_t pid, restarts;
    char text[HUMAN_SIZE];

    table_text(t, o, "child");
    table_state(t, o, "state");
    snprintf(text, sizeof(text), "%lld", field_number(o, "pid", &pid) ? (long long)pid : 0);
    table_cell(t, COLOUR_NONE, field_number(o, "pid", &pid) && pid > 0 ? text : NULL);
    table_seconds(t, o, "uptime_s");
    bool counted = field_number(o, "restarts", &restarts);
    table_cell(t, counted && restarts > 0 ? COLOUR_WARN : COLOUR_NONE,
               counted ? human_count(restarts, text) : NULL);
}

static void processes(const struct answer *a, struct page *p)
{
    struct table t;
    size_t i;
    json_t *o;

    table_init(&t, p);
    table_column(&t, "process", COLUMN_LEFT);
    table_column(&t, "state", COLUMN_LEFT);
    table_column(&t, "pid", COLUMN_RIGHT);
    table_column(&t, "uptime", COLUMN_RIGHT);
    table_column(&t, "restarts", COLUMN_RIGHT);
    json_array_foreach(a->objects, i, o)
    {
        if (is_role(o, "root") && field_text(o, "child"))
            process_row(&t, o);
    }
    if (t.cell_count)
        buf_append_char(&p->out, '\n');
    table_print(&t);
}

static void pipes(const struct answer *a, struct page *p)
{
    static const char *const counts[] = {"queued",    "connections", "received",
                                         "delivered", "deferred",    "bounced"};
    struct table t;
    size_t i;
    json_t *o;

    table_init(&t, p);
    table_column(&t, "pipe", COLUMN_LEFT);
    table_column(&t, "state", COLUMN_LEFT);
    for (size_t c = 0; c < ARRAY_LEN(counts); c++)
        table_column(&t, counts[c], COLUMN_RIGHT);
    json_array_foreach(a->objects, i, o)
    {
        if (!is_role(o, "pipe"))
            continue;
        const char *slash = strchr(process_of(o), '/');
        table_cell(&t, COLOUR_NONE, slash ? slash + 1 : process_of(o));
        table_state(&t, o, "state");
        for (size_t c = 0; c < ARRAY_LEN(counts); c++)
            table_count(&t, o, counts[c]);
    }
    if (t.cell_count)
        buf_append_char(&p->out, '\n');
    table_print(&t);
}

/* The sum of that field over the objects of that role; false: none has it. */
static bool sum_of(const struct answer *a, const char *role, const char *field, int64_t *ret)
{
    int64_t n;
    bool seen = false;
    size_t i;
    json_t *o;

    *ret = 0;
    json_array_foreach(a->objects, i, o)
    {
        if (is_role(o, role) && field_number(o, field, &n) && n >= 0 && n < INT64_MAX / 4 - *ret) {
            *ret += n;
            seen = true;
        }
    }
    return seen;
}

/* Adds "label N" to the line when any of the objects of that role has the field. */
static void sum_part(const struct answer *a, const char *role, const char *field, const char *what,
                     struct page *p)
{
    int64_t sum;
    char text[HUMAN_SIZE];

    if (sum_of(a, role, field, &sum))
        page_printf(p, ", %s %s", human_count(sum, text), what);
}

/* The same where nothing is to be said of 0. */
static void sum_part_of_some(const struct answer *a, const char *role, const char *field,
                             const char *what, struct page *p)
{
    int64_t sum;

    if (sum_of(a, role, field, &sum) && sum)
        sum_part(a, role, field, what, p);
}

static size_t count_role(const struct answer *a, const char *role)
{
    size_t i, count = 0;
    json_t *o;

    json_array_foreach(a->objects, i, o) count += is_role(o, role);
    return count;
}

static void receivers(const struct answer *a, struct page *p)
{
    size_t count = count_role(a, "receiver");

    if (!count)
        return;
    page_text(p, COLOUR_DIM, "receivers");
    page_printf(p, "  %zu running", count);
    sum_part(a, "receiver", "sessions", "sessions open", p);
    sum_part(a, "receiver", "accepted", "accepted", p);
    sum_part(a, "receiver", "messages", "messages", p);
    sum_part(a, "receiver", "recipients", "recipients", p);
    sum_part(a, "receiver", "rejected", "rejected", p);
    sum_part_of_some(a, "receiver", "inbound", "for our own addresses", p);
    sum_part_of_some(a, "receiver", "inbound_forged", "forged", p);
    sum_part_of_some(a, "receiver", "inbound_expired", "too old", p);
    buf_append_char(&p->out, '\n');
}

static void name_servers(const json_t *resolver, struct page *p)
{
    size_t i;
    json_t *s;

    json_array_foreach(json_object_get(resolver, "servers"), i, s)
    {
        const json_t *rtt = json_object_get(s, "rtt_ms");
        int64_t failures = 0;
        page_printf(p, "%s", i ? ", " : "; asks ");
        page_clean(&p->out, field_text(s, "address") ? field_text(s, "address") : "?");
        if (field_number(s, "failures", &failures) && failures > 0) {
            buf_append_char(&p->out, ' ');
            page_text(p, COLOUR_BAD, "(does not answer)");
        } else if (json_is_number(rtt)) {
            page_printf(p, " (%.1f ms)", json_number_value(rtt));
        }
    }
}

static void resolver(const struct answer *a, struct page *p)
{
    int64_t requests = 0, cached = 0;
    size_t i;
    json_t *o;

    if (!count_role(a, "resolver"))
        return;
    page_text(p, COLOUR_DIM, "resolver ");
    page_printf(p, "  running");
    sum_part(a, "resolver", "requests", "requests", p);
    json_array_foreach(a->objects, i, o)
    {
        if (!is_role(o, "resolver"))
            continue;
        if (field_number(o, "requests", &requests) && field_number(o, "from_cache", &cached) &&
            requests > 0)
            page_printf(p, " (%.0f%% from the cache)", 100.0 * (double)cached / (double)requests);
        sum_part(a, "resolver", "pending", "waiting", p);
        sum_part(a, "resolver", "timeouts", "timeouts", p);
        name_servers(o, p);
        break;
    }
    buf_append_char(&p->out, '\n');
}

void render_status(const struct answer *a, struct page *page)
{
    size_t i;
    json_t *o;

    json_array_foreach(a->objects, i, o)
    {
        if (is_role(o, "root") && !field_text(o, "child"))
            daemon_line(o, page);
    }
    processes(a, page);
    pipes(a, page);
    if (count_role(a, "receiver") || count_role(a, "resolver"))
        buf_append_char(&page->out, '\n');
    receivers(a, page);
    resolver(a, page);
}
