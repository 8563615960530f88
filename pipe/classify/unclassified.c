/*
 * Unclassified replies; see unclassified.h. report.c adds, the admin verb `show unclassified` reads.
 * A text is cut into words at blanks, brackets and quotes; each word is judged by its characters
 * alone. Groups lie in an array of fixed size that is searched by hash; a flood of texts that are
 * all different costs one pass over it each, some microseconds.
 */
#include "classify/unclassified.h"

#include "base/hash.h"
#include "base/util.h"

#include <stdlib.h>
#include <string.h>

struct unclassified {
    struct unclassified_group *groups;
    uint64_t *hashes; /* hashes[i] of groups[i].text */
    size_t count;
    uint64_t forgotten;
    const struct unclassified_group *sorted[UNCLASSIFIED_GROUPS];
    bool is_sorted;
};

struct unclassified *unclassified_new(void)
{
    return xcalloc(1, sizeof(struct unclassified));
}

void unclassified_free(struct unclassified *u)
{
    if (!u)
        return;
    free(u->groups);
    free(u->hashes);
    free(u);
}

/* --- taking out what varies --- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    c = ascii_lower(c);
    return c >= 'a' && c <= 'z';
}

static bool separates(char c)
{
    return (unsigned char)c <= ' ' || memchr("<>()[]{}\"',;|", c, 13);
}

/* "5.1.1", also with a # in front. */
static bool is_status(struct strview w)
{
    unsigned parts = 0, digits = 0;

    if (w.len && w.ptr[0] == '#')
        w = sv(w.ptr + 1, w.len - 1);
    if (!w.len || !(w.ptr[0] == '2' || w.ptr[0] == '4' || w.ptr[0] == '5'))
        return false;
    for (size_t i = 0; i <= w.len; i++) {
        if (i < w.len && is_digit(w.ptr[i])) {
            digits++;
            continue;
        }
        if ((i < w.len && w.ptr[i] != '.') || digits == 0 || digits > 3)
            return false;
        parts++;
        digits = 0;
    }
    return parts == 3;
}

struct makeup {
    unsigned digits, letters, dots, colons, ats, others;
    bool hex; /* nothing but hexadecimal digits besides dots and colons */
};

static struct makeup makeup_of(struct strview w)
{
    struct makeup m = {.hex = true};

    for (size_t i = 0; i < w.len; i++) {
        char c = w.ptr[i];
        if (is_digit(c))
            m.digits++;
        else if (is_letter(c))
            m.letters++;
        else if (c == '.')
            m.dots++;
        else if (c == ':')
            m.colons++;
        else if (c == '@')
            m.ats++;
        else
            m.others++;
        if (is_letter(c) && ascii_lower(c) > 'f')
            m.hex = false;
    }
    return m;
}

/* What stands for the word, or NULL when it is a word of the sentence. */
static const char *stands_for(struct strview w)
{
    struct makeup m = makeup_of(w);

    if (sv_starts_nocase(w, SV("http:")) || sv_starts_nocase(w, SV("https:")))
        return "{url}";
    if (m.ats)
        return "{address}";
    if (is_status(w))
        return NULL;
    if (m.digits && !m.letters && m.dots == 3 && !m.others)
        return "{ip}";
    if (m.colons >= 2 && m.hex && !m.others && (m.digits || m.letters))
        return "{ip}";
    if (m.digits && !m.letters)
        return "{number}";
    if (m.digits)
        return m.dots ? "{host}" : "{id}";
    if (m.dots && m.letters && w.ptr[0] != '.')
        return "{host}";
    return m.letters > 24 ? "{id}" : NULL;
}

static void put(char *out, size_t size, size_t *at, const char *text, size_t len)
{
    len = MIN_OF(len, size - 1 - *at);
    memcpy(out + *at, text, len);
    *at += len;
}

static void put_word(char *out, size_t size, size_t *at, struct strview w)
{
    size_t tail = 0; /* punctuation that ends a sentence is none of the word's */

    while (tail < w.len && memchr(".:!?", w.ptr[w.len - 1 - tail], 4))
        tail++;
    struct strview core = sv(w.ptr, w.len - tail);
    const char *instead = core.len ? stands_for(core) : NULL;
    if (instead)
        put(out, size, at, instead, strlen(instead));
    else if (core.len)
        put(out, size, at, core.ptr, core.len);
    if (tail)
        put(out, size, at, w.ptr + core.len, tail);
}

