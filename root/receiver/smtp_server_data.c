/*
 * DATA and BDAT: from the first byte of a message to its last. Called by smtp_server.c.
 *
 * Happy path: our Received field is put in front, each piece of input goes through data_scan into
 * the content, header_scan looks for the end of the header block, smtp_server_route chooses the
 * pipe. A message that outgrows SMTP_INLINE_MAX asks the owner for a file and hands pieces to it.
 * What is wrong with a message is noted once (tx.refusal); the rest of it is swallowed, so that its
 * end is found where the client put it, and then it is refused.
 *
 * A chunk of BDAT whose length cannot be read, and a message that goes on far beyond the largest
 * size, end the session: from there on nobody knows what is command and what is content.
 */
#include "smtp_server_internal.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>

/* What may come beyond the largest message before the session is closed. */
enum { OVERRUN_BYTES = 1024 * 1024 };

enum { END_OF_DATA_BYTES = 3 };

static const char over_memory[] = "452 4.3.1 Too much mail is being received, try again later";
static const char too_large[] = "552 5.3.4 Message is larger than is accepted here";

/* RFC 3848, RFC 6531 section 4.3 */
static const char *protocol(const struct smtp_server *s)
{
    static const char *const names[2][4] = {
        {"ESMTP", "ESMTPS", "ESMTPA", "ESMTPSA"},
        {"UTF8SMTP", "UTF8SMTPS", "UTF8SMTPA", "UTF8SMTPSA"},
    };
    if (!s->esmtp)
        return "SMTP";
    bool utf8 = s->tx.envelope.flags & ENVELOPE_SMTPUTF8;
    return names[utf8][(s->tls[0] != 0) + 2 * (s->user[0] != 0)];
}

static void put_received(struct smtp_server *s)
{
    const struct envelope *env = &s->tx.envelope;
    struct buf *out = &s->tx.content;
    char date[CLOCK_RFC5322_SIZE];

    buf_printf(out, "Received: from %s ([%s%s])", s->helo[0] ? s->helo : "unknown",
               strchr(s->client, ':') ? "IPv6:" : "", s->client);
    if (s->tls[0])
        buf_printf(out, "\r\n\t(%s)", s->tls);
    buf_printf(out, "\r\n\tby %s (PipeMTA) with %s id %s.%" PRIu64, s->settings->host_name,
               protocol(s), s->id, s->messages + 1);
    if (env->rcpt_count == 1)
        buf_printf(out, "\r\n\tfor <%.*s>", SV_ARG(env->rcpts[0].address));
    buf_printf(out, ";\r\n\t%s\r\n", clock_rfc5322(clock_wall_ms(), date));
}

static void begin_content(struct smtp_server *s, bool bdat)
{
    const struct smtp_server_settings *set = s->settings;
    struct smtp_transaction *tx = &s->tx;
    struct signing_needs needs;

    buf_reset(&tx->content);
    put_received(s);
    tx->trace_bytes = (uint32_t)buf_len(&tx->content);
    header_scan_reset(&tx->header, tx->trace_bytes, set->max_header_bytes);
    s->ops->signing_needs(s->owner, sv(NULL, 0), &needs);
    tx->header.take_bimi = needs.bimi;
    tx->header.take_list = needs.take_list;
    data_scan_reset(&tx->scan, bdat, set->fix_lone_lf, set->max_line_bytes);
    tx->begun = true;
}

void smtp_server_account(struct smtp_server *s)
{
    struct smtp_transaction *tx = &s->tx;
    size_t now = buf_len(&tx->content) + tx->piece_bytes;

    s->shared->buffered_bytes += now - tx->accounted; /* wraps back when it is less */
    tx->accounted = now;
}

void smtp_server_refuse_message(struct smtp_server *s, enum smtp_trouble why, const char *text)
{
    struct smtp_transaction *tx = &s->tx;

    if (!tx->refusal[0]) {
        tx->refusal_trouble = why;
        snprintf(tx->refusal, sizeof(tx->refusal), "%s", text);
    }
    buf_reset(&tx->content);
    smtp_server_account(s);
}

