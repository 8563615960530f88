/*
 * The thread that ships, beside the loop of a child of pmtad.
 */
#ifndef PMTA_SHIP_WORKER_H
#define PMTA_SHIP_WORKER_H

#include "settings.h"

#include <jansson.h>
#include <uv.h>

struct worker;

/* Starts the thread. settings are taken; state_dirfd is borrowed until `ended`. ended(arg) comes
 * from the loop, when the thread is over and the worker freed. */
struct worker *worker_start(uv_loop_t *loop, struct ship_settings *settings, int state_dirfd,
                            void (*ended)(void *arg), void *arg);
/* What is on its way may still be answered for so long; then the position is saved and the thread
 * ends. */
void worker_stop(struct worker *w, int64_t drain_ms);
/* What it is doing, half a second old at most. A new object. */
json_t *worker_status(struct worker *w);

#endif
