/*
 * Files that outgoing TLS needs: root certificates, and client certificates with their keys. Root
 * opens them and passes the descriptors under the names that the configuration gives them; they are
 * read when a connection needs them for the first time, and kept until the next set comes.
 */
#ifndef PMTA_PIPE_DELIVERY_TLS_FILES_H
#define PMTA_PIPE_DELIVERY_TLS_FILES_H

#include "net/stream.h"

struct tls_files;

struct tls_files *tls_files_new(void);
void tls_files_free(struct tls_files *f); /* NULL is fine */

/* The set begins again. What connections hold stays theirs. */
void tls_files_reset(struct tls_files *f);
/* Takes fd. */
void tls_files_add(struct tls_files *f, const char *name, int fd);

/* NULL when there is no such file or it cannot be used, which is logged once. Not a reference; valid
 * until the next reset. name may be NULL. */
struct tls_roots *tls_files_roots(struct tls_files *f, const char *name);
/* key NULL or "": it is in the certificate's file. */
struct tls_identity *tls_files_identity(struct tls_files *f, const char *cert, const char *key);

#endif
