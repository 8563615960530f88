/*
 * Plays the files tests/scenario/smtp_server/NAME.scn against the SMTP server engine, with the fake
 * clock, each with several sizes of input pieces: the result may not depend on how the bytes
 * arrive.
 *
 *   config NAME VALUE     a setting (see set_option); before connect
 *   connect [TLS]         new session; TLS: text of an implicit handshake
 *   send TEXT             a line, CRLF is added;  send-raw TEXT  as it is
 *                         (escapes: \r \n \t \0 \\ \xHH, and \{N*TEXT} repeats)
 *   expect PREFIX         the next reply line begins so
 *   expect-last PREFIX    lines up to the last of a reply; that one begins so
 *   offers TEXT           / lacks TEXT: as expect-last 250, and a line in between is or is not TEXT
 *   expect-none           nothing was answered
 *   submit KEY=VALUE ...  a message came out: pipe sender rcpts rcpt vmta job envid user dots flags
 * ret from sender-header bimi dkim relaxed simple (hashes in hex) content TEXT          ... and is exactly this after our Received field answer CODE TEXT the
 * pipe's answer auth ok|wrong|later   answer to a password check;  credentials USER PASSWORD tls-up
 * the handshake is done file CODE TEXT        answer to the request for a file (code 0: here it is)
 *   time MS               time passes
 *   drain                 the process shuts down
 *   closed / open         the session is over, or not
 *   no-submit             nothing is with the pipe
 */
#include "smtp_server.h"

#include "base/clock.h"
#include "base/log.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>

struct play {
    const char *file;
    unsigned line;
    size_t piece;
    struct smtp_server_settings settings, user_settings;
    struct smtp_server_shared shared;
    struct smtp_server *engine;
    struct buf input, out, content;
    bool sign, bimi;
    bool want_tls, want_auth, want_file, submitted, closed, file_open;
};

static bool failed(const struct play *p, const char *what, const char *detail)
{
    fprintf(stderr, "%s:%u: (pieces of %zu) %s: %s\n", p->file, p->line, p->piece, what, detail);
    return false;
}

static bool name_known(void *owner, struct strview name)
{
    (void)owner;
    return sv_eq(name, SV("bulk")) || sv_eq(name, SV("transactional")) || sv_eq(name, SV("mta1"));
}

static void signing_needs_of(void *owner, struct strview pipe, struct signing_needs *ret)
{
    struct play *p = owner;
    (void)pipe;
    *ret = (struct signing_needs){
        .keys = p->sign, .bimi = p->bimi, .relaxed = p->sign, .simple = p->sign};
}

static bool key_exists(void *owner, struct strview pipe, const struct signing_options *o)
{
    (void)owner, (void)pipe;
    return !o->selector.len || sv_eq(o->selector, SV("s1"));
}

/* bounce@… and fbl@… go to bulk, other@… to transactional, forged@… is refused, all in own.test. */
static bool inbound_of(void *owner, struct strview address, bool relays, struct smtp_inbound *ret)
{
    (void)owner, (void)relays;
    *ret = (struct smtp_inbound){.pipe = SV("bulk")};
    if (!sv_ends_nocase(address, SV("@own.test")))
        return false;
    if (sv_starts_nocase(address, SV("other@")))
        ret->pipe = SV("transactional");
    if (sv_starts_nocase(address, SV("forged@")))
        ret->refuse = "550 5.1.1 No such recipient here";
    return true;
}

static const struct smtp_server_ops ops = {
    .pipe_exists = name_known,
    .virtual_mta_exists = name_known,
    .signing_needs = signing_needs_of,
    .signing_key_exists = key_exists,
    .inbound = inbound_of,
};

static const struct smtp_server_settings defaults = {
    .host_name = "mx.test",
    .source = "apps",
    .pipe = "bulk",
    .max_message_bytes = 1 << 20,
    .max_inbound_bytes = 1 << 20,
    .max_rcpts = 100,
    .max_header_bytes = 65536,
    .max_line_bytes = 4096,
    .max_commands = 1000,
    .max_errors = 20,
    .idle_timeout_ms = 300000,
    .session_timeout_ms = 86400000,
    .allow_relaying = true,
};

