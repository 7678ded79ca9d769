/* request_state.h - what the module notes of a request between its hooks. */
#ifndef MOD_MERCURE_REQUEST_STATE_H
#define MOD_MERCURE_REQUEST_STATE_H

#include <http_config.h>
#include <stdbool.h>

#include "config.h"

#define STATE_HIDDEN_HEADERS 2

typedef struct {
    bool query_noted; /* `query` is what the client has sent, without tokens */
    char *query;
    char *name;                               /* r->uri as it was before mod_rewrite; NULL: not noted */
    const struct ap_logconf *held_log;        /* while the request is read; NULL: no need */
    bool conceals;                            /* see conceal.c, also for the rest */
    const char *query_token;                  /* NULL: none was found */
    const char *raw_query;                    /* the query with its tokens */
    const char *hidden[STATE_HIDDEN_HEADERS]; /* values of headers that are hidden for now */
} request_state;

static inline request_state *request_state_of(request_rec *r)
{
    request_state *state = ap_get_module_config(r->request_config, &mercure_module);

    if (state == NULL) {
        state = apr_pcalloc(r->pool, sizeof(*state));
        ap_set_module_config(r->request_config, &mercure_module, state);
    }
    return state;
}

#endif
