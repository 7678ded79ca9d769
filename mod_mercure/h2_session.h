/* h2_session.h - the server's side of one HTTP/2 connection: bytes in, bytes out (RFC 9113), on libnghttp2.
 *
 * Knows neither sockets and TLS nor threads, httpd and hubs: its owner feeds it what the client has sent, asks it for
 * what is to be sent, and is told when a request can be run. A request's response comes from its exchange
 * (h2_exchange.h), or, once it has become a stream of events, from the owner.
 *
 * Every thing that a client may cause has a bound: what streams hold is bounded by their windows, what frames cost by
 * the session's patience (see h2_session.c), how long it takes by deadlines. Belongs to one thread.
 */
#ifndef MOD_MERCURE_H2_SESSION_H
#define MOD_MERCURE_H2_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "buffer.h"
#include "h2_exchange.h"
#include "h2_head.h"
#include "outbox.h"

#define H2_STREAMS_MOST   100         /* at once on a connection */
#define H2_REFUSED_STREAM 0x7         /* RFC 9113 section 7: it was not run, and may be tried again */
#define H2_FRAME_MOST     (16384 + 9) /* bytes of a frame that we send */

typedef struct h2_session h2_session;

/* One request, and its response. The session makes it and frees it. */
typedef struct h2_stream {
    struct h2_stream *next, *previous; /* of the session's */
    h2_session *session;
    int32_t id;
    h2_exchange *exchange; /* NULL: its head is not complete yet; or it is a stream of events */
    void *events;          /* the owner's: the stream of events that the response is; NULL: none */
    void *job;             /* the owner's: from run() on; NULL: none */
    /* The session's own: */
    h2_head *head;
    outbox out;
    size_t extended;                   /* bytes of the body for which the window was given back before it was run */
    uint64_t body_due_ms, send_due_ms; /* of what waits; send: 0: nothing does */
    struct h2_stream *next_moved;
    bool moved;  /* in the list of those that have sent something */
    size_t held; /* bytes of the request, as far as they wait */
    bool expects_body, started, is_wide, is_malformed, is_reset, responded, deferred, ending;
} h2_stream;

/* What the owner is told. None of these may free the session. */
typedef struct {
    /* A request can be run: it is complete, or has as much body as may wait. */
    void (*run)(void *owner, h2_stream *s);
    /* Does this request wait for its whole body, as far as the owner's memory goes? Else it is run when a part is here.
     */
    bool (*wants_body)(void *owner, const h2_head *head, size_t waiting);
    /* A stream of events has sent something; s->out says what still waits. */
    void (*moved)(void *owner, h2_stream *s);
    /* The stream is closed: forget it. Its exchange, if it has one, was aborted. */
    void (*closed)(void *owner, h2_stream *s);
} h2_session_owner;

/* What all sessions of a thread share, and how much memory their requests may take. */
typedef struct h2_session_kind h2_session_kind;

/* NULL without memory. */
h2_session_kind *h2_session_kind_create(void);
void h2_session_kind_free(h2_session_kind *kind); /* NULL is allowed */

/* Bytes of requests that wait, in all its sessions. */
size_t h2_session_kind_held(const h2_session_kind *kind);

typedef struct {
    h2_head_limits head;
    unsigned head_ms; /* for the preface and a head to come in */
    unsigned body_ms; /* the same for a piece of a body */
    unsigned send_ms; /* for a client to take a piece of a response */
    unsigned end_ms;  /* to take the rest of a stream of events that has ended */
    unsigned idle_ms; /* without any stream */
} h2_session_limits;

/* Begin a session. NULL without memory. */
h2_session *h2_session_create(h2_session_kind *kind, const h2_session_limits *limits, const h2_session_owner *calls,
                              void *owner, uint64_t now_ms);

/* Frees it and all its streams, telling of each that it is closed. */
void h2_session_free(h2_session *session);

/* Bytes have arrived. False when the connection is to be closed, once what h2_session_send() still gives is sent. */
bool h2_session_receive(h2_session *session, const char *bytes, size_t len, uint64_t now_ms);

/* Write what is to be sent into `into`, as long as `room` leaves place for one more frame of H2_FRAME_MOST bytes.
 * Returns the number of bytes, 0 for nothing now, -1 when the session is broken.
 */
ssize_t h2_session_send(h2_session *session, char *into, size_t room, uint64_t now_ms);

/* Tell the owner which streams have sent something. Call it after h2_session_send(), when the session may be used. */
void h2_session_tell_moved(h2_session *session);

/* Is there something that h2_session_send() would give? */
bool h2_session_wants_to_send(const h2_session *session);

/* Look at the deadlines. False as for h2_session_receive(). `*due_ms` is when to look again. What was too late is
 * reset: see whether the session wants to send.
 */
bool h2_session_look(h2_session *session, uint64_t now_ms, uint64_t *due_ms);

/* Say GOAWAY: no new streams; those that are open go on. */
void h2_session_go_away(h2_session *session);

/* Is all done: nothing open, nothing to be sent, or nothing to be expected any more? */
bool h2_session_is_over(const h2_session *session);

/* Is there a stream that is no stream of events? */
bool h2_session_has_requests(const h2_session *session);

/* The owner that h2_session_create() was given. */
void *h2_session_get_owner(const h2_session *session);

/* --- streams --- */

/* The stream's exchange has news: pass them on. Returns true when the runner has finished; the exchange then is no
 * longer the stream's.
 */
bool h2_stream_take_news(h2_stream *s);

/* More data of a stream of events. False without memory. */
bool h2_stream_write(h2_stream *s, buffer *b, const char *at, size_t len);

/* Nothing comes any more; what waits is sent before the end. */
void h2_stream_end(h2_stream *s);

/* End it at once, with an error code of RFC 9113 section 7. It closes when that is sent, not before. */
void h2_stream_reset(h2_stream *s, unsigned code);

#endif
