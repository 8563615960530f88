/*
 * What event sinks need of accounting files; see acct_hold.h. Written by the thread of pmta-ship
 * that ships, read in the thread pool of a pipe.
 */
#include "mail/acct_hold.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum { DATE_LEN = 10 };

static bool name_of(char *out, size_t size, const char *label, const char *sink, const char *end)
{
    int n = snprintf(out, size, ".%s.keep-%s%s", label, sink, end);
    return n > 0 && (size_t)n < size;
}

int acct_hold_write(int dirfd, const char *label, const char *sink, const char *stem, struct err *e)
{
    char name[ACCT_HOLD_NAME], temporary[ACCT_HOLD_NAME];
    size_t len = strlen(stem);

    if (!name_of(name, sizeof(name), label, sink, "") ||
        !name_of(temporary, sizeof(temporary), label, sink, ".tmp"))
        return err_set(e, -ENAMETOOLONG, "cannot say which accounting files are needed");
    int fd = openat(dirfd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0640);
    int rc = fd < 0 ? -errno : 0;
    if (rc == 0 && (write(fd, stem, len) != (ssize_t)len || write(fd, "\n", 1) != 1))
        rc = -EIO;
    if (fd >= 0)
        close(fd);
    if (rc == 0 && renameat(dirfd, temporary, dirfd, name) < 0)
        rc = -errno;
    return rc < 0 ? err_set(e, rc, "cannot write '%s'", name) : 0;
}

int acct_hold_read(int dirfd, const char *label, const char *sink, char *ret)
{
    char name[ACCT_HOLD_NAME];

    if (!name_of(name, sizeof(name), label, sink, ""))
        return ERR_NOT_FOUND;
    int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return ERR_NOT_FOUND;
    ssize_t n = read(fd, ret, ACCT_HOLD_NAME - 1);
    close(fd);
    ret[MAX_OF(n, (ssize_t)0)] = '\0';
    char *end = strchr(ret, '\n');
    if (!end) /* torn by the end of the power */
        return ERR_NOT_FOUND;
    *end = '\0';
    return 0;
}

bool acct_hold_is_before(const char *label, const char *name, const char *stem)
{
    size_t n = strlen(label) + 1;

    if (strlen(name) < n + DATE_LEN + 2 || strlen(stem) < n + DATE_LEN + 2)
        return false;
    int d = strncmp(name + n, stem + n, DATE_LEN);
    if (d != 0)
        return d < 0;
    return strtoul(name + n + DATE_LEN + 1, NULL, 10) < strtoul(stem + n + DATE_LEN + 1, NULL, 10);
}
