/*
 * Places where a test may have a process killed (SIGKILL): between delivery, accounting and journal,
 * and wherever files change hands. They are there only where PMTA_FAULT_POINTS is defined, that is
 * in the pipe that tests/crash builds for itself; elsewhere FAULT() is nothing.
 *
 *   PMTA_FAULT=NAME[:COUNT]  the COUNTth time (first) that the point NAME is passed kills the process
 *   PMTA_FAULT_ONCE=FILE     made just before; while it is there nothing is killed
 */
#ifndef PMTA_BASE_FAULT_H
#define PMTA_BASE_FAULT_H

/* POINT(ID, "name", "what has happened, and what has not") */
#define FAULT_POINTS(POINT)                                                                        \
    POINT(COMMIT_BEGIN, "commit-begin", "a batch is taken, nothing of it is on disk")              \
    POINT(APPENDED, "appended", "messages are durable, nobody was told")                           \
    POINT(BEFORE_REPLY, "before-reply", "a message is durable, its receiver was not told")         \
    POINT(AFTER_REPLY, "after-reply", "the client may have its 250, the message has no r record")  \
    POINT(BEFORE_SETTLE, "before-settle", "the peer took the message, nothing is noted")           \
    POINT(AFTER_SETTLE, "after-settle", "the outcome is noted, in memory only")                    \
    POINT(ACCOUNTED, "accounted", "accounting records are written, the journal is not")            \
    POINT(JOURNALLED, "journalled", "the journal is written, neither is synced")                   \
    POINT(ACCOUNTS_SYNCED, "accounts-synced", "accounting records are synced, the journal is not") \
    POINT(COMMITTED, "committed", "all is durable, the engine does not know yet")                  \
    POINT(JOURNAL_BEGUN, "journal-begun", "the next journal file exists, nothing is in it")        \
    POINT(COLLECTED, "collected", "the journal is collected, the old files are there too")         \
    POINT(COLLECT_REMOVED, "collect-removed", "the first of the old journal files is gone")        \
    POINT(COMPACTED, "compacted", "sparse segments are copied, the old ones are there too")        \
    POINT(MOVED, "moved", "messages have their new places, in memory only")                        \
    POINT(SEGMENT_REMOVED, "segment-removed", "a finished segment is gone, others are not yet")    \
    POINT(ACCT_TURNED, "acct-turned", "the next accounting file exists, the spool has the old one") \
    POINT(ACCT_PLACED, "acct-placed", "the finished accounting file is in its place, plain too")   \
    POINT(ACCT_FINISHED, "acct-finished", "the finished accounting file is in its place alone")

enum fault_point {
#define POINT_ENUM(id, name, help) FAULT_##id,
    FAULT_POINTS(POINT_ENUM)
#undef POINT_ENUM
        FAULT_COUNT
};

#ifdef PMTA_FAULT_POINTS
void fault_hit(enum fault_point p);
/* A number from the environment, so that small files make rare things happen often. */
unsigned long long fault_number(const char *variable);
#define FAULT(id)           fault_hit(FAULT_##id)
#define FAULT_NUMBER(name)  fault_number(name)
#else
#define FAULT(id)          ((void)0)
#define FAULT_NUMBER(name) 0ull
#endif

#endif
