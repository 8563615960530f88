/*
 * The limit table: making, mapping, and finding cells; levels and connections are in limit_cell.c.
 *
 * Root makes the memfd and keeps it; every pipe maps it with a share of its own. A cell is found by
 * hash and chain under a robust lock, which is held for some hundred nanoseconds. When a process
 * dies with the lock held, the next one builds chains and free list anew from the cells, of which
 * `in_use` alone has to be right: it is set last when a cell is made and cleared first when it is
 * taken back.
 *
 * Cells that nobody refers to are taken back when others are wanted: a hand goes round, some cells
 * for each new one, so that no call walks the whole table unless it is full, and then once a second
 * at most. Root never takes the lock: limit_table_forget works on atomic words only, so a pipe that
 * is stopped cannot hold up the monitor.
 */
#include "base/limit_table_int.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum {
    SEALS = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL,
    LOOKED_AT = 32, /* cells that making one looks at to take back */
    FULL_REST_US = 1000000,
};

/* --- making and mapping --- */

static int lock_init(pthread_mutex_t *lock)
{
    pthread_mutexattr_t attr;

    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    int r = pthread_mutex_init(lock, &attr);
    pthread_mutexattr_destroy(&attr);
    return -r;
}

static int fill_head(struct limit_table_head *head)
{
    *head = (struct limit_table_head){
        .bytes = sizeof(struct limit_table_memory),
        .cell_bytes = sizeof(struct limit_cell),
        .cells = LIMIT_TABLE_CELLS,
        .processes = LIMIT_TABLE_PROCESSES,
    };
    if (getrandom(&head->seed, sizeof(head->seed), 0) != sizeof(head->seed))
        head->seed = (uint64_t)clock_wall_us();
    int r = lock_init(&head->lock);
    head->magic = LIMIT_TABLE_MAGIC;
    return r;
}

static struct limit_table_memory *map_memory(int fd)
{
    int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE : MAP_SHARED;
    return mmap(NULL, sizeof(struct limit_table_memory), PROT_READ | PROT_WRITE, flags, fd, 0);
}

static int prepare(int fd, struct err *e)
{
    if (ftruncate(fd, sizeof(struct limit_table_memory)) < 0 || fcntl(fd, F_ADD_SEALS, SEALS) < 0)
        return err_set(e, -errno, "cannot size the limit table");
    struct limit_table_memory *mem = map_memory(fd);
    if (mem == MAP_FAILED)
        return err_set(e, -errno, "cannot map the limit table");
    int r = fill_head(&mem->head);
    munmap(mem, sizeof(*mem));
    return r < 0 ? err_set(e, r, "cannot make the lock of the limit table") : 0;
}

int limit_table_create(int *ret_fd, struct err *e)
{
    int fd = memfd_create("pmta-limits", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0)
        return err_set(e, -errno, "cannot make the limit table");
    int r = prepare(fd, e);
    if (r < 0) {
        close(fd);
        return r;
    }
    *ret_fd = fd;
    return 0;
}

static bool is_table(const struct limit_table_head *head)
{
    return head->magic == LIMIT_TABLE_MAGIC && head->bytes == sizeof(struct limit_table_memory) &&
           head->cell_bytes == sizeof(struct limit_cell) && head->cells == LIMIT_TABLE_CELLS &&
           head->processes == LIMIT_TABLE_PROCESSES;
}

static struct limit_table *table_new(struct limit_table_memory *mem, unsigned share)
{
    struct limit_table *t = xcalloc(1, sizeof(*t));

    t->mem = mem;
    t->share = share;
    t->refs = mmap(NULL, LIMIT_TABLE_CELLS * sizeof(t->refs[0]), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    BUG_ON(t->refs == MAP_FAILED);
    return t;
}

int limit_table_map(struct limit_table **ret, int fd, unsigned share, struct err *e)
{
    struct stat st;

    BUG_ON(share > LIMIT_TABLE_OBSERVER);
    if (fstat(fd, &st) < 0)
        return err_set(e, -errno, "cannot look at the limit table");
    /* without the seal somebody could cut it under our feet */
    int seals = fcntl(fd, F_GET_SEALS);
    if (st.st_size != (off_t)sizeof(struct limit_table_memory) || seals < 0 ||
        (seals & SEALS) != SEALS)
        return err_set(e, ERR_CORRUPT, "not a limit table");
    struct limit_table_memory *mem = map_memory(fd);
    if (mem == MAP_FAILED)
        return err_set(e, -errno, "cannot map the limit table");
    if (!is_table(&mem->head)) {
        munmap(mem, sizeof(*mem));
        return err_set(e, ERR_CORRUPT, "not a limit table of this version");
    }
    *ret = table_new(mem, share);
    if (share < LIMIT_TABLE_OBSERVER)
        limit_table_forget(*ret, share);
    return 0;
}

struct limit_table *limit_table_new_private(void)
{
    struct limit_table_memory *mem = map_memory(-1);

