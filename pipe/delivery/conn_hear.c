/*
 * Who listens to an outgoing connection. Called by connection.c at its beginning and end and for
 * each message, and by pipe/trace (delivery_watch, delivery_listen).
 *
 * The watcher is asked when a connection begins and again before each message while nobody listens.
 * `heard_jobs` has a bit for each slot whose message was begun while somebody listened: of these the
 * outcomes are told, and `attempt_over` once for each, or once for a connection that ended before
 * there was any. The listener's memory is its own.
 */
#include "pipe/delivery/conn_hear.h"

enum { MOST_HOSTS_NAMED = 20 };

static void find_listener(struct delivery_conn *c)
{
    const struct delivery_watcher *w = c->d->watcher;

    if (!w || c->hearing.to)
        return;
    c->hearing.to = w->listens(w->owner, c, c->queue);
    c->heard_jobs = 0;
    c->heard_one = false;
}

static void find_debugging(struct delivery_conn *c)
{
    const struct delivery_watcher *w = c->d->watcher;
    c->hearing.debugged = w && w->debugs(w->owner, c->queue);
}

void delivery_watch(struct delivery *d, const struct delivery_watcher *watcher)
{
    d->watcher = watcher;
    list_for_each (n, &d->all)
        find_debugging(list_entry(n, struct delivery_conn, among_all));
}

void delivery_listen(struct delivery_conn *c, const struct dialogue *to)
{
    c->hearing.to = to;
    c->heard_jobs = 0;
    c->heard_one = false;
}

static void attempt_over(struct delivery_conn *c)
{
    const struct dialogue *to = c->hearing.to;

    c->heard_one = true;
    if (to)
        to->attempt_over(to->arg);
}

void conn_hear_end(struct delivery_conn *c)
{
    if (c->hearing.to && !c->heard_one)
        attempt_over(c);
    if (c->hearing.to)
        c->hearing.to->closed(c->hearing.to->arg);
    c->hearing.to = NULL;
}

static void note_hosts(struct delivery_conn *c)
{
    struct buf text = {0};
    char ip[INET6_ADDRSTRLEN];

    if (!smtp_is_heard(&c->hearing))
        return;
    for (size_t i = 0; i < c->params.host_count && i < MOST_HOSTS_NAMED; i++) {
        conn_address_text(&c->hosts[i].addr, ip);
        buf_printf(&text, "%s%s [%s]", i ? ", " : "", c->hosts[i].name, ip);
    }
    CONN_NOTE(c, "resolved, %zu address%s to try: %s%s", c->params.host_count,
              c->params.host_count == 1 ? "" : "es", buf_data(&text),
              c->params.host_count > MOST_HOSTS_NAMED ? " ..." : "");
    buf_free(&text);
}

void conn_hear_begin(struct delivery_conn *c)
{
    c->hearing.queue = c->queue;
    c->hearing.peer_ip = c->peer_ip;
    if (!c->d->watcher)
        return;
    find_debugging(c);
    find_listener(c);
    note_hosts(c);
}

void conn_hear_begun(struct delivery_conn *c, const struct delivery_job *job)
{
    find_listener(c);
    if (!smtp_is_heard(&c->hearing))
        return;
    c->heard_jobs |= conn_hear_bit(c, job);
    CONN_NOTE(c, "message %s for %u recipient%s%s", job->id ? job->id : "?", job->rcpt_count,
              job->rcpt_count == 1 ? "" : "s",
              c->messages > 1 ? ", on a connection that is open already" : "");
}

void conn_hear_outcome(struct delivery_conn *c, const struct delivery_job *job, uint32_t position,
                       const struct outcome *o)
{
    struct strview rcpt = job->env->rcpts[job->rcpts[position]].address;
    char status[16];

    CONN_NOTE(c, "%s to %.*s: %s%s%.*s", outcome_class_name(o->class_),
              (int)MIN_OF(rcpt.len, (size_t)320), rcpt.ptr,
              o->code ? "" : outcome_status(o, status), o->code ? "" : " ",
              (int)MIN_OF(o->text.len, (size_t)500), o->text.ptr);
}

void conn_hear_over(struct delivery_conn *c, const struct delivery_job *job)
{
    c->heard_jobs &= ~conn_hear_bit(c, job);
    attempt_over(c);
}
