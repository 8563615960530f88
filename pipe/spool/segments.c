/*
 * The table of segment files, by number, with what lives in each. Recovery and commits add to it,
 * remove.c and compact.c drop what nobody needs any more. A segment that is dropped while somebody
 * reads from it is gone from the table and freed by the last spool_segment_unref. Descriptors for
 * reading are opened when they are needed, and those that nobody reads from are closed when there
 * are too many.
 */
#include "spool/internal.h"

#include <unistd.h>

static size_t segment_index(const struct spool *s, uint32_t number)
{
    size_t low = 0, high = s->segment_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (s->segments[middle]->number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct segment *spool_segment(const struct spool *s, uint32_t number)
{
    size_t i = segment_index(s, number);
    return i < s->segment_count && s->segments[i]->number == number ? s->segments[i] : NULL;
}

struct segment *spool_segment_add(struct spool *s, uint32_t number, uint16_t kind, uint64_t bytes)
{
    size_t i = segment_index(s, number);
    struct segment *g = xcalloc(1, sizeof(*g));
    *g = (struct segment){.number = number, .fd = -1, .kind = kind, .bytes = bytes};
    if (s->segment_count == s->segment_cap) {
        s->segment_cap = s->segment_cap ? s->segment_cap * 2 : 16;
        s->segments = xrealloc(s->segments, s->segment_cap * sizeof(*s->segments));
    }
    memmove(s->segments + i + 1, s->segments + i, (s->segment_count - i) * sizeof(*s->segments));
    s->segments[i] = g;
    s->segment_count++;
    return g;
}

static void close_segment(struct spool *s, struct segment *g)
{
    if (g->fd < 0)
        return;
    close(g->fd);
    g->fd = -1;
    s->open_segments--;
}

static void free_segment(struct spool *s, struct segment *g)
{
    close_segment(s, g);
    free(g);
}

void spool_segment_drop(struct spool *s, struct segment *g)
{
    size_t i = segment_index(s, g->number);
    BUG_ON(s->segments[i] != g);
    memmove(s->segments + i, s->segments + i + 1,
            (s->segment_count - i - 1) * sizeof(*s->segments));
    s->segment_count--;
    g->gone = true;
    if (!g->refs)
        free_segment(s, g);
}

void spool_segment_unref(struct spool *s, struct segment *g)
{
    BUG_ON(!g->refs);
    if (!--g->refs && g->gone)
        free_segment(s, g);
}

/* Descriptors are a limited good: closes those that nobody reads from. */
static void close_idle_segments(struct spool *s)
{
    for (size_t i = 0; i < s->segment_count; i++)
        if (!s->segments[i]->refs)
            close_segment(s, s->segments[i]);
}

int spool_segment_fd(struct spool *s, struct segment *g)
{
    if (g->fd >= 0)
        return g->fd;
    if (s->open_segments >= SPOOL_MAX_OPEN_SEGMENTS)
        close_idle_segments(s);
    int fd = spool_dir_open_file(s->dir.segments, g->number);
    if (fd < 0)
        return fd;
    g->fd = fd;
    s->open_segments++;
    return fd;
}

void spool_segment_gain(struct segment *g, uint64_t bytes)
{
    g->live_messages++;
    g->live_bytes += bytes;
}

void spool_segment_lose(struct spool *s, struct segment *g, uint64_t bytes)
{
    BUG_ON(!g->live_messages);
    g->live_messages--;
    g->live_bytes -= MIN_OF(bytes, g->live_bytes);
    g->removable_after = s->journal_queued;
    if (!g->live_messages)
        spool_wake(s);
}
