/*
 * Sends reports; see send.h. Called by tlsrpt.c when the domain's record has come.
 *
 * Mail is appended to the spool of this pipe and queued like any other (RFC 8460 section 3: it goes
 * whatever TLS there is, and is not counted in the next report). A POST is made by the resolver, which
 * checks the server's certificate. What can go wrong: a full spool, a server that does not take the
 * report; then that place is tried again later, the others are not.
 */
#include "tlsrpt/send.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "queue/choose.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

void tlsrpt_outlet_unref(struct tlsrpt_outlet *o)
{
    if (--o->refs == 0)
        free(o);
}

/* --- mail --- */

struct under_way {
    struct spool_append append;
    struct tlsrpt_outlet *outlet;
    struct arena arena;
    struct envelope env;
    struct buf envelope, content;
};

static void finish(struct under_way *u)
{
    tlsrpt_outlet_unref(u->outlet);
    arena_free(&u->arena);
    buf_free(&u->envelope);
    buf_free(&u->content);
    free(u);
}

static void on_durable(struct spool_append *a, int status)
{
    struct under_way *u = container_of(a, struct under_way, append);

    if (status < 0)
        log_warn(LOG_TLS, "TLS report lost: %s", err_name(status));
    else if (u->outlet->engine)
        engine_accept(u->outlet->engine, a->id, &a->place, &u->env, NULL);
    finish(u);
}

/* False: not now. */
static bool send_mail(struct tlsrpt_outlet *o, const struct tlsrpt_report *r, struct strview gz,
                      const char *const *to, size_t count)
{
    struct under_way *u = xcalloc(1, sizeof(*u));
    const char *why = NULL;

    u->outlet = o;
    o->refs++;
    tlsrpt_letter(r, gz, to, count, &u->arena, &u->content, &u->env);
    if (!engine_spool(o->engine) || engine_refuses(o->engine, &u->env, &why)) {
        finish(u);
        return false;
    }
    envelope_encode(&u->envelope, &u->env);
    if (choose_vmta(o->engine, &u->env))
        envelope_append_choice(&u->envelope, &u->env);
    u->append.envelope = buf_view(&u->envelope);
    u->append.rcpt_count = u->env.rcpt_count;
    u->append.content = buf_view(&u->content);
    u->append.content_fd = -1;
    u->append.content_bytes = buf_len(&u->content);
    u->append.done = on_durable;
    spool_append(engine_spool(o->engine), &u->append);
    return true;
}

/* --- the copy --- */

/* A file in tls-report-dir, written in the thread pool. */
struct file_job {
    uv_work_t work;
    struct tlsrpt_outlet *outlet;
    char *path;
    struct buf bytes;
    int status;
};

static void write_file(uv_work_t *w)
{
    struct file_job *j = w->data;
    int fd = open(j->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0640);

    if (fd < 0) {
        j->status = -errno;
        return;
    }
    if (write(fd, buf_data(&j->bytes), buf_len(&j->bytes)) != (ssize_t)buf_len(&j->bytes))
        j->status = errno ? -errno : -EIO;
    close(fd);
}

static void on_written(uv_work_t *w, int status)
{
    struct file_job *j = w->data;

    (void)status;
    if (j->status < 0)
        log_warn(LOG_TLS, "cannot write TLS report '%s': %s", j->path, err_name(j->status));
    tlsrpt_outlet_unref(j->outlet);
    free(j->path);
    buf_free(&j->bytes);
    free(j);
}

static void keep_file(struct tlsrpt_outlet *o, const char *dir, const struct tlsrpt_report *r,
                      struct strview gz)
{
    struct file_job *j = xcalloc(1, sizeof(*j));
    struct buf path = {0};
    char name[TLSRPT_NAME_SIZE];

    tlsrpt_file_name(r, name);
    buf_printf(&path, "%s/%s", dir, name);
    j->path = buf_take(&path);
    j->work.data = j;
    j->outlet = o;
    o->refs++;
    buf_append_sv(&j->bytes, gz);
    if (uv_queue_work(o->loop, &j->work, write_file, on_written) < 0)
        on_written(&j->work, 0);
}

