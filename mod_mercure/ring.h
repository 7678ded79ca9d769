/* ring.h - things that take turns: a ring of which each member knows its neighbours, and its owner whose turn is next.
 *
 * The ring is part of the thing. Belongs to one thread, or to whoever has its owner's lock.
 */
#ifndef MOD_MERCURE_RING_H
#define MOD_MERCURE_RING_H

#include <stddef.h>

typedef struct ring {
    struct ring *next, *previous; /* NULL: in no ring */
} ring;

/* Enter behind all others. Does nothing when it is in the ring already. */
static inline void ring_enter(ring **turn, ring *r)
{
    if (r->next != NULL) {
        return;
    }
    if (*turn == NULL) {
        r->next = r->previous = r;
        *turn = r;
        return;
    }
    r->next = *turn;
    r->previous = (*turn)->previous;
    r->previous->next = r;
    (*turn)->previous = r;
}

/* Leave; the turn passes on. Does nothing when it is in no ring. */
static inline void ring_leave(ring **turn, ring *r)
{
    if (r->next == NULL) {
        return;
    }
    if (r->next == r) {
        *turn = NULL;
    } else {
        r->next->previous = r->previous;
        r->previous->next = r->next;
        *turn = *turn == r ? r->next : *turn;
    }
    r->next = r->previous = NULL;
}

#endif
