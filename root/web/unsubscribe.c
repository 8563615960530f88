/*
 * Unsubscribe links; see unsubscribe.h. The token says address and scope; nothing is looked up. A POST
 * waits for the suppression process: when it says that the entry is durable the answer is 200, and
 * when it does not in time 503. The entry may still be taken then; asking again does no harm.
 *
 * Memory: one block per POST under way, gone when the suppression client has told.
 */
#include "unsubscribe.h"

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "page.h"

#include <stdio.h>

enum { WAIT_MS = 20 * 1000, TICK_MS = 500 };

static const char html[] = "text/html; charset=utf-8";

/* One POST that waits for the list. */
struct waiting {
    struct list link; /* unsubscribe->waiting while nobody has answered */
    struct unsubscribe *u;
    struct http_request *request; /* NULL: answered */
    int64_t until_ms;             /* monotonic */
};

struct unsubscribe {
    struct suppress_client *client;
    struct config *config;
    struct mail_token_key key;
    bool has_key;
    struct unsubscribe_counts counts;
    struct list waiting;
    size_t waiting_count;
    uv_timer_t timer;
};

/* --- pages --- */

static void reply_page(struct http_request *r, unsigned status, const char *title,
                       struct strview text, const char *more_headers)
{
    struct buf page = {0}, headers = {0};

    page_put(&page, title, text);
    buf_append_str(&headers, page_headers());
    buf_append_str(&headers, more_headers ? more_headers : "");
    http_reply(r, status, html, buf_view(&page), buf_data(&headers));
    buf_free(&page);
    buf_free(&headers);
}

static void reply_ask(struct http_request *r, const struct mail_token *t)
{
    struct buf text = {0};

    buf_append_str(&text, "<p><b>");
    page_escape(&text, sv_of(t->rcpt));
    buf_append_str(&text,
                   "</b> will get no more of these messages.</p>\n<form method=\"post\">\n"
                   "<input type=\"hidden\" name=\"List-Unsubscribe\" value=\"One-Click\">\n"
                   "<button type=\"submit\">Unsubscribe</button>\n</form>\n"
                   "<p class=\"quiet\">You came here by mistake? Then just close this page: nothing "
                   "has changed.</p>");
    reply_page(r, 200, "Unsubscribe?", buf_view(&text), NULL);
    buf_free(&text);
}

static void reply_done(struct http_request *r, const char *address)
{
    struct buf text = {0};

    buf_append_str(&text, "<p><b>");
    page_escape(&text, sv_of(address));
    buf_append_str(&text, "</b> will get no more of these messages. One that is on its way already "
                          "may still arrive.</p>");
    reply_page(r, 200, "You are unsubscribed", buf_view(&text), NULL);
    buf_free(&text);
}

static void reply_later(struct http_request *r)
{
    reply_page(r, 503, "Please try again",
               SV("<p>Your request could not be stored just now. Please try again in a minute.</p>"),
               "Retry-After: 60\n");
}

static void reply_unknown(struct http_request *r)
{
    if (http_over_rate(r))
        http_reply(r, 429, "text/plain; charset=utf-8", SV("Too many requests\n"),
                   "Retry-After: 60\n");
    else
        reply_page(r, 404, "This link is not valid",
                   SV("<p>It may have been cut off on its way to you. Please open it from the message "
                      "again, or answer to the message and ask to be unsubscribed.</p>"),
                   NULL);
}

/* --- the token --- */

static const char *pipe_of(const struct unsubscribe *u, uint16_t hash)
{
    const char *name;

    for (size_t i = 0; (name = config_section_name(u->config, KIND_PIPE, i)); i++)
        if (mail_token_pipe(sv_of(name)) == hash)
            return name;
    return NULL;
}

/* False when its pipe is gone; then nothing sends such mail any more, but the wish counts. */
static void set_scope(const struct unsubscribe *u, const struct mail_token *t,
                      struct suppress_entry *ret)
{
    ret->scope = t->scope;
    ret->scope_name = sv_of(t->scope_name);
    if (t->scope == SUPPRESS_GLOBAL || ret->scope_name.len)
        return;
    const char *pipe = pipe_of(u, t->pipe);
    ret->scope = pipe ? SUPPRESS_PIPE : SUPPRESS_GLOBAL;
    ret->scope_name = sv_of(pipe);
}

