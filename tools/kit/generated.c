/*
 * The end of a documentation generator; see generated.h.
 */
#include "kit/generated.h"

#include <stdio.h>

static int check(const char *path, const struct buf *wanted, const char *generator)
{
    struct buf have = {0};
    FILE *f = fopen(path, "re");
    size_t n;

    if (!f) {
        perror(path);
        return 1;
    }
    while ((n = fread(buf_reserve(&have, 4096), 1, 4096, f)) > 0)
        buf_advance(&have, n);
    fclose(f);
    bool same = sv_eq(buf_view(&have), buf_view(wanted));
    if (!same)
        fprintf(stderr, "%s does not agree with the rows: write it again with %s\n", path,
                generator);
    buf_free(&have);
    return !same;
}

int generated_finish(const struct buf *page, const char *check_path, const char *generator)
{
    if (check_path)
        return check(check_path, page, generator);
    fputs(buf_data(page), stdout);
    return 0;
}
