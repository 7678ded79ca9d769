/* stream.h - one subscriber's stream of events, from the moment the streamer has it.
 *
 * How its bytes reach the client is its carrier's business: a connection that was taken over from httpd and is all the
 * stream's (carrier_held.c); a request whose worker waits in its handler and writes what the streamer leaves for it
 * (carrier_blocking.c); or one stream of an HTTP/2 connection (carrier_h2.c). Fan-out, deadlines and limits speak to
 * streams and know no carrier.
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
#include "watch.h"

#include "mercure/claims.h"
#include "mercure/index.h"

struct streamer;
struct hub;
struct joining;
struct stream;
struct h2_stream;

typedef struct {
    /* Begin. False when the system refuses. */
    bool (*start)(struct streamer *st, struct stream *s);
    /* Send bytes, or queue them behind what waits already. False when the client is gone, or more waits than may. */
    bool (*send)(struct streamer *st, struct stream *s, buffer *b, const char *at, size_t len);
    /* Is everything written that was sent? */
    bool (*idle)(const struct stream *s);
    /* For how long, in milliseconds, has something waited without any progress? */
    uint64_t (*stalled_ms)(const struct streamer *st, const struct stream *s);
    /* End: after what waits when `clean`, if that can be. Also for a stream that never began. */
    void (*close)(struct streamer *st, struct stream *s, bool clean);
    /* Does each stream take up a connection of its own? */
    bool owns_connection;
} stream_carrier;

extern const stream_carrier carrier_held, carrier_blocking, carrier_h2;

typedef struct {
    unsigned heartbeat_ms; /* 0: off */
    unsigned dispatch_ms;  /* no progress for so long while something waits: the end; 0: off */
    size_t max_pending;    /* bytes that may wait */
} stream_limits;

typedef struct stream {
    timer timer; /* the first field: a timer that fires is a stream */
    const stream_carrier *carrier;
    union {
        struct {
            watch watch;
            transport transport;
            outbox out; /* what the connection did not take yet */
        } held;
        blocking *blocking;
        struct h2_stream *h2; /* NULL: it has closed */
    };
    struct hub *hub;
    struct joining *joining;        /* NULL: live, see hub.h */
    struct stream *next, *previous; /* in the hub's list */
    mercure_grants *grants;         /* NULL: anonymous, public updates only */
    uint64_t position;              /* the hub's updates up to this sequence are settled for this stream */
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
stream *stream_create(const stream_carrier *carrier, size_t count);

/* Begin to watch a stream: its carrier, its timer. Returns false when the system refuses; then close it. */
bool stream_start(struct streamer *st, stream *s);

/* Send bytes, or queue them behind what waits already. May close the stream: look at `closed`. */
void stream_send(struct streamer *st, stream *s, buffer *b, const char *at, size_t len);

/* For carriers: something waits from now on, so that lack of progress counts; and some was written. */
void stream_waits(struct streamer *st, stream *s);
void stream_progressed(struct streamer *st, stream *s);

/* Is everything written that was sent? */
bool stream_idle(const stream *s);

/* End a stream: leave the hub, close the connection. `clean` says goodbye first. The memory goes with the last
 * reference.
 */
void stream_close(struct streamer *st, stream *s, bool clean);

stream *stream_hold(stream *s);
void stream_release(stream *s);

#endif
