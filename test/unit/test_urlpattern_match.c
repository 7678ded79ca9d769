/* test_urlpattern_match.c - the matcher of URL patterns against PCRE2 on random patterns and values, and against those
 * who mean harm.
 */
#include "urlpattern_unit.h"

#include <apr_strings.h>

/* ---- against PCRE2 ---- */

static mercure_url_parts *parts_of_one(apr_pool_t *temporary, mercure_url_component which, mercure_str value)
{
    mercure_str values[MERCURE_URL_COMPONENTS] = {{NULL, 0}};

    values[which] = value;
    return urlpattern_parts_of_values(temporary, values);
}

static mercure_status no_encoding(apr_pool_t *p, const char *value, size_t len, const char **out, mercure_error *err)
{
    (void)err;
    *out = apr_pstrmemdup(p, value, len);
    return MERCURE_OK;
}

/* A random pattern string over a few characters, with every kind of part and modifier. */
static mercure_str draw_pattern(apr_pool_t *p, uint64_t *random, bool with_regexps)
{
    static const char *const texts[] = {"a", "b", "/", ".", "ab", "aa", "/a", "a/", "", ""};
    static const char *const modifiers[] = {"", "", "?", "*", "+"};
    uint32_t parts = 1 + unit_draw(random, 6);
    char *pattern = "";

    for (uint32_t i = 0; i < parts; i++) {
        const char *prefix = texts[unit_draw(random, COUNT(texts))];
        const char *suffix = texts[unit_draw(random, COUNT(texts))];
        const char *modifier = modifiers[unit_draw(random, COUNT(modifiers))];

        switch (unit_draw(random, with_regexps ? 6 : 5)) {
        case 0:
            pattern = apr_pstrcat(p, pattern, prefix, suffix, NULL);
            break;
        case 1:
            pattern = apr_pstrcat(p, pattern, "{", prefix, suffix, "}", modifier, NULL);
            break;
        case 2:
            pattern = apr_psprintf(p, "%s{%s:n%u%s%s}%s", pattern, prefix, i, suffix[0] != '\0' ? "\\" : "", suffix,
                                   modifier);
            break;
        case 3:
            pattern = apr_pstrcat(p, pattern, "{", prefix, "*", suffix, "}", modifier, NULL);
            break;
        case 4:
            pattern = apr_psprintf(p, "%s/:n%u%s{}", pattern, i, modifier);
            break;
        default:
            pattern = apr_pstrcat(p, pattern, "{", prefix, "(a|[^b]?b)", suffix, "}", modifier, NULL);
            break;
        }
    }
    return mercure_str_of(pattern);
}

/* Some text that the parts match, or almost. */
static mercure_str draw_value(apr_pool_t *p, uint64_t *random, const urlpattern_component *component)
{
    url_buffer b = {.pool = p};

    for (size_t i = 0; i < component->count; i++) {
        const urlpattern_part *part = &component->parts[i];
        uint32_t rounds = part->modifier == URLPATTERN_NONE       ? 1
                          : part->modifier == URLPATTERN_OPTIONAL ? unit_draw(random, 2)
                                                                  : unit_draw(random, 4);

        for (uint32_t round = 0; round < rounds; round++) {
            url_buffer_append(&b, part->prefix.data, part->prefix.len);
            if (part->type == URLPATTERN_TEXT) {
                url_buffer_append(&b, part->value.data, part->value.len);
            } else {
                uint32_t len = unit_draw(random, 40) == 0 ? 100 : unit_draw(random, 5);
                while (len-- > 0) {
                    url_buffer_append_char(&b, "ab/."[unit_draw(random, part->type == URLPATTERN_FULL ? 4 : 2)]);
                }
            }
            url_buffer_append(&b, part->suffix.data, part->suffix.len);
        }
    }
    if (b.len > 0 && unit_draw(random, 3) == 0) {
        b.s[unit_draw(random, (uint32_t)b.len)] = "ab/."[unit_draw(random, 4)];
    }
    if (b.len > 0 && unit_draw(random, 6) == 0) {
        b.len--;
    }
    return (mercure_str){unit_exact((mercure_str){url_buffer_string(&b), b.len}), b.len};
}

