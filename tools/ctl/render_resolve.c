/*
 * The page of `pmtactl resolve`: for each place where the mail would go its hosts and addresses in
 * the order of the answer, what the policies ask for, and the TLSA records.
 */
#include "render.h"

#include <stdio.h>

static void named_line(struct page *p, const char *name, enum colour c, const char *text)
{
    struct buf clean = {0};

    page_clean(&clean, text);
    page_printf(p, "  %-8s ", name);
    page_text(p, c, buf_data(&clean));
    buf_append_char(&p->out, '\n');
    buf_free(&clean);
}

static void heading(struct page *p, const json_t *o)
{
    const char *kind = field_text(o, "kind"), *name = field_text(o, "name");
    char age[HUMAN_SIZE], tail[2 * HUMAN_SIZE + 32] = "";
    struct buf text = {0};
    int64_t port, ttl;

    if (field_number(o, "port", &port))
        snprintf(tail, sizeof(tail), ", port %lld", (long long)port);
    buf_append_str(&text, !kind                          ? "mail to "
                          : strcmp(kind, "mx") == 0      ? "MX hosts of "
                          : strcmp(kind, "address") == 0 ? "address "
                                                         : "host ");
    page_clean(&text, name ? name : "?");
    buf_append_str(&text, tail);
    if (field_number(o, "ttl_s", &ttl))
        buf_printf(&text, ", known for %s", human_duration(ttl * 1000, age));
    page_heading(p, buf_data(&text));
    buf_free(&text);
}

static void sts_line(struct page *p, const json_t *o)
{
    const json_t *sts = json_object_get(o, "mta_sts");
    const char *mode = field_text(sts, "mode"), *failure = field_text(sts, "failure");
    char age[HUMAN_SIZE];
    struct buf text = {0};
    int64_t max_age;
    size_t i;
    json_t *mx;

    if (!sts || !mode) {
        if (json_is_true(json_object_get(o, "use_mta_sts")) ||
            json_is_true(json_object_get(o, "with_mta_sts")))
            named_line(p, "MTA-STS", COLOUR_DIM, "no policy");
        return;
    }
    buf_append_str(&text, mode);
    if (field_text(sts, "id") && *field_text(sts, "id"))
        buf_printf(&text, ", id %s", field_text(sts, "id"));
    if (field_number(sts, "max_age_s", &max_age) && max_age)
        buf_printf(&text, ", for %s", human_duration(max_age * 1000, age));
    json_array_foreach(json_object_get(sts, "mx"), i, mx) buf_printf(
        &text, "%s%s", i ? ", " : ": ", json_string_value(mx) ? json_string_value(mx) : "?");
    if (strcmp(mode, "none") != 0 || !failure || !*failure)
        named_line(p, "MTA-STS", strcmp(mode, "enforce") == 0 ? COLOUR_GOOD : COLOUR_NONE,
                   buf_data(&text));
    if (failure && *failure)
        named_line(p, "MTA-STS", COLOUR_BAD, failure);
    buf_free(&text);
}

static void facts(struct page *p, const json_t *o)
{
    const json_t *secure = json_object_get(o, "mx_secure");
    const char *status = field_text(o, "status"), *text = field_text(o, "text");

    if (field_text(o, "queue_to"))
        named_line(p, "queue-to", COLOUR_NONE, field_text(o, "queue_to"));
    if (status && strcmp(status, "ok") != 0) {
        struct buf why = {0};
        buf_printf(&why, "%s%s%s", status, text && *text ? ": " : "", text ? text : "");
        named_line(p, "no route", COLOUR_BAD, buf_data(&why));
        buf_free(&why);
        return;
    }
    if (secure)
        named_line(p, "DNSSEC", json_is_true(secure) ? COLOUR_GOOD : COLOUR_DIM,
                   json_is_true(secure) ? "the MX answer is validated"
                                        : "the MX answer is not validated");
    if (json_is_false(json_object_get(o, "use_starttls")))
        named_line(p, "TLS", COLOUR_WARN, "switched off (use-starttls = no)");
    else if (json_is_true(json_object_get(o, "with_dane")))
        named_line(p, "DANE", COLOUR_WARN, "shown as if it were on; mail has use-dane = no");
    else if (json_is_false(json_object_get(o, "use_dane")))
        named_line(p, "DANE", COLOUR_WARN, "switched off (use-dane = no)");
    if (json_is_true(json_object_get(o, "with_mta_sts")))
        named_line(p, "MTA-STS", COLOUR_WARN, "shown as if it were on; mail has use-mta-sts = no");
    sts_line(p, o);
    if (field_text(o, "group"))
        named_line(p, "group", COLOUR_NONE, field_text(o, "group"));
}

