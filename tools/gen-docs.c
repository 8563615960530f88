/*
 * Prints docs/directives.md ("gen-docs markdown") and docs/man/pmta.conf.5 ("gen-docs man") from
 * the directive table, after the introduction of gen-docs-intro.h. With --check FILE it prints
 * nothing and fails when the file says something else: a test runs that for both.
 */
#include "gen-docs-intro.h"

#include "base/buf.h"
#include "kit/generated.h"

#include <stdio.h>

static const char *const type_text[] = {
    [TYPE_BOOL] = "yes or no",
    [TYPE_INT] = "number",
    [TYPE_INTERVAL] = "interval",
    [TYPE_INTERVAL_LIST] = "intervals, separated by commas",
    [TYPE_SIZE] = "size",
    [TYPE_RATE] = "rate",
    [TYPE_TEXT] = "text",
    [TYPE_NAME] = "name",
    [TYPE_DOMAIN] = "host or domain name",
    [TYPE_PATH] = "path",
    [TYPE_ENUM] = "one of",
    [TYPE_HOST_LIST] = "list of hosts",
    [TYPE_SOURCE_HOST] = "address and host name",
    [TYPE_SOURCE_IP] = "address, CIDR or range",
    [TYPE_DOMAIN_LIST] = "domains, separated by commas",
    [TYPE_DATA_RATE] = "bytes per time",
    [TYPE_RATE_LIST] = "rates, separated by commas",
    [TYPE_RETRY] = "intervals, separated by commas, or growing: 5m x2 max 4h",
    [TYPE_RAMP] = "rates, separated by commas, or growing: 50/d +10%/d",
    [TYPE_POOL_MEMBER] = "name and weight",
    [TYPE_MX_PATTERNS] = "host patterns, separated by commas",
    [TYPE_BOUNCE_RULE] = "/regular expression/, conditions and a category",
    [TYPE_REPLY_RULE] = "/regular expression/ and actions",
    [TYPE_EMAIL_LIST] = "mail addresses, separated by commas",
    [TYPE_DOMAIN_KEY] = "selector,domain,file",
    [TYPE_DKIM_KEY] = "file selector domain",
};

static const char *const unit_text[] = {
    [TYPE_INTERVAL] = "time",        [TYPE_INTERVAL_LIST] = "time", [TYPE_SIZE] = "bytes",
    [TYPE_RATE] = "events per time", [TYPE_DKIM_KEY] = NULL, /* the last: makes the array long
                                                                   enough */
};

static const char *const reload_text[] = {
    [RELOAD_LIVE] = "at once on reload",
    [RELOAD_NEW_SESSION] = "on reload, for connections opened from then on",
    [RELOAD_RESTART] = "at the next start",
};

/* The group in which a directive is described in full; others refer to it. */
static enum config_kind home(const struct directive_info *d)
{
    if (d->kinds & KIND_DOMAIN)
        return KIND_DOMAIN;
    uint32_t narrow = d->kinds & ~(uint32_t)KIND_PMTA;
    uint32_t kinds = narrow ? narrow : d->kinds;
    return (enum config_kind)(kinds & -kinds);
}

static void bound(struct buf *out, enum directive_type type, int64_t n)
{
    char text[UNITS_SIZE];
    if (type == TYPE_INTERVAL || type == TYPE_INTERVAL_LIST || type == TYPE_RETRY)
        buf_append_str(out, units_format_interval(n, text));
    else if (type == TYPE_SIZE)
        buf_append_str(out, units_format_size((uint64_t)n, text));
    else
        buf_printf(out, "%lld", (long long)n);
}

static void type_and_bounds(struct buf *out, const struct directive_info *d)
{
    buf_append_str(out, type_text[d->type]);
    for (const char *p = d->choices ? d->choices : ""; *p;) {
        size_t n = strcspn(p, "|");
        buf_printf(out, "%s`%.*s`", p == d->choices ? " " : ", ", (int)n, p);
        p += n + (p[n] == '|');
    }
    if (unit_text[d->type])
        buf_printf(out, " (%s)", unit_text[d->type]);
    if (d->min || d->max) {
        buf_append_str(out, ", ");
        bound(out, d->type, d->min);
        buf_append_str(out, " to ");
        bound(out, d->type, d->max);
    }
    if (d->repeatable)
        buf_append_str(out, "; may be repeated");
    if (d->total)
        buf_append_str(out, "; total");
    if (d->never)
        buf_append_str(out, "; or `never`");
}

