/*
 * Any bytes as records of the DNS into the SPF evaluator: it ends, within the limits of RFC 7208,
 * with a result and a reason. Line 1 is the reverse path; each question takes one line more, whose
 * first byte says how many records it is ('0' to '2'), no data, no such name or a failure.
 */
#include "mail/spf_int.h"

#include <arpa/inet.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct strview next_line(struct strview *rest)
{
    struct strview line = {NULL, 0};
    return sv_split(rest, '\n', &line) ? line : sv("n", 1);
}

static void answer(struct spf *s, const struct spf_question *q, struct strview line)
{
    static const uint8_t address[16] = {192, 0, 2, 1};
    struct strview records[2] = {sv(line.ptr + 1, line.len ? line.len - 1 : 0)};
    struct lookup_result r = {.records = records, .count = 1};
    char c = line.len ? line.ptr[0] : 'n';

    if (q->kind == LOOKUP_A || q->kind == LOOKUP_AAAA)
        records[0] = sv((const char *)address, q->kind == LOOKUP_A ? 4 : 16);
    records[1] = records[0];
    switch (c) {
    case '0':
    case '1':
    case '2':
        r.count = (size_t)(c - '0');
        break;
    case 'x':
        r = (struct lookup_result){.status = LOOKUP_NO_DOMAIN};
        break;
    case '!':
        r = (struct lookup_result){.status = LOOKUP_TEMPORARY};
        break;
    default:
        r = (struct lookup_result){.status = LOOKUP_NO_DATA};
    }
    spf_answer(s, &r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr = {htonl(0xc0000201)}};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_addr = {{{0x20, 1, 0xd, 0xb8}}}};
    struct strview rest = sv((const char *)data, size);
    struct spf_question q;
    unsigned asked = 0;

    if (!size)
        return 0;
    rest = sv(rest.ptr + 1, rest.len - 1);
    struct strview sender = next_line(&rest), domain;
    struct spf *s = spf_new(data[0] % 2 ? (struct sockaddr *)&v6 : (struct sockaddr *)&v4,
                            SV("helo.example.net"), sender);
    while (spf_step(s, &q) == SPF_ASK) {
        /* ten terms of ten names, their own questions, records, and an explanation */
        BUG_ON(++asked > 150);
        BUG_ON(!q.name[0]);
        answer(s, &q, next_line(&rest));
    }
    BUG_ON(!*spf_reason(s));
    BUG_ON(spf_lookups(s) > SPF_MAX_TERMS_ASKING + 1);
    BUG_ON(spf_match(s, &domain).len && !domain.len);
    spf_free(s);
    return 0;
}
