/*
 * What was done (pause, resume, schedule, delete, reload, ...), what a setting is, and what an
 * answer means for the exit status.
 */
#include "render.h"

#include <stdio.h>

static const char *name_of(const json_t *o)
{
    const char *name = field_text(o, "pipe");
    if (!name)
        name = field_text(o, "process");
    return name ? name : "?";
}

/* "pipe bulk: paused", "pipe bulk: 3 queues of example.com/<any> paused" */
static void act_line(struct page *p, const json_t *o)
{
    const char *state = field_text(o, "state"), *queue = field_text(o, "queue");
    const char *job = field_text(o, "job"), *rate = field_text(o, "max_msg_rate");
    char text[HUMAN_SIZE];
    int64_t changed = -1;

    if (!state)
        return;
    field_number(o, "changed", &changed);
    page_printf(p, "%s", field_text(o, "pipe") ? "pipe " : "");
    page_clean(&p->out, name_of(o));
    page_printf(p, ": ");
    if (queue) {
        page_text(p, COLOUR_STRONG, state);
        page_printf(p, " ");
        page_clean(&p->out, queue);
        if (changed >= 0)
            page_printf(p, " (%s %s)", human_count(changed, text),
                        changed == 1 ? "queue changed" : "queues changed");
    } else if (job) {
        page_printf(p, "job ");
        page_clean(&p->out, job);
        page_printf(p, " ");
        page_text(p, state_colour(state), state);
        page_printf(p, "%s", changed == 0 ? " (it was already)" : "");
        if (rate)
            page_printf(p, ", rate %s", rate);
    } else {
        page_text(p, state_colour(state), state);
        page_printf(p, "%s", changed == 0 ? " (it was already)" : "");
    }
    buf_append_char(&p->out, '\n');
    if (field_text(o, "note")) {
        page_printf(p, "  ");
        page_clean(&p->out, field_text(o, "note"));
        buf_append_char(&p->out, '\n');
    }
}

static const char *done_text(const struct answer *a)
{
    switch (a->parsed->command->verb) {
    case VERB_DEBUG:
        return "debug logging is set";
    case VERB_ROTATE_LOG:
        return "a new log file is begun";
    case VERB_SHUTDOWN:
        return "pmtad drains and stops";
    default:
        return "done";
    }
}

void render_act(const struct answer *a, struct page *page)
{
    size_t i;
    json_t *o;

    json_array_foreach(a->objects, i, o) act_line(page, o);
    if (!buf_len(&page->out) && !json_array_size(a->errors) && a->ok)
        page_printf(page, "%s\n", done_text(a));
}

void render_delete(const struct answer *a, struct page *page)
{
    struct table t;
    bool dry = parsed_has(a->parsed, OPT_DRY_RUN);
    size_t i;
    json_t *o;

    table_init(&t, page);
    table_column(&t, "pipe", COLUMN_LEFT);
    table_column(&t, dry ? "would delete" : "matched", COLUMN_RIGHT);
    if (!dry)
        table_column(&t, "deleted", COLUMN_RIGHT);
    json_array_foreach(a->objects, i, o)
    {
        table_text(&t, o, "pipe");
        table_count(&t, o, "matched");
        if (!dry)
            table_count(&t, o, "deleted");
    }
    table_print(&t);
}

void render_reload(const struct answer *a, struct page *page)
{
    int64_t generation;
    size_t i;
    json_t *o;

    json_array_foreach(a->objects, i, o)
    {
        if (field_number(o, "generation", &generation))
            page_printf(page, "configuration %lld is in use\n", (long long)generation);
    }
}

/* --- config explain --- */

static void append_origin(const struct page *p, struct buf *out, const json_t *o)
{
    const char *section = field_text(o, "section");

    if (!field_place(p, o, out)) {
        buf_append_str(out, "default");
        return;
    }
    if (section && *section)
        buf_printf(out, " [%s]", section);
}

static void explain_row(struct table *t, const json_t *o)
{
    const char *value = field_text(o, "value"), *now = field_text(o, "now");
    struct buf origin = {0}, overrode = {0};
    size_t i;
    json_t *old;

    append_origin(t->page, &origin, o);
    json_array_foreach(json_object_get(o, "overrode"), i, old)
    {
        buf_printf(&overrode, "%s%s, ", i ? "; " : "",
                   field_text(old, "value") ? field_text(old, "value") : "");
        append_origin(t->page, &overrode, old);
    }
    table_cell(t, COLOUR_STRONG, field_text(o, "directive"));
    table_cell(t, COLOUR_NONE, value && *value ? value : NULL);
    table_cell(t, field_text(o, "file") ? COLOUR_NONE : COLOUR_DIM, buf_data(&origin));
    if (now)
        buf_printf(&overrode, "%snow %s", buf_len(&overrode) ? "; " : "", now);
    table_cell(t, COLOUR_DIM, buf_len(&overrode) ? buf_data(&overrode) : NULL);
    buf_free(&origin);
    buf_free(&overrode);
}

void render_explain(const struct answer *a, struct page *page)
{
    struct table t;
    size_t i;
    json_t *o;

    if (!json_array_size(a->objects))
        return;
    if (!parsed_has(a->parsed, OPT_PIPE)) {
        const char *process = field_text(json_array_get(a->objects, 0), "process");
        const char *slash = process ? strchr(process, '/') : NULL;
        page_printf(page, "as pipe ");
        page_clean(&page->out, slash ? slash + 1 : "?");
        page_printf(page, " sees it (--pipe for another)\n\n");
    }
    table_init(&t, page);
    table_column(&t, "directive", COLUMN_LEFT);
    table_column(&t, "value", COLUMN_CUT);
    table_column(&t, "from", COLUMN_LEFT);
    table_column(&t, "overrode, and what it came to", COLUMN_REST);
    json_array_foreach(a->objects, i, o) explain_row(&t, o);
    table_print(&t);
}

/* --- exit status --- */

int answer_check(const struct answer *a, struct err *e)
{
    enum admin_verb v = a->parsed->command->verb;
    size_t i;
    json_t *o;

    if ((v == VERB_WHY || v == VERB_SHOW_MESSAGE) && a->ended && a->ok &&
        !json_array_size(a->objects) && !json_array_size(a->errors)) {
        err_set(e, ERR_NOT_FOUND,
                "no message '%.100s': it was delivered, bounced or never here; look into the "
                "accounting file",
                a->parsed->operands[0]);
        return 1;
    }
    if (v == VERB_CANCEL && a->ended && a->ok && !json_array_size(a->objects) &&
        !json_array_size(a->errors)) {
        err_set(e, ERR_NOT_FOUND, "no action '%.100s', see 'pmtactl show actions'",
                a->parsed->operands[0]);
        return 1;
    }
    if (v == VERB_CHECK_SENDER)
        return check_sender_verdict(a, e);
    if (v != VERB_LEDGER)
        return 0;
    json_array_foreach(a->objects, i, o)
    {
        if (!json_is_false(json_object_get(o, "balanced")))
            continue;
        err_set(e, ERR_CORRUPT, "the books of pipe '%.100s' do not balance", name_of(o));
        return 1;
    }
    return 0;
}
