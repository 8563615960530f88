/*
 * Mail of our own; see own_mail.h. Who writes it owns the struct until `stored`; the spool writes
 * from its memory.
 */
#include "notice/own_mail.h"

#include "queue/choose.h"
#include "queue/vmta.h"

#include <stdio.h>

static void on_durable(struct spool_append *a, int status)
{
    struct own_mail *m = container_of(a, struct own_mail, append);
    m->stored(m, status);
}

static bool choose(struct own_mail *m, struct engine *g, const char *to_pipe)
{
    char name[300];

    if (!to_pipe)
        return choose_vmta(g, &m->env);
    int n = snprintf(name, sizeof(name), VMTA_PIPE "%.255s", to_pipe);
    m->env.chosen_vmta = arena_sv(&m->arena, sv(name, (size_t)n));
    return true;
}

void own_mail_store(struct own_mail *m, struct engine *g, const char *to_pipe)
{
    m->env.chosen_vmta = sv(NULL, 0);
    buf_reset(&m->envelope);
    envelope_encode(&m->envelope, &m->env);
    if (choose(m, g, to_pipe))
        envelope_append_choice(&m->envelope, &m->env);
    m->append = (struct spool_append){
        .envelope = buf_view(&m->envelope),
        .rcpt_count = m->env.rcpt_count,
        .content = buf_view(&m->content),
        .content_fd = -1,
        .content_bytes = buf_len(&m->content),
        .done = on_durable,
    };
    spool_append(engine_spool(g), &m->append);
}

void own_mail_accept(const struct own_mail *m, struct engine *g)
{
    engine_accept(g, m->append.id, &m->append.place, &m->env, NULL);
}

void own_mail_fini(struct own_mail *m)
{
    arena_free(&m->arena);
    buf_free(&m->content);
    buf_free(&m->envelope);
}
