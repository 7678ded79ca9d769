/* history.h - the updates of every hub, in order, on disk (LMDB). PROTOCOL 6.
 *
 * A hub numbers its updates 1, 2, 3, ...: the *sequence*. Subscribers know them by event id. One process writes
 * (brokerd, from one thread); any number of processes read, each in short transactions of its own, so readers never
 * wait for the writer and do not keep freed pages from being used again for long.
 *
 * Who holds what: a mercure_history is allocated by the open functions and freed by mercure_history_close(). The
 * reading functions may be called from several threads at once, also on one opened for writing; the writing ones belong
 * to one thread. A process must not open the same history twice, nor carry one over a fork().
 */
#ifndef MERCURE_HISTORY_H
#define MERCURE_HISTORY_H

#include <stdint.h>

#include "mercure/error.h"
#include "mercure/str.h"
#include "mercure/update.h"

typedef struct mercure_history mercure_history;

/* How much of a hub's history is kept; 0 means without bound. All three hold at once. */
typedef struct {
    uint64_t events;  /* number of updates */
    uint64_t seconds; /* age */
    uint64_t bytes;   /* sum of the records' sizes; the newest update is kept whatever its size */
} mercure_retention;

/* The size of the memory map, and so the most that the history of all hubs together can take on disk. A file grows only
 * as it is used. (valgrind cannot map more.)
 */
#define MERCURE_HISTORY_MAX_BYTES (UINT64_C(32) << 30)

/* Open the history in `directory` (created with mode 0700 when missing) for writing.
 *
 * durable   every commit waits for the disk; otherwise the system writes when it likes and mercure_history_sync()
 * forces it
 *
 * Returns MERCURE_OK; MERCURE_STORE with the reason, also when the directory was written by another version.
 */
mercure_status mercure_history_open_writer(const char *directory, bool durable, mercure_history **history,
                                           mercure_error *err);

/* Open an existing history for reading. MERCURE_STORE when there is none yet. */
mercure_status mercure_history_open_reader(const char *directory, mercure_history **history, mercure_error *err);

/* Has the file that this reader holds been removed or replaced? Then it reads the past: close it and open again. */
bool mercure_history_replaced(const mercure_history *history);

/* NULL is allowed. */
void mercure_history_close(mercure_history *history);

/* One update to append. */
typedef struct {
    mercure_str hub;
    mercure_retention retention;
    const unsigned char *publisher; /* 16 bytes: who sent it, */
    uint64_t number;                /* its how-manieth this is, */
    uint64_t floor;                 /* and below which number it will not repeat itself */
    mercure_str record;             /* checked by mercure_record_parse() */
    /* out: */
    uint64_t sequence; /* the update's place in its hub */
    bool repeated;     /* this publication had been stored before: nothing was appended */
} mercure_append;

/* Append `count` updates, in order, in one transaction, and discard what the hubs' retention no longer allows.
 *
 * now_ms   the wall clock, in milliseconds since 1970
 *
 * Returns MERCURE_OK when all are committed; MERCURE_STORE when none is.
 */
mercure_status mercure_history_append(mercure_history *history, mercure_append *updates, size_t count, uint64_t now_ms,
                                      mercure_error *err);

/* Discard what has grown too old, and what a tightened retention no longer allows, a bounded amount at a time.
 *
 * more   out: there is more to discard; call again soon
 */
mercure_status mercure_history_trim(mercure_history *history, uint64_t now_ms, bool *more, mercure_error *err);

/* Forget the publications that are more than `seconds` old, so that a repetition of one would be stored anew (a
 * publisher gives up after some seconds), and readers that died.
 */
mercure_status mercure_history_tidy(mercure_history *history, uint64_t now_ms, uint64_t seconds, mercure_error *err);

/* Write to the disk what a history that is not durable holds in memory. */
mercure_status mercure_history_sync(mercure_history *history, mercure_error *err);

/* The sequence of a hub's newest update; 0 when it never had one. */
mercure_status mercure_history_head(mercure_history *history, mercure_str hub, uint64_t *head, mercure_error *err);

/* Resolve an event id to its sequence; when it was used more than once, to the earliest one that is kept.
 * O(log n). MERCURE_NOT_FOUND when it is unknown or was discarded.
 */
mercure_status mercure_history_find(mercure_history *history, mercure_str hub, mercure_str id, uint64_t *sequence,
                                    mercure_error *err);

/* Called for each update read; its bytes are valid during the call only. Return false to stop after this one. */
typedef bool (*mercure_history_visit)(void *context, uint64_t sequence, const mercure_record *record,
                                      mercure_str bytes);

typedef struct {
    uint64_t last;  /* the sequence up to which the hub is now known; `after` itself when nothing followed */
    uint64_t first; /* the oldest that is kept: past `after` + 1, what lies between was discarded; 0: no such hub */
    bool at_head;   /* nothing followed when the transaction began */
} mercure_history_reading;

/* Read a hub's updates after sequence `after`, oldest first, in one transaction: keep what `visit` does short.
 */
mercure_status mercure_history_read(mercure_history *history, mercure_str hub, uint64_t after,
                                    mercure_history_visit visit, void *context, mercure_history_reading *reading,
                                    mercure_error *err);

#endif
