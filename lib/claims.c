/* claims.c - see claims.h. The strings of a token's matchers are copied: the JSON may go as soon as the grants are
 * made. */
#include "mercure/claims.h"
#include "mercure/limits.h"

#include <stdatomic.h>
#include <stdlib.h>

#define DETAIL_TYPE "https://mercure.rocks/authorization-detail"

typedef struct {
    mercure_matcher *matchers;
    size_t count;
} matcher_set;

typedef struct {
    char **names;
    size_t count;
    bool any; /* `*` is among them */
} target_set;

struct mercure_grants {
    atomic_uint references;
    int64_t expires;
    matcher_set publish;
    matcher_set subscribe;
    bool publishes_on_any_topic; /* with targets alone, whoever may publish may do so on any topic */
    target_set publish_targets;
    target_set subscribe_targets;
};

static void free_set(matcher_set *set)
{
    size_t i;

    for (i = 0; i < set->count; i++) {
        free((void *)set->matchers[i].key.pattern.data);
        mercure_matcher_release(&set->matchers[i]);
    }
    free(set->matchers);
}

static bool add_matcher(matcher_set *set, const mercure_matcher *matcher)
{
    mercure_matcher *matchers = realloc(set->matchers, (set->count + 1) * sizeof(*matchers));
    char *pattern;

    if (matchers == NULL) {
        return false;
    }
    set->matchers = matchers;
    pattern = malloc(matcher->key.pattern.len);
    if (pattern == NULL) {
        return false;
    }
    matchers[set->count++] = mercure_matcher_copy(matcher, pattern);
    return true;
}

static void free_targets(target_set *set)
{
    size_t i;

    for (i = 0; i < set->count; i++) {
        free(set->names[i]);
    }
    free(set->names);
}

static mercure_str json_str(const json_t *string)
{
    return (mercure_str){json_string_value(string), json_string_length(string)};
}

/* Which of our actions does a detail name? */
static mercure_status read_actions(const json_t *detail, bool *publish, bool *subscribe, mercure_error *err)
{
    const json_t *actions = json_object_get(detail, "actions"), *action;
    size_t i;

    if (!json_is_array(actions) || json_array_size(actions) == 0) {
        return mercure_fail(err, MERCURE_INVALID, "an authorization detail without an array of actions");
    }
    json_array_foreach(actions, i, action)
    {
        if (!json_is_string(action)) {
            return mercure_fail(err, MERCURE_INVALID, "an authorization detail with an action that is no string");
        }
        *publish = *publish || mercure_str_is(json_str(action), "publish");
        *subscribe = *subscribe || mercure_str_is(json_str(action), "subscribe");
    }
    return MERCURE_OK;
}

static mercure_status read_matcher(const json_t *topic, mercure_base *base, mercure_matcher *matcher,
                                   mercure_error *err)
{
    const json_t *match = json_object_get(topic, "match");
    const json_t *type = json_object_get(topic, "match_type");

    if (!json_is_object(topic) || !json_is_string(match)) {
        return mercure_fail(err, MERCURE_INVALID, "an authorization detail with a topic that is no object with match");
    }
    if (type != NULL && !json_is_string(type)) {
        return mercure_fail(err, MERCURE_INVALID, "an authorization detail whose match_type is no string");
    }
    if (type != NULL && !mercure_str_is(json_str(type), "exact") && !mercure_str_is(json_str(type), "urlpattern")) {
        /* said here, for the reason may not quote the token */
        return mercure_fail(err, MERCURE_INVALID,
                            "an authorization detail whose match_type is neither exact nor urlpattern");
    }
    return mercure_matcher_make(type != NULL ? json_str(type) : mercure_str_of("exact"), json_str(match), base, matcher,
                                err);
}

static mercure_status read_detail(mercure_grants *grants, const json_t *detail, mercure_base *base, size_t *topics_seen,
                                  mercure_error *err)
{
    const json_t *topics = json_object_get(detail, "topics"), *topic;
    const json_t *payload = json_object_get(detail, "payload");
    bool publish = false, subscribe = false;
    mercure_status status = read_actions(detail, &publish, &subscribe, err);
    size_t i;

    if (status != MERCURE_OK) {
        return status;
    }
    if (payload != NULL && !json_is_object(payload)) {
        return mercure_fail(err, MERCURE_INVALID, "an authorization detail whose payload is no object");
    }
    if (!json_is_array(topics) || json_array_size(topics) == 0) {
        return mercure_fail(err, MERCURE_INVALID, "an authorization detail without an array of topics");
    }
    *topics_seen += json_array_size(topics);
    if (*topics_seen > MERCURE_MAX_DETAIL_TOPICS) {
        return mercure_fail(err, MERCURE_INVALID, "more than %d topics in the authorization details",
                            MERCURE_MAX_DETAIL_TOPICS);
    }
    json_array_foreach(topics, i, topic)
    {
        mercure_matcher matcher;
        bool added;

        status = read_matcher(topic, base, &matcher, err);
        if (status != MERCURE_OK) {
            return status == MERCURE_SYSTEM ? MERCURE_SYSTEM : MERCURE_INVALID;
        }
        added = (!publish || add_matcher(&grants->publish, &matcher)) &&
                (!subscribe || add_matcher(&grants->subscribe, &matcher));
        mercure_matcher_release(&matcher);
        if (!added) {
            return mercure_fail(err, MERCURE_SYSTEM, "no memory for a token's grants");
        }
    }
    return MERCURE_OK;
}

