/*
 * The turns of pmta-ship; see ship.h. Each turn: look at the directories when it is time, read ahead,
 * send what may be sent, let the target work, save. At most one batch of a pipe is on its way, so its
 * order is kept; the next one is made meanwhile.
 *
 * A place is saved when everything before it was acknowledged (or is a dead letter, written before).
 * So nothing is lost when this process ends at any point; at most what was on its way is sent again,
 * with the same ids.
 */
#include "ship_int.h"

#include "dead.h"
#include "note.h"

#include "base/clock.h"

#include <stdio.h>

int ship_open(struct ship_settings *settings, const struct ship_options *o, struct ship **ret,
              struct err *e)
{
    struct ship *s = xcalloc(1, sizeof(*s));

    s->places.dirfd = o->state_dirfd;
    int rc = place_file_load(&s->places, &s->saved, &s->saved_count, e);
    if (rc < 0) {
        free(s);
        return rc;
    }
    s->settings = *settings;
    *settings = (struct ship_settings){0};
    s->options = *o;
    s->target = o->target;
    s->synced_ms = clock_mono_ms();
    list_init(&s->lanes);
    *ret = s;
    return 0;
}

static void lane_free(struct lane *l)
{
    list_remove(&l->link);
    batch_free(l->current);
    batch_free(l->ahead);
    stream_free(l->stream);
    free(l);
}

/* --- saving --- */

static void say_trouble(struct ship *s, const struct err *e)
{
    if (strcmp(s->trouble, e->text) != 0)
        note(LOG_ERROR, "%s, trying again", e->text);
    snprintf(s->trouble, sizeof(s->trouble), "%s", e->text);
}

static void save(struct ship *s, bool sync)
{
    int64_t now = clock_mono_ms();
    struct err e = {0};
    int rc = 0;

    sync = s->unsynced && (sync || now - s->synced_ms >= SYNC_MS);
    if (s->dirty)
        rc = ship_save(s, false, &e);
    if (rc == 0)
        s->dirty = false;
    if (rc == 0 && sync) {
        rc = ship_save(s, true, &e);
        s->synced_ms = now;
        s->unsynced = rc < 0;
        if (rc == 0)
            ship_keep_files(s);
    }
    if (rc < 0)
        say_trouble(s, &e);
    else if (strncmp(s->trouble, "cannot save", 11) == 0)
        s->trouble[0] = '\0';
}

void ship_close(struct ship *s)
{
    if (!s)
        return;
    if (s->target)
        s->target->ops->close(s->target);
    if (s->dirty || s->unsynced) {
        s->dirty = s->unsynced = true;
        save(s, true);
    }
    list_for_each_safe (n, &s->lanes)
        lane_free(list_entry(n, struct lane, link));
    free(s->saved);
    ship_settings_fini(&s->settings);
    free(s);
}

/* --- answers --- */

static void count_sent(struct ship *s, size_t records)
{
    int64_t second = clock_mono_ms() / 1000;
    size_t slot = (size_t)(second % (RATE_SECONDS + 1));

    s->totals.sent += records;
    if (s->rate[slot].second != second) {
        s->rate[slot].second = second;
        s->rate[slot].records = 0;
    }
    s->rate[slot].records += records;
}

/* The current batch is over: dead letters first, then the place. False: not yet. */
static bool acknowledge(struct ship *s, struct lane *l)
{
    struct batch *b = l->current;
    struct err e = {0};

    if (b->dead_count) {
        int rc = dead_write(s->options.state_dirfd, buf_view(&b->dead),
                            s->settings.max_dead_letters, &e);
        if (rc < 0) {
            b->state = BATCH_WAITING;
            b->retry_at_ms = clock_mono_ms() + s->settings.retry_max_ms;
            if (!b->failing_since_ms)
                b->failing_since_ms = clock_wall_ms();
            snprintf(b->why, sizeof(b->why), "%s", e.text);
            say_trouble(s, &e);
            return false;
        }
        if (strstr(s->trouble, "dead letters"))
            s->trouble[0] = '\0';
        note(LOG_WARN, "records set aside pipe='%s' dead-letters=%u file='%s'", l->stream->pipe,
             b->dead_count, DEAD_FILE);
    }
    stream_ack(l->stream, &b->end);
    s->dirty = s->unsynced = true;
    batch_free(b);
    l->current = NULL;
    return true;
}

