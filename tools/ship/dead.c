/*
 * The file of dead letters; see dead.h. ship.c writes before it acknowledges a batch, so that no
 * record is in neither place.
 */
#include "dead.h"

#include "base/buf.h"
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_torn(int fd, off_t size)
{
    char last = '\n';
    return size > 0 && pread(fd, &last, 1, size - 1) == 1 && last != '\n';
}

int dead_write(int dirfd, struct strview lines, uint64_t max_bytes, struct err *e)
{
    struct stat st;
    int fd = openat(dirfd, DEAD_FILE, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);

    if (fd < 0)
        return err_set(e, -errno, "cannot open the file of dead letters");
    int rc = fstat(fd, &st) < 0 ? -errno : 0;
    if (rc == 0 && (uint64_t)st.st_size + lines.len > max_bytes) {
        close(fd);
        return err_set(e, ERR_LIMIT, "the file of dead letters is full (max-dead-letters)");
    }
    if (rc == 0 && is_torn(fd, st.st_size))
        rc = file_write_all(fd, SV("\n"));
    if (rc == 0)
        rc = file_write_all(fd, lines);
    if (rc == 0 && (fdatasync(fd) < 0 || (st.st_size == 0 && fsync(dirfd) < 0)))
        rc = -errno;
    close(fd);
    return rc < 0 ? err_set(e, rc, "cannot write the file of dead letters") : 0;
}
