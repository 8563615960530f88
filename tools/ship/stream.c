/*
 * The files of one pipe as lines; see stream.h. ship.c owns the streams and lets them look at their
 * directories; batch.c reads.
 *
 * A file is over when the next one has records: the pipe writes its files in order. Until then the
 * end of a file means: nothing more for now. A file is found again by its name, whether it was
 * moved or compressed meanwhile, and by the bytes before the place. What is gone cannot be sent;
 * that is counted and said.
 */
#include "stream.h"

#include "note.h"

#include "base/clock.h"

#include <errno.h>
#include <stdio.h>

enum { READ_BYTES = 256 * 1024, QUIET_MS = 2000, LOOK_BACK = 1024 * 1024, RATIO_GUESS = 10 };

struct stream *stream_new(const struct follow_set *set, struct strview pipe,
                          const struct place_entry *saved, bool newest)
{
    struct stream *s = xcalloc(1, sizeof(*s));

    s->set = set;
    snprintf(s->pipe, sizeof(s->pipe), "%.*s", SV_ARG(pipe));
    if (set->single)
        snprintf(s->label, sizeof(s->label), "%s", set->single);
    else
        snprintf(s->label, sizeof(s->label), "%.100s-%.190s", set->base, s->pipe);
    s->end_of_newest = newest && !saved;
    if (saved) {
        s->acked = s->at = saved->place;
        s->acked_trail = s->trail = saved->trail;
    }
    return s;
}

static void clear_raw(struct stream *s)
{
    buf_reset(&s->raw);
    s->searched = s->given = 0;
}

static void close_file(struct stream *s)
{
    source_close(s->source);
    columns_free(s->columns);
    s->source = NULL;
    s->columns = NULL;
    s->begun = s->useless = s->skipping = s->json = false;
    clear_raw(s);
}

void stream_free(struct stream *s)
{
    if (!s)
        return;
    close_file(s);
    buf_free(&s->raw);
    free(s);
}

/* --- looks --- */

static bool has_one_name(const struct stream *s)
{
    return s->set->fixed || s->set->single;
}

void stream_look_begin(struct stream *s)
{
    s->looked = true;
    s->has_next = s->current_is_plain = false;
    s->pending_bytes = 0;
    s->pending_files = 0;
}

static bool is_current(const struct stream *s, const struct found_file *f)
{
    if (has_one_name(s))
        return s->at.inode == f->inode;
    return *s->at.stem && file_key_cmp(s->at.key, f->key) == 0;
}

void stream_look_file(struct stream *s, const struct found_file *f)
{
    bool twin = s->has_next && strcmp(f->stem, s->next.stem) == 0;

    if (is_current(s, f)) {
        s->current_is_plain |= f->form == FORM_PLAIN && !f->moved;
        return;
    }
    if (!has_one_name(s) && trail_has(&s->trail, f->key))
        return;
    if (!twin) {
        s->pending_files++;
        s->pending_bytes += f->form == FORM_PLAIN ? f->size : f->size * RATIO_GUESS;
    }
    if (!s->has_next || file_key_cmp(f->key, s->next.key) < 0 || (twin && f->form == FORM_PLAIN))
        s->next = *f;
    s->has_next = true;
}

uint64_t stream_behind(const struct stream *s)
{
    uint64_t left = s->source ? source_left(s->source) : 0;
    bool same = strcmp(s->acked.stem, s->at.stem) == 0;

    left += s->begun ? source_offset(s->source) - s->at.offset : 0;
    left += same && s->at.offset > s->acked.offset ? s->at.offset - s->acked.offset
            : same                                 ? 0
                                                   : s->at.offset;
    return left + s->pending_bytes;
}

/* --- opening --- */

static void lost(struct stream *s, unsigned files, const char *what)
{
    s->counts.gaps += files;
    note(LOG_ERROR,
         "records are missing: %s pipe='%s' file='%s' offset=%llu, going on with what is there",
         what, s->pipe, s->at.stem, (unsigned long long)s->at.offset);
}

