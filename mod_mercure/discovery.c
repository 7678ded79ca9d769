/* discovery.c - what a client is told of the hub before it talks to it: the Link header of a site's responses and the
 * metadata of RFC 9728 (PROTOCOL 8); and under which origin the client sees us, on which both rest.
 */
#include "hub_request.h"

#include <apr_strings.h>
#include <http_core.h>
#include <http_protocol.h>
#include <http_request.h>
#include <jansson.h>
#include <stdlib.h>
#include <util_filter.h>

#define FILTER "MERCURE_DISCOVERY"

/* --- the origin --- */

/* Does the request come through a proxy whose word on the client's address was taken? Then its word on scheme and host
 * is, too. mod_remoteip gives the request an address of its own only for a proxy that the administrator trusts. With
 * the PROXY protocol the address is the connection's: who speaks that hands on the headers as the client has sent them.
 */
static bool came_through_trusted_proxy(const request_rec *r)
{
    return r->useragent_addr != r->connection->client_addr && r->useragent_addr->pool == r->pool;
}

/* What the administrator's SetEnvIf or ServerName says, or the connection. */
static const char *scheme_of(request_rec *r)
{
    const char *https = apr_table_get(r->subprocess_env, "HTTPS");

    return https != NULL && strcasecmp(https, "on") == 0 ? "https" : ap_http_scheme(r);
}

/* Under another scheme than the connection's: the usual port is another one, too, so only the client can name one. */
static const char *origin_with_scheme(request_rec *r, const char *scheme)
{
    const char *host = apr_pstrcat(r->pool, scheme, "://", ap_get_server_name_for_url(r), NULL);
    bool by_client = r->hostname != NULL && strcmp(ap_get_server_name(r), r->hostname) == 0; /* UseCanonicalName Off */

    return by_client && r->parsed_uri.port_str != NULL ? apr_pstrcat(r->pool, host, ":", r->parsed_uri.port_str, NULL)
                                                       : host;
}

/* What is no scheme or no host, such as a list of two proxies' words, counts as not said. */
const char *discovery_origin(request_rec *r)
{
    const char *scheme = scheme_of(r), *host = NULL, *origin = NULL, *canonical;

    if (came_through_trusted_proxy(r)) {
        const char *given = apr_table_get(r->headers_in, "X-Forwarded-Proto");
        if (given != NULL && (strcasecmp(given, "http") == 0 || strcasecmp(given, "https") == 0)) {
            scheme = strcasecmp(given, "http") == 0 ? "http" : "https";
        }
        host = apr_table_get(r->headers_in, "X-Forwarded-Host");
    }
    if (host != NULL) {
        origin = config_canonical_origin(r->pool, apr_pstrcat(r->pool, scheme, "://", host, NULL));
    }
    if (origin != NULL) {
        return origin;
    }
    origin = strcmp(scheme, ap_http_scheme(r)) == 0 ? ap_construct_url(r->pool, "", r) : origin_with_scheme(r, scheme);
    canonical = config_canonical_origin(r->pool, origin);
    return canonical != NULL ? canonical : origin;
}

/* --- the Link header --- */

/* Is `mercure` one of these relations? */
static bool names_hub(const char *relations, size_t len)
{
    const char *at = relations, *end = relations + len;

    while (at < end) {
        const char *space = memchr(at, ' ', (size_t)(end - at));
        size_t word = (size_t)((space != NULL ? space : end) - at);
        if (word == 7 && strncasecmp(at, "mercure", 7) == 0) {
            return true;
        }
        at += word + 1;
    }
    return false;
}

/* Does one of these links lead to a hub? RFC 8288, 3: ...; rel=mercure or ...; rel="self mercure" */
static bool links_to_hub(const char *links)
{
    const char *at = links;

    while ((at = ap_strcasestr(at, "rel")) != NULL) {
        bool is_parameter = at > links && strchr("; \t", at[-1]) != NULL;
        at += 3;
        at += strspn(at, " \t");
        if (!is_parameter || *at != '=') {
            continue;
        }
        at++;
        at += strspn(at, " \t");
        if (*at == '"' ? names_hub(at + 1, strcspn(at + 1, "\"")) : names_hub(at, strcspn(at, ";, \t"))) {
            return true;
        }
    }
    return false;
}

static bool has_link(const apr_table_t *headers)
{
    const char *links = apr_table_getm(apr_table_elts(headers)->pool, headers, "Link");

    return links != NULL && links_to_hub(links);
}

/* Once, when the response's own headers are there. */
/* The origin to name: the one by which the client came, unless the administrator lists others. */
static const char *public_origin(request_rec *r)
{
    const apr_array_header_t *listed = config_of_server(r->server)->public_urls;
    const char *origin = discovery_origin(r);

    return listed == NULL || ap_array_str_contains(listed, origin) ? origin : APR_ARRAY_IDX(listed, 0, const char *);
}

static apr_status_t add_link(ap_filter_t *f, apr_bucket_brigade *brigade)
{
    request_rec *r = f->r;

    if (!has_link(r->headers_out) && !has_link(r->err_headers_out)) {
        apr_table_addn(r->headers_out, "Link",
                       apr_pstrcat(r->pool, "<", public_origin(r), config_path(r->server), ">; rel=\"mercure\"", NULL));
    }
    ap_remove_output_filter(f);
    return ap_pass_brigade(f->next, brigade);
}

static void insert_filter(request_rec *r)
{
    const dir_config *dir = ap_get_module_config(r->per_dir_config, &mercure_module);

    if (dir->discovery == 1 && r->main == NULL) {
        ap_add_output_filter(FILTER, NULL, r, r->connection);
    }
}

void discovery_register_hooks(void)
{
    /* Of mod_headers' kind and after it, so that what an administrator or a script has set is seen. */
    static const char *const before[] = {"mod_headers.c", NULL};

    ap_register_output_filter(FILTER, add_link, NULL, AP_FTYPE_CONTENT_SET);
    ap_hook_insert_filter(insert_filter, before, NULL, APR_HOOK_LAST);
    ap_hook_insert_error_filter(insert_filter, before, NULL, APR_HOOK_LAST); /* httpd's own redirects and errors */
}

/* --- RFC 9728 --- */

static json_t *strings_of(const apr_array_header_t *list)
{
    json_t *array = json_array();
    int i;

    for (i = 0; i < list->nelts; i++) {
        json_array_append_new(array, json_string(APR_ARRAY_IDX(list, i, const char *)));
    }
    return array;
}

int discovery_answer_metadata(const hub_request *q)
{
    json_t *document =
        json_pack("{s:s, s:[s], s:[s], s:s}", "resource", q->identifier, "bearer_methods_supported", "header",
                  "authorization_details_types_supported", "https://mercure.rocks/authorization-detail",
                  "mercure_cookie", config_cookie_name(q->dir));
    char *text;

    if (document != NULL && q->dir->authorization_servers != NULL) {
        json_object_set_new(document, "authorization_servers", strings_of(q->dir->authorization_servers));
    }
    text = document != NULL ? json_dumps(document, JSON_COMPACT) : NULL;
    json_decref(document);
    if (text == NULL) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    ap_set_content_type(q->r, "application/json");
    if (!q->r->header_only) {
        ap_rputs(text, q->r);
    }
    free(text);
    return OK;
}
