/*
 * tally: see tally.h. Filled by the session, printed by main. A duplicate is a (message id,
 * recipient) pair that was accepted before: an MTA may rightly split one message by recipients, so
 * the id alone proves nothing. Owns the sets, the list of duplicates and the domains.
 */
#include "sink/tally.h"

#include <inttypes.h>

#define SEEN_LIMIT 50000000u

static bool match(const struct hash_node *node, const void *key)
{
    const struct strview *name = key;
    return sv_eq_nocase(sv_of(container_of(node, struct tally_domain, node)->name), *name);
}

void tally_init(struct tally *t)
{
    memset(t, 0, sizeof(*t));
    t->ids.limit = t->pairs.limit = SEEN_LIMIT;
    hash_init(&t->domains, match);
}

void tally_fini(struct tally *t)
{
    struct hash_node *node;
    while ((node = hash_next(&t->domains, NULL))) {
        struct tally_domain *d = container_of(node, struct tally_domain, node);
        hash_remove(&t->domains, node);
        free(d->name);
        free(d);
    }
    hash_fini(&t->domains);
    for (size_t i = 0; i < t->duplicate_listed; i++)
        free(t->duplicate_list[i]);
    seen_fini(&t->ids);
    seen_fini(&t->pairs);
}

struct strview tally_domain_of(struct strview address)
{
    for (size_t i = address.len; i > 0; i--)
        if (address.ptr[i - 1] == '@')
            return sv(address.ptr + i, address.len - i);
    return sv("", 0);
}

static void add_duplicate(struct tally *t, struct strview id, struct strview recipient)
{
    t->duplicates++;
    if (t->duplicate_listed == TALLY_DUPLICATES_MAX)
        return;
    struct buf b = {0};
    buf_printf(&b, "%.*s %.*s", SV_ARG(id), SV_ARG(recipient));
    t->duplicate_list[t->duplicate_listed++] = buf_take(&b);
}

void tally_message(struct tally *t, struct strview id, const char *recipients, unsigned count,
                   uint64_t size, int64_t now_us)
{
    t->first_us = t->messages ? t->first_us : now_us;
    t->last_us = now_us;
    t->messages++;
    t->recipients += count;
    t->bytes += size;
    if (id.len == 0) {
        t->without_id++;
        t->distinct++;
        t->recipients_distinct += count;
        return;
    }
    if (!seen_add(&t->ids, seen_key1(id), now_us))
        t->distinct++;
    for (unsigned i = 0; i < count; i++) {
        struct strview recipient = sv_of(recipients);
        if (seen_add(&t->pairs, seen_key2(id, recipient), now_us))
            add_duplicate(t, id, recipient);
        else
            t->recipients_distinct++;
        recipients += recipient.len + 1;
    }
}

void tally_latency(struct tally *t, struct strview domain, int64_t us)
{
    uint64_t value = us > 0 ? (uint64_t)us : 0;
    uint64_t h = hash_bytes_nocase(domain.ptr, domain.len);
    struct hash_node *node = hash_find(&t->domains, h, &domain);
    hist_add(&t->latency, value);
    if (!node && t->domains.count < TALLY_DOMAINS_MAX) {
        struct tally_domain *d = xcalloc(1, sizeof(*d));
        d->name = xstrndup(domain.ptr, domain.len);
        hash_insert(&t->domains, &d->node, h);
        node = &d->node;
    }
    if (node)
        hist_add(&container_of(node, struct tally_domain, node)->latency, value);
}

static double seconds(const struct tally *t)
{
    return (double)(t->last_us - t->first_us) / 1e6;
}

static double rate(const struct tally *t)
{
    return seconds(t) > 0 ? (double)(t->messages - 1) / seconds(t) : 0;
}

static void table_hygiene(const struct tally *t, struct buf *out)
{
    bool clean = true;
    buf_append_str(out, "\n  protocol hygiene\n");
#define TALLY_ROW(name, label)                          \
    if (t->name) {                                      \
        text_row(out, "  " label, "%" PRIu64, t->name); \
        clean = false;                                  \
    }
    TALLY_HYGIENE(TALLY_ROW)
#undef TALLY_ROW
    if (clean)
        text_row(out, "  nothing wrong", "%s", "");
}

static void table_refused(const struct tally *t, struct buf *out)
{
    for (unsigned i = 0; i < PHASE_COUNT; i++) {
        struct buf list = {0};
        text_codes_list(&t->refused[i], &list);
        if (strcmp(buf_data(&list), "none") != 0) {
            buf_printf(out, "  refused at %-11s %s\n", policy_phase_name((enum policy_phase)i),
                       buf_data(&list));
        }
        buf_free(&list);
    }
}

static void table_latency(const struct tally *t, struct buf *out)
{
    if (t->latency.count == 0)
        return;
    hist_row_head("end-to-end latency", out);
    hist_row(&t->latency, "all", out);
    struct hash_node *node = NULL;
    while (t->domains.count > 1 && (node = hash_next(&t->domains, node))) {
        const struct tally_domain *d = container_of(node, struct tally_domain, node);
        hist_row(&d->latency, d->name, out);
    }
}

static int busiest_first(const void *a, const void *b)
{
    const struct peer *x = *(struct peer *const *)a, *y = *(struct peer *const *)b;
    if (x->most != y->most)
        return x->most < y->most ? 1 : -1;
    return strcmp(x->address, y->address);
}

