/*
 * Signing in the queue: mail waits for its signature, carries it in front of its content, and is neither
 * lost nor sent unsigned when the key cannot be used. Keys and signer are real; the spool is not.
 */
#include "engine_fakes.h"

#include "key/key_make.h"
#include "queue/signing.h"
#include "sign/signer.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define HEAD                                                                              \
    "[pmta]\nhost-name = me.example\n[listener 127.0.0.1:2525]\n"                         \
    "[source 127.0.0.1]\nalways-allow-relaying = yes\n[pipe bulk]\nmax-queued = 100000\n" \
    "[virtual-mta mta1]\n[domain *]\nsmtp-hosts = [127.0.0.8]:26\nretry-after = 10m\n"    \
    "max-smtp-out = 1\n[domain a.example]\n"

static char pem[] = "/tmp/pmta-engine-signing-XXXXXX.pem";
static char required[1000], optional[1100]; /* configurations */
static uint8_t hash[SIGN_HASH_BYTES];

static int make_key(void **state)
{
    int fd = mkstemps(pem, 4);
    (void)state;
    if (fd < 0)
        return -1;
    close(fd);
    unlink(pem);
    snprintf(required, sizeof(required), HEAD "domain-key = s1,a.example,%s\n", pem);
    snprintf(optional, sizeof(optional), "%sdkim-required = no\n", required);
    return key_make(pem, 1024, NULL) < 0 ? -1 : 0;
}

static int remove_key(void **state)
{
    (void)state;
    return unlink(pem);
}

static void hand_over_key(void)
{
    struct err e;
    int fd = open(pem, O_RDONLY);

    assert_true(fd >= 0);
    keyring_begin(w.g->parts.keyring);
    assert_int_equal(keyring_put(w.g->parts.keyring, pem, fd, &e), 0);
    keyring_end(w.g->parts.keyring);
    close(fd);
}

static void start_signer(void)
{
    w.g->parts.keyring = keyring_new();
    w.g->parts.signer = signer_new(&w.loop);
    engine_configure(w.g, w.cfg);
    turn();
}

static void stop_signer(void)
{
    signer_free(w.g->parts.signer);
    keyring_free(w.g->parts.keyring);
    w.g->parts.signer = NULL;
    w.g->parts.keyring = NULL;
    w.g->signs = false;
}

/* Of joe@a.example; the body is hashed already, the header block is empty. */
static void queue_from_a(const char *rcpts)
{
    struct envelope env = {
        .received_ms = clock_wall_ms(),
        .vmta = SV("mta1"),
        .from_domain = SV("a.example"),
        .relaxed_hash = sv((const char *)hash, sizeof(hash)),
    };
    queue_envelope(&env, rcpts);
    turn();
}

/* The next message, once it was read and signed. */
static struct delivery_job pull_signed(struct delivery_conn *c)
{
    struct delivery_job job;

    for (int i = 0; i < 10000; i++) {
        fake_reads();
        if (c->ops->next(c->owner, c, &job) == DELIVERY_JOB)
            return job;
        while (signer_pending(w.g->parts.signer))
            uv_run(&w.loop, UV_RUN_ONCE);
    }
    fail_msg("no message came");
    return job;
}

static unsigned signatures(const struct delivery_job *job)
{
    struct strview rest = job->prefix, line;
    unsigned n = 0;

    while (sv_split(&rest, '\n', &line))
        n += sv_starts_nocase(line, SV("DKIM-Signature:"));
    return n;
}

static void waits_for_its_signature(void **state)
{
    (void)state;
    start_signer();
    hand_over_key();
    queue_from_a("x@b.example");
    struct delivery_conn *c = establish();
    assert_int_equal(ask(c), DELIVERY_WAIT);
    struct delivery_job job = pull_signed(c);
    assert_int_equal(signatures(&job), 1);
    assert_non_null(memmem(job.prefix.ptr, job.prefix.len, "d=a.example", 11));
    assert_non_null(memmem(job.prefix.ptr, job.prefix.len, "s=s1", 4));
    answer(c, &job, outcome(OUTCOME_DELIVERED, PHASE_END_OF_DATA, 250, "ok"));
    assert_int_equal(live(), 0);
    end_conn(c, NULL);
    stop_signer();
}

/* The key is not there: it waits and says so; when the key comes back, it goes, signed. */
static void waits_for_its_key(void **state)
{
    (void)state;
    start_signer();
    queue_from_a("x@b.example");
    struct delivery_conn *c = establish();
    for (int i = 0; i < 5; i++) {
        ask(c);
        fake_reads();
        turn();
    }
    assert_int_equal(fs.states[SPOOL_DEFERRED], 1);
    assert_non_null(strstr(fs.last_text, "cannot be used"));
    assert_int_equal(live(), 1);
    end_conn(c, NULL);
    hand_over_key();
    pass(1200000);
    c = establish();
    struct delivery_job job = pull_signed(c);
    assert_int_equal(signatures(&job), 1);
    answer(c, &job, outcome(OUTCOME_DELIVERED, PHASE_END_OF_DATA, 250, "ok"));
    end_conn(c, NULL);
    stop_signer();
}

static void goes_unsigned_where_that_is_allowed(void **state)
{
    (void)state;
    start_signer();
    queue_from_a("x@b.example");
    struct delivery_conn *c = establish();
    struct delivery_job job = pull_signed(c);
    assert_int_equal(signatures(&job), 0);
    answer(c, &job, outcome(OUTCOME_DELIVERED, PHASE_END_OF_DATA, 250, "ok"));
    end_conn(c, NULL);
    stop_signer();
}

/* The connection goes away while the signature is made: the mail is queued again, once. */
static void connection_lost_meanwhile(void **state)
{
    (void)state;
    start_signer();
    hand_over_key();
    queue_from_a("x@b.example");
    struct delivery_conn *c = establish();
    assert_int_equal(ask(c), DELIVERY_WAIT);
    fake_reads();
    end_conn(c, NULL);
    while (signer_pending(w.g->parts.signer))
        uv_run(&w.loop, UV_RUN_ONCE);
    turn();
    assert_int_equal(live(), 1);
    c = establish();
    struct delivery_job job = pull_signed(c);
    assert_int_equal(job.rcpt_count, 1);
    assert_int_equal(signatures(&job), 1);
    answer(c, &job, outcome(OUTCOME_DELIVERED, PHASE_END_OF_DATA, 250, "ok"));
    end_conn(c, NULL);
    assert_int_equal(live(), 0);
    stop_signer();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENGINE_CASE_WITH(waits_for_its_signature, required),
        ENGINE_CASE_WITH(waits_for_its_key, required),
        ENGINE_CASE_WITH(goes_unsigned_where_that_is_allowed, optional),
        ENGINE_CASE_WITH(connection_lost_meanwhile, required),
    };
    return cmocka_run_group_tests(tests, make_key, remove_key);
}
