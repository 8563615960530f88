/*
 * plan: see plan.h. Called by the client for each message it sends. Bodies are views of one block
 * of lines, taken from its end, so that each ends in CRLF and nothing is copied. The options were
 * checked before; nothing can fail after plan_init. Owns the block and the fixed header fields.
 */
#include "flood/plan.h"

#include "base/clock.h"
#include "base/units.h"

#include <inttypes.h>

#define LINE 78 /* with CRLF */

static int parse_sizes(struct plan *p, uint64_t *largest, struct err *e)
{
    const struct weights *w = &p->options->sizes;
    p->sizes = xcalloc(w->count, sizeof(*p->sizes));
    for (size_t i = 0; i < w->count; i++) {
        if (units_parse_size(w->entries[i].name, &p->sizes[i]) < 0 || p->sizes[i] > PLAN_SIZE_MAX)
            return err_set(e, ERR_SYNTAX, "\"%.*s\" is not a size up to 256m",
                           SV_ARG(w->entries[i].name));
        *largest = MAX_OF(*largest, p->sizes[i]);
    }
    return 0;
}

static void make_filler(struct plan *p, uint64_t largest)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyz0123456789 ABCDEFGHIJKLMNOPQRSTUVWXYZ+/";
    struct rng rng = rng_make(p->options->seed, UINT64_MAX);
    p->filler_len = (size_t)((largest + LINE - 1) / LINE * LINE);
    p->filler = xmalloc(p->filler_len + 1);
    for (size_t i = 0; i < p->filler_len; i++)
        p->filler[i] = letters[rng_next(&rng) % (sizeof(letters) - 1)];
    for (size_t i = 0; i < p->filler_len; i += LINE)
        memcpy(p->filler + i + LINE - 2, "\r\n", 2);
    p->filler[p->filler_len] = '\0';
}

int plan_init(struct plan *p, const struct plan_options *options, struct err *e)
{
    uint64_t largest = 0;
    memset(p, 0, sizeof(*p));
    p->options = options;
    int rc = parse_sizes(p, &largest, e);
    if (rc < 0)
        return rc;
    make_filler(p, largest);
    buf_printf(&p->seed, "%" PRIu64, options->seed);
    buf_printf(&p->fixed, "From: <%s>\r\n",
               options->from[0] ? options->from : "flood@flood.example");
    if (options->job)
        buf_printf(&p->fixed, "X-Job: %s\r\n", options->job);
    if (options->vmta)
        buf_printf(&p->fixed, "X-Virtual-MTA: %s\r\n", options->vmta);
    return 0;
}

void plan_fini(struct plan *p)
{
    free(p->sizes);
    free(p->filler);
    buf_free(&p->seed);
    buf_free(&p->fixed);
    memset(p, 0, sizeof(*p));
}

static void append_number(struct buf *out, uint64_t n)
{
    char digits[20];
    size_t len = 0;
    do {
        digits[sizeof(digits) - ++len] = (char)('0' + n % 10);
        n /= 10;
    } while (n);
    buf_append(out, digits + sizeof(digits) - len, len);
}

void plan_message(const struct plan *p, uint64_t index, struct plan_message *ret)
{
    const struct plan_options *o = p->options;
    ret->index = index;
    ret->rng = rng_make(o->seed, index);
    ret->size = p->sizes[weights_pick(&o->sizes, &ret->rng)];
    ret->pipe = o->pipes.count ? weights_pick(&o->pipes, &ret->rng) : 0;
}

void plan_recipient(const struct plan *p, struct plan_message *m, uint64_t number, struct buf *out)
{
    const struct weights *domains = &p->options->domains;
    buf_append(out, "user", 4);
    append_number(out, m->index * p->options->recipients + number);
    buf_append_char(out, '@');
    buf_append_sv(out, domains->entries[weights_pick(domains, &m->rng)].name);
}

void plan_id(const struct plan *p, uint64_t index, struct buf *out)
{
    buf_append_char(out, '<');
    buf_append_sv(out, buf_view(&p->seed));
    buf_append_char(out, '.');
    append_number(out, index);
    buf_append_str(out, "@flood.example>");
}

static void append_field(struct buf *out, const char *name, struct strview value)
{
    buf_append_str(out, name);
    buf_append_sv(out, value);
    buf_append(out, "\r\n", 2);
}

static void append_header(const struct plan *p, struct plan_message *m, int64_t wall_us,
                          struct buf *out)
{
    const struct plan_options *o = p->options;
    char date[CLOCK_RFC5322_SIZE];
    append_field(out, "Date: ", sv_of(clock_rfc5322(wall_us / 1000, date)));
    buf_append_sv(out, buf_view(&p->fixed));
    if (o->pipes.count)
        append_field(out, "X-Pipe: ", o->pipes.entries[m->pipe].name);
    buf_append_str(out, "To: <");
    plan_recipient(p, m, 0, out);
    buf_append_str(out, ">\r\nSubject: message ");
    append_number(out, m->index);
    buf_append_str(out, "\r\nMessage-Id: ");
    plan_id(p, m->index, out);
    buf_append_str(out, "\r\nX-Flood-Sent: ");
    append_number(out, wall_us > 0 ? (uint64_t)wall_us : 0);
    buf_append(out, "\r\n\r\n", 4);
}

uint64_t plan_compose(const struct plan *p, uint64_t index, int64_t wall_us, struct buf *header,
                      struct strview *body)
{
    struct plan_message m;
    size_t before = buf_len(header);
    plan_message(p, index, &m);
    append_header(p, &m, wall_us, header);
    size_t used = buf_len(header) - before;
    size_t len = m.size > used ? (size_t)m.size - used : 0;
    *body = sv(p->filler + p->filler_len - len, len);
    if (len > 0 && body->ptr[0] == '\n') {
        /* Not a bare LF: another byte stands in for the first one. */
        if (len == 1) {
            body->len = 0;
            return used;
        }
        buf_append_char(header, '-');
        *body = sv(body->ptr + 1, len - 1);
    }
    return used + len;
}
