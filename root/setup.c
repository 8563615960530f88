/*
 * What must be there before a child runs: the user, run-dir with its lock, spool and accounting
 * directories, the sealed snapshot, the table of limits.
 *
 * Called by: monitor.c. Each function does one thing or says in one line what and where it failed.
 * Locks: run-dir/pmtad.pid (flock) and the spool directory itself (flock), so that neither two
 * pmtad share a run-dir nor two run-dirs share a spool. Both go with the process.
 */
#include "monitor.h"

#include "base/file.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NOFILE_WANTED = 1 << 20 };

char *setup_path(const struct root *r, const char *text)
{
    struct buf path = {0};
    if (text[0] != '/')
        buf_printf(&path, "%s/", r->config_dir);
    buf_append_str(&path, text);
    return buf_take(&path);
}

int setup_user(struct root *r, struct err *e)
{
    const char *name = config_text(r->config, NULL, DIR_USER);
    if (geteuid() != 0) {
        log_info(LOG_MAIN,
                 "started without root: everything runs as uid %u, ports below 1024 and "
                 "other users' files are out of reach",
                 (unsigned)geteuid());
        return 0;
    }
    struct passwd *pw = getpwnam(name);
    if (!pw)
        return err_set(e, ERR_CONFIG, "unknown user '%s' (directive user in [pmta])", name);
    r->drop = true;
    r->uid = pw->pw_uid;
    r->gid = pw->pw_gid;
    if (pw->pw_uid == 0)
        log_warn(LOG_MAIN, "user is '%s': children keep the rights of root", name);
    return 0;
}

/* mkdir -p; what is created belongs to the children's user when `theirs`. */
static int make_directories(const struct root *r, const char *path, mode_t mode, bool theirs,
                            struct err *e)
{
    char *copy = xstrdup(path);
    int code = 0;
    for (char *slash = copy; code == 0 && slash;) {
        slash = strchr(slash + 1, '/');
        if (slash)
            *slash = '\0';
        if (mkdir(copy, slash ? 0755 : mode) == 0) {
            if (!slash && theirs && r->drop && chown(copy, r->uid, r->gid) < 0)
                code = err_set(e, -errno, "cannot give directory '%s' to its user", copy);
        } else if (errno != EEXIST) {
            code = err_set(e, -errno, "cannot create directory '%s'", copy);
        }
        if (slash)
            *slash = '/';
    }
    free(copy);
    return code;
}

/* Can the children's user make files here? As root, access(2) would always say yes. */
static int check_writable(const struct root *r, int fd, const char *path, struct err *e)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return err_set(e, -errno, "directory '%s'", path);
    if (!r->drop) {
        if (faccessat(fd, ".", W_OK | X_OK, AT_EACCESS) < 0)
            return err_set(e, -errno, "directory '%s' cannot be written", path);
        return 0;
    }
    mode_t wanted = st.st_uid == r->uid ? 0300 : st.st_gid == r->gid ? 0030 : 0003;
    if (r->uid != 0 && (st.st_mode & wanted) != wanted)
        return err_set(e, -EACCES, "directory '%s' cannot be written by user '%s'", path,
                       config_text(r->config, NULL, DIR_USER));
    return 0;
}

static int open_directory(const struct root *r, const char *path, mode_t mode, int *ret,
                          struct err *e)
{
    int code = make_directories(r, path, mode, true, e);
    if (code < 0)
        return code;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_set(e, -errno, "cannot open directory '%s'", path);
    code = check_writable(r, fd, path, e);
    if (code < 0)
        close(fd);
    else
        *ret = fd;
    return code;
}

static int lock_pid_file(struct root *r, const char *path, struct err *e)
{
    char text[32] = "";
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0)
        return err_set(e, -errno, "cannot open '%s'", path);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
        int pid = n > 0 ? atoi(text) : 0;
        close(fd);
        return err_set(e, ERR_BUSY, "another pmtad runs here, pid %d (lock on '%s')", pid, path);
    }
    int len = snprintf(text, sizeof(text), "%d\n", (int)getpid());
    if (ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)len, 0) != len) {
        int code = err_set(e, -errno, "cannot write '%s'", path);
        close(fd);
        return code;
    }
    r->lock_fd = fd;
    return 0;
}