static bool set_option(struct play *p, const char *name, const char *value)
{
    struct smtp_server_settings *s = &p->settings;
    const struct {
        const char *name;
        bool *flag;
        uint32_t *number;
    } rows[] = {
        {"relaying", &s->allow_relaying, NULL},
        {"inbound", &s->accept_inbound, NULL},
        {"verp", &s->verp, NULL},
        {"fix-lf", &s->fix_lone_lf, NULL},
        {"x-pipe", &s->process_x_pipe, NULL},
        {"x-vmta", &s->process_x_virtual_mta, NULL},
        {"x-job", &s->process_x_job, NULL},
        {"x-envid", &s->process_x_envid, NULL},
        {"sign", &p->sign, NULL},
        {"bimi", &p->bimi, NULL},
        {"x-dkim-options", &s->process_x_dkim_options, NULL},
        {"x-schedule", &s->process_x_schedule, NULL},
        {"x-priority", &s->process_x_delivery_priority, NULL},
        {"x-remote", &s->process_x_remote_mta_name, NULL},
        {"starttls", &s->offer_starttls, NULL},
        {"auth", &s->offer_auth, NULL},
        {"plain-auth", &s->allow_plain_auth, NULL},
        {"max-rcpts", NULL, &s->max_rcpts},
        {"max-header", NULL, &s->max_header_bytes},
        {"max-line", NULL, &s->max_line_bytes},
        {"max-commands", NULL, &s->max_commands},
        {"max-errors", NULL, &s->max_errors},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (strcmp(rows[i].name, name) != 0)
            continue;
        if (rows[i].flag)
            *rows[i].flag = strcmp(value, "yes") == 0;
        else
            *rows[i].number = (uint32_t)strtoul(value, NULL, 10);
        return true;
    }
    if (strcmp(name, "max-inbound") == 0)
        s->max_inbound_bytes = strtoull(value, NULL, 10);
    else if (strcmp(name, "max-message") == 0)
        s->max_message_bytes = strtoull(value, NULL, 10);
    else if (strcmp(name, "max-buffered") == 0)
        p->shared.max_buffered_bytes = strtoull(value, NULL, 10);
    else if (strcmp(name, "pipe") == 0)
        s->pipe = strcmp(value, "none") == 0 ? NULL : strcmp(value, "bulk") == 0 ? "bulk" : "gone";
    else if (strcmp(name, "refuse") == 0)
        s->refuse = "554 5.7.1 No mail is accepted from your address";
    else
        return failed(p, "no such option", name);
    return true;
}

static void unescape(const char *s, const char *end, struct buf *out)
{
    while (s < end) {
        char *after;
        if (*s != '\\' || s + 1 >= end) {
            buf_append_char(out, *s++);
            continue;
        }
        s++;
        if (*s == 'x') {
            char hex[3] = {s[1], s[2], 0};
            buf_append_char(out, (char)strtol(hex, NULL, 16));
            s += 3;
        } else if (*s == '{') {
            unsigned long n = strtoul(s + 1, &after, 10);
            const char *close = memchr(after, '}', (size_t)(end - after));
            while (close && n-- > 0)
                unescape(after + 1, close, out);
            s = close ? close + 1 : end;
        } else {
            buf_append_char(out, *s == 'r'   ? '\r'
                                 : *s == 'n' ? '\n'
                                 : *s == 't' ? '\t'
                                 : *s == '0' ? '\0'
                                             : *s);
            s++;
        }
    }
}

static void take_content(struct play *p)
{
    struct buf piece = {0};
    smtp_server_content_take(p->engine, &piece);
    buf_append(&p->content, buf_data(&piece), buf_len(&piece));
    buf_free(&piece);
}

static void take_wants(struct play *p)
{
    for (enum smtp_want w; (w = smtp_server_next(p->engine)) != SMTP_WANT_NOTHING;) {
        if (w == SMTP_WANT_TLS) {
            p->want_tls = true;
        } else if (w == SMTP_WANT_AUTH) {
            p->want_auth = true;
        } else if (w == SMTP_WANT_FILE) {
            p->want_file = true;
            buf_reset(&p->content);
        } else if (w == SMTP_WANT_CONTENT) {
            take_content(p);
            smtp_server_content_done(p->engine, 0, sv("", 0));
        } else if (w == SMTP_WANT_SUBMIT) {
            p->submitted = true;
            if (!smtp_server_has_file(p->engine))
                buf_reset(&p->content);
            buf_append_sv(&p->content, smtp_server_content(p->engine));
            smtp_server_content_sent(p->engine);
        } else if (w == SMTP_WANT_CLOSE) {
            p->closed = true;
        }
    }
    struct buf *out = smtp_server_output(p->engine);
    buf_append(&p->out, buf_data(out), buf_len(out));
    buf_reset(out);
}

