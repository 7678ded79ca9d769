/*
 * load_h2.c - subscribers over HTTP/2 (libnghttp2): a connection carries opt.http2 streams, each of them a subscription
 * as load_stream.c knows it. Over TLS the protocol is chosen by ALPN, without TLS it is spoken at once.
 *
 * The settings are those of Chromium: windows that an event stream does not fill, no pushes, a header table that the
 * server may use in full; so a server spends here what it would spend on a browser.
 */
#include "load_stream.h"

#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#define STREAM_WINDOW     (6 * 1024 * 1024)
#define CONNECTION_WINDOW (15 * 1024 * 1024)
#define HEADER_TABLE      65536
#define HEADER_LIST       (256 * 1024)
#define MAX_HEADERS       64

struct h2_client {
    struct connection link; /* fd -1: not connected */
    nghttp2_session *session;
    bool ready;       /* the handshake is over: requests may be sent */
    struct bytes out; /* what the socket has not taken yet */
    struct stream *streams;
    struct stream_thread *thread;
};

static void client_close(struct h2_client *c)
{
    nghttp2_session_del(c->session);
    c->session = NULL;
    c->ready = false;
    bytes_free(&c->out);
    connection_close(&c->link);
}

/* The connection is of no more use. Not from within a callback of nghttp2. */
static void client_lost(struct h2_client *c, int outcome)
{
    client_close(c);
    for (uint32_t i = 0; i < opt.http2; i++) {
        struct stream *s = &c->streams[i];

        s->id = 0;
        if (s->state == STREAM_OPEN)
            stream_ended(c->thread, s);
        else if (s->state >= STREAM_CONNECTING && s->state <= STREAM_HEAD)
            stream_refused(c->thread, s, outcome);
    }
}

static bool client_in_use(const struct h2_client *c)
{
    for (uint32_t i = 0; i < opt.http2; i++)
        if (c->streams[i].state >= STREAM_CONNECTING && c->streams[i].state <= STREAM_OPEN)
            return true;
    return false;
}

/* Write what nghttp2 has to say, as far as the socket takes it. */
static void client_flush(struct h2_client *c)
{
    const uint8_t *data;
    ssize_t len;
    size_t sent = 0;
    enum io outcome;

    while ((len = nghttp2_session_mem_send(c->session, &data)) > 0)
        bytes_append(&c->out, data, (size_t)len);
    if (len < 0) {
        client_lost(c, OUTCOME_MALFORMED);
        return;
    }
    outcome = connection_write(&c->link, c->out.data, c->out.len, &sent);
    if (outcome == IO_FAILED) {
        client_lost(c, OUTCOME_CLOSED);
    } else if (outcome == IO_AGAIN) {
        memmove(c->out.data, c->out.data + sent, c->out.len - sent);
        c->out.len -= (uint32_t)sent;
        connection_watch(&c->link, c->thread->epoll_fd, EPOLLIN | c->link.wanted, c);
    } else {
        bytes_free(&c->out);
        connection_watch(&c->link, c->thread->epoll_fd, EPOLLIN, c);
    }
}

/* ---- requests ---- */

struct header_list {
    nghttp2_nv fields[MAX_HEADERS];
    size_t count;
};

static void header_add(struct header_list *list, const char *name, size_t name_len, const char *value, size_t value_len)
{
    if (list->count < MAX_HEADERS)
        list->fields[list->count++] = (nghttp2_nv){.name = (uint8_t *)(uintptr_t)name,
                                                   .value = (uint8_t *)(uintptr_t)value,
                                                   .namelen = name_len,
                                                   .valuelen = value_len};
}

static void header_text(struct header_list *list, const char *name, const char *value)
{
    header_add(list, name, strlen(name), value, strlen(value));
}

/* Those of --header: lines, each ended by CRLF. HTTP/2 wants small letters in names. */
static void headers_given(struct header_list *list, char *lines)
{
    char *line = lines, *end, *colon;

    for (; line && (end = strstr(line, "\r\n")) != NULL; line = end + 2) {
        const char *value;

        colon = memchr(line, ':', (size_t)(end - line));
        if (!colon)
            continue;
        for (char *p = line; p < colon; p++)
            *p = (char)(*p >= 'A' && *p <= 'Z' ? *p + 32 : *p);
        value = colon + 1 + strspn(colon + 1, " \t");
        header_add(list, line, (size_t)(colon - line), value, value < end ? (size_t)(end - value) : 0);
    }
}

