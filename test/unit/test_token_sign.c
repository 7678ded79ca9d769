/* test_token_sign.c - making tokens: what is signed verifies with the public half alone, and what cannot sign says so.
 */
#include "mercure/token_sign.h"
#include "mercure/limits.h"

#include "../../lib/base64url.h"
#include "token_maker.h"

#define NOW      INT64_C(1700000000)
#define ISS      "https://issuer.example"
#define AUDIENCE "https://hub.example/.well-known/mercure"
#define SECRET   "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" /* 64 bytes */

static apr_pool_t *pool;
static mercure_error err;
static EVP_PKEY *rsa, *rsa_short, *p256, *p384, *p521, *ed25519;

static EVP_PKEY *private_key_for(const maker_algorithm *algorithm)
{
    switch (algorithm->kind) {
    case 'H':
        return NULL;
    case 'E':
        return algorithm->half == 32 ? p256 : algorithm->half == 48 ? p384 : p521;
    case 'D':
        return ed25519;
    default:
        return rsa;
    }
}

static char *private_pem(EVP_PKEY *key, const char *passphrase)
{
    BIO *bio = BIO_new(BIO_s_mem());

    assert_int_equal(PEM_write_bio_PKCS8PrivateKey(bio, key, passphrase != NULL ? EVP_aes_128_cbc() : NULL, passphrase,
                                                   passphrase != NULL ? (int)strlen(passphrase) : 0, NULL, NULL),
                     1);
    return maker_text(bio);
}

static mercure_status make(const char *text, const char *algorithm, mercure_signing_key **key)
{
    char *copy = unit_exact(mercure_str_of(text)), *name = unit_exact(mercure_str_of(algorithm));
    mercure_status status;

    *key = NULL;
    err.reason[0] = '\0';
    status =
        mercure_signing_key_make((mercure_str){copy, strlen(text)}, (mercure_str){name, strlen(algorithm)}, key, &err);
    free(copy);
    free(name);
    return status;
}

static mercure_signing_key *key_for(const maker_algorithm *algorithm)
{
    EVP_PKEY *private_key = private_key_for(algorithm);
    char *pem = private_key != NULL ? private_pem(private_key, NULL) : NULL;
    mercure_signing_key *key;

    if (make(pem != NULL ? pem : SECRET, algorithm->name, &key) != MERCURE_OK) {
        fail_msg("%s: %s", algorithm->name, err.reason);
    }
    free(pem);
    return key;
}

/* A key made of what a hub is given: the secret, or the public PEM. */
static mercure_key *hubs_key_for(size_t algorithm)
{
    EVP_PKEY *private_key = private_key_for(&maker_algorithms[algorithm]);
    char *pem = private_key != NULL ? maker_public_pem(private_key) : NULL;
    mercure_key *key = NULL;

    assert_int_equal(
        mercure_key_make(mercure_str_of(pem != NULL ? pem : SECRET), MERCURE_ALGORITHM_BIT(algorithm), &key, &err),
        MERCURE_OK);
    free(pem);
    return key;
}

static json_t *good_claims(void)
{
    return json_pack("{s:s, s:s, s:i, s:[{s:s, s:[s], s:[{s:s}]}]}", "iss", ISS, "aud", AUDIENCE, "exp",
                     (int)(NOW + 60), "authorization_details", "type", "https://mercure.rocks/authorization-detail",
                     "actions", "publish", "topics", "match", "a topic");
}

static char *signed_by(const mercure_signing_key *key, const char *typ, const char *kid)
{
    json_t *claims = good_claims();
    char *token = NULL;

    assert_int_equal(mercure_token_sign(key, typ, kid, claims, &token, &err), MERCURE_OK);
    json_decref(claims);
    return token;
}

static mercure_status verify(const char *token, const mercure_key *key, size_t algorithm)
{
    mercure_issuer issuer = {ISS, MERCURE_ROLE_PUBLISHER, MERCURE_ALGORITHM_BIT(algorithm), key};
    mercure_trust trust = {&issuer, 1, AUDIENCE, NULL, 0};
    mercure_grants *grants = NULL;
    mercure_topic topic = mercure_topic_of(pool, S("a topic")), other = mercure_topic_of(pool, S("another"));
    mercure_status status =
        mercure_token_verify(mercure_str_of(token), &trust, MERCURE_ROLE_PUBLISHER, NOW, &grants, &err);

    if (status == MERCURE_OK) {
        assert_true(mercure_grants_may_publish(grants, false, &topic, 1, NULL, 0));
        assert_false(mercure_grants_may_publish(grants, false, &other, 1, NULL, 0));
        assert_int_equal(mercure_grants_expires(grants), NOW + 60);
    }
    mercure_grants_release(grants);
    return status;
}

