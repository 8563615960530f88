/*
 * The client of pmta-suppress; see client.h. Called by the pipe (hard bounces, reports by mail), the
 * receiver (table only) and the web process (unsubscribes).
 *
 * Happy path: an entry becomes a frame, waits in `open` until its suppress_reply, and is told. An
 * edge that goes down leaves `open` as it is; the next edge gets all of it again. When the edge is
 * congested entries wait in the same list, unsent, until it has drained. What can go wrong: more than
 * SUPPRESS_CLIENT_MAX wait (ERR_LIMIT at once); the process says that it could not store an entry
 * (-EIO to done; the trouble is logged). Memory: entries are ours, freed with their answer.
 */
#include "suppress/client.h"

#include "base/hash.h"
#include "base/list.h"
#include "base/log.h"
#include "mail/address.h"

#include <errno.h>
#include <unistd.h>

struct waiting {
    struct hash_node node; /* client->by_token */
    struct list link;      /* client->open */
    uint64_t token;
    bool sent;
    void (*done)(void *arg, int code);
    void *arg;
    struct suppress_entry entry; /* views into text */
    char text[];
};

struct suppress_client {
    uv_loop_t *loop;
    enum role own;
    struct ipc_edge *edge; /* NULL: down */
    void (*table)(void *arg, int fd, uint64_t bytes);
    void *arg;
    struct hash by_token;
    struct list open; /* oldest first */
    uint64_t last_token;
    bool had_edge, had_table;
};

static bool match_token(const struct hash_node *n, const void *key)
{
    return container_of(n, const struct waiting, node)->token == *(const uint64_t *)key;
}

struct suppress_client *suppress_client_new(uv_loop_t *loop, enum role own,
                                            void (*table)(void *arg, int fd, uint64_t bytes),
                                            void *arg)
{
    struct suppress_client *c = xcalloc(1, sizeof(*c));

    c->loop = loop;
    c->own = own;
    c->table = table;
    c->arg = arg;
    hash_init(&c->by_token, match_token);
    list_init(&c->open);
    return c;
}

static void forget(struct suppress_client *c, struct waiting *w)
{
    hash_remove(&c->by_token, &w->node);
    list_remove(&w->link);
    free(w);
}

void suppress_client_free(struct suppress_client *c)
{
    if (!c)
        return;
    for (struct list *l; (l = list_first(&c->open));)
        forget(c, list_entry(l, struct waiting, link));
    ipc_edge_close(c->edge);
    hash_fini(&c->by_token);
    free(c);
}

bool suppress_client_is_loading(const struct suppress_client *c)
{
    return c->had_edge && !c->had_table;
}

size_t suppress_client_waiting(const struct suppress_client *c)
{
    return c->by_token.count;
}

/* --- out --- */

static void send_entry(struct suppress_client *c, struct waiting *w)
{
    const struct suppress_entry *e = &w->entry;
    struct ipc_suppress_add m = {
        .token = w->token,
        .scope = (uint8_t)e->scope,
        .reason = (uint8_t)e->reason,
        .expires_ms = e->expires_ms,
        .scope_name = e->scope_name,
        .address = e->address,
        .note = e->note,
    };
    w->sent = true;
    ipc_send(c->edge, suppress_add, &m);
}

static void send_waiting(struct suppress_client *c)
{
    list_for_each (l, &c->open) {
        struct waiting *w = list_entry(l, struct waiting, link);
        if (!c->edge || ipc_edge_congested(c->edge))
            return;
        if (!w->sent)
            send_entry(c, w);
    }
}

static struct strview copy(char **at, struct strview s)
{
    struct strview out = sv(*at, s.len);
    if (s.len)
        memcpy(*at, s.ptr, s.len);
    *at += s.len;
    return out;
}

/* The note is for people: cut where it is too long, not within a character. */
static struct strview cut_note(struct strview note)
{
    size_t len = MIN_OF(note.len, (size_t)SUPPRESS_NOTE_MAX);

    while (len < note.len && len && ((unsigned char)note.ptr[len] & 0xc0) == 0x80)
        len--;
    return sv(note.ptr, len);
}

