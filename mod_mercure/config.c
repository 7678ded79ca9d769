/* config.c - the module's settings: how those of scopes within each other come together, and what is in force.
 * directives.c reads them.
 */
#include "config.h"

#include "h2_negotiation.h"

#include <apr_lib.h>
#include <ap_mpm.h>
#include <apr_strings.h>
#include <apr_uri.h>
#include <http_core.h>
#include <http_log.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

#include "mercure/limits.h"

APLOG_USE_MODULE(mercure);

#define DEFAULT_HUB_PATH  "/.well-known/mercure"
#define DEFAULT_STATE_DIR "/var/lib/mercure"
#define DEFAULT_COOKIE    "__Secure-mercure_access_token"
#define DEFAULT_MAX_BODY  (1 << 20)

#ifndef MERCURE_BROKERD
#define MERCURE_BROKERD "/usr/local/sbin/brokerd"
#endif

/* --- creating and merging --- */

void *config_create_server(apr_pool_t *pool, server_rec *s)
{
    server_config *config = apr_pcalloc(pool, sizeof(*config));

    (void)s;
    config->heartbeat = UNSET;
    config->max_lifetime = UNSET;
    config->dispatch_timeout = UNSET;
    config->max_pending = UNSET;
    config->durable = UNSET;
    config->http2 = UNSET;
    config->http2_threads = UNSET;
    config->key_sets_private = UNSET;
    return config;
}

#define SET_OR(add, base)   ((add) != UNSET ? (add) : (base))
#define GIVEN_OR(add, base) ((add) != NULL ? (add) : (base))

void *config_merge_server(apr_pool_t *pool, void *base_data, void *add_data)
{
    const server_config *base = base_data, *add = add_data;
    server_config *config = apr_pmemdup(pool, base, sizeof(*base));

    config->path = GIVEN_OR(add->path, base->path);
    config->resource_identifier = GIVEN_OR(add->resource_identifier, base->resource_identifier);
    config->public_urls = GIVEN_OR(add->public_urls, base->public_urls);
    config->heartbeat = SET_OR(add->heartbeat, base->heartbeat);
    config->max_lifetime = SET_OR(add->max_lifetime, base->max_lifetime);
    config->dispatch_timeout = SET_OR(add->dispatch_timeout, base->dispatch_timeout);
    config->max_pending = SET_OR(add->max_pending, base->max_pending);
    config->http2 = SET_OR(add->http2, base->http2);
    config->http2_is_here = add->http2 == 1;
    return config; /* the rest is the whole server's and stays as it is in `base` */
}

void *config_create_dir(apr_pool_t *pool, char *path)
{
    dir_config *config = apr_pcalloc(pool, sizeof(*config));

    (void)path;
    config->enabled = UNSET;
    config->anonymous = UNSET;
    config->discovery = UNSET;
    config->compatibility = UNSET;
    config->max_body = UNSET;
    config->max_subscribers = UNSET;
    config->max_per_client = UNSET;
    config->max_blocking = UNSET;
    return config;
}

/* A tenant may lower a limit of the administrator's, but not lift it. 0 means none. */
static apr_int64_t merge_limit(const dir_config *add, apr_int64_t added, apr_int64_t base, apr_int64_t usual)
{
    apr_int64_t outer = base != UNSET ? base : usual;

    if (added == UNSET || !add->limits_are_tenants) {
        return SET_OR(added, base);
    }
    if (added == 0 || outer == 0) {
        return added == 0 ? outer : added;
    }
    return added < outer ? added : outer;
}

static uint64_t tighter(uint64_t tenants, uint64_t outer)
{
    if (tenants == 0 || outer == 0) {
        return tenants == 0 ? outer : tenants;
    }
    return tenants < outer ? tenants : outer;
}

static void merge_retention(dir_config *config, const dir_config *add)
{
    mercure_retention outer = config_retention(config);

    if (!add->has_retention) {
        return;
    }
    config->has_retention = 1;
    config->retention = add->retention;
    if (add->retention_is_tenants) {
        config->retention.events = tighter(add->retention.events, outer.events);
        config->retention.seconds = tighter(add->retention.seconds, outer.seconds);
        config->retention.bytes = tighter(add->retention.bytes, outer.bytes);
    }
}

