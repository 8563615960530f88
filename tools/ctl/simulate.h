/*
 * pmtactl simulate: another program, which has the engine in it.
 */
#ifndef PMTA_CTL_SIMULATE_H
#define PMTA_CTL_SIMULATE_H

#include "command.h"

/* True when the words are "simulate" and its options: simulate_exec takes them as they are. */
bool simulate_wanted(int argc, char **argv);
/* Becomes pmta-simulate, which lies beside this program, else is looked for in PATH. Returns only
 * when there is none: the exit status. */
int simulate_exec(int argc, char **argv);
/* Of the command's row: options were given before the word. */
int simulate_run(const struct parsed *p);

#endif
