/* topic.h - the characters a topic, an id, a type or a matcher may hold (PROTOCOL 1), and a topic made ready to be
 * asked about by matchers (PROTOCOL 3).
 */
#ifndef MERCURE_TOPIC_H
#define MERCURE_TOPIC_H

#include "mercure/base.h"
#include "mercure/error.h"
#include "mercure/str.h"
#include "mercure/urlpattern.h"

/* Is this well-formed UTF-8 (RFC 3629: no overlong form, no surrogate, nothing past U+10FFFF)? */
bool mercure_utf8_valid(mercure_str text);

/* Keep the rule of PROTOCOL 1: valid UTF-8 without C0, DEL, C1 or a code point of general category Cf, and at most
 * MERCURE_MAX_VALUE bytes.
 *
 * name   what the value is, for the reason ("topic", "id", ...)
 *
 * Returns MERCURE_OK; MERCURE_LIMIT when it is too long; MERCURE_INVALID when a character is not allowed.
 */
mercure_status mercure_value_check(const char *name, mercure_str value, mercure_error *err);

/* A topic that many matchers are asked about. Only a URL Pattern needs the URL that it is, so it is parsed when the
 * first one asks, and once for all (a relative one: once for each base). Belongs to one thread.
 */
typedef struct mercure_topic_url mercure_topic_url;

typedef struct {
    mercure_str text; /* borrowed */
    apr_pool_t *pool; /* for what is parsed */
    mercure_topic_url *urls;
    mercure_effort *effort; /* shared with the other topics of an update; NULL: one of its own */
} mercure_topic;

mercure_topic mercure_topic_of(apr_pool_t *pool, mercure_str text);

/* The topic as a URL, relative to `base` (NULL: only an absolute one is a URL); NULL when it is none. */
mercure_url_parts *mercure_topic_resolve(mercure_topic *topic, const mercure_base *base);

#endif
