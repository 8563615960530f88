/*
 * Accounting files; see acct_file.h. report.c owns them: it asks which take an event, hands the rows
 * to the spool and ends files that are due.
 */
#include "report/acct_file.h"

#include "base/log.h"
#include "report/acct_tail.h"
#include "report/rows.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    FILTER_ITEMS = 64,
    TURN_RETRY_MS = 60000,
    SURE_MS = 60000, /* records wait for milliseconds; this is for disks that hang */
    FILES_BACK = 8,  /* without records, one behind the other */
};

/* "news*, !news-test": the first that matches counts. */
struct filter {
    struct strview items[FILTER_ITEMS];
    size_t count;
    bool any_positive;
};

struct acct_file {
    char *section, *pipe;
    char *prefix; /* "acct-bulk-" */
    char suffix[8];
    struct acct_rows *rows;
    bool command; /* files wait for a command */
    bool fixed;   /* the default file: one name, never finished */
    int dirfd, move_dirfd, fd;
    bool dirfd_owned;
    char name[FINISH_NAME];

    unsigned records;
    char *texts; /* what the filters' views point into */
    struct filter pipes, vmtas, jobs, domains;
    bool filtered;
    bool world_readable;

    int64_t interval_ms, slot, max_bytes, bytes, not_before_ms;
    int64_t retry_ms, write_timeout_ms; /* of a command */
    enum finish_compression compression;
    int64_t delete_after_ms, max_total_bytes;
    char *sinks; /* event sinks that follow it, a comma behind each; NULL: none */
    message_id newest_received;
};

/* --- settings --- */

static const char *text_of(const struct config *cfg, const char *name, enum directive d)
{
    const struct config_value *v = config_section_get(cfg, KIND_ACCT_FILE, sv_of(name), d);
    return v && v->text ? v->text : directive_info(d)->default_text;
}

static int64_t number_of(const struct config *cfg, const char *name, enum directive d,
                         bool *ret_set)
{
    const struct config_value *v = config_section_get(cfg, KIND_ACCT_FILE, sv_of(name), d);
    bool set = v && v->text;

    if (ret_set)
        *ret_set = set;
    /* the global value is the default of the table, parsed */
    if (directive_info(d)->type == TYPE_BOOL)
        return set ? v->yes : config_bool(cfg, NULL, d);
    return set ? v->number : config_number(cfg, NULL, d);
}

/* A copy that lives as long as f. */
static struct strview keep(struct buf *texts, const char *text)
{
    size_t at = buf_len(texts);

    buf_append(texts, text ? text : "", strlen(text ? text : "") + 1);
    return sv((const char *)(uintptr_t)at, text ? strlen(text) : 0); /* rebased at the end */
}

static void filter_split(struct filter *f, struct strview text)
{
    struct strview item;

    while (f->count < FILTER_ITEMS && sv_split(&text, ',', &item)) {
        item = sv_trim(item);
        if (!item.len)
            continue;
        f->any_positive |= item.ptr[0] != '!';
        f->items[f->count++] = item;
    }
}

static bool wild(struct strview pattern, struct strview s)
{
    size_t p = 0, i = 0, star = SIZE_MAX, from = 0;

    while (i < s.len) {
        if (p < pattern.len && pattern.ptr[p] == '*') {
            star = p++;
            from = i;
        } else if (p < pattern.len && (pattern.ptr[p] == '?' ||
                                       ascii_lower(pattern.ptr[p]) == ascii_lower(s.ptr[i]))) {
            p++;
            i++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            i = ++from;
        } else {
            return false;
        }
    }
    while (p < pattern.len && pattern.ptr[p] == '*')
        p++;
    return p == pattern.len;
}

static bool passes(const struct filter *f, struct strview s)
{
    for (size_t i = 0; i < f->count; i++) {
        struct strview item = f->items[i];
        bool no = item.ptr[0] == '!';
        if (no)
            item = sv_trim(sv(item.ptr + 1, item.len - 1));
        if (wild(item, s))
            return !no;
    }
    return !f->count || !f->any_positive;
}

