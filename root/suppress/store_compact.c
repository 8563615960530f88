/*
 * Collecting the log; see store_int.h. The oldest segment is read in the thread pool, a piece at a
 * time; which of its records are live is known from the table. They are appended again like any
 * change, and when the last of them is durable the file is removed. A record that something newer
 * replaced meanwhile is left behind, because the table is asked again when it is appended.
 *
 * It begins when more than half of all records are garbage, or when addresses in clear are to become
 * hashes. What can go wrong: the disk fails (tried again later; until the file is gone, nothing is
 * lost); an export reads the log (put off, so that it sees no entry twice).
 */
#include "store_int.h"

#include "base/clock.h"
#include "base/log.h"
#include "segment_reader.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

enum { PIECE_RECORDS = 2000, AGAIN_MS = 30000 };

struct candidate {
    struct suppress_hash h;
    uint32_t offset;
    uint32_t at, len; /* in bytes */
};

struct compact {
    uv_work_t work;
    struct store *store;
    struct store_request request;
    uint32_t victim;
    struct segment_reader reader;
    bool open, at_end;
    int status;
    struct buf bytes;
    struct candidate items[PIECE_RECORDS];
    size_t count;
    uint64_t moved;
    int64_t began_ms;
};

static void read_piece(struct compact *c);

static void end(struct compact *c, int status)
{
    struct store *s = c->store;

    s->compact = NULL;
    if (status < 0) {
        log_warn(LOG_SPOOL, "suppression list: segment %u not collected, trying again later: %s",
                 c->victim, err_name(status));
        s->compact_after_ms = clock_mono_ms() + AGAIN_MS;
    }
    if (c->open)
        segment_reader_close(&c->reader);
    buf_free(&c->bytes);
    free(c);
    compact_consider(s);
    store_check_closed(s);
}

/* --- the file goes --- */

static void unlink_in_pool(uv_work_t *w)
{
    struct compact *c = container_of(w, struct compact, work);
    char name[SEGMENT_NAME_SIZE];

    c->status = unlinkat(c->store->dirfd, segment_file_name(c->victim, name), 0) < 0 ? -errno : 0;
}

static void on_unlinked(uv_work_t *w, int status)
{
    struct compact *c = container_of(w, struct compact, work);
    struct store *s = c->store;

    (void)status;
    s->jobs--;
    if (c->status == 0 || c->status == -ENOENT) {
        struct segment *g = &s->segments[0];
        BUG_ON(g->number != c->victim || g->live);
        log_debug(LOG_SPOOL,
                  "suppression list: segment %u collected, %llu of %llu records kept, %lld ms",
                  c->victim, (unsigned long long)c->moved, (unsigned long long)g->records,
                  (long long)(clock_mono_ms() - c->began_ms));
        s->segment_count--;
        memmove(g, g + 1, s->segment_count * sizeof(*g));
        c->status = 0;
    }
    end(c, c->status);
}

static void drop_segment(struct compact *c)
{
    struct store *s = c->store;

    if (s->segments[0].live) { /* the table points to what could not be read: better kept */
        end(c, ERR_CORRUPT);
        return;
    }
    s->jobs++;
    uv_queue_work(s->loop, &c->work, unlink_in_pool, on_unlinked);
}

/* --- live records are written again --- */

static void move_record(struct compact *c, const struct candidate *k)
{
    struct store *s = c->store;
    struct table_value v;
    struct record r;
    struct place at, was;
    struct suppress_hash raw;

    if (!table_get(&s->table, k->h, &v))
        return;
    was = meta_place(v.meta);
    if (was.segment != c->victim || was.offset != k->offset)
        return;
    struct strview bytes = sv(buf_data(&c->bytes) + k->at, k->len);
    if (record_decode(bytes, c->reader.header.tag, &r) < 0)
        return;
    if (s->hashing && !r.hashed) {
        raw = suppress_hash_address(&s->key, r.address);
        r.address = sv((const char *)&raw, sizeof(raw));
        r.hashed = true;
    }
    if (store_next_place(s, k->len, &at) < 0)
        return;
    struct op op = {.h = k->h,
                    .request = &c->request,
                    .kind = OP_MOVE,
                    .was = true,
                    .clear = !r.hashed,
                    .old = v,
                    .now = v};
    op.now.meta = meta_make(at, &r, meta_note(v.meta));
    table_move(&s->table, k->h, v.meta, op.now.meta);
    store_account(s, &op.old, &op.now);
    store_append(s, &op, &r);
    c->moved++;
}