static mercure_status read_details(mercure_grants *grants, json_t *claims, mercure_base *base, mercure_error *err)
{
    const json_t *details = json_object_get(claims, "authorization_details"), *detail;
    size_t ours = 0, topics = 0, i;

    if (details == NULL) {
        return MERCURE_OK;
    }
    if (!json_is_array(details)) {
        return mercure_fail(err, MERCURE_INVALID, "authorization_details is no array");
    }
    json_array_foreach(details, i, detail)
    {
        const json_t *type = json_object_get(detail, "type");
        mercure_status status;

        if (!json_is_string(type)) {
            return mercure_fail(err, MERCURE_INVALID, "an authorization detail without a type");
        }
        if (!mercure_str_is(json_str(type), DETAIL_TYPE)) {
            continue;
        }
        if (++ours > MERCURE_MAX_DETAILS) {
            return mercure_fail(err, MERCURE_INVALID, "more than %d authorization details", MERCURE_MAX_DETAILS);
        }
        status = read_detail(grants, detail, base, &topics, err);
        if (status != MERCURE_OK) {
            return status;
        }
    }
    return MERCURE_OK;
}

static mercure_grants *create(int64_t expires, mercure_error *err)
{
    mercure_grants *grants = calloc(1, sizeof(*grants));

    if (grants == NULL) {
        mercure_fail(err, MERCURE_SYSTEM, "no memory for a token's grants");
        return NULL;
    }
    atomic_init(&grants->references, 1);
    grants->expires = expires;
    return grants;
}

static mercure_status finish(mercure_grants *grants, mercure_status status, mercure_grants **result)
{
    if (status == MERCURE_OK) {
        *result = grants;
    } else {
        mercure_grants_release(grants);
    }
    return status;
}

mercure_status mercure_grants_make(json_t *claims, mercure_base *base, int64_t expires, mercure_grants **result,
                                   mercure_error *err)
{
    mercure_grants *grants = create(expires, err);

    return grants == NULL ? MERCURE_SYSTEM : finish(grants, read_details(grants, claims, base, err), result);
}

/* --- the older dialects --- */

static mercure_status add_selector(matcher_set *set, mercure_str text, mercure_error *err)
{
    mercure_matcher matcher;
    mercure_status status = mercure_selector_make(text, &matcher, err);
    bool added;

    if (status != MERCURE_OK) {
        return status == MERCURE_SYSTEM ? MERCURE_SYSTEM : MERCURE_INVALID;
    }
    added = add_matcher(set, &matcher);
    mercure_matcher_release(&matcher);
    return added ? MERCURE_OK : mercure_fail(err, MERCURE_SYSTEM, "no memory for a token's grants");
}

static mercure_status add_target(target_set *set, const json_t *target, mercure_error *err)
{
    char **names = realloc(set->names, (set->count + 1) * sizeof(*names));

    if (names == NULL) {
        return mercure_fail(err, MERCURE_SYSTEM, "no memory for a token's grants");
    }
    set->names = names;
    names[set->count] = strdup(json_string_value(target)); /* jansson lets no NUL in */
    if (names[set->count] == NULL) {
        return mercure_fail(err, MERCURE_SYSTEM, "no memory for a token's grants");
    }
    set->any = set->any || strcmp(names[set->count], "*") == 0;
    set->count++;
    return MERCURE_OK;
}

