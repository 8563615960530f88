/*
 * TLS reports; see tlsrpt.h. Called by the engine once per connection and host when the configuration
 * says so; the work of the night is done by a timer.
 *
 * A domain and day is an entry: counts as JSON objects, one per policy, changed in place. When it is
 * met first, the domain is asked whether it wants reports (TXT at _smtp._tls.DOMAIN): if not, the
 * entry stays without counts until the day is over, so that it is not asked again. After midnight
 * (UTC) and a delay of its own the domain is asked once more, and the report goes to the places that
 * it names (send.c). What can go wrong: no answer, a full or closed spool, a web server that does not
 * take it; then it is tried again, for a day. Memory: an entry goes in drop_entry alone, after its
 * lookup and its posts are cancelled.
 */
#include "tlsrpt/tlsrpt.h"

#include "base/clock.h"
#include "base/log.h"
#include "state/saver.h"
#include "tlsrpt/send.h"

#include <stdio.h>
#include <unistd.h>

enum {
    DAY_MS = 86400 * 1000,
    TICK_MS = 60 * 1000,
    SAVE_MS = 60 * 1000,
    AGAIN_MIN_MS = 5 * 60 * 1000, /* doubling */
    AGAIN_MAX_MS = 4 * 3600 * 1000,
    POLICY_TEXT_MAX = 2048,
    POLICY_MX_MAX = 16,
    PER_TICK = 100, /* reports begun in one turn of the timer */
};

enum entry_wish { WISH_UNKNOWN, WISH_YES, WISH_NO };

struct day_entry {
    struct hash_node node; /* tlsrpt.entries */
    struct tlsrpt *t;
    struct lookup lookup;
    bool asking;
    bool sending; /* the answer decides where the report goes, or it is going there */
    struct tlsrpt_sending *places; /* of the last attempt; or NULL */
    enum entry_wish wish;
    int64_t day;
    int64_t due_ms; /* wall */
    unsigned tries;
    int64_t first_ms; /* wall; of the first failed attempt */
    json_t *policies; /* {"policy": RFC 8460, "ok": n, "failed": n, "details": […]} */
    char domain[];
};

struct tlsrpt {
    struct tlsrpt_outlet *outlet;
    struct hash entries;
    uv_timer_t timer;
    struct saver saver;
    bool is_open, closing;
    bool enabled;
    uint32_t refs; /* the room itself, its timer */
    char host[256];
    char *contact, *from, *dir;
    uint64_t uncounted; /* sessions beyond TLSRPT_MAX_DOMAINS */
};

struct entry_key {
    struct strview domain;
    int64_t day;
};

static bool entry_match(const struct hash_node *n, const void *key)
{
    const struct day_entry *e = container_of(n, const struct day_entry, node);
    const struct entry_key *k = key;
    return e->day == k->day && sv_eq(sv_of(e->domain), k->domain);
}

static uint64_t key_hash(const struct entry_key *k)
{
    return hash_bytes(k->domain.ptr, k->domain.len) ^ (uint64_t)k->day;
}

/* --- entries --- */

static struct day_entry *add_entry(struct tlsrpt *t, const struct entry_key *k)
{
    struct day_entry *e = xcalloc(1, sizeof(*e) + k->domain.len + 1);

    memcpy(e->domain, k->domain.ptr, k->domain.len);
    e->t = t;
    e->day = k->day;
    e->due_ms = (k->day + 1) * DAY_MS + (int64_t)(key_hash(k) % TLSRPT_SPREAD_MS);
    e->policies = json_array();
    hash_insert(&t->entries, &e->node, key_hash(k));
    return e;
}

static void drop_entry(struct day_entry *e)
{
    if (e->asking)
        lookup_cancel(&e->lookup);
    hash_remove(&e->t->entries, &e->node);
    tlsrpt_sending_fini(e->places);
    free(e->places);
    json_decref(e->policies);
    free(e);
}

static void on_record(struct lookup *l, const struct lookup_result *r);

static void ask(struct day_entry *e)
{
    char name[300];

    if (e->asking)
        return;
    snprintf(name, sizeof(name), "_smtp._tls.%s", e->domain);
    e->asking = true;
    e->lookup = (struct lookup){.done = on_record, .owner = e};
    lookup_start(e->t->outlet->routes, &e->lookup, LOOKUP_TXT, sv_of(name));
}

