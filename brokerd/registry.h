/* registry.h - which children of httpd are there, and which updates each one wants.
 *
 * No work here grows with the number of streams, only with the number of distinct matchers in each child.
 * Belongs to the broker's thread.
 */
#ifndef BROKERD_REGISTRY_H
#define BROKERD_REGISTRY_H

#include <time.h>

#include "mercure/index.h"
#include "mercure/wire.h"

/* How far a child may lag behind before it is left to catch up from the history. */
#define CHILD_WINDOW       8192
#define CHILD_WINDOW_BYTES (64u << 20)

typedef struct registry registry;

typedef struct child {
    mercure_peer_id id;
    bool greeted;    /* it said HELLO */
    bool subscribed; /* its SUB socket is connected, so deliveries reach it */
    bool welcomed;
    uint64_t session;                /* its own number for the time since its last HELLO */
    time_t heard;                    /* monotonic */
    uint64_t sent;                   /* deliveries numbered so far, also those withheld because of its lag */
    uint64_t received;               /* the number that it last reported */
    uint64_t bytes;                  /* of all deliveries */
    uint64_t bytes_at[CHILD_WINDOW]; /* `bytes` after delivery number n, at n modulo the window */
    uint64_t last_hub_sequence;      /* marks an update as chosen for it: see registry_match() */
    const void *last_hub;
    uint64_t told_head; /* the same for registry_tell_heads() */
    const void *told_hub;
    struct registration *registrations; /* a list */
} child;

/* NULL without memory. */
registry *registry_create(void);
void registry_free(registry *r);

/* Find a child, or make one; NULL without memory or when there are far too many. */
child *registry_child(registry *r, const mercure_peer_id *id, bool create);
void registry_drop(registry *r, child *c);

/* Forget what a child wants and what it was sent: it starts anew. */
void registry_reset(registry *r, child *c);

/* A child wants what a matcher matches. Registering twice is registering once.
 *
 * head_of   called for a hub that is new here, to learn its newest sequence; false when it cannot be learnt now
 * head      out: the hub's newest sequence
 *
 * Returns MERCURE_OK; MERCURE_INVALID for a malformed matcher; MERCURE_LIMIT when the hub has patterns relative to too
 * many URLs; MERCURE_SYSTEM without memory or without a head.
 */
mercure_status registry_register(registry *r, child *c, mercure_str hub, const mercure_matcher_key *matcher,
                                 bool (*head_of)(void *context, mercure_str hub, uint64_t *head), void *context,
                                 uint64_t *head);

/* False when it was not registered. */
bool registry_unregister(registry *r, child *c, mercure_str hub, const mercure_matcher_key *matcher);

/* Note a hub's new update and call `forward` once for each child that wants it. False when URL Patterns went unasked,
 * because those before cost too much (mercure_effort_exhausted()).
 */
bool registry_match(registry *r, mercure_str hub, uint64_t sequence, const mercure_record *record,
                    void (*forward)(void *context, child *c), void *context);

/* Call `tell` once for each child that wants anything of a hub whose head has moved since the last call. */
void registry_tell_heads(registry *r, void (*tell)(void *context, child *c, mercure_str hub, uint64_t head),
                         void *context);

/* Number the next delivery. Returns false when the child lags too far: then the delivery is only counted. */
bool registry_number(child *c, size_t size);

/* Call `visit` for every child; `visit` may drop it. */
void registry_each(registry *r, void (*visit)(void *context, child *c), void *context);

#endif
