/* token_sign.c - see token_sign.h. Verification (key.c) knows nothing of this file. */
#include "mercure/token_sign.h"
#include "mercure/limits.h"

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdlib.h>

#include "base64url.h"
#include "key.h"

/* One of the two is there. */
struct mercure_signing_key {
    mercure_algorithm algorithm;
    mercure_key *secret;   /* HS* */
    EVP_PKEY *private_key; /* all other algorithms */
};

/* --- keys --- */

/* Without this OpenSSL would ask at the terminal. */
static int no_passphrase(char *buffer, int size, int writing, void *encrypted)
{
    (void)buffer;
    (void)size;
    (void)writing;
    *(bool *)encrypted = true;
    return -1;
}

static mercure_status read_private_key(mercure_str bytes, EVP_PKEY **private_key, mercure_error *err)
{
    bool encrypted = false;
    BIO *bio;

    if (bytes.len > 65536 || memmem(bytes.data, bytes.len, "-----BEGIN", 10) == NULL) {
        return mercure_fail(err, MERCURE_INVALID, "a private key must be a PEM file (-----BEGIN PRIVATE KEY-----)");
    }
    if (memmem(bytes.data, bytes.len, "PRIVATE KEY", 11) == NULL) {
        return mercure_fail(err, MERCURE_INVALID,
                            "this is a public key or a certificate, which cannot sign: give the private key");
    }
    if ((bio = BIO_new_mem_buf(bytes.data, (int)bytes.len)) == NULL) {
        return mercure_fail(err, MERCURE_SYSTEM, "no memory for a key");
    }
    *private_key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, &encrypted);
    BIO_free(bio);
    ERR_clear_error();
    if (*private_key != NULL) {
        return MERCURE_OK;
    }
    return mercure_fail(err, MERCURE_INVALID,
                        encrypted ? "the private key is encrypted: decrypt it first, for instance with openssl pkey"
                                  : "the PEM holds no private key that can be read");
}

static mercure_status fill(mercure_signing_key *key, mercure_str bytes, mercure_error *err)
{
    unsigned set = MERCURE_ALGORITHM_BIT(key->algorithm);
    mercure_status status;

    if (key_facts_of(key->algorithm)->kind == KIND_SECRET) {
        return mercure_key_make(bytes, set, &key->secret, err);
    }
    status = read_private_key(bytes, &key->private_key, err);
    return status == MERCURE_OK ? key_check_fit(key->private_key, "private key", set, err) : status;
}

mercure_status mercure_signing_key_make(mercure_str bytes, mercure_str algorithm, mercure_signing_key **result,
                                        mercure_error *err)
{
    mercure_signing_key *key;
    mercure_status status;
    unsigned set;

    status = mercure_algorithms_parse(algorithm, &set, err);
    if (status != MERCURE_OK) {
        return status;
    }
    if ((set & (set - 1)) != 0) {
        return mercure_fail(err, MERCURE_INVALID, "a token is signed with one algorithm, not with several");
    }
    key = calloc(1, sizeof(*key));
    if (key == NULL) {
        return mercure_fail(err, MERCURE_SYSTEM, "no memory for a key");
    }
    while (MERCURE_ALGORITHM_BIT(key->algorithm) != set) {
        key->algorithm++;
    }
    status = fill(key, bytes, err);
    if (status != MERCURE_OK) {
        mercure_signing_key_free(key);
        return status;
    }
    *result = key;
    return MERCURE_OK;
}

void mercure_signing_key_free(mercure_signing_key *key)
{
    if (key != NULL) {
        mercure_key_free(key->secret);
        EVP_PKEY_free(key->private_key);
        free(key);
    }
}

mercure_algorithm mercure_signing_key_algorithm(const mercure_signing_key *key)
{
    return key->algorithm;
}

mercure_status mercure_signing_key_verifier(const mercure_signing_key *key, mercure_key **verifier, mercure_error *err)
{
    mercure_status status = MERCURE_SYSTEM;
    BIO *bio;
    char *pem;
    long len;

    if (key->secret != NULL) {
        *verifier = mercure_key_hold(key->secret);
        return MERCURE_OK;
    }
    bio = BIO_new(BIO_s_mem());
    if (bio == NULL || PEM_write_bio_PUBKEY(bio, key->private_key) != 1 || (len = BIO_get_mem_data(bio, &pem)) <= 0) {
        mercure_fail(err, status, "no memory for a key");
    } else {
        status =
            mercure_key_make((mercure_str){pem, (size_t)len}, MERCURE_ALGORITHM_BIT(key->algorithm), verifier, err);
    }
    BIO_free(bio);
    ERR_clear_error();
    return status;
}

/* --- signatures: each returns one to be freed with free(), or NULL --- */

static unsigned char *sign_with_secret(const mercure_signing_key *key, mercure_str text, size_t *len)
{
    unsigned char *mac = malloc(EVP_MAX_MD_SIZE);
    unsigned mac_len = 0;

    if (mac == NULL ||
        HMAC(EVP_get_digestbyname(key_facts_of(key->algorithm)->digest), key->secret->secret,
             (int)key->secret->secret_len, (const unsigned char *)text.data, text.len, mac, &mac_len) == NULL) {
        free(mac);
        return NULL;
    }
    *len = mac_len;
    return mac;
}

