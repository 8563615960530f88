/*
 * The file system as the loader sees it; see config_load.h. Only ordinary files are read, so that a
 * FIFO or device that an include matches cannot hold up the start.
 */
#include "mail/config_load.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <sys/stat.h>
#include <unistd.h>

static int is_conf(const struct dirent *d)
{
    size_t n = strlen(d->d_name);
    return d->d_name[0] != '.' && n > 5 && strcmp(d->d_name + n - 5, ".conf") == 0;
}

/* alphasort follows the locale. */
static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int list(void *arg, const char *dir, void (*found)(void *to, const char *path), void *to)
{
    struct dirent **names = NULL;
    int n = scandir(dir, &names, is_conf, by_name);

    (void)arg;
    if (n < 0)
        return -errno;
    for (int i = 0; i < n; i++) {
        struct buf path = {0};
        buf_printf(&path, "%s/%s", dir, names[i]->d_name);
        found(to, buf_data(&path));
        buf_free(&path);
        free(names[i]);
    }
    free(names);
    return 0;
}

static int match(void *arg, const char *pattern, void (*found)(void *to, const char *path),
                 void *to)
{
    glob_t paths = {0};
    int r = glob(pattern, GLOB_ERR, NULL, &paths);

    (void)arg;
    for (size_t i = 0; r == 0 && i < paths.gl_pathc; i++)
        found(to, paths.gl_pathv[i]);
    globfree(&paths);
    return r == GLOB_NOSPACE ? -ENOMEM : r == GLOB_ABORTED ? -EACCES : 0;
}

static int read_all(int fd, size_t max, struct buf *text)
{
    size_t total = 0;
    ssize_t n;

    while ((n = read(fd, buf_reserve(text, 65536), 65536)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        buf_advance(text, (size_t)n);
        total += (size_t)n;
        if (total > max)
            return -EFBIG;
    }
    return 0;
}

static int read_file(void *arg, const char *path, size_t max, struct buf *text)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    int r;

    (void)arg;
    if (fd < 0)
        return -errno;
    if (fstat(fd, &st) < 0)
        r = -errno;
    else if (!S_ISREG(st.st_mode))
        r = S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
    else
        r = read_all(fd, max, text);
    close(fd);
    return r;
}

static int identify(void *arg, const char *path, struct config_file_id *ret)
{
    struct stat st;
    (void)arg;
    if (stat(path, &st) < 0)
        return -errno;
    *ret = (struct config_file_id){st.st_dev, st.st_ino};
    return 0;
}

static int check_key(void *arg, const char *path, uid_t owner, struct key_file *ret, struct err *e)
{
    (void)arg;
    return key_file_open(path, owner, ret, NULL, e);
}

static int check_secret(void *arg, const char *path, uid_t owner, struct err *e)
{
    (void)arg;
    return secret_file_open(path, owner, NULL, e);
}

const struct config_files config_files_system = {
    NULL, list, match, read_file, identify, check_key, check_secret,
};
