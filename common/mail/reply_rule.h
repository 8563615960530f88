/*
 * One line of an [smtp-pattern-list]: `/regex/ action,action…`, or with the phases of the dialogue
 * that it looks at: `/regex/ phase=rcpt|end-of-data action,…`. The regular expression is checked
 * and compiled by who has PCRE2 (the configuration loader, and the pipe); here it is a text. A rule
 * has at most REPLY_RULE_MAX bytes; a slash inside the regular expression is written \/, and an
 * empty one (//) matches every reply.
 */
#ifndef PMTA_MAIL_REPLY_RULE_H
#define PMTA_MAIL_REPLY_RULE_H

#include "base/err.h"
#include "mail/outcome.h"

/* ACTION(ID, "as written", "help"); a written form that ends in '=' takes a value */
#define REPLY_ACTIONS(ACTION)                                                                    \
    ACTION(MODE_BACKOFF, "mode=backoff", "the queue enters back-off")                            \
    ACTION(MODE_NORMAL, "mode=normal", "the queue leaves back-off")                              \
    ACTION(BACKOFF_TO_NORMAL_AFTER, "backoff-to-normal-after=", "and leaves it after this time") \
    ACTION(BOUNCE_QUEUE, "bounce-queue", "everything in the queue bounces with this reply")      \
    ACTION(BOUNCE_RCPT, "bounce-rcpt", "the recipient bounces although the reply is temporary")  \
    ACTION(SKIP_MX, "skip-mx", "the host is left alone and the next one tried; nothing bounces") \
    ACTION(DISABLE_SOURCE_IP, "disable-source-ip", "the queue does not use this address")        \
    ACTION(REENABLE_AFTER, "reenable-after=", "and uses it again after this time")               \
    ACTION(DEFER_QUEUE, "defer-queue", "the queue waits: retry-after, or =T this time")          \
    ACTION(RETRY_AFTER, "retry-after=", "the recipient is tried again after this time")          \
    ACTION(RATE, "rate=", "the queue's rates and connections are cut to this percentage")        \
    ACTION(SUSPEND_PIPE, "suspend-pipe=", "the pipe sends nothing for this time")                \
    ACTION(NOTIFY, "notify", "backoff-notify is told")

enum reply_action {
#define ACTION_ENUM(id, text, help) REPLY_##id,
    REPLY_ACTIONS(ACTION_ENUM)
#undef ACTION_ENUM
        REPLY_ACTION_COUNT
};

enum { REPLY_RULE_MAX = 2000 };

struct reply_rule {
    struct strview regex; /* between the slashes, \/ kept */
    uint32_t phases;      /* 1 << PHASE_x; 0: every phase */
    uint32_t actions;     /* 1 << REPLY_x */
    int64_t backoff_to_normal_after_ms;
    int64_t reenable_after_ms;
    int64_t defer_queue_ms; /* 0: the queue's retry-after */
    int64_t retry_after_ms;
    int64_t suspend_pipe_ms;
    uint32_t rate_percent; /* 1 … 100 */
};

/* Views point into text. 0, or ERR_SYNTAX with *e saying what was expected; actions that contradict
 * each other or need another one are refused. */
int reply_rule_parse(struct strview text, struct reply_rule *ret, struct err *e);

/* "rcpt|end-of-data" to 1 << PHASE_x of each, put into *ret. 0, or ERR_SYNTAX. */
int reply_rule_phases(struct strview text, uint32_t *ret, struct err *e);

/* Index of the slash that ends the regular expression at the start of text, 0 when there is none.
 * For the reader of files: what looks like a comment before it is none. */
size_t reply_rule_regex_end(struct strview text);

/* As written; ends in '=' when it needs a value. */
const char *reply_action_text(enum reply_action a);

#endif
