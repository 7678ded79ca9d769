/* child.c - see child.h.
 *
 * What surprised us: a prefork child that gets SIGTERM runs its pool's cleanups inside the signal handler, whatever its
 * thread was doing. Then the end frees nothing, and leaves that to the process's own.
 */
#include "child.h"

#include <ap_mpm.h>
#include <dirent.h>
#include <http_log.h>
#include <http_main.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "config.h"
#include "h2_request.h"

APLOG_USE_MODULE(mercure);

#define TOKENS_CACHED           4096
#define REQUESTS_WAIT_MS        30000 /* for requests over HTTP/2 that run when the child is to end */
#define REQUESTS_WAIT_LITTLE_MS 1000

static struct {
    counters *counters;
    token_cache *tokens;
    key_sets *key_sets;
    pthread_mutex_t lock; /* guards the start of the streamer */
    streamer *streamer;
    unsigned connections_most;
    unsigned workers_here, workers;
    bool is_graceful; /* the end of this child */
} child = {.lock = PTHREAD_MUTEX_INITIALIZER};

void child_prepare(counters *c)
{
    child.counters = c;
}

/* Is this the handler of SIGTERM? The signal is blocked while it runs. */
static bool is_inside_handler(void)
{
    sigset_t blocked;

    return pthread_sigmask(SIG_BLOCK, NULL, &blocked) == 0 && sigismember(&blocked, SIGTERM) == 1;
}

static apr_status_t end(void *data)
{
    int threaded = 0;
    bool may_wait, at_rest = true;

    (void)data;
    ap_mpm_query(AP_MPMQ_IS_THREADED, &threaded);
    may_wait = threaded != 0 || !is_inside_handler();
    if (child.streamer != NULL && may_wait) {
        /* A prefork child that ends outside of the handler ends gracefully; its MPM does not say so. */
        bool graceful = child.is_graceful || threaded == 0;
        at_rest = streamer_leave(child.streamer, graceful ? REQUESTS_WAIT_MS : REQUESTS_WAIT_LITTLE_MS);
    }
    if (child.streamer != NULL) {
        streamer_stop(child.streamer, may_wait && at_rest);
    }
    if (may_wait && at_rest) {
        child.streamer = NULL;
        token_cache_free(child.tokens);
        child.tokens = NULL;
    }
    return APR_SUCCESS;
}

/* Logs, listeners and whatever else httpd has open: with many virtual hosts that is a lot. */
static unsigned long descriptors_in_use(void)
{
    DIR *list = opendir("/proc/self/fd");
    unsigned long count = 0;

    while (list != NULL && readdir(list) != NULL) {
        count++;
    }
    if (list != NULL) {
        closedir(list);
    }
    return count;
}

/* Raise the limit of descriptors, and see how many streams that allows beside httpd's own needs: the event MPM gives a
 * child up that runs out of descriptors.
 */
static void set_budget(server_rec *s)
{
    struct rlimit files = {1024, 1024};
    unsigned long used, limit, reserve = 256 + 8ul * child.workers_here;

    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        rlim_t before = files.rlim_cur;
        files.rlim_cur = files.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &files) != 0) {
            files.rlim_cur = before;
        }
    }
    used = descriptors_in_use();
    limit = files.rlim_cur == RLIM_INFINITY || files.rlim_cur > 10000000 ? 10000000 : files.rlim_cur;
    limit = limit > used ? limit - used : 0;
    reserve = reserve > limit / 2 ? limit / 2 : reserve;
    child.connections_most = (unsigned)(limit - reserve);
    ap_log_error(APLOG_MARK, APLOG_DEBUG, 0, s,
                 "mercure: this child may hold %u connections (%lu descriptors are free)", child.connections_most,
                 limit);
}

/* Few, so that tokens with made-up keys cannot hold the workers. */
static unsigned key_set_waiters(void)
{
    unsigned eighth = child.workers_here / 8, h2_quarter = config_http2_threads(ap_server_conf) / 4;

    if (h2_quarter > 0 && h2_quarter < eighth) {
        eighth = h2_quarter; /* there are fewer of those */
    }
    return eighth < 1 ? 1 : eighth > 4 ? 4 : eighth;
}

void child_init(apr_pool_t *pool, server_rec *s)
{
    int threads = 1, children = 1;

    ap_mpm_query(AP_MPMQ_MAX_THREADS, &threads);
    ap_mpm_query(AP_MPMQ_MAX_DAEMONS, &children);
    child.workers_here = threads > 0 ? (unsigned)threads : 1;
    child.workers = child.workers_here * (children > 0 ? (unsigned)children : 1);
    set_budget(s);
    h2_request_child_init(pool);
    child.tokens = token_cache_create(TOKENS_CACHED);
    child.key_sets = key_sets_create(config_key_set_dir(pool, s), key_set_waiters());
    if (child.key_sets == NULL) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, 0, s, "mercure: no memory for key sets");
        exit(APEXIT_CHILDSICK);
    }
    if (child.counters != NULL && !counters_claim(child.counters, getpid())) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s,
                     "mercure: more children than expected: this one counts no subscribers, limits do not apply to it");
    }
    /* Before any other module's, whose requests may be running in our threads. */
    apr_pool_pre_cleanup_register(pool, NULL, end);
}

void child_stopping(int graceful)
{
    child.is_graceful = graceful != 0;
}

streamer *child_streamer(server_rec *s, mercure_error *err)
{
    streamer *st;

    pthread_mutex_lock(&child.lock);
    if (child.streamer == NULL) {
        apr_pool_t *pool;
        if (apr_pool_create(&pool, NULL) == APR_SUCCESS) {
            child.streamer = streamer_start(config_socket_dir(pool, s), config_history_dir(pool, s),
                                            config_http2_threads(ap_server_conf), child.counters, child.key_sets, err);
            apr_pool_destroy(pool);
        } else {
            mercure_fail(err, MERCURE_SYSTEM, "no memory");
        }
    }
    st = child.streamer;
    pthread_mutex_unlock(&child.lock);
    return st;
}

token_cache *child_tokens(void)
{
    return child.tokens;
}

key_sets *child_key_sets(void)
{
    return child.key_sets;
}

counters *child_counters(void)
{
    return child.counters;
}

bool child_admit_connection(streamer *st)
{
    if (atomic_fetch_add(&st->connections, 1) >= child.connections_most) {
        atomic_fetch_sub(&st->connections, 1);
        return false;
    }
    return true;
}

unsigned child_blocking_most(void)
{
    return child.workers > 1 ? child.workers / 2 : 0;
}

unsigned child_blocking_most_here(void)
{
    return child.workers_here > 1 ? child.workers_here / 2 : 1;
}
