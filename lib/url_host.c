/* url_host.c - the host parser: domains (url_idna.c), IPv4 and IPv6 addresses, opaque hosts, and their one serialised
 * form.
 */
#include "url_internal.h"

#include <apr_strings.h>

#include <string.h>

/* ---- addresses ---- */

/* The IPv4 number parser: false when `s` is not a number. A value that no address can hold is UINT64_MAX. */
static bool parse_ipv4_number(const char *s, size_t len, uint64_t *number)
{
    int radix = 10;

    if (len == 0) {
        return false;
    }
    if (len >= 2 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X')) {
        radix = 16;
        s += 2;
        len -= 2;
    } else if (len >= 2 && s[0] == '0') {
        radix = 8;
        s++;
        len--;
    }
    *number = 0;
    for (size_t i = 0; i < len; i++) {
        int digit = url_hex_value(s[i]);
        if (digit < 0 || digit >= radix) {
            return false;
        }
        *number = *number > UINT32_MAX ? UINT64_MAX : *number * (unsigned)radix + (unsigned)digit;
    }
    return true;
}

static bool ends_in_number(const char *s, size_t len)
{
    uint64_t number;
    bool digits = true;

    if (len > 0 && s[len - 1] == '.') {
        len--;
    }
    size_t start = len;
    while (start > 0 && s[start - 1] != '.') {
        start--;
        digits = digits && url_is_digit(s[start]);
    }
    return (digits && start < len) || parse_ipv4_number(s + start, len - start, &number);
}

static mercure_status parse_ipv4(apr_pool_t *pool, const char *s, size_t len, const char **host, mercure_error *err)
{
    uint64_t last = 0;
    uint64_t address = 0;
    unsigned parts = 0;

    if (len > 0 && s[len - 1] == '.') {
        len--;
    }
    for (size_t start = 0; start <= len; parts++) {
        size_t end = start;
        while (end < len && s[end] != '.') {
            end++;
        }
        if (parts == 4 || (parts > 0 && last > 255)) {
            return mercure_fail(err, MERCURE_INVALID, "the URL's host is not an IPv4 address, but ends in a number");
        }
        address = address << 8 | last;
        if (!parse_ipv4_number(s + start, end - start, &last)) {
            return mercure_fail(err, MERCURE_INVALID, "the URL's host ends in a number, but has parts that are none");
        }
        start = end + 1;
    }
    /* The last number fills the bytes that the others left. */
    unsigned bits = 8 * (5 - parts);
    if (last >> bits != 0) {
        return mercure_fail(err, MERCURE_INVALID, "the URL's IPv4 address is out of range");
    }
    address = address << bits | last;
    *host = apr_psprintf(pool, "%u.%u.%u.%u", (unsigned)(address >> 24 & 255), (unsigned)(address >> 16 & 255),
                         (unsigned)(address >> 8 & 255), (unsigned)(address & 255));
    return MERCURE_OK;
}

/* The four decimal numbers at the end of an IPv6 address, as two pieces. */
static bool parse_ipv4_in_ipv6(const char *s, size_t len, uint16_t pieces[2])
{
    unsigned numbers[4];
    size_t pos = 0;

    for (int i = 0; i < 4; i++) {
        if (i > 0 && (pos == len || s[pos++] != '.')) {
            return false;
        }
        size_t start = pos;
        unsigned number = 0;
        while (pos < len && url_is_digit(s[pos])) {
            if (pos > start && number == 0) {
                return false; /* a leading zero */
            }
            number = number * 10 + (unsigned)(s[pos++] - '0');
            if (number > 255) {
                return false;
            }
        }
        if (pos == start) {
            return false;
        }
        numbers[i] = number;
    }
    pieces[0] = (uint16_t)(numbers[0] << 8 | numbers[1]);
    pieces[1] = (uint16_t)(numbers[2] << 8 | numbers[3]);
    return pos == len;
}

static bool parse_ipv6_pieces(const char *s, size_t len, uint16_t address[8])
{
    int index = 0;
    int compress = -1;
    size_t pos = 0;

    memset(address, 0, 8 * sizeof(address[0]));
    if (len > 0 && s[0] == ':') {
        if (len < 2 || s[1] != ':') {
            return false;
        }
        pos = 2;
        compress = 0;
    }
    while (pos < len) {
        if (index == 8) {
            return false;
        }
        if (s[pos] == ':') {
            if (compress >= 0) {
                return false;
            }
            pos++;
            compress = index;
            continue;
        }
        size_t start = pos;
        unsigned value = 0;
        while (pos < len && pos - start < 4 && url_hex_value(s[pos]) >= 0) {
            value = value << 4 | (unsigned)url_hex_value(s[pos++]);
        }
        if (pos < len && s[pos] == '.') {
            if (index > 6 || !parse_ipv4_in_ipv6(s + start, len - start, address + index)) {
                return false;
            }
            index += 2;
            break;
        }
        /* A piece is followed by ':' and something more, or by the end. */
        if (pos < len && (s[pos] != ':' || ++pos == len)) {
            return false;
        }
        address[index++] = (uint16_t)value;
    }
    if (compress < 0) {
        return index == 8;
    }
    /* Pieces after the "::" go to the end; those they came from become the zeros that it stands for. */
    int moved = index - compress;
    memmove(address + 8 - moved, address + compress, (size_t)moved * sizeof(address[0]));
    memset(address + compress, 0, (size_t)(8 - moved - compress) * sizeof(address[0]));
    return true;
}

