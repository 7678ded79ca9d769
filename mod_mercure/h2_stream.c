/* h2_stream.c - what a session sends: responses, their data within the client's windows, and their ends.
 *
 * nghttp2 decides which stream may send how much (all have the same priority, so they take turns), and asks for the
 * data when their time has come. The data is copied once, from the shared buffers into the place where the connection's
 * next writing is put together: frames of several streams leave in one piece.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "h2_internal.h"

#define GAIN_DATA     2
#define GAIN_BYTES_OF 1024 /* of data, one more: clients say several times per frame that they have read it */

/* --- data --- */

static ssize_t read_data(nghttp2_session *ng, int32_t id, uint8_t *into, size_t most, uint32_t *flags,
                         nghttp2_data_source *source, void *user_data)
{
    h2_stream *s = source->ptr;
    size_t len = s->out.pending < most ? s->out.pending : most;

    (void)ng;
    (void)id;
    (void)into;
    (void)user_data;
    if (len == 0 && !s->ending) {
        s->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (s->ending && len == s->out.pending) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    }
    return (ssize_t)len;
}

static void note_moved(h2_stream *s)
{
    if (!s->moved) {
        s->moved = true;
        s->next_moved = s->session->moved;
        s->session->moved = s;
    }
}

int h2_stream_send_data(nghttp2_session *ng, nghttp2_frame *frame, const uint8_t *head, size_t len,
                        nghttp2_data_source *source, void *user_data)
{
    h2_session *session = user_data;
    h2_stream *s = source->ptr;
    size_t left = len;

    (void)ng;
    (void)frame; /* without padding */
    memcpy(session->into + session->filled, head, 9);
    session->filled += 9;
    while (left > 0) {
        outbox_piece *piece = s->out.first;
        size_t now = piece->left < left ? piece->left : left;
        memcpy(session->into + session->filled, piece->at, now);
        session->filled += now;
        left -= now;
        outbox_written(&s->out, now);
    }
    if (s->exchange != NULL && len > 0) {
        h2_exchange_written(s->exchange, len);
    }
    if (s->send_due_ms != 0) {
        uint64_t due = s->send_due_ms + len * MS_A_BYTE, most = session->now_ms + session->limits.send_ms;
        s->send_due_ms = due < most ? due : most;
    }
    h2_session_please(session, GAIN_DATA + (unsigned)(len / GAIN_BYTES_OF));
    note_moved(s);
    /* nghttp2 goes on to the next frame by itself, unless it is told that there is no room for one. */
    return session->room - session->filled < H2_FRAME_MOST ? NGHTTP2_ERR_PAUSE : 0;
}

ssize_t h2_session_send(h2_session *session, char *into, size_t room, uint64_t now_ms)
{
    session->now_ms = now_ms;
    session->into = into;
    session->filled = 0;
    session->room = room;
    while (room - session->filled >= H2_FRAME_MOST) {
        const uint8_t *bytes;
        ssize_t len = nghttp2_session_mem_send(session->ng, &bytes);
        if (len < 0) {
            return -1;
        }
        if (len == 0) {
            break;
        }
        memcpy(into + session->filled, bytes, (size_t)len);
        session->filled += (size_t)len;
    }
    return (ssize_t)session->filled;
}

void h2_session_tell_moved(h2_session *session)
{
    while (session->moved != NULL) {
        h2_stream *s = session->moved;
        session->moved = s->next_moved;
        s->moved = false;
        if (s->events != NULL) {
            session->calls->moved(session->owner, s);
        }
    }
}

static void resume(h2_stream *s)
{
    if (s->deferred) {
        s->deferred = false;
        nghttp2_session_resume_data(s->session->ng, s->id);
    }
}

/* --- responses --- */

/* RFC 9110 6.4.1. The end then comes with the head, which no window holds up. */
static bool has_no_body(const h2_stream *s, const h2_response *response)
{
    return response->status == 204 || response->status == 304 ||
           (s->exchange != NULL && strcmp(h2_head_method(h2_exchange_head(s->exchange)), "HEAD") == 0);
}

static bool submit(h2_stream *s, const h2_response *response)
{
    nghttp2_session *ng = s->session->ng;
    nghttp2_nv *fields = calloc(response->count + 1, sizeof(*fields));
    nghttp2_data_provider data = {.source.ptr = s, .read_callback = read_data};
    char status[16];
    size_t i;
    int result;

    if (fields == NULL) {
        return false;
    }
    snprintf(status, sizeof(status), "%d", response->status);
    fields[0] = (nghttp2_nv){(uint8_t *)":status", (uint8_t *)status, 7, strlen(status), NGHTTP2_NV_FLAG_NONE};
    for (i = 0; i < response->count; i++) {
        const h2_field *field = &response->fields[i];
        fields[i + 1] = (nghttp2_nv){(uint8_t *)field->name, (uint8_t *)field->value, strlen(field->name),
                                     strlen(field->value), NGHTTP2_NV_FLAG_NONE};
    }
    if (response->status < 200) {
        result = nghttp2_submit_headers(ng, NGHTTP2_FLAG_NONE, s->id, NULL, fields, response->count + 1, NULL);
    } else {
        bool whole = (s->ending && s->out.first == NULL) || has_no_body(s, response);
        s->responded = true;
        result = nghttp2_submit_response(ng, s->id, fields, response->count + 1, whole ? NULL : &data);
    }
    free(fields);
    return result == 0;
}

bool h2_stream_say_continue(h2_stream *s)
{
    const h2_response going_on = {.status = 100};

    return submit(s, &going_on);
}

bool h2_stream_take_news(h2_stream *s)
{
    h2_exchange *x = s->exchange;
    h2_exchange_news news = h2_exchange_take_news(x);
    bool good = true;

    outbox_append(&s->out, &news.body);
    s->ending = s->ending || news.ended;
    while (news.responses != NULL) {
        h2_response *response = news.responses;
        news.responses = response->next;
        good = good && !s->responded && submit(s, response);
        h2_response_free(response);
    }
    h2_session_body_read(s, news.body_read);
    if (news.finished) {
        h2_stream_let_bytes_go(s, s->held);
        s->exchange = NULL;
        *h2_exchange_tag(x) = NULL;
    }
    if (!good) {
        h2_stream_reset(s, NGHTTP2_INTERNAL_ERROR);
    } else if (news.failed || (news.finished && !s->responded)) {
        h2_stream_reset(s, news.reset_code != 0 ? news.reset_code : NGHTTP2_INTERNAL_ERROR);
    } else {
        resume(s);
    }
    if (news.finished) {
        h2_exchange_release(x);
    }
    return news.finished;
}

bool h2_stream_write(h2_stream *s, buffer *b, const char *at, size_t len)
{
    if (!outbox_add(&s->out, b, at, len)) {
        return false;
    }
    resume(s);
    return true;
}

void h2_stream_end(h2_stream *s)
{
    s->had_events = true;
    s->ending = true;
    s->send_due_ms = s->session->now_ms + s->session->limits.end_ms;
    resume(s);
}

void h2_stream_reset(h2_stream *s, unsigned code)
{
    if (s->is_reset) {
        return;
    }
    s->is_reset = true;
    if (code == NGHTTP2_CANCEL && s->out.first != NULL && s->events == NULL && !s->had_events) {
        h2_session_let_down(s->session);
    }
    nghttp2_submit_rst_stream(s->session->ng, NGHTTP2_FLAG_NONE, s->id, code);
}
