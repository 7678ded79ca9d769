/* key_url.c - see key_url.h. */
#include "mercure/key_url.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <strings.h>

/* --- URLs --- */

typedef struct {
    bool secure;
    bool user;             /* there is one, perhaps with a password */
    mercure_str authority; /* without it */
    mercure_str host;      /* without port and brackets */
    bool bracketed;
    mercure_str path; /* up to the query */
} url_parts;

static bool begins(mercure_str text, const char *with)
{
    size_t len = strlen(with);

    return text.len >= len && memcmp(text.data, with, len) == 0;
}

static mercure_str from(mercure_str text, size_t offset)
{
    return (mercure_str){text.data + offset, text.len - offset};
}

static size_t span_until(mercure_str text, const char *ends)
{
    size_t i;

    for (i = 0; i < text.len && strchr(ends, text.data[i]) == NULL; i++) {
    }
    return i;
}

/* Is a port nothing, or a colon and 1 to 5 digits? */
static bool is_port(mercure_str text)
{
    size_t i;

    if (text.len == 0) {
        return true;
    }
    for (i = 1; i < text.len && text.data[i] >= '0' && text.data[i] <= '9'; i++) {
    }
    return text.data[0] == ':' && i == text.len && text.len >= 2 && text.len <= 6;
}

static bool split(mercure_str url, url_parts *parts)
{
    mercure_str rest;
    const char *at;
    size_t end;

    parts->secure = begins(url, "https://");
    if (!parts->secure && !begins(url, "http://")) {
        return false;
    }
    rest = from(url, parts->secure ? 8 : 7);
    parts->authority = (mercure_str){rest.data, span_until(rest, "/?#")};
    rest = from(rest, parts->authority.len);
    at = memrchr(parts->authority.data, '@', parts->authority.len);
    parts->user = at != NULL;
    if (at != NULL) {
        parts->authority = from(parts->authority, (size_t)(at + 1 - parts->authority.data));
    }
    parts->path = (mercure_str){rest.data, span_until(rest, "?#")};
    parts->bracketed = begins(parts->authority, "[");
    end = span_until(parts->authority, parts->bracketed ? "]" : ":");
    parts->host = parts->bracketed ? (mercure_str){parts->authority.data + 1, end > 0 ? end - 1 : 0}
                                   : (mercure_str){parts->authority.data, end};
    if (parts->bracketed) {
        if (end == parts->authority.len) {
            return false;
        }
        end++;
    }
    return parts->host.len > 0 && is_port(from(parts->authority, end));
}

static bool is_printable(mercure_str url)
{
    size_t i;

    for (i = 0; i < url.len; i++) {
        if (url.data[i] <= ' ' || url.data[i] > '~' || strchr("\\\"<>", url.data[i]) != NULL) {
            return false;
        }
    }
    return true;
}

static bool names_loopback(const url_parts *parts)
{
    char host[64];
    struct in_addr four;
    struct in6_addr six;

    if (parts->host.len >= sizeof(host)) {
        return false;
    }
    memcpy(host, parts->host.data, parts->host.len);
    host[parts->host.len] = '\0';
    if (parts->bracketed) {
        return inet_pton(AF_INET6, host, &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six);
    }
    return strcasecmp(host, "localhost") == 0 ||
           (inet_pton(AF_INET, host, &four) == 1 && (ntohl(four.s_addr) >> 24) == 127);
}

mercure_status mercure_key_url_check(mercure_str url, bool inner, unsigned *reach, mercure_error *err)
{
    url_parts parts;
    bool loopback;

    if (url.len > MERCURE_KEY_URL_MAX) {
        return mercure_fail(err, MERCURE_LIMIT, "the URL of a key set may have %d bytes", MERCURE_KEY_URL_MAX);
    }
    if (!is_printable(url) || !split(url, &parts)) {
        return mercure_fail(err, MERCURE_INVALID,
                            "the URL of a key set is one such as https://login.example.com/.well-known/jwks.json");
    }
    if (parts.user) {
        return mercure_fail(err, MERCURE_INVALID,
                            "the URL of a key set holds no user or password: key sets are public");
    }
    if (memchr(url.data, '#', url.len) != NULL) {
        return mercure_fail(err, MERCURE_INVALID, "the URL of a key set has no fragment (#)");
    }
    loopback = names_loopback(&parts);
    if (!parts.secure && !loopback) {
        return mercure_fail(err, MERCURE_INVALID,
                            "a key set is fetched over https: http is for localhost, 127.0.0.1 and [::1] only");
    }
    *reach = parts.secure ? MERCURE_REACH_PUBLIC : 0;
    if (loopback || inner) {
        *reach |= MERCURE_REACH_LOOPBACK;
    }
    if (inner && parts.secure) {
        *reach |= MERCURE_REACH_PRIVATE;
    }
    return MERCURE_OK;
}

void mercure_key_url_show(mercure_str url, char *out, size_t size)
{
    url_parts parts;
    size_t i;

    if (!split(url, &parts)) {
        snprintf(out, size, "(no URL)");
        return;
    }
    snprintf(out, size, "%s://%.*s%.*s", parts.secure ? "https" : "http", (int)parts.authority.len,
             parts.authority.data, (int)parts.path.len, parts.path.data);
    for (i = 0; i < size && out[i] != '\0'; i++) {
        if (out[i] < ' ' || out[i] > '~') {
            out[i] = '?';
        }
    }
}

/* --- addresses --- */

