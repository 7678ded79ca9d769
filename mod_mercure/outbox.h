/* outbox.h - bytes that wait to be written: pieces of shared buffers, in order. No lock of its own. */
#ifndef MOD_MERCURE_OUTBOX_H
#define MOD_MERCURE_OUTBOX_H

#include <stdbool.h>

#include "buffer.h"

typedef struct outbox_piece {
    struct outbox_piece *next;
    buffer *buffer;
    const char *at;
    size_t left;
} outbox_piece;

typedef struct {
    outbox_piece *first, *last;
    size_t pending; /* bytes */
} outbox;

/* Queue a piece of a buffer, which gets a reference. False without memory. */
bool outbox_add(outbox *out, buffer *b, const char *at, size_t len);

/* Queue all that is in another one, which is left empty. */
void outbox_append(outbox *out, outbox *from);

/* `len` bytes of the first piece are written. */
void outbox_written(outbox *out, size_t len);

void outbox_clear(outbox *out);

#endif
