/* stream.c - see stream.h. */
#include "stream.h"

#include <stdlib.h>

#include "hub.h"
#include "streamer.h"

static void fire(void *streamer, timer *t);

stream *stream_create(const stream_carrier *carrier, size_t count)
{
    stream *s = calloc(1, sizeof(*s) + count * sizeof(s->members[0]));
    size_t i;

    if (s == NULL) {
        return NULL;
    }
    s->timer.fire = fire;
    s->carrier = carrier;
    if (carrier == &carrier_held) {
        s->held.transport.fd = -1;
    }
    s->references = 1;
    s->member_count = (unsigned short)count;
    for (i = 0; i < count; i++) {
        s->members[i].owner = s;
    }
    return s;
}

stream *stream_hold(stream *s)
{
    s->references++;
    return s;
}

void stream_release(stream *s)
{
    if (--s->references == 0) {
        free(s);
    }
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
    if (a == 0 || b == 0) {
        return a == 0 ? b : a;
    }
    return a < b ? a : b;
}

/* Arm the timer for whatever comes first. Deliveries do not move the timer: when it fires too early for the heartbeat,
 * it is armed again.
 */
static void arm(streamer *st, stream *s)
{
    uint64_t due = s->end_ms;

    if (s->limits.heartbeat_ms > 0) {
        due = sooner(due, s->written_ms + s->limits.heartbeat_ms);
    }
    if (s->limits.dispatch_ms > 0 && !stream_idle(s)) {
        /* The last progress lies between written_ms and now: looking a little too often does no harm. */
        due = sooner(due, s->written_ms + s->limits.dispatch_ms);
    }
    if (due == 0) {
        timer_cancel(&s->timer);
        return;
    }
    timer_arm(&st->wheel, &s->timer, due > st->now_ms ? due : st->now_ms + TIMER_TICK_MS);
}

bool stream_idle(const stream *s)
{
    return s->carrier->idle(s);
}

bool stream_start(streamer *st, stream *s)
{
    s->written_ms = st->now_ms;
    if (!s->carrier->start(st, s)) {
        return false;
    }
    arm(st, s);
    return true;
}

void stream_send(streamer *st, stream *s, buffer *b, const char *at, size_t len)
{
    if (!s->carrier->send(st, s, b, at, len)) {
        stream_close(st, s, false); /* it comes back with its Last-Event-ID and misses nothing */
    }
}

void stream_waits(streamer *st, stream *s)
{
    s->written_ms = st->now_ms;
    arm(st, s);
}

void stream_progressed(streamer *st, stream *s)
{
    s->written_ms = st->now_ms;
    if (stream_idle(s)) {
        hub_stream_drained(st, s);
    }
}

/* The timer has fired: heartbeat, deadline or lack of progress. */
static void fire(void *context, timer *t)
{
    streamer *st = context;
    stream *s = (stream *)t; /* its first field */

    if (s->end_ms != 0 && st->now_ms >= s->end_ms) {
        stream_close(st, s, true);
        return;
    }
    if (s->limits.dispatch_ms > 0 && s->carrier->stalled_ms(st, s) >= s->limits.dispatch_ms) {
        stream_close(st, s, false);
        return;
    }
    if (s->limits.heartbeat_ms > 0 && st->now_ms >= s->written_ms + s->limits.heartbeat_ms && stream_idle(s)) {
        stream_send(st, s, st->comment, st->comment->data, st->comment->len);
        if (s->closed) {
            return;
        }
        s->written_ms = st->now_ms;
    }
    arm(st, s);
}

void stream_close(streamer *st, stream *s, bool clean)
{
    if (s->closed) {
        return;
    }
    s->closed = true;
    timer_cancel(&s->timer);
    hub_leave(st, s);
    s->carrier->close(st, s, clean);
    counters_leave(st->counters, &s->counted);
    mercure_grants_release(s->grants);
    if (s->carrier->owns_connection) {
        atomic_fetch_sub(&st->connections, 1);
    }
    stream_release(s);
}
