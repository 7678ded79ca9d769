/* jwks.c - see jwks.h. One function for each kind of key (RFC 7518, 6.2 and 6.3; RFC 8037, 2). */
#include "mercure/jwks.h"

#include <jansson.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/sha.h>
#include <stdlib.h>

#include "base64url.h"
#include "key.h"

#define RSA_MOST_BITS 8192 /* larger ones cost a verification too much time */
#define NUMBER_MOST   (RSA_MOST_BITS / 8 + 1)

typedef struct {
    char *kid; /* NULL: none */
    size_t kid_len;
    unsigned algorithms; /* what it may verify */
    mercure_key *key;
} member;

struct key_set {
    size_t count, skipped;
    member members[];
};

/* --- one key --- */

/* A member of the JSON object as bytes; 0 when it is missing, empty, too long or not base64url. */
static size_t get_bytes(const json_t *jwk, const char *name, unsigned char *out, size_t most)
{
    const json_t *value = json_object_get(jwk, name);
    unsigned char raw[NUMBER_MOST * 2];
    size_t len = 0;

    if (!json_is_string(value) || json_string_length(value) > sizeof(raw) ||
        !base64url_decode((mercure_str){json_string_value(value), json_string_length(value)}, raw, &len) ||
        len > most) {
        return 0;
    }
    memcpy(out, raw, len);
    return len;
}

static EVP_PKEY *from_params(const char *type, OSSL_PARAM_BLD *builder)
{
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(builder);
    EVP_PKEY *key = NULL;

    if (context == NULL || params == NULL || EVP_PKEY_fromdata_init(context) != 1 ||
        EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, params) != 1) {
        key = NULL;
    }
    OSSL_PARAM_free(params);
    EVP_PKEY_CTX_free(context);
    return key;
}

/* An exponent that is even or 1 verifies anything, or nothing. */
static EVP_PKEY *make_rsa(const json_t *jwk)
{
    unsigned char n[NUMBER_MOST], e[NUMBER_MOST];
    size_t n_len = get_bytes(jwk, "n", n, sizeof(n)), e_len = get_bytes(jwk, "e", e, 8);
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    BIGNUM *modulus = BN_bin2bn(n, (int)n_len, NULL), *exponent = BN_bin2bn(e, (int)e_len, NULL);
    EVP_PKEY *key = NULL;

    if (n_len > 0 && e_len > 0 && builder != NULL && modulus != NULL && exponent != NULL && BN_is_odd(modulus) &&
        BN_num_bits(modulus) <= RSA_MOST_BITS && BN_is_odd(exponent) && !BN_is_one(exponent) &&
        OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, modulus) == 1 &&
        OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, exponent) == 1) {
        key = from_params("RSA", builder);
    }
    OSSL_PARAM_BLD_free(builder);
    BN_free(modulus);
    BN_free(exponent);
    return key;
}

/* OpenSSL sees to it that the point is on the curve. */
static EVP_PKEY *make_ec(const json_t *jwk, const char *crv)
{
    static const struct {
        const char *crv, *group;
        size_t size; /* of a coordinate, leading zeros included */
    } curves[] = {{"P-256", "prime256v1", 32}, {"P-384", "secp384r1", 48}, {"P-521", "secp521r1", 66}};
    unsigned char point[1 + 2 * 66] = {4}; /* uncompressed (SEC 1, 2.3.3) */
    OSSL_PARAM_BLD *builder;
    EVP_PKEY *key = NULL;
    size_t i, size;

    for (i = 0; i < sizeof(curves) / sizeof(curves[0]) && strcmp(curves[i].crv, crv) != 0; i++) {
    }
    if (i == sizeof(curves) / sizeof(curves[0])) {
        return NULL;
    }
    size = curves[i].size;
    if (get_bytes(jwk, "x", point + 1, size) != size || get_bytes(jwk, "y", point + 1 + size, size) != size) {
        return NULL;
    }
    builder = OSSL_PARAM_BLD_new();
    if (builder != NULL &&
        OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, curves[i].group, 0) == 1 &&
        OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, point, 1 + 2 * size) == 1) {
        key = from_params("EC", builder);
    }
    OSSL_PARAM_BLD_free(builder);
    return key;
}

