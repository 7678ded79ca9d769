/* matcher.c - see matcher.h. A further type of matcher is a further kind here, and a further way to be found in
 * index.c; nobody else asks what kind a matcher is.
 */
#include "mercure/matcher.h"
#include "mercure/limits.h"
#include "mercure/topic.h"

#include <strings.h>

/* Only a relative pattern is resolved against the base. An absolute one is made without: through a base, the URL
 * Pattern Standard would take the "*" of "urn:*" for a path relative to the base's.
 */
static mercure_status compile(mercure_base *base, mercure_matcher *matcher, mercure_error *err)
{
    mercure_status status = mercure_urlpattern_make(matcher->key.pattern, NULL, &matcher->urlpattern, err);

    if (status == MERCURE_INVALID && base != NULL) {
        status = mercure_urlpattern_make(matcher->key.pattern, mercure_base_url(base), &matcher->urlpattern, err);
    }
    return status;
}

static mercure_status make_pattern(mercure_base *base, mercure_matcher *matcher, mercure_error *err)
{
    mercure_status status = compile(base, matcher, err);

    if (status == MERCURE_OK && base != NULL) {
        matcher->base = mercure_base_hold(base);
        matcher->key.base = mercure_base_text(base);
    }
    return status;
}

static mercure_status check_value(mercure_str value, mercure_error *err)
{
    mercure_status status = mercure_value_check("matcher", value, err);

    if (status == MERCURE_OK && value.len == 0) {
        return mercure_fail(err, MERCURE_INVALID, "an empty matcher");
    }
    return status;
}

mercure_status mercure_matcher_make(mercure_str type, mercure_str value, mercure_base *base, mercure_matcher *matcher,
                                    mercure_error *err)
{
    bool exact = mercure_str_is(type, "exact");
    mercure_status status;

    if (!exact && !mercure_str_is(type, "urlpattern")) {
        return mercure_fail(err, MERCURE_INVALID, "%.*s is not a supported matcher type, use exact or urlpattern",
                            (int)(type.len < 40 ? type.len : 40), type.data);
    }
    status = check_value(value, err);
    if (status != MERCURE_OK) {
        return status;
    }
    *matcher =
        (mercure_matcher){.key = {.kind = exact ? MERCURE_MATCH_EXACT : MERCURE_MATCH_URLPATTERN, .pattern = value}};
    if (mercure_str_is(value, "*")) {
        matcher->key.kind = MERCURE_MATCH_ALL;
        return MERCURE_OK;
    }
    return exact ? MERCURE_OK : make_pattern(base, matcher, err);
}

mercure_status mercure_selector_make(mercure_str value, mercure_matcher *matcher, mercure_error *err)
{
    mercure_status status = check_value(value, err);

    if (status != MERCURE_OK) {
        return status;
    }
    *matcher = (mercure_matcher){.key = {.kind = MERCURE_MATCH_EXACT, .pattern = value}};
    if (mercure_str_is(value, "*")) {
        matcher->key.kind = MERCURE_MATCH_ALL;
        return MERCURE_OK;
    }
    if (memchr(value.data, '{', value.len) == NULL) {
        return MERCURE_OK;
    }
    status = mercure_uritemplate_make(value, &matcher->uritemplate, err);
    if (status == MERCURE_OK) {
        matcher->key.kind = MERCURE_MATCH_URITEMPLATE;
    }
    return status == MERCURE_SYSTEM ? MERCURE_SYSTEM : MERCURE_OK; /* what is no template is just a topic */
}

mercure_status mercure_matcher_of_key(apr_pool_t *scratch, const mercure_matcher_key *key, mercure_matcher *matcher,
                                      mercure_error *err)
{
    mercure_base *base = NULL;
    mercure_status status = MERCURE_OK;

    *matcher = (mercure_matcher){.key = *key};
    if (key->kind == MERCURE_MATCH_URITEMPLATE) {
        return mercure_uritemplate_make(key->pattern, &matcher->uritemplate, err);
    }
    if (key->kind != MERCURE_MATCH_URLPATTERN) {
        return MERCURE_OK;
    }
    if (key->base.len > 0) {
        status = mercure_base_make(scratch, key->base, &base, err);
    }
    if (status == MERCURE_OK) {
        status = make_pattern(base, matcher, err);
    }
    mercure_base_release(base);
    return status;
}

mercure_matcher mercure_matcher_copy(const mercure_matcher *matcher, char *room)
{
    mercure_matcher copy = *matcher;

    memcpy(room, matcher->key.pattern.data, matcher->key.pattern.len);
    copy.key.pattern.data = room;
    if (copy.base != NULL) {
        mercure_base_hold(copy.base);
    }
    if (copy.urlpattern != NULL) {
        mercure_urlpattern_hold(copy.urlpattern);
    }
    if (copy.uritemplate != NULL) {
        mercure_uritemplate_hold(copy.uritemplate);
    }
    return copy;
}

