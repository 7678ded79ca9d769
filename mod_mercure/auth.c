/* auth.c - which token a request carries, and whether it is good. PROTOCOL 5. */
#include "hub_request.h"

#include <apr_lib.h>
#include <apr_strings.h>
#include <http_log.h>
#include <http_protocol.h>
#include <openssl/sha.h>
#include <time.h>
#include <util_cookies.h>

#include "child.h"
#include "conceal.h"

#include "mercure/limits.h"

APLOG_USE_MODULE(mercure);

#define LEGACY_COOKIE "mercureAuthorization"

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

static const char *cookie_of(const hub_request *q, const char *name)
{
    const char *cookie = NULL;

    return ap_cookie_read(q->r, name, &cookie, 0) == APR_SUCCESS ? cookie : NULL;
}

/* Is the Authorization header spoken for? A visitor whom httpd has let in with it (mod_auth_basic) has no second one.
 */
static bool header_is_httpds(const request_rec *r)
{
    return r->user != NULL && r->ap_auth_type != NULL;
}

/* The header first; then, in the older dialects, the query; then a cookie. */
static const char *find_token(const hub_request *q, bool *by_cookie)
{
    const char *header = apr_table_get(q->r->headers_in, "Authorization"), *cookie;
    unsigned dialects = config_dialects(q->dir);

    *by_cookie = false;
    if (header != NULL && (bearer_of(header) != NULL || !header_is_httpds(q->r))) {
        return bearer_of(header); /* whatever cookie there is, it is ignored */
    }
    if ((dialects & MERCURE_DIALECT_8) && conceal_query_token(q->r) != NULL) {
        return conceal_query_token(q->r);
    }
    cookie = cookie_of(q, config_cookie_name(q->dir));
    if (cookie == NULL && dialects != 0) {
        cookie = cookie_of(q, LEGACY_COOKIE);
    }
    *by_cookie = cookie != NULL;
    return cookie;
}

/* No token was found: is there one where an older dialect has it? */
static void hint_at_older_ways(const hub_request *q)
{
    unsigned dialects = config_dialects(q->dir);

    if (!(dialects & MERCURE_DIALECT_8) && conceal_query_token(q->r) != NULL) {
        answer_hint(q, "a token in the query is one of protocol 0.x");
    } else if (dialects == 0 && cookie_of(q, LEGACY_COOKIE) != NULL) {
        answer_hint(q, "a token in the cookie " LEGACY_COOKIE " is one of protocol 0.x");
    }
}

static apr_status_t release_grants(void *grants)
{
    mercure_grants_release(grants);
    return APR_SUCCESS;
}

static apr_status_t free_key(void *key)
{
    mercure_key_free(key);
    return APR_SUCCESS;
}

/* The issuers with their keys as they are now; key sets are held until the request's end. */
static mercure_issuer *issuers_now(const hub_request *q, streamer *st, size_t *count)
{
    const apr_array_header_t *configured = q->dir->issuers;
    mercure_issuer *issuers;
    size_t i;

    *count = configured != NULL ? (size_t)configured->nelts : 0;
    issuers = apr_palloc(q->r->pool, (*count + 1) * sizeof(*issuers));
    for (i = 0; i < *count; i++) {
        const config_issuer *one = &APR_ARRAY_IDX(configured, i, config_issuer);
        issuers[i] = one->trusted;
        if (one->source != NULL) {
            mercure_key *set = key_sets_find(child_key_sets(), st, one->source);
            if (set != NULL) {
                apr_pool_cleanup_register(q->r->pool, set, free_key, apr_pool_cleanup_null);
            }
            issuers[i].key = set;
        }
    }
    return issuers;
}

static mercure_status verify_now(mercure_str token, const mercure_trust *trust, unsigned role,
                                 hub_credentials *credentials, mercure_error *err)
{
    token_cache *cache = child_tokens();
    int64_t now = time(NULL);
    bool digested =
        token.len <= MERCURE_MAX_TOKEN && cache != NULL && token_cache_digest(token, trust, role, credentials->digest);
    mercure_status status;

    if (digested && (credentials->grants = token_cache_find(cache, credentials->digest, now)) != NULL) {
        return MERCURE_OK;
    }
    status = mercure_token_verify(token, trust, role, now, &credentials->grants, err);
    if (status == MERCURE_OK && digested) {
        token_cache_add(cache, credentials->digest, credentials->grants);
    }
    return status;
}

