/*
 * Words of a command; see command_line.h. The configuration asks whether it is one, the pipe runs it.
 */
#include "mail/command_line.h"

#include "base/buf.h"

#include <stdlib.h>

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* One word from *at on; false: a quote does not end. */
static bool take_word(struct strview s, size_t *at, struct buf *word)
{
    char quote = 0;
    size_t i = *at;

    for (; i < s.len && (quote || !is_blank(s.ptr[i])); i++) {
        char c = s.ptr[i];
        if (c == '\\' && quote != '\'' && i + 1 < s.len)
            buf_append_char(word, s.ptr[++i]);
        else if (quote ? c == quote : c == '"' || c == '\'')
            quote = quote ? 0 : c;
        else
            buf_append_char(word, c);
    }
    *at = i;
    return !quote;
}

int command_line_split(struct strview s, char ***ret, struct err *e)
{
    char **words = xcalloc(s.len / 2 + 2, sizeof(char *));
    size_t count = 0, at = 0;
    int status = 0;

    while (status == 0) {
        struct buf word = {0};
        while (at < s.len && is_blank(s.ptr[at]))
            at++;
        if (at == s.len)
            break;
        if (!take_word(s, &at, &word))
            status = err_set(e, ERR_SYNTAX, "a quote in the command does not end");
        buf_append_str(&word, ""); /* "" is a word too */
        words[count++] = xstrndup(buf_data(&word), buf_len(&word));
        buf_free(&word);
    }
    if (status == 0 && (!count || !*words[0]))
        status = err_set(e, ERR_SYNTAX, "there is no command behind the |");
    if (status < 0) {
        command_line_free(words);
        return status;
    }
    *ret = words;
    return 0;
}

void command_line_free(char **words)
{
    for (size_t i = 0; words && words[i]; i++)
        free(words[i]);
    free(words);
}
