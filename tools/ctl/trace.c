/*
 * trace and trace inbound: print the dialogue as pipes or receivers tell it, until they tell the
 * end, or enough was seen. Sessions come in at any receiver: so all are asked, each tells of so
 * many as are wanted, and those beyond are left out here. One request, many objects; the connection
 * stays open meanwhile, and closing it (Ctrl-C) ends the trace.
 */
#include "client.h"
#include "command.h"
#include "logs.h"
#include "page.h"

#include <errno.h>
#include <stdio.h>

struct view {
    const struct parsed *parsed;
    struct page page;
    bool ended, ok, failed;
    int64_t attempts, wanted; /* of all processes together; attempts or sessions */
    char heading[600];        /* the last one */
    char said[600];           /* the last complaint, or what is waited for: receivers agree */
    char (*sessions)[64];     /* ids of those that are shown: `wanted` at most */
    int64_t session_count;
};

/* It was said already, by another process. */
static bool is_repeated(struct view *v, const char *text)
{
    bool same = strcmp(text, v->said) == 0;

    snprintf(v->said, sizeof(v->said), "%s", text);
    return same;
}

static void complain(struct view *v, const char *process, const char *text)
{
    struct buf clean = {0};

    page_clean(&clean, text);
    fprintf(stderr, "pmtactl: %s%s%s\n", process ? process : "", process ? ": " : "",
            buf_data(&clean));
    buf_free(&clean);
    v->failed = true;
}

/* "+12.345s", in a column of its own. */
static void put_elapsed(struct page *p, const json_t *o)
{
    char text[HUMAN_SIZE];
    int64_t ms;

    if (field_number(o, "at_ms", &ms))
        snprintf(text, sizeof(text), "%5lld.%03llds", (long long)ms / 1000, (long long)ms % 1000);
    else
        snprintf(text, sizeof(text), "%10s", "");
    page_text(p, COLOUR_DIM, text);
}

/* A line with queue or session, and process, whenever they are others than before. */
static void put_heading(struct view *v, const json_t *o)
{
    const char *queue = field_text(o, "queue"), *process = field_text(o, "process");
    const char *session = field_text(o, "session"), *client = field_text(o, "client"),
               *listener = field_text(o, "listener");
    char heading[sizeof(v->heading)];
    struct buf clean = {0};

    if (session)
        snprintf(heading, sizeof(heading), "session %s from %s at %s  %s", session,
                 client ? client : "?", listener ? listener : "?", process ? process : "");
    else if (queue)
        snprintf(heading, sizeof(heading), "%s  %s", queue, process ? process : "");
    else
        return;
    if (strcmp(heading, v->heading) == 0)
        return;
    memcpy(v->heading, heading, sizeof(heading));
    page_clean(&clean, heading);
    page_text(&v->page, COLOUR_STRONG, buf_data(&clean));
    buf_append_char(&v->page.out, '\n');
    buf_free(&clean);
}

static enum colour reply_colour(const char *text)
{
    return *text == '5' ? COLOUR_BAD : *text == '4' ? COLOUR_WARN : COLOUR_GOOD;
}

static void put_step(struct view *v, const json_t *o, const char *kind)
{
    const char *text = field_text(o, "text") ? field_text(o, "text") : "";
    struct page *p = &v->page;
    struct buf clean = {0};

    put_heading(v, o);
    put_elapsed(p, o);
    page_clean(&clean, text);
    bool sent = strcmp(kind, "sent") == 0, received = strcmp(kind, "received") == 0;
    bool reply = field_text(o, "session") ? sent : received;
    page_printf(p, "  %c ", sent ? '>' : received ? '<' : '*');
    page_text(p,
              reply              ? reply_colour(text)
              : sent || received ? COLOUR_STRONG
                                 : COLOUR_DIM,
              buf_data(&clean));
    buf_append_char(&p->out, '\n');
    buf_free(&clean);
}

static void put_end(struct view *v, const json_t *o)
{
    const char *process = field_text(o, "process"), *text = field_text(o, "text");
    int64_t left_out = 0;

    field_number(o, "left_out", &left_out);
    page_printf(&v->page, "%s: %s", process ? process : "?", text ? text : "");
    if (left_out)
        page_printf(&v->page, ", %lld lines are left out", (long long)left_out);
    buf_append_char(&v->page.out, '\n');
}

