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

#include <time.h>

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

    if (urlpattern_compile_regexp(pool, component, &code, &err) != MERCURE_OK) {
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
    const char *wrong = equal ? NULL
                              : apr_psprintf(pool, "%s has the groups %s, expected %s", urlpattern_names[which],
                                             json_dumps(groups, 0), json_dumps(expected_groups, 0));
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

// REST
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urlpatterntestdata),
    };
    int failed;

    apr_initialize();
    apr_pool_create(&pool, NULL);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    apr_pool_destroy(pool);
    apr_terminate();
    return failed;
}
