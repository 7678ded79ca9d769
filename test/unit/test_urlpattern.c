/* test_urlpattern.c - URL patterns against the web platform's test data, against PCRE2, and against those who mean
 * harm.
 *
 * The values of groups, which the hub does not need, are found in the test by running each component's regular
 * expression with PCRE2. That the linear matcher agrees with that expression is checked on every case, and on random
 * patterns and values.
 */
#include "unit.h"
#include "wpt.h"

#include "../../lib/urlpattern_internal.h"

static apr_pool_t *pool;

/* ---- helpers ---- */

/* A pattern that has nothing but one component. */
static mercure_urlpattern *compile_one(apr_pool_t *temporary, mercure_url_component which,
                                       const urlpattern_component *component, mercure_error *err)
{
    urlpattern_component components[MERCURE_URL_COMPONENTS];
    urlpattern_part full = {.type = URLPATTERN_FULL, .modifier = URLPATTERN_NONE};
    mercure_urlpattern *pattern = NULL;

    for (int i = 0; i < MERCURE_URL_COMPONENTS; i++) {
        components[i] = (urlpattern_component){.parts = &full, .count = 1};
    }
    components[which] = *component;
    return urlpattern_compile(temporary, components, &pattern, err) == MERCURE_OK ? pattern : NULL;
}

static mercure_url_parts *parts_of_one(apr_pool_t *temporary, mercure_url_component which, mercure_str value)
{
    mercure_str values[MERCURE_URL_COMPONENTS] = {{NULL, 0}};

    values[which] = value;
    return urlpattern_parts_of_values(temporary, values);
}

static mercure_url *url_of(const char *text, const mercure_url *base)
{
    mercure_url *url;

    return mercure_url_parse(pool, text, strlen(text), base, &url, NULL) == MERCURE_OK ? url : NULL;
}

static mercure_urlpattern *pattern_of(const char *text, const char *base)
{
    mercure_urlpattern *pattern = NULL;
    mercure_error err = {""};
    mercure_status status =
        mercure_urlpattern_make(mercure_str_of(text), base != NULL ? url_of(base, NULL) : NULL, &pattern, &err);

    if (status != MERCURE_OK) {
        fail_msg("'%s' is refused: %s", text, err.reason);
    }
    return pattern;
}

static bool matches(const char *pattern_text, const char *url_text)
{
    mercure_urlpattern *pattern = pattern_of(pattern_text, "https://hub.example/base/");
    mercure_url *url = url_of(url_text, NULL);

    assert_non_null(url);
    bool result = mercure_urlpattern_matches(pattern, mercure_url_parts_make(pool, url));
    mercure_urlpattern_release(pattern);
    return result;
}

/* ---- the web platform's data ---- */

/* Cases that cannot pass, by the pattern and the inputs as compact JSON. One that passes all the same is a failure, so
 * this does not go stale. */
static const struct {
    const char *test;
    const char *reason;
} exceptions[] = {
    {"[{\"pathname\": \"/foo/bar\"}, {\"ignoreCase\": true}] [{\"pathname\": \"/FOO/BAR\"}]",
     "ignoreCase is not offered"},
    {"[\"/foo?bar#baz\", \"https://example.com:8080\", {\"ignoreCase\": true}] [{\"pathname\": \"/FOO\", \"search\": "
     "\"BAR\", \"hash\": \"BAZ\", \"baseURL\": \"https://example.com:8080\"}]",
     "ignoreCase is not offered"},
    {"[{\"pathname\": \"*{}**?\"}] [{\"pathname\": \"foobar\"}]",
     "a group that matches nothing in an optional round is unset in ECMAScript, and empty in PCRE2; the hub reads no "
     "groups"},
};