static void every_algorithm_signs_what_the_hubs_key_verifies(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(maker_algorithms); i++) {
        mercure_signing_key *key = key_for(&maker_algorithms[i]);
        mercure_key *hubs = hubs_key_for(i), *verifier;
        char *token = signed_by(key, "at+jwt", NULL);
        assert_int_equal(mercure_signing_key_algorithm(key), i);
        assert_int_equal(mercure_signing_key_verifier(key, &verifier, &err), MERCURE_OK);
        for (int round = 0; round < 20; round++) { /* r or s begins with a zero byte now and then */
            if (verify(token, hubs, i) != MERCURE_OK || verify(token, verifier, i) != MERCURE_OK) {
                fail_msg("%s: %s", maker_algorithms[i].name, err.reason);
            }
            free(token);
            token = signed_by(key, "at+jwt", NULL);
        }
        token[strlen(token) / 2] ^= 1;
        assert_int_not_equal(verify(token, hubs, i), MERCURE_OK);
        free(token);
        mercure_key_free(verifier);
        mercure_key_free(hubs);
        mercure_signing_key_free(key);
    }
}

/* The tests' own signer is written against OpenSSL and the RFCs. Where a signature leaves no choice, both are the same.
 */
static void signatures_that_are_determined_are_those_of_another_signer(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(maker_algorithms); i++) {
        const maker_algorithm *algorithm = &maker_algorithms[i];
        maker_signer signer = {algorithm, S(SECRET), private_key_for(algorithm), RSA_PSS_SALTLEN_DIGEST, false};
        mercure_signing_key *key = key_for(algorithm);
        char *token = signed_by(key, "at+jwt", "a-key"), *body = strdup(token), *other;
        *strrchr(body, '.') = '\0';
        other = maker_finish(&signer, body);
        assert_int_equal(strlen(token), strlen(other));
        if (algorithm->kind == 'H' || algorithm->kind == 'R' || algorithm->kind == 'D') {
            assert_string_equal(token, other);
        }
        free(other);
        free(body);
        free(token);
        mercure_signing_key_free(key);
    }
}

static void the_header_says_the_algorithm_the_type_and_the_key(void **state)
{
    mercure_signing_key *key = key_for(&maker_algorithms[MERCURE_HS256]);
    char *with = signed_by(key, "at+jwt", "2026-é"), *without = signed_by(key, "JWT", NULL);
    json_t *header, *claims, *wanted = good_claims();

    (void)state;
    assert_int_equal(mercure_token_decode(mercure_str_of(with), &header, &claims, &err), MERCURE_OK);
    assert_string_equal(json_string_value(json_object_get(header, "alg")), "HS256");
    assert_string_equal(json_string_value(json_object_get(header, "typ")), "at+jwt");
    assert_string_equal(json_string_value(json_object_get(header, "kid")), "2026-é");
    assert_true(json_equal(claims, wanted));
    assert_true(mercure_token_is_access(header));
    json_decref(header);
    json_decref(claims);
    assert_int_equal(mercure_token_decode(mercure_str_of(without), &header, &claims, &err), MERCURE_OK);
    assert_int_equal(json_object_size(header), 2);
    assert_false(mercure_token_is_access(header));
    json_decref(header);
    json_decref(claims);
    json_decref(wanted);
    free(with);
    free(without);
    mercure_signing_key_free(key);
}

static void what_is_no_token_is_not_taken_apart(void **state)
{
    static const struct {
        const char *text, *reason;
    } cases[] = {{"", "three parts"},
                 {"a.b", "three parts"},
                 {"a.b.c.d", "three parts"},
                 {"!.e30.", "header is not a JSON object"},
                 {"e30.W10.", "payload is not a JSON object"}};
    json_t *header, *claims;

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_int_equal(mercure_token_decode(mercure_str_of(cases[i].text), &header, &claims, &err), MERCURE_INVALID);
        assert_non_null(strstr(err.reason, cases[i].reason));
    }
}

static void assert_refused(const char *text, const char *algorithm, const char *reason)
{
    mercure_signing_key *key;

    assert_int_equal(make(text, algorithm, &key), MERCURE_INVALID);
    assert_null(key);
    if (strstr(err.reason, reason) == NULL) {
        fail_msg("%s: the reason \"%s\" does not say \"%s\"", algorithm, err.reason, reason);
    }
}