    BUG_ON(mem == MAP_FAILED);
    BUG_ON(fill_head(&mem->head) < 0);
    return table_new(mem, 0);
}

void limit_table_free(struct limit_table *t)
{
    if (!t)
        return;
    if (t->share < LIMIT_TABLE_OBSERVER)
        limit_table_forget(t, t->share);
    munmap(t->refs, LIMIT_TABLE_CELLS * sizeof(t->refs[0]));
    munmap(t->mem, sizeof(*t->mem));
    free(t);
}

void limit_table_expect(struct limit_table *t, unsigned share)
{
    atomic_fetch_or(&t->mem->head.expected, UINT32_C(1) << share);
}

void limit_table_brought(struct limit_table *t)
{
    if (t->share < LIMIT_TABLE_OBSERVER)
        atomic_fetch_or(&t->mem->head.brought, UINT32_C(1) << t->share);
}

bool limit_table_is_complete(const struct limit_table *t)
{
    return !(atomic_load(&t->mem->head.expected) & ~atomic_load(&t->mem->head.brought));
}

void limit_table_forget(struct limit_table *t, unsigned share)
{
    uint32_t made = atomic_load(&t->mem->head.made);

    BUG_ON(share >= LIMIT_TABLE_PROCESSES);
    for (uint32_t i = 0; i < made; i++) {
        struct limit_cell *c = &t->mem->cells[i];
        if (atomic_load_explicit(&c->connections[share], memory_order_relaxed))
            atomic_store(&c->connections[share], 0);
        if (atomic_load_explicit(&c->holders, memory_order_relaxed) & (1u << share))
            atomic_fetch_and(&c->holders, ~(1u << share));
    }
}

/* --- the lock --- */

static uint32_t *chain_of(struct limit_table_memory *m, uint64_t hash)
{
    return &m->chains[hash % LIMIT_TABLE_CELLS];
}

static void link_in(struct limit_table_memory *m, uint32_t i)
{
    uint32_t *chain = chain_of(m, m->cells[i].hash);
    m->cells[i].next = *chain;
    *chain = i + 1;
}

static void give_to_free_list(struct limit_table_memory *m, uint32_t i)
{
    m->cells[i].next = m->head.free_head;
    m->head.free_head = i + 1;
}

/* A process died in the middle of a change: chains and free list are made anew. */
static void rebuild(struct limit_table_memory *m)
{
    uint32_t made = atomic_load(&m->head.made);

    memset(m->chains, 0, sizeof(m->chains));
    m->head.free_head = 0;
    for (uint32_t i = 0; i < made; i++) {
        if (atomic_load(&m->cells[i].in_use))
            link_in(m, i);
        else
            give_to_free_list(m, i);
    }
}

static void lock(struct limit_table_memory *m)
{
    int r = pthread_mutex_lock(&m->head.lock);
    if (r == EOWNERDEAD) {
        rebuild(m);
        r = pthread_mutex_consistent(&m->head.lock);
    }
    BUG_ON(r);
}

static void unlock(struct limit_table_memory *m)
{
    BUG_ON(pthread_mutex_unlock(&m->head.lock));
}

/* --- cells: all with the lock held --- */

static bool is_wanted(const struct limit_cell *c, int64_t now_us)
{
    return atomic_load(&c->holders) || limit_cell_level_us(c) > now_us ||
           limit_cell_connections(c) > 0;
}

static void take_out(struct limit_table_memory *m, uint32_t i)
{
    struct limit_cell *c = &m->cells[i];

    atomic_store(&c->in_use, 0);
    uint32_t *at = chain_of(m, c->hash);
    while (*at && *at != i + 1)
        at = &m->cells[*at - 1].next;
    BUG_ON(!*at);
    *at = c->next;
    give_to_free_list(m, i);
}

/* Looks at `count` cells from the hand on, and takes back those that mean nothing any more. */
static void take_back(struct limit_table_memory *m, uint32_t count, int64_t now_us)
{
    uint32_t made = atomic_load(&m->head.made);

    for (uint32_t n = MIN_OF(count, made); n; n--) {
        uint32_t i = m->head.hand < made ? m->head.hand : 0;
        m->head.hand = i + 1;
        if (atomic_load(&m->cells[i].in_use) && !is_wanted(&m->cells[i], now_us))
            take_out(m, i);
    }
}

/* A cell that nobody uses, out of all lists; NULL when there is none. */
static struct limit_cell *take_free(struct limit_table_memory *m)
{
    int64_t now_us = clock_wall_us();
    uint32_t made = atomic_load(&m->head.made);

