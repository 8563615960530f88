/*
 * See dkim_record.h.
 */
#include "check/dkim_record.h"

#include "check/tags.h"

enum { GOOD_RSA_BITS = 2048 };

static bool is_ed25519(const char *algorithm)
{
    return strcmp(algorithm, "ed25519-sha256") == 0;
}

static bool list_has(struct strview list, const char *word)
{
    struct strview one;

    while (sv_split(&list, ':', &one))
        if (sv_eq_nocase(sv_trim(one), sv_of(word)))
            return true;
    return false;
}

static enum dkim_record check_one(struct strview record, const char *algorithm, unsigned bits,
                                  struct strview public_key)
{
    struct strview v = tags_value(record, "v"), k = tags_value(record, "k"),
                   p = tags_value(record, "p"), h = tags_value(record, "h"),
                   s = tags_value(record, "s"), t = tags_value(record, "t");

    if (v.ptr && !tags_is_version(record, "DKIM1"))
        return DKIM_RECORD_VERSION;
    if (!p.ptr)
        return DKIM_RECORD_NO_KEY;
    if (!p.len)
        return DKIM_RECORD_REVOKED;
    if (!sv_eq_nocase(k.ptr ? k : SV("rsa"), is_ed25519(algorithm) ? SV("ed25519") : SV("rsa")))
        return DKIM_RECORD_TYPE;
    if (h.ptr && !list_has(h, "sha256"))
        return DKIM_RECORD_HASH;
    if (s.ptr && !list_has(s, "*") && !list_has(s, "email"))
        return DKIM_RECORD_SERVICE;
    if (!tags_same_base64(p, public_key))
        return DKIM_RECORD_OTHER_KEY;
    if (t.ptr && list_has(t, "y"))
        return DKIM_RECORD_TESTING;
    return !is_ed25519(algorithm) && bits < GOOD_RSA_BITS ? DKIM_RECORD_SHORT : DKIM_RECORD_MATCHES;
}

enum dkim_record dkim_record_check(const struct lookup_result *r, const char *algorithm,
                                   unsigned bits, struct strview public_key)
{
    if (r->status == LOOKUP_TEMPORARY)
        return DKIM_RECORD_UNKNOWN;
    if (r->status != LOOKUP_OK || !r->count)
        return DKIM_RECORD_MISSING;
    if (r->count > 1)
        return DKIM_RECORD_SEVERAL;
    return check_one(r->records[0], algorithm, bits, public_key);
}

const char *dkim_record_text(enum dkim_record v)
{
    static const char *const texts[] = {
#define DKIM_RECORD_TEXT(id, level, text) text,
        DKIM_RECORDS(DKIM_RECORD_TEXT)
#undef DKIM_RECORD_TEXT
    };
    return texts[v];
}

void dkim_record_write(struct buf *out, const char *algorithm, struct strview public_key)
{
    buf_printf(out, "v=DKIM1; k=%s; p=%.*s", is_ed25519(algorithm) ? "ed25519" : "rsa",
               SV_ARG(public_key));
}
