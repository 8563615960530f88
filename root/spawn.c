/*
 * Starting a child: fork, drop to the user, exec.
 *
 * Called by: kid.c. Between fork and exec only system calls run; what fails there is written to the
 * log's descriptor and the child exits with SPAWN_FAILED, which kid.c treats as any early death.
 */
#include "monitor.h"

#include "base/log.h"
#include "net/child.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

enum { SPAWN_FAILED = 127 };

int spawn_find(const struct root *r, const char *program, char **ret, struct err *e)
{
    struct buf path = {0};
    for (size_t i = 0; i < ARRAY_LEN(r->program_dirs) && r->program_dirs[i]; i++) {
        buf_reset(&path);
        buf_printf(&path, "%s/%s", r->program_dirs[i], program);
        if (access(buf_data(&path), X_OK) == 0) {
            *ret = buf_take(&path);
            return 0;
        }
    }
    buf_free(&path);
    return err_set(e, ERR_NOT_FOUND, "program '%s' is neither beside pmtad nor in " PMTA_LIBEXEC,
                   program);
}

/* In the child from here on. */
NORETURN static void fail(const char *what)
{
    int n = errno;
    dprintf(2, "pmtad: cannot start a child: %s: %s\n", what, strerror(n));
    _exit(SPAWN_FAILED);
}

/* Ignored signals stay so over exec: a Ctrl-C on the terminal is for root, which drains us. */
static void reset_signals(void)
{
    sigset_t none;
    for (int s = 1; s < NSIG; s++)
        signal(s, SIG_DFL);
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Opened before privileges go: the program may stand below a directory that the user of the
 * children must not enter (a tree in root's home). The number is out of the way of the ones that
 * are arranged. */
static int open_program(const char *path)
{
    int fd = open(path, O_PATH | O_CLOEXEC);
    int high = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 100);
    if (high < 0)
        fail(path);
    return high;
}

/* 0 stays /dev/null or what root has, 1 and 2 are where root's go, 3 is control, and the program
 * until it is executed; nothing else. */
static void arrange_descriptors(int control, int program)
{
    int null = open("/dev/null", O_RDWR);
    if (null < 0 || dup2(null, 0) < 0)
        fail("/dev/null");
    if (control == CHILD_CONTROL_FD) {
        if (fcntl(control, F_SETFD, 0) < 0)
            fail("control");
    } else if (dup2(control, CHILD_CONTROL_FD) < 0) {
        fail("control");
    }
    if (close_range(CHILD_CONTROL_FD + 1, (unsigned)program - 1, 0) < 0 ||
        close_range((unsigned)program + 1, ~0u, 0) < 0)
        fail("close_range");
}

static void drop_privileges(const struct root *r)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        fail("no_new_privs");
    if (!r->drop)
        return;
    if (setgroups(0, NULL) < 0 || setresgid(r->gid, r->gid, r->gid) < 0 ||
        setresuid(r->uid, r->uid, r->uid) < 0)
        fail("drop privileges");
    if (r->uid != 0 && setuid(0) == 0)
        fail("privileges came back");
}

NORETURN static void become_child(const struct root *r, const struct kid *k, int control,
                                  const char *path, char *const argv[])
{
    int program = open_program(path);

    reset_signals();
    arrange_descriptors(control, program);
    if (k->nice && setpriority(PRIO_PROCESS, 0, k->nice) < 0 && errno != EACCES && errno != EPERM)
        fail("priority");
    drop_privileges(r);
    fexecve(program, argv, environ);
    fail(path);
}

pid_t spawn_child(const struct root *r, const struct kid *k, int control, struct err *e)
{
    char *path;
    int failed = spawn_find(r, k->row->program, &path, e);
    if (failed < 0)
        return failed;
    char option[] = "--name";
    char *argv[] = {path, k->name[0] ? option : NULL, k->name, NULL};
    log_flush(); /* the child must not write our lines again */
    pid_t pid = fork();
    if (pid == 0)
        become_child(r, k, control, path, argv);
    if (pid < 0)
        pid = err_set(e, -errno, "cannot fork for %s", k->title);
    free(path);
    return pid;
}
