/* broker.h - the broker's thread: the three sockets of wire.h, the registry, and the writer behind them. */
#ifndef BROKERD_BROKER_H
#define BROKERD_BROKER_H

#include <stdbool.h>

#include "fetcher.h"

#include "mercure/error.h"

typedef struct {
    const char *state_dir;  /* holds history/ and keysets/ */
    const char *socket_dir; /* holds the three sockets */
    bool durable;
    int parent; /* a socket from httpd's parent, or -1: see broker_run() */
    fetcher_options fetcher;
} broker_options;

/* Run until SIGTERM or SIGINT, or until the parent is gone.
 *
 * The `parent` socket brings, after a graceful restart, the descriptor of a newly opened error log, which becomes
 * standard error; its end of file says that httpd is no more.
 *
 * Returns MERCURE_OK after a clean stop, else the reason in `err`.
 */
mercure_status broker_run(const broker_options *options, mercure_error *err);

#endif
