/*
 * Parsers for the address forms of the configuration; see host_list.h. The configuration calls them
 * to check values, root for its listeners, resolver and pipes to use them. They touch nothing but
 * their arguments; names live in the caller's arena.
 */
#include "mail/host_list.h"

#include <arpa/inet.h>

int ip_address_parse(struct strview text, uint16_t port, struct sockaddr_storage *ret)
{
    char word[64];
    struct sockaddr_in *v4 = (struct sockaddr_in *)ret;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;

    if (!text.len || text.len >= sizeof(word) || memchr(text.ptr, 0, text.len))
        return ERR_SYNTAX;
    memcpy(word, text.ptr, text.len);
    word[text.len] = '\0';
    memset(ret, 0, sizeof(*ret));
    if (inet_pton(AF_INET, word, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        return 0;
    }
    if (inet_pton(AF_INET6, word, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        return 0;
    }
    return ERR_SYNTAX;
}

static int parse_port(struct strview text, uint16_t *ret)
{
    uint64_t n;
    if (!sv_to_u64(text, &n) || n > 65535)
        return ERR_SYNTAX;
    *ret = (uint16_t)n;
    return 0;
}

/* Cuts "[x]:port" or "x:port" in two; *ret_port stays empty without a port. False: brackets do not
 * match or something follows them. */
static bool split_port(struct strview text, struct strview *ret_host, struct strview *ret_port)
{
    *ret_port = sv(NULL, 0);
    if (text.len && text.ptr[0] == '[') {
        ptrdiff_t end = sv_find(text, ']');
        if (end < 0)
            return false;
        *ret_host = sv(text.ptr + 1, (size_t)end - 1);
        struct strview rest = sv(text.ptr + end + 1, text.len - (size_t)end - 1);
        if (!rest.len)
            return true;
        *ret_port = sv(rest.ptr + 1, rest.len - 1);
        return rest.ptr[0] == ':' && ret_port->len;
    }
    ptrdiff_t colon = sv_find(text, ':');
    *ret_host = text;
    if (colon < 0)
        return true;
    *ret_host = sv(text.ptr, (size_t)colon);
    *ret_port = sv(text.ptr + colon + 1, text.len - (size_t)colon - 1);
    return ret_port->len > 0;
}

int name_server_parse(struct strview text, struct sockaddr_storage *ret)
{
    struct strview host, port_text;
    uint16_t port = 53;

    if (ip_address_parse(text, port, ret) == 0)
        return 0;
    if (!split_port(text, &host, &port_text))
        return ERR_SYNTAX;
    if (port_text.len && (parse_port(port_text, &port) < 0 || !port))
        return ERR_SYNTAX;
    return ip_address_parse(host, port, ret);
}

int listener_address_parse(struct strview text, struct sockaddr_storage *ret)
{
    struct strview host, port_text;
    uint16_t port;

    if (!split_port(text, &host, &port_text) || parse_port(port_text, &port) < 0)
        return ERR_SYNTAX;
    if (sv_eq(host, SV("*")))
        host = SV("0.0.0.0");
    return ip_address_parse(host, port, ret);
}

static bool is_host_name(struct strview s)
{
    size_t label = 0;
    if (!s.len || s.len > 253)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (c == '.' ? label == 0
                     : !ascii_is_alpha(c) && !ascii_is_digit(c) && c != '-' && c != '_')
            return false;
        label = c == '.' ? 0 : label + 1;
        if (label > 63)
            return false;
    }
    return true;
}

/* One host of the list. */
static int parse_entry(struct strview text, struct arena *a, struct host_entry *ret, struct err *e)
{
    const struct strview mx = SV("lookup-mx:"), v6 = SV("IPv6:");
    struct strview host, port = {NULL, 0};

    if (sv_starts_nocase(text, mx)) {
        ret->kind = HOST_LOOKUP_MX;
        host = sv_trim(sv(text.ptr + mx.len, text.len - mx.len));
    } else if (!split_port(text, &host, &port)) {
        return err_set(e, ERR_SYNTAX, "'%.*s' is not a host", SV_ARG(text));
    }
    if (port.len && (parse_port(port, &ret->port) < 0 || !ret->port))
        return err_set(e, ERR_SYNTAX, "'%.*s' is not a port (expected 1 to 65535)", SV_ARG(port));
    bool brackets = text.ptr[0] == '[';
    if (brackets && sv_starts_nocase(host, v6))
        host = sv(host.ptr + v6.len, host.len - v6.len);
    if (ret->kind != HOST_LOOKUP_MX && ip_address_parse(host, ret->port, &ret->addr) == 0)
        ret->kind = HOST_ADDRESS;
    else if (brackets || !is_host_name(host))
        return err_set(e, ERR_SYNTAX,
                       "'%.*s' is not a host (expected a host name, [ADDRESS], "
                       "either with :PORT, or lookup-mx:DOMAIN)",
                       SV_ARG(text));
    char *name = arena_strndup(a, host.ptr, host.len);
    str_lower(name, host.len);
    ret->name = sv(name, host.len);
    return 0;
}

static size_t count_entries(struct strview text)
{
    size_t n = 1;
    for (size_t i = 0; i < text.len; i++)
        n += text.ptr[i] == ',' || text.ptr[i] == ';';
    return n;
}

int host_list_parse(struct strview text, struct arena *a, struct host_entry **ret,
                    size_t *ret_count, struct err *e)
{
    struct strview group, item;
    unsigned number = 0;
    size_t count = 0;

    *ret = NULL;
    *ret_count = 0;
    text = sv_trim(text);
    if (!text.len)
        return 0;
    if (count_entries(text) > HOST_LIST_MAX)
        return err_set(e, ERR_SYNTAX, "more than %d hosts", HOST_LIST_MAX);
    struct host_entry *list = arena_alloc(a, count_entries(text) * sizeof(*list));
    for (; sv_split(&text, ';', &group); number++) {
        while (sv_split(&group, ',', &item)) {
            item = sv_trim(item);
            if (!item.len)
                return err_set(e, ERR_SYNTAX, "a host is missing between separators");
            list[count].group = number;
            int r = parse_entry(item, a, &list[count++], e);
            if (r < 0)
                return r;
        }
    }
    *ret = list;
    *ret_count = count;
    return 0;
}
