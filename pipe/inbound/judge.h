/*
 * What becomes of a report: whom it is about (a token of ours says it, in the address that it came to
 * or in the message that came back), which accounting records it makes, and who is not written to any
 * more because of it. Decides only; processor.c does it.
 */
#ifndef PMTA_PIPE_INBOUND_JUDGE_H
#define PMTA_PIPE_INBOUND_JUDGE_H

#include "classify/classify.h"
#include "inbound/parsed.h"
#include "inbound/settings.h"
#include "report/event.h"
#include "spool/spool.h"
#include "verp/verp.h"

struct judge_input {
    const struct inbound_report *report;
    const struct inbound_settings *settings;
    struct verp *verp;
    const struct classify *classify;
    struct strview pipe;         /* ours */
    struct strview address;      /* that the report came to */
    struct strview header_names; /* that accounting wants (report_header_names) */
    message_id id;               /* of the report */
    uint32_t rcpt;               /* which of its recipients address is */
};

struct judged_record {
    struct acct_event event;
    struct acct_remote remote;
};

struct judgement {
    bool matched; /* it is a report, or unsubscribes */
    bool trusted; /* a token that only we can make says whom it is about */
    const char *what; /* kind in a word: "bounce", "unsubscribe" ... */
    struct judged_record records[INBOUND_RCPTS_MAX];
    size_t record_count;
    struct suppress_entry entries[INBOUND_RCPTS_MAX];
    size_t entry_count;
    struct buf text; /* what categories are judged by */
};

/* All views are in the arena or those of the input. Free with judgement_free. */
void judge(const struct judge_input *in, struct arena *a, struct judgement *ret);
void judgement_free(struct judgement *j);

#endif
