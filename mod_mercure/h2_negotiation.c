/* h2_negotiation.c - HTTP/2 of our own: offered in the TLS handshake (ALPN) of virtual hosts with MercureHTTP2 On,
 * before mod_http2, which may be loaded and keeps the others.
 *
 * After the handshake the process_connection hook reads what has arrived already, so that nothing stays behind in
 * httpd's filters, and ends the connection as far as httpd is concerned; the streamer gets it as in hold.c.
 */
#include "h2_negotiation.h"

#include <apr_strings.h>
#include <http_config.h>
#include <http_connection.h>
#include <http_core.h>
#include <http_log.h>
#include <http_protocol.h>
#include <stdlib.h>
#include <string.h>
#include <util_filter.h>

#include "child.h"
#include "config.h"
#include "h2_connection.h"
#include "h2_request.h"
#include "hold.h"

APLOG_USE_MODULE(mercure);

#define PROTOCOL         "h2"
#define EARLY_MOST       (256u << 10) /* bytes that a client may have sent by the time the handshake is done */
#define CONNECTIONS_MORE 8            /* of a client than it may have streams */
#define SLOWEST_MS       20000        /* for a head, or a piece of a body; less where Timeout is less */

/* --- offering --- */

/* Do we speak HTTP/2 on this connection, whose handshake chose this virtual host? */
static bool is_ours(conn_rec *c, const server_rec *s)
{
    SSL *ssl = c->master == NULL ? hold_ssl(c) : NULL;
    const char *obstacle;

    if (ssl == NULL || config_of_server(s)->http2 != 1) {
        return false;
    }
    obstacle = h2_client_obstacle(c, ssl);
    if (obstacle != NULL) {
        ap_log_cerror(APLOG_MARK, APLOG_DEBUG, 0, c, "mercure: no HTTP/2 on this connection: %s", obstacle);
    }
    return obstacle == NULL;
}

static int propose(conn_rec *c, request_rec *r, server_rec *s, const apr_array_header_t *offers,
                   apr_array_header_t *proposals)
{
    if (r != NULL || (offers != NULL && !ap_array_str_contains(offers, PROTOCOL)) || !is_ours(c, s)) {
        return DECLINED;
    }
    if (!ap_array_str_contains(proposals, PROTOCOL)) {
        APR_ARRAY_PUSH(proposals, const char *) = PROTOCOL;
    }
    return OK;
}

static int switch_protocol(conn_rec *c, request_rec *r, server_rec *s, const char *protocol)
{
    if (r != NULL || strcmp(protocol, PROTOCOL) != 0 || !is_ours(c, s)) {
        return DECLINED;
    }
    *hold_h2_server(c) = s;
    return DONE;
}

static const char *get_protocol(const conn_rec *c)
{
    server_rec **ours = hold_h2_server(c);

    return (ours != NULL && *ours != NULL) || h2_request_exchange_of(c) != NULL ? PROTOCOL : NULL;
}

/* --- taking over --- */

typedef struct {
    char *bytes;
    size_t len;
} early_bytes;

static bool keep(early_bytes *early, const char *bytes, size_t len)
{
    char *larger;

    if (len == 0) {
        return true;
    }
    larger = early->len + len <= EARLY_MOST ? realloc(early->bytes, early->len + len) : NULL;
    if (larger == NULL) {
        return false;
    }
    early->bytes = larger;
    memcpy(early->bytes + early->len, bytes, len);
    early->len += len;
    return true;
}

/* Read what is there, until there is nothing. False when the client has gone, or sends more than it should. */
static bool read_early(conn_rec *c, early_bytes *early)
{
    apr_bucket_brigade *bb = apr_brigade_create(c->pool, c->bucket_alloc);

    for (;;) {
        apr_status_t rv = ap_get_brigade(c->input_filters, bb, AP_MODE_READBYTES, APR_NONBLOCK_READ, HUGE_STRING_LEN);
        bool nothing = APR_BRIGADE_EMPTY(bb);
        apr_bucket *b;

        if (APR_STATUS_IS_EAGAIN(rv) || (rv == APR_SUCCESS && nothing)) {
            return true;
        }
        if (rv != APR_SUCCESS) {
            return false;
        }
        for (b = APR_BRIGADE_FIRST(bb); b != APR_BRIGADE_SENTINEL(bb); b = APR_BUCKET_NEXT(b)) {
            const char *bytes;
            apr_size_t len;
            if (APR_BUCKET_IS_EOS(b) ||
                (!APR_BUCKET_IS_METADATA(b) &&
                 (apr_bucket_read(b, &bytes, &len, APR_BLOCK_READ) != APR_SUCCESS || !keep(early, bytes, len)))) {
                return false;
            }
        }
        apr_brigade_cleanup(bb);
    }
}

