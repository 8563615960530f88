/*
 * Signatures on the way from the queue to a connection: a load that has its content gets the fields
 * that go before it (DKIM-Signature, BIMI-Selector, List-Unsubscribe) from the pipe's signer. They are made once per
 * message and plan, and shared by the loads of its recipients as long as the message is in memory; a
 * retry makes new ones.
 */
#ifndef PMTA_PIPE_QUEUE_SIGNING_H
#define PMTA_PIPE_QUEUE_SIGNING_H

#include "base/str.h"

struct load;
struct message;
struct signing;

/* l has envelope and content. Sets l->state: READY (with its fields, or it needs none), SIGNING
 * (l->arrived follows), or FAILED with l->status = ERR_KEY and l->trouble when a key that it needs
 * cannot be used. */
void signing_begin(struct load *l);
/* What goes before the content; empty when nothing does. */
struct strview signing_fields(const struct load *l);
/* l does not need its fields any more. */
void signing_release(struct load *l);
/* What is kept for further recipients of m is not needed any more. */
void signing_forget(struct message *m);

#endif
