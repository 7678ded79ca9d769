/* test_matcher.c - matchers, and what a subscription request asks for (PROTOCOL 2 and 3). */
#include "mercure/matcher.h"

#include "unit.h"

static apr_pool_t *pool;
static mercure_error err;

/* Read a request, which stays in memory until the next one. */
static mercure_status subscribe(const char *query, mercure_subscription *subscription)
{
    static char *text;
    mercure_form form;

    free(text);
    text = unit_exact(mercure_str_of(query));
    err.reason[0] = '\0';
    mercure_form_begin(&form, text, strlen(query));
    mercure_status status = mercure_subscription_from_forms(pool, &form, 1, subscription, &err);
    if (status != MERCURE_OK) {
        assert_string_not_equal(err.reason, "");
        free(text);
        text = NULL;
    }
    return status;
}

static const mercure_matcher *matcher_of(const mercure_subscription *subscription, int i)
{
    assert_true(i < subscription->matchers->nelts);
    return &APR_ARRAY_IDX(subscription->matchers, i, mercure_matcher);
}

static void assert_refused(const char *query)
{
    mercure_subscription subscription;

    if (subscribe(query, &subscription) != MERCURE_INVALID) {
        fail_msg("'%s' is not refused", query);
    }
}

static void an_exact_matcher_compares_bytes(void **state)
{
    mercure_matcher matcher;

    (void)state;
    assert_int_equal(mercure_matcher_make(S("exact"), S("https://a.example/%41?x"), &matcher, NULL), MERCURE_OK);
    assert_int_equal(matcher.kind, MERCURE_MATCH_EXACT);
    assert_str(matcher.pattern, "https://a.example/%41?x");
    assert_true(mercure_matcher_matches(&matcher, S("https://a.example/%41?x")));
    assert_false(mercure_matcher_matches(&matcher, S("https://a.example/A?x")));
    assert_false(mercure_matcher_matches(&matcher, S("HTTPS://a.example/%41?x")));
    assert_false(mercure_matcher_matches(&matcher, S("https://a.example/%41?")));
    assert_false(mercure_matcher_matches(&matcher, S("https://a.example/%41?xy")));
    assert_false(mercure_matcher_matches(&matcher, S("https://a.example/%41?y")));
    assert_false(mercure_matcher_matches(&matcher, S("")));
    assert_false(mercure_matcher_matches(&matcher, S("*")));
}

static void unicode_is_not_normalised(void **state)
{
    mercure_matcher matcher;

    (void)state;
    assert_int_equal(mercure_matcher_make(S("exact"), S("\xC3\xA9"), &matcher, NULL), MERCURE_OK);
    assert_true(mercure_matcher_matches(&matcher, S("\xC3\xA9")));
    assert_false(mercure_matcher_matches(&matcher, S("e\xCC\x81")));
    assert_false(mercure_matcher_matches(&matcher, S("\xC3\x89")));
}

static void a_star_matches_every_topic(void **state)
{
    mercure_matcher matcher;

    (void)state;
    assert_int_equal(mercure_matcher_make(S("exact"), S("*"), &matcher, NULL), MERCURE_OK);
    assert_int_equal(matcher.kind, MERCURE_MATCH_ALL);
    assert_true(mercure_matcher_matches(&matcher, S("a")));
    assert_true(mercure_matcher_matches(&matcher, S("https://a.example/")));
    assert_int_equal(mercure_matcher_make(S("exact"), S("a*"), &matcher, NULL), MERCURE_OK);
    assert_int_equal(matcher.kind, MERCURE_MATCH_EXACT);
    assert_false(mercure_matcher_matches(&matcher, S("ab")));
    assert_int_equal(mercure_matcher_make(S("exact"), S("**"), &matcher, NULL), MERCURE_OK);
    assert_int_equal(matcher.kind, MERCURE_MATCH_EXACT);
}

static void a_matcher_keeps_the_rules_of_a_value(void **state)
{
    mercure_matcher matcher;
    char text[4097];

    (void)state;
    memset(text, 'x', sizeof(text));
    assert_int_equal(mercure_matcher_make(S("exact"), (mercure_str){text, 4096}, &matcher, NULL), MERCURE_OK);
    assert_int_equal(mercure_matcher_make(S("exact"), (mercure_str){text, 4097}, &matcher, &err), MERCURE_LIMIT);
    assert_int_equal(mercure_matcher_make(S("exact"), S(""), &matcher, &err), MERCURE_INVALID);
    assert_int_equal(mercure_matcher_make(S("exact"), S("a\nb"), &matcher, &err), MERCURE_INVALID);
    assert_int_equal(mercure_matcher_make(S("exact"), S("a\xC2\x85"), &matcher, &err), MERCURE_INVALID);
    assert_int_equal(mercure_matcher_make(S("exact"), S("a\xE2\x80\x8B"), &matcher, &err), MERCURE_INVALID);
    assert_int_equal(mercure_matcher_make(S("exact"), S("a\xC3"), &matcher, &err), MERCURE_INVALID);
}

