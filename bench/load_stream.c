/*
 * load_stream.c - the life of a subscriber's stream: connecting, the request, the answer, its body, the end, and the
 * way back; over HTTP/1.1, with a connection for each stream. With HTTP/2 load_h2.c takes the place of the connection.
 */
#include "load_stream.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#define HEAD_LIMIT (64 * 1024)

/* False when the stream has come to its end. */
static bool stream_body(struct stream_thread *t, struct stream *s, const char *p, size_t len, uint64_t at)
{
    const char *piece;
    size_t piece_len, used;

    if (!s->chunked)
        return stream_text(t, s, p, len, at);
    while (len) {
        used = chunks_step(&s->chunks, p, len, &piece, &piece_len);
        if (piece_len && !stream_text(t, s, piece, piece_len, at))
            return false;
        if (s->chunks.state == CHUNK_END || s->chunks.state == CHUNK_BAD)
            return false;
        p += used;
        len -= used;
    }
    return true;
}

void stream_close(struct stream *s)
{
    connection_close(&s->link);
    bytes_free(&s->carry);
    free(s->next_id);
    s->next_id = NULL;
    s->has_mark = s->has_foreign = false;
    s->state = STREAM_DONE;
}

static void stream_retry_later(struct stream_thread *t, struct stream *s)
{
    s->since_ns = now_ns() + opt.reconnect_delay_ms * NS_PER_MS;
    s->retry_next = NULL;
    if (t->retry_last)
        t->retry_last->retry_next = s;
    else
        t->retry_first = s;
    t->retry_last = s;
}

void stream_refused(struct stream_thread *t, struct stream *s, int outcome)
{
    t->in_flight--;
    stream_close(s);
    if (s->ever_open) {
        t->result.reconnects_refused++;
        stream_retry_later(t, s);
        return;
    }
    t->result.refused[outcome]++;
    atomic_fetch_add(&t->settled, 1);
}

void stream_ended(struct stream_thread *t, struct stream *s)
{
    t->result.ended++;
    atomic_fetch_sub(&t->open_now, 1);
    stream_close(s);
    if (opt.reconnect)
        stream_retry_later(t, s);
}

void stream_opened(struct stream_thread *t, struct stream *s, const char *last_event_id)
{
    t->in_flight--;
    s->state = STREAM_OPEN;
    /* The hub may say where the stream starts: enough to resume even before the first event. */
    if (opt.reconnect && !s->last_id && last_event_id[0])
        stream_set_id(&s->last_id, last_event_id, strlen(last_event_id));
    atomic_fetch_add(&t->open_now, 1);
    if (s->ever_open) {
        t->result.reconnects++;
        return;
    }
    s->ever_open = true;
    atomic_fetch_add(&t->opened, 1);
    atomic_store(&t->last_open_ns, now_ns());
    atomic_fetch_add(&t->settled, 1);
}

static void stream_request(struct stream *s)
{
    const struct url *url = &opt.subscribe;
    const char *id = s->last_id;
    char topic[512];

    topic_name(topic, sizeof(topic), s->topic);
    bytes_format(&s->carry, "GET ");
    template_expand(&s->carry, url->path, topic);
    bytes_format(&s->carry, " HTTP/1.1\r\nHost: %s:%u\r\n", url->host, url->port);
    bytes_format(&s->carry, "Accept: text/event-stream\r\nCache-Control: no-cache\r\n");
    if (opt.subscriber_token)
        bytes_format(&s->carry, "Authorization: Bearer %s\r\n", opt.subscriber_token);
    if (!id && opt.replay && strcmp(opt.replay, "none") != 0)
        id = opt.replay;
    if (id)
        bytes_format(&s->carry, "Last-Event-ID: %s\r\n", id);
    bytes_format(&s->carry, "%s\r\n", opt.headers ? opt.headers : "");
}

