/* test_anchors.c - a URL asks few of many patterns, and never too few. */
#include "../../lib/anchors.h"

#include "mercure/urlpattern.h"

#include <string.h>

#include "unit_pool.h"

typedef struct {
    anchored filed;
    mercure_urlpattern *pattern;
    int seen;
} one_pattern;

static const mercure_url_component fields[] = {MERCURE_URL_PATHNAME, MERCURE_URL_HOSTNAME, MERCURE_URL_SEARCH,
                                               MERCURE_URL_HASH};

static void file(anchors *a, uint64_t group, one_pattern *one, const char *text)
{
    anchor_literals literals[COUNT(fields)];
    mercure_error err;

    if (mercure_urlpattern_make(mercure_str_of(text), NULL, &one->pattern, &err) != MERCURE_OK) {
        fail_msg("%s: %s", text, err.reason);
    }
    for (size_t i = 0; i < COUNT(fields); i++) {
        literals[i].beginning = mercure_urlpattern_prefix(one->pattern, fields[i]);
        literals[i].end = mercure_urlpattern_suffix(one->pattern, fields[i]);
    }
    assert_true(anchors_add(a, group, literals, COUNT(fields), &one->filed));
}

static void take_out(anchors *a, one_pattern *one)
{
    anchors_remove(a, &one->filed);
    mercure_urlpattern_release(one->pattern);
}

static void count(void *context, anchored *filed)
{
    ++*(int *)context;
    ++((one_pattern *)filed)->seen; /* its first field */
}

static int asked(const anchors *a, uint64_t group, const char *text)
{
    mercure_str values[COUNT(fields)];
    mercure_url *url;
    int visits = 0;

    assert_int_equal(mercure_url_parse(pool, text, strlen(text), NULL, &url, NULL), MERCURE_OK);
    const mercure_url_parts *parts = mercure_url_parts_make(pool, url, NULL);
    for (size_t i = 0; i < COUNT(fields); i++) {
        values[i] = mercure_url_parts_get(parts, fields[i]);
    }
    anchors_find(a, group, values, COUNT(fields), count, &visits);
    return visits;
}

/* Each way in which many patterns of one site may differ. */
static void of_ten_thousand_patterns_a_url_asks_a_few(void **state)
{
    static const char *const formats[] = {
        "https://example.com/users/%d/:what",
        "https://example.com/:section/%d",
        "https://example.com/users/u%d-*",
        "https://shop%d.example.com/*",
        "https://*.shop%d.example.com/news/:id",
        "*://shop%d.example.com/:a/:b",
        "https://example.com/search?q=%d&*",
        "https://example.com/page#part%d-*",
        "https://example.com/:lang/books/%d.json",
        "urn\\:example\\:item\\:%d\\:*",
        "https://example.com/fixed/%d",
    };
    static const char *const urls[] = {
        "https://example.com/users/%d/books",   "https://example.com/films/%d",
        "https://example.com/users/u%d-x",      "https://shop%d.example.com/a",
        "https://a.shop%d.example.com/news/1",  "http://shop%d.example.com/a/b",
        "https://example.com/search?q=%d&p=1",  "https://example.com/page#part%d-1",
        "https://example.com/fr/books/%d.json", "urn:example:item:%d:x",
        "https://example.com/fixed/%d",
    };
    enum { PATTERNS = 10000 };
    one_pattern *patterns = calloc(PATTERNS, sizeof(*patterns));
    anchors *a = anchors_create();
    char text[80];

    (void)state;
    for (size_t f = 0; f < COUNT(formats); f++) {
        memset(patterns, 0, PATTERNS * sizeof(*patterns));
        for (int i = 0; i < PATTERNS; i++) {
            snprintf(text, sizeof(text), formats[f], i);
            file(a, 1, &patterns[i], text);
        }
        for (int i = 0; i < PATTERNS; i += 97) {
            snprintf(text, sizeof(text), urls[f], i);
            int visits = asked(a, 1, text);
            if (visits > 10 || patterns[i].seen == 0) {
                fail_msg("%s asks %d patterns, its own %d times", text, visits, patterns[i].seen);
            }
            apr_pool_clear(pool);
        }
        for (int i = 0; i < PATTERNS; i++) {
            take_out(a, &patterns[i]);
        }
        assert_int_equal(asked(a, 1, "https://example.com/users/1/books"), 0);
    }
    anchors_destroy(a);
    free(patterns);
}

static void patterns_of_another_group_are_not_asked(void **state)
{
    anchors *a = anchors_create();
    one_pattern first = {0}, second = {0};

    (void)state;
    file(a, 1, &first, "https://example.com/a/*");
    file(a, 2, &second, "https://example.com/a/*");
    assert_int_equal(asked(a, 1, "https://example.com/a/b"), 1);
    assert_int_equal(first.seen, 1);
    assert_int_equal(asked(a, 3, "https://example.com/a/b"), 0);
    take_out(a, &first);
    assert_int_equal(asked(a, 1, "https://example.com/a/b"), 0);
    assert_int_equal(asked(a, 2, "https://example.com/a/b"), 1);
    take_out(a, &second);
    anchors_destroy(a);
    anchors_destroy(NULL);
}

static void a_pattern_without_literal_text_is_asked_by_every_url(void **state)
{
    anchors *a = anchors_create();
    one_pattern any = {0}, opaque = {0};

    (void)state;
    file(a, 1, &any, "*://*:*/*\\?*#*");
    file(a, 1, &opaque, "*:*");
    assert_true(asked(a, 1, "https://example.com/a") >= 1);
    assert_true(asked(a, 1, "urn:x") >= 1);
    assert_true(opaque.seen >= 1);
    take_out(a, &any);
    take_out(a, &opaque);
    anchors_destroy(a);
}

static void texts_longer_than_an_anchor_are_found(void **state)
{
    static const char *const ends[] = {"x/*", "y/*"};
    anchors *a = anchors_create();
    one_pattern patterns[COUNT(ends)] = {{{0}, NULL, 0}};
    char text[1024] = "https://example.com/";

    (void)state;
    memset(text + 20, 'p', 800);
    for (size_t i = 0; i < COUNT(ends); i++) {
        strcpy(text + 820, ends[i]);
        file(a, 1, &patterns[i], text);
    }
    strcpy(text + 820, "x/1");
    asked(a, 1, text);
    assert_int_equal(patterns[0].seen, 1);
    strcpy(text + 820, "y/1");
    asked(a, 1, text);
    assert_true(patterns[1].seen >= 1);
    text[200] = '\0'; /* shorter than the anchor */
    patterns[0].seen = 0;
    asked(a, 1, text);
    assert_int_equal(patterns[0].seen, 0);
    for (size_t i = 0; i < COUNT(ends); i++) {
        take_out(a, &patterns[i]);
    }
    anchors_destroy(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_ten_thousand_patterns_a_url_asks_a_few),
        cmocka_unit_test(patterns_of_another_group_are_not_asked),
        cmocka_unit_test(a_pattern_without_literal_text_is_asked_by_every_url),
        cmocka_unit_test(texts_longer_than_an_anchor_are_found),
    };

    return cmocka_run_group_tests_name("anchors", tests, unit_setup, unit_teardown);
}
