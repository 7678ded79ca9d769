/* key.h - what token.c and token_sign.c need of keys beyond token.h. Private to lib/. */
#ifndef MERCURE_KEY_H
#define MERCURE_KEY_H

#include <openssl/evp.h>
#include <stdatomic.h>

#include "mercure/token.h"

/* One of the three is there. */
struct mercure_key {
    atomic_uint references;
    unsigned char *secret; /* HS*: raw bytes */
    size_t secret_len;
    EVP_PKEY *public_key; /* all other algorithms */
    struct key_set *set;  /* jwks.c */
    unsigned char fingerprint[MERCURE_FINGERPRINT];
};

typedef enum { KIND_SECRET, KIND_RSA, KIND_EC, KIND_ED25519 } key_kind;

/* What an algorithm is made of. */
typedef struct {
    const char *name;
    key_kind kind;
    const char *digest; /* OpenSSL's name; NULL: the algorithm has its own */
    size_t size;        /* of the hash (HS*) or of one half of the signature (ES*), in bytes */
    const char *curve;  /* OpenSSL's name */
    bool pss;
} key_facts;

const key_facts *key_facts_of(mercure_algorithm algorithm);

/* The algorithm of this name; false when there is none ("none" is none). */
bool key_algorithm(mercure_str name, mercure_algorithm *algorithm);

/* Is `signature` (decoded) right for `signed_part`? A key of another kind than the algorithm's verifies nothing.
 * Secrets are compared in constant time. Safe from any thread.
 */
bool key_verify(const mercure_key *key, mercure_algorithm algorithm, mercure_str signed_part, mercure_str signature);

/* All algorithms that a public key fits, as bits: by its kind, its curve and its length. */
unsigned key_algorithms(EVP_PKEY *public_key);

/* Does a public or a private key fit every algorithm of the set? `what` names it in the sentence of MERCURE_INVALID. */
mercure_status key_check_fit(EVP_PKEY *key, const char *what, unsigned set, mercure_error *err);

/* --- jwks.c --- */

typedef enum {
    KEY_GOOD,
    KEY_BAD,    /* the set has the key, and the signature is not its own */
    KEY_LACKING /* a newer set may have the key */
} key_verdict;

/* Is `signature` right with a key of the set? `kid` narrows the choice, and nothing else: with a `kid` that the set
 * has, only those keys are tried; else those without one, or all of them when the token has none (`kid` is empty).
 */
key_verdict key_set_verify(const struct key_set *set, mercure_str kid, mercure_algorithm algorithm,
                           mercure_str signed_part, mercure_str signature);
void key_set_free(struct key_set *set);

#endif
