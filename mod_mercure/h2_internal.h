/* h2_internal.h - what h2_session.c (what arrives), h2_stream.c (what is sent) and h2_bounds.c (what it may cost)
 * share. */
#ifndef MOD_MERCURE_H2_INTERNAL_H
#define MOD_MERCURE_H2_INTERNAL_H

#include <nghttp2/nghttp2.h>

#include "h2_session.h"

#define PATIENCE_MOST 2000 /* and what a session begins with */
#define COST_FRAME    1    /* a window update, a priority, what is passed over: see h2_session_count_frames() */
#define COST_ANSWERED 5    /* a ping, settings, CONTINUATION, empty data */
#define COST_STREAM   10   /* a stream that is reset, or a request that is malformed */
#define GAIN_REQUEST  10
#define MS_A_BYTE     2 /* so slow may a body come, and a response be taken, as with mod_reqtimeout and MinRate=500 */

struct h2_session_kind {
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;
    size_t held;
};

struct h2_session {
    nghttp2_session *ng;
    h2_session_kind *kind;
    h2_session_limits limits;
    const h2_session_owner *calls;
    void *owner;
    h2_stream *streams;
    h2_stream *moved; /* those that have sent something and were not told of yet */
    uint64_t now_ms;
    uint64_t began_ms, idle_since_ms;
    uint64_t head_ms; /* when the head that is arriving began */
    int32_t head_of;  /* its stream, 0: none is arriving */
    size_t head_size; /* bytes of its fields so far */
    uint64_t patience_ms;
    unsigned patience;
    size_t held;   /* bytes of requests that wait */
    unsigned wide; /* streams with a large window */
    bool is_fed_up;
    size_t skip;           /* bytes that are not a frame's head, from here on */
    size_t head_len;       /* bytes of a frame's head that have come */
    size_t length;         /* what it says of its payload */
    uint64_t frames, told; /* that have come, and those that nghttp2 told of */
    bool is_ending;        /* a last GOAWAY is on its way */
    bool said_goodbye;     /* GOAWAY, while open streams go on */
    bool was_used;         /* a head has come */
    char *into;            /* while h2_session_send() runs */
    size_t filled, room;
};

/* Charge the client. False when it has tried the session's patience too far; then `is_fed_up` is set. */
bool h2_session_try_patience(h2_session *session, unsigned cost);

/* Count the frames in what has arrived: nghttp2 does not tell of those that it passes over, of unknown types and of
 * streams that were reset.
 */
void h2_session_count_frames(h2_session *session, const char *bytes, size_t len);

/* A stream's request holds more bytes; false when there is no memory for them. And fewer. */
bool h2_stream_hold_bytes(h2_stream *s, size_t len);
void h2_stream_let_bytes_go(h2_stream *s, size_t len);

/* Is there memory for more of a body than its first window? */
bool h2_session_is_generous(const h2_session *session);

/* The client was of use to somebody. */
void h2_session_please(h2_session *session, unsigned gain);

/* The client has let a response wait until it was given up. */
void h2_session_let_down(h2_session *session);

/* The runner has read some of a body: let more come. */
void h2_session_body_read(h2_stream *s, size_t len);

/* Say 100 Continue. False without memory. */
bool h2_stream_say_continue(h2_stream *s);

/* nghttp2's callback: a DATA frame's bytes. */
int h2_stream_send_data(nghttp2_session *ng, nghttp2_frame *frame, const uint8_t *head, size_t len,
                        nghttp2_data_source *source, void *user_data);

#endif
