/*
 * See org_domain.h. The list is the one built into libpsl: no file is read, no network asked.
 */
#include "check/org_domain.h"

#include <libpsl.h>

struct strview org_domain(struct arena *a, struct strview domain)
{
    char *name = arena_strndup(a, domain.ptr, domain.len);

    str_lower(name, domain.len);
    const char *found = psl_registrable_domain(psl_builtin(), name);
    return sv_of(found ? found : name);
}

bool org_domain_aligned(struct arena *a, struct strview one, struct strview other, bool strict)
{
    if (sv_eq_nocase(one, other))
        return one.len != 0;
    return !strict && one.len && other.len && sv_eq(org_domain(a, one), org_domain(a, other));
}