struct tally {
    size_t asked;
    size_t matched;
    size_t with_prefix;
};

/* Does the matcher agree with the regular expression, and keep what prefix() and suffix() promise? */
static void compare(apr_pool_t *p, const urlpattern_component *component, mercure_str source, uint64_t *random,
                    struct tally *tally)
{
    mercure_url_component which = MERCURE_URL_PATHNAME;
    mercure_urlpattern *pattern = compile_one(p, which, component, NULL);
    pcre2_code *code;

    assert_non_null(pattern);
    assert_int_equal(urlpattern_compile_regexp(p, component, &code, NULL, NULL), MERCURE_OK);
    pcre2_match_data *data = pcre2_match_data_create(1, NULL);
    pcre2_match_context *own_limits = pcre2_match_context_create(NULL);
    /* The standard's expressions can take for ever; of what a subscriber wrote, only what we would not give up. */
    pcre2_set_match_limit(own_limits, component->has_regexp ? 100 : 50000);
    for (int i = 0; i < 10; i++) {
        mercure_str value = draw_value(p, random, component);
        mercure_url_parts *parts = parts_of_one(p, which, value);
        bool actual = mercure_urlpattern_matches(pattern, parts);
        int expected = pcre2_match(code, (PCRE2_SPTR)value.data, value.len, 0, 0, data, own_limits);

        if (expected >= PCRE2_ERROR_NOMATCH) { /* else a limit was reached */
            if (actual != (expected >= 0)) {
                fail_msg("'%.*s' and '%.*s': the matcher says %d", (int)source.len, source.data, (int)value.len,
                         value.data, actual);
            }
            tally->asked++;
        }
        if (actual) {
            mercure_str prefix = mercure_urlpattern_prefix(pattern, which);
            mercure_str suffix = mercure_urlpattern_suffix(pattern, which);
            assert_true(value.len >= prefix.len && value.len >= suffix.len);
            assert_memory_equal(value.data, prefix.data, prefix.len);
            assert_memory_equal(value.data + value.len - suffix.len, suffix.data, suffix.len);
            tally->matched++;
            tally->with_prefix += prefix.len > 0 && suffix.len > 0;
        }
        free((char *)value.data);
    }
    pcre2_match_context_free(own_limits);
    pcre2_match_data_free(data);
    pcre2_code_free(code);
    mercure_urlpattern_release(pattern);
}

static void the_matcher_agrees_with_the_regular_expression(void **state)
{
    static const urlpattern_options options[] = {{'/', '/'}, {'.', '\0'}, {'\0', '\0'}};
    uint64_t random = 20250915;
    struct tally tally = {0, 0, 0};

    (void)state;
    for (int i = 0; i < 6000; i++) {
        apr_pool_t *p;
        urlpattern_component component;
        mercure_error err;

        apr_pool_create(&p, pool);
        mercure_str source = draw_pattern(p, &random, i % 4 == 0);
        mercure_status status =
            urlpattern_parse(p, source, options[unit_draw(&random, 3)], no_encoding, &component, &err);
        if (status != MERCURE_OK) {
            fail_msg("'%.*s' is refused: %s", (int)source.len, source.data, err.reason);
        }
        compare(p, &component, source, &random, &tally);
        apr_pool_destroy(p);
    }
    printf("%zu values compared, %zu match, %zu of them with a prefix and a suffix\n", tally.asked, tally.matched,
           tally.with_prefix);
    assert_true(tally.matched > tally.asked / 4 && tally.matched < tally.asked * 3 / 4);
    assert_true(tally.with_prefix > tally.matched / 10);
}

/* The printed pattern is the same pattern: it parses to what it was printed from. */
static void a_printed_pattern_parses_to_itself(void **state)
{
    uint64_t random = 7;

    (void)state;
    for (int i = 0; i < 3000; i++) {
        apr_pool_t *p;
        urlpattern_component first;
        urlpattern_component second;

        apr_pool_create(&p, pool);
        mercure_str source = draw_pattern(p, &random, true);
        urlpattern_options options = {'/', '/'};
        assert_int_equal(urlpattern_parse(p, source, options, no_encoding, &first, NULL), MERCURE_OK);
        mercure_str printed = urlpattern_print(p, &first);
        assert_int_equal(urlpattern_parse(p, printed, options, no_encoding, &second, NULL), MERCURE_OK);
        assert_same(urlpattern_print(p, &second), printed);
        assert_same(urlpattern_print_regexp(p, &second), urlpattern_print_regexp(p, &first));
        apr_pool_destroy(p);
    }
}