/* The groups that a component's regular expression finds in a value; NULL when it does not match. */
static json_t *find_groups(const urlpattern_component *component, mercure_str value, const char **wrong)
{
    pcre2_code *code;
    mercure_error err;

    if (urlpattern_compile_regexp(pool, component, &code, NULL, &err) != MERCURE_OK) {
        *wrong = apr_psprintf(pool, "no regular expression: %s", err.reason);
        return NULL;
    }
    pcre2_match_data *data = pcre2_match_data_create_from_pattern(code, NULL);
    int count = pcre2_match(code, (PCRE2_SPTR)value.data, value.len, 0, 0, data, NULL);
    json_t *groups = count > 0 ? json_object() : NULL;
    const PCRE2_SIZE *at = pcre2_get_ovector_pointer(data);
    int index = 1;

    for (size_t i = 0; i < component->count && groups != NULL; i++) {
        const urlpattern_part *part = &component->parts[i];
        if (part->type == URLPATTERN_TEXT) {
            continue;
        }
        bool set = index < count && at[2 * index] != PCRE2_UNSET;
        json_object_set_new(groups, apr_pstrmemdup(pool, part->name.data, part->name.len),
                            set ? json_stringn(value.data + at[2 * index], at[2 * index + 1] - at[2 * index])
                                : json_null());
        index++;
    }
    pcre2_match_data_free(data);
    pcre2_code_free(code);
    return groups;
}

static const mercure_str missing = {NULL, 0};

static mercure_str string_of(json_t *value)
{
    return json_is_string(value) ? (mercure_str){json_string_value(value), json_string_length(value)} : missing;
}

/* An init of an object; false when its baseURL does not parse. */
static bool read_init(json_t *object, urlpattern_init *init)
{
    json_t *base = json_object_get(object, "baseURL");

    *init = (urlpattern_init){.base = NULL};
    for (int i = 0; i < MERCURE_URL_COMPONENTS; i++) {
        init->values[i] = string_of(json_object_get(object, urlpattern_names[i]));
    }
    if (base == NULL) {
        return true;
    }
    init->base = url_of(json_string_value(base), NULL);
    return init->base != NULL;
}

/* Construct; false where the constructor throws. For a string, the public function must agree. */
static bool construct(json_t *arguments, urlpattern_component *components, mercure_urlpattern **pattern,
                      const char **wrong)
{
    json_t *first = json_array_get(arguments, 0);
    json_t *second = json_array_get(arguments, 1);
    mercure_url *base = NULL;
    urlpattern_init init;
    mercure_error err = {""};
    mercure_urlpattern *again = NULL;

    if (json_array_size(arguments) > 2 && !json_is_string(second)) {
        return false; /* the arguments of no constructor */
    }
    if (!json_is_string(first)) {
        if (json_is_string(second) || !read_init(first, &init)) {
            return false;
        }
        return urlpattern_parse_init(pool, &init, components, &err) == MERCURE_OK &&
               urlpattern_compile(pool, components, pattern, &err) == MERCURE_OK;
    }
    if (json_is_string(second) && (base = url_of(json_string_value(second), NULL)) == NULL) {
        return false;
    }
    mercure_status status = mercure_urlpattern_make(string_of(first), base, &again, &err);
    if (status != MERCURE_OK) {
        if (err.reason[0] == '\0') {
            *wrong = "is refused without a reason";
        }
        return false;
    }
    assert_int_equal(urlpattern_init_from_string(pool, string_of(first), &init, &err), MERCURE_OK);
    init.base = base;
    assert_int_equal(urlpattern_parse_init(pool, &init, components, &err), MERCURE_OK);
    *pattern = again;
    return true;
}

/* What the suite expects of a component's pattern string where it does not say. */
static mercure_str default_component(json_t *test, mercure_url_component which)
{
    static const char *const earlier[MERCURE_URL_COMPONENTS] = {"",
                                                                "",
                                                                "",
                                                                "protocol",
                                                                "protocol hostname",
                                                                "protocol hostname port",
                                                                "protocol hostname port pathname",
                                                                "protocol hostname port pathname search"};
    json_t *arguments = json_object_get(test, "pattern");
    json_t *first = json_array_get(arguments, 0);
    json_t *base = json_object_get(first, "baseURL");
    const char *key;
    json_t *value;

    if (json_is_object(first)) {
        json_t *own = json_object_get(first, urlpattern_names[which]);
        if (json_string_length(own) > 0) {
            return string_of(own);
        }
        json_object_foreach(first, key, value)
        {
            if (strcmp(key, "baseURL") != 0 && strstr(earlier[which], key) != NULL) {
                return S("*");
            }
        }
    }
    base = json_is_string(base) ? base : json_array_get(arguments, 1);
    if (json_is_string(base) && which != MERCURE_URL_USERNAME && which != MERCURE_URL_PASSWORD) {
        return mercure_url_parts_get(mercure_url_parts_make(pool, url_of(json_string_value(base), NULL)), which);
    }
    return S("*");
}

