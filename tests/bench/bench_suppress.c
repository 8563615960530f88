/*
 * The suppression list with ten million entries (or as many as the argument says): a log is written,
 * read as pmta-suppress does at its start, and looked up in as receivers and pipes do. Prints memory,
 * disk, time of the load, and nanoseconds per look-up: warm (random addresses, one after the other,
 * hits and misses) and cold (the caches are washed before each).
 */
#include "format.h"
#include "store.h"

#include "base/clock.h"
#include "suppress/table.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { SEGMENT_RECORDS = 700000, WARM = 2000000, COLD = 1000, WASH_BYTES = 64 * 1024 * 1024 };

static const char secret[] = "a secret of the benchmark, with more than 32 bytes";
static struct suppress_key key;

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static struct strview address(uint64_t i, char *out)
{
    static const char *const domains[] = {"gmail.com", "yahoo.com", "outlook.com", "web.de",
                                          "customers.example.org"};
    uint64_t mixed = i * UINT64_C(0x9e3779b97f4a7c15);
    int n = sprintf(out, "user.%llx@%s", (unsigned long long)mixed >> 20,
                    domains[mixed % ARRAY_LEN(domains)]);
    return sv(out, (size_t)n);
}

static void write_file(int dirfd, uint32_t number, struct strview bytes)
{
    char name[SEGMENT_NAME_SIZE];
    int fd = openat(dirfd, segment_file_name(number, name), O_WRONLY | O_CREAT | O_TRUNC, 0600);

    while (fd >= 0 && bytes.len) {
        ssize_t n = write(fd, bytes.ptr, bytes.len);
        if (n <= 0) {
            perror("write");
            exit(1);
        }
        bytes = sv(bytes.ptr + n, bytes.len - (size_t)n);
    }
    if (fd < 0 || close(fd) < 0) {
        perror(name);
        exit(1);
    }
}

static void write_log(int dirfd, uint64_t entries)
{
    struct buf out = {0};
    char header[FORMAT_HEADER_BYTES], text[100];

    for (uint64_t i = 0, number = 0; i < entries;) {
        struct segment_header h = {.number = (uint32_t)++number,
                                   .tag = 7,
                                   .key_id = suppress_hash_address(&key, SV("\0id")).a};
        segment_header_encode(&h, header);
        buf_reset(&out);
        buf_append(&out, header, sizeof(header));
        for (unsigned n = 0; n < SEGMENT_RECORDS && i < entries; n++, i++) {
            struct record r = {.kind = RECORD_ADD,
                               .reason = SUPPRESS_BY_UNSUBSCRIBE,
                               .made_s = 1700000000,
                               .address = address(i, text)};
            record_encode(&out, &r, h.tag);
        }
        write_file(dirfd, h.number, buf_view(&out));
    }
    buf_free(&out);
}

static uint64_t status_kb(const char *name)
{
    FILE *f = fopen("/proc/self/status", "re");
    char line[200];
    uint64_t kb = 0;

    while (f && fgets(line, sizeof(line), f))
        if (strncmp(line, name, strlen(name)) == 0)
            kb = strtoull(line + strlen(name), NULL, 10);
    if (f)
        fclose(f);
    return kb;
}

/* --- look-ups --- */

static const struct suppress_table *map(const struct store *s)
{
    struct suppress_table *t;
    struct err e;

    if (suppress_table_map(&t, store_table(s)->fd, SUPPRESS_TABLE_BYTES, &e) < 0) {
        fprintf(stderr, "%s\n", e.text);
        exit(1);
    }
    return t;
}

static void check(bool found, bool wanted)
{
    if (found != wanted) {
        fprintf(stderr, "a look-up gave a wrong answer\n");
        exit(1);
    }
}

