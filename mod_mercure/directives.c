/* directives.c - each directive a small setter that checks its value and says what it wanted. MercureIssuer's keys are
 * config_issuer.c's.
 *
 * Tenants write .htaccess files, so what stands there is hostile input: a tenant's hub lives in a space of its
 * directory's own, its limits can only tighten those of the administrator, and the files it names must be its own.
 */
#include "config.h"

#include <apr_lib.h>
#include <apr_strings.h>
#include <apr_uri.h>
#include <http_core.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
/* --- small helpers of the setters --- */

static int in_htaccess(cmd_parms *cmd)
{
    return ap_check_cmd_context(cmd, NOT_IN_HTACCESS) != NULL;
}

/* Who decides in an .htaccess file which hub this is, whose keys open it, or who else may use it, has a hub of that
 * directory's own. The directory is that of the file: within <Files> and <If>, cmd->path is the section's.
 */
static void note_tenant(cmd_parms *cmd, dir_config *config)
{
    if (in_htaccess(cmd)) {
        config->tenant_dir = ap_make_dirstr_parent(cmd->pool, cmd->directive->filename);
    }
}

static const char *parse_number(cmd_parms *cmd, const char *text, apr_int64_t least, apr_int64_t most,
                                apr_int64_t *number)
{
    char *end;

    errno = 0;
    *number = apr_strtoi64(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || *number < least || *number > most) {
        return apr_psprintf(cmd->pool,
                            "%s wants a whole number from %" APR_INT64_T_FMT " to %" APR_INT64_T_FMT ", not \"%s\"",
                            cmd->cmd->name, least, most, text);
    }
    return NULL;
}

/* A number of bytes, with an optional K, M or G. */
static const char *parse_size(cmd_parms *cmd, const char *text, apr_int64_t *size)
{
    char *end;
    apr_int64_t unit = 1;

    errno = 0;
    *size = apr_strtoi64(text, &end, 10);
    switch (apr_toupper(*end)) {
    case 'K':
        unit = 1024;
        break;
    case 'M':
        unit = 1024 * 1024;
        break;
    case 'G':
        unit = 1024 * 1024 * 1024;
        break;
    }
    if (end == text || errno != 0 || *size < 0 || *size > APR_INT64_MAX / unit || (unit > 1 && end[1] != '\0') ||
        (unit == 1 && *end != '\0')) {
        return apr_psprintf(cmd->pool, "%s wants a number of bytes, such as 512K or 1M, not \"%s\"", cmd->cmd->name,
                            text);
    }
    *size *= unit;
    return NULL;
}

static const char *add_origin(cmd_parms *cmd, apr_array_header_t **list, const char *text)
{
    const char *origin = config_canonical_origin(cmd->pool, text);

    if (origin == NULL) {
        return apr_psprintf(cmd->pool, "%s wants origins such as https://www.example.com, not \"%s\"", cmd->cmd->name,
                            text);
    }
    if (*list == NULL) {
        *list = apr_array_make(cmd->pool, 2, sizeof(const char *));
    }
    APR_ARRAY_PUSH(*list, const char *) = origin;
    return NULL;
}

/* --- setters: directories --- */

static const char *set_issuer(cmd_parms *cmd, void *data, int argc, char *const argv[])
{
    dir_config *config = data;

    note_tenant(cmd, config);
    return config_add_issuer(cmd, &config->issuers, argc, argv);
}

static const char *set_enabled(cmd_parms *cmd, void *data, int on)
{
    ((dir_config *)data)->enabled = on;
    note_tenant(cmd, data);
    return NULL;
}

static const char *set_anonymous(cmd_parms *cmd, void *data, int on)
{
    ((dir_config *)data)->anonymous = on;
    note_tenant(cmd, data);
    return NULL;
}

static const char *set_hub_name(cmd_parms *cmd, void *data, const char *name)
{
    dir_config *config = data;
    size_t i, len = strlen(name);

    if (len == 0 || len > 100) {
        return "MercureHubName wants a name of 1 to 100 characters";
    }
    for (i = 0; i < len; i++) {
        if (!apr_isalnum(name[i]) && strchr(".-_:", name[i]) == NULL) {
            return "MercureHubName wants letters, digits, and . - _ : only";
        }
    }
    config->hub_name = name;
    note_tenant(cmd, config);
    return NULL;
}

static const char *add_publish_origin(cmd_parms *cmd, void *data, const char *text)
{
    note_tenant(cmd, data);
    return add_origin(cmd, &((dir_config *)data)->publish_origins, text);
}

