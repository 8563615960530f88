/*
 * Files that the configuration names and children read: signing keys, what TLS needs, secrets. Root
 * opens them, and hands each child those that it can need.
 *
 * Called by: monitor.c at the start and at a reload (files_apply), kid.c before each configuration
 * (files_send). Who needs what is each_file. The loader has looked at keys and secrets already; they
 * are looked at again as they are opened, because it is these descriptors that count. The
 * descriptors stay open so that a child that was restarted gets the same files.
 */
#include "monitor.h"

#include "base/log.h"
#include "mail/config_load.h"
#include "mail/key_file.h"
#include "mail/signing.h"
#include "mail/tls_config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MADE_SECRET_BYTES = 64 };

static const char installation[] = "installation", made_name[] = "@secret";

struct handed_file {
    struct hash_node node; /* root.files */
    enum file_kind kind;
    char *name; /* as the configuration has it, or "installation" */
    int fd;
    uint32_t round; /* of files_send that sent it last */
};

struct which {
    enum file_kind kind;
    struct strview name;
};

static uint64_t hash_of(struct which w)
{
    return hash_bytes(w.name.ptr, w.name.len) + (uint64_t)w.kind;
}

static bool match(const struct hash_node *n, const void *key)
{
    const struct handed_file *f = container_of(n, const struct handed_file, node);
    const struct which *w = key;
    return f->kind == w->kind && sv_eq(sv_of(f->name), w->name);
}

static struct handed_file *find(const struct hash *files, struct which w)
{
    struct hash_node *n = hash_find(files, hash_of(w), &w);
    return n ? container_of(n, struct handed_file, node) : NULL;
}

static void close_all(struct hash *files)
{
    for (struct hash_node *n = hash_next(files, NULL), *next; n; n = next) {
        next = hash_next(files, n);
        struct handed_file *f = container_of(n, struct handed_file, node);
        hash_remove(files, n);
        close(f->fd);
        free(f->name);
        free(f);
    }
    hash_fini(files);
}

void files_init(struct root *r)
{
    hash_init(&r->files, match);
}

void files_fini(struct root *r)
{
    close_all(&r->files);
}

/* --- who needs what --- */

typedef void each_fn(void *arg, struct which w, const struct config_value *v);

struct walk {
    enum file_kind kind;
    each_fn *fn;
    void *arg;
};

static void pass_on(void *arg, const struct config_value *v, struct strview name)
{
    struct walk *w = arg;
    w->fn(w->arg, (struct which){w->kind, name}, v);
}

static void each_secret_of_sink(const struct config *cfg, const char *sink, struct walk *w)
{
    w->kind = FILE_SECRET;
    for (unsigned d = 0; d < DIRECTIVE_COUNT; d++) {
        const struct directive_info *info = directive_info((enum directive)d);
        if (!info->secret || !(info->kinds & KIND_EVENT_SINK))
            continue;
        const struct config_value *v =
            config_section_get(cfg, KIND_EVENT_SINK, sv_of(sink), (enum directive)d);
        for (; v && v->text; v = v->next)
            pass_on(w, v, sv_of(v->text));
    }
}

/* The files of a child; name is its own, empty for all of that role. */
static void each_file(const struct config *cfg, enum role role, struct strview name, each_fn *fn,
                      void *arg)
{
    struct walk w = {FILE_SECRET, fn, arg};
    const char *sink;

    if (role != ROLE_RESOLVER && role != ROLE_SHIP)
        fn(arg, (struct which){FILE_SECRET, sv_of(installation)},
           config_get(cfg, NULL, DIR_SECRET_FILE));
    if (role == ROLE_PIPE) {
        w.kind = FILE_SIGNING_KEY;
        signing_key_files(cfg, name, pass_on, &w);
    }
    w.kind = FILE_TLS;
    if (role == ROLE_PIPE || role == ROLE_RECEIVER)
        tls_config_files(cfg, role == ROLE_PIPE ? TLS_CONFIG_PIPE : TLS_CONFIG_RECEIVER, name,
                         pass_on, &w);
    for (size_t i = 0; role == ROLE_SHIP && (sink = config_section_name(cfg, KIND_EVENT_SINK, i));
         i++)
        if (!name.len || sv_eq(sv_of(sink), name))
            each_secret_of_sink(cfg, sink, &w);
}

/* --- opening --- */

struct opening {
    const struct root *root;
    struct hash files;
    uid_t owner;
    struct err *e;
    int code;
};

static int open_plain(const char *path, struct err *e)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

    if (fd < 0)
        return err_set(e, -errno, "cannot be opened");
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        return fd;
    close(fd);
    return err_set(e, -EINVAL, "is no ordinary file");
}

