/*
 * Any packet as the answer to each type of question: first two bytes choose type and EDNS, the rest
 * is the packet, tried as it is and with id and question made to fit.
 */
#include "dane.h"
#include "sts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_packet(const struct query *q, const uint8_t *data, size_t len)
{
    if (query_match(q, data, len) == QUERY_OTHER)
        return;
    struct answer *a = answer_parse(q, data, len);
    BUG_ON(a && (a->count > ANSWER_MAX_RECORDS || a->ttl_s > ANSWER_MAX_TTL_S || a->refs != 1));
    for (size_t i = 0; a && i < a->count; i++) {
        const struct answer_record *r = &a->records[i];
        struct strview id;
        if (q->type == QUERY_TXT)
            sts_record_parse(sv((const char *)r->data, r->bytes), &id);
        else if (q->type == QUERY_TLSA)
            dane_record_is_usable(r);
        else if (q->type != QUERY_A && q->type != QUERY_AAAA)
            BUG_ON(strlen(r->host) >= DOMAIN_SIZE);
    }
    answer_unref(a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum query_type types[] = {
#define FUZZ_TYPE(name, number) QUERY_##name,
        QUERY_TYPES(FUZZ_TYPE)
#undef FUZZ_TYPE
    };
    struct query q;

    if (size < 14 || size > 65535 ||
        query_build(&q, "example.test", types[data[0] % ARRAY_LEN(types)], data[1] & 1))
        return 0;
    try_packet(&q, data + 2, size - 2);
    uint8_t *packet = xmalloc(size + q.question_bytes);
    memcpy(packet, data + 2, 12);
    memcpy(packet, q.wire, 2);
    packet[2] = (uint8_t)((packet[2] & 0x07) | 0x80);
    packet[4] = 0;
    packet[5] = 1;
    memcpy(packet + 12, q.wire + 12, q.question_bytes);
    memcpy(packet + 12 + q.question_bytes, data + 14, size - 14);
    try_packet(&q, packet, size - 2 + q.question_bytes);
    free(packet);
    return 0;
}