static void an_unknown_type_is_refused_even_for_a_star(void **state)
{
    mercure_matcher matcher;

    (void)state;
    assert_int_equal(mercure_matcher_make(S("regex"), S("a"), &matcher, &err), MERCURE_INVALID);
    assert_int_equal(mercure_matcher_make(S("regex"), S("*"), &matcher, &err), MERCURE_INVALID);
    assert_int_equal(mercure_matcher_make(S("EXACT"), S("a"), &matcher, &err), MERCURE_INVALID);
    assert_int_equal(mercure_matcher_make(S("exactly"), S("a"), &matcher, &err), MERCURE_INVALID);
    assert_int_equal(mercure_matcher_make(S("exac"), S("a"), &matcher, &err), MERCURE_INVALID);
    assert_int_equal(mercure_matcher_make(S(""), S("a"), &matcher, &err), MERCURE_INVALID);
}

static void match_and_match_exact_make_exact_matchers_in_order(void **state)
{
    mercure_subscription subscription;

    (void)state;
    assert_int_equal(subscribe("match=a+b&match_exact=%2A%2a&x=y&match=%C3%A9", &subscription), MERCURE_OK);
    assert_int_equal(subscription.matchers->nelts, 3);
    assert_int_equal(matcher_of(&subscription, 0)->kind, MERCURE_MATCH_EXACT);
    assert_str(matcher_of(&subscription, 0)->pattern, "a b");
    assert_str(matcher_of(&subscription, 1)->pattern, "**");
    assert_str(matcher_of(&subscription, 2)->pattern, "\xC3\xA9");
}

static void a_star_may_be_asked_for_in_both_ways(void **state)
{
    mercure_subscription subscription;

    (void)state;
    assert_int_equal(subscribe("match=*", &subscription), MERCURE_OK);
    assert_int_equal(matcher_of(&subscription, 0)->kind, MERCURE_MATCH_ALL);
    assert_int_equal(subscribe("match_exact=%2A", &subscription), MERCURE_OK);
    assert_int_equal(matcher_of(&subscription, 0)->kind, MERCURE_MATCH_ALL);
}

static void the_same_matcher_twice_is_one(void **state)
{
    mercure_subscription subscription;

    (void)state;
    assert_int_equal(subscribe("match=a&match_exact=a&match=b&match=a", &subscription), MERCURE_OK);
    assert_int_equal(subscription.matchers->nelts, 2);
    assert_str(matcher_of(&subscription, 0)->pattern, "a");
    assert_str(matcher_of(&subscription, 1)->pattern, "b");
}

static void no_matcher_is_refused(void **state)
{
    (void)state;
    assert_refused("");
    assert_refused("topic=a");
    assert_refused("last_event_id=a");
    assert_refused("xmatch=a");
    assert_refused("matc=h");
}

static void any_other_name_that_starts_with_match_is_refused(void **state)
{
    static const char *const names[] = {
        "Match",        "MATCH",       "matcH",          "match_",       "match_foo",   "match_Exact", "match_EXACT",
        "Match_exact",  "MATCH_EXACT", "match_exact_",   "match_exact2", "match-exact", "matches",     "matchexact",
        "match%5Bx%5D", "match%00",    "match_ex%61ct2", "mAtCh_x",      "match+",      "match_%FF",   "match%FF",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(names); i++) {
        char query[64];
        snprintf(query, sizeof(query), "match=a&%s=b", names[i]);
        assert_refused(query);
        snprintf(query, sizeof(query), "%s=b&match=a", names[i]);
        assert_refused(query);
    }
}

static void other_names_are_ignored(void **state)
{
    mercure_subscription subscription;

    (void)state;
    assert_int_equal(subscribe("topic=a&foo&_match=x&%FF=%FF&match=b&Last_Event_ID=x&lastEventID=y&=z", &subscription),
                     MERCURE_OK);
    assert_int_equal(subscription.matchers->nelts, 1);
    assert_null(subscription.last_event_id.data);
}

