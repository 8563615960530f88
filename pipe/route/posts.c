/*
 * POSTs by the resolver; see posts.h. Called by the TLS reports. A post is in one list, in the order
 * in which its time ends; there are few, so answers find theirs by looking through it. One timer looks
 * once a second, while there is any; what was lost with a resolver ends there.
 */
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "route/routes_int.h"

#include <unistd.h>

enum { TICK_MS = 1000, INLINE_MAX = 64 * 1024 };

struct post_room {
    uv_timer_t timer;
    struct list waiting;
};

static void take_out(struct post *p)
{
    struct post_room *room = p->routes->posts;

    list_remove(&p->link);
    p->routes = NULL;
    if (list_empty(&room->waiting))
        uv_timer_stop(&room->timer);
}

void post_cancel(struct post *p)
{
    if (p->routes)
        take_out(p);
}

static void on_timer(uv_timer_t *t)
{
    struct post_room *room = t->data;
    int64_t now = clock_mono_ms();

    for (struct list *n; (n = list_first(&room->waiting));) {
        struct post *p = list_entry(n, struct post, link);
        if (now < p->until_ms)
            return;
        take_out(p);
        p->done(p, 0, SV("no answer from the resolver"));
    }
}

static struct post_room *room_of(struct routes *r)
{
    struct post_room *room = r->posts;

    if (room)
        return room;
    r->posts = room = xcalloc(1, sizeof(*room));
    list_init(&room->waiting);
    uv_timer_init(r->loop, &room->timer);
    room->timer.data = room;
    return room;
}

static void send_request(struct routes *r, const struct post *p, struct strview url,
                         const char *content_type, struct strview body)
{
    struct ipc_post_request m = {
        .token = p->token, .url = url, .content_type = sv_of(content_type), .body = body};

    if (body.len <= INLINE_MAX) {
        ipc_send(r->edge, post_request, &m);
        return;
    }
    int fd = file_in_memory("post", body);
    if (fd < 0) {
        log_warn(LOG_TLS, "cannot hand %zu bytes to the resolver: %s", body.len, strerror(-fd));
        return;
    }
    m.body = sv(NULL, 0);
    ipc_send_fds(r->edge, post_request, &m, &fd, 1);
    close(fd);
}

void post_start(struct routes *r, struct post *p, struct strview url, const char *content_type,
                struct strview body)
{
    struct post_room *room = room_of(r);

    BUG_ON(p->routes || !p->done);
    p->routes = r;
    p->token = ++r->last_token;
    p->until_ms = clock_mono_ms() + POST_TIME_LIMIT_MS;
    if (list_empty(&room->waiting))
        uv_timer_start(&room->timer, on_timer, TICK_MS, TICK_MS);
    if (r->edge) {
        list_push_back(&room->waiting, &p->link);
        send_request(r, p, url, content_type, body);
    } else {
        p->until_ms = 0; /* with the next tick */
        list_push_front(&room->waiting, &p->link);
    }
}

void posts_lost(struct routes *r)
{
    if (!r->posts)
        return;
    list_for_each (l, &r->posts->waiting)
        list_entry(l, struct post, link)->until_ms = 0;
}

int posts_take(struct routes *r, struct strview frame)
{
    struct ipc_post_reply m;

    if (ipc_decode_post_reply(frame, &m) < 0)
        return ERR_PROTOCOL;
    if (!r->posts)
        return 0;
    list_for_each (l, &r->posts->waiting) {
        struct post *p = list_entry(l, struct post, link);
        if (p->token != m.token)
            continue;
        take_out(p);
        p->done(p, m.http_status, m.text);
        return 0;
    }
    return 0; /* cancelled, or over */
}

static void on_closed(uv_handle_t *h)
{
    free(h->data);
}

void posts_close(struct routes *r)
{
    struct post_room *room = r->posts;

    if (!room)
        return;
    for (struct list *n; (n = list_first(&room->waiting));)
        take_out(list_entry(n, struct post, link));
    uv_close((uv_handle_t *)&room->timer, on_closed);
    r->posts = NULL;
}
