/*
 * Numbers as they are on disk: little endian, at any address.
 */
#ifndef PMTA_BASE_LITTLE_ENDIAN_H
#define PMTA_BASE_LITTLE_ENDIAN_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

static inline void put16(char *p, uint16_t n)
{
    n = htole16(n);
    memcpy(p, &n, 2);
}

static inline void put32(char *p, uint32_t n)
{
    n = htole32(n);
    memcpy(p, &n, 4);
}

static inline void put64(char *p, uint64_t n)
{
    n = htole64(n);
    memcpy(p, &n, 8);
}

static inline uint16_t get16(const char *p)
{
    uint16_t n;
    memcpy(&n, p, 2);
    return le16toh(n);
}

static inline uint32_t get32(const char *p)
{
    uint32_t n;
    memcpy(&n, p, 4);
    return le32toh(n);
}

static inline uint64_t get64(const char *p)
{
    uint64_t n;
    memcpy(&n, p, 8);
    return le64toh(n);
}

#endif
