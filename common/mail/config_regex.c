/*
 * Whether a regular expression compiles: the loader asks for each reply rule, so that a mistake is
 * found with its file and line and not when a reply comes in. Only the loader and the pipe link
 * PCRE2; the options are those that the pipe compiles with.
 */
#include "mail/config_load.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

/* As in pipe/rules: what is refused there is refused here. */
static const uint32_t options = PCRE2_CASELESS | PCRE2_DOTALL | PCRE2_DOLLAR_ENDONLY |
                                PCRE2_NEVER_UTF | PCRE2_NEVER_UCP | PCRE2_NEVER_BACKSLASH_C;

int load_check_regex(struct strview regex, struct err *e)
{
    PCRE2_UCHAR text[200] = "";
    PCRE2_SIZE at = 0;
    int code = 0;
    pcre2_code *compiled =
        pcre2_compile((PCRE2_SPTR)regex.ptr, regex.len, options, &code, &at, NULL);

    pcre2_code_free(compiled);
    if (compiled)
        return 0;
    pcre2_get_error_message(code, text, sizeof(text));
    return err_set(e, ERR_SYNTAX, "regular expression is not valid at byte %zu: %s", (size_t)at,
                   (const char *)text);
}