static unsigned at_most_timeout(const server_rec *s, unsigned ms)
{
    apr_interval_time_t timeout = apr_time_as_msec(s->timeout);

    return timeout > 0 && timeout < (apr_interval_time_t)ms ? (unsigned)timeout : ms;
}

static h2_arrival *describe(conn_rec *c, server_rec *s, const early_bytes *early)
{
    h2_arrival *arrival = calloc(1, sizeof(*arrival));
    int dispatch = config_dispatch_timeout(s);

    if (arrival == NULL) {
        return NULL;
    }
    arrival->client = h2_client_create(c, s, hold_ssl(c));
    if (arrival->client == NULL) {
        free(arrival);
        return NULL;
    }
    arrival->hub_path = config_path(s);
    arrival->limits.head.fields = s->limit_req_fields > 0 ? (size_t)s->limit_req_fields : 0;
    arrival->limits.head.field_size = (size_t)s->limit_req_fieldsize;
    arrival->limits.head.line = (size_t)s->limit_req_line;
    arrival->limits.head_ms = at_most_timeout(s, SLOWEST_MS);
    arrival->limits.body_ms = at_most_timeout(s, SLOWEST_MS);
    arrival->limits.idle_ms = (unsigned)apr_time_as_msec(s->keep_alive_timeout);
    arrival->vanished_after_ms = (unsigned)config_heartbeat(s) * 1000;
    arrival->stalled_ms = arrival->limits.send_ms = (unsigned)apr_time_as_msec(s->timeout);
    arrival->events_stalled_ms = arrival->limits.end_ms =
        dispatch > 0 ? (unsigned)dispatch * 1000 : arrival->stalled_ms;
    arrival->early = early->bytes;
    arrival->early_len = early->len;
    return arrival;
}

/* May this client have one more connection? The limit is the one for its streams, with room for other requests, which
 * are to be answered, if only with 429. Not where mod_remoteip is loaded: the address may be a proxy's, and whose
 * requests it brings is not known yet.
 */
static bool admit(conn_rec *c, const server_rec *s, counters_ticket *ticket)
{
    const dir_config *dir = ap_get_module_config(s->lookup_defaults, &mercure_module);
    counters_request request = {0};

    if (dir->max_per_client <= 0 || child_counters() == NULL || ap_find_linked_module("mod_remoteip.c") != NULL) {
        return true;
    }
    request.max_per_client = (uint64_t)dir->max_per_client + CONNECTIONS_MORE;
    request.address = counters_address_key(child_counters(), "connection",
                                           s->server_hostname != NULL ? s->server_hostname : "", c->client_ip);
    return counters_admit(child_counters(), &request, ticket) == COUNTERS_ADMITTED;
}

/* Empty SETTINGS, and GOAWAY with ENHANCE_YOUR_CALM (RFC 9113 6.5, 6.8). */
static void refuse(conn_rec *c, const char *reason)
{
    static const char frames[] = "\0\0\0\4\0\0\0\0\0"
                                 "\0\0\10\7\0\0\0\0\0\0\0\0\0\0\0\0\13";
    apr_bucket_brigade *bb = apr_brigade_create(c->pool, c->bucket_alloc);

    ap_log_cerror(APLOG_MARK, APLOG_WARNING, 0, c, "mercure: an HTTP/2 connection was refused: %s", reason);
    apr_brigade_write(bb, NULL, NULL, frames, sizeof(frames) - 1);
    APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_flush_create(c->bucket_alloc));
    ap_pass_brigade(c->output_filters, bb); /* a client that has gone needs no answer */
}

/* In whatever thread destroys the connection's pool. */
static void take(streamer *st, void *data, int fd, SSL *ssl)
{
    h2_connection_arrive(st, data, fd, ssl);
}

static void take_over(conn_rec *c, server_rec *s)
{
    early_bytes early = {NULL, 0};
    counters_ticket ticket = {{0}};
    mercure_error err;
    streamer *st = child_streamer(s, &err);
    h2_arrival *arrival = NULL;

    if (st == NULL || !child_admit_connection(st)) {
        refuse(c, st == NULL ? err.reason : "this child has no descriptors left: raise LimitNOFILE (ulimit -n)");
        return;
    }
    if (!admit(c, s, &ticket)) {
        atomic_fetch_sub(&st->connections, 1);
        refuse(
            c,
            "this address has 8 connections more than MercureMaxSubscribersPerClient, or there are too many addresses "
            "to count");
        return;
    }
    if (read_early(c, &early)) {
        arrival = describe(c, s, &early);
    }
    if (arrival == NULL) {
        free(early.bytes);
        counters_leave(child_counters(), &ticket);
        atomic_fetch_sub(&st->connections, 1);
        return;
    }
    arrival->counted = ticket;
    if (!hold_take_over(c, st, take, arrival)) {
        h2_arrival_discard(st, arrival);
    }
}

