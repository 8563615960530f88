/*
 * From the words of the command line to a command, and from that to the line for the admin socket.
 *
 * Called by main.c. Options may stand anywhere, as "--name value", "--name=value" or "-s value";
 * "--" ends them. The other words name the command, the longest that fits, and then its operands.
 * What does not fit is one line in *e that ends in the nearest thing that would have.
 */
#include "command.h"

#include "base/log.h"
#include "base/units.h"

#include <stdio.h>

enum { REQUEST_MAX = 60 * 1024, OPERANDS_MAX = 64 };

/* --- the nearest word --- */

struct nearest {
    const char *text;
    unsigned distance;
};

static void nearest_try(struct nearest *n, const char *wanted, const char *candidate)
{
    unsigned d = str_distance(sv_of(wanted), sv_of(candidate));
    size_t len = strlen(wanted);

    if (len >= 3 && strncmp(wanted, candidate, len) == 0)
        d = 1;
    if (d <= 1 + len / 3 && (!n->text || d < n->distance)) {
        n->text = candidate;
        n->distance = d;
    }
}

static int unknown(struct err *e, const char *kind, const char *word, const struct nearest *n,
                   const char *prefix)
{
    if (n->text)
        return err_set(e, ERR_SYNTAX, "unknown %s '%s%.100s', did you mean '%s%s'?", kind, prefix,
                       word, prefix, n->text);
    return err_set(e, ERR_SYNTAX, "unknown %s '%s%.100s', try 'pmtactl help'", kind, prefix, word);
}

/* --- options --- */

static int find_option(const char *arg, size_t name_len, enum option *ret, struct err *e)
{
    struct strview name = sv(arg + 2, name_len - 2);
    struct nearest near = {0};
    char word[128];

    for (int i = 0; i < OPTION_COUNT; i++) {
        if (sv_eq(name, sv_of(option_info((enum option)i)->name))) {
            *ret = (enum option)i;
            return 0;
        }
    }
    snprintf(word, sizeof(word), "%.*s", SV_ARG(name));
    for (int i = 0; i < OPTION_COUNT; i++)
        nearest_try(&near, word, option_info((enum option)i)->name);
    return unknown(e, "option", word, &near, "--");
}

static int find_letter(const char *arg, enum option *ret, struct err *e)
{
    for (int i = 0; i < OPTION_COUNT; i++) {
        if (option_info((enum option)i)->letter == arg[1]) {
            *ret = (enum option)i;
            return 0;
        }
    }
    return err_set(e, ERR_SYNTAX, "unknown option '%.100s', try 'pmtactl help'", arg);
}

/* Seconds, or an interval; in ms, negative: neither. */
static int64_t parse_time(const char *text)
{
    uint64_t seconds;
    int64_t ms;

    if (sv_to_u64(sv_of(text), &seconds))
        return seconds <= INT32_MAX ? (int64_t)seconds * 1000 : -1;
    return units_parse_interval(sv_of(text), &ms) == 0 ? ms : -1;
}

static int check_value(const struct option_info *info, const char *value, struct err *e)
{
    uint64_t n;

    if (info->kind == OPTION_NUMBER && (!sv_to_u64(sv_of(value), &n) || n > INT32_MAX))
        return err_set(e, ERR_SYNTAX, "option '--%s' wants a number, not '%.100s'", info->name,
                       value);
    if (info->kind == OPTION_TIME && parse_time(value) < 0)
        return err_set(e, ERR_SYNTAX,
                       "option '--%s' wants seconds or a time such as 5m, not '%.100s'", info->name,
                       value);
    if (info->kind == OPTION_TEXT && !*value)
        return err_set(e, ERR_SYNTAX, "option '--%s' wants %s, not an empty word", info->name,
                       info->argument);
    return 0;
}

