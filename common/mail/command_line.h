/*
 * The words of a command that stands in the configuration: divided at blanks, "…" and '…' keep
 * blanks together, in "…" and outside of quotes \ takes the next sign as it is. No shell is asked.
 */
#ifndef PMTA_MAIL_COMMAND_LINE_H
#define PMTA_MAIL_COMMAND_LINE_H

#include "base/err.h"
#include "base/str.h"

/* 0, and *ret is an array of words with NULL behind (command_line_free); or ERR_SYNTAX with *e: no
 * word, or a quote that does not end. */
int command_line_split(struct strview text, char ***ret, struct err *e);
void command_line_free(char **words); /* NULL is fine */

#endif