static const char *add_cors_origin(cmd_parms *cmd, void *data, const char *text)
{
    dir_config *config = data;

    note_tenant(cmd, config);
    if (strcmp(text, "*") != 0) {
        return add_origin(cmd, &config->cors_origins, text);
    }
    if (config->cors_origins == NULL) {
        config->cors_origins = apr_array_make(cmd->pool, 2, sizeof(const char *));
    }
    APR_ARRAY_PUSH(config->cors_origins, const char *) = "*";
    return NULL;
}

/* What may stand in a URL, as far as its characters go. */
static bool is_ascii(const char *text)
{
    while (*text > ' ' && *text < 0x7f) {
        text++;
    }
    return *text == '\0';
}

static const char *add_authorization_server(cmd_parms *cmd, void *data, const char *text)
{
    dir_config *config = data;
    apr_uri_t uri;

    /* RFC 8414, 2 */
    if (!is_ascii(text) || apr_uri_parse(cmd->temp_pool, text, &uri) != APR_SUCCESS || uri.scheme == NULL ||
        (strcasecmp(uri.scheme, "https") != 0 && strcasecmp(uri.scheme, "http") != 0) || uri.hostname == NULL ||
        *uri.hostname == '\0' || uri.user != NULL || uri.query != NULL || uri.fragment != NULL) {
        return apr_psprintf(cmd->pool, "%s wants issuers' URLs such as https://id.example.com, not \"%s\"",
                            cmd->cmd->name, text);
    }
    if (config->authorization_servers == NULL) {
        config->authorization_servers = apr_array_make(cmd->pool, 2, sizeof(const char *));
    }
    APR_ARRAY_PUSH(config->authorization_servers, const char *) = text;
    return NULL;
}

static const char *set_discovery(cmd_parms *cmd, void *data, int on)
{
    (void)cmd;
    ((dir_config *)data)->discovery = on;
    return NULL;
}

static const char *add_compatibility(cmd_parms *cmd, void *data, const char *text)
{
    dir_config *config = data;
    int dialects = config->compatibility != UNSET ? config->compatibility : 0;

    if (strcmp(text, "8") == 0) {
        dialects |= MERCURE_DIALECT_8;
    } else if (strcasecmp(text, "targets") == 0) {
        dialects |= MERCURE_DIALECT_TARGETS;
    } else if (strcasecmp(text, "Off") != 0) {
        return apr_psprintf(cmd->pool, "MercureCompatibility wants Off, 8, targets, or both of these, not \"%s\"",
                            text);
    } else if (dialects != 0) {
        return "MercureCompatibility: Off does not go with 8 or targets";
    } else {
        config->compatibility_off = 1;
    }
    if (config->compatibility_off && dialects != 0) {
        return "MercureCompatibility: Off does not go with 8 or targets";
    }
    config->compatibility = dialects;
    note_tenant(cmd, config);
    return NULL;
}

static const char *set_cookie_name(cmd_parms *cmd, void *data, const char *name)
{
    const char *at;

    for (at = name; *at != '\0'; at++) {
        if (!apr_isalnum(*at) && strchr("!#$%&'*+-.^_`|~", *at) == NULL) {
            return apr_psprintf(cmd->pool, "%s wants a cookie's name (RFC 6265), not \"%s\"", cmd->cmd->name, name);
        }
    }
    ((dir_config *)data)->cookie_name = name;
    note_tenant(cmd, data);
    return NULL;
}

static const char *set_limit(cmd_parms *cmd, dir_config *config, apr_int64_t *field, apr_int64_t number)
{
    *field = number;
    config->limits_are_tenants = config->limits_are_tenants || in_htaccess(cmd);
    return NULL;
}

#define BODY_MOST (32 << 20) /* what brokerd takes in one message, with room for the encoding */

static const char *set_max_body(cmd_parms *cmd, void *data, const char *text)
{
    apr_int64_t size;
    const char *wrong = parse_size(cmd, text, &size);

    if (wrong == NULL && (size < 1 || size > BODY_MOST)) {
        return "MercureMaxBody wants a size from 1 to 32M";
    }
    return wrong != NULL ? wrong : set_limit(cmd, data, &((dir_config *)data)->max_body, size);
}

/* MercureMaxSubscribers, MercureMaxSubscribersPerClient, MercureMaxBlocking: `info` is the field's offset. */
static const char *set_max_count(cmd_parms *cmd, void *data, const char *text)
{
    apr_int64_t number;
    const char *wrong = parse_number(cmd, text, 0, 1000000000, &number);

    if (wrong != NULL) {
        return wrong;
    }
    return set_limit(cmd, data, (apr_int64_t *)((char *)data + (size_t)cmd->info), number);
}

