/*
 * check sender: a block per topic, each finding with its mark, and below a problem what to do and
 * what to publish. check spf: the result and the records on the way to it.
 */
#include "render.h"

#include <stdio.h>

static const struct {
    const char *topic, *title;
} titles[] = {
    {"spf", "SPF of the return path"},
    {"helo", "SPF of the greeting"},
    {"reverse-dns", "Reverse DNS of the source addresses"},
    {"dkim", "DKIM keys"},
    {"dmarc", "DMARC"},
    {"bimi", "BIMI"},
    {"bounces", "The way back of bounces"},
    {"mta-sts", "MTA-STS for bounces"},
    {"dane", "DANE for bounces"},
};

static bool is_level(const json_t *o, const char *level)
{
    const char *is = field_text(o, "level");
    return is && strcmp(is, level) == 0;
}

/* Several pipes that say the same are one finding. A new array. */
static json_t *distinct(const json_t *objects)
{
    static const char *const fields[] = {"topic", "level", "subject", "text", "record"};
    json_t *seen = json_object(), *list = json_array(), *o;
    size_t i;

    json_array_foreach(objects, i, o)
    {
        struct buf key = {0};
        for (size_t k = 0; k < ARRAY_LEN(fields); k++) {
            const char *text = field_text(o, fields[k]);
            buf_printf(&key, "%s\n", text ? text : "");
        }
        buf_append_char(&key, '\0');
        if (!json_object_get(seen, buf_data(&key)))
            json_array_append(list, o);
        json_object_set_new(seen, buf_data(&key), json_true());
        buf_free(&key);
    }
    json_decref(seen);
    return list;
}

/* --- what to publish --- */

/* A text record as zone files have it: strings of 255 bytes at most. */
static void record_text(struct buf *out, const char *text)
{
    size_t len = strlen(text), at = 0;

    do {
        size_t n = MIN_OF(len - at, (size_t)255);
        buf_append_str(out, at ? " \"" : "\"");
        for (size_t i = at; i < at + n; i++) {
            if (text[i] == '"' || text[i] == '\\')
                buf_append_char(out, '\\');
            buf_append_char(out, text[i]);
        }
        buf_append_char(out, '"');
        at += n;
    } while (at < len);
}

static void record_line(struct page *page, const json_t *o)
{
    const char *name = field_text(o, "record_name"), *type = field_text(o, "record_type"),
               *record = field_text(o, "record");
    struct buf line = {0};

    if (!name || !type || !record)
        return;
    buf_printf(&line, "%s. IN %s ", name, type);
    if (strcmp(type, "TXT") == 0)
        record_text(&line, record);
    else
        buf_append_str(&line, record);
    buf_append_char(&line, '\0');
    page_printf(page, "        publish: ");
    page_clean(&page->out, buf_data(&line));
    buf_append_char(&page->out, '\n');
    buf_free(&line);
}

/* --- findings --- */

static void mark(struct page *page, const json_t *o)
{
    bool fail = is_level(o, "fail"), warn = is_level(o, "warn"), ok = is_level(o, "ok");

    page_printf(page, "  ");
    page_text(page,
              fail   ? COLOUR_BAD
              : warn ? COLOUR_WARN
              : ok   ? COLOUR_GOOD
                     : COLOUR_DIM,
              fail   ? "FAIL  "
              : warn ? "warn  "
              : ok   ? "ok    "
                     : "-     ");
}

static void finding(struct page *page, const json_t *o)
{
    const char *subject = field_text(o, "subject"), *text = field_text(o, "text"),
               *advice = field_text(o, "advice");
    struct buf line = {0};

    mark(page, o);
    page_clean(&page->out, subject ? subject : "?");
    page_printf(page, ": ");
    page_clean(&page->out, text ? text : "");
    buf_append_char(&page->out, '\n');
    if (advice) {
        page_clean(&line, advice);
        buf_append_char(&line, '\0');
        page_paragraph(page, 8, buf_data(&line));
        buf_free(&line);
    }
    record_line(page, o);
}