/* One of the arrays; absent or null is empty. */
static mercure_status read_array(const json_t *mercure, const char *name, unsigned dialects, matcher_set *selectors,
                                 target_set *targets, mercure_error *err)
{
    const json_t *array = json_object_get(mercure, name), *one;
    mercure_status status = MERCURE_OK;
    size_t i;

    if (array == NULL || json_is_null(array)) {
        return MERCURE_OK;
    }
    if (!json_is_array(array) || json_array_size(array) > MERCURE_MAX_SELECTORS) {
        return mercure_fail(err, MERCURE_INVALID, "the token's mercure.%s is no array of at most %d strings", name,
                            MERCURE_MAX_SELECTORS);
    }
    json_array_foreach(array, i, one)
    {
        if (!json_is_string(one)) {
            return mercure_fail(err, MERCURE_INVALID, "the token's mercure.%s holds what is no string", name);
        }
        if (dialects & MERCURE_DIALECT_8) {
            status = add_selector(selectors, json_str(one), err);
        }
        if (status == MERCURE_OK && (dialects & MERCURE_DIALECT_TARGETS)) {
            status = add_target(targets, one, err);
        }
        if (status != MERCURE_OK) {
            return status;
        }
    }
    return MERCURE_OK;
}

static mercure_status read_legacy(mercure_grants *grants, json_t *claims, unsigned dialects, mercure_error *err)
{
    const json_t *mercure = json_object_get(claims, "https://mercure.rocks/");
    mercure_status status;

    if (mercure == NULL || json_is_null(mercure)) {
        mercure = json_object_get(claims, "mercure");
    }
    if (mercure == NULL || json_is_null(mercure)) {
        return MERCURE_OK; /* grants nothing */
    }
    if (!json_is_object(mercure)) {
        return mercure_fail(err, MERCURE_INVALID, "the token's mercure claim is no object");
    }
    grants->publishes_on_any_topic =
        dialects == MERCURE_DIALECT_TARGETS && json_is_array(json_object_get(mercure, "publish"));
    status = read_array(mercure, "publish", dialects, &grants->publish, &grants->publish_targets, err);
    if (status != MERCURE_OK) {
        return status;
    }
    return read_array(mercure, "subscribe", dialects, &grants->subscribe, &grants->subscribe_targets, err);
}

mercure_status mercure_grants_make_legacy(json_t *claims, unsigned dialects, int64_t expires, mercure_grants **result,
                                          mercure_error *err)
{
    mercure_grants *grants = create(expires, err);

    return grants == NULL ? MERCURE_SYSTEM : finish(grants, read_legacy(grants, claims, dialects, err), result);
}

/* --- asking --- */

mercure_grants *mercure_grants_hold(mercure_grants *grants)
{
    atomic_fetch_add_explicit(&grants->references, 1, memory_order_relaxed);
    return grants;
}

void mercure_grants_release(mercure_grants *grants)
{
    if (grants == NULL || atomic_fetch_sub_explicit(&grants->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    free_set(&grants->publish);
    free_set(&grants->subscribe);
    free_targets(&grants->publish_targets);
    free_targets(&grants->subscribe_targets);
    free(grants);
}

int64_t mercure_grants_expires(const mercure_grants *grants)
{
    return grants->expires;
}

static bool set_matches(const matcher_set *set, mercure_topic *topic)
{
    size_t i;

    for (i = 0; i < set->count; i++) {
        if (mercure_matcher_matches(&set->matchers[i], topic)) {
            return true;
        }
    }
    return false;
}

static bool holds_target(const target_set *set, mercure_str target)
{
    size_t i;

    for (i = 0; i < set->count && !set->any; i++) {
        if (mercure_str_is(target, set->names[i])) {
            return true;
        }
    }
    return set->any;
}

bool mercure_grants_may_publish(const mercure_grants *grants, bool is_private, mercure_topic *topics, size_t count,
                                const mercure_str *targets, size_t target_count)
{
    size_t i;

    for (i = 0; i < target_count; i++) {
        if (!holds_target(&grants->publish_targets, targets[i])) {
            return false;
        }
    }
    if (target_count > 0) {
        return true;
    }
    if (grants->publishes_on_any_topic) {
        return !is_private || grants->publish_targets.count > 0; /* an empty array is for public updates */
    }
    for (i = 0; i < count; i++) {
        if (!set_matches(&grants->publish, &topics[i])) {
            return false;
        }
    }
    return true;
}

static bool reads_targets(const mercure_grants *grants, const mercure_record *record)
{
    mercure_str target;
    size_t at = 0;

    while (mercure_record_target(record, &at, &target)) {
        if (holds_target(&grants->subscribe_targets, target)) {
            return true;
        }
    }
    return false;
}

bool mercure_grants_may_read(const mercure_grants *grants, const mercure_record *record, mercure_topic *topics)
{
    size_t i;

    if (grants == NULL) {
        return false;
    }
    if (record->targets.len > 0) {
        return reads_targets(grants, record);
    }
    for (i = 0; i < record->topic_count; i++) {
        if (set_matches(&grants->subscribe, &topics[i])) {
            return true;
        }
    }
    return false;
}
