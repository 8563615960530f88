/*
 * Key files; see key_file.h. Called by the loader of the configuration for each directive that names
 * one, and by root when it opens them for the pipes. What was read is wiped before it returns.
 */
#include "mail/key_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- DER, as much as a private key needs --- */

enum der_tag { DER_INTEGER = 2, DER_OCTETS = 4, DER_OID = 6, DER_SEQUENCE = 0x30 };

/* Takes one element with this tag off the front. */
static bool der_take(struct strview *s, enum der_tag tag, struct strview *ret)
{
    size_t head = 2, len;

    if (s->len < 2 || (unsigned char)s->ptr[0] != tag)
        return false;
    len = (unsigned char)s->ptr[1];
    if (len & 0x80) {
        size_t bytes = len & 0x7f;
        if (!bytes || bytes > 3 || s->len < 2 + bytes)
            return false;
        len = 0;
        for (size_t i = 0; i < bytes; i++)
            len = len << 8 | (unsigned char)s->ptr[2 + i];
        head += bytes;
    }
    if (len > s->len - head)
        return false;
    *ret = sv(s->ptr + head, len);
    *s = sv(s->ptr + head + len, s->len - head - len);
    return true;
}

static unsigned integer_bits(struct strview n)
{
    while (n.len && !n.ptr[0])
        n = sv(n.ptr + 1, n.len - 1);
    return n.len ? (unsigned)(n.len * 8) - (unsigned)__builtin_clz((unsigned char)n.ptr[0]) + 24
                 : 0;
}

/* RFC 8017 appendix A.1.2 */
static bool parse_pkcs1(struct strview der, struct key_file *ret)
{
    struct strview sequence, version, modulus;

    if (!der_take(&der, DER_SEQUENCE, &sequence) || !der_take(&sequence, DER_INTEGER, &version) ||
        !der_take(&sequence, DER_INTEGER, &modulus))
        return false;
    *ret = (struct key_file){KEY_FILE_RSA, integer_bits(modulus)};
    return true;
}

/* RFC 5208 section 5 and RFC 8410 section 7 */
static bool parse_pkcs8(struct strview der, struct key_file *ret)
{
    static const char rsa[] = "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01", ed25519[] = "\x2b\x65\x70";
    struct strview sequence, version, algorithm, oid, key, seed;

    if (!der_take(&der, DER_SEQUENCE, &sequence) || !der_take(&sequence, DER_INTEGER, &version) ||
        !der_take(&sequence, DER_SEQUENCE, &algorithm) || !der_take(&algorithm, DER_OID, &oid) ||
        !der_take(&sequence, DER_OCTETS, &key))
        return false;
    if (sv_eq(oid, sv(rsa, sizeof(rsa) - 1)))
        return parse_pkcs1(key, ret);
    *ret = (struct key_file){KEY_FILE_ED25519, 256};
    return sv_eq(oid, sv(ed25519, sizeof(ed25519) - 1)) && der_take(&key, DER_OCTETS, &seed) &&
           seed.len == 32;
}

/* --- PEM --- */

static int digit_value(char c)
{
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
}

/* Base 64 with line ends in it. The length, or -1. */
static ssize_t decode(struct strview in, char *out)
{
    uint32_t bits = 0;
    unsigned have = 0;
    size_t n = 0;

    for (size_t i = 0; i < in.len; i++) {
        char c = in.ptr[i];
        if (c == '\n' || c == '\r' || c == ' ' || c == '\t' || c == '=')
            continue;
        int v = digit_value(c);
        if (v < 0)
            return -1;
        bits = bits << 6 | (uint32_t)v;
        have += 6;
        if (have >= 8) {
            have -= 8;
            out[n++] = (char)(bits >> have);
        }
    }
    return (ssize_t)n;
}

/* The text between "-----BEGIN name-----" and its end. */
static bool find_block(struct strview text, const char *name, struct strview *ret)
{
    char begin[64], end[64];

    snprintf(begin, sizeof(begin), "-----BEGIN %s-----", name);
    snprintf(end, sizeof(end), "-----END %s-----", name);
    const char *from = memmem(text.ptr, text.len, begin, strlen(begin));
    if (!from)
        return false;
    from += strlen(begin);
    const char *to = memmem(from, text.len - (size_t)(from - text.ptr), end, strlen(end));
    if (!to)
        return false;
    *ret = sv(from, (size_t)(to - from));
    return true;
}

