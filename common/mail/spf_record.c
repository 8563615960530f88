/*
 * An SPF record taken apart (RFC 7208 sections 4.5, 5, 6 and 12). The whole record is checked before
 * anything of it is used: an error anywhere is a permanent error (section 4.6).
 */
#include "mail/spf_int.h"

#include <arpa/inet.h>

static const char *const mechanisms[] = {
#define SPF_NAME(id, text) text,
    SPF_MECHANISMS(SPF_NAME)
#undef SPF_NAME
};

bool spf_is_record(struct strview text)
{
    return sv_starts_nocase(text, SV("v=spf1")) && (text.len == 6 || text.ptr[6] == ' ');
}

static int wrong(struct err *e, struct strview term, const char *why)
{
    return err_set(e, ERR_SYNTAX, "\"%.*s\": %s", (int)MIN_OF(term.len, (size_t)100), term.ptr,
                   why);
}

/* ABNF: no zero in front. */
static bool parse_length(struct strview digits, uint64_t max, uint8_t *ret)
{
    uint64_t n;

    if (!sv_to_u64(digits, &n) || n > max || (digits.len > 1 && digits.ptr[0] == '0'))
        return false;
    *ret = (uint8_t)n;
    return true;
}

/* "/24", "//64", "/24//64" at the end of text are cut off. False: not valid. */
static bool cut_prefixes(struct strview *text, struct spf_term *t)
{
    for (size_t i = 0; i + 1 < text->len; i++) {
        if (text->ptr[i] != '/' || text->ptr[i + 1] != '/')
            continue;
        if (!parse_length(sv(text->ptr + i + 2, text->len - i - 2), 128, &t->prefix6))
            return false;
        text->len = i;
        break;
    }
    for (size_t i = text->len; i-- > 0 && (ascii_is_digit(text->ptr[i]) || text->ptr[i] == '/');) {
        if (text->ptr[i] != '/')
            continue;
        if (!parse_length(sv(text->ptr + i + 1, text->len - i - 1), 32, &t->prefix4))
            return false;
        text->len = i;
        break;
    }
    return true;
}

static bool parse_network(struct strview text, struct spf_term *t)
{
    char address[64];
    bool v6 = t->mechanism == SPF_MECH_IP6;
    ptrdiff_t slash = sv_find(text, '/');
    uint8_t n = v6 ? 128 : 32;

    if (slash >= 0) {
        if (!parse_length(sv(text.ptr + slash + 1, text.len - (size_t)slash - 1), n, &n))
            return false;
        text.len = (size_t)slash;
    }
    if (!text.len || text.len >= sizeof(address))
        return false;
    memcpy(address, text.ptr, text.len);
    address[text.len] = '\0';
    *(v6 ? &t->prefix6 : &t->prefix4) = n;
    return inet_pton(v6 ? AF_INET6 : AF_INET, address, t->address) == 1;
}

static int parse_argument(struct spf_term *t, char separator, struct strview rest, struct err *e)
{
    bool network = t->mechanism == SPF_MECH_IP4 || t->mechanism == SPF_MECH_IP6;
    bool needs = network || t->mechanism == SPF_MECH_INCLUDE || t->mechanism == SPF_MECH_EXISTS;

    if (t->mechanism == SPF_MECH_ALL && separator)
        return wrong(e, t->text, "'all' takes no argument");
    if (needs && separator != ':')
        return wrong(e, t->text, "an argument is missing");
    if (network)
        return parse_network(rest, t) ? 0 : wrong(e, t->text, "not a network");
    if (t->mechanism == SPF_MECH_A || t->mechanism == SPF_MECH_MX) {
        if (separator == '/')
            rest = sv(rest.ptr - 1, rest.len + 1);
        if (!cut_prefixes(&rest, t))
            return wrong(e, t->text, "not a prefix length");
    } else if (separator == '/') {
        return wrong(e, t->text, "takes no prefix length");
    }
    if (separator == ':' && !rest.len)
        return wrong(e, t->text, "an argument is missing");
    if (rest.len && spf_domain_spec_check(rest) < 0)
        return wrong(e, t->text, "not a domain or macro");
    t->domain = rest;
    return 0;
}

