/*
 * Batches; see batch.h. ship.c has at most two per pipe: one that is sent, one that is being filled.
 *
 * An answer that refuses what is in a batch is not believed at once; then the batch is halved until
 * the records that are refused stand alone, and only these become dead letters.
 */
#include "batch.h"

#include "base/clock.h"

#include <stdio.h>
#include <sys/random.h>

struct batch *batch_new(struct stream *s)
{
    struct batch *b = xcalloc(1, sizeof(*b));

    b->stream = s;
    b->end = s->at;
    b->born_ms = clock_mono_ms();
    return b;
}

void batch_free(struct batch *b)
{
    if (!b)
        return;
    buf_free(&b->json);
    buf_free(&b->ids);
    buf_free(&b->dead);
    free(b->items);
    free(b);
}

/* --- filling --- */

static void add_item(struct batch *b, size_t json_at, size_t id_at)
{
    if (b->count == b->room) {
        b->room = b->room ? b->room * 2 : 64;
        b->items = xrealloc(b->items, b->room * sizeof(*b->items));
    }
    b->items[b->count++] =
        (struct batch_item){(uint32_t)json_at, (uint32_t)(buf_len(&b->json) - json_at),
                            (uint32_t)id_at, (uint32_t)(buf_len(&b->ids) - id_at)};
    buf_append_char(&b->json, ',');
}

static void begin_dead_letter(struct batch *b, const char *why)
{
    char iso[CLOCK_ISO_SIZE];

    buf_printf(&b->dead,
               "{\"deadLetterTime\":\"%s\",\"deadLetterReason\":", clock_iso(clock_wall_ms(), iso));
    json_append_text(&b->dead, sv_of(why));
    buf_append_char(&b->dead, ',');
}

/* A line that is no record is kept as it is. */
static void add_broken(struct batch *b, const struct stream_line *line, const char *why)
{
    struct stream *s = b->stream;

    s->counts.broken++;
    note(LOG_WARN, "line of accounting file '%s' at %llu is not a record (%s), leaving it out",
         s->at.stem, (unsigned long long)line->offset, why);
    begin_dead_letter(b, why);
    buf_append_str(&b->dead, "\"line\":");
    json_append_text(&b->dead, line->text);
    buf_append(&b->dead, "}\n", 2);
    b->dead_count++;
}

static void add_line(struct batch *b, const struct ship_settings *s, const struct stream_line *line)
{
    struct stream *from = b->stream;
    size_t json_at = buf_len(&b->json), id_at = buf_len(&b->ids);
    struct record_request q = {
        .columns = from->columns,
        .line = line->text,
        .pipe = sv_of(from->pipe),
        .stem = sv_of(from->at.stem),
        .offset = line->offset,
        .records = s->records,
    };
    struct record_result r;

    switch (record_convert(&q, &b->json, &b->ids, &r)) {
    case RECORD_TAKEN:
        if (!b->count) {
            b->first_time_ms = r.time_ms;
            b->born_ms = clock_mono_ms();
        }
        add_item(b, json_at, id_at);
        break;
    case RECORD_LEFT_OUT:
        break;
    case RECORD_BROKEN:
        add_broken(b, line, r.why);
        break;
    }
}

enum batch_fill batch_read(struct batch *b, const struct ship_settings *s, size_t max_bytes,
                           struct err *e)
{
    struct stream_line line;

    for (unsigned lines = 0;; lines++) {
        if (b->count >= s->batch_records || buf_len(&b->json) >= max_bytes ||
            buf_len(&b->dead) >= max_bytes)
            return BATCH_FULL;
        if (lines > 20 * s->batch_records) /* few of them are wanted: let others have their turn */
            return BATCH_FULL;
        switch (stream_read(b->stream, &line, e)) {
        case STREAM_LINE:
            add_line(b, s, &line);
            b->end = b->stream->at;
            break;
        case STREAM_TURN:
            b->turned = true;
            return BATCH_TURNED;
        case STREAM_DRY:
            b->end = b->stream->at;
            return BATCH_DRY;
        case STREAM_ERROR:
            return BATCH_ERROR;
        }
    }
}