static void on_piece_durable(struct store_request *r, int status)
{
    struct compact *c = container_of(r, struct compact, request);

    if (status < 0)
        end(c, status);
    else if (c->store->closing)
        end(c, 0);
    else if (c->at_end)
        drop_segment(c);
    else
        read_piece(c);
}

static void move_piece(struct compact *c)
{
    struct store *s = c->store;

    c->request.done = on_piece_durable;
    store_begin(s, &c->request);
    for (size_t i = 0; i < c->count; i++)
        move_record(c, &c->items[i]);
    store_end(&c->request);
}

/* --- reading --- */

static void take(struct compact *c, const struct record *rec, uint64_t offset)
{
    struct store *s = c->store;
    struct strview bytes = segment_reader_bytes(&c->reader);
    struct candidate *k = &c->items[c->count++];
    struct suppress_hash scope = suppress_hash_scope(&s->key, rec->scope, rec->name);

    k->h = store_record_hash(s, rec, scope);
    k->offset = (uint32_t)offset;
    k->at = (uint32_t)buf_len(&c->bytes);
    k->len = (uint32_t)bytes.len;
    buf_append_sv(&c->bytes, bytes);
}

/* Only records that add something can be live; deletions go with the segment. */
static void piece_in_pool(uv_work_t *w)
{
    struct compact *c = container_of(w, struct compact, work);
    struct record rec;
    uint64_t offset, bytes;
    int item = SEGMENT_END;

    buf_reset(&c->bytes);
    c->count = 0;
    c->status = c->open ? 0 : segment_reader_open(&c->reader, c->store->dirfd, c->victim, 0);
    if (c->status < 0)
        return;
    c->open = true;
    while (c->count < PIECE_RECORDS &&
           (item = segment_reader_next(&c->reader, &rec, &offset, &bytes)) > SEGMENT_END)
        if (item == SEGMENT_RECORD && rec.kind == RECORD_ADD)
            take(c, &rec, offset);
    c->at_end = c->count < PIECE_RECORDS;
    c->status = item < 0 ? item : 0;
}

static void on_piece(uv_work_t *w, int status)
{
    struct compact *c = container_of(w, struct compact, work);

    (void)status;
    c->store->jobs--;
    if (c->status < 0 || c->store->closing)
        end(c, c->status);
    else
        move_piece(c);
}

static void read_piece(struct compact *c)
{
    c->store->jobs++;
    uv_queue_work(c->store->loop, &c->work, piece_in_pool, on_piece);
}

static bool is_worth_it(const struct store *s)
{
    uint64_t records = 0, live = 0;

    for (size_t i = 0; i < s->segment_count; i++) {
        records += s->segments[i].records;
        live += s->segments[i].live;
        if (s->hashing && s->segments[i].clear)
            return true;
    }
    return records - live >= s->compact_min && records - live > live;
}

void compact_consider(struct store *s)
{
    if (s->compact || !s->loaded || s->closing || !s->segment_count ||
        clock_mono_ms() < s->compact_after_ms || !is_worth_it(s))
        return;
    if (s->segment_count == 1) { /* what is not written yet would be missed */
        if (!list_empty(&s->batches))
            return;
        s->rotate = true;
    }
    struct compact *c = s->compact = xcalloc(1, sizeof(*c));
    c->store = s;
    c->victim = s->segments[0].number;
    c->began_ms = clock_mono_ms();
    read_piece(c);
}
