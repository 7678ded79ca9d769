/* js_regexp_internal.h - what the files of the regular expression translator share. Nothing outside lib/js_regexp*.c
 * includes it.
 */
#ifndef MERCURE_JS_REGEXP_INTERNAL_H
#define MERCURE_JS_REGEXP_INTERNAL_H

#include "js_regexp.h"

#include <apr_tables.h>
#include <stdint.h>

#define JS_END      UINT32_MAX /* what js_peek() sees past the end */
#define JS_MAX_CODE 0x10FFFFu

/* Expressions for any character and for none, both of one character, so that they have a place in a look-behind. */
#define JS_ANY  "[\\x{0}-\\x{10ffff}]"
#define JS_NONE "[^\\x{0}-\\x{10ffff}]"

/* ASCII text that grows in a pool. */
typedef struct {
    apr_pool_t *pool;
    char *s;
    size_t len;
    size_t room;
} js_text;

typedef struct {
    apr_pool_t *pool;
    const uint32_t *source; /* code points */
    size_t len;
    size_t at;
    js_text out;
    unsigned depth;                 /* of groups around the current place */
    unsigned look_behinds;          /* of which so many are look-behinds */
    bool dot_all;                   /* flag s */
    bool multiline;                 /* flag m */
    apr_array_header_t *groups;     /* js_group, by number - 1 */
    apr_array_header_t *references; /* js_reference: the back references that were written */
    apr_array_header_t *names;      /* const char *: names that were referred to and must exist at the end */
    uint32_t highest;               /* number that was referred to */
    mercure_error *err;
} js_parser;

/* How many characters something matches: at least `min`, and exactly `min` if `fixed`. */
typedef struct {
    size_t min;
    bool fixed;
} js_width;

static inline uint32_t js_peek(const js_parser *p, size_t ahead)
{
    return ahead < p->len - p->at ? p->source[p->at + ahead] : JS_END;
}

/* Step over `c` if it comes next. */
static inline bool js_take(js_parser *p, uint32_t c)
{
    if (js_peek(p, 0) != c) {
        return false;
    }
    p->at++;
    return true;
}

/* js_regexp_text.c */
void js_text_append(js_text *text, const char *s);
void js_text_code(js_text *text, uint32_t code); /* as a literal, in a class or outside; no surrogate */
/* first-last as items of a class; nothing for surrogates, which UTF-8 does not have. */
void js_text_range(js_text *text, uint32_t first, uint32_t last);
const char *js_text_string(js_text *text); /* what is there; NUL-terminated as long as nothing is appended */

/* Fail with what is wrong at the current place. */
mercure_status js_refuse(const js_parser *p, const char *what);

/* js_regexp_escape.c: after a backslash. */

/* Read a CharacterEscape: \n, \cX, \0, \xHH, \uHHHH, \u{H}, or an escaped SyntaxCharacter or slash. */
mercure_status js_character_escape(js_parser *p, uint32_t *code);

/* Read what follows \u; two halves of a surrogate pair make one code point. */
mercure_status js_unicode_escape(js_parser *p, uint32_t *code);

/* Read a CharacterClassEscape: \d \D \s \S \w \W \p{...} \P{...}; append it as items of a class. False in `found` (and
 * nothing read) when there is none. */
mercure_status js_class_escape(js_parser *p, js_text *items, bool *found);

/* PCRE2's name of a property, for \p{...}; NULL when ECMAScript or PCRE2 has no such property.
 * value   what stands after "="; NULL when there is none */
const char *js_property(apr_pool_t *pool, const char *name, const char *value);

/* js_regexp_class.c: read a class, the opening bracket included, and append it to p->out as one atom. */
mercure_status js_class(js_parser *p, js_width *width);

#endif
