/*
 * Suppression in a pipe; see suppression.h. Called by intake for each message, by the engine for each
 * bounce, by main.c for table and configuration. What can go wrong: the list is not there yet (the
 * sender is asked to come again, because nobody can say who may be written to); the process that keeps
 * it is down (its last table is still looked at, additions wait in the client). Memory: the table's
 * mapping and the categories.
 */
#include "suppression/suppression.h"

#include "base/clock.h"
#include "base/log.h"
#include "classify/classify.h"
#include "mail/dkim.h"
#include "suppress/table.h"

#include <stdio.h>
#include <unistd.h>

enum mode { MODE_REJECT, MODE_RECORD, MODE_OFF };
enum { WAITED_MS = 1000 }; /* what goes out at once was looked up at once */
enum { CATEGORIES_MAX = 32, TROUBLE_EVERY_MS = 10000 };

struct suppression {
    char *pipe;
    struct suppress_client *client;
    struct suppress_table *table; /* NULL: there was none yet */
    struct config *config;
    struct strview categories[CATEGORIES_MAX]; /* views into config */
    size_t category_count;
    enum suppress_scope scope; /* of bounces */
    int64_t keep_ms;           /* bounces; 0: for ever */
    const struct classify *(*classify)(void *arg);
    void *classify_arg;
    struct suppression_counts counts;
    int64_t tell_ms; /* monotonic; when a loss is logged again */
};

struct suppression *suppression_new(const char *pipe, struct suppress_client *client)
{
    struct suppression *s = xcalloc(1, sizeof(*s));

    s->pipe = xstrdup(pipe);
    s->client = client;
    return s;
}

void suppression_free(struct suppression *s)
{
    if (!s)
        return;
    suppress_table_unmap(s->table);
    config_unref(s->config);
    free(s->pipe);
    free(s);
}

void suppression_set_classify(struct suppression *s, const struct classify *(*fn)(void *arg),
                              void *arg)
{
    s->classify = fn;
    s->classify_arg = arg;
}

const struct suppression_counts *suppression_counts(const struct suppression *s)
{
    return &s->counts;
}

void suppression_configure(struct suppression *s, struct config *cfg)
{
    struct config_query q = {.pipe = sv_of(s->pipe)};
    struct strview rest = sv_of(config_text(cfg, &q, DIR_SUPPRESS_BOUNCES)), one;

    config_unref(s->config);
    s->config = config_ref(cfg);
    s->category_count = 0;
    while (rest.len && s->category_count < CATEGORIES_MAX && sv_split(&rest, ',', &one))
        if ((one = sv_trim(one)).len)
            s->categories[s->category_count++] = one;
    s->scope = (enum suppress_scope)config_number(cfg, &q, DIR_SUPPRESS_BOUNCES_SCOPE);
    s->keep_ms = config_number(cfg, &q, DIR_SUPPRESS_BOUNCES_FOR);
}

void suppression_table(void *arg, int fd, uint64_t bytes)
{
    struct suppression *s = arg;
    struct suppress_table *t;
    struct err e = {0};

    if (suppress_table_map(&t, fd, bytes, &e) < 0) {
        log_error(LOG_MAIN, "%s list is looked at: %s",
                  s->table ? "the old suppression" : "no suppression", e.text);
    } else {
        suppress_table_unmap(s->table);
        s->table = t;
    }
    close(fd);
}

/* --- messages --- */

static enum mode mode_of(const struct suppression *s, const struct envelope *env)
{
    struct config_query q = {.pipe = sv_of(s->pipe), .source = env->source, .user = env->user};
    return (enum mode)config_number(s->config, &q, DIR_SUPPRESSION);
}

struct content {
    struct strview bytes;
    int fd;
};

/* Of a large message the file has it, written a moment ago: in the page cache. */
static struct strview header_of(const struct envelope *env, const struct content *c,
                                struct buf *block)
{
    size_t len = env->header_bytes;

    if (c->fd < 0)
        return sv(c->bytes.ptr, MIN_OF(c->bytes.len, len));
    ssize_t n = pread(c->fd, buf_reserve(block, len), len, 0);
    buf_advance(block, n > 0 ? (size_t)n : 0);
    return buf_view(block);
}

/* The mail's domain is that of the envelope sender or of From: a bounce address often has one of its
 * own. */
static void add_domains(const struct suppress_table *t, const struct envelope *env,
                        const struct content *content, struct suppress_scopes *to)
{
    struct strview envelope = address_domain(env->sender), from = env->from_domain, sender;
    struct arena arena = {0};
    struct buf block = {0};

    if (!suppress_table_count(t, SUPPRESS_DOMAIN))
        return;
    suppress_scopes_add(to, t, SUPPRESS_DOMAIN, envelope);
    if (!from.len)
        dkim_sender_domains(header_of(env, content, &block), &arena, &from, &sender);
    if (from.len && !sv_eq_nocase(from, envelope))
        suppress_scopes_add(to, t, SUPPRESS_DOMAIN, from);
    arena_free(&arena);
    buf_free(&block);
}

static void add_scopes(const struct suppression *s, const struct envelope *env,
                       const struct content *content, struct suppress_scopes *to)
{
    suppress_scopes_add(to, s->table, SUPPRESS_GLOBAL, sv("", 0));
    suppress_scopes_add(to, s->table, SUPPRESS_PIPE, sv_of(s->pipe));
    suppress_scopes_add(to, s->table, SUPPRESS_JOB, env->job);
    add_domains(s->table, env, content, to);
}