static void give(struct play *p, const char *data, size_t len)
{
    size_t step = p->piece ? p->piece : len;

    while (len > 0) {
        size_t n = MIN_OF(step, len);
        buf_append(&p->input, data, n);
        smtp_server_input(p->engine, &p->input);
        take_wants(p);
        data += n;
        len -= n;
    }
}

/* Something was answered: the engine goes on with its input. */
static bool go_on(struct play *p)
{
    smtp_server_input(p->engine, &p->input);
    take_wants(p);
    return true;
}

static bool next_line(struct play *p, char line[1024])
{
    char *data = buf_data(&p->out), *lf = memchr(data, '\n', buf_len(&p->out));
    if (!lf)
        return false;
    size_t len = (size_t)(lf - data) + 1;
    snprintf(line, 1024, "%.*s", (int)(len >= 2 ? len - 2 : 0), data);
    buf_consume(&p->out, len);
    return true;
}

static bool expect(struct play *p, const char *prefix, bool last, const char *among, bool present)
{
    char line[1024];
    bool seen = false;

    do {
        if (!next_line(p, line))
            return failed(p, "no reply, expected", prefix);
        if (among && strlen(line) > 4 && strcmp(line + 4, among) == 0)
            seen = true;
    } while (last && line[3] == '-');
    if (strncmp(line, prefix, strlen(prefix)) != 0)
        return failed(p, "reply is", line);
    return !among || seen == present ? true : failed(p, "EHLO", among);
}

static struct strview hex(struct strview bytes, char out[65])
{
    for (size_t i = 0; i < bytes.len && i < 32; i++)
        snprintf(out + 2 * i, 3, "%02x", (unsigned char)bytes.ptr[i]);
    return sv(out, bytes.len * 2);
}

static bool check_submit(struct play *p, char *words)
{
    const struct envelope *env = smtp_server_envelope(p->engine);

    if (!p->submitted)
        return failed(p, "no message was submitted", "");
    if (env->content_bytes != buf_len(&p->content))
        return failed(p, "content_bytes is wrong", "");
    const char *blank = memmem(buf_data(&p->content), buf_len(&p->content), "\r\n\r\n", 4);
    if (!blank || env->header_bytes != (size_t)(blank + 4 - buf_data(&p->content)))
        return failed(p, "header_bytes is wrong", "");
    for (char *word, *save = NULL; (word = strtok_r(words, " ", &save)); words = NULL) {
        char *value = strchr(word, '='), number[32], hash[65];
        if (!value)
            return failed(p, "KEY=VALUE is", word);
        *value++ = '\0';
        struct strview is = SV("?");
#define NUMBER(n) (snprintf(number, sizeof(number), "%u", (unsigned)(n)), sv_of(number))
        if (strcmp(word, "pipe") == 0)
            is = smtp_server_pipe(p->engine);
        else if (strcmp(word, "sender") == 0)
            is = env->sender;
        else if (strcmp(word, "remote") == 0)
            is = env->remote_mta;
        else if (strcmp(word, "schedule") == 0)
            is = NUMBER(env->schedule.len);
        else if (strcmp(word, "priority") == 0)
            is = NUMBER(env->priority);
        else if (strcmp(word, "rcpts") == 0)
            is = NUMBER(env->rcpt_count);
        else if (strcmp(word, "rcpt") == 0)
            is = env->rcpts[0].address;
        else if (strcmp(word, "orcpt") == 0)
            is = env->rcpts[0].orcpt;
        else if (strcmp(word, "notify") == 0)
            is = NUMBER(env->rcpts[0].notify);
        else if (strcmp(word, "vmta") == 0)
            is = env->vmta;
        else if (strcmp(word, "job") == 0)
            is = env->job;
        else if (strcmp(word, "envid") == 0)
            is = env->envid;
        else if (strcmp(word, "user") == 0)
            is = env->user;
        else if (strcmp(word, "dots") == 0)
            is = NUMBER(env->stuffed_dots);
        else if (strcmp(word, "flags") == 0)
            is = NUMBER(env->flags);
        else if (strcmp(word, "ret") == 0)
            is = NUMBER(env->ret);
        else if (strcmp(word, "from") == 0)
            is = env->from_domain;
        else if (strcmp(word, "sender-header") == 0)
            is = env->sender_domain;
        else if (strcmp(word, "bimi") == 0)
            is = env->bimi;
        else if (strcmp(word, "dkim") == 0)
            is = env->dkim_options;
        else if (strcmp(word, "relaxed") == 0)
            is = hex(env->relaxed_hash, hash);
        else if (strcmp(word, "simple") == 0)
            is = hex(env->simple_hash, hash);
        else if (strcmp(word, "size") == 0)
            is = NUMBER(env->content_bytes);
        if (!sv_eq(is, sv_of(value)))
            return failed(p, word, log_safe(is.ptr, is.len, 200));
    }
    return true;
}

