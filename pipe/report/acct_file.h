/*
 * One [acct-file] of one pipe: which records it takes, how they are written, and the files
 * NAME-PIPE-DATE-NNNN.csv that they go to. The bytes are written by the spool (spool_accounting), in
 * order and before the journal record that makes an outcome final.
 */
#ifndef PMTA_PIPE_REPORT_ACCT_FILE_H
#define PMTA_PIPE_REPORT_ACCT_FILE_H

#include "mail/config.h"
#include "report/event.h"
#include "report/feed.h"
#include "report/finish.h"
#include "spool/spool.h"

struct acct_file;

/* The section [acct-file NAME]. The directories are taken: that of the files, and that of move-to or
 * -1. Never NULL; nothing is opened. */
struct acct_file *acct_file_new(const struct config *cfg, const char *name, const char *pipe,
                                int dirfd, int move_dirfd);
/* The file of installations without such a section: acct-PIPE.csv in that directory (borrowed), for
 * ever. */
struct acct_file *acct_file_new_default(const char *pipe, int dirfd);
/* Closes what is open, without waiting for the spool. NULL is fine. */
void acct_file_free(struct acct_file *f);

/* Opens the file to go on with, or the next one. A line that a power cut left torn is ended. */
int acct_file_open(struct acct_file *f, int64_t wall_ms, struct err *e);

bool acct_file_takes(const struct acct_file *f, const struct acct_event *e);
/* Appends the record. */
void acct_file_format(const struct acct_file *f, const struct acct_event *e, struct buf *out);

/* The open file, -1: none; and that so many bytes were given to the spool for it. */
int acct_file_fd(const struct acct_file *f);
void acct_file_wrote(struct acct_file *f, size_t bytes);
/* It is full, or its time is over. */
bool acct_file_due(const struct acct_file *f, int64_t wall_ms);

/* Opens the next file. *ret_fd is the one before, to be closed when the spool is done with it, and
 * *ret_job what to do with it then (the caller's). On an error everything is as before, and no file
 * is due for a minute. */
int acct_file_turn(struct acct_file *f, int64_t wall_ms, int *ret_fd, struct finish_job **ret_job,
                   struct err *e);
/* Takes the open file out of f without a next one. */
int acct_file_take_fd(struct acct_file *f);

/* Work that a crash or an older configuration left: finished files that are not where they belong.
 * NULL: none. */
struct finish_job *acct_file_leftovers(struct acct_file *f);

const char *acct_file_name(const struct acct_file *f); /* the open one, or "" */
const char *acct_file_section(const struct acct_file *f);
/* The section is a command: what feeds it with the files. Borrowed. */
bool acct_file_feed(const struct acct_file *f, struct feed_settings *ret);

/* Newest message that the open file has an r record of; 0: not known. */
message_id acct_file_newest_received(const struct acct_file *f);
bool acct_file_has_received(const struct acct_file *f); /* it takes r records */

/* Calls fn for each header field that some column wants. */
void acct_file_headers(const struct acct_file *f, void (*fn)(void *arg, struct strview name),
                       void *arg);

#endif
