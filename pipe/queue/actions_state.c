/*
 * Actions and clocks as text, for the state files "actions" and "queue-clocks"; see actions.h. One
 * line each, fields separated by tabs; texts were cleaned of control bytes when they came in. A line
 * that does not read is left out. What is over by the time of reading is not put back.
 */
#include "base/clock.h"
#include "base/log.h"
#include "queue/engine_int.h"

enum { FIELDS_MAX = 16, WRITE_MAX_BYTES = 7 * 1024 * 1024, CLOCK_TEXT = 200 };

static enum action_kind kind_named(struct strview name)
{
    for (unsigned k = 0; k < ACTION_KIND_COUNT; k++)
        if (sv_eq(name, sv_of(action_kind_name(k))))
            return k;
    return ACTION_KIND_COUNT;
}

void engine_actions_write(const struct engine *g, struct buf *out)
{
    buf_printf(out, "next\t%llu\n", (unsigned long long)g->actions.next_id);
    for (const struct list *l = g->actions.all.prev; l != &g->actions.all; l = l->prev) {
        const struct action *x = list_entry((struct list *)(uintptr_t)l, struct action, link);
        if (buf_len(out) > WRITE_MAX_BYTES)
            return;
        buf_printf(out, "%s\t%llu\t%s\t%s\t%u\t%lld\t%lld\t%u\t%s\t%s\t%s\t%u\t%s\t%s\n",
                   action_kind_name(x->kind), (unsigned long long)x->id,
                   x->memo ? x->memo->name : "", x->subject, x->percent, (long long)x->since_ms,
                   (long long)x->until_ms, x->times, x->by, x->list, x->file, x->line, x->regex,
                   x->reply);
    }
}

/* Splits into exactly `count` fields, each a string of its own. */
static bool split(struct arena *arena, struct strview line, const char **ret, size_t count)
{
    struct strview part;
    size_t n = 0;

    while (sv_split(&line, '\t', &part)) {
        if (n == count)
            return false;
        ret[n++] = arena_strndup(arena, part.ptr, part.len);
    }
    return n == count;
}

static bool number(const char *text, uint64_t *ret)
{
    return sv_to_u64(sv_of(text), ret);
}

static void read_action(struct engine *g, const char **f)
{
    uint64_t id, percent, since, until, times, line;
    enum action_kind kind = kind_named(sv_of(f[0]));

    if (kind == ACTION_KIND_COUNT || !number(f[1], &id) || !number(f[4], &percent) ||
        !number(f[5], &since) || !number(f[6], &until) || !number(f[7], &times) ||
        !number(f[11], &line) || percent > 100 || (kind == ACTION_SUSPEND) != !*f[2] ||
        (until && (int64_t)until <= clock_wall_ms()))
        return;
    struct rule_match rule = {.list = f[9], .file = f[10], .line = (unsigned)line, .regex = f[12]};
    actions_restore(g, id, (int64_t)since, (uint32_t)times,
                    &(struct action_spec){
                        .kind = kind,
                        .queue = *f[2] ? f[2] : NULL,
                        .subject = f[3],
                        .percent = (uint32_t)percent,
                        .until_ms = (int64_t)until,
                        .by = f[8],
                        .rule = &rule,
                        .reply = sv_of(f[13]),
                    });
}

static void actions_read(struct engine *g, struct strview text)
{
    struct arena arena = {0};
    const char *f[FIELDS_MAX];
    uint64_t next = 0;

    for (struct strview line; sv_split(&text, '\n', &line);) {
        if (sv_starts_nocase(line, SV("next\t")))
            sv_to_u64(sv(line.ptr + 5, line.len - 5), &next);
        else if (split(&arena, line, f, 14))
            read_action(g, f);
        arena_reset(&arena);
    }
    g->actions.next_id = MAX_OF(g->actions.next_id, next);
    arena_free(&arena);
}

/* --- clocks --- */

static void write_clock(struct buf *out, const char *name, uint32_t failures, int64_t retry_at_ms,
                        const char *text)
{
    size_t at = buf_len(out);

    buf_printf(out, "%s\t%u\t%lld\t", name, failures, (long long)retry_at_ms);
    at = buf_len(out);
    buf_printf(out, "%.*s", CLOCK_TEXT, text ? text : "");
    for (char *c = buf_data(out) + at; *c; c++)
        if ((unsigned char)*c < ' ')
            *c = ' ';
    buf_append_char(out, '\n');
}

void engine_clocks_write(const struct engine *g, struct buf *out)
{
    size_t count = 0;

    list_for_each (l, &g->actions.failing) {
        const struct queue *q = list_entry(l, struct queue, failing);
        if (count++ >= CLOCKS_KEPT || buf_len(out) > WRITE_MAX_BYTES)
            return;
        write_clock(out, q->name, q->failures, q->retry_at_ms, q->last_text);
    }
}

static void clocks_read(struct engine *g, struct strview text)
{
    struct arena arena = {0};
    const char *f[4];
    uint64_t failures, retry_at;

    for (struct strview line; sv_split(&text, '\n', &line); arena_reset(&arena)) {
        if (!split(&arena, line, f, 4) || !*f[0] || !number(f[1], &failures) || !failures ||
            !number(f[2], &retry_at))
            continue;
        struct queue *q = engine_find_queue(g, sv_of(f[0]));
        if (!q || !q->live)
            continue; /* its mail is gone */
        q->failures = (uint32_t)MIN_OF(failures, (uint64_t)UINT16_MAX);
        q->retry_at_ms = (int64_t)retry_at > clock_wall_ms() ? (int64_t)retry_at : 0;
        queue_set_text(q, sv_of(f[3]));
        actions_clock(g, q);
        scheduler_rewake(g, q);
    }
    arena_free(&arena);
}

void engine_actions_read(struct engine *g, struct strview actions, struct strview clocks)
{
    actions_read(g, actions);
    clocks_read(g, clocks);
}
