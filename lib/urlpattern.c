/* urlpattern.c - see urlpattern.h: a whole pattern is made here, and asked.
 *
 * Most questions are answered by comparing a few bytes: each component first looks at a value's length and at what it
 * begins and ends with, and only when all of them agree does one look closer. A compiled pattern is a header, an entry
 * for each component that is not "*", and the bytes they refer to, in one allocation.
 */
#include "urlpattern_internal.h"

#include <apr_strings.h>

#include <stdlib.h>

/* ---- making ---- */

static mercure_status encode_port(apr_pool_t *pool, const char *value, size_t len, const char **out, mercure_error *err)
{
    return mercure_url_canonicalise_port(pool, value, len, NULL, out, err);
}

/* "Hostname pattern is an IPv6 address". */
static bool is_ipv6(mercure_str pattern)
{
    if (pattern.len < 2) {
        return false;
    }
    return pattern.data[0] == '[' || ((pattern.data[0] == '{' || pattern.data[0] == '\\') && pattern.data[1] == '[');
}

static mercure_status parse_component(apr_pool_t *pool, mercure_url_component which, mercure_str input, bool special,
                                      urlpattern_component *component, mercure_error *err)
{
    static const urlpattern_encoder encoders[MERCURE_URL_COMPONENTS] = {mercure_url_canonicalise_protocol,
                                                                        mercure_url_canonicalise_username,
                                                                        mercure_url_canonicalise_password,
                                                                        mercure_url_canonicalise_hostname,
                                                                        encode_port,
                                                                        mercure_url_canonicalise_pathname,
                                                                        mercure_url_canonicalise_search,
                                                                        mercure_url_canonicalise_hash};
    urlpattern_encoder encode = encoders[which];
    urlpattern_options options = {'\0', '\0'};
    mercure_error inner = {""};

    if (which == MERCURE_URL_HOSTNAME) {
        options.delimiter = '.';
        encode = is_ipv6(input) ? mercure_url_canonicalise_ipv6_hostname : encode;
    } else if (which == MERCURE_URL_PATHNAME && special) {
        options = (urlpattern_options){'/', '/'};
    } else if (which == MERCURE_URL_PATHNAME) {
        encode = mercure_url_canonicalise_opaque_pathname;
    }
    mercure_status status = urlpattern_parse(pool, input, options, encode, component, &inner);
    if (status != MERCURE_OK) {
        mercure_fail(err, status, "the pattern's %s: %s", urlpattern_names[which], inner.reason);
    }
    return status;
}

mercure_status urlpattern_parse_protocol(apr_pool_t *pool, mercure_str input, urlpattern_component *protocol,
                                         bool *special, mercure_error *err)
{
    static const char *const schemes[] = {"https", "http", "wss", "ws", "ftp", "file"};
    urlpattern_part full = {.type = URLPATTERN_FULL, .modifier = URLPATTERN_NONE};
    urlpattern_component components[MERCURE_URL_COMPONENTS];
    mercure_str values[MERCURE_URL_COMPONENTS] = {{NULL, 0}};
    mercure_urlpattern *pattern;

    mercure_status status = parse_component(pool, MERCURE_URL_PROTOCOL, input, false, protocol, err);
    if (status != MERCURE_OK) {
        return status;
    }
    /* Ask a pattern that has nothing but this protocol. */
    for (int i = 0; i < MERCURE_URL_COMPONENTS; i++) {
        components[i] = (urlpattern_component){.parts = &full, .count = 1};
    }
    components[MERCURE_URL_PROTOCOL] = *protocol;
    status = urlpattern_compile(pool, components, &pattern, err);
    if (status != MERCURE_OK) {
        return status;
    }
    *special = false;
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]) && !*special; i++) {
        values[MERCURE_URL_PROTOCOL] = mercure_str_of(schemes[i]);
        *special = mercure_urlpattern_matches(pattern, urlpattern_parts_of_values(pool, values));
    }
    mercure_urlpattern_release(pattern);
    return MERCURE_OK;
}

