/*
 * Regular expressions by PCRE2; see pattern.h. Used by rules.c, in one thread.
 *
 * PCRE2's match limit counts steps from one start position, and a step may look at the whole text, so
 * alone it bounds nothing useful. A search is therefore made in windows of start positions, each
 * small enough that it costs about a millisecond even when every start uses up its limit; between
 * windows the clock says whether the budget is spent. Ordinary replies take one to a few windows.
 * Time that the process did not run does not count: when the wall clock says that the budget is
 * spent, the thread's CPU clock decides.
 */
#include "rules/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <time.h>

enum {
    STEPS_LEAST = 250, /* from one start position; a step is a repeat or group entered */
    STEPS_PER_BYTE = 4,
    STEPS_INTERPRETED = 8, /* times as many, smaller ones */
    WINDOW_COST = 1000000, /* starts * steps * bytes, about nanoseconds */
    WINDOW_LEAST = 4,
    HEAP_KIB = 512,
    STACK_LEAST = 32 * 1024,
    STACK_MOST = 256 * 1024,
};

struct pattern {
    pcre2_code *code;
    pcre2_match_data *match;
    pcre2_match_context *limits;
    pcre2_jit_stack *stack;
    bool anchored;
    bool compiled;
};

static const uint32_t options = PCRE2_CASELESS | PCRE2_DOTALL | PCRE2_DOLLAR_ENDONLY |
                                PCRE2_NEVER_UTF | PCRE2_NEVER_UCP | PCRE2_NEVER_BACKSLASH_C |
                                PCRE2_USE_OFFSET_LIMIT;

static void compile_fast(struct pattern *p)
{
    p->compiled = pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE) == 0;
    if (!p->compiled)
        return;
    p->stack = pcre2_jit_stack_create(STACK_LEAST, STACK_MOST, NULL);
    pcre2_jit_stack_assign(p->limits, NULL, p->stack);
}

int pattern_new(struct strview regex, struct pattern **ret, struct err *e)
{
    uint32_t all = 0;
    int code;
    PCRE2_SIZE at;
    PCRE2_UCHAR text[200];

    pcre2_code *re = pcre2_compile((PCRE2_SPTR)(regex.len ? regex.ptr : ""), regex.len, options,
                                   &code, &at, NULL);
    if (!re) {
        pcre2_get_error_message(code, text, sizeof(text));
        return err_set(e, ERR_SYNTAX, "%s at character %zu of the regular expression", (char *)text,
                       (size_t)at + 1);
    }
    struct pattern *p = xcalloc(1, sizeof(*p));
    p->code = re;
    p->limits = pcre2_match_context_create(NULL);
    p->match = pcre2_match_data_create(1, NULL);
    BUG_ON(!p->limits || !p->match);
    compile_fast(p);
    pcre2_set_heap_limit(p->limits, HEAP_KIB);
    pcre2_pattern_info(re, PCRE2_INFO_ALLOPTIONS, &all);
    p->anchored = all & PCRE2_ANCHORED;
    *ret = p;
    return 0;
}

void pattern_free(struct pattern *p)
{
    if (!p)
        return;
    pcre2_match_data_free(p->match);
    pcre2_match_context_free(p->limits);
    pcre2_jit_stack_free(p->stack);
    pcre2_code_free(p->code);
    free(p);
}

bool pattern_is_compiled(const struct pattern *p)
{
    return p->compiled;
}

static int64_t now_us(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* After a window. The CPU clock costs a system call: it is asked only when a tenth of the budget has
 * gone by, and counts from there. */
static bool spent(struct pattern_budget *b)
{
    int64_t wall = now_us(CLOCK_MONOTONIC) - b->began_us;

    if (!b->cpu_us) {
        if (wall > b->limit_us / 10)
            b->cpu_us = now_us(CLOCK_THREAD_CPUTIME_ID);
        return false;
    }
    return wall > b->limit_us && now_us(CLOCK_THREAD_CPUTIME_ID) - b->cpu_us > b->limit_us;
}

static size_t window_size(size_t steps, size_t len)
{
    return MAX_OF(WINDOW_COST / (steps * MAX_OF(len, (size_t)1)), (size_t)WINDOW_LEAST);
}

enum pattern_result pattern_match(const struct pattern *p, struct strview text,
                                  struct pattern_budget *b)
{
    PCRE2_SPTR subject = (PCRE2_SPTR)(text.len ? text.ptr : "");
    size_t len = MIN_OF(text.len, (size_t)PATTERN_TEXT_MAX);
    size_t steps = STEPS_LEAST + STEPS_PER_BYTE * len;
    size_t size = p->anchored ? len : window_size(steps, len);

    if (!b->began_us)
        b->began_us = now_us(CLOCK_MONOTONIC);
    else if (spent(b))
        return PATTERN_GAVE_UP;
    pcre2_set_match_limit(p->limits, (uint32_t)(p->compiled ? steps : steps * STEPS_INTERPRETED));
    for (size_t start = 0; start <= len; start += size + 1) {
        if (start && spent(b))
            return PATTERN_GAVE_UP;
        pcre2_set_offset_limit(p->limits, MIN_OF(start + size, len));
        int r = pcre2_match(p->code, subject, len, start, 0, p->match, p->limits);
        if (r >= 0)
            return PATTERN_YES;
        if (r != PCRE2_ERROR_NOMATCH)
            return PATTERN_GAVE_UP;
    }
    return PATTERN_NO;
}
