/*
 * Recipients that were on the suppression list when their message came (suppression = record): they
 * never stand in a queue, and end at once as bounced. Called by engine.c for a message that was just
 * accepted, and by finisher.c for one that a crash left between its acknowledgement and that end.
 */
#include "queue/engine_int.h"

#include "suppress/suppress.h"

#include <stdio.h>

struct outcome suppressed_outcome(const struct envelope_rcpt *rcpt, char text[SUPPRESSED_TEXT])
{
    enum suppress_reason reason = (enum suppress_reason)(rcpt->suppressed - 1);
    enum suppress_scope scope = (enum suppress_scope)rcpt->suppressed_scope;

    snprintf(text, SUPPRESSED_TEXT, "recipient is on the suppression list (%s, %s)",
             suppress_scope_name(scope), suppress_reason_name(reason));
    return (struct outcome){
        .class_ = OUTCOME_BOUNCED,
        .phase = PHASE_QUEUE,
        .enhanced = {5, 7, 1},
        .text = sv_of(text),
        .category = SUPPRESSED_CATEGORY,
        .tls = "",
        .connect_ms = -1,
        .transmit_ms = -1,
    };
}

void suppressed_end(struct engine *g, struct message *m, const struct envelope *env)
{
    char text[SUPPRESSED_TEXT];

    message_pin(m);
    for (uint16_t i = 0; i < m->entry_count; i++) {
        struct entry *e = &m->entries[i];
        if (e->state != ENTRY_FINISHING || !env->rcpts[e->rcpt].suppressed)
            continue;
        struct outcome o = suppressed_outcome(&env->rcpts[e->rcpt], text);
        settle_entry(g, e, env, &o, NULL);
    }
    message_unpin(&g->index, m);
}