bool smtp_server_file_busy(const struct smtp_server *s)
{
    return s->tx.file_asked || s->tx.piece_out;
}

bool smtp_server_content_full(const struct smtp_server *s)
{
    return smtp_server_file_busy(s) && buf_len(&s->tx.content) >= SMTP_CONTENT_HIGH;
}

static size_t inline_max(const struct smtp_transaction *tx)
{
    return MIN_OF((size_t)SMTP_INLINE_MAX, SMTP_FRAME_ROOM - tx->envelope_bytes);
}

/* Asks for the file when the content outgrew the frame, and for a write when there is a piece. */
static void feed_file(struct smtp_server *s)
{
    struct smtp_transaction *tx = &s->tx;

    if (tx->refusal[0] || !tx->routed || smtp_server_file_busy(s))
        return;
    if (!tx->file_open) {
        if (buf_len(&tx->content) <= inline_max(tx))
            return;
        tx->file_asked = true;
        smtp_server_want(s, SMTP_WANT_FILE);
    } else if (buf_len(&tx->content) >= SMTP_CONTENT_PIECE) {
        tx->piece_out = true;
        smtp_server_want(s, SMTP_WANT_CONTENT);
    }
}

/* Everything of the message is here: refuses it, waits for the file, or submits. May come again
 * from FLUSH. */
static void complete(struct smtp_server *s)
{
    struct smtp_transaction *tx = &s->tx;

    if (s->state != STATE_FLUSH)
        smtp_server_hear_event(s, "content of %" PRIu64 " bytes", tx->received_bytes);
    if (!tx->refusal[0] && !tx->routed) {
        if (header_scan_finish(&tx->header, &tx->content) == HEADER_TOO_LARGE)
            smtp_server_refuse_message(s, TROUBLE_SIZE, "552 5.3.4 Header block is too large");
        else
            smtp_server_route(s);
        smtp_server_account(s);
    }
    smtp_server_hash(s);
    feed_file(s);
    if (smtp_server_file_busy(s)) {
        if (s->state != STATE_FLUSH)
            smtp_server_enter(s, STATE_FLUSH);
    } else if (tx->refusal[0]) {
        char text[SMTP_REPLY_MAX];
        memcpy(text, tx->refusal, sizeof(text));
        smtp_server_refuse(s, tx->refusal_trouble, text);
        smtp_server_end_transaction(s);
    } else {
        smtp_server_submit(s);
    }
}

static void end_of_chunk(struct smtp_server *s)
{
    struct smtp_transaction *tx = &s->tx;
    char text[64];

    if (tx->chunk_refused) {
        complete(s);
        return;
    }
    if (tx->chunk_last && !tx->refusal[0])
        data_scan_finish(&tx->scan, &tx->content);
    if (tx->scan.fault == DATA_BARE_CR)
        smtp_server_refuse_message(s, TROUBLE_CONTENT, "550 5.6.0 Message contains a bare CR");
    if (tx->chunk_last || tx->refusal[0]) {
        complete(s);
        return;
    }
    smtp_server_enter(s, STATE_CHUNKS);
    snprintf(text, sizeof(text), "250 2.0.0 Ok, %" PRIu64 " octets so far", tx->received_bytes);
    smtp_server_reply(s, text);
}