static void a_name_may_be_percent_encoded(void **state)
{
    mercure_subscription subscription;

    (void)state;
    assert_int_equal(subscribe("%6Datch%5fex%61ct=a&last%5Fevent_id=7", &subscription), MERCURE_OK);
    assert_str(matcher_of(&subscription, 0)->pattern, "a");
    assert_str(subscription.last_event_id, "7");
}

static void a_bad_matcher_value_is_refused(void **state)
{
    (void)state;
    assert_refused("match=");
    assert_refused("match");
    assert_refused("match=a&match_exact=");
    assert_refused("match=a%0A");
    assert_refused("match=%7F");
    assert_refused("match=%C2%AD");
    assert_refused("match=%FF");
    assert_refused("match=%00");
}

static void last_event_id_may_be_absent_or_empty_and_the_first_counts(void **state)
{
    mercure_subscription subscription;

    (void)state;
    assert_int_equal(subscribe("match=a", &subscription), MERCURE_OK);
    assert_null(subscription.last_event_id.data);
    assert_int_equal(subscribe("match=a&last_event_id=", &subscription), MERCURE_OK);
    assert_non_null(subscription.last_event_id.data);
    assert_str(subscription.last_event_id, "");
    assert_int_equal(subscribe("last_event_id&match=a&last_event_id=b", &subscription), MERCURE_OK);
    assert_non_null(subscription.last_event_id.data);
    assert_str(subscription.last_event_id, "");
    assert_int_equal(subscribe("last_event_id=urn%3A1&match=a&last_event_id=b", &subscription), MERCURE_OK);
    assert_str(subscription.last_event_id, "urn:1");
}

static char *many_matchers(int count)
{
    char *query = calloc(1, (size_t)count * 16 + 1), *at = query;

    for (int i = 0; i < count; i++) {
        at += sprintf(at, "match=t%d&", i);
    }
    return query;
}

static void a_request_may_have_100_matchers_and_no_more(void **state)
{
    mercure_subscription subscription;
    char *query = many_matchers(100);

    (void)state;
    assert_int_equal(subscribe(query, &subscription), MERCURE_OK);
    assert_int_equal(subscription.matchers->nelts, 100);
    assert_str(matcher_of(&subscription, 99)->pattern, "t99");
    free(query);
    query = many_matchers(101);
    assert_int_equal(subscribe(query, &subscription), MERCURE_LIMIT);
    free(query);
}

static void a_long_matcher_in_a_request_is_over_a_limit(void **state)
{
    mercure_subscription subscription;
    char query[6 + 4097 + 1] = "match=";

    (void)state;
    memset(query + 6, 'x', 4097);
    query[6 + 4097] = '\0';
    assert_int_equal(subscribe(query, &subscription), MERCURE_LIMIT);
    query[6 + 4096] = '\0';
    assert_int_equal(subscribe(query, &subscription), MERCURE_OK);
    subscribe("", &subscription); /* frees the last text */
}

static int setup(void **state)
{
    (void)state;
    apr_initialize();
    return apr_pool_create(&pool, NULL) == APR_SUCCESS ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    apr_pool_destroy(pool);
    apr_terminate();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_exact_matcher_compares_bytes),
        cmocka_unit_test(unicode_is_not_normalised),
        cmocka_unit_test(a_star_matches_every_topic),
        cmocka_unit_test(a_matcher_keeps_the_rules_of_a_value),
        cmocka_unit_test(an_unknown_type_is_refused_even_for_a_star),
        cmocka_unit_test(match_and_match_exact_make_exact_matchers_in_order),
        cmocka_unit_test(a_star_may_be_asked_for_in_both_ways),
        cmocka_unit_test(the_same_matcher_twice_is_one),
        cmocka_unit_test(no_matcher_is_refused),
        cmocka_unit_test(any_other_name_that_starts_with_match_is_refused),
        cmocka_unit_test(other_names_are_ignored),
        cmocka_unit_test(a_name_may_be_percent_encoded),
        cmocka_unit_test(a_bad_matcher_value_is_refused),
        cmocka_unit_test(last_event_id_may_be_absent_or_empty_and_the_first_counts),
        cmocka_unit_test(a_request_may_have_100_matchers_and_no_more),
        cmocka_unit_test(a_long_matcher_in_a_request_is_over_a_limit),
    };

    return cmocka_run_group_tests_name("matcher", tests, setup, teardown);
}
