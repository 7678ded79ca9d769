/* test_matcher.c - matchers, and what a subscription request asks for (PROTOCOL 2 and 3). */
#include "mercure/limits.h"
#include "mercure/matcher.h"

#include "unit.h"

static apr_pool_t *pool;
static mercure_error err;
static mercure_base *base; /* of requests */
static bool legacy;        /* may they use parameters of protocol 0.x? */

/* Read a request, which stays in memory until the next one. */
static mercure_status subscribe(const char *query, mercure_subscription *subscription)
{
    static char *text;
    mercure_form form;

    free(text);
    text = unit_exact(mercure_str_of(query));
    err.reason[0] = '\0';
    mercure_form_begin(&form, text, strlen(query));
    mercure_status status = mercure_subscription_from_forms(pool, &form, 1, base, legacy, subscription, &err);
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

static bool matches(const mercure_matcher *matcher, mercure_str text)
{
    mercure_topic topic = mercure_topic_of(pool, text);

    return mercure_matcher_matches(matcher, &topic);
}

static void an_exact_matcher_compares_bytes(void **state)
{
    mercure_matcher matcher;

    (void)state;
    assert_int_equal(mercure_matcher_make(S("exact"), S("https://a.example/%41?x"), NULL, &matcher, NULL), MERCURE_OK);
    assert_int_equal(matcher.key.kind, MERCURE_MATCH_EXACT);
    assert_str(matcher.key.pattern, "https://a.example/%41?x");
    assert_true(matches(&matcher, S("https://a.example/%41?x")));
    assert_false(matches(&matcher, S("https://a.example/A?x")));
    assert_false(matches(&matcher, S("HTTPS://a.example/%41?x")));
    assert_false(matches(&matcher, S("https://a.example/%41?")));
    assert_false(matches(&matcher, S("https://a.example/%41?xy")));
    assert_false(matches(&matcher, S("https://a.example/%41?y")));
    assert_false(matches(&matcher, S("")));
    assert_false(matches(&matcher, S("*")));
}

static void unicode_is_not_normalised(void **state)
{
    mercure_matcher matcher;

    (void)state;
    assert_int_equal(mercure_matcher_make(S("exact"), S("\xC3\xA9"), NULL, &matcher, NULL), MERCURE_OK);
    assert_true(matches(&matcher, S("\xC3\xA9")));
    assert_false(matches(&matcher, S("e\xCC\x81")));
    assert_false(matches(&matcher, S("\xC3\x89")));
}

static void a_star_matches_every_topic(void **state)
{
    mercure_matcher matcher;

    (void)state;
    assert_int_equal(mercure_matcher_make(S("exact"), S("*"), NULL, &matcher, NULL), MERCURE_OK);
    assert_int_equal(matcher.key.kind, MERCURE_MATCH_ALL);
    assert_true(matches(&matcher, S("a")));
    assert_true(matches(&matcher, S("https://a.example/")));
    assert_int_equal(mercure_matcher_make(S("exact"), S("a*"), NULL, &matcher, NULL), MERCURE_OK);
    assert_int_equal(matcher.key.kind, MERCURE_MATCH_EXACT);
    assert_false(matches(&matcher, S("ab")));
    assert_int_equal(mercure_matcher_make(S("exact"), S("**"), NULL, &matcher, NULL), MERCURE_OK);
    assert_int_equal(matcher.key.kind, MERCURE_MATCH_EXACT);
}

static void a_matcher_keeps_the_rules_of_a_value(void **state)
{
    mercure_matcher matcher;
    char text[4097];

    (void)state;
    memset(text, 'x', sizeof(text));
    assert_int_equal(mercure_matcher_make(S("exact"), (mercure_str){text, 4096}, NULL, &matcher, NULL), MERCURE_OK);
    assert_int_equal(mercure_matcher_make(S("exact"), (mercure_str){text, 4097}, NULL, &matcher, &err), MERCURE_LIMIT);
    assert_int_equal(mercure_matcher_make(S("exact"), S(""), NULL, &matcher, &err), MERCURE_INVALID);
    assert_int_equal(mercure_matcher_make(S("exact"), S("a\nb"), NULL, &matcher, &err), MERCURE_INVALID);
    assert_int_equal(mercure_matcher_make(S("exact"), S("a\xC2\x85"), NULL, &matcher, &err), MERCURE_INVALID);
    assert_int_equal(mercure_matcher_make(S("exact"), S("a\xE2\x80\x8B"), NULL, &matcher, &err), MERCURE_INVALID);
    assert_int_equal(mercure_matcher_make(S("exact"), S("a\xC3"), NULL, &matcher, &err), MERCURE_INVALID);
}

static void an_unknown_type_is_refused_even_for_a_star(void **state)
{
    mercure_matcher matcher;

    (void)state;
    assert_int_equal(mercure_matcher_make(S("regex"), S("a"), NULL, &matcher, &err), MERCURE_INVALID);
    assert_int_equal(mercure_matcher_make(S("regex"), S("*"), NULL, &matcher, &err), MERCURE_INVALID);
    assert_int_equal(mercure_matcher_make(S("EXACT"), S("a"), NULL, &matcher, &err), MERCURE_INVALID);
    assert_int_equal(mercure_matcher_make(S("exactly"), S("a"), NULL, &matcher, &err), MERCURE_INVALID);
    assert_int_equal(mercure_matcher_make(S("exac"), S("a"), NULL, &matcher, &err), MERCURE_INVALID);
    assert_int_equal(mercure_matcher_make(S(""), S("a"), NULL, &matcher, &err), MERCURE_INVALID);
}

/* What a URL Pattern matches through the hub's URL, https://hub.example/x/hub. The standard's own rules are tested in
 * test_urlpattern.c.
 */
static const struct {
    const char *pattern, *topic;
    bool matches;
} patterns[] = {
    {"https://a.example/books/:id", "https://a.example/books/1", true},
    {"https://a.example/books/:id", "HTTPS://A.example:443/books/./1", true}, /* as a URL, not as bytes */
    {"https://a.example/books/:id", "https://a.example/books/1/2", false},
    {"https://a.example/books/:id", "https://a.example/books/", false},
    {"https://a.example/books/:id", "http://a.example/books/1", false},
    {"https://a.example/books/:id", "https://a.example/books/1?q", true}, /* search and hash: anything */
    {"https://a.example/books/*", "https://a.example/books/1/2", true},
    {"https://*.example/:page", "https://b.example/1", true},
    {"https://a.example/caf\xC3\xA9/*", "https://a.example/caf%C3%A9/1", true},
    {"https://a.example/caf\xC3\xA9/*", "https://a.example/caf\xC3\xA9/1", true},
    {"/books/:id", "https://hub.example/books/1", true}, /* relative to the hub's URL */
    {"/books/:id", "/books/1", true},
    {"/books/:id", "//hub.example/books/1", true},
    {"/books/:id", "https://a.example/books/1", false},
    {"/books/:id", "books/1", false}, /* that is /x/books/1 */
    {"books/:id", "books/1", true},
    {"books/:id", "/x/books/1", true},
    {"https://hub.example/books/:id", "/books/1", true},
    {"urn\\:isbn\\:*", "urn:isbn:1", true}, /* unescaped, :isbn is a name */
    {"urn\\:isbn\\:*", "URN:isbn:1", true},
    {"urn\\:isbn\\:*", "urn:issn:1", false},
    {"https://a.example/(\\d+)", "https://a.example/12", true},
    {"https://a.example/(\\d+)", "https://a.example/12a", false},
    {"https://a.example/*", "https://[", false}, /* no URL: no pattern matches */
    {"*://*/*", "https://[", false},
};

static void a_url_pattern_sees_a_topic_as_a_url(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(patterns); i++) {
        mercure_matcher matcher;
        if (mercure_matcher_make(S("urlpattern"), mercure_str_of(patterns[i].pattern), base, &matcher, &err) !=
            MERCURE_OK) {
            fail_msg("%s: %s", patterns[i].pattern, err.reason);
        }
        assert_int_equal(matcher.key.kind, MERCURE_MATCH_URLPATTERN);
        assert_str(matcher.key.base, "https://hub.example/x/hub");
        if (matches(&matcher, mercure_str_of(patterns[i].topic)) != patterns[i].matches) {
            fail_msg("%s %s %s", patterns[i].pattern, patterns[i].matches ? "does not match" : "matches",
                     patterns[i].topic);
        }
        mercure_matcher_release(&matcher);
    }
}

