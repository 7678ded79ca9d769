/* replay.h - reading the history, off the streamer's hot path: one thread a child that reads for the streamer.
 *
 * LMDB lets many processes read at once, so a returning crowd of subscribers costs brokerd nothing.
 */
#ifndef MOD_MERCURE_REPLAY_H
#define MOD_MERCURE_REPLAY_H

#include <stdint.h>

#include "buffer.h"

#include "mercure/history.h"

struct joining;
struct hub;
struct streamer;

/* An update read for a hub's feed. */
typedef struct replay_update {
    struct replay_update *next;
    uint64_t sequence;
    buffer *record;
} replay_update;

/* A reading: for one joining stream (then `events` is the outcome), or for a hub's feed (then `updates` is). */
typedef struct replay_job {
    struct replay_job *next;
    struct hub *hub;
    struct joining *joining; /* NULL: for the feed */
    char *hub_name;
    size_t hub_name_len;
    uint64_t after; /* read what follows this sequence */
    /* out: */
    bool failed; /* the history cannot be read now */
    mercure_history_reading read;
    buffer *events; /* the matching events, one after the other; NULL: none */
    replay_update *updates;
} replay_job;

typedef struct replay replay;

/* Start the thread. NULL when the system refuses. */
replay *replay_start(struct streamer *st);

/* Take no more jobs, end the thread, free what was not done. */
void replay_stop(replay *r);

/* Queue a job; the streamer's thread gets it back through hub_replay_done(). */
void replay_submit(replay *r, replay_job *job);
void replay_job_free(replay_job *job);

#endif
