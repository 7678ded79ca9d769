/* js_regexp_class.c - character classes with the flag v (ECMA-262, CharacterClass and ClassSetExpression): nested
 * classes, A--B, A&&B and \q{strings}.
 *
 * PCRE2 10.42 has none of these. A set is therefore kept as up to three things: items, which can stand in one of
 * PCRE2's brackets; alternatives, expressions of one character each; and strings of another length than one. A--B
 * becomes
 * (?:(?!B)A) and A&&B becomes (?:(?=A)B), which is the same as long as both match one character: of strings only the
 * unions are translated.
 */
#include "js_regexp_internal.h"

#include <apr_strings.h>
#include <stdlib.h>

/* Classes in classes. PCRE2 allows 250 parentheses in each other; a class makes up to four, and groups come on top. */
#define MAX_CLASS_DEPTH 20

typedef struct {
    js_text items;
    js_text alternatives; /* joined by "|" */
    unsigned alternative_count;
    apr_array_header_t *strings; /* class_string; none of them of one character */
} class_set;

typedef struct {
    const char *written;
    size_t len; /* in characters */
    int order;  /* as they came */
} class_string;

static mercure_status read_class(js_parser *p, unsigned depth, class_set *set);

static class_set make_set(js_parser *p)
{
    class_set set = {0};

    set.items.pool = set.alternatives.pool = p->pool;
    set.strings = apr_array_make(p->pool, 0, sizeof(class_string));
    return set;
}

static void add_alternative(class_set *set, const char *expression)
{
    if (set->alternative_count++ > 0) {
        js_text_append(&set->alternatives, "|");
    }
    js_text_append(&set->alternatives, expression);
}

static void add_set(class_set *set, class_set *other)
{
    js_text_append(&set->items, js_text_string(&other->items));
    if (other->alternative_count > 0) {
        add_alternative(set, js_text_string(&other->alternatives));
        set->alternative_count += other->alternative_count - 1;
    }
    apr_array_cat(set->strings, other->strings);
}

/* The characters of the set, without its strings, as one atom. */
static const char *atom(js_parser *p, class_set *set)
{
    const char *items = js_text_string(&set->items), *alternatives = js_text_string(&set->alternatives);

    if (*items == '\0' && set->alternative_count == 0) {
        return JS_NONE;
    }
    if (set->alternative_count == 0) {
        return apr_pstrcat(p->pool, "[", items, "]", NULL);
    }
    if (*items == '\0') {
        return set->alternative_count == 1 ? alternatives : apr_pstrcat(p->pool, "(?:", alternatives, ")", NULL);
    }
    return apr_pstrcat(p->pool, "(?:[", items, "]|", alternatives, ")", NULL);
}

static mercure_status complement(js_parser *p, class_set *set)
{
    class_set all = make_set(p);
    const char *items = js_text_string(&set->items);

    if (set->strings->nelts > 0) {
        return js_refuse(p, "[^...] of strings");
    }
    if (set->alternative_count > 0) {
        add_alternative(&all, apr_pstrcat(p->pool, "(?:(?!", atom(p, set), ")" JS_ANY ")", NULL));
    } else if (*items != '\0') {
        add_alternative(&all, apr_pstrcat(p->pool, "[^", items, "]", NULL));
    } else {
        js_text_range(&all.items, 0, JS_MAX_CODE);
    }
    *set = all;
    return MERCURE_OK;
}

static bool is_among(const char *characters, uint32_t c)
{
    return c != 0 && c < 0x80 && strchr(characters, (int)c) != NULL;
}

/* Read a ClassSetCharacter. */
static mercure_status class_character(js_parser *p, uint32_t *code)
{
    uint32_t c = js_peek(p, 0);

    if (c == JS_END) {
        return js_refuse(p, "a class without its ]");
    }
    if (c == '\\') {
        p->at++;
        c = js_peek(p, 0);
        if (is_among("&-!#%,:;<=>@`~", c)) {
            p->at++;
            *code = c;
            return MERCURE_OK;
        }
        if (js_take(p, 'b')) {
            *code = '\b';
            return MERCURE_OK;
        }
        return js_character_escape(p, code);
    }
    if (is_among("()[]{}/-|", c)) {
        return js_refuse(p, "a class with an unescaped character of ()[]{}/-|");
    }
    if (is_among("&!#$%*+,.:;<=>?@^`~", c) && js_peek(p, 1) == c) {
        return js_refuse(p, "a class with a reserved doubled punctuation mark");
    }
    p->at++;
    *code = c;
    return MERCURE_OK;
}

/* Read \q{...} after the q. */
static mercure_status class_strings(js_parser *p, class_set *set)
{
    if (!js_take(p, '{')) {
        return js_refuse(p, "\\q without {");
    }
    do {
        js_text written = {.pool = p->pool};
        uint32_t code = 0;
        size_t len = 0;
        while (js_peek(p, 0) != '|' && js_peek(p, 0) != '}') {
            mercure_status status = class_character(p, &code);
            if (status != MERCURE_OK) {
                return status;
            }
            if (code >= 0xD800 && code <= 0xDFFF) {
                js_text_append(&written, JS_NONE);
            } else {
                js_text_code(&written, code);
            }
            len++;
        }
        if (len == 1) {
            js_text_range(&set->items, code, code);
        } else {
            class_string string = {js_text_string(&written), len, set->strings->nelts};
            APR_ARRAY_PUSH(set->strings, class_string) = string;
        }
    } while (js_take(p, '|'));
    p->at++; /* the loop ended at } */
    return MERCURE_OK;
}

/* Read a ClassSetOperand into `set`. If it is a single character, `character` is that, and the set is left alone;
 * otherwise it is JS_END. */