int suppress_client_add(struct suppress_client *c, const struct suppress_entry *e,
                        void (*done)(void *arg, int code), void *arg)
{
    char form[SUPPRESS_ADDRESS_MAX], name[SUPPRESS_NAME_MAX];
    struct strview note = cut_note(e->note);
    bool named = e->scope != SUPPRESS_GLOBAL;

    BUG_ON((unsigned)e->scope >= SUPPRESS_SCOPE_COUNT ||
           (unsigned)e->reason >= SUPPRESS_REASON_COUNT);
    if (!address_is_mailbox(e->address, ADDRESS_UTF8) || !suppress_canonical(e->address, form))
        return ERR_SYNTAX;
    if (named && !suppress_canonical_name(e->scope, e->scope_name, name))
        return ERR_SYNTAX;
    if (c->by_token.count >= SUPPRESS_CLIENT_MAX)
        return ERR_LIMIT;
    struct strview scope_name = named ? e->scope_name : sv("", 0);
    struct waiting *w = xcalloc(1, sizeof(*w) + scope_name.len + e->address.len + note.len);
    char *at = w->text;
    w->token = ++c->last_token;
    w->done = done;
    w->arg = arg;
    w->entry = *e;
    w->entry.scope_name = copy(&at, scope_name);
    w->entry.address = copy(&at, e->address);
    w->entry.note = copy(&at, note);
    hash_insert(&c->by_token, &w->node, hash_u64(w->token));
    list_push_back(&c->open, &w->link);
    if (c->edge && !ipc_edge_congested(c->edge))
        send_entry(c, w);
    return 0;
}

/* --- in --- */

static void on_reply(struct suppress_client *c, const struct ipc_suppress_reply *m)
{
    struct hash_node *n = hash_find(&c->by_token, hash_u64(m->token), &m->token);

    if (!n)
        return; /* answered already, over an older edge */
    struct waiting *w = container_of(n, struct waiting, node);
    void (*done)(void *, int) = w->done;
    void *arg = w->arg;
    if (m->trouble.len)
        log_warn(LOG_IPC, "address not suppressed, it can still be written to rcpt=<%s>: %s",
                 log_safe(w->entry.address.ptr, w->entry.address.len, 254),
                 log_safe(m->trouble.ptr, m->trouble.len, 200));
    forget(c, w);
    if (done)
        done(arg, m->trouble.len ? -EIO : 0);
}

static int on_table(struct suppress_client *c, struct ipc_frame *f)
{
    struct ipc_suppress_table m;
    int fd = ipc_decode_suppress_table(f->bytes, &m) < 0 ? -1 : ipc_frame_take_fd(f, 0);

    if (fd < 0)
        return ERR_PROTOCOL;
    c->had_table = true;
    if (c->table)
        c->table(c->arg, fd, m.bytes);
    else
        close(fd);
    return 0;
}

static int on_frame(void *owner, struct ipc_edge *edge, struct ipc_frame *f)
{
    struct suppress_client *c = owner;
    struct ipc_suppress_reply m;

    (void)edge;
    if (f->id == IPC_suppress_table)
        return on_table(c, f);
    if (f->id != IPC_suppress_reply || ipc_decode_suppress_reply(f->bytes, &m) < 0)
        return ERR_PROTOCOL;
    on_reply(c, &m);
    return 0;
}

static void on_down(void *owner, struct ipc_edge *edge, int code)
{
    struct suppress_client *c = owner;

    if (c->edge != edge)
        return;
    c->edge = NULL;
    log_debug(LOG_IPC, "the suppression list is down (%s), %zu entries wait for it", err_name(code),
              c->by_token.count);
}

static void on_drained(void *owner, struct ipc_edge *edge)
{
    (void)edge;
    send_waiting(owner);
}

void suppress_client_edge(struct suppress_client *c, int fd)
{
    static const struct ipc_edge_ops ops = {on_frame, on_down, on_drained};

    ipc_edge_close(c->edge);
    c->had_edge = true;
    c->edge = ipc_edge_open(c->loop, fd, c->own, ROLE_SUPPRESS, &ops, c);
    list_for_each (l, &c->open)
        list_entry(l, struct waiting, link)->sent = false;
    send_waiting(c);
}
