/* url.c - the URL parser and its serialiser.
 *
 * The standard describes the parser as a machine that reads code point by code point. Here each state, or each run of
 * states that always follow each other, is a function that consumes its part of the input and calls the next; the
 * functions bear the states' names. A state override is then no more than calling the function of that state on a
 * dummy URL with `overridden` set.
 *
 * A path is kept serialised while it grows. Nothing is lost: each segment brings its own '/' and cannot hold another,
 * so the string "" is the empty list, "/" is one empty segment, and shortening is cutting at the last '/'.
 *
 * Recursion is bounded by the number of states; nothing recurses on the input's length.
 */
#include "url_internal.h"

#include <apr_strings.h>

#include <string.h>

#define END (-1) /* the standard's EOF code point */

struct parser {
    apr_pool_t *pool;
    const char *in; /* without tabs and newlines, well-formed UTF-8 */
    size_t len;
    size_t pos;
    const mercure_url *base; /* may be NULL */
    mercure_url *url;
    bool special;    /* url->scheme is special */
    bool overridden; /* a state override is given */
    url_buffer path; /* url->path, while it grows */
    mercure_error *err;
};

static const struct {
    const char *name;
    int port;
} special_schemes[] = {{"https", 443}, {"http", 80}, {"wss", 443}, {"ws", 80}, {"ftp", 21}, {"file", -1}};

#define SPECIAL_SCHEMES (sizeof(special_schemes) / sizeof(special_schemes[0]))

static mercure_status parse_authority(struct parser *p);
static mercure_status parse_path_start(struct parser *p);
static mercure_status parse_path(struct parser *p);

/* ---- characters and small tests ---- */

static size_t special_index(const char *scheme, size_t len)
{
    size_t i;

    for (i = 0; i < SPECIAL_SCHEMES; i++) {
        if (strlen(special_schemes[i].name) == len && memcmp(special_schemes[i].name, scheme, len) == 0) {
            break;
        }
    }
    return i;
}

bool mercure_url_scheme_special(const char *scheme, size_t len)
{
    return special_index(scheme, len) < SPECIAL_SCHEMES;
}

int mercure_url_scheme_port(const char *scheme, size_t len)
{
    size_t i = special_index(scheme, len);

    return i < SPECIAL_SCHEMES ? special_schemes[i].port : -1;
}

static int peek(const struct parser *p, size_t ahead)
{
    return ahead < p->len - p->pos ? (unsigned char)p->in[p->pos + ahead] : END;
}

/* A slash as the current URL knows it: special URLs take '\' for '/'. */
static bool is_slash(const struct parser *p, int c)
{
    return c == '/' || (p->special && c == '\\');
}

static bool ends_authority(const struct parser *p, int c)
{
    return c == END || c == '?' || c == '#' || is_slash(p, c);
}

static bool is_file(const mercure_url *url)
{
    return strcmp(url->scheme, "file") == 0;
}

static bool is_drive_letter(const char *s, size_t len)
{
    return len == 2 && url_is_alpha(s[0]) && (s[1] == ':' || s[1] == '|');
}

static bool starts_with_drive_letter(const struct parser *p)
{
    const char *s = p->in + p->pos;
    size_t len = p->len - p->pos;

    return len >= 2 && is_drive_letter(s, 2) && (len == 2 || memchr("/\\?#", s[2], 4) != NULL);
}

/* Does this path begin with a segment that is a normalised drive letter, "/C:"? */
static bool path_has_drive(const char *path, size_t len)
{
    return len >= 3 && path[0] == '/' && url_is_alpha(path[1]) && path[2] == ':' && (len == 3 || path[3] == '/');
}

/* "." and "..", each dot also as %2e: how many dots the segment is, or 0 for an ordinary one. */
static int dots_of_segment(const char *s, size_t len)
{
    int dots = 0;

    while (len > 0) {
        size_t taken = s[0] == '.' ? 1 : 3;
        if (dots == 2 || (taken == 3 && url_decode_byte(s, len) != '.')) {
            return 0;
        }
        dots++;
        s += taken;
        len -= taken;
    }
    return dots;
}

