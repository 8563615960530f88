/*
 * MTA-STS policies (RFC 8461) and the wire form of what is known about TLS to a domain's hosts; see
 * tls_policy.h. The resolver parses and encodes, the pipe decodes and asks.
 */
#include "mail/tls_policy.h"

enum { MAX_AGE_S = 31557600, MAX_HOSTS = 64, MAX_TLSA = 64 };

/* --- the policy file --- */

static bool is_pattern(struct strview s)
{
    if (sv_starts_nocase(s, SV("*.")))
        s = sv(s.ptr + 2, s.len - 2);
    if (!s.len || s.len > 253 || s.ptr[0] == '.' || s.ptr[s.len - 1] == '.')
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (!ascii_is_alpha(s.ptr[i]) && !ascii_is_digit(s.ptr[i]) && !memchr("-._", s.ptr[i], 3))
            return false;
    return true;
}

static int wrong(struct err *e, const char *what, struct strview value)
{
    return err_set(e, ERR_SYNTAX, "%s '%.*s' is not valid", what,
                   (int)MIN_OF(value.len, (size_t)80), value.ptr);
}

struct sts_seen {
    bool version, mode, max_age;
};

static int take_mode(struct sts_policy *p, struct strview v, struct err *e)
{
    if (sv_eq_nocase(v, SV("enforce")))
        p->mode = STS_ENFORCE;
    else if (sv_eq_nocase(v, SV("testing")))
        p->mode = STS_TESTING;
    else if (sv_eq_nocase(v, SV("none")))
        p->mode = STS_NONE;
    else
        return wrong(e, "mode", v);
    return 0;
}

static int take_max_age(struct sts_policy *p, struct strview v, struct err *e)
{
    uint64_t n;
    if (!sv_to_u64(v, &n) || v.len > 10)
        return wrong(e, "max_age", v);
    p->max_age_s = (uint32_t)MIN_OF(n, (uint64_t)MAX_AGE_S);
    return 0;
}

/* One "key: value" line. The first of each key counts; keys that nobody knows are passed over. */
static int take_line(struct sts_policy *p, struct sts_seen *seen, struct strview line,
                     struct err *e)
{
    ptrdiff_t colon = sv_find(line, ':');
    if (colon < 0)
        return wrong(e, "line", line);
    struct strview key = sv_trim(sv(line.ptr, (size_t)colon));
    struct strview v = sv_trim(sv(line.ptr + colon + 1, line.len - (size_t)colon - 1));

    if (sv_eq(key, SV("version")) && !seen->version) {
        seen->version = true;
        return sv_eq(v, SV("STSv1")) ? 0 : wrong(e, "version", v);
    }
    if (sv_eq(key, SV("mode")) && !seen->mode) {
        seen->mode = true;
        return take_mode(p, v, e);
    }
    if (sv_eq(key, SV("max_age")) && !seen->max_age) {
        seen->max_age = true;
        return take_max_age(p, v, e);
    }
    if (sv_eq(key, SV("mx"))) {
        if (!is_pattern(v))
            return wrong(e, "mx", v);
        if (p->mx_count == STS_MAX_MX)
            return err_set(e, ERR_SYNTAX, "more than %d mx lines", STS_MAX_MX);
        p->mx[p->mx_count++] = v;
    }
    return 0;
}

int sts_policy_parse(struct strview file, struct arena *a, struct sts_policy *ret, struct err *e)
{
    struct strview rest = file, line;
    struct sts_seen seen = {0};

    *ret = (struct sts_policy){.text = file};
    if (file.len > STS_MAX_BYTES)
        return err_set(e, ERR_SYNTAX, "the policy has more than %d bytes", STS_MAX_BYTES);
    ret->mx = arena_alloc(a, STS_MAX_MX * sizeof(ret->mx[0]));
    while (sv_split(&rest, '\n', &line)) {
        line = sv_trim(line);
        int r = line.len ? take_line(ret, &seen, line, e) : 0;
        if (r < 0)
            return r;
    }
    if (!seen.version || !seen.mode || !seen.max_age)
        return err_set(e, ERR_SYNTAX, "no %s line",
                       !seen.version ? "version"
                       : !seen.mode  ? "mode"
                                     : "max_age");
    if (ret->mode != STS_NONE && !ret->mx_count)
        return err_set(e, ERR_SYNTAX, "no mx line");
    return 0;
}