static void say_change(struct ship *s, const struct batch *b, const struct ship_result *r)
{
    char since[CLOCK_ISO_SIZE];

    if (r->outcome == SHIP_DELIVERED) {
        if (s->failing_since_ms && s->said_failing)
            note(LOG_INFO, "sink '%s' takes events again after failing since %s", s->settings.name,
                 clock_iso(s->failing_since_ms, since));
        s->failing_since_ms = 0;
        s->said_failing = false;
        return;
    }
    if (r->outcome == SHIP_TOO_LARGE && b->to - b->from > 1) {
        note(LOG_DEBUG, "%s pipe='%s' records=%zu, halving", r->why, b->stream->pipe,
             b->to - b->from);
        return;
    }
    if (!s->failing_since_ms)
        s->failing_since_ms = clock_wall_ms();
    bool again = s->said_failing || (s->said_ms && clock_mono_ms() - s->said_ms < QUIET_MS);
    if (!again)
        note(LOG_WARN, "sink '%s' does not take events: %s pipe='%s' records=%zu, trying again",
             s->settings.name, r->why, b->stream->pipe, b->to - b->from);
    else
        note(LOG_DEBUG, "again: %s pipe='%s' tries=%u refused=%u records=%zu", r->why,
             b->stream->pipe, b->tries, b->refused, b->to - b->from);
    if (!again)
        s->said_ms = clock_mono_ms();
    s->said_failing |= !again;
}

static struct lane *lane_of(struct ship *s, const struct batch *b)
{
    list_for_each (n, &s->lanes) {
        struct lane *l = list_entry(n, struct lane, link);
        if (l->current == b)
            return l;
    }
    return NULL;
}

static void on_answer(void *owner, struct batch *b, const struct ship_result *r)
{
    struct ship *s = owner;
    struct lane *l = lane_of(s, b);
    size_t records = b->to - b->from, bytes = batch_objects(b).len;

    BUG_ON(!l || b->state != BATCH_SENT);
    say_change(s, b, r);
    struct batch_verdict v = batch_answer(b, &s->settings, r, clock_mono_ms(), clock_wall_ms());
    if (r->outcome == SHIP_TOO_LARGE && records > 1)
        l->max_bytes = MAX_OF(bytes / 2, (size_t)1024);
    if (v.delivered)
        count_sent(s, v.delivered);
    l->sent += v.delivered;
    s->totals.dead += v.dead;
    s->totals.retried += v.retried ? records : 0;
    if (v.done)
        acknowledge(s, l);
}

/* --- reading ahead --- */

static size_t bytes_ahead(const struct ship *s)
{
    size_t n = 0;

    list_for_each (node, &s->lanes) {
        const struct lane *l = list_entry(node, struct lane, link);
        n += l->ahead ? buf_len(&l->ahead->json) : 0;
    }
    return n;
}

static void wait_for_data(struct lane *l, int64_t now)
{
    bool busy = now - l->data_ms < IDLE_AFTER_MS;

    l->dry = true;
    l->read_after_ms = now + (busy ? BUSY_POLL_MS : IDLE_POLL_MS);
}

static void report_trouble(struct lane *l, const struct err *e)
{
    if (strcmp(l->trouble, e->text) != 0)
        note(LOG_ERROR, "%s, trying again", e->text);
    snprintf(l->trouble, sizeof(l->trouble), "%s", e->text);
}

/* Reads into the batch ahead. True: something changed. */
static bool read_ahead(struct ship *s, struct lane *l, int64_t now)
{
    struct stream *st = l->stream;
    struct err e = {0};

    if (now < l->read_after_ms || (l->ahead && l->ahead->state != BATCH_FILLING))
        return false;
    if (l->current && bytes_ahead(s) > AHEAD_BYTES)
        return false;
    if (!l->ahead)
        l->ahead = batch_new(st);
    struct batch *b = l->ahead;
    size_t before = b->count, bytes = buf_len(&b->json);
    uint64_t offset = b->end.offset, broken = st->counts.broken, gaps = st->counts.gaps;
    enum batch_fill f = batch_read(b, &s->settings, l->max_bytes, &e);
    s->record_count += b->count - before;
    s->record_bytes += buf_len(&b->json) - bytes;
    s->totals.broken += st->counts.broken - broken;
    s->totals.gaps += st->counts.gaps - gaps;
    bool any = b->count > before || b->end.offset != offset || f == BATCH_TURNED;
    if (any)
        l->data_ms = now;
    l->dry = false;
    if (f != BATCH_ERROR)
        l->trouble[0] = '\0';
    switch (f) {
    case BATCH_FULL:
        b->state = BATCH_READY;
        break;
    case BATCH_TURNED:
        b->state = BATCH_READY;
        s->next_look_ms = 0; /* which file comes next */
        break;
    case BATCH_DRY:
        if (st->looked) {
            wait_for_data(l, now);
            break;
        }
        s->next_look_ms = 0;
        return true;
    case BATCH_ERROR:
        report_trouble(l, &e);
        l->read_after_ms = now + LOOK_MS;
        break;
    }
    return any && f != BATCH_DRY;
}

