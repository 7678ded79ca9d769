/* blocking.c - see blocking.h. */
#include "blocking.h"

#include <pthread.h>
#include <stdlib.h>

#include "clock.h"

struct blocking {
    pthread_mutex_t lock; /* guards what follows, but `stream` */
    pthread_cond_t wake;
    outbox out;
    bool writing;      /* the worker has taken something and not yet written it */
    uint64_t since_ms; /* of the oldest that waits, or that is being written */
    bool ended;
    unsigned references;
    struct stream *stream; /* the streamer's thread only */
};

blocking *blocking_create(void)
{
    blocking *b = calloc(1, sizeof(*b));

    if (b == NULL) {
        return NULL;
    }
    pthread_mutex_init(&b->lock, NULL);
    clock_condition_init(&b->wake);
    b->references = 2;
    return b;
}

blocking *blocking_hold(blocking *b)
{
    pthread_mutex_lock(&b->lock);
    b->references++;
    pthread_mutex_unlock(&b->lock);
    return b;
}

void blocking_release(blocking *b)
{
    unsigned left;

    pthread_mutex_lock(&b->lock);
    left = --b->references;
    pthread_mutex_unlock(&b->lock);
    if (left > 0) {
        return;
    }
    outbox_clear(&b->out);
    pthread_cond_destroy(&b->wake);
    pthread_mutex_destroy(&b->lock);
    free(b);
}

bool blocking_push(blocking *b, buffer *bytes, const char *at, size_t len)
{
    bool added;

    pthread_mutex_lock(&b->lock);
    if (b->out.first == NULL && !b->writing) {
        b->since_ms = clock_now_ms();
    }
    added = outbox_add(&b->out, bytes, at, len);
    pthread_cond_signal(&b->wake);
    pthread_mutex_unlock(&b->lock);
    return added;
}

size_t blocking_pending(blocking *b)
{
    size_t pending;

    pthread_mutex_lock(&b->lock);
    pending = b->out.pending;
    pthread_mutex_unlock(&b->lock);
    return pending;
}

bool blocking_idle(blocking *b)
{
    bool idle;

    pthread_mutex_lock(&b->lock);
    idle = b->out.first == NULL && !b->writing;
    pthread_mutex_unlock(&b->lock);
    return idle;
}

void blocking_end(blocking *b)
{
    pthread_mutex_lock(&b->lock);
    b->ended = true;
    pthread_cond_signal(&b->wake);
    pthread_mutex_unlock(&b->lock);
}

uint64_t blocking_stalled_ms(blocking *b, uint64_t now_ms)
{
    uint64_t stalled = 0;

    pthread_mutex_lock(&b->lock);
    if ((b->out.first != NULL || b->writing) && now_ms > b->since_ms) {
        stalled = now_ms - b->since_ms;
    }
    pthread_mutex_unlock(&b->lock);
    return stalled;
}

bool blocking_take(blocking *b, outbox *out, unsigned wait_ms)
{
    uint64_t until_ms = clock_now_ms() + wait_ms;
    struct timespec until = clock_moment(until_ms);
    bool more;

    pthread_mutex_lock(&b->lock);
    while (b->out.first == NULL && !b->ended && clock_now_ms() < until_ms) {
        pthread_cond_timedwait(&b->wake, &b->lock, &until);
    }
    *out = b->out;
    b->out = (outbox){NULL, NULL, 0};
    b->writing = out->first != NULL;
    more = out->first != NULL || !b->ended;
    pthread_mutex_unlock(&b->lock);
    return more;
}

void blocking_wrote(blocking *b)
{
    pthread_mutex_lock(&b->lock);
    b->writing = false;
    b->since_ms = clock_now_ms();
    pthread_mutex_unlock(&b->lock);
}

struct stream **blocking_stream(blocking *b)
{
    return &b->stream;
}
