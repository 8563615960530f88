/*
 * Bodies in memory; see body.h.
 */
#include "queue/body.h"

struct body *body_keep(struct body_cache *cache, struct ipc_frame *frame, struct strview envelope,
                       struct strview content)
{
    if (cache->bytes + frame->bytes.len > cache->max_bytes)
        return NULL;
    struct body *b = xmalloc(sizeof(*b));
    *b = (struct body){.cache = cache,
                       .frame = ipc_frame_ref(frame),
                       .envelope = envelope,
                       .content = content,
                       .refs = 1};
    cache->bytes += frame->bytes.len;
    return b;
}

void body_own_envelope(struct body *b, struct buf *envelope)
{
    b->own = *envelope;
    *envelope = (struct buf){0};
    b->envelope = buf_view(&b->own);
}

struct body *body_ref(struct body *b)
{
    b->refs++;
    return b;
}

void body_unref(struct body *b)
{
    if (!b || --b->refs)
        return;
    b->cache->bytes -= b->frame->bytes.len;
    ipc_frame_unref(b->frame);
    buf_free(&b->own);
    free(b);
}
