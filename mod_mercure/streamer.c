/* streamer.c - see streamer.h. */
#include "streamer.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "clock.h"

#include "mercure/hash.h"
#include "mercure/sse.h"

#define EVENTS_AT_ONCE   512
#define RETRY_MS         1000
#define STOP_WAIT_MS     3000
#define FLUSH_WAIT_MS    1000
#define REQUESTS_WAIT_MS 500

/* --- what others call --- */

void streamer_wake(streamer *st)
{
    uint64_t one = 1;

    /* Fails only when the counter is full, and then it is awake. */
    if (write(st->wake, &one, sizeof(one)) < 0) {
        return;
    }
}

bool streamer_post(streamer *st, void (*run)(streamer *st, void *argument), void *argument)
{
    streamer_command *command = malloc(sizeof(*command));

    if (command == NULL) {
        return false;
    }
    *command = (streamer_command){NULL, run, argument};
    pthread_mutex_lock(&st->lock);
    *st->commands_end = command;
    st->commands_end = &command->next;
    pthread_mutex_unlock(&st->lock);
    streamer_wake(st);
    return true;
}

/* --- the history --- */

mercure_history *streamer_history_begin(streamer *st, mercure_error *err)
{
    pthread_rwlock_rdlock(&st->history_lock);
    if (st->history != NULL) {
        return st->history;
    }
    pthread_rwlock_unlock(&st->history_lock);
    pthread_rwlock_wrlock(&st->history_lock);
    if (st->history == NULL && mercure_history_open_reader(st->history_dir, &st->history, err) != MERCURE_OK) {
        pthread_rwlock_unlock(&st->history_lock);
        return NULL;
    }
    return st->history; /* with the writer's lock, this once */
}

void streamer_history_end(streamer *st)
{
    pthread_rwlock_unlock(&st->history_lock);
}

static void end_all(streamer *st);

void streamer_history_check(streamer *st)
{
    bool replaced;

    pthread_rwlock_wrlock(&st->history_lock);
    replaced = st->history != NULL && mercure_history_replaced(st->history);
    if (replaced) {
        mercure_history_close(st->history);
        st->history = NULL;
    }
    pthread_rwlock_unlock(&st->history_lock);
    if (replaced) {
        end_all(st); /* their positions mean nothing in another history */
    }
}

/* --- the thread --- */

static void run_commands(streamer *st)
{
    streamer_command *list;

    pthread_mutex_lock(&st->lock);
    list = st->commands;
    st->commands = NULL;
    st->commands_end = &st->commands;
    pthread_mutex_unlock(&st->lock);
    while (list != NULL) {
        streamer_command *next = list->next;
        list->run(st, list->argument);
        free(list);
        list = next;
    }
}

static void on_awake(streamer *st, watch *w, unsigned events)
{
    (void)st;
    (void)w;
    (void)events;
}

static int wait_ms(const streamer *st, bool more)
{
    uint64_t due = link_due(st->link);
    uint64_t tick = st->now_ms + (atomic_load(&st->connections) > 0 ? TIMER_TICK_MS : RETRY_MS);

    if (more) {
        return 0;
    }
    due = due < tick ? due : tick;
    return due > st->now_ms ? (int)(due - st->now_ms) : 0;
}

static void turn(streamer *st, bool *more)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    int count = epoll_wait(st->epoll, events, EVENTS_AT_ONCE, wait_ms(st, *more)), i;
    uint64_t ignored;

    st->now_ms = clock_now_ms();
    for (i = 0; i < count; i++) {
        watch *w = events[i].data.ptr;
        w->event(st, w, events[i].events);
    }
    if (read(st->wake, &ignored, sizeof(ignored)) < 0 && errno != EAGAIN && errno != EINTR) {
        return;
    }
    run_commands(st);
    *more = link_work(st->link);
    *more = hub_work(st) || *more;
    *more = (st->h2 != NULL && h2_connections_work(st->h2)) || *more;
    timer_wheel_turn(&st->wheel, st->now_ms, st);
}

static void end_all(streamer *st)
{
    /* Each stream that ends may free its hub, so begin again after each. */
    for (;;) {
        apr_hash_index_t *walk = apr_hash_first(NULL, st->hubs);
        bool closed = false;
        for (; walk != NULL && !closed; walk = apr_hash_next(walk)) {
            closed = hub_close_one(st, apr_hash_this_val(walk));
        }
        if (!closed) {
            return;
        }
    }
}

static void go_away(streamer *st, void *data)
{
    (void)data;
    h2_connections_go_away(st->h2);
}

bool streamer_leave(streamer *st, unsigned wait_ms)
{
    /* Without memory for the command, the connections hear of it when they are closed. */
    return st->h2 == NULL || (streamer_post(st, go_away, NULL), h2_connections_stop_requests(st->h2, wait_ms));
}

/* The streams of HTTP/2 have ended; let their last frames go out. */
static void end_connections(streamer *st)
{
    uint64_t until = clock_now_ms() + FLUSH_WAIT_MS;
    bool more = true;

    h2_connections_go_away(st->h2);
    while (h2_connections_count(st->h2) > 0 && clock_now_ms() < until) {
        turn(st, &more);
    }
    h2_connections_close(st->h2);
}

