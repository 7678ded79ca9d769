/* config_issuer.c - MercureIssuer: whose tokens are accepted, and with which key.
 *
 * What stands in an .htaccess file is a tenant's, and hostile input: the files that it names must be the tenant's own,
 * httpd's environment is not its business, and it does not make brokerd fetch anything.
 */
#include "config.h"

#include <apr_strings.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mercure/jwks.h"
#include "mercure/key_url.h"

#define KEY_FILE_MAX 65536

static int in_htaccess(cmd_parms *cmd)
{
    return ap_check_cmd_context(cmd, NOT_IN_HTACCESS) != NULL;
}

/* Read a key file. From an .htaccess file only a regular file of the same owner is taken: httpd's children read as one
 * user for all tenants, and a tenant must not make them read another's.
 */
static const char *read_key_file(cmd_parms *cmd, const char *path, int most, mercure_str *bytes)
{
    const char *full = ap_server_root_relative(cmd->pool, path);
    struct stat file, owner;
    char *buffer;
    ssize_t len;
    int fd = full != NULL ? open(full, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY) : -1;

    if (fd < 0) {
        return apr_psprintf(cmd->pool, "cannot open the key file %s: %s", path, strerror(errno));
    }
    if (fstat(fd, &file) != 0 || !S_ISREG(file.st_mode) || file.st_size > most || file.st_size == 0) {
        close(fd);
        return apr_psprintf(cmd->pool, "the key file %s must be a regular file of 1 to %d bytes", path, most);
    }
    if (in_htaccess(cmd) && (stat(cmd->directive->filename, &owner) != 0 || owner.st_uid != file.st_uid)) {
        close(fd);
        return apr_psprintf(cmd->pool, "the key file %s must belong to the owner of the .htaccess file", path);
    }
    buffer = apr_palloc(cmd->pool, (apr_size_t)file.st_size);
    len = read(fd, buffer, (size_t)file.st_size);
    close(fd);
    if (len != file.st_size) {
        return apr_psprintf(cmd->pool, "cannot read the key file %s", path);
    }
    *bytes = (mercure_str){buffer, (size_t)len};
    return NULL;
}

/* A raw secret made with `openssl rand -hex 32 > file` ends with a newline that nobody means. */
static void drop_final_newline(mercure_str *bytes)
{
    if (bytes->len > 0 && bytes->data[bytes->len - 1] == '\n') {
        bytes->len--;
    }
    if (bytes->len > 0 && bytes->data[bytes->len - 1] == '\r') {
        bytes->len--;
    }
}

static const char *find_key(cmd_parms *cmd, const char *text, mercure_str *bytes)
{
    if (strncmp(text, "file:", 5) == 0) {
        const char *wrong = read_key_file(cmd, text + 5, KEY_FILE_MAX, bytes);
        if (wrong == NULL) {
            drop_final_newline(bytes);
        }
        return wrong;
    }
    if (strncmp(text, "env:", 4) == 0) {
        const char *value = getenv(text + 4);
        if (in_htaccess(cmd)) {
            return "MercureIssuer: env: is not allowed in .htaccess files, use file: or the key itself";
        }
        if (value == NULL || *value == '\0') {
            return apr_psprintf(cmd->pool, "MercureIssuer: the environment variable %s is not set", text + 4);
        }
        *bytes = mercure_str_of(value);
        return NULL;
    }
    *bytes = mercure_str_of(text);
    return NULL;
}

static apr_status_t free_key(void *key)
{
    mercure_key_free(key);
    return APR_SUCCESS;
}

static const char *parse_roles(const char *text, unsigned *roles)
{
    if (strcasecmp(text, "publisher") == 0) {
        *roles = MERCURE_ROLE_PUBLISHER;
    } else if (strcasecmp(text, "subscriber") == 0) {
        *roles = MERCURE_ROLE_SUBSCRIBER;
    } else if (strcasecmp(text, "both") == 0) {
        *roles = MERCURE_ROLE_PUBLISHER | MERCURE_ROLE_SUBSCRIBER;
    } else {
        return "MercureIssuer wants publisher, subscriber or both as its second word";
    }
    return NULL;
}

static const char *issuer_error(cmd_parms *cmd, const char *iss, const mercure_error *err)
{
    return apr_psprintf(cmd->pool, "MercureIssuer %s: %s", iss, err->reason);
}