static const char *parse_age(cmd_parms *cmd, const char *text, uint64_t *seconds)
{
    char *end;
    apr_int64_t number = apr_strtoi64(text, &end, 10), unit;

    switch (*end) {
    case '\0':
    case 's':
        unit = 1;
        break;
    case 'm':
        unit = 60;
        break;
    case 'h':
        unit = 3600;
        break;
    case 'd':
        unit = 86400;
        break;
    default:
        unit = 0;
        break;
    }
    if (end == text || number < 0 || unit == 0 || (*end != '\0' && end[1] != '\0') || number > 36500 * 86400LL / unit) {
        return apr_psprintf(cmd->pool, "MercureHistory age= wants a duration such as 90s, 30m, 12h or 7d, not \"%s\"",
                            text);
    }
    *seconds = (uint64_t)(number * unit);
    return NULL;
}

static const char *set_history(cmd_parms *cmd, void *data, const char *text)
{
    dir_config *config = data;
    const char *wrong = NULL;
    apr_int64_t number = 0;

    if (!config->has_retention) {
        config->has_retention = 1;
        config->retention_is_tenants = in_htaccess(cmd);
        memset(&config->retention, 0, sizeof(config->retention));
    }
    if (strncmp(text, "events=", 7) == 0) {
        wrong = parse_number(cmd, text + 7, 0, APR_INT64_MAX, &number);
        config->retention.events = (uint64_t)number;
    } else if (strncmp(text, "age=", 4) == 0) {
        wrong = parse_age(cmd, text + 4, &config->retention.seconds);
    } else if (strncmp(text, "bytes=", 6) == 0) {
        wrong = parse_size(cmd, text + 6, &number);
        config->retention.bytes = (uint64_t)number;
    } else {
        wrong = apr_psprintf(
            cmd->pool, "MercureHistory wants events=N, age=DURATION or bytes=SIZE (0: no bound), not \"%s\"", text);
    }
    return wrong;
}

/* --- setters: servers --- */

static const char *set_path(cmd_parms *cmd, void *data, const char *path)
{
    size_t len = strlen(path);
    const char *at;

    (void)data;
    for (at = path; *at != '\0'; at++) {
        if (!apr_isalnum(*at) && strchr("/.-_~", *at) == NULL) {
            return "MercurePath wants letters, digits, and / . - _ ~ only";
        }
    }
    if (path[0] != '/' || len < 2 || path[len - 1] == '/' || strstr(path, "//") != NULL ||
        strstr(path, "/.") == path + len - 2 || strstr(path, "/./") != NULL || strstr(path, "/../") != NULL ||
        (len > 2 && strcmp(path + len - 3, "/..") == 0)) {
        return "MercurePath wants an absolute path such as /.well-known/mercure, without a slash at its end";
    }
    config_of_server(cmd->server)->path = path;
    return NULL;
}

static const char *set_resource_identifier(cmd_parms *cmd, void *data, const char *identifier)
{
    (void)data;
    if (strstr(identifier, "://") == NULL) {
        return "MercureResourceIdentifier wants a URL such as https://example.com/.well-known/mercure";
    }
    config_of_server(cmd->server)->resource_identifier = identifier;
    return NULL;
}

static const char *add_public_url(cmd_parms *cmd, void *data, const char *text)
{
    (void)data;
    return add_origin(cmd, &config_of_server(cmd->server)->public_urls, text);
}

/* MercureHeartbeat, MercureMaxLifetime, MercureDispatchTimeout: `info` is the field's offset. */
static const char *set_seconds(cmd_parms *cmd, void *data, const char *text)
{
    apr_int64_t number;
    const char *wrong = parse_number(cmd, text, 0, 10 * 365 * 86400, &number);

    (void)data;
    if (wrong == NULL) {
        *(int *)((char *)config_of_server(cmd->server) + (size_t)cmd->info) = (int)number;
    }
    return wrong;
}

static const char *set_max_pending(cmd_parms *cmd, void *data, const char *text)
{
    apr_int64_t size;
    const char *wrong = parse_size(cmd, text, &size);

    (void)data;
    if (wrong == NULL && size < 4096) {
        return "MercureMaxPending wants at least 4096 bytes";
    }
    if (wrong == NULL) {
        config_of_server(cmd->server)->max_pending = size;
    }
    return wrong;
}

