/* test_token.c - keys and JWT access tokens: what is accepted, and above all what is not (PROTOCOL 5, RFC 8725). */
#include "mercure/limits.h"
#include "mercure/token.h"
#include "mercure/update.h"

#include "token_maker.h"

#define NOW      INT64_C(1700000000)
#define ISS      "https://issuer.example"
#define AUDIENCE "https://hub.example/.well-known/mercure"
#define DETAIL   "\"type\":\"https://mercure.rocks/authorization-detail\""
#define SECRET   "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" /* 64 bytes */

/* The claims every good token has, without the braces. */
#define GOOD_CLAIMS "\"iss\":\"" ISS "\",\"aud\":\"" AUDIENCE "\",\"exp\":1700000060"

static apr_pool_t *pool;
static mercure_error err;

/* ---- keys ---- */

static EVP_PKEY *rsa, *rsa_short, *p256, *p384, *p521, *ed25519, *ed448;

static EVP_PKEY *private_key_for(mercure_algorithm algorithm)
{
    switch (algorithm) {
    case MERCURE_ES256:
        return p256;
    case MERCURE_ES384:
        return p384;
    case MERCURE_ES512:
        return p521;
    case MERCURE_EDDSA:
        return ed25519;
    default:
        return algorithm >= MERCURE_RS256 ? rsa : NULL;
    }
}

static maker_signer signer_for(mercure_algorithm algorithm)
{
    return (maker_signer){&maker_algorithms[algorithm], S(SECRET), private_key_for(algorithm), RSA_PSS_SALTLEN_DIGEST,
                          false};
}

static mercure_status make_key(const char *text, unsigned set, mercure_key **key)
{
    char *copy = unit_exact(mercure_str_of(text));
    mercure_status status = mercure_key_make((mercure_str){copy, strlen(text)}, set, key, &err);

    free(copy);
    return status;
}

static mercure_key *key_for(mercure_algorithm algorithm)
{
    EVP_PKEY *private_key = private_key_for(algorithm);
    char *pem = private_key != NULL ? maker_public_pem(private_key) : NULL;
    mercure_key *key = NULL;

    if (make_key(pem != NULL ? pem : SECRET, MERCURE_ALGORITHM_BIT(algorithm), &key) != MERCURE_OK) {
        fail_msg("%s: %s", maker_algorithms[algorithm].name, err.reason);
    }
    free(pem);
    return key;
}

static void assert_key_refused(const char *text, unsigned set, const char *word)
{
    mercure_key *key = NULL;

    err.reason[0] = '\0';
    assert_int_equal(make_key(text, set, &key), MERCURE_INVALID);
    assert_null(key);
    if (strstr(err.reason, word) == NULL) {
        fail_msg("the reason \"%s\" does not say \"%s\"", err.reason, word);
    }
}

#define BIT(name) MERCURE_ALGORITHM_BIT(MERCURE_##name)

static void algorithm_names_are_parsed_as_a_set(void **state)
{
    unsigned set;

    (void)state;
    for (unsigned i = 0; i < MERCURE_ALGORITHMS; i++) {
        assert_int_equal(mercure_algorithms_parse(mercure_str_of(maker_algorithms[i].name), &set, NULL), MERCURE_OK);
        assert_int_equal(set, 1u << i);
    }
    assert_int_equal(mercure_algorithms_parse(S("ES256,EdDSA,HS512"), &set, NULL), MERCURE_OK);
    assert_int_equal(set, BIT(ES256) | BIT(EDDSA) | BIT(HS512));
    assert_int_equal(mercure_algorithms_parse(S("RS256,RS256"), &set, NULL), MERCURE_OK);
    assert_int_equal(set, BIT(RS256));
}

static void unknown_algorithm_names_are_refused(void **state)
{
    static const char *const bad[] = {"",       "none",   "NONE", "hs256", "HS256,", ",HS256", "HS256,,RS256",
                                      "HS256 ", "HS1024", "RS1",  "HS25",  "HS2567", "EDDSA",  "HS256,none",
                                      "*",      "ES256K"};
    unsigned set;

    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        if (mercure_algorithms_parse(mercure_str_of(bad[i]), &set, &err) != MERCURE_INVALID) {
            fail_msg("'%s' is accepted", bad[i]);
        }
    }
    mercure_algorithms_parse(S("RS256,foo"), &set, &err);
    assert_non_null(strstr(err.reason, "foo"));
}

static void a_secret_is_as_long_as_its_hash_at_least(void **state)
{
    static const struct {
        unsigned set;
        int least;
    } cases[] = {{BIT(HS256), 32},
                 {BIT(HS384), 48},
                 {BIT(HS512), 64},
                 {BIT(HS256) | BIT(HS384), 48},
                 {BIT(HS256) | BIT(HS512), 64}};

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char secret[65] = "";
        mercure_key *key = NULL;
        memset(secret, 's', (size_t)cases[i].least - 1);
        assert_key_refused(secret, cases[i].set, "too short");
        secret[cases[i].least - 1] = 's';
        assert_int_equal(make_key(secret, cases[i].set, &key), MERCURE_OK);
        mercure_key_free(key);
    }
    assert_key_refused("", BIT(HS256), "too short");
}

static void a_pem_file_is_no_secret(void **state)
{
    char *pem = maker_public_pem(rsa), *certificate = maker_certificate_pem(rsa, EVP_sha256()), *shifted = NULL;

    (void)state;
    assert_key_refused(pem, BIT(HS256), "PEM");
    assert_key_refused(certificate, BIT(HS256) | BIT(HS512), "PEM");
    assert_true(asprintf(&shifted, "\n # issuer\n%s", pem) > 0);
    assert_key_refused(shifted, BIT(HS384), "PEM");
    free(pem);
    free(certificate);
    free(shifted);
}

static void algorithms_of_two_kinds_do_not_share_a_key(void **state)
{
    char *pem = maker_public_pem(rsa), *ec = maker_public_pem(p256), *ed = maker_public_pem(ed25519);

    (void)state;
    assert_key_refused(pem, BIT(HS256) | BIT(RS256), "HS*");
    assert_key_refused(SECRET, BIT(HS256) | BIT(EDDSA), "HS*");
    assert_key_refused(pem, BIT(RS256) | BIT(ES256), "ES256");
    assert_key_refused(pem, BIT(PS256) | BIT(EDDSA), "EdDSA");
    assert_key_refused(ec, BIT(ES256) | BIT(EDDSA), "EdDSA");
    assert_key_refused(ec, BIT(RS256), "RS256");
    assert_key_refused(ec, BIT(PS384), "PS384");
    assert_key_refused(ed, BIT(ES256), "ES256");
    assert_key_refused(ed, BIT(RS512), "RS512");
    free(pem);
    free(ec);
    free(ed);
}

static void a_curve_has_to_fit_its_algorithm(void **state)
{
    EVP_PKEY *const keys[] = {p256, p384, p521};
    const unsigned sets[] = {BIT(ES256), BIT(ES384), BIT(ES512)};
    EVP_PKEY *other = EVP_EC_gen("secp256k1");
    char *pem = maker_public_pem(other);

    (void)state;
    assert_key_refused(pem, BIT(ES256), "secp256k1");
    free(pem);
    EVP_PKEY_free(other);
    pem = maker_public_pem(ed448);
    assert_key_refused(pem, BIT(EDDSA), "ED448");
    free(pem);
    for (size_t i = 0; i < 3; i++) {
        pem = maker_public_pem(keys[i]);
        for (size_t j = 0; j < 3; j++) {
            mercure_key *key = NULL;
            assert_int_equal(make_key(pem, sets[j], &key), i == j ? MERCURE_OK : MERCURE_INVALID);
            mercure_key_free(key);
        }
        assert_key_refused(pem, BIT(ES256) | BIT(ES384), "does not fit");
        free(pem);
    }
}

static void an_rsa_key_below_2048_bits_is_refused(void **state)
{
    char *pem = maker_public_pem(rsa_short);

    (void)state;
    assert_key_refused(pem, BIT(RS256), "2048");
    assert_key_refused(pem, BIT(PS256), "2048");
    free(pem);
}

