/* supervise.h - brokerd as httpd's own: started, watched, kept across graceful restarts, gone after a stop. */
#ifndef MOD_MERCURE_SUPERVISE_H
#define MOD_MERCURE_SUPERVISE_H

#include <httpd.h>

/* In the parent, once the configuration is good: start brokerd, or keep the one that runs. Returns OK, or an error that
 * keeps httpd from starting.
 */
int supervise_post_config(apr_pool_t *pconf, server_rec *s);

/* In the parent, from time to time: start a brokerd again that died too soon. */
int supervise_monitor(apr_pool_t *pool, server_rec *s);

/* In a child: let go of what is the parent's. */
void supervise_child_init(void);

#endif
