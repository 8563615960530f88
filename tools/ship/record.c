/*
 * Lines of accounting files to JSON objects; see record.h. batch.c calls it for each line.
 *
 * The id: what names an outcome in the spool where there is such a thing, so that a record which the
 * pipe wrote twice around a crash has one id; else where the record stands and what it says.
 */
#include "record.h"

#include "json_scan.h"

#include <time.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

enum { COLUMNS_MAX = ACCT_COLUMNS_MAX * 2, ID_PART_MAX = 200 };

/* What we look for in a record. */
enum role { ROLE_NONE, ROLE_OF_TYPE, ROLE_OF_ID, ROLE_OF_ATTEMPT, ROLE_OF_TIME, ROLE_COUNT };

struct columns {
    struct column {
        char *key; /* "\"rcpt\":" */
        size_t key_len;
        bool bare; /* a number, or a time that may be one */
        enum role role;
    } items[COLUMNS_MAX];
    size_t count;
};

struct field {
    struct strview text; /* quotes of CSV taken off, doubled ones still doubled */
    bool doubled;
};

void json_append_text(struct buf *out, struct strview v)
{
    size_t plain = 0;

    buf_append_char(out, '"');
    for (size_t i = 0; i < v.len;) {
        unsigned char c = (unsigned char)v.ptr[i];
        if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\') {
            i++;
            continue;
        }
        size_t n = c < 0x80 ? 1 : utf8_sequence(sv(v.ptr + i, v.len - i));
        if (n > 1) {
            i += n;
            continue;
        }
        buf_append(out, v.ptr + plain, i - plain);
        if (c == '"' || c == '\\')
            buf_append(out, (char[]){'\\', (char)c}, 2);
        else if (n)
            buf_printf(out, "\\u%04x", c);
        else
            buf_append(out, "\xef\xbf\xbd", 3);
        plain = ++i;
    }
    buf_append(out, v.ptr + plain, v.len - plain);
    buf_append_char(out, '"');
}

/* --- columns --- */

static enum role role_of(struct strview name)
{
    static const struct {
        const char *name;
        enum role role;
    } names[] = {{"type", ROLE_OF_TYPE},
                 {"msgId", ROLE_OF_ID},
                 {"attempt", ROLE_OF_ATTEMPT},
                 {"timeLogged", ROLE_OF_TIME},
                 {"time", ROLE_OF_TIME}};

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (sv_eq(name, sv_of(names[i].name)))
            return names[i].role;
    return ROLE_NONE;
}

static bool may_be_bare(struct strview name)
{
    for (enum acct_field f = 0; f < ACCT_FIELD_COUNT; f++)
        if (sv_eq_nocase(name, sv_of(acct_field_info(f)->name)))
            return acct_field_info(f)->kind != ACCT_TEXT;
    return false;
}

/* The next field of a CSV line (RFC 4180); false: the line is over or no CSV. *at is moved behind
 * the comma, or to len + 1 after the last one. */
static bool next_field(struct strview line, size_t *at, struct field *ret)
{
    const char *p = line.ptr + *at, *end = line.ptr + line.len;

    if (*at > line.len)
        return false;
    ret->doubled = false;
    if (p == end || *p != '"') {
        const char *comma = p == end ? NULL : memchr(p, ',', (size_t)(end - p));
        const char *stop = comma ? comma : end;
        ret->text = sv(p, (size_t)(stop - p));
        if (memchr(p, '"', ret->text.len))
            return false;
        *at = (size_t)(stop - line.ptr) + 1;
        return true;
    }
    const char *begin = ++p;
    for (; (p = memchr(p, '"', (size_t)(end - p))); p += 2) {
        if (p + 1 == end || p[1] != '"')
            break;
        ret->doubled = true;
    }
    if (!p || (p + 1 < end && p[1] != ','))
        return false;
    ret->text = sv(begin, (size_t)(p - begin));
    *at = (size_t)(p + 1 - line.ptr) + 1;
    return true;
}

/* Without the doubling of quotes, in *scratch. */
static struct strview undouble(struct field f, struct buf *scratch)
{
    if (!f.doubled)
        return f.text;
    buf_reset(scratch);
    for (size_t i = 0; i < f.text.len; i++) {
        buf_append_char(scratch, f.text.ptr[i]);
        i += f.text.ptr[i] == '"';
    }
    return buf_view(scratch);
}

static bool is_column_name(struct strview name)
{
    for (size_t i = 0; i < name.len; i++)
        if ((unsigned char)name.ptr[i] <= 0x20 || name.ptr[i] == '"')
            return false;
    return name.len > 0 && name.len <= ID_PART_MAX;
}

