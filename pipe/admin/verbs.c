/*
 * From an admin line to its handler.
 */
#include "admin/verbs.h"

static const struct admin_handler handlers[] = {
    {VERB_STATUS, show_status},
    {VERB_SHOW_PIPES, show_pipes},
    {VERB_SHOW_QUEUES, show_queues},
    {VERB_SHOW_CONNECTIONS, show_connections},
    {VERB_SHOW_VMTAS, show_vmtas},
    {VERB_SHOW_TLS_REPORT, show_tls_report},
    {VERB_SHOW_MESSAGE, show_message},
    {VERB_WHY, why_message},
    {VERB_LEDGER, show_ledger},
    {VERB_CONFIG_EXPLAIN, explain_config},
    {VERB_RESOLVE, resolve_domain},
    {VERB_PAUSE_PIPE, act_pause_pipe},
    {VERB_RESUME_PIPE, act_resume_pipe},
    {VERB_PAUSE_QUEUE, act_pause_queue},
    {VERB_RESUME_QUEUE, act_resume_queue},
    {VERB_SCHEDULE, act_schedule},
    {VERB_DELETE, act_delete},
    {VERB_SHOW_ACTIONS, show_actions},
    {VERB_CANCEL, act_cancel},
    {VERB_SET_QUEUE, act_set_queue},
    {VERB_DISABLE_SOURCE, act_disable_source},
    {VERB_ENABLE_SOURCE, act_enable_source},
    {VERB_SHOW_LIMITS, show_limits},
    {VERB_SHOW_ADAPTIVE, show_adaptive},
    {VERB_SHOW_WARMUP, show_warmup},
    {VERB_WARMUP_PLAN, plan_warmup},
    {VERB_WARMUP_HOLD, act_warmup_hold},
    {VERB_WARMUP_RESUME, act_warmup_resume},
    {VERB_WARMUP_SET_DAY, act_warmup_set_day},
    {VERB_SHOW_JOBS, show_jobs},
    {VERB_PAUSE_JOB, act_pause_job},
    {VERB_RESUME_JOB, act_resume_job},
    {VERB_SET_JOB, act_set_job},
    {VERB_CLASSIFY, classify_reply},
    {VERB_SHOW_INBOUND, show_inbound},
    {VERB_VERP_DECODE, verp_decode},
    {VERB_SHOW_UNCLASSIFIED, show_unclassified},
    {VERB_STATS, show_stats},
    {VERB_CHECK_SENDER, check_sender},
    {VERB_CHECK_SPF, check_spf_result},
    {VERB_TRACE, act_trace},
    {VERB_DEBUG_QUEUE, act_debug_queue},
};

void pipe_admin(void *owner, const struct child_admin_request *req)
{
    struct pipe *p = owner;
    struct admin a = {p->child, req->token, NULL, p->process};

    if (!p->spool) {
        admin_error(&a, "the pipe is starting and reads its spool, ask again in a moment");
        return;
    }
    admin_dispatch(p->child, p->process, req, handlers, ARRAY_LEN(handlers), p);
}

struct message *admin_find_message(struct pipe *p, struct admin *a, struct arena *arena,
                                   struct envelope *ret_env, int *ret_rcpt)
{
    struct strview text = admin_text(a, "id"), id;
    uint64_t rcpt = 0;
    message_id number;

    *ret_rcpt = -1;
    if (!sv_split(&text, '.', &id) || !message_id_parse(id, &number) ||
        (text.ptr && (!sv_to_u64(text, &rcpt) || rcpt >= ENVELOPE_MAX_RCPTS))) {
        admin_error(a,
                    "'id' is not a message id (13 letters and digits, with .N for one recipient)");
        return NULL;
    }
    if (text.ptr)
        *ret_rcpt = (int)rcpt;
    struct message *m = index_find(engine_index(p->engine), number);
    if (!m || !m->live) {
        admin_end(a);
        return NULL;
    }
    if (spool_read_envelope(p->spool, m->id, &m->place, arena, ret_env) < 0) {
        admin_error(a, "the envelope could not be read from the spool");
        return NULL;
    }
    return m;
}
