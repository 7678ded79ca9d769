/* h2_request.h - running a request that came over HTTP/2 through httpd's own hooks, so that Require, .htaccess,
 * mod_remoteip, mod_headers, handlers and the access log work as ever.
 */
#ifndef MOD_MERCURE_H2_REQUEST_H
#define MOD_MERCURE_H2_REQUEST_H

#include <httpd.h>
#include <openssl/ssl.h>
#include <stdbool.h>

#include "h2_exchange.h"

/* Can mod_ssl be shown the SSL of a connection that was taken over? See h2_client.c: it is put where mod_ssl keeps it,
 * and this compares that place, on a connection that mod_ssl has set up itself, with what mod_ssl says its SSL is. From
 * the hook pre_handshake on. False also without mod_ssl. Where it is false, HTTP/2 must not be spoken.
 */
bool h2_client_tls_layout_ok(conn_rec *c, SSL *ssl);

/* Why HTTP/2 is not to be offered on this connection, in the words of an error log; NULL: nothing speaks against it.
 * For the hook protocol_propose, that is, when the client has said what it can, and its virtual host is known. Includes
 * h2_client_tls_layout_ok().
 */
const char *h2_client_obstacle(conn_rec *c, SSL *ssl);

/* The client of a connection that was taken over: what is left of its conn_rec. Copied out of it, in memory of its own,
 * counted by references from any thread; never changed.
 */
typedef struct h2_client h2_client;

/* `c` is the connection, `s` the virtual host that the handshake chose, `ssl` the connection's SSL, of which it takes a
 * reference. NULL without memory. Who frees the SSL of the connection itself sets its shutdown state before, as
 * transport_close() does: h2_client_release() may turn out to be the last to free it, in any thread.
 */
h2_client *h2_client_create(conn_rec *c, server_rec *s, SSL *ssl);
h2_client *h2_client_hold(h2_client *client);
void h2_client_release(h2_client *client); /* NULL is allowed */

/* The virtual host that the handshake chose. */
server_rec *h2_client_server(const h2_client *client);

/* Run one request, from its head to its line in the access log. Returns when the response is complete, or has become a
 * stream of events, or the client has gone; the exchange is finished then. `id` tells the connection from others in
 * this child, `stream_id` is the stream's. Any thread, several at once; the caller holds both `client` and `x`.
 */
void h2_request_run(h2_client *client, h2_exchange *x, unsigned long id, int stream_id);

/* Is this request run by h2_request_run()? Then its exchange, else NULL. */
h2_exchange *h2_request_exchange(const request_rec *r);

/* The same of a connection. */
h2_exchange *h2_request_exchange_of(const conn_rec *c);

/* Register filters and hooks; and, once per child, what all requests share. */
void h2_request_register_hooks(void);
void h2_request_child_init(apr_pool_t *pool);

#endif
