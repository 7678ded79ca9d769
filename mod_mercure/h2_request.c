/* h2_request.c - one request of HTTP/2, from its head to its line in the access log.
 *
 * In the order in which ap_read_request() and ap_process_request() do it for HTTP/1.1. What httpd's modules expect of a
 * stream of HTTP/2 is what mod_http2 gave them: a secondary conn_rec with a master, a socket that is never used, and no
 * place in the scoreboard.
 *
 * What surprised us: the event MPM's hooks write into their own record of the connection. It makes one for a secondary
 * connection in its pre_connection hook, if c->cs is NULL, and copies from the master's, so that must exist; it is
 * zeroes here. mod_logio crashes on a connection for which pre_connection did not run. With c->keepalives above 0
 * mod_proxy_http closes the connection instead of answering 502.
 */
#include "h2_request_internal.h"

#include <ap_mpm.h>
#include <apr_portable.h>
#include <apr_strings.h>
#include <http_config.h>
#include <http_connection.h>
#include <http_core.h>
#include <http_log.h>
#include <http_main.h>
#include <http_protocol.h>
#include <http_request.h>
#include <http_vhost.h>
#include <stdatomic.h>

#include "config.h"

APLOG_USE_MODULE(mercure);

#define MPM_RECORD 1024 /* bytes; event's has some 300 */

static struct {
    apr_socket_t *socket; /* of all secondary connections; never used */
    apr_abortfunc_t out_of_memory;
    module *mpm;
    int is_threaded;
    atomic_bool told_why; /* that other paths than the hub's are not served */
} shared;

/* --- the connection --- */

static void set_mpm_record(conn_rec *c)
{
    if (shared.mpm != NULL) {
        ap_set_module_config(c->conn_config, shared.mpm, apr_pcalloc(c->pool, MPM_RECORD));
    }
}

/* A pool with an allocator of its own, since the thread that destroys its parent's may be another. */
static apr_pool_t *create_pool(void)
{
    apr_allocator_t *allocator;
    apr_pool_t *pool;

    if (apr_allocator_create(&allocator) != APR_SUCCESS) {
        return NULL;
    }
    if (apr_pool_create_unmanaged_ex(&pool, shared.out_of_memory, allocator) != APR_SUCCESS) {
        apr_allocator_destroy(allocator);
        return NULL;
    }
    apr_allocator_owner_set(allocator, pool);
    apr_pool_tag(pool, "mercure_h2_request");
    return pool;
}

/* False: a module does not want the connection, or mod_ssl cannot be shown it. */
static bool make_connections(h2_run *run, apr_pool_t *pool, unsigned long id, int stream_id)
{
    apr_bucket_alloc_t *alloc = apr_bucket_alloc_create(pool);
    apr_os_thread_t self = apr_os_thread_current();
    conn_rec *c;
    int rc;

    run->master = h2_client_connection(run->client, pool, alloc);
    run->master->id = (long)id;
    set_mpm_record(run->master);
    if (!h2_client_lend_tls(run->client, run->master)) {
        return false;
    }
    run->c = c = h2_client_connection(run->client, pool, alloc);
    c->master = run->master;
    c->id = (long)(id << 8) ^ stream_id; /* mod_unique_id tells requests of one moment apart by this */
    c->log_id = apr_psprintf(pool, "h2-%lu-%d", id, stream_id);
    apr_os_thread_put(&c->current_thread, &self, pool);
    ap_set_module_config(c->conn_config, &core_module, shared.socket);
    ap_set_module_config(c->conn_config, &mercure_module, run);
    set_mpm_record(c);
    rc = ap_run_pre_connection(c, shared.socket);
    if (rc != OK && rc != DONE) {
        return false;
    }
    h2_filters_add_network(run);
    return true;
}

/* --- the request --- */

static apr_status_t forget_request(void *data)
{
    h2_run *run = data;

    run->r = NULL;
    return APR_SUCCESS;
}

/* "-" for what a refused head does not have. */
static char *request_line(const request_rec *r, const h2_head *head)
{
    const char *method = h2_head_method(head), *path = h2_head_path(head);

    return apr_pstrcat(r->pool, *method != '\0' ? method : "-", " ", *path != '\0' ? path : "-", " HTTP/2.0", NULL);
}

