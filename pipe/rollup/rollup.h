/*
 * MX roll-up: which domains share a queue because the same hosts take their mail. A group is
 * [mx-rollup NAME] with patterns of MX hosts, or found by itself: domains with the same set of best
 * MX hosts. The queue of a group is NAME.rollup.
 */
#ifndef PMTA_PIPE_ROLLUP_ROLLUP_H
#define PMTA_PIPE_ROLLUP_ROLLUP_H

#include "mail/config.h"
#include "route/routes.h"

/* The group that the best MX hosts of a domain put it into: "google.rollup" in a view that lives in
 * cfg's memory or in ret_name (256 bytes); empty: none. Rules: only hosts of the lowest preference
 * count. Patterns with a wildcard: every one of them must match one pattern of the group. Explicit
 * names: every name listed for the group must be among them. */
struct strview rollup_group(const struct config *cfg, const struct route *mx, char *ret_name);

/* The site name of that set of hosts (lower case, sorted, common ending taken out), for groups that
 * form by themselves; empty when the route is no MX route. */
struct strview rollup_site(const struct route *mx, char *ret_name);

#endif
