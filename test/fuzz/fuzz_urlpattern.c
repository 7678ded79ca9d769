/* fuzz_urlpattern.c - input: a byte of flags, a pattern, a newline, a base URL (empty: none), a newline, a topic.
 *
 * The flags are a component's number (a digit), whose part of the pattern is also asked about the topic as it is, and
 * FLAG_RESOLVED. Callers have checked that a pattern and a topic are UTF-8 and no longer than MERCURE_MAX_VALUE, so
 * other inputs are passed over.
 */
#include "mercure/limits.h"
#include "mercure/topic.h"
#include "mercure/urlpattern.h"

#include "../../lib/urlpattern_internal.h"

#include "fuzz.h"

#include <apr_strings.h>

#define FLAG_COMPONENT 7 /* a mask */
#define FLAG_RESOLVED  8 /* the topic is resolved against the base */

/* The standard's expressions may backtrack for ever. */
#define REFERENCE_MATCH_LIMIT 20000
#define REFERENCE_HEAP_LIMIT  4096 /* KiB */

static apr_pool_t *pool;

static void check_ends(const mercure_urlpattern *pattern, mercure_url_component which, mercure_str value)
{
    mercure_str prefix = mercure_urlpattern_prefix(pattern, which);
    mercure_str suffix = mercure_urlpattern_suffix(pattern, which);

    FUZZ_CHECK(value.len >= prefix.len && value.len >= suffix.len);
    FUZZ_CHECK(memcmp(value.data, prefix.data, prefix.len) == 0);
    FUZZ_CHECK(memcmp(value.data + value.len - suffix.len, suffix.data, suffix.len) == 0);
}

/* A pattern that has nothing but one component. */
static mercure_urlpattern *compile_alone(mercure_url_component which, const urlpattern_component *component)
{
    urlpattern_component components[MERCURE_URL_COMPONENTS];
    urlpattern_part full = {.type = URLPATTERN_FULL, .modifier = URLPATTERN_NONE};
    mercure_urlpattern *pattern = NULL;

    for (int i = 0; i < MERCURE_URL_COMPONENTS; i++) {
        components[i] = (urlpattern_component){.parts = &full, .count = 1};
    }
    components[which] = *component;
    FUZZ_CHECK(urlpattern_compile(pool, components, &pattern, NULL) == MERCURE_OK);
    return pattern;
}

/* What the standard's regular expression says: 1, 0, or -1 where PCRE2 gives up. */
static int ask_pcre(const urlpattern_component *component, mercure_str value)
{
    pcre2_code *code;
    mercure_status status = urlpattern_compile_regexp(pool, component, &code, NULL, NULL);

    if (status == MERCURE_LIMIT) {
        return -1;
    }
    FUZZ_CHECK(status == MERCURE_OK);
    pcre2_match_data *data = pcre2_match_data_create(1, NULL);
    pcre2_match_context *limits = pcre2_match_context_create(NULL);
    pcre2_set_match_limit(limits, REFERENCE_MATCH_LIMIT);
    pcre2_set_heap_limit(limits, REFERENCE_HEAP_LIMIT);
    int answer = pcre2_match(code, (PCRE2_SPTR)value.data, value.len, 0, 0, data, limits);
    FUZZ_CHECK(answer >= PCRE2_ERROR_NOMATCH || answer == PCRE2_ERROR_MATCHLIMIT || answer == PCRE2_ERROR_HEAPLIMIT);
    pcre2_match_context_free(limits);
    pcre2_match_data_free(data);
    pcre2_code_free(code);
    return answer >= 0 ? 1 : answer == PCRE2_ERROR_NOMATCH ? 0 : -1;
}

/* Does the component alone match the value? It must say what its regular expression says. */
static bool check_alone(mercure_url_component which, const urlpattern_component *component, mercure_str value)
{
    mercure_str values[MERCURE_URL_COMPONENTS] = {{NULL, 0}};
    mercure_urlpattern *pattern = compile_alone(which, component);
    char *exact = fuzz_exact(value);

    values[which] = (mercure_str){exact, value.len};
    bool matched = mercure_urlpattern_matches(pattern, urlpattern_parts_of_values(pool, values));
    if (matched) {
        check_ends(pattern, which, value);
    }
    if (!component->has_regexp) {
        int expected = ask_pcre(component, value);
        FUZZ_CHECK(expected < 0 || matched == (expected == 1));
    }
    mercure_urlpattern_release(pattern);
    free(exact);
    return matched;
}

static void check_whole(mercure_urlpattern *pattern, const urlpattern_component *components, mercure_url_parts *parts)
{
    bool matched = mercure_urlpattern_matches(pattern, parts);
    bool all = true;

    for (int i = 0; i < MERCURE_URL_COMPONENTS; i++) {
        mercure_url_component which = (mercure_url_component)i;
        mercure_str value = mercure_url_parts_get(parts, which);
        if (matched) {
            check_ends(pattern, which, value);
        }
        all = check_alone(which, &components[i], value) && all;
    }
    FUZZ_CHECK(matched == all);
    FUZZ_CHECK(mercure_urlpattern_hold(pattern) == pattern);
    FUZZ_CHECK(mercure_urlpattern_matches(pattern, parts) == matched);
    mercure_urlpattern_release(pattern);
    FUZZ_CHECK(mercure_urlpattern_matches(pattern, parts) == matched);
}

