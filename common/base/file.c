/*
 * See file.h. Called wherever a whole text goes into a file; blocks as the disk does, so on a loop
 * only for files in memory.
 */
#include "base/file.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

int file_write_all(int fd, struct strview bytes)
{
    while (bytes.len) {
        ssize_t n = write(fd, bytes.ptr, bytes.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        bytes = sv(bytes.ptr + n, bytes.len - (size_t)n);
    }
    return 0;
}

int file_in_memory(const char *name, struct strview bytes)
{
    int fd = memfd_create(name, MFD_CLOEXEC);

    if (fd < 0)
        return -errno;
    int status = file_write_all(fd, bytes);
    if (status == 0)
        return fd;
    close(fd);
    return status;
}
