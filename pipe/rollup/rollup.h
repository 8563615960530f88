/*
 * MX roll-up: which domains are in a group because the same hosts take their mail. A group is
 * [mx-rollup NAME] with patterns of MX hosts, or found by itself: domains with the same set of best
 * MX hosts. The group of [mx-rollup NAME] is called NAME.rollup.
 */
#ifndef PMTA_PIPE_ROLLUP_ROLLUP_H
#define PMTA_PIPE_ROLLUP_ROLLUP_H

#include "mail/config.h"
#include "route/routes.h"

enum { ROLLUP_NAME_SIZE = 256 };

/* The group that the best MX hosts of a domain put it into: "google.rollup" in a view that lives in
 * ret_name (ROLLUP_NAME_SIZE bytes); empty: none. The first in order of the configuration wins.
 * Rules: only hosts of the lowest preference count. A group with a wildcard among its patterns:
 * every one of them must match a pattern. A group of plain names: every name must be among them. */
struct strview rollup_group(const struct config *cfg, const struct route *mx, char *ret_name);

/* The hosts of that group (without ".rollup") are plain names: mail goes to these hosts only. */
bool rollup_is_explicit(const struct config *cfg, struct strview rollup);
/* The host is named by, or matches a pattern of, the group. */
bool rollup_has_host(const struct config *cfg, struct strview rollup, struct strview host);

/* The name of the set of best hosts (lower case, sorted, common ending taken out): "mx.a.com",
 * "(mx1|mx2).a.com"; empty when the route is no MX route. A set with a longer name than fits ends
 * in its hash. */
struct strview rollup_site(const struct route *mx, char *ret_name);

#endif
