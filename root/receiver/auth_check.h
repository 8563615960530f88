/*
 * auth_check: passwords against Argon2id hashes, in the thread pool, with a memory of what was
 * right.
 */
#ifndef PMTA_RECEIVER_AUTH_CHECK_H
#define PMTA_RECEIVER_AUTH_CHECK_H

#include "base/str.h"
#include "smtp_server.h"

#include <uv.h>

struct auth_check;
struct auth_job;

struct auth_check *auth_check_new(uv_loop_t *loop);
/* Wipes what is remembered. No job may be under way. NULL is fine. */
void auth_check_free(struct auth_check *a);

/* hash: from the configuration, NULL when there is no such user (which takes as long). done fires
 * once, from the loop, never inside the call, unless cancelled. NULL when there is too much to do
 * (answer SMTP_AUTH_LATER), or when the answer is remembered: then *ret_known is true, and it is
 * right. */
struct auth_job *auth_check_start(struct auth_check *a, struct strview user,
                                  struct strview password, const char *hash, bool *ret_known,
                                  void (*done)(void *owner, enum smtp_auth_result result),
                                  void *owner);
/* done does not fire any more. NULL is fine. */
void auth_job_cancel(struct auth_job *j);

#endif
