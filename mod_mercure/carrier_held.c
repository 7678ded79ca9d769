/* carrier_held.c - a stream that has a connection to itself: HTTP/1.1, raw bytes until the connection's end. */
#include <stddef.h>
#include <sys/epoll.h>

#include "stream.h"
#include "streamer.h"

/* Write what waits, as far as the connection takes it. False when the client is gone. */
static bool flush(streamer *st, stream *s)
{
    outbox *out = &s->held.out;

    while (out->first != NULL) {
        ssize_t sent = transport_write(&s->held.transport, out->first->at, out->first->left);
        if (sent < 0) {
            return false;
        }
        if (sent == 0) {
            return true;
        }
        outbox_written(out, (size_t)sent);
        s->written_ms = st->now_ms;
    }
    return true;
}

/* Something has happened on the connection. */
static void on_event(streamer *st, watch *w, unsigned events)
{
    stream *s = (stream *)((char *)w - offsetof(stream, held.watch));

    if (((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) && !transport_drain(&s->held.transport)) ||
        (events & (EPOLLHUP | EPOLLERR))) {
        stream_close(st, s, false);
        return;
    }
    if (s->held.out.first == NULL) {
        return;
    }
    if (!flush(st, s)) {
        stream_close(st, s, false);
    } else if (s->held.out.first == NULL) {
        stream_progressed(st, s);
    }
}

static bool start(streamer *st, stream *s)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = &s->held.watch};

    s->held.watch.event = on_event;
    return epoll_ctl(st->epoll, EPOLL_CTL_ADD, s->held.transport.fd, &event) == 0;
}

static bool send_bytes(streamer *st, stream *s, buffer *b, const char *at, size_t len)
{
    outbox *out = &s->held.out;
    bool was_idle = out->first == NULL;

    while (was_idle && len > 0) {
        ssize_t sent = transport_write(&s->held.transport, at, len);
        if (sent < 0) {
            return false;
        }
        if (sent == 0) {
            break;
        }
        at += sent;
        len -= (size_t)sent;
        s->written_ms = st->now_ms;
    }
    if (len == 0) {
        return true;
    }
    if (out->pending + len > s->limits.max_pending + (was_idle ? len : 0) || !outbox_add(out, b, at, len)) {
        return false;
    }
    if (was_idle) {
        stream_waits(st, s);
    }
    return true;
}

static bool is_idle(const stream *s)
{
    return s->held.out.first == NULL;
}

static uint64_t stalled_ms(const streamer *st, const stream *s)
{
    return is_idle(s) || st->now_ms < s->written_ms ? 0 : st->now_ms - s->written_ms;
}

static void close_connection(streamer *st, stream *s, bool clean)
{
    (void)st;
    if (s->held.transport.fd >= 0) {
        transport_close(&s->held.transport, clean && is_idle(s));
    }
    outbox_clear(&s->held.out);
}

const stream_carrier carrier_held = {start, send_bytes, is_idle, stalled_ms, close_connection, true};
