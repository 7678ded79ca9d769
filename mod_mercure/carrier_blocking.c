/* carrier_blocking.c - a stream whose worker waits in the request's handler (blocking.h). */
#include "stream.h"
#include "streamer.h"

static bool start(streamer *st, stream *s)
{
    (void)st;
    *blocking_stream(s->blocking) = s;
    return true;
}

static bool send_bytes(streamer *st, stream *s, buffer *b, const char *at, size_t len)
{
    size_t pending = blocking_pending(s->blocking);

    if ((pending > 0 && pending + len > s->limits.max_pending) || !blocking_push(s->blocking, b, at, len)) {
        return false;
    }
    if (pending == 0) {
        stream_waits(st, s);
    }
    return true;
}

static bool is_idle(const stream *s)
{
    return blocking_idle(s->blocking);
}

static uint64_t stalled_ms(const streamer *st, const stream *s)
{
    return blocking_stalled_ms(s->blocking, st->now_ms);
}

static void end(streamer *st, stream *s, bool clean)
{
    (void)st;
    (void)clean; /* the worker writes what it has taken */
    if (s->blocking != NULL) {
        *blocking_stream(s->blocking) = NULL;
        blocking_end(s->blocking);
        blocking_release(s->blocking);
    }
}

const stream_carrier carrier_blocking = {start, send_bytes, is_idle, stalled_ms, end, true};
