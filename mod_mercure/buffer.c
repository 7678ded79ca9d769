/* buffer.c - see buffer.h. */
#include "buffer.h"

#include <stdlib.h>

buffer *buffer_create(size_t len)
{
    buffer *b = malloc(sizeof(*b) + len);

    if (b == NULL) {
        return NULL;
    }
    atomic_init(&b->references, 1);
    zmq_msg_init(&b->message);
    b->len = len;
    b->data = (char *)(b + 1);
    return b;
}

buffer *buffer_of_message(zmq_msg_t *message)
{
    buffer *b = buffer_create(0);

    if (b == NULL) {
        return NULL;
    }
    zmq_msg_move(&b->message, message);
    b->len = zmq_msg_size(&b->message);
    b->data = zmq_msg_data(&b->message);
    return b;
}

buffer *buffer_hold(buffer *b)
{
    atomic_fetch_add_explicit(&b->references, 1, memory_order_relaxed);
    return b;
}

void buffer_release(buffer *b)
{
    if (b == NULL || atomic_fetch_sub_explicit(&b->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    zmq_msg_close(&b->message);
    free(b);
}
