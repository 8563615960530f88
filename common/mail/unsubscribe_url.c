/*
 * Unsubscribe links; see unsubscribe_url.h. Nothing is kept.
 */
#include "mail/unsubscribe_url.h"

#include "mail/address.h"

static int expected(struct err *e, const char *what)
{
    return err_set(e, ERR_SYNTAX, "expected %s", what);
}

int unsubscribe_url_check(struct strview url, struct err *e)
{
    struct strview s = sv_trim(url), host, port;

    if (s.len > UNSUBSCRIBE_URL_MAX)
        return expected(e, "200 bytes at most");
    if (!sv_starts_nocase(s, SV("https://")))
        return expected(e, "https://host/path/");
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] <= 0x20 || s.ptr[i] >= 0x7f || strchr("<>\"\\,?#", s.ptr[i]))
            return expected(e, "https://host/path/ without blanks, query and fragment");
    struct strview rest = sv(s.ptr + 8, s.len - 8);
    ptrdiff_t slash = sv_find(rest, '/');
    if (slash >= 0)
        rest.len = (size_t)slash;
    port = rest;
    uint64_t n = 443;
    sv_split(&port, ':', &host);
    if (!address_is_domain(host, 0) || (port.ptr && (!sv_to_u64(port, &n) || !n || n > 65535)))
        return expected(e, "https://host/path/");
    return 0;
}

void unsubscribe_url_put(struct strview url, struct buf *out)
{
    struct strview s = sv_trim(url);

    buf_append_sv(out, s);
    if (!s.len || s.ptr[s.len - 1] != '/')
        buf_append_char(out, '/');
}
