/*
 * hash-password: the Argon2id string for an [smtp-user] section.
 */
#ifndef PMTA_CTL_PASSWORD_H
#define PMTA_CTL_PASSWORD_H

struct parsed;

/* Asks or reads, prints the string; the exit status. */
int password_run(const struct parsed *p);

#endif