void mercure_matcher_release(mercure_matcher *matcher)
{
    mercure_base_release(matcher->base);
    mercure_urlpattern_release(matcher->urlpattern);
    mercure_uritemplate_release(matcher->uritemplate);
}

bool mercure_matcher_matches(const mercure_matcher *matcher, mercure_topic *topic)
{
    mercure_url_parts *url;

    switch (matcher->key.kind) {
    case MERCURE_MATCH_ALL:
        return true;
    case MERCURE_MATCH_EXACT:
        return mercure_str_equal(matcher->key.pattern, topic->text);
    case MERCURE_MATCH_URLPATTERN:
        url = mercure_topic_resolve(topic, matcher->base);
        return url != NULL && mercure_urlpattern_matches(matcher->urlpattern, url);
    case MERCURE_MATCH_URITEMPLATE:
        return mercure_str_equal(matcher->key.pattern, topic->text) ||
               mercure_uritemplate_matches(matcher->uritemplate, topic->text);
    }
    return false;
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
        if (other->key.kind == matcher->key.kind && mercure_str_equal(other->key.pattern, matcher->key.pattern)) {
            return true;
        }
    }
    return false;
}

static apr_status_t release_matchers(void *data)
{
    apr_array_header_t *matchers = data;
    int i;

    for (i = 0; i < matchers->nelts; i++) {
        mercure_matcher_release(&APR_ARRAY_IDX(matchers, i, mercure_matcher));
    }
    return APR_SUCCESS;
}

/* Takes the matcher over. */
static mercure_status add_matcher(mercure_subscription *subscription, mercure_matcher *matcher, mercure_error *err)
{
    if (holds(subscription->matchers, matcher)) {
        mercure_matcher_release(matcher);
        return MERCURE_OK;
    }
    if (subscription->matchers->nelts >= MERCURE_MAX_MATCHERS) {
        mercure_matcher_release(matcher);
        return mercure_fail(err, MERCURE_LIMIT, "more than %d matchers in one request", MERCURE_MAX_MATCHERS);
    }
    APR_ARRAY_PUSH(subscription->matchers, mercure_matcher) = *matcher; /* the array's cleanup gives it back */
    if (matcher->urlpattern != NULL) {
        subscription->regexps += mercure_urlpattern_regexp_size(matcher->urlpattern);
    }
    if (subscription->regexps > MERCURE_MAX_REGEXPS) {
        return mercure_fail(err, MERCURE_LIMIT, "more than %d bytes of compiled regular expressions in one request",
                            MERCURE_MAX_REGEXPS);
    }
    return MERCURE_OK;
}

typedef struct {
    mercure_subscription *subscription;
    mercure_base *base;
    bool legacy;
} form_reading;

static mercure_status take_matcher(form_reading *r, mercure_str name, mercure_str type, mercure_str value,
                                   mercure_error *err)
{
    mercure_matcher matcher;
    mercure_status status;

    if (type.len == 0 || !mercure_utf8_valid(name)) {
        return mercure_fail(
            err, MERCURE_INVALID,
            "a parameter whose name starts with match, but is none of match, match_exact and match_urlpattern");
    }
    status = mercure_matcher_make(type, value, r->base, &matcher, err);
    return status == MERCURE_OK ? add_matcher(r->subscription, &matcher, err) : status;
}

static mercure_status take_selector(form_reading *r, mercure_str value, mercure_error *err)
{
    mercure_matcher matcher;
    mercure_status status;

    r->subscription->asks_legacy = true;
    if (!r->legacy) {
        return MERCURE_OK;
    }
    status = mercure_selector_make(value, &matcher, err);
    return status == MERCURE_OK ? add_matcher(r->subscription, &matcher, err) : status;
}

static bool is_cursor(const form_reading *r, mercure_str name)
{
    return mercure_str_is(name, "last_event_id") ||
           (r->legacy && (mercure_str_is(name, "lastEventID") || mercure_str_is(name, "Last-Event-ID")));
}

static mercure_status take_pair(form_reading *r, mercure_str name, mercure_str value, mercure_error *err)
{
    mercure_str type;

    if (is_cursor(r, name) && r->subscription->last_event_id.data == NULL) {
        r->subscription->last_event_id = value;
    }
    if (mercure_str_is(name, "topic")) {
        return take_selector(r, value, err);
    }
    return type_of_parameter(name, &type) ? take_matcher(r, name, type, value, err) : MERCURE_OK;
}

mercure_status mercure_subscription_from_forms(apr_pool_t *pool, mercure_form *forms, size_t count, mercure_base *base,
                                               bool legacy, mercure_subscription *subscription, mercure_error *err)
{
    form_reading r = {subscription, base, legacy};
    mercure_str name, value;
    size_t i;

    *subscription = (mercure_subscription){.matchers = apr_array_make(pool, 2, sizeof(mercure_matcher))};
    apr_pool_cleanup_register(pool, subscription->matchers, release_matchers, apr_pool_cleanup_null);
    for (i = 0; i < count; i++) {
        while (mercure_form_next(&forms[i], &name, &value)) {
            mercure_status status = take_pair(&r, name, value, err);
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
