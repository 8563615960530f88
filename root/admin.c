/*
 * Requests on the admin socket: one line in, JSON objects out, one per line, the last
 * {"end":true,"ok":…}.
 *
 * Called by: admin_client.c (lines), kid.c (answers and ends of children). Happy path: verb and
 * level are checked against the rows of net/admin_verbs.h; the line goes unread to every process
 * that TARGET means; whole lines of their answers are passed on as they come; when all have said
 * last, the end object. What can go wrong: no such verb or target, not permitted (end with error);
 * a process that dies or is silent for ADMIN_ANSWER_MS (an object that says so, and ok false).
 */
#include "admin_int.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/units.h"
#include "json_text.h"

#include <stdio.h>
#include <unistd.h>

enum {
    PARTIAL_MAX = 4 * 1024 * 1024, /* one JSON object of a child */
    ADMIN_ANSWER_MS = 10000,       /* time of the children for their answers */
};

static void say_trouble(struct client *c, const char *process, struct strview error)
{
    struct buf text = {0};
    buf_append_str(&text, "{\"process\":");
    json_text(&text, sv_of(process));
    buf_append_str(&text, ",\"error\":");
    json_text(&text, error);
    buf_append_str(&text, "}\n");
    client_say(c, &text);
}

/* Ends the request; error may be NULL. */
static void say_end(struct client *c, bool ok, const char *error)
{
    struct buf text = {0};
    if (c->closing)
        return;
    uv_timer_stop(&c->answer);
    client_request_clear(c);
    buf_printf(&text, "{\"end\":true,\"ok\":%s", ok ? "true" : "false");
    if (error) {
        buf_append_str(&text, ",\"error\":");
        json_text(&text, sv_of(error));
    }
    buf_append_str(&text, "}\n");
    client_say(c, &text);
}

void request_refuse(struct client *c, const char *fmt, ...)
{
    struct buf text = {0};
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&text, fmt, ap);
    va_end(ap);
    say_end(c, false, buf_data(&text));
    buf_free(&text);
}

struct target {
    unsigned roles;
    struct strview name; /* empty: all of the role */
    bool named;
};

static void refuse_name(struct client *c, const struct target *t)
{
    const struct kid *nearest = NULL;
    unsigned best = 3; /* further away is another word */
    list_for_each (n, &c->admin->root->kids) {
        const struct kid *k = list_entry(n, struct kid, node);
        unsigned d = str_distance(t->name, sv_of(k->name));
        if ((k->row->role & t->roles) && k->state != KID_GONE && d < best) {
            best = d;
            nearest = k;
        }
    }
    const char *role = ipc_role_name((enum role)t->roles);
    const char *name = log_safe(t->name.ptr, t->name.len, 64);
    if (nearest)
        request_refuse(c, "no %s named '%s' (did you mean '%s'?)", role, name, nearest->name);
    else
        request_refuse(c, "no %s named '%s'", role, name);
}

/* --- what root answers itself --- */

static void own_status(struct client *c)
{
    struct root *r = c->admin->root;
    struct buf text = {0};
    int64_t now = clock_mono_ms();
    buf_printf(&text,
               "{\"process\":\"root\",\"pid\":%d,\"uptime_s\":%lld,\"version\":", (int)getpid(),
               (long long)(now - r->started_ms) / 1000);
    json_text(&text, sv_of(PMTA_VERSION));
    buf_printf(&text, ",\"generation\":%llu,\"config_dir\":",
               (unsigned long long)config_generation(r->config));
    json_text(&text, sv_of(r->config_dir));
    buf_append_str(&text, ",\"log\":");
    logging_status(r, &text);
    buf_append_str(&text, ",\"debug\":");
    debugging_status(r, &text);
    buf_append_str(&text, "}\n");
    list_for_each (n, &r->kids) {
        const struct kid *k = list_entry(n, struct kid, node);
        buf_append_str(&text, "{\"process\":\"root\",\"child\":");
        json_text(&text, sv_of(k->title));
        buf_printf(&text, ",\"pid\":%d,\"state\":\"%s\",\"restarts\":%u,\"uptime_s\":%lld}\n",
                   (int)k->pid, kid_state_name(k->state), k->restarts,
                   k->pid ? (long long)(now - k->started_ms) / 1000 : 0LL);
    }
    client_say(c, &text);
}

