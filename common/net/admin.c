/*
 * Admin requests in a child; see admin.h.
 */
#include "net/admin.h"

#include "base/buf.h"

void admin_send(const struct admin *a, json_t *object)
{
    json_t *line = json_pack("{s:s}", "process", a->process);
    json_object_update(line, object);
    json_decref(object);
    char *text = json_dumps(line, JSON_COMPACT);
    json_decref(line);
    if (text)
        child_admin_reply(a->child, a->token, sv_of(text), false);
    free(text);
}

void admin_end(const struct admin *a)
{
    child_admin_reply(a->child, a->token, SV(""), true);
}

void admin_error(const struct admin *a, const char *fmt, ...)
{
    struct buf text = {0};
    va_list ap;

    va_start(ap, fmt);
    buf_vprintf(&text, fmt, ap);
    va_end(ap);
    json_t *object = json_object();
    json_object_set_new(object, "error", admin_json_text(buf_view(&text)));
    admin_send(a, object);
    admin_end(a);
    buf_free(&text);
}

/* Length of the UTF-8 sequence at s, or 0 when it is none. */
static size_t utf8_length(struct strview s)
{
    unsigned char c = (unsigned char)s.ptr[0];
    size_t n = c < 0x80                ? 1
               : c >= 0xc2 && c < 0xe0 ? 2
               : c >= 0xe0 && c < 0xf0 ? 3
               : c >= 0xf0 && c < 0xf5 ? 4
                                       : 0;
    if (!n || n > s.len)
        return 0;
    for (size_t i = 1; i < n; i++)
        if (((unsigned char)s.ptr[i] & 0xc0) != 0x80)
            return 0;
    return n;
}

json_t *admin_json_text(struct strview s)
{
    json_t *fast = json_stringn(s.ptr ? s.ptr : "", s.len);
    struct buf clean = {0};

    if (fast)
        return fast;
    while (s.len) {
        size_t n = utf8_length(s);
        if (n)
            buf_append(&clean, s.ptr, n);
        else
            buf_append_str(&clean, "\xef\xbf\xbd");
        n = n ? n : 1;
        s = sv(s.ptr + n, s.len - n);
    }
    fast = json_stringn(buf_data(&clean), buf_len(&clean));
    buf_free(&clean);
    return fast ? fast : json_string("?");
}

struct strview admin_text(const struct admin *a, const char *name)
{
    json_t *v = json_object_get(a->args, name);
    return json_is_string(v) ? sv(json_string_value(v), json_string_length(v)) : sv(NULL, 0);
}

bool admin_flag(const struct admin *a, const char *name)
{
    return json_is_true(json_object_get(a->args, name));
}

int64_t admin_number(const struct admin *a, const char *name, int64_t fallback)
{
    json_t *v = json_object_get(a->args, name);
    return json_is_integer(v) ? (int64_t)json_integer_value(v) : fallback;
}

void admin_dispatch(struct child *child, const char *process, const struct child_admin_request *req,
                    const struct admin_handler *handlers, size_t count, void *owner)
{
    struct admin a = {child, req->token, NULL, process};
    struct strview rest = sv_trim(req->line), verb = sv(NULL, 0), target = sv(NULL, 0);
    json_error_t trouble;

    sv_split(&rest, ' ', &verb);
    sv_split(&rest, ' ', &target);
    rest = rest.ptr ? sv_trim(rest) : SV("");
    a.args =
        rest.len ? json_loadb(rest.ptr, rest.len, JSON_REJECT_DUPLICATES, &trouble) : json_object();
    if (!json_is_object(a.args)) {
        admin_error(&a, "arguments are not a JSON object: %s",
                    a.args ? "wrong type" : trouble.text);
        json_decref(a.args);
        return;
    }
    enum admin_verb v = admin_verb_find(verb.ptr, verb.len);
    for (size_t i = 0; i < count; i++) {
        if (handlers[i].verb != v)
            continue;
        handlers[i].handle(owner, &a);
        json_decref(a.args);
        return;
    }
    admin_error(&a, "verb '%.*s' is not known here", SV_ARG(verb));
    json_decref(a.args);
}