static void a_private_key_is_refused(void **state)
{
    EVP_PKEY *const keys[] = {rsa, p256, ed25519};
    const unsigned sets[] = {BIT(RS256), BIT(ES256), BIT(EDDSA)};

    (void)state;
    for (size_t i = 0; i < COUNT(keys); i++) {
        BIO *pkcs8 = BIO_new(BIO_s_mem()), *traditional = BIO_new(BIO_s_mem()), *encrypted = BIO_new(BIO_s_mem());
        assert_int_equal(PEM_write_bio_PKCS8PrivateKey(pkcs8, keys[i], NULL, NULL, 0, NULL, NULL), 1);
        assert_int_equal(PEM_write_bio_PKCS8PrivateKey(encrypted, keys[i], EVP_aes_128_cbc(), "secret", 6, NULL, NULL),
                         1);
        char *text = maker_text(pkcs8), *locked = maker_text(encrypted), *public_pem = maker_public_pem(keys[i]);
        char *both = NULL;
        assert_true(asprintf(&both, "%s%s", public_pem, text) > 0);
        assert_key_refused(text, sets[i], "private key");
        assert_key_refused(locked, sets[i], "private key");
        assert_key_refused(both, sets[i], "private key");
        free(text);
        free(locked);
        free(public_pem);
        free(both);
        if (keys[i] == ed25519) {
            BIO_free(traditional); /* has no such form */
            continue;
        }
        assert_int_equal(PEM_write_bio_PrivateKey_traditional(traditional, keys[i], NULL, NULL, 0, NULL, NULL), 1);
        text = maker_text(traditional);
        assert_key_refused(text, sets[i], "private key");
        free(text);
    }
}

static void what_is_no_pem_is_refused_as_a_public_key(void **state)
{
    char *pem = maker_public_pem(rsa);

    (void)state;
    assert_key_refused("", BIT(RS256), "PEM");
    assert_key_refused(SECRET, BIT(RS256), "PEM");
    assert_key_refused("-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n", BIT(RS256), "neither");
    assert_key_refused("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", BIT(RS256), "neither");
    pem[strlen(pem) / 2] = '\0';
    assert_key_refused(pem, BIT(RS256), "neither");
    free(pem);
}

static void fingerprints_tell_keys_apart(void **state)
{
    mercure_key *one = key_for(MERCURE_HS256), *same = key_for(MERCURE_HS512), *other = key_for(MERCURE_RS256);
    unsigned char digest[32];

    (void)state;
    assert_memory_equal(mercure_key_fingerprint(one), mercure_key_fingerprint(same), 32);
    assert_memory_not_equal(mercure_key_fingerprint(one), mercure_key_fingerprint(other), 32);
    assert_int_equal(EVP_Digest(SECRET, 64, digest, NULL, EVP_sha256(), NULL), 1);
    assert_memory_equal(mercure_key_fingerprint(one), digest, 32);
    mercure_key_free(one);
    mercure_key_free(same);
    mercure_key_free(other);
    mercure_key_free(NULL);
}

/* ---- verifying ---- */

static mercure_status verify_bytes(mercure_str token, const mercure_trust *trust, unsigned role, int64_t now,
                                   mercure_grants **grants)
{
    char *copy = unit_exact(token);
    mercure_grants *ours = NULL;

    err.reason[0] = '\0';
    mercure_status status = mercure_token_verify((mercure_str){copy, token.len}, trust, role, now, &ours, &err);
    free(copy);
    if (status == MERCURE_OK) {
        assert_non_null(ours);
    } else {
        assert_null(ours);
        assert_string_not_equal(err.reason, "");
    }
    if (grants != NULL) {
        *grants = ours;
    } else {
        mercure_grants_release(ours);
    }
    return status;
}

/* The HS256 trust that most tests use. */
static mercure_issuer hs256_issuer = {ISS, MERCURE_ROLE_PUBLISHER, BIT(HS256), NULL};
static const mercure_trust hs256_trust = {&hs256_issuer, 1, AUDIENCE, NULL, 0};

static mercure_status verify(const char *token)
{
    return verify_bytes(mercure_str_of(token), &hs256_trust, MERCURE_ROLE_PUBLISHER, NOW, NULL);
}

#define HEADER "{\"alg\":\"HS256\",\"typ\":\"at+jwt\"}"

static mercure_status verify_made(const char *header, const char *payload)
{
    maker_signer signer = signer_for(MERCURE_HS256);
    char *token = maker_token(&signer, header, payload);
    mercure_status status = verify(token);

    free(token);
    return status;
}

static mercure_status verify_header(const char *header)
{
    return verify_made(header, "{" GOOD_CLAIMS "}");
}

static mercure_status verify_claims(const char *claims)
{
    return verify_made(HEADER, claims);
}

static char *good_token(mercure_algorithm algorithm)
{
    maker_signer signer = signer_for(algorithm);
    char header[64];

    snprintf(header, sizeof(header), "{\"alg\":\"%s\",\"typ\":\"at+jwt\"}", maker_algorithms[algorithm].name);
    return maker_token(&signer, header, "{" GOOD_CLAIMS "}");
}

static void every_algorithm_verifies_its_own_tokens(void **state)
{
    (void)state;
    for (unsigned i = 0; i < MERCURE_ALGORITHMS; i++) {
        mercure_key *key = key_for(i);
        mercure_issuer issuer = {ISS, MERCURE_ROLE_PUBLISHER, 1u << i, key};
        mercure_trust trust = {&issuer, 1, AUDIENCE, NULL, 0};
        char *token = good_token(i);
        if (verify_bytes(mercure_str_of(token), &trust, MERCURE_ROLE_PUBLISHER, NOW, NULL) != MERCURE_OK) {
            fail_msg("%s: %s", maker_algorithms[i].name, err.reason);
        }
        token[strlen(token) / 2] ^= 1; /* in the payload */
        assert_int_equal(verify_bytes(mercure_str_of(token), &trust, MERCURE_ROLE_PUBLISHER, NOW, NULL),
                         MERCURE_INVALID);
        free(token);
        mercure_key_free(key);
    }
}

/* Every algorithm's token against every algorithm's key, the issuer allowing everything: only its own is accepted. */
static void no_key_verifies_a_token_of_another_algorithm_kind(void **state)
{
    char *tokens[MERCURE_ALGORITHMS];

    (void)state;
    for (unsigned i = 0; i < MERCURE_ALGORITHMS; i++) {
        tokens[i] = good_token(i);
    }
    for (unsigned k = 0; k < MERCURE_ALGORITHMS; k++) {
        mercure_key *key = key_for(k);
        for (unsigned t = 0; t < MERCURE_ALGORITHMS; t++) {
            mercure_issuer only = {ISS, MERCURE_ROLE_PUBLISHER, 1u << k, key};
            mercure_issuer any = {ISS, MERCURE_ROLE_PUBLISHER, (1u << MERCURE_ALGORITHMS) - 1, key};
            mercure_trust strict = {&only, 1, AUDIENCE, NULL, 0}, lax = {&any, 1, AUDIENCE, NULL, 0};
            bool same_key = (k < MERCURE_RS256 && t < MERCURE_RS256) ||
                            (k >= MERCURE_RS256 && k < MERCURE_ES256 && t >= MERCURE_RS256 && t < MERCURE_ES256) ||
                            k == t;
            assert_int_equal(verify_bytes(mercure_str_of(tokens[t]), &strict, MERCURE_ROLE_PUBLISHER, NOW, NULL),
                             k == t ? MERCURE_OK : MERCURE_INVALID);
            assert_int_equal(verify_bytes(mercure_str_of(tokens[t]), &lax, MERCURE_ROLE_PUBLISHER, NOW, NULL),
                             same_key ? MERCURE_OK : MERCURE_INVALID);
        }
        mercure_key_free(key);
    }
    for (unsigned i = 0; i < MERCURE_ALGORITHMS; i++) {
        free(tokens[i]);
    }
}

static void a_certificate_verifies_as_its_key_does(void **state)
{
    EVP_PKEY *const keys[] = {rsa, p384, ed25519};
    const mercure_algorithm algorithms[] = {MERCURE_PS256, MERCURE_ES384, MERCURE_EDDSA};

    (void)state;
    for (size_t i = 0; i < COUNT(keys); i++) {
        char *pem = maker_certificate_pem(keys[i], keys[i] == ed25519 ? NULL : EVP_sha256());
        char *token = good_token(algorithms[i]);
        mercure_key *key = NULL;
        assert_int_equal(make_key(pem, MERCURE_ALGORITHM_BIT(algorithms[i]), &key), MERCURE_OK);
        mercure_issuer issuer = {ISS, MERCURE_ROLE_PUBLISHER, MERCURE_ALGORITHM_BIT(algorithms[i]), key};
        mercure_trust trust = {&issuer, 1, AUDIENCE, NULL, 0};
        assert_int_equal(verify_bytes(mercure_str_of(token), &trust, MERCURE_ROLE_PUBLISHER, NOW, NULL), MERCURE_OK);
        mercure_key_free(key);
        free(token);
        free(pem);
    }
}

