/* test_jwks.c - key sets: the RFCs' own examples, tokens verified with a set, what is skipped, and garbage. */
#include "mercure/jwks.h"

#include "../../lib/key.h"
#include "token_maker.h"

#define NOW      INT64_C(1700000000)
#define ISS      "https://login.example"
#define AUDIENCE "https://hub.example/.well-known/mercure"
#define CLAIMS   "{\"iss\":\"" ISS "\",\"aud\":\"" AUDIENCE "\",\"exp\":1700000060}"

static mercure_error err;
static EVP_PKEY *rsa, *rsa_other, *rsa_small, *p256, *p384, *p521, *ed25519;

static mercure_status parse(const char *text, mercure_key **set)
{
    char *copy = unit_exact(mercure_str_of(text));
    mercure_status status;

    *set = NULL;
    err.reason[0] = '\0';
    status = mercure_jwks_parse((mercure_str){copy, strlen(text)}, set, &err);
    free(copy);
    return status;
}

static mercure_key *parsed(const char *text)
{
    mercure_key *set;

    if (parse(text, &set) != MERCURE_OK) {
        fail_msg("%s: %s", text, err.reason);
    }
    return set;
}

/* --- the RFCs --- */

#define RFC7517_EC                                                                                                     \
    "\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4\","                          \
    "\"y\":\"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM\""
#define RFC7517_RSA                                                                                                    \
    "\"kty\":\"RSA\",\"n\":\"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_"  \
    "BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs" \
    "8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls" \
    "1jF44-csFCur-kEgU8awapJzKnqDKgw\",\"e\":\"AQAB\""

static void the_set_of_rfc_7517_is_read(void **state)
{
    mercure_key *set = parsed("{\"keys\":[{" RFC7517_EC ",\"use\":\"enc\",\"kid\":\"1\"},{" RFC7517_RSA
                              ",\"alg\":\"RS256\",\"kid\":\"2011-04-29\"}]}");

    (void)state;
    assert_int_equal(mercure_jwks_count(set), 1); /* the first is for encryption */
    assert_int_equal(mercure_jwks_skipped(set), 1);
    mercure_key_free(set);
}

static void a_key_of_the_rfc_verifies_the_rfc_s_signature(void **state)
{
    static const struct {
        const char *keys, *body, *signature;
        mercure_algorithm algorithm;
    } cases[] = {
        /* RFC 8037, A.2 and A.4 */
        {"{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}",
         "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
         "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg", MERCURE_EDDSA},
        /* RFC 7515, A.3 */
        {"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\",\"y\":"
         "\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}]}",
         "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0"
         "cnVlfQ",
         "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q", MERCURE_ES256},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        mercure_key *set = parsed(cases[i].keys);
        unsigned char raw[128] = {0};
        mercure_str signature = {(char *)raw, 64}, body = mercure_str_of(cases[i].body);
        EVP_ENCODE_CTX *decode = EVP_ENCODE_CTX_new();
        char standard[96];
        int len = 0, rest = 0;
        snprintf(standard, sizeof(standard), "%s==", cases[i].signature);
        for (char *at = standard; *at != '\0'; at++) {
            *at = *at == '-' ? '+' : *at == '_' ? '/' : *at;
        }
        EVP_DecodeInit(decode);
        assert_true(EVP_DecodeUpdate(decode, raw, &len, (unsigned char *)standard, (int)strlen(standard)) >= 0);
        EVP_DecodeFinal(decode, raw + len, &rest);
        EVP_ENCODE_CTX_free(decode);
        assert_int_equal(len + rest, 64);
        assert_int_equal(key_set_verify(set->set, S(""), cases[i].algorithm, body, signature), KEY_GOOD);
        raw[40] ^= 1;
        assert_int_equal(key_set_verify(set->set, S(""), cases[i].algorithm, body, signature), KEY_LACKING);
        mercure_key_free(set);
    }
}

/* --- tokens --- */

static char *number_member(EVP_PKEY *key, const char *name, int width)
{
    BIGNUM *number = NULL;
    unsigned char raw[1024];
    int len;

    assert_int_equal(EVP_PKEY_get_bn_param(key, name, &number), 1);
    len = BN_bn2binpad(number, raw, width > 0 ? width : BN_num_bytes(number));
    BN_free(number);
    return (char *)maker_base64url(raw, (size_t)len).data;
}

