/*
 * Reply rules: the [smtp-pattern-list]s of a configuration, compiled once (PCRE2, JIT, with limits
 * on match steps so that no peer can make us think for long), and the question which rule a reply
 * falls under.
 */
#ifndef PMTA_PIPE_RULES_RULES_H
#define PMTA_PIPE_RULES_RULES_H

#include "mail/config.h"
#include "mail/reply_rule.h"

struct rules;

/* Never NULL; rules that do not compile were refused by root and are skipped here. Holds a
 * reference to cfg. */
struct rules *rules_new(struct config *cfg);
void rules_free(struct rules *r); /* NULL is fine */

struct rule_match {
    const struct reply_rule *rule;
    const char *list; /* name of the pattern list */
    const char *regex;
    const char *file; /* where the rule stands */
    unsigned line;
};

/* The first rule of that list that the reply falls under; text is matched with the code in front
 * ("421 4.7.0 …"), lines joined by one blank, case-insensitive unless (?-i); of long replies the
 * first 2000 bytes. False when none does, when there is no such list, or when the outcome is not a
 * reply (code 0: our own words). A rule that takes too long does not match, which is logged once.
 * Views live as long as r. */
bool rules_match(const struct rules *r, struct strview list, const struct outcome *o,
                 struct rule_match *ret);

/* What `show` says of a list: its rules, how many of them every reply is tried against because
 * nothing in them is certain. 0 for a list that is not there. */
struct rules_stats {
    unsigned rules;
    unsigned unfiltered;
    bool compiled; /* to machine code */
};
void rules_stats(const struct rules *r, struct strview list, struct rules_stats *ret);

/* What the reply speaks of, by code and words, for retry-after-greylisting and adaptive: nothing
 * here looks at the configuration. */
bool reply_is_greylisting(const struct outcome *o);
bool reply_is_throttling(const struct outcome *o);

#endif
