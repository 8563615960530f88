/*
 * Signs messages as a pipe does, for verifiers that are not ours: each line of standard input is
 *
 *   INPUT OUTPUT HEADER-CANON BODY-CANON SELECTOR,DOMAIN,FILE[;SELECTOR,DOMAIN,FILE...]
 *
 * INPUT is a message with CRLF line ends; OUTPUT gets it with its signatures in front. The body hash
 * comes from the receiver's code, fed in uneven pieces, for every other line, and otherwise from the
 * signer's own.
 */
#include "body_hash.h"
#include "sign/signer.h"

#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { KEYS_MAX = 8, LINE_MAX_BYTES = 4096 };

static struct {
    char *file;
    struct sign_key *key;
} known[64];
static size_t known_count;

static struct sign_key *load_key(const char *file)
{
    struct err e = {0};

    for (size_t i = 0; i < known_count; i++)
        if (strcmp(known[i].file, file) == 0)
            return known[i].key;
    BUG_ON(known_count == ARRAY_LEN(known));
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || sign_key_load(fd, file, &known[known_count].key, &e) < 0) {
        fprintf(stderr, "dkim_sign: %s: %s\n", file, e.text);
        exit(1);
    }
    close(fd);
    known[known_count].file = xstrdup(file);
    return known[known_count++].key;
}

static void read_message(const char *path, struct buf *to)
{
    FILE *f = fopen(path, "rb");
    size_t n;

    BUG_ON(!f);
    while ((n = fread(buf_reserve(to, 65536), 1, 65536, f)) > 0)
        buf_advance(to, n);
    fclose(f);
}

/* Dots at the start of a line are doubled, as in the spool. */
static void stuff(struct strview raw, struct buf *wire)
{
    bool start = true;

    for (size_t i = 0; i < raw.len; i++) {
        if (start && raw.ptr[i] == '.')
            buf_append_char(wire, '.');
        buf_append_char(wire, raw.ptr[i]);
        start = raw.ptr[i] == '\n';
    }
}

static uint32_t header_length(struct strview wire)
{
    const char *blank = memmem(wire.ptr, wire.len, "\r\n\r\n", 4);
    return (uint32_t)(blank ? (size_t)(blank - wire.ptr) + 4 : wire.len);
}

static void hash_as_receiver(struct sign_request *r)
{
    struct arena arena = {0};
    bool relaxed = r->plan->body_canon == DKIM_RELAXED;
    struct body_hash *h = body_hash_new(&arena, relaxed, !relaxed);
    struct strview of_relaxed, of_simple;
    size_t piece = 1;

    for (size_t at = r->header_bytes; at < r->content.len;
         at += piece, piece = piece * 7 % 1009 + 1)
        body_hash_feed(h, r->content.ptr + at, MIN_OF(piece, r->content.len - at));
    body_hash_end(h, &of_relaxed, &of_simple);
    memcpy(r->body_hash, relaxed ? of_relaxed.ptr : of_simple.ptr, sizeof(r->body_hash));
    r->has_body_hash = true;
    arena_free(&arena);
}

static enum dkim_canon canon(const char *text)
{
    return strcmp(text, "simple") == 0 ? DKIM_SIMPLE : DKIM_RELAXED;
}

static void parse_keys(char *text, struct sign_plan *plan)
{
    for (char *save = NULL, *one; (one = strtok_r(text, ";", &save)); text = NULL) {
        char *domain = strchr(one, ',');
        char *file = domain ? strchr(domain + 1, ',') : NULL;
        BUG_ON(!file || plan->count == KEYS_MAX);
        *domain++ = *file++ = '\0';
        plan->with[plan->count++] = (struct sign_with){load_key(file), one, domain};
    }
}

static bool run_line(char *line, unsigned number)
{
    char input[512], output[512], header[16], body[16], keys[2048];
    struct sign_with with[KEYS_MAX];
    struct sign_plan plan = {
        .with = with,
        .timestamp = number % 3 != 0,
        .expire_after_s = number % 5 == 0 ? 86400 : 0,
    };
    struct sign_request r = {.plan = &plan, .fd = -1, .time_s = time(NULL)};
    struct buf raw = {0}, wire = {0};
    struct arena arena = {0};

    if (sscanf(line, "%511s %511s %15s %15s %2047s", input, output, header, body, keys) != 5)
        return false;
    dkim_names_parse(SV("From, Sender, Reply-To, To, Cc, Subject, Date, Message-ID, MIME-Version, "
                        "Content-Type, Comments, X-Repeated, List-Unsubscribe"),
                     SV("From, To, Subject"), &arena, &plan.names);
    parse_keys(keys, &plan);
    plan.header_canon = canon(header);
    plan.body_canon = canon(body);
    read_message(input, &raw);
    stuff(buf_view(&raw), &wire);
    r.content = buf_view(&wire);
    r.header_bytes = header_length(r.content);
    if (number % 2)
        hash_as_receiver(&r);
    sign_request_run(&r);
    FILE *f = fopen(output, "wb");
    BUG_ON(!f);
    fwrite(buf_data(&r.fields), 1, buf_len(&r.fields), f);
    fwrite(buf_data(&raw), 1, buf_len(&raw), f);
    fclose(f);
    buf_free(&raw);
    buf_free(&wire);
    buf_free(&r.fields);
    arena_free(&arena);
    return r.status == 0;
}

int main(void)
{
    char line[LINE_MAX_BYTES];

    for (unsigned number = 0; fgets(line, sizeof(line), stdin); number++)
        if (!run_line(line, number)) {
            fprintf(stderr, "dkim_sign: cannot sign: %s", line);
            return 1;
        }
    for (size_t i = 0; i < known_count; i++) {
        sign_key_unref(known[i].key);
        free(known[i].file);
    }
    return 0;
}
