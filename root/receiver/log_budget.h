/*
 * How many lines the log takes about clients that nobody knows: so many a minute of one client, and
 * of all together; what is beyond is counted and told in one line. Fixed memory, whatever comes:
 * clients whose addresses fall into one place share it.
 */
#ifndef PMTA_RECEIVER_LOG_BUDGET_H
#define PMTA_RECEIVER_LOG_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

enum {
    LOG_BUDGET_CLIENT = 60, /* lines a minute of a client */
    LOG_BUDGET_ALL = 3000,  /* of all together */
    LOG_BUDGET_PLACES = 128,
};

/* Zero is valid. */
struct log_budget {
    int64_t began_ms; /* of the minute; 0: none yet */
    uint32_t lines;
    struct log_budget_place {
        uint32_t lines, left_out;
        bool shared;
        char client[46];
    } places[LOG_BUDGET_PLACES];
};

/* One more line about this client; false: it is left out. now_ms: monotonic. */
bool log_budget_take(struct log_budget *b, const char *client, int64_t now_ms);
/* Now and then: when the minute is over, says what was left out. */
void log_budget_tick(struct log_budget *b, int64_t now_ms);

#endif
