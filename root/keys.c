/*
 * Files with signing keys: opened by root, handed to the pipes that can need them.
 *
 * Called by: monitor.c at the start and at a reload (keys_apply), kid.c before each configuration
 * that a pipe gets (keys_send). The loader has looked at the files already; they are looked at again
 * as they are opened, because it is these descriptors that count. Root reads no key but for its
 * kind and length. The descriptors stay open so that a pipe that was restarted gets the same keys.
 */
#include "monitor.h"

#include "base/log.h"
#include "mail/config_load.h"
#include "mail/signing.h"

#include <unistd.h>

static bool match(const struct hash_node *n, const void *file)
{
    return sv_eq(sv_of(container_of(n, const struct key_fd, node)->file),
                 *(const struct strview *)file);
}

static struct key_fd *find(const struct hash *keys, struct strview file)
{
    struct hash_node *n = hash_find(keys, hash_bytes(file.ptr, file.len), &file);
    return n ? container_of(n, struct key_fd, node) : NULL;
}

static void close_all(struct hash *keys)
{
    for (struct hash_node *n = hash_next(keys, NULL), *next; n; n = next) {
        next = hash_next(keys, n);
        struct key_fd *k = container_of(n, struct key_fd, node);
        hash_remove(keys, n);
        close(k->fd);
        free(k->file);
        free(k);
    }
    hash_fini(keys);
}

void keys_init(struct root *r)
{
    hash_init(&r->keys, match);
}

void keys_fini(struct root *r)
{
    close_all(&r->keys);
}

struct opening {
    struct hash keys;
    uid_t owner;
    struct err *e;
    int code;
};

static void open_key(void *arg, const struct config_value *v, struct strview file)
{
    struct opening *o = arg;
    struct key_file info;
    int fd = -1;

    if (o->code < 0 || find(&o->keys, file))
        return;
    char *path = xstrndup(file.ptr, file.len);
    o->code = key_file_open(path, o->owner, &info, &fd, o->e);
    if (o->code < 0) {
        err_prefix(o->e, "%s:%u: %s: key file '%.200s'", v->origin.file, v->origin.line,
                   directive_info(v->directive)->name, path);
        free(path);
        return;
    }
    struct key_fd *k = xcalloc(1, sizeof(*k));
    k->file = path;
    k->fd = fd;
    hash_insert(&o->keys, &k->node, hash_bytes(file.ptr, file.len));
}

int keys_apply(struct root *r, const struct config *cfg, struct err *e)
{
    struct opening o = {.owner = load_key_owner(cfg), .e = e};

    hash_init(&o.keys, match);
    signing_key_files(cfg, sv(NULL, 0), open_key, &o);
    if (o.code < 0) {
        close_all(&o.keys);
        return o.code;
    }
    close_all(&r->keys);
    r->keys = o.keys;
    return 0;
}

struct sending {
    struct kid *kid;
    uint32_t count;
};

static void send_key(void *arg, const struct config_value *v, struct strview file)
{
    struct sending *s = arg;
    struct root *r = s->kid->root;
    struct key_fd *k = find(&r->keys, file);

    (void)v;
    if (!k || k->round == r->key_round)
        return;
    k->round = r->key_round;
    ipc_send_fds(s->kid->control, key, (&(struct ipc_key){file}), &k->fd, 1);
    s->count++;
}

void keys_send(struct kid *k)
{
    struct sending s = {.kid = k};

    if (k->row->role != ROLE_PIPE || !k->control)
        return;
    k->root->key_round++;
    ipc_send(k->control, keys, &(struct ipc_keys){config_generation(k->root->config)});
    signing_key_files(k->root->config, sv_of(k->name), send_key, &s);
    log_debug(LOG_CONFIG, "%s has signing keys count=%u", k->title, s.count);
}
