/*
 * Looking at the list: find and export; see store.h. Called by verbs.c. What is in the list is known
 * from the table, what it says from the log, which is read in the thread pool. Memory: a job lives
 * from the call to its done.
 */
#include "store_int.h"

#include "base/clock.h"
#include "mail/address.h"
#include "segment_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <unistd.h>

enum {
    FIND_MAX = 1000, /* scopes of one address that are shown */
    FIND_TRIES = 4,
    EXPORT_HOLDS_OFF = 10000, /* ms without another piece until the log may be collected again */
};

static bool is_over(uint32_t expires_s, int64_t now_s)
{
    return expires_s && now_s >= expires_s;
}

enum { HEX_SIZE = 1 + 2 * sizeof(struct suppress_hash) + 1 };

static void entry_of(const struct record *r, uint32_t expires_s, char hex[HEX_SIZE],
                     struct store_entry *ret)
{
    *ret = (struct store_entry){
        .scope = r->scope,
        .reason = r->reason,
        .hashed = r->hashed,
        .is_domain = r->is_domain,
        .expires_s = expires_s,
        .made_s = r->made_s,
        .name = r->name,
        .address = r->address,
        .note = r->note,
    };
    if (!r->hashed)
        return;
    hex[0] = '@';
    sodium_bin2hex(hex + 1, HEX_SIZE - 1, (const unsigned char *)r->address.ptr, r->address.len);
    ret->address = sv(hex, 1 + 2 * r->address.len);
    if (!r->is_domain)
        ret->address = sv(hex + 1, ret->address.len - 1);
}

/* --- find --- */

struct find_item {
    struct place at;
    struct table_value value;
    uint32_t tag;
    struct record record; /* views into bytes */
    bool read;
    char bytes[RECORD_MAX];
};

struct find {
    uv_work_t work;
    struct store_request barrier;
    struct store *store;
    unsigned tries;
    void (*found)(void *arg, const struct store_entry *e);
    void (*done)(void *arg, int status);
    void *arg;
    struct suppress_hash address, domain; /* domain: of all of it, when asked has one */
    char asked[SUPPRESS_ADDRESS_MAX];     /* canonical; empty: a hash was asked for */
    size_t asked_len, asked_domain;       /* where its "@domain" begins; 0: it is one */
    struct find_item *items;
    size_t count, cap;
};

