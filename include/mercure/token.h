/* token.h - verifying JWT access tokens (RFC 9068, RFC 7515, RFC 8725; PROTOCOL 5).
 *
 * All signatures are checked by OpenSSL. libjwt 1.10 cannot serve here: it refuses any `typ` but "JWT", while an access
 * token's is "at+jwt", and it knows neither PS* nor EdDSA.
 */
#ifndef MERCURE_TOKEN_H
#define MERCURE_TOKEN_H

#include <stdint.h>

#include "mercure/claims.h"
#include "mercure/error.h"
#include "mercure/str.h"

typedef enum {
    MERCURE_HS256,
    MERCURE_HS384,
    MERCURE_HS512,
    MERCURE_RS256,
    MERCURE_RS384,
    MERCURE_RS512,
    MERCURE_PS256,
    MERCURE_PS384,
    MERCURE_PS512,
    MERCURE_ES256,
    MERCURE_ES384,
    MERCURE_ES512,
    MERCURE_EDDSA, /* Ed25519 */
    MERCURE_ALGORITHMS
} mercure_algorithm;

#define MERCURE_ALGORITHM_BIT(algorithm) (1u << (algorithm))

/* A list of algorithm names, separated by commas, as a set of bits. MERCURE_INVALID names the unknown one. */
mercure_status mercure_algorithms_parse(mercure_str names, unsigned *set, mercure_error *err);

/* A verification key, or a set of them (jwks.h). Does not change once it is made; shared by reference. */
typedef struct mercure_key mercure_key;

/* Make a key for a set of algorithms.
 *
 * bytes       an HMAC secret, raw, when the set holds HS* only; else a PEM public key or certificate
 * algorithms  all of one kind: a secret is never a public key, and a key of one kind verifies nothing of another
 *
 * Returns MERCURE_OK, the key to be freed by mercure_key_free(); MERCURE_INVALID with a sentence that says what would
 * be right: an HMAC secret shorter than its hash (RFC 7518, 3.2) or that is a PEM file, a curve that does not fit, an
 * RSA key below 2048 bits, a private key.
 */
mercure_status mercure_key_make(mercure_str bytes, unsigned algorithms, mercure_key **key, mercure_error *err);

/* One more holder; returns the key. mercure_key_free() gives one reference back; NULL is allowed. Any thread. */
mercure_key *mercure_key_hold(mercure_key *key);
void mercure_key_free(mercure_key *key);

/* 32 bytes that tell this key from any other: the SHA-256 of what it was made of. */
#define MERCURE_FINGERPRINT 32
const unsigned char *mercure_key_fingerprint(const mercure_key *key);

#define MERCURE_ROLE_PUBLISHER  1u
#define MERCURE_ROLE_SUBSCRIBER 2u

/* Who is trusted, for what. */
typedef struct {
    const char *iss; /* "*": whatever a token of an older dialect names, or nothing */
    unsigned roles;
    unsigned algorithms;
    const mercure_key *key; /* NULL: a key set that has not been fetched yet */
} mercure_issuer;

typedef struct {
    const mercure_issuer *issuers;
    size_t issuer_count;
    const char *audience; /* the hub's resource identifier */
    mercure_base *base;   /* the hub's URL, which the URL Patterns of a token are relative to; NULL: there is none */
    unsigned dialects;    /* MERCURE_DIALECT_*: the older ones that are accepted too */
} mercure_trust;

/* Verify a token for a role and compile what it grants.
 *
 * Where an older dialect is accepted, a token whose `typ` is not an access token's is one of that dialect: it need not
 * have `iss`, `aud` and `exp`; `exp` and `nbf` are kept when it has them (PROTOCOL 10).
 *
 * now   seconds since 1970
 *
 * Returns MERCURE_OK, with one reference in `grants`; MERCURE_INVALID with the reason, which quotes nothing of the
 * token but its `alg`, `typ` and `iss`; MERCURE_NOT_FOUND, likewise, when the issuer's key set is not there or lacks
 * the key that the token names: with a newer set it may be good; MERCURE_SYSTEM without memory.
 */
mercure_status mercure_token_verify(mercure_str token, const mercure_trust *trust, unsigned role, int64_t now,
                                    mercure_grants **grants, mercure_error *err);

/* Take a token apart, for a reader's eyes. Nothing is verified.
 *
 * header, claims   out: objects to be given back by json_decref()
 *
 * Returns MERCURE_OK; MERCURE_INVALID when it is no JWT; MERCURE_SYSTEM without memory.
 */
mercure_status mercure_token_decode(mercure_str token, json_t **header, json_t **claims, mercure_error *err);

/* Is it an access token by its header's `typ`? Else it can only be one of an older dialect. */
bool mercure_token_is_access(const json_t *header);

/* Does a token look like one of an older dialect? Nothing is verified: only to tell the admin what would accept it. */
bool mercure_token_is_legacy(mercure_str token);

/* Does a token claim to be of this issuer? Nothing is verified: only to see whose key set is worth a look after
 * MERCURE_NOT_FOUND.
 */
bool mercure_token_claims_issuer(mercure_str token, const char *iss);

#endif