/* Takes the option at argv[*at] and its value; *at is then the last word taken. */
static int take_option(int argc, char **argv, int *at, struct parsed *p, struct err *e)
{
    const char *arg = argv[*at], *equals = strchr(arg, '='), *value = NULL;
    bool is_long = arg[1] == '-';
    enum option o = OPTION_COUNT;
    int rc = is_long ? find_option(arg, equals ? (size_t)(equals - arg) : strlen(arg), &o, e)
                     : find_letter(arg, &o, e);

    if (rc < 0)
        return rc;
    const struct option_info *info = option_info(o);
    if (is_long && equals)
        value = equals + 1;
    else if (!is_long && arg[2])
        value = arg + 2;
    if (info->kind == OPTION_SWITCH) {
        if (value)
            return err_set(e, ERR_SYNTAX, "option '--%s' takes no value", info->name);
        value = "";
    } else if (!value) {
        if (*at + 1 >= argc)
            return err_set(e, ERR_SYNTAX, "option '--%s' wants %s after it", info->name,
                           info->argument);
        value = argv[++*at];
    }
    if (p->options[o] && info->kind != OPTION_SWITCH)
        return err_set(e, ERR_SYNTAX, "option '--%s' is given twice", info->name);
    p->options[o] = value;
    return check_value(info, value, e);
}

/* --- commands --- */

/* How many of `words` the command's name takes, or 0 when it is another one. */
static size_t words_taken(const struct command *c, const char *const *words, size_t count)
{
    struct strview rest = sv_of(c->words), word;
    size_t n = 0;

    for (; sv_split(&rest, ' ', &word); n++)
        if (n >= count || !sv_eq(word, sv_of(words[n])))
            return 0;
    return n;
}

static bool is_group(const char *word)
{
    size_t len = strlen(word);

    for (size_t i = 0; i < command_count; i++)
        if (strncmp(commands[i].words, word, len) == 0 && commands[i].words[len] == ' ')
            return true;
    return false;
}

static void list_group(const char *word, char *out, size_t size)
{
    size_t len = strlen(word), n = 0;

    out[0] = '\0';
    for (size_t i = 0; i < command_count && n < size; i++)
        if (strncmp(commands[i].words, word, len) == 0 && commands[i].words[len] == ' ')
            n += (size_t)snprintf(out + n, size - n, "%s%s", n ? ", " : "",
                                  commands[i].words + len + 1);
}

static void unknown_command(const char *const *words, size_t count, struct err *e)
{
    struct nearest near = {0};
    char typed[128], group[128];

    if (is_group(words[0]) && count < 2) {
        list_group(words[0], group, sizeof(group));
        err_set(e, ERR_SYNTAX, "'%s' what? One of: %s", words[0], group);
        return;
    }
    snprintf(typed, sizeof(typed), "%.50s%s%.50s", words[0], count > 1 ? " " : "",
             count > 1 ? words[1] : "");
    for (size_t i = 0; i < command_count; i++) {
        bool two = strchr(commands[i].words, ' ') != NULL;
        nearest_try(&near, two ? typed : words[0], commands[i].words);
    }
    bool one = !is_group(words[0]) && (!near.text || !strchr(near.text, ' '));
    unknown(e, "command", one ? words[0] : typed, &near, "");
}

const struct command *command_find(const char *const *words, size_t count, size_t *ret_taken,
                                   struct err *e)
{
    for (size_t i = 0; i < command_count; i++) {
        *ret_taken = words_taken(&commands[i], words, count);
        if (*ret_taken)
            return &commands[i];
    }
    unknown_command(words, count, e);
    return NULL;
}

static int check_options(const struct parsed *p, struct err *e)
{
    uint64_t allowed = p->command->options | OPTIONS_COMMON;

    for (int i = 0; i < OPTION_COUNT; i++)
        if (p->options[i] && !(allowed & UINT64_C(1) << i))
            return err_set(e, ERR_SYNTAX, "'%s' has no option '--%s', see 'pmtactl help %s'",
                           p->command->words, option_info((enum option)i)->name, p->command->words);
    return 0;
}

/* debug --queue QUEUE on|off */
static int check_switch(const struct parsed *p, struct err *e)
{
    const char *word = p->operands[0];

    if (p->operand_count == 1 && (strcmp(word, "on") == 0 || strcmp(word, "off") == 0))
        return 0;
    return err_set(e, ERR_SYNTAX, "'debug --queue %.100s' wants on or off, not '%.100s'",
                   p->options[OPT_QUEUE], word);
}

static int check_subsystems(const struct parsed *p, struct err *e)
{
    if (parsed_has(p, OPT_QUEUE))
        return check_switch(p, e);
    for (size_t i = 0; i < p->operand_count; i++) {
        struct nearest near = {0};
        if (log_subsystem_bit(p->operands[i]) ||
            (strcmp(p->operands[i], "none") == 0 && p->operand_count == 1))
            continue;
        if (strcmp(p->operands[i], "none") == 0)
            return err_set(e, ERR_SYNTAX, "'none' stands alone");
#define TRY(id, text) nearest_try(&near, p->operands[i], text);
        LOG_SUBSYSTEMS(TRY)
#undef TRY
        return unknown(e, "subsystem", p->operands[i], &near, "");
    }
    return 0;
}