static bool check_content(struct play *p, struct strview want)
{
    const char *at = buf_data(&p->content), *end = at + buf_len(&p->content);

    if (strncmp(at, "Received: from ", 15) != 0)
        return failed(p, "no Received field in front", at);
    do
        at = (const char *)memchr(at, '\n', (size_t)(end - at)) + 1;
    while (at < end && *at == '\t');
    struct strview is = sv(at, (size_t)(end - at));
    return sv_eq(is, want) ? true : failed(p, "content is", log_safe(is.ptr, is.len, 300));
}

static bool number_and_text(struct play *p, const char *arg,
                            void (*fn)(struct smtp_server *, unsigned, struct strview))
{
    char *text;
    unsigned code = (unsigned)strtoul(arg, &text, 10);
    fn(p->engine, code, sv_trim(sv_of(text)));
    return go_on(p);
}

static bool credentials(struct play *p, const char *arg)
{
    struct strview user, password;
    struct buf both = {0};

    smtp_server_credentials(p->engine, &user, &password);
    buf_printf(&both, "%.*s %.*s", SV_ARG(user), SV_ARG(password));
    bool same = p->want_auth && strcmp(buf_data(&both), arg) == 0;
    buf_free(&both);
    return same ? true : failed(p, "credentials are not", arg);
}

