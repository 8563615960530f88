/*
 * `classify` and `show unclassified`: bounce categories as the accounting of this pipe gives them.
 */
#include "admin/verbs.h"
#include "classify/classify.h"
#include "classify/unclassified.h"

enum { GROUPS_SHOWN = 50, REPLY_MAX = 8192 };

static bool phase_of(struct strview name, enum outcome_phase *ret)
{
    *ret = PHASE_RCPT;
    if (!name.len)
        return true;
    for (unsigned p = PHASE_GREETING; p <= PHASE_END_OF_DATA; p++)
        if (sv_eq_nocase(name, sv_of(outcome_phase_name((enum outcome_phase)p)))) {
            *ret = (enum outcome_phase)p;
            return true;
        }
    return false;
}

static json_t *classified(const struct pipe *p, const struct outcome *o)
{
    struct classification k;
    char status[16];

    classify_outcome(report_classify(p->report), o, &k);
    json_t *x = json_pack("{s:s, s:s, s:s, s:b, s:b, s:s}", "pipe", p->name, "category", k.category,
                          "by", k.by, "own", k.own, "caught", k.caught, "phase",
                          outcome_phase_name(o->phase));
    json_object_set_new(x, "reply", admin_json_text(o->text));
    if (o->enhanced.class_digit)
        json_object_set_new(x, "status", json_string(outcome_status(o, status)));
    if (k.file) {
        json_object_set_new(x, "file", admin_json_text(sv_of(k.file)));
        json_object_set_new(x, "line", json_integer(k.line));
        json_object_set_new(x, "rule", admin_json_text(sv_of(k.rule)));
    }
    return x;
}

void classify_reply(void *owner, struct admin *a)
{
    struct pipe *p = owner;
    struct strview reply = admin_text(a, "reply");
    enum outcome_phase phase;
    struct buf text = {0};
    struct outcome o;
    struct err e;

    if (!phase_of(admin_text(a, "phase"), &phase)) {
        admin_error(a, "'phase' is not understood, expected greeting, helo, starttls, mail, rcpt, "
                       "data or end-of-data");
        return;
    }
    reply.len = MIN_OF(reply.len, (size_t)REPLY_MAX);
    if (classify_parse_reply(reply, phase, &text, &o, &e) < 0) {
        admin_error(a, "%s", e.text);
    } else {
        admin_send(a, classified(p, &o));
        admin_end(a);
    }
    buf_free(&text);
}

void show_unclassified(void *owner, struct admin *a)
{
    struct pipe *p = owner;
    struct unclassified *u = report_unclassified(p->report);
    int64_t limit = admin_number(a, "limit", GROUPS_SHOWN);
    const struct unclassified_group *g;

    for (size_t i = 0; (int64_t)i < limit && (g = unclassified_get(u, i)); i++) {
        json_t *o = json_pack("{s:s, s:I, s:I, s:I, s:s}", "pipe", p->name, "count",
                              (json_int_t)g->count, "first_ms", (json_int_t)g->first_ms, "last_ms",
                              (json_int_t)g->last_ms, "phase", outcome_phase_name(g->phase));
        json_object_set_new(o, "host", admin_json_text(sv_of(g->host)));
        json_object_set_new(o, "text", admin_json_text(sv_of(g->text)));
        json_object_set_new(o, "sample", admin_json_text(sv_of(g->sample)));
        admin_send(a, o);
    }
    admin_end(a);
}
