/*
 * The prefilter; see prefilter.h. The last four bytes of each literal are its gram. A window of four
 * bytes moves over the text and looks itself up in a small hash table, which stays in the first
 * level cache; where a gram is found, the whole literal is compared. Rules without a literal of four
 * bytes may always match.
 */
#include "rules/prefilter.h"

enum { GRAM = 4, TABLE_BITS = 11, TABLE_SIZE = 1 << TABLE_BITS };

struct entry {
    uint32_t gram;
    uint32_t rule;
    uint32_t next; /* index + 1 of another entry in this slot; 0: none */
    struct literal literal;
};

struct prefilter {
    uint32_t heads[TABLE_SIZE]; /* index + 1; 0: none */
    struct entry *entries;
    uint32_t entry_count, entry_cap;
    uint32_t rule_count;
    uint64_t *always;
    size_t word_cap;
};

static uint32_t slot(uint32_t gram)
{
    return gram * 0x9e3779b1u >> (32 - TABLE_BITS);
}

struct prefilter *prefilter_new(void)
{
    return xcalloc(1, sizeof(struct prefilter));
}

void prefilter_free(struct prefilter *f)
{
    if (!f)
        return;
    free(f->entries);
    free(f->always);
    free(f);
}

size_t prefilter_words(const struct prefilter *f)
{
    return (f->rule_count + 63) / 64;
}

unsigned prefilter_unfiltered(const struct prefilter *f)
{
    unsigned n = 0;

    for (size_t i = 0; i < prefilter_words(f); i++)
        n += (unsigned)__builtin_popcountll(f->always[i]);
    return n;
}

static uint32_t gram_before(const char *end)
{
    uint32_t gram = 0;

    for (int i = -GRAM; i < 0; i++)
        gram = gram << 8 | (unsigned char)end[i];
    return gram;
}

static void add_entry(struct prefilter *f, const struct literal *l, uint32_t rule)
{
    if (f->entry_count == f->entry_cap) {
        f->entry_cap = f->entry_cap ? f->entry_cap * 2 : 64;
        f->entries = xrealloc(f->entries, f->entry_cap * sizeof(*f->entries));
    }
    struct entry *e = &f->entries[f->entry_count++];
    *e = (struct entry){gram_before(l->text + l->len), rule, 0, *l};
    uint32_t *head = &f->heads[slot(e->gram)];
    e->next = *head;
    *head = f->entry_count;
}

void prefilter_add(struct prefilter *f, const struct literals *l)
{
    uint32_t rule = f->rule_count++;

    if (prefilter_words(f) > f->word_cap) {
        f->always = xrealloc(f->always, (f->word_cap + 1) * sizeof(uint64_t));
        f->always[f->word_cap++] = 0;
    }
    if (literals_shortest(l) < GRAM) {
        f->always[rule / 64] |= (uint64_t)1 << rule % 64;
        return;
    }
    for (unsigned i = 0; i < l->count; i++)
        add_entry(f, &l->items[i], rule);
}

void prefilter_scan(const struct prefilter *f, struct strview lower, uint64_t *ret)
{
    uint32_t gram = 0;

    if (f->rule_count)
        memcpy(ret, f->always, prefilter_words(f) * sizeof(uint64_t));
    for (size_t i = 0; i < lower.len; i++) {
        gram = gram << 8 | (unsigned char)lower.ptr[i];
        if (i + 1 < GRAM)
            continue;
        for (uint32_t at = f->heads[slot(gram)]; at; at = f->entries[at - 1].next) {
            const struct entry *e = &f->entries[at - 1];
            size_t len = e->literal.len;
            if (e->gram == gram && len <= i + 1 &&
                memcmp(e->literal.text, lower.ptr + i + 1 - len, len) == 0)
                ret[e->rule / 64] |= (uint64_t)1 << e->rule % 64;
        }
    }
}
