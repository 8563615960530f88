/*
 * The part of the check of a whole configuration that is about logs. Called by config_check.c.
 */
#include "mail/config_check.h"

#include "mail/log_config.h"

void check_logs(struct loader *l)
{
    const struct config_value *to = config_get(l->cfg, NULL, DIR_LOG_TO);
    const struct config_value *socket = config_get(l->cfg, NULL, DIR_SYSLOG_SOCKET);
    struct sockaddr_storage address;
    struct log_config log;
    socklen_t len;
    struct err e;

    log_config_get(l->cfg, &log);
    if (log.to == LOG_TO_FILE && !log.file)
        load_error(l, to->origin.file, to->origin.line,
                   "log-to = file, and there is no file (expected log-file as well)");
    if (socket->origin.file && syslog_address_parse(socket->text, &address, &len, &e) < 0)
        load_error(l, socket->origin.file, socket->origin.line, "syslog-socket: %s", e.text);
    if (socket->origin.file && log.to != LOG_TO_SYSLOG_DAEMON)
        load_warn(l, socket->origin.file, socket->origin.line,
                  "syslog-socket has no effect without log-to = syslog");
}