mercure_status urlpattern_parse_init(apr_pool_t *pool, const urlpattern_init *init,
                                     urlpattern_component components[MERCURE_URL_COMPONENTS], mercure_error *err)
{
    mercure_str values[MERCURE_URL_COMPONENTS];
    bool special = false;

    urlpattern_init_for_pattern(pool, init, values);
    mercure_status status =
        urlpattern_parse_protocol(pool, values[MERCURE_URL_PROTOCOL], &components[MERCURE_URL_PROTOCOL], &special, err);
    for (int i = MERCURE_URL_USERNAME; i < MERCURE_URL_COMPONENTS && status == MERCURE_OK; i++) {
        status = parse_component(pool, (mercure_url_component)i, values[i], special, &components[i], err);
    }
    return status;
}

static mercure_status make(apr_pool_t *pool, mercure_str input, const mercure_url *base, mercure_urlpattern **result,
                           mercure_error *err)
{
    urlpattern_component components[MERCURE_URL_COMPONENTS];
    urlpattern_init init;

    mercure_status status = urlpattern_init_from_string(pool, input, &init, err);
    if (status != MERCURE_OK) {
        return status;
    }
    if (base == NULL && init.values[MERCURE_URL_PROTOCOL].data == NULL) {
        return mercure_fail(err, MERCURE_INVALID, "the pattern is relative, and there is no base URL");
    }
    init.base = base;
    status = urlpattern_parse_init(pool, &init, components, err);
    return status == MERCURE_OK ? urlpattern_compile(pool, components, result, err) : status;
}

mercure_status mercure_urlpattern_make(mercure_str pattern, const mercure_url *base, mercure_urlpattern **result,
                                       mercure_error *err)
{
    apr_pool_t *pool;

    if (apr_pool_create_unmanaged_ex(&pool, NULL, NULL) != APR_SUCCESS) {
        return mercure_fail(err, MERCURE_SYSTEM, "there is no memory for a URL pattern");
    }
    mercure_status status = make(pool, pattern, base, result, err);
    apr_pool_destroy(pool);
    return status;
}

mercure_urlpattern *mercure_urlpattern_hold(mercure_urlpattern *pattern)
{
    atomic_fetch_add_explicit(&pattern->holds, 1, memory_order_relaxed);
    return pattern;
}

void mercure_urlpattern_release(mercure_urlpattern *pattern)
{
    if (pattern == NULL || atomic_fetch_sub_explicit(&pattern->holds, 1, memory_order_acq_rel) > 1) {
        return;
    }
    for (size_t i = 0; i < pattern->count; i++) {
        if (pattern->components[i].kind == URLPATTERN_IS_REGEXP) {
            pcre2_code_free(pattern->components[i].u.code);
        }
    }
    free(pattern);
}

size_t mercure_urlpattern_regexp_size(const mercure_urlpattern *pattern)
{
    size_t size = 0;

    for (size_t i = 0; i < pattern->count; i++) {
        size += pattern->components[i].code_size;
    }
    return size;
}

mercure_str mercure_urlpattern_prefix(const mercure_urlpattern *pattern, mercure_url_component component)
{
    size_t index = pattern->index_of[component];

    if (index == 0) {
        return (mercure_str){"", 0};
    }
    const urlpattern_compiled *c = &pattern->components[index - 1];
    return (mercure_str){(const char *)pattern->bytes + c->prefix, c->prefix_len};
}

mercure_str mercure_urlpattern_suffix(const mercure_urlpattern *pattern, mercure_url_component component)
{
    size_t index = pattern->index_of[component];

    if (index == 0) {
        return (mercure_str){"", 0};
    }
    const urlpattern_compiled *c = &pattern->components[index - 1];
    if (c->kind == URLPATTERN_IS_LITERAL) {
        return mercure_urlpattern_prefix(pattern, component);
    }
    return (mercure_str){(const char *)pattern->bytes + c->suffix, c->suffix_len};
}

/* ---- URLs ---- */

