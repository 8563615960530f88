/*
 * Questions in wire form, by libldns. lookup.c builds one per attempt (each has an id of its own),
 * exchange.c sends it and compares what comes back. No I/O, nothing is kept.
 */
#include "query.h"

#include <ldns/ldns.h>
#include <sys/random.h>

const char *query_type_name(enum query_type t)
{
    switch (t) {
#define QUERY_CASE(name, number) \
    case QUERY_##name:           \
        return #name;
        QUERY_TYPES(QUERY_CASE)
#undef QUERY_CASE
    }
    return "?";
}

static uint16_t random_id(void)
{
    uint16_t id;
    while (getrandom(&id, sizeof(id), 0) != sizeof(id))
        ;
    return id;
}

static ldns_pkt *new_packet(const struct query *q)
{
    uint8_t wire[DOMAIN_SIZE];
    size_t len = domain_to_wire(q->name, wire);
    ldns_rdf *name = ldns_rdf_new_frm_data(LDNS_RDF_TYPE_DNAME, len, wire);
    ldns_pkt *pkt = ldns_pkt_query_new(name, (ldns_rr_type)q->type, LDNS_RR_CLASS_IN, LDNS_RD);

    BUG_ON(!pkt); /* out of memory */
    ldns_pkt_set_id(pkt, q->id);
    ldns_pkt_set_ad(pkt, true);
    if (q->edns)
        ldns_pkt_set_edns_udp_size(pkt, QUERY_EDNS_BYTES);
    return pkt;
}

int query_build(struct query *q, const char *name, enum query_type type, bool edns)
{
    uint8_t *wire = NULL;
    size_t len = 0;

    BUG_ON(strlen(name) >= sizeof(q->name));
    memset(q, 0, offsetof(struct query, wire));
    memcpy(q->name, name, strlen(name) + 1);
    q->type = type;
    q->edns = edns;
    q->id = random_id();
    ldns_pkt *pkt = new_packet(q);
    ldns_status status = ldns_pkt2wire(&wire, pkt, &len);
    ldns_pkt_free(pkt);
    if (status == LDNS_STATUS_OK && len <= sizeof(q->wire)) {
        memcpy(q->wire, wire, len);
        q->wire_bytes = len;
        q->question_bytes = strlen(name) + 2 + 4;
    }
    free(wire);
    return q->wire_bytes ? 0 : ERR_SYNTAX;
}

static bool same_question(const struct query *q, const uint8_t *data)
{
    const char *ours = (const char *)q->wire + LDNS_HEADER_SIZE;
    const char *theirs = (const char *)data + LDNS_HEADER_SIZE;
    size_t name = q->question_bytes - 4;

    /* label lengths are below 64, so that folding case does not touch them */
    return sv_eq_nocase(sv(ours, name), sv(theirs, name)) &&
           memcmp(ours + name, theirs + name, 4) == 0;
}

/* Servers that do not know EDNS may refuse the packet without repeating the question. */
static bool is_bare_refusal(const uint8_t *data, size_t len)
{
    unsigned rcode = LDNS_RCODE_WIRE(data);
    return len == LDNS_HEADER_SIZE && LDNS_QDCOUNT(data) == 0 &&
           (rcode == LDNS_RCODE_FORMERR || rcode == LDNS_RCODE_NOTIMPL);
}

enum query_match query_match(const struct query *q, const uint8_t *data, size_t len)
{
    if (len < LDNS_HEADER_SIZE || LDNS_ID_WIRE(data) != q->id || !LDNS_QR_WIRE(data) ||
        LDNS_OPCODE_WIRE(data) != LDNS_PACKET_QUERY)
        return QUERY_OTHER;
    if (is_bare_refusal(data, len))
        return QUERY_ANSWER;
    if (len < LDNS_HEADER_SIZE + q->question_bytes || LDNS_QDCOUNT(data) != 1 ||
        !same_question(q, data))
        return QUERY_OTHER;
    return LDNS_TC_WIRE(data) ? QUERY_TRUNCATED : QUERY_ANSWER;
}
