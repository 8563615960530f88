/*
 * The engine of one pipe: takes messages in, keeps the queues, gives them connections when every
 * limit agrees, and turns outcomes into the next state. All in one loop thread; what it needs from
 * outside (spool, delivery, routes, report) is handed in at the start.
 */
#ifndef PMTA_PIPE_QUEUE_ENGINE_H
#define PMTA_PIPE_QUEUE_ENGINE_H

#include "delivery/delivery.h"
#include "mail/config.h"
#include "net/ipc.h"
#include "queue/body.h"
#include "queue/queue.h"
#include "report/report.h"
#include "route/routes.h"
#include "spool/spool.h"

struct engine;
struct verp;

struct engine_parts {
    uv_loop_t *loop;
    const char *pipe;
    struct delivery *delivery;
    struct routes *routes;
    struct keyring *keyring; /* both NULL: nothing is signed */
    struct signer *signer;
    struct verp *verp; /* NULL: no bounce addresses and unsubscribe links of our own */
    struct limit_table *limit_table; /* taken; NULL: one of this process alone */
};

struct engine *engine_new(const struct engine_parts *parts);
/* After engine_drain told that it is done. */
void engine_free(struct engine *g);

/* Report and spool, before engine_start; recovery calls engine_recovered before that. */
void engine_set_report(struct engine *g, struct report *report);
void engine_set_spool(struct engine *g, struct spool *spool);

/* A new configuration snapshot; queues take it over at once. */
void engine_configure(struct engine *g, struct config *cfg);

/* Mail to addresses of our own is not sent anywhere: it has queues without connections ("{bounce}"),
 * and somebody who handles it. */
struct local_queue {
    const char *name;     /* in braces, so that it is no domain */
    const char *dlv_type; /* in accounting, instead of smtp */
};
struct engine_local_ops {
    /* The queue that mail to this address goes to, or NULL: it goes out. Asked for each recipient. */
    const struct local_queue *(*queue_of)(void *arg, struct strview address);
    /* q may send and has something ready; may be called again at any time. */
    void (*work)(void *arg, struct queue *q);
    /* Drain has begun: loads that wait for something are put back now. */
    void (*drain)(void *arg);
};
/* Before the first message comes. */
void engine_on_local(struct engine *g, const struct engine_local_ops *ops, void *arg);
/* An entry of such a queue, which is with a load, goes out after all: ready in the queue of its
 * domain. */
void engine_send_out(struct engine *g, struct entry *e, const struct envelope *env);
/* A recipient that is SENDING goes, ready, to the queue that it would come into now. */
void engine_choose_again(struct engine *g, struct entry *e, const struct envelope *env);

/* Asked before recipients of a message are tried: sets rcpts[x].suppressed and suppressed_scope of
 * those among env->rcpts[rcpts[0 … count - 1]] who went on the suppression list while the message
 * waited. content may be without the header. True: there are some; they end as bounced. */
typedef bool engine_suppressed_fn(void *arg, struct envelope *env, struct strview content,
                                  const uint32_t *rcpts, uint32_t count);
void engine_on_suppressed(struct engine *g, engine_suppressed_fn *fn, void *arg);

/* Who is told when something happens that backoff-notify is for. */
void engine_on_notice(struct engine *g,
                      void (*fn)(void *arg, struct strview to_list, struct strview subject,
                                 struct strview body),
                      void *arg);
/* Delivery notices to senders (pipe/dsn). Every function may be NULL. */
enum engine_dsn_answer {
    DSN_NOT_OWED, /* the recipient ends at once */
    DSN_TAKEN,    /* it ends when the notice is durable: settle_decided */
    DSN_LATER,    /* a notice is owed and cannot be made now: it has to stay queued */
};
struct engine_dsn {
    /* The recipient has its final outcome, which is copied. Called once for each. */
    enum engine_dsn_answer (*owed)(void *arg, struct entry *e, const struct envelope *env,
                                   const struct outcome *o, const struct rule_match *rule);
    /* A message of which some recipient has NOTIFY=DELAY came, or was recovered. */
    void (*queued)(void *arg, const struct message *m, const struct envelope *env);
    /* It is the turn of a queue whose mail is handed to another pipe. */
    void (*hand)(void *arg, struct queue *q);
    /* So many notices are on their way that who ends recipients by the thousand should wait. */
    bool (*is_full)(void *arg);
    /* The engine drains; over: its time is over, give up what is under way. True: there is some. */
    bool (*drain)(void *arg, bool over);
    void *arg;
};
void engine_on_dsn(struct engine *g, const struct engine_dsn *hooks);
/* Who is told of a reply that ended a recipient as bounced. */
void engine_on_bounced(struct engine *g,
                       void (*fn)(void *arg, const struct envelope *env, uint32_t rcpt,
                                  const struct outcome *o),
                       void *arg);
/* What survives a restart has changed: actions, or (clocks) when queues may be tried again. */
void engine_on_change(struct engine *g, void (*fn)(void *arg, bool clocks), void *arg);
/* Both as text, one line each, and back; read after recovery, before engine_start. */
void engine_actions_write(const struct engine *g, struct buf *out);
void engine_clocks_write(const struct engine *g, struct buf *out);
void engine_actions_read(struct engine *g, struct strview actions, struct strview clocks);

/* spool_ops */
void engine_recovered(struct engine *g, message_id id, const struct spool_place *place,
                      const struct envelope *env, const struct spool_recovered_rcpt *rcpts);
