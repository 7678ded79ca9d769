/* stream.c - see stream.h. */
#include "stream.h"

#include <stdlib.h>
#include <sys/epoll.h>

#include "hub.h"
#include "streamer.h"

stream *stream_create(size_t count)
{
    stream *s = calloc(1, sizeof(*s) + count * sizeof(s->members[0]));
    size_t i;

    if (s == NULL) {
        return NULL;
    }
    s->transport.fd = -1;
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

bool stream_idle(stream *s)
{
    return s->blocking != NULL ? blocking_idle(s->blocking) : s->out.first == NULL;
}

bool stream_start(streamer *st, stream *s)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = s};

    s->written_ms = st->now_ms;
    if (s->blocking == NULL && epoll_ctl(st->epoll, EPOLL_CTL_ADD, s->transport.fd, &event) != 0) {
        return false;
    }
    if (s->blocking != NULL) {
        *blocking_stream(s->blocking) = s;
    }
    arm(st, s);
    return true;
}

/* Write what waits, as far as the connection takes it. */
static void flush(streamer *st, stream *s)
{
    while (s->out.first != NULL) {
        ssize_t sent = transport_write(&s->transport, s->out.first->at, s->out.first->left);
        if (sent < 0) {
            stream_close(st, s, false);
            return;
        }
        if (sent == 0) {
            return;
        }
        outbox_written(&s->out, (size_t)sent);
        s->written_ms = st->now_ms;
    }
}

static void send_held(streamer *st, stream *s, buffer *b, const char *at, size_t len)
{
    bool was_idle = s->out.first == NULL;

    while (was_idle && len > 0) {
        ssize_t sent = transport_write(&s->transport, at, len);
        if (sent < 0) {
            stream_close(st, s, false);
            return;
        }
        if (sent == 0) {
            break;
        }
        at += sent;
        len -= (size_t)sent;
        s->written_ms = st->now_ms;
    }
    if (len == 0) {
        return;
    }
    if (s->out.pending + len > s->limits.max_pending + (was_idle ? len : 0) || !outbox_add(&s->out, b, at, len)) {
        stream_close(st, s, false); /* it comes back with its Last-Event-ID and misses nothing */
        return;
    }
    if (was_idle) {
        s->written_ms = st->now_ms; /* from here on lack of progress counts */
        arm(st, s);
    }
}

static void send_blocking(streamer *st, stream *s, buffer *b, const char *at, size_t len)
{
    size_t pending = blocking_pending(s->blocking);

    if ((pending > 0 && pending + len > s->limits.max_pending) || !blocking_push(s->blocking, b, at, len)) {
        stream_close(st, s, false);
        return;
    }
    if (pending == 0) {
        s->written_ms = st->now_ms;
        arm(st, s);
    }
}

void stream_send(streamer *st, stream *s, buffer *b, const char *at, size_t len)
{
    if (s->blocking != NULL) {
        send_blocking(st, s, b, at, len);
    } else {
        send_held(st, s, b, at, len);
    }
}

void stream_event(streamer *st, stream *s, unsigned events)
{
    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) && !transport_drain(&s->transport)) {
        stream_close(st, s, false);
        return;
    }
    if (events & (EPOLLHUP | EPOLLERR)) {
        stream_close(st, s, false);
        return;
    }
    if (s->out.first == NULL) {
        return;
    }
    flush(st, s);
    if (!s->closed && s->out.first == NULL) {
        hub_stream_drained(st, s);
    }
}

static bool stalled(streamer *st, stream *s)
{
    uint64_t since;

    if (s->limits.dispatch_ms == 0) {
        return false;
    }
    if (s->blocking != NULL) {
        return blocking_stalled_ms(s->blocking, st->now_ms) >= s->limits.dispatch_ms;
    }
    since = st->now_ms > s->written_ms ? st->now_ms - s->written_ms : 0;
    return s->out.first != NULL && since >= s->limits.dispatch_ms;
}

void stream_timer(streamer *st, stream *s)
{
    if (s->end_ms != 0 && st->now_ms >= s->end_ms) {
        stream_close(st, s, true);
        return;
    }
    if (stalled(st, s)) {
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
    if (s->blocking != NULL) {
        *blocking_stream(s->blocking) = NULL;
        blocking_end(s->blocking);
        blocking_release(s->blocking);
    } else {
        transport_close(&s->transport, clean && s->out.first == NULL);
    }
    outbox_clear(&s->out);
    counters_leave(st->counters, &s->counted);
    mercure_grants_release(s->grants);
    atomic_fetch_sub(&st->streams, 1);
    stream_release(s);
}
