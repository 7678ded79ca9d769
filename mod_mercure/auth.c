/* auth.c - which token a request carries, and whether it is good. PROTOCOL 5. */
#include "hub_request.h"

#include <apr_lib.h>
#include <apr_strings.h>
#include <http_log.h>
#include <http_protocol.h>
#include <time.h>
#include <util_cookies.h>

#include "child.h"

#include "mercure/limits.h"

APLOG_USE_MODULE(mercure);

/* RFC 6750's b64token. */
static bool is_token(const char *text)
{
    const char *at = text;

    while (apr_isalnum(*at) || (*at != '\0' && strchr("-._~+/", *at) != NULL)) {
        at++;
    }
    while (at > text && *at == '=') {
        at++;
    }
    return at > text && *at == '\0';
}

/* The token of an Authorization header. NULL: another scheme, so no token of ours. */
static const char *bearer_of(const char *header)
{
    while (apr_isspace(*header)) {
        header++;
    }
    if (strncasecmp(header, "Bearer", 6) != 0 || (header[6] != ' ' && header[6] != '\0')) {
        return NULL;
    }
    header += 6;
    while (*header == ' ') {
        header++;
    }
    return header;
}

static const char *find_token(const hub_request *q, bool *by_cookie)
{
    const char *header = apr_table_get(q->r->headers_in, "Authorization"), *cookie = NULL;

    *by_cookie = false;
    if (header != NULL) {
        return bearer_of(header); /* whatever cookie there is, it is ignored */
    }
    if (ap_cookie_read(q->r, config_cookie_name(q->dir), &cookie, 0) != APR_SUCCESS) {
        return NULL;
    }
    *by_cookie = cookie != NULL;
    return cookie;
}

static apr_status_t release_grants(void *grants)
{
    mercure_grants_release(grants);
    return APR_SUCCESS;
}

static mercure_status verify(const hub_request *q, const char *token, unsigned role, hub_credentials *credentials,
                             mercure_error *err)
{
    const apr_array_header_t *issuers = q->dir->issuers;
    mercure_trust trust = {issuers != NULL ? (const mercure_issuer *)issuers->elts : NULL,
                           issuers != NULL ? (size_t)issuers->nelts : 0, q->identifier, q->base};
    mercure_str text = mercure_str_of(token);
    token_cache *cache = child_tokens();
    int64_t now = time(NULL);
    bool digested =
        text.len <= MERCURE_MAX_TOKEN && cache != NULL && token_cache_digest(text, &trust, role, credentials->digest);
    mercure_status status;

    if (digested && (credentials->grants = token_cache_find(cache, credentials->digest, now)) != NULL) {
        return MERCURE_OK;
    }
    status = mercure_token_verify(text, &trust, role, now, &credentials->grants, err);
    if (status == MERCURE_OK && digested) {
        token_cache_add(cache, credentials->digest, credentials->grants);
    }
    return status;
}

int auth_credentials(const hub_request *q, unsigned role, hub_credentials *credentials, bool *answered)
{
    const char *token;
    mercure_error err;

    memset(credentials, 0, sizeof(*credentials));
    *answered = true;
    token = find_token(q, &credentials->by_cookie);
    if (token == NULL) {
        *answered = false;
        return OK;
    }
    if (!credentials->by_cookie && !is_token(token)) {
        return answer_challenge(q, HTTP_BAD_REQUEST, "invalid_request",
                                "the Authorization header holds no well-formed Bearer token");
    }
    switch (verify(q, token, role, credentials, &err)) {
    case MERCURE_OK:
        apr_pool_cleanup_register(q->r->pool, credentials->grants, release_grants, apr_pool_cleanup_null);
        *answered = false;
        return OK;
    case MERCURE_SYSTEM:
        return answer_retry(q, HTTP_SERVICE_UNAVAILABLE, 5, err.reason);
    default:
        return answer_challenge(q, HTTP_UNAUTHORIZED, "invalid_token", err.reason);
    }
}

/* The origin of a Referer, or NULL. */
static const char *origin_of_referer(apr_pool_t *pool, const char *referer)
{
    const char *host = strstr(referer, "://"), *end;

    if (host == NULL) {
        return NULL;
    }
    end = host + 3 + strcspn(host + 3, "/?#");
    return config_canonical_origin(pool, apr_pstrmemdup(pool, referer, (apr_size_t)(end - referer)));
}

int auth_check_origin(const hub_request *q, bool *answered)
{
    const char *header = apr_table_get(q->r->headers_in, "Origin");
    const char *referer = apr_table_get(q->r->headers_in, "Referer");
    const apr_array_header_t *allowed = q->dir->publish_origins;
    const char *origin = NULL;
    int i;

    *answered = false;
    if (header != NULL) {
        origin = config_canonical_origin(q->r->pool, header); /* "null" is no origin that can be allowed */
    } else if (referer != NULL) {
        origin = origin_of_referer(q->r->pool, referer);
    }
    if (origin != NULL && strcmp(origin, q->origin) == 0) {
        return OK;
    }
    for (i = 0; origin != NULL && allowed != NULL && i < allowed->nelts; i++) {
        if (strcmp(origin, APR_ARRAY_IDX(allowed, i, const char *)) == 0) {
            return OK;
        }
    }
    *answered = true;
    return answer_challenge(
        q, HTTP_BAD_REQUEST, "invalid_request",
        header == NULL && referer == NULL
            ? "a publication with a cookie has neither Origin nor Referer"
            : "a publication with a cookie comes from an origin that MercurePublishOrigins does not list");
}