static bool exactly_empty(json_t *test, const char *name)
{
    json_t *names = json_object_get(test, "exactly_empty_components");
    json_t *value;
    size_t i;

    json_array_foreach(names, i, value)
    {
        if (strcmp(json_string_value(value), name) == 0) {
            return true;
        }
    }
    return false;
}

static const char *check_pattern_strings(json_t *test, const urlpattern_component *components)
{
    json_t *expected_obj = json_object_get(test, "expected_obj");

    for (int i = 0; i < MERCURE_URL_COMPONENTS; i++) {
        mercure_str actual = urlpattern_print(pool, &components[i]);
        mercure_str expected = string_of(json_object_get(expected_obj, urlpattern_names[i]));

        if (expected.data == NULL && exactly_empty(test, urlpattern_names[i])) {
            expected = S("");
        } else if (expected.data == NULL) {
            expected = default_component(test, (mercure_url_component)i);
        }
        if (!mercure_str_equal(actual, expected)) {
            return apr_psprintf(pool, "%s is '%.*s', expected '%.*s'", urlpattern_names[i], (int)actual.len,
                                actual.data, (int)expected.len, expected.data);
        }
    }
    return NULL;
}

/* The parts of a case's inputs; NULL when they match nothing. */
static mercure_url_parts *read_inputs(json_t *inputs)
{
    json_t *first = json_array_get(inputs, 0);
    json_t *second = json_array_get(inputs, 1);
    mercure_str values[MERCURE_URL_COMPONENTS];
    urlpattern_init init;

    if (json_is_string(first)) {
        mercure_url *base = json_is_string(second) ? url_of(json_string_value(second), NULL) : NULL;
        if (json_is_string(second) && base == NULL) {
            return NULL;
        }
        mercure_url *url = url_of(json_string_value(first), base);
        return url != NULL ? mercure_url_parts_make(pool, url) : NULL;
    }
    if (!read_init(first, &init) || urlpattern_init_for_url(pool, &init, values, NULL) != MERCURE_OK) {
        return NULL;
    }
    return urlpattern_parts_of_values(pool, values);
}

static const char *check_component_match(json_t *test, mercure_url_component which, json_t *groups, mercure_str value)
{
    json_t *expected = json_object_get(json_object_get(test, "expected_match"), urlpattern_names[which]);
    json_t *expected_groups = json_object_get(expected, "groups");
    mercure_str input = expected != NULL ? string_of(json_object_get(expected, "input")) : S("");

    if (expected == NULL) {
        expected_groups = json_object();
        if (!exactly_empty(test, urlpattern_names[which])) {
            json_object_set_new(expected_groups, "0", json_string(""));
        }
    }
    if (!mercure_str_equal(value, input)) {
        return apr_psprintf(pool, "%s was compared with '%.*s', expected '%.*s'", urlpattern_names[which],
                            (int)value.len, value.data, (int)input.len, input.data);
    }
    bool equal = json_equal(groups, expected_groups);
    const char *wrong = NULL;

    if (!equal) {
        char *found = json_dumps(groups, 0);
        char *wanted = json_dumps(expected_groups, 0);
        wrong = apr_psprintf(pool, "%s has the groups %s, expected %s", urlpattern_names[which], found, wanted);
        free(found);
        free(wanted);
    }
    if (expected == NULL) {
        json_decref(expected_groups);
    }
    return wrong;
}

/* Does the matcher alone, one component at a time, say what the regular expression says? Puts into `all` whether all
 * components match. */