/* One more session than are wanted: another receiver has seen it meanwhile. */
static bool is_beyond(struct view *v, const json_t *o)
{
    const char *session = field_text(o, "session");

    if (!session)
        return false;
    for (int64_t i = 0; i < v->session_count; i++)
        if (strcmp(v->sessions[i], session) == 0)
            return false;
    if (v->session_count == v->wanted)
        return true;
    snprintf(v->sessions[v->session_count++], sizeof(v->sessions[0]), "%s", session);
    return false;
}

static bool is_waiting(const json_t *o)
{
    return !field_text(o, "session") && !field_text(o, "queue");
}

/* An object of a trace. */
static void take_step(struct view *v, const json_t *o, const char *kind, struct strview line)
{
    const char *text = field_text(o, "text");
    bool json = parsed_has(v->parsed, OPT_JSON), end = strcmp(kind, "end") == 0;
    int64_t n = 0;

    if (is_beyond(v, o))
        return;
    if (json_is_true(json_object_get(o, "over")))
        v->attempts++;
    else if (field_number(o, "attempts", &n)) /* at the end; sessions were counted one by one */
        v->attempts += n;
    if (json)
        printf("%.*s\n", SV_ARG(line));
    else if (end)
        put_end(v, o);
    else if (!is_waiting(o) || !is_repeated(v, text ? text : ""))
        put_step(v, o, kind);
}

static void take(struct view *v, struct strview line)
{
    json_error_t trouble;
    json_t *o = json_loadb(line.ptr, line.len, 0, &trouble);
    const char *kind = field_text(o, "kind"), *error = field_text(o, "error");

    if (json_is_true(json_object_get(o, "end"))) {
        v->ended = true;
        v->ok = json_is_true(json_object_get(o, "ok"));
        if (error)
            complain(v, NULL, error);
    } else if (error) {
        if (!is_repeated(v, error))
            complain(v, field_text(o, "process"), error);
    } else if (kind) {
        take_step(v, o, kind, line);
    } else if (parsed_has(v->parsed, OPT_JSON)) {
        printf("%.*s\n", SV_ARG(line));
    }
    json_decref(o);
    fwrite(buf_data(&v->page.out), 1, buf_len(&v->page.out), stdout);
    buf_reset(&v->page.out);
    fflush(stdout);
}

static int receive(struct client *c, struct view *v, struct err *e)
{
    struct strview line;

    while (!v->ended && v->attempts < v->wanted) {
        int rc = client_line(c, &line, e);
        if (rc < 0)
            return rc;
        if (rc == 0)
            return err_set(e, ERR_CLOSED, "pmtad closed the connection before the trace ended");
        if (sv_trim(line).len)
            take(v, line);
        if (ferror(stdout))
            return err_set(e, -EPIPE, "cannot write to standard output");
    }
    return 0;
}

/* The request, with what --timeout means here: how long to wait for the attempt. */
static int make_request(const struct parsed *p, struct buf *out, struct err *e)
{
    int rc = command_request(p, out, e);
    int ms = parsed_timeout_ms(p);

    if (rc < 0 || !p->options[OPT_TIMEOUT])
        return rc;
    buf_truncate(out, buf_len(out) - 1); /* the object is open again */
    buf_printf(out, ",\"timeout\":\"%dms\"}", ms < 0 ? INT32_MAX : ms);
    return 0;
}

int trace_run(const struct parsed *p)
{
    enum { SILENCE_MS = 30000 }; /* the pipe says something every second */
    struct view v = {.parsed = p, .wanted = 1};
    uint64_t count = 1;
    struct buf request = {0};
    struct client c;
    struct err e = {0};
    int status = 0;

    if (p->options[OPT_COUNT] && sv_to_u64(sv_of(p->options[OPT_COUNT]), &count))
        v.wanted = (int64_t)MIN_OF(MAX_OF(count, UINT64_C(1)), UINT64_C(10000));
    v.sessions = xcalloc((size_t)v.wanted, sizeof(v.sessions[0]));
    page_init(&v.page);
    if (make_request(p, &request, &e) < 0 ||
        client_connect(&c, parsed_socket(p), SILENCE_MS, &e) < 0) {
        complain(&v, NULL, e.text);
        buf_free(&request);
        free(v.sessions);
        return 2;
    }
    if (client_send(&c, buf_view(&request), &e) < 0 || receive(&c, &v, &e) < 0)
        complain(&v, NULL, e.text);
    bool enough = v.attempts >= v.wanted; /* then nobody waits for the others */
    if (v.failed || (!v.ok && !enough) || !v.attempts)
        status = 1;
    client_close(&c);
    buf_free(&request);
    buf_free(&v.page.out);
    free(v.sessions);
    return status;
}
