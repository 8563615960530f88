/*
 * Signatures of loads; see signing.h. Called by load.c.
 *
 * Happy path: the plan for this sender through this virtual MTA says which keys sign; a request goes
 * to the signer; when it comes back, every load that waits for it is READY. The load that began it
 * lends its content to the signer, so it stays until the request is back, even when its connection
 * is gone. What can go wrong: a key cannot be used (the recipients are deferred and say which one),
 * the disk or the library fails (the same as a message that cannot be read).
 *
 * Memory: one struct signing per message and plan, with a reference of each load and one of the
 * message, which signing_forget takes back.
 */
#include "queue/signing.h"

#include "base/clock.h"
#include "mail/dkim.h"
#include "queue/load.h"
#include "sign/signer.h"
#include "verp/unsubscribe.h"

enum { FRESH_MS = 60 * 1000 }; /* then the time in a signature is too old to begin with */

struct signing {
    struct signing *next; /* of the same message, other plans */
    uint32_t refs;
    bool done;
    int status;
    int64_t made_ms;     /* wall */
    struct list waiters; /* struct load.sign_link */
    struct sign_request request;
    struct buf list; /* request.list */
};

static void unref(struct signing *s)
{
    if (--s->refs)
        return;
    sign_plan_unref(s->request.plan);
    buf_free(&s->request.fields);
    buf_free(&s->list);
    free(s);
}

void signing_forget(struct message *m)
{
    for (struct signing *s; (s = m->signing);) {
        m->signing = s->next;
        s->next = NULL;
        unref(s);
    }
}

void signing_release(struct load *l)
{
    if (l->signing)
        unref(l->signing);
    l->signing = NULL;
}

struct strview signing_fields(const struct load *l)
{
    return l->signing ? buf_view(&l->signing->request.fields) : sv(NULL, 0);
}

/* --- the answer --- */

static void finish(struct signing *s)
{
    s->done = true;
    s->status = s->request.status;
    s->request.content = s->request.bimi = s->request.list_taken = sv(NULL, 0);
}

static void take_status(struct load *l, const struct signing *s)
{
    l->status = s->status;
    l->state = s->status == 0 ? LOAD_READY : LOAD_FAILED;
    if (l->status == ERR_TLS) {
        l->status = ERR_KEY;
        l->trouble = "the message could not be signed";
    }
}

static void tell(struct load *l, const struct signing *s)
{
    take_status(l, s);
    if (l->dropped)
        load_put_back(l);
    else
        l->arrived(l);
}

static void on_signed(struct sign_request *r)
{
    struct signing *s = container_of(r, struct signing, request);

    s->refs++;
    finish(s);
    for (struct list *n; (n = list_pop_front(&s->waiters));)
        tell(list_entry(n, struct load, sign_link), s);
    unref(s);
}

/* --- the question --- */

static struct strview content_of(const struct load *l)
{
    return l->body ? l->body->content : l->read.content.content;
}

/* Messages that came before anything was configured to sign, and our own, say nothing of it in their
 * envelope. */
static void find_domains(struct load *l)
{
    struct envelope *env = &l->env;
    struct strview content = content_of(l);

    if (!env->from_domain.len && content.len >= env->header_bytes)
        dkim_sender_domains(sv(content.ptr, env->header_bytes), &l->arena, &env->from_domain,
                            &env->sender_domain);
}

static struct sign_plan *plan_of(struct load *l)
{
    struct engine *g = l->engine;
    const struct vmta *v = l->queue->vmta;

    find_domains(l);
    return keyring_plan(g->parts.keyring, g->config,
                        &(struct sign_scope){
                            .vmta = sv_of(v->name),
                            .pool = sv_of(v->pool),
                            .pipe = sv_of(g->pipe),
                            .from_domain = l->env.from_domain,
                            .sender_domain = l->env.sender_domain,
                            .options = l->env.dkim_options,
                        });
}

