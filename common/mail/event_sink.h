/*
 * Where events go: the url of an [event-sink], and forms of its other values. The check of a
 * configuration and pmta-ship use them.
 */
#ifndef PMTA_MAIL_EVENT_SINK_H
#define PMTA_MAIL_EVENT_SINK_H

#include "base/err.h"
#include "base/str.h"

enum sink_kind { SINK_STDOUT, SINK_HTTP, SINK_REDIS, SINK_KAFKA };

struct sink_url {
    enum sink_kind kind;
    bool tls;          /* https, rediss */
    char host[256];    /* redis; brackets of IPv6 taken off */
    uint16_t port;     /* redis */
    char name[256];    /* redis: the stream; kafka: the topic */
    char brokers[512]; /* kafka: "h1:9092,h2:9092" */
};

/* "https://host/path", "redis://host:port/STREAM", "kafka://h1,h2:9092/TOPIC", or "stdout". 0, or
 * ERR_SYNTAX with what was expected. */
int sink_url_parse(struct strview text, struct sink_url *ret, struct err *e);

/* "Name: value" of a header field. */
bool sink_header_is_valid(struct strview line);
/* "name=value" of librdkafka's properties. */
bool sink_option_is_valid(struct strview line);

#endif
