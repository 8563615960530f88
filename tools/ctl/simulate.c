/*
 * pmtactl simulate; see simulate.h. The options go to pmta-simulate unread, because some may be
 * repeated; --help stays here, so that the help of all commands looks the same.
 */
#include "simulate.h"

#include "base/util.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

static const char program[] = "pmta-simulate";

bool simulate_wanted(int argc, char **argv)
{
    if (argc < 2 || strcmp(argv[1], "simulate") != 0)
        return false;
    for (int i = 2; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return false;
    return true;
}

int simulate_exec(int argc, char **argv)
{
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - sizeof(program));
    char *slash = n > 0 ? memrchr(path, '/', (size_t)n) : NULL;

    (void)argc;
    argv[1] = (char *)(uintptr_t)program;
    if (slash) {
        memcpy(slash + 1, program, sizeof(program));
        execv(path, argv + 1);
    }
    if (!slash || errno == ENOENT)
        execvp(program, argv + 1);
    fprintf(stderr, "pmtactl: cannot start %s: %s\n", program, strerror(errno));
    return 2;
}

int simulate_run(const struct parsed *p)
{
    (void)p;
    fputs("pmtactl: the options of simulate stand behind the word\n", stderr);
    return 2;
}