static const char *check_match(json_t *test, const urlpattern_component *components, mercure_url_parts *parts,
                               bool *all)
{
    bool checked = json_is_object(json_object_get(test, "expected_match"));
    const char *wrong = NULL;

    *all = true;
    for (int i = 0; i < MERCURE_URL_COMPONENTS && wrong == NULL; i++) {
        mercure_url_component which = (mercure_url_component)i;
        mercure_str value = mercure_url_parts_get(parts, which);
        json_t *groups = find_groups(&components[i], value, &wrong);
        mercure_urlpattern *one = compile_one(pool, which, &components[i], NULL);

        if (wrong == NULL && (one == NULL || mercure_urlpattern_matches(one, parts) != (groups != NULL))) {
            wrong = apr_psprintf(pool, "%s: the matcher and the regular expression differ", urlpattern_names[i]);
        }
        if (wrong == NULL && groups != NULL && checked) {
            wrong = check_component_match(test, which, groups, value);
        }
        *all = *all && groups != NULL;
        mercure_urlpattern_release(one);
        json_decref(groups);
    }
    return wrong;
}

static const char *check_case(json_t *test)
{
    json_t *arguments = json_object_get(test, "pattern");
    json_t *inputs = json_object_get(test, "inputs");
    json_t *expected = json_object_get(test, "expected_match");
    bool error = json_is_string(json_object_get(test, "expected_obj"));
    urlpattern_component components[MERCURE_URL_COMPONENTS];
    mercure_urlpattern *pattern = NULL;
    const char *wrong = NULL;
    bool all = false;

    if (!construct(arguments, components, &pattern, &wrong)) {
        return error ? wrong : "is refused";
    }
    if (error) {
        wrong = "is not refused";
    } else {
        wrong = check_pattern_strings(test, components);
    }
    if (wrong == NULL && expected != NULL && !json_is_string(expected)) {
        mercure_url_parts *parts = read_inputs(inputs);
        bool matched = parts != NULL && mercure_urlpattern_matches(pattern, parts);

        wrong = parts != NULL ? check_match(test, components, parts, &all) : NULL;
        if (wrong == NULL && matched != (all && parts != NULL)) {
            wrong = "the whole pattern does not say what its components say";
        } else if (wrong == NULL && matched != json_is_object(expected)) {
            wrong = matched ? "matches" : "does not match";
        }
    }
    mercure_urlpattern_release(pattern);
    return wrong;
}

static const char *describe(json_t *test)
{
    char *arguments = json_dumps(json_object_get(test, "pattern"), JSON_ENSURE_ASCII);
    char *inputs = json_dumps(json_object_get(test, "inputs"), JSON_ENSURE_ASCII);
    const char *text = apr_pstrcat(pool, arguments, " ", inputs != NULL ? inputs : "", NULL);

    free(arguments);
    free(inputs);
    return text;
}

static void urlpatterntestdata(void **state)
{
    json_t *cases = wpt_load(pool, "urlpatterntestdata.json");
    size_t passed = 0;
    size_t total = 0;
    size_t surprises = 0;
    size_t i;
    json_t *test;

    (void)state;
    json_array_foreach(cases, i, test)
    {
        if (!json_is_object(test)) {
            continue; /* a comment */
        }
        const char *text = describe(test);
        const char *reason = NULL;
        const char *wrong = check_case(test);

        for (size_t k = 0; k < COUNT(exceptions); k++) {
            reason = strcmp(exceptions[k].test, text) == 0 ? exceptions[k].reason : reason;
        }
        total++;
        passed += wrong == NULL ? 1 : 0;
        if (wrong != NULL && reason == NULL) {
            surprises++;
            printf("%s: %s\n", text, wrong);
        } else if (wrong == NULL && reason != NULL) {
            surprises++;
            printf("%s passes, take it off the exceptions\n", text);
        }
    }
    printf("urlpatterntestdata: %zu of %zu cases pass\n", passed, total);
    json_decref(cases);
    assert_int_equal(surprises, 0);
    assert_true(total > 0);
}

/* ---- the matcher against PCRE2 ---- */

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
    pcre2_set_match_limit(own_limits, 50000); /* the standard's expressions can take for ever */
    for (int i = 0; i < 10; i++) {
        mercure_str value = draw_value(p, random, component);
        mercure_url_parts *parts = parts_of_one(p, which, value);
        bool actual = mercure_urlpattern_matches(pattern, parts);
        pcre2_match_context *limits = parts->match_context != NULL ? parts->match_context : own_limits;
        int expected = pcre2_match(code, (PCRE2_SPTR)value.data, value.len, 0, 0, data, limits);

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
    mercure_url_parts *parts = mercure_url_parts_make(pool, url);
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
    assert_true(matches_in_steps(S("https://a.b/((?:a|aa)*[bc])"), S("https://a.b/aaaaaaaaaaaaaaaab"), 0));
    assert_true(matches_in_steps(S("https://a.b/([^b]+b)"), repeated("https://a.b/", "a", 4096, "b"), 0));
    assert_true(matches_in_steps(S("https://a.b/((?:[a-z]|[0-9])+)"), repeated("https://a.b/", "a", 500, "0"), 0));
}