/* --- counting --- */

static json_t *text_json(struct strview s)
{
    bool has_nul = s.len && memchr(s.ptr, 0, s.len); /* would not be read again */
    json_t *j = has_nul ? NULL : json_stringn(s.ptr ? s.ptr : "", s.len);
    return j ? j : json_string("?"); /* nor what is not UTF-8 */
}

static json_t *sts_json(const struct sts_policy *p, struct strview domain)
{
    json_t *lines = json_array(), *mx = json_array();
    struct strview rest = p->text, line;

    /* long ones are cut: what is kept of 4,000 domains has to have an end */
    rest.len = MIN_OF(rest.len, (size_t)POLICY_TEXT_MAX);
    while (sv_split(&rest, '\n', &line))
        if (sv_trim(line).len)
            json_array_append_new(lines, text_json(sv_trim(line)));
    for (size_t i = 0; i < p->mx_count && i < POLICY_MX_MAX; i++)
        json_array_append_new(mx, text_json(p->mx[i]));
    return json_pack("{s:s, s:o, s:o, s:o}", "policy-type", "sts", "policy-string", lines,
                     "policy-domain", text_json(domain), "mx-host", mx);
}

static json_t *tlsa_json(const struct tls_policy *p, const char *host, struct strview domain)
{
    json_t *lines = json_array();

    for (size_t i = 0; p && i < p->dane_count; i++) {
        const struct dane_host *d = &p->dane[i];
        if (!sv_eq_nocase(d->host, sv_of(host)))
            continue;
        for (size_t k = 0; k < d->count; k++) {
            struct buf b = {0};
            buf_printf(&b, "%u %u %u ", d->records[k].usage, d->records[k].selector,
                       d->records[k].matching);
            for (size_t n = 0; n < d->records[k].data.len; n++)
                buf_printf(&b, "%02x", (unsigned char)d->records[k].data.ptr[n]);
            json_array_append_new(lines, text_json(buf_view(&b)));
            buf_free(&b);
        }
    }
    return json_pack("{s:s, s:o, s:o, s:[s]}", "policy-type", "tlsa", "policy-string", lines,
                     "policy-domain", text_json(domain), "mx-host", host);
}

/* Which policy the session is counted under, as section 4.4 writes it. */
static json_t *policy_of(struct strview domain, const struct tls_policy *p,
                         const struct tls_told *told)
{
    const char *by = told->need ? told->need->policy : "";
    bool dane = strcmp(by, "dane") == 0 || told->result == TLS_RESULT_TLSA_INVALID ||
                told->result == TLS_RESULT_DNSSEC_INVALID ||
                told->result == TLS_RESULT_DANE_REQUIRED;

    if (dane)
        return tlsa_json(p, told->host, domain);
    if (p && (strncmp(by, "sts", 3) == 0 || p->sts.mode != STS_NONE || p->sts.failure.len))
        return sts_json(&p->sts, domain);
    return json_pack("{s:s, s:o}", "policy-type", "no-policy-found", "policy-domain",
                     text_json(domain));
}

static void add_one(json_t *o, const char *name)
{
    json_object_set_new(o, name, json_integer(json_integer_value(json_object_get(o, name)) + 1));
}

/* Takes policy. NULL: the domain had more policies today than are kept. */
static json_t *counts_for(struct day_entry *e, json_t *policy)
{
    json_t *o;
    size_t i;

    json_array_foreach(e->policies, i, o)
    {
        if (!json_equal(json_object_get(o, "policy"), policy))
            continue;
        json_decref(policy);
        return o;
    }
    if (i >= TLSRPT_MAX_POLICIES) {
        json_decref(policy);
        return NULL;
    }
    o = json_pack("{s:o, s:i, s:i, s:[]}", "policy", policy, "ok", 0, "failed", 0, "details");
    json_array_append_new(e->policies, o);
    return o;
}

static bool is_detail(const json_t *d, const json_t *like)
{
    static const char *const names[] = {"result-type", "sending-mta-ip", "receiving-mx-hostname",
                                        "receiving-ip"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        json_t *a = json_object_get(d, names[i]), *b = json_object_get(like, names[i]);
        if ((a || b) && !json_equal(a, b))
            return false;
    }
    return true;
}

