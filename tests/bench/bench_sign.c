/*
 * What the cryptographic libraries give on this machine: RSA-2048 signatures of BoringSSL and Ed25519
 * signatures of libsodium per second, with as many threads as there are cores, nothing else going on.
 * The ceiling that make bench-dkim measures the engine against. None of our code is in the loop.
 *
 * usage: bench_sign rsa|ed25519 SECONDS
 */
#include <openssl/bn.h>
#include <openssl/nid.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>
#include <sodium.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { THREADS_MAX = 256 };

static RSA *rsa;
static unsigned char public_key[crypto_sign_PUBLICKEYBYTES], secret[crypto_sign_SECRETKEYBYTES];
static double end_s;

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void *sign_until_end(void *arg)
{
    unsigned long *count = arg;
    uint8_t digest[SHA256_DIGEST_LENGTH] = {0}, signature[512];
    unsigned len;

    while (now_s() < end_s) {
        memcpy(digest, count, sizeof(*count));
        if (!rsa)
            crypto_sign_detached(signature, NULL, digest, sizeof(digest), secret);
        else if (RSA_sign(NID_sha256, digest, sizeof(digest), signature, &len, rsa) != 1)
            exit(1);
        ++*count;
    }
    return NULL;
}

static void make_rsa(void)
{
    BIGNUM *e = BN_new();
    rsa = RSA_new();
    if (!e || !rsa || !BN_set_word(e, RSA_F4) || !RSA_generate_key_ex(rsa, 2048, e, NULL))
        exit(1);
    BN_free(e);
}

int main(int argc, char **argv)
{
    static unsigned long counts[THREADS_MAX][8]; /* a cache line each */
    pthread_t threads[THREADS_MAX];
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    double seconds = argc == 3 ? atof(argv[2]) : 0;
    unsigned long sum = 0;

    if (seconds <= 0 || sodium_init() < 0)
        return 2;
    if (strcmp(argv[1], "rsa") == 0)
        make_rsa();
    else
        crypto_sign_keypair(public_key, secret);
    if (cores > THREADS_MAX)
        cores = THREADS_MAX;
    double began = now_s();
    end_s = began + seconds;
    for (long i = 0; i < cores; i++)
        if (pthread_create(&threads[i], NULL, sign_until_end, counts[i]))
            return 1;
    for (long i = 0; i < cores; i++) {
        pthread_join(threads[i], NULL);
        sum += counts[i][0];
    }
    printf("%.1f\n", (double)sum / (now_s() - began));
    return 0;
}
