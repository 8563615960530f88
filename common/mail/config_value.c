/*
 * The directive table and its types: finds a row by name, turns text into the typed value, checks
 * bounds. The builder calls it for every value and for the defaults. Errors say what was expected;
 * file and line are put before them by the loader. Lists live in the configuration's arena.
 */
#include "mail/config_internal.h"

#include "mail/domain_key.h"
#include "mail/host_list.h"
#include "mail/acct_fields.h"
#include "mail/bounce_rule.h"
#include "mail/reply_rule.h"

#include <stdio.h>

static const struct directive_info table[DIRECTIVE_COUNT] = {
#define DIRECTIVE_ROW(id, name, kinds, type, def, min, max, reload, flags, choices, help) \
    {name,                                                                                \
     type,                                                                                \
     kinds,                                                                               \
     def,                                                                                 \
     min,                                                                                 \
     max,                                                                                 \
     reload,                                                                              \
     ((flags)&DIRECTIVE_REPEATABLE) != 0,                                                 \
     ((flags)&DIRECTIVE_TOTAL) != 0,                                                      \
     ((flags)&DIRECTIVE_NEVER) != 0,                                                      \
     ((flags)&DIRECTIVE_SECRET) != 0,                                                     \
     choices,                                                                             \
     help},
    DIRECTIVES(DIRECTIVE_ROW)
#undef DIRECTIVE_ROW
};

static const struct directive_alias aliases[] = {
#define ALIAS_ROW(name, id, suffix) {name, DIR_##id, suffix},
    DIRECTIVE_ALIASES(ALIAS_ROW)
#undef ALIAS_ROW
};

static const char *const kind_names[CONFIG_KIND_COUNT] = {
#define KIND_NAME(id, bit, name) name,
    CONFIG_KINDS(KIND_NAME)
#undef KIND_NAME
};

const struct directive_info *directive_info(enum directive d)
{
    BUG_ON((unsigned)d >= DIRECTIVE_COUNT);
    return &table[d];
}

unsigned config_kind_index(uint32_t kind)
{
    BUG_ON(!kind || (kind & (kind - 1)) || kind >= 1u << CONFIG_KIND_COUNT);
    return (unsigned)__builtin_ctz(kind);
}

const char *config_kind_name(enum config_kind kind)
{
    return kind_names[config_kind_index(kind)];
}

const struct directive_alias *directive_alias(size_t i)
{
    return i < ARRAY_LEN(aliases) ? &aliases[i] : NULL;
}

enum directive config_directive_find(struct strview name, const struct directive_alias **ret_alias)
{
    if (ret_alias)
        *ret_alias = NULL;
    for (unsigned d = 0; d < DIRECTIVE_COUNT; d++)
        if (sv_eq_nocase(name, sv_of(table[d].name)))
            return (enum directive)d;
    for (size_t i = 0; ret_alias && i < ARRAY_LEN(aliases); i++)
        if (sv_eq_nocase(name, sv_of(aliases[i].name))) {
            *ret_alias = &aliases[i];
            return aliases[i].directive;
        }
    return DIRECTIVE_COUNT;
}

const char *config_suggest(struct strview word, const char *const *names, char *out)
{
    const char *best = NULL;
    unsigned least = (unsigned)MAX_OF(word.len / 3, (size_t)2) + 1;

    for (; *names; names++) {
        unsigned distance = str_distance(word, sv_of(*names));
        if (distance < least && distance < strlen(*names)) {
            least = distance;
            best = *names;
        }
    }
    out[0] = '\0';
    if (best)
        snprintf(out, 128, ": did you mean '%.100s'?", best);
    return out;
}

const char *config_kinds_text(uint32_t kinds, char *out, size_t size)
{
    size_t n = 0;

    out[0] = '\0';
    for (unsigned i = 0; i < CONFIG_KIND_COUNT && n < size; i++) {
        if (!(kinds & 1u << i))
            continue;
        bool more = kinds >> (i + 1);
        const char *before = n == 0 ? "" : more ? ", " : " or ";
        n += (size_t)snprintf(out + n, size - n, "%s[%s]", before, kind_names[i]);
    }
    return out;
}

