/* token.c - see token.h. The order of the checks: form, header, issuer and key, signature, then the claims. */
#include "mercure/token.h"
#include "mercure/limits.h"

#include <jansson.h>
#include <stdlib.h>
#include <strings.h>

#include "base64url.h"
#include "key.h"

#define LEEWAY_SECONDS 30 /* for `nbf`; `exp` has none: no stream outlives it */

/* The three parts of a JWS in compact form (RFC 7515, 3.1), still encoded. */
typedef struct {
    mercure_str header, payload, signature;
    mercure_str signed_part; /* header and payload with the dot between */
} jws;

static bool split(mercure_str token, jws *parts)
{
    const char *end = token.data + token.len;
    const char *dot = memchr(token.data, '.', token.len);
    const char *second = dot != NULL ? memchr(dot + 1, '.', (size_t)(end - dot - 1)) : NULL;

    if (second == NULL || memchr(second + 1, '.', (size_t)(end - second - 1)) != NULL) {
        return false;
    }
    parts->header = (mercure_str){token.data, (size_t)(dot - token.data)};
    parts->payload = (mercure_str){dot + 1, (size_t)(second - dot - 1)};
    parts->signature = (mercure_str){second + 1, (size_t)(end - second - 1)};
    parts->signed_part = (mercure_str){token.data, (size_t)(second - token.data)};
    return true;
}

/* One part as a JSON object, to be released with json_decref(); NULL when it is none. */
static json_t *decode_json(mercure_str part)
{
    unsigned char *raw = malloc(part.len + 1);
    json_t *json = NULL;
    size_t len;

    if (raw != NULL && base64url_decode(part, raw, &len)) {
        json = json_loadb((const char *)raw, len, JSON_REJECT_DUPLICATES, NULL);
    }
    free(raw);
    if (json != NULL && !json_is_object(json)) {
        json_decref(json);
        json = NULL;
    }
    return json;
}

/* A string of the token for a log line: short, and harmless there. */
typedef struct {
    char text[64];
} quoted;

static quoted quote(const json_t *string)
{
    const char *value = json_is_string(string) ? json_string_value(string) : "(none)";
    quoted out;
    size_t i;

    for (i = 0; i < sizeof(out.text) - 1 && value[i] != '\0'; i++) {
        out.text[i] = value[i] >= 0x20 && value[i] < 0x7F ? value[i] : '?';
    }
    out.text[i] = '\0';
    return out;
}

static mercure_status check_header(json_t *header, mercure_algorithm *algorithm, mercure_error *err)
{
    const json_t *alg = json_object_get(header, "alg");

    if (!json_is_string(alg) ||
        !key_algorithm((mercure_str){json_string_value(alg), json_string_length(alg)}, algorithm)) {
        return mercure_fail(err, MERCURE_INVALID, "the token's alg is %s, which is not supported", quote(alg).text);
    }
    if (json_object_get(header, "crit") != NULL) {
        return mercure_fail(err, MERCURE_INVALID, "the token's header has critical extensions (crit)");
    }
    return MERCURE_OK;
}

/* RFC 9068, 2.1: the type in any case, with or without "application/". */
bool mercure_token_is_access(const json_t *header)
{
    const json_t *typ = json_object_get(header, "typ");
    const char *type = json_is_string(typ) ? json_string_value(typ) : "";

    if (strncasecmp(type, "application/", 12) == 0) {
        type += 12;
    }
    return strcasecmp(type, "at+jwt") == 0;
}

static bool is_string(const json_t *json, const char *text)
{
    return json_is_string(json) &&
           mercure_str_is((mercure_str){json_string_value(json), json_string_length(json)}, text);
}

/* `kid` is a hint: one that is no string gives none. */
static mercure_str kid_of(const json_t *header)
{
    const json_t *kid = json_object_get(header, "kid");

    return json_is_string(kid) ? (mercure_str){json_string_value(kid), json_string_length(kid)} : (mercure_str){"", 0};
}

static key_verdict try_issuer(const mercure_issuer *issuer, mercure_str kid, mercure_algorithm algorithm,
                              mercure_str signed_part, mercure_str signature)
{
    if (issuer->key == NULL) {
        return KEY_LACKING;
    }
    if (issuer->key->set != NULL) {
        return key_set_verify(issuer->key->set, kid, algorithm, signed_part, signature);
    }
    return key_verify(issuer->key, algorithm, signed_part, signature) ? KEY_GOOD : KEY_BAD;
}