/* "|/usr/bin/load --all" gives "feed-load-1f3a9c02-PIPE-": the same for ever, another one for each. */
static void name_parts_of_command(struct acct_file *f)
{
    const char *word = f->section + 1 + strspn(f->section + 1, " \t\"'");
    uint32_t sum = 2166136261u; /* FNV-1a */
    struct buf b = {0};
    char name[41] = "";

    for (const char *c = f->section; *c; c++)
        sum = (sum ^ (unsigned char)*c) * 16777619u;
    for (size_t i = 0, n = 0; word[i] && !strchr(" \t\"'", word[i]); i++) {
        bool plain = memchr("-_.", word[i], 3) || (word[i] >= '0' && word[i] <= '9') ||
                     (ascii_lower(word[i]) >= 'a' && ascii_lower(word[i]) <= 'z');
        if (word[i] == '/')
            n = 0;
        else if (n + 1 < sizeof(name))
            name[n++] = plain ? word[i] : '_';
        name[n] = '\0';
    }
    buf_printf(&b, "feed-%s-%08x-%s-", name, sum, f->pipe);
    f->prefix = xstrndup(buf_data(&b), buf_len(&b));
    buf_free(&b);
    snprintf(f->suffix, sizeof(f->suffix), ".staged");
}

/* "/var/log/pmta/acct.csv" gives "acct-PIPE-" and ".csv". */
static void name_parts(struct acct_file *f, bool json)
{
    const char *slash = strrchr(f->section, '/');
    const char *base = slash ? slash + 1 : f->section;
    const char *dot = strrchr(base, '.');
    size_t len = dot && dot != base ? (size_t)(dot - base) : strlen(base);
    struct buf b = {0};

    buf_printf(&b, "%.*s-%s-", (int)MIN_OF(len, (size_t)120), base, f->pipe);
    f->prefix = xstrndup(buf_data(&b), buf_len(&b));
    buf_free(&b);
    if (dot && dot != base && strlen(dot) > 1 && strlen(dot) < sizeof(f->suffix))
        snprintf(f->suffix, sizeof(f->suffix), "%s", dot);
    else
        snprintf(f->suffix, sizeof(f->suffix), "%s", json ? ".json" : ".csv");
}

static struct strview rebase(const struct acct_file *f, struct strview v)
{
    return sv(f->texts + (uintptr_t)v.ptr, v.len);
}

static void make_rows(struct acct_file *f, const struct config *cfg, const char *name, bool json)
{
    const char *all = text_of(cfg, name, DIR_ACCT_RECORD_FIELDS);
    bool short_ = number_of(cfg, name, DIR_ACCT_PROFILE, NULL) == 1;
    struct acct_rows_settings s = {
        .records = f->records,
        .user_string = text_of(cfg, name, DIR_ACCT_USER_STRING),
        .json = json,
        .iso_times = number_of(cfg, name, DIR_ACCT_ISO_TIMES, NULL),
    };

    for (unsigned r = 0; r < ACCT_RECORD_COUNT; r++) {
        const char *own = text_of(cfg, name, (enum directive)(DIR_ACCT_RECORD_FIELDS_D + r));
        s.lists[r] = own ? own : all ? all : short_ ? ACCT_SHORT_PROFILE : "*";
    }
    f->rows = acct_rows_new(&s);
}

/* As written, copied so that the configuration may go. */
static void read_filters(struct acct_file *f, const struct config *cfg, const char *name)
{
    static const enum directive filters[] = {DIR_ACCT_ONLY_PIPE, DIR_ACCT_ONLY_VIRTUAL_MTA,
                                             DIR_ACCT_ONLY_JOB, DIR_ACCT_ONLY_DOMAIN};
    struct filter *const to[] = {&f->pipes, &f->vmtas, &f->jobs, &f->domains};
    struct strview only[ARRAY_LEN(filters)];
    struct buf texts = {0};

    for (size_t i = 0; i < ARRAY_LEN(filters); i++)
        only[i] = keep(&texts, text_of(cfg, name, filters[i]));
    f->texts = buf_take(&texts);
    for (size_t i = 0; i < ARRAY_LEN(filters); i++) {
        filter_split(to[i], rebase(f, only[i]));
        f->filtered |= to[i]->count > 0;
    }
}