static const char *use_key(cmd_parms *cmd, const char *text, config_issuer *issuer)
{
    const char *wrong;
    mercure_str bytes;
    mercure_error err;
    mercure_key *key;

    if ((wrong = find_key(cmd, text, &bytes)) != NULL) {
        return wrong;
    }
    if (mercure_key_make(bytes, issuer->trusted.algorithms, &key, &err) != MERCURE_OK) {
        return issuer_error(cmd, issuer->trusted.iss, &err);
    }
    apr_pool_cleanup_register(cmd->pool, key, free_key, apr_pool_cleanup_null);
    issuer->trusted.key = key;
    return NULL;
}

static const char *use_key_set_url(cmd_parms *cmd, const char *url, config_issuer *issuer)
{
    key_set_source *source;
    mercure_error err;
    unsigned reach;

    if (in_htaccess(cmd)) {
        return "MercureIssuer: jwks: with a URL is not allowed in .htaccess files, use jwks: with a file of your own, "
               "or "
               "ask the administrator";
    }
    if (mercure_key_url_check(mercure_str_of(url), false, &reach, &err) != MERCURE_OK) {
        return issuer_error(cmd, issuer->trusted.iss, &err);
    }
    source = apr_pcalloc(cmd->pool, sizeof(*source));
    source->url = apr_pstrdup(cmd->pool, url);
    issuer->source = source;
    return NULL;
}

/* A file is read and checked now. The administrator's is looked at again while httpd runs; a tenant's is read with the
 * .htaccess file anyway.
 */
static const char *use_key_set_file(cmd_parms *cmd, const char *path, config_issuer *issuer)
{
    key_set_source *source;
    const char *wrong;
    mercure_str bytes;
    mercure_error err;
    mercure_key *set;

    if ((wrong = read_key_file(cmd, path, MERCURE_JWKS_MAX_BYTES, &bytes)) != NULL) {
        return wrong;
    }
    if (mercure_jwks_parse(bytes, &set, &err) != MERCURE_OK) {
        return apr_psprintf(cmd->pool, "MercureIssuer %s: %s: %s", issuer->trusted.iss, path, err.reason);
    }
    apr_pool_cleanup_register(cmd->pool, set, free_key, apr_pool_cleanup_null);
    issuer->trusted.key = set;
    if (in_htaccess(cmd)) {
        return NULL;
    }
    source = apr_pcalloc(cmd->pool, sizeof(*source));
    source->path = ap_server_root_relative(cmd->pool, path);
    source->at_start = set;
    issuer->source = source;
    return NULL;
}

static const char *use_key_set(cmd_parms *cmd, const char *text, config_issuer *issuer)
{
    mercure_error err;

    if (mercure_jwks_check_algorithms(issuer->trusted.algorithms, &err) != MERCURE_OK) {
        return issuer_error(cmd, issuer->trusted.iss, &err);
    }
    return strstr(text, "://") != NULL ? use_key_set_url(cmd, text, issuer) : use_key_set_file(cmd, text, issuer);
}

const char *config_add_issuer(cmd_parms *cmd, apr_array_header_t **issuers, int argc, char *const argv[])
{
    config_issuer issuer = {{NULL, 0, 0, NULL}, NULL};
    mercure_error err;
    const char *wrong;

    if (argc != 4) {
        return "MercureIssuer wants four words: ISSUER publisher|subscriber|both ALGORITHM[,ALGORITHM] KEY, where KEY "
               "is a secret, file:PATH, env:NAME, or jwks: with the URL or the file of a key set";
    }
    issuer.trusted.iss = apr_pstrdup(cmd->pool, argv[0]);
    if ((wrong = parse_roles(argv[1], &issuer.trusted.roles)) != NULL) {
        return wrong;
    }
    if (mercure_algorithms_parse(mercure_str_of(argv[2]), &issuer.trusted.algorithms, &err) != MERCURE_OK) {
        return issuer_error(cmd, argv[0], &err);
    }
    wrong = strncmp(argv[3], "jwks:", 5) == 0 ? use_key_set(cmd, argv[3] + 5, &issuer) : use_key(cmd, argv[3], &issuer);
    if (wrong != NULL) {
        return wrong;
    }
    if (*issuers == NULL) {
        *issuers = apr_array_make(cmd->pool, 2, sizeof(config_issuer));
    }
    APR_ARRAY_PUSH(*issuers, config_issuer) = issuer;
    return NULL;
}
