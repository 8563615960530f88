/*
 * Requests; see store.h and store_int.h. Called by main.c for edges and admin lines. A change is
 * looked up, put into the table, encoded into the open batch, and told when that batch is durable. What
 * can go wrong: an address or name that cannot be one, too many scopes, a full table (all refused at
 * once, nothing has changed); a disk that cannot be written (store_commit.c).
 */
#include "store_int.h"

#include "base/clock.h"
#include "base/log.h"
#include "mail/address.h"

#include <sodium.h>
#include <stdio.h>
#include <unistd.h>

enum { SWEEP_EVERY_MS = 1000, SWEEP_BUCKETS = 2000 };

/* --- segments and scopes --- */

struct segment *store_segment(struct store *s, uint32_t number)
{
    size_t lo = 0, hi = s->segment_count;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (s->segments[mid].number == number)
            return &s->segments[mid];
        if (s->segments[mid].number < number)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

struct segment *store_add_segment(struct store *s, uint32_t number, uint32_t tag, uint64_t bytes)
{
    if (s->segment_count == s->segment_cap) {
        s->segment_cap = s->segment_cap ? s->segment_cap * 2 : 16;
        s->segments = xrealloc(s->segments, s->segment_cap * sizeof(s->segments[0]));
    }
    struct segment *g = &s->segments[s->segment_count++];
    *g = (struct segment){.number = number, .tag = tag, .bytes = bytes};
    return g;
}

struct scope_key {
    enum suppress_scope scope;
    struct strview name;
};

static bool match_scope(const struct hash_node *n, const void *key)
{
    const struct scope *c = container_of(n, const struct scope, node);
    const struct scope_key *k = key;
    return c->scope == k->scope && sv_eq(sv(c->name, c->len), k->name);
}

int store_scope(struct store *s, enum suppress_scope scope, struct strview canonical,
                struct suppress_hash *ret)
{
    struct scope_key key = {scope, canonical};

    *ret = (struct suppress_hash){0, 0};
    if (scope == SUPPRESS_GLOBAL)
        return 0;
    if (!s->last_scope || !match_scope(&s->last_scope->node, &key)) {
        uint64_t at = hash_bytes(canonical.ptr, canonical.len) + scope;
        struct hash_node *n = hash_find(&s->scopes, at, &key);
        struct scope *c = n ? container_of(n, struct scope, node) : NULL;
        if (!c && s->scopes.count >= SCOPES_MAX)
            return ERR_LIMIT;
        if (!c) {
            c = xmalloc(sizeof(*c) + canonical.len);
            c->scope = scope;
            c->len = canonical.len;
            memcpy(c->name, canonical.ptr, canonical.len);
            c->h = suppress_hash_scope(&s->key, scope, canonical);
            hash_insert(&s->scopes, &c->node, at);
        }
        s->last_scope = c;
    }
    *ret = s->last_scope->h;
    return 0;
}

struct suppress_hash store_record_hash(const struct store *s, const struct record *r,
                                       struct suppress_hash scope)
{
    struct suppress_hash h;

    if (r->hashed)
        memcpy(&h, r->address.ptr, sizeof(h));
    else
        h = suppress_hash_address(&s->key, r->address);
    return suppress_hash_join(h, scope);
}

void store_account(struct store *s, const struct table_value *old, const struct table_value *now)
{
    struct segment *g;

    if (old && (g = store_segment(s, meta_place(old->meta).segment)))
        g->live--;
    if (now && (g = store_segment(s, meta_place(now->meta).segment)))
        g->live++;
}

/* --- the open batch --- */

static struct batch *new_batch(struct store *s)
{
    struct batch *b = xcalloc(1, sizeof(*b));
    list_push_back(&s->batches, &b->link);
    return b;
}

/* The one that changes go into: the last, unless it is being written or full. */
static struct batch *open_batch(struct store *s)
{
    struct list *last = s->batches.prev;
    struct batch *b = list_empty(&s->batches) ? NULL : list_entry(last, struct batch, link);

