/*
 * XARF; see xarf.h. Called by parse.c. The JSON forms are found by their own keys, whatever the part
 * calls itself; jansson reads them (its depth is bounded, so is the size of the text).
 */
#include "inbound/xarf.h"

#include "inbound/address_scan.h"
#include "inbound/mime_text.h"

#include <jansson.h>

static struct strview copied(const char *text, size_t most, struct arena *a)
{
    size_t n = text ? strlen(text) : 0;
    return n ? arena_sv(a, sv(text, MIN_OF(n, most))) : sv("", 0);
}

static struct strview key(const json_t *o, const char *name, size_t most, struct arena *a)
{
    return copied(json_string_value(json_object_get(o, name)), most, a);
}

static struct strview key_lower(const json_t *o, const char *name, struct arena *a)
{
    struct strview v = key(o, name, 40, a);
    char *out = arena_strndup(a, v.ptr, v.len);
    str_lower(out, v.len);
    return sv(out, v.len);
}

static void add_recipient(struct inbound_report *r, struct strview text)
{
    struct strview one = address_first(text);
    if (one.len && r->rcpt_count < INBOUND_RCPTS_MAX)
        r->rcpts[r->rcpt_count++] = (struct inbound_rcpt){.final = one};
}

static void version_4(const json_t *o, struct arena *a, struct inbound_report *ret)
{
    const json_t *reporter = json_object_get(o, "reporter");

    ret->feedback_type = key_lower(o, "type", a);
    ret->source_ip = key(o, "source_identifier", 60, a);
    ret->mail_from = address_first(key(o, "smtp_from", 320, a));
    ret->reporting_mta = key(reporter, "domain", 255, a);
    ret->user_agent = key(reporter, "org", 100, a);
    add_recipient(ret, key(o, "smtp_to", 320, a));
}

static void version_3(const json_t *o, struct arena *a, struct inbound_report *ret)
{
    const json_t *report = json_object_get(o, "Report");
    const json_t *info = json_object_get(o, "ReporterInfo");

    ret->feedback_type = key_lower(report, "ReportType", a);
    ret->source_ip = key(report, "SourceIp", 60, a);
    if (!ret->source_ip.len)
        ret->source_ip = key(report, "Source", 60, a);
    ret->mail_from = address_first(key(report, "SmtpMailFromAddress", 320, a));
    ret->reporting_mta = key(info, "ReporterOrgDomain", 255, a);
    ret->user_agent = key(info, "ReporterOrg", 100, a);
    add_recipient(ret, key(report, "SmtpRcptToAddress", 320, a));
}

static bool looks_like_json(struct strview text)
{
    text = sv_trim(text);
    return text.len > 2 && text.ptr[0] == '{' && text.ptr[text.len - 1] == '}';
}

static bool read_json(struct strview text, struct arena *a, struct inbound_report *ret)
{
    json_t *o = json_loadb(text.ptr, text.len, JSON_REJECT_DUPLICATES, NULL);
    bool found = true;

    if (json_object_get(o, "xarf_version"))
        version_4(o, a, ret);
    else if (json_object_get(o, "ReporterInfo") && json_object_get(o, "Report"))
        version_3(o, a, ret);
    else
        found = false;
    json_decref(o);
    return found;
}

static bool read_fields(struct strview text, struct arena *a, struct inbound_report *ret)
{
    struct strview type = mime_get(text, "Report-Type", a);
    struct strview source = mime_get(text, "Source", a);

    if (!type.len || !source.len || !mime_get(text, "Category", a).len)
        return false;
    char *out = arena_strndup(a, type.ptr, MIN_OF(type.len, (size_t)40));
    str_lower(out, strlen(out));
    ret->feedback_type = sv_of(out);
    ret->source_ip = sv(source.ptr, MIN_OF(source.len, (size_t)60));
    ret->user_agent = mime_get(text, "User-Agent", a);
    ret->user_agent.len = MIN_OF(ret->user_agent.len, (size_t)100);
    return true;
}

bool xarf_read(const struct mime *m, struct arena *a, struct budget *b, struct inbound_report *ret)
{
    bool marked = mime_get(m->parts[0].header, "X-XARF", a).len ||
                  mime_get(m->parts[0].header, "X-ARF", a).len;

    for (size_t i = 0; i < m->count && !budget_over(b); i++) {
        const struct mime_part *p = &m->parts[i];
        if (!sv_starts_nocase(p->type, SV("text/")) && !sv_ends_nocase(p->type, SV("json")) &&
            !sv_eq(p->type, SV("application/octet-stream")))
            continue;
        struct strview text = mime_text(p, a, b);
        bool is_json = looks_like_json(text);
        if (!(is_json && read_json(text, a, ret)) && !(marked && !is_json && read_fields(text, a, ret)))
            continue;
        ret->kind = INBOUND_COMPLAINT;
        ret->format = "xarf";
        if (!ret->feedback_type.len)
            ret->feedback_type = SV("abuse");
        return true;
    }
    return false;
}
