/*
 * The admin socket: one line in, JSON objects out, one per line, the last {"end":true,"ok":…}.
 *
 * Called by: monitor.c (open, close), kid.c (answers and ends of children). Happy path: a line
 * comes; verb and level are checked against the rows of net/admin_verbs.h; the line goes unread to
 * every process that TARGET means; whole lines of their answers are passed on as they come; when
 * all have said last, the end object. What can go wrong: no such verb or target, not permitted (end
 * with error); a process that dies or is silent for ANSWER_MS (an object that says so, and ok
 * false); a client that is silent or does not read for IDLE_MS, or lets OUTPUT_MAX pile up
 * (dropped). One request per client at a time: nothing is read from a client meanwhile. Memory: a
 * client is freed when libuv has closed its three handles.
 */
#include "monitor.h"

#include "base/clock.h"
#include "base/log.h"
#include "json_text.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    CLIENTS_MAX = 32,
    LINE_MAX_BYTES = 64 * 1024,
    OUTPUT_MAX = 32 * 1024 * 1024,
    PARTIAL_MAX = 4 * 1024 * 1024, /* one JSON object of a child */
    ANSWER_MS = 10000,
    IDLE_MS = 60000,
    GROUPS_MAX = 256,
};

/* One process that has still to answer. */
struct part {
    struct kid *kid;
    struct buf partial; /* begun line */
};

struct client {
    struct list node; /* admin.clients */
    struct admin *admin;
    uv_pipe_t pipe;
    uv_timer_t idle, answer;
    char chunk[4096];
    struct buf in;
    enum admin_level level;
    uid_t uid;

    bool busy; /* a request is under way */
    bool waits_for_reload;
    uint64_t token;
    struct part *parts;
    size_t part_count, waiting;
    bool ok;

    bool ended; /* the peer sends no more: closed when everything is written */
    bool closing;
    unsigned handles_open;
};

struct admin {
    struct root *root;
    char *path;
    uv_pipe_t pipe;
    bool pipe_open;
    bool closing;
    struct list clients;
    unsigned client_count;
    uint64_t last_token;
    gid_t group;
    bool has_group;
};

static void client_step(struct client *c);

/* --- end of a client --- */

static void admin_free_when_empty(struct admin *a)
{
    if (!a->closing || a->pipe_open || a->client_count)
        return;
    free(a->path);
    free(a);
}

static void on_client_closed(uv_handle_t *handle)
{
    struct client *c = handle->data;
    struct admin *a = c->admin;
    if (--c->handles_open)
        return;
    a->client_count--;
    buf_free(&c->in);
    free(c);
    admin_free_when_empty(a);
}

static void request_clear(struct client *c)
{
    for (size_t i = 0; i < c->part_count; i++)
        buf_free(&c->parts[i].partial);
    free(c->parts);
    c->parts = NULL;
    c->part_count = c->waiting = 0;
    c->busy = c->waits_for_reload = false;
}

static void client_close(struct client *c)
{
    if (c->closing)
        return;
    c->closing = true;
    request_clear(c);
    list_remove(&c->node);
    uv_close((uv_handle_t *)&c->pipe, on_client_closed);
    uv_close((uv_handle_t *)&c->idle, on_client_closed);
    uv_close((uv_handle_t *)&c->answer, on_client_closed);
}

static void on_idle(uv_timer_t *timer)
{
    struct client *c = timer->data;
    if (c->busy && uv_stream_get_write_queue_size((uv_stream_t *)&c->pipe) == 0) {
        uv_timer_again(timer); /* it waits for us, not we for it */
        return;
    }
    log_debug(LOG_ADMIN, "client dropped: nothing moved for %d s", IDLE_MS / 1000);
    client_close(c);
}

/* --- output --- */

struct write {
    uv_write_t req;
    struct client *client;
    struct buf bytes;
};

static void after_write(struct client *c, int status)
{
    if (c->closing)
        return;
    uv_timer_again(&c->idle);
    bool empty = uv_stream_get_write_queue_size((uv_stream_t *)&c->pipe) == 0;
    if (status < 0 || (c->ended && !c->busy && empty))
        client_close(c);
    else if (empty)
        client_step(c);
}

static void on_written(uv_write_t *req, int status)
{
    struct write *w = req->data;
    struct client *c = w->client;
    buf_free(&w->bytes);
    free(w);
    after_write(c, status);
}

