/*
 * Names of TLS results; see tls_result.h.
 */
#include "net/tls_result.h"

#include <string.h>

static const char *const texts[] = {
#define TLS_TEXT(name, text) text,
    TLS_RESULTS(TLS_TEXT)
#undef TLS_TEXT
};

const char *tls_result_text(enum tls_result r)
{
    return texts[r];
}

bool tls_result_parse(const char *text, enum tls_result *ret)
{
    for (int i = 0; i < TLS_RESULT_COUNT; i++) {
        if (strcmp(texts[i], text) != 0)
            continue;
        *ret = (enum tls_result)i;
        return true;
    }
    return false;
}