/* ---- those who mean harm ---- */

static mercure_str repeated(const char *before, const char *piece, size_t limit, const char *after)
{
    url_buffer b = {.pool = pool};

    url_buffer_append(&b, before, strlen(before));
    for (unsigned int i = 0;; i++) {
        const char *next = apr_psprintf(pool, piece, i); /* a piece may number its name */
        if (b.len + strlen(next) + strlen(after) > limit) {
            break;
        }
        url_buffer_append(&b, next, strlen(next));
    }
    url_buffer_append(&b, after, strlen(after));
    return (mercure_str){url_buffer_string(&b), b.len};
}

static bool matches_in_steps(mercure_str pattern_text, mercure_str url_text, uint64_t limit)
{
    mercure_urlpattern *pattern;
    mercure_url *url;
    mercure_error err = {""};

    if (mercure_urlpattern_make(pattern_text, NULL, &pattern, &err) != MERCURE_OK) {
        fail_msg("%.40s... is refused: %s", pattern_text.data, err.reason);
    }
    assert_int_equal(mercure_url_parse(pool, url_text.data, url_text.len, NULL, &url, NULL), MERCURE_OK);
    mercure_url_parts *parts = mercure_url_parts_make(pool, url, NULL);
    bool result = mercure_urlpattern_matches(pattern, parts);
    if (parts->steps > limit) {
        fail_msg("%.40s... took %llu steps", pattern_text.data, (unsigned long long)parts->steps);
    }
    mercure_urlpattern_release(pattern);
    return result;
}

/* Patterns and topics of 4 KiB: 65 words a set. A step of a text is one byte and one set, so 4096 bytes of pattern
 * cannot take more than 4096 * 65 * 3 steps, and each repeated group two scans of 4096 positions more. */
static void large_patterns_take_bounded_steps(void **state)
{
    const uint64_t sets = 4096 * 65 * 3;
    const uint64_t scans = 2 * 4096;
    mercure_str all_a = repeated("https://a.b/", "a", 4096, "");
    mercure_str a_then_b = repeated("https://a.b/", "a", 4096, "b");
    mercure_str segments = repeated("https://a.b", "/a", 4096, "");
    mercure_str segments_then_b = repeated("https://a.b", "/a", 4094, "/b");

    (void)state;
    assert_true(matches_in_steps(repeated("https://a.b/", "a*", 4096, ""), all_a, sets));
    assert_false(matches_in_steps(repeated("https://a.b/", "a*", 4096, "c"), a_then_b, sets));
    assert_false(matches_in_steps(repeated("https://a.b/", "*a", 4096, "*c*"), a_then_b, sets));
    assert_true(matches_in_steps(repeated("https://a.b/", "{a}?", 4096, "*"), all_a, sets));
    assert_false(matches_in_steps(repeated("https://a.b/", "{a}?", 4096, ""), all_a, sets));
    assert_true(matches_in_steps(repeated("https://a.b/", "{a}+", 4096, ""), all_a, sets));
    assert_true(matches_in_steps(repeated("https://a.b/", "{aa}*", 4096, "*"), all_a, sets + 1024 * scans));
    assert_false(matches_in_steps(repeated("https://a.b/", "{a}+", 4096, "{c}?"), a_then_b, sets + 1024 * scans));
    assert_true(matches_in_steps(repeated("https://a.b", "/:a%u*", 4096, ""), segments, sets));
    assert_false(
        matches_in_steps(repeated("https://a.b", "/:a%u*", 4094, "/c/:z"), segments_then_b, sets + 1024 * scans));
    assert_false(
        matches_in_steps(repeated("https://a.b", "/:a%u*", 4094, "/c{d}?"), segments_then_b, sets + 1024 * scans));
    assert_true(matches_in_steps(repeated("https://a.b/", "{a/:a%u}*", 4096, "*"), segments, sets + 512 * scans));
    assert_true(matches_in_steps(repeated("https://a.b", "/:a%u?", 4096, "/*"), segments, sets));
    assert_true(matches_in_steps(repeated("https://a.b", "/:a%u", 1200, "/*"), segments, sets));
}

