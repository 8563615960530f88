/*
 * Bounce categories of one configuration; see classify.h. report.c asks once per attempt that did
 * not deliver, the admin verb `classify` for a reply that somebody types.
 *
 * The happy path is one pass of the prefilter over the text and a few expressions (regex_list.c,
 * which also bounds the time: the text is the peer's). Rules that do not parse were refused when
 * root read the files; should the two ever disagree, the rule is logged and left out. What we say
 * ourselves (no reply: a DNS answer, a refused connection, an expired message) is not put before the
 * shipped rules: there the phase and our own code say it all.
 */
#include "classify/classify.h"

#include "base/log.h"
#include "mail/reply.h"
#include "rules/pattern.h"
#include "rules/regex_list.h"

struct rule {
    struct bounce_rule rule;
    const struct config_value *written;
    char category[BOUNCE_CATEGORY_BYTES + 1];
};

struct rule_set {
    struct rule *rules; /* as numbered in regexes */
    struct regex_list *regexes;
};

struct classify {
    struct config *cfg;
    struct rule_set own, shipped;
};

/* --- rules --- */

static void add_rule(struct rule_set *set, const struct config_value *v)
{
    struct rule *r = &set->rules[regex_list_count(set->regexes)];
    struct err e;

    r->written = v;
    if (bounce_rule_parse(sv_of(v->text), &r->rule, &e) < 0 ||
        regex_list_add(set->regexes, r->rule.regex, v->origin.file, v->origin.line, &e) < 0) {
        log_warn(LOG_CONFIG, "%s:%u: %s, the rule is left out", v->origin.file, v->origin.line,
                 e.text);
        return;
    }
    for (size_t i = 0; i < r->rule.category.len; i++)
        r->category[i] = ascii_lower(r->rule.category.ptr[i]);
    r->category[r->rule.category.len] = '\0';
}

static void fill(struct rule_set *set, const struct config *cfg, const char *name)
{
    const struct config_value *first =
        config_section_get(cfg, KIND_BOUNCE_CATEGORY_PATTERNS, sv_of(name), DIR_BOUNCE_PATTERN);
    size_t room = 0;

    for (const struct config_value *v = first; v && v->text; v = v->next)
        room++;
    set->rules = xcalloc(room + 1, sizeof(*set->rules));
    set->regexes = regex_list_new();
    for (const struct config_value *v = first; v && v->text; v = v->next)
        add_rule(set, v);
}

struct classify *classify_new(struct config *cfg)
{
    struct classify *c = xcalloc(1, sizeof(*c));

    c->cfg = config_ref(cfg);
    fill(&c->own, cfg, "own");
    fill(&c->shipped, cfg, "shipped");
    return c;
}

void classify_free(struct classify *c)
{
    if (!c)
        return;
    regex_list_free(c->own.regexes);
    regex_list_free(c->shipped.regexes);
    free(c->own.rules);
    free(c->shipped.rules);
    config_unref(c->cfg);
    free(c);
}

/* --- what is known without rules --- */

struct code_row {
    uint16_t subject, detail;
    enum bounce_category category;
};

/* RFC 3463 and the IANA registry: codes that mean one thing, whoever says them. */
static const struct code_row sharp_codes[] = {
    {1, 1, BOUNCE_BAD_MAILBOX},
    {1, 2, BOUNCE_BAD_DOMAIN},
    {1, 3, BOUNCE_BAD_MAILBOX},
    {1, 4, BOUNCE_BAD_MAILBOX},
    {1, 5, BOUNCE_OTHER},
    {1, 6, BOUNCE_BAD_MAILBOX},
    {1, 7, BOUNCE_INVALID_SENDER},
    {1, 8, BOUNCE_INVALID_SENDER},
    {1, 9, BOUNCE_CONTENT_RELATED},
    {1, 10, BOUNCE_BAD_DOMAIN},
    {2, 1, BOUNCE_INACTIVE_MAILBOX},
    {2, 2, BOUNCE_QUOTA_ISSUES},
    {2, 3, BOUNCE_CONTENT_RELATED},
    {3, 1, BOUNCE_BAD_CONFIGURATION},
    {3, 2, BOUNCE_BAD_CONNECTION},
    {3, 4, BOUNCE_CONTENT_RELATED},
    {3, 5, BOUNCE_BAD_CONFIGURATION},
    {4, 1, BOUNCE_NO_ANSWER_FROM_HOST},
    {4, 2, BOUNCE_BAD_CONNECTION},
    {4, 3, BOUNCE_ROUTING_ERRORS},
    {4, 4, BOUNCE_ROUTING_ERRORS},
    {4, 5, BOUNCE_POLICY_RELATED},
    {4, 6, BOUNCE_ROUTING_ERRORS},
    {4, 7, BOUNCE_MESSAGE_EXPIRED},
    {5, 1, BOUNCE_PROTOCOL_ERRORS},
    {5, 2, BOUNCE_PROTOCOL_ERRORS},
    {5, 3, BOUNCE_POLICY_RELATED},
    {5, 4, BOUNCE_PROTOCOL_ERRORS},
    {5, 6, BOUNCE_PROTOCOL_ERRORS},
    {6, 1, BOUNCE_CONTENT_RELATED},
    {6, 2, BOUNCE_CONTENT_RELATED},
    {6, 3, BOUNCE_CONTENT_RELATED},
    {6, 6, BOUNCE_CONTENT_RELATED},
    {6, 7, BOUNCE_CONTENT_RELATED},
    {6, 9, BOUNCE_CONTENT_RELATED},
    {7, 3, BOUNCE_POLICY_RELATED},
    {7, 4, BOUNCE_POLICY_RELATED},
    {7, 7, BOUNCE_CONTENT_RELATED},
    {7, 8, BOUNCE_POLICY_RELATED},
    {7, 9, BOUNCE_POLICY_RELATED},
    {7, 10, BOUNCE_POLICY_RELATED},
    {7, 13, BOUNCE_INACTIVE_MAILBOX},
    {7, 17, BOUNCE_BAD_MAILBOX},
    {7, 20, BOUNCE_POLICY_RELATED},
    {7, 21, BOUNCE_POLICY_RELATED},
    {7, 22, BOUNCE_POLICY_RELATED},
    {7, 23, BOUNCE_POLICY_RELATED},
    {7, 24, BOUNCE_POLICY_RELATED},
    {7, 25, BOUNCE_POLICY_RELATED},
    {7, 26, BOUNCE_POLICY_RELATED},
    {7, 27, BOUNCE_INVALID_SENDER},
    {7, 28, BOUNCE_POLICY_RELATED},
    {7, 29, BOUNCE_POLICY_RELATED},
    {7, 30, BOUNCE_POLICY_RELATED},
};