/* The file before `key`, so that it is the first one. */
static struct file_key before(struct file_key key)
{
    return key.number ? (struct file_key){key.date, key.number - 1}
                      : (struct file_key){key.date - 1, UINT32_MAX};
}

static void go_to(struct stream *s, const struct found_file *f)
{
    bool first = !*s->at.stem;

    close_file(s);
    s->at = (struct place){.key = f->key, .inode = has_one_name(s) ? f->inode : 0};
    memcpy(s->at.stem, f->stem, sizeof(s->at.stem));
    if (first && !has_one_name(s)) {
        s->trail = (struct trail){.before = before(f->key)};
        s->acked_trail = s->trail;
    }
    s->looked = s->has_next = false; /* until the next look */
}

/* The first line, without its end, into raw; false: it is not there yet. */
static int read_first_line(struct stream *s, struct strview *ret)
{
    int rc = source_seek(s->source, 0);

    clear_raw(s);
    while (rc == 0) {
        struct strview have = buf_view(&s->raw);
        const char *end = memchr(have.ptr, '\n', have.len);
        if (end) {
            *ret = sv(have.ptr, (size_t)(end - have.ptr));
            return 1;
        }
        if (have.len > RECORD_LINE_MAX)
            return ERR_CORRUPT;
        ssize_t n = source_read(s->source, buf_reserve(&s->raw, 4096), 4096);
        if (n == 0)
            return 0;
        rc = n < 0 ? (int)n : 0;
        if (n > 0)
            buf_advance(&s->raw, (size_t)n);
    }
    return rc;
}

static void skip_file(struct stream *s, const char *what)
{
    lost(s, 1, what);
    clear_raw(s);
    s->useless = true;
    s->begun = false;
}

/* The bytes before the place are those that were there. */
static int check_mark(struct stream *s)
{
    char bytes[PLACE_MARK_MAX];
    size_t have = 0;

    int rc = source_seek(s->source, s->at.offset - s->at.mark_len);
    while (rc == 0 && have < s->at.mark_len) {
        ssize_t n = source_read(s->source, bytes + have, s->at.mark_len - have);
        rc = n < 0 ? (int)n : n == 0 ? ERR_NOT_FOUND : 0;
        have += n > 0 ? (size_t)n : 0;
    }
    if (rc == 0 && have && place_mark(bytes, have) != s->at.mark)
        return ERR_NOT_FOUND;
    return rc;
}

/* Behind the last whole line that is there. */
static int seek_newest(struct stream *s, uint64_t first)
{
    uint64_t size, inode, from;
    int64_t mtime;

    if (source_form(s->source) != FORM_PLAIN || !source_stat(s->source, &size, &mtime, &inode) ||
        size <= first)
        return source_seek(s->source, first);
    from = size - first > LOOK_BACK ? size - LOOK_BACK : first;
    int rc = source_seek(s->source, from);
    clear_raw(s);
    ssize_t n = rc < 0 ? rc : source_read(s->source, buf_reserve(&s->raw, LOOK_BACK), LOOK_BACK);
    if (n < 0)
        return (int)n;
    while (n > 0 && buf_data(&s->raw)[n - 1] != '\n')
        n--;
    s->at.offset = n ? from + (uint64_t)n : first;
    return source_seek(s->source, s->at.offset);
}

static int find_place(struct stream *s, struct strview header)
{
    uint64_t size, inode;
    int64_t mtime;
    uint64_t first = s->json ? 0 : header.len + 1;
    int rc;

    if (has_one_name(s) && source_stat(s->source, &size, &mtime, &inode))
        s->at.inode = inode;
    if (s->end_of_newest) {
        s->end_of_newest = false;
        s->at.offset = first;
        rc = seek_newest(s, first);
    } else if (s->at.offset <= first) {
        s->at.offset = first;
        rc = source_seek(s->source, first);
    } else {
        rc = check_mark(s);
        if (rc == ERR_NOT_FOUND) {
            lost(s, 1, "another file has the name of the one that was read");
            s->at.offset = first;
            rc = source_seek(s->source, first);
        }
    }
    s->at.mark_len = s->at.offset == first ? 0 : s->at.mark_len;
    clear_raw(s);
    return rc;
}