/* "", or the older names it goes by, each after before. */
static void older_names(struct buf *out, const struct directive_info *d, const char *before)
{
    const struct directive_alias *a;

    for (size_t i = 0; (a = directive_alias(i)); i++) {
        if (directive_info(a->directive) != d)
            continue;
        buf_printf(out, "%s`%s`", before, a->name);
        if (a->suffix[0])
            buf_printf(out, " (a bare number is `N%s`)", a->suffix);
        before = ", ";
    }
}

static void scopes(struct buf *out, const struct directive_info *d)
{
    const char *separator = "";
    for (uint32_t left = d->kinds; left; left &= left - 1) {
        buf_printf(out, "%s`[%s]`", separator, config_kind_name((enum config_kind)(left & -left)));
        separator = ", ";
    }
}

static void sentence(struct buf *out, const char *help)
{
    char first = help[0] >= 'a' && help[0] <= 'z' ? (char)(help[0] - 32) : help[0];
    buf_printf(out, "%c%s.", first, help + 1);
}

/* Names of what may stand in a section as well, but is described elsewhere. */
static void others(struct buf *out, enum config_kind kind)
{
    const char *separator = "";
    uint32_t queue = 0;
    for (unsigned i = 0; i < DIRECTIVE_COUNT; i++) {
        const struct directive_info *d = directive_info((enum directive)i);
        if (!(d->kinds & kind) || home(d) == kind)
            continue;
        if (home(d) == KIND_DOMAIN) {
            queue = 1;
            continue;
        }
        buf_printf(out, "%s`%s`", *separator ? separator : "Also here: ", d->name);
        separator = ", ";
    }
    if (queue)
        buf_printf(out, "%s all directives of `[domain]`", *separator ? ", and" : "Also here:");
    if (*separator || queue)
        buf_append_char(out, '.');
}

/* --- markdown --- */

/* Fills lines up to 100 columns; a code span is never broken. */
static void markdown_text(struct buf *out, const char *text)
{
    size_t column = 0;
    while (*text) {
        size_t n = 0;
        bool code = false;
        for (; text[n] && (code || text[n] != ' '); n++)
            code ^= text[n] == '`';
        if (column && column + 1 + n > 100) {
            buf_append_char(out, '\n');
            column = 0;
        } else if (column) {
            buf_append_char(out, ' ');
            column++;
        }
        buf_append(out, text, n);
        column += n;
        text += n + (text[n] == ' ');
    }
    buf_append_char(out, '\n');
}

static void markdown_directive(struct buf *out, const struct directive_info *d)
{
    buf_printf(out, "\n### `%s`\n\n", d->name);
    struct buf help = {0};
    sentence(&help, d->help);
    markdown_text(out, buf_data(&help));
    buf_free(&help);
    buf_append_str(out, "\n- type: ");
    type_and_bounds(out, d);
    if (d->default_text)
        buf_printf(out, "\n- default: `%s`", d->default_text);
    else
        buf_append_str(out, "\n- default: none");
    buf_append_str(out, "\n- stands in: ");
    scopes(out, d);
    older_names(out, d, "\n- also written: ");
    buf_printf(out, "\n- takes effect: %s\n", reload_text[d->reload]);
}

static void markdown(struct buf *out)
{
    buf_append_str(out, "# Configuration\n\n");
    markdown_text(out,
                  "Generated by `gen-docs` from `common/mail/directives.h`; edit the rows there, "
                  "and the introduction in `tools/gen-docs-intro.h`.");
    for (size_t i = 0; i < ARRAY_LEN(intro); i++) {
        buf_append_char(out, '\n');
        if (intro[i].type == BLOCK_HEADING)
            buf_printf(out, "## %s\n", intro[i].text);
        else if (intro[i].type == BLOCK_CODE)
            buf_printf(out, "```\n%s```\n", intro[i].text);
        else
            markdown_text(out, intro[i].text);
    }
    for (size_t g = 0; g < ARRAY_LEN(groups); g++) {
        buf_printf(out, "\n## `%s`\n\n", groups[g].title);
        markdown_text(out, groups[g].text);
        struct buf more = {0};
        others(&more, groups[g].kind);
        if (buf_len(&more)) {
            buf_append_char(out, '\n');
            markdown_text(out, buf_data(&more));
        }
        buf_free(&more);
        for (unsigned i = 0; i < DIRECTIVE_COUNT; i++)
            if (home(directive_info((enum directive)i)) == groups[g].kind)
                markdown_directive(out, directive_info((enum directive)i));
    }
}

