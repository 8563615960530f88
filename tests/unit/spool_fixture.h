/*
 * An owner for a spool under test: a model in memory of every message and what became of it, which
 * recovery is compared with. A "crash" is a copy of the directory taken while the spool is open.
 */
#ifndef PMTA_TESTS_SPOOL_FIXTURE_H
#define PMTA_TESTS_SPOOL_FIXTURE_H

#include "spool/internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"

enum { FX_MAX_MESSAGES = 20000, FX_MAX_RCPTS = 4 };

struct fx_message {
    struct spool_append append;
    struct buf envelope;
    struct buf content;
    struct fx *fx;
    uint32_t rcpts;
    int status; /* 1: not answered */
    enum spool_state state[FX_MAX_RCPTS];
    uint16_t attempts[FX_MAX_RCPTS];
    uint64_t queued_at[FX_MAX_RCPTS]; /* journal position behind the newest event */
    spool_journal_place at[FX_MAX_RCPTS];
    struct spool_place place;
    bool recovered;
    enum spool_state found[FX_MAX_RCPTS]; /* when recovered */
};

struct fx {
    uv_loop_t loop;
    struct spool *spool;
    struct spool_options options;
    char dir[128];
    struct fx_message *messages[FX_MAX_MESSAGES]; /* by id */
    size_t count;
    struct spool_ledger ledger; /* of the model */
    message_id last_recovered;
    size_t recovered;
    size_t moved;
    size_t unknown;
    size_t mismatches;
    int health_changes;
    bool writable;
    bool closed;
    uint32_t random;
    struct err error;
};

static inline uint32_t fx_random(struct fx *f, uint32_t below)
{
    f->random = f->random * 1664525u + 1013904223u;
    return (f->random >> 8) % below;
}