static void client_request(struct h2_client *c, struct stream *s)
{
    struct header_list list = {.count = 0};
    struct bytes path = {0}, authority = {0}, bearer = {0};
    const char *id = s->last_id;
    char topic[512], *given = opt.headers ? strdup(opt.headers) : NULL;

    topic_name(topic, sizeof(topic), s->topic);
    template_expand(&path, opt.subscribe.path, topic);
    bytes_format(&authority, "%s:%u", opt.subscribe.host, opt.subscribe.port);
    header_text(&list, ":method", "GET");
    header_text(&list, ":scheme", opt.subscribe.tls ? "https" : "http");
    header_add(&list, ":authority", 10, authority.data, authority.len);
    header_add(&list, ":path", 5, path.data, path.len);
    header_text(&list, "accept", "text/event-stream");
    header_text(&list, "cache-control", "no-cache");
    if (opt.subscriber_token) {
        bytes_format(&bearer, "Bearer %s", opt.subscriber_token);
        header_add(&list, "authorization", 13, bearer.data, bearer.len);
    }
    if (!id && opt.replay && strcmp(opt.replay, "none") != 0)
        id = opt.replay;
    if (id)
        header_text(&list, "last-event-id", id);
    headers_given(&list, given);
    s->status = 0;
    s->state = STREAM_HEAD;
    s->id = nghttp2_submit_request(c->session, NULL, list.fields, list.count, NULL, s);
    free(given);
    bytes_free(&path);
    bytes_free(&authority);
    bytes_free(&bearer);
    if (s->id < 0) {
        s->id = 0;
        stream_refused(c->thread, s, OUTCOME_MALFORMED);
    }
}

/* This stream is nothing to us any more; the connection goes on. */
static void client_reset(struct h2_client *c, struct stream *s)
{
    if (!s->id || !c->session)
        return;
    nghttp2_session_set_stream_user_data(c->session, s->id, NULL);
    nghttp2_submit_rst_stream(c->session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_CANCEL);
    s->id = 0;
}

/* ---- what the server says ---- */

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                     const uint8_t *value, size_t value_len, uint8_t flags, void *user)
{
    struct stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    (void)flags;
    (void)user;

    if (!s || s->state != STREAM_HEAD)
        return 0;
    if (name_len == 7 && memcmp(name, ":status", 7) == 0) {
        s->status = (uint16_t)strtoul((const char *)value, NULL, 10); /* nghttp2 has checked it */
    } else if (opt.reconnect && !s->last_id &&
               ((name_len == 13 && memcmp(name, "last-event-id", 13) == 0) ||
                (name_len == 21 && memcmp(name, "mercure-last-event-id", 21) == 0))) {
        stream_set_id(&s->last_id, (const char *)value, value_len);
    }
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct h2_client *c = user;
    struct stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

    if (frame->hd.type != NGHTTP2_HEADERS || !s || s->state != STREAM_HEAD || s->status < 200)
        return 0;
    if (s->status == 200) {
        stream_opened(c->thread, s, "");
        return 0;
    }
    client_reset(c, s);
    stream_refused(c->thread, s, s->status < OUTCOMES ? s->status : OUTCOME_MALFORMED);
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data, size_t len, void *user)
{
    struct h2_client *c = user;
    struct stream *s = nghttp2_session_get_stream_user_data(session, id);
    (void)flags;

    if (!s || s->state != STREAM_OPEN)
        return 0;
    stream_take(c->thread, s, (const char *)data, len);
    if (s->state != STREAM_OPEN)
        client_reset(c, s);
    return 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t error, void *user)
{
    struct h2_client *c = user;
    struct stream *s = nghttp2_session_get_stream_user_data(session, id);
    (void)error;

    if (!s)
        return 0;
    s->id = 0;
    if (s->state == STREAM_OPEN)
        stream_ended(c->thread, s);
    else if (s->state == STREAM_HEAD)
        stream_refused(c->thread, s, OUTCOME_CLOSED);
    return 0;
}

/* ---- the connection ---- */

static bool client_session(struct h2_client *c)
{
    static const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, HEADER_TABLE},
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HEADER_LIST},
    };
    nghttp2_session_callbacks *callbacks;
    bool ok;

    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        return false;
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    ok = nghttp2_session_client_new(&c->session, callbacks, c) == 0 &&
         nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, settings, sizeof(settings) / sizeof(*settings)) == 0 &&
         nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW) == 0;
    nghttp2_session_callbacks_del(callbacks);
    return ok;
}

static bool client_speaks_h2(const struct h2_client *c)
{
    static atomic_bool said;
    const unsigned char *protocol = NULL;
    unsigned len = 0;

    if (!c->link.ssl)
        return true;
    SSL_get0_alpn_selected(c->link.ssl, &protocol, &len);
    if (len == 2 && memcmp(protocol, "h2", 2) == 0)
        return true;
    complain_once(&said, "the server does not choose HTTP/2");
    return false;
}

