/*
 * An answer, and how each command shows it.
 */
#ifndef PMTA_CTL_RENDER_H
#define PMTA_CTL_RENDER_H

#include "command.h"
#include "page.h"

#include <jansson.h>

/* Everything that came, in order. */
struct answer {
    const struct parsed *parsed;
    json_t *objects; /* array of what is no error */
    json_t *errors;  /* array of objects with "error" */
    bool ended;      /* the end line came */
    bool ok;
    char *end_error; /* of the end line, or NULL */
};

/* What the answer means for the exit status besides errors: 0, or 1 with one line in *e (a message
 * that nobody has, books that do not balance). */
int answer_check(const struct answer *a, struct err *e);
/* The same of check sender: 1 when something fails. */
int check_sender_verdict(const struct answer *a, struct err *e);

void render_status(const struct answer *a, struct page *page);
void render_pipes(const struct answer *a, struct page *page);
void render_queues(const struct answer *a, struct page *page);
void render_adaptive(const struct answer *a, struct page *page);
void render_warmup(const struct answer *a, struct page *page);
void render_warmup_plan(const struct answer *a, struct page *page);
void render_limits(const struct answer *a, struct page *page);
void render_jobs(const struct answer *a, struct page *page);
void render_connections(const struct answer *a, struct page *page);
void render_tls_report(const struct answer *a, struct page *page);
void render_vmtas(const struct answer *a, struct page *page);
void render_message(const struct answer *a, struct page *page);
void render_why(const struct answer *a, struct page *page);
void render_ledger(const struct answer *a, struct page *page);
void render_resolve(const struct answer *a, struct page *page);
void render_explain(const struct answer *a, struct page *page);
void render_actions(const struct answer *a, struct page *page);
void render_cancel(const struct answer *a, struct page *page);
void render_act(const struct answer *a, struct page *page);
void render_delete(const struct answer *a, struct page *page);
void render_check_sender(const struct answer *a, struct page *page);
void render_check_spf(const struct answer *a, struct page *page);
void render_classify(const struct answer *a, struct page *page);
void render_verp_decode(const struct answer *a, struct page *page);
void render_events(const struct answer *a, struct page *page);
/* The lines of status about event sinks. */
void render_events_short(const struct answer *a, struct page *page);
void render_unclassified(const struct answer *a, struct page *page);
void render_inbound(const struct answer *a, struct page *page);
void render_stats(const struct answer *a, struct page *page);
void render_suppress_change(const struct answer *a, struct page *page);
void render_suppress_find(const struct answer *a, struct page *page);
void render_suppress_show(const struct answer *a, struct page *page);
void render_reload(const struct answer *a, struct page *page);

#endif
