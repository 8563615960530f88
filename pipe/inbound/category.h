/*
 * Bounce categories of recipients in delivery reports, by the rules that replies are judged with.
 */
#ifndef PMTA_PIPE_INBOUND_CATEGORY_H
#define PMTA_PIPE_INBOUND_CATEGORY_H

#include "classify/classify.h"
#include "inbound/parsed.h"

/* Of a recipient that failed or was delayed. text gets the bytes that it is judged by. */
void inbound_category(const struct classify *c, const struct inbound_rcpt *r, struct buf *text,
                      struct classification *ret);

#endif
