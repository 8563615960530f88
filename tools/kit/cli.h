/*
 * cli: the command line of a tool from one table. A row names the option, its argument, its help
 * and the function that takes the value; parser and --help come from the rows.
 */
#ifndef PMTA_TOOLS_CLI_H
#define PMTA_TOOLS_CLI_H

#include "base/err.h"
#include "base/str.h"

#include <sys/socket.h>

struct cli_option {
    const char *name;     /* without "--"; NULL: `help` is the heading of the rows below */
    const char *argument; /* NULL: a switch */
    const char *help;     /* may have several lines */
    int (*set)(void *options, const char *value, struct err *e);
};

struct cli {
    const char *program;
    const char *usage; /* what follows the program's name */
    const char *about; /* a paragraph below it */
    const struct cli_option *rows;
    size_t row_count;
    const char *more; /* below the options: examples, exit codes */
};

/* What cli_parse returns besides 0 for "go on". */
#define CLI_DONE 1 /* --help or --version was printed */

/* Calls set() for each option in order ("--name value" or "--name=value"). 0, CLI_DONE, or
 * ERR_SYNTAX with *e naming the option, what was expected, and the nearest option. */
int cli_parse(const struct cli *cli, int argc, char **argv, void *options, struct err *e);

/* Values that both tools take. 0, or ERR_SYNTAX with a text in *e. */
int cli_number(const char *value, uint64_t min, uint64_t max, uint64_t *ret, struct err *e);
int cli_interval(const char *value, int64_t *ret_ms, struct err *e);
int cli_address(const char *value, struct sockaddr_storage *ret, struct err *e);

/* "127.0.0.1:25" or "[::1]:25". out holds at least CLI_ADDRESS_SIZE; returns out. */
#define CLI_ADDRESS_SIZE 64
char *cli_address_text(const struct sockaddr_storage *address, char *out);

#endif
