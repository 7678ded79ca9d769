/* h2_pool.c - see h2_pool.h. One lock guards all lists; it is never held while a request runs. */
#include "h2_pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "clock.h"
#include "ring.h"

#define LAST_WAIT_MS 1000
#define MOST_HERE    8 /* threads for one connection */

typedef enum { ORDINARY, FOR_HUB, KINDS } job_kind;

struct h2_job {
    h2_job *next, *previous; /* in its queue, or among those that run */
    h2_lane *lane;
    h2_exchange *exchange; /* with a reference */
    int stream_id;
    job_kind kind;
    enum { WAITS, RUNS, HAS_RUN } state;
    bool is_dropped; /* while it ran: whose thread frees it */
};

typedef struct {
    h2_job *first, *last;
} job_list;

/* The jobs of one kind that wait in a lane. */
typedef struct queue {
    ring ring; /* the first field; of those that are not empty */
    h2_lane *lane;
    job_list jobs;
} queue;

struct h2_lane {
    h2_pool *pool;
    h2_client *client;
    unsigned long id;
    queue queues[KINDS];
    unsigned running;
    unsigned references; /* the connection's, and one for each job */
};

struct h2_pool {
    pthread_mutex_t lock; /* guards all of this, lanes and jobs */
    pthread_cond_t wake;
    pthread_cond_t ended; /* a thread has ended */
    ring *turn[KINDS];    /* whose turn is next */
    job_kind last;        /* the kind that had its turn last */
    job_list running;
    unsigned running_of[KINDS];
    atomic_uint waiting; /* ordinary jobs, without the lock for those who only look */
    unsigned count;      /* threads */
    unsigned alive;
    unsigned most_here; /* threads for one lane */
    bool stopping;      /* no more requests are accepted */
    bool hurries;       /* and none is begun */
    bool joined;
    pthread_t threads[];
};

/* --- lists, with the lock --- */

static void add_job(job_list *list, h2_job *job)
{
    job->next = NULL;
    job->previous = list->last;
    if (list->last != NULL) {
        list->last->next = job;
    } else {
        list->first = job;
    }
    list->last = job;
}

static void remove_job(job_list *list, h2_job *job)
{
    if (job->previous != NULL) {
        job->previous->next = job->next;
    } else {
        list->first = job->next;
    }
    if (job->next != NULL) {
        job->next->previous = job->previous;
    } else {
        list->last = job->previous;
    }
    job->next = job->previous = NULL;
}

static void release_lane(h2_lane *lane)
{
    if (--lane->references == 0) {
        h2_client_release(lane->client);
        free(lane);
    }
}

/* A job that is in no list any more. */
static void free_job(h2_job *job)
{
    h2_exchange_release(job->exchange);
    release_lane(job->lane);
    free(job);
}

static void unqueue(h2_job *job)
{
    queue *q = &job->lane->queues[job->kind];

    remove_job(&q->jobs, job);
    atomic_fetch_sub(&job->lane->pool->waiting, job->kind == ORDINARY);
    if (q->jobs.first == NULL) {
        ring_leave(&job->lane->pool->turn[job->kind], &q->ring);
    }
}

/* The next job of a kind, taken out of its queue; NULL: none may run now. Only lanes that have all the threads they may
 * have are passed over: there are never more of those than threads.
 */
static h2_job *take_job_of(h2_pool *pool, job_kind kind)
{
    queue *q = (queue *)pool->turn[kind];
    h2_job *job;

    if (q == NULL || (kind == ORDINARY && pool->count > 1 && pool->running_of[ORDINARY] >= pool->count - 1)) {
        return NULL;
    }
    while (q->lane->running >= pool->most_here) {
        q = (queue *)q->ring.next;
        if (&q->ring == pool->turn[kind]) {
            return NULL;
        }
    }
    job = q->jobs.first;
    pool->turn[kind] = q->ring.next;
    unqueue(job);
    return job;
}

/* The kinds take turns. */
static h2_job *take_job(h2_pool *pool)
{
    job_kind first = pool->last == FOR_HUB ? ORDINARY : FOR_HUB;
    h2_job *job = take_job_of(pool, first);

    if (job == NULL) {
        job = take_job_of(pool, pool->last);
    }
    pool->last = job != NULL ? job->kind : pool->last;
    return job;
}

/* --- threads --- */

static void run_job(h2_pool *pool, h2_job *job)
{
    h2_lane *lane = job->lane;

    add_job(&pool->running, job);
    job->state = RUNS;
    lane->running++;
    pool->running_of[job->kind]++;
    pthread_mutex_unlock(&pool->lock);
    h2_exchange_share(job->exchange, &pool->waiting);
    h2_request_run(lane->client, job->exchange, lane->id, job->stream_id);
    pthread_mutex_lock(&pool->lock);
    pool->running_of[job->kind]--;
    lane->running--;
    remove_job(&pool->running, job);
    job->state = HAS_RUN;
    if (pool->turn[ORDINARY] != NULL || pool->turn[FOR_HUB] != NULL) {
        pthread_cond_signal(&pool->wake); /* what might not run before may run now */
    }
    if (job->is_dropped) {
        free_job(job);
    }
}

