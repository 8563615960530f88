/*
 * Addresses and the parameters of MAIL and RCPT: total on any bytes, and what is accepted keeps to
 * its limits.
 */
#include "mail/address.h"
#include "mail/smtp_command.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* a copy of its own, so that a read past the end is seen */
    char *copy = xmalloc(size + !size);
    memcpy(copy, data, size);
    struct strview in = sv(copy, size), mailbox;
    struct smtp_mail mail;
    struct smtp_rcpt rcpt;

    for (unsigned flags = 0; flags <= ADDRESS_UTF8; flags++) {
        if (!address_parse_path(in, flags, &mailbox))
            continue;
        BUG_ON(mailbox.len > ADDRESS_PATH_MAX - 2 || !address_is_mailbox(mailbox, flags));
        BUG_ON(memchr(mailbox.ptr, '\r', mailbox.len) || memchr(mailbox.ptr, '\0', mailbox.len));
        BUG_ON(address_domain(mailbox).len == 0);
        for (size_t i = 0; i < mailbox.len; i++)
            BUG_ON(!flags && (unsigned char)mailbox.ptr[i] >= 0x80);
    }
    if (!smtp_mail_parse(in, &mail))
        BUG_ON(mail.sender.len > ADDRESS_PATH_MAX || mail.envid.len > SMTP_ENVID_MAX);
    if (!smtp_rcpt_parse(in, size & 1, &rcpt))
        BUG_ON(rcpt.address.len == 0 || rcpt.orcpt.len > SMTP_ORCPT_MAX);
    free(copy);
    return 0;
}
