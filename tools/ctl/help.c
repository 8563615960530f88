/*
 * Help and shell completion, made from the rows of command_table.c.
 */
#include "command.h"

#include "base/log.h"

#include <stdio.h>

enum { WRAP_COLUMN = 78, MARGIN = 30 };

/* Appends text in lines of at most WRAP_COLUMN columns; `column` is where the pen is now. */
static void wrap(struct buf *out, const char *text, size_t indent, size_t column)
{
    struct strview rest = sv_of(text), word;

    while (sv_split(&rest, ' ', &word)) {
        if (column > indent && column + 1 + word.len > WRAP_COLUMN) {
            buf_printf(out, "\n%*s", (int)indent, "");
            column = indent;
        } else if (column > indent) {
            buf_append_char(out, ' ');
            column++;
        }
        buf_append_sv(out, word);
        column += word.len;
    }
    buf_append_char(out, '\n');
}

/* "  left ......... text", the text wrapped; on a line of its own when left is long. */
static void row(struct buf *out, const char *left, const char *text)
{
    size_t len = strlen(left);

    buf_printf(out, "  %s", left);
    if (len + 4 > MARGIN)
        buf_printf(out, "\n%*s", MARGIN, "");
    else
        buf_printf(out, "%*s", (int)(MARGIN - 2 - len), "");
    wrap(out, text, MARGIN, MARGIN);
}

static void option_row(struct buf *out, enum option o)
{
    const struct option_info *info = option_info(o);
    struct buf left = {0};

    if (info->letter)
        buf_printf(&left, "-%c, ", info->letter);
    buf_printf(&left, "--%s", info->name);
    if (*info->argument)
        buf_printf(&left, " %s", info->argument);
    row(out, buf_data(&left), info->help);
    buf_free(&left);
}

void help_overview(struct buf *out)
{
    buf_append_str(out, "usage: pmtactl [OPTION]... COMMAND [ARGUMENT]...\n\n"
                        "Looks at a running pmtad and steers it.\n\ncommands:\n");
    for (size_t i = 0; i < command_count; i++) {
        struct buf left = {0};
        const struct command *c = &commands[i];
        buf_printf(&left, "%s%s%s", c->words, c->operands ? " " : "",
                   c->operands ? c->operands : "");
        row(out, buf_data(&left), command_help(c));
        buf_free(&left);
    }
    buf_append_str(out, "\noptions of every command:\n");
    for (int i = 0; i < OPTION_COUNT; i++)
        if (OPTIONS_COMMON & UINT64_C(1) << i || i == OPT_VERSION)
            option_row(out, (enum option)i);
    buf_append_str(out, "\n'pmtactl help COMMAND' tells the options of one command.\n"
                        "exit status: 0 done, 1 refused or failed, 2 usage or no connection\n");
}

void help_command(const struct command *c, struct buf *out)
{
    buf_printf(out, "usage: pmtactl %s", c->words);
    for (int i = 0; i < OPTION_COUNT; i++) {
        const struct option_info *info = option_info((enum option)i);
        if (c->options & UINT64_C(1) << i)
            buf_printf(out, " [--%s%s%s]", info->name, *info->argument ? " " : "", info->argument);
    }
    if (c->operands)
        buf_printf(out, " %s", c->operands);
    buf_append_str(out, "\n\n");
    char *help = xstrdup(command_help(c));
    help[0] = (char)(help[0] >= 'a' && help[0] <= 'z' ? help[0] - 32 : help[0]);
    wrap(out, help, 0, 0);
    free(help);
    if (c->more) {
        buf_append_char(out, '\n');
        wrap(out, c->more, 0, 0);
    }
    if (c->operand_kind == OPERAND_SUBSYSTEMS) {
        buf_append_str(out, "\nsubsystems:");
#define NAME(id, text) buf_append_str(out, " " text);
        LOG_SUBSYSTEMS(NAME)
#undef NAME
        buf_append_char(out, '\n');
    }
    if (c->options)
        buf_append_str(out, "\noptions:\n");
    for (int i = 0; i < OPTION_COUNT; i++)
        if (c->options & UINT64_C(1) << i)
            option_row(out, (enum option)i);
}

int help_run(const struct parsed *p)
{
    struct buf out = {0};
    struct err e = {0};
    size_t taken;
    int status = 0;

    if (!p->operand_count) {
        help_overview(&out);
    } else {
        const struct command *c = command_find(p->operands, p->operand_count, &taken, &e);
        if (c) {
            help_command(c, &out);
        } else {
            fprintf(stderr, "pmtactl: %s\n", e.text);
            status = 2;
        }
    }
    fputs(buf_data(&out), stdout);
    buf_free(&out);
    return status;
}

/* --- completion --- */

/* Second words of the commands that begin with `first`, or the first words of all. */
static void completion_words(struct buf *out, const char *first)
{
    size_t len = first ? strlen(first) + 1 : 0;
    char last[64] = "";

    for (size_t i = 0; i < command_count; i++) {
        const char *words = commands[i].words;
        char word[64];
        if (first && (strncmp(words, first, len - 1) != 0 || words[len - 1] != ' '))
            continue;
        snprintf(word, sizeof(word), "%.*s", (int)strcspn(words + len, " "), words + len);
        if (strcmp(word, last) != 0)
            buf_printf(out, "%s%s", last[0] ? " " : "", word);
        snprintf(last, sizeof(last), "%s", word);
    }
}