static void check_scan(struct smtp_server *s)
{
    char text[80];

    switch (s->tx.scan.fault) {
    case DATA_OK:
        break;
    case DATA_BARE_CR:
        smtp_server_refuse_message(s, TROUBLE_CONTENT, "550 5.6.0 Message contains a bare CR");
        break;
    case DATA_BARE_LF:
        smtp_server_refuse_message(s, TROUBLE_CONTENT, "550 5.6.0 Message contains a bare LF");
        break;
    case DATA_NUL:
        smtp_server_refuse_message(s, TROUBLE_CONTENT, "550 5.6.0 Message contains a NUL");
        break;
    case DATA_LONG_LINE:
        snprintf(text, sizeof(text), "550 5.6.0 Message has a line longer than %u bytes",
                 (unsigned)s->settings->max_line_bytes);
        smtp_server_refuse_message(s, TROUBLE_CONTENT, text);
        break;
    }
}

/* RFC 1870 section 3: dots that are stuffed and the end of data do not count. */
static void check_size(struct smtp_server *s, bool ended)
{
    struct smtp_transaction *tx = &s->tx;
    uint64_t size = tx->received_bytes;

    if (!tx->scan.bdat) {
        size -= MIN_OF(size, tx->scan.stuffed_dots);
        size -= MIN_OF(size, (uint64_t)END_OF_DATA_BYTES * ended);
    }
    uint64_t max = smtp_server_max_bytes(s);
    if (size > max + (!ended && !tx->scan.bdat ? END_OF_DATA_BYTES : 0))
        smtp_server_refuse_message(s, TROUBLE_SIZE, too_large);
}

static void check_header(struct smtp_server *s)
{
    struct smtp_transaction *tx = &s->tx;

    if (tx->routed)
        return;
    enum header_status status = header_scan_feed(&tx->header, &tx->content);
    if (status == HEADER_TOO_LARGE)
        smtp_server_refuse_message(s, TROUBLE_SIZE, "552 5.3.4 Header block is too large");
    else if (status == HEADER_DONE)
        smtp_server_route(s);
}

void smtp_server_hash(struct smtp_server *s)
{
    struct smtp_transaction *tx = &s->tx;

    if (!tx->hash || tx->refusal[0])
        return;
    size_t from = (size_t)(tx->hashed_bytes - tx->filed_bytes), len = buf_len(&tx->content);
    body_hash_feed(tx->hash, buf_data(&tx->content) + from, len - from);
    tx->hashed_bytes = tx->filed_bytes + len;
}

/* One piece through the scanner. Returns how much was taken. */
static size_t take_piece(struct smtp_server *s, const char *in, size_t len, bool *ret_ended)
{
    struct smtp_transaction *tx = &s->tx;
    size_t used = data_scan(&tx->scan, in, len, tx->refusal[0] ? NULL : &tx->content, ret_ended);

    tx->received_bytes += used;
    check_scan(s);
    check_size(s, *ret_ended);
    if (!tx->refusal[0])
        check_header(s);
    smtp_server_hash(s);
    smtp_server_account(s);
    if (!tx->refusal[0] && s->shared->buffered_bytes > s->shared->max_buffered_bytes)
        smtp_server_refuse_message(s, TROUBLE_MEMORY, over_memory);
    feed_file(s);
    return used;
}

static bool overrun(struct smtp_server *s)
{
    if (s->tx.received_bytes <= smtp_server_max_bytes(s) + OVERRUN_BYTES)
        return false;
    smtp_server_close(s, TROUBLE_SIZE, too_large);
    return true;
}

size_t smtp_server_take_content(struct smtp_server *s, const char *in, size_t len)
{
    struct smtp_transaction *tx = &s->tx;
    bool ended = false;

    if (s->state == STATE_DATA) {
        size_t used = take_piece(s, in, len, &ended);
        if (!overrun(s) && ended)
            complete(s);
        return used;
    }
    len = (size_t)MIN_OF((uint64_t)len, tx->chunk_left);
    if (tx->chunk_refused)
        tx->received_bytes += len;
    else
        take_piece(s, in, len, &ended);
    tx->chunk_left -= len;
    if (!overrun(s) && tx->chunk_left == 0)
        end_of_chunk(s);
    return len;
}

