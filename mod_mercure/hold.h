/* hold.h - taking a connection over from httpd, so that a stream needs no worker. */
#ifndef MOD_MERCURE_HOLD_H
#define MOD_MERCURE_HOLD_H

#include <httpd.h>

#include "stream.h"
#include "streamer.h"

/* Register the hooks. */
void hold_register_hooks(void);

/* Take the filters off that would change or delay a stream's bytes (compression, rate limits, substitution, buffering):
 * raw bytes will follow. mod_headers' filter stays.
 */
void hold_remove_filters(request_rec *r);

/* Why this request's connection cannot be taken over: it is one of mod_http2's streams, or has a filter that we do not
 * know. NULL: it can, and what the client has sent past the request is dropped. Call it after hold_remove_filters().
 */
const char *hold_obstacle(request_rec *r);

/* A stream on its way to its hub. */
typedef struct hold_arrival {
    stream *stream;
    char *hub_name;
    unsigned vanished_after_ms; /* see transport_take_over() */
} hold_arrival;

/* NULL without memory. */
hold_arrival *hold_arrival_create(stream *s, const char *hub_name);

/* Give a stream to the streamer now; any thread. It is closed if that fails. */
void hold_arrive(streamer *st, hold_arrival *arrival);

/* The same, in the streamer's thread, at once. */
void hold_arrive_now(streamer *st, hold_arrival *arrival);

/* Undo: the stream never began. */
void hold_arrival_discard(streamer *st, hold_arrival *arrival);

/* What is done with a connection that was taken over: in the streamer's thread or not, its descriptor and its SSL
 * (NULL: plain), cut loose from httpd's structures, are the taker's now. Both are NULL and -1 when nothing came of it.
 */
typedef void hold_taker(streamer *st, void *data, int fd, SSL *ssl);

/* Take the connection over: when httpd has finished with it, `take` gets it. False when the system refuses. */
bool hold_take_over(conn_rec *c, streamer *st, hold_taker *take, void *data);

/* The taker of a stream that has the connection to itself; its data is the arrival. Call hold_take_over() with it after
 * the response's first bytes were flushed, and return from the handler.
 */
hold_taker hold_take_stream;

/* The connection's SSL, NULL: plain. */
SSL *hold_ssl(conn_rec *c);

/* A place to note the virtual host on whose behalf HTTP/2 is spoken; NULL for a connection that is not a client's own.
 */
server_rec **hold_h2_server(const conn_rec *c);

#endif
