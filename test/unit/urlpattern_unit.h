/* urlpattern_unit.h - what the tests of URL patterns share: patterns and URLs made of literals, in one pool.
 */
#ifndef MERCURE_URLPATTERN_UNIT_H
#define MERCURE_URLPATTERN_UNIT_H

#include "unit_pool.h"

#include "../../lib/urlpattern_internal.h"

/* A pattern that has nothing but one component. */
static inline mercure_urlpattern *compile_one(apr_pool_t *temporary, mercure_url_component which,
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

static inline mercure_url *url_of(const char *text, const mercure_url *base)
{
    mercure_url *url;

    return mercure_url_parse(pool, text, strlen(text), base, &url, NULL) == MERCURE_OK ? url : NULL;
}

static inline mercure_urlpattern *pattern_of(const char *text, const char *base)
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

static inline bool matches(const char *pattern_text, const char *url_text)
{
    mercure_urlpattern *pattern = pattern_of(pattern_text, "https://hub.example/base/");
    mercure_url *url = url_of(url_text, NULL);

    assert_non_null(url);
    bool result = mercure_urlpattern_matches(pattern, mercure_url_parts_make(pool, url, NULL));
    mercure_urlpattern_release(pattern);
    return result;
}

#endif