/* The event sinks that send the records of this pipe from this section's files: retention waits for
 * them. */
static void read_sinks(struct acct_file *f, const struct config *cfg)
{
    const char *sink, *first = config_section_name(cfg, KIND_ACCT_FILE, 0);
    struct buf names = {0};

    for (size_t i = 0; (sink = config_section_name(cfg, KIND_EVENT_SINK, i)); i++) {
        const struct config_value *of =
            config_section_get(cfg, KIND_EVENT_SINK, sv_of(sink), DIR_SINK_ACCT_FILE);
        const struct config_value *only =
            config_section_get(cfg, KIND_EVENT_SINK, sv_of(sink), DIR_ACCT_ONLY_PIPE);
        struct filter pipes = {0};
        const char *followed = of && of->text ? of->text : first;
        if (!followed || strcmp(followed, f->section) != 0)
            continue;
        if (only && only->text)
            filter_split(&pipes, sv_of(only->text));
        if (passes(&pipes, sv_of(f->pipe)))
            buf_printf(&names, "%s,", sink);
    }
    f->sinks = buf_len(&names) ? xstrndup(buf_data(&names), buf_len(&names)) : NULL;
    buf_free(&names);
}

static struct acct_file *make(const char *section, const char *pipe, int dirfd, int move_dirfd)
{
    struct acct_file *f = xcalloc(1, sizeof(*f));

    f->section = xstrdup(section);
    f->pipe = xstrdup(pipe);
    f->dirfd = dirfd;
    f->move_dirfd = move_dirfd;
    f->fd = -1;
    return f;
}

struct acct_file *acct_file_new(const struct config *cfg, const char *name, const char *pipe,
                                int dirfd, int move_dirfd)
{
    struct acct_file *f = make(name, pipe, dirfd, move_dirfd);
    bool json = number_of(cfg, name, DIR_ACCT_FORMAT, NULL) == 1, retention_set;

    f->dirfd_owned = true;
    acct_records_parse(sv_of(text_of(cfg, name, DIR_ACCT_RECORDS)), &f->records, NULL);
    f->world_readable = number_of(cfg, name, DIR_ACCT_WORLD_READABLE, NULL);
    f->interval_ms = number_of(cfg, name, DIR_ACCT_MOVE_INTERVAL, NULL);
    f->max_bytes = number_of(cfg, name, DIR_ACCT_MAX_SIZE, NULL);
    f->compression = (enum finish_compression)number_of(cfg, name, DIR_ACCT_COMPRESS, NULL);
    f->delete_after_ms = number_of(cfg, name, DIR_ACCT_DELETE_AFTER, &retention_set);
    if (move_dirfd >= 0 && !retention_set)
        f->delete_after_ms = 0; /* what was moved is somebody else's */
    f->max_total_bytes = number_of(cfg, name, DIR_ACCT_MAX_TOTAL_SIZE, NULL);
    f->command = name[0] == '|';
    f->retry_ms = number_of(cfg, name, DIR_ACCT_RETRY_INTERVAL, NULL);
    f->write_timeout_ms = number_of(cfg, name, DIR_ACCT_WRITE_TIMEOUT, NULL);
    read_sinks(f, cfg);
    read_filters(f, cfg, name);
    make_rows(f, cfg, name, json);
    if (f->command)
        name_parts_of_command(f);
    else
        name_parts(f, json);
    return f;
}

/* The columns that this file has had from the beginning; see docs/accounting.md. */
#define DEFAULT_COLUMNS                                                                         \
    "type,timeLogged,timeQueued,orig,rcpt,dsnAction,dsnStatus,dsnDiag,dsnMta,srcMta,vmta,pipe," \
    "queue,jobId,envId,dlvSize,dlvTlsProtocol,dlvTlsCipher,dlvTlsVerified,msgId"

