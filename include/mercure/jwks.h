/* jwks.h - key sets: what an identity provider publishes (RFC 7517, RFC 7518 section 6, RFC 8037).
 *
 * A set becomes one mercure_key: an issuer's key in the sense of token.h, of which a token uses the member that fits
 * its `alg` and `kid`.
 */
#ifndef MERCURE_JWKS_H
#define MERCURE_JWKS_H

#include "mercure/token.h"

#define MERCURE_JWKS_MAX_BYTES (256 * 1024)
#define MERCURE_JWKS_MAX_KEYS  50 /* a garbage token without `kid` costs one verification for each */

/* Make a set of the public keys in a JWK Set.
 *
 * Taken are RSA keys of 2048 to 8192 bits, EC keys on P-256, P-384 and P-521, and Ed25519. Skipped, as RFC 7517 section
 * 5 has it, is what we do not know or may not use: other kinds, curves and algorithms, a `use` that is not "sig",
 * `key_ops` without "verify", points that are not on their curve. Skipped too is what should not be there: a symmetric
 * or a private key that was published is nobody's secret any more.
 *
 * Returns MERCURE_OK, the set to be freed by mercure_key_free(); MERCURE_INVALID when this is no JWK Set or has no key
 * that can be used; MERCURE_LIMIT when it is too large; MERCURE_SYSTEM without memory. The reason quotes nothing.
 */
mercure_status mercure_jwks_parse(mercure_str bytes, mercure_key **set, mercure_error *err);

/* How many keys were taken and how many were skipped. 0 for a key that is no set. */
size_t mercure_jwks_count(const mercure_key *set);
size_t mercure_jwks_skipped(const mercure_key *set);

/* May a set be used with these algorithms? MERCURE_INVALID, with what to write instead, when HS* is among them. */
mercure_status mercure_jwks_check_algorithms(unsigned algorithms, mercure_error *err);

#endif