/* A key as a JWK, with further members in `more`; to be freed. */
static char *jwk_of(EVP_PKEY *key, const char *more)
{
    char *a, *b = NULL, *text = NULL;

    if (key == ed25519) {
        unsigned char raw[32];
        size_t len = sizeof(raw);
        assert_int_equal(EVP_PKEY_get_raw_public_key(key, raw, &len), 1);
        a = (char *)maker_base64url(raw, len).data;
        assert_true(asprintf(&text, "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"%s\"%s}", a, more) > 0);
    } else if (EVP_PKEY_is_a(key, "RSA")) {
        a = number_member(key, "n", 0);
        b = number_member(key, "e", 0);
        assert_true(asprintf(&text, "{\"kty\":\"RSA\",\"n\":\"%s\",\"e\":\"%s\"%s}", a, b, more) > 0);
    } else {
        const char *crv = key == p256 ? "P-256" : key == p384 ? "P-384" : "P-521";
        int size = key == p256 ? 32 : key == p384 ? 48 : 66;
        a = number_member(key, "qx", size);
        b = number_member(key, "qy", size);
        assert_true(asprintf(&text, "{\"kty\":\"EC\",\"crv\":\"%s\",\"x\":\"%s\",\"y\":\"%s\"%s}", crv, a, b, more) >
                    0);
    }
    free(a);
    free(b);
    return text;
}

/* A set of one or two such keys. */
static mercure_key *set_of(EVP_PKEY *first, const char *more_first, EVP_PKEY *second, const char *more_second)
{
    char *one = jwk_of(first, more_first), *two = second != NULL ? jwk_of(second, more_second) : NULL, *text = NULL;
    mercure_key *set;

    assert_true(asprintf(&text, "{\"keys\":[%s%s%s]}", one, two != NULL ? "," : "", two != NULL ? two : "") > 0);
    set = parsed(text);
    free(one);
    free(two);
    free(text);
    return set;
}

static EVP_PKEY *private_key_for(mercure_algorithm algorithm)
{
    return algorithm == MERCURE_ES256   ? p256
           : algorithm == MERCURE_ES384 ? p384
           : algorithm == MERCURE_ES512 ? p521
           : algorithm == MERCURE_EDDSA ? ed25519
                                        : rsa;
}

#define ANY ((1u << MERCURE_ALGORITHMS) - 1)

static mercure_status verify(const mercure_key *set, unsigned algorithms, mercure_algorithm algorithm, EVP_PKEY *with,
                             const char *header_more)
{
    mercure_issuer issuer = {ISS, MERCURE_ROLE_PUBLISHER, algorithms, set};
    mercure_trust trust = {.issuers = &issuer, .issuer_count = 1, .audience = AUDIENCE};
    maker_signer signer = {&maker_algorithms[algorithm], S(""), with, RSA_PSS_SALTLEN_DIGEST, false};
    mercure_grants *grants = NULL;
    mercure_status status;
    char *header = NULL, *token;

    assert_true(
        asprintf(&header, "{\"alg\":\"%s\",\"typ\":\"at+jwt\"%s}", maker_algorithms[algorithm].name, header_more) > 0);
    token = maker_token(&signer, header, CLAIMS);
    err.reason[0] = '\0';
    status = mercure_token_verify(mercure_str_of(token), &trust, MERCURE_ROLE_PUBLISHER, NOW, &grants, &err);
    if (status == MERCURE_OK) {
        mercure_grants_release(grants);
    }
    free(header);
    free(token);
    return status;
}

static void tokens_of_every_public_algorithm_verify_with_a_set(void **state)
{
    (void)state;
    for (unsigned i = MERCURE_RS256; i < MERCURE_ALGORITHMS; i++) {
        mercure_algorithm algorithm = (mercure_algorithm)i;
        mercure_key *set = set_of(rsa_other, ",\"kid\":\"other\"", private_key_for(algorithm), ",\"kid\":\"k\"");
        assert_int_equal(mercure_jwks_count(set), 2);
        assert_int_equal(verify(set, ANY, algorithm, private_key_for(algorithm), ",\"kid\":\"k\""), MERCURE_OK);
        assert_int_equal(verify(set, ANY, algorithm, private_key_for(algorithm), ""), MERCURE_OK);
        /* The configured list stands above the set. */
        assert_int_equal(verify(set, ANY & ~(1u << i), algorithm, private_key_for(algorithm), ",\"kid\":\"k\""),
                         MERCURE_INVALID);
        mercure_key_free(set);
    }
}

