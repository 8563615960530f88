/*
 * What signatures may need of messages, by pipe. Called when a configuration is taken over, and by
 * sessions for each message: pipes are few, so a walk over them is the look-up. The memory lives
 * until the next configuration.
 */
#include "receiver.h"

struct pipe_signing {
    struct pipe_signing *next;
    struct signing_needs needs;
    size_t name_len;
    char name[];
};

static struct pipe_signing *note(const struct config *cfg, const char *pipe)
{
    size_t len = strlen(pipe);
    struct pipe_signing *p = xcalloc(1, sizeof(*p) + len + 1);

    memcpy(p->name, pipe, len + 1);
    p->name_len = len;
    signing_needs(cfg, sv(pipe, len), &p->needs);
    return p;
}

void receiver_note_signing(struct receiver *r)
{
    const char *name;

    for (struct pipe_signing *p = r->signing, *next; p; p = next) {
        next = p->next;
        free(p);
    }
    struct pipe_signing **to = &(r->signing = note(r->config, ""))->next;
    if (!r->signing->needs.keys && !r->signing->needs.bimi && !r->signing->needs.unsubscribe)
        return; /* then it is so for every pipe */
    for (size_t i = 0; (name = config_section_name(r->config, KIND_PIPE, i)); i++) {
        *to = note(r->config, name);
        to = &(*to)->next;
    }
}

void receiver_signing_needs(const struct receiver *r, struct strview pipe,
                            struct signing_needs *ret)
{
    const struct pipe_signing *p = r->signing;

    if (pipe.len && p->next)
        for (p = p->next; p; p = p->next)
            if (sv_eq_nocase(sv(p->name, p->name_len), pipe))
                break;
    *ret = p ? p->needs : r->signing->needs;
}
