/*
 * Packets to answers. lookup.c calls answer_parse for each packet that matches its question;
 * libldns takes the packet apart after the counts in its header were bounded, and what is kept is
 * copied into one piece of memory. CNAMEs are followed inside the packet; where the packet ends
 * before the chain does, the answer names the next question. A broken packet gives NULL and nothing
 * else.
 */
#include "answer.h"

#include "base/buf.h"

#include <ldns/ldns.h>

/* What is collected before the answer gets its memory. Hosts and data are offsets into tail. */
struct gather {
    const struct query *query;
    const ldns_pkt *pkt;
    char name[DOMAIN_SIZE]; /* where the chain of CNAMEs has led */
    unsigned aliases;
    bool unusable_host;
    uint32_t ttl_s;
    size_t count;
    struct answer_record records[ANSWER_MAX_RECORDS];
    size_t tail_at[ANSWER_MAX_RECORDS];
    struct buf tail;
};

struct answer *answer_ref(struct answer *a)
{
    a->refs++;
    return a;
}

void answer_unref(struct answer *a)
{
    if (a && --a->refs == 0)
        free(a);
}

/* Room for count records and a tail of text behind them. */
static struct answer *new_answer(enum answer_status status, size_t count, struct strview tail,
                                 char **ret_tail)
{
    size_t bytes = sizeof(struct answer) + count * sizeof(struct answer_record) + tail.len + 1;
    struct answer *a = xcalloc(1, bytes);

    *ret_tail = (char *)&a->records[count];
    if (tail.len)
        memcpy(*ret_tail, tail.ptr, tail.len);
    a->refs = 1;
    a->status = status;
    a->count = (uint16_t)count;
    a->bytes = bytes;
    a->text = "";
    return a;
}

static struct answer *new_with_text(enum answer_status status, uint32_t ttl_s, const char *text)
{
    char *tail;
    struct answer *a = new_answer(status, 0, sv_of(text), &tail);

    a->ttl_s = ttl_s;
    a->text = tail;
    return a;
}

struct answer *answer_failed(uint32_t ttl_s, const char *fmt, ...)
{
    struct buf text = {0};
    va_list ap;

    va_start(ap, fmt);
    buf_vprintf(&text, fmt, ap);
    va_end(ap);
    struct answer *a = new_with_text(ANSWER_FAILED, ttl_s, buf_data(&text));
    buf_free(&text);
    return a;
}

static int name_of(const ldns_rdf *rdf, enum domain_form form, char *out)
{
    if (!rdf || ldns_rdf_get_type(rdf) != LDNS_RDF_TYPE_DNAME)
        return ERR_SYNTAX;
    return domain_from_wire(ldns_rdf_data(rdf), ldns_rdf_size(rdf), form, out);
}

/* RFC 2181 section 8: a TTL with the top bit set is 0. */
static uint32_t bounded_ttl(uint32_t ttl, uint32_t max)
{
    return ttl > INT32_MAX ? 0 : MIN_OF(ttl, max);
}

/* A record of class IN and that type, owned by the name that the chain has reached. */
static bool is_wanted(const struct gather *g, const ldns_rr *rr, ldns_rr_type type)
{
    char owner[DOMAIN_SIZE];

    return ldns_rr_get_type(rr) == type && ldns_rr_get_class(rr) == LDNS_RR_CLASS_IN &&
           name_of(ldns_rr_owner(rr), DOMAIN_ANY, owner) == 0 && strcmp(owner, g->name) == 0;
}

static void take_ttl(struct gather *g, const ldns_rr *rr)
{
    g->ttl_s = MIN_OF(g->ttl_s, bounded_ttl(ldns_rr_ttl(rr), ANSWER_MAX_TTL_S));
}

static bool take_host(struct gather *g, const ldns_rdf *rdf)
{
    char host[DOMAIN_SIZE];

    if (name_of(rdf, DOMAIN_HOST, host) < 0) {
        g->unusable_host = true;
        return false;
    }
    g->tail_at[g->count] = buf_len(&g->tail);
    buf_append(&g->tail, host, strlen(host) + 1);
    return true;
}

static bool take_mx(struct gather *g, const ldns_rr *rr)
{
    const ldns_rdf *pref = ldns_rr_rdf(rr, 0);

    if (!pref || ldns_rdf_size(pref) != 2)
        return false;
    g->records[g->count].preference = ldns_read_uint16(ldns_rdf_data(pref));
    return take_host(g, ldns_rr_rdf(rr, 1));
}

/* TXT: character strings, each with a byte of length in front (RFC 1035 section 3.3). */
static bool take_strings(struct gather *g, const ldns_rr *rr)
{
    size_t from = buf_len(&g->tail);

    for (size_t i = 0; i < ldns_rr_rd_count(rr); i++) {
        const ldns_rdf *rdf = ldns_rr_rdf(rr, i);
        if (ldns_rdf_size(rdf) > 1)
            buf_append(&g->tail, ldns_rdf_data(rdf) + 1, ldns_rdf_size(rdf) - 1);
    }
    g->tail_at[g->count] = from;
    g->records[g->count].bytes = (uint16_t)(buf_len(&g->tail) - from);
    return true;
}