static int check_operands(const struct parsed *p, struct err *e)
{
    const struct command *c = p->command;
    bool many = c->operand_kind == OPERAND_SUBSYSTEMS || c->operand_kind == OPERAND_COMMAND;
    size_t max = c->operand_kind == OPERAND_NONE    ? 0
                 : c->operand_kind == OPERAND_TWO   ? 2
                 : c->operand_kind == OPERAND_THREE ? 3
                 : many                             ? OPERANDS_MAX
                                                    : 1;

    if (p->operand_count > max)
        return err_set(e, ERR_SYNTAX, "'%s' does not know what to do with '%.100s'", c->words,
                       p->operands[max]);
    if ((c->operand_required && !p->operand_count) ||
        ((c->operand_kind == OPERAND_TWO || c->operand_kind == OPERAND_THREE) &&
         p->operand_count < 2))
        return err_set(e, ERR_SYNTAX, "'%s' wants %s, see 'pmtactl help %s'", c->words, c->operands,
                       c->words);
    if (p->operand_count && !*p->operands[0])
        return err_set(e, ERR_SYNTAX, "'%s' wants %s, not an empty word", c->words, c->operands);
    return c->operand_kind == OPERAND_SUBSYSTEMS ? check_subsystems(p, e) : 0;
}

/* A pipe's name goes into the line as it is: what would break the line is refused. */
static int check_pipe_name(const char *name, struct err *e)
{
    for (const char *s = name; s && *s; s++)
        if ((unsigned char)*s <= ' ' || *s == 0x7f || *s == '/')
            return err_set(e, ERR_SYNTAX, "'%.100s' is no name of a pipe", name);
    return 0;
}

static int check_command(const struct parsed *p, struct err *e)
{
    uint64_t filters = OPTION_BIT(QUEUE) | OPTION_BIT(ID) | OPTION_BIT(JOB) | OPTION_BIT(RCPT) |
                       OPTION_BIT(SENDER);
    uint64_t given = 0;
    int rc = check_options(p, e);

    if (rc == 0 && !parsed_has(p, OPT_HELP))
        rc = check_operands(p, e);
    if (rc == 0)
        rc = check_pipe_name(p->options[OPT_PIPE], e);
    if (rc == 0 && p->command->operand_kind == OPERAND_TARGET_PIPE && p->operand_count)
        rc = check_pipe_name(p->operands[0], e);
    if (rc < 0 || p->command->verb != VERB_DELETE || parsed_has(p, OPT_HELP))
        return rc;
    for (int i = 0; i < OPTION_COUNT; i++)
        given |= p->options[i] ? UINT64_C(1) << i : 0;
    return given & filters ? 0
                           : err_set(e, ERR_SYNTAX,
                                     "say what to delete: --queue, --id, --job, --rcpt or --sender "
                                     "(--queue '*' is everything)");
}

int command_parse(int argc, char **argv, struct parsed *ret, struct err *e)
{
    bool options_end = false;
    size_t taken = 0;
    int rc = 0;

    *ret = (struct parsed){0};
    ret->operands = xcalloc((size_t)argc + 1, sizeof(*ret->operands));
    for (int i = 1; i < argc && rc == 0; i++) {
        if (!options_end && strcmp(argv[i], "--") == 0)
            options_end = true;
        else if (!options_end && argv[i][0] == '-' && argv[i][1])
            rc = take_option(argc, argv, &i, ret, e);
        else
            ret->operands[ret->operand_count++] = argv[i];
    }
    if (rc < 0 || !ret->operand_count)
        return rc;
    ret->command = command_find(ret->operands, ret->operand_count, &taken, e);
    if (!ret->command)
        return ERR_SYNTAX;
    ret->operand_count -= taken;
    memmove(ret->operands, ret->operands + taken, ret->operand_count * sizeof(*ret->operands));
    return check_command(ret, e);
}

void parsed_free(struct parsed *p)
{
    free(p->operands);
    p->operands = NULL;
}

/* --- the line --- */