bool config_is_name(struct strview s)
{
    if (!s.len || s.len > CONFIG_MAX_NAME)
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (!ascii_is_alpha(s.ptr[i]) && !ascii_is_digit(s.ptr[i]) && !memchr("._-:", s.ptr[i], 4))
            return false;
    return true;
}

/* UTF-8 in labels is let through: internationalised names may be written directly. */
bool config_is_domain(struct strview s)
{
    size_t label = 0;
    if (!s.len || s.len > CONFIG_MAX_NAME)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (c == '.' ? !label
                     : !ascii_is_alpha(c) && !ascii_is_digit(c) && c != '-' && c != '_' &&
                           !((unsigned char)c & 0x80))
            return false;
        label = c == '.' ? 0 : label + 1;
        if (label > 63)
            return false;
    }
    return label > 0;
}

static void format_bound(enum directive_type type, int64_t n, char *out)
{
    if (type == TYPE_INTERVAL || type == TYPE_INTERVAL_LIST || type == TYPE_RETRY)
        units_format_interval(n, out);
    else if (type == TYPE_SIZE)
        units_format_size((uint64_t)n, out);
    else
        snprintf(out, UNITS_SIZE, "%lld", (long long)n);
}

int config_check_bounds(const struct directive_info *info, int64_t n, struct err *e)
{
    char low[UNITS_SIZE], high[UNITS_SIZE], is[UNITS_SIZE];

    if ((!info->min && !info->max) || (n >= info->min && n <= info->max))
        return 0;
    format_bound(info->type, info->min, low);
    format_bound(info->type, info->max, high);
    format_bound(info->type, n, is);
    return err_set(e, ERR_CONFIG, "%s: %s is out of bounds (expected %s to %s)", info->name, is,
                   low, high);
}

int config_wrong(struct err *e, const struct config_value *v, const char *expected)
{
    return err_set(e, ERR_CONFIG, "%s: '%.100s' is not valid (expected %s)",
                   directive_info(v->directive)->name, v->text, expected);
}

static int parse_bool(struct config_value *v, struct err *e)
{
    struct strview t = sv_of(v->text);
    v->yes = sv_eq_nocase(t, SV("yes")) || sv_eq_nocase(t, SV("true"));
    if (!v->yes && !sv_eq_nocase(t, SV("no")) && !sv_eq_nocase(t, SV("false")))
        return config_wrong(e, v, "yes or no");
    return 0;
}

static int parse_number(struct config_value *v, const struct directive_info *info, struct err *e)
{
    struct strview t = sv_of(v->text);
    uint64_t n = 0;

    if (info->type == TYPE_INTERVAL) {
        if (info->never && sv_eq_nocase(t, SV("never"))) {
            v->number = 0;
            return 0;
        }
        if (units_parse_interval(t, &v->number) < 0)
            return config_wrong(e, v,
                                info->never ? "an interval such as 30s, 5m or 4d12h, or never"
                                            : "an interval such as 30s, 5m or 4d12h");
        return config_check_bounds(info, v->number, e);
    }
    if (info->type == TYPE_SIZE) {
        if (units_parse_size(t, &n) < 0 || n > INT64_MAX)
            return config_wrong(e, v, "a size such as 64k or 50M");
    } else if (!sv_to_u64(t, &n) || n > INT64_MAX) {
        return config_wrong(e, v, "a number");
    }
    v->number = (int64_t)n;
    return config_check_bounds(info, v->number, e);
}

static int parse_intervals(struct config_value *v, const struct directive_info *info,
                           struct arena *a, struct err *e)
{
    enum { MAX = 30 };
    struct strview rest = sv_of(v->text), item;
    size_t count = 0, room = 1;

    for (size_t i = 0; i < rest.len && room < MAX; i++)
        room += rest.ptr[i] == ',';
    int64_t *items = arena_alloc(a, room * sizeof(*items));

