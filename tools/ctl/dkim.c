/*
 * Finds and runs pmta-key; see dkim.h. Called by main.c before the command line is parsed, because
 * its options are not ours.
 */
#include "dkim.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { EXIT_NOT_RUN = 1 };

/* Beside our own file, then where it is installed. */
int dkim_exec(char **argv)
{
    char self[PATH_MAX], path[PATH_MAX + 64];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

    self[n > 0 ? n : 0] = '\0';
    const char *slash = strrchr(self, '/');
    int dir = slash ? (int)(slash - self) : 0;
    snprintf(path, sizeof(path), "%.*s/pmta-key", dir, self);
    execv(path, argv);
    snprintf(path, sizeof(path), "%.*s/../libexec/pmta/pmta-key", dir, self);
    execv(path, argv);
    execv(PMTA_LIBEXEC "/pmta-key", argv);
    fprintf(stderr, "pmtactl: cannot run pmta-key: %s\n", strerror(errno));
    return EXIT_NOT_RUN;
}

int dkim_run(const struct parsed *p)
{
    char *argv[] = {(char[]){"pmta-key"}, (char[]){"--help"}, NULL};
    (void)p;
    return dkim_exec(argv);
}
