/* writer.c - see writer.h. */
#include "writer.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "log.h"

/* One transaction takes at most so many publications and bytes: bounds the time that the first of them waits. */
#define BATCH_JOBS  1024
#define BATCH_BYTES (16u << 20)

#define TRIM_SECONDS   1
#define TIDY_SECONDS   60
#define FORGET_SECONDS 120 /* a publisher gives up repeating itself long before */

typedef struct {
    writer_job *first;
    writer_job **end;
} job_list;

struct writer {
    mercure_history *history;
    bool durable;
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t wake;
    job_list queued;
    job_list done;
    bool stopping;
    int event;
};

static void list_init(job_list *list)
{
    list->first = NULL;
    list->end = &list->first;
}

static void list_append(job_list *list, writer_job *job)
{
    job->next = NULL;
    *list->end = job;
    list->end = &job->next;
}

static void list_move(job_list *to, job_list *from)
{
    if (from->first == NULL) {
        return;
    }
    *to->end = from->first;
    to->end = from->end;
    list_init(from);
}

writer_job *writer_job_create(zmq_msg_t *header, zmq_msg_t *record, const mercure_wire_publication *publication)
{
    writer_job *job = calloc(1, sizeof(*job));
    const char *before = zmq_msg_data(header);

    if (job == NULL) {
        return NULL;
    }
    zmq_msg_init(&job->header);
    zmq_msg_init(&job->record);
    zmq_msg_move(&job->header, header);
    zmq_msg_move(&job->record, record);
    job->publication = *publication;
    /* A short message's bytes live inside the zmq_msg_t itself and have moved with it. */
    job->publication.hub.data = (char *)zmq_msg_data(&job->header) + (publication->hub.data - before);
    return job;
}

void writer_job_free(writer_job *job)
{
    zmq_msg_close(&job->header);
    zmq_msg_close(&job->record);
    free(job);
}