static unsigned reach_of_four(uint32_t a)
{
    static const struct {
        uint32_t network;
        int bits;
        unsigned reach;
    } special[] = {
        /* RFC 6890 and the IANA registry it began. */
        {0x00000000, 8, 0},                      /* this network */
        {0x0A000000, 8, MERCURE_REACH_PRIVATE},  /* 10/8 */
        {0x64400000, 10, MERCURE_REACH_PRIVATE}, /* 100.64/10 */
        {0x7F000000, 8, MERCURE_REACH_LOOPBACK}, /* 127/8 */
        {0xA9FE0000, 16, 0},                     /* link-local */
        {0xAC100000, 12, MERCURE_REACH_PRIVATE}, /* 172.16/12 */
        {0xC0000000, 24, 0},                     /* protocol assignments */
        {0xC0000200, 24, 0},                     /* documentation */
        {0xC0586300, 24, 0},                     /* 6to4 relays */
        {0xC0A80000, 16, MERCURE_REACH_PRIVATE}, /* 192.168/16 */
        {0xC6120000, 15, 0},                     /* benchmarks */
        {0xC6336400, 24, 0},                     /* documentation */
        {0xCB007100, 24, 0},                     /* documentation */
        {0xE0000000, 3, 0},                      /* multicast, reserved, broadcast */
    };
    size_t i;

    for (i = 0; i < sizeof(special) / sizeof(special[0]); i++) {
        if ((a ^ special[i].network) >> (32 - special[i].bits) == 0) {
            return special[i].reach;
        }
    }
    return MERCURE_REACH_PUBLIC;
}

static uint32_t four_at(const unsigned char *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static unsigned reach_of_six(const unsigned char b[16])
{
    static const unsigned char zeros[16], mapped[12] = {[10] = 0xFF, [11] = 0xFF};
    static const unsigned char nat64[12] = {0x00, 0x64, 0xFF, 0x9B};

    if (memcmp(b, mapped, 12) == 0 || memcmp(b, nat64, 12) == 0) {
        return reach_of_four(four_at(b + 12));
    }
    if (b[0] == 0x20 && b[1] == 0x02) { /* 6to4 */
        return reach_of_four(four_at(b + 2));
    }
    if (memcmp(b, zeros, 15) == 0) {
        return b[15] == 1 ? MERCURE_REACH_LOOPBACK : 0;
    }
    if ((b[0] & 0xFE) == 0xFC) {
        return MERCURE_REACH_PRIVATE;
    }
    /* Global unicast is 2000::/3. In it: 2001::/23 (Teredo, ORCHID, ...), 2001:db8::/32 and 3fff::/20 (documentation).
     */
    if ((b[0] & 0xE0) != 0x20 || (b[0] == 0x20 && b[1] == 0x01 && (b[2] & 0xFE) == 0) || (four_at(b) == 0x20010DB8) ||
        (b[0] == 0x3F && b[1] == 0xFF && (b[2] & 0xF0) == 0)) {
        return 0;
    }
    return MERCURE_REACH_PUBLIC;
}

bool mercure_address_within(const struct sockaddr *address, socklen_t len, unsigned reach)
{
    if (address->sa_family == AF_INET && len >= (socklen_t)sizeof(struct sockaddr_in)) {
        struct sockaddr_in four;
        memcpy(&four, address, sizeof(four));
        return (reach_of_four(ntohl(four.sin_addr.s_addr)) & reach) != 0;
    }
    if (address->sa_family == AF_INET6 && len >= (socklen_t)sizeof(struct sockaddr_in6)) {
        struct sockaddr_in6 six;
        memcpy(&six, address, sizeof(six));
        return (reach_of_six(six.sin6_addr.s6_addr) & reach) != 0;
    }
    return false;
}

/* --- freshness --- */

static mercure_str trimmed(mercure_str text)
{
    while (text.len > 0 && strchr(" \t\r\n", text.data[0]) != NULL) {
        text = from(text, 1);
    }
    while (text.len > 0 && strchr(" \t\r\n", text.data[text.len - 1]) != NULL) {
        text.len--;
    }
    return text;
}

static bool is_word(mercure_str text, const char *word)
{
    return text.len == strlen(word) && strncasecmp(text.data, word, text.len) == 0;
}

/* Digits, perhaps in quotes; anything longer than a number of seconds can be is as much as can be. */
static bool read_seconds(mercure_str text, unsigned long *seconds)
{
    unsigned long number = 0;
    size_t i;

    if (text.len >= 2 && text.data[0] == '"' && text.data[text.len - 1] == '"') {
        text = (mercure_str){text.data + 1, text.len - 2};
    }
    for (i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
        number = number < 1000000000 ? number * 10 + (unsigned long)(text.data[i] - '0') : number;
    }
    if (text.len > 0) {
        *seconds = number;
    }
    return text.len > 0;
}

void mercure_cache_control(mercure_str value, unsigned long *seconds)
{
    while (value.len > 0) {
        size_t len = span_until(value, ",");
        mercure_str directive = trimmed((mercure_str){value.data, len}), name;

        value = from(value, len < value.len ? len + 1 : len);
        name = (mercure_str){directive.data, span_until(directive, "=")};
        if (is_word(trimmed(name), "no-cache") || is_word(trimmed(name), "no-store")) {
            *seconds = 0;
            return;
        }
        if (is_word(trimmed(name), "max-age") && name.len < directive.len) {
            (void)read_seconds(trimmed(from(directive, name.len + 1)), seconds); /* what is no number says nothing */
        }
    }
}