/* A regular expression that is too large, or has too many properties, each of which is asked for each character. */
static void heavy_regular_expressions_are_refused(void **state)
{
    const mercure_str heavy[] = {repeated("https://a.b/([", "\\p{Lu}\\p{Nd}", 1000, "])"),
                                 S("https://a.b/((?:abcdef){1,2000})")};

    (void)state;
    for (size_t i = 0; i < COUNT(heavy); i++) {
        mercure_urlpattern *pattern = NULL;
        mercure_error err = {""};
        assert_int_equal(mercure_urlpattern_make(heavy[i], NULL, &pattern, &err), MERCURE_LIMIT);
    }
    assert_true(matches("https://a.b/([\\p{Ll}\\p{Nd}]+)", "https://a.b/abc123"));
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
                mercure_urlpattern_matches(pattern, mercure_url_parts_make(pool, base));
            }
            mercure_urlpattern_release(pattern);
            free(exact);
        }
    }
}

/* ---- our own ---- */

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

static void relative_patterns_are_completed_from_the_base(void **state)
{
    mercure_urlpattern *pattern = NULL;
    mercure_error err = {""};

    (void)state;
    assert_true(matches("books/:id", "https://hub.example/base/books/1"));
    assert_true(matches("/books/:id", "https://hub.example/books/1?any#thing"));
    assert_false(matches("/books/:id", "https://other.example/books/1"));
    assert_false(matches("/books/:id", "https://hub.example:8443/books/1"));
    assert_true(matches("?q=*", "https://hub.example/base/?q=1"));
    assert_int_equal(mercure_urlpattern_make(S("/books/:id"), NULL, &pattern, &err), MERCURE_INVALID);
    assert_string_equal(err.reason, "the pattern is relative, and there is no base URL");

    /* What the base brings along stands for itself. */
    pattern = pattern_of(":id", "https://hub.example/a(b)*/+c/x");
    assert_str(mercure_urlpattern_prefix(pattern, MERCURE_URL_PATHNAME), "/a(b)*/+c/");
    mercure_urlpattern_release(pattern);
}

static void prefixes_and_suffixes_are_as_long_as_can_be(void **state)
{
    mercure_urlpattern *pattern = pattern_of("https://{*.}?example.com/users/:id/posts/:post.json?page=*", NULL);

    (void)state;
    assert_str(mercure_urlpattern_prefix(pattern, MERCURE_URL_PROTOCOL), "https");
    assert_str(mercure_urlpattern_suffix(pattern, MERCURE_URL_PROTOCOL), "https");
    assert_str(mercure_urlpattern_prefix(pattern, MERCURE_URL_HOSTNAME), "");
    assert_str(mercure_urlpattern_suffix(pattern, MERCURE_URL_HOSTNAME), "example.com");
    assert_str(mercure_urlpattern_prefix(pattern, MERCURE_URL_PATHNAME), "/users/");
    assert_str(mercure_urlpattern_suffix(pattern, MERCURE_URL_PATHNAME), ".json");
    assert_str(mercure_urlpattern_prefix(pattern, MERCURE_URL_SEARCH), "page=");
    assert_str(mercure_urlpattern_prefix(pattern, MERCURE_URL_HASH), "");
    mercure_urlpattern_release(pattern);

    pattern = pattern_of("https://a.b/{ab}+/:x+", NULL);
    assert_str(mercure_urlpattern_prefix(pattern, MERCURE_URL_PATHNAME), "/ab");
    assert_str(mercure_urlpattern_suffix(pattern, MERCURE_URL_PATHNAME), "");
    mercure_urlpattern_release(pattern);

    pattern = pattern_of("https://a.b/x/(\\d+)/y", NULL);
    assert_str(mercure_urlpattern_prefix(pattern, MERCURE_URL_PATHNAME), "/x/");
    assert_str(mercure_urlpattern_suffix(pattern, MERCURE_URL_PATHNAME), "/y");
    mercure_urlpattern_release(pattern);
}