/* The classic attack: the public key, known to all, as the secret of an HMAC. */
static void a_public_key_is_never_an_hmac_secret(void **state)
{
    char *pem = maker_public_pem(rsa);
    mercure_key *key = key_for(MERCURE_RS256);
    unsigned char der[1024], *end = der;
    mercure_str secrets[] = {mercure_str_of(pem), {pem, strlen(pem) - 1}, {(char *)der, 0}};

    (void)state;
    secrets[2].len = (size_t)i2d_PUBKEY(rsa, &end);
    for (size_t i = 0; i < COUNT(secrets); i++) {
        maker_signer attacker = {&maker_algorithms[MERCURE_HS256], secrets[i], NULL, 0, false};
        char *token = maker_token(&attacker, HEADER, "{" GOOD_CLAIMS "}");
        mercure_issuer issuer = {ISS, MERCURE_ROLE_PUBLISHER, BIT(RS256), key};
        mercure_trust trust = {&issuer, 1, AUDIENCE, NULL, 0};
        assert_int_equal(verify_bytes(mercure_str_of(token), &trust, MERCURE_ROLE_PUBLISHER, NOW, NULL),
                         MERCURE_INVALID);
        issuer.algorithms |= BIT(HS256); /* even if the list were wrong */
        assert_int_equal(verify_bytes(mercure_str_of(token), &trust, MERCURE_ROLE_PUBLISHER, NOW, NULL),
                         MERCURE_INVALID);
        free(token);
    }
    mercure_key_free(key);
    free(pem);
}

static void alg_none_is_refused_in_every_spelling(void **state)
{
    static const char *const names[] = {"none",  "None",   "NONE",         "nOnE",  "",
                                        "hs256", "HS256 ", "HS256\\u0000", "HS2560"};

    (void)state;
    for (size_t i = 0; i < COUNT(names); i++) {
        char header[80];
        snprintf(header, sizeof(header), "{\"alg\":\"%s\",\"typ\":\"at+jwt\"}", names[i]);
        assert_int_equal(verify_header(header), MERCURE_INVALID);
        char *body = maker_body(mercure_str_of(header), S("{" GOOD_CLAIMS "}")), *token = NULL;
        assert_true(asprintf(&token, "%s.", body) > 0);
        assert_int_equal(verify(token), MERCURE_INVALID); /* unsigned */
        assert_int_equal(verify(body), MERCURE_INVALID);
        free(body);
        free(token);
    }
    assert_int_equal(verify_header("{\"typ\":\"at+jwt\"}"), MERCURE_INVALID);
    assert_int_equal(verify_header("{\"typ\":\"at+jwt\",\"alg\":null}"), MERCURE_INVALID);
    assert_int_equal(verify_header("{\"typ\":\"at+jwt\",\"alg\":[\"HS256\"]}"), MERCURE_INVALID);
}

static void a_good_header_with_an_empty_signature_is_refused(void **state)
{
    char *body = maker_body(S(HEADER), S("{" GOOD_CLAIMS "}")), *token = NULL;

    (void)state;
    assert_true(asprintf(&token, "%s.", body) > 0);
    assert_int_equal(verify(token), MERCURE_INVALID);
    free(body);
    free(token);
}

static void a_signature_cut_short_or_made_longer_is_refused(void **state)
{
    static const mercure_algorithm algorithms[] = {MERCURE_HS256, MERCURE_RS256, MERCURE_PS256,
                                                   MERCURE_ES256, MERCURE_ES512, MERCURE_EDDSA};

    (void)state;
    for (size_t i = 0; i < COUNT(algorithms); i++) {
        mercure_key *key = key_for(algorithms[i]);
        mercure_issuer issuer = {ISS, MERCURE_ROLE_PUBLISHER, MERCURE_ALGORITHM_BIT(algorithms[i]), key};
        mercure_trust trust = {&issuer, 1, AUDIENCE, NULL, 0};
        maker_signer signer = signer_for(algorithms[i]);
        unsigned char signature[600] = {0};
        char header[64];
        snprintf(header, sizeof(header), "{\"alg\":\"%s\",\"typ\":\"at+jwt\"}", signer.algorithm->name);
        char *body = maker_body(mercure_str_of(header), S("{" GOOD_CLAIMS "}"));
        size_t len = maker_sign(&signer, body, signature, sizeof(signature));
        for (size_t cut = len - 2; cut <= len + 2; cut++) {
            mercure_str encoded = maker_base64url(signature, cut);
            char *token = NULL;
            assert_true(asprintf(&token, "%s.%s", body, encoded.data) > 0);
            assert_int_equal(verify_bytes(mercure_str_of(token), &trust, MERCURE_ROLE_PUBLISHER, NOW, NULL),
                             cut == len ? MERCURE_OK : MERCURE_INVALID);
            free((char *)encoded.data);
            free(token);
        }
        free(body);
        mercure_key_free(key);
    }
}

static void an_ecdsa_signature_in_der_is_refused(void **state)
{
    (void)state;
    for (mercure_algorithm algorithm = MERCURE_ES256; algorithm <= MERCURE_ES512; algorithm++) {
        mercure_key *key = key_for(algorithm);
        mercure_issuer issuer = {ISS, MERCURE_ROLE_PUBLISHER, MERCURE_ALGORITHM_BIT(algorithm), key};
        mercure_trust trust = {&issuer, 1, AUDIENCE, NULL, 0};
        maker_signer signer = signer_for(algorithm);
        char header[64];
        signer.der = true;
        snprintf(header, sizeof(header), "{\"alg\":\"%s\",\"typ\":\"at+jwt\"}", signer.algorithm->name);
        char *token = maker_token(&signer, header, "{" GOOD_CLAIMS "}");
        assert_int_equal(verify_bytes(mercure_str_of(token), &trust, MERCURE_ROLE_PUBLISHER, NOW, NULL),
                         MERCURE_INVALID);
        free(token);
        mercure_key_free(key);
    }
}

static void an_ecdsa_signature_of_zeros_is_refused(void **state)
{
    static const unsigned char zeros[64];
    mercure_key *key = key_for(MERCURE_ES256);
    mercure_issuer issuer = {ISS, MERCURE_ROLE_PUBLISHER, BIT(ES256), key};
    mercure_trust trust = {&issuer, 1, AUDIENCE, NULL, 0};
    char *body = maker_body(S("{\"alg\":\"ES256\",\"typ\":\"at+jwt\"}"), S("{" GOOD_CLAIMS "}")), *token = NULL;
    mercure_str encoded = maker_base64url(zeros, sizeof(zeros));

    (void)state;
    assert_true(asprintf(&token, "%s.%s", body, encoded.data) > 0);
    assert_int_equal(verify_bytes(mercure_str_of(token), &trust, MERCURE_ROLE_PUBLISHER, NOW, NULL), MERCURE_INVALID);
    free((char *)encoded.data);
    free(body);
    free(token);
    mercure_key_free(key);
}

static void a_pss_salt_is_as_long_as_the_hash(void **state)
{
    static const int salts[] = {0, 20, 31, 33, 48};
    mercure_key *key = key_for(MERCURE_PS256);
    mercure_issuer issuer = {ISS, MERCURE_ROLE_PUBLISHER, BIT(PS256), key};
    mercure_trust trust = {&issuer, 1, AUDIENCE, NULL, 0};

    (void)state;
    for (size_t i = 0; i < COUNT(salts); i++) {
        maker_signer signer = signer_for(MERCURE_PS256);
        signer.salt = salts[i];
        char *token = maker_token(&signer, "{\"alg\":\"PS256\",\"typ\":\"at+jwt\"}", "{" GOOD_CLAIMS "}");
        assert_int_equal(verify_bytes(mercure_str_of(token), &trust, MERCURE_ROLE_PUBLISHER, NOW, NULL),
                         MERCURE_INVALID);
        free(token);
    }
    mercure_key_free(key);
}