static void a_kid_only_narrows_the_choice(void **state)
{
    mercure_key *set = set_of(rsa, ",\"kid\":\"a\"", rsa_other, ",\"kid\":\"b\"");
    mercure_key *nameless = set_of(rsa, "", p256, ",\"kid\":\"p\"");
    mercure_key *twins = set_of(rsa, ",\"kid\":\"a\"", rsa_other, ",\"kid\":\"a\"");

    (void)state;
    assert_int_equal(verify(set, ANY, MERCURE_RS256, rsa, ",\"kid\":\"a\""), MERCURE_OK);
    assert_int_equal(verify(set, ANY, MERCURE_RS256, rsa, ",\"kid\":\"b\""), MERCURE_INVALID);
    assert_int_equal(verify(set, ANY, MERCURE_RS256, rsa, ",\"kid\":\"c\""), MERCURE_NOT_FOUND);
    assert_int_equal(verify(set, ANY, MERCURE_RS256, rsa, ",\"kid\":\"\""), MERCURE_OK);
    assert_int_equal(verify(set, ANY, MERCURE_RS256, rsa, ",\"kid\":7"), MERCURE_OK);
    assert_int_equal(verify(set, ANY, MERCURE_ES256, p256, ",\"kid\":\"a\""), MERCURE_INVALID);
    assert_int_equal(verify(set, ANY, MERCURE_ES256, p256, ""), MERCURE_NOT_FOUND);
    assert_int_equal(verify(nameless, ANY, MERCURE_RS256, rsa, ",\"kid\":\"anything\""), MERCURE_OK);
    assert_int_equal(verify(nameless, ANY, MERCURE_RS256, rsa_other, ",\"kid\":\"anything\""), MERCURE_NOT_FOUND);
    assert_int_equal(verify(nameless, ANY, MERCURE_ES256, p256, ",\"kid\":\"other\""), MERCURE_NOT_FOUND);
    assert_int_equal(verify(twins, ANY, MERCURE_RS256, rsa_other, ",\"kid\":\"a\""), MERCURE_OK);
    mercure_key_free(set);
    mercure_key_free(nameless);
    mercure_key_free(twins);
}

static void a_set_that_is_not_there_yet_is_told_from_a_bad_signature(void **state)
{
    (void)state;
    assert_int_equal(verify(NULL, ANY, MERCURE_RS256, rsa, ""), MERCURE_NOT_FOUND);
    assert_non_null(strstr(err.reason, "has not been fetched"));
}

static void a_key_in_the_token_s_own_header_is_ignored(void **state)
{
    mercure_key *set = set_of(rsa, ",\"kid\":\"a\"", NULL, NULL);
    char *own = jwk_of(p256, ",\"kid\":\"p\""), *more = NULL;

    (void)state;
    assert_true(
        asprintf(&more, ",\"jwk\":%s,\"jku\":\"https://evil.example/\",\"x5u\":\"https://evil.example/\"", own) > 0);
    assert_int_equal(verify(set, ANY, MERCURE_ES256, p256, more), MERCURE_NOT_FOUND);
    assert_int_equal(verify(set, ANY, MERCURE_RS256, rsa, more), MERCURE_OK);
    free(own);
    free(more);
    mercure_key_free(set);
}

static void the_alg_of_a_key_is_kept(void **state)
{
    mercure_key *set = set_of(rsa, ",\"kid\":\"a\",\"alg\":\"PS256\"", NULL, NULL);

    (void)state;
    assert_int_equal(verify(set, ANY, MERCURE_PS256, rsa, ",\"kid\":\"a\""), MERCURE_OK);
    assert_int_equal(verify(set, ANY, MERCURE_RS256, rsa, ",\"kid\":\"a\""), MERCURE_INVALID);
    assert_int_equal(verify(set, ANY, MERCURE_PS384, rsa, ",\"kid\":\"a\""), MERCURE_INVALID);
    mercure_key_free(set);
}

