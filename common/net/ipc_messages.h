/*
 * Every message that travels between our processes: one row each. From a row come the id, the
 * struct, encode, decode, the permission check and docs/ipc.md.
 *
 * MSG(name, id, from, to, fds, fields, help)
 *   from, to  masks of roles (ROLE_x bits) that may send and receive it
 *   fds       how many descriptors it carries at most (SCM_RIGHTS); 0 for none
 *   fields    F(type, name) …; types: u8 u16 u32 u64 i64, str (at most 64 KiB, text), bytes
 */
#ifndef PMTA_NET_IPC_MESSAGES_H
#define PMTA_NET_IPC_MESSAGES_H

/* ROLE(NAME, bit, "name as printed") */
#define IPC_ROLES(ROLE)           \
    ROLE(ROOT, 0, "root")         \
    ROLE(RECEIVER, 1, "receiver") \
    ROLE(PIPE, 2, "pipe")         \
    ROLE(RESOLVER, 3, "resolver") \
    ROLE(WEB, 4, "web")           \
    ROLE(SUPPRESS, 5, "suppress") \
    ROLE(SHIP, 6, "ship")

enum role {
#define ROLE_ENUM(name, bit, text) ROLE_##name = 1 << (bit),
    IPC_ROLES(ROLE_ENUM)
#undef ROLE_ENUM
        ROLE_CHILD = ROLE_RECEIVER | ROLE_PIPE | ROLE_RESOLVER | ROLE_WEB | ROLE_SUPPRESS | ROLE_SHIP,
    ROLE_GETS_FILES = ROLE_CHILD & ~ROLE_RESOLVER
};

