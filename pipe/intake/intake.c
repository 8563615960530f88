/*
 * Intake; see intake.h. A submission lives from its frame to the spool's answer and holds the
 * frame, so that envelope and content go from the socket to the disk, and to the first delivery,
 * without being copied. When its receiver dies meanwhile, the message is kept all the same: it may
 * have been acknowledged by nobody, but it is ours.
 */
#include "intake/intake.h"

#include "base/fault.h"
#include "base/log.h"
#include "queue/choose.h"
#include "report/headers.h"
#include "suppression/suppression.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

struct edge {
    struct list link; /* intake->edges */
    struct intake *intake;
    struct ipc_edge *ipc; /* NULL once it is down */
    enum role peer;       /* RECEIVER, or another PIPE */
    char *name;
    uint32_t refs; /* the list's and one per submission */
};

struct submission {
    struct spool_append append;
    struct edge *edge;
    struct ipc_frame *frame;
    uint64_t token;
    struct arena arena;
    struct envelope env;
    struct strview envelope; /* as it came, in frame */
    struct buf chosen;       /* the envelope with what was chosen; empty when that adds nothing */
    struct buf headers;      /* env.acct_headers */
    bool suppressed;         /* some recipients are, and are marked */
};

/* An edge that came before the spool was open. */
struct early_edge {
    struct early_edge *next;
    enum role peer;
    char *name;
    int fd;
};

struct intake {
    uv_loop_t *loop;
    struct engine *engine;
    struct spool *spool;
    struct list edges;
    struct early_edge *early;
    size_t waiting;
    bool stopped;
    bool writable;
    struct intake_peers peers;
    const struct report *report;     /* says which header fields it wants; NULL at first */
    struct suppression *suppression; /* NULL: nobody is looked up */
};

static void edge_unref(struct edge *d)
{
    if (--d->refs)
        return;
    free(d->name);
    free(d);
}

struct intake *intake_new(uv_loop_t *loop, struct engine *engine)
{
    struct intake *k = xcalloc(1, sizeof(*k));
    k->loop = loop;
    k->engine = engine;
    k->writable = true;
    list_init(&k->edges);
    return k;
}

static void tell_peer(struct edge *d)
{
    struct intake *k = d->intake;
    if (d->peer == ROLE_PIPE && k->peers.there)
        k->peers.there(k->peers.arg, d->name, d->ipc);
}

static void drop_edge(struct edge *d)
{
    ipc_edge_close(d->ipc);
    d->ipc = NULL;
    tell_peer(d);
    list_remove(&d->link);
    edge_unref(d);
}

void intake_free(struct intake *k)
{
    if (!k)
        return;
    for (struct list *l; (l = list_first(&k->edges));)
        drop_edge(list_entry(l, struct edge, link));
    for (struct early_edge *e; (e = k->early);) {
        k->early = e->next;
        close(e->fd);
        free(e->name);
        free(e);
    }
    free(k);
}

static void reply(struct edge *d, uint64_t token, unsigned code, const char *text)
{
    if (d->ipc)
        ipc_send(d->ipc, submit_reply,
                 (&(struct ipc_submit_reply){token, (uint16_t)code, sv_of(text)}));
}

static void submission_free(struct submission *s)
{
    if (s->append.content_fd >= 0)
        close(s->append.content_fd);
    ipc_frame_unref(s->frame);
    edge_unref(s->edge);
    arena_free(&s->arena);
    buf_free(&s->chosen);
    buf_free(&s->headers);
    free(s);
}

static void refuse_disk(struct edge *d, uint64_t token, int status)
{
    if (status == -ENOSPC || status == -EDQUOT || status == ERR_LIMIT)
        reply(d, token, 452, "4.3.1 Not enough disk space, try again later");
    else
        reply(d, token, 451, "4.3.0 The message could not be stored, try again later");
}

static void accepted(struct submission *s)
{
    struct intake *k = s->edge->intake;
    struct body *body = NULL;
    char id[MESSAGE_ID_SIZE], text[64];

    if (s->append.content_fd < 0)
        body = body_keep(engine_body_cache(k->engine), s->frame, s->envelope, s->append.content);
    if (body && s->env.acct_headers.len)
        body_own_envelope(body, &s->chosen);
    snprintf(text, sizeof(text), "2.0.0 Queued as %s", message_id_format(s->append.id, id));
    FAULT(BEFORE_REPLY);
    reply(s->edge, s->token, 250, text);
    FAULT(AFTER_REPLY);
    int64_t commit_ms = MAX_OF(s->append.durable_ms - s->env.received_ms, (int64_t)0);
    s->env.commit_ms = (uint32_t)MIN_OF(commit_ms, (int64_t)UINT32_MAX);
    engine_accept(k->engine, s->append.id, &s->append.place, &s->env, body);
}

