/*
 * One notice on its way: gathering, its turn, the message read back, the letter written, stored,
 * and then the end of the recipients that it is about.
 *
 * The order on disk is the promise: a notice of failure is durable before the journal record that
 * ends its recipient. A notice of success goes into the same or an earlier commit than the journal
 * record of the delivery, which follows at once: mail is not delivered twice for the sake of a notice.
 *
 * When the message itself cannot be read any more (damaged, set aside by the spool), its recipients
 * leave the index as everywhere else. Memory: a note is freed when nothing of it is under way;
 * given up by a forced drain it only waits for its read or append.
 */
#include "dsn/dsn_int.h"

#include "base/clock.h"
#include "base/log.h"
#include "classify/classify.h"
#include "queue/signing.h"

#include <stdio.h>
#include <unistd.h>

enum {
    STORE_AGAIN_MS = 5000,
    READ_AGAIN_MS = 60000,
};

struct dsn_note *dsn_note_new(struct dsn *d, struct message *m, enum dsn_kind kind)
{
    struct dsn_note *n = xcalloc(1, sizeof(*n));

    n->dsn = d;
    n->spool = engine_spool(d->engine);
    n->message = m;
    n->id = m->id;
    n->kind = kind;
    n->config = config_ref(d->config);
    message_pin(m);
    list_push_back(&d->notes, &n->link);
    d->note_count++;
    return n;
}

static struct strview copy(struct arena *a, struct strview s)
{
    return s.len ? arena_sv(a, s) : sv("", 0);
}

void dsn_note_add(struct dsn_note *n, const struct dsn_owed *owed)
{
    if (n->count == n->cap) {
        n->cap = n->cap ? n->cap * 2 : 1;
        n->owed = xrealloc(n->owed, n->cap * sizeof(*n->owed));
    }
    struct dsn_owed *x = &n->owed[n->count++];
    struct outcome *o = &x->outcome;
    *x = *owed;
    o->text = copy(&n->arena, o->text);
    o->peer_host = copy(&n->arena, o->peer_host);
    o->peer_ip = copy(&n->arena, o->peer_ip);
    o->local_ip = copy(&n->arena, o->local_ip);
    o->esmtp = o->esmtp ? arena_strdup(&n->arena, o->esmtp) : NULL;
    o->tls = arena_strdup(&n->arena, o->tls ? o->tls : "");
    o->tls_verify = arena_strdup(&n->arena, o->tls_verify ? o->tls_verify : "");
}

static void free_memory(struct dsn_note *n)
{
    config_unref(n->config);
    own_mail_fini(&n->mail);
    arena_free(&n->arena);
    free(n->owed);
    free(n);
}

static bool is_working(const struct dsn_note *n)
{
    return n->state == NOTE_READING || n->state == NOTE_STORING;
}

static void leave(struct dsn_note *n, enum dsn_note_state to)
{
    struct dsn *d = n->dsn;

    d->working -= is_working(n);
    n->state = to;
    d->working += is_working(n);
}

static void end(struct dsn_note *n)
{
    struct dsn *d = n->dsn;
    struct engine *g = d->engine;

    leave(n, NOTE_WAITING);
    list_remove(&n->link);
    d->note_count--;
    message_unpin(&g->index, n->message);
    free_memory(n);
    if (d->note_count == DSN_SOFT_MAX - 1 || g->draining)
        scheduler_want_turn(g); /* who waited: finishers, or the drain */
    if (d->note_count > d->working)
        dsn_arm(d, clock_mono_ms());
}

static void again(struct dsn_note *n, int64_t in_ms)
{
    leave(n, NOTE_WAITING);
    n->due_ms = clock_mono_ms() + in_ms;
    dsn_arm(n->dsn, n->due_ms);
}

/* --- the end of recipients --- */

static void settle(struct dsn_note *n, const struct envelope *env)
{
    for (size_t i = 0; i < n->count && !n->settled; i++)
        if (n->owed[i].entry)
            settle_decided(n->dsn->engine, n->owed[i].entry, env, &n->owed[i].outcome,
                           &n->owed[i].rule);
    n->settled = true;
}

/* The spool set the record aside: its recipients are in its books already. */
static void drop_damaged(struct dsn_note *n)
{
    struct engine *g = n->dsn->engine;
    struct message *m = n->message;

    for (size_t i = 0; i < n->count && !n->settled; i++) {
        struct entry *e = n->owed[i].entry;
        if (!e)
            continue;
        e->queue->live--;
        index_entry_done(&g->index, e);
    }
    if (!m->live) {
        body_unref(m->body);
        m->body = NULL;
        signing_forget(m);
    }
}