void smtp_server_data(struct smtp_server *s, struct strview args)
{
    if (args.len) {
        smtp_server_refuse(s, TROUBLE_SYNTAX, "501 5.5.4 DATA has no parameters");
    } else if (s->state == STATE_MAIL) {
        smtp_server_refuse(s, TROUBLE_SEQUENCE, "554 5.5.1 No valid recipients");
    } else if (s->shared->buffered_bytes >= s->shared->max_buffered_bytes) {
        smtp_server_refuse(s, TROUBLE_MEMORY, over_memory);
    } else {
        begin_content(s, false);
        smtp_server_enter(s, STATE_DATA);
        smtp_server_reply(s, "354 End data with <CR><LF>.<CR><LF>");
    }
}

/* The chunk follows whatever we think of it (RFC 3030 section 2), so it is taken and then refused.
 */
static void refuse_chunk(struct smtp_server *s, enum smtp_trouble why, const char *text)
{
    s->tx.chunk_refused = true;
    smtp_server_refuse_message(s, why, text);
}

void smtp_server_bdat(struct smtp_server *s, struct strview args)
{
    struct smtp_transaction *tx = &s->tx;
    uint64_t max = smtp_server_max_bytes(s);

    if (!smtp_bdat_parse(args, &tx->chunk_left, &tx->chunk_last)) {
        smtp_server_close(s, TROUBLE_SYNTAX, "501 5.5.4 Syntax: BDAT size [LAST]");
        return;
    }
    if (tx->chunk_left > max + OVERRUN_BYTES) {
        smtp_server_close(s, TROUBLE_SIZE, too_large);
        return;
    }
    if (s->state == STATE_MAIL)
        refuse_chunk(s, TROUBLE_SEQUENCE, "554 5.5.1 No valid recipients");
    else if (s->state != STATE_RCPT && s->state != STATE_CHUNKS)
        refuse_chunk(s, TROUBLE_SEQUENCE, "503 5.5.1 Bad sequence of commands");
    else if (tx->received_bytes + tx->chunk_left > max)
        refuse_chunk(s, TROUBLE_SIZE, too_large);
    else if (!tx->begun && s->shared->buffered_bytes >= s->shared->max_buffered_bytes)
        refuse_chunk(s, TROUBLE_MEMORY, over_memory);
    else if (!tx->begun)
        begin_content(s, true);
    smtp_server_enter(s, STATE_CHUNK);
    if (tx->chunk_left == 0)
        end_of_chunk(s);
}

/* --- the owner's file --- */

static void file_answer(struct smtp_server *s, unsigned code, struct strview text)
{
    char reply[SMTP_REPLY_MAX];

    if (code) {
        bool ours = code >= 400 && code <= 599;
        snprintf(reply, sizeof(reply), "%u %.*s", ours ? code : 451,
                 SV_ARG(ours ? text : SV("4.3.0 Cannot store the message, try again later")));
        smtp_server_refuse_message(s, TROUBLE_PIPE, reply);
    }
    smtp_server_account(s);
    s->active_ms = clock_mono_ms();
    if (s->state == STATE_FLUSH)
        complete(s);
    else
        feed_file(s);
}

void smtp_server_file_done(struct smtp_server *s, unsigned code, struct strview text)
{
    if (!s->tx.file_asked)
        return;
    s->tx.file_asked = false;
    s->tx.file_open = code == 0;
    file_answer(s, code, text);
}

void smtp_server_content_take(struct smtp_server *s, struct buf *ret)
{
    struct smtp_transaction *tx = &s->tx;

    *ret = tx->content;
    tx->content = (struct buf){0};
    tx->piece_bytes = buf_len(ret);
    tx->filed_bytes += buf_len(ret);
    smtp_server_account(s);
}

void smtp_server_content_done(struct smtp_server *s, unsigned code, struct strview text)
{
    s->tx.piece_bytes = 0;
    if (!s->tx.piece_out)
        return;
    s->tx.piece_out = false;
    file_answer(s, code, text);
}
