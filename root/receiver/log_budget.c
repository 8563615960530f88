/*
 * The budget of log lines about strangers; see log_budget.h. Called by the engine before it logs a
 * refusal, by session.c for TLS, and by main.c each second.
 *
 * Anybody may connect, be refused, and come again: without a bound the log is what a peer can grow
 * fastest. Minutes are the same for all, so that their end is one walk over the places.
 */
#include "log_budget.h"

#include "base/hash.h"
#include "base/log.h"

#include <stdio.h>
#include <string.h>

enum { MINUTE_MS = 60 * 1000 };

static void begin(struct log_budget *b, int64_t now_ms)
{
    memset(b, 0, sizeof(*b));
    b->began_ms = now_ms;
}

void log_budget_tick(struct log_budget *b, int64_t now_ms)
{
    if (!b->began_ms || now_ms - b->began_ms < MINUTE_MS)
        return;
    for (unsigned i = 0; i < LOG_BUDGET_PLACES; i++) {
        const struct log_budget_place *p = &b->places[i];
        if (p->left_out)
            log_warn(LOG_SMTP_IN,
                     "too many refused sessions client=%s%s, left out of the log in the last "
                     "minute lines=%u",
                     p->client, p->shared ? " and others" : "", p->left_out);
    }
    b->began_ms = 0;
}

bool log_budget_take(struct log_budget *b, const char *client, int64_t now_ms)
{
    size_t len = strnlen(client, sizeof(b->places[0].client) - 1);

    log_budget_tick(b, now_ms);
    if (!b->began_ms)
        begin(b, now_ms);
    struct log_budget_place *p = &b->places[hash_bytes(client, len) % LOG_BUDGET_PLACES];
    if (!p->client[0])
        memcpy(p->client, client, len);
    else if (strncmp(p->client, client, len) != 0 || p->client[len])
        p->shared = true;
    if (p->lines >= LOG_BUDGET_CLIENT || b->lines >= LOG_BUDGET_ALL) {
        p->left_out++;
        return false;
    }
    p->lines++;
    b->lines++;
    return true;
}