static EVP_PKEY *make_okp(const json_t *jwk, const char *crv)
{
    unsigned char x[32];

    if (strcmp(crv, "Ed25519") != 0 || get_bytes(jwk, "x", x, sizeof(x)) != sizeof(x)) {
        return NULL;
    }
    return EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, x, sizeof(x));
}

static const char *text_of(const json_t *jwk, const char *name)
{
    const json_t *value = json_object_get(jwk, name);

    return json_is_string(value) ? json_string_value(value) : "";
}

static bool is_for_verifying(const json_t *jwk)
{
    const json_t *use = json_object_get(jwk, "use"), *operations = json_object_get(jwk, "key_ops"), *one;
    size_t i;

    if (use != NULL && strcmp(text_of(jwk, "use"), "sig") != 0) {
        return false;
    }
    if (operations == NULL) {
        return true;
    }
    json_array_foreach(operations, i, one)
    {
        if (json_is_string(one) && strcmp(json_string_value(one), "verify") == 0) {
            return true;
        }
    }
    return false;
}

/* What the JWK's own `alg` leaves of `algorithms`. */
static unsigned narrowed(const json_t *jwk, unsigned algorithms)
{
    const json_t *alg = json_object_get(jwk, "alg");
    mercure_algorithm only;

    if (alg == NULL) {
        return algorithms;
    }
    if (!json_is_string(alg) || !key_algorithm((mercure_str){json_string_value(alg), json_string_length(alg)}, &only)) {
        return 0;
    }
    return algorithms & MERCURE_ALGORITHM_BIT(only);
}

static EVP_PKEY *make_public_key(const json_t *jwk)
{
    const char *kty = text_of(jwk, "kty"), *crv = text_of(jwk, "crv");

    if (strcmp(kty, "RSA") == 0) {
        return make_rsa(jwk);
    }
    if (strcmp(kty, "EC") == 0) {
        return make_ec(jwk, crv);
    }
    return strcmp(kty, "OKP") == 0 ? make_okp(jwk, crv) : NULL;
}

/* Take a JWK into the set. False when it is skipped, for want of memory as well: then a later set may have it. */
static bool take(const json_t *jwk, member *m)
{
    const json_t *kid = json_object_get(jwk, "kid");
    EVP_PKEY *public_key;

    if (!json_is_object(jwk) || !is_for_verifying(jwk) || json_object_get(jwk, "d") != NULL ||
        (public_key = make_public_key(jwk)) == NULL) {
        return false;
    }
    m->algorithms = narrowed(jwk, key_algorithms(public_key));
    m->key = calloc(1, sizeof(*m->key));
    if (json_is_string(kid)) {
        m->kid = strdup(json_string_value(kid));
        m->kid_len = json_string_length(kid);
    }
    if (m->algorithms == 0 || m->key == NULL || (json_is_string(kid) && m->kid == NULL)) {
        EVP_PKEY_free(public_key);
        free(m->key);
        free(m->kid);
        *m = (member){NULL, 0, 0, NULL};
        return false;
    }
    m->key->references = 1;
    m->key->public_key = public_key;
    return true;
}

/* --- the set --- */

void key_set_free(struct key_set *set)
{
    size_t i;

    if (set == NULL) {
        return;
    }
    for (i = 0; i < set->count; i++) {
        mercure_key_free(set->members[i].key);
        free(set->members[i].kid);
    }
    free(set);
}