struct acct_file *acct_file_new_default(const char *pipe, int dirfd)
{
    struct acct_file *f = make("", pipe, dirfd, -1);
    struct acct_rows_settings s = {.records = ACCT_ALL, .iso_times = true};

    for (unsigned r = 0; r < ACCT_RECORD_COUNT; r++)
        s.lists[r] = DEFAULT_COLUMNS;
    f->fixed = true;
    f->records = ACCT_ALL;
    f->rows = acct_rows_new(&s);
    snprintf(f->name, sizeof(f->name), "acct-%s.csv", pipe);
    return f;
}

void acct_file_free(struct acct_file *f)
{
    if (!f)
        return;
    if (f->fd >= 0)
        close(f->fd);
    if (f->dirfd_owned && f->dirfd >= 0)
        close(f->dirfd);
    if (f->move_dirfd >= 0)
        close(f->move_dirfd);
    free(f->section);
    free(f->pipe);
    free(f->prefix);
    acct_rows_free(f->rows);
    free(f->texts);
    free(f->sinks);
    free(f);
}

/* --- the open file --- */

/* The file before `name` in the order of names, in either directory; false: there is none. */
static bool file_before(const struct acct_file *f, const char *name, char *ret, int *ret_dirfd)
{
    const int dirs[] = {f->dirfd, f->move_dirfd};
    struct dirent *entry;
    int number;

    *ret = '\0';
    for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
        int copy = dirs[i] < 0 ? -1 : openat(dirs[i], ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *dir = copy < 0 ? NULL : fdopendir(copy);
        while (dir && (entry = readdir(dir)))
            if (finish_is_member(entry->d_name, f->prefix, NULL, &number) &&
                strcmp(entry->d_name, name) < 0 && strcmp(entry->d_name, ret) > 0 &&
                strlen(entry->d_name) < FINISH_NAME) {
                strcpy(ret, entry->d_name);
                *ret_dirfd = dirs[i];
            }
        if (dir)
            closedir(dir);
    }
    return *ret;
}

/* A file was written in the order in which records were made, so what it was given a while before
 * its last write is in it. */
static message_id sure_until(int64_t mtime_ms)
{
    return message_id_at(mtime_ms - SURE_MS);
}

/* The files before a new one say what the new one cannot: a crash may come right after the turn. */
static message_id newest_before(const struct acct_file *f, int64_t created_ms)
{
    char at[FINISH_NAME], name[FINISH_NAME];
    struct stat st;
    struct acct_tail t;
    int dirfd = -1;

    snprintf(at, sizeof(at), "%s", f->name);
    for (int i = 0; i < FILES_BACK && file_before(f, at, name, &dirfd); i++) {
        size_t len = strlen(name), end = strlen(f->suffix);
        bool plain = dirfd == f->dirfd && len > end && strcmp(name + len - end, f->suffix) == 0;
        if (plain && acct_tail_scan(f->dirfd, name, f->fixed, &t) == 0) {
            if (t.newest)
                return t.newest;
            if (t.has_records)
                return sure_until(t.mtime_ms);
        } else if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
            return sure_until((int64_t)st.st_mtim.tv_sec * 1000);
        }
        snprintf(at, sizeof(at), "%s", name);
    }
    /* the first file of all: what came later has no record; or a command had those before */
    return f->command ? sure_until(created_ms) : message_id_at(created_ms);
}

/* Finds the newest r record, and ends a line that a power cut left torn: its event was not
 * journalled, so its record is made again. */
static int read_tail(struct acct_file *f)
{
    struct acct_tail t;
    int status = acct_tail_scan(f->dirfd, f->name, f->fixed, &t);

    if (status < 0)
        return status;
    f->newest_received = t.newest        ? t.newest
                         : t.has_records ? sure_until(t.mtime_ms)
                         : f->fixed      ? message_id_at(t.mtime_ms)
                                         : newest_before(f, t.mtime_ms);
    return t.torn && write(f->fd, "\r\n", 2) != 2 ? -EIO : 0;
}

