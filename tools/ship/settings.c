/*
 * Settings of a sink; see settings.h. child.c makes them from a configuration, options.c from a
 * command line; the thread that ships has them for itself.
 */
#include "settings.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static int64_t default_number(enum directive d)
{
    const struct directive_info *i = directive_info(d);
    int64_t interval = 0;
    uint64_t size = 0;

    if (i->type == TYPE_INTERVAL)
        return units_parse_interval(sv_of(i->default_text), &interval) == 0 ? interval : 0;
    if (i->type == TYPE_SIZE)
        return units_parse_size(sv_of(i->default_text), &size) == 0 ? (int64_t)size : 0;
    return strtoll(i->default_text, NULL, 10);
}

void ship_settings_init(struct ship_settings *s)
{
    *s = (struct ship_settings){
        .records = ACCT_ALL,
        .batch_records = (size_t)default_number(DIR_SINK_BATCH_RECORDS),
        .batch_bytes = (size_t)default_number(DIR_SINK_BATCH_SIZE),
        .batch_delay_ms = default_number(DIR_SINK_BATCH_DELAY),
        .timeout_ms = default_number(DIR_SINK_REQUEST_TIMEOUT),
        .retry_min_ms = default_number(DIR_SINK_RETRY_MIN),
        .retry_max_ms = default_number(DIR_SINK_RETRY_MAX),
        .max_in_flight = (unsigned)default_number(DIR_SINK_MAX_IN_FLIGHT),
        .dead_letter_after = (unsigned)default_number(DIR_SINK_DEAD_LETTER_AFTER),
        .max_dead_letters = (uint64_t)default_number(DIR_SINK_MAX_DEAD_LETTERS),
        .redis_max_length = default_number(DIR_SINK_REDIS_MAX_LENGTH),
        .verify = true,
    };
}

static void strings_fini(struct ship_strings *s)
{
    for (size_t i = 0; i < s->count; i++)
        free(s->items[i]);
    free(s->items);
}

void ship_settings_fini(struct ship_settings *s)
{
    for (size_t i = 0; i < s->set_count; i++)
        follow_set_fini(&s->sets[i]);
    free(s->sets);
    for (size_t i = 0; i < SHIP_SECRETS_MAX; i++) {
        explicit_bzero(buf_data(&s->secrets[i]), buf_len(&s->secrets[i]));
        buf_free(&s->secrets[i]);
    }
    strings_fini(&s->headers);
    strings_fini(&s->kafka_options);
    buf_free(&s->ca);
    free(s->name);
    free(s->url);
    free(s->host);
    free(s->only_pipe);
    free(s->login);
    free(s->password);
    *s = (struct ship_settings){0};
}

void ship_strings_add(struct ship_strings *s, struct strview text)
{
    s->items = xrealloc(s->items, (s->count + 1) * sizeof(*s->items));
    s->items[s->count++] = xstrndup(text.ptr, text.len);
}

void ship_strings_add_lines(struct ship_strings *s, struct strview text)
{
    struct strview line;

    while (sv_split(&text, '\n', &line)) {
        line = sv_trim(line);
        if (line.len && line.ptr[0] != '#')
            ship_strings_add(s, line);
    }
}

/* --- files --- */

int ship_read_file(int dirfd, const char *path, size_t max, struct buf *out, struct err *e)
{
    int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
    ssize_t n = 1;

    if (fd < 0)
        return err_set(e, -errno, "cannot open '%s'", path);
    while (n > 0 && buf_len(out) <= max) {
        n = read(fd, buf_reserve(out, 4096), 4096);
        if (n > 0)
            buf_advance(out, (size_t)n);
    }
    int status = n < 0 ? -errno : 0;
    close(fd);
    if (status == 0 && buf_len(out) > max)
        return err_set(e, ERR_LIMIT, "'%s' is too large (expected %zu bytes at most)", path, max);
    return status < 0 ? err_set(e, status, "cannot read '%s'", path) : 0;
}

