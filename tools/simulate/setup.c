/*
 * From options to queued mail: the configuration, one engine per pipe over one table of limits (so
 * that pipes share them as in life), and the volumes accepted into the queues.
 */
#include "simulate.h"

#include "base/clock.h"
#include "base/log.h"

#include <fcntl.h>
#include <unistd.h>

/* --- pipes --- */

static bool is_pipe(const char *name)
{
    return config_has_section(sim.config, KIND_PIPE, sv_of(name));
}

static int add_pipe(const char *name, struct err *e)
{
    struct sim_pipe *p = &sim.pipes[sim.pipe_count];
    struct limit_table *table = NULL;
    int rc = 0;

    if (sim.pipe_count == LIMIT_TABLE_PROCESSES)
        return err_set(e, ERR_LIMIT, "more than %d pipes", LIMIT_TABLE_PROCESSES);
    rc = limit_table_map(&table, sim.limit_fd, (unsigned)sim.pipe_count, e);
    if (rc < 0)
        return rc;
    rc = report_new(&p->report, name, -1, e);
    if (rc < 0) {
        limit_table_free(table);
        return rc;
    }
    p->name = xstrdup(name);
    p->routes = routes_new(&sim.loop);
    p->spool = world_spool_new();
    p->delivery = peers_new();
    p->engine = engine_new(&(struct engine_parts){
        .loop = &sim.loop,
        .pipe = p->name,
        .delivery = p->delivery,
        .routes = p->routes,
        .limit_table = table,
    });
    engine_set_report(p->engine, p->report);
    engine_set_spool(p->engine, p->spool);
    engine_configure(p->engine, sim.config);
    sim.pipe_count++;
    return 0;
}

/* The pipe of that name, made when it is the first that wants it. */
static int find_pipe(const char *name, struct sim_pipe **ret, struct err *e)
{
    for (size_t i = 0; i < sim.pipe_count; i++) {
        *ret = &sim.pipes[i];
        if (strcmp(sim.pipes[i].name, name) == 0)
            return 0;
    }
    if (!is_pipe(name))
        return err_set(e, ERR_SYNTAX, "the configuration has no pipe '%.100s'", name);
    *ret = &sim.pipes[sim.pipe_count];
    return add_pipe(name, e);
}

static const char *default_pipe(void)
{
    const char *name = config_text(sim.config, NULL, DIR_DEFAULT_PIPE);
    const char *first = config_section_name(sim.config, KIND_PIPE, 0);
    return name && *name ? name : first;
}

/* --- rows --- */

struct row_key {
    const struct sim_pipe *pipe;
    struct strview domain;
};

static bool match_row(const struct hash_node *n, const void *arg)
{
    const struct row *r = container_of(n, struct row, node);
    const struct row_key *key = arg;
    return r->pipe == key->pipe && sv_eq(sv_of(r->domain), key->domain);
}

struct row *sim_find_row(const struct sim_pipe *p, struct strview domain)
{
    struct row_key key = {p, domain};
    struct hash_node *n = hash_find(&sim.rows_by_name, hash_bytes(domain.ptr, domain.len), &key);
    return n ? container_of(n, struct row, node) : NULL;
}

static const struct domain_option *accept_of(const char *domain)
{
    for (size_t i = 0; i < sim.options->accept_count; i++)
        if (strcmp(sim.options->accept[i].domain, domain) == 0)
            return &sim.options->accept[i];
    return NULL;
}

static struct row *get_row(struct sim_pipe *p, const char *domain)
{
    struct row *r = sim_find_row(p, sv_of(domain));

    if (r)
        return r;
    r = &sim.rows[sim.row_count++]; /* room for one per volume */
    r->pipe = p;
    r->domain = domain;
    r->accept = accept_of(domain);
    hash_insert(&sim.rows_by_name, &r->node, hash_bytes(domain, strlen(domain)));
    return r;
}

/* --- mail --- */

static char *copy_view(struct strview s)
{
    return s.len ? xstrndup(s.ptr, s.len) : NULL;
}

static bool same(const char *a, struct strview b)
{
    return sv_eq(sv_of(a), b);
}

/* What messages of this row that go this way have in common. */
static uint32_t get_variant(struct row *r, const struct envelope *env, struct body_cache *cache)
{
    for (size_t i = r->variant_count; i > 0; i--)
        if (same(r->variants[i - 1].chosen, env->chosen_vmta) &&
            same(r->variants[i - 1].of_rcpt, env->rcpts[0].vmta))
            return (uint32_t)(i - 1);
    r->variants = xrealloc(r->variants, (r->variant_count + 1) * sizeof(r->variants[0]));
    struct variant *v = &r->variants[r->variant_count];
    *v = (struct variant){
        .chosen = copy_view(env->chosen_vmta),
        .of_rcpt = copy_view(env->rcpts[0].vmta),
        .body = xcalloc(1, sizeof(*v->body)),
    };
    envelope_encode(&v->envelope, env);
    /* never freed by the engine: one reference is ours */
    *v->body = (struct body){.cache = cache, .envelope = buf_view(&v->envelope), .refs = 1};
    v->body->content = SV("Subject: x\r\n\r\n");
    return (uint32_t)r->variant_count++;
}

