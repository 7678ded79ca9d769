/* fetcher.h - the thread that keeps key sets fresh: which URLs, when, and where the sets are kept.
 *
 * A set is kept as it came, in DIR/<SHA-256 of its URL>.json, replaced whole and only by one that can be used: children
 * read it there, and it outlives both brokerd and the provider. A URL is fetched when a child first wants it, then on
 * schedule for as long as children want it, and in between when one lacks a key.
 */
#ifndef BROKERD_FETCHER_H
#define BROKERD_FETCHER_H

#include "mercure/error.h"
#include "mercure/str.h"

typedef struct fetcher fetcher;

typedef struct {
    const char *ca;       /* a file of further certificates to trust, or NULL */
    bool inner;           /* private addresses and loopback may be fetched from */
    unsigned min_refresh; /* seconds */
} fetcher_options;

#define FETCHER_MIN_REFRESH 30

/* Make the directory of key sets in `state_dir`. The thread starts with the first URL. The options' strings are
 * borrowed.
 */
mercure_status fetcher_create(const char *state_dir, const fetcher_options *options, fetcher **result,
                              mercure_error *err);

/* A child wants a key set.
 *
 * lacking   it waits for a key that the set lacks, or has no set: fetch now, but at most once in `min_refresh` seconds
 *
 * Returns true when a fetch is under way, whose end fetcher_results() will tell; false when there is nothing to wait
 * for.
 */
bool fetcher_want(fetcher *f, mercure_str url, bool lacking);

/* Readable when there are results. */
int fetcher_event(const fetcher *f);

/* Call `tell` for each URL whose fetch has ended, well or not. */
void fetcher_results(fetcher *f, void (*tell)(void *context, mercure_str url), void *context);

/* End the thread, whatever it is waiting for, and free it. */
void fetcher_stop(fetcher *f);

#endif