static void shorten_path(struct parser *p)
{
    if (is_file(p->url) && p->path.len == 3 && path_has_drive(p->path.s, p->path.len)) {
        return;
    }
    while (p->path.len > 0 && p->path.s[--p->path.len] != '/') {
    }
}

static void set_scheme(struct parser *p, const char *scheme)
{
    p->url->scheme = scheme;
    p->special = mercure_url_scheme_special(scheme, strlen(scheme));
}

/* The input as the states want it: without tabs and newlines, and well-formed. */
static void set_input(struct parser *p, const char *input, size_t len)
{
    url_buffer clean = {.pool = p->pool};
    size_t from = 0;

    for (size_t i = 0; i < len;) {
        uint32_t c;
        size_t taken = url_utf8_decode(input + i, len - i, &c);
        bool dropped = c == '\t' || c == '\n' || c == '\r';
        if (dropped || c == 0xFFFD) {
            url_buffer_append(&clean, input + from, i - from);
            url_buffer_append(&clean, "\xEF\xBF\xBD", dropped ? 0 : 3);
            from = i + taken;
        }
        i += taken;
    }
    p->in = len > 0 ? input : "";
    p->len = len;
    p->pos = 0;
    if (from > 0) {
        url_buffer_append(&clean, input + from, len - from);
        p->in = url_buffer_string(&clean);
        p->len = clean.len;
    }
}

/* ---- the states, from the end of a URL to its start ---- */

static mercure_status parse_fragment(struct parser *p)
{
    url_buffer fragment = {.pool = p->pool};

    url_encode(&fragment, p->in + p->pos, p->len - p->pos, URL_ENCODE_FRAGMENT);
    p->url->fragment = url_buffer_string(&fragment);
    p->pos = p->len;
    return MERCURE_OK;
}

static mercure_status parse_query(struct parser *p)
{
    const char *s = p->in + p->pos;
    size_t len = p->len - p->pos;
    const char *hash = p->overridden || len == 0 ? NULL : memchr(s, '#', len);
    url_buffer query = {.pool = p->pool};

    if (hash != NULL) {
        len = (size_t)(hash - s);
    }
    url_encode(&query, s, len, p->special ? URL_ENCODE_SPECIAL_QUERY : URL_ENCODE_QUERY);
    p->url->query = url_buffer_string(&query);
    p->pos += len;
    if (hash == NULL) {
        return MERCURE_OK;
    }
    p->pos++;
    return parse_fragment(p);
}

/* What may follow a path: the end, '?' or '#'. */
static mercure_status parse_after_path(struct parser *p)
{
    switch (peek(p, 0)) {
    case '?':
        p->pos++;
        return parse_query(p);
    case '#':
        p->pos++;
        return parse_fragment(p);
    default:
        return MERCURE_OK;
    }
}

static mercure_status parse_opaque_path(struct parser *p)
{
    const char *s = p->in + p->pos;
    size_t len = 0;
    int c;

    p->url->has_opaque_path = true;
    while ((c = peek(p, len)) != END && c != '?' && c != '#') {
        len++;
    }
    p->pos += len;
    /* A space that would end the path is encoded, else taking query or fragment away would change what is left. */
    bool final_space = len > 0 && s[len - 1] == ' ' && c != END;
    url_encode(&p->path, s, final_space ? len - 1 : len, URL_ENCODE_C0);
    url_buffer_append(&p->path, "%20", final_space ? 3 : 0);
    return parse_after_path(p);
}

static mercure_status parse_path(struct parser *p)
{
    for (;;) {
        const char *s = p->in + p->pos;
        size_t len = 0;
        size_t start = p->path.len;
        int c;

        while ((c = peek(p, len)) != END && !is_slash(p, c) && (p->overridden || (c != '?' && c != '#'))) {
            len++;
        }
        p->pos += len;

        int dots = dots_of_segment(s, len);
        if (dots == 2) {
            shorten_path(p);
        }
        if (dots == 0) {
            url_buffer_append_char(&p->path, '/');
            url_encode(&p->path, s, len, URL_ENCODE_PATH);
            if (is_file(p->url) && start == 0 && is_drive_letter(p->path.s + 1, p->path.len - 1)) {
                p->path.s[2] = ':';
            }
        } else if (!is_slash(p, c)) {
            url_buffer_append_char(&p->path, '/');
        }
        if (!is_slash(p, c)) {
            return p->overridden ? MERCURE_OK : parse_after_path(p);
        }
        p->pos++;
    }
}

