/*
 * DKIM keys that sign for the domain, against what the DNS publishes.
 */
#include "check/check_int.h"
#include "check/dkim_record.h"

struct key_task {
    struct question_waiter waiter;
    struct check *check;
    const struct check_key *key;
    const char *name; /* SELECTOR._domainkey.DOMAIN */
    unsigned order;
};

static const enum check_level levels[] = {
#define DKIM_RECORD_LEVEL(id, level, text) CHECK_LEVEL_##level,
    DKIM_RECORDS(DKIM_RECORD_LEVEL)
#undef DKIM_RECORD_LEVEL
};

static const char *advice_of(enum dkim_record v)
{
    switch (v) {
    case DKIM_RECORD_MATCHES:
        return NULL;
    case DKIM_RECORD_TESTING:
        return "take t=y out of the record: receivers may treat the mail as unsigned";
    case DKIM_RECORD_SHORT:
        return "make a key of 2048 bits with another selector and sign with that";
    case DKIM_RECORD_UNKNOWN:
        return "ask again later; if it stays, look at the name servers of the domain";
    case DKIM_RECORD_SEVERAL:
        return "leave only the record of the key that signs";
    default:
        return "publish the key that signs, or stop signing with this selector";
    }
}

static void on_record(struct question_waiter *w, const struct lookup_result *r)
{
    struct key_task *t = container_of(w, struct key_task, waiter);
    const struct check_key *k = t->key;
    struct check *c = t->check;
    enum dkim_record v = dkim_record_check(r, k->algorithm, k->bits, sv_of(k->public_key));
    struct check_finding *f = check_add(c, CHECK_DKIM, levels[v], t->order, t->name, "%s (%s)",
                                        dkim_record_text(v), k->algorithm);
    struct buf record = {0};

    f->advice = advice_of(v);
    c->key_is_good[t->order] = levels[v] != CHECK_LEVEL_FAIL;
    if (levels[v] == CHECK_LEVEL_FAIL) {
        dkim_record_write(&record, k->algorithm, sv_of(k->public_key));
        f->record_name = t->name;
        f->record_type = "TXT";
        f->record = arena_strndup(&c->arena, buf_data(&record), buf_len(&record));
        buf_free(&record);
    }
    check_end(c);
}

void check_dkim_begin(struct check *c)
{
    c->key_is_good = arena_alloc(&c->arena, c->req.key_count + 1);
    memset(c->key_is_good, 0, c->req.key_count + 1);
    for (size_t i = 0; i < c->req.key_count; i++) {
        const struct check_key *k = &c->req.keys[i];
        struct key_task *t = arena_alloc(&c->arena, sizeof(*t));
        *t = (struct key_task){
            .waiter.answered = on_record,
            .check = c,
            .key = k,
            .name = check_printf(c, "%s._domainkey.%s", k->selector, k->domain),
            .order = (unsigned)i,
        };
        check_begin(c);
        check_ask(c, LOOKUP_TXT, sv_of(t->name), &t->waiter);
    }
    if (c->req.unusable_key) {
        struct check_finding *f = check_add(c, CHECK_DKIM, CHECK_LEVEL_FAIL, UINT32_MAX,
                                            "configuration", "%s", c->req.unusable_key);
        f->advice = "see that the key file is there and holds a key; mail that it signs waits";
    } else if (!c->req.key_count) {
        struct check_finding *f =
            check_add(c, CHECK_DKIM, CHECK_LEVEL_WARN, 0,
                      check_printf(c, "%.*s", SV_ARG(c->domain)), "no key signs for this domain");
        f->advice = "make one with 'pmtactl dkim keygen' and name it with domain-key";
    }
}