static bool is_issuer(const mercure_issuer *issuer, const json_t *iss, bool legacy)
{
    return strcmp(issuer->iss, "*") == 0 ? legacy : is_string(iss, issuer->iss);
}

/* Find an issuer of this name, for this role and algorithm, whose key verifies the signature. */
static mercure_status check_signature(const jws *parts, const json_t *header, const json_t *iss,
                                      mercure_algorithm algorithm, bool legacy, const mercure_trust *trust,
                                      unsigned role, mercure_error *err)
{
    unsigned char *signature = malloc(parts->signature.len + 1);
    bool known = false, allowed = false, good = false, lacking = false;
    mercure_str kid = kid_of(header);
    size_t len = 0, i;

    if (signature == NULL) {
        return mercure_fail(err, MERCURE_SYSTEM, "no memory to verify a token");
    }
    if (!base64url_decode(parts->signature, signature, &len) || len == 0) {
        free(signature);
        return mercure_fail(err, MERCURE_INVALID, "the token's signature is not base64url");
    }
    for (i = 0; i < trust->issuer_count && !good; i++) {
        const mercure_issuer *issuer = &trust->issuers[i];
        key_verdict verdict;
        if (!is_issuer(issuer, iss, legacy) || !(issuer->roles & role)) {
            continue;
        }
        known = true;
        if (!(issuer->algorithms & MERCURE_ALGORITHM_BIT(algorithm))) {
            continue;
        }
        allowed = true;
        verdict = try_issuer(issuer, kid, algorithm, parts->signed_part, (mercure_str){(char *)signature, len});
        good = verdict == KEY_GOOD;
        lacking = lacking || verdict == KEY_LACKING;
    }
    free(signature);
    if (good) {
        return MERCURE_OK;
    }
    if (!known) {
        return mercure_fail(err, MERCURE_INVALID, "the token's iss is %s: no MercureIssuer of that name for a %s",
                            quote(iss).text, role == MERCURE_ROLE_PUBLISHER ? "publisher" : "subscriber");
    }
    if (!allowed) {
        return mercure_fail(err, MERCURE_INVALID, "the token's alg is not among those of MercureIssuer %s",
                            quote(iss).text);
    }
    if (lacking) {
        return mercure_fail(
            err, MERCURE_NOT_FOUND,
            "the token's key is not in the key set of MercureIssuer %s, or the set has not been fetched",
            quote(iss).text);
    }
    return mercure_fail(err, MERCURE_INVALID, "the token's signature does not verify with any key of MercureIssuer %s",
                        quote(iss).text);
}

static bool audience_holds(const json_t *aud, const char *wanted)
{
    const json_t *one;
    size_t i;

    if (json_is_string(aud)) {
        return mercure_str_is((mercure_str){json_string_value(aud), json_string_length(aud)}, wanted);
    }
    json_array_foreach(aud, i, one)
    {
        if (json_is_string(one) &&
            mercure_str_is((mercure_str){json_string_value(one), json_string_length(one)}, wanted)) {
            return true;
        }
    }
    return false;
}

static mercure_status check_times(json_t *claims, int64_t now, int64_t *expires, mercure_error *err)
{
    const json_t *exp = json_object_get(claims, "exp"), *nbf = json_object_get(claims, "nbf");
    const double latest = 253402300799.0; /* the end of the year 9999 */

    *expires = INT64_MAX;
    if (exp != NULL) {
        if (!json_is_number(exp)) {
            return mercure_fail(err, MERCURE_INVALID, "the token has no exp");
        }
        if (json_number_value(exp) <= (double)now) {
            return mercure_fail(err, MERCURE_INVALID, "the token has expired");
        }
        *expires = (int64_t)(json_number_value(exp) < latest ? json_number_value(exp) : latest);
    }
    if (nbf != NULL && (!json_is_number(nbf) || json_number_value(nbf) > (double)(now + LEEWAY_SECONDS))) {
        return mercure_fail(err, MERCURE_INVALID, "the token is not valid yet (nbf)");
    }
    return MERCURE_OK;
}

