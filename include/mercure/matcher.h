/* matcher.h - a topic matcher, and what a subscriber asks for (PROTOCOL 2 and 3). */
#ifndef MERCURE_MATCHER_H
#define MERCURE_MATCHER_H

#include <apr_tables.h>
#include <stdint.h>

#include "mercure/base.h"
#include "mercure/error.h"
#include "mercure/form.h"
#include "mercure/str.h"
#include "mercure/topic.h"
#include "mercure/uritemplate.h"
#include "mercure/urlpattern.h"

typedef enum {
    MERCURE_MATCH_ALL = 1,        /* the value `*`: every topic, whatever type was named */
    MERCURE_MATCH_EXACT = 2,      /* byte for byte */
    MERCURE_MATCH_URLPATTERN = 3, /* urlpattern.h, of the topic as a URL */
    MERCURE_MATCH_URITEMPLATE = 4 /* 0.x only: the very same text, or what uritemplate.h says */
} mercure_match_kind;

/* What tells a matcher from any other. The strings are borrowed. */
typedef struct {
    mercure_match_kind kind;
    mercure_str pattern;
    mercure_str base; /* of a URL Pattern: the hub's URL, which it and its topics are relative to; else empty */
} mercure_matcher_key;

/* A matcher that can be asked. Its key's pattern is borrowed; the rest, where its kind has it, are references of its
 * own.
 */
typedef struct {
    mercure_matcher_key key;
    mercure_base *base;
    mercure_urlpattern *urlpattern;
    mercure_uritemplate *uritemplate;
} mercure_matcher;

/* Make a matcher of a type's name ("exact" or "urlpattern", as it stands in `match_exact=` and in `match_type`) and a
 * value.
 *
 * base   what a URL Pattern is relative to; NULL: a relative one is malformed
 *
 * Returns MERCURE_OK, and the matcher is to be given back by mercure_matcher_release(); MERCURE_INVALID for an unknown
 * type, a value that PROTOCOL 1 forbids, or a malformed pattern; MERCURE_LIMIT when the value is too long;
 * MERCURE_SYSTEM without memory.
 */
mercure_status mercure_matcher_make(mercure_str type, mercure_str value, mercure_base *base, mercure_matcher *matcher,
                                    mercure_error *err);

/* Make a matcher of a topic selector of protocol 0.x (PROTOCOL 10): `*`, a topic, or a URI Template. Returns as above.
 */
mercure_status mercure_selector_make(mercure_str value, mercure_matcher *matcher, mercure_error *err);

/* Make the matcher of a key, as another process names it. `scratch` is for parsing the base. As above. */
mercure_status mercure_matcher_of_key(apr_pool_t *scratch, const mercure_matcher_key *key, mercure_matcher *matcher,
                                      mercure_error *err);

/* A matcher like this one, with references of its own, and its pattern copied to `room`. */
mercure_matcher mercure_matcher_copy(const mercure_matcher *matcher, char *room);
void mercure_matcher_release(mercure_matcher *matcher);

bool mercure_matcher_matches(const mercure_matcher *matcher, mercure_topic *topic);

/* What a subscription request says. */
typedef struct {
    apr_array_header_t
        *matchers;             /* of mercure_matcher; the strings are borrowed from the form, the rest is the pool's */
    mercure_str last_event_id; /* data NULL: the parameter is absent; it may be present and empty */
    size_t regexps;            /* bytes of compiled regular expressions in the matchers */
    bool asks_legacy;          /* a `topic` was there, accepted or not */
} mercure_subscription;

/* Read a subscription request's parameters: of its query, and of a QUERY's body. All pairs count; of a last_event_id in
 * several forms the first form's wins.
 *
 * base     the hub's URL; NULL: there is none
 * legacy   are the parameters of protocol 0.x accepted too: `topic`, `lastEventID`, `Last-Event-ID` (PROTOCOL 10)?
 *
 * Returns MERCURE_OK; MERCURE_INVALID or MERCURE_LIMIT (both are answered 400) with the reason in `err`;
 * MERCURE_SYSTEM without memory.
 */
mercure_status mercure_subscription_from_forms(apr_pool_t *pool, mercure_form *forms, size_t count, mercure_base *base,
                                               bool legacy, mercure_subscription *subscription, mercure_error *err);

#endif