/* Where the message is, or would be. */
static inline size_t fx_index(const struct fx *f, message_id id)
{
    size_t low = 0, high = f->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (f->messages[middle]->append.id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static inline struct fx_message *fx_find(struct fx *f, message_id id)
{
    size_t i = fx_index(f, id);
    return i < f->count && f->messages[i]->append.id == id ? f->messages[i] : NULL;
}

static inline void fx_recovered(void *owner, message_id id, const struct spool_place *place,
                                const struct envelope *env,
                                const struct spool_recovered_rcpt *rcpts)
{
    struct fx *f = owner;
    struct fx_message *m = fx_find(f, id);
    f->mismatches += id <= f->last_recovered;
    f->last_recovered = id;
    f->recovered++;
    if (!m || m->recovered || env->rcpt_count != m->rcpts) {
        f->unknown++;
        return;
    }
    m->recovered = true;
    m->place = *place;
    for (uint32_t i = 0; i < m->rcpts; i++) {
        f->mismatches += rcpts[i].state != m->state[i] || rcpts[i].attempts != m->attempts[i];
        m->at[i] = rcpts[i].journal;
        m->found[i] = rcpts[i].state;
    }
}

static inline bool fx_moved(void *owner, message_id id, const struct spool_place *to)
{
    struct fx *f = owner;
    struct fx_message *m = fx_find(f, id);
    f->moved++;
    if (m)
        m->place = *to;
    return m != NULL;
}

static inline void fx_journalled(void *owner, message_id id, uint16_t rcpt, spool_journal_place at)
{
    struct fx_message *m = fx_find(owner, id);
    if (m)
        m->at[rcpt] = at;
}

static inline void fx_health(void *owner, bool writable, const char *text)
{
    struct fx *f = owner;
    (void)text;
    f->writable = writable;
    f->health_changes++;
}

static const struct spool_ops fx_ops = {fx_recovered, fx_moved, fx_journalled, fx_health};

static inline struct fx *fx_new(uint64_t segment_bytes, uint64_t journal_file_bytes)
{
    struct fx *f = xcalloc(1, sizeof(*f));
    const char *base = getenv("TMPDIR");
    snprintf(f->dir, sizeof(f->dir), "%s/pmta-spool-test-XXXXXX", base ? base : "/tmp");
    BUG_ON(!mkdtemp(f->dir));
    uv_loop_init(&f->loop);
    f->options = (struct spool_options){.pipe = "bulk",
                                        .segment_bytes = segment_bytes,
                                        .journal_file_bytes = journal_file_bytes,
                                        .journal_sync_ms = 1,
                                        .settle_ms = -1};
    f->random = 4711;
    f->writable = true;
    return f;
}

static inline int fx_open(struct fx *f)
{
    int fd = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    f->last_recovered = 0;
    f->writable = true;
    f->recovered = f->unknown = f->mismatches = 0;
    f->error = (struct err){0};
    for (size_t i = 0; i < f->count; i++)
        f->messages[i]->recovered = false;
    return spool_open(&f->spool, &f->loop, fd, &f->options, &fx_ops, f, &f->error);
}

static inline void fx_on_closed(void *arg)
{
    struct fx *f = arg;
    f->closed = true;
}

static inline void fx_close(struct fx *f)
{
    f->closed = false;
    spool_close(f->spool, fx_on_closed, f);
    while (!f->closed)
        uv_run(&f->loop, UV_RUN_ONCE);
    f->spool = NULL;
}

static inline int fx_remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static inline void fx_remove_tree(const char *dir)
{
    nftw(dir, fx_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline void fx_free(struct fx *f)
{
    if (f->spool)
        fx_close(f);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    uv_loop_close(&f->loop);
    for (size_t i = 0; i < f->count; i++) {
        buf_free(&f->messages[i]->envelope);
        buf_free(&f->messages[i]->content);
        free(f->messages[i]);
    }
    fx_remove_tree(f->dir);
    free(f);
}

static inline void fx_on_append(struct spool_append *a, int status)
{
    struct fx_message *m = container_of(a, struct fx_message, append);
    m->status = status;
    m->place = a->place;
    if (status == 0)
        m->fx->ledger.received += m->rcpts;
}

static inline struct fx_message *fx_append(struct fx *f, uint32_t rcpts, size_t bytes)
{
    struct fx_message *m = xcalloc(1, sizeof(*m));
    struct envelope_rcpt r[FX_MAX_RCPTS] = {
        {SV("a@example.com"), {NULL, 0}, 0},
        {SV("b@example.net"), {NULL, 0}, 0},
        {SV("c@example.org"), {NULL, 0}, 0},
        {SV("d@example.com"), {NULL, 0}, 0},
    };
    struct envelope env = {.received_ms = 1,
                           .sender = SV("bounce@sender.example"),
                           .content_bytes = bytes,
                           .rcpt_count = rcpts,
                           .rcpts = r};
    m->fx = f;
    m->rcpts = rcpts;
    m->status = 1;
    envelope_encode(&m->envelope, &env);
    for (size_t i = 0; i < bytes; i++)
        buf_append_char(&m->content, (char)('a' + (i * 7 + f->count * 13) % 26));
    m->append = (struct spool_append){.envelope = buf_view(&m->envelope),
                                      .rcpt_count = rcpts,
                                      .content = buf_view(&m->content),
                                      .content_fd = -1,
                                      .done = fx_on_append};
    f->messages[f->count++] = m;
    spool_append(f->spool, &m->append);
    return m;
}

static inline void fx_event(struct fx *f, struct fx_message *m, uint16_t rcpt,
                            enum spool_state state)
{
    struct spool_event ev = {.id = m->append.id,
                             .place = m->place,
                             .rcpt = rcpt,
                             .state = state,
                             .attempts = (uint16_t)(m->attempts[rcpt] + 1),
                             .next_attempt_ms = 1000 + m->attempts[rcpt],
                             .code = 250,
                             .text = SV("2.0.0 what the peer said")};
    m->state[rcpt] = state;
    m->attempts[rcpt]++;
    f->ledger.delivered += state == SPOOL_DELIVERED;
    f->ledger.bounced += state == SPOOL_BOUNCED;
    f->ledger.expired += state == SPOOL_EXPIRED;
    f->ledger.deleted += state == SPOOL_DELETED;
    spool_journal(f->spool, &ev);
    m->queued_at[rcpt] = f->spool->journal_queued;
}

/* Everything asked for is answered and synced, and no maintenance is under way. */
static inline bool fx_is_settled(const struct fx *f)
{
    const struct spool *s = f->spool;
    return !s->commit.running && !s->journal_commit.running && !s->waiting && !buf_len(&s->journal_waiting) &&
           !buf_len(&s->journal_unsynced) && !s->maintenance && !s->reads_in_pool;
}

static inline void fx_settle(struct fx *f)
{
    do
        uv_run(&f->loop, UV_RUN_ONCE);
    while (!fx_is_settled(f) || uv_is_active((uv_handle_t *)&f->spool->turn));
}

static inline bool fx_is_live(const struct fx_message *m)
{
    for (uint32_t i = 0; m->status == 0 && i < m->rcpts; i++)
        if (!spool_state_is_final(m->state[i]))
            return true;
    return false;
}

static inline uint64_t fx_left(const struct fx *f)
{
    uint64_t left = 0;
    for (size_t k = 0; k < f->count; k++)
        for (uint32_t i = 0; f->messages[k]->status == 0 && i < f->messages[k]->rcpts; i++)
            left += !spool_state_is_final(f->messages[k]->state[i]);
    return left;
}

/* Number of differences between the model and what recovery reported. */
static inline size_t fx_compare(struct fx *f)
{
    struct spool_ledger l;
    size_t wrong = f->mismatches + f->unknown;
    spool_ledger(f->spool, &l);
    wrong += memcmp(&l, &f->ledger, sizeof(l)) != 0;
    for (size_t i = 0; i < f->count; i++)
        wrong += fx_is_live(f->messages[i]) != f->messages[i]->recovered;
    return wrong;
}

struct fx_read {
    struct spool_read read;
    int status; /* 1: not answered */
};

static inline void fx_on_read(struct spool_read *r, int status)
{
    container_of(r, struct fx_read, read)->status = status;
}

/* Reads a message and compares it; its status, or 2 when the bytes differ. */
static inline int fx_read(struct fx *f, const struct fx_message *m, size_t load_max)
{
    struct fx_read r = {.read = {.done = fx_on_read}, .status = 1};
    spool_read(f->spool, m->append.id, &m->place, load_max, &r.read);
    BUG_ON(r.status != 1);
    while (r.status == 1)
        uv_run(&f->loop, UV_RUN_ONCE);
    if (r.status < 0)
        return r.status;
    struct spool_content *c = &r.read.content;
    bool same =
        sv_eq(c->envelope, buf_view(&m->envelope)) && c->content_bytes == m->append.content_bytes;
    if (same && c->fd < 0) {
        same = sv_eq(c->content, buf_view(&m->content));
    } else if (same) {
        char *mem = xmalloc(c->content_bytes);
        same = spool_read_at(c->fd, mem, c->content_bytes, c->fd_offset) == 0 &&
               memcmp(mem, buf_data(&m->content), c->content_bytes) == 0;
        free(mem);
    }
    spool_content_release(f->spool, c);
    return same ? 0 : 2;
}

static inline void fx_copy_file(int from_dir, int to_dir, const char *name)
{
    int in = openat(from_dir, name, O_RDONLY | O_CLOEXEC);
    int out = openat(to_dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    char mem[65536];
    ssize_t n;
    if (in < 0) { /* removed meanwhile */
        close(out);
        unlinkat(to_dir, name, 0);
        return;
    }
    while ((n = read(in, mem, sizeof(mem))) > 0)
        BUG_ON(write(out, mem, (size_t)n) != n);
    close(in);
    close(out);
}

static inline void fx_copy_dir(const char *from, const char *to)
{
    DIR *d = opendir(from);
    mkdir(to, 0700);
    int from_fd = open(from, O_RDONLY | O_DIRECTORY), to_fd = open(to, O_RDONLY | O_DIRECTORY);
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        char a[512], b[512];
        if (e->d_name[0] == '.')
            continue;
        BUG_ON(snprintf(a, sizeof(a), "%s/%s", from, e->d_name) >= (int)sizeof(a));
        BUG_ON(snprintf(b, sizeof(b), "%s/%s", to, e->d_name) >= (int)sizeof(b));
        if (e->d_type == DT_DIR)
            fx_copy_dir(a, b);
        else
            fx_copy_file(from_fd, to_fd, e->d_name);
    }
    closedir(d);
    close(from_fd);
    close(to_fd);
}

/* Goes on with what a kill -9 at this moment would leave: the old spool ends without a trace in the
 * new directory. */
static inline void fx_crash(struct fx *f)
{
    char copy[160], old[128];
    snprintf(copy, sizeof(copy), "%s-crash", f->dir);
    fx_copy_dir(f->dir, copy);
    struct spool_ledger before = f->ledger;
    fx_close(f);
    f->ledger = before;
    memcpy(old, f->dir, sizeof(old));
    fx_remove_tree(f->dir);
    BUG_ON(rename(copy, old) < 0);
}

#endif
