/* h2_talk.h - both ends of a connection of HTTP/2 in memory, for the tests of h2_session.c: nghttp2's client, and our
 * server, whose owner notes what it is told. The clock is made up. Frames can also be sent past the client, as bytes.
 */
#ifndef MERCURE_UNIT_H2_TALK_H
#define MERCURE_UNIT_H2_TALK_H

#include <nghttp2/nghttp2.h>

#include "../../mod_mercure/h2_session.h"
#include "unit.h"

#define TALK_STREAMS 512
#define HEAD_MS      10000
#define BODY_MS      20000
#define IDLE_MS      5000
#define SEND_MS      60000
#define END_MS       5000
#define NEVER        UINT32_MAX

/* What one stream came to. */
typedef struct {
    h2_stream *stream; /* the server's; NULL: not run yet, or closed */
    unsigned runs, closed, moved;
    size_t upload; /* bytes of the request's body that are still to be sent */
    bool upload_goes_on;
    int status; /* what the client got: */
    size_t body;
    bool ended;
    uint32_t code; /* of the stream's end; NEVER: it is open */
} talk_stream;

typedef struct {
    h2_session_kind *kind;
    h2_session *server;
    nghttp2_session *client;
    nghttp2_option *option;
    uint64_t now_ms;
    size_t room;   /* bytes that are asked for at once */
    bool wants;    /* what wants_body() says */
    bool good;     /* what h2_session_receive() said last */
    bool is_quiet; /* the client hears nothing */
    uint32_t goaway;
    size_t frames; /* of data, that the client got */
    size_t acks;   /* of its pings */
    talk_stream streams[TALK_STREAMS];
} talk;

static inline talk_stream *talk_at(talk *t, int32_t id)
{
    assert_true(id > 0 && id / 2 < TALK_STREAMS);
    return &t->streams[id / 2];
}

/* --- the owner --- */

static inline void talk_run(void *owner, h2_stream *s)
{
    talk_stream *at = talk_at(owner, s->id);

    at->runs++;
    at->stream = s;
    s->job = at;
}

static inline bool talk_wants_body(void *owner, const h2_head *head, size_t waiting)
{
    talk *t = owner;

    (void)head;
    (void)waiting;
    return t->wants;
}

static inline void talk_moved(void *owner, h2_stream *s)
{
    talk_at(owner, s->id)->moved++;
}

static inline void talk_closed(void *owner, h2_stream *s)
{
    talk_stream *at = talk_at(owner, s->id);

    at->closed++;
    at->stream = NULL;
}

static const h2_session_owner talk_owner = {talk_run, talk_wants_body, talk_moved, talk_closed};

/* --- the client --- */

static inline int talk_on_frame(nghttp2_session *ng, const nghttp2_frame *frame, void *data)
{
    talk *t = data;

    (void)ng;
    if (frame->hd.type == NGHTTP2_GOAWAY) {
        t->goaway = frame->goaway.error_code;
    } else if (frame->hd.type == NGHTTP2_PING) {
        t->acks++;
    } else if (frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS) {
        t->frames += frame->hd.type == NGHTTP2_DATA;
        talk_at(t, frame->hd.stream_id)->ended |= (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    }
    return 0;
}

static inline int talk_on_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                                 const uint8_t *value, size_t value_len, uint8_t flags, void *data)
{
    char text[16] = "";

    (void)ng;
    (void)flags;
    if (name_len == 7 && memcmp(name, ":status", 7) == 0 && value_len < sizeof(text)) {
        memcpy(text, value, value_len);
        talk_at(data, frame->hd.stream_id)->status = atoi(text);
    }
    return 0;
}

static inline int talk_on_data(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *bytes, size_t len,
                               void *data)
{
    (void)ng;
    (void)flags;
    (void)bytes;
    talk_at(data, id)->body += len;
    return 0;
}

static inline int talk_on_close(nghttp2_session *ng, int32_t id, uint32_t code, void *data)
{
    (void)ng;
    talk_at(data, id)->code = code;
    return 0;
}

