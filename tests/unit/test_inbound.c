/*
 * Reports that come in by mail: the samples of tests/data/inbound against the readers of
 * pipe/inbound. Those of held-out.samples were written before the readers and put aside. Prints
 * precision and recall per kind, and how many recipients came out right.
 */
#include "unit.h"

#include "inbound/category.h"
#include "inbound/mime_text.h"
#include "inbound/parse.h"
#include "inbound/address_scan.h"
#include "inbound/reply_text.h"

#include "config_memory.h"

#include <stdio.h>
#include <time.h>

static struct classify *shipped(void)
{
    const char *dir = getenv("PMTA_SHIPPED_CONFIG");
    struct config_report report = {0};
    struct config *cfg;

    assert_non_null(dir);
    if (config_load(dir, 1, &cfg, &report) < 0)
        fail_msg("%s", buf_data(&report.text));
    buf_free(&report.text);
    struct classify *c = classify_new(cfg);
    config_unref(cfg);
    return c;
}

/* --- samples --- */

struct expected_rcpt {
    struct strview address, action, status, category; /* "*": anything, "-": none */
};

struct sample {
    struct strview name, kind, format;
    struct expected_rcpt rcpts[INBOUND_RCPTS_MAX];
    size_t rcpt_count;
    struct strview message;
};

struct figures {
    unsigned labelled[INBOUND_KIND_COUNT], named[INBOUND_KIND_COUNT], both[INBOUND_KIND_COUNT];
    unsigned total, formats, formats_right;
    unsigned rcpts, rcpts_right, statuses_right, categories, categories_right;
};

static struct strview word(struct strview *rest)
{
    *rest = sv_trim(*rest);
    size_t n = 0;
    while (n < rest->len && rest->ptr[n] != ' ')
        n++;
    struct strview w = sv(rest->ptr, n);
    *rest = sv(rest->ptr + n, rest->len - n);
    return w;
}

static bool starts(struct strview s, const char *prefix)
{
    return s.len >= strlen(prefix) && memcmp(s.ptr, prefix, strlen(prefix)) == 0;
}

static void read_heading(struct strview line, struct sample *s)
{
    struct strview rest = sv(line.ptr + 4, line.len - 4);

    *s = (struct sample){.name = word(&rest), .kind = word(&rest), .format = word(&rest)};
    if (sv_eq(s->kind, SV("unmatched"))) { /* then it says as what */
        s->kind = s->format;
        s->format = SV("-");
    }
}

static void read_rcpt(struct strview line, struct sample *s)
{
    struct strview rest = sv(line.ptr + 2, line.len - 2);
    struct expected_rcpt *x = &s->rcpts[s->rcpt_count++];

    x->address = word(&rest);
    x->action = word(&rest);
    x->status = word(&rest);
    x->category = word(&rest);
}

/* Calls fn with each sample of a file. */
static void each_sample(const char *file, void (*fn)(void *arg, const struct sample *s), void *arg)
{
    const char *dir = getenv("PMTA_TEST_DATA");
    char path[4096];
    struct buf all = {0};
    struct sample s = {.name = {NULL, 0}};
    struct strview line;

    assert_non_null(dir);
    snprintf(path, sizeof(path), "%s/inbound/%s", dir, file);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    for (size_t n = 1; n > 0; buf_advance(&all, n))
        n = fread(buf_reserve(&all, 65536), 1, 65536, f);
    fclose(f);
    struct strview rest = buf_view(&all);
    const char *start = NULL, *before = rest.ptr;
    while (mime_line(&rest, &line)) {
        if (starts(line, "%%%% ")) {
            if (start) {
                s.message = sv(start, (size_t)(before - start));
                fn(arg, &s);
            }
            start = NULL;
            read_heading(line, &s);
        } else if (s.name.ptr && !start && starts(line, "%% ")) {
            read_rcpt(line, &s);
        } else if (s.name.ptr && !start) {
            start = line.ptr;
        }
        before = rest.ptr;
    }
    assert_non_null(start);
    s.message = sv(start, (size_t)(before - start));
    fn(arg, &s);
    buf_free(&all);
}

