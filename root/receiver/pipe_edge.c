/*
 * Edges to the pipes; see pipe_edge.h. Root gives a new edge whenever a pipe was started again. The
 * happy path is submit out, submit_reply in. An edge that goes down answers its open requests from
 * a deferred call, since the owner may be in the middle of something; the requests are the owner's
 * memory, the edge is ours.
 */
#include "pipe_edge.h"

#include "base/log.h"

#include <stdio.h>
#include <unistd.h>

/* An inline message fits in a frame: what is not envelope or content is far below 1 KiB. */
_Static_assert(SMTP_FRAME_ROOM + 1024 <= IPC_FRAME_MAX, "inline messages fit in a frame");

struct pipe_edge {
    struct list link;
    struct receiver *receiver;
    struct ipc_edge *edge;      /* NULL: down */
    struct list requests;       /* sent, not answered */
    struct list waiting;        /* submits not sent yet */
    struct buf frame, envelope; /* kept for the next submit */
    char name[128];
};

static bool request_match(const struct hash_node *n, const void *key)
{
    return container_of(n, const struct pipe_request, node)->token == *(const uint64_t *)key;
}

static struct pipe_edge *find(struct receiver *r, struct strview name)
{
    list_for_each (pos, &r->pipes) {
        struct pipe_edge *p = list_entry(pos, struct pipe_edge, link);
        if (sv_eq(sv_of(p->name), name))
            return p;
    }
    return NULL;
}

void pipe_request_cancel(struct pipe_request *q)
{
    if (!q->open)
        return;
    q->open = q->waiting = false;
    hash_remove(&q->receiver->requests, &q->node);
    list_remove(&q->link);
}

static bool request_open(struct receiver *r, struct strview name, struct pipe_request *q,
                         bool submit, struct pipe_edge **ret)
{
    struct pipe_edge *p = find(r, name);

    BUG_ON(q->open);
    *ret = p;
    if (!p || !p->edge)
        return false;
    if (!r->requests.match)
        hash_init(&r->requests, request_match);
    q->receiver = r;
    q->token = ++r->next_token;
    q->open = true;
    q->submit = submit;
    q->waiting = submit && ipc_edge_congested(p->edge);
    hash_insert(&r->requests, &q->node, hash_u64(q->token));
    list_push_back(q->waiting ? &p->waiting : &p->requests, &q->link);
    return true;
}

bool pipe_edge_ask_file(struct receiver *r, struct strview name, struct pipe_request *q)
{
    struct pipe_edge *p;

    if (!request_open(r, name, q, false, &p))
        return false;
    ipc_send(p->edge, file_request, &(struct ipc_file_request){.token = q->token});
    return true;
}

bool pipe_edge_submit(struct receiver *r, struct strview name, struct pipe_request *q)
{
    struct pipe_edge *p;

    if (!request_open(r, name, q, true, &p))
        return false;
    if (!q->waiting)
        q->send(q, p);
    return true;
}

void pipe_edge_send_submit(struct pipe_edge *p, struct pipe_request *q, const struct envelope *env,
                           struct strview content, int fd)
{
    buf_reset(&p->frame);
    buf_reset(&p->envelope);
    envelope_encode(&p->envelope, env);
    struct ipc_submit m = {.token = q->token,
                           .content_bytes = env->content_bytes,
                           .envelope = buf_view(&p->envelope),
                           .content = fd < 0 ? content : sv("", 0)};
    ipc_encode_submit(&p->frame, &m);
    int status = ipc_edge_send(p->edge, &p->frame, &fd, fd < 0 ? 0 : 1);
    BUG_ON(status < 0); /* the engine keeps envelope and content within a frame */
}

static void answer(struct receiver *r, uint64_t token, bool submit, unsigned code,
                   struct strview text, int fd)
{
    struct hash_node *n = NULL;

    if (r->requests.match)
        n = hash_find(&r->requests, hash_u64(token), &token);
    struct pipe_request *q = n ? container_of(n, struct pipe_request, node) : NULL;
    if (!q || q->waiting || q->submit != submit) {
        if (fd >= 0)
            close(fd);
        return; /* the session is gone */
    }
    pipe_request_cancel(q);
    q->answer(q, code, text, fd);
}

static int on_frame(void *owner, struct ipc_edge *edge, struct ipc_frame *frame)
{
    struct pipe_edge *p = owner;
    int status = ERR_PROTOCOL;

    (void)edge;
    if (frame->id == IPC_submit_reply) {
        struct ipc_submit_reply m;
        status = ipc_decode_submit_reply(frame->bytes, &m);
        if (status == 0)
            answer(p->receiver, m.token, true, m.code, m.text, -1);
    } else if (frame->id == IPC_file_reply) {
        struct ipc_file_reply m;
        status = ipc_decode_file_reply(frame->bytes, &m);
        if (status == 0)
            answer(p->receiver, m.token, false, m.code, m.text, ipc_frame_take_fd(frame, 0));
    }
    return status;
}

static void answer_all(struct list *requests)
{
    while (!list_empty(requests)) {
        struct pipe_request *q = list_entry(list_first(requests), struct pipe_request, link);
        pipe_request_cancel(q);
        q->answer(q, 451, SV("4.3.2 This pipe is not available now, try again later"), -1);
    }
}

static void on_down(void *owner, struct ipc_edge *edge, int code)
{
    struct pipe_edge *p = owner;
    struct list gone;

    if (p->edge != edge)
        return;
    p->edge = NULL;
    log_warn(LOG_IPC, "pipe is down pipe=%s reason='%s', mail for it gets 451 4.3.2", p->name,
             err_name(code));
    list_init(&gone);
    list_splice_back(&gone, &p->requests);
    list_splice_back(&gone, &p->waiting);
    answer_all(&gone);
}

static void on_drained(void *owner, struct ipc_edge *edge)
{
    struct pipe_edge *p = owner;

    while (!list_empty(&p->waiting) && p->edge == edge && !ipc_edge_congested(edge)) {
        struct pipe_request *q = list_entry(list_first(&p->waiting), struct pipe_request, link);
        q->waiting = false;
        list_remove(&q->link);
        list_push_back(&p->requests, &q->link);
        q->send(q, p);
    }
}

static const struct ipc_edge_ops edge_ops = {on_frame, on_down, on_drained};

void pipe_edge_open(struct receiver *r, const char *name, int fd)
{
    struct pipe_edge *p = find(r, sv_of(name));

    if (!p) {
        p = xcalloc(1, sizeof(*p));
        p->receiver = r;
        snprintf(p->name, sizeof(p->name), "%s", name);
        list_init(&p->requests);
        list_init(&p->waiting);
        list_push_back(&r->pipes, &p->link);
    } else if (p->edge) { /* the old process is gone, and its EOF comes too late */
        struct ipc_edge *old = p->edge;
        on_down(p, old, ERR_CLOSED);
        ipc_edge_close(old);
    }
    p->edge = ipc_edge_open(child_loop(r->child), fd, ROLE_RECEIVER, ROLE_PIPE, &edge_ops, p);
}

void pipe_edge_close_all(struct receiver *r)
{
    list_for_each (pos, &r->pipes) {
        struct pipe_edge *p = list_entry(pos, struct pipe_edge, link);
        ipc_edge_close(p->edge);
        p->edge = NULL;
    }
}