static int add_text(json_t *args, const char *name, const char *text, struct err *e)
{
    json_t *value = json_string(text);

    if (!value)
        return err_set(e, ERR_SYNTAX, "'%.100s' is not UTF-8", text);
    json_object_set_new(args, name, value);
    return 0;
}

static int add_option(json_t *args, enum option o, const char *value, struct err *e)
{
    const struct option_info *info = option_info(o);
    uint64_t n = 0;

    switch (info->kind) {
    case OPTION_SWITCH:
        if (value)
            json_object_set_new(args, info->json, json_true());
        return 0;
    case OPTION_NUMBER:
        if (value && sv_to_u64(sv_of(value), &n))
            json_object_set_new(args, info->json, json_integer((json_int_t)n));
        return 0;
    case OPTION_TIME:
    case OPTION_TEXT:
        break;
    }
    return value ? add_text(args, info->json, value, e) : 0;
}

static int add_operands(json_t *args, const struct parsed *p, struct err *e)
{
    struct buf joined = {0};

    if (!p->operand_count || !p->command->operand_json)
        return 0;
    if (p->command->operand_kind == OPERAND_TWO || p->command->operand_kind == OPERAND_THREE) {
        const char *const names[] = {p->command->operand_json, p->command->operand_json2,
                                     p->command->operand_json3};
        int status = 0;
        for (size_t i = 0; i < p->operand_count && status == 0; i++)
            status = add_text(args, names[i], p->operands[i], e);
        return status;
    }
    for (size_t i = 0; i < p->operand_count; i++)
        buf_printf(&joined, "%s%s", i ? "," : "", p->operands[i]);
    int rc = add_text(args, p->command->operand_json, buf_data(&joined), e);
    buf_free(&joined);
    return rc;
}

/* What the line asks for: with --queue, debug is for pipes. */
static enum admin_verb verb_of(const struct parsed *p)
{
    bool of_queue = p->command->queue_verb && parsed_has(p, OPT_QUEUE);
    return of_queue ? p->command->queue_verb : p->command->verb;
}

static bool root_answers(const struct parsed *p)
{
    return admin_verb_info(verb_of(p))->targets == ROLE_ROOT;
}

static json_t *arguments(const struct parsed *p, struct err *e)
{
    json_t *args = json_object();
    int rc = verb_of(p) == VERB_DEBUG_QUEUE ? add_text(args, "state", p->operands[0], e)
                                            : add_operands(args, p, e);

    if (rc == 0 && root_answers(p) && p->options[OPT_PIPE])
        rc = add_text(args, "pipe", p->options[OPT_PIPE], e);

    for (int i = 0; i < OPTION_COUNT && rc == 0; i++)
        if (p->command->options & UINT64_C(1) << i && option_info((enum option)i)->json)
            rc = add_option(args, (enum option)i, p->options[i], e);
    if (rc == 0)
        return args;
    json_decref(args);
    return NULL;
}

int command_request(const struct parsed *p, struct buf *out, struct err *e)
{
    const char *pipe = p->options[OPT_PIPE];
    json_t *args = arguments(p, e);

    if (!args)
        return ERR_SYNTAX;
    if (p->command->operand_kind == OPERAND_TARGET_PIPE)
        pipe = p->operands[0];
    buf_printf(out, "%s ", admin_verb_info(verb_of(p))->name);
    if (pipe && strcmp(pipe, "*") != 0 && !root_answers(p))
        buf_printf(out, "pipe/%s ", pipe);
    else
        buf_append_str(out, "* ");
    char *text = json_dumps(args, JSON_COMPACT);
    json_decref(args);
    BUG_ON(!text);
    buf_append_str(out, text);
    free(text);
    return buf_len(out) > REQUEST_MAX ? err_set(e, ERR_LIMIT, "the arguments are too long") : 0;
}

const char *parsed_socket(const struct parsed *p)
{
    const char *from_env = getenv("PMTA_ADMIN_SOCKET");

    if (p->options[OPT_SOCKET])
        return p->options[OPT_SOCKET];
    return from_env && *from_env ? from_env : CTL_DEFAULT_SOCKET;
}

int parsed_timeout_ms(const struct parsed *p)
{
    enum { DEFAULT_MS = 60000 };
    int64_t ms = p->options[OPT_TIMEOUT] ? parse_time(p->options[OPT_TIMEOUT]) : DEFAULT_MS;

    return ms == 0 ? -1 : (int)MIN_OF(ms, (int64_t)INT32_MAX);
}
