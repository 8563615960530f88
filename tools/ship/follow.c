/*
 * What is in the directories of a set of accounting files; see follow.h. stream.c asks when it has
 * read a file to its end, and about once a second.
 */
#include "follow.h"

#include "base/util.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

void follow_set_fini(struct follow_set *s)
{
    if (s->dirfd >= 0)
        close(s->dirfd);
    if (s->move_dirfd >= 0)
        close(s->move_dirfd);
    for (size_t i = 0; i < s->other_count; i++)
        free(s->other_bases[i]);
    free(s->other_bases);
    free(s->base);
    free(s->single);
}

static bool of_other_set(const struct follow_set *s, struct strview name)
{
    struct file_name ignored;

    for (size_t i = 0; i < s->other_count; i++)
        if (strlen(s->other_bases[i]) > strlen(s->base) &&
            file_name_parse(name, sv_of(s->other_bases[i]), &ignored))
            return true;
    return false;
}

static enum file_form form_by_ending(struct strview name)
{
    if (sv_ends_nocase(name, SV(".zst")))
        return FORM_ZSTD;
    return sv_ends_nocase(name, SV(".gz")) ? FORM_GZIP : FORM_PLAIN;
}

/* "acct-bulk.csv" as `single` is of pipe "bulk"; another name is its own pipe. */
static void parse_single(struct strview name, struct file_name *ret)
{
    ptrdiff_t dot = sv_find(name, '.'), dash = sv_find(name, '-');
    size_t end = dot > 0 ? (size_t)dot : name.len,
           begin = dash > 0 && (size_t)dash + 1 < end ? (size_t)dash + 1 : 0;

    *ret = (struct file_name){
        .pipe = sv(name.ptr + begin, end - begin), .stem = name, .form = form_by_ending(name)};
}

static bool parse_name(const struct follow_set *s, struct strview name, struct file_name *ret)
{
    if (s->single) {
        if (!sv_eq(name, sv_of(s->single)))
            return false;
        parse_single(name, ret);
        return true;
    }
    if (s->fixed)
        return file_name_parse_fixed(name, sv_of(s->base), ret);
    return file_name_parse(name, sv_of(s->base), ret) && !of_other_set(s, name);
}

static bool look_at(int dirfd, const char *name, struct found_file *f)
{
    struct stat st;

    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
        return false;
    f->size = (uint64_t)st.st_size;
    f->inode = (uint64_t)st.st_ino;
    snprintf(f->name, sizeof(f->name), "%s", name);
    return true;
}

static DIR *open_copy(int dirfd)
{
    int copy = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = copy < 0 ? NULL : fdopendir(copy);

    if (!dir && copy >= 0)
        close(copy);
    return dir;
}

static int list_dir(const struct follow_set *s, bool moved,
                    void (*fn)(void *arg, struct strview pipe, const struct found_file *f),
                    void *arg)
{
    int dirfd = moved ? s->move_dirfd : s->dirfd;
    DIR *dir = open_copy(dirfd);
    struct dirent *entry;

    if (!dir)
        return -errno;
    while ((entry = readdir(dir))) {
        struct found_file f = {.moved = moved};
        struct file_name n;
        struct strview name = sv_of(entry->d_name);
        if (name.len >= NAME_SIZE || !parse_name(s, name, &n) || !look_at(dirfd, entry->d_name, &f))
            continue;
        snprintf(f.stem, sizeof(f.stem), "%.*s", SV_ARG(n.stem));
        f.key = n.key;
        f.form = n.form;
        fn(arg, n.pipe, &f);
    }
    closedir(dir);
    return 0;
}

int follow_list(const struct follow_set *s,
                void (*fn)(void *arg, struct strview pipe, const struct found_file *f), void *arg)
{
    int rc = list_dir(s, false, fn, arg);

    if (rc == 0 && s->move_dirfd >= 0)
        rc = list_dir(s, true, fn, arg);
    return rc;
}

struct search {
    const struct place *at;
    bool found;
    struct found_file *ret;
};

static void match_stem(void *arg, struct strview pipe, const struct found_file *f)
{
    struct search *x = arg;

    (void)pipe;
    if (strcmp(f->stem, x->at->stem) != 0)
        return;
    if (!x->found || f->form == FORM_PLAIN) /* both are there between compressing and deleting */
        *x->ret = *f;
    x->found = true;
}

/* Any name of the directory: the file was renamed to make room for the next one. */
static int find_inode(const struct follow_set *s, const struct place *at, struct found_file *ret)
{
    DIR *dir = open_copy(s->dirfd);
    struct dirent *entry;
    int rc = ERR_NOT_FOUND;

    if (!dir)
        return -errno;
    while (rc < 0 && (entry = readdir(dir))) {
        struct found_file f = {0};
        if (entry->d_ino != at->inode || strlen(entry->d_name) >= NAME_SIZE ||
            !look_at(s->dirfd, entry->d_name, &f) || f.inode != at->inode)
            continue;
        memcpy(f.stem, at->stem, sizeof(f.stem));
        f.form = form_by_ending(sv_of(entry->d_name));
        *ret = f;
        rc = 0;
    }
    closedir(dir);
    return rc;
}

int follow_find(const struct follow_set *s, const struct place *at, struct found_file *ret)
{
    struct search x = {at, false, ret};

    if ((s->fixed || s->single) && at->inode)
        return find_inode(s, at, ret);
    int rc = follow_list(s, match_stem, &x);
    return rc < 0 ? rc : x.found ? 0 : ERR_NOT_FOUND;
}

int follow_open(const struct follow_set *s, const struct found_file *f, struct source **ret,
                struct err *e)
{
    return source_open(f->moved ? s->move_dirfd : s->dirfd, f->name, f->form, ret, e);
}
