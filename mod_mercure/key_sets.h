/* key_sets.h - the key sets of issuers, as a child of httpd has them.
 *
 * Children never fetch: brokerd does, and keeps each set in a file; a file of the administrator's own is read in the
 * same way. A set is read when it is first needed, and again when its file has changed; the last good one stays in use.
 * Sets are shared by reference, behind a lock that is never held over I/O.
 */
#ifndef MOD_MERCURE_KEY_SETS_H
#define MOD_MERCURE_KEY_SETS_H

#include <stdbool.h>

#include "mercure/token.h"

struct streamer;

/* Where a set comes from: part of the configuration. */
typedef struct {
    const char *url;       /* brokerd fetches it; NULL: a file */
    const char *path;      /* the file */
    mercure_key *at_start; /* what it held when the configuration was read */
} key_set_source;

typedef struct key_sets key_sets;

/* For this child, until its end.
 *
 * dir       where brokerd keeps what it fetches
 * waiting   so many threads at most wait for a fetch at the same time
 *
 * NULL without memory.
 */
key_sets *key_sets_create(const char *dir, unsigned waiting);

/* The set now, with a reference for the caller; NULL when there is none yet. With a streamer, brokerd is told that the
 * set is in use. Any thread.
 */
mercure_key *key_sets_find(key_sets *sets, struct streamer *st, const key_set_source *source);

/* A token names a key that the set lacks, or there is no set: ask brokerd, and wait for it, at most two seconds.
 * Returns true when it has answered: find the set again. Any handler's thread.
 */
bool key_sets_refresh(key_sets *sets, struct streamer *st, const key_set_source *source);

/* --- the streamer's thread --- */

/* brokerd says that a set is as new as it can be. */
void key_sets_fetched(key_sets *sets, mercure_str url);

/* Call `say` for each URL in use. */
void key_sets_each(key_sets *sets, void (*say)(void *context, const char *url, bool lacking), void *context);

#endif