/* The address of a Unix socket has 108 bytes. */
static const char *check_socket_dir(cmd_parms *cmd, const char *path)
{
    if (path == NULL || strlen(path) > 90) {
        return apr_psprintf(cmd->pool, "%s: the path of brokerd's sockets, %s, may have 90 characters at most",
                            cmd->cmd->name, path != NULL ? path : "?");
    }
    return NULL;
}

static const char *set_broker(cmd_parms *cmd, void *data, const char *text)
{
    const char *wrong = ap_check_cmd_context(cmd, GLOBAL_ONLY);

    (void)data;
    if (wrong != NULL) {
        return wrong;
    }
    if (strcasecmp(text, "spawn") == 0) {
        config_of_server(cmd->server)->broker_dir = NULL;
        return NULL;
    }
    if (strncmp(text, "ipc:", 4) != 0 || text[4] == '\0') {
        return "MercureBroker wants spawn, or ipc:DIRECTORY with the --socket-dir of a brokerd of your own";
    }
    config_of_server(cmd->server)->broker_dir = ap_server_root_relative(cmd->pool, text + 4);
    return check_socket_dir(cmd, config_of_server(cmd->server)->broker_dir);
}

static const char *set_broker_program(cmd_parms *cmd, void *data, const char *path)
{
    const char *wrong = ap_check_cmd_context(cmd, GLOBAL_ONLY);

    (void)data;
    if (wrong == NULL && access(ap_server_root_relative(cmd->temp_pool, path), X_OK) != 0) {
        return apr_psprintf(cmd->pool, "MercureBrokerProgram: %s is not a program", path);
    }
    config_of_server(cmd->server)->broker_program = path;
    return wrong;
}

static const char *set_state_dir(cmd_parms *cmd, void *data, const char *path)
{
    const char *wrong = ap_check_cmd_context(cmd, GLOBAL_ONLY);

    (void)data;
    config_of_server(cmd->server)->state_dir = path;
    return wrong != NULL ? wrong : check_socket_dir(cmd, config_socket_dir(cmd->temp_pool, cmd->server));
}

static const char *set_http2(cmd_parms *cmd, void *data, int on)
{
    (void)data;
    config_of_server(cmd->server)->http2 = on;
    config_of_server(cmd->server)->http2_is_here = on;
    return NULL;
}

static const char *set_http2_threads(cmd_parms *cmd, void *data, const char *text)
{
    apr_int64_t number;
    const char *wrong = parse_number(cmd, text, 1, 1024, &number);

    (void)data;
    if (wrong != NULL) {
        return wrong;
    }
    config_of_server(cmd->server)->http2_threads = (int)number;
    return ap_check_cmd_context(cmd, GLOBAL_ONLY);
}

static const char *set_durability(cmd_parms *cmd, void *data, const char *text)
{
    (void)data;
    if (strcasecmp(text, "fsync") != 0 && strcasecmp(text, "async") != 0) {
        return "MercureDurability wants fsync or async";
    }
    config_of_server(cmd->server)->durable = strcasecmp(text, "fsync") == 0;
    return ap_check_cmd_context(cmd, GLOBAL_ONLY);
}

static const char *set_key_set_ca(cmd_parms *cmd, void *data, const char *path)
{
    const char *wrong = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    const char *full = ap_server_root_relative(cmd->pool, path);
    FILE *file = full != NULL && wrong == NULL ? fopen(full, "r") : NULL;
    X509 *certificate = file != NULL ? PEM_read_X509(file, NULL, NULL, NULL) : NULL;

    (void)data;
    if (file != NULL) {
        fclose(file);
    }
    ERR_clear_error();
    if (wrong == NULL && certificate == NULL) {
        return apr_psprintf(cmd->pool, "MercureKeySetCA wants a file of certificates (PEM): there are none in %s",
                            path);
    }
    X509_free(certificate);
    config_of_server(cmd->server)->key_set_ca = full;
    return wrong;
}

static const char *set_key_sets_private(cmd_parms *cmd, void *data, int on)
{
    (void)data;
    config_of_server(cmd->server)->key_sets_private = on;
    return ap_check_cmd_context(cmd, GLOBAL_ONLY);
}

#define DIR_FIELD(field)    (void *)APR_OFFSETOF(dir_config, field)
#define SERVER_FIELD(field) (void *)APR_OFFSETOF(server_config, field)
#define IN_DIR              (RSRC_CONF | OR_AUTHCFG)

