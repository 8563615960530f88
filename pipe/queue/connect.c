/*
 * One more connection for a queue. Called by scheduler.c when it is the queue's turn and its route
 * is known.
 *
 * Each source address is asked in turn, beginning behind the one that had the last connection: its
 * plan of hosts, then what limits say. What is granted is taken at once: the places of the
 * connection, and where rates hold, a recipient in advance (credit), so that nobody connects for a
 * message that may not go. When no address may, the queue stands in line where there will be room
 * first. When there is no host at all, for now or for good, the queue as a whole has that outcome.
 */
#include "queue/connect.h"

#include "base/clock.h"
#include "queue/engine_int.h"
#include "queue/host_plan.h"

#include <stdio.h>

enum { SOON_US = 1000000 };

static struct outcome dns_outcome(enum outcome_class c, uint16_t subject, uint16_t detail,
                                  struct strview text)
{
    return (struct outcome){
        .class_ = c,
        .phase = PHASE_DNS,
        .enhanced = {c == OUTCOME_DEFERRED ? 4 : 5, subject, detail},
        .text = text,
        .connect_ms = -1,
        .transmit_ms = -1,
    };
}

/* No address to connect to: the DNS says no for good (bounce all), or for now. */
static void no_address(struct engine *g, struct queue *q, const struct route *r)
{
    struct strview text = r && r->text ? sv_of(r->text) : SV("no address of the right family");
    struct outcome o;

    switch (r ? r->status : ROUTE_NO_HOST) {
    case ROUTE_NO_DOMAIN:
        o = dns_outcome(OUTCOME_BOUNCED, 1, 2, text);
        break;
    case ROUTE_NULL_MX:
        o = dns_outcome(OUTCOME_BOUNCED, 1, 10, text);
        break;
    case ROUTE_NO_HOST:
        o = dns_outcome(OUTCOME_BOUNCED, 4, 4, text);
        break;
    default:
        o = dns_outcome(OUTCOME_DEFERRED, 4, 3, text);
        settle_queue_failure(g, q, &o);
        return;
    }
    finisher_queue(g, q, &o);
}

/* TLS to none of the hosts would be good enough. For mail with REQUIRETLS that is the end (RFC 8689
 * section 4.2.1). */
static void no_secure_host(struct engine *g, struct queue *q, const char *why, bool may_change)
{
    bool final = q->ask == TLS_ASK_REQUIRETLS && !may_change;
    struct outcome o = {
        .class_ = final ? OUTCOME_BOUNCED : OUTCOME_DEFERRED,
        .phase = PHASE_STARTTLS,
        .enhanced = {4, 7, 5},
        .text = sv_of(why),
        .connect_ms = -1,
        .transmit_ms = -1,
    };

    if (final) {
        o.enhanced = (struct enhanced_code){5, 7, 30};
        finisher_queue(g, q, &o);
    } else {
        settle_queue_failure(g, q, &o);
    }
}

/* --- what limits say --- */

/* Where to wait when several addresses were refused: at the rate that has room first; a place that
 * somebody holds may come at any time, so it is waited for unless the rate has room in a moment. */
static struct limit *better_line(struct limit *a, struct limit *b)
{
    struct limit_level x, y;

    if (!a || !b)
        return a ? a : b;
    int64_t now = clock_wall_us();
    limit_level(a, now, &x);
    limit_level(b, now, &y);
    if (a->measure == LIMIT_CONNECTIONS || b->measure == LIMIT_CONNECTIONS) {
        const struct limit_level *rate = a->measure == LIMIT_CONNECTIONS ? &y : &x;
        bool soon = rate->free_now || rate->next_us - now <= SOON_US;
        bool a_is_rate = a->measure != LIMIT_CONNECTIONS;
        if (a_is_rate == (b->measure != LIMIT_CONNECTIONS))
            return a;
        return soon == a_is_rate ? a : b;
    }
    return y.next_us < x.next_us ? b : a;
}

