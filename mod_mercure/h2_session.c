/* h2_session.c - see h2_session.h; this file has what arrives, h2_stream.c what is sent, h2_bounds.c what a client may
 * cost.
 *
 * The body of a request waits in its exchange until it is run. So that a slow client does not hold a thread, it is run
 * when its body is complete, or when as much waits as its window allows at first; then the window is made larger.
 */
#include "h2_session.h"

#include <nghttp2/nghttp2.h>
#include <stdlib.h>
#include <string.h>

#include "h2_internal.h"

#define PREFACE 24 /* bytes */

#define WINDOW_AT_FIRST (32u << 10) /* of a stream */
#define RUN_WITH        (16u << 10) /* bytes of a body, of which more is to come */
#define WINDOW_RUNNING  (256u << 10)
#define WIDE_MOST       8           /* streams of a session that have this one at a time */
#define WINDOW_OF_ALL   (1u << 20)  /* of the connection */
#define HEAD_MOST       (64u << 10) /* bytes of a head's fields, that we say; fields past it cost patience */
#define ANSWERS_WAITING 64          /* of pings and settings */

/* --- windows --- */

static void widen(h2_stream *s)
{
    h2_session *session = s->session;

    if (!s->is_wide && session->wide < WIDE_MOST && h2_session_is_generous(session)) {
        s->is_wide = true;
        session->wide++;
        nghttp2_session_set_local_window_size(session->ng, NGHTTP2_FLAG_NONE, s->id, WINDOW_RUNNING);
    }
}

static void no_longer_wide(h2_stream *s)
{
    s->session->wide -= s->is_wide;
    s->is_wide = false;
}

/* --- streams come and go --- */

static h2_stream *stream_of(h2_session *session, int32_t id)
{
    return nghttp2_session_get_stream_user_data(session->ng, id);
}

