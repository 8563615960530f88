/*
 * `suppress import` and `suppress export`: lists of any size, in pieces, one admin line each.
 */
#ifndef PMTA_CTL_SUPPRESS_H
#define PMTA_CTL_SUPPRESS_H

#include "command.h"

int suppress_import(const struct parsed *p);
int suppress_export(const struct parsed *p);

#endif
