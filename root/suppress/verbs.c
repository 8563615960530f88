/*
 * What operators ask of the suppression list. Called by child_main through child_ops.admin. Changes
 * are answered when they are durable, looks when the thread pool has read what the log says. Big
 * lists come and go in pieces, one admin line each: pmtactl keeps the place.
 */
#include "process.h"

#include "base/clock.h"
#include "base/log.h"
#include "line.h"
#include "net/admin.h"

#include <stdio.h>

enum {
    EXPORT_BYTES = 384 * 1024, /* of log for one piece */
    COMPLAINTS_MAX = 20,       /* lines of a piece that are named as wrong */
};

/* One request that waits for disk or thread pool. */
struct task {
    struct store_request request;
    struct process *process;
    struct admin admin; /* without args */
    json_t *invalid;    /* import: objects; or NULL */
    uint64_t invalid_count, lines;
    struct buf text; /* export */
    uint64_t found;
};

static struct task *task_new(struct process *p, const struct admin *a)
{
    struct task *t = xcalloc(1, sizeof(*t));

    t->process = p;
    t->admin = *a;
    t->admin.args = NULL;
    return t;
}

static void task_free(struct task *t)
{
    json_decref(t->invalid);
    buf_free(&t->text);
    free(t);
}

/* False: answered already. */
static bool is_open(struct process *p, const struct admin *a)
{
    if (p->loaded && !p->closing)
        return true;
    admin_error(a, p->closing ? "the suppression list is being closed"
                              : "the suppression list is still being read");
    return false;
}

/* --- changes --- */

static void on_changed(struct store_request *r, int status)
{
    struct task *t = container_of(r, struct task, request);

    if (status < 0) {
        admin_error(&t->admin, "the suppression list cannot be written: %s", err_name(status));
        task_free(t);
        return;
    }
    json_t *o = json_pack("{s:I, s:I, s:I, s:I}", "added", (json_int_t)r->added, "changed",
                          (json_int_t)r->changed, "removed", (json_int_t)r->removed, "same",
                          (json_int_t)r->same);
    if (t->invalid) {
        json_object_set_new(o, "lines", json_integer((json_int_t)t->lines));
        json_object_set_new(o, "invalid", json_integer((json_int_t)t->invalid_count));
        json_object_set(o, "complaints", t->invalid);
    }
    admin_send(&t->admin, o);
    admin_end(&t->admin);
    task_free(t);
}

/* What add and import say of all their entries. Views into args. */
static int take_defaults(const struct admin *a, struct suppress_entry *ret, struct err *e)
{
    struct strview scope = admin_text(a, "scope"), reason = admin_text(a, "reason");
    int code = 0;

    *ret = (struct suppress_entry){.reason = SUPPRESS_BY_MANUAL, .note = admin_text(a, "note")};
    if (scope.len)
        code = line_scope(scope, &ret->scope, &ret->scope_name, e);
    if (code == 0 && reason.len &&
        (ret->reason = suppress_reason_find(reason)) == SUPPRESS_REASON_COUNT)
        code = err_set(e, ERR_SYNTAX,
                       "no reason '%s' (expected manual, bounce, complaint or unsubscribe)",
                       log_safe(reason.ptr, reason.len, 40));
    if (code == 0)
        code = line_expires(admin_text(a, "expires"), clock_wall_ms(), &ret->expires_ms, e);
    if (code == 0 && ret->expires_ms && ret->expires_ms <= clock_wall_ms())
        code = err_set(e, ERR_SYNTAX, "the time when it expires is over");
    return code;
}

static void change_one(struct process *p, struct admin *a, bool remove)
{
    struct suppress_entry entry;
    struct err e = {0};
    int code = take_defaults(a, &entry, &e);

    if (!is_open(p, a))
        return;
    if (code < 0) {
        admin_error(a, "%s", e.text);
        return;
    }
    struct task *t = task_new(p, a);
    t->request.done = on_changed;
    entry.address = admin_text(a, "address");
    store_begin(p->store, &t->request);
    code = remove ? store_del(&t->request, entry.scope, entry.scope_name, entry.address, &e)
                  : store_add(&t->request, &entry, STORE_REPLACE, &e);
    if (code < 0) {
        admin_error(a, "%s", e.text);
        task_free(t);
        return;
    }
    store_end(&t->request);
}

static void add(void *owner, struct admin *a)
{
    change_one(owner, a, false);
}

