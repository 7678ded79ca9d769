/* base.h - a hub's own public URL, against which relative topics and relative URL Patterns are resolved (PROTOCOL 3).
 *
 * A hub may be reached under several names; a subscriber's patterns and the topics they are asked about are relative to
 * the URL under which that subscriber reached it.
 */
#ifndef MERCURE_BASE_H
#define MERCURE_BASE_H

#include "mercure/error.h"
#include "mercure/str.h"
#include "mercure/url.h"

/* Immutable, shared by reference, safe from any thread. */
typedef struct mercure_base mercure_base;

/* Make a base of a URL.
 *
 * scratch   for the parser; nothing of it is kept
 * base      out: with one reference, given back by mercure_base_release()
 *
 * Returns MERCURE_OK; MERCURE_INVALID when it is no absolute URL of http or https; MERCURE_LIMIT past MERCURE_MAX_BASE
 * bytes; MERCURE_SYSTEM without memory.
 */
mercure_status mercure_base_make(apr_pool_t *scratch, mercure_str url, mercure_base **base, mercure_error *err);

mercure_base *mercure_base_hold(mercure_base *base);
void mercure_base_release(mercure_base *base); /* NULL is allowed */

/* As it was given, and as the parser read it. Both live as long as the base. */
mercure_str mercure_base_text(const mercure_base *base);
const mercure_url *mercure_base_url(const mercure_base *base);

#endif
