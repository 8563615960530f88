/*
 * Would receivers take mail of a sender domain from these source addresses for what it is? SPF,
 * names of the addresses, DKIM keys, DMARC, BIMI, and whether bounces can come back, as receivers
 * see them in the DNS. And one SPF evaluation, in detail.
 */
#ifndef PMTA_PIPE_CHECK_CHECK_H
#define PMTA_PIPE_CHECK_CHECK_H

#include "mail/spf.h"

#include <sys/socket.h>
#include <uv.h>

struct routes;
struct check;

/* TOPIC(ID, "name"), in the order in which they are told */
#define CHECK_TOPICS(TOPIC)     \
    TOPIC(SPF, "spf")           \
    TOPIC(HELO, "helo")         \
    TOPIC(NAMES, "reverse-dns") \
    TOPIC(DKIM, "dkim")         \
    TOPIC(DMARC, "dmarc")       \
    TOPIC(BIMI, "bimi")         \
    TOPIC(BOUNCES, "bounces")   \
    TOPIC(STS, "mta-sts")       \
    TOPIC(TLSA, "dane")

enum check_topic {
#define CHECK_TOPIC_ENUM(id, name) CHECK_##id,
    CHECK_TOPICS(CHECK_TOPIC_ENUM)
#undef CHECK_TOPIC_ENUM
        CHECK_TOPIC_COUNT
};

/* LEVEL(ID, "name"); a note is no judgement */
#define CHECK_LEVELS(LEVEL) \
    LEVEL(OK, "ok")         \
    LEVEL(NOTE, "note")     \
    LEVEL(WARN, "warn")     \
    LEVEL(FAIL, "fail")

enum check_level {
#define CHECK_LEVEL_ENUM(id, name) CHECK_LEVEL_##id,
    CHECK_LEVELS(CHECK_LEVEL_ENUM)
#undef CHECK_LEVEL_ENUM
};

const char *check_topic_name(enum check_topic t);
const char *check_level_name(enum check_level l);

enum { CHECK_TIMEOUT_MS = 20000, CHECK_MAX_SOURCES = 512, CHECK_MAX_KEYS = 64 };

/* An address that mail leaves from. */
struct check_source {
    const char *vmta;
    struct sockaddr_storage ip; /* family 0: the system chooses it */
    const char *helo;           /* host-name */
};

/* A key that signs. */
struct check_key {
    const char *selector, *domain;
    const char *algorithm; /* "rsa-sha256", "ed25519-sha256" */
    unsigned bits;
    const char *public_key; /* p= */
};

struct check_request {
    struct strview domain;    /* of From; empty: only what the sources are asked for */
    struct strview mail_from; /* domain of the return path; empty: the same */
    const struct check_source *sources;
    size_t source_count;
    const struct check_key *keys;
    size_t key_count;
    const char *unusable_key;  /* why a configured key cannot sign, or NULL */
    const char *bimi_selector; /* that the configuration inserts, or NULL */
    bool with_private;         /* check addresses that are not of the Internet, too */
    unsigned topics;           /* 1u << enum check_topic: only these (SPF, NAMES); 0: all */
    int timeout_ms;            /* 0: CHECK_TIMEOUT_MS */
    unsigned parallel;         /* questions at a time; 0: QUESTIONS_PARALLEL */
};

/* Texts live until done has returned. */
struct check_finding {
    enum check_topic topic;
    enum check_level level;
    unsigned order;          /* within the topic */
    bool is_passing;         /* the DNS did not answer, or there is no SPF record: may be right */
    const char *subject;     /* "192.0.2.1 (mta1)", "s1._domainkey.example.com" */
    const char *text;        /* what was found */
    const char *advice;      /* what to do, one sentence; or NULL */
    const char *record_name; /* where to publish, or NULL, */
    const char *record_type; /* "TXT", */
    const char *record;      /* and what */
};

typedef void check_done(struct check *c, void *arg);

/* Copies what it needs of req. done is called once, not inside this call, at the latest after
 * timeout_ms; the check goes when it returns. */
struct check *check_start(uv_loop_t *loop, struct routes *routes, const struct check_request *req,
                          check_done *done, void *arg);
/* One evaluation of check_host(); the same rules. */
struct check *check_start_spf(uv_loop_t *loop, struct routes *routes, const struct sockaddr *ip,
                              struct strview helo, struct strview mail_from, check_done *done,
                              void *arg);
/* Without done. NULL is fine. */
void check_cancel(struct check *c);

/* In order of topics. */
const struct check_finding *const *check_findings(const struct check *c, size_t *ret_count);
/* Of check_start_spf. */
const struct spf *check_spf(const struct check *c);

/* The address can be seen on the Internet: not private, loopback, link-local, multicast, shared. */
bool check_is_public(const struct sockaddr_storage *ip);
/* "192.0.2.1"; returns out. */
enum { CHECK_IP_SIZE = 48 };
const char *check_ip_text(const struct sockaddr_storage *ip, char *out);

#endif