/* --- places --- */

static uint64_t place_hash(struct strview place)
{
    return hash_bytes(place.ptr, place.len);
}

static bool has_it(const struct tlsrpt_sending *s, struct strview place)
{
    for (size_t i = 0; i < s->done_count; i++)
        if (s->done[i] == place_hash(place))
            return true;
    return false;
}

static void note_done(struct tlsrpt_sending *s, struct strview place)
{
    if (!has_it(s, place) && s->done_count < ARRAY_LEN(s->done))
        s->done[s->done_count++] = place_hash(place);
}

static void on_posted(struct post *p, unsigned status, struct strview text)
{
    struct tlsrpt_sending *s = p->owner;
    size_t i = (size_t)(p - s->posts);

    if (status >= 200 && status <= 299) {
        note_done(s, sv_of(s->places[i]));
        log_info(LOG_TLS, "TLS report was taken by '%s' status=%u", s->places[i], status);
    } else {
        s->failed = true;
        log_info(LOG_TLS, "TLS report was not taken by '%s', trying again later: %s", s->places[i],
                 log_safe(text.ptr, text.len, 200));
    }
    free(s->places[i]);
    s->places[i] = NULL;
    if (--s->pending == 0)
        s->ended(s, !s->failed);
}

static void post(struct tlsrpt_sending *s, size_t i, struct strview url, struct strview gz)
{
    s->places[i] = xstrdup(log_safe(url.ptr, url.len, 300));
    s->posts[i] = (struct post){.done = on_posted, .owner = s};
    s->pending++;
    post_start(s->outlet->routes, &s->posts[i], url, "application/tlsrpt+gzip", gz);
}

static void mail_all(struct tlsrpt_sending *s, const struct tlsrpt_report *r,
                     const struct tlsrpt_record *record, struct strview gz)
{
    char address[TLSRPT_MAX_RUA][320];
    const char *to[TLSRPT_MAX_RUA];
    size_t n = 0;

    for (size_t i = 0; i < record->count; i++)
        if (tlsrpt_mailto(record->rua[i], address[n], sizeof(address[n]))) {
            to[n] = address[n];
            n++;
        }
    if (!n || has_it(s, SV("mail")))
        return;
    if (!send_mail(s->outlet, r, gz, to, n)) {
        s->failed = true;
        return;
    }
    note_done(s, SV("mail"));
    log_info(LOG_TLS, "TLS report is queued domain=%s addresses=%zu", r->domain, n);
}

enum tlsrpt_sent tlsrpt_send(struct tlsrpt_sending *s, const struct tlsrpt_report *r,
                             const struct tlsrpt_record *record, const char *dir)
{
    struct buf gz = {0};

    BUG_ON(s->pending);
    s->failed = false;
    tlsrpt_compress(r, &gz);
    mail_all(s, r, record, buf_view(&gz));
    for (size_t i = 0; i < record->count; i++) {
        struct strview url = record->rua[i];
        /* places are remembered as they are logged */
        if (sv_starts_nocase(url, SV("https://")) &&
            !has_it(s, sv_of(log_safe(url.ptr, url.len, 300))))
            post(s, i, url, buf_view(&gz));
    }
    if (dir && !has_it(s, SV("file"))) {
        keep_file(s->outlet, dir, r, buf_view(&gz));
        note_done(s, SV("file"));
    }
    buf_free(&gz);
    return s->pending ? TLSRPT_UNDER_WAY : s->failed ? TLSRPT_LATER : TLSRPT_SENT;
}

void tlsrpt_sending_fini(struct tlsrpt_sending *s)
{
    for (size_t i = 0; s && i < TLSRPT_MAX_RUA; i++) {
        post_cancel(&s->posts[i]);
        free(s->places[i]);
        s->places[i] = NULL;
    }
}