static void say_report(struct client *c, struct strview lines)
{
    struct strview line;
    while (!c->closing && sv_split(&lines, '\n', &line))
        if (line.len)
            say_trouble(c, "root", line);
}

static void own_reload(struct client *c)
{
    struct config_report report = {0};
    struct strview rest, line;
    c->waits_for_reload = true; /* the end may come within the call, when nobody has to be asked */
    int code = monitor_reload(c->admin->root, &report);
    rest = buf_view(&report.text);
    while (sv_split(&rest, '\n', &line))
        if (line.len)
            log_warn(LOG_CONFIG, "%.*s", SV_ARG(line));
    if (code < 0) {
        c->waits_for_reload = false;
        say_report(c, buf_view(&report.text));
        say_end(c, false, "reload refused, nothing has changed");
    }
    buf_free(&report.text);
}

void admin_reload_done(struct admin *a, struct strview trouble)
{
    if (!a)
        return;
    list_for_each_safe (n, &a->clients) {
        struct client *c = list_entry(n, struct client, node);
        struct buf text = {0};
        if (!c->waits_for_reload)
            continue;
        say_report(c, trouble);
        buf_printf(&text, "{\"process\":\"root\",\"generation\":%llu}\n",
                   (unsigned long long)config_generation(a->root->config));
        client_say(c, &text);
        say_end(c, trouble.len == 0,
                trouble.len ? "not every process took the configuration" : NULL);
    }
}

/* The text value of a member of the line's object. Root has no JSON parser; the values that it asks
 * for (names, times) have no escapes. `key` has its quotes. */
static struct strview member_of(struct strview line, const char *key)
{
    size_t key_len = strlen(key);
    const char *at = memmem(line.ptr, line.len, key, key_len);
    if (!at)
        return SV("");
    struct strview rest = sv(at + key_len, line.len - (size_t)(at - line.ptr) - key_len);
    ptrdiff_t colon = sv_find(rest, ':');
    if (colon < 0)
        return SV("");
    rest = sv_trim(sv(rest.ptr + colon + 1, rest.len - (size_t)colon - 1));
    if (rest.len == 0 || rest.ptr[0] != '"')
        return SV("");
    rest = sv(rest.ptr + 1, rest.len - 1);
    ptrdiff_t quote = sv_find(rest, '"');
    return quote < 0 ? SV("") : sv(rest.ptr, (size_t)quote);
}

/* false: refused already */
static bool parse_subsystems(struct client *c, struct strview rest, uint32_t *ret)
{
    struct strview name;

    *ret = 0;
    while (rest.len && sv_split(&rest, ',', &name)) {
        name = sv_trim(name);
        char *text = xstrndup(name.ptr, name.len);
        uint32_t bit = log_subsystem_bit(text);
        bool none = strcmp(text, "none") == 0 || name.len == 0;
        free(text);
        if (!bit && !none) {
            request_refuse(c, "no subsystem named '%.*s'", (int)MIN_OF(name.len, (size_t)64),
                           name.ptr);
            return false;
        }
        *ret |= bit;
    }
    return true;
}

static void own_debug(struct client *c, struct strview line)
{
    struct root *r = c->admin->root;
    struct strview pipe = member_of(line, "\"pipe\""), time = member_of(line, "\"for\"");
    struct err e = {0};
    int64_t for_ms = 0;
    uint32_t mask;

    if (!parse_subsystems(c, member_of(line, "\"subsystems\""), &mask))
        return;
    if (time.len && (units_parse_interval(time, &for_ms) < 0 || for_ms <= 0)) {
        request_refuse(c, "'%s' is no time (expected 90s, 10m, 2h)",
                       log_safe(time.ptr, time.len, 64));
        return;
    }
    if (pipe.len && !monitor_kid_find(r, ROLE_PIPE, pipe)) {
        refuse_name(c, &(struct target){.roles = ROLE_PIPE, .name = pipe, .named = true});
        return;
    }
    if (debugging_set(r, pipe, mask, for_ms, &e) < 0)
        request_refuse(c, "%s", e.text);
    else
        say_end(c, true, NULL);
}