/* What was accepted runs, unless there is no time left. */
static bool is_done(const h2_pool *pool)
{
    return pool->stopping && (pool->hurries || (pool->turn[ORDINARY] == NULL && pool->turn[FOR_HUB] == NULL));
}

static void *work(void *data)
{
    h2_pool *pool = data;

    pthread_mutex_lock(&pool->lock);
    while (!is_done(pool)) {
        h2_job *job = take_job(pool);
        if (job != NULL) {
            run_job(pool, job);
        } else {
            pthread_cond_wait(&pool->wake, &pool->lock);
        }
    }
    pool->alive--;
    pthread_cond_broadcast(&pool->wake); /* those that waited for the last job's lane */
    pthread_cond_broadcast(&pool->ended);
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

static void free_pool(h2_pool *pool)
{
    pthread_cond_destroy(&pool->wake);
    pthread_cond_destroy(&pool->ended);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

static void start_threads(h2_pool *pool, unsigned threads)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (pool->count < threads && pthread_create(&pool->threads[pool->count], NULL, work, pool) == 0) {
        pool->count++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

h2_pool *h2_pool_create(unsigned threads)
{
    h2_pool *pool = calloc(1, sizeof(*pool) + threads * sizeof(pool->threads[0]));

    if (pool == NULL) {
        return NULL;
    }
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    clock_condition_init(&pool->ended);
    pthread_mutex_lock(&pool->lock); /* the threads wait until it is complete */
    start_threads(pool, threads);
    pool->alive = pool->count;
    pool->most_here = pool->count / 2 < 1 ? 1 : pool->count / 2 > MOST_HERE ? MOST_HERE : pool->count / 2;
    pthread_mutex_unlock(&pool->lock);
    if (pool->count == 0) {
        free_pool(pool);
        return NULL;
    }
    return pool;
}

/* With the lock. */
static bool wait_for_threads(h2_pool *pool, unsigned wait_ms)
{
    uint64_t until_ms = clock_now_ms() + wait_ms;
    struct timespec until = clock_moment(until_ms);

    while (pool->alive > 0 && clock_now_ms() < until_ms) {
        pthread_cond_timedwait(&pool->ended, &pool->lock, &until);
    }
    return pool->alive == 0;
}

bool h2_pool_stop(h2_pool *pool, unsigned wait_ms)
{
    h2_job *job;
    bool ended;
    unsigned i;

    pthread_mutex_lock(&pool->lock);
    pool->stopping = true;
    pthread_cond_broadcast(&pool->wake);
    ended = wait_for_threads(pool, wait_ms);
    pool->hurries = true;
    pthread_cond_broadcast(&pool->wake);
    for (job = pool->running.first; job != NULL; job = job->next) {
        h2_exchange_abort(job->exchange);
    }
    ended = ended || wait_for_threads(pool, wait_ms);
    pthread_mutex_unlock(&pool->lock);
    for (i = 0; ended && !pool->joined && i < pool->count; i++) {
        pthread_join(pool->threads[i], NULL);
    }
    pool->joined = pool->joined || ended;
    return ended;
}

void h2_pool_free(h2_pool *pool)
{
    if (pool->joined || h2_pool_stop(pool, LAST_WAIT_MS)) {
        free_pool(pool);
    }
}

/* --- lanes and jobs --- */

h2_lane *h2_lane_create(h2_pool *pool, h2_client *client, unsigned long id)
{
    h2_lane *lane = calloc(1, sizeof(*lane));
    job_kind kind;

    if (lane == NULL) {
        return NULL;
    }
    lane->pool = pool;
    lane->client = h2_client_hold(client);
    lane->id = id;
    lane->references = 1;
    for (kind = 0; kind < KINDS; kind++) {
        lane->queues[kind].lane = lane;
    }
    return lane;
}

void h2_lane_close(h2_lane *lane)
{
    h2_pool *pool = lane->pool;

    pthread_mutex_lock(&pool->lock);
    release_lane(lane);
    pthread_mutex_unlock(&pool->lock);
}

h2_job *h2_pool_run(h2_lane *lane, h2_exchange *x, int stream_id, bool for_hub)
{
    h2_pool *pool = lane->pool;
    h2_job *job = calloc(1, sizeof(*job));

    if (job == NULL) {
        return NULL;
    }
    job->lane = lane;
    job->exchange = h2_exchange_hold(x);
    job->stream_id = stream_id;
    job->kind = for_hub ? FOR_HUB : ORDINARY;
    pthread_mutex_lock(&pool->lock);
    lane->references++;
    if (pool->stopping) {
        free_job(job);
        pthread_mutex_unlock(&pool->lock);
        return NULL;
    }
    add_job(&lane->queues[job->kind].jobs, job);
    atomic_fetch_add(&pool->waiting, job->kind == ORDINARY);
    ring_enter(&pool->turn[job->kind], &lane->queues[job->kind].ring);
    pthread_cond_signal(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    return job;
}

void h2_job_drop(h2_job *job)
{
    h2_pool *pool = job->lane->pool;

    pthread_mutex_lock(&pool->lock);
    if (job->state == RUNS) {
        job->is_dropped = true;
    } else {
        if (job->state == WAITS) {
            unqueue(job);
        }
        free_job(job);
    }
    pthread_mutex_unlock(&pool->lock);
}
