/*
 * The two ways to write a signing key; see domain_key.h. Called by the configuration for checks and
 * by the signer.
 */
#include "mail/domain_key.h"

static bool is_dns_name(struct strview s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!ascii_is_alpha(s.ptr[i]) && !ascii_is_digit(s.ptr[i]) && !memchr("-_.", s.ptr[i], 3) &&
            !((unsigned char)s.ptr[i] & 0x80))
            return false;
    return s.len && s.len <= 253 && s.ptr[0] != '.' && s.ptr[s.len - 1] != '.';
}

static struct strview next_word(struct strview *rest)
{
    struct strview s = sv_trim(*rest);
    size_t n = 0;
    while (n < s.len && s.ptr[n] != ' ' && s.ptr[n] != '\t')
        n++;
    *rest = sv(s.ptr + n, s.len - n);
    return sv(s.ptr, n);
}

int domain_key_parse(struct strview text, bool old_form, struct domain_key *ret, struct err *e)
{
    struct strview rest = text;

    *ret = (struct domain_key){0};
    if (old_form) {
        ret->file = next_word(&rest);
        ret->selector = next_word(&rest);
        ret->domain = sv_trim(rest);
    } else if (sv_split(&rest, ',', &ret->selector) && sv_split(&rest, ',', &ret->domain)) {
        ret->selector = sv_trim(ret->selector);
        ret->domain = sv_trim(ret->domain);
        ret->file = rest.ptr ? sv_trim(rest) : sv(NULL, 0);
    }
    if (!ret->file.len || !is_dns_name(ret->selector) ||
        (!sv_eq(ret->domain, SV("*")) && !is_dns_name(ret->domain)))
        return err_set(e, ERR_SYNTAX, "'%.*s' is not valid (expected %s)",
                       (int)MIN_OF(text.len, (size_t)100), text.ptr,
                       old_form ? "FILE SELECTOR DOMAIN" : "SELECTOR,DOMAIN,FILE");
    return 0;
}

bool domain_key_matches(const struct domain_key *k, struct strview domain)
{
    size_t n = k->domain.len;

    if (sv_eq(k->domain, SV("*")) || sv_eq_nocase(k->domain, domain))
        return true;
    return domain.len > n && domain.ptr[domain.len - n - 1] == '.' &&
           sv_ends_nocase(domain, k->domain);
}
