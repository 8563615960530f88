/*
 * Writes TLS reports; see letter.h. Called once a day for each domain that wants one.
 */
#include "tlsrpt/letter.h"

#include "base/clock.h"

#include <stdio.h>
#include <time.h>
#include <zlib.h>

enum { DAY_S = 86400, LINE_BYTES = 57 }; /* 76 characters of base 64 */

static void iso(int64_t second, char out[32])
{
    time_t t = (time_t)second;
    struct tm tm;
    gmtime_r(&t, &tm);
    strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

static void report_id(const struct tlsrpt_report *r, char *out, size_t size)
{
    snprintf(out, size, "%lld.%s.%s@%s", (long long)(r->day * DAY_S), r->pipe, r->domain,
             r->organization);
}

/* One policy as section 4.4 has it, from how it was counted. */
static json_t *policy_object(const json_t *p)
{
    json_t *o = json_object(), *summary = json_object();

    json_object_set(o, "policy", json_object_get(p, "policy"));
    json_object_set(summary, "total-successful-session-count", json_object_get(p, "ok"));
    json_object_set(summary, "total-failure-session-count", json_object_get(p, "failed"));
    json_object_set_new(o, "summary", summary);
    if (json_array_size(json_object_get(p, "details")))
        json_object_set(o, "failure-details", json_object_get(p, "details"));
    return o;
}

static char *report_text(const struct tlsrpt_report *r)
{
    char begin[32], end[32], id[TLSRPT_NAME_SIZE];
    json_t *list = json_array(), *p;
    size_t i;

    iso(r->day * DAY_S, begin);
    iso(r->day * DAY_S + DAY_S - 1, end);
    report_id(r, id, sizeof(id));
    json_array_foreach(r->policies, i, p) json_array_append_new(list, policy_object(p));
    json_t *o = json_pack("{s:s, s:{s:s, s:s}, s:s, s:s, s:o}", "organization-name",
                          r->organization, "date-range", "start-datetime", begin, "end-datetime",
                          end, "contact-info", r->contact, "report-id", id, "policies", list);
    BUG_ON(!o);
    char *text = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    BUG_ON(!text);
    return text;
}

void tlsrpt_compress(const struct tlsrpt_report *r, struct buf *out)
{
    char *text = report_text(r);
    size_t len = strlen(text);
    z_stream z = {0};

    BUG_ON(deflateInit2(&z, Z_BEST_COMPRESSION, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) !=
           Z_OK); /* +16: gzip */
    size_t room = deflateBound(&z, len);
    z.next_in = (unsigned char *)text;
    z.avail_in = (unsigned)len;
    z.next_out = (unsigned char *)buf_reserve(out, room);
    z.avail_out = (unsigned)room;
    BUG_ON(deflate(&z, Z_FINISH) != Z_STREAM_END);
    buf_advance(out, z.total_out);
    deflateEnd(&z);
    free(text);
}

void tlsrpt_file_name(const struct tlsrpt_report *r, char out[TLSRPT_NAME_SIZE])
{
    snprintf(out, TLSRPT_NAME_SIZE, "%.255s!%.255s!%lld!%lld!%.80s.json.gz", r->organization,
             r->domain, (long long)(r->day * DAY_S), (long long)(r->day * DAY_S + DAY_S - 1),
             r->pipe);
}

static void put_base64(struct strview s, struct buf *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (size_t i = 0; i < s.len; i += 3) {
        uint32_t n = 0;
        for (size_t k = 0; k < 3; k++)
            n = n << 8 | (i + k < s.len ? (unsigned char)s.ptr[i + k] : 0);
        for (size_t k = 0; k < 4; k++)
            buf_append_char(out, i + k > s.len ? '=' : digits[n >> (18 - 6 * k) & 63]);
        if ((i + 3) % LINE_BYTES == 0 || i + 3 >= s.len)
            buf_append_str(out, "\r\n");
    }
}

static void put_header(const struct tlsrpt_report *r, const char *boundary, int64_t now_ms,
                       struct envelope *env, struct buf *out)
{
    char date[CLOCK_RFC5322_SIZE], id[TLSRPT_NAME_SIZE];

    report_id(r, id, sizeof(id));
    buf_printf(out, "Date: %s\r\nFrom: <%s>\r\nTo: ", clock_rfc5322(now_ms, date), r->from);
    for (uint32_t i = 0; i < env->rcpt_count; i++)
        buf_printf(out, "%s<%.*s>", i ? ",\r\n " : "", SV_ARG(env->rcpts[i].address));
    buf_printf(
        out,
        "\r\nSubject: Report Domain: %s\r\n Submitter: %s\r\n Report-ID: <%s>\r\n"
        "Message-ID: <tlsrpt.%s>\r\n"
        "TLS-Report-Domain: %s\r\nTLS-Report-Submitter: %s\r\n"
        "TLS-Required: No\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n"
        "Content-Type: multipart/report; report-type=\"tlsrpt\";\r\n boundary=\"%s\"\r\n\r\n",
        r->domain, r->organization, id, id, r->domain, r->organization, boundary);
    env->header_bytes = (uint32_t)buf_len(out);
}

void tlsrpt_letter(const struct tlsrpt_report *r, struct strview gz, const char *const *to,
                   size_t count, struct arena *a, struct buf *content, struct envelope *env)
{
    char boundary[64], name[TLSRPT_NAME_SIZE];

    /* RFC 8460 section 3: reports are delivered whatever is wrong with TLS on their way */
    *env = (struct envelope){.received_ms = clock_wall_ms(),
                             .source = SV("{tls-report}"),
                             .flags = ENVELOPE_TLS_OPTIONAL};
    env->rcpts = arena_alloc(a, (count + 1) * sizeof(env->rcpts[0]));
    for (size_t i = 0; i < count; i++)
        env->rcpts[env->rcpt_count++] =
            (struct envelope_rcpt){.address = arena_sv(a, sv_of(to[i])), .notify = NOTIFY_NEVER};
    snprintf(boundary, sizeof(boundary), "=_tlsrpt_%lld_%zu", (long long)r->day, gz.len);
    put_header(r, boundary, env->received_ms, env, content);
    tlsrpt_file_name(r, name);
    buf_printf(content,
               "--%s\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n"
               "This is a report about TLS on the way to the mail servers of %s,\r\n"
               "as RFC 8460 describes it. It is from %s.\r\n\r\n"
               "--%s\r\nContent-Type: application/tlsrpt+gzip\r\n"
               "Content-Transfer-Encoding: base64\r\n"
               "Content-Disposition: attachment;\r\n filename=\"%s\"\r\n\r\n",
               boundary, r->domain, r->organization, boundary, name);
    put_base64(gz, content);
    buf_printf(content, "\r\n--%s--\r\n", boundary);
    env->content_bytes = buf_len(content);
}