static void completion_options(struct buf *out, const struct command *c)
{
    const char *separator = "";

    for (int i = 0; i < OPTION_COUNT; i++) {
        if (!((c->options | OPTIONS_COMMON) & UINT64_C(1) << i))
            continue;
        buf_printf(out, "%s--%s", separator, option_info((enum option)i)->name);
        separator = " ";
    }
}

static void completion_cases(struct buf *out)
{
    for (size_t i = 0; i < command_count; i++) {
        const struct command *c = &commands[i];
        buf_printf(out, "    \"%s\"*)\n        options=\"", c->words);
        completion_options(out, c);
        buf_append_str(out, "\"\n");
        if (c->operand_kind == OPERAND_TARGET_PIPE)
            buf_append_str(out, "        operands=$(_pmtactl_pipes)\n");
        if (c->operand_kind == OPERAND_COMMAND) {
            buf_append_str(out, "        operands=\"");
            completion_words(out, NULL);
            buf_append_str(out, "\"\n");
        }
        if (c->operand_kind == OPERAND_SUBSYSTEMS) {
            buf_append_str(out, "        operands=\"all none");
#define NAME(id, text) buf_append_str(out, " " text);
            LOG_SUBSYSTEMS(NAME)
#undef NAME
            buf_append_str(out, "\"\n");
        }
        buf_append_str(out, "        ;;\n");
    }
}

static void completion_groups(struct buf *out)
{
    char last[64] = "";

    for (size_t i = 0; i < command_count; i++) {
        const char *space = strchr(commands[i].words, ' ');
        char group[64];
        if (!space)
            continue;
        snprintf(group, sizeof(group), "%.*s", (int)(space - commands[i].words), commands[i].words);
        if (strcmp(group, last) != 0) {
            buf_printf(out, "    \"%s\")\n        operands=\"", group);
            completion_words(out, group);
            buf_append_str(out, "\"\n        ;;\n");
        }
        snprintf(last, sizeof(last), "%s", group);
    }
}

static void completion_takers(struct buf *out)
{
    const char *separator = "";

    for (int i = 0; i < OPTION_COUNT; i++) {
        const struct option_info *info = option_info((enum option)i);
        if (info->kind == OPTION_SWITCH)
            continue;
        if (info->letter)
            buf_printf(out, "%s-%c", separator, info->letter), separator = " | ";
        buf_printf(out, "%s--%s", separator, info->name);
        separator = " | ";
    }
}

void completion_bash(struct buf *out)
{
    buf_append_str(
        out, "# bash completion for pmtactl, made by 'pmtactl --completion bash' from its command "
             "table.\n\n"
             "_pmtactl_pipes()\n{\n"
             "    pmtactl ${socket:+-s \"$socket\"} --timeout 2 --json show pipes 2>/dev/null |\n"
             "        sed -n 's/.*\"pipe\":\"\\([^\"]*\\)\".*/\\1/p'\n}\n\n"
             "_pmtactl()\n{\n"
             "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}\n"
             "    local typed=\"\" options=\"--socket --json --timeout --help --version\" "
             "operands=\"\"\n"
             "    local i socket=\"\"\n\n"
             "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
             "        case ${COMP_WORDS[i]} in\n"
             "        -s | --socket) socket=${COMP_WORDS[++i]} ;;\n        ");
    completion_takers(out);
    buf_append_str(out, ") ((i++)) ;;\n"
                        "        -*) ;;\n"
                        "        *) typed+=${typed:+ }${COMP_WORDS[i]} ;;\n"
                        "        esac\n"
                        "    done\n\n"
                        "    case $prev in\n"
                        "    --pipe)\n"
                        "        COMPREPLY=($(compgen -W \"$(_pmtactl_pipes)\" -- \"$cur\"))\n"
                        "        return\n        ;;\n"
                        "    -s | --socket)\n"
                        "        compopt -o filenames 2>/dev/null\n"
                        "        COMPREPLY=($(compgen -f -- \"$cur\"))\n"
                        "        return\n        ;;\n    ");
    completion_takers(out);
    buf_append_str(out, ")\n        return\n        ;;\n    esac\n\n    case $typed in\n"
                        "    \"\")\n        operands=\"");
    completion_words(out, NULL);
    buf_append_str(out, "\"\n        ;;\n");
    completion_groups(out);
    completion_cases(out);
    buf_append_str(out, "    esac\n\n"
                        "    if [[ $cur == -* ]]; then\n"
                        "        COMPREPLY=($(compgen -W \"$options\" -- \"$cur\"))\n"
                        "    else\n"
                        "        COMPREPLY=($(compgen -W \"$operands\" -- \"$cur\"))\n"
                        "    fi\n}\n\ncomplete -F _pmtactl pmtactl\n");
}
