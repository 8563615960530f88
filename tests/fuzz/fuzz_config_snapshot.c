/*
 * The decoder of configuration snapshots on any bytes; what it takes is asked a few questions and
 * must come back the same from its own encoding.
 */
#include "mail/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile size_t sink;

static void ask(const struct config *cfg)
{
    const struct config_query q = {
        .domain = SV("a.example.com"), .vmta = SV("M1"), .pipe = SV("bulk"), .pool = SV("p")};
    for (unsigned d = 0; d < DIRECTIVE_COUNT; d++)
        for (const struct config_value *v = config_get(cfg, &q, (enum directive)d); v; v = v->next)
            sink += v->text ? strlen(v->text) : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config *cfg = NULL, *copy = NULL;
    struct buf first = {0}, second = {0};
    struct err e = {0};

    if (config_snapshot_decode(sv((const char *)data, size), &cfg, &e) < 0) {
        BUG_ON(!e.text[0]);
        return 0;
    }
    ask(cfg);
    config_snapshot_encode(cfg, &first);
    BUG_ON(config_snapshot_decode(buf_view(&first), &copy, &e) < 0);
    config_snapshot_encode(copy, &second);
    BUG_ON(!sv_eq(buf_view(&first), buf_view(&second)));
    config_unref(copy);
    config_unref(cfg);
    buf_free(&first);
    buf_free(&second);
    return 0;
}