/* Takes the bytes out of *text. */
static void say(struct client *c, struct buf *text)
{
    if (c->closing || buf_len(text) == 0) {
        buf_free(text);
        return;
    }
    struct write *w = xcalloc(1, sizeof(*w));
    w->client = c;
    w->bytes = *text;
    w->req.data = w;
    *text = (struct buf){0};
    uv_buf_t b = uv_buf_init(buf_data(&w->bytes), (unsigned)buf_len(&w->bytes));
    int code = uv_write(&w->req, (uv_stream_t *)&c->pipe, &b, 1, on_written);
    if (code < 0) {
        buf_free(&w->bytes);
        free(w);
        client_close(c);
    } else if (uv_stream_get_write_queue_size((uv_stream_t *)&c->pipe) > OUTPUT_MAX) {
        log_warn(LOG_ADMIN, "client dropped: it does not read what it asked for");
        client_close(c);
    }
}

static void say_trouble(struct client *c, const char *process, struct strview error)
{
    struct buf text = {0};
    buf_append_str(&text, "{\"process\":");
    json_text(&text, sv_of(process));
    buf_append_str(&text, ",\"error\":");
    json_text(&text, error);
    buf_append_str(&text, "}\n");
    say(c, &text);
}

/* Ends the request; error may be NULL. */
static void say_end(struct client *c, bool ok, const char *error)
{
    struct buf text = {0};
    if (c->closing)
        return;
    uv_timer_stop(&c->answer);
    request_clear(c);
    buf_printf(&text, "{\"end\":true,\"ok\":%s", ok ? "true" : "false");
    if (error) {
        buf_append_str(&text, ",\"error\":");
        json_text(&text, sv_of(error));
    }
    buf_append_str(&text, "}\n");
    say(c, &text);
}

PRINTF_LIKE(2, 3) static void refuse(struct client *c, const char *fmt, ...)
{
    struct buf text = {0};
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&text, fmt, ap);
    va_end(ap);
    say_end(c, false, buf_data(&text));
    buf_free(&text);
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
    buf_append_str(&text, "}\n");
    list_for_each (n, &r->kids) {
        const struct kid *k = list_entry(n, struct kid, node);
        buf_append_str(&text, "{\"process\":\"root\",\"child\":");
        json_text(&text, sv_of(k->title));
        buf_printf(&text, ",\"pid\":%d,\"state\":\"%s\",\"restarts\":%u,\"uptime_s\":%lld}\n",
                   (int)k->pid, kid_state_name(k->state), k->restarts,
                   k->pid ? (long long)(now - k->started_ms) / 1000 : 0LL);
    }
    say(c, &text);
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
        say(c, &text);
        say_end(c, trouble.len == 0,
                trouble.len ? "not every process took the configuration" : NULL);
    }
}

/* The value of "subsystems": names with commas. Root has no JSON parser; names have no escapes. */
static struct strview subsystems_of(struct strview line)
{
    static const char key[] = "\"subsystems\"";
    const char *at = memmem(line.ptr, line.len, key, sizeof(key) - 1);
    if (!at)
        return SV("");
    struct strview rest =
        sv(at + sizeof(key) - 1, line.len - (size_t)(at - line.ptr) - sizeof(key) + 1);
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

static void own_debug(struct client *c, struct strview line)
{
    struct strview rest = subsystems_of(line), name;
    uint32_t mask = 0;
    while (rest.len && sv_split(&rest, ',', &name)) {
        name = sv_trim(name);
        char *text = xstrndup(name.ptr, name.len);
        uint32_t bit = log_subsystem_bit(text);
        bool none = strcmp(text, "none") == 0 || name.len == 0;
        free(text);
        if (!bit && !none) {
            refuse(c, "no subsystem named '%.*s'", (int)MIN_OF(name.len, (size_t)64), name.ptr);
            return;
        }
        mask |= bit;
    }
    monitor_set_debug(c->admin->root, mask);
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
    for (size_t i = 0; i < c->part_count; i++)
        if (c->parts[i].kid)
            part_failed(c, &c->parts[i], "did not answer");
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
    say(c, &text);
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

struct target {
    unsigned roles;
    struct strview name; /* empty: all of the role */
    bool named;
};

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
        refuse(c, "no %s named '%s' (did you mean '%s'?)", role, name, nearest->name);
    else
        refuse(c, "no %s named '%s'", role, name);
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
        refuse(c, "no kind of process named '%s'", log_safe(role.ptr, role.len, 64));
        return false;
    }
    if (!(ret->roles & verb->targets)) {
        refuse(c, "'%s' is not for %s", verb->name, ipc_role_name((enum role)ret->roles));
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
    uv_timer_start(&c->answer, on_answer_timeout, ANSWER_MS, ANSWER_MS);
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
            refuse(c, "no such process runs");
        return;
    }
    if (mine)
        own_status(c);
    pass_on(c, t, line);
}