/* --- man page --- */

/* Escapes for troff; backquotes switch to bold and back, stars to italic. */
static void man_text(struct buf *out, const char *text)
{
    bool code = false, stressed = false, line_start = true;
    for (; *text; text++) {
        if (*text == '`') {
            code = !code;
            buf_append_str(out, code ? "\\fB" : "\\fR");
        } else if (*text == '*' && !code) {
            stressed = !stressed;
            buf_append_str(out, stressed ? "\\fI" : "\\fR");
        } else if (*text == '\\') {
            buf_append_str(out, "\\e");
        } else if (*text == '-') {
            buf_append_str(out, "\\-");
        } else {
            if (line_start && (*text == '.' || *text == '\''))
                buf_append_str(out, "\\&");
            buf_append_char(out, *text);
        }
        line_start = *text == '\n';
    }
}

static void man_directive(struct buf *out, const struct directive_info *d)
{
    struct buf b = {0};
    buf_printf(&b, "`%s`\n", d->name);
    sentence(&b, d->help);
    buf_append_str(&b, "\n");
    buf_append_str(out, ".TP\n");
    man_text(out, buf_data(&b));
    buf_reset(&b);
    buf_append_str(&b, "Type: ");
    type_and_bounds(&b, d);
    if (d->default_text)
        buf_printf(&b, ". Default: `%s`", d->default_text);
    buf_append_str(&b, ". Stands in ");
    scopes(&b, d);
    older_names(&b, d, ". Also written ");
    buf_printf(&b, ". Takes effect %s.\n", reload_text[d->reload]);
    buf_append_str(out, ".br\n");
    man_text(out, buf_data(&b));
    buf_free(&b);
}

static void man_heading(struct buf *out, const char *text)
{
    buf_append_str(out, ".SH \"");
    for (; *text; text++)
        buf_append_char(out, *text >= 'a' && *text <= 'z' ? (char)(*text - 32) : *text);
    buf_append_str(out, "\"\n");
}

static void man_paragraph(struct buf *out, const char *text)
{
    buf_append_str(out, ".PP\n");
    man_text(out, text);
    buf_append_char(out, '\n');
}

static void man(struct buf *out)
{
    buf_append_str(out, ".\\\" Generated by gen-docs from common/mail/directives.h\n"
                        ".TH PMTA.CONF 5 \"\" PipeMTA \"File formats\"\n"
                        ".SH NAME\npmta.conf \\- configuration of PipeMTA\n");
    for (size_t i = 0; i < ARRAY_LEN(intro); i++) {
        if (intro[i].type == BLOCK_HEADING) {
            man_heading(out, intro[i].text);
        } else if (intro[i].type == BLOCK_CODE) {
            buf_append_str(out, ".PP\n.RS 4\n.nf\n");
            man_text(out, intro[i].text);
            buf_append_str(out, ".fi\n.RE\n");
        } else {
            man_paragraph(out, intro[i].text);
        }
    }
    for (size_t g = 0; g < ARRAY_LEN(groups); g++) {
        struct buf more = {0};
        buf_printf(out, ".SH \"%s\"\n", groups[g].title);
        man_paragraph(out, groups[g].text);
        others(&more, groups[g].kind);
        if (buf_len(&more))
            man_paragraph(out, buf_data(&more));
        buf_free(&more);
        for (unsigned i = 0; i < DIRECTIVE_COUNT; i++)
            if (home(directive_info((enum directive)i)) == groups[g].kind)
                man_directive(out, directive_info((enum directive)i));
    }
    buf_append_str(out, ".SH \"SEE ALSO\"\n\\fBpmtad\\fR(8), \\fBpmtactl\\fR(1)\n");
}

int main(int argc, char **argv)
{
    struct buf out = {0};
    bool as_man = argc > 1 && strcmp(argv[1], "man") == 0;
    bool checks = argc == 4 && strcmp(argv[2], "--check") == 0;

    if ((!as_man && (argc < 2 || strcmp(argv[1], "markdown") != 0)) || (argc != 2 && !checks)) {
        fputs("usage: gen-docs markdown|man [--check FILE]\n", stderr);
        return 2;
    }
    if (as_man)
        man(&out);
    else
        markdown(&out);
    int status = generated_finish(&out, checks ? argv[3] : NULL, "gen-docs");
    buf_free(&out);
    return status;
}