bool sts_policy_matches(const struct sts_policy *p, struct strview host)
{
    ptrdiff_t dot = sv_find(host, '.');

    for (size_t i = 0; i < p->mx_count; i++) {
        struct strview m = p->mx[i];
        if (!sv_starts_nocase(m, SV("*."))) {
            if (sv_eq_nocase(m, host))
                return true;
        } else if (dot > 0 && sv_eq_nocase(sv(m.ptr + 2, m.len - 2),
                                           sv(host.ptr + dot + 1, host.len - (size_t)dot - 1))) {
            return true;
        }
    }
    return false;
}

/* --- wire form: u8 tag, u32 length (little endian), value --- */

enum tag {
    TAG_STS_MODE = 1, /* one byte; opens the policy */
    TAG_STS_ID,
    TAG_STS_MAX_AGE,
    TAG_STS_MX,
    TAG_STS_TEXT,
    TAG_STS_FAILURE,
    TAG_MX_SECURE,
    TAG_HOST, /* name; opens a host */
    TAG_DANE_STATUS,
    TAG_DANE_BASE,
    TAG_TLSA, /* usage, selector, matching, data */
    TAG_DOMAIN_ALIAS,
};

static void put(struct buf *out, enum tag tag, const void *bytes, size_t n)
{
    char head[5] = {(char)tag, (char)n, (char)(n >> 8), (char)(n >> 16), (char)(n >> 24)};
    buf_append(out, head, sizeof(head));
    buf_append(out, bytes, n);
}

static void put_text(struct buf *out, enum tag tag, struct strview s)
{
    if (s.len)
        put(out, tag, s.ptr, s.len);
}

static void put_host(struct buf *out, const struct dane_host *h)
{
    uint8_t status = (uint8_t)h->status;

    put(out, TAG_HOST, h->host.ptr, h->host.len);
    put(out, TAG_DANE_STATUS, &status, 1);
    put_text(out, TAG_DANE_BASE, h->base_domain);
    for (size_t i = 0; i < h->count; i++) {
        const struct tlsa_record *t = &h->records[i];
        char head[8] = {TAG_TLSA,
                        (char)(t->data.len + 3),
                        (char)((t->data.len + 3) >> 8),
                        0,
                        0,
                        (char)t->usage,
                        (char)t->selector,
                        (char)t->matching};
        buf_append(out, head, sizeof(head));
        buf_append_sv(out, t->data);
    }
}

void tls_policy_encode(struct buf *out, const struct tls_policy *p)
{
    uint8_t mode = (uint8_t)p->sts.mode, secure = p->mx_secure;
    uint8_t age[4];

    for (int i = 0; i < 4; i++)
        age[i] = (uint8_t)(p->sts.max_age_s >> 8 * i);
    if (p->sts.mode != STS_NONE || p->sts.id.len || p->sts.failure.len) {
        put(out, TAG_STS_MODE, &mode, 1);
        put(out, TAG_STS_MAX_AGE, age, sizeof(age));
        put_text(out, TAG_STS_ID, p->sts.id);
        put_text(out, TAG_STS_TEXT, p->sts.text);
        put_text(out, TAG_STS_FAILURE, p->sts.failure);
        for (size_t i = 0; i < p->sts.mx_count; i++)
            put_text(out, TAG_STS_MX, p->sts.mx[i]);
    }
    if (secure)
        put(out, TAG_MX_SECURE, &secure, 1);
    put_text(out, TAG_DOMAIN_ALIAS, p->domain_alias);
    for (size_t i = 0; i < p->dane_count; i++)
        put_host(out, &p->dane[i]);
}

