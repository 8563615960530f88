/*
 * What a sink is doing, for `pmtactl show events` and for the line of a run on a terminal. Called in
 * the thread that ships; child.c hands the text on.
 */
#include "ship_int.h"

#include "dead.h"

#include "base/clock.h"
#include "net/admin.h"

#include <sys/stat.h>

static uint64_t record_size(const struct ship *s)
{
    return s->record_count ? MAX_OF(s->record_bytes / s->record_count, (uint64_t)1) : 400;
}

/* Records that are in memory are counted, those in files estimated by their size. */
static uint64_t records_behind(const struct ship *s, const struct lane *l, uint64_t bytes)
{
    uint64_t have = 0, have_bytes = 0;

    if (l->current)
        have += l->current->count - l->current->from;
    if (l->ahead)
        have += l->ahead->count;
    have_bytes = have * record_size(s) * 3 / 4; /* CSV is shorter than JSON */
    uint64_t left = bytes > have_bytes ? bytes - have_bytes : 0;
    if (l->dry && !l->stream->has_next)
        return have;
    return have + left * 4 / 3 / record_size(s);
}

static int64_t oldest_ms(const struct lane *l)
{
    const struct batch *b = l->current && l->current->count ? l->current
                            : l->ahead && l->ahead->count   ? l->ahead
                                                            : NULL;
    return b ? b->first_time_ms : 0;
}

static const char *lane_state(const struct ship *s, const struct lane *l)
{
    if (*l->trouble)
        return "failing";
    if (l->current && (l->current->failing_since_ms || l->current->state == BATCH_WAITING))
        return "failing";
    if (l->current && l->current->state == BATCH_SENT && s->target->ops->trouble &&
        s->target->ops->trouble(s->target))
        return "failing";
    return "ok";
}

static const char *lane_why(const struct ship *s, const struct lane *l)
{
    const char *trouble =
        s->target && s->target->ops->trouble ? s->target->ops->trouble(s->target) : NULL;
    if (*l->trouble)
        return l->trouble;
    if (l->current && *l->current->why && strcmp(lane_state(s, l), "failing") == 0)
        return l->current->why;
    return trouble;
}

static json_t *lane_status(const struct ship *s, const struct lane *l)
{
    const struct stream *st = l->stream;
    uint64_t bytes = stream_behind(st);
    const char *why = lane_why(s, l);
    json_t *o = json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I}", "pipe", st->pipe, "state",
                          lane_state(s, l), "file", st->acked.stem, "offset",
                          (json_int_t)st->acked.offset, "bytes_behind", (json_int_t)bytes,
                          "records_behind", (json_int_t)records_behind(s, l, bytes), "oldest_ms",
                          (json_int_t)oldest_ms(l), "sent", (json_int_t)l->sent);

    BUG_ON(!o);
    if (why && strcmp(lane_state(s, l), "failing") == 0)
        json_object_set_new(o, "why", admin_json_text(sv_of(why)));
    if (l->current && l->current->state == BATCH_WAITING)
        json_object_set_new(
            o, "next_ms",
            json_integer(clock_wall_ms() + l->current->retry_at_ms - clock_mono_ms()));
    return o;
}

static double rate_of(const struct ship *s)
{
    int64_t second = clock_mono_ms() / 1000;
    uint64_t n = 0;

    for (size_t i = 0; i <= RATE_SECONDS; i++)
        if (s->rate[i].second < second && s->rate[i].second >= second - RATE_SECONDS)
            n += s->rate[i].records;
    return (double)n / RATE_SECONDS;
}

static int64_t dead_bytes(const struct ship *s)
{
    struct stat st;
    return fstatat(s->options.state_dirfd, DEAD_FILE, &st, 0) == 0 ? st.st_size : 0;
}

/* failing: the receiver, or this machine; waiting: for the first accounting file. */
static void add_state(struct ship *s, json_t *o)
{
    const char *state = s->lane_count ? "ok" : "waiting", *why = NULL;
    int64_t since = 0;

    if (!s->lane_count)
        why = "there are no accounting files yet";
    if (*s->trouble) {
        state = "failing";
        why = s->trouble;
    }
    list_for_each (n, &s->lanes) {
        struct lane *l = list_entry(n, struct lane, link);
        if (strcmp(lane_state(s, l), "failing") != 0)
            continue;
        state = "failing";
        why = why ? why : lane_why(s, l);
        int64_t from = l->current ? l->current->failing_since_ms : 0;
        if (from && (!since || from < since))
            since = from;
    }
    if (s->failing_since_ms && (!since || s->failing_since_ms < since) &&
        strcmp(state, "failing") == 0)
        since = s->failing_since_ms;
    json_object_set_new(o, "state", json_string(state));
    if (why)
        json_object_set_new(o, "why", admin_json_text(sv_of(why)));
    if (since)
        json_object_set_new(o, "failing_since_ms", json_integer(since));
}

/* Without what may be secret: user and password, the query. */
static void add_url(const struct ship *s, json_t *o)
{
    struct strview url = sv_of(s->settings.url);
    const char *scheme = strstr(url.ptr, "://"), *at;
    struct buf shown = {0};

    url.len = strcspn(url.ptr, "?#");
    if (scheme) {
        size_t host = (size_t)(scheme + 3 - url.ptr);
        size_t end = host + strcspn(url.ptr + host, "/?#");
        at = memrchr(url.ptr + host, '@', end - host);
        buf_append(&shown, url.ptr, host);
        url = at ? sv(at + 1, url.len - (size_t)(at + 1 - url.ptr))
                 : sv(url.ptr + host, url.len - host);
    }
    buf_append_sv(&shown, url);
    json_object_set_new(o, "url", admin_json_text(buf_view(&shown)));
    buf_free(&shown);
}

json_t *ship_status(struct ship *s)
{
    json_t *o = json_object(), *pipes = json_array();
    uint64_t bytes = 0, records = 0;
    int64_t oldest = 0;

    list_for_each (n, &s->lanes) {
        const struct lane *l = list_entry(n, struct lane, link);
        json_t *one = lane_status(s, l);
        int64_t made = oldest_ms(l);
        bytes += (uint64_t)json_integer_value(json_object_get(one, "bytes_behind"));
        records += (uint64_t)json_integer_value(json_object_get(one, "records_behind"));
        if (made && (!oldest || made < oldest))
            oldest = made;
        json_array_append_new(pipes, one);
    }
    json_object_set_new(o, "sink", json_string(s->settings.name));
    add_url(s, o);
    add_state(s, o);
    json_object_set_new(o, "records_behind", json_integer((json_int_t)records));
    json_object_set_new(o, "bytes_behind", json_integer((json_int_t)bytes));
    json_object_set_new(o, "oldest_ms", json_integer(oldest));
    json_object_set_new(o, "sent", json_integer((json_int_t)s->totals.sent));
    json_object_set_new(o, "rate", json_real(rate_of(s)));
    json_object_set_new(o, "retried", json_integer((json_int_t)s->totals.retried));
    json_object_set_new(o, "dead_letters", json_integer((json_int_t)s->totals.dead));
    json_object_set_new(o, "dead_letter_bytes", json_integer(dead_bytes(s)));
    json_object_set_new(o, "broken", json_integer((json_int_t)s->totals.broken));
    json_object_set_new(o, "gaps", json_integer((json_int_t)s->totals.gaps));
    json_object_set_new(o, "pipes", pipes);
    return o;
}
