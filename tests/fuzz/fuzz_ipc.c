/*
 * The frame check and the decoder of every message id, on any bytes.
 */
#include "net/ipc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile size_t sink;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct strview frame = sv((const char *)data, size);
    uint16_t id;
    sink += (size_t)ipc_frame_check(frame, ROLE_RECEIVER, ROLE_PIPE, 1, &id);
    sink += strlen(ipc_name(id));
/* touches every byte that a view claims to have, so that a sanitizer sees a wrong one */
#define TOUCH_u8(v)       (size_t)(v)
#define TOUCH_u16(v)      (size_t)(v)
#define TOUCH_u32(v)      (size_t)(v)
#define TOUCH_u64(v)      (size_t)(v)
#define TOUCH_i64(v)      (size_t)(v)
#define TOUCH_bytes(v)    ((v).len ? (size_t)memchr((v).ptr, 1, (v).len) : 0)
#define TOUCH_str(v)      TOUCH_bytes(v)
#define TOUCH(type, name) sink += TOUCH_##type(m.name);
#define ONE(name, number, from, to, fds, fields, help) \
    {                                                  \
        struct ipc_##name m;                           \
        if (ipc_decode_##name(frame, &m) == 0) {       \
            fields                                     \
        }                                              \
    }
    IPC_MESSAGES(ONE, TOUCH)
    return 0;
}
