/* config.h - the directives, as the rest of the module sees them. docs/directives.md is their manual. */
#ifndef MOD_MERCURE_CONFIG_H
#define MOD_MERCURE_CONFIG_H

#include <httpd.h>
#include <http_config.h>
#include <stdatomic.h>

#include "key_sets.h"

#include "mercure/history.h"
#include "mercure/token.h"

#define UNSET (-1)

/* Where the metadata of a hub are: this, and then the hub's path (RFC 9728, 3). */
#define METADATA_PATH "/.well-known/oauth-protected-resource"

/* A virtual host's budget of log lines: see answer.c. */
typedef struct {
    _Atomic uint64_t second;
    atomic_uint lines, suppressed;
    _Atomic uint64_t hinted_ms; /* when a hint was last logged; 0: never */
} log_budget;

/* One MercureIssuer. With a source, `trusted.key` is what the set was when the configuration was read. */
typedef struct {
    mercure_issuer trusted;
    const key_set_source *source;
} config_issuer;

/* What a virtual host, or the whole server, sets. */
typedef struct {
    const char *path;                /* MercurePath; NULL: the default */
    const char *resource_identifier; /* NULL: from the request */
    apr_array_header_t *public_urls; /* of const char *, origins in canonical form; NULL: any */
    int heartbeat;                   /* seconds; 0: off */
    int max_lifetime;
    int dispatch_timeout;
    apr_int64_t max_pending; /* bytes */
    int http2;               /* MercureHTTP2 */
    int http2_is_here;       /* and it is this server's own line */
    log_budget log;          /* not a setting: counts in each child */
    /* The whole server's, set outside of virtual hosts only: */
    const char *broker_dir; /* MercureBroker ipc:DIR; NULL: spawn */
    const char *broker_program;
    const char *state_dir;
    int durable;
    int http2_threads; /* for each child */
    const char *key_set_ca;
    int key_sets_private;
} server_config;

/* What a directory, location or .htaccess file sets. A limit is 0 for "none". */
typedef struct {
    int enabled;
    int anonymous;
    const char *hub_name;
    const char
        *tenant_dir; /* of the .htaccess file that says which hub this is or who may use it; NULL: the admin does */
    apr_array_header_t *issuers;               /* of config_issuer */
    apr_array_header_t *publish_origins;       /* of const char * */
    apr_array_header_t *cors_origins;          /* of const char *, one may be "*" */
    apr_array_header_t *authorization_servers; /* of const char * */
    int discovery;
    int compatibility;     /* a set of MERCURE_DIALECT_*; UNSET or 0: only 1.0 */
    int compatibility_off; /* this scope has said Off */
    const char *cookie_name;
    apr_int64_t max_body;
    apr_int64_t max_subscribers;
    apr_int64_t max_per_client;
    apr_int64_t max_blocking; /* here 0 is a limit: none may block */
    int max_blocking_is_tenants;
    int limits_are_tenants; /* those that this scope sets come from an .htaccess file */
    int has_retention;
    int retention_is_tenants;
    mercure_retention retention;
} dir_config;

extern __attribute__((visibility("default"))) module AP_MODULE_DECLARE_DATA mercure_module; /* httpd finds it by name */
extern const command_rec config_commands[];

void *config_create_server(apr_pool_t *pool, server_rec *s);
void *config_merge_server(apr_pool_t *pool, void *base, void *add);
void *config_create_dir(apr_pool_t *pool, char *path);
void *config_merge_dir(apr_pool_t *pool, void *base, void *add);

server_config *config_of_server(const server_rec *s);

/* A check_config hook: what one directive alone cannot see. */
int config_check(apr_pool_t *pool, apr_pool_t *log, apr_pool_t *temp, server_rec *s);

/* The settings in force, with the defaults filled in. */
const char *config_path(const server_rec *s);
int config_heartbeat(const server_rec *s);
unsigned config_http2_threads(const server_rec *all); /* 0: HTTP/2 is on nowhere */
int config_max_lifetime(const server_rec *s);
int config_dispatch_timeout(const server_rec *s);
apr_size_t config_max_pending(const server_rec *s);
apr_size_t config_max_body(const dir_config *dir);
mercure_retention config_retention(const dir_config *dir);
const char *config_cookie_name(const dir_config *dir);
unsigned config_dialects(const dir_config *dir); /* MERCURE_DIALECT_* */

/* The whole server's. `s` may be any virtual host's. */
const char *config_state_dir(apr_pool_t *pool, const server_rec *s);
const char *config_socket_dir(apr_pool_t *pool, const server_rec *s);
const char *config_history_dir(apr_pool_t *pool, const server_rec *s);
const char *config_key_set_dir(apr_pool_t *pool, const server_rec *s);
const char *config_broker_program(apr_pool_t *pool, const server_rec *s);

/* The name of the hub that serves this directory: the tenant. */
const char *config_hub_name(apr_pool_t *pool, const server_rec *s, const dir_config *dir);

/* config_issuer.c: the words of a MercureIssuer directive, checked and added to a list that may be NULL yet. Returns
 * what is wrong, or NULL.
 */
const char *config_add_issuer(cmd_parms *cmd, apr_array_header_t **issuers, int argc, char *const argv[]);

/* An origin ("https://example.com:8443") in the form browsers send, or NULL when it is none. */
const char *config_canonical_origin(apr_pool_t *pool, const char *origin);

#endif
