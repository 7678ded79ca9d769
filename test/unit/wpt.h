/* wpt.h - reading the web platform's test data, from $MERCURE_WPT or ../shared/wpt (run from the project's root).
 * Include after unit.h or cmocka.h.
 */
#ifndef MERCURE_WPT_H
#define MERCURE_WPT_H

#include <apr_pools.h>
#include <apr_strings.h>
#include <jansson.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline bool wpt_is_surrogate(const char *escape, const char *second_digits)
{
    return strncmp(escape, "\\u", 2) == 0 && strchr("dD", escape[2]) != NULL && escape[3] != '\0' &&
           strchr(second_digits, escape[3]) != NULL;
}

/* Replace the escapes of lone surrogates, which jansson refuses, by that of U+FFFD, as the URL API does on the way in.
 */
static inline void wpt_replace_lone_surrogates(char *json)
{
    for (char *s = json; (s = strchr(s, '\\')) != NULL;) {
        if (wpt_is_surrogate(s, "89abAB") && wpt_is_surrogate(s + 6, "cdefCDEF")) {
            s += 12;
        } else if (wpt_is_surrogate(s, "89abcdefABCDEF")) {
            memcpy(s + 2, "FFFD", 4);
            s += 6;
        } else {
            s += 2;
        }
    }
}

/* The cases of a file (skips the test when it is absent, and says so). */
static inline json_t *wpt_load(apr_pool_t *pool, const char *file)
{
    const char *folder = getenv("MERCURE_WPT");
    const char *path = apr_pstrcat(pool, folder != NULL ? folder : "../shared/wpt", "/", file, NULL);
    FILE *f = fopen(path, "r");
    json_error_t error;

    if (f == NULL) {
        printf("%s: skipped, there is no %s\n", file, path);
        skip();
    }
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    size_t size = (size_t)ftell(f);
    char *json = apr_pcalloc(pool, size + 16); /* wpt_is_surrogate() looks ahead */
    rewind(f);
    assert_int_equal(fread(json, 1, size, f), size);
    fclose(f);
    wpt_replace_lone_surrogates(json);
    json_t *cases = json_loads(json, JSON_ALLOW_NUL, &error);
    if (cases == NULL) {
        fail_msg("%s:%d: %s", path, error.line, error.text);
    }
    return cases;
}

#endif