/* --- writing --- */

static const char *text_of(const struct dsn_note *n, const struct config_query *q, enum directive d)
{
    const char *text = config_text(n->dsn->config, q, d);
    return text && *text ? text : NULL;
}

static const char *host_of(const struct dsn_note *n)
{
    struct config_query q = {.vmta = sv_of(n->owed[0].vmta)};
    const char *own = text_of(n, &q, DIR_HOST_NAME);
    return own ? own : n->dsn->host;
}

static void choose_templates(const struct dsn_note *n, struct dsn_letter *l)
{
    static const struct {
        enum directive from, subject, body;
    } of[DSN_KIND_COUNT] = {
        [DSN_FAILED] = {DIR_DSN_FAILED_FROM_TEMPLATE, DIR_DSN_FAILED_SUBJECT_TEMPLATE,
                        DIR_DSN_FAILED_BODY_TEMPLATE},
        [DSN_DELAYED] = {DIR_DSN_DELAYED_FROM_TEMPLATE, DIR_DSN_DELAYED_SUBJECT_TEMPLATE,
                         DIR_DSN_DELAYED_BODY_TEMPLATE},
        [DSN_RELAYED] = {DIR_DSN_DELIVERED_FROM_TEMPLATE, DIR_DSN_DELIVERED_SUBJECT_TEMPLATE,
                         DIR_DSN_DELIVERED_BODY_TEMPLATE},
    };
    struct config_query q = {.pipe = sv_of(l->pipe)};

    l->from = text_of(n, &q, of[n->kind].from);
    if (!l->from)
        l->from = text_of(n, &q, DIR_CUSTOM_DSN_FROM_HEADER);
    l->subject = text_of(n, &q, of[n->kind].subject);
    l->body = text_of(n, &q, of[n->kind].body);
    const char *to = n->kind == DSN_FAILED ? text_of(n, &q, DIR_DSN_COPY_TO) : NULL;
    l->copy_to = sv_of(to);
    struct config_query about = {.domain = address_domain(l->env->sender), .pipe = q.pipe};
    l->plain_text = config_number(n->dsn->config, &about, DIR_DSN_FORMAT) == 1;
}

/* RET, or what the source says for want of it. Only failures return all of a message (RFC 3461
 * section 4.3), and never one that was to travel under TLS alone (RFC 8689 section 5). */
static bool returns_all(const struct dsn_note *n, const struct envelope *env)
{
    struct config_query pipe = {.pipe = sv_of(engine_pipe(n->dsn->engine))};
    const struct config *cfg = n->dsn->config;

    if (n->kind != DSN_FAILED || (env->flags & ENVELOPE_REQUIRETLS) || env->ret == RET_HDRS ||
        env->content_bytes > (uint64_t)config_number(cfg, &pipe, DIR_DSN_RETURN_MAX_SIZE))
        return false;
    return env->ret == RET_FULL || dsn_of_source(n->dsn, env, DIR_DSN_RETURN_DEFAULT)->number == 1;
}

static void fill_rcpts(struct dsn_note *n, const struct envelope *env, struct dsn_letter_rcpt *r)
{
    const struct classify *c = report_classify(n->dsn->engine->report);

    for (size_t i = 0; i < n->count; i++) {
        const struct dsn_owed *x = &n->owed[i];
        struct classification k = {0};
        if (c && x->outcome.class_ != OUTCOME_DELIVERED)
            classify_outcome(c, &x->outcome, &k);
        r[i] = (struct dsn_letter_rcpt){
            .address = env->rcpts[x->rcpt].address,
            .orcpt = env->rcpts[x->rcpt].orcpt,
            .outcome = &x->outcome,
            .attempts = x->attempts,
            .last_ms = x->last_ms,
            .category = k.category,
            .vmta = x->vmta,
            .number = x->rcpt,
        };
    }
}

/* Nobody who sends mail through us can guess it, so no content can hold it. */
static void make_boundary(const struct dsn_note *n, char out[80])
{
    struct {
        message_id id;
        int64_t us;
        uint64_t serial;
    } what = {n->id, clock_wall_us(), n->dsn->serial};

    snprintf(out, 80, "=_report_%016llx", (unsigned long long)hash_bytes(&what, sizeof(what)));
}

