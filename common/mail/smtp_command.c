/*
 * SMTP command lines; see smtp_command.h. The two parameter tables at the end map a keyword to the
 * function that takes its value; each function returns NULL or the reply that refuses it.
 */
#include "mail/smtp_command.h"

#include "mail/address.h"

static const char *const verb_names[] = {
#define VERB_NAME(id, name) name,
    SMTP_VERBS(VERB_NAME)
#undef VERB_NAME
};

const char *smtp_verb_name(enum smtp_verb v)
{
    return v < SMTP_VERB_COUNT ? verb_names[v] : "?";
}

enum smtp_verb smtp_command_parse(struct strview line, struct strview *ret_args)
{
    size_t n = 0;

    while (n < line.len && ascii_is_alpha(line.ptr[n]))
        n++;
    *ret_args = sv_trim(sv(line.ptr + n, line.len - n));
    if (n < line.len && line.ptr[n] != ' ' && line.ptr[n] != '\t')
        return SMTP_VERB_COUNT;
    for (int v = 0; v < SMTP_VERB_COUNT; v++)
        if (sv_eq_nocase(sv(line.ptr, n), sv_of(verb_names[v])))
            return (enum smtp_verb)v;
    return SMTP_VERB_COUNT;
}

bool smtp_is_xtext(struct strview s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c == '+') {
            for (int digit = 0; digit < 2; digit++) {
                if (++i >= s.len)
                    return false;
                c = (unsigned char)s.ptr[i];
                if (!ascii_is_digit((char)c) && !(c >= 'A' && c <= 'F'))
                    return false;
            }
        } else if (c < 0x21 || c > 0x7e || c == '=') {
            return false;
        }
    }
    return true;
}

bool smtp_bdat_parse(struct strview args, uint64_t *ret_bytes, bool *ret_last)
{
    ptrdiff_t blank = sv_find(args, ' ');
    struct strview number = blank < 0 ? args : sv(args.ptr, (size_t)blank);

    *ret_last = false;
    if (!sv_to_u64(number, ret_bytes))
        return false;
    if (blank < 0)
        return true;
    *ret_last = true;
    return sv_eq_nocase(sv_trim(sv(args.ptr + blank, args.len - (size_t)blank)), SV("LAST"));
}

/* Bytes of "<…>" at the front, brackets included; a > inside a quoted local part does not end it.
 * 0 when it is not there. */
static size_t take_path(struct strview s)
{
    bool quoted = false;

    if (s.len == 0 || s.ptr[0] != '<')
        return 0;
    for (size_t i = 1; i < s.len; i++) {
        char c = s.ptr[i];
        if (quoted && c == '\\')
            i++;
        else if (c == '"')
            quoted = !quoted;
        else if (c == '>' && !quoted)
            return i + 1;
    }
    return 0;
}

/* Splits "FROM:<path> params": false when keyword or path are not there. */
static bool split_path(struct strview args, struct strview keyword, struct strview *ret_path,
                       struct strview *ret_params)
{
    if (!sv_starts_nocase(args, keyword))
        return false;
    args = sv_trim(sv(args.ptr + keyword.len, args.len - keyword.len));
    size_t n = take_path(args);
    if (n == 0 || (n < args.len && args.ptr[n] != ' '))
        return false;
    *ret_path = sv(args.ptr + 1, n - 2);
    *ret_params = sv_trim(sv(args.ptr + n, args.len - n));
    return true;
}

/* One parameter of MAIL or RCPT. `seen` has a bit per row, so that none is given twice. */
struct param {
    const char *keyword;
    const char *(*take)(void *ret, struct strview value, bool has_value);
};