/* A reason says where, and keeps the pattern, which may hold a password, to itself. */
static void refusals_say_where(void **state)
{
    static const struct {
        const char *pattern;
        const char *reason;
    } refused[] = {
        {"https://me:secret@a.b/:id/:id", "the pattern's pathname: a name that is used twice, again at byte 5"},
        {"https://me:secret@a.b/(a", "the pattern's pathname: a '(' that nothing closes at byte 1"},
        {"https://me:secret@a.b/{secret", "the pattern's pathname: a character that has no place there at byte 8"},
        {"https://me:secret@a.b/(a(b))",
         "the pattern's pathname: a regular expression with a capturing group at byte 1"},
        {"https://me:{secret@a.b/", "the pattern's hostname: a ':' that no name follows at byte 2"},
        {"https://me:secret@a b/", "the pattern's hostname: "},
        {"https://me:secret@a.b\\:x/", "the pattern's port: the port does not begin with a digit"},
        {"https://me:secret@a.b/(secret[)", "the pattern's pathname: "},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(refused); i++) {
        mercure_urlpattern *pattern = NULL;
        mercure_error err = {""};

        assert_int_equal(mercure_urlpattern_make(mercure_str_of(refused[i].pattern), NULL, &pattern, &err),
                         MERCURE_INVALID);
        assert_null(pattern);
        if (strncmp(err.reason, refused[i].reason, strlen(refused[i].reason)) != 0 || strstr(err.reason, "secret")) {
            fail_msg("'%s' is refused: %s", refused[i].pattern, err.reason);
        }
    }
}

/* Groups may refer to each other, since a component is one regular expression. */
static void groups_refer_to_each_other(void **state)
{
    (void)state;
    assert_true(matches("https://a.b/(x|y)/(\\1)", "https://a.b/x/x"));
    assert_false(matches("https://a.b/(x|y)/(\\1)", "https://a.b/x/y"));
}

static void names_are_identifiers(void **state)
{
    static const char *const good[] = {
        "/:a", "/:$", "/:_1", "/:\xC3\xA9t\xC3\xA9", "/:a\xE2\x80\x8D", "/:\xF0\xA0\x80\x80"};
    static const char *const bad[] = {"/:1", "/:-", "/:", "/:\xE2\x80\x8D", "/:\xF0\x9F\x9A\xB2"};

    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        assert_true(matches(good[i], "https://hub.example/x"));
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        mercure_urlpattern *pattern = NULL;
        assert_int_equal(mercure_urlpattern_make(mercure_str_of(bad[i]), url_of("https://a.b/", NULL), &pattern, NULL),
                         MERCURE_INVALID);
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
    mercure_url_parts *parts = mercure_url_parts_make(pool, url_of("https://u:p@a.b/x/12?q=1#h", NULL));
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
        cmocka_unit_test(urlpatterntestdata),
        cmocka_unit_test(the_matcher_agrees_with_the_regular_expression),
        cmocka_unit_test(a_printed_pattern_parses_to_itself),
        cmocka_unit_test(large_patterns_take_bounded_steps),
        cmocka_unit_test(costly_regular_expressions_are_given_up),
        cmocka_unit_test(heavy_regular_expressions_are_refused),
        cmocka_unit_test(large_nonsense_is_survived),
        cmocka_unit_test(values_may_end_at_a_words_end),
        cmocka_unit_test(relative_patterns_are_completed_from_the_base),
        cmocka_unit_test(prefixes_and_suffixes_are_as_long_as_can_be),
        cmocka_unit_test(refusals_say_where),
        cmocka_unit_test(groups_refer_to_each_other),
        cmocka_unit_test(names_are_identifiers),
        cmocka_unit_test(parts_are_made_once_and_asked_often),
        cmocka_unit_test(wrong_prefixes_cost_nothing),
    };
    int failed;

    apr_initialize();
    apr_pool_create(&pool, NULL);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    apr_pool_destroy(pool);
    apr_terminate();
    return failed;
}