static enum colour dane_colour(const char *status)
{
    if (!status || strcmp(status, "none") == 0)
        return COLOUR_DIM;
    return strcmp(status, "usable") == 0   ? COLOUR_GOOD
           : strcmp(status, "failed") == 0 ? COLOUR_BAD
                                           : COLOUR_WARN;
}

static void host_rows(struct table *t, const json_t *host)
{
    const char *dane = field_text(host, "dane");
    size_t i;
    json_t *address;

    json_array_foreach(json_object_get(host, "addresses"), i, address)
    {
        if (i == 0) {
            table_count(t, host, "preference");
            table_text(t, host, "host");
        } else {
            table_cell(t, COLOUR_NONE, "");
            table_cell(t, COLOUR_NONE, "");
        }
        table_cell(t, COLOUR_NONE, json_string_value(address));
        table_cell(t, dane_colour(dane), i ? "" : dane);
        table_cell(t, COLOUR_NONE, i ? "" : field_text(host, "asks"));
    }
}

static void hosts_table(struct page *p, const json_t *hosts)
{
    struct table t;
    size_t i;
    json_t *host;

    if (!json_array_size(hosts))
        return;
    buf_append_char(&p->out, '\n');
    table_init(&t, p);
    table_column(&t, "pref", COLUMN_RIGHT);
    table_column(&t, "host", COLUMN_LEFT);
    table_column(&t, "address", COLUMN_LEFT);
    table_column(&t, "DANE", COLUMN_LEFT);
    table_column(&t, "asked for", COLUMN_REST);
    json_array_foreach(hosts, i, host) host_rows(&t, host);
    table_print(&t);
}

/* "DANE-EE, public key, SHA-256" */
static void tlsa_words(const json_t *o, char *out, size_t size)
{
    int64_t usage = -1, selector = -1, matching = -1;

    field_number(o, "usage", &usage);
    field_number(o, "selector", &selector);
    field_number(o, "matching", &matching);
    snprintf(out, size, "%s, %s, %s",
             usage == 3   ? "DANE-EE"
             : usage == 2 ? "DANE-TA"
                          : "?",
             selector == 1   ? "public key"
             : selector == 0 ? "certificate"
                             : "?",
             matching == 1   ? "SHA-256"
             : matching == 2 ? "SHA-512"
             : matching == 0 ? "as it is"
                             : "?");
}

static void tlsa_of_host(struct page *p, const json_t *host, int64_t port)
{
    const char *base = field_text(host, "tlsa_base"), *name = field_text(host, "host");
    struct buf line = {0};
    char words[80];
    size_t i;
    json_t *o;

    if (!json_array_size(json_object_get(host, "tlsa")))
        return;
    buf_printf(&line, "\nTLSA _%lld._tcp.", (long long)port);
    page_clean(&line, base ? base : name ? name : "?");
    page_printf(p, "%s\n", buf_data(&line));
    json_array_foreach(json_object_get(host, "tlsa"), i, o)
    {
        const char *data = field_text(o, "data");
        tlsa_words(o, words, sizeof(words));
        buf_reset(&line);
        page_clean(&line, data ? data : "?");
        page_printf(p, "  %-30s %.128s%s\n", words, buf_data(&line),
                    buf_len(&line) > 128 ? "..." : "");
    }
    buf_free(&line);
}

