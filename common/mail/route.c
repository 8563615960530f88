/*
 * The host list between resolver and pipe; see route.h.
 */
#include "mail/route.h"

const char *route_status_name(enum route_status s)
{
    switch (s) {
#define ROUTE_CASE(name, number, text) \
    case ROUTE_##name:                 \
        return text;
        ROUTE_STATUSES(ROUTE_CASE)
#undef ROUTE_CASE
    }
    return "?";
}

void route_hosts_append(struct buf *out, uint16_t preference, int family, const void *bytes,
                        struct strview host)
{
    size_t len = family == AF_INET6 ? 16 : 4;
    char head[3] = {(char)(preference & 0xff), (char)(preference >> 8), family == AF_INET6 ? 6 : 4};

    buf_append(out, head, sizeof(head));
    buf_append(out, bytes, len);
    buf_append_char(out, (char)MIN_OF(host.len, (size_t)255));
    buf_append(out, host.ptr, MIN_OF(host.len, (size_t)255));
}

/* Takes one address off *in. */
static int decode_one(struct strview *in, struct route_address *ret)
{
    if (in->len < 3)
        return ERR_PROTOCOL;
    const unsigned char *p = (const unsigned char *)in->ptr;
    size_t len = p[2] == 6 ? 16 : 4;
    if ((p[2] != 4 && p[2] != 6) || in->len < 3 + len + 1)
        return ERR_PROTOCOL;
    ret->preference = (uint16_t)(p[0] | p[1] << 8);
    if (len == 16) {
        struct sockaddr_in6 *a = (struct sockaddr_in6 *)&ret->addr;
        a->sin6_family = AF_INET6;
        memcpy(&a->sin6_addr, p + 3, 16);
    } else {
        struct sockaddr_in *a = (struct sockaddr_in *)&ret->addr;
        a->sin_family = AF_INET;
        memcpy(&a->sin_addr, p + 3, 4);
    }
    size_t name = p[3 + len];
    if (in->len < 4 + len + name)
        return ERR_PROTOCOL;
    ret->host = sv(in->ptr + 4 + len, name);
    *in = sv(in->ptr + 4 + len + name, in->len - 4 - len - name);
    return 0;
}

int route_hosts_decode(struct strview in, struct arena *arena, struct route_address **ret,
                       size_t *ret_count)
{
    struct route_address *list = NULL;
    size_t count = 0, cap = 0;

    while (in.len) {
        if (count == ROUTE_MAX_ADDRESSES)
            return ERR_PROTOCOL;
        if (count == cap) {
            cap = cap ? cap * 2 : 8;
            struct route_address *more = arena_alloc(arena, cap * sizeof(*more));
            if (count)
                memcpy(more, list, count * sizeof(*more));
            list = more;
        }
        if (decode_one(&in, &list[count]) < 0)
            return ERR_PROTOCOL;
        count++;
    }
    *ret = list;
    *ret_count = count;
    return 0;
}