static int no_key(struct err *e)
{
    return err_set(e, ERR_CONFIG,
                   "holds no RSA or Ed25519 key (expected PEM with BEGIN PRIVATE KEY or BEGIN RSA "
                   "PRIVATE KEY, without a password)");
}

static int check_bits(const struct key_file *k, struct err *e)
{
    if (k->kind != KEY_FILE_RSA ||
        (k->bits >= KEY_FILE_MIN_RSA_BITS && k->bits <= KEY_FILE_MAX_RSA_BITS))
        return 0;
    return err_set(e, ERR_CONFIG, "holds an RSA key of %u bits (expected %d to %d)", k->bits,
                   KEY_FILE_GOOD_RSA_BITS, KEY_FILE_MAX_RSA_BITS);
}

int key_file_parse(struct strview text, struct key_file *ret, struct err *e)
{
    struct strview block;
    char der[KEY_FILE_MAX];
    bool pkcs1 = find_block(text, "RSA PRIVATE KEY", &block), ok = false;

    if (!pkcs1 && !find_block(text, "PRIVATE KEY", &block))
        return no_key(e);
    ssize_t n = block.len <= sizeof(der) ? decode(block, der) : -1;
    if (n > 0)
        ok = pkcs1 ? parse_pkcs1(sv(der, (size_t)n), ret) : parse_pkcs8(sv(der, (size_t)n), ret);
    explicit_bzero(der, sizeof(der));
    return ok ? check_bits(ret, e) : no_key(e);
}

/* --- file --- */

static int check_access(const struct stat *st, uid_t owner, struct err *e)
{
    if (!S_ISREG(st->st_mode))
        return err_set(e, ERR_CONFIG, "is no ordinary file");
    if (st->st_uid != 0 && st->st_uid != geteuid() && (owner == (uid_t)-1 || st->st_uid != owner))
        return err_set(e, ERR_CONFIG,
                       "belongs to uid %u (expected root or the user that pmtad runs as)",
                       (unsigned)st->st_uid);
    if (st->st_mode & (S_IRWXO | S_IWGRP | S_IXGRP))
        return err_set(e, ERR_CONFIG,
                       "is open to others, mode %04o (expected 0600, or 0640 for a group)",
                       (unsigned)st->st_mode & 07777);
    if (st->st_size >= KEY_FILE_MAX)
        return err_set(e, ERR_CONFIG, "is larger than a key (expected less than %d bytes)",
                       KEY_FILE_MAX);
    return 0;
}

static int read_key(int fd, struct key_file *ret, struct err *e)
{
    char text[KEY_FILE_MAX];
    size_t n = 0;
    ssize_t got;
    int status = 0;

    do {
        got = pread(fd, text + n, sizeof(text) - n, (off_t)n);
        if (got > 0)
            n += (size_t)got;
    } while ((got > 0 && n < sizeof(text)) || (got < 0 && errno == EINTR));
    if (got < 0)
        status = err_set(e, -errno, "cannot be read");
    else
        status = key_file_parse(sv(text, n), ret, e);
    explicit_bzero(text, sizeof(text));
    return status;
}

static int open_private(const char *path, uid_t owner, struct stat *ret, struct err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    if (fd < 0)
        return err_set(e, -errno, "cannot be opened");
    int status =
        fstat(fd, ret) < 0 ? err_set(e, -errno, "cannot be read") : check_access(ret, owner, e);
    if (status == 0)
        return fd;
    close(fd);
    return status;
}

int key_file_open(const char *path, uid_t owner, struct key_file *ret, int *ret_fd, struct err *e)
{
    struct stat st;
    int fd = open_private(path, owner, &st, e);

    if (fd < 0)
        return fd;
    int status = read_key(fd, ret, e);
    if (status == 0 && ret_fd)
        *ret_fd = fd;
    else
        close(fd);
    return status;
}

int secret_file_open(const char *path, uid_t owner, int *ret_fd, struct err *e)
{
    struct stat st;
    int fd = open_private(path, owner, &st, e);

    if (fd < 0)
        return fd;
    if (st.st_size < SECRET_FILE_MIN) {
        close(fd);
        return err_set(e, ERR_CONFIG, "holds %d bytes (expected a secret of at least %d)",
                       (int)st.st_size, SECRET_FILE_MIN);
    }
    if (ret_fd)
        *ret_fd = fd;
    else
        close(fd);
    return 0;
}
