/*
 * Questions besides routes; see lookups.h. Called by the admin verbs and by the checks of senders.
 *
 * A lookup is in a list (by the end of its time, which is the order of the questions, because all
 * have as long) and in a table by token until it is answered, cancelled or over. Without a resolver
 * it waits for the next one. One timer looks once a second, while there is anything to look at.
 */
#include "base/clock.h"
#include "route/routes_int.h"

enum { TICK_MS = 1000 };

struct lookup_room {
    uv_timer_t timer;
    struct list waiting;
    struct hash by_token;
};

static bool match_token(const struct hash_node *n, const void *key)
{
    return container_of(n, struct lookup, node)->token == *(const uint64_t *)key;
}

static void ask(const struct lookup *l)
{
    if (!l->routes->edge)
        return; /* asked when the edge comes */
    ipc_send(l->routes->edge, lookup_request,
             (&(struct ipc_lookup_request){
                 .token = l->token,
                 .kind = (uint8_t)l->kind,
                 .name = sv_of(l->name),
             }));
}

static void take_out(struct lookup *l)
{
    struct lookup_room *room = l->routes->lookups;

    list_remove(&l->link);
    hash_remove(&room->by_token, &l->node);
    free(l->name);
    l->name = NULL;
    l->routes = NULL;
    if (list_empty(&room->waiting))
        uv_timer_stop(&room->timer);
}

void lookup_cancel(struct lookup *l)
{
    if (l->routes)
        take_out(l);
}

static void fail(struct lookup *l, const char *text)
{
    struct lookup_result r = {.status = LOOKUP_TEMPORARY, .text = sv_of(text)};

    take_out(l);
    l->done(l, &r);
}

static void on_timer(uv_timer_t *t)
{
    struct lookup_room *room = t->data;

    for (struct list *n; (n = list_first(&room->waiting));) {
        struct lookup *l = list_entry(n, struct lookup, link);
        if (clock_mono_ms() < l->until_ms)
            return;
        fail(l, "no answer from the resolver");
    }
}

static struct lookup_room *room_of(struct routes *r)
{
    struct lookup_room *room = r->lookups;

    if (room)
        return room;
    r->lookups = room = xcalloc(1, sizeof(*room));
    list_init(&room->waiting);
    hash_init(&room->by_token, match_token);
    uv_timer_init(r->loop, &room->timer);
    room->timer.data = room;
    return room;
}

void lookup_start(struct routes *r, struct lookup *l, enum lookup_kind kind, struct strview name)
{
    struct lookup_room *room = room_of(r);

    BUG_ON(l->routes || !l->done);
    l->routes = r;
    l->kind = kind;
    l->name = xstrndup(name.ptr, name.len);
    l->token = ++r->last_token;
    l->until_ms = clock_mono_ms() + LOOKUP_TIME_LIMIT_MS;
    if (list_empty(&room->waiting))
        uv_timer_start(&room->timer, on_timer, TICK_MS, TICK_MS);
    list_push_back(&room->waiting, &l->link);
    hash_insert(&room->by_token, &l->node, hash_u64(l->token));
    ask(l);
}

void lookups_ask_again(struct routes *r)
{
    if (!r->lookups)
        return;
    list_for_each (pos, &r->lookups->waiting)
        ask(list_entry(pos, struct lookup, link));
}

int lookups_take(struct routes *r, struct strview frame)
{
    struct ipc_lookup_reply m;
    struct arena arena = {0};

    if (ipc_decode_lookup_reply(frame, &m) < 0)
        return ERR_PROTOCOL;
    struct hash_node *n =
        r->lookups ? hash_find(&r->lookups->by_token, hash_u64(m.token), &m.token) : NULL;
    if (!n)
        return 0; /* cancelled, or over */
    struct lookup *l = container_of(n, struct lookup, node);
    struct lookup_result result = {
        .status = m.status,
        .secure = m.secure,
        .ttl_s = m.ttl_s,
        .text = m.text,
    };
    if (m.status > LOOKUP_TEMPORARY ||
        lookup_records_decode(m.records, &arena, &result.records, &result.count) < 0) {
        fail(l, "the resolver gave an answer that cannot be read");
    } else {
        take_out(l);
        l->done(l, &result);
    }
    arena_free(&arena);
    return 0;
}

static void on_closed(uv_handle_t *h)
{
    free(h->data);
}

void lookups_close(struct routes *r)
{
    struct lookup_room *room = r->lookups;

    if (!room)
        return;
    for (struct list *n; (n = list_first(&room->waiting));)
        take_out(list_entry(n, struct lookup, link));
    hash_fini(&room->by_token);
    uv_close((uv_handle_t *)&room->timer, on_closed);
    r->lookups = NULL;
}
