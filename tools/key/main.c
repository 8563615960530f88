/*
 * pmta-key: makes DKIM keys and the DNS records that go with them. `pmtactl dkim` runs it; it is a
 * program of its own because it links BoringSSL and libsodium. It never overwrites a file, prints no
 * private key, and changes no configuration: what to put there it prints.
 *
 * Exit status: 0 done, 1 could not be done (one line says why), 2 wrong usage.
 */
#include "base/buf.h"
#include "base/clock.h"
#include "base/units.h"
#include "key_make.h"
#include "mail/domain_key.h"
#include "sign/key.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { TXT_STRING_MAX = 255, DAY_MS = 86400000, RSA_USUAL = 2048, EXIT_FAILED = 1, EXIT_USAGE = 2 };

static const char usage[] =
    "usage: pmtactl dkim keygen [--rsa BITS | --ed25519] FILE\n"
    "       pmtactl dkim show-dns SELECTOR DOMAIN FILE\n"
    "       pmtactl dkim rotate [--rsa BITS | --ed25519] [--at DATE] [--overlap INTERVAL]\n"
    "                           DOMAIN OLD-SELECTOR OLD-FILE NEW-SELECTOR NEW-FILE\n\n"
    "Makes signing keys and prints the DNS records that go with them.\n\n"
    "  keygen    makes a key, mode 0600; a file that exists is left alone\n"
    "  show-dns  prints the TXT record of a key, ready for a zone file\n"
    "  rotate    makes the key NEW-FILE, and prints the record to publish now, the\n"
    "            lines for the configuration, which switch selectors on DATE, and when\n"
    "            the old record may go\n\n"
    "  --rsa BITS           an RSA key (2048; 1024 to 4096)\n"
    "  --ed25519            an Ed25519 key instead (RFC 8463)\n"
    "  --at DATE            when the new key takes over, UTC: 2026-12-31 or\n"
    "                       2026-12-31T08:00 (in two days)\n"
    "  --overlap INTERVAL   how long the old record stays published after that, so that\n"
    "                       mail under way can be verified (14d)\n";

struct options {
    bool ed25519;
    unsigned bits;
    int64_t at_ms, overlap_ms;
    char **words;
    int count;
};

static int complain(const struct err *e)
{
    fprintf(stderr, "pmta-key: %s\n", e->text);
    return EXIT_FAILED;
}

static int wrong(void)
{
    fputs(usage, stderr);
    return EXIT_USAGE;
}

/* --- records --- */

/* One string of at most 255 bytes after the other, as zone files have them. */
static void print_record(const char *selector, const char *domain, const struct sign_key *k)
{
    struct buf text = {0};
    char *public = sign_key_public(k);
    bool rsa = strcmp(sign_key_algorithm(k), "rsa-sha256") == 0;

    buf_printf(&text, "v=DKIM1; k=%s; p=%s", rsa ? "rsa" : "ed25519", public);
    printf("%s._domainkey.%s. IN TXT (", selector, domain);
    for (size_t at = 0; at < buf_len(&text); at += TXT_STRING_MAX)
        printf(" \"%.*s\"", (int)MIN_OF(buf_len(&text) - at, (size_t)TXT_STRING_MAX),
               buf_data(&text) + at);
    puts(" )");
    free(public);
    buf_free(&text);
}

static int load(const char *file, struct sign_key **ret)
{
    struct err e = {0};
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY);

    if (fd < 0) {
        err_set(&e, -errno, "'%s'", file);
        return complain(&e);
    }
    int status = sign_key_load(fd, file, ret, &e);
    close(fd);
    return status < 0 ? complain(&e) : 0;
}

static int check_names(const char *selector, const char *domain)
{
    const char *bad = !domain_key_is_name(sv_of(selector)) ? selector
                      : !domain_key_is_name(sv_of(domain)) ? domain
                                                           : NULL;
    if (!bad)
        return 0;
    fprintf(stderr, "pmta-key: '%.200s' is no name (expected letters, digits, - and dots)\n", bad);
    return EXIT_FAILED;
}

static int show_dns(const struct options *o)
{
    struct sign_key *k = NULL;

    if (o->count != 3)
        return wrong();
    int status = check_names(o->words[0], o->words[1]);
    if (status == 0)
        status = load(o->words[2], &k);
    if (status == 0)
        print_record(o->words[0], o->words[1], k);
    sign_key_unref(k);
    return status;
}

/* --- keys --- */

static int make(const struct options *o, const char *file)
{
    struct err e = {0};
    return key_make(file, o->ed25519 ? 0 : o->bits, &e) < 0 ? complain(&e) : 0;
}

static int keygen(const struct options *o)
{
    if (o->count != 1)
        return wrong();
    return make(o, o->words[0]);
}

static const char *format_date(int64_t ms, char out[32])
{
    time_t s = (time_t)(ms / 1000);
    struct tm tm;

    gmtime_r(&s, &tm);
    strftime(out, 32, ms % DAY_MS ? "%Y-%m-%dT%H:%M" : "%Y-%m-%d", &tm);
    return out;
}