static mercure_url_parts *make_parts(apr_pool_t *pool, const mercure_str values[MERCURE_URL_COMPONENTS],
                                     mercure_effort *effort)
{
    mercure_url_parts *parts = apr_pcalloc(pool, sizeof(*parts));

    parts->pool = pool;
    parts->effort = effort != NULL ? effort : mercure_effort_make(pool);
    for (int i = 0; i < MERCURE_URL_COMPONENTS; i++) {
        parts->values[i] = values[i].data != NULL ? values[i] : (mercure_str){"", 0};
    }
    return parts;
}

mercure_url_parts *urlpattern_parts_of_values(apr_pool_t *pool, const mercure_str values[MERCURE_URL_COMPONENTS])
{
    return make_parts(pool, values, NULL);
}

static mercure_str value_of(const char *text)
{
    return text != NULL ? mercure_str_of(text) : (mercure_str){"", 0};
}

mercure_url_parts *mercure_url_parts_make(apr_pool_t *pool, const mercure_url *url, mercure_effort *effort)
{
    const mercure_str values[MERCURE_URL_COMPONENTS] = {
        [MERCURE_URL_PROTOCOL] = value_of(url->scheme),      [MERCURE_URL_USERNAME] = value_of(url->username),
        [MERCURE_URL_PASSWORD] = value_of(url->password),    [MERCURE_URL_HOSTNAME] = value_of(url->host),
        [MERCURE_URL_PATHNAME] = {url->path, url->path_len}, [MERCURE_URL_SEARCH] = value_of(url->query),
        [MERCURE_URL_HASH] = value_of(url->fragment),
    };
    mercure_url_parts *parts = make_parts(pool, values, effort);

    if (url->port >= 0) {
        parts->values[MERCURE_URL_PORT] = mercure_str_of(apr_itoa(pool, url->port));
    }
    return parts;
}

mercure_str mercure_url_parts_get(const mercure_url_parts *parts, mercure_url_component component)
{
    return parts->values[component];
}

/* ---- matching ---- */

static bool looks_right(const mercure_urlpattern *pattern, const urlpattern_compiled *c, mercure_str value)
{
    const char *bytes = (const char *)pattern->bytes;

    if (value.len < c->min_len || (c->kind == URLPATTERN_IS_LITERAL && value.len != c->min_len)) {
        return false;
    }
    /* min_len is at least the length of either. */
    return memcmp(value.data, bytes + c->prefix, c->prefix_len) == 0 &&
           memcmp(value.data + value.len - c->suffix_len, bytes + c->suffix, c->suffix_len) == 0;
}

static bool run_program(const mercure_urlpattern *pattern, const urlpattern_compiled *c, mercure_url_parts *parts,
                        size_t end)
{
    uint64_t before = parts->steps;
    bool matches;

    if (!urlpattern_may_run(parts->effort)) {
        return false;
    }
    matches = urlpattern_run(parts, (mercure_url_component)c->which, pattern->bytes + c->u.program.at, c->u.program.len,
                             c->delimiter, c->used_prefix, end);
    urlpattern_note_steps(parts->effort, parts->steps - before);
    return matches;
}

static bool matches_closely(const mercure_urlpattern *pattern, const urlpattern_compiled *c, mercure_url_parts *parts)
{
    mercure_str value = parts->values[c->which];
    size_t end = value.len - c->used_suffix;

    switch (c->kind) {
    case URLPATTERN_IS_SEGMENT:
        return memchr(value.data + c->used_prefix, c->delimiter, end - c->used_prefix) == NULL;
    case URLPATTERN_IS_PROGRAM:
        return run_program(pattern, c, parts, end);
    case URLPATTERN_IS_REGEXP:
        return urlpattern_match_regexp(parts->effort, c, value);
    default:
        return true;
    }
}

bool mercure_urlpattern_matches(const mercure_urlpattern *pattern, mercure_url_parts *parts)
{
    for (size_t i = 0; i < pattern->count; i++) {
        const urlpattern_compiled *c = &pattern->components[i];
        if (!looks_right(pattern, c, parts->values[c->which])) {
            return false;
        }
    }
    for (size_t i = 0; i < pattern->count; i++) {
        if (!matches_closely(pattern, &pattern->components[i], parts)) {
            return false;
        }
    }
    return true;
}