static mercure_status parse_path_start(struct parser *p)
{
    int c = peek(p, 0);

    if (p->special) {
        p->pos += is_slash(p, c) ? 1 : 0;
        return parse_path(p);
    }
    if (c == END || (!p->overridden && (c == '?' || c == '#'))) {
        if (p->overridden && p->url->host == NULL) {
            url_buffer_append_char(&p->path, '/');
        }
        return parse_after_path(p);
    }
    p->pos += c == '/' ? 1 : 0;
    return parse_path(p);
}

static mercure_status parse_port(struct parser *p)
{
    int port = 0;
    bool any = false;
    int c;

    for (; url_is_digit(c = peek(p, 0)); p->pos++) {
        any = true;
        port = port > 0xFFFF ? port : port * 10 + (c - '0');
    }
    if (!p->overridden && !ends_authority(p, c)) {
        return mercure_fail(p->err, MERCURE_INVALID, "the URL's port is not a number");
    }
    if (port > 0xFFFF) {
        return mercure_fail(p->err, MERCURE_INVALID, "the URL's port is above 65535");
    }
    if (any) {
        p->url->port = port == mercure_url_scheme_port(p->url->scheme, strlen(p->url->scheme)) ? -1 : port;
    }
    if (p->overridden) {
        return any ? MERCURE_OK : mercure_fail(p->err, MERCURE_INVALID, "the port does not begin with a digit");
    }
    return parse_path_start(p);
}

static mercure_status parse_host(struct parser *p)
{
    const char *s = p->in + p->pos;
    size_t len = 0;
    bool brackets = false;
    int c;

    while (!ends_authority(p, c = peek(p, len)) && (c != ':' || brackets)) {
        brackets = c == '[' || (brackets && c != ']');
        len++;
    }
    if (len == 0 && (p->special || c == ':')) {
        return mercure_fail(p->err, MERCURE_INVALID, "the URL's host is missing");
    }
    if (p->overridden && c == ':') {
        return mercure_fail(p->err, MERCURE_INVALID, "the host name holds a ':'");
    }
    mercure_status status = url_host_parse(p->pool, s, len, !p->special, &p->url->host, p->err);
    if (status != MERCURE_OK || p->overridden) {
        return status;
    }
    p->pos += len;
    if (c != ':') {
        return parse_path_start(p);
    }
    p->pos++;
    return parse_port(p);
}

static mercure_status parse_authority(struct parser *p)
{
    const char *s = p->in + p->pos;
    size_t len = 0;
    size_t host_at = 0; /* what follows the last '@' */

    for (int c; !ends_authority(p, c = peek(p, len)); len++) {
        if (c == '@') {
            host_at = len + 1;
        }
    }
    if (host_at > 0) {
        size_t userinfo_len = host_at - 1;
        const char *colon = userinfo_len > 0 ? memchr(s, ':', userinfo_len) : NULL;
        size_t username_len = colon != NULL ? (size_t)(colon - s) : userinfo_len;
        url_buffer username = {.pool = p->pool};
        url_buffer password = {.pool = p->pool};

        if (host_at == len) {
            return mercure_fail(p->err, MERCURE_INVALID, "the URL has credentials, but no host");
        }
        url_encode(&username, s, username_len, URL_ENCODE_USERINFO);
        p->url->username = url_buffer_string(&username);
        if (colon != NULL) {
            url_encode(&password, colon + 1, userinfo_len - username_len - 1, URL_ENCODE_USERINFO);
            p->url->password = url_buffer_string(&password);
        }
    }
    p->pos += host_at;
    return parse_host(p);
}

static mercure_status parse_special_authority_ignore_slashes(struct parser *p)
{
    while (is_slash(p, peek(p, 0))) {
        p->pos++;
    }
    return parse_authority(p);
}

