/* matcher.h - a topic matcher, and what a subscriber asks for (PROTOCOL 2 and 3). */
#ifndef MERCURE_MATCHER_H
#define MERCURE_MATCHER_H

#include <apr_tables.h>
#include <stdint.h>

#include "mercure/error.h"
#include "mercure/form.h"
#include "mercure/str.h"

typedef enum {
    MERCURE_MATCH_ALL = 1,  /* the value `*`: every topic, whatever type was named */
    MERCURE_MATCH_EXACT = 2 /* byte for byte */
} mercure_match_kind;

typedef struct {
    mercure_match_kind kind;
    mercure_str pattern; /* borrowed */
} mercure_matcher;

/* Make a matcher of a type's name ("exact", as it stands in `match_exact=` and in `match_type`) and a value.
 *
 * Returns MERCURE_OK; MERCURE_INVALID for an unknown type or a value that PROTOCOL 1 forbids; MERCURE_LIMIT when the
 * value is too long.
 */
mercure_status mercure_matcher_make(mercure_str type, mercure_str value, mercure_matcher *matcher, mercure_error *err);

bool mercure_matcher_matches(const mercure_matcher *matcher, mercure_str topic);

/* What a subscription request says. */
typedef struct {
    apr_array_header_t *matchers; /* of mercure_matcher; the strings are borrowed from the form */
    mercure_str last_event_id;    /* data NULL: the parameter is absent; it may be present and empty */
} mercure_subscription;

/* Read a subscription request's parameters: of its query, and of a QUERY's body. All pairs count; of a last_event_id in
 * several forms the first form's wins.
 *
 * Returns MERCURE_OK; MERCURE_INVALID or MERCURE_LIMIT (both are answered 400) with the reason in `err`.
 */
mercure_status mercure_subscription_from_forms(apr_pool_t *pool, mercure_form *forms, size_t count,
                                               mercure_subscription *subscription, mercure_error *err);

#endif
