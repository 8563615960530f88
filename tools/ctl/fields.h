/*
 * What the objects of an answer hold, for docs/admin.md: FIELD(VERB, "from", "name", "type",
 * "help"). Types: text, number (integer), real, flag, list. Times are named by their unit: _ms
 * since the Unix epoch, _s seconds.
 */
#ifndef PMTA_CTL_FIELDS_H
#define PMTA_CTL_FIELDS_H

#define ADMIN_FIELDS(FIELD)                                                                        \
    FIELD(STATUS, "root", "pid", "number", "of pmtad")                                             \
    FIELD(STATUS, "root", "uptime_s", "number", "since pmtad started")                             \
    FIELD(STATUS, "root", "version", "text", "of pmtad")                                           \
    FIELD(STATUS, "root", "generation", "number", "of the configuration in use")                   \
    FIELD(STATUS, "root", "config_dir", "text", "where the configuration was read from")           \
    FIELD(STATUS, "root", "log", "object", "to, format, lost (lines); file, bytes, socket, trouble") \
    FIELD(STATUS, "root", "debug", "list", "what debugs: subsystems, pipe, until_ms (0: open end)") \
    FIELD(STATUS, "root, per child", "child", "text", "the process this object is about")          \
    FIELD(STATUS, "root, per child", "pid", "number", "0 while it does not run")                   \
    FIELD(STATUS, "root, per child", "state", "text", "running, starting, backoff or draining")    \
    FIELD(STATUS, "root, per child", "restarts", "number", "how often it died")                    \
    FIELD(STATUS, "root, per child", "uptime_s", "number", "since this process started")           \
    FIELD(STATUS, "pipe", "state", "text", "running, paused, starting, recovering or draining")    \
    FIELD(STATUS, "pipe", "queued", "number", "recipients that wait or are being sent")            \
    FIELD(STATUS, "pipe", "connections", "number", "open now, going out")                          \
    FIELD(STATUS, "pipe", "received", "number", "recipients, since the process started")           \
    FIELD(STATUS, "pipe", "delivered", "number", "recipients, since the process started")          \
    FIELD(STATUS, "pipe", "deferred", "number", "attempts that ended in a temporary failure")      \
    FIELD(STATUS, "pipe", "bounced", "number", "recipients bounced, expired or deleted")           \
    FIELD(STATUS, "pipe", "traces", "number", "traces under way")                                  \
    FIELD(STATUS, "pipe", "debug", "list", "queues that are debugged: queue, until_ms (0: open end)") \
    FIELD(STATUS, "pipe", "uptime_s", "number", "since the process started")                       \
    FIELD(STATUS, "receiver", "sessions", "number", "open now")                                    \
    FIELD(STATUS, "receiver", "accepted", "number", "sessions since the process started")          \
    FIELD(STATUS, "receiver", "messages", "number", "messages accepted")                           \
    FIELD(STATUS, "receiver", "recipients", "number", "recipients accepted")                       \
    FIELD(STATUS, "receiver", "rejected", "number", "messages refused")                            \
    FIELD(STATUS, "receiver", "tls", "number", "sessions with TLS")                                \
    FIELD(STATUS, "receiver", "buffered_bytes", "number", "message bytes in memory now")           \
    FIELD(STATUS, "receiver", "uptime_s", "real", "since the process started")                     \
    FIELD(STATUS, "receiver", "draining", "flag", "it takes no new sessions")                      \
    FIELD(STATUS, "receiver", "inbound", "number", "recipients taken that are our own addresses")  \
    FIELD(STATUS, "receiver", "inbound_forged", "number", "such addresses refused: not made here") \
    FIELD(STATUS, "receiver", "inbound_expired", "number", "the same: too old")                    \
    FIELD(STATUS, "receiver", "traces", "number", "traces of sessions under way")                  \
    FIELD(STATUS, "web", "connections", "number", "open now")                                      \
    FIELD(STATUS, "web", "accepted", "number", "connections since the process started")            \
    FIELD(STATUS, "web", "requests", "number", "since then")                                       \
    FIELD(STATUS, "web", "unsubscribed", "number", "addresses that the suppression list took")     \
    FIELD(STATUS, "web", "pages", "number", "times that a person was asked")                       \
    FIELD(STATUS, "web", "forged", "number", "unsubscribe links that were not made here")          \
    FIELD(STATUS, "web", "expired", "number", "the same: too old")                                 \
    FIELD(STATUS, "web", "failed", "number", "unsubscriptions that could not be stored (503)")     \
    FIELD(STATUS, "web", "waiting", "number", "that wait for the suppression list now")            \
    FIELD(STATUS, "web", "not_found", "number", "requests for what does not exist, links included") \
    FIELD(STATUS, "web", "too_large", "number", "requests refused for their size")                 \
    FIELD(STATUS, "web", "limited", "number", "requests refused for http-max-bad-rate")            \
    FIELD(STATUS, "web", "uptime_s", "real", "since the process started")                          \
    FIELD(STATUS, "web", "draining", "flag", "it takes no new connections")                        \
    FIELD(STATUS, "ship", "state", "text", "and the other members of show-events, without pipes")  \
    FIELD(STATUS, "resolver", "requests", "number", "routes that pipes asked for")                 \
    FIELD(STATUS, "resolver", "from_cache", "number", "of these, answered at once")                \
    FIELD(STATUS, "resolver", "refused", "number", "of these, refused (too many wait, stopping)")  \
    FIELD(STATUS, "resolver", "pending", "number", "of these, not answered yet")                   \
    FIELD(STATUS, "resolver", "queries", "number", "questions sent to name servers")               \
    FIELD(STATUS, "resolver", "tcp_queries", "number", "of these, by TCP")                         \
    FIELD(STATUS, "resolver", "timeouts", "number", "questions that nobody answered in time")      \
    FIELD(STATUS, "resolver", "coalesced", "number", "lookups that shared a question")             \
    FIELD(STATUS, "resolver", "in_flight", "number", "lookups under way")                          \
    FIELD(STATUS, "resolver", "cache_entries", "number", "in the cache now")                       \
    FIELD(STATUS, "resolver", "cache_bytes", "number", "memory of the cache")                      \
    FIELD(STATUS, "resolver", "cache_hits", "number", "found in the cache")                        \
    FIELD(STATUS, "resolver", "cache_misses", "number", "not found in the cache")                  \
    FIELD(STATUS, "resolver", "cache_evictions", "number", "dropped to make room")                 \
    FIELD(STATUS, "resolver", "validates", "flag", "name-server-validates")                        \
    FIELD(STATUS, "resolver", "mta_sts", "list",                                                   \
          "policies: domains (known now), bytes, fetches, failures, evictions")                    \
    FIELD(STATUS, "resolver", "servers", "list",                                                   \
          "name servers: address, rtt_ms, failures (in a row), queries, answers, timeouts")        \
    FIELD(STATUS, "suppress", "loaded", "flag", "the list was read")                               \
    FIELD(STATUS, "suppress", "entries", "number", "on the suppression list")                      \
    FIELD(STATUS, "suppress", "adds", "number", "entries that pipes and the web process sent")     \
    FIELD(STATUS, "suppress", "refused", "number", "of these, that could not be entries")          \
    FIELD(SUPPRESS_ADD, "suppress", "added", "number", "entries that are new")                     \
    FIELD(SUPPRESS_ADD, "suppress", "changed", "number", "entries that say something else now")    \
    FIELD(SUPPRESS_ADD, "suppress", "removed", "number", "entries that are gone")                  \
    FIELD(SUPPRESS_ADD, "suppress", "same", "number", "for which nothing had to change")           \
    FIELD(SUPPRESS_DEL, "suppress", "removed", "number", "entries that are gone; the others as in suppress-add") \
    FIELD(SUPPRESS_FIND, "suppress", "address", "text", "of the entry, as it is compared")         \
    FIELD(SUPPRESS_FIND, "suppress", "scope", "text", "global, pipe, domain or job")               \
    FIELD(SUPPRESS_FIND, "suppress", "name", "text", "of the pipe, domain or job")                 \
    FIELD(SUPPRESS_FIND, "suppress", "reason", "text", "manual, bounce, complaint or unsubscribe") \
    FIELD(SUPPRESS_FIND, "suppress", "added_ms", "number", "when it was last changed")             \
    FIELD(SUPPRESS_FIND, "suppress", "expires_ms", "number", "0: never")                           \
    FIELD(SUPPRESS_FIND, "suppress", "domain", "flag", "the entry is of the whole domain: the address is @DOMAIN") \
    FIELD(SUPPRESS_FIND, "suppress", "hashed", "flag", "the address is kept as a hash")            \
    FIELD(SUPPRESS_FIND, "suppress", "note", "text", "what was said with it")                      \
    FIELD(SUPPRESS_IMPORT, "suppress", "lines", "number", "of this piece; added, changed, removed, same as in suppress-add") \
    FIELD(SUPPRESS_IMPORT, "suppress", "invalid", "number", "of these, that are no entry")         \
    FIELD(SUPPRESS_IMPORT, "suppress", "complaints", "list", "the first of these: line (in this piece, from 1), error") \
    FIELD(SUPPRESS_EXPORT, "suppress", "entries", "number", "in this piece")                       \
    FIELD(SUPPRESS_EXPORT, "suppress", "next", "text", "'from' of the next piece; empty: this was the last") \
    FIELD(SUPPRESS_EXPORT, "suppress", "lines", "text", "CSV without a header line")               \
    FIELD(SUPPRESS_SHOW, "suppress", "entries", "number", "on the list")                           \
    FIELD(SUPPRESS_SHOW, "suppress", "by_scope", "list", "of these: global, pipe, domain, job")    \
    FIELD(SUPPRESS_SHOW, "suppress", "expiring", "number", "of these, that have a time when they end") \
    FIELD(SUPPRESS_SHOW, "suppress", "names", "number", "different pipes, domains and jobs")       \
    FIELD(SUPPRESS_SHOW, "suppress", "store", "text", "clear or hash")                             \
    FIELD(SUPPRESS_SHOW, "suppress", "table_bytes", "number", "shared memory")                     \
    FIELD(SUPPRESS_SHOW, "suppress", "log_bytes", "number", "on disk")                             \
    FIELD(SUPPRESS_SHOW, "suppress", "segments", "number", "files of the log")                     \
    FIELD(SUPPRESS_SHOW, "suppress", "records", "number", "in them, overtaken ones included")      \
    FIELD(SUPPRESS_SHOW, "suppress", "hashed_records", "number", "of these, without an address in clear") \
    FIELD(SUPPRESS_SHOW, "suppress", "damaged_bytes", "number", "that were no records at the start, set aside") \
    FIELD(SUPPRESS_SHOW, "suppress", "load_ms", "number", "how long reading the log took")         \
    FIELD(SUPPRESS_SHOW, "suppress", "adds", "number", "entries that pipes and the web process sent") \
    FIELD(SUPPRESS_SHOW, "suppress", "trouble", "text", "why it cannot be written, or empty")      \
    FIELD(SHOW_PIPES, "pipe", "pipe", "text", "its name")                                          \
    FIELD(SHOW_PIPES, "pipe", "state", "text", "as in status")                                     \
    FIELD(SHOW_PIPES, "pipe", "queued", "number", "recipients that wait or are being sent")        \
    FIELD(SHOW_PIPES, "pipe", "queues", "number", "queues that hold mail")                         \
    FIELD(SHOW_PIPES, "pipe", "connections", "number", "open now, going out")                      \
    FIELD(SHOW_PIPES, "pipe", "max_connections", "number", "max-smtp-out of the pipe; 0: none")    \
    FIELD(SHOW_PIPES, "pipe", "delivered", "number", "as in status")                               \
    FIELD(SHOW_PIPES, "pipe", "deferred", "number", "as in status")                                \
    FIELD(SHOW_PIPES, "pipe", "bounced", "number", "as in status")                                 \
    FIELD(SHOW_PIPES, "pipe", "rate_in_1m", "number", "recipients received in the last minute")    \
    FIELD(SHOW_PIPES, "pipe", "rate_out_1m", "number", "recipients delivered in the last minute")  \
    FIELD(SHOW_PIPES, "pipe", "oldest_ms", "number", "when the oldest message arrived; 0: none")   \
    FIELD(SHOW_PIPES, "pipe", "spool_bytes", "number", "on disk, segments and journal")            \
    FIELD(SHOW_PIPES, "pipe", "spool_live_bytes", "number", "of these, still needed")              \
    FIELD(SHOW_PIPES, "pipe", "segments", "number", "segment files")                               \
    FIELD(SHOW_PIPES, "pipe", "spool_writable", "flag", "false: mail is refused for now")          \
    FIELD(SHOW_PIPES, "pipe", "spool_trouble", "text", "why; absent when all is well")             \
    FIELD(SHOW_PIPES, "pipe", "commits", "number", "group commits since the process started")      \
    FIELD(SHOW_PIPES, "pipe", "appended", "number", "messages written by them")                    \
    FIELD(SHOW_PIPES, "pipe", "quarantined", "number", "damaged records set aside")                \
    FIELD(SHOW_PIPES, "pipe", "notices_failed", "number",                                          \
          "delivery notices of failure that were stored, since the process started")               \
    FIELD(SHOW_PIPES, "pipe", "notices_delayed", "number", "the same of delay")                    \
    FIELD(SHOW_PIPES, "pipe", "notices_relayed", "number", "the same of mail that was relayed")    \
    FIELD(SHOW_PIPES, "pipe", "notices_held_back", "number", "not sent: beyond dsn-max-rate")      \
    FIELD(SHOW_PIPES, "pipe", "notices_lost", "number",                                            \
          "of delay or success, that could not be stored")                                         \
    FIELD(SHOW_PIPES, "pipe", "notices_under_way", "number", "being written or stored now")        \
    FIELD(SHOW_PIPES, "pipe", "delays_watched", "number",                                          \
          "messages whose delay will be told (NOTIFY=DELAY)")                                      \
    FIELD(SHOW_PIPES, "pipe", "index_bytes_per_rcpt", "number", "memory per queued recipient")     \
    FIELD(SHOW_QUEUES, "pipe", "pipe", "text", "the pipe's name")                                  \
    FIELD(SHOW_QUEUES, "pipe", "queue", "text", "domain/vmta")                                     \
    FIELD(SHOW_QUEUES, "pipe", "group", "text",                                                    \
          "what its limits and mode go by when it is in a group: google.rollup/mta1")              \
    FIELD(SHOW_QUEUES, "pipe", "queued", "number", "recipients in it")                             \
    FIELD(SHOW_QUEUES, "pipe", "ready", "number", "of these, to be sent now")                      \
    FIELD(SHOW_QUEUES, "pipe", "held", "number", "ready, but their job or window holds them back") \
    FIELD(SHOW_QUEUES, "pipe", "deferred", "number", "of these, waiting for their next attempt")   \
    FIELD(SHOW_QUEUES, "pipe", "connections", "number", "open or being opened")                    \
    FIELD(SHOW_QUEUES, "pipe", "max_connections", "number", "max-smtp-out of the queue; 0: none")  \
    FIELD(SHOW_QUEUES, "pipe", "state", "text",                                                    \
          "active, connecting, waiting, retry, held, paused or idle")                              \
    FIELD(SHOW_QUEUES, "pipe", "mode", "text", "normal or backoff")                                \
    FIELD(SHOW_QUEUES, "pipe", "limits", "text", "its own limits in short")                        \
    FIELD(SHOW_QUEUES, "pipe", "held_by", "text",                                                  \
          "what it waits for: a limit, an action, an operator; absent: nothing")                   \
    FIELD(SHOW_QUEUES, "pipe", "next_ms", "number", "when something moves next; 0: now")           \
    FIELD(SHOW_QUEUES, "pipe", "oldest_ms", "number", "when its oldest message arrived")           \
    FIELD(SHOW_QUEUES, "pipe", "last_text", "text", "last answer while something waits")           \
    FIELD(SHOW_QUEUES, "pipe", "kind", "text",                                                     \
          "with groups: true, of a group: mx-rollup, auto-mx-rollup or queue-to")                  \
    FIELD(SHOW_QUEUES, "pipe", "members", "number", "of a group: queues in it")                    \
    FIELD(SHOW_QUEUES, "pipe", "domains", "list", "of a group: their domains, 100 at most")        \
    FIELD(SHOW_ADAPTIVE, "pipe", "queue", "text", "queue, or group of queues")                     \
    FIELD(SHOW_ADAPTIVE, "pipe", "source", "text", "source address, or any")                       \
    FIELD(SHOW_ADAPTIVE, "pipe", "state", "text", "seeking, held or climbing")                     \
    FIELD(SHOW_ADAPTIVE, "pipe", "rate", "real", "now, per second")                                \
    FIELD(SHOW_ADAPTIVE, "pipe", "floor", "real", "adaptive-min-rate, per second")                 \
    FIELD(SHOW_ADAPTIVE, "pipe", "ceiling", "real", "max-msg-rate, per second; 0: none")           \
    FIELD(SHOW_ADAPTIVE, "pipe", "failed_at", "real",                                              \
          "the level that was throttled last; 0: none")                                            \
    FIELD(SHOW_ADAPTIVE, "pipe", "delivered", "number", "recipients, since the process started")   \
    FIELD(SHOW_ADAPTIVE, "pipe", "throttled", "number", "replies that said too fast")              \
    FIELD(SHOW_ADAPTIVE, "pipe", "changed_ms", "number", "when the rate changed last")             \
    FIELD(SHOW_ADAPTIVE, "pipe", "change", "text",                                                 \
          "how: start, faster, held, slower, limit, restart")                                      \
    FIELD(SHOW_ADAPTIVE, "pipe", "because", "text", "the same in words")                           \
    FIELD(SHOW_ADAPTIVE, "pipe", "reply", "text", "the last reply that throttled")                 \
    FIELD(SHOW_ADAPTIVE, "pipe", "minutes", "list", "highest rate of each of the last 60 minutes") \
    FIELD(SHOW_ADAPTIVE, "pipe", "history", "list",                                                \
          "changes, newest first: at_ms, rate, change, because, reply")                            \
    FIELD(SHOW_WARMUP, "pipe", "queue", "text", "queue, or group of queues")                       \
    FIELD(SHOW_WARMUP, "pipe", "source", "text", "source address, or any")                         \
    FIELD(SHOW_WARMUP, "pipe", "kind", "text", "schedule or ramp")                                 \
    FIELD(SHOW_WARMUP, "pipe", "state", "text",                                                    \
          "advancing, unused, hold, step-back, held (by an operator), done")                       \
    FIELD(SHOW_WARMUP, "pipe", "step", "number", "day of the schedule, or step of the ramp")       \
    FIELD(SHOW_WARMUP, "pipe", "steps", "number", "of a ramp")                                     \
    FIELD(SHOW_WARMUP, "pipe", "budget", "number", "messages today; absent: no limit")             \
    FIELD(SHOW_WARMUP, "pipe", "rate", "real", "of a ramp, per second; 0: no limit")               \
    FIELD(SHOW_WARMUP, "pipe", "used", "number", "of the budget, by all pipes")                    \
    FIELD(SHOW_WARMUP, "pipe", "attempts", "number", "answered in this step")                      \
    FIELD(SHOW_WARMUP, "pipe", "deferred_percent", "real", "of these")                             \
    FIELD(SHOW_WARMUP, "pipe", "bounced_percent", "real", "of these")                              \
    FIELD(SHOW_WARMUP, "pipe", "max_deferred", "number", "warmup-max-deferred")                    \
    FIELD(SHOW_WARMUP, "pipe", "max_bounced", "number", "warmup-max-bounced")                      \
    FIELD(SHOW_WARMUP, "pipe", "verdict", "text",                                                  \
          "how the last step ended: begins, advanced, unused, deferred, bounced, operator")        \
    FIELD(SHOW_WARMUP, "pipe", "verdict_percent", "number", "of deferred and bounced")             \
    FIELD(SHOW_WARMUP, "pipe", "because", "text", "the verdict in words")                          \
    FIELD(SHOW_WARMUP, "pipe", "began_ms", "number", "the warm-up")                                \
    FIELD(SHOW_WARMUP, "pipe", "next_ms", "number", "end of this step; 0: none")                   \
    FIELD(SHOW_WARMUP, "pipe", "next_budget", "number",                                            \
          "of the next day, when this one goes well")                                              \
    FIELD(CLASSIFY, "pipe", "category", "text", "as bounceCat in accounting")                      \
    FIELD(CLASSIFY, "pipe", "by", "text", "what it went by: enhanced status and text, ...")        \
    FIELD(CLASSIFY, "pipe", "rule", "text", "as written; absent: no rule matches")                 \
    FIELD(CLASSIFY, "pipe", "file", "text", "where the rule stands")                               \
    FIELD(CLASSIFY, "pipe", "line", "number", "where the rule stands")                             \
    FIELD(CLASSIFY, "pipe", "own", "flag", "it is not one of the shipped rules")                   \
    FIELD(CLASSIFY, "pipe", "caught", "flag", "false: nothing is known about this reply")          \
    FIELD(CLASSIFY, "pipe", "reply", "text", "what was asked about")                               \
    FIELD(CLASSIFY, "pipe", "status", "text", "enhanced status code in it; absent: none")          \
    FIELD(CLASSIFY, "pipe", "phase", "text", "in which it is heard")                               \
    FIELD(VERP_DECODE, "pipe", "verdict", "text", "ours, expired, forged or not-ours")             \
    FIELD(VERP_DECODE, "pipe", "address", "text", "what was asked about")                          \
    FIELD(VERP_DECODE, "pipe", "use", "text", "bounce or unsubscribe; this and what follows only when it was made here") \
    FIELD(VERP_DECODE, "pipe", "made", "text", "the day, UTC")                                     \
    FIELD(VERP_DECODE, "pipe", "pipe", "text", "that made it; absent: none that is configured")    \
    FIELD(VERP_DECODE, "pipe", "own", "flag", "it is the pipe that answers")                       \
    FIELD(VERP_DECODE, "pipe", "known", "flag", "job, vmta and sender are remembered, by the pipe that made it alone") \
    FIELD(VERP_DECODE, "pipe", "rcpt", "text", "absent: the address has only a hash of it")        \
    FIELD(VERP_DECODE, "pipe", "job", "text", "X-Job; absent: none")                               \
    FIELD(VERP_DECODE, "pipe", "vmta", "text", "virtual MTA")                                      \
    FIELD(VERP_DECODE, "pipe", "sender", "text", "of the application")                             \
    FIELD(VERP_DECODE, "pipe", "is_rcpt", "flag", "it was made for the recipient that was given")  \
    FIELD(VERP_DECODE, "pipe", "scope", "text", "what an unsubscribe address unsubscribes from: global, pipe, domain or job") \
    FIELD(VERP_DECODE, "pipe", "scope_name", "text", "which one")                                  \
    FIELD(SHOW_INBOUND, "pipe", "pipe", "text", "the pipe's name")                                 \
    FIELD(SHOW_INBOUND, "pipe", "since_ms", "number", "when counting began; restarts do not end it")\
    FIELD(SHOW_INBOUND, "pipe", "reports", "number", "messages that could be used")                 \
    FIELD(SHOW_INBOUND, "pipe", "unmatched", "number", "messages that said nothing of a recipient of ours")\
    FIELD(SHOW_INBOUND, "pipe", "errors", "number", "messages that could not be read, or not to their end")\
    FIELD(SHOW_INBOUND, "pipe", "records", "number", "rb, rs and f records written")               \
    FIELD(SHOW_INBOUND, "pipe", "suppressed", "number", "entries that the suppression list took")  \
    FIELD(SHOW_INBOUND, "pipe", "forwarded", "number", "messages sent on to people")               \
    FIELD(SHOW_INBOUND, "pipe", "bounces", "number", "messages by what they are: failures")        \
    FIELD(SHOW_INBOUND, "pipe", "statuses", "number", "the same: delays and deliveries")           \
    FIELD(SHOW_INBOUND, "pipe", "complaints", "number", "the same: of feedback loops")             \
    FIELD(SHOW_INBOUND, "pipe", "unsubscriptions", "number", "the same: to unsubscribe addresses") \
    FIELD(SHOW_INBOUND, "pipe", "auto_replies", "number", "the same: automatic answers")           \
    FIELD(SHOW_INBOUND, "pipe", "challenges", "number", "the same: whether the sender is a person")\
    FIELD(SHOW_INBOUND, "pipe", "read_notices", "number", "the same: read, or thrown away (RFC 8098)")\
    FIELD(SHOW_INBOUND, "pipe", "others", "number", "the same: none of these")                     \
    FIELD(SHOW_INBOUND, "pipe", "queued", "number", "recipients that wait in these queues, or are being read")\
    FIELD(SHOW_INBOUND, "pipe", "under_way", "number", "messages in hand now")                     \
    FIELD(SHOW_INBOUND, "pipe", "waiting", "number", "of these, messages that wait for the suppression list")\
    FIELD(SHOW_UNCLASSIFIED, "pipe", "text", "text", "reply with {address}, {id} ... in it")       \
    FIELD(SHOW_UNCLASSIFIED, "pipe", "sample", "text", "the last one as it came, cut")             \
    FIELD(SHOW_UNCLASSIFIED, "pipe", "count", "number", "replies of this group")                   \
    FIELD(SHOW_UNCLASSIFIED, "pipe", "host", "text", "that said it last")                          \
    FIELD(SHOW_UNCLASSIFIED, "pipe", "phase", "text", "in which it was heard last")                \
    FIELD(SHOW_UNCLASSIFIED, "pipe", "first_ms", "number", "when it was heard first")              \
    FIELD(SHOW_UNCLASSIFIED, "pipe", "last_ms", "number", "when it was heard last")                \
    FIELD(WARMUP_PLAN, "pipe", "queue", "text", "absent with a schedule of its own")               \
    FIELD(WARMUP_PLAN, "pipe", "source", "text", "source address, or any")                         \
    FIELD(WARMUP_PLAN, "pipe", "days", "list", "date, day, budget (absent: no limit), total")      \
    FIELD(WARMUP_PLAN, "pipe", "note", "text", "what the plan does not reach")                     \
    FIELD(WARMUP_HOLD, "pipe", "queue", "text", "the pattern")                                     \
    FIELD(WARMUP_HOLD, "pipe", "state", "text", "what was done")                                   \
    FIELD(WARMUP_HOLD, "pipe", "changed", "number", "source addresses that this was done for")     \
    FIELD(WARMUP_RESUME, "pipe", "queue", "text", "the pattern")                                   \
    FIELD(WARMUP_RESUME, "pipe", "state", "text", "what was done")                                 \
    FIELD(WARMUP_RESUME, "pipe", "changed", "number", "source addresses that this was done for")   \
    FIELD(WARMUP_SET_DAY, "pipe", "queue", "text", "the pattern")                                  \
    FIELD(WARMUP_SET_DAY, "pipe", "state", "text", "what was done")                                \
    FIELD(WARMUP_SET_DAY, "pipe", "changed", "number", "source addresses that this was done for")  \
    FIELD(SHOW_LIMITS, "pipe", "counted_as", "text",                                               \
          "first object of a pipe: the queue or group that limits go by")                          \
    FIELD(SHOW_LIMITS, "pipe", "members", "number", "of it: queues in that group")                 \
    FIELD(SHOW_LIMITS, "pipe", "because", "text", "of it: why the queue is in its group, or none") \
    FIELD(SHOW_LIMITS, "pipe", "pipe", "text", "the pipe's name")                                  \
    FIELD(SHOW_LIMITS, "pipe", "queue", "text", "domain/vmta asked about")                         \
    FIELD(SHOW_LIMITS, "pipe", "limit", "text", "its name; equal names share a level")             \
    FIELD(SHOW_LIMITS, "pipe", "directive", "text", "that sets it")                                \
    FIELD(SHOW_LIMITS, "pipe", "allows", "text", "the value as written")                           \
    FIELD(SHOW_LIMITS, "pipe", "unit", "text", "what is counted")                                  \
    FIELD(SHOW_LIMITS, "pipe", "rate", "text", "in force; of rates only")                          \
    FIELD(SHOW_LIMITS, "pipe", "max", "number", "in force; of connections only")                   \
    FIELD(SHOW_LIMITS, "pipe", "used", "number", "of max, over all pipes")                         \
    FIELD(SHOW_LIMITS, "pipe", "used_here", "number", "of these, by this pipe")                    \
    FIELD(SHOW_LIMITS, "pipe", "free_now", "number", "how many may go at once")                    \
    FIELD(SHOW_LIMITS, "pipe", "next_ms", "number", "when the next may go; 0: now, or not known")  \
    FIELD(SHOW_LIMITS, "pipe", "waiting", "number", "queues of this pipe in line")                 \
    FIELD(SHOW_LIMITS, "pipe", "waiters", "list", "the first of them")                             \
    FIELD(SHOW_LIMITS, "pipe", "holds", "flag", "the queue asked about is in line here")           \
    FIELD(SHOW_LIMITS, "pipe", "file", "text", "where it is written; empty: a default")            \
    FIELD(SHOW_LIMITS, "pipe", "line", "number", "in that file")                                   \
    FIELD(SHOW_LIMITS, "pipe", "section", "text", "in that file")                                  \
    FIELD(SHOW_CONNECTIONS, "pipe", "direction", "text", "out")                                    \
    FIELD(SHOW_CONNECTIONS, "pipe", "queue", "text", "domain/vmta it was opened for")              \
    FIELD(SHOW_CONNECTIONS, "pipe", "host", "text", "name of the peer")                            \
    FIELD(SHOW_CONNECTIONS, "pipe", "peer", "text", "address of the peer")                         \
    FIELD(SHOW_CONNECTIONS, "pipe", "source", "text", "our address")                               \
    FIELD(SHOW_CONNECTIONS, "pipe", "phase", "text", "how far it got")                             \
    FIELD(SHOW_CONNECTIONS, "pipe", "tls", "text", "version/cipher, or empty")                     \
    FIELD(SHOW_CONNECTIONS, "pipe", "messages", "number", "sent on this connection")               \
    FIELD(SHOW_CONNECTIONS, "pipe", "opened_ms", "number", "when it was opened")                   \
    FIELD(SHOW_CONNECTIONS, "receiver", "direction", "text", "in")                                 \
    FIELD(SHOW_CONNECTIONS, "receiver", "session", "text", "id of the session in the log")         \
    FIELD(SHOW_CONNECTIONS, "receiver", "client", "text", "address of the client")                 \
    FIELD(SHOW_CONNECTIONS, "receiver", "listener", "text", "name of the listener")                \
    FIELD(SHOW_CONNECTIONS, "receiver", "source", "text", "[source] that applies")                 \
    FIELD(SHOW_CONNECTIONS, "receiver", "user", "text", "who logged in, or empty")                 \
    FIELD(SHOW_CONNECTIONS, "receiver", "state", "text", "state of the session")                   \
    FIELD(SHOW_CONNECTIONS, "receiver", "messages", "number", "accepted in this session")          \
    FIELD(SHOW_CONNECTIONS, "receiver", "tls", "flag", "encrypted")                                \
    FIELD(SHOW_CONNECTIONS, "receiver", "age_s", "real", "since it was opened")                    \
    FIELD(SHOW_TLS_REPORT, "pipe", "pipe", "text", "the pipe's name")                              \
    FIELD(SHOW_TLS_REPORT, "pipe", "domain", "text", "recipient domain")                           \
    FIELD(SHOW_TLS_REPORT, "pipe", "day_ms", "number", "the day (UTC)")                            \
    FIELD(SHOW_TLS_REPORT, "pipe", "wanted", "text",                                               \
          "whether the domain asks for reports: yes, or asking (it is not known yet)")             \
    FIELD(SHOW_TLS_REPORT, "pipe", "due_ms", "number", "when the report goes out")                 \
    FIELD(SHOW_TLS_REPORT, "pipe", "policy", "text", "sts, tlsa or no-policy-found")               \
    FIELD(SHOW_TLS_REPORT, "pipe", "ok", "number", "sessions that were as they should be")         \
    FIELD(SHOW_TLS_REPORT, "pipe", "failed", "number", "sessions that were not")                   \
    FIELD(SHOW_TLS_REPORT, "pipe", "details", "list",                                              \
          "kinds of failure as in RFC 8460 section 4.4, each with its count")                      \
    FIELD(SHOW_VMTAS, "pipe", "pipe", "text", "the pipe's name")                                   \
    FIELD(SHOW_VMTAS, "pipe", "vmta", "text", "name of the virtual MTA")                           \
    FIELD(SHOW_VMTAS, "pipe", "state", "text",                                                     \
          "active, idle, no-address (its mail waits) or removed (not configured any more)")        \
    FIELD(SHOW_VMTAS, "pipe", "addresses", "number", "source addresses")                           \
    FIELD(SHOW_VMTAS, "pipe", "missing", "number", "of these, not on this machine")                \
    FIELD(SHOW_VMTAS, "pipe", "sources", "list",                                                   \
          "the first 256: ip (empty: the system chooses), host, missing, file, line")              \
    FIELD(SHOW_VMTAS, "pipe", "pools", "list", "pool and weight, for each that it is in")          \
    FIELD(SHOW_VMTAS, "pipe", "cold", "list",                                                      \
          "virtual MTAs that it warms up: vmta, today (messages)")                                 \
    FIELD(SHOW_VMTAS, "pipe", "queued", "number", "recipients in its queues")                      \
    FIELD(SHOW_VMTAS, "pipe", "queues", "number", "its queues that hold mail")                     \
    FIELD(SHOW_VMTAS, "pipe", "queues_backoff", "number", "of these, in back-off mode")            \
    FIELD(SHOW_VMTAS, "pipe", "connections", "number", "open or being opened")                     \
    FIELD(SHOW_VMTAS, "pipe", "max_connections", "number", "its own max-smtp-out; 0: none")        \
    FIELD(SHOW_MESSAGE, "pipe", "pipe", "text", "the pipe that holds it")                          \
    FIELD(SHOW_MESSAGE, "pipe", "id", "text", "message id")                                        \
    FIELD(SHOW_MESSAGE, "pipe", "received_ms", "number", "when it was accepted")                   \
    FIELD(SHOW_MESSAGE, "pipe", "bytes", "number", "size of the message")                          \
    FIELD(SHOW_MESSAGE, "pipe", "sender", "text", "envelope sender")                               \
    FIELD(SHOW_MESSAGE, "pipe", "job", "text", "X-Job, or empty")                                  \
    FIELD(SHOW_MESSAGE, "pipe", "envid", "text", "ENVID, or empty")                                \
    FIELD(SHOW_MESSAGE, "pipe", "peer", "text", "address it came from")                            \
    FIELD(SHOW_MESSAGE, "pipe", "user", "text", "who had logged in, or empty")                     \
    FIELD(SHOW_MESSAGE, "pipe", "rcpts", "list",                                                   \
          "recipients: rcpt, address, state (queued, sending, deferred, done), queue, attempts, "  \
          "next_ms, code and text of the last answer")                                             \
    FIELD(WHY, "pipe", "pipe", "text", "the pipe that holds it")                                   \
    FIELD(WHY, "pipe", "id", "text", "message id")                                                 \
    FIELD(                                                                                         \
        WHY, "pipe", "rcpts", "list",                                                              \
        "recipients that are not done: rcpt, address, queue, waits_for, because (the reply or "    \
        "directive that put it there), where (file:line, or 'default'), next_ms (0: not known), "  \
        "next (what happens then)")                                                                \
    FIELD(LEDGER, "pipe", "pipe", "text", "its name")                                              \
    FIELD(LEDGER, "pipe", "received", "number", "recipients ever acknowledged")                    \
    FIELD(LEDGER, "pipe", "delivered", "number", "of these, delivered")                            \
    FIELD(LEDGER, "pipe", "bounced", "number", "of these, refused for good")                       \
    FIELD(LEDGER, "pipe", "expired", "number", "of these, given up after bounce-after")            \
    FIELD(LEDGER, "pipe", "deleted", "number", "of these, deleted by an operator")                 \
    FIELD(LEDGER, "pipe", "corrupt", "number", "of these, in quarantine")                          \
    FIELD(LEDGER, "pipe", "queued", "number", "of these, still in the queues")                     \
    FIELD(LEDGER, "pipe", "balanced", "flag", "received is the sum of the others")                 \
    FIELD(CONFIG_EXPLAIN, "pipe", "directive", "text", "one object for each")                      \
    FIELD(CONFIG_EXPLAIN, "pipe", "value", "text", "that wins; absent when there is none")         \
    FIELD(CONFIG_EXPLAIN, "pipe", "file", "text", "where it is written; absent for a default")     \
    FIELD(CONFIG_EXPLAIN, "pipe", "line", "number", "in that file")                                \
    FIELD(CONFIG_EXPLAIN, "pipe", "section", "text", "in that file")                               \
    FIELD(CONFIG_EXPLAIN, "pipe", "overrode", "list", "value, file, line, section of the others")  \
    FIELD(CONFIG_EXPLAIN, "pipe", "now", "text", "what adaptive or warm-up came to; absent: no")   \
    FIELD(RESOLVE, "pipe", "pipe", "text", "its name")                                             \
    FIELD(RESOLVE, "pipe", "domain", "text",                                                       \
          "that was asked for; one object per entry of "                                           \
          "smtp-hosts, or one")                                                                    \
    FIELD(RESOLVE, "pipe", "vmta", "text", "virtual MTA that it is for")                           \
    FIELD(RESOLVE, "pipe", "queue_to", "text", "domain that the mail goes to instead")             \
    FIELD(RESOLVE, "pipe", "kind", "text", "mx, host or address")                                  \
    FIELD(RESOLVE, "pipe", "name", "text", "whose MX hosts or addresses these are")                \
    FIELD(RESOLVE, "pipe", "port", "number", "to deliver to")                                      \
    FIELD(RESOLVE, "pipe", "status", "text", "ok, or what there is instead of a route")            \
    FIELD(RESOLVE, "pipe", "text", "text", "why there is no route")                                \
    FIELD(RESOLVE, "pipe", "ttl_s", "number", "how long the pipe believes it")                     \
    FIELD(RESOLVE, "pipe", "group", "text", "of MX hosts that the domain is counted as")           \
    FIELD(RESOLVE, "pipe", "mx_secure", "flag", "the MX answer passed DNSSEC")                     \
    FIELD(RESOLVE, "pipe", "use_starttls", "flag", "the directive")                                \
    FIELD(RESOLVE, "pipe", "use_dane", "flag", "the directive")                                    \
    FIELD(RESOLVE, "pipe", "use_mta_sts", "flag", "the directive")                                 \
    FIELD(RESOLVE, "pipe", "with_dane", "flag", "shown as if use-dane were yes; absent: no")       \
    FIELD(RESOLVE, "pipe", "with_mta_sts", "flag", "shown as if use-mta-sts were yes; absent: no") \
    FIELD(RESOLVE, "pipe", "mta_sts", "list", "mode, id, max_age_s, mx (patterns), failure")       \
    FIELD(RESOLVE, "pipe", "hosts", "list",                                                        \
          "preference, host, addresses, dane (none, usable, unusable, failed), tlsa (usage, "      \
          "selector, matching, data), tlsa_base (name that has them, when it is another), "        \
          "in_policy (MTA-STS lists it), asks (in words)")                                         \
    FIELD(PAUSE_PIPE, "pipe", "pipe", "text", "its name")                                          \
    FIELD(PAUSE_PIPE, "pipe", "state", "text", "paused")                                           \
    FIELD(PAUSE_PIPE, "pipe", "changed", "number", "0: it was paused already")                     \
    FIELD(RESUME_PIPE, "pipe", "pipe", "text", "its name")                                         \
    FIELD(RESUME_PIPE, "pipe", "state", "text", "running")                                         \
    FIELD(RESUME_PIPE, "pipe", "changed", "number", "0: it was running already")                   \
    FIELD(PAUSE_QUEUE, "pipe", "pipe", "text", "the pipe's name")                                  \
    FIELD(PAUSE_QUEUE, "pipe", "queue", "text", "the pattern")                                     \
    FIELD(PAUSE_QUEUE, "pipe", "state", "text", "paused")                                          \
    FIELD(PAUSE_QUEUE, "pipe", "changed", "number", "queues that were not paused before")          \
    FIELD(RESUME_QUEUE, "pipe", "pipe", "text", "the pipe's name")                                 \
    FIELD(RESUME_QUEUE, "pipe", "queue", "text", "the pattern")                                    \
    FIELD(RESUME_QUEUE, "pipe", "state", "text", "active")                                         \
    FIELD(RESUME_QUEUE, "pipe", "changed", "number", "queues that are not paused any more")        \
    FIELD(SCHEDULE, "pipe", "pipe", "text", "the pipe's name")                                     \
    FIELD(SCHEDULE, "pipe", "queue", "text", "the pattern")                                        \
    FIELD(SCHEDULE, "pipe", "state", "text", "scheduled")                                          \
    FIELD(SCHEDULE, "pipe", "changed", "number", "queues that had something to move")              \
    FIELD(DELETE, "pipe", "pipe", "text", "the pipe's name")                                       \
    FIELD(DELETE, "pipe", "matched", "number", "recipients that match")                            \
    FIELD(DELETE, "pipe", "deleted", "number", "of these, deleted")                                \
    FIELD(DELETE, "pipe", "dry_run", "flag", "they were only counted")                             \
    FIELD(SHOW_ACTIONS, "pipe", "pipe", "text", "the pipe's name")                                 \
    FIELD(SHOW_ACTIONS, "pipe", "id", "text", "for 'pmtactl cancel'")                              \
    FIELD(SHOW_ACTIONS, "pipe", "kind", "text",                                                    \
          "backoff, rate, disable-source-ip, skip-mx, defer-queue, bounce-queue or suspend-pipe")  \
    FIELD(SHOW_ACTIONS, "pipe", "effect", "text", "the kind in words")                             \
    FIELD(SHOW_ACTIONS, "pipe", "queue", "text", "queue or group of queues; empty: the pipe")      \
    FIELD(SHOW_ACTIONS, "pipe", "subject", "text", "address or host that it is about")             \
    FIELD(SHOW_ACTIONS, "pipe", "percent", "number", "of rate: what is left of the rates")         \
    FIELD(SHOW_ACTIONS, "pipe", "since_ms", "number", "when it began")                             \
    FIELD(SHOW_ACTIONS, "pipe", "until_ms", "number", "when it ends by itself; 0: never")          \
    FIELD(SHOW_ACTIONS, "pipe", "times", "number", "how often its cause has come")                 \
    FIELD(SHOW_ACTIONS, "pipe", "by", "text", "reply, operator, or the directive it is from")      \
    FIELD(SHOW_ACTIONS, "pipe", "list", "text", "[smtp-pattern-list] of the rule")                 \
    FIELD(SHOW_ACTIONS, "pipe", "file", "text", "where the rule is written")                       \
    FIELD(SHOW_ACTIONS, "pipe", "line", "number", "in that file")                                  \
    FIELD(SHOW_ACTIONS, "pipe", "regex", "text", "of the rule")                                    \
    FIELD(SHOW_ACTIONS, "pipe", "reply", "text", "that triggered it first")                        \
    FIELD(SHOW_ACTIONS, "pipe, per queue asked for", "mode_changes", "list",                       \
          "the last ten: at_ms, mode, reason")                                                     \
    FIELD(CANCEL, "pipe", "state", "text", "cancelled; besides it the fields of show-actions")     \
    FIELD(SET_QUEUE, "pipe", "pipe", "text", "the pipe's name")                                    \
    FIELD(SET_QUEUE, "pipe", "queue", "text", "the pattern")                                       \
    FIELD(SET_QUEUE, "pipe", "state", "text", "mode backoff or mode normal")                       \
    FIELD(SET_QUEUE, "pipe", "changed", "number", "queues that it concerned")                      \
    FIELD(SET_QUEUE, "pipe", "note", "text", "when not all could be done: why")                    \
    FIELD(DISABLE_SOURCE, "pipe", "pipe", "text", "the pipe's name")                               \
    FIELD(DISABLE_SOURCE, "pipe", "queue", "text", "the pattern")                                  \
    FIELD(DISABLE_SOURCE, "pipe", "state", "text", "source disabled")                              \
    FIELD(DISABLE_SOURCE, "pipe", "changed", "number", "queues that may use the address")          \
    FIELD(DISABLE_SOURCE, "pipe", "note", "text", "when not all could be done: why")               \
    FIELD(ENABLE_SOURCE, "pipe", "pipe", "text", "the pipe's name")                                \
    FIELD(ENABLE_SOURCE, "pipe", "queue", "text", "the pattern")                                   \
    FIELD(ENABLE_SOURCE, "pipe", "state", "text", "source enabled")                                \
    FIELD(ENABLE_SOURCE, "pipe", "changed", "number", "queues that it was disabled for")           \
    FIELD(SHOW_JOBS, "pipe", "pipe", "text", "the pipe")                                           \
    FIELD(SHOW_JOBS, "pipe", "job", "text", "its id, as X-Job gave it")                            \
    FIELD(SHOW_JOBS, "pipe", "state", "text",                                                      \
          "active, paused, throttled (used up its rate) or idle (nothing queued)")                 \
    FIELD(SHOW_JOBS, "pipe", "queued", "number", "recipients that wait or are being sent")         \
    FIELD(SHOW_JOBS, "pipe", "delivered", "number", "recipients, since the job appeared here")     \
    FIELD(SHOW_JOBS, "pipe", "deferred", "number", "attempts that ended in a temporary failure")   \
    FIELD(SHOW_JOBS, "pipe", "bounced", "number", "recipients bounced or expired")                 \
    FIELD(SHOW_JOBS, "pipe", "deleted", "number", "recipients deleted")                            \
    FIELD(SHOW_JOBS, "pipe", "paused_since_ms", "number",                                          \
          "when an operator paused it; 0: not paused")                                             \
    FIELD(SHOW_JOBS, "pipe", "max_msg_rate", "text", "recipients per time; absent: no limit")      \
    FIELD(SHOW_JOBS, "pipe", "rate_from", "text", "operator, or job-max-msg-rate")                 \
    FIELD(PAUSE_JOB, "pipe", "pipe", "text", "the pipe")                                           \
    FIELD(PAUSE_JOB, "pipe", "job", "text", "the job")                                             \
    FIELD(PAUSE_JOB, "pipe", "state", "text", "paused or active")                                  \
    FIELD(PAUSE_JOB, "pipe", "changed", "number", "0: it was so already")                          \
    FIELD(RESUME_JOB, "pipe", "pipe", "text", "the pipe")                                          \
    FIELD(RESUME_JOB, "pipe", "job", "text", "the job")                                            \
    FIELD(RESUME_JOB, "pipe", "state", "text", "paused or active")                                 \
    FIELD(RESUME_JOB, "pipe", "changed", "number", "0: it was so already")                         \
    FIELD(SET_JOB, "pipe", "pipe", "text", "the pipe")                                             \
    FIELD(SET_JOB, "pipe", "job", "text", "the job")                                               \
    FIELD(SET_JOB, "pipe", "state", "text", "set")                                                 \
    FIELD(SET_JOB, "pipe", "max_msg_rate", "text", "the rate as understood, or default")           \
    FIELD(STATS, "pipe", "pipe", "text", "the pipe")                                               \
    FIELD(STATS, "pipe", "by", "text", "what the rows are of")                                     \
    FIELD(STATS, "pipe", "key", "text", "the domain, virtual MTA ...; (others) for the rest")      \
    FIELD(STATS, "pipe", "others", "flag", "this is the rest: what is not among the busiest")      \
    FIELD(STATS, "pipe", "cut", "number", "of the rest: rows that are in it because of limit")     \
    FIELD(STATS, "pipe", "total", "flag",                                                          \
          "the last object: everything in the pipe; it has no key")\
    FIELD(STATS, "pipe", "from_ms", "number", "what is counted happened since then")               \
    FIELD(STATS, "pipe", "step_ms", "number", "it is rounded to: a minute, an hour, a day")        \
    FIELD(STATS, "pipe", "start_ms", "number", "by time: when the row begins")                     \
    FIELD(STATS, "pipe", "received", "number", "recipients accepted")                              \
    FIELD(STATS, "pipe", "delivered", "number", "recipients delivered")                            \
    FIELD(STATS, "pipe", "deferred", "number", "attempts that ended in a temporary failure")       \
    FIELD(STATS, "pipe", "bounced", "number", "recipients refused for good")                       \
    FIELD(STATS, "pipe", "expired", "number", "recipients whose time to be delivered was over")    \
    FIELD(STATS, "pipe", "deleted", "number", "recipients deleted by an operator")                 \
    FIELD(STATS, "pipe", "queue_failures", "number",                                               \
          "times that a whole queue could not be tried")\
    FIELD(STATS, "pipe", "remote_bounces", "number", "failure reports that came in by mail")       \
    FIELD(STATS, "pipe", "remote_reports", "number",                                               \
          "reports of delay or delivery that came by mail")\
    FIELD(STATS, "pipe", "complaints", "number", "complaints that came in")                        \
    FIELD(STATS, "pipe", "bytes", "number", "bytes of what was delivered, once per recipient")     \
    FIELD(STATS, "pipe", "categories", "list",                                                     \
          "an object: bounce categories of bounced, expired, remote_bounces")\
    FIELD(STATS, "pipe", "p50_ms", "number",                                                       \
          "time from acceptance to delivery that half stayed below")\
    FIELD(STATS, "pipe", "p99_ms", "number", "the same of 99 in 100")                              \
    FIELD(STATS, "pipe", "delays", "list",                                                         \
          "of deliveries: pairs of a time in ms and how many took so long or less")\
    FIELD(SHOW_EVENTS, "ship", "sink", "text", "name of the section")                              \
    FIELD(SHOW_EVENTS, "ship", "url", "text", "where events go, without what may be secret")       \
    FIELD(SHOW_EVENTS, "ship", "state", "text",                                                    \
          "ok, failing, or waiting (for the first accounting file)")                               \
    FIELD(SHOW_EVENTS, "ship", "why", "text", "what is wrong; absent: nothing")                    \
    FIELD(SHOW_EVENTS, "ship", "failing_since_ms", "number", "absent: it is not")                  \
    FIELD(SHOW_EVENTS, "ship", "records_behind", "number",                                         \
          "not acknowledged yet; what is still in files is estimated")                             \
    FIELD(SHOW_EVENTS, "ship", "bytes_behind", "number", "of accounting files, uncompressed")      \
    FIELD(SHOW_EVENTS, "ship", "oldest_ms", "number",                                              \
          "when the oldest record that is not acknowledged was made; 0: there is none")            \
    FIELD(SHOW_EVENTS, "ship", "sent", "number", "records acknowledged since the process started") \
    FIELD(SHOW_EVENTS, "ship", "rate", "real", "records a second, over the last ten seconds")      \
    FIELD(SHOW_EVENTS, "ship", "retried", "number", "records that had to be sent again")           \
    FIELD(SHOW_EVENTS, "ship", "dead_letters", "number",                                           \
          "records set aside since the process started")                                           \
    FIELD(SHOW_EVENTS, "ship", "dead_letter_bytes", "number", "size of the file of dead letters")  \
    FIELD(SHOW_EVENTS, "ship", "broken", "number",                                                 \
          "lines of accounting files that are no records")                                         \
    FIELD(SHOW_EVENTS, "ship", "gaps", "number",                                                   \
          "accounting files that were gone before they were read")                                 \
    FIELD(SHOW_EVENTS, "ship", "pipes", "list",                                                    \
          "per pipe: state, why, file, offset (acknowledged so far), next_ms, and the counts above")\
    FIELD(CHECK_SENDER, "pipe", "pipe", "text", "the pipe whose configuration was looked at")      \
    FIELD(CHECK_SENDER, "pipe", "domain", "text", "the one asked for")                             \
    FIELD(CHECK_SENDER, "pipe", "topic", "text",                                                   \
          "spf, helo, reverse-dns, dkim, dmarc, bimi, bounces, mta-sts, dane; one object for "     \
          "each finding")                                                                          \
    FIELD(CHECK_SENDER, "pipe", "level", "text", "ok, note (no judgement), warn or fail")          \
    FIELD(CHECK_SENDER, "pipe", "subject", "text", "address, name or record that it is about")     \
    FIELD(CHECK_SENDER, "pipe", "text", "text", "what was found")                                  \
    FIELD(CHECK_SENDER, "pipe", "advice", "text", "what to do; absent: nothing")                   \
    FIELD(CHECK_SENDER, "pipe", "record_name", "text", "where to publish a record; absent: none")  \
    FIELD(CHECK_SENDER, "pipe", "record_type", "text", "TXT, A, AAAA or PTR")                      \
    FIELD(CHECK_SENDER, "pipe", "record", "text", "its value")                                     \
    FIELD(CHECK_SPF, "pipe", "pipe", "text", "the pipe that asked")                                \
    FIELD(CHECK_SPF, "pipe", "result", "text", "as in Received-SPF: pass, fail, none, ...")        \
    FIELD(CHECK_SPF, "pipe", "reason", "text", "the same in words")                                \
    FIELD(CHECK_SPF, "pipe", "term", "text", "that matched; absent: none did")                     \
    FIELD(CHECK_SPF, "pipe", "term_domain", "text", "whose record has it")                         \
    FIELD(CHECK_SPF, "pipe", "lookups", "number", "terms that asked the DNS, of 10 at most")       \
    FIELD(CHECK_SPF, "pipe", "explanation", "text", "of a fail, by exp=")                          \
    FIELD(CHECK_SPF, "pipe", "records", "list", "that were read: depth, by, domain, record")       \
    FIELD(DEBUG_QUEUE, "pipe", "pipe", "text", "the pipe's name")                                  \
    FIELD(DEBUG_QUEUE, "pipe", "queue", "text", "the pattern")                                     \
    FIELD(DEBUG_QUEUE, "pipe", "state", "text", "debugged or not debugged")                        \
    FIELD(DEBUG_QUEUE, "pipe", "changed", "flag", "it was otherwise before")                       \
    FIELD(TRACE, "pipe", "queue", "text", "that is tried, or the pattern while it waits")          \
    FIELD(TRACE, "pipe", "time_ms", "number", "when")                                              \
    FIELD(TRACE, "pipe", "at_ms", "number", "since the attempt began; absent while it waits")      \
    FIELD(TRACE, "pipe", "kind", "text", "sent, received, event; end, in the last object")         \
    FIELD(TRACE, "pipe", "text", "text", "one line of the dialogue, or what happens")              \
    FIELD(TRACE, "pipe", "attempts", "number", "in the last object: that were seen")               \
    FIELD(TRACE, "pipe", "left_out", "number", "in the last object: lines beyond the bound")       \
    FIELD(TRACE_INBOUND, "receiver", "session", "text", "id of the session in the log; absent while it waits") \
    FIELD(TRACE_INBOUND, "receiver", "client", "text", "address of the client")                    \
    FIELD(TRACE_INBOUND, "receiver", "listener", "text", "name of the listener")                   \
    FIELD(TRACE_INBOUND, "receiver", "time_ms", "number", "when")                                  \
    FIELD(TRACE_INBOUND, "receiver", "at_ms", "number", "since the session was accepted")          \
    FIELD(TRACE_INBOUND, "receiver", "kind", "text", "sent (by us), received, event; end, in the last object") \
    FIELD(TRACE_INBOUND, "receiver", "text", "text", "one line of the dialogue, or what happens")  \
    FIELD(TRACE_INBOUND, "receiver", "over", "flag", "in the last event of a session")             \
    FIELD(TRACE_INBOUND, "receiver", "sessions", "number", "in the last object: that were seen")   \
    FIELD(TRACE_INBOUND, "receiver", "left_out", "number", "in the last object: lines beyond the bound") \
    FIELD(RELOAD, "root", "generation", "number", "of the configuration that is in use now")

#endif