static int write_secret(int dir, struct err *e)
{
    static const char temporary[] = "@secret.new";
    char bytes[MADE_SECRET_BYTES];
    int fd = openat(dir, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0)
        return err_set(e, -errno, "cannot be made");
    bool ok = getrandom(bytes, sizeof(bytes), 0) == (ssize_t)sizeof(bytes) &&
              write(fd, bytes, sizeof(bytes)) == (ssize_t)sizeof(bytes) && fsync(fd) == 0;
    explicit_bzero(bytes, sizeof(bytes));
    ok = close(fd) == 0 && ok && renameat(dir, temporary, dir, made_name) == 0 && fsync(dir) == 0;
    return ok ? 0 : err_set(e, -errno, "cannot be made");
}

/* Without secret-file: made once, kept in the spool, so that addresses that went out stay good. */
static int open_made_secret(const struct root *r, char **ret_path, struct err *e)
{
    struct buf path = {0};
    char *top = setup_path(r, config_text(r->config, NULL, DIR_SPOOL));
    int fd = -1, code = 0;

    buf_printf(&path, "%s/%s", top, made_name);
    *ret_path = buf_take(&path);
    free(top);
    if (faccessat(r->spool_fd, made_name, F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT) {
        code = write_secret(r->spool_fd, e);
        if (code == 0)
            log_info(LOG_MAIN,
                     "made '%s', which bounce addresses and unsubscribe links are keyed "
                     "with; keep it with the spool, or name one with secret-file",
                     *ret_path);
    }
    if (code == 0)
        code = secret_file_open(*ret_path, (uid_t)-1, &fd, e);
    return code < 0 ? code : fd;
}

/* The descriptor, or negative with *e; *ret_path is what was tried. */
static int open_file(const struct opening *o, struct which w, bool configured, char **ret_path)
{
    struct key_file info;
    int fd = -1;

    if (w.kind == FILE_SECRET && !configured)
        return open_made_secret(o->root, ret_path, o->e);
    char *text = xstrndup(w.name.ptr, w.name.len);
    *ret_path = setup_path(o->root, text);
    free(text);
    int code = w.kind == FILE_SIGNING_KEY ? key_file_open(*ret_path, o->owner, &info, &fd, o->e)
               : w.kind == FILE_SECRET    ? secret_file_open(*ret_path, o->owner, &fd, o->e)
                                          : (fd = open_plain(*ret_path, o->e));
    return code < 0 ? code : fd;
}

/* What only a default names need not be there (tls-ca-file). */
static void open_one(void *arg, struct which w, const struct config_value *v)
{
    struct opening *o = arg;
    struct which tried = w;
    char *path = NULL;

    if (o->code < 0 || find(&o->files, w))
        return;
    if (sv_eq(w.name, sv_of(installation)) && v && v->text)
        tried.name = sv_of(v->text);
    int fd = open_file(o, tried, v && v->text, &path);
    if (fd >= 0) {
        struct handed_file *f = xcalloc(1, sizeof(*f));
        f->kind = w.kind;
        f->name = xstrndup(w.name.ptr, w.name.len);
        f->fd = fd;
        hash_insert(&o->files, &f->node, hash_of(w));
    } else if (v && v->origin.file) {
        o->code = err_prefix(o->e, "%s:%u: %s: file '%.200s'", v->origin.file, v->origin.line,
                             directive_info(v->directive)->name, path);
    } else if (w.kind != FILE_TLS) {
        o->code = err_prefix(o->e, "secret '%.200s'", path);
    }
    free(path);
}

int files_apply(struct root *r, const struct config *cfg, struct err *e)
{
    static const enum role roles[] = {ROLE_PIPE, ROLE_RECEIVER, ROLE_SHIP};
    struct opening o = {.root = r, .owner = load_key_owner(cfg), .e = e};

    hash_init(&o.files, match);
    for (size_t i = 0; i < ARRAY_LEN(roles); i++)
        each_file(cfg, roles[i], sv(NULL, 0), open_one, &o);
    if (o.code < 0) {
        close_all(&o.files);
        return o.code;
    }
    close_all(&r->files);
    r->files = o.files;
    return 0;
}

/* --- handing over --- */

static void send_one(void *arg, struct which w, const struct config_value *v)
{
    struct kid *k = arg;
    struct handed_file *f = find(&k->root->files, w);

    (void)v;
    if (!f || f->round == k->root->file_round)
        return;
    f->round = k->root->file_round;
    ipc_send_fds(k->control, file, (&(struct ipc_file){(uint8_t)w.kind, w.name}), &f->fd, 1);
}

void files_send(struct kid *k)
{
    if (k->row->role == ROLE_RESOLVER || !k->control)
        return;
    k->root->file_round++;
    ipc_send(k->control, files, &(struct ipc_files){config_generation(k->root->config)});
    each_file(k->root->config, k->row->role,
              k->row->role == ROLE_RECEIVER ? sv(NULL, 0) : sv_of(k->name), send_one, k);
}
