/*
 * How a receiver knows that a request is ours: HMAC-SHA256 (RFC 2104) over "TIME.BODY".
 */
#ifndef PMTA_SHIP_SIGNATURE_H
#define PMTA_SHIP_SIGNATURE_H

#include "base/buf.h"

enum { SIGNATURE_BYTES = 32 };

void signature_hmac(struct strview key, struct strview first, struct strview second,
                    unsigned char out[SIGNATURE_BYTES]);

/* Appends "t=1732155906,v1=HEX", with one v1 per secret. */
void signature_append(struct buf *out, const struct buf *secrets, size_t count, int64_t time_s,
                      struct strview body);

#endif
