/* key.c - verification keys and signatures: the part of token.h that talks to OpenSSL. */
#include "key.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <stdlib.h>

static const key_facts algorithms[MERCURE_ALGORITHMS] = {
    [MERCURE_HS256] = {"HS256", KIND_SECRET, "SHA256", 32, NULL, false},
    [MERCURE_HS384] = {"HS384", KIND_SECRET, "SHA384", 48, NULL, false},
    [MERCURE_HS512] = {"HS512", KIND_SECRET, "SHA512", 64, NULL, false},
    [MERCURE_RS256] = {"RS256", KIND_RSA, "SHA256", 0, NULL, false},
    [MERCURE_RS384] = {"RS384", KIND_RSA, "SHA384", 0, NULL, false},
    [MERCURE_RS512] = {"RS512", KIND_RSA, "SHA512", 0, NULL, false},
    [MERCURE_PS256] = {"PS256", KIND_RSA, "SHA256", 0, NULL, true},
    [MERCURE_PS384] = {"PS384", KIND_RSA, "SHA384", 0, NULL, true},
    [MERCURE_PS512] = {"PS512", KIND_RSA, "SHA512", 0, NULL, true},
    [MERCURE_ES256] = {"ES256", KIND_EC, "SHA256", 32, "prime256v1", false},
    [MERCURE_ES384] = {"ES384", KIND_EC, "SHA384", 48, "secp384r1", false},
    [MERCURE_ES512] = {"ES512", KIND_EC, "SHA512", 66, "secp521r1", false},
    [MERCURE_EDDSA] = {"EdDSA", KIND_ED25519, NULL, 0, NULL, false},
};

const key_facts *key_facts_of(mercure_algorithm algorithm)
{
    return &algorithms[algorithm];
}

bool key_algorithm(mercure_str name, mercure_algorithm *algorithm)
{
    unsigned i;

    for (i = 0; i < MERCURE_ALGORITHMS; i++) {
        if (mercure_str_is(name, algorithms[i].name)) {
            *algorithm = (mercure_algorithm)i;
            return true;
        }
    }
    return false;
}

mercure_status mercure_algorithms_parse(mercure_str names, unsigned *set, mercure_error *err)
{
    const char *at = names.data, *end = names.data + names.len;

    *set = 0;
    for (;;) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        mercure_str name = {at, (size_t)((comma != NULL ? comma : end) - at)};
        mercure_algorithm algorithm;

        if (!key_algorithm(name, &algorithm)) {
            return mercure_fail(err, MERCURE_INVALID,
                                "%.*s is not a signature algorithm: use HS256, HS384, HS512, RS256, RS384, RS512, "
                                "PS256, PS384, PS512, ES256, ES384, ES512 or EdDSA",
                                (int)(name.len < 40 ? name.len : 40), name.data);
        }
        *set |= MERCURE_ALGORITHM_BIT(algorithm);
        if (comma == NULL) {
            return MERCURE_OK;
        }
        at = comma + 1;
    }
}

static bool looks_like_pem(mercure_str bytes)
{
    return memmem(bytes.data, bytes.len, "-----BEGIN", 10) != NULL;
}

static mercure_status make_secret(mercure_str bytes, unsigned set, mercure_key *key, mercure_error *err)
{
    unsigned i;

    if (looks_like_pem(bytes)) {
        return mercure_fail(err, MERCURE_INVALID,
                            "a PEM file is not an HMAC secret: name RS*, PS*, ES* or EdDSA instead");
    }
    for (i = MERCURE_HS256; i <= MERCURE_HS512; i++) {
        if ((set & MERCURE_ALGORITHM_BIT(i)) && bytes.len < algorithms[i].size) {
            return mercure_fail(err, MERCURE_INVALID,
                                "a secret of %zu bytes is too short for %s: use at least %zu bytes", bytes.len,
                                algorithms[i].name, algorithms[i].size);
        }
    }
    key->secret = malloc(bytes.len);
    if (key->secret == NULL) {
        return mercure_fail(err, MERCURE_SYSTEM, "no memory for a key");
    }
    memcpy(key->secret, bytes.data, bytes.len);
    key->secret_len = bytes.len;
    return MERCURE_OK;
}

