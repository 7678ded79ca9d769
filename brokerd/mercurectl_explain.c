/* mercurectl_explain.c - a token in words, for a person to read. Nothing is verified here, and what a token holds is
 * hostile until it is: strings are shown as they are only when they are harmless on a terminal.
 */
#include "mercurectl.h"

#include <apr_strings.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "mercure/claims.h"
#include "mercure/topic.h"

#define DETAIL_TYPE  "https://mercure.rocks/authorization-detail"
#define LEGACY_CLAIM "https://mercure.rocks/"
#define YEAR_10000   INT64_C(253402300800)

static mercure_str str_of(const json_t *string)
{
    return (mercure_str){json_string_value(string), json_string_length(string)};
}

static bool is(const json_t *json, const char *text)
{
    return json_is_string(json) && mercure_str_is(str_of(json), text);
}

const char *ctl_value_in_words(apr_pool_t *pool, const json_t *value)
{
    char *dumped, *copy, *at;

    if (json_is_string(value) && mercure_value_check("", str_of(value), NULL) == MERCURE_OK) {
        return json_string_length(value) > 0 ? json_string_value(value) : "\"\"";
    }
    dumped = json_dumps(value, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_ENCODE_ANY);
    copy = apr_pstrdup(pool, dumped != NULL ? dumped : "(nothing)");
    free(dumped);
    for (at = copy; *at != '\0'; at++) {
        *at = *at == 0x7F ? '?' : *at; /* DEL, which JSON leaves as it is */
    }
    return copy;
}

/* --- times --- */

static const char *span_in_words(apr_pool_t *pool, int64_t seconds)
{
    static const struct {
        int64_t unit;
        const char *name;
    } units[] = {{86400, "days"}, {3600, "hours"}, {60, "minutes"}, {1, "seconds"}};
    size_t i = 0;

    while (units[i].unit > 1 && seconds < 2 * units[i].unit) {
        i++;
    }
    if (seconds == 1) {
        return "1 second";
    }
    return apr_psprintf(pool, "%" PRId64 " %s", seconds / units[i].unit, units[i].name);
}

const char *ctl_time_in_words(apr_pool_t *pool, int64_t seconds, int64_t now)
{
    time_t at = (time_t)seconds;
    struct tm tm;
    char date[64];

    if (seconds < 0 || seconds >= YEAR_10000 || gmtime_r(&at, &tm) == NULL ||
        strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S UTC", &tm) == 0) {
        return "out of the calendar";
    }
    if (seconds == now) {
        return apr_psprintf(pool, "%s, now", date);
    }
    return seconds > now ? apr_psprintf(pool, "%s, in %s", date, span_in_words(pool, seconds - now))
                         : apr_psprintf(pool, "%s, %s ago", date, span_in_words(pool, now - seconds));
}