static bool has_long_header(const request_rec *r)
{
    const apr_array_header_t *entries = apr_table_elts(r->headers_in);
    int i;

    for (i = 0; i < entries->nelts; i++) {
        if (strlen(APR_ARRAY_IDX(entries, i, apr_table_entry_t).val) > (size_t)r->server->limit_req_fieldsize) {
            return true;
        }
    }
    return false;
}

/* HTTP/2 needs no word for a body; handlers and proxies know it by these. A length, where there is one by now: CGI and
 * FastCGI programs read nothing without it.
 */
static void announce_body(h2_run *run, request_rec *r)
{
    ssize_t length = h2_exchange_body_length(run->x);

    if (length >= 0) {
        apr_table_setn(r->headers_in, "Content-Length", apr_psprintf(r->pool, "%" APR_SSIZE_T_FMT, length));
    } else {
        apr_table_setn(r->headers_in, "Transfer-Encoding", "chunked");
    }
}

/* Returns OK, or the status with which the request is refused. */
static int read_headers(h2_run *run, request_rec *r)
{
    const h2_head *head = h2_exchange_head(run->x);
    size_t i, count = h2_head_count(head), size = strlen(r->the_request) + strlen(h2_head_authority(head));
    const char *length;
    apr_off_t bytes;

    apr_table_set(r->headers_in, "Host", h2_head_authority(head));
    for (i = 0; i < count; i++) {
        h2_field field = h2_head_field(head, i);
        apr_table_add(r->headers_in, field.name, field.value);
        size += strlen(field.name) + strlen(field.value) + 4;
    }
    h2_filters_count_in(run, size);
    apr_table_compress(r->headers_in, APR_OVERLAP_TABLES_MERGE);
    if (has_long_header(r)) {
        apr_table_setn(r->notes, "error-notes", "Size of a request header field exceeds server limit.");
        return HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE;
    }
    length = apr_table_get(r->headers_in, "Content-Length");
    if (length != NULL && !ap_parse_strict_length(&bytes, length)) {
        return HTTP_BAD_REQUEST;
    }
    if (length == NULL && h2_exchange_has_body(run->x)) {
        announce_body(run, r);
    }
    return OK;
}

/* Find the virtual host. The connection was made to one, whose certificate and settings it has; others are for other
 * connections. A name that no virtual host has is, as ever, the default one's.
 */
static int choose_server(const h2_run *run, request_rec *r)
{
    bool good;

    r->server = h2_client_default_server(run->client);
    good = ap_check_request_header(r);
    r->per_dir_config = r->server->lookup_defaults;
    if (!good) {
        return r->status;
    }
    return r->server == h2_client_server(run->client) ? OK : HTTP_MISDIRECTED_REQUEST;
}

static int read_request(h2_run *run, request_rec *r)
{
    const h2_head *head = h2_exchange_head(run->x);
    int refused = h2_head_refused(head), status;
    bool parsed;

    r->the_request = request_line(r, head);
    r->request_time = apr_time_now();
    parsed = ap_parse_request_line(r);
    if (refused != 0 || !parsed) {
        return refused != 0 ? refused : r->status;
    }
    status = read_headers(run, r);
    if (status != OK) {
        return status;
    }
    h2_filters_add_body(r);
    return choose_server(run, r);
}

/* Log and destroy a request, which may be destroyed already. */
static void end_request(h2_run *run)
{
    apr_bucket_brigade *bb = apr_brigade_create(run->c->pool, run->c->bucket_alloc);

    if (run->r != NULL) {
        APR_BRIGADE_INSERT_TAIL(bb, ap_bucket_eor_create(run->c->bucket_alloc, run->r));
        ap_pass_brigade(run->c->output_filters, bb);
    }
    apr_brigade_destroy(bb);
}

static void run_request(h2_run *run)
{
    request_rec *r = ap_create_request(run->c);
    int status;

    run->r = r;
    apr_pool_cleanup_register(r->pool, run, forget_request, apr_pool_cleanup_null);
    h2_filters_add_answer(run, r);
    ap_run_pre_read_request(r, run->c);
    status = read_request(run, r);
    if (status != OK) {
        r->status = HTTP_OK; /* else ap_die() would take this for an error within an error */
    } else {
        status = ap_post_read_request(r);
    }
    if (status != OK) {
        ap_die(status, r);
        end_request(run);
        return;
    }
    ap_process_request(r);
    if (run->r != NULL) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                      "mercure: a handler put its request off, which is not possible over HTTP/2");
        h2_filters_fail(run, H2_INTERNAL_ERROR);
        end_request(run);
    }
}