static const char *take_params(struct strview params, const struct param *rows, size_t row_count,
                               void *ret)
{
    struct strview word;
    unsigned seen = 0;

    while (params.len && sv_split(&params, ' ', &word)) {
        if (word.len == 0)
            continue;
        ptrdiff_t eq = sv_find(word, '=');
        struct strview key = eq < 0 ? word : sv(word.ptr, (size_t)eq);
        struct strview value = sv(NULL, 0);
        size_t row = 0;

        if (eq >= 0)
            value = sv(word.ptr + eq + 1, word.len - (size_t)eq - 1);
        while (row < row_count && !sv_eq_nocase(key, sv_of(rows[row].keyword)))
            row++;
        if (row == row_count)
            return "555 5.5.4 Parameter not recognised";
        if (seen & (1u << row))
            return "501 5.5.4 Parameter given twice";
        seen |= 1u << row;
        const char *refusal = rows[row].take(ret, value, eq >= 0);
        if (refusal)
            return refusal;
    }
    return NULL;
}

static const char *take_size(void *ret, struct strview value, bool has_value)
{
    struct smtp_mail *m = ret;
    if (!has_value || value.len > 20 || !sv_to_u64(value, &m->size))
        return "501 5.5.4 SIZE wants a number";
    return NULL;
}

static const char *take_body(void *ret, struct strview value, bool has_value)
{
    struct smtp_mail *m = ret;
    (void)has_value;
    if (sv_eq_nocase(value, SV("8BITMIME")))
        m->flags |= ENVELOPE_8BIT;
    else if (!sv_eq_nocase(value, SV("7BIT")))
        return "501 5.5.4 BODY is 7BIT or 8BITMIME";
    return NULL;
}

static const char *take_smtputf8(void *ret, struct strview value, bool has_value)
{
    struct smtp_mail *m = ret;
    (void)value;
    if (has_value)
        return "501 5.5.4 SMTPUTF8 has no value";
    m->flags |= ENVELOPE_SMTPUTF8;
    return NULL;
}

static const char *take_ret(void *ret, struct strview value, bool has_value)
{
    struct smtp_mail *m = ret;
    (void)has_value;
    if (sv_eq_nocase(value, SV("FULL")))
        m->ret = RET_FULL;
    else if (sv_eq_nocase(value, SV("HDRS")))
        m->ret = RET_HDRS;
    else
        return "501 5.5.4 RET is FULL or HDRS";
    return NULL;
}

static const char *take_envid(void *ret, struct strview value, bool has_value)
{
    struct smtp_mail *m = ret;
    (void)has_value;
    if (value.len == 0 || value.len > SMTP_ENVID_MAX || !smtp_is_xtext(value))
        return "501 5.5.4 ENVID wants at most 100 characters of xtext";
    m->envid = value;
    return NULL;
}

/* RFC 4954 section 5: checked, then forgotten, because we trust no such claim. */
static const char *take_auth(void *ret, struct strview value, bool has_value)
{
    (void)ret;
    (void)has_value;
    if (value.len == 0 || (!sv_eq(value, SV("<>")) && !smtp_is_xtext(value)))
        return "501 5.5.4 AUTH wants a mailbox as xtext, or <>";
    return NULL;
}

static const char *take_notify(void *ret, struct strview value, bool has_value)
{
    struct smtp_rcpt *r = ret;
    struct strview word;

    (void)has_value;
    if (sv_eq_nocase(value, SV("NEVER"))) {
        r->notify = NOTIFY_NEVER;
        return NULL;
    }
    while (sv_split(&value, ',', &word)) {
        if (sv_eq_nocase(word, SV("SUCCESS")))
            r->notify |= NOTIFY_SUCCESS;
        else if (sv_eq_nocase(word, SV("FAILURE")))
            r->notify |= NOTIFY_FAILURE;
        else if (sv_eq_nocase(word, SV("DELAY")))
            r->notify |= NOTIFY_DELAY;
        else
            r->notify |= 0x80;
    }
    if (r->notify == 0 || (r->notify & 0x80))
        return "501 5.5.4 NOTIFY is NEVER, or SUCCESS, FAILURE and DELAY with commas";
    return NULL;
}

