/* conceal.h - keeping tokens out of logs.
 *
 * Protocol 0.x lets a client put its token into the query, and so into every access log; and httpd's core logs all
 * request headers at LogLevel http:trace4. For a request that goes to the hub's path, or below it, in any spelling, the
 * tokens are taken out of the query at once, whatever dialect the hub speaks; the headers Authorization and Cookie are
 * hidden while httpd and those modules log that do so on their own, and are there for whoever needs them (SetEnvIf,
 * Require, other modules, us).
 *
 * What cannot be helped: a module that logs the connection's bytes or reads requests itself (mod_dumpio; mod_http2 at
 * http2:trace1), and rules that name these headers (mod_rewrite's %{HTTP:Authorization} at rewrite:trace4, a LogFormat
 * with %{Cookie}i).
 */
#ifndef MOD_MERCURE_CONCEAL_H
#define MOD_MERCURE_CONCEAL_H

#include <httpd.h>

void conceal_register_hooks(void);

/* The value of the query's `authorization` parameter; NULL: there was none. */
const char *conceal_query_token(const request_rec *r);

/* The request is not for a hub after all, but for a page or a proxy at this path: give it back its query. What httpd
 * logs of the request stays clean.
 */
void conceal_give_back(request_rec *r);

#endif
