/* conceal.h - keeping tokens out of logs.
 *
 * Protocol 0.x lets a client put its token into the query, and so into every access log; and httpd's core logs all
 * request headers at LogLevel http:trace4. For a request that goes to the hub's path the token is taken out of the
 * query at once and for good, whatever dialect the hub speaks; the headers Authorization and Cookie are hidden until
 * httpd has logged what it logs on its own, then they are back for whoever needs them (Require, other modules, us).
 *
 * What a module logs that copies the connection's bytes (mod_dumpio) cannot be helped.
 */
#ifndef MOD_MERCURE_CONCEAL_H
#define MOD_MERCURE_CONCEAL_H

#include <httpd.h>

void conceal_register_hooks(void);

/* The value of the query's `authorization` parameter; NULL: there was none. */
const char *conceal_query_token(const request_rec *r);

#endif
