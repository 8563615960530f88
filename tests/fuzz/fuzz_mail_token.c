/*
 * Tokens from anybody: reading them is total, what is read was made with the key, and what is made of any
 * recipient reads back.
 */
#include "mail/mail_token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_made(const struct mail_token_key *key, struct strview rcpt, size_t room)
{
    struct mail_token t = {.use = MAIL_TOKEN_UNSUBSCRIBE, .day = 7, .origin = 9}, got;
    struct buf out = {0};

    if (rcpt.len > 2 && rcpt.ptr[0] == 's') {
        t.scope = 3;
        memcpy(t.scope_name, rcpt.ptr, MIN_OF(rcpt.len, (size_t)40));
        for (char *p = t.scope_name; *p; p++)
            *p = *p == '\0' ? 'x' : *p;
    }
    if (mail_token_make(key, &t, rcpt, room, &out) == 0) {
        BUG_ON(buf_len(&out) > room);
        bool has_nul = memchr(rcpt.ptr, 0, rcpt.len) != NULL;
        int status = mail_token_read(key, buf_view(&out), &got);
        BUG_ON(status != 0 && !has_nul);
        if (status == 0) {
            BUG_ON(!mail_token_is_rcpt(key, &got, rcpt) && !has_nul);
            BUG_ON(strcmp(got.scope_name, t.scope_name) != 0);
            BUG_ON(got.has_rcpt != t.has_rcpt || got.origin != 9);
        }
    }
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct mail_token_key key;
    static bool made;
    struct mail_token t;

    if (!made && mail_token_key_derive(SV("0123456789abcdef0123456789abcdef"), &key, NULL) < 0)
        return 0;
    made = true;
    if (size < 2)
        return 0;
    struct strview text = sv((const char *)data + 1, size - 1);
    if (mail_token_read(&key, text, &t) == 0)
        BUG_ON(strlen(t.rcpt) > 320 || strlen(t.scope_name) > MAIL_TOKEN_SCOPE_MAX);
    check_made(&key, text, data[0] & 128 ? MAIL_TOKEN_MAX : data[0] & 63);
    return 0;
}