static int take_dane(struct dane_host *h, enum tag tag, struct strview v, struct arena *a)
{
    const uint8_t *b = (const uint8_t *)v.ptr;

    if (tag == TAG_DANE_BASE) {
        h->base_domain = v;
        return 0;
    }
    if (tag == TAG_DANE_STATUS) {
        if (v.len != 1 || b[0] > DANE_FAILED)
            return ERR_PROTOCOL;
        h->status = (enum dane_status)b[0];
        return 0;
    }
    if (v.len < 4 || h->count == MAX_TLSA)
        return ERR_PROTOCOL;
    if (!h->records)
        h->records = arena_alloc(a, MAX_TLSA * sizeof(h->records[0]));
    h->records[h->count++] = (struct tlsa_record){b[0], b[1], b[2], sv(v.ptr + 3, v.len - 3)};
    return 0;
}

static int take_sts(struct sts_policy *p, enum tag tag, struct strview v)
{
    const uint8_t *b = (const uint8_t *)v.ptr;

    switch (tag) {
    case TAG_STS_MODE:
        if (v.len != 1 || b[0] > STS_ENFORCE)
            return ERR_PROTOCOL;
        p->mode = (enum sts_mode)b[0];
        return 0;
    case TAG_STS_MAX_AGE:
        if (v.len != 4)
            return ERR_PROTOCOL;
        p->max_age_s =
            (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
        return 0;
    case TAG_STS_MX:
        if (p->mx_count == STS_MAX_MX)
            return ERR_PROTOCOL;
        p->mx[p->mx_count++] = v;
        return 0;
    case TAG_STS_ID:
        p->id = v;
        return 0;
    case TAG_STS_TEXT:
        p->text = v;
        return 0;
    default:
        p->failure = v;
        return 0;
    }
}

static int take(struct tls_policy *p, enum tag tag, struct strview v, struct arena *a)
{
    switch (tag) {
    case TAG_STS_MODE:
    case TAG_STS_ID:
    case TAG_STS_MAX_AGE:
    case TAG_STS_MX:
    case TAG_STS_TEXT:
    case TAG_STS_FAILURE:
        return take_sts(&p->sts, tag, v);
    case TAG_MX_SECURE:
        p->mx_secure = true;
        return 0;
    case TAG_DOMAIN_ALIAS:
        p->domain_alias = v;
        return 0;
    case TAG_HOST:
        if (p->dane_count == MAX_HOSTS)
            return ERR_PROTOCOL;
        p->dane[p->dane_count++] = (struct dane_host){.host = v};
        return 0;
    case TAG_DANE_STATUS:
    case TAG_DANE_BASE:
    case TAG_TLSA:
        return p->dane_count ? take_dane(&p->dane[p->dane_count - 1], tag, v, a) : ERR_PROTOCOL;
    }
    return 0; /* of a later version */
}

int tls_policy_decode(struct strview in, struct arena *a, struct tls_policy *ret)
{
    *ret = (struct tls_policy){0};
    if (!in.len)
        return 0;
    ret->sts.mx = arena_alloc(a, STS_MAX_MX * sizeof(ret->sts.mx[0]));
    ret->dane = arena_alloc(a, MAX_HOSTS * sizeof(ret->dane[0]));
    while (in.len) {
        const uint8_t *b = (const uint8_t *)in.ptr;
        size_t len =
            in.len < 5 ? 0
                       : (size_t)b[1] | (size_t)b[2] << 8 | (size_t)b[3] << 16 | (size_t)b[4] << 24;
        if (in.len < 5 || len > in.len - 5)
            return ERR_PROTOCOL;
        int r = take(ret, (enum tag)b[0], sv(in.ptr + 5, len), a);
        if (r < 0)
            return r;
        in = sv(in.ptr + 5 + len, in.len - 5 - len);
    }
    return 0;
}
