/*
 * See watch.h. Called when a configuration was taken over. One check at a time, one slice of one
 * group after the other, on the loop; addresses that are not of the Internet are left out, and what
 * the DNS did not answer is passed over in silence: a machine without DNS has other worries.
 */
#include "check/watch.h"

#include "base/log.h"

struct watch {
    uv_timer_t timer;
    struct routes *routes;
    struct arena arena; /* of the round */
    struct watch_group *groups;
    size_t count;
    size_t group, at; /* the next slice */
    struct check *check;
    unsigned lines, left_out;
    unsigned rounds;
    bool is_closing;
};

struct watch *watch_new(uv_loop_t *loop, struct routes *routes)
{
    struct watch *w = xcalloc(1, sizeof(*w));

    w->routes = routes;
    uv_timer_init(loop, &w->timer);
    w->timer.data = w;
    return w;
}

static void give_up(struct watch *w)
{
    uv_timer_stop(&w->timer);
    check_cancel(w->check);
    w->check = NULL;
    arena_free(&w->arena);
    w->arena = (struct arena){0};
    w->count = w->group = w->at = 0;
    w->lines = w->left_out = 0;
}

static void on_closed(uv_handle_t *h)
{
    free(h->data);
}

void watch_free(struct watch *w)
{
    if (!w || w->is_closing)
        return;
    w->is_closing = true;
    give_up(w);
    uv_close((uv_handle_t *)&w->timer, on_closed);
}

unsigned watch_rounds(const struct watch *w)
{
    return w->rounds;
}

/* --- what is told --- */

static bool take_line(struct watch *w)
{
    if (w->lines < WATCH_LINES) {
        w->lines++;
        return true;
    }
    w->left_out++;
    return false;
}

static bool is_wrong(const struct check_finding *f)
{
    return f->level >= CHECK_LEVEL_WARN && !f->is_passing;
}

static void tell_name(struct watch *w, const struct check_finding *f)
{
    if (take_line(w))
        log_warn(LOG_DNS, "reverse name of %s: %s; %s, mail is sent all the same", f->subject,
                 f->text, f->advice ? f->advice : "see pmtactl check sender");
}

/* One line for all addresses that a domain's record leaves out. */
static void tell_spf(struct watch *w, const char *domain, const struct check_finding *const *all,
                     size_t count)
{
    const struct check_finding *first = NULL;
    size_t wrong = 0;

    for (size_t i = 0; i < count; i++) {
        if (!is_wrong(all[i]))
            continue;
        first = first ? first : all[i];
        wrong++;
    }
    if (first && take_line(w))
        log_warn(LOG_DNS,
                 "SPF of '%s' does not let %zu of %zu source addresses pass, as %s: %s; see "
                 "pmtactl check sender %s, mail is sent all the same",
                 domain, wrong, count, first->subject, first->text, domain);
}

/* --- the round --- */

static void next_slice(struct watch *w);

static void on_done(struct check *c, void *arg)
{
    struct watch *w = arg;
    const char *domain = w->groups[w->group].domain;
    size_t count;
    const struct check_finding *const *all = check_findings(c, &count);

    w->check = NULL; /* it goes by itself */
    if (domain)
        tell_spf(w, domain, all, count);
    for (size_t i = 0; i < count && !domain; i++)
        if (is_wrong(all[i]))
            tell_name(w, all[i]);
    w->at += WATCH_SLICE;
    next_slice(w);
}

static void next_slice(struct watch *w)
{
    while (w->group < w->count && w->at >= w->groups[w->group].count) {
        w->group++;
        w->at = 0;
    }
    if (w->group == w->count) {
        if (w->left_out)
            log_warn(LOG_DNS,
                     "and %u more about reverse names and SPF, see pmtactl check sender DOMAIN",
                     w->left_out);
        w->rounds++;
        return;
    }
    const struct watch_group *g = &w->groups[w->group];
    struct check_request req = {
        .domain = sv_of(g->domain),
        .sources = g->sources + w->at,
        .source_count = MIN_OF(g->count - w->at, (size_t)WATCH_SLICE),
        .topics = 1u << (g->domain ? CHECK_SPF : CHECK_NAMES),
        .parallel = WATCH_PARALLEL,
    };
    w->check = check_start(w->timer.loop, w->routes, &req, on_done, w);
}

static void on_timer(uv_timer_t *t)
{
    next_slice(t->data);
}

static void copy_group(struct watch *w, const struct watch_group *from, struct watch_group *to)
{
    to->domain = from->domain ? arena_strdup(&w->arena, from->domain) : NULL;
    to->count = 0;
    to->sources = arena_alloc(&w->arena, (from->count + 1) * sizeof(to->sources[0]));
    for (size_t i = 0; i < from->count; i++) {
        const struct check_source *s = &from->sources[i];
        if (s->ip.ss_family && check_is_public(&s->ip))
            to->sources[to->count++] = (struct check_source){
                arena_strdup(&w->arena, s->vmta), s->ip, arena_strdup(&w->arena, s->helo)};
    }
}

void watch_start(struct watch *w, const struct watch_group *groups, size_t count, uint64_t delay_ms)
{
    give_up(w);
    w->groups = arena_alloc(&w->arena, (count + 1) * sizeof(w->groups[0]));
    w->count = count;
    for (size_t i = 0; i < count; i++)
        copy_group(w, &groups[i], &w->groups[i]);
    uv_timer_start(&w->timer, on_timer, delay_ms, 0);
}
