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

typedef struct h2_exchange h2_exchange;

/* Tells the streamer's thread that an exchange has news. Called without a lock, from any thread. */
typedef struct {
    void (*news)(void *context, h2_exchange *x);
    void *context;
} h2_exchange_listener;

/* Takes over the head when it succeeds. `has_body` false: the request ended with its head. NULL without memory. */
h2_exchange *h2_exchange_create(h2_head *head, bool has_body);
h2_exchange *h2_exchange_hold(h2_exchange *x);
void h2_exchange_release(h2_exchange *x); /* NULL is allowed */

/* Who is told of news. Set before the runner has the exchange. */
void h2_exchange_listen(h2_exchange *x, h2_exchange_listener listener);

/* A place for the streamer's thread to note what this is for; NULL at first. */
void **h2_exchange_tag(h2_exchange *x);

const h2_head *h2_exchange_head(const h2_exchange *x);

/* Has the request a body, that is, did it not end with its head? */
bool h2_exchange_has_body(const h2_exchange *x);

/* --- the streamer's side --- */

/* A piece of the request's body has arrived. False without memory. */
bool h2_exchange_add_body(h2_exchange *x, const char *bytes, size_t len);

/* The request's body is complete. */
void h2_exchange_end_body(h2_exchange *x);

/* The client has gone, or the stream was reset, or took too long: both directions end, and a runner that waits wakes.
 */
void h2_exchange_abort(h2_exchange *x);

/* Bytes of the request's body that the runner has not read yet. */
size_t h2_exchange_body_waiting(h2_exchange *x);

/* A response's head. */
typedef struct h2_response {
    struct h2_response *next;
    int status; /* 1xx: another one follows */
    size_t count;
    h2_field fields[]; /* names in lower case */
} h2_response;

/* What the runner has said or done since the last time. */
typedef struct {
    h2_response *responses; /* the caller's, to be freed by h2_response_free(): interim ones and the final one */
    outbox body;            /* moved to the caller, to be written in this order */
    size_t body_read;       /* bytes of the request's body that it has read: so much more may come */
    /* from the beginning: */
    bool ended;          /* nothing comes behind it */
    bool failed;         /* nothing comes any more, and what came is not whole */
    bool finished;       /* the runner has left for good */
    unsigned reset_code; /* with `failed`: RFC 9113's error code */
} h2_exchange_news;

h2_exchange_news h2_exchange_take_news(h2_exchange *x);
void h2_response_free(h2_response *response); /* one */

/* The stream has closed, and nobody wants the news: drop them. Has the runner finished? */
bool h2_exchange_take_end(h2_exchange *x);

/* So many bytes of the response's body were written to the connection. */
void h2_exchange_written(h2_exchange *x, size_t len);

/* --- the runner's side --- */

/* Read up to `room` bytes of the request's body, waiting up to `wait_ms` for the first. Returns the number of bytes, 0
 * at the end, -1 when the exchange was aborted, -2 when nothing came in time.
 */
ssize_t h2_exchange_read(h2_exchange *x, char *into, size_t room, unsigned wait_ms);

/* How long is the whole request's body, read or not? -1: it is not complete yet. */
ssize_t h2_exchange_body_length(h2_exchange *x);

/* While `*others` is not 0, others wait for this runner's thread: then h2_exchange_read() and h2_exchange_write() wait
 * 5 s at most for a client that is slower than 4 KiB a second. Lives as long as the exchange. NULL: nobody ever waits.
 */
void h2_exchange_share(h2_exchange *x, const atomic_uint *others);

/* Answer: a status and fields, which are copied. An interim response (1xx) may come before the final one. False without
 * memory, and once aborted.
 */
bool h2_exchange_respond(h2_exchange *x, int status, const h2_field *fields, size_t count);

/* A piece of the response's body, which is copied. Waits while H2_RESPONSE_PENDING bytes wait, but no longer than
 * `wait_ms` without any being taken, or with less than 100 bytes a second. False when the exchange was aborted, or that
 * time is over; then it is aborted.
 */
bool h2_exchange_write(h2_exchange *x, const char *bytes, size_t len, unsigned wait_ms);

/* The response is complete. When the exchange was aborted it is not, and the client gets a RST_STREAM. */
void h2_exchange_end(h2_exchange *x);

/* The response cannot be completed: the client gets a RST_STREAM with this code of RFC 9113 section 7. */
void h2_exchange_fail(h2_exchange *x, unsigned reset_code);

/* Was it aborted? */
bool h2_exchange_aborted(h2_exchange *x);

/* The response goes on as a stream of events, and needs no runner any more: a word for the streamer, freed by it.
 * Instead of h2_exchange_end(), which then does nothing.
 */
struct hold_arrival;
void h2_exchange_become_stream(h2_exchange *x, struct hold_arrival *arrival);
struct hold_arrival *h2_exchange_arrival(h2_exchange *x); /* the streamer's; once; NULL: none */

/* The runner is done with everything, the access log included. */
void h2_exchange_finish(h2_exchange *x);

#endif
