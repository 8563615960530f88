/*
 * The content of a message on its way to the stream of an outgoing connection, from memory or from
 * a file.
 */
#ifndef PMTA_PIPE_DELIVERY_CONN_CONTENT_H
#define PMTA_PIPE_DELIVERY_CONN_CONTENT_H

#include "pipe/delivery/connection.h"

/* Callback of the client: signatures and content of the job are to be written. False: they are read
 * from a file, smtp_client_content_done or _failed comes later. */
bool conn_content_put(void *conn, struct smtp_job *j);
/* The stream has room again. */
void conn_content_resume(struct delivery_conn *c);
/* What is not read yet is not wanted any more. */
void conn_content_stop(struct delivery_conn *c);

#endif