bool engine_moved(struct engine *g, message_id id, const struct spool_place *to);
void engine_journalled(struct engine *g, message_id id, uint16_t rcpt, spool_journal_place at);

/* Delivery begins (after recovery). */
void engine_start(struct engine *g);

/* Why a message cannot be taken now or at all: 0, or an SMTP reply code with *ret_text. */
unsigned engine_refuses(struct engine *g, const struct envelope *env, const char **ret_text);

/* A message that is durable in the spool. body may be NULL; the engine takes the reference. */
void engine_accept(struct engine *g, message_id id, const struct spool_place *place,
                   const struct envelope *env, struct body *body);
struct body_cache *engine_body_cache(struct engine *g);

/* Stops to start anything, lets what is under way finish for at most timeout_ms, then done(arg). */
void engine_drain(struct engine *g, int64_t timeout_ms, void (*done)(void *arg), void *arg);

/* --- what operators do --- */

void engine_pause(struct engine *g, bool paused);
bool engine_is_paused(const struct engine *g);

/* Patterns "domain/vmta" with * and ?; no slash means any virtual MTA. Returns how many queues
 * changed. engine_resume_queues removes the pause patterns that the given one covers; when a queue
 * that it matches stays paused by a wider one, *ret_wider names that (else NULL). */
size_t engine_pause_queues(struct engine *g, struct strview pattern);
size_t engine_resume_queues(struct engine *g, struct strview pattern, const char **ret_wider);
size_t engine_schedule(struct engine *g, struct strview pattern);
/* What single addresses may send was changed by hand: queues of several that stand in line at one
 * of them look at all of theirs again. */
void engine_retry_addresses(struct engine *g);

/* Jobs, by their whole id; what is set stays when nothing of the job is queued. 0 or an error as
 * jobs.h says. *ret_changed: whether it was otherwise before. rate NULL: job-max-msg-rate again. */
int engine_pause_job(struct engine *g, struct strview id, bool paused, bool *ret_changed,
                     struct err *e);
int engine_set_job_rate(struct engine *g, struct strview id, const struct rate *rate,
                        struct err *e);
struct jobs *engine_jobs(const struct engine *g);
struct limits *engine_limits(const struct engine *g);

/* What to delete: recipients that match everything given; text patterns with * and ?. */
struct engine_delete_filter {
    struct strview job, rcpt, sender; /* empty: any */
    message_id id;                    /* 0: any */
    struct strview queue_pattern;     /* empty: any */
};

/* READY and DEFERRED recipients that match end as deleted, or are only counted; done(arg, matched,
 * deleted) at the end, from the loop. What is being sent is left alone. */
void engine_delete(struct engine *g, const struct engine_delete_filter *filter, bool dry_run,
                   void (*done)(void *arg, uint64_t matched, uint64_t deleted), void *arg);

bool engine_pattern_matches(struct strview pattern, const char *queue_name);

/* The state that survives a restart, as text (one line each: "pipe", "queue PATTERN"). */
void engine_pauses_write(const struct engine *g, struct buf *out);
void engine_pauses_read(struct engine *g, struct strview text);

/* What cold virtual MTAs had, as text, and back; changed is told of each message that counts. */
void engine_cold_write(struct engine *g, struct buf *out);
void engine_cold_read(struct engine *g, struct strview text);
void engine_on_cold(struct engine *g, void (*changed)(void *arg), void *arg);

/* --- to look at it --- */

const struct index *engine_index(const struct engine *g);
const struct hash *engine_queues(const struct engine *g); /* nodes are struct queue.node */
struct queue *engine_find_queue(const struct engine *g, struct strview name);
uint32_t engine_connection_count(const struct engine *g);
uint32_t engine_max_connections(const struct engine *g); /* of the pipe; 0: no limit */
/* The queue of that name, made when there is none (it is forgotten again when it stays empty); NULL
 * when the virtual MTA is unknown. */
struct queue *engine_ask_queue(struct engine *g, struct strview domain, struct strview vmta);
struct limits *engine_limits(const struct engine *g);
struct pace *engine_pace(const struct engine *g);
struct config *engine_config(const struct engine *g);
struct spool *engine_spool(const struct engine *g);
const char *engine_pipe(const struct engine *g);
/* The pause pattern that stops this queue, or NULL. */
const char *engine_pause_pattern(const struct engine *g, const struct queue *q);
/* Calls fn for each open connection. */
void engine_connections(const struct engine *g,
                        void (*fn)(void *arg, const struct queue *q, const struct delivery_info *i),
                        void *arg);
int64_t engine_oldest_ms(const struct engine *g); /* 0 when nothing is queued */

/* How TLS to a host of a queue went, or why it was not even tried (need NULL, tls ""). Views are valid
 * during the call. */
struct tls_told {
    const char *host;
    struct strview peer_ip, source_ip;
    const struct tls_need *need;
    enum tls_result result;
    const char *tls; /* "TLSv1.3/CIPHER"; "" or NULL: in clear or not at all */
    const char *text;
};
struct tls_policy;
/* Tells all of it from now on; domain is the one that the MX hosts are of, policy may be NULL. */
void engine_on_tls(struct engine *g,
                   void (*told)(void *arg, struct strview domain, const struct tls_policy *policy,
                                const struct tls_told *t),
                   void *arg);

#endif