/* Codes that leave the detail open: by subject, or "undefined". */
static const enum bounce_category by_subject[] = {
    [0] = BOUNCE_OTHER,           [1] = BOUNCE_BAD_MAILBOX,    [2] = BOUNCE_OTHER,
    [3] = BOUNCE_OTHER,           [4] = BOUNCE_ROUTING_ERRORS, [5] = BOUNCE_PROTOCOL_ERRORS,
    [6] = BOUNCE_CONTENT_RELATED, [7] = BOUNCE_POLICY_RELATED,
};

static bool by_enhanced(const struct enhanced_code *e, enum bounce_category *ret)
{
    if (!e->class_digit || e->subject >= ARRAY_LEN(by_subject))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(sharp_codes); i++)
        if (sharp_codes[i].subject == e->subject && sharp_codes[i].detail == e->detail) {
            *ret = sharp_codes[i].category;
            return true;
        }
    *ret = by_subject[e->subject];
    return *ret != BOUNCE_OTHER;
}

/* RFC 5321 section 4.2.3, for codes with one meaning. */
static bool by_code(uint16_t code, enum bounce_category *ret)
{
    static const struct {
        uint16_t code;
        enum bounce_category category;
    } rows[] = {
        {421, BOUNCE_BAD_CONNECTION},    {422, BOUNCE_QUOTA_ISSUES},
        {431, BOUNCE_BAD_CONFIGURATION}, {432, BOUNCE_POLICY_RELATED},
        {454, BOUNCE_BAD_CONNECTION},    {455, BOUNCE_PROTOCOL_ERRORS},
        {500, BOUNCE_PROTOCOL_ERRORS},   {501, BOUNCE_PROTOCOL_ERRORS},
        {502, BOUNCE_PROTOCOL_ERRORS},   {503, BOUNCE_PROTOCOL_ERRORS},
        {504, BOUNCE_PROTOCOL_ERRORS},   {511, BOUNCE_BAD_MAILBOX},
        {512, BOUNCE_BAD_DOMAIN},        {523, BOUNCE_CONTENT_RELATED},
        {530, BOUNCE_POLICY_RELATED},    {534, BOUNCE_POLICY_RELATED},
        {535, BOUNCE_POLICY_RELATED},    {538, BOUNCE_POLICY_RELATED},
        {551, BOUNCE_BAD_MAILBOX},       {555, BOUNCE_PROTOCOL_ERRORS},
        {556, BOUNCE_BAD_DOMAIN},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (rows[i].code == code) {
            *ret = rows[i].category;
            return true;
        }
    return false;
}

static enum bounce_category own_words(const struct outcome *o)
{
    enum bounce_category c;

    if (o->class_ == OUTCOME_EXPIRED)
        return BOUNCE_MESSAGE_EXPIRED;
    if (o->class_ == OUTCOME_DELETED)
        return BOUNCE_OTHER;
    if (o->phase == PHASE_CONNECT)
        return BOUNCE_NO_ANSWER_FROM_HOST;
    if (by_enhanced(&o->enhanced, &c) && !(o->phase >= PHASE_GREETING && o->enhanced.subject == 4))
        return c;
    if (o->phase == PHASE_DNS)
        return BOUNCE_ROUTING_ERRORS;
    return o->phase >= PHASE_GREETING ? BOUNCE_BAD_CONNECTION : BOUNCE_BAD_CONFIGURATION;
}

static void without_rules(const struct outcome *o, struct classification *ret)
{
    enum bounce_category c = BOUNCE_OTHER;

    ret->caught = true;
    if (!o->code) {
        c = own_words(o);
        ret->by = "what this host found itself";
    } else if (by_enhanced(&o->enhanced, &c)) {
        ret->by = "enhanced status";
    } else if (by_code(o->code, &c)) {
        ret->by = "reply code";
    } else {
        ret->by = "nothing known";
        ret->caught = false;
    }
    ret->category = bounce_category_name(c);
}

/* --- the question --- */

struct question {
    const struct rule_set *set;
    const struct outcome *outcome;
};

static bool applies(const void *arg, size_t i)
{
    const struct question *q = arg;
    return bounce_rule_applies(&q->set->rules[i].rule, q->outcome);
}

static const char *went_by(const struct bounce_rule *r)
{
    static const char *const texts[16] = {
        "every reply",
        "text",
        "phase",
        "phase and text",
        "reply code",
        "reply code and text",
        "reply code and phase",
        "reply code, phase and text",
        "enhanced status",
        "enhanced status and text",
        "enhanced status and phase",
        "enhanced status, phase and text",
        "enhanced status and reply code",
        "enhanced status, reply code and text",
        "enhanced status, reply code and phase",
        "enhanced status, reply code, phase and text",
    };
    return texts[(r->regex.len ? 1 : 0) | (r->phases ? 2 : 0) | (r->code_count ? 4 : 0) |
                 (r->status_count ? 8 : 0)];
}

/* "5.1.1;smtp;550 5.1.1 no such user", cut at what is matched. */
static struct strview matched_text(const struct outcome *o, char *out)
{
    char status[16];
    struct strview head = sv_of(outcome_status(o, status));
    struct strview kind = o->code ? SV(";smtp;") : SV(";x-pmta;");
    size_t n = head.len + kind.len, len = MIN_OF(o->text.len, PATTERN_TEXT_MAX - n);

    memcpy(out, head.ptr, head.len);
    memcpy(out + head.len, kind.ptr, kind.len);
    if (len)
        memcpy(out + n, o->text.ptr, len);
    return sv(out, n + len);
}

static bool ask(const struct rule_set *set, const struct outcome *o, struct strview text,
                struct classification *ret)
{
    if (!regex_list_count(set->regexes))
        return false;
    ptrdiff_t i =
        regex_list_first(set->regexes, text, o->peer_host, applies, &(struct question){set, o});
    if (i < 0)
        return false;
    const struct rule *r = &set->rules[i];
    *ret = (struct classification){
        .category = r->category,
        .by = went_by(&r->rule),
        .rule = r->written->text,
        .file = r->written->origin.file,
        .line = r->written->origin.line,
        .caught = true,
    };
    return true;
}

void classify_outcome(const struct classify *c, const struct outcome *o, struct classification *ret)
{
    char buffer[PATTERN_TEXT_MAX];
    struct strview text = matched_text(o, buffer);

    *ret = (struct classification){0};
    if (ask(&c->own, o, text, ret))
        ret->own = true;
    else if (!o->code || !ask(&c->shipped, o, text, ret))
        without_rules(o, ret);
}

int classify_parse_reply(struct strview reply, enum outcome_phase phase, struct buf *text,
                         struct outcome *ret, struct err *e)
{
    uint64_t code = 0;

    reply = sv_trim(reply);
    if (reply.len < 3 || !sv_to_u64(sv(reply.ptr, 3), &code) || code < 400 || code > 599 ||
        (reply.len > 3 && reply.ptr[3] != ' ' && reply.ptr[3] != '-'))
        return err_set(e, ERR_SYNTAX,
                       "'%.*s' is not a reply (expected a code from 400 to 599 and the text)",
                       (int)MIN_OF(reply.len, (size_t)60), reply.ptr ? reply.ptr : "");
    buf_reset(text);
    for (size_t i = 0; i < reply.len; i++)
        buf_append_char(text, i == 3 || (unsigned char)reply.ptr[i] < 0x20 ? ' ' : reply.ptr[i]);
    *ret = (struct outcome){
        .class_ = code < 500 ? OUTCOME_DEFERRED : OUTCOME_BOUNCED,
        .phase = phase,
        .code = (uint16_t)code,
        .text = buf_view(text),
        .connect_ms = -1,
        .transmit_ms = -1,
    };
    if (reply.len > 4)
        reply_enhanced(sv(ret->text.ptr + 4, ret->text.len - 4), ret->code, &ret->enhanced);
    return 0;
}

void classify_stats(const struct classify *c, struct classify_stats *ret)
{
    *ret = (struct classify_stats){
        .own = (unsigned)regex_list_count(c->own.regexes),
        .shipped = (unsigned)regex_list_count(c->shipped.regexes),
        .unfiltered =
            regex_list_unfiltered(c->own.regexes) + regex_list_unfiltered(c->shipped.regexes),
    };
}
