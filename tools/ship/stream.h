/*
 * The accounting files of one pipe, one after another, as lines.
 */
#ifndef PMTA_SHIP_STREAM_H
#define PMTA_SHIP_STREAM_H

#include "follow.h"
#include "record.h"

#include "base/list.h"

struct stream_counts {
    uint64_t gaps;   /* files that were gone, or damaged, before they were read */
    uint64_t broken; /* lines that are no records */
};

struct stream {
    struct list link;
    const struct follow_set *set;
    char pipe[NAME_SIZE], label[NAME_SIZE];

    /* acknowledged, and saved */
    struct place acked;
    struct trail acked_trail;

    /* being read */
    struct place at; /* behind the last line given */
    struct trail trail;
    struct source *source;
    struct columns *columns;
    bool json;
    bool begun;         /* the header line was read, and the place found */
    bool useless;       /* nothing in it can be read; it is over when the next one is there */
    bool skipping;      /* in a line that is too long */
    bool end_of_newest; /* begin behind what is there */
    struct buf raw;     /* bytes behind `at` */
    size_t searched;    /* of these, without line end */
    size_t given;       /* of these, the line that the caller has */

    /* as the last look at the directories found it */
    bool looked; /* since the current file is read */
    bool has_next, current_is_plain;
    struct found_file next;
    uint64_t pending_bytes; /* of files that come later, uncompressed (estimated) */
    unsigned pending_files;

    struct stream_counts counts;
};

struct stream_line {
    struct strview text; /* without line end; until the next call */
    uint64_t offset;     /* where it begins */
};

enum stream_result {
    STREAM_LINE,
    STREAM_TURN,  /* the next file begins; `at` is its beginning */
    STREAM_DRY,   /* nothing more for now */
    STREAM_ERROR, /* of the machine; to be tried again later */
};

/* saved may be NULL: the first time, from the oldest file or, with newest, from the end. */
struct stream *stream_new(const struct follow_set *set, struct strview pipe,
                          const struct place_entry *saved, bool newest);
void stream_free(struct stream *s);

/* A look at the directory: begin, each file of the pipe, and nothing more. */
void stream_look_begin(struct stream *s);
void stream_look_file(struct stream *s, const struct found_file *f);

enum stream_result stream_read(struct stream *s, struct stream_line *ret, struct err *e);

/* A later file has records. */
bool stream_has_more(const struct stream *s);

/* Everything up to there is acknowledged. */
void stream_ack(struct stream *s, const struct place *place);

/* Bytes between what is acknowledged and the end, estimated where files are compressed. */
uint64_t stream_behind(const struct stream *s);

#endif