static void topic_block(struct page *page, const json_t *objects, const char *topic,
                        const char *title)
{
    json_t *o;
    size_t i;
    bool any = false;

    json_array_foreach(objects, i, o)
    {
        const char *t = field_text(o, "topic");
        if (!t || strcmp(t, topic) != 0)
            continue;
        if (!any)
            page_heading(page, title);
        any = true;
        finding(page, o);
    }
}

static size_t count_level(const json_t *objects, const char *level)
{
    size_t n = 0;

    for (size_t i = 0; i < json_array_size(objects); i++)
        n += is_level(json_array_get(objects, i), level);
    return n;
}

void render_check_sender(const struct answer *a, struct page *page)
{
    json_t *all = distinct(a->objects);

    for (size_t i = 0; i < ARRAY_LEN(titles); i++)
        topic_block(page, all, titles[i].topic, titles[i].title);
    if (json_array_size(all))
        page_printf(page, "\n%zu ok, %zu to look at, %zu failed\n", count_level(all, "ok"),
                    count_level(all, "warn"), count_level(all, "fail"));
    json_decref(all);
}

int check_sender_verdict(const struct answer *a, struct err *e)
{
    json_t *all = distinct(a->objects);
    size_t failed = count_level(all, "fail");

    json_decref(all);
    if (!failed)
        return 0;
    err_set(e, ERR_NOT_FOUND, "%zu %s of '%.100s' failed", failed, failed == 1 ? "check" : "checks",
            a->parsed->operands[0]);
    return 1;
}

/* --- check spf --- */

static void line_of(struct page *page, const char *label, const char *text)
{
    if (!text)
        return;
    page_printf(page, "%-12s", label);
    page_clean(&page->out, text);
    buf_append_char(&page->out, '\n');
}

static void records_of(struct page *page, const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *r = json_array_get(list, i);
        const char *by = field_text(r, "by"), *domain = field_text(r, "domain"),
                   *record = field_text(r, "record");
        int64_t depth = 0;
        field_number(r, "depth", &depth);
        page_printf(page, "%-12s%*s", i ? "" : "records", (int)(MIN_OF(depth, 20) * 2), "");
        if (by && strcmp(by, "domain") != 0)
            page_printf(page, "%s ", by);
        page_clean(&page->out, domain ? domain : "?");
        page_printf(page, ": ");
        page_clean(&page->out, record ? record : "");
        buf_append_char(&page->out, '\n');
    }
}

static void spf_object(struct page *page, const json_t *o)
{
    const char *result = field_text(o, "result"), *term = field_text(o, "term"),
               *domain = field_text(o, "term_domain");
    bool good = result && strcmp(result, "pass") == 0;
    bool bad = result && (strcmp(result, "fail") == 0 || strcmp(result, "permerror") == 0);
    int64_t lookups = 0;

    page_printf(page, "%-12s", "result");
    page_text(page, good ? COLOUR_GOOD : bad ? COLOUR_BAD : COLOUR_WARN, result ? result : "?");
    buf_append_char(&page->out, '\n');
    line_of(page, "because", field_text(o, "reason"));
    if (term && domain) {
        page_printf(page, "%-12s", "term");
        page_clean(&page->out, term);
        page_printf(page, " in the record of ");
        page_clean(&page->out, domain);
        buf_append_char(&page->out, '\n');
    }
    if (field_number(o, "lookups", &lookups))
        page_printf(page, "%-12s%lld of 10\n", "look-ups", (long long)lookups);
    line_of(page, "explanation", field_text(o, "explanation"));
    records_of(page, json_object_get(o, "records"));
}

void render_check_spf(const struct answer *a, struct page *page)
{
    for (size_t i = 0; i < json_array_size(a->objects); i++)
        spf_object(page, json_array_get(a->objects, i));
}
