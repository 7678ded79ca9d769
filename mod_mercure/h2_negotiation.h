/* h2_negotiation.h - where HTTP/2 is agreed on, and the connection is taken over from httpd. */
#ifndef MOD_MERCURE_H2_NEGOTIATION_H
#define MOD_MERCURE_H2_NEGOTIATION_H

#include <httpd.h>

void h2_negotiation_register_hooks(void);

/* Look at MercureHTTP2 of all virtual hosts. Returns OK, or a status when something is missing, which the error log
 * tells.
 */
int h2_negotiation_check(apr_pool_t *temp, server_rec *s);

#endif