static void del(void *owner, struct admin *a)
{
    change_one(owner, a, true);
}

/* --- import --- */

static void complain(struct task *t, uint64_t number, const struct err *e)
{
    t->invalid_count++;
    if (json_array_size(t->invalid) >= COMPLAINTS_MAX)
        return;
    json_array_append_new(t->invalid, json_pack("{s:I, s:o}", "line", (json_int_t)number, "error",
                                                admin_json_text(sv_of(e->text))));
}

/* 0, or negative: the whole list has to stop. */
static int import_line(struct task *t, struct strview line, const struct line_form *form,
                       const struct suppress_entry *defaults, bool remove)
{
    struct suppress_entry entry = *defaults;
    char scratch[LINE_MAX_BYTES];
    struct err e = {0};
    int code = line_parse(line, form, clock_wall_ms(), scratch, &entry, &e);

    t->lines++;
    if (code > 0)
        return 0;
    if (code == 0 && remove)
        code = store_del(&t->request, entry.scope, entry.scope_name, entry.address, &e);
    else if (code == 0)
        code = store_add(&t->request, &entry, STORE_REPLACE, &e);
    if (code < 0)
        complain(t, t->lines, &e);
    return code == ERR_SYNTAX ? 0 : code;
}

static void import(void *owner, struct admin *a)
{
    struct process *p = owner;
    struct strview rest = admin_text(a, "lines"), columns = admin_text(a, "columns"), line;
    struct suppress_entry defaults;
    struct line_form form;
    struct err e = {0};
    int code = take_defaults(a, &defaults, &e);

    line_form_default(&form);
    if (code == 0 && columns.len)
        code = line_form_parse(columns, &form, &e);
    if (!is_open(p, a))
        return;
    if (code < 0) {
        admin_error(a, "%s", e.text);
        return;
    }
    struct task *t = task_new(p, a);
    t->request.done = on_changed;
    t->invalid = json_array();
    store_begin(p->store, &t->request);
    while (code == 0 && rest.len && sv_split(&rest, '\n', &line))
        code = import_line(t, line, &form, &defaults, admin_flag(a, "remove"));
    store_end(&t->request);
}

/* --- find --- */

static json_t *entry_object(const struct store_entry *e)
{
    json_t *o =
        json_pack("{s:o, s:s, s:o, s:s, s:I, s:I, s:b, s:b, s:o}", "address",
                  admin_json_text(e->address), "scope", suppress_scope_name(e->scope), "name",
                  admin_json_text(e->name), "reason", suppress_reason_name(e->reason), "added_ms",
                  (json_int_t)e->made_s * 1000, "expires_ms", (json_int_t)e->expires_s * 1000,
                  "domain", e->is_domain, "hashed", e->hashed, "note", admin_json_text(e->note));
    BUG_ON(!o);
    return o;
}

static void on_entry(void *arg, const struct store_entry *e)
{
    struct task *t = arg;

    t->found++;
    admin_send(&t->admin, entry_object(e));
}

static void on_found(void *arg, int status)
{
    struct task *t = arg;

    if (status < 0)
        admin_error(&t->admin, "an entry is being written at this moment, ask again");
    else
        admin_end(&t->admin);
    task_free(t);
}

static void find(void *owner, struct admin *a)
{
    struct process *p = owner;
    struct strview address = admin_text(a, "address");

    if (!is_open(p, a))
        return;
    struct task *t = task_new(p, a);
    if (store_find(p->store, address, on_entry, on_found, t) == 0)
        return;
    admin_error(a, "'%s' is not an address, and no @domain",
                log_safe(address.ptr, address.len, 100));
    task_free(t);
}

/* --- export --- */

static void put_time(struct buf *out, int64_t seconds)
{
    char iso[CLOCK_ISO_SIZE];

    clock_iso(seconds * 1000, iso);
    iso[19] = 'Z'; /* without the milliseconds */
    iso[20] = '\0';
    buf_append_str(out, iso);
}

static void put_scope(struct buf *out, const struct store_entry *e)
{
    struct buf scope = {0};

    buf_append_str(&scope, suppress_scope_name(e->scope));
    if (e->name.len)
        buf_printf(&scope, ":%.*s", SV_ARG(e->name));
    line_put(out, buf_view(&scope));
    buf_free(&scope);
}

