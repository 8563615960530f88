/*
 * The log of the suppression list on disk: segments "list-NNNNNNNN", each a header and records, all
 * little endian and checksummed (XXH3). Pure functions over memory; docs/suppression.md has the same
 * tables for people. Everything here stands any bytes.
 */
#ifndef PMTA_SUPPRESS_FORMAT_H
#define PMTA_SUPPRESS_FORMAT_H

#include "base/buf.h"
#include "suppress/suppress.h"

#define FORMAT_VERSION 1

enum {
    FORMAT_HEADER_BYTES = 64, /* of a segment */
    RECORD_HEADER_BYTES = 24,
    RECORD_ALIGN = 8,
    RECORD_MAX = 1024, /* header, 255 + 320 + 250 bytes of text */
};

enum record_kind { RECORD_ADD = 1, RECORD_DEL = 2 };

/* One change of one entry. */
struct record {
    enum record_kind kind;
    enum suppress_scope scope;
    enum suppress_reason reason;
    bool hashed;        /* address is the 16 bytes of suppress_hash_address */
    bool is_domain;     /* of a whole domain; then a clear address begins with @ */
    uint32_t expires_s; /* since 1970; 0: never */
    uint32_t made_s;
    struct strview name;    /* canonical, of the scope; empty for global */
    struct strview address; /* canonical */
    struct strview note;
};

/* Appends the record; its length, a multiple of RECORD_ALIGN. tag: of the segment. */
size_t record_encode(struct buf *out, const struct record *r, uint32_t tag);
/* The record at the start of in; views point into it. Its length, or ERR_CORRUPT. */
int record_decode(struct strview in, uint32_t tag, struct record *ret);

struct segment_header {
    uint32_t number;
    uint32_t tag;    /* random: so a record quoted inside a note never passes for one */
    uint64_t key_id; /* tells the key of hashes, not the key */
    int64_t made_ms;
};

void segment_header_encode(const struct segment_header *h, char out[FORMAT_HEADER_BYTES]);
/* 0, ERR_CORRUPT, or ERR_VERSION for a newer format. */
int segment_header_decode(struct strview in, struct segment_header *ret);

/* The segment's number in a file name, or 0. */
uint32_t segment_file_number(const char *name);
#define SEGMENT_NAME_SIZE 24
char *segment_file_name(uint32_t number, char out[SEGMENT_NAME_SIZE]);

#endif