static int rotate(const struct options *o)
{
    struct sign_key *old = NULL, *fresh = NULL;
    char at[32], gone[32];

    if (o->count != 5)
        return wrong();
    const char *domain = o->words[0], *old_selector = o->words[1], *old_file = o->words[2];
    const char *selector = o->words[3], *file = o->words[4];
    if (strcasecmp(selector, old_selector) == 0) {
        fprintf(stderr, "pmta-key: the new selector must be another one than the old\n");
        return EXIT_FAILED;
    }
    int status = check_names(selector, domain);
    if (status == 0)
        status = check_names(old_selector, domain);
    if (status == 0)
        status = load(old_file, &old);
    if (status == 0)
        status = make(o, file);
    if (status == 0)
        status = load(file, &fresh);
    if (status == 0) {
        format_date(o->at_ms, at);
        format_date(o->at_ms + o->overlap_ms, gone);
        printf("; 1. publish now, and see that it is there before %s UTC\n", at);
        print_record(selector, domain, fresh);
        printf(
            "; 2. put into the configuration in place of the line of '%s', then pmtactl reload\n",
            old_selector);
        printf("domain-key = %s,%s,%s,until=%s\n", old_selector, domain, old_file, at);
        printf("domain-key = %s,%s,%s,from=%s\n", selector, domain, file, at);
        printf("; 3. after %s UTC take out the first of these lines and the record "
               "%s._domainkey.%s\n",
               gone, old_selector, domain);
    }
    sign_key_unref(old);
    sign_key_unref(fresh);
    return status;
}

/* --- arguments --- */

enum { OPTION_RSA = 256, OPTION_ED25519, OPTION_AT, OPTION_OVERLAP, OPTION_HELP };

static int bad_value(const char *option, const char *value, const char *expected)
{
    fprintf(stderr, "pmta-key: --%s: '%.100s' is not valid (expected %s)\n", option, value,
            expected);
    return EXIT_USAGE;
}

/* By way of a domain-key line, so that both understand the same dates. */
static bool parse_at(const char *text, int64_t *ret_ms)
{
    struct domain_key k;
    struct buf line = {0};

    buf_printf(&line, "s,d,f,from=%s", text);
    bool ok = domain_key_parse(buf_view(&line), false, &k, NULL) == 0 && k.from_ms;
    buf_free(&line);
    *ret_ms = k.from_ms;
    return ok;
}

static int take_option(struct options *o, int c)
{
    uint64_t n;

    switch (c) {
    case OPTION_ED25519:
        o->ed25519 = true;
        return 0;
    case OPTION_RSA:
        if (!sv_to_u64(sv_of(optarg), &n) || n % 128 || n < SIGN_KEY_MIN_RSA_BITS ||
            n > SIGN_KEY_MAX_SIGNATURE * 8)
            return bad_value("rsa", optarg, "1024 to 4096, a multiple of 128");
        o->bits = (unsigned)n;
        return 0;
    case OPTION_AT:
        return parse_at(optarg, &o->at_ms)
                   ? 0
                   : bad_value("at", optarg, "a date such as 2026-12-31 or 2026-12-31T08:00");
    case OPTION_OVERLAP:
        return units_parse_interval(sv_of(optarg), &o->overlap_ms) == 0
                   ? 0
                   : bad_value("overlap", optarg, "a time such as 14d");
    }
    return EXIT_USAGE;
}

int main(int argc, char **argv)
{
    static const struct option table[] = {
        {"rsa", required_argument, NULL, OPTION_RSA},
        {"ed25519", no_argument, NULL, OPTION_ED25519},
        {"at", required_argument, NULL, OPTION_AT},
        {"overlap", required_argument, NULL, OPTION_OVERLAP},
        {"help", no_argument, NULL, OPTION_HELP},
        {NULL, 0, NULL, 0},
    };
    int64_t today = clock_wall_ms() / DAY_MS * DAY_MS;
    struct options o = {
        .bits = RSA_USUAL, .at_ms = today + 2 * DAY_MS, .overlap_ms = 14 * (int64_t)DAY_MS};
    int c;

    while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
        if (c == OPTION_HELP) {
            fputs(usage, stdout);
            return 0;
        }
        int status = c == '?' ? EXIT_USAGE : take_option(&o, c);
        if (status)
            return status;
    }
    if (optind == argc)
        return wrong();
    o.words = argv + optind + 1;
    o.count = argc - optind - 1;
    if (strcmp(argv[optind], "keygen") == 0)
        return keygen(&o);
    if (strcmp(argv[optind], "show-dns") == 0)
        return show_dns(&o);
    if (strcmp(argv[optind], "rotate") == 0)
        return rotate(&o);
    fprintf(stderr, "pmta-key: unknown command '%.60s' (expected keygen, show-dns or rotate)\n",
            argv[optind]);
    return EXIT_USAGE;
}
