/*
 * Glue between sts.c and its surroundings; see policies.h. Used by main.c, and by the probe in the
 * tests. The structure has to stay until the loop has ended.
 */
#include "policies.h"

enum { TICK_MS = 1000 };

static struct fetch *fetch(void *owner, const char *domain, sts_fetch_cb cb, void *arg)
{
    struct policies *p = owner;
    return fetch_start(p->fetches, domain, cb, arg);
}

static void cancel(void *owner, struct fetch *f)
{
    struct policies *p = owner;
    fetch_cancel(p->fetches, f);
}

static void save(void *owner, const char *domain, struct strview bytes)
{
    struct policies *p = owner;
    sts_store_save(&p->store, domain, bytes);
}

static void forget(void *owner, const char *domain)
{
    struct policies *p = owner;
    sts_store_forget(&p->store, domain);
}

static const struct sts_ops ops = {fetch, cancel, save, forget};

static void on_tick(uv_timer_t *t)
{
    struct policies *p = t->data;
    sts_tick(p->sts);
}

void policies_start(struct policies *p, uv_loop_t *loop, struct resolve *r)
{
    *p = (struct policies){.sts = resolve_sts(r)};
    p->fetches = fetch_pool_new(loop, resolve_own_lookups(r));
    sts_store_init(&p->store, loop);
    sts_set_ops(p->sts, &ops, p);
    uv_timer_init(loop, &p->tick);
    p->tick.data = p;
    uv_timer_start(&p->tick, on_tick, TICK_MS, TICK_MS);
}

void policies_configure(struct policies *p, const struct fetch_options *options)
{
    fetch_pool_configure(p->fetches, options);
}

void policies_load(struct policies *p, int dirfd, void (*done)(void *arg), void *arg)
{
    sts_store_load(&p->store, dirfd, p->sts, done, arg);
}

void policies_stop(struct policies *p)
{
    if (!p->sts || p->stopped)
        return;
    p->stopped = true;
    sts_set_ops(p->sts, NULL, NULL);
    fetch_pool_close(p->fetches);
    sts_store_fini(&p->store);
    uv_close((uv_handle_t *)&p->tick, NULL);
}