static EVP_PKEY *read_public_key(mercure_str bytes)
{
    BIO *bio = BIO_new_mem_buf(bytes.data, (int)bytes.len);
    EVP_PKEY *public_key = NULL;
    X509 *certificate;

    if (bio == NULL) {
        return NULL;
    }
    if (memmem(bytes.data, bytes.len, "-----BEGIN CERTIFICATE", 22) == NULL) {
        public_key = PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);
    } else if ((certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
        public_key = X509_get_pubkey(certificate);
        X509_free(certificate);
    }
    BIO_free(bio);
    ERR_clear_error();
    return public_key;
}

mercure_status key_check_fit(EVP_PKEY *key, const char *what, unsigned set, mercure_error *err)
{
    char curve[64] = "";
    unsigned i;

    /* Fails for keys that have no curve, and leaves the name empty then. */
    (void)EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_GROUP_NAME, curve, sizeof(curve), NULL);
    for (i = MERCURE_RS256; i < MERCURE_ALGORITHMS; i++) {
        bool fits = true;
        if (!(set & MERCURE_ALGORITHM_BIT(i))) {
            continue;
        }
        switch (algorithms[i].kind) {
        case KIND_RSA:
            fits = EVP_PKEY_is_a(key, "RSA") || (algorithms[i].pss && EVP_PKEY_is_a(key, "RSA-PSS"));
            break;
        case KIND_EC:
            fits = EVP_PKEY_is_a(key, "EC") && strcmp(curve, algorithms[i].curve) == 0;
            break;
        case KIND_ED25519:
            fits = EVP_PKEY_is_a(key, "ED25519");
            break;
        case KIND_SECRET:
            fits = false;
            break;
        }
        if (!fits) {
            return mercure_fail(err, MERCURE_INVALID, "the %s is %s%s%s, which does not fit %s", what,
                                EVP_PKEY_get0_type_name(key), curve[0] != '\0' ? " on " : "", curve,
                                algorithms[i].name);
        }
        if (algorithms[i].kind == KIND_RSA && EVP_PKEY_get_bits(key) < 2048) {
            return mercure_fail(err, MERCURE_INVALID, "an RSA key of %d bits is too short: use at least 2048",
                                EVP_PKEY_get_bits(key));
        }
    }
    return MERCURE_OK;
}

unsigned key_algorithms(EVP_PKEY *public_key)
{
    unsigned i, set = 0;

    for (i = MERCURE_RS256; i < MERCURE_ALGORITHMS; i++) {
        if (key_check_fit(public_key, "public key", MERCURE_ALGORITHM_BIT(i), NULL) == MERCURE_OK) {
            set |= MERCURE_ALGORITHM_BIT(i);
        }
    }
    return set;
}

static mercure_status make_public(mercure_str bytes, unsigned set, mercure_key *key, mercure_error *err)
{
    if (memmem(bytes.data, bytes.len, "PRIVATE KEY", 11) != NULL) {
        return mercure_fail(err, MERCURE_INVALID,
                            "this is a private key, which a hub does not need: give the public key");
    }
    if (bytes.len > 65536 || !looks_like_pem(bytes)) {
        return mercure_fail(err, MERCURE_INVALID, "a public key must be a PEM file (-----BEGIN PUBLIC KEY-----)");
    }
    key->public_key = read_public_key(bytes);
    if (key->public_key == NULL) {
        return mercure_fail(err, MERCURE_INVALID, "the PEM holds neither a public key nor a certificate");
    }
    return key_check_fit(key->public_key, "public key", set, err);
}

mercure_status mercure_key_make(mercure_str bytes, unsigned set, mercure_key **result, mercure_error *err)
{
    const unsigned secrets = MERCURE_ALGORITHM_BIT(MERCURE_HS256) | MERCURE_ALGORITHM_BIT(MERCURE_HS384) |
                             MERCURE_ALGORITHM_BIT(MERCURE_HS512);
    mercure_key *key;
    mercure_status status;

    if ((set & secrets) != 0 && (set & ~secrets) != 0) {
        return mercure_fail(err, MERCURE_INVALID,
                            "HS* beside public-key algorithms with one key: use one line for each");
    }
    key = calloc(1, sizeof(*key));
    if (key == NULL) {
        return mercure_fail(err, MERCURE_SYSTEM, "no memory for a key");
    }
    key->references = 1;
    SHA256((const unsigned char *)bytes.data, bytes.len, key->fingerprint);
    status = (set & secrets) != 0 ? make_secret(bytes, set, key, err) : make_public(bytes, set, key, err);
    if (status != MERCURE_OK) {
        mercure_key_free(key);
        return status;
    }
    *result = key;
    return MERCURE_OK;
}

