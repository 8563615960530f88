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
    *b = (struct body){cache, ipc_frame_ref(frame), envelope, content, 1};
    cache->bytes += frame->bytes.len;
    return b;
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
    free(b);
}
