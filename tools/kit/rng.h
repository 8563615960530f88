/*
 * rng: small reproducible random numbers (splitmix64), for choices by percentage and by weight. Not
 * for secrets.
 */
#ifndef PMTA_TOOLS_RNG_H
#define PMTA_TOOLS_RNG_H

#include "base/util.h"

struct rng {
    uint64_t state;
};

/* A stream of its own per (seed, number), so that what one connection or message draws does not
 * depend on the order in which others run. */
static inline uint64_t rng_next(struct rng *r)
{
    uint64_t z = (r->state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static inline struct rng rng_make(uint64_t seed, uint64_t number)
{
    struct rng r = {seed ^ (number * 0xd1342543de82ef95u)};
    rng_next(&r);
    return r;
}

/* 0 <= result < limit; limit > 0. */
static inline uint64_t rng_below(struct rng *r, uint64_t limit)
{
    return (uint64_t)((__extension__(unsigned __int128) rng_next(r) * limit) >> 64);
}

/* 0 <= result < 100 */
static inline double rng_percent(struct rng *r)
{
    return (double)(rng_next(r) >> 11) * (100.0 / 9007199254740992.0);
}

#endif