/* No URL holds a line end, which is why the matcher's wildcard takes it, and the regular expression's does not. */
static bool has_line_end(mercure_str text)
{
    return memchr(text.data, '\n', text.len) != NULL || memchr(text.data, '\r', text.len) != NULL ||
           memmem(text.data, text.len, "\xE2\x80\xA8", 3) != NULL ||
           memmem(text.data, text.len, "\xE2\x80\xA9", 3) != NULL;
}

static mercure_status no_encoding(apr_pool_t *p, const char *value, size_t len, const char **out, mercure_error *err)
{
    (void)err;
    *out = apr_pstrmemdup(p, value, len);
    return MERCURE_OK;
}

/* A printed component is parsed to one that prints the same. The texts must be taken as they are: encoded once more,
 * neighbours may become another text ("/.{}?." is "/" and "."). So does a text of which encoding left nothing. */
static void check_print(const urlpattern_component *component)
{
    mercure_str printed = urlpattern_print(pool, component);
    urlpattern_component again;

    for (size_t i = 0; i < component->count; i++) {
        if (component->parts[i].type == URLPATTERN_TEXT && component->parts[i].value.len == 0) {
            return;
        }
    }
    FUZZ_CHECK(urlpattern_parse(pool, printed, component->options, no_encoding, &again, NULL) == MERCURE_OK);
    FUZZ_CHECK(mercure_str_equal(urlpattern_print(pool, &again), printed));
    FUZZ_CHECK(mercure_str_equal(urlpattern_print_regexp(pool, &again), urlpattern_print_regexp(pool, component)));
}

static void check_pattern(mercure_str text, const mercure_url *base, mercure_str topic, mercure_url_component which,
                          const mercure_url *url)
{
    urlpattern_component components[MERCURE_URL_COMPONENTS];
    urlpattern_init init;
    mercure_urlpattern *pattern = NULL;
    mercure_error err = {""};
    mercure_status status = mercure_urlpattern_make(text, base, &pattern, &err);

    FUZZ_CHECK(status == MERCURE_OK || status == MERCURE_INVALID || status == MERCURE_LIMIT);
    FUZZ_CHECK(mercure_utf8_valid(mercure_str_of(err.reason)));
    if (status != MERCURE_OK) {
        FUZZ_CHECK(pattern == NULL && err.reason[0] != '\0');
        return;
    }
    FUZZ_CHECK(urlpattern_init_from_string(pool, text, &init, NULL) == MERCURE_OK);
    init.base = base;
    FUZZ_CHECK(urlpattern_parse_init(pool, &init, components, NULL) == MERCURE_OK);
    if (url != NULL) {
        check_whole(pattern, components, mercure_url_parts_make(pool, url, NULL));
    }
    if (!has_line_end(topic)) {
        check_alone(which, &components[which], topic);
    }
    for (int i = 0; i < MERCURE_URL_COMPONENTS; i++) {
        check_print(&components[i]);
    }
    mercure_urlpattern_release(pattern);
}

/* What a pattern has only from its base matches the base. (Not so where the scheme is not special: its hosts are not
 * encoded as a pattern's are.) */
static void check_inherited(const mercure_url *base)
{
    urlpattern_component components[MERCURE_URL_COMPONENTS];
    urlpattern_init init = {.base = base};
    mercure_urlpattern *pattern = NULL;

    if (!mercure_url_scheme_special(base->scheme, strlen(base->scheme))) {
        return;
    }
    FUZZ_CHECK(urlpattern_parse_init(pool, &init, components, NULL) == MERCURE_OK);
    FUZZ_CHECK(urlpattern_compile(pool, components, &pattern, NULL) == MERCURE_OK);
    FUZZ_CHECK(mercure_urlpattern_matches(pattern, mercure_url_parts_make(pool, base, NULL)));
    mercure_urlpattern_release(pattern);
}

static bool taken(mercure_str text)
{
    return text.len <= MERCURE_MAX_VALUE && mercure_utf8_valid(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mercure_str text, base_text, topic;
    mercure_url *base = NULL, *url = NULL;
    char *exact;

    if (pool == NULL) {
        apr_initialize();
        apr_pool_create(&pool, NULL);
    }
    if (size == 0) {
        return 0;
    }
    fuzz_split(data + 1, size - 1, &text, &topic);
    fuzz_split((const uint8_t *)topic.data, topic.len, &base_text, &topic);
    if (!taken(text) || !taken(base_text) || !taken(topic)) {
        return 0;
    }
    exact = fuzz_exact(text);
    text.data = exact;
    if (base_text.len > 0 && mercure_url_parse(pool, base_text.data, base_text.len, NULL, &base, NULL) == MERCURE_OK) {
        check_inherited(base);
    }
    mercure_url_parse(pool, topic.data, topic.len, (data[0] & FLAG_RESOLVED) != 0 ? base : NULL, &url, NULL);
    check_pattern(text, NULL, topic, (mercure_url_component)(data[0] & FLAG_COMPONENT), url);
    if (base != NULL) {
        check_pattern(text, base, topic, (mercure_url_component)(data[0] & FLAG_COMPONENT), url);
    }
    free(exact);
    apr_pool_clear(pool);
    return 0;
}