static void *run(void *data)
{
    streamer *st = data;
    uint64_t next_retry = 0;
    bool more = false;

    while (!st->stopping) {
        turn(st, &more);
        if (st->now_ms >= next_retry) {
            next_retry = st->now_ms + RETRY_MS;
            hub_retry(st);
        }
    }
    run_commands(st); /* streams that were given to us meanwhile */
    end_all(st);
    run_commands(st);
    if (st->h2 != NULL) {
        /* Under prefork nobody has called streamer_leave(); else all have ended. */
        (void)h2_connections_stop_requests(st->h2, REQUESTS_WAIT_MS);
        run_commands(st);
        end_connections(st);
    }
    replay_stop(st->replay);
    run_commands(st); /* what was read meanwhile */
    link_close(st->link);
    st->stopped = true;
    return NULL;
}

/* --- start and stop --- */

static void free_streamer(streamer *st)
{
    if (st->epoll >= 0) {
        close(st->epoll);
    }
    if (st->wake >= 0) {
        close(st->wake);
    }
    if (st->pool != NULL) {
        apr_pool_destroy(st->pool);
    }
    if (st->h2 != NULL) {
        h2_connections_free(st->h2);
    }
    buffer_release(st->comment);
    mercure_history_close(st->history);
    free(st->history_dir);
    pthread_mutex_destroy(&st->lock);
    pthread_rwlock_destroy(&st->history_lock);
    free(st);
}

static bool make_parts(streamer *st, const char *history_dir)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &st->awake};

    st->epoll = epoll_create1(EPOLL_CLOEXEC);
    st->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    st->history_dir = strdup(history_dir);
    st->comment = buffer_create(strlen(MERCURE_SSE_COMMENT));
    if (st->epoll < 0 || st->wake < 0 || st->history_dir == NULL || st->comment == NULL ||
        apr_pool_create_unmanaged_ex(&st->pool, NULL, NULL) != APR_SUCCESS ||
        apr_pool_create(&st->scratch, st->pool) != APR_SUCCESS ||
        epoll_ctl(st->epoll, EPOLL_CTL_ADD, st->wake, &event) != 0) {
        return false;
    }
    memcpy(st->comment->data, MERCURE_SSE_COMMENT, st->comment->len);
    apr_allocator_max_free_set(apr_pool_allocator_get(st->pool), SCRATCH_KEPT);
    st->hubs = apr_hash_make_custom(st->pool, mercure_hash_apr);
    return true;
}

/* Our threads take no signals: they are the MPM's. */
static bool start_threads(streamer *st)
{
    sigset_t all, before;
    bool started;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    st->replay = replay_start(st);
    started = st->replay != NULL && pthread_create(&st->thread, NULL, run, st) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!started && st->replay != NULL) {
        replay_stop(st->replay);
    }
    return started;
}

streamer *streamer_start(const char *socket_dir, const char *history_dir, unsigned h2_threads, counters *c,
                         key_sets *sets, mercure_error *err)
{
    streamer *st = calloc(1, sizeof(*st));

    if (st == NULL) {
        mercure_fail(err, MERCURE_SYSTEM, "no memory");
        return NULL;
    }
    st->counters = c;
    st->key_sets = sets;
    st->awake.event = on_awake;
    st->commands_end = &st->commands;
    st->now_ms = clock_now_ms();
    timer_wheel_init(&st->wheel, st->now_ms);
    pthread_mutex_init(&st->lock, NULL);
    pthread_rwlock_init(&st->history_lock, NULL);
    if (!make_parts(st, history_dir)) {
        mercure_fail(err, MERCURE_SYSTEM, "cannot start the streamer: %s", strerror(errno));
        free_streamer(st);
        return NULL;
    }
    if (h2_threads > 0 && (st->h2 = h2_connections_create(st, h2_threads)) == NULL) {
        mercure_fail(err, MERCURE_SYSTEM, "cannot start the threads of MercureHTTP2Threads");
        free_streamer(st);
        return NULL;
    }
    st->link = link_open(st, socket_dir, err);
    if (st->link == NULL) {
        free_streamer(st);
        return NULL;
    }
    if (!link_watch(st->link, st->epoll, &st->awake) || !start_threads(st)) {
        mercure_fail(err, MERCURE_SYSTEM, "cannot start the streamer's threads: %s", strerror(errno));
        link_close(st->link);
        free_streamer(st);
        return NULL;
    }
    return st;
}

void streamer_stop(streamer *st, bool free_it)
{
    struct timespec moment = {0, 2000000};
    int i;

    st->stopping = true;
    streamer_wake(st);
    for (i = 0; i < STOP_WAIT_MS / 2 && !st->stopped; i++) {
        nanosleep(&moment, NULL);
    }
    if (!st->stopped || !free_it) {
        return;
    }
    pthread_join(st->thread, NULL);
    free_streamer(st);
}