/* --- judging --- */

struct judge {
    const struct classify *classify;
    struct figures f;
    bool tell;
};

static enum inbound_kind kind_of(struct strview name)
{
    for (int k = 0; k < INBOUND_KIND_COUNT; k++)
        if (sv_eq(name, sv_of(inbound_kind_name((enum inbound_kind)k))))
            return (enum inbound_kind)k;
    fail_msg("'%.*s' is no kind", SV_ARG(name));
    return INBOUND_OTHER;
}

static void parse_sample(struct strview message, struct arena *a, struct inbound_report *ret)
{
    struct mime m;
    struct budget b = {.until_ms = INT64_MAX};

    mime_parse(message, a, &b, &m);
    struct strview path;
    bool has = mime_field(m.parts[0].header, "Return-Path", 0, a, &path);
    struct strview to = address_first(mime_get(m.parts[0].header, "To", a));
    inbound_parse(message,
                  &(struct inbound_wanted){.null_sender = has && sv_eq(path, SV("<>")),
                                           .for_feedback = sv_starts_nocase(to, SV("fbl@")),
                                           .own = to,
                                           .time_ms = 10000},
                  a, ret);
}

static bool fits(struct strview expected, struct strview got)
{
    return sv_eq(expected, SV("*")) || sv_eq_nocase(expected, got) ||
           (sv_eq(expected, SV("-")) && !got.len);
}

static struct strview who(const struct inbound_rcpt *r)
{
    return r->original.len ? r->original : r->final;
}

static void judge_rcpt(struct judge *j, const struct sample *s, const struct expected_rcpt *x,
                       const struct inbound_report *r)
{
    const struct inbound_rcpt *got = NULL;

    j->f.rcpts++;
    for (size_t i = 0; i < r->rcpt_count; i++)
        if (fits(x->address, who(&r->rcpts[i])) || fits(x->address, r->rcpts[i].final))
            got = &r->rcpts[i];
    if (r->kind == INBOUND_COMPLAINT) {
        bool right = (got || (sv_eq(x->address, SV("-")) && !r->rcpt_count)) &&
                     fits(x->action, r->feedback_type);
        j->f.rcpts_right += right;
        j->f.statuses_right += right;
        if (!right && j->tell)
            print_message("  %.*s: type %.*s, recipient %.*s\n", SV_ARG(s->name),
                          SV_ARG(r->feedback_type), (int)r->rcpts[0].final.len,
                          r->rcpt_count ? r->rcpts[0].final.ptr : "");
        return;
    }
    if (!got) {
        if (j->tell)
            print_message("  %.*s: no recipient %.*s, %zu others%s%.*s\n", SV_ARG(s->name),
                          SV_ARG(x->address), r->rcpt_count, r->rcpt_count ? ": " : "",
                          r->rcpt_count ? (int)r->rcpts[0].final.len : 0, r->rcpts[0].final.ptr);
        return;
    }
    struct classification k = {.category = ""};
    struct buf text = {0};
    if (got->action_ <= REPORTED_DELAYED)
        inbound_category(j->classify, got, &text, &k);
    bool action = fits(x->action, sv_of(inbound_action_name(got->action_)));
    bool status = fits(x->status, got->status);
    bool category = fits(x->category, sv_of(k.category));
    j->f.rcpts_right += action;
    j->f.statuses_right += status;
    if (!sv_eq(x->category, SV("*"))) {
        j->f.categories++;
        j->f.categories_right += category;
    }
    if ((!action || !status || !category) && j->tell)
        print_message("  %.*s: %.*s is %s %.*s %s '%.*s'\n", SV_ARG(s->name), SV_ARG(x->address),
                      inbound_action_name(got->action_), SV_ARG(got->status), k.category,
                      SV_ARG(got->diagnostic));
    buf_free(&text);
}

