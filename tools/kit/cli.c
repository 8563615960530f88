/*
 * cli: see cli.h. Called once at the start by the mains of pmta-sink and pmta-flood. Values are
 * borrowed from argv, which lives as long as the process. What can go wrong is what a person typed:
 * each error names the option and says what would have been right.
 */
#include "kit/cli.h"

#include "base/units.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>

static void print_row(const struct cli_option *row)
{
    if (!row->name) {
        printf("\n%s\n", row->help);
        return;
    }
    char left[64];
    snprintf(left, sizeof(left), "--%s%s%s", row->name, row->argument ? " " : "",
             row->argument ? row->argument : "");
    printf("  %-30s%s", left, strlen(left) > 29 ? "\n                                " : "");
    for (const char *p = row->help; *p; p++) {
        putchar(*p);
        if (*p == '\n')
            printf("%32s", "");
    }
    putchar('\n');
}

static void print_help(const struct cli *cli)
{
    printf("usage: %s %s\n\n%s\n", cli->program, cli->usage, cli->about);
    for (size_t i = 0; i < cli->row_count; i++)
        print_row(&cli->rows[i]);
    printf("  %-30s%s\n  %-30s%s\n", "--help", "this text", "--version", "the version");
    printf("\n%s", cli->more);
}

static int unknown(const struct cli *cli, struct strview name, struct err *e)
{
    const char *nearest = NULL;
    unsigned best = 4;
    for (size_t i = 0; i < cli->row_count; i++) {
        if (!cli->rows[i].name)
            continue;
        unsigned d = str_distance(name, sv_of(cli->rows[i].name));
        if (d < best) {
            best = d;
            nearest = cli->rows[i].name;
        }
    }
    if (nearest)
        return err_set(e, ERR_SYNTAX, "unknown option \"--%.*s\"; did you mean \"--%s\"?",
                       SV_ARG(name), nearest);
    return err_set(e, ERR_SYNTAX, "unknown option \"--%.*s\"; --help lists them", SV_ARG(name));
}

static const struct cli_option *find(const struct cli *cli, struct strview name)
{
    for (size_t i = 0; i < cli->row_count; i++)
        if (cli->rows[i].name && sv_eq(name, sv_of(cli->rows[i].name)))
            return &cli->rows[i];
    return NULL;
}

static bool is_information(const struct cli *cli, const char *arg)
{
    if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0)
        print_help(cli);
    else if (strcmp(arg, "--version") == 0)
        printf("%s (PipeMTA) %s\n", cli->program, PMTA_VERSION);
    else
        return false;
    return true;
}

int cli_parse(const struct cli *cli, int argc, char **argv, void *options, struct err *e)
{
    for (int i = 1; i < argc; i++) {
        if (is_information(cli, argv[i]))
            return CLI_DONE;
        if (strncmp(argv[i], "--", 2) != 0 || !argv[i][2])
            return err_set(e, ERR_SYNTAX, "unexpected argument \"%s\"; --help lists the options",
                           argv[i]);
        struct strview name = sv_of(argv[i] + 2);
        ptrdiff_t equals = sv_find(name, '=');
        const char *value = equals >= 0 ? name.ptr + equals + 1 : NULL;
        if (equals >= 0)
            name.len = (size_t)equals;
        const struct cli_option *row = find(cli, name);
        if (!row)
            return unknown(cli, name, e);
        if (row->argument && !value && i + 1 < argc)
            value = argv[++i];
        if (!row->argument != !value)
            return err_set(
                e, ERR_SYNTAX, "--%s %s%s", row->name,
                value ? "takes no value" : "needs a value: ", value ? "" : row->argument);
        int rc = row->set(options, value, e);
        if (rc < 0) {
            err_prefix(e, "--%s%s%s%s", row->name, value ? " \"" : "", value ? value : "",
                       value ? "\"" : "");
            return rc;
        }
    }
    return 0;
}

int cli_number(const char *value, uint64_t min, uint64_t max, uint64_t *ret, struct err *e)
{
    if (!sv_to_u64(sv_of(value), ret) || *ret < min || *ret > max)
        return err_set(e, ERR_SYNTAX, "expected a number from %" PRIu64 " to %" PRIu64, min, max);
    return 0;
}

int cli_interval(const char *value, int64_t *ret_ms, struct err *e)
{
    if (units_parse_interval(sv_of(value), ret_ms) < 0)
        return err_set(e, ERR_SYNTAX, "expected an interval such as 250ms, 10s or 5m");
    return 0;
}

int cli_address(const char *value, struct sockaddr_storage *ret, struct err *e)
{
    struct sockaddr_in *in = (struct sockaddr_in *)(void *)ret;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)(void *)ret;
    char host[INET6_ADDRSTRLEN] = "127.0.0.1";
    const char *colon = strrchr(value, ':');
    uint64_t port = 0;
    memset(ret, 0, sizeof(*ret));
    if (!sv_to_u64(sv_of(colon ? colon + 1 : value), &port) || port > 65535)
        goto bad;
    struct strview h = colon ? sv(value, (size_t)(colon - value)) : sv_of(host);
    if (h.len >= 2 && h.ptr[0] == '[' && h.ptr[h.len - 1] == ']')
        h = sv(h.ptr + 1, h.len - 2);
    if (h.len >= sizeof(host))
        goto bad;
    memmove(host, h.ptr, h.len);
    host[h.len] = '\0';
    if (inet_pton(AF_INET, host, &in->sin_addr) == 1) {
        in->sin_family = AF_INET;
        in->sin_port = htons((uint16_t)port);
        return 0;
    }
    if (inet_pton(AF_INET6, host, &in6->sin6_addr) == 1) {
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons((uint16_t)port);
        return 0;
    }
bad:
    return err_set(e, ERR_SYNTAX, "expected ADDRESS:PORT such as 127.0.0.1:2525 or [::1]:2525");
}

char *cli_address_text(const struct sockaddr_storage *address, char *out)
{
    const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)address;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)address;
    char host[INET6_ADDRSTRLEN] = "";
    if (address->ss_family == AF_INET6) {
        inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
        snprintf(out, CLI_ADDRESS_SIZE, "[%s]:%u", host, ntohs(in6->sin6_port));
    } else {
        inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
        snprintf(out, CLI_ADDRESS_SIZE, "%s:%u", host, ntohs(in->sin_port));
    }
    return out;
}
