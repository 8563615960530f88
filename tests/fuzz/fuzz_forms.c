/*
 * The small languages of the configuration and of header fields, on any bytes: reply rules, delivery
 * windows, ramps and retry times, ranges of addresses. The first byte chooses. What is taken must
 * keep the promises of its header.
 */
#include "mail/config_internal.h"
#include "mail/host_list.h"
#include "mail/reply_rule.h"
#include "mail/schedule.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void reply_rule(struct strview text)
{
    struct reply_rule r;
    struct err e = {0};

    if (reply_rule_parse(text, &r, &e) < 0) {
        BUG_ON(!e.text[0]);
        return;
    }
    BUG_ON(!r.actions || r.actions >> REPLY_ACTION_COUNT || r.regex.ptr < text.ptr);
    BUG_ON(r.regex.ptr + r.regex.len > text.ptr + text.len);
    BUG_ON(r.rate_percent > 100 || (r.actions & 1u << REPLY_RATE && !r.rate_percent));
}

static void schedule(struct strview text)
{
    struct schedule s;
    struct err e = {0};
    int64_t at = 0;

    if (schedule_parse(text, &s, &e) < 0) {
        BUG_ON(!e.text[0]);
        return;
    }
    BUG_ON(!s.count || s.count > SCHEDULE_MAX_WINDOWS);
    for (size_t i = 0; i < s.count; i++) {
        int64_t next = schedule_next(&s, at);
        BUG_ON(next != s.windows[i].start_ms || s.windows[i].end_ms <= next || next < at);
        at = s.windows[i].end_ms;
    }
    BUG_ON(schedule_next(&s, at) != SCHEDULE_OVER || schedule_end(&s) != at);
}

static void value(enum directive d, struct strview text)
{
    struct arena a = {0};
    struct config_value v = {.directive = d, .text = arena_strndup(&a, text.ptr, text.len)};
    struct err e = {0};

    if (config_value_parse(&v, &a, &e) < 0)
        BUG_ON(!e.text[0]);
    else if (directive_info(d)->type == TYPE_RETRY)
        BUG_ON(!v.retry.count || v.retry.factor_percent < 100 ||
               (v.retry.factor_percent > 100 && !v.retry.max_ms));
    else
        BUG_ON(!v.rates.count || (directive_info(d)->type == TYPE_RAMP && !v.rates.items[0].count));
    arena_free(&a);
}

static void on_address(void *arg, const struct sockaddr_storage *addr, struct strview host)
{
    size_t *count = arg;
    ++*count;
    BUG_ON((addr->ss_family != AF_INET && addr->ss_family != AF_INET6) || !host.len);
}

static void range(struct strview text)
{
    size_t count = 0;
    struct err e = {0};
    int r = source_host_expand(text, true, on_address, &count, &e);

    BUG_ON(r < 0 ? count || !e.text[0] : !count || count > SOURCE_HOST_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    struct strview text = sv((const char *)data + 1, size - 1);
    switch (data[0]) {
    case 'r':
        reply_rule(text);
        break;
    case 's':
        schedule(text);
        break;
    case 't':
        value(DIR_RETRY_AFTER, text);
        break;
    case 'w':
        value(DIR_WARMUP_SCHEDULE, text);
        break;
    case 'c':
        value(DIR_MAX_COLD_VIRTUAL_MTA_MSG, text);
        break;
    case 'a':
        range(text);
        break;
    }
    return 0;
}