static void a_public_key_is_never_an_hmac_secret(void **state)
{
    mercure_key *set = set_of(rsa, "", p256, "");
    char *pem = maker_public_pem(rsa);
    maker_signer signer = {&maker_algorithms[MERCURE_HS256], mercure_str_of(pem), NULL, 0, false};
    mercure_issuer issuer = {ISS, MERCURE_ROLE_PUBLISHER, ANY, set};
    mercure_trust trust = {.issuers = &issuer, .issuer_count = 1, .audience = AUDIENCE};
    char *token = maker_token(&signer, "{\"alg\":\"HS256\",\"typ\":\"at+jwt\"}", CLAIMS);
    mercure_grants *grants = NULL;

    (void)state;
    assert_int_not_equal(
        mercure_token_verify(mercure_str_of(token), &trust, MERCURE_ROLE_PUBLISHER, NOW, &grants, &err), MERCURE_OK);
    assert_int_equal(mercure_jwks_check_algorithms(ANY, &err), MERCURE_INVALID);
    assert_non_null(strstr(err.reason, "RS*, PS*, ES* or EdDSA"));
    assert_int_equal(mercure_jwks_check_algorithms(1u << MERCURE_ES256 | 1u << MERCURE_RS256, &err), MERCURE_OK);
    free(pem);
    free(token);
    mercure_key_free(set);
}

static void the_issuer_that_a_token_claims_is_seen(void **state)
{
    maker_signer signer = {&maker_algorithms[MERCURE_RS256], S(""), rsa, 0, false};
    char *token = maker_token(&signer, "{\"alg\":\"RS256\"}", CLAIMS);

    (void)state;
    assert_true(mercure_token_claims_issuer(mercure_str_of(token), ISS));
    assert_false(mercure_token_claims_issuer(mercure_str_of(token), ISS "/"));
    assert_false(mercure_token_claims_issuer(S("a.b.c"), ISS));
    assert_false(mercure_token_claims_issuer(S("nothing"), ISS));
    free(token);
}

/* --- what is skipped, what is refused --- */

static void keys_that_may_not_be_used_are_skipped(void **state)
{
    static const char *const more[] = {
        ",\"use\":\"enc\"",        ",\"use\":7",        ",\"use\":null",
        ",\"key_ops\":[\"sign\"]", ",\"key_ops\":[]",   ",\"key_ops\":\"verify\"",
        ",\"d\":\"AQAB\"",         ",\"d\":null",       ",\"alg\":\"RSA-OAEP\"",
        ",\"alg\":\"HS256\"",      ",\"alg\":\"none\"", ",\"alg\":\"ES256\"",
        ",\"alg\":null",
    };
    static const char *const usable[] = {
        ",\"use\":\"sig\"",
        ",\"key_ops\":[\"verify\"]",
        ",\"key_ops\":[\"x\",1,\"verify\"]",
        ",\"kid\":7",
        ",\"x5c\":[\"garbage\"],\"x5t\":1,\"unknown\":{}",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(more); i++) {
        mercure_key *set = set_of(p384, "", rsa, more[i]);
        if (mercure_jwks_count(set) != 1 || mercure_jwks_skipped(set) != 1) {
            fail_msg("%s is taken", more[i]);
        }
        mercure_key_free(set);
    }
    for (size_t i = 0; i < COUNT(usable); i++) {
        mercure_key *set = set_of(rsa, usable[i], NULL, NULL);
        assert_int_equal(mercure_jwks_count(set), 1);
        mercure_key_free(set);
    }
}

static void keys_that_are_none_are_skipped(void **state)
{
    static const char *const bad[] = {
        "1",
        "null",
        "[]",
        "{}",
        "{\"kty\":\"oct\",\"k\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}",
        "{\"kty\":\"rsa\",\"n\":\"AQAB\",\"e\":\"AQAB\"}",
        "{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}",
        "{\"kty\":\"RSA\",\"n\":\"\",\"e\":\"\"}",
        "{\"kty\":\"RSA\",\"e\":\"AQAB\"}",
        "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo=\"}",
        /* a point off its curve, one of another size, one that is missing, another curve */
        "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4\",\"y\":"
        "\"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyN\"}",
        "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4\",\"y\":"
        "\"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyA\"}",
        "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"MKBC\",\"y\":\"4Etl\"}",
        "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4\"}",
        "{\"kty\":\"EC\",\"crv\":\"P-384\",\"x\":\"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4\",\"y\":"
        "\"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM\"}",
        "{\"kty\":\"EC\",\"crv\":\"secp256k1\",\"x\":\"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4\",\"y\":"
        "\"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM\"}",
        "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\",\"y\":"
        "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}",
        "{\"kty\":\"OKP\",\"crv\":\"Ed448\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}",
        "{\"kty\":\"OKP\",\"crv\":\"X25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}",
        "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcH\"}",
        "{\"kty\":\"OKP\",\"crv\":\"Ed25519\"}",
        "{\"kty\":{},\"crv\":[]}",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        char *text = NULL;
        mercure_key *set;
        assert_true(asprintf(&text, "{\"keys\":[%s]}", bad[i]) > 0);
        if (parse(text, &set) != MERCURE_INVALID || strstr(err.reason, "none of the 1 keys") == NULL) {
            fail_msg("%s: %s", text, err.reason);
        }
        free(text);
    }
}