static void client_connecting(struct h2_client *c)
{
    switch (connection_ready(&c->link)) {
    case IO_AGAIN:
        connection_watch(&c->link, c->thread->epoll_fd, c->link.wanted, c);
        return;
    case IO_FAILED:
        client_lost(c, c->link.connected ? OUTCOME_TLS : OUTCOME_CONNECT);
        return;
    default:
        break;
    }
    if (!client_speaks_h2(c) || !client_session(c)) {
        client_lost(c, OUTCOME_PROTOCOL);
        return;
    }
    c->ready = true;
    for (uint32_t i = 0; i < opt.http2; i++)
        if (c->streams[i].state == STREAM_CONNECTING)
            client_request(c, &c->streams[i]);
    client_flush(c);
}

static void client_read(struct h2_client *c)
{
    /* One read for each readiness, so that a busy connection does not starve the others. */
    do {
        ssize_t n = connection_read(&c->link, c->thread->buffer, STREAM_READ_SIZE);

        if (n == READ_AGAIN)
            return; /* the socket is watched for reading in any case */
        if (n <= 0) {
            client_lost(c, OUTCOME_CLOSED);
        } else if (nghttp2_session_mem_recv(c->session, (const uint8_t *)c->thread->buffer, (size_t)n) < 0) {
            client_lost(c, OUTCOME_MALFORMED);
        } else {
            if (nghttp2_session_want_write(c->session))
                client_flush(c);
            if (c->session && !nghttp2_session_want_read(c->session) && !nghttp2_session_want_write(c->session))
                client_lost(c, OUTCOME_CLOSED);
        }
    } while (c->link.fd >= 0 && connection_pending(&c->link));
}

static struct h2_client *client_of(struct stream_thread *t, const struct stream *s)
{
    return &t->clients[(size_t)(s - t->streams) / opt.http2];
}

void h2_ready(struct stream_thread *t, struct h2_client *c)
{
    (void)t;
    if (c->link.fd < 0)
        return;
    if (!c->ready) {
        client_connecting(c);
        return;
    }
    if (c->out.len)
        client_flush(c);
    if (c->link.fd >= 0)
        client_read(c);
}

static void client_open(struct h2_client *c)
{
    const struct url *url = &opt.subscribe;
    uint32_t number = c->streams->number / opt.http2;
    uint16_t port = opt.port_count ? opt.ports[number % opt.port_count] : url->port;

    if (!connection_open(&c->link, url, port, number)) {
        client_lost(c, OUTCOME_CONNECT);
        return;
    }
    if (c->link.ssl)
        SSL_set_alpn_protos(c->link.ssl, (const unsigned char *)"\x02h2", 3);
    connection_watch(&c->link, c->thread->epoll_fd, EPOLLOUT, c);
}

void h2_begin(struct stream_thread *t, struct stream *s)
{
    struct h2_client *c = client_of(t, s);
    bool leaving = c->ready && !nghttp2_session_check_request_allowed(c->session);

    if (leaving && !client_in_use(c))
        client_close(c);
    t->in_flight++;
    s->since_ns = now_ns();
    s->state = STREAM_CONNECTING;
    if (c->link.fd < 0) {
        client_open(c);
    } else if (c->ready && leaving) {
        stream_refused(t, s, OUTCOME_CLOSED); /* the server has said goodbye, the other streams are still there */
    } else if (c->ready) {
        client_request(c, s);
        client_flush(c);
    }
}

void h2_expire(struct stream_thread *t, struct stream *s)
{
    struct h2_client *c = client_of(t, s);

    if (!c->ready) {
        client_lost(c, OUTCOME_TIMEOUT);
        return;
    }
    client_reset(c, s);
    stream_refused(t, s, OUTCOME_TIMEOUT);
    client_flush(c);
}

void h2_start(struct stream_thread *t)
{
    uint32_t count = t->count / opt.http2;

    t->clients = must_alloc(NULL, (count + 1) * sizeof(*t->clients));
    memset(t->clients, 0, (count + 1) * sizeof(*t->clients));
    for (uint32_t i = 0; i < count; i++)
        t->clients[i] = (struct h2_client){.link.fd = -1, .streams = &t->streams[i * opt.http2], .thread = t};
}

void h2_stop(struct stream_thread *t)
{
    for (uint32_t i = 0; t->clients && i < t->count / opt.http2; i++)
        client_close(&t->clients[i]);
    free(t->clients);
    t->clients = NULL;
}
