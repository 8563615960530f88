/*
 * Layout of the limit table: what limit_table.c (finding cells) and limit_cell.c (levels and
 * connections) share. A change of anything in here needs another LIMIT_TABLE_MAGIC.
 */
#ifndef PMTA_BASE_LIMIT_TABLE_INT_H
#define PMTA_BASE_LIMIT_TABLE_INT_H

#include "base/limit_table.h"

#include <pthread.h>
#include <stdatomic.h>

#define LIMIT_TABLE_MAGIC UINT64_C(0x32306d696c746d70) /* "pmtlim02" */

/* One cache line holds what take and give touch. */
struct limit_cell {
    _Alignas(64) _Atomic uint64_t level; /* theoretical arrival time, 1/4096 us; 0: never used */
    _Atomic int64_t charged_us;          /* when limit_cell_charge was last called; 0: never */
    _Atomic uint32_t holders;            /* bit per share that refers to the cell */
    _Atomic uint32_t in_use;             /* under the lock, but read back after a crash */
    uint32_t next;                       /* index + 1 in the chain or in the free list; lock */
    uint32_t name_len;
    uint64_t hash;
    _Atomic uint64_t wanted; /* when a process last waited for a place, us << 6 | its share; or 0 */
    _Alignas(64) _Atomic uint32_t connections[LIMIT_TABLE_PROCESSES];
    char name[LIMIT_NAME_MAX];
};

struct limit_table_head {
    uint64_t magic;
    uint64_t bytes; /* of the whole table */
    uint32_t cell_bytes, cells, processes;
    uint64_t seed;
    pthread_mutex_t lock;      /* robust, shared by processes; guards what follows and the chains */
    _Atomic uint32_t made;     /* cells that were ever in use: all below this index */
    uint32_t free_head;        /* index + 1 of one given back, or 0 */
    uint32_t hand;             /* where the search for cells to take back goes on */
    int64_t full_until_us;     /* a full table is not searched again before */
    _Atomic uint32_t expected; /* bit per share: has levels to bring from before the start */
    _Atomic uint32_t brought;  /* of these, they are here */
};

/* What lies in the memfd. Pages that nobody touched take no memory. */
struct limit_table_memory {
    struct limit_table_head head;
    _Alignas(4096) uint32_t chains[LIMIT_TABLE_CELLS]; /* index + 1, or 0 */
    _Alignas(4096) struct limit_cell cells[LIMIT_TABLE_CELLS];
};

struct limit_table {
    struct limit_table_memory *mem;
    unsigned share; /* LIMIT_TABLE_OBSERVER: none */
    uint32_t *refs; /* this process's references by cell, as sparse as the table */
};

#endif
