/* urlpattern.h - URL patterns: does a topic match? (PROTOCOL 3)
 *
 * The WHATWG URL Pattern Standard, review draft of September 2025, with `ignoreCase` never on. Only the answer yes or
 * no is made here, not the values of the groups.
 *
 * Time: a pattern of m bytes is made in O(m), and asked about a component value of n bytes in O(m * n / 64), plus O(n)
 * for each repeated group; nothing backtracks. The exception is a component that holds a regular-expression group,
 * which PCRE2 evaluates within limits (see urlpattern.c): past a limit it does not match.
 */
#ifndef MERCURE_URLPATTERN_H
#define MERCURE_URLPATTERN_H

#include "mercure/error.h"
#include "mercure/str.h"
#include "mercure/url.h"

#include <apr_pools.h>
#include <stdint.h>

typedef enum {
    MERCURE_URL_PROTOCOL,
    MERCURE_URL_USERNAME,
    MERCURE_URL_PASSWORD,
    MERCURE_URL_HOSTNAME,
    MERCURE_URL_PORT,
    MERCURE_URL_PATHNAME,
    MERCURE_URL_SEARCH,
    MERCURE_URL_HASH,
    MERCURE_URL_COMPONENTS /* how many there are */
} mercure_url_component;

/* What the patterns that are asked about one update may cost altogether, and what they need for it. Made once for an
 * update, shared by its topics; belongs to one thread. Past its bounds patterns do not match.
 */
typedef struct mercure_effort mercure_effort;

mercure_effort *mercure_effort_make(apr_pool_t *pool);

/* What was spent, in steps of one to two nanoseconds. */
uint64_t mercure_effort_spent(const mercure_effort *effort);

/* Did a pattern not match only because the bound was reached? */
bool mercure_effort_exhausted(const mercure_effort *effort);

/* A URL taken apart for matching: made once per topic, asked by many patterns. What the search of one pattern learns
 * about a component's value is kept for the next, in `pool`, so the parts belong to one thread. */
typedef struct mercure_url_parts mercure_url_parts;

/* Borrows `url` and `effort`, which must live as long as the parts; NULL: an effort of their own. Takes time linear in
 * the URL. */
mercure_url_parts *mercure_url_parts_make(apr_pool_t *pool, const mercure_url *url, mercure_effort *effort);

/* A component as patterns see it: the protocol without its colon, the port "" where it is the default, search and hash
 * without '?' and '#'. Borrowed from the parts. */
mercure_str mercure_url_parts_get(const mercure_url_parts *parts, mercure_url_component component);

/* A compiled pattern. It never changes, may be asked by any thread, lives on the heap and is counted: who makes or
 * holds it releases it. An ordinary one takes some 300 bytes. */
typedef struct mercure_urlpattern mercure_urlpattern;

/* Compile a constructor string ("https://example.com/users/:id/posts").
 *
 * pattern   UTF-8, any length; the caller checks the limit of PROTOCOL 9
 * base      what a relative pattern is completed from; NULL: only patterns with a protocol are taken
 * result    out: the pattern, held once
 *
 * Returns MERCURE_OK; MERCURE_INVALID where the standard throws, or where PCRE2 cannot take a group's regular
 * expression; MERCURE_LIMIT where that is too heavy; MERCURE_SYSTEM without memory. The reason in `err` names the
 * component and, where there is one, the position in it, but never repeats the pattern, which may hold a password.
 */
mercure_status mercure_urlpattern_make(mercure_str pattern, const mercure_url *base, mercure_urlpattern **result,
                                       mercure_error *err);

/* Hold a pattern once more; returns it. Any thread. */
mercure_urlpattern *mercure_urlpattern_hold(mercure_urlpattern *pattern);

/* Give one hold back; the last one frees the pattern. NULL is allowed. Any thread. */
void mercure_urlpattern_release(mercure_urlpattern *pattern);

/* Does every component match? A value that does not begin and end as the pattern demands is refused by comparing these
 * bytes alone. */
bool mercure_urlpattern_matches(const mercure_urlpattern *pattern, mercure_url_parts *parts);

/* What every matching URL's component begins or ends with, for an index; may be empty. (The two may overlap in a
 * value.) Borrowed from the pattern. */
mercure_str mercure_urlpattern_prefix(const mercure_urlpattern *pattern, mercure_url_component component);
mercure_str mercure_urlpattern_suffix(const mercure_urlpattern *pattern, mercure_url_component component);

/* Bytes that its compiled regular expressions take; 0: it has none. */
size_t mercure_urlpattern_regexp_size(const mercure_urlpattern *pattern);

#endif