/* TLSA: usage, selector, matching type, and at least one byte (RFC 6698 section 2.1). */
static bool take_tlsa(struct gather *g, const ldns_rr *rr)
{
    size_t from = buf_len(&g->tail);

    for (size_t i = 0; i < ldns_rr_rd_count(rr); i++)
        buf_append(&g->tail, ldns_rdf_data(ldns_rr_rdf(rr, i)), ldns_rdf_size(ldns_rr_rdf(rr, i)));
    g->tail_at[g->count] = from;
    g->records[g->count].bytes = (uint16_t)(buf_len(&g->tail) - from);
    return g->records[g->count].bytes > 3;
}

static bool take_address(struct gather *g, const ldns_rr *rr)
{
    size_t want = g->query->type == QUERY_A ? 4 : 16;
    const ldns_rdf *rdf = ldns_rr_rdf(rr, 0);

    if (!rdf || ldns_rdf_size(rdf) != want)
        return false;
    memcpy(g->records[g->count].address, ldns_rdf_data(rdf), want);
    return true;
}

static bool take_record(struct gather *g, const ldns_rr *rr)
{
    switch (g->query->type) {
    case QUERY_A:
    case QUERY_AAAA:
        return take_address(g, rr);
    case QUERY_MX:
        return take_mx(g, rr);
    case QUERY_PTR:
    case QUERY_CNAME:
        return take_host(g, ldns_rr_rdf(rr, 0));
    case QUERY_TXT:
        return take_strings(g, rr);
    case QUERY_TLSA:
        return take_tlsa(g, rr);
    }
    return false;
}

/* Collects the records asked for at the present name. Returns whether there were any, usable or
 * not. */
static bool take_records(struct gather *g)
{
    const ldns_rr_list *list = ldns_pkt_answer(g->pkt);
    bool found = false;

    for (size_t i = 0; i < ldns_rr_list_rr_count(list) && g->count < ANSWER_MAX_RECORDS; i++) {
        const ldns_rr *rr = ldns_rr_list_rr(list, i);
        if (!is_wanted(g, rr, (ldns_rr_type)g->query->type))
            continue;
        found = true;
        take_ttl(g, rr);
        g->count += take_record(g, rr);
    }
    return found;
}

/* Addresses and hosts live at names of hosts; reverse zones are delegated by names with a slash
 * (RFC 2317), and what else pipes ask for may be anywhere. */
static enum domain_form alias_form(const struct gather *g)
{
    enum query_type t = g->query->type;
    return t == QUERY_PTR || t == QUERY_TXT || t == QUERY_TLSA ? DOMAIN_ANY : DOMAIN_HOST;
}

/* Follows one CNAME: 1 when there was one, 0 when not, negative when it leads to no usable name. */
static int follow_alias(struct gather *g)
{
    const ldns_rr_list *list = ldns_pkt_answer(g->pkt);

    for (size_t i = 0; i < ldns_rr_list_rr_count(list); i++) {
        const ldns_rr *rr = ldns_rr_list_rr(list, i);
        if (!is_wanted(g, rr, LDNS_RR_TYPE_CNAME))
            continue;
        char target[DOMAIN_SIZE];
        if (name_of(ldns_rr_rdf(rr, 0), alias_form(g), target) < 0 || !target[0])
            return ERR_SYNTAX;
        memcpy(g->name, target, sizeof(target));
        take_ttl(g, rr);
        g->aliases++;
        return 1;
    }
    return 0;
}

/* RFC 2308 section 5: a negative answer lives as long as the smaller of the SOA record's own TTL
 * and its minimum field. Returns false when there is no SOA. */
static bool negative_ttl(const struct gather *g, uint32_t *ret)
{
    const ldns_rr_list *list = ldns_pkt_authority(g->pkt);

    for (size_t i = 0; i < ldns_rr_list_rr_count(list); i++) {
        const ldns_rr *rr = ldns_rr_list_rr(list, i);
        const ldns_rdf *minimum = ldns_rr_rdf(rr, 6);
        if (ldns_rr_get_type(rr) != LDNS_RR_TYPE_SOA || !minimum || ldns_rdf_size(minimum) != 4)
            continue;
        uint32_t ttl = bounded_ttl(ldns_rr_ttl(rr), ANSWER_MAX_NEGATIVE_TTL_S);
        uint32_t min = bounded_ttl(ldns_read_uint32(ldns_rdf_data(minimum)), UINT32_MAX);
        *ret = MIN_OF(MIN_OF(ttl, min), g->ttl_s);
        return true;
    }
    return false;
}

