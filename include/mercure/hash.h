/* hash.h - a keyed hash for tables whose keys come from outside (topics, addresses, ids).
 *
 * SipHash-2-4 (Aumasson, Bernstein 2012) with a key drawn at random once per process: nobody outside can make
 * topics collide. The function has the type that apr_hash_make_custom() wants.
 */
#ifndef MERCURE_HASH_H
#define MERCURE_HASH_H

#include <apr_hash.h>
#include <stdint.h>

uint64_t mercure_hash64(const void *data, size_t len);

/* For apr_hash_make_custom(); `len` may be APR_HASH_KEY_STRING and is then replaced by the string's length. */
unsigned int mercure_hash_apr(const char *key, apr_ssize_t *len);

#endif
