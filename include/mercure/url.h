/* url.h - URLs as the WHATWG URL Standard (url.spec.whatwg.org) reads them.
 *
 * Topics and patterns are compared through this parser, so that a hub and a browser agree on what a URL is. Strings
 * in and out are UTF-8; what comes out is ASCII (percent-encoded, host names in their xn-- form), except that nothing
 * here looks at validation errors: only what the standard calls failure fails.
 *
 * Input may hold any byte. Ill-formed UTF-8 is read as U+FFFD. Every function takes time and memory linear in its
 * input, needs no lock, and returns strings that live in `pool`; a result never points into the input or the base.
 * A reason in a mercure_error never repeats the input, which may hold a password.
 */
#ifndef MERCURE_URL_H
#define MERCURE_URL_H

#include "mercure/error.h"

#include <apr_pools.h>

#include <stdbool.h>
#include <stddef.h>

/* A URL record (section "URL representation"). Each string is NUL-terminated ASCII without NUL inside. The members
 * username, password and path are also what the URL API's getters of these names (path: "pathname") return.
 */
typedef struct mercure_url {
    const char *scheme;   /* lower case, without the colon */
    const char *username; /* "" when there is none */
    const char *password; /* "" when there is none */
    const char *host;     /* serialised, an IPv6 address with its brackets; NULL: none ("a:b"), "": empty ("a:///b") */
    int port;             /* -1: none, or the scheme's default port */
    const char *path;     /* serialised, path_len bytes: "" or "/seg/seg", or any text when has_opaque_path */
    size_t path_len;
    const char *query;    /* without the '?'; NULL: none, "": "a:b?" */
    const char *fragment; /* without the '#'; NULL: none, "": "a:b#" */
    bool has_opaque_path; /* "mailto:a@b": the path has no segments, and nothing but "#x" can be relative to it */
} mercure_url;

/* Parse a URL ("basic URL parser" without a state override).
 *
 * input   `len` bytes, not NUL-terminated
 * base    what a relative input is resolved against; NULL: only absolute URLs parse
 * url     out: the record, in `pool`
 *
 * Returns MERCURE_OK, or MERCURE_INVALID where the standard returns failure, with the reason in `err` (may be NULL) and
 * `url` untouched. (A host name that is not ASCII fails the same way when libidn2 gets no memory.)
 */
mercure_status mercure_url_parse(apr_pool_t *pool, const char *input, size_t len, const mercure_url *base,
                                 mercure_url **url, mercure_error *err);

/* The URL as one string ("URL serializer"), which is the URL API's href. */
const char *mercure_url_serialise(apr_pool_t *pool, const mercure_url *url);

/* The origin, serialised: "https://example.com:8443", or "null" for an opaque one ("origin"; file: is opaque). */
const char *mercure_url_origin(apr_pool_t *pool, const mercure_url *url);

/* What the URL API's getters of these names return: protocol has its colon, host its port, search its '?' and hash its
 * '#' unless they would stand alone; hostname and port are "" where there is none. */
const char *mercure_url_protocol(apr_pool_t *pool, const mercure_url *url);
const char *mercure_url_host(apr_pool_t *pool, const mercure_url *url);
const char *mercure_url_hostname(apr_pool_t *pool, const mercure_url *url);
const char *mercure_url_port(apr_pool_t *pool, const mercure_url *url);
const char *mercure_url_search(apr_pool_t *pool, const mercure_url *url);
const char *mercure_url_hash(apr_pool_t *pool, const mercure_url *url);

/* Is this a special scheme (ftp, file, http, https, ws, wss)? Lower case, `len` bytes, without the colon. */
bool mercure_url_scheme_special(const char *scheme, size_t len);

/* The default port of a special scheme; -1 for "file" and for every other scheme. */
int mercure_url_scheme_port(const char *scheme, size_t len);

/* Does a topic address a reserved path? (PROTOCOL 4)
 *
 * topic   `len` bytes, resolved against `base` (may be NULL) by mercure_url_parse()
 * path    the hub's path: absolute, in its plain form, without a final slash
 *
 * True when the topic's path, whatever its scheme and authority, is `path` or begins with `path` and a slash, once
 * percent-encoded unreserved characters are decoded and dot segments are removed again (RFC 3986, 6.2.2.2, 6.2.2.3);
 * opaque paths are compared the same way. False when the topic does not parse. What `pool` gets may be cleared after.
 */
bool mercure_url_addresses_path(apr_pool_t *pool, const char *topic, size_t len, const mercure_url *base,
                                const char *path);

/* The encoding callbacks of the URL Pattern Standard (section "Canonicalization"): each brings one component, or a
 * piece of one, to the form it has in a parsed URL.
 *
 * value   `len` bytes, without the component's delimiter (no final ':' on a protocol, no '?' on a search)
 * out     out: NUL-terminated, in `pool`
 *
 * Returns MERCURE_OK, or MERCURE_INVALID where the standard throws. The empty string is
 * always its own canonical form.
 *
 * As the standard has it, a hostname ends at '/', '?', '#' or '\', an opaque pathname at '?' or '#', and a port at the
 * first character that is not a digit; what follows is dropped.
 */
mercure_status mercure_url_canonicalise_protocol(apr_pool_t *pool, const char *value, size_t len, const char **out,
                                                 mercure_error *err);
mercure_status mercure_url_canonicalise_username(apr_pool_t *pool, const char *value, size_t len, const char **out,
                                                 mercure_error *err);
mercure_status mercure_url_canonicalise_password(apr_pool_t *pool, const char *value, size_t len, const char **out,
                                                 mercure_error *err);
mercure_status mercure_url_canonicalise_hostname(apr_pool_t *pool, const char *value, size_t len, const char **out,
                                                 mercure_error *err);

/* For a piece of an IPv6 address in brackets: checks its characters, not the address. */
mercure_status mercure_url_canonicalise_ipv6_hostname(apr_pool_t *pool, const char *value, size_t len, const char **out,
                                                      mercure_error *err);

/* protocol   NUL-terminated: its default port becomes "". NULL or "": no port is a default (the review draft of
 *            2025-09 would take NULL for "https"; that of 2026-09 corrects it, and so do we). */
mercure_status mercure_url_canonicalise_port(apr_pool_t *pool, const char *value, size_t len, const char *protocol,
                                             const char **out, mercure_error *err);
mercure_status mercure_url_canonicalise_pathname(apr_pool_t *pool, const char *value, size_t len, const char **out,
                                                 mercure_error *err);
mercure_status mercure_url_canonicalise_opaque_pathname(apr_pool_t *pool, const char *value, size_t len,
                                                        const char **out, mercure_error *err);
mercure_status mercure_url_canonicalise_search(apr_pool_t *pool, const char *value, size_t len, const char **out,
                                               mercure_error *err);
mercure_status mercure_url_canonicalise_hash(apr_pool_t *pool, const char *value, size_t len, const char **out,
                                             mercure_error *err);

#endif