static uint64_t clock_ms(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Take a batch off the queue. Called with the lock held. */
static size_t take_batch(writer *w, writer_job *batch[BATCH_JOBS])
{
    size_t count = 0, bytes = 0;

    while (w->queued.first != NULL && count < BATCH_JOBS && bytes < BATCH_BYTES) {
        writer_job *job = w->queued.first;
        w->queued.first = job->next;
        bytes += zmq_msg_size(&job->record);
        batch[count++] = job;
    }
    if (w->queued.first == NULL) {
        list_init(&w->queued);
    }
    return count;
}

/* Commit in one transaction, all or nothing. */
static mercure_status commit(writer *w, writer_job *batch[], size_t count)
{
    static log_limit complaint;
    mercure_append updates[BATCH_JOBS];
    mercure_error err;
    mercure_status status;
    size_t i;

    for (i = 0; i < count; i++) {
        const mercure_wire_publication *publication = &batch[i]->publication;
        updates[i] = (mercure_append){.hub = publication->hub,
                                      .retention = publication->retention,
                                      .publisher = publication->child.bytes,
                                      .number = publication->number,
                                      .floor = publication->floor,
                                      .record = {zmq_msg_data(&batch[i]->record), zmq_msg_size(&batch[i]->record)}};
    }
    status = mercure_history_append(w->history, updates, count, clock_ms(CLOCK_REALTIME), &err);
    if (status != MERCURE_OK && log_allowed(&complaint)) {
        log_error("publications are refused: %s (%lu more since the last such line)", err.reason, complaint.suppressed);
        complaint.suppressed = 0;
    }
    for (i = 0; i < count; i++) {
        batch[i]->status = status;
        batch[i]->sequence = updates[i].sequence;
        batch[i]->repeated = updates[i].repeated;
    }
    return status;
}

/* One that the storage does not take must not refuse the others: then each has a transaction of its own. */
static void commit_batch(writer *w, writer_job *batch[], size_t count)
{
    size_t i;

    if (commit(w, batch, count) == MERCURE_OK || count == 1) {
        return;
    }
    for (i = 0; i < count; i++) {
        (void)commit(w, &batch[i], 1); /* the outcome is in the job */
    }
}

static void hand_back(writer *w, writer_job *batch[], size_t count)
{
    uint64_t one = 1;
    size_t i;

    pthread_mutex_lock(&w->lock);
    for (i = 0; i < count; i++) {
        list_append(&w->done, batch[i]);
    }
    pthread_mutex_unlock(&w->lock);
    /* Cannot fail: the counter would have to reach 2^64 - 1. */
    if (write(w->event, &one, sizeof(one)) < 0) {
        return;
    }
}

/* What is to be done from time to time. Returns the time of the next trim. */
static uint64_t keep_house(writer *w, uint64_t now, uint64_t *next_tidy)
{
    static log_limit complaint;
    mercure_error err;
    bool more = false;
    mercure_status status = mercure_history_trim(w->history, clock_ms(CLOCK_REALTIME), &more, &err);

    if (status == MERCURE_OK && !w->durable) {
        status = mercure_history_sync(w->history, &err);
    }
    if (status == MERCURE_OK && now >= *next_tidy) {
        *next_tidy = now + TIDY_SECONDS * 1000;
        status = mercure_history_tidy(w->history, clock_ms(CLOCK_REALTIME), FORGET_SECONDS, &err);
    }
    if (status != MERCURE_OK && log_allowed(&complaint)) {
        log_error("the history cannot be trimmed: %s", err.reason);
    }
    return more ? now : now + TRIM_SECONDS * 1000;
}

static void *run(void *data)
{
    writer *w = data;
    uint64_t next_trim = 0, next_tidy = 0;
    writer_job *batch[BATCH_JOBS];

    for (;;) {
        uint64_t now = clock_ms(CLOCK_MONOTONIC);
        size_t count;

        if (now >= next_trim) {
            next_trim = keep_house(w, now, &next_tidy);
        }
        pthread_mutex_lock(&w->lock);
        while (w->queued.first == NULL && !w->stopping && clock_ms(CLOCK_MONOTONIC) < next_trim) {
            struct timespec until = {(time_t)(next_trim / 1000), (long)(next_trim % 1000) * 1000000};
            pthread_cond_timedwait(&w->wake, &w->lock, &until);
        }
        count = take_batch(w, batch);
        if (count == 0 && w->stopping) {
            pthread_mutex_unlock(&w->lock);
            return NULL;
        }
        pthread_mutex_unlock(&w->lock);
        if (count > 0) {
            commit_batch(w, batch, count);
            hand_back(w, batch, count);
        }
    }
}

writer *writer_start(mercure_history *history, bool durable)
{
    writer *w = calloc(1, sizeof(*w));
    pthread_condattr_t monotonic;

    if (w == NULL) {
        return NULL;
    }
    w->history = history;
    w->durable = durable;
    list_init(&w->queued);
    list_init(&w->done);
    pthread_mutex_init(&w->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&w->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    w->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (w->event < 0 || pthread_create(&w->thread, NULL, run, w) != 0) {
        if (w->event >= 0) {
            close(w->event);
        }
        free(w);
        return NULL;
    }
    return w;
}

void writer_submit(writer *w, writer_job *job)
{
    pthread_mutex_lock(&w->lock);
    list_append(&w->queued, job);
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
}

int writer_event(const writer *w)
{
    return w->event;
}

writer_job *writer_results(writer *w)
{
    job_list taken;
    uint64_t count;

    list_init(&taken);
    /* Nothing to read only means that the results were fetched before. */
    if (read(w->event, &count, sizeof(count)) < 0) {
        count = 0;
    }
    pthread_mutex_lock(&w->lock);
    list_move(&taken, &w->done);
    pthread_mutex_unlock(&w->lock);
    return taken.first;
}

writer_job *writer_stop(writer *w)
{
    writer_job *rest;

    pthread_mutex_lock(&w->lock);
    w->stopping = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    rest = writer_results(w);
    close(w->event);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
    free(w);
    return rest;
}
