/*
 * Names of accounting files, as the pipes make them: BASE-PIPE-YYYY-MM-DD-NNNN.csv, later perhaps
 * with .gz or .zst behind it; or BASE-PIPE.csv, one file for ever.
 */
#ifndef PMTA_SHIP_NAMES_H
#define PMTA_SHIP_NAMES_H

#include "base/str.h"

enum { NAME_SIZE = 300 };

enum file_form { FORM_PLAIN, FORM_GZIP, FORM_ZSTD };

/* Files of one pipe follow each other in this order. date is 20261121; 0: none. */
struct file_key {
    uint32_t date, number;
};

struct file_name {
    struct strview pipe;
    struct strview stem; /* "acct-bulk-2026-11-21-0003": what stays when it is compressed */
    struct file_key key;
    enum file_form form;
};

int file_key_cmp(struct file_key a, struct file_key b);

/* "acct-bulk-2026-11-21-0003.csv.zst" with base "acct". Views point into name. False: of another
 * set, or a copy that is still being made (.tmp). */
bool file_name_parse(struct strview name, struct strview base, struct file_name *ret);
/* "acct-bulk.csv" with base "acct"; names of the form above are not of this one. */
bool file_name_parse_fixed(struct strview name, struct strview base, struct file_name *ret);

#endif