static void exponents_that_verify_anything_and_short_moduli_are_skipped(void **state)
{
    static const char *const exponents[] = {"AQ", "Ag", "AA", "", "AAAAAAAAAAAB", "AQABAQABAQABAQAB"};
    char *n = number_member(rsa, "n", 0), *small = jwk_of(rsa_small, ""), *text = NULL;
    mercure_key *set;

    (void)state;
    for (size_t i = 0; i < COUNT(exponents); i++) {
        assert_true(asprintf(&text, "{\"keys\":[{\"kty\":\"RSA\",\"n\":\"%s\",\"e\":\"%s\"}]}", n, exponents[i]) > 0);
        if (parse(text, &set) != MERCURE_INVALID) {
            fail_msg("the exponent %s is taken", exponents[i]);
        }
        free(text);
    }
    assert_true(asprintf(&text, "{\"keys\":[%s]}", small) > 0);
    assert_int_equal(parse(text, &set), MERCURE_INVALID);
    free(text);
    free(small);
    free(n);
}

static void a_modulus_that_costs_too_much_is_skipped(void **state)
{
    char n[2048], *text = NULL;
    mercure_key *set;

    (void)state;
    memset(n, '_', sizeof(n)); /* all bits set: odd, and long */
    assert_true(asprintf(&text, "{\"keys\":[{\"kty\":\"RSA\",\"n\":\"%.1368s\",\"e\":\"AQAB\"}]}", n) > 0);
    assert_int_equal(parse(text, &set), MERCURE_INVALID); /* 1026 bytes */
    free(text);
    assert_true(asprintf(&text, "{\"keys\":[{\"kty\":\"RSA\",\"n\":\"%.1364s\",\"e\":\"AQAB\"}]}", n) > 0);
    assert_int_equal(parse(text, &set), MERCURE_OK); /* 1023 bytes */
    mercure_key_free(set);
    free(text);
}

static void documents_that_are_no_set_are_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "{",
        "[]",
        "null",
        "{}",
        "{\"keys\":{}}",
        "{\"keys\":null}",
        "{\"keys\":\"x\"}",
        "{\"Keys\":[]}",
        "{\"keys\":[]",
        "{\"keys\":[]} x",
        "<html><body>Service Unavailable</body></html>",
        "{\"keys\":[],\"keys\":[{" RFC7517_RSA "}]}",
        "{" RFC7517_RSA "}",
    };
    mercure_key *set;

    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        if (parse(bad[i], &set) != MERCURE_INVALID || set != NULL) {
            fail_msg("%s is taken", bad[i]);
        }
    }
    assert_int_equal(parse("{\"keys\":[]}", &set), MERCURE_INVALID);
}

static void too_many_keys_and_too_many_bytes_are_refused(void **state)
{
    static const char one[] =
        "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}";
    char *text = malloc(MERCURE_JWKS_MAX_BYTES + 2), *at = text;
    mercure_key *set;

    (void)state;
    at += sprintf(at, "{\"keys\":[%s", one);
    for (int i = 1; i < MERCURE_JWKS_MAX_KEYS; i++) {
        at += sprintf(at, ",%s", one);
    }
    sprintf(at, "]}");
    set = parsed(text);
    assert_int_equal(mercure_jwks_count(set), MERCURE_JWKS_MAX_KEYS);
    mercure_key_free(set);
    sprintf(at, ",%s]}", one);
    assert_int_equal(parse(text, &set), MERCURE_LIMIT);
    at = text + sprintf(text, "{\"keys\":[%s]}", one);
    memset(at, ' ', (size_t)(text + MERCURE_JWKS_MAX_BYTES - at));
    text[MERCURE_JWKS_MAX_BYTES] = '\0';
    set = parsed(text);
    mercure_key_free(set);
    text[MERCURE_JWKS_MAX_BYTES] = ' ';
    text[MERCURE_JWKS_MAX_BYTES + 1] = '\0';
    assert_int_equal(parse(text, &set), MERCURE_LIMIT);
    free(text);
}

