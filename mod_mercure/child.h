/* child.h - the one struct of a child process of httpd: its streamer, its tokens and key sets, its descriptor budget.
 */
#ifndef MOD_MERCURE_CHILD_H
#define MOD_MERCURE_CHILD_H

#include <httpd.h>

#include "counters.h"
#include "key_sets.h"
#include "streamer.h"
#include "token_cache.h"

/* The parent gives what all children share, before it makes them. */
void child_prepare(counters *c);

/* The child_init hook: raises the descriptor limit, and registers the end with the child's pool. */
void child_init(apr_pool_t *pool, server_rec *s);

/* The child_stopping hook. */
void child_stopping(int graceful);

/* The streamer, started when the first request for a hub comes: a child that serves none has no thread of ours. NULL
 * with the reason in `err` when the system refuses.
 */
streamer *child_streamer(server_rec *s, mercure_error *err);

token_cache *child_tokens(void);
key_sets *child_key_sets(void);
counters *child_counters(void);

/* May this child hold one more connection, by its descriptors? Counts it if so, in st->connections. */
bool child_admit_connection(streamer *st);

/* At most so many streams of this child, and of all children, may block a worker each, unless the admin says otherwise.
 */
unsigned child_blocking_most(void);
unsigned child_blocking_most_here(void);

#endif