/* What RFC 9068 demands of an access token beyond its times. */
static mercure_status check_demands(json_t *claims, const mercure_trust *trust, mercure_error *err)
{
    if (!audience_holds(json_object_get(claims, "aud"), trust->audience)) {
        return mercure_fail(err, MERCURE_INVALID, "the token's aud does not hold this hub's resource identifier %.120s",
                            trust->audience);
    }
    if (json_object_get(claims, "exp") == NULL) {
        return mercure_fail(err, MERCURE_INVALID, "the token has no exp");
    }
    return MERCURE_OK;
}

static mercure_status verify_parts(const jws *parts, json_t *header, json_t *claims, const mercure_trust *trust,
                                   unsigned role, int64_t now, mercure_grants **grants, mercure_error *err)
{
    bool legacy = !mercure_token_is_access(header);
    mercure_algorithm algorithm;
    mercure_status status;
    int64_t expires;

    if (header == NULL) {
        return mercure_fail(err, MERCURE_INVALID, "the token's header is not a JSON object");
    }
    if ((status = check_header(header, &algorithm, err)) != MERCURE_OK) {
        return status;
    }
    if (legacy && trust->dialects == 0) {
        return mercure_fail(err, MERCURE_INVALID, "the token's typ is %s: an access token's is at+jwt",
                            quote(json_object_get(header, "typ")).text);
    }
    if (claims == NULL) {
        return mercure_fail(err, MERCURE_INVALID, "the token's payload is not a JSON object");
    }
    status = check_signature(parts, header, json_object_get(claims, "iss"), algorithm, legacy, trust, role, err);
    if (status == MERCURE_OK && !legacy) {
        status = check_demands(claims, trust, err);
    }
    if (status == MERCURE_OK) {
        status = check_times(claims, now, &expires, err);
    }
    if (status != MERCURE_OK) {
        return status;
    }
    return legacy ? mercure_grants_make_legacy(claims, trust->dialects, expires, grants, err)
                  : mercure_grants_make(claims, trust->base, expires, grants, err);
}

static mercure_status split_checked(mercure_str token, jws *parts, mercure_error *err)
{
    if (token.len > MERCURE_MAX_TOKEN) {
        return mercure_fail(err, MERCURE_INVALID, "a token of %zu bytes, at most %d are allowed", token.len,
                            MERCURE_MAX_TOKEN);
    }
    if (!split(token, parts)) {
        return mercure_fail(err, MERCURE_INVALID, "the token is not a JWT: it has not three parts");
    }
    return MERCURE_OK;
}

mercure_status mercure_token_verify(mercure_str token, const mercure_trust *trust, unsigned role, int64_t now,
                                    mercure_grants **grants, mercure_error *err)
{
    json_t *header, *claims;
    jws parts;
    mercure_status status = split_checked(token, &parts, err);

    if (status != MERCURE_OK) {
        return status;
    }
    header = decode_json(parts.header);
    claims = decode_json(parts.payload);
    status = verify_parts(&parts, header, claims, trust, role, now, grants, err);
    json_decref(header);
    json_decref(claims);
    return status;
}

mercure_status mercure_token_decode(mercure_str token, json_t **header, json_t **claims, mercure_error *err)
{
    jws parts;
    mercure_status status = split_checked(token, &parts, err);

    if (status != MERCURE_OK) {
        return status;
    }
    *header = decode_json(parts.header);
    *claims = decode_json(parts.payload);
    if (*header != NULL && *claims != NULL) {
        return MERCURE_OK;
    }
    status = mercure_fail(err, MERCURE_INVALID, "the token's %s is not a JSON object",
                          *header == NULL ? "header" : "payload");
    json_decref(*header);
    json_decref(*claims);
    return status;
}

/* A token's payload, unverified; NULL when it has none. */
static json_t *claims_of(mercure_str token)
{
    jws parts;

    return token.len <= MERCURE_MAX_TOKEN && split(token, &parts) ? decode_json(parts.payload) : NULL;
}

bool mercure_token_claims_issuer(mercure_str token, const char *iss)
{
    json_t *claims = claims_of(token);
    bool same = strcmp(iss, "*") == 0 || is_string(json_object_get(claims, "iss"), iss);

    json_decref(claims);
    return same;
}

bool mercure_token_is_legacy(mercure_str token)
{
    json_t *claims = claims_of(token);
    bool legacy =
        json_object_get(claims, "mercure") != NULL || json_object_get(claims, "https://mercure.rocks/") != NULL;

    json_decref(claims);
    return legacy;
}
