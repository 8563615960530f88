/*
 * Levels that mean something after a restart: those that lie some seconds ahead. A limit enters the
 * list when an event leads that far and leaves it when it is written and past, so a pipe without
 * such limits has nothing to walk and nothing to write. A text that is made in slices has a list of
 * its own with what is still to come, so limits may enter, move and go meanwhile: one that enters is
 * in the next text, one that moves after it was written makes a next one due.
 *
 * The text has one line per level: directive, wall time in microseconds, name.
 *     max-msg-rate 1795250000000000 queue example.com/mta1
 */
#include "limit/limit_int.h"

#include <inttypes.h>

enum { TEXT_MAX = 48 << 20 }; /* less than what pipe/state reads back */

static const char *const measures[] = {
#define MEASURE_NAME(id, name, unit) name,
    LIMIT_MEASURES(MEASURE_NAME)
#undef MEASURE_NAME
};

void limit_moved(struct limit *l, int64_t now_us)
{
    int64_t level_us = limit_cell_level_us(l->cell);

    if (level_us <= now_us + LIMITS_KEEP_US || level_us == l->kept_us)
        return;
    if (list_empty(&l->far))
        list_push_back(&l->owner->far, &l->far);
    if (l->owner->changed)
        return;
    l->owner->changed = true;
    if (l->owner->on_changed)
        l->owner->on_changed(l->owner->on_changed_arg);
}

void limits_on_changed(struct limits *s, void (*fn)(void *arg), void *arg)
{
    s->on_changed = fn;
    s->on_changed_arg = arg;
}

bool limits_changed(const struct limits *s)
{
    return s->changed;
}

/* Takes the limit out of todo. */
static void write_level(struct limit *l, int64_t now_us, struct buf *out)
{
    int64_t level_us = limit_cell_level_us(l->cell);

    l->kept_us = level_us;
    list_remove(&l->far);
    if (level_us <= now_us + LIMITS_KEEP_US)
        return;
    list_push_back(&l->owner->far, &l->far);
    if (buf_len(out) < TEXT_MAX && !strchr(l->name, '\n'))
        buf_printf(out, "%s %" PRId64 " %s\n", measures[l->measure], level_us, l->name);
}

bool limits_write_some(struct limits *s, int64_t now_us, struct buf *out, size_t most)
{
    if (!s->writing) {
        list_splice_back(&s->todo, &s->far);
        s->changed = false;
    }
    for (; most && !list_empty(&s->todo); most--)
        write_level(list_entry(list_first(&s->todo), struct limit, far), now_us, out);
    s->writing = !list_empty(&s->todo);
    return !s->writing;
}

void limits_write(struct limits *s, int64_t now_us, struct buf *out)
{
    s->writing = false;
    limits_write_some(s, now_us, out, SIZE_MAX);
}

static int measure_of(struct strview name)
{
    for (int i = 0; i < LIMIT_MEASURE_COUNT; i++)
        if (i != LIMIT_CONNECTIONS && sv_eq(name, sv_of(measures[i])))
            return i;
    return -1;
}

static void read_line(struct limits *s, struct strview line, int64_t now_us)
{
    struct strview rest = line, measure, level;
    uint64_t level_us;

    if (!sv_split(&rest, ' ', &measure) || !sv_split(&rest, ' ', &level))
        return;
    int which = measure_of(measure);
    if (which < 0 || !rest.ptr || !rest.len || !sv_to_u64(level, &level_us) ||
        level_us > INT64_MAX || (int64_t)level_us <= now_us + LIMITS_KEEP_US)
        return;
    struct limit *l = limit_get(s, (enum limit_measure)which, rest);
    limit_cell_raise(l->cell, (int64_t)level_us);
    limit_moved(l, now_us);
    l->is_kept = true; /* whatever is set later: until then its level is all that is known */
    limit_unref(l);
}

void limits_read(struct limits *s, struct strview text)
{
    int64_t now_us = limits_now(s);
    struct strview line;

    while (sv_split(&text, '\n', &line))
        if (line.len)
            read_line(s, line, now_us);
}