/* --- parts --- */

struct strview batch_object(const struct batch *b, size_t i)
{
    return sv(buf_data(&b->json) + b->items[i].at, b->items[i].len);
}

struct strview batch_id(const struct batch *b, size_t i)
{
    return sv(buf_data(&b->ids) + b->items[i].id_at, b->items[i].id_len);
}

struct strview batch_objects(const struct batch *b)
{
    struct strview first = batch_object(b, b->from), last = batch_object(b, b->to - 1);

    return sv(first.ptr, (size_t)(last.ptr + last.len - first.ptr));
}

/* --- answers --- */

int64_t backoff_ms(const struct ship_settings *s, unsigned failures, uint64_t random)
{
    int64_t wait = s->retry_min_ms;

    for (unsigned i = 1; i < failures && wait < s->retry_max_ms; i++)
        wait *= 2;
    wait = MAX_OF(MIN_OF(wait, s->retry_max_ms), (int64_t)2);
    return wait / 2 + (int64_t)(random % (uint64_t)(wait / 2 + 1));
}

static uint64_t chance(void)
{
    uint64_t r = 0;

    if (getrandom(&r, sizeof(r), 0) != (ssize_t)sizeof(r))
        r = (uint64_t)clock_wall_us() * 2654435761u;
    return r;
}

static void bury(struct batch *b, const char *why)
{
    for (size_t i = b->from; i < b->to; i++) {
        struct strview o = batch_object(b, i);
        begin_dead_letter(b, why);
        buf_append(&b->dead, o.ptr + 1, o.len - 1); /* "{" is there already */
        buf_append_char(&b->dead, '\n');
        b->dead_count++;
    }
}

/* The next part; false: there is none. */
static bool go_on(struct batch *b)
{
    b->from = b->to;
    b->to = MIN_OF(b->count, b->from + b->chunk);
    b->tries = 0;
    b->state = BATCH_READY;
    return b->from < b->count;
}

static void halve(struct batch *b)
{
    b->chunk = (b->to - b->from + 1) / 2;
    b->to = b->from + b->chunk;
    b->state = BATCH_READY;
}

static void wait_for(struct batch *b, const struct ship_settings *s, unsigned failures,
                     int64_t asked_ms, int64_t now_ms)
{
    int64_t wait = backoff_ms(s, failures, chance());

    b->retry_at_ms = now_ms + MAX_OF(wait, MIN_OF(asked_ms, (int64_t)SHIP_RETRY_AFTER_MAX_MS));
    b->state = BATCH_WAITING;
}

struct batch_verdict batch_answer(struct batch *b, const struct ship_settings *s,
                                  const struct ship_result *r, int64_t now_ms, int64_t wall_ms)
{
    struct batch_verdict v = {0};
    size_t n = b->to - b->from;
    bool bury_it = false;

    if (r->outcome == SHIP_DELIVERED) {
        v.delivered = n;
        b->failing_since_ms = 0;
        b->chunk = MIN_OF(b->chunk * 2, b->count);
        v.done = !go_on(b);
        return v;
    }
    v.retried = true;
    if (r->outcome == SHIP_TOO_LARGE && n > 1) {
        halve(b);
        return v;
    }
    snprintf(b->why, sizeof(b->why), "%s", r->why);
    if (!b->failing_since_ms)
        b->failing_since_ms = wall_ms;
    switch (r->outcome) {
    case SHIP_TOO_LARGE:
        bury_it = true;
        break;
    case SHIP_REFUSED:
        b->refused++;
        if (b->refused < s->dead_letter_after)
            wait_for(b, s, b->refused, r->retry_after_ms, now_ms);
        else if (n > 1)
            halve(b);
        else
            bury_it = true;
        break;
    default:
        b->tries++;
        bury_it = s->give_up_ms && wall_ms - b->failing_since_ms >= s->give_up_ms;
        if (!bury_it)
            wait_for(b, s, b->tries, r->retry_after_ms, now_ms);
    }
    if (bury_it) {
        bury(b, r->why);
        v.dead = n;
        v.retried = false;
        v.done = !go_on(b);
    }
    return v;
}