const command_rec config_commands[] = {
    AP_INIT_FLAG("MercureHub", set_enabled, NULL, IN_DIR, "On: serve a Mercure hub here"),
    AP_INIT_TAKE1("MercureHubName", set_hub_name, NULL, IN_DIR, "the tenant's name; the ServerName by default"),
    AP_INIT_TAKE_ARGV("MercureIssuer", set_issuer, NULL, IN_DIR,
                      "ISSUER ROLE ALGORITHMS KEY: whose tokens are accepted"),
    AP_INIT_FLAG("MercureAnonymous", set_anonymous, NULL, IN_DIR, "On: subscribers need no token for public updates"),
    AP_INIT_ITERATE("MercurePublishOrigins", add_publish_origin, NULL, IN_DIR,
                    "origins whose pages may publish with the cookie"),
    AP_INIT_ITERATE("MercureCORSOrigins", add_cors_origin, NULL, IN_DIR,
                    "origins whose pages may talk to the hub, with cookies; *: any, without"),
    AP_INIT_ITERATE("MercureAuthorizationServer", add_authorization_server, NULL, IN_DIR,
                    "issuers that the hub's metadata names to clients"),
    AP_INIT_FLAG("MercureDiscovery", set_discovery, NULL, IN_DIR, "On: responses say where the hub is"),
    AP_INIT_ITERATE("MercureCompatibility", add_compatibility, NULL, IN_DIR,
                    "Off, or the older dialects that are accepted too: 8, targets"),
    AP_INIT_TAKE1("MercureCookieName", set_cookie_name, NULL, IN_DIR, "the cookie that carries a token"),
    AP_INIT_TAKE1("MercureMaxBody", set_max_body, NULL, IN_DIR, "largest publication, in bytes"),
    AP_INIT_TAKE1("MercureMaxSubscribers", set_max_count, DIR_FIELD(max_subscribers), IN_DIR,
                  "most streams of this hub; 0: no limit"),
    AP_INIT_TAKE1("MercureMaxSubscribersPerClient", set_max_count, DIR_FIELD(max_per_client), IN_DIR,
                  "most streams of one client address or token; 0: no limit"),
    AP_INIT_TAKE1("MercureMaxBlocking", set_max_count, DIR_FIELD(max_blocking), IN_DIR,
                  "most streams that each hold a worker"),
    AP_INIT_ITERATE("MercureHistory", set_history, NULL, IN_DIR, "events=N age=DURATION bytes=SIZE: what is kept"),
    AP_INIT_TAKE1("MercurePath", set_path, NULL, RSRC_CONF, "the hub's path"),
    AP_INIT_TAKE1("MercureResourceIdentifier", set_resource_identifier, NULL, RSRC_CONF,
                  "what a token's aud must hold"),
    AP_INIT_ITERATE("MercurePublicURLs", add_public_url, NULL, RSRC_CONF, "the origins the hub answers on"),
    AP_INIT_TAKE1("MercureHeartbeat", set_seconds, SERVER_FIELD(heartbeat), RSRC_CONF, "seconds; 0: off"),
    AP_INIT_TAKE1("MercureMaxLifetime", set_seconds, SERVER_FIELD(max_lifetime), RSRC_CONF, "seconds; 0: off"),
    AP_INIT_TAKE1("MercureDispatchTimeout", set_seconds, SERVER_FIELD(dispatch_timeout), RSRC_CONF, "seconds; 0: off"),
    AP_INIT_TAKE1("MercureMaxPending", set_max_pending, NULL, RSRC_CONF, "bytes that may wait for one subscriber"),
    AP_INIT_FLAG("MercureHTTP2", set_http2, NULL, RSRC_CONF,
                 "On: HTTP/2 of mod_mercure's own, whose streams hold no threads"),
    AP_INIT_TAKE1("MercureHTTP2Threads", set_http2_threads, NULL, RSRC_CONF,
                  "how many requests over HTTP/2 a child runs at once"),
    AP_INIT_TAKE1("MercureBroker", set_broker, NULL, RSRC_CONF, "spawn, or ipc:DIRECTORY"),
    AP_INIT_TAKE1("MercureBrokerProgram", set_broker_program, NULL, RSRC_CONF, "the path of brokerd"),
    AP_INIT_TAKE1("MercureStateDir", set_state_dir, NULL, RSRC_CONF, "where the history is kept"),
    AP_INIT_TAKE1("MercureDurability", set_durability, NULL, RSRC_CONF, "fsync or async"),
    AP_INIT_TAKE1("MercureKeySetCA", set_key_set_ca, NULL, RSRC_CONF,
                  "a file of further certificates that key sets' servers may have"),
    AP_INIT_FLAG("MercureKeySetPrivate", set_key_sets_private, NULL, RSRC_CONF,
                 "On: key sets may be at private and loopback addresses"),
    {NULL},
};
