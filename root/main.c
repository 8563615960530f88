/*
 * pmtad: the monitor. Reads arguments and configuration, then monitor_run.
 *
 * Exit status: 0 ended as asked (or the configuration is good, with --check), 1 could not start or
 * was ended at once, 2 wrong arguments.
 */
#include "monitor.h"

#include "base/log.h"
#include "build_id.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

enum { OVERRIDES_MAX = 64, OPTION_DEBUG = 256, OPTION_CHECK };

struct arguments {
    const char *config_dir;
    bool check, debug;
    struct config_override overrides[OVERRIDES_MAX];
    char *override_text[OVERRIDES_MAX]; /* what overrides point into */
    size_t override_count;
};

static const char usage[] =
    "usage: pmtad -c DIRECTORY [-o SECTION.DIRECTIVE=VALUE]... [--debug]\n"
    "       pmtad --check -c DIRECTORY\n\n"
    "Runs PipeMTA in the foreground, configured by the *.conf files in DIRECTORY.\n\n"
    "  -c, --config DIRECTORY  where the configuration is\n"
    "  -o, --override S.D=V    sets directive D of section S, as if the last file said so:\n"
    "                          -o pmta.run-dir=/tmp/run -o 'pipe bulk.priority=20'\n"
    "      --check             reads the configuration, prints what is wrong, and ends\n"
    "      --debug             debug logging of all subsystems\n"
    "      --version, --help\n\n"
    "SIGTERM and SIGINT drain and end, a second one ends at once; SIGHUP reloads.\n";

/* SECTION.DIRECTIVE=VALUE; a section may hold dots ("domain a.b"), a directive does not. */
static int parse_override(struct arguments *a, const char *text)
{
    if (a->override_count == OVERRIDES_MAX) {
        fprintf(stderr, "pmtad: more than %d overrides\n", OVERRIDES_MAX);
        return -1;
    }
    char *copy = xstrdup(text);
    char *equals = strchr(copy, '=');
    char *dot = NULL;
    if (equals) {
        *equals = '\0';
        dot = strrchr(copy, '.');
    }
    if (!dot || dot == copy || !dot[1]) {
        fprintf(stderr, "pmtad: '%s' is not SECTION.DIRECTIVE=VALUE\n", text);
        free(copy);
        return -1;
    }
    *dot = '\0';
    a->override_text[a->override_count] = copy;
    a->overrides[a->override_count++] = (struct config_override){copy, dot + 1, equals + 1};
    return 0;
}

/* -1 to go on, or an exit status. */
static int parse_arguments(int argc, char **argv, struct arguments *a)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},
        {"override", required_argument, NULL, 'o'},
        {"check", no_argument, NULL, OPTION_CHECK},
        {"debug", no_argument, NULL, OPTION_DEBUG},
        {"version", no_argument, NULL, 'V'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int c;
    while ((c = getopt_long(argc, argv, "c:o:", options, NULL)) != -1) {
        switch (c) {
        case 'c':
            a->config_dir = optarg;
            break;
        case 'o':
            if (parse_override(a, optarg) < 0)
                return 2;
            break;
        case OPTION_CHECK:
            a->check = true;
            break;
        case OPTION_DEBUG:
            a->debug = true;
            break;
        case 'V':
            printf("pmtad %s (%s)\n", PMTA_VERSION, PMTA_BUILD_ID);
            return 0;
        case 'h':
            fputs(usage, stdout);
            return 0;
        default:
            return 2;
        }
    }
    if (!a->config_dir || optind != argc) {
        fputs(usage, stderr);
        return 2;
    }
    return -1;
}

/* The directory part of path, malloc'd, or NULL when it has none. */
static char *directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? xstrndup(path, MAX_OF((size_t)(slash - path), (size_t)1)) : NULL;
}

/* Beside pmtad as it was called (which may be a link), beside the file itself, in the libexec of
 * the tree that it stands in (which may have been moved), in libexec. */
static void find_program_dirs(struct root *r, const char *called)
{
    char self[PATH_MAX];
    size_t count = 0;
    char *dir = directory_of(called);
    if (dir)
        r->program_dirs[count++] = dir;
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (n > 0) {
        struct buf moved = {0};
        self[n] = '\0';
        r->program_dirs[count++] = dir = directory_of(self);
        buf_printf(&moved, "%s/../libexec/pmta", dir);
        r->program_dirs[count++] = buf_take(&moved);
    }
    r->program_dirs[count] = xstrdup(PMTA_LIBEXEC);
}

static size_t count_sections(const struct config *cfg, enum config_kind kind)
{
    size_t n = 0;
    while (config_section_name(cfg, kind, n))
        n++;
    return n;
}

static int check(const struct config *cfg, const char *dir)
{
    printf("configuration in '%s' is good: %zu pipes, %zu listeners\n", dir,
           count_sections(cfg, KIND_PIPE), count_sections(cfg, KIND_LISTENER));
    return 0;
}

static int run(struct arguments *a, struct config *cfg, const char *called)
{
    struct root r = {
        .config_dir = a->config_dir,
        .overrides = a->overrides,
        .override_count = a->override_count,
        .config = cfg,
        .snapshot_fd = -1,
        .lock_fd = -1,
        .spool_fd = -1,
        .limits_fd = -1,
        .log_fd = 2,
    };
    if (!config_section_name(cfg, KIND_PIPE, 0)) {
        fprintf(stderr, "pmtad: '%s' has no [pipe NAME] section\n", a->config_dir);
        config_unref(cfg);
        return 1;
    }
    find_program_dirs(&r, called);
    int status = monitor_run(&r);
    for (size_t i = 0; i < ARRAY_LEN(r.program_dirs); i++)
        free(r.program_dirs[i]);
    return status;
}

int main(int argc, char **argv)
{
    struct arguments a = {0};
    struct config_report report = {0};
    struct config *cfg = NULL;
    int status = parse_arguments(argc, argv, &a);

    if (status < 0) {
        log_set_process("root");
        if (a.debug)
            log_set_debug(log_subsystem_bit("all"));
        int code = config_load_with(a.config_dir, 1, a.overrides, a.override_count, &cfg, &report);
        fputs(buf_data(&report.text), stderr);
        if (code < 0)
            status = 1;
        else
            status = a.check ? check(cfg, a.config_dir) : run(&a, cfg, argv[0]);
        if (code == 0 && a.check)
            config_unref(cfg);
    }
    for (size_t i = 0; i < a.override_count; i++)
        free(a.override_text[i]);
    buf_free(&report.text);
    return status;
}
