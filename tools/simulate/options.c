/*
 * options: the command line of pmta-simulate, one row per option, and the file of volumes.
 */
#include "simulate.h"

#include "base/clock.h"
#include "mail/host_list.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#define OPTIONS struct simulate_options *o = options

#define SWITCH(function, member)                                         \
    static int function(void *options, const char *value, struct err *e) \
    {                                                                    \
        OPTIONS;                                                         \
        (void)value;                                                     \
        (void)e;                                                         \
        o->member = true;                                                \
        return 0;                                                        \
    }
SWITCH(set_json, json)
SWITCH(set_verbose, verbose)

#define INTERVAL(function, member)                                       \
    static int function(void *options, const char *value, struct err *e) \
    {                                                                    \
        OPTIONS;                                                         \
        return cli_interval(value, &o->member, e);                       \
    }
INTERVAL(set_latency, latency_ms)
INTERVAL(set_connect, connect_ms)
INTERVAL(set_for, for_ms)

static int set_config(void *options, const char *value, struct err *e)
{
    OPTIONS;
    o->config_dir = value;
    return *value ? 0 : err_set(e, ERR_SYNTAX, "expected a directory");
}

/* --- domains --- */

static bool is_domain(struct strview s)
{
    if (!s.len || s.len > 253 || s.ptr[0] == '.')
        return false;
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c <= ' ' || c == 0x7f || strchr("@/<>,:;\"\\", c))
            return false;
    }
    return true;
}

static char *lower_copy(struct strview s)
{
    char *copy = xstrndup(s.ptr, s.len);
    str_lower(copy, s.len);
    return copy;
}

/* "DOMAIN=REST" */
static int split_domain(const char *value, struct strview *ret_domain, struct strview *ret_rest,
                        struct err *e)
{
    struct strview rest = sv_of(value);
    ptrdiff_t equals = sv_find(rest, '=');

    *ret_domain = sv(value, equals < 0 ? rest.len : (size_t)equals);
    *ret_rest = equals < 0 ? sv(NULL, 0) : sv(value + equals + 1, rest.len - (size_t)equals - 1);
    if (!ret_rest->len || !is_domain(*ret_domain))
        return err_set(e, ERR_SYNTAX, "expected DOMAIN=..., not '%.100s'", value);
    return 0;
}

static int add_volume(struct simulate_options *o, struct strview domain, struct strview count,
                      struct strview vmta, struct strview pipe, struct err *e)
{
    struct volume v = {0};

    if (!is_domain(domain))
        return err_set(e, ERR_SYNTAX, "'%.*s' is no domain", (int)MIN_OF(domain.len, (size_t)100),
                       domain.ptr);
    if (!sv_to_u64(count, &v.count) || !v.count || v.count > VOLUME_TOTAL_MAX)
        return err_set(e, ERR_SYNTAX, "expected a number of messages, 1 to %d, not '%.*s'",
                       VOLUME_TOTAL_MAX, (int)MIN_OF(count.len, (size_t)100), count.ptr);
    v.domain = lower_copy(domain);
    v.vmta = vmta.len ? lower_copy(vmta) : NULL;
    v.pipe = pipe.len ? xstrndup(pipe.ptr, pipe.len) : NULL;
    o->volumes = xrealloc(o->volumes, (o->volume_count + 1) * sizeof(v));
    o->volumes[o->volume_count++] = v;
    return 0;
}

static int set_volume(void *options, const char *value, struct err *e)
{
    struct strview domain, count, none = {NULL, 0};
    int rc = split_domain(value, &domain, &count, e);
    return rc < 0 ? rc : add_volume(options, domain, count, none, none, e);
}

static bool next_word(struct strview *rest, struct strview *ret)
{
    *rest = sv_trim(*rest);
    size_t n = 0;
    while (n < rest->len && rest->ptr[n] != ' ' && rest->ptr[n] != '\t')
        n++;
    *ret = sv(rest->ptr, n);
    *rest = sv(rest->ptr + n, rest->len - n);
    return n > 0;
}

/* "domain N [vmta] [pipe]"; "-" for a virtual MTA that the configuration says. */
static int read_line(struct simulate_options *o, char *line, struct err *e)
{
    struct strview rest, words[4] = {{NULL, 0}}, more;

    line[strcspn(line, "#\r\n")] = '\0';
    rest = sv_of(line);
    if (!next_word(&rest, &words[0]))
        return 0;
    for (size_t i = 1; i < ARRAY_LEN(words) && next_word(&rest, &words[i]);)
        i++;
    if (next_word(&rest, &more) || !words[1].len)
        return err_set(e, ERR_SYNTAX, "expected 'domain N [vmta] [pipe]'");
    for (size_t i = 2; i < ARRAY_LEN(words); i++)
        if (sv_eq(words[i], SV("-")))
            words[i] = sv(NULL, 0);
    return add_volume(o, words[0], words[1], words[2], words[3], e);
}

static int set_volumes(void *options, const char *value, struct err *e)
{
    FILE *f = strcmp(value, "-") == 0 ? stdin : fopen(value, "re");
    char *line = NULL;
    size_t size = 0;
    struct err why;
    int rc = 0;

    if (!f)
        return err_set(e, ERR_SYNTAX, "cannot read '%.200s': %s", value, strerror(errno));
    for (unsigned n = 1; rc == 0 && getline(&line, &size, f) > 0; n++) {
        rc = read_line(options, line, &why);
        if (rc < 0)
            err_set(e, rc, "%.200s:%u: %s", value, n, why.text);
    }
    if (f != stdin)
        fclose(f);
    free(line);
    return rc;
}