/* The open file: columns, and the place in it. 1: go on; 0: there is no first line yet. */
static int begin_file(struct stream *s)
{
    struct strview header;
    struct err e = {0};
    int rc = read_first_line(s, &header);

    if (rc > 0) {
        s->json = record_is_json(header);
        columns_free(s->columns);
        s->columns = NULL;
        if (!s->json && columns_new(sv_trim(header), &s->columns, &e) < 0) {
            skip_file(s, e.text);
            return 1;
        }
        rc = find_place(s, header);
        s->begun = rc == 0;
        rc = rc == 0 ? 1 : rc;
    }
    if (rc == ERR_CORRUPT) {
        skip_file(s, "the file is damaged");
        rc = 1;
    }
    return rc;
}

/* A file is open. 1; 0: there is none yet; or an error. */
static int open_file(struct stream *s, struct err *e)
{
    struct found_file f;

    if (!*s->at.stem) {
        if (!s->has_next)
            return 0;
        f = s->next;
        go_to(s, &f);
    } else {
        int rc = follow_find(s->set, &s->at, &f);
        if (rc == ERR_NOT_FOUND) {
            if (!s->has_next)
                return 0;
            lost(s, 1, "the file was deleted before it was read to its end");
            trail_add(&s->trail, s->at.key);
            f = s->next;
            go_to(s, &f);
        } else if (rc < 0) {
            return err_set(e, rc, "cannot look for accounting file '%s'", s->at.stem);
        }
    }
    int rc = follow_open(s->set, &f, &s->source, e);
    return rc == -ENOENT ? 0 : rc < 0 ? rc : 1; /* moved meanwhile: the next look finds it */
}

/* --- lines --- */

static bool has_records(const struct stream *s, const struct found_file *f)
{
    struct source *source = NULL;
    struct stream probe = {.set = s->set};
    struct strview header;
    bool yes = false;

    if (f->form != FORM_PLAIN || f->moved)
        return true;
    if (follow_open(s->set, f, &source, NULL) < 0)
        return false;
    probe.source = source;
    if (read_first_line(&probe, &header) > 0)
        yes = record_is_json(header) || f->size > header.len + 1;
    buf_free(&probe.raw);
    source_close(source);
    return yes;
}

/* At its end: the pipe will not write to it again. */
static bool is_over(const struct stream *s)
{
    uint64_t size, inode;
    int64_t mtime_ms;

    if (!s->has_next)
        return false;
    if (source_form(s->source) != FORM_PLAIN || (!has_one_name(s) && !s->current_is_plain))
        return true;
    return source_stat(s->source, &size, &mtime_ms, &inode) &&
           clock_wall_ms() - mtime_ms >= QUIET_MS && has_records(s, &s->next);
}

bool stream_has_more(const struct stream *s)
{
    return s->has_next && has_records(s, &s->next);
}

static void turn(struct stream *s)
{
    struct found_file f = s->next;
    unsigned missing;

    if (buf_len(&s->raw) && s->begun) {
        s->counts.broken++;
        note(LOG_WARN, "last line of accounting file '%s' is torn, leaving it out", s->at.stem);
    }
    if (!has_one_name(s)) {
        trail_add(&s->trail, s->at.key);
        missing = trail_missing(&s->trail, f.key);
        if (missing) {
            s->counts.gaps += missing;
            note(LOG_ERROR,
                 "records are missing: %u accounting files of pipe '%s' between '%s' and '%s' were "
                 "deleted before they were read, going on with what is there",
                 missing, s->pipe, s->at.stem, f.stem);
        }
    }
    go_to(s, &f);
}

/* One that is written over from the beginning (copied away and cut). */
static void restart_if_cut(struct stream *s)
{
    uint64_t size, inode;
    int64_t mtime;

    if (!has_one_name(s) || source_form(s->source) != FORM_PLAIN ||
        !source_stat(s->source, &size, &mtime, &inode) || size >= source_offset(s->source))
        return;
    note(LOG_WARN, "accounting file '%s' was cut, reading it from its beginning", s->at.stem);
    s->at.offset = 0;
    s->at.mark_len = 0;
    s->begun = false;
    clear_raw(s);
}