    if (!b || (s->commit && list_first(&s->batches) == last) || buf_len(&b->bytes) > BATCH_BYTES)
        return new_batch(s);
    return b;
}

int store_next_place(struct store *s, size_t bytes, struct place *ret)
{
    struct segment *g = s->segment_count ? &s->segments[s->segment_count - 1] : NULL;

    if (g && !s->rotate && g->bytes + bytes <= SEGMENT_SOFT_BYTES) {
        *ret = (struct place){g->number, (uint32_t)g->bytes};
        return 0;
    }
    if (g && g->number == SEGMENT_NUMBER_MAX)
        return ERR_LIMIT;
    uint32_t number = g ? g->number + 1 : 1;
    s->rotate = false;
    store_add_segment(s, number, s->tag, FORMAT_HEADER_BYTES);
    struct batch *b = new_batch(s);
    b->rotate = true;
    b->segment = number;
    b->offset = FORMAT_HEADER_BYTES;
    *ret = (struct place){number, FORMAT_HEADER_BYTES};
    return 0;
}

void store_append(struct store *s, struct op *op, const struct record *record)
{
    struct batch *b = open_batch(s);

    if (record) {
        struct segment *g = &s->segments[s->segment_count - 1];
        if (buf_len(&b->bytes) == 0 && !b->rotate) {
            b->segment = g->number;
            b->offset = (uint32_t)g->bytes;
        }
        g->bytes += record_encode(&b->bytes, record, g->tag);
        g->records++;
        g->clear += op->clear;
        op->segment = g->number;
    }
    if (b->count == b->cap) {
        b->cap = b->cap ? b->cap * 2 : 16;
        b->ops = xrealloc(b->ops, b->cap * sizeof(b->ops[0]));
    }
    b->ops[b->count++] = *op;
    if (op->request)
        op->request->left++;
    store_kick(s);
}

/* --- requests --- */

void store_begin(struct store *s, struct store_request *r)
{
    BUG_ON(!s->loaded || s->closing);
    r->added = r->changed = r->removed = r->same = 0;
    r->store = s;
    r->left = 0;
    r->status = 0;
    r->ended = false;
    list_init(&r->link);
}

/* When nothing of it has to be written, it still waits for what is on its way: that may be what made
 * it unnecessary. */
void store_end(struct store_request *r)
{
    r->ended = true;
    if (r->left == 0)
        store_append(r->store, &(struct op){.request = r, .kind = OP_NOTHING}, NULL);
}

struct names {
    char address[SUPPRESS_ADDRESS_MAX], scope[SUPPRESS_NAME_MAX];
    size_t address_len, scope_len;
    bool hashed, is_domain;
    struct suppress_hash h; /* of the address alone, then of the entry */
};

bool store_hash_from_hex(struct strview text, struct suppress_hash *ret, bool *ret_is_domain)
{
    size_t len = 0;

    *ret_is_domain = suppress_is_domain(text);
    if (*ret_is_domain)
        text = sv(text.ptr + 1, text.len - 1);
    return text.len == 2 * sizeof(*ret) &&
           sodium_hex2bin((unsigned char *)ret, sizeof(*ret), text.ptr, text.len, NULL, &len,
                          NULL) == 0 &&
           len == sizeof(*ret);
}

size_t store_canonical(struct strview address, char out[SUPPRESS_ADDRESS_MAX])
{
    bool is_domain = suppress_is_domain(address);
    struct strview domain = is_domain ? sv(address.ptr + 1, address.len - 1) : address;
    char probe[ADDRESS_DOMAIN_MAX + 3];

    if (is_domain) { /* what may stand behind an @ is what is a mailbox with a local part */
        int n = snprintf(probe, sizeof(probe), "x@%.*s", SV_ARG(domain));
        if (n < 0 || (size_t)n >= sizeof(probe) ||
            !address_is_mailbox(sv(probe, (size_t)n), ADDRESS_UTF8))
            return 0;
    } else if (!address_is_mailbox(address, ADDRESS_UTF8)) {
        return 0;
    }
    return suppress_canonical_entry(address, out);
}

static int name_address(struct store *s, struct strview address, struct names *n, struct err *e)
{
    n->hashed = store_hash_from_hex(address, &n->h, &n->is_domain);
    if (n->hashed)
        return 0;
    n->address_len = store_canonical(address, n->address);
    if (!n->address_len)
        return err_set(e, ERR_SYNTAX, "'%s' is not an address, and no @domain",
                       log_safe(address.ptr, address.len, 100));
    n->h = suppress_hash_address(&s->key, sv(n->address, n->address_len));
    return 0;
}

static int name_all(struct store *s, enum suppress_scope scope, struct strview scope_name,
                    struct strview address, struct names *n, struct err *e)
{
    struct suppress_hash of_scope;
    int code = name_address(s, address, n, e);