static void handle_line(struct client *c, struct strview line)
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
        refuse(c, "no verb named '%s'", log_safe(verb_word.ptr, verb_word.len, 64));
        return;
    }
    const struct admin_verb_info *info = admin_verb_info(verb);
    log_debug(LOG_ADMIN, "uid=%u level=%d line='%s'", (unsigned)c->uid, (int)c->level,
              log_safe(line.ptr, line.len, 300));
    if (info->level > c->level) {
        refuse(c, "'%s' is for operators: root, the user of pmtad, and group %s", info->name,
               config_text(c->admin->root->config, NULL, DIR_ADMIN_GROUP));
        return;
    }
    if (parse_target(c, target_word, info, &t))
        run_verb(c, verb, &t, line);
}

/* --- input --- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    struct client *c = handle->data;
    (void)suggested;
    *ret = uv_buf_init(c->chunk, sizeof(c->chunk));
}

static void client_read(struct client *c, ssize_t n)
{
    if (n > 0)
        buf_append(&c->in, c->chunk, (size_t)n);
    if (n < 0)
        c->ended = true;
    client_step(c);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *b)
{
    (void)b;
    uv_timer_again(&((struct client *)stream->data)->idle);
    client_read(stream->data, n);
}

/* Takes the next line out of the input into *line; false when there is none. */
static bool next_line(struct client *c, struct buf *line)
{
    ptrdiff_t at = sv_find(buf_view(&c->in), '\n');
    if (at < 0)
        return false;
    buf_append(line, buf_data(&c->in), (size_t)at);
    buf_consume(&c->in, (size_t)at + 1);
    return true;
}

/* Handles what is there, one request at a time, and only while the client takes the answers. */
static void client_step(struct client *c)
{
    struct buf line = {0};
    uv_stream_t *stream = (uv_stream_t *)&c->pipe;

    while (!c->closing && !c->busy && uv_stream_get_write_queue_size(stream) == 0 &&
           next_line(c, &line)) {
        if (buf_len(&line) > LINE_MAX_BYTES)
            refuse(c, "line is longer than %d bytes", LINE_MAX_BYTES);
        else
            handle_line(c, buf_view(&line));
        buf_reset(&line);
    }
    buf_free(&line);
    if (c->closing)
        return;
    if (!c->busy && buf_len(&c->in) > LINE_MAX_BYTES && sv_find(buf_view(&c->in), '\n') < 0) {
        buf_reset(&c->in);
        c->ended = true;
        refuse(c, "line is longer than %d bytes", LINE_MAX_BYTES);
        if (c->closing)
            return;
    }
    bool quiet = !c->busy && uv_stream_get_write_queue_size(stream) == 0;
    if (c->ended && quiet)
        client_close(c);
    else if (!c->ended && quiet)
        uv_read_start(stream, on_alloc, on_read);
    else
        uv_read_stop(stream);
}

/* --- a new client --- */

static bool is_operator(const struct admin *a, int fd, const struct ucred *peer)
{
    gid_t groups[GROUPS_MAX];
    socklen_t len = sizeof(groups);
    if (peer->uid == 0 || peer->uid == geteuid())
        return true;
    if (!a->has_group)
        return false;
    if (peer->gid == a->group)
        return true;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) < 0)
        return false;
    for (size_t i = 0; i < len / sizeof(groups[0]); i++)
        if (groups[i] == a->group)
            return true;
    return false;
}

static int identify(struct client *c)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);
    uv_os_fd_t fd;
    if (uv_fileno((uv_handle_t *)&c->pipe, &fd) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
        return -EACCES;
    c->uid = peer.uid;
    c->level = is_operator(c->admin, fd, &peer) ? ADMIN_OPERATE : ADMIN_READ;
    return 0;
}