static void a_token_signed_with_another_key_is_refused(void **state)
{
    maker_signer signer = signer_for(MERCURE_HS256);

    (void)state;
    signer.secret = S("another secret of thirty-two bytes");
    char *token = maker_token(&signer, HEADER, "{" GOOD_CLAIMS "}");
    assert_int_equal(verify(token), MERCURE_INVALID);
    assert_non_null(strstr(err.reason, "signature"));
    free(token);
}

/* ---- header ---- */

static void typ_is_at_jwt_in_any_case_with_or_without_application(void **state)
{
    static const char *const good[] = {"at+jwt", "AT+JWT", "At+Jwt", "application/at+jwt", "APPLICATION/AT+JWT"};
    static const char *const bad[] = {"JWT",
                                      "jwt",
                                      "",
                                      "at+jw",
                                      "at+jwts",
                                      "application/",
                                      "application/jwt",
                                      "text/at+jwt",
                                      "application/application/at+jwt",
                                      " at+jwt",
                                      "at+jwt;x",
                                      "application/ at+jwt",
                                      "dpop+jwt",
                                      "id+jwt"};
    char header[128];

    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        snprintf(header, sizeof(header), "{\"alg\":\"HS256\",\"typ\":\"%s\"}", good[i]);
        assert_int_equal(verify_header(header), MERCURE_OK);
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        snprintf(header, sizeof(header), "{\"alg\":\"HS256\",\"typ\":\"%s\"}", bad[i]);
        assert_int_equal(verify_header(header), MERCURE_INVALID);
        assert_non_null(strstr(err.reason, "typ"));
    }
    assert_int_equal(verify_header("{\"alg\":\"HS256\"}"), MERCURE_INVALID);
    assert_int_equal(verify_header("{\"alg\":\"HS256\",\"typ\":1}"), MERCURE_INVALID);
    assert_int_equal(verify_header("{\"alg\":\"HS256\",\"typ\":[\"at+jwt\"]}"), MERCURE_INVALID);
}

static void kid_and_keys_in_the_header_change_nothing(void **state)
{
    (void)state;
    assert_int_equal(
        verify_header("{\"alg\":\"HS256\",\"typ\":\"at+jwt\",\"kid\":\"unknown\",\"jku\":\"https://evil/\","
                      "\"x5u\":\"https://evil/\",\"jwk\":{\"kty\":\"oct\",\"k\":\"AAAA\"},\"x5c\":[\"AA\"]}"),
        MERCURE_OK);
    assert_int_equal(verify_header("{\"alg\":\"HS256\",\"typ\":\"at+jwt\",\"kid\":5}"), MERCURE_OK);

    maker_signer attacker = signer_for(MERCURE_HS256);
    attacker.secret = S("kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk");
    char *token = maker_token(&attacker,
                              "{\"alg\":\"HS256\",\"typ\":\"at+jwt\",\"jwk\":{\"kty\":\"oct\","
                              "\"k\":\"a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s\"}}",
                              "{" GOOD_CLAIMS "}");
    assert_int_equal(verify(token), MERCURE_INVALID);
    free(token);
}

static void critical_extensions_are_refused(void **state)
{
    (void)state;
    assert_int_equal(verify_header("{\"alg\":\"HS256\",\"typ\":\"at+jwt\",\"crit\":[\"b64\"],\"b64\":false}"),
                     MERCURE_INVALID);
    assert_int_equal(verify_header("{\"alg\":\"HS256\",\"typ\":\"at+jwt\",\"crit\":[]}"), MERCURE_INVALID);
}

/* ---- form ---- */

static void broken_json_is_refused(void **state)
{
    static const char *const bad[] = {"",
                                      "{",
                                      "[]",
                                      "\"x\"",
                                      "null",
                                      "1",
                                      "{}x",
                                      "{\"a\":}",
                                      "{'a':1}",
                                      "{\"a\":1,}",
                                      "\xEF\xBB\xBF{}",
                                      "{\"a\":\"\xFF\"}",
                                      "{\"a\":NaN}",
                                      "[{}]",
                                      "{}{}"};

    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_int_equal(verify_header(bad[i]), MERCURE_INVALID);
        assert_int_equal(verify_claims(bad[i]), MERCURE_INVALID);
    }
    assert_int_equal(verify_header(HEADER "x"), MERCURE_INVALID);
    assert_int_equal(verify_claims("{" GOOD_CLAIMS "}x"), MERCURE_INVALID);
    assert_int_equal(verify_claims("{" GOOD_CLAIMS), MERCURE_INVALID);
    assert_int_equal(verify_claims("{" GOOD_CLAIMS ",\"a\":\"\xC3\x28\"}"), MERCURE_INVALID);
    assert_int_equal(verify_claims("{" GOOD_CLAIMS ",\"a\":1e999}"), MERCURE_INVALID);
}

static void json_nested_very_deep_is_refused(void **state)
{
    char payload[9000];
    size_t at = (size_t)sprintf(payload, "{" GOOD_CLAIMS ",\"a\":");

    (void)state;
    memset(payload + at, '[', 4000);
    memset(payload + at + 4000, ']', 4000);
    strcpy(payload + at + 8000, "}");
    assert_int_equal(verify_claims(payload), MERCURE_INVALID);
}

static void duplicate_json_keys_are_refused(void **state)
{
    (void)state;
    assert_int_equal(verify_header("{\"alg\":\"HS256\",\"typ\":\"at+jwt\",\"alg\":\"HS256\"}"), MERCURE_INVALID);
    assert_int_equal(verify_claims("{" GOOD_CLAIMS ",\"exp\":1700000060}"), MERCURE_INVALID);
    assert_int_equal(verify_claims("{" GOOD_CLAIMS ",\"x\":{\"a\":1,\"\\u0061\":1}}"), MERCURE_INVALID);
}

static void a_token_has_three_parts(void **state)
{
    char *token = good_token(MERCURE_HS256), *other = NULL;

    (void)state;
    assert_int_equal(verify(token), MERCURE_OK);
    assert_true(asprintf(&other, "%s.", token) > 0);
    assert_int_equal(verify(other), MERCURE_INVALID);
    free(other);
    assert_true(asprintf(&other, ".%s", token) > 0);
    assert_int_equal(verify(other), MERCURE_INVALID);
    free(other);
    assert_true(asprintf(&other, "%s.AAAA.AAAA", token) > 0); /* five: a JWE */
    assert_int_equal(verify(other), MERCURE_INVALID);
    assert_non_null(strstr(err.reason, "three parts"));
    free(other);
    *strrchr(token, '.') = '\0';
    assert_int_equal(verify(token), MERCURE_INVALID); /* two */
    free(token);
    assert_int_equal(verify(""), MERCURE_INVALID);
    assert_int_equal(verify("."), MERCURE_INVALID);
    assert_int_equal(verify(".."), MERCURE_INVALID);
    assert_int_equal(verify("..."), MERCURE_INVALID);
    assert_int_equal(verify("abc"), MERCURE_INVALID);
}

static void every_truncation_of_a_token_is_refused(void **state)
{
    char *token = good_token(MERCURE_HS256);

    (void)state;
    for (size_t len = 0; len < strlen(token); len++) {
        assert_int_equal(verify_bytes((mercure_str){token, len}, &hs256_trust, MERCURE_ROLE_PUBLISHER, NOW, NULL),
                         MERCURE_INVALID);
    }
    free(token);
}

static void a_token_changed_in_any_character_is_refused(void **state)
{
    static const char others[] = "AZaz09-_=+/. \n";
    char *token = good_token(MERCURE_HS256);
    size_t len = strlen(token);

    (void)state;
    for (size_t at = 0; at < len; at++) {
        char original = token[at];
        for (size_t i = 0; i < sizeof(others); i++) { /* the NUL too */
            token[at] = others[i];
            mercure_status status =
                verify_bytes((mercure_str){token, len}, &hs256_trust, MERCURE_ROLE_PUBLISHER, NOW, NULL);
            assert_int_equal(status, others[i] == original ? MERCURE_OK : MERCURE_INVALID);
        }
        token[at] = original;
    }
    free(token);
}