static bool look_up_one(const struct suppression *s, const struct suppress_scopes *scopes,
                        struct envelope_rcpt *rcpt, int64_t now)
{
    struct suppress_hit hit;

    if (!suppress_table_find(s->table, scopes, rcpt->address, now, &hit))
        return false;
    rcpt->suppressed = (uint8_t)(1 + hit.reason);
    rcpt->suppressed_scope = (uint8_t)hit.scope;
    return true;
}

static bool look_up(const struct suppression *s, struct envelope *env,
                    const struct content *content, uint32_t *ret_hits)
{
    struct suppress_scopes scopes = {0};
    int64_t now = clock_wall_ms();
    uint32_t hits = 0;

    add_scopes(s, env, content, &scopes);
    for (uint32_t i = 0; scopes.count && i < env->rcpt_count; i++)
        hits += look_up_one(s, &scopes, &env->rcpts[i], now);
    *ret_hits = hits;
    return hits > 0;
}

static void forget(struct envelope *env)
{
    for (uint32_t i = 0; i < env->rcpt_count; i++)
        env->rcpts[i].suppressed = 0;
}

enum suppression_verdict suppression_check(struct suppression *s, struct envelope *env,
                                           struct strview content, int content_fd,
                                           char text[SUPPRESSION_TEXT])
{
    uint32_t hits;

    if (!env->sender.len)
        return SUPPRESSION_NONE;
    if (!s->table)
        return suppress_client_is_loading(s->client) && mode_of(s, env) != MODE_OFF
                   ? SUPPRESSION_UNKNOWN
                   : SUPPRESSION_NONE;
    if (!look_up(s, env, &(struct content){content, content_fd}, &hits))
        return SUPPRESSION_NONE;
    enum mode mode = mode_of(s, env);
    if (mode == MODE_OFF) {
        forget(env);
        return SUPPRESSION_NONE;
    }
    if (mode == MODE_RECORD || hits < env->rcpt_count) {
        s->counts.recorded += hits;
        return SUPPRESSION_SOME;
    }
    const struct envelope_rcpt *r = &env->rcpts[0];
    snprintf(text, SUPPRESSION_TEXT, "5.7.1 %s on the suppression list (%s)",
             hits > 1 ? "All recipients are" : "Recipient is",
             suppress_reason_name((enum suppress_reason)(r->suppressed - 1)));
    s->counts.refused++;
    return SUPPRESSION_ALL;
}

/* Of content that is not in memory the header is not read for this: then the domain of From counts
 * where the envelope has it. */
bool suppression_again(void *arg, struct envelope *env, struct strview content,
                       const uint32_t *rcpts, uint32_t count)
{
    struct suppression *s = arg;
    struct suppress_scopes scopes = {0};
    int64_t now = clock_wall_ms();
    uint32_t hits = 0;

    if (!s->table || !env->sender.len || suppress_table_added_ms(s->table) < env->received_ms ||
        now - env->received_ms < WAITED_MS)
        return false;
    add_scopes(s, env, &(struct content){content, -1}, &scopes);
    for (uint32_t i = 0; scopes.count && i < count; i++)
        hits += look_up_one(s, &scopes, &env->rcpts[rcpts[i]], now);
    if (!hits)
        return false;
    if (mode_of(s, env) == MODE_OFF) {
        forget(env);
        return false;
    }
    s->counts.recorded += hits;
    return true;
}

/* --- bounces --- */

static bool is_fed(const struct suppression *s, const struct outcome *o)
{
    const struct classify *c = s->classify ? s->classify(s->classify_arg) : NULL;
    struct classification k;

    if (!c)
        return false;
    classify_outcome(c, o, &k);
    for (size_t i = 0; i < s->category_count; i++)
        if (sv_eq_nocase(s->categories[i], sv_of(k.category)))
            return true;
    return false;
}

/* Mail without a job or sender has no such scope: then the pipe's is the narrowest there is. */
static void choose_scope(const struct suppression *s, const struct envelope *env,
                         struct suppress_entry *e)
{
    e->scope = s->scope;
    e->scope_name = s->scope == SUPPRESS_DOMAIN ? address_domain(env->sender)
                    : s->scope == SUPPRESS_JOB  ? env->job
                                                : sv_of(s->pipe);
    if (e->scope == SUPPRESS_GLOBAL)
        e->scope_name = sv("", 0);
    else if (!e->scope_name.len)
        *e = (struct suppress_entry){.scope = SUPPRESS_PIPE, .scope_name = sv_of(s->pipe)};
}

void suppression_bounced(void *arg, const struct envelope *env, uint32_t rcpt,
                         const struct outcome *o)
{
    struct suppression *s = arg;
    struct suppress_entry e = {.scope = SUPPRESS_GLOBAL};

    if (!s->category_count || o->phase < PHASE_MAIL || !is_fed(s, o))
        return;
    choose_scope(s, env, &e);
    e.reason = SUPPRESS_BY_BOUNCE;
    e.address = env->rcpts[rcpt].address;
    e.expires_ms = s->keep_ms ? clock_wall_ms() + s->keep_ms : 0;
    e.note = o->text;
    int code = suppress_client_add(s->client, &e, NULL, NULL);
    if (code == 0) {
        s->counts.fed++;
        return;
    }
    s->counts.lost++;
    if (clock_mono_ms() < s->tell_ms)
        return;
    s->tell_ms = clock_mono_ms() + TROUBLE_EVERY_MS;
    log_warn(LOG_QUEUE, "bounced address not put on the suppression list rcpt=<%s>: %s",
             log_safe(e.address.ptr, e.address.len, 254), err_name(code));
}
