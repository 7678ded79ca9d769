/* h2_exchange.h - one request over HTTP/2 and its response: where the streamer's thread meets the thread that runs the
 * request through httpd.
 *
 * Bodies pass in both directions in bounded memory: the request's is bounded by the window that the streamer lets the
 * client see, the response's by H2_RESPONSE_PENDING, past which the runner waits. Nothing is read or written under its
 * lock. Counted by references; knows nothing of nghttp2 or httpd.
 */
#ifndef MOD_MERCURE_H2_EXCHANGE_H
#define MOD_MERCURE_H2_EXCHANGE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "buffer.h"
#include "h2_head.h"
#include "outbox.h"

#define H2_RESPONSE_PENDING (64u << 10) /* bytes of a response that may wait for the client */

/* What is said of an exchange to the streamer's thread: it has news. Called without a lock, from any thread. */
typedef struct {
    void (*news)(void *context, struct h2_exchange *x);
    void *context;
} h2_exchange_listener;

typedef struct h2_exchange h2_exchange;

/* Takes over the head when it succeeds. `has_body` false: the request ended with its head. NULL without memory. */
h2_exchange *h2_exchange_create(h2_head *head, bool has_body);
h2_exchange *h2_exchange_hold(h2_exchange *x);
void h2_exchange_release(h2_exchange *x); /* NULL is allowed */

/* From now on news are told. Before the runner has it. */
void h2_exchange_listen(h2_exchange *x, h2_exchange_listener listener);

const h2_head *h2_exchange_head(const h2_exchange *x);

/* Has the request a body, that is, did it not end with its head? */
bool h2_exchange_has_body(const h2_exchange *x);

/* --- the streamer's side --- */

/* A piece of the request's body has arrived. False without memory. */
bool h2_exchange_add_body(h2_exchange *x, const char *bytes, size_t len);

/* The request's body is complete. */
void h2_exchange_end_body(h2_exchange *x);

/* The client has gone, or the stream was reset, or took too long: both directions end, and a runner that waits wakes. */
void h2_exchange_abort(h2_exchange *x);

/* Bytes of the body that the runner has read since the last call: so much more may come. */
size_t h2_exchange_body_read(h2_exchange *x);

/* What the runner has said. */
typedef struct {
    int status;                                         /* of a head; 0: none is new */
    bool is_interim;                                    /* 100 Continue, and the like */
    const h2_field *fields;                             /* of the head, names in lower case; live as long as the exchange */
    size_t field_count;
    outbox body;                                        /* moved to the caller, to be written in this order */
    bool ended;                                         /* nothing comes behind it */
    bool failed;                                        /* nothing comes any more, and what came is not whole */
    bool finished;                                      /* the runner has left for good */
    unsigned reset_code;                                /* with `failed`: RFC 9113's error code, 0: none in particular */
} h2_exchange_said;

h2_exchange_said h2_exchange_listen_to(h2_exchange *x);

/* So many bytes of the response's body were written to the connection. */
void h2_exchange_written(h2_exchange *x, size_t len);

/* --- the runner's side --- */

/* Read up to `room` bytes of the request's body, waiting up to `wait_ms` for the first. Returns the number of bytes, 0 at
 * the end, -1 when the exchange was aborted, -2 when nothing came in time.
 */
ssize_t h2_exchange_read(h2_exchange *x, char *into, size_t room, unsigned wait_ms);

/* Answer: a status and fields, which are copied. An interim response (1xx) may come before the final one. False without
 * memory, and once aborted.
 */
bool h2_exchange_respond(h2_exchange *x, int status, const h2_field *fields, size_t count);

/* A piece of the response's body, which is copied. Waits while H2_RESPONSE_PENDING bytes wait, but no longer than
 * `wait_ms` without any being taken. False when the exchange was aborted, or that time is over; then it is aborted.
 */
bool h2_exchange_write(h2_exchange *x, const char *bytes, size_t len, unsigned wait_ms);

/* The response is complete. */
void h2_exchange_end(h2_exchange *x);

/* The response cannot be completed: the client gets a RST_STREAM with this code of RFC 9113 section 7. */
void h2_exchange_fail(h2_exchange *x, unsigned reset_code);

/* Was it aborted? */
bool h2_exchange_aborted(h2_exchange *x);

/* The response goes on as a stream of events, and needs no runner any more: a word for the streamer, freed by it. Instead
 * of h2_exchange_end(), which then does nothing.
 */
struct hold_arrival;
void h2_exchange_become_stream(h2_exchange *x, struct hold_arrival *arrival);
struct hold_arrival *h2_exchange_arrival(h2_exchange *x); /* the streamer's; once; NULL: none */

/* The runner is done with everything, the access log included. */
void h2_exchange_finish(h2_exchange *x);

#endif