static void judge_sample(void *arg, const struct sample *s)
{
    struct judge *j = arg;
    struct arena a = {0};
    struct inbound_report r;
    enum inbound_kind want = kind_of(s->kind);

    parse_sample(s->message, &a, &r);
    j->f.total++;
    j->f.labelled[want]++;
    j->f.named[r.kind]++;
    j->f.both[want] += want == r.kind;
    if (want != r.kind && j->tell)
        print_message("  %.*s: %s, not %s\n", SV_ARG(s->name), inbound_kind_name(r.kind),
                      inbound_kind_name(want));
    if (!sv_eq(s->format, SV("-"))) {
        bool right = fits(s->format, sv_of(r.format));
        j->f.formats++;
        j->f.formats_right += right;
        if (!right && j->tell)
            print_message("  %.*s: format %s\n", SV_ARG(s->name), r.format);
    }
    for (size_t i = 0; i < s->rcpt_count; i++)
        judge_rcpt(j, s, &s->rcpts[i], &r);
    size_t named =
        want == INBOUND_COMPLAINT && sv_eq(s->rcpts[0].address, SV("-")) ? 0 : s->rcpt_count;
    if (want == r.kind && s->rcpt_count && r.rcpt_count != named) {
        if (j->tell)
            print_message("  %.*s: %zu recipients, not %zu\n", SV_ARG(s->name), r.rcpt_count,
                          named);
        j->f.rcpts += r.rcpt_count > named ? (unsigned)(r.rcpt_count - named) : 0;
    }
    arena_free(&a);
}

static unsigned percent(unsigned part, unsigned whole)
{
    return whole ? part * 100 / whole : 100;
}

/* The floors hold for each kind that has at least `least` samples. */
static void print_figures(const char *title, const struct figures *f, unsigned least,
                          unsigned floor)
{
    unsigned below = 0, right = 0;

    for (unsigned k = 0; k < INBOUND_KIND_COUNT; k++)
        right += f->both[k];
    print_message("%s: %u samples, %u%% right\n  %-12s %7s %9s %7s\n", title, f->total,
                  percent(right, f->total), "kind", "samples", "precision", "recall");
    for (unsigned k = 0; k < INBOUND_KIND_COUNT; k++) {
        unsigned precision = percent(f->both[k], f->named[k]),
                 recall = percent(f->both[k], f->labelled[k]);
        bool low = f->labelled[k] >= least && (precision < floor || recall < floor);
        print_message("  %-12s %7u %8u%% %6u%%%s\n", inbound_kind_name((enum inbound_kind)k),
                      f->labelled[k], precision, recall, low ? "  below the floor" : "");
        below += low;
    }
    print_message(
        "  format %u%%, recipient and action %u%% of %u, status %u%%, category %u%% of %u\n",
        percent(f->formats_right, f->formats), percent(f->rcpts_right, f->rcpts), f->rcpts,
        percent(f->statuses_right, f->rcpts), percent(f->categories_right, f->categories),
        f->categories);
    assert_int_equal(below, 0);
}

static void judge_file(const char *file, bool tell, struct figures *ret)
{
    struct classify *c = shipped();
    struct judge j = {.classify = c, .tell = tell};

    each_sample(file, judge_sample, &j);
    for (unsigned k = 0; k < INBOUND_KIND_COUNT; k++) {
        ret->labelled[k] += j.f.labelled[k];
        ret->named[k] += j.f.named[k];
        ret->both[k] += j.f.both[k];
    }
    ret->total += j.f.total;
    ret->formats += j.f.formats;
    ret->formats_right += j.f.formats_right;
    ret->rcpts += j.f.rcpts;
    ret->rcpts_right += j.f.rcpts_right;
    ret->statuses_right += j.f.statuses_right;
    ret->categories += j.f.categories;
    ret->categories_right += j.f.categories_right;
    classify_free(c);
}

static void samples_that_readers_were_made_with(void **state)
{
    static const char *const files[] = {"dsn.samples", "text.samples", "other.samples"};
    struct figures f = {.total = 0};
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        judge_file(files[i], true, &f);
    assert_true(f.total >= 120);
    print_figures("samples that the readers were made with", &f, 1, 95);
    assert_true(percent(f.rcpts_right, f.rcpts) >= 98);
    assert_true(percent(f.statuses_right, f.rcpts) >= 98);
    assert_true(percent(f.categories_right, f.categories) >= 95);
}

