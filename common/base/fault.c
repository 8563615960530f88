/*
 * Fault points; see fault.h. Compiled for tests only. Called from the loop and from the thread pool.
 */
#include "base/fault.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const names[] = {
#define POINT_NAME(id, name, help) [FAULT_##id] = name,
    FAULT_POINTS(POINT_NAME)
#undef POINT_NAME
};

unsigned long long fault_number(const char *variable)
{
    const char *text = getenv(variable);
    return text ? strtoull(text, NULL, 10) : 0;
}

/* "NAME:COUNT" is about this point: COUNT, else 0. */
static unsigned wanted(enum fault_point p)
{
    const char *text = getenv("PMTA_FAULT");
    size_t n = strlen(names[p]);

    if (!text || strncmp(text, names[p], n) != 0 || (text[n] && text[n] != ':'))
        return 0;
    return text[n] ? (unsigned)atoi(text + n + 1) : 1;
}

void fault_hit(enum fault_point p)
{
    static unsigned passed;
    unsigned count = wanted(p);
    const char *once = getenv("PMTA_FAULT_ONCE");

    if (!count || __atomic_add_fetch(&passed, 1, __ATOMIC_RELAXED) != count)
        return;
    int fd = once ? open(once, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666) : -1;
    if (once && fd < 0)
        return;
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}