/* Regular expressions that backtrack for longer than the universe has, or where each step looks at everything: past the
 * limits they do not match. (What they end with is a class, as PCRE2 looks for a missing character first.) */
static void costly_regular_expressions_are_given_up(void **state)
{
    static const char *const patterns[] = {
        "https://a.b/((?:a|aa)*[bc])",        "https://a.b/((?:(?:a+)+)+[bc])",    "https://a.b/((?:a*)*[cd])",
        "https://a.b/((?:a?){50}a{4095})",    "https://a.b/(.*.*.*.*.*.*[cd])",    "https://a.b/((?=(?:a+)+[cd])a*)",
        "https://a.b/((?:(?!.*[cd]).)*[de])", "https://a.b/((?<x>.*)a\\k<x>[cd])",
    };
    mercure_str topic = repeated("https://a.b/", "a", 4096, "");

    (void)state;
    for (size_t i = 0; i < COUNT(patterns); i++) {
        assert_false(matches_in_steps(mercure_str_of(patterns[i]), topic, 0));
        mercure_urlpattern *pattern = pattern_of(patterns[i], NULL);
        const urlpattern_compiled *c = &pattern->components[pattern->index_of[MERCURE_URL_PATHNAME] - 1];
        assert_true(urlpattern_match_limit(c, 4096) <= 250);
        mercure_urlpattern_release(pattern);
    }
    /* A count is taken to cost the whole code and the whole value. */
    mercure_urlpattern *coded = pattern_of(repeated("https://a.b/((?:", "\\B", 1500, "(?:a|aa))+[bc])").data, NULL);
    const urlpattern_compiled *c = &coded->components[coded->index_of[MERCURE_URL_PATHNAME] - 1];
    assert_true(c->code_size > 700);
    assert_true((uint64_t)urlpattern_match_limit(c, 40) * (40 + c->code_size) <= 410000);
    mercure_urlpattern_release(coded);
    assert_true(matches_in_steps(S("https://a.b/((?:a|aa)*[bc])"), S("https://a.b/aaaaaaaaaaaaaaaab"), 0));
    assert_true(matches_in_steps(S("https://a.b/([^b]+b)"), repeated("https://a.b/", "a", 4096, "b"), 0));
    assert_true(matches_in_steps(S("https://a.b/((?:[a-z]|[0-9])+)"), repeated("https://a.b/", "a", 200, "0"), 0));
}

/* A regular expression that is too large, or has too many properties, each of which is asked for each character. */
static void heavy_regular_expressions_are_refused(void **state)
{
    const mercure_str heavy[] = {repeated("https://a.b/([", "\\p{Lu}\\p{Nd}", 1000, "])"),
                                 S("https://a.b/((?:abcdef){1,2000})"),
                                 S("https://a.b/a((?:(?:\\B\\B\\B\\B\\B\\B\\B\\B\\B\\B){600}(?:a|aa))+[bc])"),
                                 S("http(s|(?:[a-z]c){90})://:u((?:[a-z]c){90})@((?:[a-z]c){90})/"),
                                 S("https://((?:[a-z]c){50})/((?:[a-z]c){50})\\?((?:[a-z]c){50})#((?:[a-z]c){50})")};

    (void)state;
    for (size_t i = 0; i < COUNT(heavy); i++) {
        mercure_urlpattern *pattern = NULL;
        mercure_error err = {""};
        assert_int_equal(mercure_urlpattern_make(heavy[i], NULL, &pattern, &err), MERCURE_LIMIT);
    }
    assert_true(matches("https://a.b/([\\p{Ll}\\p{Nd}]+)", "https://a.b/abc123"));
}

