/*
 * Dead letters: records that the receiver does not take, one JSON object a line, with when and why in
 * front of their own members. The file can be followed by pmta-ship itself, to send them once more.
 */
#ifndef PMTA_SHIP_DEAD_H
#define PMTA_SHIP_DEAD_H

#include "base/err.h"
#include "base/str.h"

#define DEAD_FILE "dead-letters.json"

/* Appends whole lines and syncs them; a line that the end of the power tore is ended first.
 * max_bytes: of the file; beyond it ERR_LIMIT, and nothing is written. 0 or negative with *e. */
int dead_write(int dirfd, struct strview lines, uint64_t max_bytes, struct err *e);

#endif
