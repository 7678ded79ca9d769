/* replay.c - see replay.h. A reading is kept small, so that a slow subscriber costs little memory and a transaction
 * little time; the streamer asks again for what follows.
 */
#include "replay.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "streamer.h"

#define EVENTS_BYTES  (32u << 10)  /* for one stream at once; one event may be larger */
#define UPDATES_BYTES (256u << 10) /* for a hub's feed at once */
#define VISITS        20000        /* updates looked at in one transaction */
#define EFFORT        20000000     /* steps of matching in one transaction: some 30 ms */

struct replay {
    streamer *streamer;
    pthread_t thread;
    apr_pool_t *scratch;  /* the thread's, cleared after each use */
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t wake;
    replay_job *first, **end;
    const struct hub *last_hub; /* only compared */
    bool stopping;
};

typedef struct {
    replay_job *job;
    apr_pool_t *scratch;
    replay_update **end;
    size_t bytes;
    size_t room;
    unsigned visits;
    uint64_t effort; /* that matching took, in its steps */
    const atomic_bool *stopping;
} reading;

static bool matches(const joining *j, mercure_topic *topics, size_t count)
{
    size_t i, k;

    for (i = 0; i < count; i++) {
        for (k = 0; k < j->count; k++) {
            if (mercure_matcher_matches(&j->matchers[k], &topics[i])) {
                return true;
            }
        }
    }
    return false;
}

static bool wanted(reading *r, const mercure_record *record)
{
    const joining *j = r->job->joining;
    mercure_topic *topics = mercure_record_topics(r->scratch, record);
    bool answer = matches(j, topics, record->topic_count) &&
                  (!record->is_private || mercure_grants_may_read(j->grants, record, topics));

    r->effort += mercure_effort_spent(topics->effort);
    apr_pool_clear(r->scratch);
    return answer;
}

/* Append an event to the job's buffer, which grows. */
static bool append_event(reading *r, mercure_str event)
{
    if (r->bytes + event.len > r->room) {
        size_t room = r->bytes + event.len > EVENTS_BYTES ? r->bytes + event.len : EVENTS_BYTES;
        buffer *larger = buffer_create(room);
        if (larger == NULL) {
            r->job->failed = true;
            return false;
        }
        if (r->job->events != NULL) {
            memcpy(larger->data, r->job->events->data, r->bytes);
            buffer_release(r->job->events);
        }
        r->job->events = larger;
        r->room = room;
    }
    memcpy(r->job->events->data + r->bytes, event.data, event.len);
    r->bytes += event.len;
    r->job->events->len = r->bytes;
    return true;
}

static bool visit_for_stream(void *context, uint64_t sequence, const mercure_record *record, mercure_str bytes)
{
    reading *r = context;

    (void)sequence;
    (void)bytes;
    if (wanted(r, record) && !append_event(r, record->event)) {
        return false;
    }
    return r->bytes < EVENTS_BYTES && ++r->visits < VISITS && r->effort < EFFORT && !atomic_load(r->stopping);
}

static bool visit_for_feed(void *context, uint64_t sequence, const mercure_record *record, mercure_str bytes)
{
    reading *r = context;
    replay_update *update = malloc(sizeof(*update));
    buffer *copy = buffer_create(bytes.len);

    (void)record;
    if (update == NULL || copy == NULL) {
        free(update);
        buffer_release(copy);
        r->job->failed = true;
        return false;
    }
    memcpy(copy->data, bytes.data, bytes.len);
    *update = (replay_update){NULL, sequence, copy};
    *r->end = update;
    r->end = &update->next;
    r->bytes += bytes.len;
    return r->bytes < UPDATES_BYTES && ++r->visits < VISITS;
}

static void do_job(replay *r, replay_job *job)
{
    reading into = {.job = job, .scratch = r->scratch, .end = &job->updates, .stopping = &r->streamer->stopping};
    mercure_str name = {job->hub_name, job->hub_name_len};
    mercure_history *history = streamer_history_begin(r->streamer, NULL);

    job->read.last = job->after;
    if (history == NULL) {
        job->failed = true;
        return;
    }
    if (mercure_history_read(history, name, job->after, job->joining != NULL ? visit_for_stream : visit_for_feed, &into,
                             &job->read, NULL) != MERCURE_OK) {
        job->failed = true;
    }
    streamer_history_end(r->streamer);
}

static void give_back(streamer *st, void *job)
{
    hub_replay_done(st, job);
}

/* Take the first job of another hub than the last one's, if there is one: a crowd of one hub does not hold the others
 * up. Called with the lock held and the list not empty.
 */
static replay_job *next_job(replay *r)
{
    replay_job **at = &r->first, *job;

    while (*at != NULL && (*at)->hub == r->last_hub) {
        at = &(*at)->next;
    }
    at = *at != NULL ? at : &r->first;
    job = *at;
    *at = job->next;
    if (r->end == &job->next) {
        r->end = at;
    }
    r->last_hub = job->hub;
    return job;
}

static void *run(void *data)
{
    replay *r = data;

    for (;;) {
        replay_job *job;

        pthread_mutex_lock(&r->lock);
        while (r->first == NULL && !r->stopping) {
            pthread_cond_wait(&r->wake, &r->lock);
        }
        if (r->stopping) {
            pthread_mutex_unlock(&r->lock);
            return NULL;
        }
        job = next_job(r);
        pthread_mutex_unlock(&r->lock);
        do_job(r, job);
        while (!streamer_post(r->streamer, give_back, job)) {
            struct timespec moment = {0, 10000000}; /* no memory: the job must come back all the same */
            nanosleep(&moment, NULL);
        }
    }
}

replay *replay_start(streamer *st)
{
    replay *r = calloc(1, sizeof(*r));

    if (r == NULL || apr_pool_create_unmanaged_ex(&r->scratch, NULL, NULL) != APR_SUCCESS) {
        free(r);
        return NULL;
    }
    apr_allocator_max_free_set(apr_pool_allocator_get(r->scratch), SCRATCH_KEPT);
    r->streamer = st;
    r->end = &r->first;
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->wake, NULL);
    if (pthread_create(&r->thread, NULL, run, r) != 0) {
        apr_pool_destroy(r->scratch);
        free(r);
        return NULL;
    }
    return r;
}

void replay_stop(replay *r)
{
    pthread_mutex_lock(&r->lock);
    r->stopping = true;
    pthread_cond_signal(&r->wake);
    pthread_mutex_unlock(&r->lock);
    pthread_join(r->thread, NULL);
    while (r->first != NULL) {
        replay_job *job = r->first;
        r->first = job->next;
        job->failed = true;
        hub_replay_done(r->streamer, job); /* the streamer is stopping: it asks for nothing more */
    }
    pthread_cond_destroy(&r->wake);
    pthread_mutex_destroy(&r->lock);
    apr_pool_destroy(r->scratch);
    free(r);
}

void replay_submit(replay *r, replay_job *job)
{
    pthread_mutex_lock(&r->lock);
    job->next = NULL;
    *r->end = job;
    r->end = &job->next;
    pthread_cond_signal(&r->wake);
    pthread_mutex_unlock(&r->lock);
}

void replay_job_free(replay_job *job)
{
    while (job->updates != NULL) {
        replay_update *next = job->updates->next;
        buffer_release(job->updates->record);
        free(job->updates);
        job->updates = next;
    }
    buffer_release(job->events);
    free(job->hub_name);
    free(job);
}
