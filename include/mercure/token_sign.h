/* token_sign.h - making JWT access tokens: the other half of token.h. A hub has no use for it; command-line tools and
 * tests do (RFC 7515, RFC 7518, RFC 8037).
 */
#ifndef MERCURE_TOKEN_SIGN_H
#define MERCURE_TOKEN_SIGN_H

#include <jansson.h>

#include "mercure/error.h"
#include "mercure/str.h"
#include "mercure/token.h"

/* A key to sign with, for one algorithm. Does not change once it is made. */
typedef struct mercure_signing_key mercure_signing_key;

/* Make a signing key.
 *
 * bytes       an HMAC secret, raw, for HS*; else a PEM private key without a passphrase
 * algorithm   its name, such as "ES256"
 *
 * Returns MERCURE_OK, the key to be freed by mercure_signing_key_free(); MERCURE_INVALID with a sentence that says what
 * would be right: what mercure_key_make() refuses too (a short secret, a key of another kind), a public key, a PEM file
 * that is encrypted; MERCURE_SYSTEM without memory. The sentence quotes nothing of the key.
 */
mercure_status mercure_signing_key_make(mercure_str bytes, mercure_str algorithm, mercure_signing_key **key,
                                        mercure_error *err);
void mercure_signing_key_free(mercure_signing_key *key); /* NULL is allowed */

mercure_algorithm mercure_signing_key_algorithm(const mercure_signing_key *key);

/* The key that verifies what this one signs, to be freed by mercure_key_free(). Returns as above. */
mercure_status mercure_signing_key_verifier(const mercure_signing_key *key, mercure_key **verifier, mercure_error *err);

/* Sign claims.
 *
 * typ     the header's type: "at+jwt" for an access token, "JWT" in the older dialects
 * kid     which key it is, for an issuer that has several; NULL: not said
 * token   out: NUL-terminated, to be freed with free()
 *
 * Returns MERCURE_OK; MERCURE_LIMIT when the token is larger than a hub takes; MERCURE_INVALID when the key cannot sign
 * with this algorithm, or `kid` is not UTF-8; MERCURE_SYSTEM without memory.
 */
mercure_status mercure_token_sign(const mercure_signing_key *key, const char *typ, const char *kid,
                                  const json_t *claims, char **token, mercure_error *err);

#endif