void *config_merge_dir(apr_pool_t *pool, void *base_data, void *add_data)
{
    const dir_config *base = base_data, *add = add_data;
    dir_config *config = apr_pmemdup(pool, base, sizeof(*base));

    config->enabled = SET_OR(add->enabled, base->enabled);
    config->anonymous = SET_OR(add->anonymous, base->anonymous);
    if (add->hub_name != NULL) {
        config->hub_name = add->hub_name;
    }
    config->tenant_dir = GIVEN_OR(add->tenant_dir, base->tenant_dir);
    /* Naming an issuer replaces those of the outer scope: a tenant's keys are its own. */
    config->issuers = GIVEN_OR(add->issuers, base->issuers);
    config->publish_origins = GIVEN_OR(add->publish_origins, base->publish_origins);
    config->cors_origins = GIVEN_OR(add->cors_origins, base->cors_origins);
    config->authorization_servers = GIVEN_OR(add->authorization_servers, base->authorization_servers);
    config->discovery = SET_OR(add->discovery, base->discovery);
    config->compatibility = SET_OR(add->compatibility, base->compatibility);
    config->cookie_name = GIVEN_OR(add->cookie_name, base->cookie_name);
    config->max_body = merge_limit(add, add->max_body, base->max_body, DEFAULT_MAX_BODY);
    config->max_subscribers = merge_limit(add, add->max_subscribers, base->max_subscribers, 0);
    config->max_per_client = merge_limit(add, add->max_per_client, base->max_per_client, 0);
    if (add->max_blocking != UNSET && add->limits_are_tenants && base->max_blocking != UNSET) {
        config->max_blocking = add->max_blocking < base->max_blocking ? add->max_blocking : base->max_blocking;
    } else if (add->max_blocking != UNSET) {
        config->max_blocking = add->max_blocking;
        /* then it stays below the server's default */
        config->max_blocking_is_tenants = add->limits_are_tenants || add->max_blocking_is_tenants;
    }
    merge_retention(config, add);
    /* Sections of an .htaccess file (Files, If) are merged with each other first, then with what the administrator
     * says. */
    config->limits_are_tenants = base->limits_are_tenants || add->limits_are_tenants;
    config->retention_is_tenants = base->retention_is_tenants || add->retention_is_tenants;
    return config;
}
server_config *config_of_server(const server_rec *s)
{
    return ap_get_module_config(s->module_config, &mercure_module);
}

/* --- the configuration as a whole --- */

static bool trusts_anybody(const dir_config *dir)
{
    int i;

    for (i = 0; dir->issuers != NULL && i < dir->issuers->nelts; i++) {
        if (strcmp(APR_ARRAY_IDX(dir->issuers, i, config_issuer).trusted.iss, "*") == 0) {
            return true;
        }
    }
    return false;
}

int config_check(apr_pool_t *pool, apr_pool_t *log, apr_pool_t *temp, server_rec *all)
{
    server_rec *s;

    (void)pool;
    (void)log;
    for (s = all; s != NULL; s = s->next) {
        const dir_config *dir = ap_get_module_config(s->lookup_defaults, &mercure_module);
        if (trusts_anybody(dir) && config_dialects(dir) == 0) {
            ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_CRIT, 0, s,
                         "MercureIssuer * is for tokens of protocol 0.x, which name no issuer: it wants "
                         "MercureCompatibility 8; or name the issuer");
            return HTTP_INTERNAL_SERVER_ERROR;
        }
    }
    return h2_negotiation_check(temp, all);
}

/* --- origins --- */

/* A host as it stands in an origin, in lower case; NULL for what is none, such as a pattern (*.example.com). apr_uri
 * takes the brackets off an IPv6 address.
 */
static const char *canonical_host(apr_pool_t *pool, const char *host)
{
    const char *letters = strchr(host, ':') != NULL ? ".:" : ".-_", *at;
    char *lower = apr_pstrdup(pool, host);

    for (at = host; *at != '\0'; at++) {
        if (!apr_isalnum(*at) && strchr(letters, *at) == NULL) {
            return NULL;
        }
    }
    ap_str_tolower(lower);
    return letters[1] == ':' ? apr_pstrcat(pool, "[", lower, "]", NULL) : lower;
}

const char *config_canonical_origin(apr_pool_t *pool, const char *origin)
{
    const char *host;
    apr_uri_t uri;
    apr_int64_t port;

    if (apr_uri_parse(pool, origin, &uri) != APR_SUCCESS || uri.scheme == NULL || uri.hostname == NULL ||
        *uri.hostname == '\0' || uri.user != NULL || uri.query != NULL || uri.fragment != NULL ||
        (uri.path != NULL && strcmp(uri.path, "") != 0 && strcmp(uri.path, "/") != 0)) {
        return NULL;
    }
    ap_str_tolower(uri.scheme);
    host = canonical_host(pool, uri.hostname);
    if (host == NULL || (strcmp(uri.scheme, "http") != 0 && strcmp(uri.scheme, "https") != 0)) {
        return NULL;
    }
    /* Not uri.port, which has the lower 16 bits only. */
    port =
        uri.port_str != NULL && *uri.port_str != '\0' ? apr_atoi64(uri.port_str) : apr_uri_port_of_scheme(uri.scheme);
    if (port < 1 || port > 65535) {
        return NULL;
    }
    if (port == apr_uri_port_of_scheme(uri.scheme)) {
        return apr_pstrcat(pool, uri.scheme, "://", host, NULL);
    }
    return apr_psprintf(pool, "%s://%s:%d", uri.scheme, host, (int)port);
}

