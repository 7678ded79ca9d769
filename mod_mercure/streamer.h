/* streamer.h - the one thread of a child that holds all its streams.
 *
 * It waits on epoll for: the held connections, brokerd's sockets, and a wake-up for what handlers and the reading
 * thread post. Handlers never touch what belongs to it; they post commands.
 */
#ifndef MOD_MERCURE_STREAMER_H
#define MOD_MERCURE_STREAMER_H

#include <apr_hash.h>
#include <pthread.h>
#include <stdatomic.h>

#include "counters.h"
#include "h2_connection.h"
#include "hub.h"
#include "key_sets.h"
#include "link.h"
#include "replay.h"
#include "ring.h"
#include "stream.h"
#include "timer.h"

#include "mercure/history.h"

#define SCRATCH_KEPT (1u << 20) /* bytes of memory for matching that a thread keeps for the next update */

typedef struct streamer_command {
    struct streamer_command *next;
    void (*run)(struct streamer *st, void *argument);
    void *argument;
} streamer_command;

typedef struct streamer {
    /* The thread's own: */
    int epoll;
    watch awake; /* of the wake-up and the link, for which a turn looks anyway */
    uint64_t now_ms;
    timer_wheel wheel;
    apr_pool_t *pool;
    apr_pool_t *scratch; /* cleared after each use */
    apr_hash_t *hubs;    /* name -> hub */
    uint64_t asked;      /* nonces given out: see hub.h */
    ring *working;       /* of hubs with updates on their way: whose turn is next */
    buffer *comment;     /* the heartbeat */
    broker_link *link;
    replay *replay;
    h2_connections *h2; /* NULL: no HTTP/2 of ours */
    counters *counters;
    key_sets *key_sets; /* the child's */
    /* Shared: */
    pthread_t thread;
    int wake; /* an eventfd */
    pthread_mutex_t lock;
    streamer_command *commands, **commands_end;
    atomic_bool stopping;
    atomic_bool stopped;
    atomic_uint connections; /* held, or with a worker that blocks */
    /* The history, for this thread's reader and for handlers: see streamer_history_begin(). */
    char *history_dir;
    pthread_rwlock_t history_lock;
    mercure_history *history;
} streamer;

/* Start a streamer. Strings are copied.
 *
 * socket_dir    where brokerd's sockets are
 * history_dir   where its history is
 * h2_threads    for requests over HTTP/2; 0: none will come
 *
 * NULL with the reason in `err` when the system refuses.
 */
streamer *streamer_start(const char *socket_dir, const char *history_dir, unsigned h2_threads, counters *c,
                         key_sets *sets, mercure_error *err);

/* The child will end: tell HTTP/2's clients that no more requests are taken, and wait up to `wait_ms` for those that
 * run. Returns false when one still runs; then nothing of ours may be freed.
 */
bool streamer_leave(streamer *st, unsigned wait_ms);

/* End all streams and the thread, and free it. With `free_it` false it may be called where any lock may be held, even
 * malloc's, as in a signal handler: nothing is freed, and if the thread cannot end soon it is left for the process's
 * end.
 */
void streamer_stop(streamer *st, bool free_it);

/* Run `run` in the streamer's thread, soon. Commands keep their order. False without memory. */
bool streamer_post(streamer *st, void (*run)(streamer *st, void *argument), void *argument);

/* Wake the thread: something was left for it. */
void streamer_wake(streamer *st);

/* The history, opened for reading, to be given back by streamer_history_end(). NULL, with the reason, when there is
 * none (then nothing is to be given back). Any thread.
 */
mercure_history *streamer_history_begin(streamer *st, mercure_error *err);
void streamer_history_end(streamer *st);

/* brokerd is another one: its history may be another one too. */
void streamer_history_check(streamer *st);

#endif
