/*
 * Kafka by librdkafka: each record of a batch is a message with the object as its value, acknowledged
 * by all replicas (acks=all) and made once per producer (enable.idempotence). The batch is answered
 * when the last of its messages is.
 *
 * Messages have no time limit of their own (message.timeout.ms=0) unless the operator gives them
 * one: librdkafka keeps on trying, in order, and what it says meanwhile is the sink's trouble. When
 * one fails for good, the rest of the batch is taken back and all of it is sent again. librdkafka
 * has threads of its own; its callbacks come from rd_kafka_poll, here.
 */
#include "note.h"
#include "target.h"

#include "base/clock.h"

#include <librdkafka/rdkafka.h>
#include <stdio.h>

/* RD_KAFKA_V_… are statement expressions of GNU C, and take data that they copy without const. */
#ifdef __clang__
#pragma clang diagnostic ignored "-Wgnu-statement-expression"
#pragma clang diagnostic ignored "-Wcast-qual"
#endif

enum { SLICE_MS = 50, CLOSE_MS = 2000, SENT_MAX = 256, OVERHEAD_BYTES = 512 };

/* A batch on its way. */
struct shipment {
    struct target_kafka *kafka;
    struct batch *batch; /* NULL: free */
    size_t pending;
    bool failed, too_large;
    char why[200];
};

struct target_kafka {
    struct target target;
    rd_kafka_t *producer;
    struct shipment shipments[SENT_MAX];
    size_t busy;
    size_t max_message;
    bool answered;
    bool stale;        /* the producer cannot go on; a new one when nothing is pending */
    char trouble[200]; /* the last that librdkafka said while it tries */
};

static struct target_kafka *kafka_of(struct target *t)
{
    return container_of(t, struct target_kafka, target);
}

/* --- callbacks, within rd_kafka_poll --- */

static void on_delivered(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
    struct shipment *s = m->_private;

    (void)rk;
    (void)opaque;
    s->pending--;
    if (!m->err) {
        s->kafka->trouble[0] = '\0';
        return;
    }
    s->too_large |= m->err == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
    if (!s->failed || m->err != RD_KAFKA_RESP_ERR__PURGE_QUEUE)
        snprintf(s->why, sizeof(s->why), "kafka: %s", rd_kafka_err2str(m->err));
    s->failed = true;
}

static void on_error(rd_kafka_t *rk, int code, const char *reason, void *opaque)
{
    struct target_kafka *k = opaque;
    char text[200];

    if (code == RD_KAFKA_RESP_ERR__FATAL) {
        rd_kafka_fatal_error(rk, text, sizeof(text));
        note(LOG_WARN, "kafka producer cannot go on: %s, beginning anew", text);
        k->stale = true;
        reason = text;
    }
    snprintf(k->trouble, sizeof(k->trouble), "kafka: %.180s", reason);
}

static void on_log(const rd_kafka_t *rk, int level, const char *fac, const char *text)
{
    (void)rk;
    if (level <= 3) /* LOG_ERR of syslog; what matters comes by on_error too */
        note(LOG_DEBUG, "librdkafka %s: %s", fac, text);
}

/* --- the producer --- */

static int set(rd_kafka_conf_t *conf, const char *name, const char *value, struct err *e)
{
    char text[256];

    return rd_kafka_conf_set(conf, name, value, text, sizeof(text)) == RD_KAFKA_CONF_OK
               ? 0
               : err_set(e, ERR_CONFIG, "kafka-option: %s", text);
}

static int set_option(rd_kafka_conf_t *conf, const char *option, struct err *e)
{
    const char *at = strchr(option, '=');

    if (!at)
        return err_set(e, ERR_CONFIG, "kafka-option: '%.60s' is no property (expected name=value)",
                       option);
    struct strview n = sv_trim(sv(option, (size_t)(at - option))), v = sv_trim(sv_of(at + 1));
    char *name = xstrndup(n.ptr, n.len), *value = xstrndup(v.ptr, v.len);
    int rc = set(conf, name, value, e);
    explicit_bzero(value, v.len);
    free(name);
    free(value);
    return rc;
}

