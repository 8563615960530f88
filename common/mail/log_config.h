/*
 * What [pmta] says of the log, understood once: for root, which opens it, and for the check of a
 * configuration.
 */
#ifndef PMTA_MAIL_LOG_CONFIG_H
#define PMTA_MAIL_LOG_CONFIG_H

#include "base/err.h"
#include "base/log.h"
#include "mail/config.h"

#include <sys/socket.h>

/* In the order of the choices of log-to. */
enum log_to { LOG_TO_FILE, LOG_TO_STDERR, LOG_TO_SYSLOG_DAEMON, LOG_TO_JOURNAL };
/* In that of log-compress. */
enum log_compression { LOG_COMPRESS_NONE, LOG_COMPRESS_GZIP, LOG_COMPRESS_ZSTD };

/* Texts are views of the configuration. */
struct log_config {
    enum log_to to;
    enum log_target target;
    bool json;
    uint8_t facility;
    const char *file;    /* as it is written; NULL: none */
    const char *socket;  /* of syslog or the journal, as it is written */
    const char *host;    /* host-name; NULL: the system's */
    unsigned keep;       /* files, the current one included */
    int64_t interval_ms; /* 0: not by time */
    uint64_t max_bytes;  /* 0: not by size */
    enum log_compression compression;
    bool world_readable;
};

const char *log_to_name(enum log_to to);
void log_config_get(const struct config *cfg, struct log_config *ret);

/* syslog-socket: an absolute path, or udp:ADDR:PORT with a numeric address ("udp:[::1]:514"). 0, or
 * ERR_SYNTAX with what was expected. */
int syslog_address_parse(const char *text, struct sockaddr_storage *ret, socklen_t *ret_len,
                         struct err *e);

#endif
