/* js_regexp_text.c - how the translator writes: literals as letters, digits or \x{...}, so that nothing written is a
 * metacharacter, under whichever option; and how it says what it refuses.
 */
#include "js_regexp_internal.h"

#include <stdio.h>

void js_text_append(js_text *text, const char *s)
{
    size_t len = strlen(s);

    if (text->room - text->len <= len) {
        size_t room = (text->room + len) * 2 + 64;
        char *grown = apr_palloc(text->pool, room);
        if (text->len > 0) {
            memcpy(grown, text->s, text->len);
        }
        text->s = grown;
        text->room = room;
    }
    memcpy(text->s + text->len, s, len);
    text->len += len;
}

const char *js_text_string(js_text *text)
{
    if (text->s == NULL) {
        return "";
    }
    text->s[text->len] = '\0'; /* append leaves room for it */
    return text->s;
}

void js_text_code(js_text *text, uint32_t code)
{
    char written[16];
    bool plain = (code >= '0' && code <= '9') || (code >= 'A' && code <= 'Z') || (code >= 'a' && code <= 'z') ||
                 code == '_' || code == '/';

    (void)snprintf(written, sizeof(written), plain ? "%c" : "\\x{%x}", code);
    js_text_append(text, written);
}

void js_text_range(js_text *text, uint32_t first, uint32_t last)
{
    if (first >= 0xD800 && first <= 0xDFFF) {
        first = 0xE000;
    }
    if (last >= 0xD800 && last <= 0xDFFF) {
        last = 0xD7FF;
    }
    if (first > last) {
        return;
    }
    js_text_code(text, first);
    if (first < last) {
        js_text_append(text, "-");
        js_text_code(text, last);
    }
}

mercure_status js_refuse(const js_parser *p, const char *what)
{
    return mercure_fail(p->err, MERCURE_INVALID, "regular expression: %s, near character %zu", what, p->at + 1);
}
