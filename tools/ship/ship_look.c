/*
 * The directories of accounting files and our own: which pipes there are, what was saved for them,
 * and what pipes must keep. Called by ship.c, in its thread.
 */
#include "ship_int.h"

#include "mail/acct_hold.h"
#include "note.h"

#include "base/clock.h"

#include <stdio.h>

struct look {
    struct ship *ship;
    const struct follow_set *set;
};

static struct lane *find_lane(struct ship *s, const struct follow_set *set, struct strview pipe)
{
    list_for_each (n, &s->lanes) {
        struct lane *l = list_entry(n, struct lane, link);
        if (l->stream->set == set && sv_eq(pipe, sv_of(l->stream->pipe)))
            return l;
    }
    return NULL;
}

/* What was saved under that label is the lane's from now on. */
static bool take_saved(struct ship *s, const char *label, struct place_entry *ret)
{
    for (size_t i = 0; i < s->saved_count; i++) {
        if (strcmp(s->saved[i].label, label) != 0)
            continue;
        *ret = s->saved[i];
        s->saved[i] = s->saved[--s->saved_count];
        return true;
    }
    return false;
}

static struct lane *add_lane(struct ship *s, const struct follow_set *set, struct strview pipe)
{
    struct lane *l = xcalloc(1, sizeof(*l));
    struct place_entry saved;
    struct stream *probe = stream_new(set, pipe, NULL, false);

    if (take_saved(s, probe->label, &saved)) {
        l->stream = stream_new(set, pipe, &saved, false);
        note(LOG_INFO, "following pipe '%s' from '%s' offset=%llu", l->stream->pipe,
             saved.place.stem, (unsigned long long)saved.place.offset);
    } else {
        /* a pipe that appears later has written nothing before */
        l->stream = stream_new(set, pipe, NULL, s->settings.newest && !s->looked);
        note(LOG_INFO, "following pipe '%s' from its %s file", l->stream->pipe,
             s->settings.newest && !s->looked ? "newest" : "oldest");
    }
    stream_free(probe);
    l->max_bytes = s->settings.batch_bytes;
    list_push_back(&s->lanes, &l->link);
    s->lane_count++;
    return l;
}

static void on_file(void *arg, struct strview pipe, const struct found_file *f)
{
    struct look *x = arg;

    if (!ship_wants_pipe(&x->ship->settings, pipe))
        return;
    struct lane *l = find_lane(x->ship, x->set, pipe);
    if (!l)
        l = add_lane(x->ship, x->set, pipe);
    stream_look_file(l->stream, f);
}

/* Of several files that sort behind it, the newest one. */
static void begin_at_newest(struct ship *s)
{
    list_for_each (n, &s->lanes) {
        struct stream *st = list_entry(n, struct lane, link)->stream;
        while (st->end_of_newest && !*st->at.stem && st->has_next && st->pending_files > 1) {
            st->trail.before = st->next.key;
            stream_look_begin(st);
            struct look x = {s, st->set};
            if (follow_list(st->set, on_file, &x) < 0)
                return;
        }
    }
}

void ship_look(struct ship *s)
{
    struct err e;
    int rc = 0;

    list_for_each (n, &s->lanes)
        stream_look_begin(list_entry(n, struct lane, link)->stream);
    for (size_t i = 0; rc == 0 && i < s->settings.set_count; i++) {
        struct look x = {s, &s->settings.sets[i]};
        rc = follow_list(x.set, on_file, &x);
    }
    if (rc < 0) {
        err_set(&e, rc, "cannot read the directory of accounting files");
        if (strcmp(s->trouble, e.text) != 0)
            note(LOG_ERROR, "%s, trying again", e.text);
        snprintf(s->trouble, sizeof(s->trouble), "%s", e.text);
    } else if (strncmp(s->trouble, "cannot read the directory", 25) == 0) {
        s->trouble[0] = '\0';
    }
    if (rc == 0 && !s->looked && s->settings.newest)
        begin_at_newest(s);
    s->looked |= rc == 0;
    s->next_look_ms = clock_mono_ms() + LOOK_MS;
}

int ship_save(struct ship *s, bool sync, struct err *e)
{
    struct place_entry *list = xcalloc(s->lane_count + s->saved_count + 1, sizeof(*list));
    size_t n = 0;

    list_for_each (node, &s->lanes) {
        const struct stream *st = list_entry(node, struct lane, link)->stream;
        if (!*st->acked.stem)
            continue;
        memcpy(list[n].label, st->label, sizeof(list[n].label));
        list[n].place = st->acked;
        list[n++].trail = st->acked_trail;
    }
    for (size_t i = 0; i < s->saved_count; i++) /* pipes whose files are gone for now */
        list[n++] = s->saved[i];
    int rc = place_file_save(&s->places, list, n, sync, e);
    free(list);
    return rc;
}

void ship_keep_files(struct ship *s)
{
    struct err e;

    if (!s->options.keep_files)
        return;
    list_for_each (n, &s->lanes) {
        struct lane *l = list_entry(n, struct lane, link);
        const struct stream *st = l->stream;
        if (st->set->fixed || st->set->single || !*st->acked.stem ||
            strcmp(l->kept, st->acked.stem) == 0)
            continue;
        if (acct_hold_write(st->set->dirfd, st->label, s->settings.name, st->acked.stem, &e) < 0) {
            note(LOG_WARN, "%s, the pipe keeps its files until then", e.text);
            continue;
        }
        snprintf(l->kept, sizeof(l->kept), "%s", st->acked.stem);
    }
}