static void write_letter(struct dsn_note *n, const struct envelope *env, struct strview header,
                         struct strview content)
{
    struct dsn *d = n->dsn;
    struct dsn_letter_rcpt *rcpts = arena_alloc(&n->arena, n->count * sizeof(*rcpts));
    char boundary[80], id[MESSAGE_ID_SIZE], own_id[400];
    const char *host = host_of(n);

    d->serial++;
    make_boundary(n, boundary);
    message_id_format(n->id, id);
    snprintf(own_id, sizeof(own_id), "dsn.%s.%lld.%llu@%s", id, (long long)clock_wall_us(),
             (unsigned long long)d->serial, host);
    fill_rcpts(n, env, rcpts);
    struct dsn_letter l = {
        .kind = n->kind,
        .host = host,
        .pipe = engine_pipe(d->engine),
        .boundary = boundary,
        .message_id = own_id,
        .id = id,
        .env = env,
        .header = header,
        .content = returns_all(n, env) ? content : sv(NULL, 0),
        .rcpts = rcpts,
        .rcpt_count = n->count,
        .bounce_after_ms = n->owed[0].bounce_after_ms,
        .next_ms = n->owed[0].next_ms,
        .held = n->held,
    };
    choose_templates(n, &l);
    dsn_letter_write(&l, &n->mail.arena, &n->mail.content, &n->mail.env);
    n->written = true;
}

/* --- storing --- */

static void tell(const struct dsn_note *n)
{
    char own[MESSAGE_ID_SIZE], id[MESSAGE_ID_SIZE];
    struct strview to = n->mail.env.rcpts[0].address;

    log_info(LOG_QUEUE, "delivery notice id=%s about=%s to=%s action=%s recipients=%zu",
             message_id_format(n->mail.append.id, own), message_id_format(n->id, id),
             log_safe(to.ptr, to.len, 320), dsn_kind_name(n->kind), n->count);
}

/* The envelope is read again for the records: it was not kept while the disk was busy. */
static void settle_stored(struct dsn_note *n);

static void on_stored(struct own_mail *mail, int status)
{
    struct dsn_note *n = container_of(mail, struct dsn_note, mail);
    struct dsn *d = n->dsn;

    if (!d) { /* given up: after a restart what it is about ends again */
        free_memory(n);
        return;
    }
    if (status < 0 && n->kind == DSN_FAILED) {
        if (!d->is_stuck)
            log_warn(LOG_QUEUE,
                     "delivery notices cannot be stored, their recipients stay undecided until "
                     "they can reason='%s'",
                     err_name(status));
        d->is_stuck = true;
        again(n, STORE_AGAIN_MS);
        return;
    }
    if (status < 0) {
        d->stats.lost++;
        log_warn(LOG_QUEUE, "delivery notice lost reason='%s'", err_name(status));
    } else {
        if (d->is_stuck)
            log_info(LOG_QUEUE, "delivery notices can be stored again");
        d->is_stuck = false;
        d->stats.sent[n->kind]++;
        tell(n);
        own_mail_accept(mail, d->engine);
        settle_stored(n);
    }
    if (n->watch)
        dsn_delay_over(n, status == 0);
    end(n);
}

static void settle_stored(struct dsn_note *n)
{
    struct arena arena = {0};
    struct envelope env;

    if (!n->settled && envelope_decode(n->read.content.envelope, &arena, &env, NULL) == 0)
        settle(n, &env);
    arena_free(&arena);
}

static const char *other_pipe(const struct dsn_note *n)
{
    const char *own = engine_pipe(n->dsn->engine);
    struct config_query q = {.pipe = sv_of(own)};
    const char *to = text_of(n, &q, DIR_DSN_PIPE);

    return to && !sv_eq_nocase(sv_of(to), sv_of(own)) ? to : NULL;
}

static void store(struct dsn_note *n)
{
    leave(n, NOTE_STORING);
    n->mail.stored = on_stored;
    own_mail_store(&n->mail, n->dsn->engine, other_pipe(n));
}

/* --- reading --- */

/* The envelope outlives the read, for the records. */
static void keep_envelope(struct dsn_note *n, struct strview envelope)
{
    n->read.content.envelope = arena_sv(&n->arena, envelope);
}