static void samples_put_aside(void **state)
{
    struct figures f = {.total = 0};
    (void)state;

    judge_file("held-out.samples", getenv("PMTA_TELL_HELD_OUT") != NULL, &f);
    assert_true(f.total >= 40);
    print_figures("samples that were put aside", &f, 4, 85);
    assert_true(percent(f.rcpts_right, f.rcpts) >= 85);
}

/* --- bounds --- */

static const char *read_bytes(struct strview message, int64_t time_ms, struct inbound_report *r,
                              struct arena *a, int64_t *ret_ms)
{
    int64_t began = clock_mono_ms();

    inbound_parse(message, &(struct inbound_wanted){.null_sender = true, .time_ms = time_ms}, a, r);
    *ret_ms = clock_mono_ms() - began;
    return r->trouble;
}

static void nesting_and_parts_are_bounded(void **state)
{
    struct buf deep = {0}, wide = {0};
    struct inbound_report r;
    struct arena a = {0};
    int64_t ms;
    (void)state;

    for (int i = 0; i < 200; i++)
        buf_printf(&deep, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i);
    assert_string_equal(read_bytes(buf_view(&deep), 10000, &r, &a, &ms),
                        "it has too many parts, or parts too deep in parts");
    buf_append_str(&wide, "Content-Type: multipart/mixed; boundary=b\r\n\r\n");
    for (int i = 0; i < 5000; i++)
        buf_append_str(&wide, "--b\r\n\r\nx\r\n");
    assert_string_equal(read_bytes(buf_view(&wide), 10000, &r, &a, &ms),
                        "it has too many parts, or parts too deep in parts");
    assert_int_equal(r.kind, INBOUND_OTHER);
    buf_free(&deep);
    buf_free(&wide);
    arena_free(&a);
}

static void what_takes_too_long_is_given_up(void **state)
{
    struct buf b = {0};
    struct inbound_report r;
    struct arena a = {0};
    int64_t ms;
    (void)state;

    buf_append_str(&b, "Content-Type: message/delivery-status\r\n\r\n");
    for (int i = 0; i < 1000; i++)
        buf_printf(&b,
                   "Final-Recipient: rfc822;a%d@b.example\r\nX: y\r\nX: y\r\nX: y\r\n"
                   "X: y\r\nX: y\r\nX: y\r\nAction: failed\r\n\r\n",
                   i);
    assert_non_null(read_bytes(buf_view(&b), -1, &r, &a, &ms));
    assert_string_equal(r.trouble, "reading it took too long");
    arena_reset(&a);
    assert_null(read_bytes(buf_view(&b), 10000, &r, &a, &ms));
    assert_int_equal(r.rcpt_count, INBOUND_RCPTS_MAX);
    buf_free(&b);
    arena_free(&a);
}

/* One piece over and over, as large as reports may be by default, in each place that is looked at. */
static void no_bytes_make_it_slow(void **state)
{
    static const char *const heads[] = {
        "From: MAILER-DAEMON@x.example\r\nSubject: failure notice\r\n\r\n",
        "Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n--b\r\n"
        "Content-Type: message/delivery-status\r\n\r\n",
        "Content-Type: text/html\r\nX-Failed-Recipients: a@b.example\r\n\r\n",
        "Content-Type: multipart/mixed\r\n\r\n",
        "Content-Type: application/json\r\n\r\n{",
        "X-Failed-Recipients: ",
        "Subject: ",
        "Content-Type: text/plain; charset=iso-2022-jp\r\n\r\nyour message could not be delivered",
        "Content-Type: message/rfc822\r\n\r\n",
        "",
    };
    static const char *const pieces[] = {
        "@",
        "a@b.example ",
        "<",
        "=?",
        "=?utf-8?q?",
        "\n",
        "\r\n ",
        "--b\r\n",
        "[[",
        "{\"a\":",
        "550 ",
        "5.1.1 ",
        "\"",
        "\\x{1",
        "&lt;",
        ";a=\"",
        "\x1b$B!",
        "\xe3",
        ".\n",
        "A:\n",
        "Final-Recipient: rfc822;a@b.example\n\n",
        "Content-Type: message/rfc822\r\n\r\n",
        "to@",
    };
    struct buf b = {0};
    struct arena a = {0};
    int64_t worst = 0;
    (void)state;

    for (size_t h = 0; h < ARRAY_LEN(heads); h++)
        for (size_t p = 0; p < ARRAY_LEN(pieces); p++) {
            struct inbound_report r;
            int64_t ms;
            buf_reset(&b);
            buf_append_str(&b, heads[h]);
            while (buf_len(&b) < 256 * 1024)
                buf_append_str(&b, pieces[p]);
            read_bytes(buf_view(&b), 60000, &r, &a, &ms);
            if (ms > 200)
                print_message("  %lld ms: head %zu, piece '%s'\n", (long long)ms, h, pieces[p]);
            worst = MAX_OF(worst, ms);
            arena_free(&a);
        }
    print_message("%lld ms for the slowest of %zu reports of 256 KiB\n", (long long)worst,
                  ARRAY_LEN(heads) * ARRAY_LEN(pieces));
    assert_true(worst < 4000);
    buf_free(&b);
}

