/* mod_mercure.c - the module: its hooks, and which requests are for a hub.
 *
 * A hub is found by the request's path. Sites have rules that send whatever is no file to a front controller or a
 * proxy; they do not take the hub away, since the handler comes first and looks at the path. What httpd knows of access
 * control (Require, .htaccess, redirects, mod_remoteip, mod_headers) applies as ever.
 */
#include <ap_mpm.h>
#include <apr_strings.h>
#include <http_config.h>
#include <http_core.h>
#include <http_log.h>
#include <http_protocol.h>
#include <http_request.h>
#include <mpm_common.h>

#include "child.h"
#include "conceal.h"
#include "h2_negotiation.h"
#include "h2_request.h"
#include "hold.h"
#include "hub_request.h"
#include "request_state.h"
#include "supervise.h"

#include "mercure/version.h"

#define COUNTERS_RETAINED "mod_mercure_counters"

/* --- requests --- */

static apr_status_t release_base(void *base)
{
    mercure_base_release(base);
    return APR_SUCCESS;
}

static void describe(hub_request *q, request_rec *r, const dir_config *dir)
{
    const server_config *server = config_of_server(r->server);

    q->r = r;
    q->dir = dir;
    q->hub = config_hub_name(r->pool, r->server, dir);
    q->path = config_path(r->server);
    q->origin = discovery_origin(r);
    q->url = apr_pstrcat(r->pool, q->origin, q->path, NULL);
    q->identifier = server->resource_identifier != NULL ? server->resource_identifier : q->url;
}

/* What is relative to the hub's URL needs it parsed. */
static int parse_url(hub_request *q, bool *answered)
{
    mercure_error err;

    *answered = mercure_base_make(q->r->pool, mercure_str_of(q->url), &q->base, &err) != MERCURE_OK;
    if (*answered) {
        return answer_refuse(q, HTTP_BAD_REQUEST, "the request's Host makes no URL");
    }
    apr_pool_cleanup_register(q->r->pool, q->base, release_base, apr_pool_cleanup_null);
    return OK;
}

static bool is_public(const hub_request *q)
{
    const apr_array_header_t *urls = config_of_server(q->r->server)->public_urls;

    return urls == NULL || ap_array_str_contains(urls, q->origin);
}

#define HUB_METHODS      "GET, HEAD, POST, QUERY"
#define METADATA_METHODS "GET, HEAD"

static int serve_hub(hub_request *q)
{
    bool answered;
    int status;

    if (q->r->method_number == M_OPTIONS) {
        return cors_answer_options(q, HUB_METHODS);
    }
    status = parse_url(q, &answered);
    if (answered) {
        return status;
    }
    if (q->r->method_number == M_GET || strcmp(q->r->method, "QUERY") == 0) { /* GET is HEAD too */
        return hub_subscribe(q);
    }
    if (q->r->method_number == M_POST) {
        return hub_publish(q);
    }
    apr_table_setn(q->r->err_headers_out, "Allow", HUB_METHODS);
    return answer_refuse(q, HTTP_METHOD_NOT_ALLOWED, "a method that the hub does not have");
}

static int serve_metadata(const hub_request *q)
{
    if (q->r->method_number == M_OPTIONS) {
        return cors_answer_options(q, METADATA_METHODS);
    }
    if (q->r->method_number != M_GET) {
        apr_table_setn(q->r->err_headers_out, "Allow", METADATA_METHODS);
        return answer_refuse(q, HTTP_METHOD_NOT_ALLOWED, "a method that the hub's metadata does not have");
    }
    return discovery_answer_metadata(q);
}

typedef enum { NOT_OURS, THE_HUB, ITS_METADATA } target;

/* What is this request for, as far as its path and the settings known by now say? */
static target target_of(const request_rec *r)
{
    const dir_config *dir = ap_get_module_config(r->per_dir_config, &mercure_module);
    const char *path = config_path(r->server);

    if (dir->enabled != 1 || r->main != NULL || r->uri == NULL) {
        return NOT_OURS;
    }
    if (strcmp(r->uri, path) == 0) {
        return THE_HUB;
    }
    return strncmp(r->uri, METADATA_PATH, sizeof(METADATA_PATH) - 1) == 0 &&
                   strcmp(r->uri + sizeof(METADATA_PATH) - 1, path) == 0
               ? ITS_METADATA
               : NOT_OURS;
}

/* Rules for a front controller put the path into its query. The hub's query is what the client has sent. */
static void note_query(request_rec *r)
{
    request_state *state = request_state_of(r);

    if (!state->query_noted) {
        state->query_noted = true;
        state->query = r->args;
    }
}

static void put_query_back(request_rec *r)
{
    const request_state *state = ap_get_module_config(r->request_config, &mercure_module);

    if (state != NULL && state->query_noted) {
        r->args = state->query;
    }
}

/* A rule of the server's configuration may redirect or forbid a hub's path, but one that passes it on under another
 * name (RewriteRule with PT) does not take the hub away: the name is noted before mod_rewrite, and put back after it. A
 * hub that only an .htaccess file switches on is not known here yet.
 */