/* The file begins with the columns of today. */
static bool same_header(const struct acct_file *f)
{
    const char *line = acct_rows_header_line(f->rows);
    size_t len = strlen(line);
    char *text = xmalloc(len + 1);
    int fd = openat(f->dirfd, f->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t n = fd < 0 ? -1 : pread(fd, text, len, 0);
    bool same = n == (ssize_t)len && memcmp(text, line, len) == 0;

    if (fd >= 0)
        close(fd);
    free(text);
    return same;
}

static void date_of(int64_t wall_ms, char *out)
{
    time_t t = (time_t)(wall_ms / 1000);
    struct tm tm;

    gmtime_r(&t, &tm);
    strftime(out, 16, "%Y-%m-%d", &tm);
}

/* The highest number of that date in the directory. */
static void highest(int dirfd, const char *prefix, const char *date, int *number)
{
    int copy = dirfd < 0 ? -1 : openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), n;
    DIR *dir = copy < 0 ? NULL : fdopendir(copy);
    struct dirent *entry;

    while (dir && (entry = readdir(dir)))
        if (finish_is_member(entry->d_name, prefix, date, &n))
            *number = MAX_OF(*number, n);
    if (dir)
        closedir(dir);
}

static void name_file(struct acct_file *f, const char *date, int number)
{
    snprintf(f->name, sizeof(f->name), "%s%s-%04d%s", f->prefix, date, number, f->suffix);
}