void unclassified_normalise(struct strview text, char *out, size_t size)
{
    size_t at = 0, i = 0;

    if (text.len >= 3 && is_digit(text.ptr[0]) && is_digit(text.ptr[1]) && is_digit(text.ptr[2])) {
        put(out, size, &at, text.ptr, 3); /* the reply code */
        i = 3;
    }
    while (i < text.len && at < size - 1) {
        size_t end = i;
        while (end < text.len && !separates(text.ptr[end]))
            end++;
        put_word(out, size, &at, sv(text.ptr + i, end - i));
        if (end < text.len) {
            char c = (unsigned char)text.ptr[end] < ' ' ? ' ' : text.ptr[end];
            if (c != ' ' || !at || out[at - 1] != ' ')
                put(out, size, &at, &c, 1);
            end++;
        }
        i = end;
    }
    out[at] = '\0';
}

/* --- groups --- */

static struct unclassified_group *find(struct unclassified *u, uint64_t hash, const char *text)
{
    for (size_t i = 0; i < u->count; i++)
        if (u->hashes[i] == hash && strcmp(u->groups[i].text, text) == 0)
            return &u->groups[i];
    return NULL;
}

/* A free place, or that of the group that was seen longest ago. */
static size_t make_room(struct unclassified *u)
{
    size_t oldest = 0;

    if (!u->groups) {
        u->groups = xcalloc(UNCLASSIFIED_GROUPS, sizeof(*u->groups));
        u->hashes = xcalloc(UNCLASSIFIED_GROUPS, sizeof(*u->hashes));
    }
    if (u->count < UNCLASSIFIED_GROUPS)
        return u->count++;
    for (size_t i = 1; i < u->count; i++)
        if (u->groups[i].last_ms < u->groups[oldest].last_ms)
            oldest = i;
    u->forgotten += u->groups[oldest].count;
    return oldest;
}

static void keep_text(char *out, size_t size, struct strview text)
{
    size_t n = MIN_OF(text.len, size - 1);

    if (n)
        memcpy(out, text.ptr, n);
    out[n] = '\0';
}

void unclassified_add(struct unclassified *u, const struct outcome *o, int64_t wall_ms)
{
    char text[UNCLASSIFIED_TEXT + 1];

    unclassified_normalise(o->text, text, sizeof(text));
    uint64_t hash = hash_bytes(text, strlen(text));
    struct unclassified_group *g = find(u, hash, text);
    if (!g) {
        size_t i = make_room(u);
        g = &u->groups[i];
        u->hashes[i] = hash;
        *g = (struct unclassified_group){.first_ms = wall_ms};
        memcpy(g->text, text, sizeof(text));
    }
    keep_text(g->sample, sizeof(g->sample), o->text);
    keep_text(g->host, sizeof(g->host), o->peer_host.len ? o->peer_host : o->peer_ip);
    g->phase = o->phase;
    g->last_ms = wall_ms;
    g->count++;
    u->is_sorted = false;
}

static int by_count(const void *a, const void *b)
{
    const struct unclassified_group *x = *(const struct unclassified_group *const *)a;
    const struct unclassified_group *y = *(const struct unclassified_group *const *)b;

    if (x->count != y->count)
        return x->count < y->count ? 1 : -1;
    return (x->last_ms < y->last_ms) - (x->last_ms > y->last_ms);
}

const struct unclassified_group *unclassified_get(struct unclassified *u, size_t i)
{
    if (!u->is_sorted) {
        for (size_t k = 0; k < u->count; k++)
            u->sorted[k] = &u->groups[k];
        qsort(u->sorted, u->count, sizeof(u->sorted[0]), by_count);
        u->is_sorted = true;
    }
    return i < u->count ? u->sorted[i] : NULL;
}

size_t unclassified_count(const struct unclassified *u)
{
    return u->count;
}

uint64_t unclassified_forgotten(const struct unclassified *u)
{
    return u->forgotten;
}