static inline ssize_t talk_upload(nghttp2_session *ng, int32_t id, uint8_t *into, size_t most, uint32_t *flags,
                                  nghttp2_data_source *source, void *data)
{
    talk_stream *at = source->ptr;
    size_t len = at->upload < most ? at->upload : most;

    (void)ng;
    (void)id;
    (void)data;
    if (len == 0 && at->upload_goes_on) {
        return NGHTTP2_ERR_DEFERRED;
    }
    memset(into, 'u', len);
    at->upload -= len;
    if (at->upload == 0 && !at->upload_goes_on) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    }
    return (ssize_t)len;
}

/* --- both --- */

/* Everything that can pass, passes. */
static inline void talk_pump(talk *t)
{
    bool moved = true;

    while (moved) {
        const uint8_t *bytes;
        char *into = malloc(t->room);
        ssize_t len;
        moved = false;
        while ((len = nghttp2_session_mem_send(t->client, &bytes)) > 0) {
            t->good = h2_session_receive(t->server, (const char *)bytes, (size_t)len, t->now_ms);
            moved = true;
        }
        while ((len = h2_session_send(t->server, into, t->room, t->now_ms)) > 0) {
            assert_true((size_t)len <= t->room);
            if (!t->is_quiet) {
                assert_int_equal(nghttp2_session_mem_recv(t->client, (uint8_t *)into, (size_t)len), len);
            }
            moved = true;
        }
        h2_session_tell_moved(t->server);
        free(into);
    }
}