/* Takes like. */
static void add_detail(json_t *counts, json_t *like)
{
    json_t *list = json_object_get(counts, "details"), *d;
    size_t i;

    json_array_foreach(list, i, d)
    {
        if (!is_detail(d, like))
            continue;
        add_one(d, "failed-session-count");
        json_decref(like);
        return;
    }
    if (i < TLSRPT_MAX_DETAILS) {
        add_one(like, "failed-session-count");
        json_array_append(list, like);
    }
    json_decref(like);
}

static void put_text(json_t *o, const char *name, struct strview s)
{
    if (s.len)
        json_object_set_new(o, name, text_json(s));
}

/* What was wrong: in the session, or else with the policy, of which it takes no notice. */
static bool failure_of(const struct tls_policy *p, const struct tls_told *told,
                       enum tls_result *ret, struct strview *ret_text)
{
    struct strview rest = p ? p->sts.failure : sv(NULL, 0), word;
    char name[40];

    *ret = told->result;
    *ret_text = sv_of(told->text ? told->text : "");
    if (told->result != TLS_RESULT_VERIFIED)
        return true;
    if (!rest.len || (told->need && *told->need->policy) || !sv_split(&rest, ':', &word))
        return false;
    snprintf(name, sizeof(name), "%.*s", SV_ARG(word)); /* "sts-policy-invalid: why" */
    if (!tls_result_parse(name, ret))
        *ret = TLS_RESULT_STS_FETCH;
    *ret_text = p->sts.failure;
    return true;
}

static void count(struct day_entry *e, const struct tls_policy *p, const struct tls_told *told)
{
    json_t *counts = counts_for(e, policy_of(sv_of(e->domain), p, told));
    enum tls_result result;
    struct strview text;

    if (!counts)
        return;
    if (!failure_of(p, told, &result, &text)) {
        add_one(counts, "ok");
        return;
    }
    add_one(counts, "failed");
    json_t *d = json_pack("{s:s}", "result-type", tls_result_text(result));
    put_text(d, "sending-mta-ip", told->source_ip);
    put_text(d, "receiving-mx-hostname", sv_of(told->host ? told->host : ""));
    put_text(d, "receiving-ip", told->peer_ip);
    put_text(d, "failure-reason-code", text);
    add_detail(counts, d);
}

static bool is_name(struct strview s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!ascii_is_alpha(s.ptr[i]) && !ascii_is_digit(s.ptr[i]) && !memchr("-._", s.ptr[i], 3))
            return false;
    return s.len && s.len < 254;
}

void tlsrpt_told(void *arg, struct strview domain, const struct tls_policy *policy,
                 const struct tls_told *told)
{
    struct tlsrpt *t = arg;
    struct entry_key k = {domain, clock_wall_ms() / DAY_MS};

    if (!t->enabled || t->closing || !is_name(domain))
        return;
    struct hash_node *n = hash_find(&t->entries, key_hash(&k), &k);
    struct day_entry *e = n ? container_of(n, struct day_entry, node) : NULL;
    if (!e && t->entries.count >= TLSRPT_MAX_DOMAINS) {
        if (t->uncounted++ == 0)
            log_warn(LOG_TLS, "TLS reports: more than %d domains, sessions to others do not count",
                     TLSRPT_MAX_DOMAINS);
        return;
    }
    if (!e) {
        e = add_entry(t, &k);
        ask(e);
    }
    if (e->wish == WISH_NO)
        return;
    count(e, policy, told);
    saver_touch(&t->saver);
}

/* --- sending --- */

static void try_again(struct day_entry *e)
{
    int64_t now = clock_wall_ms();

    if (!e->first_ms)
        e->first_ms = now;
    if (now - e->first_ms >= DAY_MS) { /* RFC 8460 section 5.5 */
        log_warn(LOG_TLS, "TLS report domain=%s could not be sent everywhere for a day, dropped",
                 e->domain);
        drop_entry(e);
        return;
    }
    e->sending = false;
    e->due_ms = now + MIN_OF((int64_t)AGAIN_MIN_MS << MIN_OF(e->tries, 10u), (int64_t)AGAIN_MAX_MS);
    e->tries++;
}

static void on_sent(struct tlsrpt_sending *s, bool all)
{
    struct day_entry *e = s->entry;

    saver_touch(&e->t->saver);
    if (all)
        drop_entry(e);
    else
        try_again(e);
}