static int note_name(request_rec *r)
{
    if (target_of(r) != NOT_OURS) {
        request_state_of(r)->name = r->uri;
        note_query(r);
    }
    return DECLINED;
}

static int put_name_back(request_rec *r)
{
    const request_state *state = ap_get_module_config(r->request_config, &mercure_module);

    if (state != NULL && state->name != NULL) {
        r->uri = state->name;
    }
    return DECLINED;
}

static void set_cors_headers(request_rec *r)
{
    if (target_of(r) != NOT_OURS) {
        cors_set_headers(r, ap_get_module_config(r->per_dir_config, &mercure_module));
    }
}

/* Before anybody may refuse the request. */
static int header_parser(request_rec *r)
{
    set_cors_headers(r);
    if (target_of(r) != NOT_OURS) {
        note_query(r); /* of a hub that only an .htaccess file switches on */
    }
    return DECLINED;
}

/* What is below a hub's path is the hub's, too: nobody else needs the query, and its token. */
static bool is_below_hub(const request_rec *r)
{
    const dir_config *dir = ap_get_module_config(r->per_dir_config, &mercure_module);
    size_t len = strlen(config_path(r->server));

    return dir->enabled == 1 && r->uri != NULL && strncmp(r->uri, config_path(r->server), len) == 0 &&
           r->uri[len] == '/';
}

/* Before mod_dir's FallbackResource, which leaves alone what has a handler. */
static int fixups(request_rec *r)
{
    if (target_of(r) != NOT_OURS) {
        r->handler = "mercure-hub";
    } else if (!is_below_hub(r)) {
        conceal_give_back(r);
    }
    return DECLINED;
}

static int handler(request_rec *r)
{
    target wanted = target_of(r);
    hub_request q;

    if (wanted == NOT_OURS || r->proxyreq == PROXYREQ_PROXY) {
        return DECLINED;
    }
    put_query_back(r);
    describe(&q, r, ap_get_module_config(r->per_dir_config, &mercure_module));
    if (!is_public(&q)) {
        return answer_refuse(&q, HTTP_MISDIRECTED_REQUEST,
                             "a request for an origin that MercurePublicURLs does not list");
    }
    return wanted == THE_HUB ? serve_hub(&q) : serve_metadata(&q);
}

/* --- the server's life --- */

/* The table of counts lives as long as httpd: children of several generations share it. */
static counters *shared_counters(void)
{
    counters **kept = ap_retained_data_get(COUNTERS_RETAINED);
    int children = 0;

    if (kept == NULL) {
        kept = ap_retained_data_create(COUNTERS_RETAINED, sizeof(*kept));
        ap_mpm_query(AP_MPMQ_HARD_LIMIT_DAEMONS, &children);
        *kept = counters_create((unsigned)children + 64);
    }
    return *kept;
}

static int post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    counters *c;

    (void)plog;
    (void)ptemp;
    if (ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG ||
        ap_state_query(AP_SQ_RUN_MODE) != AP_SQ_RM_NORMAL) {
        return OK;
    }
    c = shared_counters();
    if (c == NULL) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, 0, s, "mercure: no shared memory for the counts of subscribers");
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    child_prepare(c);
    ap_add_version_component(pconf, "mod_mercure/" MERCURE_VERSION);
    return supervise_post_config(pconf, s);
}

static void init_child(apr_pool_t *pool, server_rec *s)
{
    supervise_child_init();
    child_init(pool, s);
}

static void stopping(apr_pool_t *pool, int graceful)
{
    (void)pool;
    child_stopping(graceful);
}

static void child_status(server_rec *s, pid_t pid, ap_generation_t generation, int slot, mpm_child_status status)
{
    (void)s;
    (void)generation;
    (void)slot;
    if (status != MPM_CHILD_STARTED && child_counters() != NULL) {
        counters_child_ended(child_counters(), pid);
    }
}

static void register_hooks(apr_pool_t *pool)
{
    (void)pool;
    ap_hook_check_config(config_check, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_post_config(post_config, NULL, NULL, APR_HOOK_LAST);
    ap_hook_child_init(init_child, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_child_stopping(stopping, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_child_status(child_status, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_monitor(supervise_monitor, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_translate_name(note_name, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_translate_name(put_name_back, NULL, NULL, APR_HOOK_MIDDLE - 1);
    ap_hook_header_parser(header_parser, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_insert_error_filter(set_cors_headers, NULL, NULL, APR_HOOK_FIRST);
    discovery_register_hooks();
    ap_hook_fixups(fixups, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_handler(handler, NULL, NULL, APR_HOOK_REALLY_FIRST);
    conceal_register_hooks();
    hold_register_hooks();
    h2_negotiation_register_hooks();
    h2_request_register_hooks();
}

AP_DECLARE_MODULE(mercure) = {
    STANDARD20_MODULE_STUFF, config_create_dir, config_merge_dir, config_create_server,
    config_merge_server,     config_commands,   register_hooks,   0,
};
