/*
 * `verp decode`: the answer of the pipe that made the address, and of any when none did.
 */
#include "render.h"

static void line_of(struct page *p, const char *name, const char *value)
{
    struct buf b = {0};

    if (!value)
        return;
    page_clean(&b, value);
    page_printf(p, "%-11s %s\n", name, buf_data(&b));
    buf_free(&b);
}

static void field_line(struct page *p, const json_t *o, const char *name, const char *field)
{
    line_of(p, name, field_text(o, field));
}

static const json_t *best_of(const struct answer *a)
{
    size_t i;
    const json_t *o;

    json_array_foreach(a->objects, i, o)
    {
        if (json_is_true(json_object_get(o, "own")))
            return o;
    }
    return json_array_get(a->objects, 0);
}

static const struct verdict {
    const char *name, *text;
    enum colour colour;
} verdicts[] = {
    {"ours", "made here", COLOUR_GOOD},
    {"expired", "made here, too old to count", COLOUR_WARN},
    {"forged", "forged, or of another installation: what comes to it is refused", COLOUR_BAD},
    {"not-ours", "an ordinary address: it has no bounce-address or unsubscribe-address in it",
     COLOUR_WARN},
};

static void verdict_line(struct page *p, const char *name)
{
    for (size_t i = 0; name && i < ARRAY_LEN(verdicts); i++)
        if (strcmp(verdicts[i].name, name) == 0) {
            page_printf(p, "%-11s ", "address");
            page_text(p, verdicts[i].colour, verdicts[i].text);
            page_printf(p, "\n");
        }
}

static void rcpt_line(struct page *p, const json_t *o)
{
    const char *rcpt = field_text(o, "rcpt");
    const json_t *is = json_object_get(o, "is_rcpt");

    line_of(p, "recipient", rcpt ? rcpt : "not in it, only a hash of it; give --rcpt to compare");
    if (is)
        line_of(p, "", json_is_true(is) ? "it was made for the one given" :
                                          "it was not made for the one given");
}

void render_verp_decode(const struct answer *a, struct page *page)
{
    const json_t *o = best_of(a);

    if (!o)
        return;
    verdict_line(page, field_text(o, "verdict"));
    if (!field_text(o, "use"))
        return;
    field_line(page, o, "for", "use");
    rcpt_line(page, o);
    field_line(page, o, "made on", "made");
    line_of(page, "pipe", field_text(o, "pipe") ? field_text(o, "pipe") : "none that is configured");
    if (json_is_true(json_object_get(o, "known"))) {
        field_line(page, o, "virtual MTA", "vmta");
        field_line(page, o, "job", "job");
        field_line(page, o, "sender", "sender");
    } else {
        line_of(page, "", "job, virtual MTA and sender are forgotten");
    }
    field_line(page, o, "scope", "scope");
    field_line(page, o, "", "scope_name");
}