static mercure_status parse_file_host(struct parser *p)
{
    const char *s = p->in + p->pos;
    size_t len = 0;

    while (!ends_authority(p, peek(p, len))) {
        len++;
    }
    if (is_drive_letter(s, len)) {
        return parse_path(p); /* file://C|/x: not a host, the path's first segment */
    }
    if (len > 0) {
        mercure_status status = url_host_parse(p->pool, s, len, false, &p->url->host, p->err);
        if (status != MERCURE_OK) {
            return status;
        }
        if (strcmp(p->url->host, "localhost") == 0) {
            p->url->host = "";
        }
    }
    p->pos += len;
    return parse_path_start(p);
}

static void copy_authority(struct parser *p)
{
    p->url->username = apr_pstrdup(p->pool, p->base->username);
    p->url->password = apr_pstrdup(p->pool, p->base->password);
    p->url->host = apr_pstrdup(p->pool, p->base->host); /* NULL stays NULL */
    p->url->port = p->base->port;
}

/* The base's path and query stay unless the rest of the input, which is not absolute, says otherwise. */
static mercure_status parse_after_base_path(struct parser *p)
{
    int c = peek(p, 0);

    url_buffer_append(&p->path, p->base->path, p->base->path_len);
    if (c == END || c == '?' || c == '#') {
        p->url->query = apr_pstrdup(p->pool, p->base->query);
        return parse_after_path(p);
    }
    if (is_file(p->url) && starts_with_drive_letter(p)) {
        p->path.len = 0;
    } else {
        shorten_path(p);
    }
    return parse_path(p);
}

static mercure_status parse_file(struct parser *p)
{
    bool base_is_file = p->base != NULL && is_file(p->base);

    set_scheme(p, "file");
    p->url->host = "";
    if (is_slash(p, peek(p, 0)) && is_slash(p, peek(p, 1))) {
        p->pos += 2;
        return parse_file_host(p);
    }
    if (base_is_file) {
        p->url->host = apr_pstrdup(p->pool, p->base->host);
    }
    if (is_slash(p, peek(p, 0))) {
        p->pos++;
        if (base_is_file && !starts_with_drive_letter(p) && path_has_drive(p->base->path, p->base->path_len)) {
            url_buffer_append(&p->path, p->base->path, 3);
        }
        return parse_path(p);
    }
    return base_is_file ? parse_after_base_path(p) : parse_path(p);
}

static mercure_status parse_relative(struct parser *p)
{
    set_scheme(p, apr_pstrdup(p->pool, p->base->scheme));
    if (!is_slash(p, peek(p, 0))) {
        copy_authority(p);
        return parse_after_base_path(p);
    }
    p->pos++;
    if (!is_slash(p, peek(p, 0))) {
        copy_authority(p);
        return parse_path(p);
    }
    p->pos++;
    return p->special ? parse_special_authority_ignore_slashes(p) : parse_authority(p);
}

static mercure_status parse_no_scheme(struct parser *p)
{
    if (p->base == NULL) {
        return mercure_fail(p->err, MERCURE_INVALID, "the URL is relative, and there is no base URL");
    }
    if (p->base->has_opaque_path) {
        if (peek(p, 0) != '#') {
            return mercure_fail(p->err, MERCURE_INVALID, "the URL is relative to one that has no hierarchy");
        }
        set_scheme(p, apr_pstrdup(p->pool, p->base->scheme));
        p->url->has_opaque_path = true;
        url_buffer_append(&p->path, p->base->path, p->base->path_len);
        p->url->query = apr_pstrdup(p->pool, p->base->query);
        return parse_after_path(p);
    }
    return is_file(p->base) ? parse_file(p) : parse_relative(p);
}

/* The length of the scheme at the start of the input, or 0 when there is none. */
static size_t scheme_length(const struct parser *p)
{
    size_t len = 0;
    int c;

    if (!url_is_alpha(peek(p, 0))) {
        return 0;
    }
    while (url_is_alpha(c = peek(p, len)) || url_is_digit(c) || c == '+' || c == '-' || c == '.') {
        len++;
    }
    return c == ':' ? len : 0;
}