const unsigned char *mercure_key_fingerprint(const mercure_key *key)
{
    return key->fingerprint;
}

mercure_key *mercure_key_hold(mercure_key *key)
{
    atomic_fetch_add(&key->references, 1);
    return key;
}

void mercure_key_free(mercure_key *key)
{
    if (key == NULL || atomic_fetch_sub(&key->references, 1) != 1) {
        return;
    }
    if (key->secret != NULL) {
        OPENSSL_cleanse(key->secret, key->secret_len);
        free(key->secret);
    }
    EVP_PKEY_free(key->public_key);
    key_set_free(key->set);
    free(key);
}

static bool verify_secret(const mercure_key *key, mercure_algorithm algorithm, mercure_str signed_part,
                          mercure_str signature)
{
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned mac_len = 0;

    if (HMAC(EVP_get_digestbyname(algorithms[algorithm].digest), key->secret, (int)key->secret_len,
             (const unsigned char *)signed_part.data, signed_part.len, mac, &mac_len) == NULL) {
        return false;
    }
    return signature.len == mac_len && CRYPTO_memcmp(signature.data, mac, mac_len) == 0;
}

/* A JWS carries r and s side by side, OpenSSL wants them in DER. Free the result with OPENSSL_free(). */
static unsigned char *ecdsa_to_der(mercure_str signature, size_t half, int *len)
{
    const unsigned char *raw = (const unsigned char *)signature.data;
    unsigned char *der = NULL;
    ECDSA_SIG *pair;
    BIGNUM *r, *s;

    if (signature.len != 2 * half || (pair = ECDSA_SIG_new()) == NULL) {
        return NULL;
    }
    r = BN_bin2bn(raw, (int)half, NULL);
    s = BN_bin2bn(raw + half, (int)half, NULL);
    if (r == NULL || s == NULL || ECDSA_SIG_set0(pair, r, s) != 1) {
        BN_free(r);
        BN_free(s);
        ECDSA_SIG_free(pair);
        return NULL;
    }
    *len = i2d_ECDSA_SIG(pair, &der);
    ECDSA_SIG_free(pair);
    return *len > 0 ? der : NULL;
}

static bool verify_digest(EVP_MD_CTX *context, const mercure_key *key, mercure_algorithm algorithm,
                          mercure_str signed_part, const unsigned char *signature, size_t len)
{
    const char *digest = algorithms[algorithm].digest;
    EVP_PKEY_CTX *details = NULL;

    if (EVP_DigestVerifyInit_ex(context, &details, digest, NULL, NULL, key->public_key, NULL) != 1) {
        return false;
    }
    if (algorithms[algorithm].pss && (EVP_PKEY_CTX_set_rsa_padding(details, RSA_PKCS1_PSS_PADDING) != 1 ||
                                      EVP_PKEY_CTX_set_rsa_pss_saltlen(details, RSA_PSS_SALTLEN_DIGEST) != 1)) {
        return false;
    }
    return EVP_DigestVerify(context, signature, len, (const unsigned char *)signed_part.data, signed_part.len) == 1;
}

static bool verify_public(const mercure_key *key, mercure_algorithm algorithm, mercure_str signed_part,
                          mercure_str signature)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    unsigned char *der = NULL;
    bool good = false;
    int der_len = 0;

    if (context == NULL) {
        return false;
    }
    if (algorithms[algorithm].kind == KIND_EC) {
        der = ecdsa_to_der(signature, algorithms[algorithm].size, &der_len);
        good = der != NULL && verify_digest(context, key, algorithm, signed_part, der, (size_t)der_len);
    } else {
        good =
            verify_digest(context, key, algorithm, signed_part, (const unsigned char *)signature.data, signature.len);
    }
    OPENSSL_free(der);
    EVP_MD_CTX_free(context);
    ERR_clear_error(); /* what failed here is nobody else's error: mod_ssl looks at the same thread's queue */
    return good;
}

bool key_verify(const mercure_key *key, mercure_algorithm algorithm, mercure_str signed_part, mercure_str signature)
{
    if (algorithms[algorithm].kind == KIND_SECRET) {
        return key->secret != NULL && verify_secret(key, algorithm, signed_part, signature);
    }
    return key->public_key != NULL && verify_public(key, algorithm, signed_part, signature);
}