static void use(struct dsn_note *n, const struct envelope *env, struct strview header,
                struct strview content)
{
    if (n->kind == DSN_DELAYED)
        dsn_delay_gather(n, env);
    if (!n->count) { /* nobody waits any more, or it was held back */
        dsn_delay_over(n, true);
        end(n);
        return;
    }
    write_letter(n, env, header, content);
    store(n);
    if (n->kind == DSN_RELAYED)
        settle(n, env);
}

/* A large message stays in its file, which was read a moment ago to be verified. */
static struct strview read_header(const struct spool_content *c, size_t bytes, struct arena *a)
{
    char *p;

    if (c->fd < 0)
        return sv(c->content.ptr, MIN_OF(bytes, c->content.len));
    p = arena_alloc(a, bytes + 1);
    ssize_t n = pread(c->fd, p, bytes, (off_t)c->fd_offset);
    return sv(p, n > 0 ? (size_t)n : 0);
}

static void arrived(struct dsn_note *n, const struct spool_content *c)
{
    struct arena arena = {0};
    struct envelope env;
    int status = envelope_decode(c->envelope, &arena, &env, NULL);

    for (size_t i = 0; status == 0 && i < n->count; i++)
        if (n->owed[i].rcpt >= env.rcpt_count)
            status = ERR_CORRUPT;
    if (status == 0) {
        struct strview header = read_header(c, env.header_bytes, &arena);
        keep_envelope(n, c->envelope);
        use(n, &env, header, c->content);
    } else {
        drop_damaged(n);
        dsn_delay_over(n, true);
        end(n);
    }
    arena_free(&arena);
}

static void on_read(struct spool_read *r, int status)
{
    struct dsn_note *n = container_of(r, struct dsn_note, read);
    struct spool *spool = n->spool;
    struct spool_content content = r->content;

    if (!n->dsn) {
        free_memory(n);
    } else if (status == 0) {
        arrived(n, &content);
    } else if (status == ERR_CORRUPT) {
        drop_damaged(n);
        dsn_delay_over(n, true);
        end(n);
    } else {
        log_warn(LOG_QUEUE,
                 "message for a delivery notice cannot be read, trying again reason='%s'",
                 err_name(status));
        again(n, READ_AGAIN_MS);
    }
    if (status == 0)
        spool_content_release(spool, &content);
}

static void begin(struct dsn_note *n)
{
    struct config_query q = {.pipe = sv_of(engine_pipe(n->dsn->engine))};
    struct message *m = n->message;

    if (n->written) {
        store(n);
        return;
    }
    leave(n, NOTE_READING);
    if (m->body) {
        struct body *b = body_ref(m->body);
        arrived(n,
                &(struct spool_content){.envelope = b->envelope, .content = b->content, .fd = -1});
        body_unref(b);
        return;
    }
    n->read = (struct spool_read){.done = on_read, .id = m->id};
    spool_read(n->spool, m->id, &m->place,
               (size_t)config_number(n->dsn->config, &q, DIR_DSN_RETURN_MAX_SIZE), &n->read);
}

/* --- all of them --- */

void dsn_notes_run(struct dsn *d)
{
    int64_t now = clock_mono_ms();

    list_for_each_safe (l, &d->notes) {
        struct dsn_note *n = list_entry(l, struct dsn_note, link);
        if (d->working >= DSN_WORKING_MAX)
            return;
        bool hurry = d->engine->draining && n->state == NOTE_GATHERING;
        if (!is_working(n) && (n->due_ms <= now || hurry))
            begin(n);
    }
}

/* Those that wait for a place among the working ones are looked at when one ends. */
int64_t dsn_notes_next_ms(const struct dsn *d)
{
    int64_t next = INT64_MAX;

    if (d->working >= DSN_WORKING_MAX)
        return INT64_MAX;
    list_for_each (l, &d->notes) {
        const struct dsn_note *n = list_entry(l, const struct dsn_note, link);
        if (is_working(n))
            continue;
        next = MIN_OF(next, n->due_ms);
        if (n->state == NOTE_GATHERING)
            return next; /* those behind it came later */
    }
    return next;
}

void dsn_notes_give_up(struct dsn *d)
{
    list_for_each_safe (l, &d->notes) {
        struct dsn_note *n = list_entry(l, struct dsn_note, link);
        bool working = is_working(n);
        list_remove(&n->link);
        d->note_count--;
        n->dsn = NULL;
        free(n->watch);
        if (!working)
            free_memory(n);
    }
    d->working = 0;
}
