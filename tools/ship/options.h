/*
 * The command line of pmta-ship when nobody starts it but an operator.
 */
#ifndef PMTA_SHIP_OPTIONS_H
#define PMTA_SHIP_OPTIONS_H

#include "settings.h"

struct options {
    struct ship_settings settings;
    int state_dirfd; /* -1: none */
    bool verbose;    /* a line about what was done, at the end */
};

/* argv is one of a run by hand, and not of a child of pmtad (--name). */
bool options_are_by_hand(int argc, char **argv);

/* 0; 1: help or version was printed; or ERR_SYNTAX with *e. */
int options_parse(int argc, char **argv, struct options *ret, struct err *e);

#endif
