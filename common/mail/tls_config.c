/*
 * TLS files of the configuration; see tls_config.h. Called by root when it opens them, by the check of
 * the configuration, and by receivers when a listener comes.
 */
#include "mail/tls_config.h"

/* One word off the front. */
static struct strview take_word(struct strview *rest)
{
    struct strview s = sv_trim(*rest);
    size_t n = 0;

    while (n < s.len && s.ptr[n] != ' ' && s.ptr[n] != '\t')
        n++;
    *rest = sv(s.ptr + n, s.len - n);
    return sv(s.ptr, n);
}

static bool is_host(struct strview s)
{
    if (sv_starts_nocase(s, SV("*.")))
        s = sv(s.ptr + 2, s.len - 2);
    for (size_t i = 0; i < s.len; i++)
        if (!ascii_is_alpha(s.ptr[i]) && !ascii_is_digit(s.ptr[i]) && !memchr("-._", s.ptr[i], 3))
            return false;
    return s.len && s.len <= 253;
}

int tls_certificate_for_parse(struct strview text, struct tls_certificate_for *ret, struct err *e)
{
    struct strview rest = text;

    ret->host = take_word(&rest);
    ret->cert = take_word(&rest);
    ret->key = take_word(&rest);
    if (!is_host(ret->host) || !ret->cert.len || sv_trim(rest).len)
        return err_set(e, ERR_SYNTAX, "'%.*s' is not valid (expected HOST FILE [KEYFILE])",
                       (int)MIN_OF(text.len, (size_t)100), text.ptr);
    if (!ret->key.len)
        ret->key = ret->cert;
    return 0;
}

struct each {
    void (*fn)(void *arg, const struct config_value *v, struct strview file);
    void *arg;
};

static void one_path(void *arg, const struct config_value *v)
{
    const struct each *e = arg;
    e->fn(e->arg, v, sv_of(v->text));
}

static void one_pair(void *arg, const struct config_value *v)
{
    const struct each *e = arg;
    struct tls_certificate_for f;

    if (tls_certificate_for_parse(sv_of(v->text), &f, NULL) < 0)
        return;
    e->fn(e->arg, v, f.cert);
    e->fn(e->arg, v, f.key);
}

void tls_config_files(const struct config *cfg, enum tls_config_side side, struct strview name,
                      void (*fn)(void *arg, const struct config_value *v, struct strview file),
                      void *arg)
{
    struct each e = {fn, arg};

    if (side == TLS_CONFIG_RECEIVER) {
        config_each(cfg, DIR_TLS_CERTIFICATE_FOR, sv(NULL, 0), one_pair, &e);
        config_each(cfg, DIR_TLS_CLIENT_CA, sv(NULL, 0), one_path, &e);
        return;
    }
    const struct config_value *ca = config_get(cfg, NULL, DIR_TLS_CA_FILE);
    if (!ca->origin.file && ca->text)
        one_path(&e, ca);
    config_each(cfg, DIR_TLS_CA_FILE, name, one_path, &e);
    config_each(cfg, DIR_TLS_CLIENT_CERTIFICATE, name, one_path, &e);
    config_each(cfg, DIR_TLS_CLIENT_KEY, name, one_path, &e);
}
