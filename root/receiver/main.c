/*
 * pmta-receiver: speaks SMTP with the sending applications. Started by pmtad only; child_main runs
 * the loop and calls the functions below. Everything comes from root: configuration, listening
 * sockets, certificates, edges to the pipes. This process opens no file.
 */
#include "auth_check.h"
#include "base/clock.h"
#include "base/log.h"
#include "pipe_edge.h"
#include "receiver.h"
#include "tracer.h"

#include <signal.h>
#include <unistd.h>

enum { TICK_MS = 1000, DRAIN_POLL_MS = 100 };

static int take_config(void *owner, struct strview snapshot, uint64_t generation, struct err *e)
{
    struct receiver *r = owner;
    struct config *cfg;

    int status = config_snapshot_decode(snapshot, &cfg, e);
    if (status < 0)
        return status;
    config_unref(r->config); /* sessions hold references of their own */
    r->config = cfg;
    tls_files_commit(r->tls_files);
    receiver_note_signing(r);
    inbound_configure(&r->inbound, cfg);
    listener_close_removed(r);
    r->shared.max_buffered_bytes = (uint64_t)config_number(cfg, NULL, DIR_MAX_BUFFERED_IN);
    log_debug(LOG_CONFIG, "configuration applied generation=%llu", (unsigned long long)generation);
    return 0;
}

static void take_debug_pipe(void *owner, struct strview pipe, uint32_t mask)
{
    struct receiver *r = owner;
    struct smtp_server_shared *all = &r->shared;
    unsigned i = 0;

    while (i < all->debug_count && !sv_eq(sv_of(all->debug[i].pipe), pipe))
        i++;
    if (!mask && i < all->debug_count) {
        all->debug[i] = all->debug[--all->debug_count];
    } else if (mask && i < SMTP_DEBUG_PIPES && pipe.len < sizeof(all->debug[i].pipe)) {
        memcpy(all->debug[i].pipe, pipe.ptr, pipe.len);
        all->debug[i].pipe[pipe.len] = '\0';
        all->debug[i].mask = mask;
        all->debug_count += i == all->debug_count;
    }
}

static void take_edge(void *owner, enum role peer, const char *name, int fd)
{
    if (peer == ROLE_PIPE)
        pipe_edge_open(owner, name, fd);
    else if (peer == ROLE_SUPPRESS)
        receiver_suppress_edge(owner, fd);
    else
        close(fd);
}

static void take_listener(void *owner, const char *name, int fd, int cert_fd, int key_fd)
{
    struct receiver *r = owner;

    if (r->config)
        listener_open(r, name, fd, cert_fd, key_fd);
    else
        close(fd); /* start has failed */
    if (cert_fd >= 0)
        close(cert_fd);
    if (key_fd >= 0)
        close(key_fd);
}

static void take_tls_file(void *owner, const char *file, int fd)
{
    struct receiver *r = owner;

    if (file)
        tls_files_add(r->tls_files, file, fd);
    else
        tls_files_begin(r->tls_files);
}

static void take_secret(void *owner, const char *name, int fd)
{
    struct receiver *r = owner;
    struct mail_token_key key;
    struct err e;

    if (name && strcmp(name, "installation") == 0) {
        if (mail_token_key_read(fd, &key, &e) < 0)
            log_error(LOG_MAIN, "bounce and unsubscribe addresses cannot be checked: %s", e.text);
        else
            inbound_set_key(&r->inbound, &key);
    }
    if (fd >= 0)
        close(fd);
}

static void end_if_drained(struct receiver *r)
{
    if (!r->draining || r->exiting || r->session_count > 0)
        return;
    r->exiting = true;
    child_exit(r->child, 0);
}

void receiver_session_ended(struct receiver *r)
{
    r->session_count--;
    end_if_drained(r);
}

static void on_tick(uv_timer_t *timer)
{
    struct receiver *r = timer->data;

    session_tick_all(r);
    tracer_tick(r);
    log_budget_tick(&r->shared.budget, clock_mono_ms());
    if (!r->draining) {
        listener_resume_all(r);
    } else if (!r->exiting && clock_mono_ms() >= r->drain_until_ms) {
        log_warn(LOG_MAIN, "drain timeout is over, cutting off sessions=%u", r->session_count);
        r->exiting = true;
        session_tick_all(r);
        child_exit(r->child, 0);
    }
}

static void start(void *owner)
{
    struct receiver *r = owner;
    struct err e;

    if (!r->config) {
        err_set(&e, ERR_CONFIG, "started without a configuration");
        child_fatal(r->child, &e);
        return;
    }
    uv_timer_init(child_loop(r->child), &r->timer);
    r->timer.data = r;
    uv_timer_start(&r->timer, on_tick, TICK_MS, TICK_MS);
    r->auth = auth_check_new(child_loop(r->child));
    child_ready(r->child, "");
}

static void drain(void *owner, int64_t timeout_ms)
{
    struct receiver *r = owner;

    if (r->draining)
        return;
    r->draining = true;
    r->drain_until_ms = clock_mono_ms() + timeout_ms;
    listener_close_all(r);
    if (r->timer.data)
        uv_timer_start(&r->timer, on_tick, DRAIN_POLL_MS, DRAIN_POLL_MS);
    session_drain_all(r);
    tracer_end_all(r);
    end_if_drained(r);
}

static void admin(void *owner, const struct child_admin_request *req)
{
    receiver_admin(owner, req);
}

static void admin_cancel(void *owner, uint64_t token)
{
    tracer_cancel(owner, token);
}

int main(int argc, char **argv)
{
    static const struct child_ops ops = {
        .role = ROLE_RECEIVER,
        .program = "pmta-receiver",
        .config = take_config,
        .edge = take_edge,
        .listener = take_listener,
        .tls_file = take_tls_file,
        .secret = take_secret,
        .start = start,
        .admin = admin,
        .admin_cancel = admin_cancel,
        .debug_pipe = take_debug_pipe,
        .drain = drain,
    };
    static struct receiver r;

    list_init(&r.listeners);
    list_init(&r.openings);
    list_init(&r.pipes);
    list_init(&r.sessions);
    list_init(&r.traces);
    admission_init(&r.admission);
    r.tls_files = tls_files_new();
    r.started_ms = clock_mono_ms();
    if (gethostname(r.host_name, sizeof(r.host_name) - 1) < 0)
        memcpy(r.host_name, "localhost", sizeof("localhost"));
    return child_main(argc, argv, &ops, &r, &r.child);
}
