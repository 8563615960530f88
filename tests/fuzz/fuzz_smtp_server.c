/*
 * The SMTP server engine against any client. The first byte chooses settings, the second the size
 * of the pieces and what the owner answers. Checked: what is submitted is wire form, and nothing
 * that was accounted for is forgotten.
 */
#include "smtp_server.h"

#include "base/clock.h"
#include "base/log.h"

#include <fcntl.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct fuzz {
    struct smtp_server *engine;
    struct smtp_server_settings settings;
    struct buf message;
    unsigned answers;
    bool closed;
};

static bool known(void *owner, struct strview name)
{
    (void)owner;
    return sv_eq(name, SV("bulk"));
}

static void signing_needs_of(void *owner, struct strview pipe, struct signing_needs *ret)
{
    (void)owner, (void)pipe;
    *ret = (struct signing_needs){.keys = true, .bimi = true, .relaxed = true, .simple = true};
}

static bool key_exists(void *owner, struct strview pipe, const struct signing_options *o)
{
    (void)owner, (void)pipe;
    return !o->selector.len || sv_eq(o->selector, SV("s1"));
}

static bool inbound_of(void *owner, struct strview address, bool relays, struct smtp_inbound *ret)
{
    (void)owner, (void)relays;
    *ret = (struct smtp_inbound){.pipe = SV("bulk")};
    if (address.len > 8 && address.ptr[0] == 'f')
        ret->refuse = "550 5.1.1 No such recipient here";
    return address.len && (address.ptr[0] == 'b' || address.ptr[0] == 'f');
}

static const struct smtp_server_ops ops = {
    .pipe_exists = known,
    .virtual_mta_exists = known,
    .signing_needs = signing_needs_of,
    .signing_key_exists = key_exists,
    .inbound = inbound_of,
};

static void check_message(const struct buf *m, const struct envelope *env)
{
    size_t len = buf_len(m);
    const char *p = buf_data(m);

    BUG_ON(len != env->content_bytes || env->header_bytes > len || env->rcpt_count == 0);
    BUG_ON(len < 4 || memcmp(p + len - 2, "\r\n", 2) != 0);
    BUG_ON(memmem(p, len, "\r\n.\r\n", 5) || memchr(p, '\0', len));
    BUG_ON(memcmp(p + env->header_bytes - 4, "\r\n\r\n", 4) != 0);
    for (size_t i = 0; i < len; i++)
        BUG_ON(p[i] == '\n' ? p[i - 1] != '\r' : p[i] == '\r' && p[i + 1] != '\n');
}

static void handle(struct fuzz *f, enum smtp_want w)
{
    struct buf piece = {0};
    unsigned choice = f->answers++ % 4;

    if (w == SMTP_WANT_TLS) {
        smtp_server_tls_up(f->engine, "TLSv1.3 X");
    } else if (w == SMTP_WANT_AUTH) {
        smtp_server_auth_done(f->engine, choice == 0 ? SMTP_AUTH_WRONG : SMTP_AUTH_OK,
                              &f->settings);
    } else if (w == SMTP_WANT_FILE) {
        buf_reset(&f->message);
        smtp_server_file_done(f->engine, choice == 0 ? 452 : 0, SV("4.3.1 full"));
    } else if (w == SMTP_WANT_CONTENT) {
        smtp_server_content_take(f->engine, &piece);
        buf_append_sv(&f->message, buf_view(&piece));
        smtp_server_content_done(f->engine, choice == 0 ? 451 : 0, SV("4.3.0 no"));
    } else if (w == SMTP_WANT_SUBMIT) {
        if (!smtp_server_has_file(f->engine))
            buf_reset(&f->message);
        buf_append_sv(&f->message, smtp_server_content(f->engine));
        check_message(&f->message, smtp_server_envelope(f->engine));
        smtp_server_content_sent(f->engine);
        smtp_server_submitted(f->engine, choice == 0 ? 451 : 250, SV("2.0.0 queued as \r\nX"));
    } else if (w == SMTP_WANT_CLOSE) {
        f->closed = true;
    }
    buf_free(&piece);
}

static void play(struct fuzz *f, struct buf *in)
{
    enum smtp_want w;
    do {
        smtp_server_input(f->engine, in);
        w = smtp_server_next(f->engine);
        handle(f, w);
    } while (w != SMTP_WANT_NOTHING);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t pieces[] = {1, 3, 16, 100, 65536};
    struct smtp_server_shared shared = {.max_buffered_bytes = 1 << 20};
    struct fuzz f = {0};
    struct buf in = {0};

    if (size < 2)
        return 0;
    log_set_debug(0);
    static int null_fd = -1;
    if (null_fd < 0) {
        null_fd = open("/dev/null", O_WRONLY);
        log_set_fd(null_fd);
    }
    clock_fake_set(1795233906000);
    unsigned bits = data[0];
    f.settings = (struct smtp_server_settings){
        .host_name = "mx.test",
        .source = "s",
        .pipe = "bulk",
        .max_message_bytes = bits & 1 ? 400 : 1 << 19,
        .max_inbound_bytes = 1 << 18,
        .accept_inbound = bits & 2,
        .max_rcpts = 5,
        .max_header_bytes = bits & 2 ? 100 : 65536,
        .max_line_bytes = 1000,
        .max_commands = 1000,
        .max_errors = 20,
        .idle_timeout_ms = 1000,
        .session_timeout_ms = 100000,
        .allow_relaying = !(bits & 4),
        .fix_lone_lf = bits & 8,
        .process_x_pipe = bits & 16,
        .process_x_virtual_mta = bits & 16,
        .process_x_job = bits & 16,
        .process_x_envid = bits & 16,
        .process_x_schedule = bits & 16,
        .process_x_delivery_priority = bits & 16,
        .process_x_remote_mta_name = bits & 16,
        .offer_starttls = bits & 32,
        .offer_auth = bits & 64,
        .allow_plain_auth = bits & 128,
    };
    f.answers = data[1] / ARRAY_LEN(pieces);
    f.engine = smtp_server_new("1", "2001:db8::1", &f.settings, &shared, &ops, &f);
    smtp_server_open(f.engine, NULL);
    for (size_t at = 2; at < size && !f.closed;) {
        size_t n = MIN_OF(pieces[data[1] % ARRAY_LEN(pieces)], size - at);
        buf_append(&in, data + at, n);
        play(&f, &in);
        at += n;
    }
    if (!f.closed) {
        clock_fake_advance(1000);
        smtp_server_tick(f.engine, clock_mono_ms());
        play(&f, &in);
        BUG_ON(!f.closed);
    }
    smtp_server_free(f.engine);
    BUG_ON(shared.buffered_bytes != 0);
    buf_free(&in);
    buf_free(&f.message);
    return 0;
}