static bool is_referral(const struct gather *g)
{
    const ldns_rr_list *list = ldns_pkt_authority(g->pkt);

    for (size_t i = 0; i < ldns_rr_list_rr_count(list); i++)
        if (ldns_rr_get_type(ldns_rr_list_rr(list, i)) == LDNS_RR_TYPE_NS)
            return !ldns_pkt_aa(g->pkt);
    return false;
}

static struct answer *negative(const struct gather *g)
{
    uint32_t ttl_s = 0; /* without an SOA it is not cached */
    bool has_soa = negative_ttl(g, &ttl_s);

    if (ldns_pkt_get_rcode(g->pkt) == LDNS_RCODE_NXDOMAIN)
        return new_with_text(ANSWER_NO_DOMAIN, ttl_s, "");
    if (!has_soa && g->aliases)
        return new_with_text(ANSWER_ALIAS, g->ttl_s, g->name);
    if (!has_soa && is_referral(g))
        return answer_failed(0, "the name server does not recurse");
    return new_with_text(ANSWER_NO_DATA, ttl_s, "");
}

static bool has_tail(enum query_type t)
{
    return t != QUERY_A && t != QUERY_AAAA;
}

static struct answer *positive(struct gather *g)
{
    char *tail;
    size_t name_at = buf_len(&g->tail);

    if (g->aliases || g->query->aliased)
        buf_append(&g->tail, g->name, strlen(g->name) + 1);
    struct answer *a = new_answer(ANSWER_OK, g->count, buf_view(&g->tail), &tail);
    a->ttl_s = g->ttl_s;
    a->text = tail + name_at; /* "" when there was no alias: the tail ends in a NUL */
    for (size_t i = 0; i < g->count; i++) {
        a->records[i] = g->records[i];
        if (has_tail(g->query->type))
            a->records[i].host = tail + g->tail_at[i];
    }
    return a;
}

static struct answer *answer_to_success(struct gather *g)
{
    while (!take_records(g)) {
        int rc = follow_alias(g);
        if (g->aliases > ANSWER_MAX_ALIASES)
            return answer_failed(ANSWER_MAX_NEGATIVE_TTL_S, "more than %d CNAME records in a row",
                                 ANSWER_MAX_ALIASES);
        if (rc < 0)
            return answer_failed(ANSWER_MAX_NEGATIVE_TTL_S, "CNAME record without a usable name");
        if (rc == 0)
            return negative(g);
    }
    return positive(g);
}

static struct answer *answer_to_failure(const struct gather *g)
{
    unsigned rcode = ldns_pkt_get_rcode(g->pkt);
    ldns_lookup_table *known = ldns_lookup_by_id(ldns_rcodes, (int)rcode);

    if (g->query->edns && (rcode == LDNS_RCODE_FORMERR || rcode == LDNS_RCODE_NOTIMPL ||
                           ldns_pkt_edns_extended_rcode(g->pkt)))
        return new_with_text(ANSWER_NO_EDNS, 0, "");
    if (known)
        return answer_failed(0, "%s", known->name);
    return answer_failed(0, "response code %u", rcode);
}

/* RFC 6891 section 6.1.3: upper bits of the code (BADVERS) are in the OPT record. */
static bool is_success(const ldns_pkt *pkt)
{
    ldns_pkt_rcode rcode = ldns_pkt_get_rcode(pkt);
    return !ldns_pkt_edns_extended_rcode(pkt) &&
           (rcode == LDNS_RCODE_NOERROR || rcode == LDNS_RCODE_NXDOMAIN);
}

static struct answer *answer_to(const struct query *q, const ldns_pkt *pkt)
{
    struct gather g = {.query = q, .pkt = pkt, .ttl_s = ANSWER_MAX_TTL_S};

    memcpy(g.name, q->name, sizeof(g.name));
    struct answer *a = is_success(pkt) ? answer_to_success(&g) : answer_to_failure(&g);
    a->authenticated = ldns_pkt_ad(pkt);
    a->aliases = (uint8_t)g.aliases;
    a->unusable_host = g.unusable_host;
    buf_free(&g.tail);
    return a;
}

/* libldns allocates per record and may follow long chains of pointers for each: bound them first.
 */
static bool has_sane_counts(const uint8_t *data, size_t len)
{
    return len >= LDNS_HEADER_SIZE && len <= UINT16_MAX && LDNS_QDCOUNT(data) <= 1 &&
           LDNS_ANCOUNT(data) + LDNS_NSCOUNT(data) + LDNS_ARCOUNT(data) <= ANSWER_MAX_IN_PACKET;
}

struct answer *answer_parse(const struct query *q, const uint8_t *data, size_t len)
{
    ldns_pkt *pkt = NULL;

    if (!has_sane_counts(data, len) || ldns_wire2pkt(&pkt, data, len) != LDNS_STATUS_OK)
        return NULL;
    struct answer *a = answer_to(q, pkt);
    ldns_pkt_free(pkt);
    return a;
}