static struct client *client_new(struct admin *a)
{
    struct client *c = xcalloc(1, sizeof(*c));
    uv_loop_t *loop = &a->root->loop;
    c->admin = a;
    uv_pipe_init(loop, &c->pipe, 0);
    uv_timer_init(loop, &c->idle);
    uv_timer_init(loop, &c->answer);
    c->pipe.data = c->idle.data = c->answer.data = c;
    c->handles_open = 3;
    a->client_count++;
    list_push_back(&a->clients, &c->node);
    return c;
}

static void accept_client(struct admin *a)
{
    struct client *c = client_new(a);
    if (uv_accept((uv_stream_t *)&a->pipe, (uv_stream_t *)&c->pipe) < 0 || identify(c) < 0) {
        client_close(c);
        return;
    }
    uv_timer_start(&c->idle, on_idle, IDLE_MS, IDLE_MS);
    if (a->client_count > CLIENTS_MAX) {
        c->ended = true;
        refuse(c, "more than %d admin connections", CLIENTS_MAX);
    }
    if (!c->closing)
        client_step(c);
}

static void on_connection(uv_stream_t *server, int status)
{
    if (status == 0)
        accept_client(server->data);
}

/* --- open and close --- */

/* A socket file that nobody listens on was left by a pmtad that was killed. */
static int remove_stale(const char *path, struct err *e)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    struct stat st;
    if (lstat(path, &st) < 0)
        return errno == ENOENT ? 0 : err_set(e, -errno, "admin socket '%s'", path);
    if (!S_ISSOCK(st.st_mode))
        return err_set(e, ERR_BUSY, "'%s' is in the way of the admin socket: it is not a socket",
                       path);
    snprintf(to.sun_path, sizeof(to.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return err_set(e, -errno, "admin socket '%s'", path);
    bool dead = connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 && errno == ECONNREFUSED;
    close(fd);
    if (!dead)
        return err_set(e, ERR_BUSY, "another process listens on the admin socket '%s'", path);
    if (unlink(path) < 0)
        return err_set(e, -errno, "cannot remove the stale admin socket '%s'", path);
    return 0;
}

static void give_to_group(struct admin *a)
{
    const char *name = config_text(a->root->config, NULL, DIR_ADMIN_GROUP);
    struct group *g = name ? getgrnam(name) : NULL;
    if (!g)
        return;
    a->has_group = true;
    a->group = g->gr_gid;
    if (chown(a->path, (uid_t)-1, g->gr_gid) < 0)
        log_debug(LOG_ADMIN, "admin socket not given to group '%s': %s", name, strerror(errno));
}

static int bind_socket(struct admin *a, struct err *e)
{
    if (strlen(a->path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
        return err_set(e, -ENAMETOOLONG, "admin socket '%s'", a->path);
    int code = remove_stale(a->path, e);
    if (code < 0)
        return code;
    mode_t before = umask(0117); /* 0660 from its first moment */
    code = uv_pipe_bind(&a->pipe, a->path);
    umask(before);
    if (code < 0)
        return err_set(e, code, "cannot bind the admin socket '%s'", a->path);
    give_to_group(a);
    code = uv_listen((uv_stream_t *)&a->pipe, CLIENTS_MAX, on_connection);
    return code < 0 ? err_set(e, code, "cannot listen on the admin socket '%s'", a->path) : 0;
}

int admin_open(struct root *r, struct err *e)
{
    struct admin *a = xcalloc(1, sizeof(*a));
    struct buf path = {0};
    buf_printf(&path, "%s/admin.sock", r->run_dir);
    a->root = r;
    a->path = buf_take(&path);
    list_init(&a->clients);
    uv_pipe_init(&r->loop, &a->pipe, 0);
    a->pipe.data = a;
    a->pipe_open = true;
    r->admin = a;
    return bind_socket(a, e);
}

static void on_server_closed(uv_handle_t *handle)
{
    struct admin *a = handle->data;
    a->pipe_open = false;
    admin_free_when_empty(a);
}

/* libuv unlinks the socket file when it closes the pipe that bound it. */
void admin_close(struct admin *a)
{
    if (!a || a->closing)
        return;
    a->closing = true;
    list_for_each_safe (n, &a->clients)
        client_close(list_entry(n, struct client, node));
    uv_close((uv_handle_t *)&a->pipe, on_server_closed);
}
