/* token_cache.h - tokens that were verified before, so that a subscriber's or publisher's next request costs no
 * signature.
 *
 * Found by a digest of the token and of everything that it was verified against: a changed configuration, or
 * a key set that has changed, finds nothing.
 * Bounded: the oldest entry goes. An entry is never used past the token's `exp`. Safe from any thread.
 */
#ifndef MOD_MERCURE_TOKEN_CACHE_H
#define MOD_MERCURE_TOKEN_CACHE_H

#include <stdint.h>

#include "mercure/token.h"

typedef struct token_cache token_cache;

#define TOKEN_DIGEST 32

/* For at most `size` tokens. NULL without memory. */
token_cache *token_cache_create(size_t size);
void token_cache_free(token_cache *cache); /* NULL is allowed */

/* The digest of a token for a role. False when there is no memory: then the token is just verified. */
bool token_cache_digest(mercure_str token, const mercure_trust *trust, unsigned role,
                        unsigned char digest[TOKEN_DIGEST]);

/* The grants of this digest, with a reference for the caller; NULL when unknown or expired at `now`. */
mercure_grants *token_cache_find(token_cache *cache, const unsigned char digest[TOKEN_DIGEST], int64_t now);

/* Remember grants; the cache takes its own reference. */
void token_cache_add(token_cache *cache, const unsigned char digest[TOKEN_DIGEST], mercure_grants *grants);

#endif
