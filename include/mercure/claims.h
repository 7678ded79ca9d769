/* claims.h - what a verified token allows: the `authorization_details` of PROTOCOL 5, compiled once. */
#ifndef MERCURE_CLAIMS_H
#define MERCURE_CLAIMS_H

#include <jansson.h>
#include <stdint.h>

#include "mercure/error.h"
#include "mercure/matcher.h"
#include "mercure/topic.h"

/* Immutable once made, shared by reference: the requests and streams that use it, and the cache of tokens. Safe from
 * any thread.
 */
typedef struct mercure_grants mercure_grants;

/* Compile the `authorization_details` of a token's claims.
 *
 * claims   the token's payload
 * base     the hub's URL, which URL Patterns are relative to; NULL: there is none
 * expires  the token's `exp`, in seconds since 1970
 * grants   out: with one reference, given back by mercure_grants_release()
 *
 * Returns MERCURE_OK, also when there is no detail of ours (then nothing is granted); MERCURE_INVALID when any detail
 * is malformed or over a limit: the whole token is then invalid. MERCURE_SYSTEM without memory.
 */
mercure_status mercure_grants_make(json_t *claims, mercure_base *base, int64_t expires, mercure_grants **grants,
                                   mercure_error *err);

mercure_grants *mercure_grants_hold(mercure_grants *grants);
void mercure_grants_release(mercure_grants *grants); /* NULL is allowed */

/* When the token ends, in seconds since 1970. */
int64_t mercure_grants_expires(const mercure_grants *grants);

/* May this topic be published on? An update needs it for every one of its topics. */
bool mercure_grants_may_publish(const mercure_grants *grants, mercure_topic *topic);

/* May a private update be read: is `subscribe` granted on at least one of its topics? `grants` may be NULL: no. */
bool mercure_grants_may_read(const mercure_grants *grants, mercure_topic *topics, size_t count);

#endif
