/*
 * What a sink is set to do: from its [event-sink], or from the command line.
 */
#ifndef PMTA_SHIP_SETTINGS_H
#define PMTA_SHIP_SETTINGS_H

#include "follow.h"

#include "base/buf.h"
#include "mail/acct_fields.h"
#include "mail/config.h"
#include "mail/event_sink.h"

enum {
    SHIP_SECRETS_MAX = 2,
    SHIP_RETRY_AFTER_MAX_MS = 3600000, /* a receiver cannot ask for more */
    SHIP_FILE_MAX = 64 * 1024,         /* of secrets; of root certificates 4 MiB */
    SHIP_CA_MAX = 4 * 1024 * 1024,
};

enum ship_kafka_key { SHIP_KEY_PIPE, SHIP_KEY_MESSAGE, SHIP_KEY_NONE };

struct ship_strings {
    char **items;
    size_t count;
};

struct ship_settings {
    char *name, *url, *host; /* host: this host's name, as the receiver is told */
    struct sink_url to;
    unsigned records; /* ACCT_BITs */
    char *only_pipe;  /* NULL: all */
    bool newest;      /* start-at */
    bool once;        /* ends when everything is sent */

    size_t batch_records, batch_bytes;
    int64_t batch_delay_ms, timeout_ms, retry_min_ms, retry_max_ms, give_up_ms;
    unsigned max_in_flight, dead_letter_after;
    uint64_t max_dead_letters;

    struct buf secrets[SHIP_SECRETS_MAX];
    size_t secret_count;
    struct ship_strings headers; /* "Name: value" */
    bool gzip, verify;
    struct buf ca; /* PEM; empty: the system's */
    char *login, *password;
    int64_t redis_database, redis_max_length;
    enum ship_kafka_key kafka_key;
    struct ship_strings kafka_options; /* "name=value" */

    /* What is followed; descriptors are owned. */
    struct follow_set *sets;
    size_t set_count;
};

/* The defaults of the directives. */
void ship_settings_init(struct ship_settings *s);
void ship_settings_fini(struct ship_settings *s);

/* A file of this sink under the name that the configuration gives it; empty: root did not send it. */
typedef struct strview ship_file_fn(void *arg, const char *name);

/* By [event-sink NAME]; sets are not filled in. 0, or ERR_CONFIG with *e. */
int ship_settings_from_config(struct ship_settings *s, const struct config *cfg, const char *name,
                              ship_file_fn *file, void *arg, struct err *e);

/* Section of the [acct-file] that this sink follows, NULL: the default files of acct-dir. */
const char *ship_acct_section(const struct config *cfg, const char *name);

void ship_strings_add(struct ship_strings *s, struct strview text);
/* Each line that is not empty and no comment. */
void ship_strings_add_lines(struct ship_strings *s, struct strview text);

/* The set of a path as [acct-file PATH] has it; descriptors are taken. others: bases of other
 * sections in the same directory are added by the caller. */
void ship_settings_follow(struct ship_settings *s, const char *path, int dirfd, int move_dirfd,
                          bool fixed);
/* Base of a path: "acct" of "/var/log/pmta/acct.csv". The caller's. */
char *ship_path_base(const char *path);

/* A pipe is wanted by only-pipe. */
bool ship_wants_pipe(const struct ship_settings *s, struct strview pipe);

/* Reads a file whole, max bytes at most. 0, or negative with *e. */
int ship_read_file(int dirfd, const char *path, size_t max, struct buf *out, struct err *e);

#endif