/* "TLSv1.3, TLS_AES_256_GCM_SHA384" */
static void session_tls(struct page *p, const json_t *s)
{
    const char *tls = field_text(s, "tls"), *verify = field_text(s, "tls_verify");
    const char *result = field_text(s, "tls_result"), *text = field_text(s, "tls_text");
    struct buf b = {0};

    if (tls && *tls) {
        const char *slash = strchr(tls, '/');
        buf_printf(&b, "%.*s%s%s", (int)(slash ? slash - tls : (ptrdiff_t)strlen(tls)), tls,
                   slash ? ", " : "", slash ? slash + 1 : "");
        named_line(p, "TLS", COLOUR_GOOD, buf_data(&b));
    } else if (field_text(s, "status") && strcmp(field_text(s, "status"), "ok") == 0) {
        named_line(p, "TLS", COLOUR_WARN, "none: mail would go in clear");
    }
    bool failed = result && strcmp(result, "ok") != 0;
    bool bare = failed && strcmp(result, "starttls-not-supported") == 0;
    if (!failed && verify && *verify)
        named_line(p, "peer", strcmp(verify, "unchecked") == 0 ? COLOUR_DIM : COLOUR_GOOD,
                   strcmp(verify, "dane") == 0      ? "proven by a TLSA record (DANE)"
                   : strcmp(verify, "sts") == 0     ? "proven by its certificate (MTA-STS)"
                   : strcmp(verify, "trusted") == 0 ? "proven by its certificate"
                                                    : "not checked, nothing asks for it");
    buf_reset(&b);
    if (failed) {
        buf_printf(&b, "%s%s%s", bare ? "STARTTLS is not offered" : result,
                   !bare && text && *text ? ": " : "", !bare && text ? text : "");
        named_line(p, "peer", COLOUR_BAD, buf_data(&b));
    }
    buf_free(&b);
}

static void session(struct page *p, const json_t *s)
{
    const char *host = field_text(s, "host"), *address = field_text(s, "address");
    const char *status = field_text(s, "status"), *text = field_text(s, "text");
    bool ok = status && strcmp(status, "ok") == 0;
    struct buf line = {0};
    int64_t ms;
    size_t i;
    json_t *word;

    page_clean(&line, host ? host : "?");
    page_printf(p, "\n%s", buf_data(&line));
    if (host && address && strcmp(host, address) != 0) {
        buf_reset(&line);
        page_clean(&line, address);
        page_printf(p, " %s", buf_data(&line));
    }
    page_printf(p, "\n");
    buf_reset(&line);
    if (field_text(s, "not_used"))
        named_line(p, "not used", COLOUR_BAD, field_text(s, "not_used"));
    if (ok && field_number(s, "ms", &ms))
        buf_printf(&line, "answered in %lld ms", (long long)ms);
    else
        buf_printf(&line, "%s%s%s", status ? status : "?", text && *text ? ": " : "",
                   text ? text : "");
    named_line(p, "SMTP", ok ? COLOUR_GOOD : COLOUR_BAD, buf_data(&line));
    session_tls(p, s);
    buf_reset(&line);
    json_array_foreach(json_object_get(s, "keywords"), i, word) buf_printf(
        &line, "%s%s", i ? ", " : "", json_string_value(word) ? json_string_value(word) : "?");
    if (buf_len(&line))
        named_line(p, "offers", COLOUR_NONE, buf_data(&line));
    buf_free(&line);
}

void render_resolve(const struct answer *a, struct page *page)
{
    const json_t *first = json_array_get(a->objects, 0);
    int64_t port = 25;
    size_t i, k;
    json_t *o, *host;

    if (!first)
        return;
    page_printf(page, "as pipe ");
    page_clean(&page->out, field_text(first, "pipe") ? field_text(first, "pipe") : "?");
    page_printf(page, " and virtual MTA ");
    page_clean(&page->out, field_text(first, "vmta") ? field_text(first, "vmta") : "?");
    page_printf(page, " see it\n");
    json_array_foreach(a->objects, i, o)
    {
        const json_t *hosts = json_object_get(o, "hosts");
        heading(page, o);
        facts(page, o);
        hosts_table(page, hosts);
        field_number(o, "port", &port);
        json_array_foreach(hosts, k, host) tlsa_of_host(page, host, port);
        json_array_foreach(json_object_get(o, "sessions"), k, host) session(page, host);
    }
}
