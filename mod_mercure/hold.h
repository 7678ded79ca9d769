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
typedef struct {
    stream *stream;
    char *hub_name;
    unsigned vanished_after_ms; /* see transport_take_over() */
} hold_arrival;

/* NULL without memory. */
hold_arrival *hold_arrival_create(stream *s, const char *hub_name);

/* Give a stream to the streamer now; for blocking streams. It is closed if that fails. */
void hold_arrive(streamer *st, hold_arrival *arrival);

/* Undo: the stream never began. */
void hold_arrival_discard(streamer *st, hold_arrival *arrival);

/* Take the connection over: when httpd has finished with the request and the connection, the streamer gets the socket
 * and the stream. Call it after the response's first bytes were flushed, and return from the handler. False when the
 * system refuses; then the arrival is still the caller's.
 */
bool hold_take_over(request_rec *r, streamer *st, hold_arrival *arrival);

#endif