char *ship_path_base(const char *path)
{
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    const char *dot = strrchr(base, '.');
    size_t len = dot && dot != base ? (size_t)(dot - base) : strlen(base);

    return xstrndup(base, MIN_OF(len, (size_t)120)); /* as the pipes cut it */
}

void ship_settings_follow(struct ship_settings *s, const char *path, int dirfd, int move_dirfd,
                          bool fixed)
{
    s->sets = xrealloc(s->sets, (s->set_count + 1) * sizeof(*s->sets));
    s->sets[s->set_count++] = (struct follow_set){
        .base = ship_path_base(path), .dirfd = dirfd, .move_dirfd = move_dirfd, .fixed = fixed};
}

/* --- pipes --- */

static bool wild(struct strview p, struct strview s)
{
    while (p.len && p.ptr[0] != '*') {
        if (!s.len || (p.ptr[0] != '?' && ascii_lower(p.ptr[0]) != ascii_lower(s.ptr[0])))
            return false;
        p = sv(p.ptr + 1, p.len - 1);
        s = sv(s.ptr + 1, s.len - 1);
    }
    if (!p.len)
        return !s.len;
    p = sv(p.ptr + 1, p.len - 1);
    for (size_t i = 0; i <= s.len; i++)
        if (wild(p, sv(s.ptr + i, s.len - i)))
            return true;
    return false;
}

bool ship_wants_pipe(const struct ship_settings *s, struct strview pipe)
{
    struct strview rest = sv_of(s->only_pipe), item;
    bool positive = false;

    while (rest.ptr && sv_split(&rest, ',', &item)) {
        item = sv_trim(item);
        bool no = item.len && item.ptr[0] == '!';
        if (no)
            item = sv_trim(sv(item.ptr + 1, item.len - 1));
        positive |= item.len && !no;
        if (item.len && wild(item, pipe))
            return !no;
    }
    return !positive;
}

/* --- from a configuration --- */

struct from {
    const struct config *cfg;
    const char *name;
};

static const struct config_value *get(const struct from *f, enum directive d)
{
    const struct config_value *v = config_section_get(f->cfg, KIND_EVENT_SINK, sv_of(f->name), d);
    return v && v->text ? v : NULL;
}

static int64_t number(const struct from *f, enum directive d, int64_t fallback)
{
    const struct config_value *v = get(f, d);
    return v ? v->number : fallback;
}

static bool flag(const struct from *f, enum directive d, bool fallback)
{
    const struct config_value *v = get(f, d);
    return v ? v->yes : fallback;
}

static char *text(const struct from *f, enum directive d)
{
    const struct config_value *v = get(f, d);
    return v ? xstrdup(v->text) : NULL;
}

static void numbers_from(struct ship_settings *s, const struct from *f)
{
    s->batch_records = (size_t)number(f, DIR_SINK_BATCH_RECORDS, (int64_t)s->batch_records);
    s->batch_bytes = (size_t)number(f, DIR_SINK_BATCH_SIZE, (int64_t)s->batch_bytes);
    s->batch_delay_ms = number(f, DIR_SINK_BATCH_DELAY, s->batch_delay_ms);
    s->timeout_ms = number(f, DIR_SINK_REQUEST_TIMEOUT, s->timeout_ms);
    s->retry_min_ms = number(f, DIR_SINK_RETRY_MIN, s->retry_min_ms);
    s->retry_max_ms = MAX_OF(number(f, DIR_SINK_RETRY_MAX, s->retry_max_ms), s->retry_min_ms);
    s->give_up_ms = number(f, DIR_SINK_GIVE_UP_AFTER, 0);
    s->max_in_flight = (unsigned)number(f, DIR_SINK_MAX_IN_FLIGHT, s->max_in_flight);
    s->dead_letter_after = (unsigned)number(f, DIR_SINK_DEAD_LETTER_AFTER, s->dead_letter_after);
    s->max_dead_letters =
        (uint64_t)number(f, DIR_SINK_MAX_DEAD_LETTERS, (int64_t)s->max_dead_letters);
    s->redis_database = number(f, DIR_SINK_REDIS_DATABASE, 0);
    s->redis_max_length = number(f, DIR_SINK_REDIS_MAX_LENGTH, s->redis_max_length);
    s->newest = number(f, DIR_SINK_START_AT, 0) == 1;
    s->kafka_key = (enum ship_kafka_key)number(f, DIR_SINK_KAFKA_KEY, SHIP_KEY_PIPE);
    s->gzip = flag(f, DIR_SINK_GZIP, false);
    s->verify = flag(f, DIR_SINK_VERIFY, true);
}

