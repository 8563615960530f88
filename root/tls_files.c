/*
 * Files that TLS needs besides the certificates of listeners: opened by root, handed to the processes
 * that can need them.
 *
 * Called by: monitor.c at the start and at a reload (tls_files_apply), kid.c before each configuration
 * that a pipe or receiver gets (tls_files_send). Root reads none of them. The descriptors stay open so
 * that a process that was restarted gets the same files. The default of tls-ca-file need not exist.
 */
#include "monitor.h"

#include "base/log.h"
#include "mail/tls_config.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static struct tls_file *find(const struct list *all, struct strview name)
{
    list_for_each (n, all) {
        struct tls_file *f = list_entry(n, struct tls_file, node);
        if (sv_eq(sv_of(f->name), name))
            return f;
    }
    return NULL;
}

static void close_all(struct list *all)
{
    for (struct list *n; (n = list_pop_front(all));) {
        struct tls_file *f = list_entry(n, struct tls_file, node);
        close(f->fd);
        free(f->name);
        free(f);
    }
}

struct opening {
    const struct root *root;
    struct list files;
    struct err *e;
    int code;
};

static int open_file(const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

    if (fd < 0)
        return -errno;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        return fd;
    close(fd);
    return -EINVAL;
}

static void open_one(void *arg, const struct config_value *v, struct strview name)
{
    struct opening *o = arg;

    if (o->code < 0 || find(&o->files, name))
        return;
    char *text = xstrndup(name.ptr, name.len), *path = setup_path(o->root, text);
    int fd = open_file(path);
    if (fd >= 0) {
        struct tls_file *f = xcalloc(1, sizeof(*f));
        f->name = xstrdup(text);
        f->fd = fd;
        list_push_back(&o->files, &f->node);
    } else if (v->origin.file) {
        o->code = err_set(o->e, fd, "%s:%u: %s: cannot open '%s'", v->origin.file, v->origin.line,
                          directive_info(v->directive)->name, path);
    }
    free(text);
    free(path);
}

int tls_files_apply(struct root *r, const struct config *cfg, struct err *e)
{
    struct opening o = {.root = r, .e = e};

    list_init(&o.files);
    tls_config_files(cfg, TLS_CONFIG_PIPE, sv(NULL, 0), open_one, &o);
    tls_config_files(cfg, TLS_CONFIG_RECEIVER, sv(NULL, 0), open_one, &o);
    if (o.code < 0) {
        close_all(&o.files);
        return o.code;
    }
    close_all(&r->tls_files);
    list_splice_back(&r->tls_files, &o.files);
    return 0;
}

static void send_one(void *arg, const struct config_value *v, struct strview name)
{
    struct kid *k = arg;
    struct tls_file *f = find(&k->root->tls_files, name);

    (void)v;
    if (!f || f->round == k->root->tls_round)
        return;
    f->round = k->root->tls_round;
    ipc_send_fds(k->control, tls_file, (&(struct ipc_tls_file){name}), &f->fd, 1);
}

void tls_files_send(struct kid *k)
{
    bool pipe = k->row->role == ROLE_PIPE;

    if ((!pipe && k->row->role != ROLE_RECEIVER) || !k->control)
        return;
    k->root->tls_round++;
    ipc_send(k->control, tls_files, &(struct ipc_tls_files){config_generation(k->root->config)});
    tls_config_files(k->root->config, pipe ? TLS_CONFIG_PIPE : TLS_CONFIG_RECEIVER,
                     pipe ? sv_of(k->name) : sv(NULL, 0), send_one, k);
}

void tls_files_fini(struct root *r)
{
    close_all(&r->tls_files);
}