/* The newest file, when it can be gone on with; else the name after it. */
static void choose_name(struct acct_file *f, int64_t wall_ms, bool fresh)
{
    char date[16];
    struct stat st;
    int number = -1;

    date_of(wall_ms, date);
    highest(f->dirfd, f->prefix, date, &number);
    highest(f->move_dirfd, f->prefix, date, &number);
    if (number >= 0 && !fresh) {
        name_file(f, date, number);
        if (fstatat(f->dirfd, f->name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
            st.st_size < f->max_bytes &&
            (int64_t)st.st_mtim.tv_sec * 1000 / f->interval_ms == wall_ms / f->interval_ms &&
            same_header(f))
            return;
    }
    name_file(f, date, number + 1);
}

static int begin_file(struct acct_file *f)
{
    const char *line = acct_rows_header_line(f->rows);
    size_t len = strlen(line);

    f->bytes = (int64_t)len;
    return !len || write(f->fd, line, len) == (ssize_t)len ? 0 : -EIO;
}

static int open_file(struct acct_file *f, int64_t wall_ms, bool fresh, struct err *e)
{
    struct stat st;

    if (!f->fixed) {
        choose_name(f, wall_ms, fresh);
        f->slot = wall_ms / f->interval_ms;
    }
    f->newest_received = 0;
    f->fd = openat(f->dirfd, f->name, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (f->fd < 0)
        return err_set(e, -errno, "cannot open accounting file '%s'", f->name);
    int status = fstat(f->fd, &st) < 0 ? -errno : 0;
    if (status == 0 && f->world_readable && fchmod(f->fd, 0644) < 0)
        status = -errno;
    f->bytes = st.st_size;
    if (status == 0 && st.st_size == 0)
        status = begin_file(f);
    if (status == 0 && !fresh)
        status = read_tail(f);
    /* what a killed process wrote: the spool takes it for durable */
    if (status == 0 && !fresh && fdatasync(f->fd) < 0 && errno != EINVAL && errno != EROFS)
        status = -errno;
    if (status == 0)
        return 0;
    close(f->fd);
    f->fd = -1;
    return err_set(e, status, "cannot write accounting file '%s'", f->name);
}

int acct_file_open(struct acct_file *f, int64_t wall_ms, struct err *e)
{
    return open_file(f, wall_ms, false, e);
}

int acct_file_fd(const struct acct_file *f)
{
    return f->fd;
}

void acct_file_wrote(struct acct_file *f, size_t bytes)
{
    f->bytes += (int64_t)bytes;
}

bool acct_file_due(const struct acct_file *f, int64_t wall_ms)
{
    return !f->fixed && f->fd >= 0 && wall_ms >= f->not_before_ms &&
           (f->bytes >= f->max_bytes || wall_ms / f->interval_ms != f->slot);
}

static struct finish_job *new_job(const struct acct_file *f)
{
    struct finish_job *job = xcalloc(1, sizeof(*job));

    *job = (struct finish_job){
        .dirfd = fcntl(f->dirfd, F_DUPFD_CLOEXEC, 0),
        .move_dirfd = f->move_dirfd < 0 ? -1 : fcntl(f->move_dirfd, F_DUPFD_CLOEXEC, 0),
        .compression = f->compression,
        .delete_after_ms = f->delete_after_ms,
        .max_total_bytes = f->max_total_bytes,
        .sinks = f->sinks ? xstrdup(f->sinks) : NULL,
    };
    snprintf(job->prefix, sizeof(job->prefix), "%s", f->prefix);
    snprintf(job->suffix, sizeof(job->suffix), "%s", f->suffix);
    memcpy(job->active, f->name, sizeof(job->active));
    return job;
}

int acct_file_turn(struct acct_file *f, int64_t wall_ms, int *ret_fd, struct finish_job **ret_job,
                   struct err *e)
{
    char old[FINISH_NAME];
    int64_t bytes = f->bytes;
    int fd = f->fd;

    memcpy(old, f->name, sizeof(old));
    f->fd = -1;
    int status = open_file(f, wall_ms, true, e);
    if (status < 0) {
        f->fd = fd;
        f->bytes = bytes;
        memcpy(f->name, old, sizeof(old));
        f->not_before_ms = wall_ms + TURN_RETRY_MS;
        return status;
    }
    *ret_fd = fd;
    *ret_job = f->command ? NULL : new_job(f);
    if (*ret_job)
        memcpy((*ret_job)->finished, old, sizeof(old));
    return 0;
}

int acct_file_take_fd(struct acct_file *f)
{
    int fd = f->fd;

    f->fd = -1;
    return fd;
}

struct finish_job *acct_file_leftovers(struct acct_file *f)
{
    return f->fixed || f->command ? NULL : new_job(f);
}

const char *acct_file_name(const struct acct_file *f)
{
    return f->name;
}

const char *acct_file_section(const struct acct_file *f)
{
    return f->section;
}

bool acct_file_feed(const struct acct_file *f, struct feed_settings *ret)
{
    *ret = (struct feed_settings){
        .command = f->section + 1,
        .prefix = f->prefix,
        .suffix = f->suffix,
        .dirfd = f->dirfd,
        .retry_ms = f->retry_ms,
        .write_timeout_ms = f->write_timeout_ms,
    };
    return f->command;
}

message_id acct_file_newest_received(const struct acct_file *f)
{
    return f->newest_received;
}

bool acct_file_has_received(const struct acct_file *f)
{
    return f->records & ACCT_BIT(R);
}

void acct_file_headers(const struct acct_file *f, void (*fn)(void *arg, struct strview name),
                       void *arg)
{
    acct_rows_headers(f->rows, fn, arg);
}

/* --- records --- */

bool acct_file_takes(const struct acct_file *f, const struct acct_event *e)
{
    char scratch[ACCT_SCRATCH];

    if (!(f->records & 1u << e->record))
        return false;
    if (!f->filtered)
        return true;
    return passes(&f->pipes, e->pipe) && passes(&f->vmtas, e->vmta) && passes(&f->jobs, e->job) &&
           passes(&f->domains,
                  acct_event_text(e, ACCT_FIELD_DOMAIN, sv(NULL, 0), sv(NULL, 0), true, scratch));
}

void acct_file_format(const struct acct_file *f, const struct acct_event *e, struct buf *out)
{
    acct_rows_put(f->rows, e, out);
}