/* Every file that the section names must have come: without it the sink would do something else. */
static int take_file(const struct config_value *v, ship_file_fn *file, void *arg,
                     struct strview *ret, struct err *e)
{
    *ret = file(arg, v->text);
    return ret->len ? 0
                    : err_set(e, ERR_CONFIG, "%s: '%.200s' cannot be read, or is empty",
                              directive_info(v->directive)->name, v->text);
}

static int files_from(struct ship_settings *s, const struct from *f, ship_file_fn *file, void *arg,
                      struct err *e)
{
    const struct config_value *v = get(f, DIR_SINK_SIGNING_SECRET);
    struct strview t;
    int rc = 0;

    for (; rc == 0 && v && v->text && s->secret_count < SHIP_SECRETS_MAX; v = v->next)
        if ((rc = take_file(v, file, arg, &t, e)) == 0)
            buf_append_sv(&s->secrets[s->secret_count++], sv_trim(t));
    if (rc == 0 && (v = get(f, DIR_SINK_HEADER_FILE)) && (rc = take_file(v, file, arg, &t, e)) == 0)
        ship_strings_add_lines(&s->headers, t);
    if (rc == 0 && (v = get(f, DIR_SINK_KAFKA_OPTION_FILE)) &&
        (rc = take_file(v, file, arg, &t, e)) == 0)
        ship_strings_add_lines(&s->kafka_options, t);
    if (rc == 0 && (v = get(f, DIR_SINK_PASSWORD_FILE)) &&
        (rc = take_file(v, file, arg, &t, e)) == 0) {
        t = sv_trim(t);
        s->password = xstrndup(t.ptr, t.len);
    }
    if (rc == 0 && (v = get(f, DIR_SINK_CA_FILE)))
        rc = ship_read_file(AT_FDCWD, v->text, SHIP_CA_MAX, &s->ca, e);
    return rc;
}

int ship_settings_from_config(struct ship_settings *s, const struct config *cfg, const char *name,
                              ship_file_fn *file, void *arg, struct err *e)
{
    struct from f = {cfg, name};
    const struct config_value *v = get(&f, DIR_SINK_URL);
    const char *host = config_text(cfg, NULL, DIR_HOST_NAME);
    char own[256] = "";

    if (!v)
        return err_set(e, ERR_CONFIG, "event sink '%s' is not in the configuration", name);
    s->name = xstrdup(name);
    s->url = xstrdup(v->text);
    gethostname(own, sizeof(own) - 1);
    s->host = xstrdup(host && *host ? host : own);
    if (sink_url_parse(sv_of(s->url), &s->to, e) < 0)
        return ERR_CONFIG;
    numbers_from(s, &f);
    s->only_pipe = text(&f, DIR_ACCT_ONLY_PIPE);
    s->login = text(&f, DIR_SINK_LOGIN);
    if ((v = get(&f, DIR_ACCT_RECORDS)) && acct_records_parse(sv_of(v->text), &s->records, e) < 0)
        return ERR_CONFIG;
    for (v = get(&f, DIR_SINK_HTTP_HEADER); v && v->text; v = v->next)
        ship_strings_add(&s->headers, sv_of(v->text));
    for (v = get(&f, DIR_SINK_KAFKA_OPTION); v && v->text; v = v->next)
        ship_strings_add(&s->kafka_options, sv_of(v->text));
    return files_from(s, &f, file, arg, e);
}

const char *ship_acct_section(const struct config *cfg, const char *name)
{
    struct from f = {cfg, name};
    const struct config_value *v = get(&f, DIR_SINK_ACCT_FILE);

    return v ? v->text : config_section_name(cfg, KIND_ACCT_FILE, 0);
}
