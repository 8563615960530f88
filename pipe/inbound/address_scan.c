/*
 * Addresses in running text; see address_scan.h. From each @ it goes both ways as far as letters of
 * an address go, a bounded number of them, so the cost is linear.
 */
#include "inbound/address_scan.h"

#include "mail/address.h"

static bool is_local(char c)
{
    unsigned char u = (unsigned char)c;
    return ascii_is_alpha(c) || ascii_is_digit(c) || u >= 0x80 || (c && strchr(".!#$%&'*+/=?^_`{|}~-", c));
}

static bool is_domain(char c)
{
    unsigned char u = (unsigned char)c;
    return ascii_is_alpha(c) || ascii_is_digit(c) || u >= 0x80 || c == '.' || c == '-' || c == '_';
}

static size_t back(struct strview text, size_t at, size_t stop)
{
    size_t start = at;

    if (start > stop && text.ptr[start - 1] == '"') { /* "quoted local part"@domain */
        for (size_t k = start - 1; k > stop && start - k < ADDRESS_LOCAL_MAX; k--)
            if (text.ptr[k - 1] == '"' && (k < 2 || text.ptr[k - 2] != '\\'))
                return k - 1;
    }
    while (start > stop && at - start < ADDRESS_LOCAL_MAX && is_local(text.ptr[start - 1]))
        start--;
    while (start < at && strchr("'`=.&/?", text.ptr[start])) /* punctuation before it */
        start++;
    return start;
}

static size_t forward(struct strview text, size_t at)
{
    size_t end = at;

    while (end < text.len && end - at < ADDRESS_DOMAIN_MAX && is_domain(text.ptr[end]))
        end++;
    while (end > at && strchr(".-_", text.ptr[end - 1]))
        end--;
    return end;
}

bool address_next(struct strview text, size_t *at, struct strview *ret)
{
    size_t stop = *at;

    while (stop < text.len) {
        const char *p = memchr(text.ptr + stop, '@', text.len - stop);
        if (!p)
            break;
        size_t sign = (size_t)(p - text.ptr), start = back(text, sign, stop);
        size_t end = forward(text, sign + 1);
        struct strview found = sv(text.ptr + start, end - start);
        stop = sign + 1;
        if (address_is_mailbox(found, ADDRESS_UTF8) &&
            memchr(p, '.', (size_t)(text.ptr + end - p))) {
            *at = end;
            *ret = found;
            return true;
        }
    }
    *at = text.len;
    return false;
}

struct strview address_first(struct strview text)
{
    struct strview found;
    size_t at = 0;
    return address_next(text, &at, &found) ? found : sv("", 0);
}
