/*
 * bench_spool DIR [MESSAGES [OUTSTANDING [BYTES]]]: what a spool alone can do in a directory.
 * Appends messages with so many outstanding, journals each as delivered or (second part) leaves it
 * queued, and measures recovery of what is left.
 */
#include "spool/spool.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/clock.h"

enum { MAX_OUTSTANDING = 1000 };

struct bench {
    uv_loop_t loop;
    struct spool *spool;
    struct spool_append appends[MAX_OUTSTANDING];
    uint32_t total, started, finished, failed;
    bool deliver;
    uint32_t recovered;
    bool closed;
};

static struct bench bench;

static void recovered(void *owner, message_id id, const struct spool_place *place,
                      const struct envelope *env, const struct spool_recovered_rcpt *rcpts)
{
    struct bench *b = owner;
    (void)id;
    (void)place;
    (void)rcpts;
    b->recovered += env->rcpt_count;
}

static bool moved(void *owner, message_id id, const struct spool_place *to)
{
    (void)owner;
    (void)id;
    (void)to;
    return true;
}

static void health(void *owner, bool writable, const char *text)
{
    (void)owner;
    fprintf(stderr, "%s: %s\n", writable ? "writable" : "not writable", text);
}

static const struct spool_ops ops = {recovered, moved, NULL, health};

static void on_done(struct spool_append *a, int status)
{
    bench.finished++;
    bench.failed += status < 0;
    if (status == 0 && bench.deliver) {
        struct spool_event ev = {.id = a->id,
                                 .place = a->place,
                                 .state = SPOOL_DELIVERED,
                                 .attempts = 1,
                                 .code = 250,
                                 .text = SV("250 2.0.0 Ok: queued as 4Xk2Yl0Z3gz1")};
        spool_journal(bench.spool, &ev);
    }
    if (bench.started < bench.total) {
        bench.started++;
        spool_append(bench.spool, a);
    }
}

static void on_closed(void *arg)
{
    (void)arg;
    bench.closed = true;
}

static double now(void)
{
    return (double)uv_hrtime() / 1e9;
}

static double open_spool(const char *dir)
{
    struct err e;
    struct spool_options options = {.pipe = "bench"};
    double start = now();
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || spool_open(&bench.spool, &bench.loop, fd, &options, &ops, &bench, &e) < 0) {
        fprintf(stderr, "cannot open '%s': %s\n", dir, fd < 0 ? "no such directory" : e.text);
        exit(1);
    }
    return now() - start;
}

static void close_spool(void)
{
    bench.closed = false;
    spool_close(bench.spool, on_closed, NULL);
    while (!bench.closed)
        uv_run(&bench.loop, UV_RUN_ONCE);
}

static void run(const char *name, uint32_t outstanding)
{
    struct spool_stats st;
    bench.started = MIN_OF(outstanding, bench.total);
    bench.finished = bench.failed = 0;
    double start = now();
    for (uint32_t i = 0; i < bench.started; i++)
        spool_append(bench.spool, &bench.appends[i]);
    while (bench.finished < bench.total)
        uv_run(&bench.loop, UV_RUN_ONCE);
    double took = now() - start;
    spool_stats(bench.spool, &st);
    printf(
        "%s: %u messages in %.2f s, %.0f/s, %u refused, %.1f messages a commit, journal %.1f MiB\n",
        name, bench.total, took, bench.total / took, bench.failed,
        (double)st.appended / (double)MAX_OF(st.commits, (uint64_t)1),
        (double)st.journal_bytes / 1048576);
}

int main(int argc, char **argv)
{
    uint32_t outstanding = argc > 3 ? (uint32_t)atoi(argv[3]) : 50;
    size_t bytes = argc > 4 ? (size_t)atoi(argv[4]) : 4096;
    struct envelope_rcpt rcpt = {SV("recipient@example.com"), {NULL, 0}, 0};
    struct envelope env = {.received_ms = clock_wall_ms(),
                           .sender = SV("bounces+12345@sender.example"),
                           .source = SV("apps"),
                           .peer = SV("127.0.0.1"),
                           .content_bytes = bytes,
                           .rcpt_count = 1,
                           .rcpts = &rcpt};
    struct buf envelope = {0};
    if (argc < 2 || !outstanding || outstanding > MAX_OUTSTANDING) {
        fprintf(stderr, "usage: bench_spool DIR [MESSAGES [OUTSTANDING (1..1000) [BYTES]]]\n");
        return 2;
    }
    mkdir(argv[1], 0700);
    char *content = xmalloc(bytes + 1);
    memset(content, 'x', bytes);
    envelope_encode(&envelope, &env);
    for (uint32_t i = 0; i < outstanding; i++)
        bench.appends[i] = (struct spool_append){.envelope = buf_view(&envelope),
                                                 .rcpt_count = 1,
                                                 .content = sv(content, bytes),
                                                 .content_fd = -1,
                                                 .done = on_done};
    uv_loop_init(&bench.loop);
    bench.total = argc > 2 ? (uint32_t)atoi(argv[2]) : 200000;
    open_spool(argv[1]);
    bench.deliver = true;
    run("append and deliver", outstanding);
    close_spool();
    open_spool(argv[1]);
    bench.deliver = false;
    run("append and keep", outstanding);
    close_spool();
    bench.recovered = 0;
    double took = open_spool(argv[1]);
    printf("recovery: %u recipients in %.3f s\n", bench.recovered, took);
    close_spool();
    uv_loop_close(&bench.loop);
    buf_free(&envelope);
    free(content);
    return 0;
}
