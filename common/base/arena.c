/*
 * Chunked bump allocation; see arena.h. Chunks grow from 1 KiB to 64 KiB; a larger request gets a
 * chunk of its own.
 */
#include "base/arena.h"

struct arena_chunk {
    struct arena_chunk *next;
    size_t size;
    size_t used;
    _Alignas(16) char mem[];
};

enum { FIRST_CHUNK = 1024, LARGEST_CHUNK = 65536 };

static struct arena_chunk *chunk_new(struct arena *a, size_t need)
{
    size_t size = a->chunks ? MIN_OF(a->chunks->size * 2, (size_t)LARGEST_CHUNK) : FIRST_CHUNK;
    if (size < need)
        size = need;
    struct arena_chunk *c = xmalloc(sizeof(*c) + size);
    c->size = size;
    c->used = 0;
    c->next = a->chunks;
    a->chunks = c;
    return c;
}

void *arena_alloc(struct arena *a, size_t size)
{
    size_t need = (size + 15) & ~(size_t)15;
    struct arena_chunk *c = a->chunks;

    if (!c || c->size - c->used < need)
        c = chunk_new(a, need);
    void *p = c->mem + c->used;
    c->used += need;
    a->used_bytes += size;
    memset(p, 0, need);
    return p;
}

char *arena_strndup(struct arena *a, const char *s, size_t len)
{
    char *p = arena_alloc(a, len + 1);
    if (len)
        memcpy(p, s, len);
    return p;
}

char *arena_strdup(struct arena *a, const char *s)
{
    return arena_strndup(a, s, strlen(s));
}

struct strview arena_sv(struct arena *a, struct strview s)
{
    return sv(arena_strndup(a, s.ptr, s.len), s.len);
}

static void free_chunks(struct arena_chunk *c)
{
    while (c) {
        struct arena_chunk *next = c->next;
        free(c);
        c = next;
    }
}

void arena_free(struct arena *a)
{
    free_chunks(a->chunks);
    *a = (struct arena){0};
}

void arena_reset(struct arena *a)
{
    if (a->chunks) {
        free_chunks(a->chunks->next);
        a->chunks->next = NULL;
        a->chunks->used = 0;
    }
    a->used_bytes = 0;
}