static mercure_status operand(js_parser *p, unsigned depth, class_set *set, uint32_t *character)
{
    class_set inner;
    mercure_status status;
    bool found;

    *character = JS_END;
    if (js_peek(p, 0) == '[') {
        inner = make_set(p);
        status = read_class(p, depth + 1, &inner);
        if (status == MERCURE_OK) {
            add_set(set, &inner);
        }
        return status;
    }
    if (js_peek(p, 0) == '\\') {
        p->at++;
        if (js_take(p, 'q')) {
            return class_strings(p, set);
        }
        status = js_class_escape(p, &set->items, &found);
        if (status != MERCURE_OK || found) {
            return status;
        }
        p->at--;
    }
    return class_character(p, character);
}

/* The rest of A--B--C or A&&B&&C, after A. */
static mercure_status set_operation(js_parser *p, unsigned depth, uint32_t sign, class_set *set)
{
    js_text written = {.pool = p->pool};
    class_set first = *set;
    mercure_status status;

    js_text_append(&written, "(?:");
    if (sign == '-' && first.strings->nelts > 0) {
        return js_refuse(p, "a difference of strings, which PCRE2 does not have");
    }
    while (js_peek(p, 0) != ']') {
        class_set next = make_set(p);
        uint32_t character;
        if (js_peek(p, 0) != sign || js_peek(p, 1) != sign) {
            return js_refuse(p, "a class that mixes operations, or an operation without its ]");
        }
        p->at += 2;
        if (js_peek(p, 0) == sign) {
            return js_refuse(p, "a class with an operator where an operand should be");
        }
        status = operand(p, depth, &next, &character);
        if (status != MERCURE_OK) {
            return status;
        }
        if (character != JS_END) {
            js_text_range(&next.items, character, character);
        }
        js_text_append(&written, sign == '-' ? "(?!" : "(?=");
        js_text_append(&written, atom(p, &next));
        js_text_append(&written, ")");
        if (sign == '&' && next.strings->nelts > 0 && first.strings->nelts > 0) {
            return js_refuse(p, "an intersection of strings, which PCRE2 does not have");
        }
        if (next.strings->nelts == 0) {
            first.strings = next.strings;
        }
    }
    js_text_append(&written, atom(p, &first));
    js_text_append(&written, ")");
    *set = make_set(p);
    add_alternative(set, js_text_string(&written));
    return MERCURE_OK;
}

/* Read what stands between the brackets, up to the closing one. */
static mercure_status class_contents(js_parser *p, unsigned depth, class_set *set)
{
    bool is_first = true;

    while (js_peek(p, 0) != ']') {
        uint32_t character, last;
        mercure_status status = operand(p, depth, set, &character);
        bool is_operation =
            (js_peek(p, 0) == '-' && js_peek(p, 1) == '-') || (js_peek(p, 0) == '&' && js_peek(p, 1) == '&');
        if (status != MERCURE_OK) {
            return status;
        }
        last = character;
        if (character != JS_END && !is_operation && js_take(p, '-')) {
            status = class_character(p, &last);
            if (status != MERCURE_OK) {
                return status;
            }
            if (last < character) {
                return js_refuse(p, "a range out of order");
            }
        }
        if (character != JS_END) {
            js_text_range(&set->items, character, last);
        }
        if (is_operation && is_first) {
            return set_operation(p, depth, js_peek(p, 0), set);
        }
        is_first = false;
    }
    return MERCURE_OK;
}

static mercure_status read_class(js_parser *p, unsigned depth, class_set *set)
{
    mercure_status status;
    bool negated;

    if (depth > MAX_CLASS_DEPTH) {
        return js_refuse(p, "classes nested too deeply");
    }
    p->at++; /* [ */
    negated = js_take(p, '^');
    status = class_contents(p, depth, set);
    if (status != MERCURE_OK) {
        return status;
    }
    p->at++; /* ] */
    return negated ? complement(p, set) : MERCURE_OK;
}

static int longest_first(const void *a, const void *b)
{
    const class_string *x = a, *y = b;

    if (x->len != y->len) {
        return x->len > y->len ? -1 : 1;
    }
    return x->order - y->order;
}

mercure_status js_class(js_parser *p, js_width *width)
{
    class_set set = make_set(p);
    mercure_status status = read_class(p, 1, &set);
    class_string *strings = (class_string *)set.strings->elts;
    size_t count, i = 0;
    bool has_characters;

    *width = (js_width){1, true};
    if (status != MERCURE_OK) {
        return status;
    }
    strings = (class_string *)set.strings->elts;
    count = (size_t)set.strings->nelts;
    if (count == 0) {
        js_text_append(&p->out, atom(p, &set));
        return MERCURE_OK;
    }
    qsort(strings, count, sizeof(*strings), longest_first);
    has_characters = set.alternative_count > 0 || *js_text_string(&set.items) != '\0';
    width->min = has_characters && strings[count - 1].len > 1 ? 1 : strings[count - 1].len;
    width->fixed = !has_characters && strings[0].len == width->min;
    js_text_append(&p->out, "(?:");
    for (; i < count && strings[i].len > 1; i++) {
        js_text_append(&p->out, i > 0 ? "|" : "");
        js_text_append(&p->out, strings[i].written);
    }
    if (has_characters) {
        js_text_append(&p->out, i > 0 ? "|" : "");
        js_text_append(&p->out, atom(p, &set));
    }
    if (i < count) { /* what is left is empty */
        js_text_append(&p->out, i > 0 || has_characters ? "|" : "");
    }
    js_text_append(&p->out, ")");
    return MERCURE_OK;
}
