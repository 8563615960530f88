/*
 * What the generators of documentation do alike: print the page, or with --check compare it with
 * the committed file.
 */
#ifndef PMTA_TOOLS_KIT_GENERATED_H
#define PMTA_TOOLS_KIT_GENERATED_H

#include "base/buf.h"

/* check_path NULL: prints. Otherwise compares; a difference is said with the generator's name.
 * Returns the exit status. */
int generated_finish(const struct buf *page, const char *check_path, const char *generator);

#endif