/* In the thread pool. */
static void on_line(void *arg, const struct store_entry *e)
{
    struct task *t = arg;
    struct buf *out = &t->text;

    t->found++;
    line_put(out, e->address);
    buf_append_char(out, ',');
    put_scope(out, e);
    buf_append_char(out, ',');
    buf_append_str(out, suppress_reason_name(e->reason));
    buf_append_char(out, ',');
    if (e->expires_s)
        put_time(out, e->expires_s);
    buf_append_char(out, ',');
    put_time(out, e->made_s);
    buf_append_char(out, ',');
    line_put(out, e->note);
    buf_append_char(out, '\n');
}

static void on_exported(void *arg, int status, struct store_place next)
{
    struct task *t = arg;
    char place[32] = "";

    if (status < 0) {
        admin_error(&t->admin, "the suppression list cannot be read: %s", err_name(status));
    } else {
        if (next.segment)
            snprintf(place, sizeof(place), "%u:%u", next.segment, next.offset);
        admin_send(&t->admin, json_pack("{s:I, s:s, s:o}", "entries", (json_int_t)t->found, "next",
                                        place, "lines", admin_json_text(buf_view(&t->text))));
        admin_end(&t->admin);
    }
    task_free(t);
}

static bool parse_place(struct strview text, struct store_place *ret)
{
    struct strview segment;
    uint64_t s, o;

    *ret = (struct store_place){0, 0};
    if (!text.len)
        return true;
    if (!sv_split(&text, ':', &segment) || !sv_to_u64(segment, &s) || !sv_to_u64(text, &o) ||
        s > UINT32_MAX || o > UINT32_MAX)
        return false;
    *ret = (struct store_place){(uint32_t)s, (uint32_t)o};
    return true;
}

static void export_piece(void *owner, struct admin *a)
{
    struct process *p = owner;
    struct store_place from;

    if (!is_open(p, a))
        return;
    if (!parse_place(admin_text(a, "from"), &from)) {
        admin_error(a, "'from' is not what a piece said as 'next'");
        return;
    }
    store_export(p->store, from, EXPORT_BYTES, on_line, on_exported, task_new(p, a));
}

/* --- numbers --- */

static json_t *counts_object(const struct store_stats *s)
{
    json_t *o = json_object();

    for (unsigned i = 0; i < SUPPRESS_SCOPE_COUNT; i++)
        json_object_set_new(o, suppress_scope_name((enum suppress_scope)i),
                            json_integer((json_int_t)s->counts[i]));
    return o;
}

static void show(void *owner, struct admin *a)
{
    struct process *p = owner;
    struct store_stats s;

    if (!is_open(p, a))
        return;
    store_stats(p->store, &s);
    admin_send(a,
               json_pack("{s:I, s:o, s:I, s:I, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s}",
                         "entries", (json_int_t)table_count(store_table(p->store)), "by_scope",
                         counts_object(&s), "expiring", (json_int_t)s.expiring, "names",
                         (json_int_t)s.scopes, "store", s.hashing ? "hash" : "clear", "table_bytes",
                         (json_int_t)s.table_bytes, "log_bytes", (json_int_t)s.log_bytes,
                         "segments", (json_int_t)s.segments, "records", (json_int_t)s.records,
                         "hashed_records", (json_int_t)s.hashed_records, "damaged_bytes",
                         (json_int_t)s.damaged_bytes, "load_ms", (json_int_t)s.load_ms, "adds",
                         (json_int_t)p->adds, "trouble", s.trouble));
    admin_end(a);
}

static void status(void *owner, struct admin *a)
{
    struct process *p = owner;
    uint64_t entries = p->loaded && !p->closing ? table_count(store_table(p->store)) : 0;

    admin_send(a, json_pack("{s:b, s:I, s:I, s:I}", "loaded", p->loaded, "entries",
                            (json_int_t)entries, "adds", (json_int_t)p->adds, "refused",
                            (json_int_t)p->refused));
    admin_end(a);
}

static const struct admin_handler handlers[] = {
    {VERB_STATUS, status},          {VERB_SUPPRESS_ADD, add},
    {VERB_SUPPRESS_DEL, del},       {VERB_SUPPRESS_FIND, find},
    {VERB_SUPPRESS_IMPORT, import}, {VERB_SUPPRESS_EXPORT, export_piece},
    {VERB_SUPPRESS_SHOW, show},
};

void process_admin(void *owner, const struct child_admin_request *req)
{
    struct process *p = owner;
    admin_dispatch(p->child, "suppress", req, handlers, ARRAY_LEN(handlers), p);
}