/* What all patterns may cost for one update. Then regular expressions do not match any more; the others go on. */
static void regular_expressions_share_an_effort(void **state)
{
    mercure_effort *effort = mercure_effort_make(pool);
    mercure_urlpattern *costly = pattern_of("https://a.b/((?:a|aa)*[bc])", NULL);
    mercure_urlpattern *cheap = pattern_of("https://a.b/(a+)", NULL), *plain = pattern_of("https://a.b/*a", NULL);
    mercure_str topic = repeated("https://a.b/", "a", 60, "");
    const mercure_url *url = url_of(topic.data, NULL);
    int asked = 0;

    (void)state;
    while (!mercure_effort_exhausted(effort)) {
        assert_false(mercure_urlpattern_matches(costly, mercure_url_parts_make(pool, url, effort)));
        assert_true(++asked < 1000);
    }
    assert_true(asked > 5);
    assert_in_range(mercure_effort_spent(effort), 1000000, 5000000);
    mercure_url_parts *parts = mercure_url_parts_make(pool, url, effort);
    assert_false(mercure_urlpattern_matches(cheap, parts));
    assert_true(mercure_urlpattern_matches(plain, parts));
    assert_true(mercure_urlpattern_matches(cheap, mercure_url_parts_make(pool, url, NULL)));
    mercure_urlpattern_release(costly);
    mercure_urlpattern_release(cheap);
    mercure_urlpattern_release(plain);
}

/* Some hundred cheap ones are within the effort. */
static void many_ordinary_regular_expressions_are_asked(void **state)
{
    mercure_effort *effort = mercure_effort_make(pool);
    mercure_urlpattern *pattern = pattern_of("https://example.com/users/(\\d+|me)", NULL);
    const mercure_url *url = url_of("https://example.com/users/12345", NULL);

    (void)state;
    for (int i = 0; i < 500; i++) {
        assert_true(mercure_urlpattern_matches(pattern, mercure_url_parts_make(pool, url, effort)));
    }
    mercure_urlpattern_release(pattern);
}

/* Neither deep nor long nonsense takes recursion or time: it is refused, or parses, and that is all. */
static void large_nonsense_is_survived(void **state)
{
    static const char *const pieces[] = {"{",
                                         "}",
                                         "(",
                                         ")",
                                         "(a",
                                         "(a(?:",
                                         "\\",
                                         ":",
                                         ":a",
                                         "[",
                                         "?",
                                         "*",
                                         "@",
                                         "a:b@",
                                         "/../",
                                         "\xF0\xA0\x80\x80",
                                         ":\xF0\xA0\x80\x80",
                                         "(?",
                                         "((?:",
                                         "{(a)",
                                         "://"};
    static const char *const starts[] = {"", "https://a.b/", "a:", "https://"};
    mercure_url *base = url_of("https://hub.example/", NULL);

    (void)state;
    for (size_t i = 0; i < COUNT(pieces); i++) {
        for (size_t k = 0; k < COUNT(starts); k++) {
            mercure_urlpattern *pattern = NULL;
            mercure_str text = repeated(starts[k], pieces[i], 4096, "");
            char *exact = unit_exact(text);
            if (mercure_urlpattern_make((mercure_str){exact, text.len}, base, &pattern, NULL) == MERCURE_OK) {
                mercure_urlpattern_matches(pattern, mercure_url_parts_make(pool, base, NULL));
            }
            mercure_urlpattern_release(pattern);
            free(exact);
        }
    }
}

/* ---- values and parts ---- */

/* Values whose positions end just before, at and after a word's end. */
static void values_may_end_at_a_words_end(void **state)
{
    (void)state;
    for (size_t len = 60; len < 200; len++) {
        char *segment = apr_pcalloc(pool, len + 1);
        memset(segment, 'a', len);
        const char *url = apr_pstrcat(pool, "https://a.b/x", segment, "/y", segment, NULL);

        assert_true(matches("https://a.b/x:one/y:two", url));
        assert_true(matches("https://a.b/x:one/*", url));
        assert_true(matches("https://a.b/:one+", url));
        assert_true(matches("https://a.b/x{a}+/y{a}+", url));
        assert_true(matches("https://a.b/x{a}*{/y:two}?", url));
        assert_false(matches("https://a.b/x:one/y:two/:three", url));
        assert_false(matches("https://a.b/x:one/y", url));
        assert_false(matches("https://a.b/x{a}+/y{a}+b{c}?", url));
        assert_true(matches("https://a.b/*:one/*:two", url));
        assert_false(matches("https://a.b/:one*z{c}?", url));
    }
}