static void own_rotate_log(struct client *c)
{
    struct err e = {0};

    if (logging_rotate(c->admin->root, &e) < 0)
        request_refuse(c, "%s", e.text);
    else
        say_end(c, true, NULL);
}

static void own_shutdown(struct client *c)
{
    struct root *r = c->admin->root;
    say_end(c, true, NULL);
    monitor_drain(r, "shutdown by an operator");
}

/* --- what children answer --- */

static void parts_step(struct client *c)
{
    if (c->busy && !c->waits_for_reload && c->waiting == 0)
        say_end(c, c->ok, NULL);
}

static void part_failed(struct client *c, struct part *p, const char *why)
{
    const char *title = p->kid->title;
    p->kid = NULL;
    buf_reset(&p->partial);
    c->ok = false;
    c->waiting--;
    say_trouble(c, title, sv_of(why));
}

static void on_answer_timeout(uv_timer_t *timer)
{
    struct client *c = timer->data;
    for (size_t i = 0; i < c->part_count; i++) {
        if (!c->parts[i].kid)
            continue;
        client_cancel_part(c, &c->parts[i]);
        part_failed(c, &c->parts[i], "did not answer");
    }
    parts_step(c);
}

static struct client *client_by_token(struct admin *a, uint64_t token)
{
    list_for_each (n, &a->clients) {
        struct client *c = list_entry(n, struct client, node);
        if (c->busy && c->token == token)
            return c;
    }
    return NULL;
}

static struct part *part_of(struct client *c, const struct kid *k)
{
    for (size_t i = 0; i < c->part_count; i++)
        if (c->parts[i].kid == k)
            return &c->parts[i];
    return NULL;
}

/* Passes on the whole lines that have gathered. */
static void pass_lines(struct client *c, struct part *p)
{
    const char *last = memrchr(buf_data(&p->partial), '\n', buf_len(&p->partial));
    if (!last)
        return;
    size_t whole = (size_t)(last - buf_data(&p->partial)) + 1;
    struct buf text = {0};
    buf_append(&text, buf_data(&p->partial), whole);
    buf_consume(&p->partial, whole);
    client_say(c, &text);
}

/* An answer that nobody waits for any more (the client went, or time was over) is dropped. */
int admin_kid_reply(struct admin *a, struct kid *k, struct strview frame)
{
    struct ipc_admin_reply m;
    int code = ipc_decode_admin_reply(frame, &m);
    struct client *c = code < 0 ? NULL : client_by_token(a, m.token);
    struct part *p = c ? part_of(c, k) : NULL;
    if (!p)
        return code;
    if (buf_len(&p->partial) + m.text.len > PARTIAL_MAX) {
        part_failed(c, p, "answer is too long");
    } else {
        buf_append_sv(&p->partial, m.text);
        pass_lines(c, p);
        if (!c->closing && m.last) {
            p->kid = NULL;
            c->waiting--;
        }
    }
    if (!c->closing) {
        uv_timer_again(&c->answer);
        parts_step(c);
    }
    return 0;
}

void admin_kid_gone(struct admin *a, struct kid *k)
{
    if (!a)
        return;
    list_for_each_safe (n, &a->clients) {
        struct client *c = list_entry(n, struct client, node);
        struct part *p = c->busy ? part_of(c, k) : NULL;
        if (p) {
            part_failed(c, p, "did not answer");
            parts_step(c);
        }
    }
}

static void ask(struct client *c, struct kid *k, struct strview line)
{
    c->parts = xrealloc(c->parts, (c->part_count + 1) * sizeof(c->parts[0]));
    c->parts[c->part_count++] = (struct part){.kid = k};
    c->waiting++;
    if (!kid_is_up(k) || k->state == KID_STARTING) {
        part_failed(c, &c->parts[c->part_count - 1],
                    k->state == KID_STARTING ? "is starting" : "is not running");
        return;
    }
    struct ipc_admin_request m = {c->token, (uint8_t)c->level, (uint32_t)c->uid, line};
    ipc_send(k->control, admin_request, &m);
}

/* --- a line --- */