static void a_selector_is_a_star_a_topic_or_a_uri_template(void **state)
{
    static const struct {
        const char *selector;
        mercure_match_kind kind;
        const char *topic;
        bool matches;
    } cases[] = {
        {"*", MERCURE_MATCH_ALL, "anything", true},
        {"https://a.example/1", MERCURE_MATCH_EXACT, "https://a.example/1", true},
        {"https://a.example/1", MERCURE_MATCH_EXACT, "https://a.example/2", false},
        {"https://a.example/{id}", MERCURE_MATCH_URITEMPLATE, "https://a.example/1", true},
        {"https://a.example/{id}", MERCURE_MATCH_URITEMPLATE, "https://a.example/1/2", false},
        {"https://a.example/{id}", MERCURE_MATCH_URITEMPLATE, "https://a.example/{id}", true}, /* the very same text */
        {"{unclosed", MERCURE_MATCH_EXACT, "{unclosed", true}, /* no template: just a topic */
        {"{unclosed", MERCURE_MATCH_EXACT, "x", false},
        {"/:id", MERCURE_MATCH_EXACT, "/1", false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        mercure_matcher matcher, again;
        assert_int_equal(mercure_selector_make(mercure_str_of(cases[i].selector), &matcher, &err), MERCURE_OK);
        assert_int_equal(matcher.key.kind, cases[i].kind);
        assert_int_equal(matches(&matcher, mercure_str_of(cases[i].topic)), cases[i].matches);
        assert_int_equal(mercure_matcher_of_key(pool, &matcher.key, &again, &err), MERCURE_OK);
        mercure_matcher_release(&matcher);
        assert_int_equal(matches(&again, mercure_str_of(cases[i].topic)), cases[i].matches);
        mercure_matcher_release(&again);
    }
    mercure_matcher matcher;
    assert_int_equal(mercure_selector_make(S(""), &matcher, &err), MERCURE_INVALID);
    assert_int_equal(mercure_selector_make(S("a\n"), &matcher, &err), MERCURE_INVALID);
}

static void a_matcher_made_of_its_key_is_the_same(void **state)
{
    static const char *const types[] = {"exact", "exact", "urlpattern", "urlpattern"};
    static const char *const values[] = {"*", "/a/1", "/a/*", "https://hub.example/a/*"};

    (void)state;
    for (size_t i = 0; i < COUNT(types); i++) {
        mercure_matcher first, second;
        assert_int_equal(mercure_matcher_make(mercure_str_of(types[i]), mercure_str_of(values[i]), base, &first, &err),
                         0);
        assert_int_equal(mercure_matcher_of_key(pool, &first.key, &second, &err), MERCURE_OK);
        mercure_matcher_release(&first); /* whose base is held by the second one */
        assert_int_equal(second.key.kind, first.key.kind);
        assert_same(second.key.pattern, mercure_str_of(values[i]));
        assert_true(matches(&second, S("/a/1")));
        assert_int_equal(matches(&second, S("/b/1")), i == 0);
        mercure_matcher_release(&second);
    }
}

static void a_key_of_a_malformed_pattern_or_base_makes_no_matcher(void **state)
{
    mercure_matcher_key pattern = {MERCURE_MATCH_URLPATTERN, S("https://[:"), S("https://hub.example/")},
                        no_base = {MERCURE_MATCH_URLPATTERN, S("/a"), S("")},
                        bad_base = {MERCURE_MATCH_URLPATTERN, S("https://a.example/"), S("no url")};
    mercure_matcher matcher;

    (void)state;
    assert_int_equal(mercure_matcher_of_key(pool, &pattern, &matcher, &err), MERCURE_INVALID);
    assert_int_equal(mercure_matcher_of_key(pool, &no_base, &matcher, &err), MERCURE_INVALID);
    assert_int_equal(mercure_matcher_of_key(pool, &bad_base, &matcher, &err), MERCURE_INVALID);
}

static void match_urlpattern_makes_url_patterns_among_the_others(void **state)
{
    mercure_subscription subscription;

    (void)state;
    assert_int_equal(subscribe("match_urlpattern=%2Fa%2F%3Aid&match=%2Fa%2F%3Aid&match_urlpattern=%2Fa%2F%3Aid"
                               "&match_urlpattern=*",
                               &subscription),
                     MERCURE_OK);
    assert_int_equal(subscription.matchers->nelts, 3); /* the same pattern once; as an exact matcher it is another */
    assert_int_equal(matcher_of(&subscription, 0)->key.kind, MERCURE_MATCH_URLPATTERN);
    assert_str(matcher_of(&subscription, 0)->key.pattern, "/a/:id");
    assert_int_equal(matcher_of(&subscription, 1)->key.kind, MERCURE_MATCH_EXACT);
    assert_int_equal(matcher_of(&subscription, 2)->key.kind, MERCURE_MATCH_ALL);
}

static void a_malformed_url_pattern_is_refused(void **state)
{
    (void)state;
    assert_refused("match_urlpattern=");
    assert_refused("match_urlpattern=%2F%28");         /* "/(" */
    assert_refused("match_urlpattern=%2F%3A");         /* "/:" */
    assert_refused("match_urlpattern=%2F%3Aa%2F%3Aa"); /* "/:a/:a" */
    assert_refused("match_urlpattern=%2F%7Ba");        /* "/{a" */
    assert_refused("match_urlpattern=%2F%28%5B%29");   /* "/([)" */
    assert_refused("match=a&match_urlpattern=https%3A%2F%2F%5B");
    assert_refused("match_urlpattern=%2Fa%0A");
    assert_refused("match_urlpattern=%2Fa%FF");
}

static void regular_expressions_of_a_request_are_bounded(void **state)
{
    mercure_subscription subscription;
    char query[8192], *at = query;

    (void)state;
    for (int i = 0; i < 30; i++) {
        at += sprintf(at, "match_urlpattern=%%2Fx%d%%2F%%28%%28%%3F%%3A%%5Ba-z%%5Dc%%29%%7B40%%7D%%29&", i);
        if (i == 1) {
            assert_int_equal(subscribe(query, &subscription), MERCURE_OK);
            assert_in_range(subscription.regexps, 2000, MERCURE_MAX_REGEXPS / 8);
        }
    }
    assert_int_equal(subscribe(query, &subscription), MERCURE_LIMIT);
}

static void match_and_match_exact_make_exact_matchers_in_order(void **state)
{
    mercure_subscription subscription;

    (void)state;
    assert_int_equal(subscribe("match=a+b&match_exact=%2A%2a&x=y&match=%C3%A9", &subscription), MERCURE_OK);
    assert_int_equal(subscription.matchers->nelts, 3);
    assert_int_equal(matcher_of(&subscription, 0)->key.kind, MERCURE_MATCH_EXACT);
    assert_str(matcher_of(&subscription, 0)->key.pattern, "a b");
    assert_str(matcher_of(&subscription, 1)->key.pattern, "**");
    assert_str(matcher_of(&subscription, 2)->key.pattern, "\xC3\xA9");
}

static void a_star_may_be_asked_for_in_both_ways(void **state)
{
    mercure_subscription subscription;

    (void)state;
    assert_int_equal(subscribe("match=*", &subscription), MERCURE_OK);
    assert_int_equal(matcher_of(&subscription, 0)->key.kind, MERCURE_MATCH_ALL);
    assert_int_equal(subscribe("match_exact=%2A", &subscription), MERCURE_OK);
    assert_int_equal(matcher_of(&subscription, 0)->key.kind, MERCURE_MATCH_ALL);
}

static void the_same_matcher_twice_is_one(void **state)
{
    mercure_subscription subscription;

    (void)state;
    assert_int_equal(subscribe("match=a&match_exact=a&match=b&match=a", &subscription), MERCURE_OK);
    assert_int_equal(subscription.matchers->nelts, 2);
    assert_str(matcher_of(&subscription, 0)->key.pattern, "a");
    assert_str(matcher_of(&subscription, 1)->key.pattern, "b");
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
    assert_str(matcher_of(&subscription, 0)->key.pattern, "a");
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
    assert_str(matcher_of(&subscription, 99)->key.pattern, "t99");
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

/* ---- parameters of protocol 0.x (PROTOCOL 10) ---- */

static void topic_makes_selectors_where_it_is_accepted(void **state)
{
    mercure_subscription subscription;

    (void)state;
    legacy = true;
    assert_int_equal(subscribe("topic=a&topic=%2F%7Bid%7D&topic=*&match=%2F%7Bid%7D&topic=%7Bx&match_exact=a&Topic=b",
                               &subscription),
                     MERCURE_OK);
    assert_int_equal(subscription.matchers->nelts, 5); /* "a" as a topic and as a match is the same */
    assert_int_equal(matcher_of(&subscription, 0)->key.kind, MERCURE_MATCH_EXACT);
    assert_int_equal(matcher_of(&subscription, 1)->key.kind, MERCURE_MATCH_URITEMPLATE);
    assert_true(matches(matcher_of(&subscription, 1), S("/1")));
    assert_int_equal(matcher_of(&subscription, 2)->key.kind, MERCURE_MATCH_ALL);
    assert_int_equal(matcher_of(&subscription, 3)->key.kind, MERCURE_MATCH_EXACT); /* match= knows no templates */
    assert_false(matches(matcher_of(&subscription, 3), S("/1")));
    assert_int_equal(matcher_of(&subscription, 4)->key.kind, MERCURE_MATCH_EXACT); /* "{x", no template */
    assert_true(subscription.asks_legacy);
    assert_int_equal(subscribe("topic=a", &subscription), MERCURE_OK);
    assert_int_equal(subscribe("match=a", &subscription), MERCURE_OK);
    assert_false(subscription.asks_legacy);
    assert_refused("match=a&topic=");
    assert_refused("match=a&topic");
    assert_refused("match=a&topic=a%0A");
    assert_refused("match=a&topic=%FF");
    assert_refused("lastEventID=a");
    assert_refused("topic=a&matches=b"); /* the rule of 1.0 holds on */
    legacy = false;
    assert_refused("topic=a");
    assert_int_equal(subscribe("topic=%0A&match=a", &subscription), MERCURE_OK); /* as any other name */
    assert_int_equal(subscription.matchers->nelts, 1);
    assert_true(subscription.asks_legacy);
}

static void selectors_count_among_the_100_matchers(void **state)
{
    mercure_subscription subscription;
    char *query = many_matchers(100), *with_topic = calloc(1, strlen(query) + 16);

    (void)state;
    legacy = true;
    sprintf(with_topic, "%stopic=t5", query); /* there already */
    assert_int_equal(subscribe(with_topic, &subscription), MERCURE_OK);
    sprintf(with_topic, "%stopic=one+more", query);
    assert_int_equal(subscribe(with_topic, &subscription), MERCURE_LIMIT);
    sprintf(with_topic, "%stopic=%%7Bt%%7D", query);
    assert_int_equal(subscribe(with_topic, &subscription), MERCURE_LIMIT);
    legacy = false;
    assert_int_equal(subscribe(with_topic, &subscription), MERCURE_OK);
    free(query);
    free(with_topic);
}

static void the_cursor_has_its_older_names_where_they_are_accepted(void **state)
{
    static const struct {
        const char *query, *on, *off; /* the cursor; NULL: none */
    } cases[] = {
        {"match=a&lastEventID=x", "x", NULL},
        {"match=a&Last-Event-ID=x", "x", NULL},
        {"match=a&lastEventID=", "", NULL},
        {"match=a&lastEventID=x&last_event_id=y", "x", "y"}, /* the first one counts */
        {"match=a&Last-Event-ID=x&lastEventID=y", "x", NULL},
        {"match=a&last_event_id=x&Last-Event-ID=y", "x", "x"},
        {"match=a&lasteventid=x&last-event-id=y&LastEventID=z&Last_Event_ID=z", NULL, NULL},
        {"match=a&last%45vent%49D=x", "x", NULL},
    };
    mercure_subscription subscription;

    (void)state;
    for (size_t i = 0; i < COUNT(cases) * 2; i++) {
        legacy = i % 2 == 0;
        const char *wanted = legacy ? cases[i / 2].on : cases[i / 2].off;
        assert_int_equal(subscribe(cases[i / 2].query, &subscription), MERCURE_OK);
        if ((subscription.last_event_id.data == NULL) != (wanted == NULL) ||
            (wanted != NULL && !mercure_str_is(subscription.last_event_id, wanted))) {
            fail_msg("%s, %s", cases[i / 2].query, legacy ? "on" : "off");
        }
    }
    legacy = false;
    subscribe("", &subscription); /* frees the last text */
}

static int setup(void **state)
{
    (void)state;
    apr_initialize();
    if (apr_pool_create(&pool, NULL) != APR_SUCCESS) {
        return -1;
    }
    return mercure_base_make(pool, S("https://hub.example/x/hub"), &base, NULL) == MERCURE_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    mercure_base_release(base);
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
        cmocka_unit_test(a_url_pattern_sees_a_topic_as_a_url),
        cmocka_unit_test(a_selector_is_a_star_a_topic_or_a_uri_template),
        cmocka_unit_test(a_matcher_made_of_its_key_is_the_same),
        cmocka_unit_test(a_key_of_a_malformed_pattern_or_base_makes_no_matcher),
        cmocka_unit_test(match_urlpattern_makes_url_patterns_among_the_others),
        cmocka_unit_test(a_malformed_url_pattern_is_refused),
        cmocka_unit_test(regular_expressions_of_a_request_are_bounded),
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
        cmocka_unit_test(topic_makes_selectors_where_it_is_accepted),
        cmocka_unit_test(selectors_count_among_the_100_matchers),
        cmocka_unit_test(the_cursor_has_its_older_names_where_they_are_accepted),
    };

    return cmocka_run_group_tests_name("matcher", tests, setup, teardown);
}
