/*
 * weights: see weights.h. Parsed once from the command line, picked from once per message. Owns the
 * array of entries; the names belong to argv.
 */
#include "kit/weights.h"

static int parse_entry(struct strview part, struct weights *w, struct err *e)
{
    ptrdiff_t colon = sv_find(part, ':');
    uint64_t weight = 1;
    struct strview name = colon >= 0 ? sv(part.ptr, (size_t)colon) : part;
    if (colon >= 0 &&
        (!sv_to_u64(sv(part.ptr + colon + 1, part.len - (size_t)colon - 1), &weight) ||
         weight > 1000000))
        return err_set(e, ERR_SYNTAX, "weight of \"%.*s\" is not a number up to 1000000",
                       SV_ARG(name));
    if (name.len == 0)
        return err_set(e, ERR_SYNTAX, "expected NAME[:WEIGHT],…");
    if (w->count == WEIGHTS_MAX)
        return err_set(e, ERR_SYNTAX, "more than %d entries", WEIGHTS_MAX);
    w->total += weight;
    w->entries[w->count++] = (struct weights_entry){name, w->total};
    return 0;
}

int weights_parse(struct weights *w, const char *text, struct err *e)
{
    struct strview rest = sv_of(text), part;
    weights_fini(w);
    w->entries = xcalloc(WEIGHTS_MAX, sizeof(*w->entries));
    while (sv_split(&rest, ',', &part)) {
        int rc = parse_entry(sv_trim(part), w, e);
        if (rc < 0)
            return rc;
    }
    if (w->total == 0)
        return err_set(e, ERR_SYNTAX, "the weights add up to zero");
    return 0;
}

void weights_fini(struct weights *w)
{
    free(w->entries);
    memset(w, 0, sizeof(*w));
}

size_t weights_pick(const struct weights *w, struct rng *r)
{
    if (w->count == 1)
        return 0;
    uint64_t n = rng_below(r, w->total);
    size_t low = 0, high = w->count - 1;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (n < w->entries[mid].until)
            high = mid;
        else
            low = mid + 1;
    }
    return low;
}
