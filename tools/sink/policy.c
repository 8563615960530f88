/*
 * policy: see policy.h. Built at the start from the command line and the personality file, constant
 * afterwards; asked by the session at each reply. The file is read by a few lines of our own and
 * not by inih, because a domain name may be longer than the 49 bytes that inih keeps of a section
 * name. Everything belongs to struct policies.
 */
#include "sink/policy.h"

#include "base/units.h"

#include <errno.h>
#include <stdio.h>

static const char *const phase_names[] = {
#define POLICY_NAME(name, text) text,
    POLICY_PHASES(POLICY_NAME)
#undef POLICY_NAME
};

const char *policy_phase_name(enum policy_phase phase)
{
    return phase_names[phase];
}

static bool match(const struct hash_node *node, const void *key)
{
    const struct strview *domain = key;
    const struct policy *p = container_of(node, struct policy, node);
    return sv_eq_nocase(sv_of(p->domain), *domain);
}

void policies_init(struct policies *p)
{
    memset(p, 0, sizeof(*p));
    hash_init(&p->by_domain, match);
}

static void free_faults(struct policy *p)
{
    for (unsigned phase = 0; phase < PHASE_COUNT; phase++)
        for (unsigned i = 0; i < p->fault_count[phase]; i++)
            free(p->faults[phase][i].text);
}

void policies_fini(struct policies *p)
{
    struct hash_node *node;
    while ((node = hash_next(&p->by_domain, NULL))) {
        struct policy *one = container_of(node, struct policy, node);
        hash_remove(&p->by_domain, node);
        free_faults(one);
        free(one->domain);
        free(one);
    }
    hash_fini(&p->by_domain);
    free_faults(&p->everybody);
}

static int parse_phase(struct strview *rest, enum policy_phase *ret, struct err *e)
{
    struct strview name;
    if (sv_split(rest, ':', &name))
        for (unsigned i = 0; i < PHASE_COUNT; i++)
            if (sv_eq_nocase(sv_trim(name), sv_of(phase_names[i]))) {
                *ret = (enum policy_phase)i;
                return 0;
            }
    return err_set(e, ERR_SYNTAX, "expected a phase: connect, helo, mail, rcpt, data or eod");
}

/* A number with up to three decimals and an optional '%', more than 0 and at most 100. */
static bool parse_percent(struct strview s, double *ret)
{
    double value = 0, scale = 0;
    if (s.len && s.ptr[s.len - 1] == '%')
        s.len--;
    if (s.len == 0 || s.len > 7 || !ascii_is_digit(s.ptr[0]))
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '.' && scale == 0) {
            scale = 1;
            continue;
        }
        if (!ascii_is_digit(s.ptr[i]))
            return false;
        if (scale > 0)
            scale /= 10;
        value = scale > 0 ? value + scale * (s.ptr[i] - '0') : value * 10 + (s.ptr[i] - '0');
    }
    *ret = value;
    return value > 0 && value <= 100;
}

static int parse_kind(struct strview word, enum policy_phase phase, struct fault *f, struct err *e)
{
    static const struct {
        const char *name;
        enum fault_kind kind;
    } kinds[] = {{"drop", FAULT_DROP}, {"hang", FAULT_HANG}, {"lost", FAULT_LOST}};
    uint64_t code = 0;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (sv_eq_nocase(word, sv_of(kinds[i].name))) {
            f->kind = kinds[i].kind;
            if (f->kind == FAULT_LOST && phase != PHASE_EOD)
                return err_set(e, ERR_SYNTAX, "\"lost\" is for the phase eod");
            return 0;
        }
    if (!sv_to_u64(word, &code) || code < 400 || code > 599)
        return err_set(e, ERR_SYNTAX,
                       "expected a code from 400 to 599, or \"drop\", \"hang\", \"lost\"");
    f->kind = FAULT_REPLY;
    f->code = (int)code;
    return 0;
}

static char *default_text(int code, enum policy_phase phase)
{
    char text[80];
    snprintf(text, sizeof(text), "%d.0.0 Fault on demand at %s", code / 100, phase_names[phase]);
    return xstrdup(text);
}

int policy_add_fault(struct policy *p, const char *text, struct err *e)
{
    struct strview rest = sv_of(text), word = {0}, next = {0};
    struct fault f = {.percent = 100};
    enum policy_phase phase;
    int rc = parse_phase(&rest, &phase, e);
    if (rc < 0)
        return rc;
    if (!sv_split(&rest, ':', &word))
        return err_set(e, ERR_SYNTAX, "expected PHASE:CODE[:PERCENT][:TEXT]");
    rc = parse_kind(sv_trim(word), phase, &f, e);
    if (rc < 0)
        return rc;
    struct strview after = rest;
    if (sv_split(&after, ':', &next) && next.len && ascii_is_digit(next.ptr[0]) &&
        sv_find(next, ' ') < 0) {
        if (!parse_percent(sv_trim(next), &f.percent))
            return err_set(e, ERR_SYNTAX, "expected a percentage above 0, up to 100");
        rest = after;
    }
    double sum = f.percent;
    for (unsigned i = 0; i < p->fault_count[phase]; i++)
        sum += p->faults[phase][i].percent;
    if (sum > 100.0001 || p->fault_count[phase] == POLICY_FAULTS_MAX)
        return err_set(e, ERR_SYNTAX,
                       "the percentages at %s add up to more than 100, or more than "
                       "%d rules",
                       phase_names[phase], POLICY_FAULTS_MAX);
    struct strview words = rest.ptr ? sv_trim(rest) : sv("", 0);
    f.text = words.len ? xstrndup(words.ptr, words.len) : default_text(f.code, phase);
    p->faults[phase][p->fault_count[phase]++] = f;
    return 0;
}