static void base64url_is_strict(void **state)
{
    maker_signer signer = signer_for(MERCURE_HS256);
    char *token = good_token(MERCURE_HS256), *other = NULL;
    size_t len = strlen(token);
    const char *digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    ptrdiff_t last = strchr(digits, token[len - 1]) - digits;

    (void)state;
    assert_int_equal(last % 4, 0); /* 256 bits in 43 digits: two are left over, and are zero */
    for (int bits = 1; bits < 4; bits++) {
        token[len - 1] = digits[last + bits];
        assert_int_equal(verify(token), MERCURE_INVALID);
    }
    token[len - 1] = digits[last];
    assert_int_equal(verify(token), MERCURE_OK);
    assert_true(asprintf(&other, "%s=", token) > 0);
    assert_int_equal(verify(other), MERCURE_INVALID);
    free(other);
    assert_true(asprintf(&other, "%s\n", token) > 0);
    assert_int_equal(verify(other), MERCURE_INVALID);
    free(other);
    free(token);

    /* In the other parts, rightly signed all the same: padding, left-over bits, a lone digit. */
    static const struct {
        const char *header, *payload; /* encoded, without and with the fault */
    } encoded[] = {
        {"eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCJ9", NULL},     {"eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCJ9=", NULL},
        {"eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCJ9IA==", NULL}, {"eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCJ9IA", NULL},
        {"eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCJ9IB", NULL},   {"eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCJ9A", NULL},
        {"eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCJ9ICA", NULL},  {"eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCJ9ICB", NULL},
        {"eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCJ9 ", NULL},
    };
    static const mercure_status expected[] = {MERCURE_OK, MERCURE_INVALID, MERCURE_INVALID,
                                              MERCURE_OK, MERCURE_INVALID, MERCURE_INVALID,
                                              MERCURE_OK, MERCURE_INVALID, MERCURE_INVALID};
    mercure_str payload = maker_base64url("{" GOOD_CLAIMS "}", sizeof("{" GOOD_CLAIMS "}") - 1);
    for (size_t i = 0; i < COUNT(encoded); i++) {
        char *body = NULL;
        assert_true(asprintf(&body, "%s.%s", encoded[i].header, payload.data) > 0);
        token = maker_finish(&signer, body);
        assert_int_equal(verify(token), expected[i]);
        free(token);
        free(body);
    }
    free((char *)payload.data);
}

static void a_token_has_16384_bytes_at_most(void **state)
{
    maker_signer signer = signer_for(MERCURE_HS256);
    size_t reached = 0;

    (void)state;
    for (int header_spaces = 0; header_spaces < 3; header_spaces++) {
        for (int spaces = 12060; spaces < 12180; spaces++) {
            char header[80], *payload = NULL;
            snprintf(header, sizeof(header), "{\"alg\":\"HS256\",\"typ\":\"at+jwt\"%*s}", header_spaces, "");
            assert_true(asprintf(&payload, "{" GOOD_CLAIMS "%*s}", spaces, "") > 0);
            char *token = maker_token(&signer, header, payload);
            if (strlen(token) >= 16383 && strlen(token) <= 16386) {
                reached |= (size_t)1 << (strlen(token) - 16383);
                assert_int_equal(verify(token), strlen(token) <= 16384 ? MERCURE_OK : MERCURE_INVALID);
            }
            free(token);
            free(payload);
        }
    }
    assert_int_equal(reached & 6, 6); /* 16384 and 16385 were tried */
    char *huge = malloc(1 << 20);
    memset(huge, '.', 1 << 20);
    assert_int_equal(verify_bytes((mercure_str){huge, 1 << 20}, &hs256_trust, MERCURE_ROLE_PUBLISHER, NOW, NULL),
                     MERCURE_INVALID);
    free(huge);
}

/* ---- claims ---- */

static void iss_is_one_of_the_issuers_exactly(void **state)
{
    static const char *const bad[] = {"\"https://issuer.example/\"",
                                      "\"https://issuer.exampl\"",
                                      "\"HTTPS://issuer.example\"",
                                      "\"\"",
                                      "null",
                                      "1",
                                      "[\"https://issuer.example\"]",
                                      "\"https://issuer.example \"",
                                      "\"https://evil.example\""};
    char claims[256];

    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        snprintf(claims, sizeof(claims), "{\"iss\":%s,\"aud\":\"" AUDIENCE "\",\"exp\":1700000060}", bad[i]);
        assert_int_equal(verify_claims(claims), MERCURE_INVALID);
        assert_non_null(strstr(err.reason, "iss"));
    }
    assert_int_equal(verify_claims("{\"aud\":\"" AUDIENCE "\",\"exp\":1700000060}"), MERCURE_INVALID);
}

static void aud_is_the_hub_alone_or_among_others(void **state)
{
    static const struct {
        const char *aud;
        mercure_status status;
    } cases[] = {
        {"\"" AUDIENCE "\"", MERCURE_OK},
        {"[\"" AUDIENCE "\"]", MERCURE_OK},
        {"[\"x\",\"" AUDIENCE "\",\"y\"]", MERCURE_OK},
        {"[\"x\",\"y\"]", MERCURE_INVALID},
        {"[]", MERCURE_INVALID},
        {"[[\"" AUDIENCE "\"]]", MERCURE_INVALID},
        {"{\"a\":\"" AUDIENCE "\"}", MERCURE_INVALID},
        {"\"" AUDIENCE "/\"", MERCURE_INVALID},
        {"\"https://hub.example/.well-known/mercur\"", MERCURE_INVALID},
        {"\"https://hub.example\"", MERCURE_INVALID},
        {"\"https://HUB.example/.well-known/mercure\"", MERCURE_INVALID},
        {"\"\"", MERCURE_INVALID},
        {"null", MERCURE_INVALID},
        {"1", MERCURE_INVALID},
        {"[\"" AUDIENCE "/\"]", MERCURE_INVALID},
    };
    char claims[256];

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        snprintf(claims, sizeof(claims), "{\"iss\":\"" ISS "\",\"aud\":%s,\"exp\":1700000060}", cases[i].aud);
        if (verify_claims(claims) != cases[i].status) {
            fail_msg("aud %s: %s", cases[i].aud, err.reason);
        }
    }
    assert_int_equal(verify_claims("{\"iss\":\"" ISS "\",\"exp\":1700000060}"), MERCURE_INVALID);
}

static void exp_is_there_and_in_the_future(void **state)
{
    static const struct {
        const char *exp;
        mercure_status status;
    } cases[] = {
        {"1700000001", MERCURE_OK},
        {"1700000000", MERCURE_INVALID},
        {"1699999999", MERCURE_INVALID},
        {"1700000000.5", MERCURE_OK},
        {"1699999999.9", MERCURE_INVALID},
        {"0", MERCURE_INVALID},
        {"-1", MERCURE_INVALID},
        {"1e300", MERCURE_OK},
        {"9223372036854775807", MERCURE_OK},
        {"-1e300", MERCURE_INVALID},
        {"null", MERCURE_INVALID},
        {"\"1700000060\"", MERCURE_INVALID},
        {"true", MERCURE_INVALID},
        {"[1700000060]", MERCURE_INVALID},
        {"17000000600000000000000", MERCURE_INVALID},
    };
    char claims[256];

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        snprintf(claims, sizeof(claims), "{\"iss\":\"" ISS "\",\"aud\":\"" AUDIENCE "\",\"exp\":%s}", cases[i].exp);
        if (verify_claims(claims) != cases[i].status) {
            fail_msg("exp %s: %s", cases[i].exp, err.reason);
        }
    }
    assert_int_equal(verify_claims("{\"iss\":\"" ISS "\",\"aud\":\"" AUDIENCE "\"}"), MERCURE_INVALID);
}

static void grants_tell_when_they_end(void **state)
{
    maker_signer signer = signer_for(MERCURE_HS256);
    char *token = maker_token(&signer, HEADER, "{" GOOD_CLAIMS "}");
    mercure_grants *grants;

    (void)state;
    assert_int_equal(verify_bytes(mercure_str_of(token), &hs256_trust, MERCURE_ROLE_PUBLISHER, NOW, &grants),
                     MERCURE_OK);
    assert_true(mercure_grants_expires(grants) == 1700000060);
    mercure_grants_release(grants);
    free(token);
    token = maker_token(&signer, HEADER, "{\"iss\":\"" ISS "\",\"aud\":\"" AUDIENCE "\",\"exp\":1e300}");
    assert_int_equal(verify_bytes(mercure_str_of(token), &hs256_trust, MERCURE_ROLE_PUBLISHER, NOW, &grants),
                     MERCURE_OK);
    assert_true(mercure_grants_expires(grants) > 1700000060); /* no overflow */
    mercure_grants_release(grants);
    free(token);
}