    if (code < 0)
        return code;
    n->scope_len = suppress_canonical_name(scope, scope_name, n->scope);
    if (scope != SUPPRESS_GLOBAL && !n->scope_len)
        return err_set(e, ERR_SYNTAX, "'%s' is not the name of a %s",
                       log_safe(scope_name.ptr, scope_name.len, 100), suppress_scope_name(scope));
    if (scope == SUPPRESS_GLOBAL && scope_name.len)
        return err_set(e, ERR_SYNTAX, "scope global has no name");
    code = store_scope(s, scope, sv(n->scope, n->scope_len), &of_scope);
    if (code < 0)
        return err_set(e, code, "more than %d scopes", SCOPES_MAX);
    n->h = suppress_hash_join(n->h, of_scope);
    return 0;
}

/* Seconds, rounded up, within what the table holds. */
static uint32_t seconds_of(int64_t ms)
{
    if (ms <= 0)
        return 0;
    return (uint32_t)MIN_OF((ms + 999) / 1000, (int64_t)UINT32_MAX);
}

static bool is_longer(uint32_t a, uint32_t b)
{
    return b != 0 && (a == 0 || a > b);
}

static bool stays(const struct table_value *old, const struct suppress_entry *e, uint32_t expires_s,
                  enum store_way way, int64_t now_s)
{
    if (old->expires_s && now_s >= old->expires_s)
        return false;
    if (way == STORE_EXTEND)
        return !is_longer(expires_s, old->expires_s);
    return expires_s == old->expires_s && e->reason == suppress_meta_reason(old->meta) &&
           note_hash(e->note) == meta_note(old->meta);
}

static struct strview cut(struct strview note)
{
    size_t len = MIN_OF(note.len, (size_t)SUPPRESS_NOTE_MAX);
    while (len < note.len && len && ((unsigned char)note.ptr[len] & 0xc0) == 0x80)
        len--;
    return sv(note.ptr, len);
}

/* Address and scope name as they go to the disk; raw has the hash where it is one. */
static void name_record(const struct store *s, const struct names *n, struct suppress_hash scope,
                        struct suppress_hash *raw, struct record *r)
{
    r->name = sv(n->scope, n->scope_len);
    r->hashed = n->hashed || s->hashing;
    r->is_domain = n->is_domain;
    *raw = suppress_hash_join(n->h, scope); /* takes the scope out again */
    r->address = r->hashed ? sv((const char *)raw, sizeof(*raw)) : sv(n->address, n->address_len);
}

static size_t record_bytes(const struct record *r)
{
    size_t n = RECORD_HEADER_BYTES + r->name.len + r->address.len + r->note.len;
    return (n + RECORD_ALIGN - 1) & ~(size_t)(RECORD_ALIGN - 1);
}

static int put(struct store_request *q, struct record *r, struct suppress_hash h, struct err *e)
{
    struct store *s = q->store;
    struct op op = {.h = h, .request = q, .kind = OP_PUT, .clear = !r->hashed};
    struct place at;
    int code = store_next_place(s, record_bytes(r), &at);

    if (code < 0)
        return err_set(e, code, "the log has no more segments");
    op.now = (struct table_value){r->expires_s, meta_make(at, r, note_hash(r->note))};
    code = table_put(&s->table, h, &op.now, &op.was, &op.old);
    if (code < 0)
        return err_set(e, code, "the table is full");
    table_added(&s->table, clock_wall_ms());
    store_account(s, op.was ? &op.old : NULL, &op.now);
    store_append(s, &op, r);
    if (op.was)
        q->changed++;
    else
        q->added++;
    return 0;
}

int store_add(struct store_request *q, const struct suppress_entry *entry, enum store_way way,
              struct err *e)
{
    struct store *s = q->store;
    struct names n = {0};
    struct table_value old;
    struct suppress_hash scope, raw;
    struct suppress_entry en = *entry;
    int64_t now_s = clock_wall_ms() / 1000;
    uint32_t expires_s = seconds_of(en.expires_ms);
    int code = name_all(s, en.scope, en.scope_name, en.address, &n, e);

    if (code < 0)
        return code;
    en.note = cut(en.note);
    if ((expires_s && now_s >= expires_s) ||
        (table_get(&s->table, n.h, &old) && stays(&old, &en, expires_s, way, now_s))) {
        q->same++;
        return 0;
    }
    struct record r = {
        .kind = RECORD_ADD,
        .scope = en.scope,
        .reason = en.reason,
        .expires_s = expires_s,
        .made_s = (uint32_t)now_s,
        .note = en.note,
    };
    BUG_ON(store_scope(s, en.scope, sv(n.scope, n.scope_len), &scope) < 0);
    name_record(s, &n, scope, &raw, &r);
    return put(q, &r, n.h, e);
}

int store_del(struct store_request *q, enum suppress_scope scope, struct strview scope_name,
              struct strview address, struct err *e)
{
    struct store *s = q->store;
    struct names n = {0};
    struct suppress_hash of_scope, raw;
    struct op op = {.request = q, .kind = OP_REMOVE, .was = true};
    struct place at;
    int code = name_all(s, scope, scope_name, address, &n, e);