static int begin_stream(h2_session *session, int32_t id)
{
    /* Round robin: every stream has the same urgency and shares the connection, whatever the client prefers. */
    const nghttp2_extpri same = {.urgency = NGHTTP2_EXTPRI_DEFAULT_URGENCY, .inc = 1};
    h2_stream *s = calloc(1, sizeof(*s));

    if (s == NULL || (s->head = h2_head_create(&session->limits.head)) == NULL) {
        free(s);
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    s->session = session;
    s->id = id;
    s->next = session->streams;
    if (s->next != NULL) {
        s->next->previous = s;
    }
    session->streams = s;
    session->head_of = id;
    session->head_ms = session->now_ms;
    nghttp2_session_set_stream_user_data(session->ng, id, s);
    nghttp2_session_change_extpri_stream_priority(session->ng, id, &same, 1);
    return 0;
}

static void free_stream(h2_stream *s)
{
    h2_session *session = s->session;

    if (s->exchange != NULL) {
        h2_exchange_abort(s->exchange);
    }
    session->calls->closed(session->owner, s);
    h2_stream_let_bytes_go(s, s->held);
    no_longer_wide(s);
    if (s->exchange != NULL) {
        *h2_exchange_tag(s->exchange) = NULL;
        h2_exchange_release(s->exchange);
    }
    if (s->moved) {
        h2_stream **link = &session->moved;
        while (*link != s) {
            link = &(*link)->next_moved;
        }
        *link = s->next_moved;
    }
    if (s->previous != NULL) {
        s->previous->next = s->next;
    } else {
        session->streams = s->next;
    }
    if (s->next != NULL) {
        s->next->previous = s->previous;
    }
    h2_head_free(s->head);
    outbox_clear(&s->out);
    free(s);
}

/* --- requests --- */

static void run(h2_stream *s)
{
    h2_session *session = s->session;

    s->started = true;
    session->calls->run(session->owner, s);
}

static void expect_body(h2_stream *s)
{
    s->body_due_ms = s->session->now_ms + s->session->limits.body_ms;
}

/* The head of a request is complete. */
static int head_complete(h2_session *session, h2_stream *s, bool has_body)
{
    h2_head *head = s->head;

    if (s->is_malformed) {
        return 0; /* its RST_STREAM is on the way */
    }
    h2_head_finish(head);
    if (!h2_stream_hold_bytes(s, h2_head_size(head))) {
        return nghttp2_submit_rst_stream(session->ng, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_REFUSED_STREAM);
    }
    s->exchange = h2_exchange_create(head, has_body);
    if (s->exchange == NULL) {
        return nghttp2_submit_rst_stream(session->ng, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_INTERNAL_ERROR);
    }
    s->head = NULL;
    s->expects_body = has_body;
    session->was_used = true;
    if (has_body) {
        expect_body(s);
    }
    if (has_body && h2_head_refused(head) == 0 && h2_session_is_generous(session) &&
        session->calls->wants_body(session->owner, head, 0)) {
        /* Nothing is asked before the body is here, so whoever waits to be asked for it is told to go on. */
        return h2_head_get(head, "expect") == NULL || h2_stream_say_continue(s) ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    if (!has_body || h2_head_refused(head) != 0 || h2_head_get(head, "expect") != NULL) {
        run(s);
    }
    return 0;
}

static void body_complete(h2_stream *s)
{
    s->expects_body = false;
    no_longer_wide(s);
    if (s->exchange == NULL) {
        return;
    }
    h2_exchange_end_body(s->exchange);
    if (!s->started) {
        run(s);
    }
}

/* A piece of a body has been added. */
static void body_grew(h2_stream *s, size_t len)
{
    h2_session *session = s->session;
    size_t waiting = h2_exchange_body_waiting(s->exchange);
    uint64_t due = s->body_due_ms + len * MS_A_BYTE, most = session->now_ms + session->limits.body_ms;

    s->body_due_ms = due < most ? due : most;
    if (s->started || waiting < RUN_WITH) {
        return;
    }
    if (h2_session_is_generous(session) &&
        session->calls->wants_body(session->owner, h2_exchange_head(s->exchange), waiting)) {
        nghttp2_session_consume_stream(session->ng, s->id, waiting - s->extended);
        s->extended = waiting;
        return;
    }
    run(s);
}

void h2_session_body_read(h2_stream *s, size_t len)
{
    /* What was given back before the request ran is not given back twice. */
    size_t already = len < s->extended ? len : s->extended;

    h2_stream_let_bytes_go(s, len);
    s->extended -= already;
    if (len == 0 || !s->expects_body) {
        return;
    }
    widen(s);
    if (len > already) {
        nghttp2_session_consume_stream(s->session->ng, s->id, len - already);
    }
}

/* --- what nghttp2 tells --- */

static int on_begin_headers(nghttp2_session *ng, const nghttp2_frame *frame, void *user_data)
{
    h2_session *session = user_data;

    session->head_size = 0;
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
        return 0; /* trailers, which nobody wants */
    }
    if (session->said_goodbye) {
        /* The GOAWAY may still wait to be sent, and says that this one is not run. */
        return nghttp2_submit_rst_stream(ng, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_REFUSED_STREAM);
    }
    return begin_stream(session, frame->hd.stream_id);
}

static int on_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                     const uint8_t *value, size_t value_len, uint8_t flags, void *user_data)
{
    h2_session *session = user_data;
    h2_stream *s = stream_of(session, frame->hd.stream_id);

    (void)ng;
    (void)flags;
    session->head_size += name_len + value_len;
    if (session->head_size > HEAD_MOST && !h2_session_try_patience(session, COST_FRAME)) {
        return NGHTTP2_ERR_CALLBACK_FAILURE; /* a byte may be a field of 4 KiB, with HPACK */
    }
    if (s == NULL || s->head == NULL) {
        return 0;
    }
    return h2_head_add(s->head, (const char *)name, name_len, (const char *)value, value_len)
               ? 0
               : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

/* nghttp2 would leave such a field out; RFC 9113 8.2.1 wants the request refused. */
static int on_invalid_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                             const uint8_t *value, size_t value_len, uint8_t flags, void *user_data)
{
    h2_stream *s = stream_of(user_data, frame->hd.stream_id);

    (void)name;
    (void)name_len;
    (void)value;
    (void)value_len;
    (void)flags;
    if (s != NULL && !s->is_malformed) {
        s->is_malformed = true;
        nghttp2_submit_rst_stream(ng, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_PROTOCOL_ERROR);
    }
    return 0;
}

