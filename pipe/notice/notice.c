/*
 * Notices; see notice.h. Who has something to tell calls notice_send; the limits in here decide
 * whether it goes out; the letter (notice/letter.c) is written into one buffer, the spool makes it
 * durable, and then the engine takes it as it takes what receivers bring. What fails is logged and
 * counted, and is no notice itself.
 *
 * A letter on its way to the disk owns its memory and a reference to the notice room, so that the
 * room may be freed meanwhile.
 */
#include "notice/notice.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "notice/letter.h"
#include "notice/own_mail.h"

#include <unistd.h>

enum {
    PER_HOUR = 30,
    HOUR_MS = 3600 * 1000,
    SUBJECT_GAP_MS = 60 * 1000,
    SUBJECTS = 64, /* remembered; the one that was silent for longest makes room */
    UNDER_WAY_MAX = PER_HOUR,
};

struct subject {
    uint64_t hash;
    int64_t sent_ms; /* monotonic */
    uint32_t held;   /* since then */
};

struct notice {
    struct engine *engine; /* NULL once freed */
    uint32_t refs;
    char host[256]; /* of the system */
    struct subject subjects[SUBJECTS];
    uint32_t subject_count;
    int64_t sent_ms[PER_HOUR]; /* the last ones, a ring; monotonic */
    uint32_t ring_at, ring_count;
    uint32_t held;         /* since one was sent last */
    int64_t held_since_ms; /* wall */
    uint64_t serial;
    struct notice_stats stats;
};

/* On its way to the disk. */
struct under_way {
    struct own_mail mail;
    struct notice *notice;
};

struct notice *notice_new(struct engine *engine)
{
    struct notice *n = xcalloc(1, sizeof(*n));

    n->engine = engine;
    n->refs = 1;
    if (gethostname(n->host, sizeof(n->host) - 1) < 0 || !n->host[0])
        strcpy(n->host, "localhost");
    return n;
}

static void unref(struct notice *n)
{
    if (--n->refs == 0)
        free(n);
}

void notice_free(struct notice *n)
{
    if (!n)
        return;
    n->engine = NULL;
    unref(n);
}

bool notice_is(const struct envelope *env)
{
    return !env->sender.len && sv_eq(env->source, SV(LETTER_SOURCE));
}

void notice_stats(const struct notice *n, struct notice_stats *ret)
{
    *ret = n->stats;
}

/* --- limits --- */

static struct subject *find_subject(struct notice *n, uint64_t hash)
{
    struct subject *oldest = &n->subjects[0];

    for (uint32_t i = 0; i < n->subject_count; i++) {
        if (n->subjects[i].hash == hash)
            return &n->subjects[i];
        if (n->subjects[i].sent_ms < oldest->sent_ms)
            oldest = &n->subjects[i];
    }
    if (n->subject_count < SUBJECTS)
        oldest = &n->subjects[n->subject_count++];
    *oldest = (struct subject){.hash = hash, .sent_ms = INT64_MIN};
    return oldest;
}

static bool hour_is_full(const struct notice *n, int64_t now)
{
    /* the ring's place to be overwritten holds the oldest of the last 30 */
    return n->ring_count == PER_HOUR && now - n->sent_ms[n->ring_at] < HOUR_MS;
}

static bool too_soon(const struct subject *s, int64_t now)
{
    return s->sent_ms != INT64_MIN && now - s->sent_ms < SUBJECT_GAP_MS;
}

static void hold(struct notice *n, struct subject *s, struct strview subject)
{
    if (!n->held++) {
        n->held_since_ms = clock_wall_ms();
        log_info(LOG_QUEUE, "notice held back subject='%.*s', the next one says how many",
                 SV_ARG(subject));
    }
    s->held++;
    n->stats.held++;
}

static void count_sent(struct notice *n, struct subject *s, int64_t now)
{
    s->held = 0;
    n->held = 0;
    n->sent_ms[n->ring_at] = now;
    n->ring_at = (n->ring_at + 1) % PER_HOUR;
    n->ring_count += n->ring_count < PER_HOUR;
}

/* --- sending --- */

static void finish(struct under_way *u)
{
    u->notice->stats.under_way--;
    unref(u->notice);
    own_mail_fini(&u->mail);
    free(u);
}

static void lose(struct notice *n, struct strview subject, const char *why)
{
    n->stats.lost++;
    log_warn(LOG_QUEUE, "notice lost subject='%.*s' reason='%s'", SV_ARG(subject), why);
}

static void on_stored(struct own_mail *mail, int status)
{
    struct under_way *u = container_of(mail, struct under_way, mail);
    struct notice *n = u->notice;

    if (status < 0) {
        lose(n, SV(""), err_name(status));
    } else {
        n->stats.sent++;
        if (n->engine)
            own_mail_accept(mail, n->engine);
    }
    finish(u);
}

/* NULL, or why it cannot go out now. */
static const char *refuse(struct notice *n, const struct envelope *env)
{
    const char *text = NULL;

    if (!engine_spool(n->engine) || !engine_config(n->engine))
        return "the spool is not open yet";
    if (n->stats.under_way >= UNDER_WAY_MAX)
        return "the disk has not taken the notices before";
    return engine_refuses(n->engine, env, &text) ? text : NULL;
}

static const char *host_name(const struct notice *n)
{
    struct config *cfg = engine_config(n->engine);
    const char *set = cfg ? config_text(cfg, NULL, DIR_HOST_NAME) : NULL;

    return set ? set : n->host;
}

/* False: lost. */
static bool send_letter(struct notice *n, const struct subject *s, const struct letter *l)
{
    struct under_way *u = xcalloc(1, sizeof(*u));
    struct letter letter = *l;

    u->notice = n;
    n->refs++;
    n->stats.under_way++;
    letter.host = host_name(n);
    letter.pipe = engine_pipe(n->engine);
    letter.serial = ++n->serial;
    letter.held = n->held;
    letter.held_same = s->held;
    letter.held_since_ms = n->held_since_ms;
    letter_write(&letter, &u->mail.arena, &u->mail.content, &u->mail.env);
    const char *why = u->mail.env.rcpt_count ? refuse(n, &u->mail.env) : "it has no recipient";
    if (why) {
        lose(n, letter.subject, why);
        finish(u);
        return false;
    }
    u->mail.stored = on_stored;
    own_mail_store(&u->mail, n->engine, NULL);
    return true;
}

void notice_send_about(struct notice *n, struct strview domain, struct strview to_list,
                       struct strview subject, struct strview body)
{
    int64_t now = clock_mono_ms();
    struct subject *s = find_subject(n, hash_bytes(subject.ptr, subject.len));

    if (too_soon(s, now) || hour_is_full(n, now)) {
        hold(n, s, subject);
        return;
    }
    s->sent_ms = now;
    if (send_letter(
            n, s,
            &(struct letter){.about = domain, .to = to_list, .subject = subject, .body = body}))
        count_sent(n, s, now);
}

void notice_send(struct notice *n, struct strview to_list, struct strview subject,
                 struct strview body)
{
    notice_send_about(n, sv(NULL, 0), to_list, subject, body);
}

void notice_tell(void *arg, struct strview to_list, struct strview subject, struct strview body)
{
    notice_send(arg, to_list, subject, body);
}
