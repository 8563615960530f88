/*
 * Counted places; see slots.h.
 */
#include "limit/slots.h"

bool slots_take(struct slots *const *set, size_t count, const struct slots **ret_full)
{
    for (size_t i = 0; i < count; i++) {
        if (set[i] && set[i]->max && set[i]->used >= set[i]->max) {
            if (ret_full)
                *ret_full = set[i];
            return false;
        }
    }
    for (size_t i = 0; i < count; i++)
        if (set[i])
            set[i]->used++;
    return true;
}

void slots_give_back(struct slots *const *set, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!set[i])
            continue;
        BUG_ON(set[i]->used == 0);
        set[i]->used--;
    }
}
