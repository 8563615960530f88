/*
 * Any server bytes and events against the engine with several jobs: each recipient is told exactly
 * once, before its job_done, and every job that was given ends. Bytes 0xf8 to 0xff are events.
 */
#include "base/clock.h"
#include "pipe/delivery/smtp_client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { JOBS = 6, RCPTS = 3 };

static struct {
    int told[JOBS][RCPTS];
    int done[JOBS];
    int next;
    int ended;
} seen;

static const uint32_t indices[RCPTS] = {0, 1, 2};
static struct envelope_rcpt rcpts[RCPTS];
static struct envelope env;

static void op_write(void *owner, const void *data, size_t len)
{
    (void)owner, (void)data, (void)len;
    BUG_ON(seen.ended);
}

static bool op_content(void *owner, struct smtp_job *j)
{
    (void)owner;
    return j->job.content_fd < 0;
}

static void op_quiet(void *owner)
{
    (void)owner;
}

static enum delivery_next op_next(void *owner, struct delivery_job *ret)
{
    (void)owner;
    if (seen.next == JOBS)
        return DELIVERY_IDLE;
    *ret = (struct delivery_job){.env = &env,
                                 .rcpts = indices,
                                 .rcpt_count = RCPTS,
                                 .content = SV("a: b\r\n"),
                                 .content_fd = seen.next % 3 == 2 ? 0 : -1,
                                 .content_bytes = 6,
                                 .cookie = &seen.done[seen.next]};
    seen.next++;
    return DELIVERY_JOB;
}

static void op_rcpt_done(void *owner, const struct delivery_job *job, uint32_t at,
                         const struct outcome *o)
{
    ptrdiff_t i = (int *)job->cookie - seen.done;
    (void)owner;
    BUG_ON(seen.told[i][at]++ || seen.done[i] || seen.ended || o->class_ >= OUTCOME_CLASS_COUNT);
}

static void op_job_done(void *owner, const struct delivery_job *job)
{
    ptrdiff_t i = (int *)job->cookie - seen.done;
    (void)owner;
    for (int k = 0; k < RCPTS; k++)
        BUG_ON(seen.told[i][k] != 1);
    BUG_ON(seen.done[i]++);
}

static void op_ended(void *owner, const struct outcome *o, bool polite)
{
    (void)owner, (void)o, (void)polite;
    BUG_ON(seen.ended++);
}

static const struct smtp_client_ops ops = {op_write,     op_content,  op_quiet, op_next,
                                           op_rcpt_done, op_job_done, op_quiet, op_ended};

static void event(struct smtp_client *c, uint8_t e)
{
    switch (e) {
    case 0xf8:
        smtp_client_tls(c, true, "TLSv1.3/X");
        break;
    case 0xf9:
        smtp_client_tls(c, false, "broken");
        break;
    case 0xfa:
        smtp_client_content_done(c, true);
        break;
    case 0xfb:
        smtp_client_content_failed(c, ERR_CORRUPT);
        break;
    case 0xfc:
        clock_fake_advance(10000);
        smtp_client_timeout(c);
        break;
    case 0xfd:
        smtp_client_quit(c);
        break;
    case 0xfe:
        smtp_client_eof(c, 0);
        break;
    default:
        smtp_client_wakeup(c);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct smtp_client_params params = {
        .queue = "q",
        .helo_name = "me",
        .peer_host = "mx",
        .peer_ip = "192.0.2.1",
        .greeting_timeout_ms = 1000,
        .command_timeout_ms = 1000,
        .data_timeout_ms = 20000,
        .idle_timeout_ms = 30000,
    };
    struct smtp_client c;

    if (size < 1)
        return 0;
    memset(&seen, 0, sizeof(seen));
    for (int i = 0; i < RCPTS; i++)
        rcpts[i].address = SV("a@b.example");
    env = (struct envelope){.sender = SV("s@a.example"), .rcpts = rcpts, .rcpt_count = RCPTS};
    params.use_pipelining = data[0] & 1;
    params.use_starttls = data[0] & 2;
    params.require_tls = data[0] & 4;
    params.proven = data[0] & 8;
    params.max_messages = data[0] >> 6;
    clock_fake_set(1);
    smtp_client_init(&c, &params, &ops, NULL);
    for (size_t at = 1, n; at < size; at += n) {
        for (n = 0; at + n < size && data[at + n] < 0xf8;)
            n++;
        if (n)
            smtp_client_input(&c, (const char *)data + at, n);
        else
            event(&c, data[at + n++]);
    }
    smtp_client_fail(&c, "the end");
    BUG_ON(seen.ended != 1);
    for (int i = 0; i < seen.next; i++)
        BUG_ON(seen.done[i] != 1);
    smtp_client_fini(&c);
    return 0;
}
