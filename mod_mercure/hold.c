/* hold.c - how a connection is taken over.
 *
 * Apache has no supported way to park a response that works on every MPM. So:
 *  1. pre_connection, before everyone else: each connection gets a small record, and a cleanup on its pool. Registered
 * this early it runs last, after mod_ssl's. mod_ssl's optional hook pre_handshake gives us the SSL.
 *  2. The handler sends the headers and the first comment, duplicates the socket's descriptor, takes a reference on the
 * SSL, and returns. httpd finishes the request as usual: log, cleanups, everything.
 *  3. pre_close_connection sets c->aborted, so that httpd closes its descriptor without shutdown(), and mod_ssl sends
 * no close_notify.
 *  4. The cleanup gives the descriptor and the SSL, cut loose from httpd's structures, to the streamer.
 *
 * Nothing here needs mod_ssl or mod_http2 to be loaded.
 */
#include "hold.h"

#include <apr_portable.h>
#include <apr_strings.h>
#include <fcntl.h>
#include <http_config.h>
#include <http_connection.h>
#include <http_core.h>
#include <http_protocol.h>
#include <mod_ssl_openssl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <util_filter.h>

#include "config.h"

#define READS_MOST 16 /* who sends more than 128 KiB behind a subscription will be disconnected by the streamer */

/* A connection's record. */
typedef struct {
    SSL *ssl; /* mod_ssl's, NULL: plain */
    server_rec *h2_server;
    /* once taken over: */
    hold_taker *take;
    streamer *streamer;
    void *data;
    int fd;
    SSL *held_ssl; /* with a reference of ours */
} held_connection;

static held_connection *record_of(const conn_rec *c)
{
    return ap_get_module_config(c->conn_config, &mercure_module);
}

/* --- arrivals --- */

hold_arrival *hold_arrival_create(stream *s, const char *hub_name)
{
    hold_arrival *arrival = malloc(sizeof(*arrival));

    if (arrival == NULL) {
        return NULL;
    }
    *arrival = (hold_arrival){s, strdup(hub_name), 0};
    if (arrival->hub_name == NULL) {
        free(arrival);
        return NULL;
    }
    return arrival;
}

static void free_arrival(hold_arrival *arrival)
{
    free(arrival->hub_name);
    free(arrival);
}

void hold_arrive_now(streamer *st, hold_arrival *arrival)
{
    hub_join(st, mercure_str_of(arrival->hub_name), arrival->stream);
    free_arrival(arrival);
}

static void arrive(streamer *st, void *data)
{
    hold_arrive_now(st, data);
}

void hold_arrival_discard(streamer *st, hold_arrival *arrival)
{
    stream_close(st, arrival->stream, false);
    free_arrival(arrival);
}

void hold_arrive(streamer *st, hold_arrival *arrival)
{
    if (!streamer_post(st, arrive, arrival)) {
        hold_arrival_discard(st, arrival);
    }
}

/* --- filters --- */

static bool is_one_of(const ap_filter_t *filter, const char *const *names)
{
    for (; *names != NULL; names++) {
        if (strcasecmp(filter->frec->name, *names) == 0) {
            return true;
        }
    }
    return false;
}

void hold_remove_filters(request_rec *r)
{
    static const char *const wanted_content[] = {"fixup_headers_out", "mercure_discovery", NULL};
    static const char *const unwanted_protocol[] = {"byterange", "rate_limit", "cache_remove_url", "cache_invalidate",
                                                    NULL};
    ap_filter_t *filter = r->output_filters, *next;

    for (; filter != NULL && filter->frec->ftype < AP_FTYPE_CONNECTION; filter = next) {
        bool content = filter->frec->ftype < AP_FTYPE_PROTOCOL;
        next = filter->next;
        if (content ? !is_one_of(filter, wanted_content) : is_one_of(filter, unwanted_protocol)) {
            ap_remove_output_filter(filter);
        }
    }
}

/* The first filter of a chain through which our bytes might not go unchanged, or NULL. */
static const char *unknown_filter(const ap_filter_t *filter, const char *const *known)
{
    for (; filter != NULL; filter = filter->next) {
        if (!is_one_of(filter, known)) {
            return filter->frec->name;
        }
    }
    return NULL;
}

/* Read and drop what the client has sent past this request: the connection closes after it, so no further request on it
 * is ever answered, and nothing may stay behind in httpd's filters. Whether the client is gone, the streamer will see.
 */
static void drop_pending_input(request_rec *r)
{
    conn_rec *c = r->connection;
    apr_bucket_brigade *bb = apr_brigade_create(r->pool, c->bucket_alloc);
    int i;

    for (i = 0; i < READS_MOST; i++) {
        apr_status_t rv = ap_get_brigade(c->input_filters, bb, AP_MODE_READBYTES, APR_NONBLOCK_READ, HUGE_STRING_LEN);
        bool empty = APR_BRIGADE_EMPTY(bb);
        apr_brigade_cleanup(bb);
        if (rv != APR_SUCCESS || empty) {
            break;
        }
    }
    apr_brigade_destroy(bb);
}

