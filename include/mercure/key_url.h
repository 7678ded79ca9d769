/* key_url.h - where a key set may be fetched from, and for how long it is fresh.
 *
 * The rules are kept twice: on the URL when the configuration is read, and on each address that is connected to, so
 * that neither a name that resolves to an inner address nor a redirection leads there.
 */
#ifndef MERCURE_KEY_URL_H
#define MERCURE_KEY_URL_H

#include <sys/socket.h>

#include "mercure/error.h"
#include "mercure/str.h"

#define MERCURE_KEY_URL_MAX 2048

/* What addresses may be connected to: bits. */
#define MERCURE_REACH_PUBLIC   1u
#define MERCURE_REACH_LOOPBACK 2u /* 127.0.0.0/8, ::1 */
#define MERCURE_REACH_PRIVATE  4u /* RFC 1918, RFC 6598 (shared by carriers), RFC 4193 (unique local) */

/* Check a URL: https, or http where the host names loopback (localhost, 127.x.x.x, [::1]); no user and password, no
 * fragment, printable ASCII.
 *
 * inner   may it be private or loopback under another name?
 * reach   out: what its host may resolve to; over http loopback only
 *
 * Returns MERCURE_OK; MERCURE_INVALID or MERCURE_LIMIT with a sentence that says what to write, and quotes nothing.
 */
mercure_status mercure_key_url_check(mercure_str url, bool inner, unsigned *reach, mercure_error *err);

/* May this address be connected to? Addresses that embed an IPv4 one (mapped, NAT64, 6to4) count
 * as that one. Link-local ones, where clouds serve secrets to whoever asks from inside, and those that are nobody's
 * (unspecified, multicast, reserved) are within no reach.
 */
bool mercure_address_within(const struct sockaddr *address, socklen_t len, unsigned reach);

/* The URL as it may stand in a log: scheme, host, port and path, no query, at most `size` bytes with the final NUL. */
void mercure_key_url_show(mercure_str url, char *out, size_t size);

/* Read one Cache-Control header (RFC 9111, 5.2.2): seconds that the answer is fresh.
 *
 * seconds   unchanged when the header says nothing of it; 0 for no-cache and no-store
 */
void mercure_cache_control(mercure_str value, unsigned long *seconds);

#endif
