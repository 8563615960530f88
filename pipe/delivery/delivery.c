/*
 * What the connections of a process share: the TLS context, the memory of hosts that offer STARTTLS
 * and cannot do it, and the run queue. Public calls only put their connection into that queue; an
 * idle handle runs it in the next turn of the loop, so that no callback fires inside a call.
 */
#include "pipe/delivery/delivery_impl.h"

#include "base/clock.h"
#include "base/hash.h"

static void on_idle(uv_idle_t *idle)
{
    struct delivery *d = idle->data;
    uint64_t began_ns = uv_hrtime();
    struct list now;

    list_init(&now);
    list_splice_back(&now, &d->runnable);
    uv_idle_stop(idle);
    for (unsigned n = 1; !list_empty(&now) && n <= RUNS_PER_TURN; n++) {
        delivery_conn_run(list_pop_front(&now));
        if (n % RUNS_PER_LOOK == 0 && uv_hrtime() - began_ns > RUNS_NS)
            break;
    }
    if (list_empty(&now))
        return;
    list_splice_back(&now, &d->runnable); /* those that came meanwhile go behind */
    list_splice_back(&d->runnable, &now);
    uv_idle_start(idle, on_idle);
}

int delivery_new(struct delivery **ret, uv_loop_t *loop, struct tls_files *files, struct err *e)
{
    struct tls_context *tls = tls_context_client(e);

    if (!tls)
        return e && e->code ? e->code : ERR_TLS;
    struct delivery *d = xcalloc(1, sizeof(*d));
    d->loop = loop;
    d->tls = tls;
    d->files = files;
    list_init(&d->runnable);
    list_init(&d->all);
    stream_turn_init(&d->turn, loop);
    uv_idle_init(loop, &d->runner);
    d->runner.data = d;
    *ret = d;
    return 0;
}

static void on_turn_closed(void *arg)
{
    free(arg);
}

static void on_closed(uv_handle_t *h)
{
    struct delivery *d = h->data;
    stream_turn_close(&d->turn, on_turn_closed, d);
}

void delivery_free(struct delivery *d)
{
    if (!d)
        return;
    BUG_ON(d->connections);
    tls_context_unref(d->tls);
    uv_close((uv_handle_t *)&d->runner, on_closed);
}

void delivery_schedule(struct delivery *d, struct list *node)
{
    if (!list_empty(node))
        return;
    list_push_back(&d->runnable, node);
    uv_idle_start(&d->runner, on_idle);
}

static uint64_t host_hash(const struct sockaddr_storage *addr)
{
    if (addr->ss_family == AF_INET6) {
        const struct sockaddr_in6 *a = (const struct sockaddr_in6 *)addr;
        return hash_bytes(&a->sin6_addr, sizeof(a->sin6_addr)) ^ a->sin6_port;
    }
    const struct sockaddr_in *a = (const struct sockaddr_in *)addr;
    return hash_bytes(&a->sin_addr, sizeof(a->sin_addr)) ^ a->sin_port;
}

void delivery_tls_broken(struct delivery *d, const struct sockaddr_storage *addr, int64_t for_ms)
{
    uint64_t h = host_hash(addr);
    d->broken[h & (TLS_BROKEN_ROWS - 1)] = (struct tls_broken){h, clock_mono_ms() + for_ms};
}

bool delivery_tls_is_broken(const struct delivery *d, const struct sockaddr_storage *addr)
{
    uint64_t h = host_hash(addr);
    const struct tls_broken *row = &d->broken[h & (TLS_BROKEN_ROWS - 1)];
    return row->hash == h && row->until_ms > clock_mono_ms();
}
