/*
 * Addresses of event sinks; see event_sink.h. Called by the check of a configuration and by
 * pmta-ship.
 */
#include "mail/event_sink.h"

#include <stdio.h>

static const char expected[] =
    "expected https://HOST/PATH, redis://HOST[:PORT]/STREAM or kafka://HOST[:PORT],.../TOPIC";

/* Letters that a host, a stream or a topic may have: nothing that means something elsewhere. */
static bool is_plain(struct strview s, const char *more)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (!ascii_is_alpha(c) && !ascii_is_digit(c) && !(c && strchr(more, c)))
            return false;
    }
    return s.len > 0;
}

static bool host_and_port(struct strview s, struct strview *host, uint16_t *port)
{
    ptrdiff_t end = -1;
    uint64_t n;

    if (s.len && s.ptr[0] == '[') {
        end = sv_find(s, ']');
        if (end < 0)
            return false;
        *host = sv(s.ptr + 1, (size_t)end - 1);
        s = sv(s.ptr + end + 1, s.len - (size_t)end - 1);
    } else {
        end = sv_find(s, ':');
        *host = sv(s.ptr, end < 0 ? s.len : (size_t)end);
        s = sv(s.ptr + host->len, s.len - host->len);
    }
    if (!is_plain(*host, ".-_:"))
        return false;
    if (!s.len)
        return true;
    if (s.ptr[0] != ':' || !sv_to_u64(sv(s.ptr + 1, s.len - 1), &n) || !n || n > 65535)
        return false;
    *port = (uint16_t)n;
    return true;
}

static int bad(struct strview text, struct err *e)
{
    return err_set(e, ERR_SYNTAX, "'%.*s' is no address of a sink (%s)",
                   (int)MIN_OF(text.len, (size_t)100), text.ptr, expected);
}

static bool parse_http(struct strview rest)
{
    for (size_t i = 0; i < rest.len; i++)
        if ((unsigned char)rest.ptr[i] <= 0x20 || rest.ptr[i] == 0x7f)
            return false;
    return rest.len > 0 && rest.ptr[0] != '/';
}

static bool parse_redis(struct strview rest, struct sink_url *ret)
{
    ptrdiff_t slash = sv_find(rest, '/');
    struct strview host, stream;

    ret->port = 6379;
    if (slash < 0 || !host_and_port(sv(rest.ptr, (size_t)slash), &host, &ret->port))
        return false;
    stream = sv(rest.ptr + slash + 1, rest.len - (size_t)slash - 1);
    if (!is_plain(stream, ".-_:{}") || stream.len >= sizeof(ret->name) ||
        host.len >= sizeof(ret->host))
        return false;
    snprintf(ret->host, sizeof(ret->host), "%.*s", SV_ARG(host));
    snprintf(ret->name, sizeof(ret->name), "%.*s", SV_ARG(stream));
    return true;
}

static bool parse_kafka(struct strview rest, struct sink_url *ret)
{
    ptrdiff_t slash = sv_find(rest, '/');
    struct strview list, one, host;
    uint16_t port;

    if (slash <= 0 || (size_t)slash >= sizeof(ret->brokers))
        return false;
    list = sv(rest.ptr, (size_t)slash);
    snprintf(ret->brokers, sizeof(ret->brokers), "%.*s", SV_ARG(list));
    while (sv_split(&list, ',', &one))
        if (!host_and_port(one, &host, &port))
            return false;
    struct strview topic = sv(rest.ptr + slash + 1, rest.len - (size_t)slash - 1);
    if (!is_plain(topic, "._-") || topic.len > 249)
        return false;
    snprintf(ret->name, sizeof(ret->name), "%.*s", SV_ARG(topic));
    return true;
}

int sink_url_parse(struct strview text, struct sink_url *ret, struct err *e)
{
    static const struct {
        const char *scheme;
        enum sink_kind kind;
        bool tls;
    } schemes[] = {{"http://", SINK_HTTP, false},
                   {"https://", SINK_HTTP, true},
                   {"redis://", SINK_REDIS, false},
                   {"rediss://", SINK_REDIS, true},
                   {"kafka://", SINK_KAFKA, false}};
    bool ok = false;

    *ret = (struct sink_url){0};
    if (sv_eq(text, SV("stdout")))
        return 0;
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        struct strview scheme = sv_of(schemes[i].scheme);
        if (!sv_starts_nocase(text, scheme))
            continue;
        struct strview rest = sv(text.ptr + scheme.len, text.len - scheme.len);
        ret->kind = schemes[i].kind;
        ret->tls = schemes[i].tls;
        ok = ret->kind == SINK_HTTP    ? parse_http(rest)
             : ret->kind == SINK_REDIS ? parse_redis(rest, ret)
                                       : parse_kafka(rest, ret);
        break;
    }
    return ok ? 0 : bad(text, e);
}

bool sink_header_is_valid(struct strview line)
{
    ptrdiff_t colon = sv_find(line, ':');

    if (colon <= 0 || !is_plain(sv(line.ptr, (size_t)colon), "-_"))
        return false;
    for (size_t i = 0; i < line.len; i++)
        if ((unsigned char)line.ptr[i] < 0x20 || line.ptr[i] == 0x7f)
            return false;
    return true;
}

bool sink_option_is_valid(struct strview line)
{
    ptrdiff_t at = sv_find(line, '=');

    return at > 0 && is_plain(sv_trim(sv(line.ptr, (size_t)at)), "._-");
}