static void nbf_is_kept_with_30_seconds_of_leeway(void **state)
{
    (void)state;
    assert_int_equal(verify_claims("{" GOOD_CLAIMS ",\"nbf\":1700000000}"), MERCURE_OK);
    assert_int_equal(verify_claims("{" GOOD_CLAIMS ",\"nbf\":1700000030}"), MERCURE_OK);
    assert_int_equal(verify_claims("{" GOOD_CLAIMS ",\"nbf\":1700000031}"), MERCURE_INVALID);
    assert_int_equal(verify_claims("{" GOOD_CLAIMS ",\"nbf\":1700000030.5}"), MERCURE_INVALID);
    assert_int_equal(verify_claims("{" GOOD_CLAIMS ",\"nbf\":0}"), MERCURE_OK);
    assert_int_equal(verify_claims("{" GOOD_CLAIMS ",\"nbf\":1e300}"), MERCURE_INVALID);
    assert_int_equal(verify_claims("{" GOOD_CLAIMS ",\"nbf\":\"0\"}"), MERCURE_INVALID);
    assert_int_equal(verify_claims("{" GOOD_CLAIMS ",\"nbf\":null}"), MERCURE_INVALID);
}

static void other_claims_change_nothing(void **state)
{
    (void)state;
    assert_int_equal(verify_claims("{" GOOD_CLAIMS ",\"iat\":9999999999,\"sub\":\"x\",\"jti\":1,\"scope\":\"\","
                                   "\"mercure\":{\"publish\":[\"*\"]}}"),
                     MERCURE_OK);
}

static void keys_of_one_role_do_not_serve_the_other(void **state)
{
    mercure_key *key = key_for(MERCURE_HS256);
    mercure_issuer issuer = {ISS, MERCURE_ROLE_SUBSCRIBER, BIT(HS256), key};
    mercure_trust trust = {&issuer, 1, AUDIENCE, NULL, 0};
    char *token = good_token(MERCURE_HS256);

    (void)state;
    assert_int_equal(verify_bytes(mercure_str_of(token), &trust, MERCURE_ROLE_PUBLISHER, NOW, NULL), MERCURE_INVALID);
    assert_non_null(strstr(err.reason, "publisher"));
    assert_int_equal(verify_bytes(mercure_str_of(token), &trust, MERCURE_ROLE_SUBSCRIBER, NOW, NULL), MERCURE_OK);
    issuer.roles = MERCURE_ROLE_PUBLISHER;
    assert_int_equal(verify_bytes(mercure_str_of(token), &trust, MERCURE_ROLE_SUBSCRIBER, NOW, NULL), MERCURE_INVALID);
    assert_non_null(strstr(err.reason, "subscriber"));
    issuer.roles = MERCURE_ROLE_PUBLISHER | MERCURE_ROLE_SUBSCRIBER;
    assert_int_equal(verify_bytes(mercure_str_of(token), &trust, MERCURE_ROLE_SUBSCRIBER, NOW, NULL), MERCURE_OK);
    issuer.roles = 0;
    assert_int_equal(verify_bytes(mercure_str_of(token), &trust, MERCURE_ROLE_SUBSCRIBER, NOW, NULL), MERCURE_INVALID);
    free(token);
    mercure_key_free(key);
}

static void any_of_an_issuers_keys_may_verify_but_no_other_issuers(void **state)
{
    mercure_key *rs256 = key_for(MERCURE_RS256), *hs256 = key_for(MERCURE_HS256), *other = NULL;
    assert_int_equal(make_key("another secret of thirty-two bytes", BIT(HS256), &other), MERCURE_OK);
    mercure_issuer issuers[] = {
        {ISS, MERCURE_ROLE_PUBLISHER, BIT(RS256), rs256},
        {ISS, MERCURE_ROLE_PUBLISHER, BIT(HS256), other},
        {ISS, MERCURE_ROLE_PUBLISHER, BIT(HS256), hs256},
        {"https://second.example", MERCURE_ROLE_PUBLISHER, BIT(HS256), other},
    };
    mercure_trust trust = {issuers, COUNT(issuers), AUDIENCE, NULL, 0}, nobody = {NULL, 0, AUDIENCE, NULL, 0};
    char *token = good_token(MERCURE_HS256);

    (void)state;
    assert_int_equal(verify_bytes(mercure_str_of(token), &trust, MERCURE_ROLE_PUBLISHER, NOW, NULL), MERCURE_OK);
    assert_int_equal(verify_bytes(mercure_str_of(token), &nobody, MERCURE_ROLE_PUBLISHER, NOW, NULL), MERCURE_INVALID);
    free(token);
    token = good_token(MERCURE_RS256);
    assert_int_equal(verify_bytes(mercure_str_of(token), &trust, MERCURE_ROLE_PUBLISHER, NOW, NULL), MERCURE_OK);
    free(token);
    /* Signed with a key that is the first issuer's only, in the name of the second. */
    maker_signer signer = signer_for(MERCURE_HS256);
    token = maker_token(&signer, HEADER,
                        "{\"iss\":\"https://second.example\",\"aud\":\"" AUDIENCE "\",\"exp\":1700000060}");
    assert_int_equal(verify_bytes(mercure_str_of(token), &trust, MERCURE_ROLE_PUBLISHER, NOW, NULL), MERCURE_INVALID);
    free(token);
    mercure_key_free(rs256);
    mercure_key_free(hs256);
    mercure_key_free(other);
}

static void the_reason_quotes_nothing_secret_and_no_control_character(void **state)
{
    maker_signer signer = signer_for(MERCURE_HS256);
    char *token = maker_token(&signer, HEADER,
                              "{\"iss\":\"evil\\n\\u001b[2J\\u00e9\",\"aud\":\"private-aud\",\"sub\":\"private-sub\","
                              "\"exp\":1700000060}");

    (void)state;
    assert_int_equal(verify(token), MERCURE_INVALID);
    for (const char *c = err.reason; *c != '\0'; c++) {
        assert_in_range(*c, 0x20, 0x7E);
    }
    assert_non_null(strstr(err.reason, "evil??[2J"));
    free(token);
    assert_int_equal(verify_claims("{\"iss\":\"" ISS "\",\"aud\":\"private-aud\",\"sub\":\"private-sub\",\"exp\":1}"),
                     MERCURE_INVALID);
    assert_null(strstr(err.reason, "private"));
    assert_int_equal(verify_claims("{" GOOD_CLAIMS ",\"authorization_details\":[{" DETAIL
                                   ",\"actions\":[\"publish\"],\"topics\":[{\"match\":\"private\",\"match_type\":"
                                   "\"private\\u001b\"}]}]}"),
                     MERCURE_INVALID);
    assert_null(strstr(err.reason, "private"));
    token = good_token(MERCURE_HS256);
    token[strlen(token) - 1] = '!';
    assert_int_equal(verify(token), MERCURE_INVALID);
    assert_null(strstr(err.reason, "eyJ"));
    free(token);
}

/* ---- authorization_details ---- */

/* A token with these details. */
static mercure_status grant(const char *details, mercure_grants **grants)
{
    maker_signer signer = signer_for(MERCURE_HS256);
    char *payload = NULL;

    assert_true(asprintf(&payload, "{" GOOD_CLAIMS ",\"authorization_details\":%s}", details) > 0);
    char *token = maker_token(&signer, HEADER, payload);
    mercure_status status = verify_bytes(mercure_str_of(token), &hs256_trust, MERCURE_ROLE_PUBLISHER, NOW, grants);
    free(payload);
    free(token);
    return status;
}

static mercure_grants *granted(const char *details)
{
    mercure_grants *grants;

    if (grant(details, &grants) != MERCURE_OK) {
        fail_msg("%s: %s", details, err.reason);
    }
    return grants;
}

static bool may_read(const mercure_grants *grants, const char *first, const char *second)
{
    mercure_str topics[] = {mercure_str_of(first), mercure_str_of(second)};
    mercure_update update = {.topics = topics, .topic_count = 2, .id = S("1"), .is_private = true};
    mercure_record record;

    assert_int_equal(mercure_record_parse(mercure_update_encode(pool, &update), &record, NULL), MERCURE_OK);
    return mercure_grants_may_read(grants, &record, mercure_record_topics(pool, &record));
}

static bool may_publish(const mercure_grants *grants, mercure_str text)
{
    mercure_topic topic = mercure_topic_of(pool, text);

    return mercure_grants_may_publish(grants, false, &topic, 1, NULL, 0);
}