    while (sv_split(&rest, ',', &item)) {
        if (count == MAX)
            return config_wrong(e, v, "at most 30 intervals");
        if (units_parse_interval(sv_trim(item), &items[count]) < 0)
            return config_wrong(e, v, "intervals such as 10m,10m,1h,4h");
        int r = config_check_bounds(info, items[count++], e);
        if (r < 0)
            return r;
    }
    v->intervals.items = items;
    v->intervals.count = count;
    return 0;
}

static int parse_enum(struct config_value *v, const struct directive_info *info, struct err *e)
{
    struct strview rest = sv_of(info->choices), choice;
    char expected[200];

    for (v->number = 0; sv_split(&rest, '|', &choice); v->number++)
        if (sv_eq_nocase(choice, sv_of(v->text)))
            return 0;
    snprintf(expected, sizeof(expected), "one of %s", info->choices);
    return config_wrong(e, v, expected);
}

static int parse_with(struct config_value *v, enum directive_type type, struct err *e)
{
    struct strview t = sv_of(v->text);
    struct arena scratch = {0};
    struct host_entry *hosts;
    struct source_range range;
    struct reply_rule rule;
    struct bounce_rule bounce;
    uint32_t weight;
    size_t count;
    int r;

    if (type == TYPE_HOST_LIST)
        r = host_list_parse(t, &scratch, &hosts, &count, e);
    else if (type == TYPE_POOL_MEMBER)
        r = pool_member_parse(t, &t, &weight, e);
    else if (type == TYPE_REPLY_RULE)
        r = reply_rule_parse(t, &rule, e);
    else if (type == TYPE_BOUNCE_RULE)
        r = bounce_rule_parse(t, &bounce, e);
    else
        r = source_range_parse(t, type == TYPE_SOURCE_HOST, &range, e);
    arena_free(&scratch);
    if (r < 0 && e)
        err_prefix(e, "%s", directive_info(v->directive)->name);
    return r < 0 ? ERR_CONFIG : 0;
}

/* 0/h is refused: some would mean "nothing", some "no limit". */
static int parse_rate(struct config_value *v, enum directive_type type, struct err *e)
{
    struct strview t = sv_of(v->text);
    bool data = type == TYPE_DATA_RATE;
    int r = data ? units_parse_data_rate(t, &v->rate) : units_parse_rate(t, &v->rate);

    if (r < 0 || (!v->rate.count && sv_find(t, '/') >= 0))
        return config_wrong(e, v,
                            data ? "bytes per time such as 12M/m, or unlimited"
                                 : "a rate such as 500/s, 600/h or 83/5s, or unlimited");
    return 0;
}

static int parse_domains(struct config_value *v, struct err *e)
{
    struct strview rest = sv_of(v->text), item;

    while (sv_split(&rest, ',', &item)) {
        item = sv_trim(item);
        /* items stand in patterns: yahoo.$tld with tld = com, co.uk; nested macros: $other */
        if (item.len && item.ptr[0] == '$')
            item = sv(item.ptr + 1, item.len - 1);
        if (!config_is_domain(item))
            return config_wrong(e, v, "domains separated by commas");
    }
    return 0;
}

/* What the type alone does not say. */
static int check_records(const struct config_value *v, struct err *e)
{
    unsigned records;

    if (acct_records_parse(sv_of(v->text), &records, e) == 0)
        return 0;
    if (e)
        err_prefix(e, "%s", directive_info(v->directive)->name);
    return ERR_CONFIG;
}

static int check_columns(const struct config_value *v, struct err *e)
{
    struct acct_columns columns;

    if (acct_columns_parse(sv_of(v->text), ACCT_ALL, &columns, e) == 0)
        return 0;
    if (e)
        err_prefix(e, "%s", directive_info(v->directive)->name);
    return ERR_CONFIG;
}