/* Records have waited long enough for others. */
static bool is_ripe(const struct ship *s, const struct lane *l, int64_t now)
{
    const struct batch *b = l->ahead;

    if (!b)
        return false;
    if (b->state == BATCH_READY)
        return true;
    /* places of records that are left out are saved, too, but not for each one */
    bool moved = b->count || b->dead_count || b->end.offset != l->stream->acked.offset ||
                 strcmp(b->end.stem, l->stream->acked.stem) != 0;
    return moved && (now - b->born_ms >= s->settings.batch_delay_ms ||
                     (s->settings.once && l->dry) || s->draining);
}

static void promote(struct lane *l)
{
    struct batch *b = l->ahead;

    l->ahead = NULL;
    l->current = b;
    b->state = BATCH_READY;
    b->from = 0;
    b->to = b->chunk = b->count;
}

/* --- sending --- */

static bool may_send(const struct batch *b, int64_t now)
{
    return b->state == BATCH_READY || (b->state == BATCH_WAITING && now >= b->retry_at_ms);
}

/* True: something changed. */
static bool send_current(struct ship *s, struct lane *l, int64_t now)
{
    struct batch *b = l->current;

    if (!b || !may_send(b, now) || s->draining)
        return false;
    if (b->from == b->count) /* nothing in it, or only its dead letters are left */
        return acknowledge(s, l);
    if (!s->target->ops->room(s->target))
        return false;
    b->state = BATCH_SENT;
    s->target->ops->send(s->target, b);
    return true;
}

static bool work_lane(struct ship *s, struct lane *l, int64_t now)
{
    bool any = !s->draining && read_ahead(s, l, now);

    if (!l->current && !s->draining && is_ripe(s, l, now)) {
        promote(l);
        any = true;
    }
    return send_current(s, l, now) || any;
}

static int64_t next_of(const struct ship *s, const struct lane *l, int64_t now)
{
    int64_t next = INT64_MAX;

    if (s->draining)
        return next;
    if (l->current && l->current->state == BATCH_WAITING)
        next = l->current->retry_at_ms;
    if (!l->ahead || l->ahead->state == BATCH_FILLING)
        next = MIN_OF(next, MAX_OF(l->read_after_ms, now + AGAIN_MS));
    if (!l->current && l->ahead && l->ahead->count)
        next = MIN_OF(next, l->ahead->born_ms + s->settings.batch_delay_ms);
    return next;
}

/* Everything that there is was sent. */
static bool is_done(const struct ship *s, bool *failed)
{
    int64_t now = clock_mono_ms();

    *failed = false;
    if (!s->looked)
        return false;
    list_for_each (n, &s->lanes) {
        const struct lane *l = list_entry(n, struct lane, link);
        if (*l->trouble ||
            (l->current && l->current->state == BATCH_WAITING &&
             MAX_OF(l->current->tries, l->current->refused) >= s->settings.dead_letter_after)) {
            *failed = true;
            return true;
        }
        if (l->current || !l->dry || is_ripe(s, l, now) || stream_has_more(l->stream))
            return false;
    }
    return true;
}

static void rotate_lanes(struct ship *s)
{
    if (list_empty(&s->lanes))
        return;
    struct list *first = s->lanes.next;
    list_remove(first);
    list_push_back(&s->lanes, first);
}

bool ship_turn(struct ship *s, int max_wait_ms, bool *failed)
{
    int64_t now = clock_mono_ms(), next = now + max_wait_ms;
    struct err e = {0};
    bool any = false;

    *failed = false;
    if (!s->target) {
        int rc = target_open(&s->settings, on_answer, s, &s->target, &e);
        if (rc < 0) {
            say_trouble(s, &e);
            *failed = true;
            s->untargeted = true;
            target_wait(max_wait_ms, s->options.wake_fd);
            return !s->settings.once;
        }
    }
    if (!s->target->answer) { /* a test's */
        s->target->settings = &s->settings;
        s->target->answer = on_answer;
        s->target->owner = s;
    }
    if (now >= s->next_look_ms && !s->draining)
        ship_look(s);
    list_for_each (n, &s->lanes)
        any |= work_lane(s, list_entry(n, struct lane, link), now);
    rotate_lanes(s); /* places at the target go round */
    list_for_each (n, &s->lanes)
        next = MIN_OF(next, next_of(s, list_entry(n, struct lane, link), now));
    if (!s->draining)
        next = MIN_OF(next, s->next_look_ms);
    save(s, false);
    if (s->settings.once && is_done(s, failed))
        return false;
    s->target->ops->run(s->target, any ? 0 : (int)MAX_OF(next - now, (int64_t)0),
                        s->options.wake_fd);
    return true;
}

void ship_drain(struct ship *s)
{
    s->draining = true;
}

bool ship_drained(struct ship *s)
{
    list_for_each (n, &s->lanes) {
        const struct lane *l = list_entry(n, struct lane, link);
        if (l->current && l->current->state == BATCH_SENT)
            return false;
    }
    return true;
}

const struct ship_totals *ship_totals(const struct ship *s)
{
    return &s->totals;
}