/* --- the settings in force --- */

static const char *digest_of(apr_pool_t *pool, const char *text)
{
    unsigned char raw[SHA256_DIGEST_LENGTH];
    char *hex = apr_palloc(pool, 33);

    SHA256((const unsigned char *)text, strlen(text), raw);
    ap_bin2hex(raw, 16, hex);
    return hex;
}

const char *config_path(const server_rec *s)
{
    const char *path = config_of_server(s)->path;

    return path != NULL ? path : DEFAULT_HUB_PATH;
}

int config_heartbeat(const server_rec *s)
{
    return SET_OR(config_of_server(s)->heartbeat, 40);
}

unsigned config_http2_threads(const server_rec *all)
{
    int set = config_of_server(all)->http2_threads, threaded = 0, threads = 0;
    const server_rec *s;

    for (s = all; s != NULL && config_of_server(s)->http2 != 1; s = s->next) {
    }
    if (s == NULL) {
        return 0;
    }
    if (set != UNSET) {
        return (unsigned)set;
    }
    ap_mpm_query(AP_MPMQ_IS_THREADED, &threaded);
    ap_mpm_query(AP_MPMQ_MAX_THREADS, &threads);
    return threaded == 0 || threads < 4 ? 4 : threads < 16 ? (unsigned)threads : 16;
}

int config_max_lifetime(const server_rec *s)
{
    return SET_OR(config_of_server(s)->max_lifetime, 600);
}

int config_dispatch_timeout(const server_rec *s)
{
    return SET_OR(config_of_server(s)->dispatch_timeout, 5);
}

apr_size_t config_max_pending(const server_rec *s)
{
    return (apr_size_t)SET_OR(config_of_server(s)->max_pending, 1 << 20);
}

apr_size_t config_max_body(const dir_config *dir)
{
    return (apr_size_t)SET_OR(dir->max_body, DEFAULT_MAX_BODY);
}

mercure_retention config_retention(const dir_config *dir)
{
    if (dir->has_retention) {
        return dir->retention;
    }
    return (mercure_retention){.events = 100000, .seconds = 7 * 86400, .bytes = 256 << 20};
}

const char *config_cookie_name(const dir_config *dir)
{
    return dir->cookie_name != NULL ? dir->cookie_name : DEFAULT_COOKIE;
}

unsigned config_dialects(const dir_config *dir)
{
    return dir->compatibility > 0 ? (unsigned)dir->compatibility : 0;
}

/* Virtual hosts hold a merged copy of the main server's settings, so any of them will do. */
const char *config_state_dir(apr_pool_t *pool, const server_rec *s)
{
    const char *dir = config_of_server(s)->state_dir;

    return ap_server_root_relative(pool, dir != NULL ? dir : DEFAULT_STATE_DIR);
}

const char *config_socket_dir(apr_pool_t *pool, const server_rec *s)
{
    const char *dir = config_of_server(s)->broker_dir;

    return dir != NULL ? dir : apr_pstrcat(pool, config_state_dir(pool, s), "/sockets", NULL);
}

const char *config_history_dir(apr_pool_t *pool, const server_rec *s)
{
    return apr_pstrcat(pool, config_state_dir(pool, s), "/history", NULL);
}

const char *config_key_set_dir(apr_pool_t *pool, const server_rec *s)
{
    return apr_pstrcat(pool, config_state_dir(pool, s), "/keysets", NULL);
}

const char *config_broker_program(apr_pool_t *pool, const server_rec *s)
{
    const char *program = config_of_server(s)->broker_program;

    return ap_server_root_relative(pool, program != NULL ? program : MERCURE_BROKERD);
}

const char *config_hub_name(apr_pool_t *pool, const server_rec *s, const dir_config *dir)
{
    const char *host = s->server_hostname != NULL ? s->server_hostname : "default";

    const char *name = dir->hub_name != NULL ? dir->hub_name : host;

    if (dir->tenant_dir == NULL && strlen(name) <= MERCURE_MAX_HUB_NAME) {
        return name;
    }
    /* One virtual host may serve many tenants (VirtualDocumentRoot, UserDir). No name that an administrator can give
     * holds a slash, so a tenant reaches no hub but its own.
     */
    return apr_psprintf(
        pool, "%.100s/%s", name,
        digest_of(pool, apr_pstrcat(pool, host, "/", dir->tenant_dir != NULL ? dir->tenant_dir : name, NULL)));
}