static void read_item(int dirfd, struct find_item *i)
{
    char name[SEGMENT_NAME_SIZE];
    int fd = openat(dirfd, segment_file_name(i->at.segment, name), O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : pread(fd, i->bytes, sizeof(i->bytes), i->at.offset);

    if (fd >= 0)
        close(fd);
    i->read = n > 0 && record_decode(sv(i->bytes, (size_t)n), i->tag, &i->record) > 0;
}

static void find_in_pool(uv_work_t *w)
{
    struct find *f = container_of(w, struct find, work);

    for (size_t i = 0; i < f->count; i++)
        read_item(f->store->dirfd, &f->items[i]);
}

static void tell_item(struct find *f, const struct find_item *i)
{
    struct store_entry e;
    char hex[HEX_SIZE];

    if (!i->read)
        return;
    entry_of(&i->record, i->value.expires_s, hex, &e);
    size_t from = i->record.is_domain ? f->asked_domain : 0;
    if (f->asked_len)
        e.address = sv(f->asked + from, f->asked_len - from);
    f->found(f->arg, &e);
}

static void look_all(struct find *f);

/* A record that is just moving is looked for again. */
static bool try_again(struct find *f)
{
    for (size_t i = 0; i < f->count; i++)
        if (!f->items[i].read)
            return ++f->tries < FIND_TRIES;
    return false;
}

static void on_found(uv_work_t *w, int status)
{
    struct find *f = container_of(w, struct find, work);
    struct store *s = f->store;

    (void)status;
    s->jobs--;
    if (!s->closing && try_again(f)) {
        look_all(f);
        return;
    }
    for (size_t i = 0; i < f->count; i++)
        tell_item(f, &f->items[i]);
    f->done(f->arg, f->tries == FIND_TRIES ? ERR_BUSY : 0);
    free(f->items);
    free(f);
    store_check_closed(s);
}

static void look_for(struct find *f, struct suppress_hash what, struct suppress_hash scope,
                     int64_t now_s)
{
    struct store *s = f->store;
    struct table_value v;

    if (f->count == FIND_MAX || !table_get(&s->table, suppress_hash_join(what, scope), &v) ||
        is_over(v.expires_s, now_s))
        return;
    const struct segment *g = store_segment(s, meta_place(v.meta).segment);
    if (f->count == f->cap) {
        f->cap = f->cap ? f->cap * 2 : 4;
        f->items = xrealloc(f->items, f->cap * sizeof(f->items[0]));
    }
    struct find_item *i = &f->items[f->count++];
    i->at = meta_place(v.meta);
    i->value = v;
    i->tag = g ? g->tag : 0;
}

static void look(struct find *f, struct suppress_hash scope, int64_t now_s)
{
    look_for(f, f->address, scope, now_s);
    if (f->asked_domain)
        look_for(f, f->domain, scope, now_s);
}

static void on_written(struct store_request *r, int status)
{
    struct find *f = container_of(r, struct find, barrier);
    struct store *s = f->store;
    int64_t now_s = clock_wall_ms() / 1000;

    (void)status; /* what could not be written was taken back */
    f->count = 0;
    look(f, (struct suppress_hash){0, 0}, now_s);
    for (struct hash_node *n = NULL; (n = hash_next(&s->scopes, n));)
        look(f, container_of(n, struct scope, node)->h, now_s);
    s->jobs++;
    uv_queue_work(s->loop, &f->work, find_in_pool, on_found);
}

/* Behind what is on its way to the disk: the table is ahead of it. */
static void look_all(struct find *f)
{
    f->barrier.done = on_written;
    store_begin(f->store, &f->barrier);
    store_end(&f->barrier);
}

/* An address is found by its own entries and by those of its whole domain. */
static bool name_asked(struct find *f, struct strview address)
{
    const struct suppress_key *key = &f->store->key;

    f->asked_len = store_canonical(address, f->asked);
    if (!f->asked_len)
        return false;
    const char *at = memrchr(f->asked, '@', f->asked_len);
    f->asked_domain = (size_t)(at - f->asked);
    f->address = suppress_hash_address(key, sv(f->asked, f->asked_len));
    f->domain = suppress_hash_address(key, sv(at, f->asked_len - f->asked_domain));
    return true;
}

int store_find(struct store *s, struct strview address,
               void (*found)(void *arg, const struct store_entry *e),
               void (*done)(void *arg, int status), void *arg)
{
    struct find *f = xcalloc(1, sizeof(*f));
    bool is_domain;

    *f = (struct find){.store = s, .found = found, .done = done, .arg = arg};
    if (!store_hash_from_hex(address, &f->address, &is_domain) && !name_asked(f, address)) {
        free(f);
        return ERR_SYNTAX;
    }
    look_all(f);
    return 0;
}

/* --- export --- */

struct export
{
    uv_work_t work;
    struct store *store;
    struct store_place at;
    size_t bytes;
    uint32_t last; /* segment, and how far it may be read */
    uint32_t last_end;
    int64_t now_s;
    int status;
    void (*line)(void *arg, const struct store_entry *e);
    void (*done)(void *arg, int status, struct store_place next);
    void *arg;
};

/* Any thread: the table is looked at as other processes do. */
static void export_record(const struct export *x, const struct record *r, struct place at)
{
    const struct store *s = x->store;
    struct suppress_hash scope = suppress_hash_scope(&s->key, r->scope, r->name);
    struct table_value v;
    struct store_entry e;
    char hex[HEX_SIZE];

    if (r->kind != RECORD_ADD || !table_get(&s->table, store_record_hash(s, r, scope), &v))
        return;
    struct place now = meta_place(v.meta);
    if (now.segment != at.segment || now.offset != at.offset || is_over(v.expires_s, x->now_s))
        return;
    entry_of(r, v.expires_s, hex, &e);
    x->line(x->arg, &e);
}

/* Until the budget or the segment is at its end. */
static int export_segment(struct export *x)
{
    struct segment_reader r;
    struct record rec;
    uint64_t offset, bytes;
    int item = segment_reader_open(&r, x->store->dirfd, x->at.segment, x->at.offset);

    if (item == ERR_NOT_FOUND)
        return SEGMENT_END;
    if (item < 0)
        return item;
    while (x->bytes && (item = segment_reader_next(&r, &rec, &offset, &bytes)) > SEGMENT_END) {
        if (x->at.segment == x->last && offset + bytes > x->last_end) {
            item = SEGMENT_END;
            break;
        }
        if (item == SEGMENT_RECORD)
            export_record(x, &rec, (struct place){x->at.segment, (uint32_t)offset});
        x->at.offset = (uint32_t)(offset + bytes);
        x->bytes -= MIN_OF(x->bytes, (size_t)bytes);
        item = SEGMENT_RECORD;
    }
    segment_reader_close(&r);
    return item;
}

static void export_in_pool(uv_work_t *w)
{
    struct export *x = container_of(w, struct export, work);

    while (x->bytes && x->at.segment <= x->last) {
        int item = export_segment(x);
        if (item < 0) {
            x->status = item;
            return;
        }
        if (item == SEGMENT_END)
            x->at = (struct store_place){x->at.segment + 1, 0};
    }
}

static void on_exported(uv_work_t *w, int status)
{
    struct export *x = container_of(w, struct export, work);
    struct store *s = x->store;
    struct store_place next = x->at;

    (void)status;
    s->jobs--;
    if (next.segment > x->last)
        next = (struct store_place){0, 0};
    x->done(x->arg, x->status, next);
    free(x);
    store_check_closed(s);
}

void store_export(struct store *s, struct store_place from, size_t bytes,
                  void (*line)(void *arg, const struct store_entry *e),
                  void (*done)(void *arg, int status, struct store_place next), void *arg)
{
    struct export *x = xcalloc(1, sizeof(*x));
    const struct segment *first = s->segment_count ? &s->segments[0] : NULL;

    *x = (struct export){
        .store = s, .at = from, .bytes = bytes, .line = line, .done = done, .arg = arg};
    if (first && from.segment < first->number) /* collected meanwhile: it is all behind */
        x->at = (struct store_place){first->number, 0};
    if (first) {
        const struct segment *last = &s->segments[s->segment_count - 1];
        x->last = last->number;
        x->last_end = (uint32_t)last->bytes;
    } else {
        x->at.segment = 1; /* and the last is 0 */
    }
    x->now_s = clock_wall_ms() / 1000;
    s->compact_after_ms = MAX_OF(s->compact_after_ms, clock_mono_ms() + EXPORT_HOLDS_OFF);
    s->jobs++;
    uv_queue_work(s->loop, &x->work, export_in_pool, on_exported);
}
