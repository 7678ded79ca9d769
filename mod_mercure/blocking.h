/* blocking.h - where a stream that cannot be taken over meets its worker.
 *
 * The streamer leaves bytes, the worker that waits in the request's handler writes them. Shared by both, freed with the
 * last of the two references. The lock is never held while anything is written.
 */
#ifndef MOD_MERCURE_BLOCKING_H
#define MOD_MERCURE_BLOCKING_H

#include <stdint.h>

#include "outbox.h"

struct stream;

typedef struct blocking blocking;

/* NULL without memory. Has two references: the worker's and the streamer's. */
blocking *blocking_create(void);
void blocking_release(blocking *b);
blocking *blocking_hold(blocking *b);

/* The streamer's side. */
bool blocking_push(blocking *b, buffer *bytes, const char *at, size_t len); /* false without memory */
size_t blocking_pending(blocking *b);
bool blocking_idle(blocking *b); /* has the worker written all? */
void blocking_end(blocking *b);  /* no more will come: the worker may go when all is written */

/* Milliseconds since the worker last took something while something waits; 0 when nothing waits. */
uint64_t blocking_stalled_ms(blocking *b, uint64_t now_ms);

/* The worker's side: take what waits into `out`, waiting up to `wait_ms`. Returns false when the stream has ended and
 * nothing is left.
 */
bool blocking_take(blocking *b, outbox *out, unsigned wait_ms);

/* The worker has written what it took. */
void blocking_wrote(blocking *b);

/* Which stream this is for; only the streamer's thread may ask, NULL after the stream has closed. */
struct stream **blocking_stream(blocking *b);

#endif