static bool target_matches(const struct target *t, const struct kid *k)
{
    return k->state != KID_GONE && (t->roles & k->row->role) &&
           (!t->named || sv_eq(t->name, sv_of(k->name)));
}

static unsigned role_by_name(struct strview name)
{
#define ROLE_TRY(id, bit, text) \
    if (sv_eq(name, SV(text)))  \
        return ROLE_##id;
    IPC_ROLES(ROLE_TRY)
#undef ROLE_TRY
    return 0;
}

/* false: refused already */
static bool parse_target(struct client *c, struct strview word, const struct admin_verb_info *verb,
                         struct target *ret)
{
    struct strview rest = word, role = SV("");
    *ret = (struct target){.roles = verb->targets};
    if (word.len == 0 || sv_eq(word, SV("*")))
        return true;
    sv_split(&rest, '/', &role);
    ret->roles = role_by_name(role);
    ret->named = rest.ptr != NULL;
    ret->name = rest;
    if (!ret->roles) {
        request_refuse(c, "no kind of process named '%s'", log_safe(role.ptr, role.len, 64));
        return false;
    }
    if (!(ret->roles & verb->targets)) {
        request_refuse(c, "'%s' is not for %s", verb->name, ipc_role_name((enum role)ret->roles));
        return false;
    }
    return true;
}

static bool has_match(const struct root *r, const struct target *t)
{
    list_for_each (n, &r->kids)
        if (target_matches(t, list_entry(n, struct kid, node)))
            return true;
    return false;
}

static void pass_on(struct client *c, const struct target *t, struct strview line)
{
    struct root *r = c->admin->root;
    uv_timer_start(&c->answer, on_answer_timeout, ADMIN_ANSWER_MS, ADMIN_ANSWER_MS);
    list_for_each (n, &r->kids) {
        struct kid *k = list_entry(n, struct kid, node);
        if (!c->closing && target_matches(t, k))
            ask(c, k, line);
    }
    parts_step(c);
}

static void run_verb(struct client *c, enum admin_verb verb, const struct target *t,
                     struct strview line)
{
    bool mine = (t->roles & ROLE_ROOT) != 0;
    if (mine && t->named) {
        refuse_name(c, t);
        return;
    }
    switch (verb) {
    case VERB_RELOAD:
        own_reload(c);
        return;
    case VERB_DEBUG:
        own_debug(c, line);
        return;
    case VERB_ROTATE_LOG:
        own_rotate_log(c);
        return;
    case VERB_SHUTDOWN:
        own_shutdown(c);
        return;
    default:
        break;
    }
    if (!mine && !has_match(c->admin->root, t)) {
        if (t->named)
            refuse_name(c, t);
        else
            request_refuse(c, "no such process runs");
        return;
    }
    if (mine)
        own_status(c);
    pass_on(c, t, line);
}

void request_line(struct client *c, struct strview line)
{
    struct strview rest = line, verb_word = SV(""), target_word = SV("");
    struct target t;

    line = sv_trim(line);
    rest = line;
    if (line.len == 0)
        return;
    sv_split(&rest, ' ', &verb_word);
    if (rest.ptr)
        sv_split(&rest, ' ', &target_word);
    c->busy = true;
    c->ok = true;
    c->token = ++c->admin->last_token;
    enum admin_verb verb = admin_verb_find(verb_word.ptr, verb_word.len);
    if (verb == VERB_COUNT || memchr(line.ptr, '\0', line.len)) {
        request_refuse(c, "no verb named '%s'", log_safe(verb_word.ptr, verb_word.len, 64));
        return;
    }
    const struct admin_verb_info *info = admin_verb_info(verb);
    log_debug(LOG_ADMIN, "uid=%u level=%d line='%s'", (unsigned)c->uid, (int)c->level,
              log_safe(line.ptr, line.len, 300));
    if (info->level > c->level) {
        request_refuse(c, "'%s' is for operators: root, the user of pmtad, and group %s",
                       info->name, config_text(c->admin->root->config, NULL, DIR_ADMIN_GROUP));
        return;
    }
    if (parse_target(c, target_word, info, &t))
        run_verb(c, verb, &t, line);
}