static bool run_step(struct play *p, const char *verb, char *arg)
{
    struct buf text = {0};
    bool ok = true;

    unescape(arg, arg + strlen(arg), &text);
    if (strcmp(verb, "connect") == 0) {
        p->engine = smtp_server_new("1-1", "192.0.2.1", &p->settings, &p->shared, &ops, p);
        smtp_server_open(p->engine, arg[0] ? arg : NULL);
        take_wants(p);
    } else if (strcmp(verb, "send") == 0 || strcmp(verb, "send-raw") == 0) {
        if (verb[4] == '\0')
            buf_append(&text, "\r\n", 2);
        give(p, buf_data(&text), buf_len(&text));
    } else if (strcmp(verb, "expect") == 0) {
        ok = expect(p, arg, false, NULL, false);
    } else if (strcmp(verb, "expect-last") == 0) {
        ok = expect(p, arg, true, NULL, false);
    } else if (strcmp(verb, "offers") == 0 || strcmp(verb, "lacks") == 0) {
        ok = expect(p, "250 ", true, arg, verb[0] == 'o');
    } else if (strcmp(verb, "expect-none") == 0) {
        ok = buf_len(&p->out) == 0 || failed(p, "unexpected reply", buf_data(&p->out));
    } else if (strcmp(verb, "submit") == 0) {
        ok = check_submit(p, arg);
    } else if (strcmp(verb, "no-submit") == 0) {
        ok = !p->submitted || failed(p, "a message was submitted", "");
    } else if (strcmp(verb, "content") == 0) {
        ok = check_content(p, buf_view(&text));
    } else if (strcmp(verb, "answer") == 0) {
        if (!p->submitted)
            ok = failed(p, "no message waits for an answer", "");
        p->submitted = false;
        ok = ok && number_and_text(p, arg, smtp_server_submitted);
    } else if (strcmp(verb, "file") == 0) {
        ok = p->want_file ? number_and_text(p, arg, smtp_server_file_done)
                          : failed(p, "no file was asked for", "");
        p->want_file = false;
    } else if (strcmp(verb, "credentials") == 0) {
        ok = credentials(p, arg);
    } else if (strcmp(verb, "auth") == 0) {
        p->user_settings = p->settings;
        ok = p->want_auth || failed(p, "no password check was asked for", "");
        p->want_auth = false;
        if (ok)
            smtp_server_auth_done(p->engine,
                                  strcmp(arg, "ok") == 0      ? SMTP_AUTH_OK
                                  : strcmp(arg, "wrong") == 0 ? SMTP_AUTH_WRONG
                                                              : SMTP_AUTH_LATER,
                                  &p->user_settings);
        go_on(p);
    } else if (strcmp(verb, "tls-up") == 0) {
        ok = p->want_tls || failed(p, "no TLS was asked for", "");
        p->want_tls = false;
        if (ok)
            smtp_server_tls_up(p->engine, "TLSv1.3 TLS_AES_128_GCM_SHA256");
    } else if (strcmp(verb, "time") == 0) {
        clock_fake_advance(atoll(arg));
        smtp_server_tick(p->engine, clock_mono_ms());
        take_wants(p);
    } else if (strcmp(verb, "drain") == 0) {
        smtp_server_drain(p->engine);
        take_wants(p);
    } else if (strcmp(verb, "closed") == 0) {
        ok = p->closed || failed(p, "the session is open", "");
    } else if (strcmp(verb, "open") == 0) {
        ok = !p->closed || failed(p, "the session is closed", "");
    } else if (strcmp(verb, "config") == 0) {
        char *blank = strchr(arg, ' ');
        if (blank)
            *blank++ = '\0';
        ok = set_option(p, arg, blank ? blank : "");
    } else {
        ok = failed(p, "no such step", verb);
    }
    buf_free(&text);
    return ok;
}

static bool play_file(const char *path, size_t piece)
{
    static char line[65536];
    struct play p = {.file = path, .piece = piece, .settings = defaults};
    FILE *f = fopen(path, "r");
    bool ok = f != NULL;

    p.shared.max_buffered_bytes = 64 << 20;
    clock_fake_set(1795233906000);
    while (ok && fgets(line, sizeof(line), f)) {
        p.line++;
        line[strcspn(line, "\n")] = '\0';
        if (line[0] == '#' || line[0] == '\0')
            continue;
        char *arg = strchr(line, ' ');
        if (arg)
            *arg++ = '\0';
        char none[1] = "";
        ok = run_step(&p, line, arg ? arg : none);
    }
    if (ok && buf_len(&p.out))
        ok = failed(&p, "a reply is left over", buf_data(&p.out));
    smtp_server_free(p.engine);
    if (ok && p.shared.buffered_bytes)
        ok = failed(&p, "buffered bytes are left over", "");
    buf_free(&p.input);
    buf_free(&p.out);
    buf_free(&p.content);
    if (f)
        fclose(f);
    return ok;
}

int main(int argc, char **argv)
{
    static const size_t pieces[] = {0, 1, 2, 3, 7};
    unsigned passed = 0, failures = 0;
    struct dirent **names;
    int count = argc > 1 ? scandir(argv[1], &names, NULL, alphasort) : -1;
    int null_fd = open("/dev/null", O_WRONLY);

    log_set_fd(null_fd);
    for (int i = 0; i < count; i++) {
        char path[4096];
        bool ok = true;
        snprintf(path, sizeof(path), "%s/%s", argv[1], names[i]->d_name);
        if (sv_ends_nocase(sv_of(path), SV(".scn"))) {
            for (size_t k = 0; k < ARRAY_LEN(pieces); k++)
                ok = play_file(path, pieces[k]) && ok;
            *(ok ? &passed : &failures) += 1;
        }
        free(names[i]);
    }
    if (count >= 0)
        free(names);
    log_flush();
    printf("smtp_server scenarios: %u passed, %u failed\n", passed, failures);
    return failures || passed == 0;
}
