/*
 * The command line; see options.h. What a directive of [event-sink] sets is an option of the same
 * name; so the rows of common/mail/directives.h give parser and help here as well.
 */
#include "options.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { VALUES_MAX = 256, FOLLOW_MAX = 64 };

struct parse {
    struct config_setting values[VALUES_MAX + 1];
    size_t count;
    const char *follow[FOLLOW_MAX], *moved[FOLLOW_MAX];
    size_t follow_count;
    const char *state;
    bool once, verbose;
};

bool options_are_by_hand(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--name") == 0)
            return false;
    return true;
}

static void print_help(void)
{
    printf(
        "usage: pmta-ship --follow PATH [--moved-to DIR] --to URL --state DIR [options]\n\n"
        "Sends the records of accounting files to a webhook, to Redis or Kafka, or to standard\n"
        "output; each at least once, in order per pipe. pmtad starts one for each [event-sink];\n"
        "by hand it serves other hosts, and cron.\n\n"
        "  --follow PATH           as in [acct-file PATH]: /var/log/pmta/acct.csv stands for\n"
        "                          acct-PIPE-DATE-NNNN.csv beside it; or one file that is there\n"
        "                          (several times)\n"
        "  --moved-to DIR          move-to of the --follow before it\n"
        "  --to URL                https://HOST/PATH, redis://HOST[:PORT]/STREAM,\n"
        "                          kafka://HOST[:PORT],.../TOPIC, or stdout\n"
        "  --state DIR             where the position and dead letters are kept; may be left\n"
        "                          out with stdout, which then begins at the oldest file\n"
        "  --once                  end when everything that is there was sent; exit status 1\n"
        "                          when that fails dead-letter-after times\n"
        "  --verbose               say at the end how much was sent\n"
        "  --version, --help\n\n"
        "As in [event-sink], docs/events.md:\n");
    for (enum directive d = 0; d < DIRECTIVE_COUNT; d++) {
        const struct directive_info *i = directive_info(d);
        if (!(i->kinds & KIND_EVENT_SINK) || d == DIR_SINK_URL || d == DIR_SINK_ACCT_FILE)
            continue;
        int n = printf("  --%s VALUE", i->name);
        printf("%*s%s%s%s\n", n < 28 ? 28 - n : 1, "", i->default_text ? "[" : "",
               d == DIR_ACCT_RECORDS ? "all"
               : i->default_text     ? i->default_text
                                     : "",
               i->default_text ? "]" : "");
    }
}

static enum directive directive_of(struct strview name)
{
    if (sv_eq(name, SV("to")))
        return DIR_SINK_URL;
    for (enum directive d = 0; d < DIRECTIVE_COUNT; d++)
        if (directive_info(d)->kinds & KIND_EVENT_SINK && d != DIR_SINK_ACCT_FILE &&
            sv_eq(name, sv_of(directive_info(d)->name)))
            return d;
    return DIRECTIVE_COUNT;
}

static int take(struct parse *p, struct strview name, const char *value, struct err *e)
{
    enum directive d = directive_of(name);

    if (sv_eq(name, SV("follow"))) {
        if (p->follow_count == FOLLOW_MAX)
            return err_set(e, ERR_SYNTAX, "--follow: more than %d", FOLLOW_MAX);
        p->follow[p->follow_count++] = value;
    } else if (sv_eq(name, SV("moved-to"))) {
        if (!p->follow_count)
            return err_set(e, ERR_SYNTAX, "--moved-to without --follow before it");
        p->moved[p->follow_count - 1] = value;
    } else if (sv_eq(name, SV("state"))) {
        p->state = value;
    } else if (d == DIRECTIVE_COUNT) {
        return err_set(e, ERR_SYNTAX, "unknown option '--%.*s' (see --help)", SV_ARG(name));
    } else if (p->count == VALUES_MAX) {
        return err_set(e, ERR_SYNTAX, "too many options");
    } else {
        p->values[p->count++] = (struct config_setting){d, value};
    }
    return 0;
}