void h2_request_run(h2_client *client, h2_exchange *x, unsigned long id, int stream_id)
{
    apr_pool_t *pool = shared.socket != NULL && !h2_exchange_aborted(x) ? create_pool() : NULL;
    h2_run *run;

    if (pool == NULL) {
        h2_exchange_fail(x, H2_REFUSED_STREAM);
        h2_exchange_finish(x);
        return;
    }
    run = apr_pcalloc(pool, sizeof(*run));
    run->client = client;
    run->x = x;
    run->announced = -1;
    run->timeout_ms = (unsigned)apr_time_as_msec(h2_client_server(client)->timeout);
    if (make_connections(run, pool, id, stream_id)) {
        run_request(run);
        h2_filters_fail(run, H2_INTERNAL_ERROR); /* if there was no response, or no end of it */
    } else {
        ap_log_error(APLOG_MARK, APLOG_INFO, 0, h2_client_server(client),
                     "mercure: a module does not want a connection for a request of HTTP/2");
        h2_filters_fail(run, H2_REFUSED_STREAM);
    }
    h2_client_take_tls_back(run->master);
    apr_pool_destroy(pool);
    h2_exchange_finish(x);
}

h2_exchange *h2_request_exchange_of(const conn_rec *c)
{
    const h2_run *run = c->master != NULL ? ap_get_module_config(c->conn_config, &mercure_module) : NULL;

    return run != NULL ? run->x : NULL;
}

h2_exchange *h2_request_exchange(const request_rec *r)
{
    return h2_request_exchange_of(r->connection);
}

/* --- prefork, where other modules need not be safe in threads --- */

static bool may_be_served(const request_rec *r)
{
    return shared.is_threaded || h2_request_exchange(r) == NULL;
}

static bool is_hub_path(const server_rec *s, const char *path)
{
    size_t prefix = strncmp(path, METADATA_PATH, sizeof(METADATA_PATH) - 1) == 0 ? sizeof(METADATA_PATH) - 1 : 0;

    return strcmp(path + prefix, config_path(s)) == 0;
}

static int refuse_path(request_rec *r)
{
    if (!atomic_exchange(&shared.told_why, true)) {
        ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r,
                      "mercure: under this MPM, %s, only the hub is served over MercureHTTP2: everything else, as the "
                      "path of this request, is 404 there",
                      ap_show_mpm());
    }
    return HTTP_NOT_FOUND;
}

/* Before anybody acts on the request. Its path is as the client spelt it yet. */
static int refuse_other_paths(request_rec *r)
{
    char *path;

    if (may_be_served(r)) {
        return DECLINED;
    }
    path = apr_pstrdup(r->pool, r->uri);
    if (!ap_normalize_path(path, AP_NORMALIZE_NOT_ABOVE_ROOT | AP_NORMALIZE_MERGE_SLASHES) ||
        ap_unescape_url(path) != OK || !is_hub_path(r->server, path)) {
        return refuse_path(r);
    }
    return DECLINED;
}

/* After the hub's own handler: nobody else's may run. */
static int refuse_other_handlers(request_rec *r)
{
    return may_be_served(r) ? DECLINED : refuse_path(r);
}

/* --- the module's life --- */

void h2_request_register_hooks(void)
{
    h2_filters_register();
    ap_hook_post_read_request(refuse_other_paths, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_handler(refuse_other_handlers, NULL, NULL, APR_HOOK_REALLY_FIRST + 1);
}

void h2_request_child_init(apr_pool_t *pool)
{
    apr_status_t rv;

    shared.out_of_memory = apr_pool_abort_get(pool);
    shared.mpm = ap_find_linked_module(apr_pstrcat(pool, ap_show_mpm(), ".c", NULL));
    ap_mpm_query(AP_MPMQ_IS_THREADED, &shared.is_threaded);
    h2_filters_child_init();
    rv = apr_socket_create(&shared.socket, APR_INET, SOCK_STREAM, APR_PROTO_TCP, pool);
    if (rv != APR_SUCCESS) {
        shared.socket = NULL;
        ap_log_error(APLOG_MARK, APLOG_ERR, rv, ap_server_conf,
                     "mercure: no socket to show to modules: this child refuses every request of HTTP/2");
    }
}
