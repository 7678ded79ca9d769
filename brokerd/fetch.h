/* fetch.h - one download of a key set: what may be connected to, how much and how long. */
#ifndef BROKERD_FETCH_H
#define BROKERD_FETCH_H

#include <curl/curl.h>

#include "mercure/error.h"
#include "mercure/jwks.h"

typedef struct {
    CURL *easy;
    unsigned reach; /* key_url.h */
    bool refused;   /* an address was not within it */
    bool too_large;
    unsigned long fresh, age; /* seconds, from Cache-Control and Age */
    size_t len;
    char body[MERCURE_JWKS_MAX_BYTES];
} fetch;

#define FETCH_FRESH_UNSAID ((unsigned long)-1)

/* Prepare a download, to be handed to a curl multi handle. `ca`, or NULL, is a file of further certificates to trust.
 * NULL without memory or when curl lacks what we need of it: nothing is fetched with a rule missing.
 */
fetch *fetch_create(const char *url, unsigned reach, const char *ca);
void fetch_free(fetch *f);

/* Did it bring an answer? MERCURE_OK, the body in `f`; else the reason, in which no part of a URL is quoted. */
mercure_status fetch_outcome(fetch *f, CURLcode ended, mercure_error *err);

#endif
