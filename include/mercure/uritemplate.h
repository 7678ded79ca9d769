/* uritemplate.h - does a topic match a URI Template? RFC 6570, all four levels, read backwards. PROTOCOL 10.
 *
 * A topic matches a template when some values of the variables expand the template to the topic, byte for byte. Any
 * variable may be undefined, a string or, where it has no prefix modifier, a list or an associative array. So:
 *
 * Literals stand for themselves. A character outside ASCII matches both percent-encoded, as expansion writes it (RFC
 * 6570, 3.1), and as it is: topics are any UTF-8 strings, clients publish IRIs, and the hubs of protocol 0.x knew only
 * the latter.
 *
 * An expression is nothing, when every variable is undefined; or else the operator's first character, followed by
 * one piece for each variable that is defined, in their order, with the separator between two pieces.
 *
 *      operator   first  separator  pieces have names  an empty string  plain characters
 *      (none)     -      ,          no                                  U
 *      +          -      ,          no                                  U and R
 *      #          #      ,          no                                  U and R
 *      .          .      .          no                                  U
 *      /          /      /          no                                  U
 *      ;          ;      ;          yes                name             U
 *      ?          ?      &          yes                name=            U
 *      &          &      &          yes                name=            U
 *
 * U are the unreserved characters and R the reserved ones of RFC 3986. A *text* is any number of plain characters and
 * percent-encoded triplets, none included. A piece is
 *      {x}    for a string or the comma-separated members of a list or an array: texts with commas between; after
 *             "name=" where pieces have names. With `;` also the bare name.
 *      {x:n}  a text of at most n characters, after "name=" where pieces have names. With `;` an empty text has no "=".
 *             It has at most n characters when it can be cut into n or fewer plain characters, triplets, and
 *             sequences of triplets that are one code point in UTF-8.
 *      {x*}   without names: texts with separators between (a string, a list); or text=text with separators between
 *             (an array). With names: name=text with separators between, where every name is the variable's (a string,
 *             a list) or a text (an array); with `;` a name alone instead of "name=" and an empty text.
 *
 * Triplets, in template and topic, have their hexadecimal digits in either case; nothing else is normalised.
 *
 * Where this takes more than the expansions: a variable that occurs twice may have two values; two keys of an array
 * may be the same; a triplet may also stand for a byte that is not UTF-8, or for a character that needs no encoding.
 * The first would take exponential time; for the others there is no reason to keep a topic from a subscriber.
 *
 * The hubs of protocol 0.x made a regular expression of a template (Go, github.com/yosida95/uritemplate). Theirs did
 * not look at names ({?q} took "?r=1"), at the lengths of prefixes, or at which of an expression's pieces holds a "=",
 * and matched literals in the case of their triplets and unencoded only. Here the RFC decides.
 */
#ifndef MERCURE_URITEMPLATE_H
#define MERCURE_URITEMPLATE_H

#include "mercure/error.h"
#include "mercure/str.h"

/* A template, compiled. Immutable, counted, and safe from any thread. */
typedef struct mercure_uritemplate mercure_uritemplate;

/* Compile a template; the caller holds it.
 *
 * text   the template; it is copied
 *
 * Returns MERCURE_OK; MERCURE_INVALID when it breaks the grammar of RFC 6570, section 2 (with erratum 6937: an
 * apostrophe is a literal), or uses an operator that is reserved there; MERCURE_LIMIT when it is longer than
 * MERCURE_MAX_VALUE; MERCURE_SYSTEM without memory.
 */
mercure_status mercure_uritemplate_make(mercure_str text, mercure_uritemplate **result, mercure_error *err);

/* Hold it once more, and let it go; the last to let go frees it. NULL may be released. */
mercure_uritemplate *mercure_uritemplate_hold(mercure_uritemplate *template);
void mercure_uritemplate_release(mercure_uritemplate *template);

/* Does the topic match? A topic longer than MERCURE_MAX_VALUE matches nothing.
 *
 * Allocates nothing, uses 40 KiB of stack, and takes time proportional to the topic's length for each element of the
 * template: well under a microsecond as a rule, some milliseconds for the worst 4 KiB of each.
 */
bool mercure_uritemplate_matches(const mercure_uritemplate *template, mercure_str topic);

/* What every matching topic begins and ends with, for an index; maybe empty. The two never overlap: together they are
 * no longer than any matching topic. Borrowed.
 */
mercure_str mercure_uritemplate_prefix(const mercure_uritemplate *template);
mercure_str mercure_uritemplate_suffix(const mercure_uritemplate *template);

#endif