static void keys_that_do_not_fit_are_refused(void **state)
{
    char *rsa_pem = private_pem(rsa, NULL), *short_pem = private_pem(rsa_short, NULL),
         *p256_pem = private_pem(p256, NULL);
    char *ed_pem = private_pem(ed25519, NULL), *public_pem = maker_public_pem(rsa),
         *locked = private_pem(rsa, "secret");
    char *certificate = maker_certificate_pem(p256, EVP_sha256());

    (void)state;
    assert_refused("0123456789abcdef0123456789abcde", "HS256", "too short for HS256: use at least 32 bytes");
    assert_refused(rsa_pem, "HS256", "a PEM file is not an HMAC secret");
    assert_refused(SECRET, "RS256", "a private key must be a PEM file");
    assert_refused("", "EdDSA", "a private key must be a PEM file");
    assert_refused(short_pem, "RS256", "an RSA key of 1024 bits is too short");
    assert_refused(rsa_pem, "ES256", "the private key is RSA, which does not fit ES256");
    assert_refused(p256_pem, "ES384", "the private key is EC on prime256v1, which does not fit ES384");
    assert_refused(p256_pem, "PS256", "the private key is EC on prime256v1, which does not fit PS256");
    assert_refused(ed_pem, "ES256", "the private key is ED25519, which does not fit ES256");
    assert_refused(public_pem, "RS256", "give the private key");
    assert_refused(certificate, "ES256", "give the private key");
    assert_refused(locked, "RS256", "the private key is encrypted");
    assert_refused("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "RS256",
                   "no private key that can");
    assert_refused(SECRET, "none", "none is not a signature algorithm");
    assert_refused(SECRET, "HS256,HS384", "one algorithm");
    assert_refused(SECRET, "", "is not a signature algorithm");
    free(rsa_pem);
    free(short_pem);
    free(p256_pem);
    free(ed_pem);
    free(public_pem);
    free(locked);
    free(certificate);
}

static void a_token_larger_than_a_hub_takes_is_not_made(void **state)
{
    mercure_signing_key *key = key_for(&maker_algorithms[MERCURE_HS256]);
    json_t *claims = good_claims();
    char *token = NULL, text[MERCURE_MAX_TOKEN + 1];

    (void)state;
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    json_object_set_new(claims, "much", json_string(text));
    assert_int_equal(mercure_token_sign(key, "at+jwt", NULL, claims, &token, &err), MERCURE_LIMIT);
    assert_null(token);
    text[MERCURE_MAX_TOKEN / 2] = '\0';
    json_object_set_new(claims, "much", json_string(text));
    assert_int_equal(mercure_token_sign(key, "at+jwt", NULL, claims, &token, &err), MERCURE_OK);
    free(token);
    assert_int_equal(mercure_token_sign(key, "at+jwt", "\xff", claims, &token, &err), MERCURE_INVALID);
    json_decref(claims);
    mercure_signing_key_free(key);
}

static void base64url_is_undone_by_its_decoder(void **state)
{
    unsigned char in[70], back[70 + 2];
    char out[BASE64URL_ROOM(70)];
    uint64_t seed = 7;

    (void)state;
    for (size_t len = 0; len <= sizeof(in); len++) {
        size_t encoded, decoded;
        for (size_t i = 0; i < len; i++) {
            in[i] = (unsigned char)unit_draw(&seed, 256);
        }
        encoded = base64url_encode(in, len, out);
        assert_int_equal(encoded, strlen(out));
        assert_int_equal(encoded, (len * 4 + 2) / 3);
        assert_true(base64url_decode((mercure_str){out, encoded}, back, &decoded));
        assert_int_equal(decoded, len);
        assert_memory_equal(in, back, len);
    }
    assert_int_equal(base64url_encode("\xfb\xff\xfe", 3, out), 4);
    assert_string_equal(out, "-__-");
}

static int set_up(void **state)
{
    (void)state;
    apr_initialize();
    rsa = EVP_RSA_gen(2048);
    rsa_short = EVP_RSA_gen(1024);
    p256 = EVP_EC_gen("P-256");
    p384 = EVP_EC_gen("P-384");
    p521 = EVP_EC_gen("P-521");
    ed25519 = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    return apr_pool_create(&pool, NULL) != APR_SUCCESS || rsa == NULL || ed25519 == NULL;
}

static int tear_down(void **state)
{
    EVP_PKEY *keys[] = {rsa, rsa_short, p256, p384, p521, ed25519};

    (void)state;
    for (size_t i = 0; i < COUNT(keys); i++) {
        EVP_PKEY_free(keys[i]);
    }
    apr_terminate();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_algorithm_signs_what_the_hubs_key_verifies),
        cmocka_unit_test(signatures_that_are_determined_are_those_of_another_signer),
        cmocka_unit_test(the_header_says_the_algorithm_the_type_and_the_key),
        cmocka_unit_test(what_is_no_token_is_not_taken_apart),
        cmocka_unit_test(keys_that_do_not_fit_are_refused),
        cmocka_unit_test(a_token_larger_than_a_hub_takes_is_not_made),
        cmocka_unit_test(base64url_is_undone_by_its_decoder),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
