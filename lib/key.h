/* key.h - what token.c needs of keys beyond token.h. Private to lib/. */
#ifndef MERCURE_KEY_H
#define MERCURE_KEY_H

#include "mercure/token.h"

/* The algorithm of this name; false when there is none ("none" is none). */
bool key_algorithm(mercure_str name, mercure_algorithm *algorithm);

/* Is `signature` (decoded) right for `signed_part`? A key of another kind than the algorithm's verifies nothing.
 * Secrets are compared in constant time. Safe from any thread.
 */
bool key_verify(const mercure_key *key, mercure_algorithm algorithm, mercure_str signed_part, mercure_str signature);

#endif
