/* buffer.h - immutable bytes shared by reference: an update on its way to thousands of streams, or a piece of replay.
 *
 * A buffer is counted in atomic references, since blocking streams release theirs in other threads.
 */
#ifndef MOD_MERCURE_BUFFER_H
#define MOD_MERCURE_BUFFER_H

#include <stdatomic.h>
#include <stddef.h>
#include <zmq.h>

#include "mercure/str.h"

typedef struct {
    atomic_uint references;
    zmq_msg_t message; /* holds the bytes when they came from ZeroMQ */
    size_t len;
    char *data;
} buffer;

/* `len` bytes to be filled in at `data`. NULL without memory. */
buffer *buffer_create(size_t len);

/* Takes over the message's bytes without copying; the message is left empty. NULL without memory. */
buffer *buffer_of_message(zmq_msg_t *message);

buffer *buffer_hold(buffer *b);
void buffer_release(buffer *b); /* NULL is allowed */

#endif
