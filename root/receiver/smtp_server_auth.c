/*
 * AUTH PLAIN (RFC 4616) and LOGIN, with and without initial response (RFC 4954). Called by
 * smtp_server.c; the owner checks the password (SMTP_WANT_AUTH), because that takes long. The
 * password is wiped as soon as there is an answer.
 */
#include "smtp_server_internal.h"

#include "base/clock.h"
#include "base/log.h"

enum { DECODED_MAX = 1024 };

static int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (ascii_is_digit(c))
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* RFC 4648 section 4, padded, nothing else. Returns the length, or -1. */
static ptrdiff_t base64_decode(struct strview in, char out[DECODED_MAX])
{
    size_t n = 0;
    unsigned pad = 0;

    if (in.len % 4 || in.len / 4 * 3 > DECODED_MAX)
        return -1;
    while (pad < 2 && pad < in.len && in.ptr[in.len - 1 - pad] == '=')
        pad++;
    for (size_t i = 0; i < in.len; i += 4) {
        uint32_t word = 0;
        for (size_t k = i; k < i + 4; k++) {
            int digit = k >= in.len - pad ? 0 : base64_digit(in.ptr[k]);
            if (digit < 0)
                return -1;
            word = word << 6 | (uint32_t)digit;
        }
        out[n++] = (char)(word >> 16);
        out[n++] = (char)(word >> 8);
        out[n++] = (char)word;
    }
    return (ptrdiff_t)(n - pad);
}

/* Copies a name or password; false when it is empty, too long or has a NUL. */
static bool take_text(struct strview v, char *to, size_t size)
{
    if (v.len == 0 || v.len >= size || memchr(v.ptr, '\0', v.len))
        return false;
    memcpy(to, v.ptr, v.len);
    to[v.len] = '\0';
    return true;
}

/* authzid NUL authcid NUL password; an authzid other than the user is not ours to grant. */
static bool take_plain(struct smtp_server *s, struct strview message)
{
    struct strview authzid, user, password;

    return sv_split(&message, '\0', &authzid) && sv_split(&message, '\0', &user) &&
           sv_split(&message, '\0', &password) && !message.ptr &&
           (authzid.len == 0 || sv_eq(authzid, user)) &&
           take_text(user, s->auth_user, sizeof(s->auth_user)) &&
           take_text(password, s->auth_password, sizeof(s->auth_password));
}

static void leave(struct smtp_server *s)
{
    explicit_bzero(s->auth_password, sizeof(s->auth_password));
    if (s->state != STATE_READY)
        smtp_server_enter(s, STATE_READY);
}

static void refuse(struct smtp_server *s, const char *text)
{
    leave(s);
    smtp_server_refuse(s, TROUBLE_AUTH, text);
}

static void verify(struct smtp_server *s)
{
    smtp_server_enter(s, STATE_AUTH_VERIFY);
    smtp_server_want(s, SMTP_WANT_AUTH);
}

static void ask(struct smtp_server *s, enum smtp_auth_step step, const char *challenge)
{
    s->auth_step = step;
    smtp_server_enter(s, STATE_AUTH_INPUT);
    smtp_server_reply(s, challenge);
}

static void take_response(struct smtp_server *s, struct strview response)
{
    char decoded[DECODED_MAX];
    ptrdiff_t len = base64_decode(response, decoded);
    struct strview v = sv(decoded, len > 0 ? (size_t)len : 0);

    if (len < 0) {
        refuse(s, "501 5.5.2 This is not base64");
    } else if (s->auth_step == AUTH_PLAIN) {
        if (take_plain(s, v))
            verify(s);
        else
            refuse(s, "501 5.5.2 This is not a PLAIN response");
    } else if (s->auth_step == AUTH_LOGIN_USER) {
        if (take_text(v, s->auth_user, sizeof(s->auth_user)))
            ask(s, AUTH_LOGIN_PASSWORD, "334 UGFzc3dvcmQ6");
        else
            refuse(s, "501 5.5.2 This is not a user name");
    } else {
        if (take_text(v, s->auth_password, sizeof(s->auth_password)))
            verify(s);
        else
            refuse(s, "501 5.5.2 This is not a password");
    }
    explicit_bzero(decoded, sizeof(decoded));
}

void smtp_server_auth_line(struct smtp_server *s, struct strview line)
{
    if (sv_eq(line, SV("*")))
        refuse(s, "501 5.7.0 Authentication cancelled");
    else
        take_response(s, line);
}

void smtp_server_auth(struct smtp_server *s, struct strview args)
{
    ptrdiff_t blank = sv_find(args, ' ');
    struct strview mechanism = blank < 0 ? args : sv(args.ptr, (size_t)blank);
    struct strview initial = {NULL, 0};

    if (blank >= 0)
        initial = sv_trim(sv(args.ptr + blank, args.len - (size_t)blank));
    if (!s->settings->offer_auth)
        refuse(s, "502 5.5.1 Authentication is not available");
    else if (!smtp_server_auth_offered(s))
        refuse(s, "538 5.7.11 Encryption is required for authentication");
    else if (s->user[0] || !s->esmtp)
        refuse(s, "503 5.5.1 Bad sequence of commands");
    else if (sv_eq_nocase(mechanism, SV("PLAIN"))) {
        s->auth_step = AUTH_PLAIN;
        if (initial.len)
            take_response(s, initial);
        else
            ask(s, AUTH_PLAIN, "334 ");
    } else if (sv_eq_nocase(mechanism, SV("LOGIN"))) {
        s->auth_step = AUTH_LOGIN_USER;
        if (initial.len)
            take_response(s, initial);
        else
            ask(s, AUTH_LOGIN_USER, "334 VXNlcm5hbWU6");
    } else {
        refuse(s, "504 5.5.4 Mechanisms are PLAIN and LOGIN");
    }
}

void smtp_server_credentials(const struct smtp_server *s, struct strview *ret_user,
                             struct strview *ret_password)
{
    *ret_user = sv_of(s->auth_user);
    *ret_password = sv_of(s->auth_password);
}

static void wrong(struct smtp_server *s)
{
    static const char text[] = "535 5.7.8 User name or password is wrong";

    smtp_server_log_refused(s, "authentication failed", sv_of(s->auth_user), sv(NULL, 0),
                            sv_of(text));
    s->logged |= 1u << TROUBLE_AUTH; /* it is said already */
    leave(s);
    if (++s->auth_failures < SMTP_AUTH_FAILURES_MAX) {
        smtp_server_refuse(s, TROUBLE_AUTH, text);
        return;
    }
    smtp_server_reply(s, text);
    smtp_server_close(s, TROUBLE_AUTH, "421 4.7.0 Too many failed authentications");
}

void smtp_server_auth_done(struct smtp_server *s, enum smtp_auth_result result,
                           const struct smtp_server_settings *settings)
{
    BUG_ON(s->state != STATE_AUTH_VERIFY);
    s->active_ms = clock_mono_ms();
    if (result == SMTP_AUTH_WRONG) {
        wrong(s);
    } else if (result == SMTP_AUTH_LATER) {
        refuse(s, "454 4.7.0 Cannot check the password now, try again later");
    } else {
        memcpy(s->user, s->auth_user, sizeof(s->user));
        s->settings = settings;
        s->errors = 0;
        leave(s);
        smtp_server_hear_event(s, "logged in as '%s'", s->user);
        smtp_server_reply(s, "235 2.7.0 Authentication successful");
    }
    if (s->draining && s->state == STATE_READY)
        smtp_server_end_transaction(s);
}
