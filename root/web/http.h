/*
 * The HTTP server (libmicrohttpd) in the process's loop: requests come whole, handlers answer now or
 * later. Speaks no TLS: it stands behind the operator's proxy. Loop thread only.
 */
#ifndef PMTA_WEB_HTTP_H
#define PMTA_WEB_HTTP_H

#include "base/buf.h"
#include "mail/config.h"

#include <uv.h>

struct http;
struct http_request;

enum {
    HTTP_BODY_MAX = 8192,
    HTTP_HEADER_MAX = 16384, /* of one connection: request line, header, and what we answer */
    HTTP_CLIENT_MAX = 64,
};

/* A path that begins so; the longest that fits counts. methods: "GET, HEAD, POST", what else comes is
 * answered 405. */
struct http_route {
    const char *prefix;
    const char *methods;
    /* Answers with http_reply, or keeps the request and answers later; not at all is not allowed. */
    void (*handle)(void *owner, struct http_request *r);
};

struct http_counts {
    uint64_t requests, connections, limited, not_found, too_large;
    uint64_t open; /* connections now */
};

/* routes and owner stay the caller's; the last route has no prefix. Never NULL. */
struct http *http_new(uv_loop_t *loop, const struct http_route *routes, void *owner);
/* Limits and proxies of that configuration; listeners that it does not have any more are closed. */
void http_configure(struct http *h, struct config *cfg);
/* Takes fd; one of the same name is replaced. */
void http_listen(struct http *h, const char *name, int fd);
/* No new connections; done(arg) from the loop when the last request was answered, or the time is over.
 * Requests that are kept are then gone: do not answer them. */
void http_drain(struct http *h, int64_t timeout_ms, void (*done)(void *arg), void *arg);
const struct http_counts *http_counts(const struct http *h);

/* --- a request, until it is answered --- */

bool http_is_post(const struct http_request *r);
/* Behind the prefix of its route, unescaped. */
struct strview http_rest(const struct http_request *r);
struct strview http_path(const struct http_request *r);
/* A field of a form in the body (urlencoded or multipart); false: not there. value: up to size - 1
 * bytes. */
bool http_form_field(const struct http_request *r, const char *name, char *value, size_t size);
/* Address of the client: what a trusted proxy says in X-Forwarded-For, else the peer's. */
const char *http_client(const struct http_request *r);
/* This client has asked for too much that does not exist: the caller counts one more such request.
 * True: to be answered 429. */
bool http_over_rate(struct http_request *r);

/* Once; r is gone then. headers: further ones, "Name: value" lines with LF behind each, or NULL. */
void http_reply(struct http_request *r, unsigned status, const char *type, struct strview body,
                const char *headers);

#endif