static void on_durable(struct spool_append *a, int status)
{
    struct submission *s = container_of(a, struct submission, append);

    s->edge->intake->waiting--;
    if (status == 0)
        accepted(s);
    else
        refuse_disk(s->edge, s->token, status);
    submission_free(s);
}

static int check(const struct ipc_submit *m, const struct envelope *env, bool has_file)
{
    bool inline_ok = !has_file && m->content.len == m->content_bytes;
    bool file_ok = has_file && m->content.len == 0 && m->content_bytes > 0;

    if (!inline_ok && !file_ok)
        return ERR_PROTOCOL;
    if (!env->rcpt_count || env->content_bytes != m->content_bytes ||
        env->header_bytes > env->content_bytes || env->stuffed_dots > env->content_bytes)
        return ERR_PROTOCOL;
    return 0;
}

/* What accounting wants of the header. A large message lies in a file that was written a moment ago,
 * in the page cache. */
static bool pick_headers(struct submission *s, struct strview content)
{
    const struct intake *k = s->edge->intake;
    struct strview names = k->report ? report_header_names(k->report) : sv(NULL, 0);
    size_t len = s->env.header_bytes;
    struct buf block = {0};

    if (!names.len)
        return false;
    if (s->append.content_fd >= 0) {
        ssize_t n = pread(s->append.content_fd, buf_reserve(&block, len), len, 0);
        buf_advance(&block, n > 0 ? (size_t)n : 0);
        content = buf_view(&block);
    }
    headers_pick(names, sv(content.ptr, MIN_OF(content.len, len)), &s->headers);
    buf_free(&block);
    s->env.acct_headers = buf_view(&s->headers);
    return buf_len(&s->headers) > 0;
}

/* The envelope as it goes into the record: with the virtual MTA that was chosen, so that neither a
 * restart nor a reload chooses another one, and with the header values for accounting. */
static struct strview keep_choice(struct submission *s, struct strview envelope,
                                  struct strview content)
{
    bool chosen = choose_vmta(s->edge->intake->engine, &s->env);
    bool headers = pick_headers(s, content);

    if (!chosen && !headers && !s->suppressed)
        return envelope;
    buf_append_sv(&s->chosen, envelope);
    if (chosen)
        envelope_append_choice(&s->chosen, &s->env);
    if (headers)
        envelope_append_headers(&s->chosen, &s->env);
    if (s->suppressed)
        envelope_append_suppressed(&s->chosen, &s->env);
    return buf_view(&s->chosen);
}

/* False: refused already. */
static bool check_suppressed(struct submission *s, const struct ipc_submit *m)
{
    struct suppression *p = s->edge->intake->suppression;
    enum suppression_verdict v = SUPPRESSION_NONE;
    char text[SUPPRESSION_TEXT];

    if (p)
        v = suppression_check(p, &s->env, m->content, s->append.content_fd, text);
    s->suppressed = v == SUPPRESSION_SOME;
    if (v == SUPPRESSION_ALL)
        reply(s->edge, m->token, 550, text);
    else if (v == SUPPRESSION_UNKNOWN)
        reply(s->edge, m->token, 451, "4.3.2 The suppression list is being read, try again later");
    return v != SUPPRESSION_ALL && v != SUPPRESSION_UNKNOWN;
}

static int take_submit(struct edge *d, struct ipc_frame *frame)
{
    struct intake *k = d->intake;
    struct ipc_submit m;
    const char *text;

    if (ipc_decode_submit(frame->bytes, &m) < 0)
        return ERR_PROTOCOL;
    struct submission *s = xcalloc(1, sizeof(*s));
    s->edge = d;
    d->refs++;
    s->frame = ipc_frame_ref(frame);
    s->token = m.token;
    s->append.content_fd = ipc_frame_take_fd(frame, 0);
    int status = envelope_decode(m.envelope, &s->arena, &s->env, NULL);
    if (status == 0)
        status = check(&m, &s->env, s->append.content_fd >= 0);
    if (status < 0) {
        submission_free(s);
        return ERR_PROTOCOL;
    }
    unsigned code = k->stopped ? 451 : engine_refuses(k->engine, &s->env, &text);
    if (code || !k->writable) {
        if (code)
            reply(d, m.token, code, k->stopped ? "4.3.2 Service is stopping" : text);
        else
            refuse_disk(d, m.token, -ENOSPC);
        submission_free(s);
        return 0;
    }
    if (!check_suppressed(s, &m)) {
        submission_free(s);
        return 0;
    }
    s->envelope = m.envelope;
    s->append.envelope = keep_choice(s, m.envelope, m.content);
    s->append.content = m.content;
    s->append.content_bytes = m.content_bytes;
    s->append.rcpt_count = s->env.rcpt_count;
    s->append.done = on_durable;
    k->waiting++;
    spool_append(k->spool, &s->append);
    return 0;
}