int columns_new(struct strview header, struct columns **ret, struct err *e)
{
    struct columns *c = xcalloc(1, sizeof(*c));
    struct field f;
    size_t at = 0;
    bool typed = false, named = true;

    while (c->count < COLUMNS_MAX && next_field(header, &at, &f)) {
        struct buf key = {0};
        struct column *one = &c->items[c->count];
        named = is_column_name(f.text) && !f.doubled;
        if (!named)
            break;
        json_append_text(&key, f.text);
        buf_append_char(&key, ':');
        one->key_len = buf_len(&key);
        one->key = buf_take(&key);
        one->bare = may_be_bare(f.text);
        one->role = role_of(f.text);
        typed |= one->role == ROLE_OF_TYPE;
        c->count++;
    }
    if (at <= header.len || !typed || !named) {
        columns_free(c);
        return err_set(e, ERR_SYNTAX, "the first line names no columns (expected type,...)");
    }
    *ret = c;
    return 0;
}

void columns_free(struct columns *c)
{
    for (size_t i = 0; c && i < c->count; i++)
        free(c->items[i].key);
    free(c);
}

/* --- ids and times --- */

static unsigned type_bit(struct strview type)
{
    for (unsigned r = 0; r < ACCT_RECORD_COUNT; r++)
        if (sv_eq(type, sv_of(acct_record_code((enum acct_record)r))))
            return 1u << r;
    return 0;
}

/* Letters that mean nothing in JSON, headers or URLs. */
static void append_plain(struct buf *out, struct strview part)
{
    for (size_t i = 0; i < MIN_OF(part.len, (size_t)ID_PART_MAX); i++) {
        char c = part.ptr[i];
        bool plain = ascii_is_alpha(c) || ascii_is_digit(c) || (c && strchr("._-+@", c));
        buf_append_char(out, plain ? c : '_');
    }
}

static void append_id(const struct record_request *q, const struct strview *role, unsigned bit,
                      struct buf *ids)
{
    append_plain(ids, q->pipe);
    buf_append_char(ids, ':');
    append_plain(ids, role[ROLE_OF_TYPE]);
    buf_append_char(ids, ':');
    /* reports and complaints may be about one message more than once */
    if (role[ROLE_OF_ID].len && bit & ACCT_OWN) {
        append_plain(ids, role[ROLE_OF_ID]);
        if (bit != ACCT_BIT(T))
            return;
        buf_append_char(ids, ':');
        append_plain(ids, role[ROLE_OF_ATTEMPT]);
        if (role[ROLE_OF_ATTEMPT].len)
            return;
    }
    XXH64_hash_t h = XXH3_64bits_withSeed(q->stem.ptr, q->stem.len, q->offset);
    h = XXH3_64bits_withSeed(q->line.ptr, q->line.len, h);
    buf_printf(ids, "%016llx", (unsigned long long)h);
}

/* "2026-11-21 04:05:06+0000" or seconds since 1970. */
static int64_t time_of(struct strview s)
{
    static const char form[] = "dddd-dd-dd dd:dd:dd";
    struct tm tm = {0};
    uint64_t seconds;

    if (sv_to_u64(s, &seconds))
        return seconds < 1ull << 40 ? (int64_t)seconds * 1000 : 0;
    if (s.len < sizeof(form) - 1)
        return 0;
    for (size_t i = 0; form[i]; i++)
        if (form[i] == 'd' ? !ascii_is_digit(s.ptr[i]) : form[i] != ' ' && s.ptr[i] != form[i])
            return 0;
#define TWO(i) ((s.ptr[i] - '0') * 10 + s.ptr[(i) + 1] - '0')
    tm.tm_year = TWO(0) * 100 + TWO(2) - 1900;
    tm.tm_mon = TWO(5) - 1;
    tm.tm_mday = TWO(8);
    tm.tm_hour = TWO(11);
    tm.tm_min = TWO(14);
    tm.tm_sec = TWO(17);
#undef TWO
    return (int64_t)timegm(&tm) * 1000;
}

/* The type is wanted; then the id is made. A type that is not known is wanted with all others. */
static enum record_verdict judge(const struct record_request *q, const struct strview *role,
                                 struct buf *ids, struct record_result *ret)
{
    unsigned bit = type_bit(role[ROLE_OF_TYPE]);

    if (!role[ROLE_OF_TYPE].len) {
        ret->why = "it has no type";
        return RECORD_BROKEN;
    }
    if (bit ? !(q->records & bit) : q->records != ACCT_ALL)
        return RECORD_LEFT_OUT;
    append_id(q, role, bit, ids);
    ret->time_ms = time_of(role[ROLE_OF_TIME]);
    return RECORD_TAKEN;
}