static void mutated_sets_are_refused_or_read_within_their_bytes(void **state)
{
    char *good = jwk_of(p256, ",\"kid\":\"a\""), *other = jwk_of(ed25519, ",\"use\":\"sig\""), *text = NULL;
    uint64_t random = 7;
    int len = asprintf(&text, "{\"keys\":[%s,%s]}", good, other);

    (void)state;
    for (int i = 0; i < 20000; i++) {
        char *copy = strdup(text);
        mercure_key *set;
        for (uint32_t n = unit_draw(&random, 3) + 1; n > 0; n--) {
            copy[unit_draw(&random, (uint32_t)len)] = (char)(unit_draw(&random, 255) + 1);
        }
        if (parse(copy, &set) == MERCURE_OK) {
            mercure_key_free(set);
        }
        free(copy);
    }
    free(good);
    free(other);
    free(text);
}

static void a_set_has_a_fingerprint_and_is_shared(void **state)
{
    mercure_key *set = set_of(rsa, "", NULL, NULL), *same = set_of(rsa, "", NULL, NULL);
    mercure_key *other = set_of(rsa, "", p256, "");

    (void)state;
    assert_memory_equal(mercure_key_fingerprint(set), mercure_key_fingerprint(same), MERCURE_FINGERPRINT);
    assert_memory_not_equal(mercure_key_fingerprint(set), mercure_key_fingerprint(other), MERCURE_FINGERPRINT);
    assert_ptr_equal(mercure_key_hold(set), set);
    mercure_key_free(set);
    assert_int_equal(verify(set, ANY, MERCURE_RS256, rsa, ""), MERCURE_OK);
    mercure_key_free(set);
    mercure_key_free(same);
    mercure_key_free(other);
}

static int make_keys(void **state)
{
    (void)state;
    rsa = EVP_RSA_gen(2048);
    rsa_other = EVP_RSA_gen(2048);
    rsa_small = EVP_RSA_gen(2040);
    p256 = EVP_EC_gen("P-256");
    p384 = EVP_EC_gen("P-384");
    p521 = EVP_EC_gen("P-521");
    ed25519 = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    return rsa == NULL || rsa_other == NULL || rsa_small == NULL || ed25519 == NULL;
}

static int free_keys(void **state)
{
    EVP_PKEY *keys[] = {rsa, rsa_other, rsa_small, p256, p384, p521, ed25519};

    (void)state;
    for (size_t i = 0; i < COUNT(keys); i++) {
        EVP_PKEY_free(keys[i]);
    }
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_set_of_rfc_7517_is_read),
        cmocka_unit_test(a_key_of_the_rfc_verifies_the_rfc_s_signature),
        cmocka_unit_test(tokens_of_every_public_algorithm_verify_with_a_set),
        cmocka_unit_test(a_kid_only_narrows_the_choice),
        cmocka_unit_test(a_set_that_is_not_there_yet_is_told_from_a_bad_signature),
        cmocka_unit_test(a_key_in_the_token_s_own_header_is_ignored),
        cmocka_unit_test(the_alg_of_a_key_is_kept),
        cmocka_unit_test(a_public_key_is_never_an_hmac_secret),
        cmocka_unit_test(the_issuer_that_a_token_claims_is_seen),
        cmocka_unit_test(keys_that_may_not_be_used_are_skipped),
        cmocka_unit_test(keys_that_are_none_are_skipped),
        cmocka_unit_test(exponents_that_verify_anything_and_short_moduli_are_skipped),
        cmocka_unit_test(a_modulus_that_costs_too_much_is_skipped),
        cmocka_unit_test(documents_that_are_no_set_are_refused),
        cmocka_unit_test(too_many_keys_and_too_many_bytes_are_refused),
        cmocka_unit_test(mutated_sets_are_refused_or_read_within_their_bytes),
        cmocka_unit_test(a_set_has_a_fingerprint_and_is_shared),
    };

    return cmocka_run_group_tests(tests, make_keys, free_keys);
}
