/*
 * The verifier of OpenDKIM (libopendkim) on files: reads names on standard input and prints, for each,
 * how many signatures it has and how many of them are good. Its own command opendkim -t hands headers
 * over as a milter does, without the blanks after the colon, so that no signature with the simple
 * form of the header can be good there. Links OpenSSL and nothing of ours.
 *
 * usage: opendkim_verify KEYS, a file of "selector._domainkey.domain RECORD" lines
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include <opendkim/dkim.h>

enum { MESSAGE_MAX = 8 * 1024 * 1024 };

static unsigned char message[MESSAGE_MAX];

static size_t read_message(const char *path)
{
    FILE *f = fopen(path, "rb");
    size_t n = f ? fread(message, 1, sizeof(message), f) : 0;
    if (f)
        fclose(f);
    return n;
}

static DKIM_LIB *open_library(const char *keys)
{
    DKIM_LIB *lib = dkim_init(NULL, NULL);
    int method = DKIM_QUERY_FILE;
    char path[512];

    snprintf(path, sizeof(path), "%s", keys);
    if (!lib || dkim_options(lib, DKIM_OP_SETOPT, DKIM_OPTS_QUERYMETHOD, &method, sizeof(method)) ||
        dkim_options(lib, DKIM_OP_SETOPT, DKIM_OPTS_QUERYINFO, path, strlen(path)))
        return NULL;
    return lib;
}

static void verify(DKIM_LIB *lib, const char *path)
{
    DKIM_STAT status;
    DKIM_SIGINFO **sigs = NULL;
    int count = 0, good = 0;
    size_t n = read_message(path);
    DKIM *d = dkim_verify(lib, (const unsigned char *)"test", NULL, &status);

    if (!d || n == 0) {
        printf("0 0\n");
        return;
    }
    if (dkim_chunk(d, message, n) == DKIM_STAT_OK && dkim_chunk(d, NULL, 0) == DKIM_STAT_OK) {
        dkim_eom(d, NULL);
        if (dkim_getsiglist(d, &sigs, &count) != DKIM_STAT_OK)
            count = 0;
    }
    for (int i = 0; i < count; i++) {
        dkim_sig_process(d, sigs[i]);
        good += DKIM_SIG_CHECK(sigs[i]);
    }
    printf("%d %d\n", count, good);
    dkim_free(d);
}

int main(int argc, char **argv)
{
    char path[512];
    DKIM_LIB *lib = argc == 2 ? open_library(argv[1]) : NULL;

    if (!lib)
        return 2;
    while (fgets(path, sizeof(path), stdin)) {
        path[strcspn(path, "\n")] = '\0';
        verify(lib, path);
    }
    dkim_close(lib);
    return 0;
}
