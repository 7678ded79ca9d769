/* h2_connection.h - a connection over which we speak HTTP/2 ourselves, in the streamer: a transport, a session and the
 * requests that it brings.
 *
 * A worker of httpd takes it over after the TLS handshake (h2_negotiation.c); from then on it belongs to the streamer's
 * thread. Its requests run in the pool; those that become streams of events stay here.
 */
#ifndef MOD_MERCURE_H2_CONNECTION_H
#define MOD_MERCURE_H2_CONNECTION_H

#include <openssl/ssl.h>
#include <stdbool.h>

#include "counters.h"
#include "h2_pool.h"
#include "h2_request.h"
#include "h2_session.h"

struct streamer;

/* All connections of a streamer. */
typedef struct h2_connections h2_connections;

/* Start the pool of `threads` threads. NULL when the system refuses. */
h2_connections *h2_connections_create(struct streamer *st, unsigned threads);

/* A connection on its way to the streamer. */
typedef struct {
    h2_client *client;    /* a reference */
    const char *hub_path; /* H of PROTOCOL; lives as long as the child */
    h2_session_limits limits;
    unsigned vanished_after_ms; /* see transport_take_over() */
    /* how long what was sent may wait without any being taken: with requests, and with streams of events only */
    unsigned stalled_ms, events_stalled_ms;
    counters_ticket counted; /* given back at its end */
    char *early;             /* what the client has sent already; malloc's */
    size_t early_len;
} h2_arrival;

/* Give a connection to the streamer. Takes over the arrival (malloc's) and what it holds, the descriptor and the SSL.
 * The connection counts in st->connections already. Any thread.
 */
void h2_connection_arrive(struct streamer *st, h2_arrival *arrival, int fd, SSL *ssl);

/* Undo: free an arrival that never came. */
void h2_arrival_discard(struct streamer *st, h2_arrival *arrival);

/* The streamer's thread: */

/* Read and write where there is something to. Returns true when there is more: call again soon. */
bool h2_connections_work(h2_connections *all);

/* Say GOAWAY to all; no new requests. */
void h2_connections_go_away(h2_connections *all);

/* How many are left? */
size_t h2_connections_count(const h2_connections *all);

/* Close what is left. */
void h2_connections_close(h2_connections *all);

/* Any thread: begin no more requests, and wait for those that run, see h2_pool_stop(). */
bool h2_connections_stop_requests(h2_connections *all, unsigned wait_ms);

/* When the streamer's thread has ended. */
void h2_connections_free(h2_connections *all);

/* For carrier_h2.c: there is something to be sent for this stream. */
void h2_connection_has_work(h2_stream *s);

#endif
