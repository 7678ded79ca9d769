/* stream.h - one subscriber's stream of events, from the moment the streamer has it.
 *
 * A stream is *held*: a connection taken over from httpd (transport.h), written by the streamer itself; or *blocking*:
 * a request whose worker waits in its handler and writes what the streamer leaves for it (blocking.h). Fan-out,
 * deadlines and limits speak to streams and know neither.
 *
 * A handler makes a stream and gives it to the streamer's thread, to which it belongs from then on.
 */
#ifndef MOD_MERCURE_STREAM_H
#define MOD_MERCURE_STREAM_H

#include "blocking.h"
#include "buffer.h"
#include "counters.h"
#include "outbox.h"
#include "timer.h"
#include "transport.h"

#include "mercure/claims.h"
#include "mercure/index.h"

struct streamer;
struct hub;
struct joining;

typedef struct {
    unsigned heartbeat_ms; /* 0: off */
    unsigned dispatch_ms;  /* no progress for so long while something waits: the end; 0: off */
    size_t max_pending;    /* bytes that may wait */
} stream_limits;

typedef struct stream {
    timer timer; /* the first field: a timer that fires is a stream */
    transport transport;
    blocking *blocking; /* NULL: held */
    struct hub *hub;
    struct joining *joining;        /* NULL: live, see hub.h */
    struct stream *next, *previous; /* in the hub's list */
    mercure_grants *grants;         /* NULL: anonymous, public updates only */
    uint64_t position;              /* the hub's updates up to this sequence are settled for this stream */
    outbox out;                     /* of a held stream: what its connection did not take yet */
    uint64_t written_ms;            /* when something was last written */
    uint64_t end_ms;                /* when it ends, 0: never */
    stream_limits limits;
    counters_ticket counted; /* its places in the limits, given back when it closes */
    unsigned references;     /* its own, and one for each fan-out that has chosen it */
    bool closed;
    unsigned short member_count;
    mercure_index_member members[]; /* its matchers; each one's owner is the stream */
} stream;

/* Make a stream for `count` matchers, not yet given to anybody. NULL without memory. */
stream *stream_create(size_t count);

/* Begin to watch a stream: its connection, its timer. Returns false when the system refuses; then close it. */
bool stream_start(struct streamer *st, stream *s);

/* Send bytes, or queue them behind what waits already. May close the stream: look at `closed`. */
void stream_send(struct streamer *st, stream *s, buffer *b, const char *at, size_t len);

/* Something has happened on a held stream's connection. May close the stream. */
void stream_event(struct streamer *st, stream *s, unsigned events);

/* The stream's timer has fired: heartbeat, deadline or lack of progress. May close the stream. */
void stream_timer(struct streamer *st, stream *s);

/* Is everything written that was sent? */
bool stream_idle(stream *s);

/* End a stream: leave the hub, close the connection. `clean` says goodbye first. The memory goes with the last
 * reference.
 */
void stream_close(struct streamer *st, stream *s, bool clean);

stream *stream_hold(stream *s);
void stream_release(stream *s);

#endif