static int set_all(rd_kafka_conf_t *conf, const struct ship_settings *s, struct err *e)
{
    static const char *const ours[][2] = {{"acks", "all"},
                                          {"enable.idempotence", "true"},
                                          {"message.timeout.ms", "0"},
                                          {"linger.ms", "5"},
                                          {"client.id", "pmta-ship"},
                                          {"queue.buffering.max.messages", "1000000"},
                                          {"log.queue", "true"},
                                          {"socket.keepalive.enable", "true"}};
    int rc = set(conf, "bootstrap.servers", s->to.brokers, e);

    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(ours); i++)
        rc = set(conf, ours[i][0], ours[i][1], e);
    if (rc == 0 && buf_len(&s->ca))
        rc = set(conf, "ssl.ca.pem", buf_data(&s->ca), e);
    if (rc == 0 && !s->verify)
        rc = set(conf, "enable.ssl.certificate.verification", "false", e);
    for (size_t i = 0; rc == 0 && i < s->kafka_options.count; i++)
        rc = set_option(conf, s->kafka_options.items[i], e);
    return rc;
}

static size_t max_message(const rd_kafka_conf_t *conf)
{
    char text[32] = "";
    size_t size = sizeof(text);

    rd_kafka_conf_get(conf, "message.max.bytes", text, &size);
    size_t n = strtoul(text, NULL, 10);
    return n > 2 * OVERHEAD_BYTES ? n - OVERHEAD_BYTES : OVERHEAD_BYTES;
}

static int start_producer(struct target_kafka *k, const struct ship_settings *s, struct err *e)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char text[256];
    int rc = set_all(conf, s, e);

    if (rc < 0) {
        rd_kafka_conf_destroy(conf);
        return rc;
    }
    rd_kafka_conf_set_opaque(conf, k);
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivered);
    rd_kafka_conf_set_error_cb(conf, on_error);
    rd_kafka_conf_set_log_cb(conf, on_log);
    k->max_message = max_message(conf);
    k->producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
    if (!k->producer) {
        rd_kafka_conf_destroy(conf);
        return err_set(e, ERR_CONFIG, "kafka: %s", text);
    }
    rd_kafka_set_log_queue(k->producer, NULL);
    k->stale = false;
    return 0;
}