static void queue_volume(const struct volume *v, struct row *r, message_id *id)
{
    char address[300], number[16];
    struct engine *g = r->pipe->engine;
    struct envelope_rcpt rcpt = {0};

    snprintf(address, sizeof(address), "user@%s", v->domain);
    snprintf(number, sizeof(number), "%u", (unsigned)(r - sim.rows));
    for (uint64_t i = 0; i < v->count; i++) {
        rcpt = (struct envelope_rcpt){.address = sv_of(address)};
        struct envelope env = {
            .received_ms = sim.options->start_ms,
            .sender = SV("simulate@localhost"),
            .envid = sv_of(number),
            .vmta = sv_of(v->vmta),
            .content_bytes = 14,
            .rcpt_count = 1,
            .rcpts = &rcpt,
        };
        choose_vmta(g, &env);
        uint32_t variant = get_variant(r, &env, engine_body_cache(g));
        engine_accept(g, ++*id, &(struct spool_place){(uint32_t)(r - sim.rows), variant, 1}, &env,
                      body_ref(r->variants[variant].body));
    }
    r->messages += v->count;
    sim.live += v->count;
}

static int queue_all(struct err *e)
{
    message_id id = 0;

    sim.rows = xcalloc(sim.options->volume_count, sizeof(sim.rows[0]));
    for (size_t i = 0; i < sim.options->volume_count; i++) {
        const struct volume *v = &sim.options->volumes[i];
        struct sim_pipe *p = NULL;
        int rc = find_pipe(v->pipe ? v->pipe : default_pipe(), &p, e);
        if (rc < 0)
            return rc;
        if (v->vmta && !vmta_is_known(sim.config, sv_of(v->vmta)))
            return err_set(e, ERR_SYNTAX, "the configuration has no virtual MTA '%.100s'", v->vmta);
        queue_volume(v, get_row(p, v->domain), &id);
    }
    return 0;
}

/* --- all of it --- */

static int load(struct err *e)
{
    struct config_report report = {0};
    int rc = config_load(sim.options->config_dir, 1, &sim.config, &report);

    if (buf_len(&report.text))
        fwrite(buf_data(&report.text), 1, buf_len(&report.text), stderr);
    buf_free(&report.text);
    if (rc < 0)
        return err_set(e, rc, "the configuration '%.200s' is not usable", sim.options->config_dir);
    if (!default_pipe())
        return err_set(e, ERR_SYNTAX, "the configuration has no pipe");
    return 0;
}

static void be_quiet(void)
{
    if (!sim.options->verbose)
        log_set_fd(open("/dev/null", O_WRONLY | O_CLOEXEC));
}

int sim_init(const struct simulate_options *o, struct err *e)
{
    sim.options = o;
    sim.limit_fd = -1;
    hash_set_seed(1); /* the same every time; nobody chooses keys against it */
    hash_init(&sim.rows_by_name, match_row);
    log_set_process("simulate");
    clock_fake_set(o->start_ms);
    int rc = load(e);
    if (rc == 0)
        rc = limit_table_create(&sim.limit_fd, e);
    if (rc < 0)
        return rc;
    be_quiet();
    sim.pipes = xcalloc(LIMIT_TABLE_PROCESSES, sizeof(sim.pipes[0]));
    uv_loop_init(&sim.loop);
    return queue_all(e);
}

static void fini_row(struct row *r)
{
    for (size_t i = 0; i < r->variant_count; i++) {
        buf_free(&r->variants[i].envelope);
        free(r->variants[i].chosen);
        free(r->variants[i].of_rcpt);
        free(r->variants[i].body);
    }
    free(r->variants);
    for (size_t i = 0; i < r->queue_count; i++)
        free(r->queues[i]);
    free(r->queues);
    free(r->held);
}

void sim_fini(void)
{
    for (size_t i = 0; i < sim.pipe_count; i++) {
        struct sim_pipe *p = &sim.pipes[i];
        engine_free(p->engine);
        routes_free(p->routes);
        report_free(p->report);
        world_spool_free(p->spool);
        free(p->delivery);
        free(p->name);
    }
    for (size_t i = 0; i < sim.row_count; i++)
        fini_row(&sim.rows[i]);
    held_fini();
    hash_fini(&sim.rows_by_name);
    heap_fini(&sim.events);
    free(sim.rows);
    free(sim.pipes);
    uv_loop_close(&sim.loop);
    close(sim.limit_fd);
    config_unref(sim.config);
}