static unsigned char *sign_with_context(EVP_MD_CTX *context, const mercure_signing_key *key, mercure_str text,
                                        size_t *len)
{
    const key_facts *facts = key_facts_of(key->algorithm);
    EVP_PKEY_CTX *details = NULL;
    unsigned char *signature;

    if (EVP_DigestSignInit_ex(context, &details, facts->digest, NULL, NULL, key->private_key, NULL) != 1) {
        return NULL;
    }
    if (facts->pss && (EVP_PKEY_CTX_set_rsa_padding(details, RSA_PKCS1_PSS_PADDING) != 1 ||
                       EVP_PKEY_CTX_set_rsa_pss_saltlen(details, RSA_PSS_SALTLEN_DIGEST) != 1)) {
        return NULL;
    }
    if (EVP_DigestSign(context, NULL, len, (const unsigned char *)text.data, text.len) != 1 ||
        (signature = malloc(*len)) == NULL) {
        return NULL;
    }
    if (EVP_DigestSign(context, signature, len, (const unsigned char *)text.data, text.len) != 1) {
        free(signature);
        return NULL;
    }
    return signature;
}

/* OpenSSL makes DER, a JWS carries r and s side by side, each as long as the curve's order (RFC 7518, 3.4). */
static unsigned char *ecdsa_from_der(const unsigned char *der, size_t *len, size_t half)
{
    ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &der, (long)*len);
    unsigned char *raw = malloc(2 * half);

    if (pair == NULL || raw == NULL || BN_bn2binpad(ECDSA_SIG_get0_r(pair), raw, (int)half) < 0 ||
        BN_bn2binpad(ECDSA_SIG_get0_s(pair), raw + half, (int)half) < 0) {
        free(raw);
        raw = NULL;
    }
    ECDSA_SIG_free(pair);
    *len = 2 * half;
    return raw;
}

static unsigned char *sign_with_private_key(const mercure_signing_key *key, mercure_str text, size_t *len)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    unsigned char *signature = context != NULL ? sign_with_context(context, key, text, len) : NULL;

    if (signature != NULL && key_facts_of(key->algorithm)->kind == KIND_EC) {
        unsigned char *raw = ecdsa_from_der(signature, len, key_facts_of(key->algorithm)->size);
        free(signature);
        signature = raw;
    }
    EVP_MD_CTX_free(context);
    ERR_clear_error();
    return signature;
}

/* --- tokens --- */

/* "header.payload", encoded; to be freed with free(), NULL without memory. */
static char *encode_body(const char *header, const char *payload)
{
    size_t header_len = strlen(header), payload_len = strlen(payload), at;
    char *body = malloc(BASE64URL_ROOM(header_len) + BASE64URL_ROOM(payload_len));

    if (body != NULL) {
        at = base64url_encode(header, header_len, body);
        body[at] = '.';
        base64url_encode(payload, payload_len, body + at + 1);
    }
    return body;
}

static mercure_status finish(const mercure_signing_key *key, const char *body, char **token, mercure_error *err)
{
    mercure_str text = mercure_str_of(body);
    size_t len = 0;
    unsigned char *signature =
        key->secret != NULL ? sign_with_secret(key, text, &len) : sign_with_private_key(key, text, &len);

    if (signature == NULL) {
        return mercure_fail(err, MERCURE_INVALID, "the key does not sign with %s", key_facts_of(key->algorithm)->name);
    }
    *token = malloc(text.len + 1 + BASE64URL_ROOM(len));
    if (*token == NULL) {
        free(signature);
        return mercure_fail(err, MERCURE_SYSTEM, "no memory for a token");
    }
    memcpy(*token, body, text.len);
    (*token)[text.len] = '.';
    len = text.len + 1 + base64url_encode(signature, len, *token + text.len + 1);
    free(signature);
    if (len > MERCURE_MAX_TOKEN) {
        free(*token);
        *token = NULL;
        return mercure_fail(err, MERCURE_LIMIT, "a token of %zu bytes, at most %d are allowed", len, MERCURE_MAX_TOKEN);
    }
    return MERCURE_OK;
}

mercure_status mercure_token_sign(const mercure_signing_key *key, const char *typ, const char *kid,
                                  const json_t *claims, char **token, mercure_error *err)
{
    json_t *header = json_pack("{s:s, s:s, s:s*}", "alg", key_facts_of(key->algorithm)->name, "typ", typ, "kid", kid);
    char *head = header != NULL ? json_dumps(header, JSON_COMPACT) : NULL;
    char *payload = json_dumps(claims, JSON_COMPACT);
    char *body = head != NULL && payload != NULL ? encode_body(head, payload) : NULL;
    mercure_status status;

    if (header == NULL) {
        status = mercure_fail(err, MERCURE_INVALID, "the key's name (kid) is not valid UTF-8");
    } else if (body == NULL) {
        status = mercure_fail(err, MERCURE_SYSTEM, "no memory for a token");
    } else {
        status = finish(key, body, token, err);
    }
    json_decref(header);
    free(head);
    free(payload);
    free(body);
    return status;
}