static void stop_producer(struct target_kafka *k)
{
    if (!k->producer)
        return;
    rd_kafka_purge(k->producer, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    rd_kafka_flush(k->producer, CLOSE_MS);
    rd_kafka_destroy(k->producer);
    k->producer = NULL;
}

/* --- batches --- */

/* "msgId" of an id: "bulk:d:0123.1" gives "0123". Recipients of one message share it. */
static struct strview message_of(struct strview id)
{
    ptrdiff_t at = sv_find(id, ':');

    id = sv(id.ptr + at + 1, id.len - (size_t)(at + 1));
    at = sv_find(id, ':');
    id = sv(id.ptr + at + 1, id.len - (size_t)(at + 1));
    at = sv_find(id, '.');
    return at > 0 ? sv(id.ptr, (size_t)at) : id;
}

static rd_kafka_resp_err_t produce(struct target_kafka *k, struct shipment *s, size_t i)
{
    const struct ship_settings *set = k->target.settings;
    struct strview id = batch_id(s->batch, i), value = batch_object(s->batch, i);
    struct strview key = set->kafka_key == SHIP_KEY_PIPE      ? sv_of(s->batch->stream->pipe)
                         : set->kafka_key == SHIP_KEY_MESSAGE ? message_of(id)
                                                              : sv(NULL, 0);

    rd_kafka_resp_err_t err = rd_kafka_producev(
        k->producer, RD_KAFKA_V_TOPIC(set->to.name),
        RD_KAFKA_V_VALUE((void *)(uintptr_t)value.ptr, value.len), RD_KAFKA_V_KEY(key.ptr, key.len),
        RD_KAFKA_V_HEADER("eventId", id.ptr, (ssize_t)id.len),
        RD_KAFKA_V_HEADER("host", set->host, -1), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
        RD_KAFKA_V_OPAQUE(s), RD_KAFKA_V_END);
    return err;
}

static void fail_shipment(struct shipment *s, const char *why)
{
    s->failed = true;
    snprintf(s->why, sizeof(s->why), "kafka: %.180s", why);
}

static void kafka_send(struct target *t, struct batch *b)
{
    struct target_kafka *k = kafka_of(t);
    struct shipment *s = k->shipments;
    struct err e;

    while (s->batch)
        s++;
    *s = (struct shipment){.kafka = k, .batch = b};
    k->busy++;
    for (size_t i = b->from; i < b->to; i++)
        s->too_large |= batch_object(b, i).len > k->max_message;
    if (s->too_large) {
        fail_shipment(s, "a record is larger than message.max.bytes");
        return;
    }
    if (!k->producer && start_producer(k, t->settings, &e) < 0) {
        fail_shipment(s, e.text);
        return;
    }
    for (size_t i = b->from; i < b->to && !s->failed; i++) {
        rd_kafka_resp_err_t err = produce(k, s, i);
        if (err)
            fail_shipment(s, rd_kafka_err2str(err));
        else
            s->pending++;
    }
}

static bool kafka_room(const struct target *t)
{
    const struct target_kafka *k = container_of(t, struct target_kafka, target);
    return k->busy < SENT_MAX && !k->stale;
}

static void answer(struct target_kafka *k, struct shipment *s)
{
    struct ship_result r = {.outcome = SHIP_DELIVERED};
    struct batch *b = s->batch;

    if (s->failed)
        ship_result_set(&r, s->too_large ? SHIP_TOO_LARGE : SHIP_RETRY, "%s", s->why);
    s->batch = NULL;
    k->busy--;
    k->answered = true;
    k->target.answer(k->target.owner, b, &r);
}

static void look(struct target_kafka *k)
{
    for (size_t i = 0, left = k->busy; left && i < SENT_MAX; i++) {
        struct shipment *s = &k->shipments[i];
        if (!s->batch)
            continue;
        left--;
        if ((s->failed || k->stale) && s->pending) {
            /* what would come later would be out of order */
            rd_kafka_purge(k->producer, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
            s->failed = true;
        } else if (!s->pending) {
            answer(k, s);
        }
    }
    if (k->stale && !k->busy) {
        rd_kafka_destroy(k->producer);
        k->producer = NULL;
        k->stale = false;
    }
}

static void kafka_run(struct target *t, int timeout_ms, int wake_fd)
{
    struct target_kafka *k = kafka_of(t);
    int64_t until = clock_mono_ms() + timeout_ms;

    k->answered = false;
    look(k);
    if (!k->busy && k->producer)
        rd_kafka_poll(k->producer, 0);
    if (!k->busy && !k->answered)
        target_wait(timeout_ms, wake_fd);
    while (k->busy && !k->answered && k->producer) {
        int64_t left = until - clock_mono_ms();
        rd_kafka_poll(k->producer, (int)MAX_OF(MIN_OF(left, (int64_t)SLICE_MS), (int64_t)0));
        look(k);
        if (left <= 0)
            return;
    }
}

static const char *kafka_trouble(const struct target *t)
{
    const struct target_kafka *k = container_of(t, struct target_kafka, target);
    return k->busy && *k->trouble ? k->trouble : NULL;
}

static void kafka_close(struct target *t)
{
    struct target_kafka *k = kafka_of(t);

    stop_producer(k);
    free(k);
}

int target_kafka_open(const struct ship_settings *settings, struct target **ret, struct err *e)
{
    static const struct target_ops ops = {kafka_send, kafka_room, kafka_run, kafka_close,
                                          kafka_trouble};
    struct target_kafka *k = xcalloc(1, sizeof(*k));
    int rc = start_producer(k, settings, e);

    if (rc < 0) {
        free(k);
        return rc;
    }
    k->target.ops = &ops;
    *ret = &k->target;
    return 0;
}
