/* fetch.c - see fetch.h.
 *
 * Redirections are followed by curl, so the rule about addresses is kept where a socket is opened: whatever a name
 * resolves to, at that moment. No proxy is used, also not one of the environment: behind it the rule would be void.
 */
#include "fetch.h"

#include <stdlib.h>
#include <sys/socket.h>

#include "mercure/key_url.h"
#include "mercure/version.h"

#define TOTAL_SECONDS   10L
#define CONNECT_SECONDS 5L
#define REDIRECTS       3L

static size_t take_body(char *data, size_t size, size_t count, void *context)
{
    fetch *f = context;
    size_t len = size * count;

    if (len > sizeof(f->body) - f->len) {
        f->too_large = true;
        return 0; /* ends the transfer */
    }
    memcpy(f->body + f->len, data, len);
    f->len += len;
    return len;
}

static bool is_header(mercure_str line, const char *name, mercure_str *value)
{
    size_t len = strlen(name);

    if (line.len <= len || strncasecmp(line.data, name, len) != 0 || line.data[len] != ':') {
        return false;
    }
    *value = (mercure_str){line.data + len + 1, line.len - len - 1};
    return true;
}

static size_t take_header(char *data, size_t size, size_t count, void *context)
{
    fetch *f = context;
    mercure_str line = {data, size * count}, value;
    char digits[24];

    if (line.len >= 5 && memcmp(line.data, "HTTP/", 5) == 0) { /* another answer: the one before was a redirection */
        f->fresh = FETCH_FRESH_UNSAID;
        f->age = 0;
    } else if (is_header(line, "cache-control", &value)) {
        mercure_cache_control(value, &f->fresh);
    } else if (is_header(line, "age", &value)) {
        snprintf(digits, sizeof(digits), "%.*s", (int)(value.len < 20 ? value.len : 20), value.data);
        f->age = strtoul(digits, NULL, 10);
    }
    return line.len;
}

static curl_socket_t open_within_reach(void *context, curlsocktype purpose, struct curl_sockaddr *address)
{
    fetch *f = context;

    if (purpose != CURLSOCKTYPE_IPCXN ||
        !mercure_address_within(&address->addr, (socklen_t)address->addrlen, f->reach)) {
        f->refused = true;
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static bool set_rules(fetch *f, const char *url, const char *ca)
{
    CURL *c = f->easy;
    bool secure = (f->reach & MERCURE_REACH_PUBLIC) != 0;

    return curl_easy_setopt(c, CURLOPT_URL, url) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, secure ? "https" : "http,https") == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, "https") == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1L) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_MAXREDIRS, REDIRECTS) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_TIMEOUT, TOTAL_SECONDS) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, CONNECT_SECONDS) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_MAXFILESIZE, (long)sizeof(f->body)) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, open_within_reach) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_OPENSOCKETDATA, f) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_PROXY, "") == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 1L) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 2L) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) == CURLE_OK &&
           (ca == NULL || curl_easy_setopt(c, CURLOPT_CAINFO, ca) == CURLE_OK);
}

fetch *fetch_create(const char *url, unsigned reach, const char *ca)
{
    fetch *f = calloc(1, sizeof(*f));

    if (f == NULL || (f->easy = curl_easy_init()) == NULL) {
        free(f);
        return NULL;
    }
    f->reach = reach;
    f->fresh = FETCH_FRESH_UNSAID;
    if (!set_rules(f, url, ca) || curl_easy_setopt(f->easy, CURLOPT_WRITEFUNCTION, take_body) != CURLE_OK ||
        curl_easy_setopt(f->easy, CURLOPT_WRITEDATA, f) != CURLE_OK ||
        curl_easy_setopt(f->easy, CURLOPT_HEADERFUNCTION, take_header) != CURLE_OK ||
        curl_easy_setopt(f->easy, CURLOPT_HEADERDATA, f) != CURLE_OK ||
        curl_easy_setopt(f->easy, CURLOPT_PRIVATE, f) != CURLE_OK ||
        curl_easy_setopt(f->easy, CURLOPT_NOSIGNAL, 1L) != CURLE_OK) {
        fetch_free(f);
        return NULL;
    }
    /* Manners, and a stop that waits for no resolver: it goes without them as well. */
    curl_easy_setopt(f->easy, CURLOPT_USERAGENT, "brokerd/" MERCURE_VERSION);
    curl_easy_setopt(f->easy, CURLOPT_FORBID_REUSE, 1L);
    curl_easy_setopt(f->easy, CURLOPT_QUICK_EXIT, 1L);
    return f;
}

void fetch_free(fetch *f)
{
    curl_easy_cleanup(f->easy);
    free(f);
}

mercure_status fetch_outcome(fetch *f, CURLcode ended, mercure_error *err)
{
    long status = 0;

    if (f->too_large || ended == CURLE_FILESIZE_EXCEEDED) {
        return mercure_fail(err, MERCURE_LIMIT, "its answer has more than %d bytes", MERCURE_JWKS_MAX_BYTES);
    }
    if (ended == CURLE_COULDNT_CONNECT && f->refused) {
        if ((f->reach & (MERCURE_REACH_PUBLIC | MERCURE_REACH_PRIVATE)) == MERCURE_REACH_PUBLIC) {
            return mercure_fail(
                err, MERCURE_INVALID,
                "its address is not a public one: if it is meant to be private, say MercureKeySetPrivate "
                "On (brokerd --keyset-private)");
        }
        return mercure_fail(err, MERCURE_INVALID, "its address is not one to fetch from");
    }
    if (ended == CURLE_UNSUPPORTED_PROTOCOL) {
        return mercure_fail(err, MERCURE_INVALID, "it redirects to something that is not https");
    }
    if (ended != CURLE_OK) {
        return mercure_fail(err, MERCURE_SYSTEM, "%s", curl_easy_strerror(ended));
    }
    if (curl_easy_getinfo(f->easy, CURLINFO_RESPONSE_CODE, &status) != CURLE_OK || status != 200) {
        return mercure_fail(err, MERCURE_INVALID, "it answers %ld", status);
    }
    return MERCURE_OK;
}