static mercure_status fill(const json_t *keys, mercure_key **result, mercure_error *err)
{
    mercure_key *key = calloc(1, sizeof(*key));
    struct key_set *set = calloc(1, sizeof(*set) + json_array_size(keys) * sizeof(member));
    const json_t *jwk;
    size_t i;

    if (key == NULL || set == NULL) {
        free(key);
        free(set);
        return mercure_fail(err, MERCURE_SYSTEM, "no memory for a key set");
    }
    json_array_foreach(keys, i, jwk)
    {
        if (take(jwk, &set->members[set->count])) {
            set->count++;
        }
    }
    ERR_clear_error();
    set->skipped = json_array_size(keys) - set->count;
    if (set->count == 0) {
        mercure_fail(err, MERCURE_INVALID,
                     "none of the %zu keys of the set can be used: RSA of 2048 bits or more, EC P-256, P-384 or P-521, "
                     "and Ed25519 can, for signatures, without private parts",
                     json_array_size(keys));
        free(key);
        free(set);
        return MERCURE_INVALID;
    }
    key->references = 1;
    key->set = set;
    *result = key;
    return MERCURE_OK;
}

mercure_status mercure_jwks_parse(mercure_str bytes, mercure_key **set, mercure_error *err)
{
    const json_t *keys;
    mercure_status status;
    json_t *json;

    if (bytes.len > MERCURE_JWKS_MAX_BYTES) {
        return mercure_fail(err, MERCURE_LIMIT, "a key set has more than %d bytes", MERCURE_JWKS_MAX_BYTES);
    }
    json = json_loadb(bytes.data, bytes.len, JSON_REJECT_DUPLICATES, NULL);
    keys = json_object_get(json, "keys");
    if (!json_is_array(keys)) {
        status = mercure_fail(err, MERCURE_INVALID, "this is no JWK Set: a JSON object with an array \"keys\"");
    } else if (json_array_size(keys) > MERCURE_JWKS_MAX_KEYS) {
        status = mercure_fail(err, MERCURE_LIMIT, "a key set has %zu keys, at most %d are taken", json_array_size(keys),
                              MERCURE_JWKS_MAX_KEYS);
    } else {
        status = fill(keys, set, err);
    }
    json_decref(json);
    if (status == MERCURE_OK) {
        SHA256((const unsigned char *)bytes.data, bytes.len, (*set)->fingerprint);
    }
    return status;
}

size_t mercure_jwks_count(const mercure_key *set)
{
    return set->set != NULL ? set->set->count : 0;
}

size_t mercure_jwks_skipped(const mercure_key *set)
{
    return set->set != NULL ? set->set->skipped : 0;
}

mercure_status mercure_jwks_check_algorithms(unsigned algorithms, mercure_error *err)
{
    if (algorithms & (MERCURE_ALGORITHM_BIT(MERCURE_HS256) | MERCURE_ALGORITHM_BIT(MERCURE_HS384) |
                      MERCURE_ALGORITHM_BIT(MERCURE_HS512))) {
        return mercure_fail(err, MERCURE_INVALID,
                            "HS* does not go with a key set, which is public: name RS*, PS*, ES* or EdDSA");
    }
    return MERCURE_OK;
}

static bool has_kid(const member *m, mercure_str kid)
{
    return m->kid != NULL && mercure_str_equal((mercure_str){m->kid, m->kid_len}, kid);
}

key_verdict key_set_verify(const struct key_set *set, mercure_str kid, mercure_algorithm algorithm,
                           mercure_str signed_part, mercure_str signature)
{
    bool named = false;
    size_t i;

    for (i = 0; i < set->count && kid.len > 0 && !named; i++) {
        named = has_kid(&set->members[i], kid);
    }
    for (i = 0; i < set->count; i++) {
        const member *m = &set->members[i];
        if (!(m->algorithms & MERCURE_ALGORITHM_BIT(algorithm)) || (named && !has_kid(m, kid)) ||
            (!named && kid.len > 0 && m->kid != NULL)) {
            continue;
        }
        if (key_verify(m->key, algorithm, signed_part, signature)) {
            return KEY_GOOD;
        }
    }
    return named ? KEY_BAD : KEY_LACKING;
}
