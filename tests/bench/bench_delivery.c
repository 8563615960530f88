/*
 * Delivers N messages of 4 KiB over M connections to one address and prints the rate:
 *
 *   bench_delivery ADDRESS PORT MESSAGES CONNECTIONS [BYTES [FILE]]
 *
 * With FILE (at least BYTES long, wire form) the content is read from it; else it lies in memory.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "pipe/delivery/delivery.h"

static struct {
    long left;
    long told[OUTCOME_CLASS_COUNT];
    long done;
    long open;
    char *content;
    size_t bytes;
    int fd;
} bench = {.fd = -1};

static struct envelope_rcpt rcpt = {.address = {"rcpt@example.com", 16}};
static struct envelope env = {.sender = {"bench@example.net", 17}, .rcpts = &rcpt, .rcpt_count = 1};
static const uint32_t first;

static enum delivery_next next(void *owner, struct delivery_conn *c, struct delivery_job *ret)
{
    (void)owner, (void)c;
    if (bench.left == 0)
        return DELIVERY_QUIT;
    bench.left--;
    *ret = (struct delivery_job){.env = &env,
                                 .rcpts = &first,
                                 .rcpt_count = 1,
                                 .content_fd = bench.fd,
                                 .content_bytes = bench.bytes,
                                 .id = "bench"};
    if (bench.fd < 0)
        ret->content = sv(bench.content, bench.bytes);
    return DELIVERY_JOB;
}

static void rcpt_done(void *owner, struct delivery_conn *c, const struct delivery_job *job,
                      uint32_t position, const struct outcome *o)
{
    (void)owner, (void)c, (void)job, (void)position;
    if (o->class_ != OUTCOME_DELIVERED && bench.told[o->class_] == 0)
        fprintf(stderr, "%s: %.*s\n", outcome_class_name(o->class_), SV_ARG(o->text));
    bench.told[o->class_]++;
}

static void job_done(void *owner, struct delivery_conn *c, const struct delivery_job *job)
{
    (void)owner, (void)c, (void)job;
    bench.done++;
}

static void established(void *owner, struct delivery_conn *c, const struct delivery_host *host)
{
    (void)owner, (void)c, (void)host;
}

static void host_failed(void *owner, struct delivery_conn *c, const struct delivery_host *host,
                        const struct outcome *o)
{
    (void)owner, (void)c, (void)host;
    fprintf(stderr, "host failed: %.*s\n", SV_ARG(o->text));
}

static void closed(void *owner, struct delivery_conn *c, const struct outcome *o)
{
    (void)c;
    if (o)
        fprintf(stderr, "closed: %.*s\n", SV_ARG(o->text));
    if (--bench.open == 0)
        delivery_free(owner);
}

static const struct delivery_ops ops = {
    .next = next,
    .rcpt_done = rcpt_done,
    .job_done = job_done,
    .established = established,
    .host_failed = host_failed,
    .closed = closed,
};

static void make_content(size_t bytes)
{
    static const char line[] =
        "The quick brown fox jumps over the lazy dog, and so on and so on.\r\n";

    bench.bytes = bytes;
    bench.content = xmalloc(bytes);
    for (size_t i = 0; i < bytes; i++)
        bench.content[i] = line[i % (sizeof(line) - 1)];
    if (bytes >= 2)
        memcpy(bench.content + bytes - 2, "\r\n", 2);
}

int main(int argc, char **argv)
{
    struct delivery *d;
    struct err e = {0};
    struct delivery_host host = {.name = "sink.example"};
    struct sockaddr_in *to = (struct sockaddr_in *)&host.addr;

    if (argc < 5) {
        fprintf(stderr, "usage: %s ADDRESS PORT MESSAGES CONNECTIONS [BYTES [FILE]]\n", argv[0]);
        return 2;
    }
    to->sin_family = AF_INET;
    to->sin_port = htons((uint16_t)atoi(argv[2]));
    inet_pton(AF_INET, argv[1], &to->sin_addr);
    bench.left = atol(argv[3]);
    bench.open = atol(argv[4]);
    make_content(argc > 5 ? (size_t)atol(argv[5]) : 4096);
    if (argc > 6)
        bench.fd = open(argv[6], O_RDONLY | O_CLOEXEC);
    if (getenv("BENCH_DEBUG"))
        log_set_debug(log_subsystem_bit("delivery"));
    if (delivery_new(&d, uv_default_loop(), tls_files_new(), &e) < 0) {
        fprintf(stderr, "%s\n", e.text);
        return 1;
    }
    struct delivery_params p = {.queue = "example.com/bench",
                                .helo_name = "bench.example",
                                .hosts = &host,
                                .host_count = 1,
                                .connect_timeout_ms = 10000,
                                .greeting_timeout_ms = 30000,
                                .command_timeout_ms = 60000,
                                .data_timeout_ms = 60000,
                                .idle_timeout_ms = 5000,
                                .use_starttls = true,
                                .use_pipelining = getenv("BENCH_LOCKSTEP") == NULL};
    int64_t start = clock_wall_us();
    for (long i = 0, n = bench.open; i < n; i++)
        delivery_open(d, &p, &ops, d);
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    log_flush();
    double seconds = (double)(clock_wall_us() - start) / 1e6;
    printf("%ld delivered, %ld deferred, %ld bounced, %ld done in %.3f s: %.0f messages/s\n",
           bench.told[OUTCOME_DELIVERED], bench.told[OUTCOME_DEFERRED], bench.told[OUTCOME_BOUNCED],
           bench.done, seconds, (double)bench.done / seconds);
    free(bench.content);
    return bench.told[OUTCOME_DELIVERED] != atol(argv[3]);
}
