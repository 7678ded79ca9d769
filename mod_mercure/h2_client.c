/* h2_client.c - what is left of a connection that was taken over, and how requests show it to httpd's modules.
 *
 * Each request gets two conn_recs, as it would from any HTTP/2 module: a master, which stands for the client's
 * connection, and a secondary one, the stream. The addresses are copied out of the original. What mod_ssl knows of a
 * connection it keeps in a record of its own (SSLConnRec) in the connection's vector; of a secondary connection it asks
 * the master's. Without that record `Require ssl` would refuse everything, and SSLVerifyClient would ask for nothing.
 * So:
 *  1. mod_ssl itself makes a record for the master: its optional function ssl_engine_disable(), which mod_proxy calls
 *     for outgoing connections, makes one without an SSL. (The mark `disabled` in it is looked at when a connection
 *     begins, which a master's never does.)
 *  2. The client's SSL is put into it. The record's type is private, but its first member is the SSL. That is
 *     verified: h2_client_tls_layout_ok() looks on real connections whether mod_ssl's record begins with the pointer
 *     that mod_ssl gave to the hook pre_handshake. If not, HTTP/2 is not spoken.
 *  3. Before the master goes, the SSL is taken out again, so no cleanup of mod_ssl's ever touches it.
 *
 * All requests of a connection read the one SSL, while the streamer reads and writes with it. That is sound as long as
 * they only ask what the handshake has settled. mod_ssl asks for more in two cases, and in those HTTP/2 is not offered:
 *  - Below TLS 1.3 it writes the verify mode of a directory into the SSL before it sees that it must not renegotiate;
 *    a request beside it would take that for settled, and be let through to where SSLVerifyClient is required. (RFC
 *    9113 9.2 has its own doubts about TLS 1.2: neither renegotiation nor most of its ciphers.)
 *  - When the virtual host asks clients for certificates, mod_ssl notes how the verification ended in its record,
 *    behind the first member.
 */
#include "h2_request_internal.h"

#include <apr_strings.h>
#include <http_config.h>
#include <http_core.h>
#include <mod_ssl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* One for each connection: some 460 bytes. */
struct h2_client {
    atomic_uint references;
    server_rec *server;         /* that the handshake chose */
    server_rec *default_server; /* the first one of the address */
    void *names;                /* the address's virtual hosts, in the configuration's memory */
    SSL *ssl;
    apr_sockaddr_t client_addr, local_addr; /* only to be copied: their pointers are nobody's */
    char *client_ip, *local_ip;             /* in `text` */
    char text[];
};

/* --- which connections --- */

/* Where mod_ssl keeps the SSL of a connection, or NULL. */
static SSL **place_of_ssl(conn_rec *c)
{
    module *mod_ssl = ap_find_linked_module("mod_ssl.c");

    return mod_ssl != NULL ? ap_get_module_config(c->conn_config, mod_ssl) : NULL;
}

bool h2_client_tls_layout_ok(conn_rec *c, SSL *ssl)
{
    SSL **place = place_of_ssl(c);

    return ssl != NULL && place != NULL && *place == ssl;
}

const char *h2_client_obstacle(conn_rec *c, SSL *ssl)
{
    module *remoteip = ap_find_linked_module("mod_remoteip.c");

    if (!h2_client_tls_layout_ok(c, ssl)) {
        return "this mod_ssl keeps its connections in another way";
    }
    if (SSL_version(ssl) < TLS1_3_VERSION) {
        return "it is older than TLS 1.3";
    }
    if (SSL_get_verify_mode(ssl) != SSL_VERIFY_NONE) {
        return "the virtual host asks clients for certificates (SSLVerifyClient)";
    }
    /* The client's address that a proxy has told is in a record of mod_remoteip's, which cannot be carried over; and
     * the proxy's own is no substitute.
     */
    if (remoteip != NULL && ap_get_module_config(c->conn_config, remoteip) != NULL) {
        return "its client is known by the PROXY protocol (RemoteIPProxyProtocol)";
    }
    return NULL;
}

/* --- the client --- */

h2_client *h2_client_create(conn_rec *c, server_rec *s, SSL *ssl)
{
    size_t client_len = strlen(c->client_ip) + 1, local_len = strlen(c->local_ip) + 1;
    h2_client *client = calloc(1, sizeof(*client) + client_len + local_len);

    if (client == NULL) {
        return NULL;
    }
    client->references = 1;
    client->server = s;
    client->default_server = c->base_server;
    client->names = c->vhost_lookup_data;
    client->client_addr = *c->client_addr;
    client->local_addr = *c->local_addr;
    client->client_addr.hostname = client->client_addr.servname = NULL;
    client->local_addr.hostname = client->local_addr.servname = NULL;
    client->client_addr.next = client->local_addr.next = NULL;
    client->client_ip = memcpy(client->text, c->client_ip, client_len);
    client->local_ip = memcpy(client->text + client_len, c->local_ip, local_len);
    SSL_up_ref(ssl);
    client->ssl = ssl;
    return client;
}

h2_client *h2_client_hold(h2_client *client)
{
    atomic_fetch_add(&client->references, 1);
    return client;
}

void h2_client_release(h2_client *client)
{
    if (client != NULL && atomic_fetch_sub(&client->references, 1) == 1) {
        SSL_free(client->ssl);
        free(client);
    }
}

server_rec *h2_client_server(const h2_client *client)
{
    return client->server;
}

server_rec *h2_client_default_server(const h2_client *client)
{
    return client->default_server;
}

/* --- its conn_recs --- */

conn_rec *h2_client_connection(const h2_client *client, apr_pool_t *pool, apr_bucket_alloc_t *alloc)
{
    conn_rec *c = apr_pcalloc(pool, sizeof(*c));

    c->pool = pool;
    c->bucket_alloc = alloc;
    c->base_server = client->server;
    c->vhost_lookup_data = client->names;
    apr_sockaddr_info_copy(&c->client_addr, &client->client_addr, pool);
    apr_sockaddr_info_copy(&c->local_addr, &client->local_addr, pool);
    c->client_ip = apr_pstrdup(pool, client->client_ip);
    c->local_ip = apr_pstrdup(pool, client->local_ip);
    c->conn_config = ap_create_conn_config(pool);
    c->notes = apr_table_make(pool, 5);
    c->keepalive = AP_CONN_CLOSE;  /* there is nothing behind this request */
    c->clogging_input_filters = 1; /* and no socket that the MPM could watch */
    return c;
}

bool h2_client_lend_tls(const h2_client *client, conn_rec *master)
{
    APR_OPTIONAL_FN_TYPE(ssl_engine_disable) *make_record = APR_RETRIEVE_OPTIONAL_FN(ssl_engine_disable);
    SSL **place;

    if (make_record == NULL) {
        return false;
    }
    make_record(master);
    master->outgoing = 0; /* it takes any connection for a proxy's */
    place = place_of_ssl(master);
    if (place == NULL || *place != NULL) {
        return false;
    }
    *place = client->ssl;
    return true;
}

void h2_client_take_tls_back(conn_rec *master)
{
    SSL **place = place_of_ssl(master);

    if (place != NULL) {
        *place = NULL;
    }
}