/* Answers and returns false when the link is no good. */
static bool read_token(struct unsubscribe *u, struct http_request *r, struct mail_token *ret)
{
    int64_t age = config_number(u->config, NULL, DIR_UNSUBSCRIBE_EXPIRE_AFTER);

    if (!u->has_key) {
        u->counts.failed++;
        reply_later(r);
        return false;
    }
    if (mail_token_read(&u->key, http_rest(r), ret) < 0 || ret->use != MAIL_TOKEN_UNSUBSCRIBE ||
        !ret->has_rcpt) {
        u->counts.forged++;
        reply_unknown(r);
        return false;
    }
    if (mail_token_is_old(ret, clock_wall_ms(), age)) {
        u->counts.expired++;
        reply_page(r, 410, "This link has expired",
                   SV("<p>Please open the link in a newer message, or answer to the message and ask "
                      "to be unsubscribed.</p>"),
                   NULL);
        return false;
    }
    return true;
}

/* --- POST --- */

static struct http_request *take_request(struct waiting *w)
{
    struct http_request *r = w->request;

    if (r) {
        w->request = NULL;
        list_remove(&w->link);
        w->u->waiting_count--;
    }
    return r;
}

static void on_added(void *arg, int code)
{
    struct waiting *w = arg;
    struct unsubscribe *u = w->u;
    struct http_request *r = take_request(w);
    struct mail_token t;

    free(w);
    if (code < 0)
        u->counts.failed++;
    else
        u->counts.done++;
    if (!r)
        return;
    if (code == 0 && mail_token_read(&u->key, http_rest(r), &t) == 0)
        reply_done(r, t.rcpt);
    else
        reply_later(r);
}

static void on_tick(uv_timer_t *timer)
{
    struct unsubscribe *u = timer->data;

    list_for_each_safe (pos, &u->waiting) {
        struct waiting *w = list_entry(pos, struct waiting, link);
        if (w->until_ms > clock_mono_ms())
            break;
        log_warn(LOG_MAIN, "the suppression list does not answer, unsubscription refused for now");
        reply_later(take_request(w));
    }
    if (list_empty(&u->waiting))
        uv_timer_stop(timer);
}

static void keep(struct unsubscribe *u, struct waiting *w, struct http_request *r)
{
    w->u = u;
    w->request = r;
    w->until_ms = clock_mono_ms() + WAIT_MS;
    list_push_back(&u->waiting, &w->link);
    u->waiting_count++;
    if (!uv_is_active((uv_handle_t *)&u->timer))
        uv_timer_start(&u->timer, on_tick, TICK_MS, TICK_MS);
}

static void add(struct unsubscribe *u, struct http_request *r, const struct mail_token *t)
{
    struct waiting *w = xcalloc(1, sizeof(*w));
    struct suppress_entry e = {.reason = SUPPRESS_BY_UNSUBSCRIBE, .address = sv_of(t->rcpt)};
    char note[128];

    set_scope(u, t, &e);
    snprintf(note, sizeof(note), "link, from %s", http_client(r));
    e.note = sv_of(note);
    keep(u, w, r);
    if (suppress_client_add(u->client, &e, on_added, w) == 0)
        return;
    u->counts.failed++;
    reply_later(take_request(w));
    free(w);
}

/* RFC 8058 section 3.2: the body says what the click is for; a form of either kind. */
static bool is_one_click(const struct http_request *r)
{
    char value[32];

    return http_form_field(r, "List-Unsubscribe", value, sizeof(value)) &&
           strcasecmp(value, "One-Click") == 0;
}

void unsubscribe_handle(struct unsubscribe *u, struct http_request *r)
{
    struct mail_token t;

    if (!read_token(u, r, &t))
        return;
    if (!http_is_post(r)) {
        u->counts.asked++;
        reply_ask(r, &t);
    } else if (is_one_click(r)) {
        add(u, r, &t);
    } else {
        http_reply(r, 400, "text/plain; charset=utf-8",
                   SV("Expected List-Unsubscribe=One-Click (RFC 8058)\n"), NULL);
    }
}

struct unsubscribe *unsubscribe_new(uv_loop_t *loop, struct suppress_client *client)
{
    struct unsubscribe *u = xcalloc(1, sizeof(*u));

    u->client = client;
    list_init(&u->waiting);
    uv_timer_init(loop, &u->timer);
    u->timer.data = u;
    return u;
}

void unsubscribe_set_key(struct unsubscribe *u, const struct mail_token_key *key)
{
    u->key = *key;
    u->has_key = true;
}

void unsubscribe_configure(struct unsubscribe *u, struct config *cfg)
{
    config_unref(u->config);
    u->config = config_ref(cfg);
}

const struct unsubscribe_counts *unsubscribe_counts(const struct unsubscribe *u)
{
    return &u->counts;
}

size_t unsubscribe_waiting(const struct unsubscribe *u)
{
    return u->waiting_count;
}