static int add_domain_option(struct domain_option **list, size_t *count, const char *value,
                             bool is_rate, struct err *e)
{
    struct strview domain, rest;
    struct domain_option d = {0};
    int rc = split_domain(value, &domain, &rest, e);

    if (rc < 0)
        return rc;
    if (is_rate && (units_parse_rate(rest, &d.rate) < 0 || !d.rate.count))
        return err_set(e, ERR_SYNTAX, "expected DOMAIN=RATE, such as yahoo.com=50/s");
    d.domain = lower_copy(domain);
    d.value = lower_copy(rest);
    *list = xrealloc(*list, (*count + 1) * sizeof(d));
    (*list)[(*count)++] = d;
    return 0;
}

static int set_accept(void *options, const char *value, struct err *e)
{
    OPTIONS;
    return add_domain_option(&o->accept, &o->accept_count, value, true, e);
}

static int set_mx(void *options, const char *value, struct err *e)
{
    OPTIONS;
    int rc = add_domain_option(&o->mx, &o->mx_count, value, false, e);
    struct strview rest = rc < 0 ? sv(NULL, 0) : sv_of(o->mx[o->mx_count - 1].value), host;

    while (rest.len && sv_split(&rest, ',', &host))
        if (!is_domain(sv_trim(host)))
            return err_set(e, ERR_SYNTAX, "expected DOMAIN=HOST,HOST..., not '%.100s'", value);
    return rc;
}

/* --- time --- */

static int set_start(void *options, const char *value, struct err *e)
{
    static const char *const forms[] = {"%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M",
                                        "%Y-%m-%d %H:%M:%S",  "%Y-%m-%d %H:%M",    "%Y-%m-%d"};
    OPTIONS;

    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        struct tm tm = {0};
        const char *end = strptime(value, forms[i], &tm);
        if (end && !*end) {
            o->start_ms = (int64_t)timegm(&tm) * 1000;
            return 0;
        }
    }
    return err_set(e, ERR_SYNTAX, "expected a time in UTC such as 2026-11-21T08:00");
}

static const struct cli_option rows[] = {
    {NULL, NULL, "What is to be sent", NULL},
    {"config", "DIR", "the configuration (/etc/pmta/config.d)", set_config},
    {"volume", "DOMAIN=N", "so many messages to this domain; may be repeated", set_volume},
    {"volumes", "FILE", "the same as lines 'domain N [vmta] [pipe]'; - is standard input",
     set_volumes},
    {"start", "TIME", "when it begins, UTC, such as 2026-11-21T08:00 (now)", set_start},
    {"for", "INTERVAL", "give up when mail is left after this time (40d)", set_for},
    {NULL, NULL, "The other side", NULL},
    {"latency", "INTERVAL", "each transaction takes this long (200ms)", set_latency},
    {"connect-time", "INTERVAL", "each connection takes this long to open (100ms)", set_connect},
    {"accept-rate", "DOMAIN=RATE",
     "the domain answers 421 4.7.0 above this rate; may be\nrepeated (no limit)", set_accept},
    {"mx", "DOMAIN=HOST,...",
     "MX hosts of the domain, the best one first; may be\nrepeated (the domain itself)", set_mx},
    {NULL, NULL, "The report", NULL},
    {"json", NULL, "one JSON object per domain, and one in total", set_json},
    {"verbose", NULL, "what the engine logs, on standard error", set_verbose},
};

static const struct cli command = {
    .program = "pmta-simulate",
    .usage = "--volume DOMAIN=N [options]",
    .about = "Says how long a configuration takes to send so much mail and which limit binds. The\n"
             "engine is that of pmta-pipe, the clock is virtual: a week takes seconds and no mail\n"
             "is sent. Source addresses need not be on this machine.",
    .rows = rows,
    .row_count = ARRAY_LEN(rows),
    .more =
        "Exit status: 0 done, 1 mail was left after --for, 2 wrong usage or configuration.\n\n"
        "Example: a campaign for three domains\n"
        "  pmtactl simulate --volume gmail.com=200000 --volume yahoo.com=50000 \\\n"
        "                   --volume example.org=300 --mx gmail.com=gmail-smtp-in.l.google.com\n",
};

static int check_total(const struct simulate_options *o, struct err *e)
{
    uint64_t total = 0;

    for (size_t i = 0; i < o->volume_count; i++)
        total += o->volumes[i].count;
    if (!total)
        return err_set(e, ERR_SYNTAX,
                       "say what is to be sent: --volume DOMAIN=N or --volumes FILE");
    if (total > VOLUME_TOTAL_MAX)
        return err_set(e, ERR_LIMIT, "at most %d messages in all", VOLUME_TOTAL_MAX);
    return 0;
}

int simulate_options_parse(struct simulate_options *o, int argc, char **argv, struct err *e)
{
    memset(o, 0, sizeof(*o));
    o->config_dir = "/etc/pmta/config.d";
    o->latency_ms = 200;
    o->connect_ms = 100;
    o->for_ms = INT64_C(40) * 86400 * 1000;
    o->start_ms = clock_wall_ms() / 1000 * 1000;
    int rc = cli_parse(&command, argc, argv, o, e);
    return rc == 0 ? check_total(o, e) : rc;
}

static void domain_options_fini(struct domain_option *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(list[i].domain);
        free(list[i].value);
    }
    free(list);
}

void simulate_options_fini(struct simulate_options *o)
{
    for (size_t i = 0; i < o->volume_count; i++) {
        free(o->volumes[i].domain);
        free(o->volumes[i].vmta);
        free(o->volumes[i].pipe);
    }
    free(o->volumes);
    domain_options_fini(o->mx, o->mx_count);
    domain_options_fini(o->accept, o->accept_count);
}