static void warm(const struct suppress_table *t, uint64_t entries, bool hits)
{
    enum { AHEAD = 1000 };
    static char texts[AHEAD][100];
    struct strview addresses[AHEAD];
    struct suppress_scopes scopes = {0};
    struct suppress_hit hit;
    double spent = 0;
    uint64_t x = 88172645463325252u;

    suppress_scopes_add(&scopes, t, SUPPRESS_GLOBAL, sv("", 0));
    for (unsigned done = 0; done < WARM; done += AHEAD) {
        for (unsigned i = 0; i < AHEAD; i++) {
            x ^= x << 13, x ^= x >> 7, x ^= x << 17;
            addresses[i] = address(hits ? x % entries : entries + x % (1u << 30), texts[i]);
        }
        double began = now_s();
        for (unsigned i = 0; i < AHEAD; i++)
            check(suppress_table_find(t, &scopes, addresses[i], 1700000001000, &hit), hits);
        spent += now_s() - began;
    }
    printf("look-up, %s, warm: %.0f ns\n", hits ? "hit " : "miss", spent / WARM * 1e9);
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void cold(const struct suppress_table *t, uint64_t entries, bool hits)
{
    struct suppress_scopes scopes = {0};
    struct suppress_hit hit;
    static double took[COLD];
    char *wash = xmalloc(WASH_BYTES), text[100];
    uint64_t x = 88172645463325252u;

    suppress_scopes_add(&scopes, t, SUPPRESS_GLOBAL, sv("", 0));
    for (unsigned i = 0; i < COLD; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        struct strview a = address(hits ? x % entries : entries + x % (1u << 30), text);
        memset(wash, (int)i, WASH_BYTES);
        __asm__ volatile("" : : "r"(wash) : "memory");
        double began = now_s();
        check(suppress_table_find(t, &scopes, a, 1700000001000, &hit), hits);
        took[i] = now_s() - began;
    }
    qsort(took, COLD, sizeof(took[0]), by_size);
    printf("look-up, %s, cold: %.0f ns (median; caches washed before each), 90%% below %.0f ns\n",
           hits ? "hit " : "miss", took[COLD / 2] * 1e9, took[COLD * 9 / 10] * 1e9);
    free(wash);
}

/* --- the run --- */

static struct store *store;
static double cpu_before_s;
static uint64_t entries = 10000000;
static int status = 1;

static void on_closed(void *arg)
{
    (void)arg;
    store_free(store);
}

static void on_loaded(void *arg, const struct err *e)
{
    struct store_stats s;

    (void)arg;
    if (e) {
        fprintf(stderr, "%s\n", e->text);
        exit(1);
    }
    store_stats(store, &s);
    if (table_count(store_table(store)) != entries) {
        fprintf(stderr, "%llu entries were loaded\n",
                (unsigned long long)table_count(store_table(store)));
        exit(1);
    }
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    double cpu = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
                 (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6 - cpu_before_s;
    printf("load: %.2f s, of it %.2f s of processor time\n", (double)s.load_ms / 1e3, cpu);
    printf("table: %.0f MiB, %.1f bytes per entry\n", (double)s.table_bytes / 1048576,
           (double)s.table_bytes / (double)entries);
    printf("disk: %.0f MiB, %.1f bytes per entry\n", (double)s.log_bytes / 1048576,
           (double)s.log_bytes / (double)entries);
    printf("process: %.0f MiB resident, of it %.0f MiB shared memory; highest %.0f MiB\n",
           (double)status_kb("VmRSS:") / 1024, (double)status_kb("RssShmem:") / 1024,
           (double)status_kb("VmHWM:") / 1024);
    const struct suppress_table *t = map(store);
    warm(t, entries, true);
    warm(t, entries, false);
    cold(t, entries, true);
    cold(t, entries, false);
    status = status_kb("VmHWM:") < 1024 * 1024 ? 0 : 1;
    store_close(store, on_closed, NULL);
}

int main(int argc, char **argv)
{
    char path[] = "/var/tmp/pmta-bench-suppress-XXXXXX";
    struct err e;

    if (argc > 1)
        entries = strtoull(argv[1], NULL, 10);
    if (!mkdtemp(path) || !entries)
        return 2;
    int dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dirfd < 0 || suppress_key_derive(sv(secret, sizeof(secret) - 1), &key, &e) < 0)
        return 2;
    printf("%llu entries\n", (unsigned long long)entries);
    write_log(dirfd, entries);
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    cpu_before_s = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
                   (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
    store = store_new(uv_default_loop(), dup(dirfd), &key);
    store_load(store, on_loaded, NULL);
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    uv_loop_close(uv_default_loop());
    for (uint32_t n = 1;; n++) {
        char name[SEGMENT_NAME_SIZE];
        if (unlinkat(dirfd, segment_file_name(n, name), 0) < 0)
            break;
    }
    close(dirfd);
    rmdir(path);
    return status;
}
