/*
 * Where the loader's files come from, so that tests and fuzzers need none on disk; and the parts of
 * the loader: config_load.c (directory, includes, overrides), config_reader.c (one file's lines),
 * config_check.c (what sections say about each other), config_files.c (the file system).
 */
#ifndef PMTA_MAIL_CONFIG_LOAD_H
#define PMTA_MAIL_CONFIG_LOAD_H

#include "mail/config.h"
#include "mail/key_file.h"

/* Two names of one file have one id. */
struct config_file_id {
    uint64_t device, number;
};

struct config_files {
    void *arg;
    /* Paths of the files in dir that end in ".conf", in name order. 0 or -errno. */
    int (*list)(void *arg, const char *dir, void (*found)(void *to, const char *path), void *to);
    /* Paths that match a pattern with wildcards, in name order; none is no error. 0 or -errno. */
    int (*match)(void *arg, const char *pattern, void (*found)(void *to, const char *path),
                 void *to);
    /* Appends the content; -EFBIG when it has more than max bytes. 0 or -errno. */
    int (*read)(void *arg, const char *path, size_t max, struct buf *text);
    int (*identify)(void *arg, const char *path, struct config_file_id *ret);
    /* A key file that a directive names, as key_file_open. NULL: they are not looked at. */
    int (*key)(void *arg, const char *path, uid_t owner, struct key_file *ret, struct err *e);
    /* A file with another secret (DIRECTIVE_SECRET), as secret_file_open. NULL: the same. */
    int (*secret)(void *arg, const char *path, uid_t owner, struct err *e);
};

/* The file system. */
extern const struct config_files config_files_system;

/* As config_load_with. Keeps nothing of files after it returns. */
int config_load_files(const struct config_files *files, const char *dir, uint64_t generation,
                      const struct config_override *overrides, size_t override_count,
                      struct config **ret, struct config_report *report);

/* --- between the parts --- */

struct load_file;
struct path_list {
    char **items;
    size_t count, cap;
};

struct loader {
    const struct config_files *files;
    struct config *cfg;
    struct config_report *report;
    const char *dir;
    struct config_section *section; /* NULL: none yet, or the header was wrong */
    bool skip;                      /* header was wrong: its values are not reported as well */
    struct load_file *innermost;    /* include stack */
    struct config_file_id *own;     /* the *.conf files of dir */
    size_t own_count;
    size_t read_count, read_bytes;
};

/* One file being read. */
struct load_file {
    struct loader *loader;
    struct load_file *includer;
    const char *path;
    struct config_file_id id;
    struct strview rest;
    unsigned line;
    struct strview value; /* what "@" stands for */
};

/* One line of the report; without a line number when line is 0. After CONFIG_MAX_ERRORS of a sort
 * one line says that there are more. */
enum { CONFIG_MAX_ERRORS = 50 };
void load_report(struct config_report *r, bool error, const char *file, unsigned line,
                 const char *fmt, ...) PRINTF_LIKE(5, 6);
#define load_error(l, file, line, ...) load_report((l)->report, true, file, line, __VA_ARGS__)
#define load_warn(l, file, line, ...)  load_report((l)->report, false, file, line, __VA_ARGS__)

/* The regular expression compiles (config_regex.c). 0, or ERR_SYNTAX with *e saying why not. */
int load_check_regex(struct strview regex, struct err *e);

/* Callbacks of the reader. */
void load_set_section(struct loader *l, struct strview title, const char *path, unsigned line);
void load_set_value(struct loader *l, const char *name, struct strview text, const char *path,
                    unsigned line);
void load_include(struct load_file *f, struct strview pattern);

/* Feeds f->rest to the callbacks. */
void load_read_lines(struct load_file *f);

/* Finishes the configuration and checks it as a whole. */
void load_check(struct loader *l);
/* The part of it that is about signing keys (config_keys.c). */
void load_check_keys(struct loader *l);
/* And other secrets. */
void load_check_secrets(struct loader *l);
/* The user whose key files are trusted besides root's: that of the directive user. -1: none. */
uid_t load_key_owner(const struct config *cfg);

#endif
