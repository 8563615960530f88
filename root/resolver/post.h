/*
 * post: reports that pipes send by HTTPS POST (RFC 8460 section 5.4). The address is what a stranger
 * wrote into the DNS, so it is https alone, without user and fragment, to hosts in the public network;
 * nothing is followed and of the answer only the status counts.
 */
#ifndef PMTA_RESOLVER_POST_H
#define PMTA_RESOLVER_POST_H

#include "https.h"

enum {
    POST_MAX = 8,             /* under way at a time */
    POST_MAX_WAITING = 200,   /* of one pipe */
    POST_MAX_BYTES = 1 << 20, /* of a report */
    POST_MAX_ANSWER = 64 * 1024,
};

struct posts;

/* status: 0 when there was no answer; text: what went wrong, or empty. */
typedef void (*post_cb)(void *owner, uint64_t token, unsigned status, const char *text);

struct posts *posts_new(uv_loop_t *loop, struct lookups *lookups, post_cb cb);
/* ca_file: instead of the system's authorities, in a lab; then hosts may be in private networks. */
void posts_configure(struct posts *p, const char *ca_file);
/* No callback fires. Before the lookups end. NULL is fine. */
void posts_close(struct posts *p);

/* Sends a copy of body. 0: the callback fires later; or ERR_SYNTAX, ERR_LIMIT with *e filled. */
int posts_start(struct posts *p, void *owner, uint64_t token, const char *url,
                const char *content_type, struct strview body, struct err *e);
/* No callback fires for this owner any more. */
void posts_forget(struct posts *p, const void *owner);

/* Host and path out of "https://HOST[:PORT]/PATH"; *ret_path points into url. Total on any text. */
bool post_url_parse(const char *url, char ret_host[DOMAIN_SIZE], uint16_t *ret_port,
                    const char **ret_path);

#endif
