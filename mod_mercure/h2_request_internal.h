/* h2_request_internal.h - what the files share that run a request of HTTP/2: h2_client.c, h2_request.c, h2_filters.c.
 */
#ifndef MOD_MERCURE_H2_REQUEST_INTERNAL_H
#define MOD_MERCURE_H2_REQUEST_INTERNAL_H

#include <util_filter.h>

#include "h2_request.h"

/* RFC 9113 section 7. */
#define H2_INTERNAL_ERROR    0x2
#define H2_REFUSED_STREAM    0x7
#define H2_HTTP_1_1_REQUIRED 0xd

/* How far the response is. */
typedef enum {
    H2_UNANSWERED, /* nothing but interim responses */
    H2_ANSWERED,   /* its head was given to the exchange */
    H2_OVER        /* the exchange was ended, or failed */
} h2_progress;

/* One run of a request. In the run's pool. */
typedef struct {
    h2_client *client;
    h2_exchange *x;
    conn_rec *master, *c;
    request_rec *r; /* the initial request, NULL: destroyed by now */
    unsigned timeout_ms;
    /* the request's body, as the network's filter reads it: */
    apr_bucket_brigade *received; /* what nobody has taken yet */
    bool body_ended;
    uint64_t body_bytes, body_waited_ms;
    /* the response: */
    h2_progress progress;
    bool head_was_bad;         /* a response's head could not be sent */
    bool without_body;         /* HEAD, 204, 304 */
    apr_off_t announced, sent; /* bytes of the body; announced: -1 not */
} h2_run;

/* --- h2_client.c --- */

/* A conn_rec in `pool` that looks as if the client's connection had just been made. */
conn_rec *h2_client_connection(const h2_client *client, apr_pool_t *pool, apr_bucket_alloc_t *alloc);

/* Let mod_ssl find the client's SSL by this connection; false when that cannot be. Taken back before its pool is
 * destroyed.
 */
bool h2_client_lend_tls(const h2_client *client, conn_rec *master);
void h2_client_take_tls_back(conn_rec *master);

/* The virtual host for whatever host has none of its own. */
server_rec *h2_client_default_server(const h2_client *client);

/* --- h2_filters.c --- */

void h2_filters_register(void);
void h2_filters_child_init(void); /* looks for mod_logio */

/* To the secondary connection, after its pre_connection hooks. */
void h2_filters_add_network(h2_run *run);

/* To a request that was just created: from now on it can be answered. */
void h2_filters_add_answer(h2_run *run, request_rec *r);

/* To a request whose head was read. */
void h2_filters_add_body(request_rec *r);

/* The response cannot be completed. Once it is over this does nothing. */
void h2_filters_fail(h2_run *run, unsigned reset_code);

/* For %I and %O: bytes that no filter sees. */
void h2_filters_count_in(h2_run *run, size_t bytes);
void h2_filters_count_out(h2_run *run, size_t bytes);

/* --- h2_answer.c --- */

/* The output filter; its context is the run. */
apr_status_t h2_answer(ap_filter_t *f, apr_bucket_brigade *bb);

#endif
