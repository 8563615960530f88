/*
 * pmtactl dkim: everything behind it belongs to pmta-key, a program beside this one or in the
 * libexec directory, which links the cryptographic libraries that pmtactl does not.
 */
#ifndef PMTA_CTL_DKIM_H
#define PMTA_CTL_DKIM_H

#include "command.h"

/* Becomes pmta-key with these arguments ("keygen", …). Returns only when that fails: the exit status,
 * after a line on standard error. */
int dkim_exec(char **argv);

/* The command's row: `pmtactl dkim` without anything behind it. */
int dkim_run(const struct parsed *p);

#endif