static unsigned cost_of(const nghttp2_frame_hd *hd)
{
    switch (hd->type) {
    case NGHTTP2_HEADERS:
        return 0; /* what a stream costs is counted when it comes to nothing */
    case NGHTTP2_DATA:
        return 0; /* see on_frame_recv() */
    case NGHTTP2_RST_STREAM:
        return COST_STREAM;
    case NGHTTP2_PING:
    case NGHTTP2_SETTINGS:
    case NGHTTP2_CONTINUATION:
        return COST_ANSWERED;
    default:
        return COST_FRAME;
    }
}

static int on_begin_frame(nghttp2_session *ng, const nghttp2_frame_hd *hd, void *user_data)
{
    h2_session *session = user_data;

    (void)ng;
    session->told++;
    if (hd->type == NGHTTP2_PRIORITY && hd->stream_id == 0) {
        return NGHTTP2_ERR_CALLBACK_FAILURE; /* RFC 9113 6.3; nghttp2 no longer looks at priorities of this kind */
    }
    return h2_session_try_patience(session, cost_of(hd)) ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int on_frame_recv(nghttp2_session *ng, const nghttp2_frame *frame, void *user_data)
{
    h2_session *session = user_data;
    h2_stream *s = frame->hd.stream_id != 0 ? stream_of(session, frame->hd.stream_id) : NULL;
    bool ends = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;

    (void)ng;
    if (frame->hd.type == NGHTTP2_DATA && frame->hd.length == frame->data.padlen && !ends &&
        !h2_session_try_patience(session, COST_ANSWERED)) {
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    if (frame->hd.type == NGHTTP2_HEADERS && session->head_of == frame->hd.stream_id) {
        session->head_of = 0;
    }
    if (s == NULL || (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)) {
        return 0;
    }
    if (frame->hd.type == NGHTTP2_HEADERS && s->head != NULL) {
        return head_complete(session, s, !ends);
    }
    if (ends) {
        body_complete(s);
    }
    return 0;
}

static int on_data(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *data, size_t len, void *user_data)
{
    h2_session *session = user_data;
    h2_stream *s = stream_of(session, id);

    (void)flags;
    /* The connection's window only bounds what is on its way; what waits is bounded by the streams'. */
    if (nghttp2_session_consume_connection(ng, len) != 0) {
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    if (s == NULL || s->exchange == NULL) {
        nghttp2_session_consume_stream(ng, id, len); /* nobody reads it */
        return 0;
    }
    if (!h2_stream_hold_bytes(s, len) || !h2_exchange_add_body(s->exchange, (const char *)data, len)) {
        h2_exchange_abort(s->exchange); /* what comes of it yet would have a hole */
        nghttp2_submit_rst_stream(ng, NGHTTP2_FLAG_NONE, id, NGHTTP2_ENHANCE_YOUR_CALM);
        return 0;
    }
    body_grew(s, len);
    return 0;
}

static int on_frame_send(nghttp2_session *ng, const nghttp2_frame *frame, void *user_data)
{
    h2_session *session = user_data;
    h2_stream *s;

    if (frame->hd.type == NGHTTP2_RST_STREAM && frame->rst_stream.error_code != NGHTTP2_NO_ERROR) {
        (void)h2_session_try_patience(session, COST_STREAM); /* seen when the next frame comes */
    }
    if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0 ||
        (frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS)) {
        return 0;
    }
    h2_session_please(session, GAIN_REQUEST);
    s = stream_of(session, frame->hd.stream_id);
    if (s != NULL && s->expects_body) {
        /* The response is complete, and the rest of the request is of no use: RFC 9113 8.1. */
        nghttp2_submit_rst_stream(ng, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_NO_ERROR);
    }
    return 0;
}

/* A response's head that nghttp2 cannot send: it is too large. */
static int on_frame_not_send(nghttp2_session *ng, const nghttp2_frame *frame, int reason, void *user_data)
{
    h2_stream *s = frame->hd.type == NGHTTP2_HEADERS ? stream_of(user_data, frame->hd.stream_id) : NULL;

    (void)ng;
    (void)reason;
    if (s != NULL) {
        h2_stream_reset(s, NGHTTP2_INTERNAL_ERROR);
    }
    return 0;
}

static int on_stream_close(nghttp2_session *ng, int32_t id, uint32_t error_code, void *user_data)
{
    h2_session *session = user_data;
    h2_stream *s = stream_of(session, id);

    (void)ng;
    (void)error_code;
    if (session->head_of == id) {
        session->head_of = 0;
    }
    if (s != NULL) {
        free_stream(s);
    }
    session->idle_since_ms = session->now_ms;
    return 0;
}

static ssize_t no_send(nghttp2_session *ng, const uint8_t *data, size_t len, int flags, void *user_data)
{
    (void)ng;
    (void)data;
    (void)flags;
    (void)user_data;
    return (ssize_t)len; /* h2_session_send() asks for the bytes instead */
}

/* --- all sessions --- */

h2_session_kind *h2_session_kind_create(void)
{
    h2_session_kind *kind = calloc(1, sizeof(*kind));
    nghttp2_session_callbacks *calls;

    if (kind == NULL || nghttp2_session_callbacks_new(&kind->callbacks) != 0 ||
        nghttp2_option_new(&kind->option) != 0) {
        h2_session_kind_free(kind);
        return NULL;
    }
    calls = kind->callbacks;
    nghttp2_session_callbacks_set_send_callback(calls, no_send);
    nghttp2_session_callbacks_set_on_begin_frame_callback(calls, on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(calls, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(calls, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(calls, on_invalid_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(calls, on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(calls, on_data);
    nghttp2_session_callbacks_set_on_frame_send_callback(calls, on_frame_send);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(calls, on_frame_not_send);
    nghttp2_session_callbacks_set_on_stream_close_callback(calls, on_stream_close);
    nghttp2_session_callbacks_set_send_data_callback(calls, h2_stream_send_data);
    nghttp2_option_set_no_auto_window_update(kind->option, 1);
    nghttp2_option_set_no_closed_streams(kind->option, 1);
    nghttp2_option_set_max_outbound_ack(kind->option, ANSWERS_WAITING);
    /* Responses are short and rarely alike: no memory for a table of their fields. */
    nghttp2_option_set_max_deflate_dynamic_table_size(kind->option, 0);
    return kind;
}

void h2_session_kind_free(h2_session_kind *kind)
{
    if (kind != NULL) {
        nghttp2_session_callbacks_del(kind->callbacks);
        nghttp2_option_del(kind->option);
        free(kind);
    }
}

size_t h2_session_kind_held(const h2_session_kind *kind)
{
    return kind->held;
}

static bool submit_settings(nghttp2_session *ng)
{
    static const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, H2_STREAMS_MOST},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW_AT_FIRST},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HEAD_MOST},
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
    };

    return nghttp2_submit_settings(ng, NGHTTP2_FLAG_NONE, settings, sizeof(settings) / sizeof(settings[0])) == 0;
}

h2_session *h2_session_create(h2_session_kind *kind, const h2_session_limits *limits, const h2_session_owner *calls,
                              void *owner, uint64_t now_ms)
{
    h2_session *session = calloc(1, sizeof(*session));

    if (session == NULL) {
        return NULL;
    }
    session->kind = kind;
    session->limits = *limits;
    session->calls = calls;
    session->owner = owner;
    session->now_ms = session->began_ms = session->idle_since_ms = session->patience_ms = now_ms;
    session->patience = PATIENCE_MOST;
    session->skip = PREFACE;
    if (nghttp2_session_server_new2(&session->ng, kind->callbacks, session, kind->option) != 0) {
        free(session);
        return NULL;
    }
    if (!submit_settings(session->ng) ||
        nghttp2_session_set_local_window_size(session->ng, NGHTTP2_FLAG_NONE, 0, WINDOW_OF_ALL) != 0) {
        nghttp2_session_del(session->ng);
        free(session);
        return NULL;
    }
    return session;
}

void h2_session_free(h2_session *session)
{
    while (session->streams != NULL) {
        free_stream(session->streams);
    }
    nghttp2_session_del(session->ng);
    free(session);
}

/* No more; the client learns why, if it reads. */
static void give_up(h2_session *session, uint32_t code)
{
    if (!session->is_ending) {
        session->is_ending = true;
        nghttp2_session_terminate_session(session->ng, code);
    }
}

bool h2_session_receive(h2_session *session, const char *bytes, size_t len, uint64_t now_ms)
{
    ssize_t used;

    session->now_ms = now_ms;
    if (session->is_ending) {
        return false;
    }
    h2_session_count_frames(session, bytes, len);
    used = nghttp2_session_mem_recv(session->ng, (const uint8_t *)bytes, len);
    if (session->frames > session->told) {
        (void)h2_session_try_patience(session, (unsigned)(session->frames - session->told) * COST_FRAME);
        session->told = session->frames;
    }
    if (used < 0 || session->is_fed_up) {
        give_up(session, session->is_fed_up || used == NGHTTP2_ERR_FLOODED ? NGHTTP2_ENHANCE_YOUR_CALM
                         : used == NGHTTP2_ERR_NOMEM                       ? NGHTTP2_INTERNAL_ERROR
                                                                           : NGHTTP2_PROTOCOL_ERROR);
        return false;
    }
    return true;
}

void h2_session_go_away(h2_session *session)
{
    if (!session->is_ending && !session->said_goodbye) {
        session->said_goodbye = true;
        nghttp2_submit_goaway(session->ng, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(session->ng),
                              NGHTTP2_NO_ERROR, NULL, 0);
    }
}

bool h2_session_has_requests(const h2_session *session)
{
    const h2_stream *s;

    for (s = session->streams; s != NULL && (s->events != NULL || s->had_events || s->is_reset); s = s->next) {
    }
    return s != NULL;
}

void *h2_session_get_owner(const h2_session *session)
{
    return session->owner;
}

bool h2_session_wants_to_send(const h2_session *session)
{
    return nghttp2_session_want_write(session->ng) != 0;
}

bool h2_session_is_over(const h2_session *session)
{
    if (h2_session_wants_to_send(session)) {
        return false;
    }
    return session->is_ending || !nghttp2_session_want_read(session->ng) ||
           (session->said_goodbye && session->streams == NULL);
}

/* --- deadlines --- */

static void sooner(uint64_t *due, uint64_t when)
{
    *due = when < *due ? when : *due;
}

/* A body that does not come. One that waits for its runner is not the client's fault. */
static void look_at_body(h2_stream *s, uint64_t *due)
{
    h2_session *session = s->session;

    if (!s->expects_body || s->exchange == NULL) {
        return;
    }
    if (session->now_ms >= s->body_due_ms && s->started &&
        h2_exchange_body_waiting(s->exchange) >= WINDOW_AT_FIRST / 2) {
        expect_body(s);
    }
    if (session->now_ms >= s->body_due_ms) {
        h2_stream_reset(s, NGHTTP2_CANCEL);
        return;
    }
    sooner(due, s->body_due_ms);
}

/* A response that is not taken. Streams of events have an owner who looks. */
static void look_at_response(h2_stream *s, uint64_t *due)
{
    h2_session *session = s->session;

    if (s->events != NULL || s->out.first == NULL) {
        s->send_due_ms = 0;
        return;
    }
    if (s->send_due_ms == 0) {
        s->send_due_ms = session->now_ms + session->limits.send_ms;
    }
    if (session->now_ms >= s->send_due_ms) {
        h2_stream_reset(s, NGHTTP2_CANCEL);
        return;
    }
    sooner(due, s->send_due_ms);
}

bool h2_session_look(h2_session *session, uint64_t now_ms, uint64_t *due_ms)
{
    h2_stream *s, *next;

    session->now_ms = now_ms;
    *due_ms = UINT64_MAX;
    if (session->head_of != 0) {
        if (now_ms >= session->head_ms + session->limits.head_ms) {
            give_up(session, NGHTTP2_ENHANCE_YOUR_CALM);
            return false;
        }
        sooner(due_ms, session->head_ms + session->limits.head_ms);
    }
    for (s = session->streams; s != NULL; s = next) {
        next = s->next;
        look_at_body(s, due_ms);
        look_at_response(s, due_ms);
    }
    if (session->is_fed_up) {
        give_up(session, NGHTTP2_ENHANCE_YOUR_CALM);
        return false;
    }
    if (session->streams == NULL) {
        uint64_t end = session->was_used ? session->idle_since_ms + session->limits.idle_ms
                                         : session->began_ms + session->limits.head_ms;
        if (now_ms >= end) {
            give_up(session, NGHTTP2_NO_ERROR);
            return false;
        }
        sooner(due_ms, end);
    }
    return true;
}
