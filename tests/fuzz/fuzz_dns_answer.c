/*
 * Any packet as the answer to each type of question: first two bytes choose type and EDNS, the rest
 * is the packet, tried as it is and with id and question made to fit.
 */
#include "answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_packet(const struct query *q, const uint8_t *data, size_t len)
{
    if (query_match(q, data, len) == QUERY_OTHER)
        return;
    struct answer *a = answer_parse(q, data, len);
    BUG_ON(a && (a->count > ANSWER_MAX_RECORDS || a->ttl_s > ANSWER_MAX_TTL_S || a->refs != 1));
    answer_unref(a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum query_type types[] = {QUERY_A, QUERY_MX, QUERY_AAAA};
    struct query q;

    if (size < 14 || size > 65535 ||
        query_build(&q, "example.test", types[data[0] % 3], data[1] & 1))
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
