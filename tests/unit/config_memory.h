/*
 * Configuration files in memory, for the tests of the loader.
 */
#ifndef PMTA_TESTS_CONFIG_MEMORY_H
#define PMTA_TESTS_CONFIG_MEMORY_H

#include "unit.h"

#include "mail/config_load.h"

#include <errno.h>
#include <fnmatch.h>

/* path, text, path, text, …, NULL; those in d/ that end in .conf are the directory */
struct memory {
    const char *const *files;
};

static int list(void *arg, const char *dir, void (*found)(void *to, const char *path), void *to)
{
    const struct memory *m = arg;
    (void)dir;
    for (size_t i = 0; m->files[i]; i += 2)
        if (fnmatch("d/*.conf", m->files[i], FNM_PATHNAME) == 0)
            found(to, m->files[i]);
    return 0;
}

static int match(void *arg, const char *pattern, void (*found)(void *to, const char *path),
                 void *to)
{
    const struct memory *m = arg;
    for (size_t i = 0; m->files[i]; i += 2)
        if (fnmatch(pattern, m->files[i], FNM_PATHNAME) == 0)
            found(to, m->files[i]);
    return 0;
}

static int identify(void *arg, const char *path, struct config_file_id *ret)
{
    const struct memory *m = arg;
    for (size_t i = 0; m->files[i]; i += 2)
        if (strcmp(m->files[i], path) == 0) {
            *ret = (struct config_file_id){1, i};
            return 0;
        }
    return -ENOENT;
}

static int read_text(void *arg, const char *path, size_t max, struct buf *text)
{
    const struct memory *m = arg;
    struct config_file_id id;
    if (identify(arg, path, &id) < 0)
        return -ENOENT;
    buf_append_str(text, m->files[id.number + 1]);
    return buf_len(text) > max ? -EFBIG : 0;
}

static int load_files(const char *const *files, struct config **ret, struct config_report *r)
{
    struct memory m = {files};
    const struct config_files provider = {&m, list, match, read_text, identify, NULL, NULL};
    return config_load_files(&provider, "d", 1, NULL, 0, ret, r);
}

#define BASE "[pipe bulk]\n[listener 127.0.0.1:2525]\n"

/* BASE is d/0.conf, so that lines of text count from one. */
static int load(const char *text, struct config **ret, struct config_report *r)
{
    const char *const files[] = {"d/0.conf", BASE, "d/a.conf", text, NULL};
    return load_files(files, ret, r);
}

static inline void load_good(const char *text, struct config **ret)
{
    struct config_report r = {0};
    *ret = NULL;
    load(text, ret, &r);
    assert_string_equal(buf_data(&r.text), "");
    assert_non_null(*ret);
    buf_free(&r.text);
}

#endif
