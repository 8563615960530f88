/*
 * The directives of the log; see log_config.h.
 */
#include "mail/log_config.h"

#include "base/str.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/un.h>

/* RFC 5424 table 1, in the order of syslog-facility's choices */
static const uint8_t facilities[] = {2, 3, 1, 16, 17, 18, 19, 20, 21, 22, 23};

const char *log_to_name(enum log_to to)
{
    static const char *const names[] = {"file", "stderr", "syslog", "journald"};
    return names[to];
}

static enum log_target syslog_target(const struct config *cfg, const char *socket)
{
    const struct config_value *form = config_get(cfg, NULL, DIR_SYSLOG_FORMAT);

    if (form->text)
        return form->number == 0 ? LOG_TO_SYSLOG : LOG_TO_SYSLOG3;
    return strcmp(socket, "/dev/log") == 0 ? LOG_TO_SYSLOG3 : LOG_TO_SYSLOG;
}

void log_config_get(const struct config *cfg, struct log_config *ret)
{
    const struct config_value *to = config_get(cfg, NULL, DIR_LOG_TO);
    const char *file = config_text(cfg, NULL, DIR_LOG_FILE);
    int64_t facility = config_number(cfg, NULL, DIR_SYSLOG_FACILITY);

    *ret = (struct log_config){
        .json = config_number(cfg, NULL, DIR_LOG_FORMAT) == 1,
        .facility = facilities[MIN_OF((size_t)facility, ARRAY_LEN(facilities) - 1)],
        .file = file && *file ? file : NULL,
        .host = config_text(cfg, NULL, DIR_HOST_NAME),
        .keep = (unsigned)config_number(cfg, NULL, DIR_LOG_ROTATE),
        .interval_ms = config_bool(cfg, NULL, DIR_LOG_AUTO_ROTATION)
                           ? config_number(cfg, NULL, DIR_LOG_ROTATE_INTERVAL)
                           : 0,
        .max_bytes = (uint64_t)config_number(cfg, NULL, DIR_LOG_MAX_SIZE),
        .compression = (enum log_compression)config_number(cfg, NULL, DIR_LOG_COMPRESS),
        .world_readable = config_bool(cfg, NULL, DIR_LOG_FILE_WORLD_READABLE),
    };
    ret->to = to->text ? (enum log_to)to->number : ret->file ? LOG_TO_FILE : LOG_TO_STDERR;
    if (ret->to == LOG_TO_SYSLOG_DAEMON) {
        ret->socket = config_text(cfg, NULL, DIR_SYSLOG_SOCKET);
        ret->target = syslog_target(cfg, ret->socket);
    } else if (ret->to == LOG_TO_JOURNAL) {
        ret->socket = config_text(cfg, NULL, DIR_JOURNALD_SOCKET);
        ret->target = LOG_TO_JOURNALD;
    }
}

static int parse_path(const char *path, struct sockaddr_storage *ret, socklen_t *ret_len,
                      struct err *e)
{
    struct sockaddr_un *un = (struct sockaddr_un *)ret;
    size_t len = strlen(path);

    if (len >= sizeof(un->sun_path))
        return err_set(e, ERR_SYNTAX, "the path of a socket has at most %zu bytes",
                       sizeof(un->sun_path) - 1);
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, path, len + 1);
    *ret_len = sizeof(*un);
    return 0;
}

int syslog_address_parse(const char *text, struct sockaddr_storage *ret, socklen_t *ret_len,
                         struct err *e)
{
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret;
    struct sockaddr_in *in = (struct sockaddr_in *)ret;
    const char *colon = strrchr(text, ':');
    char host[INET6_ADDRSTRLEN];
    uint64_t port = 0;

    *ret = (struct sockaddr_storage){0};
    if (text[0] == '/')
        return parse_path(text, ret, ret_len, e);
    struct strview address = sv(text + 4, 0);
    if (strncmp(text, "udp:", 4) == 0 && colon > text + 4 && sv_to_u64(sv_of(colon + 1), &port))
        address.len = (size_t)(colon - address.ptr);
    bool brackets = address.len > 2 && address.ptr[0] == '[' && colon[-1] == ']';
    if (brackets)
        address = sv(address.ptr + 1, address.len - 2);
    if (address.len && address.len < sizeof(host) && port && port < 65536) {
        snprintf(host, sizeof(host), "%.*s", SV_ARG(address));
        if (brackets && inet_pton(AF_INET6, host, &in6->sin6_addr) == 1) {
            in6->sin6_family = AF_INET6;
            in6->sin6_port = htons((uint16_t)port);
            *ret_len = sizeof(*in6);
            return 0;
        }
        if (!brackets && inet_pton(AF_INET, host, &in->sin_addr) == 1) {
            in->sin_family = AF_INET;
            in->sin_port = htons((uint16_t)port);
            *ret_len = sizeof(*in);
            return 0;
        }
    }
    return err_set(e, ERR_SYNTAX,
                   "'%.100s' is not valid (expected the absolute path of a socket, or "
                   "udp:192.0.2.1:514, udp:[2001:db8::1]:514)",
                   text);
}
