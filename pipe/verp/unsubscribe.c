/*
 * Fields of unsubscription; see unsubscribe.h. Called by queue/signing.c before a message is signed.
 * The link says all that is needed in itself, so that the web process can act on it alone; the
 * address has less room, and the pipe that made it knows the rest by the origin.
 */
#include "verp/unsubscribe.h"

#include "mail/unsubscribe_url.h"

/* What is unsubscribed from, with its name; where the mail does not have one it is the pipe. */
static void set_scope(struct mail_token *t, enum suppress_scope scope, const struct verp_mail *m)
{
    struct strview name = scope == SUPPRESS_DOMAIN ? address_domain(m->sender)
                          : scope == SUPPRESS_JOB  ? m->job
                                                   : sv(NULL, 0);
    bool is_named = scope == SUPPRESS_DOMAIN || scope == SUPPRESS_JOB;

    if (is_named && (!name.len || name.len > MAIL_TOKEN_SCOPE_MAX))
        scope = SUPPRESS_PIPE;
    else if (is_named)
        memcpy(t->scope_name, name.ptr, name.len);
    t->scope = (uint8_t)scope;
}

/* False: no room for the recipient itself, without whom a link says nothing. */
static bool put_link(struct verp *v, const struct sign_unsubscribe *set, const struct verp_mail *m,
                     struct buf *out)
{
    const struct mail_token_key *key = verp_key(v);
    struct mail_token t = {.use = MAIL_TOKEN_UNSUBSCRIBE};
    size_t from = buf_len(out);

    if (!set->url || !key)
        return false;
    verp_token(v, m, &t);
    t.origin = 0;
    set_scope(&t, set->scope, m);
    buf_append_char(out, '<');
    unsubscribe_url_put(sv_of(set->url), out);
    if (mail_token_make(key, &t, m->rcpt, MAIL_TOKEN_MAX, out) < 0 || !t.has_rcpt) {
        buf_truncate(out, from);
        return false;
    }
    buf_append_char(out, '>');
    return true;
}

/* RFC 6068 section 2: "=" of an address is encoded. */
static void put_mailto(struct strview address, struct buf *out)
{
    buf_append_str(out, "<mailto:");
    for (size_t i = 0; i < address.len; i++) {
        if (address.ptr[i] == '=')
            buf_append_str(out, "%3D");
        else
            buf_append_char(out, address.ptr[i]);
    }
    buf_append_str(out, "?subject=unsubscribe>");
}

static bool put_address(struct verp *v, const struct sign_unsubscribe *set,
                        const struct verp_mail *m, bool first, struct buf *out)
{
    struct verp_base base = verp_base_of(set->address);
    struct mail_token t = {.use = MAIL_TOKEN_UNSUBSCRIBE};
    struct buf address = {0};

    if (!base.local.len)
        return false;
    verp_token(v, m, &t);
    set_scope(&t, set->scope, m);
    t.scope_name[0] = '\0';
    bool made = verp_address(v, &base, &t, m->rcpt, &address);
    if (made && !first)
        buf_append_str(out, ",\r\n\t");
    if (made)
        put_mailto(buf_view(&address), out);
    buf_free(&address);
    return made;
}

void unsubscribe_put(struct verp *v, const struct sign_unsubscribe *set, const struct verp_mail *m,
                     struct buf *out)
{
    size_t from = buf_len(out);

    buf_append_str(out, "List-Unsubscribe: ");
    bool link = put_link(v, set, m, out);
    bool address = put_address(v, set, m, !link, out);
    if (!link && !address) {
        buf_truncate(out, from);
        return;
    }
    buf_append_str(out, "\r\n");
    if (link && set->mode == UNSUBSCRIBE_ONE_CLICK)
        buf_append_str(out, "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n");
}
