/*
 * Reports that come in by mail on any bytes: whatever is found lies within bounds, and is text that
 * accounting can take. The first byte says how the message came.
 */
#include "inbound/address_scan.h"
#include "inbound/parse.h"

#include "mail/address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_address(struct strview a)
{
    BUG_ON(a.len && !address_is_mailbox(a, ADDRESS_UTF8));
}

static void check_status(struct strview s)
{
    BUG_ON(s.len < 5 || s.len > 15 || s.ptr[1] != '.');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a = {0};
    struct inbound_report *r = xcalloc(1, sizeof(*r));

    if (size < 1) {
        free(r);
        return 0;
    }
    inbound_parse(sv((const char *)data + 1, size - 1),
                  &(struct inbound_wanted){.null_sender = data[0] & 1,
                                           .for_feedback = data[0] & 2,
                                           .own = SV("own@sender.example"),
                                           .time_ms = 5000},
                  &a, r);
    BUG_ON(r->kind >= INBOUND_KIND_COUNT || r->rcpt_count > INBOUND_RCPTS_MAX ||
           r->clue_count > INBOUND_CLUES_MAX || !r->format);
    bool delivery = r->kind == INBOUND_BOUNCE || r->kind == INBOUND_STATUS;
    BUG_ON(delivery && !r->rcpt_count);
    for (size_t i = 0; i < r->rcpt_count; i++) {
        const struct inbound_rcpt *x = &r->rcpts[i];
        check_address(x->final);
        check_address(x->original);
        BUG_ON(x->diagnostic.len > INBOUND_DIAGNOSTIC_MAX + 40 || x->remote_mta.len > 255);
        if (delivery)
            check_status(x->status);
    }
    for (size_t i = 0; i < r->clue_count; i++)
        check_address(r->clues[i]);
    BUG_ON(r->feedback_type.len > 40 || r->source_ip.len > 60 || r->envid.len > 100);
    arena_free(&a);
    free(r);
    return 0;
}