/* Every sample cut at many places, and with a byte changed. */
static void damage(void *arg, const struct sample *s)
{
    unsigned *seed = arg;
    struct arena a = {0};
    struct inbound_report r;

    for (size_t i = 0; i < 40; i++) {
        char *copy = xmalloc(s->message.len);
        memcpy(copy, s->message.ptr, s->message.len);
        *seed = *seed * 1103515245 + 12345;
        copy[*seed / 7 % s->message.len] = (char)(*seed >> 16);
        parse_sample(sv(copy, s->message.len - s->message.len * i / 41), &a, &r);
        assert_true(r.rcpt_count <= INBOUND_RCPTS_MAX);
        arena_reset(&a);
        free(copy);
    }
    arena_free(&a);
}

static void damaged_samples_are_survived(void **state)
{
    static const char *const files[] = {"dsn.samples", "text.samples", "other.samples"};
    unsigned seed = 17;
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        each_sample(files[i], damage, &seed);
}

static void codes_stand_where_replies_begin(void **state)
{
    static const struct {
        const char *text;
        unsigned code;
    } rows[] = {
        {"said: 550 no", 550},
        {"in 2026, 450 users", 0},
        {"port 587 or 465 times", 0},
        {"(450 4.2.0 later)", 450},
        {"<<< 554 x", 554},
        {"error 550: x", 550},
        {"\n552-5.2.2 full", 552},
        {"'550 5.1.1'", 550},
        {"1550 x", 0},
        {"192.0.2.1 550", 0},
        {"", 0},
    };
    unsigned code;
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        code = 0;
        reply_find(sv_of(rows[i].text), &code);
        if (code != rows[i].code)
            fail_msg("'%s': %u", rows[i].text, code);
    }
}

static void words_of_headers_are_decoded(void **state)
{
    static const struct {
        const char *raw, *text;
    } rows[] = {
        {"=?utf-8?Q?a_b?= =?utf-8?Q?c?= d", "a bc d"},
        {"=?iso-8859-1?Q?=FC?=", "\xc3\xbc"},
        {"=?utf-8?B?w7w=?=", "\xc3\xbc"},
        {"=?x?y?z", "=?x?y?z"},
        {"=?utf-8*de?q?x?=", "x"},
        {"=?utf-8?q?=ff?=", "\xef\xbf\xbd"},
        {"plain = text ?", "plain = text ?"},
    };
    struct arena a = {0};
    (void)state;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_sv_equal(mime_words(sv_of(rows[i].raw), &a), rows[i].text);
    arena_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nesting_and_parts_are_bounded),
        cmocka_unit_test(what_takes_too_long_is_given_up),
        cmocka_unit_test(no_bytes_make_it_slow),
        cmocka_unit_test(damaged_samples_are_survived),
        cmocka_unit_test(codes_stand_where_replies_begin),
        cmocka_unit_test(words_of_headers_are_decoded),
        cmocka_unit_test(samples_that_readers_were_made_with),
        cmocka_unit_test(samples_put_aside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
