/* test_urlpattern.c - URL patterns against the web platform's test data, and the rules around them.
 *
 * The values of groups, which the hub does not need, are found in the test by running each component's regular
 * expression with PCRE2. That the linear matcher agrees with that expression is checked on every case; on random
 * patterns and values it is in test_urlpattern_match.c.
 */
#include "urlpattern_unit.h"
#include "wpt.h"

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
        return mercure_url_parts_get(mercure_url_parts_make(pool, url_of(json_string_value(base), NULL), NULL), which);
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
        return url != NULL ? mercure_url_parts_make(pool, url, NULL) : NULL;
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

/* ---- our own ---- */

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urlpatterntestdata),
        cmocka_unit_test(relative_patterns_are_completed_from_the_base),
        cmocka_unit_test(prefixes_and_suffixes_are_as_long_as_can_be),
        cmocka_unit_test(refusals_say_where),
        cmocka_unit_test(groups_refer_to_each_other),
        cmocka_unit_test(names_are_identifiers),
    };

    return cmocka_run_group_tests_name("urlpattern", tests, unit_setup, unit_teardown);
}