static int take_file_request(struct edge *d, struct ipc_frame *frame)
{
    struct ipc_file_request m;
    struct ipc_file_reply r = {0};
    struct err e;
    int fd = -1;

    if (ipc_decode_file_request(frame->bytes, &m) < 0)
        return ERR_PROTOCOL;
    r.token = m.token;
    if (d->intake->stopped || !d->intake->writable ||
        spool_temporary_file(d->intake->spool, &fd, &e) < 0) {
        r.code = 452;
        r.text = SV("4.3.1 Not enough disk space, try again later");
    }
    ipc_send_fds(d->ipc, file_reply, &r, &fd, fd >= 0 ? 1 : 0);
    if (fd >= 0)
        close(fd);
    return 0;
}

static int take_reply(struct edge *d, struct ipc_frame *frame)
{
    struct intake *k = d->intake;
    struct ipc_submit_reply m;

    if (ipc_decode_submit_reply(frame->bytes, &m) < 0)
        return ERR_PROTOCOL;
    if (k->peers.replied)
        k->peers.replied(k->peers.arg, d->name, &m);
    return 0;
}

static int on_frame(void *owner, struct ipc_edge *edge, struct ipc_frame *frame)
{
    struct edge *d = owner;

    (void)edge;
    switch (frame->id) {
    case IPC_submit:
        return take_submit(d, frame);
    case IPC_file_request:
        return take_file_request(d, frame);
    case IPC_submit_reply:
        return take_reply(d, frame);
    }
    return ERR_PROTOCOL;
}

static void on_down(void *owner, struct ipc_edge *edge, int code)
{
    struct edge *d = owner;

    (void)edge;
    log_debug(LOG_IPC, "%s went away name=%s reason='%s'", ipc_role_name(d->peer), d->name,
              err_name(code));
    d->ipc = NULL;
    drop_edge(d);
}

static void open_edge(struct intake *k, enum role peer, const char *name, int fd)
{
    static const struct ipc_edge_ops ops = {.frame = on_frame, .down = on_down};
    struct edge *d = xcalloc(1, sizeof(*d));

    d->intake = k;
    d->peer = peer;
    d->name = xstrdup(name);
    d->refs = 1;
    list_push_back(&k->edges, &d->link);
    d->ipc = ipc_edge_open(k->loop, fd, ROLE_PIPE, peer, &ops, d);
    tell_peer(d);
}

static void add_edge(struct intake *k, enum role peer, const char *name, int fd)
{
    list_for_each_safe (l, &k->edges) {
        struct edge *d = list_entry(l, struct edge, link);
        if (d->peer == peer && strcmp(d->name, name) == 0)
            drop_edge(d);
    }
    if (k->spool) {
        open_edge(k, peer, name, fd);
        return;
    }
    struct early_edge *e = xmalloc(sizeof(*e));
    *e = (struct early_edge){k->early, peer, xstrdup(name), fd};
    k->early = e;
}

void intake_add_edge(struct intake *k, const char *name, int fd)
{
    add_edge(k, ROLE_RECEIVER, name, fd);
}

void intake_add_pipe(struct intake *k, const char *name, int fd)
{
    add_edge(k, ROLE_PIPE, name, fd);
}

void intake_on_peers(struct intake *k, const struct intake_peers *peers)
{
    k->peers = *peers;
}

void intake_set_report(struct intake *k, const struct report *report)
{
    k->report = report;
}

void intake_set_suppression(struct intake *k, struct suppression *suppression)
{
    k->suppression = suppression;
}

void intake_start(struct intake *k, struct spool *spool)
{
    k->spool = spool;
    for (struct early_edge *e; (e = k->early);) {
        k->early = e->next;
        open_edge(k, e->peer, e->name, e->fd);
        free(e->name);
        free(e);
    }
}

void intake_stop(struct intake *k)
{
    k->stopped = true;
}

size_t intake_waiting(const struct intake *k)
{
    return k->waiting;
}

void intake_set_health(struct intake *k, bool writable)
{
    k->writable = writable;
}
