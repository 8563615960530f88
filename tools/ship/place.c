/*
 * Places and their file; see place.h. ship.c loads once, and saves in its own thread.
 */
#include "place.h"

#include "base/buf.h"
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

enum { FILE_MAX = 64 * 1024 * 1024 };

static const char plain_name[] = "position", synced_name[] = "position.synced";
static const char first_word[] = "pmta-ship-1 ";

uint64_t place_mark(const char *bytes, size_t len)
{
    return XXH3_64bits(bytes, len);
}

/* --- trails --- */

bool trail_has(const struct trail *t, struct file_key key)
{
    if (file_key_cmp(key, t->before) <= 0)
        return true;
    for (size_t i = 0; i < t->count; i++)
        if (file_key_cmp(t->files[i], key) == 0)
            return true;
    return false;
}

void trail_add(struct trail *t, struct file_key key)
{
    size_t lowest = 0;

    if (trail_has(t, key))
        return;
    if (t->count < TRAIL_FILES) {
        t->files[t->count++] = key;
        return;
    }
    for (size_t i = 1; i < t->count; i++)
        if (file_key_cmp(t->files[i], t->files[lowest]) < 0)
            lowest = i;
    if (file_key_cmp(key, t->files[lowest]) < 0) {
        t->before = key;
        return;
    }
    t->before = t->files[lowest];
    t->files[lowest] = key;
}

unsigned trail_missing(const struct trail *t, struct file_key key)
{
    uint32_t known = 0, from = t->before.date == key.date ? t->before.number + 1 : 0;
    bool later = t->before.date > key.date;

    for (size_t i = 0; i < t->count; i++) {
        struct file_key k = t->files[i];
        later |= k.date > key.date || (k.date == key.date && k.number > key.number);
        known += k.date == key.date && k.number >= from && k.number < key.number;
    }
    /* a file of a clock that was set back follows nothing */
    return later || key.number <= from + known ? 0 : key.number - from - known;
}

/* --- the file --- */

static json_t *key_json(struct file_key k)
{
    return json_pack("[I, I]", (json_int_t)k.date, (json_int_t)k.number);
}

static json_t *entry_json(const struct place_entry *e)
{
    json_t *done = json_array();
    char mark[24];

    for (size_t i = 0; i < e->trail.count; i++)
        json_array_append_new(done, key_json(e->trail.files[i]));
    snprintf(mark, sizeof(mark), "%016" PRIx64, e->place.mark);
    return json_pack("{s:s, s:s, s:o, s:I, s:s, s:i, s:I, s:o, s:o}", "label", e->label, "file",
                     e->place.stem, "key", key_json(e->place.key), "offset",
                     (json_int_t)e->place.offset, "mark", mark, "mark_len", (int)e->place.mark_len,
                     "inode", (json_int_t)e->place.inode, "before", key_json(e->trail.before),
                     "done", done);
}

static bool key_from(const json_t *o, struct file_key *ret)
{
    json_int_t date = json_integer_value(json_array_get(o, 0)),
               number = json_integer_value(json_array_get(o, 1));

    *ret = (struct file_key){(uint32_t)date, (uint32_t)number};
    return json_is_array(o) && date >= 0 && date <= UINT32_MAX && number >= 0 &&
           number <= UINT32_MAX;
}

static bool entry_from(const json_t *o, struct place_entry *e)
{
    const char *label = json_string_value(json_object_get(o, "label")),
               *stem = json_string_value(json_object_get(o, "file")),
               *mark = json_string_value(json_object_get(o, "mark"));
    json_int_t len = json_integer_value(json_object_get(o, "mark_len"));
    json_t *done = json_object_get(o, "done"), *one;
    size_t i;

    *e = (struct place_entry){0};
    if (!label || !stem || !mark || strlen(label) >= NAME_SIZE || strlen(stem) >= NAME_SIZE ||
        len < 0 || len > PLACE_MARK_MAX || !key_from(json_object_get(o, "key"), &e->place.key) ||
        !key_from(json_object_get(o, "before"), &e->trail.before))
        return false;
    snprintf(e->label, sizeof(e->label), "%s", label);
    snprintf(e->place.stem, sizeof(e->place.stem), "%s", stem);
    e->place.offset = (uint64_t)json_integer_value(json_object_get(o, "offset"));
    e->place.inode = (uint64_t)json_integer_value(json_object_get(o, "inode"));
    e->place.mark = strtoull(mark, NULL, 16);
    e->place.mark_len = (unsigned)len;
    json_array_foreach(done, i, one)
    {
        struct file_key k;
        if (e->trail.count < TRAIL_FILES && key_from(one, &k))
            e->trail.files[e->trail.count++] = k;
    }
    return true;
}