static bool is_time(const char *name)
{
    static const char *const names[] = {"exp", "nbf", "iat", "auth_time"};
    size_t i;

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(name, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* --- header and claims --- */

static void say(const char *name, const char *text, const char *more)
{
    printf("  %-10s %s%s\n", name, text, more);
}

/* A member's name is hostile too. */
static const char *name_in_words(apr_pool_t *pool, const char *name)
{
    return mercure_value_check("", mercure_str_of(name), NULL) == MERCURE_OK ? name
                                                                             : apr_pstrdup(pool, "(unprintable)");
}

static void explain_header(apr_pool_t *pool, const json_t *header)
{
    const char *name;
    json_t *value;

    puts("Header");
    json_object_foreach((json_t *)header, name, value)
    {
        const char *more = "";
        if (strcmp(name, "typ") == 0) {
            more = mercure_token_is_access(header) ? ": an access token, as protocol 1.0 has it"
                                                   : ": no access token; good for an older dialect only";
        } else if (strcmp(name, "jwk") == 0 || strcmp(name, "jku") == 0 || strcmp(name, "x5u") == 0) {
            more = ": ignored by the hub";
        }
        say(name_in_words(pool, name), ctl_value_in_words(pool, value), more);
    }
    if (json_object_get(header, "typ") == NULL) {
        say("typ", "(none)", ": no access token; good for an older dialect only");
    }
}

static void explain_claims(apr_pool_t *pool, json_t *claims, int64_t now)
{
    const char *name;
    json_t *value;

    puts("Claims");
    json_object_foreach(claims, name, value)
    {
        double seconds = json_number_value(value);
        if (strcmp(name, "authorization_details") == 0 || strcmp(name, "mercure") == 0 ||
            strcmp(name, LEGACY_CLAIM) == 0) {
            continue; /* its own chapter */
        }
        if (is_time(name) && json_is_number(value) && seconds > -1e15 && seconds < 1e15) {
            say(name, ctl_value_in_words(pool, value),
                apr_pstrcat(pool, ": ", ctl_time_in_words(pool, (int64_t)seconds, now), NULL));
        } else {
            say(name_in_words(pool, name), ctl_value_in_words(pool, value), "");
        }
    }
    if (json_object_get(claims, "exp") == NULL) {
        say("exp", "(none)", ": the token never ends, which an access token must");
    }
}

/* --- grants --- */

static bool has_action(const json_t *detail, const char *wanted)
{
    const json_t *action;
    size_t i;

    json_array_foreach(json_object_get(detail, "actions"), i, action)
    {
        if (is(action, wanted)) {
            return true;
        }
    }
    return false;
}

static void explain_topics(apr_pool_t *pool, const json_t *detail, const char *action)
{
    const json_t *topic;
    size_t i;

    json_array_foreach(json_object_get(detail, "topics"), i, topic)
    {
        const json_t *match = json_object_get(topic, "match"), *type = json_object_get(topic, "match_type");
        const char *text = match != NULL ? ctl_value_in_words(pool, match) : "(nothing)";
        if (is(match, "*")) {
            say(action, "every topic", "");
        } else if (type == NULL || is(type, "exact")) {
            say(action, "the topic ", text);
        } else if (is(type, "urlpattern")) {
            say(action, "topics that match the URL Pattern ", text);
        } else {
            say(action, text, apr_pstrcat(pool, ", by the unknown match_type ", ctl_value_in_words(pool, type), NULL));
        }
    }
}

static void explain_details(apr_pool_t *pool, const json_t *claims)
{
    const json_t *details = json_object_get(claims, "authorization_details"), *detail;
    bool any = false;
    size_t i;

    json_array_foreach(details, i, detail)
    {
        const json_t *type = json_object_get(detail, "type"), *payload = json_object_get(detail, "payload");
        if (!is(type, DETAIL_TYPE)) {
            say("(other)", type != NULL ? ctl_value_in_words(pool, type) : "a detail without a type",
                ": none of Mercure's");
            continue;
        }
        any = true;
        if (has_action(detail, "publish")) {
            explain_topics(pool, detail, "publish");
        }
        if (has_action(detail, "subscribe")) {
            explain_topics(pool, detail, "subscribe");
        }
        if (payload != NULL) {
            say("payload", ctl_value_in_words(pool, payload), "");
        }
    }
    if (!any) {
        say("nothing", "no authorization detail of Mercure's: public updates only", "");
    }
}

static void explain_selectors(apr_pool_t *pool, const json_t *mercure, const char *action)
{
    const json_t *array = json_object_get(mercure, action), *one;
    size_t i;

    if (json_array_size(array) == 0) {
        say(action, array != NULL && !json_is_null(array) ? "nothing (empty)" : "nothing", "");
    }
    json_array_foreach(array, i, one)
    {
        const char *text = ctl_value_in_words(pool, one);
        if (is(one, "*")) {
            say(action, "every topic", "");
        } else if (json_is_string(one) && strchr(json_string_value(one), '{') != NULL) {
            say(action, "topics that match the URI Template ", text);
        } else {
            say(action, "the topic ", text);
        }
    }
}

static void explain_legacy(apr_pool_t *pool, const json_t *claims)
{
    const json_t *mercure = json_object_get(claims, LEGACY_CLAIM);

    mercure = mercure != NULL ? mercure : json_object_get(claims, "mercure");
    if (!json_is_object(mercure)) {
        say("nothing", "no mercure claim: public updates only", "");
        return;
    }
    explain_selectors(pool, mercure, "publish");
    explain_selectors(pool, mercure, "subscribe");
    if (json_object_get(mercure, "payload") != NULL) {
        say("payload", ctl_value_in_words(pool, json_object_get(mercure, "payload")), "");
    }
    say("", "With MercureCompatibility targets, these are names of targets too.", "");
}

/* The hub's URL, as far as the token tells. NULL when it does not. */
static mercure_base *base_of(apr_pool_t *pool, const json_t *claims)
{
    const json_t *aud = json_object_get(claims, "aud");
    mercure_base *base;

    aud = json_is_array(aud) ? json_array_get(aud, 0) : aud;
    return json_is_string(aud) && mercure_base_make(pool, str_of(aud), &base, NULL) == MERCURE_OK ? base : NULL;
}

/* What a hub finds wrong with the grants, whoever it trusts. */
static void explain_defects(apr_pool_t *pool, bool legacy, json_t *claims, mercure_base *given)
{
    mercure_base *base = given != NULL ? mercure_base_hold(given) : base_of(pool, claims);
    mercure_grants *grants = NULL;
    mercure_error err;
    mercure_status status = legacy ? mercure_grants_make_legacy(claims, MERCURE_DIALECT_8, 0, &grants, &err)
                                   : mercure_grants_make(claims, base, 0, &grants, &err);

    mercure_base_release(base);
    mercure_grants_release(grants);
    if (status != MERCURE_OK) {
        say("", "A hub refuses the whole token: ", err.reason);
    }
}

void ctl_explain(apr_pool_t *pool, const json_t *header, json_t *claims, mercure_base *base, int64_t now)
{
    bool legacy = !mercure_token_is_access(header);

    explain_header(pool, header);
    explain_claims(pool, claims, now);
    puts("Grants");
    if (legacy) {
        explain_legacy(pool, claims);
    } else {
        explain_details(pool, claims);
    }
    explain_defects(pool, legacy, claims, base);
}