const char *hold_obstacle(request_rec *r)
{
    static const char *const known_outputs[] = {
        "fixup_headers_out", "mercure_discovery", "old_write",      "http_header",
        "http_outerror",     "content_length",    "ssl/tls filter", "ssl/tls coalescing filter",
        "reqtimeout",        "log_input_output",  "core",           NULL};
    static const char *const known_inputs[] = {"ssl/tls filter", "log_input_output", "core_in",
                                               "reqtimeout",     "remoteip_input",   NULL};
    conn_rec *c = r->connection;
    const char *filter;

    if (c->master != NULL || record_of(c) == NULL) {
        return "an HTTP/2 stream of mod_http2";
    }
    if ((filter = unknown_filter(r->output_filters, known_outputs)) != NULL ||
        (filter = unknown_filter(c->input_filters, known_inputs)) != NULL) {
        return apr_pstrcat(r->pool, "the filter ", filter, NULL);
    }
    drop_pending_input(r);
    return NULL;
}

/* --- taking over --- */

static void ignore_ssl_info(const SSL *ssl, int where, int result)
{
    (void)ssl;
    (void)where;
    (void)result;
}

/* Cut an SSL loose from the connection that mod_ssl made it for: its callbacks must not find what no longer exists. */
static void cut_loose(SSL *ssl)
{
    SSL_set_app_data(ssl, NULL);
    SSL_set_info_callback(ssl, ignore_ssl_info);
    SSL_set_msg_callback(ssl, NULL);
}

void hold_take_stream(streamer *st, void *data, int fd, SSL *ssl)
{
    hold_arrival *arrival = data;

    if (!transport_take_over(&arrival->stream->held.transport, fd, ssl, arrival->vanished_after_ms)) {
        arrival->stream->held.transport.fd = -1;
        hold_arrival_discard(st, arrival);
        return;
    }
    hold_arrive(st, arrival);
}

/* The last cleanup of the connection's pool. */
static apr_status_t hand_over(void *data)
{
    held_connection *held = data;
    hold_taker *take = held->take;

    if (take == NULL) {
        return APR_SUCCESS;
    }
    held->take = NULL;
    if (held->held_ssl != NULL) {
        cut_loose(held->held_ssl);
    }
    take(held->streamer, held->data, held->fd, held->held_ssl);
    return APR_SUCCESS;
}

bool hold_take_over(conn_rec *c, streamer *st, hold_taker *take, void *data)
{
    held_connection *held = record_of(c);
    apr_os_sock_t fd;

    if (apr_os_sock_get(&fd, ap_get_conn_socket(c)) != APR_SUCCESS) {
        return false;
    }
    held->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (held->fd < 0) {
        return false;
    }
    if (held->ssl != NULL) {
        SSL_up_ref(held->ssl);
        held->held_ssl = held->ssl;
    }
    held->streamer = st;
    held->take = take;
    held->data = data;
    c->keepalive = AP_CONN_CLOSE;
    return true;
}

SSL *hold_ssl(conn_rec *c)
{
    held_connection *held = c->master == NULL ? record_of(c) : NULL;

    return held != NULL ? held->ssl : NULL;
}

server_rec **hold_h2_server(const conn_rec *c)
{
    held_connection *held = c->master == NULL ? record_of(c) : NULL;

    return held != NULL ? &held->h2_server : NULL;
}

/* --- hooks --- */

static int pre_connection(conn_rec *c, void *socket)
{
    held_connection *held;

    (void)socket;
    if (c->master != NULL || c->outgoing) {
        return OK;
    }
    held = apr_pcalloc(c->pool, sizeof(*held));
    ap_set_module_config(c->conn_config, &mercure_module, held);
    apr_pool_cleanup_register(c->pool, held, hand_over, apr_pool_cleanup_null);
    return OK;
}

static int pre_handshake(conn_rec *c, SSL *ssl, int is_proxy)
{
    held_connection *held = is_proxy || c->master != NULL ? NULL : record_of(c);

    if (held != NULL) {
        held->ssl = ssl;
    }
    return OK;
}

static int pre_close_connection(conn_rec *c)
{
    held_connection *held = c->master == NULL ? record_of(c) : NULL;

    if (held != NULL && held->take != NULL) {
        c->aborted = 1;
    }
    return OK;
}

void hold_register_hooks(void)
{
    ap_hook_pre_connection(pre_connection, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_pre_close_connection(pre_close_connection, NULL, NULL, APR_HOOK_REALLY_FIRST);
    APR_OPTIONAL_HOOK(ssl, pre_handshake, pre_handshake, NULL, NULL, APR_HOOK_MIDDLE);
}
