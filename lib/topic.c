/* topic.c - see topic.h. The table of format characters is Unicode 15's general category Cf. */
#include "mercure/topic.h"
#include "mercure/limits.h"

#include <apr_lib.h>
#include <strings.h>

#include <stdint.h>

/* Decode one code point at `p`; returns its length in bytes, 0 when the bytes are not well-formed UTF-8. */
static size_t decode(const unsigned char *p, size_t left, uint32_t *code)
{
    size_t len, i;
    uint32_t smallest;

    if (p[0] < 0x80) {
        *code = p[0];
        return 1;
    }
    if (p[0] >= 0xC2 && p[0] <= 0xDF) {
        len = 2;
        *code = p[0] & 0x1Fu;
        smallest = 0x80;
    } else if (p[0] >= 0xE0 && p[0] <= 0xEF) {
        len = 3;
        *code = p[0] & 0x0Fu;
        smallest = 0x800;
    } else if (p[0] >= 0xF0 && p[0] <= 0xF4) {
        len = 4;
        *code = p[0] & 0x07u;
        smallest = 0x10000;
    } else {
        return 0;
    }
    if (left < len) {
        return 0;
    }
    for (i = 1; i < len; i++) {
        if ((p[i] & 0xC0) != 0x80) {
            return 0;
        }
        *code = (*code << 6) | (p[i] & 0x3Fu);
    }
    if (*code < smallest || *code > 0x10FFFF || (*code >= 0xD800 && *code <= 0xDFFF)) {
        return 0;
    }
    return len;
}

static bool is_format_character(uint32_t code)
{
    static const struct {
        uint32_t first, last;
    } ranges[] = {
        {0x00AD, 0x00AD},   {0x0600, 0x0605},   {0x061C, 0x061C},   {0x06DD, 0x06DD},   {0x070F, 0x070F},
        {0x0890, 0x0891},   {0x08E2, 0x08E2},   {0x180E, 0x180E},   {0x200B, 0x200F},   {0x202A, 0x202E},
        {0x2060, 0x2064},   {0x2066, 0x206F},   {0xFEFF, 0xFEFF},   {0xFFF9, 0xFFFB},   {0x110BD, 0x110BD},
        {0x110CD, 0x110CD}, {0x13430, 0x1343F}, {0x1BCA0, 0x1BCA3}, {0x1D173, 0x1D17A}, {0xE0001, 0xE0001},
        {0xE0020, 0xE007F},
    };
    size_t i;

    for (i = 0; i < sizeof(ranges) / sizeof(ranges[0]) && code >= ranges[i].first; i++) {
        if (code <= ranges[i].last) {
            return true;
        }
    }
    return false;
}

bool mercure_utf8_valid(mercure_str text)
{
    const unsigned char *p = (const unsigned char *)text.data;
    size_t at = 0;

    while (at < text.len) {
        uint32_t code;
        size_t len = decode(p + at, text.len - at, &code);
        if (len == 0) {
            return false;
        }
        at += len;
    }
    return true;
}

mercure_status mercure_value_check(const char *name, mercure_str value, mercure_error *err)
{
    const unsigned char *p = (const unsigned char *)value.data;
    size_t at = 0;

    if (value.len > MERCURE_MAX_VALUE) {
        return mercure_fail(err, MERCURE_LIMIT, "%s of %zu bytes, at most %d are allowed", name, value.len,
                            MERCURE_MAX_VALUE);
    }
    while (at < value.len) {
        uint32_t code;
        size_t len = decode(p + at, value.len - at, &code);
        if (len == 0) {
            return mercure_fail(err, MERCURE_INVALID, "%s is not valid UTF-8 at byte %zu", name, at);
        }
        if (code < 0x20 || (code >= 0x7F && code <= 0x9F)) {
            return mercure_fail(err, MERCURE_INVALID, "%s holds the control character U+%04X", name, code);
        }
        if (is_format_character(code)) {
            return mercure_fail(err, MERCURE_INVALID, "%s holds the invisible format character U+%04X", name, code);
        }
        at += len;
    }
    return MERCURE_OK;
}

/* --- topics as URLs --- */

struct mercure_topic_url {
    mercure_topic_url *next;
    bool for_any_base;
    mercure_str base;         /* borrowed from the base, which the caller keeps */
    mercure_url_parts *parts; /* NULL: no URL */
};

mercure_topic mercure_topic_of(apr_pool_t *pool, mercure_str text)
{
    return (mercure_topic){text, pool, NULL, NULL};
}

/* Is it the same URL whatever the base? So is what begins with a scheme, except that "https:x" is relative to a base of
 * https, and bases are URLs of http or https.
 */
static bool is_absolute(mercure_str text)
{
    const char *at = text.data, *end = text.data + text.len, *scheme;
    size_t len;

    while (at < end && *at == ' ') {
        at++; /* the parser strips it */
    }
    scheme = at;
    while (at < end && (apr_isalnum(*at) || *at == '+' || *at == '-' || *at == '.')) {
        at++;
    }
    len = (size_t)(at - scheme);
    if (len == 0 || at == end || *at != ':' || !apr_isalpha(*scheme)) {
        return false;
    }
    if ((len == 4 && strncasecmp(scheme, "http", 4) == 0) || (len == 5 && strncasecmp(scheme, "https", 5) == 0)) {
        return end - at > 2 && (at[1] == '/' || at[1] == '\\') && (at[2] == '/' || at[2] == '\\');
    }
    return true;
}

static mercure_url_parts *parse(const mercure_topic *topic, const mercure_base *base)
{
    mercure_url *url;

    if (mercure_url_parse(topic->pool, topic->text.data, topic->text.len, base != NULL ? mercure_base_url(base) : NULL,
                          &url, NULL) != MERCURE_OK) {
        return NULL;
    }
    return mercure_url_parts_make(topic->pool, url, topic->effort);
}

mercure_url_parts *mercure_topic_resolve(mercure_topic *topic, const mercure_base *base)
{
    mercure_str text = base != NULL ? mercure_base_text(base) : mercure_str_of("");
    mercure_topic_url *known;

    for (known = topic->urls; known != NULL; known = known->next) {
        if (known->for_any_base || mercure_str_equal(known->base, text)) {
            return known->parts;
        }
    }
    known = apr_palloc(topic->pool, sizeof(*known));
    *known = (mercure_topic_url){topic->urls, is_absolute(topic->text), text, parse(topic, base)};
    topic->urls = known;
    return known->parts;
}