static void no_details_grant_nothing(void **state)
{
    static const char *const details[] = {"[]", "[{\"type\":\"https://other.example/\"}]"};
    maker_signer signer = signer_for(MERCURE_HS256);
    char *token = maker_token(&signer, HEADER, "{" GOOD_CLAIMS "}");
    mercure_grants *grants;

    (void)state;
    assert_int_equal(verify_bytes(mercure_str_of(token), &hs256_trust, MERCURE_ROLE_PUBLISHER, NOW, &grants),
                     MERCURE_OK);
    assert_false(may_publish(grants, S("a")));
    assert_false(may_read(grants, "a", "b"));
    mercure_grants_release(grants);
    free(token);
    for (size_t i = 0; i < COUNT(details); i++) {
        grants = granted(details[i]);
        assert_false(may_publish(grants, S("a")));
        assert_false(may_read(grants, "a", "b"));
        mercure_grants_release(grants);
    }
    assert_false(may_read(NULL, "a", "b"));
}

static void actions_grant_what_they_name_and_only_that(void **state)
{
    mercure_grants *grants;

    (void)state;
    grants = granted("[{" DETAIL ",\"actions\":[\"publish\"],\"topics\":[{\"match\":\"a\"}]}]");
    assert_true(may_publish(grants, S("a")));
    assert_false(may_publish(grants, S("b")));
    assert_false(may_publish(grants, S("")));
    assert_false(may_read(grants, "a", "a"));
    mercure_grants_release(grants);
    grants =
        granted("[{" DETAIL ",\"actions\":[\"subscribe\"],\"topics\":[{\"match\":\"a\",\"match_type\":\"exact\"}]}]");
    assert_false(may_publish(grants, S("a")));
    assert_true(may_read(grants, "a", "b"));
    assert_true(may_read(grants, "b", "a")); /* an alternate topic is enough */
    assert_false(may_read(grants, "b", "c"));
    mercure_grants_release(grants);
    grants = granted("[{" DETAIL ",\"actions\":[\"subscribe\",\"publish\"],\"topics\":[{\"match\":\"*\"}]}]");
    assert_true(may_publish(grants, S("anything")));
    assert_true(may_read(grants, "x", "y"));
    mercure_grants_release(grants);
    grants = granted("[{" DETAIL ",\"actions\":[\"delete\",\"Publish\",\"\"],\"topics\":[{\"match\":\"*\"}]}]");
    assert_false(may_publish(grants, S("a")));
    assert_false(may_read(grants, "a", "a"));
    mercure_grants_release(grants);
}

static void details_add_up_but_do_not_mix(void **state)
{
    mercure_grants *grants =
        granted("[{" DETAIL ",\"actions\":[\"publish\"],\"topics\":[{\"match\":\"a\"},{\"match\":\"b\"}]},"
                "{\"type\":\"other\",\"actions\":[\"publish\"],\"topics\":[{\"match\":\"*\"}]},"
                "{" DETAIL ",\"actions\":[\"subscribe\"],\"topics\":[{\"match\":\"c\"}],\"payload\":{\"x\":1}},"
                "{" DETAIL ",\"actions\":[\"publish\"],\"topics\":[{\"match\":\"d\"}],\"unknown\":5}]");

    (void)state;
    assert_true(may_publish(grants, S("a")));
    assert_true(may_publish(grants, S("b")));
    assert_true(may_publish(grants, S("d")));
    assert_false(may_publish(grants, S("c")));
    assert_true(may_read(grants, "c", "x"));
    assert_false(may_read(grants, "a", "d"));
    mercure_grants_release(grants);
}

static void a_malformed_detail_makes_the_whole_token_invalid(void **state)
{
    static const char *const bad[] = {
        /* the array */
        "{}",
        "null",
        "\"x\"",
        "1",
        "{" DETAIL "}",
        /* the entries */
        "[1]",
        "[null]",
        "[[]]",
        "[\"x\"]",
        "[{}]",
        "[{\"type\":1}]",
        "[{\"type\":null}]",
        /* the actions */
        "[{" DETAIL ",\"topics\":[{\"match\":\"a\"}]}]",
        "[{" DETAIL ",\"actions\":[],\"topics\":[{\"match\":\"a\"}]}]",
        "[{" DETAIL ",\"actions\":\"publish\",\"topics\":[{\"match\":\"a\"}]}]",
        "[{" DETAIL ",\"actions\":{\"publish\":true},\"topics\":[{\"match\":\"a\"}]}]",
        "[{" DETAIL ",\"actions\":[1],\"topics\":[{\"match\":\"a\"}]}]",
        "[{" DETAIL ",\"actions\":[\"publish\",null],\"topics\":[{\"match\":\"a\"}]}]",
        "[{" DETAIL ",\"actions\":[[\"publish\"]],\"topics\":[{\"match\":\"a\"}]}]",
        /* the topics */
        "[{" DETAIL ",\"actions\":[\"publish\"]}]",
        "[{" DETAIL ",\"actions\":[\"publish\"],\"topics\":[]}]",
        "[{" DETAIL ",\"actions\":[\"publish\"],\"topics\":{}}]",
        "[{" DETAIL ",\"actions\":[\"publish\"],\"topics\":\"a\"}]",
        "[{" DETAIL ",\"actions\":[\"publish\"],\"topics\":[\"a\"]}]",
        "[{" DETAIL ",\"actions\":[\"publish\"],\"topics\":[null]}]",
        "[{" DETAIL ",\"actions\":[\"publish\"],\"topics\":[{}]}]",
        "[{" DETAIL ",\"actions\":[\"publish\"],\"topics\":[{\"match\":1}]}]",
        "[{" DETAIL ",\"actions\":[\"publish\"],\"topics\":[{\"match\":\"\"}]}]",
        "[{" DETAIL ",\"actions\":[\"publish\"],\"topics\":[{\"match\":\"a\\n\"}]}]",
        "[{" DETAIL ",\"actions\":[\"publish\"],\"topics\":[{\"match\":\"a\\u200b\"}]}]",
        "[{" DETAIL ",\"actions\":[\"publish\"],\"topics\":[{\"match_type\":\"exact\"}]}]",
        "[{" DETAIL ",\"actions\":[\"publish\"],\"topics\":[{\"match\":\"a\",\"match_type\":\"regex\"}]}]",
        "[{" DETAIL ",\"actions\":[\"publish\"],\"topics\":[{\"match\":\"*\",\"match_type\":\"regex\"}]}]",
        "[{" DETAIL ",\"actions\":[\"publish\"],\"topics\":[{\"match\":\"a\",\"match_type\":\"Exact\"}]}]",
        "[{" DETAIL ",\"actions\":[\"publish\"],\"topics\":[{\"match\":\"a\",\"match_type\":\"\"}]}]",
        "[{" DETAIL ",\"actions\":[\"publish\"],\"topics\":[{\"match\":\"a\",\"match_type\":null}]}]",
        "[{" DETAIL ",\"actions\":[\"publish\"],\"topics\":[{\"match\":\"a\",\"match_type\":1}]}]",
        /* the payload */
        "[{" DETAIL ",\"actions\":[\"publish\"],\"topics\":[{\"match\":\"a\"}],\"payload\":1}]",
        "[{" DETAIL ",\"actions\":[\"publish\"],\"topics\":[{\"match\":\"a\"}],\"payload\":[]}]",
        "[{" DETAIL ",\"actions\":[\"publish\"],\"topics\":[{\"match\":\"a\"}],\"payload\":null}]",
        /* a good one before, a bad one after; actions that grant nothing do not excuse the topics */
        "[{" DETAIL ",\"actions\":[\"publish\"],\"topics\":[{\"match\":\"a\"}]},{" DETAIL "}]",
        "[{" DETAIL ",\"actions\":[\"publish\"],\"topics\":[{\"match\":\"a\"},{\"match\":2}]}]",
        "[{" DETAIL ",\"actions\":[\"unknown\"],\"topics\":[{\"match\":\"\"}]}]",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        mercure_grants *grants = NULL;
        if (grant(bad[i], &grants) != MERCURE_INVALID) {
            fail_msg("%s is accepted", bad[i]);
        }
    }
}

static char *joined(const char *prefix, const char *unit, int count, const char *suffix)
{
    char *text = malloc(strlen(prefix) + (strlen(unit) + 1) * (size_t)count + strlen(suffix) + 1), *at = text;

    at += sprintf(at, "%s", prefix);
    for (int i = 0; i < count; i++) {
        at += sprintf(at, "%s%s", i > 0 ? "," : "", unit);
    }
    sprintf(at, "%s", suffix);
    return text;
}