/* A recipient in advance where rates hold. */
static bool take_credit(const struct queue *q, struct sender_places *p, struct limit **ret_full)
{
    bool has_rate = false;

    *ret_full = scheduler_line_before(q, p->set.items, p->set.count);
    if (*ret_full)
        return false;
    for (size_t i = 0; i < p->set.count && !has_rate; i++)
        has_rate = limit_is_rate(p->set.items[i]);
    if (!has_rate)
        return true;
    p->credit = limits_take(p->set.items, p->set.count, 1, ret_full);
    return p->credit != 0;
}

/* Places for a connection to this host, or none. */
static bool take_places(struct engine *g, struct queue *q, const struct vmta_source *source,
                        const struct delivery_host *host, struct sender_places *p,
                        struct limit **ret_full)
{
    struct limit *all[2 * THROTTLE_MAX];
    size_t n = p->set.count;

    throttle_gather_host(g, q, source, host, &p->host_set);
    *ret_full = scheduler_line_before(q, p->host_set.items, p->host_set.count);
    if (!*ret_full) {
        memcpy(all, p->set.items, n * sizeof(all[0]));
        memcpy(all + n, p->host_set.items, p->host_set.count * sizeof(all[0]));
        if (limits_connect(all, n + p->host_set.count, ret_full))
            return true;
    }
    return false;
}

/* Opens a connection from this source, to the first host of the plan that has a place. Otherwise
 * *line is where to wait, with a reference. */
static bool connect_from(struct engine *g, struct queue *q, const struct vmta_source *source,
                         struct host_plan *plan, struct limit **line, bool *ret_host)
{
    struct sender_places p = {.hosts_missing = plan->skipped || plan->may_change};
    struct limit *full = NULL, *first = NULL;
    bool opened = false;

    throttle_gather(g, q, source, NULL, &p.set);
    bool may = take_credit(q, &p, &full);
    for (size_t i = 0; may && i < plan->count && !opened; i++) {
        opened = take_places(g, q, source, &plan->hosts[i], &p, &full);
        if (opened) {
            host_plan_begin_with(plan, i);
            break;
        }
        bool of_host = throttle_set_has(&p.host_set, full);
        *ret_host |= of_host;
        if (!first) {
            first = full;
            first->refs++;
        }
        throttle_set_fini(&p.host_set);
        if (!of_host)
            break;
    }
    if (opened) {
        sender_open(g, q, source, plan->hosts, plan->count, &p);
    } else {
        limits_refund(p.set.items, p.set.count, p.credit);
        if (!first) {
            first = full;
            first->refs++;
        }
        struct limit *at = better_line(*line, first);
        limit_unref(at == first ? *line : first);
        *line = at;
        throttle_set_fini(&p.set);
        return false;
    }
    limit_unref(first);
    return true;
}

bool connect_queue(struct engine *g, struct queue *q)
{
    const struct route *worst = NULL;
    struct limit *line = NULL;
    size_t planned = 0;
    bool opened = false, of_host = false, skipped = false, asked = false, may_change = false;
    char insecure[TLS_WHY_SIZE] = "";

    for (size_t i = 0; i < q->vmta->source_count && !opened; i++) {
        const struct vmta_source *source =
            &q->vmta->sources[(q->vmta->turn + i) % q->vmta->source_count];
        struct host_plan plan = {0};
        if (react_source_disabled(q, source))
            continue;
        asked = true;
        host_plan_make(q, source, &plan);
        planned += plan.count;
        skipped |= plan.skipped;
        may_change |= plan.may_change;
        if (plan.insecure)
            snprintf(insecure, sizeof(insecure), "%s", plan.why);
        if (!plan.count)
            worst = plan.worst;
        else
            opened = connect_from(g, q, source, &plan, &line, &of_host);
        host_plan_free(&plan);
        if (opened)
            q->vmta->turn += i + 1;
    }
    if (!planned && skipped)
        react_all_hosts_skipped(g, q);
    else if (!planned && insecure[0])
        no_secure_host(g, q, insecure, may_change);
    else if (!planned && asked)
        no_address(g, q, worst);
    else if (!planned)
        return false; /* every source is disabled */
    else if (!opened && of_host)
        scheduler_wait_host(g, q, line);
    else if (!opened)
        scheduler_wait(g, q, line);
    limit_unref(line);
    return opened;
}
