/*
 * Files that TLS needs: root certificates, and certificates with their keys. The monitor opens them and passes the descriptors under the names that the configuration gives them; they are
 * read when a connection needs them for the first time, and kept until the next set comes.
 */
#ifndef PMTA_NET_TLS_FILES_H
#define PMTA_NET_TLS_FILES_H

#include "base/list.h"
#include "net/stream.h"

struct tls_files;

struct tls_files *tls_files_new(void);
void tls_files_free(struct tls_files *f); /* NULL is fine */

/* A new set begins; the one of before stays in use until tls_files_commit. */
void tls_files_begin(struct tls_files *f);
/* Takes fd. */
void tls_files_add(struct tls_files *f, const char *name, int fd);
/* What was added since tls_files_begin, if that was called, replaces what was there. What connections
 * hold stays theirs. */
void tls_files_commit(struct tls_files *f);

/* Reads root certificates in the thread pool, for a bundle of all public ones takes some ten
 * milliseconds. True: tls_files_roots has them at once (or there is no such file); false: w->ready is
 * called when it is worth asking again. */
struct tls_files_waiter {
    struct list link; /* taken out of its list, the waiter is not called */
    void (*ready)(struct tls_files_waiter *w);
};
bool tls_files_load_roots(struct tls_files *f, uv_loop_t *loop, const char *name,
                          struct tls_files_waiter *w);

/* NULL when there is no such file or it cannot be used, which is logged once. Not a reference; valid
 * until the next commit. name may be NULL. */
struct tls_roots *tls_files_roots(struct tls_files *f, const char *name);
/* key NULL or "": it is in the certificate's file. */
struct tls_identity *tls_files_identity(struct tls_files *f, const char *cert, const char *key);

/* Its descriptor for as long as the set lasts, or -1. */
int tls_files_fd(const struct tls_files *f, struct strview name);

#endif
