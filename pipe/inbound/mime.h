/*
 * A message as its MIME parts (RFC 2045, RFC 2046), from any bytes: a flat list in the order of the
 * message, each part with the number of the one that it is in. Lines end in CRLF or LF. Depth, parts
 * and time are bounded; what is beyond is left out and mime.cut says so.
 */
#ifndef PMTA_PIPE_INBOUND_MIME_H
#define PMTA_PIPE_INBOUND_MIME_H

#include "base/arena.h"
#include "base/buf.h"
#include "inbound/budget.h"

enum { MIME_DEPTH_MAX = 8, MIME_PARTS_MAX = 64, MIME_HEADER_MAX = 64 * 1024 };

enum mime_encoding { MIME_IDENTITY, MIME_BASE64, MIME_QUOTED_PRINTABLE };

struct mime_part {
    int parent; /* -1: the message itself */
    unsigned depth;
    struct strview header; /* raw lines, without the blank one */
    struct strview body;   /* raw, still encoded */
    struct strview type;   /* "text/plain", lower case */
    struct strview content_type; /* the whole field, unfolded */
    enum mime_encoding encoding;
};

struct mime {
    struct mime_part parts[MIME_PARTS_MAX];
    size_t count;
    bool cut;        /* a limit was reached */
    bool unreadable; /* a multipart without parts */
};

/* Views point into message and a, which keep it. */
void mime_parse(struct strview message, struct arena *a, struct budget *b, struct mime *ret);

/* Takes the next line of *rest, without its end. False at the end. */
bool mime_line(struct strview *rest, struct strview *ret);

/* The nth field (from 0) of that name in a block of raw header lines, unfolded and trimmed. */
bool mime_field(struct strview header, const char *name, unsigned nth, struct arena *a,
                struct strview *ret);
/* The first, or empty. */
struct strview mime_get(struct strview header, const char *name, struct arena *a);

/* `name=value` or `name="value"` behind the first semicolon of a structured field; or empty. */
struct strview mime_parameter(struct strview field, const char *name, struct arena *a);

/* The first part of that type from `from` on, or -1. */
int mime_find(const struct mime *m, const char *type, size_t from);

#endif
