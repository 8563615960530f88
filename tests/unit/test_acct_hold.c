/*
 * Retention of finished accounting files waits for the event sinks that follow them.
 */
#include "unit.h"

#include "mail/acct_hold.h"
#include "report/finish.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { FILES = 4, BYTES = 1000 };

static char directory[64];

static void name_of(int i, char *out, size_t size)
{
    snprintf(out, size, "acct-bulk-2026-11-20-%04d.csv", i);
}

/* Files 0 to 3, ten days old, of which the last one is being written. */
static int make_files(void)
{
    struct timespec times[2];
    char name[64], text[BYTES] = {0};

    snprintf(directory, sizeof(directory), "/tmp/test-hold-XXXXXX");
    assert_non_null(mkdtemp(directory));
    int dir = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < FILES; i++) {
        name_of(i, name, sizeof(name));
        int fd = openat(dir, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        assert_int_equal(write(fd, text, BYTES), BYTES);
        clock_gettime(CLOCK_REALTIME, &times[0]);
        times[0].tv_sec -= 10 * 86400;
        times[1] = times[0];
        assert_int_equal(futimens(fd, times), 0);
        close(fd);
    }
    return dir;
}

static void test_retention(void **state)
{
    static const struct {
        const char *sinks; /* NULL: none */
        const char *held;  /* what sink a says; NULL: nothing yet */
        int64_t max_total_bytes;
        bool there[FILES];
        unsigned kept, forced;
    } rows[] = {
        {NULL, NULL, 0, {false, false, false, true}, 0, 0},
        {"a,", NULL, 0, {true, true, true, true}, 3, 0},
        {"a,", "acct-bulk-2026-11-20-0002", 0, {false, false, true, true}, 1, 0},
        {"a,b,", "acct-bulk-2026-11-20-0002", 0, {true, true, true, true}, 3, 0},
        {"a,", "acct-bulk-2026-11-20-0003", 0, {false, false, false, true}, 0, 0},
        {"a,", NULL, 2 * BYTES, {false, true, true, true}, 2, 1},
    };
    char name[64], command[96];
    struct stat st;
    struct err e;

    (void)state;
    for (size_t r = 0; r < ARRAY_LEN(rows); r++) {
        struct finish_job *job = xcalloc(1, sizeof(*job));
        *job = (struct finish_job){.dirfd = make_files(),
                                   .move_dirfd = -1,
                                   .prefix = "acct-bulk-",
                                   .suffix = ".csv",
                                   .delete_after_ms = 86400000,
                                   .max_total_bytes = rows[r].max_total_bytes,
                                   .sinks = rows[r].sinks ? xstrdup(rows[r].sinks) : NULL};
        name_of(FILES - 1, job->active, sizeof(job->active));
        if (rows[r].held)
            assert_int_equal(acct_hold_write(job->dirfd, "acct-bulk", "a", rows[r].held, &e), 0);
        assert_int_equal(finish_run(job, &e), 0);
        for (int i = 0; i < FILES; i++) {
            name_of(i, name, sizeof(name));
            assert_int_equal(fstatat(job->dirfd, name, &st, 0) == 0, rows[r].there[i]);
        }
        assert_int_equal(job->kept, rows[r].kept);
        assert_int_equal(job->forced, rows[r].forced);
        finish_job_free(job);
        snprintf(command, sizeof(command), "rm -r %s", directory);
        assert_int_equal(system(command), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_retention)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
