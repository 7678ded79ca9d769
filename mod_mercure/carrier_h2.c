/* carrier_h2.c - a stream of events that is one stream of an HTTP/2 connection (h2_connection.h). */
#include "h2_connection.h"
#include "stream.h"
#include "streamer.h"

#define CANCEL 0x8 /* RFC 9113 section 7 */

static bool start(streamer *st, stream *s)
{
    (void)st;
    return s->h2 != NULL;
}

static bool send_bytes(streamer *st, stream *s, buffer *b, const char *at, size_t len)
{
    size_t pending;

    if (s->h2 == NULL) {
        return false;
    }
    pending = s->h2->out.pending;
    if ((pending > 0 && pending + len > s->limits.max_pending) || !h2_stream_write(s->h2, b, at, len)) {
        return false;
    }
    h2_connection_has_work(s->h2);
    if (pending == 0) {
        stream_waits(st, s); /* until the connection's turn, or for the client's window */
    }
    return true;
}

static bool is_idle(const stream *s)
{
    return s->h2 == NULL || s->h2->out.first == NULL;
}

static uint64_t stalled_ms(const streamer *st, const stream *s)
{
    return is_idle(s) || st->now_ms < s->written_ms ? 0 : st->now_ms - s->written_ms;
}

static void end(streamer *st, stream *s, bool clean)
{
    h2_stream *h2 = s->h2;

    (void)st;
    if (h2 == NULL) {
        return;
    }
    s->h2 = NULL;
    h2->events = NULL;
    h2->had_events = true;
    if (clean) {
        h2_stream_end(h2);
    } else {
        h2_stream_reset(h2, CANCEL);
    }
    h2_connection_has_work(h2);
}

const stream_carrier carrier_h2 = {start, send_bytes, is_idle, stalled_ms, end, false};
