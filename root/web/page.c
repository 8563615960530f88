/*
 * Pages; see page.h. The policy forbids everything but the style (by its hash), and a form that posts
 * to where the page came from; it is put together once.
 */
#include "page.h"

#include <sodium.h>
#include <stdio.h>

static const char style[] =
    ":root{color-scheme:light dark}"
    "body{margin:0;min-height:100vh;display:grid;place-items:center;"
    "font:1.0625rem/1.5 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;"
    "background:#f4f5f7;color:#1c2330}"
    "main{box-sizing:border-box;width:min(30rem,calc(100vw - 2rem));margin:1rem;padding:2.25rem;"
    "background:#fff;border:1px solid #dfe3e8;border-radius:.75rem;"
    "box-shadow:0 1px 2px #1c233014,0 8px 24px #1c23300f}"
    "h1{margin:0 0 .75rem;font-size:1.5rem;line-height:1.25;letter-spacing:-.01em}"
    "p{margin:0 0 1rem}p:last-child{margin:0}"
    "b{overflow-wrap:anywhere}"
    ".quiet{color:#5b6474;font-size:.9375rem}"
    "button{width:100%;margin:.5rem 0 1.25rem;padding:.8rem 1.25rem;border:0;border-radius:.5rem;"
    "font:inherit;font-weight:600;background:#1d4ed8;color:#fff;cursor:pointer}"
    "button:hover{background:#1e40af}"
    "button:focus-visible{outline:3px solid #93b4fd;outline-offset:2px}"
    "@media(prefers-color-scheme:dark){body{background:#12161d;color:#e8ebf0}"
    "main{background:#1b212b;border-color:#2d3644;box-shadow:none}"
    ".quiet{color:#a4adbb}button{background:#6d95fb;color:#0d1420}"
    "button:hover{background:#8fadfc}}";

void page_escape(struct buf *out, struct strview s)
{
    for (size_t i = 0; i < s.len; i++) {
        switch (s.ptr[i]) {
        case '<':
            buf_append_str(out, "&lt;");
            break;
        case '>':
            buf_append_str(out, "&gt;");
            break;
        case '&':
            buf_append_str(out, "&amp;");
            break;
        case '"':
            buf_append_str(out, "&quot;");
            break;
        case '\'':
            buf_append_str(out, "&#39;");
            break;
        default:
            buf_append_char(out, (unsigned char)s.ptr[i] < 0x20 ? ' ' : s.ptr[i]);
        }
    }
}

void page_put(struct buf *out, const char *title, struct strview text)
{
    buf_printf(out,
               "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
               "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
               "<meta name=\"robots\" content=\"noindex\">\n"
               "<title>%s</title>\n<style>%s</style>\n</head>\n<body>\n<main>\n<h1>%s</h1>\n",
               title, style, title);
    buf_append_sv(out, text);
    buf_append_str(out, "\n</main>\n</body>\n</html>\n");
}

const char *page_headers(void)
{
    static char headers[512];
    uint8_t hash[crypto_hash_sha256_BYTES];
    char base64[64];

    if (headers[0])
        return headers;
    crypto_hash_sha256(hash, (const uint8_t *)style, sizeof(style) - 1);
    sodium_bin2base64(base64, sizeof(base64), hash, sizeof(hash), sodium_base64_VARIANT_ORIGINAL);
    snprintf(headers, sizeof(headers),
             "Content-Security-Policy: default-src 'none'; style-src 'sha256-%s'; "
             "form-action 'self'; frame-ancestors 'none'; base-uri 'none'\n"
             "X-Frame-Options: DENY\nX-Robots-Tag: noindex\n",
             base64);
    return headers;
}
