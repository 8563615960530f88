/*
 * Accounting files: bytes that the spool appends to borrowed descriptors in the same commit as the
 * journal records they belong to, and before them (spool_accounting). An account ends when all of
 * it is synced; then its owner has the descriptor back. At most SPOOL_MAX_ACCOUNTS at a time.
 */
#include "spool/internal.h"

static struct account *account_of(struct spool *s, int fd)
{
    size_t i = 0;
    while (i < s->account_count && (s->accounts[i].fd != fd || s->accounts[i].ended))
        i++;
    BUG_ON(i == SPOOL_MAX_ACCOUNTS);
    if (i == s->account_count) {
        s->accounts[i] = (struct account){.fd = fd};
        s->account_count++;
    }
    return &s->accounts[i];
}

void spool_accounting(struct spool *s, int fd, struct strview bytes)
{
    buf_append_sv(&account_of(s, fd)->waiting, bytes);
    spool_wake(s);
}

void spool_accounting_end(struct spool *s, int fd, void (*ended)(void *arg, int fd), void *arg)
{
    struct account *a = account_of(s, fd);

    a->ended = ended;
    a->arg = arg;
    s->accounts_ending++;
    spool_wake(s);
}

void accounts_release(struct spool *s)
{
    for (size_t i = 0; s->accounts_ending && i < s->account_count;) {
        struct account a = s->accounts[i];
        if (!a.ended || a.dirty || buf_len(&a.waiting) || a.taken_done < buf_len(&a.taken)) {
            i++;
            continue;
        }
        s->account_count--;
        memmove(&s->accounts[i], &s->accounts[i + 1], (s->account_count - i) * sizeof(a));
        s->accounts_ending--;
        buf_free(&a.waiting);
        buf_free(&a.taken);
        buf_free(&a.unsynced);
        a.ended(a.arg, a.fd);
    }
}

bool accounts_wait(const struct spool *s)
{
    for (size_t i = 0; i < s->account_count; i++)
        if (buf_len(&s->accounts[i].waiting) ||
            s->accounts[i].taken_done < buf_len(&s->accounts[i].taken))
            return true;
    return false;
}

bool accounts_unsynced(const struct spool *s)
{
    for (size_t i = 0; i < s->account_count; i++)
        if (s->accounts[i].dirty)
            return true;
    return false;
}

void accounts_take(struct spool *s)
{
    for (size_t i = 0; i < s->account_count; i++) {
        struct account *a = &s->accounts[i];
        buf_consume(&a->taken, a->taken_done);
        a->taken_done = 0;
        if (!buf_len(&a->taken)) {
            struct buf empty = a->taken;
            a->taken = a->waiting;
            a->waiting = empty;
            buf_reset(&a->waiting);
        } else {
            buf_append_sv(&a->taken, buf_view(&a->waiting));
            buf_reset(&a->waiting);
        }
    }
}

void accounts_free(struct spool *s)
{
    for (size_t i = 0; i < s->account_count; i++) {
        buf_free(&s->accounts[i].waiting);
        buf_free(&s->accounts[i].taken);
        buf_free(&s->accounts[i].unsynced);
    }
}
