/*
 * What the parts of the configuration share: config.c asks, config_build.c puts together,
 * config_value.c knows the types, config_snapshot.c and config_load.c feed the builder. Nobody else
 * includes this.
 */
#ifndef PMTA_MAIL_CONFIG_INTERNAL_H
#define PMTA_MAIL_CONFIG_INTERNAL_H

#include "base/arena.h"
#include "base/hash.h"
#include "mail/config.h"

enum {
#define KIND_ONE(id, bit, name) +1
    CONFIG_KIND_COUNT = 0 CONFIG_KINDS(KIND_ONE),
#undef KIND_ONE
    CONFIG_MAX_NAME = 253,
    CONFIG_MAX_TEXT = 65536,
    CONFIG_MAX_PATTERNS = 500000,    /* domains in all sections, macros multiplied out */
    CONFIG_SECTION_PATTERNS = 10000, /* the same, in one section */
    CONFIG_MAX_STEPS = 2000000,      /* replacements of a macro by an item, in all sections */
    CONFIG_MAX_SECTIONS = 200000,
};

struct config_section {
    struct config_section *next; /* in file order */
    uint32_t index;
    uint32_t kinds;
    const char *name[CONFIG_KIND_COUNT]; /* lower case, but for smtp-user; NULL: kind not there */
    const char *key;                     /* canonical: two headers with one key are one section */
    const char *title;                   /* as first written */
    const char *pipe_written;            /* name of the pipe in its own case, or NULL */
    const char *file;
    unsigned line;
    const struct config_section *group; /* of a [source]: its [source-group], or NULL */
    struct config_value *values;        /* one per directive, linked by struct value_node */
    struct hash_node by_key;
    bool is_cidr; /* [source CIDR] */
    uint8_t family, prefix;
    uint8_t address[16];
};

/* A value with its place in the section. */
struct value_node {
    struct config_value value; /* first: a config_value is cast back */
    struct value_node *sibling;
    struct config_value *last; /* of the values of a repeatable directive */
};

/* How a section is reached: by its narrowest scope and by one domain. */
struct config_pattern {
    struct hash_node node;
    struct config_pattern *same; /* further sections under the same key */
    struct config_section *section;
    const char *key;
    size_t key_len;
    unsigned closeness;
};

struct config {
    struct arena arena;
    unsigned refs;
    uint64_t generation;
    struct config_section *first, **last;
    uint32_t section_count;
    size_t pattern_count;
    size_t macro_steps;
    const char *last_file; /* most recent file name in the arena */
    struct hash patterns;
    struct hash sections;
    struct config_section **cidrs;
    size_t cidr_count, cidr_cap;
    const char **names[CONFIG_KIND_COUNT]; /* of sections of one kind alone */
    size_t name_count[CONFIG_KIND_COUNT];
    struct config_value defaults[DIRECTIVE_COUNT];
};

unsigned config_kind_index(uint32_t kind);

/* --- builder: the loader and the decoder --- */

struct config *config_new(uint64_t generation);
/* The section of that header, made when it is new. 0, or ERR_CONFIG with *e saying what is wrong
 * (without file and line). */
int config_add_section(struct config *cfg, struct strview title, const char *file, unsigned line,
                       struct config_section **ret, struct err *e);
/* Sets a value. *ret_old gets where a single-valued directive was set before in this section. Empty
 * text clears: the directive counts as not set, for this scope; value->text is then NULL. */
int config_add_value(struct config *cfg, struct config_section *s, enum directive d,
                     struct strview text, const char *file, unsigned line,
                     struct config_origin *ret_old, struct err *e);
/* Multiplies out macros and makes the index; once, after the last value. *ret_where: the section at
 * fault. */
int config_finish(struct config *cfg, const struct config_section **ret_where, struct err *e);

struct value_node *config_section_value(const struct config_section *s, enum directive d);

/* Fills value's typed part from value->text. */
int config_value_parse(struct config_value *v, struct arena *a, struct err *e);
/* The same for the forms that make lists (config_forms.c). */
int config_parse_retry(struct config_value *v, struct arena *a, struct err *e);
int config_parse_rates(struct config_value *v, struct arena *a, struct err *e);
int config_check_emails(const struct config_value *v, struct err *e);
int config_check_mx(const struct config_value *v, struct err *e);
/* "NAME: 'text' is not valid (expected …)"; ERR_CONFIG. */
int config_wrong(struct err *e, const struct config_value *v, const char *expected);
int config_check_bounds(const struct directive_info *info, int64_t n, struct err *e);
/* ": did you mean 'x'?", or "" when nothing is near. names ends with NULL. out: 128 bytes. */
const char *config_suggest(struct strview word, const char *const *names, char *out);
/* "[domain], [pipe] or [pmta]" */
const char *config_kinds_text(uint32_t kinds, char *out, size_t size);
bool config_is_name(struct strview s);
bool config_is_domain(struct strview s);

#endif
