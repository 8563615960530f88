/*
 * Complaints: ARF (RFC 5965), what Microsoft's JMRP sends, and messages that were forwarded to a
 * feedback address.
 */
#ifndef PMTA_PIPE_INBOUND_FEEDBACK_H
#define PMTA_PIPE_INBOUND_FEEDBACK_H

#include "inbound/parsed.h"

/* The message has a message/feedback-report part: fills *ret in. */
bool feedback_arf(const struct mime *m, struct arena *a, struct budget *b, struct inbound_report *ret);

/* It, or a message in it, has X-HmXmrOriginalRecipient. */
bool feedback_jmrp(const struct mime *m, struct arena *a, struct inbound_report *ret);

/* Some message was attached, and nothing else is known. */
bool feedback_forwarded(const struct mime *m, struct arena *a, struct inbound_report *ret);

/* Who a complaint without a recipient is from, as far as the message in it tells. */
void feedback_guess_recipient(struct inbound_report *r, struct arena *a);

#endif
