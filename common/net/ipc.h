/*
 * Edges: SOCK_SEQPACKET socket pairs between our processes, one frame per message, descriptors by
 * SCM_RIGHTS. A frame is u16 id, u16 reserved 0, u32 payload length, payload; integers little
 * endian; str and bytes are u32 length and the bytes.
 *
 * A bad frame (unknown id, sender not permitted by the row, bytes left over, descriptor missing)
 * closes the edge and never the process.
 */
#ifndef PMTA_NET_IPC_H
#define PMTA_NET_IPC_H

#include "base/buf.h"
#include "base/err.h"
#include "net/ipc_messages.h"

#include <uv.h>

enum {
    IPC_FRAME_MAX = 160 * 1024, /* one frame, header included */
    IPC_FDS_MAX = 4,
};

enum ipc_id {
#define IPC_ENUM(name, id, from, to, fds, fields, help) IPC_##name = (id),
#define IPC_NOFIELD(type, name)
    IPC_MESSAGES(IPC_ENUM, IPC_NOFIELD)
#undef IPC_ENUM
#undef IPC_NOFIELD
};

typedef uint8_t ipc_ctype_u8;
typedef uint16_t ipc_ctype_u16;
typedef uint32_t ipc_ctype_u32;
typedef uint64_t ipc_ctype_u64;
typedef int64_t ipc_ctype_i64;
typedef struct strview ipc_ctype_str;
typedef struct strview ipc_ctype_bytes;

/* struct ipc_<name> with one member per field; views in a decoded message point into the frame. */
#define IPC_MEMBER(type, name) ipc_ctype_##type name;
#define IPC_STRUCT(name, id, from, to, fds, fields, help) \
    struct ipc_##name {                                   \
        fields                                            \
    };
IPC_MESSAGES(IPC_STRUCT, IPC_MEMBER)
#undef IPC_STRUCT
#undef IPC_MEMBER

/* void ipc_encode_<name>(struct buf *out, const struct ipc_<name> *m): appends a whole frame.
 * int ipc_decode_<name>(struct strview frame, struct ipc_<name> *ret): 0 or ERR_PROTOCOL; the frame
 * must be of that id and be consumed whole. */
#define IPC_NOFIELD(type, name)
#define IPC_PROTOTYPES(name, id, from, to, fds, fields, help)            \
    void ipc_encode_##name(struct buf *out, const struct ipc_##name *m); \
    int ipc_decode_##name(struct strview frame, struct ipc_##name *ret) MUST_CHECK;
IPC_MESSAGES(IPC_PROTOTYPES, IPC_NOFIELD)
#undef IPC_PROTOTYPES
#undef IPC_NOFIELD

/* A received frame. Views that decode hands out point into `bytes`; whoever needs them after the
 * callback takes a reference (a message body travels from the socket to the spool and the first
 * delivery without being copied). Loop thread only. */
struct ipc_frame {
    uint32_t refs;
    uint16_t id;
    uint8_t fd_count;
    int fds[IPC_FDS_MAX]; /* owned by the frame; take one with ipc_frame_take_fd */
    struct strview bytes; /* whole frame with its header */
};

struct ipc_frame *ipc_frame_ref(struct ipc_frame *f);
/* Frees with the last reference and closes the descriptors that nobody took. NULL is fine. */
void ipc_frame_unref(struct ipc_frame *f);
/* Descriptor number i, now the caller's; -1 when there is none. */
int ipc_frame_take_fd(struct ipc_frame *f, unsigned i);

/* Name of a message id or role, for logs; "?" when unknown. */
const char *ipc_name(unsigned id);
const char *ipc_role_name(enum role role);

/* What a receiver checks before a frame is handed out: header, known id, and that the row lets
 * `sender` send it to `receiver` with that many descriptors. 0 or ERR_PROTOCOL; *ret_id is the id.
 */
int ipc_frame_check(struct strview frame, enum role sender, enum role receiver, unsigned fd_count,
                    uint16_t *ret_id) MUST_CHECK;

struct ipc_edge;

struct ipc_edge_ops {
    /* A frame whose sender was permitted; decode it with ipc_decode_<name>. The frame is unref'd
     * after the call. Returns 0, or negative: the peer broke the protocol, close the edge. */
    int (*frame)(void *owner, struct ipc_edge *edge, struct ipc_frame *frame);
    /* The peer is gone or broke the protocol (code says which). Fires once, never inside a call of
     * this interface; the edge is closed already, the owner drops its pointer. */
    void (*down)(void *owner, struct ipc_edge *edge, int code);
    /* Output fell below the low-water mark after ipc_edge_congested was true. May be NULL. */
    void (*drained)(void *owner, struct ipc_edge *edge);
};

/* Takes fd (made non-blocking). self and peer are the roles at the two ends. Reads begin at the
 * next turn of the loop. Never NULL. */
struct ipc_edge *ipc_edge_open(uv_loop_t *loop, int fd, enum role self, enum role peer,
                               const struct ipc_edge_ops *ops, void *owner);

/* Idempotent; frees later, when libuv is done. No callback fires afterwards. NULL is fine. */
void ipc_edge_close(struct ipc_edge *e);

/* Queues one encoded frame and at most IPC_FDS_MAX descriptors; fds are duplicated, they stay the
 * caller's. What the socket does not take now waits in memory, in order. Returns 0 or ERR_LIMIT
 * when the frame is over IPC_FRAME_MAX. Nothing happens on an edge that is down. */
int ipc_edge_send(struct ipc_edge *e, const struct buf *frame, const int *fds, unsigned fd_count);

/* Encodes and sends a struct ipc_<name>: ipc_send(edge, ready, &(struct ipc_ready){…}). */
#define ipc_send(edge, name, ...) ipc_send_fds(edge, name, (__VA_ARGS__), NULL, 0)
#define ipc_send_fds(edge, name, msg, fds, fd_count)     \
    do {                                                 \
        struct buf ipc_frame_ = {0};                     \
        ipc_encode_##name(&ipc_frame_, (msg));           \
        ipc_edge_send(edge, &ipc_frame_, fds, fd_count); \
        buf_free(&ipc_frame_);                           \
    } while (0)

/* More than the high-water mark (1 MiB) waits in memory: stop producing until drained(). */
bool ipc_edge_congested(const struct ipc_edge *e);

/* Bytes that wait in memory for the socket; 0: the kernel has everything. */
size_t ipc_edge_pending(const struct ipc_edge *e);

/* A connected SEQPACKET pair, both ends close-on-exec and non-blocking. 0 or -errno. */
int ipc_pair(int ret_fds[2]);

#endif