/* --- CSV --- */

static bool is_number(struct strview s)
{
    size_t i = s.len && s.ptr[0] == '-';

    if (i == s.len || s.len > 18 || (s.ptr[i] == '0' && s.len > i + 1))
        return false;
    for (; i < s.len; i++)
        if (!ascii_is_digit(s.ptr[i]))
            return false;
    return true;
}

static enum record_verdict convert_csv(const struct record_request *q, struct buf *json,
                                       struct buf *ids, struct record_result *ret)
{
    const struct columns *c = q->columns;
    struct strview role[ROLE_COUNT] = {{0}};
    struct field fields[COLUMNS_MAX];
    struct buf scratch = {0};
    size_t at = 0, n = 0, id_at = buf_len(ids);

    ret->why = "its fields are not those of the header line";
    while (n < c->count && next_field(q->line, &at, &fields[n])) {
        if (c->items[n].role && !role[c->items[n].role].len)
            role[c->items[n].role] = fields[n].text;
        n++;
    }
    if (n < c->count || at <= q->line.len)
        return RECORD_BROKEN;
    enum record_verdict verdict = judge(q, role, ids, ret);
    if (verdict != RECORD_TAKEN)
        return verdict;
    ret->id = sv(buf_data(ids) + id_at, buf_len(ids) - id_at);
    buf_append(json, "{\"eventId\":\"", 12);
    buf_append_sv(json, ret->id);
    buf_append_char(json, '"');
    for (size_t i = 0; i < n; i++) {
        if (!fields[i].text.len)
            continue;
        buf_append_char(json, ',');
        buf_append(json, c->items[i].key, c->items[i].key_len);
        if (c->items[i].bare && is_number(fields[i].text))
            buf_append_sv(json, fields[i].text);
        else
            json_append_text(json, undouble(fields[i], &scratch));
    }
    buf_append_char(json, '}');
    buf_free(&scratch);
    return RECORD_TAKEN;
}

/* --- JSON --- */

/* A dead letter that is sent again has its id already. */
static bool is_our_id(const struct json_wanted *w)
{
    if (!w->seen || !w->value.len || w->value.len > 4 * ID_PART_MAX)
        return false;
    for (size_t i = 0; i < w->value.len; i++) {
        char c = w->value.ptr[i];
        if (!ascii_is_alpha(c) && !ascii_is_digit(c) && !(c && strchr("._-+@:", c)))
            return false;
    }
    return true;
}

static enum record_verdict convert_json(const struct record_request *q, struct buf *json,
                                        struct buf *ids, struct record_result *ret)
{
    struct json_wanted w[] = {{"type"},       {"msgId"}, {"attempt"},
                              {"timeLogged"}, {"time"},  {"eventId"}};
    struct strview role[ROLE_COUNT] = {{0}}, line = sv_trim(q->line);
    size_t id_at = buf_len(ids);

    if (!json_scan_object(line, w, ARRAY_LEN(w))) {
        ret->why = "it is not a JSON object";
        return RECORD_BROKEN;
    }
    role[ROLE_OF_TYPE] = w[0].value;
    role[ROLE_OF_ID] = w[1].value;
    role[ROLE_OF_ATTEMPT] = w[2].value;
    role[ROLE_OF_TIME] = w[3].value.len ? w[3].value : w[4].value;
    enum record_verdict verdict = judge(q, role, ids, ret);
    if (verdict != RECORD_TAKEN)
        return verdict;
    bool has_id = is_our_id(&w[5]);
    if (has_id) {
        buf_truncate(ids, id_at);
        buf_append_sv(ids, w[5].value);
    }
    ret->id = sv(buf_data(ids) + id_at, buf_len(ids) - id_at);
    if (!has_id) { /* an object with a type is not empty: a member follows */
        buf_append(json, "{\"eventId\":\"", 12);
        buf_append_sv(json, ret->id);
        buf_append(json, "\",", 2);
        line = sv(line.ptr + 1, line.len - 1);
    }
    buf_append_sv(json, line);
    return RECORD_TAKEN;
}

bool record_is_json(struct strview line)
{
    line = sv_trim(line);
    return line.len && line.ptr[0] == '{';
}

enum record_verdict record_convert(const struct record_request *q, struct buf *json,
                                   struct buf *ids, struct record_result *ret)
{
    *ret = (struct record_result){0};
    return q->columns ? convert_csv(q, json, ids, ret) : convert_json(q, json, ids, ret);
}
