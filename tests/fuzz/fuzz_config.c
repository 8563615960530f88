/*
 * The reader of configuration files on any bytes. The input is one file; every include reads it
 * again under another identity, so that nesting is tried too. What loads must survive the snapshot.
 */
#include "mail/config_load.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    struct strview text;
    unsigned reads;
};

static int list(void *arg, const char *dir, void (*found)(void *to, const char *path), void *to)
{
    (void)arg, (void)dir;
    found(to, "d/a.conf");
    return 0;
}

static int match(void *arg, const char *pattern, void (*found)(void *to, const char *path),
                 void *to)
{
    (void)arg;
    if (strchr(pattern, '*'))
        found(to, "d/wild");
    found(to, pattern);
    return 0;
}

static int read_text(void *arg, const char *path, size_t max, struct buf *text)
{
    struct input *in = arg;
    (void)path;
    if (in->text.len > max || in->reads++ > 20)
        return -1;
    buf_append_sv(text, in->text);
    return 0;
}

static int identify(void *arg, const char *path, struct config_file_id *ret)
{
    (void)arg;
    *ret = (struct config_file_id){1, 0};
    for (; *path; path++)
        ret->number = ret->number * 31 + (unsigned char)*path;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {.text = sv((const char *)data, size)};
    const struct config_files files = {&in, list, match, read_text, identify, NULL};
    struct config *cfg = NULL, *copy = NULL;
    struct config_report report = {0};
    struct buf snapshot = {0};
    struct err e = {0};

    if (config_load_files(&files, "d", 1, NULL, 0, &cfg, &report) == 0) {
        config_snapshot_encode(cfg, &snapshot);
        BUG_ON(config_snapshot_decode(buf_view(&snapshot), &copy, &e) < 0);
        config_unref(copy);
        config_unref(cfg);
    } else {
        BUG_ON(!report.errors || !buf_len(&report.text));
    }
    buf_free(&snapshot);
    buf_free(&report.text);
    return 0;
}