int policy_add_delay(struct policy *p, const char *text, struct err *e)
{
    struct strview rest = sv_of(text), interval, percent;
    enum policy_phase phase;
    double chance = 100;
    int64_t ms;
    int rc = parse_phase(&rest, &phase, e);
    if (rc < 0)
        return rc;
    if (!sv_split(&rest, ':', &interval) || units_parse_interval(sv_trim(interval), &ms) < 0)
        return err_set(e, ERR_SYNTAX, "expected PHASE:INTERVAL[:PERCENT], such as rcpt:200ms:10");
    if (sv_split(&rest, ':', &percent) && !parse_percent(sv_trim(percent), &chance))
        return err_set(e, ERR_SYNTAX, "expected a percentage above 0, up to 100");
    p->delay_ms[phase] = ms;
    p->delay_percent[phase] = chance;
    return 0;
}

int policy_set_greylist(struct policy *p, const char *text, struct err *e)
{
    if (units_parse_interval(sv_of(text), &p->greylist_ms) < 0)
        return err_set(e, ERR_SYNTAX, "expected an interval such as 1s or 5m");
    return 0;
}

static int set_value(struct policy *p, struct strview key, const char *value, struct err *e)
{
    if (sv_eq_nocase(key, SV("fault")))
        return policy_add_fault(p, value, e);
    if (sv_eq_nocase(key, SV("delay")))
        return policy_add_delay(p, value, e);
    if (sv_eq_nocase(key, SV("greylist")))
        return policy_set_greylist(p, value, e);
    return err_set(e, ERR_SYNTAX, "unknown setting \"%.*s\"; expected fault, delay or greylist",
                   SV_ARG(key));
}

static struct policy *add_domain(struct policies *p, struct strview domain)
{
    uint64_t h = hash_bytes_nocase(domain.ptr, domain.len);
    struct hash_node *node = hash_find(&p->by_domain, h, &domain);
    if (node)
        return container_of(node, struct policy, node);
    struct policy *one = xcalloc(1, sizeof(*one));
    one->domain = xstrndup(domain.ptr, domain.len);
    hash_insert(&p->by_domain, &one->node, h);
    return one;
}

static int load_line(struct policies *p, struct policy **current, char *text, struct err *e)
{
    struct strview line = sv_trim(sv_of(text));
    if (line.len == 0 || line.ptr[0] == '#' || line.ptr[0] == ';')
        return 0;
    if (line.ptr[0] == '[') {
        if (line.len < 3 || line.ptr[line.len - 1] != ']')
            return err_set(e, ERR_SYNTAX, "expected [domain]");
        *current = add_domain(p, sv_trim(sv(line.ptr + 1, line.len - 2)));
        return 0;
    }
    ptrdiff_t equals = sv_find(line, '=');
    if (equals < 0 || !*current)
        return err_set(e, ERR_SYNTAX,
                       *current ? "expected NAME = VALUE" : "a setting before the first [domain]");
    struct strview key = sv_trim(sv(line.ptr, (size_t)equals));
    struct strview rest = sv_trim(sv(line.ptr + equals + 1, line.len - (size_t)equals - 1));
    char *value = xstrndup(rest.ptr, rest.len);
    int rc = set_value(*current, key, value, e);
    free(value);
    return rc;
}

int policies_load(struct policies *p, const char *path, struct err *e)
{
    struct policy *current = NULL;
    char *line = NULL;
    size_t cap = 0;
    int number = 0, rc = 0;
    FILE *f = fopen(path, "re");
    if (!f)
        return err_set(e, -errno, "cannot read");
    while (rc == 0 && getline(&line, &cap, f) >= 0) {
        number++;
        rc = load_line(p, &current, line, e);
        if (rc < 0)
            err_prefix(e, "%s:%d", path, number);
    }
    if (rc == 0 && ferror(f))
        rc = err_set(e, -EIO, "cannot read");
    free(line);
    fclose(f);
    return rc;
}

const struct policy *policies_find(const struct policies *p, struct strview domain)
{
    if (p->by_domain.count == 0)
        return NULL;
    struct hash_node *node =
        hash_find(&p->by_domain, hash_bytes_nocase(domain.ptr, domain.len), &domain);
    return node ? container_of(node, struct policy, node) : NULL;
}

const struct fault *policies_fault(const struct policies *p, const struct policy *personality,
                                   enum policy_phase phase, struct rng *rng)
{
    const struct policy *use =
        personality && personality->fault_count[phase] ? personality : &p->everybody;
    if (use->fault_count[phase] == 0)
        return NULL;
    double drawn = rng_percent(rng), until = 0;
    for (unsigned i = 0; i < use->fault_count[phase]; i++) {
        until += use->faults[phase][i].percent;
        if (drawn < until)
            return &use->faults[phase][i];
    }
    return NULL;
}

int64_t policies_delay_ms(const struct policies *p, const struct policy *personality,
                          enum policy_phase phase, struct rng *rng)
{
    const struct policy *use =
        personality && personality->delay_ms[phase] ? personality : &p->everybody;
    if (use->delay_ms[phase] == 0)
        return 0;
    return rng_percent(rng) < use->delay_percent[phase] ? use->delay_ms[phase] : 0;
}

int64_t policies_greylist_ms(const struct policies *p, const struct policy *personality)
{
    return personality && personality->greylist_ms ? personality->greylist_ms
                                                   : p->everybody.greylist_ms;
}