static int check_special(const struct config_value *v, struct err *e)
{
    struct sockaddr_storage addr;
    struct strview t = sv_of(v->text);

    switch (v->directive) {
    case DIR_NAME_SERVER:
        if (name_server_parse(t, &addr) < 0)
            return config_wrong(e, v, "IP, IP:PORT or [IP6]:PORT");
        return 0;
    case DIR_ADDRESS:
        if (listener_address_parse(t, &addr) < 0)
            return config_wrong(e, v, "ADDRESS:PORT, [IP6]:PORT or *:PORT");
        return 0;
    case DIR_PASSWORD:
        if (t.len < 40 || !sv_starts_nocase(t, SV("$argon2id$v=")))
            return err_set(e, ERR_CONFIG,
                           "password: not an Argon2id hash "
                           "(expected $argon2id$..., from pmtactl hash-password)");
        return 0;
    case DIR_ACCT_RECORDS:
        return check_records(v, e);
    case DIR_ACCT_RECORD_FIELDS:
    case DIR_ACCT_RECORD_FIELDS_D:
    case DIR_ACCT_RECORD_FIELDS_B:
    case DIR_ACCT_RECORD_FIELDS_T:
    case DIR_ACCT_RECORD_FIELDS_TQ:
    case DIR_ACCT_RECORD_FIELDS_R:
    case DIR_ACCT_RECORD_FIELDS_RB:
    case DIR_ACCT_RECORD_FIELDS_RS:
    case DIR_ACCT_RECORD_FIELDS_F:
        return check_columns(v, e);
    default:
        return 0;
    }
}

static int parse_key(struct config_value *v, enum directive_type type, struct err *e)
{
    struct domain_key key;
    if (domain_key_parse(sv_of(v->text), type == TYPE_DKIM_KEY, &key, e) == 0)
        return 0;
    err_prefix(e, "%s", directive_info(v->directive)->name);
    return ERR_CONFIG;
}

static int parse_typed(struct config_value *v, struct arena *a, struct err *e)
{
    const struct directive_info *info = directive_info(v->directive);
    struct strview t = sv_of(v->text);

    switch (info->type) {
    case TYPE_BOOL:
        return parse_bool(v, e);
    case TYPE_INT:
    case TYPE_INTERVAL:
    case TYPE_SIZE:
        return parse_number(v, info, e);
    case TYPE_INTERVAL_LIST:
        return parse_intervals(v, info, a, e);
    case TYPE_RETRY:
        return config_parse_retry(v, a, e);
    case TYPE_RATE:
    case TYPE_DATA_RATE:
        return parse_rate(v, info->type, e);
    case TYPE_RATE_LIST:
    case TYPE_RAMP:
        return config_parse_rates(v, a, e);
    case TYPE_ENUM:
        return parse_enum(v, info, e);
    case TYPE_NAME:
        return config_is_name(t) ? 0 : config_wrong(e, v, "a name: letters, digits, . _ - :");
    case TYPE_DOMAIN:
        return config_is_domain(t) ? 0 : config_wrong(e, v, "a host or domain name");
    case TYPE_HOST_LIST:
    case TYPE_SOURCE_HOST:
    case TYPE_SOURCE_IP:
    case TYPE_POOL_MEMBER:
    case TYPE_REPLY_RULE:
    case TYPE_BOUNCE_RULE:
        return parse_with(v, info->type, e);
    case TYPE_DOMAIN_LIST:
        return parse_domains(v, e);
    case TYPE_MX_PATTERNS:
        return config_check_mx(v, e);
    case TYPE_EMAIL_LIST:
        return config_check_emails(v, e);
    case TYPE_DOMAIN_KEY:
    case TYPE_DKIM_KEY:
        return parse_key(v, info->type, e);
    case TYPE_PATH:
        return t.len ? 0 : config_wrong(e, v, "a path");
    case TYPE_TEXT:
        return 0;
    }
    return 0;
}

int config_value_parse(struct config_value *v, struct arena *a, struct err *e)
{
    int r = parse_typed(v, a, e);
    return r < 0 ? r : check_special(v, e);
}