/* clang-format off */
#define IPC_MESSAGES(MSG, F)                                                                       \
    /* control: root and one child */                                                              \
    MSG(hello, 1, ROLE_CHILD, ROLE_ROOT, 0,                                                        \
        F(str, build_id) F(u32, pid),                                                              \
        "first message of a child; root refuses a child of another build")                         \
    MSG(config, 2, ROLE_ROOT, ROLE_CHILD, 1,                                                       \
        F(u64, generation) F(u64, bytes),                                                          \
        "a configuration snapshot, sealed memfd; to be applied between two events")                \
    MSG(config_applied, 3, ROLE_CHILD, ROLE_ROOT, 0,                                               \
        F(u64, generation) F(str, trouble),                                                        \
        "answer to config; trouble is empty when it was applied")                                  \
    MSG(new_edge, 4, ROLE_ROOT, ROLE_CHILD, 1,                                                     \
        F(u8, peer_role) F(str, peer_name),                                                        \
        "one end of a SEQPACKET pair to that peer; replaces the edge that was there")              \
    MSG(listener, 5, ROLE_ROOT, ROLE_RECEIVER | ROLE_WEB, 3,                                                  \
        F(str, name) F(u8, has_tls),                                                               \
        "a listening socket, then certificate chain and key when has_tls")                         \
    MSG(directory, 6, ROLE_ROOT, ROLE_PIPE | ROLE_RESOLVER | ROLE_SUPPRESS | ROLE_SHIP, 1,         \
        F(str, purpose),                                                                           \
        "an open directory: 'spool' or 'accounting'; 'acct-file PATH', 'acct-move PATH', before the "  \
        "configuration that names them; for the resolver 'mta-sts', for suppress 'suppress', for a "   \
        "ship 'state'")                               \
    MSG(start, 7, ROLE_ROOT, ROLE_CHILD, 0,                                                        \
        F(u64, generation),                                                                        \
        "everything has been handed over: begin to work")                                          \
    MSG(ready, 8, ROLE_CHILD, ROLE_ROOT, 0,                                                        \
        F(str, note),                                                                              \
        "answer to start: working (a pipe: spool recovered)")                                      \
    MSG(fatal, 9, ROLE_CHILD, ROLE_ROOT, 0,                                                        \
        F(str, text),                                                                              \
        "why this child cannot start; root logs it and, at first start, gives up")                 \
    MSG(log_output, 10, ROLE_ROOT, ROLE_CHILD, 1,                                                  \
        F(u32, debug_mask),                                                                        \
        "where log lines go from now on, and which subsystems debug")                              \
    MSG(drain, 11, ROLE_ROOT, ROLE_CHILD, 0,                                                       \
        F(u64, timeout_ms),                                                                        \
        "finish what is under way within this time, sync, exit 0")                                 \
    MSG(admin_request, 12, ROLE_ROOT, ROLE_CHILD, 0,                                               \
        F(u64, token) F(u8, level) F(u32, uid) F(str, line),                                       \
        "one admin line as the operator sent it")                                                  \
    MSG(admin_reply, 13, ROLE_CHILD, ROLE_ROOT, 0,                                                 \
        F(u64, token) F(u8, last) F(bytes, text),                                                  \
        "JSON objects, one per line; last ends the answer of this child")                          \
    MSG(limit_table, 14, ROLE_ROOT, ROLE_PIPE, 1,                                                  \
        F(u32, share),                                                                             \
        "the table of limits that all pipes share, and the share of this pipe in it")              \
    MSG(files, 15, ROLE_ROOT, ROLE_GETS_FILES, 0,                                                  \
        F(u64, generation),                                                                        \
        "the files of that configuration follow, and then it; others are forgotten with it")       \
    MSG(file, 16, ROLE_ROOT, ROLE_GETS_FILES, 1,                                                   \
        F(u8, kind) F(str, name),                                                                  \
        "a file, open for reading, under the name that the configuration gives it (kind: enum "    \
        "file_kind: signing key, TLS, secret; the secret 'installation' keys addresses and hashes)") \
    /* receiver and pipe; a pipe whose notices go through another one */                           \
    MSG(submit, 20, ROLE_RECEIVER | ROLE_PIPE, ROLE_PIPE, 1,                                       \
        F(u64, token) F(u64, content_bytes) F(bytes, envelope) F(bytes, content),                  \
        "a message; content is inline, or in the file that comes with it when that is empty")      \
    MSG(submit_reply, 21, ROLE_PIPE, ROLE_RECEIVER | ROLE_PIPE, 0,                                             \
        F(u64, token) F(u16, code) F(str, text),                                                   \
        "SMTP reply code and text (with enhanced code); 250 only after the message is durable")    \
    MSG(file_request, 22, ROLE_RECEIVER, ROLE_PIPE, 0,                                             \
        F(u64, token),                                                                             \
        "asks for an unlinked temporary file in the pipe's spool, for a large body")               \
    MSG(file_reply, 23, ROLE_PIPE, ROLE_RECEIVER, 1,                                               \
        F(u64, token) F(u16, code) F(str, text),                                                   \
        "the file, or an SMTP reply code and text that say why not (code 0: here it is)")          \
    /* pipe and resolver */                                                                        \
    MSG(route_request, 30, ROLE_PIPE, ROLE_RESOLVER, 0,                                            \
        F(u64, token) F(u8, kind) F(u8, wants) F(u16, port) F(str, domain),                        \
        "where mail for a domain goes (kind: enum route_kind; wants: ROUTE_WANT_ bits, TLSA records "\
        "being those of this port)")                                                               \
    MSG(route_reply, 31, ROLE_RESOLVER, ROLE_PIPE, 0,                                              \
        F(u64, token) F(u8, status) F(u32, ttl_s) F(str, text) F(bytes, hosts)                     \
        F(bytes, policy),                                                                          \
        "status: enum route_status; hosts: see common/mail/route.h; policy: common/mail/tls_policy.h")\
    MSG(lookup_request, 32, ROLE_PIPE, ROLE_RESOLVER, 0,                                           \
        F(u64, token) F(u8, kind) F(str, name),                                                    \
        "a question to the DNS (kind: enum lookup_kind)")                                          \
    MSG(lookup_reply, 33, ROLE_RESOLVER, ROLE_PIPE, 0,                                             \
        F(u64, token) F(u8, status) F(u8, secure) F(u32, ttl_s) F(str, text) F(bytes, records),    \
        "status: enum lookup_status; records: see common/mail/lookup.h")                           \
    MSG(post_request, 34, ROLE_PIPE, ROLE_RESOLVER, 1,                                             \
        F(u64, token) F(str, url) F(str, content_type) F(bytes, body),                             \
        "an HTTPS POST (a TLS report); the body is inline, or in the file that comes with it")     \
    MSG(post_reply, 35, ROLE_RESOLVER, ROLE_PIPE, 0,                                               \
        F(u64, token) F(u16, http_status) F(str, text),                                            \
        "status of the answer, 0 when there was none; text: what went wrong")                      \
    /* the suppression list */                                                                     \
    MSG(suppress_table, 40, ROLE_SUPPRESS, ROLE_RECEIVER | ROLE_PIPE, 1,                           \
        F(u64, generation) F(u64, bytes),                                                          \
        "the list to look things up in (memfd, read only); replaces the one that was there")       \
    MSG(suppress_add, 41, ROLE_PIPE | ROLE_WEB, ROLE_SUPPRESS, 0,                                  \
        F(u64, token) F(u8, scope) F(u8, reason) F(i64, expires_ms) F(str, scope_name)             \
        F(str, address) F(str, note),                                                              \
        "scope: enum suppress_scope; reason: enum suppress_reason; expires_ms: wall clock, 0 never") \
    MSG(suppress_reply, 42, ROLE_SUPPRESS, ROLE_PIPE | ROLE_WEB, 0,                                \
        F(u64, token) F(u8, added) F(str, trouble),                                                \
        "answer to suppress_add when the entry is durable, or trouble says why it is not")
/* clang-format on */

#endif
