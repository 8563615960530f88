/*
 * The text form of message ids: 13 characters of Crockford's base 32 in lower case, most
 * significant first, so that text sorts as time does.
 */
#include "spool/spool.h"

static const char digits[] = "0123456789abcdefghjkmnpqrstvwxyz";

char *message_id_format(message_id id, char *out)
{
    for (int i = MESSAGE_ID_SIZE - 2; i >= 0; i--, id >>= 5)
        out[i] = digits[id & 31];
    out[MESSAGE_ID_SIZE - 1] = '\0';
    return out;
}

/* Value of a digit; letters that are easily misread count as the digit they look like. */
static int digit_value(char c)
{
    c = ascii_lower(c);
    if (c == 'o')
        return 0;
    if (c == 'i' || c == 'l')
        return 1;
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

bool message_id_parse(struct strview s, message_id *ret)
{
    message_id id = 0;
    if (s.len != MESSAGE_ID_SIZE - 1)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        int v = digit_value(s.ptr[i]);
        if (v < 0 || (i == 0 && v > 15))
            return false;
        id = id << 5 | (unsigned)v;
    }
    *ret = id;
    return id != 0;
}
