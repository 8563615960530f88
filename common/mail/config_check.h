/*
 * The parts of the check of a whole configuration: config_check.c (names that refer to sections,
 * listeners), config_check_limits.c (settings that contradict each other), config_check_loops.c
 * (chains that come back). Nobody else includes this.
 */
#ifndef PMTA_MAIL_CONFIG_CHECK_H
#define PMTA_MAIL_CONFIG_CHECK_H

#include "mail/config_internal.h"
#include "mail/config_load.h"

/* A section with one of the domains that it is about. */
struct checked_pattern {
    const struct config_section *section;
    char domain[CONFIG_MAX_NAME + 16]; /* one that the pattern matches; empty: no domain */
};

struct check {
    struct loader *loader;
    const struct config_pattern **patterns; /* in order of sections, then by name */
    size_t pattern_count;
    struct arena arena;
    struct hash members; /* virtual MTAs that are in pools */
};

/* The i-th pattern, i < pattern_count. */
void check_pattern(const struct check *c, size_t i, struct checked_pattern *ret);
/* The pool that a virtual MTA belongs to, as the pipe sees it: the first in the files; or NULL. */
const char *check_pool_of(const struct check *c, struct strview vmta);
/* What a queue in that section, with that domain, is asked with. */
struct config_query check_query(const struct check *c, const struct checked_pattern *p);

void check_limits(struct check *c);
void check_loops(struct check *c);
/* config_check_tls.c */
void check_tls(struct loader *l);
/* config_check_inbound.c */
void check_inbound(struct loader *l);

#endif