static void stream_send(struct stream_thread *t, struct stream *s)
{
    size_t sent = 0;
    enum io outcome = connection_write(&s->link, s->carry.data, s->carry.len, &sent);

    if (outcome == IO_FAILED) {
        stream_refused(t, s, OUTCOME_CLOSED);
        return;
    }
    if (outcome == IO_AGAIN) { /* keep what has not gone out */
        memmove(s->carry.data, s->carry.data + sent, s->carry.len - sent);
        s->carry.len -= (uint32_t)sent;
        connection_watch(&s->link, t->epoll_fd, s->link.wanted, s);
        return;
    }
    bytes_free(&s->carry);
    s->state = STREAM_HEAD;
    connection_watch(&s->link, t->epoll_fd, EPOLLIN, s);
}

static void stream_connecting(struct stream_thread *t, struct stream *s)
{
    switch (connection_ready(&s->link)) {
    case IO_AGAIN:
        connection_watch(&s->link, t->epoll_fd, s->link.wanted, s);
        return;
    case IO_FAILED:
        stream_refused(t, s, s->link.connected ? OUTCOME_TLS : OUTCOME_CONNECT);
        return;
    default:
        stream_request(s);
        s->state = STREAM_SENDING;
        stream_send(t, s);
    }
}

void stream_begin(struct stream_thread *t, struct stream *s)
{
    const struct url *url = &opt.subscribe;
    uint16_t port = opt.port_count ? opt.ports[s->number % opt.port_count] : url->port;

    t->in_flight++;
    s->since_ns = now_ns();
    s->state = STREAM_CONNECTING;
    if (!connection_open(&s->link, url, port, s->number)) {
        stream_refused(t, s, OUTCOME_CONNECT);
        return;
    }
    connection_watch(&s->link, t->epoll_fd, EPOLLOUT, s);
}

void stream_take(struct stream_thread *t, struct stream *s, const char *data, size_t len)
{
    uint64_t at = now_ns(), before = s->delivered;
    bool goes_on = stream_body(t, s, data, len, at);

    if (s->delivered != before) {
        atomic_store_explicit(&t->last_delivery_ns, at, memory_order_relaxed);
        atomic_fetch_add_explicit(&t->delivered, s->delivered - before, memory_order_relaxed);
    }
    if (!goes_on)
        stream_ended(t, s);
}

/* What of the bytes follows the head is the beginning of the body. */
static void stream_head(struct stream_thread *t, struct stream *s, const char *data, size_t len)
{
    struct http_head head;
    struct bytes whole = {0};
    ssize_t used;

    if (s->carry.len) {
        bytes_append(&s->carry, data, len);
        whole = s->carry;
        s->carry = (struct bytes){0};
        data = whole.data;
        len = whole.len;
    }
    used = http_parse_head(data, len, &head);
    if (used == 0 && len < HEAD_LIMIT) {
        if (whole.data)
            s->carry = whole;
        else
            bytes_append(&s->carry, data, len);
        return;
    }
    if (used <= 0) {
        stream_refused(t, s, OUTCOME_MALFORMED);
    } else if (head.status != 200) {
        stream_refused(t, s, head.status);
    } else {
        s->chunked = head.chunked;
        s->chunks = (struct chunks){0};
        stream_opened(t, s, head.last_event_id);
        stream_take(t, s, data + used, len - (size_t)used);
    }
    bytes_free(&whole);
}

static void stream_read(struct stream_thread *t, struct stream *s)
{
    ssize_t n;

    /* One read for each readiness, so that a busy stream does not starve the others. */
    do {
        n = connection_read(&s->link, t->buffer, STREAM_READ_SIZE);
        if (n == READ_AGAIN) {
            connection_watch(&s->link, t->epoll_fd, s->link.wanted, s);
            return;
        }
        if (n <= 0 && s->state == STREAM_HEAD) {
            stream_refused(t, s, OUTCOME_CLOSED);
        } else if (n <= 0) {
            stream_ended(t, s);
        } else if (s->state == STREAM_HEAD) {
            stream_head(t, s, t->buffer, (size_t)n);
        } else {
            stream_take(t, s, t->buffer, (size_t)n);
        }
    } while (s->link.fd >= 0 && connection_pending(&s->link));
}

void stream_ready(struct stream_thread *t, struct stream *s)
{
    if (s->state == STREAM_CONNECTING)
        stream_connecting(t, s);
    else if (s->state == STREAM_SENDING)
        stream_send(t, s);
    else if (s->state == STREAM_HEAD || s->state == STREAM_OPEN)
        stream_read(t, s);
}
