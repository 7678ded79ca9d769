/* token_maker.h - keys made at run time, and tokens signed with them. For the tests of tokens only: the other half of
 * what lib/ does, written against OpenSSL and the RFCs, not against lib/.
 */
#ifndef MERCURE_TOKEN_MAKER_H
#define MERCURE_TOKEN_MAKER_H

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "unit.h"

/* How to sign. `half` is the length of r and of s (RFC 7518, 3.4). */
typedef struct {
    const char *name;
    const char *digest;
    char kind; /* H, R, P, E, D */
    size_t half;
} maker_algorithm;

static const maker_algorithm maker_algorithms[] = {
    {"HS256", "SHA256", 'H', 0},  {"HS384", "SHA384", 'H', 0},  {"HS512", "SHA512", 'H', 0},
    {"RS256", "SHA256", 'R', 0},  {"RS384", "SHA384", 'R', 0},  {"RS512", "SHA512", 'R', 0},
    {"PS256", "SHA256", 'P', 0},  {"PS384", "SHA384", 'P', 0},  {"PS512", "SHA512", 'P', 0},
    {"ES256", "SHA256", 'E', 32}, {"ES384", "SHA384", 'E', 48}, {"ES512", "SHA512", 'E', 66},
    {"EdDSA", NULL, 'D', 0},
};

typedef struct {
    const maker_algorithm *algorithm;
    mercure_str secret; /* HS* */
    EVP_PKEY *private_key;
    int salt; /* PS*: RSA_PSS_SALTLEN_DIGEST */
    bool der; /* ES*: leave the signature as OpenSSL makes it */
} maker_signer;

static inline mercure_str maker_base64url(const void *data, size_t len)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const unsigned char *in = data;
    char *out = malloc(len * 4 / 3 + 4);
    size_t at = 0;
    unsigned bits = 0, count = 0;

    for (size_t i = 0; i < len; i++) {
        bits = bits << 8 | in[i];
        for (count += 8; count >= 6; count -= 6) {
            out[at++] = digits[bits >> (count - 6) & 63];
        }
    }
    if (count > 0) {
        out[at++] = digits[bits << (6 - count) & 63];
    }
    out[at] = '\0';
    return (mercure_str){out, at};
}

static inline size_t maker_sign(const maker_signer *signer, const char *text, unsigned char *signature, size_t room)
{
    const maker_algorithm *algorithm = signer->algorithm;
    size_t len = room;
    unsigned mac_len = 0;

    if (algorithm->kind == 'H') {
        assert_non_null(HMAC(EVP_get_digestbyname(algorithm->digest), signer->secret.data, (int)signer->secret.len,
                             (const unsigned char *)text, strlen(text), signature, &mac_len));
        return mac_len;
    }
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    EVP_PKEY_CTX *details;
    assert_int_equal(EVP_DigestSignInit_ex(context, &details, algorithm->digest, NULL, NULL, signer->private_key, NULL),
                     1);
    if (algorithm->kind == 'P') {
        assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(details, RSA_PKCS1_PSS_PADDING), 1);
        assert_int_equal(EVP_PKEY_CTX_set_rsa_pss_saltlen(details, signer->salt), 1);
    }
    assert_int_equal(EVP_DigestSign(context, signature, &len, (const unsigned char *)text, strlen(text)), 1);
    EVP_MD_CTX_free(context);
    if (algorithm->kind == 'E' && !signer->der) {
        const unsigned char *der = signature;
        ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &der, (long)len);
        assert_non_null(pair);
        BN_bn2binpad(ECDSA_SIG_get0_r(pair), signature, (int)algorithm->half);
        BN_bn2binpad(ECDSA_SIG_get0_s(pair), signature + algorithm->half, (int)algorithm->half);
        ECDSA_SIG_free(pair);
        len = 2 * algorithm->half;
    }
    return len;
}

/* "header.payload" in base64url; to be freed. */
static inline char *maker_body(mercure_str header, mercure_str payload)
{
    mercure_str first = maker_base64url(header.data, header.len), second = maker_base64url(payload.data, payload.len);
    char *text = NULL;

    assert_true(asprintf(&text, "%s.%s", first.data, second.data) > 0);
    free((char *)first.data);
    free((char *)second.data);
    return text;
}

/* Sign a body that may be anything; to be freed. */
static inline char *maker_finish(const maker_signer *signer, const char *body)
{
    unsigned char signature[1024];
    size_t len = maker_sign(signer, body, signature, sizeof(signature));
    mercure_str encoded = maker_base64url(signature, len);
    char *token = NULL;

    assert_true(asprintf(&token, "%s.%s", body, encoded.data) > 0);
    free((char *)encoded.data);
    return token;
}

static inline char *maker_token(const maker_signer *signer, const char *header, const char *payload)
{
    char *body = maker_body(mercure_str_of(header), mercure_str_of(payload));
    char *token = maker_finish(signer, body);

    free(body);
    return token;
}

/* Memory BIO to string, to be freed. */
static inline char *maker_text(BIO *bio)
{
    char *data, *text;
    long len = BIO_get_mem_data(bio, &data);

    text = malloc((size_t)len + 1);
    memcpy(text, data, (size_t)len);
    text[len] = '\0';
    BIO_free(bio);
    return text;
}

static inline char *maker_public_pem(EVP_PKEY *key)
{
    BIO *bio = BIO_new(BIO_s_mem());

    assert_int_equal(PEM_write_bio_PUBKEY(bio, key), 1);
    return maker_text(bio);
}

/* A self-signed certificate. */
static inline char *maker_certificate_pem(EVP_PKEY *key, const EVP_MD *digest)
{
    X509 *certificate = X509_new();
    BIO *bio = BIO_new(BIO_s_mem());

    X509_set_version(certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 86400);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC, (const unsigned char *)"issuer",
                               -1, -1, 0);
    X509_set_issuer_name(certificate, X509_get_subject_name(certificate));
    X509_set_pubkey(certificate, key);
    assert_true(X509_sign(certificate, key, digest) > 0);
    assert_int_equal(PEM_write_bio_X509(bio, certificate), 1);
    X509_free(certificate);
    return maker_text(bio);
}

#endif