/* addr-type ";" xtext; with utf-8 the address may be UTF-8 as it is (RFC 6533 section 3). */
static const char *take_orcpt(void *ret, struct strview value, bool has_value)
{
    static const char refusal[] = "501 5.5.4 ORCPT is an address type, a semicolon and xtext";
    struct smtp_rcpt *r = ret;
    ptrdiff_t semicolon = sv_find(value, ';');

    (void)has_value;
    if (semicolon <= 0 || value.len > SMTP_ORCPT_MAX)
        return refusal;
    struct strview type = sv(value.ptr, (size_t)semicolon);
    struct strview address = sv(value.ptr + semicolon + 1, value.len - (size_t)semicolon - 1);
    for (size_t i = 0; i < type.len; i++)
        if (!ascii_is_alpha(type.ptr[i]) && !ascii_is_digit(type.ptr[i]) && type.ptr[i] != '-')
            return refusal;
    bool ok = address.len > 0;
    if (sv_eq_nocase(type, SV("utf-8"))) {
        ok = ok && address_utf8_ok(address);
        for (size_t i = 0; i < address.len; i++)
            if ((unsigned char)address.ptr[i] < 0x21 || address.ptr[i] == 0x7f)
                ok = false;
    } else {
        ok = ok && smtp_is_xtext(address);
    }
    if (!ok)
        return refusal;
    r->orcpt = value;
    return NULL;
}

/* RFC 8689 section 2 */
static const char *take_requiretls(void *ret, struct strview value, bool has_value)
{
    struct smtp_mail *m = ret;

    (void)value;
    if (has_value)
        return "501 5.5.4 REQUIRETLS has no value";
    m->flags |= ENVELOPE_REQUIRETLS;
    return NULL;
}

static const char *take_verp(void *ret, struct strview value, bool has_value)
{
    struct smtp_mail *m = ret;

    (void)value;
    if (has_value)
        return "501 5.5.4 VERP has no value";
    m->flags |= ENVELOPE_VERP;
    return NULL;
}

static const struct param mail_params[] = {
    {"SIZE", take_size}, {"BODY", take_body},   {"SMTPUTF8", take_smtputf8},
    {"RET", take_ret},   {"ENVID", take_envid}, {"AUTH", take_auth}, {"REQUIRETLS", take_requiretls},
    {"VERP", take_verp},
};

static const struct param rcpt_params[] = {
    {"NOTIFY", take_notify},
    {"ORCPT", take_orcpt},
};

const char *smtp_mail_parse(struct strview args, struct smtp_mail *ret)
{
    struct strview path, params;

    *ret = (struct smtp_mail){0};
    if (!split_path(args, SV("FROM:"), &path, &params))
        return "501 5.5.4 Syntax: MAIL FROM:<address>";
    const char *refusal = take_params(params, mail_params, ARRAY_LEN(mail_params), ret);
    if (refusal)
        return refusal;
    unsigned flags = ret->flags & ENVELOPE_SMTPUTF8 ? ADDRESS_UTF8 : 0;
    if (path.len && !address_parse_path(path, flags, &ret->sender))
        return "501 5.1.7 Sender address is not valid";
    return NULL;
}

const char *smtp_rcpt_parse(struct strview args, bool smtputf8, struct smtp_rcpt *ret)
{
    struct strview path, params;

    *ret = (struct smtp_rcpt){0};
    if (!split_path(args, SV("TO:"), &path, &params))
        return "501 5.5.4 Syntax: RCPT TO:<address>";
    const char *refusal = take_params(params, rcpt_params, ARRAY_LEN(rcpt_params), ret);
    if (refusal)
        return refusal;
    if (sv_eq_nocase(path, SV("postmaster")))
        ret->address = path;
    else if (!address_parse_path(path, smtputf8 ? ADDRESS_UTF8 : 0, &ret->address))
        return "501 5.1.3 Recipient address is not valid";
    return NULL;
}