/* `window`: the client's, of a stream; its connection's is wide. */
static inline talk *talk_begin(uint32_t window)
{
    talk *t = calloc(1, sizeof(*t));
    const h2_session_limits limits = {{100, 8190, 8190}, HEAD_MS, BODY_MS, SEND_MS, END_MS, IDLE_MS};
    const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window},
                                               {NGHTTP2_SETTINGS_ENABLE_PUSH, 0}};
    nghttp2_session_callbacks *calls;

    t->now_ms = 1000000;
    t->room = H2_FRAME_MOST;
    t->goaway = NEVER;
    for (size_t i = 0; i < TALK_STREAMS; i++) {
        t->streams[i].code = NEVER;
    }
    t->kind = h2_session_kind_create();
    assert_non_null(t->kind);
    t->server = h2_session_create(t->kind, &limits, &talk_owner, t, t->now_ms);
    assert_non_null(t->server);
    nghttp2_session_callbacks_new(&calls);
    nghttp2_session_callbacks_set_on_frame_recv_callback(calls, talk_on_frame);
    nghttp2_session_callbacks_set_on_header_callback(calls, talk_on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(calls, talk_on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(calls, talk_on_close);
    nghttp2_option_new(&t->option);
    nghttp2_option_set_no_auto_window_update(t->option, 1);
    assert_int_equal(nghttp2_session_client_new2(&t->client, calls, t, t->option), 0);
    nghttp2_session_callbacks_del(calls);
    nghttp2_submit_settings(t->client, NGHTTP2_FLAG_NONE, settings, COUNT(settings));
    nghttp2_session_set_local_window_size(t->client, NGHTTP2_FLAG_NONE, 0, 1 << 30);
    talk_pump(t);
    assert_true(t->good);
    return t;
}

static inline void talk_end(talk *t)
{
    h2_session_free(t->server);
    assert_int_equal(h2_session_kind_held(t->kind), 0);
    for (size_t i = 0; i < TALK_STREAMS; i++) {
        assert_null(t->streams[i].stream);
        assert_true(t->streams[i].closed <= 1);
    }
    h2_session_kind_free(t->kind);
    nghttp2_session_del(t->client);
    nghttp2_option_del(t->option);
    free(t);
}

#define TALK_FIELD(name, value)                                                                                        \
    (nghttp2_nv)                                                                                                       \
    {                                                                                                                  \
        (uint8_t *)(name), (uint8_t *)(value), strlen(name), strlen(value), NGHTTP2_NV_FLAG_NONE                       \
    }

/* A request with one field more, which may be NULL. `upload` bytes of a body; `goes_on`: and more later. */
static inline int32_t talk_ask_with(talk *t, const char *name, const char *value, size_t upload, bool goes_on)
{
    bool has_body = upload > 0 || goes_on;
    nghttp2_nv fields[5] = {TALK_FIELD(":method", has_body ? "POST" : "GET"), TALK_FIELD(":scheme", "https"),
                            TALK_FIELD(":authority", "example.com"), TALK_FIELD(":path", "/a?b")};
    int32_t id = (int32_t)nghttp2_session_get_next_stream_id(t->client);
    talk_stream *at = talk_at(t, id);
    nghttp2_data_provider data = {.source.ptr = at, .read_callback = talk_upload};

    if (name != NULL) {
        fields[4] = TALK_FIELD(name, value);
    }
    at->upload = upload;
    at->upload_goes_on = goes_on;
    assert_int_equal(
        nghttp2_submit_request(t->client, NULL, fields, name != NULL ? 5 : 4, has_body ? &data : NULL, NULL), id);
    talk_pump(t);
    return id;
}

static inline talk_stream *talk_ask(talk *t, size_t upload, bool goes_on)
{
    return talk_at(t, talk_ask_with(t, NULL, NULL, upload, goes_on));
}

/* More of a request's body. */
static inline void talk_upload_more(talk *t, talk_stream *at, size_t upload, bool goes_on)
{
    at->upload = upload;
    at->upload_goes_on = goes_on;
    nghttp2_session_resume_data(t->client, (int32_t)(at - t->streams) * 2 + 1);
    talk_pump(t);
}

/* A frame as bytes, past the client. */
static inline void talk_frame(talk *t, uint8_t type, uint8_t flags, uint32_t id, const char *payload, size_t len)
{
    char bytes[9 + 64];
    const uint8_t head[9] = {0,          (uint8_t)(len >> 8), (uint8_t)len,        type,
                             flags,      (uint8_t)(id >> 24), (uint8_t)(id >> 16), (uint8_t)(id >> 8),
                             (uint8_t)id};

    assert_true(len <= 64);
    memcpy(bytes, head, 9);
    memcpy(bytes + 9, payload, len);
    t->good = h2_session_receive(t->server, bytes, 9 + len, t->now_ms);
}

/* The runner's part. */
static inline void talk_respond(talk_stream *at, int status, size_t body, bool ends)
{
    h2_exchange *x = at->stream->exchange;
    char *bytes = calloc(1, body + 1);

    assert_true(h2_exchange_respond(x, status, NULL, 0));
    if (body > 0) {
        assert_true(h2_exchange_write(x, bytes, body, 1000));
    }
    if (ends) {
        h2_exchange_end(x);
        h2_exchange_finish(x);
    }
    h2_stream_take_news(at->stream);
    free(bytes);
}

/* The runner reads what is there. */
static inline size_t talk_read_body(talk *t, talk_stream *at)
{
    char into[4096];
    size_t total = 0;
    ssize_t got;

    while ((got = h2_exchange_read(at->stream->exchange, into, sizeof(into), 0)) > 0) {
        for (ssize_t i = 0; i < got; i++) {
            assert_int_equal(into[i], 'u');
        }
        total += (size_t)got;
    }
    h2_stream_take_news(at->stream);
    talk_pump(t);
    return total;
}

/* The runner makes it a stream of events. */
static inline void talk_become_events(talk_stream *at)
{
    assert_true(h2_exchange_respond(at->stream->exchange, 200, NULL, 0));
    h2_exchange_become_stream(at->stream->exchange, NULL);
    h2_exchange_finish(at->stream->exchange);
    assert_true(h2_stream_take_news(at->stream));
    at->stream->events = at;
}

static inline bool talk_event(talk_stream *at, size_t len)
{
    buffer *b = buffer_create(len);
    bool good;

    memset(b->data, 'e', len);
    good = h2_stream_write(at->stream, b, b->data, len);
    buffer_release(b);
    return good;
}

#endif