static int parse_directive(struct strview word, struct spf_term *t, struct err *e)
{
    static const enum spf_result results[] = {SPF_PASS, SPF_FAIL, SPF_SOFTFAIL, SPF_NEUTRAL};
    const char *qualifier = word.len ? memchr("+-~?", word.ptr[0], 4) : NULL;
    struct strview name = word;
    size_t n = 0;

    *t = (struct spf_term){.result = SPF_PASS, .text = word, .prefix4 = 32, .prefix6 = 128};
    if (qualifier) {
        t->result = results[qualifier - "+-~?"];
        name = sv(word.ptr + 1, word.len - 1);
    }
    while (n < name.len && name.ptr[n] != ':' && name.ptr[n] != '/')
        n++;
    char separator = n < name.len ? name.ptr[n] : '\0';
    struct strview rest = separator ? sv(name.ptr + n + 1, name.len - n - 1) : sv(name.ptr + n, 0);
    for (size_t i = 0; i < ARRAY_LEN(mechanisms); i++) {
        if (!sv_eq_nocase(sv(name.ptr, n), sv_of(mechanisms[i])))
            continue;
        t->mechanism = (enum spf_mechanism)i;
        return parse_argument(t, separator, rest, e);
    }
    return wrong(e, word, "no such mechanism");
}

static bool is_modifier_name(struct strview s)
{
    if (!s.len || !ascii_is_alpha(s.ptr[0]))
        return false;
    for (size_t i = 1; i < s.len; i++)
        if (!ascii_is_alpha(s.ptr[i]) && !ascii_is_digit(s.ptr[i]) && !memchr("-_.", s.ptr[i], 3))
            return false;
    return true;
}

static int parse_modifier(struct strview word, size_t equals, struct spf_record *r, struct err *e)
{
    struct strview name = sv(word.ptr, equals);
    struct strview value = sv(word.ptr + equals + 1, word.len - equals - 1);
    struct strview *known = sv_eq_nocase(name, SV("redirect")) ? &r->redirect
                            : sv_eq_nocase(name, SV("exp"))    ? &r->exp
                                                               : NULL;

    if (spf_macro_check(value, false) < 0)
        return wrong(e, word, "not a macro string");
    if (!known)
        return 0;
    if (known->ptr)
        return wrong(e, word, "given twice");
    if (!value.len)
        return wrong(e, word, "a domain is missing");
    if (spf_domain_spec_check(value) < 0)
        return wrong(e, word, "not a domain or macro");
    *known = value;
    return 0;
}

int spf_record_parse(struct strview text, struct arena *a, struct spf_record *ret, struct err *e)
{
    struct strview rest = sv(text.ptr + 6, text.len - 6), word;

    *ret = (struct spf_record){0};
    if (text.len > SPF_MAX_RECORD)
        return err_set(e, ERR_SYNTAX, "the record has more than %d bytes", SPF_MAX_RECORD);
    ret->terms = arena_alloc(a, SPF_MAX_TERMS * sizeof(ret->terms[0]));
    while (sv_split(&rest, ' ', &word)) {
        size_t n = 0;
        if (!word.len)
            continue;
        while (n < word.len && !memchr(":/=", word.ptr[n], 3))
            n++;
        int r = 0;
        if (n < word.len && word.ptr[n] == '=' && is_modifier_name(sv(word.ptr, n)))
            r = parse_modifier(word, n, ret, e);
        else if (ret->count == SPF_MAX_TERMS)
            r = err_set(e, ERR_SYNTAX, "the record has more than %d terms", SPF_MAX_TERMS);
        else
            r = parse_directive(word, &ret->terms[ret->count++], e);
        if (r < 0)
            return r;
    }
    return 0;
}
