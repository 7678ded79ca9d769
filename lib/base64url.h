/* base64url.h - the encoding of tokens and JSON Web Keys (RFC 7515, 2). Private to lib/. */
#ifndef MERCURE_BASE64URL_H
#define MERCURE_BASE64URL_H

#include "mercure/str.h"

/* Decode base64url without padding into `out`, which has room for `in.len` bytes. Strict: no other character, no set
 * bits past the end.
 */
bool base64url_decode(mercure_str in, unsigned char *out, size_t *len);

/* Encode into `out`, which has room for BASE64URL_ROOM(len) bytes, the final NUL among them. */
#define BASE64URL_ROOM(len) ((len) / 3 * 4 + 5)
size_t base64url_encode(const void *in, size_t len, char *out);

#endif
