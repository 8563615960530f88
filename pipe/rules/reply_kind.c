/*
 * What a reply speaks of, whatever the configuration says; see rules.h. Called for replies that
 * are no success. A reply is looked at in lower case, its first bytes only; a word counts when the
 * reply code is of the row's class. Greylisting comes first: hosts that greylist like to say "rate"
 * or "try later" in the same breath, and what they mean is: the same again, soon.
 */
#include "rules/rules.h"

enum { TEXT_MAX = 1000 };

struct text {
    char bytes[TEXT_MAX];
    size_t len;
};

static void lower_text(const struct outcome *o, struct text *ret)
{
    ret->len = MIN_OF(o->text.len, sizeof(ret->bytes));
    for (size_t i = 0; i < ret->len; i++)
        ret->bytes[i] = ascii_lower(o->text.ptr[i]);
}

static bool has(const struct text *t, const char *word)
{
    return memmem(t->bytes, t->len, word, strlen(word)) != NULL;
}

static bool has_one(const struct text *t, const char *const *words)
{
    for (; *words; words++)
        if (has(t, *words))
            return true;
    return false;
}

static bool is_temporary(const struct outcome *o)
{
    return o->code >= 400 && o->code < 500;
}

static bool greylisting_text(const struct outcome *o, const struct text *t)
{
    static const char *const words[] = {"greylist",
                                        "graylist",
                                        "grey-list",
                                        "gray-list",
                                        "grey list",
                                        "gray list",
                                        "postgrey",
                                        "[gl01]",
                                        "first time sender",
                                        "first contact",
                                        "internal resources are temporarily unavailable",
                                        "unseen sender",
                                        NULL};
    static const char whole[] = "451 4.7.1 try again later"; /* rspamd says no more */

    return is_temporary(o) &&
           (has_one(t, words) || (t->len == strlen(whole) && memcmp(t->bytes, whole, t->len) == 0));
}

/* About one recipient, whatever words of pace it has. */
static bool recipient_text(const struct outcome *o, const struct text *t)
{
    static const char *const words[] = {"mailbox full",
                                        "mailbox is full",
                                        "over quota",
                                        "the user you are trying to contact",
                                        "ratelimit exceeded for mailbox",
                                        "exceeded their message rate",
                                        "recipient thread limit",
                                        NULL};
    return o->enhanced.subject == 2 || has_one(t, words);
}

bool reply_is_greylisting(const struct outcome *o)
{
    struct text t;

    if (!is_temporary(o))
        return false;
    lower_text(o, &t);
    return greylisting_text(o, &t);
}

/* X.7.28 is Gmail's; 4.7.5xx to 4.7.7xx are Microsoft's. */
static bool throttling_code(const struct enhanced_code *e)
{
    if (e->subject != 7)
        return false;
    return e->detail == 28 || (e->class_digit == 4 && e->detail >= 500 && e->detail <= 700);
}

static bool throttling_text(const struct text *t)
{
    static const char *const words[] = {"rate limit",
                                        "rate-limit",
                                        "ratelimit",
                                        "throttl",
                                        "too many conn",
                                        "too many concur",
                                        "too many sess",
                                        "too many message",
                                        "too many mail",
                                        "too many email",
                                        "too many simul",
                                        "too many open",
                                        "too many new tls",
                                        "too much mail",
                                        "too fast",
                                        "slow down",
                                        "unusual rate",
                                        "unexpected volume",
                                        "connection limit",
                                        "concurrent",
                                        "sending rate",
                                        "message rate",
                                        "frequency limited",
                                        "connection rate",
                                        "server busy",
                                        "toomanyconn",
                                        "temporarily deferred",
                                        "limits for how many",
                                        "maximum number of connections",
                                        "try again later, closing connection",
                                        "#4.4.5",
                                        "received this hour",
                                        "submission rate",
                                        NULL};
    return has_one(t, words);
}

bool reply_is_throttling(const struct outcome *o)
{
    struct text t;

    if (o->code < 400)
        return false;
    if (throttling_code(&o->enhanced))
        return true;
    if (!is_temporary(o))
        return false;
    lower_text(o, &t);
    return !greylisting_text(o, &t) && !recipient_text(o, &t) && throttling_text(&t);
}