static mercure_status parse_scheme(struct parser *p)
{
    size_t len = scheme_length(p);

    if (len == 0) {
        return parse_no_scheme(p);
    }
    char *scheme = apr_pstrmemdup(p->pool, p->in, len);
    for (size_t i = 0; i < len; i++) {
        scheme[i] = url_to_lower(scheme[i]);
    }
    set_scheme(p, scheme);
    p->pos = len + 1;

    if (is_file(p->url)) {
        return parse_file(p);
    }
    if (p->special) {
        bool two_slashes = peek(p, 0) == '/' && peek(p, 1) == '/';
        if (p->base != NULL && strcmp(p->base->scheme, scheme) == 0 && !two_slashes) {
            return parse_relative(p);
        }
        return parse_special_authority_ignore_slashes(p);
    }
    if (peek(p, 0) != '/') {
        return parse_opaque_path(p);
    }
    p->pos++;
    if (peek(p, 0) != '/') {
        return parse_path(p);
    }
    p->pos++;
    return parse_authority(p);
}

static mercure_url *url_create(apr_pool_t *pool, const char *scheme)
{
    mercure_url *url = apr_pcalloc(pool, sizeof(*url));

    url->scheme = scheme;
    url->username = "";
    url->password = "";
    url->port = -1;
    url->path = "";
    return url;
}

mercure_status mercure_url_parse(apr_pool_t *pool, const char *input, size_t len, const mercure_url *base,
                                 mercure_url **url, mercure_error *err)
{
    struct parser p = {.pool = pool, .base = base, .err = err, .path = {.pool = pool}};

    for (; len > 0 && (unsigned char)input[0] <= ' '; len--) {
        input++;
    }
    while (len > 0 && (unsigned char)input[len - 1] <= ' ') {
        len--;
    }
    p.url = url_create(pool, "");
    set_input(&p, input, len);
    mercure_status status = parse_scheme(&p);
    if (status != MERCURE_OK) {
        return status;
    }
    p.url->path = url_buffer_string(&p.path);
    p.url->path_len = p.path.len;
    *url = p.url;
    return MERCURE_OK;
}

mercure_status url_parse_override(apr_pool_t *pool, url_state state, const char *scheme, const char *value, size_t len,
                                  mercure_url **url, mercure_error *err)
{
    struct parser p = {.pool = pool, .overridden = true, .err = err, .path = {.pool = pool}};
    mercure_status status = MERCURE_INVALID;

    p.url = url_create(pool, "");
    p.url->host = "dummy.invalid";
    set_scheme(&p, scheme);
    set_input(&p, value, len);
    switch (state) {
    case URL_STATE_HOST:
        status = parse_host(&p);
        break;
    case URL_STATE_PORT:
        status = parse_port(&p);
        break;
    case URL_STATE_PATH_START:
        status = parse_path_start(&p);
        break;
    case URL_STATE_OPAQUE_PATH:
        status = parse_opaque_path(&p);
        break;
    case URL_STATE_QUERY:
        status = parse_query(&p);
        break;
    case URL_STATE_FRAGMENT:
        status = parse_fragment(&p);
        break;
    }
    if (status == MERCURE_OK) {
        p.url->path = url_buffer_string(&p.path);
        p.url->path_len = p.path.len;
        *url = p.url;
    }
    return status;
}

/* ---- serialising ---- */

const char *mercure_url_host(apr_pool_t *pool, const mercure_url *url)
{
    if (url->host == NULL) {
        return "";
    }
    return url->port < 0 ? apr_pstrdup(pool, url->host) : apr_psprintf(pool, "%s:%d", url->host, url->port);
}

const char *mercure_url_hostname(apr_pool_t *pool, const mercure_url *url)
{
    return url->host != NULL ? apr_pstrdup(pool, url->host) : "";
}

const char *mercure_url_port(apr_pool_t *pool, const mercure_url *url)
{
    return url->port < 0 ? "" : apr_itoa(pool, url->port);
}

const char *mercure_url_protocol(apr_pool_t *pool, const mercure_url *url)
{
    return apr_pstrcat(pool, url->scheme, ":", NULL);
}

const char *mercure_url_search(apr_pool_t *pool, const mercure_url *url)
{
    return url->query != NULL && url->query[0] != '\0' ? apr_pstrcat(pool, "?", url->query, NULL) : "";
}

