/* h2_pool.h - the threads that run requests which came over HTTP/2.
 *
 * A few threads (MercureHTTP2Threads) serve all connections of a child, the connections in turn: none may have more
 * than half of the threads, and one thread is kept for requests for the hub itself that need not wait for their
 * clients.
 */
#ifndef MOD_MERCURE_H2_POOL_H
#define MOD_MERCURE_H2_POOL_H

#include <stdbool.h>

#include "h2_exchange.h"
#include "h2_request.h"

typedef struct h2_pool h2_pool;

/* One connection's requests, in the pool's turns. */
typedef struct h2_lane h2_lane;

/* A request that waits for a thread, or runs. */
typedef struct h2_job h2_job;

/* Start `threads` threads. NULL when the system refuses. */
h2_pool *h2_pool_create(unsigned threads);

/* Accept no more requests, and wait up to `wait_ms` for those that were accepted; what runs then is aborted, and waited
 * for as long again. Returns false when a thread still runs. While the streamer's thread does not run, responses that
 * do not fit into their exchange, and publications, wait in vain. May be called again, by one thread at a time.
 */
bool h2_pool_stop(h2_pool *pool, unsigned wait_ms);

/* Free a pool whose lanes are closed; it is stopped before, if it was not. */
void h2_pool_free(h2_pool *pool);

/* Takes a reference on the client. NULL without memory. `id` tells the connection from others of this child. */
h2_lane *h2_lane_create(h2_pool *pool, h2_client *client, unsigned long id);

/* The connection is gone; its jobs have a reference of their own. */
void h2_lane_close(h2_lane *lane);

/* Let an exchange run when its turn comes. `for_hub`: it is a request for the hub itself, and all of it is here. NULL
 * without memory, or when the pool has stopped.
 */
h2_job *h2_pool_run(h2_lane *lane, h2_exchange *x, int stream_id, bool for_hub);

/* Nobody wants it any more. If it did not run yet, it never will. Frees the job. */
void h2_job_drop(h2_job *job);

#endif