static mercure_status parse_ipv6(apr_pool_t *pool, const char *s, size_t len, const char **host, mercure_error *err)
{
    uint16_t address[8];
    int longest = -1; /* where the longest run of zeros starts, when it is longer than one */
    int longest_len = 1;
    url_buffer out = {.pool = pool};

    if (!parse_ipv6_pieces(s, len, address)) {
        return mercure_fail(err, MERCURE_INVALID, "the URL's host is not an IPv6 address");
    }
    for (int i = 0, run = 0; i < 8; i++) {
        run = address[i] == 0 ? run + 1 : 0;
        if (run > longest_len) {
            longest_len = run;
            longest = i - run + 1;
        }
    }
    url_buffer_append_char(&out, '[');
    for (int i = 0; i < 8; i++) {
        if (i == longest) {
            url_buffer_append(&out, "::", i == 0 ? 2 : 1);
            i += longest_len - 1;
            continue;
        }
        const char *piece = apr_psprintf(pool, i < 7 ? "%x:" : "%x", address[i]);
        url_buffer_append(&out, piece, strlen(piece));
    }
    url_buffer_append_char(&out, ']');
    *host = url_buffer_string(&out);
    return MERCURE_OK;
}

/* ---- hosts ---- */

static bool is_forbidden_host_byte(unsigned char c)
{
    return c == 0 || strchr("\t\n\r #/:<>?@[\\]^|", c) != NULL;
}

static bool is_forbidden_domain_byte(unsigned char c)
{
    return c <= 0x1F || c == '%' || c == 0x7F || is_forbidden_host_byte(c);
}

static mercure_status parse_opaque_host(apr_pool_t *pool, const char *input, size_t len, const char **host,
                                        mercure_error *err)
{
    url_buffer encoded = {.pool = pool};

    for (size_t i = 0; i < len; i++) {
        if (is_forbidden_host_byte((unsigned char)input[i])) {
            return mercure_fail(err, MERCURE_INVALID, "the URL's host holds a forbidden character");
        }
    }
    url_encode(&encoded, input, len, URL_ENCODE_C0);
    *host = url_buffer_string(&encoded);
    return MERCURE_OK;
}

static mercure_status parse_domain(apr_pool_t *pool, const char *input, size_t len, const char **host,
                                   mercure_error *err)
{
    url_buffer domain = {.pool = pool};
    url_buffer ascii = {.pool = pool};
    bool is_ascii = true;

    for (size_t i = 0; i < len; i++) {
        int decoded = url_decode_byte(input + i, len - i);
        char c = decoded >= 0 ? (char)decoded : input[i];
        i += decoded >= 0 ? 2 : 0;
        is_ascii = is_ascii && (unsigned char)c < 0x80;
        url_buffer_append_char(&domain, c);
    }
    if (is_ascii) {
        for (size_t i = 0; i < domain.len; i++) {
            url_buffer_append_char(&ascii, url_to_lower(domain.s[i]));
        }
    } else if (!url_domain_to_ascii(pool, domain.s, domain.len, &ascii)) {
        return mercure_fail(err, MERCURE_INVALID, "the URL's host is not a domain name that IDNA allows");
    }
    if (ascii.len == 0) {
        return mercure_fail(err, MERCURE_INVALID, "the URL's host is empty");
    }
    for (size_t i = 0; i < ascii.len; i++) {
        if (is_forbidden_domain_byte((unsigned char)ascii.s[i])) {
            return mercure_fail(err, MERCURE_INVALID, "the URL's host holds a forbidden character");
        }
    }
    if (ends_in_number(ascii.s, ascii.len)) {
        return parse_ipv4(pool, ascii.s, ascii.len, host, err);
    }
    *host = url_buffer_string(&ascii);
    return MERCURE_OK;
}

mercure_status url_host_parse(apr_pool_t *pool, const char *input, size_t len, bool is_opaque, const char **host,
                              mercure_error *err)
{
    if (len > 0 && input[0] == '[') {
        if (input[len - 1] != ']') {
            return mercure_fail(err, MERCURE_INVALID, "the URL's IPv6 address is not closed");
        }
        return parse_ipv6(pool, input + 1, len - 2, host, err);
    }
    return is_opaque ? parse_opaque_host(pool, input, len, host, err) : parse_domain(pool, input, len, host, err);
}
