/* url_canonical.c - the encoding callbacks of the URL Pattern Standard (section "Canonicalization"), see url.h.
 *
 * Most of them run the URL parser from one of its states on, on a dummy URL ("https://dummy.invalid/" with an empty
 * path), as the standard does.
 */
#include "url_internal.h"

#include <apr_strings.h>

#include <string.h>

#define DUMMY_SCHEME "https"

mercure_status mercure_url_canonicalise_protocol(apr_pool_t *pool, const char *value, size_t len, const char **out,
                                                 mercure_error *err)
{
    url_buffer dummy = {.pool = pool};
    mercure_url *url;

    if (len == 0) {
        *out = "";
        return MERCURE_OK;
    }
    url_buffer_append(&dummy, value, len);
    url_buffer_append(&dummy, "://dummy.invalid/", strlen("://dummy.invalid/"));
    mercure_status status = mercure_url_parse(pool, dummy.s, dummy.len, NULL, &url, err);
    if (status == MERCURE_OK) {
        *out = url->scheme;
    }
    return status;
}

static const char *encode_userinfo(apr_pool_t *pool, const char *value, size_t len)
{
    url_buffer encoded = {.pool = pool};

    /* Unlike a parser's input, this keeps its tabs and newlines; only ill-formed UTF-8 is replaced. */
    for (size_t i = 0; i < len;) {
        uint32_t c;
        size_t taken = url_utf8_decode(value + i, len - i, &c);
        bool ill_formed = c == 0xFFFD;
        url_encode(&encoded, ill_formed ? "\xEF\xBF\xBD" : value + i, ill_formed ? 3 : taken, URL_ENCODE_USERINFO);
        i += taken;
    }
    return url_buffer_string(&encoded);
}

mercure_status mercure_url_canonicalise_username(apr_pool_t *pool, const char *value, size_t len, const char **out,
                                                 mercure_error *err)
{
    (void)err; /* every username has a canonical form */
    *out = encode_userinfo(pool, value, len);
    return MERCURE_OK;
}

mercure_status mercure_url_canonicalise_password(apr_pool_t *pool, const char *value, size_t len, const char **out,
                                                 mercure_error *err)
{
    return mercure_url_canonicalise_username(pool, value, len, out, err);
}

mercure_status mercure_url_canonicalise_hostname(apr_pool_t *pool, const char *value, size_t len, const char **out,
                                                 mercure_error *err)
{
    mercure_url *url;

    if (len == 0) {
        *out = "";
        return MERCURE_OK;
    }
    mercure_status status = url_parse_override(pool, URL_STATE_HOST, DUMMY_SCHEME, value, len, &url, err);
    if (status == MERCURE_OK) {
        *out = url->host;
    }
    return status;
}

mercure_status mercure_url_canonicalise_ipv6_hostname(apr_pool_t *pool, const char *value, size_t len, const char **out,
                                                      mercure_error *err)
{
    char *lower = apr_palloc(pool, len + 1);

    for (size_t i = 0; i < len; i++) {
        if (url_hex_value(value[i]) < 0 && value[i] != '[' && value[i] != ']' && value[i] != ':') {
            return mercure_fail(err, MERCURE_INVALID, "the IPv6 address holds a character that no address has");
        }
        lower[i] = url_to_lower(value[i]);
    }
    lower[len] = '\0';
    *out = lower;
    return MERCURE_OK;
}

mercure_status mercure_url_canonicalise_port(apr_pool_t *pool, const char *value, size_t len, const char *protocol,
                                             const char **out, mercure_error *err)
{
    mercure_url *url;

    if (len == 0) {
        *out = "";
        return MERCURE_OK;
    }
    mercure_status status =
        url_parse_override(pool, URL_STATE_PORT, protocol != NULL ? protocol : "", value, len, &url, err);
    if (status == MERCURE_OK) {
        *out = mercure_url_port(pool, url);
    }
    return status;
}

mercure_status mercure_url_canonicalise_pathname(apr_pool_t *pool, const char *value, size_t len, const char **out,
                                                 mercure_error *err)
{
    bool leading_slash = len > 0 && value[0] == '/';
    url_buffer modified = {.pool = pool};
    mercure_url *url;

    if (len == 0) {
        *out = "";
        return MERCURE_OK;
    }
    /* A piece of a pathname must not get a '/' of the parser's, nor may "." at its start count as a segment. */
    url_buffer_append(&modified, "/-", leading_slash ? 0 : 2);
    url_buffer_append(&modified, value, len);
    mercure_status status =
        url_parse_override(pool, URL_STATE_PATH_START, DUMMY_SCHEME, modified.s, modified.len, &url, err);
    if (status == MERCURE_OK) {
        /* "/-/../x" leaves less than the two characters that were put in front. */
        *out = leading_slash ? url->path : url->path + (url->path_len < 2 ? url->path_len : 2);
    }
    return status;
}

mercure_status mercure_url_canonicalise_opaque_pathname(apr_pool_t *pool, const char *value, size_t len,
                                                        const char **out, mercure_error *err)
{
    mercure_url *url;
    mercure_status status = url_parse_override(pool, URL_STATE_OPAQUE_PATH, DUMMY_SCHEME, value, len, &url, err);

    if (status == MERCURE_OK) {
        *out = url->path;
    }
    return status;
}

mercure_status mercure_url_canonicalise_search(apr_pool_t *pool, const char *value, size_t len, const char **out,
                                               mercure_error *err)
{
    mercure_url *url;
    mercure_status status = url_parse_override(pool, URL_STATE_QUERY, DUMMY_SCHEME, value, len, &url, err);

    if (status == MERCURE_OK) {
        *out = url->query;
    }
    return status;
}

mercure_status mercure_url_canonicalise_hash(apr_pool_t *pool, const char *value, size_t len, const char **out,
                                             mercure_error *err)
{
    mercure_url *url;
    mercure_status status = url_parse_override(pool, URL_STATE_FRAGMENT, DUMMY_SCHEME, value, len, &url, err);

    if (status == MERCURE_OK) {
        *out = url->fragment;
    }
    return status;
}