    if (!m->head.free_head)
        take_back(m, LOOKED_AT, now_us);
    if (!m->head.free_head && made == LIMIT_TABLE_CELLS) {
        /* a clock set back must not stop the search for longer than a rest */
        if (now_us < m->head.full_until_us && m->head.full_until_us - now_us <= FULL_REST_US)
            return NULL;
        take_back(m, made, now_us);
        m->head.full_until_us = m->head.free_head ? 0 : now_us + FULL_REST_US;
    }
    if (m->head.free_head) {
        struct limit_cell *c = &m->cells[m->head.free_head - 1];
        m->head.free_head = c->next;
        return c;
    }
    if (made == LIMIT_TABLE_CELLS)
        return NULL;
    atomic_store(&m->head.made, made + 1);
    return &m->cells[made];
}

/* Names that do not fit stand for themselves by 256 bits of hash. */
static struct strview short_name(const struct limit_table_head *head, struct strview name,
                                 char *space)
{
    if (name.len <= LIMIT_NAME_MAX)
        return name;
    memset(space, '#', LIMIT_NAME_MAX);
    for (uint64_t i = 0; i < 2; i++) {
        XXH128_hash_t h = XXH3_128bits_withSeed(name.ptr, name.len, head->seed + i);
        memcpy(space + 16 * i, &h, sizeof(h));
    }
    return sv(space, LIMIT_NAME_MAX);
}

static struct limit_cell *find(struct limit_table_memory *m, uint64_t hash, struct strview name)
{
    for (uint32_t at = *chain_of(m, hash); at; at = m->cells[at - 1].next) {
        struct limit_cell *c = &m->cells[at - 1];
        if (c->hash == hash && sv_eq(sv(c->name, c->name_len), name))
            return c;
    }
    return NULL;
}

static struct limit_cell *make(struct limit_table_memory *m, uint64_t hash, struct strview name)
{
    struct limit_cell *c = take_free(m);

    if (!c)
        return NULL;
    atomic_store(&c->level, 0);
    atomic_store(&c->charged_us, 0);
    atomic_store(&c->holders, 0);
    for (size_t i = 0; i < LIMIT_TABLE_PROCESSES; i++)
        atomic_store_explicit(&c->connections[i], 0, memory_order_relaxed);
    c->hash = hash;
    c->name_len = (uint32_t)name.len;
    memcpy(c->name, name.ptr, name.len);
    atomic_store(&c->wanted, 0);
    atomic_store(&c->in_use, 1);
    link_in(m, (uint32_t)(c - m->cells));
    return c;
}

struct limit_cell *limit_cell_get(struct limit_table *t, struct strview name)
{
    struct limit_table_memory *m = t->mem;
    char space[LIMIT_NAME_MAX];

    BUG_ON(t->share >= LIMIT_TABLE_OBSERVER);
    name = short_name(&m->head, name, space);
    uint64_t hash = XXH3_64bits_withSeed(name.ptr, name.len, m->head.seed);
    lock(m);
    struct limit_cell *c = find(m, hash, name);
    if (!c)
        c = make(m, hash, name);
    if (c) {
        atomic_fetch_or(&c->holders, 1u << t->share);
        t->refs[c - m->cells]++;
    }
    unlock(m);
    return c;
}

void limit_cell_put(struct limit_table *t, struct limit_cell *c)
{
    uint32_t *refs = &t->refs[c - t->mem->cells];

    BUG_ON(!*refs);
    if (--*refs == 0)
        atomic_fetch_and(&c->holders, ~(1u << t->share));
}
