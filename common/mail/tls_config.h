/*
 * The files that the configuration names for TLS, besides the certificate of a listener: who needs
 * which of them, and the form of tls-certificate-for.
 */
#ifndef PMTA_MAIL_TLS_CONFIG_H
#define PMTA_MAIL_TLS_CONFIG_H

#include "mail/config.h"

/* "HOST FILE [KEYFILE]" */
struct tls_certificate_for {
    struct strview host; /* name that clients ask for; "*.example.com": one label */
    struct strview cert;
    struct strview key; /* the certificate's file when not given */
};

/* 0, or ERR_SYNTAX with *e. Views point into text. */
int tls_certificate_for_parse(struct strview text, struct tls_certificate_for *ret, struct err *e);

/* For whom. */
enum tls_config_side { TLS_CONFIG_PIPE, TLS_CONFIG_RECEIVER };

/* Calls fn for each file that a process of that side can need, maybe several times for one name; v is
 * the value that names it (the default of the table when v->origin.file is NULL). name: empty, or the
 * pipe. */
void tls_config_files(const struct config *cfg, enum tls_config_side side, struct strview name,
                      void (*fn)(void *arg, const struct config_value *v, struct strview file),
                      void *arg);

#endif