int setup_run_dir(struct root *r, struct err *e)
{
    struct buf path = {0};
    r->run_dir = setup_path(r, config_text(r->config, NULL, DIR_RUN_DIR));
    int code = make_directories(r, r->run_dir, 0755, false, e);
    if (code == 0) {
        buf_printf(&path, "%s/pmtad.pid", r->run_dir);
        code = lock_pid_file(r, buf_data(&path), e);
    }
    buf_free(&path);
    return code;
}

int setup_spool(struct root *r, struct err *e)
{
    char *path = setup_path(r, config_text(r->config, NULL, DIR_SPOOL));
    int code = open_directory(r, path, 0755, &r->spool_fd, e);
    if (code == 0 && flock(r->spool_fd, LOCK_EX | LOCK_NB) < 0)
        code = err_set(e, ERR_BUSY, "spool '%s' is in use by another pmtad", path);
    free(path);
    return code;
}

/* Names of places begin with @ where they could be a pipe's. */
static int open_own_directory(struct root *r, struct kid *k, struct err *e)
{
    struct buf path = {0};
    char *top = setup_path(r, config_text(r->config, NULL, DIR_SPOOL));
    buf_printf(&path, "%s/%s%s", top, k->row->place, k->name);
    int code = open_directory(r, buf_data(&path), 0700, &k->own_fd, e);
    buf_free(&path);
    free(top);
    return code;
}

int setup_kid_directories(struct root *r, struct kid *k, struct err *e)
{
    int code = k->row->directory ? open_own_directory(r, k, e) : 0;
    if (code < 0 || !(k->row->flags & ROLE_GETS_ACCOUNTING))
        return code;
    char *acct = setup_path(r, config_text(r->config, NULL, DIR_ACCT_DIR));
    code = open_directory(r, acct, 0750, &k->acct_fd, e);
    free(acct);
    return code;
}

int setup_acct_directory(const struct root *r, const char *name, bool move, int *ret, struct err *e)
{
    const struct config_value *to =
        config_section_get(r->config, KIND_ACCT_FILE, sv_of(name), DIR_ACCT_MOVE_TO);

    *ret = -1;
    if (move && (!to || !to->text))
        return 0;
    bool command = !move && name[0] == '|'; /* its records wait in acct-dir */
    const char *text = move      ? to->text
                       : command ? config_text(r->config, NULL, DIR_ACCT_DIR)
                                 : name;
    char *path = setup_path(r, text), *slash = strrchr(path, '/');
    if (!move && !command && slash)
        slash[slash == path] = '\0';
    int code = open_directory(r, path, 0750, ret, e);
    free(path);
    return code;
}

int setup_snapshot(struct root *r, struct config *cfg, struct err *e)
{
    struct buf bytes = {0};
    config_snapshot_encode(cfg, &bytes);
    int fd = memfd_create("pmta-config", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    int code = fd < 0 ? -errno : file_write_all(fd, buf_view(&bytes));
    if (code == 0 &&
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
        code = -errno;
    if (code == 0) {
        if (r->snapshot_fd >= 0)
            close(r->snapshot_fd);
        r->snapshot_fd = fd;
        r->snapshot_bytes = buf_len(&bytes);
        config_ref(cfg);
        config_unref(r->config);
        r->config = cfg;
    } else {
        if (fd >= 0)
            close(fd);
        err_set(e, code, "configuration snapshot");
    }
    buf_free(&bytes);
    return code;
}

void setup_limits(void)
{
    struct rlimit l;
    if (getrlimit(RLIMIT_NOFILE, &l) < 0)
        return;
    struct rlimit more = {MAX_OF(l.rlim_max, (rlim_t)NOFILE_WANTED),
                          MAX_OF(l.rlim_max, (rlim_t)NOFILE_WANTED)};
    if (geteuid() == 0 && setrlimit(RLIMIT_NOFILE, &more) == 0)
        return;
    l.rlim_cur = l.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &l) < 0)
        log_warn(LOG_MAIN, "cannot raise the limit of open files: %s", strerror(errno));
}

int setup_limit_table(struct root *r, struct err *e)
{
    int code = limit_table_create(&r->limits_fd, e);
    return code < 0 ? code : limit_table_map(&r->limits, r->limits_fd, LIMIT_TABLE_OBSERVER, e);
}

void setup_fini(struct root *r)
{
    int fds[] = {r->lock_fd, r->spool_fd, r->snapshot_fd, r->limits_fd};
    limit_table_free(r->limits);
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    config_unref(r->config);
    free(r->run_dir);
}
