/* matcher.c - see matcher.h. A further type of matcher is a further kind here, and a further way to be found in
 * index.c; nobody else asks what kind a matcher is.
 */
#include "mercure/matcher.h"
#include "mercure/limits.h"
#include "mercure/topic.h"

#include <strings.h>

mercure_status mercure_matcher_make(mercure_str type, mercure_str value, mercure_matcher *matcher, mercure_error *err)
{
    mercure_status status;

    if (!mercure_str_is(type, "exact")) {
        return mercure_fail(err, MERCURE_INVALID, "%.*s is not a supported matcher type, use exact",
                            (int)(type.len < 40 ? type.len : 40), type.data);
    }
    status = mercure_value_check("matcher", value, err);
    if (status != MERCURE_OK) {
        return status;
    }
    if (value.len == 0) {
        return mercure_fail(err, MERCURE_INVALID, "an empty matcher");
    }
    matcher->kind = mercure_str_is(value, "*") ? MERCURE_MATCH_ALL : MERCURE_MATCH_EXACT;
    matcher->pattern = value;
    return MERCURE_OK;
}

bool mercure_matcher_matches(const mercure_matcher *matcher, mercure_str topic)
{
    return matcher->kind == MERCURE_MATCH_ALL || mercure_str_equal(matcher->pattern, topic);
}

/* Which type does a parameter's name select? False: the name is not a matcher's. A name in the reserved space that
 * selects nothing gives an empty type, which no matcher has.
 */
static bool type_of_parameter(mercure_str name, mercure_str *type)
{
    if (name.len < 5 || strncasecmp(name.data, "match", 5) != 0) {
        return false;
    }
    *type = mercure_str_of("");
    if (mercure_str_is(name, "match")) {
        *type = mercure_str_of("exact");
    } else if (name.len > 6 && memcmp(name.data, "match_", 6) == 0) {
        *type = (mercure_str){name.data + 6, name.len - 6};
    }
    return true;
}

/* Asking twice for the same is asking once. */
static bool holds(const apr_array_header_t *matchers, const mercure_matcher *matcher)
{
    int i;

    for (i = 0; i < matchers->nelts; i++) {
        const mercure_matcher *other = &APR_ARRAY_IDX(matchers, i, mercure_matcher);
        if (other->kind == matcher->kind && mercure_str_equal(other->pattern, matcher->pattern)) {
            return true;
        }
    }
    return false;
}

static mercure_status take_pair(mercure_subscription *subscription, mercure_str name, mercure_str value,
                                mercure_error *err)
{
    mercure_matcher matcher;
    mercure_status status;
    mercure_str type;

    if (mercure_str_is(name, "last_event_id") && subscription->last_event_id.data == NULL) {
        subscription->last_event_id = value;
    }
    if (!type_of_parameter(name, &type)) {
        return MERCURE_OK;
    }
    if (type.len == 0 || !mercure_utf8_valid(name)) {
        return mercure_fail(err, MERCURE_INVALID,
                            "a parameter whose name starts with match, but is neither match nor match_exact");
    }
    status = mercure_matcher_make(type, value, &matcher, err);
    if (status != MERCURE_OK || holds(subscription->matchers, &matcher)) {
        return status;
    }
    if (subscription->matchers->nelts >= MERCURE_MAX_MATCHERS) {
        return mercure_fail(err, MERCURE_LIMIT, "more than %d matchers in one request", MERCURE_MAX_MATCHERS);
    }
    APR_ARRAY_PUSH(subscription->matchers, mercure_matcher) = matcher;
    return MERCURE_OK;
}

mercure_status mercure_subscription_from_forms(apr_pool_t *pool, mercure_form *forms, size_t count,
                                               mercure_subscription *subscription, mercure_error *err)
{
    mercure_str name, value;
    size_t i;

    subscription->matchers = apr_array_make(pool, 2, sizeof(mercure_matcher));
    subscription->last_event_id = (mercure_str){NULL, 0};
    for (i = 0; i < count; i++) {
        while (mercure_form_next(&forms[i], &name, &value)) {
            mercure_status status = take_pair(subscription, name, value, err);
            if (status != MERCURE_OK) {
                return status;
            }
        }
    }
    if (subscription->matchers->nelts == 0) {
        return mercure_fail(err, MERCURE_INVALID, "no matcher: add a match= parameter");
    }
    return MERCURE_OK;
}