static void move_on(struct stream *s, size_t bytes)
{
    size_t mark = MIN_OF(bytes, (size_t)PLACE_MARK_MAX);

    s->at.mark = place_mark(buf_data(&s->raw) + bytes - mark, mark);
    s->at.mark_len = (unsigned)mark;
    s->at.offset += bytes;
}

/* A whole line from raw. */
static bool take_line(struct stream *s, struct stream_line *ret)
{
    buf_consume(&s->raw, s->given); /* the line before, which the caller had until now */
    s->given = 0;
    for (;;) {
        struct strview have = buf_view(&s->raw);
        const char *from = have.ptr + s->searched;
        const char *end = memchr(from, '\n', have.len - s->searched);
        if (!end) {
            s->searched = have.len;
            return false;
        }
        size_t bytes = (size_t)(end + 1 - have.ptr);
        ret->offset = s->at.offset;
        ret->text = sv(have.ptr, bytes - 1);
        if (ret->text.len && ret->text.ptr[ret->text.len - 1] == '\r')
            ret->text.len--;
        move_on(s, bytes);
        s->searched = 0;
        bool skipped = s->skipping;
        s->skipping = false;
        if (!skipped && ret->text.len) {
            s->given = bytes;
            return true;
        }
        buf_consume(&s->raw, bytes);
    }
}

static void drop_long_line(struct stream *s)
{
    if (buf_len(&s->raw) <= RECORD_LINE_MAX)
        return;
    if (!s->skipping) {
        s->counts.broken++;
        note(LOG_WARN,
             "line of accounting file '%s' at %llu is longer than %d bytes, leaving it out",
             s->at.stem, (unsigned long long)s->at.offset, RECORD_LINE_MAX);
    }
    s->skipping = true;
    move_on(s, buf_len(&s->raw));
    clear_raw(s);
}

static enum stream_result fail(struct stream *s, int rc, struct err *e)
{
    err_set(e, rc, "cannot read accounting file '%s'", s->at.stem);
    close_file(s);
    return STREAM_ERROR;
}

static enum stream_result at_end(struct stream *s)
{
    if (!s->useless)
        restart_if_cut(s);
    if (!is_over(s))
        return STREAM_DRY;
    /* what was written before it was over */
    if (s->begun) {
        ssize_t n = source_read(s->source, buf_reserve(&s->raw, READ_BYTES), READ_BYTES);
        if (n > 0) {
            buf_advance(&s->raw, (size_t)n);
            return STREAM_LINE; /* come again */
        }
    }
    turn(s);
    return STREAM_TURN;
}

enum stream_result stream_read(struct stream *s, struct stream_line *ret, struct err *e)
{
    for (;;) {
        if (!s->source) {
            int rc = open_file(s, e);
            if (rc <= 0)
                return rc < 0 ? STREAM_ERROR : STREAM_DRY;
        }
        if (!s->begun && !s->useless) {
            int rc = begin_file(s);
            if (rc < 0)
                return fail(s, rc, e);
            if (rc == 0 && at_end(s) != STREAM_TURN)
                return STREAM_DRY;
            if (rc == 0)
                return STREAM_TURN;
        }
        if (s->begun && take_line(s, ret))
            return STREAM_LINE;
        drop_long_line(s);
        ssize_t n = 0;
        if (s->begun)
            n = source_read(s->source, buf_reserve(&s->raw, READ_BYTES), READ_BYTES);
        if (n == ERR_CORRUPT) {
            skip_file(s, "the file is damaged");
            n = 0;
        }
        if (n < 0)
            return fail(s, (int)n, e);
        if (n > 0) {
            buf_advance(&s->raw, (size_t)n);
            continue;
        }
        enum stream_result end = at_end(s);
        if (end != STREAM_LINE)
            return end;
    }
}

void stream_ack(struct stream *s, const struct place *place)
{
    if (*s->acked.stem && strcmp(s->acked.stem, place->stem) != 0 && !has_one_name(s))
        trail_add(&s->acked_trail, s->acked.key);
    s->acked = *place;
}
