/* js_regexp.h - regular expressions in ECMAScript's syntax, checked and rewritten in PCRE2's. Private to lib/.
 *
 * Strangers write these expressions. So nothing is passed through: the source is parsed by the grammar of ECMAScript
 * (ECMA-262, "Patterns", as `new RegExp(source, "v")` reads it), and what comes out is written anew, out of a small
 * part of PCRE2's syntax. What ECMAScript does not know cannot reach PCRE2.
 */
#ifndef MERCURE_JS_REGEXP_H
#define MERCURE_JS_REGEXP_H

#include "mercure/error.h"
#include "mercure/str.h"

#include <apr_pools.h>

/* Translate a regular expression in ECMAScript's syntax (flag v, no other) into PCRE2's (10.42, 8-bit).
 *
 * source   UTF-8
 * pcre     out: NUL-terminated ASCII, in `pool`; its parentheses are balanced and an alternation at its top is bare, so
 *          put it into a group. Compile it with PCRE2_UTF | PCRE2_MATCH_UNSET_BACKREF and without PCRE2_UCP,
 * PCRE2_CASELESS and the PCRE2_EXTRA options.
 *
 * It matches in a UTF-8 subject what the source matches there. Groups keep their numbers, counted from where the
 * result stands: back references are relative, so groups may come before it. As in PCRE2, a group inside a repetition
 * keeps what it matched in an earlier round where ECMAScript forgets it; back references that could see this are
 * refused.
 *
 * The result can still be too large for pcre2_compile(), and be slow to match (set PCRE2's limits). The result is at
 * most some hundred times as long as the source.
 *
 * Returns MERCURE_OK; MERCURE_INVALID where ECMAScript throws, or where PCRE2 has nothing of the same meaning: a
 * look-behind that is not of one length, flag i in `(?i:...)`, properties of strings, most set operations on strings,
 * group names that are not ASCII identifiers of at most 32 bytes, repetitions of more than 65535.
 */
mercure_status js_regexp_translate(apr_pool_t *pool, mercure_str source, const char **pcre, mercure_error *err);

#endif
