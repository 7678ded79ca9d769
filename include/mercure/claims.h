/* claims.h - what a verified token allows, compiled once: the `authorization_details` of PROTOCOL 5, or the `mercure`
 * claim of the older dialects (PROTOCOL 10 and 11).
 */
#ifndef MERCURE_CLAIMS_H
#define MERCURE_CLAIMS_H

#include <jansson.h>
#include <stdint.h>

#include "mercure/error.h"
#include "mercure/matcher.h"
#include "mercure/topic.h"
#include "mercure/update.h"

/* The older dialects that a hub may accept beside 1.0. */
#define MERCURE_DIALECT_8       1u /* protocol 0.x (PROTOCOL 10) */
#define MERCURE_DIALECT_TARGETS 2u /* targets, as of 2019 (PROTOCOL 11) */

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

/* Compile the claims `mercure`, or `https://mercure.rocks/`, of a token of an older dialect.
 *
 * dialects   those that the hub accepts, at least one. With both, `publish` and `subscribe` are selectors and targets.
 * expires    INT64_MAX when the token has no `exp`
 *
 * Returns as above.
 */
mercure_status mercure_grants_make_legacy(json_t *claims, unsigned dialects, int64_t expires, mercure_grants **grants,
                                          mercure_error *err);

mercure_grants *mercure_grants_hold(mercure_grants *grants);
void mercure_grants_release(mercure_grants *grants); /* NULL is allowed */

/* When the token ends, in seconds since 1970; INT64_MAX: never. */
int64_t mercure_grants_expires(const mercure_grants *grants);

/* May an update, private or not, be published on these topics, and to these targets (if any)? */
bool mercure_grants_may_publish(const mercure_grants *grants, bool is_private, mercure_topic *topics, size_t count,
                                const mercure_str *targets, size_t target_count);

/* May a private update, whose topics these are, be read? `grants` may be NULL: no. */
bool mercure_grants_may_read(const mercure_grants *grants, const mercure_record *record, mercure_topic *topics);

#endif
