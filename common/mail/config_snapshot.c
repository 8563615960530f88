/*
 * The configuration as bytes, from root to its children: "PMTC", u32 version, u64 generation, then
 * records: 'S' section {title, file, u32 line}, 'V' value {text name of the directive, text, file,
 * u32 line} of the section before it, 'E' end. Text is u32 length and bytes; numbers are little
 * endian. The decoder feeds the builder, so everything is checked as if it were read from files.
 */
#include "mail/config_internal.h"

enum { SNAPSHOT_VERSION = 1 };

static void put_number(struct buf *out, uint64_t n, unsigned bytes)
{
    for (; bytes; bytes--, n >>= 8)
        buf_append_char(out, (char)(n & 0xff));
}

static void put_text(struct buf *out, const char *s)
{
    put_number(out, strlen(s), 4);
    buf_append_str(out, s);
}

static void put_values(struct buf *out, const struct config_section *s, enum directive d)
{
    struct value_node *node = config_section_value(s, d);
    for (const struct config_value *v = node ? &node->value : NULL; v; v = v->next) {
        buf_append_char(out, 'V');
        put_text(out, directive_info(d)->name);
        put_text(out, v->text ? v->text : "");
        put_text(out, v->origin.file);
        put_number(out, v->origin.line, 4);
    }
}

void config_snapshot_encode(const struct config *cfg, struct buf *out)
{
    buf_append(out, "PMTC", 4);
    put_number(out, SNAPSHOT_VERSION, 4);
    put_number(out, cfg->generation, 8);
    for (const struct config_section *s = cfg->first; s; s = s->next) {
        buf_append_char(out, 'S');
        put_text(out, s->title);
        put_text(out, s->file);
        put_number(out, s->line, 4);
        for (unsigned d = 0; d < DIRECTIVE_COUNT; d++)
            put_values(out, s, (enum directive)d);
    }
    buf_append_char(out, 'E');
}

struct reader {
    struct strview in;
    bool bad;
};

static uint64_t get_number(struct reader *r, unsigned bytes)
{
    uint64_t n = 0;
    if (r->bad || r->in.len < bytes) {
        r->bad = true;
        return 0;
    }
    for (unsigned i = 0; i < bytes; i++)
        n |= (uint64_t)(unsigned char)r->in.ptr[i] << (8 * i);
    r->in = sv(r->in.ptr + bytes, r->in.len - bytes);
    return n;
}

static struct strview get_text(struct reader *r)
{
    uint64_t len = get_number(r, 4);
    if (r->bad || len > CONFIG_MAX_TEXT || r->in.len < len ||
        (len && memchr(r->in.ptr, 0, (size_t)len))) {
        r->bad = true;
        return sv("", 0);
    }
    struct strview text = sv(r->in.ptr, (size_t)len);
    r->in = sv(r->in.ptr + len, r->in.len - (size_t)len);
    return text;
}

static int decode_records(struct reader *r, struct config *cfg, struct err *e)
{
    struct config_section *section = NULL;
    const struct config_section *where;
    struct config_origin old;
    char tag;
    int ret = 0;

    while (ret == 0 && (tag = (char)get_number(r, 1)) != 'E') {
        if (r->bad || (tag != 'S' && (tag != 'V' || !section)))
            return ERR_CORRUPT;
        struct strview name = get_text(r);
        struct strview text = tag == 'V' ? get_text(r) : sv("", 0);
        struct strview file_text = get_text(r);
        unsigned line = (unsigned)get_number(r, 4);
        if (r->bad)
            return ERR_CORRUPT;
        char *file = arena_strndup(&cfg->arena, file_text.ptr, file_text.len);
        enum directive d = tag == 'V' ? config_directive_find(name, NULL) : DIRECTIVE_COUNT;
        if (tag == 'S')
            ret = config_add_section(cfg, name, file, line, &section, e);
        else if (d == DIRECTIVE_COUNT)
            ret = ERR_CORRUPT;
        else
            ret = config_add_value(cfg, section, d, text, file, line, &old, e);
    }
    if (ret == 0 && (r->bad || r->in.len))
        ret = ERR_CORRUPT;
    return ret < 0 ? ret : config_finish(cfg, &where, e);
}

int config_snapshot_decode(struct strview in, struct config **ret, struct err *e)
{
    struct reader r = {.in = in};
    struct err inner = {0};

    if (in.len < 16 || memcmp(in.ptr, "PMTC", 4) != 0)
        return err_set(e, ERR_CORRUPT, "configuration snapshot has no header");
    r.in = sv(in.ptr + 4, in.len - 4);
    if (get_number(&r, 4) != SNAPSHOT_VERSION)
        return err_set(e, ERR_CORRUPT, "configuration snapshot is of another version");
    struct config *cfg = config_new(get_number(&r, 8));
    if (decode_records(&r, cfg, &inner) < 0) {
        config_unref(cfg);
        return err_set(e, ERR_CORRUPT, "configuration snapshot is corrupt%s%.300s",
                       inner.text[0] ? ": " : "", inner.text);
    }
    *ret = cfg;
    return 0;
}
