/*
 * Eight bytes at a time in one register: is there one among them that needs attention? Exact for all
 * byte values; which one it is, the caller finds out byte by byte.
 */
#ifndef PMTA_BASE_SWAR_H
#define PMTA_BASE_SWAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define SWAR_ALL(byte) (UINT64_C(0x0101010101010101) * (byte))

static inline uint64_t swar_load(const char *at)
{
    uint64_t x;
    memcpy(&x, at, sizeof(x));
    return x;
}

/* Not 0 when some byte of x is below n; n <= 128. */
static inline uint64_t swar_below(uint64_t x, unsigned char n)
{
    return (x - SWAR_ALL(n)) & ~x & SWAR_ALL(0x80);
}

/* Not 0 when some byte of x is c. */
static inline uint64_t swar_equal(uint64_t x, unsigned char c)
{
    return swar_below(x ^ SWAR_ALL(c), 1);
}

/* Not 0 when some byte of x is 128 or more. */
static inline uint64_t swar_high(uint64_t x)
{
    return x & SWAR_ALL(0x80);
}

/* Copies len bytes; false when one of them is odd, as `odd` says of eight (the byte '0' never is):
 * then what `to` has is of no use. Reads and writes nothing beyond len. */
static inline __attribute__((always_inline)) bool
swar_copy(char *to, const char *from, size_t len, uint64_t (*odd)(uint64_t x))
{
    uint64_t x = SWAR_ALL('0');

    if (len < 8) {
        for (size_t i = 0; i < len; i++)
            x = x << 8 | (unsigned char)(to[i] = from[i]);
        return !odd(x);
    }
    for (size_t i = 0;; i += 8) {
        i = i > len - 8 ? len - 8 : i; /* the last eight overlap those before */
        x = swar_load(from + i);
        if (odd(x))
            return false;
        memcpy(to + i, &x, sizeof(x));
        if (i == len - 8)
            return true;
    }
}

#endif