const char *mercure_url_hash(apr_pool_t *pool, const mercure_url *url)
{
    return url->fragment != NULL && url->fragment[0] != '\0' ? apr_pstrcat(pool, "#", url->fragment, NULL) : "";
}

const char *mercure_url_serialise(apr_pool_t *pool, const mercure_url *url)
{
    const char *authority = "";

    if (url->host != NULL) {
        bool password = url->password[0] != '\0';
        bool credentials = password || url->username[0] != '\0';
        authority = apr_pstrcat(pool, "//", url->username, password ? ":" : "", url->password, credentials ? "@" : "",
                                mercure_url_host(pool, url), NULL);
    } else if (!url->has_opaque_path && strncmp(url->path, "//", 2) == 0) {
        authority = "/."; /* else the path would be read as an authority */
    }
    return apr_pstrcat(pool, url->scheme, ":", authority, url->path, url->query != NULL ? "?" : "",
                       url->query != NULL ? url->query : "", url->fragment != NULL ? "#" : "",
                       url->fragment != NULL ? url->fragment : "", NULL);
}

const char *mercure_url_origin(apr_pool_t *pool, const mercure_url *url)
{
    mercure_url *inner;

    if (strcmp(url->scheme, "blob") == 0 &&
        mercure_url_parse(pool, url->path, url->path_len, NULL, &inner, NULL) == MERCURE_OK) {
        /* Only these two: what else may stand inside has an opaque origin. */
        bool http = strcmp(inner->scheme, "http") == 0 || strcmp(inner->scheme, "https") == 0;
        return http ? mercure_url_origin(pool, inner) : "null";
    }
    if (is_file(url) || !mercure_url_scheme_special(url->scheme, strlen(url->scheme))) {
        return "null";
    }
    return apr_pstrcat(pool, url->scheme, "://", mercure_url_host(pool, url), NULL);
}

/* ---- the reserved path ---- */

static bool is_unreserved(int c)
{
    return url_is_alpha(c) || url_is_digit(c) || c == '-' || c == '.' || c == '_' || c == '~';
}

/* Percent-decode unreserved characters in place. */
static size_t decode_unreserved(char *s, size_t len)
{
    size_t out = 0;

    for (size_t i = 0; i < len; i++) {
        int c = url_decode_byte(s + i, len - i);
        if (is_unreserved(c)) {
            s[out++] = (char)c;
            i += 2;
        } else {
            s[out++] = s[i];
        }
    }
    return out;
}

/* Remove dot segments in place (RFC 3986, 5.2.4). The first segment of an opaque path has no '/' before it: as in the
 * RFC, a dot segment there is dropped with the '/' after it. */
static size_t remove_dot_segments(char *s, size_t len)
{
    size_t in = 0;
    size_t out = 0;

    while (in < len) {
        size_t start = in + (s[in] == '/' ? 1 : 0);
        const char *slash = start < len ? memchr(s + start, '/', len - start) : NULL;
        size_t end = slash != NULL ? (size_t)(slash - s) : len;
        int dots = dots_of_segment(s + start, end - start);

        if (dots == 0) {
            memmove(s + out, s + in, end - in);
            out += end - in;
        } else if (start == in) {
            end += slash != NULL ? 1 : 0;
        } else {
            while (dots == 2 && out > 0 && s[--out] != '/') {
            }
            if (slash == NULL) {
                s[out++] = '/';
            }
        }
        in = end;
    }
    return out;
}

bool mercure_url_addresses_path(apr_pool_t *pool, const char *topic, size_t len, const mercure_url *base,
                                const char *path)
{
    size_t path_len = strlen(path);
    mercure_url *url;

    if (mercure_url_parse(pool, topic, len, base, &url, NULL) != MERCURE_OK) {
        return false;
    }
    char *plain = apr_pstrmemdup(pool, url->path, url->path_len);
    size_t plain_len = remove_dot_segments(plain, decode_unreserved(plain, url->path_len));
    return plain_len >= path_len && memcmp(plain, path, path_len) == 0 &&
           (plain_len == path_len || plain[path_len] == '/');
}