/* To every place that the domain names. */
static void deliver(struct day_entry *e, const struct tlsrpt_record *record)
{
    struct tlsrpt *t = e->t;
    struct tlsrpt_report r = {
        .domain = e->domain,
        .organization = t->host,
        .contact = t->contact,
        .from = t->from,
        .pipe = engine_pipe(t->outlet->engine),
        .day = e->day,
        .policies = e->policies,
    };

    if (!e->places) {
        e->places = xcalloc(1, sizeof(*e->places));
        *e->places = (struct tlsrpt_sending){.outlet = t->outlet, .ended = on_sent, .entry = e};
    }
    enum tlsrpt_sent sent = tlsrpt_send(e->places, &r, record, t->dir);
    if (sent != TLSRPT_UNDER_WAY)
        on_sent(e->places, sent == TLSRPT_SENT);
}

static void on_record(struct lookup *l, const struct lookup_result *r)
{
    struct day_entry *e = l->owner;
    struct tlsrpt_record record;
    bool wanted = r->status == LOOKUP_OK && tlsrpt_record_find(r->records, r->count, &record);

    e->asking = false;
    saver_touch(&e->t->saver);
    if (r->status == LOOKUP_TEMPORARY) {
        if (e->sending)
            try_again(e);
        return;
    }
    e->wish = wanted ? WISH_YES : WISH_NO;
    if (!wanted)
        json_array_clear(e->policies);
    if (!e->sending)
        return;
    if (wanted)
        deliver(e, &record);
    else
        drop_entry(e);
}

void tlsrpt_tick(struct tlsrpt *t)
{
    int64_t now = clock_wall_ms();
    unsigned begun = 0;
    struct hash_node *next;

    for (struct hash_node *n = hash_next(&t->entries, NULL); n && begun < PER_TICK; n = next) {
        struct day_entry *e = container_of(n, struct day_entry, node);
        next = hash_next(&t->entries, n);
        if (e->due_ms > now || e->sending)
            continue;
        begun++;
        if (e->wish == WISH_NO || !json_array_size(e->policies)) {
            drop_entry(e);
            saver_touch(&t->saver);
            continue;
        }
        e->sending = true;
        ask(e);
    }
}

static void on_timer(uv_timer_t *timer)
{
    tlsrpt_tick(timer->data);
}

/* --- state --- */

static void write_state(void *arg, struct buf *out)
{
    const struct tlsrpt *t = arg;

    for (struct hash_node *n = NULL; (n = hash_next(&t->entries, n));) {
        const struct day_entry *e = container_of(n, struct day_entry, node);
        json_t *o = json_pack("{s:s, s:I, s:i, s:O}", "domain", e->domain, "day",
                              (json_int_t)e->day, "wish", (int)e->wish, "policies", e->policies);
        char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
        if (text)
            buf_printf(out, "%s\n", text);
        free(text);
        json_decref(o);
    }
}

/* One line; what does not look like one of ours is passed over. */
static void read_entry(struct tlsrpt *t, struct strview line)
{
    json_t *o = json_loadb(line.ptr, line.len, 0, NULL), *policies = NULL;
    const char *domain = NULL;
    json_int_t day = 0;
    int wish = 0;

    if (o &&
        json_unpack(o, "{s:s, s:I, s:i, s:o}", "domain", &domain, "day", &day, "wish", &wish,
                    "policies", &policies) == 0 &&
        is_name(sv_of(domain)) && json_is_array(policies) && wish >= WISH_UNKNOWN &&
        wish <= WISH_NO && day > 0 && day < INT32_MAX) {
        struct entry_key k = {sv_of(domain), day};
        if (!hash_find(&t->entries, key_hash(&k), &k)) {
            struct day_entry *e = add_entry(t, &k);
            json_decref(e->policies);
            e->policies = json_incref(policies);
            e->wish = (enum entry_wish)wish;
        }
    }
    json_decref(o);
}

/* --- life --- */

struct tlsrpt *tlsrpt_new(uv_loop_t *loop, struct engine *engine, struct routes *routes)
{
    struct tlsrpt *t = xcalloc(1, sizeof(*t));

