/* outbox.c - see outbox.h. */
#include "outbox.h"

#include <stdlib.h>

bool outbox_add(outbox *out, buffer *b, const char *at, size_t len)
{
    outbox_piece *piece = malloc(sizeof(*piece));

    if (piece == NULL) {
        return false;
    }
    *piece = (outbox_piece){NULL, buffer_hold(b), at, len};
    if (out->last != NULL) {
        out->last->next = piece;
    } else {
        out->first = piece;
    }
    out->last = piece;
    out->pending += len;
    return true;
}

void outbox_append(outbox *out, outbox *from)
{
    if (from->first == NULL) {
        return;
    }
    if (out->last != NULL) {
        out->last->next = from->first;
    } else {
        out->first = from->first;
    }
    out->last = from->last;
    out->pending += from->pending;
    *from = (outbox){NULL, NULL, 0};
}

void outbox_written(outbox *out, size_t len)
{
    outbox_piece *piece = out->first;

    piece->at += len;
    piece->left -= len;
    out->pending -= len;
    if (piece->left > 0) {
        return;
    }
    out->first = piece->next;
    if (out->first == NULL) {
        out->last = NULL;
    }
    buffer_release(piece->buffer);
    free(piece);
}

void outbox_clear(outbox *out)
{
    while (out->first != NULL) {
        outbox_written(out, out->first->left);
    }
}
