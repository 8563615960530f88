/*
 * pmtactl hash-password. On a terminal it asks twice with echo off; a signal meanwhile restores the
 * terminal and then does what it always does. Otherwise one line of standard input is the password.
 * Passwords live in sodium_malloc memory (locked, wiped when freed) and nowhere else: they are read
 * with read(2), not through stdio's buffers.
 */
#include "password.h"

#include "base/err.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <termios.h>
#include <unistd.h>

enum { PASSWORD_MAX = 1024 };

static const int watched[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
static volatile sig_atomic_t caught;
static sigset_t while_waiting; /* the watched signals come in ppoll only, so that none is missed */

static void on_signal(int number)
{
    caught = number;
}

/* One byte, as read(2). */
static ssize_t read_byte(char *ret)
{
    struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
    ssize_t n;

    do
        n = ppoll(&p, 1, NULL, &while_waiting) < 0 ? -1 : read(STDIN_FILENO, ret, 1);
    while (n < 0 && errno == EINTR && !caught);
    return n;
}

/* Reads up to the newline, the end, or the limit. 0 or negative with *e. */
static int read_line(char *out, struct err *e)
{
    size_t n = 0;

    for (;;) {
        char c = '\0';
        ssize_t got = read_byte(&c);
        if (got < 0)
            return err_set(e, -errno, "cannot read the password");
        if (got == 0 || c == '\n')
            break;
        if (c == '\0')
            return err_set(e, ERR_SYNTAX, "a password cannot contain a NUL byte");
        if (n == PASSWORD_MAX)
            return err_set(e, ERR_LIMIT, "a password has at most %d bytes", PASSWORD_MAX);
        out[n++] = c;
    }
    if (n && out[n - 1] == '\r')
        n--;
    out[n] = '\0';
    return n ? 0 : err_set(e, ERR_SYNTAX, "the password is empty");
}

static int ask(const char *prompt, char *out, struct err *e)
{
    fputs(prompt, stderr);
    fflush(stderr);
    int rc = read_line(out, e);
    fputc('\n', stderr);
    return rc;
}

static int ask_twice(char *first, char *second, struct err *e)
{
    int rc = ask("Password: ", first, e);

    if (rc == 0)
        rc = ask("Again: ", second, e);
    if (rc == 0 && strcmp(first, second) != 0)
        rc = err_set(e, ERR_SYNTAX, "the two are not the same");
    return rc;
}

static int from_terminal(char *first, char *second, struct err *e)
{
    struct sigaction act = {.sa_handler = on_signal}, old[ARRAY_LEN(watched)], old_stop;
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    struct termios shown, hidden;

    if (tcgetattr(STDIN_FILENO, &shown) < 0)
        return err_set(e, -errno, "cannot switch the terminal's echo off");
    hidden = shown;
    hidden.c_lflag &= ~(tcflag_t)ECHO;
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < ARRAY_LEN(watched); i++) {
        sigaction(watched[i], &act, &old[i]);
        sigaddset(&set, watched[i]);
    }
    sigprocmask(SIG_BLOCK, &set, &while_waiting);
    sigaction(SIGTSTP, &ignore, &old_stop); /* a stopped program would leave the echo off */
    int rc = tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden) < 0
                 ? err_set(e, -errno, "cannot switch the terminal's echo off")
                 : ask_twice(first, second, e);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown);
    sigprocmask(SIG_SETMASK, &while_waiting, NULL);
    sigaction(SIGTSTP, &old_stop, NULL);
    for (size_t i = 0; i < ARRAY_LEN(watched); i++)
        sigaction(watched[i], &old[i], NULL);
    return rc;
}

static int print_hash(const char *password, struct err *e)
{
    char hash[crypto_pwhash_STRBYTES];

    if (crypto_pwhash_str(hash, password, strlen(password), crypto_pwhash_OPSLIMIT_INTERACTIVE,
                          crypto_pwhash_MEMLIMIT_INTERACTIVE) != 0)
        return err_set(e, -ENOMEM, "cannot hash the password");
    puts(hash);
    return 0;
}

int password_run(const struct parsed *p)
{
    struct err e = {0};

    (void)p;
    if (sodium_init() < 0) {
        fputs("pmtactl: libsodium does not work on this machine\n", stderr);
        return 1;
    }
    sigprocmask(SIG_SETMASK, NULL, &while_waiting);
    char *first = sodium_malloc(PASSWORD_MAX + 1), *second = sodium_malloc(PASSWORD_MAX + 1);
    int rc = !first || !second      ? err_set(&e, -ENOMEM, "no locked memory for the password")
             : isatty(STDIN_FILENO) ? from_terminal(first, second, &e)
                                    : read_line(first, &e);
    if (rc == 0)
        rc = print_hash(first, &e);
    sodium_free(first);
    sodium_free(second);
    if (caught) {
        signal(caught, SIG_DFL);
        raise(caught);
    }
    if (rc < 0)
        fprintf(stderr, "pmtactl: %s\n", e.text);
    return rc < 0;
}