    t->outlet = xcalloc(1, sizeof(*t->outlet));
    *t->outlet =
        (struct tlsrpt_outlet){.refs = 1, .loop = loop, .engine = engine, .routes = routes};
    t->refs = 1;
    hash_init(&t->entries, entry_match);
    return t;
}

int tlsrpt_open(struct tlsrpt *t, int dirfd, struct err *e)
{
    struct buf text = {0};
    struct strview rest, line;
    int status = saver_open(&t->saver, t->outlet->loop, dirfd, "tls-reports", SAVE_MS, write_state,
                            t, &text, e);

    if (status < 0)
        return status;
    rest = buf_view(&text);
    while (sv_split(&rest, '\n', &line))
        if (line.len && t->entries.count < 2 * TLSRPT_MAX_DOMAINS)
            read_entry(t, line);
    buf_free(&text);
    t->is_open = true;
    uv_timer_init(t->outlet->loop, &t->timer);
    t->timer.data = t;
    t->refs++;
    uv_timer_start(&t->timer, on_timer, 1000, TICK_MS);
    return 0;
}

static char *set_text(char *old, const char *text)
{
    free(old);
    return text && *text ? xstrdup(text) : NULL;
}

void tlsrpt_configure(struct tlsrpt *t, const struct config *cfg, const char *pipe)
{
    struct config_query q = {.pipe = sv_of(pipe)};
    const char *host = config_text(cfg, NULL, DIR_HOST_NAME);
    const char *from = config_text(cfg, &q, DIR_TLS_REPORT_FROM);
    const char *contact = config_text(cfg, &q, DIR_TLS_REPORT_CONTACT);
    char own[300];

    if (host)
        snprintf(t->host, sizeof(t->host), "%s", host);
    else if (gethostname(t->host, sizeof(t->host) - 1) < 0 || !t->host[0])
        snprintf(t->host, sizeof(t->host), "localhost");
    snprintf(own, sizeof(own), "postmaster@%s", t->host);
    t->enabled = config_bool(cfg, &q, DIR_TLS_REPORT);
    t->from = set_text(t->from, from && *from ? from : own);
    t->contact = set_text(t->contact, contact && *contact ? contact : t->from);
    t->dir = set_text(t->dir, config_text(cfg, &q, DIR_TLS_REPORT_DIR));
}

static void drop_all(struct tlsrpt *t)
{
    for (struct hash_node *n; (n = hash_next(&t->entries, NULL));)
        drop_entry(container_of(n, struct day_entry, node));
}

static void unref(struct tlsrpt *t)
{
    if (--t->refs)
        return;
    tlsrpt_outlet_unref(t->outlet);
    free(t->contact);
    free(t->from);
    free(t->dir);
    free(t);
}

static void on_timer_closed(uv_handle_t *h)
{
    unref(h->data);
}

void tlsrpt_close(struct tlsrpt *t, void (*closed)(void *arg), void *arg)
{
    t->closing = true;
    if (t->is_open)
        uv_close((uv_handle_t *)&t->timer, on_timer_closed);
    t->is_open = false;
    saver_close(&t->saver, closed, arg);
}

void tlsrpt_free(struct tlsrpt *t)
{
    if (!t)
        return;
    t->outlet->engine = NULL;
    drop_all(t);
    hash_fini(&t->entries);
    unref(t);
}

void tlsrpt_visit(const struct tlsrpt *t, void (*fn)(void *arg, json_t *o), void *arg)
{
    static const char *const wishes[] = {"asking", "yes", "no"};

    for (struct hash_node *n = NULL; (n = hash_next(&t->entries, n));) {
        const struct day_entry *e = container_of(n, struct day_entry, node);
        json_t *p;
        size_t i;
        json_array_foreach(e->policies, i, p)
        {
            json_t *o =
                json_pack("{s:s, s:I, s:s, s:I, s:O, s:O, s:O, s:O}", "domain", e->domain, "day_ms",
                          (json_int_t)(e->day * DAY_MS), "wanted", wishes[e->wish], "due_ms",
                          (json_int_t)e->due_ms, "policy",
                          json_object_get(json_object_get(p, "policy"), "policy-type"), "ok",
                          json_object_get(p, "ok"), "failed", json_object_get(p, "failed"),
                          "details", json_object_get(p, "details"));
            if (o)
                fn(arg, o);
            json_decref(o);
        }
    }
}
