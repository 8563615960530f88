/*
 * Templates of delivery notices while the configuration is read: each is checked, and the file that a
 * …-body-template-from names becomes the value of the …-body-template beside it, because the pipes
 * that fill it in open no files of the configuration. Called by config_load.c for each value.
 */
#include "mail/config_internal.h"
#include "mail/config_load.h"
#include "mail/address.h"
#include "mail/dsn_template.h"

static const struct {
    enum directive from, body;
} files[] = {
    {DIR_DSN_FAILED_BODY_TEMPLATE_FROM, DIR_DSN_FAILED_BODY_TEMPLATE},
    {DIR_DSN_DELAYED_BODY_TEMPLATE_FROM, DIR_DSN_DELAYED_BODY_TEMPLATE},
    {DIR_DSN_DELIVERED_BODY_TEMPLATE_FROM, DIR_DSN_DELIVERED_BODY_TEMPLATE},
};

static bool is_template(enum directive d)
{
    switch (d) {
    case DIR_DSN_FAILED_FROM_TEMPLATE:
    case DIR_DSN_FAILED_SUBJECT_TEMPLATE:
    case DIR_DSN_FAILED_BODY_TEMPLATE:
    case DIR_DSN_DELAYED_FROM_TEMPLATE:
    case DIR_DSN_DELAYED_SUBJECT_TEMPLATE:
    case DIR_DSN_DELAYED_BODY_TEMPLATE:
    case DIR_DSN_DELIVERED_FROM_TEMPLATE:
    case DIR_DSN_DELIVERED_SUBJECT_TEMPLATE:
    case DIR_DSN_DELIVERED_BODY_TEMPLATE:
        return true;
    default:
        return false;
    }
}

static int read_body(struct loader *l, const char *file, struct buf *out, struct err *e)
{
    struct buf content = {0};
    int status = l->files->read(l->files->arg, file, DSN_TEMPLATE_MAX, &content);

    if (status < 0)
        err_set(e, status, "'%.300s' cannot be read", file);
    else if (memchr(buf_data(&content), '\0', buf_len(&content)) ||
             !address_utf8_ok(buf_view(&content)))
        status = err_set(e, ERR_SYNTAX, "'%.300s' is not text (expected UTF-8)", file);
    else
        dsn_template_escape(buf_view(&content), out);
    buf_free(&content);
    return status;
}

static void take_file(struct loader *l, enum directive d, enum directive body, const char *file,
                      const char *path, unsigned line)
{
    struct config_origin old = {0};
    struct buf text = {0};
    struct err e = {0};
    int status = read_body(l, file, &text, &e);

    if (status == 0)
        status = dsn_template_check(buf_view(&text), &e);
    if (status == 0)
        status = config_add_value(l->cfg, l->section, body, buf_view(&text), path, line, &old, &e);
    if (status < 0)
        load_error(l, path, line, "%s: %s", directive_info(d)->name, e.text);
    else if (old.file)
        load_warn(l, path, line, "'%s' was set at %s:%u already; this one counts",
                  directive_info(body)->name, old.file, old.line);
    buf_free(&text);
}

void load_template(struct loader *l, enum directive d, struct strview text, const char *path,
                   unsigned line)
{
    struct err e = {0};

    if (is_template(d) && dsn_template_check(text, &e) < 0)
        load_error(l, path, line, "%s: %s", directive_info(d)->name, e.text);
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        if (d != files[i].from || !text.len)
            continue;
        char *file = xstrndup(text.ptr, text.len);
        take_file(l, d, files[i].body, file, path, line);
        free(file);
    }
}
