/* h2_internal.h - what h2_session.c (what arrives) and h2_stream.c (what is sent) share. */
#ifndef MOD_MERCURE_H2_INTERNAL_H
#define MOD_MERCURE_H2_INTERNAL_H

#include <nghttp2/nghttp2.h>

#include "h2_session.h"

#define MS_A_BYTE 2 /* so slow may a body come, and a response be taken, as with mod_reqtimeout and MinRate=500 */

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

/* The client was of use to somebody. */
void h2_session_please(h2_session *session, unsigned gain);

/* The runner has read some of a body: let more come. */
void h2_session_body_read(h2_stream *s, size_t len);

/* The runner has finished: nothing of the request waits any more. */
void h2_session_request_over(h2_stream *s);

/* Say 100 Continue. False without memory. */
bool h2_stream_say_continue(h2_stream *s);

/* nghttp2's callback: a DATA frame's bytes. */
int h2_stream_send_data(nghttp2_session *ng, nghttp2_frame *frame, const uint8_t *head, size_t len,
                        nghttp2_data_source *source, void *user_data);

#endif