/* What does not fit into a token of 16 KiB is tried on the claims alone. */
static mercure_status make_grants(const char *details)
{
    json_t *claims = json_object();
    mercure_grants *grants = NULL;

    assert_int_equal(json_object_set_new(claims, "authorization_details", json_loads(details, 0, NULL)), 0);
    mercure_status status = mercure_grants_make(claims, NULL, NOW, &grants, &err);
    json_decref(claims);
    if (status == MERCURE_OK) {
        mercure_grants_release(grants);
    } else {
        assert_null(grants);
    }
    return status;
}

static void a_token_has_100_details_and_100_topics_at_most(void **state)
{
    const char *detail = "{" DETAIL ",\"actions\":[\"publish\"],\"topics\":[{\"match\":\"a\"}]}";
    const char *two = "{" DETAIL ",\"actions\":[\"publish\"],\"topics\":[{\"match\":\"a\"},{\"match\":\"b\"}]}";
    const struct {
        const char *prefix, *unit;
        int count;
        const char *suffix;
        mercure_status status;
    } cases[] = {
        {"[", detail, 100, "]", MERCURE_OK},
        {"[", detail, 101, "]", MERCURE_INVALID},
        {"[", two, 50, "]", MERCURE_OK},
        {"[", two, 51, "]", MERCURE_INVALID},
        {"[{" DETAIL ",\"actions\":[\"publish\"],\"topics\":[", "{\"match\":\"a\"}", 100, "]}]", MERCURE_OK},
        {"[{" DETAIL ",\"actions\":[\"publish\"],\"topics\":[", "{\"match\":\"a\"}", 101, "]}]", MERCURE_INVALID},
        {"[{" DETAIL ",\"actions\":[\"unknown\"],\"topics\":[", "{\"match\":\"a\"}", 101, "]}]", MERCURE_INVALID},
        {"[", "{\"type\":\"other\"}", 500, "]", MERCURE_OK},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char *details = joined(cases[i].prefix, cases[i].unit, cases[i].count, cases[i].suffix);
        assert_int_equal(make_grants(details), cases[i].status);
        free(details);
    }
}

static void a_matcher_in_a_token_has_4096_bytes_at_most(void **state)
{
    char text[4098], *details = NULL;

    (void)state;
    memset(text, 'x', 4097);
    text[4097] = '\0';
    assert_true(asprintf(&details, "[{" DETAIL ",\"actions\":[\"publish\"],\"topics\":[{\"match\":\"%s\"}]}]", text) >
                0);
    assert_int_equal(grant(details, NULL), MERCURE_INVALID);
    free(details);
    text[4096] = '\0';
    assert_true(asprintf(&details, "[{" DETAIL ",\"actions\":[\"publish\"],\"topics\":[{\"match\":\"%s\"}]}]", text) >
                0);
    assert_int_equal(grant(details, NULL), MERCURE_OK);
    free(details);
}

static void grants_live_until_their_last_reference_is_given_back(void **state)
{
    mercure_grants *grants = granted("[{" DETAIL ",\"actions\":[\"publish\"],\"topics\":[{\"match\":\"a\"}]}]");

    (void)state;
    assert_ptr_equal(mercure_grants_hold(grants), grants);
    mercure_grants_release(grants);
    assert_true(may_publish(grants, S("a"))); /* AddressSanitizer would see it gone */
    mercure_grants_release(grants);
    mercure_grants_release(NULL);
}

/* ---- the group ---- */

static int setup(void **state)
{
    (void)state;
    apr_initialize();
    rsa = EVP_RSA_gen(2048);
    rsa_short = EVP_RSA_gen(1024);
    p256 = EVP_EC_gen("P-256");
    p384 = EVP_EC_gen("P-384");
    p521 = EVP_EC_gen("P-521");
    ed25519 = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    ed448 = EVP_PKEY_Q_keygen(NULL, NULL, "ED448");
    if (rsa == NULL || rsa_short == NULL || p256 == NULL || p384 == NULL || p521 == NULL || ed25519 == NULL ||
        ed448 == NULL || apr_pool_create(&pool, NULL) != APR_SUCCESS) {
        return -1;
    }
    mercure_key *key = key_for(MERCURE_HS256);
    hs256_issuer.key = key;
    return 0;
}

static int teardown(void **state)
{
    EVP_PKEY *const keys[] = {rsa, rsa_short, p256, p384, p521, ed25519, ed448};

    (void)state;
    for (size_t i = 0; i < COUNT(keys); i++) {
        EVP_PKEY_free(keys[i]);
    }
    mercure_key_free((mercure_key *)hs256_issuer.key);
    apr_pool_destroy(pool);
    apr_terminate();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(algorithm_names_are_parsed_as_a_set),
        cmocka_unit_test(unknown_algorithm_names_are_refused),
        cmocka_unit_test(a_secret_is_as_long_as_its_hash_at_least),
        cmocka_unit_test(a_pem_file_is_no_secret),
        cmocka_unit_test(algorithms_of_two_kinds_do_not_share_a_key),
        cmocka_unit_test(a_curve_has_to_fit_its_algorithm),
        cmocka_unit_test(an_rsa_key_below_2048_bits_is_refused),
        cmocka_unit_test(a_private_key_is_refused),
        cmocka_unit_test(what_is_no_pem_is_refused_as_a_public_key),
        cmocka_unit_test(fingerprints_tell_keys_apart),
        cmocka_unit_test(every_algorithm_verifies_its_own_tokens),
        cmocka_unit_test(no_key_verifies_a_token_of_another_algorithm_kind),
        cmocka_unit_test(a_certificate_verifies_as_its_key_does),
        cmocka_unit_test(a_public_key_is_never_an_hmac_secret),
        cmocka_unit_test(alg_none_is_refused_in_every_spelling),
        cmocka_unit_test(a_good_header_with_an_empty_signature_is_refused),
        cmocka_unit_test(a_signature_cut_short_or_made_longer_is_refused),
        cmocka_unit_test(an_ecdsa_signature_in_der_is_refused),
        cmocka_unit_test(an_ecdsa_signature_of_zeros_is_refused),
        cmocka_unit_test(a_pss_salt_is_as_long_as_the_hash),
        cmocka_unit_test(a_token_signed_with_another_key_is_refused),
        cmocka_unit_test(typ_is_at_jwt_in_any_case_with_or_without_application),
        cmocka_unit_test(kid_and_keys_in_the_header_change_nothing),
        cmocka_unit_test(critical_extensions_are_refused),
        cmocka_unit_test(broken_json_is_refused),
        cmocka_unit_test(json_nested_very_deep_is_refused),
        cmocka_unit_test(duplicate_json_keys_are_refused),
        cmocka_unit_test(a_token_has_three_parts),
        cmocka_unit_test(every_truncation_of_a_token_is_refused),
        cmocka_unit_test(a_token_changed_in_any_character_is_refused),
        cmocka_unit_test(base64url_is_strict),
        cmocka_unit_test(a_token_has_16384_bytes_at_most),
        cmocka_unit_test(iss_is_one_of_the_issuers_exactly),
        cmocka_unit_test(aud_is_the_hub_alone_or_among_others),
        cmocka_unit_test(exp_is_there_and_in_the_future),
        cmocka_unit_test(grants_tell_when_they_end),
        cmocka_unit_test(nbf_is_kept_with_30_seconds_of_leeway),
        cmocka_unit_test(other_claims_change_nothing),
        cmocka_unit_test(keys_of_one_role_do_not_serve_the_other),
        cmocka_unit_test(any_of_an_issuers_keys_may_verify_but_no_other_issuers),
        cmocka_unit_test(the_reason_quotes_nothing_secret_and_no_control_character),
        cmocka_unit_test(no_details_grant_nothing),
        cmocka_unit_test(actions_grant_what_they_name_and_only_that),
        cmocka_unit_test(details_add_up_but_do_not_mix),
        cmocka_unit_test(a_malformed_detail_makes_the_whole_token_invalid),
        cmocka_unit_test(a_token_has_100_details_and_100_topics_at_most),
        cmocka_unit_test(a_matcher_in_a_token_has_4096_bytes_at_most),
        cmocka_unit_test(grants_live_until_their_last_reference_is_given_back),
    };

    return cmocka_run_group_tests_name("token", tests, setup, teardown);
}
