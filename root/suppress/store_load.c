/*
 * The log into the table; see store_int.h. Called once, by store_load; runs in the thread pool and
 * has the store to itself meanwhile. Segments are read oldest first, each record as if it came now.
 *
 * What can go wrong: the end of the last segment is torn (a crash during a commit that nobody was told
 * of: cut off); a stretch that holds no record (copied to bad-SEGMENT-OFFSET, passed over, until
 * compaction drops it); a segment without a header (renamed to bad-SEGMENT); hashes made with another
 * key, or a newer format (the list cannot be used, and saying nothing would mean to write to people who
 * do not want it: the load fails); the disk.
 */
#include "store_int.h"

#include "base/clock.h"
#include "base/log.h"
#include "segment_reader.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LOAD_AHEAD = 32 };

struct change {
    struct suppress_hash h;
    struct table_value now;
    bool gone; /* deleted, or it has expired */
};

struct load {
    uv_work_t work;
    struct store *store;
    void (*loaded)(void *arg, const struct err *e);
    void *arg;
    struct err e;
    int64_t now_s;
    struct change ahead[LOAD_AHEAD];
    uint64_t read; /* that went through ahead */
};

/* --- which segments there are --- */

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static int list_segments(struct store *s, uint32_t **ret, size_t *ret_count, struct err *e)
{
    int fd = openat(s->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    size_t count = 0, cap = 0;

    *ret = NULL;
    if (!dir) {
        int code = err_set(e, -errno, "cannot read the directory of the suppression list");
        if (fd >= 0)
            close(fd);
        return code;
    }
    for (struct dirent *d; (d = readdir(dir));) {
        uint32_t number = segment_file_number(d->d_name);
        if (!number || number > SEGMENT_NUMBER_MAX)
            continue;
        if (count == cap) {
            cap = cap ? cap * 2 : 16;
            *ret = xrealloc(*ret, cap * sizeof(**ret));
        }
        (*ret)[count++] = number;
    }
    closedir(dir);
    if (count)
        qsort(*ret, count, sizeof(**ret), by_number);
    *ret_count = count;
    return 0;
}

/* --- damage --- */

static void copy_bytes(int from, int to, uint64_t offset, uint64_t bytes)
{
    char chunk[16384];

    while (bytes) {
        ssize_t n = pread(from, chunk, MIN_OF(bytes, (uint64_t)sizeof(chunk)), (off_t)offset);
        if (n <= 0 || write(to, chunk, (size_t)n) != n)
            return;
        offset += (uint64_t)n;
        bytes -= (uint64_t)n;
    }
}

static void set_aside(struct store *s, const struct segment_reader *r, uint64_t offset,
                      uint64_t bytes)
{
    char name[64];

    snprintf(name, sizeof(name), "bad-%08u-%llu", r->header.number, (unsigned long long)offset);
    s->damaged_bytes += bytes;
    log_error(LOG_SPOOL,
              "suppression list: %llu bytes that are no record, kept in '%s', going on behind them",
              (unsigned long long)bytes, name);
    int fd = openat(s->dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return; /* of an earlier start */
    copy_bytes(r->fd, fd, offset, bytes);
    close(fd);
}

static void cut_tail(struct store *s, uint32_t number, uint64_t offset, uint64_t bytes)
{
    char name[SEGMENT_NAME_SIZE];
    int fd = openat(s->dirfd, segment_file_name(number, name), O_WRONLY | O_CLOEXEC | O_NOFOLLOW);

    log_info(LOG_SPOOL, "suppression list: %llu bytes of an unfinished write cut off '%s'",
             (unsigned long long)bytes, name);
    if (fd < 0 || ftruncate(fd, (off_t)offset) < 0 || fdatasync(fd) < 0)
        s->rotate = true; /* nothing may be written behind it */
    if (fd >= 0)
        close(fd);
}

/* --- records --- */

static int apply(struct load *l, const struct change *c)
{
    struct store *s = l->store;
    struct table_value old;
    bool was;

    if (c->gone) {
        if (table_remove(&s->table, c->h, &old))
            store_account(s, &old, NULL);
        return 0;
    }
    int code = table_put(&s->table, c->h, &c->now, &was, &old);
    if (code < 0)
        return err_set(&l->e, code, "no room for the suppression list");
    store_account(s, was ? &old : NULL, &c->now);
    return 0;
}

/* Changes are applied in order, each some records after it was read: by then the memory that it is
 * about has arrived. */
static int pipeline(struct load *l, const struct change *c)
{
    struct table_writer *t = &l->store->table;
    int code = 0;

    if (l->read >= LOAD_AHEAD)
        code = apply(l, &l->ahead[l->read % LOAD_AHEAD]);
    l->ahead[l->read % LOAD_AHEAD] = *c;
    table_prefetch_place(t, c->h);
    if (l->read >= LOAD_AHEAD / 2)
        table_prefetch_bucket(t, l->ahead[(l->read - LOAD_AHEAD / 2) % LOAD_AHEAD].h);
    l->read++;
    return code;
}

static int finish_pipeline(struct load *l)
{
    uint64_t from = l->read > LOAD_AHEAD ? l->read - LOAD_AHEAD : 0;
    int code = 0;

    for (; code == 0 && from < l->read; from++)
        code = apply(l, &l->ahead[from % LOAD_AHEAD]);
    l->read = 0;
    return code;
}

static int take_record(struct load *l, const struct segment_reader *reader, const struct record *r,
                       struct place at)
{
    struct store *s = l->store;
    struct segment *g = &s->segments[s->segment_count - 1];
    struct suppress_hash scope;

    g->records++;
    g->clear += !r->hashed;
    if (r->hashed && reader->header.key_id != s->key_id)
        return err_set(
            &l->e, ERR_KEY,
            "the suppression list holds hashes that were made with another secret: give "
            "that one back (secret-file), or move the directory '@suppress' of the spool "
            "away");
    int code = store_scope(s, r->scope, r->name, &scope);
    if (code < 0)
        return err_set(&l->e, code, "the suppression list has more than %d scopes", SCOPES_MAX);
    return pipeline(l,
                    &(struct change){
                        .h = store_record_hash(s, r, scope),
                        .now = {r->expires_s, meta_make(at, r, note_hash(r->note))},
                        .gone = r->kind == RECORD_DEL || (r->expires_s && l->now_s >= r->expires_s),
                    });
}

/* --- segments --- */

static int read_records(struct load *l, struct segment_reader *r, bool last)
{
    struct store *s = l->store;
    uint32_t number = r->header.number;
    uint64_t offset, bytes;
    struct record rec;
    int item, code = 0;

    while (code == 0 && (item = segment_reader_next(r, &rec, &offset, &bytes)) != SEGMENT_END) {
        if (item < 0)
            return err_set(&l->e, item, "cannot read the suppression list");
        if (item == SEGMENT_RECORD) {
            s->segments[s->segment_count - 1].bytes = offset + bytes;
            code = take_record(l, r, &rec, (struct place){number, (uint32_t)offset});
        } else if (last && r->at_end && buf_len(&r->window) == 0) {
            cut_tail(s, number, offset, bytes);
        } else {
            set_aside(s, r, offset, bytes);
        }
    }
    return code;
}

static int without_header(struct load *l, uint32_t number, int code, bool last)
{
    struct store *s = l->store;
    char name[SEGMENT_NAME_SIZE], bad[64];
    struct stat st;

    segment_file_name(number, name);
    if (code == ERR_VERSION)
        return err_set(&l->e, code, "the suppression list ('%s') was written by a newer PipeMTA",
                       name);
    if (code != ERR_CORRUPT)
        return err_set(&l->e, code, "cannot open '%s' of the suppression list", name);
    bool begun = fstatat(s->dirfd, name, &st, 0) == 0 && st.st_size >= FORMAT_HEADER_BYTES;
    snprintf(bad, sizeof(bad), "bad-%08u", number);
    if (renameat(s->dirfd, name, s->dirfd, bad) < 0)
        return err_set(&l->e, -errno, "cannot set '%s' aside", name);
    if (last && !begun)
        log_info(LOG_SPOOL, "suppression list: '%s' was not begun, kept as '%s'", name, bad);
    else
        log_error(LOG_SPOOL,
                  "suppression list: '%s' has no header, kept as '%s', its entries are lost", name,
                  bad);
    return 0;
}

static int read_segment(struct load *l, uint32_t number, bool last)
{
    struct store *s = l->store;
    struct segment_reader r;
    int code = segment_reader_open(&r, s->dirfd, number, 0);

    if (code < 0)
        return without_header(l, number, code, last);
    store_add_segment(s, number, r.header.tag, FORMAT_HEADER_BYTES);
    s->tag = r.header.tag;
    /* what is appended to it would be taken for hashes of its key */
    s->rotate = r.header.key_id != s->key_id;
    code = read_records(l, &r, last);
    if (code == 0)
        code = finish_pipeline(l);
    segment_reader_close(&r);
    return code;
}

static void load_all(uv_work_t *w)
{
    struct load *l = container_of(w, struct load, work);
    struct store *s = l->store;
    int64_t began = clock_mono_ms();
    uint32_t *numbers = NULL;
    size_t count = 0;
    int code = table_writer_init(&s->table, &s->key, &l->e);

    l->now_s = clock_wall_ms() / 1000;
    if (code == 0)
        code = list_segments(s, &numbers, &count, &l->e);
    for (size_t i = 0; code == 0 && i < count; i++)
        code = read_segment(l, numbers[i], i + 1 == count);
    free(numbers);
    s->load_ms = clock_mono_ms() - began;
}

static void on_loaded(uv_work_t *w, int status)
{
    struct load *l = container_of(w, struct load, work);
    struct store *s = l->store;

    (void)status;
    s->jobs--;
    if (l->e.code == 0) {
        s->loaded = true;
        store_open_timers(s);
    }
    l->loaded(l->arg, l->e.code < 0 ? &l->e : NULL);
    free(l);
}

void store_load(struct store *s, void (*loaded)(void *arg, const struct err *e), void *arg)
{
    struct load *l = xcalloc(1, sizeof(*l));

    BUG_ON(s->loaded || s->jobs);
    l->store = s;
    l->loaded = loaded;
    l->arg = arg;
    s->jobs++;
    uv_queue_work(s->loop, &l->work, load_all, on_loaded);
}