static int parse_words(int argc, char **argv, struct parse *p, struct err *e)
{
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i], *equal = strchr(word, '=');
        if (strcmp(word, "--help") == 0) {
            print_help();
            return 1;
        }
        if (strcmp(word, "--version") == 0) {
            puts("pmta-ship " PMTA_VERSION);
            return 1;
        }
        if (strcmp(word, "--once") == 0) {
            p->once = true;
            continue;
        }
        if (strcmp(word, "--verbose") == 0) {
            p->verbose = true;
            continue;
        }
        if (strncmp(word, "--", 2) != 0)
            return err_set(e, ERR_SYNTAX, "'%s' is no option (see --help)", word);
        struct strview name = sv(word + 2, equal ? (size_t)(equal - word) - 2 : strlen(word) - 2);
        if (!equal && i + 1 == argc)
            return err_set(e, ERR_SYNTAX, "%s needs a value", word);
        int rc = take(p, name, equal ? equal + 1 : argv[++i], e);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int open_dir(const char *path, struct err *e)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? err_set(e, -errno, "cannot open directory '%s'", path) : fd;
}

static char *directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    if (!slash)
        return xstrdup(".");
    return slash == path ? xstrdup("/") : xstrndup(path, (size_t)(slash - path));
}

/* A file that is there is followed alone; any other path is the name of a set. */
static int follow_one(struct ship_settings *s, const char *path, const char *moved, struct err *e)
{
    const char *slash = strrchr(path, '/');
    char *dir = directory_of(path);
    struct stat st;
    int fd = open_dir(dir, e), move_fd = -1;

    free(dir);
    if (fd < 0)
        return fd;
    if (moved && (move_fd = open_dir(moved, e)) < 0) {
        close(fd);
        return move_fd;
    }
    ship_settings_follow(s, path, fd, move_fd, false);
    if (stat(path, &st) == 0 && S_ISREG(st.st_mode))
        s->sets[s->set_count - 1].single = xstrdup(slash ? slash + 1 : path);
    return 0;
}

static struct strview read_named(void *arg, const char *name)
{
    struct buf *files = arg;
    struct err e;

    buf_reset(files);
    if (ship_read_file(AT_FDCWD, name, SHIP_FILE_MAX, files, &e) < 0)
        return sv(NULL, 0);
    return buf_view(files);
}

static int check(const struct parse *p, const struct ship_settings *s, struct err *e)
{
    if (!p->follow_count)
        return err_set(e, ERR_SYNTAX,
                       "--follow is missing (expected the path of an accounting file)");
    if (!p->state && s->to.kind != SINK_STDOUT)
        return err_set(e, ERR_SYNTAX, "--state is missing (expected a directory for the position)");
    for (size_t i = 0; i < s->headers.count; i++)
        if (!sink_header_is_valid(sv_of(s->headers.items[i])))
            return err_set(e, ERR_SYNTAX,
                           "http-header: '%.60s' is no header field (expected Name: value)",
                           s->headers.items[i]);
    return 0;
}

int options_parse(int argc, char **argv, struct options *ret, struct err *e)
{
    struct parse p = {0};
    struct config *cfg = NULL;
    struct buf file = {0};
    int rc = parse_words(argc, argv, &p, e);

    *ret = (struct options){.state_dirfd = -1};
    if (rc != 0)
        return rc;
    ship_settings_init(&ret->settings);
    rc = config_of_section("event-sink ship", p.values, "command line", &cfg, e);
    if (rc == 0 && !config_section_get(cfg, KIND_EVENT_SINK, SV("ship"), DIR_SINK_URL))
        rc = err_set(e, ERR_SYNTAX, "--to is missing (expected where events go)");
    if (rc == 0)
        rc = ship_settings_from_config(&ret->settings, cfg, "ship", read_named, &file, e);
    if (rc == 0)
        rc = check(&p, &ret->settings, e);
    for (size_t i = 0; rc == 0 && i < p.follow_count; i++)
        rc = follow_one(&ret->settings, p.follow[i], p.moved[i], e);
    if (rc == 0 && p.state && (ret->state_dirfd = open_dir(p.state, e)) < 0)
        rc = ret->state_dirfd;
    ret->settings.once = p.once;
    ret->verbose = p.verbose;
    config_unref(cfg);
    buf_free(&file);
    if (rc < 0)
        ship_settings_fini(&ret->settings);
    return rc;
}
