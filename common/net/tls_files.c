/*
 * The TLS files of a process; see tls_files.h. Owned by struct delivery and struct receiver. Few: a
 * list is searched. Files are read once per set, when they are needed first: certificates on the loop
 * (from the page cache, as root has just opened the file), root certificates in the thread pool. Only
 * pipes that check certificates against these pay for them, in time and memory.
 *
 * A reading has a descriptor of its own and outlives its file when a new set comes meanwhile.
 */
#include "net/tls_files.h"

#include "base/log.h"

#include <fcntl.h>
#include <unistd.h>

struct tls_file {
    struct list link;
    char *name;
    int fd;
    bool is_read; /* as roots */
    struct tls_roots *roots;
    struct roots_reading *reading; /* under way, or NULL */
};

struct roots_reading {
    uv_work_t work;
    struct tls_file *file; /* NULL: it is not in the set any more */
    int fd;
    struct tls_roots *roots;
    struct err e;
    struct list waiters;
};

/* A certificate with its key. */
struct tls_pair {
    struct list link;
    char *cert, *key;
    struct tls_identity *identity; /* NULL: cannot be used */
};

struct tls_files {
    struct list files;
    struct list coming;
    bool is_coming;
    struct list pairs;
};

struct tls_files *tls_files_new(void)
{
    struct tls_files *f = xcalloc(1, sizeof(*f));
    list_init(&f->files);
    list_init(&f->coming);
    list_init(&f->pairs);
    return f;
}

static void free_files(struct list *all)
{
    for (struct list *n; (n = list_pop_front(all));) {
        struct tls_file *one = list_entry(n, struct tls_file, link);
        close(one->fd);
        if (one->reading)
            one->reading->file = NULL;
        tls_roots_unref(one->roots);
        free(one->name);
        free(one);
    }
}

static void free_pairs(struct tls_files *f)
{
    for (struct list *n; (n = list_pop_front(&f->pairs));) {
        struct tls_pair *one = list_entry(n, struct tls_pair, link);
        tls_identity_unref(one->identity);
        free(one->cert);
        free(one->key);
        free(one);
    }
}

void tls_files_free(struct tls_files *f)
{
    if (!f)
        return;
    free_files(&f->files);
    free_files(&f->coming);
    free_pairs(f);
    free(f);
}

void tls_files_add(struct tls_files *f, const char *name, int fd)
{
    struct tls_file *one = xcalloc(1, sizeof(*one));

    one->name = xstrdup(name);
    one->fd = fd;
    list_init(&one->link);
    list_push_back(f->is_coming ? &f->coming : &f->files, &one->link);
}

void tls_files_begin(struct tls_files *f)
{
    free_files(&f->coming);
    f->is_coming = true;
}

void tls_files_commit(struct tls_files *f)
{
    if (!f->is_coming)
        return;
    free_files(&f->files);
    free_pairs(f);
    list_splice_back(&f->files, &f->coming);
    f->is_coming = false;
}

static struct tls_file *find(const struct tls_files *f, const char *name)
{
    list_for_each (n, &f->files) {
        struct tls_file *one = list_entry(n, struct tls_file, link);
        if (strcmp(one->name, name) == 0)
            return one;
    }
    return NULL;
}

/* Takes roots; NULL: e says why. */
static void take_roots(struct tls_file *one, struct tls_roots *roots, const struct err *e)
{
    if (one->is_read) { /* somebody could not wait */
        tls_roots_unref(roots);
        return;
    }
    one->is_read = true;
    one->roots = roots;
    if (!roots)
        log_error(LOG_TLS, "cannot use tls-ca-file '%s': %s, no certificate is trusted by it",
                  one->name, e->text);
}

struct tls_roots *tls_files_roots(struct tls_files *f, const char *name)
{
    struct tls_file *one = name ? find(f, name) : NULL;
    struct err e = {0};

    if (one && !one->is_read)
        take_roots(one, tls_roots_read(one->fd, &e), &e);
    return one ? one->roots : NULL;
}

static void read_roots(uv_work_t *w)
{
    struct roots_reading *r = w->data;
    r->roots = tls_roots_read(r->fd, &r->e);
}

static void on_read(uv_work_t *w, int status)
{
    struct roots_reading *r = w->data;

    if (status < 0)
        err_set(&r->e, status, "it was not read");
    if (r->file) {
        r->file->reading = NULL;
        take_roots(r->file, r->roots, &r->e);
    } else {
        tls_roots_unref(r->roots);
    }
    for (struct list *n; (n = list_pop_front(&r->waiters));) {
        struct tls_files_waiter *one = list_entry(n, struct tls_files_waiter, link);
        one->ready(one);
    }
    close(r->fd);
    free(r);
}

static struct roots_reading *start_reading(struct tls_file *one, uv_loop_t *loop)
{
    int fd = fcntl(one->fd, F_DUPFD_CLOEXEC, 0);

    if (fd < 0)
        return NULL;
    struct roots_reading *r = xcalloc(1, sizeof(*r));
    r->work.data = r;
    r->file = one;
    r->fd = fd;
    list_init(&r->waiters);
    BUG_ON(uv_queue_work(loop, &r->work, read_roots, on_read) < 0); /* only for bad arguments */
    return r;
}

bool tls_files_load_roots(struct tls_files *f, uv_loop_t *loop, const char *name,
                          struct tls_files_waiter *w)
{
    struct tls_file *one = name ? find(f, name) : NULL;

    if (!one || one->is_read)
        return true;
    if (!one->reading)
        one->reading = start_reading(one, loop);
    if (!one->reading)
        return true; /* no descriptor left: on the loop, then */
    list_push_back(&one->reading->waiters, &w->link);
    return false;
}

static struct tls_identity *read_pair(struct tls_files *f, const char *cert, const char *key)
{
    const struct tls_file *c = find(f, cert), *k = find(f, key);
    struct err e = {0};
    struct tls_identity *i = NULL;

    if (!c || !k)
        err_set(&e, ERR_NOT_FOUND, "the file was not handed over");
    else
        i = tls_identity_read(c->fd, k->fd, &e);
    if (!i)
        log_error(LOG_TLS,
                  "cannot use tls-client-certificate '%s' with key '%s': %s, going on without",
                  cert, key, e.text);
    return i;
}

struct tls_identity *tls_files_identity(struct tls_files *f, const char *cert, const char *key)
{
    if (!cert || !*cert)
        return NULL;
    if (!key || !*key)
        key = cert;
    list_for_each (n, &f->pairs) {
        struct tls_pair *one = list_entry(n, struct tls_pair, link);
        if (strcmp(one->cert, cert) == 0 && strcmp(one->key, key) == 0)
            return one->identity;
    }
    struct tls_pair *one = xcalloc(1, sizeof(*one));
    one->cert = xstrdup(cert);
    one->key = xstrdup(key);
    one->identity = read_pair(f, cert, key);
    list_init(&one->link);
    list_push_back(&f->pairs, &one->link);
    return one->identity;
}

int tls_files_fd(const struct tls_files *f, struct strview name)
{
    list_for_each (n, &f->files) {
        const struct tls_file *one = list_entry(n, struct tls_file, link);
        if (sv_eq(sv_of(one->name), name))
            return one->fd;
    }
    return -1;
}
