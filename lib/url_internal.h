/* url_internal.h - what the files of the URL parser share: a growing string, percent-encoding, the host parser, state
 * overrides. Nothing outside lib/url*.c includes it.
 */
#ifndef MERCURE_URL_INTERNAL_H
#define MERCURE_URL_INTERNAL_H

#include "mercure/url.h"

#include <stdint.h>

/* A string that grows in a pool. `s` is NULL until something is appended; it is NUL-terminated by url_buffer_string()
 * only. Growing doubles, so what is left behind in the pool is at most what is in use. */
typedef struct {
    apr_pool_t *pool;
    char *s;
    size_t len;
    size_t size;
} url_buffer;

void url_buffer_append(url_buffer *b, const char *s, size_t len);
void url_buffer_append_char(url_buffer *b, char c);

/* The content as a string; `b` may go on growing, but the string then no longer follows. */
const char *url_buffer_string(url_buffer *b);

/* The percent-encode sets (URL Standard, "Percent-encoded bytes"). All hold the C0 controls, DEL and what is not ASCII.
 */
typedef enum {
    URL_ENCODE_C0 = 0,
    URL_ENCODE_FRAGMENT = 1,
    URL_ENCODE_QUERY = 2,
    URL_ENCODE_SPECIAL_QUERY = 4,
    URL_ENCODE_PATH = 8,
    URL_ENCODE_USERINFO = 16
} url_encode_set;

/* Append `s` with the bytes of `set` percent-encoded. `s` is well-formed UTF-8. */
void url_encode(url_buffer *b, const char *s, size_t len, url_encode_set set);

/* The value of "%XX" at `s`, or -1 when there are not three bytes of that form. */
int url_decode_byte(const char *s, size_t len);

/* The code point at the start of `s` (len > 0); U+FFFD for an ill-formed sequence, of which as many bytes are taken as
 * the Encoding Standard's decoder takes. Returns the number of bytes taken, at least 1. */
size_t url_utf8_decode(const char *s, size_t len, uint32_t *code_point);

/* The host parser and serialiser ("Host parsing", "Host serializing").
 *
 * input       `len` bytes of UTF-8, still percent-encoded
 * is_opaque   true for URLs that are not special
 * host        out: the serialised host, in `pool`
 */
mercure_status url_host_parse(apr_pool_t *pool, const char *input, size_t len, bool is_opaque, const char **host,
                              mercure_error *err);

/* A domain, percent-decoded, to ASCII ("domain to ASCII"), appended to `ascii`; false when it is not a valid domain. */
bool url_domain_to_ascii(apr_pool_t *pool, const char *domain, size_t len, url_buffer *ascii);

/* The states that a state override may name. */
typedef enum {
    URL_STATE_HOST,
    URL_STATE_PORT,
    URL_STATE_PATH_START,
    URL_STATE_OPAQUE_PATH,
    URL_STATE_QUERY,
    URL_STATE_FRAGMENT
} url_state;

/* The basic URL parser with a state override, on a dummy URL of the given scheme whose host is "dummy.invalid" and
 * whose path is empty. What the state sets is found in `url`. */
mercure_status url_parse_override(apr_pool_t *pool, url_state state, const char *scheme, const char *value, size_t len,
                                  mercure_url **url, mercure_error *err);

static inline bool url_is_alpha(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static inline bool url_is_digit(int c)
{
    return c >= '0' && c <= '9';
}

static inline char url_to_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* The value of a hexadecimal digit, or -1. */
static inline int url_hex_value(int c)
{
    if (url_is_digit(c)) {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}

#endif
