/*
 * Bounce addresses on the way out: which mail gets one, one recipient per transaction, what stays the
 * application's, and plain VERP.
 */
#include "engine_fakes.h"

#define HEAD                                                                              \
    "[pmta]\nhost-name = me.example\n[listener 127.0.0.1:2525]\n"                         \
    "[source 127.0.0.1]\nalways-allow-relaying = yes\n[pipe bulk]\nmax-queued = 100000\n" \
    "[virtual-mta mta1]\n[domain *]\nmax-smtp-out = 1\nsmtp-hosts = [127.0.0.9]:26\n"

static char with_verp[] = HEAD "[pipe bulk]\nverp = yes\nbounce-address = b@bounces.example.com\n"
                               "[pipe bulk, domain plain.example]\nverp = no\n"
                               "[virtual-mta mta1]\nbounce-address = m@other.example\n";
static char without[] = HEAD;
static char with_rate[] = HEAD "[pipe bulk]\nverp = yes\nbounce-address = b@bounces.example.com\n"
                               "job-max-msg-rate = 2/m\n";

static const struct outcome good = {.class_ = OUTCOME_DELIVERED};

/* The job's one recipient, and what its reverse path says. */
static void check(const struct delivery_job *job, const char *rcpt, struct arena *a,
                  struct verp_origin *ret)
{
    assert_int_equal(job->rcpt_count, 1);
    assert_sv_equal(job->env->rcpts[job->rcpts[0]].address, rcpt);
    assert_sv_equal(job->env->sender, "from@sender.example");
    assert_int_equal(verp_read(w.verp, job->reverse_path, a, ret), 0);
    assert_sv_equal(ret->rcpt, rcpt);
    assert_true(ret->known);
    assert_sv_equal(ret->sender, "from@sender.example");
}

static void one_recipient_each(void **state)
{
    (void)state;
    static const char *const rcpts[] = {"a@d.example", "b@d.example", "c@d.example"};
    struct envelope env = {.job = SV("spring")};
    struct arena a = {0};
    struct verp_origin o;

    queue_envelope(&env, "a@d.example b@d.example c@d.example");
    struct delivery_conn *c = establish();
    for (size_t i = 0; i < ARRAY_LEN(rcpts); i++) { /* over one connection */
        struct delivery_job job = pull(c);
        check(&job, rcpts[i], &a, &o);
        assert_true(sv_ends_nocase(job.reverse_path, SV("@bounces.example.com")));
        assert_sv_equal(o.job, "spring");
        assert_sv_equal(o.vmta, "default");
        answer(c, &job, good);
    }
    assert_int_equal(ask(c), DELIVERY_IDLE);
    assert_int_equal(opened, 1);
    assert_int_equal(live(), 0);
    arena_free(&a);
}

static void next_one_is_asked_for_early(void **state)
{
    (void)state;
    queue_mail("a@d.example b@d.example", NULL);
    struct delivery_conn *c = establish();
    struct delivery_job one = pull(c), two = pull(c); /* before the first has its answer */
    assert_false(sv_eq(one.reverse_path, two.reverse_path));
    answer(c, &one, good);
    answer(c, &two, good);
    assert_int_equal(live(), 0);
}

static void virtual_mta_has_its_own_address(void **state)
{
    (void)state;
    struct arena a = {0};
    struct verp_origin o;

    queue_mail("a@d.example", "mta1");
    struct delivery_conn *c = establish();
    struct delivery_job job = pull(c);
    assert_true(sv_starts_nocase(job.reverse_path, SV("m+")));
    assert_true(sv_ends_nocase(job.reverse_path, SV("@other.example")));
    check(&job, "a@d.example", &a, &o);
    assert_sv_equal(o.vmta, "mta1");
    answer(c, &job, good);
    arena_free(&a);
}

static void others_stay_as_they_are(void **state)
{
    (void)state;
    struct envelope null_sender = {.sender = SV("")};

    queue_mail("a@plain.example b@plain.example", NULL);
    struct delivery_conn *c = establish();
    struct delivery_job job = pull(c);
    assert_int_equal(job.rcpt_count, 2);
    assert_int_equal(job.reverse_path.len, 0);
    answer(c, &job, good);
    queue_envelope(&null_sender, "a@d.example");
    c = establish();
    job = pull(c);
    assert_int_equal(job.rcpt_count, 1);
    assert_int_equal(job.reverse_path.len, 0);
    assert_int_equal(job.env->sender.len, 0);
    answer(c, &job, good);
}

static void retry_has_an_address_too(void **state)
{
    (void)state;
    struct arena a = {0};
    struct verp_origin o;

    queue_mail("a@d.example", NULL);
    struct delivery_conn *c = establish();
    struct delivery_job job = pull(c);
    answer(c, &job, outcome(OUTCOME_DEFERRED, PHASE_RCPT, 450, "450 later"));
    end_conn(c, NULL);
    pass(3600 * 1000);
    fake_reads();
    c = establish();
    job = pull(c);
    check(&job, "a@d.example", &a, &o);
    answer(c, &job, good);
    arena_free(&a);
}

/* A rate of the job counts recipients, not what could have gone in one transaction. */
static void rate_of_a_job(void **state)
{
    (void)state;
    struct envelope env = {.job = SV("spring")};

    queue_envelope(&env, "a@d.example b@d.example c@d.example");
    struct delivery_conn *c = establish();
    for (uint64_t left = 3; left > 0; left--) { /* one each half minute */
        assert_int_equal(live(), left);
        struct delivery_job job = pull(c);
        assert_int_equal(job.rcpt_count, 1);
        answer(c, &job, good);
        if (left > 1)
            assert_int_equal(ask(c), DELIVERY_IDLE);
        pass(31 * 1000);
    }
    assert_int_equal(live(), 0);
}

static void plain_verp(void **state)
{
    (void)state;
    struct envelope env = {.flags = ENVELOPE_VERP};

    queue_envelope(&env, "a@d.example b+x@d.example");
    struct delivery_conn *c = establish();
    struct delivery_job job = pull(c);
    assert_int_equal(job.rcpt_count, 1);
    assert_sv_equal(job.reverse_path, "from-a=d.example@sender.example");
    assert_sv_equal(job.env->sender, "from@sender.example");
    answer(c, &job, good);
    job = pull(c);
    assert_sv_equal(job.reverse_path, "from-b+x=d.example@sender.example");
    answer(c, &job, good);
    assert_int_equal(live(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ENGINE_CASE_WITH(one_recipient_each, with_verp),
        ENGINE_CASE_WITH(next_one_is_asked_for_early, with_verp),
        ENGINE_CASE_WITH(virtual_mta_has_its_own_address, with_verp),
        ENGINE_CASE_WITH(others_stay_as_they_are, with_verp),
        ENGINE_CASE_WITH(retry_has_an_address_too, with_verp),
        ENGINE_CASE_WITH(rate_of_a_job, with_rate),
        ENGINE_CASE_WITH(plain_verp, without),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
