/*
 * The configuration: an immutable, refcounted set of sections read from config.d, checked whole,
 * and asked with a query. Only root reads files (config_load, library pmta_config_load, inih);
 * every other process decodes the snapshot that root passes.
 *
 * A section is one or more `kind name` pairs ([virtual-mta mta1, domain gmail.com]). Which value
 * wins for a query: scope first (virtual-mta, then virtual-mta-pool, then pipe, then global), then
 * how closely the domain pattern matches (exact, exact by macro, longest *.suffix, *).
 *
 * Directives are rows of mail/directives.h; DIR_<NAME> is the id.
 */
#ifndef PMTA_MAIL_CONFIG_H
#define PMTA_MAIL_CONFIG_H

#include "base/buf.h"
#include "base/err.h"
#include "base/units.h"
#include "mail/directives.h"

#include <netinet/in.h>

struct config;

/* Where a value was written; file is relative to the configuration directory's parent as the
 * operator named it. line 0 and file NULL: the default of the table. */
struct config_origin {
    const char *file;
    unsigned line;
    const char *section; /* "virtual-mta mta1, domain gmail.com" */
};

struct config_value {
    enum directive directive;
    /* as written, trimmed; the default's text when nobody set it; NULL when it has no default, or
     * was cleared with "" (then origin says where) */
    const char *text;
    union {
        bool yes;         /* TYPE_BOOL */
        int64_t number;   /* TYPE_INT, TYPE_INTERVAL (ms), TYPE_SIZE (bytes), TYPE_ENUM (index) */
        struct rate rate; /* TYPE_RATE; TYPE_DATA_RATE counts bytes */
        struct {          /* TYPE_INTERVAL_LIST (ms) */
            const int64_t *items;
            size_t count;
        } intervals;
        struct retry_form { /* TYPE_RETRY: the n-th wait; after the last item times factor each */
            const int64_t *items; /* ms */
            size_t count;
            uint32_t factor_percent; /* 100: the last repeats */
            int64_t max_ms;          /* of a growing form, never 0; of a list 0 */
        } retry;
        struct rate_form { /* TYPE_RATE_LIST, TYPE_RAMP: the n-th day, the last repeats or grows;
                            * each per day; a count of 0 is none, not unlimited */
            const struct rate *items;
            size_t count;
            uint32_t growth_percent; /* per day after the last item; 0: it repeats */
        } rates;
    };
    struct config_origin origin;
    const struct config_value *next; /* further values of a repeatable directive, in file order */
};

/* What is asked about. Views that do not apply are left empty. */
struct config_query {
    struct strview domain; /* recipient domain of a queue, lower case */
    /* The group that the queue is in ("google.rollup"), or empty: what stands for that name counts
     * less than what names the domain itself, and more than *.suffix and *. */
    struct strview group;
    struct strview vmta; /* virtual MTA */
    struct strview pool; /* virtual MTA pool */
    struct strview pipe;
    struct strview listener;       /* name of the section: a label, or "ADDR:PORT" */
    struct strview source;         /* named source, overrides what the address gives */
    struct strview user;           /* smtp-user */
    const struct sockaddr *client; /* for [source CIDR]: longest prefix wins per directive */
};

/* The value that wins, or the default of the table; never NULL. A directive without default gives a
 * value with text NULL. Valid while the caller holds a reference to cfg. */
const struct config_value *config_get(const struct config *cfg, const struct config_query *q,
                                      enum directive d);

/* Some section sets this directive. */
bool config_is_set(const struct config *cfg, enum directive d);

/* Calls fn for each value of this directive that some section sets, in file order, those of a
 * repeatable one one by one. pipe: only those of sections that can hold for its mail, which are the
 * ones that name it or none; empty: all. */
void config_each(const struct config *cfg, enum directive d, struct strview pipe,
                 void (*fn)(void *arg, const struct config_value *v), void *arg);

