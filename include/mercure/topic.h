/* topic.h - the characters a topic, an id, a type or a matcher may hold. PROTOCOL 1. */
#ifndef MERCURE_TOPIC_H
#define MERCURE_TOPIC_H

#include "mercure/error.h"
#include "mercure/str.h"

/* Is this well-formed UTF-8 (RFC 3629: no overlong form, no surrogate, nothing past U+10FFFF)? */
bool mercure_utf8_valid(mercure_str text);

/* Keep the rule of PROTOCOL 1: valid UTF-8 without C0, DEL, C1 or a code point of general category Cf, and at most
 * MERCURE_MAX_VALUE bytes.
 *
 * name   what the value is, for the reason ("topic", "id", ...)
 *
 * Returns MERCURE_OK; MERCURE_LIMIT when it is too long; MERCURE_INVALID when a character is not allowed.
 */
mercure_status mercure_value_check(const char *name, mercure_str value, mercure_error *err);

#endif