/* One set of parts serves patterns of all kinds, one after the other, and its memory does not grow with them. */
static void parts_are_made_once_and_asked_often(void **state)
{
    static const struct {
        const char *pattern;
        bool expected;
    } asked[] = {{"https://a.b/x/:id", true},       {"https://a.b/:one/:two", true}, {"https://a.b/:one", false},
                 {"https://a.b/x/(\\d+)", true},    {"https://a.b/:p+", true},       {"https://a.b/{x/}+12", true},
                 {"https://:user@a.b/*", true},     {"https://a.b:8443/x/*", false}, {"http{s}?://a.b/*/:z", true},
                 {"https://:x.:y/x/:id\\?*", true}, {"https://a.b/x/:id#z", false}};
    mercure_url_parts *parts = mercure_url_parts_make(pool, url_of("https://u:p@a.b/x/12?q=1#h", NULL), NULL);
    uint64_t steps = 0;

    (void)state;
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < COUNT(asked); i++) {
            mercure_urlpattern *pattern = pattern_of(asked[i].pattern, NULL);
            mercure_urlpattern *held = mercure_urlpattern_hold(pattern);
            mercure_urlpattern_release(pattern);
            if (mercure_urlpattern_matches(held, parts) != asked[i].expected) {
                fail_msg("'%s' does not give %d", asked[i].pattern, asked[i].expected);
            }
            mercure_urlpattern_release(held);
        }
        const uint64_t *sets = parts->sets;
        assert_true(round == 0 || parts->steps - steps < steps); /* the second time the values are known */
        steps = parts->steps;
        assert_ptr_equal(parts->sets, sets);
    }
    assert_str(mercure_url_parts_get(parts, MERCURE_URL_PROTOCOL), "https");
    assert_str(mercure_url_parts_get(parts, MERCURE_URL_USERNAME), "u");
    assert_str(mercure_url_parts_get(parts, MERCURE_URL_PORT), "");
    assert_str(mercure_url_parts_get(parts, MERCURE_URL_SEARCH), "q=1");
    assert_str(mercure_url_parts_get(parts, MERCURE_URL_HASH), "h");
}

/* A value that begins or ends wrongly is refused without a step. */
static void wrong_prefixes_cost_nothing(void **state)
{
    (void)state;
    assert_false(matches_in_steps(S("https://a.b/users/:id/posts/*"), S("https://a.b/groups/1/posts/2"), 0));
    assert_false(matches_in_steps(S("https://a.b/:x/*/end"), S("https://a.b/groups/1/posts/2"), 0));
    assert_false(matches_in_steps(S("https://a.b/:x/*/:y/z"), S("https://a.b/z"), 0));
    assert_true(matches_in_steps(S("https://a.b/users/:id.json"), S("https://a.b/users/1.json"), 0));
    assert_true(matches_in_steps(S("https://a.b/users/*"), S("https://a.b/users/1/x"), 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_matcher_agrees_with_the_regular_expression),
        cmocka_unit_test(a_printed_pattern_parses_to_itself),
        cmocka_unit_test(large_patterns_take_bounded_steps),
        cmocka_unit_test(costly_regular_expressions_are_given_up),
        cmocka_unit_test(heavy_regular_expressions_are_refused),
        cmocka_unit_test(regular_expressions_share_an_effort),
        cmocka_unit_test(many_ordinary_regular_expressions_are_asked),
        cmocka_unit_test(large_nonsense_is_survived),
        cmocka_unit_test(values_may_end_at_a_words_end),
        cmocka_unit_test(parts_are_made_once_and_asked_often),
        cmocka_unit_test(wrong_prefixes_cost_nothing),
    };

    return cmocka_run_group_tests_name("urlpattern matching", tests, unit_setup, unit_teardown);
}