/* After mod_ssl's hook, which has done the handshake and with it ALPN. */
static int process_connection(conn_rec *c)
{
    server_rec **ours = hold_h2_server(c);

    if (ours == NULL || *ours == NULL) {
        return DECLINED;
    }
    take_over(c, *ours);
    c->keepalive = AP_CONN_CLOSE;
    if (c->cs != NULL) {
        c->cs->state = CONN_STATE_LINGER;
    }
    return OK;
}

/* --- the configuration --- */

/* The directives of a server: those of its <VirtualHost>, or those outside of all. */
static const ap_directive_t *directives_of(const server_rec *s)
{
    const ap_directive_t *d;

    if (!s->is_virtual) {
        return ap_conftree;
    }
    for (d = ap_conftree; d != NULL; d = d->next) {
        if (strcasecmp(d->directive, "<VirtualHost") == 0 && d->line_num == (int)s->defn_line_number &&
            d->filename != NULL && s->defn_name != NULL && strcmp(d->filename, s->defn_name) == 0) {
            return d->first_child;
        }
    }
    return NULL;
}

/* The last SSLEngine of a list of directives, NULL: none. */
static const char *ssl_engine(const ap_directive_t *d)
{
    const char *found = NULL;

    for (; d != NULL; d = d->next) {
        if (strcasecmp(d->directive, "SSLEngine") == 0) {
            found = d->args;
        }
    }
    return found;
}

static bool has_tls(const server_rec *s)
{
    const char *engine = ssl_engine(directives_of(s));

    engine = engine == NULL && s->is_virtual ? ssl_engine(ap_conftree) : engine;
    return engine != NULL && strcasecmp(engine, "off") != 0;
}

static bool offers_h2(const server_rec *s)
{
    const core_server_config *core = ap_get_core_module_config(s->module_config);

    return core->protocols != NULL && ap_array_str_contains(core->protocols, PROTOCOL);
}

static bool share_address(const server_rec *a, const server_rec *b)
{
    const server_addr_rec *x, *y;

    for (x = a->addrs; x != NULL; x = x->next) {
        for (y = b->addrs; y != NULL; y = y->next) {
            if (x->host_port == y->host_port && strcmp(x->virthost, y->virthost) == 0) {
                return true;
            }
        }
    }
    return false;
}

static const char *name_of(const server_rec *s)
{
    return s->server_hostname != NULL ? s->server_hostname : "(without ServerName)";
}

/* Whoever knows HTTP/2 by the address alone would be surprised. */
static void explain_sharing(server_rec *s, const server_rec *all)
{
    const server_rec *other;

    for (other = all; other != NULL; other = other->next) {
        if (other != s && other->is_virtual && s->is_virtual && config_of_server(other)->http2 != 1 &&
            share_address(s, other)) {
            ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_NOTICE, 0, s,
                         "MercureHTTP2 On: %s shares its address with %s, where it is Off; the name that the client "
                         "sends in the TLS handshake (SNI) decides, and without one the first of them",
                         name_of(s), name_of(other));
            return;
        }
    }
}

int h2_negotiation_check(apr_pool_t *temp, server_rec *all)
{
    server_rec *s;

    (void)temp;
    for (s = all; s != NULL; s = s->next) {
        if (!config_of_server(s)->http2_is_here) {
            continue; /* off, or inherited: then only those that can speak it do */
        }
        if (!has_tls(s)) {
            ap_log_error(
                APLOG_MARK, APLOG_STARTUP | APLOG_CRIT, 0, s,
                "MercureHTTP2 On wants TLS, without which no browser speaks HTTP/2: %s has no SSLEngine On. Write it "
                "inside the <VirtualHost> that has",
                name_of(s));
            return HTTP_INTERNAL_SERVER_ERROR;
        }
        if (!offers_h2(s)) {
            ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_CRIT, 0, s,
                         "MercureHTTP2 On wants h2 among the protocols of %s: write \"Protocols h2 http/1.1\"",
                         name_of(s));
            return HTTP_INTERNAL_SERVER_ERROR;
        }
        explain_sharing(s, all);
    }
    return OK;
}

void h2_negotiation_register_hooks(void)
{
    static const char *const ssl[] = {"mod_ssl.c", NULL};
    static const char *const http2[] = {"mod_http2.c", NULL};

    ap_hook_protocol_propose(propose, NULL, http2, APR_HOOK_FIRST);
    ap_hook_protocol_switch(switch_protocol, NULL, http2, APR_HOOK_FIRST);
    ap_hook_protocol_get(get_protocol, NULL, http2, APR_HOOK_FIRST);
    ap_hook_process_connection(process_connection, ssl, http2, APR_HOOK_MIDDLE);
}