/* Ask for newer key sets of the issuer that the token claims. True when there may be one. */
static bool refresh(const hub_request *q, streamer *st, mercure_str token, unsigned role)
{
    const apr_array_header_t *configured = q->dir->issuers;
    bool refreshed = false;
    int i;

    for (i = 0; st != NULL && i < configured->nelts; i++) {
        const config_issuer *one = &APR_ARRAY_IDX(configured, i, config_issuer);
        if (one->source != NULL && (one->trusted.roles & role) &&
            mercure_token_claims_issuer(token, one->trusted.iss)) {
            refreshed = key_sets_refresh(child_key_sets(), st, one->source) || refreshed;
        }
    }
    return refreshed;
}

static bool any_set_missing(const mercure_trust *trust, mercure_str token, unsigned role)
{
    size_t i;

    for (i = 0; i < trust->issuer_count; i++) {
        if (trust->issuers[i].key == NULL && (trust->issuers[i].roles & role) &&
            mercure_token_claims_issuer(token, trust->issuers[i].iss)) {
            return true;
        }
    }
    return false;
}

/* Returns what mercure_token_verify() does, with MERCURE_NOT_FOUND only when no key set of the issuer is there. */
static mercure_status verify(const hub_request *q, const char *text, unsigned role, hub_credentials *credentials,
                             mercure_error *err)
{
    mercure_str token = mercure_str_of(text);
    streamer *st = NULL;
    mercure_trust trust = {.audience = q->identifier, .base = q->base, .dialects = config_dialects(q->dir)};
    mercure_status status;
    int i;

    for (i = 0; q->dir->issuers != NULL && i < q->dir->issuers->nelts && st == NULL; i++) {
        if (APR_ARRAY_IDX(q->dir->issuers, i, config_issuer).source != NULL) {
            st = child_streamer(q->r->server, err); /* without it a set is used as it is */
        }
    }
    trust.issuers = issuers_now(q, st, &trust.issuer_count);
    status = verify_now(token, &trust, role, credentials, err);
    if (status == MERCURE_NOT_FOUND && refresh(q, st, token, role)) {
        trust.issuers = issuers_now(q, st, &trust.issuer_count);
        status = verify_now(token, &trust, role, credentials, err);
    }
    return status == MERCURE_NOT_FOUND && !any_set_missing(&trust, token, role) ? MERCURE_INVALID : status;
}

int auth_credentials(const hub_request *q, unsigned role, hub_credentials *credentials, bool *answered)
{
    const char *token;
    mercure_error err;

    memset(credentials, 0, sizeof(*credentials));
    *answered = true;
    token = find_token(q, &credentials->by_cookie);
    if (token == NULL) {
        hint_at_older_ways(q);
        *answered = false;
        return OK;
    }
    if (!credentials->by_cookie && !is_token(token)) {
        return answer_challenge(q, HTTP_BAD_REQUEST, "invalid_request",
                                "the request presents no well-formed Bearer token");
    }
    SHA256((const unsigned char *)token, strlen(token), credentials->token_id);
    switch (verify(q, token, role, credentials, &err)) {
    case MERCURE_OK:
        apr_pool_cleanup_register(q->r->pool, credentials->grants, release_grants, apr_pool_cleanup_null);
        *answered = false;
        return OK;
    case MERCURE_SYSTEM:
    case MERCURE_NOT_FOUND: /* the token may be good: the provider's keys are not here yet */
        return answer_retry(q, HTTP_SERVICE_UNAVAILABLE, 5, err.reason);
    default:
        if (config_dialects(q->dir) == 0 && mercure_token_is_legacy(mercure_str_of(token))) {
            answer_hint(q, "a token with a mercure claim is one of protocol 0.x");
        }
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

    *answered = false;
    if (header != NULL) {
        origin = config_canonical_origin(q->r->pool, header); /* "null" is no origin that can be allowed */
    } else if (referer != NULL) {
        origin = origin_of_referer(q->r->pool, referer);
    }
    if (origin != NULL &&
        (strcmp(origin, q->origin) == 0 || (allowed != NULL && ap_array_str_contains(allowed, origin)))) {
        return OK;
    }
    *answered = true;
    return answer_challenge(
        q, HTTP_BAD_REQUEST, "invalid_request",
        header == NULL && referer == NULL
            ? "a publication with a cookie has neither Origin nor Referer"
            : "a publication with a cookie comes from an origin that MercurePublishOrigins does not list");
}