/* Those to name in the summary; free what is returned. */
static struct peer **busiest(const struct peers *peers, size_t *ret_count)
{
    struct peer **list = xcalloc(peers->by_address.count + 1, sizeof(struct peer *));
    size_t n = 0;
    for (struct hash_node *node = NULL; (node = hash_next(&peers->by_address, node));)
        list[n++] = container_of(node, struct peer, node);
    qsort(list, n, sizeof(struct peer *), busiest_first);
    *ret_count = MIN_OF(n, (size_t)TALLY_ADDRESSES_MAX);
    return list;
}

static void table_addresses(const struct peers *peers, struct buf *out)
{
    size_t count;
    struct peer **list = busiest(peers, &count);
    if (count > 1)
        buf_printf(out, "\n  %-39s %11s %12s %9s %9s\n", "client address", "connections",
                   "most at once", "in rate", "above");
    for (size_t i = 0; count > 1 && i < count; i++)
        buf_printf(out, "  %-39s %11" PRIu64 " %12" PRIu64 " %9" PRIu64 " %9" PRIu64 "\n",
                   list[i]->address, list[i]->connections, list[i]->most, list[i]->passed,
                   list[i]->limited);
    free(list);
}

void tally_table(const struct tally *t, const struct peers *peers, bool list_duplicates,
                 struct buf *out)
{
    char text[TEXT_SIZE];
    buf_append_str(out, "pmta-sink\n");
#define TALLY_ROW(name, label) text_row(out, label, "%s", text_count(t->name, text));
    TALLY_COUNTERS(TALLY_ROW)
#undef TALLY_ROW
    text_row(out, "time", "%.3f s from first to last message", seconds(t));
    text_row(out, "rate", "%.1f messages/s", rate(t));
    table_refused(t, out);
    table_hygiene(t, out);
    table_latency(t, out);
    table_addresses(peers, out);
    if (t->ids.full || t->pairs.full)
        buf_append_str(out, "  more ids than are kept: duplicates were not all seen\n");
    for (size_t i = 0; list_duplicates && i < t->duplicate_listed; i++)
        buf_printf(out, "  duplicate %s\n", t->duplicate_list[i]);
}

static void json_duplicates(const struct tally *t, struct buf *out)
{
    buf_append_str(out, ",\"duplicate_list\":[");
    for (size_t i = 0; i < t->duplicate_listed; i++) {
        buf_append_str(out, i ? "," : "");
        text_json(out, sv_of(t->duplicate_list[i]));
    }
    buf_append_char(out, ']');
}

static void json_latency(const struct tally *t, struct buf *out)
{
    struct hash_node *node = NULL;
    const char *separator = "";
    buf_append_str(out, ",\"latency\":{\"all\":");
    hist_json(&t->latency, out);
    buf_append_str(out, ",\"domains\":{");
    while ((node = hash_next(&t->domains, node))) {
        const struct tally_domain *d = container_of(node, struct tally_domain, node);
        buf_append_str(out, separator);
        text_json(out, sv_of(d->name));
        buf_append_char(out, ':');
        hist_json(&d->latency, out);
        separator = ",";
    }
    buf_append_str(out, "}}");
}

static void json_addresses(const struct peers *peers, struct buf *out)
{
    size_t count;
    struct peer **list = busiest(peers, &count);
    buf_append_str(out, ",\"addresses\":{");
    for (size_t i = 0; i < count; i++)
        buf_printf(out,
                   "%s\"%s\":{\"connections\":%" PRIu64 ",\"connections_most\":%" PRIu64
                   ",\"in_rate\":%" PRIu64 ",\"limited\":%" PRIu64 "}",
                   i ? "," : "", list[i]->address, list[i]->connections, list[i]->most,
                   list[i]->passed, list[i]->limited);
    buf_append_char(out, '}');
    free(list);
}

void tally_json(const struct tally *t, const struct peers *peers, struct buf *out)
{
    buf_append_char(out, '{');
#define TALLY_PAIR(name, label) buf_printf(out, "\"" #name "\":%" PRIu64 ",", t->name);
    TALLY_COUNTERS(TALLY_PAIR)
#undef TALLY_PAIR
    buf_printf(out, "\"seconds\":%.6f,\"rate\":%.3f,\"ids_complete\":%s,\"hygiene\":{", seconds(t),
               rate(t), t->ids.full || t->pairs.full ? "false" : "true");
    const char *separator = "";
#define TALLY_PAIR(name, label)                                      \
    buf_printf(out, "%s\"" #name "\":%" PRIu64, separator, t->name); \
    separator = ",";
    TALLY_HYGIENE(TALLY_PAIR)
#undef TALLY_PAIR
    buf_append_str(out, "},\"refused\":{");
    for (unsigned i = 0; i < PHASE_COUNT; i++) {
        buf_printf(out, "%s\"%s\":", i ? "," : "", policy_phase_name((enum policy_phase)i));
        text_codes_json(&t->refused[i], out);
    }
    buf_append_char(out, '}');
    json_duplicates(t, out);
    json_addresses(peers, out);
    json_latency(t, out);
    buf_append_str(out, "}\n");
}