/* Short forms of config_get. A NULL q asks for the global value. */
bool config_bool(const struct config *cfg, const struct config_query *q, enum directive d);
int64_t config_number(const struct config *cfg, const struct config_query *q, enum directive d);
const char *config_text(const struct config *cfg, const struct config_query *q, enum directive d);

/* Calls fn for each candidate, the winner first and then what it overrode in order of precedence;
 * the default of the table comes last. */
void config_explain(const struct config *cfg, const struct config_query *q, enum directive d,
                    void (*fn)(void *arg, const struct config_value *v, bool wins), void *arg);

/* Names of all sections that consist of exactly this one kind ("pipe", "listener", "virtual-mta",
 * "smtp-user", "source", "domain"), in file order. Returns the i-th name, or NULL past the end. */
const char *config_section_name(const struct config *cfg, enum config_kind kind, size_t i);
bool config_has_section(const struct config *cfg, enum config_kind kind, struct strview name);
/* What the section of this one kind and name itself says, or NULL; further values of a repeatable
 * directive by ->next. For sections that no query reaches, as [smtp-pattern-list NAME]. */
const struct config_value *config_section_get(const struct config *cfg, enum config_kind kind,
                                              struct strview name, enum directive d);

/* Name of the narrowest [source] that applies (q->source, or the longest matching CIDR), or NULL
 * when none does: then nothing may be relayed. */
const char *config_source_name(const struct config *cfg, const struct config_query *q);

uint64_t config_generation(const struct config *cfg);
struct config *config_ref(struct config *cfg);
void config_unref(struct config *cfg); /* NULL is fine */

/* The form that travels to the children. decode: 0, or ERR_CORRUPT with *e filled; total on any
 * bytes (fuzzed). */
void config_snapshot_encode(const struct config *cfg, struct buf *out);
int config_snapshot_decode(struct strview in, struct config **ret, struct err *e);

/* --- directive table --- */

struct directive_info {
    const char *name; /* "max-smtp-out" */
    enum directive_type type;
    uint32_t kinds;           /* KIND_x bits of the sections it may stand in */
    const char *default_text; /* NULL: none */
    int64_t min, max;         /* for numbers; in the unit of the value */
    enum directive_reload reload;
    bool repeatable;
    bool total;          /* DIRECTIVE_TOTAL */
    bool never;          /* DIRECTIVE_NEVER */
    bool secret;         /* DIRECTIVE_SECRET */
    const char *choices; /* TYPE_ENUM: "a|b|c" */
    const char *help;    /* one line */
};

const struct directive_info *directive_info(enum directive d);
const char *config_kind_name(enum config_kind kind);

/* The directive of that name or of that older name (then *ret_alias has it, and otherwise NULL), or
 * DIRECTIVE_COUNT. */
struct directive_alias {
    const char *name;
    enum directive directive;
    const char *suffix; /* put behind a value that has no unit: "/h", or "" */
};
enum directive config_directive_find(struct strview name, const struct directive_alias **ret_alias);
const struct directive_alias *directive_alias(size_t i); /* NULL past the end */

/* --- reading (library pmta_config_load; root, pmtad --check and tools only) --- */

/* Problems found while reading; each is one line "FILE:LINE: what, and what was expected". */
struct config_report {
    struct buf text; /* lines */
    unsigned errors;
    unsigned warnings;
};

/* Reads DIR/…conf in name order. On errors returns ERR_CONFIG with report filled and *ret
 * untouched; reading goes on after an error so that all are reported (at most 50). */
int config_load(const char *dir, uint64_t generation, struct config **ret,
                struct config_report *report);

/* Sets one value as if a last file "override" said so ("pmta", NULL, "run-dir", "/x"): for command
 * line -o SECTION.directive=value. Call before config_load; copies. */
struct config_override {
    const char *section; /* as between brackets */
    const char *directive;
    const char *value;
};
int config_load_with(const char *dir, uint64_t generation, const struct config_override *overrides,
                     size_t override_count, struct config **ret, struct config_report *report);

#endif