    if (code < 0)
        return code;
    if (!table_get(&s->table, n.h, &op.old)) {
        q->same++;
        return 0;
    }
    struct record r = {
        .kind = RECORD_DEL, .scope = scope, .made_s = (uint32_t)(clock_wall_ms() / 1000)};
    BUG_ON(store_scope(s, scope, sv(n.scope, n.scope_len), &of_scope) < 0);
    name_record(s, &n, of_scope, &raw, &r);
    code = store_next_place(s, record_bytes(&r), &at);
    if (code < 0)
        return err_set(e, code, "the log has no more segments");
    op.h = n.h;
    op.clear = !r.hashed;
    BUG_ON(!table_remove(&s->table, n.h, &op.old));
    store_account(s, &op.old, NULL);
    store_append(s, &op, &r);
    q->removed++;
    return 0;
}

/* --- expiry --- */

static void on_gone(void *arg, const struct table_value *old)
{
    store_account(arg, old, NULL);
}

static void sweep(struct store *s)
{
    table_sweep(&s->table, &s->sweep_cursor, SWEEP_BUCKETS, clock_wall_ms() / 1000, on_gone, s);
    compact_consider(s);
}

static void on_sweep(uv_timer_t *t)
{
    sweep(t->data);
}

/* --- life --- */

void store_open_timers(struct store *s)
{
    uv_timer_init(s->loop, &s->kick);
    uv_timer_init(s->loop, &s->sweep);
    s->kick.data = s->sweep.data = s;
    s->handles_open = 2;
    uv_timer_start(&s->sweep, on_sweep, SWEEP_EVERY_MS, SWEEP_EVERY_MS);
}

static void on_handle_closed(uv_handle_t *h)
{
    struct store *s = h->data;
    if (--s->handles_open == 0)
        s->closed(s->closed_arg);
}

/* Everything is on disk and no job runs: what is left are the timers. */
void store_check_closed(struct store *s)
{
    if (!s->closing || s->commit || s->jobs || !list_empty(&s->batches) ||
        uv_is_closing((uv_handle_t *)&s->kick))
        return;
    uv_close((uv_handle_t *)&s->kick, on_handle_closed);
    uv_close((uv_handle_t *)&s->sweep, on_handle_closed);
}

void store_close(struct store *s, void (*done)(void *arg), void *arg)
{
    BUG_ON(!s->loaded || s->closing);
    s->closing = true;
    s->closed = done;
    s->closed_arg = arg;
    store_kick(s);
}

struct store *store_new(uv_loop_t *loop, int dirfd, const struct suppress_key *key)
{
    struct store *s = xcalloc(1, sizeof(*s));

    s->loop = loop;
    s->dirfd = dirfd;
    s->key = *key;
    s->key_id = suppress_hash_address(key, SV("\0id")).a;
    s->tag = randombytes_random() | 1;
    s->fd = -1;
    s->table.fd = -1;
    s->compact_min = COMPACT_MIN_RECORDS;
    hash_init(&s->scopes, match_scope);
    list_init(&s->batches);
    return s;
}

void store_set_hashing(struct store *s, bool hashing)
{
    s->hashing = hashing;
    if (s->loaded)
        compact_consider(s);
}

const struct table_writer *store_table(const struct store *s)
{
    return &s->table;
}

static void free_scopes(struct store *s)
{
    struct hash_node *n = hash_next(&s->scopes, NULL), *next;
    for (; n; n = next) {
        next = hash_next(&s->scopes, n);
        free(container_of(n, struct scope, node));
    }
    hash_fini(&s->scopes);
}

void store_free(struct store *s)
{
    if (!s)
        return;
    BUG_ON(s->commit || s->jobs || s->handles_open);
    free_scopes(s);
    table_writer_fini(&s->table);
    free(s->segments);
    if (s->fd >= 0)
        close(s->fd);
    close(s->dirfd);
    sodium_memzero(&s->key, sizeof(s->key));
    free(s);
}

void store_stats(const struct store *s, struct store_stats *ret)
{
    *ret = (struct store_stats){
        .expiring = s->table.expiring,
        .scopes = s->scopes.count,
        .table_bytes = table_bytes(&s->table),
        .segments = s->segment_count,
        .damaged_bytes = s->damaged_bytes,
        .commits = s->commits,
        .commit_bytes = s->commit_bytes,
        .load_ms = s->load_ms,
        .last_failure_ms = s->last_failure_ms,
        .hashing = s->hashing,
    };
    for (unsigned i = 0; i < SUPPRESS_SCOPE_COUNT; i++)
        ret->counts[i] = suppress_table_count(&s->table.reader, (enum suppress_scope)i);
    for (size_t i = 0; i < s->segment_count; i++) {
        ret->log_bytes += s->segments[i].bytes;
        ret->records += s->segments[i].records;
        ret->live += s->segments[i].live;
        ret->hashed_records += s->segments[i].records - s->segments[i].clear;
    }
    snprintf(ret->trouble, sizeof(ret->trouble), "%s", s->trouble);
}
