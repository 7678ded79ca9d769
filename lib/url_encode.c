/* url_encode.c - the characters of a URL: UTF-8, percent-encoding, and the string that components grow in.
 *
 * Percent-encoding works on bytes: no set lets a byte above 0x7E through, so a code point outside ASCII is always
 * encoded whole, and its bytes need not be put together first.
 */
#include "url_internal.h"

#include <string.h>

#define IN_QUERIES (URL_ENCODE_QUERY | URL_ENCODE_SPECIAL_QUERY)
#define IN_PATHS   (URL_ENCODE_PATH | URL_ENCODE_USERINFO)

/* The sets that hold each printable ASCII character. */
static const uint8_t sets_of[128] = {
    [' '] = URL_ENCODE_FRAGMENT | IN_QUERIES | IN_PATHS,
    ['"'] = URL_ENCODE_FRAGMENT | IN_QUERIES | IN_PATHS,
    ['<'] = URL_ENCODE_FRAGMENT | IN_QUERIES | IN_PATHS,
    ['>'] = URL_ENCODE_FRAGMENT | IN_QUERIES | IN_PATHS,
    ['`'] = URL_ENCODE_FRAGMENT | IN_PATHS,
    ['#'] = IN_QUERIES | IN_PATHS,
    ['\''] = URL_ENCODE_SPECIAL_QUERY,
    ['?'] = IN_PATHS,
    ['^'] = IN_PATHS,
    ['{'] = IN_PATHS,
    ['}'] = IN_PATHS,
    ['/'] = URL_ENCODE_USERINFO,
    [':'] = URL_ENCODE_USERINFO,
    [';'] = URL_ENCODE_USERINFO,
    ['='] = URL_ENCODE_USERINFO,
    ['@'] = URL_ENCODE_USERINFO,
    ['['] = URL_ENCODE_USERINFO,
    ['\\'] = URL_ENCODE_USERINFO,
    [']'] = URL_ENCODE_USERINFO,
    ['|'] = URL_ENCODE_USERINFO,
};

static void reserve(url_buffer *b, size_t more)
{
    if (b->size - b->len >= more) {
        return;
    }
    size_t size = b->size < 32 ? 32 : b->size;
    while (size - b->len < more) {
        size *= 2;
    }
    char *s = apr_palloc(b->pool, size);
    if (b->len > 0) {
        memcpy(s, b->s, b->len);
    }
    b->s = s;
    b->size = size;
}

void url_buffer_append(url_buffer *b, const char *s, size_t len)
{
    if (len == 0) {
        return;
    }
    reserve(b, len);
    memcpy(b->s + b->len, s, len);
    b->len += len;
}

void url_buffer_append_char(url_buffer *b, char c)
{
    reserve(b, 1);
    b->s[b->len++] = c;
}

const char *url_buffer_string(url_buffer *b)
{
    reserve(b, 1);
    b->s[b->len] = '\0';
    return b->s;
}

void url_encode(url_buffer *b, const char *s, size_t len, url_encode_set set)
{
    static const char digits[] = "0123456789ABCDEF";

    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c >= 0x20 && c <= 0x7E && (sets_of[c] & set) == 0) {
            url_buffer_append_char(b, (char)c);
            continue;
        }
        char encoded[3] = {'%', digits[c >> 4], digits[c & 15]};
        url_buffer_append(b, encoded, sizeof(encoded));
    }
}

int url_decode_byte(const char *s, size_t len)
{
    if (len < 3 || s[0] != '%') {
        return -1;
    }
    int high = url_hex_value(s[1]);
    int low = url_hex_value(s[2]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

size_t url_utf8_decode(const char *s, size_t len, uint32_t *code_point)
{
    unsigned char lead = (unsigned char)s[0];
    /* The range of the second byte rules out overlong forms, surrogates and what is above U+10FFFF. */
    unsigned char low = 0x80;
    unsigned char high = 0xBF;
    size_t needed;
    uint32_t value;

    *code_point = 0xFFFD;
    if (lead < 0x80) {
        *code_point = lead;
        return 1;
    } else if (lead >= 0xC2 && lead <= 0xDF) {
        needed = 2;
        value = lead & 0x1FU;
    } else if (lead >= 0xE0 && lead <= 0xEF) {
        needed = 3;
        value = lead & 0x0FU;
        low = lead == 0xE0 ? 0xA0 : low;
        high = lead == 0xED ? 0x9F : high;
    } else if (lead >= 0xF0 && lead <= 0xF4) {
        needed = 4;
        value = lead & 0x07U;
        low = lead == 0xF0 ? 0x90 : low;
        high = lead == 0xF4 ? 0x8F : high;
    } else {
        return 1;
    }
    for (size_t i = 1; i < needed; i++) {
        if (i >= len || (unsigned char)s[i] < low || (unsigned char)s[i] > high) {
            return i;
        }
        value = value << 6 | ((unsigned char)s[i] & 0x3FU);
        low = 0x80;
        high = 0xBF;
    }
    *code_point = value;
    return needed;
}
