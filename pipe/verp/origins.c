/*
 * Origins; see origins.h. Called by verp.c for each message sent with a bounce address, and for each
 * report that comes back. Happy path: the three texts are known and were used today already, which is
 * one look at a hash table.
 *
 * Memory: one block per origin with its texts, in two tables and a list in the order of last use.
 */
#include "verp/origins.h"

#include "base/hash.h"
#include "base/list.h"

#include <sodium.h>

enum { TEXT_MAX = 700 }; /* of the three together */

struct known {
    struct hash_node by_number;
    struct hash_node by_text;
    struct list used; /* origins->by_use: the longest unused first */
    uint32_t number;
    uint16_t day; /* of the last use */
    uint16_t len;
    uint16_t vmta_at, sender_at; /* in text */
    char text[];                 /* "job\tvmta\tsender" */
};

struct origins {
    struct hash numbers, texts;
    struct list by_use;
    void (*changed)(void *arg);
    void *arg;
};

static bool match_number(const struct hash_node *n, const void *key)
{
    return container_of(n, const struct known, by_number)->number == *(const uint32_t *)key;
}

static bool match_text(const struct hash_node *n, const void *key)
{
    const struct known *k = container_of(n, const struct known, by_text);
    return sv_eq(sv(k->text, k->len), *(const struct strview *)key);
}

struct origins *origins_new(void (*changed)(void *arg), void *arg)
{
    struct origins *o = xcalloc(1, sizeof(*o));

    hash_init(&o->numbers, match_number);
    hash_init(&o->texts, match_text);
    list_init(&o->by_use);
    o->changed = changed;
    o->arg = arg;
    return o;
}

static void drop(struct origins *o, struct known *k)
{
    hash_remove(&o->numbers, &k->by_number);
    hash_remove(&o->texts, &k->by_text);
    list_remove(&k->used);
    free(k);
}

void origins_free(struct origins *o)
{
    if (!o)
        return;
    for (struct list *l; (l = list_first(&o->by_use));)
        drop(o, list_entry(l, struct known, used));
    hash_fini(&o->numbers);
    hash_fini(&o->texts);
    free(o);
}

static void tell(const struct origins *o)
{
    if (o->changed)
        o->changed(o->arg);
}

static struct known *find_number(const struct origins *o, uint32_t number)
{
    struct hash_node *n = hash_find(&o->numbers, hash_u64(number), &number);
    return n ? container_of(n, struct known, by_number) : NULL;
}

/* "job\tvmta\tsender" in place; 0 when it does not fit, or has what would break a line. */
static size_t join(const struct origin *what, char *to)
{
    const struct strview parts[] = {what->job, what->vmta, what->sender};
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        if (n + parts[i].len + 1 > TEXT_MAX)
            return 0;
        for (size_t j = 0; j < parts[i].len; j++) {
            if ((unsigned char)parts[i].ptr[j] < 0x20)
                return 0;
            to[n++] = parts[i].ptr[j];
        }
        if (i + 1 < ARRAY_LEN(parts))
            to[n++] = '\t';
    }
    return n;
}

/* The first number from that of the text on that no other origin has. */
static uint32_t free_number(const struct origins *o, struct strview text)
{
    uint8_t h[crypto_generichash_BYTES_MIN];
    uint32_t n;

    crypto_generichash(h, sizeof(h), (const uint8_t *)text.ptr, text.len, NULL, 0);
    n = (uint32_t)h[0] << 24 | (uint32_t)h[1] << 16 | (uint32_t)h[2] << 8 | h[3];
    while (n == 0 || find_number(o, n))
        n++;
    return n;
}

static struct known *add(struct origins *o, struct strview text, uint32_t number, uint16_t day)
{
    struct known *k = xmalloc(sizeof(*k) + text.len);
    ptrdiff_t first = sv_find(text, '\t');
    ptrdiff_t second = sv_find(sv(text.ptr + first + 1, text.len - (size_t)first - 1), '\t');

    *k = (struct known){.number = number, .day = day, .len = (uint16_t)text.len};
    k->vmta_at = (uint16_t)(first + 1);
    k->sender_at = (uint16_t)(first + 1 + second + 1);
    memcpy(k->text, text.ptr, text.len);
    hash_insert(&o->numbers, &k->by_number, hash_u64(number));
    hash_insert(&o->texts, &k->by_text, hash_bytes(text.ptr, text.len));
    list_push_back(&o->by_use, &k->used);
    if (o->numbers.count > ORIGINS_MAX)
        drop(o, list_entry(list_first(&o->by_use), struct known, used));
    return k;
}

uint32_t origins_number(struct origins *o, const struct origin *what, uint16_t day)
{
    char joined[TEXT_MAX];
    struct strview text = sv(joined, join(what, joined));

    if (!text.len)
        return 0;
    struct hash_node *n = hash_find(&o->texts, hash_bytes(text.ptr, text.len), &text);
    struct known *k = n ? container_of(n, struct known, by_text) : NULL;
    if (k && k->day == day)
        return k->number;
    if (k) {
        k->day = day;
        list_remove(&k->used);
        list_push_back(&o->by_use, &k->used);
    } else {
        k = add(o, text, free_number(o, text), day);
    }
    tell(o);
    return k->number;
}

bool origins_find(const struct origins *o, uint32_t number, struct origin *ret)
{
    const struct known *k = number ? find_number(o, number) : NULL;

    if (!k)
        return false;
    ret->job = sv(k->text, (size_t)k->vmta_at - 1);
    ret->vmta = sv(k->text + k->vmta_at, (size_t)(k->sender_at - k->vmta_at - 1));
    ret->sender = sv(k->text + k->sender_at, (size_t)(k->len - k->sender_at));
    return true;
}

void origins_forget(struct origins *o, uint16_t before_day)
{
    bool any = false;

    for (struct list *l; (l = list_first(&o->by_use));) {
        struct known *k = list_entry(l, struct known, used);
        if (k->day >= before_day)
            break;
        drop(o, k);
        any = true;
    }
    if (any)
        tell(o);
}

size_t origins_count(const struct origins *o)
{
    return o->numbers.count;
}

/* --- text: "NUMBER DAY job\tvmta\tsender" --- */

void origins_write(const struct origins *o, struct buf *out)
{
    list_for_each (l, &o->by_use) {
        const struct known *k = list_entry(l, const struct known, used);
        buf_printf(out, "%u %u ", k->number, (unsigned)k->day);
        buf_append(out, k->text, k->len);
        buf_append_char(out, '\n');
    }
}

static bool is_joined(struct strview text)
{
    size_t tabs = 0;

    for (size_t i = 0; i < text.len; i++)
        tabs += text.ptr[i] == '\t';
    return tabs == 2 && text.len <= TEXT_MAX;
}

static void read_line(struct origins *o, struct strview line)
{
    struct strview number, day;
    uint64_t n, d;

    if (!sv_split(&line, ' ', &number) || !sv_split(&line, ' ', &day) || !line.ptr ||
        !sv_to_u64(number, &n) || !sv_to_u64(day, &d) || !n || n > UINT32_MAX ||
        d > UINT16_MAX || !is_joined(line) || find_number(o, (uint32_t)n) ||
        hash_find(&o->texts, hash_bytes(line.ptr, line.len), &line))
        return;
    add(o, line, (uint32_t)n, (uint16_t)d);
}

void origins_read(struct origins *o, struct strview text)
{
    struct strview line;

    while (sv_split(&text, '\n', &line))
        read_line(o, line);
}
