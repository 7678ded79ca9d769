/* js_regexp_escape.c - escapes that mean a character or a set of characters (ECMA-262, CharacterEscape and
 * CharacterClassEscape, with the flag v). \d, \s and \w are written out as ECMAScript defines them: PCRE2's own depend
 * on options, and its \s is another set.
 */
#include "js_regexp_internal.h"

#include <apr_strings.h>

static int hex_value(uint32_t c)
{
    if (c >= '0' && c <= '9') {
        return (int)(c - '0');
    }
    if (c >= 'a' && c <= 'f') {
        return (int)(c - 'a') + 10;
    }
    return c >= 'A' && c <= 'F' ? (int)(c - 'A') + 10 : -1;
}

/* Exactly `digits` hexadecimal digits, `ahead` of the current place; nothing is stepped over. */
static bool peek_hex(const js_parser *p, size_t ahead, size_t digits, uint32_t *code)
{
    size_t i;

    *code = 0;
    for (i = 0; i < digits; i++) {
        int value = hex_value(js_peek(p, ahead + i));
        if (value < 0) {
            return false;
        }
        *code = *code << 4 | (uint32_t)value;
    }
    return true;
}

mercure_status js_unicode_escape(js_parser *p, uint32_t *code)
{
    uint32_t low;

    if (js_take(p, '{')) {
        if (hex_value(js_peek(p, 0)) < 0) {
            return js_refuse(p, "\\u{ without a hexadecimal digit");
        }
        *code = 0;
        while (hex_value(js_peek(p, 0)) >= 0) {
            *code = *code << 4 | (uint32_t)hex_value(js_peek(p, 0));
            if (*code > JS_MAX_CODE) {
                return js_refuse(p, "a code point past U+10FFFF");
            }
            p->at++;
        }
        return js_take(p, '}') ? MERCURE_OK : js_refuse(p, "\\u{ without its }");
    }
    if (!peek_hex(p, 0, 4, code)) {
        return js_refuse(p, "\\u without four hexadecimal digits");
    }
    p->at += 4;
    if (*code >= 0xD800 && *code <= 0xDBFF && js_peek(p, 0) == '\\' && js_peek(p, 1) == 'u' &&
        peek_hex(p, 2, 4, &low) && low >= 0xDC00 && low <= 0xDFFF) {
        *code = 0x10000 + ((*code - 0xD800) << 10) + (low - 0xDC00);
        p->at += 6;
    }
    return MERCURE_OK;
}

mercure_status js_character_escape(js_parser *p, uint32_t *code)
{
    static const char letters[] = "fnrtv", controls[] = "\f\n\r\t\v";
    uint32_t c = js_peek(p, 0);

    if (c == JS_END) {
        return js_refuse(p, "a backslash at the end");
    }
    if (c >= 0x80 || c == 0) {
        return js_refuse(p, "a backslash before a character that needs none");
    }
    p->at++;
    if (strchr(letters, (int)c) != NULL) {
        *code = (uint32_t)controls[strchr(letters, (int)c) - letters];
        return MERCURE_OK;
    }
    if (strchr("^$\\.*+?()[]{}|/", (int)c) != NULL) {
        *code = c;
        return MERCURE_OK;
    }
    switch (c) {
    case 'c':
        c = js_peek(p, 0);
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))) {
            return js_refuse(p, "\\c without a letter");
        }
        p->at++;
        *code = c % 32;
        return MERCURE_OK;
    case '0':
        c = js_peek(p, 0);
        if (c >= '0' && c <= '9') {
            return js_refuse(p, "an octal escape");
        }
        *code = 0;
        return MERCURE_OK;
    case 'x':
        if (!peek_hex(p, 0, 2, code)) {
            return js_refuse(p, "\\x without two hexadecimal digits");
        }
        p->at += 2;
        return MERCURE_OK;
    case 'u':
        return js_unicode_escape(p, code);
    default:
        return js_refuse(p, "an escape that does not exist");
    }
}

/* The part of a property expression up to `end`; NULL when it is empty or has other than letters, digits and "_". */
static const char *property_word(js_parser *p)
{
    char word[64];
    size_t len = 0;

    for (;;) {
        uint32_t c = js_peek(p, 0);
        if (!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_') ||
            len == sizeof(word)) {
            break;
        }
        word[len++] = (char)c;
        p->at++;
    }
    return len == 0 ? NULL : apr_pstrmemdup(p->pool, word, len);
}

static mercure_status property_escape(js_parser *p, bool negated, js_text *items)
{
    const char *name, *value = NULL, *property;

    if (!js_take(p, '{') || (name = property_word(p)) == NULL) {
        return js_refuse(p, "\\p without a property in braces");
    }
    if (js_take(p, '=') && (value = property_word(p)) == NULL) {
        return js_refuse(p, "a property without a value");
    }
    if (!js_take(p, '}')) {
        return js_refuse(p, "\\p without its }");
    }
    property = js_property(p->pool, name, value);
    if (property == NULL) {
        return js_refuse(p, "a property that does not exist or that PCRE2 does not have");
    }
    js_text_append(items, apr_psprintf(p->pool, negated ? "\\P{%s}" : "\\p{%s}", property));
    return MERCURE_OK;
}

mercure_status js_class_escape(js_parser *p, js_text *items, bool *found)
{
    /* WhiteSpace and LineTerminator: Unicode's Zs, TAB, VT, FF, U+FEFF; LF, CR, U+2028, U+2029. */
    static const struct {
        uint32_t first, last;
    } spaces[] = {
        {0x9, 0xD},       {0x20, 0x20},     {0xA0, 0xA0},     {0x1680, 0x1680}, {0x2000, 0x200A},
        {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}, {0xFEFF, 0xFEFF},
    };
    uint32_t c = js_peek(p, 0), next = 0;
    size_t i;

    *found = c != JS_END && c != 0 && c < 0x80 && strchr("dDsSwWpP", (int)c) != NULL;
    if (!*found) {
        return MERCURE_OK;
    }
    p->at++;
    switch (c) {
    case 'd':
        js_text_append(items, "0-9");
        return MERCURE_OK;
    case 'D':
        js_text_append(items, "\\x{0}-/\\x{3a}-\\x{10ffff}");
        return MERCURE_OK;
    case 'w':
        js_text_append(items, "0-9A-Z_a-z");
        return MERCURE_OK;
    case 'W':
        js_text_append(items, "\\x{0}-/\\x{3a}-\\x{40}\\x{5b}-\\x{5e}\\x{60}\\x{7b}-\\x{10ffff}");
        return MERCURE_OK;
    case 's':
        for (i = 0; i < sizeof(spaces) / sizeof(spaces[0]); i++) {
            js_text_range(items, spaces[i].first, spaces[i].last);
        }
        return MERCURE_OK;
    case 'S':
        for (i = 0; i < sizeof(spaces) / sizeof(spaces[0]); i++) {
            js_text_range(items, next, spaces[i].first - 1);
            next = spaces[i].last + 1;
        }
        js_text_range(items, next, JS_MAX_CODE);
        return MERCURE_OK;
    default:
        return property_escape(p, c == 'P', items);
    }
}