/* Made already, or under way, for another recipient. */
static struct signing *find_made(const struct message *m, const struct sign_plan *plan)
{
    for (struct signing *s = m->signing; s; s = s->next)
        if (s->request.plan == plan && s->status == 0 &&
            (!s->done || clock_wall_ms() - s->made_ms < FRESH_MS))
            return s;
    return NULL;
}

static void fill_request(struct sign_request *r, const struct load *l, struct sign_plan *plan)
{
    const struct envelope *env = &l->env;
    const struct spool_content *c = &l->read.content;
    struct strview hash = plan->body_canon == DKIM_RELAXED ? env->relaxed_hash : env->simple_hash;

    r->plan = plan;
    r->content = content_of(l);
    r->fd = l->body ? -1 : c->fd;
    r->offset = l->body ? 0 : c->fd_offset;
    r->content_bytes = env->content_bytes;
    r->header_bytes = env->header_bytes;
    r->has_body_hash = hash.len == sizeof(r->body_hash);
    if (r->has_body_hash)
        memcpy(r->body_hash, hash.ptr, hash.len);
    r->bimi = env->bimi;
    r->list_taken = env->list_fields;
    r->time_s = clock_wall_ms() / 1000;
    r->done = on_signed;
}

/* Only a message to one recipient can name him; reports and notices (null sender) are of no list.
 * The receiver takes the application's fields out as soon as one pipe replaces them. */
static bool unsubscribes(const struct load *l, const struct sign_plan *plan)
{
    const struct sign_unsubscribe *u = &plan->unsubscribe;

    return u->mode != UNSUBSCRIBE_OFF && l->env.rcpt_count == 1 && l->env.sender.len &&
           l->engine->parts.verp && (u->replace || !l->env.list_fields.len);
}

static void put_unsubscribe(struct signing *s, const struct load *l)
{
    const struct envelope *env = &l->env;
    const struct verp_mail m = {env->job, sv_of(l->queue->vmta->name), env->sender,
                                env->rcpts[0].address};

    if (!unsubscribes(l, s->request.plan))
        return;
    unsubscribe_put(l->engine->parts.verp, &s->request.plan->unsubscribe, &m, &s->list);
    s->request.list = buf_view(&s->list);
}

/* Takes plan. */
static struct signing *start(struct load *l, struct sign_plan *plan)
{
    struct signing *s = xcalloc(1, sizeof(*s));

    s->refs = 1; /* the message's */
    s->made_ms = clock_wall_ms();
    s->next = l->message->signing;
    l->message->signing = s;
    list_init(&s->waiters);
    fill_request(&s->request, l, plan);
    put_unsubscribe(s, l);
    if (sign_request_is_cheap(&s->request)) {
        sign_request_run(&s->request);
        finish(s);
    } else {
        signer_submit(l->engine->parts.signer, &s->request);
    }
    return s;
}

static void fail(struct load *l, const char *trouble)
{
    l->state = LOAD_FAILED;
    l->status = ERR_KEY;
    l->trouble = arena_strdup(&l->arena, trouble);
}

void signing_begin(struct load *l)
{
    l->state = LOAD_READY;
    if (l->queue->vmta->to_pipe) /* which signs it */
        return;
    bool put_back = l->env.bimi.len || l->env.list_fields.len;
    if (!l->engine->parts.signer || (!l->engine->signs && !put_back) || l->queue->local)
        return;
    struct sign_plan *plan = plan_of(l);
    bool nothing = !plan->count && !plan->bimi_selector && !put_back && !unsubscribes(l, plan);
    if (plan->unusable || nothing) {
        if (plan->unusable)
            fail(l, plan->unusable);
        sign_plan_unref(plan);
        return;
    }
    struct signing *s = find_made(l->message, plan);
    if (s)
        sign_plan_unref(plan);
    else
        s = start(l, plan);
    s->refs++;
    l->signing = s;
    l->signed_at_once = s->done;
    if (s->done) {
        take_status(l, s);
        return;
    }
    l->state = LOAD_SIGNING;
    list_push_back(&s->waiters, &l->sign_link);
}
