/* base64url.c - see base64url.h. */
#include "base64url.h"

static int base64url_digit(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    if (c == '-') {
        return 62;
    }
    return c == '_' ? 63 : -1;
}

bool base64url_decode(mercure_str in, unsigned char *out, size_t *len)
{
    unsigned bits = 0, count = 0;
    size_t i;

    *len = 0;
    if (in.len % 4 == 1) {
        return false;
    }
    for (i = 0; i < in.len; i++) {
        int digit = base64url_digit(in.data[i]);
        if (digit < 0) {
            return false;
        }
        bits = (bits << 6 | (unsigned)digit) & 0xFFFFu;
        count += 6;
        if (count >= 8) {
            count -= 8;
            out[(*len)++] = (unsigned char)(bits >> count);
        }
    }
    return (bits & ((1u << count) - 1)) == 0;
}

size_t base64url_encode(const void *in, size_t len, char *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const unsigned char *bytes = in;
    unsigned bits = 0, count = 0;
    size_t at = 0, i;

    for (i = 0; i < len; i++) {
        bits = (bits << 8 | bytes[i]) & 0xFFFFu;
        for (count += 8; count >= 6; count -= 6) {
            out[at++] = digits[bits >> (count - 6) & 63];
        }
    }
    if (count > 0) {
        out[at++] = digits[bits << (6 - count) & 63];
    }
    out[at] = '\0';
    return at;
}