static int read_whole(int dirfd, const char *name, struct buf *out)
{
    int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t n = 1;

    if (fd < 0)
        return -errno;
    while (n > 0 && buf_len(out) < FILE_MAX) {
        n = read(fd, buf_reserve(out, 65536), 65536);
        if (n > 0)
            buf_advance(out, (size_t)n);
        else if (n < 0 && errno == EINTR)
            n = 1;
    }
    int status = n < 0 ? -errno : 0;
    close(fd);
    return status;
}

/* "pmta-ship-1 HASH\n{...}\n"; the hash is of what follows the line. NULL: it is not whole. */
static json_t *parse(struct strview text)
{
    ptrdiff_t line = sv_find(text, '\n');
    size_t word = sizeof(first_word) - 1;

    if (line < (ptrdiff_t)word + 16 || memcmp(text.ptr, first_word, word) != 0)
        return NULL;
    struct strview rest = sv(text.ptr + line + 1, text.len - (size_t)line - 1);
    if (strtoull(text.ptr + word, NULL, 16) != XXH3_64bits(rest.ptr, rest.len))
        return NULL;
    return json_loadb(rest.ptr, rest.len, 0, NULL);
}

/* *ret is NULL when there is none, or none that is whole. */
static int load_one(int dirfd, const char *name, json_t **ret, uint64_t *version, bool *damaged)
{
    struct buf text = {0};
    int rc = read_whole(dirfd, name, &text);

    *ret = rc < 0 ? NULL : parse(buf_view(&text));
    *damaged |= rc == 0 && !*ret;
    *version = (uint64_t)json_integer_value(json_object_get(*ret, "version"));
    buf_free(&text);
    return rc == -ENOENT ? 0 : rc;
}

static void take_entries(const json_t *from, struct place_entry **ret, size_t *ret_count)
{
    json_t *list = json_object_get(from, "pipes"), *one;
    size_t i;

    *ret = xcalloc(json_array_size(list) + 1, sizeof(**ret));
    *ret_count = 0;
    json_array_foreach(list, i, one)
    {
        if (entry_from(one, &(*ret)[*ret_count]))
            ++*ret_count;
    }
}

int place_file_load(struct place_file *f, struct place_entry **ret, size_t *ret_count,
                    struct err *e)
{
    json_t *a = NULL, *b = NULL;
    uint64_t va = 0, vb = 0;
    bool damaged = false;
    if (f->dirfd < 0) {
        *ret = NULL;
        *ret_count = 0;
        return 0;
    }
    int rc = load_one(f->dirfd, plain_name, &a, &va, &damaged);

    if (rc == 0)
        rc = load_one(f->dirfd, synced_name, &b, &vb, &damaged);
    if (rc < 0)
        err_set(e, rc, "cannot read the position");
    else if (damaged && !a && !b) /* to begin again would send everything once more */
        rc = err_set(e, ERR_CORRUPT, "the position is damaged (both '%s' and '%s')", plain_name,
                     synced_name);
    else {
        take_entries(va >= vb ? a : b, ret, ret_count);
        f->version = MAX_OF(va, vb);
    }
    json_decref(a);
    json_decref(b);
    return rc;
}

static int replace(int dirfd, const char *name, struct strview text, bool sync)
{
    char temporary[64];

    snprintf(temporary, sizeof(temporary), "%s.tmp", name);
    int fd = openat(dirfd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (fd < 0)
        return -errno;
    int status = file_write_all(fd, text);
    if (status == 0 && sync && fdatasync(fd) < 0)
        status = -errno;
    close(fd);
    if (status == 0 && renameat(dirfd, temporary, dirfd, name) < 0)
        status = -errno;
    if (status == 0 && sync && fsync(dirfd) < 0)
        status = -errno;
    if (status < 0)
        unlinkat(dirfd, temporary, 0);
    return status;
}

int place_file_save(struct place_file *f, const struct place_entry *entries, size_t count,
                    bool sync, struct err *e)
{
    json_t *list;
    struct buf out = {0};

    if (f->dirfd < 0)
        return 0;
    list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, entry_json(&entries[i]));
    json_t *o = json_pack("{s:I, s:o}", "version", (json_int_t)++f->version, "pipes", list);
    char *text = json_dumps(o, JSON_COMPACT);
    BUG_ON(!text);
    buf_printf(&out, "%s%016llx\n", first_word,
               (unsigned long long)XXH3_64bits(text, strlen(text)));
    buf_append_str(&out, text);
    int rc = replace(f->dirfd, sync ? synced_name : plain_name, buf_view(&out), sync);
    buf_free(&out);
    free(text);
    json_decref(o);
    return rc < 0 ? err_set(e, rc, "cannot save the position") : 0;
}
