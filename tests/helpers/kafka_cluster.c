/*
 * A Kafka cluster for tests: librdkafka's mock cluster, which speaks the protocol over loopback TCP.
 * Prints its addresses, then obeys lines on standard input: "down", "up" (all brokers), "errors"
 * (the next requests to produce fail with errors that pass), "dump" (all records: key, eventId,
 * value; then "end"). Ends with standard input.
 */
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signal.h>
#include <unistd.h>

enum { BROKERS = 1, PARTITIONS = 4, POLL_MS = 500, POLLS_MAX = 60 };

static void set_brokers(rd_kafka_mock_cluster_t *c, int up)
{
    for (int i = 1; i <= BROKERS; i++)
        if (up)
            rd_kafka_mock_broker_set_up(c, i);
        else
            rd_kafka_mock_broker_set_down(c, i);
}

static void print_message(const rd_kafka_message_t *m)
{
    rd_kafka_headers_t *headers;
    const void *id = "";
    size_t size = 0;

    if (rd_kafka_message_headers(m, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR)
        rd_kafka_header_get_last(headers, "eventId", &id, &size);
    printf("%.*s\t%.*s\t%.*s\n", (int)m->key_len, (const char *)m->key, (int)size, (const char *)id,
           (int)m->len, (const char *)m->payload);
}

static void dump(const char *brokers)
{
    char text[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();

    rd_kafka_conf_set(conf, "bootstrap.servers", brokers, text, sizeof(text));
    rd_kafka_conf_set(conf, "group.id", "test", text, sizeof(text));
    rd_kafka_conf_set(conf, "enable.partition.eof", "true", text, sizeof(text));
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof(text));
    if (!rk)
        abort();
    rd_kafka_topic_partition_list_t *parts = rd_kafka_topic_partition_list_new(PARTITIONS);
    for (int i = 0; i < PARTITIONS; i++)
        rd_kafka_topic_partition_list_add(parts, "mail", i)->offset = RD_KAFKA_OFFSET_BEGINNING;
    rd_kafka_assign(rk, parts);
    for (int ends = 0, dry = 0; ends < PARTITIONS && dry < POLLS_MAX;) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(rk, POLL_MS);
        if (m && !m->err)
            print_message(m);
        ends += m && m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
        dry += !m;
        if (m)
            rd_kafka_message_destroy(m);
    }
    rd_kafka_topic_partition_list_destroy(parts);
    rd_kafka_consumer_close(rk);
    rd_kafka_destroy(rk);
    puts("end");
}

int main(void)
{
    char text[256], line[64];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();

    signal(SIGPIPE, SIG_IGN);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
    rd_kafka_mock_cluster_t *c = rk ? rd_kafka_mock_cluster_new(rk, BROKERS) : NULL;
    if (!c)
        return 1;
    rd_kafka_mock_topic_create(c, "mail", PARTITIONS, 1);
    printf("brokers %s\n", rd_kafka_mock_cluster_bootstraps(c));
    fflush(stdout);
    while (fgets(line, sizeof(line), stdin)) {
        line[strcspn(line, "\n")] = '\0';
        if (strcmp(line, "down") == 0)
            set_brokers(c, 0);
        else if (strcmp(line, "up") == 0)
            set_brokers(c, 1);
        else if (strcmp(line, "errors") == 0)
            rd_kafka_mock_push_request_errors(
                c, 0 /* Produce */, 4, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
                RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
                RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND);
        if (strcmp(line, "dump") == 0)
            dump(rd_kafka_mock_cluster_bootstraps(c));
        else
            puts("ok");
        fflush(stdout);
    }
    rd_kafka_mock_cluster_destroy(c);
    rd_kafka_destroy(rk);
    return 0;
}
