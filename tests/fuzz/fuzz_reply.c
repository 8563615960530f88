/*
 * Any bytes into the reply parser: it stays within its limits, and what it takes does not depend on
 * how the bytes were cut. The first byte chooses the size of the pieces.
 */
#include "mail/reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t run(const char *data, size_t len, size_t chunk)
{
    static const struct reply_limits limits = {64, 512, 8};
    struct reply_parser p;
    uint64_t sum = 0;
    int r = 0;

    reply_parser_init(&p, &limits);
    for (size_t at = 0, used = 0; at < len && r >= 0; at += used) {
        r = reply_parse(&p, data + at, MIN_OF(chunk, len - at), &used);
        BUG_ON(buf_len(&p.text) > 8 * 65);
        if (r <= 0)
            continue;
        struct buf text = {0};
        reply_text(&p.reply, &text);
        for (size_t i = 0; i < buf_len(&text); i++)
            sum = sum * 31 + (unsigned char)buf_data(&text)[i];
        buf_free(&text);
    }
    reply_parser_fini(&p);
    return sum + (uint64_t)(int64_t)MIN_OF(r, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    const char *text = (const char *)data + 1;
    BUG_ON(run(text, size - 1, size) != run(text, size - 1, data[0] % 16 + 1u));
    return 0;
}
