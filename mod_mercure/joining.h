/* joining.h - a stream on its way from the history to live delivery: see hub.h for the rules. */
#ifndef MOD_MERCURE_JOINING_H
#define MOD_MERCURE_JOINING_H

#include "buffer.h"

#include "mercure/claims.h"
#include "mercure/matcher.h"

struct stream;
struct streamer;

/* An update that the feed brought meanwhile. */
typedef struct collected {
    struct collected *next;
    uint64_t sequence;
    buffer *buffer;
    mercure_str event;
} collected;

/* It holds its own copy of the matchers, for the thread that reads the history. */
typedef struct joining {
    struct stream *stream; /* NULL: it was closed while the history was being read */
    mercure_matcher *matchers;
    size_t count;
    mercure_grants *grants; /* NULL: anonymous */
    unsigned waiting;       /* for how many of its matchers brokerd has not answered yet */
    bool must_read;         /* something lies between its position and the feed */
    bool reading;           /* the history is being read for it */
    bool has_read;          /* the history was read for it before */
    bool collecting;        /* the list holds all that the feed brought since the last reading began */
    collected *first, *last;
    size_t bytes;
} joining;

/* What a handler makes for a new stream; the matchers' strings are copied. NULL without memory. */
joining *joining_create(const mercure_matcher *matchers, size_t count, mercure_grants *grants);
void joining_free(joining *j);

/* The feed brings an update that the stream wants. Past a bound nothing more is collected; then it is read. */
void joining_collect(joining *j, uint64_t sequence, buffer *b, mercure_str event);

/* Take the oldest collected update; false when there is none. The caller gets its reference to the buffer. */
bool joining_take(joining *j, collected *taken);

#endif
