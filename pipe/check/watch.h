/*
 * The quiet check at the start and after a reload: reverse names of the source addresses that the
 * configuration names, and SPF of the domains that it has signing keys for. What is wrong becomes a
 * warning in the log; nothing waits for it.
 */
#ifndef PMTA_PIPE_CHECK_WATCH_H
#define PMTA_PIPE_CHECK_WATCH_H

#include "check/check.h"
#include "mail/config.h"

struct watch;

struct watch *watch_new(uv_loop_t *loop, struct routes *routes);
void watch_free(struct watch *w); /* NULL is fine */

/* Begins after a pause, so that what is busy at the start goes first; a round under way is given
 * up. Nothing happens when addresses and domains are those of the last round. Sources and domains
 * are copied. */
void watch_start(struct watch *w, const struct check_source *sources, size_t source_count,
                 const char *const *domains, size_t domain_count);
/* The pause, for tests. */
void watch_set_delay(struct watch *w, uint64_t delay_ms);

/* The domains that domain-key and its like name with a domain of their own, for this pipe; at most
 * max, without the stars. Views into cfg. */
size_t watch_domains(const struct config *cfg, struct strview pipe, struct strview *ret,
                     size_t max);

#endif
